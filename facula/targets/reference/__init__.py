"""The machine that needs none: kernels interpreted with NumPy, the oracle of the code generators."""

from .interpreter import compile, empty, new_storage, run
from .memory import reader
from .product import product

__all__ = ["compile", "empty", "new_storage", "product", "reader", "run"]
