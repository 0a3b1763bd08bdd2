"""A writer of LLVM text: names, types, literals, loops and branches; knows nothing of kernels."""

import ctypes
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from facula.core.dtype import FLOAT8, dtype

__all__ = ["Code", "literal", "register", "vector"]

_REGISTER = {
    "b1": "i1", "u8": "i8", "i8": "i8", "i16": "i16", "i32": "i32", "i64": "i64", "u16": "i16", "u32": "i32",
    "u64": "i64", "f16": "half", "bf16": "i16", "f32": "float", "f64": "double",
}  # fmt: skip


def register(t: dtype) -> str:
    """The LLVM type of one value; bfloat16 and 8-bit floats are kept as their bits."""
    return "i8" if t in FLOAT8 else _REGISTER[t.code]


def vector(type: str, lanes: int) -> str:
    """`lanes` values side by side; one lane is a plain scalar."""
    return type if lanes == 1 else f"<{lanes} x {type}>"


def literal(value: bool | int | float, t: dtype) -> str:
    """A number as LLVM writes it; integers wrap around, floats are rounded to the type."""
    if t.kind == "b":
        return "true" if value else "false"
    if t.kind in "ui":
        bits = t.itemsize * 8
        return str((int(value) + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1))
    if t in FLOAT8:
        import numpy as np

        from facula.core.float8 import encode  # rare

        return str(int(encode(np.array(value), t)))
    if t.code == "bf16":
        bits = struct.unpack("<I", struct.pack("<f", ctypes.c_float(value).value))[0]
        return str(0x7FC0 if value != value else bits + 0x7FFF + (bits >> 16 & 1) >> 16)
    if t.code == "f16":
        half = value if abs(value) < 65520 else float("inf") if value > 0 else float("-inf") if value < 0 else value
        return f"0xH{struct.unpack('<H', struct.pack('<e', half))[0]:04X}"
    rounded = ctypes.c_float(value).value if t.code == "f32" else value
    return f"0x{struct.unpack('<Q', struct.pack('<d', rounded))[0]:016X}"


