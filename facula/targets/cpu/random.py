"""Random numbers into memory, bit for bit PyTorch's on CPUs: the engine (MT19937) and one native fill a distribution.

What a state is, is `core/generator.py`'s business; shapes, strides and checks of arguments are the operators'. All
fills take the address and number of elements of contiguous memory, the code of their dtype, and a generator.
"""

import struct
from collections.abc import Callable
from functools import cache
from math import pi

from facula.core import generator as layout
from facula.core.generator import Generator
from facula.errors import fail

from . import builtins, jit

__all__ = [
    "bernoulli", "bernoulli_each", "binomial", "cauchy", "exponential", "gamma", "geometric", "integers", "log_normal",
    "multinomial", "normal", "permutation", "poisson", "uniform", "words",
]  # fmt: skip

FLOATS = ("f16", "bf16", "f32", "f64")
INTEGERS = {"b1": 1, "u8": 8, "i8": 8, "i16": 16, "i32": 32, "i64": 64}
MEMORY = {"f16": "half", "bf16": "i16", "f32": "float", "f64": "double", "b1": "i8", "u8": "i8"}  # others: their code
BYTES = {"b1": 1, "u8": 1, "i8": 1, "i16": 2, "f16": 2, "bf16": 2, "i32": 4, "f32": 4, "i64": 8, "f64": 8}
DIGITS = {"f16": 11, "bf16": 8, "f32": 24, "f64": 53}  # of the mantissa
CHUNK = 1024  # items between two draws: the words of a chunk stay in the first-level cache
LANES = 16
LIBM = ("cos", "exp", "lgamma", "log", "log1p", "pow", "sin", "tan")


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
        return self.op(
            "fmul", kind, self.cast("sitofp", low, base, kind), self.splat(kind, constant(2.0**-bits, kind))
        )

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
            kind, value = ("double", "float")[code != "f64"], self.cast("sitofp", value, "i64", ("double", "float")[code != "f64"])
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


PRELUDE = """
declare void @facula_draw(ptr, ptr, i64)
declare i64 @facula_next64(ptr)
declare double @facula_next_normal(ptr)
declare double @pow(double, double) nounwind
""" + "\n".join(f"declare double @{name}(double) nounwind" for name in LIBM if name != "pow") + "\n"

# MT19937 as a straight recurrence: x[k + 624] = x[k + 397] ^ twist(x[k], x[k + 1]). The new words are made behind the old
# ones, where outputs lie, 16 at a time (no word depends on one less than 227 before it), then moved to the front.
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
  %sine = call double @sin(double %theta)
  %cosine = call double @cos(double %theta)
  %second = fmul double %radius, %sine
  %first = fmul double %radius, %cosine
  store double %second, ptr %kept.at
  store i32 1, ptr %valid.at
  ret double %first
}}
declare double @log1p(double) nounwind
declare double @sin(double) nounwind
declare double @cos(double) nounwind
"""


# ------------------------------------------------------------------------------------------------------------ fills


def fill(name: str, item: Callable[[Code, str, str], str], words: int, code: str, parameters: str = "", lanes: int = LANES):
    """LLVM text of `name(state, out, count, parameters)`: `words` outputs an item, turned into a value by `item`.

    `item(code, address of the words, index of the item)` returns the value as it lies in memory. Chunks of words are
    drawn into a buffer; the last items, fewer than `lanes`, go through a slot.
    """
    memory, size = MEMORY.get(code, code), BYTES[code]
    body, tail = Code(lanes, "b"), Code(lanes, "t")
    vector = body.type(memory)
    done, rest = item(body, "%words", "%index"), item(tail, "%words.tail", "%index.tail") if lanes > 1 else ""
    lines, last = "\n".join(body.lines), "\n".join(tail.lines)
    finish = "  br label %finish" if lanes == 1 else f"""
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
    memory, p_memory = MEMORY.get(code, code), MEMORY.get(p_code, p_code)
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


def _through_double(name: str, parameters: str, head: str, value: Callable[[Code, str], str]) -> Callable[[str], str]:
    """A fill whose items are made one by one, in double, from a uniform number by the C library's functions."""

    def text(code: str) -> str:
        def item(c: Code, address: str, index: str) -> str:
            return c.narrow(value(c, c.unit(address, "double")), "double", code)

        return fill(name, item, 2, code, parameters, lanes=1).replace("entry:\n", f"entry:\n{head}", 1)

    return text


def _exponential_value(c: Code, u: str) -> str:
    return c.op("fmul", "double", "%scale", c.call("log1p", "double", c(f"fneg double {u}")))


def _cauchy_value(c: Code, u: str) -> str:
    angle = c.op("fmul", "double", constant(pi), c.op("fsub", "double", u, constant(0.5)))
    return c.call("fma", "double", "%sigma", c.call("tan", "double", angle), "%median")


def _geometric_value(c: Code, u: str) -> str:
    return c.call("ceil", "double", c.op("fdiv", "double", c.call("log", "double", u), "%log.failure"))


