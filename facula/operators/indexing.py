"""Reading and writing by index: `x[...]`, gather, scatter, index_select, masks; bounds are checked in the kernel."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from facula import launch
from facula.core import dtype as dt
from facula.core.shape import Size, broadcast, normalize_dim
from facula.core.spec import Spec, dense
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.ir import expr as ir
from facula.ir.kernel import Check, Input, Kernel, Param, Result

from . import creation
from .copying import cast, copy_values, like_layout
from .creation import from_numpy, numpy_view, tensor, zeros_of
from .declare import OPERATORS, broadcast_strides, function, view
from .view import alias_view, expand_to, reshape, select, slice_dim, unsqueeze

__all__ = [
    "argwhere", "gather", "getitem", "index_reduce", "isin", "put", "scatter_reduce", "unravel_index", "index_add",
    "index_copy", "index_fill", "index_put", "index_select", "masked_scatter",
    "masked_select", "nonzero", "scatter", "scatter_add", "setitem", "take", "take_along_dim", "where_nonzero",
]  # fmt: skip


# --- one kernel form: positions given by index tensors ------------------------------------------------------------
# The iteration space has the shape of the result (of a gather) or of the source (of a scatter). `source` moves along
# the dims that are not indexed; each index tensor i adds index * step{i}, after a check against size{i}.

_KERNELS: dict[tuple, Kernel] = {}


def _offset(indices: Sequence[Spec], negative: bool):
    """The checked offset that index tensors give: (expression, checks, params)."""
    total, checks, params = None, [], []
    for i, s in enumerate(indices):
        at = ir.cast(ir.load(f"index{i}", s.dtype), dt.int64)
        size, step = ir.param(f"size{i}", dt.int64), ir.param(f"step{i}", dt.int64)
        params += [Param(f"size{i}", dt.int64), Param(f"step{i}", dt.int64)]
        holds = ir.and_(at >= (-size if negative else 0), at < size)
        checks.append(Check(holds, at, "index {value} is out of bounds"))
        place = ir.select(at < 0, at + size, at) * step
        total = place if total is None else total + place
    return total, tuple(checks), tuple(params)


def _gather_kernel(kind, indices: Sequence[Spec], negative: bool) -> Kernel:
    key = ("gather", kind, negative, tuple(s.dtype for s in indices))
    found = _KERNELS.get(key)
    if found is None:
        offset, checks, params = _offset(indices, negative)
        inputs = (Input("source", kind), *(Input(f"index{i}", s.dtype) for i, s in enumerate(indices)))
        found = Kernel("gather", inputs, (Result("out", kind, ir.load("source", kind, offset)),), params, checks)
        _KERNELS[key] = found
    return found


def _scatter_kernel(kind, source_kind, indices: Sequence[Spec], combine: str, negative: bool) -> Kernel:
    key = ("scatter", kind, source_kind, tuple(s.dtype for s in indices), combine, negative)
    found = _KERNELS.get(key)
    if found is None:
        offset, checks, params = _offset(indices, negative)
        value = ir.load("source", source_kind)
        compute = dt.float32 if kind.itemsize == 2 and kind.kind == "f" else kind
        value = ir.cast(value, compute)
        inputs = (Input("source", source_kind), *(Input(f"index{i}", s.dtype) for i, s in enumerate(indices)))
        found = Kernel("scatter", inputs, (Result("out", kind, value, offset=offset, combine=combine),), params, checks)
        _KERNELS[key] = found
    return found


def _indexed(
    base: Tensor, base_strides: Sequence[int], other: Tensor, indices: Sequence[Tensor], sizes: Sequence[int],
    steps: Sequence[int],
    shape: tuple[int, ...], write: str | None, describe, negative: bool = False,
) -> Tensor:  # fmt: skip
    """Gather from `base` into `other`, or scatter `other` into `base` (`write` is "set" or "add")."""
    index_specs = [t.spec for t in indices]
    if write is None:
        kernel = _gather_kernel(base.spec.dtype, index_specs, negative)
        first, second = other, base
        strides = [list(other.spec.strides), list(base_strides)]
    else:
        kernel = _scatter_kernel(base.spec.dtype, other.spec.dtype, index_specs, write, negative)
        first, second = base, other
        strides = [list(base_strides), broadcast_strides(other.spec, shape)]
    strides += [broadcast_strides(s, shape) for s in index_specs]
    bound = launch.bind(kernel, shape, None, strides, base.spec.device)
    values = [v for pair in zip(sizes, steps) for v in pair]
    failed = launch.run(bound, [first.ptr, second.ptr, *[t.ptr for t in indices]], values)
    if failed is not None:
        number, value = failed if isinstance(failed, tuple) else (0, failed)
        describe(number, value)
    return other if write is None else base


# --- along one dim ------------------------------------------------------------------------------------------------


def _index_dtype(index: Tensor, name: str) -> None:
    if index.spec.dtype not in (dt.int64, dt.int32):
        fail(
            RuntimeError if name != "index_select" else IndexError,
            f"{name}(): Expected dtype int32/int64 for index"
            if name != "index_select"
            else "index_select(): Expected dtype int32 or int64 for index",
            got=str(index.spec.dtype),
            mend="convert it: index.long()",
        )


def _out_of_range(dim: int, size: int):
    def describe(number: int, value: int):
        fail(
            RuntimeError,
            f"index {value} is out of bounds for dimension {dim} with size {size}",
            expected=f"indices from 0 to {size - 1}",
        )

    return describe


@function(tensors=("input",), out=True)
def gather(input, dim, index, sparse_grad=False):
    """`out[i][j][k] = input[index[i][j][k]][j][k]` for dim 0, and so on: the shape of `index`."""
    _index_dtype(index, "gather")
    if index.spec.numel == 0:
        return launch.empty(dense(input.spec.dtype, index.spec.shape, input.spec.device))
    rank = input.spec.ndim
    d = normalize_dim(dim, rank)
    _same_rank("gather", input.spec, index.spec, d, "input")
    if rank == 0:
        input, index = reshape(input, (1,)), reshape(index, (1,))
        return reshape(gather.operator.body(input, 0, index), ())
    steps = [0 if e == d else st for e, st in enumerate(input.spec.strides)]
    out = launch.empty(dense(input.spec.dtype, index.spec.shape, input.spec.device))
    size = input.spec.shape[d]
    return _indexed(
        input, steps, out, [index], [size], [input.spec.strides[d]], index.spec.shape, None, _out_of_range(d, size)
    )


@gather.gradient("input")
def _(grad, input_spec, dim, index):
    return scatter_add(zeros_of(dense(input_spec.dtype, input_spec.shape, input_spec.device)), dim, index, grad)


def _same_rank(name: str, s: Spec, index: Spec, d: int, what: str) -> None:
    if (s.ndim or 1) != (index.ndim or 1):
        fail(
            RuntimeError,
            f"Index tensor must have the same number of dimensions as {what} tensor",
            got=f"{tuple(index.shape)} and {tuple(s.shape)}",
        )
    for e, (n, m) in enumerate(zip(index.shape, s.shape)):
        if e != d and n > m:
            fail(
                RuntimeError,
                f"Size does not match at dimension {e} expected index {list(index.shape)} to be no larger than self "
                f"{list(s.shape)} apart from dimension {d}",
            )


def _scatter(name: str, input: Tensor, dim: int, index: Tensor, src: Tensor, how: str) -> Tensor:
    _index_dtype(index, name)
    out = copy_values(launch.empty(dense(input.spec.dtype, input.spec.shape, input.spec.device)), input)
    return _scatter_into(name, out, dim, index, src, how)


def _scatter_into(name: str, out: Tensor, dim: int, index: Tensor, src: Tensor, how: str) -> Tensor:
    if index.spec.numel == 0:
        return out
    d = normalize_dim(dim, out.spec.ndim)
    _same_rank(name, out.spec, index.spec, d, "self")
    if src.spec.ndim:
        if (src.spec.ndim or 1) != (index.spec.ndim or 1):
            fail(
                RuntimeError,
                "Index tensor must have the same number of dimensions as src tensor",
                got=f"{tuple(index.spec.shape)} and {tuple(src.spec.shape)}",
            )
        if any(n > m for n, m in zip(index.spec.shape, src.spec.shape)):
            fail(
                RuntimeError,
                f"Expected index {list(index.spec.shape)} to be no larger than self {list(out.spec.shape)} apart from "
                f"dimension {d} and to be no larger size than src {list(src.spec.shape)}",
            )
        if src.spec.dtype is not out.spec.dtype:
            fail(
                RuntimeError,
                f"{name}(): Expected self.dtype to be equal to src.dtype",
                got=f"{out.spec.dtype!r} and {src.spec.dtype!r}",
            )
        for e, n in enumerate(index.spec.shape):
            if n != src.spec.shape[e]:
                src = slice_dim(src, e, 0, n)
    if out.spec.ndim == 0:
        target, index, src = reshape(out, (1,)), reshape(index, (1,)), reshape(src, (1,))
        _scatter_into(name, target, 0, index, src, how)
        return out
    steps = [0 if e == d else st for e, st in enumerate(out.spec.strides)]
    size = out.spec.shape[d]
    return _indexed(
        out, steps, src, [index], [size], [out.spec.strides[d]], index.spec.shape, how, _out_of_range(d, size)
    )


@function(tensors=("input", "src"))
def scatter_src(input, dim, index, src):
    """A copy of `input` with the elements of `src` at the places that `index` names along `dim`."""
    return _scatter("scatter", input, dim, index, src, "set")


@scatter_src.gradient("input")
def _(grad, dim, index):
    return scatter(grad, dim, index, 0)


@scatter_src.gradient("src")
def _(grad, dim, index, src_spec):
    found = gather(grad, dim, index)
    return _padded(found, src_spec)


def _padded(x: Tensor, s: Spec) -> Tensor:
    """`x` in a larger shape, zeros beyond it."""
    if x.spec.shape == s.shape:
        return x
    out = zeros_of(dense(x.spec.dtype, s.shape, s.device))
    part = out
    for e, n in enumerate(x.spec.shape):
        part = slice_dim(part, e, 0, n)
    OPERATORS_COPY(part, x)
    return out


def OPERATORS_COPY(target: Tensor, source: Tensor) -> None:
    from .inplace import copy_

    copy_(target, source)


scatter_src.operator.node_class.__name__ = "ScatterBackward0"


@function(tensors=("input", "src"), out=True)
def scatter_add(input, dim, index, src):
    """A copy of `input` with the elements of `src` added at the places that `index` names along `dim`."""
    return _scatter("scatter_add", input, dim, index, src, "add")


@scatter_add.gradient("input")
def _(grad):
    return grad


@scatter_add.gradient("src")
def _(grad, dim, index, src_spec):
    return _padded(gather(grad, dim, index), src_spec)


def scatter(input: Tensor, dim: int, index: Tensor, src=None, *, value=None, reduce=None, out=None) -> Tensor:
    """A copy of `input` with `src` (a tensor or a number) at the places that `index` names along `dim`."""
    if out is not None:
        return _to_out("scatter", out, scatter(input, dim, index, src, value=value, reduce=reduce), (input, src))
    src = value if src is None else src
    if not isinstance(src, Tensor):
        from .creation import full

        src = full((), src, dtype=input.spec.dtype, device=input.spec.device)
        src = expand_to(src, tuple(index.spec.shape))
    if reduce is None:
        return scatter_src(input, dim, index, src)
    if reduce == "add":
        return scatter_add(input, dim, index, src)
    if reduce == "multiply":
        return scatter_reduce(input, dim, index, src, "prod")
    fail(RuntimeError, f"reduce argument must be either add or multiply, got {reduce}.")


# --- combining what meets at one place ------------------------------------------------------------------------------

_HOW = {"sum": "sum", "prod": "prod", "mean": "mean", "amax": "amax", "amin": "amin"}


def _reduced(input: Tensor, at: tuple, src: Tensor, how: str, include_self: bool) -> Tensor:
    """`src` combined into a copy of `input` at the places `at` (NumPy index arrays), by NumPy's unbuffered ufuncs."""
    kind = input.spec.dtype
    work = dt.float32 if kind.itemsize == 2 and kind.kind == "f" else kind
    out = np.array(numpy_view(cast(input.detach(), work)), order="C")
    values = numpy_view(cast(src.detach(), work))
    ufunc = {"sum": np.add, "mean": np.add, "prod": np.multiply, "amax": np.maximum, "amin": np.minimum}[how]
    if not include_self:
        if how in ("sum", "mean"):
            first = 0
        elif how == "prod":
            first = 1
        else:
            limit = np.finfo(out.dtype) if work.kind == "f" else None
            low, high = (
                (-np.inf, np.inf)
                if limit is not None
                else (np.iinfo(out.dtype).min, np.iinfo(out.dtype).max)
                if work.kind != "b"
                else (False, True)
            )
            first = low if how == "amax" else high
        out[at] = first
    ufunc.at(out, at, values)
    if how == "mean":
        count = np.full(out.shape, 1 if include_self else 0, np.int64)
        np.add.at(count, at, 1)
        count[count == 0] = 1
        out = (out / count).astype(out.dtype) if work.kind in "fc" else np.floor_divide(out, count.astype(out.dtype))
    return cast(from_numpy(out), kind)


