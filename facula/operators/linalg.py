"""Linear algebra: norms, inverses, determinants, solutions, factorisations of matrices; LAPACK through NumPy."""

from collections import namedtuple
from math import inf
from typing import Any

import numpy as np

from facula.autograd.node import dtype_title
from facula.core.tensor import Tensor
from facula.errors import fail

from . import elementwise as e
from .copying import cast
from .creation import from_numpy, numpy_view
from .declare import function
from .joining import diag_embed, tril
from .matmul import cross, matmul
from .reduction import amax, amin, sum_to, vector_norm
from .reduction import sum as sum_over
from .view import diagonal, squeeze_dims, transpose, unsqueeze

__all__ = [
    "LinAlgError", "cholesky", "cross", "det", "diagonal", "eigh", "eigvalsh", "inv", "matmul", "matrix_norm",
    "matrix_power", "matrix_rank", "multi_dot", "norm", "pinv", "qr", "slogdet", "solve", "svd", "svdvals",
    "vector_norm",
]  # fmt: skip


class LinAlgError(RuntimeError):
    """A matrix that has no such inverse or factorisation."""


LinAlgError.__name__ = LinAlgError.__qualname__ = "_LinAlgError"


def _results(name: str, *fields: str):
    base = namedtuple(name, fields)

    def show(self):
        inner = ",\n".join(f"{f}={v!r}" for f, v in zip(fields, self))
        return f"torch.return_types.{name}(\n{inner})"

    return type(name, (base,), {"__slots__": (), "__repr__": show, "__module__": "torch.return_types"})


QR, Slogdet = _results("linalg_qr", "Q", "R"), _results("linalg_slogdet", "sign", "logabsdet")
SVD, Eigh = _results("linalg_svd", "U", "S", "Vh"), _results("linalg_eigh", "eigenvalues", "eigenvectors")


def _checked(name: str, A: Tensor, square: bool = True) -> None:
    """Floats or complex numbers in matrices (that are square)."""
    if A.spec.ndim < 2:
        fail(
            RuntimeError,
            f"linalg.{name}: The input tensor A must have at least 2 dimensions.",
            got=f"shape {tuple(A.spec.shape)}",
        )
    if A.spec.dtype.kind not in "fc":
        fail(
            RuntimeError,
            f"linalg.{name}: Expected a floating point or complex tensor as input. Got {dtype_title(A.spec.dtype)}",
        )
    if A.spec.dtype.itemsize == 2:
        fail(
            RuntimeError,
            f"linalg.{name}: Low precision dtypes not supported. Got {dtype_title(A.spec.dtype)}",
            mend="convert: A.float()",
        )
    n, m = A.spec.shape[-2:]
    if square and n != m:
        fail(RuntimeError, f"linalg.{name}: A must be batches of square matrices, but they are {n} by {m} matrices")


def _made(array: np.ndarray, like: Tensor) -> Tensor:
    kind: Any = like.spec.dtype.numpy
    if array.dtype.kind != "c" and kind.kind == "c":
        kind = np.dtype("f4" if kind.itemsize == 8 else "f8")
    return from_numpy(np.array(array, kind, order="C"))


def _mH(x: Tensor) -> Tensor:
    x = transpose(x, -2, -1)
    return e.conj_physical(x) if x.spec.dtype.kind == "c" else x


def _conj(x: Tensor) -> Tensor:
    return e.conj_physical(x) if x.spec.dtype.kind == "c" else x


# --- inverses -----------------------------------------------------------------------------------------------------


@function(tensors=("A",))
def inv_core(A):
    """The inverse of checked matrices."""
    array = numpy_view(A)
    try:
        return _made(np.linalg.inv(array), A)
    except np.linalg.LinAlgError:
        at = _singular(array)
        where = f"(Batch element {at[0]}): " if array.ndim > 2 else ""
        fail(
            LinAlgError,
            f"linalg.inv: {where}The diagonal element {at[1]} is zero, the inversion could not be "
            "completed because the input matrix is singular.",
        )


