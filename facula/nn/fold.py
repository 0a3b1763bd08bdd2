"""Images as columns of patches, and back."""

from facula.core.tensor import Tensor

from . import functional as F
from .module import Module

__all__ = ["Fold", "Unfold"]


class _Patches(Module):
    """What both share: the patches that a convolution with these options would see."""

    def __init__(self, kernel_size, dilation, padding, stride) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, stride={self.stride}"


class Fold(_Patches):
    """(N, C * prod(kernel_size), L) as (N, C, *output_size): each element the sum of the patches that hold it."""

    def __init__(self, output_size, kernel_size, dilation=1, padding=0, stride=1) -> None:
        super().__init__(kernel_size, dilation, padding, stride)
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}, {super().extra_repr()}"


class Unfold(_Patches):
    """(N, C, *sizes) as (N, C * prod(kernel_size), L), one column a patch."""

    def __init__(self, kernel_size, dilation=1, padding=0, stride=1) -> None:
        super().__init__(kernel_size, dilation, padding, stride)

    def forward(self, input: Tensor) -> Tensor:
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)