def _along(index: Tensor, dim: int) -> tuple:
    """The places that `index` names along `dim`, as NumPy index arrays."""
    grid: list[Any] = list(np.indices(index.spec.shape, sparse=True))
    grid[dim] = numpy_view(index)
    return tuple(grid)


def _combining_gradients(grad, input, out, dim, index, src, how, include_self, get, add):
    """The gradients of a combining scatter for (input, src): `get` reads along the index, `add` adds at it."""
    from .elementwise import eq, mul, where

    ones, zero = creation.ones_like, creation.zeros_like
    if how == "sum":
        mine = grad if include_self else _without(grad, dim, index, add)
        return mine, get(grad, dim, index)
    if how == "mean":
        count = add(ones(grad) if include_self else zero(grad), dim, index, ones(src))
        count = where(eq(count, 0), ones(count), count)
        mine = grad / count
        return (mine if include_self else _without(mine, dim, index, add)), get(grad / count, dim, index)
    if how == "prod":
        if grad.spec.dtype.is_complex:
            from .elementwise import conj_physical

            input, src, out = conj_physical(input), conj_physical(src), conj_physical(out)
        base = input if include_self else _masked_one(input, dim, index, add)
        hit = eq(src, 0)
        nonzero_src = where(hit, ones(src), src)
        zeros_at = add(zero(base), dim, index, cast(hit, base.spec.dtype))
        product = _product_of(base, dim, index, nonzero_src, add)
        whole = where(eq(zeros_at, 0), grad * product, zero(grad))
        mine = where(
            eq(base, 0),
            grad * _product_of(ones(base), dim, index, src, add),
            whole / where(eq(base, 0), ones(base), base),
        )
        single = mul(get(where(eq(zeros_at, 1), grad * product, zero(grad)), dim, index), cast(hit, grad.spec.dtype))
        theirs = where(hit, single, get(grad * out, dim, index) / nonzero_src)
        return (mine if include_self else _without(mine, dim, index, add)), theirs
    same = cast(eq(input, out), grad.spec.dtype) if include_self else zero(grad)
    chosen = cast(eq(src, get(out, dim, index)), grad.spec.dtype)
    count = add(same, dim, index, chosen)
    if not include_self:
        touched = _without(ones(grad), dim, index, add)
        shared = grad / where(eq(count, 0), ones(count), count)
        return grad * touched, get(shared, dim, index) * chosen
    shared = grad / where(eq(count, 0), ones(count), count)
    return shared * same, get(shared, dim, index) * chosen


