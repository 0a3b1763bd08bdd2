"""The error functions and the gamma family; they stand on exponential.py and trigonometric.py."""

from facula.core import dtype as dt
from facula.ir import expr as ir
from facula.ir.expr import Expr

from .basics import (
    FORMATS,
    INF,
    NAN,
    bits,
    clamp,
    fast_two_sum,
    from_bits,
    is_,
    number,
    polynomial,
    two_product,
    two_sum,
)
from .coefficients import COEFFICIENTS
from .exponential import expm1_rest, log, mantissa_exponential, reduce_exactly, scale
from .trigonometric import cotangent_of_pi


def erf(x: Expr) -> Expr:
    """Odd polynomial for small x, 1 - e**polynomial for large x (the form is N. Juffa's)."""
    top = 4.0 if x.dtype is dt.float32 else 6.0
    a = abs(x)
    z = x * x
    small = ir.fma(a, polynomial(z, COEFFICIENTS["erf", x.dtype]), a)
    y = ir.select(ir.lt(a, top), a, top)
    exponent = ir.fma(y, polynomial(y, COEFFICIENTS["erf_tail", x.dtype]), -y)
    s, p = mantissa_exponential(exponent, FORMATS[x.dtype].bias)
    large = ir.fma(-s, p, 1.0 - s)
    return ir.copysign(ir.select(ir.gt(a, 0.84375), large, small), x)


def ndtr(x: Expr) -> Expr:
    """1/2 + erf(x / sqrt(2)) / 2; float32: an odd rational function, 0 and 1 from its border on."""
    if x.dtype is dt.float64:
        return ir.fma(erf(x * 0.7071067811865476), 0.5, 0.5)
    y = clamp(x, -5.485115, 5.485115)
    z = y * y
    return y * polynomial(z, COEFFICIENTS["ndtr", x.dtype]) / polynomial(z, COEFFICIENTS["ndtr_below", x.dtype]) + 0.5


def erfc(x: Expr) -> Expr:
    """1 - erf(x): e**(-x**2) / (1 + 2a) times a polynomial in (a - 2) / (a + 2), a = |x|; to relative accuracy."""
    return (_single_erfc if x.dtype is dt.float32 else _double_erfc)(x)


def _single_erfc(x: Expr) -> Expr:
    """`erfc` of float32 in float64."""
    wide = ir.cast(x, dt.float64)
    a = clamp(abs(wide), None, 12.0)
    high, low = a + 2.0, ir.fma(a, 2.0, 1.0)
    inverse = 1.0 / (high * low)
    g = polynomial((a - 2.0) * low * inverse, COEFFICIENTS["erfc_28", dt.float64])
    magic = FORMATS[dt.float64].magic + 1023
    v = a * a * -1.4426950408889634
    t = v + magic
    power = from_bits(bits(t) << 52) * polynomial(v - (t - magic), COEFFICIENTS["exp2_30", dt.float64])
    result = power * g * (high * inverse)
    return ir.cast(ir.select(ir.lt(x, 0.0), 2.0 - result, result), dt.float32)


def _double_erfc(x: Expr) -> Expr:
    form = FORMATS[dt.float64]
    a = clamp(abs(x), None, 28.0)
    low, low_rest = two_sum(a, number(-4.0, x))
    high, high_rest = two_sum(a, number(4.0, x))
    inverse = 1.0 / high
    q = low * inverse
    q_rest = (ir.fma(-q, high, low) + ir.fma(-q, high_rest, low_rest)) * inverse
    q = q + q_rest
    constant, *higher = COEFFICIENTS["erfc", dt.float64]
    above, above_rest = fast_two_sum(number(constant, x), q * polynomial(q, tuple(higher)))
    below, below_rest = two_sum(number(1.0, x), a + a)
    inverse = 1.0 / below
    g = above * inverse
    g_rest = (ir.fma(-g, below, above) + ir.fma(-g, below_rest, above_rest)) * inverse
    square, square_rest = two_product(a, a)
    t, r, rest = reduce_exactly(-square, 2 * form.bias)
    r, rest = fast_two_sum(r, rest - square_rest)
    whole, error = fast_two_sum(number(1.0, x), r)
    error = error + expm1_rest(r, rest)
    product, product_rest = two_product(whole, g)
    value = product + (product_rest + ir.fma(error, g, whole * g_rest))
    result = scale(value, t, t - (form.magic + 2 * form.bias))
    result = ir.select(ir.lt(x, 0.0), 2.0 - result, result)
    # near 0, 1 - x - x p
    whole, error = fast_two_sum(number(1.0, x), -x)
    near = whole + ir.fma(-x, polynomial(square, COEFFICIENTS["erf", x.dtype]), error)
    return ir.select(ir.lt(a, 0.5), near, result)


