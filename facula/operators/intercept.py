"""The one place where function transforms see operators, the innermost level first.

`transform` unwraps the stand-ins of one level, has that level's rule (`batching.py`, `tangents.py`) do the operator on
what they stand for, wraps the result, and records it where a stand-in itself needs a gradient. What it stands for may
be stand-ins of outer levels: the rule's own operators come back here for them.
"""

from collections.abc import Callable, Sequence
from typing import Any

from facula.autograd.node import Output, alias, edge_of
from facula.core.modes import LOCAL
from facula.core.tensor import Tensor
from facula.core.wrapped import Level, anywhere, box_of, tensors_in, top_of
from facula.errors import fail

from .declare import ASSIGN, OPERATORS, Function, Traced, View, check_cast, record
from .declare.function import FunctionNode
from .declare.recording import SEQUENCE, keep, user_line

__all__ = ["RULES", "THROUGH", "intercept", "plainly", "transform"]

RULES: dict[str, Callable] = {}  # by the kind of a level: (operator, args, kwargs, level) -> result

# Functions whose bodies are made of operators alone: they are looked into.
THROUGH = {"unbind", "split_with_sizes"}


def intercept(operator: Any, args: tuple, kwargs: dict, out: Any) -> Any:
    """Apply an operator while some feature wants to see it."""
    recorder = LOCAL.recorder
    return transform(operator, args, kwargs, out) if recorder is None else recorder(operator, args, kwargs, out)


def plainly(operator: Any, args: tuple, kwargs: dict, out: Any = None) -> Any:
    """Apply an operator as if nobody looked."""
    special = LOCAL.special
    LOCAL.special = 0
    try:
        if isinstance(operator, Traced):
            if out is not None and args and out is args[0] and "dims" not in kwargs:
                return operator.in_place(*args, **kwargs)
            more = kwargs if out is None else {**kwargs, "out": out}
            return operator.call_rows(*args, **more) if "dims" in kwargs else operator.call(*args, **more)
        return operator.call(*args, **kwargs)
    finally:
        LOCAL.special = special


def transform(operator: Any, args: tuple, kwargs: dict, out: Any = None) -> Any:
    """Apply an operator to what may be stand-ins."""
    level = top_of(args, kwargs, out)
    if level is None:
        return plainly(operator, args, kwargs, out)
    if not level.alive:
        fail(
            RuntimeError,
            f"{operator.name}(): an operand is a stand-in of a function transform that has ended",
            mend="return values from the transformed function instead of keeping them elsewhere",
        )
    if out is not None:
        return _into(operator, args, kwargs, out)
    if operator.name in THROUGH:
        return operator.body(*args, **kwargs)
    made = RULES[level.kind](operator, args, kwargs, level)
    if LOCAL.grad and any(x.needs_grad and box_of(x, level) is not None for x in tensors_in(args, kwargs)):
        _record(operator, args, kwargs, made, level)
    return made


def _into(operator: Any, args: tuple, kwargs: dict, out: Any) -> Any:
    """In-place and out= forms: what the operator makes is written over its target."""
    if args and out is args[0] and LOCAL.grad and any(anywhere(x) for x in tensors_in(args, kwargs)):
        args = (OPERATORS["clone"].call(out), *args[1:])  # the gradient may need what is about to be overwritten
    made = transform(operator, args, kwargs)
    outs, results = (out, made) if isinstance(out, (tuple, list)) else ((out,), (made,))
    for target, result in zip(outs, results):
        if target.spec.shape != result.spec.shape:
            if args and target is args[0]:
                fail(
                    RuntimeError,
                    f"output with shape {list(target.spec.shape)} doesn't match the broadcast shape "
                    f"{list(result.spec.shape)}",
                )
            fail(RuntimeError, f"{operator.name}(): out= must have the shape of the result in a function transform")
        check_cast(result.spec.dtype, target.spec.dtype)
        ASSIGN[0](target, result)
    return out


