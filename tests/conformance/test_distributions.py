"""`facula.distributions` against PyTorch: every distribution, constraint, transform and divergence; gradients too."""

import inspect
import warnings

import numpy as np
import pytest
import torch

import facula

from .records.mirror import twin
from .records.optim_db import close

FRAMEWORKS = (facula, torch)
warnings.filterwarnings("ignore")


class Leaves:
    """Makes float64 tensors of one framework and remembers those that take gradients."""

    def __init__(self, framework):
        self.framework = framework
        self.d = framework.distributions
        self.made = []

    def __call__(self, value, grad=True, dtype="float64"):
        made = self.framework.tensor(value, dtype=getattr(self.framework, dtype))
        if grad:
            made.requires_grad_()
            self.made.append(made)
        return made


PD = [[2.0, 0.5, 0.1], [0.5, 1.5, -0.3], [0.1, -0.3, 1.0]]
LOWER = [[1.2, 0.0, 0.0], [0.4, 0.9, 0.0], [-0.3, 0.2, 0.7]]
W = [[1.0, 0.2], [0.3, -0.5], [0.7, 0.1]]
V = [0.3, -1.0, 2.0]
P = [0.4, 1.3, 2.5]
U = [0.2, 0.5, 0.9]
S = [[0.1, 0.6, 0.3], [0.5, 0.25, 0.25]]
L = [[0.1, -0.6, 0.3], [1.5, 0.25, 0.25]]


def transforms_of(f):
    return f.distributions.transforms


