"""Forward mode: tensors that carry a tangent, as `torch.autograd.forward_ad`.

What operators do with tangents is in `operators/tangents.py`; here is how they come in and out.
"""

from typing import NamedTuple

from facula.core.modes import GUARD, LOCAL
from facula.core.tensor import Tensor
from facula.core.wrapped import DUAL, Level, become, box_of, dual, enter, leave
from facula.errors import fail

from .node import alias

__all__ = ["UnpackedDualTensor", "dual_level", "enter_dual_level", "exit_dual_level", "make_dual", "unpack_dual"]

_OPEN: list[Level] = []


class UnpackedDualTensor(NamedTuple):
    """What `unpack_dual` returns; `tangent` is None where the tensor has none."""

    primal: Tensor
    tangent: Tensor | None


def enter_dual_level() -> int:
    """Open a level of forward mode."""
    if _OPEN:
        fail(RuntimeError, "Nested forward mode AD is not supported at the moment")
    level = Level(DUAL)
    level.members = []
    enter(level)
    _OPEN.append(level)
    return len(_OPEN) - 1


def exit_dual_level(*, level: int | None = None) -> None:
    """Close the level: its dual tensors are their primals from now on."""
    if not _OPEN:
        fail(
            RuntimeError,
            "Trying to exit a forward AD level that was not the last one that was created. This is not supported.",
        )
    own = _OPEN.pop()
    leave(own)
    for member in own.members or ():
        tensor = member()
        box = None if tensor is None else box_of(tensor, own)
        if tensor is not None and box is not None:
            become(tensor, box.value)


class dual_level:
    """In this block tensors may carry tangents.

    Examples
    --------
    >>> import facula as torch
    >>> from facula.autograd import forward_ad
    >>> x, v = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 0.0])
    >>> with forward_ad.dual_level():
    ...     out = forward_ad.make_dual(x, v) ** 2
    ...     print(forward_ad.unpack_dual(out).tangent)
    tensor([2., 0.])
    """

    def __enter__(self) -> int:
        return enter_dual_level()

    def __exit__(self, *_) -> None:
        exit_dual_level()

    def __call__(self, function):
        import functools

        @functools.wraps(function)
        def inside(*args, **kwargs):
            with dual_level():
                return function(*args, **kwargs)

        return inside


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """A tensor with a tangent: a view of `tensor`."""
    if not _OPEN:
        fail(
            RuntimeError,
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual_level() first.",
        )
    for what, x in (("primal", tensor), ("tangent", tangent)):
        if x.spec.dtype.kind not in "fc":
            fail(ValueError, f"Expected {what} to be floating point or complex, but got: {x.spec.dtype!r}")
    check_tangent(tensor, tangent)
    found = box_of(tensor, _OPEN[-1])
    primal = _view(tensor if found is None else found.value)
    return dual(primal, tangent, _OPEN[-1])


def check_tangent(primal: Tensor, tangent: Tensor) -> None:
    """RuntimeError unless the tangent has shape and dtype of the primal."""
    if primal.spec.shape != tangent.spec.shape:
        fail(
            RuntimeError,
            f"Expected tangent to have the same size as the primal, got {list(tangent.spec.shape)} for "
            f"{list(primal.spec.shape)}",
        )
    if primal.spec.dtype is not tangent.spec.dtype:
        fail(
            RuntimeError,
            f"Expected tangent to have the same dtype as the primal, got {tangent.spec.dtype!r} for "
            f"{primal.spec.dtype!r}",
        )


def _view(tensor: Tensor) -> Tensor:
    return tensor.view_as(tensor) if tensor.needs_grad else alias(tensor)  # type: ignore[attr-defined]


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """A tensor's primal and tangent."""
    if not _OPEN:
        return UnpackedDualTensor(tensor, None)
    box = box_of(tensor, _OPEN[-1])
    return UnpackedDualTensor(tensor, None) if box is None else UnpackedDualTensor(_view(box.value), box.tangent)


class _set_fwd_grad_enabled:
    """Accepted for programs that name it: forward mode follows the dual tensors alone."""

    def __init__(self, mode: bool):
        self.mode = mode

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_) -> None:
        return None


def _is_fwd_grad_enabled() -> bool:
    return bool(GUARD.active and LOCAL.levels)
