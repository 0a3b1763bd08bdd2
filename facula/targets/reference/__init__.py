"""The machine that needs none: kernels interpreted with NumPy, the oracle of the code generators."""

import functools
from importlib import import_module
from typing import Any

from .interpreter import compile, empty, new_storage, run

__all__ = ["compile", "empty", "new_storage", "routine", "run"]

# What is imported when it is first asked for: a name in a file.
ROUTINES = {
    "attend": "attention.attention",
    "attend_backward": "attention.attention_backward",
    "bind_product": "product.bind_product",
    "compile_many": "many.compile_many",
    "convolve": "convolution.convolve",
    "convolve_weight": "convolution.convolve_weight",
    "masks": "mask.masks",
    "product": "product.product",
    "reader": "memory.reader",
    "recurrence": "recurrent.recurrent",
    "recurrence_backward": "recurrent.recurrent_backward",
    "rows": "rows.rows",
    "search": "search.search",
    "sort": "sort.sort",
}


@functools.cache
def routine(name: str) -> Any:
    """The routine of this name; AttributeError where the target has none."""
    if name not in ROUTINES:
        raise AttributeError(f"target {__name__!r} has no attribute {name!r}")
    file, _, inside = ROUTINES[name].partition(".")
    module = import_module(f".{file}", __name__)
    return getattr(module, inside) if inside else module
