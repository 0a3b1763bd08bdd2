"""The host's processor: LLVM text, just-in-time compilation, memory pool, thread pool, matrix product."""

from . import random
from .emit import compile
from .emit_many import compile_many
from .mask import masks
from .matmul import matmul as product
from .pool import new_storage
from .records import empty, view
from .search import search
from .sort import sort

__all__ = ["compile", "compile_many", "empty", "masks", "new_storage", "product", "random", "search", "sort", "view"]
