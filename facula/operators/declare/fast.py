"""The shortest way from a call to machine code, by the number of operands; what is unusual goes to `Traced.call`."""

from collections.abc import Callable
from typing import Any

from facula import launch
from facula.autograd.node import edge_of
from facula.core.modes import GUARD, LOCAL
from facula.core.spec import Spec
from facula.core.tensor import Tensor
from facula.operators.promotion import of_defaults

from .layout import check_in_place, row_dims
from .recording import SEQUENCE, user_line
from .traced import Plan, Traced


def nary(operator: Traced) -> Callable:
    """The fast path of any number of operands and results."""
    plans: dict[tuple, Plan] = of_defaults({})
    call, run = operator.call, operator._run
    count = len(operator.operands)

    def entry(*args, **kwargs):
        if kwargs or len(args) != count or (GUARD.active and LOCAL.special):
            return call(*args, **kwargs)
        key = tuple([x.spec if isinstance(x, Tensor) else x.__class__ for x in args])
        plan = plans.get(key)
        if plan is None:
            args, kinds = operator._checked(args, key)
            if len(plans) > 4096:
                plans.clear()
            plan = operator.plan(kinds, scalars={})
            if kinds == key and not any(isinstance(k, Spec) and k.kind is not None for k in key):
                plans[key] = plan
        return run(plan, args, {})

    return entry


def fast_rows(entry: Callable, over: str) -> Callable:
    """The fast path of a reduction of one operand: (input, dim as the user gave it, keepdim).

    `over` is the name of its nodes where a dim is given: PyTorch counts that as another overload.
    """
    operator = entry.operator
    plans: dict[tuple, Plan] = of_defaults({})
    of_all = _recorder(operator)
    over_dims = _recorder(
        operator, type(over, (operator.node_class,), {"__slots__": (), "__module__": "torch.autograd"})
    )
    differentiable, call_rows = operator.differentiable, operator.call_rows

    def fast(input, dim, keepdim):
        if dim.__class__ is list:
            dim = tuple(dim)
        try:
            plan = plans[input.spec, dim, keepdim]
        except KeyError:
            dims = row_dims(input.spec, dim)
            if input.spec.kind is not None or (GUARD.active and LOCAL.special):
                return call_rows(input, dims=dims, keepdim=keepdim)
            if len(plans) > 4096:
                plans.clear()
            plan = plans[input.spec, dim, keepdim] = operator.plan(
                (input.spec,), scalars={}, dims=dims, keepdim=keepdim
            )
        if GUARD.active and LOCAL.special:
            return call_rows(input, dims=plan.key[0], keepdim=keepdim)
        out = plan.empty(plan.out)
        if plan.function is not None:
            plan.function(out.ptr, input.ptr, *plan.tail)
        if input.needs_grad and differentiable and (not GUARD.active or LOCAL.grad):
            edge = input.edge if input.base is None else edge_of(input)
            remember = of_all if dim is None else over_dims
            remember(plan, (input,), (input if edge is None else edge,), 1, out)
        return out

    return fast


def _recorder(operator: Traced, node_class: Any = None) -> Callable:
    """The fast form of `Traced.record` for one result: (plan, operands, their edges, out)."""
    node_class = node_class or operator.node_class
    make: Callable | None = None
    slow = operator.record
    line = user_line

    def remember(plan: Plan, operands: tuple, edges: tuple, mask: int, out: Tensor) -> None:
        nonlocal make
        if not plan.smooth:
            return
        if GUARD.active and LOCAL.saved_hooks:
            slow(plan, operands, {}, (out,))
            return
        if plan.pulled:
            back, saved, versions, numbers = None, (), (), ()
        else:
            back = plan.backs.get(mask)
            if back is None:
                back = plan.backs[mask] = operator.back(plan, tuple([e is not None for e in edges]))
            saved, versions = back.collect(operands, out)
            numbers = operands if back.numbers else ()
        if make is None:
            make = launch.constructor(
                node_class, ("edges", "outputs", "sequence", "line", "saved", "versions", "plan", "back", "numbers"),
                {"pre_hooks": None, "post_hooks": None},
            )  # fmt: skip
        out.edge = make(edges, plan.outs, SEQUENCE(), line(3), saved, versions, plan, back, numbers)
        out.needs_grad = True

    return remember


class _Missing:
    """Stands for an operand that was not given by position."""

    spec = None


_MISSING: Any = _Missing()


def unary(operator: Traced) -> Callable:
    """The fast path of one operand; whatever is unusual goes to `call`."""
    plans: dict[Spec, Plan] = of_defaults({})
    call, plan_for, differentiable = operator.call, operator.plan, operator.differentiable
    remember = _recorder(operator)

    def entry(input=_MISSING, **kwargs):
        if kwargs or (GUARD.active and LOCAL.special):
            return call(input, **kwargs) if input is not _MISSING else call(**kwargs)
        try:
            plan = plans[input.spec]
        except (KeyError, AttributeError):
            if not isinstance(input, Tensor) or input.spec.kind is not None:
                return call(input) if input is not _MISSING else call()
            if len(plans) > 4096:
                plans.clear()
            plan = plan_for((input.spec,), scalars={})
            if plan.kernel_names != operator.operands:
                return call(input)  # the kernel does not read it
            plans[input.spec] = plan
        out = plan.empty(plan.out)
        if plan.function is not None:
            plan.function(out.ptr, input.ptr, *plan.tail)
        if input.needs_grad and differentiable and (not GUARD.active or LOCAL.grad):
            edge = input.edge if input.base is None else edge_of(input)
            remember(plan, (input,), (input if edge is None else edge,), 1, out)
        return out

    return entry


