"""Expressions and memory of one kernel as C++ statements; the loops around them are in `emit`.

What varies along which dim, what a scope of the text knows, how an element is computed, read and written.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from facula.codegen.dims import Dims
from facula.core import dtype as dt
from facula.core.dtype import dtype
from facula.ir.expr import Expr, walk
from facula.ir.kernel import BROADCAST, CONTIGUOUS, REVERSED, Access, Kernel, Result

from .operations import cast, join, operation
from .types import literal, memory, register

__all__ = ["Scope", "Values"]


@dataclass(eq=False)
class Scope:
    """A block of the text: coordinates, offsets and values that are known in it."""

    parent: "Scope | None" = None
    guard: str = ""  # what must hold for memory to be touched; "": nothing
    lane: str = ""  # the number of a lane, inside of a loop over several
    coordinates: dict[int, str] = field(default_factory=dict)
    offsets: dict[int, str] = field(default_factory=dict)  # operand number -> elements from its address
    values: dict[Expr, str] = field(default_factory=dict)
    position: str = ""  # in the row

    def find(self, node: Expr) -> str | None:
        """The name of a value that is known here."""
        scope: Scope | None = self
        while scope is not None:
            if node in scope.values:
                return scope.values[node]
            scope = scope.parent
        return None

    def coordinate(self, dim: int) -> str | None:
        scope: Scope | None = self
        while scope is not None:
            if dim in scope.coordinates:
                return scope.coordinates[dim]
            scope = scope.parent
        return None

    def known(self) -> int:
        """The dims whose coordinates are known, as bits."""
        bits = 0 if self.parent is None else self.parent.known()
        for dim in self.coordinates:
            bits |= 1 << dim
        return bits


class Values(Dims):
    """One prepared kernel and access pattern: analysis, and the text of values."""

    def __init__(self, kernel: Kernel, access: Access):
        super().__init__(kernel, access)
        self.scanned: dict[Expr, bool] = {}  # whether a scan is below, down to reductions
        for node in self.order:
            self.scanned[node] = node.op == "scan" or (node.op != "reduce" and any(self.scanned[a] for a in node.args))
        self.vector_dim = self.dims - 1
        self.lanes = 1
        # While the text is written:
        self.lines: list[str] = []
        self.depth = 1
        self.count = 0
        self.helpers: set[str] = set()
        self.arguments_used: set[str] = set()
        self.registers: dict[Expr, str] = {}  # loads that stay there, for unit j of a thread: their arrays
        self.parts: dict[str, tuple[str, str]] = {}  # name of a product of pairs -> its parts
        self.root = Scope()

    # Text -------------------------------------------------------------------------------------------------------------

    def use(self, name: str) -> str:
        """Notes that a function of `helpers` is called."""
        self.helpers.add(name)
        return name

    def say(self, text: str) -> None:
        """A line of the text."""
        self.lines.append("  " * self.depth + text)

    def fresh(self, stem: str = "v") -> str:
        self.count += 1
        return f"{stem}{self.count}"

    def let(self, kind: str, text: str, stem: str = "v") -> str:
        """A named value."""
        name = self.fresh(stem)
        self.say(f"const {kind} {name} = {text};")
        return name

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """What belongs to `head`, in braces."""
        self.say(f"{head} {{" if head else "{")
        self.depth += 1
        yield
        self.depth -= 1
        self.say("}")

    def argument(self, name: str) -> str:
        """The local name of an argument."""
        self.arguments_used.add(name)
        return argument_name(name)

    # Values -----------------------------------------------------------------------------------------------------------

    def prepare(self, scope: Scope, nodes: Iterable[Expr]) -> None:
        """Computes what does not vary inside of `scope`, so that loops inside need not."""
        known = scope.known()
        if self.lanes > 1:  # a scope knows the coordinate of the first lane alone
            known &= ~(1 << self.vector_dim)
        for node in nodes:
            if node.op in ("const", "complex", "reduce", "param", "extent", "count") or self.scanned[node]:
                continue
            if self.bits[node] & ~known or scope.find(node) is not None:
                continue
            if all(scope.find(r) is not None for r in self.needed([node]) if r.op == "reduce"):
                self.value(scope, node)

    def value(self, scope: Scope, node: Expr) -> str:
        """The name of a node's value, or a literal."""
        found = scope.find(node)
        if found is None:
            found = scope.values[node] = self.evaluate(scope, node)
        return found

    def evaluate(self, scope: Scope, node: Expr) -> str:
        """Writes the statement of one node."""
        match node.op:
            case "const":
                return literal(node.value, node.dtype)
            case "param":
                return self.argument(f"param {node.value}")
            case "extent":
                return f"(long long){self.argument(f'n{node.value}')}"
            case "count":
                return f"(long long){self.row_count()}"
            case "index":
                return f"(long long){self.coordinate(scope, node.value)}"
            case "row_index":
                return f"(long long){self.position(scope)}"
            case "load":
                return self.load(scope, node)
            case "part":
                whole = self.value(scope, node.args[0])
                return self.parts[whole][node.value] if whole in self.parts else f"{whole}.{('re', 'im')[node.value]}"
            case "loop":
                return self.loop(scope, node)
            case "reduce" | "scan":
                raise KeyError(f"{node.op} {node.value} before its pass")
        return self.let(register(node.dtype), operation(self.use, node, [self.value(scope, a) for a in node.args]))

    def loop(self, scope: Scope, node: Expr) -> str:
        """A loop of one thread."""
        of = node.value
        changed = len(of.steps)

        def compute(*roots: Expr) -> list[str]:
            for x in walk(*roots):
                if x.op == "const":
                    names[x] = literal(x.value, x.dtype)
                elif x not in names:
                    names[x] = self.let(register(x.dtype), operation(self.use, x, [names[a] for a in x.args]))
            return [names[x] for x in roots]

        names = dict(zip(of.variables, [self.value(scope, a) for a in node.args]))
        for x in of.variables[:changed]:
            place = self.fresh("s")
            self.say(f"{register(x.dtype)} {place} = {names[x]};")
            names[x] = place
        known = dict(names)
        with self.block("while (true)"):
            self.say(f"if (!{compute(of.more)[0]}) break;")
            stepped = compute(*of.steps)
            held = [self.let(register(x.dtype), s) if s in known.values() else s for x, s in zip(of.steps, stepped)]
            for x, new in zip(of.variables, held):
                self.say(f"{known[x]} = {new};")
        names = known
        return compute(of.found)[0]

    def coordinate(self, scope: Scope, dim: int) -> str:
        """The index along a dim, that of the lane along the vectorised one."""
        found = scope.coordinate(dim)
        assert found is not None, f"dim {dim} is not known here"
        return f"({found} + {scope.lane})" if scope.lane and dim == self.vector_dim else found

    def position(self, scope: Scope) -> str:
        """The row-major position in the row."""
        if self.row == 1:
            return self.coordinate(scope, self.outer)
        if not scope.position:
            at = self.coordinate(scope, self.outer)
            for d in range(self.outer + 1, self.dims):
                at = f"({at} * {self.argument(f'n{d}')} + {self.coordinate(scope, d)})"
            scope.position = self.let("Index", at)
        return scope.position

    def row_count(self) -> str:
        """How many elements a row has."""
        return self.product(range(self.outer, self.dims))

    def product(self, dims: Iterable[int]) -> str:
        """How many elements some dims have together."""
        names = [self.argument(f"n{d}") for d in dims]
        return "1" if not names else names[0] if len(names) == 1 else f"({' * '.join(names)})"

    # Memory -----------------------------------------------------------------------------------------------------------

    def pointer(self, number: int) -> str:
        return self.argument(f"{self.operands[number].name}.ptr")

    def step(self, number: int, dim: int) -> str:
        """An operand's step along a dim, in elements."""
        known = {CONTIGUOUS: "1", REVERSED: "-1", BROADCAST: "0"}.get(self.letter(number, dim))
        return known or self.argument(f"{self.operands[number].name}.s{dim}")

    def offset(self, scope: Scope, number: int) -> str:
        """How many elements from its address an operand is at `scope` (of lane 0).

        It is known from there on: what loops inside need must be asked for before them.
        """
        terms, above = [], scope
        while number not in above.offsets and above.parent is not None:
            for dim, at in reversed(above.coordinates.items()):
                step = self.step(number, dim)
                if step != "0":
                    terms.append(at if step == "1" else f"-{at}" if step == "-1" else f"{at} * {step}")
            above = above.parent
        known = above.offsets.get(number, "0")
        if terms:
            terms += [known] if known != "0" else []
            known = terms[0] if len(terms) == 1 and terms[0].isidentifier() else ""
            known = known or self.let("Index", " + ".join(reversed(terms)), "at")
            scope.offsets[number] = known
        return known

    def place(self, scope: Scope, number: int, offset: str = "") -> str:
        """The offset of the lane's element."""
        at = self.offset(scope, number)
        terms = [] if at == "0" else [at]
        if scope.lane:
            step = self.step(number, self.vector_dim)
            if step != "0":
                terms.append({"1": scope.lane, "-1": f"-{scope.lane}"}.get(step) or f"{scope.lane} * {step}")
        return " + ".join([*terms, *([offset] if offset else [])]) or "0"

    def load(self, scope: Scope, node: Expr) -> str:
        """The element that lies in memory."""
        name, has_offset, has_where = node.value
        number = self.number[name]
        offset = self.value(scope, node.args[0]) if has_offset else ""
        guards = [self.lane_guard(scope)] if has_offset or has_where or not scope.lane else []
        if self.row and scope is not self.root and not self.bits[node] >> self.outer and scope.coordinate(0):
            guards = [self.filled(scope)]
        if has_where:
            guards.append(self.value(scope, node.args[-1]))
        if self.row and scope is self.root:
            guards.append(f"{self.row_count()} > 0")
        allowed = " && ".join(dict.fromkeys(g for g in guards if g))
        element = f"{self.pointer(number)}[{self.place(scope, number, offset)}]"
        t = node.dtype
        if t.kind == "b":
            return self.let("bool", f"{allowed} && {element} != 0" if allowed else f"{element} != 0")
        kind = self.memory(t)
        nothing = f"{kind}()" if t.kind == "c" else f"({kind})0"
        return self.let(kind, f"{allowed} ? {element} : {nothing}" if allowed else element)

    def memory(self, t: dtype) -> str:
        """The type of elements in memory."""
        if t.kind == "c":
            self.use("Pair")
        return memory(t)

    def filled(self, scope: Scope) -> str:
        """What must hold for something that belongs to a row to be read."""
        return f"{scope.guard} && {self.row_count()} > 0" if scope.guard else f"{self.row_count()} > 0"

    def lane_guard(self, scope: Scope) -> str:
        """What must hold for the lane to exist."""
        return f"{scope.lane} < n" if scope.lane else scope.guard

    def fetched(self, scope: Scope, inner: Scope, nodes: Iterable[Expr]) -> None:
        """Before a loop over lanes: what lies side by side is read at once, for `inner` to know."""
        for node in nodes:
            if node.op != "load" or node.value[1] or node.value[2] or scope.find(node) is not None:
                continue
            if self.letter(self.number[node.value[0]], self.vector_dim) not in (CONTIGUOUS, REVERSED):
                continue
            if node in self.registers:
                many = f"{self.registers[node]}[j]"
            else:
                many = self.fresh("x")
                self.say(f"{self.memory(node.dtype)} {many}[{self.lanes}];")
                self.read_lanes(scope, node, many)
            one = f"{many}[{inner.lane}]"
            inner.values[node] = f"({one} != 0)" if node.dtype.kind == "b" else one

    def read_lanes(self, scope: Scope, node: Expr, to: str) -> None:
        """What lies side by side, in one access where the address allows."""
        number = self.number[node.value[0]]
        how = self.use("fetch" if self.letter(number, self.vector_dim) == CONTIGUOUS else "fetch_back")
        self.say(f"{how}<{self.lanes}>({to}, {self.pointer(number)} + {self.offset(scope, number)}, n);")

    # Results ----------------------------------------------------------------------------------------------------------

    def hold(self, scope: Scope, inner: Scope, results: Iterable[Result], lanes: int) -> list["Held"]:
        """Arrays for the lanes of results: all are computed before the first is written."""
        found = []
        for result in results:
            own = _own(result)
            kind = self.memory(result.dtype) if result.dtype.kind == "c" or result.combine == "set" else register(own)
            name = self.fresh("r")
            held = Held(result, name, f"{name}_at" if result.offset is not None else "",
                        f"{name}_where" if result.where is not None else "")  # fmt: skip
            size = f"[{lanes}]" if lanes > 1 else ""
            self.say(f"{kind} {held.name}{size};")
            if held.offset:
                self.say(f"long long {held.offset}{size};")
            if held.where:
                self.say(f"bool {held.where}{size};")
            found.append(held)
        return found

    def compute(self, scope: Scope, held: list["Held"]) -> None:
        """Inside of the loop over lanes."""
        for h in held:
            r, own, one = h.result, _own(h.result), f"[{scope.lane}]" if scope.lane else ""
            for name, node in ((h.offset, r.offset), (h.where, r.where)):
                if node is not None:
                    self.say(f"{name}{one} = {self.value(scope, node)};")
            if r.dtype.kind == "c":
                for part, arg in zip(("re", "im"), r.value.args):
                    text = cast(self.use, self.value(scope, arg), own, r.dtype.to_real())
                    self.say(f"{h.name}{one}.{part} = {text};")
            else:
                text = self.value(scope, r.value)
                self.say(f"{h.name}{one} = {cast(self.use, text, own, r.dtype) if r.combine == 'set' else text};")

    def write(self, scope: Scope, held: list["Held"], lanes: int) -> None:
        """After the loop over lanes."""
        inner = Scope(scope, scope.guard, "k" if lanes > 1 else "")
        rest = []
        for h in held:
            r, number = h.result, self.number[h.result.name]
            plain = not (h.offset or h.where) and r.combine == "set"
            if lanes > 1 and plain and self.letter(number, self.vector_dim) == CONTIGUOUS:
                at = f"{self.pointer(number)} + {self.offset(scope, number)}"
                self.say(f"{self.use('put')}<{lanes}>({at}, {h.name}, n);")
            else:
                rest.append(h)
        if rest and lanes > 1:
            for h in rest:
                self.offset(scope, self.number[h.result.name])
            self.say("#pragma unroll")
            with self.block(f"for (int k = 0; k < {lanes}; ++k)"):
                for h in rest:
                    self.write_one(inner, h)
        else:
            for h in rest:
                self.write_one(inner, h)

    def write_one(self, scope: Scope, h: "Held", *guards: str) -> None:
        """One element of one result."""
        r, number = h.result, self.number[h.result.name]
        one = f"[{scope.lane}]" if scope.lane else ""
        at = self.place(scope, number, f"{h.offset}{one}" if h.offset else "")
        allowed = " && ".join(g for g in (self.lane_guard(scope), *guards, f"{h.where}{one}" if h.where else "") if g)
        target, value = f"{self.pointer(number)}[{at}]", f"{h.name}{one}"
        if r.combine == "set":
            self.say(f"if ({allowed}) {target} = {value};" if allowed else f"{target} = {value};")
            return
        with self.block(f"if ({allowed})" if allowed else ""):
            if r.dtype.kind != "c":
                own = _own(r)
                total = self._joined(r.combine, own, cast(self.use, target, r.dtype, own), value)
                self.say(f"{target} = {cast(self.use, total, own, r.dtype)};")
                return
            real = r.dtype.to_real()
            if r.combine == "mul":
                wide = dt.float32 if real in dt.STORED_ONLY else real
                a, i, b, j = (cast(self.use, f"{x}.{p}", real, wide) for x in (target, value) for p in ("re", "im"))
                self.say(f"const {register(wide)} re = {a} * {b} - {i} * {j}, im = {a} * {j} + {i} * {b};")
                for part in ("re", "im"):
                    self.say(f"{target}.{part} = {cast(self.use, part, wide, real)};")
                return
            for part in ("re", "im"):
                self.say(f"{target}.{part} = {self._joined('add', real, f'{target}.{part}', f'{value}.{part}')};")

    def _joined(self, how: str, t: dtype, a: str, b: str) -> str:
        """a and b combined; 16-bit floats in float32."""
        if t not in dt.STORED_ONLY:
            return f"({join(self.use, how, t, a, b)})"
        wide = [cast(self.use, x, t, dt.float32) for x in (a, b)]
        return cast(self.use, f"({join(self.use, how, dt.float32, *wide)})", dt.float32, t)


@dataclass(frozen=True)
class Held:
    """Names of a result's values, offsets and conditions until they are written."""

    result: Result
    name: str
    offset: str
    where: str


def argument_name(name: str) -> str:
    """How the text calls an argument of `ir.kernel.arguments`, or `param x`."""
    if name.startswith("param "):
        return "a_" + re.sub(r"\W", "_", name[6:])
    return re.sub(r"\W", "_", name)


def _own(result: Result) -> dtype:
    """The dtype in which a result is computed; of a complex one that of its parts."""
    return result.value.args[0].dtype if result.value.op == "complex" else result.value.dtype
