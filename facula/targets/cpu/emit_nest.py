"""Loops of one kernel as LLVM text: units of work, passes over rows, scans, checks.

The result is a function `task(record, number)`, which does one share of the work; `emit_run` cuts the work in shares.
"""

from collections.abc import Callable, Iterable
from contextlib import contextmanager

from facula.core import dtype as dt
from facula.ir.expr import Expr
from facula.ir.kernel import BROADCAST, STRIDED, Access, Check, Kernel, Result, arguments

from . import emit_reduce as red
from .emit_blocks import Blocks
from .emit_code import Code, register, vector
from .emit_ops import cast
from .emit_tile import BLOCK, MOST, block_work, tiled_loads
from .emit_values import COLUMN, ELEMENT, PREFIX, Scope, Values

__all__ = ["COMBINE", "HIDDEN", "NOTE", "PIECE", "WHOLE", "Nest"]

Body = Callable[[Scope, int], None]  # writes what is done at one place; the number is that of the loop width
LANES_PER_SUM = 64  # additions into one lane before its sum is put away in a more exact total
WORTH = 8  # operations that are rather stored than done again
# Fields of the record after the arguments.
HIDDEN = ("stream", "units", "grain", "chunk", "chunks", "fail", "mode", "pieces", "piece", "scratch", "rows",
          "blocks")  # fmt: skip
WHOLE, PIECE, COMBINE = range(3)  # what `task` does with rows


