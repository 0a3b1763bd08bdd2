"""The LLVM text of convolutions of each channel by itself where channels are innermost: vectors are channels.

A group has one output and one channel. Of each row of windows the taps that lie inside are listed; what they read are
vectors where they lie, nothing is copied. The calls and plans are those of `convolution_kernel`.
"""

from facula.native.text import Function, Value

from .convolution_kernel import FIELDS, Writer
from .matmul_kernel import ELEMENTS, Shape

__all__ = ["channels_text"]

TOGETHER = 4  # windows that are summed at a time
LISTED = 24  # bytes of a tap that is listed: where it reads, its weights, its offset along the row
WORK = 1 << 17  # multiplications of a task
PARTS = 16  # parts of the rows that have sums of their own


class Channels(Writer):
    """Writes the functions for one element type and machine."""

    def frame(self, f: Function, record: Value) -> dict[str, Value]:
        """All numbers of the call; `pitch`: bytes of a tap's weights."""
        return {name: self.get(f, record, name) for name in FIELDS}

    def row(self, f: Function, r: dict[str, Value], number: Value) -> tuple[Value, ...]:
        """Where a row of windows begins in x (in dims 0 and 1, and its address) and in y."""
        plane = number // r["o1"]
        q1, b = number - plane * r["o1"], plane // r["o0"]
        q0 = plane - b * r["o0"]
        i0, i1 = q0 * r["s0"], q1 * r["s1"]
        x = f.at(r["x"], b * r["x_batch"] + i0 * r["x0"] + i1 * r["x1"])
        return i0, i1, x, f.at(r["y"], b * r["y_batch"] + q0 * r["y0"] + q1 * r["y1"])

    def below_row(self, f: Function, record: Value) -> Value:
        """From where a row of windows begins in x to the lowest row that the next one reads."""
        lows, reach = self.reaches(f, record)
        return (lows[1] + reach[1] + self.get(f, record, "s1")) * self.get(f, record, "x1")

    def columns(self, f: Function, r: dict[str, Value], low: Value, high: Value) -> tuple[Value, Value]:
        """The windows of a row that lie inside with offsets from `low` to `high`: from which to which."""
        zero = f.constant("i64", 0)
        first = f.least(self.up(f, self.most(f, zero - low, zero), r["s2"]), r["o2"])
        room = r["d2"] - 1 - high
        last = f.select(room >= 0, self.most(f, room, zero) // r["s2"] + 1, 0)
        return first, self.most(f, f.least(last, r["o2"]), first)

    def inside(self, f: Function, r: dict[str, Value], t: Value, i0: Value, i1: Value) -> Value:
        """Whether a tap is, in dims 0 and 1."""
        off0, off1 = (self.tap(f, r["table"], t, f"off{i}") for i in range(2))
        return self.below(f, i0 + off0, r["d0"]) & self.below(f, i1 + off1, r["d1"])

    # ------------------------------------------------------------------ forward

    def windows(self, count: int) -> None:
        """`count` windows of a row: bias and `n` listed taps, for all channels."""
        e, size = self.e, self.e.sum_size
        f = self.function(f"windows_{count}", "ptr record, i64 n, ptr listed, ptr x, ptr y")
        step = self.get(f, f.record, "s2") * self.get(f, f.record, "x2")
        groups, packed, down = (self.get(f, f.record, name) for name in ("groups", "packed", "y2"))
        self.declare("void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        # What the next row reads for the first time is fetched meanwhile, and where it goes.
        ahead = self.get(f, f.record, "step")
        below = self.get(f, f.record, "y1")
        with f.loop(0, groups, self.lanes) as g:
            mask = self.mask(f, groups - g.index)
            weights = f.at(packed, g.index * size)
            bias = f.load(self.vector, weights, 64)
            x, y = f.at(f.x, g.index * e.memory_size), f.at(f.y, g.index * e.memory_size)
            points = [f.at(x, step * j) for j in range(count)]
            with f.loop(0, f.n, carry=[bias] * count) as i:
                entry = f.at(f.listed, i.index * LISTED)
                place = f.load("i64", entry)
                factor = f.load(self.vector, f.at(weights, f.load("i64", f.at(entry, 8))), 64)
                read = [self.load(f, f.at(p, place), mask) for p in points]
                i.next = [self.fused(f, factor, v, now) for v, now in zip(read, i.carried, strict=True)]
            for j, total in enumerate(i.carried):
                self.store(f, total, f.at(y, down * j), mask)
                for at, write in ((f.at(points[j], ahead), 0), (f.at(y, down * j + below), 1)):
                    f.emit(f"call void @llvm.prefetch.p0(ptr {at.name}, i32 {write}, i32 3, i32 1)")
        self.finish(f)

    def compute_channels(self) -> None:
        """Some rows of windows."""
        f = self.function("compute_channels", "ptr record, i64 task")
        r = self.frame(f, f.record)
        memory = f.call("ptr", "@take", r["taps"] * (2 * LISTED) + 64)
        few = f.at(memory, r["taps"] * LISTED)
        last = f.least((f.task + 1) * r["span"], r["batch"] * r["o0"] * r["o1"])
        step = r["s2"] * r["x2"]
        with f.loop(f.task * r["span"], last) as row:
            i0, i1, x, y = self.row(f, r, row.index)
            n, low, high = f.variable("i64", 0), f.variable("i64", 0), f.variable("i64", 0)
            with f.loop(0, r["taps"]) as t:
                with f.when(self.inside(f, r, t.index, i0, i1)):
                    entry, off = f.at(memory, n.get() * LISTED), self.tap(f, r["table"], t.index, "off2")
                    f.store(self.tap(f, r["table"], t.index, "place") * self.e.memory_size, entry)
                    f.store((t.index + 1) * r["pitch"], f.at(entry, 8))
                    f.store(off, f.at(entry, 16))
                    first = n.get().eq(0)
                    low.set(f.select(first, off, f.least(off, low.get())))
                    high.set(f.select(first, off, self.most(f, off, high.get())))
                    n.set(n.get() + 1)
            begin, end = self.columns(f, r, low.get(), high.get())
            whole = begin + (end - begin) // TOGETHER * TOGETHER
            with f.loop(begin, whole, TOGETHER) as q:
                there = f.at(x, q.index * step), f.at(y, q.index * r["y2"])
                f.call("void", f"@windows_{TOGETHER}", f.record, n.get(), memory, *there)
            # Those whose taps lie outside in part, and what is left.
            with f.loop(0, r["o2"] - (whole - begin)) as rest:
                q = f.select(rest.index < begin, rest.index, rest.index + (whole - begin))
                here = f.variable("i64", 0)
                with f.loop(0, n.get()) as i:
                    entry = f.at(memory, i.index * LISTED)
                    with f.when(self.below(f, q * r["s2"] + f.load("i64", f.at(entry, 16)), r["d2"])):
                        to = f.at(few, here.get() * LISTED)
                        f.store(f.load("i64", entry), to)
                        f.store(f.load("i64", f.at(entry, 8)), f.at(to, 8))
                        here.set(here.get() + 1)
                f.call("void", "@windows_1", f.record, here.get(), few, f.at(x, q * step), f.at(y, q * r["y2"]))
        f.call("void", "@give", memory)
        self.finish(f)

    def convolve(self) -> None:
        """The entry: out = convolution of x with w plus bias."""
        e, size = self.e, self.e.sum_size
        f = self.function("convolve", "ptr y, ptr x, ptr w, ptr bias, ptr plan, i64 work", linkage="", extra="")
        record = f.alloca("i64", len(FIELDS))
        self.read_plan(f, record)
        get = lambda name: self.get(f, record, name)  # noqa: E731
        with f.when((get("total") > 0) & (get("groups") > 0)):
            groups, taps = get("groups"), get("taps")
            pitch = self.up(f, groups, self.lanes) * (self.lanes * size)
            packed = f.call("ptr", "@take", (taps + 1) * pitch)
            with f.loop(0, groups) as g:
                bias = f.variable(e.sum, 0)
                with f.when(f.bias.ne(0)):
                    bias.set(self.load_one(f, f.at(f.bias, g.index * e.memory_size)))
                at = f.at(packed, g.index * size)
                f.store(bias.get(), at, align=size)
                source = f.at(f.w, g.index * get("w_group"))
                with f.loop(0, taps) as t:
                    weight = self.tap(f, get("table"), t.index, "weight") * e.memory_size
                    f.store(self.load_one(f, f.at(source, weight)), f.at(at, (t.index + 1) * pitch), align=size)
            rows = get("batch") * get("o0") * get("o1")
            work = get("o2") * groups * self.most(f, taps, 1)
            span = self.most(f, f.constant("i64", WORK) // work, 1)
            self.set(f, record, packed=packed, pitch=pitch, span=span, step=self.below_row(f, record))
            f.call("void", "@spread", Value(f, "@compute_channels", "ptr"), record, self.up(f, rows, span))
            f.call("void", "@give", packed)
        self.finish(f)

    # ------------------------------------------------------------------ the gradient of the weights

    def tap_products(self) -> None:
        """into[channel] += x * y over `count` windows of a row, for one tap."""
        e, lanes, size = self.e, self.lanes, self.e.sum_size
        f = self.function("tap_products", "ptr record, ptr into, ptr x, ptr y, i64 count")
        step = self.get(f, f.record, "s2") * self.get(f, f.record, "x2")
        groups, down = self.get(f, f.record, "groups"), self.get(f, f.record, "y2")
        whole = f.count // TOGETHER * TOGETHER
        with f.loop(0, groups, lanes) as g:
            mask = self.mask(f, groups - g.index)
            spot = f.at(f.into, g.index * size)
            begun = f.load(self.vector, spot, 64)
            offset = g.index * e.memory_size

            def product(x: Value, y: Value, now: Value, j: int = 0, mask: Value = mask) -> Value:
                return self.fused(f, self.load(f, f.at(x, step * j), mask), self.load(f, f.at(y, down * j), mask), now)

            zero = f.constant(self.vector, 0)
            sums = [begun] + [zero] * (TOGETHER - 1)
            with f.loop(0, whole, TOGETHER, carry=[*sums, f.at(f.x, offset), f.at(f.y, offset)]) as q:
                *now, x, y = q.carried
                q.next = [product(x, y, total, j) for j, total in enumerate(now)]
                q.next += [f.at(x, step * TOGETHER), f.at(y, down * TOGETHER)]
            *sums, x, y = q.carried
            with f.loop(whole, f.count, carry=[sums[0], x, y]) as q:
                total, x, y = q.carried
                q.next = [product(x, y, total), f.at(x, step), f.at(y, down)]
            total = q.carried[0]
            for more in sums[1:]:
                total = self.plus(f, total, more)
            f.store(total, spot, align=64)
        self.finish(f)

    def compute_products(self) -> None:
        """The sums of a part of the rows of windows: sums[part][t][channel]."""
        f = self.function("compute_products", "ptr record, i64 part")
        r = self.frame(f, f.record)
        sums = f.at(r["sums"], f.part * r["taps"] * r["pitch"])
        with f.loop(0, r["taps"] * r["pitch"], self.lanes * self.e.sum_size) as at:
            f.store(f.constant(self.vector, 0), f.at(sums, at.index), align=64)
        rows, step = r["batch"] * r["o0"] * r["o1"], r["s2"] * r["x2"]
        self.declare("void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        with f.loop(f.part * rows // r["parts"], (f.part + 1) * rows // r["parts"]) as row:
            i0, i1, x, y = self.row(f, r, row.index)
            with f.loop(0, r["taps"]) as t:
                # A part of the next rows is fetched meanwhile.
                for start, bytes_ in ((f.at(x, r["step"]), r["d2"] * r["x2"]), (f.at(y, r["y1"]), r["o2"] * r["y2"])):
                    lines = bytes_ // 64
                    with f.loop(t.index * lines // r["taps"], (t.index + 1) * lines // r["taps"]) as line:
                        at = f.at(start, line.index * 64)
                        f.emit(f"call void @llvm.prefetch.p0(ptr {at.name}, i32 0, i32 3, i32 1)")
                with f.when(self.inside(f, r, t.index, i0, i1)):
                    off = self.tap(f, r["table"], t.index, "off2")
                    begin, end = self.columns(f, r, off, off)
                    place = self.tap(f, r["table"], t.index, "place") * self.e.memory_size + begin * step
                    f.call(
                        "void", "@tap_products", f.record, f.at(sums, t.index * r["pitch"]), f.at(x, place),
                        f.at(y, begin * r["y2"]), end - begin,
                    )  # fmt: skip
        self.finish(f)

    def convolve_weight(self) -> None:
        """The entry: w = the gradient of the weights, of x and of the gradient y of the result."""
        e, lanes, size = self.e, self.lanes, self.e.sum_size
        f = self.function("convolve_weight", "ptr w, ptr x, ptr y, ptr plan, i64 work", linkage="", extra="")
        record = f.alloca("i64", len(FIELDS))
        f.bias = f.constant("ptr", 0)
        self.read_plan(f, record)
        get = lambda name: self.get(f, record, name)  # noqa: E731
        with f.when((get("groups") > 0) & (get("taps") > 0)):
            groups, taps = get("groups"), get("taps")
            pitch = self.up(f, groups, lanes) * (lanes * size)
            parts = self.most(f, f.least(get("batch") * get("o0") * get("o1"), PARTS), 1)
            sums = f.call("ptr", "@take", parts * taps * pitch)
            self.set(f, record, sums=sums, pitch=pitch, parts=parts, step=self.below_row(f, record))
            f.call("void", "@spread", Value(f, "@compute_products", "ptr"), record, parts)
            square = f.alloca(self.vector)
            with f.loop(0, taps) as t:
                weight = self.tap(f, get("table"), t.index, "weight") * e.memory_size
                with f.loop(0, groups, lanes) as g:
                    start = f.at(sums, t.index * pitch + g.index * size)
                    with f.loop(0, parts, carry=[start, f.constant(self.vector, 0)]) as part:
                        here, now = part.carried
                        part.next = [f.at(here, taps * pitch), self.plus(f, now, f.load(self.vector, here, 64))]
                    f.store(part.carried[1], square, align=64)
                    with f.loop(0, f.least(groups - g.index, lanes)) as i:
                        x = self.narrow(f, f.load(e.sum, f.at(square, i.index * size), size))
                        to = f.at(f.w, (g.index + i.index) * get("w_group") + weight)
                        f.store(x, to, align=e.memory_size)
            f.call("void", "@give", sums)
        self.finish(f)

    def text(self, entry: str = "convolve") -> str:
        """All functions that `entry` needs."""
        if entry == "convolve":
            for count in (1, TOGETHER):
                self.windows(count)
            parts = [self.compute_channels, self.convolve]
        else:
            parts = [self.tap_products, self.compute_products, self.convolve_weight]
        for part in (*parts, self.spread, self.memory):
            part()
        return self.assembled()


def channels_text(code: str, shape: Shape, entry: str) -> str:
    """The LLVM text for the element type `code`; `entry` is "convolve" or "convolve_weight"."""
    return Channels(ELEMENTS[code], shape).text(entry)
