"""Pooling: the maximum or the mean of windows of given sizes, or of as many as asked for (adaptive), in 1 to 3 dims.

A window begins where a table says and has as many elements as a table says; tables that are arithmetic progressions
become strides. The windows that an element belongs to are such a table again: that is how gradients are made.
"""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from facula import launch
from facula.autograd.node import dtype_title
from facula.core import dtype as dt
from facula.core.device import device
from facula.core.dtype import dtype
from facula.core.modes import GUARD, LOCAL
from facula.core.shape import channels_innermost, channels_last_strides, contiguous_strides
from facula.core.spec import Spec, dense, spec
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.ir import expr as ir
from facula.ir.kernel import Input, Kernel, Param, Result

from .creation import array_on, zeros_of
from .declare import INTO, Function, function, view
from .indexing import gather
from .limits import iinfo
from .promotion import opmath
from .reduction import mean
from .view import reshape, squeeze_dims, unsqueeze

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d",
    "adaptive_max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool1d", "max_pool1d_with_indices",
    "max_pool2d", "max_pool2d_with_indices", "max_pool3d", "max_pool3d_with_indices",
]  # fmt: skip


class Side(NamedTuple):
    """The windows along one dim, in PyTorch's words; `kernel` 0 means adaptive."""

    size: int
    out: int
    kernel: int = 0
    stride: int = 1
    padding: int = 0
    dilation: int = 1


class Table:
    """Where the windows of one dim begin; their elements are those from number `skip` to before number `count`.

    `share` is by how much their sum is divided. Beginnings before the dim keep the table an arithmetic progression.
    """

    __slots__ = ("begin", "count", "dilation", "keep", "most", "share", "skip", "stride", "uniform")

    def __init__(self, begin, count, dilation: int = 1, share=None, skip=None):
        self.begin, self.count = np.ascontiguousarray(begin, np.int64), np.ascontiguousarray(count, np.int64)
        self.skip = np.zeros_like(self.begin) if skip is None else np.ascontiguousarray(skip, np.int64)
        self.dilation = dilation
        self.most = int(self.count.max(initial=0))
        self.uniform = bool((self.count == self.most).all())
        gaps = np.diff(self.begin)
        even = len(gaps) == 0 or bool((gaps == gaps[0]).all())
        self.stride: Any = (int(gaps[0]) if len(gaps) else 1) if even else None
        self.share = self.count if share is None else np.ascontiguousarray(share, np.int64)
        self.keep = (self.begin, self.count, self.share, self.skip)

    def address(self, number: int, where: device) -> int:
        """Of begins, counts, shares or skips on a device."""
        return launch.address_on(self.keep[number], where)


