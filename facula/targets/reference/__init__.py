"""The machine that needs none: kernels interpreted with NumPy, the oracle of the code generators."""

from .interpreter import compile, empty, new_storage, run

__all__ = ["compile", "empty", "new_storage", "run"]

# What is imported when `targets.routine` is first asked for it: a file, or a name in a file.
ROUTINES = {
    "attend": "attention:attention",
    "attend_backward": "attention:attention_backward",
    "attend_dtypes": "attention:DTYPES",
    "attend_ways": "attention:WAYS",
    "bind_product": "product:bind_product",
    "compile_many": "many:compile_many",
    "convolve": "convolution:convolve",
    "convolve_weight": "convolution:convolve_weight",
    "masks": "mask:masks",
    "product": "product:product",
    "reader": "memory:reader",
    "recurrence": "recurrent:recurrent",
    "recurrence_backward": "recurrent:recurrent_backward",
    "rows": "rows:rows",
    "search": "search:search",
    "sort": "sort:sort",
}
