"""Convolutions of one to three dims and their transposes: windows unfolded piece by piece, then matrix products.

The gradients are convolutions again: of the input a transposed one, of the weights `convolution_weight`; so there are
gradients of gradients. `Geometry` and the kernels that read windows serve pooling and unfold, too.
"""

import itertools
import math
import warnings
from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from facula import launch
from facula.autograd.node import dtype_title
from facula.core import dtype as dt
from facula.core.dtype import dtype
from facula.core.shape import contiguous_strides
from facula.core.spec import Spec, dense
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.ir import expr as ir
from facula.ir.kernel import Input, Kernel, Param, Result

from .copying import contiguous
from .creation import fill_values, zeros_of
from .declare import function
from .promotion import opmath
from .reduction import sum as sum_over
from .view import slice_dim, squeeze_dims, unsqueeze

__all__ = [
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "fold", "unfold_windows",
]  # fmt: skip

PIECE = 1 << 21  # bytes of unfolded windows at a time: they stay in the cache until the product has read them
LEAST = 384  # columns of a product below which packing its other operand costs too much
NARROW = 256  # positions of a sample below which several samples are put side by side as one matrix
UNROLLED = 49  # taps of a window up to which they are written out


class Geometry(NamedTuple):
    """Windows along one dim: window o has the elements o * stride + k * dilation - before, k < kernel."""

    size: int
    out: int
    kernel: int
    stride: int
    before: int
    dilation: int

    @property
    def inside(self) -> bool:
        """Whether no window reaches outside."""
        last = (self.out - 1) * self.stride + (self.kernel - 1) * self.dilation - self.before
        return self.before <= 0 and last < self.size


# --- windows in kernels -------------------------------------------------------------------------------------------


def bounds(inside: Sequence[bool], windows: int, taps: int | Sequence[int]):
    """Condition and params for what lies inside: windows count up in iteration dims from `windows`, taps from `taps`.

    `taps` may be the numbers of one tap. Dims that are `inside` as a whole need no condition.
    """
    where, params = None, []
    for i, free in enumerate(inside):
        if free:
            continue
        names = [f"{word}{i}" for word in ("size", "stride", "before", "dilation")]
        size, stride, before, dilation = (ir.param(n, dt.int64) for n in names)
        params += [Param(n, dt.int64) for n in names]
        tap = ir.index(taps + i) if isinstance(taps, int) else ir.const(taps[i], dt.int64)
        at = ir.index(windows + i) * stride + (tap * dilation - before)
        holds = ir.and_(at >= 0, at < size)
        where = holds if where is None else ir.and_(where, holds)
    return where, tuple(params)


def bound_values(geometry: Sequence[Geometry], first: int = 0) -> tuple[int, ...]:
    """Values of the params of `bounds`; windows of the first dim count from `first`."""
    values: list[int] = []
    for i, g in enumerate(geometry):
        if not g.inside:
            values += [g.size, g.stride, g.before - (first * g.stride if i == 0 else 0), g.dilation]
    return tuple(values)


def steps(geometry: Sequence[Geometry], strides: Sequence[int]) -> tuple[list[int], list[int], int]:
    """How an input moves with windows and with taps, and where window 0 starts, in elements."""
    windows = [g.stride * s for g, s in zip(geometry, strides)]
    taps = [g.dilation * s for g, s in zip(geometry, strides)]
    return windows, taps, -sum(g.before * s for g, s in zip(geometry, strides))


_KERNELS: dict[tuple, Kernel] = {}


def _unfold_kernel(kind: dtype, geometry: Sequence[Geometry]) -> Kernel:
    """out[sample, channel, taps..., windows...] = input, 0 outside."""
    key = ("unfold", kind, tuple(g.inside for g in geometry))
    found = _KERNELS.get(key)
    if found is None:
        where, params = bounds(key[2], 2 + len(geometry), 2)
        value = ir.load("input", kind, None, where)
        found = _KERNELS[key] = Kernel("unfold", (Input("input", kind),), (Result("out", kind, value),), params)
    return found


def _copy_kernel(kind: dtype) -> Kernel:
    return Kernel("copy", (Input("input", kind),), (Result("out", kind, ir.load("input", kind)),))


_COPIES: dict[tuple, launch.Bound] = {}


def _strided_copy(kind: dtype, shape, out_strides, in_strides, where) -> launch.Bound:
    key = (kind, tuple(shape), tuple(out_strides), tuple(in_strides), where)
    found = _COPIES.get(key)
    if found is None:
        if len(_COPIES) > 4096:
            _COPIES.clear()
        found = _COPIES[key] = launch.bind(_copy_kernel(kind), key[1], None, [key[2], key[3]], where)
    return found


def _spread_kernel(kind: dtype) -> Kernel:
    """out[sample, channel, tap, position] = input[sample, channel, at[tap] + position]."""
    value = ir.load("input", kind, ir.load("at", dt.int64))
    return Kernel("spread", (Input("input", kind), Input("at", dt.int64)), (Result("out", kind, value),))


# --- what a convolution does, planned once for operands of given specs ------------------------------------------------
# 1. The input is put inside its border, split by its positions modulo the stride (no copy where there is neither).
# 2. Now window o of tap k is element at[k] + o . strides of a plane: each tap's windows are one run of the plane, which
#    is copied to a row of a matrix (for one tap: the plane is the row). At the ends of lines a run has some positions
#    that are no windows.
# 3. weight @ matrix; 4. where there are positions that are no windows, the others are copied to the result.


class _Piece(NamedTuple):
    """Some samples, or some rows of windows of one, which are unfolded together."""

    sample: int
    samples: int
    row: int  # windows of the first dim
    rows: int