def _singular(array: np.ndarray) -> tuple[int, int]:
    """The first singular matrix of a batch, and the pivot (from 1) that is zero."""
    flat = array.reshape(-1, *array.shape[-2:])
    for number, a in enumerate(flat):
        u = np.array(a, np.complex128 if a.dtype.kind == "c" else np.float64)
        for i in range(len(u)):
            p = i + int(np.argmax(np.abs(u[i:, i])))
            if u[p, i] == 0:
                return number, i + 1
            u[[i, p]] = u[[p, i]]
            u[i + 1 :] -= np.outer(u[i + 1 :, i] / u[i, i], u[i])
    return 0, len(flat[0])


@inv_core.gradient("A")
def _(grad, out):
    back = _mH(out)
    return e.neg(matmul(back, matmul(grad, back)))


inv_core.operator.node_class.__name__ = "LinalgInvExBackward0"


def inv(A: Tensor) -> Tensor:
    """The inverse of square matrices; `_LinAlgError` where there is none."""
    _checked("inv", A)
    return inv_core(A)


@function(tensors=("A", "B"))
def solve_core(A, B, vector=False):
    """X with A X = B for matrices B, or a vector for each A."""
    right = numpy_view(B)
    try:
        found = np.linalg.solve(numpy_view(A), right[..., None] if vector else right)
    except np.linalg.LinAlgError:
        fail(LinAlgError, "torch.linalg.solve: The solver failed because the input matrix is singular.")
    return _made(found[..., 0] if vector else found, A)


@solve_core.gradient("A", "B")
def _(grad, A, B_spec, out, A_spec, vector):
    back = solve_core(_mH(A), grad, vector)
    left, right = (unsqueeze(back, -1), unsqueeze(out, -1)) if vector else (back, out)
    return sum_to(e.neg(matmul(left, _mH(right))), A_spec), sum_to(back, B_spec)


solve_core.operator.node_class.__name__ = "LinalgSolveExBackward0"


