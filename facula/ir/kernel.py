"""What a kernel is: inputs, parameters and results over an iteration space of outer dims and row dims.

One form serves all families. Without row dims it is a map (`exp`); results that are one number a row make it a
reduction (`sum`); results for each element that use `reduce` make it a row kernel (`softmax`); a `load` with an
offset makes it a gather, a result with an offset a scatter. Sizes and strides are arguments of the call:
a kernel knows neither.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from facula.core.dtype import dtype

from .expr import Expr, walk

__all__ = [
    "COMBINES", "Access", "Check", "Input", "Kernel", "Param", "Result", "arguments", "known_step", "of_rows", "width",
]  # fmt: skip

COMBINES = {"set": "=", "add": "+=", "mul": "*=", "maximum": "max=", "minimum": "min="}  # and how they are shown


@dataclass(frozen=True)
class Input:
    """A tensor that is read; `dtype` is what lies in memory."""

    name: str
    dtype: dtype


@dataclass(frozen=True)
class Param:
    """A scalar argument."""

    name: str
    dtype: dtype


@dataclass(frozen=True)
class Result:
    """A tensor that is written; `value` is cast to `dtype` when stored.

    `per_row`: one element a row (it has strides for the outer dims alone); else one for each element.
    `offset` (int64, elements) is added to the position; `combine` is "set", which overwrites, or an operation on what
    is there and the value: one of `COMBINES`. With an offset, rows and elements are visited in row-major order, the
    last write wins, and the target runs them on one thread unless `Kernel.disjoint`.
    """

    name: str
    dtype: dtype
    value: Expr
    per_row: bool = False
    offset: Expr | None = None
    where: Expr | None = None  # nothing is stored where false
    combine: str = "set"


@dataclass(frozen=True)
class Check:
    """A condition (bool) that must hold for every element; the kernel returns the first failing `value` (int64).

    An access that a check guards is made only where the check holds.
    """

    holds: Expr
    value: Expr
    message: str  # "{value}" is filled in


@dataclass(frozen=True)
class Kernel:
    """A machine-independent kernel; equal kernels compare equal and share machine code."""

    name: str
    inputs: tuple[Input, ...]
    results: tuple[Result, ...]
    params: tuple[Param, ...] = ()
    checks: tuple[Check, ...] = ()
    disjoint: bool = False  # offsets of results meet within a row at most: rows may go in any order, on any threads
    _hash: int = field(default=0, compare=False, repr=False)

    def __post_init__(self):
        object.__setattr__(self, "_hash", hash((self.name, self.inputs, self.results, self.params, self.checks)))

    def __hash__(self) -> int:
        return self._hash

    def roots(self) -> tuple[Expr, ...]:
        """All expressions that the kernel evaluates."""
        found = [e for r in self.results for e in (r.value, r.offset, r.where) if e is not None]
        return (*found, *(e for c in self.checks for e in (c.holds, c.value)))

    @property
    def operands(self) -> tuple[Result | Input, ...]:
        """Everything that has an address: results, then inputs."""
        return (*self.results, *self.inputs)

    def uses(self, *ops: str) -> bool:
        """Whether a node with one of these operations occurs."""
        return any(node.op in ops for node in walk(*self.roots()))


# How an operand moves along the innermost dim of an iteration: next to each other, not at all, or by a stride.
# TRANSPOSED: by a stride, but next to each other along the dim before (both outer, of a map).
# REVERSED: to the one before (inputs alone).
CONTIGUOUS, BROADCAST, STRIDED, TRANSPOSED, REVERSED = "1", "0", "s", "t", "r"


@dataclass(frozen=True)
class Access:
    """What machine code is specialised by, besides the kernel: ranks and the innermost step of each operand.

    `inner[i]` belongs to `kernel.operands[i]` and has one letter a role: the step along the last outer dim, then
    (with row dims) along the last row dim; CONTIGUOUS, BROADCAST, STRIDED, TRANSPOSED or REVERSED each. A per_row
    result has "0" for rows.
    """

    outer: int  # number of outer dims, at least 1 (launchers make a dim of size 1)
    row: int  # number of row dims; 0 for a map
    inner: tuple[str, ...]


def arguments(kernel: Kernel, access: Access) -> list[str]:
    """The names of the arguments of a compiled kernel, in order; launchers and targets both follow this list.

    Addresses of results and inputs (`name.ptr`); params (complex ones: `name.re`, `name.im`); extents (`n0`, `n1`,
    ...: outer dims, then row dims); for each operand the strides in elements (`name.s0`, ...) of every dim of the
    iteration (per_row results: the outer dims), except that the stride of a last outer or last row dim is left out
    where `inner` tells it.
    """
    dims = access.outer + access.row
    names = [f"{o.name}.ptr" for o in kernel.operands]
    for p in kernel.params:  # a complex number is two floats
        names += [f"{p.name}.re", f"{p.name}.im"] if p.dtype.kind == "c" else [p.name]
    names += [f"n{d}" for d in range(dims)]
    for operand, inner in zip(kernel.operands, access.inner):
        last = access.outer if isinstance(operand, Result) and operand.per_row else dims
        for d in range(last):
            if known_step(access.outer, access.row, inner, d) is None:
                names.append(f"{operand.name}.s{d}")
    return names


def known_step(outer: int, row: int, inner: str, d: int) -> int | None:
    """The step of an operand along dim `d` where its letters tell it, else None: it is an argument."""
    letter = inner[0] if d == outer - 1 else inner[1] if row and d == outer + row - 1 else STRIDED
    if letter == STRIDED and d == outer - 2 and inner[0] == TRANSPOSED:
        letter = CONTIGUOUS
    return {CONTIGUOUS: 1, BROADCAST: 0, REVERSED: -1}.get(letter)


def width(columns: Sequence[int | None]) -> int:
    """How many tensors a row has, of the columns of a kernel's operands: see `launch.many`."""
    return 1 + max(column if column >= 0 else ~column for column in columns if column is not None)


def of_rows(columns: Sequence[int | None]) -> Access:
    """How kernels walk through a share of a row of tensors: next to each other, or not at all (~column)."""
    reduces = None in columns
    letters = [BROADCAST if column is None or column < 0 else CONTIGUOUS for column in columns]
    return Access(1, int(reduces), tuple(BROADCAST * reduces + letter for letter in letters))
