"""What a stand-in of a transformation stands for, to be looked at while debugging."""

from facula.core.tensor import Tensor
from facula.core.wrapped import box_of

__all__ = ["debug_unwrap"]


def debug_unwrap(tensor: Tensor, *, recurse: bool = True) -> Tensor:
    """The tensor that a batched or dual one stands for: the one with memory, or one level down."""
    box = box_of(tensor)
    if box is None:
        return tensor
    return debug_unwrap(box.value) if recurse else box.value
