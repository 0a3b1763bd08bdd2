"""Dropout and its kin: PyTorch's random draws for a seed, bit for bit, then one multiplication.

A target that has the routine `dropout` draws and multiplies at once, as PyTorch does on GPUs, and keeps the mask.
"""

import math
from functools import lru_cache

import numpy as np

from facula import launch
from facula.autograd.node import dtype_title
from facula.core import dtype as dt
from facula.core.spec import Spec, dense
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.ir import expr as ir

from .copying import contiguous, dense_order, like_layout
from .declare import function, traced
from .elementwise import add, mul
from .random import _generator, batched, bernoulli_, filled_bernoulli

__all__ = [
    "alpha_dropout", "alpha_dropout_", "dropout", "dropout_", "feature_alpha_dropout", "feature_alpha_dropout_",
    "feature_dropout", "feature_dropout_", "native_dropout",
]  # fmt: skip

SELU_LIMIT = 1.7580993408473766  # -SELU(-inf): what alpha dropout drops to


@traced(keep=("mask",), kinds="f")
def masked_scale(input, mask, *, scale):
    """Elements where the mask is true, times a number; 0 elsewhere."""
    return ir.cast(mask, input.dtype) * input * scale


@masked_scale.gradient("input")
def _(grad, mask, scale):
    return ir.cast(mask, grad.dtype) * grad * scale


@lru_cache(4096)
def _layouts(s: Spec) -> tuple[Spec, Spec, bool]:
    """The specs of result and mask, and whether the input's elements lie without gaps."""
    dense = dense_order(s) is not None
    return like_layout(s), like_layout(s, dt.bool_), dense


@function(tensors=("input",), outputs=("result", "mask"), fill=False)
def dropped(input, p):
    """Each element 0 with chance `p`, else divided by `1 - p`; and the mask of those that were kept."""
    s = input.spec
    layout, bools, dense = _layouts(s)
    if not dense:  # PyTorch's kernel, too, takes its elements in their order, one by one
        input = contiguous(input)
    made, mask = launch.empty(layout), launch.empty(bools)
    draw, generator = launch.native("dropout", s.device), _generator(None, s.device)
    draw(made.ptr, mask.ptr, input.ptr, s.numel, s.dtype.code, generator, 1 - p, dense)
    return made, mask


@dropped.gradient("input")
def _(grad_result, mask, p):
    return masked_scale(grad_result, mask, scale=1 / (1 - p))


dropped.operator.node_class.__name__ = "NativeDropoutBackward0"


def _noise(input: Tensor, feature: bool) -> Tensor:
    """Memory for the noise: in the layout of the input, or one number for each channel of each sample."""
    if not feature:
        return launch.empty(like_layout(input.spec))
    s = input.spec
    if s.ndim < 2:
        fail(RuntimeError, "Feature dropout requires at least 2 dimensions in the input")
    return launch.empty(dense(s.dtype, (*s.shape[:2], *[1] * (s.ndim - 2)), s.device))


def _scale(kept: float, kind) -> float:
    """1 / kept as PyTorch computes it for a dtype."""
    return 1 / kept if kind is dt.float64 else float(np.float32(1) / np.float32(kept))


def _form(name: str, feature: bool, alpha: bool, text: str):
    """The function and its in-place form."""

    def run(input: Tensor, p: float, train: bool, in_place: bool) -> Tensor:
        if not 0 <= p <= 1:
            fail(RuntimeError, f"dropout probability has to be between 0 and 1, but got {p:g}")
        if p == 0 or not train or input.spec.numel == 0:
            return input
        times = mul.operator.in_place if in_place else mul
        kind = input.spec.dtype
        if p == 1:
            return times(input, _zero(kind))
        if kind.kind == "c":
            fail(NotImplementedError, f"\"bernoulli_scalar_cpu_\" not implemented for '{dtype_title(kind)}'")
        if kind.kind != "f":
            fail(
                RuntimeError,
                f"result type Float can't be cast to the desired output type {dtype_title(kind)}",
                mend="input.float()",
            )
        if not (feature or alpha or in_place) and launch.offered("dropout", input.spec.device) and not batched():
            return dropped(input, p)[0]
        noise = _noise(input, feature)
        if not alpha:
            return times(input, filled_bernoulli(noise, 1 - p, _scale(1 - p, kind)))
        bernoulli_(noise, 1 - p)
        a = 1 / math.sqrt((SELU_LIMIT * SELU_LIMIT * p + 1) * (1 - p))
        shift = noise.add(-1).mul_(SELU_LIMIT * a).add_(SELU_LIMIT * a * p)
        return add.operator.in_place(times(input, noise.mul_(a)), shift)

    def entry(input, p=0.5, train=True):
        return run(input, p, train, False)

    def over(input, p=0.5, train=True):
        return run(input, p, train, True)

    entry.__name__ = entry.__qualname__ = name
    over.__name__ = over.__qualname__ = name + "_"
    entry.__doc__, over.__doc__ = text, f"`{name}` over the tensor's own elements."
    return entry, over


def _zero(kind) -> Tensor:
    from .creation import zeros_of

    return zeros_of(dense(kind, ()))


dropout, dropout_ = _form(
    "dropout",
    False,
    False,
    """Each element 0 with chance `p`, else divided by `1 - p`; the input itself when not training.""",
)
feature_dropout, feature_dropout_ = _form(
    "feature_dropout", True, False, """`dropout` of whole channels of (N, C, ...)."""
)
alpha_dropout, alpha_dropout_ = _form(
    "alpha_dropout", False, True, """Dropout that keeps mean and variance of SELU activations."""
)
feature_alpha_dropout, feature_alpha_dropout_ = _form(
    "feature_alpha_dropout", True, True, """`alpha_dropout` of whole channels of (N, C, ...)."""
)


def native_dropout(input: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
    """(`dropout`, the mask of what was kept)."""
    s = input.spec
    mask = launch.empty(dense(dt.bool_, s.shape, s.device))
    if train is False:
        return input.clone(), mask.fill_(True)
    if p < 1 and s.numel and launch.offered("dropout", s.device) and not batched():
        return dropped(input, p)
    bernoulli_(mask, 1 - p)
    return mul(mul(input, mask), 0 if p == 1 else 1 / (1 - p)), mask
