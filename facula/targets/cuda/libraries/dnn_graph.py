"""Graphs of operations for cuDNN, and the plans that run them: put together, planned, chosen, executed.

A graph has operands (memory that the caller gives, in the order in which they were declared), scratch (memory that the
plan takes from the pool), constants, and tensors between operations that are in no memory at all.
"""

import ctypes
import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import cache as remembered
from math import prod
from typing import Any, NamedTuple

from facula.core.shape import contiguous_strides
from facula.core.switches import cudnn, program
from facula.errors import OutOfMemoryError

from .. import driver
from . import dnn_direct
from .dnn_api import DATA_TYPES, Descriptor, Unsupported, api, good
from .dnn_direct import ALIGNMENT

__all__ = ["ALIGNMENT", "Chosen", "Graph", "Plan", "Policy", "chosen", "free", "plans"]

GRAIN = 256  # bytes: where scratch starts
MOST_CONFIGS = 64
TIMES = 3  # that each plan is run to be measured
A, FALLBACK = 3, 2  # cudnnBackendHeurMode_t: the best for the sizes, first; what always works
POINTWISE = {
    "add": 0, "mul": 1, "div": 6, "sub": 9, "exp": 13, "log": 15, "identity": 21, "greater_equal": 303, "index": 501,
    "select": 601,
}  # fmt: skip
REDUCTIONS = {"sum": 0, "max": 3}  # cudnnReduceTensorOp_t
NONDETERMINISTIC, DOWN_CONVERT, TENSOR_CORE = 4, 1, 0  # cudnnBackendNumericalNote_t
MOST_NOTES = 16


class Policy(NamedTuple):
    """Which plans may be chosen."""

    deterministic: bool = True
    full: bool = False  # float32 is multiplied as such: in no tensor core, which rounds to TF32
    exact: bool = False  # operands are not rounded to a narrower dtype than their own (float32: but for TF32)

    def refuses(self, notes: Sequence[int]) -> bool:
        """Whether an engine with these numerical notes may not be used."""
        return (
            (self.deterministic and NONDETERMINISTIC in notes)
            or (self.full and TENSOR_CORE in notes)
            or (self.exact and DOWN_CONVERT in notes)
        )


