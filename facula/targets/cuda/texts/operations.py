"""One operation as a C++ expression: a table from the names of `ir.expr.OPS`, and conversions between dtypes.

Functions are CUDA's own (1 to 2 units in the last place, and what PyTorch calls); `FUNCTIONS` names those that need no
expansion before.
"""

from collections.abc import Callable

from facula.core import dtype as dt
from facula.core.dtype import FLOAT8, dtype
from facula.ir.expr import Expr

from .types import literal, register, unsigned

__all__ = ["FUNCTIONS", "HELPERS", "cast", "join", "operation"]

Use = Callable[[str], str]  # notes that a text needs a function of `helpers`, and returns its name
Writer = Callable[[Use, dtype, list[str]], str]


def _arithmetic(sign: str, logic: str = "") -> Writer:
    """+, - or *; `logic` is what it means for bool."""

    def write(use: Use, t: dtype, a: list[str]) -> str:
        if t.kind == "f":
            return f"{a[0]} {sign} {a[1]}"
        if t.kind == "b":
            return f"{a[0]} {logic} {a[1]}"
        u = unsigned(t)
        return f"({register(t)})(({u}){a[0]} {sign} ({u}){a[1]})"

    return write


def _div(use: Use, t: dtype, a: list[str]) -> str:
    """NVRTC warns of a division by a 0 that it sees."""
    zero = "__int_as_float(0)" if t.code == "f32" else "__longlong_as_double(0ll)"
    return f"{a[0]} / {zero if a[1] in ('0.0', '0.0f') else a[1]}"


def _infix(sign: str) -> Writer:
    return lambda use, t, a: f"{a[0]} {sign} {a[1]}"


def _bitwise(sign: str) -> Writer:
    return lambda use, t, a: f"{a[0]} {sign} {a[1]}" if t.kind == "b" else f"({register(t)})({a[0]} {sign} {a[1]})"


def _function(name: str) -> Writer:
    """A function of C's library; those on float end in f."""
    return lambda use, t, a: f"{name}{'f' if t.code == 'f32' else ''}({', '.join(a)})"


def _helper(name: str) -> Writer:
    return lambda use, t, a: f"{use(name)}({', '.join(a)})"


def _neg(use: Use, t: dtype, a: list[str]) -> str:
    return f"-{a[0]}" if t.kind == "f" else f"({register(t)})(0 - ({unsigned(t)}){a[0]})"


def _abs(use: Use, t: dtype, a: list[str]) -> str:
    if t.kind == "f":
        return _function("fabs")(use, t, a)
    return a[0] if t.kind == "u" else f"{a[0]} < 0 ? {_neg(use, t, a)} : {a[0]}"


def _sign(use: Use, t: dtype, a: list[str]) -> str:
    return f"({register(t)})(({a[0]} > 0) - ({a[0]} < 0))" if t.kind != "u" else f"({register(t)})({a[0]} > 0)"


def _extreme(greater: bool) -> Writer:
    """maximum or minimum: NaN of either operand wins."""

    def write(use: Use, t: dtype, a: list[str]) -> str:
        if t.kind == "b":
            return f"{a[0]} {'|' if greater else '&'} {a[1]}"
        sign = ">" if greater else "<"
        nan = f" || {a[0]} != {a[0]}" if t.kind == "f" else ""
        return f"{a[0]} {sign} {a[1]}{nan} ? {a[0]} : {a[1]}"

    return write


def _signbit(use: Use, t: dtype, a: list[str]) -> str:
    if t.kind == "f":
        return f"{'__float_as_int' if t.code == 'f32' else '__double_as_longlong'}({a[0]}) < 0"
    return "false" if t.kind == "u" else f"{a[0]} < 0"


def _isinf(use: Use, t: dtype, a: list[str]) -> str:
    return f"{_function('fabs')(use, t, a)} == {literal(float('inf'), t)}"


def _not(use: Use, t: dtype, a: list[str]) -> str:
    return f"!{a[0]}" if t.kind == "b" else f"({register(t)})~{a[0]}"


def _pow(use: Use, t: dtype, a: list[str]) -> str:
    return _function("pow")(use, t, a) if t.kind == "f" else f"{use('power')}({a[0]}, {a[1]})"


