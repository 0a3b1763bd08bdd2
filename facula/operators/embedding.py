"""Rows of a table by index, one by one or summed in bags; gradients are scattered into the table."""

import math
from typing import NoReturn

import numpy as np

from facula import launch
from facula.core import dtype as dt
from facula.core.device import device
from facula.core.modes import GUARD, LOCAL
from facula.core.spec import Spec, dense
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.ir import expr as ir
from facula.ir.kernel import Check, Input, Kernel, Param, Result

from . import kernels
from .copying import cast
from .creation import full, numpy_view, ones_like, zeros_of
from .declare import function, one_device
from .declare.repeats import FunctionPlan, Repeats
from .elementwise import add, clamp_both, clamp_min, eq, gt, masked_fill, mul, reciprocal, sub, true_divide, where
from .indexing import first_outside, index_select, put_, tally
from .joining import cat
from .promotion import opmath
from .reduction import cumsum, span, sum_rows
from .sparse import made as sparse_made
from .view import narrow, reshape, unsqueeze

__all__ = ["embedding", "embedding_bag", "embedding_dense_backward", "embedding_renorm_"]


def _need_indices(indices: Tensor, name: str) -> None:
    if indices.spec.dtype not in (dt.int64, dt.int32):
        fail(
            RuntimeError,
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but got "
            f"{indices.type()} instead (while checking arguments for {name})",
            mend="indices.long()",
        )


# --- one row for each index ---------------------------------------------------------------------------------------


_ROWS, _BAGS = Param("rows", dt.int64), Param("bags", dt.int64)


def _known(index):
    """Whether an index names one of the table's `rows`; gradients leave the others out: see `launch.checks_later`."""
    return ir.and_(ir.ge(index, 0), ir.lt(index, ir.param("rows", dt.int64)))


def _in_a_bag(number):
    """Whether a position is in a bag: those behind the last one have the number after it."""
    return ir.lt(number, ir.param("bags", dt.int64))


def _index_in_a_bag(kind):
    """An index, the number of its bag, and whether the row that it names is part of that."""
    index, bag = ir.cast(ir.load("index", kind), dt.int64), ir.load("bag", dt.int64)
    used = ir.and_(ir.and_(ir.ne(index, ir.param("padding", dt.int64)), _known(index)), _in_a_bag(bag))
    return index, bag, used


@kernels.kernel
def _gather_rows(kind, index_kind) -> Kernel:
    index = ir.cast(ir.load("index", index_kind), dt.int64)
    inside = _known(index)
    row = ir.load("weight", kind, index * ir.param("step", dt.int64))
    params = (Param("rows", dt.int64), Param("step", dt.int64))
    check = Check(inside, index, "index {value} is out of range")
    return Kernel(
        "embedding", (Input("weight", kind), Input("index", index_kind)), (Result("out", kind, row),), params, (check,)
    )


_PLANS: dict[tuple, FunctionPlan] = {}  # by the specs of table and indices


def _plan(w: Spec, i: Spec) -> FunctionPlan:
    one_device(w, i)
    rows, width = w.shape
    out = dense(w.dtype, (*i.shape, width), w.device)
    whole = (w.strides[1] == 1 or width == 1) and (i.contiguous or i.ndim == 1)
    rows_of = launch.offered("rows", w.device) if whole else None
    if rows_of is not None:  # rows are copied whole
        size, step = w.dtype.itemsize, i.strides[-1] if i.ndim == 1 else 1
        run = rows_of() if out.numel else None
        rest = (i.numel, rows, width * size, w.strides[0] * size, step, int(i.dtype is dt.int64))
    else:
        strides = [list(out.strides), [*[0] * i.ndim, w.strides[1]], [*i.strides, 0]]
        bound = launch.bind(_gather_rows(w.dtype, i.dtype), list(out.shape), None, strides, w.device)
        run, rest = bound.function, (rows, w.strides[0], *bound.tail)
    if len(_PLANS) > 4096:
        _PLANS.clear()
    # Machine code may repeat it where it need not look at what the kernel's check says.
    found = _PLANS[w, i] = FunctionPlan(run, rest, (out,), (0, 1) if launch.checks_later(w.device) else ())
    return found


