"""Tensors of new memory in the host's pool, made in one builtin."""

from collections.abc import Callable

from facula.core.spec import Spec
from facula.core.storage import Storage
from facula.core.tensor import Tensor
from facula.native import builtins, jit, layout
from facula.native.records import item

from . import pool

__all__ = ["empty", "fresh_text"]


def fresh_text() -> str:
    """LLVM text of `native.records.text`, and of what makes a tensor of new memory.

    `@fresh(Storage, Tensor, zero, spec, bytes, nbytes, device)`: dense, uninitialised, without history. Null means
    that memory is short.
    """
    return f"""
{pool.storage_text()}
define internal ptr @fresh(ptr %storage.class, ptr %tensor.class, ptr %zero, ptr %spec, i64 %bytes, ptr %nbytes,
                           ptr %device) nounwind {{
  %storage = call ptr @storage(ptr %storage.class, ptr %zero, i64 %bytes, ptr %nbytes, ptr %device)
  %made = call ptr @on(ptr %tensor.class, ptr %zero, ptr %spec, ptr %storage)
  ret ptr %made
}}
"""


def _empty() -> Callable[[Spec], Tensor]:
    """`empty(spec)`: a dense tensor of uninitialised memory: block, Storage and Tensor in one call."""
    at = layout.slots(Spec)
    text = f"""
{fresh_text()}
declare i64 @facula_as_i64(ptr)
declare ptr @facula_bad_count(ptr, i64, i64)
declare ptr @PyErr_Format(ptr, ptr, ...)
declare ptr @PyErr_Occurred()
declare i32 @PyErr_ExceptionMatches(ptr)
declare void @PyErr_Clear()
declare ptr @PySequence_List(ptr)
@PyExc_TypeError = external global ptr
@PyExc_RuntimeError = external global ptr
@PyExc_OverflowError = external global ptr
{builtins.string("title", "empty")}
{builtins.string("type.text", "empty() expects a Spec, but got %R")}
{builtins.string("overflow.text", "Storage size calculation overflowed with sizes=%R")}
define ptr @empty(ptr %self, ptr %args, i64 %count) nounwind {{
  %one = icmp eq i64 %count, 1
  br i1 %one, label %read, label %misfit
misfit:
  %raised = call ptr @facula_bad_count(ptr @title, i64 1, i64 %count)
  ret ptr null
read:
  %spec = load ptr, ptr %args
  %type.in = getelementptr i8, ptr %spec, i64 {layout.TYPE}
  %type = load ptr, ptr %type.in
{item("spec.class", 3)}
  %right = icmp eq ptr %type, %spec.class
  br i1 %right, label %fields, label %wrong
fields:
  %nbytes.in = getelementptr i8, ptr %spec, i64 {at["nbytes"]}
  %nbytes = load ptr, ptr %nbytes.in
  %device.in = getelementptr i8, ptr %spec, i64 {at["device"]}
  %device = load ptr, ptr %device.in
  %no.bytes = icmp eq ptr %nbytes, null
  %no.device = icmp eq ptr %device, null
  %unset = or i1 %no.bytes, %no.device
  br i1 %unset, label %wrong, label %size
wrong:
  %type.error = load ptr, ptr @PyExc_TypeError
  %told = call ptr (ptr, ptr, ...) @PyErr_Format(ptr %type.error, ptr @type.text, ptr %type)
  ret ptr null
size:
  %bytes = call i64 @facula_as_i64(ptr %nbytes)
  %odd = icmp eq i64 %bytes, -1
  br i1 %odd, label %check, label %make
check:
  %error = call ptr @PyErr_Occurred()
  %good = icmp eq ptr %error, null
  br i1 %good, label %make, label %unread
unread:
  %overflow = load ptr, ptr @PyExc_OverflowError
  %matches = call i32 @PyErr_ExceptionMatches(ptr %overflow)
  %too.large = icmp ne i32 %matches, 0
  br i1 %too.large, label %large, label %failed
large:
  call void @PyErr_Clear()
  %shape.in = getelementptr i8, ptr %spec, i64 {at["shape"]}
  %shape = load ptr, ptr %shape.in
  %sizes = call ptr @PySequence_List(ptr %shape)
  %unlisted = icmp eq ptr %sizes, null
  br i1 %unlisted, label %failed, label %say
say:
  %runtime.error = load ptr, ptr @PyExc_RuntimeError
  %said = call ptr (ptr, ptr, ...) @PyErr_Format(ptr %runtime.error, ptr @overflow.text, ptr %sizes)
  call void @Py_DecRef(ptr %sizes)
  br label %failed
failed:
  ret ptr null
make:
{item("storage.class", 0)}{item("zero", 1)}{item("tensor.class", 2)}
  %made = call ptr @fresh(ptr %storage.class, ptr %tensor.class, ptr %zero, ptr %spec, i64 %bytes, ptr %nbytes,
                          ptr %device)
  ret ptr %made
}}
"""
    address = jit.load(text, ["empty"], optimize="clean")["empty"]
    return builtins.make(
        address, "empty", "empty(spec): a dense tensor of uninitialised memory.", (Storage, 0, Tensor, Spec)
    )


empty = _empty()
