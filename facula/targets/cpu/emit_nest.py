"""Loops of one kernel as LLVM text: which dim is vectorised, what is computed at which depth, passes over rows.

Reads a kernel that `codegen` has prepared (real types and primitive operations only); `emit_ops` writes each operation,
`emit_reduce` the states of reductions. The result is a function `task(record, number)` over units of work and a function
`run` that cuts the work in units.
"""

from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field

from facula.core import dtype as dt
from facula.core.dtype import dtype
from facula.ir.expr import Expr, walk
from facula.ir.kernel import BROADCAST, CONTIGUOUS, STRIDED, Access, Check, Input, Kernel, Result, arguments

from . import emit_reduce as red
from .emit_code import Code, mangle, numbers, register, vector
from .emit_ops import cast, constant, operation, select

__all__ = ["Nest"]

PREFIX, COLUMN, ELEMENT = 1, 2, 3  # depths of evaluation; 0 is the whole call

# Nanoseconds per element and core, roughly, of operations that are not plain instructions.
COSTS = {
    "div": 0.15, "sqrt": 0.2, "rsqrt": 0.3, "floordiv": 2.0, "remainder": 2.0, "fmod": 2.0, "truncdiv": 1.0, "pow": 5.0,
    "nextafter": 0.4, "scan": 1.0, "load": 0.1,
}  # fmt: skip
PLAIN = 0.04
PARALLEL_NS = 20_000.0  # work below this stays on the calling thread
BLOCK_NS = 8_000.0  # about how long one unit of work is
PIECE_ELEMENTS = 1 << 15  # elements of a long row that are reduced by themselves
STREAM_BYTES = 8 << 20
FEW = 16  # shares of whole rows below which long rows are cut in pieces
MOST_LANES = 64
WORTH = 8  # operations that are rather stored than done again
LANES_PER_SUM = 64  # additions into one lane before its sum is put away in a more exact total


@dataclass(eq=False)
class Scope:
    """A place in the loops: coordinates, addresses and values that are known there."""

    depth: int
    parent: "Scope | None" = None
    lanes: int = 1
    mask: str | None = None  # lanes that exist; None: all
    end: str = ""  # where the vectorised loop ends
    coordinates: dict[int, str] = field(default_factory=dict)
    addresses: dict[int, str] = field(default_factory=dict)  # operand number -> address of lane 0
    values: dict[Expr, tuple[str, int]] = field(default_factory=dict)  # -> (name, lanes)
    splats: dict[tuple[str, int], str] = field(default_factory=dict)
    position: str | None = None  # in the row, of lane 0

    def find(self, node: Expr) -> tuple[str, int] | None:
        scope: Scope | None = self
        while scope is not None:
            found = scope.values.get(node)
            if found is not None:
                return found
            scope = scope.parent
        return None

    def coordinate(self, dim: int) -> str:
        scope: Scope | None = self
        while scope is not None:
            if dim in scope.coordinates:
                return scope.coordinates[dim]
            scope = scope.parent
        raise KeyError(dim)


