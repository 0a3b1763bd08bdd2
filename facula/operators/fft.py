"""Discrete Fourier transforms: three operators (complex, from real, to real) through NumPy, and what stands on them."""

import warnings
from typing import Any

import numpy as np

from facula.autograd.node import dtype_title
from facula.core import dtype as dt
from facula.core.device import CPU
from facula.core.shape import normalize_dim
from facula.core.tensor import Tensor
from facula.errors import fail

from . import elementwise as e
from .copying import cast
from .creation import arange, array_on, full, host_array, number, numpy_view, only_strided, zeros
from .declare import function, takes
from .factor import conj
from .indexing import index_add
from .joining import cat, roll
from .padding import pad as pad_by_mode
from .promotion import DEFAULT
from .results import writes
from .view import expand_to, narrow, reshape, transpose, unfold, unsqueeze, view_as_real

__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "hfft2", "hfftn", "ifft", "ifft2", "ifftn", "ifftshift",
    "ihfft", "ihfft2", "ihfftn", "irfft", "irfft2", "irfftn", "istft", "rfft", "rfft2", "rfftfreq", "rfftn", "stft",
]  # fmt: skip

# Sums are left as they are, divided by the number of terms, or by its root; in NumPy's words for each direction.
_FORWARD: dict[str, Any] = {"none": "backward", "n": "forward", "root": "ortho"}
_INVERSE: dict[str, Any] = {"none": "forward", "n": "backward", "root": "ortho"}


def _result(array: np.ndarray, kind, where=CPU) -> Tensor:
    return array_on(np.ascontiguousarray(array, kind.numpy), where)


@function(tensors=("input",))
def fft_c2c(input, dims, scale, forward):
    """The transforms of complex numbers over dims."""
    transform, names = (np.fft.fftn, _FORWARD) if forward else (np.fft.ifftn, _INVERSE)
    return _result(transform(numpy_view(input), axes=dims, norm=names[scale]), input.spec.dtype)


@fft_c2c.gradient("input")
def _(grad, dims, scale, forward):
    return fft_c2c(grad, dims, scale, not forward)


@function(tensors=("input",))
def fft_r2c(input, dims, scale):
    """The transforms of real numbers over dims; of the last of these dims the first half, the rest is its conjugate."""
    found = np.fft.rfftn(numpy_view(input), axes=dims, norm=_FORWARD[scale])
    return _result(found, input.spec.dtype.to_complex())


@fft_r2c.gradient("input")
def _(grad, input_spec, dims, scale):
    whole = _resized(grad, dims[-1:], (input_spec.shape[dims[-1]],))
    return e.real_part(fft_c2c(whole, dims, scale, False))


@function(tensors=("input",))
def fft_c2r(input, dims, scale, n):
    """The inverse of `fft_r2c`, for `n` real numbers in the last of the dims."""
    array = numpy_view(input)
    sizes = [*(array.shape[d] for d in dims[:-1]), n]
    found = np.fft.irfftn(array, s=sizes, axes=dims, norm=_INVERSE[scale])
    return _result(found, input.spec.dtype.to_real())


@fft_c2r.gradient("input")
def _(grad, dims, scale, n):
    half = fft_r2c(grad, dims, scale)
    twice = n - half.spec.shape[dims[-1]]  # so many stand for their conjugates too
    if twice <= 0:
        return half
    weights = np.ones(half.spec.shape[dims[-1]])
    weights[1 : 1 + twice] = 2
    shape = [1] * half.spec.ndim
    shape[dims[-1]] = len(weights)
    return e.mul(half, _result(weights.reshape(shape), half.spec.dtype.to_real(), half.spec.device))


for _core, _name in ((fft_c2c, "FftC2C"), (fft_r2c, "FftR2C"), (fft_c2r, "FftC2R")):
    _core.operator.node_class.__name__ = f"{_name}Backward0"


# --- arguments ----------------------------------------------------------------------------------------------------


def _scale(norm: str | None, forward: bool) -> str:
    if norm == "ortho":
        return "root"
    if norm not in (None, "backward", "forward"):
        fail(RuntimeError, f'Invalid normalization mode: "{norm}"')
    return "n" if (norm == "forward") == forward else "none"


def _ready(input: Tensor, complex_: bool) -> Tensor:
    """`input` as floats, or as complex numbers."""
    kind = input.spec.dtype
    if kind.kind in "bui":
        kind = DEFAULT.float
    if kind.kind not in "fc" or kind.itemsize < (4 if kind.kind == "f" else 8):
        fail(RuntimeError, f"Unsupported dtype {dtype_title(kind)}", mend="convert: input.float()")
    return cast(input, kind.to_complex() if complex_ else kind)


