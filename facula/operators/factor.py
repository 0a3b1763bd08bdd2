"""Inverses, solutions and factorisations of checked matrices with their gradients; LAPACK through NumPy."""

from typing import Any

import numpy as np

from facula.core.tensor import Tensor
from facula.errors import fail

from . import elementwise as e
from . import lapack
from .copying import cast
from .creation import eye, from_numpy, host_array, numpy_view
from .declare import function, hosted
from .joining import cat, diag_embed, tril, triu
from .matmul import matmul
from .reduction import sum_to
from .view import diagonal, expand_to, narrow, transpose, unsqueeze

__all__ = [
    "LinAlgError", "cholesky_core", "cholesky_inverse_core", "cholesky_solve_core", "cholesky_tangent", "conj",
    "det_core", "eig_core", "eigh_core", "eigh_tangent", "from_info", "inv_core", "ldl_core", "lstsq_core", "lu_core",
    "mH", "made", "matrix_exp_core", "pinv_core", "qr_core", "slogdet_core", "solve_core", "svd_core",
    "triangular_core",
]  # fmt: skip


class LinAlgError(RuntimeError):
    """A matrix that has no such inverse or factorisation."""


LinAlgError.__name__ = LinAlgError.__qualname__ = "_LinAlgError"


def made(array: np.ndarray, like: Tensor, real: bool = False) -> Tensor:
    """A tensor of an array in the dtype of `like`, or in that of its parts."""
    kind = like.spec.dtype.to_real() if real else like.spec.dtype
    return from_numpy(np.array(array, kind.numpy, order="C"))


def from_info(info: np.ndarray) -> Tensor:
    """What LAPACK reports, as PyTorch's int32 tensor."""
    return from_numpy(np.array(info, np.int32, order="C"))


def mH(x: Tensor) -> Tensor:
    """The conjugate transpose of the last two dims."""
    return conj(transpose(x, -2, -1))


def conj(x: Tensor) -> Tensor:
    """The conjugate; real tensors as they are."""
    return e.conj_physical(x) if x.spec.dtype.kind == "c" else x


def _named_node(core, name: str) -> None:
    core.operator.node_class.__name__ = name


def _real(x: Tensor) -> Tensor:
    return e.real_part(x) if x.spec.dtype.kind == "c" else x


# --- triangles ----------------------------------------------------------------------------------------------------


@function(tensors=("A", "B"))
def triangular_core(A, B, upper, unit):
    """X with A X = B for triangular A, of which the other half is not read."""
    return made(lapack.substitute(numpy_view(A), numpy_view(B), upper, unit), B)


@triangular_core.gradient("A", "B")
def _(grad, A, out, A_spec, B_spec, upper, unit, needs):
    back = triangular_core(mH(A), grad, not upper, unit)
    full = e.neg(matmul(back, mH(out))) if needs["A"] else None
    if full is not None:
        full = sum_to(triu(full, int(unit)) if upper else tril(full, -int(unit)), A_spec)
    return full, sum_to(back, B_spec)


_named_node(triangular_core, "LinalgSolveTriangularBackward0")


def _from_right(A: Tensor, B: Tensor, upper: bool, unit: bool = False) -> Tensor:
    """X with X A = B for triangular A."""
    return transpose(triangular_core(transpose(A, -2, -1), transpose(B, -2, -1), not upper, unit), -2, -1)


# --- inverses and solutions ---------------------------------------------------------------------------------------


@function(tensors=("A",), outputs=("inverse", "info"))
def inv_core(A):
    """The inverses of square matrices; NaN, and where the first zero pivot is, for singular ones."""
    array = numpy_view(A)
    info = np.zeros(array.shape[:-2], np.int32)
    try:
        return made(np.linalg.inv(array), A), from_info(info)
    except np.linalg.LinAlgError:
        info = lapack.pivot_of_zero(array)
        bad = (info != 0)[..., None, None]
        regular = np.where(bad, np.eye(array.shape[-1], dtype=array.dtype), array)
        return made(np.where(bad, np.nan, np.linalg.inv(regular)), A), from_info(info)


