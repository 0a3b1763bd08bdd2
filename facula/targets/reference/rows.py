"""Rows of a table by index with NumPy; `targets/cpu/rows.py` documents the arguments."""

from collections.abc import Callable

import numpy as np

from facula.core.dtype import int32, int64, uint8

from .memory import read, write

__all__ = ["rows"]


def rows() -> Callable[..., int]:
    """Row index[i] of a table to row i of the result."""

    def call(out, table, index, count, size, bytes, step, index_step, wide):
        places = read(index, int64 if wide else int32, (count,), (index_step,)).astype("i8")
        wrong = np.flatnonzero((places < 0) | (places >= size))
        if len(wrong):
            return int(wrong[0])
        write(out, uint8, (bytes, 1), read(table, uint8, (size, bytes), (step, 1))[places])
        return -1

    return call
