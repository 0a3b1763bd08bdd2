"""The LLVM text of gradients of weights of many channels: for each tap, a product over the pixels.

    w[g, o, c, t] = sum over windows q of y[b, g, o, q] * x[b, g, c, q * stride + offset[t]]

Some windows at a time, x is copied inside its border and turned to [position][c], y to [window][o]. A tap's vectors of
channels then lie in the copy at the window's position plus that of the tap, so that nothing is copied for each tap; an
element of y is spread over them. Windows are cut in parts whose number depends on the shapes alone, their sums are
added in order. The calls and plans are those of `convolution_kernel`.
"""

from facula.native.text import Function, Value

from .convolution_kernel import FIELDS, PARTIAL, Writer
from .matmul_kernel import ELEMENTS, Shape

__all__ = ["turned_text"]

WINDOWS = 224  # windows that are summed while their copies stay in the nearest caches
TASKS = 16  # so many parts of the work at least, if there is as much


class Turned(Writer):
    """Writes the functions for one element type and machine."""

    def __init__(self, element, shape: Shape):
        super().__init__(element, shape)
        self.registers = -(-shape.rows // self.lanes)
        self.line_bytes = self.registers * self.lanes * element.sum_size  # bytes of a window's part of y

    def frame(self, f: Function, record: Value) -> dict[str, Value]:
        """All numbers of the call."""
        return {name: self.get(f, record, name) for name in FIELDS}

    def read_windows(self, f: Function, record: Value) -> None:
        """From the plan: how windows are cut in units, and how the copy of a unit lies.

        `block` rows of `wide` windows are a unit; a plane has `blocks` times `pieces` of them. Its copy has `span`
        planes of `steps` rows of `pitch` positions, `copied` bytes; `together` units are a chunk.
        """
        get = lambda name: self.get(f, record, name)  # noqa: E731
        lows, reach = self.reaches(f, record)
        o1, o2 = get("o1"), get("o2")
        pieces = self.up(f, o2, WINDOWS)
        wide = self.up(f, o2, pieces)
        rows = f.least(self.most(f, f.constant("i64", WINDOWS) // wide, 1), o1)
        blocks = self.up(f, o1, rows)
        rows = self.up(f, o1, blocks)
        together = self.most(f, f.constant("i64", WINDOWS) // (wide * rows), 1)
        units = get("batch") * get("o0") * blocks * pieces
        together = f.least(together, units)
        span, steps = reach[0] + 1, (rows - 1) * get("s1") + reach[1] + 1
        pitch = (wide - 1) * get("s2") + reach[2] + 1
        self.set(
            f, record, low0=lows[0], low1=lows[1], low2=lows[2], block=rows, blocks=blocks, wide=wide, pieces=pieces,
            span=span, steps=steps, pitch=pitch, copied=span * steps * pitch * self.bytes, together=together,
            chunks=self.up(f, units, together),
        )  # fmt: skip

    def turn_row(self) -> None:
        """target[j][c] = source[c][first + j] of a row, for j below `count`, 0 outside of the row's `limit` elements.

        A vector of channels; lanes past the last channel are written, too. `ahead` bytes on is what is read next.
        """
        e, lanes = self.e, self.lanes
        f = self.function(
            "turn_row",
            "ptr target, i64 pitch, ptr source, i64 channels, i64 down, i64 along, i64 first, i64 limit, i64 count, "
            "i64 ahead",
        )
        zero = f.constant(self.memory_vector, 0)
        iota, wall = self.iota(f), self.splat32(f, f.limit)
        with f.either(f.down.eq(e.memory_size) & f.along.ne(e.memory_size)) as kind:
            mask = self.mask(f, f.channels)
            with f.loop(0, f.count, carry=[f.target]) as j:
                at = f.first + j.index
                to = j.carried[0]
                with f.either(self.below(f, at, f.limit)) as seam:
                    f.store(self.load(f, f.at(f.source, at * f.along), mask), to, align=e.sum_size)
                    seam.otherwise()
                    f.store(f.constant(self.vector, 0), to, align=e.sum_size)
                j.next = [f.at(to, f.pitch)]
            kind.otherwise()
            jumps = self.value_mul(f, iota, self.splat32(f, f.along))
            places = [
                f.at(f.source, f.least(f.constant("i64", i), f.channels - 1) * f.down + f.first * f.along)
                for i in range(lanes)
            ]
            unit = f.along.eq(e.memory_size)
            self.declare("void @llvm.prefetch.p0(ptr, i32, i32, i32)")
            with f.loop(0, f.count, lanes, carry=[f.target]) as j:
                column = self.value_add(f, iota, self.splat32(f, f.first + j.index))
                mask = f.value(self.bits, f"icmp ult {column.type} {column.name}, {wall.name}")
                offset = j.index * f.along
                rows = [f.variable(self.memory_vector, zero) for _ in places]
                with f.either(unit) as seam:
                    for x, place in zip(rows, places, strict=True):
                        x.set(self.masked(f, f.at(place, offset), mask, zero))
                        following = f.at(place, offset + f.ahead)
                        f.emit(f"call void @llvm.prefetch.p0(ptr {following.name}, i32 0, i32 3, i32 1)")
                    seam.otherwise()
                    for x, place in zip(rows, places, strict=True):
                        x.set(self.gathered(f, f.at(place, offset), jumps, mask, zero))
                to, left = j.carried[0], f.count - j.index
                for i, x in enumerate(self.transposed(f, [self.widen(f, x.get()) for x in rows])):
                    with f.when(left > i):
                        f.store(x, f.at(to, f.pitch * i), align=e.sum_size)
                j.next = [f.at(to, f.pitch * lanes)]
        self.finish(f)

    def unit(self, f: Function, r: dict[str, Value], number: Value) -> tuple[Value, ...]:
        """Sample, plane, first row and column of windows of a unit, and how many rows and columns."""
        piece, left = number % r["pieces"], number // r["pieces"]
        part, left = left % r["blocks"], left // r["blocks"]
        plane, sample = left % r["o0"], left // r["o0"]
        q1, q2 = part * r["block"], piece * r["wide"]
        return sample, plane, q1, q2, f.least(r["block"], r["o1"] - q1), f.least(r["wide"], r["o2"] - q2)

    def turn_inputs(self) -> None:
        """The copy of a unit's positions: `channels` channels from `source`, the first of a sample."""
        size, lanes = self.e.sum_size, self.lanes
        f = self.function("turn_inputs", "ptr record, i64 number, ptr target, ptr source, i64 channels")
        r = self.frame(f, f.record)
        _, q0, q1, q2, _, _ = self.unit(f, r, f.number)
        i0, i1, i2 = q0 * r["s0"] + r["low0"], q1 * r["s1"] + r["low1"], q2 * r["s2"] + r["low2"]
        for v in range(self.s.vectors):
            here = f.channels - v * lanes
            with f.when(here > 0):
                with f.loop(0, r["span"] * r["steps"]) as line:
                    z = line.index // r["steps"]
                    p0, p1 = i0 + z, i1 + (line.index - z * r["steps"])
                    there = self.below(f, p0, r["d0"]) & self.below(f, p1, r["d1"])
                    source = f.at(f.source, p0 * r["x0"] + p1 * r["x1"] + r["x_channel"] * (v * lanes))
                    f.call(
                        "void", "@turn_row", f.at(f.target, line.index * r["pitch"] * self.bytes + v * lanes * size),
                        f.constant("i64", self.bytes), source, f.least(here, lanes), r["x_channel"], r["x2"], i2,
                        f.select(there, r["d2"], 0), r["pitch"], r["x_channel"] * lanes,
                    )  # fmt: skip
        self.finish(f)

    def turn_results(self) -> None:
        """The windows of `units` units from `first` on, to the part of y that is tile `tile` of `group`."""
        size, lanes = self.e.sum_size, self.lanes
        f = self.function("turn_results", "ptr record, i64 first, i64 units, ptr target, i64 group, i64 tile")
        r = self.frame(f, f.record)
        o = f.tile * r["height"]
        count = f.least(r["height"], r["own"] - o)
        source = f.at(r["y"], (f.group * r["own"] + o) * r["y_channel"])
        at = f.variable("ptr", f.target)
        joined = r["y1"].eq(r["o2"] * r["y2"]) & r["pieces"].eq(1)  # rows are one
        with f.loop(0, f.units) as u:
            b, q0, q1, q2, rows, columns = self.unit(f, r, f.first + u.index)
            limit = f.select(joined, rows * columns, r["o2"])
            columns, rows = f.select(joined, rows * columns, columns), f.select(joined, 1, rows)
            with f.loop(0, rows) as row:
                place = b * r["y_batch"] + q0 * r["y0"] + (q1 + row.index) * r["y1"]
                for v in range(self.registers):
                    here = count - v * lanes
                    with f.when(here > 0):
                        f.call(
                            "void", "@turn_row", f.at(at.get(), v * lanes * size), f.constant("i64", self.line_bytes),
                            f.at(source, place + r["y_channel"] * (v * lanes)), f.least(here, lanes), r["y_channel"],
                            r["y2"], q2, limit, columns, r["y_channel"] * lanes,
                        )  # fmt: skip
                at.set(f.at(at.get(), columns * self.line_bytes))
        self.finish(f)

    def places(self) -> None:
        """Where in the copies of `units` units their windows are; how many windows."""
        f = self.function("places", "ptr record, i64 first, i64 units, ptr into", "i64")
        r = self.frame(f, f.record)
        to = f.variable("ptr", f.into)
        n = f.variable("i64", 0)
        with f.loop(0, f.units) as u:
            *_, rows, columns = self.unit(f, r, f.first + u.index)
            with f.loop(0, rows) as row:
                start = u.index * r["copied"] + row.index * r["s1"] * r["pitch"] * self.bytes
                here = to.get()
                with f.loop(0, columns) as q:
                    f.store(start + q.index * r["s2"] * self.bytes, f.at(here, q.index * 8))
                to.set(f.at(here, columns * 8))
                n.set(n.get() + columns)
        self.finish(f, n.get())

    def micro_turned(self, rows: int, vectors: int) -> None:
        """sums[i][c] += y[window][i] * x[place of the window][c]; of sums that are 0 where it `begins`."""
        lanes, size = self.lanes, self.e.sum_size
        f = self.function(f"micro_{rows}_{vectors}", "i64 n, ptr y, ptr places, ptr x, ptr sums, i64 down, i64 begins")
        spots = [f.at(f.sums, f.down * (i * self.s.vectors + v)) for i in range(rows) for v in range(vectors)]
        begun = [f.variable(self.vector, 0) for _ in spots]
        with f.when(f.begins.eq(0)):
            for x, spot in zip(begun, spots, strict=True):
                x.set(f.load(self.vector, spot, 64))
        with f.loop(0, f.n, carry=[*(x.get() for x in begun), f.y]) as p:
            *now, a = p.carried
            b = f.at(f.x, f.load("i64", f.at(f.places, p.index * 8)))
            right = [f.load(self.vector, f.at(b, v * lanes * size), 64) for v in range(vectors)]
            following = []
            for i in range(rows):
                left = self.splat(f, f.load(self.e.sum, f.at(a, i * size), size))
                following += [self.fused(f, left, right[v], now[i * vectors + v]) for v in range(vectors)]
            p.next = [*following, f.at(a, self.line_bytes)]
        for x, spot in zip(p.carried, spots, strict=False):
            f.store(x, spot, align=64)
        self.finish(f)

    def compute_turned(self) -> None:
        """The sums of some slivers of channels over one part of the windows."""
        vector = self.lanes * self.e.sum_size
        f = self.function("compute_turned", "ptr record, i64 task")
        r = self.frame(f, f.record)
        part, left = f.task % r["parts"], f.task // r["parts"]
        share, group = left % r["own_parts"], left // r["own_parts"]
        s0 = share * r["slivers_each"]
        slivers = f.least(r["slivers_each"], r["slivers"] - s0)
        k0, k1 = part * r["chunks"] // r["parts"], (part + 1) * r["chunks"] // r["parts"]
        units = r["batch"] * r["o0"] * r["blocks"] * r["pieces"]
        windows = r["together"] * r["block"] * r["wide"]
        tile_bytes = r["height"] * r["taps"] * self.bytes
        grads = windows * self.line_bytes  # of one tile
        copied = r["together"] * r["copied"]
        listed = (windows * 8 + r["taps"] * 8 + 63) & -64
        # Sums of one part go to w at once, from the same memory for each task.
        alone = r["parts"].eq(1)
        record = self.copy_record(f, f.record)
        own = f.select(alone, r["tile_bytes"], 0)
        memory = f.call("ptr", "@take", copied + r["tiles"] * grads + listed + own)
        given = f.at(memory, copied)
        table = f.at(given, r["tiles"] * grads)
        offsets = f.at(table, windows * 8)
        with f.loop(0, r["taps"]) as t:
            z, y, x = (self.tap(f, r["table"], t.index, f"off{i}") - r[f"low{i}"] for i in range(3))
            place = (z * r["steps"] + y) * r["pitch"] + x
            f.store(place * self.bytes, f.at(offsets, t.index * 8))
        before = f.task * r["tile_bytes"]
        here = f.at(table, listed)
        self.set(f, record, sums=f.select(alone, f.at(here, f.constant("i64", 0) - before), r["sums"]))
        sums = f.at(self.get(f, record, "sums"), before)
        with f.loop(k0, k1) as chunk:
            u0 = chunk.index * r["together"]
            here = f.least(r["together"], units - u0)
            fresh = chunk.index.eq(k0)
            fresh = f.value("i64", f"zext i1 {fresh.name} to i64")
            n = f.call("i64", "@places", f.record, u0, here, table)
            with f.loop(0, r["tiles"]) as t:
                f.call("void", "@turn_results", f.record, u0, here, f.at(given, t.index * grads), group, t.index)
            with f.loop(0, slivers) as s:
                c0 = (s0 + s.index) * self.width
                channels = f.least(r["channels"] - c0, self.width)
                with f.loop(0, here) as u:
                    b = self.unit(f, r, u0 + u.index)[0]
                    source = f.at(r["x"], b * r["x_batch"] + (group * r["channels"] + c0) * r["x_channel"])
                    target = f.at(memory, u.index * r["copied"])
                    f.call("void", "@turn_inputs", f.record, u0 + u.index, target, source, channels)
                which = (channels - 1) // self.lanes
                kernel = f.load("ptr", f.at(r["kernel"], which * (8 * len(self.heights()))))
                with f.loop(0, r["taps"]) as t:
                    x = f.at(memory, f.load("i64", f.at(offsets, t.index * 8)))
                    with f.loop(0, r["tiles"]) as tile:
                        into = f.at(sums, (s.index * r["tiles"] + tile.index) * tile_bytes + t.index * vector)
                        f.call(
                            "void", kernel.name, n, f.at(given, tile.index * grads), table, x, into,
                            r["taps"] * vector, fresh,
                        )  # fmt: skip
        with f.when(alone):
            with f.loop(0, slivers * r["tiles"]) as i:
                s, tile = i.index // r["tiles"], i.index % r["tiles"]
                f.call("void", "@total", record, group, s0 + s, tile)
        f.call("void", "@give", memory)
        self.finish(f)

    def total(self) -> None:
        """w of a tile of outputs and a sliver of channels: the sums of all parts."""
        e, lanes, size = self.e, self.lanes, self.e.sum_size
        f = self.function("total", "ptr record, i64 group, i64 sliver, i64 tile")
        r = self.frame(f, f.record)
        share = f.sliver // r["slivers_each"]
        tile_bytes = r["height"] * r["taps"] * self.bytes
        task = (f.group * r["own_parts"] + share) * r["parts"]
        inner = (f.sliver - share * r["slivers_each"]) * r["tiles"] + f.tile
        start = f.at(r["sums"], task * r["tile_bytes"] + inner * tile_bytes)
        o0 = f.tile * r["height"]
        target = f.at(r["w"], f.group * r["w_group"] + o0 * r["w_own"])
        taps = r["taps"]
        straight = r["w_channel"].eq(e.memory_size)
        plain = f.variable("i1", r["w_channel"].eq(taps * e.memory_size))
        with f.loop(0, taps) as t:
            plain.set(plain.get() & self.tap(f, r["table"], t.index, "weight").eq(t.index))
        square, run = f.alloca(self.vector, lanes), f.alloca(self.vector, lanes + 1)
        vector = lanes * size

        def added(at: Value) -> Value:
            with f.loop(0, r["parts"], carry=[at, f.constant(self.vector, 0)]) as part:
                here, now = part.carried
                part.next = [f.at(here, r["tile_bytes"]), self.plus(f, now, f.load(self.vector, here, 64))]
            return part.carried[1]

        with f.loop(0, f.least(r["height"], r["own"] - o0)) as i:
            with f.loop(0, f.constant("i64", self.s.vectors)) as v:
                c0 = f.sliver * self.width + v.index * lanes
                channels = f.least(r["channels"] - c0, lanes)
                with f.when(channels > 0):
                    source = f.at(start, (i.index * self.s.vectors + v.index) * taps * vector)
                    to = f.at(target, i.index * r["w_own"] + c0 * r["w_channel"])
                    with f.either(straight) as seam:
                        mask = self.mask(f, channels)
                        with f.loop(0, taps) as t:
                            place = self.tap(f, r["table"], t.index, "weight") * e.memory_size
                            self.store(f, added(f.at(source, t.index * vector)), f.at(to, place), mask)
                        seam.otherwise()
                        with f.loop(0, taps, lanes) as t:
                            left = f.least(taps - t.index, lanes)
                            with f.loop(0, left) as line:
                                x = added(f.at(source, (t.index + line.index) * vector))
                                f.store(x, f.at(square, line.index * vector), align=64)
                            rows = [f.load(self.vector, f.at(square, j * vector), 64) for j in range(lanes)]
                            columns = self.transposed(f, rows)
                            with f.either(plain.get() & (taps <= lanes)) as way:
                                # What a vector writes past its channel is overwritten by the next.
                                for j, x in enumerate(columns):
                                    f.store(x, f.at(run, taps * (j * size)), align=size)
                                with f.loop(0, channels * taps, lanes) as at:
                                    ahead = f.at(to, r["w_own"] * 2 + at.index * e.memory_size)
                                    f.emit(f"call void @llvm.prefetch.p0(ptr {ahead.name}, i32 1, i32 3, i32 1)")
                                    x = f.load(self.vector, f.at(run, at.index * size), 64)
                                    mask = self.mask(f, channels * taps - at.index)
                                    self.store(f, x, f.at(to, at.index * e.memory_size), mask)
                                way.otherwise()
                                with f.either(plain.get()) as long:
                                    mask = self.mask(f, left)
                                    for j, x in enumerate(columns):
                                        with f.when(channels > j):
                                            there = f.at(to, r["w_channel"] * j + t.index * e.memory_size)
                                            self.store(f, x, there, mask)
                                    long.otherwise()
                                    with f.loop(0, left) as line:
                                        tap = t.index + line.index
                                        place = self.tap(f, r["table"], tap, "weight") * e.memory_size
                                        with f.loop(0, channels) as c:
                                            at = f.at(square, line.index * vector + c.index * size)
                                            x = self.narrow(f, f.load(e.sum, at, size))
                                            there = f.at(to, place + c.index * r["w_channel"])
                                            f.store(x, there, align=e.memory_size)
        self.finish(f)

    def total_task(self) -> None:
        """One tile of a sliver."""
        f = self.function("total_task", "ptr record, i64 task")
        r = {name: self.get(f, f.record, name) for name in ("tiles", "slivers")}
        tile, left = f.task % r["tiles"], f.task // r["tiles"]
        f.call("void", "@total", f.record, left // r["slivers"], left % r["slivers"], tile)
        self.finish(f)

    def convolve_weight(self) -> None:
        """The entry: w = the gradient of the weights, of x and of the gradient y of the result."""
        f = self.function("convolve_weight", "ptr w, ptr x, ptr y, ptr plan, i64 work", linkage="", extra="")
        record = f.alloca("i64", len(FIELDS))
        f.bias = f.constant("ptr", 0)
        self.read_plan(f, record)
        get = lambda name: self.get(f, record, name)  # noqa: E731
        some = (get("groups") > 0) & (get("own") > 0) & (get("k") > 0)
        with f.when(some & (get("total") > 0)):
            self.read_windows(f, record)
            self.choose(f, record, get("own"), 0)
            groups, own, channels, chunks = (get(x) for x in ("groups", "own", "channels", "chunks"))
            tiles, slivers = self.up(f, own, get("height")), self.up(f, channels, self.width)
            # Parts of the windows while their sums are few, then of the channels.
            size = groups * tiles * get("height") * slivers * self.width * get("taps")
            parts = f.least(f.constant("i64", PARTIAL) // size, TASKS)
            parts = self.most(f, parts, self.up(f, f.constant("i64", TASKS), groups * slivers))
            parts = self.most(f, f.least(f.least(parts, chunks // 2), self.up(f, f.constant("i64", 32), groups)), 1)
            shares = f.least(slivers, self.up(f, f.constant("i64", TASKS), groups * parts))
            each = self.up(f, slivers, shares)
            shares = self.up(f, slivers, each)
            tile_bytes = each * get("taps") * tiles * get("height") * self.bytes
            tasks = groups * shares * parts
            memory = f.call("ptr", "@take", f.select(parts > 1, tasks * tile_bytes, 64))
            # The kernels of one height stand a table's length apart.
            where = f.variable("ptr", Value(f, "@kernels", "ptr"))
            for i, rows in enumerate(self.heights()):
                there = f.at(Value(f, "@kernels", "ptr"), 8 * i)
                where.set(f.select(get("height").eq(rows), there, where.get()))
            self.set(
                f, record, tiles=tiles, slivers=slivers, parts=parts, own_parts=shares, slivers_each=each,
                tile_bytes=tile_bytes, sums=memory, kernel=where.get(),
            )  # fmt: skip
            f.call("void", "@spread", Value(f, "@compute_turned", "ptr"), record, tasks)
            with f.when(parts > 1):
                f.call("void", "@spread", Value(f, "@total_task", "ptr"), record, groups * slivers * tiles)
            f.call("void", "@give", memory)
        with f.when(some & get("total").eq(0)):
            self.clear(f, record)
        self.finish(f)

    def clear(self, f: Function, record: Value) -> None:
        """w = 0, of no windows."""
        r = self.frame(f, record)
        with f.loop(0, r["groups"] * r["own"]) as i:
            group = i.index // r["own"]
            line = f.at(r["w"], group * r["w_group"] + (i.index - group * r["own"]) * r["w_own"])
            with f.loop(0, r["channels"]) as c:
                with f.loop(0, r["taps"]) as t:
                    place = self.tap(f, r["table"], t.index, "weight") * self.e.memory_size
                    zero = f.constant(self.e.memory, 0)
                    f.store(zero, f.at(line, c.index * r["w_channel"] + place), align=self.e.memory_size)

    def text(self, entry: str = "convolve_weight") -> str:
        """All functions."""
        names = [f"micro_{rows}_{v + 1}" for v in range(self.s.vectors) for rows in self.heights()]
        for v in range(self.s.vectors):
            for rows in self.heights():
                self.micro_turned(rows, v + 1)
        for part in (
            self.turn_row, self.turn_inputs, self.turn_results, self.places, self.compute_turned, self.total,
            self.total_task, self.convolve_weight, self.spread, self.memory,
        ):  # fmt: skip
            part()
        return self.assembled([f"ptr @{n}" for n in names])


def turned_text(code: str, shape: Shape, entry: str) -> str:
    """The LLVM text for the element type `code`; `entry` is "convolve_weight"."""
    return Turned(ELEMENTS[code], shape).text(entry)
