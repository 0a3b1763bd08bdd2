"""Expressions and memory of one kernel as LLVM instructions; the loops around them are in `emit_nest`.

What varies along which dim, which dim is vectorised, how an element is computed, read and written at one place.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from facula.codegen.dims import Dims
from facula.core import dtype as dt
from facula.ir.expr import Expr, walk
from facula.ir.kernel import BROADCAST, CONTIGUOUS, REVERSED, STRIDED, Access, Kernel, Result

from . import emit_reduce as red
from .emit_code import Code, mangle, numbers, register, vector
from .emit_ops import OPERATIONS, cast, constant, operation, select

__all__ = ["COLUMN", "ELEMENT", "PREFIX", "Scope", "Values", "parts"]

PREFIX, COLUMN, ELEMENT = 1, 2, 3  # depths of evaluation; 0 is the whole call

# Nanoseconds an element and core, roughly, of operations that are not plain instructions.
COSTS = {
    "div": 0.15, "sqrt": 0.2, "rsqrt": 0.3, "floordiv": 2.0, "remainder": 2.0, "fmod": 2.0, "truncdiv": 1.0, "pow": 5.0,
    "nextafter": 0.4, "scan": 0.3, "load": 0.1, "loop": 20.0,
}  # fmt: skip
PLAIN = 0.04
MOST_LANES = 64


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


class Values(Dims):
    """One kernel and access pattern: analysis, and the text of values; abstract, see `emit_nest.Nest`."""

    def __init__(self, kernel: Kernel, access: Access, bits: int, masks: bool):
        super().__init__(kernel, access)
        self.bits_wide, self.masks = bits, masks
        self.mode = ""  # map, row (vectors along the row) or column (vectors along the last outer dim)
        self.rare = self._rare()
        self._choose()
        if self.mode == "column":  # states have a lane for each column
            self.spread(1 << self.outer - 1)
        # While a function is written:
        self.code = Code()
        self.params: dict[str, str] = {}
        self.imaginary: dict[str, str] = {}  # name of a real part -> name of its imaginary part
        self.count = self.nonempty = ""  # of the row
        self.piece = ("", "")  # where the piece of a row that is worked on starts and ends
        self.piece_number = ""
        self.kept = 0  # states that a piece of a row leaves, of 8 bytes each
        self.stride: dict[tuple[int, int], str] = {}  # (operand, dim) -> bytes
        self.steps: dict[tuple[int, int], str] = {}  # (operand, lanes) -> byte offsets of lanes

    # What is vectorised ----------------------------------------------------------------------------------------------

    def _choose(self) -> None:
        """The dim that is vectorised, and how many lanes are natural."""
        last_outer, last = self.outer - 1, self.dims - 1
        kernel, n = self.kernel, len(self.operands)
        scans = any(node.op == "scan" for node in self.order)
        scatters = [r for r in kernel.results if r.offset is not None]
        self.ordered = bool(scatters) and not kernel.disjoint
        along_outer = [self.letter(i, last_outer) for i in range(n)]
        along_row = [self.letter(i, last) for i in range(n) if self.own_dims(self.operands[i]) == self.dims]
        results_move = all(along_outer[i] != BROADCAST for i in range(len(kernel.results)))
        columns = STRIDED not in along_outer and CONTIGUOUS in along_outer and results_move and not self.ordered
        rows = STRIDED not in along_row and CONTIGUOUS in along_row
        if not self.row:
            self.mode, self.vector_dim = "map", last_outer
        elif columns and (scans or not rows):
            self.mode, self.vector_dim = "column", last_outer
        else:
            self.mode, self.vector_dim = "row", last
        self.scans = scans and self.mode == "row"  # along the vectors
        size, scalar = 1, self.scans and not all(red.scans_in_lanes(n) for n in self.order if n.op == "scan")
        for node in self.order:
            if self.scans and node.op == "scan":
                size = max(size, red.scan_state(node).itemsize)
            if self.bits[node] >> self.vector_dim & 1:
                size = max(size, node.dtype.itemsize)
                if node.op == "reduce" and node.value.startswith("arg"):
                    size = max(size, 4)
        for i, result in enumerate(kernel.results):
            stays = self.letter(i, self.vector_dim) == BROADCAST and not (result.per_row and self.mode == "row")
            moved = result.offset is not None and self.bits[result.offset] >> self.vector_dim & 1
            scalar |= stays and not moved
            apart = kernel.disjoint and self.mode == "column"  # each lane has a column of its own
            scalar |= result.combine != "set" and bool(moved) and not apart
            size = max(size, result.dtype.itemsize if not stays else 1)
        self.lanes = 1 if scalar else max(2, self.bits_wide // 8 // size)
        self.cost = max(0.05, sum(self._cost(x) for x in self.order if x not in self.rare))
        self.serial = self._serial()
        self.single = self.mode == "map" and self.outer == 1
        self.streams: list[Result] = []
        if self.single and not self.serial:
            for letter, r in zip(along_outer, kernel.results):
                plain = r.offset is r.where is None and r.combine == "set"
                if letter == CONTIGUOUS and plain and r.dtype.kind != "c":
                    self.streams.append(r)
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
        if self.scans:
            return [(self.lanes, False), rest]
        count = sum(1 for n in nodes if self.bits[n] >> self.vector_dim & 1 and n.op != "const" and n not in self.rare)
        if count > 24:
            return [(self.lanes, False), rest]
        times = max(1, min(4 if count <= 8 else 2, MOST_LANES // self.lanes))
        if any(n.op == "load" and self.letter(self.number[n.value[0]], self.vector_dim) == STRIDED for n in nodes):
            times = 1
        if any(n.op == "scan" for n in nodes):
            return [(self.lanes, False), rest]
        if times == 1 and self.masks:
            return [rest] if count > 12 else [(self.lanes, False), rest]
        return [(self.lanes * times, False), rest]

    # Values ----------------------------------------------------------------------------------------------------------

    def prepare(self, scope: Scope, nodes: Iterable[Expr]) -> None:
        """Computes what can be computed at this depth."""
        for node in nodes:
            if node in self.rare:
                continue
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
        if is_usual(node):
            self._branch(scope, node)
            return scope.values[node]
        args = [self.value(scope, a, lanes) for a in node.args]
        return (self._loop(node, lanes, args) if node.op == "loop" else operation(c, node, lanes, args)), lanes

    def _loop(self, node: Expr, lanes: int, args: list[str]) -> str:
        """A loop that goes on while some lane does; the other lanes keep what they have."""
        c, of = self.code, node.value
        types = [vector(register(x.dtype), lanes) for x in of.variables]
        places = [c.variable(ty) for ty, _ in zip(types, of.steps)]

        def compute(*roots: Expr) -> list[str]:
            for x in walk(*roots):
                if x.op == "const":
                    names[x] = constant(x.value, x.dtype, lanes)
                elif x not in names:
                    names[x] = operation(c, x, lanes, [names[a] for a in x.args])
            return [names[x] for x in roots]

        for ty, place, first in zip(types, places, args):
            c.do(f"store {ty} {first}, ptr {place}")
        test, step, done = c.fresh("test", "step", "done")
        c.do(f"br label %{test}")
        c.begin(test)
        names = dict(zip(of.variables, args))
        for x, ty, place in zip(of.variables, types, places):
            names[x] = c.let(f"load {ty}, ptr {place}")
        known = dict(names)
        (more,) = compute(of.more)
        some = more
        if lanes > 1:
            word = c.let(f"bitcast <{lanes} x i1> {more} to i{lanes}")
            some = c.let(f"icmp ne i{lanes} {word}, 0")
        c.do(f"br i1 {some}, label %{step}, label %{done}")
        c.begin(step)
        for x, ty, place, new in zip(of.variables, types, places, compute(*of.steps)):
            c.do(f"store {ty} {select(c, more, ty, lanes, new, known[x])}, ptr {place}")
        c.do(f"br label %{test}")
        c.begin(done)
        names = known
        return compute(of.found)[0]

    def _rare(self) -> set[Expr]:
        """The nodes that only the rare side of a `usually` needs."""
        common: set[Expr] = set()
        stack = list(self.roots)
        while stack:
            node = stack.pop()
            if node not in common:
                common.add(node)
                stack += node.args[:2] if is_usual(node) else node.args
        # What is read, or goes from element to element, is done in any case.
        always = walk(*(n for n in self.order if n.op in ("load", "reduce", "scan")))
        return set(self.order) - common - set(always)

    def _branch(self, scope: Scope, node: Expr) -> None:
        """All selects that depend on one condition as `usually` does: what is rare is computed in a branch."""
        c, lanes, condition = self.code, self.lanes_of(scope, node), node.args[0]
        group = [node]
        for other in self.order:
            if is_usual(other) and other.args[0] is condition and other not in group and scope.find(other) is None:
                below = self.needed([other])
                ready = all(n.op != "reduce" or scope.find(n) is not None for n in below)
                if ready and not any(n in below for n in group) and self.lanes_of(scope, other) == lanes:
                    group.append(other)
        holds = self.value(scope, condition)
        types = [vector(register(n.dtype), lanes) for n in group]
        usual = [self.value(scope, n.args[1], lanes) for n in group]
        for below in self.needed([n.args[2] for n in group]):
            if below.op in ("load", "scan", "part") or below not in self.rare:
                self.value(scope, below)
        mask = self.lanes_of(scope, condition)
        if mask > 1:
            word = c.let(f"bitcast <{mask} x i1> {holds} to i{mask}")
            every = c.let(f"icmp eq i{mask} {word}, -1")
        else:
            every = holds
        before = c.label
        inner = Scope(scope.depth, scope, scope.lanes, scope.mask, scope.end)
        with c.when(c.let(f"xor i1 {every}, true"), rare=True):
            rare = [self.value(inner, n.args[2], lanes) for n in group]
            if mask > 1:
                rare = [
                    c.let(f"select <{mask} x i1> {holds}, {ty} {a}, {ty} {b}") for ty, a, b in zip(types, usual, rare)
                ]
            after = c.label
        for n, ty, a, b in zip(group, types, usual, rare):
            scope.values[n] = c.let(f"phi {ty} [ {a}, %{before} ], [ {b}, %{after} ]"), lanes

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
        known = {CONTIGUOUS: size, REVERSED: -size}.get(self.letter(number, dim))
        return self.stride[number, dim] if known is None else str(known)

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
        if spread and offset is not None:
            by = c.let(f"mul <{lanes} x i64> {self.value(scope, offset, lanes)}, {constant(size, dt.int64, lanes)}")
            kind = "ptr" if letter == BROADCAST else f"<{lanes} x ptr>"
            at = c.let(f"getelementptr i8, {kind} {at}, <{lanes} x i64> {by}")
        elif letter == BROADCAST:  # some lanes read it, others do not
            at = c.splat(at, "ptr", lanes)
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
        back = lanes > 1 and offset is None and t.kind != "c" and self.letter(number, self.vector_dim) == REVERSED
        if back:  # lane 0 is the last in memory
            turn = list(reversed(range(lanes)))
            memory = "i8" if t.kind == "b" else register(t)
            at = c.let(f"getelementptr i8, ptr {self.address(scope, number)}, i64 {-(lanes - 1) * t.itemsize}")
            mask = None if mask is None else c.pick(mask, "i1", lanes, turn)
            value = c.pick(self._fetch(memory, at, False, lanes, mask, t.itemsize), memory, lanes, turn)
            return c.let(f"icmp ne {vector('i8', lanes)} {value}, zeroinitializer") if t.kind == "b" else value
        apart = lanes > 1 and t.kind != "c" and offset is where is None
        if apart and self.letter(number, self.vector_dim) == STRIDED:
            return self._one_by_one(scope, number, lanes)
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

    def _one_by_one(self, scope: Scope, number: int, lanes: int) -> str:
        """Elements that are a stride apart: loads of single lanes take half the time of a gather."""
        c, t = self.code, self.operands[number].dtype
        scalar = "i8" if t.kind == "b" else register(t)
        ty, at, step = vector(scalar, lanes), self.address(scope, number), self._bytes(number, self.vector_dim)
        left = "" if scope.mask is None else c.i64("sub", scope.end, scope.coordinate(self.vector_dim))
        value = "poison"
        for k in range(lanes):
            if k:  # beyond the last one: that one again
                by = step if not left else c.let(f"select i1 {c.let(f'icmp sgt i64 {left}, {k}')}, i64 {step}, i64 0")
                at = c.let(f"getelementptr i8, ptr {at}, i64 {by}")
            one = c.let(f"load {scalar}, ptr {at}, align {t.itemsize}")
            value = c.let(f"insertelement {ty} {value}, {scalar} {one}, i64 {k}")
        return c.let(f"icmp ne {ty} {value}, zeroinitializer") if t.kind == "b" else value

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
        c, ty, masks = self.code, vector(scalar, lanes), f"<{lanes} x i1>"
        if many:
            name, places = f"llvm.masked.scatter.{mangle(ty)}.v{lanes}p0", f"<{lanes} x ptr>"
            to, allowed = (f"{places} align {align}", at), (masks, mask or "splat (i1 true)")
            c.call("void", name, (ty, value), to, allowed, declare=f"{ty}, {places}, {masks}")
        elif mask is not None:
            name = f"llvm.masked.store.{mangle(ty)}.p0"
            c.call("void", name, (ty, value), (f"ptr align {align}", at), (masks, mask), declare=f"{ty}, ptr, {masks}")
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
        for node in (result.where, result.offset, *parts(result.value)):
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
        values = [self.value(scope, e, lanes) for e in parts(result.value)]
        own = parts(result.value)[0].dtype
        if result.combine != "set":
            before = self.read(scope, number, result.offset, where, lanes)
            old = [before, self.imaginary[before]] if t.kind == "c" else [cast(c, before, t, own, lanes)]
            if t.kind == "c" and result.combine == "mul":
                values = red.combine(c, "cprod", own, lanes, old, values)
            else:
                join, ty = OPERATIONS[result.combine], vector(register(own), lanes)
                values = [join(c, own, ty, lanes, list(pair)) for pair in zip(old, values)]
        at, many = self._places(scope, number, result.offset, lanes)
        if t.kind == "c":
            real, size = register(t.to_real()), t.itemsize // 2
            if many:
                self._put(real, values[0], at, True, lanes, mask, size)
                at = c.let(f"getelementptr i8, <{lanes} x ptr> {at}, i64 {size}")
                self._put(real, values[1], at, True, lanes, mask, size)
            else:
                pairs = c.interleave(values[0], values[1], real, lanes)
                self._put(real, pairs, at, False, 2 * lanes, self._twice(mask, lanes), size)
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
        return self.code.let(
            f"icmp sle i64 {self.code.i64('add', scope.coordinate(self.vector_dim), scope.lanes)}, {scope.end}"
        )

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

    def scan_step(self, scope: Scope, node: Expr) -> str:
        """One step of a scan; the loops know where its state is."""
        raise NotImplementedError

    def _serial(self) -> bool:
        """Whether the units must be done in order: several of them may write the same element."""
        for i, result in enumerate(self.kernel.results):
            still = [
                d
                for d in range(self.own_dims(result))
                if self.letter(i, d) == BROADCAST and not (self.row and d == self.dims - 1)
            ]
            if still and result.offset is None and not (result.per_row and self.outer == 1):
                return True
        return self.ordered


def is_usual(node: Expr) -> bool:
    """Whether a select was made by `codegen.math.basics.usually`."""
    return node.op == "select" and node.value == "usually"


def parts(value: Expr) -> tuple[Expr, ...]:
    """A complex value's real and imaginary part, or the value."""
    return value.args if value.op == "complex" else (value,)
