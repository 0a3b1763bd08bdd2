"""Distributions against SciPy-free formulas, moments of their samples and each other; without PyTorch."""

import copy
import math
import pickle

import numpy as np
import pytest

import facula as torch
from facula import distributions as d

V, P, U = [0.3, -1.0, 2.0], [0.6, 1.3, 2.5], [0.2, 0.5, 0.9]


def t(value, **options):
    return torch.tensor(value, dtype=torch.float64, **options)


CONTINUOUS = {  # of numbers: name, distribution, (lowest, highest) value with a chance to speak of
    "Beta": (lambda: d.Beta(t(P), t([1.5, 2.0, 3.0])), (0, 1)),
    "Cauchy": (lambda: d.Cauchy(t(V), t(P)), (-2000, 2000)),
    "Chi2": (lambda: d.Chi2(t([2.0, 3.0, 5.0])), (0, 80)),
    "ContinuousBernoulli": (lambda: d.ContinuousBernoulli(t(U)), (0, 1)),
    "Exponential": (lambda: d.Exponential(t(P)), (0, 60)),
    "FisherSnedecor": (lambda: d.FisherSnedecor(t([3.0, 4.0, 9.0]), t([6.0, 8.0, 9.0])), (0, 400)),
    "Gamma": (lambda: d.Gamma(t([1.2, 2.0, 5.0]), t(P)), (0, 60)),
    "GeneralizedPareto": (lambda: d.GeneralizedPareto(t(V), t(P), t([-0.5, 0.0, 0.1])), (-5, 100)),
    "Gumbel": (lambda: d.Gumbel(t(V), t(P)), (-30, 80)),
    "HalfCauchy": (lambda: d.HalfCauchy(t(P)), (0, 3000)),
    "HalfNormal": (lambda: d.HalfNormal(t(P)), (0, 20)),
    "InverseGamma": (lambda: d.InverseGamma(t([3.0, 4.0, 6.0]), t(P)), (1e-3, 300)),
    "Kumaraswamy": (lambda: d.Kumaraswamy(t([1.0, 1.3, 2.5]), t([1.0, 2.0, 3.0])), (0, 1)),
    "Laplace": (lambda: d.Laplace(t(V), t(P)), (-60, 60)),
    "LogNormal": (lambda: d.LogNormal(t(V), t([0.2, 0.4, 0.3])), (1e-3, 60)),
    "Normal": (lambda: d.Normal(t(V), t(P)), (-25, 25)),
    "Pareto": (lambda: d.Pareto(t(P), t([3.0, 4.0, 6.0])), (0, 500)),
    "StudentT": (lambda: d.StudentT(t([3.0, 5.0, 9.0]), t(V), t(P)), (-400, 400)),
    "Uniform": (lambda: d.Uniform(t([-1.0, 0.0, 1.0]), t([1.0, 0.5, 4.0])), (-2, 5)),
    "VonMises": (lambda: d.VonMises(t(V), t([0.3, 2.0, 9.0])), (-math.pi, math.pi)),
    "Weibull": (lambda: d.Weibull(t(P), t([1.0, 1.5, 4.0])), (0, 60)),
    "RelaxedBernoulli": (lambda: d.RelaxedBernoulli(t(2.2), t(U)), (0, 1)),
    "Mixture": (lambda: d.MixtureSameFamily(d.Categorical(t(U)), d.Normal(t(V), t(P))), (-25, 25)),
    "Transformed": (
        lambda: d.TransformedDistribution(d.Normal(t(V), t(P)), [d.AffineTransform(0.5, -2.0), d.SigmoidTransform()]),
        (0, 1),
    ),
}
HEAVY = {"Cauchy", "HalfCauchy"}  # no mean


def grid(low, high, count=10001):
    """Points, dense near 0, for the middle of each interval, and the intervals' lengths."""
    edges = np.linspace(-1, 1, 2 * count) ** 3 * max(abs(low), abs(high))
    edges = np.unique(np.clip(edges, low, high))
    return torch.from_numpy((edges[1:] + edges[:-1]) / 2).unsqueeze(-1), np.diff(edges)[:, None]


