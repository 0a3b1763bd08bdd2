"""Generated attention, for what cuDNN does not do (`dnn_attend` asks it); `targets/cpu/attention.py` has the arguments.

16-bit operands with up to 128 features are multiplied by the matrix units (`attention_matrix`), all else by
`attention_tiles`.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache as remembered
from functools import lru_cache
from itertools import product as pairs
from typing import Any

from facula.core import dtype as dt
from facula.core.dtype import dtype
from facula.ir import expr as ir
from facula.ir.kernel import Access, Input, Kernel, Result

from .. import driver, launcher
from ..code import Code
from ..functions import function
from ..launcher import Part, Room, Word
from ..texts.emit import THREADS, Program
from . import attention_matrix as matrix
from .attention_matrix import PART, ROWS, WIDTHS, matrix_program
from .attention_tiles import FORWARD, HIGH, KEYS, LOW, QUERIES, SIDE, SINGLE, attention_program

__all__ = ["DTYPES", "all_programs", "attention", "attention_backward", "settled"]

DTYPES = frozenset((dt.float32, dt.float16, dt.bfloat16))  # of what `attend` takes
MOST_ITEMS = (1 << 16) - 1  # of a grid's second dim
ENOUGH_BLOCKS = 256  # of high tiles; with fewer, tiles are lower


def all_programs() -> Iterator[Program]:
    """The texts of each dtype, for narrow and wide features."""
    for t in sorted(DTYPES, key=str):
        for lines, columns in ((SINGLE, 4), (LOW, 4), (LOW, 8), *([(HIGH, 4)] if t is dt.float32 else [])):
            yield attention_program(FORWARD, t, lines, columns)
        for name, columns in pairs((QUERIES, KEYS), (4, 8)):
            yield attention_program(name, t, LOW, columns)
        if t is not dt.float32:
            for features in WIDTHS:
                yield matrix_program(matrix.FORWARD, t, features, False)
                for name in (matrix.FORWARD, matrix.QUERIES, matrix.KEYS):
                    yield matrix_program(name, t, features)


def _columns(features: int) -> int:
    """The columns of results of a thread."""
    return 4 if features <= 4 * SIDE else 8


def _grid(count: int, lines: int, features: int, columns: int, items: int) -> tuple[int, int]:
    blocks, parts = -(-count // (SIDE * lines)), max(1, -(-features // (SIDE * columns)))
    return blocks * parts, min(MOST_ITEMS, items)


def _forward(element: dtype, numbers: tuple, given: Sequence[Word], room: Room) -> list[Part]:
    batch, heads, _, queries, _, depth, width = numbers[:7]
    features = _features(element, queries, depth, width)
    if features:
        form = features, bool(numbers[9])
        return _by_matrix_units(matrix.FORWARD, element, form, queries, 1, batch * heads, (*given, *numbers))
    columns = _columns(width)
    lines = LOW
    if queries <= SIDE and columns == 4:
        lines = SINGLE
    elif columns == 4 and batch * heads * -(-queries // (SIDE * HIGH)) >= ENOUGH_BLOCKS:
        lines = HIGH
    grid = _grid(queries, lines, width, columns, batch * heads)
    text = function(attention_program, FORWARD, element, lines, columns)
    return [] if 0 in grid else [text.part(grid, (SIDE, SIDE), *given, *numbers)]


ORDER = (2, 3, 4, 0, 5, 1)  # where `settled` has the addresses of `attend`


@lru_cache(1024)
def _settled(
    make: Callable, element: dtype, order: Sequence[int], gpu: driver.Device, *numbers: float
) -> Callable[..., None]:
    """What runs the launches that `make` gives, by addresses in an order."""
    room, given = Room(), [launcher.given(i) for i in order]
    made = launcher.chain(make(element, numbers, given, room), len(given), room.size)
    return launcher.started(made, "attention")


def settled(element: dtype, *numbers: float) -> Callable[..., None]:
    """`attend` for given sizes: a function of the addresses of output, statistics, Q, K, V and mask."""
    return _settled(_forward, element, ORDER, driver.gpu(), *numbers)


def attention(element: dtype = dt.float32) -> Callable[..., None]:
    """softmax(scale * Q @ K.T + mask) @ V."""

    def call(*given) -> None:
        _settled(_forward, element, range(6), driver.gpu(), *given[6:])(*given[:6])

    return call


def _features(element: dtype, queries: int, depth: int, width: int) -> int:
    """The features that a kernel for matrix units multiplies; 0 where none does such operands, or for few queries."""
    if element is dt.float32 or queries <= SIDE:
        return 0
    return next((n for n in WIDTHS if n >= max(depth, width)), 0)


def _by_matrix_units(
    name: str, element: dtype, form: tuple, count: int, parts: int, items: int, arguments: Sequence[Any]
) -> list[Part]:
    """`matrix_program(name, element, *form)` for so many lines, parts of features, and heads of all batches."""
    grid = -(-count // ROWS) * parts, min(MOST_ITEMS, items)
    text = function(matrix_program, name, element, *form)
    return [] if 0 in grid else [text.part(grid, (THREADS, 1), *arguments)]


@remembered
def _delta_code(t: dtype, gpu: driver.Device) -> Code:
    """The sum over features of a gradient times the output, a number for each query."""
    values = [ir.cast(ir.load(name, t), dt.float32) for name in ("grad", "out")]
    total = ir.reduce("sum", values[0] * values[1])
    kernel = Kernel(
        "attention_delta", (Input("grad", t), Input("out", t)), (Result("delta", dt.float32, total, per_row=True),)
    )
    return Code(kernel, Access(3, 1, ("10", "s1", "s1")))


def _backward(element: dtype, numbers: tuple, given: Sequence[Word], room: Room) -> list[Part]:
    """`given`: the addresses of forward, the gradient's, those of Q, K and V."""
    batch, heads, group, queries, keys, depth, width = numbers[:7]
    (out, grad), steps, grad_steps = (given[3], given[6]), numbers[19:22], numbers[26:29]
    delta = room.take(4 * batch * heads * queries)
    sizes = batch, heads, queries, width, heads * queries, queries, *grad_steps, *steps
    made = _delta_code(element, driver.gpu()).parts(sizes, (delta, grad, out, *sizes), room)
    arguments = *given[:6], *numbers[:26], *given[6:], *numbers[26:], delta
    kv_items, items = batch * heads // max(group, 1), batch * heads
    features = _features(element, queries, depth, width)
    if features:
        form, parts = (features,), -(-max(depth, width) // PART)
        made += _by_matrix_units(matrix.KEYS, element, form, keys, parts, kv_items, arguments)
        return made + _by_matrix_units(matrix.QUERIES, element, form, queries, 1, items, arguments)
    for name, count, features, number in (
        (KEYS, keys, max(depth, width), kv_items),
        (QUERIES, queries, depth, items),
    ):
        columns = _columns(features)
        grid = _grid(count, LOW, features, columns, number)
        if 0 not in grid:
            text = function(attention_program, name, element, LOW, columns)
            made.append(text.part(grid, (SIDE, SIDE), *arguments))
    return made


def attention_backward(element: dtype = dt.float32) -> Callable[..., None]:
    """The gradients of Q, K and V."""

    def call(*given) -> None:
        numbers = *given[6:32], *given[36:]
        _settled(_backward, element, range(10), driver.gpu(), *numbers)(*given[:6], *given[32:36])

    return call
