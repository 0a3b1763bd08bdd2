"""Borders: `pad` with a number, a mirror image, the edge or the other end; crops where sizes are negative."""

from collections.abc import Sequence
from functools import cache

import numpy as np

from facula import launch
from facula.core import dtype as dt
from facula.core.spec import dense
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.ir import expr as ir
from facula.ir.kernel import Input, Kernel, Param, Result

from .copying import copy_values
from .creation import fill_values, number, zeros_of
from .declare import Function, function
from .promotion import opmath
from .view import slice_dim

__all__ = ["constant_pad_nd", "pad"]


@function(tensors=("input",))
def constant_pad(input, pads, value):
    """The input inside a border of `value`; `pads` has (before, after) for each dim."""
    s = input.spec
    shape = tuple(n + a + b for n, (a, b) in zip(s.shape, pads))
    out = launch.empty(dense(s.dtype, shape, s.device))
    if out.spec.numel != s.numel or any(a or b for a, b in pads):
        fill_values(out, value)
    target, source = out, input
    for d, (a, b) in enumerate(pads):
        n = s.shape[d]
        target = _part(target, d, max(a, 0), shape[d] - max(b, 0))
        source = _part(source, d, max(-a, 0), n - max(-b, 0))
    if source.spec.numel:
        copy_values(target, source)
    return out


def _part(x: Tensor, d: int, start: int, stop: int) -> Tensor:
    return x if start == 0 and stop == x.spec.shape[d] else slice_dim.operator.call(x, d, start, stop)


@constant_pad.gradient("input")
def _(grad, pads):
    return constant_pad(grad, tuple((-a, -b) for a, b in pads), 0)


constant_pad.operator.node_class.__name__ = "ConstantPadNdBackward0"


# --- borders made of the input ------------------------------------------------------------------------------------


@cache
def _source(mode: str, size: int, before: int, after: int) -> np.ndarray:
    """From where each element comes, along one dim."""
    at = np.arange(-before, size + after)
    if mode == "reflect":
        at = np.abs(at)
        at = np.where(at >= size, 2 * (size - 1) - at, at)
    elif mode == "replicate":
        at = np.clip(at, 0, size - 1)
    else:  # what is cropped is no part of the circle
        start, stop = max(-before, 0), size - max(-after, 0)
        at = np.arange(-max(before, 0), stop - start + max(after, 0)) % max(stop - start, 1) + start
    return np.ascontiguousarray(at, np.int64)


_KERNELS: dict[tuple, Kernel] = {}


def _moved(kind, padded: Sequence[bool], back: bool) -> Kernel:
    """out[i...] = input[source[i]...]; `back`: out[source[i]...] += input[i...]."""
    key = (kind, tuple(padded), back)
    found = _KERNELS.get(key)
    if found is None:
        offset, inputs, params = ir.const(0, dt.int64), [Input("input", kind)], []
        for d, own in enumerate(padded):
            if own:
                offset = offset + ir.load(f"source{d}", dt.int64) * ir.param(f"step{d}", dt.int64)
                inputs.append(Input(f"source{d}", dt.int64))
                params.append(Param(f"step{d}", dt.int64))
        if back:
            value = ir.cast(ir.load("input", kind), opmath(kind))
            result = Result("out", kind, value, offset=offset, combine="add")
        else:
            result = Result("out", kind, ir.load("input", kind, offset))
        found = _KERNELS[key] = Kernel("pad_back" if back else "pad", tuple(inputs), (result,), tuple(params))
    return found


def _move(out: Tensor, x: Tensor, tables: Sequence[np.ndarray | None], shape, back: bool) -> None:
    """Runs over `shape`, the padded one; `out` or (forward) `x` is the small tensor, moved along by the tables."""
    small, large = (out, x) if back else (x, out)
    jumping = [0 if t is not None else s for t, s in zip(tables, small.spec.strides)]
    plain = list(large.spec.strides)
    strides = [jumping, plain] if back else [plain, jumping]
    pointers = [out.ptr, x.ptr]
    steps = []
    for d, t in enumerate(tables):
        if t is not None:
            strides.append([1 if e == d else 0 for e in range(len(shape))])
            pointers.append(launch.address_on(t, x.spec.device))
            steps.append(small.spec.strides[d])
    kernel = _moved(x.spec.dtype, [t is not None for t in tables], back)
    launch.run(launch.bind(kernel, shape, None, strides, x.spec.device), pointers, steps)


def _tables(mode: str, sizes, pads) -> list[np.ndarray | None]:
    return [_source(mode, n, a, b) if a or b else None for n, (a, b) in zip(sizes, pads)]


@function(tensors=("input",))
def border(input, pads, mode):
    """The input continued by itself; `pads` has (before, after) for each dim."""
    s = input.spec
    shape = tuple(n + a + b for n, (a, b) in zip(s.shape, pads))
    out = launch.empty(dense(s.dtype, shape, s.device))
    _move(out, input, _tables(mode, s.shape, pads), shape, False)
    return out


