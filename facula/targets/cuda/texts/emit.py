"""Loops of one kernel as CUDA C++: which thread does what, passes over rows, scans, checks.

A `Program` is the text and what `schedule` must know to choose a grid. Neither depends on sizes; a text exists in two
widths of index, of which a launch takes the narrow one where all sizes allow. A kernel that goes over its rows more
than once has another text for rows that fit in the registers of a block: it reads them once.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass

from facula.codegen import prepare
from facula.core import dtype as dt
from facula.ir.expr import Expr
from facula.ir.kernel import BROADCAST, CONTIGUOUS, STRIDED, TRANSPOSED, Access, Check, Kernel, Result, arguments

from .helpers import prelude
from .operations import FUNCTIONS, cast
from .reductions import PART, State, state_of, update
from .scans import Scans, state_bytes
from .types import passed, register
from .values import Scope, argument_name

__all__ = ["Program", "program"]

THREADS = 256  # of a block
VECTOR = 16  # bytes that one thread reads or writes at once
MOST_BYTES = 32  # of any operand that one thread holds
MOST_SCANNED = 8  # elements of a scan that one thread holds
MOST_WORK = 256  # nodes of an expression times lanes: beyond it lanes are fewer, so that registers suffice
KEPT_WORDS = 32  # registers of a thread for a row that it goes over again
KEPT_UNITS = 8  # loops over these are unrolled
KEPT_WORK = 1024  # nodes of an expression times unrolled elements
AHEAD = 8  # elements, of those that come one at a time, that a thread has under way where it only reads
TILE = 32  # rows and columns of a transposed tile
TILE_ROWS = 8  # rows of threads that share a tile's columns
SHARED = 48 << 10  # bytes of shared memory that a block may have
_WORD, _NAMED = re.compile(r"[A-Za-z_]\w*"), re.compile(r" *const [\w ]+ (\w+) = .*;$")


@dataclass(frozen=True)
class Program:
    """A kernel's text and what a launch must know."""

    name: str  # of the function
    helpers: frozenset[str]  # functions of `helpers` that it calls
    body: str  # the text without these
    mode: str  # map, tile, owner, row, column
    lanes: int  # elements of the vectorised dim that a thread takes at once
    outer: int
    row: int
    alone: bool  # a row is one thread's
    serial: bool  # all is one thread's
    splits: bool  # rows may be cut in pieces
    state: int  # bytes that a piece of a row leaves
    checks: int
    arguments: tuple[tuple[str, str], ...]  # C++ type and name, without those of pieces and checks
    tail: int  # how many of these stand before the sizes
    ranks: int = 0  # launches that leave the states of pieces, before the one that goes over the rows again
    keep: int = 0  # units of a row that each thread could keep in registers between passes
    kept: bool = False  # ... and does

    @property
    def text(self) -> str:
        """All that NVRTC sees."""
        return "\n\n".join([*prelude(self.helpers), self.body])

    @property
    def takes(self) -> tuple[tuple[str, str], ...]:
        """C++ type and name of all that the function takes."""
        pieces = (("void*", "scratch"), ("int", "pieces"), ("int", "mode")) if self.splits else ()
        checks = (("void*", "status"), ("long long", "ticket")) if self.checks else ()
        return (*self.arguments, *pieces, *checks)


def program(kernel: Kernel, access: Access, wide: bool = False, kept: bool = False) -> Program:
    """The text of `kernel` for an access pattern; `wide`: with indices of 64 bits; `kept`: with rows in registers."""
    return Nest(prepare(kernel, FUNCTIONS), access, wide, kept).program()


