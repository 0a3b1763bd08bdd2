"""Order: sort, topk, medians, modes, unique values, searches, running extremes, one-hot rows; NumPy does the sorting.

Values are taken by index with `pick`, whose gradient goes back to the places that they came from.
"""

import numpy as np

from facula import launch
from facula.autograd.node import dtype_title
from facula.core import dtype as dt
from facula.core.shape import normalize_dim
from facula.core.spec import dense
from facula.core.tensor import Tensor
from facula.errors import fail

from .copying import cast
from .creation import arange, from_numpy, numpy_view, zeros_of
from .declare import Function, function
from .elementwise import eq, isnan, logical_and, logical_or, mul, true_divide
from .indexing import gather, scatter_add
from .reduction import sum as sum_over
from .results import named
from .view import reshape, squeeze_dims, unsqueeze

__all__ = [
    "argsort", "bucketize", "cummax", "cummin", "kthvalue", "median", "mode", "msort", "nanmedian", "one_hot",
    "searchsorted", "sort", "topk", "unique", "unique_consecutive",
]  # fmt: skip


# --- elements by index along a dim --------------------------------------------------------------------------------


@function(tensors=("input",))
def pick(input, dim, index, keepdim=True):
    """`gather`, the dim dropped unless `keepdim`; its users give it the name that the graph shows."""
    made = gather(input, dim, index)
    return made if keepdim else squeeze_dims(made, (dim,))


@pick.gradient("input")
def _(grad, input_spec, dim, index, keepdim):
    grad = grad if keepdim else unsqueeze(grad, dim)
    return scatter_add(zeros_of(dense(input_spec.dtype, input_spec.shape, input_spec.device)), dim, index, grad)


def _named(name: str, title: str):
    made = Function(pick.operator.body, name, tensors=("input",))
    made.gradients = pick.operator.gradients
    made.node_class.__name__ = title
    return made.call


_TITLES = {
    "sort": "SortBackward0", "sort_stable": "SortBackward1", "topk": "TopkBackward0", "kthvalue": "KthvalueBackward0",
    "median": "MedianBackward1", "nanmedian": "NanmedianBackward1", "mode": "ModeBackward0",
    "cummax": "CummaxBackward0", "cummin": "CumminBackward0",
}  # fmt: skip
_PICKS = {name: _named(f"{name}_values", title) for name, title in _TITLES.items()}


def _picked(name: str, input: Tensor, dim: int, indices: np.ndarray, keepdim: bool = True, node: str = ""):
    """(values, indices) of the operator `name` along a dim; indices of 0-d tensors are 0-d."""
    index = from_numpy(np.ascontiguousarray(indices, np.int64))
    if not input.spec.ndim:
        index = reshape(index, ())
        return named(name, _PICKS[node or name](input, 0, index), index)
    values = _PICKS[node or name](input, dim, index, keepdim)
    return named(name, values, index if keepdim else squeeze_dims(index, (dim,)))


# --- order --------------------------------------------------------------------------------------------------------


def _array(input: Tensor, name: str = "sort") -> np.ndarray:
    """The elements as NumPy sorts them: float16 and bfloat16 as float32, bools as bytes."""
    kind = input.spec.dtype
    if kind.kind == "c":
        fail(RuntimeError, f" {name.capitalize()} does not support complex dtypes on CPU")
    if kind.itemsize == 2 and kind.kind == "f":
        input = cast(input.detach(), dt.float32)
    array = numpy_view(input)
    return array.view(np.uint8) if kind.kind == "b" else array


def _last(array: np.ndarray, dim: int) -> np.ndarray:
    """`dim` as the last one, row-major (0-d: one element)."""
    return np.ascontiguousarray(np.moveaxis(array, dim, -1)) if array.ndim else array.reshape(1)


def _keys(rows: np.ndarray, descending: bool) -> np.ndarray | None:
    """Unsigned keys of 32 bits in the order of the elements, NaN the largest; None where these do not do."""
    if rows.dtype.itemsize > 4:
        if rows.dtype.kind == "f" or not rows.size or int(rows.max()) - int(rows.min()) >= 2**32:
            return None
        keys = (rows - rows.min()).astype(np.uint32)  # long integers of a small range
        return ~keys if descending else keys
    if rows.dtype.kind == "f":
        bits = (rows + rows.dtype.type(0)).view(np.uint32)  # -0 is equal to 0
        keys = bits ^ np.where(bits >> np.uint32(31), np.uint32(0xFFFFFFFF), np.uint32(0x80000000))
        keys[np.isnan(rows)] = 0xFFFFFFFF
    elif rows.dtype.kind == "u":
        keys = rows.astype(np.uint32)
    else:
        keys = rows.astype(np.int32).view(np.uint32) ^ np.uint32(0x80000000)
    return ~keys if descending else keys


