"""The C++ types and literals of dtypes, as generated texts have them."""

import math

import numpy as np

from facula.core.dtype import FLOAT8, dtype

__all__ = ["literal", "memory", "passed", "register", "unsigned"]

_REGISTER = {
    "b1": "bool", "u8": "unsigned char", "i8": "signed char", "i16": "short", "i32": "int", "i64": "long long",
    "u16": "unsigned short", "u32": "unsigned", "u64": "unsigned long long", "f16": "unsigned short",
    "bf16": "unsigned short", "f32": "float", "f64": "double",
}  # fmt: skip


def register(t: dtype) -> str:
    """The type of a value; 16-bit and 8-bit floats are kept as their bits."""
    return "unsigned char" if t in FLOAT8 else _REGISTER[t.code]


def memory(t: dtype) -> str:
    """The type of an element in memory; complex ones are pairs."""
    if t.kind == "c":
        return f"Pair<{register(t.to_real())}>"
    return "unsigned char" if t.kind == "b" else register(t)


def passed(t: dtype) -> str:
    """The type in which a kernel takes a parameter."""
    return "long long" if t.kind in "bui" else "float" if t.code == "f32" else "double"


def unsigned(t: dtype) -> str:
    """The type in which integers wrap around: C++ leaves the overflow of signed ones undefined."""
    return "unsigned long long" if t.itemsize == 8 else "unsigned"


def literal(value: bool | int | float, t: dtype) -> str:
    """A number as C++ writes it; integers wrap around, floats are rounded to the type."""
    if t.kind == "b":
        return "true" if value else "false"
    if t.kind in "ui":
        bits = t.itemsize * 8
        number = int(value) % (1 << bits)
        if t.kind == "i" and number >> bits - 1:
            number -= 1 << bits
        suffix = {"i64": "ll", "u64": "ull", "u32": "u"}.get(t.code, "")
        lowest = t.kind == "i" and number == -(1 << bits - 1)
        text = f"({number + 1}{suffix} - 1)" if lowest else f"{number}{suffix}"
        return f"({register(t)}){text}" if t.itemsize < 4 else f"({text})" if number < 0 and not lowest else text
    if t.itemsize < 4:
        return f"({register(t)}){_bits(float(value), t)}"
    with np.errstate(over="ignore"):
        number = np.float32(value) if t.code == "f32" else np.float64(value)
    if math.isnan(number):
        return "__int_as_float(0x7fc00000)" if t.code == "f32" else "__longlong_as_double(0x7ff8000000000000ll)"
    if math.isinf(number):
        text = "__int_as_float(0x7f800000)" if t.code == "f32" else "__longlong_as_double(0x7ff0000000000000ll)"
        return text if number > 0 else f"-{text}"
    text = str(number) + ("f" if t.code == "f32" else "")
    return f"({text})" if text[0] == "-" else text


def _bits(value: float, t: dtype) -> int:
    """The bits of a number as a 16-bit or 8-bit float."""
    with np.errstate(over="ignore"):
        if t in FLOAT8:
            from facula.core.float8 import encode  # rare

            return int(encode(np.array(value), t))
        if t.code == "f16":
            return int(np.float16(np.float32(value)).view(np.uint16))
        bits = int(np.float32(value).view(np.uint32))
    return 0x7FC0 if value != value else bits + 0x7FFF + (bits >> 16 & 1) >> 16
