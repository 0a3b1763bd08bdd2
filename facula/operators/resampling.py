"""Images at other sizes (`interpolate`) and at given places (`grid_sample`, `affine_grid`).

Resampling along one dim is a matrix with a narrow band: each output is a weighted sum of a few neighbouring inputs.
Its transpose is such a matrix again, so one operator does all modes, their gradients and the gradients of these.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from functools import lru_cache, reduce
from typing import Any

import numpy as np

from facula import launch
from facula.autograd.node import dtype_title
from facula.core import dtype as dt
from facula.core.device import device
from facula.core.dtype import dtype
from facula.core.shape import contiguous_strides
from facula.core.spec import Spec, dense
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.ir import expr as ir
from facula.ir.kernel import Input, Kernel, Param, Result

from .creation import array_on, zeros_of
from .declare import Function, function, traced
from .matmul import matmul
from .pooling import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d
from .promotion import opmath
from .view import expand, reshape, transpose, unbind, unsqueeze

__all__ = ["affine_grid_generator", "grid_sampler", "grid_sampler_2d", "grid_sampler_3d", "interpolate"]

# --- bands --------------------------------------------------------------------------------------------------------


class Band:
    """A matrix (outputs, inputs) with `weights[o, k]` at (o, begin[o] + k) and nothing elsewhere; no weights: ones."""

    __slots__ = ("_backward", "begin", "inputs", "kept", "most", "weights")

    def __init__(self, begin, weights, inputs: int):
        """`begin` and `weights` may reach outside; what is there must be 0."""
        self.inputs, self.most = inputs, weights.shape[1]
        self.begin = np.clip(begin, 0, inputs - self.most)
        shift = begin - self.begin
        if shift.any():
            at = np.arange(self.most) - shift[:, None]
            inside = (at >= 0) & (at < self.most)
            weights = np.where(inside, np.take_along_axis(weights, at.clip(0, self.most - 1), 1), 0)
        self.weights: Any = None if (weights == 1).all() else np.ascontiguousarray(weights.T)
        self.kept: dict[Any, np.ndarray] = {}
        self._backward: Band | None = None

    @property
    def outputs(self) -> int:
        return len(self.begin)

    def begins(self, step: int) -> np.ndarray:
        """Where each output's inputs begin, in elements of memory."""
        found = self.kept.get(step)
        if found is None:
            found = self.kept[step] = self.begin * step
        return found

    def factors(self, kind: np.dtype) -> np.ndarray:
        """The weights, (taps, outputs)."""
        found = self.kept.get(kind)
        if found is None:
            found = self.kept[kind] = self.weights.astype(kind)
        return found

    def transposed(self) -> "Band":
        """The matrix of the gradient."""
        if self._backward is None:
            weights = np.ones((self.most, self.outputs)) if self.weights is None else self.weights
            k, o = np.nonzero(weights)
            i = self.begin[o] + k
            first, last = np.full(self.inputs, self.outputs), np.full(self.inputs, -1)
            np.minimum.at(first, i, o)
            np.maximum.at(last, i, o)
            begin = np.minimum(first, last.clip(0))
            found = np.zeros((self.inputs, max(1, int((last - begin).max(initial=0)) + 1)), weights.dtype)
            found[i, o - begin[i]] = weights[k, o]
            self._backward = Band(begin, found, self.outputs)
            self._backward._backward = self
        return self._backward


def _cubic(x, a: float):
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    return np.where(x < 1, near, np.where(x < 2, (((x - 5) * x + 8) * x - 4) * a, 0))


# mode -> (inputs that an output has at the same size, their weights by distance); for smooth reductions the latter
# is stretched.
FILTERS: dict[str, tuple[int, Callable]] = {
    "linear": (2, lambda x: np.maximum(1 - np.abs(x), 0)),
    "cubic": (4, lambda x: _cubic(x, -0.5)),
    "lanczos": (6, lambda x: np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)),
}


def _ratio(size: int, out: int, align: bool, scale: float | None, kind):
    """Inputs for each output, in the precision that PyTorch computes with."""
    if align:
        return kind(size - 1) / kind(out - 1) if out > 1 else kind(0)
    return kind(1.0 / scale) if scale is not None and scale > 0 else kind(size) / kind(out)


