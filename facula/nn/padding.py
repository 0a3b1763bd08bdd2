"""Layers that add a border."""

from facula.core.tensor import Tensor
from facula.errors import fail

from . import functional as F
from .convolution import ntuple
from .module import Module

__all__ = [
    "CircularPad1d", "CircularPad2d", "CircularPad3d", "ConstantPad1d", "ConstantPad2d", "ConstantPad3d",
    "ReflectionPad1d", "ReflectionPad2d", "ReflectionPad3d", "ReplicationPad1d", "ReplicationPad2d", "ReplicationPad3d",
    "ZeroPad1d", "ZeroPad2d", "ZeroPad3d",
]  # fmt: skip


class _Pad(Module):
    """A border of sizes `padding`: (before, after) of the last dim, then of the one before it, ..."""

    dims: int
    mode: str

    def __init__(self, padding) -> None:
        super().__init__()
        self.padding = ntuple(padding, 2 * self.dims)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPadNd(_Pad):
    """A border of `value`."""

    def __init__(self, padding, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _ZeroPad(_ConstantPadNd):
    """A border of zeros."""

    def __init__(self, padding) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _CircularPadNd(_Pad):
    """A border that continues at the other end."""

    mode = "circular"

    def forward(self, input: Tensor) -> Tensor:
        allowed = (self.dims + 1, self.dims + 2)
        if input.dim() not in allowed:
            fail(ValueError, f"expected {allowed[0]}D or {allowed[1]}D input (got {input.dim()}D input)")
        return F.pad(input, self.padding, "circular")


class _ReflectionPadNd(_Pad):
    """A border that mirrors the inside, without the edge itself."""

    mode = "reflect"


class _ReplicationPadNd(_Pad):
    """A border that repeats the edge."""

    mode = "replicate"


class CircularPad1d(_CircularPadNd):
    """A border that continues at the other end, of (N, C, L) or (C, L)."""

    dims = 1


class CircularPad2d(_CircularPadNd):
    """A border that continues at the other end, of (N, C, H, W) or (C, H, W)."""

    dims = 2


class CircularPad3d(_CircularPadNd):
    """A border that continues at the other end, of (N, C, D, H, W) or (C, D, H, W)."""

    dims = 3


class ConstantPad1d(_ConstantPadNd):
    """A border of `value` around the last dim."""

    dims = 1


class ConstantPad2d(_ConstantPadNd):
    """A border of `value` around the last two dims."""

    dims = 2


class ConstantPad3d(_ConstantPadNd):
    """A border of `value` around the last three dims."""

    dims = 3


class ReflectionPad1d(_ReflectionPadNd):
    """A mirrored border of (N, C, L) or (C, L)."""

    dims = 1


class ReflectionPad2d(_ReflectionPadNd):
    """A mirrored border of (N, C, H, W) or (C, H, W)."""

    dims = 2


class ReflectionPad3d(_ReflectionPadNd):
    """A mirrored border of (N, C, D, H, W) or (C, D, H, W)."""

    dims = 3


class ReplicationPad1d(_ReplicationPadNd):
    """A border that repeats the edge of (N, C, L) or (C, L)."""

    dims = 1


class ReplicationPad2d(_ReplicationPadNd):
    """A border that repeats the edge of (N, C, H, W) or (C, H, W)."""

    dims = 2


class ReplicationPad3d(_ReplicationPadNd):
    """A border that repeats the edge of (N, C, D, H, W) or (C, D, H, W)."""

    dims = 3


class ZeroPad1d(_ZeroPad):
    """A border of zeros around the last dim."""

    dims = 1


class ZeroPad2d(_ZeroPad):
    """A border of zeros around the last two dims."""

    dims = 2


class ZeroPad3d(_ZeroPad):
    """A border of zeros around the last three dims."""

    dims = 3
