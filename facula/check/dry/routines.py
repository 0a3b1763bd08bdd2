"""Kernels and routines of the CPU's target, run where all operands are known and few, left out where they are not."""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

from facula.core.dtype import dtype
from facula.ir.kernel import Access, Kernel, width
from facula.targets import cpu, routine
from facula.targets.meta.memory import fetch

from .memory import COUNT, Block, at

__all__ = [
    "MASKS", "RANDOM", "attend", "attend_backward", "attend_dtypes", "attend_ways", "bind_product", "compile",
    "compile_many", "convolve", "convolve_weight", "fetch", "product", "reader", "recurrence", "recurrence_backward",
    "rows", "search", "sort",
]  # fmt: skip

LITTLE = 8 << 20  # bytes that operands may have together for their kernel to run
KNOWN = {"isnan": 0, "isinf": 0, "isfinite": 1}  # what these say of numbers that nobody computed: all is well


def _of_cpu(name: str) -> Any:
    """A routine of the target for CPUs."""
    target: Any = cpu
    return routine(target, name)


def _left_out(blocks: Sequence[Block | None]) -> bool:
    """Whether work on these is not done."""
    total = 0
    for block in blocks:
        if block is not None:
            if block.hollow:
                return True
            total += block.size
    return total > LITTLE


def _written(blocks: Sequence[Block | None], hollow: bool) -> None:
    for block in blocks:
        if block is not None:
            block.blank = False
            block.hollow = block.hollow or hollow


def compile(kernel: Kernel, access: Access) -> Callable[..., int | None]:
    """The code of a kernel; machine code is made of it when it first runs."""
    operands, results = len(kernel.operands), len(kernel.results)
    made: Callable | None = None
    known = KNOWN.get(kernel.name)
    fills = operands == results == 1 and kernel.name == "fill"

    def run(*args):
        nonlocal made
        blocks = [at(address) for address in args[:operands]]
        if fills and args[1] == 0 and blocks[0] is not None and blocks[0].blank:
            return None
        if _left_out(blocks):
            if known is None or any(b.hollow for b in blocks[:results] if b is not None):
                _written(blocks[:results], True)
            elif known:
                for address, block in zip(args[:results], blocks):
                    if block is not None:
                        ctypes.memset(address, 1, min(block.end - address, LITTLE))
            return None
        _written(blocks[:results], False)
        if made is None:
            made = cpu.compile(kernel, access)
        return made(*args)

    return run


# --- routines -----------------------------------------------------------------------------------------------------


def _guarded(make: Callable[[], Callable], results: Sequence[int] | None, otherwise: Any = None) -> Callable:
    """A function of addresses and numbers that runs what `make` gives where all its memory is known and little.

    `results` says which of the blocks that its arguments name, counted from the first, it writes; None: all.
    """
    made: list[Callable] = []

    def run(*args, **kwargs):
        blocks = [block for a in args if a.__class__ is int and (block := at(a)) is not None]
        written = blocks if results is None else [blocks[i] for i in results if i < len(blocks)]
        if _left_out(blocks):
            _written(written, True)
            return otherwise
        _written(written, False)
        if not made:
            made.append(make())
        return made[0](*args, **kwargs)

    return run


def _factory(name: str, results: Sequence[int] | None = (0,), otherwise: Any = None) -> Callable:
    """The routine of that name: a function of dtypes and sizes that gives one of addresses."""

    def build(*form):
        return _guarded(lambda: _of_cpu(name)(*form), results, otherwise)

    return build


attend = _factory("attend", None)
attend_backward = _factory("attend_backward", None)
attend_dtypes = _of_cpu("attend_dtypes")
attend_ways = _of_cpu("attend_ways")
convolve = _factory("convolve")
convolve_weight = _factory("convolve_weight")
product = _factory("product")
recurrence = _factory("recurrence", None)
recurrence_backward = _factory("recurrence_backward", None)
rows = _factory("rows", otherwise=-1)
search = _factory("search")
sort = _factory("sort", (0, 1))


