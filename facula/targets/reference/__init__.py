"""The machine that needs none: kernels interpreted with NumPy, the oracle of the code generators."""

from .interpreter import compile, empty, new_storage, run
from .mask import masks
from .memory import reader
from .product import bind_product, product
from .sort import sort

__all__ = [
    "bind_product",
    "compile",
    "empty",
    "masks",
    "new_storage",
    "product",
    "reader",
    "run",
    "sort",
]
