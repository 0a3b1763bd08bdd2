"""Convolution layers."""

import math
from typing import Any

from facula.core.tensor import Tensor
from facula.errors import fail
from facula.operators import empty

from . import functional as F
from . import init
from .module import Module
from .parameter import Parameter

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


def ntuple(value: Any, n: int) -> tuple:
    """`value` n times, or as a tuple where it already is a sequence."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * n


class _ConvNd(Module):
    """What convolutions of any number of dims share.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, dilation : int or tuple
    padding : int, tuple, "same" or "valid"
        Border on both sides; "same" keeps the size.
    groups : int
        Channels are convolved in so many groups.
    bias : bool
    padding_mode : {"zeros", "reflect", "replicate", "circular"}

    Attributes
    ----------
    weight : Parameter
        (out_channels, in_channels / groups, *kernel_size), from U(-k, k) with
        k = sqrt(groups / (in_channels * prod(kernel_size))).
    bias : Parameter or None
        (out_channels,), drawn likewise.
    """

    dims: int
    transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size,
        stride=1,
        padding: Any = 0,
        dilation=1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device=None,
        dtype=None,
    ) -> None:
        super().__init__()
        if groups <= 0:
            fail(ValueError, "groups must be a positive integer", got=groups)
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups != 0:
                fail(ValueError, f"{name} must be divisible by groups", got=f"{channels} and {groups}")
        stride = ntuple(stride, self.dims)
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                fail(ValueError, f"Invalid padding string {padding!r}, should be one of " + "{'same', 'valid'}")
            if padding == "same" and any(s != 1 for s in stride):
                fail(ValueError, "padding='same' is not supported for strided convolutions")
        if padding_mode not in PADDING_MODES:
            fail(ValueError, f"padding_mode must be one of {set(PADDING_MODES)}, but got padding_mode='{padding_mode}'")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = ntuple(kernel_size, self.dims)
        self.stride = stride
        self.padding = padding if isinstance(padding, str) else ntuple(padding, self.dims)
        self.dilation = ntuple(dilation, self.dims)
        self.output_padding: tuple = (0,) * self.dims
        self.groups = groups
        self.padding_mode = padding_mode
        self._reversed_padding_repeated_twice = self._border()
        into, out = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        size = (into, out // groups, *self.kernel_size)
        self.weight = Parameter(empty(size, device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def _border(self) -> list[int]:
        """The padding as `functional.pad` takes it: before and after, last dim first."""
        if self.padding == "valid":
            pairs = [(0, 0)] * self.dims
        elif self.padding == "same":
            totals = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size)]
            pairs = [(total // 2, total - total // 2) for total in totals]
        else:
            pairs = [(p, p) for p in self.padding]
        return [size for pair in reversed(pairs) for size in pair]

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init._calculate_fan_in_and_fan_out(self.weight)
            bound = 1 / math.sqrt(fan_in) if fan_in > 0 else 0
            init.uniform_(self.bias, -bound, bound)

    def _bordered(self, input: Tensor) -> tuple[Tensor, Any]:
        """The input and the padding that is left for the convolution to add."""
        if self.padding_mode == "zeros":
            return input, self.padding
        return F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode), 0

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != (0,) * len(self.padding):
            text += f", padding={self.padding}"
        if self.dilation != (1,) * len(self.dilation):
            text += f", dilation={self.dilation}"
        if self.output_padding != (0,) * len(self.output_padding):
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


class _Convolution(_ConvNd):
    """A cross-correlation: input (N, C, *sizes) or (C, *sizes)."""

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight, self.bias)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        input, padding = self._bordered(input)
        return CONVOLUTIONS[self.dims](input, weight, bias, self.stride, padding, self.dilation, self.groups)


class Conv1d(_Convolution):
    """Cross-correlation of (N, C, L) or (C, L) with kernels of length `kernel_size`; parameters as `_ConvNd`."""

    dims = 1


class Conv2d(_Convolution):
    """Cross-correlation of (N, C, H, W) or (C, H, W) with kernels of size `kernel_size`; parameters as `_ConvNd`."""

    dims = 2


class Conv3d(_Convolution):
    """Cross-correlation of (N, C, D, H, W) or (C, D, H, W), kernels of size `kernel_size`; parameters as `_ConvNd`."""

    dims = 3


class _ConvTransposeNd(_ConvNd):
    """The gradient of a convolution as a layer (Zeiler et al., Deconvolutional Networks, 2010).

    Parameters
    ----------
    padding : int or tuple
        `dilation * (kernel_size - 1) - padding` zeros are added on both sides of the input.
    output_padding : int or tuple
        What is added to one side of the output, to choose among the sizes that a strided convolution maps to one.
    padding_mode : "zeros"

    Attributes
    ----------
    weight : Parameter
        (in_channels, out_channels / groups, *kernel_size).

    The others are those of `_ConvNd`.
    """

    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size,
        stride=1,
        padding: Any = 0,
        output_padding=0,
        groups: int = 1,
        bias: bool = True,
        dilation=1,
        padding_mode: str = "zeros",
        device=None,
        dtype=None,
    ) -> None:
        if padding_mode != "zeros":
            fail(ValueError, f'Only "zeros" padding mode is supported for {type(self).__name__}', got=padding_mode)
        super().__init__(
            in_channels, out_channels, kernel_size, stride, ntuple(padding, self.dims), dilation, groups, bias,
            padding_mode, device, dtype,
        )  # fmt: skip
        self.output_padding = ntuple(output_padding, self.dims)

    def forward(self, input: Tensor, output_size=None) -> Tensor:
        """The transposed convolution; `output_size` chooses `output_padding` for this call."""
        extra = self.output_padding if output_size is None else self._output_padding(input, list(output_size))
        return TRANSPOSED[self.dims](
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
        )

    def _output_padding(self, input: Tensor, size: list[int]) -> list[int]:
        """The padding of the output that gives it this size."""
        lead = 2 if input.dim() == self.dims + 2 else 1
        if len(size) == lead + self.dims:
            size = size[lead:]
        if len(size) != self.dims:
            fail(
                ValueError,
                f"ConvTranspose{self.dims}D: for {input.dim()}D input, output_size must have {self.dims} or "
                f"{lead + self.dims} elements (got {len(size)})",
            )
        least = [
            (n - 1) * step - 2 * border + reach * (width - 1) + 1
            for n, step, border, reach, width in zip(
                input.shape[lead:], self.stride, self.padding, self.dilation, self.kernel_size
            )
        ]
        most = [low + step - 1 for low, step in zip(least, self.stride)]
        if any(not low <= n <= high for n, low, high in zip(size, least, most)):
            fail(
                ValueError,
                f"requested an output size of {size}, but valid sizes range from {least} to {most} (for an input of "
                f"{input.shape[2:]})",
            )
        return [n - low for n, low in zip(size, least)]


class ConvTranspose1d(_ConvTransposeNd):
    """Transposed convolution of (N, C, L) or (C, L); parameters as `_ConvTransposeNd`."""

    dims = 1


class ConvTranspose2d(_ConvTransposeNd):
    """Transposed convolution of (N, C, H, W) or (C, H, W); parameters as `_ConvTransposeNd`."""

    dims = 2


class ConvTranspose3d(_ConvTransposeNd):
    """Transposed convolution of (N, C, D, H, W) or (C, D, H, W); parameters as `_ConvTransposeNd`."""

    dims = 3


CONVOLUTIONS: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED: dict[int, Any] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
