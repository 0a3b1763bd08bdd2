"""The host's processor: LLVM text, just-in-time compilation, memory pool, thread pool, matrix product."""

from . import random
from .apply import Memo
from .convolution import convolve, convolve_weight
from .emit import compile
from .emit_many import compile_many
from .matmul import matmul as product
from .pool import new_storage
from .records import empty, view

__all__ = [
    "Memo",
    "compile",
    "compile_many",
    "convolve",
    "convolve_weight",
    "empty",
    "new_storage",
    "product",
    "random",
    "view",
]
