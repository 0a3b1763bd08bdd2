"""How a rule is applied: traced into one kernel that updates a parameter and its state in place.

A rule says what happens to one element: `rule(f, param, grad, *state, **options, **scalars)` returns the new
(param, *state). `f` has the functions of `FUNCTIONS`; options are Python values that select branches, scalars are
numbers. The same function runs on tensors where autograd goes through the step, and for complex numbers.
"""

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

from facula import launch
from facula.autograd import set_grad_enabled
from facula.core.device import device
from facula.core.dtype import dtype
from facula.core.spec import Spec
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.ir import expr as ir
from facula.ir.kernel import Input, Kernel, Param, Result
from facula.operators import abs as abs_
from facula.operators import clamp, maximum, sign, sqrt, view_as_real, where
from facula.operators.copying import packed
from facula.operators.promotion import opmath

__all__ = ["Refreshed", "advance", "apply_rule", "apply_rules"]


class Refreshed(dict):
    """Scalars of a step that is recorded: each replay has those that `refresh` returns."""

    refresh: Callable[[], list]


def _choose(condition: Any, a: Any, b: Any) -> Any:
    """`where`, also for a condition that is a Python bool: scalars are numbers."""
    return where(condition, a, b) if isinstance(condition, Tensor) else a if condition else b


FUNCTIONS = {  # name: (on tensors, on symbols)
    "abs": (abs_, ir.abs),
    "clamp": (clamp, lambda x, low, high: ir.minimum(ir.maximum(x, low), high)),
    "detach": (Tensor.detach, lambda x: x),
    "maximum": (maximum, ir.maximum),
    "sign": (sign, ir.sign),
    "sqrt": (sqrt, ir.sqrt),
    "where": (_choose, ir.select),
}
ON_TENSORS, ON_SYMBOLS = (SimpleNamespace(**{name: row[i] for name, row in FUNCTIONS.items()}) for i in range(2))

_PLANS: dict[tuple, launch.Bound] = {}
_MANY: dict[tuple, launch.Many] = {}
_KINDS: dict[tuple[Spec, ...], Any] = {}  # by the specs of a parameter, its gradient and its state
_DENSE: dict[tuple, tuple] = {}


def apply_rules(
    rule: Callable,
    jobs: list[tuple[dict[str, Any], dict[str, Any], list[Tensor]]],
    differentiable: bool = False,
    complex_as_real: bool = True,
) -> None:
    """Update many parameters: `jobs` are (options, scalars, tensors). Dense ones of the same kind share one call."""
    batches: dict[tuple, tuple[launch.Many, tuple, device, list[Tensor], Any]] = {}
    last_options = last_scalars = last_kind = None  # mostly all jobs are alike: then they are only gathered
    rows: list[Tensor] = []
    for options, scalars, tensors in jobs:
        specs = tuple([t.spec for t in tensors])
        kind = _KINDS.get(specs, False)
        if kind is last_kind and scalars is last_scalars and options is last_options:
            rows.extend(tensors)
            continue
        if kind is False:
            kind = _kind(specs)
        if kind is None or differentiable:
            if isinstance(scalars, Refreshed):
                fail(NotImplementedError, "a recorded step needs dense parameters, gradients and states of one layout",
                     got=", ".join([str(tuple(t.shape)) for t in tensors]))  # fmt: skip
            apply_rule(rule, options, scalars, tensors, differentiable, complex_as_real)
            continue
        key = (id(scalars), id(options), id(kind))
        batch = batches.get(key)
        if batch is None:
            code = _many(rule, options, tuple(scalars), tensors)
            batch = batches[key] = (code, tuple(scalars.values()), kind[0], [], getattr(scalars, "refresh", None))
        last_options, last_scalars, last_kind, rows = options, scalars, kind, batch[3]
        rows.extend(tensors)
    for code, numbers, place, rows, refresh in batches.values():
        launch.run_many(code, rows, numbers, place, refresh)


