"""exp, log and what is made of them: expm1, log1p, pow, sigmoid, the hyperbolic family; no trigonometry."""

from fractions import Fraction

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
    split,
    two_product,
    two_sum,
    usually,
)
from .coefficients import COEFFICIENTS

LN2 = Fraction(0xB17217F7D1CF79ABC9E3B39803F2F6AF, 1 << 128)
LOG10E = Fraction(0xDE5BD8A937287195355BAAAFAD33DC32, 1 << 129)
LOG2E = 1.4426950408889634

# --- exp ------------------------------------------------------------------------------------------------------------

# Beyond these the result is 0 or infinite; within them two factors 2**k scale a mantissa without loss.
RANGE = {dt.float32: (-104.0, 89.0), dt.float64: (-746.0, 710.0)}


def _power(t: Expr) -> Expr:
    """2**n, for t = n + magic + bias, whose low bits therefore are an exponent."""
    return from_bits(bits(t) << FORMATS[t.dtype].mantissa)


def _reduce(x: Expr, offset: int) -> tuple[Expr, Expr, Expr]:
    """t, n, r with x = n ln2 + r, |r| <= ln2 / 2, and n + offset in the low bits of t."""
    magic = FORMATS[x.dtype].magic + offset
    high, low = split(LN2, x.dtype, 2)
    t = ir.fma(x, LOG2E, magic)
    n = t - magic
    return t, n, ir.fma(n, -low, ir.fma(n, -high, x))


def reduce_exactly(x: Expr, offset: int) -> tuple[Expr, Expr, Expr]:
    """t, r, rest as in `_reduce`, with x = n ln2 + r + rest."""
    magic = FORMATS[x.dtype].magic + offset
    high, low = split(LN2, x.dtype, 2)
    t = ir.fma(x, LOG2E, magic)
    n = t - magic
    first = ir.fma(n, -high, x)  # exact
    r = ir.fma(n, -low, first)
    return t, r, ir.fma(n, -low, first - r)


def scale(p: Expr, t: Expr, n: Expr) -> Expr:
    """p * 2**n in two steps, so that denormals are rounded once and overflow is exact; t has the offset 2 * bias."""
    form = FORMATS[p.dtype]
    half = ir.fma(n, 0.5, form.magic + form.bias)
    rest = bits(t) - bits(half)
    return p * _power(half) * from_bits(rest << form.mantissa)


def exp(x: Expr) -> Expr:
    """e**x."""
    t, n, r = _reduce(clamp(x, *RANGE[x.dtype]), 2 * FORMATS[x.dtype].bias)
    return scale(polynomial(r, (1.0, 1.0, *COEFFICIENTS["exp", x.dtype])), t, n)


def exp2(x: Expr) -> Expr:
    """2**x."""
    form = FORMATS[x.dtype]
    x = clamp(x, -form.bias - form.mantissa - 1.0, form.bias + 1.0)
    magic = form.magic + 2 * form.bias
    t = x + magic
    n = t - magic
    return scale(polynomial(x - n, (1.0, *COEFFICIENTS["exp2", x.dtype])), t, n)


def mantissa_exponential(x: Expr, offset: int) -> tuple[Expr, Expr]:
    """s, p with e**x = 2 ** (bias - offset) * s * (1 + p) and s a power of 2."""
    t, _, r = _reduce(x, offset)
    return _power(t), _expm1_small(r)


def _expm1_small(r: Expr) -> Expr:
    """e**r - 1 to the accuracy of e**r."""
    return ir.fma(r * r, polynomial(r, COEFFICIENTS["exp", r.dtype]), r)


def expm1_rest(r: Expr, rest: Expr | float) -> Expr:
    """e**(r + rest) - 1 - r, where r**2 / 2 is rounded but once."""
    return ir.fma(r * 0.5, r, ir.fma(r * r * r, polynomial(r, COEFFICIENTS["expm1", r.dtype]), rest))


