"""Random numbers into memory, bit for bit PyTorch's on CPUs: the engine (MT19937) and one native fill a distribution.

What a state is, is `core/generator.py`'s business; shapes, strides and checks of arguments are the operators'. All
fills take the address and number of elements of contiguous memory, the code of their dtype, and a generator.
"""

import ast
import ctypes
import struct
from collections.abc import Callable
from functools import cache
from math import pi
from typing import Any

import llvmlite.binding as llvm

from facula.core import mersenne as layout
from facula.core.generator import Generator
from facula.errors import fail
from facula.native import builtins, jit

from . import threads  # noqa: F401  (threads provides facula_parallel)

__all__ = [
    "bernoulli", "bernoulli_each", "binomial", "cauchy", "exponential", "gamma", "geometric", "integers", "log_normal",
    "multinomial", "native", "normal", "permutation", "poisson", "uniform",
]  # fmt: skip

FLOATS = ("f16", "bf16", "f32", "f64")
INTEGERS = {"b1": 1, "u8": 8, "i8": 8, "i16": 16, "i32": 32, "i64": 64}
MEMORY = {"f16": "half", "bf16": "i16", "f32": "float", "f64": "double", "b1": "i8", "u8": "i8"}  # others: their code
BYTES = {"b1": 1, "u8": 1, "i8": 1, "i16": 2, "f16": 2, "bf16": 2, "i32": 4, "f32": 4, "i64": 8, "f64": 8}
SIGNED = {"u16": "i16", "u32": "i32", "u64": "i64"}  # the same bits
DIGITS = {"f16": 11, "bf16": 8, "f32": 24, "f64": 53}  # of the mantissa
CHUNK = 1024  # items between two draws: the words of a chunk stay in the first-level cache
LANES = 16
PART = 1024  # items that a thread makes at a time, where making one takes long (10-20 microseconds in all)
JOB = 32768  # words drawn for the threads at a time: 128 KiB of stack
LIBM = ("exp", "lgamma", "log", "log1p", "pow", "tan")


# ------------------------------------------------------------------------------------------------- writing LLVM text


def constant(value: float, kind: str = "double") -> str:
    """A floating-point literal, exactly; LLVM writes floats as the doubles that they are."""
    if kind == "float":
        value = struct.unpack("f", struct.pack("f", value))[0]
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


class Code:
    """Lines of a function, each value under a fresh name, in vectors of `lanes` (1: scalars)."""

    def __init__(self, lanes: int, prefix: str):
        self.lanes, self.prefix = lanes, prefix
        self.lines: list[str] = []

    def __call__(self, text: str) -> str:
        name = f"%{self.prefix}{len(self.lines)}"
        self.lines.append(f"  {name} = {text}")
        return name

    def type(self, base: str, lanes: int = 0) -> str:
        lanes = lanes or self.lanes
        return base if lanes == 1 else f"<{lanes} x {base}>"

    def splat(self, base: str, literal: object) -> str:
        """A literal in all lanes."""
        return str(literal) if self.lanes == 1 else f"splat ({base} {literal})"

    def spread(self, base: str, name: str) -> str:
        """A scalar value in all lanes."""
        if self.lanes == 1:
            return name
        vector = self.type(base)
        one = self(f"insertelement {vector} poison, {base} {name}, i64 0")
        return self(f"shufflevector {vector} {one}, {vector} poison, <{self.lanes} x i32> zeroinitializer")

    def op(self, op: str, base: str, *operands: str) -> str:
        return self(f"{op} {self.type(base)} {', '.join(operands)}")

    def cast(self, op: str, value: str, source: str, target: str) -> str:
        return self(f"{op} {self.type(source)} {value} to {self.type(target)}")

    def select(self, mask: str, base: str, yes: str, no: str) -> str:
        return self(f"select {self.type('i1')} {mask}, {self.type(base)} {yes}, {self.type(base)} {no}")

    def call(self, name: str, base: str, *operands: str) -> str:
        """An intrinsic on all lanes, or a function of the C library (scalars only)."""
        vector = self.type(base)
        arguments = ", ".join(f"{vector} {x}" for x in operands)
        if name in LIBM:
            return self(f"call {base} @{name}({arguments})")
        short = {"float": "f32", "double": "f64"}.get(base, base)
        suffix = short if self.lanes == 1 else f"v{self.lanes}{short}"
        return self(f"call {vector} @llvm.{name}.{suffix}({arguments})")

    def load(self, base: str, address: str, lanes: int = 0) -> str:
        return self(f"load {self.type(base, lanes)}, ptr {address}, align {4 if base == 'i32' else 1}")

    # ---- the values that fills are made of

    def word(self, address: str) -> str:
        """One 32-bit output an item."""
        return self.load("i32", address)

    def pair(self, address: str) -> str:
        """Two outputs an item, the first one high: PyTorch's random64()."""
        if self.lanes == 1:
            high, low = self.load("i32", address), self(f"getelementptr i32, ptr {address}, i64 1")
            low = self.load("i32", low)
        else:
            both, vector = self.load("i32", address, 2 * self.lanes), self.type("i32", 2 * self.lanes)
            high, low = (
                self(
                    f"shufflevector {vector} {both}, {vector} poison, <{self.lanes} x i32> "
                    f"<{', '.join(f'i32 {2 * i + odd}' for i in range(self.lanes))}>"
                )
                for odd in (0, 1)
            )
        high = self.op("shl", "i64", self.cast("zext", high, "i32", "i64"), self.splat("i64", 32))
        return self.op("or", "i64", high, self.cast("zext", low, "i32", "i64"))

    def unit(self, address: str, kind: str) -> str:
        """Uniform in [0, 1): the low 24 bits of a word (float) or 53 bits of a pair (double)."""
        base, bits, value = ("i32", 24, self.word) if kind == "float" else ("i64", 53, self.pair)
        low = self.op("and", base, value(address), self.splat(base, (1 << bits) - 1))
        return self.op("fmul", kind, self.cast("sitofp", low, base, kind), self.splat(kind, constant(2.0**-bits, kind)))

    def narrow(self, value: str, kind: str, code: str) -> str:
        """A float, double or i64 as C++ casts it to the dtype `code`, as it lies in memory."""
        memory = MEMORY.get(code, code)
        if code == "b1":
            test = self.op("icmp ne", "i64", value, self.splat("i64", 0))
            return self.cast("zext", test, "i1", "i8")
        if code in INTEGERS:
            if kind == "i64":
                return value if code == "i64" else self.cast("trunc", value, "i64", memory)
            whole = "i64" if code == "i64" else "i32"  # as x86 compilers convert to smaller ones
            value = self.cast("fptosi", value, kind, whole)
            return value if memory == whole else self.cast("trunc", value, whole, memory)
        if kind == "i64":
            kind = "double" if code == "f64" else "float"
            value = self.cast("sitofp", value, "i64", kind)
        if code == "f64":
            return value if kind == "double" else self.cast("fpext", value, kind, "double")
        if kind == "double":  # half precision goes through float too
            value = self.cast("fptrunc", value, "double", "float")
        if code == "f16":
            return self.cast("fptrunc", value, "float", "half")
        if code == "bf16":  # to nearest even by integers, since some processors' own instruction flushes denormals
            bits = self.cast("bitcast", value, "float", "i32")
            odd = self.op("and", "i32", self.op("lshr", "i32", bits, self.splat("i32", 16)), self.splat("i32", 1))
            near = self.op("add", "i32", self.op("add", "i32", bits, odd), self.splat("i32", 0x7FFF))
            near = self.op("lshr", "i32", near, self.splat("i32", 16))
            nan = self.op("fcmp uno", "float", value, value)
            return self.cast("trunc", self.select(nan, "i32", self.splat("i32", 0x7FC0), near), "i32", "i16")
        return value

    def widen(self, value: str, code: str) -> str:
        """A floating-point element, as it lies in memory, as float (f64: double)."""
        if code == "f16":
            return self.cast("fpext", value, "half", "float")
        if code == "bf16":
            bits = self.op("shl", "i32", self.cast("zext", value, "i16", "i32"), self.splat("i32", 16))
            return self.cast("bitcast", bits, "i32", "float")
        return value


# Both at once where the C library can (the same bits, half the time).
SINCOS = bool(llvm.address_of_symbol("sincos"))
TRIGONOMETRY = (
    "declare void @sincos(double, ptr, ptr) nounwind"
    if SINCOS
    else "declare double @sin(double) nounwind\ndeclare double @cos(double) nounwind"
)


def _sine_cosine(angle: str, cosine: str, sine: str) -> str:
    """Lines that give the two names their values (scalars; `%pair` must be a place for two doubles)."""
    if SINCOS:
        return f"""  %pair.cos = getelementptr double, ptr %pair, i64 1
  call void @sincos(double {angle}, ptr %pair, ptr %pair.cos)
  {sine} = load double, ptr %pair
  {cosine} = load double, ptr %pair.cos"""
    return f"  {sine} = call double @sin(double {angle})\n  {cosine} = call double @cos(double {angle})"


