"""The LLVM text of blocked attention, forward and backward; what it is called with is documented in `attention.py`.

Scores are made a block of keys times a block of queries at a time and never leave the caches. Everything that has a
lane for each query is kept transposed: scores are (keys, queries), outputs (features, queries). So the maximum, the
exponentials and the sums of the softmax are plain vector instructions, the rows of K and V are read where they lie, and
only the queries are copied. All products are one register tile, `tile`: rows of A, of which one element at a time is
spread over all lanes, times vectors of B.

Strides are in bytes everywhere in this file. How work is cut depends on sizes alone.
"""

from facula.native.text import Function, Value

from .matmul_kernel import Shape
from .panels import MINUS_INFINITY, Panels

__all__ = ["BACKWARD", "FORWARD", "backward_text", "forward_text", "kind"]

_SIZES = ("batch", "heads", "group", "queries", "keys", "depth", "width")  # depth: of Q and K; width: of V
_STEPS = tuple(f"{x}_{dim}" for x in "qkvo" for dim in ("batch", "head", "row"))
_MASK_STEPS = ("mask_batch", "mask_head", "mask_row", "mask_col")
_COMMON = ("q", "k", "v", "o", "mask", "statistics", *_SIZES, "scale", "causal", "mask_kind", *_STEPS, *_MASK_STEPS)
_GRADIENTS = ("grad", "grad_q", "grad_k", "grad_v")
_GRADIENT_STEPS = tuple(f"{x}_{dim}" for x in _GRADIENTS for dim in ("batch", "head", "row"))
FORWARD = _COMMON  # what Python passes, in order
BACKWARD = (*_COMMON, *_GRADIENTS, *_GRADIENT_STEPS)
FIELDS = (*BACKWARD, "blocks", "tasks", "parts", "partial", "whole")
_POINTERS = {"q", "k", "v", "o", "mask", "statistics", *_GRADIENTS, "partial"}
STRIDES = {*_STEPS, *_GRADIENT_STEPS}


def kind(name: str) -> str:
    """How an argument comes from Python, as `builtins.KINDS` has it."""
    return "ptr" if name in _POINTERS else "f32" if name == "scale" else "i64"


BLOCK_VECTORS = 4  # vectors of queries in a block
BLOCK_KEYS = 64
HEIGHTS = (6, 2, 1)  # rows of a tile: 6 x 4 sums fill 24 of 32 registers
TASK_WORK = 1 << 19  # multiplications of one task
LEAST_TASKS = 16  # ... of which a backward with few heads has about so many


