"""Makes CPython builtins of native functions: the METH_FASTCALL wrapper as LLVM text, and the callable around it."""

import ctypes
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from . import jit

__all__ = [
    "DECLARATIONS", "KINDS", "NONE", "PACKED", "Inner", "Packed", "build", "build_several", "make", "string", "word",
    "wrapper",
]  # fmt: skip


class Kind(NamedTuple):
    """How one argument comes from Python: its LLVM type, what reads it, what that returns."""

    type: str
    reader: str
    read: str
    error: str  # the value that may mean an error
    convert: str = ""


class Packed(NamedTuple):
    """The native function behind a builtin, called with one pointer: to its arguments, a word each.

    On other machines than the host, what they start in its place.
    """

    address: int
    kinds: tuple[str, ...]  # of the arguments
    work: tuple[int, ...]  # which of them multiply to how much there is to do
    cost: float  # nanoseconds a unit of it
    keep: object = None  # what must live as long as the address is called


def word(number: int | float) -> int:
    """A number as packed arguments are read: whole ones as such, all others as doubles."""
    return struct.unpack("<q", struct.pack("<d", number))[0] if isinstance(number, float) else number


PACKED: dict[Callable[..., Any], Packed] = {}  # by builtin, for those that return None
BUILT: dict[Callable[..., Any], str] = {}  # of each builtin the symbol that it was loaded as

# A complex number is passed as two f64.
KINDS = {
    "ptr": Kind("ptr", "facula_as_i64", "i64", "-1", "inttoptr i64 {} to ptr"),  # a Python int, the address
    "i64": Kind("i64", "facula_as_i64", "i64", "-1"),
    "i32": Kind("i32", "facula_as_i32", "i64", "-1", "trunc i64 {} to i32"),
    "f64": Kind("double", "facula_as_f64", "double", "-1.0"),
    "f32": Kind("float", "facula_as_f64", "double", "-1.0", "fptrunc double {} to float"),
    "b1": Kind("i1", "facula_as_b1", "i64", "-1", "trunc i64 {} to i1"),
}

# None is immortal from 3.12 on; before, a reference to it is counted like any other.
_COUNT_NONE = sys.version_info < (3, 12)
NONE = (
    """
  %none.count = load i64, ptr @_Py_NoneStruct
  %none.more = add i64 %none.count, 1
  store i64 %none.more, ptr @_Py_NoneStruct"""
    if _COUNT_NONE
    else ""
) + "\n  ret ptr @_Py_NoneStruct"

RESULTS = {
    "none": ("void", None),
    "i64": ("i64", "PyLong_FromLongLong"),
    "f64": ("double", "PyFloat_FromDouble"),
}

DECLARATIONS = """
@_Py_NoneStruct = external global i64
declare i64 @facula_as_i64(ptr)
declare i64 @facula_as_i32(ptr)
declare double @facula_as_f64(ptr)
declare i64 @facula_as_b1(ptr)
declare ptr @facula_bad_count(ptr, i64, i64)
declare ptr @PyErr_Occurred()
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare ptr @PyLong_FromLongLong(i64)
declare ptr @PyFloat_FromDouble(double)
"""

# Kernels that are expected to take longer than this let go of the GIL: letting go costs about 30 ns, and up
# to a switch interval where other threads want it.
RELEASE_NS = 50_000.0


def string(name: str, text: str) -> str:
    """A global constant with the zero-terminated `text`."""
    data = text.encode() + b"\0"
    return f'@{name} = private constant [{len(data)} x i8] c"' + "".join(f"\\{byte:02X}" for byte in data) + '"\n'


