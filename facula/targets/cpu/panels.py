"""Products of panels that routines make inside their own loops, and the float32 arithmetic around them, as LLVM text.

Unlike the matrix product, these run on one thread, take operands where they lie and pack nothing: B is rows of whole
vectors, one element at a time of A is spread over all lanes. Strides are in bytes.
"""

import numpy as np

from facula.codegen.math.coefficients import COEFFICIENTS
from facula.core import dtype as dt
from facula.native.text import Function, Value

from .matmul_kernel import ELEMENTS, Shape, Writer

__all__ = ["MINUS_INFINITY", "Panels"]

MINUS_INFINITY = float("-inf")
EXPONENT_BELOW = -87.33  # e**x is below the least normal number: 0
LOG2E, LN2_HIGH, LN2_LOW = 1.4426950408889634, 0.693145751953125, 1.428606765330187e-06


class Panels(Writer):
    """A writer of float32 routines; subclasses say which `heights` and `widths` tiles have, the largest first."""

    heights: tuple[int, ...]
    widths: list[int]

    def __init__(self, shape: Shape):
        super().__init__(ELEMENTS["f32"], shape)
        self.many = shape.bits == 512 or shape.bits == 128 and shape.rows > 4  # 32 registers, else 16
        self.integers = f"<{self.lanes} x i32>"

    def op(self, f: Function, name: str, a: Value, b: Value | float) -> Value:
        """fadd, fsub, fmul, fdiv on a vector or a scalar."""
        right = b if isinstance(b, Value) else self.number(f, b, a.type)
        return f.value(a.type, f"{name} {a.type} {a.name}, {right.name}")

    def number(self, f: Function, x: float, type: str) -> Value:
        if x == MINUS_INFINITY:
            text = "0xFFF0000000000000"
            return Value(f, f"splat (float {text})" if type[0] == "<" else text, type)
        rounded = float(np.float32(x))
        return f.constant(type, rounded)

    def compare(self, f: Function, how: str, a: Value, b: Value | float) -> Value:
        right = b if isinstance(b, Value) else self.number(f, b, a.type)
        result = f"<{self.lanes} x i1>" if a.type[0] == "<" else "i1"
        return f.value(result, f"fcmp {how} {a.type} {a.name}, {right.name}")

    def greater(self, f: Function, a: Value, b: Value) -> Value:
        """The greater of two; b where a is NaN."""
        return f.select(self.compare(f, "ogt", a, b), a, b)

    def exp(self, f: Function, x: Value) -> Value:
        """e**x for x up to about 0: 0 below the least normal number, NaN of NaN."""
        v, i = self.vector, self.integers
        magic = 1.5 * 2.0**23 + 127
        t = self.fused(f, x, self.number(f, LOG2E, v), self.number(f, magic, v))
        n = self.op(f, "fsub", t, magic)
        r = self.fused(f, n, self.number(f, -LN2_HIGH, v), x)
        r = self.fused(f, n, self.number(f, -LN2_LOW, v), r)
        terms = (1.0, 1.0, *COEFFICIENTS["exp", dt.float32])
        p = self.number(f, terms[-1], v)
        for c in reversed(terms[:-1]):
            p = self.fused(f, p, r, self.number(f, c, v))
        bits = f.value(i, f"bitcast {v} {t.name} to {i}")
        power = f.value(i, f"shl {i} {bits.name}, {f.constant(i, 23).name}")
        power = f.value(v, f"bitcast {i} {power.name} to {v}")
        p = self.op(f, "fmul", p, power)
        return f.select(self.compare(f, "olt", x, EXPONENT_BELOW), self.number(f, 0.0, v), p)

    def line(self, f: Function, base: Value, v: int, align: int = 64) -> Value:
        return f.load(self.vector, f.at(base, v * self.lanes * 4), min(align, self.lanes * 4))

    def put(self, f: Function, x: Value, base: Value, v: int = 0) -> None:
        f.store(x, f.at(base, v * self.lanes * 4), align=4)

    # ------------------------------------------------------------------ products

    def tile(self, form: str, rows: int, vectors: int) -> None:
        """C = factor * A @ B, or where there is `keep`: C = keep * C + A @ B, `keep` being a number for each column.

        A's element (i, p) is at i * a_step + 4 * p (`row`) or at 4 * i + p * a_step (`column`).
        """
        lanes = self.lanes
        f = self.function(
            f"tile_{form}_{rows}_{vectors}",
            "i64 k, ptr a, i64 a_step, ptr b, i64 b_step, ptr c, i64 c_step, ptr keep, float factor",
        )
        zero = f.constant(self.vector, 0)
        group = 3
        if form == "row":
            pointers = [f.at(f.a, f.a_step * g) for g in range(0, rows, group)]
            twice = f.a_step * 2
        else:
            pointers, twice = [f.a], f.a_step
        with f.loop(0, f.k, carry=[zero] * (rows * vectors) + [f.b, *pointers]) as loop:
            sums = list(loop.carried[: rows * vectors])
            b, points = loop.carried[rows * vectors], loop.carried[rows * vectors + 1 :]
            right = [f.load(self.vector, f.at(b, v * lanes * 4), 4) for v in range(vectors)]
            for i in range(rows):
                if form == "row":
                    base = points[i // group]
                    place = (base, f.at(base, f.a_step), f.at(base, twice))[i % group]
                else:
                    place = f.at(points[0], i * 4)
                left = self.splat(f, f.load("float", place, 4))
                for v in range(vectors):
                    sums[i * vectors + v] = self.fused(f, left, right[v], sums[i * vectors + v])
            step = 4 if form == "row" else f.a_step
            loop.next = [*sums, f.at(b, f.b_step), *(f.at(p, step) for p in points)]
        sums = loop.carried[: rows * vectors]
        with f.either(f.keep.eq(0)) as seam:
            factor = self.splat(f, f.factor)
            for i in range(rows):
                for v in range(vectors):
                    total = self.op(f, "fmul", sums[i * vectors + v], factor)
                    self.put(f, total, f.at(f.c, f.c_step * i), v)
            seam.otherwise()
            keep = [f.load(self.vector, f.at(f.keep, v * lanes * 4), 4) for v in range(vectors)]
            for i in range(rows):
                place = f.at(f.c, f.c_step * i)
                for v in range(vectors):
                    old = f.load(self.vector, f.at(place, v * lanes * 4), 4)
                    self.put(f, self.fused(f, keep[v], old, sums[i * vectors + v]), place, v)
        self.finish(f)

    def product(self, form: str) -> None:
        """Tiles of any number of rows and vectors."""
        f = self.function(
            f"product_{form}",
            "i64 rows, i64 vectors, i64 k, ptr a, i64 a_step, ptr b, i64 b_step, ptr c, i64 c_step, ptr keep, "
            "float factor",
        )
        table = Value(f, f"@tiles_{form}", "ptr")
        row_step = f.a_step if form == "row" else f.constant("i64", 4)
        for v, (_, left) in self.pieces(f, f.vectors, self.widths):
            offset = v * (self.lanes * 4)
            b, c = f.at(f.b, offset), f.at(f.c, offset)
            keep = f.select(f.keep.eq(0) | f.keep.eq(Value(f, "@ones", "ptr")), f.keep, f.at(f.keep, offset))
            for i, (_, which) in self.pieces(f, f.rows, self.heights):
                kernel = f.load("ptr", f.at(table, (left * len(self.heights) + which) * 8))
                f.call(
                    "void", kernel.name, f.k, f.at(f.a, i * row_step), f.a_step, b, f.b_step, f.at(c, i * f.c_step),
                    f.c_step, keep, f.factor,
                )  # fmt: skip
        self.finish(f)

    def pieces(self, f: Function, count: Value, sizes):
        """Cuts `count` in pieces, the largest first: a loop whose body sees (start, (size, which size it is))."""
        at = f.variable("i64", 0)
        name = f.fresh("pieces")
        f.branch(f"{name}.head")
        f.label(f"{name}.head")
        start = at.get()
        f.emit(f"br i1 {(start < count).name}, label %{name}.body, label %{name}.end")
        f.label(f"{name}.body")
        left = count - start
        size, which = f.constant("i64", sizes[-1]), f.constant("i64", len(sizes) - 1)
        for number in reversed(range(len(sizes) - 1)):
            fits = left >= sizes[number]
            size = f.select(fits, f.constant("i64", sizes[number]), size)
            which = f.select(fits, f.constant("i64", number), which)
        yield start, (size, which)
        at.set(start + size)
        f.branch(f"{name}.head")
        f.label(f"{name}.end")

    def multiply_into(
        self, f: Function, form: str, rows, vectors, k, a, a_step, b, b_step, c, c_step, keep=None, factor=None
    ) -> None:
        number = lambda x: x if isinstance(x, Value) else f.constant("i64", x)  # noqa: E731
        f.call(
            "void", f"@product_{form}", number(rows), number(vectors), number(k), a, number(a_step), b, number(b_step),
            c, number(c_step), keep or f.constant("ptr", 0), factor or f.constant("float", 1.0),
        )  # fmt: skip

    def products(self, *forms: str) -> None:
        """The tiles and products of some forms."""
        for form in forms:
            for rows in self.heights:
                for vectors in self.widths:
                    self.tile(form, rows, vectors)
            self.product(form)

    def tables(self, *forms: str) -> list[str]:
        """The globals that products need."""
        made = []
        for form in forms:
            names = ", ".join(f"ptr @tile_{form}_{rows}_{vectors}" for vectors in self.widths for rows in self.heights)
            made.append(f"@tiles_{form} = internal constant [{len(self.heights) * len(self.widths)} x ptr] [{names}]")
        return made

    def spread_tasks(self, f: Function, record: Value, task: str, count: Value, alone: Value) -> None:
        with f.either(alone) as seam:
            with f.loop(0, count) as i:
                f.call("void", f"@{task}", record, i.index)
            seam.otherwise()
            self.declare("void @facula_parallel(ptr, ptr, i64)")
            f.call("void", "@facula_parallel", Value(f, f"@{task}", "ptr"), record, count)