@border.gradient("input")
def _(grad, input_spec, pads, mode):
    return border_back(grad, pads, mode, tuple(input_spec.shape))


@function(tensors=("given",))
def border_back(given, pads, mode, shape):
    """`given`, padded, summed where its elements come from."""
    out = zeros_of(dense(given.spec.dtype, shape, given.spec.device))
    _move(out, given, _tables(mode, shape, pads), given.spec.shape, True)
    return out


@border_back.gradient("given")
def _(grad, pads, mode):
    return border(grad, pads, mode)


def _node(title: str, shown: str):
    """`border` under the name that the graph shows for it."""
    operator = border.operator
    made = Function(operator.body, title, tensors=operator.tensors)
    made.gradients = operator.gradients
    made.node_class.__name__ = shown
    return made.call


_TITLES = {"reflect": "ReflectionPad{}DBackward0", "replicate": "ReplicationPad{}DBackward0", "circular": "CopySlices"}
_NODES = {(mode, d): _node(f"{mode}_pad{d}d", title.format(d)) for mode, title in _TITLES.items() for d in (1, 2, 3)}


def constant_pad_nd(input: Tensor, pad, value=0) -> Tensor:
    """The input inside a border of a number: `pad` is (before, after) of the last dim, then of the one before, ..."""
    rank, length = input.spec.ndim, len(pad)
    if length % 2:
        fail(RuntimeError, "Padding length must be divisible by 2", got=tuple(pad))
    if length > 2 * rank:
        fail(
            RuntimeError,
            "Padding length should be less than or equal to two times the input dimension but got padding length "
            f"{length} and input of dimension {rank}",
        )
    pads = _pairs(pad, rank)
    for n, (a, b) in zip(input.spec.shape, pads):
        if n + a + b < 0 or n + min(a, 0) + min(b, 0) < 0:
            fail(
                RuntimeError,
                "narrow(): length must be non-negative.",
                got=f"{a} and {b} for a dim of size {n}",
            )
    if input.spec.dtype.kind in "ui" and isinstance(value, float):
        value = int(value)
    return constant_pad(input, pads, number(value, input.spec.dtype))


def _pairs(pad, rank: int) -> tuple[tuple[int, int], ...]:
    """`pad` as (before, after) for each dim, from the first."""
    flat = [int(n) for n in pad]
    pairs = [(flat[i], flat[i + 1]) for i in range(0, len(flat), 2)]
    return tuple([(0, 0)] * (rank - len(pairs)) + pairs[::-1])


def pad(input: Tensor, pad, mode: str = "constant", value=None) -> Tensor:
    """The input with a border.

    Parameters
    ----------
    input : Tensor
    pad : sequence of int
        (before, after) of the last dim, then of the one before it, and so on; negative sizes crop.
    mode : {"constant", "reflect", "replicate", "circular"}
        The others than "constant" take two or three dims with one pair, up to one more for each further pair.
    value : number, optional
        Of a constant border; 0 unless given.

    Examples
    --------
    >>> import facula as torch
    >>> torch.nn.functional.pad(torch.tensor([[1.0, 2.0, 3.0]]), (2, 0), mode="reflect")
    tensor([[3., 2., 1., 2., 3.]])
    """
    if not isinstance(input, Tensor):
        fail(TypeError, f"pad(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
    if mode == "constant":
        return constant_pad_nd(input, pad, 0 if value is None else value)
    if mode not in ("reflect", "replicate", "circular"):
        fail(
            NotImplementedError,
            f"Unrecognised padding mode {mode}",
            expected="constant, reflect, replicate or circular",
        )
    if value is not None and value != 0:
        fail(RuntimeError, f'Padding mode "{mode}" doesn\'t take in value argument')
    rank, d = input.spec.ndim, len(pad) // 2
    if len(pad) % 2 or d not in (1, 2, 3) or rank not in (d + 1, d + 2):
        fail(
            NotImplementedError,
            f"Padding size {len(pad)} is not supported for {rank}D input tensor.",
            expected="(before, after) for the last dim of 2-D or 3-D, the last two of 3-D or 4-D, the last three "
            "of 4-D or 5-D tensors",
        )
    pads = _pairs(pad, rank)
    shape = input.spec.shape
    for i, (n, (a, b)) in enumerate(zip(shape, pads)):
        if (a > 0 or b > 0) and n == 0:
            fail(RuntimeError, f"Expected a dim to be padded to have non-zero size, but got: {list(shape)}")
        if mode == "reflect" and (a >= n or b >= n) and (a or b):
            fail(
                RuntimeError,
                f"Argument #{2 * (rank - i) + 2}: Padding size should be less than the corresponding input "
                "dimension, but got: padding "
                f"({a}, {b}) at dimension {i} of input {list(shape)}",
            )
        if mode == "circular" and (a > n or b > n):
            fail(RuntimeError, "Padding value causes wrapping around more than once.")
        if n + a + b < 0:
            fail(RuntimeError, f"input (dim {i} of size {n}) is too small for the padding ({a}, {b})")
    return _NODES[mode, d](input, pads, mode)