def _truncdiv(use: Use, t: dtype, a: list[str]) -> str:
    return f"{_function('trunc')(use, t, [f'{a[0]} / {a[1]}'])}" if t.kind == "f" else _helper("truncdiv")(use, t, a)


def _fmod(use: Use, t: dtype, a: list[str]) -> str:
    return _function("fmod")(use, t, a) if t.kind == "f" else _helper("modulo")(use, t, a)


OPERATIONS: dict[str, Writer] = {
    "add": _arithmetic("+", "|"), "sub": _arithmetic("-"), "mul": _arithmetic("*", "&"), "div": _div,
    "neg": _neg, "fma": _function("fma"),
    "floordiv": _helper("floordiv"), "remainder": _helper("remainder_of"), "truncdiv": _truncdiv, "fmod": _fmod,
    "abs": _abs, "sign": _sign, "maximum": _extreme(True), "minimum": _extreme(False),
    "eq": _infix("=="), "ne": _infix("!="), "lt": _infix("<"), "le": _infix("<="), "gt": _infix(">"),
    "ge": _infix(">="), "isnan": lambda use, t, a: f"{a[0]} != {a[0]}", "isinf": _isinf, "signbit": _signbit,
    "and": _bitwise("&"), "or": _bitwise("|"), "xor": _bitwise("^"), "not": _not,
    "shl": _helper("shift_left"), "shr": _helper("shift_right"),
    "round": _function("rint"), "pow": _pow, "sigmoid": _helper("sigmoid"), "ndtr": _function("normcdf"),
    **{name: _function(name) for name in (
        "fmax", "fmin", "floor", "ceil", "trunc", "copysign", "nextafter", "sqrt", "rsqrt", "cbrt", "exp", "exp2",
        "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh",
        "tanh", "asinh", "acosh", "atanh", "hypot", "erf", "erfc", "erfinv", "lgamma",
    )},
}  # fmt: skip

# What `codegen` need not expand.
FUNCTIONS = frozenset(OPERATIONS)


def operation(use: Use, node: Expr, args: list[str]) -> str:
    """The expression of `node`; `args` are names or literals."""
    t = node.args[0].dtype
    match node.op:
        case "cast":
            return cast(use, args[0], t, node.dtype)
        case "bitcast":
            return _bitcast(args[0], t, node.dtype)
        case "select":
            return f"{args[0]} ? {args[1]} : {args[2]}"
    return OPERATIONS[node.op](use, t, args)


def join(use: Use, how: str, t: dtype, a: str, b: str) -> str:
    """a and b as a result's `combine` has it."""
    return OPERATIONS[how](use, t, [a, b])


def _bitcast(value: str, source: dtype, target: dtype) -> str:
    to, bits = register(target), {"f32": "int", "f64": "longlong"}
    number = {"f32": "float", "f64": "double"}
    if source.code in number:
        return f"({to})__{number[source.code]}_as_{bits[source.code]}({value})"
    if target.code in number:
        return f"__{bits[target.code]}_as_{number[target.code]}({value})"
    return f"({to}){value}"


def cast(use: Use, value: str, source: dtype, target: dtype) -> str:
    """`value` of `source` as `target`, as PyTorch converts on x86: numbers mean the same on all machines."""
    if source is target:
        return value
    if source in dt.STORED_ONLY:
        name = {"f16": "from_half", "bf16": "from_bfloat"}.get(source.code) or f"from_{source.name}"
        return cast(use, f"{use(name)}({value})", dt.float32, target)
    if target in dt.STORED_ONLY:
        name = {"f16": "to_half", "bf16": "to_bfloat"}.get(target.code) or f"to_{target.name}"
        return f"{use(name)}({cast(use, value, source, dt.float32)})"
    if target.kind == "b":
        return f"({value} != {literal(0, source)})"
    if source.kind == "f" and target.kind in "ui":
        if target is dt.uint64:
            return f"{use('to_uint64')}({value})"
        long = target.itemsize == 8 or target.code == "u32" or (target.code == "u8" and source.itemsize == 8)
        found = f"{use('to_int64' if long else 'to_int32')}({value})"
        return found if target.code == ("i64" if long else "i32") else f"({register(target)}){found}"
    return f"({register(target)}){value}"


