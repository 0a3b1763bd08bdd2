"""Tensors that stand for others while a function is transformed: batched ones (vmap), dual ones (forward mode).

A stand-in is a `Tensor` record of the logical shape whose storage is a `Box`: it holds the tensors that it stands for.
These may be stand-ins of outer levels. Its spec has the kind `WRAPPED`, so that no operator has a plan for it.
"""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .modes import GUARD, LOCAL
from .spec import spec
from .storage import Storage
from .tensor import Tensor

__all__ = [
    "BATCH", "DUAL", "WRAPPED", "Box", "Level", "Unbatchable", "anywhere", "batched", "become", "box_of", "dual",
    "enter", "first_of", "followed", "leave", "mapped", "memory_of", "opened", "tensors_in", "top_of",
]  # fmt: skip

WRAPPED = "wrapped"
BATCH, DUAL = "batch", "dual"


class Unbatchable(TypeError):
    """Something asked for the memory of a batched tensor: `vmap` then runs the function for one element at a time."""


class Level:
    """One open transformation: what its stand-ins have in common."""

    __slots__ = ("alive", "depth", "kind", "members", "randomness", "size")

    def __init__(self, kind: str, size: int = 0, randomness: str = "error"):
        self.kind, self.size, self.randomness = kind, size, randomness
        self.depth = 0
        self.alive = False
        self.members: list | None = None  # weak references to its stand-ins, where these may outlive it


class Box(Storage):
    """In the place of memory: the tensors that a stand-in stands for."""

    __slots__ = ("dim", "level", "source", "tangent", "value")

    level: Level
    value: Tensor  # with the dim of the batch; or the primal
    dim: int  # of the batch in `value`
    tangent: Any  # of a dual tensor
    source: Any  # of a view: the stand-in that it was made of

    def __init__(self, level: Level, value: Tensor):
        super().__init__(value.storage.ptr, value.storage.nbytes, value, value.spec.device)
        self.level, self.value = level, value
        self.dim, self.tangent, self.source = 0, None, None


def _record(box: Box, shape, strides, ptr) -> Tensor:
    value = box.value.spec
    out = object.__new__(Tensor)
    out.spec = spec(value.dtype, value.device, tuple(shape), tuple(strides), WRAPPED)
    out.storage, out.ptr = box, ptr
    out.needs_grad, out.edge, out.base, out.seen, out.extra, out._grad = False, None, None, 0, None, None
    return out


def batched(value: Tensor, dim: int, level: Level) -> Tensor:
    """The stand-in for the parts of `value` along `dim`."""
    box = Box(level, value)
    s = value.spec
    box.dim = dim
    return _record(box, (*s.shape[:dim], *s.shape[dim + 1 :]), (*s.strides[:dim], *s.strides[dim + 1 :]), None)


def dual(primal: Tensor, tangent: Tensor | None, level: Level) -> Tensor:
    """The stand-in for `primal` with a tangent (None: zero); who asks for memory gets that of `primal`."""
    box = Box(level, primal)
    box.tangent = tangent
    out = _record(box, primal.spec.shape, primal.spec.strides, primal.ptr)
    if level.members is not None:
        level.members.append(weakref.ref(out))
    return out


def become(target: Tensor, made: Tensor) -> None:
    """Have a record be what another is."""
    target.spec, target.storage, target.ptr = made.spec, made.storage, made.ptr
    target.base, target.edge, target.needs_grad, target.seen = made.base, made.edge, made.needs_grad, made.seen


def box_of(x: Any, level: Level | None = None) -> Box | None:
    """The box of a stand-in (of that level), None for anything else."""
    if not isinstance(x, Tensor) or x.spec.kind is not WRAPPED:
        return None
    box: Any = x.storage
    return box if level is None or box.level is level else None


def tensors_in(*values: Any) -> Iterator[Tensor]:
    """The tensors in arguments, lists and dicts looked into."""
    for x in values:
        if isinstance(x, Tensor):
            yield x
        elif isinstance(x, (tuple, list)):
            yield from tensors_in(*x)
        elif isinstance(x, dict):
            yield from tensors_in(*x.values())


def top_of(*values: Any) -> Level | None:
    """The innermost level among the stand-ins in arguments: the one to be looked at first."""
    top = None
    for x in tensors_in(*values):
        if x.spec.kind is WRAPPED:
            level = x.storage.level  # type: ignore[attr-defined]
            if top is None or level.depth > top.depth:
                top = level
    return top


def anywhere(x: Tensor) -> bool:
    """Whether a tensor, or one that it stands for, needs a gradient."""
    box = box_of(x)
    if x.needs_grad or box is None:
        return x.needs_grad
    return anywhere(box.value) or (box.tangent is not None and anywhere(box.tangent))


def followed(x: Tensor) -> bool:
    """Whether backward or a function transform follows what is done with a tensor."""
    return x.needs_grad or x.spec.kind is not None


_NUMBERS = frozenset((bool, int, float, str, type(None)))


def mapped(function: Any, value: Any) -> Any:
    """`value` with `function(x)` in the place of each tensor, lists and dicts looked into."""
    if isinstance(value, Tensor):
        return function(value)
    if value.__class__ in (tuple, list):
        return value.__class__([x if x.__class__ in _NUMBERS else mapped(function, x) for x in value])
    if isinstance(value, tuple):  # named
        return value.__class__(*[mapped(function, x) for x in value]) if hasattr(value, "_fields") else value
    if value.__class__ is dict:
        return {k: mapped(function, x) for k, x in value.items()}
    return value


def first_of(x: Tensor) -> Tensor:
    """The tensor with memory that a stand-in stands for; of a batch, where its first element begins."""
    while x.spec.kind is WRAPPED:
        x = x.storage.value  # type: ignore[attr-defined]
    return x


def memory_of(x: Tensor) -> Tensor:
    """The tensor with memory that a stand-in stands for, tangents left aside; Unbatchable where it is a batch."""
    while x.spec.kind is WRAPPED:
        box: Any = x.storage
        if box.level.kind == BATCH:
            raise Unbatchable("the elements of a batched tensor are not in one place")
        x = box.value
    return x


def enter(level: Level) -> None:
    """Open a level: operators look for stand-ins from now on."""
    GUARD.change(1)
    LOCAL.special += 1
    level.depth = LOCAL.levels[-1].depth + 1 if LOCAL.levels else 1
    level.alive = True
    LOCAL.levels = (*LOCAL.levels, level)


def leave(level: Level) -> None:
    """Close the level opened last."""
    level.alive = False
    LOCAL.levels = LOCAL.levels[:-1]
    LOCAL.special -= 1
    GUARD.change(-1)


@contextmanager
def opened(level: Level) -> Iterator[Level]:
    """The level open in a block."""
    enter(level)
    try:
        yield level
    finally:
        leave(level)