def _without(grad: Tensor, dim: int, index: Tensor, add) -> Tensor:
    """`grad` with zeros at the places that `index` names."""
    from .elementwise import eq, mul

    hits = add(creation.zeros_like(grad), dim, index, _ones_for(grad, dim, index, add))
    return mul(grad, cast(eq(hits, 0), grad.spec.dtype))


def _ones_for(like: Tensor, dim: int, index: Tensor, add) -> Tensor:
    if add is scatter_add:
        return creation.ones(tuple(index.spec.shape), dtype=like.spec.dtype)
    shape = list(like.spec.shape)
    shape[dim] = index.spec.numel
    return creation.ones(tuple(shape), dtype=like.spec.dtype)


def _masked_one(input: Tensor, dim: int, index: Tensor, add) -> Tensor:
    """`input` with ones at the places that `index` names."""
    from .elementwise import gt, where

    hits = add(creation.zeros_like(input), dim, index, _ones_for(input, dim, index, add))
    return where(gt(hits, 0), creation.ones_like(input), input)


def _product_of(base: Tensor, dim: int, index: Tensor, src: Tensor, add) -> Tensor:
    if add is scatter_add:
        return scatter_reduce(base, dim, index, src, "prod")
    return index_reduce(base, dim, index, src, "prod")


@function(tensors=("input", "src"))
def scatter_combined(input, dim, index, src, how, include_self):
    """`scatter_reduce` of checked operands."""
    at = _along(index, dim)
    part = src
    for e, n in enumerate(index.spec.shape):
        part = slice_dim(part, e, 0, n)
    return _reduced(input, at, part, how, include_self)


@scatter_combined.gradient("input", "src")
def _(grad, input, out, dim, index, src, how, include_self):
    return _combining_gradients(grad, input, out, dim, index, src, how, include_self, gather, scatter_add)


scatter_combined.operator.node_class.__name__ = "ScatterReduceBackward0"


def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True, out=None
) -> Tensor:
    """`src` joins `input` ("sum", "prod", "mean", "amax", "amin") at the places that `index` names along `dim`."""
    if reduce not in _HOW:
        fail(RuntimeError, f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}.")
    d = normalize_dim(dim, input.spec.ndim)
    _index_dtype(index, "scatter_reduce")
    _same_rank("scatter_reduce", input.spec, index.spec, d, "self")
    if src.spec.dtype is not input.spec.dtype:
        fail(
            RuntimeError,
            "scatter(): Expected self.dtype to be equal to src.dtype",
            got=f"{input.spec.dtype!r} and {src.spec.dtype!r}",
        )
    if input.spec.dtype.kind == "b" and reduce == "mean":
        fail(NotImplementedError, "\"scatter_gather_tensor_cpu_reduce_mean\" not implemented for 'Bool'")
    if input.spec.dtype.kind == "c" and reduce not in ("sum", "prod"):
        fail(NotImplementedError, f"scatter_reduce(reduce={reduce!r}) is not implemented for '{_title(input)}'")
    n = input.spec.shape[d] if input.spec.ndim else 1
    _bounds_of(index, n, d)
    if not input.spec.ndim:
        made = scatter_reduce(
            reshape(input, (1,)), 0, reshape(index, (-1,)), reshape(src, (-1,)), reduce, include_self=include_self
        )
        return reshape(made, ())
    made = scatter_combined(input, d, index, src, reduce, include_self)
    return made if out is None else _to_out("scatter_reduce", out, made, (input, src))


def _bounds_of(index: Tensor, size: int, dim: int) -> None:
    values = numpy_view(index)
    bad = (values < 0) | (values >= size)
    if bad.any():
        _out_of_range(dim, size)(0, int(values[bad].flat[0]))


@function(tensors=("input", "source"))
def index_combined(input, dim, index, source, how, include_self):
    """`index_reduce` of checked operands."""
    return _reduced(input, (*[slice(None)] * dim, numpy_view(index)), source, how, include_self)


@index_combined.gradient("input", "source")
def _(grad, input, out, dim, index, source, how, include_self):
    return _combining_gradients(grad, input, out, dim, index, source, how, include_self, index_select, index_add)


index_combined.operator.node_class.__name__ = "IndexReduceBackward0"


