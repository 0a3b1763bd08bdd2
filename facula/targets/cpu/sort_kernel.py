"""The LLVM text of sorting and selecting along rows: keys, radix passes, ranks; knows neither Python nor the cache.

An element becomes an unsigned *key* in the order that is asked for (NaN the largest, -0 equal to 0; complemented for a
descending order). Of a row's keys the 32 bits below the highest one that varies are joined with the element's place
to one number of 64 bits, a *pair*. Pairs all differ, so whatever sorts them is stable: a radix sort of 8 bits a pass,
or for a short row the rank of each, which is the count of smaller ones. Keys of 64 bits may agree in these 32 bits:
such runs are put in order afterwards.

A long row of few is cut in pieces that are counted and distributed side by side. What is cut how depends on the
shape alone, and the result on nothing but the elements.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from facula.native.text import Function, Value, Variable, literal

__all__ = ["ARGUMENTS", "ELEMENTS", "HOW", "Element", "module_text", "scratch_bytes"]

ARGUMENTS = (
    "values", "indices", "input", "scratch", "outer", "n", "inner", "first", "count", "how", "descending",
)  # fmt: skip
POINTERS = {"values", "indices", "input", "scratch"}
FIELDS = (*ARGUMENTS, "group", "bytes", "long", "row", "piece", "pieces", "shift", "low", "bits", "digit", "from", "to")
HOW = {"order": 0, "median": 1, "nanmedian": 2, "mode": 3, "first": 4, "kth": 5}

# Measured on Zen 4.
RANKED = 96  # pairs up to which ranks are counted
INSERTED = 16  # pairs of one run that are put in order by insertion
GROUPS = 16  # most shares of rows
SHARE = 1 << 13  # elements of one share at least
LONG = 1 << 15  # elements from which a row may be cut in pieces
PIECE = 1 << 15  # elements of a piece at least
PIECES = 64  # of a row at most
FEW = 4  # rows up to which a long one is cut
LANES = 16
PAD = 2 * LANES  # pairs that may be written behind the last


@dataclass(frozen=True)
class Element:
    """How the elements of a dtype become keys."""

    code: str
    size: int
    kind: str  # "f", "i" or "u"
    infinity: int = 0  # the bits of the largest number, moved to the upper end of the key

    @property
    def key(self) -> str:
        return "i64" if self.size == 8 else "i32"

    @property
    def bits(self) -> int:
        return 64 if self.size == 8 else 32

    @property
    def memory(self) -> str:
        return f"i{8 * self.size}"


ELEMENTS = {
    e.code: e
    for e in (
        Element("f32", 4, "f", 0x7F800000), Element("f64", 8, "f", 0x7FF0000000000000),
        Element("f16", 2, "f", 0x7C000000), Element("bf16", 2, "f", 0x7F800000),
        Element("b1", 1, "u"), Element("u8", 1, "u"), Element("i8", 1, "i"), Element("i16", 2, "i"),
        Element("i32", 4, "i"), Element("i64", 8, "i"), Element("u16", 2, "u"), Element("u32", 4, "u"),
        Element("u64", 8, "u"),
    )
}  # fmt: skip


def pieces_of(n: int) -> tuple[int, int]:
    """(elements of a piece, pieces) of a long row."""
    piece = max(PIECE, -(-n // PIECES))
    return piece, -(-n // piece)


def scratch_bytes(rows: int, n: int) -> int:
    """What a call needs: four buffers of pairs for each share of rows, counts of the pieces of a long row."""
    groups = 1 if n >= LONG and rows <= FEW else max(1, min(GROUPS, rows))
    return 4 * 8 * (n + PAD) * groups + (8 * 256 * PIECES + 64 * PIECES)


class Writer:
    """Writes all functions of one element type."""

    def __init__(self, element: Element, attributes: str):
        self.e, self.attributes = element, attributes
        self.functions: list[str] = []
        self.declared: set[str] = set()

    # ------------------------------------------------------------------ helpers

    def function(self, name: str, parameters: str, result: str = "void", linkage: str = "internal") -> Function:
        return Function(name, parameters.replace("KEY", self.e.key), result, f"noinline {self.attributes}", linkage)

    def finish(self, f: Function, result: Value | None = None) -> None:
        f.done(result)
        self.functions.append(f.text())

    def get(self, f: Function, name: str, record: Value | None = None) -> Value:
        record = f.record if record is None else record
        return f.load("ptr" if name in POINTERS else "i64", f.at(record, 8 * FIELDS.index(name)))

    def put(self, f: Function, record: Value, **values: Value | int) -> None:
        for name, value in values.items():
            f.store(value, f.at(record, 8 * FIELDS.index(name)), "i64")

    def intrinsic(self, f: Function, name: str, type: str, *values: Value) -> Value:
        short = type if type[0] != "<" else "v" + type[1:-1].replace(" x ", "")
        listed = ", ".join([type] * len(values))
        flag = ", i1" if name in ("ctlz", "cttz") else ""
        self.declared.add(f"declare {type} @llvm.{name}.{short}({listed}{flag})")
        given = ", ".join(f"{v.type} {v.name}" for v in values) + (", i1 false" if flag else "")
        return f.value(type, f"call {type} @llvm.{name}.{short}({given})")

    @contextmanager
    def whilst(self, f: Function) -> Iterator[str]:
        """An endless loop; the body leaves it with `leave`. Yields its name."""
        name = f.fresh("while")
        f.branch(f"{name}.head")
        f.label(f"{name}.head")
        yield name
        f.branch(f"{name}.head")
        f.label(f"{name}.end")

    def leave(self, f: Function, name: str, condition: Value) -> None:
        on = f.fresh("on")
        f.emit(f"br i1 {condition.name}, label %{name}.end, label %{on}")
        f.label(on)

    def change(self, f: Function, place: Variable, by: Value | int) -> None:
        place.set(place.get() + by)

    @staticmethod
    def vector(type: str, lanes: int) -> str:
        return type if lanes == 1 else f"<{lanes} x {type}>"

    def splat(self, f: Function, scalar: Value, lanes: int) -> Value:
        if lanes == 1:
            return scalar
        type = f"<{lanes} x {scalar.type}>"
        one = f.value(type, f"insertelement {type} poison, {scalar.type} {scalar.name}, i64 0")
        return f.value(type, f"shufflevector {type} {one.name}, {type} poison, <{lanes} x i32> zeroinitializer")

    def unsigned(self, f: Function, word: str, a: Value, b: Value | int) -> Value:
        return a._compare(word, b)

    def convert(self, f: Function, word: str, x: Value, type: str) -> Value:
        return x if x.type == type else f.value(type, f"{word} {x.type} {x.name} to {type}")

    def minimum(self, f: Function, a: Value, b: Value, word: str = "umin") -> Value:
        return self.intrinsic(f, word, a.type, a, b)

    def pair_at(self, f: Function, keys: Value, i: Value) -> Value:
        return f.value("ptr", f"getelementptr i64, ptr {keys.name}, i64 {i.name}")

    def element_at(self, f: Function, base: Value, i: Value, step: Value | None = None) -> Value:
        place = i if step is None else i * step
        return f.value("ptr", f"getelementptr {self.e.memory}, ptr {base.name}, i64 {place.name}")

    # ------------------------------------------------------------------ keys

    def key(self, f: Function, x: Value, flip: Value, lanes: int) -> Value:
        """The keys of elements (their bits)."""
        e, ty = self.e, self.vector(self.e.key, lanes)
        top = 1 << e.bits - 1
        if e.kind != "f":
            if e.kind == "u":
                return self.flipped(f, self.convert(f, "zext", x, ty), flip, lanes)
            wide = self.convert(f, "sext", x, ty)
            return self.flipped(f, f.value(ty, f"xor {ty} {wide.name}, {literal(-top, ty)}"), flip, lanes)
        bits = self.convert(f, "zext", x, ty)
        if e.size == 2:
            bits = f.value(ty, f"shl {ty} {bits.name}, {literal(16, ty)}")
        size = bits & (top - 1)
        zero = size.eq(0)
        bits = f.select(zero, size, bits)
        sign = f.value(ty, f"ashr {ty} {bits.name}, {literal(e.bits - 1, ty)}")
        mask = sign | -top
        ordered = f.value(ty, f"xor {ty} {bits.name}, {mask.name}")
        nan = self.unsigned(f, "ugt", size, e.infinity)
        ordered = f.select(nan, f.constant(ty, -1), ordered)
        if e.size == 2:
            ordered = ordered >> 16
            down = self.flipped(f, ordered, flip, lanes)
            return down & 0xFFFF
        return self.flipped(f, ordered, flip, lanes)

    def flipped(self, f: Function, key: Value, flip: Value, lanes: int) -> Value:
        mask = self.splat(f, flip, lanes)
        return f.value(key.type, f"xor {key.type} {key.name}, {mask.name}")

    def swept(self, f: Function, x: Value, step: Value, start: Value, n: Value, body) -> None:
        """`body(elements, their place, lanes)` for all: vectors where they lie side by side, else one by one."""
        e = self.e
        done = f.variable("i64", start)
        with f.when(step.eq(1)):
            whole = f.constant("i64", 0) + n - (LANES - 1)
            with f.loop(start, whole, LANES) as loop:
                body(f.load(self.vector(e.memory, LANES), self.element_at(f, x, loop.index), e.size), loop.index, LANES)
                done.set(loop.index + LANES)
        with f.loop(done.get(), n) as loop:
            body(f.load(e.memory, self.element_at(f, x, loop.index, step)), loop.index, 1)

    def minmax(self) -> None:
        """The smallest and the largest key of elements `begin` to `n`, and how many are NaN: three i64 at `to`."""
        f, e = self.function("minmax", "ptr x, i64 step, i64 begin, i64 n, KEY flip, ptr to"), self.e
        least, most, nans = {}, {}, {}
        for lanes in (LANES, 1):
            ty = self.vector(e.key, lanes)
            least[lanes], most[lanes] = f.variable(ty, -1), f.variable(ty, 0)
            nans[lanes] = f.variable(ty, 0)

        def body(x: Value, _: Value, lanes: int) -> None:
            key = self.key(f, x, f.flip, lanes)
            least[lanes].set(self.minimum(f, least[lanes].get(), key))
            most[lanes].set(self.minimum(f, most[lanes].get(), key, "umax"))
            if e.kind == "f":
                no = self.flipped(f, f.constant(key.type, -1 if e.size > 2 else 0xFFFF), f.flip, lanes)
                if e.size == 2:
                    no = no & 0xFFFF
                one = self.convert(f, "zext", self.unsigned(f, "eq", key, no), key.type)
                nans[lanes].set(nans[lanes].get() + one)

        self.swept(f, f.x, f.step, f.begin, f.n, body)
        wide = self.vector(e.key, LANES)
        for i, (places, word) in enumerate(((least, "umin"), (most, "umax"), (nans, "add"))):
            self.declared.add(f"declare {e.key} @llvm.vector.reduce.{word}.v{LANES}{e.key}({wide})")
            all = f.call(e.key, f"@llvm.vector.reduce.{word}.v{LANES}{e.key}", places[LANES].get())
            one = places[1].get()
            both = all + one if word == "add" else self.minimum(f, all, one, word)
            f.store(self.convert(f, "zext", both, "i64"), f.at(f.to, 8 * i))
        self.finish(f)

    def encode(self) -> None:
        """The pairs of elements `begin` to `n`, into `keys` from there on."""
        f = self.function("encode", "ptr x, i64 step, i64 begin, i64 n, KEY flip, KEY low, KEY shift, ptr keys")

        def body(x: Value, i: Value, lanes: int) -> None:
            key = self.key(f, x, f.flip, lanes)
            f.store(self.pair(f, key, f.low, f.shift, i, lanes), self.pair_at(f, f.keys, i), align=8)

        self.swept(f, f.x, f.step, f.begin, f.n, body)
        self.finish(f)

    def pair(self, f: Function, key: Value, low: Value, shift: Value, i: Value, lanes: int) -> Value:
        ty = self.vector("i64", lanes)
        part = (key - self.splat(f, low, lanes)) >> self.splat(f, shift, lanes)
        wide = self.convert(f, "zext", part, ty)
        high = f.value(ty, f"shl {ty} {wide.name}, {literal(32, ty)}")
        place = self.splat(f, i, lanes)
        if lanes > 1:
            place = f.value(ty, f"add {ty} {place.name}, <{', '.join(f'i64 {k}' for k in range(lanes))}>")
        return high | place

    # ------------------------------------------------------------------ sorting pairs

    def rank(self) -> None:
        """Short rows: each of `n` pairs of `a` goes to the place in `b` that is the count of smaller ones."""
        f = self.function("rank", "ptr a, ptr b, i64 n")
        ty = f"<{LANES} x i64>"
        f.store(f.constant(ty, -1), self.pair_at(f, f.a, f.n), align=8)  # what is read behind the last
        with f.loop(0, f.n, LANES) as block:
            mine = f.load(ty, self.pair_at(f, f.a, block.index), 8)
            with f.loop(0, f.n, carry=[f.constant(ty, 0)]) as loop:
                other = self.splat(f, f.load("i64", self.pair_at(f, f.a, loop.index)), LANES)
                less = self.unsigned(f, "ult", other, mine)
                loop.next = [loop.carried[0] - self.convert(f, "sext", less, ty)]
            ranks = loop.carried[0]
            counts = f.alloca("i64", LANES)
            f.store(ranks, counts, align=64)
            some = f.least(f.n - block.index, f.constant("i64", LANES))
            with f.loop(0, some) as loop:
                place = f.load("i64", self.pair_at(f, counts, loop.index))
                value = f.load("i64", self.pair_at(f, f.a, block.index + loop.index))
                f.store(value, self.pair_at(f, f.b, place))
        self.finish(f)

    def digit(self, f: Function, pair: Value, by: Value) -> Value:
        return (pair >> by) & 255

    def count_at(self, f: Function, counts: Value, digit: Value) -> Value:
        return f.value("ptr", f"getelementptr i64, ptr {counts.name}, i64 {digit.name}")

    def clear(self, f: Function, counts: Value, number: int) -> None:
        self.declared.add("declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)")
        f.emit(f"call void @llvm.memset.p0.i64(ptr {counts.name}, i8 0, i64 {8 * number}, i1 false)")

    def tally(self) -> None:
        """How many of `n` pairs have each digit `by` bits up, into 256 counts."""
        f = self.function("tally", "ptr a, i64 n, i64 by, ptr counts")
        other = f.alloca("i64", 256)  # equal digits side by side do not wait for each other
        self.clear(f, f.counts, 256)
        self.clear(f, other, 256)
        even = f.n & -2
        with f.loop(0, even, 2) as loop:
            pairs = [f.load("i64", self.pair_at(f, f.a, loop.index + k)) for k in (0, 1)]
            for table, pair in zip((f.counts, other), pairs):
                at = self.count_at(f, table, self.digit(f, pair, f.by))
                f.store(f.load("i64", at) + 1, at)
        with f.loop(even, f.n) as loop:
            at = self.count_at(f, other, self.digit(f, f.load("i64", self.pair_at(f, f.a, loop.index)), f.by))
            f.store(f.load("i64", at) + 1, at)
        ty = f"<{LANES} x i64>"
        with f.loop(0, f.constant("i64", 256), LANES) as loop:
            at = self.count_at(f, f.counts, loop.index)
            f.store(f.load(ty, at, 8) + f.load(ty, self.count_at(f, other, loop.index), 8), at, align=8)
        self.finish(f)

    def spread(self) -> None:
        """Pairs `begin` to `n` of `a` go to `b`, each where `places` of its digit says, which moves on."""
        f = self.function("spread", "ptr a, ptr b, i64 begin, i64 n, i64 by, ptr places")

        def one(i: Value) -> None:
            pair = f.load("i64", self.pair_at(f, f.a, i))
            at = self.count_at(f, f.places, self.digit(f, pair, f.by))
            place = f.load("i64", at)
            f.store(pair, self.pair_at(f, f.b, place))
            f.store(place + 1, at)

        whole = f.begin + ((f.n - f.begin) & -4)
        with f.loop(f.begin, whole, 4) as loop:
            for k in range(4):
                one(loop.index + k if k else loop.index)
        with f.loop(whole, f.n) as loop:
            one(loop.index)
        self.finish(f)

    def ordered(self) -> None:
        """Sorts `n` pairs whose keys have `bits` bits; `a` or `b` is returned, where they are in order."""
        f = self.function("ordered", "ptr a, ptr b, i64 n, i64 bits", "ptr")
        counts = f.alloca("i64", 256)
        short = f.n <= RANKED
        few = self.unsigned(f, "ugt", f.bits * 4, f.n)  # fewer passes are as fast
        quick = short & few
        with f.when(quick):
            f.call("void", "@rank", f.a, f.b, f.n)
            f.emit(f"ret ptr {f.b.name}")
            f.label(f.fresh("never"))
        now, then = f.variable("ptr", f.a), f.variable("ptr", f.b)
        top = f.bits + 32
        with f.loop(32, top, 8) as loop:
            source, target = now.get(), then.get()
            f.call("void", "@tally", source, f.n, loop.index, counts)
            sample = f.load("i64", source)
            same = f.load("i64", self.count_at(f, counts, self.digit(f, sample, loop.index)))
            with f.when(same.ne(f.n)):  # else this digit is the same in all
                with f.loop(0, f.constant("i64", 256), carry=[f.constant("i64", 0)]) as each:
                    at = self.count_at(f, counts, each.index)
                    have = f.load("i64", at)
                    f.store(each.carried[0], at)
                    each.next = [each.carried[0] + have]
                f.call("void", "@spread", source, target, f.constant("i64", 0) + 0, f.n, loop.index, counts)
                now.set(target)
                then.set(source)
        self.finish(f, now.get())

    # ------------------------------------------------------------------ keys of 64 bits that agree in 32

    def full_key(self, f: Function, x: Value, step: Value, place: Value, flip: Value) -> Value:
        return self.key(f, f.load(self.e.memory, self.element_at(f, x, place, step)), flip, 1)

    def resolve(self) -> None:
        """Puts runs of equal 32-bit keys among `n` pairs of `keys` in the order of their whole keys."""
        f = self.function("resolve", "ptr keys, i64 n, ptr b, ptr c, ptr x, i64 step, KEY flip, KEY low, KEY shift")
        at = f.variable("i64", 0)
        with self.whilst(f) as scan:
            start = at.get()
            self.leave(f, scan, start >= f.n)
            key = f.load("i64", self.pair_at(f, f.keys, start)) >> 32
            end = f.variable("i64", start + 1)
            with self.whilst(f) as run:
                self.leave(f, run, end.get() >= f.n)
                self.leave(f, run, (f.load("i64", self.pair_at(f, f.keys, end.get())) >> 32).ne(key))
                self.change(f, end, 1)
            size = end.get() - start
            with f.when(size > 1):
                with f.either(size <= INSERTED) as seam:
                    self.insert(f, start, end.get())
                    seam.otherwise()
                    f.call("void", "@run", self.pair_at(f, f.keys, start), size, f.b, f.c, f.x, f.step, f.flip, f.low,
                           f.shift)  # fmt: skip
            at.set(end.get())
        self.finish(f)

    def insert(self, f: Function, start: Value, end: Value) -> None:
        """Insertion sort of a short run by whole keys."""
        with f.loop(start + 1, end) as loop:
            pair = f.load("i64", self.pair_at(f, f.keys, loop.index))
            key = self.full_key(f, f.x, f.step, pair & 0xFFFFFFFF, f.flip)
            hole = f.variable("i64", loop.index)
            with self.whilst(f) as move:
                self.leave(f, move, hole.get() <= start)
                before = f.load("i64", self.pair_at(f, f.keys, hole.get() - 1))
                other = self.full_key(f, f.x, f.step, before & 0xFFFFFFFF, f.flip)
                self.leave(f, move, self.unsigned(f, "ule", other, key))
                f.store(before, self.pair_at(f, f.keys, hole.get()))
                hole.set(hole.get() - 1)
            f.store(pair, self.pair_at(f, f.keys, hole.get()))

    def run(self) -> None:
        """A long run by the bits that the pairs left out, which are at most 32."""
        f = self.function("run", "ptr keys, i64 n, ptr b, ptr c, ptr x, i64 step, KEY flip, KEY low, KEY shift")
        mask = f.value("i64", f"shl i64 -1, {f.shift.name}")
        with f.loop(0, f.n) as loop:
            pair = f.load("i64", self.pair_at(f, f.keys, loop.index))
            key = self.full_key(f, f.x, f.step, pair & 0xFFFFFFFF, f.flip) - f.low
            rest = f.value("i64", f"xor i64 {mask.name}, -1") & key
            high = f.value("i64", f"shl i64 {rest.name}, 32")
            f.store(high | loop.index, self.pair_at(f, f.b, loop.index))
        made = f.call("ptr", "@ordered", f.b, f.c, f.n, f.shift)
        spare = f.value("ptr", f"select i1 {made.eq(f.b).name}, ptr {f.c.name}, ptr {f.b.name}")
        with f.loop(0, f.n) as loop:
            place = f.load("i64", self.pair_at(f, made, loop.index)) & 0xFFFFFFFF
            f.store(f.load("i64", self.pair_at(f, f.keys, place)), self.pair_at(f, spare, loop.index))
        with f.loop(0, f.n) as loop:
            f.store(f.load("i64", self.pair_at(f, spare, loop.index)), self.pair_at(f, f.keys, loop.index))
        self.finish(f)

    # ------------------------------------------------------------------ selecting

    def kth(self) -> None:
        """The `k`-th smallest (from 0) of `n` pairs of `a`, which stay; `b` and `c` are room for as many."""
        f = self.function("kth", "ptr a, ptr b, ptr c, i64 n, i64 k, i64 bits", "i64")
        counts = f.alloca("i64", 256)
        source, target, spare = f.variable("ptr", f.a), f.variable("ptr", f.b), f.variable("ptr", f.c)
        left, want = f.variable("i64", f.n), f.variable("i64", f.k)
        by = f.variable("i64", (((f.bits + 7) >> 3) * 8) + 32 - 8)
        with self.whilst(f) as search:
            done = left.get() <= RANKED
            self.leave(f, search, done | (by.get() < 32))
            f.call("void", "@tally", source.get(), left.get(), by.get(), counts)
            digit, below = f.variable("i64", 0), f.variable("i64", 0)
            with self.whilst(f) as find:
                after = below.get() + f.load("i64", self.count_at(f, counts, digit.get()))
                self.leave(f, find, after > want.get())
                below.set(after)
                self.change(f, digit, 1)
            wanted, shift, from_, to = digit.get(), by.get(), source.get(), target.get()
            with f.loop(0, left.get(), carry=[f.constant("i64", 0)]) as loop:
                pair = f.load("i64", self.pair_at(f, from_, loop.index))
                f.store(pair, self.pair_at(f, to, loop.carried[0]))
                hit = self.convert(f, "zext", self.digit(f, pair, shift).eq(wanted), "i64")
                loop.next = [loop.carried[0] + hit]
            want.set(want.get() - below.get())
            left.set(loop.carried[0])
            source.set(to)
            target.set(spare.get())
            spare.set(to)
            by.set(by.get() - 8)
        with f.when(left.get() <= RANKED):
            with f.loop(0, left.get()) as loop:
                mine = f.load("i64", self.pair_at(f, source.get(), loop.index))
                with f.loop(0, left.get(), carry=[f.constant("i64", 0)]) as each:
                    other = f.load("i64", self.pair_at(f, source.get(), each.index))
                    less = self.convert(f, "zext", self.unsigned(f, "ult", other, mine), "i64")
                    each.next = [each.carried[0] + less]
                with f.when(each.carried[0].eq(want.get())):
                    f.emit(f"ret i64 {mine.name}")
                    f.label(f.fresh("never"))
        # Keys of one kind are in the order of their places.
        self.finish(f, f.load("i64", self.pair_at(f, source.get(), want.get())))

    def leaders(self) -> None:
        """Gathers pairs of a row in `a`, the `k` smallest among them; their number, or -1 where that is not worth it.

        A limit that `k` pairs are known to reach lets most others go unread.
        """
        f, e = (
            self.function(
                "leaders",
                "ptr x, i64 step, i64 n, i64 k, KEY flip, KEY low, KEY shift, i64 bits, ptr a, ptr b, ptr c",
                "i64",
            ),
            self.e,
        )
        fill = f.value("i64", f"and i64 {(f.k * 4 + 63).name}, -16")
        room = fill * 2
        with f.when(f.n < room * 2):
            f.emit("ret i64 -1")
            f.label(f.fresh("never"))
        f.call("void", "@encode", f.x, f.step, f.constant("i64", 0) + 0, fill, f.flip, f.low, f.shift, f.a)
        have, limit = f.variable("i64", fill), f.variable("i64", 0)
        exact = f.shift.eq(0)
        one = self.convert(f, "zext", f.value("i1", f"xor i1 {exact.name}, true"), "i64")

        def tighten() -> None:
            """Keep what reaches the k-th; the limit is then the first key that does not count any more."""
            pair = f.call("i64", "@kth", f.a, f.b, f.c, have.get(), f.k - 1, f.bits)
            key = pair >> 32
            highest = f.value("i64", f"or i64 {pair.name}, {f.select(exact, 0, 0xFFFFFFFF).name}")
            with f.loop(0, have.get(), carry=[f.constant("i64", 0)]) as loop:
                other = f.load("i64", self.pair_at(f, f.a, loop.index))
                f.store(other, self.pair_at(f, f.a, loop.carried[0]))
                keep = self.convert(f, "zext", self.unsigned(f, "ule", other, highest), "i64")
                loop.next = [loop.carried[0] + keep]
            have.set(loop.carried[0])
            limit.set(key + one)

        tighten()
        gone = f.variable("i64", 0)

        def body(x: Value, i: Value, lanes: int) -> None:
            key = self.key(f, x, f.flip, lanes)
            part = (key - self.splat(f, f.low, lanes)) >> self.splat(f, f.shift, lanes)
            part = self.convert(f, "zext", part, self.vector("i64", lanes)) if e.size == 8 else part
            most = self.convert(f, "trunc", limit.get(), part.type.split(" x ")[-1].rstrip(">"))
            near = self.unsigned(f, "ult", part, self.splat(f, most, lanes))
            if lanes == 1:
                with f.when(near):
                    f.store(self.pair(f, key, f.low, f.shift, i, 1), self.pair_at(f, f.a, have.get()))
                    self.change(f, have, 1)
            else:
                word = f.value(f"i{lanes}", f"bitcast <{lanes} x i1> {near.name} to i{lanes}")
                with f.when(word.ne(0)):
                    place = f.alloca("i64", LANES)
                    f.store(self.pair(f, key, f.low, f.shift, i, lanes), place, align=64)
                    bits = f.variable(word.type, word)
                    with self.whilst(f) as each:
                        self.leave(f, each, bits.get().eq(0))
                        lane = self.convert(f, "zext", self.intrinsic(f, "cttz", word.type, bits.get()), "i64")
                        f.store(f.load("i64", self.pair_at(f, place, lane)), self.pair_at(f, f.a, have.get()))
                        self.change(f, have, 1)
                        bits.set(bits.get() & (bits.get() - 1))
            with f.when(have.get() > room - LANES):
                tighten()
                with f.when(have.get() > fill):
                    gone.set(1)

        self.swept_until(f, f.x, f.step, fill, f.n, body, gone)
        with f.when(gone.get().ne(0)):
            f.emit("ret i64 -1")
            f.label(f.fresh("never"))
        self.finish(f, have.get())

    def swept_until(self, f, x, step, start, n, body, gone: Variable) -> None:
        """`swept`, as long as `gone` is 0."""
        e = self.e
        done = f.variable("i64", start)
        with f.when(step.eq(1)), self.whilst(f) as loop:
            i = done.get()
            self.leave(f, loop, (i + LANES > n) | gone.get().ne(0))
            body(f.load(self.vector(e.memory, LANES), self.element_at(f, x, i), e.size), i, LANES)
            done.set(i + LANES)
        with self.whilst(f) as loop:
            i = done.get()
            self.leave(f, loop, (i >= n) | gone.get().ne(0))
            body(f.load(e.memory, self.element_at(f, x, i, step)), i, 1)
            done.set(i + 1)

    # ------------------------------------------------------------------ rows

    def give(self) -> None:
        """Elements `first` to `last` of the order in `keys`: values and places, `step` apart."""
        f, e = (
            self.function(
                "give", "ptr keys, i64 first, i64 last, ptr values, ptr indices, i64 step, ptr x, i64 x_step, i64 base"
            ),
            self.e,
        )
        with f.when(f.values.ne(0)), f.loop(f.first, f.last) as loop:
            place = f.load("i64", self.pair_at(f, f.keys, loop.index)) & 0xFFFFFFFF
            value = f.load(e.memory, self.element_at(f, f.x, place, f.x_step))
            f.store(value, self.element_at(f, f.values, loop.index - f.base, f.step))
        with f.when(f.indices.ne(0)), f.loop(f.first, f.last) as loop:
            place = f.load("i64", self.pair_at(f, f.keys, loop.index)) & 0xFFFFFFFF
            f.store(place, self.pair_at(f, f.indices, (loop.index - f.base) * f.step))
        self.finish(f)

    def most(self) -> None:
        """The place in `keys` of the last of the first longest run of equal elements; a NaN is equal to none."""
        f = self.function("most", "ptr keys, i64 n, ptr x, i64 step", "i64")
        e = self.e
        flip = f.constant(e.key, 0)
        best, size, length = f.variable("i64", 0), f.variable("i64", 1), f.variable("i64", 1)
        first = f.load("i64", f.keys) & 0xFFFFFFFF
        last = f.variable(e.key, self.full_key(f, f.x, f.step, first, flip))
        with f.loop(1, f.n) as loop:
            place = f.load("i64", self.pair_at(f, f.keys, loop.index)) & 0xFFFFFFFF
            key = self.full_key(f, f.x, f.step, place, flip)
            same = key.eq(last.get())
            if e.kind == "f":
                same = same & key.ne(0xFFFF if e.size == 2 else -1)
            length.set(f.select(same, length.get() + 1, 1))
            longer = length.get() > size.get()
            best.set(f.select(longer, loop.index, best.get()))
            size.set(f.select(longer, length.get(), size.get()))
            last.set(key)
        self.finish(f, best.get())

    def frame(self, f: Function, row: Value, start: Value) -> tuple[Value, ...]:
        """(input, values, indices, step) of a row of the record; 0 stays 0."""
        inner, n = self.get(f, "inner"), self.get(f, "n")
        whole, part = row // inner, row % inner
        x = self.element_at(f, self.get(f, "input"), whole * n * inner + part)
        place = whole * self.get(f, "count") * inner + part
        values, indices = self.get(f, "values"), self.get(f, "indices")
        values = f.select(values.eq(0), values, self.element_at(f, values, place))
        indices = f.select(indices.eq(0), indices, self.pair_at(f, indices, place))
        return x, values, indices, inner

    def flip_of(self, f: Function) -> Value:
        bits = self.get(f, "descending")
        return self.convert(f, "trunc", f.constant("i64", 0) - bits, self.e.key)

    def scale(self, f: Function, bounds: Value) -> tuple[Value, Value, Value]:
        """(low, shift, bits) of the pairs of a row from its bounds."""
        e = self.e
        low, high = (self.convert(f, "trunc", f.load("i64", f.at(bounds, 8 * i)), e.key) for i in (0, 1))
        wide = self.convert(f, "zext", high - low, "i64")
        bits = f.constant("i64", 64) - self.intrinsic(f, "ctlz", "i64", wide)
        over = f.select(bits > 32, bits - 32, 0)
        return low, self.convert(f, "trunc", over, e.key), f.least(bits, f.constant("i64", 32))

    def row(self) -> None:
        """One row, in the four buffers of `room` pairs from `a` on."""
        f = self.function("row", "ptr record, i64 number, ptr a")
        n, how = self.get(f, "n"), self.get(f, "how")
        room = (n + PAD) * 8
        b = f.at(f.a, room)
        c = f.at(b, room)
        x, values, indices, step = self.frame(f, f.number, n)
        flip, bounds = self.flip_of(f), f.alloca("i64", 4)
        first, count = f.variable("i64", self.get(f, "first")), self.get(f, "count")
        zero = f.constant("i64", 0) + 0
        f.call("void", "@minmax", x, step, zero, n, flip, bounds)
        low, shift, bits = self.scale(f, bounds)
        if self.e.kind == "f":
            nans = f.load("i64", f.at(bounds, 16))
            with f.when(how.eq(HOW["median"]) & nans.ne(0)):
                first.set(n - nans)
            with f.when(how.eq(HOW["nanmedian"])):
                middle = f.value("i64", f"sdiv i64 {(n - nans - 1).name}, 2")
                first.set(self.minimum(f, middle, f.constant("i64", 0), "smax"))
        exact = shift.eq(0)

        def finished() -> None:
            f.emit("ret void")
            f.label(f.fresh("never"))

        single = how.eq(HOW["kth"]) | how.eq(HOW["median"]) | how.eq(HOW["nanmedian"])
        with f.when(single & exact & (n > RANKED)):
            f.call("void", "@encode", x, step, zero, n, flip, low, shift, f.a)
            f.store(f.call("i64", "@kth", f.a, b, c, n, first.get(), bits), b)
            f.call("void", "@give", b, zero, f.constant("i64", 1), values, indices, step, x, step, zero)
            finished()
        have = f.variable("i64", n)
        with f.when(how.eq(HOW["first"])):
            some = f.call("i64", "@leaders", x, step, n, count, flip, low, shift, bits, f.a, b, c)
            with f.when(some >= 0):
                have.set(some)
        with f.when(have.get().eq(n)):
            f.call("void", "@encode", x, step, zero, n, flip, low, shift, f.a)
        made = f.call("ptr", "@ordered", f.a, b, have.get(), bits)
        if self.e.size == 8:
            with f.when(shift.ne(0)):
                d = f.at(c, room)
                f.call("void", "@resolve", made, have.get(), c, d, x, step, flip, low, shift)
        with f.when(how.eq(HOW["mode"])):
            first.set(f.call("i64", "@most", made, n, x, step))
        last = first.get() + count
        f.call("void", "@give", made, first.get(), last, values, indices, step, x, step, first.get())
        self.finish(f)

    def task(self) -> None:
        """A share of the rows."""
        f = self.function("task", "ptr record, i64 number")
        rows, group = self.get(f, "outer") * self.get(f, "inner"), self.get(f, "group")
        a = f.at(self.get(f, "scratch"), f.number * self.get(f, "bytes"))
        start = f.number * group
        with f.loop(start, f.least(start + group, rows)) as loop:
            f.call("void", "@row", f.record, loop.index, a)
        self.finish(f)

    # ------------------------------------------------------------------ one long row in pieces

    def part(self, f: Function) -> tuple[Value, Value]:
        start = f.number * self.get(f, "piece")
        return start, f.least(start + self.get(f, "piece"), self.get(f, "n"))

    def buffer(self, f: Function, number: Value | int) -> Value:
        room = (self.get(f, "n") + PAD) * 8
        return f.at(self.get(f, "scratch"), room * number)

    def counts(self, f: Function) -> Value:
        """256 counts for each piece, behind the buffers; bounds of each piece behind these."""
        return self.buffer(f, 4)

    def piece_tasks(self) -> None:
        f = self.function("piece_minmax", "ptr record, i64 number")
        start, end = self.part(f)
        x, _, _, step = self.frame(f, self.get(f, "row"), end)
        to = f.at(self.counts(f), f.number * 32 + 8 * 256 * PIECES)
        f.call("void", "@minmax", x, step, start, end, self.flip_of(f), to)
        self.finish(f)

        f = self.function("piece_encode", "ptr record, i64 number")
        start, end = self.part(f)
        x, _, _, step = self.frame(f, self.get(f, "row"), end)
        low, shift = (self.convert(f, "trunc", self.get(f, name), self.e.key) for name in ("low", "shift"))
        f.call("void", "@encode", x, step, start, end, self.flip_of(f), low, shift, self.buffer(f, 0))
        self.finish(f)

        f = self.function("piece_tally", "ptr record, i64 number")
        start, end = self.part(f)
        a = self.pair_at(f, self.buffer(f, self.get(f, "from")), start)
        f.call("void", "@tally", a, end - start, self.get(f, "digit"), f.at(self.counts(f), f.number * 2048))
        self.finish(f)

        f = self.function("piece_spread", "ptr record, i64 number")
        start, end = self.part(f)
        a, b = self.buffer(f, self.get(f, "from")), self.buffer(f, self.get(f, "to"))
        f.call("void", "@spread", a, b, start, end, self.get(f, "digit"), f.at(self.counts(f), f.number * 2048))
        self.finish(f)

        f = self.function("piece_give", "ptr record, i64 number")
        start, end = self.part(f)
        first = self.get(f, "first")
        last = first + self.get(f, "count")
        start = f.select(start < first, first, start)
        end = f.least(end, last)
        x, values, indices, step = self.frame(f, self.get(f, "row"), end)
        made = self.buffer(f, self.get(f, "from"))
        f.call("void", "@give", made, start, end, values, indices, step, x, step, first)
        self.finish(f)

    def side_by_side(self, f: Function, name: str, pieces: Value) -> None:
        self.declared.add("declare void @facula_parallel(ptr, ptr, i64)")
        f.emit(f"call void @facula_parallel(ptr @{name}, ptr {f.record.name}, i64 {pieces.name})")

    def long_row(self) -> None:
        """One row (`row` of the record) in pieces: counted side by side, distributed side by side."""
        f = self.function("long_row", "ptr record")
        pieces, n = self.get(f, "pieces"), self.get(f, "n")
        self.side_by_side(f, "piece_minmax", pieces)
        counts, bounds = self.counts(f), f.alloca("i64", 4)
        least, most = f.variable("i64", -1), f.variable("i64", 0)
        with f.loop(0, pieces) as loop:
            at = f.at(counts, loop.index * 32 + 8 * 256 * PIECES)
            least.set(self.minimum(f, least.get(), f.load("i64", at)))
            most.set(self.minimum(f, most.get(), f.load("i64", f.at(at, 8)), "umax"))
        f.store(least.get(), bounds)
        f.store(most.get(), f.at(bounds, 8))
        low, shift, bits = self.scale(f, bounds)
        low, shift = (self.convert(f, "zext", v, "i64") for v in (low, shift))
        self.put(f, f.record, low=low, shift=shift)
        self.side_by_side(f, "piece_encode", pieces)
        now = f.variable("i64", 0)
        with f.loop(32, bits + 32, 8) as loop:
            here = now.get()
            there = f.constant("i64", 1) - here
            self.put(f, f.record, **{"digit": loop.index, "from": here, "to": there})
            self.side_by_side(f, "piece_tally", pieces)
            with f.loop(0, f.constant("i64", 256), carry=[f.constant("i64", 0)]) as digit:
                with f.loop(0, pieces, carry=[digit.carried[0]]) as each:
                    at = self.count_at(f, counts, each.index * 256 + digit.index)
                    have = f.load("i64", at)
                    f.store(each.carried[0], at)
                    each.next = [each.carried[0] + have]
                digit.next = [each.carried[0]]
            self.side_by_side(f, "piece_spread", pieces)
            now.set(there)
        self.put(f, f.record, **{"from": now.get()})
        if self.e.size == 8:
            with f.when(shift.ne(0)):
                x, _, _, step = self.frame(f, self.get(f, "row"), n)
                b, c = self.buffer(f, 2), self.buffer(f, 3)
                f.call("void", "@resolve", self.buffer(f, now.get()), n, b, c, x, step, self.flip_of(f), low, shift)
        self.side_by_side(f, "piece_give", pieces)
        self.finish(f)

    def entry(self) -> None:
        """What Python calls."""
        parameters = ", ".join(f"{'ptr' if name in POINTERS else 'i64'} {name}" for name in ARGUMENTS)
        f = self.function("sort", parameters, linkage="external")
        f.record = f.alloca("i64", len(FIELDS))
        self.put(f, f.record, **{name: getattr(f, name) for name in ARGUMENTS})
        rows = f.outer * f.inner
        whole = f.how.eq(HOW["order"])
        with f.either(whole & (f.n >= LONG) & (rows <= FEW)) as seam:
            share = (f.n + (PIECES - 1)) // PIECES
            piece = f.select(share < PIECE, PIECE, share)
            self.put(f, f.record, piece=piece, pieces=(f.n + piece - 1) // piece)
            with f.loop(0, rows) as loop:
                self.put(f, f.record, row=loop.index)
                f.call("void", "@long_row", f.record)
            seam.otherwise()
            # Shares of rows: of SHARE elements at least, GROUPS of them at most.
            apart = f.value("i1", f"and i1 {(f.n >= LONG).name}, {(rows <= FEW).name}")
            least = (f.n + (SHARE - 1)) // f.n
            group = (rows + (GROUPS - 1)) // GROUPS
            group = f.select(group < least, least, group)
            group = f.select(apart, rows, group)
            self.put(f, f.record, group=group, bytes=(f.n + PAD) * 32)
            groups = (rows + group - 1) // group
            self.side_by_side(f, "task", groups)
        self.finish(f)

    def text(self) -> str:
        for write in (
            self.minmax, self.encode, self.rank, self.tally, self.spread, self.ordered, self.kth, self.leaders,
            self.give, self.most, self.row, self.task, self.piece_tasks, self.long_row, self.entry,
        ):  # fmt: skip
            write()
        if self.e.size == 8:
            self.run()
            self.resolve()
        return "\n\n".join([*sorted(self.declared), *self.functions])


def module_text(code: str, attributes: str) -> str:
    """The module of one dtype; its function `sort` takes `ARGUMENTS`."""
    return Writer(ELEMENTS[code], attributes).text()
