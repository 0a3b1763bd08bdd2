"""The LLVM text of recurrent layers: all steps of one direction in one call; `recurrent.py` documents the arguments.

Sequences do not depend on each other, so a task takes some of them through all steps and no thread ever waits for
another. A step is a product of the few rows of the state with the weights, which stay in the caches, and one pass over
the gates. How sequences are shared out depends on their number alone. Strides are in bytes.
"""

from facula.native.text import Function, Value

from .matmul_kernel import Shape
from .panels import Panels

__all__ = ["BACKWARD", "FORWARD", "GATES", "backward_text", "forward_text", "kind"]

GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "LSTM": 4, "GRU": 3}
_SIZES = ("count", "batch", "hidden")
FORWARD = ("gates", "out", "cells", "h0", "c0", "weights", "bias", "work", *_SIZES)
BACKWARD = (
    "sums", "state_sums", "flow", "flow_cells", "first_h", "first_cells", "grad", "gates", "out", "cells", "h0", "c0",
    "weights", "work", *_SIZES,
)  # fmt: skip
FIELDS = (*dict.fromkeys((*FORWARD, *BACKWARD)), "turned", "chunks", "padded", "pitch")
ROWS = 8  # sequences of a task, at most
TANH = (-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1)  # Cephes' tanhf


def kind(name: str) -> str:
    """How an argument comes from Python, as `builtins.KINDS` has it."""
    return "i64" if name in (*_SIZES, "chunks", "padded", "pitch") else "ptr"


class _Recurrent(Panels):
    """What forward and backward of one mode share."""

    heights = tuple(range(ROWS, 0, -1))

    def __init__(self, shape: Shape, mode: str):
        super().__init__(shape)
        self.mode, self.gates = mode, GATES[mode]
        self.widths = [3, 2, 1]
        if not self.many:
            self.heights = (4, 3, 2, 1)

    def get(self, f: Function, record: Value, name: str) -> Value:
        return f.load(kind(name), f.at(record, 8 * FIELDS.index(name)))

    def set(self, f: Function, record: Value, **values: Value | int) -> None:
        for name, value in values.items():
            f.store(value, f.at(record, 8 * FIELDS.index(name)), "i64")

    # ------------------------------------------------------------------ gates

    def sigmoid(self, f: Function, x: Value) -> Value:
        one = self.number(f, 1.0, self.vector)
        x = f.select(self.compare(f, "ogt", x, 87.0), self.number(f, 87.0, self.vector), x)
        x = f.select(self.compare(f, "olt", x, -87.0), self.number(f, -87.0, self.vector), x)
        minus = f.value(self.vector, f"fneg {self.vector} {x.name}")
        return self.op(f, "fdiv", one, self.op(f, "fadd", self.exp(f, minus), one))

    def tanh(self, f: Function, x: Value) -> Value:
        """A polynomial near 0, else 1 - 2 / (e**(2|x|) + 1)."""
        v = self.vector
        size = self.absolute(f, x)
        z = self.op(f, "fmul", x, x)
        p = self.number(f, TANH[0], v)
        for c in TANH[1:]:
            p = self.fused(f, p, z, self.number(f, c, v))
        near = self.fused(f, self.op(f, "fmul", p, z), x, x)
        double = self.op(f, "fadd", size, size)
        double = f.select(self.compare(f, "ogt", double, 40.0), self.number(f, 40.0, v), double)
        one = self.number(f, 1.0, v)
        far = self.op(f, "fdiv", self.number(f, 2.0, v), self.op(f, "fadd", self.exp(f, double), one))
        far = self.op(f, "fsub", one, far)
        self.declare(f"{v} @llvm.copysign.v{self.lanes}f32({v}, {v})")
        far = f.call(v, f"@llvm.copysign.v{self.lanes}f32", far, x)
        return f.select(self.compare(f, "olt", size, 0.625), near, far)

    def absolute(self, f: Function, x: Value) -> Value:
        name = f"@llvm.fabs.v{self.lanes}f32"
        self.declare(f"{self.vector} {name}({self.vector})")
        return f.call(self.vector, name, x)

    def mul(self, f: Function, *factors: Value) -> Value:
        result = factors[0]
        for x in factors[1:]:
            result = self.op(f, "fmul", result, x)
        return result

    def rest(self, f: Function, x: Value) -> Value:
        """1 - x."""
        return self.op(f, "fsub", self.number(f, 1.0, self.vector), x)

    def unsquared(self, f: Function, x: Value) -> Value:
        """1 - x * x."""
        return self.rest(f, self.mul(f, x, x))

    # ------------------------------------------------------------------ the walk

    def each_vector(self, f: Function, hidden: Value):
        """(offset in bytes, mask or None) of each vector of a row of the state."""
        whole = hidden // self.lanes * self.lanes
        with f.loop(0, whole, self.lanes) as j:
            yield j.index * 4, None
        with f.loop(whole, hidden, self.lanes) as j:
            yield j.index * 4, self.mask(f, hidden - j.index)

    def segment(self, f: Function, work: Value, number: Value, start: Value, stop: Value):
        """Of a piece of work: the task's first row in it and their number, and addresses' rows before, of the state."""
        at = f.at(work, number * 32)
        first, n, before, row = (f.load("i64", f.at(at, 8 * i)) for i in range(4))
        low = f.select(start > row, start - row, f.constant("i64", 0))
        high = f.least(n, stop - row)
        return first + low, high - low, before, before + low, row + low

    def old(self, f: Function, before: Value, there: Value, row: Value, behind: Value, initial: Value, step: Value):
        """The address of rows of the step before, or of the initial state."""
        return f.select(before < 0, f.at(initial, row * step), f.at(behind, there * step))

    def shares(self, f: Function, batch: Value) -> Value:
        """Tasks: of at most ROWS sequences each, an even number where there are a few."""
        chunks = (batch + (ROWS - 1)) // ROWS
        chunks = f.select((chunks % 2).eq(1) & (batch > 3), chunks + 1, chunks)
        return chunks

    def finished(self) -> str:
        tables = self.tables("row")
        tables.append("@slots = internal global [16 x ptr] zeroinitializer, align 64")
        tables.append(f"@ones = internal constant [{self.lanes} x float] zeroinitializer, align 64")
        return "\n".join([*tables, *sorted(self.intrinsics), *self.functions]) + "\n"

    def start(self, name: str, listed: tuple[str, ...]) -> tuple[Function, Value]:
        f = self.function(name, ", ".join(f"{kind(x)} {x}" for x in listed), linkage="", extra="")
        record = f.alloca("i64", len(FIELDS))
        for x in listed:
            self.set(f, record, **{x: getattr(f, x)})
        padded = (f.hidden + (self.lanes - 1)) // self.lanes * self.lanes
        self.set(f, record, padded=padded, chunks=self.shares(f, f.batch))
        return f, record


