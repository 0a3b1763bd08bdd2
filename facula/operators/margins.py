"""Losses of pairs and triples, and of counts: compositions. `reduction` is a word, or PyTorch's number for it."""

import math

from facula.core.tensor import Tensor
from facula.errors import fail

from .distance import pairwise_distance
from .elementwise import minimum
from .public import where

__all__ = [
    "cosine_embedding_loss", "hinge_embedding_loss", "margin_ranking_loss", "poisson_nll_loss", "reduced",
    "triplet_margin_loss",
]  # fmt: skip

REDUCTIONS = ("none", "mean", "sum")


def reduced(loss: Tensor, reduction: str | int) -> Tensor:
    """The loss of all elements together, or as it is."""
    word = REDUCTIONS[reduction] if isinstance(reduction, int) else reduction
    return loss.mean() if word == "mean" else loss.sum() if word == "sum" else loss


def poisson_nll_loss(input, target, log_input: bool, full: bool, eps: float, reduction) -> Tensor:
    """exp(x) - y x, or x - y log(x + eps) without `log_input`; `full` adds Stirling's approximation of log(y!)."""
    loss = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        stirling = target * target.log() - target + 0.5 * (2 * math.pi * target).log()
        loss = loss + stirling.masked_fill(target <= 1, 0)
    return reduced(loss, reduction)


def margin_ranking_loss(input1, input2, target, margin: float = 0.0, reduction: str | int = 1) -> Tensor:
    """max(0, -y (x1 - x2) + margin)."""
    return reduced((-target * (input1 - input2) + margin).clamp_min(0), reduction)


def hinge_embedding_loss(input, target, margin: float = 1.0, reduction: str | int = 1) -> Tensor:
    """x where y = 1, max(0, margin - x) where y = -1."""
    apart = where(target != 1, (margin - input).clamp_min(0), 0)
    return reduced(apart + where(target != -1, input, 0), reduction)


def cosine_embedding_loss(input1, input2, target, margin: float = 0.0, reduction: str | int = 1) -> Tensor:
    """1 - cos(x1, x2) where y = 1, max(0, cos(x1, x2) - margin) where y = -1."""
    if target.dim() not in (0, 1):
        fail(RuntimeError, "0D or 1D target tensor expected, multi-target not supported", got=f"{target.dim()}D")
    if input1.dim() != target.dim() + 1 or input2.dim() != target.dim() + 1:
        fail(
            RuntimeError,
            f"{target.dim()}D target tensor expects {target.dim() + 1}D input tensors, but found inputs with sizes "
            f"{list(input1.shape)} and {list(input2.shape)}.",
        )
    tiny = 1e-12
    dot = (input1 * input2).sum(-1)
    cos = dot / (((input1 * input1).sum(-1) + tiny) * ((input2 * input2).sum(-1) + tiny)).sqrt()
    loss = where(target == 1, 1 - cos, 0.0) + where(target == -1, (cos - margin).clamp_min(0), 0.0)
    return reduced(loss, reduction)


def triplet_margin_loss(
    anchor, positive, negative, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False,
    reduction: str | int = 1,
) -> Tensor:  # fmt: skip
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), with d the `pairwise_distance`."""
    dims = [x.dim() for x in (anchor, positive, negative)]
    if len(set(dims)) > 1:
        fail(
            RuntimeError,
            "The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: "
            f"anchor {dims[0]}D, positive {dims[1]}D, and negative {dims[2]}D inputs",
        )
    if margin <= 0:
        fail(ValueError, f"margin must be greater than 0, got {margin}")
    near, far = pairwise_distance(anchor, positive, p, eps), pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = minimum(far, pairwise_distance(positive, negative, p, eps))
    return reduced((margin + near - far).clamp_min(0), reduction)
