"""How a rule is applied: to tensors with operators. A rule says what happens to one element, and nothing of tensors.

A rule is `rule(f, param, grad, *state, **options, **scalars)` and returns the new (param, *state). `f` has the functions
`sqrt` and `maximum`; options are Python values that select branches, scalars are numbers.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from facula.core.tensor import Tensor
from facula.operators import maximum, sqrt

__all__ = ["apply_rule"]

TENSOR_FUNCTIONS = SimpleNamespace(sqrt=sqrt, maximum=maximum)


def apply_rule(rule: Callable, options: dict[str, Any], scalars: dict[str, Any], tensors: list[Tensor]) -> None:
    """Update `tensors` (param, grad, *state) in place; the gradient stays as it is."""
    param, grad, *state = tensors
    new = rule(TENSOR_FUNCTIONS, param, grad, *state, **options, **scalars)
    for old, value in zip((param, *state), new):
        old.copy_(value)
