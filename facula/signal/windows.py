"""`torch.signal.windows`: each window is a function on evenly spaced numbers.

A symmetric window (`sym`) is for the design of filters; the others are one period of a window one longer, for spectra.
"""

import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any

from facula import operators as ops
from facula.core import dtype as dt
from facula.core.layout import strided
from facula.core.tensor import Tensor
from facula.errors import fail

__all__ = [
    "bartlett", "blackman", "cosine", "exponential", "gaussian", "general_cosine", "general_hamming", "hamming", "hann",
    "kaiser", "nuttall",
]  # fmt: skip

_COMMON = """
    sym : bool
        Whether the window is symmetric.
    dtype, layout, device, requires_grad
        Of the result: float32 or float64, strided.
"""
_OPTIONS = {"sym": True, "dtype": None, "layout": strided, "device": None, "requires_grad": False}


def _window(one: bool = False) -> Callable[[Callable], Callable[..., Tensor]]:
    """Make a window of a function (M, length of the period - 1, own options) -> (first number, last, formula).

    `one`: a single number is 1, without the formula.
    """

    def decorate(numbers: Callable) -> Callable[..., Tensor]:
        name, own = numbers.__name__, list(inspect.signature(numbers).parameters.values())

        def window(M, *, sym=True, dtype=None, layout=strided, device=None, requires_grad=False, **options) -> Tensor:
            kind = ops.get_default_dtype() if dtype is None else dtype
            if M < 0:
                fail(ValueError, f"{name} requires non-negative window length, got M={M}")
            if layout is not strided:
                fail(ValueError, f"{name} is implemented for strided tensors only, got: {layout!r}")
            if kind not in (dt.float32, dt.float64):
                fail(ValueError, f"{name} expects float32 or float64 dtypes, got: {kind!r}")
            if unknown := options.keys() - {p.name for p in own}:
                fail(TypeError, f"{name}() got an unexpected keyword argument '{min(unknown)}'")
            if sym and options.get("center") is not None:
                fail(ValueError, "Center must be None for symmetric windows")
            first, last, formula = numbers(M, M - 1 if sym or M < 2 else M, **options)
            place = {"dtype": kind, "device": device, "requires_grad": requires_grad}
            if M == 0:
                return ops.empty(0, **place)
            return ops.ones(1, **place) if one and M == 1 else formula(ops.linspace(first, last, M, **place))

        shown = list(own[2:]) + [
            inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=d) for n, d in _OPTIONS.items()
        ]
        window.__signature__ = inspect.Signature([own[0], *shown])  # type: ignore[attr-defined]
        window.__name__ = window.__qualname__ = name
        text, heading, example = (numbers.__doc__ or "").partition("\n    Examples")
        window.__doc__ = text.rstrip() + _COMMON + heading + example
        return window

    return decorate


@_window()
def exponential(M: int, period: int, *, center: float | None = None, tau: float = 1.0) -> Any:
    """exp(-|n - center| / tau), also named after Poisson.

    Parameters
    ----------
    M : int
        Length.
    center : float, optional
        Where the peak is; for windows that are not symmetric alone.
    tau : float
        Decay.
    """
    if tau <= 0:
        fail(ValueError, f"Tau must be positive, got: {tau} instead.")
    peak = period / 2 if center is None else center
    return -peak / tau, (M - 1 - peak) / tau, lambda k: ops.exp(-ops.abs(k))


@_window()
def cosine(M: int, period: int) -> Any:
    """sin(pi (n + 1/2) / M), half a wave.

    Parameters
    ----------
    M : int
        Length.
    """
    step = math.pi / max(period + 1, 1)
    return 0.5 * step, (M - 0.5) * step, ops.sin


