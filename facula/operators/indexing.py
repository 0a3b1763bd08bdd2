"""Reading and writing by index: `x[...]`, gather, scatter, index_select, masks; bounds are checked in the kernel."""

import functools
from collections.abc import Sequence
from math import inf, prod
from typing import Any

import numpy as np

from facula import launch
from facula.core import dtype as dt
from facula.core.device import CPU
from facula.core.modes import GUARD, LOCAL
from facula.core.shape import Size, broadcast, normalize_dim
from facula.core.spec import Spec, dense, spec
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.ir import expr as ir
from facula.ir.kernel import Check, Input, Kernel, Param, Result

from . import creation, kernels
from .copying import cast, contiguous, copy_values, like_layout, to_device
from .creation import tensor, zeros_of
from .declare import OPERATORS, broadcast_strides, function, needs_numbers, one_device, takes, view, view_of
from .limits import iinfo
from .promotion import opmath, result_type
from .view import alias_view, expand_to, reshape, select, slice_dim, unsqueeze

__all__ = [
    "argwhere", "gather", "getitem", "index_reduce", "isin", "put", "scatter_reduce", "unravel_index", "index_add",
    "index_copy", "index_fill", "index_put", "index_select", "masked_scatter",
    "masked_select", "nonzero", "nonzero_static", "scatter", "scatter_add", "setitem", "take", "take_along_dim",
    "where_nonzero",
]  # fmt: skip


# --- one kernel form: positions given by index tensors ------------------------------------------------------------
# Reading: the iteration space has the shape of the result; `source` moves along the dims that are not indexed, and each
# index tensor i adds index * step{i}, after a check against size{i}.
# Writing: all indices are checked before anything is written; then the iteration space is that of the source, its
# rows the dims along which places may meet: they are written in order, by one thread. On devices that tell of failing
# checks later, what is out of range is not written.


def _checked(i: int, kind, negative: bool) -> tuple[Any, Check]:
    """An index tensor's value (int64), and that it is in range."""
    at, size = ir.cast(ir.load(f"index{i}", kind), dt.int64), ir.param(f"size{i}", dt.int64)
    # One comparison of unsigned numbers does for both ends: a negative one is larger than any size.
    from_zero, span = (at + size, size + size) if negative else (at, size)
    holds = ir.lt(ir.cast(from_zero, dt.uint64), ir.cast(span, dt.uint64))
    return at, Check(holds, at, "index {value} is out of bounds")


def _offset(kinds: Sequence, negative: bool, unit: bool = False) -> tuple[Any, tuple[Param, ...]]:
    """The offset that index tensors give together, and its params; `unit`: their steps are 1."""
    total, params = None, []
    for i, kind in enumerate(kinds):
        at, step = ir.cast(ir.load(f"index{i}", kind), dt.int64), ir.param(f"step{i}", dt.int64)
        if negative:
            at = ir.select(at < 0, at + ir.param(f"size{i}", dt.int64), at)
            params.append(Param(f"size{i}", dt.int64))
        params.append(Param(f"step{i}", dt.int64))
        at = at if unit else at * step
        total = at if total is None else total + at
    return total, tuple(params)


def _with_sizes(steps: tuple[Param, ...]) -> tuple[Param, ...]:
    """The params of steps with those of sizes."""
    return tuple([p for i, step in enumerate(steps) for p in (Param(f"size{i}", dt.int64), step)])


@kernels.kernel
def _gather_kernel(kind, kinds: tuple, negative: bool, unit: bool) -> Kernel:
    offset, params = _offset(kinds, negative, unit)
    if not negative:
        params = _with_sizes(params)
    checks = tuple(_checked(i, k, negative)[1] for i, k in enumerate(kinds))
    inputs = (Input("source", kind), *(Input(f"index{i}", k) for i, k in enumerate(kinds)))
    return Kernel("gather", inputs, (Result("out", kind, ir.load("source", kind, offset)),), params, checks)


@kernels.kernel
def _bounds_kernel(name: str, kind, negative: bool) -> Kernel:
    return Kernel(name, (Input("index0", kind),), (), (Param("size0", dt.int64),), (_checked(0, kind, negative)[1],))


@kernels.kernel
def _scatter_kernel(kind, source_kind, kinds: tuple, combine: str, negative: bool, careful: bool) -> Kernel:
    """`careful`: nothing is written for an index that is out of range."""
    offset, params = _offset(kinds, negative)
    where = None
    if careful:
        params = params if negative else _with_sizes(params)
        inside = [_checked(i, kind, negative)[1].holds for i, kind in enumerate(kinds)]
        where = functools.reduce(ir.and_, inside) if inside else None
    value = ir.load("source", source_kind)
    value = ir.cast(value, opmath(kind))
    inputs = (Input("source", source_kind), *(Input(f"index{i}", k) for i, k in enumerate(kinds)))
    result = Result("out", kind, value, offset=offset, where=where, combine=combine)
    return Kernel("scatter", inputs, (result,), params, disjoint=True)


class Plan:
    """Machine code that reads or writes by index, bound to sizes and strides.

    `checks` are (number of the index tensor, machine code, arguments), one an index tensor, for writes alone.
    """

    __slots__ = ("arguments", "checks", "describe", "function", "out")

    def __init__(self, out: Spec, bound: launch.Bound, values: Sequence[int], describe, checks: tuple = ()):
        self.out, self.function, self.arguments = out, bound.function, (*values, *bound.tail)
        self.describe, self.checks = describe, checks

    def read(self, input: Tensor, *tensors: Tensor) -> Tensor:
        """What the index tensors name, in a new tensor."""
        out = launch.empty(self.out)
        if self.function is not None:
            failed = self.function(out.ptr, input.ptr, *[t.ptr for t in tensors], *self.arguments)
            if failed is not None:
                self.describe(*failed) if failed.__class__ is tuple else self.describe(0, failed)
        return out

    def check(self, *tensors: Tensor) -> None:
        """An error for an index out of range."""
        for number, code, arguments in self.checks:
            failed = code(tensors[number].ptr, *arguments)
            if failed is not None:
                self.describe(number, failed)

    def write(self, out: Tensor, source: Tensor, *tensors: Tensor) -> Tensor:
        """`source` at the places that the index tensors, which are in range, name."""
        if self.function is not None:
            self.function(out.ptr, source.ptr, *[t.ptr for t in tensors], *self.arguments)
        return out


