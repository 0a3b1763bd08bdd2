"""Builtins that make instances of slots classes without running Python; the work of `__init__`, far faster."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from facula.core.spec import Spec
from facula.core.storage import Storage
from facula.core.tensor import Tensor
from facula.errors import fail

from . import builtins, jit, layout

__all__ = ["DECLARATIONS", "TENSOR_DEFAULTS", "constructor", "item", "makers", "text", "view"]

DECLARATIONS = f"""
{layout.INCREF}
declare ptr @PyLong_FromLongLong(i64)
declare ptr @PyType_GenericAlloc(ptr, i64)
declare void @Py_DecRef(ptr)
@_Py_FalseStruct = external global i8
@_Py_NoneStruct = external global i64
"""

# What a Tensor holds that its maker says nothing of.
TENSOR_DEFAULTS = {"needs_grad": False, "edge": None, "base": None, "seen": 0, "extra": None, "_grad": None}


def item(name: str, position: int) -> str:
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
    body = item("class", 0)
    body += "  %made = call ptr @PyType_GenericAlloc(ptr %class, i64 0)\n"
    body += (
        "  %none = icmp eq ptr %made, null\n  br i1 %none, label %failed, label %fill\nfailed:\n  ret ptr null\nfill:\n"
    )
    for i, slot in enumerate(arguments):
        body += f"  %arg{i}.in = getelementptr ptr, ptr %args, i64 {i}\n  %arg{i} = load ptr, ptr %arg{i}.in\n"
        body += _store("%made", f"slot{i}", at[slot], f"%arg{i}")
    for j, slot in enumerate(defaults):
        body += item(f"default{j}", 1 + j) + _store("%made", f"constant{j}", at[slot], f"%default{j}")
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


def text() -> str:
    """LLVM text of three functions that make records; null means that memory is short, and the error is set.

    `@keep(Storage, zero, address, nbytes, block, device)`, a Storage, takes over the references to `address` and
    `block`, and leaves them to the caller where it fails. `@record(Tensor, spec, storage, address, zero)`, a tensor
    without history, takes over those to `storage` and `address`. `@on(Tensor, zero, spec, storage)`, one at the start
    of a storage, takes over the one to it, and drops it where it fails; the storage may be null.
    """
    of_storage, of_tensor = layout.slots(Storage), layout.slots(Tensor)
    slots = {"ptr": "%address", "nbytes": "%count", "version": "%zero", "owner": "%block", "device": "%device"}
    stores = "".join(
        _store("%made", slot, of_storage[slot], value, count=slot in ("nbytes", "version", "device"))
        for slot, value in slots.items()
    )
    constants = {"needs_grad": "@_Py_FalseStruct", "seen": "%zero"}
    fill = _store("%made", "spec", of_tensor["spec"], "%spec")
    fill += _store("%made", "storage", of_tensor["storage"], "%storage", count=False)
    fill += _store("%made", "ptr", of_tensor["ptr"], "%address", count=False)
    for slot in TENSOR_DEFAULTS:
        fill += _store("%made", slot, of_tensor[slot], constants.get(slot, "@_Py_NoneStruct"))
    make = """  %made = call ptr @PyType_GenericAlloc(ptr %class, i64 0)
  %none = icmp eq ptr %made, null
  br i1 %none, label %failed, label %fill
failed:
  ret ptr null
fill:
"""
    return f"""
{DECLARATIONS}
define internal ptr @keep(ptr %class, ptr %zero, ptr %address, ptr %count, ptr %block, ptr %device) nounwind
alwaysinline {{
{make}{stores}  ret ptr %made
}}
define internal ptr @record(ptr %class, ptr %spec, ptr %storage, ptr %address, ptr %zero) nounwind alwaysinline {{
{make}{fill}  ret ptr %made
}}
define internal ptr @on(ptr %class, ptr %zero, ptr %spec, ptr %storage) nounwind alwaysinline {{
  %none = icmp eq ptr %storage, null
  br i1 %none, label %failed, label %record
record:
  %address.in = getelementptr i8, ptr %storage, i64 {of_storage["ptr"]}
  %address = load ptr, ptr %address.in
  call void @incref(ptr %address)
  %made = call ptr @record(ptr %class, ptr %spec, ptr %storage, ptr %address, ptr %zero)
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


def makers(fresh: str) -> tuple[Callable[[Spec], Tensor], int]:
    """What makes dense tensors of uninitialised memory: the builtin (spec) -> tensor, and what machine code calls.

    The text `fresh` defines `@fresh(Storage, Tensor, zero, spec, bytes, nbytes, device)`, as `targets/cpu/fresh.py`.
    """
    at = layout.slots(Spec)
    text = f"""
{fresh}
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
    loaded = jit.load(text, ["empty", "fresh"], optimize="clean")
    doc, context = "empty(spec): a dense tensor of uninitialised memory.", (Storage, 0, Tensor, Spec)
    return builtins.make(loaded["empty"], "empty", doc, context), loaded["fresh"]


view = constructor(
    Tensor,
    ["spec", "storage", "ptr", "base", "seen"],
    {slot: value for slot, value in TENSOR_DEFAULTS.items() if slot not in ("base", "seen")},
    name="view",
)
