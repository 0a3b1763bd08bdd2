"""Order: sort, topk, medians, modes, unique values, searches, running extremes, one-hot rows.

What is in order comes from the target's routine `sort`; gradients go back to the places that values came from.
"""

import operator
from math import prod

import numpy as np

from facula import launch
from facula.autograd.node import dtype_title
from facula.core import dtype as dt
from facula.core.shape import normalize_dim
from facula.core.spec import Spec, dense
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.ir import expr as ir

from . import creation
from .copying import cast, clone, contiguous, copy_values
from .creation import arange, from_numpy, numpy_view, tensor, zeros_of
from .declare import Function, function, needs_numbers, traced
from .elementwise import eq, isnan, logical_and, logical_or, mul, ne, true_divide
from .indexing import check_bounds, gather, masked_select, nonzero, scatter, scatter_add
from .joining import cat
from .numpynames import REQUIRED, numpy_dims
from .promotion import result_type
from .reduction import cumsum, span
from .reduction import sum as sum_over
from .results import named
from .view import narrow, reshape, unsqueeze

__all__ = [
    "argsort", "bucketize", "cummax", "cummin", "kthvalue", "median", "mode", "msort", "nanmedian", "one_hot",
    "searchsorted", "sort", "topk", "unique", "unique_consecutive",
]  # fmt: skip


# --- the order along a dim ----------------------------------------------------------------------------------------

_PLANS: dict[tuple, tuple] = {}  # (spec, dim, count, keepdim) -> routine, sizes, specs of values and indices, layout


def _plan(s: Spec, dim: int, count: int, keepdim: bool) -> tuple:
    n = s.shape[dim] if s.ndim else 1
    if n >= 1 << 32:
        fail(RuntimeError, "sort: a row has too many elements", expected="fewer than 2**32", got=n)
    outer, inner = prod(s.shape[:dim]), prod(s.shape[dim + 1 :])
    kept = (count,) if keepdim else ()
    shape = (*s.shape[:dim], *kept, *s.shape[dim + 1 :]) if s.ndim else () if count else (0,)
    values, indices = (dense(kind, shape, s.device) for kind in (s.dtype, dt.int64))
    routine = launch.native("sort", s.device)(s.dtype) if s.numel and values.numel else None
    made = routine, (outer, n, inner), values, indices, s.strides == dense(s.dtype, s.shape, s.device).strides
    if len(_PLANS) > 4096:
        _PLANS.clear()
    _PLANS[s, dim, count, keepdim] = made
    return made


def _order_along(input, dim, how, first, count, descending, keepdim, valued: bool = True):
    s = input.spec
    plan = _PLANS.get((s, dim, count, keepdim)) or _plan(s, dim, count, keepdim)
    routine, (outer, n, inner), values, indices, packed = plan
    values, indices = launch.empty(values) if valued else None, launch.empty(indices)
    if routine is not None:
        if not packed:
            input = contiguous(input)
        place = values.ptr if values is not None else 0
        routine(place, indices.ptr, input.ptr, outer, n, inner, first, count, how, descending)
    return values, indices


@function(tensors=("input",), outputs=("values", "indices"), fill=False)
def order_along(input, dim, how, first, count, descending, keepdim=True):
    """A part of the order of the elements along `dim`, and where they were; see the target's `sort`."""
    return _order_along(input, dim, how, first, count, descending, keepdim)


@order_along.gradient("input")
def _(grad_values, input_spec, indices, dim, keepdim):
    if not keepdim and input_spec.ndim:
        grad_values, indices = unsqueeze(grad_values, dim), unsqueeze(indices, dim)
    zeros = zeros_of(dense(input_spec.dtype, input_spec.shape, input_spec.device))
    return scatter_add(zeros, dim, indices, grad_values)


def _named(name: str, title: str):
    made = Function(order_along.operator.body, name, tensors=("input",), outputs=("values", "indices"), fill=False)
    made.gradients = order_along.operator.gradients
    made.node_class.__name__ = title
    return made.call


_TITLES = {
    "sort": "SortBackward0", "sort_stable": "SortBackward1", "topk": "TopkBackward0", "kthvalue": "KthvalueBackward0",
    "median": "MedianBackward1", "nanmedian": "NanmedianBackward1", "mode": "ModeBackward0",
}  # fmt: skip
_ORDERS = {name: _named(f"{name}_values", title) for name, title in _TITLES.items()}


_SORTERS = {"sort": "sorting_kernel_method_name", "topk": "topk_cpu", "searchsorted": "searchsorted_out_cpu"}


