"""Choosing by mask with NumPy; `targets/cpu/mask.py` documents the arguments."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from facula.core.dtype import int64, uint8

from .memory import window

__all__ = ["masks"]


class Masks(NamedTuple):
    """How many are chosen; the chosen elements; their coordinates."""

    count: Callable
    select: Callable
    coordinates: Callable


def _chosen(mask: int, n: int) -> np.ndarray:
    return window(mask, uint8, (n,), (1,)) != 0


def _count(mask, n):
    return int(_chosen(mask, n).sum()), None


def _select(size: int):
    def call(mask, n, counts, input, out):
        found = window(input, uint8, (n, size), (size, 1))[_chosen(mask, n)]
        window(out, uint8, found.shape, (size, 1))[...] = found

    return call


def _coordinates(mask, n, counts, out, total, shape):
    found = np.stack(np.nonzero(_chosen(mask, n).reshape(shape)))
    window(out, int64, found.shape, (total, 1))[...] = found


masks = Masks(_count, _select, _coordinates)