@function(tensors=("weight",))
def embedding_rows(weight, indices, padding_idx, scale_grad_by_freq, sparse=False):
    plan = _PLANS.get((weight.spec, indices.spec)) or _plan(weight.spec, indices.spec)
    out = launch.empty(plan.outs[0])
    if plan.function is not None:
        wrong = plan.function(out.ptr, weight.ptr, indices.ptr, *plan.tail)
        if wrong is not None and wrong != -1:
            values, rows = numpy_view(indices), weight.spec.shape[0]
            first = int(values[(values < 0) | (values >= rows)].flat[0])
            fail(IndexError, "index out of range in self", expected=f"indices from 0 to {rows - 1}", got=first)
    return out


@embedding_rows.gradient("weight")
def _(grad, weight_spec, indices, padding_idx, scale_grad_by_freq, sparse):
    if sparse:
        if scale_grad_by_freq:
            fail(RuntimeError, "embedding_backward: scale_grad_by_freq not supported with sparse gradients")
        return _sparse_rows(reshape(grad, (indices.spec.numel, grad.spec.shape[-1])), indices, weight_spec, padding_idx)
    return embedding_dense_backward(grad, indices, weight_spec.shape[0], padding_idx, scale_grad_by_freq)


embedding_rows.operator.node_class.__name__ = "EmbeddingBackward0"
_KNOWN = Repeats(embedding_rows.operator, 2, others=3)


def _sparse_rows(rows: Tensor, indices: Tensor, table: Spec, padding_idx: int) -> Tensor:
    """The gradient of a table that holds the used rows alone, one for each index."""
    places = reshape(indices, (indices.spec.numel,)).long()
    if padding_idx >= 0:
        kept = places != padding_idx
        places, rows = places[kept], rows[kept]
    return sparse_made(reshape(places, (1, -1)), rows, table.shape, False)


def embedding(weight, indices, padding_idx=-1, scale_grad_by_freq=False, sparse=False) -> Tensor:
    """The rows of `weight` that `indices` names.

    Parameters
    ----------
    weight : Tensor
        The table, (rows, features).
    indices : Tensor
        Of any shape: the result has one dim more.
    padding_idx : int
        A row that gets no gradient; negative: none.
    scale_grad_by_freq : bool
        Divide the gradient of each row by how often it is used.
    sparse : bool
        Whether the gradient is a sparse tensor of the used rows alone.

    Examples
    --------
    >>> import facula as torch
    >>> torch.embedding(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([1, 0]))
    tensor([[3., 4.],
            [1., 2.]])
    """
    plan = _PLANS.get((weight.spec, indices.spec))
    if plan is None:
        if weight.spec.ndim != 2:
            fail(RuntimeError, "'weight' must be 2-D", got=f"shape {tuple(weight.spec.shape)}")
        _need_indices(indices, "embedding")
    if plan is None or not plan.sources:
        return embedding_rows(weight, indices, padding_idx, scale_grad_by_freq, sparse)
    given = weight, indices, padding_idx, scale_grad_by_freq, sparse
    if (made := _KNOWN.run(*given)) is not None:
        return made
    if GUARD.active and (made := _KNOWN.in_mode()(*given)) is not None:
        return made
    made = embedding_rows(*given)
    _KNOWN.repeat(given, 1, made, lambda *_: FunctionPlan(plan.function, plan.tail, plan.outs, plan.sources))
    return made


@kernels.kernel
def _scatter_rows(kind, index_kind, bag: bool, factor) -> Kernel:
    """(n, features): adds row i of the gradient, or that of its bag, times a factor, to the row that index i names."""
    index = ir.cast(ir.load("index", index_kind), dt.int64)
    inputs = [Input("grad", kind), Input("index", index_kind)]
    params = [Param("step", dt.int64), Param("padding", dt.int64), _ROWS]
    used, offset = ir.and_(ir.ne(index, ir.param("padding", dt.int64)), _known(index)), None
    if bag:
        inputs.append(Input("bag", dt.int64))
        params += [Param("apart", dt.int64), _BAGS]
        number = ir.load("bag", dt.int64)
        used, offset = ir.and_(used, _in_a_bag(number)), number * ir.param("apart", dt.int64)
    value = ir.cast(ir.load("grad", kind, *((offset, used) if bag else ())), opmath(kind))
    if factor is not None:
        inputs.append(Input("factor", factor))
        value = value * ir.cast(ir.load("factor", factor), value.dtype)
    result = Result("out", kind, value, offset=index * ir.param("step", dt.int64), where=used, combine="add")
    return Kernel("embedding_scatter", tuple(inputs), (result,), tuple(params))


