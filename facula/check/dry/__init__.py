"""A target in place of the CPU's on which heavy work is not done; memory is counted, and what nobody computed reads 0.

Work on little data whose numbers are known is done by the target for CPUs. All that follows from numbers which nobody
computed (parameters, what they are multiplied with) is not computed either.
"""

from .memory import empty, forget, lacks, new_storage
from .routines import compile

__all__ = ["compile", "empty", "forget", "lacks", "new_storage"]

# What is imported when `targets.routine` is first asked for it: a file, or a name in a file.
ROUTINES = {
    "attend": "routines:attend",
    "attend_backward": "routines:attend_backward",
    "attend_dtypes": "routines:attend_dtypes",
    "attend_ways": "routines:attend_ways",
    "bind_product": "routines:bind_product",
    "compile_many": "routines:compile_many",
    "convolve": "routines:convolve",
    "convolve_weight": "routines:convolve_weight",
    "fetch": "routines:fetch",
    "masks": "routines:MASKS",
    "product": "routines:product",
    "random": "routines:RANDOM",
    "reader": "routines:reader",
    "recurrence": "routines:recurrence",
    "recurrence_backward": "routines:recurrence_backward",
    "rows": "routines:rows",
    "search": "routines:search",
    "sort": "routines:sort",
}
