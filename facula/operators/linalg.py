"""`torch.linalg`: checks and public forms; the factorisations themselves are in `factor.py`."""

from math import inf, prod
from typing import Any, Literal

import numpy as np

from facula import launch
from facula.autograd.node import dtype_title
from facula.core import dtype as dt
from facula.core.shape import broadcast, normalize_dim
from facula.core.spec import dense
from facula.core.tensor import Tensor
from facula.core.wrapped import followed
from facula.errors import fail

from . import elementwise as e
from . import factor as f
from . import matmul as products
from .copying import cast
from .creation import eye, from_numpy, host_array, numpy_view
from .declare import hosted
from .factor import LinAlgError, conj, mH
from .indexing import take_along_dim
from .joining import cat, tril, triu
from .matmul import chain_matmul, dot, matmul
from .reduction import amax, amin, cumprod, vector_norm
from .reduction import sum as sum_over
from .results import named, writes
from .view import diagonal as diagonal_of
from .view import expand_to, movedim, narrow, reshape, squeeze_dims, transpose, unsqueeze

__all__ = [
    "LinAlgError", "cholesky", "cholesky_ex", "cond", "cross", "det", "diagonal", "eig", "eigh", "eigvals", "eigvalsh",
    "householder_product", "inv", "inv_ex", "ldl_factor", "ldl_factor_ex", "ldl_solve", "lstsq", "lu", "lu_factor",
    "lu_factor_ex", "lu_solve", "matmul", "matrix_exp", "matrix_norm", "matrix_power", "matrix_rank", "multi_dot",
    "norm", "pinv", "qr", "slogdet", "solve", "solve_ex", "solve_triangular", "svd", "svdvals", "tensorinv",
    "tensorsolve", "vander", "vecdot", "vector_norm",
]  # fmt: skip


# --- checks -------------------------------------------------------------------------------------------------------


def checked(name: str, A: Tensor, square: bool = True, short: bool = False) -> None:
    """RuntimeError unless `A` has floats or complex numbers in matrices (that are square); `short`: 16 bits too."""
    squares(name, A, square)
    floating(name, A, short)


def squares(name: str, A: Tensor, square: bool = True) -> None:
    """RuntimeError unless `A` holds matrices (that are square)."""
    if not isinstance(A, Tensor):
        fail(TypeError, f"{name}(): argument 'A' (position 1) must be Tensor, not {type(A).__name__}")
    if A.spec.ndim < 2:
        fail(
            RuntimeError,
            f"{name}: The input tensor A must have at least 2 dimensions.",
            got=f"shape {tuple(A.spec.shape)}",
        )
    n, m = A.spec.shape[-2:]
    if square and n != m:
        fail(RuntimeError, f"{name}: A must be batches of square matrices, but they are {n} by {m} matrices")


# What PyTorch leaves to its kernels to refuse: 16-bit floats; of those with a star, whole numbers too.
_KERNELS = {
    "linalg.det": "lu_cpu", "linalg.solve": "lu_cpu", "torch.linalg.lu_factor": "lu_cpu*", "linalg.lu": "lu_cpu*",
    "linalg.solve_triangular": "triangular_solve_cpu*", "triangular_solve": "triangular_solve_cpu*",
    "linalg.cholesky": "cholesky_cpu", "cholesky": "cholesky_cpu*", "cholesky_solve": "cholesky_solve_cpu*",
    "cholesky_inverse": "cholesky_inverse_out_cpu*", "linalg.lu_solve": "linalg.lu_solve_cpu",
    "torch.linalg.ldl_factor": "ldl_factor_kernel_cpu", "torch.linalg.ldl_factor_ex": "ldl_factor_kernel_cpu",
    "torch.linalg.ldl_solve": "ldl_solve_kernel_cpu", "linalg.qr": "geqrf_cpu", "torch.geqrf": "geqrf_cpu*",
    "torch.linalg.householder_product": "orgqr_cpu*", "torch.ormqr": "ormqr_cpu*", "linalg.eigh": "linalg_eigh_cpu*",
    "linalg.eigvalsh": "linalg_eigh_cpu*", "linalg.eig": "linalg_eig_out_cpu", "linalg.svd": "linalg_svd_cpu",
}  # fmt: skip


def floating(name: str, A: Tensor, short: bool = False) -> None:
    """RuntimeError unless `A` has floats or complex numbers; `short`: 16 bits too."""
    whole, low = A.spec.dtype.kind not in "fc", A.spec.dtype.itemsize <= 2
    kernel = _KERNELS.get(name, "")
    if (low and not whole and not short and kernel) or (whole and kernel[-1:] == "*"):
        fail(NotImplementedError, f"\"{kernel.rstrip('*')}\" not implemented for '{dtype_title(A.spec.dtype)}'")
    if A.spec.dtype.kind not in "fc":
        fail(
            RuntimeError,
            f"{name}: Expected a floating point or complex tensor as input. Got {dtype_title(A.spec.dtype)}",
        )
    if low and not short:
        fail(
            RuntimeError,
            f"{name}: Low precision dtypes not supported. Got {dtype_title(A.spec.dtype)}",
            mend="convert: A.float()",
        )


