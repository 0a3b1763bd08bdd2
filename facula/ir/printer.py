"""Expressions and kernels as text, for people, golden files and cache keys."""

from .expr import Expr, walk
from .kernel import Kernel

__all__ = ["show", "show_expr"]


def _line(node: Expr, names: dict[Expr, str]) -> str:
    args = [names[a] for a in node.args]
    if node.op == "const":
        return f"{node.value!r}:{node.dtype.code}"
    if node.op == "load":
        name, has_offset, has_where = node.value
        parts = [name] + ([f"+{args[0]}"] if has_offset else []) + ([f"where {args[-1]}"] if has_where else [])
        return f"load({', '.join(parts)}):{node.dtype.code}"
    if node.op == "param":
        return f"param({node.value}):{node.dtype.code}"
    value = [] if node.value is None else [str(node.value)]
    return f"{node.op}({', '.join(value + args)}):{node.dtype.code}"


def _lines(roots: tuple[Expr, ...]) -> tuple[list[str], dict[Expr, str]]:
    names: dict[Expr, str] = {}
    lines = []
    for node in walk(*roots):
        if node.op == "const":
            names[node] = _line(node, names)
        else:
            names[node] = f"%{len(lines)}"
            lines.append(f"{names[node]} = {_line(node, names)}")
    return lines, names


def show_expr(root: Expr) -> str:
    """One expression, a line for each operation."""
    lines, names = _lines((root,))
    return "\n".join(lines) if lines else names[root]


def show(kernel: Kernel) -> str:
    """A whole kernel; equal kernels have equal texts."""
    lines, names = _lines(kernel.roots())
    head = [f"kernel {kernel.name}" + (" disjoint" if kernel.disjoint else "")]
    head += [f"  in {i.name}: {i.dtype.code}" for i in kernel.inputs]
    head += [f"  param {p.name}: {p.dtype.code}" for p in kernel.params]
    body = [f"  {line}" for line in lines]
    tail = [f"  check {names[c.holds]} else {names[c.value]}: {c.message}" for c in kernel.checks]
    for r in kernel.results:
        extra = "".join(
            f" {word} {names[e]}" for word, e in (("offset", r.offset), ("where", r.where)) if e is not None
        )
        tail.append(
            f"  out {r.name}{' per row' if r.per_row else ''}: {r.dtype.code} {r.combine} {names[r.value]}{extra}"
        )
    return "\n".join(head + body + tail)