PRELUDE = (
    """
declare void @facula_draw(ptr, ptr, i64)
declare i64 @facula_next64(ptr)
declare double @facula_next_normal(ptr)
declare double @pow(double, double) nounwind
"""
    + "\n".join(f"declare double @{name}(double) nounwind" for name in LIBM if name != "pow")
    + f"\n{TRIGONOMETRY}\n"
)

# MT19937 as a straight recurrence: x[k + 624] = x[k + 397] ^ twist(x[k], x[k + 1]). The new words are made behind the
# old ones, where outputs lie, 16 at a time (no word depends on one less than 227 before it), then moved to the front.
ENGINE = f"""
define void @twist(ptr %state) {{
entry:
  br label %make
make:
  %k = phi i64 [0, %entry], [%k.next, %make]
  %at = getelementptr i32, ptr %state, i64 %k
  %at1 = getelementptr i32, ptr %at, i64 1
  %at397 = getelementptr i32, ptr %at, i64 397
  %at624 = getelementptr i32, ptr %at, i64 {layout.N}
  %x0 = load <16 x i32>, ptr %at, align 4
  %x1 = load <16 x i32>, ptr %at1, align 4
  %x397 = load <16 x i32>, ptr %at397, align 4
  %high = and <16 x i32> %x0, splat (i32 {-0x80000000})
  %low = and <16 x i32> %x1, splat (i32 {0x7FFFFFFF})
  %mixed = or <16 x i32> %high, %low
  %half = lshr <16 x i32> %mixed, splat (i32 1)
  %odd = trunc <16 x i32> %x1 to <16 x i1>
  %matrix = select <16 x i1> %odd, <16 x i32> splat (i32 {0x9908B0DF - (1 << 32)}), <16 x i32> zeroinitializer
  %far = xor <16 x i32> %x397, %half
  %new = xor <16 x i32> %far, %matrix
  store <16 x i32> %new, ptr %at624, align 4
  %k.next = add i64 %k, 16
  %more = icmp ult i64 %k.next, {layout.N}
  br i1 %more, label %make, label %move
move:
  %source = getelementptr i8, ptr %state, i64 {layout.TEMPERED}
  call void @llvm.memcpy.p0.p0.i64(ptr %state, ptr %source, i64 {layout.TEMPERED}, i1 false)
  call void @temper(ptr %state)
  ret void
}}

define void @temper(ptr %state) {{
entry:
  br label %make
make:
  %k = phi i64 [0, %entry], [%k.next, %make]
  %at = getelementptr i32, ptr %state, i64 %k
  %out = getelementptr i8, ptr %at, i64 {layout.TEMPERED}
  %x = load <16 x i32>, ptr %at, align 4
  %s11 = lshr <16 x i32> %x, splat (i32 11)
  %a = xor <16 x i32> %x, %s11
  %s7 = shl <16 x i32> %a, splat (i32 7)
  %m7 = and <16 x i32> %s7, splat (i32 {0x9D2C5680 - (1 << 32)})
  %b = xor <16 x i32> %a, %m7
  %s15 = shl <16 x i32> %b, splat (i32 15)
  %m15 = and <16 x i32> %s15, splat (i32 {0xEFC60000 - (1 << 32)})
  %c = xor <16 x i32> %b, %m15
  %s18 = lshr <16 x i32> %c, splat (i32 18)
  %d = xor <16 x i32> %c, %s18
  store <16 x i32> %d, ptr %out, align 4
  %k.next = add i64 %k, 16
  %more = icmp ult i64 %k.next, {layout.N}
  br i1 %more, label %make, label %done
done:
  ret void
}}

; the words of a seed, or the outputs of words that were loaded
define void @prepare(ptr %state, i32 %stage) noinline {{
entry:
  %seeded = icmp eq i32 %stage, {layout.SEEDED}
  br i1 %seeded, label %start, label %outputs
start:
  %seed.at = getelementptr i8, ptr %state, i64 {layout.SEED}
  %seed = load i32, ptr %seed.at
  store i32 %seed, ptr %state
  br label %make
make:
  %k = phi i32 [1, %start], [%k.next, %make]
  %last = phi i32 [%seed, %start], [%word, %make]
  %s30 = lshr i32 %last, 30
  %x = xor i32 %last, %s30
  %y = mul i32 %x, 1812433253
  %word = add i32 %y, %k
  %at = getelementptr i32, ptr %state, i32 %k
  store i32 %word, ptr %at
  %k.next = add i32 %k, 1
  %more = icmp ult i32 %k.next, {layout.N}
  br i1 %more, label %make, label %done
outputs:
  call void @temper(ptr %state)
  br label %done
done:
  %stage.at = getelementptr i8, ptr %state, i64 {layout.STAGE}
  store i32 {layout.READY}, ptr %stage.at
  ret void
}}

define void @facula_draw(ptr %state, ptr %to, i64 %count) {{
entry:
  %stage.at = getelementptr i8, ptr %state, i64 {layout.STAGE}
  %next.at = getelementptr i8, ptr %state, i64 {layout.NEXT}
  %left.at = getelementptr i8, ptr %state, i64 {layout.LEFT}
  %outputs = getelementptr i8, ptr %state, i64 {layout.TEMPERED}
  %stage = load i32, ptr %stage.at
  %ready = icmp eq i32 %stage, {layout.READY}
  br i1 %ready, label %test, label %make
make:
  call void @prepare(ptr %state, i32 %stage)
  br label %test
test:
  %rest = phi i64 [%count, %entry], [%count, %make], [%rest.next, %copy]
  %at = phi ptr [%to, %entry], [%to, %make], [%at.next, %copy]
  %some = icmp sgt i64 %rest, 0
  br i1 %some, label %look, label %done
look:
  %left0 = load i32, ptr %left.at
  %next0 = load i32, ptr %next.at
  %empty = icmp eq i32 %left0, 1
  br i1 %empty, label %refill, label %copy
refill:
  call void @twist(ptr %state)
  br label %copy
copy:
  %left = phi i32 [%left0, %look], [{layout.N + 1}, %refill]
  %next = phi i32 [%next0, %look], [0, %refill]
  %left1 = sub i32 %left, 1
  %here = zext i32 %left1 to i64
  %n = call i64 @llvm.smin.i64(i64 %rest, i64 %here)
  %n32 = trunc i64 %n to i32
  %from = getelementptr i32, ptr %outputs, i32 %next
  %bytes = shl i64 %n, 2
  call void @llvm.memcpy.p0.p0.i64(ptr %at, ptr %from, i64 %bytes, i1 false)
  %left.new = sub i32 %left, %n32
  %next.new = add i32 %next, %n32
  store i32 %left.new, ptr %left.at
  store i32 %next.new, ptr %next.at
  %rest.next = sub i64 %rest, %n
  %at.next = getelementptr i32, ptr %at, i64 %n
  br label %test
done:
  ret void
}}

define i64 @facula_next64(ptr %state) {{
entry:
  %both = alloca [2 x i32]
  call void @facula_draw(ptr %state, ptr %both, i64 2)
  %low.at = getelementptr i32, ptr %both, i64 1
  %high = load i32, ptr %both
  %low = load i32, ptr %low.at
  %high.wide = zext i32 %high to i64
  %low.wide = zext i32 %low to i64
  %shifted = shl i64 %high.wide, 32
  %value = or i64 %shifted, %low.wide
  ret i64 %value
}}

; Box-Muller makes two; the second is kept in the state
define double @facula_next_normal(ptr %state) {{
entry:
  %pair = alloca [2 x double]
  %valid.at = getelementptr i8, ptr %state, i64 {layout.NORMAL_VALID}
  %kept.at = getelementptr i8, ptr %state, i64 {layout.NORMAL}
  %valid = load i32, ptr %valid.at
  %has = icmp ne i32 %valid, 0
  br i1 %has, label %take, label %make
take:
  %kept = load double, ptr %kept.at
  store i32 0, ptr %valid.at
  ret double %kept
make:
  %i1 = call i64 @facula_next64(ptr %state)
  %i2 = call i64 @facula_next64(ptr %state)
  %b1 = and i64 %i1, {(1 << 53) - 1}
  %b2 = and i64 %i2, {(1 << 53) - 1}
  %f1 = sitofp i64 %b1 to double
  %f2 = sitofp i64 %b2 to double
  %u1 = fmul double %f1, {constant(2.0**-53)}
  %u2 = fmul double %f2, {constant(-(2.0**-53))}
  %log = call double @log1p(double %u2)
  %square = fmul double %log, {constant(-2.0)}
  %radius = call double @llvm.sqrt.f64(double %square)
  %theta = fmul double %u1, {constant(2.0 * pi)}
{_sine_cosine("%theta", "%cosine", "%sine")}
  %second = fmul double %radius, %sine
  %first = fmul double %radius, %cosine
  store double %second, ptr %kept.at
  store i32 1, ptr %valid.at
  ret double %first
}}
declare double @log1p(double) nounwind
{TRIGONOMETRY}
"""


# ------------------------------------------------------------------------------------------------------------ fills


