"""NVIDIA's cuBLASLt through ctypes: the library, its numbers, what it keeps; `blas` makes products of them.

Names and numbers are those of cublasLt.h, of which CUDA 12 and 13 agree in all that is here. Addresses are passed as
integers, so that tests can put a Python object in the library's place.
"""

import ctypes
import warnings
from ctypes import c_float, c_int, c_int8, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from functools import cache as remembered
from typing import Any

from facula.core import dtype as dt
from facula.errors import fail

from .. import driver
from .loading import load

__all__ = [
    "ATTRIBUTES",
    "Descriptor",
    "TYPES",
    "Heuristic",
    "address",
    "good",
    "handle",
    "library",
    "reason",
    "use",
    "version",
]

INVALID_VALUE, NOT_SUPPORTED = 7, 15  # of cublasStatus_t

# cudaDataType_t
TYPES = {
    dt.float32: 0, dt.float64: 1, dt.float16: 2, dt.int8: 3, dt.complex64: 4, dt.complex128: 5, dt.int32: 10,
    dt.bfloat16: 14, dt.float8_e4m3fn: 28, dt.float8_e5m2: 29,
}  # fmt: skip

# cublasComputeType_t
COMPUTE_16F, COMPUTE_32F, COMPUTE_64F, COMPUTE_32I, COMPUTE_FAST_TF32 = 64, 68, 70, 72, 77

# cublasOperation_t
AS_IT_IS, TRANSPOSED = 0, 1

# cublasLtEpilogue_t
EPILOGUE_DEFAULT, EPILOGUE_RELU, EPILOGUE_BIAS, EPILOGUE_GELU = 1, 2, 4, 32
EPILOGUE_SUM_A, EPILOGUE_SUM_B = 256, 512  # BGRADA, BGRADB: sums of an operand along k, not scaled

# cublasLtReductionScheme_t: how parts of long sums are put together. INPLACE (1) is left out everywhere: its order
# is that in which blocks happen to end.
REDUCE_NOT, REDUCE_WIDE, REDUCE_ANY = 0, 2, 2 | 4

# cublasLtMatmulMatrixScale_t
SCALE_ONE, SCALE_ROWS = 0, 3

# What each kind of descriptor keeps: number and type.
ATTRIBUTES: dict[str, dict[str, tuple[int, Any]]] = {
    "MatmulDesc": {
        "COMPUTE_TYPE": (0, c_int32), "SCALE_TYPE": (1, c_int32), "TRANSA": (3, c_int32), "TRANSB": (4, c_int32),
        "EPILOGUE": (7, c_uint32), "BIAS_POINTER": (8, c_void_p), "BIAS_BATCH_STRIDE": (10, c_int64),
        "A_SCALE_POINTER": (17, c_void_p), "B_SCALE_POINTER": (18, c_void_p), "D_SCALE_POINTER": (20, c_void_p),
        "FAST_ACCUM": (25, c_int8), "BIAS_DATA_TYPE": (26, c_int32), "A_SCALE_MODE": (31, c_int32),
        "B_SCALE_MODE": (32, c_int32),
    },
    "MatrixLayout": {
        "TYPE": (0, c_int32), "ORDER": (1, c_int32), "ROWS": (2, c_uint64), "COLS": (3, c_uint64), "LD": (4, c_int64),
        "BATCH_COUNT": (5, c_int32), "STRIDED_BATCH_OFFSET": (6, c_int64),
    },
    "MatmulPreference": {
        "MAX_WORKSPACE_BYTES": (1, c_uint64), "REDUCTION_SCHEME_MASK": (3, c_uint32),
        "MIN_ALIGNMENT_A_BYTES": (5, c_uint32), "MIN_ALIGNMENT_B_BYTES": (6, c_uint32),
        "MIN_ALIGNMENT_C_BYTES": (7, c_uint32), "MIN_ALIGNMENT_D_BYTES": (8, c_uint32),
    },
}  # fmt: skip

# What functions take; each returns a cublasStatus_t.
_SIGNATURES: dict[str, tuple] = {
    "cublasLtCreate": (c_void_p,),
    "cublasLtMatmulDescCreate": (c_void_p, c_int, c_int),
    "cublasLtMatrixLayoutCreate": (c_void_p, c_int, c_uint64, c_uint64, c_int64),
    "cublasLtMatmulPreferenceCreate": (c_void_p,),
    "cublasLtMatmulAlgoGetHeuristic": (*[c_void_p] * 7, c_int, c_void_p, c_void_p),
    "cublasLtMatmul": (*[c_void_p] * 14, c_size_t, c_void_p),
} | {
    f"cublasLt{kind}{verb}": takes
    for kind in ATTRIBUTES
    for verb, takes in (("SetAttribute", (c_void_p, c_int, c_void_p, c_size_t)), ("Destroy", (c_void_p,)))
}


