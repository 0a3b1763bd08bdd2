"""Cross-entropy of a linear layer, without ever making all of its logits."""

import math
import warnings
from dataclasses import dataclass
from typing import Any

from facula import operators as ops
from facula.autograd import Function, enable_grad, grad, is_grad_enabled
from facula.core import dtype as dt
from facula.core.dtype import dtype as DType
from facula.core.tensor import Tensor
from facula.errors import fail

__all__ = ["LinearCrossEntropyOptions", "linear_cross_entropy"]

HALF = (dt.float16, dt.bfloat16)


@dataclass(slots=True, frozen=True)
class LinearCrossEntropyOptions:
    """How `linear_cross_entropy` cuts a batch into chunks; the logits of one chunk exist at a time.

    Attributes
    ----------
    allow_retain_graph : bool
        Accepted: a chunk's logits are computed anew in backward, so that a graph may always be retained.
    batch_chunk_size : int, optional
        Rows of a chunk.
    chunking_method : {"auto", "aspect_ratio", "aspect_ratio:N", None}
        How the number of rows is chosen: a chunk's logits take as much memory as the input, or 1 / N of it.
    acc_policy : {"auto", "accurate", "balanced", "compact"}
        Accepted: there is one way, the accurate one.
    acc_dtype : dtype, optional
        In which logits and losses are computed; float32 for 16-bit inputs unless given.
    """

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: str = "auto"
    acc_dtype: DType | None = None

    def __post_init__(self):
        if self.acc_policy not in ("auto", "accurate", "balanced", "compact"):
            fail(ValueError, f"invalid acc_policy: {self.acc_policy!r}")
        if self.chunking_method not in (None, "auto"):
            name, colon, factor = self.chunking_method.partition(":")
            if name != "aspect_ratio" or colon and not (factor.isdigit() and int(factor) > 0):
                fail(ValueError, f"invalid chunking_method: {self.chunking_method!r}")
        size = self.batch_chunk_size
        if size is not None and not (isinstance(size, int) and size > 0):
            fail(ValueError, f"batch_chunk_size must be positive int or None, got {size!r}")
        if self.acc_dtype is not None and self.acc_dtype not in (*HALF, dt.float32, dt.float64):
            fail(
                ValueError,
                "acc_dtype must be one of {None, torch.float16, torch.bfloat16, torch.float32, torch.float64}, got "
                f"{self.acc_dtype!r}. Pass acc_dtype=None to let the op pick automatically.",
            )

    def rows(self, batch: int, features: int, classes: int) -> int:
        """Of a chunk."""
        size, method = self.batch_chunk_size, self.chunking_method
        if method == "auto":
            method = None if size is not None else "aspect_ratio:2"
        if method is None:
            return max(1, batch if size is None else min(size, batch))
        target = math.ceil(batch / math.ceil(classes / features))
        chosen = min((1 << max(target - 1, 0).bit_length()) // int(method.partition(":")[2] or 1), batch)
        if size is not None and size != chosen:
            fail(
                ValueError,
                f"batch_chunk_size (={size}) and chunking_method ('{method}') give different chunk sizes ({size} vs "
                f"{chosen}); pass only one.",
            )
        return max(1, chosen)


def _losses(input, weight, bias, target, class_weight, ignore_index, dtype) -> Tensor:
    logits = ops.linear(input, weight, bias).to(dtype)
    factors = None if class_weight is None else class_weight.to(dtype)
    return ops.cross_entropy_loss(logits, target, factors, "none", ignore_index, 0.0).to(input.dtype)


class _Chunk(Function):
    """The losses of some rows, whose logits are computed again in backward."""

    @staticmethod
    def forward(ctx, input, weight, bias, *given):
        ctx.save_for_backward(input, weight, bias)
        ctx.given = given
        return _losses(input, weight, bias, *given)

    @staticmethod
    def backward(ctx, grad_losses):
        again = is_grad_enabled()  # somebody wants the gradient of this gradient
        with enable_grad():
            operands = [
                x if x is None or again else x.detach().requires_grad_(need)
                for x, need in zip(ctx.saved_tensors, ctx.needs_input_grad)
            ]
            losses = _losses(*operands, *ctx.given)
        wanted = [x for x, need in zip(operands, ctx.needs_input_grad) if need]
        found = iter(grad(losses, wanted, grad_losses, create_graph=again))
        grads = [next(found) if need else None for need in ctx.needs_input_grad[: len(operands)]]
        return (*grads, *(None for _ in ctx.given))


def _in_chunks(input, weight, target, bias, class_weight, reduction, ignore_index, options) -> Tensor:
    batch = input.shape[0]
    size = options.rows(batch, input.shape[-1], weight.shape[0])
    dtype = options.acc_dtype or (dt.float32 if input.dtype in HALF else input.dtype)
    hidden = any(x is not None and x.spec.kind is not None for x in (input, weight, target, bias))
    losses = _losses if hidden else _Chunk.apply  # function transforms follow operators
    parts: list[Any] = [
        losses(rows, weight, bias, targets, class_weight, ignore_index, dtype)
        for rows, targets in zip(input.split(size), target.split(size))
    ]
    losses = ops.cat(parts)
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    counts = target != ignore_index
    if class_weight is None:
        return losses.sum() / counts.sum()
    return losses.sum() / class_weight[ops.where(counts, target, 0)].mul(counts).sum()


def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: LinearCrossEntropyOptions | None = None,
) -> Tensor:
    """`cross_entropy(linear(input, linear_weight, linear_bias), target)`.

    Parameters
    ----------
    input : Tensor
        (N, in_features), or without the dim N.
    linear_weight, linear_bias : Tensor
        (C, d1, ..., in_features) and (C, d1, ...).
    target, weight, reduction, ignore_index, label_smoothing
        As `cross_entropy`.
    options : LinearCrossEntropyOptions, optional
        Work in chunks, so that the logits of the whole batch never exist at a time.
    """
    if input.dim() not in (1, 2):
        fail(RuntimeError, f"expected input with dimensionality 1 or 2, got {input.dim()}")
    if linear_weight.dim() < 2:
        fail(RuntimeError, f"expected linear_weight with dimensionality at least 2, got {linear_weight.dim()}")
    features = input.shape[-1]
    if features != linear_weight.shape[-1]:
        fail(
            RuntimeError,
            f"expected equal input and linear_weight last dimensions (in_features), got {features} and "
            f"{linear_weight.shape[-1]}, respectively",
        )
    outputs = tuple(linear_weight.shape[:-1])
    if linear_bias is not None and tuple(linear_bias.shape) != outputs:
        fail(RuntimeError, f"expected linear_bias shape {outputs}, got {tuple(linear_bias.shape)}")
    if len(outputs) > 1 and input.dim() == 1:
        fail(
            RuntimeError,
            f"K-dimensional loss defined by linear_weight shape {tuple(linear_weight.shape)} requires batched input, "
            f"(N, {features}), got unbatched input with shape {tuple(input.shape)}",
        )
    shape = (*input.shape[:-1], *outputs)
    if tuple(target.shape) == shape and ignore_index is not None:
        fail(RuntimeError, "ignore_index cannot be specified when target contains probabilities")
    ignore_index = -100 if ignore_index is None else ignore_index

    if options is not None:
        if label_smoothing == 0.0 and target.dtype is dt.int64 and len(outputs) == 1:
            if reduction not in ("none", "mean", "sum"):
                fail(ValueError, f"{reduction} is not a valid value for reduction", expected="none, mean or sum")
            if input.dim() == 2:
                return _in_chunks(input, linear_weight, target, linear_bias, weight, reduction, ignore_index, options)
            rows = input.unsqueeze(0), linear_weight, target.unsqueeze(0)
            loss = _in_chunks(*rows, linear_bias, weight, reduction, ignore_index, options)
            return loss.squeeze(0) if reduction == "none" else loss
        warnings.warn(
            "linear_cross_entropy: ``options`` ignored; chunked path needs reduction in {'mean','sum','none'}, "
            f"label_smoothing == 0, target.dtype == int64, out_features == (). Got reduction={reduction!r}, "
            f"label_smoothing={label_smoothing}, target.dtype={target.dtype}, out_features={outputs[1:]}",
            stacklevel=2,
        )
    flat = math.prod(outputs)
    bias = None if linear_bias is None else linear_bias.reshape(flat)
    logits = ops.linear(input, linear_weight.reshape(flat, features), bias).reshape(shape)
    return ops.cross_entropy_loss(logits, target, weight, reduction, ignore_index, label_smoothing)