def _scatter(
    grad: Tensor, indices: Tensor, rows: int, padding: int, bag: Tensor | None = None, factor: Tensor | None = None
) -> Tensor:
    """The gradient of a table: `grad` (n, features) or, with `bag`, (bags, features)."""
    width = grad.spec.shape[1]
    out = zeros_of(dense(grad.spec.dtype, (rows, width), grad.spec.device))
    kernel = _scatter_rows(
        grad.spec.dtype, indices.spec.dtype, bag is not None, None if factor is None else factor.spec.dtype
    )
    own = grad.spec.strides
    operands, strides = (
        [out, grad, indices],
        [[0, 1], [0 if bag is not None else own[0], own[1]], [indices.spec.strides[0], 0]],
    )
    params = [width, padding, rows]
    if bag is not None:
        operands.append(bag)
        strides.append([1, 0])
        params += [own[0], grad.spec.shape[0]]
    if factor is not None:
        operands.append(factor)
        strides.append([factor.spec.strides[0], 0])
    kernels.run(kernel, ((indices if bag is None else bag).spec.numel, width), None, operands, strides, params)
    return out


def _frequency(indices: Tensor, rows: int, kind: dt.dtype) -> Tensor:
    """How often the row of each index of a vector is used."""
    places = cast(indices, dt.int64)
    return cast(index_select(tally(places, rows), 0, places), kind)


@function(tensors=("grad_output",))
def embedding_dense_backward(grad_output, indices, num_weights, padding_idx, scale_grad_by_freq):
    """The gradient of the table of `embedding`."""
    width = grad_output.spec.shape[-1]
    flat = reshape(indices, (indices.spec.numel,))
    factor = reciprocal(_frequency(flat, num_weights, opmath(grad_output.spec.dtype))) if scale_grad_by_freq else None
    grad = reshape(grad_output, (flat.spec.numel, width))
    return _scatter(grad, flat, num_weights, padding_idx, None, factor)


@embedding_dense_backward.gradient("grad_output")
def _(grad, indices, num_weights, padding_idx, scale_grad_by_freq):
    rows = embedding_rows(grad, indices, padding_idx, False)
    if scale_grad_by_freq:
        often = _frequency(reshape(indices, (indices.spec.numel,)), num_weights, rows.spec.dtype)
        rows = true_divide(rows, reshape(often, (*indices.spec.shape, 1)))
    if padding_idx < 0:
        return rows
    return masked_fill(rows, reshape(indices == padding_idx, (*indices.spec.shape, 1)), 0)


def embedding_renorm_(input, indices, max_norm, norm_type=2.0) -> Tensor:
    """Shorten the rows that `indices` names, in place, to a norm of at most `max_norm`."""
    from .reduction import norm

    table, rows = input.detach(), input.spec.shape[0]
    places = reshape(indices, (indices.spec.numel,))
    wrong = first_outside("embedding_renorm_", places, rows)
    if wrong is not None:
        text = f"select(): index {wrong} out of range for tensor of size {list(input.spec.shape)} at dimension 0"
        fail(IndexError, text)
    places = cast(places, dt.int64)
    found = index_select(table, 0, places)
    norms = cast(norm(found, float(norm_type), 1), dt.float64)
    factor = true_divide(max_norm, add(norms, 1e-7))
    factor = cast(where(gt(norms, max_norm), factor, ones_like(factor)), opmath(input.spec.dtype))
    put_(table, (places,), cast(mul(found, unsqueeze(factor, 1)), input.spec.dtype))
    return input


