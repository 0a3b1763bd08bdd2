"""Convolutions with NumPy, tap by tap; `targets/cpu/convolution.py` documents the arguments."""

import ctypes
from collections.abc import Callable

import numpy as np

from facula.core.dtype import dtype

from .memory import read, write

__all__ = ["convolve", "convolve_weight"]

GEOMETRY = 27  # numbers of a plan before those of the taps


class _Plan:
    """The numbers by name."""

    def __init__(self, address: int):
        numbers = (ctypes.c_int64 * GEOMETRY).from_address(address)
        self.batch, self.groups, self.own, self.channels, count = numbers[:5]
        self.outs, self.sizes, self.steps = numbers[5:8], numbers[8:11], numbers[11:14]
        self.x, self.y, self.w = list(numbers[14:19]), list(numbers[19:24]), list(numbers[24:27])
        taps = (ctypes.c_int64 * (5 * count)).from_address(address + 8 * GEOMETRY)
        self.taps = [taps[5 * i : 5 * i + 5] for i in range(count)]

    def inputs(self, x: int, kind: dtype) -> np.ndarray:
        """(batch, groups, channels, *sizes)"""
        shape = (self.batch, self.groups, self.channels, *self.sizes)
        return read(x, kind, shape, (self.x[0], self.channels * self.x[1], *self.x[1:]))

    def results(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Shape (batch, groups, own, *outs) and strides."""
        shape = (self.batch, self.groups, self.own, *self.outs)
        return shape, (self.y[0], self.own * self.y[1], *self.y[1:])

    def windows(self, x: np.ndarray, offsets) -> np.ndarray:
        """What one tap reads: (batch, groups, channels, *outs), zero outside."""
        for dim, (n, out, step, offset) in enumerate(zip(self.sizes, self.outs, self.steps, offsets), 3):
            at = np.arange(out) * step + offset
            inside = (at >= 0) & (at < n)
            shape = [1] * x.ndim
            shape[dim] = out
            if n == 0:
                x = np.zeros((*x.shape[:dim], out, *x.shape[dim + 1 :]), x.dtype)
            else:
                x = np.where(inside.reshape(shape), np.take(x, np.where(inside, at, 0), dim), 0)
        return x


def _wide(kind: dtype) -> np.dtype:
    return np.dtype("f4" if kind.itemsize == 2 and kind.kind == "f" else kind.numpy)


def convolve(element: dtype, sizes: tuple[int, ...]) -> Callable[..., None]:
    """`out = bias + w * x`; 16-bit floats are summed in float32."""
    wide = _wide(element)

    def call(out, x, w, bias, plan, work):
        p = _Plan(plan)
        given = p.inputs(x, element).astype(wide)
        shape, strides = p.results()
        made = np.zeros(shape, wide)
        if bias:
            made += read(bias, element, (p.groups, p.own), (p.own, 1)).astype(wide)[None, :, :, None, None, None]
        for *offsets, _, weight in p.taps:
            factor = read(w + weight * element.itemsize, element, (p.groups, p.own, p.channels), p.w).astype(wide)
            made += np.einsum("goc,bgcxyz->bgoxyz", factor, p.windows(given, offsets))
        write(out, element, strides, made)

    return call


def convolve_weight(element: dtype, sizes: tuple[int, ...]) -> Callable[..., None]:
    """`w[t] = sum over samples and windows of out * x`; 16-bit floats are summed in float32."""
    wide = _wide(element)

    def call(w, x, out, plan, work):
        p = _Plan(plan)
        given = p.inputs(x, element).astype(wide)
        grad = read(out, element, *p.results()).astype(wide)
        for *offsets, _, weight in p.taps:
            made = np.einsum("bgoxyz,bgcxyz->goc", grad, p.windows(given, offsets))
            write(w + weight * element.itemsize, element, p.w, made.astype(wide))

    return call