def _packed(rows: np.ndarray, descending: bool) -> np.ndarray | None:
    """Keys and places as one number each: sorting these is stable and gives both."""
    keys = _keys(rows, descending) if rows.shape[-1] < 2**32 else None
    if keys is None:
        return None
    packed = keys.astype(np.uint64)
    packed <<= np.uint64(32)
    packed |= np.arange(rows.shape[-1], dtype=np.uint64)
    return packed


def _places(packed: np.ndarray) -> np.ndarray:
    return (packed & np.uint64(0xFFFFFFFF)).astype(np.int64)


def order(rows: np.ndarray, descending: bool) -> np.ndarray:
    """The places of the elements of each row (last dim) in order; equal ones as they were."""
    packed = _packed(rows, descending)
    if packed is not None:
        packed.sort(-1)
        return _places(packed)
    if descending:  # from behind, so that equal ones stay in order
        n = rows.shape[-1]
        return n - 1 - np.flip(order(np.flip(rows, -1), False), -1)
    found = np.argsort(rows, -1)  # fast, but equal ones in any order
    values = np.take_along_axis(rows, found, -1)
    ties = values[..., 1:] == values[..., :-1]
    if values.dtype.kind == "f":
        ties |= np.isnan(values[..., :-1])
    return np.argsort(rows, -1, kind="stable") if ties.any() else found


def _back(indices: np.ndarray, dim: int, input: Tensor) -> np.ndarray:
    return np.moveaxis(indices, -1, dim) if input.spec.ndim else indices


def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False, *, out=None):
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
    d = normalize_dim(dim, input.spec.ndim)
    rows = _last(_array(input), d)
    found = _back(order(rows, bool(descending)), d, input)
    return _written("sort", out, _picked("sort", input, d, found, node="sort_stable" if stable else "sort"))


def _written(name: str, out, made):
    """`made`, or the two tensors of `out` with it."""
    if out is None:
        return made
    from .matmul import _to_out

    return named(name, *[_to_out(name, o, m, ()) for o, m in zip(out, made)])


def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """The indices that sort the elements along `dim`."""
    return sort(input.detach(), dim, descending, stable)[1]


def msort(input: Tensor) -> Tensor:
    """The elements in order along the first dim."""
    return sort(input, 0)[0]


def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True, *, out=None):
    """The `k` largest (or smallest) elements along `dim`, in order: (values, indices)."""
    d = normalize_dim(dim, input.spec.ndim)
    n = input.spec.shape[d] if input.spec.ndim else 1
    if not 0 <= k <= n:
        fail(RuntimeError, "selected index k out of range", expected=f"0 to {n}, the size of dim {d}", got=k)
    rows = _last(_array(input, "topk"), d)
    found = _first(rows, k, bool(largest))
    if not input.spec.ndim and k == 0:
        return named("topk", input.new_empty((0,)), from_numpy(np.empty(0, np.int64)))
    return _written("topk", out, _picked("topk", input, d, _back(found, d, input)))


def _first(rows: np.ndarray, k: int, descending: bool) -> np.ndarray:
    """The places of the first `k` elements of each row in order."""
    n = rows.shape[-1]
    if k == 0 or k > n // 2 or not rows.size:
        return order(rows, descending)[..., :k]
    if n >= 4096 and k * 64 <= n and rows.size <= 64 * n:
        flat = rows.reshape(-1, n)
        found = [f for row in flat if (f := _candidates(row, k, descending)) is not None]
        if len(found) == len(flat):
            return np.stack(found).reshape(*rows.shape[:-1], k)
    some = np.argpartition(rows, n - k if descending else k - 1, -1)
    some = np.sort(some[..., n - k :] if descending else some[..., :k], -1)
    return np.take_along_axis(some, order(np.take_along_axis(rows, some, -1), descending), -1)


