"""The machine that needs none: kernels interpreted with NumPy, the oracle of the code generators."""

from .interpreter import compile, empty, new_storage, run
from .many import compile_many
from .product import product

__all__ = ["compile", "compile_many", "empty", "new_storage", "product", "run"]
