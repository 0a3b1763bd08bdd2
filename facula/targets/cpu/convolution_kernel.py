"""The LLVM text of convolutions as implicit matrix products; knows neither Python nor the cache.

    out[b, g, o, q] = bias[g, o] + sum over c and taps t of w[g, o, c, t] * x[b, g, c, q * stride + offset[t]]

where q goes over a grid of up to three dims and x is zero outside. Columns of the product are pixels (b, q), a *sliver*
of some vectors at a time; rows of the patches are k = (c, t). The patches of a sliver are copied ("packed") from x when
they are needed, so that the micro-kernel reads [k][pixel] from the cache; w is packed once as tiles [k][rows].

The gradient of w is the same product summed over the pixels: there the packed patches are what is broadcast, and the
gradient of `out`, turned to [pixel][o], are the vectors. Pixels are cut in parts whose number depends on the shapes;
their sums are added in order, so the bits do not depend on the number of threads.
"""

from collections.abc import Sequence

from facula.native.text import Function, Value, mangled

from . import matmul_kernel
from .matmul_kernel import ELEMENTS, Element, Shape

__all__ = ["GEOMETRY", "TAP", "module_text"]

# What Python passes as int64; strides in elements.
GEOMETRY = (
    "batch", "groups", "own", "channels", "taps",  # outputs and channels of one group
    "o0", "o1", "o2", "d0", "d1", "d2", "s0", "s1", "s2",  # grid of windows, sizes of x, strides of windows
    "x_batch", "x_channel", "x0", "x1", "x2", "y_batch", "y_channel", "y0", "y1", "y2",
    "w_group", "w_own", "w_channel",
)  # fmt: skip
TAP = ("off0", "off1", "off2", "place", "weight")  # of each tap: its offsets, the elements they make in x, and in w
STRIDES = {name for name in GEOMETRY if name[:2] in ("x_", "y_", "w_")} | {"x0", "x1", "x2", "y0", "y1", "y2"}
POINTERS = ("y", "x", "w", "bias", "table", "packed", "kernel", "sums")
FIELDS = (
    *POINTERS, *GEOMETRY, "pixels", "total", "slivers", "k", "height", "tiles", "block", "blocks", "joined", "together",
    "own_parts", "steps", "span", "k_padded", "o_slivers", "parts", "tile_bytes", "serial", "step",
    "pitch", "copied", "cells", "low0", "low1", "low2", "wide", "pieces", "chunks", "slivers_each",
)  # fmt: skip
SEGMENT = ("first", "last", "place", "i0", "i1", "i2", "target")  # lanes of a row of windows, where they are
SEGMENT_BYTES = 64

CELLS = 4  # vectors of windows that are summed at a time, at most
DEPTH = 384
LARGE = 1 << 17  # elements of packed weights from which several slivers are multiplied while a tile is in the cache
TASK = 1 << 22  # multiplications of a task
AHEAD = 1 << 23  # bytes of patches that are packed once for all parts of the outputs
CHUNK = 1 << 16  # elements of patches that the gradient of w reads while they stay in the second-level cache
PARTIAL = 1 << 22  # elements of partial gradients of w at most
PARALLEL_FROM = 1 << 18  # multiplications from which threads pay
NEAR_AHEAD = 4  # channels of weights that are fetched before they are packed
ENTRY, EXTRA = 32, 40  # bytes of what `prepare` notes