_PLANS: dict[tuple, Plan] = {}


def _kept(key: tuple, plan: Plan) -> Plan:
    """`plan`, to be found again; indices of ever new lengths must not fill the memory."""
    if len(_PLANS) > 4096:
        _PLANS.clear()
    _PLANS[key] = plan
    return plan


def _reading(base: Spec, moves, out: Spec, indices, steps_of, sizes, steps, describe, negative=False) -> Plan:
    """The plan of a gather; along the dims of `out`, `moves` are the strides of `base`, `steps_of[i]` of index i."""
    one_device(base, *indices)
    unit = all(step == 1 for step in steps)
    kernel = _gather_kernel(base.dtype, tuple(s.dtype for s in indices), negative, unit)
    strides = [list(out.strides), list(moves), *[list(s) for s in steps_of]]
    bound = launch.bind(kernel, out.shape, None, strides, base.device)
    return Plan(out, bound, [v for pair in zip(sizes, steps) for v in pair], describe)


def _writing(
    base: Spec, moves, source: Spec, source_moves, indices, steps_of, sizes, steps, shape, meet, how: str, describe,
    name: str, negative: bool = False,
) -> Plan:  # fmt: skip
    """The plan of a scatter over `shape`; places may meet along the dims in `meet` (a range) alone."""
    one_device(base, source, *indices)
    kinds = tuple(s.dtype for s in indices)
    careful = launch.checks_later(base.device)  # then the checks below do not stop what is written
    kernel = _scatter_kernel(base.dtype, source.dtype, kinds, how, negative, careful)
    apart = [d for d in range(len(shape)) if d not in meet]
    order = [*apart, *meet]
    strides = [[s[d] for d in order] for s in (moves, source_moves, *steps_of)]
    bound = launch.bind(kernel, [shape[d] for d in apart], [shape[d] for d in meet], strides, base.device)
    values = [v for pair in zip(sizes, steps) for v in pair] if negative or careful else steps
    checks = _check_plans(name, indices, sizes, negative) if bound.function is not None else ()
    return Plan(base, bound, values, describe, checks)


def _check_plans(name: str, indices: Sequence[Spec], sizes: Sequence[int], negative: bool) -> tuple:
    """The checks of an operator's index tensors, as `Plan.checks`."""
    found = []
    for i, (s, size) in enumerate(zip(indices, sizes)):
        dims = [(n, step) for n, step in zip(s.shape, s.strides) if step or not n] or [(1, 1)]  # each index once
        strides = [[step for _, step in dims]]
        code = kernels.bound(_bounds_kernel(name, s.dtype, negative), [n for n, _ in dims], None, strides, s.device)
        if code.function is not None:
            found.append((i, code.function, (size, *code.tail)))
    return tuple(found)


# --- along one dim ------------------------------------------------------------------------------------------------


def _index_dtype(index: Tensor, name: str) -> None:
    if index.spec.dtype not in (dt.int64, dt.int32) and index.spec.numel:
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
    plan = _PLANS.get(("gather", input.spec, index.spec, dim))
    if plan is None:
        plan = _kept(("gather", input.spec, index.spec, dim), _gather_plan(input.spec, index, dim))
    return plan.read(input, index)


def _gather_plan(s: Spec, index: Tensor, dim: int) -> Plan:
    _index_dtype(index, "gather")
    i = index.spec
    out = dense(s.dtype, i.shape, s.device)
    if i.numel == 0:
        return Plan(out, launch.Bound(None, ()), (), None)
    d = normalize_dim(dim, s.ndim)
    _same_rank("gather", s, i, d, "input")
    shape, strides, moves = s.shape or (1,), s.strides or (1,), i.strides
    if not i.ndim:  # one element
        moves, wide = (), ()
    else:
        wide = [0 if e == d else st for e, st in enumerate(strides)]
    return _reading(s, wide, out, [i], [moves], [shape[d]], [strides[d]], _out_of_range(d, shape[d]))


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
    s = input.spec
    out = dense(s.dtype, s.shape, s.device)
    plan = _scatter_plan(name, out, dim, index, src, how)
    plan.check(index)
    return plan.write(copy_values(launch.empty(out), input), src, index)


def _scatter_plan(name: str, out: Spec, dim: int, index: Tensor, src: Tensor, how: str) -> Plan:
    """The plan of writing `src` into a tensor of spec `out` at the places that `index` names along `dim`."""
    key = ("scatter", out, index.spec, src.spec, dim, how)
    found = _PLANS.get(key)
    if found is not None:
        return found
    _index_dtype(index, name)
    i, s = index.spec, src.spec
    if i.numel == 0:
        return Plan(out, launch.Bound(None, ()), (), None)
    d = normalize_dim(dim, out.ndim)
    _same_rank(name, out, i, d, "self")
    if s.ndim:
        if (s.ndim or 1) != (i.ndim or 1):
            fail(
                RuntimeError,
                "Index tensor must have the same number of dimensions as src tensor",
                got=f"{tuple(i.shape)} and {tuple(s.shape)}",
            )
        if any(n > m for n, m in zip(i.shape, s.shape)):
            fail(
                RuntimeError,
                f"Expected index {list(i.shape)} to be no larger than self {list(out.shape)} apart from "
                f"dimension {d} and to be no larger size than src {list(s.shape)}",
            )
        if s.dtype is not out.dtype:
            fail(
                RuntimeError,
                f"{name}(): Expected self.dtype to be equal to src.dtype",
                got=f"{out.dtype!r} and {s.dtype!r}",
            )
    rank = max(1, i.ndim)
    shape, strides, full = i.shape or (1,), out.strides or (1,), out.shape or (1,)
    moves = [0 if e == d else st for e, st in enumerate(strides)]
    theirs = s.strides if s.ndim else (0,) * rank
    made = _writing(
        out, moves, s, theirs, [i], [i.strides or (1,)], [full[d]], [strides[d]], shape, range(d, d + 1), how,
        _out_of_range(d, full[d]), name,
    )  # fmt: skip
    return _kept(key, made)


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