class Graph:
    """Operations on tensors; each method adds one and gives its result."""

    def __init__(self, compute: str = "float32"):
        self.compute = DATA_TYPES[compute]
        self.count = itertools.count(1)
        self.sizes: dict[int, tuple[int, ...]] = {}  # address of a tensor -> its sizes
        self.operands: list[int] = []  # ids
        self.scratches: list[tuple[int, int]] = []  # ids and bytes
        self.constants: list[tuple[int, ctypes.c_float]] = []
        self.operations: list[Descriptor] = []

    def _tensor(self, type: str, sizes: Sequence[int], strides: Sequence[int] | None, **more: Any) -> Descriptor:
        made = Descriptor(
            "tensor", type=DATA_TYPES[type], sizes=sizes, strides=strides or contiguous_strides(sizes),
            id=next(self.count), alignment=ALIGNMENT, **more,
        )  # fmt: skip
        self.sizes[made.address] = tuple(sizes)
        return made

    def operand(self, type: str, sizes: Sequence[int], strides: Sequence[int]) -> Descriptor:
        """Memory of the caller's."""
        made = self._tensor(type, sizes, strides)
        self.operands.append(made.get("id")[0])
        return made

    def scratch(self, sizes: Sequence[int]) -> Descriptor:
        """float32 memory of the plan's own."""
        made = self._tensor("float32", sizes, None)
        self.scratches.append((made.get("id")[0], 4 * prod(sizes)))
        return made

    def between(self, sizes: Sequence[int], strides: Sequence[int] | None = None, type: str = "float32") -> Descriptor:
        """A result that only other operations see."""
        return self._tensor(type, sizes, strides, virtual=True)

    def constant(self, value: float, rank: int = 4) -> Descriptor:
        """One float32 number."""
        made = self._tensor("float32", (1,) * rank, None, by_value=True)
        self.constants.append((made.get("id")[0], ctypes.c_float(value)))
        return made

    def pointwise(
        self, mode: str, x: Descriptor, b: Descriptor | None = None, t: Descriptor | None = None,
        y: Descriptor | None = None, axis: int | None = None, type: str = "float32",
    ) -> Descriptor:  # fmt: skip
        """`mode` of each element of x, with those of b; "select": t ? x : b."""
        y = y or self.between(self.sizes[x.address], type=type)
        how: dict[str, Any] = {} if axis is None else {"axis": axis}
        compute = DATA_TYPES[type] if type != "float32" else self.compute
        operation = Descriptor("pointwise", mode=POINTWISE[mode], compute=compute, **how)
        given = {"x": x, "b": b, "t": t, "y": y}
        self.operations.append(
            Descriptor("pointwise_operation", pointwise=operation, **{k: v for k, v in given.items() if v is not None})
        )
        return y

    def product(self, a: Descriptor, b: Descriptor, c: Descriptor) -> Descriptor:
        """Matrix products of the last two dims."""
        self.operations.append(
            Descriptor("product_operation", product=Descriptor("product", compute=self.compute), a=a, b=b, c=c)
        )
        return c

    def reduce(self, mode: str, x: Descriptor, y: Descriptor) -> Descriptor:
        """Along the dims in which y is smaller than x."""
        how = Descriptor("reduction", mode=REDUCTIONS[mode], compute=self.compute)
        self.operations.append(Descriptor("reduction_operation", reduction=how, x=x, y=y))
        return y

    def reshape(self, x: Descriptor, y: Descriptor) -> Descriptor:
        """The same elements with other sizes and strides."""
        self.operations.append(Descriptor("reshape_operation", x=x, y=y))
        return y

    def convolution(
        self, kind: str, x: Descriptor, w: Descriptor, y: Descriptor, strides: Sequence[int],
        padding: Sequence[int], dilations: Sequence[int],
    ) -> None:  # fmt: skip
        """y from x and w ("forward"), x from y and w ("input"), or w from x and y ("weight")."""
        how = Descriptor(
            "convolution", compute=self.compute, mode=1, dims=len(strides), strides=strides, before=padding,
            after=padding, dilations=dilations,
        )  # mode 1: cross-correlation  # fmt: skip
        self.operations.append(Descriptor(f"convolution_{kind}", convolution=how, x=x, w=w, y=y, alpha=1.0, beta=0.0))


# --- plans ------------------------------------------------------------------------------------------------------------


class Library:
    """cuDNN's handle for a GPU, and the stream that it follows: for who has the GIL."""

    __slots__ = ("handle", "stream")

    def __init__(self, gpu: driver.Device):
        made = ctypes.c_void_p()
        with gpu.relaxed():  # it takes memory
            good(api().cudnnCreate(ctypes.addressof(made)), "cudnnCreate")
        self.handle, self.stream = made.value or 0, (ctypes.c_int64 * 1)(0)


@remembered
def _library(gpu: driver.Device) -> Library:
    return Library(gpu)


