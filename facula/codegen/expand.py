"""The stage that replaces functions no machine has an instruction for by the expressions of `codegen.math`."""

from facula.ir.expr import Expr, rebuild, walk, with_loop
from facula.ir.kernel import Kernel

from .rewrite import rewritten

__all__ = ["expand", "expansions"]


def expansions() -> dict:
    """Operation -> function of its operands; read late, since it is large."""
    try:
        from .math import EXPANSIONS
    except ImportError:
        return {}
    return EXPANSIONS


def expand(kernel: Kernel, own: frozenset[str] = frozenset()) -> Kernel:
    """`kernel` in primitive operations, and those in `own`, which the target has."""
    table = {name: rule for name, rule in expansions().items() if name not in own}
    new: dict[Expr, Expr] = {}

    def visit(root: Expr) -> Expr:
        for node in walk(root):
            if node in new:
                continue
            args = tuple(new[a] for a in node.args)
            rule = table.get(node.op) if node.dtype.kind == "f" else None
            if node.op == "loop":
                new[node] = with_loop(node, args, node.value.rewritten(visit))
            elif rule is None:
                new[node] = rebuild(node, args)
            else:
                new[node] = visit(rule(*args))  # which may use other functions
        return new[root]

    return rewritten(kernel, lambda roots: tuple(visit(r) for r in roots))