def _real_only(name: str, input: Tensor) -> None:
    if input.spec.dtype.kind == "c":
        fail(RuntimeError, f"{name} expects a real input tensor, but got {dtype_title(input.spec.dtype)}")


def _points(n: int) -> None:
    if n < 1:
        fail(RuntimeError, f"Invalid number of data points ({n}) specified")


def _resized(x: Tensor, dims, sizes) -> Tensor:
    """`x` cut at the end, or filled with zeros there, to these sizes; -1 keeps one."""
    for d, n in zip(dims, sizes):
        have = x.spec.shape[d]
        if n in (-1, have):
            continue
        if n < have:
            x = narrow(x, d, 0, n)
        else:
            shape = [*x.spec.shape]
            shape[d] = n - have
            x = cat([x, zeros(shape, dtype=x.spec.dtype, device=x.spec.device)], d)
    return x


def _places(input: Tensor, s, dim) -> tuple[list[int], list[int]]:
    """(dims, sizes) of a transform over several dims."""
    rank = input.spec.ndim
    s = None if s is None else [s] if isinstance(s, int) else [int(n) for n in s]
    dims = None if dim is None else [dim] if isinstance(dim, int) else [int(d) for d in dim]
    if dims is not None:
        dims = [normalize_dim(d, rank) for d in dims]
        if len(set(dims)) < len(dims):
            fail(RuntimeError, "FFT dims must be unique")
    if s is not None:
        if dims is not None and len(dims) != len(s):
            fail(RuntimeError, "When given, dim and shape arguments must have the same length")
        if len(s) > rank:
            fail(RuntimeError, f"Got shape with {len(s)} values but input tensor only has {rank} dimensions.")
        dims = list(range(rank - len(s), rank)) if dims is None else dims
    dims = list(range(rank)) if dims is None else dims
    sizes = [input.spec.shape[d] if s is None or s[i] == -1 else s[i] for i, d in enumerate(dims)]
    for n in sizes:
        _points(n)
    return dims, sizes


# --- one dim ------------------------------------------------------------------------------------------------------


def _one(input: Tensor, n: int | None, dim: int, norm: str | None, forward: bool) -> Tensor:
    x = _ready(input, True)
    d = normalize_dim(dim, x.spec.ndim)
    if n is not None:
        _points(n)
        x = _resized(x, (d,), (n,))
    _points(x.spec.shape[d] if x.spec.ndim else 1)
    return fft_c2c(x, (d,), _scale(norm, forward), forward)


def _half(name: str, input: Tensor, n: int | None, dim: int, norm: str | None, forward: bool) -> Tensor:
    _real_only(name, input)
    x = _ready(input, False)
    d = normalize_dim(dim, x.spec.ndim)
    if n is not None:
        _points(n)
        x = _resized(x, (d,), (n,))
    _points(x.spec.shape[d] if x.spec.ndim else 1)
    found = fft_r2c(x, (d,), _scale(norm, forward))
    return found if forward else conj(found)


