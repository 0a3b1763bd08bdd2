"""Decompositions and solvers: LAPACK through NumPy, with gradients as formulas on operators."""

import numpy as np

from facula.core.tensor import Tensor
from facula.errors import fail

from .creation import from_numpy, numpy_view
from .declare import function
from .matmul import matmul
from .reduction import vector_norm
from .results import named

__all__ = ["LinAlgError", "cholesky", "det", "inv", "qr", "solve", "vector_norm"]


class LinAlgError(RuntimeError):
    """A matrix that has no such decomposition or inverse."""


def _lapack(name: str, routine, *inputs: Tensor):
    """Run a NumPy routine on tensors; its LinAlgError becomes PyTorch's."""
    try:
        found = routine(*[numpy_view(x) for x in inputs])
    except np.linalg.LinAlgError as error:
        raise LinAlgError(f"linalg.{name}: {error}") from None
    return tuple(_of(x) for x in found) if isinstance(found, tuple) else _of(found)


def _of(array) -> Tensor:
    return from_numpy(np.ascontiguousarray(array) if array.ndim else np.array(array))


def _matrix(x: Tensor, name: str, square: bool = True) -> None:
    if x.spec.ndim < 2:
        fail(RuntimeError, f"linalg.{name}: The input tensor A must have at least 2 dimensions.", got=f"shape {tuple(x.spec.shape)}")
    if square and x.spec.shape[-1] != x.spec.shape[-2]:
        fail(
            RuntimeError,
            f"linalg.{name}: A must be batches of square matrices, but they are {x.spec.shape[-2]} by {x.spec.shape[-1]} matrices",
        )
    if x.spec.dtype.kind not in "fc" or x.spec.dtype.itemsize == 2:
        fail(RuntimeError, f"linalg.{name}: Expected a floating point or complex tensor as input. Got {x.spec.dtype!r}")


@function(tensors=("A",), outputs=("Q", "R"))
def _qr(A, complete):
    return _lapack("qr", lambda a: tuple(np.linalg.qr(a, "complete" if complete else "reduced")), A)


@_qr.gradient("A")
def _(grad_Q, grad_R, Q, R):
    # Walter and Lehmann (2010), for the reduced form with at least as many rows as columns.
    m = matmul(R, grad_R.mH) - matmul(grad_Q.mH, Q)
    lower = m.tril(-1)
    copied = m.tril() + lower.mH
    return solve(R, (grad_Q + matmul(Q, copied)).mH).mH


def qr(A: Tensor, mode: str = "reduced", *, out=None):
    """(Q, R) with orthonormal columns in Q and R upper triangular, A = Q @ R."""
    _matrix(A, "qr", square=False)
    if mode not in ("reduced", "complete"):
        fail(RuntimeError, f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'")
    return named("linalg_qr", *_qr(A, mode == "complete"))


@function(tensors=("A",))
def inv(A):
    """The inverse of square matrices."""
    _matrix(A, "inv")
    return _lapack("inv", np.linalg.inv, A)


@inv.gradient("A")
def _(grad, out):
    return -matmul(out.mH, matmul(grad, out.mH))


@function(tensors=("A",))
def det(A):
    """The determinant of square matrices."""
    _matrix(A, "det")
    return _lapack("det", np.linalg.det, A)


@det.gradient("A")
def _(grad, out, A):
    return (grad * out)[..., None, None] * inv(A).mH


@function(tensors=("A", "B"))
def solve(A, B):
    """X with A @ X = B, for a vector or a matrix B."""
    _matrix(A, "solve")
    return _lapack("solve", np.linalg.solve, A, B)


@solve.gradient("A", "B")
def _(grad, out, A, B_spec):
    right = solve(A.mH, grad)
    vector = B_spec.ndim == 1
    outer = right[:, None] * out[None, :].conj() if vector else matmul(right, out.mH)
    return -outer, right


@function(tensors=("A",))
def cholesky(A):
    """The lower triangular L with A = L @ L.mH of a positive definite matrix."""
    _matrix(A, "cholesky")
    return _lapack("cholesky", np.linalg.cholesky, A)


@cholesky.gradient("A")
def _(grad, out):
    # Murray (2016): with P the lower half of L^H grad, the diagonal halved.
    inverse = inv(out)
    p = matmul(out.mH, grad).tril()
    p = p - 0.5 * p.diagonal(0, -2, -1).diag_embed()
    half = matmul(matmul(inverse.mH, p), inverse)
    return 0.5 * (half + half.mH)