def _candidates(row: np.ndarray, k: int, descending: bool) -> np.ndarray | None:
    """`_first` of one long row: what reaches the k-th best of the blocks' best is sorted; None where NaN hides it."""
    n = len(row)
    width = n // (k * 8)
    blocks = row[: n // width * width].reshape(-1, width)
    best = blocks.max(-1) if descending else blocks.min(-1)
    at = len(best) - k if descending else k - 1
    limit = np.partition(best, at)[at]
    if (
        best.dtype.kind == "f"
        and np.isnan(best).any()
        or (row[n // width * width :] != row[n // width * width :]).any()
    ):
        return None
    some = np.flatnonzero(row >= limit if descending else row <= limit)
    return some[order(row[some], descending)[:k]]


def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False, *, out=None):
    """The `k`-th smallest element along `dim`: (values, indices)."""
    d = normalize_dim(dim, input.spec.ndim)
    n = input.spec.shape[d] if input.spec.ndim else 1
    if n == 0:
        _empty("kthvalue", d)
    if not 1 <= k <= n:
        fail(RuntimeError, f"kthvalue(): selected number k out of range for dimension {d}", expected=f"1 to {n}", got=k)
    _no_bool("kthvalue_cpu", input)
    rows = _last(_array(input), d)
    found = _first(rows, k, False)[..., -1:]
    return _written("kthvalue", out, _picked("kthvalue", input, d, _back(found, d, input), keepdim))


def _empty(name: str, dim: int):
    fail(IndexError, f"{name}(): Expected reduction dim {dim} to have non-zero size.")


def _no_bool(name: str, input: Tensor) -> None:
    if input.spec.dtype.kind in "bc":
        fail(NotImplementedError, f"\"{name}\" not implemented for '{dtype_title(input.spec.dtype)}'")


def _median(name: str, skip: bool):
    """The lower median; `skip`: of what is not NaN (else NaN wins)."""

    def middle(rows: np.ndarray) -> np.ndarray:
        places = order(rows, False)
        n = rows.shape[-1]
        at = np.full((*rows.shape[:-1], 1), (n - 1) // 2)
        if rows.dtype.kind == "f":
            missing = np.isnan(rows).sum(-1, keepdims=True)
            if skip:
                at = np.maximum(0, (n - missing - 1) // 2)
            else:  # the first NaN
                at = np.where(missing > 0, n - missing, at)
        return np.take_along_axis(places, at, -1)

    def body(input):
        flat = reshape(input.detach(), (-1,))
        return reshape(gather(flat, 0, from_numpy(middle(_array(flat)))), ())

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

    def entry(input, dim=None, keepdim=False, *, out=None):
        _no_bool("median_cpu", input)
        if dim is None:
            if not input.spec.numel:
                return input.new_full((), float("nan") if input.spec.dtype.kind == "f" else 0)
            return whole(input)
        d = normalize_dim(dim, input.spec.ndim)
        if input.spec.ndim and input.spec.shape[d] == 0:
            _empty(name, d)
        return _written(name, out, _picked(name, input, d, _back(middle(_last(_array(input), d)), d, input), keepdim))

    entry.__name__ = entry.__qualname__ = name
    return entry


median = _median("median", False)
median.__doc__ = """The middle element (of two the smaller) of all, or along `dim` with its index: (values, indices)."""
nanmedian = _median("nanmedian", True)
nanmedian.__doc__ = """`median` of the elements that are not NaN."""


def mode(input: Tensor, dim: int = -1, keepdim: bool = False, *, out=None):
    """The most frequent element along `dim` (of several the smallest), and the index of its last occurrence."""
    d = normalize_dim(dim, input.spec.ndim)
    if input.spec.ndim and input.spec.shape[d] == 0:
        _empty("mode", d)
    rows = _last(_array(input), d)
    n = rows.shape[-1]
    if rows.size == 0:
        return _picked("mode", input, d, _back(np.empty((*rows.shape[:-1], 1), np.int64), d, input), keepdim)
    places = order(rows, False)
    values = np.take_along_axis(rows, places, -1)
    starts = np.concatenate([np.ones((*rows.shape[:-1], 1), bool), values[..., 1:] != values[..., :-1]], -1)
    first = np.maximum.accumulate(np.where(starts, np.arange(n), 0), -1)
    best = np.argmax(np.arange(n) - first, -1)[..., None]  # the end of the first longest run
    return _written(
        "mode", out, _picked("mode", input, d, _back(np.take_along_axis(places, best, -1), d, input), keepdim)
    )


# --- running extremes ---------------------------------------------------------------------------------------------


def _running(name: str, accumulate):
    def entry(input, dim, *, out=None):
        d = normalize_dim(dim, input.spec.ndim)
        rows = _last(_array(input), d)
        best = accumulate(rows, axis=-1) if rows.size else rows
        hit = rows == best
        if rows.dtype.kind == "f":
            hit |= np.isnan(rows)
        at = np.where(hit, np.arange(rows.shape[-1]), 0)
        at = np.maximum.accumulate(at, axis=-1) if at.size else at  # the last of equal ones
        return _written(name, out, _picked(name, input, d, _back(at, d, input)))

    entry.__name__ = entry.__qualname__ = name
    return entry


cummax = _running("cummax", np.maximum.accumulate)
cummax.__doc__ = """The largest of the elements up to each along `dim`, and its index (the last of equal ones)."""
cummin = _running("cummin", np.minimum.accumulate)
cummin.__doc__ = """The smallest of the elements up to each along `dim`, and its index (the last of equal ones)."""


# --- unique values ------------------------------------------------------------------------------------------------


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
    array = _array(input.detach(), "unique") if input.spec.dtype.kind != "c" else numpy_view(input)
    axis = None if dim is None else normalize_dim(dim, input.spec.ndim)
    if axis is None:
        values, inverse, counts = np.unique(array, return_inverse=True, return_counts=True, equal_nan=False)
    else:
        values, inverse, counts = np.unique(array, return_inverse=True, return_counts=True, axis=axis)
    inverse = inverse.reshape(array.shape if axis is None else array.shape[axis])
    made = (_tensor(values, input), from_numpy(inverse.astype(np.int64)), from_numpy(counts.astype(np.int64)))
    return _parts(made, (return_inverse, return_counts))


def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
):
    """The values (or parts along `dim`) without those that are equal to the one before; results as `unique`."""
    array = _array(input.detach(), "unique") if input.spec.dtype.kind != "c" else numpy_view(input)
    if dim is None:
        parts = array.reshape(-1)
        differs = parts[1:] != parts[:-1]
    else:
        axis = normalize_dim(dim, input.spec.ndim)
        parts = np.moveaxis(array, axis, 0)
        differs = (parts[1:] != parts[:-1]).reshape(max(len(parts) - 1, 0), -1).any(-1)
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
    number = not isinstance(input, Tensor)
    values = np.asarray(input) if number else _array(input.detach())
    sequence = _array(sorted_sequence.detach())
    if sorter is not None:
        if sorter.spec.shape != sorted_sequence.spec.shape:
            fail(
                RuntimeError,
                "torch.searchsorted(): boundary and sorter must have the same size, but got boundary tensor "
                f"{list(sorted_sequence.spec.shape)}and got sorter tensor {list(sorter.spec.shape)}",
            )
        sequence = np.take_along_axis(sequence, numpy_view(sorter), -1)
    if not number and sorted_sequence.spec.dtype is not input.spec.dtype and sequence.ndim and values.ndim:
        both = np.result_type(sequence, values)
        sequence, values = sequence.astype(both), values.astype(both)
    where = "right" if right else "left"
    if sequence.ndim == 1:
        found = np.searchsorted(sequence, values, where)
    elif sequence.ndim == 0 or sequence.shape[:-1] != values.shape[:-1]:
        fail(
            RuntimeError,
            "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of "
            "boundaries tensor and input value "
            f"tensor must match, but we got boundaries tensor {list(sequence.shape)} and input value "
            f"tensor {list(values.shape)}",
        )
    else:
        found = np.empty(values.shape, np.int64)
        for at in np.ndindex(*sequence.shape[:-1]):
            found[at] = np.searchsorted(sequence[at], values[at], where)
    made = from_numpy(np.asarray(found, np.int32 if out_int32 else np.int64).reshape(values.shape))
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
    values = numpy_view(input)
    if values.min() < 0:
        fail(RuntimeError, "Class values must be non-negative.", got=int(values.min()))
    most = int(values.max())
    if num_classes == -1:
        num_classes = most + 1
    elif most >= num_classes:
        fail(
            RuntimeError,
            "Class values must be smaller than num_classes.",
            expected=f"indices below {num_classes}",
            got=most,
        )
    return cast(eq(unsqueeze(input, -1), arange(num_classes, device=input.spec.device)), dt.int64)