class Nest(Values):
    """The loops of one kernel."""

    def __init__(self, kernel: Kernel, access: Access, bits: int, masks: bool):
        super().__init__(kernel, access, bits, masks)
        self.tile = min(self.lanes, MOST)  # rows and columns of a tile
        self.tiles = [] if self.serial or self.tile < 4 else tiled_loads(self)

    # Loops -----------------------------------------------------------------------------------------------------------

    def vector_loops(
        self,
        scope: Scope,
        depth: int,
        start: str,
        end: str,
        widths: list[tuple[int, bool]],
        body: Body,
    ) -> None:
        """Runs `body(scope, number of the loop)` over the vectorised dim from start to end."""
        c = self.code
        at = start
        for number, (lanes, masked) in enumerate(widths):
            last = number == len(widths) - 1
            after = None if last else c.variable("i64")
            if after is not None:
                c.do(f"store i64 {at}, ptr {after}")
            with c.loop(at, end, lanes, round=not masked and lanes > 1) as i:
                inner = Scope(depth, scope, lanes, end=end, coordinates={self.vector_dim: i})
                if masked:
                    inner.mask = self.mask_of(i, end, lanes)
                body(inner, number)
                if after is not None:
                    c.do(f"store i64 {c.let(f'add i64 {i}, {lanes}')}, ptr {after}")
            if after is not None:
                at = c.let(f"load i64, ptr {after}")

    def span(self, dim: int) -> tuple[str, str]:
        """Where a loop over a row dim starts and ends; a piece of a row is a part of its first dim."""
        return self.piece if self.splits and dim == self.outer else ("0", f"%n{dim}")

    @contextmanager
    def row_loops(self, scope: Scope, dims: list[int]):
        """Plain loops over row dims, one inside the other; yields the innermost scope."""
        if not dims:
            yield scope
            return
        with self.code.loop(*self.span(dims[0])) as i:
            inner = Scope(ELEMENT, scope, scope.lanes, scope.mask, coordinates={dims[0]: i})
            for number in range(len(self.operands)):
                if self.own_dims(self.operands[number]) == self.dims:
                    self.address(inner, number)
            with self.row_loops(inner, dims[1:]) as innermost:
                yield innermost

    def elements(self, scope: Scope, nodes: list[Expr], body: Body, block: Blocks | None = None):
        """Runs `body` for the elements of the row at `scope`; `block` hears where blocks of its last dim begin, end."""
        c = self.code
        dims = list(range(self.outer, self.dims))
        with self.row_loops(scope, dims[:-1]) as around:
            first, size = self.span(dims[-1])
            widths = self.widths(nodes) if self.mode == "row" else [(1, False)]

            def run(start: str, end: str) -> None:
                if self.mode == "row":
                    self.vector_loops(around, ELEMENT, start, end, widths, body)
                else:
                    with c.loop(start, end) as i:
                        body(Scope(ELEMENT, around, scope.lanes, scope.mask, coordinates={dims[-1]: i}), 0)

            if block is None:
                run(first, size)
            else:
                step = LANES_PER_SUM * (max(w for w, _ in widths) if self.mode == "row" else 2)
                with c.loop(first, size, step) as start:
                    end = c.i64("smin", c.i64("add", start, step), size)
                    block.begin()
                    run(start, end)
                    block.end()

    # Rows ------------------------------------------------------------------------------------------------------------

    def row_work(self, scope: Scope) -> None:
        """All passes over the row at `scope`, then its results."""
        kernel = self.kernel
        reductions = [n for n in self.order if n.op == "reduce"]
        self.prepare(scope, self.order)
        if self.splits:
            self.split_pass(scope, reductions)
            return
        elements = [r for r in kernel.results if not r.per_row]
        last = max((self.rank[r] for r in reductions), default=0)
        kept = self.worth_keeping(elements, [r for r in reductions if self.rank[r] == last])
        for rank in range(1, last + 1):
            self.reduce_pass(scope, [r for r in reductions if self.rank[r] == rank], kept if rank == last else None)
            self.prepare(scope, self.order)
        checks = kernel.checks
        if elements or checks:
            nodes = self.needed(_wanted(elements, checks), stop=() if kept is None else (kept.value,))
            self.start_scans(scope, nodes)

            def body(inner: Scope, number: int) -> None:
                if kept is not None:
                    lanes = self.lanes_of(inner, kept.value)
                    inner.values[kept.value] = self.read(inner, self.number[kept.name], None, None, lanes), lanes
                self.checks(inner, checks)
                for result in elements:
                    self.evaluate_result(inner, result)
                for result in elements:
                    self.store(inner, result)

            self.elements(scope, nodes, body)
        self.row_results(scope)

    def row_results(self, scope: Scope) -> None:
        """Writes what is one element a row."""
        per_row = [r for r in self.kernel.results if r.per_row]
        for result in per_row:
            self.evaluate_result(scope, result)
        for result in per_row:
            self.store(scope, result)

    def worth_keeping(self, elements: list[Result], reductions: list[Expr]) -> Result | None:
        """What the last reducing pass leaves in a result's memory, so that the final pass need not compute it again.

        Softmax keeps exp(x - max). The final pass must read no input then: an input may be the result's memory.
        """
        if not reductions or self.kernel.checks:
            return None
        roots = _wanted(elements, ())
        earlier = set(self.needed([a for r in reductions for a in r.args]))
        best, most = None, WORTH
        for node in self.needed(roots):
            if node in earlier and self.depth(node) == ELEMENT and node.op not in ("complex", "part", "scan"):
                size = sum(self.depth(n) == ELEMENT for n in self.needed([node]))
                rest = self.needed(roots, stop=(node,))
                if size >= most and not any(n.op in ("load", "scan") and self.depth(n) == ELEMENT for n in rest):
                    for i, r in enumerate(self.kernel.results):
                        moves = all(self.letter(i, d) != BROADCAST for d in range(self.dims))
                        if (
                            r in elements
                            and r.dtype is node.dtype
                            and r.offset is r.where is None
                            and r.combine == "set"
                            and moves
                        ):
                            best, most = Result(r.name, r.dtype, node), size
                            break
        return best

    def accumulate(self, scope: Scope, reductions: list[Expr], kept: Result | None = None) -> Blocks:
        """Runs over the row at `scope` and leaves the states of `reductions`."""
        nodes = self.needed([a for r in reductions for a in r.args])
        self.start_scans(scope, nodes)
        widths = [w for w, _ in self.widths(nodes)] if self.mode == "row" else [scope.lanes]
        blocks = Blocks(self, reductions, widths)
        blocks.start()

        def body(inner: Scope, number: int) -> None:
            for reduction in reductions:
                values = [self.value(inner, a, inner.lanes) for a in reduction.args]
                position = None
                if reduction.value.startswith("arg"):
                    position = self._along(inner, self._position(inner), inner.lanes if self.mode == "row" else 1)
                    if self.mode != "row":
                        position = self.splat(inner, position, "i64", inner.lanes)
                blocks.update(reduction, number, inner, values, position)
            if kept is not None:
                self.store(inner, kept)

        if self.splits:
            blocks.start_final()
            with self.code.when(self.code.let(f"icmp ne i64 %mode, {COMBINE}")):
                self.elements(scope, nodes, body, blocks if blocks.totals else None)
                blocks.fold()
        else:
            self.elements(scope, nodes, body, blocks if blocks.totals else None)
        return blocks

    def reduce_pass(self, scope: Scope, reductions: list[Expr], kept: Result | None) -> None:
        """One pass over the row that finishes `reductions` of one rank."""
        blocks = self.accumulate(scope, reductions, kept)
        for reduction in reductions:
            scope.values[reduction] = (blocks.finish(reduction), scope.lanes)

    def split_pass(self, scope: Scope, reductions: list[Expr]) -> None:
        """The only pass of a kernel whose rows may be cut in pieces.

        WHOLE: rows from their elements. PIECE: the states of one piece go to scratch memory. COMBINE: rows from these.
        """
        c = self.code
        blocks = self.accumulate(scope, reductions)
        with c.when(c.let(f"icmp eq i64 %mode, {COMBINE}")), c.loop("0", "%pieces") as piece:
            blocks.recall(scope, piece)
        leaves = c.let(f"icmp eq i64 %mode, {PIECE}")
        with c.when(leaves, rare=True):
            blocks.keep(scope)
        with c.when(c.let(f"xor i1 {leaves}, true")):
            for reduction in reductions:
                scope.values[reduction] = (blocks.finish(reduction), scope.lanes)
            self.prepare(scope, self.order)
            self.row_results(scope)

    def start_scans(self, scope: Scope, nodes: list[Expr]) -> None:
        """Sets the running values of the scans of one pass: one for each lane, or along the row one for all."""
        c, lanes = self.code, scope.lanes
        for node in nodes:
            if node.op == "scan":
                t = red.scan_state(node)
                types = [vector(register(part), lanes) for part, _ in red.components(node.value, t)]
                self.running[node] = [(ty, c.variable(ty)) for ty in types]
                for (ty, place), first in zip(self.running[node], red.starts(node.value, t, lanes)):
                    c.do(f"store {ty} {first}, ptr {place}")

    def scan_step(self, scope: Scope, node: Expr) -> str:
        c, lanes, kind = self.code, scope.lanes, red.scan_state(node)
        own = node.args[0].dtype
        values = [cast(c, self.value(scope, a, lanes), own, kind, lanes) for a in node.args]
        before = [c.let(f"load {ty}, ptr {place}") for ty, place in self.running[node]]
        if self.scans and lanes > 1:  # the state is one number: what all vectors before come to
            sums, total = red.prefix(c, node.value, kind, lanes, values[0], scope.mask)
            ((ty, place),) = self.running[node]
            (after,) = red.combine(c, node.value, kind, 1, before, [total])
            c.do(f"store {ty} {after}, ptr {place}")
            (out,) = red.combine(c, node.value, kind, lanes, [c.splat(before[0], ty, lanes)], [sums])
            return cast(c, out, kind, own, lanes)
        after = red.update(c, node.value, kind, lanes, before, values, None, None)
        for (ty, place), value in zip(self.running[node], after):
            c.do(f"store {ty} {value}, ptr {place}")
        if node.value == "cprod":
            self.imaginary[after[0]] = after[1]
            return after[0]
        return cast(c, after[0], kind, own, lanes)

    def checks(self, scope: Scope, checks) -> None:
        """Notes the first element that breaks a check."""
        c = self.code
        for number, check in enumerate(checks):
            lanes = self.lanes_of(scope, check.holds)
            holds = self.value(scope, check.holds)
            if lanes == 1:
                bad = c.let(f"xor i1 {holds}, true")
            else:
                wrong = c.let(f"xor <{lanes} x i1> {holds}, splat (i1 true)")
                if scope.mask is not None:
                    wrong = c.let(f"and <{lanes} x i1> {wrong}, {scope.mask}")
                word = c.let(f"bitcast <{lanes} x i1> {wrong} to i{lanes}")
                bad = c.let(f"icmp ne i{lanes} {word}, 0")
            with c.when(bad, rare=True):
                inner = Scope(scope.depth, scope, scope.lanes, scope.mask)
                first = "0"
                if lanes > 1:
                    first = c.call(f"i{lanes}", f"llvm.cttz.i{lanes}", (f"i{lanes}", word), ("i1", "true"))
                    if lanes != 64:
                        first = c.let(f"{'zext' if lanes < 64 else 'trunc'} i{lanes} {first} to i64")
                value = self.value(inner, check.value)
                _, have = inner.find(check.value) or (value, 1)
                if have > 1:
                    value = c.let(f"extractelement <{have} x i64> {value}, i64 {first}")
                at = "0"
                for d in range(self.dims):
                    here = scope.coordinate(d)
                    if d == self.vector_dim:
                        here = c.let(f"add i64 {here}, {first}")
                    at = c.let(f"add i64 {c.let(f'mul i64 {at}, %n{d}')}, {here}")
                c.helpers["note"] = NOTE
                c.call("void", "note", ("ptr", "%failures"), ("i64", str(number)), ("i64", at), ("i64", value))

    # The function ---------------------------------------------------------------------------------------

    def names(self) -> list[tuple[str, str]]:
        """(LLVM type, name) of the arguments of `run`."""
        kinds = {"b": "i1", "u": "i64", "i": "i64", "f": "double"}
        params = {p.name: "float" if p.dtype.code == "f32" else kinds[p.dtype.kind] for p in self.kernel.params}
        found = []
        for name in arguments(self.kernel, self.access):
            kind = "ptr" if name.endswith(".ptr") else params.get(name, "i64")
            found.append((kind, f"param.{name}" if name in params else name))
        return found

    def begin(self, c: Code) -> Scope:
        """Loads the record's fields; returns the outermost scope."""
        self.code = c
        self.params: dict[str, str] = {}
        self.running: dict[Expr, list[tuple[str, str]]] = {}  # type and place of each part of a scan's state
        self.imaginary: dict[str, str] = {}  # name of a real part -> name of its imaginary part
        self.stride, self.steps = {}, {}
        types = {p.name: p.dtype for p in self.kernel.params}
        wanted = ["fail"] if self.kernel.checks else []
        wanted += ["stream"] if self.streams else []
        wanted += ["chunk"] if self.single else ["units", "grain"] + ["chunk", "chunks"] * (self.mode != "row")
        wanted += ["blocks"] if self.tiles else []
        wanted += ["mode", "pieces", "piece", "scratch", "rows"] if self.splits else []
        names = self.names()
        for k, (ty, name) in enumerate([*names, *(("i64", name) for name in HIDDEN)]):
            if k < len(names) or name in wanted:
                c.do(f"%at.{name} = getelementptr i64, ptr %record, i64 {k}")
                c.do(f"%{name} = load {'i8' if ty == 'i1' else ty}, ptr %at.{name}, align 8")
        for p in self.kernel.params:
            t, value = types[p.name], f"%param.{p.name}"
            if t.kind == "b":
                value = c.let(f"icmp ne i8 {value}, 0")
            elif t.kind in "ui" and t.itemsize < 8:
                value = c.let(f"trunc i64 {value} to {register(t)}")
            elif t.kind == "f" and t.itemsize < 4:
                value = cast(c, value, dt.float64, t, 1)
            self.params[p.name] = value
        if self.streams:
            c.do("%streaming = trunc i64 %stream to i1")
        if self.kernel.checks:
            c.do("%failures = inttoptr i64 %fail to ptr")
        for number, operand in enumerate(self.operands):
            for dim in range(self.own_dims(operand)):
                if self.letter(number, dim) == STRIDED:
                    self.stride[number, dim] = c.let(f"mul i64 %{operand.name}.s{dim}, {operand.dtype.itemsize}")
        self.count = "1"
        for dim in range(self.outer, self.dims):
            self.count = f"%n{dim}" if self.count == "1" else c.let(f"mul i64 {self.count}, %n{dim}")
        if self.row:
            self.nonempty = c.let(f"icmp sgt i64 {self.count}, 0")
        scope = Scope(0)
        return scope

    def task(self) -> str:
        """`task(record, number)`: one share of the units, or one piece of a row."""
        c = Code()
        root = self.begin(c)
        self.prepare(root, self.order)
        last_outer = self.outer - 1
        widths = self.widths(self.order)
        if self.single:  # a map over one dim: a share is a stretch of it
            for number in range(len(self.operands)):
                self.address(root, number)
            start = c.i64("mul", "%number", "%chunk")
            end = c.i64("smin", c.i64("add", start, "%chunk"), "%n0")
            self.vector_loops(root, COLUMN, start, end, widths, lambda inner, number: self.column_work(inner))
            if self.streams:  # other threads see what went past the caches only after a fence
                with c.when("%streaming", rare=True):
                    c.do("fence seq_cst")
            c.do("ret void")
            return c.function("internal void @task(ptr %record, i64 %number)", "#0")
        share = "%number"
        if self.splits:
            share = c.i64("udiv", "%number", "%pieces")
            self.piece_number = c.i64("urem", "%number", "%pieces")
            start = c.i64("mul", self.piece_number, "%piece")
            self.piece = start, c.i64("smin", c.i64("add", start, "%piece"), f"%n{self.outer}")
        first = c.i64("mul", share, "%grain")
        last = c.i64("smin", c.i64("add", first, "%grain"), "%units")
        chunked = self.mode != "row"
        dims = list(range(last_outer - bool(self.tiles) if chunked else self.outer))
        sizes = ["%chunks"] * chunked + ["%blocks"] * bool(self.tiles) + [f"%n{d}" for d in reversed(dims)]
        counters = [(size, c.variable("i64")) for size in sizes]
        self._set_odometer(counters, first)
        with c.loop(first, last):
            places = [c.let(f"load i64, ptr {place}") for _, place in counters]
            scope = Scope(PREFIX, root, coordinates=dict(zip(reversed(dims), places[chunked + bool(self.tiles) :])))
            for number in range(len(self.operands)):
                self.address(scope, number)
            if self.tiles:
                starts = [c.i64("mul", at, BLOCK) for at in places[1::-1]]
                ends = [
                    c.i64("smin", c.i64("add", at, BLOCK), f"%n{d}")
                    for at, d in zip(starts, (last_outer - 1, last_outer))
                ]
                block_work(self, scope, starts, ends)
            elif chunked:
                start = c.i64("mul", places[0], "%chunk")
                end = c.i64("smin", c.i64("add", start, "%chunk"), f"%n{last_outer}")
                self.prepare(scope, self.order)
                self.vector_loops(scope, COLUMN, start, end, widths, lambda inner, number: self.column_work(inner))
            else:
                self.row_work(scope)
            self._advance(counters)
        c.do("ret void")
        return c.function("internal void @task(ptr %record, i64 %number)", "#0")

    def _set_odometer(self, counters: list[tuple[str, str]], number: str) -> None:
        """Coordinates of a unit: counters are (size, place), the fastest first."""
        c = self.code
        for size, place in counters[:-1]:
            c.do(f"store i64 {c.i64('urem', number, size)}, ptr {place}")
            number = c.i64("udiv", number, size)
        if counters:
            c.do(f"store i64 {number}, ptr {counters[-1][1]}")

    def _advance(self, counters: list[tuple[str, str]]) -> None:
        """Coordinates of the next unit."""
        c, carry = self.code, "1"
        for k, (size, place) in enumerate(counters):
            after = c.i64("add", c.let(f"load i64, ptr {place}"), carry)
            if k < len(counters) - 1:
                over = c.let(f"icmp eq i64 {after}, {size}")
                carry = c.let(f"zext i1 {over} to i64")
                after = c.let(f"select i1 {over}, i64 0, i64 {after}")
            c.do(f"store i64 {after}, ptr {place}")

    def column_work(self, scope: Scope) -> None:
        if self.row:
            for number in range(len(self.operands)):
                self.address(scope, number)
            self.row_work(scope)
            return
        self.checks(scope, self.kernel.checks)
        for result in self.kernel.results:
            self.evaluate_result(scope, result)
        for result in self.kernel.results:
            self.store(scope, result)


def _wanted(results: Iterable[Result], checks: Iterable[Check]) -> list[Expr]:
    """What the pass over the elements computes."""
    found = [e for r in results for e in (r.value, r.offset, r.where) if e is not None]
    return found + [e for check in checks for e in (check.holds, check.value)]


# Keeps the failure at the lowest position: marks are a lock, then (position, value) for each check.
NOTE = """define internal void @note(ptr %marks, i64 %number, i64 %position, i64 %value) nounwind cold {
entry:
  br label %try
try:
  %old = atomicrmw xchg ptr %marks, i64 1 acquire
  %free = icmp eq i64 %old, 0
  br i1 %free, label %look, label %try
look:
  %twice = shl i64 %number, 1
  %slot = add i64 %twice, 1
  %at = getelementptr i64, ptr %marks, i64 %slot
  %best = load i64, ptr %at
  %lower = icmp slt i64 %position, %best
  br i1 %lower, label %keep, label %leave
keep:
  store i64 %position, ptr %at
  %value.at = getelementptr i64, ptr %at, i64 1
  store i64 %value, ptr %value.at
  br label %leave
leave:
  store atomic i64 0, ptr %marks release, align 8
  ret void
}"""
