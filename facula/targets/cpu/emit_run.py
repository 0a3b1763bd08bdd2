"""The function that Python calls: small work is done at once, large work is cut in shares for several threads.

Shares do not depend on the number of threads, so neither do results.
"""

from collections.abc import Iterable

from .emit_code import Code
from .emit_nest import COMBINE, HIDDEN, NOTE, PIECE, WHOLE, Nest
from .emit_tile import BLOCK

__all__ = ["module"]

PARALLEL_NS = 20_000.0  # work below this stays on the calling thread
BLOCK_NS = 8_000.0  # about how long one share of the work is
PIECE_ELEMENTS = 1 << 16  # elements of a long row that are reduced by themselves
WIDE = 2048  # columns of a share whose rows are cut in pieces
FEW = 16  # shares of whole rows below which long rows are cut in pieces
STREAM_BYTES = 8 << 20  # results from this size on go past the caches


def module(nest: Nest) -> str:
    """The module of one kernel: `task` and `run`."""
    task = nest.task()
    entry = Entry(nest)
    run = entry.run()
    declared = nest.code.declared | entry.code.declared
    helpers = nest.code.helpers | entry.code.helpers
    if nest.kernel.checks:
        declared |= CHECK_DECLARATIONS
        declared.pop("failed", None)
        helpers |= {"failed": failed(len(nest.kernel.checks)), "note": NOTE}
    declared["facula_parallel"] = "declare void @facula_parallel(ptr, ptr, i64)"
    zeros = "@zeros = private constant [16 x i8] zeroinitializer\n!0 = !{i32 1}"
    return "\n\n".join([zeros, "\n".join(declared.values()), *helpers.values(), task, run])