def erfinv(x: Expr) -> Expr:
    """x times a polynomial in w = -log(1 - x**2), beyond its border in sqrt(w) (M. Giles, GPU Computing Gems, 2010)."""
    a = abs(x)
    w = -log(ir.fma(-a, a, 1.0))
    root = ir.sqrt(w)
    border, middle, start = (5.0, 3.0, 0.0) if x.dtype is dt.float32 else (6.25, 3.25, 3.125)
    p = polynomial(w - start, COEFFICIENTS["erfinv", x.dtype])
    p = ir.select(ir.lt(w, border), p, polynomial(root - middle, COEFFICIENTS["erfinv_tail", x.dtype]))
    if x.dtype is dt.float64:
        p = ir.select(ir.lt(w, 16.0), p, polynomial(root - 5.0, COEFFICIENTS["erfinv_end", x.dtype]))
    result = ir.select(is_(a, 1.0), x * INF, x * p)
    return ir.select(ir.le(a, 1.0), result, number(NAN, x))


# --- the gamma family -------------------------------------------------------------------------------------------------


def lgamma(x: Expr) -> Expr:
    """log|gamma(x)|."""
    if x.dtype is dt.float32:
        return ir.cast(_lgamma(ir.cast(x, dt.float64)), dt.float32)
    return _lgamma(x)


def digamma(x: Expr) -> Expr:
    """The derivative of lgamma; NaN at negative integers and -+inf at +-0, as in PyTorch."""
    if x.dtype is dt.float32:
        return ir.cast(_digamma(ir.cast(x, dt.float64)), dt.float32)
    return _digamma(x)


def _lgamma(x: Expr) -> Expr:
    a = abs(x)
    shifted = ir.lt(a, 0.75)
    y = ir.select(shifted, a + 1.0, a)
    # y in [0.75, 3): (y - 1)(y - 2) P; [3, 8): P; from 8 on Stirling's series
    near = (y - 1.0) * (y - 2.0) * polynomial(y - 1.875, COEFFICIENTS["lgamma_near", x.dtype]) + 0.0
    middle = (y - 2.0) * polynomial(y - 5.5, COEFFICIENTS["lgamma_middle", x.dtype])
    big = clamp(y, 8.0, None)
    inverse = 1.0 / big
    logarithm = log(big)
    product, rest = two_product(big - 0.5, logarithm - 1.0)
    series = inverse * polynomial(inverse * inverse, COEFFICIENTS["stirling", x.dtype])
    far = product + (rest + (series + 0.41893853320467274))
    far = ir.select(ir.lt(big, 2.0**900), far, big * (logarithm - 1.0))
    value = ir.select(ir.lt(y, 3.0), near, ir.select(ir.lt(y, 8.0), middle, far))
    # gamma(a) = gamma(1 + a) / a; gamma(-a) = -pi / (a sin(pi a) gamma(a)): one logarithm for both
    negative = ir.lt(x, 0.0)
    r = abs(a - ir.round(a))
    sine = r * polynomial(r * r, COEFFICIENTS["sin_pi", x.dtype])  # sin(pi a) / pi
    correction = log(ir.select(negative, sine * ir.select(shifted, number(1.0, x), a), a))
    value = ir.select(negative, -value - correction, ir.select(shifted, value - correction, value))
    value = ir.select(is_(a, INF), a, value)
    pole = ir.le(x, 0.0) & ir.eq(ir.floor(x), x)
    return ir.select(pole, number(INF, x), value)


def _digamma(x: Expr) -> Expr:
    negative = ir.lt(x, 0.0)
    y = ir.select(negative, 1.0 - x, x)
    small = ir.lt(y, 10.0)
    b = ir.select(small, y, number(1.0, x))
    # the sum of 1 / (b + k) as one fraction
    above, below = number(1.0, x), b
    for k in range(1, 10):
        factor = b + float(k)
        above, below = ir.fma(above, factor, below), below * factor
    steps = ir.select(small, above / below, number(0.0, x))
    z = ir.select(small, y + 10.0, y)
    inverse = 1.0 / z
    square = inverse * inverse
    value = log(z) - inverse * 0.5 - square * polynomial(square, COEFFICIENTS["digamma", x.dtype]) - steps
    # digamma(x) = digamma(1 - x) - pi cot(pi x)
    r = x - ir.round(x)
    value = ir.select(negative, ir.fma(cotangent_of_pi(r), -3.141592653589793, value), value)
    value = ir.select(ir.lt(abs(x), 2.0**-120), -1.0 / x, value)
    pole = negative & ir.eq(ir.floor(x), x)
    value = ir.select(pole, number(NAN, x), value)
    value = ir.select(is_(x, 0.0), ir.copysign(number(INF, x), -x), value)
    return ir.select(is_(x, INF), x, value)
