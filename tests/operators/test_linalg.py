"""Factorisations and what is built of them by their definitions, gradients against differences; errors as PyTorch's."""

import numpy as np
import pytest

from facula.operators import linalg
from facula.operators.creation import from_numpy

from .differences import check_gradients

rng = np.random.default_rng(0)
A = rng.normal(size=(2, 4, 4))
P = A @ A.transpose(0, 2, 1) + np.eye(4)
TALL = rng.normal(size=(5, 3))


def close(made, want):
    np.testing.assert_allclose(made.numpy(), want, rtol=1e-9, atol=1e-10)


def test_inverse_solution_determinant():
    close(linalg.inv(from_numpy(A)), np.linalg.inv(A))
    close(linalg.det(from_numpy(A)), np.linalg.det(A))
    sign, size = linalg.slogdet(from_numpy(A))
    close(sign, np.sign(np.linalg.det(A)))
    close(size, np.log(np.abs(np.linalg.det(A))))
    b = rng.normal(size=(2, 4, 3))
    close(linalg.solve(from_numpy(A), from_numpy(b)), np.linalg.solve(A, b))
    close(linalg.solve(from_numpy(A[0]), from_numpy(b[0, :, 0])), np.linalg.solve(A[0], b[0, :, 0]))
    close(linalg.solve(from_numpy(A[0]), from_numpy(b[0].T.copy()), left=False), np.linalg.solve(A[0].T, b[0]).T)


def test_factorisations():
    low = linalg.cholesky(from_numpy(P)).numpy()
    np.testing.assert_allclose(low @ low.transpose(0, 2, 1), P, rtol=1e-10)
    for x in (TALL, TALL.T.copy(), A):
        for mode in ("reduced", "complete"):
            q, r = (t.numpy() for t in linalg.qr(from_numpy(x), mode))
            np.testing.assert_allclose(q @ r, x, atol=1e-12)
            assert not np.tril(r, -1).any()
        u, s, vh = (t.numpy() for t in linalg.svd(from_numpy(x), False))
        np.testing.assert_allclose((u * s[..., None, :]) @ vh, x, atol=1e-12)
        close(linalg.pinv(from_numpy(x)), np.linalg.pinv(x))
    values, vectors = (t.numpy() for t in linalg.eigh(from_numpy(P)))
    np.testing.assert_allclose(P @ vectors, vectors * values[:, None, :], atol=1e-9)
    assert type(linalg.qr(from_numpy(TALL))).__name__ == "linalg_qr"


@pytest.mark.parametrize("ord", ["fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf])
def test_norms(ord):
    want = [np.linalg.norm(a, ord) for a in A]
    close(linalg.matrix_norm(from_numpy(A), ord), want)
    close(linalg.matrix_norm(from_numpy(A), ord, keepdim=True), np.reshape(want, (2, 1, 1)))
    close(linalg.norm(from_numpy(A[0]), ord), want[0])


def test_built():
    close(linalg.matrix_power(from_numpy(A), 3), A @ A @ A)
    close(linalg.matrix_power(from_numpy(A), -2), np.linalg.inv(A @ A))
    close(linalg.multi_dot([from_numpy(TALL), from_numpy(TALL.T.copy()), from_numpy(TALL)]), TALL @ TALL.T @ TALL)
    assert linalg.matrix_rank(from_numpy(TALL @ TALL.T)).item() == 3


def symmetric(x):
    return (x + x.transpose(-2, -1)) / 2


@pytest.mark.parametrize(
    ("function", "array"),
    [
        (linalg.inv, A[0]),
        (linalg.det, A[0]),
        (linalg.det, np.diag([1.0, 2.0, 0.0])),
        (lambda x: linalg.slogdet(x)[1], A),
        (lambda x: linalg.cholesky(symmetric(x)), P[0]),
        (lambda x: linalg.qr(x)[0], TALL),
        (lambda x: linalg.qr(x)[1], A[0]),
        (lambda x: linalg.eigh(symmetric(x))[0], P[0]),
        (lambda x: linalg.eigh(symmetric(x))[1].abs(), P[0]),
        (linalg.svdvals, TALL),
        (lambda x: linalg.svd(x, False)[0].abs(), TALL),
        (lambda x: linalg.svd(x, False)[2].abs(), TALL.T.copy()),
        (linalg.pinv, TALL),
    ],
)
def test_gradients(function, array):
    check_gradients(function, array, tolerance=1e-5)


def test_solution_gradients():
    b = rng.normal(size=(4, 2))
    check_gradients(linalg.solve, A[0], b, tolerance=1e-5)
    check_gradients(linalg.solve, A[0], b[:, 0].copy(), tolerance=1e-5)
    check_gradients(lambda x: linalg.inv(x), A[0], second=True, tolerance=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: linalg.inv(from_numpy(np.zeros((2, 2)))),
            "linalg.inv: The diagonal element 1 is zero, the inversion could not be completed",
        ),
        (
            lambda: linalg.inv(from_numpy(np.ones((3, 2, 2)))),
            "linalg.inv: (Batch element 0): The diagonal element 2 is zero",
        ),
        (
            lambda: linalg.inv(from_numpy(np.ones((2, 3)))),
            "linalg.inv: A must be batches of square matrices, but they are 2 by 3 matrices",
        ),
        (
            lambda: linalg.cholesky(from_numpy(-np.eye(2))),
            "input is not positive-definite (the leading minor of order 1 is not positive-definite)",
        ),
        (
            lambda: linalg.solve(from_numpy(np.zeros((2, 2))), from_numpy(np.zeros(2))),
            "The solver failed because the input matrix is singular.",
        ),
        (
            lambda: linalg.det(from_numpy(np.eye(2, dtype=int))),
            "linalg.det: Expected a floating point or complex tensor as input. Got Long",
        ),
        (lambda: linalg.qr(from_numpy(np.zeros(2))), "linalg.qr: The input tensor A must have at least 2 dimensions."),
        (
            lambda: linalg.qr(from_numpy(np.eye(2)), "foo"),
            "qr received unrecognized mode 'foo' but expected one of 'reduced'",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(RuntimeError) as caught:
        call()
    assert message in str(caught.value)