def _one_dtype(name: str, A: Tensor, B: Tensor, first: str = "A", second: str = "B") -> None:
    if A.spec.dtype is not B.spec.dtype:
        titles = dtype_title(A.spec.dtype), dtype_title(B.spec.dtype)
        fail(
            RuntimeError,
            f"{name}: Expected {first} and {second} to have the same dtype, but found {first} of type {titles[0]} and "
            f"{second} of type {titles[1]} instead",
        )


def _fits(name: str, A: Tensor, B: Tensor, left: bool) -> None:
    """RuntimeError unless A X = B (X A = B) has an X."""
    at = -2 if left else -1
    if A.spec.shape[at] != B.spec.shape[at]:
        (a, b), (c, d) = A.spec.shape[-2:], B.spec.shape[-2:]
        fail(
            RuntimeError,
            f"{name}: Incompatible shapes of A and B for the equation {'AX' if left else 'XA'} = B ({a}x{b} and "
            f"{c}x{d})",
        )


def _batched(name: str, A: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
    """Both with the batch dims of both."""
    batch = broadcast(A.spec.shape[:-2], B.spec.shape[:-2])
    a, b = (*batch, *A.spec.shape[-2:]), (*batch, *B.spec.shape[-2:])
    return A if tuple(A.spec.shape) == a else expand_to(A, a), B if tuple(B.spec.shape) == b else expand_to(B, b)


def _first(info: Tensor) -> tuple[str, int]:
    """Where in the batch something was reported, in PyTorch's words, and what; ("", 0) where nothing was."""
    array = host_array(info)
    if array is None:
        return "", 0
    at = np.flatnonzero(array)
    if not len(at):
        return "", 0
    return f"(Batch element {at[0]}): " if array.ndim else "", int(array.reshape(-1)[at[0]])


def _singular(name: str, info: Tensor) -> None:
    where, pivot = _first(info)
    if pivot:
        fail(
            LinAlgError,
            f"{name}: {where}The diagonal element {pivot} is zero, the inversion could not be completed because the "
            "input matrix is singular.",
        )


# --- inverses and solutions ---------------------------------------------------------------------------------------


@writes
def inv(A: Tensor) -> Tensor:
    """The inverse of square matrices; `_LinAlgError` where there is none."""
    checked("linalg.inv", A)
    inverse, info = f.inv_core(A)
    _singular("linalg.inv", info)
    return inverse


@writes
def inverse(input: Tensor) -> Tensor:
    """`inv`, under its older name."""
    return inv(input)


@writes
def inv_ex(A: Tensor, *, check_errors: bool = False):
    """(inverse, info): info is 0, or the pivot (from 1) that is zero."""
    checked("linalg.inv", A)
    inverse, info = f.inv_core(A)
    if check_errors:
        _singular("linalg.inv_ex", info)
    return named("linalg_inv_ex", inverse, info)


def is_vector(A: Tensor, B: Tensor) -> bool:
    """Whether B is a vector for each matrix of A, not a matrix."""
    return B.spec.ndim == 1 or (A.spec.ndim - 1 == B.spec.ndim and A.spec.shape[:-1] == B.spec.shape)


def _solve(name: str, A: Tensor, B: Tensor, left: bool, check: bool):
    checked("linalg.solve", A)
    _one_dtype("linalg.solve", A, B)
    vector = is_vector(A, B)
    if not left and not vector:
        _fits("linalg.solve", A, B, False)
        found, info = _solve(name, transpose(A, -2, -1), transpose(B, -2, -1), True, check)
        return transpose(found, -2, -1), info
    if not left:
        fail(
            RuntimeError,
            "linalg.solve: Vector broadcasting of the left hand side is not supported for left=False. In this case "
            "linalg.solve is equivalent to B / A.squeeze(-1)",
        )
    if not vector:
        _fits("linalg.solve", A, B, True)
    found, info = f.solve_core(A, B, vector)
    where, pivot = _first(info) if check else ("", 0)
    if pivot:
        fail(LinAlgError, f"torch.{name}: {where}The solver failed because the input matrix is singular.")
    return found, info


@writes
def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X with A X = B (`left` false: X A = B); B is a vector for each matrix, or a matrix."""
    return _solve("linalg.solve", A, B, left, True)[0]


@writes
def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False):
    """(result, info): `solve`, with a report in place of an error."""
    return named("linalg_solve_ex", *_solve("linalg.solve_ex", A, B, left, check_errors))


@writes
def solve_triangular(
    input: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """X with A X = B (`left` false: X A = B) for triangular A; the other half is not read."""
    name = "linalg.solve_triangular"
    checked(name, input)
    if B.spec.ndim < 2:
        fail(RuntimeError, f"{name}: The input tensor B must have at least 2 dimensions.")
    _one_dtype(name, input, B)
    _fits(name, input, B, left)
    if left:
        return f.triangular_core(input, B, upper, unitriangular)
    input, B = transpose(input, -2, -1), transpose(B, -2, -1)
    return transpose(f.triangular_core(input, B, not upper, unitriangular), -2, -1)


def _tolerances(A: Tensor, atol, rtol) -> tuple[Any, Any]:
    """Both as numbers or arrays: `rtol` is max(m, n) times the dtype's epsilon unless a positive `atol` is given."""
    a, r = (host_array(x.detach()) if isinstance(x, Tensor) else x for x in (atol, rtol))
    if r is None:
        r = max(A.spec.shape[-2:]) * float(np.finfo(A.spec.dtype.to_real().numpy).eps)
        if a is not None:
            r = np.where(np.asarray(a) > 0, 0.0, r)
    return 0.0 if a is None else a, r


@writes
def pinv(input: Tensor, *, atol=None, rtol=None, hermitian: bool = False) -> Tensor:
    """The Moore-Penrose inverse; singular values up to max(`atol`, `rtol` times the largest) count as 0."""
    if input.spec.ndim < 2 or input.spec.dtype.kind not in "fc":
        fail(
            RuntimeError,
            f"linalg.pinv({dtype_title(input.spec.dtype)}{{{list(input.spec.shape)}}}): expected a tensor with 2 or "
            "more dimensions of float, double, cfloat or cdouble types",
        )
    checked("linalg.pinv", input, hermitian)
    atol, rtol = _tolerances(input, atol, rtol)
    return f.pinv_core(input, rtol, atol, hermitian)


@writes
def lstsq(input: Tensor, b: Tensor, rcond: float | None = None, *, driver: str | None = None):
    """(solution, residuals, rank, singular_values) of the least squares problem A X = B."""
    name = "torch.linalg.lstsq"
    if input.spec.ndim < 2:
        fail(RuntimeError, f"{name}: input must have at least 2 dimensions.")
    if b.spec.ndim < 1:
        fail(RuntimeError, f"{name}: other must have at least 1 dimension.")
    if input.spec.dtype is not b.spec.dtype:
        fail(
            RuntimeError,
            f"{name}: Expected input and other to have the same dtype, but got input's dtype "
            f"{dtype_title(input.spec.dtype)} and other's dtype {dtype_title(b.spec.dtype)}",
        )
    checked("torch.linalg.lstsq", input, False)
    driver = driver or "gelsy"
    if driver not in ("gels", "gelsy", "gelsd", "gelss"):
        fail(RuntimeError, f"{name}: parameter `driver` should be one of (gels, gelsy, gelsd, gelss)")
    vector = input.spec.ndim - 1 == b.spec.ndim and input.spec.shape[:-1] == b.spec.shape
    right = unsqueeze(b, -1) if vector else b
    m, n = input.spec.shape[-2:]
    if right.spec.ndim < 2 or right.spec.shape[-2] != m:
        fail(RuntimeError, f"{name}: input.size(-2) should match other.size(-2)")
    if rcond is None:
        rcond = max(m, n) * float(np.finfo(input.spec.dtype.to_real().numpy).eps)
    X, rank, values = f.lstsq_core(input, right, rcond)
    real = input.spec.dtype.to_real()
    rest = narrow(e.abs(reshape(X, (X.spec.numel,))), 0, 0, 0)  # no elements
    if m > n and driver != "gelsy" and (driver == "gels" or _all_are(rank, n)):
        off = e.abs(e.sub(matmul(input, X), right))
        rest = sum_over(e.mul(off, off), -2)
    if driver == "gels":
        rank = launch.empty(dense(dt.int64, (0,), input.spec.device))
    if driver in ("gels", "gelsy"):
        values = launch.empty(dense(real, (0,), input.spec.device))
    return named("linalg_lstsq", squeeze_dims(X, (-1,)) if vector else X, rest, rank, values)


def _all_are(rank: Tensor, n: int) -> bool:
    """Whether all matrices have full rank, as they are taken to have where nobody can know."""
    array = host_array(rank)
    return array is None or bool((array == n).all())


def _product_of(sizes) -> int:
    return prod(int(n) for n in sizes)


@writes
def tensorinv(input: Tensor, ind: int = 2) -> Tensor:
    """The inverse under `tensordot` over the last `ndim - ind` dims."""
    if ind <= 0:
        fail(RuntimeError, f"Expected a strictly positive integer for 'ind', but got {ind}")
    shape = tuple(input.spec.shape)
    rows, columns = _product_of(shape[:ind]), _product_of(shape[ind:])
    if rows != columns:
        fail(
            RuntimeError,
            "Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), but got "
            f"{columns} != {rows}",
        )
    inverse = inv(reshape(input, (rows, columns)))
    return reshape(inverse, (*shape[ind:], *shape[:ind]))


@writes
def tensorsolve(input: Tensor, other: Tensor, dims=None) -> Tensor:
    """X with `tensordot(A, X, X.ndim)` equal to B."""
    if dims is not None:
        input = movedim(input, tuple(dims), tuple(range(input.spec.ndim - len(dims), input.spec.ndim)))
    shape = tuple(input.spec.shape)[other.spec.ndim :]
    n = _product_of(shape)
    if n != other.spec.numel or input.spec.numel != n * n:
        fail(
            RuntimeError,
            "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == prod(self.shape[:other.ndim]), "
            f"but got {n} != {_product_of(tuple(input.spec.shape)[: other.spec.ndim])}",
        )
    return reshape(solve(reshape(input, (n, n)), reshape(other, (n,))), shape)


# --- determinants -------------------------------------------------------------------------------------------------


@writes
def det(A: Tensor) -> Tensor:
    """The determinant of square matrices."""
    checked("linalg.det", A)
    return f.det_core(A)


@writes
def slogdet(A: Tensor):
    """(sign, logarithm of the size) of the determinant."""
    checked("linalg.slogdet", A)
    return named("linalg_slogdet", *f.slogdet_core(A))


# --- Cholesky, LU, LDL --------------------------------------------------------------------------------------------


def _cholesky(name: str, A: Tensor, upper: bool, check: bool):
    checked(name.replace("_ex", ""), A)
    L, info = f.cholesky_core(A, bool(upper))
    where, order = _first(info) if check else ("", 0)
    if order:
        fail(
            LinAlgError,
            f"{name}: {where}The factorization could not be completed because the input is not positive-definite (the "
            f"leading minor of order {order} is not positive-definite).",
        )
    return L, info


@writes
def cholesky(input: Tensor, *, upper: bool = False) -> Tensor:
    """Lower triangular L with L L^H = A for symmetric (Hermitian) positive-definite A; `upper`: L^H."""
    return _cholesky("linalg.cholesky", input, upper, True)[0]


@writes
def cholesky_ex(input: Tensor, *, upper: bool = False, check_errors: bool = False):
    """(L, info): info is 0, or the order of the first leading minor that is not positive-definite."""
    return named("linalg_cholesky_ex", *_cholesky("linalg.cholesky_ex", input, upper, check_errors))


def _pivots_needed(name: str, pivot: bool) -> None:
    if not pivot:
        fail(RuntimeError, f"{name}: LU without pivoting is not implemented on the CPU")


def _lu_checked(name: str, A: Tensor, pivot: bool, check: bool):
    checked("torch.linalg.lu_factor", A, False)
    _pivots_needed("linalg.lu_factor", pivot)
    LU, pivots, info = f.lu_core(A, pivot)
    where, at = _first(info) if check else ("", 0)
    if at:
        fail(
            RuntimeError,
            f"torch.linalg.{name}: {where}U[{at},{at}] is zero and using it on lu_solve would result in a division by "
            "zero. If you still want to perform the factorization, consider calling linalg.lu(A, pivot) or "
            "linalg.lu_factor_ex(A, pivot)",
        )
    return LU, pivots, info


@writes
def lu_factor(A: Tensor, *, pivot: bool = True):
    """(LU, pivots): L below the diagonal of LU, U from it on; row i was swapped with row `pivots[i] - 1`."""
    return named("linalg_lu_factor", *_lu_checked("lu_factor", A, pivot, True)[:2])


@writes
def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False):
    """(LU, pivots, info): `lu_factor`, with a report in place of an error."""
    return named("linalg_lu_factor_ex", *_lu_checked("lu_factor_ex", A, pivot, check_errors))