def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X with A X = B (`left` false: X A = B); B is a vector for each matrix, or a matrix."""
    _checked("solve", A)
    if not left:
        return transpose(solve(transpose(A, -2, -1), transpose(B, -2, -1)), -2, -1)
    if B.spec.ndim == 1 or (A.spec.ndim - 1 == B.spec.ndim and A.spec.shape[:-1] == B.spec.shape):
        return solve_core(A, B, True)
    if A.spec.shape[-1] != B.spec.shape[-2]:
        fail(
            RuntimeError,
            "linalg.solve: Incompatible shapes of A and B for the equation AX = B "
            f"({A.spec.shape[-2]}x{A.spec.shape[-1]} and {B.spec.shape[-2]}x{B.spec.shape[-1]})",
        )
    return solve_core(A, B)


# --- determinants -------------------------------------------------------------------------------------------------


@function(tensors=("A",))
def det_core(A):
    """The determinant of checked matrices."""
    return _made(np.asarray(np.linalg.det(numpy_view(A))), A)


@det_core.gradient("A")
def _(grad, A, out):
    by = unsqueeze(unsqueeze(grad, -1), -1)
    if bool((numpy_view(out.detach()) != 0).all()):
        return e.mul(e.mul(by, _conj(unsqueeze(unsqueeze(out, -1), -1))), _mH(inv_core(A)))
    # Singular: the cofactors, from singular values (not differentiable again).
    u, s, vh = np.linalg.svd(numpy_view(A.detach()))
    rest = np.stack([np.prod(np.delete(s, i, -1), -1) for i in range(s.shape[-1])], -1)
    sign = np.linalg.det(u) * np.linalg.det(vh)
    return e.mul(by, _made(np.conj(sign)[..., None, None] * (u * rest[..., None, :]) @ vh, A))


det_core.operator.node_class.__name__ = "LinalgDetBackward0"


def det(A: Tensor) -> Tensor:
    """The determinant of square matrices."""
    _checked("det", A)
    return det_core(A)


@function(tensors=("A",), outputs=("sign", "logabsdet"))
def slogdet_core(A):
    """Sign and logarithm of the size of the determinant."""
    sign, size = np.linalg.slogdet(numpy_view(A))
    return _made(np.asarray(sign), A), _made(np.asarray(size), A)


@slogdet_core.gradient("A")
def _(grad_logabsdet, A):
    return e.mul(unsqueeze(unsqueeze(grad_logabsdet, -1), -1), _mH(inv_core(A)))


slogdet_core.operator.node_class.__name__ = "LinalgSlogdetBackward0"


def slogdet(A: Tensor):
    """(sign, logarithm of the size) of the determinant."""
    _checked("slogdet", A)
    return Slogdet(*slogdet_core(A))


# --- factorisations -----------------------------------------------------------------------------------------------


@function(tensors=("A",))
def cholesky_core(A):
    """Lower triangular L with L L^H = A."""
    try:
        return _made(np.linalg.cholesky(numpy_view(A)), A)
    except np.linalg.LinAlgError:
        array = numpy_view(A).reshape(-1, *A.spec.shape[-2:])
        number, order = next(
            (b, k)
            for b, a in enumerate(array)
            for k in range(1, len(a) + 1)
            if not np.linalg.det(a[:k, :k]).real > 0 or k == len(a)
        )
        where = f"(Batch element {number}): " if A.spec.ndim > 2 else ""
        fail(
            LinAlgError,
            f"linalg.cholesky: {where}The factorization could not be completed because the input is not "
            "positive-definite (the leading minor "
            f"of order {order} is not positive-definite).",
        )


@cholesky_core.gradient("A")
def _(grad, out):
    inner = tril(matmul(_mH(out), grad))
    inner = e.sub(inner, diag_embed(e.mul(diagonal(inner, 0, -2, -1), 0.5)))
    back = inv_core(out)
    full = matmul(_mH(back), matmul(inner, back))
    return e.mul(e.add(full, _mH(full)), 0.5)


cholesky_core.operator.node_class.__name__ = "LinalgCholeskyExBackward0"


def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """Lower triangular L with L L^H = A for symmetric (Hermitian) positive-definite A; `upper`: L^H."""
    _checked("cholesky", A)
    made = cholesky_core(A)
    return _mH(made) if upper else made


@function(tensors=("A",), outputs=("Q", "R"))
def qr_core(A, mode):
    """Orthogonal Q and upper triangular R with Q R = A."""
    q, r = np.linalg.qr(numpy_view(A), mode)
    return _made(q, A), _made(r, A)


@qr_core.gradient("A")
def _(grad_Q, grad_R, Q, R, mode):
    n, m = Q.spec.shape[-1], R.spec.shape[-1]
    if mode == "complete" and Q.spec.shape[-2] > m or n < m:
        fail(
            RuntimeError,
            "The QR decomposition is not differentiable when mode='complete' and nrows > ncols, or nrows < ncols.",
        )
    inner = e.sub(matmul(R, _mH(grad_R)), matmul(_mH(grad_Q), Q))
    low = tril(inner, -1)
    both = e.add(tril(inner), _mH(low))
    full = e.add(grad_Q, matmul(Q, both))
    return _mH(solve_core(R, _mH(full)))


qr_core.operator.node_class.__name__ = "LinalgQrBackward0"


def qr(A: Tensor, mode: str = "reduced"):
    """(Q, R), orthonormal columns and upper triangular, Q R = A; `mode` "reduced", "complete" or "r" (an empty Q)."""
    if mode not in ("reduced", "complete", "r"):
        fail(
            RuntimeError,
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'",
        )
    _checked("qr", A, False)
    if mode == "r":
        return QR(A.new_empty((0,)), _made(np.asarray(np.linalg.qr(numpy_view(A.detach()), "r")), A))
    return QR(*qr_core(A, mode))


@function(tensors=("A",), outputs=("eigenvalues", "eigenvectors"))
def eigh_core(A, lower):
    """Eigenvalues in order and eigenvectors of symmetric matrices."""
    values, vectors = np.linalg.eigh(numpy_view(A), lower)
    return _made(values, A), _made(vectors, A)


@eigh_core.gradient("A")
def _(grad_eigenvalues, grad_eigenvectors, eigenvalues, eigenvectors):
    gaps = e.sub(unsqueeze(eigenvalues, -2), unsqueeze(eigenvalues, -1))
    inner = _off_diagonal(matmul(_mH(eigenvectors), grad_eigenvectors), gaps)
    inner = e.add(inner, diag_embed(cast(grad_eigenvalues, inner.spec.dtype)))
    return matmul(eigenvectors, matmul(inner, _mH(eigenvectors)))


def _off_diagonal(x: Tensor, gaps: Tensor) -> Tensor:
    """`x / gaps` off the diagonal, 0 on it."""
    n = gaps.spec.shape[-1]
    on = from_numpy(np.eye(n, dtype=gaps.spec.dtype.numpy))
    return e.mul(e.true_divide(x, e.add(gaps, on)), e.sub(1.0, on))


eigh_core.operator.node_class.__name__ = "LinalgEighBackward0"


def eigh(A: Tensor, UPLO: str = "L"):
    """(eigenvalues, eigenvectors) of symmetric (Hermitian) matrices, of which the lower ("L") or upper half is read."""
    _checked("eigh", A)
    return Eigh(*eigh_core(A, UPLO))


def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues of symmetric (Hermitian) matrices, in order."""
    return eigh(A, UPLO)[0]