def expm1(x: Expr) -> Expr:
    """e**x - 1."""
    form = FORMATS[x.dtype]
    y = clamp(x, -form.mantissa * 1.0, RANGE[x.dtype][1])
    t, r, rest = reduce_exactly(y, form.bias - 1)
    p = expm1_rest(r, rest)
    s = _power(t)  # 2**n / 2, which does not overflow
    whole = s - 0.5
    scaled = s * r
    total, error = fast_two_sum(whole, scaled)
    error = error + ((s - whole) - 0.5)
    result = (total + ir.fma(s, p, error)) * 2.0
    return ir.select(ir.lt(abs(x), 2.0 ** (-form.mantissa - 2)), x, result)


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
        return ir.fma(f * -0.5, f, f * f * f * polynomial(f, COEFFICIENTS["log", f.dtype]))
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


def _scaled_logarithm(x: Expr, one: Fraction, two: Fraction) -> Expr:
    """log(x) in another base, from log_base(e) and log_base(2)."""
    e, f = _split_logarithm(x)
    high, low = split(one, x.dtype, 2)
    product, product_rest = two_product(f, number(high, x))
    rest = ir.fma(_log1p_tail(f), high, ir.fma(f, low, product_rest))
    two_high, two_low = split(two, x.dtype, 2, drop=0 if two == 1 else 11)
    total, error = fast_two_sum(e * two_high, product)
    return _specials(x, total + (ir.fma(e, two_low, error) + rest))


def log2(x: Expr) -> Expr:
    """The logarithm to base 2, exact for powers of 2."""
    return _scaled_logarithm(x, 1 / LN2, Fraction(1))


def log10(x: Expr) -> Expr:
    """The logarithm to base 10."""
    return _scaled_logarithm(x, LOG10E, LOG10E * LN2)


def log_of_sum(u: Expr, rest: Expr, doubled: Expr | None = None) -> Expr:
    """log(u + rest) for u > 0 and not denormal, |rest| <= ulp(u); where `doubled` holds, log 2 is added."""
    form = FORMATS[u.dtype]
    root_half = 0x3F3504F3 if u.dtype is dt.float32 else 0x3FE6A09E667F3BCD
    k = (bits(u) - root_half) >> form.mantissa
    shift = k << form.mantissa
    f = from_bits(bits(u) - shift) - 1.0
    below = rest * 0.5 * from_bits(((form.bias + 1) << form.mantissa) - shift)
    e = ir.cast(k, u.dtype)
    if doubled is not None:
        e = ir.select(doubled, e + 1.0, e)
    high, low = split(LN2, u.dtype, 2, drop=11)
    total, error = fast_two_sum(e * high, f)
    tail = ir.fma(below, ir.fma(f, f - 1.0, 1.0), _log1p_tail(f))  # below / (1 + f)
    return total + (error + ir.fma(e, low, tail))


def log1p(x: Expr) -> Expr:
    """log(1 + x)."""
    u, rest = two_sum(number(1.0, x), x)
    result = _specials(u, log_of_sum(u, rest))
    return ir.select(ir.lt(abs(x), 2.0 ** (-FORMATS[x.dtype].mantissa - 2)), x, result)


# --- the hyperbolic family -------------------------------------------------------------------------------------------


def sigmoid(x: Expr) -> Expr:
    """1 / (1 + e**-x); both scaled by a power of 2, so that nothing overflows and denormal results are rounded once."""
    form = FORMATS[x.dtype]
    down = form.mantissa + 2
    high, low = split(LN2, x.dtype, 2)
    x = clamp(x, RANGE[x.dtype][0], 64.0)
    magic = form.magic + form.bias - down
    t = ir.fma(x, -LOG2E, magic)
    n = t - magic
    r = ir.fma(n, low, ir.fma(n, high, x))  # -x = n ln2 - r
    flipped = tuple(c if k % 2 else -c for k, c in enumerate((1.0, *COEFFICIENTS["exp", x.dtype])))
    s = _power(t)
    one = 2.0**-down
    return one / ir.fma(s, r * polynomial(r, flipped), s + one)


