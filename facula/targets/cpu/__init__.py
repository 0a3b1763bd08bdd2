"""The host's processor: LLVM text, just-in-time compilation, memory and threads, routines that are no kernels."""

from importlib import import_module
from typing import Any

from .emit import compile
from .pool import new_storage
from .records import empty, view

__all__ = ["compile", "empty", "new_storage", "view"]

# What is imported when it is first asked for: a file, or a name in a file.
ROUTINES = {
    "Memo": "apply.Memo",
    "bind_product": "matmul.bind",
    "compile_many": "emit_many.compile_many",
    "masks": "mask.masks",
    "product": "matmul.matmul",
    "pull": "pull.pull",
    "random": "random",
    "reader": "scalars.reader",
    "search": "search.search",
    "sort": "sort.sort",
}


def __getattr__(name: str) -> Any:
    if name not in ROUTINES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    file, _, inside = ROUTINES[name].partition(".")
    module = import_module(f".{file}", __name__)
    found = globals()[name] = getattr(module, inside) if inside else module
    return found
