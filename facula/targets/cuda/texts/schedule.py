"""From sizes to grids: how many threads and blocks run a `Program`, in how many pieces; knows no driver.

What is chosen depends on sizes alone, never on the GPU, so that sums have the same bits on all of them.
"""

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

from facula.ir.kernel import Access, Kernel, Result, known_step

from .emit import THREADS, TILE, TILE_ROWS, Program

__all__ = ["COMBINE", "PIECE", "WHOLE", "Launch", "kept", "launches", "narrow", "pieces"]

# What a launch does with rows; where pieces are gone over again: the rank whose states they leave.
WHOLE, PIECE, COMBINE = range(3)
MOST_BLOCKS = 1 << 16  # of one launch; threads take more than one unit beyond it
WARP = 32
LONG_ROW = 64  # units a thread of a warp takes of a row; of longer rows a block takes care
FEW_BLOCKS = 512  # below, long rows are cut in pieces
FEW_THREADS = 1 << 17  # below, more threads share a row
FEW_UNITS = 8  # of a row that they do not keep, as long as each has so many: each waits for memory
PIECE_UNITS = 16  # units that a thread takes of a piece at least
NARROW = 1 << 30  # sizes and distances below it fit in 32 bits, with steps of the grid added


class Launch(NamedTuple):
    """One launch of a function."""

    grid: tuple[int, int]
    block: tuple[int, int]
    mode: int = WHOLE


def narrow(kernel: Kernel, access: Access, tail: Sequence[int]) -> bool:
    """Whether indices of 32 bits suffice for these sizes and strides (`ir.kernel.arguments` after the params)."""
    dims = access.outer + access.row
    sizes, strides = tail[:dims], iter(tail[dims:])
    if prod(max(1, n) for n in sizes) >= NARROW:
        return False
    for operand, letters in zip(kernel.operands, access.inner):
        own = access.outer if isinstance(operand, Result) and operand.per_row else dims
        reach = 0
        for d in range(own):
            known = known_step(access.outer, access.row, letters, d)
            reach += max(0, sizes[d] - 1) * abs(next(strides) if known is None else known)
        if reach >= NARROW:
            return False
    return True


def kept(program: Program, sizes: Sequence[int]) -> bool:
    """Whether such rows fit in the registers of a block; shorter ones are in the first cache with more threads."""
    units = prod(sizes[program.outer : -1]) * _up(sizes[-1], program.lanes)
    return WARP < units <= program.keep * THREADS


def _up(n: int, divisor: int) -> int:
    return -(-n // divisor)


def _power(n: int, least: int, most: int) -> int:
    """The power of two from `n` up, within bounds."""
    return min(most, max(least, 1 << max(0, n - 1).bit_length()))


def _blocks(n: int) -> int:
    return max(1, min(MOST_BLOCKS, n))


def launches(program: Program, sizes: Sequence[int]) -> tuple[list[Launch], int]:
    """What is launched for the sizes of the iteration (outer dims, then row dims), and the number of pieces."""
    outer = sizes[: program.outer]
    if 0 in outer:
        return [], 1
    last = _up(sizes[-1], program.lanes)
    match program.mode:
        case "map":
            return [Launch((_blocks(_up(prod(outer[:-1]) * last, THREADS)), 1), (THREADS, 1))], 1
        case "tile":
            tiles = prod(outer[:-2]) * _up(outer[-2], TILE) * _up(outer[-1], TILE)
            return [Launch((_blocks(tiles), 1), (TILE, TILE_ROWS))], 1
        case "owner":
            return [Launch((_power(_up(prod(outer), THREADS), 1, 256), 1), (THREADS, 1))], 1
    rows, units = prod(outer), prod(sizes[program.outer : -1]) * last
    if program.serial:
        return [Launch((1, 1), (1, 1))], 1
    block, each = _shape(program, rows, units)
    blocks = _up(rows, each)
    count = pieces(program, rows, units)
    if count == 1:
        return [Launch((_blocks(blocks), 1), block)], 1
    if program.ranks:
        return [Launch((_blocks(blocks), count), block, m) for m in (*range(1, program.ranks + 1), WHOLE)], count
    after, each = _shape(program, rows, count)
    return [
        Launch((_blocks(blocks), count), block, PIECE),
        Launch((_blocks(_up(rows, each)), 1), after, COMBINE),
    ], count


def pieces(program: Program, rows: int, units: int) -> int:
    """In how many pieces each row is cut."""
    if not program.splits:
        return 1
    block, each = _shape(program, rows, units)
    size = block[0] if program.mode == "row" else block[1]
    blocks = _up(rows, each)
    most = units // (size * PIECE_UNITS)
    return max(1, min(most, _up(2 * FEW_BLOCKS, blocks))) if blocks < FEW_BLOCKS else 1


def _shape(program: Program, rows: int, units: int) -> tuple[tuple[int, int], int]:
    """The threads of a block, and how many rows they work on."""
    if program.mode == "column":
        if program.alone:
            width = _power(rows, WARP, WARP * 4)
            return (width, 1), width
        high = _power(units, 1, THREADS // WARP)
        return (WARP, high), WARP
    if program.alone:
        return (1, WARP * 4), WARP * 4
    size = _power(units, 1, WARP)
    if program.kept:
        size = max(size, _power(_up(units, program.keep), 1, THREADS))
        while size < min(units, THREADS) and rows * size < FEW_THREADS:
            size *= 2
    elif units > LONG_ROW * WARP:
        size = THREADS
    else:
        while size < THREADS and 2 * size * FEW_UNITS <= units and rows * size < FEW_THREADS:
            size *= 2
    high = max(1, WARP // size, min(THREADS // size, _power(rows, 1, THREADS)))
    return (size, high), high
