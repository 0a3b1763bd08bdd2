"""The LLVM text of convolutions whose windows are summed where they lie, of long rows or few outputs.

A product copies each element of x for each tap. Here some rows of x are copied once inside their border, split by
their positions modulo the stride, so that each tap's windows are contiguous; then a vector of windows is a sum over
channels and taps of loads times splats. Where rows follow each other, vectors run through them: what is computed for
windows in the border is not written. The calls and plans are those of `convolution_kernel`.
"""

from facula.native.text import Function, Value

from .convolution_kernel import CELLS, FIELDS, Writer
from .matmul_kernel import ELEMENTS, Shape

__all__ = ["MOST", "rows_text"]

MOST = 4  # outputs of a group whose weights have their gradient here
CELL = 48  # bytes of what is said of one
TAPS = (9, 4)  # taps whose gradients are summed at a time
COPIED = 1 << 18  # bytes of x that are copied at a time
TASKS = 16  # so many parts of the work at least


class Rows(Writer):
    """Writes the functions for one element type and machine."""

    def frame(self, f: Function, record: Value) -> dict[str, Value]:
        """All numbers of the call."""
        return {name: self.get(f, record, name) for name in FIELDS}

    def read_windows(self, f: Function, record: Value) -> None:
        """From the plan: how far taps reach, and how the copied rows lie.

        Fields of other meaning in `convolution_kernel`: `block`: the rows of windows at a time, `blocks`: how many such
        parts; `steps`: rows of the copy; `span`: its planes; `step`: elements from phase to phase; `pitch`: of a row;
        `joined`: those that two rows share; `copied`: bytes of a channel; `cells`: vectors of windows; `low0` ...:
        the least offsets.
        """
        get = lambda name: self.get(f, record, name)  # noqa: E731
        lows, reach = self.reaches(f, record)
        # What a vector writes past a row is overwritten by the next row, but not where phases are written together.
        phase = get("o2") + reach[2] // get("s2")
        whole = (phase + (self.lanes - 1)) // self.lanes * self.lanes
        phase = f.select(get("s2").eq(1), phase, whole)
        # Zeros at the end of a row are those at the beginning of the next.
        zeros = f.least(f.constant("i64", 0) - lows[2], get("o2") + lows[2] + reach[2] - get("d2"))
        shared = f.select(get("s2").eq(1), self.most(f, f.least(zeros, reach[2]), 0), 0)
        phase = phase - shared
        row = phase * get("s2")
        planes = reach[0] + 1
        # As many rows of windows as fit, at least one.
        line = self.most(f, get("channels"), 1) * planes * row * self.most(f, get("s1"), 1)
        rows = f.constant("i64", COPIED // self.e.sum_size) // line - reach[1] // get("s1")
        others = get("batch") * get("groups") * get("o0")
        rows = f.least(rows, self.up(f, get("o1"), self.up(f, f.constant("i64", TASKS), self.most(f, others, 1))))
        rows = self.most(f, f.least(rows, get("o1")), 1)
        blocks = self.up(f, get("o1"), rows)
        rows = self.up(f, get("o1"), blocks)
        copied = (rows - 1) * get("s1") + reach[1] + 1
        self.set(
            f, record, block=rows, blocks=self.up(f, get("o1"), rows), steps=copied, span=planes, step=phase,
            pitch=row, joined=shared, copied=planes * copied * row * self.e.sum_size,
            low0=lows[0], low1=lows[1], low2=lows[2],
        )  # fmt: skip
        self.set(f, record, cells=self.cut(f, record, rows)[0])

    def cut(self, f: Function, record: Value, rows: Value) -> tuple[Value, ...]:
        """Vectors that `rows` rows of windows are, windows from one row to the next, and whether vectors go through.

        They begin with rows of windows, or run through the rows of the copy and what is between them.
        """
        o2, pitch, lanes = self.get(f, record, "o2"), self.get(f, record, "pitch"), self.lanes
        across = self.up(f, o2, lanes)
        through = self.up(f, (rows - 1) * pitch + o2, lanes)
        unit = self.get(f, record, "y2") <= 2 * self.e.memory_size
        unit = unit & self.get(f, record, "s1").eq(1) & self.get(f, record, "s2").eq(1)
        joined = unit & (pitch >= lanes) & (through < rows * across)
        return f.select(joined, through, rows * across), f.select(joined, pitch, across * lanes), joined

    def copy(self) -> None:
        """The rows of x that the windows of plane q0 and rows from q1 on need, of all channels of a group."""
        e, lanes, size = self.e, self.lanes, self.e.sum_size
        f = self.function("copy_rows", "ptr record, ptr target, ptr source, i64 q0, i64 q1")
        r = self.frame(f, f.record)
        zero = f.constant(self.memory_vector, 0)
        limit = self.splat32(f, r["d2"])
        iota = self.iota(f)
        unit = r["x2"].eq(e.memory_size)
        plain, pair = unit & r["s2"].eq(1), unit & r["s2"].eq(2)
        along = r["s2"] * r["x2"]
        jumps = self.value_mul(f, iota, self.splat32(f, along))
        columns = self.value_mul(f, iota, self.splat32(f, r["s2"]))
        first = r["low2"]

        def inside(steps: Value, at: Value) -> Value:
            column = self.value_add(f, steps, self.splat32(f, at))
            return f.value(self.bits, f"icmp ult {column.type} {column.name}, {limit.name}")

        self.declare("void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        lines = r["channels"] * r["span"] * r["steps"]
        whole = r["pitch"] + r["joined"]
        with f.loop(0, lines, carry=[f.target]) as line:
            (to,) = line.carried
            c = line.index // (r["span"] * r["steps"])
            left = line.index - c * (r["span"] * r["steps"])
            z = left // r["steps"]
            i0 = f.q0 * r["s0"] + r["low0"] + z
            i1 = f.q1 * r["s1"] + r["low1"] + (left - z * r["steps"])
            there = self.below(f, i0, r["d0"]) & self.below(f, i1, r["d1"])
            with f.either(there) as seam:
                row = f.at(f.source, c * r["x_channel"] + i0 * r["x0"] + i1 * r["x1"] + first * r["x2"])
                with f.either(plain) as way:
                    with f.loop(0, whole, lanes) as j:
                        mask = inside(iota, first + j.index)
                        at = f.at(row, j.index * e.memory_size)
                        x = self.masked(f, at, mask, zero)
                        ahead = f.at(at, r["x_channel"])
                        f.emit(f"call void @llvm.prefetch.p0(ptr {ahead.name}, i32 0, i32 3, i32 1)")
                        f.store(self.widen(f, x), f.at(to, j.index * size), align=size)
                    way.otherwise()
                    with f.either(pair) as other:
                        with f.loop(0, r["step"], lanes) as j:
                            at = f.at(row, j.index * (2 * e.memory_size))
                            p = first + j.index * 2
                            a = self.masked(f, at, inside(iota, p), zero)
                            b = self.masked(f, f.at(at, lanes * e.memory_size), inside(iota, p + lanes), zero)
                            for half in range(2):
                                ahead = f.at(f.at(at, r["x_channel"]), half * lanes * e.memory_size)
                                f.emit(f"call void @llvm.prefetch.p0(ptr {ahead.name}, i32 0, i32 3, i32 1)")
                            for phase in range(2):
                                x = self.widen(f, self.shuffle(f, a, b, range(phase, 2 * lanes, 2)))
                                f.store(x, f.at(to, (r["step"] * phase + j.index) * size), align=size)
                        other.otherwise()
                        with f.loop(0, r["s2"]) as phase:
                            with f.loop(0, r["step"] + r["joined"], lanes) as j:
                                mask = inside(columns, first + phase.index + j.index * r["s2"])
                                at = f.at(row, phase.index * r["x2"] + j.index * along)
                                x = self.widen(f, self.gathered(f, at, jumps, mask, zero))
                                f.store(x, f.at(to, (phase.index * r["step"] + j.index) * size), align=size)
                seam.otherwise()
                with f.loop(0, whole, lanes) as j:
                    f.store(f.constant(self.vector, 0), f.at(to, j.index * size), align=size)
            line.next = [f.at(to, r["pitch"] * size)]
        self.finish(f)

    def place_taps(self) -> None:
        """Bytes in the copy from a window's start to each tap."""
        f = self.function("place_taps", "ptr record, ptr into")
        r = self.frame(f, f.record)
        with f.loop(0, r["taps"]) as t:
            z, y, x = (self.tap(f, r["table"], t.index, f"off{i}") - r[f"low{i}"] for i in range(3))
            j = x // r["s2"]
            at = (z * r["steps"] + y) * r["pitch"] + (x - j * r["s2"]) * r["step"] + j
            f.store(at * self.e.sum_size, f.at(f.into, t.index * 8))
        self.finish(f)

    def task(self, f: Function, r: dict[str, Value]) -> tuple[Value, ...]:
        """Group, sample, plane and first row of windows of a task, and how many rows."""
        part, left = f.task % r["blocks"], f.task // r["blocks"]
        plane, left = left % r["o0"], left // r["o0"]
        group, sample = left % r["groups"], left // r["groups"]
        first = part * r["block"]
        return group, sample, plane, first, f.least(r["block"], r["o1"] - first)

    # ------------------------------------------------------------------ forward

    def heights(self) -> list[int]:
        """Outputs that are summed at a time: with some vectors of windows each, they fill the registers."""
        return [n for n in super().heights() if n * CELLS // 2 <= self.s.rows * self.s.vectors]

    def cost(self, f: Function, record: Value, rows: int) -> Value:
        cells = self.cells(rows)
        return self.up(f, self.get(f, record, "cells"), cells) * (cells * rows + 1)

    def sums(self, rows: int) -> None:
        """`rows` outputs for some vectors of windows: `cells` says where each is read, where it goes, and how many.

        Lanes of a second row of windows go to a place of their own. `final` 0: all go to the buffer instead.
        """
        e, lanes, size, cells = self.e, self.lanes, self.e.sum_size, self.cells(rows)
        f = self.function(
            f"sums_{rows}",
            "ptr record, ptr weights, ptr offsets, ptr cells, ptr buffer, i64 y_at, i64 count, i64 final",
        )
        taps, channels, step = (self.get(f, f.record, x) for x in ("taps", "channels", "copied"))
        begun = []
        for i in range(rows):
            begun += [self.splat(f, f.load(e.sum, f.at(f.weights, i * size), size))] * cells
        points = [f.load("ptr", f.at(f.cells, i * CELL)) for i in range(cells)]
        with f.loop(0, channels, carry=[*begun, *points, f.at(f.weights, rows * size)]) as c:
            sums, points, weight = c.carried[: rows * cells], c.carried[rows * cells : -1], c.carried[-1]
            with f.loop(0, taps, carry=[*sums, weight]) as t:
                *now, w = t.carried
                offset = f.load("i64", f.at(f.offsets, t.index * 8))
                x = [f.load(self.vector, f.at(p, offset), size) for p in points]
                following = []
                for i in range(rows):
                    factor = self.splat(f, f.load(e.sum, f.at(w, i * size), size))
                    following += [self.fused(f, factor, x[j], now[i * cells + j]) for j in range(cells)]
                t.next = [*following, f.at(w, rows * size)]
            *now, w = t.carried
            c.next = [*now, *(f.at(p, step) for p in points), w]
        found = c.carried[: rows * cells]
        with f.either(f.final.ne(0)) as seam:
            down = self.get(f, f.record, "y_channel")
            for j in range(cells):
                cell = f.at(f.cells, j * CELL)
                to, mask = f.at(f.load("ptr", f.at(cell, 8)), f.y_at), self.mask(f, f.load("i64", f.at(cell, 16)))
                for i in range(rows):
                    with f.when(f.count > i):
                        self.store(f, found[i * cells + j], f.at(to, down * i), mask)
                begin, end = f.load("i64", f.at(cell, 32)), f.load("i64", f.at(cell, 40))
                with f.when(end > begin):
                    to, before = f.at(f.load("ptr", f.at(cell, 24)), f.y_at), self.mask(f, begin)
                    mask = f.value(self.bits, f"xor {self.bits} {before.name}, {self.mask(f, end).name}")
                    for i in range(rows):
                        with f.when(f.count > i):
                            self.store(f, found[i * cells + j], f.at(to, down * i), mask)
            seam.otherwise()
            for i, x in enumerate(found):
                f.store(x, f.at(f.buffer, i * lanes * size), align=64)
        self.finish(f)

    def write_cells(self) -> None:
        """Sums of `together` vectors of windows for `count` outputs, where windows are not contiguous."""
        e, lanes, size = self.e, self.lanes, self.e.sum_size
        f = self.function("write_cells", "ptr record, ptr cells, i64 together, ptr buffer, i64 y_at, i64 count")
        step, down = self.get(f, f.record, "y2"), self.get(f, f.record, "y_channel")
        with f.loop(0, f.together * 2) as turn:  # lanes of a first row, and of a second one
            cell = f.at(f.cells, (turn.index >> 1) * CELL)
            second = (turn.index & 1).ne(0)
            begin = f.select(second, f.load("i64", f.at(cell, 32)), 0)
            end = f.load("i64", f.at(cell, f.select(second, f.constant("i64", 40), 16)))
            to = f.at(f.load("ptr", f.at(cell, f.select(second, f.constant("i64", 24), 8))), f.y_at)
            source = f.at(f.buffer, (turn.index >> 1) * (lanes * size))
            with f.when(end > begin):
                mask = f.value(self.bits, f"xor {self.bits} {self.mask(f, begin).name}, {self.mask(f, end).name}")
                halves = [self.even_lanes(f, mask, half) for half in range(2)]
                with f.loop(0, f.count, carry=[to, source]) as o:
                    target, line = o.carried
                    with f.either(step.eq(2 * e.memory_size)) as seam:
                        x = f.load(self.vector, line, 64)
                        for half, here in enumerate(halves):
                            order = [half * lanes // 2 + j // 2 for j in range(lanes)]
                            there = f.at(target, half * lanes * e.memory_size)
                            self.store(f, self.shuffle(f, x, x, order), there, here)
                        seam.otherwise()
                        with f.loop(begin, end) as lane:
                            x = f.load(e.sum, f.at(line, lane.index * size), size)
                            f.store(self.narrow(f, x), f.at(target, lane.index * step), align=e.memory_size)
                    o.next = [f.at(target, down), f.at(line, f.together * (lanes * size))]
        self.finish(f)

    def compute_rows(self) -> None:
        """Some rows of windows of one sample and group."""
        e, lanes, size = self.e, self.lanes, self.e.sum_size
        f = self.function("compute_rows", "ptr record, i64 task")
        r = self.frame(f, f.record)
        group, sample, plane, first, rows = self.task(f, r)
        copied = r["channels"] * r["copied"] + r["joined"] * size + 128
        memory = f.call("ptr", "@take", copied + r["taps"] * 8)
        table = f.at(memory, copied)
        f.call("void", "@place_taps", f.record, table)
        x_group = f.at(r["x"], sample * r["x_batch"] + group * r["channels"] * r["x_channel"])
        f.call("void", "@copy_rows", f.record, memory, x_group, plane, first)
        y = sample * r["y_batch"] + group * r["own"] * r["y_channel"] + plane * r["y0"]
        target = f.at(r["y"], y)
        unit = r["y2"].eq(e.memory_size)
        cells, line, joined = self.cut(f, f.record, rows)
        pitch = r["pitch"]
        buffer = f.alloca(self.vector, max(n * self.cells(n) for n in self.heights()))
        listed = f.alloca("i64", CELLS * CELL // 8)
        final = f.value("i64", f"zext i1 {unit.name} to i64")
        height = r["height"]
        together = self.cells_of(f, height)
        with f.loop(0, self.up(f, cells, together)) as turn:
            start = turn.index * together
            for i in range(CELLS):
                number = start + i
                valid = number < cells
                number = f.least(number, cells - 1)
                row = number * lanes // line
                column = number * lanes - row * line
                cell = f.at(listed, i * CELL)
                there = f.at(target, (first + row) * r["y1"])
                f.store(f.at(memory, (row * r["s1"] * pitch + column) * size), cell)
                f.store(f.at(there, column * r["y2"]), f.at(cell, 8))
                f.store(f.select(valid, f.least(r["o2"] - column, lanes), 0), f.at(cell, 16))
                begin = line - column
                f.store(f.at(there, r["y1"] - begin * r["y2"]), f.at(cell, 24))
                f.store(begin, f.at(cell, 32))
                more = valid & joined & (row + 1 < rows)
                f.store(f.select(more, f.least(begin + r["o2"], lanes), 0), f.at(cell, 40))
            with f.loop(0, r["tiles"]) as t:
                weights = f.at(r["packed"], (group * r["tiles"] + t.index) * r["tile_bytes"])
                o0 = t.index * height
                count = f.least(height, r["own"] - o0)
                at = o0 * r["y_channel"]
                f.call(
                    "void", r["kernel"].name, f.record, weights, table, listed, buffer, at, count, final
                )  # fmt: skip
                with f.when(unit.eq(0)):
                    f.call("void", "@write_cells", f.record, listed, together, buffer, at, count)
        f.call("void", "@give", memory)
        self.finish(f)

    def convolve(self) -> None:
        """The entry: out = convolution of x with w plus bias."""
        f = self.function("convolve", "ptr y, ptr x, ptr w, ptr bias, ptr plan, i64 work", linkage="", extra="")
        record = f.alloca("i64", len(FIELDS))
        self.read_plan(f, record)
        get = lambda name: self.get(f, record, name)  # noqa: E731
        with f.when((get("total") > 0) & (get("groups") > 0) & (get("own") > 0)):
            self.read_windows(f, record)
            memory = self.packing(f, record)
            tasks = get("batch") * get("groups") * get("o0") * get("blocks")
            f.call("void", "@spread", Value(f, "@compute_rows", "ptr"), record, tasks)
            f.call("void", "@give", memory)
        self.finish(f)

    # ------------------------------------------------------------------ the gradient of the weights

    def products(self, own: int, taps: int) -> None:
        """into[o][t] = sums over the windows of some rows of grad[o] * what taps t.. read, as vectors."""
        e, lanes, size = self.e, self.lanes, self.e.sum_size
        f = self.function(
            f"products_{own}_{taps}", "ptr record, ptr into, ptr offsets, i64 count, ptr copied, ptr grad, i64 rows"
        )
        r = self.frame(f, f.record)
        across = r["o2"]
        places = [f.load("i64", f.at(f.offsets, f.least(f.constant("i64", t), f.count - 1) * 8)) for t in range(taps)]
        points = [f.at(f.copied, p) for p in places]
        begun = [f.load(self.vector, f.at(f.into, i * lanes * size), 64) for i in range(own * taps)]
        zero = f.constant(self.vector, 0)
        unit = r["y2"].eq(e.memory_size)
        jumps = self.value_mul(f, self.iota(f), self.splat32(f, r["y2"]))
        suffix = f"v{lanes}{'f32' if e.sum == 'float' else 'f64' if e.sum == 'double' else e.sum}"
        name = f"@llvm.masked.load.{suffix}.p0"
        self.declare(f"{self.vector} {name}(ptr, i32, {self.bits}, {self.vector})")
        empty = f.constant(self.memory_vector, 0)
        step, down = r["s1"] * r["pitch"] * size, r["y1"]
        with f.loop(0, f.rows, carry=begun) as row:
            line, given = row.index * step, f.at(f.grad, row.index * down)
            with f.loop(0, across, lanes, carry=row.carried) as j:
                mask = self.mask(f, across - j.index)
                g = []
                for o in range(own):
                    at = f.at(given, j.index * r["y2"] + r["y_channel"] * o)
                    x = f.variable(self.memory_vector, empty)
                    with f.either(unit) as seam:
                        x.set(self.masked(f, at, mask, empty))
                        seam.otherwise()
                        x.set(self.gathered(f, at, jumps, mask, empty))
                    g.append(self.widen(f, x.get()))
                following = []
                x = []
                for p in points:
                    at = f.at(p, line + j.index * size)
                    given_ = f"ptr {at.name}, i32 {size}, {mask.type} {mask.name}, {self.vector} {zero.name}"
                    x.append(f.value(self.vector, f"call {self.vector} {name}({given_})"))
                for o in range(own):
                    following += [self.fused(f, g[o], x[t], j.carried[o * taps + t]) for t in range(taps)]
                j.next = following
            row.next = j.carried
        for i, x in enumerate(row.carried):
            f.store(x, f.at(f.into, i * lanes * size), align=64)
        self.finish(f)

    def compute_products(self) -> None:
        """The gradient's sums of one group over some samples, as vectors: sums[task][c][block of taps][o][t]."""
        lanes, size = self.lanes, self.e.sum_size
        f = self.function("compute_products", "ptr record, i64 task")
        r = self.frame(f, f.record)
        parts, group = r["own_parts"], f.task // r["own_parts"]
        part = f.task - group * parts
        b0, b1 = part * r["batch"] // parts, (part + 1) * r["batch"] // parts
        copied = r["channels"] * r["copied"] + r["joined"] * size + 128
        offsets = (r["taps"] * 8 + 127) & -64
        memory = f.call("ptr", "@take", copied + offsets)
        table = f.at(memory, copied)
        f.call("void", "@place_taps", f.record, table)
        bytes_ = r["together"]  # of the sums of a channel
        sums = f.at(r["sums"], f.task * r["channels"] * bytes_)
        with f.loop(0, r["channels"] * bytes_, lanes * size) as at:
            f.store(f.constant(self.vector, 0), f.at(sums, at.index), align=64)
        many = r["tiles"]  # taps at a time
        which = f.select(many.eq(TAPS[0]), f.constant("i64", 0), MOST) + r["own"] - 1
        kernel = f.load("ptr", f.at(Value(f, "@kernels", "ptr"), which * 8))
        inner = r["o0"] * r["blocks"]
        with f.loop(b0 * inner, b1 * inner) as turn:
            sample = turn.index // inner
            left = turn.index - sample * inner
            plane = left // r["blocks"]
            first = (left - plane * r["blocks"]) * r["block"]
            rows = f.least(r["block"], r["o1"] - first)
            x_group = f.at(r["x"], sample * r["x_batch"] + group * r["channels"] * r["x_channel"])
            f.call("void", "@copy_rows", f.record, memory, x_group, plane, first)
            y = sample * r["y_batch"] + group * r["own"] * r["y_channel"] + plane * r["y0"] + first * r["y1"]
            with f.loop(0, r["channels"]) as c:
                with f.loop(0, self.up(f, r["taps"], many)) as t:
                    start = t.index * many
                    into = f.at(sums, c.index * bytes_ + start * r["own"] * (lanes * size))
                    f.call(
                        "void", kernel.name, f.record, into, f.at(table, start * 8), f.least(r["taps"] - start, many),
                        f.at(memory, c.index * r["copied"]), f.at(r["y"], y), rows,
                    )  # fmt: skip
        f.call("void", "@give", memory)
        self.finish(f)

    def total_products(self) -> None:
        """w[o, c, t] of a group: the lanes and parts of its sums together."""
        e, lanes, size = self.e, self.lanes, self.e.sum_size
        f = self.function("total_products", "ptr record, i64 group")
        r = self.frame(f, f.record)
        many = r["tiles"]
        with f.loop(0, r["channels"]) as c:
            with f.loop(0, r["taps"]) as t:
                block = t.index // many
                inside = t.index - block * many
                with f.loop(0, r["own"]) as o:
                    at = (block * r["own"] * many + o.index * many + inside) * (lanes * size)
                    start = f.at(r["sums"], (f.group * r["own_parts"] * r["channels"] + c.index) * r["together"] + at)
                    zero = f.constant(self.vector, 0)
                    with f.loop(0, r["own_parts"], carry=[start, zero]) as part:
                        here, now = part.carried
                        following = self.plus(f, now, f.load(self.vector, here, 64))
                        part.next = [f.at(here, r["channels"] * r["together"]), following]
                    total, width = part.carried[1], lanes
                    while width > 1:
                        width //= 2
                        low, high = range(width), range(width, 2 * width)
                        total = self.plus(f, self.shuffle(f, total, total, low), self.shuffle(f, total, total, high))
                    one = f.value(e.sum, f"extractelement {total.type} {total.name}, i64 0")
                    to = f.group * r["w_group"] + o.index * r["w_own"] + c.index * r["w_channel"]
                    to = to + self.tap(f, r["table"], t.index, "weight") * e.memory_size
                    f.store(self.narrow(f, one), f.at(r["w"], to), align=e.memory_size)
        self.finish(f)

    def convolve_weight(self) -> None:
        """The entry: w = the gradient of the weights, of x and of the gradient y of the result."""
        f = self.function("convolve_weight", "ptr w, ptr x, ptr y, ptr plan, i64 work", linkage="", extra="")
        record = f.alloca("i64", len(FIELDS))
        f.bias = f.constant("ptr", 0)
        self.read_plan(f, record)
        get = lambda name: self.get(f, record, name)  # noqa: E731
        with f.when((get("groups") > 0) & (get("own") > 0) & (get("k") > 0)):
            self.read_windows(f, record)
            groups, taps = get("groups"), get("taps")
            small = (taps <= TAPS[1]) | (get("own") > 3)
            many = f.select(small, f.constant("i64", TAPS[1]), TAPS[0])
            parts = self.most(f, f.least(get("batch"), self.up(f, f.constant("i64", 16), groups)), 1)
            bytes_ = self.up(f, taps, many) * many * get("own") * (self.lanes * self.e.sum_size)
            memory = f.call("ptr", "@take", groups * parts * get("channels") * bytes_)
            self.set(f, record, tiles=many, own_parts=parts, together=bytes_, sums=memory)
            f.call("void", "@spread", Value(f, "@compute_products", "ptr"), record, groups * parts)
            f.call("void", "@spread", Value(f, "@total_products", "ptr"), record, groups)
            f.call("void", "@give", memory)
        self.finish(f)

    # ------------------------------------------------------------------ the module

    def text(self, entry: str = "convolve") -> str:
        """All functions that `entry` needs."""
        if entry == "convolve":
            for rows in self.heights():
                self.sums(rows)
            names = [f"ptr @sums_{rows}" for rows in self.heights()]
            self.turned(-(-self.s.rows // self.lanes))
            parts = [self.write_cells, self.pack_near, self.pack_weights, self.compute_rows, self.convolve]
        else:
            names = []
            for taps in TAPS:
                for own in range(1, MOST + 1):
                    if own * taps <= 28:
                        self.products(own, taps)
                        names.append(f"ptr @products_{own}_{taps}")
                    else:
                        names.append("ptr null")
            parts = [self.compute_products, self.total_products, self.convolve_weight]
        for part in (self.copy, self.place_taps, *parts, self.spread, self.memory):
            part()
        return self.assembled(names)


def rows_text(code: str, shape: Shape, entry: str) -> str:
    """The LLVM text for the element type `code`; `entry` is "convolve" or "convolve_weight"."""
    return Rows(ELEMENTS[code], shape).text(entry)
