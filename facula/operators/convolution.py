"""Convolutions of one to three dims and their transposes: what the device's routine is told of windows and layouts.

The gradients are convolutions again: of the input a transposed one, of the weights `convolution_weight`; so there are
gradients of gradients. A transposed convolution is one of stride 1 for each phase of the output.
"""

import itertools
import warnings
from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from facula import launch
from facula.autograd.node import dtype_title
from facula.core import dtype as dt
from facula.core.dtype import dtype
from facula.core.modes import GUARD
from facula.core.precision import CONVOLUTIONS
from facula.core.shape import channels_last_strides, contiguous_strides
from facula.core.spec import Spec, dense, spec
from facula.core.switches import cudnn, program
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.ir import expr as ir
from facula.ir.kernel import Input, Kernel, Param, Result

from .copying import contiguous, copy_values
from .creation import zeros_of
from .declare import function, one_device
from .declare.repeats import FunctionPlan, Repeats
from .promotion import opmath
from .reduction import sum as sum_over
from .view import permute, slice_dim, squeeze_dims, unsqueeze

__all__ = [
    "any_convolution", "conv1d", "conv2d", "conv3d", "conv_tbc", "conv_transpose1d", "conv_transpose2d",
    "conv_transpose3d", "fold", "unfold_windows",
]  # fmt: skip


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


# --- plans: what the routine is told ----------------------------------------------------------------------------------


class _Side(NamedTuple):
    """One dim of a plan: `out` windows in steps of `stride` over `size` elements, with strides of input and result."""

    out: int
    size: int
    stride: int
    x: int
    y: int


class _Tap(NamedTuple):
    """Where a tap reads, from its window's start, for each dim; and the place of its weight."""

    offsets: tuple[int, ...]
    weight: int


class _Plan:
    """Numbers for `convolve` and `convolve_weight`, kept in an array; `targets/cpu/convolution.py` documents them."""

    __slots__ = ("address", "array", "sizes", "work", "y")

    def __init__(self, batch, groups, own, channels, sides, taps, x, y, w, at=0):
        """`x` and `y` are strides along batch and channels, `w` along groups, outputs and channels.

        `at` is where in the result the first window is, in elements.
        """
        sides, taps = _merged([*[_Side(1, 1, 1, 0, 0)] * (3 - len(sides)), *sides], taps)
        numbers = [
            batch, groups, own, channels, len(taps), *(d.out for d in sides), *(d.size for d in sides),
            *(d.stride for d in sides), *x, *(d.x for d in sides), *y, *(d.y for d in sides), *w,
        ]  # fmt: skip
        for tap in taps:
            numbers += [*tap.offsets, sum(o * d.x for o, d in zip(tap.offsets, sides)), tap.weight]
        self.array = np.array(numbers, np.int64)
        self.address, self.y = self.array.ctypes.data, at
        pitch = _pitch(sides[2], [t.offsets[2] for t in taps], x[1] == y[1] == 1)
        windows = prod(d.out for d in sides)
        self.sizes = batch, windows, own, channels, len(taps), sides[2].out, pitch
        self.work = batch * groups * own * channels * len(taps) * windows


def _pitch(side: _Side, offsets: list[int], innermost: bool) -> int:
    """Elements from row to row of windows that follow each other; 0 where windows do not, -1 where elements do not.

    -2 where it is channels that are `innermost`.
    """
    if side.x != 1:
        return -2 if innermost else -1
    if side.stride > 1 or side.y > 2 or not offsets:
        return 0
    reach = side.out + max(offsets) - min(offsets)
    zeros = min(-min(offsets), side.out + max(offsets) - side.size, max(offsets) - min(offsets))
    return reach - max(zeros, 0)


