"""The element types and PyTorch's rules for combining them; says nothing of tensors."""

import numpy as np

from facula.errors import fail

__all__ = ["ALL", "BY_NAME", "dtype", "of_numpy", "promote_types"]


class dtype:
    """An element type, as `torch.dtype`: one instance each, compared by identity."""

    __slots__ = (
        "bits", "code", "is_complex", "is_floating_point", "is_signed", "itemsize", "kind", "name", "numpy", "rank",
        "title",
    )  # fmt: skip

    def __init__(self, name: str, code: str, kind: str, itemsize: int, numpy: str | None, rank: int, title: str):
        self.name = name
        self.title = title  # in messages of errors: Float for float32
        self.code = code  # the short name in IR text: b1 u8 i8 ... f32 c64
        self.kind = kind  # b(ool) u(nsigned) i(nteger) f(loat) c(omplex)
        self.itemsize = itemsize
        self.numpy = None if numpy is None else np.dtype(numpy)  # None: NumPy has no such type
        self.bits = self.numpy or np.dtype(f"u{itemsize}")  # NumPy's view of what lies in memory
        self.rank = rank  # order of growth within a kind
        self.is_floating_point = kind == "f"
        self.is_complex = kind == "c"
        self.is_signed = kind in "ifc" and not name.endswith("fnu")

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self):
        return (_by_name, (self.name,))

    def to_real(self) -> "dtype":
        """The real type of a complex one's parts; other types are their own."""
        return {"complex32": float16, "complex64": float32, "complex128": float64}.get(self.name, self)

    def to_complex(self) -> "dtype":
        """The complex type whose parts have this type."""
        return {
            "float16": complex32, "complex32": complex32, "float64": complex128, "complex128": complex128,
        }.get(self.name, complex64)  # fmt: skip


def _by_name(name: str) -> dtype:
    return BY_NAME[name]


bool_ = dtype("bool", "b1", "b", 1, "?", 0, "Bool")
uint8 = dtype("uint8", "u8", "u", 1, "u1", 1, "Byte")
int8 = dtype("int8", "i8", "i", 1, "i1", 1, "Char")
int16 = dtype("int16", "i16", "i", 2, "i2", 2, "Short")
int32 = dtype("int32", "i32", "i", 4, "i4", 3, "Int")
int64 = dtype("int64", "i64", "i", 8, "i8", 4, "Long")
uint16 = dtype("uint16", "u16", "u", 2, "u2", 2, "UInt16")
uint32 = dtype("uint32", "u32", "u", 4, "u4", 3, "UInt32")
uint64 = dtype("uint64", "u64", "u", 8, "u8", 4, "UInt64")
float8_e4m3fn = dtype("float8_e4m3fn", "f8e4m3fn", "f", 1, None, 5, "Float8_e4m3fn")
float8_e4m3fnuz = dtype("float8_e4m3fnuz", "f8e4m3fnuz", "f", 1, None, 5, "Float8_e4m3fnuz")
float8_e5m2 = dtype("float8_e5m2", "f8e5m2", "f", 1, None, 5, "Float8_e5m2")
float8_e5m2fnuz = dtype("float8_e5m2fnuz", "f8e5m2fnuz", "f", 1, None, 5, "Float8_e5m2fnuz")
float8_e8m0fnu = dtype("float8_e8m0fnu", "f8e8m0fnu", "f", 1, None, 5, "Float8_e8m0fnu")
float16 = dtype("float16", "f16", "f", 2, "f2", 6, "Half")
bfloat16 = dtype("bfloat16", "bf16", "f", 2, None, 6, "BFloat16")
float32 = dtype("float32", "f32", "f", 4, "f4", 7, "Float")
float64 = dtype("float64", "f64", "f", 8, "f8", 8, "Double")
complex32 = dtype("complex32", "c32", "c", 4, None, 6, "ComplexHalf")
complex64 = dtype("complex64", "c64", "c", 8, "c8", 7, "ComplexFloat")
complex128 = dtype("complex128", "c128", "c", 16, "c16", 8, "ComplexDouble")

WIDE_UNSIGNED = (uint16, uint32, uint64)  # without promotion to other integers
FLOAT8 = (float8_e4m3fn, float8_e4m3fnuz, float8_e5m2, float8_e5m2fnuz, float8_e8m0fnu)  # without any promotion
STORED_ONLY = (float16, bfloat16, *FLOAT8, complex32)  # arithmetic is done in a wider type
ALL = (
    bool_, uint8, int8, int16, int32, int64, *WIDE_UNSIGNED, *FLOAT8, float16, bfloat16, float32, float64, complex32,
    complex64, complex128,
)  # fmt: skip
BY_NAME = {t.name: t for t in ALL}
BY_CODE = {t.code: t for t in ALL}
ALIASES = {
    "double": float64, "float": float32, "half": float16, "long": int64, "int": int32, "short": int16,
    "chalf": complex32, "cfloat": complex64, "cdouble": complex128,
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


def _promote(a: dtype, b: dtype) -> dtype | None:
    """The smallest dtype that holds both kinds of numbers; None where PyTorch has no such rule."""
    if a is b:
        return a
    low, high = sorted((a, b), key=lambda t: (_KINDS.index(t.kind), t.rank))
    if low in FLOAT8 or high in FLOAT8:
        return None
    if low in WIDE_UNSIGNED or high in WIDE_UNSIGNED:
        return high if high.kind == "f" else None
    if high.kind == "c":
        other = low.to_complex() if low.kind in "fc" else high
        return high if high.rank >= other.rank else other
    if high.kind == "f":
        return float32 if {a, b} == {float16, bfloat16} else high
    if {a, b} == {uint8, int8}:
        return int16  # the smallest type that holds both
    return high


_KINDS = "buifc"
_PROMOTED = {(a, b): found for a in ALL for b in ALL if (found := _promote(a, b)) is not None}


def promote_types(type1: dtype, type2: dtype) -> dtype:
    """The smallest dtype to which both can be promoted, by `torch.promote_types`' table."""
    found = _PROMOTED.get((type1, type2))
    if found is None:
        kinds = "Float8 Types" if type1 in FLOAT8 or type2 in FLOAT8 else "uint16, uint32, uint64 types"
        fail(
            RuntimeError,
            f"Promotion for {kinds} is not supported, attempted to promote {type1.title} and {type2.title}",
            mend="convert one of them first: x.to(dtype)",
        )
    return found