@takes
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

# How kernels join what meets, and what changes nothing; a mean is a sum over its count.
_JOINS = {"sum": ("add", 0), "mean": ("add", 0), "prod": ("mul", 1), "amax": ("maximum", -1), "amin": ("minimum", 1)}


def _combined(name: str, input: Tensor, dim: int, index: Tensor, src: Tensor, how: str, include_self: bool) -> Tensor:
    """`src` joined to a copy of `input` at the places that `index` names along `dim`."""
    kind = input.spec.dtype
    work = opmath(kind)  # halves are rounded once
    out = copy_values(launch.empty(dense(work, input.spec.shape, input.spec.device)), input)
    src = cast(src, work)
    join, first = _JOINS[how]
    plan = _scatter_plan(name, out.spec, dim, index, src, join)
    plan.check(index)
    if not include_self:
        if how in ("amax", "amin"):
            first = extreme(work, first)
        _filled(name, out, dim, index, first)
    plan.write(out, src, index)
    if how == "mean":
        count = creation.full(out.spec.shape, int(include_self), dtype=dt.int64, device=out.spec.device)
        one = creation.ones((), dtype=dt.int64, device=out.spec.device)
        _scatter_plan(name, count.spec, dim, index, one, "add").write(count, one, index)
        count = cast(OPERATORS["clamp_min"].call(count, 1), work)
        out = OPERATORS["true_divide" if work.kind in "fc" else "floor_divide"].call(out, count)
    return cast(out, kind)


def _filled(name: str, out: Tensor, dim: int, index: Tensor, number) -> Tensor:
    """`out` with a number written at places that were checked."""
    value = creation.full((), number, dtype=out.spec.dtype, device=out.spec.device)
    return _scatter_plan(name, out.spec, dim, index, value, "set").write(out, value, index)


def tally(places: Tensor, size: int, weights: Tensor | None = None) -> Tensor:
    """How often a vector names each of the places from 0 to `size`, which its numbers are, or the sums of `weights`."""
    where = places.spec.device
    if weights is None:
        weights = creation.ones((), dtype=dt.int64, device=where)
    out = zeros_of(dense(weights.spec.dtype, (size,), where))
    return _scatter_plan("tally", out.spec, 0, places, weights, "add").write(out, weights, places)


def extreme(kind: dt.dtype, sign: int) -> bool | int | float:
    """The lowest (`sign` -1) or highest value of a dtype."""
    if kind.kind == "f":
        return sign * inf
    if kind.kind == "b":
        return sign > 0
    limits = iinfo(kind)
    return limits.max if sign > 0 else limits.min


def _over(index: Tensor, source: Spec, dim: int) -> Tensor:
    """A vector of indices along `dim` as an index of each element of `source`."""
    shape = [1] * len(source.shape)
    shape[dim] = index.spec.numel
    return expand_to(reshape(index, tuple(shape)), source.shape)


def _combining_gradients(grad, input, out, dim, index, src, how, include_self, get, add):
    """The gradients of a combining scatter for (input, src): `get` reads along the index, `add` adds at it."""
    from .elementwise import eq, logical_and, where

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
        combine = scatter_reduce if add is scatter_add else index_reduce

        def product(a: Tensor, b: Tensor) -> Tensor:
            return combine(a, dim, index, b, "prod", include_self=include_self)

        none = eq(src, 0)  # the slope at a zero is the product of all others
        zeros = get(add(zero(input), dim, index, cast(none, input.spec.dtype)), dim, index)
        only = logical_and(none, eq(zeros, 1))
        own = where(eq(input, 0), ones(input), input)
        mine = grad * product(own, src) / own
        theirs = where(
            only,
            get(grad * product(input, where(only, ones(src), src)), dim, index),
            get(grad * out, dim, index) / where(none, ones(src), src),
        )
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
        return creation.ones(tuple(index.spec.shape), dtype=like.spec.dtype, device=like.spec.device)
    shape = list(like.spec.shape)
    shape[dim] = index.spec.numel
    return creation.ones(tuple(shape), dtype=like.spec.dtype, device=like.spec.device)


@function(tensors=("input", "src"))
def scatter_combined(input, dim, index, src, how, include_self):
    """`scatter_reduce` of checked operands."""
    return _combined("scatter_reduce", input, dim, index, src, how, include_self)


@scatter_combined.gradient("input", "src")
def _(grad, input, out, dim, index, src, how, include_self):
    part = src
    for e, n in enumerate(index.spec.shape):
        part = slice_dim(part, e, 0, n)
    mine, theirs = _combining_gradients(grad, input, out, dim, index, part, how, include_self, gather, scatter_add)
    return mine, _padded(theirs, src.spec)


scatter_combined.operator.node_class.__name__ = "ScatterReduceBackward0"


@takes
def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True, out=None
) -> Tensor:
    """`src` joins `input` ("sum", "prod", "mean", "amax", "amin") at the places that `index` names along `dim`."""
    if reduce not in _JOINS:
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
    if input.spec.dtype.kind == "c" and reduce in ("amax", "amin"):
        fail(NotImplementedError, f"scatter_reduce(reduce={reduce!r}) is not implemented for '{_title(input)}'")
    if input.spec.ndim:
        made = scatter_combined(input, d, index, src, reduce, include_self)
    else:
        row = [reshape(x, (-1,)) for x in (input, index, src)]
        made = reshape(scatter_combined(row[0], 0, row[1], row[2], reduce, include_self), ())
    return made if out is None else _to_out("scatter_reduce", out, made, (input, src))