# --- bags ---------------------------------------------------------------------------------------------------------
# A bag is the indices from one of `marks` to the next. Where it is known how long bags may be, one kernel runs over
# (bags, features) x (position in the bag). A device that would have to be waited for is not asked: there each index
# adds its row to its bag.


def _member(index_kind):
    """(index, whether the position is in the bag and no padding) at a position of a row."""
    at = ir.load("first", dt.int64) + ir.row_index()
    inside = ir.lt(at, ir.load("last", dt.int64))
    index = ir.cast(ir.load("index", index_kind, at * ir.param("index_step", dt.int64), inside), dt.int64)
    return at, index, ir.and_(inside, ir.ne(index, ir.param("padding", dt.int64)))


_BAG_PARAMS = tuple(Param(n, dt.int64) for n in ("index_step", "step", "padding"))


@kernels.kernel
def _bag_kernel(mode: str, kind, index_kind, factor) -> Kernel:
    at, index, counted = _member(index_kind)
    known = _known(index)
    right = ir.or_(known, ir.not_(ir.lt(at, ir.load("last", dt.int64))))
    counted = ir.and_(counted, known)
    compute = opmath(kind)
    value = ir.cast(ir.load("weight", kind, index * ir.param("step", dt.int64), counted), compute)
    inputs = [Input("weight", kind), Input("index", index_kind), Input("first", dt.int64), Input("last", dt.int64)]
    params = [*_BAG_PARAMS, _ROWS]
    if factor is not None:
        inputs.append(Input("factor", factor))
        params.append(Param("factor_step", dt.int64))
        value = value * ir.cast(ir.load("factor", factor, at * ir.param("factor_step", dt.int64), counted), compute)
    zero = ir.const(0, compute)
    count = ir.reduce("sum", ir.cast(counted, compute))
    if mode == "max":
        shown = ir.select(counted, value, ir.const(-math.inf, compute))
        best = ir.select(ir.gt(count, zero), ir.reduce("max", shown), zero)
        results = (
            Result("out", kind, best, per_row=True),
            Result("place", dt.int64, ir.reduce("argmax", shown), per_row=True),
        )
    else:
        total = ir.reduce("sum", ir.select(counted, value, zero))
        if mode == "mean":
            total = total / ir.maximum(count, ir.const(1, compute))
        results = (Result("out", kind, total, per_row=True),)
    check = Check(right, index, "index {value} is out of range")
    return Kernel(f"embedding_bag_{mode}", tuple(inputs), results, tuple(params), (check,))


@kernels.kernel
def _bag_max_gradient(kind, index_kind) -> Kernel:
    """(bags, features): the gradient goes to the row that gave the maximum."""
    at = ir.load("first", dt.int64) + ir.load("place", dt.int64)
    inside = ir.lt(at, ir.load("last", dt.int64))
    index = ir.cast(ir.load("index", index_kind, at * ir.param("index_step", dt.int64), inside), dt.int64)
    used = ir.and_(ir.and_(inside, ir.ne(index, ir.param("padding", dt.int64))), _known(index))
    value = ir.cast(ir.load("grad", kind), opmath(kind))
    inputs = (
        Input("grad", kind),
        Input("place", dt.int64),
        Input("index", index_kind),
        Input("first", dt.int64),
        Input("last", dt.int64),
    )
    result = Result("out", kind, value, offset=index * ir.param("step", dt.int64), where=used, combine="add")
    return Kernel("embedding_bag_max_gradient", inputs, (result,), (*_BAG_PARAMS, _ROWS))


@kernels.kernel
def _factor_gradient(kind, index_kind, factor) -> Kernel:
    """n x features: of each index, the product of its row with the gradient of its bag."""
    index, bag, used = _index_in_a_bag(index_kind)
    compute = opmath(kind)
    row = ir.cast(ir.load("weight", kind, index * ir.param("step", dt.int64), used), compute)
    grad = ir.cast(ir.load("grad", kind, bag * ir.param("apart", dt.int64), used), compute)
    total = ir.select(used, ir.reduce("sum", row * grad), ir.const(0, compute))
    inputs = (Input("weight", kind), Input("grad", kind), Input("index", index_kind), Input("bag", dt.int64))
    params = tuple(Param(n, dt.int64) for n in ("step", "apart", "padding", "rows", "bags"))
    return Kernel("embedding_bag_factors", inputs, (Result("out", factor, total, per_row=True),), params)


