"""Forward mode: tangents of an operator's results from those of its operands.

Traced operators have one kernel for it (`Traced.push`); views are applied to the tangent; functions that are linear in
their operands, to tangents in their place; all others by two backwards: a gradient is linear in what arrives at the
result, and the transpose of that linear map carries tangents forward.
"""

from collections.abc import Callable
from typing import Any

from facula.autograd.backward import grad as differentiate
from facula.autograd.grad_mode import enable_grad
from facula.autograd.node import alias
from facula.core.modes import LOCAL
from facula.core.shape import reach
from facula.core.spec import dense
from facula.core.tensor import Tensor
from facula.core.wrapped import DUAL, Level, anywhere, box_of, dual, first_of, mapped, tensors_in, top_of

from .creation import zeros_of
from .declare import OPERATORS, Traced, View
from .intercept import RULES, transform, unbound_plan
from .view import alias_view, as_strided_part, expand_to

__all__ = ["LINEAR", "joined", "primal_of", "tangent_of"]


def primal_of(x: Any, level: Level) -> Any:
    box = box_of(x, level)
    return x if box is None else box.value


def tangent_of(x: Any, level: Level) -> Tensor | None:
    box = box_of(x, level)
    return None if box is None else box.tangent


def zeros_as(x: Tensor) -> Tensor:
    """Zeros in the shape of a tensor, which may be a stand-in."""
    s = x.spec
    return zeros_of(dense(s.dtype, s.shape, s.device))


def joined(primal: Any, tangent: Any, level: Level) -> Any:
    """A result with its tangent, None where that is zero."""
    if not isinstance(primal, Tensor):
        if not isinstance(primal, (tuple, list)):
            return primal
        tangent = (None,) * len(primal) if tangent is None else tangent
        each = [joined(p, t, level) for p, t in zip(primal, tangent)]
        return primal.__class__(*each) if hasattr(primal, "_fields") else primal.__class__(each)
    return dual(primal, tangent, level) if primal.spec.dtype.kind in "fc" else primal


def rule(operator: Any, args: tuple, kwargs: dict, level: Level) -> Any:
    """The operator on dual arguments."""
    if isinstance(operator, View):
        return _view(operator, args, kwargs, level)
    if isinstance(operator, Traced):
        return _traced(operator, args, kwargs, level)
    rule = FORWARD.get(operator.name)
    if rule is not None and not kwargs:
        return rule(level, *args)
    own = LINEAR.get(operator.name)
    if own is not None:
        bound = operator.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return _linear(operator, own, bound.args, bound.kwargs, level)
    return _transposed(operator, args, kwargs, level)


RULES[DUAL] = rule


def _view(operator: View, args: tuple, kwargs: dict, level: Level) -> Tensor:
    primal, tangent = primal_of(args[0], level), tangent_of(args[0], level)
    made = transform(operator, (primal, *args[1:]), kwargs)
    if made.spec.dtype.kind not in "fc":
        return made
    if tangent is not None:
        around = operator.name == "as_strided_part"  # which may look at memory beside the tensor
        if tangent.spec.strides != primal.spec.strides or (around and not _same_place(tangent, primal)):
            tangent = args[0].storage.tangent = in_layout(tangent, primal, around)  # views share it from now on
    out = dual(made, None if tangent is None else transform(operator, (tangent, *args[1:]), kwargs), level)
    box: Any = out.storage
    box.source = (args[0], operator, args[1:], kwargs)
    return out


def _same_place(tangent: Tensor, primal: Tensor) -> bool:
    """Whether two tensors begin at the same place of memories of one size."""
    a, b = first_of(tangent), first_of(primal)
    return a.ptr - a.storage.ptr == b.ptr - b.storage.ptr and a.storage.nbytes == b.storage.nbytes


def in_layout(tangent: Tensor, primal: Tensor, whole: bool = False) -> Tensor:
    """A copy of the tangent with the strides of the primal; `whole`: in zeros for all of the primal's memory."""
    from .assignment import assign, new_like

    s = primal.spec
    start, span = 0, max(1 + reach(s.shape, s.strides)[1], 0)
    if whole:
        memory = first_of(primal)
        start = (memory.ptr - memory.storage.ptr) // s.dtype.itemsize
        span = memory.storage.nbytes // s.dtype.itemsize
    zeros = new_like(tangent, zeros_of(dense(s.dtype, (span,), s.device)))
    return assign(as_strided_part(zeros, tuple(s.shape), tuple(s.strides), start), tangent)


