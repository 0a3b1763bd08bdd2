"""Kullback-Leibler divergences, in closed form, by the kinds of the two distributions.

A formula has the kinds of its arguments in its decorator; `INFINITE` lists pairs where the second distribution gives
no chance to a part of the first one.
"""

import math
import warnings
from collections.abc import Callable
from typing import Any

from facula.core.tensor import Tensor
from facula.errors import fail
from facula.nn.functional import softplus
from facula.operators import diag_embed, digamma, erf, exp, full_like, lgamma, log, log1p, where, xlogy

from .combined import Independent, TransformedDistribution
from .discrete import (
    Bernoulli,
    Binomial,
    Categorical,
    ContinuousBernoulli,
    Geometric,
    OneHotCategorical,
    Poisson,
)
from .distribution import Distribution, ExponentialFamily
from .multivariate import (
    Dirichlet,
    LowRankMultivariateNormal,
    MultivariateNormal,
    half_log_det,
    lowrank_log_det,
    lowrank_mahalanobis,
    mahalanobis,
    solve_lower,
)
from .transformed import Gumbel, HalfNormal, Pareto
from .univariate import Beta, Cauchy, Exponential, Gamma, Laplace, Normal, Uniform
from .utils import euler_constant, sum_rightmost

__all__ = ["kl_divergence", "register_kl"]

_KL_REGISTRY: dict[tuple[type, type], Callable] = {}  # (type of p, type of q) -> formula
_KL_MEMOIZE: dict[tuple[type, type], Any] = {}


def register_kl(type_p: type, type_q: type) -> Callable:
    """A decorator: the function below is `kl_divergence(p, q)` for these kinds and kinds that derive from them.

    Parameters
    ----------
    type_p, type_q : type
        Subclasses of Distribution.
    """
    for name, kind in (("type_p", type_p), ("type_q", type_q)):
        if not (isinstance(kind, type) and issubclass(kind, Distribution)):
            fail(TypeError, f"Expected {name} to be a Distribution subclass but got {kind}")

    def decorator(formula: Callable) -> Callable:
        _KL_REGISTRY[type_p, type_q] = formula
        _KL_MEMOIZE.clear()
        return formula

    return decorator


def _nearest(matches: list[tuple[type, type]], first: int) -> tuple[type, type]:
    """The pair that is most derived in its member `first`, then in the other one."""

    def derives(a: tuple[type, type], b: tuple[type, type]) -> bool:
        for i in (first, 1 - first):
            if not issubclass(a[i], b[i]):
                return False
            if a[i] is not b[i]:
                return True
        return True

    best = matches[0]
    for match in matches[1:]:
        best = match if derives(match, best) else best
    return best


def _dispatch_kl(type_p: type, type_q: type) -> Any:
    matches = [(p, q) for p, q in _KL_REGISTRY if issubclass(type_p, p) and issubclass(type_q, q)]
    if not matches:
        return None
    left, right = _nearest(matches, 0), _nearest(matches, 1)
    if _KL_REGISTRY[left] is not _KL_REGISTRY[right]:
        warnings.warn(
            f"Ambiguous kl_divergence({type_p.__name__}, {type_q.__name__}). Please "
            f"register_kl({left[0].__name__}, {right[1].__name__})",
            RuntimeWarning,
            stacklevel=3,
        )
    return _KL_REGISTRY[left]


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """The mean, under `p`, of log(p(x) / q(x)).

    Parameters
    ----------
    p, q : Distribution

    Returns
    -------
    Tensor
        One number for each pair in the two batches.

    Examples
    --------
    >>> import facula as torch
    >>> from facula.distributions import Normal, kl_divergence
    >>> kl_divergence(Normal(0.0, 1.0), Normal(1.0, 1.0))
    tensor(0.5000)
    """
    kinds = (type(p), type(q))
    if kinds not in _KL_MEMOIZE:
        _KL_MEMOIZE[kinds] = _dispatch_kl(*kinds)
    formula = _KL_MEMOIZE[kinds]
    if formula is None:
        fail(
            NotImplementedError,
            f"No KL(p || q) is implemented for p type {type(p).__name__} and q type {type(q).__name__}",
        )
    return formula(p, q)


def infinite_where(condition: Tensor, value: Tensor) -> Tensor:
    return where(condition, math.inf, value)


# --- two of a kind -----------------------------------------------------------------------------------------------


def _part(p: Tensor, q: Tensor, log_ratio: Tensor) -> Tensor:
    """p log(p / q): infinite where q is 0, and 0 where p is."""
    return where(p == 0, 0.0, infinite_where(q == 0, p * log_ratio))