CASES = {
    "Bernoulli": lambda d, t: d.Bernoulli(t(U)),
    "Bernoulli logits": lambda d, t: d.Bernoulli(logits=t(V)),
    "Bernoulli number": lambda d, t: d.Bernoulli(0.3),
    "Beta": lambda d, t: d.Beta(t(P), t(U)),
    "Beta number": lambda d, t: d.Beta(2.0, 3),
    "Binomial": lambda d, t: d.Binomial(7, t(U)),
    "Binomial logits": lambda d, t: d.Binomial(t([3.0, 3.0, 3.0], False), logits=t(V)),
    "Binomial counts": lambda d, t: d.Binomial(t([3.0, 40.0, 9.0], False), t(U)),
    "Categorical": lambda d, t: d.Categorical(t(S)),
    "Categorical logits": lambda d, t: d.Categorical(logits=t(L)),
    "Categorical one": lambda d, t: d.Categorical(t(U)),
    "Cauchy": lambda d, t: d.Cauchy(t(V), t(P)),
    "Chi2": lambda d, t: d.Chi2(t(P)),
    "ContinuousBernoulli": lambda d, t: d.ContinuousBernoulli(t(U)),
    "ContinuousBernoulli logits": lambda d, t: d.ContinuousBernoulli(logits=t(V)),
    "Dirichlet": lambda d, t: d.Dirichlet(t([[0.5, 1.0, 4.0], [2.0, 7.0, 3.0]])),
    "Dirichlet small": lambda d, t: d.Dirichlet(t([0.5, 0.3, 0.9])),
    "Exponential": lambda d, t: d.Exponential(t(P)),
    "FisherSnedecor": lambda d, t: d.FisherSnedecor(t([1.0, 3.0, 9.0]), t([3.0, 5.0, 2.0])),
    "Gamma": lambda d, t: d.Gamma(t(P), t(U)),
    "GeneralizedPareto": lambda d, t: d.GeneralizedPareto(
        t(V, dtype="float32"), t(P, dtype="float32"), t([-0.5, 0.0, 0.7], dtype="float32")
    ),
    "Geometric": lambda d, t: d.Geometric(t(U)),
    "Geometric logits": lambda d, t: d.Geometric(logits=t(V)),
    "Gumbel": lambda d, t: d.Gumbel(t(V), t(P)),
    "Gumbel number": lambda d, t: d.Gumbel(1.0, 2.0),
    "HalfCauchy": lambda d, t: d.HalfCauchy(t(P)),
    "HalfNormal": lambda d, t: d.HalfNormal(t(P)),
    "InverseGamma": lambda d, t: d.InverseGamma(t([0.5, 1.5, 4.0]), t(P)),
    "Kumaraswamy": lambda d, t: d.Kumaraswamy(t(P), t([0.5, 2.0, 3.0])),
    "Laplace": lambda d, t: d.Laplace(t(V), t(P)),
    "LKJCholesky": lambda d, t: d.LKJCholesky(3, t([0.5, 1.0, 2.5])),
    "LKJCholesky number": lambda d, t: d.LKJCholesky(4, 0.7),
    "LogNormal": lambda d, t: d.LogNormal(t(V), t(P)),
    "LogisticNormal": lambda d, t: d.LogisticNormal(t([V, P]), t([P, P])),
    "LowRankMultivariateNormal": lambda d, t: d.LowRankMultivariateNormal(t(V), t(W), t(P)),
    "LowRankMultivariateNormal batch": lambda d, t: d.LowRankMultivariateNormal(t([V, P]), t(W), t(P)),
    "Multinomial": lambda d, t: d.Multinomial(6, t(S)),
    "Multinomial logits": lambda d, t: d.Multinomial(4, logits=t(L)),
    "MultivariateNormal": lambda d, t: d.MultivariateNormal(t(V), t(PD)),
    "MultivariateNormal precision": lambda d, t: d.MultivariateNormal(t([V, P]), precision_matrix=t(PD)),
    "MultivariateNormal scale": lambda d, t: d.MultivariateNormal(t([V, P]), scale_tril=t([LOWER, LOWER])),
    "NegativeBinomial": lambda d, t: d.NegativeBinomial(t(P), t(U)),
    "NegativeBinomial logits": lambda d, t: d.NegativeBinomial(5, logits=t(V)),
    "Normal": lambda d, t: d.Normal(t(V), t(P)),
    "Normal broadcast": lambda d, t: d.Normal(t([[0.0], [1.0]]), t(P)),
    "Normal number": lambda d, t: d.Normal(0, 2.0),
    "OneHotCategorical": lambda d, t: d.OneHotCategorical(t(S)),
    "OneHotCategorical logits": lambda d, t: d.OneHotCategorical(logits=t(L)),
    "OneHotCategoricalStraightThrough": lambda d, t: d.OneHotCategoricalStraightThrough(t(S)),
    "Pareto": lambda d, t: d.Pareto(t(P), t([0.5, 1.5, 4.0])),
    "Poisson": lambda d, t: d.Poisson(t([0.5, 4.0, 20.0])),
    "RelaxedBernoulli": lambda d, t: d.RelaxedBernoulli(t(0.7, False), t(U)),
    "RelaxedBernoulli logits": lambda d, t: d.RelaxedBernoulli(t(0.7, False), logits=t(V)),
    "RelaxedOneHotCategorical": lambda d, t: d.RelaxedOneHotCategorical(t(0.7, False), t(S)),
    "StudentT": lambda d, t: d.StudentT(t([0.5, 1.5, 6.0]), t(V), t(P)),
    "StudentT number": lambda d, t: d.StudentT(3.0),
    "Uniform": lambda d, t: d.Uniform(t([-1.0, 0.0, 1.0]), t([1.0, 0.5, 4.0])),
    "VonMises": lambda d, t: d.VonMises(t(V), t([0.3, 2.0, 9.0])),
    "Weibull": lambda d, t: d.Weibull(t(P), t([0.5, 1.5, 4.0])),
    "Wishart": lambda d, t: d.Wishart(t([4.5, 7.0]), t(PD)),
    "Wishart scale": lambda d, t: d.Wishart(5, scale_tril=t(LOWER)),
    "Wishart precision": lambda d, t: d.Wishart(t(5.0), precision_matrix=t(PD)),
    "Independent": lambda d, t: d.Independent(d.Normal(t([V, P]), t([P, P])), 1),
    "Independent 0": lambda d, t: d.Independent(d.Bernoulli(t(U)), 0),
    "Mixture": lambda d, t: d.MixtureSameFamily(d.Categorical(t(U)), d.Normal(t(V), t(P))),
    "Mixture of vectors": lambda d, t: d.MixtureSameFamily(
        d.Categorical(t(S)), d.Independent(d.Normal(t([[V, P, U], [P, U, V]]), t([P, P, P])), 1)
    ),
    "Transformed": lambda d, t: d.TransformedDistribution(
        d.Normal(t(V), t(P)), [d.AffineTransform(t(0.5), t(-2.0)), d.SigmoidTransform()]
    ),
    "Transformed simplex": lambda d, t: d.TransformedDistribution(
        d.Normal(t([V, P]), t(P)), d.StickBreakingTransform()
    ),
    "Transformed reshape": lambda d, t: d.TransformedDistribution(
        d.Normal(t([V, P]), t(P)), d.ReshapeTransform((2, 3), (3, 2))
    ),
    "Transformed wider": lambda d, t: d.TransformedDistribution(
        d.Normal(t(0.0), t(1.0)), [d.AffineTransform(t([1.0, 2.0]), 1.5), d.ExpTransform()]
    ),
}
DRAWN_OTHERWISE = {"Wishart"}  # see docs/differences.md