@pytest.mark.parametrize("name", CONTINUOUS)
def test_densities(name):
    """They add up to 1, to the mean, the variance, the entropy and the distribution function."""
    build, (low, high) = CONTINUOUS[name]
    made = build()
    made._validate_args = False
    x, length = grid(low, high)
    made.__dict__.get("base_dist", made)._validate_args = False
    log_prob = made.log_prob(x).numpy()
    log_prob = np.where(np.isnan(log_prob), -np.inf, log_prob)
    inside = made.support.check(x).numpy()
    mass = np.where(inside, np.exp(log_prob), 0) * length
    np.testing.assert_allclose(mass.sum(0), 1, atol=6e-3)
    x = x.numpy()
    if name not in HEAVY and name != "RelaxedBernoulli":
        mean = (mass * x).sum(0)
        if name != "VonMises" and name != "Transformed":
            np.testing.assert_allclose(made.mean.numpy(), mean, rtol=3e-3, atol=3e-3)
            np.testing.assert_allclose(made.variance.numpy(), (mass * (x - mean) ** 2).sum(0), rtol=3e-2, atol=3e-3)
            np.testing.assert_allclose(made.stddev.numpy() ** 2, made.variance.numpy(), rtol=1e-6)
    try:
        entropy = made.entropy().numpy()
    except NotImplementedError:
        assert name in ("FisherSnedecor", "Mixture", "RelaxedBernoulli", "Transformed", "VonMises")
    else:
        np.testing.assert_allclose(entropy, -(np.where(mass > 0, log_prob, 0) * mass).sum(0), rtol=2e-2, atol=1e-2)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_distribution_functions(name):
    made = CONTINUOUS[name][0]()
    torch.manual_seed(0)
    x = made.sample((5,))
    try:
        p = made.cdf(x)
    except NotImplementedError:
        assert name in ("Beta", "FisherSnedecor", "RelaxedBernoulli", "StudentT", "VonMises")
        return
    assert ((0 <= p) & (p <= 1)).all()
    try:
        back = made.icdf(p)
    except NotImplementedError:
        assert name in ("Chi2", "Gamma", "InverseGamma", "Mixture")
    else:
        np.testing.assert_allclose(back.numpy(), x.numpy(), rtol=1e-6, atol=1e-8)
    if name not in ("Chi2", "Gamma", "InverseGamma"):
        x = x.detach().requires_grad_()
        made.cdf(x).sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), made.log_prob(x).exp().detach().numpy(), rtol=1e-5)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_samples(name):
    """Means and variances of many samples; the same seed gives the same ones."""
    made = CONTINUOUS[name][0]()
    torch.manual_seed(3)
    x = made.sample((20000,))
    assert x.shape == (20000, *made.batch_shape) and made.support.check(x).all()
    torch.manual_seed(3)
    assert torch.equal(x, made.sample((20000,)))
    if name in HEAVY or name in ("RelaxedBernoulli", "VonMises", "Transformed"):
        return
    error = 5 * (made.variance / 20000).sqrt().numpy()
    assert (np.abs(x.mean(0).numpy() - made.mean.numpy()) < error + 1e-3).all()


DISCRETE = {
    "Bernoulli": lambda: d.Bernoulli(t(U)),
    "Binomial": lambda: d.Binomial(6, t(U)),
    "Categorical": lambda: d.Categorical(t([U, P])),
    "OneHotCategorical": lambda: d.OneHotCategorical(logits=t([V, P])),
}
COUNTS = {
    "Geometric": lambda: d.Geometric(t(U)),
    "NegativeBinomial": lambda: d.NegativeBinomial(t([2.0, 3.0, 1.5]), t([0.2, 0.5, 0.6])),
    "Poisson": lambda: d.Poisson(t(P)),
}


@pytest.mark.parametrize("name", DISCRETE)
def test_supports(name):
    made = DISCRETE[name]()
    values = made.enumerate_support()
    p = made.log_prob(values).exp()
    np.testing.assert_allclose(p.sum(0).numpy(), 1)
    np.testing.assert_allclose(made.entropy().numpy(), -(p * p.log()).sum(0).numpy(), rtol=1e-6)
    weights = p.reshape(p.shape + (1,) * len(made.event_shape))
    if name != "Categorical":
        mean = (weights * values).sum(0)
        np.testing.assert_allclose(made.mean.numpy(), mean.numpy())
        np.testing.assert_allclose(made.variance.numpy(), (weights * (values - mean) ** 2).sum(0).numpy())
    torch.manual_seed(1)
    drawn = made.sample((20000,))
    for value, chance in zip(values, p):
        same = drawn == value
        same = same.all(-1) if made.event_shape else same
        np.testing.assert_allclose(same.double().mean(0).numpy(), chance.numpy(), atol=0.02)