def index_reduce(
    input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True, out=None
) -> Tensor:
    """The parts of `source` combined ("prod", "mean", "amax", "amin") with those that `index` names along `dim`."""
    if reduce not in ("prod", "mean", "amax", "amin"):
        fail(RuntimeError, f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}.")
    d = normalize_dim(dim, input.spec.ndim)
    _index_dtype(index, "index_reduce")
    if source.spec.dtype is not input.spec.dtype:
        fail(
            RuntimeError,
            f"index_reduce(): self and source expected to have the same dtype, but got (self) {_title(input)} and "
            f"(source) {_title(source)}",
        )
    if input.spec.dtype.kind == "b" and reduce == "mean":
        fail(NotImplementedError, "\"div_floor_cpu\" not implemented for 'Bool'")
    if input.spec.dtype.kind == "c" and reduce != "prod":
        fail(NotImplementedError, f"\"index_reduce_func_{reduce}\" not implemented for '{_title(input)}'")
    _bounds_of(index, input.spec.shape[d] if input.spec.ndim else 1, d)
    made = index_combined(input, d, index, source, reduce, include_self)
    return made if out is None else _to_out("index_reduce", out, made, (input, source))


@function(tensors=("input",), out=True)
def index_select(input, dim, index):
    """The parts of `input` along `dim` that the vector `index` names, in that order, copied."""
    _index_dtype(index, "index_select")
    if index.spec.ndim > 1:
        fail(IndexError, "index_select(): Index is supposed to be a vector", got=f"shape {tuple(index.spec.shape)}")
    rank = input.spec.ndim
    d = normalize_dim(dim, rank)
    if rank == 0:
        return reshape(index_select.operator.body(reshape(input, (1,)), 0, index), ())
    n = index.spec.numel
    shape = (*input.spec.shape[:d], n, *input.spec.shape[d + 1 :])
    out = launch.empty(dense(input.spec.dtype, shape, input.spec.device))
    along = reshape(index, (n, *[1] * (rank - d - 1)))
    steps = [0 if e == d else st for e, st in enumerate(input.spec.strides)]
    size = input.spec.shape[d]

    def describe(number: int, value: int):
        fail(IndexError, "index out of range in self", expected=f"indices from 0 to {size - 1}", got=value)

    return _indexed(input, steps, out, [along], [size], [input.spec.strides[d]], shape, None, describe)


@index_select.gradient("input")
def _(grad, input_spec, dim, index):
    return index_add(zeros_of(dense(input_spec.dtype, input_spec.shape, input_spec.device)), dim, index, grad)


@function(tensors=("input", "source"))
def index_add_core(input, dim, index, source, alpha):
    """A copy of `input` with the parts of `source` added to those that `index` names along `dim`."""
    _index_dtype(index, "index_add")
    d = normalize_dim(dim, input.spec.ndim)
    if not input.spec.ndim:
        body = index_add_core.operator.body
        return reshape(body(reshape(input, (1,)), 0, reshape(index, (-1,)), reshape(source, (-1,)), alpha), ())
    out = copy_values(launch.empty(dense(input.spec.dtype, input.spec.shape, input.spec.device)), input)
    if alpha != 1:
        source = OPERATORS["mul"].call(source, alpha)
    return _add_along(out, d, index, source)


def _add_along(out: Tensor, d: int, index: Tensor, source: Tensor) -> Tensor:
    """Add the parts of `source` to those of `out` that `index` names along dim `d`; nothing is recorded."""
    along = reshape(index, (index.spec.numel, *[1] * (out.spec.ndim - d - 1)))
    shape = (*out.spec.shape[:d], index.spec.numel, *out.spec.shape[d + 1 :])
    if tuple(source.spec.shape) != shape:
        fail(
            RuntimeError,
            f"index_add_(): Number of indices ({index.spec.numel}) should be equal to source.size(dim): "
            f"({source.spec.shape[d]}), for dim: {d}",
        )
    steps = [0 if e == d else st for e, st in enumerate(out.spec.strides)]
    size = out.spec.shape[d]
    return _indexed(out, steps, source, [along], [size], [out.spec.strides[d]], shape, "add", _out_of_range(d, size))


@index_add_core.gradient("input")
def _(grad):
    return grad


@index_add_core.gradient("source")
def _(grad, dim, index, alpha):
    found = index_select(grad, dim, index)
    return found if alpha == 1 else OPERATORS["mul"].call(found, alpha)


index_add_core.operator.node_class.__name__ = "IndexAddBackward0"


def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha=1, out=None) -> Tensor:
    """A copy of `input` with `alpha * source` added to the parts that `index` names along `dim`."""
    if source.spec.dtype is not input.spec.dtype:
        fail(
            RuntimeError,
            f"index_add_(): self ({_title(input)}) and source ({_title(source)}) must have the same scalar type",
        )
    made = index_add_core(input, dim, index, source, alpha)
    return made if out is None else _to_out("index_add", out, made, (input, source))


def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor, *, out=None) -> Tensor:
    """A copy of `input` with the parts of `source` in the places that `index` names along `dim`."""
    made = _index_copy(input, dim, index, source)
    return made if out is None else _to_out("index_copy", out, made, (input, source))


def _index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """A copy of `input` with the parts of `source` in the places that `index` names along `dim`."""
    d = normalize_dim(dim, input.spec.ndim)
    out = input.clone(memory_format="contiguous")
    if source.spec.dtype is not input.spec.dtype:
        fail(
            RuntimeError,
            f"index_copy_(): self and source expected to have the same dtype, but got (self) {_title(input)} and "
            f"(source) {_title(source)}",
        )
    if source.spec.ndim and source.spec.shape[d] != index.spec.numel:
        fail(
            IndexError,
            f"index_copy_(): Number of indices ({index.spec.numel}) should be equal to source.size(dim) "
            f"({source.spec.shape[d]})",
        )
    setitem(out, (*[slice(None)] * d, index), source)
    return out


def index_fill(input: Tensor, dim: int, index: Tensor, value) -> Tensor:
    """A copy of `input` with a number in the places that `index` names along `dim`."""
    d = normalize_dim(dim, input.spec.ndim)
    if isinstance(value, Tensor):
        if value.spec.ndim:
            fail(
                RuntimeError,
                f"index_fill_ only supports a 0-dimensional value tensor, but got tensor with {value.spec.ndim} "
                "dimension(s).",
            )
        value = cast(value, input.spec.dtype)
    out = input.clone()
    setitem(out, (*[slice(None)] * d, index), value)
    return out