@writes
def lu(A: Tensor, *, pivot: bool = True):
    """(P, L, U) with P L U = A; an empty P without `pivot`."""
    checked("linalg.lu", A, False)
    _pivots_needed("linalg.lu", pivot)
    LU, pivots, _ = f.lu_core(A, pivot)
    P = f.permutation(pivots, A.spec.shape[-2], A) if pivot else A.new_empty((0,))
    return named("linalg_lu", P, f.lower_of(LU), f.upper_of(LU))


@writes
def lu_solve(LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False) -> Tensor:
    """X with A X = B (`left` false: X A = B; `adjoint`: A^H for A), A given by `lu_factor`."""
    name = "linalg.lu_solve"
    checked(name, LU)
    _one_dtype(name, LU, B, "LU", "B")
    if pivots.spec.dtype is not dt.int32:
        fail(RuntimeError, f"{name}: pivots should be a Tensor of scalar type torch.int32")
    if B.spec.ndim < 2:
        fail(RuntimeError, f"{name}: The input tensor B must have at least 2 dimensions.")
    n = LU.spec.shape[-1]
    if pivots.spec.ndim < 1 or pivots.spec.shape[-1] != n:
        fail(RuntimeError, f"{name}: Number of pivots per batch should be same as the dimension of the matrix")
    if tuple(pivots.spec.shape[:-1]) != tuple(LU.spec.shape[:-2]):
        fail(RuntimeError, f"{name}: Expected LU.shape[:-1] and pivots.shape to be the same")
    _fits(name, LU, B, left)
    if not left:
        return mH(lu_solve(LU, pivots, mH(B), adjoint=not adjoint))
    if not adjoint:
        X = f.triangular_core(LU, _rows_in(B, _order(pivots, n, False)), False, True)
        return f.triangular_core(LU, X, True, False)
    X = f.triangular_core(mH(LU), B, False, False)
    X = f.triangular_core(mH(LU), X, True, True)
    return _rows_in(X, _order(pivots, n, True))