@register_kl(Bernoulli, Bernoulli)
def _(p, q):
    one = _part(p.probs, q.probs, softplus(-q.logits) - softplus(-p.logits))
    return one + _part(1 - p.probs, 1 - q.probs, softplus(q.logits) - softplus(p.logits))


@register_kl(Categorical, Categorical)
def _(p, q):
    return _part(p.probs, q.probs, p.logits - q.logits).sum(-1)


@register_kl(OneHotCategorical, OneHotCategorical)
def _(p, q):
    return kl_divergence(p._categorical, q._categorical)


@register_kl(Binomial, Binomial)
def _(p, q):
    if (p.total_count < q.total_count).any():
        fail(NotImplementedError, "KL between Binomials where q.total_count > p.total_count is not implemented")
    one = p.probs * (p.logits - q.logits) + (-p.probs).log1p() - (-q.probs).log1p()
    return infinite_where(p.total_count > q.total_count, p.total_count * one)


@register_kl(ContinuousBernoulli, ContinuousBernoulli)
def _(p, q):
    norms = p._cont_bern_log_norm() + log1p(-p.probs) - q._cont_bern_log_norm() - log1p(-q.probs)
    return p.mean * (p.logits - q.logits) + norms


@register_kl(Geometric, Geometric)
def _(p, q):
    return -p.entropy() - log1p(-q.probs) / p.probs - q.logits


@register_kl(Poisson, Poisson)
def _(p, q):
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


@register_kl(Beta, Beta)
def _(p, q):
    return kl_divergence(p._dirichlet, q._dirichlet)


@register_kl(Dirichlet, Dirichlet)
def _(p, q):
    a, b = p.concentration, q.concentration
    total = a.sum(-1)
    apart = (a - b) * (digamma(a) - digamma(total).unsqueeze(-1))
    return lgamma(total) - lgamma(b.sum(-1)) - (lgamma(a) - lgamma(b)).sum(-1) + apart.sum(-1)


@register_kl(Exponential, Exponential)
def _(p, q):
    ratio = q.rate / p.rate
    return -ratio.log() + ratio - 1


@register_kl(Gamma, Gamma)
def _(p, q):
    a, b = p.concentration, q.concentration
    shapes = lgamma(b) - lgamma(a) + (a - b) * digamma(a)
    return b * (p.rate / q.rate).log() + shapes + (q.rate - p.rate) * (a / p.rate)


@register_kl(Normal, Normal)
def _(p, q):
    ratio = (p.scale / q.scale).pow(2)
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale).pow(2) - 1 - ratio.log())


@register_kl(HalfNormal, HalfNormal)
def _(p, q):
    return kl_divergence(p.base_dist, q.base_dist)


@register_kl(Laplace, Laplace)
def _(p, q):
    ratio, apart = p.scale / q.scale, (p.loc - q.loc).abs()
    return -ratio.log() + apart / q.scale + ratio * exp(-apart / p.scale) - 1


@register_kl(Cauchy, Cauchy)
def _(p, q):
    return ((p.scale + q.scale).pow(2) + (p.loc - q.loc).pow(2)).log() - (4 * p.scale * q.scale).log()


@register_kl(Gumbel, Gumbel)
def _(p, q):
    ratio, apart = p.scale / q.scale, (p.loc - q.loc) / q.scale
    return -ratio.log() + apart + ratio * euler_constant + exp((1 + ratio).lgamma() - apart) - (1 + euler_constant)


@register_kl(Pareto, Pareto)
def _(p, q):
    ratio = q.alpha / p.alpha
    return infinite_where(p.scale < q.scale, q.alpha * (p.scale / q.scale).log() - ratio.log() + ratio - 1)


@register_kl(Uniform, Uniform)
def _(p, q):
    return infinite_where((q.low > p.low) | (q.high < p.high), ((q.high - q.low) / (p.high - p.low)).log())


@register_kl(ExponentialFamily, ExponentialFamily)
def _(p, q):
    """A Bregman divergence of the log normalizer."""
    if type(p) is not type(q):
        fail(
            NotImplementedError,
            "The cross KL-divergence between different exponential families cannot be computed using Bregman "
            "divergences",
        )
    natural, normalizer, gradients = p._normalizer_gradients()
    result = q._log_normalizer(*q._natural_params) - normalizer
    for a, b, g in zip(natural, q._natural_params, gradients):
        result = result - sum_rightmost((b - a) * g, len(q.event_shape))
    return result


@register_kl(Independent, Independent)
def _(p, q):
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError
    return sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)


@register_kl(TransformedDistribution, TransformedDistribution)
def _(p, q):
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError
    return kl_divergence(p.base_dist, q.base_dist)


# --- normal vectors: half of log det q - log det p + trace(inverse(q) p) + distance of the means - n -------------


def _squares(x: Tensor) -> Tensor:
    """The trace of x x'."""
    return x.pow(2).sum((-2, -1))