@inv_core.gradient("A")
def _(grad_inverse, inverse):
    back = mH(inverse)
    return e.neg(matmul(back, matmul(grad_inverse, back)))


_named_node(inv_core, "LinalgInvExBackward0")


@function(tensors=("A", "B"), outputs=("result", "info"))
def solve_core(A, B, vector):
    """X with A X = B for matrices B, or a vector for each A; NaN where A is singular."""
    array, right = numpy_view(A), numpy_view(B)
    right = right[..., None] if vector else right
    info = np.zeros(array.shape[:-2], np.int32)
    try:
        found = np.linalg.solve(array, right)
    except np.linalg.LinAlgError:
        info = lapack.pivot_of_zero(array)
        bad = (info != 0)[..., None, None]
        regular = np.where(bad, np.eye(array.shape[-1], dtype=array.dtype), array)
        found = np.where(bad, np.nan, np.linalg.solve(regular, right))
    return made(found[..., 0] if vector else found, A), from_info(info)


@solve_core.gradient("A", "B")
def _(grad_result, A, B_spec, result, A_spec, vector):
    back = solve_core(mH(A), grad_result, vector)[0]
    left, right = (unsqueeze(back, -1), unsqueeze(result, -1)) if vector else (back, result)
    return sum_to(e.neg(matmul(left, mH(right))), A_spec), sum_to(back, B_spec)


_named_node(solve_core, "LinalgSolveExBackward0")


@function(tensors=("A",))
def pinv_core(A, rtol, atol, hermitian):
    """The Moore-Penrose inverse: singular values up to max(atol, rtol times the largest) count as 0."""
    array = numpy_view(A)
    if hermitian:
        values, vectors = np.linalg.eigh(array)
        size, left, right = np.abs(values), vectors / np.where(values < 0, -1, 1)[..., None, :], vectors
    else:
        left, size, right = np.linalg.svd(array, False)
        right = right.conj().swapaxes(-1, -2)
    border = np.maximum(np.asarray(atol), np.asarray(rtol) * size.max(-1, initial=0))
    keep = size > border[..., None]
    inverse = np.where(keep, 1 / np.where(keep, size, 1), 0)
    return made((right * inverse[..., None, :]) @ left.conj().swapaxes(-1, -2), A)


@pinv_core.gradient("A")
def _(grad, A, out):
    return pinv_gradient(grad, A, out)


def pinv_gradient(grad: Tensor, A: Tensor, P: Tensor) -> Tensor:
    """The gradient by A of its Moore-Penrose inverse P."""
    m, n = A.spec.shape[-2:]
    back, Ph = mH(grad), mH(P)
    if m <= n:
        K = matmul(back, P)
        KPh = matmul(K, Ph)
        first = e.sub(KPh, mH(matmul(P, K)))
        second = e.sub(matmul(matmul(Ph, P), e.sub(back, matmul(K, A))), matmul(matmul(A, P), KPh))
        return e.add(first, second)
    K = matmul(P, back)
    PhK = matmul(Ph, K)
    first = e.sub(PhK, mH(matmul(K, P)))
    second = e.sub(matmul(matmul(e.sub(back, matmul(A, K)), P), Ph), matmul(matmul(PhK, P), A))
    return e.add(first, second)


_named_node(pinv_core, "LinalgPinvBackward0")


@function(tensors=("A", "B"), outputs=("solution", "rank", "singular_values"))
def lstsq_core(A, B, rcond):
    """X that makes |A X - B| least, and among such the least X."""
    a, b = numpy_view(A), numpy_view(B)
    *batch, m, n = a.shape
    batch = np.broadcast_shapes(tuple(batch), b.shape[:-2])
    a, b = np.broadcast_to(a, (*batch, m, n)), np.broadcast_to(b, (*batch, *b.shape[-2:]))
    X, rank = np.zeros((*batch, n, b.shape[-1]), a.dtype), np.zeros(batch, np.int64)
    s = np.zeros((*batch, min(m, n)), np.real(a).dtype)
    for at in np.ndindex(*batch):
        X[at], _, rank[at], s[at] = np.linalg.lstsq(a[at], b[at], rcond)
    return made(X, A), from_numpy(rank), made(s, A, real=True)