def _flat_index(input: Tensor, index: Tensor, name: str) -> Tensor:
    """Indices into the flattened input as a vector; IndexError in PyTorch's words for those out of range."""
    if index.spec.dtype is not dt.int64:
        fail(RuntimeError, f"{name}(): Expected a long tensor for index, but got {_title(index)}")
    n = input.spec.numel
    if not n and index.spec.numel:
        fail(
            IndexError,
            f"{name}(): tried to {name} from an empty tensor"
            if name == "take"
            else f"{name}(): tried to put elements into an empty tensor",
        )
    values = numpy_view(index)
    bad = (values < -n) | (values >= n)
    if bad.any():
        fail(IndexError, f"out of range: tried to access index {int(values[bad].flat[0])} on a tensor of {n} elements.")
    return reshape(index, (-1,))


def take(input: Tensor, index: Tensor, *, out=None) -> Tensor:
    """The elements of the flattened input that `index` names, in the shape of `index`."""
    made = reshape(getitem(reshape(input, (-1,)), _flat_index(input, index, "take")), index.spec.shape)
    return made if out is None else _to_out("take", out, made, (input,))


def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """A copy of `input` with the elements of `source` at the places of the flattened input that `index` names."""
    if source.spec.dtype is not input.spec.dtype:
        fail(
            RuntimeError,
            f"put_(): self and source expected to have the same dtype, but got self.dtype = {_title(input)} and "
            f"source.dtype = {_title(source)}",
        )
    if index.spec.numel != source.spec.numel:
        fail(
            RuntimeError,
            "put_(): Expected source and index to have the same number of elements, but got source.numel() = "
            f"{source.spec.numel}, index.numel() = {index.spec.numel}",
        )
    at = numpy_view(_flat_index(input, index, "put_"))
    if not input.spec.ndim:
        return reshape(put(reshape(input, (1,)), index, source, accumulate), ())
    if not at.size:
        return input.clone()
    places = np.unravel_index(at % input.spec.numel, input.spec.shape)
    return index_put(
        input, tuple(from_numpy(np.ascontiguousarray(c)) for c in places), reshape(source, (-1,)), accumulate
    )


def unravel_index(indices: Tensor, shape) -> tuple[Tensor, ...]:
    """The coordinates in `shape` of indices into the flattened tensor, one tensor a dim."""
    sizes = tuple(shape) if not isinstance(shape, int) else (shape,)
    if indices.spec.dtype.kind not in "ui":
        fail(ValueError, f"expected 'indices' to be integer dtype, but got {indices.spec.dtype!r}")
    if indices.spec.numel:
        values = numpy_view(indices)
        if values.min() < -prod(sizes) or values.max() >= prod(sizes):
            fail(
                ValueError,
                f"target cannot be empty or out of range of shape {tuple(sizes)}",
                got=f"indices from {values.min()} to {values.max()}",
            )
    steps = [prod(sizes[d + 1 :]) for d in range(len(sizes))]
    whole = OPERATORS["floor_divide"].call(unsqueeze(indices, -1), tensor(steps, dtype=dt.int64))
    return OPERATORS["unbind"].call(OPERATORS["remainder"].call(whole, tensor(sizes, dtype=dt.int64)), -1)


def isin(elements, test_elements, *, assume_unique: bool = False, invert: bool = False, out=None) -> Tensor:
    """Whether each element is one of `test_elements`."""
    if out is not None:
        return _to_out("isin", out, isin(elements, test_elements, invert=invert), ())
    if not isinstance(elements, Tensor):
        elements = tensor(elements)
    if not isinstance(test_elements, Tensor):
        test_elements = tensor(test_elements)
    for x in (elements, test_elements):
        if x.spec.dtype.kind in "bc":
            fail(RuntimeError, f"Unsupported input type encountered for isin(): {_title(x)}")
    if dt.bfloat16 in (elements.spec.dtype, test_elements.spec.dtype):
        elements, test_elements = cast(elements, dt.float32), cast(test_elements, dt.float32)
    a, b = numpy_view(elements.detach()), numpy_view(test_elements.detach())
    return from_numpy(np.ascontiguousarray(np.isin(a, b, invert=invert)))


def take_along_dim(input: Tensor, indices: Tensor, dim=None, *, out=None) -> Tensor:
    """`gather` with the sizes of both broadcast."""
    if out is not None:
        return _to_out("take_along_dim", out, take_along_dim(input, indices, dim), (input,))
    if dim is None:
        return gather(reshape(input, (-1,)), 0, reshape(indices, (-1,)))
    d = normalize_dim(dim, input.spec.ndim)
    if input.spec.ndim != indices.spec.ndim:
        fail(
            RuntimeError,
            "torch.take_along_dim(): input and indices should have the same number of dimensions, but got "
            f"{input.spec.ndim} dimensions for input, and {indices.spec.ndim} dimensions for indices",
        )
    a, b = list(input.spec.shape), list(indices.spec.shape)
    a[d] = b[d] = 1
    both = list(broadcast(a, b))
    wide, narrow_ = list(both), list(both)
    wide[d], narrow_[d] = input.spec.shape[d], indices.spec.shape[d]
    return gather(expand_to(input, tuple(wide)), d, expand_to(indices, tuple(narrow_)))


# --- masks --------------------------------------------------------------------------------------------------------


def nonzero(input: Tensor, *, as_tuple: bool = False, out=None) -> Any:
    """The coordinates of the elements that are not 0: (n, ndim), or a tuple of ndim vectors."""
    if as_tuple and out is not None:
        fail(TypeError, "nonzero() received an invalid combination of arguments - as_tuple and out exclude each other")
    array = numpy_view(input)
    if input.spec.dtype is dt.bfloat16:
        array = (array & 0x7FFF) != 0
    found = np.nonzero(np.atleast_1d(array)) if input.spec.ndim else (np.flatnonzero(array),)[: input.spec.ndim]
    if as_tuple:
        if not input.spec.ndim:
            found = (np.flatnonzero(array),)
        return tuple(from_numpy(np.ascontiguousarray(c)) for c in found)
    count = len(found[0]) if found else int(bool(array))
    made = from_numpy(np.stack(found, 0).T if found else np.empty((count, 0), np.int64))
    if out is None:
        return made
    return _to_out("nonzero", out, made, ())


def argwhere(input: Tensor) -> Tensor:
    """`nonzero` as (n, ndim)."""
    return nonzero(input)


def where_nonzero(condition: Tensor):
    """`where(condition)`: `nonzero` as a tuple."""
    return nonzero(condition, as_tuple=True)


def masked_select(input: Tensor, mask: Tensor, *, out=None) -> Tensor:
    """The elements where `mask` holds, as a vector; both broadcast."""
    if mask.spec.dtype is not dt.bool_:
        fail(RuntimeError, "masked_select: expected BoolTensor for mask", got=str(mask.spec.dtype))
    shape = broadcast(input.spec.shape, mask.spec.shape)
    made = (
        getitem(expand_to(input, shape), expand_to(mask, shape))
        if shape
        else getitem(reshape(input, (1,)), reshape(mask, (1,)))
    )
    if out is None:
        return made
    return _to_out("masked_select", out, made, (input,))