def tanh(x: Expr) -> Expr:
    """Below 1 an odd polynomial, above it 1 - 1 / (e**2x / 2 + 1/2)."""
    form = FORMATS[x.dtype]
    a = abs(x)
    z = x * x
    small = ir.fma(a * z, polynomial(z, COEFFICIENTS["tanh", x.dtype]), a)
    y = ir.select(
        ir.lt(a, 9.1 if x.dtype is dt.float32 else 19.1), a, number(9.1 if x.dtype is dt.float32 else 19.1, x)
    )
    s, p = mantissa_exponential(y + y, form.bias - 1)
    large = 1.0 - 1.0 / ir.fma(s, p, s + 0.5)
    return ir.copysign(ir.select(ir.gt(a, 1.0), large, small), x)


def _quarter_exponential(a: Expr) -> tuple[Expr, Expr, Expr]:
    """h, l, q with e**a / 4 = h + l and e**-a / 4 = q, for a >= 0."""
    form = FORMATS[a.dtype]
    top = 89.5 if a.dtype is dt.float32 else 710.6  # here the results overflow, but s does not
    a = ir.select(ir.lt(a, top), a, top)
    t, r, rest = reduce_exactly(a, form.bias - 2)
    s = _power(t)
    whole = ir.fma(s, r, s)
    below = ir.fma(s, expm1_rest(r, rest), ir.fma(s, r, s - whole))
    return whole, below, 0.0625 / (whole + below)


def sinh(x: Expr) -> Expr:
    """(e**x - e**-x) / 2; an odd polynomial below 1."""
    a = abs(x)
    z = x * x
    small = ir.fma(a * z, polynomial(z, COEFFICIENTS["sinh", x.dtype]), a)
    whole, below, inverse = _quarter_exponential(a)
    return ir.copysign(ir.select(ir.gt(a, 1.0), (whole + (below - inverse)) * 2.0, small), x)


def cosh(x: Expr) -> Expr:
    """(e**x + e**-x) / 2."""
    a = abs(x)
    whole, below, inverse = _quarter_exponential(a)
    return ir.select(ir.lt(a, INF), (whole + (below + inverse)) * 2.0, a)


def _root(h: Expr, rest: Expr) -> tuple[Expr, Expr]:
    """The square root of h + rest, with its low part (0 at 0)."""
    root = ir.sqrt(h)
    low = (ir.fma(-root, root, h) + rest) * (0.5 / root)
    return root, ir.select(is_(h, 0.0), number(0.0, h), low)