def both(name, expand=None):
    made = []
    for framework in FRAMEWORKS:
        leaves = Leaves(framework)
        distribution = CASES[name](leaves.d, leaves)
        if expand is not None:
            distribution = distribution.expand((*expand, *distribution.batch_shape))
        made.append((framework, distribution, leaves.made))
    return made


def compare(name, action, made, value=None, gradients=True):
    """The same result (and gradients in the parameters and the value) or the same exception."""
    results = []
    for framework, distribution, leaves in made:
        given = () if value is None else (value if framework is torch else twin(value),)
        given = tuple(x.detach().requires_grad_() if x.is_floating_point() and gradients else x for x in given)
        framework.manual_seed(11)
        try:
            found = action(framework, distribution, *given)
            inputs = [x for x in (*leaves, *given) if x.requires_grad]
            if not gradients or not inputs or not getattr(found, "requires_grad", False):
                results.append((found, []))
                continue
            seed = torch.linspace(0.5, 1.5, found.numel(), dtype=torch.float64).reshape(tuple(found.shape))
            seed = seed.to(getattr(torch, str(found.dtype).split(".")[-1]))
            seed = seed if framework is torch else twin(seed)
            grads = framework.autograd.grad(found, inputs, seed, retain_graph=True, allow_unused=True)
            results.append((found, [framework.zeros_like(x) if g is None else g for g, x in zip(grads, inputs)]))
        except Exception as error:  # noqa: BLE001 - compared below
            results.append(error)
    ours, theirs = results
    if isinstance(theirs, AttributeError) and not isinstance(ours, Exception):
        return  # PyTorch's expanded Multinomial lacks what its entropy needs
    if isinstance(theirs, Exception) or isinstance(ours, Exception):
        if isinstance(ours, Exception) and not isinstance(theirs, Exception):
            raise ours
        assert type(ours) is type(theirs), f"{name}: {ours!r} for {theirs!r}"
        return
    if not hasattr(theirs[0], "detach"):
        assert ours[0] == theirs[0], name
        return
    close(ours[0].detach(), theirs[0].detach(), name)
    if theirs[1]:
        close(ours[1], list(theirs[1]), f"{name}, gradients")


FACTS = {
    "repr": lambda f, d: repr(d),
    "batch_shape": lambda f, d: tuple(d.batch_shape),
    "event_shape": lambda f, d: tuple(d.event_shape),
    "has_rsample": lambda f, d: bool(d.has_rsample),
    "has_enumerate_support": lambda f, d: bool(d.has_enumerate_support),
    "support": lambda f, d: repr(d.support),
    "support discrete": lambda f, d: (d.support.is_discrete, d.support.event_dim),
    "arg_constraints": lambda f, d: {k: repr(v) for k, v in d.arg_constraints.items()},
    "mean": lambda f, d: d.mean,
    "mode": lambda f, d: d.mode,
    "variance": lambda f, d: d.variance,
    "stddev": lambda f, d: d.stddev,
    "entropy": lambda f, d: d.entropy(),
    "perplexity": lambda f, d: d.perplexity(),
    "enumerate_support": lambda f, d: d.enumerate_support(),
    "enumerate_support False": lambda f, d: d.enumerate_support(expand=False),
    "sample": lambda f, d: d.sample(),
    "samples": lambda f, d: d.sample((5,)),
    "rsample": lambda f, d: d.rsample((4,)),
    "base entropy": lambda f, d: f.distributions.ExponentialFamily.entropy(d),
}
OF_VALUE = {
    "log_prob": lambda f, d, x: d.log_prob(x),
    "cdf": lambda f, d, x: d.cdf(x),
    "support.check": lambda f, d, x: d.support.check(x),
    "validate": lambda f, d, x: d._validate_sample(x + 1e6) or d._validate_sample(x),
}


def parameters_of(d):
    """Other forms of the parameters."""
    return [n for n in ("probs", "logits", "scale_tril", "covariance_matrix", "precision_matrix", "df", "concentration",
                        "rate", "loc", "scale", "temperature", "param_shape", "concentration1", "concentration0")
            if hasattr(type(d), n) or n in d.__dict__]  # fmt: skip


