"""The matrix product of CPUs as one builtin a dtype, compiled at first use; its text is `matmul_kernel`'s."""

import ctypes
import platform
from collections.abc import Callable
from functools import cache
from math import prod

from facula.core.dtype import dtype
from facula.errors import fail
from facula.native import builtins, jit

from . import matmul_kernel, threads

__all__ = ["BoundProduct", "bind", "build", "matmul"]

_NEEDS = threads  # the text calls `facula_parallel`, which this module provides
_NS_A_PRODUCT = 0.02  # of one multiplication and addition, on one thread; decides when the GIL is let go


@cache
def matmul(element: dtype) -> Callable[..., None]:
    """The product of batches of matrices of one dtype, with any strides.

    The result is a builtin ::

        product(c, a, b, batch, m, n, k,
                c_batch, c_row, c_col, a_batch, a_row, a_k, b_batch, b_k, b_col,
                alpha, beta, bias, bias_row, bias_col)

    which computes ``C[i] = alpha * A[i] @ B[i] + beta * C[i] + bias`` for i in range(batch), where C[i] is m x n, A[i]
    m x k, B[i] k x n.

    Parameters
    ----------
    c, a, b : int
        Addresses of the first elements. C overlaps neither A nor B nor itself.
    batch, m, n, k : int
        Sizes, which may be zero; k = 0 gives ``beta * C + bias``.
    c_batch ... b_col : int
        Strides in elements: `a_k` is the step in A from column to column, `b_k` in B from row to row. Those of A and B
        may be zero or negative.
    alpha, beta : float
        C is not read where beta is zero. Integers for integer dtypes; for complex ones two numbers each, real and
        imaginary part (so that the call has 23 arguments).
    bias : int
        The address of what is added to each C[i], with strides `bias_row` and `bias_col`; 0 for none.

    Notes
    -----
    float16 and bfloat16 are summed in float32 and rounded once; integers wrap around. The bits of the result depend on
    the shapes and strides, not on the number of threads. Long products let go of the GIL.

    Raises
    ------
    RuntimeError
        There is no product of this dtype (bool).

    Examples
    --------
    >>> import numpy as np
    >>> from facula.core.dtype import float32
    >>> a, b = np.ones((2, 3), "f"), np.full((3, 4), 2.0, "f")
    >>> c = np.empty((2, 4), "f")
    >>> matmul(float32)(c.ctypes.data, a.ctypes.data, b.ctypes.data, 1, 2, 4, 3,
    ...                 0, 4, 1, 0, 3, 1, 0, 4, 1, 1.0, 0.0, 0, 0, 0)
    >>> c[0]
    array([6., 6., 6., 6.], dtype=float32)
    """
    host = jit.machine.ready()
    return build(element, matmul_kernel.shape_for(host.features, platform.machine().lower()))


def build(element: dtype, shape: matmul_kernel.Shape) -> Callable[..., None]:
    """The builtin for a given register tile, which the host must be able to run."""
    return _builtins(element, shape)["matmul"]


class BoundProduct:
    """`matmul(element)` with everything but the addresses settled: `function(c, a, b, bias, *tail)`."""

    __slots__ = ("function", "record", "tail")

    def __init__(self, element: dtype, shape: matmul_kernel.Shape, fields: dict[str, int | float | complex]):
        self.function = _builtins(element, shape)["bound"]
        self.record = ctypes.create_string_buffer(matmul_kernel.template(element.code, fields))
        work = prod(int(fields.get(name, 1).real) for name in ("outer", "batch", "m", "n", "k"))
        self.tail = (ctypes.addressof(self.record), work)

    def __call__(self, c: int, a: int, b: int, bias: int = 0) -> None:
        self.function(c, a, b, bias, *self.tail)


def bind(element: dtype, **fields: int | float | complex) -> BoundProduct:
    """`matmul(element)` with everything but the addresses settled, far cheaper to call.

    Parameters
    ----------
    batch, m, n, k, c_batch, c_row, c_col, a_batch, a_row, a_k, b_batch, b_k, b_col, alpha, beta, bias_row, bias_col
        As in `matmul`; strides that are not given are zero.
    outer, c_outer, a_outer, b_outer, bias_outer, bias_batch : int
        A second batch dim around the first, with its strides, and a bias for each item.

    Examples
    --------
    >>> import numpy as np
    >>> from facula.core.dtype import float32
    >>> a, b, c = np.ones((2, 3), "f"), np.full((3, 4), 2.0, "f"), np.empty((2, 4), "f")
    >>> sizes = dict(batch=1, m=2, n=4, k=3, c_row=4, c_col=1, a_row=3, a_k=1, b_k=4, b_col=1, alpha=1, beta=0)
    >>> bind(float32, **sizes)(c.ctypes.data, a.ctypes.data, b.ctypes.data)
    >>> c[0]
    array([6., 6., 6., 6.], dtype=float32)
    """
    host = jit.machine.ready()
    return BoundProduct(element, matmul_kernel.shape_for(host.features, platform.machine().lower()), fields)


@cache
def _builtins(element: dtype, shape: matmul_kernel.Shape) -> dict[str, Callable[..., None]]:
    if element.code not in matmul_kernel.ELEMENTS:
        name = element.name.capitalize()
        fail(RuntimeError, f"\"addmm_impl_cpu_\" not implemented for '{name}'", mend="convert the operands first")
    listed = matmul_kernel.parameters(element.code)
    names = [name for name, _ in listed]
    work = tuple(names.index(size) for size in ("batch", "m", "n", "k"))
    title = f"matmul_{element.name}"
    inners = {
        "matmul": builtins.Inner(tuple(kind for _, kind in listed), "none", title, None, work, _NS_A_PRODUCT),
        "bound": builtins.Inner(("ptr",) * 5 + ("i64",), "none", title, None, (5,), _NS_A_PRODUCT),
    }
    return builtins.build_several(matmul_kernel.module_text(element.code, shape), inners, "clean")
