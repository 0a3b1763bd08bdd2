"""Batch norm of evaluation folded into the layer before it: W' = W g / s, b' = (b - mean) g / s + bias."""

import copy
from typing import Any

from facula.core.tensor import Tensor
from facula.errors import fail
from facula.operators import ones_like, rsqrt, zeros_like

from ..parameter import Parameter

__all__ = ["fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights"]


def _fused(w, b, mean, var, eps, factor, bias, shape) -> tuple[Parameter, Parameter]:
    dtype, trained = w.dtype, b is not None and b.requires_grad
    b_dtype = dtype if b is None else b.dtype
    b = zeros_like(mean) if b is None else b
    factor = ones_like(mean) if factor is None else factor
    bias = zeros_like(mean) if bias is None else bias
    scale = factor * rsqrt(var + eps)
    return (
        Parameter((w * scale.reshape(shape)).to(dtype), w.requires_grad),
        Parameter(((b - mean) * scale + bias).to(b_dtype), trained),
    )


def _checked(layer, bn) -> Any:
    """A copy of the layer."""
    if layer.training or bn.training:
        fail(AssertionError, "Fusion only for eval!", mend="call .eval() first")
    if bn.running_mean is None or bn.running_var is None:
        fail(AssertionError, "bn.running_mean and bn.running_var must not be None")
    return copy.deepcopy(layer)


def fuse_conv_bn_eval(conv, bn, transpose: bool = False):
    """A convolution that does what `conv` and then `bn` do in evaluation; `transpose` for transposed ones."""
    fused = _checked(conv, bn)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, transpose
    )
    return fused


def fuse_conv_bn_weights(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of the convolution that does both."""
    shape = [1, -1] if transpose else [-1, 1]
    shape += [1] * (conv_w.dim() - 2)
    return _fused(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, shape)


def fuse_linear_bn_eval(linear, bn):
    """A linear layer that does what `linear` and then `bn` do in evaluation."""
    fused = _checked(linear, bn)
    if bn.num_features not in (linear.out_features, 1):
        fail(
            AssertionError,
            "To fuse, linear.out_features == bn.num_features or bn.num_features == 1, got "
            f"linear.out_features={linear.out_features} and bn.num_features={bn.num_features}",
        )
    fused.weight, fused.bias = fuse_linear_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    )
    return fused


def fuse_linear_bn_weights(
    linear_w: Tensor,
    linear_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor,
    bn_b: Tensor,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of the linear layer that does both."""
    return _fused(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, [-1, 1])
