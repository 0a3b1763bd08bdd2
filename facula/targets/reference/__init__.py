"""The machine that needs none: kernels interpreted with NumPy, the oracle of the code generators."""

from .convolution import convolve, convolve_weight
from .interpreter import compile, empty, new_storage, run
from .product import product

__all__ = ["compile", "convolve", "convolve_weight", "empty", "new_storage", "product", "run"]
