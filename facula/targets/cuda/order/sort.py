"""Sorting and selecting along rows: which texts of `sort_texts` run; `targets/cpu/sort.py` documents the arguments.

Short rows are sorted in shared memory, several a block. Long ones are cut in pieces of whole tiles: for each digit of
the keys, pieces count their digits, counts become starts, pieces move their elements. Only sizes decide what is cut.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from facula.core.dtype import dtype
from facula.errors import fail

from .. import driver, launcher
from ..functions import function
from ..launcher import Part, Room, Word
from ..texts.schedule import MOST_BLOCKS
from . import sort_texts as texts

__all__ = ["Order", "in_order", "parts", "sort"]

FEW_BLOCKS = 256  # blocks have fewer short rows, until there are so many
SELECT_BLOCKS = 264  # fewer rows are cut, until so many blocks select the first of a piece
SELECT_PIECE, SELECT_FROM = 1 << 13, 1 << 17  # elements of a piece at least; that pieces leave at most
LEAST_TILES = 2  # of a piece: starts are spread for few pieces faster than for many
PIECES = 1024  # of all long rows together, or one a row
MOST = (1 << 31) - 1  # elements of a row in order: places and counts have 32 bits


class Order(NamedTuple):
    """Rows of keys and places, in order in the half of their buffers that `turn` names, by row."""

    keys: Word
    places: Word
    turn: Word  # before pass p: from p * rows on


def _up(n: int, divisor: int) -> int:
    return -(-n // divisor)


def _cut(rows: int, n: int, size: int) -> tuple[int, int]:
    """(elements of a piece, pieces) of a row of keys of `size` bytes."""
    tile = texts.tile(size)
    tiles = _up(n, tile)
    share = max(min(tiles, LEAST_TILES), _up(tiles, max(1, PIECES // rows))) * tile
    return share, _up(n, share)


def in_order(
    rows: int, n: int, size: int, passes: int, room: Room, fill: Callable[[Word, Word, int, int], list[Part]]
) -> tuple[list[Part], Order]:
    """What sorts rows of keys of `size` bytes, of which the lowest `passes` digits count, and where these then are.

    `fill(keys, places, share, pieces)` gives what writes all keys and places.
    """
    share, pieces = _cut(rows, n, size)
    keys, places = room.take(2 * size * rows * n), room.take(8 * rows * n)
    turn, counts = room.take(4 * rows * (passes + 1)), room.take(4 * rows * pieces * texts.DIGITS)
    made = fill(keys, places, share, pieces)
    count, move = function(texts.count_program, size), function(texts.move_program, size)
    spread = function(texts.spread_program)
    grid, block, cut = (rows * pieces, 1), (texts.THREADS, 1), (rows, n, share, pieces)
    for digit in range(passes):
        made += [
            count.part(grid, block, counts, keys, turn, *cut, digit),
            spread.part((rows, 1), (texts.DIGITS, texts.GROUPS), counts, turn, *cut, digit),
            move.part(grid, block, keys, places, turn, counts, *cut, digit),
        ]
    return made, Order(keys, places, turn)


def _short(t: dtype, how: str, rows: int, n: int) -> tuple[tuple[int, int], tuple[int, int], int, int]:
    """(grid, block, log2 of a row's width, log2 of a block's rows) for rows that fit in a block."""
    wide = max(5 if how == "mode" else 1, (n - 1).bit_length())
    together = texts.held(t).bit_length() - 1 - wide
    while together > 0 and rows >> together < FEW_BLOCKS and 1 << wide + together > 64:
        together -= 1
    here = 1 << wide + together
    return (_up(rows, 1 << together), 1), (min(texts.BLOCK_THREADS, max(32, here // 2)), 1), wide, together


def _select(
    t: dtype, values: Word, indices: Word, input: Word, rows: int, n: int, count: int, descending: int, room: Room
) -> list[Part]:
    """What gives the first of each row; of few long rows, of those that are the first of pieces."""
    select, block, wide = function(texts.select_program, t), (texts.SELECT_THREADS, 1), max(5, (count - 1).bit_length())
    most = max(1, min(n // SELECT_PIECE, SELECT_FROM // count))
    share = _up(n, min(most, _up(SELECT_BLOCKS, rows)))  # the last piece is shorter by fewer than there are pieces
    pieces, last = _up(n, share), (1, count, wide, descending)
    if pieces == 1:
        return [select.part((rows, 1), block, values, indices, input, 0, 0, n, n, *last)]
    some = pieces * count
    first, places = room.take(t.itemsize * rows * some), room.take(8 * rows * some)
    cut = share, pieces, count, wide, descending
    return [
        select.part((rows * pieces, 1), block, first, places, input, 0, 0, n, *cut),
        select.part((rows, 1), block, values, indices, first, places, share, some, some, *last),
    ]


def parts(
    element: dtype, values: Word, indices: Word, input: Word, outer: int, n: int, inner: int, first: int, count: int,
    how: str, descending: bool, room: Room,
) -> list[Part]:  # fmt: skip
    """The launches that order rows."""
    size, passes = texts.key_bytes(element), texts.passes(element)
    rows, code = outer * inner, texts.HOW[how]
    if n <= texts.held(element):
        grid, block, wide, together = _short(element, how, rows, n)
        short, last = function(texts.block_program, element), (wide, together, code, int(descending))
        return [short.part(grid, block, values, indices, input, rows, n, inner, first, count, *last)]

    def fill(keys: Word, places: Word, share: int, pieces: int) -> list[Part]:
        make, cut = function(texts.keys_program, element), (rows, n, share, pieces)
        grid = rows * pieces, 1
        return [make.part(grid, (texts.THREADS, 1), keys, places, input, *cut, inner, int(descending))]

    if how == "first" and inner == 1 and count <= texts.SELECTED:
        return _select(element, values, indices, input, rows, n, count, int(descending), room)
    if n > MOST:
        fail(RuntimeError, "The dimension being sorted can not have more than INT_MAX elements.", got=n)
    made, order = in_order(rows, n, size, passes, room, fill)
    ends: Word | int = 0
    if how == "mode":
        ends = room.take(8 * rows)
        longest = function(texts.longest_program, element)
        made.append(longest.part((rows, 1), (texts.THREADS, 1), ends, order.keys, order.turn, rows, n))
    pick, grid = function(texts.pick_program, element), (min(MOST_BLOCKS, _up(rows * count, texts.THREADS)), 1)
    last = rows, n, inner, first, count, code
    made.append(pick.part(grid, (texts.THREADS, 1), values, indices, input, *order, ends, *last))
    return made


@lru_cache(4096)
def _settled(element: dtype, gpu: driver.Device, *numbers: Any) -> Callable[..., None]:
    """`sort` with everything but addresses settled."""
    room = Room()
    values, indices, input = (launcher.given(i) for i in range(3))
    made = parts(element, values, indices, input, *numbers, room=room)
    return launcher.started(launcher.chain(made, 3, room.size), "sort")


def sort(element: dtype) -> Callable[..., None]:
    """The order of the elements of each row of one dtype."""

    def call(values: int, indices: int, input: int, *numbers: Any) -> None:
        _settled(element, driver.gpu(), *numbers)(values, indices, input)

    return call
