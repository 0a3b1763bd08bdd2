"""Writes that may meet, sorted: the targets of all elements in order, then each run of equal ones by its own threads.

The dims of a kernel fall into those that decide the target (`places`) and those along which elements lie apart in the
result whatever the target. A stable sort of (target, place) puts the places of each target side by side, in the order
of rows; threads over runs and over the dims apart add them in that order, so results are deterministic. Of a run of
`PIECE` places or more, pieces are summed first, each from zero, and then added in order; so are products and extremes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache as remembered
from math import gcd, prod
from typing import Any

from facula.codegen import prepare
from facula.codegen.dims import Dims
from facula.core import dtype as dt
from facula.ir import expr as ir
from facula.ir.expr import Expr
from facula.ir.kernel import BROADCAST, CONTIGUOUS, STRIDED, Access, Kernel, Param, Result, arguments, known_step

from .. import driver, launcher
from ..functions import function
from ..texts import schedule
from ..texts.emit import THREADS, Nest, Program
from ..texts.operations import FUNCTIONS, cast, join
from ..texts.reductions import nothing
from ..texts.types import literal, register
from ..texts.values import Scope
from . import sort, sort_texts

__all__ = ["Segments", "may_sort", "segment_program", "variants"]

PIECE = 256  # places
AHEAD = 4  # places whose values are read at once
# What sorting costs, in steps of one thread that reads, adds and writes (about a microsecond each).
SORT_STEPS = 64
PLACES_A_STEP = 1 << 15  # places that are sorted in the time of such a step
ROWS_AT_ONCE = 1 << 18  # threads that a GPU has, about
SUMS, RESULTS = range(2)  # what a launch does


# What can be sorted ---------------------------------------------------------------------------------------------------


@remembered
def may_sort(kernel: Kernel, access: Access) -> bool:
    """Whether the only thing that a kernel does is to write to offsets that may meet."""
    if len(kernel.results) != 1 or kernel.checks:
        return False
    (r,) = kernel.results
    if r.dtype.kind == "c" and r.combine == "mul":  # parts join by themselves here
        return False
    if r.offset is None or r.per_row or kernel.uses("reduce", "scan", "row_index", "count"):
        return False
    if any(node.op in ("index", "extent") for node in ir.walk(*_targets_of(r))):
        return False
    if not access.row:
        return not kernel.disjoint
    return kernel.disjoint  # within a row


def _targets_of(r: Result) -> list[Expr]:
    """What decides where an element is written."""
    return [e for e in (r.offset, r.where) if e is not None]


@remembered
def all_apart(kernel: Kernel, access: Access) -> frozenset[int]:
    """The dims along which neither target nor condition vary."""
    dims, (r,) = Dims(kernel, access), kernel.results
    varies = 0
    for e in _targets_of(r):
        varies |= dims.bits[e]
    found = [d for d in range(dims.dims if not access.row else access.outer) if not varies >> d & 1]
    return frozenset(d for d in found if dims.letter(0, d) != BROADCAST)


def _divisor(e: Expr, params: dict[str, int]) -> int:
    """A number that divides every value of an expression of integers; 0 where it is always 0."""
    match e.op:
        case "const":
            return abs(int(e.value))
        case "param":
            return abs(int(params[e.value]))
        case "mul":
            return _divisor(e.args[0], params) * _divisor(e.args[1], params)
        case "add" | "sub":
            return gcd(_divisor(e.args[0], params), _divisor(e.args[1], params))
        case "select":
            return gcd(_divisor(e.args[1], params), _divisor(e.args[2], params))
        case "neg":
            return _divisor(e.args[0], params)
    return 1


def _fill_no_gap(steps: Sequence[tuple[int, int]], most: int) -> bool:
    """Whether (size, step) pairs name each offset once, and none from `most` on."""
    reach = 0
    for step, n in sorted((step, n) for n, step in steps if n > 1):
        if step <= reach:
            return False
        reach += (n - 1) * step
    return reach < most


# The texts ------------------------------------------------------------------------------------------------------------


class SegmentNest(Nest):
    """The loops of one kernel over runs of equal targets."""

    def __init__(self, kernel: Kernel, access: Access, apart: frozenset[int], wide: bool, size: int, short: bool):
        super().__init__(prepare(kernel, FUNCTIONS), access, wide)
        self.mode, self.lanes, self.serial, self.splits = "sorted", 1, False, False
        self.apart = sorted(apart)
        self.deciding = [d for d in range(self.dims) if d not in apart]
        self.size, self.short = size, short
        key = "unsigned long long" if size == 8 else "unsigned"
        self.structs.append(f"typedef {key} Key;\ntypedef {'long long' if short else 'unsigned'} Place;")
        self.extra = [("const Key*", "keys"), ("const Place*", "sorted"), ("const int*", "turn"), ("void*", "sums"),
                      ("int", "mode")]  # fmt: skip

    def write_loops(self) -> None:
        """A thread takes a place in order and an element of the dims apart."""
        (r,) = self.kernel.results
        self.prepare(self.root, self.order)
        places, across, j, t = self.let("Index", self.product(self.deciding), "places"), "1", "u", "0"
        if self.apart:
            across = self.let("Index", self.product(self.apart), "across")
        if not self.short:
            self.say(f"if (*turn) keys += {places}, sorted += {places};")
        with self.block(self.grid_stride(f"{places} * {across}")):
            scope = Scope(self.root)
            if self.apart:
                j = self.let("Index", f"{self.use('over')}(u, {across})", "j")
                t = self.let("Index", f"u - {j} * {across}", "t")
                self._decompose(scope, t, self.apart)
            self.say(f"const Key key = keys[{j}];")
            with self.block("if (key != ~(Key)0)"):
                if r.combine == "set":
                    with self.block(f"if ({j} == {places} - 1 || keys[{j} + 1] != key)"):
                        inner = self._at(scope, j)
                        held = self.hold(inner, inner, [replace(r, where=None)], 1)  # keys leave the others out
                        self.compute(inner, held)
                        self.say(f"{self._element(inner, held[0].offset)} = {held[0].name};")
                else:
                    self._sum_of_run(scope, r, places, across, j, t)

    def _at(self, scope: Scope, place: str) -> Scope:
        """The element of a place, which `sorted` names."""
        inner = Scope(scope)
        self._decompose(inner, self.let("Index", f"(Index)sorted[{place}]", "p"), self.deciding)
        return inner

    def _element(self, scope: Scope, offset: str) -> str:
        """The result's element."""
        return f"{self.pointer(0)}[{self.place(scope, 0, offset)}]"

    def _sum_of_run(self, scope: Scope, r: Result, places: str, across: str, j: str, t: str) -> None:
        """The sum of a piece; or what is there, with the sums of the run's pieces and the places behind them."""
        assert r.offset is not None
        paired = r.value.op == "complex"
        values = r.value.args if paired else (r.value,)
        stored, own = r.dtype.to_real() if paired else r.dtype, values[0].dtype
        wide = dt.float32 if own in dt.STORED_ONLY else own
        kind, fields = register(wide), (".re", ".im") if paired else ("",)
        totals = [self.fresh("total") for _ in values]
        sums = [f"(({kind}*)sums)[(k / {PIECE} * {across} + {t}) * {len(values)} + {n}]" for n in range(len(values))]
        for total in totals:
            self.say(f"{kind} {total} = {literal(nothing(r.combine, wide), wide)};")
        self.say(f"Index k = {j}, stop = {j};")
        self.say(f"bool whole = {places} - {j} >= {PIECE} && keys[{j} + {PIECE - 1}] == key;")
        with self.block(f"if (mode == {SUMS})"), self.block("if (whole)"):
            self.say(f"Index low = 0, high = {j};  // to where the run begins")
            with self.block("while (low < high)"):
                self.say("const Index middle = low + ((high - low) >> 1);")
                self.say("if (keys[middle] < key) low = middle + 1;")
                self.say("else high = middle;")
            self.say(f"if (({j} - low) % {PIECE} == 0) stop = {j} + {PIECE};")
        with self.block(f"else if ({j} == 0 || keys[{j} - 1] != key)"):
            inner = self._at(scope, j)
            at = self._element(inner, self.value(inner, r.offset))
            for total, field in zip(totals, fields):
                self.say(f"{total} = {cast(self.use, f'{at}{field}', stored, wide)};")
            with self.block("while (whole)"):
                for total, one in zip(totals, sums):
                    self.say(f"{total} = {join(self.use, r.combine, wide, total, one)};")
                self.say(f"k += {PIECE};")
                self.say(f"whole = {places} - k >= {PIECE} && keys[k + {PIECE - 1}] == key;")
            self.say(f"stop = {places};")
        self.say(f"const bool live = stop > {j};")
        self.say("bool more = k < stop && keys[k] == key;")
        with self.block("while (more)"):
            self.say("#pragma unroll")
            with self.block(f"for (int i = 0; i < {AHEAD}; ++i)"):
                # Behind the run a place in it is read again, so that no read waits for a condition.
                self.say("const bool here = k + i < stop && keys[k + i < stop ? k + i : k] == key;")
                inner = self._at(scope, "here ? k + i : k")
                for total, value in zip(totals, values):
                    found = cast(self.use, self.value(inner, value), own, wide)
                    self.say(f"if (here) {total} = {join(self.use, r.combine, wide, total, found)};")
                self.say("more = here;")
            self.say(f"k += {AHEAD};")
            self.say("more = more && k < stop;")
        with self.block(f"if (live && mode == {SUMS})"):
            self.say(f"k = {j};")
            for total, one in zip(totals, sums):
                self.say(f"{one} = {total};")
        with self.block("else if (live)"):
            inner = self._at(scope, j)
            at = self._element(inner, self.value(inner, r.offset))
            for total, field in zip(totals, fields):
                self.say(f"{at}{field} = {cast(self.use, total, wide, stored)};")