def _back(input: Tensor, n: int | None, dim: int, norm: str | None, forward: bool) -> Tensor:
    x = _ready(input, True)
    d = normalize_dim(dim, x.spec.ndim)
    points = 2 * (x.spec.shape[d] - 1) if n is None else n
    _points(points)
    x = _resized(x, (d,), (points // 2 + 1,))
    return fft_c2r(conj(x) if forward else x, (d,), _scale(norm, forward), points)


@writes
def fft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The Fourier transform of `n` numbers along `dim`; `norm` "forward" divides by n, "ortho" by its root."""
    return _one(input, n, dim, norm, True)


@writes
def ifft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of `fft`."""
    return _one(input, n, dim, norm, False)


@writes
def rfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The first half of the transform of real numbers; the rest is its conjugate."""
    return _half("rfft", input, n, dim, norm, True)


@writes
def irfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of `rfft`: `n` real numbers."""
    return _back(input, n, dim, norm, False)


@writes
def hfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The transform, real, of numbers of which the first half is given and the rest is its conjugate."""
    return _back(input, n, dim, norm, True)


@writes
def ihfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of `hfft`: the first half."""
    return _half("ihfft", input, n, dim, norm, False)


# --- several dims -------------------------------------------------------------------------------------------------


def _many(input: Tensor, s, dim, norm: str | None, forward: bool) -> Tensor:
    x = _ready(input, True)
    dims, sizes = _places(x, s, dim)
    x = _resized(x, dims, sizes)
    if not dims:
        return x.clone()
    return fft_c2c(x, tuple(dims), _scale(norm, forward), forward)


def _half_places(name: str, input: Tensor, s, dim) -> tuple[Tensor, tuple[int, ...]]:
    _real_only(name, input)
    x = _ready(input, False)
    dims, sizes = _places(x, s, dim)
    if not dims:
        fail(RuntimeError, f"{name} must transform at least one axis")
    return _resized(x, dims, sizes), tuple(dims)


def _back_places(name: str, input: Tensor, s, dim) -> tuple[Tensor, tuple[int, ...], int]:
    """The input cut to half in its last dim, the dims, the number of results in the last one."""
    x = _ready(input, True)
    dims, sizes = _places(x, s, dim)
    if not dims:
        fail(RuntimeError, f"{name} must transform at least one axis")
    last = [s] if isinstance(s, int) else s
    n = 2 * (x.spec.shape[dims[-1]] - 1) if last is None or last[-1] == -1 else sizes[-1]
    _points(n)
    return _resized(x, dims, [*sizes[:-1], n // 2 + 1]), tuple(dims), n


@writes
def fftn(input: Tensor, s=None, dim=None, norm: str | None = None) -> Tensor:
    """`fft` over several dims, all unless told otherwise."""
    return _many(input, s, dim, norm, True)


@writes
def ifftn(input: Tensor, s=None, dim=None, norm: str | None = None) -> Tensor:
    """The inverse of `fftn`."""
    return _many(input, s, dim, norm, False)


@writes
def rfftn(input: Tensor, s=None, dim=None, norm: str | None = None) -> Tensor:
    """The transform of real numbers over several dims, the first half of the last one."""
    x, dims = _half_places("rfftn", input, s, dim)
    return fft_r2c(x, dims, _scale(norm, True))


@writes
def irfftn(input: Tensor, s=None, dim=None, norm: str | None = None) -> Tensor:
    """The inverse of `rfftn`."""
    x, dims, n = _back_places("irfftn", input, s, dim)
    return fft_c2r(x, dims, _scale(norm, False), n)


@writes
def hfftn(input: Tensor, s=None, dim=None, norm: str | None = None) -> Tensor:
    """`hfft` over several dims."""
    x, dims, n = _back_places("hfftn", input, s, dim)
    scale = _scale(norm, True)
    x = fft_c2c(x, dims[:-1], scale, True) if len(dims) > 1 else x
    return fft_c2r(conj(x), dims[-1:], scale, n)


@writes
def ihfftn(input: Tensor, s=None, dim=None, norm: str | None = None) -> Tensor:
    """The inverse of `hfftn`."""
    x, dims = _half_places("ihfftn", input, s, dim)
    scale = _scale(norm, False)
    found = conj(fft_r2c(x, dims[-1:], scale))
    return fft_c2c(found, dims[:-1], scale, False) if len(dims) > 1 else found


def _of_two_dims(many, name: str):
    def entry(input: Tensor, s=None, dim=(-2, -1), norm: str | None = None) -> Tensor:
        return many(input, s, dim, norm)

    entry.__name__ = entry.__qualname__ = name
    entry.__doc__ = f"`{many.__name__}` over the last two dims."
    return writes(entry)


fft2, ifft2 = _of_two_dims(fftn, "fft2"), _of_two_dims(ifftn, "ifft2")
rfft2, irfft2 = _of_two_dims(rfftn, "rfft2"), _of_two_dims(irfftn, "irfft2")
hfft2, ihfft2 = _of_two_dims(hfftn, "hfft2"), _of_two_dims(ihfftn, "ihfft2")


# --- frequencies --------------------------------------------------------------------------------------------------


def _frequencies(name: str, whole: bool):
    def entry(
        n: int, d: float = 1.0, *, out=None, dtype=None, layout=None, device=None, pin_memory=False,
        requires_grad: bool = False,
    ) -> Tensor:  # fmt: skip
        if layout is not None:
            only_strided("arange.start_out", layout)
        kind = dtype or (out.spec.dtype if out is not None else DEFAULT.float)
        if kind.kind not in "fc":
            fail(RuntimeError, f"{name} requires a floating point or complex dtype")
        counts = arange((n + 1) // 2 if whole else n // 2 + 1, dtype=kind, device=device)
        if whole:
            counts = cat([counts, arange(-(n // 2), 0, dtype=kind, device=device)], 0)
        made = e.mul(counts, 1.0 / (n * d))
        if out is not None:
            from .declare import INTO

            return INTO[0](name, out, made, ())
        return made.requires_grad_() if requires_grad else made

    entry.__name__ = entry.__qualname__ = name
    return entry


fftfreq = _frequencies("fftfreq", True)
fftfreq.__doc__ = (
    "The frequencies of the results of `fft` of `n` numbers, `d` apart: 0, 1, ... then -n/2 to -1, over n d."
)
rfftfreq = _frequencies("rfftfreq", False)
rfftfreq.__doc__ = "The frequencies of the results of `rfft` of `n` numbers, `d` apart."


def _shifted(input: Tensor, dim, up: int) -> Tensor:
    dims = range(input.spec.ndim) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    dims = [normalize_dim(d, input.spec.ndim) for d in dims]
    if not dims:
        return input.clone()
    return roll(input, [(input.spec.shape[d] + up) // 2 for d in dims], dims)


@takes
def fftshift(input: Tensor, dim=None) -> Tensor:
    """Frequency 0 in the middle."""
    return _shifted(input, dim, 0)


@takes
def ifftshift(input: Tensor, dim=None) -> Tensor:
    """The inverse of `fftshift`."""
    return _shifted(input, dim, 1)


# --- short times --------------------------------------------------------------------------------------------------


def _window(name: str, window: Tensor | None, win_length: int, n_fft: int, kind, where) -> Tensor | None:
    """The window with zeros around it to `n_fft` numbers."""
    if window is None and win_length == n_fft:
        return None
    window = full((win_length,), number(1, kind), dtype=kind, device=where) if window is None else window
    left = (n_fft - win_length) // 2
    ends = [zeros((n,), dtype=window.spec.dtype, device=window.spec.device) for n in (left, n_fft - win_length - left)]
    return cat([ends[0], window, ends[1]], 0) if win_length < n_fft else window


def _framing(name: str, shown: str, n_fft: int, hop: int, width: int, window: Tensor | None, most: int | None) -> None:
    """RuntimeError where frames, hops or the window do not fit."""
    if n_fft <= 0 or (most is not None and n_fft > most):
        fail(RuntimeError, f"{shown}: expected 0 < n_fft < {most}, but got n_fft={n_fft}")
    if hop <= 0:
        fail(RuntimeError, f"{shown}: expected hop_length > 0, but got hop_length={hop}")
    if not 0 < width <= n_fft:
        fail(RuntimeError, f"{shown}: expected 0 < win_length <= n_fft, but got win_length={width}")
    if window is not None and (window.spec.ndim != 1 or window.spec.shape[0] != width):
        fail(
            RuntimeError,
            f"{shown}: expected a 1D window tensor of size equal to win_length={width}, but got window with size "
            f"{list(window.spec.shape)}",
        )


def stft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> Tensor:
    """The transforms of overlapping frames of a signal: (..., time) -> (..., frequency, frame), complex.

    Frame t holds the `n_fft` numbers from `t * hop_length` on (around that place with `center`), times the window.
    """
    shown = f"stft({input.type()}{list(input.spec.shape)}, n_fft={n_fft})"
    hop = n_fft // 4 if hop_length is None else hop_length
    width = n_fft if win_length is None else win_length
    turns = input.spec.dtype.kind == "c" or (window is not None and window.spec.dtype.kind == "c")
    if return_complex is None:
        if not turns:
            fail(
                RuntimeError,
                "stft requires the return_complex parameter be given for real inputs, and will further require that "
                "return_complex=True in a future PyTorch release.",
            )
        return_complex = True
    if input.spec.dtype.kind not in "fc":
        kind = NotImplementedError if input.spec.dtype is dt.bool_ else RuntimeError
        fail(kind, f"{shown}: expected a tensor of floating point or complex values")
    if input.spec.dtype.itemsize == 2:
        name = dtype_title(input.spec.dtype)
        fail(RuntimeError, f"MKL FFT doesn't support tensors of type: {name}", mend="convert it first: x.float()")
    if input.spec.ndim not in (1, 2):
        fail(RuntimeError, f"{shown}: expected a 1D or 2D tensor")
    if center and align_to_window:
        fail(RuntimeError, "stft only supports align_to_window when center is False")
    x = input if input.spec.ndim == 2 else unsqueeze(input, 0)
    if center:
        x = reshape(pad_by_mode(unsqueeze(x, 0), (n_fft // 2, n_fft // 2), pad_mode), (x.spec.shape[0], -1))
    length = x.spec.shape[1]
    _framing("stft", shown, n_fft, hop, width, window, length)
    onesided = not turns if onesided is None else onesided
    if onesided and turns:
        fail(RuntimeError, "Cannot have onesided output if window or input is complex")
    window = _window("stft", window, width, n_fft, x.spec.dtype.to_real(), x.spec.device)
    if align_to_window:
        shift = (n_fft - width) // 2
        before = zeros((x.spec.shape[0], shift), dtype=x.spec.dtype, device=x.spec.device)
        x = cat([before, x, before], 1)
    frames = unfold(x, 1, n_fft, hop)
    frames = frames if window is None else e.mul(frames, window)
    scale = "root" if normalized else "none"
    if onesided:
        found = fft_r2c(frames, (2,), scale)
    else:
        found = fft_c2c(cast(frames, frames.spec.dtype.to_complex()), (2,), scale, True)
    found = transpose(found, 1, 2)
    found = found if input.spec.ndim == 2 else found.squeeze(0)
    return found if return_complex else view_as_real(found)


def istft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Tensor:
    """The signal whose `stft` is given, by adding its frames up and dividing by the squares of the windows."""
    shown = f"istft({input.type()}{list(input.spec.shape)}, n_fft={n_fft})"
    hop = n_fft // 4 if hop_length is None else hop_length
    width = n_fft if win_length is None else win_length
    if input.spec.dtype.kind != "c":
        fail(
            RuntimeError,
            "istft requires a complex-valued input tensor matching the output from stft with return_complex=True.",
        )
    if not input.spec.numel:
        fail(RuntimeError, f"{shown}: input tensor cannot be empty.")
    if input.spec.ndim not in (2, 3):
        fail(
            RuntimeError,
            f"{shown}: expected a tensor with 2 or 3 dimensions, but got {input.spec.ndim}",
        )
    x = input if input.spec.ndim == 3 else unsqueeze(input, 0)
    batch, bins, count = x.spec.shape
    onesided = bins != n_fft if onesided is None else onesided
    if bins != (n_fft // 2 + 1 if onesided else n_fft):
        wanted = n_fft // 2 + 1 if onesided else n_fft
        fail(
            RuntimeError,
            f"{shown}: expected the frequency dimension (3rd to the last) of the input tensor to match n_fft"
            f"{' / 2 + 1' if onesided else ''} when onesided={onesided}, but got {bins}",
            expected=wanted,
        )
    if not 0 < hop <= width:
        fail(RuntimeError, f"{shown}: expected 0 < hop_length <= win_length")
    _framing("istft", shown, n_fft, hop, width, window, None)
    if return_complex and onesided:
        fail(RuntimeError, "Cannot have onesided output if window or input is complex")
    real = x.spec.dtype.to_real()
    if window is not None and window.spec.dtype.kind == "c" and not return_complex:
        fail(RuntimeError, "Complex windows are incompatible with return_complex=False")
    if window is None:
        window = full((width,), number(1, real), dtype=real, device=x.spec.device)
    window = _window("istft", window, width, n_fft, real, x.spec.device)
    x = transpose(x, 1, 2)  # batch, frame, frequency
    scale = "root" if normalized else "n"
    if return_complex:
        parts = fft_c2c(x, (2,), scale, False)
    else:
        x = x if onesided else narrow(x, 2, 0, n_fft // 2 + 1)
        parts = fft_c2r(x, (2,), scale, n_fft)
    parts = e.mul(parts, window)
    whole = n_fft + hop * (count - 1)
    places = _result((np.arange(count)[:, None] * hop + np.arange(n_fft)).reshape(-1), dt.int64, x.spec.device)

    def added(frames: Tensor) -> Tensor:
        rows = frames.spec.shape[0]
        flat = reshape(frames, (rows, count * n_fft))
        return index_add(zeros((rows, whole), dtype=frames.spec.dtype, device=frames.spec.device), 1, places, flat)

    y = added(parts)
    squares = e.mul(window, window)
    cover = added(expand_to(squares, (1, count, n_fft)))
    start = n_fft // 2 if center else 0
    end = start + length if length is not None else whole - n_fft // 2 if center else whole
    most = min(end, whole)
    y, cover = narrow(y, 1, start, max(most - start, 0)), narrow(cover, 1, start, max(most - start, 0))
    covered = host_array(cover.detach())
    least = np.inf if covered is None else np.abs(covered).min(initial=np.inf)
    if not least > 1e-11:
        fail(RuntimeError, f"{shown}: window overlap add min: 1", got=float(least))
    y = e.true_divide(y, cover)
    if end > whole:
        warnings.warn(
            "The length of signal is shorter than the length parameter. Result is being padded with zeros in the tail.",
            UserWarning,
            stacklevel=2,
        )
        y = cat([y, zeros((y.spec.shape[0], end - whole), dtype=y.spec.dtype, device=y.spec.device)], 1)
    return y if input.spec.ndim == 3 else y.squeeze(0)