def check_bounds(name: str, index: Tensor, size: int, dim: int, negative: bool = False) -> None:
    """RuntimeError for an operator's index out of range; `negative`: such ones count from the end."""
    failed = first_outside(name, index, size, negative)
    if failed is not None:
        _out_of_range(dim, size)(0, failed)


def first_outside(name: str, index: Tensor, size: int, negative: bool = False) -> int | None:
    """The first of an operator's indices that is out of range, or None, also where that is told later."""
    for _, code, arguments in _check_plans(name, [index.spec], [size], negative):
        return code(index.ptr, *arguments)
    return None


@function(tensors=("input", "source"))
def index_combined(input, dim, index, source, how, include_self):
    """`index_reduce` of checked operands."""
    return _combined("index_reduce", input, dim, _over(index, source.spec, dim), source, how, include_self)


@index_combined.gradient("input", "source")
def _(grad, input, out, dim, index, source, how, include_self):
    return _combining_gradients(grad, input, out, dim, index, source, how, include_self, index_select, index_add)


index_combined.operator.node_class.__name__ = "IndexReduceBackward0"


@takes
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
    if input.spec.ndim:
        made = index_combined(input, d, index, source, reduce, include_self)
    else:
        row = [reshape(x, (-1,)) for x in (input, index, source)]
        made = reshape(index_combined(row[0], 0, row[1], row[2], reduce, include_self), ())
    return made if out is None else _to_out("index_reduce", out, made, (input, source))


@function(tensors=("input",), out=True)
def index_select(input, dim, index):
    """The parts of `input` along `dim` that the vector `index` names, in that order, copied."""
    plan = _PLANS.get(("index_select", input.spec, index.spec, dim))
    if plan is None:
        plan = _kept(("index_select", input.spec, index.spec, dim), _index_select_plan(input.spec, dim, index))
    return plan.read(input, index)


def _index_select_plan(s: Spec, dim: int, index: Tensor) -> Plan:
    _index_dtype(index, "index_select")
    i = index.spec
    if i.ndim > 1:
        fail(IndexError, "index_select(): Index is supposed to be a vector", got=f"shape {tuple(i.shape)}")
    d = normalize_dim(dim, s.ndim)
    shape, strides = s.shape or (1,), s.strides or (1,)
    size, step = shape[d], i.strides[0] if i.ndim else 1

    def describe(number: int, value: int):
        fail(IndexError, "index out of range in self", expected=f"indices from 0 to {size - 1}", got=value)

    moves = [0 if e == d else st for e, st in enumerate(strides)]
    along = [step if e == d else 0 for e in range(len(shape))]
    made = dense(s.dtype, (*shape[:d], i.numel, *shape[d + 1 :]), s.device)
    plan = _reading(s, moves, made, [i], [along], [size], [strides[d]], describe)
    if not s.ndim:
        plan.out = dense(s.dtype, (), s.device)
    return plan


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
    out = dense(input.spec.dtype, input.spec.shape, input.spec.device)
    if alpha != 1:
        source = OPERATORS["mul"].call(source, alpha)
    plan = _index_add_plan(out, d, index.spec, source.spec)
    plan.check(index)
    return plan.write(copy_values(launch.empty(out), input), source, index)


def _index_add_plan(out: Spec, d: int, i: Spec, source: Spec) -> Plan:
    """The plan of adding the parts of a source to those of a tensor that indices name along dim `d`."""
    key = ("index_add", out, d, i, source)
    found = _PLANS.get(key)
    if found is not None:
        return found
    shape = (*out.shape[:d], i.numel, *out.shape[d + 1 :])
    if tuple(source.shape) != shape:
        fail(
            RuntimeError,
            f"index_add_(): Number of indices ({i.numel}) should be equal to source.size(dim): "
            f"({source.shape[d]}), for dim: {d}",
        )
    moves = [0 if e == d else st for e, st in enumerate(out.strides)]
    along = [(i.strides[0] if i.ndim else 1) if e == d else 0 for e in range(out.ndim)]
    size = out.shape[d]
    made = _writing(
        out, moves, source, source.strides, [i], [along], [size], [out.strides[d]], shape, range(d, d + 1), "add",
        _out_of_range(d, size), "index_add",
    )  # fmt: skip
    return _kept(key, made)


@index_add_core.gradient("input")
def _(grad):
    return grad


@index_add_core.gradient("source")
def _(grad, dim, index, alpha):
    found = index_select(grad, dim, index)
    return found if alpha == 1 else OPERATORS["mul"].call(found, alpha)


index_add_core.operator.node_class.__name__ = "IndexAddBackward0"


@takes
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha=1, out=None) -> Tensor:
    """A copy of `input` with `alpha * source` added to the parts that `index` names along `dim`."""
    if source.spec.dtype is not input.spec.dtype:
        fail(
            RuntimeError,
            f"index_add_(): self ({_title(input)}) and source ({_title(source)}) must have the same scalar type",
        )
    made = index_add_core(input, dim, index, source, alpha)
    return made if out is None else _to_out("index_add", out, made, (input, source))


@takes
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor, *, out=None) -> Tensor:
    """A copy of `input` with the parts of `source` in the places that `index` names along `dim`."""
    made = _index_copy(input, dim, index, source)
    return made if out is None else _to_out("index_copy", out, made, (input, source))


def _index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """A copy of `input` with the parts of `source` in the places that `index` names along `dim`."""
    d = normalize_dim(dim, input.spec.ndim)
    if not input.spec.ndim:
        return reshape(_index_copy(reshape(input, (1,)), 0, reshape(index, (-1,)), reshape(source, (-1,))), ())
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


