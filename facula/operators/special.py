"""`torch.special`: what is elementary is one kernel of Cephes' polynomials, of many terms a loop."""

import math
from collections.abc import Callable

from facula.autograd.node import dtype_title
from facula.codegen.math.basics import polynomial, two_product
from facula.codegen.math.coefficients import COEFFICIENTS
from facula.core import dtype as dt
from facula.core.spec import Spec
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.ir import expr as ir

from . import elementwise as e
from .cephes import CEPHES
from .declare import INTO, function, takes, traced
from .elementwise import digamma, erf, erfc, erfinv, exp2, expm1, lgamma, log1p, sigmoid, sinc, xlogy
from .gamma import _I0_FAR, _I0_NEAR, _chebyshev, hurwitz, i0, igamma, igammac, mvlgamma, polygamma
from .normalization import log_softmax as _log_softmax
from .normalization import softmax as _softmax
from .promotion import result_type
from .public import logit, round
from .reduction import logsumexp, sum_to

__all__ = [
    "airy_ai", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "chebyshev_polynomial_t", "chebyshev_polynomial_u",
    "chebyshev_polynomial_v", "chebyshev_polynomial_w", "digamma", "entr", "erf", "erfc", "erfcx", "erfinv", "exp2",
    "expit", "expm1", "gammainc", "gammaincc", "gammaln", "hermite_polynomial_h", "hermite_polynomial_he", "i0", "i0e",
    "i1", "i1e", "laguerre_polynomial_l", "legendre_polynomial_p", "log1p", "log_ndtr", "log_softmax", "logit",
    "logsumexp", "modified_bessel_i0", "modified_bessel_i1", "modified_bessel_k0", "modified_bessel_k1",
    "multigammaln", "ndtr", "ndtri", "polygamma", "psi", "round", "scaled_modified_bessel_k0",
    "scaled_modified_bessel_k1", "shifted_chebyshev_polynomial_t", "shifted_chebyshev_polynomial_u",
    "shifted_chebyshev_polynomial_v", "shifted_chebyshev_polynomial_w", "sinc", "softmax", "spherical_bessel_j0",
    "xlog1py", "xlogy", "zeta",
]  # fmt: skip

expit, psi, gammaln, gammainc, gammaincc, multigammaln = sigmoid, digamma, lgamma, igamma, igammac, mvlgamma


@takes
def softmax(input: Tensor, dim: int, *, dtype=None) -> Tensor:
    """`exp(input)` over its sum along `dim`."""
    return _softmax(input, dim, dtype=dtype)


@takes
def log_softmax(input: Tensor, dim: int, *, dtype=None) -> Tensor:
    """The logarithm of `softmax`."""
    return _log_softmax(input, dim, dtype=dtype)


# --- building blocks ----------------------------------------------------------------------------------------------


def _wide(title: str) -> Callable:
    """A check that refuses 16-bit floats, in the words of PyTorch's kernel."""

    def check(*kinds) -> None:
        for k in kinds:
            if isinstance(k, Spec) and k.dtype.kind == "f" and k.dtype.itemsize < 4:
                fail(NotImplementedError, f"\"{title}\" not implemented for '{dtype_title(k.dtype)}'")

    return check


def _number(value: float, like):
    return ir.const(value, like.dtype)


def _ratio(x, above: str, below: str):
    """A quotient of two of Cephes' polynomials; some of those below have one more power, with the factor 1."""
    ones = (1.0,) if below.rpartition(".")[2] in ("QQ", "RQ", "YQ", "AFD", "AGD") else ()
    return polynomial(x, CEPHES[above][::-1]) / polynomial(x, CEPHES[below][::-1] + ones)


def _where(condition, a, b):
    like = a if isinstance(a, ir.Expr) else b
    a, b = (x if isinstance(x, ir.Expr) else _number(x, like) for x in (a, b))
    return ir.select(condition, a, b)


def _split(x, border: float):
    """Whether x is below the border, x there (else the border), x beyond it (else the border)."""
    near = ir.le(x, border)
    return near, _where(near, x, border), _where(near, border, x)


# --- the normal distribution --------------------------------------------------------------------------------------