@cache
def _table(side: Side, include: bool = False) -> Table:
    """The windows; `include`: the padding counts as elements when a sum is divided."""
    o = np.arange(side.out)
    if not side.kernel:
        begin = o * side.size // side.out
        return Table(begin, -(-(o + 1) * side.size // side.out) - begin)
    begin = o * side.stride - side.padding
    reach = begin + (side.kernel - 1) * side.dilation + 1
    share = np.minimum(reach, side.size + side.padding) - begin
    end = np.minimum(reach, side.size)
    skip = np.maximum(0, -(begin // side.dilation))
    count = np.maximum(skip, -(-(end - begin) // side.dilation))
    return Table(begin, count, side.dilation, share if include else np.maximum(count - skip, 1), skip)


@cache
def _reverse(side: Side) -> Table:
    """For each element the windows that contain it (which are neighbours where dilation is 1)."""
    at = np.arange(side.size)
    if side.kernel and side.stride == 1:
        begin = at + side.padding - side.kernel + 1
        skip = np.maximum(0, -begin)
        return Table(begin, np.maximum(skip, np.minimum(side.kernel, side.out - begin)), skip=skip)
    table = _table(side)
    live = table.count > table.skip
    begins, ends = (table.begin + table.skip)[live], (table.begin + table.count)[live]
    first = np.searchsorted(ends, at, "right")
    last = np.searchsorted(begins, at, "right")
    count = np.maximum(0, last - first)
    return Table(np.where(count > 0, first, 0), count)


# --- kernels ------------------------------------------------------------------------------------------------------
# The iteration space: samples, channels, windows of each dim; then the elements of a window of each dim. Where channels
# are the innermost dim (`last`) they come after the windows, and vectors go along them.

_KERNELS: dict[tuple, Kernel] = {}
UNROLLED = 25  # elements of a window up to which they are written out, not counted in a loop
AFFINE, JUMP, LISTED = "ajl"  # begins are a stride of the operand; a stride added as an offset; in a table


class _Mode(NamedTuple):
    """What a kernel knows of the windows of a dim."""

    begins: str
    uneven: bool  # windows end at different numbers
    skips: int  # most elements that a window lacks at its beginning
    most: int  # elements of a window; 0 where they are counted in a loop
    least: int


def _lies_last(s: Spec, sides: Sequence[Side], maxima: bool) -> bool:
    """Whether the result of pooling has channels innermost: as the input, where PyTorch's functions keep that."""
    kept = len(sides) == 2 or (maxima and bool(sides[0].kernel))
    return kept and channels_innermost(s.shape, s.strides)


def _result(kind: dtype, shape: Sequence[int], where: device, last: bool) -> Spec:
    return spec(kind, where, tuple(shape), channels_last_strides(shape)) if last else dense(kind, tuple(shape), where)


def _turned(dims: Sequence[int], count: int, last: bool) -> list[int]:
    """Sizes or strides of (samples, channels, windows, elements) in the order of the iteration, of `count` windows."""
    if not last:
        return list(dims)
    return [dims[0], *dims[2 : 2 + count], dims[1], *dims[2 + count :]]


def _modes(tables: Sequence[Table], strides: Sequence[int], last: bool) -> tuple[_Mode, ...]:
    """How each dim's begins are found, and what is known of the sizes."""
    written = 0 < prod(t.most for t in tables) <= UNROLLED
    found = []
    for i, (t, s) in enumerate(zip(tables, strides)):
        begins = LISTED
        if t.stride is not None:
            # Vectors go along channels or the windows of the last dim: steps other than 1 are offsets there (a gather).
            begins = AFFINE if last or i < len(tables) - 1 or t.stride * s == 1 or len(t.begin) == 1 else JUMP
        found.append(
            _Mode(
                begins,
                not t.uniform,
                int(t.skip.max(initial=0)),
                t.most if written else 0,
                int(t.count.min(initial=t.most)) if written else 0,
            )
        )
    return tuple(found)


class _Reader:
    """Loads at the windows' elements, as expressions of a kernel, with the tables and params that they take."""

    def __init__(self, modes: Sequence[_Mode], last: bool):
        self.modes, d = modes, len(modes)
        self.windows = [ir.index(i + (1 if last else 2)) for i in range(d)]
        self.written = all(m.most for m in modes)
        self.inputs: list[Input] = []
        self.params: dict[str, Param] = {}
        self.begins: list = []
        for i, mode in enumerate(modes):
            if mode.begins == LISTED:
                self.begins.append(ir.load(f"begin{i}", dt.int64))
                self.inputs.append(Input(f"begin{i}", dt.int64))
            else:
                self.begins.append(self.windows[i] if mode.begins == JUMP else None)
            if mode.uneven:
                self.inputs.append(Input(f"count{i}", dt.int64))
            if mode.skips:
                self.inputs.append(Input(f"skip{i}", dt.int64))
        # The elements of a window, as numbers or as places in the row.
        if self.written:
            self.taps = [
                tuple(ir.const(k, dt.int64) for k in tap) for tap in itertools.product(*(range(m.most) for m in modes))
            ]
        else:
            self.taps = [tuple(ir.index(2 + d + i) for i in range(d))]

    def param(self, name: str, kind: dtype = dt.int64):
        self.params[name] = Param(name, kind)
        return ir.param(name, kind)

    def where(self, tap):
        """Whether a window has this element; None: all have."""
        conditions = []
        for i, (mode, k) in enumerate(zip(self.modes, tap)):
            if mode.uneven and not (self.written and k.value < mode.least):
                conditions.append(k < ir.load(f"count{i}", dt.int64))
            if mode.skips and not (self.written and k.value >= mode.skips):
                conditions.append(k >= ir.load(f"skip{i}", dt.int64))
        return functools.reduce(ir.and_, conditions) if conditions else None

    def load(self, name: str, kind: dtype, tap):
        offset = None
        for i, begin in enumerate(self.begins):
            if begin is not None:
                by = begin * self.param(f"{name}_step{i}")
                offset = by if offset is None else offset + by
        if self.written:
            for i, k in enumerate(tap):
                if k.value:
                    by = k * self.param(f"{name}_tap{i}")
                    offset = by if offset is None else offset + by
        return ir.load(name, kind, offset, self.where(tap))


def _addressed(
    kernel: Kernel,
    modes: Sequence[_Mode],
    tables: Sequence[Table],
    shape,
    read: Mapping[str, Sequence[int]],
    where,
    last: bool,
    more=(),
):
    """(bound, offset of each operand in `read`, addresses of the tables, params).

    `read` has the strides of operands that are read at windows, by name; `more` those of further inputs.
    """
    d = len(tables)
    rows = None if all(m.most for m in modes) else [t.most for t in tables]
    values: dict[str, Any] = {}
    strides: list[Sequence[int]] = [_result(r.dtype, shape, where, last).strides for r in kernel.results]
    offsets = []
    for name, own in read.items():
        moving, at = list(own[:2]), 0
        for i, (mode, t, s) in enumerate(zip(modes, tables, own[2:])):
            first = int(t.begin[0]) if len(t.begin) and mode.begins != LISTED else 0
            at += first * s
            moving.append(t.stride * s if mode.begins == AFFINE else 0)
            values[f"{name}_step{i}"] = s if mode.begins == LISTED else t.stride * s
            values[f"{name}_tap{i}"] = t.dilation * s
        if rows is not None:
            moving += [t.dilation * s for t, s in zip(tables, own[2:])]
        strides.append(moving)
        offsets.append(at)
    pointers = []
    for i, (mode, t) in enumerate(zip(modes, tables)):
        along = [0] * (2 + d + (0 if rows is None else d))
        along[2 + i] = 1
        for wanted, number in ((mode.begins == LISTED, 0), (mode.uneven, 1), (mode.skips, 3)):
            if wanted:
                strides.append(along)
                pointers.append(t.address(number, where))
    strides += [[*own, *[0] * (0 if rows is None else d)] for own in more]
    strides = [_turned(s, d, last) for s in strides]
    return launch.bind(kernel, _turned(shape, d, last), rows, strides, where), offsets, pointers, values


def _kept(key: tuple, plan: tuple) -> tuple:
    if len(_PLANS) > 2048:
        _PLANS.clear()
    _PLANS[key] = plan
    return plan


# --- maxima -------------------------------------------------------------------------------------------------------


def _lowest(kind: dtype):
    return ir.const(-float("inf") if kind.kind == "f" else iinfo(kind).min, kind)


def _max_kernel(kind: dtype, modes: tuple[_Mode, ...], indices: bool, last: bool) -> Kernel:
    key = ("max", kind, modes, indices, last)
    found = _KERNELS.get(key)
    if found is not None:
        return found
    reader, d = _Reader(modes, last), len(modes)
    compute = opmath(kind)
    planes = [reader.param(f"plane{i}") for i in range(d)] if indices else []

    def place(coordinates):
        return functools.reduce(lambda a, b: a + b, [c * p for c, p in zip(coordinates, planes)])

    at = None
    if reader.written:
        best = _lowest(compute)
        if indices:  # of the first element
            firsts = [ir.load(f"skip{i}", dt.int64) if m.skips else ir.const(0, dt.int64) for i, m in enumerate(modes)]
            at = place([k * reader.param(f"dilation{i}") for i, k in enumerate(firsts)])
        for tap in reader.taps:
            value, where = ir.cast(reader.load("x", kind, tap), compute), reader.where(tap)
            if indices:  # a NaN wins, the last one
                better = ir.gt(value, best)
                better = better if kind.kind != "f" else ir.or_(better, ir.isnan(value))
                better = better if where is None else ir.and_(where, better)
                moved = place([k * reader.param(f"dilation{i}") for i, k in enumerate(tap)])
                best, at = ir.select(better, value, best), ir.select(better, moved, at)
            else:
                best = ir.maximum(best, value if where is None else ir.select(where, value, best))
    else:
        (tap,) = reader.taps
        value, where = ir.cast(reader.load("x", kind, tap), compute), reader.where(tap)
        value = value if where is None else ir.select(where, value, _lowest(compute))
        best = ir.reduce("max", value)
        if indices:
            # The number in the window becomes coordinates: a quotient of small numbers is exact in float32.
            left, moved = ir.reduce("argmax", value), []
            for i in range(d):
                tap_ = left
                if i < d - 1:
                    tap_ = ir.cast(
                        ir.floor((ir.cast(left, dt.float32) + 0.5) * reader.param(f"share{i}", dt.float32)), dt.int64
                    )
                    left = left - tap_ * reader.param(f"rest{i}")
                tap_ = ir.maximum(tap_, ir.load(f"skip{i}", dt.int64)) if modes[i].skips else tap_
                moved.append(tap_ * reader.param(f"dilation{i}"))
            at = place(moved)
    results = [Result("out", kind, best, per_row=not reader.written)]
    if indices:
        begins = [
            ir.load(f"begin{i}", dt.int64)
            if m.begins == LISTED
            else reader.param(f"first{i}") + reader.windows[i] * reader.param(f"by{i}")
            for i, m in enumerate(modes)
        ]
        results.append(Result("index", dt.int64, place(begins) + at, per_row=not reader.written))
    found = _KERNELS[key] = Kernel(
        "max_pool", (Input("x", kind), *reader.inputs), tuple(results), tuple(reader.params.values())
    )
    return found


_PLANS: dict[tuple, tuple] = {}


def _max_plan(s, sides, indices: bool) -> tuple:
    tables, last = [_table(side) for side in sides], _lies_last(s, sides, True)
    modes = _modes(tables, s.strides[2:], last)
    kernel = _max_kernel(s.dtype, modes, indices, last)
    shape = (*s.shape[:2], *(len(t.begin) for t in tables))
    bound, (at,), pointers, values = _addressed(kernel, modes, tables, shape, {"x": s.strides}, s.device, last)
    rests = contiguous_strides([t.most for t in tables])
    for i, (t, plane) in enumerate(zip(tables, contiguous_strides([side.size for side in sides]))):
        values |= {
            f"rest{i}": rests[i],
            f"share{i}": 1.0 / max(rests[i], 1),
            f"plane{i}": plane,
            f"dilation{i}": t.dilation,
        }
        values |= {f"first{i}": int(t.begin[0]) if len(t.begin) else 0, f"by{i}": t.stride or 0}
    outs = [_result(kind, shape, s.device, last) for kind in ((s.dtype, dt.int64) if indices else (s.dtype,))]
    return (
        bound.function,
        outs,
        at * s.dtype.itemsize,
        (*pointers, *(values[p.name] for p in kernel.params), *bound.tail),
    )


def _max(input: Tensor, sides: tuple[Side, ...], indices: bool) -> list[Tensor]:
    key = ("max", input.spec, sides, indices)
    plan = _PLANS.get(key)
    if plan is None:
        plan = _kept(key, _max_plan(input.spec, sides, indices))
    function_, specs, at, tail = plan
    outs = [launch.empty(s) for s in specs]
    if function_ is not None:
        function_(*[o.ptr for o in outs], input.ptr + at, *tail)
    return outs


@function(tensors=("input",), outputs=("values", "indices"))
def max_windows(input, sides):
    """The maximum of each window of (N, C, *size), and its index in the plane."""
    return tuple(_max(input, sides, True))


@max_windows.gradient("input")
def _(grad_values, indices, input_spec, sides):
    return max_windows_back(grad_values, indices, sides, _lies_last(input_spec, sides, True))


def _back_kernel(kind: dtype, modes: tuple[_Mode, ...], last: bool) -> Kernel:
    """The sum of the gradients of the windows whose maximum is here."""
    key = ("max back", kind, modes, last)
    found = _KERNELS.get(key)
    if found is None:
        reader = _Reader(modes, last)
        compute = opmath(kind)
        parts = [window * reader.param(f"plane{i}") for i, window in enumerate(reader.windows)]
        here = functools.reduce(lambda a, b: a + b, parts)
        total: Any = None
        for tap in reader.taps:
            where = reader.where(tap)
            hit = ir.eq(reader.load("index", dt.int64, tap), here)
            hit = hit if where is None else ir.and_(where, hit)
            part = ir.select(hit, ir.cast(reader.load("grad", kind, tap), compute), ir.const(0, compute))
            total = part if total is None else total + part
        total = total if reader.written else ir.reduce("sum", total)
        inputs = (Input("grad", kind), Input("index", dt.int64), *reader.inputs)
        result = Result("out", kind, total, per_row=not reader.written)
        found = _KERNELS[key] = Kernel("max_pool_back", inputs, (result,), tuple(reader.params.values()))
    return found


def _put(out: Tensor, given: Tensor, indices: Tensor, sides, last: bool) -> Tensor:
    """Adds `given` to the planes of `out` at `indices`; windows that do not overlap have different ones."""
    s = given.spec
    apart = all(side.kernel and side.stride >= (side.kernel - 1) * side.dilation + 1 for side in sides)
    key = ("put", s.dtype, apart, last)
    kernel = _KERNELS.get(key)
    if kernel is None:
        value = ir.cast(ir.load("grad", s.dtype), opmath(s.dtype))
        at, params = (
            ir.load("index", dt.int64),
            [Param("step", dt.int64)] * last,
        )  # from an element of a plane to the next
        at = at * ir.param("step", dt.int64) if last else at
        result = Result("out", s.dtype, value, offset=at, combine="set" if apart else "add")
        inputs = (Input("grad", s.dtype), Input("index", dt.int64))
        kernel = _KERNELS[key] = Kernel("max_pool_put", inputs, (result,), tuple(params), disjoint=apart)
    strides = [(*out.spec.strides[:2], *[0] * len(sides)), s.strides, indices.spec.strides]
    strides = [_turned(own, len(sides), last) for own in strides]
    bound = launch.bind(kernel, _turned(s.shape, len(sides), last), None, strides, s.device)
    launch.run(bound, [out.ptr, given.ptr, indices.ptr], out.spec.strides[-1:] if last else ())
    return out


@function(tensors=("given",))
def max_windows_back(given, indices, sides, last):
    """`given`, one element a window, put at the windows' maxima and summed there."""
    s = given.spec
    shape = (*s.shape[:2], *(side.size for side in sides))
    out = _result(s.dtype, shape, s.device, last)
    if not all(side.kernel and side.stride == 1 and side.dilation == 1 for side in sides):
        return _put(zeros_of(out), given, indices, sides, last)
    key = ("max back", s, indices.spec, sides, last)
    plan = _PLANS.get(key)
    if plan is None:
        tables = [_reverse(side) for side in sides]
        modes = _modes(tables, s.strides[2:], last)
        if indices.spec.strides != s.strides and not last:  # both must be read in one way
            modes = tuple(m._replace(begins=LISTED) for m in modes)
        kernel = _back_kernel(s.dtype, modes, last)
        read = {"grad": s.strides, "index": indices.spec.strides}
        bound, (at, index_at), pointers, values = _addressed(kernel, modes, tables, shape, read, s.device, last)
        values |= {f"plane{i}": n for i, n in enumerate(contiguous_strides(shape[2:]))}
        tail = (*pointers, *(values[p.name] for p in kernel.params), *bound.tail)
        plan = _kept(key, (bound.function, at * s.dtype.itemsize, index_at * 8, tail))
    function_, at, index_at, tail = plan
    made = launch.empty(out)
    if function_ is not None:
        function_(made.ptr, given.ptr + at, indices.ptr + index_at, *tail)
    return made


@max_windows_back.gradient("given")
def _(grad, indices, given_spec):
    flat = (*grad.spec.shape[:2], prod(grad.spec.shape[2:]))
    found = gather(reshape(grad, flat), 2, reshape(indices, (*flat[:2], prod(given_spec.shape[2:]))))
    return reshape(found, given_spec.shape)


# --- means --------------------------------------------------------------------------------------------------------


def _sum_kernel(kind: dtype, modes: tuple[_Mode, ...], shared: bool, last: bool) -> Kernel:
    """The sum of each window divided by a number, or by the product of tables' entries (`shared`)."""
    key = ("sum", kind, modes, shared, last)
    found = _KERNELS.get(key)
    if found is None:
        reader = _Reader(modes, last)
        compute = opmath(kind)
        total: Any = None
        for tap in reader.taps:
            part = ir.cast(reader.load("x", kind, tap), compute)
            total = part if total is None else total + part
        total = total if reader.written else ir.reduce("sum", total)
        inputs = [Input("x", kind), *reader.inputs]
        if shared:
            inputs += [Input(f"share{i}", dt.int64) for i in range(len(modes))]
            by = functools.reduce(lambda a, b: a * b, [ir.load(f"share{i}", dt.int64) for i in range(len(modes))])
        else:
            by = reader.param("divisor")
        by = ir.cast(by, compute)
        value = total / by if kind.kind in "fc" else ir.truncdiv(total, by)
        result = Result("out", kind, value, per_row=not reader.written)
        found = _KERNELS[key] = Kernel("avg_pool", tuple(inputs), (result,), tuple(reader.params.values()))
    return found


def _sums(input: Tensor, tables: Sequence[Table], divisor: int | None, last: bool, key: tuple) -> Tensor:
    """Sums of windows, divided by `divisor`, or by what the tables say (None)."""
    s = input.spec
    plan = _PLANS.get(key)
    if plan is None:
        modes = _modes(tables, s.strides[2:], last)
        kernel = _sum_kernel(s.dtype, modes, divisor is None, last)
        shape = (*s.shape[:2], *(len(t.begin) for t in tables))
        more = []
        if divisor is None:
            more = [[1 if e == 2 + i else 0 for e in range(2 + len(tables))] for i in range(len(tables))]
        read = {"x": s.strides}
        bound, (at,), pointers, values = _addressed(kernel, modes, tables, shape, read, s.device, last, more)
        pointers += [t.address(2, s.device) for t in tables] if divisor is None else []
        values["divisor"] = divisor
        tail = (*pointers, *(values[p.name] for p in kernel.params), *bound.tail)
        plan = _kept(key, (bound.function, _result(s.dtype, shape, s.device, last), at * s.dtype.itemsize, tail))
    function_, out, at, tail = plan
    made = launch.empty(out)
    if function_ is not None:
        function_(made.ptr, input.ptr + at, *tail)
    return made


@cache
def _shares(sides: tuple[Side, ...], include: bool) -> int | np.ndarray:
    """By how much the sum of each window is divided: one number where it is the same for all."""
    whole: Any = None
    for i, side in enumerate(sides):
        share = _table(side, include).share.reshape([-1 if d == i else 1 for d in range(len(sides))])
        whole = share if whole is None else whole * share
    return int(whole.flat[0]) if whole.size and (whole == whole.flat[0]).all() else whole


@function(tensors=("input",))
def avg_windows(input, sides, include=False, divisor=None):
    """The mean of each window of (N, C, *size); `include`: padding counts; `divisor` divides the sums instead."""
    number = _shares(sides, include) if divisor is None else divisor
    tables = [_table(side, include) for side in sides]
    last = _lies_last(input.spec, sides, False)
    key = ("sum", input.spec, sides, include, divisor)
    return _sums(input, tables, number if isinstance(number, int) else None, last, key)


@avg_windows.gradient("input")
def _(grad, input_spec, sides, include, divisor):
    return avg_windows_back(grad, sides, include, divisor, _lies_last(input_spec, sides, False))


@function(tensors=("given",))
def avg_windows_back(given, sides, include, divisor, last):
    """`given`, one element a window, shared out among the elements of the windows."""
    number = _shares(sides, include) if divisor is None else divisor
    if not isinstance(number, int):
        from .elementwise import true_divide

        given, number = (
            true_divide(given, array_on(number.astype(np.float64), given.spec.device).to(given.spec.dtype)),
            1,
        )
    tables = [_reverse(side) for side in sides]
    return _sums(given, tables, number, last, ("back", given.spec, sides, number, last))


@avg_windows_back.gradient("given")
def _(grad, sides, include, divisor):
    return avg_windows(grad, sides, include, divisor)


# --- checks and PyTorch's functions -----------------------------------------------------------------------------------

WORDS = {1: "an int", 2: "two ints", 3: "three ints"}


def _several(value, d: int, name: str, word: str) -> tuple[int, ...]:
    if isinstance(value, int):
        return (value,) * d
    found = tuple(int(n) for n in value)
    if len(found) == 1:
        return found * d
    if len(found) != d:
        fail(RuntimeError, f"{name}: {word} must either be a single int, or a tuple of {WORDS[d]}", got=found)
    return found


def _count(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil: bool) -> int:
    out = (size + 2 * padding - dilation * (kernel - 1) - 1 + (stride - 1 if ceil else 0)) // stride + 1
    return out - 1 if ceil and (out - 1) * stride >= size + padding else out


def _sides(name: str, d: int, input: Tensor, kernel_size, stride, padding, dilation, ceil: bool) -> tuple[Side, ...]:
    """The windows that the settings ask for; errors in PyTorch's words."""
    s = input.spec
    kernel = _several(kernel_size, d, name, "kernel_size")
    if stride is None or stride == () or stride == []:
        stride = kernel
    elif isinstance(stride, int):
        stride = (stride,) * d
    else:
        stride = tuple(int(n) for n in stride)
        stride = stride * d if len(stride) == 1 else stride
        if len(stride) != d:
            fail(
                RuntimeError,
                f"{name}: stride must either be omitted, a single int, or a tuple of {WORDS[d]}",
                got=stride,
            )
    padding, dilation = _several(padding, d, name, "padding"), _several(dilation, d, name, "dilation")
    if s.ndim not in (d + 1, d + 2) or (d == 1 and 0 in s.shape[-2:]):
        _bad_rank(name, d, s)
    sizes = s.shape[-d:]
    if d == 1:
        _check_one(name, s, kernel[0], stride[0], padding[0], dilation[0])
    else:
        if 0 in stride:
            fail(RuntimeError, "stride should not be zero")
        if any(k <= 0 for k in kernel):
            fail(RuntimeError, "kernel size should be greater than zero", got=kernel)
        if any(n <= 0 for n in dilation):
            letters = "HW" if d == 2 else "THW"
            fail(
                RuntimeError,
                "dilation should be greater than zero, but got "
                + " ".join(f"dilation{c}: {n}" for c, n in zip(letters, dilation)),
            )
        for p, k, dl in zip(padding, kernel, dilation):
            if p < 0:
                fail(RuntimeError, f"pad must be non-negative, but got pad: {p}")
            if p > ((k - 1) * dl + 1) // 2:
                fail(
                    RuntimeError,
                    f"pad should be at most half of effective kernel size, but got pad={p}, "
                    f"kernel_size={k} and dilation={dl}",
                )
        if 0 in s.shape[1:] or s.ndim == d + 1 and 0 in s.shape:
            fail(
                RuntimeError,
                f"Expected {d + 1}D or {d + 2}D (batch mode) tensor with optional 0 dim batch size for "
                f"input, but got:{list(s.shape)}",
            )
    outs = [_count(n, k, st, p, dl, ceil) for n, k, st, p, dl in zip(sizes, kernel, stride, padding, dilation)]
    if min(outs) < 1:
        if d == 1:
            fail(RuntimeError, f"{name}() Invalid computed output size: {outs[0]}")
        channels = s.shape[-d - 1]
        fail(
            RuntimeError,
            f"Given input size: ({'x'.join(map(str, (channels, *sizes)))}). Calculated output size: "
            f"({'x'.join(map(str, (channels, *outs)))}). Output size is too small",
            mend="the window must not be larger than the padded input",
        )
    return tuple(Side(n, o, k, st, p, dl) for n, o, k, st, p, dl in zip(sizes, outs, kernel, stride, padding, dilation))


def _bad_rank(name: str, d: int, s):
    if d == 1 and name.startswith("avg"):
        fail(
            RuntimeError,
            f"Expected 2 to 3 dimensions, but got {s.ndim}-dimensional tensor for argument #1 'self' "
            f"(while checking arguments for {name})",
        )
    if d == 1:
        fail(
            RuntimeError,
            f"{name}: Expected 2D or 3D (batch mode) tensor with optional 0 dim batch size for input, but "
            f"got:{list(s.shape)}",
        )
    fail(
        RuntimeError,
        f"non-empty {d + 1}D or {d + 2}D (batch mode) tensor expected for input",
        got=f"shape {tuple(s.shape)}",
    )


def _check_one(name: str, s, kernel: int, stride: int, padding: int, dilation: int) -> None:
    for word, n in (("kernel_size", kernel), ("stride", stride), ("dilation", dilation)):
        if n <= 0:
            fail(RuntimeError, f"{name}() {word} must be greater than zero, but got {n}")
    if padding < 0:
        fail(RuntimeError, f"{name}() padding must be non-negative, but got {padding}")
    if padding > ((kernel - 1) * dilation + 1) // 2:
        fail(
            RuntimeError,
            f"{name}() padding should be at most half of kernel size, but got padding={padding} and "
            f"kernel_size={kernel}",
        )


def _no_bool(name: str, input: Tensor, kinds: str = "uif") -> None:
    if not isinstance(input, Tensor):
        fail(TypeError, f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
    if input.spec.dtype.kind not in kinds:
        fail(NotImplementedError, f"\"{name}\" not implemented for '{dtype_title(input.spec.dtype)}'")


def _batched(input: Tensor, d: int, pool: Callable[[Tensor], Any]) -> Any:
    """`pool` of a batch; a single sample becomes one."""
    if input.spec.ndim == d + 2:
        return pool(input)
    made = pool(unsqueeze(input, 0))
    return tuple(squeeze_dims(x, (0,)) for x in made) if isinstance(made, tuple) else squeeze_dims(made, (0,))


_SIDES: dict[tuple, tuple[Side, ...]] = {}


def _known_sides(*key) -> tuple[Side, ...]:
    """`_sides`, remembered: the checks cost more than a small pooling."""
    name, d, input, *rest = key
    try:
        found = _SIDES.get((name, input.spec, *rest))
    except TypeError:
        return _sides(*key)
    if found is None:
        if len(_SIDES) > 4096:
            _SIDES.clear()
        found = _SIDES[name, input.spec, *rest] = _sides(*key)
    return found


_NODES = {1: "MaxPool2DWithIndicesBackward0", 2: "MaxPool2DWithIndicesBackward0", 3: "MaxPool3DWithIndicesBackward0"}


def _named(core, name: str, title: str):
    """`core` under the name that the graph shows for it."""
    operator = core.operator
    made = Function(operator.body, name, tensors=operator.tensors, outputs=operator.outputs)
    made.gradients = operator.gradients
    made.node_class.__name__ = title
    return made.call


_max_nodes = {d: _named(max_windows, f"max_pool{d}d", title) for d, title in _NODES.items()}
_adaptive_max_nodes = {
    d: _named(max_windows, f"adaptive_max_pool{d}d", f"AdaptiveMaxPool{max(d, 2)}DBackward0") for d in (1, 2, 3)
}
_avg_nodes = {d: _named(avg_windows, f"avg_pool{d}d", f"AvgPool{max(d, 2)}DBackward0") for d in (1, 2, 3)}
_adaptive_avg_nodes = {
    d: _named(avg_windows, f"adaptive_avg_pool{d}d", f"AdaptiveAvgPool{max(d, 2)}DBackward0") for d in (1, 2, 3)
}


def _make_max(d: int):
    name = f"max_pool{d}d"

    def with_indices(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
        _no_bool(name, input)
        sides = _known_sides(name, d, input, kernel_size, stride, padding, dilation, ceil_mode)
        return _batched(input, d, lambda x: _max_nodes[d](x, sides))

    def values(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
        _no_bool(name if d > 1 else "max_pool1d_impl", input, "uif" if d > 1 else "f")
        sides = _known_sides(name, d, input, kernel_size, stride, padding, dilation, ceil_mode)
        if not GUARD.active or LOCAL.grad or LOCAL.special:  # somebody follows: the indices may be needed
            return _batched(input, d, lambda x: _max_nodes[d](x, sides)[0])
        return _batched(input, d, lambda x: _max(x, sides, False)[0])

    with_indices.__name__ = with_indices.__qualname__ = f"{name}_with_indices"
    with_indices.__doc__ = f"""`{name}` and the index of each maximum in its plane: (values, int64 indices)."""
    values.__name__ = values.__qualname__ = name
    values.__doc__ = f"""The maximum of each window of `kernel_size` elements.

    Parameters
    ----------
    input : Tensor
        (N, C, *size) or (C, *size) with {d} size{"s" if d > 1 else ""}.
    kernel_size, stride, padding, dilation : int or tuple
        `stride` is `kernel_size` unless given; padding never wins.
    ceil_mode : bool
        Whether a last window may reach beyond the end.
    """
    return values, with_indices


max_pool1d, max_pool1d_with_indices = _make_max(1)
max_pool2d, max_pool2d_with_indices = _make_max(2)
max_pool3d, max_pool3d_with_indices = _make_max(3)


def _average(name: str, d: int, input, kernel_size, stride, padding, ceil_mode, include, divisor) -> Tensor:
    _no_bool(f"avg_pool{d}d", input, "uif")
    if divisor == 0:
        fail(RuntimeError, "divisor must be not zero")
    sides = _known_sides(name, d, input, kernel_size, stride, padding, 1, ceil_mode)
    include = bool(include) and any(
        side.padding or (side.out - 1) * side.stride + side.kernel > side.size for side in sides
    )
    return _batched(input, d, lambda x: _avg_nodes[d](x, sides, include, divisor))


def avg_pool1d(input, kernel_size, stride=None, padding: Any = 0, ceil_mode=False, count_include_pad=True) -> Tensor:
    """The mean of each window of (N, C, L) or (C, L); `count_include_pad`: zeros of the padding count."""
    return _average("avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
    *,
    out=None,
) -> Tensor:
    """The mean of each window of (N, C, H, W) or (C, H, W); `divisor_override` divides the sums instead of their count.

    Examples
    --------
    >>> import facula as torch
    >>> torch.nn.functional.avg_pool2d(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), 2)
    tensor([[[2.5000]]])
    """
    made = _average(
        "avg_pool2d", 2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )
    return made if out is None else INTO[0]("avg_pool2d", out, made, (input,))


def avg_pool3d(
    input,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
    *,
    out=None,
) -> Tensor:
    """The mean of each window of (N, C, D, H, W) or (C, D, H, W)."""
    made = _average(
        "avg_pool3d", 3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )
    return made if out is None else INTO[0]("avg_pool3d", out, made, (input,))


def _adaptive_sides(name: str, d: int, input: Tensor, output_size, colon: str) -> tuple[Side, ...]:
    s = input.spec
    if s.ndim not in (d + 1, d + 2):
        if d == 1:
            fail(
                RuntimeError,
                f"Expected 2 to 3 dimensions, but got {s.ndim}-dimensional tensor for argument #1 'self' "
                f"(while checking arguments for {name})",
            )
        fail(RuntimeError, f"{name}(): Expected {d + 1}D or {d + 2}D tensor, but got{colon} {list(s.shape)}")
    outs = (output_size,) * d if isinstance(output_size, int) or output_size is None else tuple(output_size)
    if len(outs) != d:
        fail(RuntimeError, f"{name}: output_size must be {d}", got=tuple(outs))
    outs = tuple(n if o is None else int(o) for o, n in zip(outs, s.shape[-d:]))
    if any(o < 0 for o in outs):
        fail(
            RuntimeError,
            f"{name}: elements of output_size must be greater than or equal to 0 but received "
            f"{{{', '.join(map(str, outs))}}}",
        )
    for i in range(1 if s.ndim == d + 2 else 0, s.ndim):
        if s.shape[i] == 0:
            fail(
                RuntimeError,
                f"{name}(): Expected input to have non-zero size for non-batch dimensions, but input has "
                f"sizes {list(s.shape)} with dimension {i} being empty",
            )
    return tuple(Side(n, o) for n, o in zip(s.shape[-d:], outs))


@view
def channels_last_plane(spec):
    """(N, C, 1, ...) in the strides that PyTorch gives the means of planes whose channels are innermost."""
    return spec.shape, channels_last_strides(spec.shape), 0


@channels_last_plane.gradient("input")
def _(grad, spec):
    return grad


channels_last_plane.operator.node_class.__name__ = "AsStridedBackward1"


def _make_adaptive(d: int):
    def average(input, output_size):
        name = f"adaptive_avg_pool{d}d"
        _no_bool(f"adaptive_avg_pool{max(d, 2)}d", input, "f")
        sides = _adaptive_sides(name, d, input, output_size, "")
        if d > 1 and all(side.out == 1 for side in sides):
            made = mean(input, tuple(range(-d, 0)), keepdim=True)
            if input.spec.ndim == d + 2 and channels_innermost(input.spec.shape, input.spec.strides):
                return channels_last_plane(made)
            return made
        return _batched(input, d, lambda x: _adaptive_avg_nodes[d](x, sides))

    def maximum(input, output_size):
        name = f"adaptive_max_pool{d}d"
        _no_bool(f"adaptive_max_pool{max(d, 2)}d", input, "f")
        sides = _adaptive_sides(name, d, input, output_size, ":")
        return _batched(input, d, lambda x: _adaptive_max_nodes[d](x, sides))

    average.__name__ = average.__qualname__ = f"adaptive_avg_pool{d}d"
    average.__doc__ = """The means of `output_size` windows, which share out the input evenly; None keeps a size."""
    maximum.__name__ = maximum.__qualname__ = f"adaptive_max_pool{d}d"
    maximum.__doc__ = (
        """The maxima of `output_size` windows, which share out the input evenly, and their indices in the plane."""
    )
    return average, maximum


adaptive_avg_pool1d, adaptive_max_pool1d = _make_adaptive(1)
adaptive_avg_pool2d, adaptive_max_pool2d = _make_adaptive(2)
adaptive_avg_pool3d, adaptive_max_pool3d = _make_adaptive(3)