@lru_cache(1024)
def band(mode: str, size: int, out: int, align: bool, scale: float | None, precise: bool) -> Band | None:
    """The matrix of one dim; None where it is the identity. `precise`: in float64."""
    kind, o = np.float64 if precise else np.float32, np.arange(out)
    if mode.startswith("nearest"):
        ratio = _ratio(size, out, False, scale, np.float32)
        if mode == "nearest":
            if size == out:
                return None
            begin = o >> 1 if out == 2 * size else np.floor(o.astype(np.float32) * ratio)
        else:
            begin = np.floor(((o + 0.5) * ratio).astype(np.float32))
        begin = np.minimum(begin.astype(np.int64), size - 1)
        return None if size == out and (begin == o).all() else Band(begin, np.ones((out, 1)), size)
    ratio = _ratio(size, out, align, scale, kind)
    if mode.endswith("smooth"):
        taps, weigh = FILTERS[mode.split()[0]]
        stretch = max(ratio, kind(1))
        support = kind(taps / 2) * stretch
        center = ratio * (o.astype(kind) + kind(0.5))
        begin = np.maximum((center - support + kind(0.5)).astype(np.int64), 0)
        count = np.minimum((center + support + kind(0.5)).astype(np.int64), size) - begin
        k = np.arange(max(1, int(count.max(initial=1))))
        weights = weigh(((k + begin[:, None]) - center[:, None] + kind(0.5)) * (kind(1) / stretch))
        weights = np.where(k < count[:, None], weights, 0).astype(kind)
        return Band(begin, weights / weights.sum(1, keepdims=True, dtype=kind), size)
    if size == out and (mode == "linear" or scale is None):
        return None
    at = ratio * o.astype(kind) if align else ratio * (o.astype(kind) + kind(0.5)) - kind(0.5)
    if mode == "linear":
        at = np.maximum(at, kind(0))
    first = np.minimum(np.floor(at).astype(np.int64), size - 1)
    part = np.clip(at - first.astype(kind), kind(0), kind(1))[:, None]
    if mode == "linear":
        offsets, weights = np.arange(2), np.concatenate([1 - part, part], 1)
    else:
        offsets = np.arange(-1, 3)
        weights = _cubic(part - offsets.astype(kind), -0.75).astype(kind)
    # What lies outside counts for the border.
    places = (first[:, None] + offsets).clip(0, size - 1)
    begin = np.minimum(places[:, 0], max(size - len(offsets), 0))
    found = np.zeros((out, min(len(offsets), size)), kind)
    np.add.at(found, (o[:, None], places - begin[:, None]), weights)
    return Band(begin, found, size)


# --- the operator -------------------------------------------------------------------------------------------------

FUSED = 16  # elements that are summed in one kernel; beyond, one dim after the other
_KERNELS: dict[tuple, Kernel] = {}
_PLANS: dict[tuple, tuple] = {}


def _kernel(kind: dtype, taps: tuple[tuple[int, bool] | None, ...]) -> Kernel:
    """Sums over taps written out; for each dim how many, and whether they have weights; None: the dim as it is."""
    key = (kind, taps)
    found = _KERNELS.get(key)
    if found is not None:
        return found
    moving = [i for i, t in enumerate(taps) if t is not None]
    inputs = [Input("x", kind), *[Input(f"begin{i}", dt.int64) for i in moving]]
    base = reduce(lambda a, b: a + b, [ir.load(f"begin{i}", dt.int64) for i in moving])
    weighted = [i for i in moving if taps[i][1]]  # pyright: ignore[reportOptionalSubscript]
    compute = opmath(kind)
    if kind.kind == "u" and weighted:
        compute = dt.int32
    inputs += [Input(f"weight{i}_{k}", compute) for i in weighted for k in range(taps[i][0])]  # pyright: ignore
    params = [Param(f"step{i}", dt.int64) for i in moving if taps[i][0] > 1]  # pyright: ignore
    total: Any = None
    for tap in itertools.product(*(range(taps[i][0]) for i in moving)):  # pyright: ignore
        offset, weight = base, None
        for i, k in zip(moving, tap):
            if k:
                offset = offset + ir.param(f"step{i}", dt.int64) * k
            if i in weighted:
                own = ir.load(f"weight{i}_{k}", compute)
                weight = own if weight is None else weight * own
        value = ir.load("x", kind, offset)
        if weight is None and len(moving) == sum(taps[i][0] == 1 for i in moving):  # pyright: ignore
            total = value
            break
        value = ir.cast(value, compute)
        if weight is not None:  # infinities and NaN count nothing where the weight is 0
            zero = ir.const(0, compute)
            value = ir.select(ir.ne(weight, zero), value * weight, zero)
        total = value if total is None else total + value
    if compute is dt.int32 and weighted:
        params.append(Param("bits", dt.int32))
        bits = ir.param("bits", dt.int32)
        total = (total + (ir.const(1, dt.int32) << (bits - 1))) >> bits
        total = ir.minimum(ir.maximum(total, 0), 255)
    found = _KERNELS[key] = Kernel("resample", tuple(inputs), (Result("out", kind, total),), tuple(params))
    return found


