"""Distances and likenesses of vectors: one for each pair, or of all pairs of rows."""

import numpy as np

from facula.autograd.node import dtype_title
from facula.core.tensor import Tensor
from facula.errors import fail

from .creation import array_on
from .indexing import index_select
from .promotion import result_type
from .reduction import norm
from .view import broadcast_tensors

__all__ = ["cosine_similarity", "pairwise_distance", "pdist"]


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """|x1 - x2 + eps|_p along the last dim."""
    return norm(x1 - x2 + eps, p, -1, keepdim=keepdim)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 . x2 / (max(|x1|, eps) * max(|x2|, eps)) along `dim`."""
    common = result_type((x1.spec, x2.spec))
    if common.kind != "f":
        fail(RuntimeError, f"expected common dtype to be floating point, yet common dtype is {dtype_title(common)}")
    x1, x2 = broadcast_tensors(x1.to(common), x2.to(common))
    unit1 = x1 / norm(x1, 2, dim, keepdim=True).clamp_min(eps)
    unit2 = x2 / norm(x2, 2, dim, keepdim=True).clamp_min(eps)
    return (unit1 * unit2).sum(dim)


def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The distances |x_i - x_j|_p of all pairs i < j of rows of (N, M)."""
    s = input.spec
    if s.ndim != 2:
        fail(RuntimeError, f"pdist only supports 2D tensors, got: {s.ndim}D")
    if s.dtype.kind != "f":
        fail(RuntimeError, "pdist only supports floating-point dtypes", got=dtype_title(s.dtype))
    if s.dtype.itemsize < 4:
        fail(NotImplementedError, f"\"pdist\" not implemented for '{dtype_title(s.dtype)}'")
    if p < 0:
        fail(RuntimeError, "pdist only supports non-negative p values", got=p)
    first, second = np.triu_indices(s.shape[0], 1)
    if not s.shape[1]:
        return input.new_zeros((len(first),))
    left, right = array_on(first, s.device), array_on(second, s.device)
    return norm(index_select(input, 0, left) - index_select(input, 0, right), float(p), -1)
