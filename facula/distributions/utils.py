"""What distributions share: broadcasting of parameters, probabilities and logits, properties computed once."""

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

from facula.autograd import enable_grad
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.operators import arange, broadcast_tensors, empty, finfo, log, log1p, sigmoid, softmax, tensor
from facula.operators.promotion import DEFAULT

__all__ = [
    "broadcast_all",
    "clamp_probs",
    "lazy_property",
    "logits_to_probs",
    "probs_to_logits",
    "tril_matrix_to_vec",
    "vec_to_tril_matrix",
]

euler_constant = 0.57721566490153286060
NUMBER = (bool, int, float)


def broadcast_all(*values: Tensor | float) -> tuple[Tensor, ...]:
    """Tensors of one shape; numbers take the dtype and the device of the first tensor, or the default ones."""
    first = next((v for v in values if isinstance(v, Tensor)), None)
    made = []
    for value in values:
        if isinstance(value, NUMBER):
            kind: dict[str, Any] = (
                {"dtype": DEFAULT.float} if first is None else {"dtype": first.dtype, "device": first.device}
            )
            value = tensor(value, **kind)
        elif not isinstance(value, Tensor):
            fail(
                ValueError,
                "Input arguments must all be instances of Number, torch.Tensor or objects implementing "
                "__torch_function__.",
                got=type(value).__name__,
            )
        made.append(value)
    if all(value.shape == made[0].shape for value in made):
        return tuple(made)
    return tuple(broadcast_tensors(*made))


def standard_normal(shape: Any, like: Tensor) -> Tensor:
    """Standard normal numbers of the dtype and on the device of `like`."""
    return empty(shape, dtype=like.dtype, device=like.device).normal_()


def sum_rightmost(value: Tensor, dim: int) -> Tensor:
    """The sum over the last `dim` dims."""
    return value.reshape((*value.shape[:-dim], -1)).sum(-1) if dim else value


def logits_to_probs(logits: Tensor, is_binary: bool = False) -> Tensor:
    """Probabilities: of log odds if binary, else of unnormalized log probabilities along the last dim."""
    return sigmoid(logits) if is_binary else softmax(logits, -1)


def clamp_probs(probs: Tensor) -> Tensor:
    """Probabilities within [eps, 1 - eps]."""
    eps = finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)


def probs_to_logits(probs: Tensor, is_binary: bool = False) -> Tensor:
    """Log odds if binary, else log probabilities."""
    inside = clamp_probs(probs)
    return log(inside) - log1p(-inside) if is_binary else log(inside)


def unknown(self: Any) -> Any:
    """The getter of a property that a base class names and leaves to others, who may give a value instead."""
    raise NotImplementedError


class lazy_property:  # noqa: N801 - PyTorch's name
    """A property that is computed when first read, and is a plain attribute from then on."""

    def __init__(self, wrapped: Callable) -> None:
        self.wrapped = wrapped
        update_wrapper(self, wrapped)  # pyright: ignore[reportArgumentType] - its stub wants a callable

    def __get__(self, instance: Any, obj_type: Any = None) -> Any:
        if instance is None:
            return self
        with enable_grad():
            value = self.wrapped(instance)
        setattr(instance, self.wrapped.__name__, value)
        return value


def _below(n: int, diag: int, device: Any) -> Tensor:
    """Which elements of an n x n matrix lie on the diagonal `diag` or below it."""
    places = arange(n, device=device)
    return places < places.view(-1, 1) + (diag + 1)


def tril_matrix_to_vec(mat: Tensor, diag: int = 0) -> Tensor:
    """(..., D, D) -> the elements on the diagonal `diag` and below it, row by row."""
    n = mat.shape[-1]
    if not -n <= diag < n:
        fail(ValueError, f"diag ({diag}) provided is outside [{-n}, {n - 1}].")
    return mat[..., _below(n, diag, mat.device)]


def vec_to_tril_matrix(vec: Tensor, diag: int = 0) -> Tensor:
    """The inverse of `tril_matrix_to_vec`: elsewhere the matrix is 0."""
    count, offset = vec.shape[-1], 1 + 2 * diag
    n = (-offset + (offset**2 + 8 * count + 4 * abs(diag) * (diag + 1)) ** 0.5) / 2
    if round(n) - n > finfo(vec.dtype).eps:
        fail(
            ValueError,
            f"The size of last dimension is {count} which cannot be expressed as the lower triangular part of a square "
            "D x D matrix.",
        )
    n = round(n)
    made = vec.new_zeros((*vec.shape[:-1], n, n))
    made[..., _below(n, diag, vec.device)] = vec
    return made
