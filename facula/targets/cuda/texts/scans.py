"""Scans of one kernel as C++ statements: steps that all threads of a block take together, and rows in pieces.

A scan carries the state of what is before. Of a row in pieces each piece leaves the state of its own elements in
scratch memory first, a launch for each rank of scans (a scan of a scan is of rank 2); the last launch starts from the
states of the pieces before.
"""

from collections.abc import Callable, Iterable

from facula.ir.expr import Expr
from facula.ir.kernel import Access, Kernel

from .operations import cast
from .reductions import State, scan_dtype, state_of, structure
from .types import register
from .values import Scope, Values

__all__ = ["Scans", "state_bytes"]


def state_bytes(states: list[State]) -> int:
    """The bytes of a struct of `reductions.structure`."""
    at = 0
    for s in states:
        for _, t, _ in s.fields:
            size = t.itemsize
            at = (at + size - 1) // size * size + size
    return (at + 7) // 8 * 8


class Scans(Values):
    """The scans of one kernel."""

    def __init__(self, kernel: Kernel, access: Access):
        super().__init__(kernel, access)
        self.structs: list[str] = []
        self.rows = self.row_name = self.whole = ""
        self.splits = self.alone = False
        # Of each scan: its rank, its state, struct and what it has come to, and where states of pieces lie.
        self.scan_rank: dict[Expr, int] = {}
        for node in self.order:
            below = max((self.scan_rank[a] for a in node.args), default=0)
            self.scan_rank[node] = below + (node.op == "scan")
        self.carried: dict[Expr, tuple[State, str, str]] = {}
        self.scan_structs: dict[Expr, str] = {}
        self.scan_bytes: dict[Expr, int] = {}
        at = 0
        for node in self.order:
            if node.op == "scan":
                self.scan_bytes[node] = at
                at += state_bytes([state_of(node, 0)])
        self.all_scan_bytes = at

    def struct(self, states: list[State]) -> str:
        """The name of a new struct with these states."""
        name = f"State{len(self.structs)}"
        self.structs.append(structure(name, states, self.use))
        return name

    def scan_struct(self, node: Expr) -> str:
        """The name of a scan's struct."""
        if node not in self.scan_structs:
            self.scan_structs[node] = self.struct([state_of(node, 0)])
        return self.scan_structs[node]

    def start_scans(self, scope: Scope, nodes: Iterable[Expr]) -> None:
        """What the scans of one pass have come to so far: with pieces, the states of those before."""
        self.carried = {}
        for node in nodes:
            if node.op == "scan":
                kind, name = self.scan_struct(node), self.fresh("carry")
                self.say(f"{kind} {name};")
                self.say(f"start({name});")
                self.carried[node] = state_of(node, 0), kind, name
                if self.splits:
                    self._recall(scope, node, kind, name)

    def _recall(self, scope: Scope, node: Expr, kind: str, name: str) -> None:
        with self.block("if (pieces > 1)"):
            with self.block("for (int piece = member; piece < (int)blockIdx.y; piece += size)"):
                self.say(f"if ({scope.guard}) join({name}, {self.kept(node, kind, 'piece')});")
            if not self.alone:
                self.say(f"{self.use('together')}({name}, size);")

    def kept(self, node: Expr, kind: str, piece: str) -> str:
        """The state of a piece of this row, in scratch memory."""
        all_rows = f"(size_t)pieces * {self.rows}"
        above = f" + {all_rows} * {self.scan_bytes[node]}" if self.scan_bytes[node] else ""
        return f"(({kind}*)((char*)scratch{above}))[(size_t){piece} * {self.rows} + {self.row_name}]"

    def scan_values(self, scope: Scope, node: Expr) -> list[str]:
        """An element's values as the scan's state has them."""
        own, wide = node.args[0].dtype, scan_dtype(node)
        return [cast(self.use, self.value(scope, a), own, wide) for a in node.args]

    def scan_step(self, scope: Scope, node: Expr) -> None:
        """One step of a scan, an element a thread."""
        state, kind, carry = self.carried[node]
        values, name = self.scan_values(scope, node), self.fresh("scan")
        self.say(f"{kind} {name};")
        self.say(f"start({name});")
        self.say(f"if (here) {{ {_set(name, state, values)} }}")
        self.say(f"{self.use('running')}({name}, {carry}, size);")
        self._result(scope, node, name, lambda text: self.let(register(node.args[0].dtype), text))

    def scan_lanes(self, scope: Scope, node: Expr) -> None:
        """One step of a scan, several elements a thread: their own scan, then with what is before the thread's."""
        state, kind, carry = self.carried[node]
        many, before = self.fresh("scan"), self.fresh("before")
        self.say(f"{kind} {many}[{self.lanes}];")
        self.say("#pragma unroll")
        with self.block(f"for (int k = 0; k < {self.lanes}; ++k)"):
            values = self.scan_values(Scope(scope, scope.guard, scope.lane), node)
            self.say(f"start({many}[k]);")
            self.say(f"if (k < n) {{ {_set(f'{many}[k]', state, values)} }}")
            self.say(f"if (k > 0) after({many}[k], {many}[k > 0 ? k - 1 : 0]);")
        self.say(f"const {kind} {before} = {self.use('preceding')}({many}[{self.lanes - 1}], {carry}, size);")
        self.say("#pragma unroll")
        self.say(f"for (int k = 0; k < {self.lanes}; ++k) after({many}[k], {before});")
        self._result(scope, node, f"{many}[k]", lambda text: f"({text})")

    def _result(self, scope: Scope, node: Expr, name: str, known: Callable[[str], str]) -> None:
        """The scan's value, from the state up to and with the element."""
        state = state_of(node, 0)
        fields = [f"{name}.{f}" for f, _, _ in state.fields]
        if node.value == "cprod":
            scope.values[node] = name
            self.parts[name] = fields[0], fields[1]
        else:
            scope.values[node] = known(cast(self.use, fields[0], scan_dtype(node), node.args[0].dtype))


def _set(name: str, state: State, values: list[str]) -> str:
    return " ".join(f"{name}.{field} = {value};" for (field, _, _), value in zip(state.fields, values))
