"""`torch.signal.windows`: weights of the numbers of a frame, symmetric unless `sym` is false (then periodic)."""

import math
from collections.abc import Callable, Iterable

from facula import operators as ops
from facula.alias import getattr_for as _getattr_for
from facula.core import dtype as dt
from facula.core.layout import strided
from facula.core.tensor import Tensor
from facula.errors import fail

__all__ = [
    "bartlett", "blackman", "cosine", "exponential", "gaussian", "general_cosine", "general_hamming", "hamming", "hann",
    "kaiser", "nuttall",
]  # fmt: skip

__getattr__ = _getattr_for(__name__)


def _checked(name: str, M: int, dtype, layout):
    """The dtype of a window; ValueError where there is no such window."""
    dtype = dtype or ops.get_default_dtype()
    if M < 0:
        fail(ValueError, f"{name} requires non-negative window length, got M={M}")
    if layout is not None and layout is not strided:
        fail(ValueError, f"{name} is implemented for strided tensors only, got: {layout}")
    if dtype not in (dt.float32, dt.float64):
        fail(ValueError, f"{name} expects float32 or float64 dtypes, got: {dtype}")
    return dtype


def _window(M: int, first: float, step: float, shape: Callable, dtype, device, requires_grad, one: bool) -> Tensor:
    """`shape` of the M numbers from `first * step` on, `step` apart; a window of one number is 1 where `one` holds."""
    if M == 0 or (M == 1 and one):
        return ops.ones((M,), dtype=dtype, device=device, requires_grad=requires_grad)
    end = (first + (M - 1)) * step
    return shape(ops.linspace(first * step, end, M, dtype=dtype, device=device, requires_grad=requires_grad))


def exponential(
    M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True, dtype=None, layout=None, device=None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """`exp(-abs(n - center) / tau)`; the centre is the middle unless told otherwise."""
    dtype = _checked("exponential", M, dtype, layout)
    if tau <= 0:
        fail(ValueError, f"Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        fail(ValueError, "Center must be None for symmetric windows")
    center = (M if not sym and M > 1 else M - 1) / 2.0 if center is None else center
    return _window(M, -center, 1 / tau, lambda k: ops.exp(-ops.abs(k)), dtype, device, requires_grad, False)


def cosine(M: int, *, sym: bool = True, dtype=None, layout=None, device=None, requires_grad: bool = False) -> Tensor:
    """`sin(pi (n + 1/2) / M)`."""
    dtype = _checked("cosine", M, dtype, layout)
    step = math.pi / (M + 1 if not sym and M > 1 else max(M, 1))
    return _window(M, 0.5, step, ops.sin, dtype, device, requires_grad, False)


def gaussian(
    M: int, *, std: float = 1.0, sym: bool = True, dtype=None, layout=None, device=None, requires_grad: bool = False
) -> Tensor:
    """`exp(-(n - middle)**2 / (2 std**2))`."""
    dtype = _checked("gaussian", M, dtype, layout)
    if std <= 0:
        fail(ValueError, f"Standard deviation must be positive, got: {std} instead.")
    first = -(M if not sym and M > 1 else M - 1) / 2.0
    shape = lambda k: ops.exp(-ops.square(k))  # noqa: E731
    return _window(M, first, 1 / (std * math.sqrt(2)), shape, dtype, device, requires_grad, False)


def kaiser(
    M: int, *, beta: float = 12.0, sym: bool = True, dtype=None, layout=None, device=None, requires_grad: bool = False
) -> Tensor:
    """`i0(beta sqrt(1 - x**2)) / i0(beta)` for x from -1 to 1."""
    dtype = _checked("kaiser", M, dtype, layout)
    if beta < 0:
        fail(ValueError, f"beta must be non-negative, got: {beta} instead.")
    if M <= 1:
        return ops.ones((M,), dtype=dtype, device=device, requires_grad=requires_grad)
    top = ops.tensor(float(beta), dtype=dtype, device=device)
    step = top * 2.0 / (M - 1 if sym else M)
    end = ops.minimum(top, (M - 1) * step - top)
    k = ops.linspace(-top, end, M, dtype=dtype, device=device, requires_grad=requires_grad)
    return ops.i0(ops.sqrt(top * top - ops.square(k))) / ops.i0(top)


def bartlett(M: int, *, sym: bool = True, dtype=None, layout=None, device=None, requires_grad: bool = False) -> Tensor:
    """A triangle: `1 - abs(x)` for x from -1 to 1."""
    dtype = _checked("bartlett", M, dtype, layout)
    if M <= 1:
        return ops.ones((M,), dtype=dtype, device=device, requires_grad=requires_grad)
    end = -1 + (M - 1) * (2 / (M - 1 if sym else M))
    return 1 - ops.abs(ops.linspace(-1, end, M, dtype=dtype, device=device, requires_grad=requires_grad))


def general_cosine(
    M: int, *, a: Iterable, sym: bool = True, dtype=None, layout=None, device=None, requires_grad: bool = False
) -> Tensor:
    """`a[0] - a[1] cos(x) + a[2] cos(2x) - ...` for x from 0 to 2 pi."""
    dtype = _checked("general_cosine", M, dtype, layout)
    if M > 1 and not isinstance(a, Iterable):
        fail(TypeError, "Coefficients must be a list/tuple")
    if M > 1 and not a:
        fail(ValueError, "Coefficients cannot be empty")

    def shape(k: Tensor) -> Tensor:
        signed = [(-1) ** i * w for i, w in enumerate(a)]
        factors = ops.tensor(signed, dtype=dtype, device=device, requires_grad=requires_grad)
        orders = ops.arange(len(signed), dtype=dtype, device=device)
        waves = ops.cos(ops.unsqueeze(orders, -1) * k)
        return ops.sum(ops.unsqueeze(factors, -1) * waves, 0)

    step = 2 * math.pi / max(M - 1 if sym else M, 1)
    return _window(M, 0, step, shape, dtype, device, requires_grad, True)


def general_hamming(
    M: int, *, alpha: float = 0.54, sym: bool = True, dtype=None, layout=None, device=None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """`alpha - (1 - alpha) cos(x)` for x from 0 to 2 pi."""
    given = {"sym": sym, "dtype": dtype, "layout": layout, "device": device, "requires_grad": requires_grad}
    return general_cosine(M, a=[alpha, 1.0 - alpha], **given)


def _of_cosines(name: str, text: str, *a: float) -> Callable:
    def entry(M: int, *, sym: bool = True, dtype=None, layout=None, device=None, requires_grad: bool = False) -> Tensor:
        given = {"sym": sym, "dtype": dtype, "layout": layout, "device": device, "requires_grad": requires_grad}
        return general_cosine(M, a=a, **given)

    entry.__name__ = entry.__qualname__ = name
    entry.__doc__ = text
    return entry


hamming = _of_cosines("hamming", "`0.54 - 0.46 cos(x)`.", 0.54, 1.0 - 0.54)
hann = _of_cosines("hann", "`0.5 - 0.5 cos(x)`.", 0.5, 0.5)
blackman = _of_cosines("blackman", "`0.42 - 0.5 cos(x) + 0.08 cos(2x)`.", 0.42, 0.5, 0.08)
nuttall = _of_cosines(
    "nuttall", "A sum of four cosines with very low side lobes.", 0.3635819, 0.4891775, 0.1365995, 0.0106411
)
