"""Tensors of new memory of the GPU, made in one builtin."""

from functools import cache as remembered

from facula.core.spec import Spec
from facula.core.tensor import Tensor
from facula.native import records

from . import launcher  # noqa: F401  (which provides what the text calls)

__all__ = ["address", "empty"]


def _text() -> str:
    """LLVM text of `native.records.text`, and of `@fresh`, as `targets/cpu/fresh.py` has it."""
    return f"""
{records.text()}
declare ptr @facula_cuda_take(ptr, ptr, ptr)
declare ptr @facula_cuda_address(ptr)
define ptr @fresh(ptr %storage.class, ptr %tensor.class, ptr %zero, ptr %spec, i64 %bytes, ptr %nbytes,
                           ptr %device) nounwind {{
  %some = icmp ne i64 %bytes, 0
  br i1 %some, label %take, label %nothing
nothing:
  call void @incref(ptr @_Py_NoneStruct)
  call void @incref(ptr %zero)
  br label %keep
take:
  %taken = call ptr @facula_cuda_take(ptr %nbytes, ptr %spec, ptr %device)
  %none = icmp eq ptr %taken, null
  br i1 %none, label %failed, label %found
found:
  %ptr = call ptr @facula_cuda_address(ptr %taken)
  %none3 = icmp eq ptr %ptr, null
  br i1 %none3, label %lost, label %keep
lost:
  call void @Py_DecRef(ptr %taken)
  br label %failed
keep:
  %block = phi ptr [@_Py_NoneStruct, %nothing], [%taken, %found]
  %address = phi ptr [%zero, %nothing], [%ptr, %found]
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


_makers = remembered(lambda: records.makers(_text()))


def empty(spec: Spec) -> Tensor:
    """An uninitialised tensor of a dense spec."""
    return _makers()[0](spec)


def address() -> int:
    """What machine code calls for a new tensor."""
    return _makers()[1]
