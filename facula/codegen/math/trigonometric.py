"""sin, cos, tan for all finite arguments, and their inverses; nothing exponential."""

from fractions import Fraction

from facula.core import dtype as dt
from facula.ir import expr as ir
from facula.ir.expr import Expr

from .basics import FORMATS, INF, bits, fast_two_sum, from_bits, number, polynomial, split, two_product
from .coefficients import COEFFICIENTS

# The first 1280 bits of the fraction of 1 / pi, and pi itself to 256 bits.
INVERSE_PI = int(
    "517CC1B727220A94FE13ABE8FA9A6EE06DB14ACC9E21C820FF28B1D5EF5DE2B0DB92371D2126E9700324977504E8C90E"
    "7F0EF58E5894D39F74411AFA975DA24274CE38135A2FBF209CC8EB1CC1A99CFA4E422FC5DEFC941D8FFC4BFFEF02CC07"
    "F79788C5AD05368FB69B3F6793E584DBA7A31FB34F2FF516BA93DD63F5F2F8BD9E839CFBC529497535FDAFD88FC6AE84"
    "2B0198237E3DB5D5F867DE104D7A1B0E",
    16,
)
PI = Fraction(0xC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22, 1 << 254)

# --- arguments ------------------------------------------------------------------------------------------------------

# Up to here n * pi is subtracted in pieces (Cody and Waite); beyond, bits of 1 / pi are multiplied (Payne and Hanek).
LIMIT = {dt.float32: 2.0**17, dt.float64: 2.0**24}


def _window(position: Expr, first: int, last: int, count: int) -> list[Expr]:
    """`count` words of 64 bits of 1 / pi from bit `position + first` on, for 0 <= position <= last.

    Bit 1 is worth a half; bits before it are 0. Words are chosen by a barrel shifter: no table in memory is read.
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


def _far32(a: Expr, quarters: int, turn: int) -> tuple[Expr, Expr, Expr]:
    """`_reduce` for float32 beyond LIMIT: the product modulo 2**64 of a 24-bit mantissa and 96 bits of 1 / period."""
    i = ir.cast(bits(a), dt.int64)
    mantissa = (i & 0x7FFFFF) | 0x800000
    # a = mantissa * 2**(exponent - 150); the top bit of the product is to be worth one period
    position = ((i >> 23) & 0xFF) - (150 - 16)
    first, second = _window(position & 0x7F, -16 + turn, 127, 2)
    product = mantissa * first + ((mantissa * ((second >> 32) & 0xFFFFFFFF)) >> 32)
    product = product + (quarters << 61)
    parity = ir.cast(((product + (1 << 62)) >> 63) << 31, dt.int32)
    angle = ir.cast(product << 1, dt.float64) * (float(PI) / 2.0 ** (64 + turn))
    high = ir.cast(angle, dt.float32)
    return parity, high, ir.cast(angle - ir.cast(high, dt.float64), dt.float32)


def _far64(a: Expr, quarters: int, turn: int) -> tuple[Expr, Expr, Expr]:
    """`_reduce` for float64 beyond LIMIT: 128 bits of the product of a 53-bit mantissa and 192 bits of 1 / period."""
    i = bits(a)
    mantissa = (i & ((1 << 52) - 1)) | (1 << 52)
    position = ((i >> 52) & 0x7FF) - (1075 - 32)
    words = _window(position & 0x3FF, -32 + turn, 1023, 3)
    mask = (1 << 32) - 1
    limbs = [limb for w in words for limb in ((w >> 32) & mask, w & mask)]
    low, high = mantissa & mask, mantissa >> 32
    lows = [limb * low for limb in limbs[:5]]  # as wide as 64 bits, unsigned
    highs = [limb * high for limb in limbs]
    # column k is worth 2**(32 * (3 - k)); what carries out of column 0 is whole double periods
    columns = []
    for k in range(4):
        column = (lows[k] & mask) + (highs[k + 1] & mask)
        column = column + ((lows[k + 1] >> 32) & mask) + (highs[k + 2] >> 32)
        columns.append(column)
    columns[0] = columns[0] + (quarters << 29)
    for k in (3, 2, 1):
        columns[k - 1] = columns[k - 1] + (columns[k] >> 32)
    top = (columns[0] << 32) | (columns[1] & mask)
    rest = ((columns[2] & mask) << 31) | ((columns[3] & mask) >> 1)  # 63 bits
    parity = ((top + (1 << 62)) >> 63) << 63
    signed = (top << 1) | (rest >> 62)  # a period has 2**64 of these
    rest = (rest << 1) & ((1 << 63) - 1)  # and each of these 2**63 of those
    # exact: 32 bits at a time
    pieces = [
        ir.cast((signed >> 32) << 32, dt.float64),
        ir.cast(signed & mask, dt.float64),
        ir.cast(rest, dt.float64) * 2.0**-63,
    ]
    whole, error = fast_two_sum(pieces[0], pieces[1])
    whole, error = fast_two_sum(whole, error + pieces[2])
    pi, pi_rest = split(PI / (1 << (64 + turn)), dt.float64, 2)
    high, low = two_product(whole, number(pi, a))
    return parity, *fast_two_sum(high, low + ir.fma(whole, pi_rest, error * pi))


def _reduce(a: Expr, quarters: int, turn: int) -> tuple[Expr, Expr, Expr]:
    """Sign bit (integer), r and its low part with a = n * period - quarters/4 * period + r, |r| <= period / 2.

    The period is pi (`turn` 0) or pi / 2 (`turn` 1), `a` is not negative, the sign bit is the parity of n.
    """
    form = FORMATS[a.dtype]
    period = PI / (1 << turn)
    high, middle, low = split(period, a.dtype, 3)
    inverse = float(1 / period)
    # n + quarters / 4 is what is to be subtracted
    if quarters:
        t = ir.fma(a, inverse, -0.25 * quarters) + form.magic
        n = t - form.magic + 0.25 * quarters
    else:
        t = ir.fma(a, inverse, form.magic)
        n = t - form.magic
    parity = bits(t) << form.sign_bit
    first = ir.fma(n, -high, a)
    r = ir.fma(n, -middle, first)
    rest = ir.fma(n, -low, ir.fma(n, -middle, first - r))
    far = (_far32 if a.dtype is dt.float32 else _far64)(a, -quarters, turn)
    near = ir.lt(a, LIMIT[a.dtype])
    return tuple(ir.select(near, x, y) for x, y in zip((parity, r, rest), far))


def _sine(r: Expr, rest: Expr) -> Expr:
    """sin(r + rest) for |r| <= pi / 2."""
    z = r * r
    # the cosine of r multiplies rest: within a bit or two that is enough
    return r + ir.fma(r * z, polynomial(z, COEFFICIENTS["sin", r.dtype]), rest * ir.fma(z, -0.5, 1.0))


def sin(x: Expr) -> Expr:
    """The sine, for every finite x."""
    a = abs(x)
    parity, r, rest = _reduce(a, 0, 0)
    sign = FORMATS[x.dtype].sign
    result = from_bits(bits(_sine(r, rest)) ^ parity ^ (bits(x) & sign))
    return ir.select(ir.lt(a, INF), result, x - x)


def cos(x: Expr) -> Expr:
    """The cosine, for every finite x: cos(r + pi/2 + n pi) = (-1)**(n+1) sin(r)."""
    a = abs(x)
    parity, r, rest = _reduce(a, 2, 0)
    result = from_bits(bits(_sine(r, rest)) ^ parity ^ FORMATS[x.dtype].sign)
    return ir.select(ir.lt(a, INF), result, x - x)