def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """A copy of `input` with the elements of `source` in order where `mask` holds."""
    shape = broadcast(input.spec.shape, mask.spec.shape)
    out = expand_to(input, shape).clone(memory_format="contiguous")
    at = nonzero(expand_to(mask, shape), as_tuple=True)
    n = at[0].spec.numel
    if source.spec.numel < n:
        fail(
            RuntimeError,
            f"masked_scatter: expected self and source to have enough elements: {n} are needed, source has "
            f"{source.spec.numel}",
        )
    setitem(out, tuple(at), slice_dim(reshape(source, (-1,)), 0, 0, n))
    return out


# --- x[...] -------------------------------------------------------------------------------------------------------


@function(tensors=("input",))
def index(input, indices):
    """The elements that index tensors (one for each of the first dims, None: all of a dim) name together."""
    shape, steps, tensors, sizes, strides, layout = _advanced(input, indices)
    out = launch.empty(dense(input.spec.dtype, shape, input.spec.device))
    return _indexed(input, steps, out, tensors, sizes, strides, shape, None, _bad_index(layout, sizes), True)


@index.gradient("input")
def _(grad, input_spec, indices):
    return index_put(
        zeros_of(dense(input_spec.dtype, input_spec.shape, input_spec.device)), indices, grad, accumulate=True
    )


def _bad_index(dims: Sequence[int], sizes: Sequence[int]):
    def describe(number: int, value: int):
        fail(
            IndexError,
            f"index {value} is out of bounds for dimension {dims[number]} with size {sizes[number]}",
            expected=f"indices from {-sizes[number]} to {sizes[number] - 1}",
        )

    return describe


def _advanced(input: Tensor, indices: Sequence[Any]):
    """The iteration space of an advanced index: (shape, input strides, index tensors, their sizes, strides, dims)."""
    s = input.spec
    at = [d for d, i in enumerate(indices) if i is not None]
    shapes = [indices[d].spec.shape for d in at]
    try:
        block = shapes[0] if len(shapes) == 1 else broadcast(*shapes)
    except RuntimeError:
        fail(
            IndexError,
            "shape mismatch: indexing tensors could not be broadcast together with shapes "
            f"{', '.join(str(list(s)) for s in shapes)}",
        )
    together = at == list(range(at[0], at[-1] + 1))
    lead = at[0] if together else 0
    others = [d for d in range(s.ndim) if d not in at]
    before, after = (others[:lead], others[lead:]) if together else ([], others)
    if together:
        before, after = [d for d in others if d < at[0]], [d for d in others if d > at[-1]]
    shape = (*[s.shape[d] for d in before], *block, *[s.shape[d] for d in after])
    steps = [*[s.strides[d] for d in before], *[0] * len(block), *[s.strides[d] for d in after]]
    tensors = []
    for d in at:
        t = expand_to(indices[d], block) if indices[d].spec.shape != block else indices[d]
        tensors.append(reshape_view(t, (*t.spec.shape, *[1] * len(after))))
    return shape, steps, tensors, [s.shape[d] for d in at], [s.strides[d] for d in at], at


def reshape_view(t: Tensor, shape) -> Tensor:
    """`t` with sizes of 1 appended: a view whatever its strides."""
    from facula.core.spec import spec

    from .declare import view_of

    extra = len(shape) - t.spec.ndim
    return (
        view_of(t, spec(t.spec.dtype, t.spec.device, Size(shape), (*t.spec.strides, *[1] * extra)), 0) if extra else t
    )


@function(tensors=("input", "values"))
def index_put_core(input, indices, values, accumulate):
    """A copy of `input` with `values` at the elements that index tensors name (added to them with `accumulate`)."""
    out = copy_values(launch.empty(like_layout(input.spec)), input)
    return _put(out, indices, values, accumulate)


def _put(out: Tensor, indices, values: Tensor, accumulate: bool) -> Tensor:
    shape, steps, tensors, sizes, strides, dims = _advanced(out, indices)
    lead = len(values.spec.shape) - len(shape)
    if lead > 0 and all(n == 1 for n in values.spec.shape[:lead]):
        values = reshape(values, values.spec.shape[lead:])
    if len(values.spec.shape) > len(shape) or any(
        n not in (1, m) for n, m in zip(reversed(values.spec.shape), reversed(shape))
    ):
        fail(
            RuntimeError,
            f"shape mismatch: value tensor of shape {list(values.spec.shape)} cannot be broadcast to indexing result "
            f"of shape {list(shape)}",
        )
    return _indexed(
        out,
        steps,
        values,
        tensors,
        sizes,
        strides,
        shape,
        "add" if accumulate else "set",
        _bad_index(dims, sizes),
        True,
    )


@index_put_core.gradient("input")
def _(grad, indices, accumulate, input_spec):
    if accumulate:
        return grad
    return index_put(grad, indices, zeros_of(dense(input_spec.dtype, (), input_spec.device)))


@index_put_core.gradient("values")
def _(grad, indices, values_spec):
    from .reduction import sum_to

    return sum_to(index(grad, indices), values_spec)


index_put_core.operator.node_class.__name__ = "IndexPutBackward0"


def index_put(input: Tensor, indices, values: Tensor, accumulate: bool = False) -> Tensor:
    """A copy of `input` with `values` at the elements that a tuple of index tensors names."""
    return index_put_core(input, _as_positions(input, tuple(indices)), cast(values, input.spec.dtype), accumulate)


def _as_positions(input: Tensor, indices: tuple) -> tuple:
    """Index tensors with masks turned into coordinates, padded with None to all dims."""
    found: list = []
    for i in indices:
        if isinstance(i, Tensor) and i.spec.dtype in (dt.bool_, dt.uint8):
            _check_mask(i, input.spec, len(found))
            found += nonzero(i, as_tuple=True)
        else:
            found.append(i)
    if len(found) > input.spec.ndim:
        fail(IndexError, f"too many indices for tensor of dimension {input.spec.ndim}")
    return tuple(found)


def _check_mask(mask: Tensor, s: Spec, start: int) -> None:
    for j, n in enumerate(mask.spec.shape):
        if start + j >= s.ndim or s.shape[start + j] != n:
            fail(
                IndexError,
                f"The shape of the mask {list(mask.spec.shape)} at index {j} does not match the shape of the indexed "
                f"tensor {list(s.shape)} at index {start + j}",
            )


def _to_out(name: str, out: Tensor, made: Tensor, inputs) -> Tensor:
    from .matmul import _to_out as into

    return into(name, out, made, inputs)