def fill(
    name: str, item: Callable[[Code, str, str], str], words: int, code: str, parameters: str = "", lanes: int = LANES
):
    """LLVM text of `name(state, out, count, parameters)`: `words` outputs an item, turned into a value by `item`.

    `item(code, address of the words, index of the item)` returns the value as it lies in memory. Chunks of words are
    drawn into a buffer; the last items, fewer than `lanes`, go through a slot.
    """
    memory, size = MEMORY.get(code, code), BYTES[code]
    body, tail = Code(lanes, "b"), Code(lanes, "t")
    vector = body.type(memory)
    done, rest = item(body, "%words", "%index"), item(tail, "%words.tail", "%index.tail") if lanes > 1 else ""
    lines, last = "\n".join(body.lines), "\n".join(tail.lines)
    finish = (
        "  br label %finish"
        if lanes == 1
        else f"""
  %odd = icmp ult i64 %full, %n
  br i1 %odd, label %last, label %finish
last:
  %words.tail.at = mul i64 %full, {words}
  %words.tail = getelementptr i32, ptr %buffer, i64 %words.tail.at
  %index.tail = add i64 %base, %full
{last}
  store {vector} {rest}, ptr %slot
  %to.tail = getelementptr {memory}, ptr %out, i64 %index.tail
  %n.tail = sub i64 %n, %full
  %bytes.tail = mul i64 %n.tail, {size}
  call void @llvm.memcpy.p0.p0.i64(ptr %to.tail, ptr %slot, i64 %bytes.tail, i1 false)
  br label %finish"""
    )
    return f"""{PRELUDE}
define void @{name}(ptr %state, ptr %out, i64 %count{parameters}) {{
entry:
  %buffer = alloca [{CHUNK * words} x i32], align 64
  %slot = alloca [{LANES} x i64], align 64
  br label %chunk
chunk:
  %base = phi i64 [0, %entry], [%base.next, %finish]
  %rest = sub i64 %count, %base
  %some = icmp sgt i64 %rest, 0
  br i1 %some, label %draw, label %done
draw:
  %n = call i64 @llvm.smin.i64(i64 %rest, i64 {CHUNK})
  %n.words = mul i64 %n, {words}
  call void @facula_draw(ptr %state, ptr %buffer, i64 %n.words)
  %full = and i64 %n, {-lanes}
  br label %loop
loop:
  %i = phi i64 [0, %draw], [%i.next, %body]
  %more = icmp ult i64 %i, %full
  br i1 %more, label %body, label %ends
body:
  %words.at = mul i64 %i, {words}
  %words = getelementptr i32, ptr %buffer, i64 %words.at
  %index = add i64 %base, %i
{lines}
  %to = getelementptr {memory}, ptr %out, i64 %index
  store {vector} {done}, ptr %to, align {size}
  %i.next = add i64 %i, {lanes}
  br label %loop
ends:
{finish}
finish:
  %base.next = add i64 %base, %n
  br label %chunk
done:
  ret void
}}
"""


def _uniform(code: str) -> str:
    kind = "double" if code == "f64" else "float"
    memory = MEMORY.get(code, code)

    def item(c: Code, address: str, index: str) -> str:
        low, high = (c.spread("double", x) for x in ("%low", "%high"))
        if kind == "float":
            low, high = (c.cast("fptrunc", x, "double", "float") for x in (low, high))
        value = c.call("fma", kind, c.unit(address, kind), c.op("fsub", kind, high, low), low)
        value = c.narrow(value, kind, code)
        # a value that rounding brought up to the excluded end becomes the other end
        low, high = (c.narrow(x, kind, code) for x in (low, high))
        if code == "bf16":  # finite, and compared as PyTorch compares them: zeros of either sign are equal
            same = c.op("fcmp oeq", "float", c.widen(value, code), c.widen(high, code))
        else:
            same = c.op("fcmp oeq", memory, value, high)
        return c.select(same, memory, low, value)

    return fill("uniform", item, 2 if code == "f64" else 1, code, ", double %low, double %high")


def _integers(code: str) -> str:
    """random_(): all values of an integer type, 0 to 2**digits of a floating-point one."""
    wide = code in ("i64", "f64")
    base = "i64" if wide else "i32"
    count = 2 ** (INTEGERS[code] - (code not in ("b1", "u8"))) if code in INTEGERS else 2 ** DIGITS[code] + 1

    def item(c: Code, address: str, index: str) -> str:
        value = c.pair(address) if wide else c.word(address)
        value = c.op("urem", base, value, c.splat(base, count))
        return c.narrow(value if wide else c.cast("zext", value, "i32", "i64"), "i64", code)

    return fill("integers", item, 1 + wide, code)


def _integers_full(code: str) -> str:
    """All 64 bits."""
    return fill("integers_full", lambda c, address, index: c.narrow(c.pair(address), "i64", code), 2, code)


def _integers_range(code: str) -> str:
    """`range` numbers from `base` on; up to 2**28 of them from one word each."""

    def item(c: Code, address: str, index: str) -> str:
        # the remainder through a quotient in double, at most one off
        word, count = c.word(address), c.spread("i32", "%range32")
        inverse = c.spread("double", "%inverse")
        quotient = c.op("fmul", "double", c.cast("uitofp", word, "i32", "double"), inverse)
        product = c.op("mul", "i32", c.cast("fptoui", quotient, "double", "i32"), count)
        rest = c.op("sub", "i32", word, product)
        below = c.op("icmp slt", "i32", rest, c.splat("i32", 0))
        rest = c.select(below, "i32", c.op("add", "i32", rest, count), rest)
        above = c.op("icmp sge", "i32", rest, count)
        rest = c.select(above, "i32", c.op("sub", "i32", rest, count), rest)
        value = c.op("add", "i64", c.cast("zext", rest, "i32", "i64"), c.spread("i64", "%base.from"))
        return c.narrow(value, "i64", code)

    text = fill("integers_range", item, 1, code, ", i64 %range, i64 %base.from")
    head = "  %range32 = trunc i64 %range to i32\n  %range.f = uitofp i64 %range to double\n"
    head += f"  %inverse = fdiv double {constant(1.0)}, %range.f\n"
    return text.replace("entry:\n", "entry:\n" + head, 1)


def _integers_wide_range(code: str) -> str:
    """More than 2**28 numbers: two words each."""

    def item(c: Code, address: str, index: str) -> str:
        rest = c.op("urem", "i64", c.pair(address), c.spread("i64", "%range"))
        return c.narrow(c.op("add", "i64", rest, c.spread("i64", "%base.from")), "i64", code)

    return fill("integers_wide_range", item, 2, code, ", i64 %range, i64 %base.from", lanes=1)


def _bernoulli(code: str) -> str:
    """`one` where a uniform number is below p, else 0; 53 bits each, whatever the dtype."""
    memory = MEMORY.get(code, code)
    one = Code(1, "one")
    value = one.narrow("%one", "double", code) if code != "b1" else "1"

    def item(c: Code, address: str, index: str) -> str:
        hit = c.op("fcmp olt", "double", c.unit(address, "double"), c.spread("double", "%p"))
        return c.select(hit, memory, c.spread(memory, value), "zeroinitializer")

    head = "\n".join(one.lines)
    return fill("bernoulli", item, 2, code, ", double %p, double %one").replace("entry:\n", f"entry:\n{head}\n", 1)


def _bernoulli_each(code: str, p_code: str) -> str:
    """1 where a uniform number is below the element's own p; -1, or the index of the first p outside [0, 1]."""
    p_memory = MEMORY.get(p_code, p_code)
    kind = "double" if p_code == "f64" else "float"

    def probability(c: Code, index: str) -> str:
        at = c(f"getelementptr {p_memory}, ptr %p, i64 {index}")
        return c.widen(c(f"load {c.type(p_memory)}, ptr {at}, align {BYTES[p_code]}"), p_code)

    def item(c: Code, address: str, index: str) -> str:
        hit = c.op("fcmp olt", kind, c.unit(address, kind), probability(c, index))
        whole = c.cast("zext", hit, "i1", "i64")
        return c.narrow(whole, "i64", code)

    check = Code(1, "c")
    value = probability(check, "%k")
    low, high = check(f"fcmp oge {kind} {value}, {constant(0.0)}"), check(f"fcmp ole {kind} {value}, {constant(1.0)}")
    good = check(f"and i1 {low}, {high}")
    head = f"""
  br label %test
test:
  %k = phi i64 [0, %entry], [%k.next, %right]
  %left = icmp slt i64 %k, %count
  br i1 %left, label %look, label %start
look:
{chr(10).join(check.lines)}
  %k.next = add i64 %k, 1
  br i1 {good}, label %right, label %wrong
right:
  br label %test
wrong:
  ret i64 %k
start:
"""
    # one element at a time: the last vector would read probabilities behind the end
    text = fill("bernoulli_each", item, 2 if kind == "double" else 1, code, ", ptr %p", lanes=1)
    text = text.replace("define void", "define i64", 1).replace("ret void", "ret i64 -1")
    before, _, after = text.partition("  br label %chunk\n")
    return before + head + "  br label %chunk\n" + after.replace("[0, %entry]", "[0, %start]", 1)


