"""The machine without memory: tensors have a spec and no bytes, kernels compute nothing; device 'meta'."""

from .memory import empty, new_storage
from .routines import compile

__all__ = ["HOLLOW", "compile", "empty", "new_storage"]

HOLLOW = True  # there are no numbers to be had: `launch.hollow`

# What is imported when `targets.routine` is first asked for it: a file, or a name in a file.
ROUTINES = {
    "attend": "routines:made",
    "attend_backward": "routines:made",
    "attend_dtypes": "routines:ATTEND_DTYPES",
    "attend_ways": "routines:ATTEND_WAYS",
    "bind_product": "routines:made",
    "compile_many": "routines:compile_many",
    "convolve": "routines:made",
    "convolve_weight": "routines:made",
    "fetch": "memory:fetch",
    "from_host": "routines:nothing",
    "product": "routines:made",
    "random": "routines:RANDOM",
    "reader": "routines:reader",
    "recurrence": "routines:made",
    "recurrence_backward": "routines:made",
    "rows": "routines:rows",
    "search": "routines:made",
    "sort": "routines:made",
    "to_host": "memory:refused",
}
