"""The parts of which the expansions are made: number formats, polynomials, exact sums and products."""

from dataclasses import dataclass

from facula.core import dtype as dt
from facula.core.dtype import dtype
from facula.ir import expr as ir
from facula.ir.expr import Expr

INF, NAN = float("inf"), float("nan")


@dataclass(frozen=True)
class Format:
    """A binary floating-point type: the integers of its size, its mantissa and exponent."""

    integer: dtype
    mantissa: int  # stored bits
    bias: int

    @property
    def magic(self) -> float:
        """1.5 * 2**mantissa: adding it rounds to an integer, which then lies in the low bits."""
        return 1.5 * 2.0**self.mantissa

    @property
    def sign_bit(self) -> int:
        """The place of the sign."""
        return self.mantissa + self.bias.bit_length() + 1

    @property
    def sign(self) -> int:
        """The integer whose only bit is the sign."""
        return -1 << self.sign_bit

    @property
    def infinity(self) -> int:
        """The bits of infinity."""
        return (2 * self.bias + 1) << self.mantissa


FORMATS = {dt.float32: Format(dt.int32, 23, 127), dt.float64: Format(dt.int64, 52, 1023)}


def number(value: float, like: Expr) -> Expr:
    """A constant of the dtype of `like`."""
    return ir.const(value, like.dtype)


def bits(x: Expr) -> Expr:
    """The bits of a float as a signed integer."""
    return ir.bitcast(x, FORMATS[x.dtype].integer)


def from_bits(i: Expr) -> Expr:
    """The float with these bits."""
    return ir.bitcast(i, dt.float32 if i.dtype is dt.int32 else dt.float64)


def polynomial(x: Expr, coefficients: tuple[float | Expr, ...]) -> Expr:
    """Horner's scheme, lowest coefficient first."""
    result = coefficients[-1] if isinstance(coefficients[-1], Expr) else number(coefficients[-1], x)
    for c in reversed(coefficients[:-1]):
        result = ir.fma(result, x, c)
    return result


def clamp(x: Expr, low: float | None, high: float | None) -> Expr:
    """`x` within bounds; NaN stays NaN (one min or max instruction each)."""
    if low is not None:
        x = ir.select(ir.lt(x, low), number(low, x), x)
    if high is not None:
        x = ir.select(ir.gt(x, high), number(high, x), x)
    return x


def usually(condition: Expr, usual: Expr, rare: Expr) -> Expr:
    """`select` with a hint: all that only `rare` needs may be skipped when the condition holds in all lanes."""
    node = ir.select(condition, usual, rare)
    return ir._node("select", node.args, node.dtype, "usually")


def fast_two_sum(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """a + b and its rounding error, for |a| >= |b| (or a = 0)."""
    s = a + b
    return s, b - (s - a)


def two_sum(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """a + b and its rounding error, for any a and b (Knuth)."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def two_product(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """a * b and its rounding error."""
    p = a * b
    return p, ir.fma(a, b, -p)


def is_(x: Expr, value: float) -> Expr:
    """Whether x equals a number."""
    return ir.eq(x, number(value, x))


def split(value, dtype: dtype, parts: int, drop: int = 0) -> tuple[float, ...]:
    """An exact number (Fraction) as a sum of floats of `dtype`, largest first; `drop` low bits of the first are 0."""
    result = []
    for k in range(parts):
        digits = FORMATS[dtype].mantissa + 1 - (drop if k == 0 else 0)
        part = _round(value, digits)
        result.append(part)
        value -= type(value)(part)
    return tuple(result)


def _round(value, digits: int) -> float:
    if value == 0:
        return 0.0
    exponent = 0
    while abs(value) >= 2:
        value, exponent = value / 2, exponent + 1
    while abs(value) < 1:
        value, exponent = value * 2, exponent - 1
    return round(value * 2 ** (digits - 1)) * 2.0 ** (exponent - digits + 1)
