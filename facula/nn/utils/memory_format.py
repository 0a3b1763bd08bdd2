"""Convolution weights in another order in memory."""

from facula.autograd import no_grad

from ..convolution import Conv2d, Conv3d, ConvTranspose2d, ConvTranspose3d
from ..module import Module

__all__ = ["convert_conv2d_weight_memory_format", "convert_conv3d_weight_memory_format"]


def _convert(module: Module, kinds: tuple[type, ...], memory_format) -> None:
    for layer in module.modules():
        if isinstance(layer, kinds):
            with no_grad():
                layer.weight.data = layer.weight.detach().contiguous(memory_format=memory_format)


def convert_conv2d_weight_memory_format(module, memory_format):
    """Lay out the weights of all two-dimensional convolutions in `memory_format`."""
    _convert(module, (Conv2d, ConvTranspose2d), memory_format)
    return module


def convert_conv3d_weight_memory_format(module, memory_format):
    """Lay out the weights of all three-dimensional convolutions in `memory_format`."""
    _convert(module, (Conv3d, ConvTranspose3d), memory_format)
    return module