@lstsq_core.gradient("A", "B")
def _(grad_solution, A, B, rcond, A_spec, B_spec):
    P = pinv_core(A, rcond, 0.0, False)
    back = matmul(mH(P), grad_solution)
    return sum_to(pinv_gradient(matmul(grad_solution, mH(B)), A, P), A_spec), sum_to(back, B_spec)


_named_node(lstsq_core, "LinalgLstsqBackward0")


# --- determinants -------------------------------------------------------------------------------------------------


@function(tensors=("A",))
def det_core(A):
    """The determinant of square matrices."""
    return made(np.asarray(np.linalg.det(numpy_view(A))), A)


@det_core.gradient("A")
def _(grad, A, out):
    by = unsqueeze(unsqueeze(grad, -1), -1)
    if bool((numpy_view(out.detach()) != 0).all()):
        return e.mul(e.mul(by, conj(unsqueeze(unsqueeze(out, -1), -1))), mH(inv_core(A)[0]))
    # Singular: the cofactors, from singular values.
    u, s, vh = svd_core(A, False)
    n = s.spec.shape[-1]
    parts = [narrow(s, -1, i, 1) for i in range(n)]
    ones = e.add(e.mul(narrow(s, -1, 0, 1), 0.0), 1.0)
    before, after = [ones], [ones]  # products of the values before and after each
    for i in range(n - 1):
        before.append(e.mul(before[-1], parts[i]))
        after.insert(0, e.mul(after[0], parts[n - 1 - i]))
    rest = cast(cat([e.mul(b, a) for b, a in zip(before, after)], -1), u.spec.dtype)
    sign = conj(e.mul(det_core(u), det_core(vh)))
    return e.mul(by, e.mul(unsqueeze(unsqueeze(sign, -1), -1), matmul(e.mul(u, unsqueeze(rest, -2)), vh)))


_named_node(det_core, "LinalgDetBackward0")


@function(tensors=("A",), outputs=("sign", "logabsdet"), fill=False)
def slogdet_core(A):
    """Sign and logarithm of the size of the determinant."""
    sign, size = np.linalg.slogdet(numpy_view(A))
    return made(np.asarray(sign), A), made(np.asarray(size), A, real=True)


@slogdet_core.gradient("A")
def _(grad_sign, grad_logabsdet, A, sign):
    by = None if grad_logabsdet is None else cast(grad_logabsdet, A.spec.dtype)
    if grad_sign is not None and A.spec.dtype.kind == "c":
        turn = e.mul(cast(e.imag_part(e.mul(conj(grad_sign), sign)), A.spec.dtype), -1j)
        by = turn if by is None else e.add(by, turn)
    if by is None:
        return e.mul(A, 0.0)
    return e.mul(unsqueeze(unsqueeze(by, -1), -1), mH(inv_core(A)[0]))


_named_node(slogdet_core, "LinalgSlogdetBackward0")


# --- Cholesky -----------------------------------------------------------------------------------------------------


@function(tensors=("A",), outputs=("L", "info"))
def cholesky_core(A, upper):
    """Lower triangular L with L L^H = A, of which one half is read (`upper`: L^H); info as LAPACK's."""
    array = numpy_view(A)
    L, info = lapack.cholesky(array.conj().swapaxes(-1, -2) if upper else array)
    return made(L.conj().swapaxes(-1, -2) if upper else L, A), from_info(info)


