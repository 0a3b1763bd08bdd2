"""The machine that needs none: kernels interpreted with NumPy, the oracle of the code generators."""

from .attention import attention, attention_backward
from .interpreter import compile, empty, new_storage, run
from .product import product

__all__ = ["attention", "attention_backward", "compile", "empty", "new_storage", "product", "run"]
