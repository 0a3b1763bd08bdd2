"""cuDNN's graph API: the library, and its descriptors with attributes by name; one place raises its errors.

NVIDIA's header `cudnn_graph.h` documents descriptors and attributes; the numbers here are its enums. The library is
called through ctypes: what a convolution needs of it is seven functions; once a shape is known, `dnn_direct` calls
`cudnnBackendExecute` from machine code.
"""

import ctypes
from collections.abc import Sequence
from functools import cache as remembered
from typing import Any, NamedTuple

from facula.errors import fail

from .loading import load

__all__ = ["DATA_TYPES", "Descriptor", "Unsupported", "address", "api", "good", "reason", "use", "version"]

_IN_PLACE: list[Any] = []  # what tests use in place of the library
OLDEST = 90000  # 9.0.0: the graph API as this file speaks it
NOT_SUPPORTED = range(3000, 4000)  # of cudnnStatus_t
FAILED = range(4000, 5000)  # inside cuDNN, as when it compiles a kernel

DATA_TYPES = {"float32": 0, "float64": 1, "float16": 2, "int32": 4, "bfloat16": 9, "bool": 11}  # cudnnDataType_t


class Type(NamedTuple):
    """How the elements of an attribute lie in memory, and their cudnnBackendAttributeType_t."""

    number: int
    element: Any


HANDLE, DATA_TYPE, BOOLEAN = Type(0, ctypes.c_void_p), Type(1, ctypes.c_int), Type(2, ctypes.c_bool)
INT64, FLOAT, DOUBLE, POINTER = (
    Type(3, ctypes.c_int64), Type(4, ctypes.c_float), Type(5, ctypes.c_double), Type(6, ctypes.c_void_p),
)  # fmt: skip
CONVOLUTION_MODE, HEURISTIC_MODE, NOTE = Type(7, ctypes.c_int), Type(8, ctypes.c_int), Type(11, ctypes.c_int)
POINTWISE_MODE, DESCRIPTOR, REDUCTION_MODE = Type(14, ctypes.c_int), Type(15, ctypes.c_void_p), Type(18, ctypes.c_int)
CHAR = Type(24, ctypes.c_char)


class Kind(NamedTuple):
    """A cudnnBackendDescriptorType_t, and the attributes that are used of it: number and type."""

    number: int
    attributes: dict[str, tuple[int, Type]]