@kernels.kernel
def _joined_rows(mode: str, kind, index_kind, factor) -> Kernel:
    """(features) x n: the row that each index names joins its bag."""
    compute = opmath(kind)
    index, bag, used = _index_in_a_bag(index_kind)
    value = ir.cast(ir.load("weight", kind, index * ir.param("step", dt.int64), used), compute)
    inputs = [Input("weight", kind), Input("index", index_kind), Input("bag", dt.int64)]
    if factor is not None:
        inputs.append(Input("factor", factor))
        value = value * ir.cast(ir.load("factor", factor), compute)
    offset, combine = bag * ir.param("apart", dt.int64), "maximum" if mode == "max" else "add"
    result = Result("out", compute, value, offset=offset, where=used, combine=combine)
    params = tuple(Param(n, dt.int64) for n in ("step", "padding", "rows", "bags", "apart"))
    return Kernel(f"embedding_bag_{mode}", tuple(inputs), (result,), params, disjoint=True)


@kernels.kernel
def _places_of_most(kind, index_kind) -> Kernel:
    """(features) x n: the first position in each bag whose row has the maximum."""
    compute = opmath(kind)
    index, bag, used = _index_in_a_bag(index_kind)
    value = ir.cast(ir.load("weight", kind, index * ir.param("step", dt.int64), used), compute)
    offset = bag * ir.param("apart", dt.int64)
    most = ir.load("most", compute, offset, used)
    hit = ir.and_(used, ir.or_(ir.eq(value, most), ir.isnan(value)))
    place = ir.row_index() - ir.load("first", dt.int64, bag, used)
    inputs = [Input("weight", kind), Input("index", index_kind), Input("bag", dt.int64), Input("most", compute)]
    result = Result("place", dt.int64, place, offset=offset, where=hit, combine="minimum")
    params = tuple(Param(n, dt.int64) for n in ("step", "padding", "rows", "bags", "apart"))
    return Kernel("embedding_bag_places", (*inputs, Input("first", dt.int64)), (result,), params, disjoint=True)


@kernels.kernel
def _bag_check(index_kind) -> Kernel:
    """n: each index in a bag names a row."""
    index = ir.cast(ir.load("index", index_kind), dt.int64)
    right = ir.or_(_known(index), ir.not_(_in_a_bag(ir.load("bag", dt.int64))))
    check = Check(right, index, "index {value} is out of range")
    return Kernel("embedding_bag", (Input("index", index_kind), Input("bag", dt.int64)), (), (_ROWS, _BAGS), (check,))


_NO_START = (
    "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from position 0. However, got "
)
_NO_END = "offsets[-1] can not be greater than input's length"


@kernels.kernel
def _marks_check() -> Kernel:
    """(marks): bags begin at 0 and follow each other; `last` is the number of the last offset."""
    at, here = ir.index(0), ir.load("marks", dt.int64)
    behind = ir.load("marks", dt.int64, ir.const(1, dt.int64), ir.lt(at + 1, ir.extent(0)))
    checks = (
        Check(ir.or_(ir.ne(at, 0), ir.eq(here, 0)), here, _NO_START + "{value}"),
        Check(ir.or_(ir.ne(at, ir.param("last", dt.int64)), ir.le(here, ir.param("n", dt.int64))), here,
              _NO_END + ", got offsets[-1] of {value}"),
        Check(ir.or_(ir.eq(at + 1, ir.extent(0)), ir.le(here, behind)), here, "offsets must not decrease, got {value}"),
    )  # fmt: skip
    return Kernel(
        "embedding_bag", (Input("marks", dt.int64),), (), (Param("last", dt.int64), Param("n", dt.int64)), checks
    )


@kernels.kernel
def _even() -> Kernel:
    """(marks): bags of one length."""
    length = Param("length", dt.int64)
    return Kernel("bags", (), (Result("marks", dt.int64, ir.index(0) * ir.param("length", dt.int64)),), (length,))


