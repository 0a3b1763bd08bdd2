"""Binary search in sorted rows with NumPy; `targets/cpu/search.py` documents the arguments."""

from collections.abc import Callable

import numpy as np

from facula.core.dtype import dtype, int32, int64

from .memory import read, window

__all__ = ["search"]


def search(element: dtype, right: bool, narrow: bool) -> Callable[..., None]:
    """The places of values in sorted rows."""

    def call(out, sequence, values, rows, n, m, row_step):
        sorted_rows = read(sequence, element, (rows, n), (row_step, 1))
        wanted = read(values, element, (rows, m), (m, 1))
        made = window(out, int32 if narrow else int64, (rows, m), (m, 1))
        for row, some, place in zip(sorted_rows, wanted, made):
            place[...] = np.searchsorted(row, some, "right" if right else "left")

    return call
