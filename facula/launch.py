"""The one door to machine code: a kernel and the layouts of its operands in, something to call out.

Chooses the iteration space (drops, orders and merges dimensions), asks the device's target for code for
(kernel, access) and binds sizes and strides. The result, a `Plan`, is kept by the operator that asked.
"""

import ctypes
import importlib
import sys
import weakref
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from facula.config import settings
from facula.core.device import CPU, device
from facula.core.spec import Spec, dense
from facula.core.storage import Storage
from facula.core.tensor import Tensor
from facula.ir.expr import walk
from facula.ir.kernel import (
    BROADCAST,
    CONTIGUOUS,
    REVERSED,
    STRIDED,
    TRANSPOSED,
    Access,
    Kernel,
    Result,
    known_step,
    width,
)
from facula.targets import routine, unavailable

__all__ = [
    "Bound", "accelerated", "address_on", "allocator", "bind", "checks_later", "empty", "empty_dense", "forget",
    "hollow", "is_pinned", "lacks", "memo", "native", "new_storage", "offered", "pinned", "recording", "run",
    "transfer", "use",
]  # fmt: skip

ORDERED = ("index", "extent", "row_index", "scan")  # nodes whose meaning depends on the order of dims


OWN: dict[str, Any] = {}  # targets that stand in for those of `targets`, by type of device: `use`


@cache
def _target(where: device):
    """The module of `targets` that runs kernels on a device."""
    if where.type in OWN:
        return OWN[where.type]
    if where.type == "cpu":
        own = "reference" if settings.target == "reference" else "cpu"
        return importlib.import_module(f"facula.targets.{own}")
    if where.type == "meta":
        return importlib.import_module("facula.targets.meta")
    if where.type == "cuda":
        return importlib.import_module("facula.targets.cuda.devices").target(where)
    unavailable(where)


@cache
def hollow(where: device) -> bool:
    """Whether tensors on a device have no numbers: what depends on them is an error there."""
    return getattr(_target(where), "HOLLOW", False)


def checks_later(where: device) -> bool:
    """Whether a device tells of failing checks when it is waited for: kernels that write must leave out what fails."""
    return getattr(_target(where), "CHECKS_LATER", False)


class Bound:
    """Machine code with sizes and strides: `function(*addresses, *params, *tail)`, or None: nothing is to be done."""

    __slots__ = ("function", "tail")

    def __init__(self, function: Callable | None, tail: tuple[int, ...]):
        self.function = function
        self.tail = tail


_COMPILED: dict[tuple[Kernel, Access, device], Callable] = {}


def compiled(kernel: Kernel, access: Access, where: device) -> Callable:
    """The machine code for a kernel; compiled, or read from the disk cache, on first use."""
    key = (kernel, access, where)
    found = _COMPILED.get(key)
    if found is None:
        found = _COMPILED[key] = _target(where).compile(kernel, access)
    return found


def _merge(sizes: list[int], strides: list[list[int]]) -> tuple[list[int], list[list[int]]]:
    """Drop dims of size 1 and join dims that all operands walk through as one; strides[operand][dim]."""
    kept = [d for d, n in enumerate(sizes) if n != 1]
    out_sizes: list[int] = []
    out_strides: list[list[int]] = [[] for _ in strides]
    for d in kept:
        if out_sizes and all(o[-1] == s[d] * sizes[d] for o, s in zip(out_strides, strides)):
            out_sizes[-1] *= sizes[d]
            for o, s in zip(out_strides, strides):
                o[-1] = s[d]
        else:
            out_sizes.append(sizes[d])
            for o, s in zip(out_strides, strides):
                o.append(s[d])
    return out_sizes, out_strides


def _order(sizes: list[int], strides: list[list[int]], lead: Sequence[int]) -> tuple[list[int], list[list[int]]]:
    """Dims sorted so that the operands in `lead` move in ever smaller steps."""
    dims = sorted(range(len(sizes)), key=lambda d: tuple(-abs(strides[i][d]) for i in lead))
    return [sizes[d] for d in dims], [[s[d] for d in dims] for s in strides]


def _beside(sizes: list[int], strides: list[list[int]]) -> tuple[list[int], list[list[int]]]:
    """Dims of a map in an order where one that some operand is contiguous along stands beside the last."""
    turned = [d for s in strides if s and s[-1] not in (0, 1) for d in range(len(sizes) - 1) if s[d] == 1]
    if not turned:
        return sizes, strides
    dims = [d for d in range(len(sizes) - 1) if d != turned[0]] + [turned[0], len(sizes) - 1]
    return [sizes[d] for d in dims], [[s[d] for d in dims] for s in strides]


def _step(stride: int, read: bool) -> str:
    return {1: CONTIGUOUS, 0: BROADCAST, -1: REVERSED if read else STRIDED}.get(stride, STRIDED)