class Writer(matmul_kernel.Writer):
    """Writes the functions for one element type and machine."""

    def __init__(self, element: Element, shape: Shape):
        super().__init__(element, shape)
        self.bytes = self.width * element.sum_size  # of a line of a sliver
        self.index_vector = f"<{self.lanes} x i32>"
        self.bits = f"<{self.lanes} x i1>"

    # ------------------------------------------------------------------ helpers

    def get(self, f: Function, record: Value, name: str) -> Value:
        return f.load("ptr" if name in POINTERS else "i64", f.at(record, 8 * FIELDS.index(name)))

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

    def heights(self) -> list[int]:
        rows = self.s.rows
        return [n for n in (1, 2, 3, 4, 6, 8, 10, 12, 13, 14) if n <= rows]

    def cells(self, rows: int) -> int:
        """Vectors of windows that are summed at a time for so many outputs: they, sums and a splat are registers."""
        registers = (self.s.rows + 1) * self.s.vectors + 2
        return min(CELLS, (registers - 1) // (rows + 1))

    def cells_of(self, f: Function, rows: Value) -> Value:
        return f.least(f.constant("i64", (self.s.rows + 1) * self.s.vectors + 1) // (rows + 1), CELLS)

    def up(self, f: Function, a: Value, b: Value | int) -> Value:
        """a / b, rounded up."""
        return (a + (b - 1 if isinstance(b, int) else b - 1)) // b

    def most(self, f: Function, a: Value, b: Value | int) -> Value:
        return f.select(a > b, a, b)

    def below(self, f: Function, a: Value, b: Value) -> Value:
        """0 <= a < b."""
        return f.value("i1", f"icmp ult {a.type} {a.name}, {b.name}")

    def splat32(self, f: Function, x: Value) -> Value:
        return self.splat(f, f.value("i32", f"trunc i64 {x.name} to i32"))

    def iota(self, f: Function, step: int = 1) -> Value:
        return Value(f, "<" + ", ".join(f"i32 {step * i}" for i in range(self.lanes)) + ">", self.index_vector)

    def tap(self, f: Function, table: Value, t: Value, name: str) -> Value:
        return f.load("i64", f.at(table, t * (8 * len(TAP)) + 8 * TAP.index(name)))

    def masked(self, f: Function, pointer: Value, mask: Value, other: Value) -> Value:
        """A vector of memory's type, lanes outside `mask` from `other`."""
        type = self.memory_vector
        name = f"@llvm.masked.load.v{self.lanes}{mangled(self.e.memory)}.p0"
        self.declare(f"{type} {name}(ptr, i32, {self.bits}, {type})")
        given = f"ptr {pointer.name}, i32 {self.e.memory_size}, {mask.type} {mask.name}, {type} {other.name}"
        return f.value(type, f"call {type} {name}({given})")

    def gathered(self, f: Function, pointer: Value, step: Value, mask: Value, other: Value) -> Value:
        """The same at multiples of `step` bytes."""
        type, lanes = self.memory_vector, self.lanes
        wide = f.value(f"<{lanes} x i64>", f"sext {step.type} {step.name} to <{lanes} x i64>")
        places = f.value(f"<{lanes} x ptr>", f"getelementptr i8, ptr {pointer.name}, {wide.type} {wide.name}")
        name = f"@llvm.masked.gather.v{lanes}{mangled(self.e.memory)}.v{lanes}p0"
        self.declare(f"{type} {name}(<{lanes} x ptr>, i32, {self.bits}, {type})")
        given = f"{places.type} {places.name}, i32 {self.e.memory_size}, {mask.type} {mask.name}, {type} {other.name}"
        return f.value(type, f"call {type} {name}({given})")

    def put(self, f: Function, x: Value, pointer: Value, mask: Value) -> None:
        """Lanes of sums' type to packed memory."""
        name = f"@llvm.masked.store.v{self.lanes}{mangled(self.e.sum)}.p0"
        self.declare(f"void {name}({x.type}, ptr, i32, {self.bits})")
        given = f"{x.type} {x.name}, ptr {pointer.name}, i32 {self.e.sum_size}, {mask.type} {mask.name}"
        f.emit(f"call void {name}({given})")

    def even_lanes(self, f: Function, mask: Value, half: int) -> Value:
        """The mask of memory's elements 2 i, of which lane i is wanted, for one half of the lanes."""
        lanes = self.lanes
        order = ", ".join(f"i32 {half * lanes // 2 + i // 2}" for i in range(lanes))
        twice = f.value(
            self.bits, f"shufflevector {mask.type} {mask.name}, {mask.type} poison, <{lanes} x i32> <{order}>"
        )
        evens = "<" + ", ".join(f"i1 {1 - i % 2}" for i in range(lanes)) + ">"
        return f.value(self.bits, f"and {self.bits} {twice.name}, {evens}")

    # ------------------------------------------------------------------ windows

    def reaches(self, f: Function, record: Value) -> tuple[list[Value], list[Value]]:
        """The least offsets of taps, and how much larger the largest are."""
        taps, table = self.get(f, record, "taps"), self.get(f, record, "table")
        low = [f.variable("i64", 1 << 40) for _ in range(3)]
        high = [f.variable("i64", -(1 << 40)) for _ in range(3)]
        with f.loop(0, taps) as t:
            for i in range(3):
                x = self.tap(f, table, t.index, f"off{i}")
                low[i].set(f.least(x, low[i].get()))
                high[i].set(self.most(f, x, high[i].get()))
        empty, zero = taps.eq(0), f.constant("i64", 0)
        lows = [f.select(empty, zero, x.get()) for x in low]
        return lows, [f.select(empty, zero, h.get() - x.get()) for x, h in zip(low, high)]

    def segments(self) -> None:
        """Rows of windows that the `count` pixels from `first_pixel` on belong to; how many there are."""
        f = self.function("segments", "ptr record, i64 first_pixel, i64 count, ptr into", "i64")
        get = lambda name: self.get(f, f.record, name)  # noqa: E731
        pixels, o1, o2 = get("pixels"), get("o1"), get("o2")
        b = f.first_pixel // pixels
        inside = f.first_pixel - b * pixels
        row = inside // o2
        plane = row // o1
        now = {
            "b": f.variable("i64", b), "q0": f.variable("i64", plane), "q1": f.variable("i64", row - plane * o1),
            "q2": f.variable("i64", inside - row * o2), "lane": f.variable("i64", 0), "n": f.variable("i64", 0),
        }  # fmt: skip
        with f.loop(0, f.constant("i64", self.width)) as turn:
            lane = now["lane"].get()
            with f.when(lane < f.count):
                b, q0, q1, q2 = (now[x].get() for x in ("b", "q0", "q1", "q2"))
                last = f.least(f.count, lane + (o2 - q2))
                i0, i1, i2 = q0 * get("s0"), q1 * get("s1"), q2 * get("s2")
                place = b * get("x_batch") + i0 * get("x0") + i1 * get("x1") + i2 * get("x2")
                target = b * get("y_batch") + q0 * get("y0") + q1 * get("y1") + q2 * get("y2")
                into = f.at(f.into, turn.index * SEGMENT_BYTES)
                for i, x in enumerate((lane, last, place, i0, i1, i2, target)):
                    f.store(x, f.at(into, 8 * i))
                now["n"].set(turn.index + 1)
                now["lane"].set(last)
                now["q2"].set(0)
                carry1 = (q1 + 1).eq(o1)
                now["q1"].set(f.select(carry1, f.constant("i64", 0), q1 + 1))
                q0 = f.select(carry1, q0 + 1, q0)
                carry0 = q0.eq(get("o0"))
                now["q0"].set(f.select(carry0, f.constant("i64", 0), q0))
                now["b"].set(f.select(carry0, b + 1, b))
        self.finish(f, now["n"].get())

    def prepare(self) -> None:
        """What fills the vectors of a sliver, the same for every channel: a list of masked loads.

        First one entry (offset in x, mask, its halves doubled for `pair`) for each vector of each tap; then, where rows
        of windows share a vector, the others, with the place that they go to. The first word counts these.
        """
        e, lanes = self.e, self.lanes
        f = self.function("prepare", "ptr record, ptr program, ptr rows, i64 n")
        get = lambda name: self.get(f, f.record, name)  # noqa: E731
        taps, table, s2 = get("taps"), get("table"), get("s2")
        size0, size1 = get("d0"), get("d1")
        along = s2 * get("x2")
        iota = self.iota(f)
        columns = self.value_mul(f, iota, self.splat32(f, s2))
        limit = self.splat32(f, get("d2"))
        none = f.constant(self.bits, 0)
        pair = along.eq(2 * e.memory_size)
        entry = f.variable("ptr", f.at(f.program, 64))
        extra = f.variable("ptr", f.at(f.program, taps * (self.s.vectors * ENTRY) + 64))
        extras = f.variable("i64", 0)

        def note(at: Value, offset: Value | int, mask: Value) -> None:
            f.store(offset, at, "i64")
            f.store(mask, f.at(at, 8))
            with f.when(pair):
                f.store(self.even_lanes(f, mask, 0), f.at(at, 16))
                f.store(self.even_lanes(f, mask, 1), f.at(at, 24))

        with f.loop(0, taps) as tap:
            off0, off1, off2 = (self.tap(f, table, tap.index, n) for n in TAP[:3])
            moved = self.tap(f, table, tap.index, "place") * e.memory_size
            for v in range(self.s.vectors):
                first_one = f.variable("i64", 1)
                with f.loop(0, f.n) as row:
                    r = f.at(f.rows, row.index * SEGMENT_BYTES)
                    first, last, place, i0, i1, i2 = (f.load("i64", f.at(r, 8 * i)) for i in range(6))
                    first, last = first - v * lanes, last - v * lanes
                    here = (first < lanes) & (last > 0)
                    here = here & self.below(f, i0 + off0, size0) & self.below(f, i1 + off1, size1)
                    with f.when(here):
                        at = i2 + off2 - first * s2  # lane 0's
                        column = self.value_add(f, columns, self.splat32(f, at))
                        inside = f.value(self.bits, f"icmp ult {column.type} {column.name}, {limit.name}")
                        low = f.value(self.bits, f"icmp sge {iota.type} {iota.name}, {self.splat32(f, first).name}")
                        high = f.value(self.bits, f"icmp slt {iota.type} {iota.name}, {self.splat32(f, last).name}")
                        mask = inside & low & high
                        offset = moved + place - first * along
                        with f.either(first_one.get().ne(0)) as seam:
                            note(entry.get(), offset, mask)
                            first_one.set(0)
                            seam.otherwise()
                            note(extra.get(), offset, mask)
                            line = (tap.index * self.width + v * lanes) * e.sum_size
                            f.store(line, f.at(extra.get(), 32))
                            extra.set(f.at(extra.get(), EXTRA))
                            extras.set(extras.get() + 1)
                with f.when(first_one.get().ne(0)):
                    note(entry.get(), 0, none)
                entry.set(f.at(entry.get(), ENTRY))
        f.store(extras.get(), f.program)
        self.finish(f)

    def program_bytes(self, f: Function, taps: Value) -> Value:
        """Room for what `prepare` writes: at most one row of windows begins in each lane."""
        return taps * (self.s.vectors * ENTRY + self.width * EXTRA) + 64

    def pack(self, way: str) -> None:
        """Patches of a sliver: target[(c * taps + t) * width + lane] from `source`, the planes of `channels` channels.

        `way` says how windows follow each other in memory: "unit" at each element, "pair" at each second one, "gather".
        """
        e, lanes = self.e, self.lanes
        f = self.function(f"pack_{way}", "ptr record, ptr program, ptr target, ptr source, i64 channels")
        get = lambda name: self.get(f, f.record, name)  # noqa: E731
        taps, step = get("taps"), get("x_channel")
        jumps = self.value_mul(f, self.iota(f), self.splat32(f, get("s2") * get("x2"))) if way == "gather" else None
        zero = f.constant(self.memory_vector, 0)
        vectors = taps * self.s.vectors
        entries = f.at(f.program, 64)
        extras = f.at(entries, vectors * ENTRY)
        more = f.load("i64", f.program)

        def read(source: Value, entry: Value) -> Value:
            pointer = f.at(source, f.load("i64", entry))
            if way == "pair":
                a = self.masked(f, pointer, f.load(self.bits, f.at(entry, 16)), zero)
                b = self.masked(f, f.at(pointer, lanes * e.memory_size), f.load(self.bits, f.at(entry, 24)), zero)
                return self.widen(f, self.shuffle(f, a, b, range(0, 2 * lanes, 2)))
            mask = f.load(self.bits, f.at(entry, 8))
            if jumps is not None:
                return self.widen(f, self.gathered(f, pointer, jumps, mask, zero))
            return self.widen(f, self.masked(f, pointer, mask, zero))

        with f.loop(0, f.channels, carry=[f.target, f.source]) as c:
            target, source = c.carried
            with f.loop(0, vectors, carry=[target, entries]) as v:
                to, entry = v.carried
                f.store(read(source, entry), to, align=e.sum_size)
                v.next = [f.at(to, lanes * e.sum_size), f.at(entry, ENTRY)]
            with f.loop(0, more, carry=[extras]) as x:
                (entry,) = x.carried
                to = f.at(target, f.load("i64", f.at(entry, 32)))
                self.put(f, read(source, entry), to, f.load(self.bits, f.at(entry, 8)))
                x.next = [f.at(entry, EXTRA)]
            c.next = [v.carried[0], f.at(source, step)]
        self.finish(f)

    def pack_last(self) -> None:
        """The same where channels are contiguous: squares of pixels and channels are transposed."""
        e, lanes = self.e, self.lanes
        f = self.function("pack_last", "ptr record, ptr program, ptr target, ptr source, i64 channels")
        get = lambda name: self.get(f, f.record, name)  # noqa: E731
        vectors = get("taps") * self.s.vectors
        along = get("s2") * get("x2")
        stride = get("taps") * self.bytes
        entries = f.at(f.program, 64)
        extras, more = f.at(entries, vectors * ENTRY), f.load("i64", f.program)
        places, counts = f.alloca("ptr", lanes), f.alloca("i64", lanes)
        next_extra = f.variable("i64", 0)

        def fill(entry: Value) -> None:
            bits = f.value("i64", f"zext i{lanes} {f.load(f'i{lanes}', f.at(entry, 8)).name} to i64")
            first = f.at(f.source, f.load("i64", entry))
            for i in range(lanes):
                with f.when((bits & (1 << i)).ne(0)):
                    f.store(f.at(first, along * i), f.at(places, 8 * i))
                    f.store(f.channels, f.at(counts, 8 * i))

        with f.loop(0, vectors) as v:
            for i in range(lanes):  # nothing of it is read
                f.store(f.source, f.at(places, 8 * i))
                f.store(0, f.at(counts, 8 * i), "i64")
            fill(f.at(entries, v.index * ENTRY))
            place = v.index * (lanes * e.sum_size)
            with f.loop(next_extra.get(), more) as x:
                entry = f.at(extras, x.index * EXTRA)
                with f.when(f.load("i64", f.at(entry, 32)).eq(place)):
                    fill(entry)
                    next_extra.set(x.index + 1)
            target = f.at(f.target, place)
            with f.loop(0, f.channels, lanes) as c:
                rows = []
                for i in range(lanes):
                    mask = self.mask(f, f.load("i64", f.at(counts, 8 * i)) - c.index)
                    at = f.at(f.load("ptr", f.at(places, 8 * i)), c.index * e.memory_size)
                    rows.append(self.load(f, at, mask))
                left = f.channels - c.index
                for i, x in enumerate(self.transposed(f, rows)):
                    with f.when(left > i):
                        f.store(x, f.at(target, stride * (c.index + i)), align=e.sum_size)
        self.finish(f)

    def value_mul(self, f: Function, a: Value, b: Value) -> Value:
        return f.value(a.type, f"mul {a.type} {a.name}, {b.name}")

    def value_add(self, f: Function, a: Value, b: Value) -> Value:
        return f.value(a.type, f"add {a.type} {a.name}, {b.name}")

    def pack_patches(self) -> None:
        """`pack` in the way that suits the layout of x."""
        f = self.function("pack_patches", "ptr record, ptr program, ptr target, ptr source, i64 channels")
        given = (f.record, f.program, f.target, f.source, f.channels)
        step = self.get(f, f.record, "s2") * self.get(f, f.record, "x2")
        last = self.get(f, f.record, "x_channel").eq(self.e.memory_size) & (f.channels >= self.lanes // 2)
        with f.either(step.eq(self.e.memory_size)) as seam:
            f.call("void", "@pack_unit", *given)
            seam.otherwise()
            with f.either(step.eq(2 * self.e.memory_size)) as other:
                f.call("void", "@pack_pair", *given)
                other.otherwise()
                with f.either(last) as square:
                    f.call("void", "@pack_last", *given)
                    square.otherwise()
                    f.call("void", "@pack_gather", *given)
        self.finish(f)

    # ------------------------------------------------------------------ forward

    def micro(self, rows: int) -> None:
        """A tile of `rows` outputs for a sliver: of sums begun with the bias (`resume` 0) or with what `c` holds.

        `final` 1: the first `count` rows and `cols` columns go to memory, else all as sums to the buffer `c`.
        """
        e, lanes, size, vectors = self.e, self.lanes, self.e.sum_size, self.s.vectors
        f = self.function(
            f"micro_{rows}",
            "i64 k, ptr a, ptr b, ptr c, i64 c_row, i64 cols, i64 count, i64 resume, i64 final",
        )
        start = f.variable("ptr", f.a)
        sums = [f.variable(self.vector, 0) for _ in range(rows * vectors)]
        with f.either(f.resume.ne(0)) as seam:
            for i, x in enumerate(sums):
                x.set(f.load(self.vector, f.at(f.c, i * lanes * size), 64))
            seam.otherwise()
            for i in range(rows):
                bias = self.splat(f, f.load(e.sum, f.at(f.a, i * size), size))
                for v in range(vectors):
                    sums[i * vectors + v].set(bias)
            start.set(f.at(f.a, rows * size))
        with f.loop(0, f.k, carry=[*(x.get() for x in sums), start.get(), f.b]) as loop:
            *now, a, b = loop.carried
            right = [f.load(self.vector, f.at(b, v * lanes * size), 64) for v in range(vectors)]
            following = []
            for i in range(rows):
                left = self.splat(f, f.load(e.sum, f.at(a, i * size), size))
                following += [self.fused(f, left, right[v], now[i * vectors + v]) for v in range(vectors)]
            loop.next = [*following, f.at(a, rows * size), f.at(b, self.bytes)]
        found = loop.carried[:-2]
        with f.either(f.final.ne(0)) as seam:
            masks = [self.mask(f, f.cols, v * lanes) for v in range(vectors)]
            for i in range(rows):
                with f.when(f.count > i):
                    line = f.at(f.c, f.c_row * i)
                    for v in range(vectors):
                        place = f.at(line, v * lanes * e.memory_size)
                        self.store(f, found[i * vectors + v], place, masks[v])
            seam.otherwise()
            for i, x in enumerate(found):
                f.store(x, f.at(f.c, i * lanes * size), align=64)
        self.finish(f)

    def write(self) -> None:
        """A tile from its buffer to memory, row of windows by row of windows."""
        e, lanes, size = self.e, self.lanes, self.e.sum_size
        f = self.function("scatter", "ptr buffer, i64 count, ptr target, i64 row_step, i64 step, ptr rows, i64 n")
        squares = f.row_step.eq(e.memory_size) & f.step.ne(e.memory_size) & (f.count > 1)
        with f.either(squares) as kind:  # channels are contiguous: each pixel gets its part of a line
            with f.loop(0, f.n) as row:
                r = f.at(f.rows, row.index * SEGMENT_BYTES)
                first, last, place = (f.load("i64", f.at(r, 8 * SEGMENT.index(x))) for x in ("first", "last", "target"))
                start = f.at(f.target, place)
                with f.loop(first, last, lanes) as lane:
                    left = last - lane.index
                    for c in range(0, self.s.rows, lanes):
                        with f.when(f.count > c):
                            rows = []
                            for i in range(lanes):
                                line = f.least(f.constant("i64", c + i), f.count - 1)
                                at = f.at(f.buffer, line * self.bytes + lane.index * size)
                                rows.append(f.load(self.vector, at, size))
                            mask = self.mask(f, f.count - c)
                            for i, x in enumerate(self.transposed(f, rows)):
                                with f.when(left > i):
                                    to = f.at(start, (lane.index - first + i) * f.step + c * e.memory_size)
                                    self.store(f, x, to, mask)
            kind.otherwise()
            with f.loop(0, f.n) as row:
                r = f.at(f.rows, row.index * SEGMENT_BYTES)
                first, last, place = (f.load("i64", f.at(r, 8 * SEGMENT.index(x))) for x in ("first", "last", "target"))
                with f.loop(0, f.count) as i:
                    line = f.at(f.buffer, i.index * self.bytes)
                    target = f.at(f.target, place + i.index * f.row_step)
                    with f.either(f.step.eq(e.memory_size)) as seam:
                        with f.loop(first, last, lanes) as lane:
                            x = f.load(self.vector, f.at(line, lane.index * size), size)
                            mask = self.mask(f, last - lane.index)
                            self.store(f, x, f.at(target, (lane.index - first) * e.memory_size), mask)
                        seam.otherwise()
                        with f.either(f.step.eq(2 * e.memory_size)) as other:
                            with f.loop(first, last, lanes) as lane:
                                x = f.load(self.vector, f.at(line, lane.index * size), size)
                                mask = self.mask(f, last - lane.index)
                                for half in range(2):
                                    order = [half * lanes // 2 + j // 2 for j in range(lanes)]
                                    spread = self.shuffle(f, x, x, order)
                                    there = f.at(target, ((lane.index - first) * 2 + half * lanes) * e.memory_size)
                                    self.store(f, spread, there, self.even_lanes(f, mask, half))
                            other.otherwise()
                            with f.loop(first, last) as lane:
                                x = f.load(e.sum, f.at(line, lane.index * size), size)
                                there = f.at(target, (lane.index - first) * f.step)
                                f.store(self.narrow(f, x), there, align=e.memory_size)
        self.finish(f)

    def pack_weights(self) -> None:
        """Tile `block` of all groups' weights: a line of biases, then [k][height]."""
        e, size = self.e, self.e.sum_size
        f = self.function("pack_weights", "ptr record, i64 block")
        get = lambda name: self.get(f, f.record, name)  # noqa: E731
        height, tiles, own, taps, k = (get(x) for x in ("height", "tiles", "own", "taps", "k"))
        group = f.block // tiles
        first = (f.block - group * tiles) * height
        count = f.least(height, own - first)
        target = f.at(get("packed"), f.block * get("tile_bytes"))
        w_own, bias, table = get("w_own"), get("bias"), get("table")
        source = f.at(get("w"), group * get("w_group") + first * w_own)
        with f.loop(0, count) as i:
            x = f.variable(e.sum, 0)
            with f.when(bias.ne(0)):
                x.set(self.load_one(f, f.at(bias, (group * own + first + i.index) * e.memory_size)))
            f.store(x.get(), f.at(target, i.index * size), align=size)
        with f.loop(count, height) as i:
            f.store(f.constant(e.sum, 0), f.at(target, i.index * size), align=size)
        lines = f.at(target, height * size)
        # What a vector writes past its line is overwritten by the next line.
        registers = -(-self.s.rows // self.lanes)
        plain = f.variable("i1", get("w_channel").eq(taps * e.memory_size))
        with f.loop(0, taps) as t:
            plain.set(plain.get() & self.tap(f, table, t.index, "weight").eq(t.index))
        with f.either(plain.get()) as seam:
            f.call("void", f"@turned_{registers}", lines, source, k, w_own, count, height)
            seam.otherwise()
            span = f.variable("i64", 0)
            with f.loop(0, taps) as t:
                span.set(self.most(f, self.tap(f, table, t.index, "weight") + 1, span.get()))
            span = span.get()
            straight = w_own.eq(e.memory_size)
            near = (span * 4 <= taps * self.lanes) & straight.eq(0)
            with f.when(near):
                f.call("void", "@pack_near", f.record, lines, source, count, span)
            jumps = self.value_mul(f, self.iota(f), self.splat32(f, w_own))
            zero = f.constant(self.memory_vector, 0)
            masks = [self.mask(f, count, v * self.lanes) for v in range(registers)]
            with f.loop(0, f.select(near, 0, get("channels")), carry=[source, lines]) as c:
                channel, line = c.carried
                with f.loop(0, taps, carry=[line]) as t:
                    at = f.at(channel, self.tap(f, table, t.index, "weight") * e.memory_size)
                    for v, mask in enumerate(masks):
                        here, x = f.at(at, w_own * (v * self.lanes)), f.variable(self.memory_vector, zero)
                        with f.either(straight) as way:
                            x.set(self.masked(f, here, mask, zero))
                            way.otherwise()
                            x.set(self.gathered(f, here, jumps, mask, zero))
                        x = self.widen(f, x.get())
                        f.store(x, f.at(t.carried[0], v * self.lanes * size), align=size)
                    t.next = [f.at(t.carried[0], height * size)]
                c.next = [f.at(channel, get("w_channel")), t.carried[0]]
        self.finish(f)

    def pack_near(self) -> None:
        """Lines of a tile where the weights of an output's taps lie within few vectors, `span` elements."""
        lanes, size, registers = self.lanes, self.e.sum_size, -(-self.s.rows // self.lanes)
        f = self.function("pack_near", "ptr record, ptr lines, ptr source, i64 count, i64 span")
        height, taps, table, w_own = (self.get(f, f.record, x) for x in ("height", "taps", "table", "w_own"))
        step = self.get(f, f.record, "w_channel")
        places = [f.least(f.constant("i64", i), f.count - 1) * w_own for i in range(registers * lanes)]
        square = f.alloca(self.vector, registers * lanes)
        masks = [self.mask(f, height, v * lanes) for v in range(registers)]
        self.declare("void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        ordered = f.variable("i1", f.span <= lanes)
        with f.loop(0, taps) as t:
            ordered.set(ordered.get() & self.tap(f, table, t.index, "weight").eq(t.index))
        ordered = ordered.get()
        with f.loop(0, self.get(f, f.record, "channels"), carry=[f.source, f.lines]) as c:
            channel, line = c.carried
            ahead = f.at(channel, step * NEAR_AHEAD)
            for place in places:
                f.emit(f"call void @llvm.prefetch.p0(ptr {f.at(ahead, place).name}, i32 0, i32 3, i32 1)")
            with f.loop(0, f.span, lanes) as base:
                mask = self.mask(f, f.span - base.index)
                start = f.at(channel, base.index * self.e.memory_size)
                columns = []
                for v in range(registers):
                    rows = [self.load(f, f.at(start, x), mask) for x in places[v * lanes : (v + 1) * lanes]]
                    columns.append(self.transposed(f, rows))
                with f.either(ordered) as seam:
                    # What a vector writes past its line is overwritten by the next line.
                    for i in range(lanes):
                        with f.when(taps > i):
                            for v in range(registers):
                                to = f.at(line, height * (i * size))
                                f.store(columns[v][i], f.at(to, v * lanes * size), align=size)
                    seam.otherwise()
                    for i in range(lanes):
                        for v in range(registers):
                            f.store(columns[v][i], f.at(square, (i * registers + v) * lanes * size), align=64)
                    with f.loop(0, taps) as t:
                        at = self.tap(f, table, t.index, "weight") - base.index
                        with f.when(self.below(f, at, f.constant("i64", lanes))):
                            to = f.at(line, t.index * height * size)
                            for v, here in enumerate(masks):
                                x = f.load(self.vector, f.at(square, (at * registers + v) * (lanes * size)), 64)
                                self.put(f, x, f.at(to, v * lanes * size), here)
            c.next = [f.at(channel, step), f.at(line, taps * height * size)]
        self.finish(f)

    def pack_ahead(self) -> None:
        """The patches of one sliver of a group, for all parts of the outputs: [block][k][pixel]."""
        f = self.function("pack_ahead", "ptr record, i64 task")
        r = {name: self.get(f, f.record, name) for name in FIELDS}
        group, s = f.task // r["slivers"], f.task % r["slivers"]
        memory = f.call("ptr", "@take", self.program_bytes(f, r["taps"]))
        rows = f.alloca("i64", self.width * SEGMENT_BYTES // 8)
        pixel = s * self.width
        n = f.call("i64", "@segments", f.record, pixel, f.least(r["total"] - pixel, self.width), rows)
        f.call("void", "@prepare", f.record, memory, rows, n)
        target, source = f.at(r["sums"], f.task * r["copied"]), f.at(r["x"], group * r["channels"] * r["x_channel"])
        f.call("void", "@pack_patches", f.record, memory, target, source, r["channels"])
        f.call("void", "@give", memory)
        self.finish(f)

    def compute(self) -> None:
        """Some slivers of one group for a part of its outputs."""
        e, size = self.e, self.e.sum_size
        f = self.function("compute", "ptr record, i64 task")
        r = {name: self.get(f, f.record, name) for name in FIELDS}
        spans = self.up(f, r["slivers"], r["span"])
        span = f.task % spans
        left = f.task // spans
        part, group = left % r["own_parts"], left // r["own_parts"]
        t0, t1 = part * r["tiles"] // r["own_parts"], (part + 1) * r["tiles"] // r["own_parts"]
        patch, ahead = r["block"] * r["taps"] * self.bytes, r["copied"]
        tile = r["height"] * self.bytes
        together = r["together"]
        split = r["blocks"] > 1
        sums_bytes = f.select(split, together * (t1 - t0) * tile, tile)
        program = self.program_bytes(f, r["taps"])
        memory = f.call("ptr", "@take", together * (patch + program) + sums_bytes + self.bytes)
        buffers = f.at(memory, together * patch)
        programs = f.at(buffers, sums_bytes + self.bytes)
        most = 8  # slivers together
        table = f.alloca("i64", most * self.width * SEGMENT_BYTES // 8)
        counts = f.alloca("i64", most)
        x_group = f.at(r["x"], group * r["channels"] * r["x_channel"])
        s_last = f.least((span + 1) * r["span"], r["slivers"])
        with f.loop(0, self.up(f, s_last - span * r["span"], together)) as turn:
            s0 = span * r["span"] + turn.index * together
            here = f.least(together, s_last - s0)
            with f.loop(0, here) as s:
                pixel = (s0 + s.index) * self.width
                rows = f.at(table, s.index * (self.width * SEGMENT_BYTES))
                n = f.call("i64", "@segments", f.record, pixel, f.least(r["total"] - pixel, self.width), rows)
                f.store(n, f.at(counts, s.index * 8))
                with f.when(ahead.eq(0)):
                    f.call("void", "@prepare", f.record, f.at(programs, s.index * program), rows, n)
            with f.loop(0, r["blocks"]) as block:
                c0 = block.index * r["block"]
                channels = f.least(r["block"], r["channels"] - c0)
                source = f.at(x_group, c0 * r["x_channel"])
                with f.loop(0, f.select(ahead.eq(0), here, 0)) as s:
                    into, how = f.at(memory, s.index * patch), f.at(programs, s.index * program)
                    f.call("void", "@pack_patches", f.record, how, into, source, channels)
                ready = f.at(r["sums"], (group * r["slivers"] + s0) * r["copied"] + c0 * r["taps"] * self.bytes)
                patches = f.select(ahead.eq(0), memory, ready)
                apart = f.select(ahead.eq(0), patch, r["copied"])
                k = channels * r["taps"]
                begun = block.index > 0
                done = block.index.eq(r["blocks"] - 1)
                with f.loop(t0, t1) as t:
                    first = t.index * r["height"]
                    count = f.least(r["height"], r["own"] - first)
                    channel = group * r["own"] + first
                    a = f.at(r["packed"], (group * r["tiles"] + t.index) * r["tile_bytes"])
                    skip = f.select(begun, c0 * r["taps"] + 1, 0) * r["height"] * size
                    a = f.at(a, skip)
                    with f.loop(0, here) as s:
                        pixel = (s0 + s.index) * self.width
                        cols = f.least(r["total"] - pixel, self.width)
                        sample = pixel // r["pixels"]
                        inside = pixel - sample * r["pixels"]
                        direct = r["joined"].ne(0) & (inside + cols <= r["pixels"]) & split.eq(0)
                        straight = sample * r["y_batch"] + channel * r["y_channel"] + inside * e.memory_size
                        own = f.select(split, (s.index * (t1 - t0) + (t.index - t0)) * tile, 0)
                        buffer = f.at(buffers, own)
                        c = f.select(direct, f.at(r["y"], straight), buffer)
                        resume = f.value("i64", f"zext i1 {begun.name} to i64")
                        final = f.value("i64", f"zext i1 {direct.name} to i64")
                        f.call(
                            "void", r["kernel"].name, k, a, f.at(patches, s.index * apart), c, r["y_channel"], cols,
                            count, resume, final,
                        )  # fmt: skip
                        with f.when(direct.eq(0) & done):
                            rows = f.at(table, s.index * (self.width * SEGMENT_BYTES))
                            n = f.load("i64", f.at(counts, s.index * 8))
                            target = f.at(r["y"], channel * r["y_channel"])
                            f.call("void", "@scatter", buffer, count, target, r["y_channel"], r["y2"], rows, n)
        f.call("void", "@give", memory)
        self.finish(f)

    def cost(self, f: Function, record: Value, rows: int) -> Value | int:
        """What a tile of so many rows takes."""
        return 2 * rows + 1

    def choose(self, f: Function, record: Value, of: Value, first: int) -> None:
        """The tile height (and its kernel, from `first` in the table) that wastes least on `of` rows."""
        best, height, which = f.variable("i64", 1 << 62), f.variable("i64", 1), f.variable("i64", 0)
        for i, rows in enumerate(self.heights()):
            cost = self.up(f, of, rows) * self.cost(f, record, rows)
            better = cost <= best.get()
            best.set(f.select(better, cost, best.get()))
            height.set(f.select(better, f.constant("i64", rows), height.get()))
            which.set(f.select(better, f.constant("i64", first + i), which.get()))
        kernel = f.load("ptr", f.at(Value(f, "@kernels", "ptr"), which.get() * 8))
        self.set(f, record, height=height.get(), kernel=kernel)

    def read_plan(self, f: Function, record: Value) -> None:
        """The geometry from what Python passed, and what follows from it."""
        for i, name in enumerate(GEOMETRY):
            x = f.load("i64", f.at(f.plan, 8 * i))
            self.set(f, record, **{name: x * self.e.memory_size if name in STRIDES else x})
        get = lambda name: self.get(f, record, name)  # noqa: E731
        pixels = get("o0") * get("o1") * get("o2")
        total = get("batch") * pixels
        taps, channels = get("taps"), get("channels")
        even = get("y1").eq(get("o2") * get("y2")) | get("o1").eq(1)
        plane = get("y0").eq(get("o1") * get("o2") * get("y2")) | get("o0").eq(1)
        joined = even & plane & (get("y2").eq(self.e.memory_size) | pixels.eq(1))
        # Channels that are packed at a time: equal blocks.
        fits = self.most(f, f.constant("i64", DEPTH) // self.most(f, taps, 1), 1)
        blocks = self.most(f, self.up(f, channels, fits), 1)
        block = self.up(f, channels, blocks)
        self.set(
            f, record, y=f.y, x=f.x, w=f.w, bias=f.bias, table=f.at(f.plan, 8 * len(GEOMETRY)),
            pixels=pixels, total=total, slivers=self.up(f, total, self.width), k=channels * taps, joined=joined,
            block=block, blocks=self.most(f, self.up(f, channels, self.most(f, block, 1)), 1),
            serial=total * channels * taps * get("own") * get("groups") < PARALLEL_FROM,
        )  # fmt: skip

    def packing(self, f: Function, record: Value) -> Value:
        """Chooses the tiles and packs the weights; the memory to give back."""
        get = lambda name: self.get(f, record, name)  # noqa: E731
        self.choose(f, record, get("own"), 0)
        height = get("height")
        tiles = self.up(f, get("own"), height)
        # `turned` writes squares, and past the end of its lines.
        lines = (get("k") + (self.lanes + 1)) * height + (2 * self.lanes + 16)
        tile_bytes = lines * self.e.sum_size & -64
        memory = f.call("ptr", "@take", tiles * get("groups") * tile_bytes)
        self.set(f, record, tiles=tiles, tile_bytes=tile_bytes, packed=memory)
        f.call("void", "@spread", Value(f, "@pack_weights", "ptr"), record, tiles * get("groups"))
        return memory

    def convolve(self) -> None:
        """The entry: out = convolution of x with w plus bias."""
        f = self.function("convolve", "ptr y, ptr x, ptr w, ptr bias, ptr plan, i64 work", linkage="", extra="")
        record = f.alloca("i64", len(FIELDS))
        self.read_plan(f, record)
        get = lambda name: self.get(f, record, name)  # noqa: E731
        with f.when((get("total") > 0) & (get("groups") > 0) & (get("own") > 0)):
            memory = self.packing(f, record)
            height, k, slivers, tiles = (get(x) for x in ("height", "k", "slivers", "tiles"))
            large = tiles * height * k > LARGE
            together = f.select(large, f.least(slivers, 3), 1)
            work = self.most(f, k, 1) * get("own") * self.width
            steps = self.most(f, f.constant("i64", TASK) // (self.most(f, work, 1) * together), 1)
            steps = f.least(steps, self.most(f, slivers * get("groups") // (together * 32), 1))
            span = steps * together
            spans = self.up(f, slivers, span)
            # Few pixels: the outputs are cut, too, and each part packs the patches for itself.
            wanted = self.up(f, f.constant("i64", 16), spans * get("groups"))
            parts = self.most(f, f.least(wanted, tiles // 3), 1)
            # ... unless they are few enough to be packed once for all.
            copied, items = k * self.bytes, slivers * get("groups")
            ahead = (parts > 1) & (items * copied <= AHEAD)
            self.set(f, record, together=together, span=span, own_parts=parts, copied=f.select(ahead, copied, 0))
            with f.either(ahead) as seam:
                patches = f.call("ptr", "@take", items * copied)
                self.set(f, record, sums=patches)
                f.call("void", "@spread", Value(f, "@pack_ahead", "ptr"), record, items)
                f.call("void", "@spread", Value(f, "@compute", "ptr"), record, spans * parts * get("groups"))
                f.call("void", "@give", patches)
                seam.otherwise()
                f.call("void", "@spread", Value(f, "@compute", "ptr"), record, spans * parts * get("groups"))
            f.call("void", "@give", memory)
        self.finish(f)

    # ------------------------------------------------------------------ the gradient of the weights

    def micro_weight(self, rows: int, vectors: int) -> None:
        """sums[i][o] += patch[k + i][pixel] * grad[pixel][o] over the pixels of `n` slivers."""
        lanes, size = self.lanes, self.e.sum_size
        f = self.function(f"micro_weight_{rows}_{vectors}", "i64 n, ptr patch, i64 pitch, ptr grad, ptr sums")
        places = [f.at(f.sums, i * self.bytes + v * lanes * size) for i in range(rows) for v in range(vectors)]
        begun = [f.load(self.vector, p, 64) for p in places]
        with f.loop(0, f.n, carry=[*begun, f.patch, f.grad]) as sliver:
            *outer, patch, grad = sliver.carried
            with f.loop(0, f.constant("i64", self.width), carry=[*outer, patch, grad]) as pixel:
                *now, a, b = pixel.carried
                right = [f.load(self.vector, f.at(b, v * lanes * size), 64) for v in range(vectors)]
                following = []
                for i in range(rows):
                    left = self.splat(f, f.load(self.e.sum, f.at(a, i * self.bytes), size))
                    following += [self.fused(f, left, right[v], now[i * vectors + v]) for v in range(vectors)]
                pixel.next = [*following, f.at(a, size), f.at(b, self.bytes)]
            *now, _, b = pixel.carried
            sliver.next = [*now, f.at(patch, f.pitch), b]
        for x, place in zip(sliver.carried, places, strict=False):
            f.store(x, place, align=64)
        self.finish(f)

    def turn(self) -> None:
        """[o][pixel] of a sliver to [pixel][o]: squares of registers are transposed."""
        lanes, size = self.lanes, self.e.sum_size
        f = self.function("turn", "ptr target, ptr source")
        for v in range(self.s.vectors):
            for p in range(self.s.vectors):
                rows = [
                    f.load(self.vector, f.at(f.source, (v * lanes + i) * self.bytes + p * lanes * size), 64)
                    for i in range(lanes)
                ]
                for i, x in enumerate(self.transposed(f, rows)):
                    f.store(x, f.at(f.target, (p * lanes + i) * self.bytes + v * lanes * size), align=64)
        self.finish(f)

    def compute_weight(self) -> None:
        """The gradient's sums of one block of channels over one part of the pixels."""
        f = self.function("compute_weight", "ptr record, i64 task")
        r = {name: self.get(f, f.record, name) for name in FIELDS}
        part, left = f.task % r["parts"], f.task // r["parts"]
        block, group = left % r["blocks"], left // r["blocks"]
        c0 = block * r["block"]
        channels = f.least(r["block"], r["channels"] - c0)
        s0, s1 = part * r["slivers"] // r["parts"], (part + 1) * r["slivers"] // r["parts"]
        together = r["together"]
        pitch = r["block"] * r["taps"] * self.bytes
        grad_bytes = together * self.width * self.bytes  # of one sliver of outputs
        slack = self.s.rows * self.bytes
        square = self.width * self.bytes
        packed = together * pitch + slack + r["o_slivers"] * grad_bytes + square
        memory = f.call("ptr", "@take", packed + self.program_bytes(f, r["taps"]))
        grads = f.at(memory, together * pitch + slack)
        lines = f.at(grads, r["o_slivers"] * grad_bytes)
        program = f.at(memory, packed)
        sums_bytes = r["o_slivers"] * r["k_padded"] * self.bytes
        sums = f.at(r["sums"], f.task * sums_bytes)
        with f.loop(0, sums_bytes, self.lanes * self.e.sum_size) as at:
            f.store(f.constant(self.vector, 0), f.at(sums, at.index), align=64)
        table = f.alloca("i64", self.width * SEGMENT_BYTES // 8)
        # The gradient of `out` is read like an input of one tap.
        other = self.copy_record(f, f.record)
        nothing = f.alloca("i64", len(TAP))
        for i in range(len(TAP)):
            f.store(0, f.at(nothing, 8 * i), "i64")
        self.set(
            f, other, taps=1, table=nothing, s0=1, s1=1, s2=1, d0=r["o0"], d1=r["o1"], d2=r["o2"],
            **{f"x{x}": r[f"y{x}"] for x in ("_batch", "_channel", "0", "1", "2")},
        )  # fmt: skip
        x = f.at(r["x"], (group * r["channels"] + c0) * r["x_channel"])
        y = f.at(r["y"], group * r["own"] * r["y_channel"])
        with f.loop(0, self.up(f, s1 - s0, together)) as turn:
            first = s0 + turn.index * together
            here = f.least(together, s1 - first)
            with f.loop(0, here) as s:
                pixel = (first + s.index) * self.width
                count = f.least(r["total"] - pixel, self.width)
                n = f.call("i64", "@segments", f.record, pixel, count, table)
                f.call("void", "@prepare", f.record, program, table, n)
                f.call("void", "@pack_patches", f.record, program, f.at(memory, s.index * pitch), x, channels)
                n = f.call("i64", "@segments", other, pixel, count, table)
                f.call("void", "@prepare", other, program, table, n)
                with f.loop(0, r["o_slivers"]) as o:
                    o0 = o.index * self.width
                    given = f.at(y, o0 * r["y_channel"])
                    outputs = f.least(r["own"] - o0, self.width)
                    f.call("void", "@pack_patches", other, program, lines, given, outputs)
                    with f.loop(outputs * self.bytes, f.constant("i64", square), self.lanes * self.e.sum_size) as rest:
                        f.store(f.constant(self.vector, 0), f.at(lines, rest.index), align=64)
                    f.call("void", "@turn", f.at(grads, o.index * grad_bytes + s.index * square), lines)
            with f.loop(0, r["o_slivers"]) as o:
                outputs = f.least(r["own"] - o.index * self.width, self.width)
                vectors = (outputs - 1) // self.lanes
                kernel = f.load("ptr", f.at(r["kernel"], vectors * (8 * len(self.heights()))))
                with f.loop(0, self.up(f, channels * r["taps"], r["height"])) as t:
                    k = t.index * r["height"]
                    f.call(
                        "void", kernel.name, here, f.at(memory, k * self.bytes), pitch,
                        f.at(grads, o.index * grad_bytes), f.at(sums, (o.index * r["k_padded"] + k) * self.bytes),
                    )  # fmt: skip
        f.call("void", "@give", memory)
        self.finish(f)

    def reduce_weight(self) -> None:
        """The sums of all parts, to w: `step` channels of a group, some lines of k at a time."""
        e, lanes, size = self.e, self.lanes, self.e.sum_size
        f = self.function("reduce_weight", "ptr record, i64 task")
        r = {name: self.get(f, f.record, name) for name in FIELDS}
        spans = self.up(f, r["channels"], r["step"])
        group, span = f.task // spans, f.task % spans
        c_last = f.least((span + 1) * r["step"], r["channels"])
        sums_bytes = r["o_slivers"] * r["k_padded"] * self.bytes
        square = f.alloca(self.vector, lanes)
        plain = f.variable("i1", r["w_channel"].eq(r["taps"] * e.memory_size))
        with f.loop(0, r["taps"]) as t:
            plain.set(plain.get() & self.tap(f, r["table"], t.index, "weight").eq(t.index))
        target = f.at(r["w"], group * r["w_group"])
        at_c = f.variable("i64", span * r["step"])
        with f.loop(0, r["step"]) as _:  # channels of one block after the other
            c = at_c.get()
            with f.when(c < c_last):
                block = c // r["block"]
                stop = f.least(c_last, (block + 1) * r["block"])
                first, last = (c - block * r["block"]) * r["taps"], (stop - block * r["block"]) * r["taps"]
                sums = f.at(r["sums"], (group * r["blocks"] + block) * r["parts"] * sums_bytes)
                at_c.set(stop)
                with f.loop(0, r["o_slivers"] * self.s.vectors) as column:
                    o, v = column.index // self.s.vectors, column.index % self.s.vectors
                    o0 = column.index * lanes
                    count = f.least(r["own"] - o0, lanes)
                    with f.loop(first, last, lanes) as k:
                        lines = f.least(last - k.index, lanes)
                        for i in range(lanes):
                            # Lines past the last are read again, and not written.
                            line = k.index + f.least(f.constant("i64", i), lines - 1)
                            at = f.at(sums, (o * r["k_padded"] + line) * self.bytes + v * (lanes * size))
                            with f.loop(0, r["parts"], carry=[at, f.constant(self.vector, 0)]) as part:
                                here, now = part.carried
                                following = self.plus(f, now, f.load(self.vector, here, 64))
                                part.next = [f.at(here, sums_bytes), following]
                            f.store(part.carried[1], f.at(square, i * lanes * size), align=64)
                        with f.either(plain.get()) as seam:
                            rows = [f.load(self.vector, f.at(square, i * lanes * size), 64) for i in range(lanes)]
                            mask = self.mask(f, lines)
                            to = f.at(target, o0 * r["w_own"] + (c * r["taps"] + (k.index - first)) * e.memory_size)
                            for i, x in enumerate(self.transposed(f, rows)):
                                with f.when(count > i):
                                    self.store(f, x, f.at(to, r["w_own"] * i), mask)
                            seam.otherwise()
                            with f.loop(0, lines) as line:
                                number = c * r["taps"] + (k.index - first) + line.index
                                channel = number // r["taps"]
                                t = number - channel * r["taps"]
                                place = channel * r["w_channel"] + self.tap(f, r["table"], t, "weight") * e.memory_size
                                to = f.at(target, place + o0 * r["w_own"])
                                with f.loop(0, count) as i:
                                    x = f.load(e.sum, f.at(square, (line.index * lanes + i.index) * size), size)
                                    f.store(self.narrow(f, x), f.at(to, i.index * r["w_own"]), align=e.memory_size)
        self.finish(f)

    def convolve_weight(self) -> None:
        """The entry: w = the gradient of the weights, of x and of the gradient y of the result."""
        f = self.function("convolve_weight", "ptr w, ptr x, ptr y, ptr plan, i64 work", linkage="", extra="")
        record = f.alloca("i64", len(FIELDS))
        f.bias = f.constant("ptr", 0)
        self.read_plan(f, record)
        get = lambda name: self.get(f, record, name)  # noqa: E731
        with f.when((get("groups") > 0) & (get("own") > 0) & (get("k") > 0)):
            groups, own, taps, channels = (get(x) for x in ("groups", "own", "taps", "channels"))
            slivers, o_slivers = get("slivers"), self.up(f, own, self.width)
            # Parts of the pixels while their sums are few, then blocks of channels.
            size = groups * o_slivers * self.width * get("k")
            parts = self.most(
                f, f.least(f.least(slivers // 4, 16), f.constant("i64", PARTIAL) // self.most(f, size, 1)), 1
            )
            parts = f.least(parts, self.most(f, self.up(f, f.constant("i64", 32), groups), 1))
            wanted = self.up(f, f.constant("i64", 16), groups * parts)
            blocks = self.most(f, get("blocks"), f.least(wanted, self.up(f, channels * taps, 4 * self.s.rows)))
            block = self.up(f, channels, f.least(blocks, channels))
            blocks = self.up(f, channels, block)
            self.choose(f, record, block * taps, 0)
            height = get("height")
            k_padded = self.up(f, block * taps, height) * height
            together = self.most(f, f.constant("i64", CHUNK) // (block * taps * self.width), 1)
            together = f.least(f.least(together, 16), self.most(f, self.up(f, slivers, parts), 1))
            tasks = groups * blocks * parts
            memory = f.call("ptr", "@take", tasks * o_slivers * k_padded * self.bytes)
            # The kernels of one height stand a table's length apart.
            where = f.variable("ptr", Value(f, "@kernels", "ptr"))
            for i, rows in enumerate(self.heights()):
                there = f.at(Value(f, "@kernels", "ptr"), 8 * i)
                where.set(f.select(height.eq(rows), there, where.get()))
            step = self.most(f, f.constant("i64", 1 << 14) // (taps * own), 1)
            self.set(
                f, record, block=block, blocks=blocks, parts=parts, together=together, o_slivers=o_slivers,
                k_padded=k_padded, sums=memory, kernel=where.get(), step=step,
            )  # fmt: skip
            f.call("void", "@spread", Value(f, "@compute_weight", "ptr"), record, tasks)
            f.call("void", "@spread", Value(f, "@reduce_weight", "ptr"), record, self.up(f, channels, step) * groups)
            f.call("void", "@give", memory)
        self.finish(f)

    # ------------------------------------------------------------------ the module

    def text(self, entry: str = "convolve") -> str:
        """All functions that `entry` needs."""
        parts = [
            self.segments,
            self.prepare,
            *(lambda w=w: self.pack(w) for w in ("unit", "pair", "gather")),
            self.pack_last,
            self.pack_patches,
        ]
        if entry == "convolve":
            names = [f"micro_{rows}" for rows in self.heights()]
            for rows in self.heights():
                self.micro(rows)
            self.turned(-(-self.s.rows // self.lanes))
            parts += [self.write, self.pack_near, self.pack_weights, self.pack_ahead, self.compute, self.convolve]
        else:
            names = [f"micro_weight_{rows}_{v + 1}" for v in range(self.s.vectors) for rows in self.heights()]
            for v in range(self.s.vectors):
                for rows in self.heights():
                    self.micro_weight(rows, v + 1)
            parts += [self.turn, self.compute_weight, self.reduce_weight, self.convolve_weight]
        for part in (*parts, self.spread, self.memory):
            part()
        return self.assembled([f"ptr @{n}" for n in names])

    def assembled(self, kernels: Sequence[str] = ()) -> str:
        """The module of all functions that were written: a table of kernels, the slots of `memory`, declarations."""
        table = [f"@kernels = internal constant [{len(kernels)} x ptr] [{', '.join(kernels)}]"] if kernels else []
        slots = f"@slots = internal global [{matmul_kernel.SLOTS} x ptr] zeroinitializer, align 64"
        return "\n".join([*table, slots, *sorted(self.intrinsics), *self.functions]) + "\n"


def module_text(code: str, shape: Shape, entry: str) -> str:
    """The LLVM text for the element type `code`; `entry` is "convolve" or "convolve_weight"."""
    return Writer(ELEMENTS[code], shape).text(entry)
