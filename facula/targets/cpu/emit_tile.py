"""Maps whose operands differ in the dim that they run along: square tiles are turned in registers, row by row of each.

The plain loops, and what one element's value is, stay with `emit_nest` and `emit_values`.
"""

from typing import TYPE_CHECKING

from facula.ir.expr import Expr
from facula.ir.kernel import CONTIGUOUS, TRANSPOSED

from .emit_code import Code, register, vector
from .emit_values import COLUMN, PREFIX, Scope

if TYPE_CHECKING:
    from .emit_nest import Nest

__all__ = ["BLOCK", "MOST", "block_work", "tiled_loads", "transposed"]

MOST = 16  # rows of a tile at most: all must fit into registers
BLOCK = 128  # rows and columns of a unit of work: it reads and writes whole lines of few pages
SEGMENT = 16  # bytes within which shuffles are cheap


def tiled_loads(nest: "Nest") -> list[Expr]:
    """The loads that are turned, for a map whose results are contiguous; none where tiles would not do."""
    kernel, letters = nest.kernel, [inner[0] for inner in nest.access.inner]
    if nest.row or nest.outer < 2 or kernel.checks or TRANSPOSED not in letters:
        return []
    plain = all(r.offset is r.where is None and r.combine == "set" for r in kernel.results)
    moves = all(letters[i] == CONTIGUOUS for i in range(len(kernel.results)))
    loads = [n for n in nest.order if n.op == "load"]
    if not plain or not moves or any(n.args for n in loads):
        return []
    return [n for n in loads if letters[nest.number[n.value[0]]] == TRANSPOSED and n.dtype.kind != "c"]


def block_work(nest: "Nest", scope: Scope, starts: list[str], ends: list[str]) -> None:
    """A stretch of the last two dims, tile by tile; without masks, what is no whole tile goes the plain way."""
    c, size = nest.code, nest.tile
    with c.loop(starts[0], ends[0], size) as i, c.loop(starts[1], ends[1], size) as j:
        if nest.masks:
            _tile(nest, scope, i, j, ends)
        else:
            fits = [c.let(f"icmp sle i64 {c.i64('add', at, size)}, {end}") for at, end in zip((i, j), ends)]
            full = c.let(f"and i1 {fits[0]}, {fits[1]}")
            with c.when(full):
                _tile(nest, scope, i, j, ends)
            with c.when(c.let(f"xor i1 {full}, true")):
                stops = [c.i64("smin", c.i64("add", at, size), end) for at, end in zip((i, j), ends)]
                with c.loop(i, stops[0]) as k:
                    row = Scope(PREFIX, scope, coordinates={nest.outer - 2: k})
                    for number in range(len(nest.operands)):
                        nest.address(row, number)
                    nest.prepare(row, nest.order)
                    widths = nest.widths(nest.order)
                    nest.vector_loops(row, COLUMN, j, stops[1], widths, lambda inner, _: nest.column_work(inner))


def _tile(nest: "Nest", scope: Scope, i: str, j: str, ends: list[str]) -> None:
    """One tile from (i, j), coordinates of the last two dims, as far as these go."""
    c, size = nest.code, nest.tile
    rows, columns = (c.i64("smin", c.i64("sub", end, at), size) for at, end in zip((i, j), ends))
    across = nest.mask_of(i, ends[0], size) if nest.masks else None
    kept = {node: _turn(nest, scope, node, i, j, columns, across) for node in nest.tiles}
    mask = nest.mask_of(j, ends[1], size) if nest.masks else None
    with c.loop("0", rows) as k:
        row = Scope(PREFIX, scope, coordinates={nest.outer - 2: c.i64("add", i, k)})
        nest.prepare(row, nest.order)
        inner = Scope(COLUMN, row, size, mask, ends[1], {nest.vector_dim: j})
        for node, (ty, place) in kept.items():
            value = c.let(f"load {ty}, ptr {c.let(f'getelementptr {ty}, ptr {place}, i64 {k}')}")
            if node.dtype.kind == "b":
                value = c.let(f"icmp ne {ty} {value}, zeroinitializer")
            inner.values[node] = value, size
        nest.column_work(inner)


def _turn(nest: "Nest", scope: Scope, node: Expr, i: str, j: str, columns: str, mask: str | None) -> tuple[str, str]:
    """Loads a tile along its operand's own contiguous dim; returns type and place of its rows along the other."""
    c, size, number = nest.code, nest.tile, nest.number[node.value[0]]
    scalar = "i8" if node.dtype.kind == "b" else register(node.dtype)
    ty, item = vector(scalar, size), node.dtype.itemsize
    first = nest.address(Scope(PREFIX, scope, coordinates={nest.outer - 2: i, nest.vector_dim: j}), number)
    step, last = nest.stride[number, nest.vector_dim], c.i64("sub", columns, 1)
    loaded = []
    for k in range(size):
        at = first
        if k:  # beyond the last one: that one again
            by = c.i64("mul", c.i64("smin", k, last) if mask is not None else k, step)
            at = c.let(f"getelementptr i8, ptr {first}, i64 {by}")
        loaded.append(nest._fetch(scalar, at, False, size, mask, item))
    c.head.append(f"  %tile.{node.value[0]} = alloca [{size} x {ty}], align 64")
    for k, value in enumerate(transposed(c, loaded, scalar, size, item)):
        c.do(f"store {ty} {value}, ptr {c.let(f'getelementptr {ty}, ptr %tile.{node.value[0]}, i64 {k}')}")
    return ty, f"%tile.{node.value[0]}"


def transposed(c: Code, rows: list[str], scalar: str, size: int, item: int) -> list[str]:
    """The columns of a square of `size` vectors of `size` lanes.

    First squares within segments of 16 bytes, by interleaving lanes; then whole segments change places.
    """
    ty, own = vector(scalar, size), min(size, SEGMENT // item)

    def shuffle(a: str, b: str, picks: list[int]) -> str:
        lanes = ", ".join(f"i32 {k}" for k in picks)
        return c.let(f"shufflevector {ty} {a}, {ty} {b}, <{size} x i32> <{lanes}>")

    starts = range(0, size, own)
    low = [at + k // 2 + size * (k % 2) for at in starts for k in range(own)]
    high = [at + own // 2 + k // 2 + size * (k % 2) for at in starts for k in range(own)]
    groups = []
    for first in starts:
        group = rows[first : first + own]
        for _ in range(own.bit_length() - 1):
            pairs = list(zip(group[: own // 2], group[own // 2 :]))
            group = [shuffle(a, b, picks) for a, b in pairs for picks in (low, high)]
        groups.append(group)
    # groups[g][k], segment s: rows of group g in column s * own + k
    count = len(groups)
    even = [s * own + k for s in (*range(0, count, 2), *range(count, 2 * count, 2)) for k in range(own)]
    odd = [pick + own for pick in even]

    def gather(vectors: list[str]) -> list[str]:
        """For each segment s, segment s of all vectors in order."""
        if count == 1:
            return vectors
        evens, odds = [], []
        for a, b in zip(vectors[::2], vectors[1::2]):
            evens.append(shuffle(a, b, even))
            odds.append(shuffle(a, b, odd))
        if count == 2:
            return [evens[0], odds[0]]
        found = [""] * 4
        for first, (a, b) in enumerate((evens, odds)):
            found[first], found[first + 2] = shuffle(a, b, even), shuffle(a, b, odd)
        return found

    columns = [""] * size
    for k in range(own):
        for s, value in enumerate(gather([group[k] for group in groups])):
            columns[s * own + k] = value
    return columns