class Forward(_Recurrent):
    """Writes `@recurrent`."""

    def turn_task(self) -> None:
        """`lanes` rows of one gate of the weights become columns; what is behind a gate's end is anything finite."""
        f = self.function("turn_task", "ptr record, i64 number")
        hidden, padded, lanes = self.get(f, f.record, "hidden"), self.get(f, f.record, "padded"), self.lanes
        blocks = padded // lanes
        gate, j = f.number // blocks, f.number % blocks * lanes
        weights = self.get(f, f.record, "weights")
        pitch = padded * (4 * self.gates)
        target = f.at(self.get(f, f.record, "turned"), (gate * padded + j) * 4)
        last = hidden - 1
        places = [f.at(weights, (gate * hidden + f.least(j + i, last)) * hidden * 4) for i in range(lanes)]
        whole = hidden // lanes * lanes
        with f.loop(0, whole, lanes) as c:
            rows = [f.load(self.vector, f.at(p, c.index * 4), 4) for p in places]
            for i, x in enumerate(self.transposed(f, rows)):
                self.put(f, x, f.at(target, (c.index + i) * pitch))
        with f.loop(whole, hidden) as c:
            for i, p in enumerate(places):
                x = f.load("float", f.at(p, c.index * 4), 4)
                f.store(x, f.at(target, c.index * pitch + i * 4), align=4)
        self.finish(f)

    def step(
        self, f: Function, r: dict[str, Value], at: Value, place: Value, old: Value, old_cell: Value, share: Value
    ):
        """The gates of one row: `at` its sums of the input's share, `share` those of the state's."""
        row = r["hidden"] * 4
        gap = r["padded"] * 4
        for j, mask in self.each_vector(f, r["hidden"]):
            own = [self.load(f, f.at(at, row * k + j), mask) for k in range(self.gates)]
            more = [self.load(f, f.at(share, gap * k + j), mask) for k in range(self.gates)]
            out, cell = f.at(f.at(r["out"], place * row), j), f.at(f.at(r["cells"], place * row), j)
            kept: list[Value] = []
            if self.mode == "GRU":
                more = [
                    self.op(f, "fadd", x, self.load(f, f.at(r["bias"], row * k + j), mask)) for k, x in enumerate(more)
                ]
                gates = [self.sigmoid(f, self.op(f, "fadd", own[k], more[k])) for k in (0, 1)]
                new = self.tanh(f, self.fused(f, gates[0], more[2], own[2]))
                before = self.load(f, f.at(old, j), mask)
                h = self.fused(f, self.op(f, "fsub", before, new), gates[1], new)
                kept = [*gates, new]
                self.store(f, more[2], cell, mask)
            else:
                sums = [self.op(f, "fadd", x, y) for x, y in zip(own, more)]
                if self.mode == "LSTM":
                    i, forget, g, o = (self.tanh(f, x) if k == 2 else self.sigmoid(f, x) for k, x in enumerate(sums))
                    c = self.fused(f, forget, self.load(f, f.at(old_cell, j), mask), self.mul(f, i, g))
                    h = self.mul(f, o, self.tanh(f, c))
                    kept = [i, forget, g, o]
                    self.store(f, c, cell, mask)
                elif self.mode == "RNN_TANH":
                    h = self.tanh(f, sums[0])
                else:
                    negative = self.compare(f, "olt", sums[0], 0.0)
                    h = f.select(negative, self.number(f, 0.0, self.vector), sums[0])
            for k, x in enumerate(kept):
                self.store(f, x, f.at(at, row * k + j), mask)
            self.store(f, h, out, mask)

    def task(self) -> None:
        """Some sequences through all steps."""
        f = self.function("task", "ptr record, i64 number")
        r = {name: self.get(f, f.record, name) for name in (*FORWARD, "turned", "chunks", "padded")}
        start, stop = self.share(f, f.number, r["chunks"], r["batch"])
        row, gap = r["hidden"] * 4, r["padded"] * (4 * self.gates)
        share = f.call("ptr", "@take", gap * ROWS)
        with f.loop(0, r["count"]) as number:
            first, n, before, there, of_state = self.segment(f, r["work"], number.index, start, stop)
            with f.when(n > 0):
                old = self.old(f, before, there, of_state, r["out"], r["h0"], row)
                old_cell = self.old(f, before, there, of_state, r["cells"], r["c0"], row)
                vectors = r["padded"] // self.lanes * self.gates
                self.multiply_into(f, "row", n, vectors, r["hidden"], old, row, r["turned"], gap, share, gap)
                with f.loop(0, n) as i:
                    place = first + i.index
                    self.step(
                        f, r, f.at(r["gates"], place * row * self.gates), place, f.at(old, i.index * row),
                        f.at(old_cell, i.index * row), f.at(share, i.index * gap),
                    )  # fmt: skip
        f.call("void", "@give", share)
        self.finish(f)

    def text(self) -> str:
        """The whole module."""
        self.products("row")
        self.memory()
        self.turn_task()
        self.task()
        f, record = self.start("recurrent", FORWARD)
        padded, chunks = self.get(f, record, "padded"), self.get(f, record, "chunks")
        turned = f.call("ptr", "@take", f.hidden * padded * (4 * self.gates) + 64)
        self.set(f, record, turned=turned)
        small = f.hidden * f.hidden < 1 << 14
        self.spread_tasks(f, record, "turn_task", padded // self.lanes * self.gates, small)
        self.spread_tasks(f, record, "task", chunks, (chunks < 2) | (small & (f.batch < 4)))
        f.call("void", "@give", turned)
        self.finish(f)
        return self.finished()


class Backward(_Recurrent):
    """Writes `@recurrent_backward`."""

    def pad_task(self) -> None:
        """Rows of the weights with zeros behind their ends, where these are not whole vectors."""
        f = self.function("pad_task", "ptr record, i64 number")
        hidden, padded, lanes = self.get(f, f.record, "hidden"), self.get(f, f.record, "padded"), self.lanes
        with f.loop(0, hidden) as i:
            line = f.number * hidden + i.index
            source = f.at(self.get(f, f.record, "weights"), line * hidden * 4)
            target = f.at(self.get(f, f.record, "turned"), line * padded * 4)
            with f.loop(0, padded, lanes) as j:
                mask = self.mask(f, hidden - j.index)
                self.put(f, self.load(f, f.at(source, j.index * 4), mask), f.at(target, j.index * 4))
        self.finish(f)

    def step(
        self, f: Function, r: dict[str, Value], place: Value, old: Value, old_cell: Value, to_h: Value, to_cell: Value
    ) -> None:
        """One row: gradients of the gates' sums, and what goes to the step before other than through the weights."""
        row = r["hidden"] * 4
        gates, sums = (f.at(r[x], place * row * self.gates) for x in ("gates", "sums"))
        state_sums = f.at(r["state_sums"], place * row * self.gates)
        line = {x: f.at(r[x], place * row) for x in ("grad", "flow", "flow_cells", "cells", "out")}
        for j, mask in self.each_vector(f, r["hidden"]):
            read = lambda base: self.load(f, f.at(base, j), mask)  # noqa: B023, E731
            grad = self.op(f, "fadd", read(line["grad"]), read(line["flow"]))
            if self.mode in ("LSTM", "GRU"):
                kept = [self.load(f, f.at(gates, row * k + j), mask) for k in range(self.gates)]
            if self.mode == "LSTM":
                i, forget, g, o = kept
                t = self.tanh(f, read(line["cells"]))
                of_cell = self.fused(f, self.mul(f, grad, o), self.unsquared(f, t), read(line["flow_cells"]))
                made = [
                    self.mul(f, of_cell, g, i, self.rest(f, i)),
                    self.mul(f, of_cell, read(old_cell), forget, self.rest(f, forget)),
                    self.mul(f, of_cell, i, self.unsquared(f, g)),
                    self.mul(f, grad, t, o, self.rest(f, o)),
                ]
                self.store(f, self.mul(f, of_cell, forget), f.at(to_cell, j), mask)
            elif self.mode == "GRU":
                gate, z, n = kept
                of_new = self.mul(f, grad, self.rest(f, z), self.unsquared(f, n))
                of_gate = self.mul(f, of_new, read(line["cells"]), gate, self.rest(f, gate))
                of_z = self.mul(f, grad, self.op(f, "fsub", read(old), n), z, self.rest(f, z))
                made = [of_gate, of_z, of_new]
                for k, x in enumerate((of_gate, of_z, self.mul(f, of_new, gate))):
                    self.store(f, x, f.at(state_sums, row * k + j), mask)
                self.store(f, self.mul(f, grad, z), f.at(to_h, j), mask)
            elif self.mode == "RNN_TANH":
                made = [self.mul(f, grad, self.unsquared(f, read(line["out"])))]
            else:
                positive = self.compare(f, "ogt", read(line["out"]), 0.0)
                made = [f.select(positive, grad, self.number(f, 0.0, self.vector))]
            for k, x in enumerate(made):
                self.store(f, x, f.at(sums, row * k + j), mask)

    def task(self) -> None:
        """Some sequences back through all steps."""
        f = self.function("task", "ptr record, i64 number")
        r = {name: self.get(f, f.record, name) for name in (*BACKWARD, "turned", "chunks", "padded")}
        start, stop = self.share(f, f.number, r["chunks"], r["batch"])
        row, gap = r["hidden"] * 4, r["padded"] * 4
        share = f.call("ptr", "@take", gap * ROWS)
        with f.loop(0, r["count"]) as number:
            first, n, before, there, of_state = self.segment(f, r["work"], r["count"] - 1 - number.index, start, stop)
            with f.when(n > 0):
                given = (before, there, of_state)
                old, old_cell = (self.old(f, *given, r[x], r[y], row) for x, y in (("out", "h0"), ("cells", "c0")))
                to_h = self.old(f, *given, r["flow"], r["first_h"], row)
                to_cell = self.old(f, *given, r["flow_cells"], r["first_cells"], row)
                with f.loop(0, n) as i:
                    offset = i.index * row
                    self.step(f, r, first + i.index, *(f.at(x, offset) for x in (old, old_cell, to_h, to_cell)))
                source = f.at(r["state_sums"], first * row * self.gates)
                vectors = r["padded"] // self.lanes
                self.multiply_into(
                    f, "row", n, vectors, r["hidden"] * self.gates, source, row * self.gates, r["turned"], gap, share,
                    gap,
                )  # fmt: skip
                with f.loop(0, n) as i:
                    target, made = f.at(to_h, i.index * row), f.at(share, i.index * gap)
                    for j, mask in self.each_vector(f, r["hidden"]):
                        x = self.load(f, f.at(made, j), mask)
                        if self.mode == "GRU":
                            x = self.op(f, "fadd", x, self.load(f, f.at(target, j), mask))
                        self.store(f, x, f.at(target, j), mask)
        f.call("void", "@give", share)
        self.finish(f)

    def text(self) -> str:
        """The whole module."""
        self.products("row")
        self.memory()
        self.pad_task()
        self.task()
        f, record = self.start("recurrent_backward", BACKWARD)
        padded, chunks = self.get(f, record, "padded"), self.get(f, record, "chunks")
        ragged = padded.ne(f.hidden)
        small = f.hidden * f.hidden < 1 << 14
        self.set(f, record, turned=f.weights)
        with f.when(ragged):
            self.set(f, record, turned=f.call("ptr", "@take", f.hidden * padded * (4 * self.gates) + 64))
            self.spread_tasks(f, record, "pad_task", f.constant("i64", self.gates), small)
        self.spread_tasks(f, record, "task", chunks, (chunks < 2) | (small & (f.batch < 4)))
        with f.when(ragged):
            f.call("void", "@give", self.get(f, record, "turned"))
        self.finish(f)
        return self.finished()


def forward_text(shape: Shape, mode: str) -> str:
    """The LLVM text of one mode's forward; its entry is `@recurrent`, which takes `FORWARD`."""
    return Forward(shape, mode).text()


def backward_text(shape: Shape, mode: str) -> str:
    """The LLVM text of one mode's backward; its entry is `@recurrent_backward`, which takes `BACKWARD`."""
    return Backward(shape, mode).text()