def _erfcx_positive(x):
    """`erfcx` of x >= 0 in float64: a polynomial in (x - 4) / (x + 4) over 1 + 2x; beyond 25 the asymptotic series."""
    near, low, high = _split(x, 25.0)
    q = (low - 4.0) / (low + 4.0)
    value = polynomial(q, COEFFICIENTS["erfc", dt.float64]) / (low * 2.0 + 1.0)
    half = 0.5 / (high * high)
    terms = [1.0]
    for k in range(1, 8):
        terms.append(-terms[-1] * (2 * k - 1))
    far = polynomial(half, tuple(terms)) * (1 / math.sqrt(math.pi)) / high
    return ir.select(near, value, far)


def _erfcx(x):
    narrow = x.dtype
    wide = ir.cast(x, dt.float64)
    value = _erfcx_positive(ir.abs(wide))
    # below 0: 2 exp(x**2) - erfcx(-x)
    low = _where(ir.lt(wide, -27.0), -27.0, wide)
    product, rest = two_product(low, low)
    grown = ir.exp(product)
    below = ir.fma(grown, rest, grown) * 2.0 - value
    below = _where(ir.lt(wide, -26.9), math.inf, below)
    return ir.cast(ir.select(ir.lt(wide, 0.0), below, value), narrow)


@traced(promote="float", kinds="f", check=_wide("erfcx"))
def erfcx(input):
    """`exp(x**2) * erfc(x)` without overflow for positive x."""
    return _erfcx(input)


@erfcx.gradient("input")
def _(grad, input, out):
    return grad * (input * out * 2.0 - 2 / math.sqrt(math.pi))


@traced(promote="float", kinds="f")
def ndtr(input):
    """P(X <= x) for a standard normal X."""
    t = input * math.sqrt(0.5)
    return _where(ir.lt(ir.abs(t), 1.0), ir.erf(t) * 0.5 + 0.5, _tail(t))


def _tail(t):
    half = ir.erfc(ir.abs(t)) * 0.5
    return ir.select(ir.gt(t, 0.0), 1.0 - half, half)


@ndtr.gradient("input")
def _(grad, input):
    return grad * ir.exp(input * input * -0.5) * (1 / math.sqrt(2 * math.pi))


@traced(promote="float", kinds="f", check=_wide("log_ndtr"))
def log_ndtr(input):
    """The logarithm of `ndtr`, exact also far below 0."""
    t = input * math.sqrt(0.5)
    low = _where(ir.lt(t, 0.0), t, 0.0)
    left = ir.log(_erfcx(-low) * 0.5) - low * low
    return ir.select(ir.lt(input, -1.0), left, ir.log1p(ir.erfc(t) * -0.5))


@log_ndtr.gradient("input")
def _(grad, input):
    return grad / _erfcx(input * -math.sqrt(0.5)) * math.sqrt(2 / math.pi)


@traced(promote="float", kinds="f", check=_wide("ndtri"))
def ndtri(input):
    """The inverse of `ndtr`."""
    border = math.exp(-2.0)
    upper = ir.gt(input, 1.0 - border)
    y = ir.select(upper, 1.0 - input, input)
    centre = y - 0.5
    square = centre * centre
    middle = (centre + centre * (square * _ratio(square, "ndtri.P0", "ndtri.Q0"))) * math.sqrt(2 * math.pi)
    x = ir.sqrt(ir.log(_where(ir.gt(y, border), border, y)) * -2.0)
    z = 1.0 / x
    small = ir.select(ir.lt(x, 8.0), _ratio(z, "ndtri.P1", "ndtri.Q1"), _ratio(z, "ndtri.P2", "ndtri.Q2"))
    tail = x - ir.log(x) / x - z * small
    found = ir.select(ir.gt(y, border), middle, ir.select(upper, tail, -tail))
    found = _where(ir.eq(input, _number(0.0, input)), -math.inf, found)
    found = _where(ir.eq(input, _number(1.0, input)), math.inf, found)
    return _where(ir.or_(ir.lt(input, 0.0), ir.gt(input, 1.0)), math.nan, found)


@ndtri.gradient("input")
def _(grad, out):
    return grad * ir.exp(out * out * 0.5) * math.sqrt(2 * math.pi)


# --- entropies ----------------------------------------------------------------------------------------------------


@traced(promote="float", kinds="f")
def entr(input):
    """`-x log(x)`: 0 at 0, -inf below."""
    value = _where(
        ir.gt(input, 0.0),
        -input * ir.log(input),
        _where(ir.eq(input, _number(0.0, input)), 0.0, -math.inf + input * 0.0),
    )
    return ir.select(ir.isnan(input), input, value)