class _Full:
    """What is asked of a covariance given by its Cholesky factor."""

    name = "Multivariate Normals"

    def __init__(self, d: MultivariateNormal):
        self.lower = d._unbroadcasted_scale_tril

    def log_det(self) -> Tensor:
        return 2 * half_log_det(self.lower)

    def roots(self) -> list[Tensor]:
        """Matrices whose products with their transposes add up to the covariance."""
        return [self.lower]

    def trace(self, root: Tensor) -> Tensor:
        """The trace of root' inverse(covariance) root."""
        return _squares(solve_lower(self.lower, root))

    def distance(self, x: Tensor) -> Tensor:
        return mahalanobis(self.lower, x)


class _LowRank:
    """The same of a low-rank factor and a diagonal."""

    name = "Low Rank Multivariate Normals"

    def __init__(self, d: LowRankMultivariateNormal):
        self.w, self.d = d._parts
        self.capacitance = d._capacitance_tril

    def log_det(self) -> Tensor:
        return lowrank_log_det(self.w, self.d, self.capacitance)

    def roots(self) -> list[Tensor]:
        return [self.w, diag_embed(self.d.sqrt())]

    def trace(self, root: Tensor) -> Tensor:
        inner = solve_lower(self.capacitance, self.w.mT / self.d.unsqueeze(-2))
        return _squares(root * self.d.rsqrt().unsqueeze(-1)) - _squares(inner @ root)

    def distance(self, x: Tensor) -> Tensor:
        return lowrank_mahalanobis(self.w, self.d, x, self.capacitance)


VIEWS = {MultivariateNormal: _Full, LowRankMultivariateNormal: _LowRank}


def _normal_vectors(p, q):
    a, b = (next(view for kind, view in VIEWS.items() if isinstance(d, kind))(d) for d in (p, q))
    if p.event_shape != q.event_shape:
        name = a.name if a.name == b.name else "(Low Rank) Multivariate Normals"
        fail(ValueError, f"KL-divergence between two {name} with different event shapes cannot be computed")
    traces = sum(b.trace(root) for root in a.roots())
    return 0.5 * (b.log_det() - a.log_det() + traces + b.distance(q.loc - p.loc) - p.event_shape[0])


for _p in VIEWS:
    for _q in VIEWS:
        register_kl(_p, _q)(_normal_vectors)


# --- no density where p has some ---------------------------------------------------------------------------------

HALF_LINE = (Beta, ContinuousBernoulli, Pareto, Uniform)  # supports that do not cover all numbers from 0 on
LINE = (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform)
INFINITE = {  # kind of p: (a parameter, for its shape; kinds of q)
    Beta: ("concentration1", (Pareto,)),
    ContinuousBernoulli: ("probs", (Pareto,)),
    Exponential: ("rate", HALF_LINE),
    Gamma: ("concentration", HALF_LINE),
    Gumbel: ("loc", LINE),
    Laplace: ("loc", LINE),
    Normal: ("loc", LINE),
    Pareto: ("scale", (Beta, ContinuousBernoulli, Uniform)),
    Poisson: ("rate", (Bernoulli, Binomial)),
}
for _p, (_name, _kinds) in INFINITE.items():
    for _q in _kinds:
        register_kl(_p, _q)(lambda p, q, name=_name: full_like(getattr(p, name), math.inf))


# --- different kinds: the mean, under p, of -log q, less p's entropy ---------------------------------------------


def _second_moment(p) -> Tensor:
    return p.variance + p.mean.pow(2)


def _to_normal(p, q, entropy: Tensor, mean: Tensor, square: Tensor) -> Tensor:
    """For a normal q: only the first two moments of p count."""
    return -entropy + 0.5 * math.log(2 * math.pi) + q.scale.log() + (
        square - 2 * q.loc * mean + q.loc.pow(2)
    ) / (2 * q.scale.pow(2))  # fmt: skip


for _p in (Beta, ContinuousBernoulli, Exponential, Gamma, Gumbel, Laplace, Uniform):
    register_kl(_p, Normal)(lambda p, q: _to_normal(p, q, p.entropy(), p.mean, _second_moment(p)))


@register_kl(Pareto, Normal)
def _(p, q):
    a = p.alpha
    mean, square = a * p.scale / (a - 1), a * p.scale.pow(2) / (a - 2)
    return infinite_where(a <= 2, _to_normal(p, q, p.entropy(), mean, square))


def _to_exponential(p, q, mean: Tensor) -> Tensor:
    return -p.entropy() - q.rate.log() + q.rate * mean


for _p in (Beta, ContinuousBernoulli, Gamma):
    register_kl(_p, Exponential)(lambda p, q: _to_exponential(p, q, p.mean))