@cholesky_core.gradient("A")
def _(grad_L, L, upper):
    L, grad_L = (mH(L), mH(grad_L)) if upper else (L, grad_L)
    inner = tril(matmul(mH(L), grad_L))
    inner = e.add(inner, mH(tril(inner, -1)))
    back = triangular_core(mH(L), inner, True, False)
    return e.mul(_from_right(L, back, False), 0.5)


def cholesky_tangent(tangent: Tensor, L: Tensor, upper: bool) -> Tensor:
    """What a step of A along `tangent` does to L; all of the tangent counts, also where it is not symmetric."""
    low = mH(L) if upper else L
    inner = _from_right(mH(low), triangular_core(low, tangent, False, False), True)
    inner = e.sub(tril(inner), diag_embed(e.mul(diagonal(inner, 0, -2, -1), 0.5)))
    step = matmul(low, inner)
    return mH(step) if upper else step


_named_node(cholesky_core, "LinalgCholeskyExBackward0")


@function(tensors=("B", "L"))
def cholesky_solve_core(B, L, upper):
    """X with (L L^H) X = B; with `upper`, (L^H L) X = B."""
    b, l_ = numpy_view(B), numpy_view(L)
    l_ = l_.conj().swapaxes(-1, -2) if upper else l_
    inner = lapack.substitute(l_, b, False, False)
    return made(lapack.substitute(l_.conj().swapaxes(-1, -2), inner, True, False), B)


@cholesky_solve_core.gradient("B", "L")
def _(grad, L, out, upper, B_spec, L_spec):
    back = cholesky_solve_core(grad, L, upper)
    common = matmul(back, mH(out))
    common = e.neg(e.add(common, mH(common)))
    return sum_to(back, B_spec), sum_to(matmul(L, common) if upper else matmul(common, L), L_spec)


_named_node(cholesky_solve_core, "CholeskySolveBackward0")


@function(tensors=("L",))
def cholesky_inverse_core(L, upper):
    """The inverse of L L^H, or of L^H L with `upper`."""
    return cholesky_solve_core(eye(L.spec.shape[-1], dtype=L.spec.dtype, device=L.spec.device), L, upper)


@cholesky_inverse_core.gradient("L")
def _(grad, L, out, upper):
    common = e.neg(matmul(out, matmul(e.add(grad, mH(grad)), out)))
    return matmul(L, common) if upper else matmul(common, L)


_named_node(cholesky_inverse_core, "CholeskyInverseBackward0")


# --- LU and LDL ---------------------------------------------------------------------------------------------------


@function(tensors=("A",), outputs=("LU", "pivots", "info"))
def lu_core(A, pivot):
    """L and U in one matrix, the swaps of rows, the first zero pivot."""
    LU, pivots, info = lapack.lu(numpy_view(A), pivot)
    return made(LU, A), from_info(pivots), from_info(info)


@hosted
def permutation(pivots: Tensor, rows: int, like: Tensor) -> Tensor:
    """P with P L U = A."""
    order = lapack.order_of(numpy_view(pivots), rows)
    P = from_numpy(np.ascontiguousarray(np.eye(rows, dtype=bool)[order].swapaxes(-1, -2)))
    return cast(P, like.spec.dtype)


def lower_of(LU: Tensor) -> Tensor:
    """L of a packed LU, with its ones."""
    m, n = LU.spec.shape[-2:]
    k = min(m, n)
    return e.add(tril(narrow(LU, -1, 0, k), -1), eye(m, k, dtype=LU.spec.dtype, device=LU.spec.device))


def upper_of(LU: Tensor) -> Tensor:
    """U of a packed LU."""
    return triu(narrow(LU, -2, 0, min(LU.spec.shape[-2:])))


