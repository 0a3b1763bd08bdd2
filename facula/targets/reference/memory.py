"""Raw memory as NumPy arrays: what the interpreter and the routines of this target read and write."""

import ctypes
from collections.abc import Callable, Sequence

import numpy as np

from facula.core import float8
from facula.core.dtype import FLOAT8, complex32, dtype

__all__ = ["bits", "decode", "encode", "memory", "read", "reader", "window", "write"]


def bits(t: dtype) -> np.dtype:
    """The NumPy type of what lies in memory; bfloat16 is the upper half of a float32."""
    return np.dtype("u1") if t.kind == "b" else t.bits


def memory(ptr: int, positions: np.ndarray, t: dtype) -> tuple[np.ndarray, np.ndarray]:
    """A flat array over the elements that `positions` touch, and the positions inside it."""
    low, high = int(positions.min()), int(positions.max())
    block = (ctypes.c_char * ((high - low + 1) * t.itemsize)).from_address(ptr + low * t.itemsize)
    return np.frombuffer(memoryview(block), bits(t)), positions - low


def decode(raw: np.ndarray, t: dtype) -> np.ndarray:
    """Values of memory bits; what NumPy lacks becomes the float32 or complex64 of equal value."""
    if t is complex32:
        return np.ascontiguousarray(raw)[..., None].view("f2").astype("f4").view("c8")[..., 0]
    if t in FLOAT8:
        return float8.decode(raw, t)
    if t.numpy is None:
        return (raw.astype("u4") << 16).view("f4")
    return raw != 0 if t.kind == "b" else raw


def encode(value: np.ndarray, t: dtype) -> np.ndarray:
    """Memory bits of values that `t` holds exactly."""
    if t is complex32:
        return np.ascontiguousarray(value, "c8")[..., None].view("f4").astype("f2").view("u4")[..., 0]
    if t in FLOAT8:
        return float8.encode(value, t)
    return (value.view("u4") >> 16).astype("u2") if t.numpy is None else value.astype(bits(t))


def window(ptr: int, t: dtype, shape: Sequence[int], strides: Sequence[int]) -> np.ndarray:
    """The bits of a strided tensor (strides in elements) as an array that writes through."""
    if 0 in shape:
        return np.empty(tuple(shape), bits(t))
    low = sum(min(0, (n - 1) * s) for n, s in zip(shape, strides))
    high = sum(max(0, (n - 1) * s) for n, s in zip(shape, strides))
    block = (ctypes.c_char * ((high - low + 1) * t.itemsize)).from_address(ptr + low * t.itemsize)
    flat = np.frombuffer(memoryview(block), bits(t))
    return np.lib.stride_tricks.as_strided(flat[-low:], tuple(shape), [s * t.itemsize for s in strides])


def read(ptr: int, t: dtype, shape: Sequence[int], strides: Sequence[int]) -> np.ndarray:
    """The values of a strided tensor; bfloat16 as float32."""
    return decode(window(ptr, t, shape, strides), t)


def write(ptr: int, t: dtype, strides: Sequence[int], value: np.ndarray) -> None:
    """Put `value` into a strided tensor of its shape, rounded to `t`."""
    if t.code == "bf16":  # to nearest, ties to even
        whole = value.astype("f4").view("u4")
        rounded = whole + 0x7FFF + (whole >> 16 & 1)
        value = np.where(np.isnan(value), np.uint32(0x7FC00000), rounded).astype("u4").view("f4")
    window(ptr, t, value.shape, strides)[...] = encode(value, t)


def reader(t: dtype) -> Callable[[int], int | float] | None:
    """A function (address) -> Python number; None for dtypes that NumPy lacks."""
    return None if t.numpy is None else lambda ptr: read(ptr, t, (), ()).item()