@takes
def index_fill(input: Tensor, dim: int, index: Tensor, value) -> Tensor:
    """A copy of `input` with a number in the places that `index` names along `dim`."""
    d = normalize_dim(dim, input.spec.ndim)
    if index.spec.dtype not in (dt.int64, dt.int32):
        fail(IndexError, "index_fill_(): Expected dtype int64 for index.", got=str(index.spec.dtype))
    if index.spec.ndim > 1:
        fail(IndexError, "Index has to be a vector/scalar", got=f"shape {tuple(index.spec.shape)}")
    if isinstance(value, Tensor):
        if value.spec.ndim:
            fail(
                RuntimeError,
                f"index_fill_ only supports a 0-dimensional value tensor, but got tensor with {value.spec.ndim} "
                "dimension(s).",
            )
        value = cast(value, input.spec.dtype)
    else:
        if input.spec.dtype.kind == "f" and isinstance(value, (int, float)):
            creation.number(value, input.spec.dtype)  # raises where it does not fit
        value = tensor(value, dtype=input.spec.dtype, device=input.spec.device)
    index = reshape(index, (-1,))
    if input.spec.ndim:
        return index_fill_core(input, d, index, value)
    return reshape(index_fill_core(reshape(input, (1,)), 0, index, value), ())


@function(tensors=("input", "value"))
def index_fill_core(input, dim, index, value):
    """`index_fill` of checked operands."""
    return put_(copy_values(launch.empty(like_layout(input.spec)), input), (*[None] * dim, index), value)


@index_fill_core.gradient("input")
def _(grad, dim, index):
    return index_fill(grad, dim, index, 0)


@index_fill_core.gradient("value")
def _(grad, dim, index):
    from .reduction import sum as total
    from .sorting import unique

    return total(index_select(grad, dim, index if launch.lacks(index) else unique(index)))


index_fill_core.operator.node_class.__name__ = "IndexFillBackward0"


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
    if launch.checks_later(input.spec.device):  # whoever reads or writes checks
        return reshape(index, (-1,))
    wrong = first_outside(name, index, n, True)
    if wrong is not None:
        fail(IndexError, f"out of range: tried to access index {wrong} on a tensor of {n} elements.")
    return reshape(index, (-1,))


def take(input: Tensor, index: Tensor, *, out=None) -> Tensor:
    """The elements of the flattened input that `index` names, in the shape of `index`."""
    made = reshape(getitem(reshape(input, (-1,)), _flat_index(input, index, "take")), index.spec.shape)
    return made if out is None else _to_out("take", out, made, (input, index))


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
    flat = _flat_index(input, index, "put_")
    if not input.spec.ndim:
        return reshape(put(reshape(input, (1,)), index, source, accumulate), ())
    if not flat.spec.numel:
        return input.clone()
    if launch.checks_later(input.spec.device):  # which checks the index itself, not its coordinates
        made = index_put(reshape(input, (-1,)), (flat,), reshape(source, (-1,)), accumulate)
        return reshape(made, input.spec.shape)
    from .elementwise import remainder

    places = unravel_index(remainder(flat, input.spec.numel), input.spec.shape)
    return index_put(
        input,
        places,
        reshape(source, (-1,)),
        accumulate,
    )


def unravel_index(indices: Tensor, shape) -> tuple[Tensor, ...]:
    """The coordinates in `shape` of indices into the flattened tensor, one tensor a dim."""
    sizes = tuple(shape) if not isinstance(shape, int) else (shape,)
    if indices.spec.dtype.kind not in "ui":
        fail(ValueError, f"expected 'indices' to be integer dtype, but got {indices.spec.dtype!r}")
    wrong = first_outside("unravel_index", indices, prod(sizes), True)
    if wrong is not None:
        text = f"target cannot be empty or out of range of shape {tuple(sizes)}"
        fail(ValueError, text, expected=f"indices from {-prod(sizes)} to {prod(sizes) - 1}", got=wrong)
    steps = [prod(sizes[d + 1 :]) for d in range(len(sizes))]
    whole = OPERATORS["floor_divide"].call(
        unsqueeze(indices, -1), tensor(steps, dtype=dt.int64, device=indices.spec.device)
    )
    return OPERATORS["unbind"].call(
        OPERATORS["remainder"].call(whole, tensor(sizes, dtype=dt.int64, device=indices.spec.device)), -1
    )


def isin(elements, test_elements, *, assume_unique: bool = False, invert: bool = False, out=None) -> Tensor:
    """Whether each element is one of `test_elements`."""
    if out is not None:
        return _to_out("isin", out, isin(elements, test_elements, invert=invert), ())
    if not isinstance(elements, Tensor):
        elements = tensor(elements, device=test_elements.spec.device)
    if not isinstance(test_elements, Tensor):
        test_elements = tensor(test_elements, device=elements.spec.device)
    for x in (elements, test_elements):
        if x.spec.dtype.kind in "bc":
            fail(RuntimeError, f"Unsupported input type encountered for isin(): {_title(x)}")
    if dt.bfloat16 in (elements.spec.dtype, test_elements.spec.dtype):
        elements, test_elements = cast(elements, dt.float32), cast(test_elements, dt.float32)
    one_device(elements.spec, test_elements.spec)
    kind = result_type((elements.spec, test_elements.spec))
    elements, test_elements = cast(elements.detach(), kind), reshape(cast(test_elements.detach(), kind), (-1,))
    n, shape = test_elements.spec.numel, elements.spec.shape
    if not n:
        return creation.full(shape, invert, dtype=dt.bool_, device=elements.spec.device)
    if n <= 10 * elements.spec.numel**0.145:  # where PyTorch compares each with each, too
        return _among(elements, test_elements, invert)
    if kind.kind in "ui" and not launch.checks_later(elements.spec.device) and not launch.lacks(test_elements):
        from .reduction import span  # nobody waits for it

        least, most = span(test_elements)
        if most - least <= 6 * (n + elements.spec.numel) and most < 1 << 63:
            return _marked(elements, test_elements, least, most - least + 1, invert)
    from .sorting import searchsorted, sort

    ordered = sort(test_elements)[0]
    at = OPERATORS["clamp_max"].call(searchsorted(ordered, elements), n - 1)
    found = reshape(index_select(ordered, 0, reshape(at, (-1,))), shape)
    return OPERATORS["ne" if invert else "eq"].call(elements, found)


