"""The host's processor: LLVM text, just-in-time compilation, memory pool, thread pool, matrix product."""

from . import random
from .apply import Memo
from .emit import compile
from .emit_many import compile_many
from .mask import masks
from .matmul import bind as bind_product
from .matmul import matmul as product
from .pool import new_storage
from .pull import pull
from .records import empty, view
from .scalars import reader
from .sort import sort

__all__ = [
    "Memo",
    "bind_product",
    "compile",
    "compile_many",
    "empty",
    "masks",
    "new_storage",
    "product",
    "pull",
    "random",
    "reader",
    "sort",
    "view",
]
