"""Tensors of new memory in the host's pool, made in one builtin."""

from facula.native import records

from . import pool

__all__ = ["FRESH", "empty"]


def _text() -> str:
    """LLVM text of `native.records.text`, and of what makes a tensor of new memory.

    `@fresh(Storage, Tensor, zero, spec, bytes, nbytes, device)`: dense, uninitialised, without history. Null means
    that memory is short.
    """
    return f"""
{pool.storage_text()}
define ptr @fresh(ptr %storage.class, ptr %tensor.class, ptr %zero, ptr %spec, i64 %bytes, ptr %nbytes,
                           ptr %device) nounwind {{
  %storage = call ptr @storage(ptr %storage.class, ptr %zero, i64 %bytes, ptr %nbytes, ptr %device)
  %made = call ptr @on(ptr %tensor.class, ptr %zero, ptr %spec, ptr %storage)
  ret ptr %made
}}
"""


empty, FRESH = records.makers(_text())
