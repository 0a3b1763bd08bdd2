"""Products of a row and a column, and sums of rows, as reductions of the IR, which cut long ones in pieces."""

from collections.abc import Callable
from functools import cache as remembered
from functools import reduce
from itertools import chain
from operator import mul
from typing import Any

from facula.core import dtype as dt
from facula.core.dtype import dtype
from facula.ir import expr as ir
from facula.ir.kernel import BROADCAST, CONTIGUOUS, STRIDED, Access, Input, Kernel, Result

from .. import driver
from ..code import compile

__all__ = ["Dot", "Sums", "fits"]


@remembered
def _code(t: dtype, letters: tuple[str, ...], gpu: driver.Device) -> Callable[..., None]:
    """Sums of products of two operands, or of one operand."""
    wide = dt.float32 if t in dt.STORED_ONLY else dt.int64 if t.kind in "ui" and t.itemsize < 8 else t
    names = "ab"[: len(letters) - 1]
    value = ir.cast(ir.reduce("sum", reduce(mul, [ir.cast(ir.load(name, t), wide) for name in names])), t)
    inputs = tuple(Input(name, t) for name in names)
    kernel = Kernel("dot" if len(names) == 2 else "sums", inputs, (Result("out", t, value, per_row=True),))
    return compile(kernel, Access(1, 1, letters))


def _letters(batch: int, outer: int, inner: int | None) -> tuple[str, list[int]]:
    """How an operand is walked through, by its steps along batch and row (None: a result); steps that are arguments."""
    first = {1: CONTIGUOUS, 0: BROADCAST}.get(outer, STRIDED) if batch > 1 else CONTIGUOUS
    second = BROADCAST if inner is None else {1: CONTIGUOUS, 0: BROADCAST}.get(inner, STRIDED)
    return first + second, [outer] * (first == STRIDED) + ([inner] if inner is not None and second == STRIDED else [])


def fits(t: dtype, fields: dict[str, Any]) -> bool:
    """Whether that is all that a product is."""
    one = all(fields.get(name, 1) == 1 for name in ("outer", "m", "n"))
    plain = fields.get("alpha", 1) == 1 and fields.get("beta", 0) == 0 and min(fields["k"], fields.get("batch", 1)) > 0
    return one and plain and t.kind in "uif" and t not in dt.FLOAT8


class Dot:
    """Dots of a batch; `slow` where there is a bias."""

    __slots__ = ("code", "slow", "values")
    tail = ()

    def __init__(self, t: dtype, fields: dict[str, Any], slow: Callable[..., None]):
        get = lambda name, other=0: int(fields.get(name, other))  # noqa: E731
        batch = get("batch", 1)
        steps = (get("c_batch"), None), (get("a_batch"), get("a_k")), (get("b_batch"), get("b_k"))
        letters, values = zip(*(_letters(batch, *each) for each in steps))
        self.slow, self.values = slow, [batch, get("k"), *chain(*values)]
        self.code = _code(t, letters, driver.gpu())

    def function(self, c: int, a: int, b: int, bias: int = 0) -> None:
        if bias:
            self.slow(c, a, b, bias)
        else:
            self.code(c, a, b, *self.values)

    __call__ = function


class Sums:
    """Sums of `k` elements that lie `along` apart, of each of `count` rows that lie `across` apart."""

    __slots__ = ("code", "values")

    def __init__(self, t: dtype, count: int, k: int, across: int, along: int):
        letters, values = zip(*(_letters(count, *each) for each in ((1, None), (across, along))))
        self.code, self.values = _code(t, letters, driver.gpu()), [count, k, *chain(*values)]

    def __call__(self, out: int, x: int) -> None:
        self.code(out, x, *self.values)
