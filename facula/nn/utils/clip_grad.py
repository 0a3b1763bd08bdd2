"""Gradients made smaller where they are too large."""

import types
import warnings
from collections.abc import Iterable

from facula.autograd import no_grad
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.operators import linalg, many, stack, tensor

__all__ = ["clip_grad_norm", "clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]


def _listed(tensors: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _grads(parameters: Iterable[Tensor]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def _together(grads: list[Tensor]) -> bool:
    """Whether all gradients can be changed in one launch: no history follows them, no two share memory."""
    return (
        not any(grad.is_sparse for grad in grads)
        and many.alike(grads)
        and not any(grad.edge is not None or grad.needs_grad for grad in grads)
        and len({grad.ptr for grad in grads}) == len(grads)
    )


def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of all tensors together, as if they were one vector."""
    tensors = [t.coalesce().values() if t.is_sparse else t for t in _listed(tensors)]
    norm_type = float(norm_type)
    if not tensors:
        return tensor(0.0)
    with no_grad():
        if norm_type in many.NORMS and many.alike(tensors) and all(t.spec.numel for t in tensors):
            total = many.norm(tensors, norm_type)
        else:
            norms = [linalg.vector_norm(t, norm_type).to(tensors[0].device) for t in tensors]
            total = linalg.vector_norm(stack(norms), norm_type)
    if error_if_nonfinite and not bool(total.isfinite()):
        fail(
            RuntimeError,
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it cannot be "
            "clipped. To disable this error and scale the gradients by the non-finite norm anyway, set "
            "`error_if_nonfinite=False`",
        )
    return total


def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale all gradients by max_norm / total_norm, if that is less than 1."""
    grads = _grads(_listed(parameters))
    if grads:
        with no_grad():
            factor = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
            like = grads[0]
            if _together(grads) and factor.dtype is like.dtype and factor.device is like.device:
                many.scale_(grads, factor)
            else:
                for grad in grads:
                    grad.mul_(factor.to(grad.device))


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale all gradients together, so that their norm is at most `max_norm`; returns the norm that they had.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
    max_norm, norm_type : float
    error_if_nonfinite : bool
        Whether an infinite or NaN norm is an error.
    foreach : bool, optional
        Accepted; there is one implementation.
    """
    generator = isinstance(parameters, types.GeneratorType)
    parameters = _listed(parameters)
    if generator and not parameters:
        warnings.warn("`parameters` is an empty generator, no gradient clipping will occur.", stacklevel=2)
    total = get_total_norm(_grads(parameters), norm_type, error_if_nonfinite, foreach)
    clip_grads_with_norm_(parameters, max_norm, total, foreach)
    return total


def clip_grad_norm(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The old name of `clip_grad_norm_`."""
    warnings.warn(
        "`torch.nn.utils.clip_grad_norm` is now deprecated in favor of `torch.nn.utils.clip_grad_norm_`.",
        FutureWarning,
        stacklevel=2,
    )
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Limit each element of the gradients to [-clip_value, clip_value]."""
    clip_value = float(clip_value)
    grads = _grads(_listed(parameters))
    if _together(grads) and clip_value == clip_value:
        many.clamp_(grads, -clip_value, clip_value)
    else:
        with no_grad():
            for grad in grads:
                grad.clamp_(min=-clip_value, max=clip_value)
