"""The order of rows with NumPy; `targets/cpu/sort.py` documents the arguments."""

from collections.abc import Callable

import numpy as np

from facula.core.dtype import dtype, int64

from .memory import decode, window

__all__ = ["sort"]


def _order(rows: np.ndarray, descending: bool) -> np.ndarray:
    """Places along the last dim, equal ones as they were, NaN the largest."""
    if rows.dtype.kind == "f":
        nan = np.isnan(rows)
        keys = np.where(nan, 0, rows).astype("f8")
        return np.lexsort((-keys, ~nan) if descending else (keys, nan), axis=-1)
    wide = rows if rows.dtype == "u8" else rows.astype("i8")
    return np.argsort(~wide if descending else wide, axis=-1, kind="stable")


def _place(rows: np.ndarray, places: np.ndarray, first: int, how: str) -> np.ndarray:
    """Which element of the order is asked for, for each row."""
    n = rows.shape[-1]
    at = np.full((*rows.shape[:-1], 1), first)
    if how == "mode":
        values = np.take_along_axis(rows, places, -1)
        starts = np.concatenate([np.ones_like(at, bool), values[..., 1:] != values[..., :-1]], -1)
        begin = np.maximum.accumulate(np.where(starts, np.arange(n), 0), -1)
        return np.argmax(np.arange(n) - begin, -1)[..., None]
    if how in ("median", "nanmedian") and rows.dtype.kind == "f":
        missing = np.isnan(rows).sum(-1, keepdims=True)
        return np.maximum(0, (n - missing - 1) // 2) if how == "nanmedian" else np.where(missing > 0, n - missing, at)
    return at


def sort(element: dtype) -> Callable[..., None]:
    """A part of the order of each row."""

    def call(values, indices, input, outer, n, inner, first, count, how, descending):
        bits = np.moveaxis(window(input, element, (outer, n, inner), (n * inner, inner, 1)), 1, -1)
        rows = decode(bits, element)
        places = _order(rows, descending)
        if how in ("order", "first"):
            places = places[..., first : first + count]
        else:
            places = np.take_along_axis(places, _place(rows, places, first, how), -1)
        strides = (count * inner, inner, 1)
        if values:
            made = np.take_along_axis(bits, places, -1)
            window(values, element, (outer, count, inner), strides)[...] = np.moveaxis(made, -1, 1)
        if indices:
            window(indices, int64, (outer, count, inner), strides)[...] = np.moveaxis(places, -1, 1)

    return call