def _row_kernel(kind: dtype) -> Kernel:
    """Sums over the taps of one dim, counted in a loop."""
    found = _KERNELS.get((kind,))
    if found is None:
        compute = dt.int32 if kind.kind == "u" else opmath(kind)
        value = ir.cast(ir.load("x", kind, ir.load("begin", dt.int64)), compute)
        weight, zero = ir.load("weight", compute), ir.const(0, compute)
        total = ir.reduce("sum", ir.select(ir.ne(weight, zero), value * weight, zero))
        params: tuple[Param, ...] = ()
        if compute is dt.int32:
            params, bits = (Param("bits", dt.int32),), ir.param("bits", dt.int32)
            total = ir.minimum(ir.maximum((total + (ir.const(1, dt.int32) << (bits - 1))) >> bits, 0), 255)
        inputs = (Input("x", kind), Input("begin", dt.int64), Input("weight", compute))
        found = _KERNELS[kind,] = Kernel("resample_row", inputs, (Result("out", kind, total, True),), params)
    return found


def _whole(band_: Band) -> tuple[np.ndarray, int]:
    """The weights as whole numbers of 16 bits, and how many of these are behind the point."""
    key = "whole"
    if key not in band_.kept:
        weights = np.ones((band_.most, band_.outputs)) if band_.weights is None else band_.weights.astype(np.float64)
        high, bits = weights.max(initial=0), 0
        while bits < 22 and int(0.5 + high * (1 << (bits + 1))) < 1 << 15:
            bits += 1
        scaled = weights * (1 << bits)
        band_.kept[key] = np.trunc(scaled + np.copysign(0.5, scaled)).astype(np.int32)
        band_.kept["bits"] = np.array(bits)
    return band_.kept[key], int(band_.kept["bits"])


def _plan(s: Spec, bands: tuple[Band | None, ...]) -> tuple:
    lead = s.ndim - len(bands)
    shape = (*s.shape[:lead], *(n if b is None else b.outputs for b, n in zip(bands, s.shape[lead:])))
    out = dense(s.dtype, shape, s.device)
    moving = [(i, b) for i, b in enumerate(bands) if b is not None]
    ndim = len(shape)
    steps = [0 if lead <= d and bands[d - lead] is not None else s.strides[d] for d in range(ndim)]
    along = {i: [1 if d == lead + i else 0 for d in range(ndim)] for i, _ in moving}
    pointers = [launch.address_on(b.begins(s.strides[lead + i]), s.device) for i, b in moving]
    strides = [list(out.strides), steps, *[along[i] for i, _ in moving]]
    whole = s.dtype.kind == "u"
    kind = np.dtype(np.float64 if s.dtype is dt.float64 else np.float32)
    params: list[int] = []
    if len(moving) == 1 and moving[0][1].most > FUSED:
        ((i, b),) = moving
        factors, bits = _whole(b) if whole else (_ones(b) if b.weights is None else b.factors(kind), 0)
        strides = [strides[0], [*steps, s.strides[lead + i]], [*along[i], 0], [*along[i], b.outputs]]
        bound = launch.bind(_row_kernel(s.dtype), shape, [b.most], strides, s.device)
        pointers.append(launch.address_on(factors, s.device))
        params = [bits] if whole else []
    else:
        taps = tuple(None if b is None else (b.most, b.weights is not None) for b in bands)
        for i, b in moving:
            if b.weights is not None:
                factors = _whole(b)[0] if whole else b.factors(kind)
                start = launch.address_on(factors, s.device)
                pointers += [start + row * factors.strides[0] for row in range(len(factors))]
                strides += [along[i]] * b.most
        params = [s.strides[lead + i] for i, b in moving if b.most > 1]
        if whole and any(b.weights is not None for _, b in moving):
            params.append(_whole(moving[0][1])[1])
        bound = launch.bind(_kernel(s.dtype, taps), shape, None, strides, s.device)
    if len(_PLANS) > 2048:
        _PLANS.clear()
    found = _PLANS[s, bands] = (bound.function, out, (*pointers, *params, *bound.tail))
    return found


def _ones(b: Band) -> np.ndarray:
    found = b.kept.get("ones")
    if found is None:
        found = b.kept["ones"] = np.ones((b.most, b.outputs), np.float64)
    return found


def _resampled(input: Tensor, bands: tuple[Band | None, ...]) -> Tensor:
    plan = _PLANS.get((input.spec, bands)) or _plan(input.spec, bands)
    made = launch.empty(plan[1])
    if plan[0] is not None:
        plan[0](made.ptr, input.ptr, *plan[2])
    return made


