"""One call for many tensors: the kernel of dense operands, run for each row of a table of addresses and sizes."""

from collections.abc import Callable

from facula.ir.kernel import CONTIGUOUS, Access, Kernel

from . import builtins
from .emit import KINDS, _module

__all__ = ["compile_many"]


def compile_many(kernel: Kernel) -> Callable[..., None]:
    """A builtin `(table, rows, elements, *params)` that runs a map kernel on several sets of dense operands.

    A row of the table (int64) has the address of each of `kernel.operands` and the number of their elements;
    `elements` is the sum of those numbers and decides only whether the GIL is let go.
    """
    nest, source = _module(kernel, Access(1, 0, (CONTIGUOUS,) * len(kernel.operands)), None)
    names = nest.names()
    count = len(kernel.operands)
    params = names[count:-1]
    loads = []
    for i in range(count):
        loads.append(f"  %at{i} = getelementptr ptr, ptr %row, i64 {i}\n  %p{i} = load ptr, ptr %at{i}")
    arguments = ", ".join(
        [f"ptr %p{i}" for i in range(count)] + [f"{ty} %param{i}" for i, (ty, _) in enumerate(params)] + ["i64 %n"]
    )
    given = "".join(f", {ty} %param{i}" for i, (ty, _) in enumerate(params))
    source += f"""
define void @many(ptr %table, i64 %rows, i64 %elements{given}) #0 {{
entry:
  %any = icmp sgt i64 %rows, 0
  br i1 %any, label %loop, label %done
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %begin = mul i64 %i, {count + 1}
  %row = getelementptr i64, ptr %table, i64 %begin
{chr(10).join(loads)}
  %size.at = getelementptr i64, ptr %row, i64 {count}
  %n = load i64, ptr %size.at
  call void @run({arguments})
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %rows
  br i1 %more, label %loop, label %done
done:
  ret void
}}
"""
    kinds = ["ptr", "i64", "i64", *(KINDS[ty] for ty, _ in params)]
    return builtins.build(
        source, "many", kinds, name=f"{kernel.name}_many", work=[2], cost=nest.cost, optimize="registers"
    )
