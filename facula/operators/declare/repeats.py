"""What an operator remembers of its calls for machine code to repeat; `native/apply.py` is that code."""

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

from facula import launch
from facula.autograd.node import Output, edge_of
from facula.core.modes import GUARD, LOCAL
from facula.core.tensor import Tensor
from facula.operators.promotion import of_defaults

from .recording import SEQUENCE

__all__ = ["MISSING", "UNHASHED", "FunctionPlan", "Repeats", "inner", "public", "recipes", "unknown", "unrecorded"]


class _Missing:
    """Stands for an operand that was not given by position."""


MISSING: Any = _Missing()


def unknown(*arguments) -> None:
    """What knows no call."""


def _recording(memo: Any, node: type) -> Any:
    return memo.Recording(node, edge_of, SEQUENCE, GUARD.active, b"facula.", Output)


def unrecorded(memo: Any) -> Any:
    """What a memo is told whose `run` is to leave alone operands that need a gradient."""
    return _recording(memo, object)


class Same:
    """Constants of calls as one object, which machine code compares by identity: see `Repeats.same`."""

    __slots__ = ()


UNHASHED = Same()  # for constants that have no hash: no such call is ever known


class Repeats:
    """The calls of an operator that machine code repeats.

    `run(*arguments)` returns the result, or None where it does not know the call or some mode is not its default;
    `force` does not ask for modes, `bare` records nothing either.

    Parameters
    ----------
    operator : Traced or Function
    count : int
        How many operands, and numbers after them, a call has.
    others : int
        How many constants follow.
    rows : tuple, optional
        (dims, keepdim, shape, node class) for `Traced.call_rows`; without it `Traced.call` does what machine code does
        not know.
    """

    __slots__ = ("added", "bare", "count", "force", "memo", "operator", "others", "plans", "rows", "run", "sames")

    def __init__(self, operator: Any, count: int, others: int = 0, rows: tuple | None = None):
        self.operator, self.count, self.others, self.rows = operator, count, others, rows
        self.clear()
        of_defaults(self)

    def clear(self) -> None:
        """Forget all calls."""
        self.memo: Any = None
        self.added: dict[Any, list[int]] = {}
        self.plans: dict[tuple, FunctionPlan | None] = {}  # of `repeat`
        self.sames: dict[tuple, Same] = {}
        self.run = self.bare = self.force = unknown

    def same(self, *constants: Any) -> Same:
        """The same object for equal constants; UNHASHED for those without a hash."""
        try:
            return self.sames[constants]
        except TypeError:
            return UNHASHED
        except KeyError:
            if len(self.sames) > 4096:
                self.sames.clear()
            return self.sames.setdefault(constants, Same())

    def in_mode(self) -> Callable:
        """What to ask where some mode is not its default."""
        if LOCAL.special:
            return unknown
        return self.bare if not LOCAL.grad else unknown if LOCAL.saved_hooks else self.force

    def slowly(self, arguments: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """The result of a call that machine code does not know; the next one like it is known."""
        if self.rows is not None:
            return self.operator.rows_slowly(self, arguments, self.rows, kwargs)
        out = self.operator.call(*arguments, **kwargs)
        if not kwargs and len(arguments) == self.count:
            kinds = tuple([x.spec if isinstance(x, Tensor) else type(x) for x in arguments])
            self.learn((kinds, None), tuple(arguments))
        return out

    def learn(self, key: tuple, arguments: Sequence[Any], node_class: type | None = None) -> None:
        """Make a call known, whose plan the operator has under `key`; not if its values must be seen each time."""
        operator = self.operator
        plan = operator.plans.get(key)
        if plan is None or plan.sources is None or (GUARD.active and LOCAL.special):
            return
        if max(plan.sources, default=0) >= self.count:
            return  # a scalar that is no argument of the call
        if not self.add(arguments, plan, plan.sources, node_class or operator.node_class, len(operator.operands)):
            plan.sources = None

    def repeat(
        self, arguments: tuple, operands: int, out: Tensor | tuple, make: Callable[..., "FunctionPlan | None"],
        recorded: Any = MISSING, named: tuple = (),
    ) -> bool:  # fmt: skip
        """Make a call of a `Function` known that gave `out`, by the plan that `make(*specs)` has for it, if any.

        Returns False for a call that will never be known.

        Tensors are given to `make` as their specs. Nodes are those of `recorded`, an operator, if not of this one;
        None: a call that is recorded takes several operators, and is not known. `named` are the operator's arguments
        where the call's are others.
        """
        if GUARD.active and LOCAL.special:
            return True
        if recorded is None and LOCAL.grad and any(isinstance(x, Tensor) and x.needs_grad for x in arguments):
            return True
        operator = self.operator if recorded is None or recorded is MISSING else recorded
        specs = tuple([x.spec if isinstance(x, Tensor) else x for x in arguments])
        plans = self.plans
        try:
            plan = plans[specs]
        except KeyError:
            if len(plans) > 4096:
                plans.clear()
            plan = plans[specs] = make(*specs)
            if plan is not None and recorded is not None:
                recipes(plan, operator, named or arguments, operands)
        first = out if isinstance(out, Tensor) else out[0]
        if plan is None or plan.outs[0] is not first.spec:
            return False
        if self.plans is not plans:  # another thread has changed what plans depend on
            return True
        known = self.add(arguments, plan, plan.sources, operator.node_class, operands)
        if not known:
            plans[specs] = None
        return known

    def add(self, arguments: Sequence[Any], plan: Any, sources: Sequence[int], node_class: type, operands: int) -> bool:
        """Make a call known by its plan; see `Memo.add`. Of the arguments so many are operands."""
        # A known call comes here where more is asked than machine code does (several recorded results, say), or where
        # another call took its place: learning costs as much as ten calls, so only now and then.
        moving = [x.spec if isinstance(x, Tensor) else type(x) for x in arguments[: self.count]]
        added = self.added.setdefault((*moving, *arguments[self.count :]), [-1, 0])
        added[1] += 1
        if added[0] == len(plan.backs) and added[1] % 64:
            return True
        added[0] = len(plan.backs)
        if len(self.added) > 4096:
            self.added.clear()
        operator = self.operator
        machine = launch.memo(plan.outs[0].device)
        if machine is None:
            return False
        memo = self.memo
        if memo is None:
            recording = _recording(machine, operator.node_kind)
            differentiable = getattr(operator, "differentiable", True)
            memo = self.memo = machine(operands, self.count - operands, self.others, recording, differentiable)
        known = memo.add(arguments, plan, sources, machine, node_class)
        self.run, self.bare, self.force = memo.run, memo.bare, memo.force
        if self.memo is not memo:  # another thread forgot all calls meanwhile
            self.run = self.bare = self.force = unknown
        return known


class FunctionPlan:
    """A known call of a `Function` that is one kernel: machine code, what comes out, what is kept for backward.

    `sources` are the positions of the arguments that the kernel takes, after the results and before the `tail`; `keep`
    is what must live as long as it is called.
    """

    __slots__ = ("arguments", "backs", "function", "keep", "outs", "sources", "tail")

    def __init__(
        self, function: Callable | None, tail: tuple, outs: tuple, sources: Sequence[int], keep: object = None
    ):
        self.function, self.tail, self.outs, self.sources, self.keep = function, tail, outs, sources, keep
        self.arguments: dict[str, Any] = {}
        self.backs: dict[int, Any] = {}


def inner(plan: Any, scalars: dict[str, Any]) -> FunctionPlan | None:
    """The plan of a `Function` that is one call of a `Traced` with its first arguments, by the plan of that."""
    if plan.sources is None:
        return None
    numbers = [scalars[name] for name, _ in plan.numbers]
    return FunctionPlan(plan.function, (*numbers, *plan.tail), plan.outs, plan.slots)


def recipes(plan: Any, operator: Any, arguments: Sequence[Any], operands: int) -> None:
    """Fill in what a plan keeps for backward, by which of its first arguments, the operands, need a gradient."""
    tensors = [isinstance(x, Tensor) for x in arguments]
    for mask in range(1, 1 << operands):
        wants = [bool(mask >> i & 1) for i in range(operands)]
        if not any(want and not tensor for want, tensor in zip(wants, tensors)):
            pattern = [*map(int, tensors), *[0] * (len(operator.names) - len(tensors))]
            pattern[:operands] = [2 if want else pattern[i] for i, want in enumerate(wants)]
            key = tuple(pattern)
            if key not in operator.recipes:
                operator.recipes[key] = operator._recipe(key)
            plan.backs[mask] = operator.recipes[key]
    named = dict(zip(operator.names, arguments))
    plan.arguments = {n: x for n, x in named.items() if not isinstance(x, Tensor)}
    plan.arguments |= {f"{n}_spec": getattr(x, "spec", None) for n, x in named.items()}


def public(slow: Callable, entry: Callable) -> Any:
    """`entry` with the name, documentation and operator of `slow`."""
    entry.__name__ = entry.__qualname__ = slow.__name__
    entry.__doc__, entry.__module__ = slow.__doc__, slow.__module__
    entry.__signature__ = signature(slow)  # type: ignore[attr-defined]
    for name in ("operator", "gradient"):
        if hasattr(slow, name):
            setattr(entry, name, getattr(slow, name))
    return entry