@function(tensors=("input",))
def resample(input, bands):
    """The last dims multiplied by the matrices of `bands`; None leaves a dim."""
    moving = [i for i, b in enumerate(bands) if b is not None]
    if not moving:
        return input.clone()
    taps = math.prod(b.most for b in bands if b is not None)
    whole = input.spec.dtype.kind == "u" and any(b is not None and b.weights is not None for b in bands)
    if len(moving) == 1 or (taps <= FUSED and not whole):
        return _resampled(input, bands)
    for i in reversed(moving):  # one after the other; whole numbers are rounded each time
        input = _resampled(input, tuple(b if j == i else None for j, b in enumerate(bands)))
    return input


@resample.gradient("input")
def _(grad, bands):
    return resample(grad, tuple(None if b is None else b.transposed() for b in bands))


def _node(shown: str):
    """`resample` under the name that the graph shows for it."""
    operator = resample.operator
    made = Function(operator.body, shown, tensors=operator.tensors)
    made.gradients = operator.gradients
    made.node_class.__name__ = shown + "Backward0"
    return made.call


# (mode, spatial dims, smooth) -> (rule of a dim, the operator under its name in the graph)
MODES = {
    (mode, d, smooth): (rule, _node(shown))
    for mode, d, smooth, rule, shown in (
        *(("nearest", d, False, "nearest", f"UpsampleNearest{d}D") for d in (1, 2, 3)),
        *(("nearest-exact", d, False, "nearest-exact", f"UpsampleNearestExact{d}D") for d in (1, 2, 3)),
        ("linear", 1, False, "linear", "UpsampleLinear1D"),
        ("bilinear", 2, False, "linear", "UpsampleBilinear2D"),
        ("trilinear", 3, False, "linear", "UpsampleTrilinear3D"),
        ("bicubic", 2, False, "cubic", "UpsampleBicubic2D"),
        ("bilinear", 2, True, "linear smooth", "UpsampleBilinear2DAa"),
        ("bicubic", 2, True, "cubic smooth", "UpsampleBicubic2DAa"),
        ("lanczos", 2, True, "lanczos smooth", "UpsampleLanczos2DAa"),
    )
}
NEEDED = {"linear": "3D", "bilinear": "4D", "trilinear": "5D"}
AREA = {1: adaptive_avg_pool1d, 2: adaptive_avg_pool2d, 3: adaptive_avg_pool3d}


def _given(value, d: int, what: str, input: Tensor) -> list:
    """`size` or `scale_factor` for each dim."""
    if not isinstance(value, (list, tuple)):
        return [value] * d
    if len(value) != d:
        own = f"output size of {value}" if what == "size" else f"scale_factor of shape {value}"
        fail(
            ValueError,
            f"Input and {'output' if what == 'size' else 'scale_factor'} must have the same number of spatial "
            f"dimensions, but got input with spatial dimensions of {list(input.shape[2:])} and {own}. "
            "Please provide input tensor in (N, C, d1, d2, ...,dK) format and "
            f"{'output size in (o1, o2, ...,oK)' if what == 'size' else 'scale_factor in (s1, s2, ...,sK)'} format.",
        )
    return list(value)