@hosted
def _order(pivots: Tensor, n: int, back: bool) -> Tensor:
    """Where the rows go that `lu_factor` swapped, a column; `back`: the inverse."""
    order = f.lapack.order_of(numpy_view(pivots), n)
    return from_numpy(np.array(np.argsort(order, -1) if back else order, np.int64)[..., None])


def _rows_in(x: Tensor, index: Tensor) -> Tensor:
    """The rows of matrices in another order."""
    batch = np.broadcast_shapes(tuple(index.spec.shape[:-2]), tuple(x.spec.shape[:-2]))
    x = x if tuple(x.spec.shape[:-2]) == batch else expand_to(x, (*batch, *x.spec.shape[-2:]))
    return take_along_dim(x, index, -2)


def _ldl(name: str, A: Tensor, hermitian: bool, check: bool):
    checked(f"torch.linalg.{name}", A)
    LD, pivots, info = f.ldl_core(A, hermitian)
    at = _first(info)[1] if check else 0
    if at:
        fail(RuntimeError, f"torch.linalg.{name}: the diagonal element {at} of D is zero")
    return LD, pivots, info


@writes
def ldl_factor(input: Tensor, *, hermitian: bool = False):
    """(LD, pivots) of a symmetric (Hermitian) matrix: L below the diagonal, D on it and beside; pivots as LAPACK's."""
    return named("linalg_ldl_factor", *_ldl("ldl_factor", input, hermitian, True)[:2])