def asinh(x: Expr) -> Expr:
    """log(|x| + sqrt(x**2 + 1)) with the sign of x."""
    a = abs(x)
    huge = ir.ge(a, 2.0 ** (FORMATS[x.dtype].mantissa + 4))
    b = ir.select(huge, number(1.0, x), a)
    square, square_rest = two_product(b, b)
    h, rest = two_sum(number(1.0, x), square)
    root, root_rest = _root(h, rest + square_rest)
    u, rest = fast_two_sum(root, b)
    u, rest = ir.select(huge, a, u), ir.select(huge, number(0.0, x), rest + root_rest)
    result = ir.select(ir.lt(a, INF), log_of_sum(u, rest, huge), a)
    return ir.copysign(ir.select(ir.lt(a, 2.0 ** (-FORMATS[x.dtype].mantissa // 2 - 2)), a, result), x)


def acosh(x: Expr) -> Expr:
    """log(x + sqrt(x**2 - 1)); NaN below 1."""
    huge = ir.ge(x, 2.0 ** (FORMATS[x.dtype].mantissa + 4))
    b = ir.select(huge, number(1.0, x), x)
    square, square_rest = two_product(b, b)
    h, rest = fast_two_sum(square, number(-1.0, x))
    h, rest = fast_two_sum(h, rest + square_rest)
    root, root_rest = _root(h, rest)
    u, rest = fast_two_sum(b, root)
    u, rest = ir.select(huge, x, u), ir.select(huge, number(0.0, x), rest + root_rest)
    result = ir.select(ir.lt(x, INF), log_of_sum(u, rest, huge), x)
    return ir.select(ir.lt(x, 1.0), number(NAN, x), result)


def atanh(x: Expr) -> Expr:
    """log((1 + |x|) / (1 - |x|)) / 2 with the sign of x; infinite at 1, NaN beyond."""
    a = abs(x)
    # the quotient is 1 + 2a / (1 - a), whose parts stay exact for small a
    below, below_rest = fast_two_sum(number(1.0, x), -a)
    inverse = 1.0 / below
    quotient = (a + a) * inverse
    rest = ir.fma(-quotient, below_rest, ir.fma(-quotient, below, a + a)) * inverse
    u, error = two_sum(number(1.0, x), quotient)
    result = log_of_sum(u, error + rest) * 0.5
    result = ir.select(ir.lt(a, 1.0), result, ir.select(is_(a, 1.0), number(INF, x), number(NAN, x)))
    return ir.copysign(ir.select(ir.lt(a, 2.0 ** (-FORMATS[x.dtype].mantissa // 2 - 2)), a, result), x)


# --- powers and roots -------------------------------------------------------------------------------------------------


def _power_specials(x: Expr, y: Expr, magnitude: Expr) -> Expr:
    """|x|**y with the signs and exceptions of C99's pow."""
    whole = ir.eq(ir.trunc(y), y)
    half = y * 0.5
    odd = whole & ir.ne(ir.trunc(half), half)
    form = FORMATS[x.dtype]
    sign = bits(x) & form.sign
    result = from_bits(bits(magnitude) ^ ir.select(odd, sign, ir.const(0, form.integer)))
    result = ir.select(ir.lt(x, 0.0) & ir.gt(x, -INF) & ~whole, number(NAN, x), result)
    # (-1)**inf is 1; 1**y and x**0 are 1 even for NaN
    one = is_(y, 0.0) | is_(x, 1.0) | (is_(x, -1.0) & is_(abs(y), INF))
    return ir.select(one, number(1.0, x), result)


def _single_power(x: Expr, y: Expr) -> Expr:
    """x**y of float32 in float64: 2**(y * log2(x)) to 35 bits."""
    a = ir.cast(abs(x), dt.float64)
    k = (bits(a) - 0x3FE6A09E667F3BCD) >> 52
    f = from_bits(bits(a) - (k << 52)) - 1.0
    # the exponent as a float, without a conversion of 64-bit integers
    e = from_bits((k + 1024) | 0x4330000000000000) - (2.0**52 + 1024)
    logarithm = ir.fma(f, polynomial(f, COEFFICIENTS["log2_35", dt.float64]), e)
    logarithm = ir.select(is_(a, 0.0), number(-INF, a), ir.select(ir.lt(a, INF), logarithm, a))
    v = clamp(ir.cast(y, dt.float64) * logarithm, -300.0, 300.0)
    magic = FORMATS[dt.float64].magic + 1023
    t = v + magic
    power = _power(t) * polynomial(v - (t - magic), COEFFICIENTS["exp2_30", dt.float64])
    return _power_specials(x, y, ir.cast(power, dt.float32))


def _double_power(x: Expr, y: Expr) -> Expr:
    """x**y of float64: the logarithm to 2**-66 in pairs of floats."""
    a = abs(x)
    e, f = _split_logarithm(a)
    # s = f / (2 + f); log(1 + f) = 2 s + s**3 (2/3 + ...)
    below, below_rest = fast_two_sum(number(2.0, x), f)
    inverse = 1.0 / below
    s = f * inverse
    s_rest = ir.fma(-s, below_rest, ir.fma(-s, below, f)) * inverse
    z, z_rest = two_product(s, s)
    z_rest = ir.fma(s + s, s_rest, z_rest)
    first, first_rest = split(Fraction(2, 3), dt.float64, 2)
    higher = polynomial(z, COEFFICIENTS["log_66", dt.float64])
    w, w_rest = fast_two_sum(number(first, x), z * higher)
    w_rest = w_rest + ir.fma(z_rest, 0.4, first_rest)
    t, t_rest = two_product(z, w)
    t_rest = t_rest + ir.fma(z, w_rest, z_rest * w)
    u, u_rest = two_product(s, t)
    u_rest = u_rest + ir.fma(s, t_rest, s_rest * t)
    m, m_rest = fast_two_sum(s + s, u)
    m_rest = m_rest + ir.fma(s_rest, 2.0, u_rest)
    high, low = split(LN2, dt.float64, 2, drop=11)
    total, error = fast_two_sum(e * high, m)
    total, rest = fast_two_sum(total, error + ir.fma(e, low, m_rest))
    total = ir.select(is_(a, 0.0), number(-INF, x), ir.select(ir.lt(a, INF), total, a))
    # e**(y * (total + rest))
    product = y * total
    product_rest = ir.fma(y, rest, ir.fma(y, total, -product))
    product_rest = ir.select(ir.lt(abs(product), 800.0), product_rest, number(0.0, x))
    v = clamp(product, *RANGE[dt.float64])
    t, r, rest = reduce_exactly(v, 2046)
    n = t - (FORMATS[dt.float64].magic + 2046)
    r, rest = fast_two_sum(r, rest + product_rest)
    whole, error = fast_two_sum(number(1.0, x), r)
    return _power_specials(x, y, scale(whole + (error + expm1_rest(r, rest)), t, n))


# As PyTorch computes these; the last one is looked for first.
SHORT_POWERS = {
    -2.0: lambda x: 1.0 / (x * x), -1.0: lambda x: 1.0 / x, -0.5: lambda x: 1.0 / ir.sqrt(x), 0.5: ir.sqrt,
    3.0: lambda x: x * x * x, 2.0: lambda x: x * x,
}  # fmt: skip


def power(x: Expr, y: Expr) -> Expr:
    """x**y, as C99's pow; but a `y` that all elements share may be one of SHORT_POWERS."""
    result = (_single_power if x.dtype is dt.float32 else _double_power)(x, y)
    if not any(n.op in ("load", "index", "row_index", "scan") for n in ir.walk(y)):
        for exponent, short in SHORT_POWERS.items():
            result = usually(is_(y, exponent), short(x), result)
    return result


def cbrt(x: Expr) -> Expr:
    """The cube root: Newton's method on x**(-1/3), one step on the root itself."""
    form = FORMATS[x.dtype]
    a = abs(x)
    denormal = ir.lt(a, 2.0 ** (1 - form.bias))
    third = form.mantissa // 3 + 1
    b = ir.select(denormal, a * 8.0**third, a)
    # the bits of a float are nearly its logarithm
    place = ir.fma(ir.cast(bits(b) >> (form.mantissa - 16), dt.float32), -1 / 3, (form.bias * 4 / 3 - 0.06) * 65536)
    y = from_bits(ir.cast(ir.cast(place, dt.int32), form.integer) << (form.mantissa - 16))
    for _ in range(1 if x.dtype is dt.float32 else 2):
        e = ir.fma(-(y * y), y * b, 1.0)
        y = ir.fma(y * e, polynomial(e, (1 / 3, 2 / 9, 14 / 81)), y)
    square = y * y
    root = b * square
    product, rest = two_product(root, root)
    root = ir.fma(ir.fma(-root, rest, ir.fma(-root, product, b)), square * (1 / 3), root)
    root = ir.select(denormal, root * 2.0**-third, root)
    return ir.copysign(ir.select(ir.gt(a, 0.0) & ir.lt(a, INF), root, a), x)


def hypot(x: Expr, y: Expr) -> Expr:
    """sqrt(x**2 + y**2) without overflow or underflow on the way."""
    x, y = abs(x), abs(y)
    swap = ir.lt(x, y)
    a, b = ir.select(swap, y, x), ir.select(swap, x, y)
    low, high, down, up = (
        (2.0**-50, 2.0**62, 2.0**-66, 2.0**100) if x.dtype is dt.float32 else (2.0**-450, 2.0**510, 2.0**-520, 2.0**600)
    )
    big, tiny = ir.gt(a, high), ir.lt(a, low)

    def choose(one, other):
        return ir.select(big, number(one, x), ir.select(tiny, number(other, x), number(1.0, x)))

    scale = choose(down, up)
    c, d = a * scale, b * scale
    square, rest = two_product(c, c)
    other, other_rest = two_product(d, d)
    h, error = fast_two_sum(square, other)
    root, low_part = _root(h, error + (rest + other_rest))
    result = (root + low_part) * choose(1 / down, 1 / up)
    return ir.select(ir.eq(x, INF) | ir.eq(y, INF), number(INF, x), result)