def interpolate(
    input: Tensor,
    size=None,
    scale_factor=None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """(N, C, *sizes) at other sizes.

    Parameters
    ----------
    size, scale_factor : int or float, or one for each dim
        The new size, or by how much the old one is multiplied: one of them.
    mode : {"nearest", "nearest-exact", "linear", "bilinear", "bicubic", "trilinear", "area", "lanczos"}
    align_corners : bool, optional
        Whether the first and last elements lie on those of the input, and not the outer borders of all.
    recompute_scale_factor : bool, optional
        Whether the sizes in whole numbers, and not `scale_factor` itself, say where elements lie.
    antialias : bool
        Whether reductions look at all elements ("bilinear", "bicubic", "lanczos").

    Examples
    --------
    >>> import facula as torch
    >>> torch.nn.functional.interpolate(torch.tensor([[[1.0, 2.0]]]), scale_factor=2)
    tensor([[[1., 1., 2., 2.]]])
    """
    if mode in ("nearest", "area", "nearest-exact"):
        if align_corners is not None:
            fail(
                ValueError,
                "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | "
                "trilinear",
            )
    align = bool(align_corners)
    d = input.dim() - 2
    if size is not None and scale_factor is not None:
        fail(ValueError, "only one of size or scale_factor should be defined")
    if size is None and scale_factor is None:
        fail(ValueError, "either size or scale_factor should be defined")
    scales: list = [None] * max(d, 0)
    if size is not None:
        sizes = _given(size, d, "size", input)
        if not all(isinstance(n, (int, np.integer)) or isinstance(n, Tensor) for n in sizes):
            fail(
                TypeError,
                "expected size to be one of int or Tuple[int] or Tuple[int, int] or Tuple[int, int, int], but got size "
                f"with types {[type(x) for x in sizes]}",
            )
        if recompute_scale_factor:
            fail(ValueError, "recompute_scale_factor is not meaningful with an explicit size.")
        sizes = [int(n) for n in sizes]
    else:
        scales = [float(n) for n in _given(scale_factor, d, "scale_factor", input)]
        sizes = [math.floor(n * f) for n, f in zip(input.shape[2:], scales)]
        if recompute_scale_factor or mode == "area":
            scales = [None] * d
    if antialias and not (mode in ("bilinear", "bicubic", "lanczos") and input.dim() == 4):
        fail(
            ValueError,
            "Anti-alias option is restricted to bilinear, bicubic, and lanczos modes and requires a 4-D tensor as "
            "input",
        )
    if mode == "area" and d in AREA:
        return AREA[d](input, sizes)
    if mode == "lanczos" and d == 2:
        if align:
            fail(ValueError, "Lanczos mode does not support align_corners=True")
        if not antialias:
            fail(ValueError, "Lanczos mode requires antialias=True")
    found = MODES.get((mode, d, bool(antialias)))
    if found is None:
        if d in (1, 2, 3) and mode in NEEDED:
            fail(NotImplementedError, f"Got {d + 2}D input, but {mode} mode needs {NEEDED[mode]} input")
        fail(
            NotImplementedError,
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {input.dim()}D) for the modes: nearest | "
            f"linear | bilinear | bicubic | trilinear | lanczos | area | nearest-exact (got {mode})",
        )
    rule, call = found
    s = input.spec
    if min(*s.shape[2:], *sizes) <= 0:
        names = "DHW"[-d:]
        shown = [", ".join(f"{n}: {v}" for n, v in zip(names, own)) for own in (s.shape[2:], sizes)]
        fail(
            RuntimeError,
            f"Input and output sizes should be greater than 0, but got input ({shown[0]}) "
            f"{'and ' * (d == 1)}output ({shown[1]})",
        )
    if s.shape[1] == 0:
        fail(
            RuntimeError,
            f"Non-empty {d + 2}D data tensor expected but got a tensor with sizes {list(s.shape)}",
        )
    whole = d == 2 or mode.startswith("nearest")
    if s.dtype.kind not in "f" and not (s.dtype is dt.uint8 and whole):
        plane = f"upsample_{mode.split('-')[0]}2d_channels_last" if d == 2 and rule != "cubic" else ""
        title = plane or f"compute_indices_weights_{rule.split('-')[0]}"
        title = "compute_index_ranges_weights" if antialias else title
        fail(NotImplementedError, f"\"{title}\" not implemented for '{dtype_title(s.dtype)}'")
    precise = s.dtype is dt.float64 or s.dtype is dt.uint8
    return call(
        input, tuple(band(rule, n, o, align, scale, precise) for n, o, scale in zip(s.shape[2:], sizes, scales))
    )


# --- at given places ----------------------------------------------------------------------------------------------
# Each place has a few neighbours in the image: tables (neighbours, N, *places) of where they are and what they weigh.
# What is computed is linear in the image, the weights and the other image, and so are all gradients.


def _settled(at, padding: str, align: bool, size):
    """A place moved into the image by the rule for what lies outside."""
    one, zero = ir.const(1, at.dtype), ir.const(0, at.dtype)
    if padding == "reflection":
        low = ir.const(0.0 if align else -0.5, at.dtype)
        span = size - 1 if align else size
        there = ir.gt(span, zero)
        distance, span = abs(at - low), ir.select(there, span, one)
        times = ir.floor(distance / span)
        rest = distance - times * span
        odd = ir.gt(times - ir.floor(times * 0.5) * 2, zero)
        at = ir.select(there, ir.select(odd, span - rest, rest) + low, zero)
    if padding == "zeros":
        return at
    at = ir.select(ir.gt(at, zero), at, zero)
    return ir.select(ir.lt(at, size - 1), at, size - 1)


def _weigh(t, k, mode: str, rounded: Callable):
    """The weight of neighbour `k` of a place that is `t` behind one; every step is `rounded`."""
    one = ir.const(1, t.dtype)
    if mode == "nearest":
        return one
    if mode == "bilinear":
        return ir.select(ir.eq(k, 0), one - t, t)

    def polynomial(x, *factors):
        found = ir.const(factors[0], x.dtype)
        for factor in factors[1:]:
            found = rounded(rounded(found * x) + factor)
        return found

    a = -0.75
    x = rounded(abs(t + 1 - ir.cast(k, t.dtype)))
    near, far = polynomial(x, a + 2, -(a + 3), 0, 1), polynomial(x, a, -5 * a, 8 * a, -4 * a)
    return ir.select(ir.lt(x, one), near, far)


