"""Approximations of low rank, LOBPCG, what PyTorch took away; packed factors put together again."""

import numpy as np
import pytest

import facula
from facula.operators import lapack, matrices
from facula.operators.creation import from_numpy

rng = np.random.default_rng(1)
NOISE = rng.normal(size=(3, 30, 30))
SYMMETRIC = NOISE + NOISE.transpose(0, 2, 1)


@pytest.mark.parametrize("largest", [True, False])
def test_lobpcg_finds_the_ends_of_the_spectrum(largest):
    values, vectors = matrices.lobpcg(from_numpy(SYMMETRIC), 3, largest=largest)
    want = np.linalg.eigvalsh(SYMMETRIC)
    np.testing.assert_allclose(values.numpy(), want[:, :-4:-1] if largest else want[:, :3], rtol=1e-9)
    np.testing.assert_allclose(SYMMETRIC @ vectors.numpy(), vectors.numpy() * values.numpy()[:, None], atol=1e-5)


def test_lobpcg_of_a_pair_and_its_gradient():
    B = np.eye(30) + NOISE[1] @ NOISE[1].T
    A = from_numpy(SYMMETRIC[0].copy())
    values, vectors = matrices.lobpcg(A, 2, from_numpy(B))
    np.testing.assert_allclose(SYMMETRIC[0] @ vectors.numpy(), B @ vectors.numpy() * values.numpy(), atol=1e-5)
    again, _ = matrices.lobpcg(A.clone().requires_grad_(), 2, from_numpy(B))
    np.testing.assert_allclose(again.detach().numpy(), values.numpy(), rtol=1e-8)
    again.sum().backward()
    with pytest.raises(ValueError, match="LPBPCG algorithm is not applicable"):
        matrices.lobpcg(from_numpy(np.eye(4)), 2)


def test_approximations_of_low_rank():
    x = rng.normal(size=(20, 4)) @ rng.normal(size=(4, 12))
    facula.manual_seed(0)
    for A in (x, x.T.copy()):
        u, s, v = matrices.svd_lowrank(from_numpy(A), q=4)
        np.testing.assert_allclose((u * s @ v.T).numpy(), A, atol=1e-9)
    u, s, v = matrices.pca_lowrank(from_numpy(x), q=4)
    np.testing.assert_allclose((u * s @ v.T).numpy(), x - x.mean(0), atol=1e-9)
    with pytest.raises(ValueError, match="must be non-negative integer and not greater"):
        matrices.pca_lowrank(from_numpy(x), q=40)


def test_removed_functions_say_so():
    for name in ("symeig", "eig", "lstsq", "solve", "matrix_rank"):
        with pytest.raises(RuntimeError, match="deprecated since version 1.9 and is now removed"):
            getattr(matrices, name)(from_numpy(np.eye(2)))


@pytest.mark.parametrize("shape", [(70, 70), (2, 5, 9), (40, 80), (80, 40), (0, 3, 3), (0, 0)])
def test_packed_lu_put_together_is_the_matrix(shape):
    x = rng.normal(size=shape)
    LU, pivots, info = lapack.lu(x)
    k = min(shape[-2:])
    low = np.tril(LU[..., :k], -1) + np.eye(shape[-2], k)
    order = lapack.order_of(pivots, shape[-2])
    np.testing.assert_allclose(low @ np.triu(LU[..., :k, :]), np.take_along_axis(x, order[..., None], -2), atol=1e-10)
    assert not info.any()
    assert np.abs(low).max(initial=0) <= 1


@pytest.mark.parametrize("hermitian", [False, True])
@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_ldl_solves(n, hermitian):
    x = rng.normal(size=(2, n, n)) + 1j * rng.normal(size=(2, n, n))
    x = x + (x.conj() if hermitian else x).swapaxes(-1, -2)
    b = rng.normal(size=(2, n, 3)) + 0j
    LD, pivots, _ = lapack.ldl(x, hermitian)
    np.testing.assert_allclose(x @ lapack.ldl_solve(LD, pivots, b, hermitian), b, atol=1e-9)


def test_reports_of_singular_and_indefinite_matrices():
    x = np.array([np.eye(3), np.diag([1.0, 0.0, 2.0]), np.diag([1.0, 2.0, -1.0])])
    assert lapack.pivot_of_zero(x).tolist() == [0, 2, 0]
    assert lapack.cholesky(x)[1].tolist() == [0, 2, 3]
    inverse, info = facula.linalg.inv_ex(from_numpy(x))
    assert info.tolist() == [0, 2, 0]
    assert np.isnan(inverse.numpy()[1]).all()
    with pytest.raises(facula.linalg.LinAlgError, match=r"linalg.inv: \(Batch element 1\): The diagonal element 2"):
        facula.linalg.inv(from_numpy(x))
    with pytest.raises(RuntimeError, match=r"U\[2,2\] is zero and using it on lu_solve"):
        facula.linalg.lu_factor(from_numpy(x[1]))


def test_substitution_reads_one_half():
    for n in (1, 33, 80):
        x = np.tril(rng.normal(size=(n, n)) / n) + np.eye(n)
        b = rng.normal(size=(n, 2))
        full = x + np.triu(np.full((n, n), np.nan), 1)
        np.testing.assert_allclose(x @ lapack.substitute(full, b, False, False), b, atol=1e-10)
        np.testing.assert_allclose(x.T @ lapack.substitute(full.T, b, True, False), b, atol=1e-10)


def test_exponential_of_rotations_and_of_large_norms():
    turn = np.array([[0.0, -100.0], [100.0, 0.0]])
    want = [[np.cos(100), -np.sin(100)], [np.sin(100), np.cos(100)]]
    np.testing.assert_allclose(lapack.expm(turn), want, atol=1e-11)
    np.testing.assert_allclose(
        lapack.expm(np.diag([1.0, -30.0])), np.diag(np.exp([1.0, -30.0])), rtol=1e-13, atol=1e-20
    )
