"""`torch.nn.grad`: the gradients of convolutions, one at a time."""

from typing import Any

from facula import operators as ops
from facula.autograd import enable_grad, grad
from facula.core.tensor import Tensor

__all__ = ["conv1d_input", "conv1d_weight", "conv2d_input", "conv2d_weight", "conv3d_input", "conv3d_weight"]


def _gradient(convolution, operands, which: int, grad_output: Tensor, options) -> Tensor:
    operands = [x.detach() for x in operands]
    wanted = operands[which].requires_grad_()
    with enable_grad():
        output = convolution(*operands, None, *options)
    (found,) = grad(output, [wanted], grad_output)
    assert found is not None
    return found


def _of_input(dims: int) -> Any:
    convolution = (ops.conv1d, ops.conv2d, ops.conv3d)[dims - 1]

    def gradient(input_size, weight, grad_output, stride=1, padding=0, dilation=1, groups=1):
        input = ops.zeros(tuple(input_size), dtype=grad_output.dtype, device=grad_output.device)
        return _gradient(convolution, (input, weight), 0, grad_output, (stride, padding, dilation, groups))

    gradient.__name__ = gradient.__qualname__ = f"conv{dims}d_input"
    gradient.__doc__ = f"The gradient of `conv{dims}d` in its input, of size `input_size`."
    return gradient


def _of_weight(dims: int) -> Any:
    convolution = (ops.conv1d, ops.conv2d, ops.conv3d)[dims - 1]

    def gradient(input, weight_size, grad_output, stride=1, padding=0, dilation=1, groups=1):
        weight = ops.zeros(tuple(weight_size), dtype=grad_output.dtype, device=grad_output.device)
        return _gradient(convolution, (input, weight), 1, grad_output, (stride, padding, dilation, groups))

    gradient.__name__ = gradient.__qualname__ = f"conv{dims}d_weight"
    gradient.__doc__ = f"The gradient of `conv{dims}d` in its weight, of size `weight_size`."
    return gradient


conv1d_input, conv2d_input, conv3d_input = (_of_input(dims) for dims in (1, 2, 3))
conv1d_weight, conv2d_weight, conv3d_weight = (_of_weight(dims) for dims in (1, 2, 3))
