"""The matrix functions of `torch.*` that came before `torch.linalg`, approximations of low rank, LOBPCG."""

import numpy as np

from facula.core import dtype as dt
from facula.core.tensor import Tensor
from facula.core.wrapped import followed
from facula.errors import fail

from . import elementwise as e
from . import factor as f
from . import linalg
from .creation import host_array, numpy_view
from .declare import hosted
from .factor import mH
from .linalg import checked, inverse, matrix_exp, matrix_power
from .matmul import matmul
from .random import randn
from .reduction import mean
from .results import named, writes
from .view import expand_to

__all__ = [
    "cholesky", "cholesky_inverse", "cholesky_solve", "det", "eig", "geqrf", "inverse", "lobpcg", "logdet", "lstsq",
    "lu", "lu_solve", "lu_unpack", "matrix_exp", "matrix_power", "matrix_rank", "ormqr", "pca_lowrank", "pinverse",
    "qr", "slogdet", "solve", "svd", "svd_lowrank", "symeig", "triangular_solve",
]  # fmt: skip


def det(input: Tensor) -> Tensor:
    """The determinant of square matrices."""
    return linalg.det(input)


@writes
def slogdet(input: Tensor):
    """(sign, logarithm of the size) of the determinant."""
    checked("linalg.slogdet", input)
    return named("slogdet", *f.slogdet_core(input))


def logdet(input: Tensor) -> Tensor:
    """The logarithm of the determinant; NaN where that is negative."""
    checked("logdet", input)
    sign, size = f.slogdet_core(input)
    if sign.spec.dtype.kind == "c":
        return e.add(e.log(sign), size)
    return e.where(e.eq(sign, -1), np.nan, size)


@writes
def cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """Lower triangular L with L L^H = A; `upper`: L^H."""
    return linalg._cholesky("cholesky", input, upper, True)[0]


@writes
def cholesky_solve(input: Tensor, input2: Tensor, upper: bool = False) -> Tensor:
    """X with (L L^H) X = B; `upper`: (L^H L) X = B."""
    for x, name in ((input, "b"), (input2, "u")):
        if x.spec.ndim < 2:
            fail(RuntimeError, f"{name} should have at least 2 dimensions, but has {x.spec.ndim} dimensions instead")
    checked("cholesky_solve", input2)
    linalg._one_dtype("cholesky_solve", input, input2, "b", "A")
    linalg._fits("cholesky_solve", input2, input, True)
    return f.cholesky_solve_core(input, input2, upper)


@writes
def cholesky_inverse(input: Tensor, upper: bool = False) -> Tensor:
    """The inverse of L L^H; `upper`: of L^H L."""
    checked("cholesky_inverse", input)
    return f.cholesky_inverse_core(input, upper)


@writes
def triangular_solve(
    input: Tensor, A: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False
):
    """(X, A) with A X = b (`transpose`: A^T X = b) for triangular A."""
    name = "torch.triangular_solve"
    for x, which in ((input, "b"), (A, "A")):
        if x.spec.ndim < 2:
            fail(
                RuntimeError,
                f"{name}: Expected {which} to have at least 2 dimensions, but it has {x.spec.ndim} dimensions instead",
            )
    checked("triangular_solve", A)
    linalg._one_dtype("triangular_solve", input, A, "b", "A")
    linalg._fits("triangular_solve", A, input, True)
    left = A.transpose(-2, -1) if transpose else A
    X = f.triangular_core(left, input, upper != transpose, unitriangular)
    batch = tuple(X.spec.shape[:-2])
    return named("triangular_solve", X, expand_to(A, (*batch, *A.spec.shape[-2:])).clone())


def lu(A: Tensor, pivot: bool = True, get_infos: bool = False, out=None):
    """(LU, pivots), and a report with `get_infos` in place of an error."""
    found = linalg._lu_checked("lu_factor", A, pivot, not get_infos)
    found = found if get_infos else found[:2]
    if out is None:
        return found
    if len(out) != len(found):
        fail(TypeError, f"expected tuple of {len(found)} elements but got {len(out)}")
    return tuple(linalg.products.INTO[0]("lu", o, x, (A,)) for o, x in zip(out, found))


