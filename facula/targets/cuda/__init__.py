"""NVIDIA's GPUs: CUDA C++ texts, compiled by NVRTC, launched through the driver; see README.md."""

from .code import compile
from .fresh import empty
from .pool import new_storage

__all__ = ["CHECKS_LATER", "compile", "empty", "new_storage"]

CHECKS_LATER = True  # failing checks are raised at the next synchronisation

# What is imported when `targets.routine` is first asked for it: a file, or a name in a file.
ROUTINES = {
    "Memo": "repeats.MEMO",
    "attend": "dnn_attend.attend",
    "attend_backward": "dnn_attend.attend_backward",
    "attend_dtypes": "attention.DTYPES",
    "between": "transfers.between",
    "bind_product": "blas.bind_product",
    "compile_many": "many.compile_many",
    "convolution": "dnn_convolution.convolution",
    "convolve": "convolution.convolve",
    "convolve_weight": "convolution.convolve_weight",
    "dropout": "dropout.dropout",
    "fetch": "transfers.fetch",
    "from_host": "transfers.from_host",
    "hand_over": "exchange.hand_over",
    "is_pinned": "pinned.is_pinned",
    "masks": "choices.masks",
    "mixed_product": "blas.mixed_product",
    "pinned": "pinned.pinned",
    "product": "blas.product",
    "pull": "repeats.pull",
    "random": "random",
    "reader": "transfers.reader",
    "recording": "graphs.recording",
    "record_stream": "pool.record_stream",
    "rows": "choices.rows",
    "search": "search.search",
    "sort": "sort.sort",
    "stream_number": "exchange.stream_number",
    "synchronize": "transfers.synchronize",
    "take_over": "exchange.take_over",
    "to_host": "transfers.to_host",
    "where_is": "exchange.where_is",
}
