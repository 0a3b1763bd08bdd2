"""Gamma and Dirichlet numbers and how they move with their parameters, against quadrature of their densities."""

import math

import numpy as np
import pytest

import facula as torch
from facula.operators.sampling import dirichlet_gradient, sample_dirichlet, standard_gamma, standard_gamma_gradient

NODES, WEIGHTS = np.polynomial.legendre.leggauss(400)
NODES, WEIGHTS = (NODES + 1) / 2, WEIGHTS / 2
POWER = 12  # of the substitution t = x * w ** POWER, which takes away the singularity at 0


def below(log_density, x):
    """The integral of a density from 0 to x."""
    t = x * NODES**POWER
    return np.sum(WEIGHTS * np.exp(log_density(t)) * x * POWER * NODES ** (POWER - 1))


def gamma_density(a):
    return lambda t: (a - 1) * np.log(t) - t - math.lgamma(a)


def beta_density(a, b):
    constant = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return lambda t: (a - 1) * np.log(t) + (b - 1) * np.log1p(-t) + constant


def movement(density, a, x, step=1e-5):
    """-(dF/da) / (dF/dx), F's slope in `a` by a difference."""
    slope = (below(density(a * (1 + step)), x) - below(density(a * (1 - step)), x)) / (2 * a * step)
    return -slope / np.exp(density(a)(x))


def t(value, dtype="float64", **options):
    return torch.tensor(value, dtype=getattr(torch, dtype), **options)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("a", [0.2, 0.7, 1.0, 3.0, 7.5, 9.0, 40.0])
def test_gamma_gradient(a, dtype):
    x = a * np.array([0.05, 0.3, 0.92, 1.0, 1.05, 1.6, 2.5 if a < 9 else 1.8])  # beyond, differences of F cancel
    found = standard_gamma_gradient(t(a, dtype), t(x, dtype)).numpy()
    wanted = [movement(gamma_density, a, point) for point in x]
    np.testing.assert_allclose(found, wanted, rtol=6e-3)
    assert found.dtype == dtype


@pytest.mark.parametrize("a, b", [(0.3, 0.9), (0.7, 5.0), (2.0, 3.0), (8.0, 9.0), (30.0, 7.0), (5.0, 0.8)])
def test_dirichlet_gradient(a, b):
    mean = a / (a + b)
    x = np.array([0.2 * mean, 0.6 * mean, mean, mean + 0.3 * (1 - mean), mean + 0.6 * (1 - mean)])
    found = dirichlet_gradient(t(x), t(a), t(a + b)).numpy() * (1 - x)
    wanted = [movement(lambda a: beta_density(a, b), a, point) for point in x]
    np.testing.assert_allclose(found, wanted, rtol=2e-2, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_moments(dtype):
    torch.manual_seed(0)
    a = t([0.05, 0.7, 1.0, 6.0, 90.0], dtype)
    x = standard_gamma(a.expand(40000, 5))
    assert x.dtype is a.dtype and (x > 0).all()
    np.testing.assert_allclose(x.mean(0).numpy(), a.numpy(), rtol=0.1)
    np.testing.assert_allclose(x.var(0).numpy(), a.numpy(), rtol=0.15)
    y = sample_dirichlet(a.expand(40000, 5))
    assert (y > 0).all() and (y < 1).all()
    np.testing.assert_allclose(y.sum(-1).numpy(), 1, rtol=1e-5)
    np.testing.assert_allclose(y.mean(0).numpy(), (a / a.sum()).numpy(), rtol=0.1)


def test_gradients_of_means():
    for concentration in (0.3, 2.5, 30.0):
        a = t([concentration], requires_grad=True)
        torch.manual_seed(0)
        standard_gamma(a.expand(40000)).mean().backward()
        assert abs(a.grad.item() - 1) < 0.05  # the mean is the concentration itself
    a = t([0.5, 2.0, 8.0], requires_grad=True)
    torch.manual_seed(0)
    sample_dirichlet(a.expand(40000, 3))[:, 1].mean().backward()
    total = 10.5
    np.testing.assert_allclose(a.grad.numpy(), [-2 / total**2, (total - 2) / total**2, -2 / total**2], atol=2e-3)


def test_edges():
    assert standard_gamma(t([0.0])).item() == 2.0**-1022 and standard_gamma(t([])).shape == (0,)
    assert standard_gamma(t([[1.0, 2.0], [3.0, 4.0]]).T).shape == (2, 2)
    assert standard_gamma_gradient(t(2.0), t(0.0)).item() == 0.0
    generator = torch.Generator().manual_seed(3)
    first = standard_gamma(torch.ones(4), generator)
    assert torch.equal(first, standard_gamma(torch.ones(4), torch.Generator().manual_seed(3)))
    for draw, name in ((standard_gamma, "gamma_cpu"), (sample_dirichlet, "dirichlet")):
        with pytest.raises(NotImplementedError, match=f"\"{name}\" not implemented for 'Long'"):
            draw(torch.ones(3, dtype=torch.int64))