@kernels.kernel
def _marked_kernel(kind, invert: bool) -> Kernel:
    at = ir.cast(ir.load("element", kind), dt.int64) - ir.param("least", dt.int64)
    inside = ir.and_(ir.ge(at, 0), ir.lt(at, ir.param("size", dt.int64)))
    found = ir.load("marks", dt.bool_, at, inside)
    result = Result("out", dt.bool_, ir.not_(found) if invert else found)
    params = Param("least", dt.int64), Param("size", dt.int64)
    return Kernel("marked", (Input("element", kind), Input("marks", dt.bool_)), (result,), params)


def _marked(elements: Tensor, tests: Tensor, least: int, size: int, invert: bool) -> Tensor:
    """`isin` of integers by a table of the `size` numbers from `least` on."""
    s, where = elements.spec, elements.spec.device
    marks = zeros_of(dense(dt.bool_, (size,), where))
    _filled("isin", marks, 0, OPERATORS["sub"].call(cast(tests, dt.int64), least), True)
    out = launch.empty(dense(dt.bool_, s.shape, where))
    operands, strides = (out, elements, marks), (out.spec.strides, s.strides, (0,) * s.ndim)
    kernels.run(_marked_kernel(s.dtype, invert), s.shape, None, operands, strides, (least, size))
    return out


@kernels.kernel
def _among_kernel(kind, count: int, invert: bool) -> Kernel:
    """Whether an element is one of at most `count` others."""
    element, last, work = ir.load("element", kind), ir.param("last", dt.int64), opmath(kind)
    others = [ir.load("others", kind, ir.minimum(ir.const(i, dt.int64), last)) for i in range(count)]
    found = functools.reduce(ir.or_, [ir.eq(ir.cast(element, work), ir.cast(x, work)) for x in others])
    result = Result("out", dt.bool_, ir.not_(found) if invert else found)
    return Kernel("among", (Input("element", kind), Input("others", kind)), (result,), (Param("last", dt.int64),))


def _among(elements: Tensor, tests: Tensor, invert: bool) -> Tensor:
    """`isin` for few `tests`, a vector."""
    s, n = elements.spec, tests.spec.numel
    out = launch.empty(dense(dt.bool_, s.shape, s.device))
    kernel = _among_kernel(s.dtype, 1 << (n - 1).bit_length(), invert)
    operands, strides = (out, elements, contiguous(tests)), (out.spec.strides, s.strides, (0,) * s.ndim)
    kernels.run(kernel, s.shape, None, operands, strides, (n - 1,))
    return out


@takes
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
    size = input.spec.shape[d]
    if size:
        from .elementwise import remainder

        check_bounds("take_along_dim", indices, size, d, True)
        indices = remainder(indices, size)
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
    shape = tuple(input.spec.shape)
    total, columns = _columns(input, shape or (1,))
    if as_tuple:
        if len(columns.spec.shape) == 1:
            return (columns,)
        column = dense(dt.int64, (total,), input.spec.device)
        return tuple(view_of(columns, column, 8 * total * d) for d in range(len(shape)))
    if not shape:
        made = launch.empty(dense(dt.int64, (total, 0), input.spec.device))
        return made if out is None else _to_out("nonzero", out, made, ())
    made = creation.record_of(
        spec(dt.int64, input.spec.device, Size((total, len(shape))), (1, max(total, 1))), columns.storage, columns.ptr
    )
    if out is None:
        return made
    return _to_out("nonzero", out, made, ())


def _mask_of(input: Tensor) -> Tensor:
    """Row-major bytes that are not 0 where the elements are not."""
    s = input.spec
    if s.dtype is not dt.bool_ and s.dtype is not dt.uint8:
        input = OPERATORS["ne"].call(input.detach(), 0)
    return input if input.spec.contiguous else contiguous(input)


NONZERO = (
    "The register_meta function for torch.nonzero() raises unimplemented by default, as a correct data-independent "
    "implementation does not exist."
)


def _columns(input: Tensor, shape: tuple[int, ...]) -> tuple[int, Tensor]:
    """How many elements are not 0, and their coordinates in `shape`: (n,) of one dim, else (dims, n)."""
    needs_numbers("nonzero", input, NONZERO)
    device, mask = input.spec.device, _mask_of(input)
    total = 0
    if mask.spec.numel:
        masks = launch.native("masks", device)
        total, counts = masks.count(mask.ptr, mask.spec.numel)
    made = launch.empty(dense(dt.int64, (total,) if len(shape) == 1 else (len(shape), total), device))
    if total:
        masks.coordinates(mask.ptr, mask.spec.numel, counts, made.ptr, total, shape)
    return total, made


def _chosen(input: Tensor, mask: Tensor) -> Tensor:
    """The elements, or parts along the first dims, where a mask of these dims holds; nothing is recorded."""
    s, lead = input.spec, mask.spec.ndim
    _check_mask(mask, s, 0)
    needs_numbers("nonzero", mask, NONZERO)
    if lead < s.ndim or mask.spec.device is not s.device:
        _, at = _columns(mask, (mask.spec.numel,))
        at = at if at.spec.device is s.device else to_device(at, s.device)
        flat = reshape(input, (mask.spec.numel, *s.shape[lead:]))
        return index_select.operator.body(flat, 0, at)
    mask = mask if mask.spec.contiguous else contiguous(mask)
    input = input if s.contiguous else contiguous(input)
    if not s.numel:
        return launch.empty(dense(s.dtype, (0,), s.device))
    masks = launch.native("masks", s.device)
    total, counts = masks.count(mask.ptr, s.numel)
    out = launch.empty(dense(s.dtype, (total,), s.device))
    if total:
        masks.select(s.dtype.itemsize)(mask.ptr, s.numel, counts, input.ptr, out.ptr)
    return out