def _traced(operator: Traced, args: tuple, kwargs: dict, level: Level) -> Any:
    primals = tuple([primal_of(x, level) for x in args])
    tangents = [tangent_of(x, level) for x in args]
    made = transform(operator, primals, kwargs)
    mask = tuple([t is not None for t in tangents])
    if not operator.differentiable or not any(mask):
        return joined(made, None, level)
    plan = unbound_plan(operator, primals, kwargs)
    try:
        push = operator.push(plan, mask)
    except NotImplementedError:  # a scan in the gradient
        return _transposed(operator, args, kwargs, level)
    outs = made if isinstance(made, tuple) else (made,)
    numbers = (*primals, *[kwargs.get(n, d) for n, d in operator.scalars.items()])
    found: list = [None] * len(outs)
    if push.operator is not None:
        sources = {"tangent": tangents, "operand": primals, "out": outs, "number": numbers}
        operands = [sources[kind][i] for kind, i in push.parts]
        if "dims" in kwargs:
            results = push.operator.call_rows(
                *operands, dims=kwargs["dims"], keepdim=kwargs["keepdim"], shape=tuple(plan.shape)
            )
        else:
            results = push.operator.call(*operands)
        for i, t in zip(push.results, results if isinstance(results, tuple) else (results,)):
            found[i] = t if t.spec.shape == outs[i].spec.shape else expand_to(t, tuple(outs[i].spec.shape))
    return joined(made, tuple(found) if isinstance(made, tuple) else found[0], level)


# --- functions ------------------------------------------------------------------------------------------------------

# Of functions that are linear in groups of their arguments: each group together, the groups one at a time.
LINEAR: dict[str, tuple[tuple[str, ...], ...]] = {
    "mm": (("input",), ("mat2",)),
    "bmm_core": (("input",), ("mat2",)),
    "matmul_batched": (("input",), ("other",)),
    "mv": (("input",), ("vec",)),
    "dot": (("input",), ("tensor",)),
    "contract": (("a",), ("b",)),
    "cat": (("tensors",),),
    "stack_core": (("tensors",),),
    "clone": (("input",),),
    "gather": (("input",),),
    "index_select": (("input",),),
    "index": (("input",),),
    "scatter_add": (("input", "src"),),
    "scatter_src": (("input", "src"),),
    "flip_dims": (("input",),),
    "roll_dims": (("input",),),
    "repeat_core": (("input",),),
    "triangle": (("input",),),
    "diag_embed_core": (("input",),),
    "im2col": (("input",),),
    "col2im": (("input",),),
    "embedding_rows": (("weight",),),
    "embed": (("part",),),
    "put_at": (("input",),),
}


def _linear(operator: Any, groups: tuple, args: tuple, kwargs: dict, level: Level) -> Any:
    primals = mapped(lambda x: primal_of(x, level), args)
    made = transform(operator, primals, kwargs)
    total = None
    for group in groups:
        places = [operator.positions[n] for n in group]
        if all(tangent_of(x, level) is None for i in places for x in tensors_in(args[i])):
            continue
        given = list(primals)
        for i in places:
            given[i] = mapped(lambda x: _tangent_or_zeros(x, level), args[i])
        part = transform(operator, tuple(given), kwargs)
        total = part if total is None else OPERATORS["add"].call(total, part)
    return joined(made, total, level)


def _forward(name: str) -> Callable:
    return lambda own: FORWARD.setdefault(name, own)


FORWARD: dict[str, Callable] = {}  # by name: (level, *args) -> dual result


@_forward("linear")
def _(level, input, weight, bias=None):
    linear = OPERATORS["linear"].call
    x, w, b = (primal_of(t, level) for t in (input, weight, bias))
    dx, dw, db = (tangent_of(t, level) for t in (input, weight, bias))
    parts = [] if dx is None else [linear(dx, w)]
    if dw is not None:
        parts.append(linear(x, dw))
    made = linear(x, w, b)
    if db is not None:
        parts.append(expand_to(db, tuple(made.spec.shape)))
    total = None
    for part in parts:
        total = part if total is None else OPERATORS["add"].call(total, part)
    return joined(made, total, level)


