"""Memory handed to and taken from other libraries: DLPack's capsules, `__cuda_array_interface__`.

The structs are those of dlpack.h 1.1. A capsule says how to let go of the memory; who takes it out renames it.
"""

import ctypes
from typing import Any

from facula import launch
from facula.core import dtype as dt
from facula.core.device import CPU, device
from facula.core.shape import Size, contiguous_strides, reach
from facula.core.spec import spec
from facula.core.storage import Storage
from facula.core.tensor import Tensor
from facula.errors import fail

__all__ = [
    "CPU_MEMORY", "CUDA", "MANAGED", "VERSION", "capsule", "device_of", "from_capsule", "from_interface", "interface",
]  # fmt: skip

CPU_MEMORY, CUDA, PINNED, MANAGED = 1, 2, 3, 13  # of DLDeviceType
INT, UINT, FLOAT, BFLOAT, COMPLEX, BOOL = 0, 1, 2, 4, 5, 6  # of DLDataTypeCode
CODES = {"i": INT, "u": UINT, "f": FLOAT, "c": COMPLEX, "b": BOOL}  # by kind of dtype
FLOATS = {dt.bfloat16: BFLOAT, dt.float8_e4m3fn: 10, dt.float8_e4m3fnuz: 11, dt.float8_e5m2: 12, dt.float8_e5m2fnuz: 13}
OLD, NEW = b"dltensor", b"dltensor_versioned"
VERSION, COPIED = (1, 1), 2  # of flags
_int64, _int32, _uint8 = ctypes.c_int64, ctypes.c_int32, ctypes.c_uint8


class _Array(ctypes.Structure):
    """DLTensor."""

    _fields_ = (
        ("data", ctypes.c_void_p), ("device", _int32), ("number", _int32), ("ndim", _int32), ("code", _uint8),
        ("bits", _uint8), ("lanes", ctypes.c_uint16), ("shape", ctypes.POINTER(_int64)),
        ("strides", ctypes.POINTER(_int64)), ("byte_offset", ctypes.c_uint64),
    )  # fmt: skip


class _Managed(ctypes.Structure):
    """DLManagedTensor."""

    _fields_ = (("array", _Array), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p))


class _Versioned(ctypes.Structure):
    """DLManagedTensorVersioned."""

    _fields_ = (
        ("major", ctypes.c_uint32), ("minor", ctypes.c_uint32), ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p), ("flags", ctypes.c_uint64), ("array", _Array),
    )  # fmt: skip


_KINDS: dict[bytes, Any] = {OLD: _Managed, NEW: _Versioned}
_USED = {OLD: b"used_dltensor", NEW: b"used_dltensor_versioned"}  # kept here: a capsule does not copy its name
_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_given: dict[int, tuple] = {}  # address of a struct -> what others hold of ours
_api = ctypes.pythonapi
_new, _pointer, _rename = _api.PyCapsule_New, _api.PyCapsule_GetPointer, _api.PyCapsule_SetName
_new.restype, _new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
_rename.argtypes = [ctypes.py_object, ctypes.c_char_p]
_is_named = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_IsValid", _api))
# The same for a capsule that is on its way out, of which no reference may be made.
_was_named = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_IsValid", _api))
_was_at = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_GetPointer", _api))


@_Deleter
def _let_go(address: int) -> None:
    """What other libraries call when they need memory of ours no longer."""
    _given.pop(address, None)


@ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
def _unused(capsule: int) -> None:
    """A capsule goes: where nobody took the memory out, nobody will."""
    for name in (OLD, NEW):
        if _was_named(capsule, name):
            _given.pop(_was_at(capsule, name), None)


# Out ------------------------------------------------------------------------------------------------------------------


def device_of(x: Tensor) -> tuple[int, int]:
    """Where a tensor is, in DLPack's numbers."""
    where = x.spec.device
    if where is CPU:
        return (PINNED if launch.is_pinned(x) else CPU_MEMORY), 0
    if launch.hollow(where):
        fail(ValueError, f"Unknown device type {where.type} for Dlpack")
    return CUDA, where.index or 0


def capsule(x: Tensor, versioned: bool, copied: bool = False) -> Any:
    """A capsule of a tensor's memory, which lives as long as the capsule or who takes it out."""
    s = x.spec
    code = FLOATS.get(s.dtype, CODES.get(s.dtype.kind))
    if code is None:
        fail(BufferError, f"{s.dtype.name} does not pass through DLPack", mend="convert it first")
    name = NEW if versioned else OLD
    made = _KINDS[name]()
    numbers = (_int64 * max(1, 2 * s.ndim))(*s.shape, *s.strides)
    kind, number = device_of(x)
    a = made.array
    a.data, a.device, a.number = x.ptr, CPU_MEMORY if kind == PINNED else kind, number
    a.code, a.bits, a.lanes, a.ndim = code, 8 * s.dtype.itemsize, 1, s.ndim
    start = ctypes.addressof(numbers)
    a.shape = ctypes.cast(start, ctypes.POINTER(_int64))
    a.strides = ctypes.cast(start + 8 * s.ndim, ctypes.POINTER(_int64))
    made.deleter = ctypes.cast(_let_go, ctypes.c_void_p)
    if versioned:
        made.major, made.minor = VERSION
        made.flags = COPIED if copied else 0
    address = ctypes.addressof(made)
    _given[address] = made, numbers, x
    return _new(address, name, ctypes.cast(_unused, ctypes.c_void_p))


