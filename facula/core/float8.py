"""The layouts of 8-bit floats, and their values as tables; machine code for them is left to `targets`."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from .dtype import dtype

__all__ = ["FORMATS", "Format", "decode", "encode"]


@dataclass(frozen=True, slots=True)
class Format:
    """Digits and codes of a format: a sign, an exponent, a mantissa, from the highest bit down."""

    mantissa: int  # bits
    bias: int  # of the exponent
    nan: int  # a code; with a sign the NaN of the other sign, but where `unsigned_zero`
    overflow: int  # the code of what is too large
    infinity: int | None = None
    unsigned_zero: bool = False  # the code of -0 is NaN
    powers: bool = False  # exponents alone: no sign, no mantissa, no zero


FORMATS = {
    "float8_e4m3fn": Format(3, 7, 0x7F, 0x7E),
    "float8_e4m3fnuz": Format(3, 8, 0x80, 0x80, unsigned_zero=True),
    "float8_e5m2": Format(2, 15, 0x7F, 0x7C, 0x7C),
    "float8_e5m2fnuz": Format(2, 16, 0x80, 0x80, unsigned_zero=True),
    "float8_e8m0fnu": Format(0, 127, 0xFF, 0xFF, powers=True),
}


@cache
def _values(name: str) -> np.ndarray:
    """The float32 of each of the 256 codes."""
    f, codes = FORMATS[name], np.arange(256)
    if f.powers:
        values = np.exp2(codes - 127.0)
        values[f.nan] = np.nan
        return values.astype(np.float32)
    exponent, digits = (codes & 0x7F) >> f.mantissa, codes & ((1 << f.mantissa) - 1)
    size = np.where(exponent == 0, digits, digits + (1 << f.mantissa)) * np.exp2(
        np.maximum(exponent, 1) - f.bias - float(f.mantissa)
    )
    if f.infinity is not None:
        size[(codes & 0x7F) == f.infinity] = np.inf
        size[(codes & 0x7F) > f.infinity] = np.nan
    values = np.where(codes & 0x80, -size, size)
    values[codes == f.nan] = np.nan
    if not f.unsigned_zero:
        values[codes & 0x7F == f.nan] = np.nan
    return values.astype(np.float32)


def decode(codes: np.ndarray, kind: dtype) -> np.ndarray:
    """The values of codes (uint8) as float32."""
    return _values(kind.name)[codes]


def encode(values: np.ndarray, kind: dtype) -> np.ndarray:
    """The codes (uint8) of float32 values, rounded to nearest even."""
    f, bits = FORMATS[kind.name], np.ascontiguousarray(values, np.float32).view(np.uint32)
    size = bits & 0x7FFFFFFF
    if f.powers:
        exponent = bits >> 23 & 0xFF
        up = (bits & 0x400000 != 0) & ((bits & 0x3FFFFF != 0) | (exponent > 0))
        return np.where(exponent == 0xFF, 0xFF, exponent + up).astype(np.uint8)
    shift = 23 - f.mantissa
    small = (127 - f.bias + shift + 1) << 23  # adding this number leaves the digits of a subnormal one
    low = (size.view(np.float32) + np.uint32(small).view(np.float32)).view(np.uint32) - np.uint32(small)
    rounded = size + np.uint32((f.bias - 127) << 23 & 0xFFFFFFFF) + np.uint32((1 << shift - 1) - 1)
    high = (rounded + (size >> shift & 1)) >> shift
    code = np.where(size < (128 - f.bias) << 23, low, high)
    code = np.where(size >= (127 - f.bias + (1 << 7 - f.mantissa)) << 23, f.overflow, np.minimum(code, f.overflow))
    code = np.where(size > 0x7F800000, f.nan, code)
    sign = np.where((code == 0) & f.unsigned_zero, 0, bits >> 24 & 0x80)
    return (code | sign).astype(np.uint8)