def bind(
    kernel: Kernel,
    outer: Sequence[int],
    row: Sequence[int] | None,
    strides: Sequence[Sequence[int]],
    where: device = CPU,
) -> Bound:
    """Machine code for `kernel` over the given sizes.

    `strides[i]` are the strides in elements of `kernel.operands[i]` for each dim, outer then row (per_row results:
    the outer dims alone). `row` is None for a map.
    """
    outer = list(outer)
    if 0 in outer or (row is not None and 0 in row and not any(r.per_row for r in kernel.results)):
        return Bound(None, ())
    cut = len(outer)
    results = len(kernel.results)
    outer_strides = [list(s[:cut]) for s in strides]
    row_strides = [list(s[cut:]) or [0] * len(row or ()) for s in strides]
    if not kernel.uses(*ORDERED[:2]):
        ordered_writes = any(r.offset is not None for r in kernel.results) and not kernel.disjoint
        if not ordered_writes and not kernel.checks:
            # Order by the first result, then the inputs; a reduction's outer dims likewise.
            outer, outer_strides = _order(outer, outer_strides, range(len(strides)))
        outer, outer_strides = _merge(outer, outer_strides)
        if row is None and not ordered_writes and not kernel.checks:
            outer, outer_strides = _beside(outer, outer_strides)
        if row is not None:
            row = list(row)
            if not kernel.uses(*ORDERED[2:]) and not _extremes(kernel) and not ordered_writes:
                row, row_strides = _order(row, row_strides, range(results, len(strides)))
            row, row_strides = _merge(row, row_strides)
    if not outer:
        outer, outer_strides = [1], [[0] for _ in strides]
    if row is not None and not row:
        row, row_strides = [1], [[0] for _ in strides]
    inner = []
    for operand, o, r in zip(kernel.operands, outer_strides, row_strides):
        # A dim of size 1 steps nowhere: call it contiguous, so that all such layouts share code.
        read = not isinstance(operand, Result)
        step = CONTIGUOUS if outer[-1] == 1 and row is None else _step(o[-1], read)
        if step == STRIDED and row is None and len(outer) > 1 and o[-2] == 1:
            step = TRANSPOSED
        if row is not None:
            per_row = isinstance(operand, Result) and operand.per_row
            step += BROADCAST if per_row else _step(r[-1], read)
        inner.append(step)
    access = Access(len(outer), len(row or ()), tuple(inner))
    tail = [*outer, *(row or ())]
    for operand, letters, o, r in zip(kernel.operands, inner, outer_strides, row_strides):
        own = o if (isinstance(operand, Result) and operand.per_row) else [*o, *(r if row is not None else ())]
        tail += [stride for d, stride in enumerate(own) if known_step(len(outer), len(row or ()), letters, d) is None]
    return Bound(compiled(kernel, access, where), tuple(tail))


def _extremes(kernel: Kernel) -> bool:
    return any(n.op == "reduce" and n.value in ("argmax", "argmin") for n in walk(*kernel.roots()))


def run(bound: Bound, pointers: Sequence[int], params: Sequence[Any] = ()) -> int | None:
    """Run machine code; the first failing value of its checks, or None."""
    if bound.function is None:
        return None
    return bound.function(*pointers, *params, *bound.tail)


def lacks(x: Tensor) -> bool:
    """Whether the numbers of a tensor are not to be had: its device has none, or nobody computed them."""
    target = _target(x.spec.device)
    ask = getattr(target, "lacks", None)
    return getattr(target, "HOLLOW", False) if ask is None else ask(x)


def forget(x: Tensor) -> Tensor:
    """The tensor itself, of which nobody computed the numbers."""
    tell = getattr(_target(x.spec.device), "forget", None)
    if tell is not None:
        tell(x)
    return x


def use(kind: str, target: Any) -> None:
    """Have another target run kernels on devices of a type from now on: before any tensor is made there."""
    OWN[kind] = target
    for known in (_target, hollow, allocator, offered):
        known.cache_clear()
    for table in (_COMPILED, _EMPTY, _MANY):
        table.clear()


def new_storage(nbytes: int, where: device = CPU) -> Storage:
    """Uninitialised memory from the device's pool."""
    return _target(where).new_storage(nbytes)


def empty_dense(shape, dtype, where: device = CPU) -> Tensor:
    """An uninitialised row-major tensor."""
    return empty(dense(dtype, shape, where))


@cache
def allocator(where: device) -> Callable[[Spec], Tensor]:
    """The device's function that makes an uninitialised tensor of a spec: what operators call on their hot path."""
    return _target(where).empty


_EMPTY: dict[device, Callable[[Spec], Tensor]] = {}


def empty(spec: Spec) -> Tensor:
    """An uninitialised tensor of a dense spec."""
    try:
        return _EMPTY[spec.device](spec)
    except KeyError:
        _EMPTY[spec.device] = allocator(spec.device)
        return _EMPTY[spec.device](spec)


def native(name: str, where: device = CPU) -> Any:
    """A routine of the device's target that is no generated kernel: `product`, `random`, ...; see its `ROUTINES`."""
    return routine(_target(where), name)


_COPIES: dict[tuple[int, device], Storage] = {}  # of arrays, by identity


