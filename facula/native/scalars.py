"""Builtins that read one element at an address as a Python number: what `Tensor.item` calls."""

from collections.abc import Callable
from functools import cache

from facula.core.dtype import dtype

from . import builtins

__all__ = ["reader"]

# LLVM type in memory, the widening to what Python's number is made of, the kind of result of `builtins`.
_WIDENED = {
    "f64": ("double", "", "f64"), "f32": ("float", "fpext float {} to double", "f64"),
    "f16": ("half", "fpext half {} to double", "f64"), "i64": ("i64", "", "i64"),
    "i32": ("i32", "sext i32 {} to i64", "i64"), "i16": ("i16", "sext i16 {} to i64", "i64"),
    "i8": ("i8", "sext i8 {} to i64", "i64"), "u8": ("i8", "zext i8 {} to i64", "i64"),
    "u16": ("i16", "zext i16 {} to i64", "i64"), "u32": ("i32", "zext i32 {} to i64", "i64"),
}  # fmt: skip


@cache
def reader(element: dtype) -> Callable[[int], int | float] | None:
    """The builtin (address) -> number; None for dtypes that need more than a load.

    >>> import numpy as np
    >>> from facula.core.dtype import float32
    >>> reader(float32)(np.array([1.5], "f4").ctypes.data)
    1.5
    """
    if element.code not in _WIDENED:
        return None
    memory, widen, result = _WIDENED[element.code]
    kind = {"f64": "double", "i64": "i64"}[result]
    value = "%x"
    text = f"define internal {kind} @read(ptr %at) nounwind alwaysinline {{\n  %x = load {memory}, ptr %at\n"
    if widen:
        text += f"  %wide = {widen.format('%x')}\n"
        value = "%wide"
    return builtins.build(text + f"  ret {kind} {value}\n}}\n", "read", ["ptr"], result, name="item", optimize="none")
