"""Pooling: the maximum or the mean of windows, of given sizes or of as many as asked for (adaptive), in one to three dims.

A window begins where a table says and has as many elements as a table says; tables that are arithmetic progressions become
strides. The windows that an element belongs to are such a table again: that is how gradients are made.
"""

from collections.abc import Callable, Sequence
from functools import cache
from math import prod
from typing import NamedTuple

import numpy as np

from facula import launch
from facula.autograd.node import dtype_title
from facula.core import dtype as dt
from facula.core.dtype import dtype
from facula.core.modes import GUARD, LOCAL
from facula.core.shape import contiguous_strides
from facula.core.spec import dense
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.ir import expr as ir
from facula.ir.kernel import Input, Kernel, Param, Result

from .creation import from_numpy, zeros_of
from .declare import Function, function
from .indexing import gather, scatter_add
from .limits import iinfo
from .promotion import opmath
from .reduction import mean
from .view import reshape, squeeze_dims, unsqueeze

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d",
    "adaptive_max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool1d", "max_pool1d_with_indices", "max_pool2d",
    "max_pool2d_with_indices", "max_pool3d", "max_pool3d_with_indices",
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
    """Where the windows of one dim begin, how many elements they have, and by how much their sum is divided."""

    __slots__ = ("begin", "count", "dilation", "keep", "most", "ptrs", "share", "stride", "uniform")

    def __init__(self, begin: np.ndarray, count: np.ndarray, dilation: int = 1, share: np.ndarray | None = None):
        self.begin, self.count = np.ascontiguousarray(begin, np.int64), np.ascontiguousarray(count, np.int64)
        self.dilation = dilation
        self.most = int(self.count.max(initial=0))
        self.uniform = bool((self.count == self.most).all())
        gaps = np.diff(self.begin)
        even = len(gaps) == 0 or bool((gaps == gaps[0]).all())
        self.stride = (int(gaps[0]) if len(gaps) else 1) if even else None
        self.share = self.count if share is None else np.ascontiguousarray(share, np.int64)
        self.keep = (self.begin, self.count, self.share)
        self.ptrs = tuple(a.ctypes.data for a in self.keep)


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
    begin = begin + np.maximum(0, -(begin // side.dilation)) * side.dilation
    count = np.maximum(0, -(-(end - begin) // side.dilation))
    begin = np.where(count > 0, begin, 0)
    return Table(begin, count, side.dilation, share if include else np.maximum(count, 1))


@cache
def _reverse(side: Side) -> Table:
    """For each element the windows that contain it (which are neighbours where dilation is 1)."""
    table = _table(side)
    at = np.arange(side.size)
    live = table.count > 0
    begins, ends = table.begin[live], (table.begin + table.count)[live]
    first = np.searchsorted(ends, at, "right")
    last = np.searchsorted(begins, at, "right")
    count = np.maximum(0, last - first)
    return Table(np.where(count > 0, first, 0), count)


# --- kernels ------------------------------------------------------------------------------------------------------
# The iteration space: samples, channels, windows of each dim; then the elements of a window of each dim.

_KERNELS: dict[tuple, Kernel] = {}
AFFINE, JUMP, LISTED = "ajl"  # begins are a stride of the operand; a stride added as an offset; in a table


def _modes(tables: Sequence[Table], strides: Sequence[int]) -> tuple[tuple[str, bool], ...]:
    """How each dim's begins are found, and whether its windows differ in size."""
    found = []
    for i, (t, s) in enumerate(zip(tables, strides)):
        mode = LISTED
        if t.stride is not None:
            # Vectors go along the windows of the last dim: steps other than 1 are offsets there (a gather).
            mode = AFFINE if i < len(tables) - 1 or t.stride * s == 1 or len(t.begin) == 1 else JUMP
        found.append((mode, not t.uniform))
    return tuple(found)


class _Reader:
    """Loads at the windows' elements, as expressions of a kernel, with the tables and params that they take."""

    def __init__(self, modes: Sequence[tuple[str, bool]]):
        self.modes, d = modes, len(modes)
        self.inputs: list[Input] = []
        self.params: list[Param] = []
        self.where = None
        self.begins: list = []
        for i, (mode, uneven) in enumerate(modes):
            if mode == LISTED:
                self.begins.append(ir.load(f"begin{i}", dt.int64))
                self.inputs.append(Input(f"begin{i}", dt.int64))
            elif mode == JUMP:
                self.begins.append(ir.index(2 + i))
            else:
                self.begins.append(None)
            if uneven:
                self.inputs.append(Input(f"count{i}", dt.int64))
                holds = ir.index(2 + d + i) < ir.load(f"count{i}", dt.int64)
                self.where = holds if self.where is None else ir.and_(self.where, holds)

    def load(self, name: str, kind: dtype):
        offset = None
        for i, begin in enumerate(self.begins):
            if begin is not None:
                step = ir.param(f"{name}.step{i}".replace(".", "_"), dt.int64)
                self.params.append(Param(step.value, dt.int64))
                offset = begin * step if offset is None else offset + begin * step
        return ir.load(name, kind, offset, self.where)

    @staticmethod
    def strides(modes, tables: Sequence[Table], strides: Sequence[int]) -> tuple[list[int], int, list[int]]:
        """Strides of an operand read at windows, the offset of its first window, values of the params that `load` made."""
        moving, at, values = list(strides[:2]), 0, []
        own = strides[2:]
        for (mode, _), t, s in zip(modes, tables, own):
            first = int(t.begin[0]) if len(t.begin) else 0
            if mode == AFFINE:
                moving.append(t.stride * s)
                at += first * s
            else:
                moving.append(0)
                values.append(s if mode == LISTED else t.stride * s)
                at += 0 if mode == LISTED else first * s
        return [*moving, *(t.dilation * s for t, s in zip(tables, own))], at, values

    @staticmethod
    def extra(modes, tables: Sequence[Table]) -> tuple[list[list[int]], list[int]]:
        """Strides and addresses of the tables."""
        d = len(tables)
        strides, pointers = [], []
        for i, ((mode, uneven), t) in enumerate(zip(modes, tables)):
            along = [0] * (2 + 2 * d)
            along[2 + i] = 1
            if mode == LISTED:
                strides.append(along)
                pointers.append(t.ptrs[0])
            if uneven:
                strides.append(along)
                pointers.append(t.ptrs[1])
        return strides, pointers


def _row(tables: Sequence[Table]) -> list[int]:
    return [t.most for t in tables]


def _bind(kernel: Kernel, x: Tensor, tables: Sequence[Table], strides) -> launch.Bound:
    shape = [*x.spec.shape[:2], *(len(t.begin) for t in tables)]
    return launch.bind(kernel, shape, _row(tables), strides, x.spec.device)


# --- maxima -------------------------------------------------------------------------------------------------------


def _lowest(kind: dtype):
    return ir.const(-float("inf") if kind.kind == "f" else iinfo(kind).min, kind)


def _max_kernel(kind: dtype, modes, indices: bool) -> Kernel:
    key = ("max", kind, modes, indices)
    found = _KERNELS.get(key)
    if found is None:
        reader, d = _Reader(modes), len(modes)
        compute = opmath(kind)
        value = ir.cast(reader.load("x", kind), compute)
        if reader.where is not None:
            value = ir.select(reader.where, value, _lowest(compute))
        results = [Result("out", kind, ir.reduce("max", value), per_row=True)]
        inputs, params = [Input("x", kind), *reader.inputs], list(reader.params)
        if indices:
            # The number in the window becomes coordinates (a quotient of small numbers is exact in float32), these an index.
            left, at = ir.reduce("argmax", value), None
            for i in range(d):
                if i < d - 1:
                    rest, share = ir.param(f"rest{i}", dt.int64), ir.param(f"share{i}", dt.float32)
                    params += [Param(f"rest{i}", dt.int64), Param(f"share{i}", dt.float32)]
                    tap = ir.cast(ir.floor((ir.cast(left, dt.float32) + 0.5) * share), dt.int64)
                    left = left - tap * rest
                else:
                    tap = left
                plane, first, by, dilation = (ir.param(f"{word}{i}", dt.int64) for word in ("plane", "first", "by", "dilation"))
                params += [Param(p.value, dt.int64) for p in ((plane, dilation) if modes[i][0] == LISTED else (plane, first, by, dilation))]
                begin = ir.load(f"begin{i}", dt.int64) if modes[i][0] == LISTED else first + ir.index(2 + i) * by
                place = (begin + tap * dilation) * plane
                at = place if at is None else at + place
            results.append(Result("index", dt.int64, at, per_row=True))
        found = _KERNELS[key] = Kernel("max_pool", tuple(inputs), tuple(results), tuple(params))
    return found


_PLANS: dict[tuple, tuple] = {}


def _max_plan(s, sides, indices: bool):
    tables = [_table(side) for side in sides]
    modes = _modes(tables, s.strides[2:])
    kernel = _max_kernel(s.dtype, modes, indices)
    shape = (*s.shape[:2], *(len(t.begin) for t in tables))
    moving, at, values = _Reader.strides(modes, tables, s.strides)
    more, pointers = _Reader.extra(modes, tables)
    strides = [list(contiguous_strides(shape))] * (2 if indices else 1) + [moving, *more]
    if indices:
        rests = contiguous_strides([t.most for t in tables])
        planes = contiguous_strides([side.size for side in sides])
        for i, (t, (mode, _)) in enumerate(zip(tables, modes)):
            if i < len(tables) - 1:
                values += [rests[i], 1.0 / max(rests[i], 1)]
            values += [planes[i], t.dilation] if mode == LISTED else [planes[i], int(t.begin[0]), t.stride, t.dilation]
    bound = launch.bind(kernel, shape, _row(tables), strides, s.device)
    outs = [dense(s.dtype, shape, s.device)] + ([dense(dt.int64, shape, s.device)] if indices else [])
    return bound.function, outs, at * s.dtype.itemsize, (*pointers, *values, *bound.tail)


def _max(input: Tensor, sides: tuple[Side, ...], indices: bool) -> list[Tensor]:
    key = ("max", input.spec, sides, indices)
    plan = _PLANS.get(key)
    if plan is None:
        if len(_PLANS) > 2048:
            _PLANS.clear()
        plan = _PLANS[key] = _max_plan(input.spec, sides, indices)
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
def _(grad_values, indices, sides):
    return max_windows_back(grad_values, indices, sides)


def _back_kernel(kind: dtype, modes) -> Kernel:
    """The sum of the gradients of the windows whose maximum is here."""
    key = ("max back", kind, modes)
    found = _KERNELS.get(key)
    if found is None:
        reader, d = _Reader(modes), len(modes)
        compute = opmath(kind)
        value, place = ir.cast(reader.load("grad", kind), compute), reader.load("index", dt.int64)
        here, params = None, list(reader.params)
        for i in range(d):
            plane = ir.param(f"plane{i}", dt.int64)
            params.append(Param(f"plane{i}", dt.int64))
            at = ir.index(2 + i) * plane
            here = at if here is None else here + at
        hit = ir.eq(place, here)
        hit = hit if reader.where is None else ir.and_(reader.where, hit)
        total = ir.reduce("sum", ir.select(hit, value, ir.const(0, compute)))
        inputs = (Input("grad", kind), Input("index", dt.int64), *reader.inputs)
        found = _KERNELS[key] = Kernel("max_pool_back", inputs, (Result("out", kind, total, per_row=True),), tuple(params))
    return found


@function(tensors=("given",))
def max_windows_back(given, indices, sides):
    """`given`, one element a window, put at the windows' maxima and summed there."""
    s = given.spec
    shape = (*s.shape[:2], *(side.size for side in sides))
    out = dense(s.dtype, shape, s.device)
    if any(side.dilation != 1 for side in sides):
        flat = (*s.shape[:2], -1) if s.numel else (*s.shape[:2], 0)
        made = scatter_add(zeros_of(dense(s.dtype, (*s.shape[:2], prod(shape[2:])), s.device)), 2, reshape(indices, flat), reshape(given, flat))
        return reshape(made, shape)
    key = ("max back", s, indices.spec, sides)
    plan = _PLANS.get(key)
    if plan is None:
        tables = [_reverse(side) for side in sides]
        modes = _modes(tables, s.strides[2:])
        if indices.spec.strides != s.strides:  # both must be read in one way
            modes = tuple((LISTED, uneven) for _, uneven in modes)
        kernel = _back_kernel(s.dtype, modes)
        moving, at, values = _Reader.strides(modes, tables, s.strides)
        index_moving, index_at, more_values = _Reader.strides(modes, tables, indices.spec.strides)
        more, pointers = _Reader.extra(modes, tables)
        bound = launch.bind(kernel, shape, _row(tables), [list(contiguous_strides(shape)), moving, index_moving, *more], s.device)
        planes = contiguous_strides(shape[2:])
        plan = bound.function, at * s.dtype.itemsize, index_at * 8, (*pointers, *values, *more_values, *planes, *bound.tail)
        if len(_PLANS) > 2048:
            _PLANS.clear()
        _PLANS[key] = plan
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


def _sum_kernel(kind: dtype, modes, shared: bool) -> Kernel:
    """The sum of each window divided by a number, or by the product of a table's entries (`shared`)."""
    key = ("sum", kind, modes, shared)
    found = _KERNELS.get(key)
    if found is None:
        reader = _Reader(modes)
        compute = opmath(kind)
        total = ir.reduce("sum", ir.cast(reader.load("x", kind), compute))
        inputs, params = [Input("x", kind), *reader.inputs], list(reader.params)
        if shared:
            by = None
            for i in range(len(modes)):
                inputs.append(Input(f"share{i}", dt.int64))
                part = ir.load(f"share{i}", dt.int64)
                by = part if by is None else by * part
        else:
            by = ir.param("divisor", dt.int64)
            params.append(Param("divisor", dt.int64))
        by = ir.cast(by, compute)
        value = total / by if kind.kind in "fc" else ir.truncdiv(total, by)
        found = _KERNELS[key] = Kernel("avg_pool", tuple(inputs), (Result("out", kind, value, per_row=True),), tuple(params))
    return found


def _sums(input: Tensor, tables: Sequence[Table], divisor: int | None, key: tuple) -> Tensor:
    """Sums of windows, divided by `divisor`, or by what the tables say (None)."""
    s = input.spec
    plan = _PLANS.get(key)
    if plan is None:
        modes = _modes(tables, s.strides[2:])
        kernel = _sum_kernel(s.dtype, modes, divisor is None)
        shape = (*s.shape[:2], *(len(t.begin) for t in tables))
        moving, at, values = _Reader.strides(modes, tables, s.strides)
        more, pointers = _Reader.extra(modes, tables)
        if divisor is None:
            for i, t in enumerate(tables):
                along = [0] * (2 + 2 * len(tables))
                along[2 + i] = 1
                more.append(along)
                pointers.append(t.ptrs[2])
        else:
            values.append(divisor)
        bound = launch.bind(kernel, shape, _row(tables), [list(contiguous_strides(shape)), moving, *more], s.device)
        plan = bound.function, dense(s.dtype, shape, s.device), at * s.dtype.itemsize, (*pointers, *values, *bound.tail)
        if len(_PLANS) > 2048:
            _PLANS.clear()
        _PLANS[key] = plan
    function_, out, at, tail = plan
    made = launch.empty(out)
    if function_ is not None:
        function_(made.ptr, input.ptr + at, *tail)
    return made


@cache
def _shares(sides: tuple[Side, ...], include: bool) -> int | np.ndarray:
    """By how much the sum of each window is divided: one number where it is the same for all."""
    whole = None
    for i, side in enumerate(sides):
        share = _table(side, include).share.reshape([-1 if d == i else 1 for d in range(len(sides))])
        whole = share if whole is None else whole * share
    return int(whole.flat[0]) if whole.size and (whole == whole.flat[0]).all() else whole


@function(tensors=("input",))
def avg_windows(input, sides, include=False, divisor=None):
    """The mean of each window of (N, C, *size); `include`: padding counts; `divisor`: sums are divided by it instead."""
    number = _shares(sides, include) if divisor is None else divisor
    tables = [_table(side, include) for side in sides]
    return _sums(input, tables, number if isinstance(number, int) else None, ("sum", input.spec, sides, include, divisor))


@avg_windows.gradient("input")
def _(grad, sides, include, divisor):
    return avg_windows_back(grad, sides, include, divisor)


@function(tensors=("given",))
def avg_windows_back(given, sides, include, divisor):
    """`given`, one element a window, shared out among the elements of the windows."""
    number = _shares(sides, include) if divisor is None else divisor
    if not isinstance(number, int):
        from .elementwise import true_divide

        given, number = true_divide(given, from_numpy(number.astype(np.float64)).to(given.spec.dtype)), 1
    return _sums(given, [_reverse(side) for side in sides], number, ("back", given.spec, sides, number))


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
            fail(RuntimeError, f"{name}: stride must either be omitted, a single int, or a tuple of {WORDS[d]}", got=stride)
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
            fail(RuntimeError, "dilation should be greater than zero, but got " + " ".join(f"dilation{c}: {n}" for c, n in zip(letters, dilation)))
        for p, k, dl in zip(padding, kernel, dilation):
            if p < 0:
                fail(RuntimeError, f"pad must be non-negative, but got pad: {p}")
            if p > ((k - 1) * dl + 1) // 2:
                fail(RuntimeError, f"pad should be at most half of effective kernel size, but got pad={p}, kernel_size={k} and dilation={dl}")
        if 0 in s.shape[1:] or s.ndim == d + 1 and 0 in s.shape:
            fail(RuntimeError, f"Expected {d + 1}D or {d + 2}D (batch mode) tensor with optional 0 dim batch size for input, but got:{list(s.shape)}")
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
        fail(RuntimeError, f"Expected 2 to 3 dimensions, but got {s.ndim}-dimensional tensor for argument #1 'self' (while checking arguments for {name})")
    if d == 1:
        fail(RuntimeError, f"{name}: Expected 2D or 3D (batch mode) tensor with optional 0 dim batch size for input, but got:{list(s.shape)}")
    fail(RuntimeError, f"non-empty {d + 1}D or {d + 2}D (batch mode) tensor expected for input", got=f"shape {tuple(s.shape)}")


def _check_one(name: str, s, kernel: int, stride: int, padding: int, dilation: int) -> None:
    for word, n in (("kernel_size", kernel), ("stride", stride), ("dilation", dilation)):
        if n <= 0:
            fail(RuntimeError, f"{name}() {word} must be greater than zero, but got {n}")
    if padding < 0:
        fail(RuntimeError, f"{name}() padding must be non-negative, but got {padding}")
    if padding > ((kernel - 1) * dilation + 1) // 2:
        fail(RuntimeError, f"{name}() padding should be at most half of kernel size, but got padding={padding} and kernel_size={kernel}")


def _no_bool(name: str, input: Tensor, kinds: str = "uif") -> None:
    if not isinstance(input, Tensor):
        fail(TypeError, f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
    if input.spec.dtype.kind not in kinds:
        fail(NotImplementedError, f"\"{name}\" not implemented for '{dtype_title(input.spec.dtype)}'")


def _batched(input: Tensor, d: int, pool: Callable[[Tensor], object]):
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
_adaptive_max_nodes = {d: _named(max_windows, f"adaptive_max_pool{d}d", f"AdaptiveMaxPool{max(d, 2)}DBackward0") for d in (1, 2, 3)}
_avg_nodes = {d: _named(avg_windows, f"avg_pool{d}d", f"AvgPool{max(d, 2)}DBackward0") for d in (1, 2, 3)}
_adaptive_avg_nodes = {d: _named(avg_windows, f"adaptive_avg_pool{d}d", f"AdaptiveAvgPool{max(d, 2)}DBackward0") for d in (1, 2, 3)}


def _make_max(d: int):
    name = f"max_pool{d}d"

    def with_indices(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
        _no_bool(name, input)
        sides = _known_sides(name, d, input, kernel_size, stride, padding, dilation, ceil_mode)
        return _batched(input, d, lambda x: _max_nodes[d](x, sides))

    def values(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
        _no_bool(name if d > 1 else "max_pool1d_impl", input, "uif" if d > 1 else "f")
        sides = _known_sides(name, d, input, kernel_size, stride, padding, dilation, ceil_mode)
        if input.requires_grad_ and (not GUARD.active or LOCAL.grad):
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
    include = bool(include) and any(side.padding or (side.out - 1) * side.stride + side.kernel > side.size for side in sides)
    return _batched(input, d, lambda x: _avg_nodes[d](x, sides, include, divisor))


def avg_pool1d(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True) -> Tensor:
    """The mean of each window of (N, C, L) or (C, L); `count_include_pad`: zeros of the padding count."""
    return _average("avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None) -> Tensor:
    """The mean of each window of (N, C, H, W) or (C, H, W); `divisor_override` divides the sums instead of their count.

    Examples
    --------
    >>> import facula as torch
    >>> torch.nn.functional.avg_pool2d(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), 2)
    tensor([[[2.5000]]])
    """
    return _average("avg_pool2d", 2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool3d(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None) -> Tensor:
    """The mean of each window of (N, C, D, H, W) or (C, D, H, W)."""
    return _average("avg_pool3d", 3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def _adaptive_sides(name: str, d: int, input: Tensor, output_size, colon: str) -> tuple[Side, ...]:
    s = input.spec
    if s.ndim not in (d + 1, d + 2):
        if d == 1:
            fail(
                RuntimeError,
                f"Expected 2 to 3 dimensions, but got {s.ndim}-dimensional tensor for argument #1 'self' (while checking arguments for {name})",
            )
        fail(RuntimeError, f"{name}(): Expected {d + 1}D or {d + 2}D tensor, but got{colon} {list(s.shape)}")
    outs = (output_size,) * d if isinstance(output_size, int) or output_size is None else tuple(output_size)
    if len(outs) != d:
        fail(RuntimeError, f"{name}: output_size must be {d}", got=tuple(outs))
    outs = tuple(n if o is None else int(o) for o, n in zip(outs, s.shape[-d:]))
    if any(o < 0 for o in outs):
        fail(RuntimeError, f"{name}: elements of output_size must be greater than or equal to 0 but received {{{', '.join(map(str, outs))}}}")
    for i in range(1 if s.ndim == d + 2 else 0, s.ndim):
        if s.shape[i] == 0:
            fail(
                RuntimeError,
                f"{name}(): Expected input to have non-zero size for non-batch dimensions, but input has sizes {list(s.shape)} with "
                f"dimension {i} being empty",
            )
    return tuple(Side(n, o) for n, o in zip(s.shape[-d:], outs))


def _make_adaptive(d: int):
    def average(input, output_size):
        name = f"adaptive_avg_pool{d}d"
        _no_bool(f"adaptive_avg_pool{max(d, 2)}d", input, "f")
        sides = _adaptive_sides(name, d, input, output_size, "")
        if d > 1 and all(side.out == 1 for side in sides):
            return mean(input, tuple(range(-d, 0)), keepdim=True)
        return _batched(input, d, lambda x: _adaptive_avg_nodes[d](x, sides))

    def maximum(input, output_size):
        name = f"adaptive_max_pool{d}d"
        _no_bool(f"adaptive_max_pool{max(d, 2)}d", input, "f")
        sides = _adaptive_sides(name, d, input, output_size, ":")
        return _batched(input, d, lambda x: _adaptive_max_nodes[d](x, sides))

    average.__name__ = average.__qualname__ = f"adaptive_avg_pool{d}d"
    average.__doc__ = """The means of `output_size` windows, which share out the input evenly; None keeps a size."""
    maximum.__name__ = maximum.__qualname__ = f"adaptive_max_pool{d}d"
    maximum.__doc__ = """The maxima of `output_size` windows, which share out the input evenly, and their indices in the plane."""
    return average, maximum


adaptive_avg_pool1d, adaptive_max_pool1d = _make_adaptive(1)
adaptive_avg_pool2d, adaptive_max_pool2d = _make_adaptive(2)
adaptive_avg_pool3d, adaptive_max_pool3d = _make_adaptive(3)