@_window()
def gaussian(M: int, period: int, *, std: float = 1.0) -> Any:
    """exp(-(n - center)^2 / (2 std^2)).

    Parameters
    ----------
    M : int
        Length.
    std : float
        Standard deviation.
    """
    if std <= 0:
        fail(ValueError, f"Standard deviation must be positive, got: {std} instead.")
    scale = 1 / (std * math.sqrt(2))
    return -period / 2 * scale, (M - 1 - period / 2) * scale, lambda k: ops.exp(-(k**2))


@_window(one=True)
def kaiser(M: int, period: int, *, beta: float = 12.0) -> Any:
    """I0(beta sqrt(1 - x^2)) / I0(beta) for x from -1 to 1, I0 being a modified Bessel function.

    Parameters
    ----------
    M : int
        Length.
    beta : float
        How narrow it is.
    """
    if beta < 0:
        fail(ValueError, f"beta must be non-negative, got: {beta} instead.")
    last = min(beta, -beta + (M - 1) * 2 * beta / period) if period else beta

    def formula(k: Tensor) -> Tensor:
        size = ops.full((), float(beta), dtype=k.dtype)
        return ops.i0(ops.sqrt(ops.clamp(size * size - k * k, min=0))) / ops.i0(size)

    return -beta, last, formula


@_window(one=True)
def bartlett(M: int, period: int) -> Any:
    """1 - |x| for x from -1 to 1, a triangle.

    Parameters
    ----------
    M : int
        Length.
    """
    return -1, -1 + (M - 1) * 2 / max(period, 1), lambda k: 1 - ops.abs(k)


@_window(one=True)
def general_cosine(M: int, period: int, *, a: Iterable) -> Any:
    """The sum of (-1)^i a[i] cos(2 pi i n / (M - 1)).

    Parameters
    ----------
    M : int
        Length.
    a : sequence of float
        The weights of the cosines.

    Examples
    --------
    >>> import facula as torch
    >>> torch.signal.windows.general_cosine(5, a=[0.5, 0.5])
    tensor([0.0000, 0.5000, 1.0000, 0.5000, 0.0000])
    """
    if not isinstance(a, Iterable):
        fail(TypeError, "Coefficients must be a list/tuple")
    weights = list(a)
    if not weights:
        fail(ValueError, "Coefficients cannot be empty")

    def formula(k: Tensor) -> Tensor:
        signed = ops.tensor([(-1) ** i * w for i, w in enumerate(weights)], dtype=k.dtype)
        waves = ops.arange(len(weights), dtype=k.dtype)
        return (signed.unsqueeze(-1) * ops.cos(waves.unsqueeze(-1) * k)).sum(0)

    return 0, (M - 1) * 2 * math.pi / max(period, 1), formula


def _cosines(name: str, weights: tuple[float, ...], text: str) -> Callable[..., Tensor]:
    """A sum of cosines with a name."""

    def window(M: int, *, sym=True, dtype=None, layout=strided, device=None, requires_grad=False) -> Tensor:
        return general_cosine(
            M, a=weights, sym=sym, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad
        )

    window.__name__ = window.__qualname__ = name
    window.__doc__ = f"{text}\n\n    Parameters\n    ----------\n    M : int\n        Length.{_COMMON}"
    return window


def general_hamming(
    M: int, *, alpha: float = 0.54, sym: bool = True, dtype=None, layout=strided, device=None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """alpha - (1 - alpha) cos(2 pi n / (M - 1)): Hamming's window for 0.54, Hann's for 0.5."""
    return general_cosine(
        M, a=(alpha, 1 - alpha), sym=sym, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad
    )


hamming = _cosines("hamming", (0.54, 1 - 0.54), "0.54 - 0.46 cos(2 pi n / (M - 1)).")
hann = _cosines("hann", (0.5, 0.5), "1/2 - 1/2 cos(2 pi n / (M - 1)).")
blackman = _cosines("blackman", (0.42, 0.5, 0.08), "Blackman's sum of three cosines.")
nuttall = _cosines("nuttall", (0.3635819, 0.4891775, 0.1365995, 0.0106411), "Nuttall's sum of four cosines.")
