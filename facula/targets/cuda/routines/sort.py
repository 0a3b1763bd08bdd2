"""Sorting and selecting along rows: which texts of `sort_texts` run; `targets/cpu/sort.py` documents the arguments.

Short rows are sorted in shared memory, several a block. Long ones are cut in pieces of whole tiles: for each digit of
the keys, pieces count their digits, counts become starts, pieces move their elements. Only sizes decide what is cut.
"""

from collections.abc import Callable
from typing import NamedTuple

from facula.core.dtype import dtype
from facula.errors import fail

from .. import launcher
from ..functions import function
from ..memory.pool import Block
from ..texts.schedule import MOST_BLOCKS
from . import sort_texts as texts

__all__ = ["Order", "in_order", "sort"]

FEW_BLOCKS = 256  # blocks have fewer short rows, until there are so many
SELECT_BLOCKS = 264  # fewer rows are cut, until so many blocks select the first of a piece
SELECT_PIECE, SELECT_FROM = 1 << 13, 1 << 17  # elements of a piece at least; that pieces leave at most
LEAST_TILES = 2  # of a piece: starts are spread for few pieces faster than for many
PIECES = 1024  # of all long rows together, or one a row
MOST = (1 << 31) - 1  # elements of a row in order: places and counts have 32 bits


class Order(NamedTuple):
    """Rows of keys and places, in order in the half of their buffers that `turn` names, by row."""

    keys: Block
    places: Block
    turn: Block  # before pass p: from p * rows on


def _up(n: int, divisor: int) -> int:
    return -(-n // divisor)


def _cut(rows: int, n: int, size: int) -> tuple[int, int]:
    """(elements of a piece, pieces) of a row of keys of `size` bytes."""
    tile = texts.tile(size)
    tiles = _up(n, tile)
    share = max(min(tiles, LEAST_TILES), _up(tiles, max(1, PIECES // rows))) * tile
    return share, _up(n, share)


def in_order(rows: int, n: int, size: int, passes: int, fill: Callable[[int, int, int, int], None]) -> Order:
    """Sorts rows of keys of `size` bytes, of which the lowest `passes` digits count.

    `fill(keys, places, share, pieces)` writes all keys and places.
    """
    share, pieces = _cut(rows, n, size)
    keys, places = launcher.taken(2 * size * rows * n), launcher.taken(8 * rows * n)
    turn, counts = launcher.taken(4 * rows * (passes + 1)), launcher.taken(4 * rows * pieces * texts.DIGITS)
    fill(keys.ptr, places.ptr, share, pieces)
    count, move = function(texts.count_program, size), function(texts.move_program, size)
    spread = function(texts.spread_program)
    grid, block, cut = (rows * pieces, 1), (texts.THREADS, 1), (rows, n, share, pieces)
    for digit in range(passes):
        count(grid, block, counts.ptr, keys.ptr, turn.ptr, *cut, digit)
        spread((rows, 1), (texts.DIGITS, texts.GROUPS), counts.ptr, turn.ptr, *cut, digit)
        move(grid, block, keys.ptr, places.ptr, turn.ptr, counts.ptr, *cut, digit)
    return Order(keys, places, turn)


def _short(t: dtype, how: str, rows: int, n: int) -> tuple[tuple[int, int], tuple[int, int], int, int]:
    """(grid, block, log2 of a row's width, log2 of a block's rows) for rows that fit in a block."""
    wide = max(5 if how == "mode" else 1, (n - 1).bit_length())
    together = texts.held(t).bit_length() - 1 - wide
    while together > 0 and rows >> together < FEW_BLOCKS and 1 << wide + together > 64:
        together -= 1
    here = 1 << wide + together
    return (_up(rows, 1 << together), 1), (min(texts.BLOCK_THREADS, max(32, here // 2)), 1), wide, together


def _select(t: dtype, values: int, indices: int, input: int, rows: int, n: int, count: int, descending: int) -> None:
    """The first of each row; of few long rows, of those that are the first of pieces."""
    select, block, wide = function(texts.select_program, t), (texts.SELECT_THREADS, 1), max(5, (count - 1).bit_length())
    most = max(1, min(n // SELECT_PIECE, SELECT_FROM // count))
    share = _up(n, min(most, _up(SELECT_BLOCKS, rows)))  # the last piece is shorter by fewer than there are pieces
    pieces = _up(n, share)
    if pieces == 1:
        select((rows, 1), block, values, indices, input, 0, 0, n, n, 1, count, wide, descending)
        return
    some = pieces * count
    first, places = launcher.taken(t.itemsize * rows * some), launcher.taken(8 * rows * some)
    grid = rows * pieces, 1
    select(grid, block, first.ptr, places.ptr, input, 0, 0, n, share, pieces, count, wide, descending)
    select((rows, 1), block, values, indices, first.ptr, places.ptr, share, some, some, 1, count, wide, descending)


def sort(element: dtype) -> Callable[..., None]:
    """The order of the elements of each row of one dtype."""
    size, passes = texts.key_bytes(element), texts.passes(element)

    def call(values, indices, input, outer, n, inner, first, count, how, descending):
        rows, code = outer * inner, texts.HOW[how]
        if n <= texts.held(element):
            grid, block, wide, together = _short(element, how, rows, n)
            short = function(texts.block_program, element)
            short(
                grid, block, values, indices, input, rows, n, inner, first, count, wide, together, code, int(descending)
            )
            return

        def fill(keys, places, share, pieces):
            make = function(texts.keys_program, element)
            cut = rows, n, share, pieces
            make((rows * pieces, 1), (texts.THREADS, 1), keys, places, input, *cut, inner, int(descending))

        if how == "first" and inner == 1 and count <= texts.SELECTED:
            _select(element, values, indices, input, rows, n, count, int(descending))
            return
        if n > MOST:
            fail(RuntimeError, "The dimension being sorted can not have more than INT_MAX elements.", got=n)
        made = in_order(rows, n, size, passes, fill)
        ends = launcher.taken(8 * rows) if how == "mode" else None
        if ends is not None:
            longest = function(texts.longest_program, element)
            longest((rows, 1), (texts.THREADS, 1), ends.ptr, made.keys.ptr, made.turn.ptr, rows, n)
        pick = function(texts.pick_program, element)
        pick(
            (min(MOST_BLOCKS, _up(rows * count, texts.THREADS)), 1), (texts.THREADS, 1), values, indices, input,
            made.keys.ptr, made.places.ptr, made.turn.ptr, ends.ptr if ends is not None else 0, rows, n, inner,
            first, count, code,
        )  # fmt: skip

    return call
