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


def test_incomplete_gamma_functions_of_large_numbers():
    a = np.array([9e3, 1.1e4, 1e6, 1e12, 1e30])
    x = from_numpy(a)
    lower, upper = (f(x, x).numpy() for f in (special.igamma, special.igammac))
    np.testing.assert_allclose(lower, 0.5 + 1 / (3 * np.sqrt(2 * math.pi * a)), rtol=1e-7)
    np.testing.assert_allclose((lower + upper)[1:], 1, rtol=1e-15)
    beyond = 1e12 + np.array([-6e6, -1e6, 0.0, 2e6, 6e6])  # there it is the normal distribution's
    found = special.igamma(from_numpy(np.full(5, 1e12)), from_numpy(beyond)).numpy()
    np.testing.assert_allclose(found, of(special.ndtr, *((beyond - 1e12) / 1e6)), rtol=1e-3)
    for x in (9.6e3, 1e4, 1.03e4):  # one way below 1e4, another above
        below, above = (special.igamma(from_numpy(np.full(1, n)), from_numpy(np.full(1, x))).item() for n in ENDS)
        np.testing.assert_allclose(above, below, rtol=1e-9)


def test_common_divisors_and_multiples_of_the_lowest_number():
    """It has no absolute value: what PyTorch makes of that."""
    for kind, low in ((facula.int8, -(2**7)), (facula.int32, -(2**31))):
        a, b = (facula.tensor(x, dtype=kind) for x in ([low, low, 0, low, 6, low], [low, 0, low, 6, low, -1]))
        assert facula.gcd(a, b).tolist() == [low, low, low, -2, -2, 1]
    a, b = (facula.tensor(x, dtype=facula.int8) for x in ([-128, -128, 0, 100, -7], [-128, 0, -128, 40, 3]))
    assert facula.lcm(a, b).tolist() == [-128, 0, 0, -56, 21]


ENDS = 1e4, np.nextafter(1e4, 2e4)
