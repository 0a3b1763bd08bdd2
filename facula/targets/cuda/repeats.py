"""Calls and backwards that machine code repeats: results in memory of the GPU, launches without Python."""

from facula.native import layout, records
from facula.native.apply import Machine
from facula.native.pull import pull

from . import code, pool

__all__ = ["MEMO", "pull"]


def _fresh_text() -> str:
    """LLVM text of `native.records.text`, and of `@fresh`, as `targets/cpu/fresh.py` has it."""
    return f"""
{records.text()}
declare ptr @facula_cuda_take(ptr, ptr)
define internal ptr @fresh(ptr %storage.class, ptr %tensor.class, ptr %zero, ptr %spec, i64 %bytes, ptr %nbytes,
                           ptr %device) nounwind {{
  %some = icmp ne i64 %bytes, 0
  br i1 %some, label %take, label %nothing
nothing:
  call void @incref(ptr @_Py_NoneStruct)
  br label %keep
take:
  %taken = call ptr @facula_cuda_take(ptr %nbytes, ptr %spec)
  %none = icmp eq ptr %taken, null
  br i1 %none, label %failed, label %found
found:
  %ptr.in = getelementptr i8, ptr %taken, i64 {layout.slots(pool.Block)["ptr"]}
  %ptr = load ptr, ptr %ptr.in
  br label %keep
keep:
  %block = phi ptr [@_Py_NoneStruct, %nothing], [%taken, %found]
  %address = phi ptr [%zero, %nothing], [%ptr, %found]
  call void @incref(ptr %address)
  %storage = call ptr @keep(ptr %storage.class, ptr %zero, ptr %address, ptr %nbytes, ptr %block, ptr %device)
  %none2 = icmp eq ptr %storage, null
  br i1 %none2, label %drop, label %record
record:
  %made = call ptr @on(ptr %tensor.class, ptr %zero, ptr %spec, ptr %storage)
  ret ptr %made
drop:
  call void @Py_DecRef(ptr %address)
  call void @Py_DecRef(ptr %block)
  br label %failed
failed:
  ret ptr null
}}
"""


MEMO = Machine(_fresh_text, code.packed, "facula_cuda_run")