def _key(item) -> tuple:
    """An index expression as a tuple; lists of plain numbers become tensors."""
    return item if type(item) is tuple else (item,)


def _views(input: Tensor, items: tuple) -> tuple[Tensor, list]:
    """Apply the parts of an index that are views (int, slice, None, Ellipsis); the rest: index tensors by dim."""
    taken = 0
    for i in items:
        if i is None or i is Ellipsis or isinstance(i, bool):
            continue
        if isinstance(i, Tensor) and i.spec.dtype in (dt.bool_, dt.uint8):
            taken += i.spec.ndim
        elif isinstance(i, np.ndarray) and i.dtype == bool:
            taken += i.ndim
        else:
            taken += 1
    rank = input.spec.ndim
    if taken > rank:
        fail(IndexError, f"too many indices for tensor of dimension {rank}")
    dim, advanced = 0, []
    for i in items:
        kind = type(i)
        if kind is int:
            size = input.spec.shape[dim]
            if not -size <= i < size:
                fail(
                    IndexError,
                    f"index {i} is out of bounds for dimension {dim} with size {size}",
                    expected=f"an index from {-size} to {size - 1}",
                )
            input = select(input, dim, i)
        elif kind is slice:
            if i.start is not None or i.stop is not None or i.step is not None:
                input = slice_dim(input, dim, _bound(i.start), _bound(i.stop), 1 if i.step is None else _bound(i.step))
            dim += 1
        elif i is None:
            input = unsqueeze(input, dim)
            dim += 1
        elif i is Ellipsis:
            dim += rank - taken
        elif kind is bool:
            input = unsqueeze(input, dim)
            advanced.append((dim, tensor(i)))
            dim += 1
        else:
            t = _index_tensor(i)
            if t.spec.ndim == 0 and t.spec.dtype.kind in "ui" and t.spec.dtype is not dt.uint8:
                at, size = t.item(), input.spec.shape[dim]
                if not -size <= at < size:
                    fail(
                        IndexError,
                        f"index {at} is out of bounds for dimension {dim} with size {size}",
                        expected=f"an index from {-size} to {size - 1}",
                    )
                input = select(input, dim, at)
                continue
            if t.spec.dtype in (dt.bool_, dt.uint8):
                if t.spec.ndim == 0:
                    input = unsqueeze(input, dim)
                    advanced.append((dim, t))
                    dim += 1
                    continue
                _check_mask(t, input.spec, dim)
                for e, c in enumerate(nonzero(t, as_tuple=True)):
                    advanced.append((dim + e, c))
                dim += t.spec.ndim
            else:
                advanced.append((dim, t))
                dim += 1
    return input, advanced


def _bound(n):
    return n if n is None or type(n) is int else n.__index__() if not isinstance(n, Tensor) else int(n.item())


def _index_tensor(i) -> Tensor:
    if isinstance(i, Tensor):
        if i.spec.dtype.kind not in "bui" or i.spec.dtype in (dt.int8, dt.int16):
            fail(
                IndexError,
                "tensors used as indices must be long, int, byte or bool tensors",
                got=str(i.spec.dtype),
                mend="convert it: index.long()",
            )
        return i
    if isinstance(i, (list, tuple, np.ndarray, range)):
        found = tensor(list(i) if isinstance(i, range) else i)
        return cast(found, dt.int64) if found.spec.numel == 0 else _index_tensor(found)
    if hasattr(i, "__index__"):
        return tensor(i.__index__())
    if isinstance(i, str):
        fail(TypeError, "new(): invalid data type 'str'")
    fail(
        IndexError,
        "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices (got "
        f"{type(i).__name__})",
        got=repr(i),
    )


def _resolve(input: Tensor, advanced: list) -> tuple:
    """Index tensors by dim; a 0-d mask picks all or nothing of the dim of size 1 that was made for it."""
    indices: list = [None] * input.spec.ndim
    for d, t in advanced:
        if t.spec.dtype in (dt.bool_, dt.uint8):
            t = tensor([0] if t.item() else [], dtype=dt.int64)
        indices[d] = t
    while indices and indices[-1] is None:
        indices.pop()
    return tuple(indices)


