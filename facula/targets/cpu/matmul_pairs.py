"""Matrix products by dot products of pairs of bfloat16 (AVX-512 BF16): how pairs are packed and summed, nothing else.

A packed element is a pair of neighbours along k in 32 bits, so that a sum takes half as many steps; from `block` on,
k is counted in pairs. The second of the last pair is zero where k is odd.
"""

from facula.native.text import Function, Value

from .matmul_kernel import Writer

__all__ = ["PairWriter"]


class PairWriter(Writer):
    """The writer for bfloat16 where the machine multiplies pairs."""

    def gather(self, f: Function, a: Value, b: Value, c: Value) -> Value:
        pairs = f"<{2 * self.lanes} x bfloat>"
        name = f"@llvm.x86.avx512bf16.dpbf16ps.{self.s.bits}"
        self.declare(f"{c.type} {name}({c.type}, {pairs}, {pairs})")
        a, b = (f.value(pairs, f"bitcast {x.type} {x.name} to {pairs}") for x in (a, b))
        return f.call(c.type, name, c, a, b)

    def count_pairs(self, f: Function) -> None:
        get = lambda name: self.get(f, f.record, name)  # noqa: E731
        k = get("k")
        self.set(f, f.record, odd=k & 1, k=(k + 1) >> 1, a_k=get("a_k") * 2, b_k=get("b_k") * 2)

    def words(self, f: Function, pointer: Value, mask: Value | None = None) -> Value:
        """A vector of pairs as they lie in memory."""
        type = f"<{self.lanes} x i32>"
        if mask is None:
            return f.load(type, pointer, 2)
        name = f"@llvm.masked.load.v{self.lanes}i32.p0"
        self.declare(f"{type} {name}(ptr, i32, {mask.type}, {type})")
        return f.value(
            type, f"call {type} {name}(ptr {pointer.name}, i32 2, {mask.type} {mask.name}, {type} zeroinitializer)"
        )

    def halves(self, f: Function, pointer: Value, mask: Value) -> Value:
        """A vector of single elements."""
        type = self.memory_vector
        name = f"@llvm.masked.load.v{self.lanes}i16.p0"
        self.declare(f"{type} {name}(ptr, i32, {mask.type}, {type})")
        return f.value(
            type, f"call {type} {name}(ptr {pointer.name}, i32 2, {mask.type} {mask.name}, {type} zeroinitializer)"
        )

    def pack_elements(
        self, f: Function, target: Value, source: Value, start: Value, count: Value, i_step: Value, p_step: Value,
        lines: Value, pitch: Value,
    ) -> None:  # fmt: skip
        half = f.value("i64", f"ashr i64 {p_step.name}, 1")
        with f.loop(start, count) as p:
            row = f.at(target, p.index * pitch * 4)
            column = f.at(source, p.index * p_step)
            whole = f.odd.eq(0) | p.index.ne(count - 1)
            with f.loop(0, lines) as i:
                place = f.at(column, i.index * i_step)
                low = f.load("i16", place, 2)
                high = f.variable("i16", 0)
                with f.when(whole):
                    high.set(f.load("i16", f.at(place, half), 2))
                slot = f.at(row, i.index * 4)
                f.store(low, slot, align=2)
                f.store(high.get(), f.at(slot, 2), align=2)

    def turned(self, registers: int) -> None:
        lanes = self.lanes
        parameters = "ptr target, ptr source, i64 depth, i64 i_step, i64 lines, i64 pitch, i64 odd"
        f = self.function(f"turned_{registers}", parameters)
        last, whole = f.lines - 1, f.depth - f.odd
        places = [f.at(f.source, f.least(f.constant("i64", i), last) * f.i_step) for i in range(registers * lanes)]
        with f.loop(0, whole, lanes) as p:
            mask = self.mask(f, whole - p.index)
            offset = p.index * 4
            squares = [
                self.transposed(f, [self.words(f, f.at(x, offset), mask) for x in places[v * lanes : (v + 1) * lanes]])
                for v in range(registers)
            ]
            for q in range(lanes):  # in this order: what a store writes past its line is overwritten by the next
                for v in range(registers):
                    f.store(squares[v][q], f.at(f.target, ((p.index + q) * f.pitch + v * lanes) * 4), align=4)
        self.pack_elements(f, f.target, f.source, whole, f.depth, f.i_step, f.constant("i64", 4), f.lines, f.pitch)
        self.finish(f)

    def interleaved(
        self, f: Function, lines: Value, vectors: int, p_step: Value, target: Value, source: Value, pitch: Value
    ) -> None:
        """Pairs of lines that lie one after the other in memory: neighbours in the pair are `p_step` / 2 apart."""
        masks = [self.mask(f, lines, v * self.lanes) for v in range(vectors)]
        half = f.value("i64", f"ashr i64 {p_step.name}, 1")
        order = [x for i in range(self.lanes) for x in (i, self.lanes + i)]

        def line(p: Value, high: bool) -> None:
            place = f.at(source, p * p_step)
            for v, mask in enumerate(masks):
                offset = v * self.lanes * 2
                first = self.halves(f, f.at(place, offset), mask)
                second = f.constant(first.type, 0)
                if high:
                    second = self.halves(f, f.at(f.at(place, half), offset), mask)
                pair = self.shuffle(f, first, second, order)
                f.store(pair, f.at(target, (p * pitch + v * self.lanes) * 4), align=4)

        with f.loop(0, f.depth - f.odd) as p:
            line(p.index, True)
        with f.when(f.odd.ne(0)):
            line(f.depth - 1, False)

    def pack_a(self) -> None:
        f = self.function("pack_a", "ptr target, ptr source, i64 rows, i64 depth, i64 a_row, i64 a_k, i64 odd")
        registers = -(-self.s.rows // self.lanes)
        with f.either(f.a_k.eq(4)) as seam:
            f.call("void", f"@turned_{registers}", f.target, f.source, f.depth, f.a_row, f.rows, f.rows, f.odd)
            seam.otherwise()
            with f.either(f.a_row.eq(2)) as columns:
                self.interleaved(f, f.rows, registers, f.a_k, f.target, f.source, f.rows)
                columns.otherwise()
                zero = f.constant("i64", 0)
                self.pack_elements(f, f.target, f.source, zero, f.depth, f.a_row, f.a_k, f.rows, f.rows)
        self.finish(f)

    def pack_b(self) -> None:
        f = self.function(
            "pack_b",
            "ptr target, ptr source, i64 cols, i64 depth, i64 b_k, i64 b_col, i64 odd, {sum} alpha, "
            "{sum} alpha_imaginary",
        )
        zero, width = f.constant("i64", 0), f.constant("i64", self.width)
        with f.either(f.b_col.eq(2)) as seam:
            self.interleaved(f, f.cols, self.s.vectors, f.b_k, f.target, f.source, width)
            seam.otherwise()
            with f.either(f.b_k.eq(4)) as turned:
                with f.loop(0, f.cols, self.lanes) as v:
                    f.call(
                        "void", "@turned_1", f.at(f.target, v.index * 4), f.at(f.source, f.b_col * v.index), f.depth,
                        f.b_col, f.least(f.cols - v.index, self.lanes), width, f.odd,
                    )  # fmt: skip
                turned.otherwise()
                self.pack_elements(f, f.target, f.source, zero, f.depth, f.b_col, f.b_k, f.cols, width)
        self.finish(f)