@cache
def _adding_1(kind: dtype) -> Kernel:
    result = Result("out", kind, ir.load("step", kind) + ir.const(1.0, kind))
    return Kernel("advance", (Input("step", kind),), (result,))


def advance(counters: list[Tensor]) -> None:
    """Add 1 to each of several counters, in one call for those of a device and a dtype."""
    kinds: dict[Spec, list[Tensor]] = {}
    for counter in counters:
        kinds.setdefault(counter.spec, []).append(counter)
    for spec, rows in kinds.items():
        launch.run_many(launch.many(_adding_1(spec.dtype), (0, 0), spec.device), rows, (), spec.device)


def _kind(specs: tuple[Spec, ...]) -> Any:
    """(device, dtypes) of dense tensors of one shape, one object for each such pair; None of others."""
    first, found = specs[0], None
    if packed(first) and first.kind is None and first.dtype.kind == "f" and all(_suits(s, first) for s in specs):
        found = (first.device, tuple([s.dtype for s in specs]))
        found = _DENSE.setdefault(found, found)
    if len(_KINDS) > 4096:  # ever-changing shapes
        _KINDS.clear()
    _KINDS[specs] = found
    return found


def _suits(spec: Spec, first: Spec) -> bool:
    """Whether a tensor lies in memory as the parameter, without gaps, that it belongs to."""
    alike = spec.strides == first.strides or (spec.contiguous and first.contiguous)
    return alike and spec.kind is None and spec.shape == first.shape and spec.device is first.device


def _many(rule: Callable, options: dict[str, Any], scalars: tuple[str, ...], tensors: list[Tensor]) -> launch.Many:
    """Machine code for a rule on many parameters with tensors of these dtypes; see `launch.many`."""
    specs = tuple([t.spec for t in tensors])
    name = (rule, *options.values(), *[s.dtype for s in specs], specs[0].device)
    found = _MANY.get(name)
    if found is None:
        places = range(len(specs))
        results = (0, *places[2:])  # all but the gradient are updated
        found = launch.many(_kernel(rule, options, scalars, specs), (*results, *places), specs[0].device)
        _MANY[name] = found
    return found


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
        param, grad, *state = tensors if not differentiable else [t.clone() for t in tensors]  # what autograd keeps
        new = rule(ON_TENSORS, param, grad, *state, **options, **scalars)
        for old, value in zip((tensors[0], *tensors[2:]), new):
            old.copy_(value)


def _bind(rule: Callable, options: dict[str, Any], scalars: tuple[str, ...], specs: tuple) -> launch.Bound:
    """Machine code for a rule on tensors of these dtypes and layouts."""
    shape, where = specs[0].shape, specs[0].device
    for spec in specs:
        if spec.shape != shape or spec.device is not where:
            fail(
                RuntimeError,
                "a parameter, its gradient and its state must have the same shape and device",
                expected=f"shape {tuple(shape)} on {where}",
                got=f"shape {tuple(spec.shape)} on {spec.device}",
            )
    strides = [spec.strides for spec in specs]
    return launch.bind(_kernel(rule, options, scalars, specs), shape, None, [strides[0], *strides[2:], *strides], where)


def _kernel(rule: Callable, options: dict[str, Any], scalars: tuple[str, ...], specs: tuple) -> Kernel:
    """The kernel of a rule for operands of these dtypes: results are the new parameter and state."""
    names = ["param", "grad", *(f"state{i}" for i in range(len(specs) - 2))]
    kind = opmath(specs[0].dtype)
    inputs = tuple(Input(name, spec.dtype) for name, spec in zip(names, specs))
    symbols = [ir.cast(ir.load(i.name, i.dtype), kind) for i in inputs]
    new = rule(ON_SYMBOLS, *symbols, **options, **{name: ir.param(name, kind) for name in scalars})
    targets = [operand for operand in inputs if operand.name != "grad"]
    return Kernel(
        rule.__name__,
        inputs,
        tuple(Result("new_" + t.name, t.dtype, value) for t, value in zip(targets, new)),
        tuple(Param(name, kind) for name in scalars),
    )