class Entry:
    """`run`, around the `task` of a nest."""

    def __init__(self, nest: Nest):
        self.nest = nest

    def run(self) -> str:
        """`run(arguments...)`."""
        self.code = c = Code()
        fields = self.nest.names()
        checks = len(self.nest.kernel.checks)
        self.fields = [name for _, name in fields] + list(HIDDEN)
        c.head.append(f"  %record = alloca [{len(self.fields)} x i64]")
        for ty, name in fields:
            self._put_field(name, f"%{name}", ty)
        if checks:
            c.head.append(f"  %marks = alloca [{1 + 2 * checks} x i64]")
            c.do("store i64 0, ptr %marks")
            for k in range(checks):
                c.do(f"store i64 {2**63 - 1}, ptr {c.let(f'getelementptr i64, ptr %marks, i64 {1 + 2 * k}')}")
            self._put_field("fail", c.let("ptrtoint ptr %marks to i64"))
        rows, row = self._product(range(self.nest.outer)), self._product(range(self.nest.outer, self.nest.dims))
        c.do(f"br i1 {c.let(f'icmp eq i64 {rows}, 0')}, label %leave, label %work")
        c.begin("work")
        units = rows if self.nest.mode == "row" else self._product(range(self.nest.outer - 1))
        last = f"%n{self.nest.outer - 1}"
        small = {"units": units, "grain": units, "chunk": last, "chunks": "1"}
        if self.nest.splits:
            small |= {"mode": str(WHOLE), "pieces": "1", "piece": f"%n{self.nest.outer}"}
        if self.nest.tiles:
            dims = range(self.nest.outer - 2, self.nest.outer)
            blocks, chunks = (c.i64("udiv", c.i64("add", f"%n{d}", BLOCK - 1), BLOCK) for d in dims)
            before = self._product(range(self.nest.outer - 2))
            units = c.i64("mul", blocks, chunks)
            units = units if before == "1" else c.i64("mul", before, units)
            small = {"units": units, "grain": units, "chunks": chunks, "blocks": blocks}
        if self.nest.single:
            small = {"chunk": last} | ({"stream": "0"} if self.nest.streams else {})
        for name, value in small.items():
            self._put_field(name, value)
        if not self.nest.serial:
            total = rows if row == "1" else c.i64("mul", rows, row)
            with c.when(c.let(f"icmp sgt i64 {total}, {int(PARALLEL_NS / self.nest.cost)}")):
                self._spread(rows, row, units, last)
                c.do("br label %leave")
                c.begin(c.fresh("never")[0])
        c.do("call void @task(ptr %record, i64 0)")
        c.do("br label %leave")
        c.begin("leave")
        signature = ", ".join(f"{ty} %{name}" for ty, name in fields)
        if not checks:
            c.do("ret void")
            return c.function(f"void @run({signature})", "#0")
        result = c.call("i64", "failed", ("ptr", "%marks"))
        c.do(f"ret i64 {result}")
        return c.function(f"i64 @run({signature})", "#0")

    def _put_field(self, name: str, value: str, ty: str = "i64") -> None:
        c = self.code
        if ty == "i1":
            ty, value = "i8", c.let(f"zext i1 {value} to i8")
        at = c.let(f"getelementptr i64, ptr %record, i64 {self.fields.index(name)}")
        c.do(f"store {ty} {value}, ptr {at}, align 8")

    def _product(self, dims: Iterable[int]) -> str:
        """How many elements some dims have together."""
        found = "1"
        for d in dims:
            found = f"%n{d}" if found == "1" else self.code.i64("mul", found, f"%n{d}")
        return found

    def _spread(self, rows: str, row: str, units: str, last: str) -> None:
        """Calls `task` for shares of about BLOCK_NS, on several threads."""
        c = self.code
        block = max(256, int(BLOCK_NS / self.nest.cost) // 64 * 64)  # elements
        if self.nest.single:
            self._put_field("chunk", str(block))
            if self.nest.streams:
                self._put_field("stream", self._streaming(last))
            shares = c.i64("udiv", c.i64("add", last, block - 1), block)
            c.do(f"call void @facula_parallel(ptr @task, ptr %record, i64 {shares})")
            return
        if self.nest.tiles:
            size = c.i64("smin", f"%n{self.nest.outer - 2}", BLOCK)
            size = c.i64("mul", size, c.i64("smin", last, BLOCK))
            grain = c.i64("smax", c.i64("udiv", block, size), 1)
            self._put_field("grain", grain)
            shares = c.i64("udiv", c.i64("add", units, c.i64("sub", grain, 1)), grain)
            c.do(f"call void @facula_parallel(ptr @task, ptr %record, i64 {shares})")
            return
        width = "1"  # columns a unit
        if self.nest.mode != "row":
            width = str(block)
            if self.nest.row:
                wide = c.i64("udiv", block, c.i64("smax", row, 1))
                least = WIDE if self.nest.splits else 64  # few whole rows are read like few long stretches of memory
                width = c.i64("smax", c.i64("and", c.i64("add", wide, 63), -64), least)
            chunks = c.i64("udiv", c.i64("add", last, c.i64("sub", width, 1)), width)
            units = chunks if units == "1" else c.i64("mul", units, chunks)
            width = c.i64("smin", width, last)
            self._put_field("chunks", chunks)
            self._put_field("chunk", width)
        size = c.i64("smax", width if row == "1" else c.i64("mul", width, row), 1)
        grain = c.i64("smax", c.i64("udiv", block, size), 1)
        self._put_field("units", units)
        self._put_field("grain", grain)
        shares = c.i64("udiv", c.i64("add", units, c.i64("sub", grain, 1)), grain)
        if self.nest.splits:
            self._split(rows, row, units, shares, width)
        c.do(f"call void @facula_parallel(ptr @task, ptr %record, i64 {shares})")

    def _streaming(self, size: str) -> str:
        """Whether results are so large that they would leave the caches anyway, and none is an input."""
        c = self.code
        widest = max(r.dtype.itemsize for r in self.nest.streams)
        good = c.let(f"icmp sge i64 {size}, {STREAM_BYTES // widest}")
        for r in self.nest.streams:
            address = c.let(f"ptrtoint ptr %{r.name}.ptr to i64")
            aligned = c.let(f"icmp eq i64 {c.i64('and', address, 63)}, 0")
            good = c.let(f"and i1 {good}, {aligned}")
            for i in self.nest.kernel.inputs:
                other = c.let(f"icmp ne ptr %{r.name}.ptr, %{i.name}.ptr")
                good = c.let(f"and i1 {good}, {other}")
        return c.let(f"zext i1 {good} to i64")

    def _split(self, rows: str, row: str, units: str, shares: str, width: str) -> None:
        """The way for few long rows: pieces side by side leave their states, then one thread combines them."""
        c, first = self.code, f"%n{self.nest.outer}"
        inner = row if self.nest.row == 1 else c.i64("udiv", row, c.i64("smax", first, 1))
        inner = width if self.nest.row == 1 else c.i64("mul", width, inner)
        piece = c.i64("smax", c.i64("udiv", PIECE_ELEMENTS, c.i64("smax", inner, 1)), 1)
        pieces = c.i64("udiv", c.i64("add", first, c.i64("sub", piece, 1)), piece)
        few = c.let(f"icmp slt i64 {shares}, {FEW}")
        many = c.let(f"icmp sgt i64 {pieces}, 1")
        with c.when(c.let(f"and i1 {few}, {many}")):
            size = c.i64("mul", c.i64("mul", rows, pieces), 8 * self.nest.kept)
            scratch = c.call("ptr", "malloc", ("i64", size))
            with c.when(c.let(f"icmp ne ptr {scratch}, null")):
                address = c.let(f"ptrtoint ptr {scratch} to i64")
                fields = {"mode": str(PIECE), "grain": "1", "pieces": pieces, "piece": piece}
                fields |= {"scratch": address, "rows": rows}
                for name, value in fields.items():
                    self._put_field(name, value)
                c.do(f"call void @facula_parallel(ptr @task, ptr %record, i64 {c.i64('mul', units, pieces)})")
                self._put_field("mode", str(COMBINE))
                self._put_field("grain", units)
                c.do("call void @task(ptr %record, i64 0)")
                c.call("void", "free", ("ptr", scratch))
                c.do("br label %leave")
                c.begin(c.fresh("never")[0])


CHECK_DECLARATIONS = {
    "malloc": "declare ptr @malloc(i64)",
    "free": "declare void @free(ptr)",
    "llvm.memcpy.p0.p0.i64": "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)",
}


def failed(checks: int) -> str:
    """`failed(marks)`: 0, or the address of (number of the check, value) of the first check that failed."""
    lines = ["define internal i64 @failed(ptr %marks) nounwind {", "entry:", "  br label %c0"]
    for k in range(checks):
        lines += [
            f"c{k}:",
            f"  %at{k} = getelementptr i64, ptr %marks, i64 {1 + 2 * k}",
            f"  %p{k} = load i64, ptr %at{k}",
            f"  %bad{k} = icmp ne i64 %p{k}, {2**63 - 1}",
            f"  br i1 %bad{k}, label %f{k}, label %c{k + 1}",
            f"f{k}:",
            f"  %value.at{k} = getelementptr i64, ptr %at{k}, i64 1",
            f"  %value{k} = load i64, ptr %value.at{k}",
            f"  %m{k} = call ptr @malloc(i64 16)",
            f"  store i64 {k}, ptr %m{k}",
            f"  %mv{k} = getelementptr i64, ptr %m{k}, i64 1",
            f"  store i64 %value{k}, ptr %mv{k}",
            f"  %r{k} = ptrtoint ptr %m{k} to i64",
            f"  ret i64 %r{k}",
        ]
    lines += [f"c{checks}:", "  ret i64 0", "}"]
    return "\n".join(lines)
