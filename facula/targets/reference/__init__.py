"""The machine that needs none: kernels interpreted with NumPy, the oracle of the code generators."""

from .interpreter import compile, empty, new_storage, run
from .mask import masks
from .product import product
from .search import search
from .sort import sort

__all__ = ["compile", "empty", "masks", "new_storage", "product", "run", "search", "sort"]
