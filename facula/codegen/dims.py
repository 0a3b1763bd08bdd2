"""What varies along which dim of a kernel's loops: the analysis that every writer of text begins with."""

from collections.abc import Iterable

from facula.ir.expr import Expr, walk
from facula.ir.kernel import BROADCAST, CONTIGUOUS, STRIDED, TRANSPOSED, Access, Input, Kernel, Result

__all__ = ["Dims"]


class Dims:
    """One kernel and access pattern; abstract, a target's `Values` writes the text."""

    def __init__(self, kernel: Kernel, access: Access):
        self.kernel, self.access = kernel, access
        self.operands = kernel.operands
        self.number = {o.name: i for i, o in enumerate(self.operands)}
        self.outer, self.row = access.outer, access.row
        self.dims = self.outer + self.row
        self.roots = kernel.roots()
        self.order = walk(*self.roots)
        self.bits: dict[Expr, int] = {}
        self.rank: dict[Expr, int] = {}  # how many reductions must be finished before
        self.spread()
        for node in self.order:
            self.rank[node] = max((self.rank[a] for a in node.args), default=0) + (node.op == "reduce")

    def own_dims(self, operand: Input | Result) -> int:
        """How many dims an operand has."""
        return self.outer if isinstance(operand, Result) and operand.per_row else self.dims

    def letter(self, number: int, dim: int) -> str:
        """How an operand moves along a dim."""
        if dim >= self.own_dims(self.operands[number]):
            return BROADCAST
        letters = self.access.inner[number]
        if dim == self.outer - 1:
            return STRIDED if letters[0] == TRANSPOSED else letters[0]
        if dim == self.outer - 2 and letters[0] == TRANSPOSED:
            return CONTIGUOUS
        return letters[1] if self.row and dim == self.dims - 1 else STRIDED

    def spread(self, states: int = 0) -> None:
        """Find the dims along which each value varies, as bits; `states`: those that reductions keep apart."""
        for node in self.order:
            self.bits[node] = self._varies(node, states)

    def _varies(self, node: Expr, states: int) -> int:
        below = 0
        for arg in node.args:
            below |= self.bits[arg]
        row = ((1 << self.row) - 1) << self.outer
        match node.op:
            case "load":
                i = self.number[node.value[0]]
                return below | sum(1 << d for d in range(self.dims) if self.letter(i, d) != BROADCAST)
            case "index":
                return 1 << node.value
            case "row_index":
                return row
            case "reduce":
                return below & ((1 << self.outer) - 1) | states
            case "scan":
                return below | row | states
        return below

    @staticmethod
    def needed(roots: Iterable[Expr], stop: Iterable[Expr] = ()) -> list[Expr]:
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