def _even_marks(bags: int, length: int, where: device) -> Tensor:
    marks = launch.empty(dense(dt.int64, (bags + 1,), where))
    kernels.run(_even(), (bags + 1,), None, [marks], [(1,)], (length,))
    return marks


def _marks(indices: Tensor, offsets: Tensor | None, include_last: bool) -> Tensor:
    """Where each bag begins, and the end of the last."""
    if offsets is None:
        bags, length = indices.spec.shape
        return _even_marks(bags, length, indices.spec.device)
    n, count = indices.spec.numel, offsets.spec.numel
    if include_last and not count:
        fail(RuntimeError, "include_last_offset: number of offset should be at least 1")
    marks = cast(offsets, dt.int64)
    if not include_last:
        marks = cat([marks, full((1,), n, dtype=dt.int64, device=marks.spec.device)])
    if count:
        wrong = kernels.run(_marks_check(), (marks.spec.numel,), None, [marks], [marks.spec.strides], (count - 1, n))
        if wrong is not None:
            number, value = wrong  # pyright: ignore[reportGeneralTypeIssues]
            if number == 0:
                fail(RuntimeError, f"{_NO_START}{value}")
            if number == 1:
                fail(RuntimeError, f"{_NO_END} {n} but got offsets[-1] of {value}")
            fail(RuntimeError, "embedding_bag: offsets must not decrease", got=offsets.tolist())
    return marks


def _bag_of(marks: Tensor, n: int) -> Tensor:
    """The number of each position's bag; behind the last bag the number after it."""
    begun = cumsum(tally(clamp_both(marks, min=0, max=n), n + 1), 0)
    return clamp_min(sub(narrow(begun, 0, 0, n), 1), 0)


def _sizes(marks: Tensor) -> Tensor:
    bags = marks.spec.numel - 1
    return sub(narrow(marks, 0, 1, bags), narrow(marks, 0, 0, bags))


def _counts(indices: Tensor, marks: Tensor, bag: Tensor, padding: int) -> Tensor:
    """How many indices of each bag count, at least 1."""
    sizes = _sizes(marks)
    if padding >= 0:
        absent = tally(bag, marks.spec.numel, cast(eq(indices, padding), dt.int64))
        sizes = sub(sizes, narrow(absent, 0, 0, sizes.spec.numel))
    return clamp_min(sizes, 1)


@function(tensors=("weight", "per_sample_weights"), outputs=("out", "place"), fill=False)
def embedding_bags(
    weight, indices, marks, longest, mode, per_sample_weights, padding_idx, scale_grad_by_freq, sparse
):  # fmt: skip
    """(result, position in its bag of each maximum) for bags between `marks` of at most `longest` indices."""
    bags, width = marks.spec.numel - 1, weight.spec.shape[1]
    if longest is None:
        if launch.checks_later(weight.spec.device):
            return _joined(weight, indices, marks, mode, per_sample_weights, padding_idx)
        longest = span(_sizes(marks))[1] if bags and not launch.lacks(marks) else 0
    factor = per_sample_weights
    kernel = _bag_kernel(mode, weight.spec.dtype, indices.spec.dtype, None if factor is None else factor.spec.dtype)
    out = launch.empty(dense(weight.spec.dtype, (bags, width), weight.spec.device))
    place = launch.empty(dense(dt.int64, (bags, width) if mode == "max" else (0,), weight.spec.device))
    operands = [out, place, weight] if mode == "max" else [out, weight]
    strides = [[width, 1]] * (len(operands) - 1) + [[0, weight.spec.strides[1], 0]]
    operands += [indices, narrow(marks, 0, 0, bags), narrow(marks, 0, 1, bags)]
    strides += [[0, 0, 0], [1, 0, 0], [1, 0, 0]]
    params = [indices.spec.strides[0], weight.spec.strides[0], padding_idx, weight.spec.shape[0]]
    if factor is not None:
        operands.append(factor)
        strides.append([0, 0, 0])
        params.append(factor.spec.strides[0])
    if kernels.run(kernel, (bags, width), (longest,), operands, strides, params) is not None:
        _refuse(indices, weight.spec.shape[0])
    return out, place


