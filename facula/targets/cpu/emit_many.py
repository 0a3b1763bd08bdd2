"""One call for many tensors: the kernel of dense operands, run for each row of a table of addresses and sizes.

All rows together are cut in shares of at most so many elements, which the threads take as those of one kernel.
"""

from collections.abc import Callable, Sequence

from facula.ir.kernel import Kernel, of_rows, width
from facula.native import builtins

from .emit import KINDS, _module
from .emit_run import BLOCK_NS, PARALLEL_NS

__all__ = ["compile_many"]

LEAST = 256  # elements of a share


def _search(count: int) -> str:
    """Finds `%row`, the last one whose first share is not past `%number`, and where in it the share begins."""
    width = count + 2
    return f"""
  br label %halve
halve:
  %low = phi i64 [ 0, %entry ], [ %new.low, %narrow ]
  %high = phi i64 [ %rows, %entry ], [ %new.high, %narrow ]
  %span = sub i64 %high, %low
  %wide = icmp sgt i64 %span, 1
  br i1 %wide, label %narrow, label %found
narrow:
  %half = lshr i64 %span, 1
  %middle = add i64 %low, %half
  %middle.at = mul i64 %middle, {width}
  %middle.first.at = add i64 %middle.at, {count + 1}
  %middle.first.in = getelementptr i64, ptr %table, i64 %middle.first.at
  %middle.first = load i64, ptr %middle.first.in
  %past = icmp sgt i64 %middle.first, %number
  %new.low = select i1 %past, i64 %low, i64 %middle
  %new.high = select i1 %past, i64 %middle, i64 %high
  br label %halve
found:
  %begin = mul i64 %low, {width}
  %row = getelementptr i64, ptr %table, i64 %begin
  %size.in = getelementptr i64, ptr %row, i64 {count}
  %size = load i64, ptr %size.in
  %first.in = getelementptr i64, ptr %row, i64 {count + 1}
  %first = load i64, ptr %first.in
"""


def compile_many(kernel: Kernel, columns: Sequence[int | None]) -> tuple[Callable[..., None], int]:
    """A builtin `(table, rows, elements, partial, *params)` for several sets of operands, and the size of a share.

    A row of the table (int64) has addresses, then the number of elements, then the number of its first share, see
    `tables.fill`; `elements` are those of all rows. `columns` says which of the addresses belongs to each of
    `kernel.operands`, see `launch.many`; None stands for a result of one element a share, which goes to `partial`.
    """
    count, reduces = width(columns), None in columns
    nest, source = _module(kernel, of_rows(columns), None)
    chunk = max(LEAST, int(BLOCK_NS / nest.cost) // 64 * 64)
    operands = len(kernel.operands)
    params = [ty for ty, _ in nest.names()[operands : -1 - reduces]]
    fields = ["ptr", "i64", "ptr", *params]  # of the record: table, rows, partial, params
    names = ["%table", "%rows", "%partial", *(f"%param{i}" for i in range(len(params)))]
    store = "".join(
        f"  %field{i} = getelementptr i64, ptr %record, i64 {i}\n  store {ty} {name}, ptr %field{i}, align 8\n"
        for i, (ty, name) in enumerate(zip(fields, names))
    )
    load = "".join(
        f"  %field{i} = getelementptr i64, ptr %record, i64 {i}\n  {name} = load {ty}, ptr %field{i}, align 8\n"
        for i, (ty, name) in enumerate(zip(fields, names))
    )
    places = ""
    for i, (operand, column) in enumerate(zip(kernel.operands, columns)):
        if column is None:
            places += f"  %n.partial{i} = mul i64 %number, {operand.dtype.itemsize}\n"
            places += f"  %p{i} = getelementptr i8, ptr %partial, i64 %n.partial{i}\n"
        else:
            shared = column < 0
            places += f"  %in{i} = getelementptr ptr, ptr %row, i64 {~column if shared else column}\n"
            places += f"  %base{i} = load ptr, ptr %in{i}\n"
            places += f"  %bytes{i} = mul i64 %start, {0 if shared else operand.dtype.itemsize}\n"
            places += f"  %p{i} = getelementptr i8, ptr %base{i}, i64 %bytes{i}\n"
    given = [f"ptr %p{i}" for i in range(operands)] + [f"{ty} %param{i}" for i, ty in enumerate(params)]
    given += ["i64 1"] * reduces + ["i64 %n"]
    more = "".join(f", {ty} %param{i}" for i, ty in enumerate(params))
    source += f"""
define void @share(ptr %record, i64 %number) #0 {{
entry:
{load}{_search(count)}
  %into = sub i64 %number, %first
  %start = mul i64 %into, {chunk}
  %rest = sub i64 %size, %start
  %whole = icmp sgt i64 %rest, {chunk}
  %n = select i1 %whole, i64 {chunk}, i64 %rest
{places}
  call void @run({", ".join(given)})
  ret void
}}
define void @many(ptr %table, i64 %rows, i64 %elements, ptr %partial{more}) #0 {{
entry:
  %record = alloca [{len(fields)} x i64]
{store}
  %end = mul i64 %rows, {count + 2}
  %shares.in = getelementptr i64, ptr %table, i64 %end
  %shares = load i64, ptr %shares.in
  %large = icmp sgt i64 %elements, {int(PARALLEL_NS / nest.cost)}
  br i1 %large, label %spread, label %test
spread:
  call void @facula_parallel(ptr @share, ptr %record, i64 %shares)
  ret void
test:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %more = icmp slt i64 %i, %shares
  br i1 %more, label %loop, label %done
loop:
  call void @share(ptr %record, i64 %i)
  %next = add i64 %i, 1
  br label %test
done:
  ret void
}}
"""
    kinds = ["ptr", "i64", "i64", "ptr", *(KINDS[ty] for ty in params)]
    name = f"{kernel.name}_many"
    built = builtins.build(source, "many", kinds, name=name, work=[2], cost=nest.cost, optimize="registers")
    return built, chunk
