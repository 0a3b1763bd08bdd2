"""Types of Python objects that machine code makes and frees."""

import ctypes
from collections.abc import Mapping

__all__ = ["opaque"]


class _Slot(ctypes.Structure):
    _fields_ = [("slot", ctypes.c_int), ("value", ctypes.c_void_p)]


class _Spec(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p), ("basicsize", ctypes.c_int), ("itemsize", ctypes.c_int),
        ("flags", ctypes.c_uint), ("slots", ctypes.POINTER(_Slot)),
    ]  # fmt: skip


class _Member(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p), ("type", ctypes.c_int), ("offset", ctypes.c_ssize_t), ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]  # fmt: skip


_TP_DEALLOC, _TP_MEMBERS, _NO_INSTANCES = 52, 72, 1 << 7
_OBJECT, _READ_ONLY = 16, 1  # T_OBJECT_EX: AttributeError where there is none
_kept: list[object] = []  # CPython keeps pointers into these


def opaque(name: str, size: int, dealloc: int, doc: str, members: Mapping[str, int] | None = None) -> type:
    """A type without instances of Python's making; they never count references to it.

    Parameters
    ----------
    name : str
        With its module.
    size : int
        Bytes of an instance.
    dealloc : int
        The address of the function that is given an instance without references.
    members : mapping
        Attributes to be read: the offset of an object each.
    """
    rows = [_Slot(_TP_DEALLOC, dealloc)]
    if members:
        listed = [_Member(n.encode(), _OBJECT, offset, _READ_ONLY, None) for n, offset in members.items()]
        array = (_Member * (len(listed) + 1))(*listed)
        rows.append(_Slot(_TP_MEMBERS, ctypes.addressof(array)))
        _kept.append(array)
    slots = (_Slot * (len(rows) + 1))(*rows)
    spec = _Spec(name.encode(), size, 0, _NO_INSTANCES, slots)
    make = ctypes.pythonapi.PyType_FromSpec
    make.restype, make.argtypes = ctypes.py_object, [ctypes.c_void_p]
    made = make(ctypes.addressof(spec))
    made.__doc__ = doc
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(made))
    _kept.extend((slots, spec))
    return made