@entr.gradient("input")
def _(grad, input):
    return grad * (-ir.log(input) - 1.0)


@traced(promote="float", kinds="f")
def xlog1py(input, other):
    """`input * log1p(other)`, 0 where `input` is 0."""
    zero = ir.and_(ir.eq(input, _number(0.0, input)), ir.not_(ir.isnan(other)))
    return _where(zero, 0.0, input * e.as_kept(ir.log1p(other), e.halves(input, other)))


@xlog1py.gradient("input", "other")
def _(grad, input, other):
    nothing = ir.and_(ir.eq(input, _number(0.0, input)), ir.le(other, -1.0))
    return _where(nothing, 0.0, grad * ir.log1p(other)), grad * input / (other + 1.0)


# --- modified Bessel functions ------------------------------------------------------------------------------------


def _i0e(x):
    near, low, high = _split(ir.abs(x), 8.0)
    return ir.select(
        near, _chebyshev(low * 0.5 - 2.0, _I0_NEAR), _chebyshev(32.0 / high - 2.0, _I0_FAR) / ir.sqrt(high)
    )


def _i1e(x):
    near, low, high = _split(ir.abs(x), 8.0)
    value = ir.select(
        near,
        _chebyshev(low * 0.5 - 2.0, CEPHES["i1.NEAR"]) * low,
        _chebyshev(32.0 / high - 2.0, CEPHES["i1.FAR"]) / ir.sqrt(high),
    )
    return ir.select(ir.lt(x, 0.0), -value, value)


@traced(promote="float", kinds="f")
def i0e(input):
    """`exp(-|x|) * i0(x)`."""
    return _i0e(input)


@i0e.gradient("input")
def _(grad, input, out):
    return grad * (_i1e(input) - ir.sign(input) * out)


@traced(promote="float", kinds="f")
def i1(input):
    """The modified Bessel function of the first kind, of order 1."""
    return _i1e(input) * ir.exp(ir.abs(input))


def _tiny(x):
    return ir.lt(ir.abs(x), 2.0**-52 if x.dtype is dt.float64 else 2.0**-23)


@i1.gradient("input")
def _(grad, input, out):
    tiny = _tiny(input)
    slope = _i0e(input) * ir.exp(ir.abs(input)) - out / _where(tiny, 1.0, input)
    return grad * _where(tiny, 0.5, slope)


@traced(promote="float", kinds="f")
def i1e(input):
    """`exp(-|x|) * i1(x)`."""
    return _i1e(input)


@i1e.gradient("input")
def _(grad, input, out):
    tiny = _tiny(input)
    slope = _i0e(input) - out * (ir.sign(input) + 1.0 / _where(tiny, 1.0, input))
    return grad * _where(tiny, 0.5, slope)


def _k(order: int, x, scaled: bool):
    """exp(x) K(x) or K(x): below 2 with a logarithm times I(x), beyond a Chebyshev series."""
    near, low, high = _split(x, 2.0)
    square = low * low - 2.0
    grown = ir.exp(low)
    if order == 0:
        below = _chebyshev(square, CEPHES["k0.NEAR"]) - ir.log(low * 0.5) * (_i0e(low) * grown)
    else:
        below = ir.log(low * 0.5) * (_i1e(low) * grown) + _chebyshev(square, CEPHES["k1.NEAR"]) / low
    above = _chebyshev(8.0 / high - 2.0, CEPHES[f"k{order}.FAR"]) / ir.sqrt(high)
    found = ir.select(near, below * grown if scaled else below, above if scaled else above * ir.exp(-high))
    found = _where(ir.eq(x, _number(0.0, x)), math.inf, found)
    return _where(ir.lt(x, 0.0), math.nan, found)


def _plain(name: str, text: str, body: Callable) -> Callable:
    """A function of one number without a derivative, as in PyTorch."""

    def operator(input):
        return body(input)

    operator.__name__, operator.__doc__ = name, text
    return traced(operator, promote="float", kinds="f", differentiable=False, check=_wide(f"{name}_cpu"))


