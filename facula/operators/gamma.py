"""Relatives of the gamma function, and the modified Bessel function I0.

`lgamma` and `digamma` themselves are in `elementwise.py`.
"""

import math

from facula.autograd.node import dtype_title
from facula.codegen.math.basics import polynomial, usually
from facula.core import dtype as dt
from facula.core.shape import broadcast
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.ir import derivative
from facula.ir import expr as ir

from . import elementwise as e
from .copying import cast
from .creation import arange
from .declare import function, traced
from .promotion import DEFAULT, opmath, result_type
from .reduction import sum as sum_over
from .view import unsqueeze

__all__ = ["i0", "igamma", "igammac", "mvlgamma", "polygamma"]

# --- Bessel functions ---------------------------------------------------------------------------------------------

# Chebyshev series of exp(-x) I0(x), for x / 2 - 2 where x <= 8 and for 32 / x - 2 beyond (times sqrt(x)): Cephes.
_I0_NEAR = (
    -4.41534164647933937950e-18, 3.33079451882223809783e-17, -2.43127984654795469359e-16, 1.71539128555513303061e-15,
    -1.16853328779934516808e-14, 7.67618549860493561688e-14, -4.85644678311192946090e-13, 2.95505266312963983461e-12,
    -1.72682629144155570723e-11, 9.67580903537323691224e-11, -5.18979560163526290666e-10, 2.65982372468238665035e-9,
    -1.30002500998624804212e-8, 6.04699502254191894932e-8, -2.67079385394061173391e-7, 1.11738753912010371815e-6,
    -4.41673835845875056359e-6, 1.64484480707288970893e-5, -5.75419501008210370398e-5, 1.88502885095841655729e-4,
    -5.76375574538582365885e-4, 1.63947561694133579842e-3, -4.32430999505057594430e-3, 1.05464603945949983183e-2,
    -2.37374148058994688156e-2, 4.93052842396707084878e-2, -9.49010970480476444210e-2, 1.71620901522208775349e-1,
    -3.04682672343198398683e-1, 6.76795274409476084995e-1,
)  # fmt: skip
_I0_FAR = (
    -7.23318048787475395456e-18, -4.83050448594418207126e-18, 4.46562142029675999901e-17, 3.46122286769746109310e-17,
    -2.82762398051658348494e-16, -3.42548561967721913462e-16, 1.77256013305652638360e-15, 3.81168066935262242075e-15,
    -9.55484669882830764870e-15, -4.15056934728722208663e-14, 1.54008621752140982691e-14, 3.85277838274214270114e-13,
    7.18012445138366623367e-13, -1.79417853150680611778e-12, -1.32158118404477131188e-11, -3.14991652796324136454e-11,
    1.18891471078464383424e-11, 4.94060238822496958910e-10, 3.39623202570838634515e-9, 2.26666899049817806459e-8,
    2.04891858946906374183e-7, 2.89137052083475648297e-6, 6.88975834691682398426e-5, 3.36911647825569408990e-3,
    8.04490411014108831608e-1,
)  # fmt: skip


def _chebyshev(x, coefficients):
    """The sum of a Chebyshev series, highest term first, by Clenshaw's rule; `x` is twice the usual argument."""
    here = before = second = ir.const(0.0, x.dtype)
    for c in coefficients:
        here, before, second = x * here - before + c, here, before
    return (here - second) * 0.5


@traced(promote="float", kinds="f")
def i0(input):
    """The modified Bessel function of the first kind, of order 0."""
    x = input * ir.select(
        ir.lt(input, 0.0), ir.const(-1.0, input.dtype), ir.const(1.0, input.dtype)
    )  # with a slope at 0
    near = ir.le(x, 8.0)
    low = ir.select(near, x, ir.const(8.0, x.dtype))
    high = ir.select(near, ir.const(8.0, x.dtype), x)
    size = ir.exp(x)
    far = size * _chebyshev(32.0 / high - 2.0, _I0_FAR) / ir.sqrt(high)
    return ir.select(near, size * _chebyshev(low * 0.5 - 2.0, _I0_NEAR), far)


i0.operator.title = "i0_vml_cpu"


# --- polygamma ----------------------------------------------------------------------------------------------------