@writes
def lu_unpack(LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True):
    """(P, L, U) of what `lu_factor` gives; empty tensors in place of what is not asked for."""
    m = LU_data.spec.shape[-2]
    P = L = U = LU_data.new_empty((0,))
    if unpack_pivots:
        if LU_pivots.spec.dtype is not dt.int32:
            fail(
                RuntimeError,
                "torch.lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32 dtype.",
                got=repr(LU_pivots.spec.dtype),
                mend="pass what torch.linalg.lu_factor gave",
            )
        pivots = host_array(LU_pivots)
        if pivots is not None and pivots.size and not (1 <= pivots.min() and pivots.max() <= m):
            fail(
                RuntimeError,
                "pivots passed to lu_unpack must be between 1 and LU.size(-2) inclusive.Did you properly pass the "
                "result of lu_factor?",
            )
        P = f.permutation(LU_pivots, m, LU_data)
    if unpack_data:
        L, U = f.lower_of(LU_data), f.upper_of(LU_data)
    return named("lu_unpack", P, L, U)


@writes
def lu_solve(input: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
    """X with A X = b, A given by `lu`."""
    return linalg.lu_solve(LU_data, LU_pivots, input)


@writes
def qr(input: Tensor, some: bool = True):
    """(Q, R) with Q R = A, reduced unless `some` is false."""
    return named("qr", *linalg.qr(input, "reduced" if some else "complete"))


@writes
@hosted
def geqrf(input: Tensor):
    """(a, tau): R on and above the diagonal of a, the reflectors of Q below it."""
    if input.spec.ndim < 2:
        fail(RuntimeError, "torch.geqrf: input must have at least 2 dimensions.")
    checked("torch.geqrf", input, False)
    array = numpy_view(input)
    h, tau = np.linalg.qr(array, "raw")
    return named("geqrf", f.made(h.swapaxes(-1, -2), input), f.made(tau, input))


@writes
def ormqr(input: Tensor, input2: Tensor, input3: Tensor, left: bool = True, transpose: bool = False) -> Tensor:
    """Q `other` (`left` false: `other` Q; `transpose`: Q^H), Q the product of the reflectors that `geqrf` gives."""
    name = "torch.ormqr"
    for x, which in ((input, "input"), (input3, "other")):
        if x.spec.ndim < 2:
            fail(RuntimeError, f"{name}: {which} must have at least 2 dimensions.")
    at, side = (-2, "-2") if left else (-1, "-1")
    if input3.spec.shape[at] < input2.spec.shape[-1]:
        fail(RuntimeError, f"{name}: other.shape[{side}] must be greater than or equal to tau.shape[-1]")
    if input3.spec.shape[at] != input.spec.shape[-2]:
        fail(RuntimeError, f"{name}: other.shape[{side}] must be equal to input.shape[-2]")
    if input.spec.shape[-1] < input2.spec.shape[-1]:
        fail(RuntimeError, f"{name}: input.shape[-1] must be greater than or equal to tau.shape[-1]")
    if input.spec.ndim - input2.spec.ndim != 1 or input.spec.ndim != input3.spec.ndim:
        fail(
            RuntimeError,
            f"{name}: Expected tau to have one dimension less than input, and other as many, but got tau.ndim equal to "
            f"{input2.spec.ndim}, input.ndim {input.spec.ndim} and other.ndim {input3.spec.ndim}",
        )
    if not tuple(input.spec.shape[:-2]) == tuple(input2.spec.shape[:-1]) == tuple(input3.spec.shape[:-2]):
        fail(
            RuntimeError,
            f"{name}: Expected batch dimensions of tau and other to be equal to input.shape[:-2], but got "
            f"{list(input2.spec.shape[:-1])} and {list(input3.spec.shape[:-2])}",
        )
    for x, which in ((input2, "tau"), (input3, "other")):
        if x.spec.dtype is not input.spec.dtype:
            fail(RuntimeError, f"{name}: {which} must have the same dtype as input")
    linalg.floating(name, input)
    V, T = linalg.reflections(input, input2)
    T = mH(T) if transpose else T
    if left:
        return e.sub(input3, matmul(V, matmul(T, matmul(mH(V), input3))))
    return e.sub(input3, matmul(matmul(matmul(input3, V), T), mH(V)))


def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """The Moore-Penrose inverse; singular values up to `rcond` times the largest count as 0."""
    return linalg.pinv(input, rtol=rcond, atol=0.0)


@writes
def svd(input: Tensor, some: bool = True, compute_uv: bool = True):
    """(U, S, V) with A = U diag(S) V^H; zeros for U and V without `compute_uv`."""
    if input.spec.ndim < 2:
        fail(
            RuntimeError,
            f"linalg.svd: input should have at least 2 dimensions, but has {input.spec.ndim} dimensions instead",
        )
    checked("linalg.svd", input, False)
    if compute_uv:
        U, S, Vh = f.svd_core(input, not some)
        return named("svd", U, S, mH(Vh))
    batch, (m, n) = input.spec.shape[:-2], input.spec.shape[-2:]
    zeros = [input.new_zeros((*batch, k, k)) for k in (m, n)]
    return named("svd", zeros[0], linalg._singular_values(input), zeros[1])


# --- approximations of low rank -----------------------------------------------------------------------------------


def _basis(A: Tensor, q: int, niter: int, M: Tensor | None) -> Tensor:
    """Orthonormal columns that span most of the range of A - M (N. Halko and others, 2009, algorithm 4.4)."""

    def times(x: Tensor, turned: bool) -> Tensor:
        made = matmul(mH(A) if turned else A, x)
        return made if M is None else e.sub(made, matmul(mH(M) if turned else M, x))

    Q = linalg.qr(times(randn(A.spec.shape[-1], q, dtype=A.spec.dtype, device=A.spec.device), False))[0]
    for _ in range(niter):
        Q = linalg.qr(times(Q, True))[0]
        Q = linalg.qr(times(Q, False))[0]
    return Q


def svd_lowrank(A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None):
    """(U, S, V) of an approximation of A - M of rank q, found with random numbers."""
    q, niter = 6 if q is None else q, 2 if niter is None else niter
    m, n = A.spec.shape[-2:]
    M = None if M is None else expand_to(M, A.spec.shape)
    if m < n:
        A, M = mH(A), None if M is None else mH(M)
    Q = _basis(A, q, niter, M)
    B = matmul(mH(Q), A)
    B = B if M is None else e.sub(B, matmul(mH(Q), M))
    U, S, Vh = linalg.svd(B, False)
    U, V = matmul(Q, U), mH(Vh)
    return (V, S, U) if m < n else (U, S, V)


def pca_lowrank(A: Tensor, q: int | None = None, center: bool = True, niter: int = 2):
    """(U, S, V) of a principal component analysis: `svd_lowrank` of A less the means of its columns."""
    m, n = A.spec.shape[-2:]
    q = min(6, m, n) if q is None else q
    if not 0 <= q <= min(m, n):
        fail(ValueError, f"q(={q}) must be non-negative integer and not greater than min(m, n)={min(m, n)}")
    if niter < 0:
        fail(ValueError, f"niter(={niter}) must be non-negative integer")
    return svd_lowrank(e.sub(A, mean(A, (-2,), keepdim=True)) if center else A, q, niter)


# --- LOBPCG -------------------------------------------------------------------------------------------------------


def lobpcg(
    A: Tensor,
    k: int | None = None,
    B: Tensor | None = None,
    X: Tensor | None = None,
    n: int | None = None,
    iK: Tensor | None = None,
    niter: int | None = None,
    tol: float | None = None,
    largest: bool | None = None,
    method: str | None = None,
    tracker=None,
    ortho_iparams=None,
    ortho_fparams=None,
    ortho_bparams=None,
) -> tuple[Tensor, Tensor]:
    """(E, X): the k largest (or smallest) eigenvalues and vectors of A x = e B x for symmetric A, positive definite B.

    The locally optimal block preconditioned conjugate gradient method (A. Knyazev, 2001) with orthonormal bases;
    `iK` is the preconditioner, X the start (random when None), `tol` bounds the residuals relative to |A| |x|.
    Where A needs a gradient, values and vectors come from `eigh` of the whole.
    """
    m = A.spec.shape[-1]
    if A.spec.shape[-2] != m:
        fail(RuntimeError, "lobpcg: A must be batches of square matrices")
    k = (1 if X is None else X.spec.shape[-1]) if k is None else k
    n = (k if X is None else X.spec.shape[-1]) if n is None else n
    if m < 3 * n:
        fail(
            ValueError,
            f"LPBPCG algorithm is not applicable when the number of A rows (={m}) is smaller than 3 x the number of "
            f"requested eigenpairs (={n})",
        )
    if method not in (None, "basic", "ortho"):
        fail(ValueError, "expected method is 'basic' or 'ortho'", got=method)
    if tracker is not None:
        fail(NotImplementedError, "lobpcg: a tracker looks into PyTorch's own iteration")
    largest = True if largest is None else largest
    if followed(A) or (B is not None and followed(B)):
        return _whole_eigenspace(A, B, k, largest)
    kind = A.spec.dtype
    bound = {4: 1e-6, 8: 1e-15 if kind.kind == "f" else 1e-6}.get(kind.itemsize, 1e-15) ** 0.5 if tol is None else tol
    if X is None:
        X = randn(*A.spec.shape[:-1], n, dtype=kind)
    a = numpy_view(A.detach())
    b, x, p = (None if t is None else numpy_view(t.detach()) for t in (B, X, iK))
    batch = a.shape[:-2]
    values, vectors = np.empty((*batch, k), np.real(a).dtype), np.empty((*batch, m, k), a.dtype)
    for at in np.ndindex(*batch):
        one, of_b, start, near = (None if y is None else y[at] if y.ndim > 2 else y for y in (a, b, x, p))
        steps = 1000 if niter is None or niter < 0 else niter
        values[at], vectors[at] = _lobpcg(one, of_b, start, near, k, steps, bound, largest)
    return f.made(values, A, real=True), f.made(vectors, A)


def _lobpcg(a, b, x, precondition, k: int, niter: int, tol: float, largest: bool):
    """One matrix: in each step the best vectors in the span of the last ones, their residuals and last moves."""
    times_b = (lambda y: y) if b is None else (lambda y: b @ y)

    def best(basis: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Eigenvalues and vectors within the span, in the order that is asked for, and their coordinates."""
        q, _ = np.linalg.qr(basis)
        if b is not None:
            q = np.linalg.solve(np.linalg.cholesky(q.conj().T @ (b @ q)), q.conj().T).conj().T
        values, turn = np.linalg.eigh(q.conj().T @ (a @ q))
        order = np.argsort(values)[:: -1 if largest else 1][: x.shape[1]]
        return values[order], q @ turn[:, order], q

    values, x, _ = best(x)
    moves, size = None, np.linalg.norm(a)
    for _ in range(niter):
        residual = a @ x - times_b(x) * values
        if (
            np.linalg.norm(residual[:, :k], axis=0)
            <= tol * (size + np.abs(values[:k])) * np.linalg.norm(x[:, :k], axis=0)
        ).all():
            break
        search = residual if precondition is None else precondition @ residual
        basis = np.concatenate([x, search] if moves is None else [x, search, moves], 1)
        scale = np.linalg.norm(basis, axis=0)
        values, new, _ = best(basis / np.where(scale > 0, scale, 1))
        moves = new - x @ (x.conj().T @ times_b(new))
        x = new
    return values[:k], x[:, :k]


def _whole_eigenspace(A: Tensor, B: Tensor | None, k: int, largest: bool) -> tuple[Tensor, Tensor]:
    L = None
    if B is not None:
        L = linalg.cholesky(B)
        A = f.triangular_core(L, mH(f.triangular_core(L, mH(A), False, False)), False, False)
    values, vectors = f.eigh_core(A, "L")
    if largest:
        values, vectors = values.flip(-1), vectors.flip(-1)
    values, vectors = values[..., :k], vectors[..., :k]
    return values, vectors if L is None else f.triangular_core(mH(L), vectors, True, False)


# --- what PyTorch took away ---------------------------------------------------------------------------------------


def _removed(name: str, rest: str = ""):
    def entry(*args, **kwargs):
        fail(RuntimeError, f"This function was deprecated since version 1.9 and is now removed.{rest}")

    entry.__name__ = entry.__qualname__ = name
    entry.__doc__ = "RuntimeError: PyTorch has no such function any more."
    return entry


symeig = _removed(
    "symeig",
    " The default behavior has changed from using the upper triangular portion of the matrix by default to using the "
    "lower triangular portion.",
)
eig = _removed(
    "eig",
    " `torch.linalg.eig` returns complex tensors of dtype `cfloat` or `cdouble` rather than real tensors mimicking "
    "complex tensors.",
)
lstsq = _removed("lstsq", " `torch.lstsq` is deprecated in favor of `torch.linalg.lstsq`.")
solve = _removed(
    "solve",
    " `torch.solve` is deprecated in favor of `torch.linalg.solve`. `torch.linalg.solve` has its arguments reversed "
    "and does not return the LU factorization.",
)
matrix_rank = _removed("matrix_rank")
