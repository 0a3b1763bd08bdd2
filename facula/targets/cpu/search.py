"""Binary search in sorted rows as one builtin a dtype, compiled at first use; its text is `search_kernel`'s."""

from collections.abc import Callable
from functools import cache

from facula.core.dtype import dtype
from facula.native import builtins, jit

from . import search_kernel, threads
from .emit import host

__all__ = ["search"]

_NEEDS = threads  # the text calls `facula_parallel`, which this module provides
_NS_A_VALUE = 10.0  # on one thread; decides when the GIL is let go


@cache
def search(element: dtype, right: bool, narrow: bool) -> Callable[..., None]:
    """Where values would be put to keep rows in order: before equal elements, or (`right`) behind them.

    The result is a builtin `search(out, sequence, values, rows, n, m, row_step)`: for each of `rows` rows of `n`
    sorted elements (at least one), `row_step` elements apart (0: one row for all), the places of `m` values. `out`
    holds int64, or int32 with `narrow`; `values` and `out` are row-major. NaN is the largest.

    Examples
    --------
    >>> import numpy as np
    >>> from facula.core.dtype import float64
    >>> row, values, out = np.array([1.0, 2, 2, 5]), np.array([2.0, 9]), np.empty(2, np.int64)
    >>> search(float64, False, False)(out.ctypes.data, row.ctypes.data, values.ctypes.data, 1, 4, 2, 0)
    >>> out
    array([1, 4])
    """
    names = search_kernel.ARGUMENTS
    return builtins.build(
        search_kernel.module_text(element.code, right, "i32" if narrow else "i64", jit.attributes(host()[0])),
        "search",
        ["ptr" if name in search_kernel.POINTERS else "i64" for name in names],
        name=f"search_{element.name}",
        work=[names.index("rows"), names.index("m")],
        cost=_NS_A_VALUE,
        optimize="clean",
    )