class _Cut:
    """The steps 1 and 2 for one input: layouts, pieces, machine code."""

    __slots__ = (
        "channels", "columns", "exact", "geometry", "item", "kind", "lines", "out", "phases", "pieces", "planes",
        "positions", "run", "source", "spread", "split", "table", "taps", "where", "wide",
    )  # fmt: skip

    def __init__(self, x: Spec, outputs: int, geometry: tuple[Geometry, ...]):
        batch, self.channels = x.shape[:2]
        self.geometry, self.kind, self.item, self.where, self.source = geometry, x.dtype, x.dtype.itemsize, x.device, x
        self.out = [g.out for g in geometry]
        self.positions = prod(self.out)
        self.taps = prod(g.kernel for g in geometry)
        self.columns = self.channels * self.taps
        self.phases = [min(g.stride, (g.kernel - 1) * g.dilation + 1) for g in geometry]
        self.planes = [g.out + (g.kernel - 1) * g.dilation // g.stride for g in geometry]  # sizes of a phase
        self.lines = contiguous_strides(self.planes)
        self.split = not (
            all(g.stride == 1 and g.inside and g.before == 0 and g.size == n for g, n in zip(geometry, self.planes))
            and tuple(x.strides[2:]) == tuple(self.lines)
        )
        self.run = self.length(self.out[0])
        self.exact = self.run == self.positions
        self.wide = not self.exact or self.run < NARROW
        self.spread = self.taps > 1 or (self.wide and batch > 1)
        at = []
        steps_ = contiguous_strides([*self.phases, *self.planes])
        d = len(geometry)
        for taps in itertools.product(*(range(g.kernel) for g in geometry)):
            moved = [k * g.dilation for k, g in zip(taps, geometry)]
            at.append(
                sum(m % g.stride * a + m // g.stride * b for m, g, a, b in zip(moved, geometry, steps_[:d], steps_[d:]))
            )
        self.table = np.array(at, np.int64)
        width = max(LEAST, PIECE // (max(self.columns, outputs, 1) * self.item))
        many = max(1, min(batch, width // max(self.run, 1)))
        rows = self.out[0]
        if self.run > width and self.spread:
            rows = max(1, min(rows, width // max(self.lines[0], 1)))
        self.pieces = [
            _Piece(b, min(many, batch - b), r, min(rows, self.out[0] - r))
            for b in range(0, batch, many)
            for r in range(0, self.out[0], rows)
        ]

    def length(self, rows: int) -> int:
        """Positions from the first window to the last one of so many rows of windows."""
        return sum((n - 1) * line for n, line in zip([rows, *self.out[1:]], self.lines)) + 1

    @property
    def plane(self) -> int:
        return prod(self.phases) * prod(self.planes)

    def buffers(self) -> tuple[int, int]:
        """Elements of the split input and of the matrix of the largest piece."""
        most = max(p.samples for p in self.pieces)
        split = most * self.channels * self.plane if self.split else 0
        return split, max(p.samples * self.length(p.rows) for p in self.pieces) * self.columns if self.spread else 0

    def splitting(self, piece: _Piece) -> tuple:
        """Step 1: (code, where it reads in bytes, further arguments), once for all rows of the piece's samples."""
        x = self.source
        phased = tuple(
            Geometry(g.size, n, phases, g.stride, g.before, 1)
            for g, n, phases in zip(self.geometry, self.planes, self.phases)
        )
        windows, taps, origin = steps(phased, x.strides[2:])
        shape = [piece.samples, self.channels, *self.phases, *self.planes]
        strides = [list(contiguous_strides(shape)), [*x.strides[:2], *taps, *windows]]
        bound = launch.bind(_unfold_kernel(self.kind, phased), shape, None, strides, self.where)
        return bound.function, (piece.sample * x.strides[0] + origin) * self.item, (*bound_values(phased), *bound.tail)

    def origin(self, piece: _Piece) -> tuple[int, int, int]:
        """Where the planes of a piece start (in bytes), their strides from sample to sample and channel to channel."""
        start = piece.row * self.lines[0]
        if self.split:
            return start * self.item, self.channels * self.plane, self.plane
        sample, channel = self.source.strides[:2]
        return (start + piece.sample * sample) * self.item, sample, channel

    def matrix(self, piece: _Piece) -> tuple[int, int]:
        """Strides of the matrix of a piece: from sample to sample, from row to row."""
        n = self.length(piece.rows)
        return (n, n * piece.samples) if self.wide else (n * self.columns, n)

    def spreading(self, piece: _Piece) -> tuple:
        """Step 2: (code, where it reads in bytes, further arguments)."""
        at, sample, channel = self.origin(piece)
        own, row = self.matrix(piece)
        shape = [piece.samples, self.channels, self.taps, self.length(piece.rows)]
        strides = [[own, self.taps * row, row, 1], [sample, channel, 0, 1], [0, 0, 1, 0]]
        bound = launch.bind(_spread_kernel(self.kind), shape, None, strides, self.where)
        return bound.function, at, (self.table.ctypes.data, *bound.tail)


def _scale(kind: dtype, alpha: float, beta: float) -> tuple:
    if kind.kind == "c":
        return alpha, 0.0, beta, 0.0
    return (int(alpha), int(beta)) if kind.kind in "ui" else (alpha, beta)


_PLANS: dict[tuple, "_Plan"] = {}


class _Plan:
    """out[b, o, windows] = weight[o, columns] @ unfolded input[b] + bias[o], for each group of channels."""

    __slots__ = ("buffers", "cut", "product", "runs", "scale")

    def __init__(self, x: Spec, outputs: int, geometry: tuple[Geometry, ...], groups: int):
        cut = self.cut = _Cut(x, outputs, geometry)
        item, kind = cut.item, x.dtype
        self.product = launch.native("product", x.device)(kind)
        self.scale = _scale(kind, 1.0, 0.0)
        own, k, total = outputs // groups, cut.columns // groups, cut.positions
        aside = cut.wide and not (cut.exact and all(p.samples == 1 for p in cut.pieces))  # step 4 is needed
        result = max(p.samples * cut.length(p.rows) for p in cut.pieces) * outputs if aside else 0
        self.buffers = tuple(dense(kind, (n,), x.device) if n else None for n in (*cut.buffers(), result))
        self.runs = []
        split_before = None
        for piece in cut.pieces:
            n = cut.length(piece.rows)
            split = None
            if cut.split and (piece.sample, piece.samples) != split_before:
                split, split_before = cut.splitting(piece), (piece.sample, piece.samples)
            spread = cut.spreading(piece) if cut.spread else None
            if cut.spread:
                base, (sample, row) = 0, cut.matrix(piece)
            else:
                base, sample, row = cut.origin(piece)
            start = 0 if aside else (piece.sample * outputs * total + piece.row * cut.lines[0]) * item
            c_batch, c_row = (n, n * piece.samples) if aside else (outputs * total, total)
            batch = piece.samples
            if cut.spread and cut.wide:  # all samples are one matrix
                n, batch = n * batch, 1
            products = []
            for g in range(groups):
                tail = (batch, own, n, k, c_batch, c_row, 1, 0, k, 1, sample, row, 1)
                products.append(
                    (
                        start + g * own * c_row * item,
                        g * own * k * item,
                        base + g * k * row * item,
                        tail,
                        g * own * item,
                    )
                )
            after = None
            if aside:
                n = cut.length(piece.rows)
                shape = (piece.samples, outputs, piece.rows, *cut.out[1:])
                full = contiguous_strides((x.shape[0], outputs, *cut.out))
                bound = _strided_copy(kind, shape, full, (n, n * piece.samples, *cut.lines), x.device)
                after = bound.function, (piece.sample * full[0] + piece.row * full[2]) * item, bound.tail
            self.runs.append((split, spread, products, after))

    def __call__(self, out: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
        held: list[Any] = [s and launch.empty(s) for s in self.buffers]
        x_ptr = x.ptr
        planes = x_ptr if held[0] is None else held[0].ptr
        matrix = planes if held[1] is None else held[1].ptr
        target = out.ptr if held[2] is None else held[2].ptr
        product, scale, w, b = self.product, self.scale, weight.ptr, 0 if bias is None else bias.ptr
        step = 1 if b else 0
        for split, spread, products, after in self.runs:
            if split is not None:
                split[0](planes, x_ptr + split[1], *split[2])
            if spread is not None:
                spread[0](matrix, planes + spread[1], *spread[2])
            for c_at, w_at, x_at, tail, b_at in products:
                product(target + c_at, w + w_at, matrix + x_at, *tail, *scale, b + b_at if b else 0, step, 0)
            if after is not None:
                after[0](out.ptr + after[1], target, *after[2])


def _few(groups: int, outputs: int) -> bool:
    """Whether the matrices of the groups are too small for products."""
    return groups > 1 and outputs // groups <= 4


def _convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: tuple[Geometry, ...],
    groups: int,
    out: Tensor | None = None,
) -> Tensor:
    """(B, C, *size), dense (O, C / groups, *kernel), dense (O) -> (B, O, *out), written to a dense `out`."""
    outputs = weight.spec.shape[0]
    if out is None:
        out = launch.empty(dense(x.spec.dtype, (x.spec.shape[0], outputs, *(g.out for g in geometry)), x.spec.device))
    if out.spec.numel == 0:
        return out
    if weight.spec.numel == 0:  # no channels: the bias alone
        fill_values(out, 0)
        if bias is not None:
            _convolve_few(x, weight, bias, geometry, groups, out)
        return out
    if _few(groups, outputs):
        return _convolve_few(x, weight, bias, geometry, groups, out)
    key = (x.spec, outputs, geometry, groups)
    plan = _PLANS.get(key)
    if plan is None:
        if len(_PLANS) > 1024:
            _PLANS.clear()
        plan = _PLANS[key] = _Plan(x.spec, outputs, geometry, groups)
    plan(out, x, weight, bias)
    return out


# --- few channels a group: windows summed where they lie --------------------------------------------------------------


def _few_kernel(
    kind: dtype, inside: tuple[bool, ...], jumps: bool, biased: bool, channels: int, taps: tuple[int, ...]
) -> Kernel:
    """out[sample, group, own, windows...]: the taps written out, or (`channels` 0) as rows (channels, taps...)."""
    key = ("few", kind, inside, jumps, biased, channels, taps)
    found = _KERNELS.get(key)
    if found is not None:
        return found
    d, compute = len(inside), opmath(kind)
    params: dict[str, Param] = {}

    def number(name: str):
        params[name] = Param(name, dt.int64)
        return ir.param(name, dt.int64)

    # Steps other than 1 from window to window are a gather; as an offset they leave the dim free for vectors.
    jump = ir.index(2 + d) * number("jump") if jumps else None
    if not channels:
        where, more = bounds(inside, 3, 4 + d)
        x, w = ir.load("x", kind, jump, where), ir.load("w", kind)
        total = ir.reduce("sum", ir.cast(x, compute) * ir.cast(w, compute))
        params.update((p.name, p) for p in more)
    else:
        total: Any = None
        for number_, (c, *tap) in enumerate(itertools.product(range(channels), *(range(n) for n in taps))):
            where, more = bounds(inside, 3, tap)
            params.update((p.name, p) for p in more)
            offset = c * number("channel")
            for i, k in enumerate(tap):
                offset = offset + k * number(f"tap{i}")
            x = ir.load("x", kind, offset if jump is None else offset + jump, where)
            w = ir.load("w", kind, ir.const(number_, dt.int64))
            part = ir.cast(x, compute) * ir.cast(w, compute)
            total = part if total is None else total + part
    inputs = [Input("x", kind), Input("w", kind)]
    if biased:
        total = total + ir.cast(ir.load("b", kind), compute)
        inputs.append(Input("b", kind))
    result = Result("out", kind, total, per_row=not channels)
    found = _KERNELS[key] = Kernel("convolve_few", tuple(inputs), (result,), tuple(params.values()))
    return found


def _convolve_few(
    x: Tensor, weight: Tensor, bias: Tensor | None, geometry: tuple[Geometry, ...], groups: int, out: Tensor
) -> Tensor:
    s, d = x.spec, len(geometry)
    windows, taps, origin = steps(geometry, s.strides[2:])
    jump = windows[-1] if windows[-1] != 1 and geometry[-1].out > 1 else 0
    own, channels = weight.spec.shape[0] // groups, weight.spec.shape[1]
    kernels = tuple(g.kernel for g in geometry)
    written = 0 < channels * prod(kernels) <= UNROLLED
    inside = tuple(g.inside for g in geometry)
    taken = (channels, kernels) if written else (0, ())
    kernel = _few_kernel(s.dtype, inside, bool(jump), bias is not None, *taken)
    outer = [s.shape[0], groups, own, *(g.out for g in geometry)]
    if jump:
        windows = [*windows[:-1], 0]
    w = contiguous_strides((groups, own, channels, *kernels))
    strides = [
        list(contiguous_strides(outer)),
        [s.strides[0], channels * s.strides[1], 0, *windows],
        [0, w[0], w[1], *[0] * d],
    ]
    pointers = [out.ptr, x.ptr + origin * s.dtype.itemsize, weight.ptr]
    if bias is not None:
        strides.append([0, own, 1, *[0] * d])
        pointers.append(bias.ptr)
    if not written:
        for own_strides, more in zip(strides[1:], ([s.strides[1], *taps], w[2:], [0] * (1 + d))):
            own_strides.extend(more)
    bound = launch.bind(kernel, outer, None if written else [channels, *kernels], strides, s.device)
    values = {"jump": jump, "channel": s.strides[1], **{f"tap{i}": t for i, t in enumerate(taps)}}
    for i, g in enumerate(geometry):
        values.update({f"size{i}": g.size, f"stride{i}": g.stride, f"before{i}": g.before, f"dilation{i}": g.dilation})
    launch.run(bound, pointers, [values[p.name] for p in kernel.params])
    return out


def _weight_few(grad: Tensor, x: Tensor, geometry: tuple[Geometry, ...], groups: int, out: Tensor) -> Tensor:
    """The gradient of the weights by sums over samples and windows: rows are (samples, windows), columns nothing."""
    s, d = x.spec, len(geometry)
    key = ("few weights", s.dtype, tuple(g.inside for g in geometry))
    kernel = _KERNELS.get(key)
    if kernel is None:
        compute = opmath(s.dtype)
        where, params = bounds(key[2], 4 + d, 3)
        total = ir.reduce(
            "sum", ir.cast(ir.load("x", s.dtype, None, where), compute) * ir.cast(ir.load("g", s.dtype), compute)
        )
        inputs = (Input("x", s.dtype), Input("g", s.dtype))
        kernel = _KERNELS[key] = Kernel(
            "convolve_few_weights", inputs, (Result("out", s.dtype, total, per_row=True),), params
        )
    own, channels = out.spec.shape[0] // groups, out.spec.shape[1]
    windows, taps, origin = steps(geometry, s.strides[2:])
    g = grad.spec.strides
    strides = [
        list(contiguous_strides((groups, own, channels, *(q.kernel for q in geometry)))),
        [channels * s.strides[1], 0, s.strides[1], *taps, s.strides[0], *windows],
        [own * g[1], g[1], 0, *[0] * d, g[0], *g[2:]],
    ]
    outer = [groups, own, channels, *(q.kernel for q in geometry)]
    bound = launch.bind(kernel, outer, [s.shape[0], *(q.out for q in geometry)], strides, s.device)
    launch.run(bound, [out.ptr, x.ptr + origin * s.dtype.itemsize, grad.ptr], bound_values(geometry))
    return out


# --- transposed ---------------------------------------------------------------------------------------------------


def _turned(weight: Tensor, groups: int, slices: Sequence[range]) -> Tensor:
    """(C, O / groups, *kernel) as dense (O, C / groups, *taps), with the taps of `slices` in their order."""
    s = weight.spec
    channels, own = s.shape[0] // groups, s.shape[1]
    shape = (groups, own, channels, *(len(r) for r in slices))
    out = launch.empty(dense(s.dtype, (groups * own, channels, *(len(r) for r in slices)), s.device))
    strides = [
        channels * s.strides[0],
        s.strides[1],
        s.strides[0],
        *(r.step * st for r, st in zip(slices, s.strides[2:])),
    ]
    at = sum(r.start * st for r, st in zip(slices, s.strides[2:]))
    bound = _strided_copy(s.dtype, shape, contiguous_strides(shape), strides, s.device)
    launch.run(bound, [out.ptr, weight.ptr + at * s.dtype.itemsize])
    return out


def _convolve_transposed(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride, padding, dilation, sizes: Sequence[int], groups: int
) -> Tensor:
    """Each phase of the output (its positions modulo the stride) is a convolution of stride 1 with some of the taps."""
    s = x.spec
    own = weight.spec.shape[1]
    shape = (s.shape[0], groups * own, *sizes)
    out = launch.empty(dense(s.dtype, shape, s.device))
    if out.spec.numel == 0:
        return out
    phases = []
    for size, n, kernel, st, pad, dil in zip(sizes, s.shape[2:], weight.spec.shape[2:], stride, padding, dilation):
        found = []
        for phase in range(min(st, size)):
            taps = [k for k in range(kernel) if (k * dil - phase - pad) % st == 0]
            step = st // math.gcd(st, dil)
            count = -(-(size - phase) // st)
            if taps:
                before = -((phase + pad - taps[-1] * dil) // st)
                found.append(
                    (
                        phase,
                        range(taps[-1], taps[0] - 1, -step),
                        Geometry(n, count, len(taps), 1, before, dil * step // st),
                    )
                )
            else:
                found.append((phase, range(0, 0), None))
        phases.append(found)
    whole = all(len(found) == 1 for found in phases) and all(st == 1 for st in stride)
    lacking = any(g is None for found in phases for _, _, g in found) or s.shape[1] == 0 or 0 in s.shape
    if lacking:
        fill_values(out, 0)
        if bias is not None:
            bound = _strided_copy(s.dtype, shape, out.spec.strides, [0, 1, *[0] * len(sizes)], s.device)
            launch.run(bound, [out.ptr, bias.ptr])
    for chosen in itertools.product(*phases):
        if any(g is None for _, _, g in chosen) or 0 in s.shape:
            continue
        geometry = tuple(g for _, _, g in chosen)
        turned = _turned(weight, groups, [r for _, r, _ in chosen])
        if whole:
            return _convolve(x, turned, bias, geometry, groups, out)
        part = _convolve(x, turned, bias, geometry, groups)
        strides = [out.spec.strides[0], out.spec.strides[1], *(st * o for st, o in zip(stride, out.spec.strides[2:]))]
        at = sum(phase * o for (phase, _, _), o in zip(chosen, out.spec.strides[2:]))
        bound = _strided_copy(s.dtype, part.spec.shape, strides, part.spec.strides, s.device)
        launch.run(bound, [out.ptr + at * s.dtype.itemsize, part.ptr])
    return out


# --- the gradient of the weights ------------------------------------------------------------------------------------


class _WeightPlan:
    """grad_weight[o, columns] = sum over samples of grad[b, o, windows] @ unfolded input[b].T, for each group."""

    __slots__ = ("buffers", "cut", "product", "runs")

    def __init__(self, grad: Spec, x: Spec, geometry: tuple[Geometry, ...], groups: int):
        outputs = grad.shape[1]
        cut = self.cut = _Cut(x, outputs, geometry)
        item, kind = cut.item, x.dtype
        self.product = launch.native("product", x.device)(kind)
        own, k = outputs // groups, cut.columns // groups
        aside = cut.spread and cut.wide  # the gradient in the matrix' layout, 0 at positions that are no windows
        beside = max(p.samples * cut.length(p.rows) for p in cut.pieces) * outputs if aside else 0
        self.buffers = tuple(dense(kind, (n,), x.device) if n else None for n in (*cut.buffers(), beside))
        self.runs = []
        split_before = shape_before = None
        beta = 0.0
        for piece in cut.pieces:
            n = cut.length(piece.rows)
            split = before = None
            if cut.split and (piece.sample, piece.samples) != split_before:
                split, split_before = cut.splitting(piece), (piece.sample, piece.samples)
            spread = cut.spreading(piece) if cut.spread else None
            if cut.spread:
                base, (sample, row) = 0, cut.matrix(piece)
            else:
                base, sample, row = cut.origin(piece)
            at = piece.sample * grad.strides[0] + piece.row * grad.strides[2]
            products = []
            if aside:
                shape = (outputs, piece.samples, piece.rows, *cut.out[1:])
                strides = (n * piece.samples, n, *cut.lines)
                moved = (grad.strides[1], grad.strides[0], *grad.strides[2:])
                bound = _strided_copy(kind, shape, strides, moved, x.device)
                before = bound.function, at * item, bound.tail, not cut.exact and shape != shape_before
                shape_before = shape
                n *= piece.samples
                for g in range(groups):
                    tail = (1, own, k, n, 0, k, 1, 0, n, 1, 0, 1, row, *_scale(kind, 1.0, beta))
                    products.append((g * own * k * item, g * own * n * item, base + g * k * row * item, tail))
                beta = 1.0
            else:
                for b in range(piece.samples):
                    for g in range(groups):
                        tail = (1, own, k, n, 0, k, 1, 0, grad.strides[1], 1, 0, 1, row, *_scale(kind, 1.0, beta))
                        g_at = (at + b * grad.strides[0] + g * own * grad.strides[1]) * item
                        products.append((g * own * k * item, g_at, base + (b * sample + g * k * row) * item, tail))
                    beta = 1.0
            self.runs.append((split, spread, before, products))

    def __call__(self, out: Tensor, grad: Tensor, x: Tensor) -> None:
        held: list[Any] = [s and launch.empty(s) for s in self.buffers]
        x_ptr, g_ptr, target, product = x.ptr, grad.ptr, out.ptr, self.product
        planes = x_ptr if held[0] is None else held[0].ptr
        matrix = planes if held[1] is None else held[1].ptr
        given = g_ptr if held[2] is None else held[2].ptr
        beside: Any = held[2]
        for split, spread, before, products in self.runs:
            if split is not None:
                split[0](planes, x_ptr + split[1], *split[2])
            if spread is not None:
                spread[0](matrix, planes + spread[1], *spread[2])
            if before is not None:
                if before[3]:
                    fill_values(beside, 0)
                before[0](given, g_ptr + before[1], *before[2])
            for c_at, g_at, x_at, tail in products:
                product(target + c_at, given + g_at, matrix + x_at, *tail, 0, 0, 0)


_WEIGHT_PLANS: dict[tuple, _WeightPlan] = {}


@function(tensors=("given", "input"))
def convolution_weight(given, input, size, stride, padding, dilation, groups):
    """The gradient of the weights, of shape `size`, of a convolution of `input` with the result's gradient `given`."""
    x = input
    grad = contiguous(given)
    shape = dense(x.spec.dtype, size, x.spec.device)
    if shape.numel == 0 or grad.spec.numel == 0 or x.spec.numel == 0:
        return zeros_of(shape)
    geometry = tuple(
        Geometry(n, o, k, st, p, dl)
        for n, o, k, st, p, dl in zip(x.spec.shape[2:], grad.spec.shape[2:], size[2:], stride, padding, dilation)
    )
    if _few(groups, size[0]):
        return _weight_few(grad, x, geometry, groups, launch.empty(shape))
    key = (grad.spec, x.spec, geometry, groups)
    plan = _WEIGHT_PLANS.get(key)
    if plan is None:
        if len(_WEIGHT_PLANS) > 1024:
            _WEIGHT_PLANS.clear()
        plan = _WEIGHT_PLANS[key] = _WeightPlan(grad.spec, x.spec, geometry, groups)
    out = launch.empty(shape)
    plan(out, grad, x)
    return out


@convolution_weight.gradient("given")
def _(grad, input, given_spec, stride, padding, dilation, groups):
    found = convolution(_conj(input), grad, None, stride, padding, dilation, False, (0,) * len(stride), groups)
    return _cropped(found, given_spec)


@convolution_weight.gradient("input")
def _(grad, given, input_spec, stride, padding, dilation, groups):
    return _back_to(input_spec, _conj(given), grad, stride, padding, dilation, groups)


def _conj(x: Tensor) -> Tensor:
    if x.spec.dtype.kind == "c":
        from .elementwise import conj_physical

        return conj_physical(x)
    return x


def _cropped(x: Tensor, s: Spec) -> Tensor:
    """`x` without the windows that `s` lacks at the end of its dims."""
    for d, n in enumerate(s.shape):
        if x.spec.shape[d] != n:
            x = slice_dim(x, d, 0, n)
    return x


def _back_to(s: Spec, given: Tensor, weight: Tensor, stride, padding, dilation, groups) -> Tensor:
    """The gradient of a convolution with respect to its input, of spec `s`."""
    least = transposed_sizes(given.spec.shape[2:], weight.spec.shape[2:], stride, padding, dilation, (0,) * len(stride))
    more = tuple(n - m for n, m in zip(s.shape[2:], least))
    return convolution(given, weight, None, stride, padding, dilation, True, more, groups)


# --- the operator ---------------------------------------------------------------------------------------------------


@function(tensors=("input", "weight", "bias"))
def convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups):
    """A convolution (`transposed`: the gradient of one with respect to its input) of checked operands."""
    x, w = input, contiguous(weight)
    bias = None if bias is None else contiguous(bias)
    kernel = w.spec.shape[2:]
    if transposed:
        sizes = transposed_sizes(x.spec.shape[2:], kernel, stride, padding, dilation, output_padding)
        return _convolve_transposed(x, w, bias, stride, padding, dilation, sizes, groups)
    geometry = tuple(
        Geometry(n, (n + 2 * p - dl * (k - 1) - 1) // st + 1, k, st, p, dl)
        for n, k, st, p, dl in zip(x.spec.shape[2:], kernel, stride, padding, dilation)
    )
    return _convolve(x, w, bias, geometry, groups)


def transposed_sizes(sizes, kernel, stride, padding, dilation, output_padding) -> list[int]:
    """The sizes of the result of a transposed convolution."""
    return [
        (n - 1) * st - 2 * p + dl * (k - 1) + o + 1
        for n, k, st, p, dl, o in zip(sizes, kernel, stride, padding, dilation, output_padding)
    ]


@convolution.gradient("input")
def _(grad, weight, input_spec, stride, padding, dilation, transposed, groups):
    if transposed:
        found = convolution(grad, _conj(weight), None, stride, padding, dilation, False, (0,) * len(stride), groups)
        return _cropped(found, input_spec)
    return _back_to(input_spec, grad, _conj(weight), stride, padding, dilation, groups)


@convolution.gradient("weight")
def _(grad, input, weight_spec, stride, padding, dilation, transposed, groups):
    pair = (_conj(input), grad) if transposed else (grad, _conj(input))
    return convolution_weight(*pair, tuple(weight_spec.shape), stride, padding, dilation, groups)


@convolution.gradient("bias")
def _(grad, bias_spec):
    return None if bias_spec is None else sum_over(grad, (0, *range(2, grad.spec.ndim)))


# --- PyTorch's functions ----------------------------------------------------------------------------------------------


def _numbers(value, d: int, name: str) -> tuple[int, ...]:
    """A setting as one number for each dim."""
    if isinstance(value, int):
        return (value,) * d
    found = tuple(int(n) for n in value)
    if len(found) == 1:
        return found * d
    if len(found) != d:
        fail(
            RuntimeError,
            f"expected {name} to be a single integer value or a list of {d} values to match the "
            "convolution dimensions, but got "
            f"{name}={list(found)}",
        )
    return found


def _checked(
    name: str,
    d: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride,
    padding,
    dilation,
    transposed,
    more,
    groups,
):
    """The settings as tuples, for operands that fit together; errors in PyTorch's words."""
    for i, (x, word) in enumerate(((input, "input"), (weight, "weight"), (bias, "bias"))):
        if not isinstance(x, Tensor) and not (word == "bias" and x is None):
            fail(TypeError, f"{name}(): argument '{word}' (position {i + 1}) must be Tensor, not {type(x).__name__}")
    s, w = input.spec, weight.spec
    if s.ndim not in (d + 1, d + 2):
        fail(
            RuntimeError,
            f"Expected {d + 1}D (unbatched) or {d + 2}D (batched) input to {name}, but got input of size: "
            f"{list(s.shape)}",
        )
    if w.ndim != d + 2:
        fail(
            RuntimeError,
            f"Expected {w.ndim}-dimensional input for {w.ndim}-dimensional weight {list(w.shape)}, but got "
            f"{d + 2}-dimensional input of size {[*((1,) * (d + 2 - s.ndim)), *s.shape]} instead",
        )
    stride, dilation = _numbers(stride, d, "stride"), _numbers(dilation, d, "dilation")
    padding, more = _numbers(padding, d, "padding"), _numbers(more, d, "output_padding")
    shape = s.shape if s.ndim == d + 2 else (1, *s.shape)
    size, kernel = list(w.shape), w.shape[2:]
    for wrong, text in (
        (any(n < 0 for n in padding), "negative padding is not supported"),
        (any(n < 0 for n in more), "negative output_padding is not supported"),
        (any(n <= 0 for n in stride), "non-positive stride is not supported"),
        (any(n <= 0 for n in dilation), "non-positive dilation is not supported"),
        (groups <= 0, "non-positive groups is not supported"),
    ):
        if wrong:
            fail(RuntimeError, text)
    if size[0] < groups:
        fail(
            RuntimeError,
            f"Given groups={groups}, expected weight to be at least {groups} at dimension 0, but got "
            f"weight of size {size} instead",
        )
    if size[0] % groups:
        fail(
            RuntimeError,
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, but got "
            f"weight of size [{size}] instead",
        )
    channels, outputs = (size[0], size[1] * groups) if transposed else (size[1] * groups, size[0])
    given = "transposed=1" if transposed else f"groups={groups}"
    if shape[1] != channels:
        fail(
            RuntimeError,
            f"Given {given}, weight of size {size}, expected input{list(shape)} to have {channels} "
            f"channels, but got {shape[1]} channels instead",
            mend="the channels are dim 1 of a batch, dim 0 of a single sample",
        )
    if bias is not None and (bias.spec.ndim != 1 or bias.spec.shape[0] != outputs):
        fail(
            RuntimeError,
            f"Given {'transposed=1, ' if transposed else ''}weight of size {size}, expected bias to be "
            f"1-dimensional with {outputs} elements, "
            f"but got bias of size {list(bias.spec.shape)} instead",
        )
    if s.dtype is not w.dtype:
        fail(
            RuntimeError,
            f"expected scalar type {dtype_title(s.dtype)} but found {dtype_title(w.dtype)}",
            mend="convert the input, e.g. x.float(), or the layer, e.g. layer.double()",
        )
    if bias is not None and bias.spec.dtype is not s.dtype:
        fail(
            RuntimeError,
            f"Input type ({_c_name(s.dtype)}) and bias type ({_c_name(bias.spec.dtype)}) should be the same",
        )
    if s.dtype is dt.bool_:
        fail(NotImplementedError, "\"slow_conv2d_cpu\" not implemented for 'Bool'")
    if transposed:
        if any(o >= st and o >= dl for o, st, dl in zip(more, stride, dilation)):
            sides = ("depth", "height", "width")[3 - d :]
            words = [
                f"{word}_{side}: {n}"
                for word, ns in (("output_padding", more), ("stride", stride), ("dilation", dilation))
                for side, n in zip(sides, ns)
            ]
            fail(
                RuntimeError,
                f"output padding must be smaller than either stride or dilation, but got {' '.join(words)}",
            )
        sizes = transposed_sizes(shape[2:], kernel, stride, padding, dilation, more)
        if any(n < 1 for n in sizes):
            fail(
                RuntimeError,
                f"Given input size per channel: ({' x '.join(map(str, shape[2:]))}). Calculated output "
                f"size per channel: ({' x '.join(map(str, sizes))}). Output size is too small",
            )
    else:
        padded = [n + 2 * p for n, p in zip(shape[2:], padding)]
        reach = [dl * (k - 1) + 1 for k, dl in zip(kernel, dilation)]
        if any(r > n for r, n in zip(reach, padded)):
            fail(
                RuntimeError,
                f"Calculated padded input size per channel: ({' x '.join(map(str, padded))}). Kernel size: "
                f"({' x '.join(map(str, reach))}). "
                "Kernel size can't be greater than actual input size",
            )
    return stride, padding, dilation, more


def _c_name(kind: dtype) -> str:
    return {"float32": "float", "float64": "double", "float16": "c10::Half", "bfloat16": "c10::BFloat16"}.get(
        kind.name, dtype_title(kind)
    )


_SETTINGS: dict[tuple, tuple] = {}  # checked settings by specs and arguments: checks cost more than a small convolution


def _apply(name: str, d: int, input, weight, bias, stride, padding, dilation, transposed, more, groups) -> Tensor:
    try:
        key = (name, input.spec, weight.spec, bias is not None and bias.spec, stride, padding, dilation, more, groups)
        settings = _SETTINGS.get(key)
    except (AttributeError, TypeError):
        settings = key = None
    if settings is None:
        if isinstance(padding, str):
            return _named_padding(name, d, input, weight, bias, stride, padding, dilation, groups)
        settings = _checked(name, d, input, weight, bias, stride, padding, dilation, transposed, more, groups)
        if key is not None:
            if len(_SETTINGS) > 4096:
                _SETTINGS.clear()
            _SETTINGS[key] = settings
    stride, padding, dilation, more = settings
    if input.spec.ndim == d + 2:
        return convolution(input, weight, bias, stride, padding, dilation, transposed, more, groups)
    return squeeze_dims(
        convolution(unsqueeze(input, 0), weight, bias, stride, padding, dilation, transposed, more, groups), (0,)
    )


def _named_padding(name: str, d: int, input, weight, bias, stride, padding: str, dilation, groups) -> Tensor:
    """padding="valid" is none, "same" keeps the size; where that is uneven, the end gets one more."""
    if padding not in ("same", "valid"):
        fail(RuntimeError, f"Invalid padding string: '{padding}'", expected="'same' or 'valid'")
    if padding == "valid":
        return _apply(name, d, input, weight, bias, stride, (0,) * d, dilation, False, 0, groups)
    if any(n != 1 for n in _numbers(stride, d, "stride")):
        fail(RuntimeError, "padding='same' is not supported for strided convolutions")
    totals = [dl * (k - 1) for dl, k in zip(_numbers(dilation, d, "dilation"), weight.spec.shape[2:])]
    if any(n % 2 for n in totals):
        from .padding import pad

        warnings.warn(
            "Using padding='same' with even kernel lengths and odd dilation may require a zero-padded "
            "copy of the input be created",
            UserWarning,
            stacklevel=4,
        )
        input = pad(input, [n for total in reversed(totals) for n in (0, total % 2)])
    return _apply(name, d, input, weight, bias, stride, tuple(n // 2 for n in totals), dilation, False, 0, groups)


def _make(d: int):
    def forward(input, weight, bias=None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups=1):
        return _apply(f"conv{d}d", d, input, weight, bias, stride, padding, dilation, False, 0, groups)

    def transposed(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
        return _apply(
            f"conv_transpose{d}d", d, input, weight, bias, stride, padding, dilation, True, output_padding, groups
        )

    sizes = ", ".join(("D", "H", "W")[3 - d :])
    forward.__name__ = forward.__qualname__ = f"conv{d}d"
    forward.__doc__ = f"""Cross-correlation with weights (O, C / groups, *kernel), plus `bias` (O).

    Parameters
    ----------
    input : Tensor
        (N, C, {sizes}) or (C, {sizes}).
    weight, bias : Tensor
    stride, dilation : int or tuple
    padding : int, tuple, "same" or "valid"
        Zeros on both sides; "same" keeps the size (stride 1 only).
    groups : int
        Channels are convolved in so many groups.

    Examples
    --------
    >>> import facula as torch
    >>> x, w = torch.ones(1, 2, {", ".join(["5"] * d)}), torch.ones(3, 2, {", ".join(["3"] * d)})
    >>> torch.conv{d}d(x, w).shape
    torch.Size([1, 3, {", ".join(["3"] * d)}])
    """
    transposed.__name__ = transposed.__qualname__ = f"conv_transpose{d}d"
    transposed.__doc__ = f"""The gradient of `conv{d}d` with respect to its input; weights are (C, O / groups, *kernel).

    `output_padding` makes the result larger on one side, where several input sizes give the same result of `conv{d}d`.
    """
    return forward, transposed


conv1d, conv_transpose1d = _make(1)
conv2d, conv_transpose2d = _make(2)
conv3d, conv_transpose3d = _make(3)


# --- unfold and fold ------------------------------------------------------------------------------------------------


def _two(value, name: str, function: str) -> tuple[int, int]:
    found = (value, value) if isinstance(value, int) else tuple(value)
    if len(found) == 1:
        found *= 2
    if len(found) != 2:
        fail(RuntimeError, f"It is expected {name} equals to 2, but got size {len(found)}")
    return found


@function(tensors=("input",))
def im2col(input, kernel, dilation, padding, stride):
    """(N, C, H, W) -> (N, C * taps, windows)."""
    s = input.spec
    geometry = _plane(s.shape[2:], kernel, dilation, padding, stride)
    counts = [g.out for g in geometry]
    out = launch.empty(dense(s.dtype, (s.shape[0], s.shape[1] * prod(kernel), prod(counts)), s.device))
    windows, taps, origin = steps(geometry, s.strides[2:])
    shape = (s.shape[0], s.shape[1], *kernel, *counts)
    strides = [list(contiguous_strides(shape)), [*s.strides[:2], *taps, *windows]]
    bound = launch.bind(_unfold_kernel(s.dtype, geometry), shape, None, strides, s.device)
    launch.run(bound, [out.ptr, input.ptr + origin * s.dtype.itemsize], bound_values(geometry))
    return out


@im2col.gradient("input")
def _(grad, input_spec, kernel, dilation, padding, stride):
    return col2im(grad, tuple(input_spec.shape[2:]), kernel, dilation, padding, stride)


im2col.operator.node_class.__name__ = "Im2ColBackward0"


@function(tensors=("input",))
def col2im(input, size, kernel, dilation, padding, stride):
    """(N, C * taps, windows) -> (N, C, *size): each element is the sum of all windows' elements that lie there."""
    x = contiguous(input)
    s, taps = x.spec, prod(kernel)
    geometry = _plane(size, kernel, dilation, padding, stride)
    channels = s.shape[1] // taps
    out = zeros_of(dense(s.dtype, (s.shape[0], channels, *size), s.device))
    key = ("fold", s.dtype)
    kernel_ = _KERNELS.get(key)
    if kernel_ is None:
        compute = opmath(s.dtype)
        sum_ = ir.cast(ir.load("out_", s.dtype), compute) + ir.cast(ir.load("input", s.dtype), compute)
        inputs = (Input("out_", s.dtype), Input("input", s.dtype))
        kernel_ = _KERNELS[key] = Kernel("fold", inputs, (Result("out", s.dtype, sum_),))
    item = s.dtype.itemsize
    counts = [g.out for g in geometry]
    for tap, at in enumerate(itertools.product(*(range(k) for k in kernel))):  # within one tap no two windows meet
        first = [max(0, -(-(g.before - k * g.dilation) // g.stride)) for g, k in zip(geometry, at)]
        last = [min(g.out, (g.size - 1 + g.before - k * g.dilation) // g.stride + 1) for g, k in zip(geometry, at)]
        count = [b - a for a, b in zip(first, last)]
        if min(count) <= 0:
            continue
        place = sum(
            (f * g.stride + k * g.dilation - g.before) * st
            for f, k, g, st in zip(first, at, geometry, out.spec.strides[2:])
        )
        target = [*out.spec.strides[:2], *(g.stride * st for g, st in zip(geometry, out.spec.strides[2:]))]
        start = tap * s.strides[1] + first[0] * counts[1] + first[1]
        source = [s.strides[0], taps * s.strides[1], counts[1], 1]
        bound = launch.bind(kernel_, (s.shape[0], channels, *count), None, [target, target, source], s.device)
        launch.run(bound, [out.ptr + place * item, out.ptr + place * item, x.ptr + start * item])
    return out


@col2im.gradient("input")
def _(grad, kernel, dilation, padding, stride):
    return im2col(grad, kernel, dilation, padding, stride)


col2im.operator.node_class.__name__ = "Col2ImBackward0"


def _plane(size, kernel, dilation, padding, stride) -> tuple[Geometry, ...]:
    return tuple(
        Geometry(n, (n + 2 * p - dl * (k - 1) - 1) // st + 1, k, st, p, dl)
        for n, k, dl, p, st in zip(size, kernel, dilation, padding, stride)
    )


def unfold_windows(input: Tensor, kernel_size, dilation=1, padding=0, stride=1) -> Tensor:
    """Windows as columns: (N, C, H, W) -> (N, C * kernel elements, windows); `torch.nn.functional.unfold`."""
    kernel, dilation = _two(kernel_size, "kernel_size", "unfold"), _two(dilation, "dilation", "unfold")
    padding, stride = _two(padding, "padding", "unfold"), _two(stride, "stride", "unfold")
    x = unsqueeze(input, 0) if input.spec.ndim == 3 else input
    if x.spec.ndim != 4 or 0 in x.spec.shape[1:]:
        fail(
            RuntimeError,
            "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero "
            "dimensions for input, but got: "
            f"{list(input.spec.shape)}",
        )
    counts = [g.out for g in _plane(x.spec.shape[2:], kernel, dilation, padding, stride)]
    if min(counts) < 1:
        fail(
            RuntimeError,
            f"Given input with spatial size {tuple(x.spec.shape[2:])}, kernel_size={kernel}, "
            f"dilation={dilation}, padding={padding}, "
            f"calculated shape of the array of sliding blocks as {tuple(counts)}, but its components must "
            "be at least one.",
        )
    out = im2col(x, kernel, dilation, padding, stride)
    return out if x is input else squeeze_dims(out, (0,))


def fold(input: Tensor, output_size, kernel_size, dilation=1, padding=0, stride=1) -> Tensor:
    """The sum of windows where they overlap: (N, C * kernel elements, windows) -> (N, C, *output_size)."""
    size, kernel = _two(output_size, "output_size", "fold"), _two(kernel_size, "kernel_size", "fold")
    dilation, padding, stride = (
        _two(dilation, "dilation", "fold"),
        _two(padding, "padding", "fold"),
        _two(stride, "stride", "fold"),
    )
    x = unsqueeze(input, 0) if input.spec.ndim == 2 else input
    if x.spec.ndim != 3 or 0 in x.spec.shape[1:]:
        fail(
            RuntimeError,
            "Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero "
            "dimensions for input, but got: "
            f"{list(input.spec.shape)}",
        )
    if x.spec.shape[1] % prod(kernel):
        fail(
            RuntimeError,
            "Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got "
            f"input.size(1)={x.spec.shape[1]} and kernel_size={kernel}.",
        )
    counts = [g.out for g in _plane(size, kernel, dilation, padding, stride)]
    if prod(counts) != x.spec.shape[2] or min(counts) < 1:
        fail(
            RuntimeError,
            f"Given output_size={size}, kernel_size={kernel}, dilation={dilation}, padding={padding}, "
            f"stride={stride}, expected size of "
            f"input's dimension 2 to match the calculated number of sliding blocks {counts[0]} * "
            f"{counts[1]} = {prod(counts)}, but got "
            f"input.size(2)={x.spec.shape[2]}.",
        )
    out = col2im(x, size, kernel, dilation, padding, stride)
    return out if x is input else squeeze_dims(out, (0,))