def _joined(weight, indices, marks, mode, factor, padding) -> tuple[Tensor, Tensor]:
    """`embedding_bags` where nobody knows how long bags are."""
    (rows, width), n, bags, where = weight.spec.shape, indices.spec.numel, marks.spec.numel - 1, weight.spec.device
    bag, work = _bag_of(marks, n), opmath(weight.spec.dtype)
    kernels.run(_bag_check(indices.spec.dtype), (n,), None, [indices, bag], [indices.spec.strides, [1]], [rows, bags])
    out = full((bags, width), -math.inf if mode == "max" else 0, dtype=work, device=where)
    kernel = _joined_rows(mode, weight.spec.dtype, indices.spec.dtype, None if factor is None else factor.spec.dtype)
    operands = [weight, indices, bag]
    strides = [[weight.spec.strides[1], 0], [0, indices.spec.strides[0]], [0, 1]]
    params = [weight.spec.strides[0], padding, rows, bags, width]
    more = ([factor], [[0, factor.spec.strides[0]]]) if factor is not None else ([], [])
    kernels.run(kernel, (width,), (n,), [out, *operands, *more[0]], [[1, 0], *strides, *more[1]], params)
    place = full((bags, width) if mode == "max" else (0,), _NOWHERE, dtype=dt.int64, device=where)
    if mode == "max":
        kernel = _places_of_most(weight.spec.dtype, indices.spec.dtype)
        kernels.run(kernel, (width,), (n,), [place, *operands, out, marks], [[1, 0], *strides, [1, 0], [0, 0]], params)
        out = masked_fill(out, eq(place, _NOWHERE), 0)
    elif mode == "mean":
        out = true_divide(out, cast(unsqueeze(_counts(indices, marks, bag, padding), 1), work))
    return cast(out, weight.spec.dtype), place


_NOWHERE = 1 << 62  # the place of the maximum in a bag without indices


@embedding_bags.gradient("weight", "per_sample_weights")
def _(
    grad_out, weight, indices, marks, mode, per_sample_weights, padding_idx, scale_grad_by_freq, sparse, place, needs
):  # fmt: skip
    if grad_out is None:
        return None, None
    (rows, width), n, bags = weight.spec.shape, indices.spec.numel, marks.spec.numel - 1
    if mode == "max":
        return bag_max_back(grad_out, place, indices, marks, rows, padding_idx), None
    bag, work = _bag_of(marks, n), opmath(weight.spec.dtype)
    factor = per_sample_weights
    if mode == "mean":
        shares = reciprocal(cast(_counts(indices, marks, bag, padding_idx), work))
        factor = index_select(_with_zeros(shares), 0, bag)
    if scale_grad_by_freq:
        often = reciprocal(_frequency(indices, rows, work))
        factor = often if factor is None else mul(factor, often)
    if sparse and scale_grad_by_freq:
        fail(RuntimeError, "embedding_bag_backward: scale_grad_by_freq not supported with sparse gradients")
    if LOCAL.grad or sparse:
        return _composed_gradient(grad_out, weight, indices, bag, factor, padding_idx, sparse, needs)
    for_weight = _scatter(grad_out, indices, rows, padding_idx, bag, factor) if needs["weight"] else None
    for_factor = None
    if needs["per_sample_weights"]:
        kernel = _factor_gradient(weight.spec.dtype, indices.spec.dtype, per_sample_weights.spec.dtype)
        for_factor = launch.empty(dense(per_sample_weights.spec.dtype, (n,), weight.spec.device))
        kernels.run(
            kernel, (n,), (width,), [for_factor, weight, grad_out, indices, bag],
            [[1], [0, weight.spec.strides[1]], [0, grad_out.spec.strides[1]], [indices.spec.strides[0], 0], [1, 0]],
            [weight.spec.strides[0], grad_out.spec.strides[0], padding_idx, rows, bags],
        )  # fmt: skip
    return for_weight, for_factor