KINDS = {
    "pointwise": Kind(0, {"mode": (0, POINTWISE_MODE), "compute": (1, DATA_TYPE), "axis": (9, INT64)}),
    "convolution": Kind(1, {
        "compute": (100, DATA_TYPE), "mode": (101, CONVOLUTION_MODE), "dilations": (102, INT64),
        "strides": (103, INT64), "after": (104, INT64), "before": (105, INT64), "dims": (106, INT64),
    }),
    "engine": Kind(2, {"notes": (1303, NOTE)}),
    "config": Kind(3, {"engine": (300, DESCRIPTOR)}),
    "heuristics": Kind(4, {
        "mode": (200, HEURISTIC_MODE), "graph": (201, DESCRIPTOR), "results": (202, DESCRIPTOR),
        "properties": (204, DESCRIPTOR),
    }),
    "plan": Kind(5, {
        "handle": (400, HANDLE), "config": (401, DESCRIPTOR), "workspace": (402, INT64),
        "properties": (407, DESCRIPTOR),
    }),
    "convolution_forward": Kind(10, {
        "alpha": (700, DOUBLE), "beta": (701, DOUBLE), "convolution": (702, DESCRIPTOR), "w": (703, DESCRIPTOR),
        "x": (704, DESCRIPTOR), "y": (705, DESCRIPTOR),
    }),
    "convolution_weight": Kind(11, {
        "alpha": (712, DOUBLE), "beta": (713, DOUBLE), "convolution": (714, DESCRIPTOR), "w": (715, DESCRIPTOR),
        "x": (716, DESCRIPTOR), "y": (717, DESCRIPTOR),
    }),
    "convolution_input": Kind(12, {
        "alpha": (706, DOUBLE), "beta": (707, DOUBLE), "convolution": (708, DESCRIPTOR), "w": (709, DESCRIPTOR),
        "x": (710, DESCRIPTOR), "y": (711, DESCRIPTOR),
    }),
    "pointwise_operation": Kind(13, {
        "pointwise": (750, DESCRIPTOR), "x": (751, DESCRIPTOR), "b": (752, DESCRIPTOR), "y": (753, DESCRIPTOR),
        "t": (758, DESCRIPTOR),
    }),
    "graph": Kind(15, {"handle": (800, HANDLE), "operations": (801, DESCRIPTOR)}),
    "pack": Kind(16, {"ids": (1000, INT64), "pointers": (1001, POINTER), "workspace": (1003, POINTER)}),
    "tensor": Kind(17, {
        "alignment": (900, INT64), "type": (901, DATA_TYPE), "sizes": (902, INT64), "strides": (903, INT64),
        "id": (906, INT64), "virtual": (907, BOOLEAN), "by_value": (908, BOOLEAN),
    }),
    "product": Kind(18, {"compute": (1500, DATA_TYPE)}),
    "product_operation": Kind(19, {
        "a": (1520, DESCRIPTOR), "b": (1521, DESCRIPTOR), "c": (1522, DESCRIPTOR), "product": (1523, DESCRIPTOR),
    }),
    "reduction": Kind(21, {"mode": (1600, REDUCTION_MODE), "compute": (1601, DATA_TYPE)}),
    "reduction_operation": Kind(22, {
        "x": (1610, DESCRIPTOR), "y": (1611, DESCRIPTOR), "reduction": (1612, DESCRIPTOR),
    }),
    "reshape_operation": Kind(31, {"x": (2200, DESCRIPTOR), "y": (2201, DESCRIPTOR)}),
    "properties": Kind(38, {"json": (2702, CHAR)}),
}  # fmt: skip


class Unsupported(Exception):
    """cuDNN has nothing for this graph."""


# --- the library ------------------------------------------------------------------------------------------------------


def use(library: Any) -> None:
    """Put something with the functions of the library in its place; None: the library itself again."""
    _IN_PLACE[:] = [] if library is None else [library]
    for known in (_loaded, reason):
        known.cache_clear()


@remembered
def _loaded() -> Any:
    """The library; ImportError or RuntimeError where there is none."""
    if _IN_PLACE:
        return _IN_PLACE[0]
    library = load("cudnn", "libcudnn.so.9")
    pointer, status = ctypes.c_void_p, ctypes.c_int
    for name, takes in {
        "cudnnCreate": (pointer,),
        "cudnnSetStream": (pointer, pointer),
        "cudnnBackendCreateDescriptor": (status, pointer),
        "cudnnBackendDestroyDescriptor": (pointer,),
        "cudnnBackendSetAttribute": (pointer, status, status, ctypes.c_int64, pointer),
        "cudnnBackendGetAttribute": (pointer, status, status, ctypes.c_int64, pointer, pointer),
        "cudnnBackendFinalize": (pointer,),
        "cudnnBackendExecute": (pointer, pointer, pointer),  # from machine code alone
    }.items():
        function = getattr(library, name)
        function.argtypes, function.restype = takes, status
    library.cudnnGetVersion.restype = ctypes.c_size_t
    library.cudnnGetErrorString.argtypes, library.cudnnGetErrorString.restype = (status,), ctypes.c_char_p
    library.cudnnGetLastErrorString.argtypes, library.cudnnGetLastErrorString.restype = (pointer, ctypes.c_size_t), None
    return library


@remembered
def reason() -> str:
    """Why cuDNN is not called; "" where it is."""
    try:
        found = _loaded().cudnnGetVersion()
    except ModuleNotFoundError as error:
        return f"the package {error.name} is not installed: pip install 'facula[cuda]'"
    except (OSError, RuntimeError, AttributeError) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    if not OLDEST <= found < OLDEST + 10000:
        return f"cuDNN 9 is needed, and found is version {found}"
    return ""


