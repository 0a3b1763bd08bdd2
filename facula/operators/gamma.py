"""Relatives of the gamma function, and the modified Bessel function I0: what is rarely used goes through NumPy.

`lgamma` and `digamma` themselves are in `elementwise.py`.
"""

import math

import numpy as np

from facula.autograd.node import dtype_title
from facula.core import dtype as dt
from facula.core.shape import broadcast
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.ir import derivative
from facula.ir import expr as ir

from . import elementwise as e
from .copying import cast
from .creation import arange, from_numpy, numpy_view
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


def _zeta(x: int, q: np.ndarray) -> np.ndarray:
    """The sum of (q + k)**-x over k from 0 on, for a whole x > 1: terms up to q + k > 9, then Euler-Maclaurin."""
    with np.errstate(all="ignore"):
        least = np.min(q[np.isfinite(q)], initial=0.0)
        total, last, a = q**-x, np.zeros_like(q), q.copy()
        done = np.zeros(q.shape, bool)
        for k in range(max(9, 10 - math.floor(max(least, -1e6)))):
            more = ~done & ((a <= 9) | (k < 9))
            a = np.where(more, a + 1, a)
            last = np.where(more, a**-x, last)
            total = np.where(more, total + last, total)
            done |= np.abs(last) < 1.11022302462515654042e-16 * np.abs(total)
        tail = last * a / (x - 1) - 0.5 * last
        factor, power = 1.0, last
        for k, bernoulli in enumerate(_BERNOULLI):
            factor *= x + 2 * k
            power = power / a
            tail = tail + factor * power / bernoulli
            factor *= x + 2 * k + 1
            power = power / a
        total = np.where(done, total, total + tail)
        return np.where((q <= 0) & (q == np.floor(q)), np.inf, total)


@function(tensors=("input",))
def polygamma_values(n, input):
    """The `n`-th derivative of `digamma`."""
    if n == 0:
        return e.digamma(input)
    if n == 1:
        return trigamma(input)
    kind = input.spec.dtype if input.spec.dtype.kind == "f" else DEFAULT.float
    scale = math.exp(math.lgamma(n + 1.0)) * (1 if n % 2 else -1)
    found = _zeta(n + 1, numpy_view(cast(input, dt.float64)))
    return cast(from_numpy(np.asarray(scale * found)), kind)


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

_MOST = 2000  # steps
_TINY = 1e-300


def _series(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """1 + x / (a + 1) + x**2 / (a + 1) (a + 2) + ..."""
    term, total, at = np.ones_like(a), np.ones_like(a), a.copy()
    for _ in range(_MOST):
        at = at + 1
        term = term * (x / at)
        total = total + term
        if not (term > 1e-17 * total).any():
            break
    return total


def _fraction(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """1 / (x + 1 - a - 1 (1 - a) / (x + 3 - a - ...)), by Lentz's method."""
    b = x + 1 - a
    c, d = np.full_like(a, 1 / _TINY), 1 / np.where(b == 0, _TINY, b)
    total = d.copy()
    for i in range(1, _MOST):
        step = -i * (i - a)
        b = b + 2
        d, c = step * d + b, b + step / c
        d, c = 1 / np.where(np.abs(d) < _TINY, _TINY, d), np.where(np.abs(c) < _TINY, _TINY, c)
        total = total * d * c
        if not (np.abs(d * c - 1) > 1e-16).any():
            break
    return total


def _incomplete(a: np.ndarray, x: np.ndarray, upper: bool) -> np.ndarray:
    """The regularised incomplete gamma function, float64: the series below its middle, else the continued fraction."""
    with np.errstate(all="ignore"):
        plain = (a > 0) & (x > 0) & np.isfinite(a) & np.isfinite(x)
        p, y = np.where(plain, a, 1.0), np.where(plain, x, 1.0)
        low = (y < p + 1) if not upper else (y < p + 1) & ((y <= 1.1) | (y < p))
        front = np.exp(p * np.log(y) - y - numpy_view(e.lgamma(from_numpy(p))))
        below = front / p * _series(np.where(low, p, 1.0), np.where(low, y, 0.0))
        above = front * _fraction(np.where(low, 1.0, p), np.where(low, 3.0, y))
        found = np.where(low, 1 - below if upper else below, above if upper else 1 - above)
        zero, one = (1.0, 0.0) if upper else (0.0, 1.0)
        found = np.where((a > 0) & (x == 0), zero, found)
        found = np.where((a == 0) & (x > 0), one, found)
        found = np.where(np.isinf(a) & ~np.isinf(x) & (a > 0) & (x >= 0), zero, found)
        found = np.where(np.isinf(x) & ~np.isinf(a) & (a >= 0) & (x > 0), one, found)
        wrong = (a < 0) | (x < 0) | ((a == 0) & (x == 0)) | (np.isinf(a) & np.isinf(x)) | np.isnan(a) | np.isnan(x)
        return np.where(wrong, np.nan, found)


def _regularised(name: str, upper: bool):
    text = "upper" if upper else "lower"

    def body(input, other):
        kind = result_type((input.spec, other.spec))
        a, x = np.broadcast_arrays(*(numpy_view(cast(t, dt.float64)) for t in (input, other)))
        made = _incomplete(np.ascontiguousarray(a), np.ascontiguousarray(x), upper)
        return cast(from_numpy(made.reshape(a.shape)), kind)

    body.__name__, body.__doc__ = f"{name}_values", f"The regularised {text} incomplete gamma function."
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
