"""What a matrix product is to cuBLASLt: how operands lie, and which of them are copied first; arithmetic alone.

cuBLASLt's matrices have columns that lie side by side; a product whose rows do is asked for as that of the transposed
matrices. Operands that it does not take (no stride of 1, batches that do not merge) are copied, or one call is made
for each item of a batch dim, or the generated kernel does the work: whichever an estimate from sizes finds cheapest.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from facula.core.dtype import dtype

__all__ = ["Operand", "Operation", "Packed", "Stored", "Way", "operation", "orientations", "stored", "way"]

LARGEST = 2**31 - 1  # sizes that all of cuBLASLt's kernels take
# Products a second of cuBLASLt and of `product`, bytes a second of copies, seconds of a launch: what an H200 may do.
PACE, GENERATED, COPIED, LAUNCH = 2e13, 4e12, 2e12, 4e-6


class Operand(NamedTuple):
    """How a batch of matrices lies in memory: strides along outer batch, batch, rows and columns, in elements."""

    outer: int
    batch: int
    row: int
    col: int

    def turned(self) -> "Operand":
        """The transposed matrices."""
        return self._replace(row=self.col, col=self.row)

    def merges(self, batch: int) -> bool:
        """Whether both batch dims are one."""
        return self.outer == batch * self.batch


class Stored(NamedTuple):
    """A matrix as cuBLASLt takes it: rows lie side by side, columns `ld` elements apart; whether it is transposed."""

    transposed: bool
    rows: int
    cols: int
    ld: int


def stored(rows: int, cols: int, x: Operand) -> Stored | None:
    """How a matrix is given to cuBLASLt, None where it cannot be.

    >>> stored(3, 5, Operand(0, 0, 5, 1))
    Stored(transposed=True, rows=5, cols=3, ld=5)
    >>> stored(3, 5, Operand(0, 0, 2, 6)) is None
    True
    """
    for transposed, (r, c, step, ld) in enumerate(((rows, cols, x.row, x.col), (cols, rows, x.col, x.row))):
        if (step == 1 or r == 1) and (ld >= r or c == 1):
            return Stored(bool(transposed), r, c, ld if c > 1 else r)
    return None


class Operation(NamedTuple):
    """A product of batches of matrices; `bind` in `targets/cpu/matmul.py` says what its fields mean."""

    element: dtype
    outer: int
    batch: int
    m: int
    n: int
    k: int
    a: Operand
    b: Operand
    c: Operand
    bias: Operand
    alpha: Any
    beta: Any
    biased: bool  # whether a bias is given

    def shape(self, name: str) -> tuple[int, int, int, int]:
        """The sizes of an operand."""
        rows, cols = {"a": (self.m, self.k), "b": (self.k, self.n)}.get(name, (self.m, self.n))
        return self.outer, self.batch, rows, cols

    def turned(self) -> "Operation":
        """That of the transposed matrices: C' = B' A'."""
        return self._replace(
            m=self.n, n=self.m, a=self.b.turned(), b=self.a.turned(), c=self.c.turned(), bias=self.bias.turned()
        )

    def merged(self) -> "Operation":
        """Both batch dims as one, where all operands walk through them as one; a dim of size 1 is the outer one."""
        if self.outer == 1 or self.batch == 1:
            steps = {x: getattr(self, x)._replace(outer=0, batch=sum(getattr(self, x)[:2])) for x in _NAMES}
        elif all(getattr(self, x).merges(self.batch) for x in _NAMES if x != "bias" or self.biased):
            steps = {x: getattr(self, x)._replace(outer=0) for x in _NAMES}
        else:
            return self
        return self._replace(outer=1, batch=self.outer * self.batch, **steps)

    def swapped(self) -> "Operation":
        """The same with the batch dims in the other order."""
        steps = {x: getattr(self, x)._replace(outer=getattr(self, x).batch, batch=getattr(self, x).outer)
                 for x in _NAMES}  # fmt: skip
        return self._replace(outer=self.batch, batch=self.outer, **steps)


