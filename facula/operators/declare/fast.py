"""The shortest way from a call to machine code: calls like one before are repeated by a builtin, others go to `Traced`.

A debugger sees each operator's Python function; the builtin that it asks first is `native/apply.py`.
"""

from collections.abc import Callable

from facula.core.dtype import uint64
from facula.core.modes import GUARD, LOCAL
from facula.core.spec import Spec
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.operators.override import foreign
from facula.operators.promotion import of_defaults

from .layout import check_in_place, row_dims
from .repeats import MISSING, Repeats
from .traced import Plan, Traced


def nary(operator: Traced) -> Callable:
    """The function of any number of operands and results."""
    known = operator.known()
    count = len(operator.operands)

    def entry(*args, **kwargs):
        if not kwargs and len(args) == count:
            if (out := known.run(*args)) is not None:
                return out
            if GUARD.active and (out := known.in_mode()(*args)) is not None:
                return out
        return known.slowly(args, kwargs)

    return entry


def unary(operator: Traced) -> Callable:
    """The function of one operand."""
    known = operator.known()

    def entry(input=MISSING, **kwargs):
        if not kwargs:
            if (out := known.run(input)) is not None:
                return out
            if GUARD.active and (out := known.in_mode()(input)) is not None:
                return out
        return known.slowly([x for x in (input,) if x is not MISSING], kwargs)

    return entry


def binary(operator: Traced, foreign: bool = False) -> Callable:
    """The function of two tensors, or a tensor and a number.

    With `foreign` it is a method for one of Python's operators: what is no tensor and no number may know what to do.
    """
    known = operator.known()

    def entry(input=MISSING, other=MISSING, **kwargs):
        if not kwargs:
            if (out := known.run(input, other)) is not None:
                return out
            if GUARD.active and (out := known.in_mode()(input, other)) is not None:
                return out
            if foreign and not (isinstance(other, (Tensor, bool, int, float, complex)) or hasattr(other, "item")):
                return NotImplemented
        if input is MISSING and other is not MISSING:  # both by name, the first one by NumPy's
            kwargs["other"], other = other, MISSING
        return known.slowly([x for x in (input, other) if x is not MISSING], kwargs)

    return entry


def fast_rows(entry: Callable, over: str | None = None, check: Callable | None = None, **scalars) -> Callable:
    """The function (input, dim as the user gave it, keepdim) of a reduction of one operand.

    `over` is the name of its nodes where a dim is given, if PyTorch counts that as another overload;
    `check(input, dims, dim)` refuses what may not be reduced, by its spec; `scalars` are as for `Traced.call_rows`.
    """
    operator = entry.operator
    over_dims = operator.node_class
    if over is not None:
        over_dims = type(over, (operator.node_class,), {"__slots__": (), "__module__": "torch.autograd"})
    known = Repeats(operator, 1, others=2)
    constants = tuple(sorted(scalars.items())) if scalars else None

    def fast(input, dim, keepdim):
        same = known.same(*dim) if dim.__class__ is tuple or dim.__class__ is list else dim
        if (out := known.run(input, same, keepdim)) is not None:
            return out
        if GUARD.active and (out := known.in_mode()(input, same, keepdim)) is not None:
            return out
        if not isinstance(input, Tensor) and (out := foreign(input)) is not NotImplemented:
            return out
        if not isinstance(input, Tensor):
            name = operator.name.partition("_")[0]
            fail(TypeError, f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
        if dim.__class__ is list:
            dim = tuple(dim)
        dims = row_dims(input.spec, dim)
        if check is not None:
            check(input, dims, dim)
        node_class = operator.node_class if dim is None else over_dims
        out = operator.call_rows(input, dims=dims, keepdim=keepdim, node_class=node_class, **scalars)
        if same is dim or all(d.__class__ is int for d in dim or ()):  # others may change
            known.learn(((input.spec,), dims, keepdim, None, constants), (input, same, keepdim), node_class)
        return out

    return fast


def fast_in_place(operator: Traced) -> Callable:
    """The method that writes over its own elements; what needs recording or checking goes to `Traced.in_place`."""
    plans: dict[tuple, Plan] = of_defaults({})
    slow = operator.in_place
    unary = len(operator.operands) == 1

    def plain(input, other) -> Plan | None:
        """The plan for dense operands that share no memory and need no gradient."""
        number = other.__class__ is float or other.__class__ is int
        if number and operator.operands[1] in operator.only:
            return None
        kinds = (input.spec,) if unary else (input.spec, other.__class__ if number else other.spec)
        if any(isinstance(k, Spec) and (k.kind is not None or not k.contiguous) for k in kinds):
            return None
        free = operator.plan(kinds, scalars={})
        check_in_place(operator.name, input.spec, free.outs[0])
        plan = operator.plan(kinds, scalars={}, out=(input.spec,))
        names = operator.operands[:1] if unary or number else operator.operands
        if (
            plan.mixed
            or (operator.guard is not None and plan.common.kind in "ui")
            or (number and plan.compute is uint64)
        ):
            return None
        if plan.kernel_names != names or plan.numbers != (((operator.operands[1], None),) if number else ()):
            return None
        if len(plans) > 4096:
            plans.clear()
        plans[kinds if not unary else input.spec] = plan
        return plan

    def one(input, *args, **kwargs):
        if args or kwargs or input.needs_grad or input.base is not None or (GUARD.active and LOCAL.special):
            return slow(input, *args, **kwargs)
        plan = plans.get(input.spec) or plain(input, None)
        if plan is None:
            return slow(input)
        if plan.function is not None:
            plan.function(input.ptr, input.ptr, *plan.tail)
        input.storage.version += 1
        return input

    def two(input, *args, **kwargs):
        if len(args) != 1 or kwargs or input.needs_grad or input.base is not None or (GUARD.active and LOCAL.special):
            return slow(input, *args, **kwargs)
        (other,) = args
        if other.__class__ is float or other.__class__ is int:
            plan = plans.get((input.spec, other.__class__)) or plain(input, other)
            if plan is None:
                return slow(input, other)
            if plan.function is not None:
                plan.function(input.ptr, input.ptr, other, *plan.tail)
        elif isinstance(other, Tensor) and not other.needs_grad and other.storage is not input.storage:
            plan = plans.get((input.spec, other.spec)) or plain(input, other)
            if plan is None:
                return slow(input, other)
            if plan.function is not None:
                plan.function(input.ptr, input.ptr, other.ptr, *plan.tail)
        else:
            return slow(input, other)
        input.storage.version += 1
        return input

    def several(input, *args, **kwargs):
        return slow(input, *args, **kwargs)

    entry = one if unary else two if len(operator.operands) == 2 else several
    entry.__wrapped__ = operator.body  # whose parameters are shown
    return entry