@function(tensors=("grad",))
def bag_max_back(grad, place, indices, marks, rows, padding):
    """The gradient of the table for bags of which the maximum at `place` counts."""
    (bags, width), kind = grad.spec.shape, grad.spec.dtype
    out = zeros_of(dense(kind, (rows, width), grad.spec.device))
    first, last = narrow(marks, 0, 0, bags), narrow(marks, 0, 1, bags)
    kernels.run(
        _bag_max_gradient(kind, indices.spec.dtype), (bags, width), None, [out, grad, place, indices, first, last],
        [[0, 1], grad.spec.strides, [width, 1], [0, 0], [1, 0], [1, 0]],
        [indices.spec.strides[0], width, padding, rows],
    )  # fmt: skip
    return out


@bag_max_back.gradient("grad")
def _(grad):
    fail(NotImplementedError, "the derivative for '_embedding_bag_backward' is not implemented.")


def _with_zeros(x: Tensor) -> Tensor:
    """`x` with zeros behind it, for the positions behind the last bag."""
    return cat([x, zeros_of(dense(x.spec.dtype, (1, *x.spec.shape[1:]), x.spec.device))])


def _composed_gradient(grad, weight, indices, bag, factor, padding_idx, sparse, needs):
    """The gradients from operators that can be differentiated again."""
    of_bag = index_select(_with_zeros(grad), 0, bag)
    for_weight = for_factor = None
    if needs["weight"]:
        scaled = of_bag if factor is None else mul(of_bag, unsqueeze(factor, 1).to(of_bag.spec.dtype))
        if sparse:
            for_weight = _sparse_rows(scaled, indices, weight.spec, padding_idx)
        else:
            for_weight = embedding_dense_backward(scaled, indices, weight.spec.shape[0], padding_idx, False)
    if needs["per_sample_weights"]:
        for_factor = sum_rows(mul(embedding_rows(weight, indices, padding_idx, False), of_bag), dims=(1,))
        if padding_idx >= 0:
            for_factor = masked_fill(for_factor, indices == padding_idx, 0)
    return for_weight, for_factor


embedding_bags.operator.node_class.__name__ = "EmbeddingBagBackward0"


def embedding_bag(
    weight,
    indices,
    offsets=None,
    mode="mean",
    per_sample_weights=None,
    include_last_offset=False,
    padding_idx=-1,
    scale_grad_by_freq=False,
    sparse=False,
) -> Tensor:
    """The sum, mean or maximum of the rows of `weight` in each bag of indices.

    Parameters
    ----------
    weight : Tensor
        The table, (rows, features).
    indices : Tensor
        (bags, length), or one-dimensional with `offsets`, the position where each bag begins.
    mode : {"sum", "mean", "max"}
    per_sample_weights : Tensor, optional
        A factor for each index; for "sum" alone.
    include_last_offset : bool
        Whether the last offset is the end of the last bag.
    padding_idx : int
        An index that counts as absent; negative: none.
    """
    _need_indices(indices, "embedding_bag")
    if weight.spec.dtype.kind != "f":
        fail(
            RuntimeError,
            "Expected tensor for argument #1 'weight' to have one of the following scalar types: Half, "
            "BFloat16, Float, Double; but got "
            f"{weight.type()} instead (while checking arguments for embedding_bag)",
        )
    if mode not in ("sum", "mean", "max"):
        fail(ValueError, "mode has to be one of sum, mean or max", got=repr(mode))
    one_device(*(None if x is None else x.spec for x in (weight, indices, offsets, per_sample_weights)))
    marks = _marks(indices, offsets, include_last_offset)
    flat = indices if indices.spec.ndim == 1 else reshape(indices, (indices.spec.numel,))
    if per_sample_weights is not None:
        per_sample_weights = reshape(per_sample_weights, (flat.spec.numel,))
    options = (mode, per_sample_weights, padding_idx, scale_grad_by_freq, sparse)
    longest = indices.spec.shape[1] if offsets is None else None
    return embedding_bags(weight, flat, marks, longest, *options)[0]


def _refuse(flat: Tensor, rows: int) -> NoReturn:
    """The error for the first index that names no row."""
    values = numpy_view(flat)
    at = int(np.flatnonzero((values < 0) | (values >= rows))[0])
    fail(RuntimeError, f"Index {at} of input takes value {values[at]} which is not in the valid range [0, {rows})")