@function(tensors=("A",), outputs=("U", "S", "Vh"))
def svd_core(A, full):
    """Singular values and vectors."""
    return tuple(_made(x, A) for x in np.linalg.svd(numpy_view(A), full))


@svd_core.gradient("A")
def _(grad_U, grad_S, grad_Vh, U, S, Vh, full):
    k = S.spec.shape[-1]
    if full and U.spec.shape[-1] != Vh.spec.shape[-2]:
        fail(
            RuntimeError,
            "The singular vectors in the complete SVD are not unique: use full_matrices=False for their gradients",
        )
    if U.spec.dtype.kind == "c":
        fail(NotImplementedError, "svd: gradients of complex matrices are not there yet")
    V, grad_V = _mH(Vh), _mH(grad_Vh)
    row = unsqueeze(S, -2)
    square = e.mul(S, S)
    gaps = e.sub(unsqueeze(square, -2), unsqueeze(square, -1))

    def skew(x):
        return _off_diagonal(e.sub(x, _mH(x)), gaps)

    inner = e.add(e.mul(skew(matmul(_mH(U), grad_U)), row), e.mul(unsqueeze(S, -1), skew(matmul(_mH(V), grad_V))))
    found = matmul(U, matmul(e.add(inner, diag_embed(grad_S)), Vh))
    if U.spec.shape[-2] > k:
        rest = e.sub(grad_U, matmul(U, matmul(_mH(U), grad_U)))
        found = e.add(found, matmul(e.true_divide(rest, row), Vh))
    if V.spec.shape[-2] > k:
        rest = e.sub(grad_V, matmul(V, matmul(_mH(V), grad_V)))
        found = e.add(found, matmul(U, _mH(e.true_divide(rest, row))))
    return found


svd_core.operator.node_class.__name__ = "LinalgSvdBackward0"


def svd(A: Tensor, full_matrices: bool = True):
    """(U, S, Vh) with A = U diag(S) Vh and singular values S from the largest to the smallest."""
    _checked("svd", A, False)
    return SVD(*svd_core(A, bool(full_matrices)))


def svdvals(A: Tensor) -> Tensor:
    """The singular values, from the largest to the smallest."""
    return svd(A, False)[1]


# --- built of these -----------------------------------------------------------------------------------------------


def pinv(A: Tensor, *, rtol=None, hermitian: bool = False) -> Tensor:
    """The Moore-Penrose inverse; singular values below `rtol` times the largest count as 0."""
    _checked("pinv", A, False)
    u, s, vh = svd(A, False)
    rtol = max(A.spec.shape[-2:]) * np.finfo(A.spec.dtype.to_real().numpy).eps if rtol is None else rtol
    keep = e.gt(s, e.mul(amax(s, -1, keepdim=True), rtol))
    inverse = e.where(keep, e.reciprocal(e.where(keep, s, 1.0)), 0.0)
    return matmul(e.mul(_mH(vh), unsqueeze(inverse, -2)), _mH(u))