def wrapper(
    name: str,
    inner: str,
    arguments: Sequence[str],
    result: str = "none",
    *,
    title: str | None = None,
    work: Sequence[int] = (),
    cost: float = 1.0,
    packed: bool = False,
) -> str:
    """LLVM text of a METH_FASTCALL function `name` around the function `inner` of the same text.

    With `packed`, `inner` takes its arguments as `_packed` reads them.

    `arguments` are keys of `KINDS`, `result` one of `RESULTS`. With `work` (positions of i64 arguments), the GIL is
    released while `inner` runs if the product of these arguments times `cost` (nanoseconds) is large.
    `DECLARATIONS` must stand once in the text; `title` is the function's name in error messages.
    """
    returns, maker = RESULTS[result]
    lines = [string(f"{name}.title", title or name)]
    lines.append(f"define ptr @{name}(ptr %self, ptr %args, i64 %count) nounwind {{")
    lines.append(f"  %fits = icmp eq i64 %count, {len(arguments)}")
    lines.append("  br i1 %fits, label %read, label %misfit")
    lines.append("misfit:")
    lines.append(f"  %raised = call ptr @facula_bad_count(ptr @{name}.title, i64 {len(arguments)}, i64 %count)")
    lines.append("  ret ptr %raised")
    lines.append("read:")
    suspect, values = "false", []
    for i, argument in enumerate(arguments):
        kind = KINDS[argument]
        lines.append(f"  %at{i} = getelementptr ptr, ptr %args, i64 {i}")
        lines.append(f"  %object{i} = load ptr, ptr %at{i}")
        lines.append(f"  %read{i} = call {kind.read} @{kind.reader}(ptr %object{i})")
        compare = "fcmp oeq" if kind.read == "double" else "icmp eq"
        lines.append(f"  %odd{i} = {compare} {kind.read} %read{i}, {kind.error}")
        lines.append(f"  %suspect{i} = or i1 {suspect}, %odd{i}")
        suspect = f"%suspect{i}"
        if kind.convert:
            lines.append(f"  %value{i} = {kind.convert.format(f'%read{i}')}")
        values.append(f"{kind.type} %{'value' if kind.convert else 'read'}{i}")
    lines.append(f"  br i1 {suspect}, label %check, label %run")
    lines.append("check:")
    lines.append("  %error = call ptr @PyErr_Occurred()")
    lines.append("  %good = icmp eq ptr %error, null")
    lines.append("  br i1 %good, label %run, label %failed")
    lines.append("failed:\n  ret ptr null")
    lines.append("run:")
    call = f"call {returns} @{inner}({', '.join(values)})"
    if packed:
        lines.insert(2, f"  %words = alloca i64, i64 {len(arguments)}")
        for i, argument in enumerate(arguments):
            lines.append(f"  %word{i} = getelementptr i64, ptr %words, i64 {i}")
            lines.append(f"  store {KINDS[argument].read} %read{i}, ptr %word{i}")
        call = f"call void @{inner}(ptr %words)"
    if work:
        product = f"{cost:.6e}"
        for i in work:
            lines.append(f"  %size{i} = sitofp i64 %read{i} to double")
            lines.append(f"  %product{i} = fmul double {product}, %size{i}")
            product = f"%product{i}"
        lines.append(f"  %long = fcmp ogt double {product}, {RELEASE_NS:.6e}")
        lines.append("  br i1 %long, label %release, label %keep")
        lines.append("release:")
        lines.append("  %saved = call ptr @PyEval_SaveThread()")
        lines.append("  br label %keep")
        lines.append("keep:")
        lines.append("  %state = phi ptr [null, %run], [%saved, %release]")
    lines.append("  " + ("" if returns == "void" else "%out = ") + call)
    if work:
        lines.append("  br i1 %long, label %restore, label %done")
        lines.append("restore:")
        lines.append("  call void @PyEval_RestoreThread(ptr %state)")
        lines.append("  br label %done")
        lines.append("done:")
    if maker:
        lines.append(f"  %made = call ptr @{maker}({returns} %out)")
        lines.append("  ret ptr %made")
    else:
        lines.append(NONE)
    lines.append("}\n")
    return "\n".join(lines)


class _MethodDef(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("call", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p)]


_FASTCALL = 0x80
_new = ctypes.pythonapi.PyCFunction_NewEx
_new.restype = ctypes.py_object
_new.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]


@cache
def _definition(address: int, name: str, doc: str | None) -> _MethodDef:
    """What CPython keeps pointers into."""
    return _MethodDef(name.encode(), address, _FASTCALL, None if doc is None else doc.encode())


def make(address: int, name: str, doc: str | None = None, context: object = None) -> Callable[..., Any]:
    """The builtin whose METH_FASTCALL function is at `address`; `context` is its first C argument, kept alive."""
    definition = _definition(address, name, doc)
    return _new(ctypes.addressof(definition), None if context is None else id(context), None)


def build(
    text: str,
    inner: str,
    arguments: Sequence[str],
    result: str = "none",
    *,
    name: str | None = None,
    doc: str | None = None,
    work: Sequence[int] = (),
    cost: float = 1.0,
    optimize: str = "loops",
) -> Callable[..., Any]:
    """The builtin around the function `inner` that `text` defines; see `wrapper` for the arguments.

    >>> text = "define i64 @twice(i64 %x) { %y = shl i64 %x, 1 ret i64 %y }"
    >>> build(text, "twice", ["i64"], "i64")(21)
    42
    """
    one = Inner(tuple(arguments), result, name or inner, doc, tuple(work), cost)
    return build_several(text, {inner: one}, optimize)[inner]