def segment_program(
    kernel: Kernel, access: Access, apart: frozenset[int], wide: bool, size: int, short: bool
) -> Program:
    """The text for keys of `size` bytes; `short`: places are int64."""
    return SegmentNest(kernel, access, apart, wide, size, short).program()


def variants(kernel: Kernel, access: Access, wide: bool) -> Iterator[Program]:
    """Texts that calls of a kernel may ask for: some of each kind."""
    if may_sort(kernel, access):
        for number, apart in enumerate({frozenset(), all_apart(kernel, access)}):
            yield segment_program(kernel, access, apart, wide, 8 if number else 4, bool(number))


@remembered
def _targets(kernel: Kernel, size: int, dims: tuple[int, ...], placed: bool) -> Kernel:
    """The key of each place, over the dims that decide it: the target's offset over a divisor; all ones: no target."""
    (r,) = kernel.results
    assert r.offset is not None
    t, at, place = dt.uint64 if size == 8 else dt.uint32, r.offset, ir.const(0, dt.int64)
    for k in range(len(dims)):
        at = at + ir.index(k) * ir.param(f"step of {k}", dt.int64)
        place = place * ir.extent(k) + ir.index(k)
    key = ir.cast(ir.truncdiv(at, ir.param("divisor", dt.int64)), t)
    if r.where is not None:
        key = ir.select(r.where, key, ir.const((1 << 8 * size) - 1, t))
    used = {n.value[0] for n in ir.walk(key) if n.op == "load"}
    named = {n.value for n in ir.walk(key) if n.op == "param"}
    params = [p for p in kernel.params if p.name in named]
    params += [Param(f"step of {k}", dt.int64) for k in range(len(dims))] + [Param("divisor", dt.int64)]
    results = [Result("target key", t, key)]
    if placed:
        results.append(Result("target place", dt.uint32, ir.cast(place, dt.uint32)))
    inputs = tuple(i for i in kernel.inputs if i.name in used)
    return Kernel(f"{kernel.name}_targets", inputs, tuple(results), tuple(params))


