"""How a rule is applied: traced into one kernel that updates a parameter and its state in place.

A rule says what happens to one element: `rule(f, param, grad, *state, **options, **scalars)` returns the new
(param, *state). `f` has the functions of `FUNCTIONS`; options are Python values that select branches, scalars are
numbers. The same function runs on tensors where autograd goes through the step, and for complex numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import Any

from facula import launch
from facula.autograd import set_grad_enabled
from facula.core.device import device
from facula.core.dtype import dtype, float32, float64
from facula.core.spec import Spec
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.ir import expr as ir
from facula.ir.kernel import Input, Kernel, Param, Result
from facula.operators import abs as abs_
from facula.operators import clamp, many, maximum, sign, sqrt, view_as_real, where
from facula.operators.copying import packed
from facula.operators.promotion import opmath

__all__ = ["Refreshed", "Held", "advance", "apply_rule", "apply_rules"]


class Refreshed(dict):
    """Scalars of a step that is recorded: each replay has those that `refresh` returns."""

    refresh: Callable[[], list]


@dataclass(frozen=True, slots=True)
class Held:
    """A step that depends on tensors of one element (float32) in the device's memory, which nobody waits for.

    Jobs end with those that `names` names: `found_inf` (unless it is 0 nothing changes), `grad_scale` (gradients are
    divided by it), `step`, numbers. Instead of scalars jobs have the other numbers; `scalars(numbers, step)` makes
    scalars of all.
    """

    names: tuple[str, ...]
    owner: type  # whose `scalars` it is
    scalars: Callable[[dict[str, Any], Any], dict[str, Any]] = field(compare=False)


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
    held: Held | None = None,
) -> None:
    """Update many parameters: `jobs` are (options, scalars, tensors). Dense ones of the same kind share one call."""
    shared = None if held is None else -len(held.names)
    batches: dict[tuple, tuple[launch.Many, tuple, device, list[Tensor], Any]] = {}
    last_options = last_scalars = last_kind = None  # mostly all jobs are alike: then they are only gathered
    rows: list[Tensor] = []
    for options, scalars, tensors in jobs:
        specs = tuple([t.spec for t in tensors[:shared]])
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
            apply_rule(rule, options, scalars, tensors, differentiable, complex_as_real, held)
            continue
        key = (id(scalars), id(options), id(kind))
        batch = batches.get(key)
        if batch is None:
            code = _many(rule, options, tuple(scalars), specs, held)
            batch = batches[key] = (code, tuple(scalars.values()), kind[0], [], getattr(scalars, "refresh", None))
        last_options, last_scalars, last_kind, rows = options, scalars, kind, batch[3]
        rows.extend(tensors)
    for code, numbers, place, rows, refresh in batches.values():
        launch.run_many(code, rows, numbers, place, refresh)


def _wrong(kind: dtype) -> ir.Expr:
    return ir.ne(ir.load("found_inf", kind), ir.const(0.0, kind))


@cache
def _adding_1(kind: dtype, asks: bool) -> Kernel:
    old, inputs = ir.load("step", kind), (Input("step", kind),)
    new = old + ir.const(1.0, kind)
    if asks:
        new, inputs = ir.select(_wrong(float32), old, new), (*inputs, Input("found_inf", float32))
    return Kernel("advance", inputs, (Result("out", kind, new),))


def advance(counters: list[Tensor], found_inf: dict[device, Tensor] | None = None) -> None:
    """Add 1 to each of several counters where `found_inf` of their device is 0: one call for a device and a dtype."""
    kinds: dict[Spec, list[Tensor]] = {}
    for counter in counters:
        kinds.setdefault(counter.spec, []).append(counter)
    for spec, rows in kinds.items():
        columns: tuple = (0, 0)
        if found_inf:
            columns, rows = (0, 0, ~1), many.beside(rows, found_inf[spec.device])
        code = launch.many(_adding_1(spec.dtype, bool(found_inf)), columns, spec.device)
        launch.run_many(code, rows, (), spec.device)


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


def _many(
    rule: Callable, options: dict[str, Any], scalars: tuple[str, ...], specs: tuple[Spec, ...], held: Held | None
) -> launch.Many:
    """Machine code for a rule on many parameters with tensors of these dtypes; see `launch.many`."""
    name = (rule, *options.values(), *[s.dtype for s in specs], specs[0].device, held, held and scalars)
    found = _MANY.get(name)
    if found is None:
        places = range(len(specs))
        shared = [] if held is None else [~i for i in range(len(specs), len(specs) + len(held.names))]
        kernel = _kernel(rule, options, scalars, specs, held)
        found = _MANY[name] = launch.many(kernel, (*_updated(places, held), *places, *shared), specs[0].device)
    return found


def _updated(operands: Any, held: Held | None) -> tuple:
    """Which of (param, grad, *state, ...) a step writes: all but the gradient, unless that is to be unscaled."""
    param, grad, *state = operands
    return (param, *state, grad) if held is not None and "grad_scale" in held.names else (param, *state)


def apply_rule(
    rule: Callable,
    options: dict[str, Any],
    scalars: dict[str, Any],
    tensors: list[Tensor],
    differentiable: bool = False,
    complex_as_real: bool = True,
    held: Held | None = None,
) -> None:
    """Update `tensors` (param, grad, *state) in place; the gradient stays as it is, unless `held` says else."""
    own = tensors if held is None else tensors[: -len(held.names)]
    specs = tuple([t.spec for t in own])
    key = (rule, *options.values(), specs, held, held and tuple(scalars))
    plan = None if differentiable else _PLANS.get(key)
    if plan is None:
        if differentiable or any(s.dtype.kind != "f" or s.kind is not None for s in specs):
            if held is not None:
                fail(RuntimeError, "a step with found_inf or grad_scale needs dense real parameters and gradients")
            with_operators(rule, options, scalars, tensors, differentiable, complex_as_real)
            return
        plan = _PLANS[key] = _bind(rule, options, tuple(scalars), specs, held)
    if plan.function is not None:
        written = _updated(own, held)
        plan.function(*[t.ptr for t in (*written, *tensors)], *scalars.values(), *plan.tail)
        for t in written:
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


def _bind(
    rule: Callable, options: dict[str, Any], scalars: tuple[str, ...], specs: tuple, held: Held | None
) -> launch.Bound:
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
    shared = [(0,) * len(shape)] * (0 if held is None else len(held.names))
    kernel = _kernel(rule, options, scalars, specs, held)
    return launch.bind(kernel, shape, None, [*_updated(strides, held), *strides, *shared], where)


def _kernel(
    rule: Callable, options: dict[str, Any], scalars: tuple[str, ...], specs: tuple, held: Held | None
) -> Kernel:
    """The kernel of a rule for operands of these dtypes: results are the new parameter and state."""
    names = ["param", "grad", *(f"state{i}" for i in range(len(specs) - 2))]
    kind = opmath(specs[0].dtype)
    inputs = tuple(Input(name, spec.dtype) for name, spec in zip(names, specs))
    symbols = [ir.cast(ir.load(i.name, i.dtype), kind) for i in inputs]
    targets = _updated(inputs, held)
    if held is None:
        given, values = kind, {name: ir.param(name, kind) for name in scalars}
        new = rule(ON_SYMBOLS, *symbols, **options, **values)
    else:
        given, old = float64, _updated(symbols, held)
        shared = {name: ir.load(name, float32) for name in held.names}
        inputs = (*inputs, *(Input(name, float32) for name in shared))
        if "grad_scale" in shared:
            symbols[1] = symbols[1] / ir.cast(shared["grad_scale"], kind)
        found = {name: ir.cast(value, float64) for name, value in shared.items()}
        numbers = held.scalars(found | {name: ir.param(name, float64) for name in scalars}, found.get("step"))
        values = {name: ir.cast(value, kind) for name, value in numbers.items()}
        new = rule(ON_SYMBOLS, *symbols, **options, **values)
        new = (*new, symbols[1])[: len(old)]
        if "found_inf" in shared:
            new = [ir.select(_wrong(float32), one, other) for one, other in zip(old, new)]
    return Kernel(
        rule.__name__,
        inputs,
        tuple(Result("new_" + t.name, t.dtype, value) for t, value in zip(targets, new)),
        tuple(Param(name, given) for name in scalars),
    )
