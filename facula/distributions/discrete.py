"""Distributions of counts and classes, and the continuous Bernoulli distribution."""

import math
from typing import Any

from facula.autograd import no_grad
from facula.core.dtype import int64
from facula.core.shape import Size
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.nn.functional import logsigmoid, one_hot
from facula.operators import (
    abs as abs_,
)
from facula.operators import (
    arange,
    bernoulli,
    binary_cross_entropy_with_logits,
    binomial,
    broadcast_tensors,
    clamp,
    exp,
    expm1,
    eye,
    finfo,
    lgamma,
    log,
    log1p,
    logit,
    multinomial,
    ones_like,
    poisson,
    rand,
    sigmoid,
    tensor,
    where,
    xlogy,
    zeros_like,
)  # fmt: skip

from . import constraints
from .distribution import Distribution, ExponentialFamily, checked
from .univariate import Gamma, filled
from .utils import broadcast_all, clamp_probs, lazy_property, logits_to_probs, probs_to_logits

__all__ = [
    "Bernoulli", "Binomial", "Categorical", "ContinuousBernoulli", "Geometric", "Multinomial", "NegativeBinomial",
    "OneHotCategorical", "OneHotCategoricalStraightThrough", "Poisson",
]  # fmt: skip


class Chances(Distribution):
    """A distribution whose parameter is given as `probs` or as `logits`; the other one is computed when asked for."""

    arg_constraints: Any = {"probs": constraints.unit_interval, "logits": constraints.real}
    _binary = True

    def _keep_one(self, probs: Any, logits: Any) -> None:
        if (probs is None) == (logits is None):
            fail(ValueError, "Either `probs` or `logits` must be specified, but not both.")
        self._given = "logits" if probs is None else "probs"
        setattr(self, self._given, logits if probs is None else probs)

    @lazy_property
    def logits(self):
        return probs_to_logits(self.probs, self._binary)

    @lazy_property
    def probs(self):
        return logits_to_probs(self.logits, self._binary)

    _param = property(lambda self: getattr(self, self._given))
    param_shape = property(lambda self: self._param.size())

    def _new(self, *args, **kwargs):
        return self._param.new(*args, **kwargs)

    def _enumerated(self, values: Tensor, expand: bool) -> Tensor:
        """Values along a new first dim; repeated over the batch if `expand`."""
        values = values.view((-1,) + (1,) * len(self._batch_shape))
        return values.expand((-1, *self._batch_shape)) if expand else values


class Coin(Chances):
    """`Chances` of numbers that are broadcast, with a batch of their shape."""

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        self._keep_one(probs, logits)
        (value,) = broadcast_all(self._param)
        setattr(self, self._given, value)
        Distribution.__init__(self, value.size(), validate_args=validate_args)


class Bernoulli(Coin, ExponentialFamily):
    """1 with the chance `probs`, else 0."""

    support = constraints.boolean
    has_enumerate_support = True
    _mean_carrier_measure = 0

    mean = property(lambda self: self.probs)
    variance = property(lambda self: self.probs * (1 - self.probs))

    @property
    def mode(self):
        return where(self.probs == 0.5, math.nan, (self.probs >= 0.5).to(self.probs.dtype))

    def sample(self, sample_shape=()):
        with no_grad():
            return bernoulli(self.probs.expand(self._extended_shape(sample_shape)))

    @checked
    def log_prob(self, value):
        logits, value = broadcast_all(self.logits, value)
        return -binary_cross_entropy_with_logits(logits, value, reduction="none")

    def entropy(self):
        return binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none")

    def enumerate_support(self, expand=True):
        return self._enumerated(arange(2, dtype=self._param.dtype, device=self._param.device), expand)

    @property
    def _natural_params(self):
        return (logit(self.probs),)

    def _log_normalizer(self, x):
        return log1p(exp(x))