def interface(x: Tensor) -> dict[str, Any]:
    """`__cuda_array_interface__` of a tensor on a GPU."""
    s = x.spec
    if s.device.type != "cuda":
        raise AttributeError(
            f"Can't get __cuda_array_interface__ on non-CUDA tensor type: {x.type()} If CUDA data is required use "
            "tensor.cuda() to copy tensor to device memory."
        )
    if x.requires_grad:
        fail(
            RuntimeError,
            "Can't get __cuda_array_interface__ on Variable that requires grad. If gradients aren't required, use "
            "var.detach() to get Variable that doesn't require grad.",
        )
    steps = None if s.contiguous else tuple(step * s.dtype.itemsize for step in s.strides)
    name = s.dtype.numpy.str if s.dtype.numpy is not None else f"<V{s.dtype.itemsize}"
    return {
        "typestr": name, "shape": tuple(s.shape), "strides": steps, "data": (x.ptr if s.numel else 0, False),
        "version": 2,
    }  # fmt: skip


# In -------------------------------------------------------------------------------------------------------------------


class _Foreign:
    """Memory of another library, which is told when nobody needs it."""

    def __init__(self, managed: Any, address: int):
        self.managed, self.address = managed, address

    def __del__(self):
        if self.managed.deleter:
            _Deleter(self.managed.deleter)(self.address)


def _on(where: device, ptr: int, kind: dt.dtype, shape: tuple, strides: tuple, owner: Any) -> Tensor:
    """A tensor on memory that an owner keeps."""
    from .creation import record_of

    if where is not CPU:
        launch.allocator(where)  # raises where there is no such device
    nbytes = (reach(shape, strides)[1] + 1) * kind.itemsize if 0 not in shape else 0
    return record_of(spec(kind, where, Size(shape), strides), Storage(ptr, nbytes, owner, where), ptr)


def from_capsule(given: Any) -> Tensor:
    """A tensor on the memory of a capsule, which is used up."""
    named = [name for name in (NEW, OLD) if type(given).__name__ == "PyCapsule" and _is_named(given, name)]
    if not named:
        fail(
            RuntimeError,
            "from_dlpack received an invalid capsule. Note that DLTensor capsules can be consumed only once, so you "
            "might have already constructed a tensor from it once.",
            got=type(given).__name__,
        )
    address = _pointer(given, named[0])
    managed = _KINDS[named[0]].from_address(address)
    if named[0] == NEW and managed.major > VERSION[0]:
        fail(BufferError, f"facula reads DLPack {VERSION[0]}.x", got=f"version {managed.major}.{managed.minor}")
    a = managed.array
    kind = _dtype(a)
    if a.device in (CPU_MEMORY, PINNED):
        where = CPU
    elif a.device in (CUDA, MANAGED):
        where = device("cuda", a.number)
    else:
        fail(BufferError, f"Unsupported device_type: {a.device}", expected="memory of the host, or of an NVIDIA GPU")
    shape = tuple(a.shape[: a.ndim])
    strides = tuple(a.strides[: a.ndim]) if a.strides else contiguous_strides(shape)
    out = _on(where, (a.data or 0) + a.byte_offset, kind, shape, strides, _Foreign(managed, address))
    _rename(given, _USED[named[0]])
    return out


def _dtype(a: Any) -> dt.dtype:
    for kind in dt.BY_CODE.values():
        if a.lanes == 1 and FLOATS.get(kind, CODES.get(kind.kind)) == a.code and 8 * kind.itemsize == a.bits:
            return kind
    fail(RuntimeError, f"Unsupported DLPack dtype: code {a.code}, {a.bits} bits, {a.lanes} lanes")


def from_interface(x: Any) -> Tensor:
    """A tensor on the memory of an object with `__cuda_array_interface__`, in the order of its stream."""
    import numpy as np

    said = x.__cuda_array_interface__
    numpy = np.dtype(said["typestr"])
    kind, shape, (ptr, _) = dt.of_numpy(numpy), tuple(said["shape"]), said["data"]
    steps = said.get("strides")
    if steps is not None and any(step % numpy.itemsize for step in steps):
        fail(
            ValueError,
            "given array strides not a multiple of the element byte size. Make a copy of the array to reallocate the "
            "memory.",
        )
    strides = contiguous_strides(shape) if steps is None else tuple(step // numpy.itemsize for step in steps)
    where = launch.native("where_is", device("cuda"))(ptr)
    if said.get("stream") is not None:
        launch.native("take_over", where)(said["stream"])
    return _on(where, ptr, kind, shape, strides, x)