def address_on(array: np.ndarray, where: device) -> int:
    """The address of an array's numbers for kernels of a device: its own, or that of a copy that lives as long."""
    if where is CPU or hollow(where):
        return array.ctypes.data
    key = id(array), where
    held = _COPIES.get(key)
    if held is None:
        held = new_storage(array.nbytes, where)
        native("from_host", where)(held.ptr, array.ctypes.data, array.nbytes)
        _COPIES[key] = held  # now: a copy may be refused
        weakref.finalize(array, _COPIES.pop, key, None)
    return held.ptr


def transfer(target: Spec, source: Spec) -> Bound:
    """What copies all of a tensor to one of the same dtype and layout on another device."""
    if source.device is CPU or hollow(target.device):
        return Bound(native("from_host", target.device), (target.nbytes,))
    if target.device is not CPU and not hollow(source.device):
        return Bound(native("between", source.device), (target.nbytes, target.device.index or 0))
    return Bound(native("to_host", source.device), (target.nbytes,))


@cache
def offered(name: str, where: device = CPU) -> Any:
    """`native` for what a target may lack, where operators have another way: None there."""
    return native(name, where) if name in _target(where).ROUTINES else None


def accelerated() -> bool:
    """Whether the machine has a GPU that can be used."""
    return importlib.import_module("facula.targets.cuda.driver").reason() == ""


def pinned(spec: Spec) -> Tensor:
    """An uninitialised tensor of the host that the GPU copies from and to while the program goes on."""
    return native("pinned", device("cuda"))(spec)


def is_pinned(x: Tensor) -> bool:
    """Whether a tensor of the host lies in memory that the GPU copies from and to while the program goes on."""
    if "facula.targets.cuda.memory.pinned" not in sys.modules or not accelerated():
        return False  # nothing is where no GPU was ever used
    return native("is_pinned", device("cuda"))(x.ptr)


def memo(where: device = CPU) -> Any:
    """What repeats calls in machine code on a device (`native/apply.py`), or None where nothing does."""
    return offered("Memo", where)


def recording(where: device) -> bool:
    """Whether what the current stream of a device is given is recorded, and done whenever that is replayed."""
    return "recording" in _target(where).ROUTINES and native("recording", where)()


def constructor(cls: type, arguments: Sequence[str], defaults: dict[str, Any]) -> Callable:
    """A fast function that makes instances of a class with slots from values in the order of `arguments`."""
    from facula.native import records  # records live in the host's memory, whatever the device

    return records.constructor(cls, arguments, defaults)


def view_record() -> Callable[..., Tensor]:
    """A fast function (spec, storage, ptr, base, seen) -> Tensor."""
    from facula.native import records

    return records.view


def threads() -> Any:
    """The thread pool of the host."""
    from facula.targets.cpu import threads as pool

    return pool


def vector_bits() -> int:
    """The size of a vector register of the host."""
    from facula.targets.cpu import emit

    return emit.host()[0]


def memory() -> Any:
    """The memory pool of the host."""
    from facula.targets.cpu import pool

    return pool


class Many:
    """A kernel that runs on many sets of dense operands in one call; `run_many` runs it."""

    __slots__ = ("chunk", "fill", "function", "partial", "width", "written")

    def __init__(self, kernel: Kernel, columns: Sequence[int | None], where: device):
        self.function, self.chunk = native("compile_many", where)(kernel, columns)
        self.fill = None
        if self.function is not None:
            from facula.native import tables  # tensors are records in the host's memory, whatever the device

            self.fill = tables.fill()
        self.width = width(columns)
        results = list(zip(kernel.results, columns))
        self.written = sum({1 << column for _, column in results if column is not None})
        self.partial = next((result.dtype for result, column in results if column is None), None)


_MANY: dict[tuple[Kernel, tuple[int | None, ...], device], Many] = {}


def many(kernel: Kernel, columns: tuple[int | None, ...], where: device = CPU) -> Many:
    """Machine code for rows of tensors: `columns` says which of a row's tensors is each of `kernel.operands`.

    ~column is one of which all elements read the first. None stands for a result of one element a share of at most
    `chunk` elements: the kernel reduces these.
    """
    key = (kernel, columns, where)
    found = _MANY.get(key)
    if found is None:
        found = _MANY[key] = Many(kernel, columns, where)
    return found


def run_many(
    code: Many, tensors: list[Tensor], params: Sequence[Any] = (), where: device = CPU,
    refresh: Callable[[], list] | None = None,
) -> Tensor | None:  # fmt: skip
    """Run on `tensors`, the rows one after the other; what was written counts as changed. Returns results of shares.

    `refresh` returns the params of each replay of a recorded call: see `recording`.
    """
    rows = len(tensors) // code.width
    if code.fill is None:
        for i, tensor in enumerate(tensors):
            tensor.storage.version += code.written >> i % code.width & 1
        return None if code.partial is None else empty_dense((rows,), code.partial, where)
    table = (ctypes.c_int64 * (rows * (code.width + 2) + 1))()
    address = ctypes.addressof(table)
    elements = code.fill(tensors, address, code.width, code.written, code.chunk)
    more = {} if refresh is None else {"refresh": refresh}
    partial = None if code.partial is None else empty_dense((table[-1],), code.partial, where)
    code.function(address, rows, elements, 0 if partial is None else partial.ptr, *params, **more)
    return partial