def _units(name: str, code: str, body: str, items: int, words: int, parameters: tuple[str, str] = ("a", "b")) -> str:
    """LLVM text of `name.units(state, out, count, two parameters)`, for values that cost much more than their words.

    A unit is `items` values made of `words` outputs by the lines of `body`, from `%at` to `%to`. Words are drawn for a
    whole job, whose parts are then the thread pool's; which words make which value does not depend on threads.
    """
    memory, part, job = MEMORY.get(code, code), PART // items, JOB // words
    first, second = parameters
    return f"""
declare void @facula_parallel(ptr, ptr, i64)
define void @{name}.part(ptr %job, i64 %part) {{
entry:
  %pair = alloca [2 x double]
  %out.at = getelementptr i8, ptr %job, i64 8
  %n.at = getelementptr i8, ptr %job, i64 16
  %{first}.at = getelementptr i8, ptr %job, i64 24
  %{second}.at = getelementptr i8, ptr %job, i64 32
  %words = load ptr, ptr %job
  %out = load ptr, ptr %out.at
  %n = load i64, ptr %n.at
  %{first} = load double, ptr %{first}.at
  %{second} = load double, ptr %{second}.at
  %begin = mul i64 %part, {part}
  %stop = add i64 %begin, {part}
  %end = call i64 @llvm.smin.i64(i64 %stop, i64 %n)
  br label %loop
loop:
  %i = phi i64 [%begin, %entry], [%i.next, %body]
  %more = icmp slt i64 %i, %end
  br i1 %more, label %body, label %done
body:
  %word.index = mul i64 %i, {words}
  %item.index = mul i64 %i, {items}
  %at = getelementptr i32, ptr %words, i64 %word.index
  %to = getelementptr {memory}, ptr %out, i64 %item.index
{body}
  %i.next = add i64 %i, 1
  br label %loop
done:
  ret void
}}

define void @{name}.units(ptr %state, ptr %out, i64 %count, double %{first}, double %{second}) {{
entry:
  %buffer = alloca [{JOB} x i32], align 64
  %job = alloca [5 x i64]
  %out.at = getelementptr i8, ptr %job, i64 8
  %n.at = getelementptr i8, ptr %job, i64 16
  %{first}.at = getelementptr i8, ptr %job, i64 24
  %{second}.at = getelementptr i8, ptr %job, i64 32
  store ptr %buffer, ptr %job
  store double %{first}, ptr %{first}.at
  store double %{second}, ptr %{second}.at
  br label %next
next:
  %base = phi i64 [0, %entry], [%base.next, %ran]
  %rest = sub i64 %count, %base
  %some = icmp sgt i64 %rest, 0
  br i1 %some, label %draw, label %done
draw:
  %n = call i64 @llvm.smin.i64(i64 %rest, i64 {job})
  %n.words = mul i64 %n, {words}
  call void @facula_draw(ptr %state, ptr %buffer, i64 %n.words)
  %item.index = mul i64 %base, {items}
  %to = getelementptr {memory}, ptr %out, i64 %item.index
  store ptr %to, ptr %out.at
  store i64 %n, ptr %n.at
  %few = icmp sle i64 %n, {part}
  br i1 %few, label %here, label %there
here:
  call void @{name}.part(ptr %job, i64 0)
  br label %ran
there:
  %n.up = add i64 %n, {part - 1}
  %parts = udiv i64 %n.up, {part}
  call void @facula_parallel(ptr @{name}.part, ptr %job, i64 %parts)
  br label %ran
ran:
  %base.next = add i64 %base, %n
  br label %next
done:
  ret void
}}
"""


def _through_double(
    name: str, arguments: str, head: str, parameters: tuple[str, str], value: Callable[[Code, str], str]
) -> Callable[[str], str]:
    """A fill whose items are made in double, from a uniform number, by the C library's functions.

    `head` turns the arguments into the two parameters that `value` uses.
    """

    def text(code: str) -> str:
        c, memory = Code(1, "v"), MEMORY.get(code, code)
        done = c.narrow(value(c, c.unit("%at", "double")), "double", code)
        c.lines.append(f"  store {memory} {done}, ptr %to")
        body = "\n".join(c.lines)
        passed = ", ".join(f"double %{parameter}" for parameter in parameters)
        return f"""{PRELUDE}{_units(name, code, body, 1, 2, parameters)}
define void @{name}(ptr %state, ptr %out, i64 %count, {arguments}) {{
{head}
  call void @{name}.units(ptr %state, ptr %out, i64 %count, {passed})
  ret void
}}
"""

    return text


def _exponential_value(c: Code, u: str) -> str:
    return c.op("fmul", "double", "%scale", c.call("log1p", "double", c(f"fneg double {u}")))


def _cauchy_value(c: Code, u: str) -> str:
    angle = c.op("fmul", "double", constant(pi), c.op("fsub", "double", u, constant(0.5)))
    return c.call("fma", "double", "%sigma", c.call("tan", "double", angle), "%median")


def _geometric_value(c: Code, u: str) -> str:
    return c.call("ceil", "double", c.op("fdiv", "double", c.call("log", "double", u), "%log.failure"))


_exponential = _through_double(
    "exponential",
    "double %rate",
    f"  %scale = fdiv double {constant(-1.0)}, %rate",
    ("scale", "rate"),
    _exponential_value,
)
_cauchy = _through_double("cauchy", "double %median, double %sigma", "", ("median", "sigma"), _cauchy_value)
_geometric = _through_double(
    "geometric",
    "double %p",
    "  %p.minus = fneg double %p\n  %log.failure = call double @log1p(double %p.minus)",
    ("log.failure", "p"),
    _geometric_value,
)


def _one_normal(name: str, exponent: bool) -> Callable[[str], str]:
    """Normal numbers in pairs, the state keeping a second one that is not used; `exponent`: their exponentials."""

    def text(code: str) -> str:
        memory = MEMORY.get(code, code)

        def lines(normal: str, to: str, prefix: str) -> str:
            c = Code(1, prefix)
            value = c.call("fma", "double", normal, "%std", "%mean")
            if exponent:
                value = c.call("exp", "double", value)
            value = c.narrow(value, "double", code)
            return "\n".join((*c.lines, f"  store {memory} {value}, ptr {to}"))

        c = Code(1, "u")
        u1 = c.unit("%at", "double")
        u2 = c.unit(c("getelementptr i32, ptr %at, i64 2"), "double")
        logarithm = c.call("log1p", "double", c(f"fneg double {u2}"))
        radius = c.call("sqrt", "double", c.op("fmul", "double", constant(-2.0), logarithm))
        theta = c.op("fmul", "double", constant(2.0 * pi), u1)
        c.lines.append(_sine_cosine(theta, "%cosine", "%sine"))
        first, second = (c.op("fmul", "double", radius, x) for x in ("%cosine", "%sine"))
        c.lines.append(f"  %to.second = getelementptr {memory}, ptr %to, i64 1")
        body = "\n".join((*c.lines, lines(first, "%to", "v"), lines(second, "%to.second", "w")))
        return f"""{PRELUDE}{_units(name, code, body, 2, 4, ("mean", "std"))}
define void @{name}(ptr %state, ptr %out, i64 %count, double %mean, double %std) {{
entry:
  %valid.at = getelementptr i8, ptr %state, i64 {layout.NORMAL_VALID}
  %valid = load i32, ptr %valid.at
  %has = icmp ne i32 %valid, 0
  %wanted = icmp sgt i64 %count, 0
  %use = and i1 %has, %wanted
  br i1 %use, label %kept, label %pairs
kept:
  %kept.value = call double @facula_next_normal(ptr %state)
{lines("%kept.value", "%out", "k")}
  br label %pairs
pairs:
  %done = zext i1 %use to i64
  %rest = sub i64 %count, %done
  %units = ashr i64 %rest, 1
  %to = getelementptr {memory}, ptr %out, i64 %done
  call void @{name}.units(ptr %state, ptr %to, i64 %units, double %mean, double %std)
  %odd = trunc i64 %rest to i1
  br i1 %odd, label %last, label %end
last:
  %last.value = call double @facula_next_normal(ptr %state)
  %last.index = sub i64 %count, 1
  %to.last = getelementptr {memory}, ptr %out, i64 %last.index
{lines("%last.value", "%to.last", "l")}
  br label %end
end:
  ret void
}}
"""

    return text


# Cephes' logarithm, sine and cosine, as PyTorch's vector code has them: which products are fused with a sum, and which
# of two, is what its compiler made of it, and part of the numbers.
LOG_TERMS = (
    7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
    2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
)  # fmt: skip
LOG_2 = (-2.12194440e-4, 0.693359375)
PI_4 = (-0.78515625, -2.4187564849853515625e-4, -3.77489497744594108e-8)  # minus pi/4, in three parts
SINE_TERMS = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
COSINE_TERMS = (2.443315711809948e-005, -1.388731625493765e-003, 4.166664568298827e-002)


