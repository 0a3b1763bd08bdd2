"""Sorting and selecting along rows as one builtin a dtype, compiled at first use; its text is `sort_kernel`'s."""

from collections.abc import Callable
from functools import cache

from facula.core.dtype import dtype
from facula.native import builtins, jit

from . import sort_kernel, threads
from .emit import host
from .pool import new_storage

__all__ = ["sort"]

_NEEDS = threads  # the text calls `facula_parallel`, which this module provides
_NS_AN_ELEMENT = 8.0  # on one thread; decides when the GIL is let go


@cache
def sort(element: dtype) -> Callable[..., None]:
    """The order of the elements of each row of one dtype.

    The result is a function ::

        sort(values, indices, input, outer, n, inner, first, count, how, descending)

    of a row-major input of shape (outer, n, inner), whose rows lie along the middle dim.

    Parameters
    ----------
    values, indices, input : int
        Addresses. `values` and `indices` (int64) have the shape (outer, count, inner); 0 where they are not wanted.
    outer, n, inner : int
        Sizes, at least 1; n below 2**32.
    first, count : int
        What of the order of a row is written.
    how : str
        "order": elements `first` to ``first + count`` of the order. "first": the same with ``first = 0``, fast for a
        small count. "kth": one element. "median", "nanmedian": one element, `first` where no NaN is.
        "mode": the last of the first longest run of equal elements.
    descending : bool
        NaN is the largest, -0 equal to 0; equal elements keep their order in both directions.

    Examples
    --------
    >>> import numpy as np
    >>> from facula.core.dtype import float32
    >>> x, values, indices = np.array([3, 1, 2], "f"), np.empty(3, "f"), np.empty(3, np.int64)
    >>> sort(float32)(values.ctypes.data, indices.ctypes.data, x.ctypes.data, 1, 3, 1, 0, 3, "order", False)
    >>> values, indices
    (array([1., 2., 3.], dtype=float32), array([1, 2, 0]))
    """
    names = sort_kernel.ARGUMENTS
    routine = builtins.build(
        sort_kernel.module_text(element.code, jit.attributes(host()[0])),
        "sort",
        ["ptr" if name in sort_kernel.POINTERS else "i64" for name in names],
        name=f"sort_{element.name}",
        work=[names.index(size) for size in ("outer", "n", "inner")],
        cost=_NS_AN_ELEMENT,
        optimize="clean",
    )
    how_codes, scratch_bytes = sort_kernel.HOW, sort_kernel.scratch_bytes

    def call(values, indices, input, outer, n, inner, first, count, how, descending):
        scratch = new_storage(scratch_bytes(outer * inner, n))
        routine(
            values, indices, input, scratch.ptr, outer, n, inner, first, count, how_codes[how], 1 if descending else 0
        )

    return call
