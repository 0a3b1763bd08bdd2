"""The first stage: what a legal kernel is, as a table of rules, so that no later stage or target need ask."""

from collections.abc import Callable, Iterator

from facula.core import dtype as dt
from facula.core.dtype import STORED_ONLY
from facula.errors import fail
from facula.ir.expr import OPS, Expr, walk
from facula.ir.kernel import COMBINES, Kernel

__all__ = ["RULES", "check"]


def _operands(kernel: Kernel, nodes: list[Expr]) -> Iterator[str]:
    inputs = {i.name: i.dtype for i in kernel.inputs}
    params = {p.name: p.dtype for p in kernel.params}
    for n in nodes:
        if n.op == "load" and inputs.get(n.value[0]) is not n.dtype:
            yield f"load of {n.value[0]!r} as {n.dtype.code}, which is no input of that dtype"
        if n.op == "param" and params.get(n.value) is not n.dtype:
            yield f"param {n.value!r} of {n.dtype.code}, which the kernel does not list"


def _names(kernel: Kernel, nodes: list[Expr]) -> Iterator[str]:
    names = [o.name for o in kernel.operands] + [p.name for p in kernel.params]
    for name in {n for n in names if names.count(n) > 1}:
        yield f"two operands or params are called {name!r}"


def _dtypes(kernel: Kernel, nodes: list[Expr]) -> Iterator[str]:
    for n in nodes:
        op = OPS.get(n.op)
        if op is not None and n.op != "bitcast":
            own = [a.dtype for a in n.args[n.op == "select" :]]
            if any(t is not own[0] for t in own) or own[0].kind not in op.takes or own[0] in STORED_ONLY:
                yield f"{n.op} of {', '.join(t.code for t in own)}"
        if n.op == "reduce" and n.value == "xor" and n.dtype.kind not in "ui":
            yield f"an exclusive or of {n.dtype.code}"
        if n.op == "reduce" and n.value in ("sum", "prod") and n.dtype.kind == "b":
            yield f"{n.value} of bool: cast to int64 first"
        if n.op == "reduce" and n.value not in ("sum", "prod", "any", "all") and n.args[0].dtype.kind == "c":
            yield f"{n.value} of complex numbers, which have no order"
        if n.op in ("reduce", "scan") and n.args[0].dtype in STORED_ONLY:
            yield f"{n.op} of {n.args[0].dtype.code}: cast to float32 first"


def _nesting(kernel: Kernel, nodes: list[Expr]) -> Iterator[str]:
    varies: dict[Expr, bool] = {}  # along the row, for certain
    for n in nodes:
        varies[n] = n.op in ("scan", "row_index") or (n.op != "reduce" and any(varies[a] for a in n.args))
    for r in kernel.results:
        if r.per_row and any(varies[e] for e in (r.value, r.offset, r.where) if e is not None):
            yield f"result {r.name!r} is per row, but its value differs along the row"


def _results(kernel: Kernel, nodes: list[Expr]) -> Iterator[str]:
    for r in kernel.results:
        for what, e, t in (("offset", r.offset, dt.int64), ("where", r.where, dt.bool_)):
            if e is not None and e.dtype is not t:
                yield f"{what} of result {r.name!r} is {e.dtype.code}, not {t.code}"
        if r.combine not in COMBINES or (r.dtype.kind == "c" and r.combine in ("maximum", "minimum")):
            yield f"result {r.name!r} is combined by {r.combine!r}"
    for c in kernel.checks:
        if c.holds.dtype is not dt.bool_ or c.value.dtype is not dt.int64:
            yield f"check {c.message!r} holds a {c.holds.dtype.code} and reports a {c.value.dtype.code}, not b1 and i64"


RULES: tuple[Callable[[Kernel, list[Expr]], Iterator[str]], ...] = (_names, _operands, _dtypes, _nesting, _results)


def check(kernel: Kernel) -> Kernel:
    """`kernel`, if it breaks no rule; a TypeError that lists what it breaks, else."""
    nodes = walk(*kernel.roots())
    broken = [text for rule in RULES for text in rule(kernel, nodes)]
    if broken:
        fail(TypeError, f"kernel {kernel.name!r} is not legal: " + "; ".join(broken))
    return kernel