modified_bessel_i0 = _plain("modified_bessel_i0", "`i0`, without a derivative.", lambda x: _i0e(x) * ir.exp(ir.abs(x)))
modified_bessel_i1 = _plain("modified_bessel_i1", "`i1`, without a derivative.", lambda x: _i1e(x) * ir.exp(ir.abs(x)))
modified_bessel_k0 = _plain(
    "modified_bessel_k0", "The modified Bessel function of the second kind, of order 0.", lambda x: _k(0, x, False)
)
modified_bessel_k1 = _plain(
    "modified_bessel_k1", "The modified Bessel function of the second kind, of order 1.", lambda x: _k(1, x, False)
)
scaled_modified_bessel_k0 = _plain(
    "scaled_modified_bessel_k0", "`exp(x)` times `modified_bessel_k0`.", lambda x: _k(0, x, True)
)
scaled_modified_bessel_k1 = _plain(
    "scaled_modified_bessel_k1", "`exp(x)` times `modified_bessel_k1`.", lambda x: _k(1, x, True)
)


# --- Bessel functions ---------------------------------------------------------------------------------------------

_J0_ZEROS = 5.78318596294678452118, 30.4712623436620863991  # squares of the first two
_J1_ZEROS = 14.6819706421238932572, 49.2184563216946036703


def _wave(order: int, x, sine: bool):
    """Beyond 5: sqrt(2 / (pi x)) (P cos(x - phase) - Q sin(x - phase)); of the second kind P sin + Q cos."""
    z = 25.0 / (x * x)
    p = _ratio(z, f"j{order}.PP", f"j{order}.PQ")
    q = _ratio(z, f"j{order}.QP", f"j{order}.QQ") * (5.0 / x)
    angle = x - (math.pi / 4 if order == 0 else 3 * math.pi / 4)
    both = p * ir.sin(angle) + q * ir.cos(angle) if sine else p * ir.cos(angle) - q * ir.sin(angle)
    return both * math.sqrt(2 / math.pi) / ir.sqrt(x)


def _j_near(order: int, x):
    square = x * x
    value = _ratio(square, f"j{order}.RP", f"j{order}.RQ")
    first, second = _J0_ZEROS if order == 0 else _J1_ZEROS
    value = value * ((square - first) * (square - second))
    if order == 1:
        return value * x
    return ir.select(ir.lt(x, 1e-5), 1.0 - square * 0.25, value)


def _j(order: int, x):
    near, low, high = _split(ir.abs(x), 5.0)
    value = ir.select(near, _j_near(order, low), _wave(order, high, False))
    return ir.select(ir.lt(x, 0.0), -value, value) if order else value


def _y(order: int, x):
    near, low, high = _split(x, 5.0)
    square = low * low
    value = _ratio(square, f"y{order}.YP", f"y{order}.YQ")
    if order == 0:
        value = value + ir.log(low) * _j_near(0, low) * (2 / math.pi)
    else:
        value = low * value + (_j_near(1, low) * ir.log(low) - 1.0 / low) * (2 / math.pi)
    value = ir.select(near, value, _wave(order, high, True))
    value = _where(ir.eq(x, _number(0.0, x)), -math.inf, value)
    return _where(ir.lt(x, 0.0), math.nan, value)


bessel_j0 = _plain("bessel_j0", "The Bessel function of the first kind, of order 0.", lambda x: _j(0, x))
bessel_j1 = _plain("bessel_j1", "The Bessel function of the first kind, of order 1.", lambda x: _j(1, x))
bessel_y0 = _plain("bessel_y0", "The Bessel function of the second kind, of order 0.", lambda x: _y(0, x))
bessel_y1 = _plain("bessel_y1", "The Bessel function of the second kind, of order 1.", lambda x: _y(1, x))


def _spherical(x):
    square = x * x
    terms = tuple((-1) ** k / math.factorial(2 * k + 1) for k in range(7))
    found = ir.select(ir.lt(ir.abs(x), 0.5), polynomial(square, terms), ir.sin(x) / x)
    return _where(ir.isinf(x), 0.0, found)


spherical_bessel_j0 = _plain(
    "spherical_bessel_j0", "`sin(x) / x`: the spherical Bessel function of order 0.", _spherical
)


