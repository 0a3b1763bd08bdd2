"""Products of a row and a column as reductions of the IR, which cut long sums in pieces as no product does."""

from collections.abc import Callable
from functools import cache as remembered
from typing import Any

from facula.core import dtype as dt
from facula.core.dtype import dtype
from facula.ir import expr as ir
from facula.ir.kernel import BROADCAST, CONTIGUOUS, STRIDED, Access, Input, Kernel, Result

from .. import driver
from ..code import compile

__all__ = ["Dot", "fits"]


@remembered
def _code(t: dtype, letters: tuple[str, str, str], gpu: driver.Device) -> Callable[..., None]:
    wide = dt.float32 if t in dt.STORED_ONLY else dt.int64 if t.kind in "ui" and t.itemsize < 8 else t
    a, b = (ir.cast(ir.load(name, t), wide) for name in "ab")
    value = ir.cast(ir.reduce("sum", a * b), t)
    kernel = Kernel("dot", (Input("a", t), Input("b", t)), (Result("out", t, value, per_row=True),))
    return compile(kernel, Access(1, 1, letters))


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
        batch, letters = get("batch", 1), []
        self.slow, self.values = slow, [batch, get("k")]
        for outer, inner in ((get("c_batch"), None), (get("a_batch"), get("a_k")), (get("b_batch"), get("b_k"))):
            first = {1: CONTIGUOUS, 0: BROADCAST}.get(outer, STRIDED) if batch > 1 else CONTIGUOUS
            second = BROADCAST if inner is None else {1: CONTIGUOUS, 0: BROADCAST}.get(inner, STRIDED)
            letters.append(first + second)
            self.values += [outer] * (first == STRIDED) + ([inner] if second == STRIDED else [])
        self.code = _code(t, (letters[0], letters[1], letters[2]), driver.gpu())

    def function(self, c: int, a: int, b: int, bias: int = 0) -> None:
        if bias:
            self.slow(c, a, b, bias)
        else:
            self.code(c, a, b, *self.values)

    __call__ = function
