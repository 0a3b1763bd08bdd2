"""Rewriting all expressions of a kernel at once, which every stage does."""

from collections.abc import Callable
from dataclasses import replace

from facula.ir.expr import Expr
from facula.ir.kernel import Kernel

__all__ = ["rewritten"]


def rewritten(kernel: Kernel, change: Callable[[tuple[Expr, ...]], tuple[Expr, ...]]) -> Kernel:
    """`kernel` with each expression replaced by what `change(roots)` returns for all of them together."""
    roots = kernel.roots()
    new = dict(zip(roots, change(roots), strict=True))
    results = tuple(
        replace(
            r,
            value=new[r.value],
            offset=None if r.offset is None else new[r.offset],
            where=None if r.where is None else new[r.where],
        )
        for r in kernel.results
    )
    checks = tuple(replace(c, holds=new[c.holds], value=new[c.value]) for c in kernel.checks)
    return replace(kernel, results=results, checks=checks)