def _vector_box_muller(c: Code, u1: str, u2: str) -> tuple[str, str]:
    """Two vectors of normal numbers (float) from two of uniform ones."""

    def real(x):
        return c.splat("float", constant(x, "float"))

    def whole(x):
        return c.splat("i32", x)

    def add(a, b):
        return c.op("fadd", "float", a, b)

    def sub(a, b):
        return c.op("fsub", "float", a, b)

    def mul(a, b):
        return c.op("fmul", "float", a, b)

    def fma(a, b, d):
        return c.call("fma", "float", a, b, d)

    def sign(bits):
        """The sign bit set where bit 2 is."""
        return c.op("shl", "i32", c.op("and", "i32", bits, whole(4)), whole(29))

    def horner(terms, x):
        value = real(terms[0])
        for term in terms[1:]:
            value = fma(value, x, real(term))
        return value

    # log(1 - u1), of a number in (0, 1]
    bits = c.cast("bitcast", sub(real(1.0), u1), "float", "i32")
    exponent = c.op("sub", "i32", c.op("lshr", "i32", bits, whole(23)), whole(127))
    e = add(c.cast("sitofp", exponent, "i32", "float"), real(1.0))
    bits = c.op("or", "i32", c.op("and", "i32", bits, whole(0x007FFFFF)), whole(0x3F000000))
    x = c.cast("bitcast", bits, "i32", "float")
    small = c.op("fcmp olt", "float", x, real(0.707106781186547524))
    extra = c.select(small, "float", x, real(0.0))
    x = sub(x, real(1.0))
    e = sub(e, c.select(small, "float", real(1.0), real(0.0)))
    x = add(x, extra)
    z = mul(x, x)
    y = mul(horner(LOG_TERMS, x), x)
    y = fma(y, z, mul(e, real(LOG_2[0])))
    y = fma(c.op("fneg", "float", z), real(0.5), y)
    logarithm = fma(e, real(LOG_2[1]), add(x, y))
    radius = c.call("sqrt", "float", mul(real(-2.0), logarithm))

    # sine and cosine of an angle in [0, 2 pi)
    angle = mul(real(2.0 * pi), u2)
    octant = c.cast("fptosi", mul(angle, real(1.27323954473516)), "float", "i32")
    octant = c.op("and", "i32", c.op("add", "i32", octant, whole(1)), whole(-2))
    y = c.cast("sitofp", octant, "i32", "float")
    x = angle
    for part in PI_4:
        x = fma(y, real(part), x)
    flip_sine = sign(octant)
    flip_cosine = sign(c.op("xor", "i32", c.op("sub", "i32", octant, whole(2)), whole(-1)))
    straight = c.op("icmp eq", "i32", c.op("and", "i32", octant, whole(2)), whole(0))
    z = mul(x, x)
    even = mul(horner(COSINE_TERMS, z), z)
    even = fma(even, z, c.op("fneg", "float", mul(z, real(0.5))))
    even = add(even, real(1.0))
    odd = fma(mul(horner(SINE_TERMS, z), z), x, x)
    cosine, sine = c.select(straight, "float", even, odd), c.select(straight, "float", odd, even)
    result = []
    for value, flip in ((cosine, flip_cosine), (sine, flip_sine)):
        value = c.cast("bitcast", c.op("xor", "i32", c.cast("bitcast", value, "float", "i32"), flip), "i32", "float")
        result.append(fma(mul(radius, value), c.spread("float", "%std32"), c.spread("float", "%mean32")))
    return result[0], result[1]


def _normal_block(code: str) -> str:
    """`@block(words, out, mean, std)`: 16 normal numbers from 16 uniform ones, the i-th and (i+8)-th from one pair."""
    memory = MEMORY.get(code, code)
    if code == "f64":
        c = Code(1, "v")
        u1, u2 = c.unit("%at", "double"), c.unit("%at8", "double")
        logarithm = c.call("log", "double", c.op("fsub", "double", constant(1.0), u1))
        radius = c.call("sqrt", "double", c.op("fmul", "double", constant(-2.0), logarithm))
        theta = c.op("fmul", "double", constant(2.0 * pi), u2)
        c.lines.append(_sine_cosine(theta, "%cosine", "%sine"))
        values = []
        for value in ("%cosine", "%sine"):
            values.append(c.call("fma", "double", c.op("fmul", "double", radius, value), "%std", "%mean"))
        lines = "\n".join(c.lines)
        return f"""
define void @block(ptr %words, ptr %out, double %mean, double %std) {{
entry:
  %pair = alloca [2 x double]
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%i.next, %loop]
  %i2 = shl i64 %i, 1
  %at = getelementptr i32, ptr %words, i64 %i2
  %at8 = getelementptr i32, ptr %at, i64 16
{lines}
  %to = getelementptr double, ptr %out, i64 %i
  %to8 = getelementptr double, ptr %to, i64 8
  store double {values[0]}, ptr %to
  store double {values[1]}, ptr %to8
  %i.next = add i64 %i, 1
  %more = icmp ult i64 %i.next, 8
  br i1 %more, label %loop, label %done
done:
  ret void
}}
"""
    c = Code(8, "v")
    values = _vector_box_muller(c, c.unit("%words", "float"), c.unit("%words8", "float"))
    values = [c.narrow(value, "float", code) for value in values]
    lines = "\n".join(c.lines)
    return f"""
define void @block(ptr %words, ptr %out, double %mean, double %std) {{
  %mean32 = fptrunc double %mean to float
  %std32 = fptrunc double %std to float
  %words8 = getelementptr i32, ptr %words, i64 8
{lines}
  %out8 = getelementptr {memory}, ptr %out, i64 8
  store <8 x {memory}> {values[0]}, ptr %out, align {BYTES[code]}
  store <8 x {memory}> {values[1]}, ptr %out8, align {BYTES[code]}
  ret void
}}
"""


def _normal_chunks(memory: str) -> str:
    """The lines that fill `%whole` elements, a multiple of 16, and go on to `%tail`."""
    return f"""  br label %chunk
chunk:
  %base = phi i64 [0, %entry], [%base.next, %finish]
  %rest = sub i64 %whole, %base
  %some = icmp sgt i64 %rest, 0
  br i1 %some, label %draw, label %tail
draw:
  %n = call i64 @llvm.smin.i64(i64 %rest, i64 {CHUNK})
  call void @facula_draw(ptr %state, ptr %buffer, i64 %n)
  br label %loop
loop:
  %i = phi i64 [0, %draw], [%i.next, %loop]
  %words = getelementptr i32, ptr %buffer, i64 %i
  %index = add i64 %base, %i
  %to = getelementptr {memory}, ptr %out, i64 %index
  call void @block(ptr %words, ptr %to, double %mean, double %std)
  %i.next = add i64 %i, 16
  %more = icmp ult i64 %i.next, %n
  br i1 %more, label %loop, label %finish
finish:
  %base.next = add i64 %base, %n
  br label %chunk"""


def _normal(code: str) -> str:
    """At least 16 contiguous numbers, in blocks of 16; the last 16 are made anew where blocks do not fit."""
    words = 2 if code == "f64" else 1
    # Halves draw for whole blocks only; the others first draw a number for each element.
    spare = words if code in ("f32", "f64") else 0
    memory = MEMORY.get(code, code)
    if code == "f64":
        call = "  call void @block(ptr %at, ptr %to, double %mean, double %std)"
        units = _units("normal", code, call, 16, 32, ("mean", "std"))
        blocks = """  %units = ashr i64 %count, 4
  call void @normal.units(ptr %state, ptr %out, i64 %units, double %mean, double %std)
  br label %tail"""
    else:
        units, blocks = "", _normal_chunks(memory)
    return f"""{PRELUDE}{_normal_block(code)}{units}
define void @normal(ptr %state, ptr %out, i64 %count, double %mean, double %std) {{
entry:
  %buffer = alloca [{CHUNK} x i32], align 64
  %whole = and i64 %count, -16
{blocks}
tail:
  %odd = sub i64 %count, %whole
  %exact = icmp eq i64 %odd, 0
  br i1 %exact, label %done, label %again
again:
  %spare = mul i64 %odd, {spare}
  call void @facula_draw(ptr %state, ptr %buffer, i64 %spare)
  call void @facula_draw(ptr %state, ptr %buffer, i64 {16 * words})
  %last = sub i64 %count, 16
  %to.last = getelementptr {memory}, ptr %out, i64 %last
  call void @block(ptr %buffer, ptr %to.last, double %mean, double %std)
  br label %done
done:
  ret void
}}
"""