@_forward("logcumsumexp_along")
def _(level, input, dim):
    """Its gradient is made of logarithms, and so has no transpose at zero: shares of each sign are summed apart."""
    call = {n: OPERATORS[n].call for n in ("logcumsumexp_along", "exp", "log", "add", "sub", "neg", "clamp_min")}
    x, t = primal_of(input, level), tangent_of(input, level)
    made = call["logcumsumexp_along"](x, dim)
    if t is None:
        return joined(made, None, level)

    def share(part: Tensor) -> Tensor:
        summed = call["logcumsumexp_along"](call["add"](x, call["log"](part)), dim)
        return call["exp"](call["sub"](summed, made))

    if t.spec.dtype.kind == "c":
        return joined(made, share(t), level)
    up, down = call["clamp_min"](t, 0), call["clamp_min"](call["neg"](t), 0)
    return joined(made, call["sub"](share(up), share(down)), level)


@_forward("cholesky_core")
def _(level, A, upper):
    from .factor import cholesky_tangent

    L, info = transform(OPERATORS["cholesky_core"], (primal_of(A, level), upper), {})
    t = tangent_of(A, level)
    return joined((L, info), None if t is None else (cholesky_tangent(t, L, upper), None), level)


@_forward("eigh_core")
def _(level, A, lower):
    from .factor import eigh_tangent

    made = transform(OPERATORS["eigh_core"], (primal_of(A, level), lower), {})
    t = tangent_of(A, level)
    return joined(made, None if t is None else eigh_tangent(t, *made), level)


def _tangent_or_zeros(x: Tensor, level: Level) -> Tensor:
    tangent = tangent_of(x, level)
    return zeros_as(x) if tangent is None else tangent


def _transposed(operator: Any, args: tuple, kwargs: dict, level: Level) -> Any:
    """Forward mode by two backwards, in the graph of the innermost level of what the duals stand for."""
    primals, more = mapped(lambda x: primal_of(x, level), args), mapped(lambda x: primal_of(x, level), kwargs)
    inner = top_of(primals, more, [t for x in tensors_in(args, kwargs) if (t := tangent_of(x, level)) is not None])
    given: list[tuple[Tensor, Tensor]] = []  # what is differentiated, and its tangent

    def ready(x: Tensor) -> Tensor:
        primal, tangent = primal_of(x, level), tangent_of(x, level)
        if tangent is None:
            return primal
        if inner is not None:
            primal = lift(primal, inner)
        own = alias_view(primal) if primal.needs_grad else alias(primal)
        own.needs_grad = True
        given.append((own, tangent))
        return own

    keep = LOCAL.grad and any(anywhere(x) for x in tensors_in(args, kwargs))
    with enable_grad():
        made = transform(operator, mapped(ready, args), mapped(ready, kwargs))
        outs = [o for o in tensors_in(made) if o.needs_grad]
        tangents: dict[int, Tensor] = {}
        if outs:
            seeds = []
            for o in outs:
                seed = zeros_as(o)
                seed = seed if inner is None else lift(seed, inner)
                seed.needs_grad = True
                seeds.append(seed)
            found = differentiate(outs, [x for x, _ in given], seeds, create_graph=True, allow_unused=True)
            pairs = [(g, t) for g, (_, t) in zip(found, given) if g is not None and g.needs_grad]
            pushed: Any = (None,) * len(seeds)
            if pairs:
                pushed = differentiate(
                    [g for g, _ in pairs], seeds, [t for _, t in pairs], create_graph=keep, allow_unused=True
                )
            tangents = {id(o): t for o, t in zip(outs, pushed) if t is not None}

    def finish(o: Tensor) -> Tensor:
        if o.spec.dtype.kind not in "fc":
            return o
        t = tangents.get(id(o))
        if not keep:
            o, t = alias(o), None if t is None else alias(t)
        return dual(o, zeros_as(o) if t is None else t, level)

    return mapped(finish, made)


def lift(x: Tensor, level: Level) -> Tensor:
    from .assignment import lift

    return lift(x, level)
