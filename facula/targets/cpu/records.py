"""Builtins that make instances of slots classes without running Python; the work of `__init__`, far faster."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from facula.core.spec import Spec
from facula.core.storage import Storage
from facula.core.tensor import Tensor
from facula.errors import fail

from . import builtins, jit, layout, pool

__all__ = ["constructor", "empty", "view"]

# What a Tensor holds that its maker says nothing of.
TENSOR_DEFAULTS = {"needs_grad": False, "edge": None, "base": None, "seen": 0, "extra": None, "_grad": None}


def _item(name: str, position: int) -> str:
    """Loads `%name`, an item of the builtin's context."""
    return (
        f"  %{name}.in = getelementptr i8, ptr %self, i64 {layout.TUPLE_ITEMS + 8 * position}\n"
        f"  %{name} = load ptr, ptr %{name}.in\n"
    )


def _store(record: str, slot: str, offset: int, value: str, count: bool = True) -> str:
    """Puts `value` in a slot of a new record, counting the reference unless it is the only one."""
    return (layout.increment(value) if count else "") + (
        f"  %{slot}.at = getelementptr i8, ptr {record}, i64 {offset}\n  store ptr {value}, ptr %{slot}.at\n"
    )


def constructor(
    cls: type, arguments: Sequence[str], defaults: Mapping[str, object] | None = None, *, name: str | None = None
) -> Callable[..., Any]:
    """A builtin that makes an instance of the slots class `cls`: positional arguments and constants go to slots.

    `__new__` and `__init__` do not run; slots that are in neither list stay empty.

    Parameters
    ----------
    cls : type
        A class with `__slots__`, in its bases too; a `__dict__` or `__weakref__` slot is allowed.
    arguments : sequence of str
        The slots that the builtin's arguments go to, in order.
    defaults : mapping
        Slots that always get the same object.

    Examples
    --------
    >>> class Point:
    ...     __slots__ = ("x", "y", "z")
    >>> point = constructor(Point, ["x", "y"], {"z": 0})(3, 4)
    >>> point.x, point.y, point.z
    (3, 4, 0)
    """
    defaults = dict(defaults or {})
    at = layout.slots(cls)
    unknown = [slot for slot in (*arguments, *defaults) if slot not in at]
    if unknown or len({*arguments, *defaults}) != len(arguments) + len(defaults):
        fail(
            TypeError,
            f"constructor of {cls.__name__}: bad slots",
            expected=f"each at most once of {', '.join(at)}",
            got=", ".join((*arguments, *defaults)),
        )
    if any("__slots__" not in base.__dict__ for base in cls.__mro__[:-1]):
        fail(TypeError, f"constructor of {cls.__name__}: it and its bases must all define __slots__")
    title = name or cls.__name__
    body = _item("class", 0)
    body += "  %made = call ptr @PyType_GenericAlloc(ptr %class, i64 0)\n"
    body += (
        "  %none = icmp eq ptr %made, null\n  br i1 %none, label %failed, label %fill\nfailed:\n  ret ptr null\nfill:\n"
    )
    for i, slot in enumerate(arguments):
        body += f"  %arg{i}.in = getelementptr ptr, ptr %args, i64 {i}\n  %arg{i} = load ptr, ptr %arg{i}.in\n"
        body += _store("%made", f"slot{i}", at[slot], f"%arg{i}")
    for j, slot in enumerate(defaults):
        body += _item(f"default{j}", 1 + j) + _store("%made", f"constant{j}", at[slot], f"%default{j}")
    text = f"""
{layout.INCREF}
declare ptr @PyType_GenericAlloc(ptr, i64)
declare ptr @facula_bad_count(ptr, i64, i64)
{builtins.string("title", title)}
define ptr @construct(ptr %self, ptr %args, i64 %count) nounwind {{
  %fits = icmp eq i64 %count, {len(arguments)}
  br i1 %fits, label %make, label %misfit
misfit:
  %raised = call ptr @facula_bad_count(ptr @title, i64 {len(arguments)}, i64 %count)
  ret ptr null
make:
{body}  ret ptr %made
}}
"""
    address = jit.load(text, ["construct"], optimize="clean")["construct"]
    return builtins.make(address, title, f"{title}({', '.join(arguments)})", (cls, *defaults.values()))


def fresh_text() -> str:
    """LLVM text of two functions that make tensors without history.

    `@record(class, spec, storage, ptr, zero)` takes over the references to `storage` and `ptr`; the memory of
    `@fresh(Storage, Tensor, zero, spec, bytes, nbytes, device)` is new, dense and uninitialised. Null means
    that memory is short.
    """
    at = layout.slots(Tensor)
    constants = {"needs_grad": "@_Py_FalseStruct", "seen": "%zero"}
    fill = _store("%made", "spec", at["spec"], "%spec")
    fill += _store("%made", "storage", at["storage"], "%storage", count=False)
    fill += _store("%made", "ptr", at["ptr"], "%address", count=False)
    for slot in TENSOR_DEFAULTS:
        fill += _store("%made", slot, at[slot], constants.get(slot, "@_Py_NoneStruct"))
    return f"""
{pool._storage_text()}
@_Py_FalseStruct = external global i8
@_Py_NoneStruct = external global i64
define internal ptr @record(ptr %class, ptr %spec, ptr %storage, ptr %address, ptr %zero) nounwind alwaysinline {{
  %made = call ptr @PyType_GenericAlloc(ptr %class, i64 0)
  %none = icmp eq ptr %made, null
  br i1 %none, label %failed, label %fill
failed:
  ret ptr null
fill:
{fill}  ret ptr %made
}}
define internal ptr @fresh(ptr %storage.class, ptr %tensor.class, ptr %zero, ptr %spec, i64 %bytes, ptr %nbytes,
                           ptr %device) nounwind {{
  %storage = call ptr @storage(ptr %storage.class, ptr %zero, i64 %bytes, ptr %nbytes, ptr %device)
  %none = icmp eq ptr %storage, null
  br i1 %none, label %failed, label %record
record:
  %address.in = getelementptr i8, ptr %storage, i64 {layout.slots(Storage)["ptr"]}
  %address = load ptr, ptr %address.in
  call void @incref(ptr %address)
  %made = call ptr @record(ptr %tensor.class, ptr %spec, ptr %storage, ptr %address, ptr %zero)
  %none2 = icmp eq ptr %made, null
  br i1 %none2, label %drop, label %done
drop:
  call void @Py_DecRef(ptr %address)
  call void @Py_DecRef(ptr %storage)
  br label %failed
failed:
  ret ptr null
done:
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
{_item("spec.class", 3)}
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
{_item("storage.class", 0)}{_item("zero", 1)}{_item("tensor.class", 2)}
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
view = constructor(
    Tensor,
    ["spec", "storage", "ptr", "base", "seen"],
    {slot: value for slot, value in TENSOR_DEFAULTS.items() if slot not in ("base", "seen")},
    name="view",
)