def _permutation(code: str) -> str:
    """0 ... count - 1, shuffled; from 2**32 / 20 on, as PyTorch, with 64 bits a step and the shuffle inside out."""
    memory = MEMORY.get(code, code)
    c, d = Code(1, "v"), Code(1, "w")
    value, inside = c.narrow("%i", "i64", code), d.narrow("%m", "i64", code)
    return f"""{PRELUDE}
define void @permutation(ptr %state, ptr %out, i64 %count) {{
entry:
  %buffer = alloca [{CHUNK} x i32], align 64
  %steps = sub i64 %count, 1
  %few = icmp slt i64 %count, {(2**32 - 1) // 20}
  br i1 %few, label %number, label %inside
number:
  %i = phi i64 [0, %entry], [%i.next, %write]
  %unnumbered = icmp slt i64 %i, %count
  br i1 %unnumbered, label %write, label %chunk
write:
{chr(10).join(c.lines)}
  %to = getelementptr {memory}, ptr %out, i64 %i
  store {memory} {value}, ptr %to
  %i.next = add i64 %i, 1
  br label %number
chunk:
  %base = phi i64 [0, %number], [%base.next, %finish]
  %rest = sub i64 %steps, %base
  %some = icmp sgt i64 %rest, 0
  br i1 %some, label %draw, label %done
draw:
  %n = call i64 @llvm.smin.i64(i64 %rest, i64 {CHUNK})
  call void @facula_draw(ptr %state, ptr %buffer, i64 %n)
  br label %swap
swap:
  %j = phi i64 [0, %draw], [%j.next, %swap]
  %word.at = getelementptr i32, ptr %buffer, i64 %j
  %word = load i32, ptr %word.at
  %here = add i64 %base, %j
  %choices = sub i64 %count, %here
  %choices32 = trunc i64 %choices to i32
  %z = urem i32 %word, %choices32
  %z.wide = zext i32 %z to i64
  %a = getelementptr {memory}, ptr %out, i64 %here
  %b = getelementptr {memory}, ptr %a, i64 %z.wide
  %a.value = load {memory}, ptr %a
  %b.value = load {memory}, ptr %b
  store {memory} %b.value, ptr %a
  store {memory} %a.value, ptr %b
  %j.next = add i64 %j, 1
  %more = icmp slt i64 %j.next, %n
  br i1 %more, label %swap, label %finish
finish:
  %base.next = add i64 %base, %n
  br label %chunk
inside:
  %m = phi i64 [0, %entry], [%m.next, %inside]
  %word64 = call i64 @facula_next64(ptr %state)
  %m.next = add i64 %m, 1
  %r = urem i64 %word64, %m.next
{chr(10).join(d.lines)}
  %m.at = getelementptr {memory}, ptr %out, i64 %m
  %r.at = getelementptr {memory}, ptr %out, i64 %r
  store {memory} {inside}, ptr %m.at
  %r.value = load {memory}, ptr %r.at
  store {memory} %r.value, ptr %m.at
  store {memory} {inside}, ptr %r.at
  %unfinished = icmp slt i64 %m.next, %count
  br i1 %unfinished, label %inside, label %done
done:
  ret void
}}
"""


def _multinomial(code: str) -> str:
    """With replacement: running sums of each row, divided by the last; then a binary search for a number in double."""
    kind = "double" if code == "f64" else "float"
    memory = MEMORY.get(code, code)
    c = Code(1, "v")
    value = c.widen(c(f"load {memory}, ptr %p.at, align {BYTES[code]}"), code)
    infinity = "0x7FF0000000000000"
    wide = "%sum.mid" if kind == "double" else "%sum.wide"
    extend = "" if kind == "double" else "  %sum.wide = fpext float %sum.mid to double\n"
    return f"""{PRELUDE}
define i64 @multinomial(ptr %state, ptr %out, i64 %rows, ptr %p, i64 %categories, i64 %samples, ptr %sums) {{
entry:
  %last = sub i64 %categories, 1
  %sum.last.at = getelementptr {kind}, ptr %sums, i64 %last
  br label %row
row:
  %row.i = phi i64 [0, %entry], [%row.next, %row.end]
  %rows.left = icmp slt i64 %row.i, %rows
  br i1 %rows.left, label %start, label %done
start:
  %p.row = mul i64 %row.i, %categories
  br label %add
add:
  %j = phi i64 [0, %start], [%j.next, %valid]
  %sum = phi {kind} [{constant(0.0)}, %start], [%sum.new, %valid]
  %p.index = add i64 %p.row, %j
  %p.at = getelementptr {memory}, ptr %p, i64 %p.index
{chr(10).join(c.lines)}
  %positive = fcmp oge {kind} {value}, {constant(0.0)}
  br i1 %positive, label %finite.test, label %negative
finite.test:
  %finite = fcmp olt {kind} {value}, {infinity}
  br i1 %finite, label %valid, label %infinite
valid:
  %sum.new = fadd {kind} %sum, {value}
  %sum.at = getelementptr {kind}, ptr %sums, i64 %j
  store {kind} %sum.new, ptr %sum.at
  %j.next = add i64 %j, 1
  %more = icmp slt i64 %j.next, %categories
  br i1 %more, label %add, label %total
total:
  %some = fcmp ogt {kind} %sum.new, {constant(0.0)}
  br i1 %some, label %divide, label %nothing
divide:
  %d = phi i64 [0, %total], [%d.next, %divide]
  %d.at = getelementptr {kind}, ptr %sums, i64 %d
  %d.value = load {kind}, ptr %d.at
  %d.new = fdiv {kind} %d.value, %sum.new
  store {kind} %d.new, ptr %d.at
  %d.next = add i64 %d, 1
  %d.more = icmp slt i64 %d.next, %categories
  br i1 %d.more, label %divide, label %divided
divided:
  store {kind} {constant(1.0)}, ptr %sum.last.at
  %out.row = mul i64 %row.i, %samples
  br label %sample
sample:
  %s = phi i64 [0, %divided], [%s.next, %found]
  %s.left = icmp slt i64 %s, %samples
  br i1 %s.left, label %pick, label %row.end
pick:
  %bits = call i64 @facula_next64(ptr %state)
  %low53 = and i64 %bits, {(1 << 53) - 1}
  %u53 = sitofp i64 %low53 to double
  %u = fmul double %u53, {constant(2.0**-53)}
  br label %search
search:
  %left = phi i64 [0, %pick], [%left.new, %halve]
  %right = phi i64 [%categories, %pick], [%right.new, %halve]
  %width = sub i64 %right, %left
  %wide = icmp sgt i64 %width, 0
  br i1 %wide, label %halve, label %found
halve:
  %half = lshr i64 %width, 1
  %mid = add i64 %left, %half
  %mid.at = getelementptr {kind}, ptr %sums, i64 %mid
  %sum.mid = load {kind}, ptr %mid.at
{extend}  %below = fcmp olt double {wide}, %u
  %mid1 = add i64 %mid, 1
  %left.new = select i1 %below, i64 %mid1, i64 %left
  %right.new = select i1 %below, i64 %right, i64 %mid
  br label %search
found:
  %out.index = add i64 %out.row, %s
  %out.at = getelementptr i64, ptr %out, i64 %out.index
  store i64 %left, ptr %out.at
  %s.next = add i64 %s, 1
  br label %sample
row.end:
  %row.next = add i64 %row.i, 1
  br label %row
negative:
  ret i64 1
infinite:
  ret i64 2
nothing:
  ret i64 3
done:
  ret i64 0
}}
"""


# ------------------------------------------------------------------------------------------- samplers that try again