@writes
def ldl_factor_ex(input: Tensor, *, hermitian: bool = False, check_errors: bool = False):
    """(LD, pivots, info): `ldl_factor`, with a report in place of an error."""
    return named("linalg_ldl_factor_ex", *_ldl("ldl_factor_ex", input, hermitian, check_errors))


@writes
def ldl_solve(LD: Tensor, pivots: Tensor, B: Tensor, *, hermitian: bool = False) -> Tensor:
    """X with A X = B, A given by `ldl_factor`."""
    name = "torch.linalg.ldl_solve"
    checked(name, LD)
    if B.spec.ndim < 2:
        fail(
            RuntimeError,
            f"{name}: Expected B to have at least 2 dimensions, but it has {B.spec.ndim} dimensions instead",
        )
    if tuple(LD.spec.shape[:-1]) != tuple(pivots.spec.shape):
        fail(
            RuntimeError,
            f"{name}: Expected LD.shape[:-1] and pivots.shape to be the same, but got pivots with shape "
            f"{list(pivots.spec.shape)}",
        )
    if pivots.spec.dtype.kind not in "ui":
        fail(RuntimeError, f"{name}: Expected pivots to be integers. Got {dtype_title(pivots.spec.dtype)}")
    if LD.spec.dtype is not B.spec.dtype:
        fail(
            RuntimeError,
            f"{name}: LD dtype {dtype_title(LD.spec.dtype)} does not match b dtype {dtype_title(B.spec.dtype)}",
        )
    _fits("linalg.ldl_solve", LD, B, True)
    return _ldl_solution(LD.detach(), pivots, B.detach(), hermitian)


@hosted
def _ldl_solution(LD: Tensor, pivots: Tensor, B: Tensor, hermitian: bool) -> Tensor:
    return f.made(f.lapack.ldl_solve(numpy_view(LD), numpy_view(pivots), numpy_view(B), hermitian), B)


# --- QR and reflectors --------------------------------------------------------------------------------------------


@writes
def qr(A: Tensor, mode: str = "reduced"):
    """(Q, R), orthonormal columns and upper triangular, Q R = A; `mode` "reduced", "complete" or "r" (an empty Q)."""
    if mode not in ("reduced", "complete", "r"):
        fail(
            RuntimeError,
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'",
        )
    checked("linalg.qr", A, False)
    if mode == "r":
        if followed(A):
            R = f.qr_core(A, "reduced")[1]
            R.register_hook(_no_r)
        else:
            R = _r(A)
        return named("linalg_qr", A.new_empty((0,)), R)
    return named("linalg_qr", *f.qr_core(A, mode))


@hosted
def _r(A: Tensor) -> Tensor:
    R = np.linalg.qr(numpy_view(A), "r")
    return f.made(R, A)  # pyright: ignore[reportArgumentType] - an array, which NumPy's stub does not say


def _no_r(grad):
    fail(
        RuntimeError,
        "The derivative of linalg.qr depends on Q, which is not computed when mode='r'. Please use "
        "linalg.qr(A, mode='reduced') if you are going to use backward.",
    )


def reflections(A: Tensor, tau: Tensor) -> tuple[Tensor, Tensor]:
    """(V, T): the product of the reflectors in A below the diagonal, with factors tau, is 1 - V T V^H."""
    m, k = A.spec.shape[-2], tau.spec.shape[-1]
    V = e.add(tril(narrow(A, -1, 0, k), -1), eye(m, k, dtype=A.spec.dtype, device=A.spec.device))
    D = unsqueeze(tau, -1)
    inner = e.add(e.mul(D, triu(matmul(mH(V), V), 1)), eye(k, dtype=A.spec.dtype, device=A.spec.device))
    return V, f.triangular_core(inner, e.mul(D, eye(k, dtype=A.spec.dtype, device=A.spec.device)), True, True)