@pytest.mark.parametrize("expand", [None, (2,)], ids=["plain", "expanded"])
@pytest.mark.parametrize("name", CASES)
def test_distribution(name, expand):
    made = both(name, expand)
    kind = name.split()[0]
    for fact, action in FACTS.items():
        if kind in DRAWN_OTHERWISE and "sample" in fact:
            continue
        if fact == "base entropy" and not isinstance(made[1][1], torch.distributions.ExponentialFamily):
            continue
        compare(f"{name}: {fact}", action, made)
    with torch.no_grad():
        torch.manual_seed(5)
        value = made[1][1].sample((4,))
    for fact, action in OF_VALUE.items():
        compare(f"{name}: {fact}", action, made, value, gradients=fact in ("log_prob", "cdf"))
    inside = torch.linspace(0.05, 0.95, 4, dtype=torch.float64).reshape(4, *[1] * len(made[1][1].batch_shape))
    compare(f"{name}: icdf", lambda f, d, x: d.icdf(x), made, inside)
    for parameter in parameters_of(made[1][1]):
        compare(f"{name}: {parameter}", lambda f, d, n=parameter: getattr(d, n), made)
    compare(f"{name}: repr", FACTS["repr"], made)


def test_wishart_samples():
    """PyTorch draws good samples anew; the first draw is the same."""
    for name in ("Wishart", "Wishart scale", "Wishart precision"):
        results = []
        for framework, d, leaves in both(name):
            framework.manual_seed(3)
            drawn = d.rsample((2,)) if framework is facula else d._bartlett_sampling((2,))
            results.append([drawn.detach(), *framework.autograd.grad((drawn * drawn).sum(), leaves)])
        close(*results, name)


def test_float32_samples():
    """The same numbers, to the rounding of the arithmetic behind the draws."""
    for name, build in CASES.items():
        if name.split()[0] in DRAWN_OTHERWISE:
            continue
        results = []
        for framework in FRAMEWORKS:

            def t(value, grad=True, dtype=None, framework=framework):
                return framework.tensor(value, dtype=framework.float32)

            framework.manual_seed(1)
            results.append(build(framework.distributions, t).sample((7,)))
        close(*results, name)


def test_signatures_and_names():
    ours, theirs = facula.distributions, torch.distributions
    assert set(theirs.__all__) <= set(ours.__all__)
    for name in theirs.__all__:
        a, b = getattr(ours, name), getattr(theirs, name)
        if inspect.isclass(b) or inspect.isfunction(b):
            mine, their = (inspect.signature(x).parameters.values() for x in (a, b))
            assert [(p.name, p.default, p.kind) for p in mine] == [(p.name, p.default, p.kind) for p in their], name
    for module in ("constraints", "transforms", "utils", "constraint_registry", "kl"):
        for name in getattr(theirs, module).__all__:
            assert hasattr(getattr(ours, module), name), f"{module}.{name}"
    for name, kind in vars(theirs).items():
        if inspect.ismodule(kind):
            for inner in getattr(kind, "__all__", ()):
                assert hasattr(getattr(ours, name), inner), f"{name}.{inner}"


# --- divergences -------------------------------------------------------------------------------------------------

PAIRS = {
    "Bernoulli": lambda d, t: (d.Bernoulli(t(U)), d.Bernoulli(t([0.0, 0.3, 1.0]))),
    "Beta": lambda d, t: (d.Beta(t(P), t(U)), d.Beta(t(U), t(P))),
    "Binomial": lambda d, t: (d.Binomial(t([5.0, 3.0, 3.0], False), t(U)), d.Binomial(3, t([0.3, 0.3, 0.4]))),
    "Categorical": lambda d, t: (d.Categorical(t(S)), d.Categorical(t([[0.3, 0.7, 0.0], [0.2, 0.4, 0.4]]))),
    "Cauchy": lambda d, t: (d.Cauchy(t(V), t(P)), d.Cauchy(t(P), t(U))),
    "ContinuousBernoulli": lambda d, t: (d.ContinuousBernoulli(t(U)), d.ContinuousBernoulli(t([0.3, 0.4, 0.6]))),
    "Dirichlet": lambda d, t: (d.Dirichlet(t([P, U])), d.Dirichlet(t([U, P]))),
    "Exponential": lambda d, t: (d.Exponential(t(P)), d.Exponential(t(U))),
    "Gamma": lambda d, t: (d.Gamma(t(P), t(U)), d.Gamma(t(U), t(P))),
    "Geometric": lambda d, t: (d.Geometric(t(U)), d.Geometric(t([0.3, 0.4, 0.6]))),
    "Gumbel": lambda d, t: (d.Gumbel(t(V), t(P)), d.Gumbel(t(P), t(U))),
    "HalfNormal": lambda d, t: (d.HalfNormal(t(P)), d.HalfNormal(t(U))),
    "Laplace": lambda d, t: (d.Laplace(t(V), t(P)), d.Laplace(t(P), t(U))),
    "LogNormal": lambda d, t: (d.LogNormal(t(V), t(P)), d.LogNormal(t(P), t(U))),
    "LowRankMultivariateNormal": lambda d, t: (
        d.LowRankMultivariateNormal(t([V, P]), t(W), t(P)), d.LowRankMultivariateNormal(t(P), t(W), t(U))
    ),
    "MultivariateNormal": lambda d, t: (
        d.MultivariateNormal(t([V, P]), t(PD)), d.MultivariateNormal(t(P), scale_tril=t(LOWER))
    ),
    "Normal": lambda d, t: (d.Normal(t(V), t(P)), d.Normal(t(P), t(U))),
    "OneHotCategorical": lambda d, t: (d.OneHotCategorical(t(S)), d.OneHotCategorical(logits=t(L))),
    "Pareto": lambda d, t: (d.Pareto(t(P), t([1.5, 3.0, 0.7])), d.Pareto(t(U), t(P))),
    "Poisson": lambda d, t: (d.Poisson(t(P)), d.Poisson(t(U))),
    "Uniform": lambda d, t: (
        d.Uniform(t([0.1, 0.2, -1.0]), t([0.9, 0.5, 2.0])), d.Uniform(t([0.0, 0.3, -2.0]), t([1.0, 1.5, 3.0]))
    ),
    "Independent": lambda d, t: (d.Independent(d.Normal(t([V, P]), t(P)), 1), d.Independent(d.Normal(t(P), t(U)), 0)),
    "Independent 1": lambda d, t: (d.Independent(d.Normal(t(V), t(P)), 1), d.Independent(d.Normal(t(P), t(U)), 1)),
    "Wishart": lambda d, t: (d.Wishart(t(4.5), t(PD)), d.Wishart(t(5.5), scale_tril=t(LOWER))),
    "VonMises": lambda d, t: (d.VonMises(t(V), t(P)), d.VonMises(t(V), t(P))),
}  # fmt: skip