def _airy(x):
    """Below -2.09 a wave, up to 2.09 the power series, beyond it a quotient times exp(-zeta)."""
    left, right = ir.lt(x, -2.09), ir.ge(x, 2.09)
    low = _where(left, -x, 4.0)
    root = ir.sqrt(low)
    zeta_low = low * root * (2 / 3)
    z = 1.0 / zeta_low
    square = z * z
    angle = zeta_low + math.pi / 4
    scale = 0.564189583547756286948  # 1 / sqrt(pi)
    wave = ir.sin(angle) * (square * _ratio(square, "airy.AFN", "airy.AFD") + 1.0)
    wave = (wave - ir.cos(angle) * (z * _ratio(square, "airy.AGN", "airy.AGD"))) * scale / ir.sqrt(root)
    high = _where(right, x, 4.0)
    root = ir.sqrt(high)
    zeta_high = high * root * (2 / 3)
    decay = _ratio(1.0 / zeta_high, "airy.AN", "airy.AD") * scale / (ir.sqrt(root) * ir.exp(zeta_high) * 2.0)
    middle = _where(ir.or_(left, right), 0.0, x)
    cube = middle * middle * middle
    f, g = [1.0], [1.0]
    for k in range(1, 16):
        f.append(f[-1] / ((3 * k - 1) * (3 * k)))
        g.append(g[-1] / ((3 * k) * (3 * k + 1)))
    series = polynomial(cube, tuple(f)) * 0.355028053887817239260
    series = series - middle * polynomial(cube, tuple(g)) * 0.258819403792806798405
    found = ir.select(left, wave, ir.select(right, decay, series))
    found = _where(ir.gt(x, 103.892), 0.0, found)
    return _where(ir.or_(ir.isinf(x), ir.isnan(x)), math.nan, found)


airy_ai = _plain("airy_ai", "The Airy function Ai.", _airy)


# --- loops: the number of steps depends on the numbers ------------------------------------------------------------


def _refused(name: str, *operands) -> None:
    """NotImplementedError for dtypes that PyTorch's kernel lacks."""
    kind = result_type([x.spec if isinstance(x, Tensor) else type(x) for x in operands])
    if kind.kind in "fc" and kind not in (dt.float32, dt.float64):
        fail(NotImplementedError, f"\"{name}_cpu\" not implemented for '{dtype_title(kind)}'")


@function(tensors=("input", "other"))
def zeta_core(input, other):
    """The Hurwitz zeta function: the sum of (other + k)**-input over k from 0 on."""
    _refused("zeta", input, other)
    return hurwitz(input, other)


@zeta_core.gradient("input")
def _(grad):
    fail(NotImplementedError, "the derivative for 'special_zeta: self' is not implemented")


@zeta_core.gradient("other")
def _(grad, input, other, other_spec):
    return sum_to(e.mul(grad, e.mul(zeta_core(input + 1, other), -input)), other_spec)


def _some_tensor(name: str, *operands) -> None:
    """TypeError for numbers alone."""
    if not any(isinstance(x, Tensor) for x in operands):
        got = ", ".join(type(x).__name__ for x in operands)
        fail(
            TypeError,
            f"special_{name}() received an invalid combination of arguments - got ({got}), but expected one of:",
            expected="a tensor and a number, or two tensors",
        )


def _written(name: str, made: Tensor, out, *operands) -> Tensor:
    return made if out is None else INTO[0](name, out, made, [x for x in operands if isinstance(x, Tensor)])


def zeta(input, other, *, out=None) -> Tensor:
    """The Hurwitz zeta function: the sum of (other + k)**-input over k from 0 on."""
    _some_tensor("zeta", input, other)
    return _written("zeta", zeta_core(input, other), out, input, other)


def _climb(x, n, first, step: Callable):
    """P_n from P_0 = 1, P_1 = first and P_{k + 1} = step(k, P_k, P_{k - 1}, x); 0 below order 0."""
    one, kind = _number(1.0, x), x.dtype
    found = ir.loop(
        (one, first, ir.const(0, n.dtype)), lambda p, q, k, x, n: ir.lt(k, n),
        lambda p, q, k, x, n: (q, step(ir.cast(k, kind) + 1.0, q, p, x), k + 1), lambda p, q, k, x, n: p, given=(x, n),
    )  # fmt: skip
    return _where(ir.lt(n, 0), 0.0, found)


# Each: P1 as multiple and shift of x; the form of large orders within (-1, 1); the order beyond which it is used.
_FAMILIES = {
    "t": ((1, 0), lambda n, angle: ir.cos(n * angle), (6, 6)),
    "u": ((2, 0), lambda n, angle: ir.sin((n + 1.0) * angle) / ir.sin(angle), (8, 6)),
    "v": ((2, -1), lambda n, angle: ir.cos((n + 0.5) * angle) / ir.cos(angle * 0.5), (8, 6)),
    "w": ((2, 1), lambda n, angle: ir.sin((n + 0.5) * angle) / ir.sin(angle * 0.5), (8, 4)),
}