@writes
def householder_product(input: Tensor, tau: Tensor) -> Tensor:
    """The first n columns of the product of the reflectors that `geqrf` gives."""
    name = "torch.linalg.householder_product"
    if input.spec.ndim < 2:
        fail(RuntimeError, f"{name}: input must have at least 2 dimensions.")
    m, n = input.spec.shape[-2:]
    if m < n:
        fail(RuntimeError, f"{name}: input.shape[-2] must be greater than or equal to input.shape[-1]")
    if n < tau.spec.shape[-1]:
        fail(RuntimeError, f"{name}: input.shape[-1] must be greater than or equal to tau.shape[-1]")
    if input.spec.ndim - tau.spec.ndim != 1:
        fail(
            RuntimeError,
            f"{name}: Expected tau to have one dimension less than A, but got tau.ndim equal to {tau.spec.ndim} "
            f"and input.ndim is equal to {input.spec.ndim}",
        )
    if tuple(input.spec.shape[:-2]) != tuple(tau.spec.shape[:-1]):
        fail(
            RuntimeError,
            f"{name}: Expected batch dimensions of tau to be equal to input.shape[:-2], but got "
            f"{list(tau.spec.shape[:-1])}",
        )
    if tau.spec.dtype is not input.spec.dtype:
        fail(
            RuntimeError,
            f"{name}: tau dtype {dtype_title(tau.spec.dtype)} does not match input dtype "
            f"{dtype_title(input.spec.dtype)}",
        )
    floating(name, input)
    V, T = reflections(input, tau)
    first = eye(m, n, dtype=input.spec.dtype, device=input.spec.device)
    return e.sub(first, matmul(V, matmul(T, mH(narrow(V, -2, 0, n)))))


@writes
def orgqr(input: Tensor, input2: Tensor) -> Tensor:
    """`householder_product`, under LAPACK's name."""
    return householder_product(input, input2)


# --- eigenvalues and singular values ------------------------------------------------------------------------------


