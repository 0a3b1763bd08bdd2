"""The LLVM text of choosing by mask: counts, chosen elements and their coordinates; knows neither Python nor the cache.

A mask is a row-major array of bytes, chosen is what is not 0. Blocks of it are counted side by side; the sums of the
counts say where in the results each block writes, so that no order of threads shows.
"""

from facula.native.text import Function, Value, literal

__all__ = ["BLOCK", "MOST_RANK", "coordinates_text", "count_text", "select_text"]

BLOCK = 1 << 14  # elements of the mask that one task reads
MOST_RANK = 64
STEP = 64  # bytes of the mask that are counted at a time


class Writer:
    """Writes the functions of one text for vectors of `bits`; `compress`: lanes are packed by an instruction."""

    def __init__(self, attributes: str, bits: int, compress: bool):
        self.attributes, self.bits, self.compress = attributes, bits, compress
        self.functions: list[str] = []
        self.declared = {"declare void @facula_parallel(ptr, ptr, i64)"}

    def function(self, name: str, parameters: str, result: str = "void", linkage: str = "internal") -> Function:
        return Function(name, parameters, result, self.attributes, linkage)

    def finish(self, f: Function, result: Value | None = None) -> None:
        f.done(result)
        self.functions.append(f.text())

    def text(self) -> str:
        return "\n\n".join([*sorted(self.declared), *self.functions])

    def slot(self, f: Function, number: int, type: str = "i64") -> Value:
        """A field of the record."""
        return f.load(type, f.at(f.record, 8 * number))

    def item(self, f: Function, base: Value, i: Value, type: str = "i64") -> Value:
        return f.value("ptr", f"getelementptr {type}, ptr {base.name}, i64 {i.name}")

    def span(self, f: Function, n: Value) -> tuple[Value, Value]:
        start = f.number * BLOCK
        return start, f.least(start + BLOCK, n)

    def convert(self, f: Function, word: str, x: Value, type: str) -> Value:
        return x if x.type == type else f.value(type, f"{word} {x.type} {x.name} to {type}")

    def chosen(self, f: Function, mask: Value, i: Value, lanes: int) -> tuple[Value, Value]:
        """Which of `lanes` elements are chosen (i1 each), and how many."""
        if lanes == 1:
            one = f.load("i8", f.at(mask, i)).ne(0)
            return one, self.convert(f, "zext", one, "i64")
        some = f.load(f"<{lanes} x i8>", f.at(mask, i), 1).ne(0)
        word = f.value(f"i{lanes}", f"bitcast {some.type} {some.name} to i{lanes}")
        self.declared.add(f"declare i{lanes} @llvm.ctpop.i{lanes}(i{lanes})")
        count = f.call(f"i{lanes}", f"@llvm.ctpop.i{lanes}", word)
        return some, self.convert(f, "zext", count, "i64")

    def put(self, f: Function, value: Value, some: Value, count: Value, at: Value, scalar: str, lanes: int) -> None:
        """Writes the chosen lanes side by side, and nothing else."""
        if lanes == 1:
            with f.when(some):
                f.store(value, at, align=_align(scalar))
            return
        ty, short = f"<{lanes} x {scalar}>", f"v{lanes}{scalar}"
        self.declared.add(f"declare {ty} @llvm.experimental.vector.compress.{short}({ty}, <{lanes} x i1>, {ty})")
        self.declared.add(f"declare void @llvm.masked.store.{short}.p0({ty}, ptr, i32, <{lanes} x i1>)")
        packed = f.value(
            ty, f"call {ty} @llvm.experimental.vector.compress.{short}({ty} {value.name}, {some.type} {some.name}, "
            f"{ty} undef)"
        )  # fmt: skip
        gone = f.constant("i64", lanes) - count
        ones = f.value(f"i{lanes}", f"lshr i{lanes} {literal(-1, f'i{lanes}')}, {self.narrow(f, gone, lanes).name}")
        ones = f.select(count.eq(0), f.constant(f"i{lanes}", 0), ones)
        mask = f.value(f"<{lanes} x i1>", f"bitcast i{lanes} {ones.name} to <{lanes} x i1>")
        f.emit(
            f"call void @llvm.masked.store.{short}.p0({ty} {packed.name}, ptr {at.name}, i32 {_align(scalar)}, "
            f"{mask.type} {mask.name})"
        )

    def narrow(self, f: Function, x: Value, bits: int) -> Value:
        return x if bits == 64 else self.convert(f, "trunc", x, f"i{bits}")

    def count(self) -> None:
        """`count(mask, n, counts)`: how many are chosen; `counts[b]` is how many before block b."""
        f = self.function("count_block", "ptr record, i64 number")
        mask, counts = self.slot(f, 0, "ptr"), self.slot(f, 2, "ptr")
        start, end = self.span(f, self.slot(f, 1))
        total = f.variable("i64", 0)
        whole = start + ((end - start) & -STEP)
        for first, last, lanes in ((start, whole, STEP), (whole, end, 1)):
            with f.loop(first, last, lanes) as loop:
                total.set(total.get() + self.chosen(f, mask, loop.index, lanes)[1])
        f.store(total.get(), self.item(f, counts, f.number))
        self.finish(f)
        f = self.function("count", "ptr mask, i64 n, ptr counts", "i64", "external")
        record = f.alloca("i64", 3)
        for i, value in enumerate((f.mask, f.n, f.counts)):
            f.store(value, f.at(record, 8 * i))
        blocks = (f.n + (BLOCK - 1)) // BLOCK
        f.emit(f"call void @facula_parallel(ptr @count_block, ptr {record.name}, i64 {blocks.name})")
        with f.loop(0, blocks, carry=[f.constant("i64", 0)]) as loop:
            at = self.item(f, f.counts, loop.index)
            have = f.load("i64", at)
            f.store(loop.carried[0], at)
            loop.next = [loop.carried[0] + have]
        self.finish(f, loop.carried[0])

    def select(self, size: int) -> None:
        """`select(mask, n, counts, input, out)`: the chosen elements of `size` bytes side by side."""
        scalar = f"i{8 * size}"
        f = self.function("select_block", "ptr record, i64 number")
        mask, counts, source, out = (self.slot(f, k, "ptr") for k in (0, 2, 3, 4))
        start, end = self.span(f, self.slot(f, 1))
        at = f.variable("ptr", self.item(f, out, f.load("i64", self.item(f, counts, f.number)), scalar))
        lanes = self.bits // 8 // size if self.compress and size <= 8 else 1
        whole = start + ((end - start) & -lanes)
        for first, last, width in ((start, whole, lanes), (whole, end, 1)) if lanes > 1 else ((start, end, 1),):
            with f.loop(first, last, width) as loop:
                some, count = self.chosen(f, mask, loop.index, width)
                ty = scalar if width == 1 else f"<{width} x {scalar}>"
                value = f.load(ty, self.item(f, source, loop.index, scalar), _align(scalar))
                self.put(f, value, some, count, at.get(), scalar, width)
                at.set(self.item(f, at.get(), count, scalar))
        self.finish(f)
        self.entry("select", ("mask", "n", "counts", "input", "out"))

    def entry(self, name: str, arguments: tuple[str, ...]) -> None:
        listed = ", ".join(f"{'i64' if a in ('n', 'rank', 'total') else 'ptr'} {a}" for a in arguments)
        f = self.function(name, listed, linkage="external")
        record = f.alloca("i64", len(arguments))
        for i, argument in enumerate(arguments):
            f.store(getattr(f, argument), f.at(record, 8 * i))
        blocks = (f.n + (BLOCK - 1)) // BLOCK
        f.emit(f"call void @facula_parallel(ptr @{name}_block, ptr {record.name}, i64 {blocks.name})")
        self.finish(f)

    def coordinates(self) -> None:
        """`coordinates(mask, n, counts, out, total, rank, sizes)`: a column of `total` indices a dim, one by one."""
        f = self.function("coordinates_block", "ptr record, i64 number")
        mask, counts, out, sizes = (self.slot(f, k, "ptr") for k in (0, 2, 3, 6))
        total, rank = self.slot(f, 4), self.slot(f, 5)
        start, end = self.span(f, self.slot(f, 1))
        first = f.load("i64", self.item(f, counts, f.number))
        inner = f.load("i64", self.item(f, sizes, rank - 1))
        last_column = self.item(f, out, (rank - 1) * total)
        row_column = self.item(f, out, (rank - 2) * total)
        several = rank > 1
        lanes = self.bits // 64 if self.compress else 1
        done = f.variable("i64", first)
        row, column, at = f.variable("i64", start // inner), f.variable("i64", start % inner), f.variable("i64", start)
        name = f.fresh("rows")
        f.branch(f"{name}.head")
        f.label(f"{name}.head")
        f.emit(f"br i1 {(at.get() < end).name}, label %{name}.body, label %{name}.end")
        f.label(f"{name}.body")
        here, j = at.get(), column.get()
        stop = f.least(end, here + (inner - j))
        before = done.get()
        whole = here + ((stop - here) & -lanes)
        for begin, limit, width in ((here, whole, lanes), (whole, stop, 1)) if lanes > 1 else ((here, stop, 1),):
            with f.loop(begin, limit, width) as loop:
                some, count = self.chosen(f, mask, loop.index, width)
                place = loop.index - here + j
                if width > 1:
                    ty = f"<{width} x i64>"
                    one = f.value(ty, f"insertelement {ty} poison, i64 {place.name}, i64 0")
                    all = f"shufflevector {ty} {one.name}, {ty} poison, <{width} x i32> zeroinitializer"
                    steps = ", ".join(f"i64 {k}" for k in range(width))
                    place = f.value(ty, f"add {ty} {f.value(ty, all).name}, <{steps}>")
                self.put(f, place, some, count, self.item(f, last_column, done.get()), "i64", width)
                done.set(done.get() + count)
        with f.when(several):
            number = row.get()
            with f.loop(before, done.get()) as loop:
                f.store(number, self.item(f, row_column, loop.index))
        at.set(stop)
        row.set(row.get() + 1)
        column.set(0)
        f.branch(f"{name}.head")
        f.label(f"{name}.end")
        with f.when(rank > 2), f.loop(first, done.get()) as loop:  # the number of the row has coordinates of its own
            rest = f.variable("i64", f.load("i64", self.item(f, row_column, loop.index)))
            with f.loop(0, rank - 1) as each:
                d = f.constant("i64", 0) + rank - 2 - each.index
                size = f.load("i64", self.item(f, sizes, d))
                f.store(rest.get() % size, self.item(f, self.item(f, out, d * total), loop.index))
                rest.set(rest.get() // size)
        self.finish(f)
        self.entry("coordinates", ("mask", "n", "counts", "out", "total", "rank", "sizes"))


def _align(scalar: str) -> int:
    return max(1, int(scalar[1:]) // 8) if scalar != "i128" else 8


def count_text(attributes: str, bits: int, compress: bool) -> str:
    """The module of `count`."""
    w = Writer(attributes, bits, compress)
    w.count()
    return w.text()


def select_text(size: int, attributes: str, bits: int, compress: bool) -> str:
    """The module of `select` for elements of `size` bytes."""
    w = Writer(attributes, bits, compress)
    w.select(size)
    return w.text()


def coordinates_text(attributes: str, bits: int, compress: bool) -> str:
    """The module of `coordinates`."""
    w = Writer(attributes, bits, compress)
    w.coordinates()
    return w.text()
