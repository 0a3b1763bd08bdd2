"""Special functions against identities that hold for them, at the ends of their ranges, and refused gradients."""

import math

import numpy as np
import pytest

import facula
from facula.operators import special
from facula.operators.creation import from_numpy


def of(function, *numbers) -> np.ndarray:
    return function(from_numpy(np.array(numbers, np.float64))).numpy()


def test_scaled_complementary_error_function():
    x = np.linspace(-5, 5, 41)
    want = [math.exp(v * v) * math.erfc(v) for v in x]
    np.testing.assert_allclose(of(special.erfcx, *x), want, rtol=1e-13)
    big = np.array([24.9, 25.1, 100.0, 1e10])
    np.testing.assert_allclose(of(special.erfcx, *big) * big * math.sqrt(math.pi), 1 - 0.5 / big**2, rtol=1e-5)
    np.testing.assert_allclose(of(special.erfcx, 24.9999999, 25.0000001), of(special.erfcx, 25.0)[0], rtol=1e-8)
    assert of(special.erfcx, -27.0, np.inf, -np.inf).tolist() == [np.inf, 0.0, np.inf]
    assert np.isnan(of(special.erfcx, np.nan))


def test_the_normal_distribution_and_its_inverse():
    p = np.array([1e-300, 1e-20, 1e-5, 0.1, 0.5, 0.9, 1 - 1e-10])
    np.testing.assert_allclose(of(special.ndtr, *of(special.ndtri, *p)), p, rtol=1e-12)
    np.testing.assert_allclose(of(special.log_ndtr, *of(special.ndtri, *p)), np.log(p), rtol=1e-12)
    assert of(special.ndtri, 0.0, 1.0).tolist() == [-np.inf, np.inf]
    assert np.isnan(of(special.ndtri, -0.1, 1.1)).all()
    assert of(special.entr, 0.0, -1.0, 1.0).tolist() == [0.0, -np.inf, 0.0]


def test_bessel_functions_have_their_wronskians():
    x = np.concatenate([np.linspace(0.1, 5, 20), np.linspace(5.01, 60, 20)])
    j0, j1, y0, y1 = (of(getattr(special, f"bessel_{n}"), *x) for n in ("j0", "j1", "y0", "y1"))
    np.testing.assert_allclose(j1 * y0 - j0 * y1, 2 / (math.pi * x), rtol=1e-12)
    i0, i1, k0, k1 = (of(getattr(special, f"modified_bessel_{n}"), *x) for n in ("i0", "i1", "k0", "k1"))
    np.testing.assert_allclose(i0 * k1 + i1 * k0, 1 / x, rtol=1e-12)
    np.testing.assert_allclose(of(special.scaled_modified_bessel_k0, *x), k0 * np.exp(x), rtol=1e-12)


def test_zeta():
    np.testing.assert_allclose(
        special.zeta(2.0, from_numpy(np.array([1.0, 2.0]))).numpy(), [math.pi**2 / 6, math.pi**2 / 6 - 1]
    )
    found = special.zeta(
        from_numpy(np.array([1.0, 0.5, 2.0, 2.0, 2.5])), from_numpy(np.array([2.0, 1, -2, -1.5, -1.5]))
    )
    assert found.numpy()[[0, 2]].tolist() == [np.inf, np.inf]
    assert np.isnan(found.numpy()[[1, 4]]).all()
    np.testing.assert_allclose(found.numpy()[3], 1 / 2.25 + 4 + math.pi**2 / 2, rtol=1e-12)
    q = from_numpy(np.array([3.0])).requires_grad_()
    special.zeta(2.0, q).backward(facula.ones(1, dtype=facula.float64))
    np.testing.assert_allclose(q.grad.numpy(), -2 * special.zeta(3.0, q.detach()).numpy())


@pytest.mark.parametrize("kind", "tuvw")
@pytest.mark.parametrize("order", [0, 1, 2, 5, 9, 14])
def test_chebyshev_polynomials_by_their_angles(kind, order):
    angle = np.linspace(0.1, 3.0, 15)
    want = {
        "t": np.cos(order * angle), "u": np.sin((order + 1) * angle) / np.sin(angle),
        "v": np.cos((order + 0.5) * angle) / np.cos(angle / 2), "w": np.sin((order + 0.5) * angle) / np.sin(angle / 2),
    }[kind]  # fmt: skip
    x = from_numpy(np.cos(angle))
    np.testing.assert_allclose(getattr(special, f"chebyshev_polynomial_{kind}")(x, order).numpy(), want, atol=1e-11)
    shifted = getattr(special, f"shifted_chebyshev_polynomial_{kind}")((x + 1) / 2, order)
    np.testing.assert_allclose(shifted.numpy(), want, atol=1e-10)


def test_orders_that_are_no_orders():
    x = from_numpy(np.array([0.5, 0.5, 0.5]))
    n = from_numpy(np.array([-1.0, np.nan, np.inf]))
    for name in ("hermite_polynomial_h", "laguerre_polynomial_l", "legendre_polynomial_p", "chebyshev_polynomial_u"):
        assert getattr(special, name)(x, n).tolist() == [0, 0, 0]
    assert np.isnan(special.hermite_polynomial_he(x, 600).numpy()).all()


def test_polynomials_have_no_gradient():
    x = from_numpy(np.array([0.5])).requires_grad_()
    with pytest.raises(NotImplementedError, match="the derivative for 'special_legendre_polynomial_p: input' is not"):
        special.legendre_polynomial_p(x, 2).backward(facula.ones(1, dtype=facula.float64))