def _chebyshev_values(kind: str, shifted: bool):
    (scale, shift), closed, orders = _FAMILIES[kind]
    border = orders[shifted]

    def values(x, n):
        y = x + x - 1.0 if shifted else x
        inside = ir.and_(ir.gt(n, border), ir.lt(ir.abs(y), 1.0))
        order = ir.select(inside, ir.const(0, n.dtype), n)
        found = _climb(y, order, y * float(scale) + float(shift), lambda k, q, p, y: (y + y) * q - p)
        angle = ir.acos(_where(inside, y, 0.5))
        return ir.select(inside, closed(ir.cast(n, x.dtype), angle), found)

    return values


def _hermite(probabilists: bool):
    def values(x, n):
        y, factor = (x, 1.0) if probabilists else (x + x, 2.0)
        many = ir.gt(n, 128 if x.dtype is dt.float32 else 512)
        order = ir.select(many, ir.const(0, n.dtype), n)
        found = _climb(y, order, y, lambda k, q, p, y: y * q - k * factor * p)
        return _where(many, math.nan, found)

    return values


def _laguerre(x, n):
    found = _climb(x, n, 1.0 - x, lambda k, q, p, x: ((k + k + (1.0 - x)) * q - k * p) / (k + 1.0))
    return _where(ir.and_(ir.eq(x, 0.0), ir.ge(n, 0)), 1.0, found)


def _legendre(x, n):
    found = _climb(x, n, x, lambda k, q, p, x: ((k + k + 1.0) * x * q - k * p) / (k + 1.0))
    odd = ir.and_(ir.lt(x, 0.0), ir.eq(n & 1, 1))
    ends = ir.select(odd, _number(-1.0, x), _number(1.0, x))
    return ir.select(ir.and_(ir.eq(ir.abs(x), 1.0), ir.ge(n, 0)), ends, found)


def _polynomials(name: str, text: str, values: Callable) -> Callable:
    """A function of a number and an order."""

    def each(input, n):
        finite = ir.lt(ir.abs(n), math.inf)
        whole = dt.int64 if n.dtype is dt.float64 else dt.int32  # as wide as the numbers beside it
        return values(input, ir.cast(_where(finite, ir.minimum(n, 2.0**30), -1.0), whole))

    each.__name__, each.__doc__ = f"{name}_values", text
    numbers = traced(each, promote="float", differentiable=False, kinds="f")

    def body(input, n):
        _refused(name, input, n)
        return numbers(input, n)

    body.__name__, body.__doc__ = f"{name}_core", text
    core = function(body, tensors=("input", "n"))
    for which in ("input", "n"):

        def refuse(grad, which=which):
            fail(NotImplementedError, f"the derivative for 'special_{name}: {which}' is not implemented")

        core.gradient(which)(_formula(refuse))

    def entry(x, n, *, out=None) -> Tensor:
        _some_tensor(name, x, n)
        return _written(name, core(x, n), out, x, n)

    entry.__name__ = entry.__qualname__ = name
    entry.__doc__ = text
    return entry


def _formula(refuse: Callable) -> Callable:
    return lambda grad: refuse(grad)


chebyshev_polynomial_t, chebyshev_polynomial_u, chebyshev_polynomial_v, chebyshev_polynomial_w = (
    _polynomials(
        f"chebyshev_polynomial_{k}", f"Chebyshev's polynomials of kind {k}, of order `n`.", _chebyshev_values(k, False)
    )
    for k in "tuvw"
)
(
    shifted_chebyshev_polynomial_t,
    shifted_chebyshev_polynomial_u,
    shifted_chebyshev_polynomial_v,
    shifted_chebyshev_polynomial_w,
) = (
    _polynomials(
        f"shifted_chebyshev_polynomial_{k}",
        f"Chebyshev's polynomials of kind {k} at 2x - 1.",
        _chebyshev_values(k, True),
    )
    for k in "tuvw"
)
hermite_polynomial_h = _polynomials("hermite_polynomial_h", "The physicists' Hermite polynomials.", _hermite(False))
hermite_polynomial_he = _polynomials("hermite_polynomial_he", "The probabilists' Hermite polynomials.", _hermite(True))
laguerre_polynomial_l = _polynomials("laguerre_polynomial_l", "Laguerre's polynomials.", _laguerre)
legendre_polynomial_p = _polynomials("legendre_polynomial_p", "Legendre's polynomials.", _legendre)