# In a subset of Python that `Sampler` turns into LLVM: all values are double, `s` rounds to the dtype of the tensors
# (the arithmetic that PyTorch does in it), `f` is a float literal, `uniform` and `normal` draw. Sources of the methods:
# Hoermann 1993 (poisson, PTRS; binomial, BTRS), Marsaglia and Tsang 2000 (gamma).
SAMPLERS = {
    "poisson": """
def poisson(rate):
    if rate == 0:
        return 0
    if rate >= 10:
        slam = sqrt(rate)
        loglam = log(rate)
        b = 0.931 + 2.53 * slam
        a = -0.059 + 0.02483 * b
        invalpha = 1.1239 + 1.1328 / (b - 3.4)
        vr = 0.9277 - 3.6224 / (b - 2)
        while True:
            u = uniform() - 0.5
            v = uniform()
            us = 0.5 - abs(u)
            k = floor((2 * a / us + b) * u + rate + 0.43)
            if us >= 0.07 and v <= vr:
                return k
            if k < 0 or (us < 0.013 and v > us):
                continue
            if log(v) + log(invalpha) - log(a / (us * us) + b) <= -rate + k * loglam - lgamma(k + 1):
                return k
    limit = exp(-rate)
    count = 0
    product = 1
    while True:
        product = product * uniform()
        if product <= limit:
            return count
        count = count + 1
""",
    "gamma": """
def gamma(alpha):
    scale = 1
    if alpha < 1:
        if alpha == 0:
            return smallest()
        scale = pow(1 - uniform(), s(1 / alpha))
        alpha = s(alpha + 1)
    d = s(alpha - f(0.3333333333333333))
    c = 1 / sqrt(9 * d)
    while True:
        x = normal()
        y = 1 + c * x
        if y <= 0:
            continue
        v = y * y * y
        u = 1 - uniform()
        xx = x * x
        if u < 1 - f(0.0331) * xx * xx:
            return larger(s(scale * d * v), smallest())
        if log(u) < 0.5 * xx + d * (1 - v + log(v)):
            return larger(s(scale * d * v), smallest())
""",
    "tail": """
def tail(k):
    if k < 10:
        return table(k)
    square = (k + 1) * (k + 1)
    return (1.0 / 12 - (1.0 / 360 - 1.0 / 1260 / square) / square) / (k + 1)
""",
    "few": """
def few(count, p):
    total = 0
    successes = 0
    logarithm = log1ps(-p)
    while True:
        total = total + ceil(log(uniform()) / logarithm)
        if total > count:
            return successes
        successes = s(successes + 1)
""",
    "many": """
def many(count, p):
    deviation = s(sqrt(s(s(count * p) * s(1 - p))))
    b = 1.15 + 2.53 * deviation
    a = -0.0873 + 0.0248 * b + 0.01 * p
    c = s(count * p) + 0.5
    vr = 0.92 - 4.2 / b
    r = s(p / s(1 - p))
    alpha = (2.83 + 5.1 / b) * deviation
    m = floor(s(s(count + 1) * p))
    while True:
        u = uniform() - 0.5
        v = uniform()
        us = 0.5 - abs(u)
        k = s(floor((2 * a / us + b) * u + c))
        if k < 0 or k > count:
            continue
        if us >= 0.07 and v <= vr:
            return k
        v = log(v * alpha / (a / (us * us) + b))
        bound = (m + 0.5) * log((m + 1) / (r * (count - m + 1)))
        bound = bound + s(count + 1) * log((count - m + 1) / s(s(count - k) + 1))
        bound = bound + (k + 0.5) * log(r * s(s(count - k) + 1) / s(k + 1))
        bound = bound + tail(m) + tail(count - m) - tail(k) - tail(s(count - k))
        if v <= bound:
            return k
""",
    "binomial": """
def binomial(count, p):
    if count <= 0 or p <= 0:
        return 0
    if p >= 1:
        return count
    if p <= 0.5:
        if s(count * p) >= 10:
            return many(count, p)
        return few(count, p)
    if p > 0.5:
        q = s(1 - p)
        if s(count * q) >= 10:
            return s(count - many(count, q))
        return s(count - few(count, q))
    return p
""",
}  # fmt: skip
STIRLING = (
    0.0810614667953272, 0.0413406959554092, 0.0276779256849983, 0.02079067210376509, 0.0166446911898211,
    0.0138761288230707, 0.0118967099458917, 0.0104112652619720, 0.00925546218271273, 0.00833056343336287,
)  # fmt: skip
SMALLEST = {"f32": 2.0**-126, "f64": 2.0**-1022}
OPERATORS = {ast.Add: "fadd", ast.Sub: "fsub", ast.Mult: "fmul", ast.Div: "fdiv"}
TESTS = {ast.Lt: "olt", ast.LtE: "ole", ast.Gt: "ogt", ast.GtE: "oge", ast.Eq: "oeq"}
INTRINSICS = {"sqrt": "sqrt", "floor": "floor", "ceil": "ceil", "abs": "fabs"}


class Sampler(Code):
    """One function of `SAMPLERS` as LLVM text, for a dtype: `double @name(ptr state, double ...)`."""

    def __init__(self, source: str, code: str):
        super().__init__(1, "v")
        self.code, self.labels, self.loops = code, 0, []
        tree: Any = ast.parse(source).body[0]
        names = [a.arg for a in tree.args.args]
        stored = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        self.names = {*names, *stored}
        self.block(tree.body)
        self.lines.append("  unreachable")
        head = [f"  %{name}.at = alloca double" for name in sorted(self.names)]
        head += [f"  store double %{name}, ptr %{name}.at" for name in names]
        parameters = "".join(f", double %{name}" for name in names)
        self.text = (
            f"define double @{tree.name}(ptr %state{parameters}) {{\n" + "\n".join((*head, *self.lines)) + "\n}\n"
        )

    def label(self) -> str:
        self.labels += 1
        return f"l{self.labels}"

    def do(self, text: str) -> None:
        self.lines.append(f"  {text}")

    def at(self, label: str) -> None:
        self.lines.append(f"{label}:")

    def block(self, statements: list[Any]) -> bool:
        """Writes them; returns whether control can come to their end."""
        return all(self.statement(x) for x in statements)  # what stands behind an end is not written

    def statement(self, x: Any) -> bool:
        match x:
            case ast.Assign(targets=[ast.Name(id=name)]):
                self.do(f"store double {self.value(x.value)}, ptr %{name}.at")
            case ast.Return():
                self.do(f"ret double {self.value(x.value)}")
                return False
            case ast.Continue():
                self.do(f"br label %{self.loops[-1]}")
                return False
            case ast.While():
                start = self.label()
                self.do(f"br label %{start}")
                self.at(start)
                self.loops.append(start)
                if self.block(x.body):
                    self.do(f"br label %{start}")
                self.loops.pop()  # all loops are endless: nothing comes after one
                return False
            case ast.If():
                yes, after = self.label(), self.label()
                self.do(f"br i1 {self.test(x.test)}, label %{yes}, label %{after}")
                self.at(yes)
                if self.block(x.body):
                    self.do(f"br label %{after}")
                self.at(after)
            case _:
                raise SyntaxError(ast.dump(x))
        return True

    def test(self, x: Any) -> str:
        if isinstance(x, ast.BoolOp):
            op = "and" if isinstance(x.op, ast.And) else "or"
            left, right = (self.test(v) for v in x.values)
            return self(f"{op} i1 {left}, {right}")
        left, right = self.value(x.left), self.value(x.comparators[0])
        return self(f"fcmp {TESTS[type(x.ops[0])]} double {left}, {right}")

    def value(self, x: Any) -> str:
        match x:
            case ast.Constant():
                number: Any = x.value
                return constant(float(number))
            case ast.Name(id=name):
                return self(f"load double, ptr %{name}.at")
            case ast.UnaryOp(op=ast.USub()):
                return self(f"fneg double {self.value(x.operand)}")
            case ast.BinOp():
                left, right = self.value(x.left), self.value(x.right)
                return self(f"{OPERATORS[type(x.op)]} double {left}, {right}")
            case ast.Call(func=ast.Name(id=name)):
                return self.function(name, x.args)
        raise SyntaxError(ast.dump(x))

    def function(self, name: str, arguments: list[Any]) -> str:
        if name == "f":
            return constant(arguments[0].value, "float")
        if name == "smallest":
            return constant(SMALLEST[self.code])
        values = [self.value(a) for a in arguments]
        if name == "s":
            return values[0] if self.code == "f64" else self.single("fptrunc", values[0])
        if name == "log1ps":  # of the tensors' type
            if self.code == "f64":
                return self.call("log1p", "double", values[0])
            low = self(f"fptrunc double {values[0]} to float")
            return self(f"fpext float {self(f'call float @log1pf(float {low})')} to double")
        if name == "larger":
            return self.select(self(f"fcmp olt double {values[1]}, {values[0]}"), "double", *values)
        if name == "table":
            index = self(f"fptosi double {values[0]} to i64")
            return self(f"load double, ptr {self(f'getelementptr double, ptr @stirling, i64 {index}')}")
        if name == "uniform":
            low = self(f"and i64 {self('call i64 @facula_next64(ptr %state)')}, {(1 << 53) - 1}")
            return self(f"fmul double {self(f'sitofp i64 {low} to double')}, {constant(2.0**-53)}")
        if name == "normal":
            return self("call double @facula_next_normal(ptr %state)")
        if name in SAMPLERS:
            return self(f"call double @{name}(ptr %state, {', '.join(f'double {v}' for v in values)})")
        return self.call(INTRINSICS.get(name, name), "double", *values)

    def single(self, op: str, value: str) -> str:
        return self(f"fpext float {self(f'{op} double {value} to float')} to double")


def _sampler(name: str, helpers: tuple[str, ...], inputs: int) -> Callable[[str], str]:
    """A fill whose i-th value is drawn by a sampler from the i-th elements of one or two inputs of the same dtype."""

    def text(code: str) -> str:
        memory, c = MEMORY.get(code, code), Code(1, "v")
        values = []
        for k in range(inputs):
            at = c(f"getelementptr {memory}, ptr %in{k}, i64 %i")
            value = c.widen(c(f"load {memory}, ptr {at}"), code)
            values.append(value if code == "f64" else c(f"fpext float {value} to double"))
        drawn = c(f"call double @{name}(ptr %state, {', '.join(f'double {v}' for v in values)})")
        drawn = c.narrow(drawn, "double", code)
        functions = "".join(Sampler(SAMPLERS[x], code).text for x in (*helpers, name))
        table = ", ".join(f"double {constant(x)}" for x in STIRLING)
        pointers = "".join(f", ptr %in{k}" for k in range(inputs))
        return f"""{PRELUDE}
@stirling = private constant [{len(STIRLING)} x double] [{table}]
declare float @log1pf(float) nounwind
{functions}
define void @{name}.fill(ptr %state, ptr %out, i64 %count{pointers}) {{
entry:
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%i.next, %body]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %body, label %done
body:
{chr(10).join(c.lines)}
  %to = getelementptr {memory}, ptr %out, i64 %i
  store {memory} {drawn}, ptr %to
  %i.next = add i64 %i, 1
  br label %loop
done:
  ret void
}}
"""

    return text


# ---------------------------------------------------------------------------------------------------- what is called

POINTERS = ("ptr", "ptr", "i64")  # state, out, count