class Heuristic(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t: an algorithm, and what it needs."""

    _fields_ = [
        ("algo", c_uint64 * 8), ("workspace", c_size_t), ("state", c_int), ("waves", c_float), ("reserved", c_int * 4),
    ]  # fmt: skip


_IN_PLACE: list[Any] = []  # what tests use in place of the library; None: as if it were not installed


def use(library: Any, *, really: bool = False) -> None:
    """Put something with the functions of the library in its place, None: nothing; `really`: the library again."""
    _IN_PLACE[:] = [] if really else [library]
    for known in (_loaded, handle):
        known.cache_clear()


@remembered
def _loaded() -> tuple[Any, str]:
    """The library, or None and why there is none."""
    if _IN_PLACE:
        return _IN_PLACE[0], "" if _IN_PLACE[0] is not None else "it is not to be used"
    try:
        loaded = load("cublasLt", "libcublasLt.so.13")
    except (ImportError, RuntimeError, OSError) as error:
        return None, f"{type(error).__name__}: {str(error).splitlines()[0]}"
    for name, takes in _SIGNATURES.items():
        function = getattr(loaded, name)
        function.argtypes, function.restype = takes, c_int
    loaded.cublasLtGetVersion.restype = c_size_t
    return loaded, ""


def library() -> Any:
    """The library, or None where there is none."""
    return _loaded()[0]


def reason() -> str:
    """Why there is no library, or ""."""
    return _loaded()[1]


def address(name: str) -> int:
    """Where one of its functions is in memory."""
    function = getattr(library(), name)
    found = ctypes.cast(function, c_void_p).value if isinstance(library(), ctypes.CDLL) else library().address(name)
    assert found
    return found


def version() -> str:
    """The version of the library that there is."""
    number = library().cublasLtGetVersion()
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}"


NAMES = {
    1: "CUBLAS_STATUS_NOT_INITIALIZED", 3: "CUBLAS_STATUS_ALLOC_FAILED", 7: "CUBLAS_STATUS_INVALID_VALUE",
    8: "CUBLAS_STATUS_ARCH_MISMATCH", 11: "CUBLAS_STATUS_MAPPING_ERROR", 13: "CUBLAS_STATUS_EXECUTION_FAILED",
    14: "CUBLAS_STATUS_INTERNAL_ERROR", 15: "CUBLAS_STATUS_NOT_SUPPORTED", 16: "CUBLAS_STATUS_LICENSE_ERROR",
}  # fmt: skip


def good(status: int, call: str) -> None:
    """RuntimeError in PyTorch's words where a call did not succeed."""
    if status != 0:
        name = NAMES.get(status, f"status {status}")
        fail(RuntimeError, f"CUDA error: {name} when calling `{call}`", mend="facula doctor names the library")


@remembered
def handle(gpu: driver.Device) -> int | None:
    """The library's context on a GPU; None, once with a warning, where there is no library or it does not start."""
    found, why = _loaded()
    if found is not None:
        place = c_void_p()
        with gpu.relaxed():  # it takes memory
            status = found.cublasLtCreate(ctypes.addressof(place))
        if status == 0:
            return place.value
        why = f"it says {NAMES.get(status, status)}: the driver may be older than the library"
    if not _IN_PLACE or found is not None:
        warnings.warn(
            f"facula computes matrix products without cuBLASLt, far slower ({why}): pip install 'facula[cuda]'",
            stacklevel=2,
        )
    return None


class Descriptor:
    """What the library keeps of a product, a matrix or a preference; `kind` is one of `ATTRIBUTES`."""

    __slots__ = ("address", "kind", "library")

    def __init__(self, kind: str, *how: int, **attributes: int):
        self.kind, self.library = kind, library()
        place = c_void_p()
        create = f"cublasLt{kind}Create"
        good(getattr(self.library, create)(ctypes.addressof(place), *how), create)
        self.address = place.value
        for name, value in attributes.items():
            self.set(name, value)

    def set(self, name: str, value: int) -> None:
        """Change an attribute."""
        number, kind = ATTRIBUTES[self.kind][name]
        held = kind(value)
        call = f"cublasLt{self.kind}SetAttribute"
        good(getattr(self.library, call)(self.address, number, ctypes.addressof(held), ctypes.sizeof(held)), call)

    def __del__(self):
        if getattr(self, "address", None):
            getattr(self.library, f"cublasLt{self.kind}Destroy")(self.address)