def _merged(sides: list[_Side], taps: list[_Tap]) -> tuple[list[_Side], list[_Tap]]:
    """The same windows, with dims that both operands walk through as one joined: rows of windows become longer."""
    taps = [_Tap((0,) * (3 - len(t.offsets)) + t.offsets, t.weight) for t in taps]
    i = 1
    while i < len(sides):
        a, b = sides[i - 1], sides[i]
        one = a.out == a.size == 1 and not any(t.offsets[i - 1] for t in taps)
        last = b.out == b.size == 1 and not any(t.offsets[i] for t in taps)
        through = b.stride == 1 and b.out == b.size and not any(t.offsets[i] for t in taps)
        even = a.x == b.size * b.x and a.y == b.out * b.y and a.stride == 1
        if i == 1 and one and len(sides) < 3:  # nothing to gain
            break
        if one or last:
            gone = i - 1 if one else i
            del sides[gone]
            taps = [_Tap((*t.offsets[:gone], *t.offsets[gone + 1 :]), t.weight) for t in taps]
        elif through and even:
            sides[i - 1 : i + 1] = [_Side(a.out * b.out, a.size * b.size, 1, b.x, b.y)]
            taps = [_Tap((*t.offsets[: i - 1], t.offsets[i - 1] * b.size, *t.offsets[i + 1 :]), t.weight) for t in taps]
        else:
            i += 1
    more = 3 - len(sides)
    taps = [_Tap((0,) * more + t.offsets, t.weight) for t in taps]
    return [*[_Side(1, 1, 1, 0, 0)] * more, *sides], taps


_PLANS: dict[tuple, Any] = {}
for switches in (cudnn, program, CONVOLUTIONS):  # a target's library follows them
    switches.when_changed(_PLANS.clear)


def _kept(key: tuple, plan: Any) -> Any:
    if len(_PLANS) > 4096:
        _PLANS.clear()
    _PLANS[key] = plan
    return plan


def _windows(sizes, outs, kernel, stride, padding, dilation, x, y, weight) -> tuple[list[_Side], list[_Tap]]:
    """Dims and taps of a convolution that is not transposed; `x`, `y`, `weight` are strides along these dims."""
    sides = [_Side(o, n, st, a, b) for o, n, st, a, b in zip(outs, sizes, stride, x, y)]
    taps = [
        _Tap(tuple(k * d - p for k, d, p in zip(at, dilation, padding)), sum(k * w for k, w in zip(at, weight)))
        for at in itertools.product(*(range(k) for k in kernel))
    ]
    return sides, taps