def matrix_rank(A: Tensor, *, rtol=None, hermitian: bool = False) -> Tensor:
    """The number of singular values above `rtol` times the largest."""
    _checked("matrix_rank", A, False)
    s = svdvals(A.detach())
    rtol = max(A.spec.shape[-2:]) * np.finfo(s.spec.dtype.numpy).eps if rtol is None else rtol
    return sum_over(e.gt(s, e.mul(amax(s, -1, keepdim=True), rtol)), -1)


def matrix_power(A: Tensor, n: int) -> Tensor:
    """The product of `n` factors A; of its inverse where `n` is negative."""
    _square = A.spec.shape[-2:]
    if _square[0] != _square[1]:
        fail(
            RuntimeError,
            f"linalg.matrix_power: A must be batches of square matrices, but they are {_square[0]} by "
            f"{_square[1]} matrices",
        )
    if n == 0:
        one = from_numpy(np.broadcast_to(np.eye(_square[0]), tuple(A.spec.shape)).copy())
        return cast(one, A.spec.dtype)
    base, n = (inv(A), -n) if n < 0 else (A, n)
    found: Any = None
    while n:
        if n & 1:
            found = base if found is None else matmul(found, base)
        n >>= 1
        base = matmul(base, base) if n else base
    return found.clone() if found is A else found


def multi_dot(tensors, *, out=None) -> Tensor:
    """The product of several matrices in the cheapest order; the first and the last may be vectors."""
    from .matmul import chain_matmul

    parts = list(tensors)
    if len(parts) < 2:
        fail(RuntimeError, f"multi_dot(): expected at least 2 tensors but got {len(parts)}")
    first, last = parts[0].spec.ndim == 1, parts[-1].spec.ndim == 1
    if first:
        parts[0] = unsqueeze(parts[0], 0)
    if last:
        parts[-1] = unsqueeze(parts[-1], 1)
    made = chain_matmul(*parts)
    made = squeeze_dims(made, (0,)) if first else made
    return squeeze_dims(made, (-1,)) if last else made


def matrix_norm(A: Tensor, ord="fro", dim=(-2, -1), keepdim: bool = False, *, dtype=None, out=None) -> Tensor:
    """A norm of matrices: "fro", "nuc", 1, -1, 2, -2, inf or -inf."""
    if dtype is not None:
        A = cast(A, dtype)
    rank = A.spec.ndim
    row, column = (d % rank for d in dim)
    if ord == "fro":
        return vector_norm(A, 2, (row, column), keepdim)
    if ord in ("nuc", 2, -2):
        moved = A.movedim((row, column), (-2, -1))
        s = svdvals(moved)
        made = sum_over(s, -1) if ord == "nuc" else amax(s, -1) if ord == 2 else amin(s, -1)
        for d in sorted((row, column)) if keepdim else ():
            made = unsqueeze(made, d)
        return made
    if ord not in (1, -1, inf, -inf):
        fail(RuntimeError, f"linalg.matrix_norm: Order {ord} not supported.")
    along, other = (row, column) if abs(ord) == 1 else (column, row)
    sums = vector_norm(A, 1, along, keepdim)
    return (amax if ord > 0 else amin)(sums, other if keepdim or other < along else other - 1, keepdim=keepdim)


def norm(A: Tensor, ord=None, dim=None, keepdim: bool = False, *, out=None, dtype=None) -> Tensor:
    """A vector norm (one dim, or `ord` None over all) or a matrix norm (two dims, or an `ord` of a matrix)."""
    pair = dim is not None and not isinstance(dim, int) and len(dim) == 2
    if ord is not None and (pair or (dim is None and A.spec.ndim == 2)):
        return matrix_norm(A, ord, dim if pair else (0, 1), keepdim, dtype=dtype)
    if isinstance(ord, str):
        fail(RuntimeError, f"linalg.norm: Order {ord} is a norm of matrices", expected="two dims")
    return vector_norm(A, 2 if ord is None else ord, dim, keepdim, dtype=dtype)
