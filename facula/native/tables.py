"""The addresses and sizes of many tensors, gathered in one builtin for kernels that run on all of them."""

from collections.abc import Callable

from facula.core.spec import Spec
from facula.core.storage import Storage
from facula.core.tensor import Tensor

from . import builtins, jit, layout

__all__ = ["fill"]


def _slot(name: str, record: str, offset: int) -> str:
    """Loads `%name` from a slot of `%record`, or leaves if the slot is empty."""
    return f"""
  %{name}.in = getelementptr i8, ptr {record}, i64 {offset}
  %{name} = load ptr, ptr %{name}.in
  %{name}.unset = icmp eq ptr %{name}, null
  br i1 %{name}.unset, label %wrong, label %{name}.set
{name}.set:"""


def _fill() -> Callable[[list[Tensor], int, int, int, int], int]:
    """`fill(tensors, table, width, written, chunk)`.

    Takes a list of rows of `width` tensors, one after the other, and writes for each row their addresses, the number of
    elements of its first, and the number of its first share, where each share has at most `chunk` elements. Tensors in
    columns whose bit is set in `written` count as changed. The number of shares of all rows stands after the last row;
    that of their elements is returned.
    """
    tensor, storage, spec = layout.slots(Tensor), layout.slots(Storage), layout.slots(Spec)
    text = f"""
{layout.INCREF}
declare i64 @facula_as_i64(ptr)
declare ptr @facula_bad_count(ptr, i64, i64)
declare ptr @PyErr_Format(ptr, ptr, ...)
declare ptr @PyErr_Occurred()
declare ptr @PyLong_FromLongLong(i64)
declare i64 @PyList_Size(ptr)
declare ptr @PyList_GetItem(ptr, i64)
declare i32 @PyType_IsSubtype(ptr, ptr)
declare void @Py_DecRef(ptr)
@PyExc_TypeError = external global ptr
{builtins.string("title", "fill")}
{builtins.string("type.text", "fill() expects a list of tensors, but got one of %R")}
define ptr @fill(ptr %self, ptr %args, i64 %count) nounwind {{
  %five = icmp eq i64 %count, 5
  br i1 %five, label %read, label %misfit
misfit:
  %raised = call ptr @facula_bad_count(ptr @title, i64 5, i64 %count)
  ret ptr null
read:
  %list = load ptr, ptr %args
{
        "".join(
            f'''  %{name}.arg = getelementptr ptr, ptr %args, i64 {i}
  %{name}.object = load ptr, ptr %{name}.arg
  %{name} = call i64 @facula_as_i64(ptr %{name}.object)
'''
            for i, name in enumerate(("table", "width", "written", "chunk"), 1)
        )
    }
  %length = call i64 @PyList_Size(ptr %list)
  %error = call ptr @PyErr_Occurred()
  %good = icmp eq ptr %error, null
  br i1 %good, label %begin, label %failed
failed:
  ret ptr null
begin:
  %class.in = getelementptr i8, ptr %self, i64 {layout.TUPLE_ITEMS}
  %class = load ptr, ptr %class.in
  br label %test
test:
  %i = phi i64 [ 0, %begin ], [ %i.next, %step ]
  %column = phi i64 [ 0, %begin ], [ %column.next, %step ]
  %at = phi i64 [ %table, %begin ], [ %at.next, %step ]
  %shares = phi i64 [ 0, %begin ], [ %shares.next, %step ]
  %size = phi i64 [ 0, %begin ], [ %size.now, %step ]
  %total = phi i64 [ 0, %begin ], [ %total.next, %step ]
  %more = icmp slt i64 %i, %length
  br i1 %more, label %loop, label %done
loop:
  %one = call ptr @PyList_GetItem(ptr %list, i64 %i)
  %type.in = getelementptr i8, ptr %one, i64 {layout.TYPE}
  %type = load ptr, ptr %type.in
  %plain = icmp eq ptr %type, %class
  br i1 %plain, label %tensor, label %subclass
subclass:
  %sub = call i32 @PyType_IsSubtype(ptr %type, ptr %class)
  %is = icmp ne i32 %sub, 0
  br i1 %is, label %tensor, label %wrong
wrong:
  %type.error = load ptr, ptr @PyExc_TypeError
  %told = call ptr (ptr, ptr, ...) @PyErr_Format(ptr %type.error, ptr @type.text, ptr %type)
  ret ptr null
tensor:
{_slot("address", "%one", tensor["ptr"])}
  %number = call i64 @facula_as_i64(ptr %address)
  %cell = inttoptr i64 %at to ptr
  store i64 %number, ptr %cell
  %bit = shl i64 1, %column
  %masked = and i64 %bit, %written
  %changes = icmp ne i64 %masked, 0
  br i1 %changes, label %change, label %look
change:
{_slot("storage", "%one", tensor["storage"])}
{_slot("version", "%storage", storage["version"])}
  %old = call i64 @facula_as_i64(ptr %version)
  %raised.version = add i64 %old, 1
  %new = call ptr @PyLong_FromLongLong(i64 %raised.version)
  %none = icmp eq ptr %new, null
  br i1 %none, label %failed, label %put
put:
  store ptr %new, ptr %version.in
  call void @Py_DecRef(ptr %version)
  br label %look
look:
  %is.first = icmp eq i64 %column, 0
  br i1 %is.first, label %measure, label %after
measure:
{_slot("spec", "%one", tensor["spec"])}
{_slot("numel", "%spec", spec["numel"])}
  %elements = call i64 @facula_as_i64(ptr %numel)
  br label %after
after:
  %size.now = phi i64 [ %size, %look ], [ %elements, %numel.set ]
  %column1 = add i64 %column, 1
  %at1 = add i64 %at, 8
  %last = icmp eq i64 %column1, %width
  br i1 %last, label %close, label %step
close:
  %size.cell = inttoptr i64 %at1 to ptr
  store i64 %size.now, ptr %size.cell
  %first.cell = getelementptr i64, ptr %size.cell, i64 1
  store i64 %shares, ptr %first.cell
  %up = add i64 %size.now, %chunk
  %up1 = sub i64 %up, 1
  %own = sdiv i64 %up1, %chunk
  %shares1 = add i64 %shares, %own
  %at3 = add i64 %at1, 16
  %total1 = add i64 %total, %size.now
  br label %step
step:
  %column.next = phi i64 [ %column1, %after ], [ 0, %close ]
  %at.next = phi i64 [ %at1, %after ], [ %at3, %close ]
  %shares.next = phi i64 [ %shares, %after ], [ %shares1, %close ]
  %total.next = phi i64 [ %total, %after ], [ %total1, %close ]
  %i.next = add i64 %i, 1
  br label %test
done:
  %last.cell = inttoptr i64 %at to ptr
  store i64 %shares, ptr %last.cell
  %result = call ptr @PyLong_FromLongLong(i64 %total)
  ret ptr %result
}}
"""
    address = jit.load(text, ["fill"], optimize="clean")["fill"]
    return builtins.make(address, "fill", _fill.__doc__, (Tensor,))


_found: list[Callable] = []


def fill() -> Callable[[list[Tensor], int, int, int, int], int]:
    """The builtin, made when first asked for."""
    if not _found:
        _found.append(_fill())
    return _found[0]