# --- recording at the depth of stand-ins ----------------------------------------------------------------------------


def _record(operator: Any, args: tuple, kwargs: dict, made: Any, level: Level) -> None:
    """Give results a node; operands of other levels are constants at this depth (theirs was recorded inside)."""

    def edge(x: Any) -> Any:
        return edge_of(x) if box_of(x, level) is not None else None

    outs = [made] if isinstance(made, Tensor) else list(made)
    if not any(o.spec.dtype.kind in "fc" and box_of(o, level) is not None for o in outs):
        return
    if isinstance(operator, View):
        node = record(operator.node_class, (edge(args[0]),), outs)
        node.spec, node.args, node.kwargs = args[0].spec, args[1:], kwargs
    elif isinstance(operator, Traced):
        _record_traced(operator, args, kwargs, outs, edge)
    else:
        bound = operator.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        _record_function(operator, tuple(bound.arguments.values()), made, outs, edge)


def unbound_plan(operator: Traced, args: Sequence, kwargs: dict) -> Any:
    """What a traced operator knows about its operands' gradients, without machine code."""
    rows = {n: kwargs[n] for n in ("dims", "keepdim", "shape") if n in kwargs}
    scalars = {n: x for n, x in kwargs.items() if n not in ("dims", "keepdim", "shape")}
    kinds = tuple([x.spec if isinstance(x, Tensor) else type(x) for x in args])
    key = ("unbound", kinds, tuple(rows.items()), tuple(sorted(scalars.items())))
    plan = operator.plans.get(key)
    if plan is None:
        plan = operator.remember(key, operator.plan(kinds, scalars=scalars, bind=False, **rows))
    return plan


def _record_traced(operator: Traced, args: tuple, kwargs: dict, outs: list, edge: Callable) -> None:
    edges = tuple([edge(x) for x in args])
    mask = tuple([e is not None for e in edges])
    if not operator.differentiable or not any(mask):
        return
    plan = unbound_plan(operator, args, kwargs)
    back = operator._make_back(plan, mask) if mask not in plan.back else plan.back[mask]
    plan.back[mask] = back
    kept = [alias(outs[i]) if is_output else args[i] for is_output, i in back.saves]
    node = record(operator.node_class, edges, outs)
    node.plan, node.back = plan, back
    node.saved, node.versions = keep(kept)
    node.numbers = (*args, *[kwargs.get(n, d) for n, d in operator.scalars.items()]) if back.numbers else ()


def _record_function(operator: Function, args: tuple, made: Any, outs: list, edge: Callable) -> None:
    edges: list = []
    pattern: list = []
    for x, differs in zip(args, operator.flags):
        if isinstance(x, Tensor):
            own = edge(x) if differs else None
            pattern.append(1 if own is None else 2)
            if differs:
                edges.append(own)
        elif differs == 2 and isinstance(x, (tuple, list)):
            each = [edge(y) for y in x]
            edges += each
            pattern.append(tuple([1 if e is None else 2 for e in each]))
        else:
            if differs:
                edges.append(None)
            pattern.append(0)
    if not any(e is not None for e in edges):
        return
    key = tuple(pattern)
    recipe = operator.recipes.get(key)
    if recipe is None:
        recipe = operator.recipes[key] = operator._recipe(key)
    node: FunctionNode = object.__new__(operator.node_class)
    node.edges, node.outputs = tuple(edges), tuple(o.spec for o in outs)
    node.sequence, node.line = SEQUENCE(), user_line(4)
    node.pre_hooks = node.post_hooks = node.plan = None
    saved, node.versions, node.numbers = recipe.collect(args, outs)
    node.saved = keep(saved)[0] if LOCAL.saved_hooks else saved
    node.back = recipe
    for number, o in enumerate(outs):
        if o.spec.dtype.kind in "fc" and box_of(o) is not None:
            o.edge = Output(node, number) if len(outs) > 1 else node
            o.needs_grad = True