def binary(operator: Traced, foreign: bool = False) -> Callable:
    """The fast path of two tensors, or a tensor and a number; keywords and whatever is unusual go to `call`.

    With `foreign` it is a method for one of Python's operators: what is no tensor and no number may know what to do.
    """
    plans: dict[tuple, Plan] = of_defaults({})
    call, plan_for, differentiable = operator.call, operator.plan, operator.differentiable
    remember = _recorder(operator)
    both, first_only = operator.operands, operator.operands[:1]

    def new_plan(input, other) -> Plan | None:
        """The plan of an ordinary call; None where it is none."""
        number = other.__class__ is float or other.__class__ is int
        if not isinstance(input, Tensor) or not (number or isinstance(other, Tensor)):
            return None
        if input.spec.kind is not None or not (number or other.spec.kind is None):
            return None
        kinds = (input.spec, other.__class__ if number else other.spec)
        plan = plan_for(kinds, scalars={})
        if operator.guard is not None and plan.common.kind in "ui":
            return None  # values are looked at before each run
        if (
            plan.kernel_names != (first_only if number else both)
            or plan.numbers != (((both[1], None),) if number else ())
            or len(plan.outs) > 1
        ):
            return None  # the kernel does not read all operands in order
        if len(plans) > 4096:
            plans.clear()
        plans[kinds] = plan
        return plan

    def entry(input=_MISSING, other=_MISSING, **kwargs):
        if kwargs or (GUARD.active and LOCAL.special):
            return call(*[x for x in (input, other) if x is not _MISSING], **kwargs)
        try:
            if other.__class__ is float or other.__class__ is int:
                plan = plans[input.spec, other.__class__]
                out = plan.empty(plan.out)
                if plan.function is not None:
                    plan.function(out.ptr, input.ptr, other, *plan.tail)
                if input.needs_grad and differentiable and (not GUARD.active or LOCAL.grad):
                    edge = input.edge if input.base is None else edge_of(input)
                    remember(plan, (input, other), (input if edge is None else edge, None), 1, out)
                return out
            plan = plans[input.spec, other.spec]
        except (KeyError, AttributeError):
            if foreign and not (isinstance(other, (Tensor, bool, int, float, complex)) or hasattr(other, "item")):
                return NotImplemented
            if new_plan(input, other) is None:
                return call(*[x for x in (input, other) if x is not _MISSING])
            return entry(input, other)
        out = plan.empty(plan.out)
        if plan.function is not None:
            plan.function(out.ptr, input.ptr, other.ptr, *plan.tail)
        if differentiable and (input.needs_grad or other.needs_grad) and (not GUARD.active or LOCAL.grad):
            first = second = None
            mask = 0
            if input.needs_grad:
                first = input.edge if input.base is None else edge_of(input)
                if first is None:
                    first = input
                mask = 1
            if other.needs_grad:
                second = other.edge if other.base is None else edge_of(other)
                if second is None:
                    second = other
                mask += 2
            remember(plan, (input, other), (first, second), mask, out)
        return out

    return entry


def fast_in_place(operator: Traced) -> Callable:
    """The method that writes over its own elements; what needs recording or checking goes to `Traced.in_place`."""
    plans: dict[tuple, Plan] = of_defaults({})
    slow = operator.in_place
    unary = len(operator.operands) == 1

    def plain(self, other) -> Plan | None:
        """The plan for dense operands that share no memory and need no gradient."""
        number = other.__class__ is float or other.__class__ is int
        kinds = (self.spec,) if unary else (self.spec, other.__class__ if number else other.spec)
        if any(isinstance(k, Spec) and (k.kind is not None or not k.contiguous) for k in kinds):
            return None
        free = operator.plan(kinds, scalars={})
        check_in_place(operator.name, self.spec, free.outs[0])
        plan = operator.plan(kinds, scalars={}, out=(self.spec,))
        names = operator.operands[:1] if unary or number else operator.operands
        if operator.guard is not None and plan.common.kind in "ui":
            return None
        if plan.kernel_names != names or plan.numbers != (((operator.operands[1], None),) if number else ()):
            return None
        if len(plans) > 4096:
            plans.clear()
        plans[kinds if not unary else self.spec] = plan
        return plan

    def one(self, *args, **kwargs):
        if args or kwargs or self.needs_grad or self.base is not None or (GUARD.active and LOCAL.special):
            return slow(self, *args, **kwargs)
        plan = plans.get(self.spec) or plain(self, None)
        if plan is None:
            return slow(self)
        if plan.function is not None:
            plan.function(self.ptr, self.ptr, *plan.tail)
        self.storage.version += 1
        return self

    def two(self, *args, **kwargs):
        if len(args) != 1 or kwargs or self.needs_grad or self.base is not None or (GUARD.active and LOCAL.special):
            return slow(self, *args, **kwargs)
        (other,) = args
        if other.__class__ is float or other.__class__ is int:
            plan = plans.get((self.spec, other.__class__)) or plain(self, other)
            if plan is None:
                return slow(self, other)
            if plan.function is not None:
                plan.function(self.ptr, self.ptr, other, *plan.tail)
        elif isinstance(other, Tensor) and not other.needs_grad and other.storage is not self.storage:
            plan = plans.get((self.spec, other.spec)) or plain(self, other)
            if plan is None:
                return slow(self, other)
            if plan.function is not None:
                plan.function(self.ptr, self.ptr, other.ptr, *plan.tail)
        else:
            return slow(self, other)
        self.storage.version += 1
        return self

    return (
        one
        if unary
        else two
        if len(operator.operands) == 2
        else lambda self, *args, **kwargs: slow(self, *args, **kwargs)
    )
