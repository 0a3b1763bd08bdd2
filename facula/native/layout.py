"""How CPython's objects lie in memory, as far as generated code touches them; each assumption is tried before use."""

import ctypes
import sys

from facula.errors import fail

__all__ = ["INCREF", "LIST_ITEMS", "TUPLE_ITEMS", "TYPE", "increment", "slots"]

TYPE = 8  # offset of an object's type; its reference count is at 0
TUPLE_ITEMS = 24
LIST_ITEMS = 24  # of a pointer to them
_MEMBER, _OFFSET = 40, 16  # of a member descriptor: its PyMemberDef; of that: the slot's offset in instances

# Counting a reference, as Py_INCREF of each version does: plainly up to 3.11; later, immortal objects stay.
_BODIES = {
    (3, 11): "%old = load i64, ptr %object\n  %new = add i64 %old, 1\n  store i64 %new, ptr %object",
    (3, 12): "%old = load i32, ptr %object\n  %more = add i32 %old, 1\n  %immortal = icmp eq i32 %more, 0\n"
    "  %new = select i1 %immortal, i32 %old, i32 %more\n  store i32 %new, ptr %object",
}
_BODIES[3, 13] = _BODIES[3, 12]
_known = sys.byteorder == "little" and not hasattr(sys, "gettotalrefcount")
_body = _BODIES.get(sys.version_info[:2], "") if _known else ""
INCREF = ("" if _body else "declare void @Py_IncRef(ptr)\n") + (
    "define internal void @incref(ptr %object) nounwind alwaysinline {\n  "
    + (_body or "call void @Py_IncRef(ptr %object)")
    + "\n  ret void\n}\n"
)


def increment(value: str) -> str:
    """The line that counts one more reference to `value`; the text must have INCREF once."""
    return f"  call void @incref(ptr {value})\n"


def _word(address: int) -> int:
    return ctypes.c_int64.from_address(address).value


def slots(cls: type) -> dict[str, int]:
    """The offset in instances of each name in `cls.__slots__` (and of its bases'), tried on an instance."""
    found = {}
    probe = object.__new__(cls)
    for base in cls.__mro__:
        names = base.__dict__.get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            if name in ("__dict__", "__weakref__"):
                continue
            attribute = (
                f"_{base.__name__.lstrip('_')}{name}" if name.startswith("__") and not name.endswith("__") else name
            )
            descriptor = base.__dict__[attribute]
            offset = _word(_word(id(descriptor) + _MEMBER) + _OFFSET)
            value = object()
            good = 16 <= offset <= cls.__basicsize__ - 8 and _word(id(probe) + offset) == 0
            if good:
                descriptor.__set__(probe, value)
                good = _word(id(probe) + offset) == id(value)
                descriptor.__delete__(probe)
            if not good:
                fail(
                    RuntimeError,
                    f"the layout of {cls.__name__}.{attribute} in memory is not as expected",
                    expected="a CPython of version 3.11 to 3.13",
                    got=sys.version,
                )
            found.setdefault(attribute, offset)
    return found


def _check() -> None:
    mark = object()
    several, listed = (mark, None), [mark, None]
    first = _word(_word(id(listed) + LIST_ITEMS))
    if _word(id(mark) + TYPE) != id(object) or not _word(id(several) + TUPLE_ITEMS) == first == id(mark):
        fail(RuntimeError, "objects do not lie in memory as expected", expected="CPython, 64 bits", got=sys.version)


_check()
