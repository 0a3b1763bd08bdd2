"""The host's processor: LLVM text, just-in-time compilation, memory and threads, routines that are no kernels."""

import functools
from importlib import import_module
from typing import Any

from .emit import compile
from .pool import new_storage
from .records import empty, view

__all__ = ["compile", "empty", "new_storage", "routine", "view"]

# What is imported when it is first asked for: a file, or a name in a file.
ROUTINES = {
    "Memo": "apply.Memo",
    "attend": "attention.attention",
    "attend_backward": "attention.attention_backward",
    "bind_product": "matmul.bind",
    "compile_many": "emit_many.compile_many",
    "convolve": "convolution.convolve",
    "convolve_weight": "convolution.convolve_weight",
    "masks": "mask.masks",
    "product": "matmul.matmul",
    "pull": "pull.pull",
    "random": "random",
    "reader": "scalars.reader",
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