@register_kl(Pareto, Exponential)
def _(p, q):
    return infinite_where(p.alpha <= 1, _to_exponential(p, q, p.alpha * p.scale / (p.alpha - 1)))


@register_kl(Uniform, Exponential)
def _(p, q):
    return infinite_where(p.low < 0, _to_exponential(p, q, p.mean))


def _to_gamma(p, q, mean: Tensor, log_mean: Tensor) -> Tensor:
    """For a gamma q: the means of x and of log(x) count."""
    b = q.concentration
    return -p.entropy() + lgamma(b) - b * q.rate.log() - (b - 1) * log_mean + q.rate * mean


@register_kl(Beta, Gamma)
def _(p, q):
    total = p.concentration1 + p.concentration0
    return _to_gamma(p, q, p.mean, digamma(p.concentration1) - digamma(total))


@register_kl(Exponential, Gamma)
def _(p, q):
    return _to_gamma(p, q, p.mean, -p.rate.log() - euler_constant)


@register_kl(Pareto, Gamma)
def _(p, q):
    a = p.alpha
    return infinite_where(a <= 1, _to_gamma(p, q, a * p.scale / (a - 1), p.scale.log() + a.reciprocal()))


def _log_mean(low: Tensor, high: Tensor) -> Tensor:
    """The mean of log(x) over [low, high]."""
    return (xlogy(high, high) - xlogy(low, low)) / (high - low) - 1


@register_kl(Uniform, Gamma)
def _(p, q):
    return infinite_where(p.low < 0, _to_gamma(p, q, p.mean, _log_mean(p.low, p.high)))


@register_kl(Uniform, Beta)
def _(p, q):
    a, b = q.concentration1, q.concentration0
    norm = lgamma(a) + lgamma(b) - lgamma(a + b)
    logs = (a - 1) * _log_mean(p.low, p.high) + (b - 1) * _log_mean(1 - p.high, 1 - p.low)
    return infinite_where((p.high > 1) | (p.low < 0), norm - p.entropy() - logs)


@register_kl(Uniform, Pareto)
def _(p, q):
    norm = log(q.alpha * q.scale.pow(q.alpha) * (p.high - p.low))
    return infinite_where(p.low < q.scale, _log_mean(p.low, p.high) * (q.alpha + 1) - norm)


def _to_continuous_bernoulli(p, q) -> Tensor:
    return -p.entropy() - p.mean * q.logits - log1p(-q.probs) - q._cont_bern_log_norm()


register_kl(Beta, ContinuousBernoulli)(_to_continuous_bernoulli)


@register_kl(Uniform, ContinuousBernoulli)
def _(p, q):
    return infinite_where((p.high >= 1) | (p.low <= 0), _to_continuous_bernoulli(p, q))


@register_kl(Beta, Uniform)
def _(p, q):
    return infinite_where((q.low > 0) | (q.high < 1), -p.entropy() + (q.high - q.low).log())


@register_kl(ContinuousBernoulli, Uniform)
def _(p, q):
    return infinite_where((q.low >= 0) | (q.high <= 1), -p.entropy() + (q.high - q.low).log())


@register_kl(Bernoulli, Poisson)
def _(p, q):
    return -p.entropy() - (p.probs * q.rate.log() - q.rate)


def _to_gumbel(p, q, mean: Tensor, decay: Tensor) -> Tensor:
    """For a Gumbel q: the means of x and of exp(-x / q.scale) count."""
    return -p.entropy() + q.scale.log() + (mean - q.loc) / q.scale + exp(q.loc / q.scale) * decay


@register_kl(Exponential, Gumbel)
def _(p, q):
    product = p.rate * q.scale
    return _to_gumbel(p, q, p.mean, product / (product + 1))


@register_kl(Gamma, Gumbel)
def _(p, q):
    return _to_gumbel(p, q, p.mean, (1 + (p.rate * q.scale).reciprocal()).pow(-p.concentration))


@register_kl(Normal, Gumbel)
def _(p, q):
    return _to_gumbel(p, q, p.mean, exp(0.5 * (p.scale / q.scale).pow(2) - p.loc / q.scale))


@register_kl(Uniform, Gumbel)
def _(p, q):
    return _to_gumbel(p, q, p.mean, q.scale / (p.high - p.low) * (exp(-p.low / q.scale) - exp(-p.high / q.scale)))


@register_kl(Normal, Laplace)
def _(p, q):
    apart = p.loc - q.loc
    ratio = apart / p.scale
    distance = math.sqrt(2 / math.pi) * p.scale * exp(-0.5 * ratio.pow(2)) + apart * erf(math.sqrt(0.5) * ratio)
    return -p.entropy() + log(2 * q.scale) + distance / q.scale
