"""What pooling does not do with a plan: maxima put back where they came from, windows at random places."""

import math
from collections.abc import Sequence

from facula.autograd.node import dtype_title
from facula.core import dtype as dt
from facula.core.spec import dense
from facula.core.tensor import Tensor
from facula.errors import fail

from .copying import cast
from .creation import arange, full, zeros_of
from .declare import function
from .elementwise import add, mul, sub, trunc
from .indexing import first_outside, gather, scatter
from .joining import cat
from .promotion import opmath
from .view import narrow, reshape, select, squeeze, unsqueeze

__all__ = ["fractional_max_pool", "max_unpool"]


@function(tensors=("input",))
def put_at(input, indices, elements):
    """(N, C, elements): zeros but for the numbers of `input` (N, C, places) at `indices`; the last one wins."""
    s = input.spec
    out = zeros_of(dense(s.dtype, (*s.shape[:2], elements), s.device))
    return scatter(out, 2, indices, input)


@put_at.gradient("input")
def _(grad, indices):
    return gather(grad, 2, indices)


put_at.operator.node_class.__name__ = "MaxUnpool2DBackward0"


def max_unpool(input: Tensor, indices: Tensor, size: Sequence[int]) -> Tensor:
    """(N, C, *size) or (C, *size), with `input` where `indices`, of a maximum pooling, say and 0 elsewhere."""
    s, d = input.spec, len(size)
    name = f"max_unpooling{d}d"
    if indices.spec.dtype is not dt.int64:
        fail(
            RuntimeError,
            f"elements in indices should be type int64 but got: {dtype_title(indices.spec.dtype)}",
            mend="indices.long()",
        )
    if s.ndim not in (d + 1, d + 2):
        words = f"{d + 1}d or {d + 2}d" if d == 2 else f"{d + 1}D or {d + 2}D"
        fail(RuntimeError, f"Input to {name} should be a {words} Tensor, but got a tensor with {s.ndim} dimensions")
    if indices.spec.shape != s.shape:
        fail(
            RuntimeError,
            f"Expected shape of indices to be same as that of the input tensor ({list(s.shape)}) but got indices "
            f"tensor with shape: {list(indices.spec.shape)}",
        )
    for i in range(1 if s.ndim == d + 2 else 0, s.ndim):
        if s.shape[i] == 0:
            fail(
                RuntimeError,
                f"{name}(): Expected input to have non-zero size for non-batch dimensions, but got {list(s.shape)} "
                f"with dimension {i} being empty.",
            )
    if s.dtype.kind != "f":
        fail(NotImplementedError, f"\"max_unpool{d}d\" not implemented for '{dtype_title(s.dtype)}'")
    elements, lead = math.prod(size), (*([1] if s.ndim == d + 1 else []), *s.shape[: s.ndim - d])
    wrong = first_outside(name, indices, elements)
    if wrong is not None:
        fail(
            RuntimeError,
            f"Found an invalid max index: {wrong} (output volumes are of size {'x'.join(map(str, size))}",
            expected=f"indices from 0 to {elements - 1}",
        )
    flat = (*lead, math.prod(s.shape[s.ndim - d :]))
    return reshape(put_at(reshape(input, flat), reshape(indices, flat), elements), (*s.shape[: s.ndim - d], *size))


def _begins(samples: Tensor, size: int, out: int, kernel: int) -> Tensor:
    """Where the windows along one dim begin, (N, C, out); `samples` has a number of each plane."""
    kind, where = samples.spec.dtype, samples.spec.device
    work = opmath(kind)

    def rounded(x: Tensor) -> Tensor:  # to the dtype of the samples, after each operation, as there
        return cast(cast(x, kind), work)

    samples = unsqueeze(cast(samples, work), -1)
    alpha = rounded(full((), (size - kernel) / max(out - 1, 1), dtype=work, device=where))
    at = cast(arange(out - 1, device=where), work)
    found = sub(trunc(rounded(mul(rounded(add(at, samples)), alpha))), trunc(rounded(mul(samples, alpha))))
    last = full((*found.spec.shape[:2], 1), size - kernel, dtype=dt.int64, device=where)
    return cat([cast(found, dt.int64), last], -1)


def fractional_max_pool(input: Tensor, kernel: Sequence[int], size: Sequence[int], samples: Tensor):
    """(maxima, indices) of windows that begin at random places, which `samples` (N, C, dims) fix."""
    s, d = input.spec, len(kernel)
    name = f"fractional_max_pool{d}d"
    if len(size) != d:
        fail(RuntimeError, f"{name}: output_size must either be a single int or a tuple of {d} ints", got=tuple(size))
    if s.ndim not in (d + 1, d + 2):
        fail(RuntimeError, f"{name}(): Expected {d + 1}D or {d + 2}D tensor, but got: {list(s.shape)}")
    for i in range(s.ndim - d - 1, s.ndim):
        if s.shape[i] == 0:
            fail(
                RuntimeError,
                f"{name}(): Expected input to have non-zero size for non-batch dimensions, but got {list(s.shape)} "
                f"with dimension {i} being empty.",
            )
    if s.dtype.kind != "f":
        fail(NotImplementedError, f"\"{name}_out_frame\" not implemented for '{dtype_title(s.dtype)}'")
    given = input if s.ndim == d + 2 else unsqueeze(input, 0)
    batch, sizes = given.spec.shape[:2], given.spec.shape[2:]
    for n, o, k, word in zip(sizes, size, kernel, ("time", "height", "width")[-d:]):
        if o + k - 1 > n:
            fail(RuntimeError, f"{name}(): pool {word} {k} too large relative to input {word} {n}")
    if samples.spec.dtype is not s.dtype:
        fail(RuntimeError, "Expect _random_samples to have the same dtype as input")
    if tuple(samples.spec.shape[1:]) != (batch[1], d) or samples.spec.shape[0] < batch[0]:
        fail(RuntimeError, "Expect _random_samples to have one row of numbers for each plane", got=samples.spec.shape)
    windows = _windows(samples, batch, sizes, size, kernel)
    elements = math.prod(sizes)
    flat = reshape(given, (*batch, elements))
    per = (*batch, math.prod(size), math.prod(kernel))
    with_nan = reshape(gather(flat.detach(), 2, windows), per)
    which = with_nan.argmax(-1, keepdim=True)
    places = squeeze(gather(reshape(windows, per), 3, which), -1)
    values = reshape(gather(flat, 2, places), (*batch, *size))
    places = reshape(places, (*batch, *size))
    return (values, places) if given is input else (squeeze(values, 0), squeeze(places, 0))


def _windows(samples: Tensor, batch, sizes, size, kernel) -> Tensor:
    """The indices of all elements of all windows, one window after the other: (N, C, windows * elements)."""
    d, where = len(kernel), samples.spec.device
    numbers = narrow(samples.detach(), 0, 0, batch[0])
    order = range(d) if d == 3 else range(d - 1, -1, -1)  # PyTorch's planes draw for the width first
    windows, elements = zeros_of(dense(dt.int64, (1,) * (2 + 2 * d), where)), 1
    for i in reversed(range(d)):
        begin = _begins(select(numbers, 2, order[i]), sizes[i], size[i], kernel[i])
        at = add(unsqueeze(begin, -1), arange(kernel[i], device=where))
        shape = [1] * (2 + 2 * d)
        shape[:2], shape[2 + i], shape[2 + d + i] = batch, size[i], kernel[i]
        windows = add(windows, mul(reshape(at, tuple(shape)), elements))
        elements *= sizes[i]
    return reshape(windows, (*batch, math.prod(size) * math.prod(kernel)))