def _outs(sizes, kernel, stride, padding, dilation) -> list[int]:
    return [(n + 2 * p - d * (k - 1) - 1) // st + 1 for n, k, st, p, d in zip(sizes, kernel, stride, padding, dilation)]


def _forward_plans(x: Spec, w: Spec, out: Spec, stride, padding, dilation, groups: int) -> list[_Plan]:
    own, channels = w.shape[0] // groups, w.shape[1]
    sides, taps = _windows(
        x.shape[2:],
        out.shape[2:],
        w.shape[2:],
        stride,
        padding,
        dilation,
        x.strides[2:],
        out.strides[2:],
        w.strides[2:],
    )
    w_steps = own * w.strides[0], w.strides[0], w.strides[1]
    return [_Plan(x.shape[0], groups, own, channels, sides, taps, x.strides[:2], out.strides[:2], w_steps)]


def _transposed_plans(x: Spec, w: Spec, out: Spec, stride, padding, dilation, groups: int) -> list[_Plan]:
    """Each phase of the output (its positions modulo the stride) is a convolution of stride 1 with some of the taps."""
    own, channels = w.shape[1], w.shape[0] // groups
    phases = []
    for size, kernel, st, pad, dil in zip(out.shape[2:], w.shape[2:], stride, padding, dilation):
        found = []
        for phase in range(min(st, size)):
            taps = [k for k in range(kernel) if (phase + pad - k * dil) % st == 0]
            found.append((phase, -(-(size - phase) // st), [(k, (phase + pad - k * dil) // st) for k in taps]))
        phases.append(found)
    plans = []
    w_steps = channels * w.strides[0], w.strides[1], w.strides[0]
    for chosen in itertools.product(*phases):
        sides = [
            _Side(count, n, 1, a, b * st)
            for (_, count, _), n, a, b, st in zip(chosen, x.shape[2:], x.strides[2:], out.strides[2:], stride)
        ]
        taps = [
            _Tap(tuple(o for _, o in at), sum(k * s for (k, _), s in zip(at, w.strides[2:])))
            for at in itertools.product(*(taps for _, _, taps in chosen))
        ]
        at = sum(phase * b for (phase, _, _), b in zip(chosen, out.strides[2:]))
        plans.append(_Plan(x.shape[0], groups, own, channels, sides, taps, x.strides[:2], out.strides[:2], w_steps, at))
    return plans


def _last(s: Spec) -> bool:
    """Whether channels are the innermost dim, of a layout that is not row-major as well."""
    if s.ndim < 4 or s.contiguous and s.shape[1] != 1 or 0 in s.shape:
        return False
    return not s.contiguous and s.strides == channels_last_strides(s.shape)


def _result(x: Spec, w: Spec, shape) -> Spec:
    """A dense result; with channels innermost where those of the input or the weights are."""
    if _last(x) or _last(w):
        return spec(x.dtype, x.device, tuple(shape), channels_last_strides(shape))
    return dense(x.dtype, shape, x.device)


def _run(out: Spec, plans: list[_Plan], x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    made = launch.empty(out)
    if out.numel:
        convolve = launch.native("convolve", out.device)
        item, b = out.dtype.itemsize, 0 if bias is None else bias.ptr
        for plan in plans:
            convolve(out.dtype, plan.sizes)(made.ptr + plan.y * item, x.ptr, weight.ptr, b, plan.address, plan.work)
    return made


# --- a library's convolution ------------------------------------------------------------------------------------------


class _Whole:
    """A convolution that a library of the target does at once, of operands in these specs."""

    __slots__ = ("added", "given", "out", "run")

    def __init__(self, out: Spec, given: tuple[Spec, Spec], run: Any, added: launch.Bound | None):
        self.out, self.given, self.run = out, given, run
        self.added = added  # what adds a bias afterwards

    def __call__(self, first: Tensor, second: Tensor, bias: Tensor | None = None) -> Tensor:
        """`first` and `second` are the two of x, w and y that are given, in this order."""
        a, b = self.given
        if first.spec is not a:
            first = _laid(first, a)
        if second.spec is not b:
            second = _laid(second, b)
        made = launch.empty(self.out)
        if bias is None:
            self.run(made.ptr, first.ptr, second.ptr)
        elif self.added is None:
            self.run(made.ptr, first.ptr, second.ptr, contiguous(bias).ptr)
        else:
            self.run(made.ptr, first.ptr, second.ptr)
            launch.run(self.added, [made.ptr, made.ptr, contiguous(bias).ptr])
        return made


_RESULTS = {"forward": 2, "input": 0, "weight": 1}  # which of x, w and y


def _whole(kind: str, x: Spec, w: Spec, y: Spec, last: bool, stride, padding, dilation, bias: bool) -> _Whole | None:
    """What a library of the target has for a convolution, see `targets/cuda/libraries/dnn_convolution.py`."""
    make = launch.offered("convolution", x.device)
    if make is None:
        return None
    specs = [_laid_out(s, last) for s in (x, w, y)]
    adds = bias and kind == "forward"
    run = make(kind, *specs, stride, padding, dilation, adds)
    if run is None and adds:
        adds = False
        run = make(kind, *specs, stride, padding, dilation)
    if run is None:
        return None
    out = specs.pop(_RESULTS[kind])
    return _Whole(out, (specs[0], specs[1]), run, _bias_added(out) if bias and not adds else None)


def _laid_out(s: Spec, last: bool) -> Spec:
    """Dense, row-major or with channels innermost."""
    if last:
        return spec(s.dtype, s.device, tuple(s.shape), channels_last_strides(s.shape))
    return dense(s.dtype, s.shape, s.device)


def _laid(x: Tensor, s: Spec) -> Tensor:
    """The tensor, or a copy of it that lies as a spec says."""
    return x if _lies(x.spec, s) else copy_values(launch.empty(s), x)


def _lies(here: Spec, s: Spec) -> bool:
    """Whether a tensor has the strides of a spec."""
    return here is s or all(a == b or n == 1 for a, b, n in zip(here.strides, s.strides, s.shape))


def _bias_added(s: Spec) -> launch.Bound:
    """out += bias, which has an element for each channel."""
    along = [0, 1, *[0] * (s.ndim - 2)]
    return launch.bind(_sum_kernel(s.dtype), s.shape, None, [s.strides, s.strides, along], s.device)


def _sum_kernel(kind: dtype) -> Kernel:
    """out_ + input"""
    key = ("sum", kind)
    found = _KERNELS.get(key)
    if found is None:
        compute = opmath(kind)
        value = ir.cast(ir.load("out_", kind), compute) + ir.cast(ir.load("input", kind), compute)
        found = Kernel("fold", (Input("out_", kind), Input("input", kind)), (Result("out", kind, value),))
        _KERNELS[key] = found
    return found


# --- the gradient of the weights --------------------------------------------------------------------------------------


def _weight_plan(grad: Spec, x: Spec, out: Spec, stride, padding, dilation, groups: int) -> _Plan:
    own, channels = out.shape[0] // groups, out.shape[1]
    sides, taps = _windows(
        x.shape[2:], grad.shape[2:], out.shape[2:], stride, padding, dilation, x.strides[2:], grad.strides[2:],
        out.strides[2:],
    )  # fmt: skip
    w_steps = own * out.strides[0], out.strides[0], out.strides[1]
    return _Plan(x.shape[0], groups, own, channels, sides, taps, x.strides[:2], grad.strides[:2], w_steps)


def _complex(product, a: Tensor, b: Tensor) -> Tensor:
    """What a bilinear function of real operands makes of complex ones."""
    from .elementwise import complex as joined
    from .elementwise import imag_part, real_part

    x, y, u, v = real_part(a), imag_part(a), real_part(b), imag_part(b)
    return joined(product(x, u) - product(y, v), product(x, v) + product(y, u))


def _convolve_weight(given: Tensor, input: Tensor, size, stride, padding, dilation, groups: int) -> Tensor:
    if input.spec.dtype.kind == "c":
        return _complex(lambda g, x: _convolve_weight(g, x, size, stride, padding, dilation, groups), given, input)
    key = ("weight", given.spec, input.spec, size, stride, padding, dilation, groups)
    found = _PLANS.get(key)
    if found is None:
        last = _last(given.spec) or _last(input.spec)
        out = _laid_out(dense(input.spec.dtype, size, input.spec.device), last)
        whole = _whole("weight", input.spec, out, given.spec, last, stride, padding, dilation, False)
        found = whole or (out, _weight_plan(given.spec, input.spec, out, stride, padding, dilation, groups))
        _kept(key, found)
    if isinstance(found, _Whole):
        return found(input, given)
    out, plan = found
    if out.numel == 0:
        return launch.empty(out)
    made = launch.empty(out)
    convolve_weight = launch.native("convolve_weight", out.device)(out.dtype, plan.sizes)
    convolve_weight(made.ptr, input.ptr, given.ptr, plan.address, plan.work)
    return made


@function(tensors=("given", "input"))
def convolution_weight(given, input, size, stride, padding, dilation, groups):
    """The gradient of the weights, of shape `size`, of a convolution of `input` with the result's gradient `given`."""
    return _convolve_weight(given, input, size, stride, padding, dilation, groups)


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


def _convolve(
    input: Tensor, weight: Tensor, bias: Tensor | None, stride, padding, dilation, transposed: bool, more, groups: int
) -> Tensor:
    if input.spec.dtype.kind == "c":
        settings = stride, padding, dilation, transposed, more, groups
        out = _complex(lambda x, w: _convolve(x, w, None, *settings), input, weight)
        return out if bias is None else out + bias.reshape(1, -1, *[1] * len(stride))
    key = (input.spec, weight.spec, stride, padding, dilation, transposed and more, groups, bias is None)
    found = _PLANS.get(key)
    if found is None:
        settings = stride, padding, dilation
        found = _planned(input.spec, weight.spec, bias is not None, *settings, transposed, more, groups)
        _kept(key, found)
    if isinstance(found, _Whole):
        return found(weight, input, bias) if transposed else found(input, weight, bias)
    out, plans = found
    return _run(out, plans, input, weight, None if bias is None else contiguous(bias))


def _planned(x: Spec, w: Spec, bias: bool, stride, padding, dilation, transposed: bool, more, groups: int):
    """What does it: a library's convolution, or the result's spec and plans for `convolve`."""
    last = _last(x) or _last(w)
    if transposed:
        sizes = transposed_sizes(x.shape[2:], w.shape[2:], stride, padding, dilation, more)
        out = _result(x, w, (x.shape[0], groups * w.shape[1], *sizes))
        whole = _whole("input", out, w, x, last, stride, padding, dilation, bias)
        return whole or (out, _transposed_plans(x, w, out, stride, padding, dilation, groups))
    sizes = _outs(x.shape[2:], w.shape[2:], stride, padding, dilation)
    out = _result(x, w, (x.shape[0], w.shape[0], *sizes))
    whole = _whole("forward", x, w, out, last, stride, padding, dilation, bias)
    return whole or (out, _forward_plans(x, w, out, stride, padding, dilation, groups))


@function(tensors=("input", "weight", "bias"))
def convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups):
    """A convolution (`transposed`: the gradient of one with respect to its input) of checked operands."""
    return _convolve(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups)


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
    one_device(s, w, None if bias is None else bias.spec)
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
    other = s.dtype if bias is None else bias.spec.dtype
    if s.dtype is not w.dtype and (transposed or other is s.dtype):
        fail(
            RuntimeError,
            f"expected scalar type {dtype_title(s.dtype)} but found {dtype_title(w.dtype)}",
            mend="convert the input, e.g. x.float(), or the layer, e.g. layer.double()",
        )
    if other is not s.dtype:
        fail(
            RuntimeError,
            f"Input type ({_c_name(s.dtype)}) and bias type ({_c_name(other)}) should be the same",
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
    return {
        "float32": "float", "float64": "double", "float16": "c10::Half", "bfloat16": "c10::BFloat16",
        "complex64": "c10::complex<float>", "complex128": "c10::complex<double>", "uint8": "unsigned char",
        "int8": "signed char", "int16": "short int", "int32": "int", "int64": "long int", "bool": "bool",
    }.get(kind.name, dtype_title(kind))  # fmt: skip


class _Settings:
    """Checked settings, for operands of given specs."""

    __slots__ = ("dilation", "more", "padding", "repeats", "stride")

    def __init__(self, stride, padding, dilation, more):
        self.stride, self.padding, self.dilation, self.more = stride, padding, dilation, more
        self.repeats: bool | None = None  # whether machine code knows such calls, where that is known


_SETTINGS: dict[tuple, _Settings] = {}  # by specs and arguments: checks cost more than a small convolution
_KNOWN = Repeats(convolution.operator, 3, others=1)
for switches in (cudnn, program, CONVOLUTIONS):
    switches.when_changed(_SETTINGS.clear)
    switches.when_changed(_KNOWN.clear)


def _apply(name: str, d: int, input, weight, bias, stride, padding, dilation, transposed, more, groups) -> Tensor:
    try:
        key = (name, input.spec, weight.spec, bias is not None and bias.spec, stride, padding, dilation, more, groups)
        found = _SETTINGS.get(key)
    except (AttributeError, TypeError):
        found = key = None
    if found is None:
        if isinstance(padding, str):
            return _named_padding(name, d, input, weight, bias, stride, padding, dilation, groups)
        found = _Settings(*_checked(name, d, input, weight, bias, stride, padding, dilation, transposed, more, groups))
        if key is not None:
            if len(_SETTINGS) > 4096:
                _SETTINGS.clear()
            _SETTINGS[key] = found
    elif found.repeats:
        if (made := _KNOWN.run(input, weight, bias, found)) is not None:
            return made
        if GUARD.active and (made := _KNOWN.in_mode()(input, weight, bias, found)) is not None:
            return made
    settings = found.stride, found.padding, found.dilation, transposed, found.more, groups
    if input.spec.ndim != d + 2:
        return squeeze_dims(convolution(unsqueeze(input, 0), weight, bias, *settings), (0,))
    made = convolution(input, weight, bias, *settings)
    if found.repeats is not False:
        named = input, weight, bias, *settings
        make = lambda *_: _repeated(*named)  # noqa: E731
        found.repeats = _KNOWN.repeat((input, weight, bias, found), 3, made, make, named=named)
    return made


def _repeated(input, weight, bias, stride, padding, dilation, transposed, more, groups) -> FunctionPlan | None:
    """What machine code repeats: one call of the library, or of the routine, that takes the operands as they are."""
    key = (input.spec, weight.spec, stride, padding, dilation, transposed and more, groups, bias is None)
    found = _PLANS.get(key)
    sources = (1, 0) if transposed and isinstance(found, _Whole) else (0, 1)
    if bias is not None:
        sources = *sources, 2
    if found is None or (bias is not None and not bias.spec.contiguous):
        return None
    if isinstance(found, _Whole):
        laid = [_lies(x.spec, s) for x, s in zip((input, weight), found.given[:: -1 if transposed else 1])]
        return FunctionPlan(found.run, (), (found.out,), sources) if all(laid) and found.added is None else None
    out, plans = found
    if len(plans) != 1 or plans[0].y or not out.numel:
        return None
    tail = (plans[0].address, plans[0].work)
    run = launch.native("convolve", out.device)(out.dtype, plans[0].sizes)
    return FunctionPlan(run, tail if bias is not None else (0, *tail), (out,), sources, plans[0])


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
    kernel_ = _sum_kernel(s.dtype)
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


def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """Convolution along the first dim: (T, N, in channels), (kernel, in channels, out channels) -> (T', N, out)."""
    for x, name in ((input, "Input"), (weight, "Weight")):
        if x.spec.ndim != 3:
            fail(RuntimeError, f"{name} must have 3 dims: time, batch, in_channel", got=tuple(x.spec.shape))
    if bias.spec.ndim != 1:
        fail(RuntimeError, "Bias must be 1-D", got=tuple(bias.spec.shape))
    if input.spec.shape[2] != weight.spec.shape[1]:
        fail(RuntimeError, "Input dim 2 (input channels) is not == dim 1 in the weight tensor")
    if weight.spec.shape[2] != bias.spec.shape[0]:
        fail(RuntimeError, "Bias size must equal dim 2 in the weight tensor (output channels).")
    made = conv1d(permute(input, (1, 2, 0)), permute(weight, (2, 1, 0)), bias, 1, pad)
    return permute(made, (2, 0, 1))


def any_convolution(
    input, weight, bias, stride, padding, dilation, transposed: bool, output_padding, groups: int
) -> Tensor:
    """The convolution, or transposed one, of 1 to 3 dims that the weight's rank asks for."""
    d = weight.spec.ndim - 2
    if d not in (1, 2, 3):
        fail(RuntimeError, "Expected 3D to 5D weight for convolution", got=tuple(weight.spec.shape))
    if transposed:
        over = (conv_transpose1d, conv_transpose2d, conv_transpose3d)[d - 1]
        return over(input, weight, bias, stride, padding, output_padding, groups, dilation)
    return (conv1d, conv2d, conv3d)[d - 1](input, weight, bias, stride, padding, dilation, groups)