@lu_core.gradient("A")
def _(grad_LU, LU, pivots, pivot):
    m, n = LU.spec.shape[-2:]
    k = min(m, n)
    L, U = lower_of(LU), upper_of(LU)
    gL, gU = tril(narrow(grad_LU, -1, 0, k), -1), triu(narrow(grad_LU, -2, 0, k))
    L1, gL1 = narrow(L, -2, 0, k), narrow(gL, -2, 0, k)
    U1, gU1 = narrow(U, -1, 0, k), narrow(gU, -1, 0, k)
    low, high = matmul(mH(L1), gL1), matmul(gU1, mH(U1))
    if m < n:
        gU2 = narrow(gU, -1, k, n - k)
        low = e.sub(low, matmul(gU2, mH(narrow(U, -1, k, n - k))))
    if m > n:
        gL2 = narrow(gL, -2, k, m - k)
        high = e.sub(high, matmul(mH(narrow(L, -2, k, m - k)), gL2))
    inner = e.add(tril(low, -1), triu(high))
    if m <= n:
        inner = _from_right(mH(U1), inner, False)
        inner = cat([inner, gU2], -1) if m < n else inner
        inner = triangular_core(mH(L1), inner, True, True)
    else:
        inner = cat([triangular_core(mH(L1), inner, True, True), gL2], -2)
        inner = _from_right(mH(U), inner, False)
    return matmul(permutation(pivots, m, LU), inner) if pivot else inner


_named_node(lu_core, "LinalgLuFactorExBackward0")


@function(tensors=(), outputs=("LD", "pivots", "info"))
def ldl_core(A, hermitian):
    """L and D of a symmetric matrix in one, LAPACK's pivots, the first zero of D."""
    LD, pivots, info = lapack.ldl(numpy_view(A), hermitian)
    return made(LD, A), from_info(pivots), from_info(info)


# --- QR -----------------------------------------------------------------------------------------------------------


@function(tensors=("A",), outputs=("Q", "R"), fill=False)
def qr_core(A, mode):
    """Orthogonal Q and upper triangular R with Q R = A."""
    q, r = np.linalg.qr(numpy_view(A), mode)
    return made(q, A), made(r, A)


@qr_core.gradient("A")
def _(grad_Q, grad_R, Q, R, mode):
    m, n = Q.spec.shape[-2], R.spec.shape[-1]
    k = min(m, n)
    if mode == "complete" and m > n:
        fail(RuntimeError, "The QR decomposition is not differentiable when mode='complete' and nrows > ncols.")
    if grad_Q is None and grad_R is None:
        return None
    if grad_Q is None:
        inner = matmul(grad_R, mH(R))
    else:
        inner = matmul(mH(Q), grad_Q)
        inner = e.neg(inner) if grad_R is None else e.sub(matmul(grad_R, mH(R)), inner)
    # Wide R = (X, Y): Q and X are those of the first columns of A.
    if m >= n:
        inner = _symmetric_upper(inner)
        found = matmul(Q, inner)
        found = found if grad_Q is None else e.add(found, grad_Q)
        return _from_right(mH(R), found, False)
    turn = tril(e.sub(mH(inner), inner), -1)
    if inner.spec.dtype.kind == "c":
        phase = cast(e.imag_part(diagonal(inner, 0, -2, -1)), inner.spec.dtype)
        turn = e.sub(turn, e.mul(diag_embed(phase), 1j))
    first = _from_right(mH(narrow(R, -1, 0, k)), matmul(Q, turn), False)
    zeros = e.mul(narrow(R, -1, k, n - k), 0.0)
    found = cat([first, zeros], -1)
    return found if grad_R is None else e.add(found, matmul(Q, grad_R))


def _symmetric_upper(x: Tensor) -> Tensor:
    """The Hermitian matrix with the upper triangle of `x` and the real part of its diagonal."""
    upper = triu(x, 1)
    on = diag_embed(cast(_real(diagonal(x, 0, -2, -1)), x.spec.dtype))
    return e.add(e.add(upper, mH(upper)), on)


_named_node(qr_core, "LinalgQrBackward0")


# --- eigenvalues --------------------------------------------------------------------------------------------------