def _neighbour(grid, k, size, mode: str, padding: str, align: bool, kind: str, d: int):
    """(place of neighbour `k` in elements, its weight) along one dim."""

    def rounded(x):  # places in 16 bits are coarse, and so they are in PyTorch
        return ir.cast(ir.cast(x, getattr(dt, kind)), x.dtype)

    size = ir.const(size, grid.dtype) if size.__class__ is int else ir.cast(size, grid.dtype)  # 1, the default
    at = rounded(grid + 1)
    if align:
        at = rounded(at * ((size - 1) * 0.5))
    elif d == 2:
        at = rounded(rounded(at * (size * 0.5)) - 0.5)
    else:
        at = rounded(rounded(rounded(at * size) - 1) * 0.5)
    if mode != "bicubic":
        at = rounded(_settled(at, padding, align, size))
    if mode == "nearest":
        return ir.round(at), size, ir.const(1, at.dtype)
    first = ir.floor(at)
    place = first + ir.cast(k, at.dtype)
    if mode == "bicubic":
        place = _settled(place - 1, padding, align, size)
    return place, size, _weigh(at - first, k, mode, rounded)


def _tables(d: int) -> tuple[Callable, Callable]:
    """Operators of the numbers of the grid (the last dim first) and of neighbours: their places, their weights."""
    taps = tuple(f"tap{i}" for i in range(d))
    scalars = tuple(f"{word}{i}" for word in ("size", "step") for i in range(3))
    options = {"kinds": "f", "names": (*[f"grid{i}" for i in range(d)], *taps), "keep": taps, "whole": scalars,
        "static": ("mode", "padding", "align", "kind")}  # fmt: skip

    def sides(operands, size, how):
        mode, padding, align, kind = how
        return [_neighbour(x, k, n, mode, padding, align, kind, d) for x, k, n in zip(operands[:d], operands[d:], size)]

    @traced(name=f"grid_weights{d}", **options)
    def grid_weights(
        *operands, mode="bilinear", padding="zeros", align=False, kind="float32",
        size0=1, size1=1, size2=1, step0=1, step1=1, step2=1,
    ):  # fmt: skip
        found = sides(operands, (size0, size1, size2), (mode, padding, align, kind))
        return reduce(lambda a, b: a * b, [w for _, _, w in found])

    @traced(name=f"grid_places{d}", **options, results=(dt.int64,), differentiable=False)
    def grid_places(
        *operands, mode="bilinear", padding="zeros", align=False, kind="float32",
        size0=1, size1=1, size2=1, step0=1, step1=1, step2=1,
    ):  # fmt: skip
        found = sides(operands, (size0, size1, size2), (mode, padding, align, kind))
        zero = ir.const(0, found[0][0].dtype)
        inside = reduce(ir.and_, [ir.and_(ir.ge(at, zero), ir.le(at, n - 1)) for at, n, _ in found])
        steps = [
            ir.cast(ir.select(inside, at, zero), dt.int64) * s for (at, *_), s in zip(found, (step0, step1, step2))
        ]
        return ir.select(inside, reduce(lambda a, b: a + b, steps), ir.const(-1, dt.int64))

    return grid_places, grid_weights


TABLES = {d: _tables(d) for d in (2, 3)}


@lru_cache(16)
def _taps(count: int, d: int, ndim: int, where: device) -> list[Tensor]:
    """The numbers of neighbours along each dim, the last first, for tables of some rank."""
    numbers = np.indices((count,) * d).reshape(d, -1)
    return [array_on(np.ascontiguousarray(n).reshape(-1, *[1] * ndim), where) for n in reversed(numbers)]


@lru_cache(256)
def _sample_kernel(what: str, kind: dtype, taps: int) -> Kernel:
    """`values`: sums over neighbours; `image`: added where they are; `weights`: sums over channels."""
    compute = opmath(kind)

    def number(k) -> Any:
        place = ir.load(f"place{k}", dt.int64)
        return place, ir.ge(place, 0)

    params: tuple[Param, ...] = ()
    if what == "image":
        place, inside = number("")
        value = ir.cast(ir.load("given", kind), compute) * ir.cast(ir.load("weight", kind), compute)
        result = Result("out", kind, value, offset=place, where=inside, combine="add")
        inputs = (Input("given", kind), Input("place", dt.int64), Input("weight", kind))
        return Kernel("grid_sample_image", inputs, (result,), params, disjoint=True)
    if what == "weights":
        value = ir.cast(ir.load("image", kind, *number("")), compute) * ir.cast(ir.load("given", kind), compute)
        inputs = (Input("given", kind), Input("image", kind), Input("place", dt.int64))
        return Kernel("grid_sample_weights", inputs, (Result("out", kind, ir.reduce("sum", value), True),), params)
    total: Any = None
    for k in range(taps):
        part = ir.cast(ir.load("image", kind, *number(k)), compute) * ir.cast(ir.load(f"weight{k}", kind), compute)
        total = part if total is None else total + part
    inputs = tuple(i for k in range(taps) for i in (Input(f"place{k}", dt.int64), Input(f"weight{k}", kind)))
    return Kernel("grid_sample", (Input("image", kind), *inputs), (Result("out", kind, total),), params)