class Inner(NamedTuple):
    """A native function to make a builtin of; fields as the arguments of `build`."""

    arguments: tuple[str, ...]
    result: str
    name: str
    doc: str | None = None
    work: tuple[int, ...] = ()
    cost: float = 1.0


def build_several(text: str, inners: Mapping[str, Inner], optimize: str) -> dict[str, Callable[..., Any]]:
    """`build` for several functions of one text, by their names in it."""
    text, symbols = f"{text}\n{DECLARATIONS}\n", []
    for inner, f in inners.items():
        entry, packed, plain = f"{inner}.builtin", f"{inner}.packed", f.result != "none"
        if not plain:  # the builtin calls the packed function too, so that the code of `inner` is there once
            text += _packed(packed, inner, f.arguments)
        called = inner if plain else packed
        text += wrapper(entry, called, f.arguments, f.result, title=f.name, work=f.work, cost=f.cost, packed=not plain)
        symbols += [entry] if plain else [entry, packed]
    loaded = jit.load(text, symbols, optimize=optimize)
    made = {}
    for inner, f in inners.items():
        made[inner] = make(loaded[f"{inner}.builtin"], f.name, f.doc)
        BUILT[made[inner]] = f"{inner}.builtin"
        if f.result == "none":
            PACKED[made[inner]] = Packed(loaded[f"{inner}.packed"], f.arguments, f.work, f.cost)
    return made


def _packed(name: str, inner: str, arguments: Sequence[str]) -> str:
    """LLVM text of a function that calls `inner` with arguments from memory: 64-bit words, floats as doubles."""
    lines, values = [f"define void @{name}(ptr %words) noinline nounwind {{"], []
    for i, argument in enumerate(arguments):
        kind = KINDS[argument]
        lines.append(f"  %at{i} = getelementptr i64, ptr %words, i64 {i}")
        lines.append(f"  %read{i} = load {kind.read}, ptr %at{i}")
        if kind.convert:
            lines.append(f"  %value{i} = {kind.convert.format(f'%read{i}')}")
        values.append(f"{kind.type} %{'value' if kind.convert else 'read'}{i}")
    return "\n".join([*lines, f"  call void @{inner}({', '.join(values)})", "  ret void", "}\n"])


# The layout of Python's int on 64-bit machines: a word that says how many 30-bit digits follow, then the digits.
_SIZE, _DIGITS = 16, 24
_ONE_DIGIT, _TWO_DIGITS = (1, 2) if sys.version_info < (3, 12) else (1 << 3, 2 << 3)
_FLOAT = 16


def _layouts_hold() -> tuple[bool, bool]:
    """Whether ints and floats lie in memory as assumed, tried on some numbers; else the C API reads them all."""

    def word(value: object, offset: int) -> int:
        return ctypes.c_int64.from_address(id(value) + offset).value

    ints = sys.int_info.bits_per_digit == 30 and sys.int_info.sizeof_digit == 4
    for number in (1, 7, 2**30 - 1):
        ints = ints and word(number, _SIZE) == _ONE_DIGIT and word(number, _DIGITS) & 0xFFFFFFFF == number
        ints = ints and word(-number, _SIZE) not in (_ONE_DIGIT, _TWO_DIGITS)
    for number in (2**30, 2**59 + 12345, 2**60 - 1):
        digits = word(number, _DIGITS)
        ints = ints and word(number, _SIZE) == _TWO_DIGITS and digits & 0x3FFFFFFF | digits >> 32 << 30 == number
        ints = ints and word(-number, _SIZE) not in (_ONE_DIGIT, _TWO_DIGITS)
    ints = (
        ints and word(2**60, _SIZE) not in (_ONE_DIGIT, _TWO_DIGITS) and word(0, _SIZE) not in (_ONE_DIGIT, _TWO_DIGITS)
    )
    floats = all(ctypes.c_double.from_address(id(x) + _FLOAT).value == x for x in (0.5, -3.0e300))
    return ints, floats


