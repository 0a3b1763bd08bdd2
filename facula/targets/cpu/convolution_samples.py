"""The LLVM text of convolutions of small images, of many samples: vectors are samples.

Rows of a few windows fill no vector, but a window of as many samples as a vector has lanes does. x is copied inside its
border as [channel][position][sample]; what a tap reads is then a vector of the copy, whatever the strides. Weights are
read where they lie, unless they have to be converted. The calls and plans are those of `convolution_kernel`.
"""

from facula.native.text import Function, Value

from .convolution_kernel import FIELDS
from .convolution_turned import Turned
from .matmul_kernel import ELEMENTS, Shape

__all__ = ["samples_text"]

COPY = 1 << 18  # bytes of the copy that are read ...
WEIGHTS = 1 << 15  # ... and of the weights of a tile, again and again
TASKS = 16  # so many parts of the work at least, if there is as much
GROUP = 3  # rows of weights that one pointer and its step reach
TURNED = 8  # channels that are copied at a time


class Samples(Turned):
    """Writes the functions for one element type and machine."""

    def __init__(self, element, shape: Shape):
        super().__init__(element, shape)
        self.size = self.lanes * element.sum_size  # bytes of a vector
        self.lying = not element.converts  # weights are read in place

    def heights(self) -> list[int]:
        """Fewer than products have: these are for many outputs."""
        return [n for n in (1, 2, 4, 6, 8, 12, 13, 14) if n <= self.s.rows]

    def cost(self, f: Function, record: Value, rows: int) -> Value:
        cells = self.cells(rows)
        cost = self.up(f, self.get(f, record, "wide"), cells) * (cells * rows + 1)
        return f.select(self.get(f, record, "own") < rows, 1 << 32, cost) if self.lying else cost

    def read_samples(self, f: Function, record: Value) -> None:
        """From the plan: how the copy lies, and what is summed at a time.

        A channel's copy has `span` planes of `steps` rows of `pitch` positions, `copied` bytes; there are `wide`
        windows and `together` vectors of samples.
        """
        get = lambda name: self.get(f, record, name)  # noqa: E731
        lows, reach = self.reaches(f, record)
        span, steps, pitch = ((get(f"o{i}") - 1) * get(f"s{i}") + reach[i] + 1 for i in range(3))
        self.set(
            f, record, low0=lows[0], low1=lows[1], low2=lows[2], span=span, steps=steps, pitch=pitch,
            copied=span * steps * pitch * self.size, wide=get("pixels"),
            together=self.up(f, get("batch"), self.lanes),
        )  # fmt: skip

    def turn_samples(self) -> None:
        """Some channels of a group and of a vector of samples, to the copy."""
        f = self.function("turn_samples", "ptr record, i64 task")
        r = self.frame(f, f.record)
        shares = self.up(f, r["channels"], TURNED)
        share, left = f.task % shares, f.task // shares
        group, b = left % r["groups"], left // r["groups"]
        first, last = share * TURNED, f.least((share + 1) * TURNED, r["channels"])
        samples = f.least(r["batch"] - b * self.lanes, self.lanes)
        x = f.at(r["x"], b * self.lanes * r["x_batch"] + group * r["channels"] * r["x_channel"])
        with f.loop(first, last) as c:
            target = f.at(r["sums"], (left * r["channels"] + c.index) * r["copied"])
            with f.loop(0, r["span"] * r["steps"]) as line:
                z = line.index // r["steps"]
                p0, p1 = z + r["low0"], line.index - z * r["steps"] + r["low1"]
                there = self.below(f, p0, r["d0"]) & self.below(f, p1, r["d1"])
                f.call(
                    "void", "@turn_row", f.at(target, line.index * r["pitch"] * self.size),
                    f.constant("i64", self.size), f.at(x, c.index * r["x_channel"] + p0 * r["x0"] + p1 * r["x1"]),
                    samples, r["x_batch"], r["x2"], r["low2"], f.select(there, r["d2"], 0), r["pitch"], r["x_channel"],
                )  # fmt: skip
        self.finish(f)

    def micro_samples(self, rows: int) -> None:
        """sums[output][window] += w[output][c, t] * copy[c][window + t], of windows whose places are listed.

        `taps` pairs say where each is in the copy and in the weights of an output and channel.
        """
        cells, size = self.cells(rows), self.e.sum_size
        f = self.function(
            f"micro_{rows}",
            "i64 channels, i64 taps, ptr w, i64 w_own, i64 w_channel, ptr pairs, ptr places, ptr x, i64 x_step, "
            "ptr sums, i64 down",
        )
        spots = [f.at(f.sums, f.down * i + j * self.size) for i in range(rows) for j in range(cells)]
        points = [f.at(f.x, f.load("i64", f.at(f.places, 8 * j))) for j in range(cells)]
        weights = [f.at(f.w, f.w_own * i) for i in range(0, rows, GROUP)] if self.lying else [f.w]
        twice = f.w_own * 2
        begun = [f.load(self.vector, x, 64) for x in spots]
        count, ends = len(spots), len(spots) + len(points)
        with f.loop(0, f.channels, carry=[*begun, *points, *weights]) as c:
            with f.loop(0, f.taps, carry=c.carried[:count]) as t:
                pair = f.at(f.pairs, t.index * 16)
                offset, place = f.load("i64", pair), f.load("i64", f.at(pair, 8))
                x = [f.load(self.vector, f.at(p, offset), 64) for p in c.carried[count:ends]]
                w = [f.at(p, place) for p in c.carried[ends:]]
                t.next = []
                for i in range(rows):
                    if self.lying:
                        at = f.at(w[i // GROUP], (0, f.w_own, twice)[i % GROUP])
                    else:
                        at = f.at(w[0], i * size)
                    left = self.splat(f, f.load(self.e.sum, at, size))
                    t.next += [self.fused(f, left, x[j], t.carried[i * cells + j]) for j in range(cells)]
            points, weights = c.carried[count:ends], c.carried[ends:]
            c.next = [*t.carried, *(f.at(p, f.x_step) for p in points), *(f.at(p, f.w_channel) for p in weights)]
        for x, spot in zip(c.carried, spots, strict=False):
            f.store(x, spot, align=64)
        self.finish(f)

    def write_line(self) -> None:
        """Windows of one output that lie `step` apart, from [window][sample] to memory."""
        e, lanes = self.e, self.lanes
        f = self.function("write_line", "ptr source, i64 count, ptr target, i64 step, i64 samples, i64 apart")
        with f.either(f.step.eq(e.memory_size)) as seam:
            with f.loop(0, f.count, lanes) as q:
                left = f.count - q.index
                rows = []
                for i in range(lanes):
                    line = q.index + f.least(f.constant("i64", i), left - 1)
                    rows.append(f.load(self.vector, f.at(f.source, line * self.size), 64))
                mask = self.mask(f, left)
                for i, x in enumerate(self.transposed(f, rows)):
                    with f.when(f.samples > i):
                        self.store(f, x, f.at(f.target, q.index * e.memory_size + f.apart * i), mask)
            seam.otherwise()
            with f.loop(0, f.samples) as n:
                target, source = f.at(f.target, n.index * f.apart), f.at(f.source, n.index * e.sum_size)
                with f.loop(0, f.count) as q:
                    x = self.narrow(f, f.load(e.sum, f.at(source, q.index * self.size), e.sum_size))
                    f.store(x, f.at(target, q.index * f.step), align=e.memory_size)
        self.finish(f)

    def compute_samples(self) -> None:
        """Some tiles of outputs of one group, for a vector of samples."""
        e, size = self.e, self.e.sum_size
        f = self.function("compute_samples", "ptr record, i64 task")
        r = self.frame(f, f.record)
        part, left = f.task % r["own_parts"], f.task // r["own_parts"]
        group, b = left % r["groups"], left // r["groups"]
        t0, t1 = part * r["tiles"] // r["own_parts"], (part + 1) * r["tiles"] // r["own_parts"]
        height, wide, taps = r["height"], r["wide"], r["taps"]
        cells = self.cells_of(f, height)
        padded = self.up(f, wide, cells) * cells
        down = padded * self.size
        sums_bytes = (t1 - t0) * height * down
        memory = f.call("ptr", "@take", sums_bytes + (padded + taps * 2) * 8)
        places = f.at(memory, sums_bytes)
        pairs = f.at(places, padded * 8)
        with f.loop(0, padded) as q:
            number = f.least(q.index, wide - 1)
            row = number // r["o2"]
            plane = row // r["o1"]
            at = (plane * r["s0"] * r["steps"] + (row - plane * r["o1"]) * r["s1"]) * r["pitch"]
            f.store((at + (number - row * r["o2"]) * r["s2"]) * self.size, f.at(places, q.index * 8))
        with f.loop(0, taps) as t:
            z, y, x = (self.tap(f, r["table"], t.index, f"off{i}") - r[f"low{i}"] for i in range(3))
            pair = f.at(pairs, t.index * 16)
            f.store(((z * r["steps"] + y) * r["pitch"] + x) * self.size, pair)
            place = (
                self.tap(f, r["table"], t.index, "weight") * e.memory_size if self.lying else t.index * height * size
            )
            f.store(place, f.at(pair, 8))
        own0 = group * r["own"]
        w_channel = r["w_channel"] if self.lying else taps * height * size

        def first_output(t: Value) -> Value:
            """Of a tile; where weights are read in place the last tile begins earlier, so that it is whole."""
            return f.least(t * height, r["own"] - height) if self.lying else t * height

        def weights(t: Value, c: Value) -> Value:
            """Where those of a tile and channel are; packed ones lie behind a line of biases."""
            if self.lying:
                return f.at(r["w"], group * r["w_group"] + first_output(t) * r["w_own"] + c * w_channel)
            return f.at(r["packed"], (group * r["tiles"] + t) * r["tile_bytes"] + height * size + c * w_channel)

        with f.loop(t0, t1) as t:
            o0 = first_output(t.index)
            with f.loop(0, height) as i:
                x = f.variable(e.sum, 0)
                with f.when(r["bias"].ne(0) & (o0 + i.index < r["own"])):
                    x.set(self.load_one(f, f.at(r["bias"], (own0 + o0 + i.index) * e.memory_size)))
                bias, line = self.splat(f, x.get()), f.at(memory, ((t.index - t0) * height + i.index) * down)
                with f.loop(0, padded) as q:
                    f.store(bias, f.at(line, q.index * self.size), align=64)
        x_group = f.at(r["sums"], left * r["channels"] * r["copied"])
        with f.loop(0, r["blocks"]) as block:
            c0 = block.index * r["block"]
            channels = f.least(r["block"], r["channels"] - c0)
            source = f.at(x_group, c0 * r["copied"])
            with f.loop(t0, t1) as t:
                buffer = f.at(memory, (t.index - t0) * height * down)
                turns = padded // cells
                more = t.index + 1 < t1
                following = f.select(more, t.index + 1, t0)
                ahead = weights(following, f.select(more, c0, f.least(c0 + r["block"], r["channels"] - 1)))
                with f.loop(0, turns) as q:
                    # Meanwhile a part of the next weights comes nearer.
                    with f.loop(q.index * channels // turns, (q.index + 1) * channels // turns) as c:
                        with f.loop(0, height) as i:
                            at = f.at(ahead, c.index * w_channel + i.index * (r["w_own"] if self.lying else size))
                            f.emit(f"call void @llvm.prefetch.p0(ptr {at.name}, i32 0, i32 2, i32 1)")
                    at = q.index * cells
                    f.call(
                        "void", r["kernel"].name, channels, taps, weights(t.index, c0), r["w_own"], w_channel, pairs,
                        f.at(places, at * 8), source, r["copied"], f.at(buffer, at * self.size), down,
                    )  # fmt: skip
        samples = f.least(r["batch"] - b * self.lanes, self.lanes)
        y = f.at(r["y"], b * self.lanes * r["y_batch"])
        joined = r["joined"].ne(0)
        lines = f.select(joined, 1, r["o0"] * r["o1"])
        many = f.select(joined, wide, r["o2"])
        with f.loop(t0, t1) as t:
            o0, stop = first_output(t.index), f.least((t.index + 1) * height, r["own"])
            with f.loop(t.index * height, stop) as o:
                buffer = f.at(memory, ((t.index - t0) * height + o.index - o0) * down)
                target = f.at(y, (own0 + o.index) * r["y_channel"])
                with f.loop(0, lines) as line:
                    plane = line.index // r["o1"]
                    place = plane * r["y0"] + (line.index - plane * r["o1"]) * r["y1"]
                    f.call(
                        "void", "@write_line", f.at(buffer, line.index * r["o2"] * self.size), many,
                        f.at(target, place), r["y2"], samples, r["y_batch"],
                    )  # fmt: skip
        f.call("void", "@give", memory)
        self.finish(f)

    def convolve(self) -> None:
        """The entry: out = convolution of x with w plus bias."""
        f = self.function("convolve", "ptr y, ptr x, ptr w, ptr bias, ptr plan, i64 work", linkage="", extra="")
        record = f.alloca("i64", len(FIELDS))
        self.read_plan(f, record)
        get = lambda name: self.get(f, record, name)  # noqa: E731
        with f.when((get("total") > 0) & (get("groups") > 0) & (get("own") > 0)):
            self.read_samples(f, record)
            self.choose(f, record, get("own"), 0)
            packed = None if self.lying else self.packing(f, record)
            self.set(f, record, tiles=self.up(f, get("own"), get("height")))
            items = get("together") * get("groups")
            parts = f.least(get("tiles"), self.up(f, f.constant("i64", TASKS), items))
            taps, channels, copied = (get(x) for x in ("taps", "channels", "copied"))
            block = f.least(
                f.constant("i64", COPY) // copied,
                f.constant("i64", WEIGHTS) // self.most(f, taps * get("height") * self.e.sum_size, 1),
            )
            block = self.most(f, block, 1)
            blocks = self.most(f, self.up(f, channels, block), 1)
            block = self.up(f, channels, blocks)
            memory = f.call("ptr", "@take", items * channels * copied + 64)
            self.set(
                f, record, own_parts=parts, block=block, blocks=self.up(f, channels, self.most(f, block, 1)),
                sums=memory,
            )  # fmt: skip
            shares = self.up(f, channels, TURNED)
            f.call("void", "@spread", Value(f, "@turn_samples", "ptr"), record, items * shares)
            f.call("void", "@spread", Value(f, "@compute_samples", "ptr"), record, items * parts)
            f.call("void", "@give", memory)
            if packed is not None:
                f.call("void", "@give", packed)
        self.finish(f)

    def text(self, entry: str = "convolve") -> str:
        """All functions."""
        names = [f"ptr @micro_{rows}" for rows in self.heights()]
        for rows in self.heights():
            self.micro_samples(rows)
        self.declare("void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        if not self.lying:
            self.turned(self.registers)
            self.pack_near()
            self.pack_weights()
        for part in (
            self.turn_row, self.turn_samples, self.write_line, self.compute_samples,
            self.convolve, self.spread, self.memory,
        ):  # fmt: skip
            part()
        return self.assembled(names)


def samples_text(code: str, shape: Shape, entry: str) -> str:
    """The LLVM text for the element type `code`; `entry` is "convolve"."""
    return Samples(ELEMENTS[code], shape).text(entry)