def _side_by_side(image: Tensor) -> Tensor:
    """The image (N, C, elements) with the elements of each plane side by side: places count them."""
    return image if image.spec.strides[2] == 1 else image.contiguous()


def _along(table: Tensor) -> list[int]:
    """How a table (neighbours, N, places) moves along (N, C, places)."""
    return [table.spec.strides[1], 0, table.spec.strides[2]]


@function(tensors=("image", "weights"))
def sampled(image, places, weights):
    """(N, C, places): the image (N, C, elements) at each place's neighbours, times their weights, summed."""
    image = _side_by_side(image)
    s, taps = image.spec, places.spec.shape[0]
    out = launch.empty(dense(s.dtype, (*s.shape[:2], places.spec.shape[2]), s.device))
    pointers, strides = [out.ptr, image.ptr], [list(out.spec.strides), [*s.strides[:2], 0]]
    for k in range(taps):
        for table in (places, weights):
            pointers.append(table.ptr + k * table.spec.strides[0] * table.spec.dtype.itemsize)
            strides.append(_along(table))
    kernel = _sample_kernel("values", s.dtype, taps)
    launch.run(launch.bind(kernel, out.spec.shape, None, strides, s.device), pointers)
    return out


@sampled.gradient("image")
def _(grad, image_spec, places, weights):
    return sampled_image(grad, places, weights, image_spec.shape[2])


@sampled.gradient("weights")
def _(grad, image, places):
    return sampled_weights(grad, image, places)


@function(tensors=("given", "weights"))
def sampled_image(given, places, weights, elements):
    """(N, C, elements): `given` (N, C, places) times the weights, added where the neighbours are."""
    s = given.spec
    out = zeros_of(dense(s.dtype, (*s.shape[:2], elements), s.device))
    strides = [[*out.spec.strides[:2], 0, 0], [*s.strides[:2], 0, s.strides[2]]]
    strides += [[t.spec.strides[1], 0, t.spec.strides[0], t.spec.strides[2]] for t in (places, weights)]
    kernel = _sample_kernel("image", s.dtype, 0)
    bound = launch.bind(kernel, s.shape[:2], [places.spec.shape[0], s.shape[2]], strides, s.device)
    launch.run(bound, [out.ptr, given.ptr, places.ptr, weights.ptr])
    return out


@sampled_image.gradient("given")
def _(grad, places, weights):
    return sampled(grad, places, weights)


@sampled_image.gradient("weights")
def _(grad, given, places):
    return sampled_weights(given, grad, places)


@function(tensors=("given", "image"))
def sampled_weights(given, image, places):
    """(neighbours, N, places): `given` (N, C, places) times the neighbours' elements, summed over channels."""
    image = _side_by_side(image)
    s, g, p = image.spec, given.spec, places.spec
    out = launch.empty(dense(s.dtype, tuple(p.shape), s.device))
    strides = [
        list(out.spec.strides),
        [0, g.strides[0], g.strides[2], g.strides[1]],
        [0, s.strides[0], 0, s.strides[1]],
        [*p.strides, 0],
    ]
    bound = launch.bind(_sample_kernel("weights", s.dtype, 0), p.shape, [s.shape[1]], strides, s.device)
    launch.run(bound, [out.ptr, given.ptr, image.ptr, places.ptr])
    return out


@sampled_weights.gradient("given")
def _(grad, image, places):
    return sampled(image, places, grad)


@sampled_weights.gradient("image")
def _(grad, given, image_spec, places):
    return sampled_image(given, places, grad, image_spec.shape[2])


def _sample(input: Tensor, grid: Tensor, mode: str, padding: str, align: bool) -> Tensor:
    """The image (N, C, *size) at the places that the grid (N, *places, dims) names, each from -1 to 1."""
    s, shape = input.spec, grid.spec.shape[:-1]
    d = s.ndim - 2
    locate, weigh = TABLES[d]
    grids = unbind(reshape(grid, (shape[0], math.prod(shape[1:]), d)), -1)
    taps = _taps({"nearest": 1, "bilinear": 2, "bicubic": 4}[mode], d, 2, s.device)
    how: dict[str, Any] = {"mode": mode, "padding": padding, "align": align, "kind": s.dtype.name}
    for i, (n, step) in enumerate(zip(reversed(s.shape[2:]), reversed(contiguous_strides(s.shape[2:])))):
        how |= {f"size{i}": n, f"step{i}": step}
    image = reshape(input, (*s.shape[:2], math.prod(s.shape[2:])))
    found = _samplers[d](image, locate(*[g.detach() for g in grids], *taps, **how), weigh(*grids, *taps, **how))
    return reshape(found, (*s.shape[:2], *shape[1:]))


