"""The host's processor: LLVM text, just-in-time compilation, memory pool, thread pool, matrix product."""

from . import random
from .apply import Memo
from .emit import compile
from .emit_many import compile_many
from .matmul import matmul as product
from .pool import new_storage
from .records import empty, view
from .scalars import reader

__all__ = ["Memo", "compile", "compile_many", "empty", "new_storage", "product", "random", "reader", "view"]