_READ_INT = f"""
  %size.at = getelementptr i8, ptr %object, i64 {_SIZE}
  %digits.at = getelementptr i8, ptr %object, i64 {_DIGITS}
  %type.at = getelementptr i8, ptr %object, i64 8
  %type = load ptr, ptr %type.at
  %plain = icmp eq ptr %type, @PyLong_Type
  br i1 %plain, label %exact, label %slow
exact:
  %size = load i64, ptr %size.at
  switch i64 %size, label %slow [ i64 {_ONE_DIGIT}, label %one  i64 {_TWO_DIGITS}, label %two ]
one:
  %digit = load i32, ptr %digits.at, align 8
  %small = zext i32 %digit to i64
  ret i64 %small
two:
  %digits = load i64, ptr %digits.at, align 8
  %low = and i64 %digits, {2**30 - 1}
  %shifted = lshr i64 %digits, 2
  %high = and i64 %shifted, {-(2**30)}
  %large = or i64 %low, %high
  ret i64 %large
slow:"""

_READ_FLOAT = f"""
  %type.at = getelementptr i8, ptr %object, i64 8
  %type = load ptr, ptr %type.at
  %plain = icmp eq ptr %type, @PyFloat_Type
  br i1 %plain, label %exact, label %slow
exact:
  %value.at = getelementptr i8, ptr %object, i64 {_FLOAT}
  %value = load double, ptr %value.at
  ret double %value
slow:"""


def _helpers() -> str:
    """What all wrappers call to read their arguments; -1 may mean an error, and no reader does anything after one."""
    ints, floats = _layouts_hold()
    pending = """
  %pending = call ptr @PyErr_Occurred()
  %clear = icmp eq ptr %pending, null
  br i1 %clear, label %ask, label %leave
"""
    return f"""
@PyLong_Type = external global i8
@PyFloat_Type = external global i8
@_Py_TrueStruct = external global i8
@_Py_FalseStruct = external global i8
@PyExc_TypeError = external global ptr
@PyExc_OverflowError = external global ptr
declare i64 @PyLong_AsLongLong(ptr)
declare double @PyFloat_AsDouble(ptr)
declare i32 @PyObject_IsTrue(ptr)
declare ptr @PyErr_Occurred()
declare void @PyErr_SetString(ptr, ptr)
declare ptr @PyErr_Format(ptr, ptr, ...)
{string("count.text", "%s() takes %zd positional arguments but %zd were given")}
{string("range.text", "value cannot be converted to a 32-bit integer without overflow")}
define i64 @facula_as_i64(ptr %object) nounwind {{
{_READ_INT if ints else ""}{pending}
ask:
  %asked = call i64 @PyLong_AsLongLong(ptr %object)
  ret i64 %asked
leave:
  ret i64 -1
}}
define i64 @facula_as_i32(ptr %object) nounwind {{
  %wide = call i64 @facula_as_i64(ptr %object)
  %narrow = trunc i64 %wide to i32
  %again = sext i32 %narrow to i64
  %fits = icmp eq i64 %again, %wide
  br i1 %fits, label %good, label %bad
good:
  ret i64 %wide
bad:
  %kind = load ptr, ptr @PyExc_OverflowError
  call void @PyErr_SetString(ptr %kind, ptr @range.text)
  ret i64 -1
}}
define double @facula_as_f64(ptr %object) nounwind {{
{_READ_FLOAT if floats else ""}{pending}
ask:
  %asked = call double @PyFloat_AsDouble(ptr %object)
  ret double %asked
leave:
  ret double -1.0
}}
define i64 @facula_as_b1(ptr %object) nounwind {{
  %true = icmp eq ptr %object, @_Py_TrueStruct
  %false = icmp eq ptr %object, @_Py_FalseStruct
  %known = or i1 %true, %false
  br i1 %known, label %bool, label %slow
bool:
  %bit = zext i1 %true to i64
  ret i64 %bit
slow:{pending}
ask:
  %asked = call i32 @PyObject_IsTrue(ptr %object)
  %wide = sext i32 %asked to i64
  ret i64 %wide
leave:
  ret i64 -1
}}
define ptr @facula_bad_count(ptr %name, i64 %expected, i64 %got) nounwind cold {{
  %kind = load ptr, ptr @PyExc_TypeError
  %none = call ptr (ptr, ptr, ...) @PyErr_Format(ptr %kind, ptr @count.text, ptr %name, i64 %expected, i64 %got)
  ret ptr null
}}
"""


_HELPERS = ("facula_as_i64", "facula_as_i32", "facula_as_f64", "facula_as_b1", "facula_bad_count")


def _start() -> None:
    for name, address in jit.load(_helpers(), _HELPERS, optimize="clean").items():
        jit.define(name, address)


jit.provide(_HELPERS, _start)
