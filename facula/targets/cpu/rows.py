"""Rows of a table by index, copied whole: one builtin for all dtypes, compiled at first use."""

import platform
from collections.abc import Callable
from functools import cache

from facula.native import builtins, jit
from facula.native.text import Function, Value

from . import matmul_kernel, threads

__all__ = ["build", "rows"]

_NEEDS = threads  # the text calls `facula_parallel`, which this module provides
_NS_A_BYTE = 0.02  # decides when the GIL is let go
ARGUMENTS = ("out", "table", "index", "count", "size", "bytes", "step", "index_step", "wide")
TASK_BYTES = 1 << 16
AHEAD = 8  # rows that are asked for before their turn: of a large table each is a miss


@cache
def rows() -> Callable[..., int]:
    """Row index[i] of a table to row i of the result.

    The result is a builtin ::

        rows(out, table, index, count, size, bytes, step, index_step, wide) -> int

    Parameters
    ----------
    out, table, index : int
        Addresses. The result is dense.
    count, size : int
        Of the indices, and of the table's rows.
    bytes, step : int
        Of a row, and from a row of the table to the next.
    index_step : int
        From index to index, in elements.
    wide : int
        1 for indices of int64, 0 for int32.

    Returns
    -------
    int
        -1, or the position of the first index that names no row; what the result holds then is undefined.
    """
    host = jit.machine.ready()
    return build(matmul_kernel.shape_for(host.features, platform.machine().lower()).bits // 8)


def build(vector: int) -> Callable[..., int]:
    """The builtin for vectors of so many bytes."""
    listed = ["ptr", "ptr", "ptr", *["i64"] * 6]
    return builtins.build(
        text(vector), "rows", listed, "i64", name="rows", work=[3, 5], cost=_NS_A_BYTE, optimize="clean"
    )


def text(vector: int) -> str:
    """The LLVM text; its entry is `@rows`."""
    attributes = f'nounwind "prefer-vector-width"="{8 * vector}" "min-legal-vector-width"="{8 * vector}"'
    type = f"<{vector} x i8>"

    def index_at(f: Function, number: Value, r: dict[str, Value]) -> Value:
        place = f.at(r["index"], number * r["index_step"] * (r["wide"] + 1) * 4)
        found = f.variable("i64", 0)
        with f.either(r["wide"].ne(0)) as seam:
            found.set(f.load("i64", place, 8))
            seam.otherwise()
            narrow = f.load("i32", place, 4)
            found.set(f.value("i64", f"sext i32 {narrow.name} to i64"))
        return found.get()

    f = Function("task", "ptr record, i64 number", attributes=attributes)
    pointers = ("out", "table", "index")
    r = {
        name: f.load("ptr" if name in pointers else "i64", f.at(f.record, 8 * i))
        for i, name in enumerate((*ARGUMENTS, "tasks", "wrong"))
    }
    first, last = f.number * r["count"] // r["tasks"], (f.number + 1) * r["count"] // r["tasks"]
    whole = r["bytes"] // vector * vector
    with f.loop(first, last) as i:
        ahead = f.least(i.index + AHEAD, last - 1)
        coming = f.at(r["table"], index_at(f, ahead, r) * r["step"])
        f.emit(f"call void @llvm.prefetch.p0(ptr {coming.name}, i32 0, i32 3, i32 1)")
        number = index_at(f, i.index, r)
        outside = f.value("i1", f"icmp uge i64 {number.name}, {r['size'].name}")
        with f.either(outside) as seam:
            wrong = f.value("ptr", f"inttoptr i64 {r['wrong'].name} to ptr")
            f.emit(f"atomicrmw umin ptr {wrong.name}, i64 {i.index.name} monotonic")
            seam.otherwise()
            source, target = f.at(r["table"], number * r["step"]), f.at(r["out"], i.index * r["bytes"])
            with f.either(r["bytes"] < vector) as small:
                f.emit(
                    f"call void @llvm.memcpy.p0.p0.i64(ptr {target.name}, ptr {source.name}, i64 {r['bytes'].name}, "
                    "i1 false)"
                )
                small.otherwise()
                with f.loop(0, whole, vector) as j:
                    f.store(f.load(type, f.at(source, j.index), 1), f.at(target, j.index), align=1)
                with f.when(whole < r["bytes"]):  # the last vector overlaps the one before
                    end = r["bytes"] - vector
                    f.store(f.load(type, f.at(source, end), 1), f.at(target, end), align=1)
    f.done()
    entry = Function(
        "rows", ", ".join(f"{'ptr' if x in pointers else 'i64'} {x}" for x in ARGUMENTS), "i64", attributes, ""
    )
    g = entry
    record, wrong = g.alloca("i64", len(ARGUMENTS) + 2), g.alloca("i64")
    g.store(-1, wrong)
    for i, name in enumerate(ARGUMENTS):
        g.store(getattr(g, name), g.at(record, 8 * i))
    tasks = g.least(g.count * g.bytes // TASK_BYTES + 1, g.count)
    address = g.value("i64", f"ptrtoint ptr {wrong.name} to i64")
    g.store(tasks, g.at(record, 8 * len(ARGUMENTS)))
    g.store(address, g.at(record, 8 * len(ARGUMENTS) + 8))
    with g.either(tasks < 2) as seam:
        with g.loop(0, tasks) as i:
            g.call("void", "@task", record, i.index)
        seam.otherwise()
        g.call("void", "@facula_parallel", Value(g, "@task", "ptr"), record, tasks)
    g.done(g.load("i64", wrong))
    declarations = [
        "declare void @facula_parallel(ptr, ptr, i64)",
        "declare void @llvm.prefetch.p0(ptr, i32, i32, i32)",
        "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)",
    ]
    return "\n".join([*declarations, f.text(), entry.text()]) + "\n"