@pytest.mark.parametrize("name", COUNTS)
def test_counts(name):
    made = COUNTS[name]()
    x = torch.arange(200, dtype=torch.float64).unsqueeze(-1)
    p = made.log_prob(x).exp()
    mean = (p * x).sum(0)
    np.testing.assert_allclose(p.sum(0).numpy(), 1)
    np.testing.assert_allclose(made.mean.numpy(), mean.numpy())
    np.testing.assert_allclose(made.variance.numpy(), (p * (x - mean) ** 2).sum(0).numpy())
    torch.manual_seed(1)
    np.testing.assert_allclose(made.sample((40000,)).mean(0).numpy(), mean.numpy(), rtol=0.03)


def test_multinomial_counts():
    made = d.Multinomial(2, t([0.2, 0.3, 0.5]))
    pairs = [[2, 0, 0], [0, 2, 0], [0, 0, 2], [1, 1, 0], [1, 0, 1], [0, 1, 1]]
    p = made.log_prob(t(pairs)).exp()
    np.testing.assert_allclose(p.numpy(), [0.04, 0.09, 0.25, 0.12, 0.2, 0.3])
    np.testing.assert_allclose(made.entropy().item(), -(p * p.log()).sum().item())
    assert made.sample((7,)).sum(-1).tolist() == [2.0] * 7


def test_simplex():
    made = d.Dirichlet(t([1.5, 2.0, 3.0]))
    x = made.sample((20000,))
    np.testing.assert_allclose(x.sum(-1).numpy(), 1)
    np.testing.assert_allclose(x.mean(0).numpy(), made.mean.numpy(), atol=0.01)
    np.testing.assert_allclose(x.var(0).numpy(), made.variance.numpy(), rtol=0.05)
    np.testing.assert_allclose(-made.log_prob(x).mean().item(), made.entropy().item(), atol=0.02)
    beta = d.Beta(t(1.5), t(2.0))
    np.testing.assert_allclose(d.Dirichlet(t([1.5, 2.0])).log_prob(t([0.3, 0.7])).item(), beta.log_prob(t(0.3)).item())


def test_divergences_are_means_of_log_ratios():
    pairs = [
        (d.Normal(t(0.3), t(0.7)), d.Laplace(t(0.0), t(1.0))),
        (d.Gamma(t(2.0), t(1.5)), d.Normal(t(1.0), t(2.0))),
        (d.Exponential(t(1.5)), d.Gumbel(t(0.2), t(1.3))),
        (d.Uniform(t(0.2), t(0.8)), d.Beta(t(1.5), t(2.5))),
        (d.Beta(t(1.5), t(2.5)), d.Gamma(t(2.0), t(1.5))),
        (d.Pareto(t(1.0), t(5.0)), d.Exponential(t(0.7))),
        (d.Bernoulli(t(0.3)), d.Poisson(t(0.6))),
        (d.LogNormal(t(0.2), t(0.4)), d.LogNormal(t(0.0), t(0.6))),
    ]
    torch.manual_seed(0)
    for p, q in pairs:
        x = p.sample((200000,))
        q._validate_args = False
        wanted = (p.log_prob(x) - q.log_prob(x)).mean().item()
        assert abs(d.kl_divergence(p, q).item() - wanted) < 0.02, (p, q)
    assert d.kl_divergence(d.Normal(0.0, 1.0), d.Gamma(1.0, 1.0)).item() == math.inf
    with pytest.raises(NotImplementedError, match="No KL"):
        d.kl_divergence(d.VonMises(1.0, 1.0), d.Poisson(1.0))


BIJECTIVE = {
    "affine": (lambda: d.AffineTransform(t(V), t(P)), V),
    "cdf": (lambda: d.CumulativeDistributionTransform(d.Normal(t(0.0), t(1.0))), V),
    "compose": (lambda: d.ComposeTransform([d.ExpTransform(), d.PowerTransform(t(0.5))]), V),
    "exp": (lambda: d.ExpTransform(), V),
    "power": (lambda: d.PowerTransform(t(-1.5)), P),
    "sigmoid": (lambda: d.SigmoidTransform(), V),
    "softplus": (lambda: d.SoftplusTransform(), V),
    "tanh": (lambda: d.TanhTransform(), V),
    "stack": (lambda: d.StackTransform([d.ExpTransform(), d.TanhTransform(), d.identity_transform]), V),
}