# Functions of generated texts -----------------------------------------------------------------------------------------

_INLINE = "__device__ __forceinline__"


def _both(text: str) -> str:
    """A function on float, and the same on double."""
    return "\n".join(
        text.replace("T ", f"{t} ").replace("@", suffix).replace("#", ending)
        for t, suffix, ending in (("float", "f", "f"), ("double", "", ""))
    )


def _float8(t: dtype) -> tuple[str, str]:
    """The functions from and to an 8-bit float; see `core.float8`."""
    from facula.core.float8 import FORMATS

    f = FORMATS[t.name]
    head = f"{_INLINE} float from_{t.name}(unsigned char code) {{\n  const unsigned bits = code;\n"
    if f.powers:
        head += f"""  if (bits == {f.nan:#x}u) return __int_as_float(0x7fc00000);
  return __uint_as_float(bits == 0u ? 0x400000u : bits << 23);
}}"""
        back = f"""{_INLINE} unsigned char to_{t.name}(float value) {{
  const unsigned bits = __float_as_uint(value), exponent = bits >> 23 & 0xffu;
  const bool up = (bits & 0x400000u) != 0u && ((bits & 0x3fffffu) != 0u || exponent != 0u);
  return (unsigned char)(exponent == 0xffu ? exponent : exponent + up);
}}"""
        return head, back
    shift = 23 - f.mantissa
    nan = f"bits == {f.nan:#x}u" if f.unsigned_zero else f"size > {f.nan - 1 if f.infinity is None else f.infinity:#x}u"
    scale = literal(2.0 ** (127 - f.bias), dt.float32)
    infinite = ""
    if f.infinity is not None:
        infinite = f"  if (size == {f.infinity:#x}u) value = __int_as_float(0x7f800000);\n"
    head += f"""  const unsigned size = bits & 0x7fu;
  float value = __uint_as_float(size << {shift}) * {scale};
{infinite}  if ({nan}) return __int_as_float(0x7fc00000);
  return __uint_as_float(__float_as_uint(value) | (bits & 0x80u) << 24);
}}"""
    tiny = (127 - f.bias + shift + 1) << 23
    more = (((f.bias - 127) << 23) + (1 << shift - 1) - 1) % (1 << 32)
    sign = "code == 0u ? 0u : bits >> 24 & 0x80u" if f.unsigned_zero else "bits >> 24 & 0x80u"
    back = f"""{_INLINE} unsigned char to_{t.name}(float value) {{
  const unsigned bits = __float_as_uint(value), size = bits & 0x7fffffffu;
  const unsigned low = __float_as_uint(__uint_as_float(size) + __uint_as_float({tiny:#x}u)) - {tiny:#x}u;
  const unsigned high = (size + (size >> {shift} & 1u) + {more:#x}u) >> {shift};
  unsigned code = size < {(128 - f.bias) << 23:#x}u ? low : high;
  code = code < {f.overflow:#x}u ? code : {f.overflow:#x}u;
  if (size >= {(127 - f.bias + (1 << 7 - f.mantissa)) << 23:#x}u) code = {f.overflow:#x}u;
  if (size > 0x7f800000u) code = {f.nan:#x}u;
  return (unsigned char)(code | ({sign}));
}}"""
    return head, back