def _over_gaps(x: Tensor, gaps: Tensor) -> Tensor:
    """`x / gaps` off the diagonal, 0 on it."""
    on = eye(gaps.spec.shape[-1], dtype=gaps.spec.dtype, device=gaps.spec.device)
    return e.mul(e.true_divide(x, e.add(gaps, on)), e.rsub(on, 1.0))


def _differences(values: Tensor) -> Tensor:
    return e.sub(unsqueeze(values, -2), unsqueeze(values, -1))


@function(tensors=("A",), outputs=("eigenvalues", "eigenvectors"), fill=False)
def eigh_core(A, lower):
    """Eigenvalues in order and eigenvectors of symmetric matrices."""
    try:
        values, vectors = np.linalg.eigh(numpy_view(A), lower)
    except np.linalg.LinAlgError:
        _no_convergence("linalg.eigh")
    return made(values, A, real=True), made(vectors, A)


def _no_convergence(name: str):
    fail(LinAlgError, f"{name}: The algorithm failed to converge because the input matrix is ill-conditioned.")


@eigh_core.gradient("A")
def _(grad_eigenvalues, grad_eigenvectors, eigenvalues, eigenvectors):
    V = eigenvectors
    inner = None
    if grad_eigenvalues is not None:
        if grad_eigenvectors is None:
            return matmul(e.mul(V, unsqueeze(grad_eigenvalues, -2)), mH(V))
        inner = diag_embed(cast(grad_eigenvalues, V.spec.dtype))
    if grad_eigenvectors is not None:
        turn = matmul(mH(V), grad_eigenvectors)
        _phase_free("linalg_eigh", turn, V)
        off = _over_gaps(e.mul(e.sub(turn, mH(turn)), 0.5), _differences(eigenvalues))
        inner = off if inner is None else e.add(inner, off)
    return None if inner is None else matmul(V, matmul(inner, mH(V)))


def _phase_free(name: str, turn: Tensor, V: Tensor) -> None:
    """RuntimeError where a loss depends on the phase of eigenvectors, which is free."""
    if V.spec.dtype.kind == "c":
        array = host_array(turn.detach())
        on = np.empty(0) if array is None else np.diagonal(array, 0, -2, -1)
        if on.size and np.abs(np.imag(on)).max() > 1e-2 * max(1.0, float(np.abs(on).max())):
            fail(
                RuntimeError,
                f"{name}_backward: The eigenvectors in the complex case are specified up to multiplication by e^{{i "
                "phi}. The specified loss function depends on this quantity, so it is ill-defined.",
            )


