"""Which transform leads from all real numbers into the region of a constraint."""

from collections.abc import Callable
from typing import Any

from facula.errors import fail

from . import constraints
from . import transforms as t
from .utils import NUMBER

__all__ = ["ConstraintRegistry", "biject_to", "transform_to"]


class ConstraintRegistry:
    """A table from the classes of constraints to functions that make a transform for one."""

    def __init__(self) -> None:
        self._registry: dict[type, Callable] = {}

    def register(self, constraint: Any, factory: Callable | None = None) -> Any:
        """Enter a factory for a class of constraints, or for that of an instance; a decorator without `factory`."""
        if factory is None:
            return lambda factory: self.register(constraint, factory)
        if isinstance(constraint, constraints.Constraint):
            constraint = type(constraint)
        if not (isinstance(constraint, type) and issubclass(constraint, constraints.Constraint)):
            fail(
                TypeError,
                f"Expected constraint to be either a Constraint subclass or instance, but got {constraint}",
            )
        self._registry[constraint] = factory
        return factory

    def __call__(self, constraint: Any) -> t.Transform:
        """The transform into the region of `constraint`."""
        factory = self._registry.get(type(constraint))
        if factory is None:
            fail(NotImplementedError, f"Cannot transform {type(constraint).__name__} constraints")
        return factory(constraint)


biject_to = ConstraintRegistry()
transform_to = ConstraintRegistry()


def _to_interval(c: Any) -> t.Transform:
    if all(isinstance(bound, NUMBER) and bound == at for bound, at in ((c.lower_bound, 0), (c.upper_bound, 1))):
        return t.SigmoidTransform()
    return t.ComposeTransform([t.SigmoidTransform(), t.AffineTransform(c.lower_bound, c.upper_bound - c.lower_bound)])


def _beyond(bound: str, sign: int) -> Callable:
    return lambda c: t.ComposeTransform([t.ExpTransform(), t.AffineTransform(getattr(c, bound), sign)])


def _parts(to: ConstraintRegistry) -> list[tuple[Any, Callable]]:
    """Rows for constraints that are made of others."""
    return [
        (
            constraints.independent,
            lambda c: t.IndependentTransform(to(c.base_constraint), c.reinterpreted_batch_ndims),
        ),
        (constraints.cat, lambda c: t.CatTransform([to(part) for part in c.cseq], c.dim, c.lengths)),
        (constraints.stack, lambda c: t.StackTransform([to(part) for part in c.cseq], c.dim)),
    ]


BOTH = [
    (constraints.real, lambda c: t.identity_transform),
    (constraints.positive, lambda c: t.ExpTransform()),
    (constraints.nonnegative, lambda c: t.ExpTransform()),
    (constraints.greater_than, _beyond("lower_bound", 1)),
    (constraints.greater_than_eq, _beyond("lower_bound", 1)),
    (constraints.less_than, _beyond("upper_bound", -1)),
    (constraints.interval, _to_interval),
    (constraints.half_open_interval, _to_interval),
    (constraints.corr_cholesky, lambda c: t.CorrCholeskyTransform()),
]
TABLES = {
    biject_to: [*BOTH, (constraints.simplex, lambda c: t.StickBreakingTransform()), *_parts(biject_to)],
    transform_to: [
        *BOTH,
        (constraints.simplex, lambda c: t.SoftmaxTransform()),
        (constraints.lower_cholesky, lambda c: t.LowerCholeskyTransform()),
        (constraints.positive_definite, lambda c: t.PositiveDefiniteTransform()),
        (constraints.positive_semidefinite, lambda c: t.PositiveDefiniteTransform()),
        *_parts(transform_to),
    ],
}
for _registry, _rows in TABLES.items():
    for _constraint, _factory in _rows:
        _registry.register(_constraint, _factory)
