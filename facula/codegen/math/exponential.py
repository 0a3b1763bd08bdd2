"""exp, log and what is made of them: expm1, log1p, pow, sigmoid, the hyperbolic family; no trigonometry."""

from fractions import Fraction

from facula.core import dtype as dt
from facula.ir import expr as ir
from facula.ir.expr import Expr

from .basics import FORMATS, INF, NAN, bits, clamp, fast_two_sum, from_bits, is_, number, polynomial, split, two_product
from .coefficients import COEFFICIENTS

LN2 = Fraction(0xB17217F7D1CF79ABC9E3B39803F2F6AF, 1 << 128)
LOG2E = 1.4426950408889634

# --- exp ------------------------------------------------------------------------------------------------------------

# Beyond these the result is 0 or infinite; within them two factors 2**k scale a mantissa without loss.
RANGE = {dt.float32: (-104.0, 89.0), dt.float64: (-746.0, 710.0)}


def _power(t: Expr, bias: float) -> Expr:
    """2**n, for t = n + magic + bias whose low bits therefore are an exponent."""
    return from_bits(bits(t) << FORMATS[t.dtype].mantissa)


def _reduce(x: Expr, offset: int) -> tuple[Expr, Expr, Expr]:
    """t, n, r with x = n ln2 + r, |r| <= ln2 / 2, and n + offset in the low bits of t."""
    magic = FORMATS[x.dtype].magic + offset
    high, low = split(LN2, x.dtype, 2)
    t = ir.fma(x, LOG2E, magic)
    n = t - magic
    return t, n, ir.fma(n, -low, ir.fma(n, -high, x))


def _scale(p: Expr, t: Expr, n: Expr) -> Expr:
    """p * 2**n in two steps, so that denormals are rounded once and overflow is exact; t has the offset 2 * bias."""
    form = FORMATS[p.dtype]
    half = ir.fma(n, 0.5, form.magic + form.bias)
    rest = bits(t) - bits(half)
    return p * _power(half, form.bias) * from_bits(rest << form.mantissa)


def exp(x: Expr) -> Expr:
    """e**x."""
    t, n, r = _reduce(clamp(x, *RANGE[x.dtype]), 2 * FORMATS[x.dtype].bias)
    return _scale(polynomial(r, (1.0, 1.0, *COEFFICIENTS["exp", x.dtype])), t, n)


def exp2(x: Expr) -> Expr:
    """2**x."""
    form = FORMATS[x.dtype]
    x = clamp(x, -form.bias - form.mantissa - 1.0, form.bias + 1.0)
    magic = form.magic + 2 * form.bias
    t = x + magic
    n = t - magic
    return _scale(polynomial(x - n, (1.0, *COEFFICIENTS["exp2", x.dtype])), t, n)


def _mantissa_exponential(x: Expr, offset: int) -> tuple[Expr, Expr]:
    """s, p with e**x = 2 ** (bias - offset) * s * (1 + p) and s a power of 2."""
    t, _, r = _reduce(x, offset)
    return _power(t, offset), polynomial(r, (1.0, *COEFFICIENTS["exp", x.dtype])) * r


def expm1(x: Expr) -> Expr:
    """e**x - 1."""
    form = FORMATS[x.dtype]
    y = clamp(x, -form.mantissa * 1.0, RANGE[x.dtype][1])
    magic = form.magic + form.bias - 1
    high, low = split(LN2, x.dtype, 2)
    t = ir.fma(y, LOG2E, magic)
    n = t - magic
    first = ir.fma(n, -high, y)  # exact
    r = ir.fma(n, -low, first)
    rest = ir.fma(n, -low, first - r)
    p = ir.fma(r * r, polynomial(r, COEFFICIENTS["exp", x.dtype]), rest)
    s = _power(t, form.bias - 1)  # 2**n / 2, which does not overflow
    whole = s - 0.5
    scaled = s * r
    total, error = fast_two_sum(whole, scaled)
    error = error + ((s - whole) - 0.5)
    result = (total + ir.fma(s, p, error)) * 2.0
    return ir.select(ir.lt(abs(x), 2.0**-form.mantissa), x, result)


# --- log ------------------------------------------------------------------------------------------------------------