GRID_MODES, GRID_PADDINGS = ("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection")


def grid_sampler(input, grid, interpolation_mode: int, padding_mode: int, align_corners: bool) -> Tensor:
    """`torch.nn.functional.grid_sample`, with numbers for the modes."""
    s, g = input.spec, grid.spec
    name = "grid_sampler()"
    if s.dtype is not g.dtype:
        fail(
            RuntimeError,
            f"{name}: expected input and grid to have same dtype, but input has {_lower(s.dtype)} and grid has "
            f"{_lower(g.dtype)}",
        )
    if s.shape[0] != g.shape[0]:
        fail(
            RuntimeError,
            f"{name}: expected grid and input to have same batch size, but got input with sizes {list(s.shape)} and "
            f"grid with sizes {list(g.shape)}",
        )
    if g.shape[-1] != s.ndim - 2:
        fail(
            RuntimeError,
            f"{name}: expected grid to have size {s.ndim - 2} in last dimension, but got grid with sizes "
            f"{list(g.shape)}",
        )
    for i in range(2, s.ndim):
        if s.shape[i] == 0:
            fail(
                RuntimeError,
                f"{name}: expected input to have non-empty spatial dimensions, but input has sizes {list(s.shape)} "
                f"with dimension {i} being empty",
            )
    if s.ndim not in (4, 5) or s.ndim != g.ndim:
        fail(
            RuntimeError,
            f"{name}: expected {4 if s.ndim == 4 else 5}D input and grid with same number of dimensions, but "
            f"got input with sizes {list(s.shape)} and grid with sizes {list(g.shape)}",
        )
    mode, padding = GRID_MODES[interpolation_mode], GRID_PADDINGS[padding_mode]
    if s.ndim == 5 and mode == "bicubic":
        fail(RuntimeError, f"{name}: bicubic interpolation only supports 4D input")
    if s.dtype.kind != "f":
        fail(NotImplementedError, f"\"grid_sampler_{s.ndim - 2}d_cpu\" not implemented for '{dtype_title(s.dtype)}'")
    return _sample(input, grid, mode, padding, bool(align_corners))


def _lower(kind: dtype) -> str:
    return f"torch.{kind.name}"


def grid_sampler_2d(input, grid, interpolation_mode: int, padding_mode: int, align_corners: bool) -> Tensor:
    """`grid_sampler` of (N, C, H, W)."""
    return grid_sampler(input, grid, interpolation_mode, padding_mode, align_corners)


def grid_sampler_3d(input, grid, interpolation_mode: int, padding_mode: int, align_corners: bool) -> Tensor:
    """`grid_sampler` of (N, C, D, H, W)."""
    return grid_sampler(input, grid, interpolation_mode, padding_mode, align_corners)


def _sampler(d: int):
    operator = sampled.operator
    made = Function(operator.body, f"grid_sampler_{d}d", tensors=operator.tensors)
    made.gradients = operator.gradients
    made.node_class.__name__ = f"GridSampler{d}DBackward0"
    return made.call


_samplers = {d: _sampler(d) for d in (2, 3)}


@lru_cache(64)
def _base(sizes: tuple[int, ...], align: bool, precise: bool, where: device) -> Tensor:
    """The places of an image that is not moved, (places, dims + 1), each from -1 to 1, and a 1."""
    axes = []
    for n in sizes:
        axis = np.linspace(-1, 1, n, dtype=np.float64) if n > 1 else np.zeros(n)
        axes.append(axis if align or n <= 1 else axis * (n - 1) / n)
    places = np.meshgrid(*axes, indexing="ij")
    whole = np.stack([*(p.reshape(-1) for p in reversed(places)), np.ones(math.prod(sizes))], 1)
    return array_on(whole.astype(np.float64 if precise else np.float32), where)


def affine_grid_generator(theta: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """The places, for `grid_sampler`, of an image of `size` that the matrices `theta` (N, dims, dims + 1) move."""
    if theta.spec.dtype.kind != "f":
        fail(NotImplementedError, f"\"affine_grid_generator\" not implemented for '{dtype_title(theta.spec.dtype)}'")
    sizes = tuple(int(n) for n in size)
    precise, where = theta.spec.dtype is dt.float64, theta.spec.device
    base = _base(sizes[2:], bool(align_corners), precise, where).to(theta.spec.dtype)
    base = expand(unsqueeze(base, 0), (sizes[0], *base.spec.shape))
    return reshape(matmul(base, transpose(theta, 1, 2)), (sizes[0], *sizes[2:], len(sizes) - 2))