class _Attention(Panels):
    """Writes the functions that forward and backward share."""

    def __init__(self, shape: Shape):
        super().__init__(shape)
        self.group = BLOCK_VECTORS if self.many else 2
        self.block_queries = self.lanes * self.group
        self.pitch = 4 * self.block_queries  # bytes of a line with a number for each query
        self.widths = [w for w in (4, 2, 1) if w <= self.group]
        self.heights = HEIGHTS

    # ------------------------------------------------------------------ helpers

    def get(self, f: Function, record: Value, name: str) -> Value:
        type = "ptr" if name in _POINTERS else "float" if name == "scale" else "i64"
        return f.load(type, f.at(record, 8 * FIELDS.index(name)))

    def set(self, f: Function, record: Value, **values: Value | int) -> None:
        for name, value in values.items():
            f.store(value, f.at(record, 8 * FIELDS.index(name)), "i64")

    # ------------------------------------------------------------------ copies

    def read_row(self, f: Function, kind: str, place: Value) -> Value:
        """`lanes` numbers of a row of queries, or of a mask."""
        if kind != "bool":
            return f.load(self.vector, place, 4)
        bytes_ = f.load(f"<{self.lanes} x i8>", place, 1)
        lets = f.value(f"<{self.lanes} x i1>", f"icmp ne {bytes_.type} {bytes_.name}, zeroinitializer")
        return f.select(lets, self.number(f, 0.0, self.vector), self.number(f, MINUS_INFINITY, self.vector))

    def read_one(self, f: Function, kind: str, place: Value) -> Value:
        if kind != "bool":
            return f.load("float", place, 4)
        lets = f.load("i8", place, 1).ne(0)
        return f.select(lets, self.number(f, 0.0, "float"), self.number(f, MINUS_INFINITY, "float"))

    def turn_in(self, kind: str) -> None:
        """target[c, r] = source[r, c], a line of `block` numbers for each c; rows past the last repeat it."""
        f = self.function(f"turn_{kind}", "ptr target, ptr source, i64 rows, i64 cols, i64 row_step, i64 col_step")
        size, lanes = 1 if kind == "bool" else 4, self.lanes
        last = f.rows - 1
        whole = f.select(f.col_step.eq(size), f.cols // lanes * lanes, f.constant("i64", 0))
        with f.loop(0, f.rows, lanes) as r:
            places = [f.at(f.source, f.least(r.index + i, last) * f.row_step) for i in range(lanes)]
            target = f.at(f.target, r.index * 4)
            with f.loop(0, whole, lanes) as c:
                rows = [self.read_row(f, kind, f.at(p, c.index * size)) for p in places]
                for i, x in enumerate(self.transposed(f, rows)):
                    self.put(f, x, f.at(target, (c.index + i) * self.pitch))
            with f.loop(whole, f.cols) as c:
                offset = c.index * f.col_step
                for i, p in enumerate(places):
                    x = self.read_one(f, kind, f.at(p, offset))
                    f.store(x, f.at(target, c.index * self.pitch + i * 4), align=4)
        self.finish(f)

    def turn_out(self) -> None:
        """target[r, c] = source[c, r] * factors[r]."""
        f = self.function("turn_out", "ptr target, ptr source, i64 rows, i64 cols, i64 row_step, ptr factors")
        lanes = self.lanes
        whole_rows, whole_cols = f.rows // lanes * lanes, f.cols // lanes * lanes

        def single(r: Value, c: Value) -> None:
            x = f.load("float", f.at(f.source, c * self.pitch + r * 4), 4)
            factor = f.load("float", f.at(f.factors, r * 4), 4)
            f.store(self.op(f, "fmul", x, factor), f.at(f.target, r * f.row_step + c * 4), align=4)

        with f.loop(0, whole_rows, lanes) as r:
            factor = f.load(self.vector, f.at(f.factors, r.index * 4), 4)
            source = f.at(f.source, r.index * 4)
            target = f.at(f.target, r.index * f.row_step)
            with f.loop(0, whole_cols, lanes) as c:
                lines = [f.load(self.vector, f.at(source, (c.index + i) * self.pitch), 4) for i in range(lanes)]
                for i, x in enumerate(self.transposed(f, [self.op(f, "fmul", x, factor) for x in lines])):
                    self.put(f, x, f.at(target, f.row_step * i + c.index * 4))
            with f.loop(whole_cols, f.cols) as c, f.loop(0, f.constant("i64", lanes)) as i:
                single(r.index + i.index, c.index)
        with f.loop(whole_rows, f.rows) as r, f.loop(0, f.cols) as c:
            single(r.index, c.index)
        self.finish(f)

    # ------------------------------------------------------------------ scores

    def place(self, f: Function, r: dict[str, Value], name: str, b: Value, h: Value, row: Value | None = None) -> Value:
        """The address of a row of an operand."""
        offset = b * r[f"{name}_batch"] + h * r[f"{name}_head"]
        return f.at(r[name], offset if row is None else offset + row * r[f"{name}_row"])

    def scores(self) -> None:
        """scores[key, query] = scale * K @ Q.T + mask for a block; what may not be seen is -inf.

        `turned` are the queries, transposed; `masks` is room for a block of the mask.
        """
        f = self.function(
            "scores", "ptr record, i64 b, i64 h, i64 i0, i64 rows, i64 j0, i64 cols, ptr scores, ptr turned, ptr masks"
        )
        r = {name: self.get(f, f.record, name) for name in FIELDS if name != "scale"}
        vectors = (f.rows + (self.lanes - 1)) // self.lanes
        keys = self.place(f, r, "k", f.b, f.h // r["group"], f.j0)
        self.multiply_into(
            f, "row", f.cols, vectors, r["depth"], keys, r["k_row"], f.turned, self.pitch, f.scores, self.pitch,
            factor=self.get(f, f.record, "scale"),
        )  # fmt: skip
        with f.when(r["mask_kind"].ne(0)):
            source = f.at(
                r["mask"],
                f.b * r["mask_batch"] + f.h * r["mask_head"] + f.i0 * r["mask_row"] + f.j0 * r["mask_col"],
            )
            given = (f.masks, source, f.rows, f.cols, r["mask_row"], r["mask_col"])
            with f.either(r["mask_kind"].eq(1)) as seam:
                f.call("void", "@turn_bool", *given)
                seam.otherwise()
                f.call("void", "@turn_float", *given)
            with f.loop(0, f.cols * self.block_queries, self.lanes) as at:
                place = f.at(f.scores, at.index * 4)
                total = self.op(
                    f, "fadd", f.load(self.vector, place, 4), f.load(self.vector, f.at(f.masks, at.index * 4), 4)
                )
                self.put(f, total, place)
        with f.when(r["causal"].ne(0) & (f.j0 + f.cols - 1 > f.i0)):
            iota = ", ".join(f"i64 {i}" for i in range(self.lanes))
            with f.loop(0, f.cols) as j:
                # Lane q is query i0 + q, which sees keys up to its own number.
                key = f.j0 + j.index - f.i0
                with f.loop(0, vectors) as v:
                    place = f.at(f.scores, j.index * self.pitch + v.index * (self.lanes * 4))
                    first = self.splat(f, key - v.index * self.lanes)
                    late = f.value(f"<{self.lanes} x i1>", f"icmp sgt {first.type} {first.name}, <{iota}>")
                    x = f.select(late, self.number(f, MINUS_INFINITY, self.vector), f.load(self.vector, place, 4))
                    self.put(f, x, place)
        self.finish(f)

    def shared(self) -> None:
        """Everything that forward and backward call."""
        self.products("row", "column")
        for kind in ("bool", "float"):
            self.turn_in(kind)
        self.turn_out()
        self.scores()
        self.memory()

    def start(self, name: str, listed: tuple[str, ...]) -> tuple[Function, Value]:
        """The entry with its arguments in a record, strides in bytes."""
        kinds = [("ptr" if x in _POINTERS else "float" if x == "scale" else "i64") for x in listed]
        f = self.function(name, ", ".join(f"{k} {x}" for k, x in zip(kinds, listed)), linkage="", extra="")
        record = f.alloca("i64", len(FIELDS))
        size = f.select(f.mask_kind.eq(1), f.constant("i64", 1), 4)
        for x in listed:
            value = getattr(f, x)
            if x in STRIDES:
                value = value * 4
            elif x in _MASK_STEPS:
                value = value * size
            self.set(f, record, **{x: value})
        return f, record

    def assembled(self) -> str:
        tables = self.tables("row", "column")
        tables.append("@slots = internal global [16 x ptr] zeroinitializer, align 64")
        ones = ", ".join(["float 1.0"] * self.block_queries)
        tables.append(f"@ones = internal constant [{self.block_queries} x float] [{ones}], align 64")
        return "\n".join([*tables, *sorted(self.intrinsics), *self.functions]) + "\n"


class Forward(_Attention):
    """Writes `@attention`."""

    def softmax(self, vectors: int) -> None:
        """One block of keys of the online softmax, `vectors` of its columns at a time.

        Scores become exponentials; `peak` and `total` are brought up to date, `keep` is what the old output counts.
        """
        f = self.function(f"softmax_{vectors}", "ptr scores, i64 cols, ptr peak, ptr total, ptr keep")
        old = [self.line(f, f.peak, v) for v in range(vectors)]
        with f.loop(0, f.cols, carry=old) as loop:
            line = f.at(f.scores, loop.index * self.pitch)
            loop.next = [self.greater(f, self.line(f, line, v), x) for v, x in enumerate(loop.carried)]
        peaks, used = loop.carried, []
        for v, (new, before) in enumerate(zip(peaks, old)):
            nothing = self.compare(f, "oeq", new, MINUS_INFINITY)  # so far this query sees nothing
            used.append(f.select(nothing, self.number(f, 0.0, self.vector), new))
            self.put(f, new, f.peak, v)
            self.put(f, self.exp(f, self.op(f, "fsub", before, used[v])), f.keep, v)
        zero = f.constant(self.vector, 0)
        with f.loop(0, f.cols, carry=[zero] * vectors) as loop:
            line = f.at(f.scores, loop.index * self.pitch)
            loop.next = []
            for v, x in enumerate(loop.carried):
                e = self.exp(f, self.op(f, "fsub", self.line(f, line, v), used[v]))
                self.put(f, e, line, v)
                loop.next.append(self.op(f, "fadd", x, e))
        for v, x in enumerate(loop.carried):
            self.put(f, self.fused(f, self.line(f, f.total, v), self.line(f, f.keep, v), x), f.total, v)
        self.finish(f)

    def block_task(self) -> None:
        """Query block `number` of all heads."""
        f = self.function("block_task", "ptr record, i64 number, ptr scratch")
        r = {name: self.get(f, f.record, name) for name in FIELDS if name != "scale"}
        head, block = f.number // r["blocks"], f.number % r["blocks"]
        b, h = head // r["heads"], head % r["heads"]
        i0 = block * self.block_queries
        rows = f.least(r["queries"] - i0, self.block_queries)
        vectors = (rows + (self.lanes - 1)) // self.lanes
        peak, total, keep = (f.alloca(self.vector, self.group) for _ in range(3))
        for v in range(self.group):
            self.put(f, self.number(f, MINUS_INFINITY, self.vector), peak, v)
            self.put(f, self.number(f, 0.0, self.vector), total, v)
        scores = f.scratch
        masks = f.at(scores, BLOCK_KEYS * self.pitch)
        turned = f.at(masks, BLOCK_KEYS * self.pitch)
        out = f.at(turned, r["depth"] * self.pitch)
        f.call(
            "void", "@turn_float", turned, self.place(f, r, "q", b, h, i0), rows, r["depth"], r["q_row"],
            f.constant("i64", 4),
        )  # fmt: skip
        with f.loop(0, r["width"] * self.block_queries, self.lanes) as at:
            self.put(f, f.constant(self.vector, 0), f.at(out, at.index * 4))
        seen = f.select(r["causal"].ne(0), f.least(r["keys"], i0 + rows), r["keys"])
        with f.loop(0, seen, BLOCK_KEYS) as j:
            cols = f.least(seen - j.index, BLOCK_KEYS)
            f.call("void", "@scores", f.record, b, h, i0, rows, j.index, cols, scores, turned, masks)
            for v, (_, which) in self.pieces(f, vectors, self.widths):
                for number, wide in enumerate(self.widths):
                    with f.when(which.eq(number)):
                        offset = v * (self.lanes * 4)
                        f.call(
                            "void", f"@softmax_{wide}", f.at(scores, offset), cols, f.at(peak, offset),
                            f.at(total, offset), f.at(keep, offset),
                        )  # fmt: skip
            values = self.place(f, r, "v", b, h // r["group"], j.index)
            self.multiply_into(
                f, "column", r["width"], vectors, cols, values, r["v_row"], scores, self.pitch, out, self.pitch, keep
            )
        # The statistics are the peak (0 where nothing is seen) and 1 / total (0 there).
        for v in range(self.group):
            sums, most = self.line(f, total, v), self.line(f, peak, v)
            nothing = self.compare(f, "oeq", most, MINUS_INFINITY) & self.compare(f, "oeq", sums, 0.0)
            zero, one = self.number(f, 0.0, self.vector), self.number(f, 1.0, self.vector)
            self.put(f, f.select(nothing, zero, self.op(f, "fdiv", one, sums)), total, v)
            alone = self.compare(f, "oeq", most, MINUS_INFINITY)
            self.put(f, f.select(alone, zero, most), peak, v)
        f.call("void", "@turn_out", self.place(f, r, "o", b, h, i0), out, rows, r["width"], r["o_row"], total)
        first = head * r["queries"] + i0
        place = f.at(r["statistics"], first * 4)
        inverse = f.at(place, r["batch"] * r["heads"] * r["queries"] * 4)
        with f.loop(0, rows) as i:
            for target, source in ((place, peak), (inverse, total)):
                f.store(f.load("float", f.at(source, i.index * 4), 4), f.at(target, i.index * 4), align=4)
        self.finish(f)

    def task(self) -> None:
        """A group of query blocks."""
        f = self.function("task", "ptr record, i64 number")
        get = lambda name: self.get(f, f.record, name)  # noqa: E731
        first, last = self.share(f, f.number, get("tasks"), get("whole"))
        scratch = f.call("ptr", "@take", (get("depth") + get("width") + 2 * BLOCK_KEYS) * self.pitch)
        with f.loop(first, last) as i:
            f.call("void", "@block_task", f.record, i.index, scratch)
        f.call("void", "@give", scratch)
        self.finish(f)

    def text(self) -> str:
        """The whole module."""
        self.shared()
        for vectors in self.widths:
            self.softmax(vectors)
        self.block_task()
        self.task()
        f, record = self.start("attention", FORWARD)
        blocks = (f.queries + (self.block_queries - 1)) // self.block_queries
        whole = blocks * f.batch * f.heads
        work = f.batch * f.heads * f.queries * f.keys * (f.depth + f.width)
        tasks = f.least(work // TASK_WORK + 1, whole)
        self.set(f, record, blocks=blocks, whole=whole, tasks=tasks)
        self.spread_tasks(f, record, "task", tasks, tasks < 2)
        self.finish(f)
        return self.assembled()


class Backward(_Attention):
    """Writes `@attention_backward`."""

    def pad(self) -> None:
        """target[r, :pitch] = source[r, :cols], then zeros."""
        f = self.function("pad", "ptr target, ptr source, i64 rows, i64 cols, i64 pitch, i64 row_step")
        whole = f.cols // self.lanes * self.lanes
        with f.loop(0, f.rows) as r:
            source, target = f.at(f.source, r.index * f.row_step), f.at(f.target, r.index * f.pitch)
            with f.loop(0, whole, self.lanes) as c:
                self.put(f, f.load(self.vector, f.at(source, c.index * 4), 4), f.at(target, c.index * 4))
            with f.when(whole < f.cols):
                self.put(f, f.constant(self.vector, 0), f.at(target, whole * 4))
                with f.loop(whole, f.cols) as c:
                    f.store(f.load("float", f.at(source, c.index * 4), 4), f.at(target, c.index * 4), align=4)
        self.finish(f)

    def unpad(self) -> None:
        """target[r, :cols] = source[r, :cols]."""
        f = self.function("unpad", "ptr target, ptr source, i64 rows, i64 cols, i64 pitch, i64 row_step")
        whole = f.cols // self.lanes * self.lanes
        with f.loop(0, f.rows) as r:
            source, target = f.at(f.source, r.index * f.pitch), f.at(f.target, r.index * f.row_step)
            with f.loop(0, whole, self.lanes) as c:
                self.put(f, f.load(self.vector, f.at(source, c.index * 4), 4), f.at(target, c.index * 4))
            with f.loop(whole, f.cols) as c:
                f.store(f.load("float", f.at(source, c.index * 4), 4), f.at(target, c.index * 4), align=4)
        self.finish(f)

    def deltas(self) -> None:
        """delta[r] = grad[r] . out[r], from padded gradients and the output where it lies."""
        f = self.function("deltas", "ptr delta, ptr grad, ptr out, i64 rows, i64 cols, i64 pitch, i64 row_step")
        whole = f.cols // self.lanes * self.lanes
        name = f"@llvm.vector.reduce.fadd.v{self.lanes}f32"
        self.declare(f"float {name}(float, {self.vector})")
        with f.loop(0, f.rows) as r:
            left, right = f.at(f.grad, r.index * f.pitch), f.at(f.out, r.index * f.row_step)
            with f.loop(0, whole, self.lanes, [f.constant(self.vector, 0)]) as c:
                x, y = (f.load(self.vector, f.at(p, c.index * 4), 4) for p in (left, right))
                c.next = [self.fused(f, x, y, c.carried[0])]
            sums = c.carried[0]
            total = f.value("float", f"call reassoc float {name}(float 0.0, {sums.type} {sums.name})")
            with f.loop(whole, f.cols, 1, [total]) as c:
                x, y = (f.load("float", f.at(p, c.index * 4), 4) for p in (left, right))
                c.next = [self.op(f, "fadd", c.carried[0], self.op(f, "fmul", x, y))]
            f.store(c.carried[0], f.at(f.delta, r.index * 4), align=4)
        self.finish(f)

    def differentiate(self, vectors: int) -> None:
        """Scores become probabilities p, gradients of probabilities those of scores: scale * p * (grad - delta)."""
        f = self.function(
            f"differentiate_{vectors}", "ptr scores, ptr grads, i64 cols, ptr peak, ptr inverse, ptr delta, float scale"
        )
        peak, inverse, delta = ([self.line(f, p, v) for v in range(vectors)] for p in (f.peak, f.inverse, f.delta))
        scale = self.splat(f, f.scale)
        with f.loop(0, f.cols) as loop:
            line, grads = (f.at(p, loop.index * self.pitch) for p in (f.scores, f.grads))
            for v in range(vectors):
                e = self.exp(f, self.op(f, "fsub", self.line(f, line, v), peak[v]))
                p = self.op(f, "fmul", e, inverse[v])
                self.put(f, p, line, v)
                difference = self.op(f, "fsub", self.line(f, grads, v), delta[v])
                self.put(f, self.op(f, "fmul", self.op(f, "fmul", p, difference), scale), grads, v)
        self.finish(f)

    def task(self) -> None:
        """One range of keys of one head of K and V: all queries that see it."""
        f = self.function("task", "ptr record, i64 number")
        r = {name: self.get(f, f.record, name) for name in FIELDS if name != "scale"}
        scale = self.get(f, f.record, "scale")
        depth, width, lanes = r["depth"], r["width"], self.lanes
        part, head = f.number % r["parts"], f.number // r["parts"]
        kv_heads = r["heads"] // r["group"]
        b, kv = head // kv_heads, head % kv_heads
        blocks = (r["keys"] + (BLOCK_KEYS - 1)) // BLOCK_KEYS
        first, last = self.share(f, part, r["parts"], blocks)
        first, last = first * BLOCK_KEYS, f.least(last * BLOCK_KEYS, r["keys"])
        depth_vectors, width_vectors = ((x + (lanes - 1)) // lanes for x in (depth, width))
        depth_pitch, width_pitch = depth_vectors * (lanes * 4), width_vectors * (lanes * 4)
        count = last - first
        rooms = {  # bytes
            "scores": BLOCK_KEYS * self.pitch, "grads": BLOCK_KEYS * self.pitch, "masks": BLOCK_KEYS * self.pitch,
            "q_turned": depth * self.pitch, "grad_turned": width * self.pitch, "grad_q": depth * self.pitch,
            "q_lines": depth_pitch * self.block_queries, "grad_lines": width_pitch * self.block_queries,
            "grad_k": count * depth_pitch, "grad_v": count * width_pitch,
        }  # fmt: skip
        needed = f.constant("i64", 0)
        for size in rooms.values():
            needed = needed + size
        scratch = f.call("ptr", "@take", needed)
        room, at = {}, scratch
        for name, size in rooms.items():
            room[name] = at
            at = f.at(at, size)
        with f.loop(0, count * (depth_pitch + width_pitch), lanes * 4) as i:  # the two lie side by side
            self.put(f, f.constant(self.vector, 0), f.at(room["grad_k"], i.index))
        peak, inverse, delta = (f.alloca(self.vector, self.group) for _ in range(3))
        for v in range(self.group):
            for p in (peak, inverse, delta):
                self.put(f, f.constant(self.vector, 0), p, v)
        ones = Value(f, "@ones", "ptr")
        four = f.constant("i64", 4)
        with f.loop(0, r["group"]) as g, f.loop(0, r["queries"], self.block_queries) as i:
            h = kv * r["group"] + g.index
            i0 = i.index
            rows = f.least(r["queries"] - i0, self.block_queries)
            vectors = (rows + (lanes - 1)) // lanes
            queries, grad = self.place(f, r, "q", b, h, i0), self.place(f, r, "grad", b, h, i0)
            f.call("void", "@turn_float", room["q_turned"], queries, rows, depth, r["q_row"], four)
            f.call("void", "@turn_float", room["grad_turned"], grad, rows, width, r["grad_row"], four)
            f.call("void", "@pad", room["q_lines"], queries, rows, depth, depth_pitch, r["q_row"])
            f.call("void", "@pad", room["grad_lines"], grad, rows, width, width_pitch, r["grad_row"])
            f.call(
                "void", "@deltas", delta, room["grad_lines"], self.place(f, r, "o", b, h, i0), rows, width,
                width_pitch, r["o_row"],
            )  # fmt: skip
            place = f.at(r["statistics"], ((b * r["heads"] + h) * r["queries"] + i0) * 4)
            above = f.at(place, r["batch"] * r["heads"] * r["queries"] * 4)
            with f.loop(0, rows) as x:
                for target, source in ((peak, place), (inverse, above)):
                    f.store(f.load("float", f.at(source, x.index * 4), 4), f.at(target, x.index * 4), align=4)
            with f.loop(0, depth * self.block_queries, lanes) as x:
                self.put(f, f.constant(self.vector, 0), f.at(room["grad_q"], x.index * 4))
            seen = f.select(r["causal"].ne(0), f.least(last, i0 + rows), last)
            with f.loop(first, seen, BLOCK_KEYS) as j:
                j0 = j.index
                cols = f.least(seen - j0, BLOCK_KEYS)
                f.call(
                    "void", "@scores", f.record, b, h, i0, rows, j0, cols, room["scores"], room["q_turned"],
                    room["masks"],
                )  # fmt: skip
                self.multiply_into(
                    f, "row", cols, vectors, width, self.place(f, r, "v", b, kv, j0), r["v_row"], room["grad_turned"],
                    self.pitch, room["grads"], self.pitch,
                )  # fmt: skip
                for v, (_, which) in self.pieces(f, vectors, self.widths):
                    for number, wide in enumerate(self.widths):
                        with f.when(which.eq(number)):
                            x = v * (lanes * 4)
                            f.call(
                                "void", f"@differentiate_{wide}", f.at(room["scores"], x), f.at(room["grads"], x), cols,
                                f.at(peak, x), f.at(inverse, x), f.at(delta, x), scale,
                            )  # fmt: skip
                line = j0 - first
                for source, lines, pitch, target, n in (
                    ("scores", "grad_lines", width_pitch, "grad_v", width_vectors),
                    ("grads", "q_lines", depth_pitch, "grad_k", depth_vectors),
                ):
                    self.multiply_into(
                        f, "row", cols, n, rows, room[source], self.pitch, room[lines], pitch,
                        f.at(room[target], line * pitch), pitch, ones,
                    )  # fmt: skip
                self.multiply_into(
                    f, "column", depth, vectors, cols, self.place(f, r, "k", b, kv, j0), r["k_row"], room["grads"],
                    self.pitch, room["grad_q"], self.pitch, ones,
                )  # fmt: skip
            dense = depth * 4
            own = ((part * r["batch"] + b) * r["heads"] + h) * r["queries"] + i0
            alone = r["parts"].eq(1)
            target = f.select(alone, self.place(f, r, "grad_q", b, h, i0), f.at(r["partial"], own * dense))
            step = f.select(alone, r["grad_q_row"], dense)
            f.call("void", "@turn_out", target, room["grad_q"], rows, depth, step, ones)
        for name, cols, pitch in (("grad_k", depth, depth_pitch), ("grad_v", width, width_pitch)):
            target = self.place(f, r, name, b, kv, first)
            f.call("void", "@unpad", target, room[name], count, cols, pitch, r[f"{name}_row"])
        f.call("void", "@give", scratch)
        self.finish(f)

    def gather_task(self) -> None:
        """The gradient of one head's queries, from those that each range of keys gave, in their order."""
        f = self.function("gather_task", "ptr record, i64 number")
        r = {name: self.get(f, f.record, name) for name in FIELDS if name != "scale"}
        b, h = f.number // r["heads"], f.number % r["heads"]
        pitch = r["depth"] * 4
        step = r["batch"] * r["heads"] * r["queries"] * pitch
        with f.loop(0, r["queries"]) as i:
            source = f.at(r["partial"], (f.number * r["queries"] + i.index) * pitch)
            target = self.place(f, r, "grad_q", b, h, i.index)
            whole = r["depth"] // self.lanes * self.lanes

            def total(type: str, at: Value, target=target, source=source) -> None:
                zero = f.constant(type, 0)
                with f.loop(0, r["parts"], 1, [zero]) as part:
                    x = f.load(type, f.at(source, part.index * step + at * 4), 4)
                    part.next = [self.op(f, "fadd", part.carried[0], x)]
                f.store(part.carried[0], f.at(target, at * 4), align=4)

            with f.loop(0, whole, self.lanes) as c:
                total(self.vector, c.index)
            with f.loop(whole, r["depth"]) as c:
                total("float", c.index)
        self.finish(f)

    def text(self) -> str:
        """The whole module."""
        self.shared()
        self.pad()
        self.unpad()
        self.deltas()
        for vectors in self.widths:
            self.differentiate(vectors)
        self.task()
        self.gather_task()
        f, record = self.start("attention_backward", BACKWARD)
        kv_heads = f.batch * f.heads // f.group
        blocks = (f.keys + (BLOCK_KEYS - 1)) // BLOCK_KEYS
        work = f.batch * f.heads * f.queries * f.keys * (f.depth + f.width)
        divisor = f.select(kv_heads < 1, f.constant("i64", 1), kv_heads)
        parts = f.least((kv_heads + (LEAST_TASKS - 1)) // divisor, work // (divisor * TASK_WORK) + 1)
        parts = f.select(blocks < 1, f.constant("i64", 1), f.least(parts, blocks))
        tasks = kv_heads * parts
        self.set(f, record, parts=parts, partial=0)
        several = parts > 1
        with f.when(several):
            bytes_ = parts * f.batch * f.heads * f.queries * f.depth * 4
            self.set(f, record, partial=f.call("ptr", "@take", bytes_))
        alone = (tasks < 2) | (work < TASK_WORK)
        self.spread_tasks(f, record, "task", tasks, alone)
        with f.when(several):
            self.spread_tasks(f, record, "gather_task", f.batch * f.heads, alone)
            f.call("void", "@give", self.get(f, record, "partial"))
        self.finish(f)
        return self.assembled()


def forward_text(shape: Shape) -> str:
    """The LLVM text of the forward; its entry is `@attention`, which takes `FORWARD`."""
    return Forward(shape).text()


def backward_text(shape: Shape) -> str:
    """The LLVM text of the backward; its entry is `@attention_backward`, which takes `BACKWARD`."""
    return Backward(shape).text()
