"""Rows of Fourier transforms."""

import numpy as np

from .samples_linalg import SHORT, WHOLE
from .table import D, bad, row, s, t

SINGLE = {"float32": (1e-5, 1e-5), "complex64": (1e-5, 1e-5)}
ANY = {"kinds": "fc", "refused": SHORT, "more": (*WHOLE, "bool"), "method": False, "tolerance": SINGLE,
       "strides": False}  # fmt: skip
REAL = {**ANY, "kinds": "f"}
X, STACK = t(3, 6), t(2, 3, 4)


def calls(*sizes):
    """Samples of a transform over one dim."""
    return [s(X), *(s(X, n) for n in sizes), s(X, dim=0), s(X, 5, 1, "ortho"), s(X, norm="forward"), s(t(5))]


def over(*sizes):
    """Samples of a transform over several dims."""
    return [s(STACK), *(s(STACK, n) for n in sizes), s(STACK, dim=(0, 2)), s(STACK, (3, 3), (-1, 0), "ortho")]


def by_numpy(name: str):
    """NumPy's function with PyTorch's names."""
    return lambda x, n=None, dim=-1, norm=None: getattr(np.fft, name)(x, n, dim, norm)


NO_POINTS = bad(RuntimeError, "Invalid number of data points (0) specified", X, 0)
NO_NORM = bad(RuntimeError, 'Invalid normalization mode: "x"', X, norm="x")
UNIQUE = bad(RuntimeError, "FFT dims must be unique", STACK, dim=(1, 1))
LENGTHS = bad(RuntimeError, "When given, dim and shape arguments must have the same length", STACK, (2,), (0, 1))

for name in ("fft", "ifft"):
    row(f"fft.{name}", calls(4, 9), numpy=by_numpy(name), errors=[NO_POINTS, NO_NORM],
        covers=("fft_c2c",), **ANY)  # fmt: skip
for name in ("irfft", "hfft"):
    row(f"fft.{name}", calls(4, 9), covers=("fft_c2r",), errors=[NO_POINTS, NO_NORM], **ANY)
for name in ("rfft", "ihfft"):
    row(f"fft.{name}", calls(4, 9), numpy=by_numpy(name), covers=("fft_r2c",), errors=[NO_POINTS, NO_NORM],
        **REAL)  # fmt: skip
for name in ("fftn", "ifftn", "fft2", "ifft2"):
    row(f"fft.{name}", over((2, 5)), errors=[UNIQUE, LENGTHS], **ANY)
for name in ("irfftn", "hfftn", "irfft2", "hfft2"):
    row(f"fft.{name}", over((2, 5)), errors=[UNIQUE], **ANY)
for name in ("rfftn", "ihfftn", "rfft2", "ihfft2"):
    row(f"fft.{name}", over((2, 5)), errors=[UNIQUE], **REAL)
for name in ("fftshift", "ifftshift"):
    row(f"fft.{name}", [s(t(5)), s(t(3, 4)), s(t(3, 4), 1), s(t(3, 4), (0, 1))], out=False, method=False,
        numpy=getattr(np.fft, name))  # fmt: skip
for name in ("fftfreq", "rfftfreq"):
    row(f"fft.{name}", [s(5), s(6, 0.5), s(4, dtype=D("float64"))], "f", grad=False, method=False,
        out=name != "fftfreq")  # fmt: skip
WINDOW = t(8, low=0.5, high=1.0)
row("stft", [s(t(2, 30), 8, window=WINDOW, return_complex=True), s(t(20), 8, 3, 6, return_complex=True),
    s(t(20), 8, center=False, normalized=True, onesided=False, return_complex=True),
    s(t(20), 8, return_complex=False)], "fc", refused=SHORT, out=False, tolerance=SINGLE,
    errors=[bad(RuntimeError, "stft requires the return_complex parameter", t(20), 8)])  # fmt: skip
row("istft", [s(t(2, 5, 6, dtype="complex128"), 8, window=t(8, dtype="float64", low=0.5, high=1.0)),
    s(t(5, 6, dtype="complex128"), 8, length=17)], "c", refused=("complex64",), more=("complex64",), out=False,
    errors=[bad(RuntimeError, "istft requires a complex-valued", t(5, 6, dtype="float32"), 8)])  # fmt: skip