def eigh_tangent(tangent: Tensor, eigenvalues: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
    """What a step of A along `tangent` does to its eigenvalues and eigenvectors; all of the tangent counts."""
    inner = matmul(mH(V), matmul(tangent, V))
    on = diagonal(inner, 0, -2, -1)
    return e.real_part(on), matmul(V, _over_gaps(inner, _differences(eigenvalues)))


_named_node(eigh_core, "LinalgEighBackward0")


@function(tensors=("A",), outputs=("eigenvalues", "eigenvectors"), fill=False)
def eig_core(A):
    """Eigenvalues and eigenvectors, complex, of any square matrices."""
    kind = A.spec.dtype.to_complex().numpy
    values, vectors = np.linalg.eig(numpy_view(A))
    return from_numpy(np.array(values, kind, order="C")), from_numpy(np.array(vectors, kind, order="C"))


@eig_core.gradient("A")
def _(grad_eigenvalues, grad_eigenvectors, eigenvalues, eigenvectors, A_spec):
    V, Vh = eigenvectors, mH(eigenvectors)
    if grad_eigenvectors is None:
        if grad_eigenvalues is None:
            return None
        found = solve_core(Vh, e.mul(unsqueeze(grad_eigenvalues, -1), Vh), False)[0]
    else:
        turn = matmul(Vh, grad_eigenvectors)
        _phase_free("linalg_eig", turn, V)
        along = cast(e.real_part(diagonal(turn, 0, -2, -1)), V.spec.dtype)
        inner = e.sub(turn, e.mul(matmul(Vh, V), unsqueeze(along, -2)))
        inner = _over_gaps(inner, _differences(conj(eigenvalues)))
        if grad_eigenvalues is not None:
            inner = e.add(inner, diag_embed(grad_eigenvalues))
        found = solve_core(Vh, matmul(inner, Vh), False)[0]
    return found if A_spec.dtype.kind == "c" else e.real_part(found)


_named_node(eig_core, "LinalgEigBackward0")


# --- singular values ----------------------------------------------------------------------------------------------


@function(tensors=("A",), outputs=("U", "S", "Vh"), fill=False)
def svd_core(A, full):
    """Singular values and vectors."""
    try:
        u, s, vh = np.linalg.svd(numpy_view(A), full)
    except np.linalg.LinAlgError:
        words = "the input matrix contained non-finite values."
        fail(LinAlgError, f"linalg.svd: The algorithm failed to converge because {words}")
    return made(u, A), made(s, A, real=True), made(vh, A)


@svd_core.gradient("A")
def _(grad_U, grad_S, grad_Vh, U, S, Vh, full):
    m, n, k = U.spec.shape[-2], Vh.spec.shape[-1], S.spec.shape[-1]
    if full:  # the vectors beyond k are not unique: they have no gradients
        U, Vh = narrow(U, -1, 0, k), narrow(Vh, -2, 0, k)
        grad_U = None if grad_U is None else narrow(grad_U, -1, 0, k)
        grad_Vh = None if grad_Vh is None else narrow(grad_Vh, -2, 0, k)
    if grad_U is None and grad_Vh is None:
        return None if grad_S is None else matmul(e.mul(U, unsqueeze(grad_S, -2)), Vh)
    row, column = unsqueeze(S, -2), unsqueeze(S, -1)
    square = e.mul(S, S)
    gaps = _differences(square)
    inner: Any = None
    if grad_U is not None:
        turn = matmul(mH(U), grad_U)
        turn = e.sub(turn, mH(turn))
        inner = e.mul(_over_gaps(turn, gaps), row)
        if turn.spec.dtype.kind == "c":
            inner = e.add(inner, diag_embed(e.true_divide(diagonal(turn, 0, -2, -1), e.mul(S, 2.0))))
    if grad_Vh is not None:
        turn = matmul(Vh, mH(grad_Vh))
        turn = e.sub(turn, mH(turn))
        right = e.mul(column, _over_gaps(turn, gaps))
        inner = right if inner is None else e.add(inner, right)
    if grad_S is not None:
        inner = e.add(inner, diag_embed(cast(grad_S, inner.spec.dtype)))
    found = matmul(U, matmul(inner, Vh))
    if m > k and grad_U is not None:
        rest = e.true_divide(grad_U, row)
        found = e.add(found, matmul(e.sub(rest, matmul(U, matmul(mH(U), rest))), Vh))
    if n > k and grad_Vh is not None:
        rest = e.true_divide(grad_Vh, column)
        found = e.add(found, matmul(U, e.sub(rest, matmul(matmul(rest, mH(Vh)), Vh))))
    return found


_named_node(svd_core, "LinalgSvdBackward0")


# --- the exponential ----------------------------------------------------------------------------------------------


@function(tensors=("A",))
def matrix_exp_core(A):
    """The exponentials of square matrices."""
    return made(lapack.expm(numpy_view(A)), A)


@matrix_exp_core.gradient("A")
def _(grad, A):
    # exp of (B, G; 0, B) has the derivative of exp at B along G in its corner.
    n = A.spec.shape[-1]
    B = expand_to(mH(A), grad.spec.shape)
    zero = e.mul(B, 0.0)
    both = matrix_exp_core(cat([cat([B, grad], -1), cat([zero, B], -1)], -2))
    return narrow(narrow(both, -2, 0, n), -1, n, n)


_named_node(matrix_exp_core, "LinalgMatrixExpBackward0")
