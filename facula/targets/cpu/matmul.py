"""The matrix product of CPUs as one builtin a dtype, compiled at first use; its text is `matmul_kernel`'s."""

import platform
from collections.abc import Callable
from functools import cache

from facula.core.dtype import dtype
from facula.errors import fail

from . import builtins, jit, matmul_kernel, threads

__all__ = ["bind", "bound", "build", "matmul"]

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


@cache
def build(element: dtype, shape: matmul_kernel.Shape) -> Callable[..., None]:
    """The builtin for a given register tile, which the host must be able to run."""
    return builtins.make(_addresses(element, shape)["matmul.builtin"], f"matmul_{element.name}")


def bind(element: dtype, **fields: int | float | complex) -> Callable[[int, int, int, int], None]:
    """`matmul(element)` with everything but the addresses settled: a builtin `(c, a, b, bias)`, far cheaper to call.

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
    >>> bind(float32, **sizes)(c.ctypes.data, a.ctypes.data, b.ctypes.data, 0)
    >>> c[0]
    array([6., 6., 6., 6.], dtype=float32)
    """
    host = jit.machine.ready()
    return bound(element, matmul_kernel.shape_for(host.features, platform.machine().lower()), fields)


def bound(element: dtype, shape: matmul_kernel.Shape, fields: dict) -> Callable[[int, int, int, int], None]:
    """The same for a given register tile."""
    address = _addresses(element, shape)["matmul.bound"]
    work = fields.get("outer", 1) * fields["batch"] * fields["m"] * fields["n"] * fields["k"]
    fields = {**fields, "long": int(work * _NS_A_PRODUCT > builtins.RELEASE_NS)}
    return builtins.make(address, f"matmul_{element.name}", None, matmul_kernel.template(element.code, fields))


@cache
def _addresses(element: dtype, shape: matmul_kernel.Shape) -> dict[str, int]:
    if element.code not in matmul_kernel.ELEMENTS:
        name = element.name.capitalize()
        fail(RuntimeError, f"\"addmm_impl_cpu_\" not implemented for '{name}'", mend="convert the operands first")
    listed = matmul_kernel.parameters(element.code)
    names = [name for name, _ in listed]
    work = [names.index(size) for size in ("batch", "m", "n", "k")]
    title = f"matmul_{element.name}"
    text = "\n".join(
        (
            matmul_kernel.module_text(element.code, shape),
            builtins.DECLARATIONS,
            builtins.wrapper(
                "matmul.builtin", "matmul", [kind for _, kind in listed], title=title, work=work, cost=_NS_A_PRODUCT
            ),
            _bound_text(title),
        )
    )
    return jit.load(text, ["matmul.builtin", "matmul.bound"], optimize="clean")


def _bound_text(title: str) -> str:
    """The builtin of bound products: copies the record that is its context, puts four addresses in, and runs it."""
    size = 8 * len(matmul_kernel.FIELDS)
    reads = stores = ""
    suspect = "false"
    for i, name in enumerate(("c", "a", "b", "bias")):
        reads += f"""
  %at.{name} = getelementptr ptr, ptr %args, i64 {i}
  %object.{name} = load ptr, ptr %at.{name}
  %{name} = call i64 @facula_as_i64(ptr %object.{name})
  %odd.{name} = icmp eq i64 %{name}, -1
  %suspect.{name} = or i1 {suspect}, %odd.{name}"""
        suspect = f"%suspect.{name}"
        stores += f"""
  %in.{name} = getelementptr i8, ptr %record, i64 {8 * matmul_kernel.FIELDS.index(name)}
  store i64 %{name}, ptr %in.{name}"""
    return f"""
{builtins.string("bound.title", title)}
declare ptr @PyBytes_AsString(ptr)
define ptr @matmul.bound(ptr %self, ptr %args, i64 %count) nounwind {{
  %record = alloca [{size} x i8], align 16
  %fits = icmp eq i64 %count, 4
  br i1 %fits, label %read, label %misfit
misfit:
  %raised = call ptr @facula_bad_count(ptr @bound.title, i64 4, i64 %count)
  ret ptr null
read:{reads}
  br i1 {suspect}, label %check, label %run
check:
  %error = call ptr @PyErr_Occurred()
  %good = icmp eq ptr %error, null
  br i1 %good, label %run, label %failed
failed:
  ret ptr null
run:
  %from = call ptr @PyBytes_AsString(ptr %self)
  call void @llvm.memcpy.p0.p0.i64(ptr %record, ptr %from, i64 {size}, i1 false){stores}
  %long.in = getelementptr i8, ptr %record, i64 {8 * matmul_kernel.FIELDS.index("long")}
  %long.word = load i64, ptr %long.in
  %long = icmp ne i64 %long.word, 0
  br i1 %long, label %release, label %keep
release:
  %saved = call ptr @PyEval_SaveThread()
  call void @run(ptr %record)
  call void @PyEval_RestoreThread(ptr %saved)
  br label %done
keep:
  call void @run(ptr %record)
  br label %done
done:
{builtins.NONE}
}}
"""