@pytest.mark.parametrize("name", BIJECTIVE)
def test_transforms_of_numbers(name):
    build, values = BIJECTIVE[name]
    transform = build()
    x = t(values, requires_grad=True)
    y = transform(x)
    np.testing.assert_allclose(transform.inv(y).detach().numpy(), values, rtol=1e-9)
    (slope,) = torch.autograd.grad(y.sum(), x, retain_graph=True)
    found = transform.log_abs_det_jacobian(x, y).detach().numpy()
    np.testing.assert_allclose(found, slope.abs().log().numpy(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(transform.inv.log_abs_det_jacobian(y, x).detach().numpy(), -found)
    assert transform.codomain.check(y).all() and transform.inv.inv is transform


def test_transforms_of_vectors():
    x = t([V, P])
    for transform in (d.StickBreakingTransform(), d.CorrCholeskyTransform()):
        y = transform(x)
        assert transform.codomain.check(y).all() and transform.forward_shape(x.shape) == y.shape
        np.testing.assert_allclose(transform.inv(y).numpy(), x.numpy(), rtol=1e-8)
        assert transform.inverse_shape(y.shape) == x.shape
    steps = d.StickBreakingTransform()
    jacobian = torch.autograd.functional.jacobian(lambda v: steps(v)[:-1], t(V)).numpy()
    found = steps.log_abs_det_jacobian(t(V), steps(t(V))).item()
    np.testing.assert_allclose(found, math.log(abs(np.linalg.det(jacobian))))
    cached = d.TanhTransform(cache_size=1)
    far = t([30.0])
    assert cached.inv(cached(far)) is far


def test_registries():
    constraints = d.constraints
    for constraint in (
        constraints.positive,
        constraints.interval(-2.0, 3.0),
        constraints.less_than(1.5),
        constraints.simplex,
        constraints.corr_cholesky,
        constraints.independent(constraints.positive, 1),
    ):
        for registry in (d.biject_to, d.transform_to):
            y = registry(constraint)(torch.randn(4, 6))
            assert constraint.check(y).all(), (constraint, registry)
    with pytest.raises(NotImplementedError, match="Cannot transform"):
        d.biject_to(constraints.lower_triangular)


def test_expand_shares_memory():
    made = d.Normal(torch.zeros(3), torch.ones(3))
    wide = made.expand((5, 3))
    assert wide.batch_shape == (5, 3) and wide.loc.data_ptr() == made.loc.data_ptr()
    assert wide.sample((2,)).shape == (2, 5, 3) and made.batch_shape == (3,)
    mixed = d.Independent(d.Normal(torch.zeros(2, 3), torch.ones(2, 3)), 1).expand((4, 2))
    assert mixed.batch_shape == (4, 2) and mixed.event_shape == (3,) and mixed.base_dist.batch_shape == (4, 2, 3)


def test_validation():
    with pytest.raises(ValueError, match=r"Expected parameter scale \(Tensor of shape \(1,\)\) of distribution Normal"):
        d.Normal(torch.zeros(1), -torch.ones(1))
    with pytest.raises(ValueError, match="to be within the support"):
        d.Exponential(1.0).log_prob(torch.tensor(-1.0))
    with pytest.raises(ValueError, match="Either `probs` or `logits` must be specified"):
        d.Bernoulli()
    assert d.Exponential(1.0, validate_args=False).log_prob(torch.tensor(-1.0)).item() == 1.0


def test_copies():
    for name in ("Gamma", "Pareto", "Mixture"):
        made = CONTINUOUS[name][0]()
        for twin in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
            torch.manual_seed(0)
            first = made.sample()
            torch.manual_seed(0)
            assert torch.equal(first, twin.sample()) and repr(made) == repr(twin)


def test_modules_of_pytorch():
    from facula.distributions.normal import Normal
    from facula.distributions.transformed_distribution import TransformedDistribution

    assert Normal is d.Normal and TransformedDistribution is d.TransformedDistribution
