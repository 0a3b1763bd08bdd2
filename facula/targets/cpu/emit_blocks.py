"""The states of the reductions of one pass over a row: one for each loop width, exact totals, scratch memory."""

from typing import TYPE_CHECKING

from facula.core import dtype as dt
from facula.ir.expr import Expr

from . import emit_reduce as red
from .emit_code import register, vector
from .emit_ops import cast, constant, select
from .emit_values import Scope

if TYPE_CHECKING:
    from .emit_nest import Nest

__all__ = ["Blocks"]


class Blocks:
    """The states of the reductions of one pass: one for each loop width; float sums also have a total over blocks."""

    def __init__(self, nest: "Nest", reductions: list[Expr], widths: list[int]):
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