HELPERS: dict[str, str] = {
    # 16-bit floats. The conversions of halves are instructions that C++ has no name for without a header.
    "from_half": f"""{_INLINE} float from_half(unsigned short bits) {{
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}}""",
    "to_half": f"""{_INLINE} unsigned short to_half(float value) {{
  unsigned short bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}}""",
    "from_bfloat": f"""{_INLINE} float from_bfloat(unsigned short bits) {{
  return __uint_as_float((unsigned)bits << 16);
}}""",
    "to_bfloat": f"""{_INLINE} unsigned short to_bfloat(float value) {{
  unsigned short bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}}""",
    # Towards zero; what does not fit becomes the lowest integer, as x86 has it.
    "to_int32": _both(f"""{_INLINE} int to_int32(T value) {{
  return value >= -2147483648.0# && value < 2147483648.0# ? (int)value : (-2147483647 - 1);
}}"""),
    "to_int64": _both(f"""{_INLINE} long long to_int64(T value) {{
  const bool fits = value >= -9223372036854775808.0# && value < 9223372036854775808.0#;
  return fits ? (long long)value : (-9223372036854775807ll - 1);
}}"""),
    "to_uint64": _both(f"""{_INLINE} unsigned long long to_uint64(T value) {{
  const bool large = value >= 9223372036854775808.0#;
  const unsigned long long low = to_int64(large ? value - 9223372036854775808.0# : value);
  return large ? low ^ 0x8000000000000000ull : low;
}}"""),
    "sigmoid": _both(f"""{_INLINE} T sigmoid(T x) {{
  return 1.0# / (1.0# + exp@(-x));
}}"""),
    # Integer division never traps: by 0 it gives 0, and the lowest integer by -1 wraps around.
    "has_sign": f"""template <class T> {_INLINE} constexpr bool has_sign() {{
  return (T)-1 < (T)1;
}}""",
    "truncdiv": f"""template <class T> {_INLINE} T truncdiv(T a, T b) {{
  if (b == 0) return 0;
  if (has_sign<T>() && b == (T)-1) return (T)(0ull - (unsigned long long)a);
  return (T)(a / b);
}}""",
    "modulo": f"""template <class T> {_INLINE} T modulo(T a, T b) {{
  if (b == 0 || (has_sign<T>() && b == (T)-1)) return 0;
  return (T)(a % b);
}}""",
    "floordiv": f"""template <class T> {_INLINE} T floordiv(T a, T b) {{
  const T q = truncdiv(a, b), r = modulo(a, b);
  return has_sign<T>() && r != 0 && (long long)(r ^ b) < 0 ? (T)(q - 1) : q;
}}
"""
    + _both(f"""{_INLINE} T floordiv(T a, T b) {{
  const T r = fmod@(a, b);
  T q = (a - r) / b;
  if (r != 0.0# && (b < 0.0#) != (r < 0.0#)) q -= 1.0#;
  T whole = floor@(q);
  if (q - whole > 0.5#) whole += 1.0#;
  if (q == 0.0#) whole = copysign@(0.0#, a / b);
  return b == 0.0# ? a / b : whole;
}}"""),
    "remainder_of": f"""template <class T> {_INLINE} T remainder_of(T a, T b) {{
  const T r = modulo(a, b);
  return has_sign<T>() && r != 0 && (long long)(r ^ b) < 0 ? (T)(r + b) : r;
}}
"""
    + _both(f"""{_INLINE} T remainder_of(T a, T b) {{
  const T r = fmod@(a, b);
  return r != 0.0# && (b < 0.0#) != (r < 0.0#) ? r + b : r;
}}"""),
    "power": f"""template <class T> {_INLINE} T power(T a, T b) {{
  if (has_sign<T>() && (long long)b < 0) return (T)(a == 1 ? 1 : a == (T)-1 ? (b & 1 ? -1 : 1) : 0);
  unsigned long long result = 1, base = (unsigned long long)a, left = (unsigned long long)b;
  for (; left != 0; left >>= 1) {{
    if (left & 1) result *= base;
    base *= base;
  }}
  return (T)result;
}}""",
    # Shifts by less than 0 or by the width or more: 0, or for >> of signed types the sign.
    "shift_left": f"""template <class T> {_INLINE} T shift_left(T a, T b) {{
  return (unsigned long long)b < 8 * sizeof(T) ? (T)((unsigned long long)a << b) : (T)0;
}}""",
    "shift_right": f"""template <class T> {_INLINE} T shift_right(T a, T b) {{
  if ((unsigned long long)b < 8 * sizeof(T)) return (T)(a >> b);
  return has_sign<T>() ? (T)(a >> (8 * sizeof(T) - 1)) : (T)0;
}}""",
    **{f"{way}_{t.name}": text for t in FLOAT8 for way, text in zip(("from", "to"), _float8(t))},
}  # fmt: skip

# Which other functions one calls.
NEEDS = {
    "to_uint64": ("to_int64",), "truncdiv": ("has_sign",), "modulo": ("has_sign",), "power": ("has_sign",),
    "floordiv": ("truncdiv", "modulo"), "remainder_of": ("modulo",), "shift_right": ("has_sign",),
}  # fmt: skip
