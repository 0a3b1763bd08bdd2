"""The host's processor: LLVM text, just-in-time compilation, memory and threads, routines that are no kernels."""

from facula.native.records import view

from .emit import compile
from .fresh import empty
from .pool import new_storage

__all__ = ["compile", "empty", "new_storage", "view"]

# What is imported when `targets.routine` is first asked for it: a file, or a name in a file.
ROUTINES = {
    "Memo": "repeats:MEMO",
    "attend": "attention:attention",
    "attend_backward": "attention:attention_backward",
    "attend_dtypes": "attention:DTYPES",
    "attend_ways": "attention:WAYS",
    "bind_product": "matmul:bind",
    "compile_many": "emit_many:compile_many",
    "convolve": "convolution:convolve",
    "convolve_weight": "convolution:convolve_weight",
    "masks": "mask:masks",
    "product": "matmul:matmul",
    "peak": "limits:peak",
    "pull": "repeats:pull",
    "random": "random",
    "reader": "repeats:reader",
    "recurrence": "recurrent:recurrent",
    "recurrence_backward": "recurrent:recurrent_backward",
    "rows": "rows:rows",
    "search": "search:search",
    "sort": "sort:sort",
}