_exponential = _through_double(
    "exponential", ", double %rate", f"  %scale = fdiv double {constant(-1.0)}, %rate\n", _exponential_value
)
_cauchy = _through_double("cauchy", ", double %median, double %sigma", "", _cauchy_value)
_geometric = _through_double(
    "geometric",
    ", double %p",
    "  %p.minus = fneg double %p\n  %log.failure = call double @log1p(double %p.minus)\n",
    _geometric_value,
)


def _one_normal(name: str, exponent: bool) -> Callable[[str], str]:
    """Normal numbers one by one, the second of each pair kept in the state; `exponent`: their exponentials."""

    def text(code: str) -> str:
        c, memory = Code(1, "v"), MEMORY.get(code, code)
        normal = c("call double @facula_next_normal(ptr %state)")
        value = c.call("fma", "double", normal, "%std", "%mean")
        if exponent:
            value = c.call("exp", "double", value)
        value = c.narrow(value, "double", code)
        lines = "\n".join(c.lines)
        return f"""{PRELUDE}
define void @{name}(ptr %state, ptr %out, i64 %count, double %mean, double %std) {{
entry:
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%i.next, %body]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %body, label %done
body:
{lines}
  %to = getelementptr {memory}, ptr %out, i64 %i
  store {memory} {value}, ptr %to
  %i.next = add i64 %i, 1
  br label %loop
done:
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
    real = lambda x: c.splat("float", constant(x, "float"))
    whole = lambda x: c.splat("i32", x)
    add, sub, mul = (lambda a, b, op=op: c.op(op, "float", a, b) for op in ("fadd", "fsub", "fmul"))
    fma = lambda a, b, d: c.call("fma", "float", a, b, d)

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
    sign = lambda bits: c.op("shl", "i32", c.op("and", "i32", bits, whole(4)), whole(29))
    flip_sine = sign(octant)
    flip_cosine = sign(c.op("xor", "i32", c.op("sub", "i32", octant, whole(2)), whole(-1)))
    straight = c.op("icmp eq", "i32", c.op("and", "i32", octant, whole(2)), whole(0))
    z = mul(x, x)
    even = mul(horner(COSINE_TERMS, z), z)
    even = fma(even, z, c.op("fneg", "float", mul(z, real(0.5))))
    even = add(even, real(1.0))
    odd = fma(mul(horner(SINE_TERMS, z), z), x, x)
    result = []
    for value, flip in ((c.select(straight, "float", even, odd), flip_cosine), (c.select(straight, "float", odd, even), flip_sine)):
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
        values = []
        for name in ("cos", "sin"):
            product = c.op("fmul", "double", radius, c.call(name, "double", theta))
            values.append(c.call("fma", "double", product, "%std", "%mean"))
        lines = "\n".join(c.lines)
        return f"""
define void @block(ptr %words, ptr %out, double %mean, double %std) {{
entry:
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
define void @block(ptr %words, ptr %out, double %mean, double %std) alwaysinline {{
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


def _normal(code: str) -> str:
    """At least 16 contiguous numbers, in blocks of 16; the last 16 are made anew where blocks do not fit."""
    words = 2 if code == "f64" else 1
    # Halves draw for whole blocks only; the others first draw a number for each element.
    spare = words if code in ("f32", "f64") else 0
    memory = MEMORY.get(code, code)
    return f"""{PRELUDE}{_normal_block(code)}
define void @normal(ptr %state, ptr %out, i64 %count, double %mean, double %std) {{
entry:
  %buffer = alloca [{CHUNK * words} x i32], align 64
  %whole = and i64 %count, -16
  br label %chunk
chunk:
  %base = phi i64 [0, %entry], [%base.next, %finish]
  %rest = sub i64 %whole, %base
  %some = icmp sgt i64 %rest, 0
  br i1 %some, label %draw, label %tail
draw:
  %n = call i64 @llvm.smin.i64(i64 %rest, i64 {CHUNK})
  %n.words = mul i64 %n, {words}
  call void @facula_draw(ptr %state, ptr %buffer, i64 %n.words)
  br label %loop
loop:
  %i = phi i64 [0, %draw], [%i.next, %loop]
  %at = mul i64 %i, {words}
  %words = getelementptr i32, ptr %buffer, i64 %at
  %index = add i64 %base, %i
  %to = getelementptr {memory}, ptr %out, i64 %index
  call void @block(ptr %words, ptr %to, double %mean, double %std)
  %i.next = add i64 %i, 16
  %more = icmp ult i64 %i.next, %n
  br i1 %more, label %loop, label %finish
finish:
  %base.next = add i64 %base, %n
  br label %chunk
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


class Flow(Code):
    """A function with variables and branches, for samplers that reject: `variable`, `get`, `put`, labels."""

    def __init__(self):
        super().__init__(1, "v")
        self.labels = 0

    def do(self, text: str) -> None:
        self.lines.append(f"  {text}")