def _split_logarithm(x: Expr) -> tuple[Expr, Expr]:
    """e (float) and f with x = 2**e * (1 + f), sqrt(1/2) <= 1 + f < sqrt(2); x positive, finite, perhaps denormal."""
    form = FORMATS[x.dtype]
    root_half = 0x3F3504F3 if x.dtype is dt.float32 else 0x3FE6A09E667F3BCD
    denormal = ir.lt(x, 2.0 ** (1 - form.bias))
    i = bits(ir.select(denormal, x * 2.0 ** (form.mantissa + 1), x))
    k = (i - root_half) >> form.mantissa
    f = from_bits(i - (k << form.mantissa)) - 1.0
    e = ir.cast(k, x.dtype)
    return ir.select(denormal, e - (form.mantissa + 1.0), e), f


def _log1p_tail(f: Expr) -> Expr:
    """log(1 + f) - f for f of `_split_logarithm`."""
    if f.dtype is dt.float32:
        square = f * f
        return ir.fma(square * f, polynomial(f, COEFFICIENTS["log", f.dtype]), square * -0.5)
    half = f * f * 0.5  # fdlibm's e_log.c
    s = f / (f + 2.0)
    z = s * s
    return ir.fma(s, ir.fma(z, polynomial(z, COEFFICIENTS["log", f.dtype]), half), -half)


def _specials(x: Expr, result: Expr) -> Expr:
    """The logarithm's values at 0, infinity, NaN and below 0."""
    result = ir.select(ir.lt(x, INF), result, x)
    return ir.select(ir.gt(x, 0.0), result, ir.select(is_(x, 0.0), number(-INF, x), number(NAN, x)))


def log(x: Expr) -> Expr:
    """The natural logarithm."""
    e, f = _split_logarithm(x)
    high, low = split(LN2, x.dtype, 2, drop=11)
    whole = e * high  # exact
    total, error = fast_two_sum(whole, f)
    return _specials(x, total + (error + ir.fma(e, low, _log1p_tail(f))))


# --- sigmoid, tanh --------------------------------------------------------------------------------------------------


def sigmoid(x: Expr) -> Expr:
    """1 / (1 + e**-x): the quotient of 1 or e**-|x| and 1 + e**-|x|, corrected by its remainder."""
    form = FORMATS[x.dtype]
    t, n, r = _reduce(clamp(-abs(x), RANGE[x.dtype][0], None), 2 * form.bias)
    half = ir.fma(n, 0.5, form.magic + form.bias)
    first, second = _power(half, form.bias), from_bits((bits(t) - bits(half)) << form.mantissa)
    p = polynomial(r, (1.0, *COEFFICIENTS["exp", x.dtype])) * r  # e**-|x| = first * second * (1 + p)
    s = first * second
    e = ir.fma(s, p, s)
    below, below_rest = fast_two_sum(number(1.0, x), e)
    negative, one = ir.lt(x, 0.0), number(1.0, x)
    whole = p + 1.0
    above = ir.select(negative, whole, one)
    above_rest = ir.select(negative, p - (whole - 1.0), number(0.0, x))
    inverse = 1.0 / below
    quotient = above * inverse
    rest = ir.fma(-quotient, below, above) + ir.fma(-quotient, below_rest, above_rest)
    quotient = ir.fma(rest, inverse, quotient)
    return quotient * ir.select(negative, first, one) * ir.select(negative, second, one)


def tanh(x: Expr) -> Expr:
    """Below 1 an odd polynomial, above it 1 - 1 / (e**2x / 2 + 1/2)."""
    form = FORMATS[x.dtype]
    a = abs(x)
    z = x * x
    small = ir.fma(a * z, polynomial(z, COEFFICIENTS["tanh", x.dtype]), a)
    y = ir.select(ir.lt(a, 9.1 if x.dtype is dt.float32 else 19.1), a, number(9.1 if x.dtype is dt.float32 else 19.1, x))
    s, p = _mantissa_exponential(y + y, form.bias - 1)
    large = 1.0 - 1.0 / ir.fma(s, p, s + 0.5)
    return ir.copysign(ir.select(ir.gt(a, 1.0), large, small), x)