_NAMES = ("a", "b", "c", "bias")


def operation(element: dtype, fields: dict[str, Any], biased: bool) -> Operation:
    """The product that the fields of `bind_product` describe; dims of size 1 step nowhere."""
    get = lambda name, other=0: int(fields.get(name, other))  # noqa: E731
    outer, batch = get("outer", 1), get("batch", 1)
    steps: dict[str, Operand] = {}
    for name, row, col in (("a", "row", "k"), ("b", "k", "col"), ("c", "row", "col"), ("bias", "row", "col")):
        lead = get(f"{name}_outer") * (outer > 1), get(f"{name}_batch") * (batch > 1)
        steps[name] = Operand(*lead, get(f"{name}_{row}"), get(f"{name}_{col}"))
    alpha, beta = fields.get("alpha", 1.0), fields.get("beta", 0.0)
    made = Operation(
        element, outer, batch, get("m"), get("n"), get("k"), steps["a"], steps["b"], steps["c"], steps["bias"],
        alpha, beta, biased,
    )  # fmt: skip
    return made.merged()


def orientations(op: Operation) -> Iterator[Operation]:
    """The operation, its transposed one, or both: those whose result has rows side by side."""
    both = (op.turned(), op) if op.n > 1 else (op, op.turned())
    for one in both:
        lies = stored(one.m, one.n, one.c)
        if lies is not None and not lies.transposed:
            yield one


class Packed(NamedTuple):
    """A copy of an operand in a block of its own."""

    name: str
    sizes: tuple[int, int, int, int]
    old: Operand
    new: Operand
    count: int  # of elements


class Way(NamedTuple):
    """An operation that cuBLASLt can do, one call an item of the outer dim, after copies of some operands."""

    op: Operation
    packed: tuple[Packed, ...]  # c: copied from its block afterwards
    seconds: float  # the estimate, without the products themselves


def way(op: Operation) -> Way | None:
    """What is cheapest; None: the generated kernel."""
    if min(op.outer, op.batch, op.m, op.n, op.k) < 1 or max(op.m, op.n, op.k, op.outer * op.batch) > LARGEST:
        return None
    unfit = [x for x in "abc" if stored(*op.shape(x)[2:], getattr(op, x)) is None]
    ways = [_way(one, unfit) for one in ([op, op.swapped()] if op.outer > 1 else [op])]
    apart = [x for x in "abc" if not getattr(op, x).merges(op.batch)] if op.outer > 1 else []
    if apart and not op.biased:
        ways.append(_way(op, sorted({*unfit, *apart}), apart))
    ways = [w for w in ways if op.beta == 0 or all(p.name != "c" for p in w.packed)]
    if not ways:
        return None
    best = min(ways, key=lambda w: w.seconds)
    work = op.outer * op.batch * op.m * op.n * op.k
    plain = not best.packed and best.op.outer == 1
    return best if plain or best.seconds + work / PACE < work / GENERATED + LAUNCH else None


def _way(op: Operation, names: Sequence[str], whole: Sequence[str] = ()) -> Way:
    """With some operands packed, those of `whole` with all that they repeat along batches written out."""
    packed, seconds, made = [], 0.0, op
    for name in names:
        outer, batch, rows, cols = op.shape(name)
        old: Operand = getattr(op, name)
        batch = batch if old.batch or name in whole else 1
        outer = outer if old.outer or name in whole else 1
        new = Operand(batch * rows * cols * (outer > 1), rows * cols * (batch > 1), cols, 1)
        packed.append(Packed(name, (outer, batch, rows, cols), old, new, outer * batch * rows * cols))
        made = made._replace(**{name: new})
        seconds += LAUNCH + 2 * op.element.itemsize * packed[-1].count / COPIED
    made = made.merged()
    return Way(made, tuple(packed), seconds + LAUNCH * made.outer)
