"""fmod and what follows from it, exact for quotients of any size, and other small composites of primitives."""

from facula.core import dtype as dt
from facula.ir import expr as ir
from facula.ir.expr import Expr

from .basics import FORMATS, INF, NAN, bits, from_bits, is_, number, two_product, usually


def _one_step(a: Expr, b: Expr) -> Expr:
    """a modulo b for a < 2**52 b: the truncated quotient is off by one at most, and what remains is exact."""
    r = ir.fma(-ir.trunc(a / b), b, a)
    r = ir.select(ir.lt(r, 0.0), r + b, r)
    return ir.select(ir.ge(r, b), r - b, r)


def _far_single(a: Expr, b: Expr) -> Expr:
    """a modulo b for float32 values held in float64: 46 bits of the quotient at a time."""
    for k in range(5, -1, -1):
        a = _one_step(a, b * 2.0 ** (46 * k))
    return a


def _far_double(a: Expr, b: Expr) -> Expr:
    """a modulo b: (mantissa of a) * 2**d modulo the mantissa of b, the power by repeated squaring."""

    def parts(x):
        """The mantissa as an integer in [2**52, 2**53), and the biased exponent."""
        denormal = ir.lt(x, 2.0**-1022)
        i = bits(ir.select(denormal, x * 2.0**54, x))
        mantissa = from_bits((i & ((1 << 52) - 1)) | ((1023 + 52) << 52))
        exponent = i >> 52
        return mantissa, ir.select(denormal, exponent - 54, exponent)

    x, x_exponent = parts(a)
    m, m_exponent = parts(b)
    inverse = 1.0 / m

    def centre(r):
        """r modulo m, at most m / 2 in magnitude, for |r| <= 2**52 m."""
        return ir.fma(-ir.round(r * inverse), m, r)

    def times(u, v):
        product, rest = two_product(u, v)
        return centre(centre(centre(product)) + rest)

    d = ir.select(ir.lt(x_exponent, m_exponent), ir.const(0, dt.int64), x_exponent - m_exponent)
    result = centre(x)
    low = centre(centre(from_bits(((d & 63) + 1023) << 52)))
    result = times(result, low)
    power = centre(centre(number(2.0**64, a)))
    for bit in range(6, 12):
        result = ir.select(ir.ne(d & (1 << bit), ir.const(0, dt.int64)), times(result, power), result)
        if bit < 11:
            power = times(power, power)
    result = ir.select(ir.lt(result, 0.0), result + m, result)
    # times 2**(exponent of b - 1075), in two factors
    half = (m_exponent - 1075) >> 1
    other = (m_exponent - 1075) - half
    return result * from_bits((half + 1023) << 52) * from_bits((other + 1023) << 52)


def fmod(x: Expr, y: Expr) -> Expr:
    """C's fmod: the remainder of the division towards 0, exact, with the sign of x."""
    a, b = abs(x), abs(y)
    if x.dtype is dt.float32:
        wide, divisor = ir.cast(a, dt.float64), ir.cast(b, dt.float64)
        near = ir.lt(wide, divisor * 2.0**46)
        r = ir.cast(usually(near, _one_step(wide, divisor), _far_single(wide, divisor)), dt.float32)
    else:
        near = ir.lt(a, b * 2.0**46)
        r = usually(near, _one_step(a, b), _far_double(a, b))
    r = ir.select(ir.lt(a, b), a, r)  # also where y is infinite
    good = ir.lt(a, INF) & ir.gt(b, 0.0) & ir.eq(y, y)
    return ir.select(good, ir.copysign(r, x), number(NAN, x))


def _moved(r: Expr, y: Expr) -> Expr:
    """Where r is not 0 and its sign is not that of y."""
    return ir.ne(r, number(0.0, r)) & ir.xor(ir.lt(y, 0.0), ir.lt(r, 0.0))


def remainder(x: Expr, y: Expr) -> Expr:
    """Python's x % y, as PyTorch makes it from fmod."""
    r = fmod(x, y)
    return ir.select(_moved(r, y), r + y, r)


def floordiv(x: Expr, y: Expr) -> Expr:
    """Python's x // y, as PyTorch makes it from fmod; x / 0 as / has it."""
    r = fmod(x, y)
    quotient = (x - r) / y
    quotient = ir.select(_moved(r, y), quotient - 1.0, quotient)
    whole = ir.floor(quotient)
    whole = ir.select(ir.gt(quotient - whole, 0.5), whole + 1.0, whole)
    ratio = x / y
    whole = ir.select(is_(quotient, 0.0), ir.copysign(number(0.0, x), ratio), whole)
    return ir.select(is_(y, 0.0), ratio, whole)


def truncdiv(x: Expr, y: Expr) -> Expr:
    """The quotient rounded towards 0."""
    return ir.trunc(x / y)


def sign(x: Expr) -> Expr:
    """-1, 0 or 1; 0 for NaN, as PyTorch's."""
    one = number(1.0, x)
    zero = number(0.0, x)
    return ir.select(ir.gt(x, 0.0), one, ir.select(ir.lt(x, 0.0), -one, zero))


def rsqrt(x: Expr) -> Expr:
    """1 / sqrt(x), rounded twice as PyTorch's."""
    return 1.0 / ir.sqrt(x)


def nextafter(x: Expr, y: Expr) -> Expr:
    """The float after x towards y."""
    integer = FORMATS[x.dtype].integer
    away = ir.eq(ir.lt(x, y), ir.gt(x, 0.0))  # the magnitude grows
    moved = from_bits(bits(x) + ir.select(away, ir.const(1, integer), ir.const(-1, integer)))
    moved = ir.select(is_(x, 0.0), ir.copysign(from_bits(ir.const(1, integer)), y), moved)
    moved = ir.select(ir.eq(x, y), y, moved)
    return ir.select(ir.eq(x, x) & ir.eq(y, y), moved, x + y)


def fmax(x: Expr, y: Expr) -> Expr:
    """The larger one; a NaN loses."""
    return ir.select(ir.ge(x, y) | ir.ne(y, y), x, y)


def fmin(x: Expr, y: Expr) -> Expr:
    """The smaller one; a NaN loses."""
    return ir.select(ir.le(x, y) | ir.ne(y, y), x, y)


def isnan(x: Expr) -> Expr:
    """Whether x is NaN."""
    return ir.ne(x, x)


def isinf(x: Expr) -> Expr:
    """Whether x is infinite."""
    return is_(abs(x), INF)


def signbit(x: Expr) -> Expr:
    """Whether the sign bit is set, also of zeros and NaN."""
    return ir.lt(bits(x), ir.const(0, FORMATS[x.dtype].integer))