@traced(promote="float", kinds="f", differentiable=False)
def trigamma(input):
    """The derivative of `digamma`."""
    return derivative.trigamma(input)


trigamma.operator.title = "polygamma"

# (2k)! / B2k, of the Euler-Maclaurin formula.
_BERNOULLI = (
    12.0, -720.0, 30240.0, -1209600.0, 47900160.0, -1.8924375803183791606e9, 7.47242496e10, -2.950130727918164224e12,
    1.1646782814350067249e14, -4.5979787224074726105e15, 1.8152105401943546773e17, -7.1661652561756670113e18,
)  # fmt: skip


def _select(condition, a, b):
    like = a if isinstance(a, ir.Expr) else b
    return ir.select(condition, *(x if isinstance(x, ir.Expr) else ir.const(x, like.dtype) for x in (a, b)))


@traced(promote="float", kinds="f", differentiable=False)
def hurwitz(input, other):
    """The sum of (other + k)**-input: terms up to other + k > 9, at least nine, then Euler-Maclaurin; in float64."""
    x, q = ir.cast(input, dt.float64), ir.cast(other, dt.float64)
    whole, least, small = ir.eq(q, ir.floor(q)), ir.le(q, 0.0), ir.lt(x, 1.0)
    wrong = ir.or_(small, ir.and_(least, ir.ne(x, ir.floor(x))))
    wrong = ir.or_(wrong, ir.or_(ir.isnan(x), ir.isnan(q)))
    pole = ir.or_(ir.eq(x, 1.0), ir.and_(ir.and_(least, whole), ir.not_(small)))
    safe = ir.not_(ir.or_(wrong, pole))
    x, a = _select(safe, x, 2.0), _select(safe, q, 1.0)

    def more(a, total, n, x):
        grows = ir.and_(ir.lt(ir.abs(a), math.inf), ir.ne(a + 1.0, a))
        return ir.and_(ir.or_(ir.lt(n, 9.0), ir.le(a, 9.0)), grows)

    def rest(a, total, n, x):
        b = a**-x
        total = total + b * a / (x - 1.0) - b * 0.5
        factor, k = ir.const(1.0, dt.float64), 0.0
        for divisor in _BERNOULLI:
            factor = factor * (x + k)
            b = b / a
            part = factor * b / divisor
            total = total + _select(ir.lt(ir.abs(part), math.inf), part, 0.0)
            factor = factor * (x + (k + 1.0))
            b = b / a
            k += 2.0
        return total

    state = a, a**-x, ir.const(0.0, dt.float64)
    found = ir.loop(state, more, lambda a, total, n, x: (a + 1.0, total + (a + 1.0) ** -x, n + 1.0), rest, given=(x,))
    return ir.cast(_select(pole, math.inf, _select(wrong, math.nan, found)), input.dtype)


@function(tensors=("input",))
def polygamma_values(n, input):
    """The `n`-th derivative of `digamma`."""
    if n == 0:
        return e.digamma(input)
    if n == 1:
        return trigamma(input)
    kind = input.spec.dtype if input.spec.dtype.kind == "f" else DEFAULT.float
    scale = math.exp(math.lgamma(n + 1.0)) * (1 if n % 2 else -1)
    return cast(e.mul(hurwitz(n + 1.0, cast(input, dt.float64)), scale), kind)


@polygamma_values.gradient("input")
def _(grad, n, input):
    return e.mul(grad, polygamma(n + 1, input))


polygamma_values.operator.node_class.__name__ = "PolygammaBackward0"


def polygamma(n: int, input: Tensor, *, out=None) -> Tensor:
    """The `n`-th derivative of `digamma`.

    Examples
    --------
    >>> import facula as torch
    >>> torch.polygamma(1, torch.tensor([1.0, 0.5]))
    tensor([1.6449, 4.9348])
    """
    if isinstance(n, bool) or not isinstance(n, int):
        fail(TypeError, f"polygamma(): argument 'n' (position 1) must be int, not {type(n).__name__}")
    if n < 0:
        fail(RuntimeError, "polygamma(n, x) does not support negative n.")
    if input.spec.dtype.is_complex:
        fail(NotImplementedError, f"\"polygamma\" not implemented for '{dtype_title(input.spec.dtype)}'")
    return _into("polygamma", polygamma_values(n, input), out, (input,))