@pytest.mark.parametrize("first", PAIRS)
def test_divergences(first):
    """With the second distribution of every kind: the closed forms, infinity, or the same error."""
    tried = 0
    for second in PAIRS:
        made = []
        for framework in FRAMEWORKS:
            leaves = Leaves(framework)
            p, q = PAIRS[first](leaves.d, leaves)[0], PAIRS[second](leaves.d, leaves)[1]
            made.append((framework, (p, q), leaves.made))
        tried += 1
        compare(f"{first} | {second}", lambda f, pair: f.distributions.kl_divergence(*pair), made)
    assert tried == len(PAIRS)


def test_all_divergences_are_compared():
    kinds = {name.split()[0] for name in PAIRS} | {"TransformedDistribution", "ExponentialFamily"}
    ours, theirs = (
        {tuple(kind.__name__ for kind in pair) for pair in f.distributions.kl._KL_REGISTRY} for f in FRAMEWORKS
    )
    assert ours == theirs
    assert {name for pair in theirs for name in pair} <= kinds


def test_register_kl():
    for framework in FRAMEWORKS:
        d = framework.distributions

        class A(d.Normal):
            pass

        class B(A):
            pass

        @d.register_kl(A, A)
        def _(p, q):
            return "AA"

        @d.register_kl(B, d.Normal)
        def _(p, q):
            return "BN"

        a, b, n = A(0.0, 1.0), B(0.0, 1.0), d.Normal(0.0, 1.0)
        assert d.kl_divergence(a, b) == "AA" and d.kl_divergence(b, n) == "BN"
        with pytest.warns(RuntimeWarning, match="Ambiguous kl_divergence"):
            assert d.kl_divergence(b, b) == "BN"
        for pair in [(A, A), (B, d.Normal)]:
            del d.kl._KL_REGISTRY[pair]


# --- transforms and constraints ----------------------------------------------------------------------------------