def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1, out=None) -> Tensor:
    """The first `size` rows of `nonzero`, filled up with `fill_value`."""
    if size < 0:
        fail(RuntimeError, "nonzero_static: 'size' must be an non-negative integer")
    if launch.hollow(input.spec.device):
        made = launch.empty(dense(dt.int64, (size, input.spec.ndim), input.spec.device))
        return made if out is None else _to_out("nonzero_static", out, made, ())
    found = nonzero(input)
    n = min(size, found.spec.shape[0])
    made = creation.full((size, found.spec.shape[1]), fill_value, dtype=dt.int64, device=input.spec.device)
    copy_values(slice_dim(made, 0, 0, n), slice_dim(found, 0, 0, n))
    return made if out is None else _to_out("nonzero_static", out, made, ())


def argwhere(input: Tensor) -> Tensor:
    """`nonzero` as (n, ndim)."""
    return nonzero(input)


def where_nonzero(condition: Tensor):
    """`where(condition)`: `nonzero` as a tuple."""
    return nonzero(condition, as_tuple=True)


def masked_select(input: Tensor, mask: Tensor, *, out=None) -> Tensor:
    """The elements where `mask` holds, as a vector; both broadcast."""
    needs_numbers("masked_select", mask)
    if mask.spec.dtype is not dt.bool_:
        fail(RuntimeError, "masked_select: expected BoolTensor for mask", got=str(mask.spec.dtype))
    shape = broadcast(input.spec.shape, mask.spec.shape)
    if input.spec.shape == mask.spec.shape == shape and shape and out is None:
        return getitem(input, mask)
    made = (
        getitem(expand_to(input, shape), expand_to(mask, shape))
        if shape
        else getitem(reshape(input, (1,)), reshape(mask, (1,)))
    )
    if out is None:
        return made
    return _to_out("masked_select", out, made, (input, mask))


def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """A copy of `input` with the elements of `source` in order where `mask` holds."""
    if mask.spec.dtype is not dt.bool_:
        fail(RuntimeError, f"masked_scatter_ only supports boolean masks, but got mask with dtype {_title(mask)}")
    if input.spec.dtype is not source.spec.dtype:
        fail(
            RuntimeError,
            f"masked_scatter: expected self and source to have same dtypes but got{_title(input)} and {_title(source)}",
        )
    shape = broadcast(input.spec.shape, mask.spec.shape)
    if launch.hollow(mask.spec.device):  # how many elements there are does not change the shape
        first = reshape(slice_dim(reshape(source, (-1,)), 0, 0, 1), ())
        return contiguous(OPERATORS["where"].call(mask, first, input))
    at = nonzero(expand_to(mask, shape), as_tuple=True)
    n = at[0].spec.numel
    if source.spec.numel < n:
        fail(
            RuntimeError,
            f"masked_scatter: expected self and source to have enough elements: {n} are needed, source has "
            f"{source.spec.numel}",
        )
    whole = contiguous(expand_to(input, shape) if shape else reshape(input, (1,)))
    made = index_put(whole, tuple(at), slice_dim(reshape(source, (-1,)), 0, 0, n))
    return made if shape else reshape(made, ())


# --- x[...] -------------------------------------------------------------------------------------------------------


@function(tensors=("input",))
def index(input, indices):
    """The elements that index tensors (one for each of the first dims, None: all of a dim) name together."""
    key = ("index", input.spec, *[t if t is None else t.spec for t in indices])
    plan = _PLANS.get(key)
    if plan is None:
        plan = _kept(key, _index_plan(input.spec, indices))
    return plan.read(input, *[t for t in indices if t is not None])


def _index_plan(s: Spec, indices: Sequence[Any]) -> Plan:
    shape, moves, specs, steps_of, _, at = _advanced(s, indices)
    out, sizes = dense(s.dtype, shape, s.device), [s.shape[d] for d in at]
    return _reading(s, moves, out, specs, steps_of, sizes, [s.strides[d] for d in at], _bad_index(at, sizes), True)


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


def _advanced(s: Spec, indices: Sequence[Any]):
    """The iteration space of an advanced index.

    (shape, strides of the indexed tensor, specs of the index tensors, their strides, the dims of the shape that they
    make, the dims that they index)
    """
    at = [d for d, i in enumerate(indices) if i is not None]
    specs = [indices[d].spec for d in at]
    try:
        block = specs[0].shape if len(specs) == 1 else broadcast(*[i.shape for i in specs])
    except RuntimeError:
        fail(
            IndexError,
            "shape mismatch: indexing tensors could not be broadcast together with shapes "
            f"{', '.join(str(list(i.shape)) for i in specs)}",
        )
    others = [d for d in range(s.ndim) if d not in at]
    before = [d for d in others if d < at[0]] if at == list(range(at[0], at[-1] + 1)) else []
    after = others[len(before) :]
    shape = (*[s.shape[d] for d in before], *block, *[s.shape[d] for d in after])
    moves = [*[s.strides[d] for d in before], *[0] * len(block), *[s.strides[d] for d in after]]
    steps_of = [[*[0] * len(before), *broadcast_strides(i, block), *[0] * len(after)] for i in specs]
    return shape, moves, specs, steps_of, range(len(before), len(before) + len(block)), at


