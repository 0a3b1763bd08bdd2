"""The element types and PyTorch's rules for combining them; says nothing of tensors."""

from operator import attrgetter

import numpy as np

__all__ = ["ALL", "BY_NAME", "dtype", "of_numpy", "promote_types"]


class dtype:
    """An element type, as `torch.dtype`: one instance each, compared by identity."""

    __slots__ = ("code", "is_complex", "is_floating_point", "is_signed", "itemsize", "kind", "name", "numpy", "rank")

    def __init__(self, name: str, code: str, kind: str, itemsize: int, numpy: str | None, rank: int):
        self.name = name
        self.code = code  # the short name in IR text: b1 u8 i8 ... f32 c64
        self.kind = kind  # b(ool) u(nsigned) i(nteger) f(loat) c(omplex)
        self.itemsize = itemsize
        self.numpy = None if numpy is None else np.dtype(numpy)  # None: NumPy has no such type
        self.rank = rank  # order of growth within a kind
        self.is_floating_point = kind == "f"
        self.is_complex = kind == "c"
        self.is_signed = kind in "ifc"

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self):
        return (_by_name, (self.name,))

    def to_real(self) -> "dtype":
        """The real type of a complex one's parts; other types are their own."""
        return {"complex64": float32, "complex128": float64}.get(self.name, self)

    def to_complex(self) -> "dtype":
        """The complex type whose parts have this type."""
        return {"float64": complex128, "complex128": complex128}.get(self.name, complex64)


def _by_name(name: str) -> dtype:
    return BY_NAME[name]


bool_ = dtype("bool", "b1", "b", 1, "?", 0)
uint8 = dtype("uint8", "u8", "u", 1, "u1", 1)
int8 = dtype("int8", "i8", "i", 1, "i1", 1)
int16 = dtype("int16", "i16", "i", 2, "i2", 2)
int32 = dtype("int32", "i32", "i", 4, "i4", 3)
int64 = dtype("int64", "i64", "i", 8, "i8", 4)
float16 = dtype("float16", "f16", "f", 2, "f2", 5)
bfloat16 = dtype("bfloat16", "bf16", "f", 2, None, 5)
float32 = dtype("float32", "f32", "f", 4, "f4", 6)
float64 = dtype("float64", "f64", "f", 8, "f8", 7)
complex64 = dtype("complex64", "c64", "c", 8, "c8", 8)
complex128 = dtype("complex128", "c128", "c", 16, "c16", 9)

ALL = (
    bool_, uint8, int8, int16, int32, int64, float16, bfloat16, float32, float64, complex64, complex128,
)  # fmt: skip
BY_NAME = {t.name: t for t in ALL}
BY_CODE = {t.code: t for t in ALL}
ALIASES = {
    "double": float64, "float": float32, "half": float16, "long": int64, "int": int32, "short": int16,
    "cfloat": complex64, "cdouble": complex128,
}  # fmt: skip
_OF_NUMPY = {t.numpy: t for t in ALL if t.numpy is not None}


def of_numpy(numpy_dtype) -> dtype:
    """The dtype of a NumPy dtype; TypeError in PyTorch's words where there is none."""
    found = _OF_NUMPY.get(numpy_dtype) or _OF_NUMPY.get(np.dtype(numpy_dtype).newbyteorder("="))
    if found is None:
        raise TypeError(
            f"can't convert np.ndarray of type numpy.{np.dtype(numpy_dtype).type.__name__}. The only supported types "
            "are: float64, float32, float16, complex64, complex128, int64, int32, int16, int8, uint64, uint32, uint16, "
            "uint8, and bool."
        )
    return found


_RANK = attrgetter("rank")


def _promote(a: dtype, b: dtype) -> dtype:
    if a is b:
        return a
    low, high = sorted((a, b), key=_RANK)
    if high.kind == "c":
        return complex128 if float64 in (low, high) or complex128 in (low, high) else complex64
    if high.kind == "f":
        return float32 if (low.kind == "f" and low.rank == high.rank) else high
    if {a, b} == {uint8, int8}:
        return int16  # the smallest type that holds both
    return high


_PROMOTED = {(a, b): _promote(a, b) for a in ALL for b in ALL}


def promote_types(type1: dtype, type2: dtype) -> dtype:
    """The smallest dtype to which both can be promoted, by `torch.promote_types`' table."""
    return _PROMOTED[type1, type2]