@view
def basic_index(spec, item):
    """Ints, slices (as triples), None and Ellipsis: a view."""
    taken = len([i for i in item if i is not None and i is not Ellipsis])
    if taken > spec.ndim:
        fail(IndexError, f"too many indices for tensor of dimension {spec.ndim}")
    shape, strides, offset, d = [], [], 0, 0
    for i in item:
        if i is None:
            shape.append(1)
            strides.append(1 if d == spec.ndim else spec.shape[d] * spec.strides[d])
        elif i is Ellipsis:
            skip = spec.ndim - taken
            shape.extend(spec.shape[d : d + skip])
            strides.extend(spec.strides[d : d + skip])
            d += skip
        elif i.__class__ is int:
            size = spec.shape[d]
            if not -size <= i < size:
                fail(
                    IndexError,
                    f"index {i} is out of bounds for dimension {d} with size {size}",
                    expected=f"an index from {-size} to {size - 1}",
                )
            offset += (i % size) * spec.strides[d]
            d += 1
        else:
            start, stop, step = i
            if step is not None and step <= 0:
                fail(ValueError, "step must be greater than zero", mend="use flip() for a reversed order")
            first, last, step = slice(start, stop, step).indices(spec.shape[d])
            n = max(0, -(-(last - first) // step))
            shape.append(n)
            strides.append(spec.strides[d] * step)
            offset += first * spec.strides[d] if n or first < spec.shape[d] else 0
            d += 1
    return [*shape, *spec.shape[d:]], [*strides, *spec.strides[d:]], offset


basic_index.operator.node_class.__name__ = "SliceBackward0"


def _last_step(node) -> str:
    """The name of the last of the views that PyTorch would make one after another."""
    last = [i for i in node.args[0] if i is not Ellipsis][-1:]
    if not last:
        return "AliasBackward0"
    return (
        "SelectBackward0" if last[0].__class__ is int else "UnsqueezeBackward0" if last[0] is None else "SliceBackward0"
    )


basic_index.operator.naming = _last_step
_select, _basic = select.operator.call, basic_index.operator.call


def getitem(input: Tensor, item) -> Tensor:
    """`input[item]`: a view for ints and slices, a copy for index tensors and masks."""
    kind = item.__class__
    if kind is int:
        if not input.spec.ndim:
            fail(
                IndexError,
                "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to "
                "convert a 0-dim tensor to a number",
            )
        try:
            return _select(input, 0, item)
        except IndexError:
            size = input.spec.shape[0]
            fail(
                IndexError,
                f"index {item} is out of bounds for dimension 0 with size {size}",
                expected=f"an index from {-size} to {size - 1}",
            )
    if kind is slice:
        return _basic(input, ((item.start, item.stop, item.step),))
    if kind is tuple:
        encoded = []
        for i in item:
            if i.__class__ is slice:
                i = (i.start, i.stop, i.step)
            elif not (i.__class__ is int or i is None or i is Ellipsis):
                break
            encoded.append(i)
        else:
            return _basic(input, tuple(encoded))
    found, advanced = _views(input, _key(item))
    if not advanced:
        return found if found is not input else alias_view(input)
    return index(found, _resolve(found, advanced))


def setitem(input: Tensor, item, value) -> None:
    """`input[item] = value`."""
    from .inplace import copy_, fill_

    target, advanced = _views(input, _key(item))
    if not advanced:
        if isinstance(value, Tensor):
            shape, own = value.spec.shape, target.spec.shape
            lead = len(shape) - len(own)
            if lead > 0 and all(n == 1 for n in shape[:lead]):
                value = reshape(value, shape[lead:])
            elif lead > 0 or any(n not in (1, m) for n, m in zip(reversed(shape), reversed(own))):
                d = next((i for i, (n, m) in enumerate(zip(reversed(shape), reversed(own))) if n not in (1, m)), None)
                if d is None:
                    fail(
                        RuntimeError,
                        f"shape mismatch: value tensor of shape {list(shape)} cannot be broadcast to indexing result "
                        f"of shape {list(own)}",
                    )
                fail(
                    RuntimeError,
                    f"The expanded size of the tensor ({own[-1 - d]}) must match the existing size ({shape[-1 - d]}) "
                    f"at non-singleton dimension {len(own) - 1 - d}.  Target sizes: {list(own)}.  Tensor sizes: "
                    f"{list(shape)}",
                )
            copy_(target, value)
        elif isinstance(value, (bool, int, float, complex)):
            fill_(target, value)
        else:
            copy_(target, tensor(value, dtype=input.spec.dtype))
        return
    if not isinstance(value, Tensor):
        value = tensor(value, dtype=input.spec.dtype)
    elif value.spec.dtype is not input.spec.dtype:
        if value.spec.ndim:
            fail(
                RuntimeError,
                f"Index put requires the source and destination dtypes match, got {_title(input)} for the destination "
                f"and {_title(value)} for the source.",
                mend="convert the value: value.to(x.dtype)",
            )
        value = cast(value, input.spec.dtype)
    put_(target, _resolve(target, advanced), value)


def _title(x: Tensor) -> str:
    from facula.autograd.node import dtype_title

    return dtype_title(x.spec.dtype)


def put_(target: Tensor, indices: tuple, value: Tensor, accumulate: bool = False) -> Tensor:
    """Write `value` at the elements that index tensors name, in place."""
    from .inplace import check_overlap, recording, write

    if not recording(target, value):
        check_overlap(target)
        shape, _, tensors, sizes, _, dims = _advanced(target, indices)
        _bounds(tensors, sizes, dims)  # before anything is written: nothing is left half-changed
        _put(target, indices, value, accumulate)
        target.storage.version += 1
        return target
    return write(target, lambda x: index_put_core(x, indices, value, accumulate), value)


# --- in place -----------------------------------------------------------------------------------------------------


def _direct(target: Tensor, *others: Tensor) -> bool:
    """Whether elements may be written straight into `target`: nothing is recorded, nobody else reads its memory."""
    from .inplace import check_overlap, recording

    check_overlap(target)
    return not recording(target, *others) and all(x.storage is not target.storage for x in others)


def _scatter_in_place(name: str, target: Tensor, dim: int, index: Tensor, src: Tensor, how: str) -> Tensor:
    from .inplace import write

    if not _direct(target, src, index):
        core = scatter_src if how == "set" else scatter_add
        return write(target, lambda x: core(x, dim, index, src), src)
    _index_dtype(index, name)
    d = normalize_dim(dim, target.spec.ndim)
    if index.spec.numel:
        _bounds_of(index, target.spec.shape[d] if target.spec.ndim else 1, d)  # before anything is written
    _scatter_into(name, target, dim, index, src, how)
    target.storage.version += 1
    return target


def scatter_(self: Tensor, dim: int, index: Tensor, src=None, *, value=None, reduce=None) -> Tensor:
    """Write `src` (a tensor or a number) at the places that `index` names along `dim`."""
    src = value if src is None else src
    if not isinstance(src, Tensor):
        src = expand_to(creation.full((), src, dtype=self.spec.dtype, device=self.spec.device), tuple(index.spec.shape))
    if reduce in ("multiply", "add"):
        how = "prod" if reduce == "multiply" else "sum"
        return self.scatter_reduce_(dim, index, src, how)
    if reduce is not None:
        fail(RuntimeError, f"reduce argument must be either add or multiply, got {reduce}.")
    return _scatter_in_place("scatter", self, dim, index, src, "set")


def scatter_add_(self: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """Add the elements of `src` at the places that `index` names along `dim`."""
    return _scatter_in_place("scatter_add", self, dim, index, src, "add")


def index_add_(self: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha=1) -> Tensor:
    """Add `alpha * source` to the parts that `index` names along `dim`."""
    from .inplace import write

    if alpha != 1 or not self.spec.ndim or not _direct(self, source, index):
        return write(self, lambda x: index_add(x, dim, index, source, alpha=alpha), source)
    if source.spec.dtype is not self.spec.dtype:
        fail(
            RuntimeError,
            f"index_add_(): self ({_title(self)}) and source ({_title(source)}) must have the same scalar type",
        )
    d = normalize_dim(dim, self.spec.ndim)
    _index_dtype(index, "index_add")
    _bounds_of(index, self.spec.shape[d], d)
    _add_along(self, d, index, source)
    self.storage.version += 1
    return self


def index_put_(self: Tensor, indices, values: Tensor, accumulate: bool = False) -> Tensor:
    """Write `values` at the elements that a tuple of index tensors names (add them with `accumulate`)."""
    if values.spec.dtype is not self.spec.dtype:
        fail(
            RuntimeError,
            f"Index put requires the source and destination dtypes match, got {_title(self)} for the destination and "
            f"{_title(values)} for the source.",
        )
    return put_(self, _as_positions(self, tuple(indices)), values, accumulate)


def _bounds(tensors: Sequence[Tensor], sizes: Sequence[int], dims: Sequence[int]) -> None:
    """IndexError for the first index that is out of range."""
    for t, size, d in zip(tensors, sizes, dims):
        if t.spec.numel:
            values = numpy_view(t)
            bad = (values < -size) | (values >= size)
            if bad.any():
                _bad_index(dims, sizes)(list(dims).index(d), int(values[bad].flat[0]))
