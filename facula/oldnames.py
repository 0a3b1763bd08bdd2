"""Old names of `torch`, and what it says of how PyTorch was built; imported when first used."""

from facula.constants import contiguous_format
from facula.core.tensor import Tensor
from facula.operators import linalg
from facula.operators.linalg import orgqr
from facula.operators.storages import FloatStorage as Storage  # pyright: ignore[reportAttributeAccessIssue]

__all__ = [
    "frobenius_norm", "has_lapack", "has_mkl", "has_openmp", "has_spectral", "legacy_contiguous_format",
    "norm_except_dim", "nuclear_norm", "orgqr", "Storage",
]  # fmt: skip

has_lapack, has_mkl, has_openmp, has_spectral = True, False, False, True  # NumPy's LAPACK and FFT
legacy_contiguous_format = contiguous_format


def frobenius_norm(input: Tensor, dim, keepdim: bool = False, *, out: Tensor | None = None) -> Tensor:
    """The square root of the sum of squares over dims (all of them for none)."""
    made = linalg.vector_norm(input, 2, tuple(dim) if not isinstance(dim, int) and dim else dim or None, keepdim)
    return made if out is None else out.resize_(made.shape).copy_(made)


def nuclear_norm(input: Tensor, dim=None, keepdim: bool = False, *, out: Tensor | None = None) -> Tensor:
    """The sum of the singular values of matrices in two dims, by default the last ones."""
    made = linalg.matrix_norm(input, "nuc", (-2, -1) if dim is None else tuple(dim), keepdim)
    return made if out is None else out.resize_(made.shape).copy_(made)


def norm_except_dim(v: Tensor, pow: int = 2, dim: int = 0) -> Tensor:
    """The norm over all dims but one, which stay with size 1: what `weight_norm` divides by.

    Examples
    --------
    >>> import facula as torch
    >>> torch.norm_except_dim(torch.tensor([[3.0, 4.0], [6.0, 8.0]]))
    tensor([[ 5.],
            [10.]])
    """
    if dim == -1:
        return linalg.vector_norm(v, pow)
    return linalg.vector_norm(v, pow, [d for d in range(v.ndim) if d != dim], keepdim=True)
