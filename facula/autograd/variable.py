"""`Variable`, the wrapper of PyTorch's early years: today a tensor is all that it was."""

from facula.core.tensor import Tensor

__all__ = ["Variable"]


class _Meta(type):
    def __instancecheck__(cls, instance) -> bool:
        return isinstance(instance, Tensor)


class Variable(metaclass=_Meta):
    """`Variable(data, requires_grad=False)`: a tensor on the same memory."""

    def __new__(cls, data: Tensor, requires_grad: bool = False, volatile: bool = False) -> Tensor:  # type: ignore[misc]
        out = data.detach()
        return out.requires_grad_() if requires_grad else out