class Nest:
    """The text of one kernel for one access pattern."""

    def __init__(self, kernel: Kernel, access: Access, bits: int, masks: bool):
        self.kernel, self.access, self.bits_wide, self.masks = kernel, access, bits, masks
        self.operands = kernel.operands
        self.number = {o.name: i for i, o in enumerate(self.operands)}
        self.outer, self.row = access.outer, access.row
        self.dims = self.outer + self.row
        self.roots = kernel.roots()
        self.order = walk(*self.roots)
        self.mode = ""  # map, row (vectors along the row) or column (vectors along the last outer dim)
        self.bits: dict[Expr, int] = {}
        self.rank: dict[Expr, int] = {}  # how many reductions must be finished before
        for node in self.order:
            self.bits[node] = self._bits(node)
            below = max((self.rank[a] for a in node.args), default=0)
            self.rank[node] = below + (node.op == "reduce")
        self._choose()
        if self.mode == "column":  # states have a lane for each column
            for node in self.order:
                self.bits[node] = self._bits(node)
        self.code = Code()
        self.stride: dict[tuple[int, int], str] = {}  # (operand, dim) -> bytes
        self.steps: dict[tuple[int, int], str] = {}  # (operand, lanes) -> byte offsets of lanes

    # What varies along what ------------------------------------------------------------------------------------------

    def _own_dims(self, operand: Input | Result) -> int:
        return self.outer if isinstance(operand, Result) and operand.per_row else self.dims

    def letter(self, number: int, dim: int) -> str:
        """How an operand moves along a dim."""
        if dim >= self._own_dims(self.operands[number]):
            return BROADCAST
        letters = self.access.inner[number]
        if dim == self.outer - 1:
            return letters[0]
        return letters[1] if self.row and dim == self.dims - 1 else STRIDED

    def _bits(self, node: Expr) -> int:
        """The dims along which a node's value varies, as bits."""
        below = 0
        for arg in node.args:
            below |= self.bits[arg]
        outer, row = (1 << self.outer) - 1, ((1 << self.row) - 1) << self.outer
        columns = 1 << self.outer - 1 if self.mode == "column" else 0
        match node.op:
            case "load":
                i = self.number[node.value[0]]
                return below | sum(1 << d for d in range(self.dims) if self.letter(i, d) != BROADCAST)
            case "index":
                return 1 << node.value
            case "row_index":
                return row
            case "reduce":
                return below & outer | columns
            case "scan":
                return below | row | columns
        return below

    def _choose(self) -> None:
        """The dim that is vectorised, and how many lanes are natural."""
        last_outer, last = self.outer - 1, self.dims - 1
        kernel, n = self.kernel, len(self.operands)
        scans = any(node.op == "scan" for node in self.order)
        scatters = [r for r in kernel.results if r.offset is not None]
        self.ordered = bool(scatters) and not kernel.disjoint
        along_outer = [self.letter(i, last_outer) for i in range(n)]
        along_row = [self.letter(i, last) for i in range(n) if self._own_dims(self.operands[i]) == self.dims]
        results_move = all(along_outer[i] != BROADCAST for i in range(len(kernel.results)))
        columns = STRIDED not in along_outer and CONTIGUOUS in along_outer and results_move and not self.ordered
        rows = STRIDED not in along_row and CONTIGUOUS in along_row
        if not self.row:
            self.mode, self.vector_dim = "map", last_outer
        elif columns and (scans or not rows):
            self.mode, self.vector_dim = "column", last_outer
        else:
            self.mode, self.vector_dim = "row", last
        size, scalar = 1, scans and self.mode == "row"
        for node in self.order:
            if self.bits[node] >> self.vector_dim & 1:
                size = max(size, node.dtype.itemsize)
                if node.op == "reduce" and node.value.startswith("arg"):
                    size = max(size, 4)
        for i, result in enumerate(kernel.results):
            stays = self.letter(i, self.vector_dim) == BROADCAST and not (result.per_row and self.mode == "row")
            moved = result.offset is not None and self.bits[result.offset] >> self.vector_dim & 1
            scalar |= stays and not moved
            scalar |= result.combine == "add" and bool(moved)
            size = max(size, result.dtype.itemsize if not stays else 1)
        self.lanes = 1 if scalar else max(2, self.bits_wide // 8 // size)
        self.cost = max(0.05, sum(self._cost(x) for x in self.order))
        self.serial = self._serial()
        self.single = self.mode == "map" and self.outer == 1
        self.streams: list[Result] = []
        if self.single and not self.serial:
            self.streams = [
                r for i, r in enumerate(kernel.results)
                if along_outer[i] == CONTIGUOUS and r.offset is r.where is None and r.combine == "set" and r.dtype.kind != "c"
            ]  # fmt: skip
        reductions = [x for x in self.order if x.op == "reduce"]
        self.splits = (
            bool(reductions)
            and all(self.rank[r] == 1 for r in reductions)
            and all(r.per_row and r.offset is None for r in kernel.results)
            and not (scans or self.serial or kernel.checks)
        )

    def _cost(self, node: Expr) -> float:
        """Nanoseconds an element."""
        if not self.bits[node] >> self.vector_dim & 1:
            return 0.0
        return COSTS.get(node.op, PLAIN) * (1 if node.dtype.itemsize < 8 else 2)

    def depth(self, node: Expr) -> int:
        """Where a node is computed."""
        if node.op == "reduce":
            return COLUMN if self.mode == "column" else PREFIX
        bits = self.bits[node]
        if bits >> self.outer:
            return ELEMENT
        if self.mode != "row" and bits >> self.outer - 1 & 1:
            return COLUMN
        return PREFIX if bits else 0

    def widths(self, nodes: Iterable[Expr]) -> list[tuple[int, bool]]:
        """Lanes of the successive loops over a dim, and whether the last ones may be missing (masked)."""
        if self.lanes == 1:
            return [(1, False)]
        rest = (self.lanes, True) if self.masks else (1, False)
        count = sum(1 for n in nodes if self.bits[n] >> self.vector_dim & 1 and n.op != "const")
        if count > 24:
            return [rest] if self.masks else [(self.lanes, False), rest]
        times = max(1, min(4 if count <= 8 else 2, MOST_LANES // self.lanes))
        if times == 1 and self.masks:
            return [rest] if count > 12 else [(self.lanes, False), rest]
        return [(self.lanes * times, False), rest]

    # Values ----------------------------------------------------------------------------------------------------------

    def needed(self, roots: Iterable[Expr], stop: Iterable[Expr] = ()) -> list[Expr]:
        """All nodes below `roots` down to reductions (and `stop`), operands first."""
        order: list[Expr] = []
        done: set[Expr] = set()
        stack = [(r, False) for r in roots]
        while stack:
            node, ready = stack.pop()
            if ready:
                order.append(node)
            elif node not in done:
                done.add(node)
                stack.append((node, True))
                if node.op != "reduce" and node not in stop:
                    stack.extend((a, False) for a in node.args)
        return order

    def prepare(self, scope: Scope, nodes: Iterable[Expr]) -> None:
        """Computes what can be computed at this depth."""
        for node in nodes:
            if node.op not in ("reduce", "complex") and self.depth(node) <= scope.depth and scope.find(node) is None:
                if all(scope.find(r) is not None for r in self._reductions_below(node)):
                    scope.values[node] = self.evaluate(scope, node)

    def _reductions_below(self, node: Expr) -> list[Expr]:
        if self.rank[node] == 0:
            return []
        return [n for n in self.needed([node]) if n.op == "reduce"]

    def value(self, scope: Scope, node: Expr, lanes: int | None = None) -> str:
        """The name of a node's value, in `lanes` lanes (default: one for uniform values, else the scope's)."""
        found = scope.find(node)
        if found is None:
            found = scope.values[node] = self.evaluate(scope, node)
        name, have = found
        if lanes is None or lanes == have:
            return name
        return self.splat(scope, name, register(node.dtype), lanes)

    def splat(self, scope: Scope, name: str, ty: str, lanes: int) -> str:
        if lanes == 1 or name[0] not in "%@":
            return self.code.splat(name, ty, lanes)
        key = (name, lanes)
        if key not in scope.splats:
            scope.splats[key] = self.code.splat(name, ty, lanes)
        return scope.splats[key]

    def lanes_of(self, scope: Scope, node: Expr) -> int:
        return scope.lanes if self.bits[node] >> self.vector_dim & 1 else 1

    def evaluate(self, scope: Scope, node: Expr) -> tuple[str, int]:
        """Writes the instructions of one node."""
        c, lanes = self.code, self.lanes_of(scope, node)
        match node.op:
            case "const":
                return constant(node.value, node.dtype, 1), 1
            case "param":
                return self.params[node.value], 1
            case "extent":
                return f"%n{node.value}", 1
            case "count":
                return self.count, 1
            case "index":
                return self._along(scope, scope.coordinate(node.value), lanes), lanes
            case "row_index":
                return self._along(scope, self._position(scope), lanes), lanes
            case "load":
                return self.load(scope, node), lanes
            case "scan":
                return self.scan_step(scope, node), lanes
            case "part":
                whole = self.value(scope, node.args[0])
                return (self.imaginary[whole] if node.value else whole), lanes
        args = [self.value(scope, a, lanes) for a in node.args]
        return operation(c, node, lanes, args), lanes

    def _along(self, scope: Scope, first: str, lanes: int) -> str:
        if lanes == 1:
            return first
        return self.code.let(f"add <{lanes} x i64> {self.splat(scope, first, 'i64', lanes)}, {numbers(lanes)}")

    def _position(self, scope: Scope) -> str:
        """The row-major position in the row."""
        c, at = self.code, scope.coordinate(self.outer)
        for d in range(self.outer + 1, self.dims):
            at = c.let(f"add i64 {c.let(f'mul i64 {at}, %n{d}')}, {scope.coordinate(d)}")
        return at

    # Memory ----------------------------------------------------------------------------------------------------------

    def address(self, scope: Scope, number: int) -> str:
        """Where lane 0 of an operand is."""
        found = scope.addresses.get(number)
        if found is None:
            c = self.code
            found = f"%{self.operands[number].name}.ptr" if scope.parent is None else self.address(scope.parent, number)
            for dim, at in scope.coordinates.items():
                letter = self.letter(number, dim)
                if letter != BROADCAST:
                    step = self._bytes(number, dim)
                    by = at if step == "1" else c.let(f"mul i64 {at}, {step}")
                    found = c.let(f"getelementptr i8, ptr {found}, i64 {by}")
            scope.addresses[number] = found
        return found

    def _bytes(self, number: int, dim: int) -> str:
        """An operand's step along a dim, in bytes."""
        size = self.operands[number].dtype.itemsize
        return str(size) if self.letter(number, dim) == CONTIGUOUS else self.stride[number, dim]

    def _where(self, scope: Scope, where: Expr | None, lanes: int) -> str | None:
        """The lanes in which an access is made; None: all."""
        c = self.code
        mask = scope.mask if lanes > 1 else None
        if where is None:
            return mask
        allowed = self.value(scope, where, lanes)
        return allowed if mask is None else c.let(f"and <{lanes} x i1> {mask}, {allowed}")

    def _places(self, scope: Scope, number: int, offset: Expr | None, lanes: int) -> tuple[str, bool]:
        """The address of an access, and whether it is a vector of addresses."""
        c, at = self.code, self.address(scope, number)
        size = self.operands[number].dtype.itemsize
        letter = self.letter(number, self.vector_dim)
        spread = lanes > 1 and offset is not None and self.lanes_of(scope, offset) > 1
        if offset is not None and not spread:
            by = self.value(scope, offset)
            at = c.let(f"getelementptr i8, ptr {at}, i64 {c.let(f'mul i64 {by}, {size}')}")
        if lanes == 1 or (letter == CONTIGUOUS and not spread):
            return at, False
        if letter != BROADCAST:
            at = c.let(f"getelementptr i8, ptr {at}, <{lanes} x i64> {self._steps(scope, number, lanes)}")
        if spread:
            by = c.let(f"mul <{lanes} x i64> {self.value(scope, offset, lanes)}, {constant(size, dt.int64, lanes)}")
            kind = "ptr" if letter == BROADCAST else f"<{lanes} x ptr>"
            at = c.let(f"getelementptr i8, {kind} {at}, <{lanes} x i64> {by}")
        return at, True

    def _steps(self, scope: Scope, number: int, lanes: int) -> str:
        """The byte offsets of the lanes from lane 0."""
        step = self._bytes(number, self.vector_dim)
        if step[0] != "%":
            return f"<{', '.join(f'i64 {k * int(step)}' for k in range(lanes))}>"
        key = (number, lanes)
        while scope.parent is not None:
            scope = scope.parent
        if key not in self.steps:
            # Written where it is first needed; LLVM moves it out of the loops.
            c = self.code
            return c.let(f"mul <{lanes} x i64> {c.splat(step, 'i64', lanes)}, {numbers(lanes)}")
        return self.steps[key]

    def read(self, scope: Scope, number: int, offset: Expr | None, where: Expr | None, lanes: int) -> str:
        """The element that lies in memory; of a complex one the real part, with `imaginary` knowing the other."""
        c, t = self.code, self.operands[number].dtype
        mask = self._where(scope, where, lanes)
        at, many = self._places(scope, number, offset, lanes)
        if lanes == 1 and (mask is not None or (self.row and scope.depth < ELEMENT)):
            # Nothing is read where `where` says no, nor of a row without elements.
            allowed = mask if mask is not None else self.nonempty
            if mask is not None and self.row and scope.depth < ELEMENT:
                allowed = c.let(f"and i1 {mask}, {self.nonempty}")
            at, mask = c.let(f"select i1 {allowed}, ptr {at}, ptr @zeros"), None
        if t.kind != "c":
            memory = "i8" if t.kind == "b" else register(t)
            value = self._fetch(memory, at, many, lanes, mask, t.itemsize)
            if t.kind == "b":
                value = c.let(f"icmp ne {vector('i8', lanes)} {value}, {'zeroinitializer' if lanes > 1 else '0'}")
            return value
        real, size = register(t.to_real()), t.itemsize // 2
        if many:
            re = self._fetch(real, at, True, lanes, mask, size)
            at = c.let(f"getelementptr i8, <{lanes} x ptr> {at}, i64 {size}")
            im = self._fetch(real, at, True, lanes, mask, size)
        else:
            both = self._fetch(real, at, False, 2 * lanes, self._twice(mask, lanes), size)
            re, im = (c.pick(both, real, 2 * lanes, range(k, 2 * lanes, 2)) for k in (0, 1))
        self.imaginary[re] = im
        return re

    def _fetch(self, scalar: str, at: str, many: bool, lanes: int, mask: str | None, align: int) -> str:
        """Loads `lanes` scalars from one address on, or from many."""
        c, ty = self.code, vector(scalar, lanes)
        if many:
            return c.call(
                ty, f"llvm.masked.gather.{mangle(ty)}.v{lanes}p0", (f"<{lanes} x ptr> align {align}", at),
                (f"<{lanes} x i1>", mask or "splat (i1 true)"), (ty, "zeroinitializer"),
                declare=f"<{lanes} x ptr>, <{lanes} x i1>, {ty}",
            )  # fmt: skip
        if mask is not None:
            return c.call(
                ty, f"llvm.masked.load.{mangle(ty)}.p0", (f"ptr align {align}", at), (f"<{lanes} x i1>", mask),
                (ty, "zeroinitializer"), declare=f"ptr, <{lanes} x i1>, {ty}",
            )  # fmt: skip
        return c.let(f"load {ty}, ptr {at}, align {align}")

    def _put(self, scalar: str, value: str, at: str, many: bool, lanes: int, mask: str | None, align: int) -> None:
        """Stores `lanes` scalars from one address on, or to many, the last lane last."""
        c, ty = self.code, vector(scalar, lanes)
        if many:
            c.call(
                "void", f"llvm.masked.scatter.{mangle(ty)}.v{lanes}p0", (ty, value), (f"<{lanes} x ptr> align {align}", at),
                (f"<{lanes} x i1>", mask or "splat (i1 true)"), declare=f"{ty}, <{lanes} x ptr>, <{lanes} x i1>",
            )  # fmt: skip
        elif mask is not None:
            c.call(
                "void", f"llvm.masked.store.{mangle(ty)}.p0", (ty, value), (f"ptr align {align}", at),
                (f"<{lanes} x i1>", mask), declare=f"{ty}, ptr, <{lanes} x i1>",
            )  # fmt: skip
        else:
            c.do(f"store {ty} {value}, ptr {at}, align {align}")

    def _twice(self, mask: str | None, lanes: int) -> str | None:
        """A mask of complex numbers as one of their parts."""
        return None if mask is None else self.code.pick(mask, "i1", lanes, [k // 2 for k in range(2 * lanes)])

    def load(self, scope: Scope, node: Expr) -> str:
        name, has_offset, has_where = node.value
        offset = node.args[0] if has_offset else None
        where = node.args[-1] if has_where else None
        return self.read(scope, self.number[name], offset, where, self.lanes_of(scope, node))

    def evaluate_result(self, scope: Scope, result: Result) -> None:
        """Computes all that a result needs, so that reading comes before writing."""
        for node in (result.where, result.offset, *_parts(result.value)):
            if node is not None:
                self.value(scope, node)

    def store(self, scope: Scope, result: Result) -> None:
        """Writes a result's element; all that is read must have been."""
        lanes = scope.lanes
        mask = self._where(scope, result.where, lanes)
        if lanes == 1 and mask is not None:
            inner = Scope(scope.depth, scope, lanes, scope.mask)
            with self.code.when(mask):
                self._write(inner, result, None, None)
        else:
            self._write(scope, result, result.where, mask)

    def _write(self, scope: Scope, result: Result, where: Expr | None, mask: str | None) -> None:
        c, t, lanes, number = self.code, result.dtype, scope.lanes, self.number[result.name]
        parts = _parts(result.value)
        values, own = [self.value(scope, e, lanes) for e in parts], parts[0].dtype
        if result.combine == "add":
            before = self.read(scope, number, result.offset, where, lanes)
            old = [before, self.imaginary[before]] if t.kind == "c" else [cast(c, before, t, own, lanes)]
            word = "fadd" if own.kind == "f" else "or" if own.kind == "b" else "add"
            values = [c.let(f"{word} {vector(register(own), lanes)} {x}, {y}") for x, y in zip(old, values)]
        at, many = self._places(scope, number, result.offset, lanes)
        if t.kind == "c":
            real, size = register(t.to_real()), t.itemsize // 2
            if many:
                self._put(real, values[0], at, True, lanes, mask, size)
                at = c.let(f"getelementptr i8, <{lanes} x ptr> {at}, i64 {size}")
                self._put(real, values[1], at, True, lanes, mask, size)
            else:
                self._put(real, c.interleave(*values, real, lanes), at, False, 2 * lanes, self._twice(mask, lanes), size)
            return
        value = cast(c, values[0], own, t, lanes)
        if t.kind == "b":
            value = c.let(f"zext {vector('i1', lanes)} {value} to {vector('i8', lanes)}")
        scalar = "i8" if t.kind == "b" else register(t)
        if result not in self.streams or lanes == 1:
            self._put(scalar, value, at, many, lanes, mask, t.itemsize)
            return
        # Large results go past the caches: their lines need not be read before they are written.
        aligned = min(64, lanes * t.itemsize)
        whole = "%streaming"
        if mask is not None:
            whole = c.let(f"and i1 %streaming, {self.full(scope)}")
        past, plain, done = c.fresh("past", "plain", "stored")
        c.do(f"br i1 {whole}, label %{past}, label %{plain}")
        c.begin(past)
        c.do(f"store {vector(scalar, lanes)} {value}, ptr {at}, align {aligned}, !nontemporal !0")
        c.do(f"br label %{done}")
        c.begin(plain)
        self._put(scalar, value, at, many, lanes, mask, t.itemsize)
        c.do(f"br label %{done}")
        c.begin(done)

    def full(self, scope: Scope) -> str:
        """Whether all lanes exist."""
        return self.code.let(f"icmp sle i64 {self.code.i64('add', scope.coordinate(self.vector_dim), scope.lanes)}, {scope.end}")

    # Loops -----------------------------------------------------------------------------------------------------------

    def mask_of(self, start: str, end: str, lanes: int) -> str:
        """Which of `lanes` lanes from `start` lie before `end`."""
        c = self.code
        left = c.i64("smin", c.i64("sub", end, start), lanes)
        gone = c.let(f"sub i64 {lanes}, {left}")
        if lanes >= 64:
            bits = c.let(f"lshr i64 -1, {gone}")
        else:
            bits = c.let(f"lshr i{lanes} -1, {c.let(f'trunc i64 {gone} to i{lanes}') if lanes < 64 else gone}")
        return c.let(f"bitcast i{lanes} {bits} to <{lanes} x i1>")

    def vector_loops(
        self, scope: Scope, depth: int, start: str, end: str, widths: list[tuple[int, bool]], body: Callable[[Scope, int], None]
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
                if self._own_dims(self.operands[number]) == self.dims:
                    self.address(inner, number)
            with self.row_loops(inner, dims[1:]) as innermost:
                yield innermost

    def elements(self, scope: Scope, nodes: list[Expr], body: Callable[[Scope, int], None], block: "Blocks | None" = None):
        """Runs `body` for the elements of the row at `scope`; `block` is told where blocks of the last dim begin and end."""
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
                        if r in elements and r.dtype is node.dtype and r.offset is r.where is None and r.combine == "set" and moves:
                            best, most = Result(r.name, r.dtype, node), size
                            break
        return best

    def accumulate(self, scope: Scope, reductions: list[Expr], kept: Result | None = None) -> "Blocks":
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
        """Sets the running values of the scans of one pass."""
        c, lanes = self.code, scope.lanes
        for node in nodes:
            if node.op == "scan":
                t = node.args[0].dtype
                types = [vector(register(part), lanes) for part, _ in red.components(node.value, t)]
                self.running[node] = [(ty, c.variable(ty)) for ty in types]
                for (ty, place), first in zip(self.running[node], red.starts(node.value, t, lanes)):
                    c.do(f"store {ty} {first}, ptr {place}")

    def scan_step(self, scope: Scope, node: Expr) -> str:
        c, lanes = self.code, scope.lanes
        values = [self.value(scope, a, lanes) for a in node.args]
        before = [c.let(f"load {ty}, ptr {place}") for ty, place in self.running[node]]
        after = red.update(c, node.value, node.args[0].dtype, lanes, before, values, None, None)
        for (ty, place), value in zip(self.running[node], after):
            c.do(f"store {ty} {value}, ptr {place}")
        if node.value == "cprod":
            self.imaginary[after[0]] = after[1]
        return after[0]

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
                have = inner.find(check.value)[1]
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

    # Functions -------------------------------------------------------------------------------------------------------

    def names(self) -> list[tuple[str, str]]:
        """(LLVM type, name) of the arguments of `run`."""
        params = {}
        for p in self.kernel.params:
            params[p.name] = "float" if p.dtype.code == "f32" else "double" if p.dtype.kind in "fc" else "i1" if p.dtype.kind == "b" else "i64"
        found = []
        for name in arguments(self.kernel, self.access):
            kind = "ptr" if name.endswith(".ptr") else params.get(name, "i64")
            found.append((kind, name))
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
        wanted += ["mode", "pieces", "piece", "scratch", "rows"] if self.splits else []
        names = self.names()
        for k, (ty, name) in enumerate([*names, *(("i64", name) for name in HIDDEN)]):
            if k < len(names) or name in wanted:
                c.do(f"%at.{name} = getelementptr i64, ptr %record, i64 {k}")
                c.do(f"%{name} = load {'i8' if ty == 'i1' else ty}, ptr %at.{name}, align 8")
        for p in self.kernel.params:
            t, value = types[p.name], f"%{p.name}"
            if t.kind == "b":
                value = c.let(f"icmp ne i8 {value}, 0")
            elif t.kind in "ui" and t.itemsize < 8:
                value = c.let(f"trunc i64 {value} to {register(t)}")
            elif t.code in ("f16", "bf16"):
                value = cast(c, value, dt.float64, t, 1)
            self.params[p.name] = value
        if self.streams:
            c.do("%streaming = trunc i64 %stream to i1")
        if self.kernel.checks:
            c.do("%failures = inttoptr i64 %fail to ptr")
        for number, operand in enumerate(self.operands):
            for dim in range(self._own_dims(operand)):
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
        dims = list(range(last_outer if chunked else self.outer))
        counters = ([("%chunks", c.variable("i64"))] if chunked else []) + [(f"%n{d}", c.variable("i64")) for d in reversed(dims)]
        self._set_odometer(counters, first)
        with c.loop(first, last):
            places = [c.let(f"load i64, ptr {place}") for _, place in counters]
            scope = Scope(PREFIX, root, coordinates=dict(zip(reversed(dims), places[chunked:])))
            for number in range(len(self.operands)):
                self.address(scope, number)
            if chunked:
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

    def run(self) -> str:
        """`run(arguments...)`: does small work at once, cuts large work in shares that do not depend on the number of threads."""
        self.code = c = Code()
        fields = self.names()
        checks = len(self.kernel.checks)
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
        rows, row = self._product(range(self.outer)), self._product(range(self.outer, self.dims))
        c.do(f"br i1 {c.let(f'icmp eq i64 {rows}, 0')}, label %leave, label %work")
        c.begin("work")
        units = rows if self.mode == "row" else self._product(range(self.outer - 1))
        last = f"%n{self.outer - 1}"
        small = {"units": units, "grain": units, "chunk": last, "chunks": "1"}
        if self.splits:
            small |= {"mode": str(WHOLE), "pieces": "1", "piece": f"%n{self.outer}"}
        if self.single:
            small = {"chunk": last} | ({"stream": "0"} if self.streams else {})
        for name, value in small.items():
            self._put_field(name, value)
        if not self.serial:
            total = rows if row == "1" else c.i64("mul", rows, row)
            with c.when(c.let(f"icmp sgt i64 {total}, {int(PARALLEL_NS / self.cost)}")):
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
        c.do(f"store {ty} {value}, ptr {c.let(f'getelementptr i64, ptr %record, i64 {self.fields.index(name)}')}, align 8")

    def _product(self, dims: Iterable[int]) -> str:
        """How many elements some dims have together."""
        found = "1"
        for d in dims:
            found = f"%n{d}" if found == "1" else self.code.i64("mul", found, f"%n{d}")
        return found

    def _spread(self, rows: str, row: str, units: str, last: str) -> None:
        """Calls `task` for shares of about BLOCK_NS, on several threads."""
        c = self.code
        block = max(256, int(BLOCK_NS / self.cost) // 64 * 64)  # elements
        if self.single:
            self._put_field("chunk", str(block))
            if self.streams:
                self._put_field("stream", self._streaming(last))
            shares = c.i64("udiv", c.i64("add", last, block - 1), block)
            c.do(f"call void @facula_parallel(ptr @task, ptr %record, i64 {shares})")
            return
        width = "1"  # columns a unit
        if self.mode != "row":
            width = str(block)
            if self.row:
                wide = c.i64("udiv", block, c.i64("smax", row, 1))
                width = c.i64("smax", c.i64("and", c.i64("add", wide, 63), -64), 64)
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
        if self.splits:
            self._split(rows, row, units, shares, width)
        c.do(f"call void @facula_parallel(ptr @task, ptr %record, i64 {shares})")

    def _streaming(self, size: str) -> str:
        """Whether results are so large that they would leave the caches anyway, and none is an input."""
        c = self.code
        widest = max(r.dtype.itemsize for r in self.streams)
        good = c.let(f"icmp sge i64 {size}, {STREAM_BYTES // widest}")
        for r in self.streams:
            address = c.let(f"ptrtoint ptr %{r.name}.ptr to i64")
            aligned = c.let(f"icmp eq i64 {c.i64('and', address, 63)}, 0")
            good = c.let(f"and i1 {good}, {aligned}")
            for i in self.kernel.inputs:
                other = c.let(f"icmp ne ptr %{r.name}.ptr, %{i.name}.ptr")
                good = c.let(f"and i1 {good}, {other}")
        return c.let(f"zext i1 {good} to i64")

    def _split(self, rows: str, row: str, units: str, shares: str, width: str) -> None:
        """The way for few long rows: pieces side by side leave their states, then one thread combines them."""
        c, first = self.code, f"%n{self.outer}"
        inner = row if self.row == 1 else c.i64("udiv", row, c.i64("smax", first, 1))
        inner = width if self.row == 1 else c.i64("mul", width, inner)
        piece = c.i64("smax", c.i64("udiv", PIECE_ELEMENTS, c.i64("smax", inner, 1)), 1)
        pieces = c.i64("udiv", c.i64("add", first, c.i64("sub", piece, 1)), piece)
        few = c.let(f"icmp slt i64 {shares}, {FEW}")
        many = c.let(f"icmp sgt i64 {pieces}, 1")
        with c.when(c.let(f"and i1 {few}, {many}")):
            size = c.i64("mul", c.i64("mul", rows, pieces), 8 * self.kept)
            scratch = c.call("ptr", "malloc", ("i64", size))
            with c.when(c.let(f"icmp ne ptr {scratch}, null")):
                address = c.let(f"ptrtoint ptr {scratch} to i64")
                fields = {"mode": str(PIECE), "pieces": pieces, "piece": piece, "scratch": address, "rows": rows, "grain": "1"}
                for name, value in fields.items():
                    self._put_field(name, value)
                c.do(f"call void @facula_parallel(ptr @task, ptr %record, i64 {c.i64('mul', units, pieces)})")
                self._put_field("mode", str(COMBINE))
                self._put_field("grain", units)
                c.do("call void @task(ptr %record, i64 0)")
                c.call("void", "free", ("ptr", scratch))
                c.do("br label %leave")
                c.begin(c.fresh("never")[0])

    def _serial(self) -> bool:
        """Whether the units must be done in order: several of them may write the same element."""
        for i, result in enumerate(self.kernel.results):
            still = [d for d in range(self._own_dims(result)) if self.letter(i, d) == BROADCAST and d != self.dims - 1]
            if still and result.offset is None and not (result.per_row and self.outer == 1):
                return True
        return self.ordered

    def text(self) -> str:
        """The module."""
        task = self.task()
        declared, helpers = dict(self.code.declared), dict(self.code.helpers)
        run = self.run()
        declared |= self.code.declared
        helpers |= self.code.helpers
        if self.kernel.checks:
            declared |= CHECK_DECLARATIONS
            declared.pop("failed", None)
            helpers |= {"failed": failed(len(self.kernel.checks)), "note": NOTE}
        declared["facula_parallel"] = "declare void @facula_parallel(ptr, ptr, i64)"
        zeros = "@zeros = private constant [16 x i8] zeroinitializer"
        zeros += "\n!0 = !{i32 1}"
        return "\n\n".join([zeros, "\n".join(declared.values()), *helpers.values(), task, run])


def _parts(value: Expr) -> tuple[Expr, ...]:
    """A complex value's real and imaginary part, or the value."""
    return value.args if value.op == "complex" else (value,)


def _wanted(results: Iterable[Result], checks: Iterable[Check]) -> list[Expr]:
    """What the pass over the elements computes."""
    found = [e for r in results for e in (r.value, r.offset, r.where) if e is not None]
    return found + [e for check in checks for e in (check.holds, check.value)]


# Fields of the record after the arguments.
HIDDEN = ("stream", "units", "grain", "chunk", "chunks", "fail", "mode", "pieces", "piece", "scratch", "rows")
WHOLE, PIECE, COMBINE = range(3)  # what `task` does with rows

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


class Blocks:
    """The states of the reductions of one pass: one for each loop width; float sums also have a total over blocks."""

    def __init__(self, nest: Nest, reductions: list[Expr], widths: list[int]):
        self.nest, self.c, self.reductions, self.widths = nest, nest.code, reductions, widths
        self.state: dict[tuple[Expr, int], list[tuple[str, str]]] = {}
        self.totals: dict[Expr, list[str]] = {}
        self.lanes = 1 if nest.mode == "row" else widths[0]  # of totals
        for r in reductions:
            t = r.args[0].dtype
            for number, lanes in enumerate(widths):
                types = [vector(register(part), lanes) for part, _ in red.components(r.value, t)]
                self.state[r, number] = [(ty, self.c.variable(ty)) for ty in types]
            if r.value == "sum" and t.kind == "f":
                ty = vector("double", self.lanes)
                self.totals[r] = [self.c.variable(ty) for _ in range(2 if t.code == "f64" else 1)]

    def _reset(self, r: Expr) -> None:
        t = r.args[0].dtype
        for number, lanes in enumerate(self.widths):
            for (ty, place), first in zip(self.state[r, number], red.starts(r.value, t, lanes)):
                self.c.do(f"store {ty} {first}, ptr {place}")

    def start(self) -> None:
        """Before the row."""
        for r in self.reductions:
            if r not in self.totals:
                self._reset(r)
            else:
                zero = constant(-0.0, dt.float64, self.lanes)
                for place in self.totals[r]:
                    self.c.do(f"store {vector('double', self.lanes)} {zero}, ptr {place}")

    def begin(self) -> None:
        """Before a block."""
        for r in self.totals:
            self._reset(r)

    def _get(self, r: Expr, number: int) -> list[str]:
        return [self.c.let(f"load {ty}, ptr {place}") for ty, place in self.state[r, number]]

    def update(self, r: Expr, number: int, scope: Scope, values: list[str], position: str | None) -> None:
        """One vector of elements joins; lanes of a column that do not exist may hold anything."""
        mask = scope.mask if self.nest.mode == "row" else None
        after = red.update(self.c, r.value, r.args[0].dtype, scope.lanes, self._get(r, number), values, position, mask)
        for (ty, place), name in zip(self.state[r, number], after):
            self.c.do(f"store {ty} {name}, ptr {place}")

    def _folded(self, r: Expr) -> list[str]:
        """The states of all widths as one, in as many lanes as a total has."""
        c, t = self.c, r.args[0].dtype
        state, have = self._get(r, 0), self.widths[0]
        for number, lanes in enumerate(self.widths[1:], 1):
            state = red.shrink(c, r.value, t, have, lanes, state)
            state, have = red.combine(c, r.value, t, lanes, state, self._get(r, number)), lanes
        return red.shrink(c, r.value, t, have, self.lanes, state)

    def end(self) -> None:
        """After a block: its sum joins the total, which is more exact."""
        for r in self.totals:
            (value,) = self._folded(r)
            if r.args[0].dtype.code == "f32":
                value = cast(self.c, value, dt.float32, dt.float64, self.lanes)
            self._add(r, value)

    def _add(self, r: Expr, value: str) -> None:
        c, ty, places = self.c, vector("double", self.lanes), self.totals[r]
        total = c.let(f"load {ty}, ptr {places[0]}")
        after = c.let(f"fadd {ty} {total}, {value}")
        c.do(f"store {ty} {after}, ptr {places[0]}")
        if len(places) == 2:  # what the addition lost, exactly (Knuth)
            part = c.let(f"fsub {ty} {after}, {total}")
            rest = c.let(f"fsub {ty} {total}, {c.let(f'fsub {ty} {after}, {part}')}")
            lost = c.let(f"fadd {ty} {rest}, {c.let(f'fsub {ty} {value}, {part}')}")
            before = c.let(f"load {ty}, ptr {places[1]}")
            c.do(f"store {ty} {c.let(f'fadd {ty} {before}, {lost}')}, ptr {places[1]}")

    def _kept(self) -> list[tuple[Expr, int, str, str]]:
        """What a piece of a row leaves: reduction, number of the part, scalar type, place."""
        found = []
        for r in self.reductions:
            if r in self.totals:
                found += [(r, k, "double", place) for k, place in enumerate(self.totals[r])]
            else:
                parts = red.components(r.value, r.args[0].dtype)
                found += [(r, k, register(part), "") for k, (part, _) in enumerate(parts)]
        self.nest.kept = len(found)
        return found

    def _slot(self, scope: Scope, number: int, piece: str) -> str:
        """Where the states of lane 0 for one piece lie in the scratch memory: one array a part, pieces x rows."""
        c, nest = self.c, self.nest
        at = "0"
        for d in range(nest.outer):
            at = c.i64("add", c.i64("mul", at, f"%n{d}"), scope.coordinate(d))
        at = c.i64("add", c.i64("mul", c.i64("add", c.i64("mul", "%pieces", number), piece), "%rows"), at)
        base = c.let("inttoptr i64 %scratch to ptr")
        return c.let(f"getelementptr i64, ptr {base}, i64 {at}")

    def start_final(self) -> None:
        """Places for states in as many lanes as totals have, which pieces and whole rows share."""
        self.final: dict[Expr, list[tuple[str, str]]] = {}
        for r in self.reductions:
            if r not in self.totals:
                t = r.args[0].dtype
                types = [vector(register(part), self.lanes) for part, _ in red.components(r.value, t)]
                self.final[r] = [(ty, self.c.variable(ty)) for ty in types]
                for (ty, place), first in zip(self.final[r], red.starts(r.value, t, self.lanes)):
                    self.c.do(f"store {ty} {first}, ptr {place}")

    def fold(self) -> None:
        """The states that the elements left go to these places."""
        for r, places in self.final.items():
            for (ty, place), value in zip(places, self._folded(r)):
                self.c.do(f"store {ty} {value}, ptr {place}")

    def _final(self, r: Expr) -> list[str]:
        return [self.c.let(f"load {ty}, ptr {place}") for ty, place in self.final[r]]

    def keep(self, scope: Scope) -> None:
        """Writes the states of one piece."""
        c, lanes, states = self.c, self.lanes, {}
        for number, (r, k, scalar, place) in enumerate(self._kept()):
            ty = vector(scalar, lanes)
            if place:
                value = c.let(f"load {ty}, ptr {place}")
            else:
                if r not in states:
                    states[r] = self._final(r)
                value = states[r][k]
            self._each(scope, self._slot(scope, number, self.nest.piece_number), scalar, value)

    def _each(self, scope: Scope, at: str, scalar: str, value: str | None) -> str:
        """Stores, or loads, one part of the states in slots of 8 bytes."""
        c, lanes = self.c, self.lanes
        word = {"i1": "i8", "half": "i16"}.get(scalar, scalar)
        bits = {"i8": 8, "i16": 16, "i32": 32, "i64": 64, "float": 32, "double": 64}[word]
        ty, wide = vector(word, lanes), vector("i64", lanes)
        integer = vector(f"i{bits}", lanes)
        mask = scope.mask if lanes > 1 else None
        if value is None:
            value = self.nest._fetch("i64", at, False, lanes, mask, 8)
            if bits < 64:
                value = c.let(f"trunc {wide} {value} to {integer}")
            if scalar == "i1":
                return c.let(f"icmp ne {integer} {value}, {'zeroinitializer' if lanes > 1 else '0'}")
            return c.let(f"bitcast {integer} {value} to {ty}") if word[0] != "i" else value
        if scalar == "i1":
            value = c.let(f"zext {vector('i1', lanes)} {value} to {ty}")
        if word[0] != "i":
            value = c.let(f"bitcast {ty} {value} to {integer}")
        if bits < 64:
            value = c.let(f"zext {integer} {value} to {wide}")
        self.nest._put("i64", value, at, False, lanes, mask, 8)
        return ""

    def recall(self, scope: Scope, piece: str) -> None:
        """The states of one piece join."""
        c, lanes = self.c, self.lanes
        parts: dict[Expr, list[str]] = {}
        for number, (r, _, scalar, _) in enumerate(self._kept()):
            parts.setdefault(r, []).append(self._each(scope, self._slot(scope, number, piece), scalar, None))
        for r, values in parts.items():
            if r in self.totals:
                self._add(r, values[0])
                for place, lost in zip(self.totals[r][1:], values[1:]):
                    ty = vector("double", lanes)
                    before = c.let(f"load {ty}, ptr {place}")
                    c.do(f"store {ty} {c.let(f'fadd {ty} {before}, {lost}')}, ptr {place}")
            else:
                after = red.combine(c, r.value, r.args[0].dtype, lanes, self._final(r), values)
                for (ty, place), value in zip(self.final[r], after):
                    c.do(f"store {ty} {value}, ptr {place}")

    def finish(self, r: Expr) -> str:
        """The result, after the row."""
        c, t = self.c, r.args[0].dtype
        if r not in self.totals:
            state = self._final(r) if self.nest.splits else self._folded(r)
            if r.value == "cprod":
                self.nest.imaginary[state[0]] = state[1]
                return state[0]
            return state[-1]
        ty = vector("double", self.lanes)
        total, *lost = (c.let(f"load {ty}, ptr {place}") for place in self.totals[r])
        if t.code == "f32":
            total = cast(c, total, dt.float64, dt.float32, self.lanes)
        for rest in lost:
            better = c.let(f"fadd {ty} {total}, {rest}")
            finite = c.let(f"fcmp ord {ty} {better}, {better}")
            total = select(c, finite, ty, self.lanes, better, total)
        # A row without elements has the sum 0, not the -0 that sums start from.
        zero = constant(0.0, t, self.lanes)
        empty = c.splat(self.nest.nonempty, "i1", self.lanes)
        return select(c, empty, vector(register(t), self.lanes), self.lanes, total, zero)