class Entry:
    """A native function in the making: its text, its further arguments, its result, about how long an item takes."""

    __slots__ = ("arguments", "codes", "cost", "result", "text")

    def __init__(self, text, arguments=(), codes=FLOATS, result="none", cost=2.0):
        self.text, self.arguments, self.codes, self.result, self.cost = text, arguments, codes, result, cost


ALL = tuple(BYTES)
NUMBERS = tuple(code for code in ALL if code != "b1")
ENTRIES = {
    "uniform": Entry(_uniform, ("f64", "f64")),
    "normal": Entry(_normal, ("f64", "f64"), cost=4.0),
    "normal_one": Entry(_one_normal("normal_one", False), ("f64", "f64"), cost=20.0),
    "log_normal": Entry(_one_normal("log_normal", True), ("f64", "f64"), cost=25.0),
    "exponential": Entry(_exponential, ("f64",), cost=10.0),
    "cauchy": Entry(_cauchy, ("f64", "f64"), cost=15.0),
    "geometric": Entry(_geometric, ("f64",), NUMBERS, cost=15.0),
    "bernoulli": Entry(_bernoulli, ("f64", "f64"), ALL),
    "bernoulli_each": Entry(_bernoulli_each, ("ptr",), ALL, "i64"),
    "integers": Entry(_integers, (), ALL),
    "integers_full": Entry(_integers_full, (), ("i64", "f64", "f32", "bf16")),
    "integers_range": Entry(_integers_range, ("i64", "i64"), ALL),
    "integers_wide_range": Entry(_integers_wide_range, ("i64", "i64"), ALL, cost=8.0),
    "permutation": Entry(_permutation, (), NUMBERS, cost=5.0),
    "poisson": Entry(_sampler("poisson", (), 1), ("ptr",), cost=50.0),
    "gamma": Entry(_sampler("gamma", (), 1), ("ptr",), ("f32", "f64"), cost=80.0),
    "binomial": Entry(_sampler("binomial", ("tail", "few", "many"), 2), ("ptr", "ptr"), ("f32", "f64"), cost=100.0),
    "multinomial": Entry(_multinomial, ("ptr", "i64", "i64", "ptr"), FLOATS, "i64", cost=1000.0),
}


_SYMBOLS = ("facula_draw", "facula_next64", "facula_next_normal")


def _engine() -> None:
    for name, address in jit.load(ENGINE, _SYMBOLS, optimize="none").items():
        jit.define(name, address)


jit.provide(_SYMBOLS, _engine)


@cache
def native(name: str, *codes: str) -> Callable[..., Any]:
    """The builtin (state address, out address, count, parameters) of an entry; call it under the generator's lock."""
    entry = ENTRIES[name]
    codes = tuple(SIGNED.get(code, code) for code in codes)
    if codes[0] not in entry.codes:
        fail(NotImplementedError, f'"{name}" not implemented for {codes[0]}', expected=", ".join(entry.codes))
    arguments = (*POINTERS, *entry.arguments)
    text = entry.text(*codes)
    inner = f"{name}.fill" if name in SAMPLERS else name
    pipeline = "clean" if name in SAMPLERS else "none"  # only samplers have variables in memory
    return builtins.build(
        text, inner, arguments, entry.result, name=name, work=(2,), cost=entry.cost, optimize=pipeline
    )


def sampler(name: str, count: int, code: str, contiguous: bool = True) -> Callable[..., None]:
    """The builtin (state address, out address, count, parameters) that draws numbers; call it under the lock."""
    one_by_one = name == "normal" and not (count >= 16 and contiguous)
    return native("normal_one" if one_by_one else name, code)


def uniform(ptr: int, count: int, code: str, generator: Generator, low: float = 0.0, high: float = 1.0) -> None:
    """Numbers in [low, high), as `Tensor.uniform_`."""
    function = native("uniform", code)
    with generator.lock:
        function(generator.ptr, ptr, count, low, high)


def normal(
    ptr: int, count: int, code: str, generator: Generator, mean: float = 0.0, std: float = 1.0, contiguous: bool = True
) -> None:
    """Normal numbers, as `Tensor.normal_`; `contiguous`: whether the tensor is (PyTorch draws others one by one)."""
    function = sampler("normal", count, code, contiguous)
    with generator.lock:
        function(generator.ptr, ptr, count, mean, std)


def log_normal(ptr: int, count: int, code: str, generator: Generator, mean: float = 1.0, std: float = 2.0) -> None:
    """Exponentials of normal numbers, as `Tensor.log_normal_`."""
    function = native("log_normal", code)
    with generator.lock:
        function(generator.ptr, ptr, count, mean, std)


def exponential(ptr: int, count: int, code: str, generator: Generator, rate: float = 1.0) -> None:
    """Waiting times, as `Tensor.exponential_(lambd)`."""
    function = native("exponential", code)
    with generator.lock:
        function(generator.ptr, ptr, count, rate)


def cauchy(ptr: int, count: int, code: str, generator: Generator, median: float = 0.0, sigma: float = 1.0) -> None:
    """As `Tensor.cauchy_`."""
    function = native("cauchy", code)
    with generator.lock:
        function(generator.ptr, ptr, count, median, sigma)


def geometric(ptr: int, count: int, code: str, generator: Generator, p: float) -> None:
    """Trials until the first success, as `Tensor.geometric_`; also for integer types."""
    function = native("geometric", code)
    with generator.lock:
        function(generator.ptr, ptr, count, p)


def bernoulli(ptr: int, count: int, code: str, generator: Generator, p: float = 0.5, one: float = 1.0) -> None:
    """`one` with probability p, else 0, as `Tensor.bernoulli_(p)`; another `one` saves dropout a division."""
    function = native("bernoulli", code)
    with generator.lock:
        function(generator.ptr, ptr, count, p, one)


def bernoulli_each(ptr: int, count: int, code: str, generator: Generator, p_ptr: int, p_code: str) -> int:
    """1 with the element's own probability, as `torch.bernoulli`; returns -1, or the index of a p outside [0, 1].

    Where there is such a p, nothing is drawn.
    """
    function = native("bernoulli_each", code, p_code)
    with generator.lock:
        return function(generator.ptr, ptr, count, p_ptr)


def integers(
    ptr: int, count: int, code: str, generator: Generator, low: int | None = None, high: int | None = None
) -> None:
    """Whole numbers in [low, high), as `Tensor.random_(low, high)`.

    Without bounds, as `random_()`: what an integer type holds from 0 on, 0 to 2**digits of a floating-point one.
    Without `high` and with low = -2**63: all 64 bits. (Bounds must fit; adjusting them is the operators' part.)
    """
    if low is None:
        function, bounds = native("integers", code), ()
    elif high is None:
        function, bounds = native("integers_full", code), ()
    else:
        span = high - low
        wide = span >= 1 << 28  # below, PyTorch accepts the skew of a 32-bit remainder
        function = native("integers_wide_range" if wide else "integers_range", code)
        bounds = (span - (1 << 64) if span >= 1 << 63 else span, low)  # as the 64 bits that they are
    with generator.lock:
        function(generator.ptr, ptr, count, *bounds)


def permutation(ptr: int, count: int, code: str, generator: Generator) -> None:
    """0 ... count - 1 in random order, as `torch.randperm`."""
    function = native("permutation", code)
    with generator.lock:
        function(generator.ptr, ptr, count)


MULTINOMIAL_ERRORS = {
    1: "invalid multinomial distribution (encountering probability entry < 0)",
    2: "invalid multinomial distribution (encountering probability entry = infinity or NaN)",
    3: "invalid multinomial distribution (sum of probabilities <= 0)",
}


def multinomial(
    ptr: int, rows: int, samples: int, generator: Generator, p_ptr: int, p_code: str, categories: int
) -> None:
    """`samples` int64 indices a row, drawn with replacement by the weights of its row, as `torch.multinomial`.

    Raises
    ------
    RuntimeError
        In PyTorch's words, for weights that are none.
    """
    function = native("multinomial", p_code)
    sums = bytearray(8 * categories)
    with generator.lock:
        status = function(
            generator.ptr, ptr, rows, p_ptr, categories, samples, ctypes.addressof(ctypes.c_char.from_buffer(sums))
        )
    if status:
        fail(RuntimeError, MULTINOMIAL_ERRORS[status])


def poisson(ptr: int, count: int, code: str, generator: Generator, rates: int) -> None:
    """Numbers of events, by the rates at an address, as `torch.poisson` (which asks for rates >= 0)."""
    function = native("poisson", code)
    with generator.lock:
        function(generator.ptr, ptr, count, rates)


def gamma(ptr: int, count: int, code: str, generator: Generator, alphas: int) -> None:
    """Gamma numbers of scale 1, by the shapes at an address, as `torch._standard_gamma`."""
    function = native("gamma", code)
    with generator.lock:
        function(generator.ptr, ptr, count, alphas)


def binomial(ptr: int, count: int, code: str, generator: Generator, counts: int, probabilities: int) -> None:
    """Numbers of successes, by the counts and probabilities at two addresses, as `torch.binomial`."""
    function = native("binomial", code)
    with generator.lock:
        function(generator.ptr, ptr, count, counts, probabilities)
