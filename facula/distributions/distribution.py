"""The contract of distributions: shapes, validation, expansion; the entropy of exponential families."""

import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any

from facula.autograd import grad, no_grad
from facula.core.shape import Size
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.operators import exp

from . import constraints
from .utils import broadcast_all, lazy_property, sum_rightmost, unknown

__all__ = ["Distribution", "ExponentialFamily"]

PACKAGE = __name__.rpartition(".")[0]


def checked(method: Callable) -> Callable:
    """`method(self, value)` that, if arguments are validated, first asks whether `value` is in the support."""

    @wraps(method)
    def wrapper(self, value):
        if self._validate_args:
            self._validate_sample(value)
        return method(self, value)

    return wrapper


class Distribution:
    """Base class of distributions.

    Parameters
    ----------
    batch_shape : Size
        Shape of the independent distributions in this object.
    event_shape : Size
        Shape of one sample of one of them.
    validate_args : bool, optional
        Whether parameters and values are checked; by default as `set_default_validate_args` says.
    """

    has_rsample = False
    has_enumerate_support = False
    _validate_args = __debug__
    _fixed: tuple[str, ...] = ()  # attributes that do not follow the batch's shape

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether distributions check their arguments unless told otherwise."""
        if value not in [True, False]:
            raise ValueError
        Distribution._validate_args = value

    def __init__(self, batch_shape: Any = (), event_shape: Any = (), validate_args: bool | None = None) -> None:
        self._batch_shape = Size(batch_shape)
        self._event_shape = Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            self._validate_parameters()

    def _begin(self, validate_args: bool | None, **parameters: Any) -> None:
        """Keep parameters, broadcast to the shape of the batch, and initialize with it."""
        values = broadcast_all(*parameters.values())
        self.__dict__.update(zip(parameters, values))
        Distribution.__init__(self, values[0].size(), validate_args=validate_args)

    def _validate_parameters(self) -> None:
        try:
            given = self.arg_constraints
        except NotImplementedError:
            given = {}
            warnings.warn(
                f"{self.__class__} does not define `arg_constraints`. Please set `arg_constraints = {{}}` or "
                "initialize the distribution with `validate_args=False` to turn off validation.",
                stacklevel=3,
            )
        for name, constraint in given.items():
            if constraints.is_dependent(constraint):
                continue
            if name not in self.__dict__ and isinstance(getattr(type(self), name), lazy_property):
                continue
            value = getattr(self, name)
            if not constraint.check(value).all():
                fail(
                    ValueError,
                    f"Expected parameter {name} ({type(value).__name__} of shape {tuple(value.shape)}) of distribution "
                    f"{self!r} to satisfy the constraint {constraint!r}, but found invalid values:\n{value}",
                )

    def _validate_sample(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            fail(ValueError, "The value argument to log_prob must be a Tensor", got=type(value).__name__)
        shape, expected = value.size(), self._batch_shape + self._event_shape
        if shape[len(shape) - len(self._event_shape) :] != self._event_shape:
            fail(ValueError, f"The right-most size of value must match event_shape: {shape} vs {self._event_shape}.")
        if any(i != 1 and j != 1 and i != j for i, j in zip(reversed(shape), reversed(expected))):
            fail(ValueError, f"Value is not broadcastable with batch_shape+event_shape: {shape} vs {expected}.")
        try:
            support = self.support
        except NotImplementedError:
            warnings.warn(
                f"{self.__class__} does not define `support` to enable sample validation. Please initialize the "
                "distribution with `validate_args=False` to turn off validation.",
                stacklevel=3,
            )
            return
        if support is None:
            fail(AssertionError, "support is unexpectedly None")
        if not support.check(value).all():
            fail(
                ValueError,
                f"Expected value argument ({type(value).__name__} of shape {tuple(value.shape)}) to be within the "
                f"support ({support!r}) of the distribution {self!r}, but found invalid values:\n{value}",
            )

    # --- shapes

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The distribution with the dims of its batch expanded to `batch_shape`; no memory is copied."""
        owner = next(kind for kind in type(self).__mro__ if kind.__module__.startswith(PACKAGE))
        new = self._get_checked_instance(owner, _instance)
        batch_shape = Size(batch_shape)
        dims = len(self._batch_shape)
        for name, value in self.__dict__.items():
            if name in self._fixed:
                pass
            elif isinstance(value, Distribution):
                value = value.expand(batch_shape + value._batch_shape[dims:])
            elif isinstance(value, Tensor) and value.shape[:dims] == self._batch_shape:
                value = value.expand(batch_shape + value.shape[dims:])
            new.__dict__.setdefault(name, value)
        new._batch_shape = batch_shape
        return new

    def _get_checked_instance(self, cls: type, _instance: Any = None) -> Any:
        if _instance is None and type(self).__init__ != cls.__init__:  # type: ignore[misc]
            fail(
                NotImplementedError,
                f"Subclass {self.__class__.__name__} of {cls.__name__} that defines a custom __init__ method must also "
                "define a custom .expand() method.",
            )
        return self.__new__(type(self)) if _instance is None else _instance

    def _extended_shape(self, sample_shape: Any = ()) -> Size:
        return Size(sample_shape) + self._batch_shape + self._event_shape

    batch_shape = property(lambda self: self._batch_shape, doc="Shape of the independent distributions.")
    event_shape = property(lambda self: self._event_shape, doc="Shape of one sample.")

    # --- what a distribution has, as far as it is known

    # `Any`: a class may give a value or a property
    arg_constraints: Any = property(unknown, doc="Where each parameter lies: a dict of names and constraints.")
    support: Any = property(unknown, doc="Where samples lie.")

    @property
    def mean(self) -> Tensor:
        raise NotImplementedError

    @property
    def mode(self) -> Tensor:
        raise NotImplementedError(f"{self.__class__} does not implement mode")

    @property
    def variance(self) -> Tensor:
        raise NotImplementedError

    @property
    def stddev(self) -> Tensor:
        return self.variance.sqrt()

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Samples of shape `sample_shape + batch_shape + event_shape`; no gradient goes through them."""
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Samples through which gradients reach the parameters."""
        raise NotImplementedError

    def sample_n(self, n: int) -> Tensor:
        """`sample((n,))`, by its old name."""
        warnings.warn(
            "`sample_n(n)` will be deprecated. Use `sample((n,))` instead.", category=FutureWarning, stacklevel=2
        )
        return self.sample(Size((n,)))

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the density (or the probability) of `value`."""
        raise NotImplementedError

    def cdf(self, value: Tensor) -> Tensor:
        """The probability of at most `value`."""
        raise NotImplementedError

    def icdf(self, value: Tensor) -> Tensor:
        """The inverse of `cdf`."""
        raise NotImplementedError

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values of a discrete distribution along a new first dim; with dims of size 1 unless `expand`."""
        raise NotImplementedError

    def entropy(self) -> Tensor:
        raise NotImplementedError

    def perplexity(self) -> Tensor:
        return exp(self.entropy())

    def __repr__(self) -> str:
        own = [(name, self.__dict__[name]) for name in self.arg_constraints if name in self.__dict__]
        parts = [f"{name}: {value if value.numel() == 1 else value.size()}" for name, value in own]
        return f"{self.__class__.__name__}({', '.join(parts)})"


class ExponentialFamily(Distribution):
    """Densities exp(<t(x), p> - F(p) + k(x)): natural parameters p, log normalizer F, mean carrier measure E[k(x)]."""

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        raise NotImplementedError

    _mean_carrier_measure: Any = property(unknown, doc="E[k(x)].")

    def _normalizer_gradients(self) -> tuple[list[Tensor], Tensor, Any]:
        """(natural parameters cut off from the graph, log normalizer, its gradients in them)."""
        natural = [p.detach().requires_grad_() for p in self._natural_params]
        normalizer = self._log_normalizer(*natural)
        return natural, normalizer, grad(normalizer.sum(), natural, create_graph=True)

    def entropy(self) -> Tensor:
        """F(p) - <p, dF/dp> - E[k(x)]."""
        start = -self._mean_carrier_measure
        natural, normalizer, gradients = self._normalizer_gradients()
        result = normalizer + start
        for p, g in zip(natural, gradients):
            result = result - sum_rightmost(p * g, p.dim() - len(self._batch_shape))
        return result