def api() -> Any:
    """The library, of which there is one: `reason()` is ""."""
    return _loaded()


def address(name: str) -> int:
    """Where one of its functions is in memory."""
    library = api()
    found = ctypes.cast(getattr(library, name), ctypes.c_void_p).value if isinstance(library, ctypes.CDLL) else None
    return found or library.address(name)


def version() -> int | None:
    """cuDNN's version as one number, 91200 for 9.12.0; None without it."""
    return None if reason() else int(_loaded().cudnnGetVersion())


def good(status: int, call: str) -> None:
    """Raise in PyTorch's words where a call had no success: `Unsupported`, or RuntimeError."""
    if status == 0:
        return
    library = api()
    name = library.cudnnGetErrorString(status).decode()
    text = ctypes.create_string_buffer(4096)
    library.cudnnGetLastErrorString(ctypes.addressof(text), len(text))
    said = text.value.decode(errors="replace").strip()
    if status in NOT_SUPPORTED or status in FAILED:
        raise Unsupported(f"{name} from {call}: {said}")
    fail(RuntimeError, f"cuDNN error: {name}", got=f"{said or 'no more words'} from {call}")


# --- descriptors ------------------------------------------------------------------------------------------------------


class Descriptor:
    """One of cuDNN's descriptors: made of the values of its attributes, then final.

    Values are numbers, descriptors, or sequences of either. What it is made of lives as long as it does.
    """

    __slots__ = ("address", "kind", "library", "parts")

    address: int

    def __init__(self, kind: str, /, **values: Any):
        self._create(kind)
        for name, value in values.items():
            self._set(name, value)
        good(self.library.cudnnBackendFinalize(self.address), f"finalizing {kind}")

    def _create(self, kind: str) -> None:
        self.kind, self.library, self.parts = KINDS[kind], api(), []
        made = ctypes.c_void_p()
        good(self.library.cudnnBackendCreateDescriptor(self.kind.number, ctypes.addressof(made)), f"creating {kind}")
        self.address = made.value or 0

    def _set(self, name: str, value: Any) -> None:
        number, type = self.kind.attributes[name]
        if type is CHAR:
            array = ctypes.create_string_buffer(value, len(value))
        else:
            given = list(value) if isinstance(value, Sequence) else [value]
            self.parts += [part for part in given if isinstance(part, Descriptor)]
            array = (type.element * len(given))(*(g.address if isinstance(g, Descriptor) else g for g in given))
        status = self.library.cudnnBackendSetAttribute(
            self.address, number, type.number, len(array), ctypes.addressof(array)
        )
        good(status, f"setting {name}")

    def get(self, name: str, most: int = 1) -> list[Any]:
        """The elements of an attribute, at most so many."""
        number, type = self.kind.attributes[name]
        array, count = (type.element * most)(), ctypes.c_int64()
        status = self.library.cudnnBackendGetAttribute(
            self.address, number, type.number, most, ctypes.addressof(count), ctypes.addressof(array)
        )
        good(status, f"getting {name}")
        return list(array[: min(count.value, most)])

    def inner(self, name: str, kind: str, most: int = 1) -> list["Descriptor"]:
        """The descriptors that an attribute holds, at most so many."""
        number, type = self.kind.attributes[name]
        count = ctypes.c_int64()
        room = [object.__new__(Descriptor) for _ in range(most)]
        for one in room:
            one._create(kind)
        array = (ctypes.c_void_p * most)(*(r.address for r in room))
        status = self.library.cudnnBackendGetAttribute(
            self.address, number, type.number, most, ctypes.addressof(count), ctypes.addressof(array)
        )
        good(status, f"getting {name}")
        return room[: min(count.value, most)]

    def __del__(self):
        if getattr(self, "address", None):
            self.library.cudnnBackendDestroyDescriptor(self.address)
