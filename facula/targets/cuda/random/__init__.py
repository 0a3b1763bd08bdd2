"""The routine `random`: PyTorch's numbers of CUDA for a seed; `targets/cpu/random.py` documents the arguments."""

from .fills import bernoulli, cauchy, exponential, geometric, integers, log_normal, normal, sampler, uniform
from .samplers import binomial, gamma, poisson
from .selections import bernoulli_each, multinomial, permutation

__all__ = [
    "bernoulli", "bernoulli_each", "binomial", "cauchy", "exponential", "gamma", "geometric", "integers", "log_normal",
    "multinomial", "normal", "permutation", "poisson", "sampler", "uniform",
]  # fmt: skip