def _half(UPLO: str) -> Literal["L", "U"]:
    half = str(UPLO).upper()
    if half not in ("L", "U"):
        fail(RuntimeError, f"Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    return half


@writes
def eigh(input: Tensor, UPLO: str = "L"):
    """(eigenvalues, eigenvectors) of symmetric (Hermitian) matrices, of which the lower ("L") or upper half is read."""
    checked("linalg.eigh", input)
    return named("linalg_eigh", *f.eigh_core(input, _half(UPLO)))


@writes
def eigvalsh(input: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues of symmetric (Hermitian) matrices, in order."""
    checked("linalg.eigh", input)
    if followed(input):
        return f.eigh_core(input, _half(UPLO))[0]
    return _eigvalsh(input, _half(UPLO))


@hosted
def _eigvalsh(A: Tensor, half: Literal["L", "U"]) -> Tensor:
    return f.made(np.linalg.eigvalsh(numpy_view(A), half), A, real=True)


def _finite(A: Tensor) -> None:
    array = host_array(A.detach())
    if array is not None and not np.isfinite(array).all():
        fail(RuntimeError, "torch.linalg.eig: input tensor should not contain infs or NaNs.")


@writes
def eig(input: Tensor):
    """(eigenvalues, eigenvectors), both complex, of any square matrices; the vectors have length 1."""
    checked("linalg.eig", input)
    _finite(input)
    return named("linalg_eig", *f.eig_core(input))


@writes
def eigvals(input: Tensor) -> Tensor:
    """The eigenvalues, complex, of any square matrices."""
    checked("linalg.eig", input)
    _finite(input)
    if followed(input):
        return f.eig_core(input)[0]
    return _eigvals(input)


@hosted
def _eigvals(A: Tensor) -> Tensor:
    return from_numpy(np.array(np.linalg.eigvals(numpy_view(A)), A.spec.dtype.to_complex().numpy, order="C"))


def _no_driver(name: str, driver) -> None:
    if driver is not None:
        fail(
            RuntimeError,
            f"torch.linalg.{name}: keyword argument `driver=` is only supported on CUDA inputs with cuSOLVER backend.",
        )


@writes
def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None):
    """(U, S, Vh) with A = U diag(S) Vh and singular values S from the largest to the smallest."""
    checked("linalg.svd", A, False)
    _no_driver("svd", driver)
    return named("linalg_svd", *f.svd_core(A, bool(full_matrices)))


@writes
def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """The singular values, from the largest to the smallest."""
    checked("linalg.svd", A, False)
    _no_driver("svdvals", driver)
    return _singular_values(A)


def _singular_values(A: Tensor) -> Tensor:
    if followed(A):
        return f.svd_core(A, False)[1]
    return _values_alone(A)


@hosted
def _values_alone(A: Tensor) -> Tensor:
    if not np.isfinite(numpy_view(A)).all():
        return f.svd_core(A, False)[1]
    return f.made(np.linalg.svd(numpy_view(A), compute_uv=False), A, real=True)


@writes
@hosted
def matrix_rank(input: Tensor, tol=None, *, atol=None, rtol=None, hermitian: bool = False) -> Tensor:
    """The number of singular values above max(`atol`, `rtol` times the largest)."""
    if input.spec.ndim < 2:
        fail(RuntimeError, "torch.linalg.matrix_rank: The input tensor input must have at least 2 dimensions.")
    checked("linalg.matrix_rank", input, hermitian)
    array = numpy_view(input.detach())
    if hermitian:
        size = np.abs(np.linalg.eigvalsh(array))
    else:
        size = np.linalg.svd(array, compute_uv=False)
    if tol is not None:
        atol, rtol = tol, 0.0
    a, r = _tolerances(input, atol, rtol)
    border = np.maximum(np.asarray(a), np.asarray(r) * size.max(-1, initial=0))
    return from_numpy(np.array((size > border[..., None]).sum(-1), np.int64))


@writes
def cond(input: Tensor, p=None) -> Tensor:
    """The norm of A times that of its inverse; `p` None or 2 by singular values, -2 its inverse."""
    if input.spec.ndim < 2:
        fail(RuntimeError, "linalg.cond: The input tensor A must have at least 2 dimensions.")
    if p in (None, 2, -2):
        s = svdvals(input)
        if not input.spec.numel:
            return input.new_zeros(input.spec.shape[:-2], dtype=input.spec.dtype.to_real())
        least, most = (squeeze_dims(narrow(s, -1, i, 1), (-1,)) for i in (s.spec.shape[-1] - 1, 0))
        return e.true_divide(least, most) if p == -2 else e.true_divide(most, least)
    if p not in ("fro", "nuc", inf, -inf, 1, -1):
        fail(RuntimeError, f"linalg.cond got an invalid norm type: {p}")
    name = f"linalg.cond(ord={p})" if isinstance(p, str) else f"linalg.cond(ord={p:g})"
    checked(name, input, short=True)
    floating("linalg.inv", input)
    if not input.spec.numel:
        return input.new_zeros(input.spec.shape[:-2], dtype=input.spec.dtype.to_real())
    inverse, info = f.inv_core(input)
    if p == "nuc" and _first(info)[1]:
        _singular("linalg.inv", info)
    found = e.mul(matrix_norm(input, p), matrix_norm(inverse, p))
    return e.where(e.ne(info, 0), inf, found) if _first(info)[1] else found


# --- products and powers ------------------------------------------------------------------------------------------


@writes
def matrix_power(input: Tensor, n: int) -> Tensor:
    """The product of `n` factors A; of its inverse where `n` is negative."""
    if not isinstance(n, int) or isinstance(n, bool):
        fail(TypeError, f"linalg_matrix_power(): argument 'n' (position 2) must be int, not {type(n).__name__}")
    squares("linalg.matrix_power", input)
    if input.spec.dtype.kind == "b":
        fail(NotImplementedError, "\"addmm_impl_cpu_\" not implemented for 'Bool'")
    if n == 0:
        return input.clone().copy_(eye(input.spec.shape[-1], dtype=input.spec.dtype, device=input.spec.device))
    base, n = (inv(input), -n) if n < 0 else (input, n)
    found: Any = None
    while n:
        if n & 1:
            found = base if found is None else matmul(found, base)
        n >>= 1
        base = matmul(base, base) if n else base
    return found.clone() if found is input else found


def matrix_exp(input: Tensor) -> Tensor:
    """The exponentials of square matrices."""
    checked("linalg.matrix_exp", input, short=True)
    if input.spec.dtype.itemsize == 2:
        return cast(f.matrix_exp_core(cast(input, dt.float32)), input.spec.dtype)
    return f.matrix_exp_core(input)


@writes
def multi_dot(tensors) -> Tensor:
    """The product of several matrices in the cheapest order; the first and the last may be vectors."""
    parts = list(tensors)
    if len(parts) < 2:
        fail(RuntimeError, f"multi_dot(): expected at least 2 tensors but got {len(parts)}")
    last = len(parts) - 1
    for i, x in enumerate(parts):
        if i in (0, last) and x.spec.ndim not in (1, 2):
            which = "first" if i == 0 else "last"
            fail(RuntimeError, f"multi_dot(): the {which} tensor must be 1D or 2D but got {x.spec.ndim}D")
        if 0 < i < last and x.spec.ndim != 2:
            fail(RuntimeError, f"multi_dot(): tensor {i} must be 2D but got {x.spec.ndim}D")
        if x.spec.dtype is not parts[0].spec.dtype:
            fail(
                RuntimeError,
                f"multi_dot(): all tensors must have be the same dtype but tensor 0 is "
                f"{dtype_title(parts[0].spec.dtype)} and tensor {i} {dtype_title(x.spec.dtype)}",
            )
    vectors = parts[0].spec.ndim == 1, parts[-1].spec.ndim == 1
    if vectors[0]:
        parts[0] = unsqueeze(parts[0], 0)
    if vectors[1]:
        parts[-1] = unsqueeze(parts[-1], 1)
    for i, (a, b) in enumerate(zip(parts, parts[1:])):
        if a.spec.shape[1] != b.spec.shape[0]:
            fail(
                RuntimeError,
                f"multi_dot(): tensors {i} and {i + 1} with shapes {list(a.spec.shape)} and {list(b.spec.shape)} "
                "cannot be multiplied",
            )
    found = chain_matmul(*parts)
    found = squeeze_dims(found, (0,)) if vectors[0] else found
    return squeeze_dims(found, (-1,)) if vectors[1] else found


@writes
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """The sums of `conj(x) * y` along a dim."""
    floating("linalg.vecdot", x, True)
    if x.spec.ndim == y.spec.ndim == 1 and x.spec.dtype is y.spec.dtype:
        return dot(conj(x), y)
    return sum_over(e.mul(conj(x), y), dim)


@writes
def vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """The powers 0 to N - 1 of each number, in a new last dim."""
    if N is None:
        N = x.spec.shape[-1] if x.spec.ndim else 0
    if N <= 1:
        fail(RuntimeError, "N must be greater than 1.")
    if x.spec.dtype.kind == "b" or x.spec.dtype.itemsize == 2 and x.spec.dtype.kind in "fc":
        fail(
            RuntimeError,
            f"linalg.vander supports floating point, complex, and integer tensors, but got {dtype_title(x.spec.dtype)}",
        )
    kind = dt.int64 if x.spec.dtype.kind in "bui" else x.spec.dtype
    x = x if x.spec.ndim else unsqueeze(x, 0)
    repeated = expand_to(unsqueeze(cast(x, kind), -1), (*x.spec.shape, N - 1))
    ones = x.new_ones((*x.spec.shape, 1), dtype=kind)
    return cat([ones, cumprod(repeated, -1)], -1)


@writes
def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The cross products of vectors of three along `dim`; other dims broadcast."""
    if input.spec.ndim != other.spec.ndim:
        fail(RuntimeError, "linalg.cross: inputs must have the same number of dimensions.")
    return products.cross(input, other, normalize_dim(dim, input.spec.ndim))


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonals of matrices, a view."""
    return diagonal_of(A, offset, dim1, dim2)


# --- norms --------------------------------------------------------------------------------------------------------


def _pair(dim) -> tuple:
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    if len(dims) != 2:
        fail(RuntimeError, f"linalg.matrix_norm: dim must be a 2-tuple. Got {' '.join(map(str, dims))}")
    return dims


@writes
def matrix_norm(input: Tensor, ord: Any = "fro", dim=(-2, -1), keepdim: bool = False, *, dtype=None) -> Tensor:
    """A norm of matrices: "fro", "nuc", 1, -1, 2, -2, inf or -inf."""
    if input.spec.ndim < 2:
        fail(RuntimeError, "linalg.matrix_norm: The input tensor A must have at least 2 dimensions.")
    floating("linalg.matrix_norm", input, True)
    given = _pair(dim)
    if isinstance(ord, str):
        if ord not in ("fro", "nuc"):
            fail(RuntimeError, f"linalg.matrix_norm: Order {ord} not supported.")
    elif ord not in (1, -1, 2, -2, inf, -inf):
        fail(RuntimeError, f"linalg.matrix_norm: Order {ord:g} not supported.")
    rank = input.spec.ndim
    for d in given:
        if not -rank <= d < rank:
            fail(
                IndexError,
                f"Dimension out of range (expected to be in range of [{-rank}, {rank - 1}], but got {d})",
            )
    row, column = (d % rank for d in given)
    if row == column:
        fail(RuntimeError, f"linalg.matrix_norm: dims must be different. Got ({given[0]}, {given[1]})")
    if dtype is not None:
        input = cast(input, dtype)
    if ord == "fro":
        return vector_norm(input, 2, (row, column), keepdim)
    if ord in ("nuc", 2, -2):
        floating("linalg.matrix_norm", input)
        s = _singular_values(movedim(input, (row, column), (-2, -1)))
        found = sum_over(s, -1) if ord == "nuc" else _extreme(s, -1, False, ord)
        for d in sorted((row, column)) if keepdim else ():
            found = unsqueeze(found, d)
        return found
    along, other = (row, column) if abs(ord) == 1 else (column, row)
    sums = vector_norm(input, 1, along, keepdim)
    return _extreme(sums, other if keepdim or other < along else other - 1, keepdim, ord)


def _extreme(x: Tensor, dim: int, keepdim: bool, ord: float) -> Tensor:
    """The largest along a dim, 0 where there is none; for negative `ord` the smallest."""
    if ord > 0 and not x.spec.shape[dim]:
        return sum_over(x, dim, keepdim)
    return (amax if ord > 0 else amin)(x, dim, keepdim=keepdim)


@writes
def norm(input: Tensor, ord: Any = None, dim=None, keepdim: bool = False, *, dtype=None) -> Tensor:
    """A vector norm (one dim, or `ord` None over all) or a matrix norm (two dims, or an `ord` of a matrix)."""
    if dim is not None and not isinstance(dim, int) and len(dim) not in (1, 2):
        fail(RuntimeError, f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got {list(dim)}")
    pair = dim is not None and not isinstance(dim, int) and len(dim) == 2
    if isinstance(ord, str):
        if dim is None and input.spec.ndim != 2:
            fail(
                RuntimeError,
                f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {input.spec.ndim}D.",
            )
        return matrix_norm(input, ord, (-2, -1) if dim is None else dim, keepdim, dtype=dtype)
    if ord is not None and dim is None and input.spec.ndim not in (1, 2):
        fail(
            RuntimeError,
            f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {input.spec.ndim}D.",
        )
    if ord is not None and (pair or (dim is None and input.spec.ndim == 2)):
        return matrix_norm(input, ord, dim if pair else (0, 1), keepdim, dtype=dtype)
    return vector_norm(input, 2 if ord is None else ord, dim, keepdim, dtype=dtype)