class Bound:
    """A product whose sizes are settled; `targets.cpu.matmul.BoundProduct`."""

    __slots__ = ("function",)
    tail = ()

    def __init__(self, element: dtype, fields: dict):
        self.function = _guarded(lambda: _of_cpu("bind_product")(element, **fields), (0,))

    def __call__(self, c: int, a: int, b: int, bias: int = 0) -> None:
        self.function(c, a, b, bias)


def bind_product(element: dtype, **fields) -> Bound:
    """A product whose sizes are settled."""
    return Bound(element, fields)


def compile_many(kernel: Kernel, columns: Sequence[int | None]) -> tuple[Callable[..., None], int]:
    """Kernels on many sets of operands: left out for all sets where it is for one."""
    function, chunk = _of_cpu("compile_many")(kernel, columns)
    count = width(columns)
    written = {column for _, column in zip(kernel.results, columns) if column is not None}

    def run(table: int, rows: int, elements: int, partial: int, *params) -> None:
        words = (ctypes.c_int64 * (rows * (count + 2))).from_address(table)
        sets = [[at(words[row + column]) for column in range(count)] for row in range(0, len(words), count + 2)]
        total = sum(block.size for blocks in sets for block in blocks if block is not None)
        out = total > LITTLE or any(_left_out(blocks) for blocks in sets)
        for blocks in sets:
            _written([blocks[column] for column in written], out)
        if partial:
            _written([at(partial)], out)
        if not out:
            function(table, rows, elements, partial, *params)

    return run, chunk


class _Masks:
    """Choosing by mask; of a mask that nobody computed all elements are taken to be chosen."""

    @staticmethod
    def count(mask: int, n: int) -> tuple[int, Any]:
        block = at(mask)
        if block is not None and _left_out([block]):
            return n, None
        return _of_cpu("masks").count(mask, n)

    @staticmethod
    def select(size: int) -> Callable[..., None]:
        def run(mask, n, counts, input, out):
            if counts is None or _left_out([at(input)]):
                _written([at(out)], True)
            else:
                _written([at(out)], False)
                _of_cpu("masks").select(size)(mask, n, counts, input, out)

        return run

    @staticmethod
    def coordinates(mask, n, counts, out, total, shape) -> None:
        _written([at(out)], counts is None)
        if counts is not None:
            _of_cpu("masks").coordinates(mask, n, counts, out, total, shape)


MASKS = _Masks()


def _drawing(draw: Callable) -> Callable:
    """A sampler that fills little tensors, whether known or not: what is drawn later follows from it."""

    def run(*args, **kwargs):
        blocks = [block for a in args if a.__class__ is int and (block := at(a)) is not None]
        if sum(block.size for block in blocks) > LITTLE or any(block.hollow for block in blocks[1:]):
            _written(blocks[:1], True)
            return -1
        _written(blocks[:1], False)
        return draw(*args, **kwargs)

    return run


class _Random:
    """The samplers of the CPU; large tensors are not filled."""

    def __getattr__(self, name: str) -> Callable:
        return _drawing(getattr(_of_cpu("random"), name))

    def sampler(self, name: str, count: int, code: str) -> Callable[..., None]:
        return _drawing(_of_cpu("random").sampler(name, count, code))


RANDOM = _Random()
_STANDS_FOR = {"f": 1.0, "c": 1 + 0j, "b": False}


def reader(element: dtype) -> Callable[[int], Any] | None:
    """A function (address) -> Python number: of numbers that nobody computed 1, False of truth values."""
    read = _of_cpu("reader")(element)
    if read is None:
        return None
    placeholder = _STANDS_FOR.get(element.kind, 1)

    def item(address: int):
        block = at(address)
        if block is None or not block.hollow:
            return read(address)
        COUNT.hollow_reads += 1
        return placeholder

    return item