@function(tensors=("input", "values"))
def index_put_core(input, indices, values, accumulate):
    """A copy of `input` with `values` at the elements that index tensors name (added to them with `accumulate`)."""
    out = like_layout(input.spec)
    plan = _put_plan(out, indices, values.spec, accumulate)
    tensors = [t for t in indices if t is not None]
    plan.check(*tensors)
    return plan.write(copy_values(launch.empty(out), input), values, *tensors)


def _put_plan(out: Spec, indices, values: Spec, accumulate: bool) -> Plan:
    """The plan of writing values at the elements of a tensor that index tensors name."""
    key = ("index_put", out, values, accumulate, *[t if t is None else t.spec for t in indices])
    found = _PLANS.get(key)
    if found is not None:
        return found
    shape, moves, specs, steps_of, meet, at = _advanced(out, indices)
    lead = len(values.shape) - len(shape)
    sizes, strides = values.shape, values.strides
    if lead > 0 and all(n == 1 for n in sizes[:lead]):
        sizes, strides = sizes[lead:], strides[lead:]
    if len(sizes) > len(shape) or any(n not in (1, m) for n, m in zip(reversed(sizes), reversed(shape))):
        fail(
            RuntimeError,
            f"shape mismatch: value tensor of shape {list(sizes)} cannot be broadcast to indexing result "
            f"of shape {list(shape)}",
        )
    theirs = [0] * (len(shape) - len(sizes)) + [0 if n == 1 else st for n, st in zip(sizes, strides)]
    extents = [out.shape[d] for d in at]
    made = _writing(
        out, moves, values, theirs, specs, steps_of, extents, [out.strides[d] for d in at], shape, meet,
        "add" if accumulate else "set", _bad_index(at, extents), "index_put", True,
    )  # fmt: skip
    return _kept(key, made)


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
            advanced.append((dim, tensor(i, device=CPU)))
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
        found = tensor(list(i) if isinstance(i, range) else i, device=CPU)
        return cast(found, dt.int64) if found.spec.numel == 0 else _index_tensor(found)
    if hasattr(i, "__index__"):
        return tensor(i.__index__(), device=CPU)
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
            needs_numbers("nonzero", t, NONZERO)
            t = tensor([0] if t.item() else [], dtype=dt.int64, device=t.spec.device)
        where = input.spec.device
        if t.spec.device is not where:
            if t.spec.device is not CPU:
                fail(
                    RuntimeError,
                    f"indices should be either on cpu or on the same device as the indexed tensor ({where})",
                    got=f"an index on {t.spec.device}",
                )
            t = to_device(t, where)
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


def _positions(items: tuple) -> tuple | None:
    """Index tensors and whole dims (None), where an index has nothing else."""
    found = []
    for i in items:
        if i.__class__ is Tensor:
            if i.spec.dtype is not dt.int64 or not i.spec.ndim:
                return None
            found.append(i)
        elif i.__class__ is slice and i.start is None and i.stop is None and i.step is None:
            found.append(None)
        else:
            return None
    while found[-1] is None:
        found.pop()
    return tuple(found)


def _recorded(input: Tensor) -> bool:
    """Whether what is done with `input` is recorded, or seen by somebody else."""
    return bool(GUARD.active and LOCAL.special) or (input.needs_grad and (not GUARD.active or LOCAL.grad))


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
    if kind is Tensor:
        s = item.spec
        if s.dtype is dt.int64 and s.ndim and input.spec.ndim:
            return index(input, (item,))
        if s.dtype is dt.bool_ and s.ndim and not _recorded(input):
            return _chosen(input, item)
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
        if len(item) <= input.spec.ndim:
            positions = _positions(item)
            if positions is not None:
                return index(input, positions)
    found, advanced = _views(input, _key(item))
    if not advanced:
        return found if found is not input else alias_view(input)
    return index(found, _resolve(found, advanced))


def setitem(input: Tensor, item, value) -> None:
    """`input[item] = value`."""
    from .inplace import copy_, fill_, recording

    kind = item.__class__
    if kind is Tensor and item.spec.ndim and item.spec.dtype is dt.int64 and input.spec.ndim:
        target, advanced = input, [(0, item)]
    elif kind is Tensor and item.spec.dtype is dt.bool_ and item.spec.shape == input.spec.shape and item.spec.ndim:
        if isinstance(value, Tensor):
            single = value.spec.ndim == 0 and value.spec.dtype is input.spec.dtype
        else:  # other numbers are converted with care
            single = value.__class__ in (int, float) and input.spec.dtype.kind == "f"
        if single and not recording(input, value):
            OPERATORS["masked_fill"].in_place(input, item, value)
            return
        target, advanced = _views(input, (item,))
    elif kind is int or kind is slice:
        target, advanced = getitem(input, item), ()
    else:
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
            fill_(target, creation.saturated(value, target.spec.dtype))
        else:
            copy_(target, tensor(value, dtype=input.spec.dtype, device=input.spec.device))
        return
    if not isinstance(value, Tensor):
        value = tensor(value, dtype=input.spec.dtype, device=input.spec.device)
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
        plan = _put_plan(target.spec, indices, value.spec, accumulate)
        tensors = [t for t in indices if t is not None]
        plan.check(*tensors)  # before anything is written: nothing is left half-changed
        if value.storage is target.storage:
            value = value.clone()
        plan.write(target, value, *[t.clone() if t.storage is target.storage else t for t in tensors])
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
    plan = _scatter_plan(name, target.spec, dim, index, src, how)
    plan.check(index)  # before anything is written
    plan.write(target, src, index)
    target.storage.version += 1
    return target


@takes
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


@takes
def scatter_add_(self: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """Add the elements of `src` at the places that `index` names along `dim`."""
    return _scatter_in_place("scatter_add", self, dim, index, src, "add")


@takes
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
    plan = _index_add_plan(self.spec, d, index.spec, source.spec)
    plan.check(index)
    plan.write(self, source, index)
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
