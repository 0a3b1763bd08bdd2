"""Kernels as the formulas that people write: infix, what occurs several times under a name of its own."""

from typing import Any

from .expr import Expr, walk
from .kernel import COMBINES, Kernel

__all__ = ["formula"]

# Operations that have a sign: the text, and how tightly it binds, in Python's order.
SIGNS = {
    "eq": (" == ", 3), "ne": (" != ", 3), "lt": (" < ", 3), "le": (" <= ", 3), "gt": (" > ", 3), "ge": (" >= ", 3),
    "or": (" | ", 4), "xor": (" ^ ", 5), "and": (" & ", 6), "shl": (" << ", 7), "shr": (" >> ", 7), "add": (" + ", 8),
    "sub": (" - ", 8), "mul": (" * ", 9), "div": (" / ", 9), "floordiv": (" // ", 9), "remainder": (" % ", 9),
    "pow": ("**", 11),
}  # fmt: skip
WORDS = {"or": (" or ", 1), "and": (" and ", 2), "xor": (" != ", 3)}  # of bools
CHOICE, SUM, PRODUCT, UNARY, ATOM = 0, 8, 9, 10, 12
NAMES = {"maximum": "max", "minimum": "min", "not": "not", "row_index": "position", "count": "n"}
CLOSED = frozenset("load param const index extent row_index count".split())  # never given a name of their own


def number(value: Any) -> str:
    """A constant, short.

    >>> number(2.0), number(0.7071067811865476), number(True), number(1j)
    ('2', '0.707107', 'True', '1j')
    """
    if isinstance(value, bool | complex):
        return str(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)


class _Writer:
    """Texts of expressions, given the names of those that have one."""

    def __init__(self, named: dict[Expr, str]):
        self.named = named

    def text(self, node: Expr, at_least: int = 0) -> str:
        """The text of an expression, in brackets where it binds less than `at_least`."""
        if node in self.named:
            return self.named[node]
        found, binds = self.open(node)
        return f"({found})" if binds < at_least else found

    def open(self, node: Expr) -> tuple[str, int]:
        """The text of an expression, whether or not it has a name, and how tightly it binds."""
        args, op = node.args, node.op
        if op == "cast":
            if node.dtype.kind in "fc" and (args[0].dtype.kind in "fc" or args[0].op == "count"):
                return (self.named[args[0]], ATOM) if args[0] in self.named else self.open(args[0])
            return f"{node.dtype.name}({self.text(args[0])})", ATOM
        if op == "const":
            found = number(node.value)
            return found, UNARY if found.startswith("-") else ATOM
        if op == "param":
            return str(node.value), ATOM
        if op == "load":
            name, has_offset, has_where = node.value
            found = f"{name}[. + {self.text(args[0])}]" if has_offset else name
            return (f"({found} where {self.text(args[-1])})" if has_where else found), ATOM
        if op in ("index", "extent"):
            return f"{'i' if op == 'index' else 'n'}{node.value}", ATOM
        if op == "reduce":
            return f"{node.value}_row({self.text(args[0])})", ATOM
        if op == "scan":
            return f"running_{node.value}({self.text(args[0])})", ATOM
        if op == "select":
            condition, a, b = args
            return f"{self.text(a, 1)} if {self.text(condition, 1)} else {self.text(b, 0)}", CHOICE
        if op == "neg":
            return f"-{self.text(args[0], UNARY)}", UNARY
        if op == "fma":
            a, b, c = self.text(args[0], PRODUCT), self.text(args[1], UNARY), self.text(args[2], SUM + 1)
            return f"{a} * {b} + {c}", SUM
        if op in SIGNS:
            sign, binds = (WORDS if node.dtype.kind == "b" and op in WORDS else SIGNS)[op]
            left, right = (binds + 1, binds) if op == "pow" else (binds, binds + 1)
            return f"{self.text(args[0], left)}{sign}{self.text(args[1], right)}", binds
        if not args:
            return NAMES.get(op, op), ATOM
        return f"{NAMES.get(op, op)}({', '.join(self.text(a) for a in args)})", ATOM


def formula(kernel: Kernel) -> str:
    """What a kernel computes: a line for each result, then one for each expression that several places use.

    `sum_row(...)` and its like go over the row, `running_sum(...)` up to the element.

    >>> from facula.core import dtype as dt
    >>> from facula.ir import expr as ir
    >>> from facula.ir.kernel import Input, Result
    >>> x = ir.load("x", dt.float32)
    >>> e = ir.exp(x - ir.reduce("max", x))
    >>> kernel = Kernel("softmax", (Input("x", dt.float32),), (Result("out", dt.float32, e / ir.reduce("sum", e)),))
    >>> print(formula(kernel))
    out = a / sum_row(a)
      a = exp(x - max_row(x))
    """
    uses: dict[Expr, int] = {}
    nodes = walk(*kernel.roots())
    for node in nodes:
        for arg in node.args:
            uses[arg] = uses.get(arg, 0) + 1
    for root in kernel.roots():
        uses[root] = uses.get(root, 0) + 1
    taken = {operand.name for operand in kernel.operands} | {p.name for p in kernel.params}
    letters = iter([x for n in range(100) for x in (f"{c}{n or ''}" for c in "abcdefgh") if x not in taken])
    named: dict[Expr, str] = {}
    for node in reversed(nodes):
        inside = node
        while inside.op == "cast":
            inside = inside.args[0]
        if uses.get(node, 0) > 1 and inside.op not in CLOSED and node.op != "cast":
            named[node] = next(letters)
    writer = _Writer(named)
    lines = []
    for r in kernel.results:
        where = "" if r.where is None else f" where {writer.text(r.where)}"
        at = "" if r.offset is None else f"[. + {writer.text(r.offset)}]"
        lines.append(f"{r.name}{at} {COMBINES[r.combine]} {writer.text(r.value)}{where}")
    for node in reversed(nodes):
        if node in named:
            lines.append(f"  {named[node]} = {writer.open(node)[0]}")
    lines += [f"  requires {writer.text(c.holds)}: {c.message}" for c in kernel.checks]
    return "\n".join(lines)