def _real(input: Tensor, name: str = "sort") -> None:
    if input.spec.dtype in dt.FLOAT8:
        title = dtype_title(input.spec.dtype)
        fail(NotImplementedError, f"\"{_SORTERS.get(name, name)}\" not implemented for '{title}'")
    if input.spec.dtype.kind == "c":
        fail(RuntimeError, f" {name.capitalize()} does not support complex dtypes on CPU")


def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False, axis=None, *, out=None):
    """The elements in order along `dim`, and where they were: (values, indices).

    Equal ones stay in order; NaN is the largest.

    Examples
    --------
    >>> import facula as torch
    >>> torch.sort(torch.tensor([3.0, 1.0, 2.0]))
    torch.return_types.sort(
    values=tensor([1., 2., 3.]),
    indices=tensor([1, 2, 0]))
    """
    if axis is not None:
        dim, _ = numpy_dims("sort", dim, None, axis, None, -1)
    s = input.spec
    d = normalize_dim(dim, s.ndim)
    _real(input)
    n = s.shape[d] if s.ndim else 1
    made = _ORDERS["sort_stable" if stable else "sort"](input, d, "order", 0, n, bool(descending), True)
    return _written("sort", out, named("sort", *made))


def _written(name: str, out, made, inputs=()):
    """`made`, or the two tensors of `out` with it."""
    if out is None:
        return made
    from .matmul import _to_out

    return named(name, *[_to_out(name, o, m, inputs) for o, m in zip(out, made)])


def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False, axis=None) -> Tensor:
    """The indices that sort the elements along `dim`."""
    if axis is not None:
        dim, _ = numpy_dims("argsort", dim, None, axis, None, -1)
    s = input.spec
    d = normalize_dim(dim, s.ndim)
    _real(input)
    n = s.shape[d] if s.ndim else 1
    return _order_along(input, d, "order", 0, n, bool(descending), True, False)[1]


def msort(input: Tensor, *, out=None) -> Tensor:
    """The elements in order along the first dim."""
    made = sort(input, 0)[0]
    if out is None:
        return made
    from .matmul import _to_out

    return _to_out("msort", out, made, (input,))


def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True, axis=None, *, out=None):
    """The `k` largest (or smallest) elements along `dim`, in order: (values, indices)."""
    if axis is not None:
        dim, _ = numpy_dims("topk", dim, None, axis, None, -1)
    s = input.spec
    d = normalize_dim(dim, s.ndim)
    n = s.shape[d] if s.ndim else 1
    k = operator.index(k)
    if not 0 <= k <= n:
        fail(RuntimeError, "selected index k out of range", expected=f"0 to {n}, the size of dim {d}", got=k)
    _real(input, "topk")
    return _written("topk", out, named("topk", *_ORDERS["topk"](input, d, "first", 0, k, bool(largest), True)))


def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False, axis=None, keepdims=None, *, out=None):
    """The `k`-th smallest element along `dim`: (values, indices)."""
    if axis is not None or keepdims is not None:
        dim, keepdim = numpy_dims("kthvalue", dim, keepdim, axis, keepdims, -1)
    s = input.spec
    d = normalize_dim(dim, s.ndim)
    n = s.shape[d] if s.ndim else 1
    if n == 0:
        _empty("kthvalue", d)
    if not 1 <= k <= n:
        fail(RuntimeError, f"kthvalue(): selected number k out of range for dimension {d}", expected=f"1 to {n}", got=k)
    _no_bool("kthvalue_cpu", input)
    made = _ORDERS["kthvalue"](input, d, "kth", operator.index(k) - 1, 1, False, keepdim)
    return _written("kthvalue", out, named("kthvalue", *made), (input,))


def _empty(name: str, dim: int):
    fail(IndexError, f"{name}(): Expected reduction dim {dim} to have non-zero size.")


def _no_bool(name: str, input: Tensor) -> None:
    if input.spec.dtype.kind in "bc":
        fail(NotImplementedError, f"\"{name}\" not implemented for '{dtype_title(input.spec.dtype)}'")


