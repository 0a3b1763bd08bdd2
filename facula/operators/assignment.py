"""Writing in place while functions are transformed: into batched and dual tensors, and of their values into others."""

from typing import Any

from facula import launch
from facula.autograd.node import alias
from facula.core.spec import dense
from facula.core.tensor import Tensor
from facula.core.wrapped import BATCH, Level, batched, become, box_of, dual, top_of
from facula.errors import fail

from . import inplace
from .batching import front, move_batch
from .copying import cast, copy_values
from .declare import function
from .tangents import zeros_as
from .view import as_strided_part, expand_to, unsqueeze

__all__ = ["assign", "lift", "new_like", "written"]


def lift(x: Tensor, level: Level) -> Tensor:
    """The tensor as a stand-in of a level: the same for the whole batch, or without a tangent."""
    if box_of(x, level) is not None:
        return x
    if level.kind == BATCH:
        return batched(expand_to(unsqueeze(x, 0), (level.size, *x.spec.shape)), 0, level)
    return dual(x, None, level)


def batches_of(*tensors: Tensor | None) -> list[Level]:
    """The levels of the batches that tensors stand for, the innermost first."""
    found = []
    for x in tensors:
        while (box := box_of(x)) is not None:
            if box.level.kind == BATCH and box.level not in found:
                found.append(box.level)
            x = box.value
    return sorted(found, key=lambda level: -level.depth)


def new_like(like: Tensor, made: Tensor, *more: Tensor | None) -> Tensor:
    """A new tensor as one for each element of the batches that `like` stands for: it may be written in place."""
    levels = batches_of(like, *more)
    if not levels:
        return made
    s = made.spec
    whole = copy_values(launch.empty(dense(s.dtype, (*[level.size for level in levels], *s.shape), s.device)), made)
    for number in reversed(range(len(levels))):
        whole = batched(whole, number, levels[number])
    return whole


def assign(target: Tensor, source: Tensor) -> Tensor:
    """Write the elements of `source`, broadcast and converted, over those of `target`, whatever either stands for."""
    own, level = box_of(target), top_of(source)
    if own is None and level is None:
        return inplace.copy_(target, source)
    if source.spec.shape != target.spec.shape:
        source = expand_to(source, tuple(target.spec.shape))
    source = cast(source, target.spec.dtype)
    inplace.check_leaf(target)
    theirs = box_of(source)
    if own is None or (theirs is not None and theirs.level.depth > own.level.depth):
        _upward(target, source)
        return target
    level = own.level
    if level.kind == BATCH:
        assign(move_batch(own.value, own.dim), front(source, level) if theirs is not None else source)
    else:
        _into_dual(target, own, source)
    own.version += 1
    _history(target, source if box_of(source, level) is not None else None)
    return target


def _into_dual(target: Tensor, own: Any, source: Tensor) -> None:
    theirs = box_of(source, own.level)
    assign(own.value, source if theirs is None else theirs.value)
    tangent = None if theirs is None else theirs.tangent
    before = own.tangent
    if before is None:
        larger = tangent is not None
    else:
        shared = any(n > 1 and step == 0 for n, step in zip(before.spec.shape, before.spec.strides))
        larger = shared or bool(set(batches_of(tangent)) - set(batches_of(before)))
    like = before if tangent is None else tangent
    if larger and like is not None:
        _enlarge(target, like)
        own = target.storage
    if own.tangent is not None:
        assign(own.tangent, zeros_as(own.tangent) if tangent is None else tangent)


def _enlarge(target: Tensor, like: Tensor) -> None:
    """Give a dual tensor, and what it is a view of, a tangent that may differ where `like` does."""
    box: Any = target.storage
    if box.source is not None:
        base, operator, args, kwargs = box.source
        _enlarge(base, like)
        become(target, operator.call(base, *args, **kwargs))
        return
    before = box.tangent
    box.tangent = new_like(like, zeros_as(target), before)
    if before is not None:
        assign(box.tangent, before)


def _history(target: Tensor, source: Tensor | None) -> None:
    """After `target` took over what `source` made: its node, and that of what it is a view of."""
    box: Any = target.storage
    if box.source is not None:
        base, operator, args, kwargs = box.source
        if (source is not None and source.needs_grad) or base.needs_grad:
            shell = alias(base)
            shell.needs_grad, shell.edge = base.needs_grad, base.edge
            part = alias(target)
            if source is not None:
                part.needs_grad, part.edge = source.needs_grad, source.edge
            made = written(shell, part, operator, args, kwargs)
            _history(base, made)
            seen = operator.call(base, *args, **kwargs)
            target.edge, target.needs_grad = seen.edge, seen.needs_grad
        return
    target.edge = None if source is None else source.edge
    target.needs_grad = source is not None and source.needs_grad


def _upward(target: Tensor, source: Tensor) -> None:
    """A target that stands for less than what is written into it."""
    box: Any = source.storage
    if box.level.kind == BATCH:
        fail(
            RuntimeError,
            "vmap: inplace arithmetic(self, *extra_args) is not possible because there exists a Tensor `other` in "
            "extra_args that has more elements than `self`. This happened due to `other` being vmapped over but `self` "
            "not being vmapped over in a vmap. Please try to use out-of-place operators instead of inplace arithmetic. "
            "If said operator is being called inside the PyTorch framework, please file a bug report instead.",
        )
    if box.tangent is None:
        assign(target, box.value)
        return
    _make_dual(target, box.level, box.tangent)
    assign(target, source)


def _make_dual(target: Tensor, level: Level, like: Tensor) -> None:
    """Give a tensor, and what it is a view of, a tangent of zeros, batched as `like` is."""
    box: Any = box_of(target)
    if box is not None and box.level is level:
        return
    if box is not None and box.source is not None:
        base, operator, args, kwargs = box.source
        _make_dual(base, level, like)
        become(target, operator.call(base, *args, **kwargs))
    elif target.base is not None:
        base = target.base
        offset = (target.ptr - base.ptr) // base.spec.dtype.itemsize
        _make_dual(base, level, like)
        become(target, as_strided_part(base, tuple(target.spec.shape), target.spec.strides, offset))
    else:
        plain = alias(target)
        plain.edge, plain.needs_grad, plain.seen = target.edge, target.needs_grad, target.seen
        become(target, dual(plain, new_like(like, zeros_as(target)), level))


@function(tensors=("base", "part"))
def written(base, part, operator, args, kwargs):
    """`base` after `part` was written over its view `operator(*args, **kwargs)`: for the record alone."""
    return alias(base)


@written.gradient("base")
def _(grad, operator, args, kwargs, base_spec):
    from .elementwise import sub
    from .view import embed

    return sub(grad, embed(operator.call(grad, *args, **kwargs), base_spec, operator, args, kwargs))


@written.gradient("part")
def _(grad, operator, args, kwargs):
    return operator.call(grad, *args, **kwargs)