def _into(name: str, made: Tensor, out, operands) -> Tensor:
    if out is None:
        return made
    from .matmul import _to_out

    return _to_out(name, out, made, operands)


def mvlgamma(input: Tensor, p: int, *, out=None) -> Tensor:
    """The logarithm of the gamma function of `p` variables: `lgamma(x - j / 2)` summed over j, and a constant."""
    if input.spec.dtype is dt.bool_:
        fail(RuntimeError, "The input tensor may not be a boolean tensor.")
    if p < 1:
        fail(RuntimeError, "p has to be greater than or equal to 1")
    if input.spec.dtype.is_complex:
        fail(NotImplementedError, f"\"arange_cpu\" not implemented for '{dtype_title(input.spec.dtype)}'")
    kind = input.spec.dtype if input.spec.dtype.kind == "f" else DEFAULT.float
    steps = cast(e.mul(arange(1 - p, 1, device=input.spec.device), 0.5), kind)
    found = sum_over(e.lgamma(e.add(unsqueeze(cast(input, kind), -1), steps)), -1)
    return _into("mvlgamma", e.add(found, p * (p - 1) * math.log(math.pi) / 4), out, (input,))


# --- incomplete gamma functions -----------------------------------------------------------------------------------

_MOST = 2000.0  # steps
_TINY = 1e-300


def _series(a, x):
    """1 + x / (a + 1) + x**2 / (a + 1) (a + 2) + ..."""
    one, zero = ir.const(1.0, dt.float64), ir.const(0.0, dt.float64)

    def step(term, total, n, a, x):
        term = term * (x / (a + (n + 1.0)))
        return term, total + term, n + 1.0

    return ir.loop(
        (one, one, zero), lambda term, total, n, a, x: ir.and_(ir.gt(term, total * 1e-17), ir.lt(n, _MOST)), step,
        lambda term, total, n, a, x: total, given=(a, x),
    )  # fmt: skip


def _fraction(a, x):
    """1 / (x + 1 - a - 1 (1 - a) / (x + 3 - a - ...)), by Lentz's method."""
    one = ir.const(1.0, dt.float64)
    b = x + 1.0 - a
    d = one / _select(ir.eq(b, 0.0), _TINY, b)

    def step(b, c, d, total, i, a):
        part = -i * (i - a)
        b = b + 2.0
        d, c = part * d + b, b + part / c
        d = 1.0 / _select(ir.lt(ir.abs(d), _TINY), _TINY, d)
        c = _select(ir.lt(ir.abs(c), _TINY), _TINY, c)
        return b, c, d, total * d * c, i + 1.0

    def more(b, c, d, total, i, a):
        return ir.and_(ir.gt(ir.abs(d * c - 1.0), 1e-16), ir.lt(i, _MOST))

    state = b, ir.const(1 / _TINY, dt.float64), d, d, one
    return ir.loop(state, more, step, lambda b, c, d, total, i, a: total, given=(a,))


# Temme's expansion (1979): for each power of 1 / a the coefficients of powers of eta.
_TEMME = (
    (
        -3.3333333333333333e-1, 8.3333333333333333e-2, -1.4814814814814815e-2, 1.1574074074074074e-3,
        3.527336860670194e-4, -1.7875514403292181e-4, 3.9192631785224378e-5, -2.1854485106799922e-6,
    ),
    (-1.8518518518518519e-3, -3.4722222222222222e-3, 2.6455026455026455e-3, -9.9022633744855967e-4),
    (4.1335978835978836e-3, -2.6813271604938272e-3),
    (6.4943415637860082e-4,),
)  # fmt: skip
_LARGE, _BESIDE = 1e4, 0.045  # of `a` and abs(x / a - 1) it has the digits of float64, and the others have few steps


def _expansion(a, x, upper: bool):
    """The function where `a` is large and `x` near it."""
    sign, s = 1.0 if upper else -1.0, (x - a) / a
    eta = s * ir.sqrt(polynomial(s, tuple(2.0 * (-1) ** k / (k + 2) for k in range(14))))  # eta**2 / 2 = s - log(1 + s)
    rest = polynomial(1.0 / a, tuple(polynomial(eta, row) for row in _TEMME))
    return 0.5 * ir.erfc(eta * sign * ir.sqrt(a * 0.5)) + sign * ir.exp(a * eta * eta * -0.5) * rest / ir.sqrt(
        a * (2.0 * math.pi)
    )


