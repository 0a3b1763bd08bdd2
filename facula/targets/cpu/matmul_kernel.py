"""The LLVM text of the matrix product: micro-kernels, packing and the driver; knows neither Python nor the cache.

    C[b, m, n] = alpha * A[b, m, k] @ B[b, k, n] + beta * C[b, m, n] + bias

C is computed in tiles of `rows` x `vectors` registers (the micro-kernel, the only place where arithmetic is done).
Around it, k is cut in blocks so that a sliver of B stays in the first-level cache, and A and B are copied ("packed")
in the order in which the micro-kernel reads them, unless they are small or used but once. Which tiles there are and
the order in which each is summed depend on the shapes and strides alone, never on the number of threads.

Strides are in bytes everywhere in this file. A complex product is a real one of twice the k and the n: B's element
x + iy is packed as the 2 x 2 block (x, y), (-y, x), and A and C are read as pairs of reals.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from struct import pack_into

from facula.native.text import Function, Value, literal, mangled

__all__ = ["ARGUMENTS", "ELEMENTS", "SHAPES", "Element", "Shape", "module_text", "parameters", "shape_for"]


# ---------------------------------------------------------------------------------------------- elements and machines


@dataclass(frozen=True)
class Element:
    """How a dtype lies in memory and in what it is summed."""

    code: str
    memory: str  # LLVM type of what is loaded; bfloat16's bits are an i16
    sum: str  # LLVM type of the accumulators
    memory_size: int
    sum_size: int
    complex: bool = False
    signed: bool = True

    @property
    def real(self) -> bool:
        """Whether sums are floating-point."""
        return self.sum in ("float", "double")

    @property
    def converts(self) -> bool:
        """Whether loading is more than a load."""
        return self.memory != self.sum


ELEMENTS = {
    e.code: e
    for e in (
        Element("f32", "float", "float", 4, 4), Element("f64", "double", "double", 8, 8),
        Element("f16", "half", "float", 2, 4), Element("bf16", "i16", "float", 2, 4),
        Element("c64", "float", "float", 4, 4, complex=True), Element("c128", "double", "double", 8, 8, complex=True),
        Element("u8", "i8", "i32", 1, 4, signed=False), Element("i8", "i8", "i32", 1, 4),
        Element("i16", "i16", "i32", 2, 4), Element("i32", "i32", "i32", 4, 4), Element("i64", "i64", "i64", 8, 8),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """The register tile of a machine: `rows` x `vectors` accumulators of `bits`."""

    bits: int
    rows: int
    vectors: int
    masked: bool  # loads and stores of part of a vector cost no more than whole ones
    depth: int = 512  # most of k that is summed before C is touched
    pairs: bool = False  # has dot products of pairs of bfloat16

    def heights(self) -> list[int]:
        """The tile heights that have a micro-kernel; what is left over is cut in at most two of the lower ones."""
        return [*range(1, self.rows // 2 + 1), self.rows]


# rows * vectors accumulators, `vectors` for B and one for A's element fit the registers: 32 (AVX-512, NEON) or 16.
SHAPES = {
    "avx512": Shape(512, 14, 2, True),
    "avx512bf16": Shape(512, 14, 2, True, pairs=True),
    "avx2": Shape(256, 6, 2, False),
    "neon": Shape(128, 8, 3, False),
    "any": Shape(128, 4, 2, False),
}


def shape_for(features: str, architecture: str) -> Shape:
    """The tile for a host, from LLVM's list of features (`+avx2,-avx512f,...`)."""
    have = {f[1:] for f in features.split(",") if f.startswith("+")}
    if {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= have:
        return SHAPES["avx512bf16" if "avx512bf16" in have else "avx512"]
    if {"avx2", "fma"} <= have:
        return SHAPES["avx2"]
    return SHAPES["neon" if architecture.startswith(("aarch64", "arm64")) else "any"]


# ---------------------------------------------------------------------------------------------- the call's record

# What Python passes, in order; strides come in elements and are kept in bytes.
ARGUMENTS = (
    "c", "a", "b", "batch", "m", "n", "k", "c_batch", "c_row", "c_col", "a_batch", "a_row", "a_k",
    "b_batch", "b_k", "b_col", "alpha", "beta", "bias", "bias_row", "bias_col",
)  # fmt: skip
# What a bound product has besides: a second batch dim around the first, and a bias for each item.
OUTER_ARGUMENTS = ("outer", "c_outer", "a_outer", "b_outer", "bias_outer", "bias_batch")
FIELDS = ARGUMENTS + OUTER_ARGUMENTS + (
    "alpha_imaginary", "beta_imaginary", "serial",
    "block_from", "block_k", "step_k", "padded_k", "is_first", "is_last",  # the part of k at hand
    "odd",  # whether the second of the last pair of k is missing, where k is counted in pairs
    "a_form",  # 0 packed, 1 column-major in place, 2 row-major in place, 3 packed by each task as it goes
    "b_packed", "own", "a_pack", "b_pack",
    "m_tiles", "m_whole", "m_left", "n_tiles", "m_blocks", "n_blocks", "items", "tasks",
)  # fmt: skip
POINTERS = {"c", "a", "b", "bias", "a_pack", "b_pack"}
STRIDES = {x for x in ARGUMENTS + OUTER_ARGUMENTS if x.endswith(("_outer", "_batch", "_row", "_col", "_k"))}
SCALARS = {"alpha", "beta", "alpha_imaginary", "beta_imaginary"}

EPILOGUE = "{sum} alpha, {sum} beta, ptr bias, i64 bias_row, i64 bias_col"
MICRO = "i64 k, ptr a, i64 a_step, ptr b, i64 b_step, ptr c, i64 c_row, i64 c_col, i64 cols, " + EPILOGUE

# Measured on Zen 4; those that change the order of sums are constants.
PARALLEL_FROM = 1 << 19  # m * n * k from which threads pay
TASK_WORK = 1 << 22  # m * n * k of one task of many
LEAST_WORK = 1 << 17  # ... of one of a few
DOT_ROWS = 24  # rows up to which A @ B.T of row-major matrices is sums along a long k ...
DOT_K = 16  # ... of at least so many elements a row
DOT_STRIP = 8  # columns of C that are such sums at a time
TINY = 96  # the largest size of a product that is computed in place without further thought
SWEEP_ROWS = 3  # rows up to which a large row-major B is read along its rows ...
SWEEP_K = 128  # ... split from twice as many rows
SWEEP_LINES = 8  # ... so many rows at a time
SWEEP_VECTORS = 64  # ... for so many vectors of columns
LINES = 64  # rows of a large B in place that are used before the next columns
LINES_FROM = 96 << 10  # bytes from which B is large
FETCH_FROM = 256  # of a tile's k, from which its part of C is asked for before
MC_TILES = 18  # tiles of A that stay in the second-level cache
LINE_SUMS = 8  # sums that a dot product of two vectors keeps
LINE_FROM = 1 << 16  # elements of such vectors from which threads pay
SPLIT_K = 1024  # of a long k: a part of it ...
SPLIT_GRAIN = 64  # ... in multiples of this ...
SPLIT_PARTS = 32  # ... of so many at most
SPLIT_MOST = 1 << 16  # elements of C up to which k is split
LEAN_TILES = 4  # tiles of m (of n) up to which the other operand is packed as it is used ...
LEAN_FROM = 1 << 19  # ... from so many elements of it
LEAN_STEP = 512  # ... so much of k at a time
LEAN_TASKS = 32  # ... in so many tasks
OUTER = 4096  # rows of A and columns of B that are packed at a time
SMALL = 1 << 20  # bytes of B (of A) that are read in place however often they are used
PACK_ALONE = 1 << 15  # elements that one thread packs sooner than others are woken
SLIVER_WORK = 1 << 21  # m * k * (columns of a tile) up to which tasks pack their own slivers of B
SLOTS = 16  # packing buffers kept between calls
KEPT = 64 << 20  # the largest that is kept


class Writer:
    """Writes all functions of one element type for one tile shape."""

    def __init__(self, element: Element, shape: Shape):
        self.e, self.s = element, shape
        self.lanes = shape.bits // 8 // element.sum_size
        self.width = self.lanes * shape.vectors  # columns of a tile
        self.vector = f"<{self.lanes} x {element.sum}>"
        self.memory_vector = f"<{self.lanes} x {element.memory}>"
        self.attributes = f'nounwind "prefer-vector-width"="{shape.bits}" "min-legal-vector-width"="{shape.bits}"'
        self.intrinsics: set[str] = set()
        self.functions: list[str] = []

    # ------------------------------------------------------------------ helpers

    def function(
        self, name: str, parameters: str, result: str = "void", linkage: str = "internal", extra: str = "noinline"
    ) -> Function:
        return Function(name, parameters.format(sum=self.e.sum), result, f"{extra} {self.attributes}", linkage)

    def finish(self, f: Function, result: Value | None = None) -> None:
        f.done(result)
        self.functions.append(f.text())

    def get(self, f: Function, record: Value, name: str) -> Value:
        type = "ptr" if name in POINTERS else self.e.sum if name in SCALARS else "i64"
        return f.load(type, f.at(record, 8 * FIELDS.index(name)))

    def set(self, f: Function, record: Value, **values: Value | int) -> None:
        for name, value in values.items():
            if isinstance(value, Value) and value.type == "i1":
                value = f.value("i64", f"zext i1 {value.name} to i64")
            f.store(value, f.at(record, 8 * FIELDS.index(name)), "i64")

    def copy_record(self, f: Function, record: Value) -> Value:
        copy = f.alloca("i64", len(FIELDS))
        self.declare("void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
        f.emit(f"call void @llvm.memcpy.p0.p0.i64(ptr {copy.name}, ptr {record.name}, i64 {8 * len(FIELDS)}, i1 false)")
        return copy

    def declare(self, prototype: str) -> None:
        self.intrinsics.add(f"declare {prototype}")

    def splat(self, f: Function, scalar: Value, lanes: int | None = None) -> Value:
        lanes = lanes or self.lanes
        type = f"<{lanes} x {scalar.type}>"
        one = f.value(type, f"insertelement {type} poison, {scalar.type} {scalar.name}, i64 0")
        return f.value(type, f"shufflevector {type} {one.name}, {type} poison, <{lanes} x i32> zeroinitializer")

    def shuffle(self, f: Function, a: Value, b: Value, order: Sequence[int]) -> Value:
        scalar = a.type[1:-1].split(" x ")[1]
        index = ", ".join(f"i32 {i}" for i in order)
        return f.value(
            f"<{len(order)} x {scalar}>",
            f"shufflevector {a.type} {a.name}, {b.type} {b.name}, <{len(order)} x i32> <{index}>",
        )

    def mask(self, f: Function, count: Value, first: int = 0) -> Value:
        """The lanes of the vector that starts at `first` which are among the first `count`."""
        iota = ", ".join(f"i64 {first + i}" for i in range(self.lanes))
        wide = self.splat(f, count)
        return f.value(f"<{self.lanes} x i1>", f"icmp sgt {wide.type} {wide.name}, <{iota}>")

    def multiply(self, f: Function, a: Value, b: Value) -> Value:
        op = "fmul contract" if self.e.real else "mul"
        return f.value(a.type, f"{op} {a.type} {a.name}, {b.name}")

    def plus(self, f: Function, a: Value, b: Value) -> Value:
        op = "fadd contract" if self.e.real else "add"
        return f.value(a.type, f"{op} {a.type} {a.name}, {b.name}")

    def fused(self, f: Function, a: Value, b: Value, c: Value) -> Value:
        """a * b + c, rounded once where the machine can."""
        if not self.e.real:
            return self.plus(f, self.multiply(f, a, b), c)
        suffix = self.e.sum if not a.type.startswith("<") else f"v{a.type[1:].split(' x ')[0]}{self.e.sum}"
        suffix = suffix.replace("float", "f32").replace("double", "f64")
        self.declare(f"{a.type} @llvm.fmuladd.{suffix}({a.type}, {a.type}, {a.type})")
        return f.call(a.type, f"@llvm.fmuladd.{suffix}", a, b, c)

    def gather(self, f: Function, a: Value, b: Value, c: Value) -> Value:
        """What the micro-kernel adds to its sums c for packed values a and b."""
        return self.fused(f, a, b, c)

    def is_zero(self, f: Function, scalar: Value) -> Value:
        return f.value(
            "i1", f"{'fcmp oeq' if self.e.real else 'icmp eq'} {scalar.type} {scalar.name}, {literal(0, scalar.type)}"
        )

    def widen(self, f: Function, x: Value) -> Value:
        """From memory's type to the sum's."""
        e = self.e
        if not e.converts:
            return x
        to = x.type.replace(e.memory, e.sum)
        if e.code == "f16":
            return f.value(to, f"fpext {x.type} {x.name} to {to}")
        whole = x.type.replace(e.memory, "i32")
        if e.code == "bf16":  # its bits are the upper half of a float32's
            bits = f.value(whole, f"zext {x.type} {x.name} to {whole}")
            bits = f.value(whole, f"shl {whole} {bits.name}, {literal(16, whole)}")
            return f.value(to, f"bitcast {whole} {bits.name} to {to}")
        return f.value(to, f"{'sext' if e.signed else 'zext'} {x.type} {x.name} to {to}")

    def narrow(self, f: Function, x: Value) -> Value:
        """From the sum's type to memory's, rounded to nearest even; integers wrap."""
        e = self.e
        if not e.converts:
            return x
        to = x.type.replace(e.sum, e.memory)
        if e.code == "f16":
            return f.value(to, f"fptrunc {x.type} {x.name} to {to}")
        if e.code != "bf16":
            return f.value(to, f"trunc {x.type} {x.name} to {to}")
        whole = x.type.replace(e.sum, "i32")
        bits = f.value(whole, f"bitcast {x.type} {x.name} to {whole}")
        odd = (bits >> 16) & 1
        rounded = (bits + odd + 0x7FFF) >> 16
        quiet = (bits >> 16) | 0x40
        nan = f.value(whole.replace("i32", "i1"), f"fcmp uno {x.type} {x.name}, {x.name}")
        return f.value(to, f"trunc {whole} {f.select(nan, quiet, rounded).name} to {to}")

    def load(self, f: Function, pointer: Value, mask: Value | None = None) -> Value:
        """A vector from memory, widened; lanes outside `mask` are zero and not touched."""
        type = self.memory_vector
        if mask is None:
            return self.widen(f, f.load(type, pointer, self.e.memory_size))
        name = f"@llvm.masked.load.v{self.lanes}{mangled(self.e.memory)}.p0"
        self.declare(f"{type} {name}(ptr, i32, <{self.lanes} x i1>, {type})")
        given = f"ptr {pointer.name}, i32 {self.e.memory_size}, {mask.type} {mask.name}, {type} zeroinitializer"
        return self.widen(f, f.value(type, f"call {type} {name}({given})"))

    def load_one(self, f: Function, pointer: Value) -> Value:
        return self.widen(f, f.load(self.e.memory, pointer, self.e.memory_size))

    def store(self, f: Function, x: Value, pointer: Value, mask: Value | None = None) -> None:
        x = self.narrow(f, x)
        if mask is None:
            f.store(x, pointer, align=self.e.memory_size)
            return
        name = f"@llvm.masked.store.v{self.lanes}{mangled(self.e.memory)}.p0"
        self.declare(f"void {name}({x.type}, ptr, i32, <{self.lanes} x i1>)")
        given = f"{x.type} {x.name}, ptr {pointer.name}, i32 {self.e.memory_size}, {mask.type} {mask.name}"
        f.emit(f"call void {name}({given})")

    def transposed(self, f: Function, rows: list[Value]) -> list[Value]:
        """The columns of a square of registers, by log2(lanes) rounds of exchanges."""
        size = len(rows)
        step = 1
        while step < size:
            low = [i if not i & step else size + i - step for i in range(size)]
            high = [i + step if not i & step else size + i for i in range(size)]
            following = list(rows)
            for i in range(size):
                if not i & step:
                    following[i] = self.shuffle(f, rows[i], rows[i + step], low)
                    following[i + step] = self.shuffle(f, rows[i], rows[i + step], high)
            rows = following
            step *= 2
        return rows

    # ------------------------------------------------------------------ arithmetic

    def merge(self) -> None:
        """C = alpha * buffer + beta * C + bias for a tile, an element at a time: C of any strides."""
        e = self.e
        f = self.function(
            "merge",
            "ptr buffer, i64 pitch, i64 rows, i64 cols, ptr c, i64 c_row, i64 c_col, " + EPILOGUE,
        )
        fresh = self.is_zero(f, f.beta)
        plain = f.bias.eq(0)
        with f.loop(0, f.rows) as i:
            line, source, added = (
                f.at(p, i.index * s) for p, s in ((f.c, f.c_row), (f.buffer, f.pitch), (f.bias, f.bias_row))
            )
            with f.loop(0, f.cols) as j:
                place = f.at(line, self.column(f, j.index, f.c_col))
                total = self.multiply(f, f.alpha, f.load(e.sum, f.at(source, j.index * e.sum_size)))
                result = f.variable(e.sum, total)
                with f.when(fresh.eq(0)):
                    result.set(self.fused(f, f.beta, self.load_one(f, place), total))
                with f.when(plain.eq(0)):
                    bias = self.load_one(f, f.at(added, self.column(f, j.index, f.bias_col)))
                    result.set(self.plus(f, result.get(), bias))
                f.store(self.narrow(f, result.get()), place, align=e.memory_size)
        self.finish(f)

    def column(self, f: Function, j: Value, step: Value) -> Value:
        """The offset of real column j; complex elements are pairs (and `step` is half of theirs)."""
        if not self.e.complex:
            return j * step
        return (j >> 1) * step * 2 + (j & 1) * self.e.memory_size

    def micro(self, rows: int, vectors: int, form: str) -> None:
        """One tile of C. `form` says where A's element (i, p) is: column-major (p * a_step + i) or row-major."""
        e, lanes, size = self.e, self.lanes, self.e.sum_size
        f = self.function(f"micro_{form}_{rows}_{vectors}", MICRO)
        masks = [self.mask(f, f.cols, v * lanes) if self.s.masked else None for v in range(vectors)]
        zero = f.constant(self.vector, 0)
        group = 3  # a row-major A is walked by one pointer for three rows, as x86 adds a stride once or twice for free
        if form == "row":
            pointers = [f.at(f.a, f.a_step * g) for g in range(0, rows, group)]
            twice = f.a_step * 2
        else:
            pointers = [f.a]
        if rows == self.s.rows:
            self.fetch(f, rows, vectors * lanes * e.memory_size)
        with f.loop(0, f.k, carry=[zero] * (rows * vectors) + [f.b, *pointers]) as loop:
            sums, b, points = (
                loop.carried[: rows * vectors],
                loop.carried[rows * vectors],
                loop.carried[rows * vectors + 1 :],
            )
            sums = list(sums)
            right = [self._b(f, f.at(b, v * lanes * size), masks[v]) for v in range(vectors)]
            for i in range(rows):
                if form == "row":
                    base = points[i // group]
                    place = (base, f.at(base, f.a_step), f.at(base, twice))[i % group]
                else:
                    place = f.at(points[0], i * size)
                left = self.splat(f, f.load(e.sum, place, size))
                for v in range(vectors):
                    sums[i * vectors + v] = self.gather(f, left, right[v], sums[i * vectors + v])
            step = size if form == "row" else f.a_step
            loop.next = [*sums, f.at(b, f.b_step), *(f.at(p, step) for p in points)]
        sums = loop.carried[: rows * vectors]
        plain = f.bias.eq(0)
        straight = f.c_col.eq(e.memory_size) & (plain | (f.bias_row.eq(0) & f.bias_col.eq(e.memory_size)))
        if not self.s.masked:
            straight = straight & f.cols.eq(lanes * vectors)
        with f.either(straight) as seam:
            alpha, beta = self.splat(f, f.alpha), self.splat(f, f.beta)
            source = f.select(plain, Value(f, "@zeros", "ptr"), f.bias)
            bias = [self.load(f, f.at(source, v * lanes * e.memory_size), masks[v]) for v in range(vectors)]
            fresh = self.is_zero(f, f.beta)
            with f.either(fresh) as inner:  # a beta of zero reads nothing
                self.write(f, sums, alpha, beta, bias, masks, reads=False)
                inner.otherwise()
                self.write(f, sums, alpha, beta, bias, masks, reads=True)
            seam.otherwise()
            buffer = f.alloca(self.vector, rows * vectors)
            for i, x in enumerate(sums):
                f.store(x, f.at(buffer, i * lanes * size), align=64)
            f.call(
                "void", "@merge", buffer, f.constant("i64", vectors * lanes * size), f.constant("i64", rows), f.cols,
                f.c, f.c_row, f.c_col, f.alpha, f.beta, f.bias, f.bias_row, f.bias_col,
            )  # fmt: skip
        self.finish(f)

    def fetch(self, f: Function, rows: int, size: int) -> None:
        """Asks for a tile of C of so many bytes a row, which then comes while the sums are made."""
        self.declare("void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        with f.when(f.k >= FETCH_FROM):
            for i in range(rows):
                for line in range(0, size, 64):
                    place = f.at(f.at(f.c, f.c_row * i), line)
                    f.emit(f"call void @llvm.prefetch.p0(ptr {place.name}, i32 1, i32 3, i32 1)")

    def _b(self, f: Function, pointer: Value, mask: Value | None) -> Value:
        """A vector of B as the micro-kernel reads it: sums' type, packed or (where types agree) in place."""
        if mask is None:
            return f.load(self.vector, pointer, self.e.sum_size)
        name = f"@llvm.masked.load.v{self.lanes}{mangled(self.e.sum)}.p0"
        self.declare(f"{self.vector} {name}(ptr, i32, <{self.lanes} x i1>, {self.vector})")
        given = f"ptr {pointer.name}, i32 {self.e.sum_size}, {mask.type} {mask.name}, {self.vector} zeroinitializer"
        return f.value(self.vector, f"call {self.vector} {name}({given})")

    def write(
        self, f: Function, sums: list[Value], alpha: Value, beta: Value, bias: list[Value],
        masks: Sequence[Value | None], reads: bool,
    ) -> None:  # fmt: skip
        """A tile of contiguous rows: C = alpha * sums + bias, plus beta * C if it `reads`."""
        line = f.c
        for i in range(0, len(sums), len(masks)):
            if i:
                line = f.at(line, f.c_row)
            for v, mask in enumerate(masks):
                place = f.at(line, v * self.lanes * self.e.memory_size)
                total = self.fused(f, alpha, sums[i + v], bias[v])
                if reads:
                    total = self.fused(f, beta, self.load(f, place, mask), total)
                self.store(f, total, place, mask)

    def dot(self, rows: int, cols: int) -> None:
        """`rows` rows of A times up to DOT_STRIP rows of B's transpose, `cols` at a time: sums along a contiguous k."""
        e, lanes, size = self.e, self.lanes, self.e.memory_size
        f = self.function(f"dot_{rows}", MICRO)  # a_step: from row to row of A; b_step: from column to column of B
        zero = f.constant(self.vector, 0)
        whole = f.k // lanes * lanes
        with f.loop(0, f.cols, cols) as strip:
            count = f.least(f.cols - strip.index, cols)
            a = [f.at(f.a, f.a_step * i) for i in range(rows)]
            b = [f.at(f.b, f.b_step * (strip.index + f.least(f.constant("i64", j), count - 1))) for j in range(cols)]

            def step(sums: list[Value], p: Value, mask: Value | None, one: bool = False) -> list[Value]:
                offset = p * size

                def read(pointer: Value) -> Value:
                    if not one:
                        return self.load(f, f.at(pointer, offset), mask)
                    x = self.load_one(f, f.at(pointer, offset))
                    return f.value(self.vector, f"insertelement {self.vector} zeroinitializer, {e.sum} {x.name}, i64 0")

                left, right = [read(x) for x in a], [read(x) for x in b]
                return [self.fused(f, left[i], right[j], sums[i * cols + j]) for i in range(rows) for j in range(cols)]

            with f.loop(0, whole, lanes, [zero] * (rows * cols)) as main:
                main.next = step(main.carried, main.index, None)
            sums = main.carried
            if self.s.masked:
                with f.loop(whole, f.k, lanes, sums) as tail:
                    tail.next = step(tail.carried, tail.index, self.mask(f, f.k - tail.index))
            else:
                with f.loop(whole, f.k, 1, sums) as tail:
                    tail.next = step(tail.carried, tail.index, None, one=True)
            sums = list(tail.carried)
            width = lanes
            while width > len(sums):  # fold down to as many lanes as there are sums
                width //= 2
                sums = [
                    self.plus(f, self.shuffle(f, x, x, range(width)), self.shuffle(f, x, x, range(width, 2 * width)))
                    for x in sums
                ]
            while len(sums) > 1:  # lane i of the last vector is the total of the i-th
                even, odd = range(0, 2 * width, 2), range(1, 2 * width, 2)
                sums = [
                    self.plus(f, self.shuffle(f, x, y, even), self.shuffle(f, x, y, odd))
                    for x, y in zip(sums[::2], sums[1::2], strict=True)
                ]
            buffer = f.alloca(e.sum, rows * cols)
            f.store(sums[0], buffer, align=e.sum_size)
            f.call(
                "void", "@merge", buffer, f.constant("i64", cols * e.sum_size), f.constant("i64", rows), count,
                f.at(f.c, strip.index * f.c_col), f.c_row, f.c_col, f.alpha, f.beta,
                f.select(f.bias.eq(0), f.bias, f.at(f.bias, strip.index * f.bias_col)), f.bias_row, f.bias_col,
            )  # fmt: skip
        self.finish(f)

    # ------------------------------------------------------------------ packing

    def pack_elements(
        self,
        f: Function,
        target: Value,
        source: Value,
        start: Value,
        count: Value,
        i_step: Value,
        p_step: Value,
        lines: Value,
        pitch: Value,
    ) -> None:
        """target[p * pitch + i] = source[i * i_step + p * p_step] for p in start..count, an element at a time."""
        size = self.e.sum_size
        with f.loop(start, count) as p:
            row = f.at(target, p.index * pitch * size)
            column = f.at(source, p.index * p_step)
            with f.loop(0, lines) as i:
                f.store(self.load_one(f, f.at(column, i.index * i_step)), f.at(row, i.index * size), align=size)

    def turned(self, registers: int) -> None:
        """The same where p is contiguous: squares of registers are transposed; `registers` vectors for the lines."""
        e, lanes = self.e, self.lanes
        f = self.function(f"turned_{registers}", "ptr target, ptr source, i64 depth, i64 i_step, i64 lines, i64 pitch")
        last = f.lines - 1
        places = [f.at(f.source, f.least(f.constant("i64", i), last) * f.i_step) for i in range(registers * lanes)]
        whole = f.depth if self.s.masked else f.depth // lanes * lanes
        with f.loop(0, whole, lanes) as p:
            mask = self.mask(f, f.depth - p.index) if self.s.masked else None
            offset = p.index * e.memory_size
            squares = []
            for v in range(registers):
                rows = [self.load(f, f.at(x, offset), mask) for x in places[v * lanes : (v + 1) * lanes]]
                squares.append(self.transposed(f, rows))
            for q in range(lanes):  # in this order: what a store writes past its line is overwritten by the next
                for v in range(registers):
                    place = f.at(f.target, ((p.index + q) * f.pitch + v * lanes) * e.sum_size)
                    f.store(squares[v][q], place, align=e.sum_size)
        if not self.s.masked:
            step = f.constant("i64", e.memory_size)
            self.pack_elements(f, f.target, f.source, whole, f.depth, f.i_step, step, f.lines, f.pitch)
        self.finish(f)

    def pack_a(self) -> None:
        """A tile of A, element (i, p) at p * rows + i."""
        e, lanes, size = self.e, self.lanes, self.e.memory_size
        f = self.function("pack_a", "ptr target, ptr source, i64 rows, i64 depth, i64 a_row, i64 a_k, i64 odd")
        zero = f.constant("i64", 0)
        if e.complex:
            with f.loop(0, f.depth) as p:
                column = f.at(f.source, (p.index >> 1) * f.a_k * 2 + (p.index & 1) * size)
                with f.loop(0, f.rows) as i:
                    x = self.load_one(f, f.at(column, i.index * f.a_row))
                    f.store(x, f.at(f.target, (p.index * f.rows + i.index) * size), align=size)
            self.finish(f)
            return
        with f.either(f.a_k.eq(size)) as seam:
            registers = -(-self.s.rows // lanes)
            f.call("void", f"@turned_{registers}", f.target, f.source, f.depth, f.a_row, f.rows, f.rows)
            seam.otherwise()
            straight = f.a_row.eq(size) if self.s.masked else f.constant("i1", 0)
            with f.either(straight) as columns:
                masks = [self.mask(f, f.rows, v * lanes) for v in range(registers)]
                with f.loop(0, f.depth) as p:
                    for v in range(registers if self.s.masked else 0):
                        x = self.load(f, f.at(f.source, p.index * f.a_k + v * lanes * size), masks[v])
                        f.store(x, f.at(f.target, (p.index * f.rows + v * lanes) * e.sum_size), align=e.sum_size)
                columns.otherwise()
                self.pack_elements(f, f.target, f.source, zero, f.depth, f.a_row, f.a_k, f.rows, f.rows)
        self.finish(f)

    def pack_b(self) -> None:
        """A sliver of B, element (p, j) at p * width + j; columns past `cols` hold anything."""
        e, lanes, size = self.e, self.lanes, self.e.memory_size
        f = self.function(
            "pack_b",
            "ptr target, ptr source, i64 cols, i64 depth, i64 b_k, i64 b_col, i64 odd, {sum} alpha, "
            "{sum} alpha_imaginary",
        )
        zero, width = f.constant("i64", 0), f.constant("i64", self.width)
        if e.complex:
            self.pack_b_complex(f)
            self.finish(f)
            return
        with f.either(f.b_col.eq(size)) as seam:
            if self.s.masked:
                masks = [self.mask(f, f.cols, v * lanes) for v in range(self.s.vectors)]
                self._pack_lines(f, masks)
            else:
                with f.either(f.cols.eq(self.width)) as whole:
                    self._pack_lines(f, [None] * self.s.vectors)
                    whole.otherwise()
                    self.pack_elements(f, f.target, f.source, zero, f.depth, f.b_col, f.b_k, f.cols, width)
            seam.otherwise()
            with f.either(f.b_k.eq(size)) as turned:
                with f.loop(0, f.cols, lanes) as v:
                    f.call(
                        "void", "@turned_1", f.at(f.target, v.index * e.sum_size), f.at(f.source, f.b_col * v.index),
                        f.depth, f.b_col, f.least(f.cols - v.index, lanes), width,
                    )  # fmt: skip
                turned.otherwise()
                self.pack_elements(f, f.target, f.source, zero, f.depth, f.b_col, f.b_k, f.cols, width)
        self.finish(f)

    def _pack_lines(self, f: Function, masks: Sequence[Value | None]) -> None:
        with f.loop(0, f.depth) as p:
            for v, mask in enumerate(masks):
                x = self.load(f, f.at(f.source, p.index * f.b_k + v * self.lanes * self.e.memory_size), mask)
                place = f.at(f.target, (p.index * self.width + v * self.lanes) * self.e.sum_size)
                f.store(x, place, align=self.e.sum_size)

    def pack_b_complex(self, f: Function) -> None:
        """alpha * (x + iy) as the block (x, y), (-y, x); depth and cols count reals, b_k and b_col are half strides."""
        e, size = self.e, self.e.memory_size
        with f.loop(0, f.depth, 2) as p:
            row = f.at(f.source, p.index * f.b_k)
            with f.loop(0, f.cols, 2) as j:
                place = f.at(row, j.index * f.b_col)
                x, y = self.load_one(f, place), self.load_one(f, f.at(place, size))
                minus = f.value(e.sum, f"fneg {e.sum} {f.alpha_imaginary.name}")
                real = self.fused(f, minus, y, self.multiply(f, f.alpha, x))
                imaginary = self.fused(f, f.alpha_imaginary, x, self.multiply(f, f.alpha, y))
                target = f.at(f.target, (p.index * self.width + j.index) * size)
                f.store(real, target, align=size)
                f.store(imaginary, f.at(target, size), align=size)
                f.store(f.value(e.sum, f"fneg {e.sum} {imaginary.name}"), f.at(target, self.width * size), align=size)
                f.store(real, f.at(target, (self.width + 1) * size), align=size)

    # ------------------------------------------------------------------ the driver

    def tile(self, f: Function, record: Value, t: Value) -> tuple[Value, Value]:
        """First row and height of tile t: whole ones, then what is left in one or two of nearly equal height."""
        whole, left, m = (self.get(f, record, x) for x in ("m_whole", "m_left", "m"))
        half = self.s.rows // 2
        first = f.select(left > half, (left + 1) // 2, left)
        height = f.select(t < whole, f.constant("i64", self.s.rows), f.select(t.eq(whole), first, left - first))
        start = f.select(t <= whole, t * self.s.rows, m - height)
        return start, height

    def set_tiles(self, f: Function, record: Value, m: Value) -> Value:
        """How many tiles m rows are, as `tile` cuts them."""
        whole, left = m // self.s.rows, m % self.s.rows
        more = f.select(left > self.s.rows // 2, f.constant("i64", 2), 1)
        tiles = whole + f.select(left.eq(0), f.constant("i64", 0), more)
        self.set(f, record, m_tiles=tiles, m_whole=whole, m_left=left)
        return tiles

    def share(self, f: Function, block: Value, blocks: Value, tiles: Value) -> tuple[Value, Value]:
        return block * tiles // blocks, (block + 1) * tiles // blocks

    def a_pitch(self, f: Function, padded_k: Value) -> Value:
        """Bytes from packed tile to packed tile; with room for what the last store writes past its line."""
        return (padded_k * self.s.rows + self.lanes * -(-self.s.rows // self.lanes)) * self.e.sum_size

    def pack_task(self) -> None:
        """Packs sliver `block` of B, or, after those, a tile of A."""
        f = self.function("pack_task", "ptr record, i64 block")
        get = lambda name: self.get(f, f.record, name)  # noqa: E731
        slivers = f.select(get("b_packed").ne(0), get("n_tiles"), 0)
        depth, start = get("block_k"), get("block_from")
        with f.either(f.block < slivers) as seam:
            j = f.block * self.width
            target = f.at(get("b_pack"), j * get("padded_k") * self.e.sum_size)
            source = f.at(get("b"), j * get("b_col") + start * get("b_k"))
            f.call(
                "void", "@pack_b", target, source, f.least(get("n") - j, self.width), depth, get("b_k"), get("b_col"),
                get("odd"), get("alpha"), get("alpha_imaginary"),
            )  # fmt: skip
            seam.otherwise()
            t = f.block - slivers
            i, rows = self.tile(f, f.record, t)
            target = f.at(get("a_pack"), t * self.a_pitch(f, get("padded_k")))
            source = f.at(get("a"), i * get("a_row") + start * get("a_k"))
            f.call("void", "@pack_a", target, source, rows, depth, get("a_row"), get("a_k"), get("odd"))
        self.finish(f)

    def compute_task(self) -> None:
        """Block (i, j) of the tiles of C, for the part of k at hand, `step_k` of it at a time."""
        e = self.e
        f = self.function("compute_task", "ptr record, i64 block")
        r = {name: self.get(f, f.record, name) for name in FIELDS}
        half = self.s.rows // 2
        t0, t1 = self.share(f, f.block % r["m_blocks"], r["m_blocks"], r["m_tiles"])
        s0, s1 = self.share(f, f.block // r["m_blocks"], r["n_blocks"], r["n_tiles"])
        alpha = f.constant(e.sum, 1) if e.complex else r["alpha"]
        packed_b, packed_a = r["b_packed"].ne(0), r["a_form"].eq(0)
        by_row = r["a_form"].eq(2)
        a_pitch = self.a_pitch(f, r["padded_k"])
        b_step = f.select(packed_b, f.constant("i64", self.width * e.sum_size), r["b_k"])
        kernels = len(self.s.heights())
        once = f.select(r["block_k"] < 1, f.constant("i64", 1), r["block_k"])  # k = 0 still writes C
        steps = (once + (r["step_k"] - 1)) // r["step_k"]
        with f.loop(0, steps) as step:
            done = step.index * r["step_k"]
            depth = f.least(r["block_k"] - done, r["step_k"])
            first = r["is_first"].ne(0) & step.index.eq(0)
            last = r["is_last"].ne(0) & step.index.eq(steps - 1)
            beta = f.select(first, r["beta"], 1)
            if e.complex:  # C was multiplied by beta before, unless that is zero
                fresh = self.is_zero(f, r["beta"]) & self.is_zero(f, r["beta_imaginary"]) & first
                beta = f.select(fresh, f.constant(e.sum, 0), 1)
            bias = f.select(last, r["bias"], f.constant("ptr", 0))
            plain = bias.eq(0)
            start = r["block_from"] + done
            a_start, b_start = f.at(r["a"], start * r["a_k"]), f.at(r["b"], start * r["b_k"])
            b_pack = f.at(r["b_pack"], done * (self.width * e.sum_size))
            with f.loop(s0, s1) as s:
                with f.when(r["own"].ne(0)):
                    f.call("void", "@pack_task", f.record, s.index)
                j = s.index * self.width
                cols = f.least(r["n"] - j, self.width)
                b = f.select(packed_b, f.at(b_pack, j * r["padded_k"] * e.sum_size), f.at(b_start, j * r["b_col"]))
                c_line = f.at(r["c"], j * r["c_col"])
                bias_line = f.at(bias, j * r["bias_col"])
                vectors = (cols - 1) // self.lanes
                table = f.select(by_row, vectors + self.s.vectors, vectors) * kernels
                with f.loop(t0, t1) as t:
                    i, rows = self.tile(f, f.record, t.index)
                    packed = f.at(r["a_pack"], t.index * a_pitch + done * rows * e.sum_size)
                    a = f.select(packed_a, packed, f.at(a_start, i * r["a_row"]))
                    a_step = f.select(packed_a, rows * e.sum_size, f.select(by_row, r["a_row"], r["a_k"]))
                    which = table + f.select(rows.eq(self.s.rows), f.constant("i64", half), rows - 1)
                    kernel = f.load("ptr", f.at(Value(f, "@kernels", "ptr"), which * 8))
                    f.call(
                        "void", kernel.name, depth, a, a_step, b, b_step, f.at(c_line, i * r["c_row"]), r["c_row"],
                        r["c_col"], cols, alpha, beta, f.select(plain, bias, f.at(bias_line, i * r["bias_row"])),
                        r["bias_row"], r["bias_col"],
                    )  # fmt: skip
        self.finish(f)

    def lean(self, which: str) -> None:
        """A share of C's slivers (its tiles): that part of B (of A) is packed bit by bit, just before it is used."""
        e = self.e
        f = self.function(f"lean_{which}", "ptr record, i64 block")
        r = {name: self.get(f, f.record, name) for name in FIELDS}
        by_row, packed_a, packed_b = r["a_form"].eq(2), r["a_form"].eq(0), r["b_packed"].ne(0)
        a_pitch, kernels = self.a_pitch(f, r["padded_k"]), len(self.s.heights())
        lines = self.width if which == "b" else self.lanes * -(-self.s.rows // self.lanes)
        buffer = f.call("ptr", "@take", f.constant("i64", (LEAN_STEP + 1) * lines * e.sum_size))
        steps = (r["k"] + (LEAN_STEP - 1)) // LEAN_STEP
        tiles, slivers = (f.constant("i64", 0), r["m_tiles"]), (f.constant("i64", 0), r["n_tiles"])
        if which == "b":
            slivers = self.share(f, f.block, r["n_blocks"], r["n_tiles"])
        else:
            tiles = self.share(f, f.block, r["m_blocks"], r["m_tiles"])
        with f.loop(0, steps) as step:
            done = step.index * LEAN_STEP
            depth = f.least(r["k"] - done, LEAN_STEP)
            beta = f.select(step.index.eq(0), r["beta"], 1)
            last = step.index.eq(steps - 1)
            bias = f.select(last, r["bias"], f.constant("ptr", 0))
            a_start, b_start = f.at(r["a"], done * r["a_k"]), f.at(r["b"], done * r["b_k"])
            b_pack = f.at(r["b_pack"], done * (self.width * e.sum_size))

            def sliver(s: Value, b_start=b_start) -> tuple[Value, Value, Value]:
                j = s * self.width
                return j, f.least(r["n"] - j, self.width), f.at(b_start, j * r["b_col"])

            def compute(t: Value, s: Value, a: Value, a_step: Value, b: Value, b_step: Value, form: Value) -> None:
                i, rows = self.tile(f, f.record, t)
                j, cols, _ = sliver(s)
                vectors = (cols - 1) // self.lanes
                table = f.select(form, vectors + self.s.vectors, vectors) * kernels
                number = table + f.select(rows.eq(self.s.rows), f.constant("i64", self.s.rows // 2), rows - 1)
                kernel = f.load("ptr", f.at(Value(f, "@kernels", "ptr"), number * 8))
                added = f.at(bias, i * r["bias_row"] + j * r["bias_col"])
                f.call(
                    "void", kernel.name, depth, a, a_step, b, b_step, f.at(r["c"], i * r["c_row"] + j * r["c_col"]),
                    r["c_row"], r["c_col"], cols, r["alpha"], beta, f.select(bias.eq(0), bias, added), r["bias_row"],
                    r["bias_col"],
                )  # fmt: skip

            if which == "b":
                with f.loop(slivers[0], slivers[1]) as s:
                    _, cols, source = sliver(s.index)
                    f.call(
                        "void", "@pack_b", buffer, source, cols, depth, r["b_k"], r["b_col"], f.constant("i64", 0),
                        r["alpha"], r["alpha_imaginary"],
                    )  # fmt: skip
                    with f.loop(tiles[0], tiles[1]) as t:
                        i, rows = self.tile(f, f.record, t.index)
                        packed = f.at(r["a_pack"], t.index * a_pitch + done * rows * e.sum_size)
                        a = f.select(packed_a, packed, f.at(a_start, i * r["a_row"]))
                        a_step = f.select(packed_a, rows * e.sum_size, f.select(by_row, r["a_row"], r["a_k"]))
                        compute(t.index, s.index, a, a_step, buffer, f.constant("i64", self.width * e.sum_size), by_row)
            else:
                with f.loop(tiles[0], tiles[1]) as t:
                    i, rows = self.tile(f, f.record, t.index)
                    f.call(
                        "void", "@pack_a", buffer, f.at(a_start, i * r["a_row"]), rows, depth, r["a_row"], r["a_k"],
                        f.constant("i64", 0),
                    )  # fmt: skip
                    with f.loop(slivers[0], slivers[1]) as s:
                        j, _, in_place = sliver(s.index)
                        packed = f.at(b_pack, j * r["padded_k"] * e.sum_size)
                        b = f.select(packed_b, packed, in_place)
                        b_step = f.select(packed_b, f.constant("i64", self.width * e.sum_size), r["b_k"])
                        compute(t.index, s.index, buffer, rows * e.sum_size, b, b_step, f.constant("i1", 0))
        f.call("void", "@give", buffer)
        self.finish(f)

    def dot_task(self) -> None:
        """Strips of DOT_STRIP columns of C, all rows of each."""
        f = self.function("dot_task", "ptr record, i64 block")
        r = {name: self.get(f, f.record, name) for name in FIELDS}
        s0, s1 = self.share(f, f.block, r["n_blocks"], r["n_tiles"])
        plain = r["bias"].eq(0)
        with f.loop(s0, s1) as s:
            j = s.index * DOT_STRIP
            cols = f.least(r["n"] - j, DOT_STRIP)
            row = f.variable("i64", 0)
            for rows, _ in reversed(self.dots()):
                with f.loop(row.get(), r["m"] - (rows - 1), rows) as i:
                    f.call(
                        "void", f"@dot_{rows}", r["k"], f.at(r["a"], i.index * r["a_row"]), r["a_row"],
                        f.at(r["b"], j * r["b_col"]), r["b_col"],
                        f.at(r["c"], i.index * r["c_row"] + j * r["c_col"]), r["c_row"], r["c_col"], cols, r["alpha"],
                        r["beta"],
                        f.select(plain, r["bias"], f.at(r["bias"], i.index * r["bias_row"] + j * r["bias_col"])),
                        r["bias_row"], r["bias_col"],
                    )  # fmt: skip
                    row.set(i.index + rows)
        self.finish(f)

    def sweep(self) -> None:
        """A few rows of C, SWEEP_VECTORS vectors of columns: B in place is read along its rows, several at a time."""
        lanes, size = self.lanes, self.e.memory_size
        f = self.function("sweep", "ptr record, i64 block")
        r = {name: self.get(f, f.record, name) for name in FIELDS}
        pitch = SWEEP_VECTORS * lanes * size
        buffer = f.alloca(self.vector, SWEEP_ROWS * SWEEP_VECTORS)
        with f.loop(0, r["m"] * pitch, lanes * size) as place:
            f.store(f.constant(self.vector, 0), f.at(buffer, place.index))
        j = f.block * (SWEEP_VECTORS * lanes)
        cols = f.least(r["n"] - j, SWEEP_VECTORS * lanes)
        b = f.at(r["b"], j * size)
        whole = r["k"] // SWEEP_LINES * SWEEP_LINES
        for start, stop, lines in ((0, whole, SWEEP_LINES), (whole, r["k"], 1)):
            with f.loop(start, stop, lines) as p:
                source = f.at(b, p.index * r["b_k"])
                sources = [f.at(source, r["b_k"] * q) for q in range(lines)]
                with f.loop(0, r["m"]) as i:
                    left = f.at(r["a"], i.index * r["a_row"] + p.index * r["a_k"])
                    factors = [self.splat(f, self.load_one(f, f.at(left, r["a_k"] * q))) for q in range(lines)]
                    line = f.at(buffer, i.index * pitch)
                    with f.loop(0, cols, lanes) as v:
                        mask = self.mask(f, cols - v.index) if self.s.masked else None
                        place = f.at(line, v.index * size)
                        total = f.load(self.vector, place)
                        for factor, source in zip(factors, sources, strict=True):
                            total = self.fused(f, factor, self.load(f, f.at(source, v.index * size), mask), total)
                        f.store(total, place)
        bias = f.select(r["bias"].eq(0), r["bias"], f.at(r["bias"], j * r["bias_col"]))
        f.call(
            "void", "@merge", buffer, f.constant("i64", pitch), r["m"], cols, f.at(r["c"], j * r["c_col"]), r["c_row"],
            r["c_col"], r["alpha"], r["beta"], bias, r["bias_row"], r["bias_col"],
        )  # fmt: skip
        self.finish(f)

    def dots(self) -> list[tuple[int, int]]:
        """The (rows, columns) of C that one `dot` kernel sums at a time: at most as many as a vector has lanes."""
        return [(r, min(DOT_STRIP, self.lanes // r)) for r in (1, 2, 4) if self.lanes // r >= min(4, self.lanes)]

    def spread(self) -> None:
        """task(record, 0..count), on the thread pool unless the record says not to."""
        f = self.function("spread", "ptr task, ptr record, i64 count")
        alone = self.get(f, f.record, "serial").ne(0) | (f.count < 2)
        with f.either(alone) as seam:
            with f.loop(0, f.count) as i:
                f.call("void", f.task.name, f.record, i.index)
            seam.otherwise()
            self.declare("void @facula_parallel(ptr, ptr, i64)")
            f.call("void", "@facula_parallel", f.task, f.record, f.count)
        self.finish(f)

    def count_pairs(self, f: Function) -> None:
        """Where k is packed in pairs: count and step in pairs from here on."""

    def block(self) -> None:
        """A product whose m and n are at most OUTER: block by block of k, pack, then compute."""
        e, s = self.e, self.s
        f = self.function("block", "ptr record")
        get = lambda name: self.get(f, f.record, name)  # noqa: E731
        self.count_pairs(f)
        m, n, k = get("m"), get("n"), get("k")
        a_row, a_k, b_k, b_col = (get(x) for x in ("a_row", "a_k", "b_k", "b_col"))
        size = f.constant("i64", e.memory_size)
        no, yes = f.constant("i1", 0), f.constant("i1", 1)
        few = (m <= s.rows) & (k <= 1 << 16)
        # B in place: its rows are contiguous, and it is read once or is small.
        if e.converts or e.complex:
            b_packed = yes
        else:
            fits = yes if s.masked else (n % self.width).eq(0)
            once = (m <= s.rows) | (k * n <= SMALL // e.memory_size)
            b_packed = (b_col.eq(size) & fits & once).eq(0)
        # A in place: either dim is contiguous, and it is read once or is small.
        if e.converts:
            a_form = f.constant("i64", 0)
        else:
            once = (n <= 4 * self.width) | (m * k <= SMALL // e.memory_size)
            # Rows a multiple of a page apart fall into the same few places of the first-level cache.
            by_row = a_k.eq(size) & once & ((a_row & 4095).ne(0) | (m <= s.rows // 2))
            by_col = (a_row.eq(size) & once) if not e.complex else no
            by_col = by_col | (m.eq(1) if not e.complex else no)
            a_form = f.select(by_col, f.constant("i64", 1), f.select(by_row, f.constant("i64", 2), 0))
        m_tiles = self.set_tiles(f, f.record, m)
        n_tiles = (n + (self.width - 1)) // self.width
        # Few rows against a large B, or few columns against a large A: each task packs what it reads as it goes.
        lean_a = lean_b = no
        if not (e.converts or e.complex):
            lean_b = b_packed & (m <= LEAN_TILES * s.rows) & (k * n >= LEAN_FROM) & (n_tiles >= LEAN_TASKS)
            lean_a = (n <= LEAN_TILES * self.width) & (m * k >= LEAN_FROM) & (m_tiles > LEAN_TILES)
            lean_a = lean_a & lean_b.eq(0) & (a_form.eq(0) | (a_form.eq(2) & (k > s.depth)))
            b_packed = b_packed & lean_b.eq(0)
            a_form = f.select(lean_a, f.constant("i64", 3), a_form)
        lean = lean_a | lean_b
        a_packed = a_form.eq(0)
        # One part of k where sums are wider than C, or where C is written but once anyway.
        if e.converts:
            parts = f.constant("i64", 1)
        else:
            parts = f.select((b_packed | a_packed).eq(0) & few, f.constant("i64", 1), (k + (s.depth - 1)) // s.depth)
            parts = f.select(lean | (parts < 1), f.constant("i64", 1), parts)
        depth = ((k + (parts - 1)) // parts + 15) // 16 * 16
        # Tasks: about TASK_WORK each, A's part at most half of the second-level cache.
        # B in place is read line by line: few lines at a time, so that their pages and streams stay known.
        in_place = b_packed.eq(0) & (m <= s.rows) & (k * n > LINES_FROM // e.memory_size)
        step_k = f.select(in_place, f.constant("i64", LINES), depth)
        step_k = f.select(step_k < 1, f.constant("i64", 1), step_k)
        work = m * n * f.select(k < depth, k, depth)
        wanted = f.least(work // LEAST_WORK + 1, 16)
        wanted = f.least(f.select(work > 16 * TASK_WORK, work // TASK_WORK, wanted), m_tiles * n_tiles)
        tall = f.constant("i64", MC_TILES)
        m_blocks = f.least(m_tiles, (m_tiles + tall - 1) // tall)
        n_blocks = (wanted + m_blocks - 1) // m_blocks
        n_blocks = f.least(n_blocks, n_tiles)
        m_blocks = f.select(
            m_blocks * n_blocks < wanted, f.least((wanted + n_blocks - 1) // n_blocks, m_tiles), m_blocks
        )
        # Where only B is packed and there are slivers enough, each task packs its own: one wait for all less.
        own = (
            lean.eq(0)
            & a_packed.eq(0)
            & b_packed
            & parts.eq(1)
            & (n_tiles > 3)
            & (m * depth <= SLIVER_WORK // self.width)
        )
        m_blocks = f.select(own | lean_b, f.constant("i64", 1), m_blocks)
        n_blocks = f.select(own, n_tiles, f.select(lean_a, f.constant("i64", 1), n_blocks))
        n_blocks = f.select(lean_b, f.least(n_tiles, LEAN_TASKS), n_blocks)
        m_blocks = f.select(lean_a, f.least(m_tiles, LEAN_TASKS), m_blocks)
        step_k = f.select(lean, f.constant("i64", LEAN_STEP), step_k)
        self.set(
            f, f.record, a_form=a_form, b_packed=b_packed, padded_k=depth, step_k=step_k, own=own,
            n_tiles=n_tiles, m_blocks=m_blocks, n_blocks=n_blocks,
        )  # fmt: skip
        a_bytes = f.select(a_packed, m_tiles * self.a_pitch(f, depth), 0)
        b_bytes = f.select(b_packed, n_tiles * depth * (self.width * e.sum_size), 0)
        scratch = f.variable("ptr", 0)
        with f.when(a_packed | b_packed):
            memory = f.call("ptr", "@take", a_bytes + b_bytes + 256)
            scratch.set(memory)
            self.set(f, f.record, b_pack=memory, a_pack=f.at(memory, b_bytes))
        packs = f.select(a_packed, m_tiles, 0) + f.select(b_packed & own.eq(0), n_tiles, 0)
        elements = (f.select(a_packed, m, 0) + f.select(b_packed, n, 0)) * depth
        with f.loop(0, parts) as part:
            start = part.index * depth
            here = f.least(k - start, depth)
            here = f.select(here < 0, f.constant("i64", 0), here)
            self.set(
                f, f.record, block_from=start, block_k=here, is_first=part.index.eq(0), is_last=part.index.eq(parts - 1)
            )
            with f.either(elements < PACK_ALONE) as seam:
                with f.loop(0, packs) as pack:
                    f.call("void", "@pack_task", f.record, pack.index)
                seam.otherwise()
                f.call("void", "@spread", Value(f, "@pack_task", "ptr"), f.record, packs)
            task = Value(f, "@compute_task", "ptr")
            if not (e.converts or e.complex):
                task = f.select(lean_b, Value(f, "@lean_b", "ptr"), f.select(lean_a, Value(f, "@lean_a", "ptr"), task))
            f.call("void", "@spread", task, f.record, m_blocks * n_blocks)
        with f.when(scratch.get().ne(0)):
            f.call("void", "@give", scratch.get())
        self.finish(f)

    def product(self) -> None:
        """One item of the batch: turn C around if that makes its rows contiguous, then choose the way."""
        e = self.e
        f = self.function("product", "ptr record")
        get = lambda name: self.get(f, f.record, name)  # noqa: E731
        size = f.constant("i64", e.memory_size)

        def turn() -> None:
            pairs = (
                ("a", "b"),
                ("m", "n"),
                ("c_row", "c_col"),
                ("a_row", "b_col"),
                ("a_k", "b_k"),
                ("bias_row", "bias_col"),
            )
            for x, y in pairs:
                was_x, was_y = get(x), get(y)
                self.set(f, f.record, **{x: was_y, y: was_x})

        if not e.complex:
            m, n = get("m"), get("n")
            upright = get("c_col").ne(size) & get("c_row").eq(size) & (n > 1)
            with f.when((m > 1) & (upright | n.eq(1))):
                turn()
            along = get("a_k").eq(size) & get("b_k").eq(size)
            most = f.least(get("k") // DOT_K, DOT_ROWS)
            with f.when(along & (get("n") > 1) & (get("n") <= most) & (get("m") > most)):
                turn()
            if e.converts:
                f.call("void", "@direct", f.record)
            else:
                with f.either(self.wants_split(f)) as seam:
                    f.call("void", "@split", f.record)
                    seam.otherwise()
                    f.call("void", "@direct", f.record)
        else:
            f.call("void", "@direct", f.record)
        self.finish(f)

    def wants_split(self, f: Function) -> Value:
        """Whether a small C is better computed in parts of k: sums are long, or a large B is read along its rows."""
        get = lambda name: self.get(f, f.record, name)  # noqa: E731
        m, n, k, size = get("m"), get("n"), get("k"), self.e.memory_size
        long = (k >= 2 * SPLIT_K) & (m * 8 <= k) & (n * 8 <= k)
        swept = get("b_col").eq(size) & (m <= SWEEP_ROWS) & (k * n > LINES_FROM // size) & (k >= SWEEP_K * 2)
        swept = swept & (n > 1)
        return get("serial").eq(0) & (m * n <= SPLIT_MOST) & (long | swept)

    def split(self) -> None:
        """Parts of k into matrices of their own, which are then added in order."""
        e = self.e
        f = self.function("split", "ptr record")
        get = lambda name: self.get(f, f.record, name)  # noqa: E731
        m, n, k = get("m"), get("n"), get("k")
        least = f.select((m * n).eq(1), f.constant("i64", LEAST_WORK >> 2), LEAST_WORK)
        chunk = f.select(k >= 2 * SPLIT_K, f.constant("i64", SPLIT_K), SWEEP_K)
        parts = f.least(f.least(k // chunk, m * n * k // least + 1), SPLIT_PARTS)
        size = m * n * e.sum_size
        memory = f.call("ptr", "@take", size * parts + 64)
        self.set(f, f.record, a_pack=memory, tasks=parts)
        f.call("void", "@spread", Value(f, "@part_task", "ptr"), f.record, parts)
        with f.loop(1, parts) as part:
            source = f.at(memory, part.index * size)
            whole = m * n // self.lanes * self.lanes
            with f.loop(0, whole, self.lanes) as i:
                place = f.at(memory, i.index * e.sum_size)
                more = f.load(self.vector, f.at(source, i.index * e.sum_size), e.sum_size)
                f.store(self.plus(f, f.load(self.vector, place, e.sum_size), more), place, align=e.sum_size)
            with f.loop(whole, m * n) as i:
                place = f.at(memory, i.index * e.sum_size)
                more = f.load(e.sum, f.at(source, i.index * e.sum_size))
                f.store(self.plus(f, f.load(e.sum, place), more), place)
        f.call(
            "void", "@merge", memory, n * e.sum_size, m, n, get("c"), get("c_row"), get("c_col"), get("alpha"),
            get("beta"), get("bias"), get("bias_row"), get("bias_col"),
        )  # fmt: skip
        f.call("void", "@give", memory)
        self.finish(f)

    def part_task(self) -> None:
        """One part of k, on one thread."""
        e = self.e
        f = self.function("part_task", "ptr record, i64 block")
        get = lambda name: self.get(f, f.record, name)  # noqa: E731
        part = self.copy_record(f, f.record)
        k, n = get("k"), get("n")
        # Parts begin where vectors do that begin with the whole.
        shares = self.share(f, f.block, get("tasks"), (k + (SPLIT_GRAIN - 1)) // SPLIT_GRAIN)
        first, last = (f.least(x * SPLIT_GRAIN, k) for x in shares)
        self.set(
            f, part, a=f.at(get("a"), first * get("a_k")), b=f.at(get("b"), first * get("b_k")), k=last - first,
            c=f.at(get("a_pack"), f.block * get("m") * n * e.sum_size), c_row=n * e.sum_size,
            c_col=e.sum_size, bias=0, serial=1,
        )  # fmt: skip
        one, zero = (f.constant(e.sum, x) for x in (1, 0))
        self.set(f, part, alpha=one, beta=zero)
        f.call("void", "@direct", part)
        self.finish(f)

    def line(self) -> None:
        """The sum of products of two contiguous vectors: as many sums at a time as hide each other's latency."""
        e, lanes, size = self.e, self.lanes, self.e.memory_size
        f = self.function("line", "i64 k, ptr a, ptr b", e.sum)
        zero = f.constant(self.vector, 0)
        step = LINE_SUMS * lanes

        def read(pointer: Value, p: Value, offset: int = 0) -> Value:
            return self.load(f, f.at(f.at(pointer, p * size), offset * size))

        whole = f.k // step * step
        with f.loop(0, whole, step, [zero] * LINE_SUMS) as main:
            main.next = [
                self.fused(f, read(f.a, main.index, i * lanes), read(f.b, main.index, i * lanes), total)
                for i, total in enumerate(main.carried)
            ]
        sums = main.carried
        vectors = f.k // lanes * lanes
        with f.loop(whole, vectors, lanes, [sums[0]]) as rest:
            rest.next = [self.fused(f, read(f.a, rest.index), read(f.b, rest.index), rest.carried[0])]
        sums = [rest.carried[0], *sums[1:]]
        while len(sums) > 1:
            sums = [self.plus(f, x, y) for x, y in zip(sums[::2], sums[1::2], strict=True)]
        total, width = sums[0], lanes
        while width > 1:
            width //= 2
            low, high = range(width), range(width, 2 * width)
            total = self.plus(f, self.shuffle(f, total, total, low), self.shuffle(f, total, total, high))
        one = f.value(e.sum, f"extractelement {total.type} {total.name}, i64 0")
        with f.loop(vectors, f.k, 1, [one]) as tail:
            x, y = (self.load_one(f, f.at(p, tail.index * size)) for p in (f.a, f.b))
            tail.next = [self.fused(f, x, y, tail.carried[0])]
        self.finish(f, tail.carried[0])

    def direct(self) -> None:
        """A product as it lies: by dot products, by sweeping along B's rows, or block by block."""
        e = self.e
        f = self.function("direct", "ptr record")
        get = lambda name: self.get(f, f.record, name)  # noqa: E731
        size = f.constant("i64", e.memory_size)
        if not e.complex:
            along = get("a_k").eq(size) & get("b_k").eq(size)
            most = f.least(get("k") // DOT_K, DOT_ROWS)
            done = f.variable("i64", 0)
            if not e.converts:
                with f.when(along & get("m").eq(1) & get("n").eq(1)):
                    done.set(1)
                    total = f.alloca(e.sum)
                    f.store(f.call(e.sum, "@line", get("k"), get("a"), get("b")), total)
                    f.call(
                        "void", "@merge", total, f.constant("i64", e.sum_size), get("m"), get("n"), get("c"),
                        get("c_row"), get("c_col"), get("alpha"), get("beta"), get("bias"), get("bias_row"),
                        get("bias_col"),
                    )  # fmt: skip
            # One row against many columns of a short k is worth it too: the columns' ends are next to each other.
            short = get("m").eq(1) & (get("n") >= DOT_STRIP) & (get("k") > 2)
            with f.when(along & ((get("m") <= most) | short) & done.get().eq(0)):
                done.set(1)
                m, n, k = get("m"), get("n"), get("k")
                strips = (n + (DOT_STRIP - 1)) // DOT_STRIP
                blocks = f.least(strips, m * n * k // LEAST_WORK + 1)
                self.set(f, f.record, n_tiles=strips, n_blocks=blocks)
                f.call("void", "@spread", Value(f, "@dot_task", "ptr"), f.record, blocks)
            if not e.converts:
                m, n, k = get("m"), get("n"), get("k")
                long = get("b_col").eq(size) & (n > 1) & (m <= SWEEP_ROWS) & (k * n > LINES_FROM // e.memory_size)
                if not self.s.masked:
                    long = long & (n % self.lanes).eq(0)
                with f.when(long & done.get().eq(0)):
                    done.set(1)
                    strips = (n + (SWEEP_VECTORS * self.lanes - 1)) // (SWEEP_VECTORS * self.lanes)
                    f.call("void", "@spread", Value(f, "@sweep", "ptr"), f.record, strips)
            proceed = done.get().eq(0)
        else:
            proceed = f.constant("i1", 1)
        with f.when(proceed):
            with f.when(get("n").eq(1)):  # strides along a dim of size 1 mean nothing
                self.set(f, f.record, b_col=size, c_col=size)
            m, n = get("m"), get("n")
            with f.loop(0, n, OUTER) as j:
                with f.loop(0, m, OUTER) as i:
                    part = self.copy_record(f, f.record)
                    plain = get("bias").eq(0)
                    bias = f.at(get("bias"), i.index * get("bias_row") + j.index * get("bias_col"))
                    self.set(
                        f, part, m=f.least(m - i.index, OUTER), n=f.least(n - j.index, OUTER),
                        a=f.at(get("a"), i.index * get("a_row")), b=f.at(get("b"), j.index * get("b_col")),
                        c=f.at(get("c"), i.index * get("c_row") + j.index * get("c_col")),
                        bias=f.select(plain, get("bias"), bias),
                    )  # fmt: skip
                    f.call("void", "@block", part)
        self.finish(f)

    def moved(self, f: Function, record: Value, i: Value) -> dict[str, Value]:
        """Where item i of the batch is."""
        get = lambda name: self.get(f, record, name)  # noqa: E731
        which, inner = f.variable("i64", 0), f.variable("i64", i)
        with f.when(get("outer") > 1):
            which.set(i // get("batch"))
            inner.set(i % get("batch"))
        places = {
            x: f.at(get(x), inner.get() * get(f"{x}_batch") + which.get() * get(f"{x}_outer"))
            for x in ("a", "b", "c", "bias")
        }
        places["bias"] = f.select(get("bias").eq(0), get("bias"), places["bias"])
        return places

    def tiny_task(self) -> None:
        """A group of items of few tiles each, in place: nothing to decide, nothing to pack."""
        e, s = self.e, self.s
        f = self.function("tiny_task", "ptr record, i64 block")
        r = {name: self.get(f, f.record, name) for name in FIELDS}
        first, last = self.share(f, f.block, r["tasks"], r["batch"] * r["outer"])
        by_row = r["a_k"].eq(e.memory_size)
        a_step = f.select(by_row, r["a_row"], r["a_k"])
        kernels = len(s.heights())
        plain = r["bias"].eq(0)
        with f.loop(first, last) as item:
            place = self.moved(f, f.record, item.index)
            with f.loop(0, r["n"], self.width) as j:
                cols = f.least(r["n"] - j.index, self.width)
                vectors = (cols - 1) // self.lanes
                table = f.select(by_row, vectors + s.vectors, vectors) * kernels
                b = f.at(place["b"], j.index * e.memory_size)
                c = f.at(place["c"], j.index * e.memory_size)
                bias = f.at(place["bias"], j.index * r["bias_col"])
                with f.loop(0, r["m_tiles"]) as t:
                    i, rows = self.tile(f, f.record, t.index)
                    which = table + f.select(rows.eq(s.rows), f.constant("i64", s.rows // 2), rows - 1)
                    kernel = f.load("ptr", f.at(Value(f, "@kernels", "ptr"), which * 8))
                    f.call(
                        "void", kernel.name, r["k"], f.at(place["a"], i * r["a_row"]), a_step, b, r["b_k"],
                        f.at(c, i * r["c_row"]), r["c_row"], r["c_col"], cols, r["alpha"], r["beta"],
                        f.select(plain, r["bias"], f.at(bias, i * r["bias_row"])), r["bias_row"], r["bias_col"],
                    )  # fmt: skip
        self.finish(f)

    def item_task(self) -> None:
        """A group of items of the batch."""
        f = self.function("item_task", "ptr record, i64 block")
        get = lambda name: self.get(f, f.record, name)  # noqa: E731
        first, last = self.share(f, f.block, get("tasks"), get("batch") * get("outer"))
        with f.loop(first, last) as i:
            item = self.copy_record(f, f.record)
            self.set(f, item, **self.moved(f, f.record, i.index))
            if self.e.complex:
                f.call("void", "@scale", item)
            f.call("void", "@product", item)
        self.finish(f)

    def scale(self) -> None:
        """C = beta * C for complex numbers, where beta is neither zero nor one."""
        e, size = self.e, self.e.memory_size
        f = self.function("scale", "ptr record")
        get = lambda name: self.get(f, f.record, name)  # noqa: E731
        x, y = get("beta"), get("beta_imaginary")
        still = self.is_zero(f, y)
        one = f.value("i1", f"fcmp oeq {e.sum} {x.name}, {literal(1, e.sum)}")
        with f.when((still & (self.is_zero(f, x) | one)).eq(0)):
            minus = f.value(e.sum, f"fneg {e.sum} {y.name}")
            with f.loop(0, get("m")) as i:
                line = f.at(get("c"), i.index * get("c_row"))
                with f.loop(0, get("n"), 2) as j:
                    place = f.at(line, j.index * get("c_col"))
                    p, q = f.load(e.sum, place, size), f.load(e.sum, f.at(place, size), size)
                    f.store(self.fused(f, minus, q, self.multiply(f, x, p)), place, align=size)
                    f.store(self.fused(f, y, p, self.multiply(f, x, q)), f.at(place, size), align=size)
        self.finish(f)

    def run(self) -> None:
        """The whole batch."""
        f = self.function("run", "ptr record")
        get = lambda name: self.get(f, f.record, name)  # noqa: E731
        # Items that follow each other with the same B are one taller item.
        joint = get("b_batch").eq(0) & get("bias_row").eq(0) & get("bias_batch").eq(0)
        joint = joint & get("a_batch").eq(get("m") * get("a_row")) & get("c_batch").eq(get("m") * get("c_row"))
        with f.when(joint):
            self.set(f, f.record, m=get("m") * get("batch"), batch=1)
        m, n, k = (get(x) for x in ("m", "n", "k"))
        batch = get("batch") * get("outer")
        item = m * n * k
        with f.when((m > 0) & (n > 0) & (batch > 0)):
            line = (m * n).eq(1) & (k >= LINE_FROM)
            small = (item * batch < PARALLEL_FROM) & line.eq(0)
            large = item >= 32 * LEAST_WORK
            task = f.variable("ptr", Value(f, "@item_task", "ptr"))
            if not (self.e.converts or self.e.complex):
                size = self.e.memory_size
                a_row = get("a_row")
                tiny = (m <= TINY) & (n <= TINY) & (k <= TINY) & get("c_col").eq(size) & get("b_col").eq(size)
                by_row = get("a_k").eq(size) & ((a_row & 4095).ne(0) | (m <= self.s.rows // 2))
                tiny = tiny & (by_row | a_row.eq(size))
                if not self.s.masked:
                    tiny = tiny & (n % self.width).eq(0)
                self.set_tiles(f, f.record, m)
                task.set(f.select(tiny, Value(f, "@tiny_task", "ptr"), task.get()))
            # Large items one after the other, each on all threads; small ones in groups, each group on one.
            with f.either((batch < 2) | large) as seam:
                self.set(f, f.record, serial=small, tasks=batch)
                with f.loop(0, batch) as i:
                    f.call("void", task.get().name, f.record, i.index)
                seam.otherwise()
                tasks = f.least(item * batch // (2 * LEAST_WORK) + 1, batch)
                self.set(f, f.record, tasks=f.select(small, f.constant("i64", 1), tasks), serial=1)
                with f.either(small) as alone:
                    f.call("void", task.get().name, f.record, f.constant("i64", 0))
                    alone.otherwise()
                    self.declare("void @facula_parallel(ptr, ptr, i64)")
                    f.call("void", "@facula_parallel", task.get(), f.record, get("tasks"))
        self.finish(f)

    def memory(self) -> None:
        """take(bytes) and give(pointer): aligned buffers that are kept in a few slots between calls, for any thread."""
        self.declare("ptr @malloc(i64)")
        self.declare("void @free(ptr)")
        f = self.function("take", "i64 bytes", "ptr")
        found = f.variable("ptr", 0)
        with f.loop(0, f.constant("i64", SLOTS)) as i:
            with f.when(found.get().eq(0)):
                slot = f.at(Value(f, "@slots", "ptr"), i.index * 8)
                with f.when(f.load("ptr", slot).ne(0)):
                    held = f.value("ptr", f"atomicrmw xchg ptr {slot.name}, ptr null acq_rel")
                    with f.when(held.ne(0)):
                        with f.either(f.load("i64", f.at(held, -16)) >= f.bytes) as seam:
                            found.set(held)
                            seam.otherwise()
                            f.call("void", "@free", f.load("ptr", f.at(held, -8)))
        with f.when(found.get().eq(0)):
            raw = f.call("ptr", "@malloc", f.bytes + 128)
            self.declare("void @abort()")
            with f.when(raw.eq(0)):  # no memory for the packed copies
                f.call("void", "@abort")
            with f.when(raw.ne(0)):
                number = f.value("i64", f"ptrtoint ptr {raw.name} to i64")
                aligned = f.at(raw, ((number + 127) & -64) - number)
                f.store(f.bytes, f.at(aligned, -16))
                f.store(raw, f.at(aligned, -8))
                found.set(aligned)
        self.finish(f, found.get())
        f = self.function("give", "ptr memory")
        raw = f.load("ptr", f.at(f.memory, -8))
        left = f.variable("ptr", f.memory)
        with f.when(f.load("i64", f.at(f.memory, -16)) <= KEPT):
            with f.loop(0, f.constant("i64", SLOTS)) as i:
                with f.when(left.get().ne(0)):
                    slot = f.at(Value(f, "@slots", "ptr"), i.index * 8)
                    pair = f.value(
                        "{ ptr, i1 }", f"cmpxchg ptr {slot.name}, ptr null, ptr {f.memory.name} acq_rel monotonic"
                    )
                    kept = f.value("i1", f"extractvalue {{ ptr, i1 }} {pair.name}, 1")
                    left.set(f.select(kept, f.constant("ptr", 0), left.get()))
        with f.when(left.get().ne(0)):
            f.call("void", "@free", raw)
        self.finish(f)

    def entry(self) -> None:
        """The function to call: parameters as `parameters` lists them, strides in elements."""
        e = self.e
        kinds = {"ptr": "ptr", "i64": "i64", "f64": "double", "f32": "float"}
        listed = parameters(e.code)
        f = self.function("matmul", ", ".join(f"{kinds[kind]} {name}" for name, kind in listed), linkage="", extra="")
        record = f.alloca("i64", len(FIELDS))
        pair = 2 if e.complex else 1
        for name, _ in listed:
            x = getattr(f, name)
            # Complex: n and k count reals, and so strides along n and k are halves.
            if name in STRIDES:
                x = x * (e.memory_size * (1 if name.endswith(("_col", "_k")) else pair))
            elif name in ("n", "k"):
                x = x * pair
            elif name in SCALARS and e.sum == "i32":
                x = f.value("i32", f"trunc i64 {x.name} to i32")
            self.set(f, record, **{name: x})
        if not e.complex:
            self.set(f, record, alpha_imaginary=f.constant(e.sum, 0), beta_imaginary=f.constant(e.sum, 0))
        self.set(f, record, **{name: int(name == "outer") for name in OUTER_ARGUMENTS})
        f.call("void", "@run", record)
        self.finish(f)

    def bound(self) -> None:
        """The function to call with a record from `template`; the last argument says how much work that is."""
        f = self.function("bound", "ptr c, ptr a, ptr b, ptr bias, ptr template, i64 work", linkage="", extra="")
        record = self.copy_record(f, f.template)
        self.set(f, record, c=f.c, a=f.a, b=f.b, bias=f.bias)
        f.call("void", "@run", record)
        self.finish(f)

    def text(self) -> str:
        """The whole module."""
        s, e = self.s, self.e
        names = []
        for form in ("column", "row"):
            for vectors in range(1, s.vectors + 1):
                for rows in s.heights():
                    if form == "column" or not e.converts:
                        self.micro(rows, vectors, form)
                        names.append(f"ptr @micro_{form}_{rows}_{vectors}")
                    else:  # never read in place
                        names.append("ptr null")
        self.merge()
        if not e.complex:
            for registers in {1, -(-s.rows // self.lanes)}:
                self.turned(registers)
            for rows, cols in self.dots():
                self.dot(rows, cols)
            self.dot_task()
            if not e.converts:
                self.sweep()
                self.line()
                self.split()
                self.part_task()
                self.tiny_task()
                self.lean("a")
                self.lean("b")
        else:
            self.scale()
        for part in (
            self.pack_a, self.pack_b, self.pack_task, self.compute_task, self.spread, self.block, self.direct,
            self.product, self.item_task, self.run, self.memory, self.entry, self.bound,
        ):  # fmt: skip
            part()
        globals_ = [
            f"@kernels = internal constant [{len(names)} x ptr] [{', '.join(names)}]",
            f"@zeros = internal constant [{self.width * e.memory_size} x i8] zeroinitializer, align 64",
            f"@slots = internal global [{SLOTS} x ptr] zeroinitializer, align 64",
        ]
        return "\n".join([*globals_, *sorted(self.intrinsics), *self.functions]) + "\n"


def parameters(code: str) -> list[tuple[str, str]]:
    """Names and kinds (as `builtins.KINDS` has them) of what the entry takes; complex scalars are two numbers."""
    e = ELEMENTS[code]
    scalar = {"float": "f32", "double": "f64"}.get(e.sum, "i64")
    listed = []
    for name in ARGUMENTS:
        listed.append((name, "ptr" if name in POINTERS else scalar if name in SCALARS else "i64"))
        if e.complex and name in SCALARS:
            listed.append((f"{name}_imaginary", scalar))
    return listed


def template(code: str, fields: dict[str, int | float | complex]) -> bytes:
    """The record that `@run` works on, from sizes, strides in elements, alpha and beta; addresses are zero."""
    e = ELEMENTS[code]
    record = bytearray(8 * len(FIELDS))
    scalar = {"float": "f", "double": "d"}.get(e.sum, "q")
    values = {"outer": 1, **fields}
    for name in SCALARS & values.keys():
        x = values.pop(name)
        if e.complex:
            x, imaginary = complex(x).real, complex(x).imag
            pack_into(scalar, record, 8 * FIELDS.index(f"{name}_imaginary"), imaginary)
        if not e.real:
            x = (int(x) + (1 << 63)) % (1 << 64) - (1 << 63)
        pack_into(scalar, record, 8 * FIELDS.index(name), x)
    for name, x in values.items():
        if name in STRIDES:
            x = x * e.memory_size * (1 if not e.complex or name.endswith(("_col", "_k")) else 2)
        elif e.complex and name in ("n", "k"):
            x = 2 * x
        pack_into("q", record, 8 * FIELDS.index(name), x)
    return bytes(record)


def module_text(code: str, shape: Shape) -> str:
    """The LLVM text of the product of two matrices of the element type `code`; its entry is `@matmul`."""
    from .matmul_pairs import PairWriter

    writer = PairWriter if shape.pairs and code == "bf16" else Writer
    return writer(ELEMENTS[code], shape).text()
