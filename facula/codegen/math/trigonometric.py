"""sin, cos, tan for all finite arguments, and their inverses; nothing exponential."""

from fractions import Fraction

from facula.core import dtype as dt
from facula.ir import expr as ir
from facula.ir.expr import Expr

from .basics import (
    FORMATS,
    INF,
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

# The first 1280 bits of 1 / pi (and, one place on, of 2 / pi), and pi itself to 256 bits.
INVERSE_PI = int(
    "517CC1B727220A94FE13ABE8FA9A6EE06DB14ACC9E21C820FF28B1D5EF5DE2B0DB92371D2126E9700324977504E8C90E"
    "7F0EF58E5894D39F74411AFA975DA24274CE38135A2FBF209CC8EB1CC1A99CFA4E422FC5DEFC941D8FFC4BFFEF02CC07"
    "F79788C5AD05368FB69B3F6793E584DBA7A31FB34F2FF516BA93DD63F5F2F8BD9E839CFBC529497535FDAFD88FC6AE84"
    "2B0198237E3DB5D5F867DE104D7A1B0E",
    16,
)
PI = Fraction(0xC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22, 1 << 254)

# --- arguments ------------------------------------------------------------------------------------------------------

# Up to here n * pi is subtracted in pieces (Cody and Waite); beyond, bits of 2 / pi are multiplied (Payne and Hanek).
LIMIT = {dt.float32: 2.0**17, dt.float64: 2.0**24}


def _window(position: Expr, first: int, last: int, count: int) -> list[Expr]:
    """`count` words of 64 bits of 2 / pi from bit `position + first` on, for 0 <= position <= last.

    Bit 1 is worth 1; bits before it are 0. Words are chosen by a barrel shifter: no table in memory is read.
    """
    words = []
    for k in range(last // 64 + count + 1):
        start = first + 64 * k  # bits start ... start + 63
        value = (INVERSE_PI << 64) >> (1280 + 64 - (start + 63)) if start + 63 > 0 else 0
        value &= (1 << 64) - 1
        words.append(ir.const(value - (1 << 64) if value >> 63 else value, dt.int64))
    step = 1 << (last // 64).bit_length()
    while step > 1:
        step //= 2
        far = ir.ne(position & (64 * step), ir.const(0, dt.int64))
        keep = min(len(words), count + step)
        words = [ir.select(far, words[k + step], words[k]) if k + step < len(words) else words[k] for k in range(keep)]
    shift = position & 63
    back = 63 - shift
    below = (1 << 63) - 1
    return [(words[k] << shift) | (((words[k + 1] >> 1) & below) >> back) for k in range(count)]


def _far32(a: Expr) -> tuple[Expr, Expr, Expr]:
    """`_reduce` for float32 beyond LIMIT: the product modulo 2**64 of a 24-bit mantissa and 96 bits of 2 / pi."""
    i = ir.cast(bits(a), dt.int64)
    mantissa = (i & 0x7FFFFF) | 0x800000
    # a = mantissa * 2**(exponent - 150); the product's top bits are to be worth 2 and 1 quadrant
    position = ((i >> 23) & 0xFF) - (150 - 16)
    first, second = _window(position & 0x7F, -16, 127, 2)
    product = mantissa * first + ((mantissa * ((second >> 32) & 0xFFFFFFFF)) >> 32)
    quadrant = ir.cast((product + (1 << 61)) >> 62, dt.int32)
    angle = ir.cast(product << 2, dt.float64) * (float(PI) / 2.0**65)
    high = ir.cast(angle, dt.float32)
    return quadrant, high, ir.cast(angle - ir.cast(high, dt.float64), dt.float32)


def _far64(a: Expr) -> tuple[Expr, Expr, Expr]:
    """`_reduce` for float64 beyond LIMIT: 128 bits of the product of a 53-bit mantissa and 192 bits of 2 / pi."""
    i = bits(a)
    mantissa = (i & ((1 << 52) - 1)) | (1 << 52)
    position = ((i >> 52) & 0x7FF) - (1075 - 32)
    words = _window(position & 0x3FF, -32, 1023, 3)
    mask = (1 << 32) - 1
    limbs = [limb for w in words for limb in ((w >> 32) & mask, w & mask)]
    low, high = mantissa & mask, mantissa >> 32
    lows = [limb * low for limb in limbs[:5]]  # as wide as 64 bits, unsigned
    highs = [limb * high for limb in limbs]
    # column k is worth 2**(32 * (3 - k)); what carries out of column 0 is whole turns
    columns = [
        (lows[k] & mask) + (highs[k + 1] & mask) + ((lows[k + 1] >> 32) & mask) + (highs[k + 2] >> 32) for k in range(4)
    ]
    for k in (3, 2, 1):
        columns[k - 1] = columns[k - 1] + (columns[k] >> 32)
    top = (columns[0] << 32) | (columns[1] & mask)
    rest = (columns[2] << 32) | (columns[3] & mask)
    quadrant = (top + (1 << 61)) >> 62
    below = (1 << 62) - 1
    top = (top << 2) | ((rest >> 62) & 3)  # a quadrant has 2**64 of these
    rest = rest & below  # and each of these 2**62 of those
    whole, error = fast_two_sum(ir.cast((top >> 32) << 32, dt.float64), ir.cast(top & mask, dt.float64))
    whole, error = fast_two_sum(whole, ir.fma(ir.cast(rest, dt.float64), 2.0**-62, error))
    pi, pi_rest = split(PI / (1 << 65), dt.float64, 2)
    high, low = two_product(whole, number(pi, a))
    return quadrant, *fast_two_sum(high, low + ir.fma(whole, pi_rest, error * pi))


def _reduce(a: Expr) -> tuple[Expr, Expr, Expr]:
    """n (integer, right modulo 4), r and its low part with a = n * pi / 2 + r, |r| <= pi / 4, for a >= 0."""
    form = FORMATS[a.dtype]
    high, middle, low = split(PI / 2, a.dtype, 3)
    t = ir.fma(a, float(2 / PI), form.magic)
    n = t - form.magic
    first = ir.fma(n, -high, a)  # exact
    product, product_rest = two_product(n, number(-middle, a))
    r, rest = two_sum(first, product)
    rest = rest + ir.fma(n, -low, product_rest)
    far = (_far32 if a.dtype is dt.float32 else _far64)(a)
    near = ir.lt(a, LIMIT[a.dtype])
    return usually(near, bits(t), far[0]), usually(near, r, far[1]), usually(near, rest, far[2])


def _wave(quadrant: Expr, r: Expr, rest: Expr) -> Expr:
    """sin(quadrant * pi / 2 + r + rest): the sine's or the cosine's polynomial, and a sign."""
    form = FORMATS[r.dtype]
    odd = ir.ne(quadrant & 1, ir.const(0, form.integer))
    z = r * r
    # cosine: 1 - r**2 / 2, its error, z**2 * ...; sine: r, 0, r * z * ...
    pairs = zip((0.0, *COEFFICIENTS["cos", r.dtype]), COEFFICIENTS["sin", r.dtype])
    p = polynomial(z, tuple(ir.select(odd, number(c, r), number(s, r)) for c, s in pairs))
    base = ir.select(odd, number(1.0, r), r)
    factor = ir.select(odd, r * -0.5, number(0.0, r))
    whole = ir.fma(factor, r, base)
    rest = ir.fma(factor, r, base - whole) + ir.select(odd, -r * rest, rest)
    value = whole + ir.fma(base * z, p, rest)
    return from_bits(bits(value) ^ ((quadrant & 2) << (form.sign_bit - 1)))


def sin(x: Expr) -> Expr:
    """The sine, for every finite x."""
    a = abs(x)
    quadrant, r, rest = _reduce(a)
    value = _wave(quadrant, r, rest)
    value = from_bits(bits(value) ^ (bits(x) & FORMATS[x.dtype].sign))
    return ir.select(ir.lt(a, INF), value, x - x)


def cos(x: Expr) -> Expr:
    """The cosine, for every finite x."""
    a = abs(x)
    quadrant, r, rest = _reduce(a)
    return ir.select(ir.lt(a, INF), _wave(quadrant + 1, r, rest), x - x)


def _tangent(odd: Expr, r: Expr, rest: Expr) -> Expr:
    """tan(r + rest), where `odd` holds its negative reciprocal; |r| <= pi / 4."""
    # t + low = tan(r / 2); the result is 2t / (1 - t**2), or -1 / that
    h = r * 0.5
    z = h * h
    t, low = fast_two_sum(h, ir.fma(h * z, polynomial(z, COEFFICIENTS["tan", r.dtype]), rest * 0.5))
    square, square_rest = two_product(t, t)
    below, below_rest = fast_two_sum(number(1.0, r), -square)
    below_rest = below_rest - ir.fma(t + t, low, square_rest)
    above, above_rest = t + t, low + low
    above, below = ir.select(odd, -below, above), ir.select(odd, above, below)
    above_rest, below_rest = ir.select(odd, -below_rest, above_rest), ir.select(odd, above_rest, below_rest)
    inverse = 1.0 / below
    q = above * inverse
    return ir.fma(ir.fma(-q, below, above) + ir.fma(-q, below_rest, above_rest), inverse, q)


def tan(x: Expr) -> Expr:
    """The tangent, for every finite x."""
    form = FORMATS[x.dtype]
    a = abs(x)
    quadrant, r, rest = _reduce(a)
    value = _tangent(ir.ne(quadrant & 1, ir.const(0, form.integer)), r, rest)
    value = from_bits(bits(value) ^ (bits(x) & form.sign))
    value = ir.select(ir.lt(a, 2.0 ** (-form.mantissa // 2 - 2)), x, value)
    return ir.select(ir.lt(a, INF), value, x - x)


def cotangent_of_pi(x: Expr) -> Expr:
    """cot(pi x) for |x| <= 1/2."""
    quarters = ir.round(x + x)
    r = ir.fma(quarters, -0.5, x)
    pi, pi_rest = split(PI, x.dtype, 2)
    angle, rest = two_product(r, number(pi, x))
    return -_tangent(is_(quarters, 0.0), angle, ir.fma(r, pi_rest, rest))


# --- inverses ---------------------------------------------------------------------------------------------------------


def _arctangent(q: Expr, rest: Expr) -> Expr:
    """atan(q + rest) - q for 0 <= q <= 1; the derivative 1 / (1 + q**2) need not be exact."""
    z = q * q
    return ir.fma(q * z, polynomial(z, COEFFICIENTS["atan", q.dtype]), rest * ir.fma(z, -0.5, 1.0))


def atan(x: Expr) -> Expr:
    """The arctangent; above 1, pi/2 - atan(1/x)."""
    a = clamp(abs(x), None, 2.0**60)
    large = ir.gt(a, 1.0)
    inverse = 1.0 / a
    q = ir.select(large, inverse, a)
    rest = ir.select(large, ir.fma(-inverse, a, 1.0) * inverse, number(0.0, x))
    tail = _arctangent(q, rest)
    high, low = split(PI / 2, x.dtype, 2)
    total, error = fast_two_sum(number(high, x), -q)
    turned = total + (error + low - tail)
    return ir.copysign(ir.select(large, turned, q + tail), x)


def atan2(y: Expr, x: Expr) -> Expr:
    """The angle of the point (x, y), all quadrants and zeros and infinities as in C99."""
    a, b = abs(x), abs(y)
    swap = ir.gt(b, a)
    low, high = ir.select(swap, a, b), ir.select(swap, b, a)
    half_range = FORMATS[x.dtype].bias // 2
    scale = ir.select(ir.lt(high, 2.0**-half_range), number(2.0 ** (half_range + 4), x), number(1.0, x))
    low, high = low * scale, high * scale
    quotient = low / high
    rest = ir.fma(-quotient, high, low) / high
    # no remainder to be had of infinity, and none that matters where it is denormal
    limit = 2.0 ** -(FORMATS[x.dtype].bias - FORMATS[x.dtype].mantissa - 3)
    plain = ir.lt(high, INF) & ir.gt(low, limit)
    rest = ir.select(plain, rest, number(0.0, x))
    quotient = ir.select(ir.eq(low, high), number(1.0, x), quotient)  # also both infinite
    quotient = ir.select(is_(low, 0.0) & is_(high, 0.0), number(0.0, x), quotient)
    rest = ir.select(ir.eq(low, high), number(0.0, x), rest)
    tail = _arctangent(quotient, rest)
    negative = ir.lt(bits(x), ir.const(0, FORMATS[x.dtype].integer))
    half, half_low = split(PI / 2, x.dtype, 2)
    zero = number(0.0, x)
    base = ir.select(swap, number(half, x), ir.select(negative, number(2 * half, x), zero))
    base_low = ir.select(swap, number(half_low, x), ir.select(negative, number(2 * half_low, x), zero))
    minus = ir.xor(swap, negative)  # pi/2 - angle, pi - angle
    quotient = ir.select(minus, -quotient, quotient)
    tail = ir.select(minus, -tail, tail)
    total, error = fast_two_sum(base, quotient)
    result = ir.copysign(total + (error + base_low + tail), y)
    return ir.select(ir.eq(x, x) & ir.eq(y, y), result, x + y)


def _arcsine(x: Expr) -> tuple[Expr, Expr, Expr]:
    """large, y and tail: asin(|x|) = y + tail, or where `large` holds pi/2 - 2 (y + tail)."""
    a = abs(x)
    large = ir.gt(a, 0.5)
    half = ir.fma(a, -0.5, 0.5)  # exact where it is used
    root = ir.sqrt(half)
    rest = ir.fma(-root, root, half) * (0.5 / root)
    rest = ir.select(large & ir.lt(a, 1.0), rest, number(0.0, x))
    z = ir.select(large, half, x * x)
    y = ir.select(large, root, a)
    return large, y, ir.fma(y * z, polynomial(z, COEFFICIENTS["asin", x.dtype]), rest)


def asin(x: Expr) -> Expr:
    """The arcsine; NaN beyond 1."""
    large, y, tail = _arcsine(x)
    high, low = split(PI / 2, x.dtype, 2)
    total, error = fast_two_sum(number(high, x), y * -2.0)
    turned = total + (error + ir.fma(tail, -2.0, low))
    return ir.copysign(ir.select(large, turned, y + tail), x)


def acos(x: Expr) -> Expr:
    """The arccosine; NaN beyond 1."""
    large, y, tail = _arcsine(x)
    high, low = split(PI / 2, x.dtype, 2)
    negative = ir.lt(x, 0.0)
    zero = number(0.0, x)
    # 2 (y + tail), pi - 2 (y + tail), or pi/2 -+ (y + tail)
    base = ir.select(large, ir.select(negative, number(2 * high, x), zero), number(high, x))
    base_low = ir.select(large, ir.select(negative, number(2 * low, x), zero), number(low, x))
    factor = ir.select(large, number(2.0, x), number(-1.0, x))
    factor = ir.select(negative, -factor, factor)
    total, error = fast_two_sum(base, y * factor)
    return total + (error + ir.fma(tail, factor, base_low))
