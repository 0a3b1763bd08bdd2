"""The stage that makes accesses conditional: gathers and scatters happen only where the kernel's checks hold."""

from facula.core import dtype as dt
from facula.ir.expr import Expr, apply, load, rebuild, walk
from facula.ir.kernel import Check, Kernel, Result

__all__ = ["guard"]


def guard(kernel: Kernel) -> Kernel:
    """`kernel` with the checks among the conditions of its accesses.

    A gather inside check number i waits for the checks before it, every other gather and every scatter for all.
    """
    if not kernel.checks:
        return kernel
    new: dict[Expr, Expr] = {}
    allowed: Expr | None = None

    def visit(*roots: Expr) -> None:
        for node in walk(*roots):
            if node in new:
                continue
            args = tuple(new[a] for a in node.args)
            if node.op == "load" and node.value[1] and allowed is not None:
                where = apply("and", args[1], allowed) if node.value[2] else allowed
                new[node] = load(node.value[0], node.dtype, args[0], where)
            else:
                new[node] = rebuild(node, args)

    checks = []
    for check in kernel.checks:
        visit(check.holds)
        allowed = new[check.holds] if allowed is None else apply("and", allowed, new[check.holds])
        visit(check.value)
        checks.append(Check(new[check.holds], new[check.value], check.message))
    visit(*kernel.roots())
    results = []
    for r in kernel.results:
        where = None if r.where is None else new[r.where]
        if r.offset is not None and allowed is not None:
            where = allowed if where is None else apply("and", where, allowed)
        offset = None if r.offset is None else new[r.offset]
        results.append(Result(r.name, r.dtype, new[r.value], r.per_row, offset, where, r.combine))
    assert allowed is None or allowed.dtype is dt.bool_
    return Kernel(kernel.name, kernel.inputs, tuple(results), kernel.params, tuple(checks), kernel.disjoint)