class Nest(Scans):
    """The loops of one kernel."""

    def __init__(self, kernel: Kernel, access: Access, wide: bool, kept: bool = False):
        super().__init__(kernel, access)
        self.wide = wide
        self.extra: list[tuple[str, str]] = []  # C++ type and name of what the function takes besides
        self.state_bytes = 0
        # Of rows: how many, the number of this one, its threads; of its units: those of the last dim, all of
        # them, the first and the end of a piece; whether threads take every step together.
        self.size = self.chunks = self.first = self.end = ""
        self.in_step = False
        self._choose()
        again = self._read_again() if self.mode == "row" and not self.alone and not self.scans else []
        self.keep = self._units_kept(again)
        self.registers = {node: self.fresh("kept") for node in again} if kept and self.keep else {}
        if self.registers and self.again:
            self.again, self.splits, self.ranks = False, False, 0

    def _choose(self) -> None:
        """Who does what: the mode, and how many lanes a thread has."""
        kernel, n = self.kernel, len(self.operands)
        scatters = [r for r in kernel.results if r.offset is not None]
        ordered = (bool(scatters) and not kernel.disjoint) or self._overwrites()
        self.scans = any(node.op == "scan" for node in self.order)
        last_outer, last = self.outer - 1, self.dims - 1
        self.alone = self.serial = False
        if not self.row:
            self.vector_dim = last_outer
            self.mode = "owner" if ordered else "tile" if self._turned() and not kernel.checks else "map"
        else:
            along_outer = [self.letter(i, last_outer) for i in range(n)]
            along_row = [self.letter(i, last) for i in range(n) if self.own_dims(self.operands[i]) == self.dims]
            columns = STRIDED not in along_outer and CONTIGUOUS in along_outer
            rows = STRIDED not in along_row and CONTIGUOUS in along_row
            self.vector_dim = last
            meet = any(
                not r.per_row
                and (
                    (r.offset is not None and self.bits[r.offset] >> self.outer)
                    or any(self.letter(i, d) == BROADCAST for d in range(self.outer, self.dims))
                )
                for i, r in enumerate(kernel.results)
            )
            self.serial = ordered
            self.mode = "column" if columns and (not rows or meet) and self._fits_stacked() else "row"
            self.alone = meet or ordered or (self.scans and self.mode == "column")
        self.lanes = self._lanes() if self.mode in ("map", "row") else 1
        reductions = [x for x in self.order if x.op == "reduce"]
        self.splits = (
            bool(reductions)
            and all(self.rank[r] == 1 for r in reductions)
            and all(r.per_row and r.offset is None for r in kernel.results)
            and not (self.scans or self.alone or kernel.checks)
        )
        self.again = False  # whether pieces of rows are gone over again when reductions are known
        self.ranks = 0  # of rows that may be cut in pieces
        if self.scans and not (reductions or kernel.checks or ordered or any(r.per_row for r in kernel.results)):
            self.ranks = 0 if self.alone and self.mode == "row" else max(self.scan_rank.values())
            self.splits, self.state_bytes = self.ranks > 0, self.all_scan_bytes
        elif reductions and not (self.splits or self.scans or self.alone or kernel.checks):
            self.again = self.splits = True
            self.ranks = max(self.rank[r] for r in reductions)

    def _read_again(self) -> list[Expr]:
        """Loads along the row that more than one pass over it needs."""
        reductions = [n for n in self.order if n.op == "reduce"]
        passes = [
            [a for r in reductions if self.rank[r] == rank for a in r.args]
            for rank in sorted({self.rank[r] for r in reductions})
        ]
        results = [r for r in self.kernel.results if not r.per_row]
        passes.append([e for r in results for e in (r.value, r.offset, r.where) if e is not None])
        passes[-1] += [e for c in self.kernel.checks for e in (c.holds, c.value)]
        count = Counter(node for wanted in passes for node in self.needed(wanted))
        return [
            x
            for x in self.order
            if x.op == "load" and not (x.value[1] or x.value[2]) and count[x] > 1
            and self.letter(self.number[x.value[0]], self.vector_dim) == CONTIGUOUS
        ]  # fmt: skip

    def _units_kept(self, nodes: list[Expr]) -> int:
        """How many units of a row each thread keeps, a power of two; 0 where it is not worth it."""
        if not nodes or self.lanes == 1:
            return 0
        words = self.lanes * sum(max(4, x.dtype.itemsize) // 4 for x in nodes)
        work = self.lanes * sum(self.bits[x] >> self.vector_dim & 1 for x in self.order)
        most = min(KEPT_UNITS, KEPT_WORDS // words, KEPT_WORK // work)
        return 1 << most.bit_length() - 1 if most > 1 else 0

    def _overwrites(self) -> bool:
        """Whether several units may write the same element, of which the last one counts."""
        for i, r in enumerate(self.kernel.results):
            still = [
                d
                for d in range(self.own_dims(r))
                if self.letter(i, d) == BROADCAST and not (self.row and d >= self.outer)
            ]
            # A single outer dim of a kernel with rows may be one of size 1.
            if still and r.offset is None and not (self.row and self.outer == 1):
                return True
        return False

    def _fits_stacked(self) -> bool:
        """Whether shared memory has room for the states of all passes, one of each thread."""
        reductions = [x for x in self.order if x.op == "reduce"]
        passes = [[r for r in reductions if self.rank[r] == rank] for rank in {self.rank[r] for r in reductions}]
        return sum(state_bytes([state_of(r, 0) for r in some]) for some in passes) * THREADS <= SHARED

    def _turned(self) -> list[Expr]:
        """The loads whose tiles are turned, as many as shared memory has room for; others are read as they lie."""
        found, room = [], SHARED
        for node in self.order:
            if self._is_turned(node):
                room -= node.dtype.itemsize * TILE * (TILE + 1)
                if room < 0:
                    break
                found.append(node)
        return found

    def _is_turned(self, node: Expr) -> bool:
        """Whether a load runs along the dim before the last, so that tiles of it are turned in shared memory."""
        if node.op != "load" or node.value[1] or node.value[2] or self.outer < 2 or self.row:
            return False
        return self.access.inner[self.number[node.value[0]]][0] == TRANSPOSED

    def _lanes(self) -> int:
        """As many as make 16 bytes of the smallest operand that moves along the vectorised dim."""
        letters = [self.letter(i, self.vector_dim) for i in range(len(self.operands))]
        if STRIDED in letters or CONTIGUOUS not in letters or self.alone:
            return 1
        sizes = [o.dtype.itemsize for o, letter in zip(self.operands, letters) if letter == CONTIGUOUS]
        lanes = max(1, min(VECTOR // min(sizes), MOST_BYTES // max(sizes)))
        if self.scans:
            lanes = min(lanes, MOST_SCANNED)
        work = sum(self.bits[x] >> self.vector_dim & 1 for x in self.order)
        while lanes > 1 and lanes * work > MOST_WORK:
            lanes //= 2
        return lanes

    # The function -----------------------------------------------------------------------------------------------------

    def program(self) -> Program:
        """The whole text."""
        self.write_loops()
        kernel = self.kernel
        named = arguments(kernel, self.access)
        kinds = {f"{o.name}.ptr": self.pointer_type(i) for i, o in enumerate(self.operands)}
        params = {p.name: p.dtype for p in kernel.params}
        given, head = [], self.param_lines()
        for k, full in enumerate(named):
            if len(self.operands) <= k < len(self.operands) + len(params):
                given.append((passed(params[full]), f"{argument_name(f'param {full}')}_"))
            elif full in kinds:
                given.append((kinds[full], argument_name(full)))
            else:
                given.append(("long long", f"{argument_name(full)}_"))
                if full in self.arguments_used:
                    head.append(f"  const Index {argument_name(full)} = (Index){argument_name(full)}_;")
        more = ["void* scratch", "int pieces", "int mode"] if self.splits else []
        more += ["Status* status", "long long ticket"] if kernel.checks else []
        given += self.extra
        given_all = [*given, *(tuple(text.rsplit(" ", 1)) for text in more)]
        parts = [f"typedef {'long long' if self.wide else 'int'} Index;", *self.structs]
        parts.append(self.function(given_all, self.finished([*head, *self.lines]), 1 if self.serial else THREADS))
        return Program(
            self.name, frozenset(self.helpers), "\n\n".join(parts), self.mode, self.lanes, self.outer, self.row,
            self.alone, self.serial, self.splits, self.state_bytes, len(kernel.checks), tuple(given),
            len(self.operands) + len(params), self.ranks, self.keep, bool(self.registers),
        )  # fmt: skip

    def finished(self, lines: list[str]) -> list[str]:
        """Without what is named and not used: reads, targets and values need some of the coordinates each."""
        counts = Counter(word for line in lines for word in _WORD.findall(line))
        kept = []
        for line in reversed(lines):
            named = _NAMED.match(line)
            if named and counts[named[1]] == 1:
                counts.subtract(_WORD.findall(line))
            else:
                kept.append(line)
        return kept[::-1]

    @property
    def name(self) -> str:
        """What the function is called."""
        return "facula_" + (re.sub(r"\W", "_", self.kernel.name) or "kernel")

    def write_loops(self) -> None:
        """The body, but for what it takes from arguments."""
        match self.mode:
            case "map":
                self.map_work()
            case "tile":
                self.tile_work()
            case "owner":
                self.owner_work()
            case _:
                self.row_work()

    def param_lines(self) -> list[str]:
        """Params as values of their dtypes."""
        found = []
        for p in self.kernel.params:
            local, t = argument_name(f"param {p.name}"), p.dtype
            if f"param {p.name}" in self.arguments_used:
                source = dt.int64 if t.kind in "bui" else dt.float32 if t.code == "f32" else dt.float64
                found.append(f"  const {register(t)} {local} = {cast(self.use, f'{local}_', source, t)};")
        return found

    def function(self, given: Iterable[tuple[str, ...]], lines: Iterable[str], bound: int) -> str:
        """The text of the function: C++ types and names of what it takes, its lines, the most threads of a block."""
        signature = ",\n    ".join(f"{kind} {local}" for kind, local in given)
        body = "\n".join(lines)
        return f'extern "C" __global__ void __launch_bounds__({bound})\n{self.name}({signature}) {{\n{body}\n}}\n'

    def pointer_type(self, number: int) -> str:
        """Of an operand's address."""
        operand = self.operands[number]
        kind = self.memory(operand.dtype)
        return f"{kind}*" if isinstance(operand, Result) else f"const {kind}*"

    # Maps -------------------------------------------------------------------------------------------------------------

    def _decompose(self, scope: Scope, unit: str, dims: Iterable[int], sizes: dict[int, str] | None = None) -> None:
        """Coordinates from a number; the first dim takes what is left."""
        dims = list(dims)
        for d in reversed(dims[1:]):
            size = (sizes or {}).get(d) or self.argument(f"n{d}")
            rest = self.let("Index", f"{self.use('over')}({unit}, {size})", "u")
            scope.coordinates[d] = self.let("Index", f"{unit} - {rest} * {size}", "i")
            unit = rest
        if dims:
            scope.coordinates[dims[0]] = unit

    def grid_stride(self, units: str) -> str:
        """The loop over units."""
        stride = "(Index)(gridDim.x * blockDim.x)"
        return f"for (Index u = blockIdx.x * blockDim.x + threadIdx.x; u < {units}; u += {stride})"

    def map_work(self) -> None:
        """A thread takes `lanes` elements of the last dim at a time."""
        last, lanes = self.vector_dim, self.lanes
        self.prepare(self.root, self.order)
        chunks = self.argument(f"n{last}")
        if lanes > 1:
            chunks = self.let("Index", f"{self.use('over')}({chunks} + {lanes - 1}, (Index){lanes})", "chunks")
        units = chunks
        if last:
            units = self.let("Index", f"{self.product(range(last))} * {chunks}", "units")
        with self.block(self.grid_stride(units)):
            scope = Scope(self.root)
            self._decompose(scope, "u", range(self.outer), {last: chunks})
            self._lanes_of(scope, last)
            self.prepare(scope, self.order)
            self._elements(scope, self.kernel.results)

    def _lanes_of(self, scope: Scope, dim: int, guard: str = "") -> None:
        """From a chunk's number to its first element, and how many elements it has: none where `guard` is false."""
        if self.lanes == 1:
            return
        first = self.let("Index", f"{scope.coordinates[dim]} * {self.lanes}", "i")
        scope.coordinates[dim] = first
        left = f"{self.argument(f'n{dim}')} - {first}"
        some = f"{left} < {self.lanes} ? (int)({left}) : {self.lanes}"
        self.say(f"const int n = {f'{guard} ? ({some}) : 0' if guard else some};")

    def _elements(self, scope: Scope, results: Iterable[Result], also=None, roots: Iterable[Expr] = ()) -> None:
        """All lanes of a place: what is read, computed (and given to `also`), written."""
        results = list(results)
        wanted = [e for r in results for e in (r.value, r.offset, r.where) if e is not None]
        checks = () if also else self.kernel.checks
        wanted += [e for c in checks for e in (c.holds, c.value)] + list(roots)
        nodes = self.needed(wanted)
        inner = Scope(scope, scope.guard, "k" if self.lanes > 1 else "")
        if self.lanes > 1:
            self.fetched(scope, inner, nodes)
        for r in results:
            self.offset(scope, self.number[r.name])
        for node in nodes:
            if node.op == "load" and scope.find(node) is None and node not in inner.values:
                self.offset(scope, self.number[node.value[0]])
        held = self.hold(scope, inner, results, self.lanes)
        if self.lanes > 1:
            for node in nodes:
                if node.op == "scan":
                    self.scan_lanes(inner, node)
            self.say("#pragma unroll")
            with self.block(f"for (int k = 0; k < {self.lanes}; ++k)"):
                self._one(inner, nodes, checks, held, also)
        else:
            self._one(inner, nodes, checks, held, also)
        self.write(scope, held, self.lanes)

    def _one(self, scope: Scope, nodes: list[Expr], checks, held, also) -> None:
        for node in nodes:
            if node.op == "scan" and scope.find(node) is None:
                self.scan_step(scope, node)
        self.checks(scope, checks)
        if also is not None:
            also(scope)
        self.compute(scope, held)

    def checks(self, scope: Scope, checks: Iterable[Check]) -> None:
        """Notes the first element that breaks a check."""
        for number, check in enumerate(checks):
            holds = self.value(scope, check.holds)
            guard = self.lane_guard(scope)
            with self.block(f"if ({guard} && !{holds})" if guard else f"if (!{holds})"):
                inner = Scope(scope, scope.guard, scope.lane)
                value = self.value(inner, check.value)
                at = "0"
                for d in range(self.dims):
                    here = f"(long long){self.coordinate(inner, d)}"
                    at = here if at == "0" else f"({at} * {self.argument(f'n{d}')} + {here})"
                self.say(f"{self.use('note')}(status, ticket, {number}u, {at}, {value});")

    def tile_work(self) -> None:
        """A block takes a tile of the last two dims: loads that run along the first of them are turned on the way."""
        high, low = self.outer - 2, self.outer - 1
        self.prepare(self.root, self.order)
        across = self.let(
            "Index", f"{self.use('over')}({self.argument(f'n{low}')} + {TILE - 1}, (Index){TILE})", "across"
        )
        down = self.let("Index", f"{self.use('over')}({self.argument(f'n{high}')} + {TILE - 1}, (Index){TILE})", "down")
        before = self.product(range(high))
        units = self.let("Index", f"{before} * down * across".replace("down", down).replace("across", across), "units")
        staged, boxes = self._turned(), {}
        for node in staged:
            boxes[node] = self.fresh("box")
            self.say(f"__shared__ {self.memory(node.dtype)} {boxes[node]}[{TILE}][{TILE + 1}];")
        with self.block("for (Index u = blockIdx.x; u < " + units + "; u += (Index)gridDim.x)"):
            scope = Scope(self.root)
            tile = Scope(None)
            self._decompose(tile, "u", range(self.outer), {low: across, high: down})
            scope.coordinates = {d: at for d, at in tile.coordinates.items() if d < high}
            left = self.let("Index", f"{tile.coordinates[low]} * {TILE}", "left")
            top = self.let("Index", f"{tile.coordinates[high]} * {TILE}", "top")
            size = {low: self.argument(f"n{low}"), high: self.argument(f"n{high}")}
            for node in staged:
                self.offset(scope, self.number[node.value[0]])
            with self.block(f"for (int k = threadIdx.y; k < {TILE}; k += {TILE_ROWS})"):
                reading = Scope(scope)
                reading.coordinates[high] = self.let("Index", f"{top} + (Index)threadIdx.x", "i")
                reading.coordinates[low] = self.let("Index", f"{left} + k", "i")
                inside = " && ".join(f"{reading.coordinates[d]} < {size[d]}" for d in (high, low))
                for node in staged:
                    number = self.number[node.value[0]]
                    element = f"{self.pointer(number)}[{self.offset(reading, number)}]"
                    self.say(f"if ({inside}) {boxes[node]}[threadIdx.x][k] = {element};")
            self.say("__syncthreads();")
            self.prepare(scope, self.order)
            with self.block(f"for (int k = threadIdx.y; k < {TILE}; k += {TILE_ROWS})"):
                element = Scope(scope)
                element.coordinates[high] = self.let("Index", f"{top} + k", "i")
                element.coordinates[low] = self.let("Index", f"{left} + (Index)threadIdx.x", "i")
                inside = " && ".join(f"{element.coordinates[d]} < {size[d]}" for d in (high, low))
                with self.block(f"if ({inside})"):
                    for node in staged:
                        one = f"{boxes[node]}[k][threadIdx.x]"
                        element.values[node] = f"({one} != 0)" if node.dtype.kind == "b" else one
                    self._elements(element, self.kernel.results)
            self.say("__syncthreads();")

    def owner_work(self) -> None:
        """Writes that may meet, in order: each thread walks over everything and writes the elements that are its own.

        An element belongs to the thread that its address names, so the order of writes to it is that of one thread.
        """
        last = self.outer - 1
        self.prepare(self.root, self.order)
        self.say("const unsigned threads = gridDim.x * blockDim.x, me = blockIdx.x * blockDim.x + threadIdx.x;")
        if self.kernel.checks:
            with self.block("if (me == 0)"):
                size = self.product(range(self.outer))
                with self.block(f"for (Index u = 0; u < {size}; ++u)"):
                    scope = Scope(self.root)
                    self._decompose(scope, "u", range(self.outer))
                    self.checks(scope, self.kernel.checks)
        for i, r in enumerate(self.kernel.results):
            t = self.operands[i].dtype
            before = self.product(range(last))
            with self.block(f"for (Index u = 0; u < {before}; ++u)"):
                scope = Scope(self.root)
                self._decompose(scope, "u", range(last))
                self.prepare(scope, self.needed(e for e in (r.value, r.offset, r.where) if e is not None))
                steady = r.offset is None or not self.bits[r.offset] >> last & 1
                side = steady and self.letter(i, last) == CONTIGUOUS
                n, item = self.argument(f"n{last}"), t.itemsize

                def owner(at: str) -> str:
                    address = f"(unsigned long long)({self.pointer(i)} + {at})"  # noqa: B023
                    return f"(unsigned)({address} / {item}) & (threads - 1u)"  # noqa: B023

                if side:  # the own ones are `threads` apart
                    offset = "" if r.offset is None else self.value(scope, r.offset)
                    first = self.let("unsigned", owner(f"({self.place(scope, i, offset)})"), "first")
                    head = f"for (Index j = (Index)((me - {first}) & (threads - 1u)); j < {n}; j += (Index)threads)"
                else:
                    head = f"for (Index j = 0; j < {n}; ++j)"
                with self.block(head):
                    inner = Scope(scope)
                    inner.coordinates[last] = "j"
                    offset = "" if r.offset is None else self.value(inner, r.offset)
                    mine = "" if side else f"({owner(f'({self.place(inner, i, offset)})')}) == me"
                    with self.block(f"if ({mine})" if mine else ""):
                        own = Scope(inner)
                        held = self.hold(own, own, [r], 1)
                        self.compute(own, held)
                        self.write(own, held, 1)

    # Rows -------------------------------------------------------------------------------------------------------------

    def row_work(self) -> None:
        """Threads side by side (or, of columns, one above the other) share a row; a block has several rows."""
        member, mine = ("threadIdx.x", "y") if self.mode == "row" else ("threadIdx.y", "x")
        self.prepare(self.root, self.order)
        rows = self.product(range(self.outer))
        if self.outer > 1:
            rows = self.let("Index", rows, "rows")
        self.rows = rows
        self.say(f"const int member = {member};")
        self.size = "(int)blockDim.x" if self.mode == "row" else "(int)blockDim.y"
        self.say(f"const int size = {self.size};")
        with self.block(self.row_loop(rows, mine)):
            row = self.let("Index", f"top + (Index)threadIdx.{mine}", "row")
            live = self.let("bool", f"{row} < {rows}", "live")
            scope = Scope(self.root, guard=live)
            self._decompose(scope, row, range(self.outer))
            self.row_name = row
            loaded = {n.value[0] for n in self.order if n.op == "load" and scope.find(n) is None}
            for number, operand in enumerate(self.operands):
                if isinstance(operand, Result) or operand.name in loaded:
                    self.offset(scope, number)
            self._rows(scope)

    def row_loop(self, rows: str, mine: str) -> str:
        """The loop over rows, as many at a time as the grid has."""
        stride = f"(Index)(gridDim.x * blockDim.{mine})"
        return f"for (Index top = blockIdx.x * blockDim.{mine}; top < {rows}; top += {stride})"

    def _rows(self, scope: Scope) -> None:
        """All passes over the row at `scope`, then its results."""
        reductions = [n for n in self.order if n.op == "reduce"]
        self.prepare(scope, self.order)
        if self.registers:
            self._read_kept(scope)
        last = max((self.rank[r] for r in reductions), default=0)
        with ExitStack() as inside:
            for rank in range(1, last + 1):
                self.reduce_pass(scope, [r for r in reductions if self.rank[r] == rank])
                if self.again:  # a launch that leaves states is done
                    inside.enter_context(self.block(f"if (mode != {rank})"))
                if self.again or not self.splits:
                    self.prepare(scope, self.order)
            self._results(scope)

    def _results(self, scope: Scope) -> None:
        """What is one element a place of the row, then what is one a row."""
        kernel = self.kernel
        ranks = self.ranks if self.scans else 0
        elements = [r for r in kernel.results if not r.per_row]
        if elements or kernel.checks:
            wanted = [e for r in elements for e in (r.value, r.offset, r.where) if e is not None]
            wanted += [e for c in kernel.checks for e in (c.holds, c.value)]
            for rank in range(1, ranks + 1):
                with self.block(f"if (mode == {rank})"):
                    self.piece_pass(Scope(scope, scope.guard), rank)
            with self.block("if (mode == 0)") if ranks else nullcontext():
                own, nodes = Scope(scope, scope.guard) if ranks else scope, self.needed(wanted)
                self.start_scans(own, nodes)
                inner, loop = self._units(own, nodes)
                if ahead := self._read_ahead(nodes, elements, kernel.checks):
                    self._pass_ahead(
                        inner, nodes, ahead, (f"{self.first} + member", self.end),
                        lambda one: self._elements(one, elements),
                    )  # fmt: skip
                else:
                    with self.over_units(loop):
                        self._unit(inner)
                        self.prepare(inner, nodes)
                        self._elements(inner, elements)
        self._row_results(scope)

    def _ahead(self, nodes: Iterable[Expr], loads: int = 1) -> int:
        """How many elements, of those that come one at a time, a thread has under way in a pass."""
        if self.lanes > 1 or self.in_step or self.serial:
            return 1
        work = sum(self.bits[x] >> self.vector_dim & 1 for x in nodes)
        return min(AHEAD, 2 * AHEAD // max(1, loads), MOST_WORK // max(1, work))

    def _read_ahead(
        self, nodes: list[Expr], results: Iterable[Result] = (), checks: Iterable[Check] = ()
    ) -> list[Expr]:  # fmt: skip
        """Loads that a pass does for some elements before it goes on: by itself the compiler waits for each."""
        plain = all(r.combine == "set" and r.offset is None and r.where is None for r in results)
        loads = [x for x in nodes if x.op == "load" and self.bits[x] >> self.vector_dim & 1]
        if not plain or tuple(checks) or any(x.value[1] or x.value[2] for x in loads):
            return []
        return loads if self._ahead(nodes, len(loads)) > 1 else []

    def _pass_ahead(
        self, scope: Scope, nodes: list[Expr], loads: list[Expr], units: tuple[str, str], body: Callable[[Scope], None]
    ) -> None:  # fmt: skip
        """A pass over units from one on to the end that reads some elements, then does with them what `body` writes."""
        count, names = self._ahead(nodes, len(loads)), {node: self.fresh("x") for node in loads}
        begin, end = units
        each = f"for (int j = 0; j < {count}; ++j) if (const Index u = base + (Index)j * size; u < {end})"
        with self.block(f"for (Index base = {begin}; base < {end}; base += (Index){count} * size)"):
            for node, name in names.items():
                self.say(f"{self.memory(node.dtype)} {name}[{count}];")
            self.say("#pragma unroll")
            with self.block(each):
                reading = Scope(scope)
                self._unit(reading)
                for node, name in names.items():
                    number = self.number[node.value[0]]
                    place = self.place(reading, number)
                    self.say(f"{name}[j] = {self.pointer(number)}[{place}];")
            self.say("#pragma unroll")
            with self.block(each):
                working = Scope(scope)
                self._unit(working)
                for node, name in names.items():
                    working.values[node] = f"({name}[j] != 0)" if node.dtype.kind == "b" else f"{name}[j]"
                self.prepare(working, nodes)
                body(working)

    def piece_pass(self, scope: Scope, rank: int) -> None:
        """The states of a piece's elements for the scans of one rank."""
        scans = [x for x in self.order if x.op == "scan" and self.scan_rank[x] == rank]
        nodes = self.needed([a for x in scans for a in x.args])
        self.start_scans(scope, nodes)
        states = {}
        for x in scans:
            states[x] = self.fresh("state")
            self.say(f"{self.scan_struct(x)} {states[x]};")
            self.say(f"start({states[x]});")
        inner, loop = self._units(scope, nodes)

        def also(one: Scope) -> None:
            lines = []
            for x, state in states.items():
                lines += update(state_of(x, 0), state, [self.value(one, a) for a in x.args], "", self.use)
            guard = self.lane_guard(one)
            with self.block(f"if ({guard})") if guard else nullcontext():
                for line in lines:
                    self.say(line)

        with self.block(loop):
            self._unit(inner)
            self.prepare(inner, nodes)
            self._elements(inner, (), also, [a for x in scans for a in x.args])
        for x, state in states.items():
            if not self.alone:
                self.say(f"{self.use('together')}({state}, size);")
            kept = self.kept(x, self.scan_struct(x), "blockIdx.y")
            self.say(f"if ({scope.guard} && member == 0) {kept} = {state};")

    def _row_results(self, scope: Scope) -> None:
        """Writes what is one element a row."""
        per_row = [r for r in self.kernel.results if r.per_row]
        if not per_row:
            return
        mode = " && blockIdx.y == 0" if self.again else " && mode != 1" if self.splits else ""
        with self.block(f"if ({scope.guard} && member == 0{mode})"):
            inner = Scope(scope, guard="")
            held = self.hold(inner, inner, per_row, 1)
            self.compute(inner, held)
            self.write(inner, held, 1)

    def _units(self, scope: Scope, nodes: list[Expr]) -> tuple[Scope, str]:
        """The scope inside of the loop over a row's units, and the head of the loop."""
        last = self.dims - 1
        chunks = self.argument(f"n{last}")
        if self.lanes > 1:
            chunks = self.let(
                "Index", f"{self.use('over')}({chunks} + {self.lanes - 1}, (Index){self.lanes})", "chunks"
            )
        before = [self.argument(f"n{d}") for d in range(self.outer, last)]
        units = " * ".join([*before, chunks])
        scans = any(n.op == "scan" for n in nodes)
        self.chunks = chunks
        inner = Scope(scope, guard="")
        first, end = "0", units
        if self.splits:
            each = f"{self.use('over')}({units} + pieces - 1, (Index)pieces)"
            share = self.let("Index", f"pieces == 1 ? {units} : {each}" if self.again else each, "share")
            first = self.let("Index", f"(Index)blockIdx.y * {share}", "first")
            end = self.let("Index", f"{units} - {first} < {share} ? {units} : {first} + {share}", "end")
        if scans:  # all threads of a block take part in every step
            self.whole = end if self.splits else self.let("Index", units, "whole")
            head = f"for (Index base = {first}; base < {self.whole}; base += (Index)size)"
            inner.guard = "here"
        else:
            end = self.let("Index", f"{scope.guard} ? {end} : 0", "end")
            head = f"for (Index u = {first} + member; u < {end}; u += (Index)size)"
            if self.registers:
                head = f"for (int j = 0; j < {self.keep}; ++j) if (const Index u = member + j * size; u < {end})"
        self.first, self.end, self.in_step = first, end, scans
        return inner, head

    @contextmanager
    def over_units(self, head: str) -> Iterator[None]:
        """The loop over a row's units."""
        if self.registers:  # registers have no index
            self.say("#pragma unroll")
        with self.block(head):
            yield

    def _read_kept(self, scope: Scope) -> None:
        """The units of the row that this thread keeps."""
        for node, name in self.registers.items():
            self.say(f"{self.memory(node.dtype)} {name}[{self.keep}][{self.lanes}];")
        inner, loop = self._units(scope, [])
        with self.over_units(loop):
            self._unit(inner)
            for node, name in self.registers.items():
                self.read_lanes(inner, node, f"{name}[j]")

    def _unit(self, inner: Scope) -> None:
        """Coordinates of the unit."""
        if self.in_step:
            assert inner.parent is not None
            self.say("const Index u = base + (Index)member;")
            self.say(f"const bool here = {inner.parent.guard} && u < {self.whole};")
        dims = range(self.outer, self.dims)
        self._decompose(inner, "u", dims, {self.dims - 1: self.chunks})
        self._lanes_of(inner, self.dims - 1, inner.guard if self.in_step else "")

    def reduce_pass(self, scope: Scope, reductions: list[Expr]) -> None:
        """One pass over the row that finishes `reductions`."""
        states = [state_of(r, k) for k, r in enumerate(reductions)]
        kind, state = self.struct(states), self.fresh("state")
        before = self.state_bytes
        if self.splits:
            self.state_bytes += state_bytes(states)
        rank = self.rank[reductions[0]]
        own = f"pieces == 1 || mode == {rank}" if self.again else "mode != 2"
        self.say(f"{kind} {state};")
        self.say(f"start({state});")
        nodes = self.needed([a for r in reductions for a in r.args])
        self.start_scans(scope, nodes)
        with self.block(f"if ({own})") if self.splits else nullcontext():
            inner, loop = self._units(scope, nodes)
            parts = {s: self.fresh("part") for s in states if s.part}

            def also(one: Scope) -> None:
                guard = self.lane_guard(one)
                lines = []
                for s in states:
                    values = [self.value(one, a) for a in s.node.args]
                    position = f"(long long){self.position(one)}" if s.kind.startswith("arg") else ""
                    lines += update(s, parts.get(s, state), values, position, self.use)
                if guard:
                    with self.block(f"if ({guard})"):
                        for line in lines:
                            self.say(line)
                else:
                    for line in lines:
                        self.say(line)

            ahead = self._read_ahead(nodes)

            def sweep(head: str, begin: str, end: str) -> None:
                roots = [a for r in reductions for a in r.args]
                if ahead:
                    self._pass_ahead(
                        inner, nodes, ahead, (begin, end), lambda one: self._elements(one, (), also, roots)
                    )  # fmt: skip
                    return
                with self.over_units(head):
                    self._unit(inner)
                    self.prepare(inner, nodes)
                    self._elements(inner, (), also, roots)

            whole = loop, f"{self.first} + member", self.end
            if parts and not self.in_step and not self.registers:
                far = f"(Index){max(1, PART // self.lanes)} * size"
                with self.block(f"for (Index block = {self.first} + member; block < {self.end}; block += {far})"):
                    for part in parts.values():
                        self.say(f"float {part} = -0.0f;")
                    stop = self.let("Index", f"{self.end} - block < {far} ? {self.end} : block + {far}", "stop")
                    sweep(f"for (Index u = block; u < {stop}; u += (Index)size)", "block", stop)
                    for s, part in parts.items():
                        self.say(f"{state}.{s.fields[0][0]} += (double){part};")
            elif parts:
                with self.block(""):
                    for part in parts.values():
                        self.say(f"float {part} = -0.0f;")
                    sweep(*whole)
                    for s, part in parts.items():
                        self.say(f"{state}.{s.fields[0][0]} += (double){part};")
            else:
                sweep(*whole)
        if self.splits:
            self._join_pieces(scope, kind, state, before)
        if not self.alone:
            self.say(f"{self.use('together' if self.mode == 'row' else 'stacked')}({state}, size);")
        if self.splits:
            with self.block(f"if (mode == {rank} && {scope.guard} && member == 0)"):
                self.say(f"{self._piece(kind, 'blockIdx.y', before)} = {state};")
        for s in states:
            self._finish(scope, s, state)

    def _piece(self, kind: str, piece: str, before: int) -> str:
        """The state of a piece of this row, in scratch memory: behind those of passes with so many bytes a piece."""
        start = f"((char*)scratch + (size_t)pieces * {self.rows} * {before})" if before else "scratch"
        return f"(({kind}*){start})[(size_t){piece} * {self.rows} + {self.row_name}]"

    def _join_pieces(self, scope: Scope, kind: str, state: str, before: int) -> None:
        """The states of pieces join."""
        with self.block(f"else if ({scope.guard})" if self.again else f"if (mode == 2 && {scope.guard})"):
            with self.block("for (int piece = member; piece < pieces; piece += size)"):
                self.say(f"join({state}, {self._piece(f'const {kind}', 'piece', before)});")

    def _finish(self, scope: Scope, s: State, state: str) -> None:
        """The result of a reduction, after the row."""
        first = f"{state}.{s.fields[0][0]}"
        if s.kind == "cprod":
            scope.values[s.node] = name = self.fresh("pair")
            self.parts[name] = (first, f"{state}.{s.fields[1][0]}")
            return
        if s.kind.startswith("arg"):
            scope.values[s.node] = f"{state}.{s.fields[1][0]}"
            return
        if s.kind == "sum" and s.total.kind == "f":  # of no elements 0, not the -0 that sums start from
            t = register(s.node.dtype)
            scope.values[s.node] = self.let(t, f"{self.row_count()} > 0 ? ({t}){first} : ({t})0")
            return
        scope.values[s.node] = first
