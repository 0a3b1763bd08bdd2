"""The machine that needs none: kernels interpreted with NumPy, the oracle of the code generators."""

from importlib import import_module
from typing import Any

from .interpreter import compile, empty, new_storage, run

__all__ = ["compile", "empty", "new_storage", "run"]

# What is imported when it is first asked for: a name in a file.
ROUTINES = {
    "bind_product": "product.bind_product",
    "compile_many": "many.compile_many",
    "masks": "mask.masks",
    "product": "product.product",
    "reader": "memory.reader",
    "search": "search.search",
    "sort": "sort.sort",
}


def __getattr__(name: str) -> Any:
    if name not in ROUTINES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    file, _, inside = ROUTINES[name].partition(".")
    found = globals()[name] = getattr(import_module(f".{file}", __name__), inside)
    return found