class Code:
    """The body of one function as it grows, and the external functions that it mentions."""

    def __init__(self):
        self.lines: list[str] = []
        self.head: list[str] = []  # allocas, at the very top
        self.declared: dict[str, str] = {}
        self.helpers: dict[str, str] = {}  # functions defined beside this one: name -> text
        self.label = "entry"
        self._count = 0

    def do(self, text: str) -> None:
        """An instruction without a result."""
        self.lines.append("  " + text)

    def let(self, text: str) -> str:
        """An instruction with a result; returns the result's name."""
        self._count += 1
        name = f"%.{self._count}"
        self.lines.append(f"  {name} = {text}")
        return name

    def i64(self, name: str, a: str | int, b: str | int) -> str:
        """Arithmetic on i64: add, sub, mul, udiv, urem, and, smin, smax, ..."""
        if name in ("smin", "smax"):
            return self.call("i64", f"llvm.{name}.i64", ("i64", str(a)), ("i64", str(b)))
        return self.let(f"{name} i64 {a}, {b}")

    def call(self, result: str, name: str, *args: tuple[str, str], declare: str | None = None) -> str:
        """A call of an external function or intrinsic; arguments are (type, value)."""
        if name not in self.declared and name not in self.helpers:
            self.declared[name] = f"declare {result} @{name}({declare or ', '.join(t for t, _ in args)})"
        text = f"call {result} @{name}({', '.join(f'{t} {v}' for t, v in args)})"
        if result == "void":
            self.do(text)
            return ""
        return self.let(text)

    def intrinsic(self, name: str, type: str, *values: str) -> str:
        """An overloaded intrinsic whose operands and result have one type, as llvm.fabs."""
        return self.call(type, f"llvm.{name}.{mangle(type)}", *((type, v) for v in values))

    def splat(self, value: str, type: str, lanes: int) -> str:
        """One scalar in all lanes."""
        if lanes == 1:
            return value
        if value[0] not in "%@":
            return f"splat ({type} {value})"
        one = self.let(f"insertelement <{lanes} x {type}> poison, {type} {value}, i64 0")
        return self.let(
            f"shufflevector <{lanes} x {type}> {one}, <{lanes} x {type}> poison, <{lanes} x i32> zeroinitializer"
        )

    def pick(self, value: str, type: str, lanes: int, which: Sequence[int]) -> str:
        """Some lanes of a vector, in the order given; one lane is a scalar."""
        if len(which) == 1:
            return self.let(f"extractelement <{lanes} x {type}> {value}, i64 {which[0]}") if lanes > 1 else value
        if lanes == 1:
            return self.splat(value, type, len(which))
        picks = ", ".join(f"i32 {k}" for k in which)
        return self.let(
            f"shufflevector <{lanes} x {type}> {value}, <{lanes} x {type}> poison, <{len(which)} x i32> <{picks}>"
        )

    def half(self, value: str, type: str, lanes: int, upper: bool) -> str:
        """The lower or upper half of a vector's lanes."""
        n = lanes // 2
        return self.pick(value, type, lanes, range(n * upper, n * upper + n))

    def interleave(self, a: str, b: str, type: str, lanes: int) -> str:
        """The vector a0 b0 a1 b1 ..."""
        if lanes == 1:
            first = self.let(f"insertelement <2 x {type}> poison, {type} {a}, i64 0")
            return self.let(f"insertelement <2 x {type}> {first}, {type} {b}, i64 1")
        picks = ", ".join(f"i32 {k // 2 + lanes * (k % 2)}" for k in range(2 * lanes))
        return self.let(f"shufflevector <{lanes} x {type}> {a}, <{lanes} x {type}> {b}, <{2 * lanes} x i32> <{picks}>")

    def variable(self, type: str) -> str:
        """A place on the stack, which LLVM turns into registers."""
        self._count += 1
        name = f"%.{self._count}"
        self.head.append(f"  {name} = alloca {type}")
        return name

    def begin(self, label: str) -> None:
        """Starts a block; the one before must have ended with a branch."""
        self.lines.append(f"{label}:")
        self.label = label

    def fresh(self, *hints: str) -> list[str]:
        """Labels that nobody has used."""
        self._count += 1
        return [f"{hint}.{self._count}" for hint in hints]

    @contextmanager
    def loop(self, start: str, end: str, step: str | int = 1, *, round: bool = False) -> Iterator[str]:
        """Runs the body with an i64 from start while less than end (`round`: while a whole step fits)."""
        body, done = self.fresh("loop", "done")
        limit = end
        if round:
            limit = self.let(f"sub i64 {end}, {step}")
            limit = self.let(f"add i64 {limit}, 1")
        first = self.let(f"icmp slt i64 {start}, {limit}")
        self.do(f"br i1 {first}, label %{body}, label %{done}")
        before = self.label
        self.begin(body)
        place = len(self.lines)
        self._count += 1
        i = f"%.{self._count}"
        self.lines.append("")
        yield i
        following = self.let(f"add i64 {i}, {step}")
        more = self.let(f"icmp slt i64 {following}, {limit}")
        self.do(f"br i1 {more}, label %{body}, label %{done}")
        self.lines[place] = f"  {i} = phi i64 [ {start}, %{before} ], [ {following}, %{self.label} ]"
        self.begin(done)

    @contextmanager
    def when(self, condition: str, *, rare: bool = False) -> Iterator[None]:
        """Runs the body where an i1 holds."""
        then, done = self.fresh("then", "done")
        note = ', !prof !{!"branch_weights", i32 1, i32 1000}' if rare else ""
        self.do(f"br i1 {condition}, label %{then}, label %{done}{note}")
        self.begin(then)
        yield
        self.do(f"br label %{done}")
        self.begin(done)

    def function(self, signature: str, attributes: str) -> str:
        """The whole function."""
        return "\n".join([f"define {signature} {attributes} {{", "entry:", *self.head, *self.lines, "}"])


def mangle(type: str) -> str:
    """A type inside an intrinsic's name."""
    if type[0] == "<":
        lanes, _, scalar = type[1:-1].split()
        return f"v{lanes}{mangle(scalar)}"
    return {"float": "f32", "double": "f64", "half": "f16", "ptr": "p0"}.get(type, type)


def numbers(lanes: int, type: str = "i64") -> str:
    """The literal vector 0, 1, 2, ..."""
    return "0" if lanes == 1 else f"<{', '.join(f'{type} {k}' for k in range(lanes))}>"
