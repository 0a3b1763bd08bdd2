"""How a rule is applied: traced into one kernel that updates a parameter and its state in place.

A rule says what happens to one element: `rule(f, param, grad, *state, **options, **scalars)` returns the new
(param, *state). `f` has the functions `sqrt` and `maximum`; options are Python values that select branches, scalars are
numbers. The same function runs on tensors where autograd goes through the step, and for complex numbers.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from facula import launch
from facula.autograd import set_grad_enabled
from facula.core.tensor import Tensor
from facula.ir import expr as ir
from facula.ir.kernel import Input, Kernel, Param, Result
from facula.operators import maximum, sqrt, view_as_real
from facula.operators.promotion import opmath

__all__ = ["apply_rule"]

ON_TENSORS = SimpleNamespace(sqrt=sqrt, maximum=maximum)
ON_SYMBOLS = SimpleNamespace(sqrt=ir.sqrt, maximum=ir.maximum)

_PLANS: dict[tuple, launch.Bound] = {}


def apply_rule(
    rule: Callable,
    options: dict[str, Any],
    scalars: dict[str, Any],
    tensors: list[Tensor],
    differentiable: bool = False,
    complex_as_real: bool = True,
) -> None:
    """Update `tensors` (param, grad, *state) in place; the gradient stays as it is."""
    specs = tuple([t.spec for t in tensors])
    key = (rule, *options.values(), specs)
    plan = None if differentiable else _PLANS.get(key)
    if plan is None:
        if differentiable or any(s.dtype.kind != "f" or s.kind is not None for s in specs):
            with_operators(rule, options, scalars, tensors, differentiable, complex_as_real)
            return
        plan = _PLANS[key] = _bind(rule, options, tuple(scalars), specs)
    if plan.function is not None:
        addresses = [t.ptr for t in tensors]
        plan.function(addresses[0], *addresses[2:], *addresses, *scalars.values(), *plan.tail)
        for t in tensors[:1] + tensors[2:]:
            t.storage.version += 1


def with_operators(
    rule: Callable,
    options: dict[str, Any],
    scalars: dict[str, Any],
    tensors: list[Tensor],
    differentiable: bool,
    complex_as_real: bool,
) -> None:
    """The same as `apply_rule`, with tensor arithmetic, which autograd follows if `differentiable`."""
    with set_grad_enabled(differentiable):
        if complex_as_real and tensors[0].is_complex():
            tensors = [view_as_real(t) for t in tensors]
        param, grad, *state = tensors
        new = rule(ON_TENSORS, param, grad, *state, **options, **scalars)
        for old, value in zip((param, *state), new):
            old.copy_(value)


def _bind(rule: Callable, options: dict[str, Any], scalars: tuple[str, ...], specs: tuple) -> launch.Bound:
    """Machine code for a rule on tensors of these dtypes and layouts."""
    names = ["param", "grad", *(f"state{i}" for i in range(len(specs) - 2))]
    shape = specs[0].shape
    for name, spec in zip(names, specs):
        if spec.shape != shape or spec.device is not specs[0].device:
            raise RuntimeError(
                f"optimizer: the {name} of a parameter of shape {tuple(shape)} on {specs[0].device} has shape "
                f"{tuple(spec.shape)} and is on {spec.device}"
            )
    kind = opmath(specs[0].dtype)
    inputs = tuple(Input(name, spec.dtype) for name, spec in zip(names, specs))
    symbols = [ir.cast(ir.load(i.name, i.dtype), kind) for i in inputs]
    given = {name: ir.param(name, kind) for name in scalars}
    new = rule(ON_SYMBOLS, *symbols, **options, **given)
    targets = [operand for operand in inputs if operand.name != "grad"]
    kernel = Kernel(
        rule.__name__,
        inputs,
        tuple(Result("new_" + t.name, t.dtype, value) for t, value in zip(targets, new)),
        tuple(Param(name, kind) for name in scalars),
    )
    strides = [spec.strides for spec in specs]
    return launch.bind(kernel, shape, None, [strides[0], *strides[2:], *strides], specs[0].device)