class Plan:
    """Machine code for a graph: `plan(*addresses)` of the operands runs it in the current stream."""

    def __init__(self, graph: Graph, config: Descriptor, where: dict[str, Any]):
        self.graph = graph
        self.descriptor = Descriptor("plan", config=config, **where)
        need = self.descriptor.get("workspace")[0]
        self.starts = []  # of scratch, in bytes
        for _, size in graph.scratches:
            need = -(-need // GRAIN) * GRAIN
            self.starts.append(need)
            need += size
        self.need = need
        self.held: tuple = ()  # arrays that the words name
        self.start: Callable[..., None] | None = None

    def _words(self, gpu: driver.Device) -> Any:
        """What machine code knows of it."""
        graph, library = self.graph, _library(gpu)
        ids = [*graph.operands, *(i for i, _ in graph.scratches), *(i for i, _ in graph.constants)]
        numbers = [ctypes.addressof(value) for _, value in graph.constants]
        arrays = [(ctypes.c_int64 * len(found))(*found) for found in (ids, self.starts, numbers)]
        packs = dnn_direct.Packs(len(graph.operands))
        words = dnn_direct.words({
            "handle": library.handle, "stream": ctypes.addressof(library.stream), "plan": self.descriptor.address,
            "operands": len(graph.operands), "all": len(ids), "need": self.need, "bytes": id(self.need),
            "scratches": len(self.starts), "constants": len(numbers), "packs": ctypes.addressof(packs.words),
            **dict(zip(("ids", "starts", "numbers"), map(ctypes.addressof, arrays))),
        })  # fmt: skip
        self.held = (packs, words, library, *arrays)
        return words

    def __call__(self, *operands: int) -> None:
        gpu = driver.gpu()
        if self.start is None:
            self.address = (ctypes.c_int64 * 1)(ctypes.addressof(self._words(gpu)))
            self.start = dnn_direct.builtin(self.address, None, gpu.where)
        capture = gpu.stream.capture
        if capture is not None:
            capture.keep(self)  # kernels are unloaded with the plan
        with gpu.relaxed():  # the first call loads kernels
            self.start(*operands)


def plans(
    graph: Graph, policy: Policy, properties: Descriptor | None = None, most: int | None = None
) -> Iterator[Plan]:
    """Plans for a graph, the best first by cuDNN's word.

    Parameters
    ----------
    graph : Graph
    policy : Policy
        Which may be chosen.
    properties : Descriptor, optional
        Those of a GPU that need not be here; such plans cannot be run. Default: the GPU.
    most : int, optional
        The most bytes of workspace and scratch.
    """
    if properties is None:
        where = {"handle": _library(driver.gpu()).handle}
        try:
            whole = Descriptor("graph", operations=graph.operations, **where)
        except Unsupported:
            return
        hints: dict[str, Any] = {}
    else:
        where = hints = {"properties": properties}
        try:
            whole = Descriptor("graph", operations=graph.operations)
        except Unsupported:
            return
    for mode in (A, FALLBACK):
        try:
            heuristics = Descriptor("heuristics", graph=whole, mode=mode, **hints)
            configs = heuristics.inner("results", "config", MOST_CONFIGS)
        except Unsupported:
            continue
        for config in configs:
            try:
                (engine,) = config.inner("engine", "engine")
                if policy.refuses(engine.get("notes", MOST_NOTES)):
                    continue
                plan = Plan(graph, config, where)
            except Unsupported:  # heuristics are guesses
                continue
            if most is None or plan.need <= most:
                yield plan


def free() -> bool:
    """Whether sums may be done in whatever order is fastest: where a program asks for speed, and not for equal bits."""
    return cudnn.benchmark and not (cudnn.deterministic or program.deterministic)


def chosen(graph: Graph, policy: Policy, most: int | None = None) -> "Chosen | None":
    """The plan that is best by cuDNN's word, or with `torch.backends.cudnn.benchmark` by measuring, or None."""
    found = plans(graph, policy, most=most)
    with driver.gpu().relaxed():  # kernels are loaded
        first = next(found, None)
        if first is None:
            return None
        more = (cudnn.benchmark_limit or MOST_CONFIGS) - 1 if cudnn.benchmark else 0
        return Chosen([first, *itertools.islice(found, more)])


class Chosen:
    """A plan for a graph, or several, of which the first call finds the fastest."""

    __slots__ = ("candidates", "cell", "plan", "where")

    def __init__(self, candidates: list[Plan]):
        self.candidates, self.plan = candidates, candidates[0] if len(candidates) == 1 else None
        self.cell, self.where = (ctypes.c_int64 * 1)(0), driver.gpu().where

    def builtin(self, slow: Callable[..., None] | None = None) -> Callable[..., None]:
        """What does the same with less Python; `slow` is called where this plan cannot be by itself."""
        return dnn_direct.builtin(self.cell, slow or self, self.where, (self,))

    def __call__(self, *operands: int) -> None:
        candidates, plan = self.candidates, self.plan
        if plan is None and driver.gpu().stream.capture is not None:  # nothing runs before a replay
            candidates[0](*operands)
            return
        if plan is None:
            times = [self._time(one, operands) for one in candidates]
            plan = self.plan = candidates[times.index(min(times))]
            self.candidates = [plan]
        plan(*operands)
        self.cell[0] = plan.address[0]  # its kernels are loaded: machine code needs no more

    def _time(self, plan: Plan, operands: Sequence[int]) -> float:
        gpu = driver.gpu()
        start, end = driver.Event(gpu, timing=True), driver.Event(gpu, timing=True)
        try:
            plan(*operands)
            start.record(gpu.stream)
            for _ in range(TIMES):
                plan(*operands)
            end.record(gpu.stream)
        except OutOfMemoryError:
            return float("inf")
        end.synchronize()
        return start.elapsed(end)