def _median(name: str, skip: bool):
    """The lower median; `skip`: of what is not NaN (else NaN wins)."""

    def body(input):
        flat = reshape(input, (-1,))
        return _order_along(flat, 0, name, (flat.spec.numel - 1) // 2, 1, False, False)[0]

    def shared(grad, input, out):  # by all that are equal to it
        hit = eq(input, out)
        if not skip and input.spec.dtype.kind == "f":
            hit = logical_or(hit, logical_and(isnan(input), isnan(out)))
        hit = cast(hit, grad.spec.dtype)
        return mul(hit, true_divide(grad, sum_over(hit)))

    whole = Function(body, f"{name}_whole", tensors=("input",))
    whole.gradient("input")(shared)
    whole.node_class.__name__ = f"{name.capitalize()}Backward0"
    whole = whole.call

    def entry(input, dim=None, keepdim=False, axis=None, keepdims=None, *, out=None):
        if axis is not None or keepdims is not None:
            dim, keepdim = numpy_dims(name, dim, keepdim, axis, keepdims)
        s = input.spec
        _no_bool("median_cpu", input)
        if dim is None:
            if not s.numel:
                return input.new_full((), float("nan") if s.dtype.kind == "f" else 0)
            return whole(input)
        d = normalize_dim(dim, s.ndim)
        n = s.shape[d] if s.ndim else 1
        if n == 0:
            _empty(name, d)
        return _written(name, out, named(name, *_ORDERS[name](input, d, name, (n - 1) // 2, 1, False, keepdim)))

    entry.__name__ = entry.__qualname__ = name
    return entry


median = _median("median", False)
median.__doc__ = """The middle element (of two the smaller) of all, or along `dim` with its index: (values, indices)."""
nanmedian = _median("nanmedian", True)
nanmedian.__doc__ = """`median` of the elements that are not NaN."""


def mode(input: Tensor, dim: int = -1, keepdim: bool = False, axis=None, keepdims=None, *, out=None):
    """The most frequent element along `dim` (of several the smallest), and the index of its last occurrence."""
    if axis is not None or keepdims is not None:
        dim, keepdim = numpy_dims("mode", dim, keepdim, axis, keepdims, -1)
    s = input.spec
    d = normalize_dim(dim, s.ndim)
    if s.ndim and s.shape[d] == 0:
        _empty("mode", d)
    _real(input)
    return _written("mode", out, named("mode", *_ORDERS["mode"](input, d, "mode", 0, 1, False, keepdim)))


# --- running extremes ---------------------------------------------------------------------------------------------


def _running(kind: str, name: str):
    def places(input, best):
        hit = ir.eq(input, best)
        if input.dtype.kind == "f":
            hit = ir.or_(hit, ir.ne(input, input))
        return ir.scan("max", ir.select(hit, ir.row_index(), ir.const(0, dt.int64)))

    def scanned(input):
        best = ir.scan(kind, input)
        return best, places(input, best)

    scanned.__name__ = scanned.__qualname__ = f"{name}_rows"
    rows = traced(scanned, rows=True, differentiable=False)

    def body(input, dim):
        return (
            rows(input, dims=(dim,))
            if input.spec.ndim
            else (clone(input), creation.zeros((), dtype=dt.int64, device=input.spec.device))
        )

    made = Function(body, f"{name}_values", tensors=("input",), outputs=("values", "indices"), fill=False)

    def formula(grad_values, input_spec, indices, dim):
        zeros = zeros_of(dense(input_spec.dtype, input_spec.shape, input_spec.device))
        return scatter_add(zeros, dim, indices, grad_values)

    made.gradient("input")(formula)
    made.node_class.__name__ = f"{name.capitalize()}Backward0"
    call = made.call

    def entry(input, dim=REQUIRED, axis=None, *, out=None):
        if dim is REQUIRED or axis is not None:
            dim, _ = numpy_dims(name, dim, None, axis, None, REQUIRED)
        d = normalize_dim(dim, input.spec.ndim)
        _real(input, name)
        return _written(name, out, named(name, *call(input, d)))

    entry.__name__ = entry.__qualname__ = name
    return entry


cummax = _running("max", "cummax")
cummax.__doc__ = """The largest of the elements up to each along `dim`, and its index (the last of equal ones)."""
cummin = _running("min", "cummin")
cummin.__doc__ = """The smallest of the elements up to each along `dim`, and its index (the last of equal ones)."""


# --- unique values ------------------------------------------------------------------------------------------------


def _array(input: Tensor, name: str = "sort") -> np.ndarray:
    """The elements as NumPy compares them: float16 and bfloat16 as float32, bools as bytes."""
    kind = input.spec.dtype
    _real(input, name)
    if kind.itemsize == 2 and kind.kind == "f":
        input = cast(input.detach(), dt.float32)
    array = numpy_view(input)
    return array.view(np.uint8) if kind.kind == "b" else array


def _tensor(array: np.ndarray, like: Tensor) -> Tensor:
    """An array that `_array` made, in the dtype of `like`."""
    kind = like.spec.dtype
    return cast(from_numpy(np.ascontiguousarray(array.view(np.bool_) if kind.kind == "b" else array)), kind)


def _parts(found: tuple, flags: tuple[bool, ...]):
    wanted = [found[0], *(x for x, flag in zip(found[1:], flags) if flag)]
    return wanted[0] if len(wanted) == 1 else tuple(wanted)


def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
):
    """The different values in order, or the different parts along `dim`.

    Returns
    -------
    Tensor or tuple
        The values; with `return_inverse` the place there of each element, with `return_counts` how often each occurs.
    """
    needs_numbers("_unique2" if dim is None else "unique_dim", input)
    if dim is None and input.spec.dtype.kind != "c":
        flat = reshape(input.detach(), (-1,))
        values, order = sort(flat)
        return _parts(
            _runs(values, order, input.spec.shape, return_inverse, return_counts), (return_inverse, return_counts)
        )
    array = numpy_view(input) if input.spec.dtype.kind == "c" else _array(input.detach(), "unique")
    axis = None if dim is None else normalize_dim(dim, input.spec.ndim)
    if axis is None:
        values, inverse, counts = np.unique(array, return_inverse=True, return_counts=True, equal_nan=False)
    else:
        values, inverse, counts = np.unique(array, return_inverse=True, return_counts=True, axis=axis)
    inverse = inverse.reshape(array.shape if axis is None else array.shape[axis])
    made = (_tensor(values, input), from_numpy(inverse.astype(np.int64)), from_numpy(counts.astype(np.int64)))
    return _parts(made, (return_inverse, return_counts))


def _runs(values: Tensor, order: Tensor | None, shape, inverse: bool, counts: bool) -> tuple:
    """The first of each run of equal elements of a vector; the run of each element, whose place was `order`; sizes."""
    n, where = values.spec.numel, values.spec.device
    starts = creation.ones((n,), dtype=dt.bool_, device=where)
    if n > 1:
        copy_values(narrow(starts, 0, 1, n - 1), ne(narrow(values, 0, 1, n - 1), narrow(values, 0, 0, n - 1)))
    made = masked_select(values, starts)
    run = sizes = None
    if inverse:
        run = cumsum(starts, 0) - 1
        if order is not None:
            run = scatter(creation.empty((n,), dtype=dt.int64, device=where), 0, order, run)
        run = reshape(run, shape)
    if counts:
        (first,) = nonzero(starts, as_tuple=True)
        sizes = (
            cat((narrow(first, 0, min(1, n), max(first.spec.numel - 1, 0)), tensor([n][: min(n, 1)], device=where)), 0)
            - first
        )
    return made, run, sizes


def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
):
    """The values (or parts along `dim`) without those that are equal to the one before; results as `unique`."""
    needs_numbers("unique_consecutive", input)
    flags = (return_inverse, return_counts)
    if dim is None and input.spec.dtype.kind != "c":
        flat = reshape(input.detach(), (-1,))
        return _parts(_runs(flat, None, input.spec.shape, *flags), flags)
    array = _array(input.detach(), "unique") if input.spec.dtype.kind != "c" else numpy_view(input)
    if dim is None:
        parts = array.reshape(-1)
        differs = parts[1:] != parts[:-1]
    else:
        axis = normalize_dim(dim, input.spec.ndim)
        parts = np.moveaxis(array, axis, 0)
        differs = (parts[1:] != parts[:-1]).any(tuple(range(1, parts.ndim)))
    starts = np.concatenate([np.ones(min(len(parts), 1), bool), differs])
    values = parts[starts]
    inverse = np.cumsum(starts) - 1
    counts = np.diff(np.append(np.flatnonzero(starts), len(parts)))
    if dim is None:
        inverse = inverse.reshape(array.shape)
    else:
        values = np.moveaxis(values, 0, axis)
    made = (_tensor(values, input), from_numpy(inverse.astype(np.int64)), from_numpy(counts.astype(np.int64)))
    return _parts(made, (return_inverse, return_counts))


# --- searches -----------------------------------------------------------------------------------------------------


def searchsorted(
    sorted_sequence: Tensor, input, *, out_int32: bool = False, right: bool = False, side=None, sorter=None, out=None
) -> Tensor:
    """Where each value of `input` would be put to keep `sorted_sequence` (in its last dim) in order.

    `right` (or `side="right"`): behind equal elements, else before them. `sorter`: indices that sort the sequence.
    """
    if side is not None:
        if side not in ("left", "right"):
            fail(RuntimeError, f"torch.searchsorted(): side can only be 'left' or 'right' but got {side}")
        if side == "left" and right:
            fail(
                RuntimeError,
                "torch.searchsorted(): side and right can't be set to opposites, got side of left while right was True",
            )
    right = right or side == "right"
    sequence = sorted_sequence.detach()
    number = not isinstance(input, Tensor)
    values = tensor(input, dtype=sequence.spec.dtype if sequence.spec.dtype.kind == "f" else None) if number else input
    values = values.detach()
    if sorter is not None:
        if sorter.spec.shape != sorted_sequence.spec.shape:
            fail(
                RuntimeError,
                "torch.searchsorted(): boundary and sorter must have the same size, but got boundary tensor "
                f"{list(sorted_sequence.spec.shape)}and got sorter tensor {list(sorter.spec.shape)}",
            )
        sequence = gather(sequence, -1, sorter)
    kind = sequence.spec.dtype
    if values.spec.dtype is not kind:
        kind = result_type((sequence.spec, values.spec)) if sequence.spec.ndim and values.spec.ndim or number else kind
        sequence, values = cast(sequence, kind), cast(values, kind)
    _real(sequence, "searchsorted")
    s, v = sequence.spec, values.spec
    if not s.ndim or (s.ndim > 1 and s.shape[:-1] != v.shape[:-1]):
        fail(
            RuntimeError,
            "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of "
            "boundaries tensor and input value "
            f"tensor must match, but we got boundaries tensor {list(s.shape)} and input value "
            f"tensor {list(v.shape)}",
        )
    made = launch.empty(dense(dt.int32 if out_int32 else dt.int64, v.shape, v.device))
    n, rows = s.shape[-1], prod(s.shape[:-1])
    if not n:
        made = creation.zeros_like(made)
    elif v.numel:
        sequence, values = (x if x.spec.contiguous else contiguous(x) for x in (sequence, values))
        routine = launch.native("search", v.device)(kind, bool(right), bool(out_int32))
        routine(made.ptr, sequence.ptr, values.ptr, rows, n, v.numel // rows, n if s.ndim > 1 else 0)
    if out is None:
        return made
    from .matmul import _to_out

    return _to_out("searchsorted", out, made, ())


def bucketize(input, boundaries: Tensor, *, out_int32: bool = False, right: bool = False, out=None) -> Tensor:
    """The number of the interval between `boundaries` that each element is in; `right`: they are closed on the left."""
    if boundaries.spec.ndim != 1:
        fail(RuntimeError, f"boundaries tensor must be 1 dimension, but got dim({boundaries.spec.ndim})")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right, out=out)


# --- classes ----------------------------------------------------------------------------------------


def one_hot(input: Tensor, num_classes: int = -1) -> Tensor:
    """A row of `num_classes` numbers for each class index: 1 at the index, 0 elsewhere.

    Examples
    --------
    >>> import facula as torch
    >>> torch.nn.functional.one_hot(torch.tensor([0, 2]))
    tensor([[1, 0, 0],
            [0, 0, 1]])
    """
    if input.spec.dtype is not dt.int64:
        fail(
            RuntimeError,
            "one_hot is only applicable to index tensor of type LongTensor.",
            got=input.spec.dtype,
            mend="use x.long()",
        )
    if not input.spec.numel:
        if num_classes <= 0:
            fail(RuntimeError, "Can not infer total number of classes from empty tensor.")
        return launch.empty(dense(dt.int64, (*input.spec.shape, num_classes), input.spec.device))
    if num_classes > 0 and launch.checks_later(input.spec.device):
        check_bounds("one_hot", input, num_classes, -1)
        return _one_hot(unsqueeze(input, -1), arange(num_classes, device=input.spec.device))
    if num_classes > 0 and launch.lacks(input):
        return _one_hot(unsqueeze(input, -1), arange(num_classes, device=input.spec.device))
    least, most = span(input)
    if least < 0:
        fail(RuntimeError, "Class values must be non-negative.", got=least)
    if num_classes == -1:
        num_classes = most + 1
    elif most >= num_classes:
        fail(
            RuntimeError,
            "Class values must be smaller than num_classes.",
            expected=f"indices below {num_classes}",
            got=most,
        )
    return _one_hot(unsqueeze(input, -1), arange(num_classes, device=input.spec.device))


@traced(differentiable=False)
def _one_hot(input, classes):
    return ir.cast(ir.eq(input, classes), dt.int64)
