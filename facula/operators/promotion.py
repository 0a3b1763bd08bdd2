"""Which dtype an operation on several operands has: PyTorch's categories of tensors, 0-d tensors and numbers."""

from collections.abc import Iterable
from typing import Any

from facula.core import dtype as dt
from facula.core.dtype import dtype, promote_types
from facula.core.spec import Spec

__all__ = ["DEFAULT", "NUMBERS", "number_dtype", "of_defaults", "opmath", "result_type", "set_default"]


class Default:
    """The dtype of floats that come from Python numbers: `torch.set_default_dtype`."""

    __slots__ = ("float",)

    def __init__(self):
        self.float = dt.float32


DEFAULT = Default()
_MADE_FOR: list[Any] = []  # what operators remember, and would have to forget when the default changes


def of_defaults(memory: Any) -> Any:
    """`memory`, a dictionary or what has `clear`, which is emptied when the default dtype changes."""
    _MADE_FOR.append(memory)
    return memory


def set_default(kind: dtype) -> None:
    """Change the dtype of floats that come from Python numbers."""
    if kind is not DEFAULT.float:
        DEFAULT.float = kind
        for memory in _MADE_FOR:
            memory.clear()


NUMBERS = (bool, int, float, complex)


def number_dtype(kind: type) -> dtype:
    """The dtype of a Python number of this type."""
    if kind is bool:
        return dt.bool_
    if kind is int:
        return dt.int64
    return DEFAULT.float if kind is float else DEFAULT.float.to_complex()


def _combine(higher: dtype | None, lower: dtype | None) -> dtype | None:
    """A category with one of less weight: the lower counts only where it is of a higher kind."""
    if higher is None or lower is None:
        return higher or lower
    if higher.is_complex:
        return higher
    if higher.is_floating_point:
        return higher.to_complex() if lower.is_complex else higher
    if higher is dt.bool_ or lower.is_floating_point or lower.is_complex:
        return promote_types(higher, lower)
    return higher


def result_type(operands: Iterable[Spec | type]) -> dtype:
    """The common dtype of tensors (given by their specs) and Python numbers (given by their types)."""
    dims = zeros = numbers = None
    for x in operands:
        if isinstance(x, Spec):
            if x.shape:
                dims = x.dtype if dims is None else promote_types(dims, x.dtype)
            else:
                zeros = x.dtype if zeros is None else promote_types(zeros, x.dtype)
        else:
            kind = number_dtype(x)
            numbers = kind if numbers is None else promote_types(numbers, kind)
    return _combine(dims, _combine(zeros, numbers)) or DEFAULT.float


def opmath(dtype: dtype) -> dtype:
    """The dtype in which arithmetic on `dtype` is done: float32 for smaller floats, complex64 for complex32."""
    if dtype not in dt.STORED_ONLY:
        return dtype
    return dt.complex64 if dtype.kind == "c" else dt.float32