class ContinuousBernoulli(Coin, ExponentialFamily):
    """Density proportional to probs ** x * (1 - probs) ** (1 - x) on [0, 1].

    Between the two `lims` around 1/2, where the normalizer would be 0 / 0, Taylor series are used.
    """

    support = constraints.unit_interval
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(
        self, probs: Any = None, logits: Any = None, lims: tuple[float, float] = (0.499, 0.501),
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        self._lims = lims
        if probs is not None and logits is None:
            (probs,) = broadcast_all(probs)
            if validate_args is not None and not self.arg_constraints["probs"].check(probs).all():
                fail(ValueError, "The parameter probs has invalid values")
            probs = clamp_probs(probs)
        super().__init__(probs, logits, validate_args)

    @lazy_property
    def probs(self):
        return clamp_probs(logits_to_probs(self.logits, is_binary=True))

    def _stable(self) -> Tensor:
        return (self.probs <= self._lims[0]) | (self.probs > self._lims[1])

    def _cut_probs(self) -> Tensor:
        return where(self._stable(), self.probs, self._lims[0])

    def _or_taylor(self, formula: Tensor, taylor: Tensor) -> Tensor:
        return where(self._stable(), formula, taylor)

    def _cont_bern_log_norm(self) -> Tensor:
        p = self._cut_probs()
        low = where(p <= 0.5, p, zeros_like(p))
        high = where(p >= 0.5, p, ones_like(p))
        norm = log(abs_(log1p(-p) - log(p))) - where(p <= 0.5, log1p(-2.0 * low), log(2.0 * high - 1.0))
        x = (self.probs - 0.5).pow(2)
        return self._or_taylor(norm, math.log(2.0) + (4.0 / 3.0 + 104.0 / 45.0 * x) * x)

    @property
    def mean(self):
        p = self._cut_probs()
        x = self.probs - 0.5
        value = p / (2.0 * p - 1.0) + 1.0 / (log1p(-p) - log(p))
        return self._or_taylor(value, 0.5 + (1.0 / 3.0 + 16.0 / 45.0 * x.pow(2)) * x)

    @property
    def variance(self):
        p = self._cut_probs()
        x = (self.probs - 0.5).pow(2)
        value = p * (p - 1.0) / (1.0 - 2.0 * p).pow(2) + 1.0 / (log1p(-p) - log(p)).pow(2)
        return self._or_taylor(value, 1.0 / 12.0 - (1.0 / 15.0 - 128.0 / 945.0 * x) * x)

    def rsample(self, sample_shape=()):
        probs = self.probs
        return self.icdf(rand(self._extended_shape(sample_shape), dtype=probs.dtype, device=probs.device))

    @checked
    def log_prob(self, value):
        logits, value = broadcast_all(self.logits, value)
        return -binary_cross_entropy_with_logits(logits, value, reduction="none") + self._cont_bern_log_norm()

    @checked
    def cdf(self, value):
        p = self._cut_probs()
        inner = (p.pow(value) * (1.0 - p).pow(1.0 - value) + p - 1.0) / (2.0 * p - 1.0)
        inner = self._or_taylor(inner, value)
        return where(value <= 0.0, zeros_like(value), where(value >= 1.0, ones_like(value), inner))

    def icdf(self, value):
        p = self._cut_probs()
        inner = (log1p(-p + value * (2.0 * p - 1.0)) - log1p(-p)) / (log(p) - log1p(-p))
        return self._or_taylor(inner, value)

    def entropy(self):
        zero, one = log1p(-self.probs), log(self.probs)
        return self.mean * (zero - one) - self._cont_bern_log_norm() - zero

    @property
    def _natural_params(self):
        return (self.logits,)

    def _log_normalizer(self, x):
        low, high = (end - 0.5 for end in self._lims)
        stable = (x <= low) | (x > high)
        cut = where(stable, x, low)
        taylor = 0.5 * x + x.pow(2) / 24.0 - x.pow(4) / 2880.0
        return where(stable, log(abs_(expm1(cut))) - log(abs_(cut)), taylor)


class Geometric(Coin):
    """How many tries fail before the first success."""

    support = constraints.nonnegative_integer

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        super().__init__(probs, logits, validate_args)
        if self._validate_args and probs is not None and not (self.probs > 0).all():
            value = self.probs
            fail(
                ValueError,
                f"Expected parameter probs ({type(value).__name__} of shape {tuple(value.shape)}) of distribution "
                f"{self!r} to be positive but found invalid values:\n{value.detach()[~(value > 0)]}",
            )

    mean = property(lambda self: 1.0 / self.probs - 1.0)
    mode = property(lambda self: zeros_like(self.probs))
    variance = property(lambda self: (1.0 / self.probs - 1.0) / self.probs)

    def sample(self, sample_shape=()):
        with no_grad():
            u = self.probs.new_empty(self._extended_shape(sample_shape))
            u.uniform_(finfo(u.dtype).tiny, 1)
            return (u.log() / (-self.probs).log1p()).floor()

    @checked
    def log_prob(self, value):
        value, probs = broadcast_all(value, self.probs)
        probs = where((probs == 1) & (value == 0), 0.0, probs)
        return value * (-probs).log1p() + self.probs.log()

    def entropy(self):
        return binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none") / self.probs


class Counted(Chances):
    """`Chances` with a `total_count`."""

    def __init__(
        self, total_count: Any = 1, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        self._keep_one(probs, logits)
        total_count, value = broadcast_all(total_count, self._param)
        setattr(self, self._given, value)
        self.total_count = total_count.type_as(value)
        Distribution.__init__(self, value.size(), validate_args=validate_args)


class Binomial(Counted):
    """How many of `total_count` tries succeed."""

    arg_constraints = {"total_count": constraints.nonnegative_integer, **Chances.arg_constraints}
    has_enumerate_support = True

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self):
        return constraints.integer_interval(0, self.total_count)

    mean = property(lambda self: self.total_count * self.probs)
    variance = property(lambda self: self.total_count * self.probs * (1 - self.probs))

    @property
    def mode(self):
        most = self.total_count
        return ((most + 1) * self.probs).floor().minimum(most)

    def sample(self, sample_shape=()):
        shape = self._extended_shape(sample_shape)
        with no_grad():
            return binomial(self.total_count.expand(shape), self.probs.expand(shape))

    @checked
    def log_prob(self, value):
        n, logits = self.total_count, self.logits
        above = (logits.clamp(min=0) + logits - logits.clamp(max=0)) / 2  # its slope at 0 is 1/2
        log_normalizer = n * above + n * log1p(exp(-abs_(logits))) - lgamma(n + 1)
        return value * logits - lgamma(value + 1) - lgamma(n - value + 1) - log_normalizer

    def _one_count(self, name: str) -> int:
        most = int(self.total_count.max())
        if self.total_count.min() != most:
            fail(NotImplementedError, f"Inhomogeneous total count not supported by `{name}`.")
        return most

    def entropy(self):
        self._one_count("entropy")
        log_prob = self.log_prob(self.enumerate_support(False))
        return -(exp(log_prob) * log_prob).sum(0)

    def enumerate_support(self, expand=True):
        most = self._one_count("enumerate_support")
        return self._enumerated(arange(1 + most, dtype=self._param.dtype, device=self._param.device), expand)


class NegativeBinomial(Counted):
    """How many tries succeed before `total_count` fail."""

    arg_constraints = {
        "total_count": constraints.greater_than_eq(0),
        "probs": constraints.half_open_interval(0.0, 1.0),
        "logits": constraints.real,
    }
    support = constraints.nonnegative_integer

    def __init__(
        self, total_count: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        super().__init__(total_count, probs, logits, validate_args)

    mean = property(lambda self: self.total_count * exp(self.logits))
    mode = property(lambda self: ((self.total_count - 1) * self.logits.exp()).floor().clamp(min=0.0))
    variance = property(lambda self: self.mean / sigmoid(-self.logits))

    @lazy_property
    def _gamma(self):
        return Gamma(self.total_count, exp(-self.logits), validate_args=False)

    def sample(self, sample_shape=()):
        with no_grad():
            return poisson(self._gamma.sample(sample_shape))

    @checked
    def log_prob(self, value):
        n, logits = self.total_count, self.logits
        chances = n * logsigmoid(-logits) + value * logsigmoid(logits)
        ways = -lgamma(n + value) + lgamma(1.0 + value) + lgamma(n)
        return chances - where(n + value == 0.0, 0.0, ways)


class Poisson(ExponentialFamily):
    """How many events happen in a unit of time, where there are `rate` of them in the mean."""

    arg_constraints = {"rate": constraints.nonnegative}
    support = constraints.nonnegative_integer
    rate: Tensor

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        self._begin(validate_args, rate=rate)

    mean = variance = property(lambda self: self.rate)
    mode = property(lambda self: self.rate.floor())

    def sample(self, sample_shape=()):
        with no_grad():
            return poisson(self.rate.expand(self._extended_shape(sample_shape)))

    @checked
    def log_prob(self, value):
        rate, value = broadcast_all(self.rate, value)
        return xlogy(value, rate) - rate - (value + 1).lgamma()

    @property
    def _natural_params(self):
        return (log(self.rate),)

    def _log_normalizer(self, x):
        return exp(x)


# --- several classes ---------------------------------------------------------------------------------------------

CLASSES = {"probs": constraints.simplex, "logits": constraints.real_vector}


class Categorical(Chances):
    """The number of a class.

    Parameters
    ----------
    probs : Tensor
        Chances along the last dim, normalized here.
    logits : Tensor
        Or their logarithms, also unnormalized.
    """

    arg_constraints = CLASSES
    has_enumerate_support = True
    _binary = False

    def __init__(
        self, probs: Tensor | None = None, logits: Tensor | None = None, validate_args: bool | None = None
    ) -> None:
        self._keep_one(probs, logits)
        value = self._param
        if value.dim() < 1:
            fail(ValueError, f"`{self._given}` parameter must be at least one-dimensional.")
        scale = value.sum(-1, keepdim=True) if probs is not None else value.logsumexp(-1, keepdim=True)
        value = value / scale if probs is not None else value - scale
        setattr(self, self._given, value)
        self._num_events = value.size()[-1]
        super().__init__(value.size()[:-1], validate_args=validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self):
        return constraints.integer_interval(0, self._num_events - 1)

    mean = variance = property(lambda self: filled(self, self.probs, math.nan))
    mode = property(lambda self: self.probs.argmax(-1))

    def sample(self, sample_shape=()):
        sample_shape = Size(sample_shape)
        rows = self.probs.reshape(-1, self._num_events)
        drawn = multinomial(rows, sample_shape.numel(), True).T
        return drawn.reshape(self._extended_shape(sample_shape))

    @checked
    def log_prob(self, value):
        value, logits = broadcast_tensors(value.long().unsqueeze(-1), self.logits)
        return logits.gather(-1, value[..., :1]).squeeze(-1)

    def entropy(self):
        return -(clamp(self.logits, min=finfo(self.logits.dtype).min) * self.probs).sum(-1)

    def enumerate_support(self, expand=True):
        return self._enumerated(arange(self._num_events, dtype=int64, device=self._param.device), expand)


class _OfCategorical(Distribution):
    """A distribution of vectors that belong to a `Categorical`."""

    arg_constraints: Any = CLASSES
    _categorical: Categorical
    _param = property(lambda self: self._categorical._param)
    probs = property(lambda self: self._categorical.probs)
    logits = property(lambda self: self._categorical.logits)
    param_shape = property(lambda self: self._categorical.param_shape)

    def _of(self, categorical: Categorical, validate_args: bool | None) -> None:
        self._categorical = categorical
        Distribution.__init__(self, categorical.batch_shape, categorical.param_shape[-1:], validate_args=validate_args)

    def _new(self, *args, **kwargs):
        return self._categorical._new(*args, **kwargs)


class OneHotCategorical(_OfCategorical):
    """The number of a class as a vector with one 1."""

    support = constraints.one_hot
    has_enumerate_support = True

    def __init__(
        self, probs: Tensor | None = None, logits: Tensor | None = None, validate_args: bool | None = None
    ) -> None:
        self._of(Categorical(probs, logits), validate_args)

    def _vectors(self, index: Tensor) -> Tensor:
        return one_hot(index, self._categorical._num_events).to(self.probs.dtype)

    mean = property(lambda self: self.probs)
    mode = property(lambda self: self._vectors(self.probs.argmax(-1)))
    variance = property(lambda self: self.probs * (1 - self.probs))

    def sample(self, sample_shape=()):
        return self._vectors(self._categorical.sample(sample_shape))

    @checked
    def log_prob(self, value):
        return self._categorical.log_prob(value.max(-1)[1])

    def entropy(self):
        return self._categorical.entropy()

    def enumerate_support(self, expand=True):
        n = self.event_shape[0]
        values = eye(n, dtype=self._param.dtype, device=self._param.device)
        values = values.view((n,) + (1,) * len(self.batch_shape) + (n,))
        return values.expand((n, *self.batch_shape, n)) if expand else values


class OneHotCategoricalStraightThrough(OneHotCategorical):
    """`OneHotCategorical` whose samples pass gradients on to the probabilities as they are."""

    has_rsample = True

    def rsample(self, sample_shape=()):
        return self.sample(sample_shape) + (self.probs - self.probs.detach())


class Multinomial(_OfCategorical):
    """How often each class comes in `total_count` draws."""

    def __init__(
        self, total_count: int = 1, probs: Tensor | None = None, logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        if not isinstance(total_count, int):
            fail(NotImplementedError, "inhomogeneous total_count is not supported")
        self.total_count = total_count
        self._of(Categorical(probs, logits), validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self):
        return constraints.multinomial(self.total_count)

    mean = property(lambda self: self.probs * self.total_count)
    variance = property(lambda self: self.total_count * self.probs * (1 - self.probs))

    def sample(self, sample_shape=()):
        sample_shape = Size(sample_shape)
        drawn = self._categorical.sample((self.total_count, *sample_shape)).movedim(0, -1)
        counts = drawn.new_zeros(self._extended_shape(sample_shape))
        return counts.scatter_add_(-1, drawn, ones_like(drawn)).type_as(self.probs)

    def entropy(self):
        n = tensor(self.total_count)
        one = Binomial(self.total_count, self.probs)
        counts = one.enumerate_support(expand=False)[1:]
        overlap = (exp(one.log_prob(counts)) * lgamma(counts + 1)).sum((0, -1))
        return n * self._categorical.entropy() - lgamma(n + 1) + overlap

    @checked
    def log_prob(self, value):
        logits, value = broadcast_all(self.logits, value)
        logits = where((value == 0) & (logits == -math.inf), 0.0, logits)
        return lgamma(value.sum(-1) + 1) - lgamma(value + 1).sum(-1) + (logits * value).sum(-1)
