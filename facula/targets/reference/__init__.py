"""The machine that needs none: kernels interpreted with NumPy, the oracle of the code generators."""

from .interpreter import compile, empty, new_storage, run
from .many import compile_many
from .mask import masks
from .memory import reader
from .product import bind_product, product
from .sort import sort

__all__ = [
    "bind_product",
    "compile",
    "compile_many",
    "empty",
    "masks",
    "new_storage",
    "product",
    "reader",
    "run",
    "sort",
]