TRANSFORMS = {
    "abs": (lambda d, t: d.AbsTransform(), (3,)),
    "affine": (lambda d, t: d.AffineTransform(t(V), t(P)), (2, 3)),
    "affine number": (lambda d, t: d.AffineTransform(1.0, -2.0), (2, 3)),
    "affine event": (lambda d, t: d.AffineTransform(t(V), t(P), event_dim=1), (2, 3)),
    "cat": (lambda d, t: d.CatTransform([d.ExpTransform(), d.identity_transform], dim=-1, lengths=[1, 2]), (2, 3)),
    "cat 0": (lambda d, t: d.CatTransform([d.ExpTransform(), d.TanhTransform()], dim=0), (2, 3)),
    "compose": (lambda d, t: d.ComposeTransform([d.AffineTransform(t(V), 2.0), d.SigmoidTransform()]), (2, 3)),
    "compose events": (
        lambda d, t: d.ComposeTransform([d.AffineTransform(t(V), 2.0), d.StickBreakingTransform()]), (2, 3)),
    "identity": (lambda d, t: d.identity_transform, (3,)),
    "correlations": (lambda d, t: d.CorrCholeskyTransform(), (2, 6)),
    "cdf": (lambda d, t: d.CumulativeDistributionTransform(d.Normal(t(V), t(P))), (2, 3)),
    "exp": (lambda d, t: d.ExpTransform(), (3,)),
    "independent": (lambda d, t: d.IndependentTransform(d.ExpTransform(), 1), (2, 3)),
    "lower": (lambda d, t: d.LowerCholeskyTransform(), (2, 3, 3)),
    "definite": (lambda d, t: d.PositiveDefiniteTransform(), (3, 3)),
    "power": (lambda d, t: d.PowerTransform(t([2.0, -0.5, 3.0])), (3,)),
    "reshape": (lambda d, t: d.ReshapeTransform((2, 3), (3, 2)), (2, 2, 3)),
    "sigmoid": (lambda d, t: d.SigmoidTransform(), (3,)),
    "softplus": (lambda d, t: d.SoftplusTransform(), (3,)),
    "tanh": (lambda d, t: d.TanhTransform(), (3,)),
    "softmax": (lambda d, t: d.SoftmaxTransform(), (2, 3)),
    "stack": (lambda d, t: d.StackTransform([d.ExpTransform(), d.SigmoidTransform()], dim=1), (3, 2)),
    "sticks": (lambda d, t: d.StickBreakingTransform(), (2, 3)),
    "inverse": (lambda d, t: d.ExpTransform().inv, (3,)),
    "cached": (lambda d, t: d.ComposeTransform([d.TanhTransform(), d.ExpTransform()], cache_size=1), (3,)),
}  # fmt: skip
ASKED = {
    "repr": lambda f, t: repr(t),
    "repr inverse": lambda f, t: repr(t.inv),
    "event_dim": lambda f, t: t.event_dim,
    "domain": lambda f, t: (repr(t.domain), t.domain.event_dim),
    "codomain": lambda f, t: (repr(t.codomain), t.codomain.event_dim),
    "bijective": lambda f, t: t.bijective,
    "sign": lambda f, t: t.sign,
    "inverse of inverse": lambda f, t: t.inv.inv is t,
    "with_cache": lambda f, t: repr(t.with_cache(1)),
    "equal": lambda f, t: (t == t, t == t.with_cache(1), t == f.distributions.ExpTransform(), t != t),
    "y": lambda f, t, x: t(x),
    "x again": lambda f, t, x: t.inv(t(x)),
    "jacobian": lambda f, t, x: t.log_abs_det_jacobian(x, t(x)),
    "inverse jacobian": lambda f, t, x: t.inv.log_abs_det_jacobian(t(x), x),
    "shapes": lambda f, t, x: (tuple(t.forward_shape(x.shape)), tuple(t.inverse_shape(t(x).shape))),
    "inside": lambda f, t, x: t.codomain.check(t(x)),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transform(name):
    build, shape = TRANSFORMS[name]
    made = []
    for framework in FRAMEWORKS:
        leaves = Leaves(framework)
        made.append((framework, build(leaves.d, leaves), leaves.made))
    x = torch.from_numpy(np.random.default_rng(4).uniform(0.1, 1.5, shape))
    for fact, action in ASKED.items():
        takes = len(inspect.signature(action).parameters) == 3
        compare(f"{name}: {fact}", action, made, x if takes else None)


CONSTRAINTS = {
    "boolean": lambda c: c.boolean, "corr_cholesky": lambda c: c.corr_cholesky, "one_hot": lambda c: c.one_hot,
    "nonnegative_integer": lambda c: c.nonnegative_integer, "positive_integer": lambda c: c.positive_integer,
    "integer_interval": lambda c: c.integer_interval(-1, 1), "real": lambda c: c.real,
    "real_vector": lambda c: c.real_vector, "positive": lambda c: c.positive, "nonnegative": lambda c: c.nonnegative,
    "greater_than": lambda c: c.greater_than(0.5), "greater_than_eq": lambda c: c.greater_than_eq(1.0),
    "less_than": lambda c: c.less_than(upper_bound=0.5), "multinomial": lambda c: c.multinomial(3),
    "unit_interval": lambda c: c.unit_interval, "interval": lambda c: c.interval(-0.5, 1.0),
    "half_open_interval": lambda c: c.half_open_interval(-0.5, 1.0), "simplex": lambda c: c.simplex,
    "lower_triangular": lambda c: c.lower_triangular, "lower_cholesky": lambda c: c.lower_cholesky,
    "square": lambda c: c.square, "symmetric": lambda c: c.symmetric,
    "positive_semidefinite": lambda c: c.positive_semidefinite, "positive_definite": lambda c: c.positive_definite,
    "independent": lambda c: c.independent(c.positive, 1),
    "cat": lambda c: c.cat([c.real, c.positive], -1, [1, 2]),
    "stack": lambda c: c.stack([c.real] * 2 + [c.positive], -1),
    "dependent": lambda c: c.dependent, "dependent known": lambda c: c.dependent(is_discrete=True, event_dim=1),
    "mixture": lambda c: c.MixtureSameFamilyConstraint(c.positive),
}  # fmt: skip
VALUES = {
    "numbers": [[-1.0, 0.0, 0.5], [1.0, 2.0, float("nan")], [0.2, 0.3, 0.5]],
    "one-hot": [[0.0, 1.0, 0.0], [0.0, 1.0, 1.0], [1.0, 0.0, 0.0]],
    "definite": PD,
    "lower": LOWER,
    "correlation": [[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [0.0, 0.6, 0.8]],
    "batch": [PD, LOWER],
    "wide": [[1.0, 2.0, 3.0], [1.0, 1.0, 1.0]],
    "vector": V,
}


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_constraint(name):
    made = [(f, CONSTRAINTS[name](f.distributions.constraints), []) for f in FRAMEWORKS]
    compare(f"{name}: repr", lambda f, c: repr(c), made)
    compare(f"{name}: discrete", lambda f, c: c.is_discrete, made)
    compare(f"{name}: event_dim", lambda f, c: c.event_dim, made)
    compare(f"{name}: dependent", lambda f, c: f.distributions.constraints.is_dependent(c), made)
    for what, value in VALUES.items():
        compare(f"{name}: {what}", lambda f, c, x: c.check(x), made, torch.tensor(value, dtype=torch.float64), False)
    for registry in ("biject_to", "transform_to"):
        compare(f"{name}: {registry}", lambda f, c, r=registry: repr(getattr(f.distributions, r)(c)), made)


# --- errors ------------------------------------------------------------------------------------------------------

ERRORS = [
    lambda d, f: d.Normal(f.tensor([0.0]), f.tensor([-1.0])),
    lambda d, f: d.Normal("a", 1.0),
    lambda d, f: d.Normal(f.zeros(2), f.ones(3)),
    lambda d, f: d.Normal(0.0, 1.0).log_prob(2.0),
    lambda d, f: d.Normal(f.zeros(2), f.ones(2)).log_prob(f.zeros(3)),
    lambda d, f: d.Beta(1.0, 1.0).log_prob(f.tensor(2.0)),
    lambda d, f: d.Bernoulli(),
    lambda d, f: d.Bernoulli(0.5, 0.5),
    lambda d, f: d.Bernoulli(1.5),
    lambda d, f: d.Bernoulli(0.5).log_prob(f.tensor(0.5)),
    lambda d, f: d.Categorical(f.tensor(0.5)),
    lambda d, f: d.Categorical(logits=f.tensor(0.5)),
    lambda d, f: d.Categorical(f.ones(3)).log_prob(f.tensor(3)),
    lambda d, f: d.Dirichlet(f.tensor(1.0)),
    lambda d, f: d.Dirichlet(f.ones(3)).log_prob(f.ones(2)),
    lambda d, f: d.Geometric(f.tensor([0.0, 0.5])),
    lambda d, f: d.Independent(d.Normal(0.0, 1.0), 1),
    lambda d, f: d.Independent(d.Bernoulli(f.ones(2) / 2), 1).enumerate_support(),
    lambda d, f: d.LKJCholesky(1),
    lambda d, f: d.MultivariateNormal(f.tensor(0.0), f.eye(1)),
    lambda d, f: d.MultivariateNormal(f.zeros(2)),
    lambda d, f: d.MultivariateNormal(f.zeros(2), f.zeros(2)),
    lambda d, f: d.MultivariateNormal(f.zeros(2), scale_tril=f.zeros(2)),
    lambda d, f: d.MultivariateNormal(f.zeros(2), -f.eye(2)),
    lambda d, f: d.LowRankMultivariateNormal(f.tensor(0.0), f.ones(1, 1), f.ones(1)),
    lambda d, f: d.LowRankMultivariateNormal(f.zeros(2), f.ones(2), f.ones(2)),
    lambda d, f: d.LowRankMultivariateNormal(f.zeros(2), f.ones(3, 1), f.ones(2)),
    lambda d, f: d.LowRankMultivariateNormal(f.zeros(2), f.ones(2, 1), f.ones(3)),
    lambda d, f: d.LowRankMultivariateNormal(f.zeros(3, 2), f.ones(2, 2, 1), f.ones(2)),
    lambda d, f: d.Multinomial(f.tensor([1, 2]), f.ones(3)),
    lambda d, f: d.Binomial(f.tensor([1.0, 2.0]), f.ones(2) / 2).entropy(),
    lambda d, f: d.Binomial(f.tensor([1.0, 2.0]), f.ones(2) / 2).enumerate_support(),
    lambda d, f: d.MixtureSameFamily(d.Normal(0.0, 1.0), d.Normal(0.0, 1.0)),
    lambda d, f: d.MixtureSameFamily(d.Categorical(f.ones(3)), 3),
    lambda d, f: d.MixtureSameFamily(d.Categorical(f.ones(3)), d.Normal(f.zeros(2), 1.0)),
    lambda d, f: d.MixtureSameFamily(d.Categorical(f.ones(2, 3)), d.Normal(f.zeros(4, 3), 1.0)),
    lambda d, f: d.TransformedDistribution(d.Normal(0.0, 1.0), 3),
    lambda d, f: d.TransformedDistribution(d.Normal(0.0, 1.0), [3]),
    lambda d, f: d.TransformedDistribution(d.Normal(0.0, 1.0), d.StickBreakingTransform()),
    lambda d, f: d.Wishart(1.0, f.eye(3)),
    lambda d, f: d.Wishart(4.0),
    lambda d, f: d.Wishart(4.0, f.ones(3)),
    lambda d, f: d.Normal(0.0, 1.0).mode_of,
    lambda d, f: d.Normal(0.0, 1.0).enumerate_support(),
    lambda d, f: d.Distribution.set_default_validate_args("yes"),
    lambda d, f: d.Distribution(validate_args=False).mode,
    lambda d, f: d.Uniform(f.tensor(1.0), f.tensor(0.0)),
    lambda d, f: d.kl_divergence(d.Binomial(2, 0.5), d.Binomial(3, 0.5)),
    lambda d, f: d.kl_divergence(*(d.MultivariateNormal(f.zeros(n), f.eye(n)) for n in (2, 3))),
    lambda d, f: d.kl_divergence(d.Gamma(1.0, 1.0), d.Poisson(1.0)),
    lambda d, f: d.ExpTransform(cache_size=2),
    lambda d, f: d.ReshapeTransform((2,), (3,)),
    lambda d, f: d.ReshapeTransform((2,), (2, 1)).forward_shape(f.Size((3,))),
    lambda d, f: d.CorrCholeskyTransform().forward_shape(f.Size((4,))),
    lambda d, f: d.CatTransform([d.ExpTransform()], lengths=[1, 2]),
    lambda d, f: d.CatTransform([d.ExpTransform()] * 2)(f.ones(3)),
    lambda d, f: d.StackTransform([d.ExpTransform()] * 2)(f.ones(3)),
    lambda d, f: d.StickBreakingTransform().event_dim,
    lambda d, f: d.biject_to(d.constraints.lower_cholesky),
    lambda d, f: d.biject_to.register(int, lambda c: c),
    lambda d, f: d.constraints.independent(3, 1),
    lambda d, f: d.constraints.independent(d.constraints.real, -1),
    lambda d, f: d.utils.vec_to_tril_matrix(f.ones(4)),
    lambda d, f: d.utils.tril_matrix_to_vec(f.ones(3, 3), diag=3),
]  # fmt: skip


def error_of(action, framework):
    try:
        action(framework.distributions, framework)
    except Exception as error:  # noqa: BLE001 - compared below
        return error
    return None


@pytest.mark.parametrize("number", range(len(ERRORS)))
def test_errors(number):
    mine, oracle = (error_of(ERRORS[number], f) for f in FRAMEWORKS)
    assert type(mine) is type(oracle), f"{mine!r} for {oracle!r}"
    if oracle is not None and not isinstance(oracle, (AttributeError, TypeError)):
        first = [str(e).replace("facula", "torch").split("\n")[0] for e in (mine, oracle)]
        assert " ".join(first[0].split()) == " ".join(first[1].split())


def test_subclasses_that_do_not_expand():
    for framework in FRAMEWORKS:

        class Mine(framework.distributions.Normal):
            def __init__(self, loc):
                super().__init__(loc, 1.0)

        with pytest.raises(NotImplementedError, match="Subclass Mine of Normal that defines a custom __init__"):
            Mine(framework.zeros(2)).expand((3, 2))


def test_validation_can_be_turned_off():
    for framework in FRAMEWORKS:
        d = framework.distributions
        assert d.Bernoulli(1.5, validate_args=False)._validate_args is False
        d.Distribution.set_default_validate_args(False)
        try:
            assert d.Normal(0.0, -1.0).log_prob(framework.tensor(0.0)).isnan()
        finally:
            d.Distribution.set_default_validate_args(True)