def _incomplete(input, other, upper: bool):
    """The regularised incomplete gamma function, in float64: the series up to its middle, beyond it the fraction."""
    a, x = ir.cast(input, dt.float64), ir.cast(other, dt.float64)
    a_far, x_far = (ir.isinf(v) for v in (a, x))
    plain = ir.and_(ir.and_(ir.gt(a, 0.0), ir.gt(x, 0.0)), ir.not_(ir.or_(a_far, x_far)))
    near = ir.and_(plain, ir.and_(ir.gt(a, _LARGE), ir.lt(ir.abs(x - a), a * _BESIDE)))
    stepwise = ir.and_(plain, ir.not_(near))
    p, y = _select(stepwise, a, 1.0), _select(stepwise, x, 1.0)
    low = ir.lt(y, p + 1.0)
    if upper:
        low = ir.and_(low, ir.or_(ir.le(y, 1.1), ir.lt(y, p)))
    front = ir.exp(p * ir.log(y) - y - ir.lgamma(p))
    below = front / p * _series(_select(low, p, 1.0), _select(low, y, 0.0))
    above = front * _fraction(_select(low, 1.0, p), _select(low, 3.0, y))
    found = ir.select(low, 1.0 - below if upper else below, above if upper else 1.0 - above)
    found = usually(ir.not_(near), found, _expansion(_select(near, a, _LARGE), _select(near, x, _LARGE), upper))
    zero, one = (1.0, 0.0) if upper else (0.0, 1.0)
    found = _select(ir.or_(ir.isnan(a), ir.isnan(x)), math.nan, found)
    found = _select(x_far, one, found)
    found = ir.select(a_far, _select(x_far, math.nan, ir.const(zero, dt.float64)), found)
    found = _select(ir.eq(x, 0.0), zero, found)
    found = ir.select(ir.eq(a, 0.0), _select(ir.gt(x, 0.0), one, ir.const(math.nan, dt.float64)), found)
    wrong = ir.or_(ir.lt(a, 0.0), ir.lt(x, 0.0))
    return ir.cast(_select(wrong, math.nan, found), input.dtype)


def _regularised(name: str, upper: bool):
    text = "upper" if upper else "lower"

    def each(input, other):
        return _incomplete(input, other, upper)

    each.__name__, each.__doc__ = f"{name}_each", f"The regularised {text} incomplete gamma function."
    numbers = traced(each, kinds="f", differentiable=False)

    def body(input, other):
        return numbers(input, other)

    body.__name__, body.__doc__ = f"{name}_values", each.__doc__
    values = function(body, tensors=("input", "other"))

    @values.gradient("input")
    def _(grad):
        fail(NotImplementedError, f"the derivative for '{name}: input' is not implemented.")

    @values.gradient("other")
    def _(grad, input, other):
        from .reduction import sum_to

        work = opmath(grad.spec.dtype)
        a, x = cast(input, work), cast(other, work)
        slope = e.exp(e.sub(e.sub(e.mul(e.sub(a, 1), e.log(x)), x), e.lgamma(a)))
        return sum_to(cast(e.mul(grad, e.neg(slope) if upper else slope), other.spec.dtype), other.spec)

    values.operator.node_class.__name__ = f"{name.capitalize()}Backward0"

    def entry(input: Tensor, other: Tensor, *, out=None) -> Tensor:
        for position, (what, x) in enumerate((("input", input), ("other", other)), 1):
            if not isinstance(x, Tensor):
                fail(
                    TypeError,
                    f"{name}(): argument '{what}' (position {position}) must be Tensor, not {type(x).__name__}",
                )
        kind = result_type((input.spec, other.spec))
        if kind.kind != "f":
            fail(NotImplementedError, f"\"{name}_cpu\" not implemented for '{dtype_title(kind)}'")
        broadcast(input.spec.shape, other.spec.shape)
        return _into(name, values(input, other), out, (input, other))

    entry.__name__ = entry.__qualname__ = name
    entry.__doc__ = f"The regularised {text} incomplete gamma function of the parameter `input`, at `other`."
    return entry


igamma, igammac = _regularised("igamma", False), _regularised("igammac", True)