# Launches -------------------------------------------------------------------------------------------------------------


class Segments:
    """Sorted writes of one kernel."""

    def __init__(self, kernel: Kernel, access: Access, compile: Callable):
        self.kernel, self.access, self.compile = kernel, access, compile
        self.names = arguments(kernel, access)
        self.apart = all_apart(kernel, access)
        self.dims = access.outer + access.row
        self.heads = len(kernel.operands)

    def pays(self, sizes: Sequence[int]) -> bool:
        """Whether sorting costs less than one thread after the other, by sizes alone."""
        places = prod(n for d, n in enumerate(sizes) if d not in self.apart)
        steps = places
        if self.access.row:
            rows = prod(sizes[: self.access.outer])
            steps = prod(sizes[self.access.outer :]) * max(1, rows // ROWS_AT_ONCE)
        return 1 < places < 1 << 32 and steps > SORT_STEPS + places // PLACES_A_STEP

    def parts(self, numbers: tuple, words: Sequence[launcher.Word], room: launcher.Room) -> list[launcher.Part]:
        """The launches for params, sizes and strides; `words` are how the arguments come."""
        kernel, access = self.kernel, self.access
        given = dict(zip(self.names[self.heads :], numbers))
        sizes = [given[f"n{d}"] for d in range(self.dims)]

        def step(name: str, letters: str, d: int) -> int:
            known = known_step(access.outer, access.row, letters, d)
            return given[f"{name}.s{d}"] if known is None else known

        (r,) = kernel.results
        assert r.offset is not None
        factor = _divisor(r.offset, given)
        steps = [step(r.name, access.inner[0], d) for d in range(self.dims)]

        def divisor(dims: Iterable[int]) -> int:
            return gcd(factor, *(steps[d] for d in dims if sizes[d] > 1)) or 1

        apart = frozenset(d for d in self.apart if steps[d] or sizes[d] == 1)
        deciding = [d for d in range(self.dims) if d not in apart]
        if not access.row and not _fill_no_gap([(sizes[d], steps[d]) for d in apart], divisor(deciding)):
            apart, deciding = frozenset(), list(range(self.dims))
        by, places = divisor(deciding), prod(sizes[d] for d in deciding)
        across = prod(sizes) // places
        # No target is behind the end of memory; all ones are none.
        most = driver.gpu().memory // r.dtype.itemsize // by + 2
        passes, short = (most.bit_length() + 7) // 8, places <= sort_texts.HELD[8]
        size = 8 if short or passes > 4 else 4
        targets = _targets(kernel, size, tuple(deciding), not short)
        letters, own = [], dict(given)
        for o in targets.operands:
            if isinstance(o, Result):
                strides = [prod(sizes[e] for e in deciding[k + 1 :]) for k in range(len(deciding))]
            else:
                number = kernel.operands.index(o)
                strides = [step(o.name, access.inner[number], d) for d in deciding]
                own[f"{o.name}.ptr"] = words[number]
            own.update({f"{o.name}.s{k}": s for k, s in enumerate(strides)})
            letters.append({1: CONTIGUOUS, 0: BROADCAST}.get(strides[-1], STRIDED))
        own.update({f"n{k}": sizes[d] for k, d in enumerate(deciding)})
        own.update({f"step of {k}": steps[d] for k, d in enumerate(deciding)}, divisor=by)
        how = Access(len(deciding), 0, tuple(letters))
        code = self.compile(targets, how)

        def fill(keys: launcher.Word, order: launcher.Word, *_: int) -> list[launcher.Part]:
            """What writes the key of each place."""
            own["target key.ptr"], own["target place.ptr"] = keys, order
            taken = [own[name] for name in arguments(targets, how)]
            return code.parts(tuple(taken[code.head :]), taken, room)

        if short:
            before, keys, order = (room.take(8 * places) for _ in range(3))
            made = fill(before, order)
            rows = keys, order, before, 1, places, 1, 0, places
            made += sort.parts(dt.uint64, *rows, "order", False, room)
            turn: Any = 0
        else:
            made, (keys, order, turn) = sort.in_order(1, places, size, passes, room, fill)
            turn = turn.later(4 * passes)
        item = 16 if r.dtype.kind == "c" else 8
        sums = (places // PIECE + 1) * across * item if r.combine != "set" and places >= PIECE else 0
        where = room.take(sums) if sums else 0
        wide = not schedule.narrow(kernel, access, numbers[self.names.index("n0") - self.heads :])
        text = function(segment_program, kernel, access, apart, wide, size, short)
        grid = min(schedule.MOST_BLOCKS, -(-places * across // THREADS)), 1
        for mode in (SUMS, RESULTS):
            if sums or mode == RESULTS:
                made.append(text.part(grid, (THREADS, 1), *words, keys, order, turn, where, mode))
        return made
