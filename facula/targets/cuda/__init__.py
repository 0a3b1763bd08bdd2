"""NVIDIA's GPUs: CUDA C++ texts, compiled by NVRTC, launched through the driver; see README.md."""

from .code import compile
from .fresh import empty
from .memory.pool import new_storage

__all__ = ["CHECKS_LATER", "compile", "empty", "new_storage"]

CHECKS_LATER = True  # failing checks are raised at the next synchronisation

# What is imported when `targets.routine` is first asked for it: a file, or a name in a file.
ROUTINES = {
    "Clock": "clocks:Clock",
    "Memo": "repeats:MEMO",
    "attend": "libraries.dnn_attend:attend",
    "attend_backward": "libraries.dnn_attend:attend_backward",
    "attend_dtypes": "routines.attention:DTYPES",
    "attend_settled": "libraries.dnn_attend:settled",
    "attend_ways": "libraries.dnn_attend:WAYS",
    "attends_by_library": "libraries.dnn_attend:attends_by_library",
    "between": "transfers:between",
    "bind_activated_product": "libraries.blas:bind_activated_product",
    "bind_product": "libraries.blas:bind_product",
    "bind_product_and_sums": "libraries.blas:bind_product_and_sums",
    "compile_many": "many:compile_many",
    "convolution": "libraries.dnn_convolution:convolution",
    "convolve": "routines.convolution:convolve",
    "convolve_weight": "routines.convolution:convolve_weight",
    "dropout": "random.dropout:dropout",
    "fetch": "transfers:fetch",
    "from_host": "transfers:from_host",
    "hand_over": "exchange:hand_over",
    "is_pinned": "memory.pinned:is_pinned",
    "masks": "routines.choices:masks",
    "mixed_product": "libraries.blas:mixed_product",
    "pinned": "memory.pinned:pinned",
    "product": "libraries.blas:product",
    "pull": "repeats:pull",
    "random": "random",
    "reader": "transfers:reader",
    "recording": "graphs:recording",
    "record_stream": "memory.pool:record_stream",
    "search": "routines.search:search",
    "sort": "order.sort:sort",
    "stream_number": "exchange:stream_number",
    "synchronize": "transfers:synchronize",
    "take_over": "exchange:take_over",
    "to_host": "transfers:to_host",
    "where_is": "exchange:where_is",
}
