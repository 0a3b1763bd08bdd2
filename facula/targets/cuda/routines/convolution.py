"""Convolutions as generated kernels, for every dtype and layout: what is left where no library does them.

Which text does which sizes and layouts, and what it is told; the texts are `convolution_text`'s.
"""

import ctypes
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np

from facula.core import dtype as dt
from facula.core.dtype import dtype
from facula.errors import fail

from .. import driver, transfers
from ..memory.pool import Block, pool
from ..texts.emit import THREADS, Program
from . import convolution_text as text
from . import tiles
from .tiles import Text, Way

__all__ = ["all_programs", "convolve", "convolve_weight"]

DTYPES = (
    dt.float32, dt.float64, dt.float16, dt.bfloat16, dt.uint8, dt.int8, dt.int16, dt.int32, dt.int64,
)  # fmt: skip
TAP = np.dtype([("place", "i8"), ("weight", "i8"), ("at", "i4", 3), ("unused", "i4")])  # as the text has it
OF_PLAN = 5  # numbers of a tap in the plan: three offsets, its place in x, its place in w
LARGEST = 1 << 30  # coordinates, and sums of two, have 32 bits
# What is better made element by element: few outputs a group, of not too many products each; gradients for weights so
# few that the tiles that hold them are larger by so many times.
LEAST_OWN, MOST_TAPS, WASTE_WEIGHT = 8, 4096, 64
DIRECT_SPAN = 2048  # windows that a block takes at least, where it makes one gradient
WARP = 32
KEPT = 1024  # plans whose tables stay in the GPU's memory


def _ways(t: dtype, weight: bool, vectors: bool) -> tuple[Way, Way]:
    """How threads walk over operands: neighbours are windows, or, by `vectors` of 16 bytes, channels."""
    wide = tiles.wide(t) if vectors else 1
    if weight:
        return Way(wide, not vectors), Way(wide, not vectors)
    return Way(wide, True), Way(wide, vectors)


_retiring = threading.Lock()


class Table:
    """Lines of taps in the GPU's memory."""

    __slots__ = ("block",)
    retired: list[Block] = []  # what nobody needs, and work on any stream may still read

    def __init__(self, lines: np.ndarray):
        with _retiring:  # for which `__del__` does not wait
            done = self.retired[:]
            del self.retired[: len(done)]
        for gpu in {block.pool.gpu for block in done if block.pool.gpu.current}:
            gpu.synchronize()
        del done
        driver.gpu().enter()
        self.block = pool().take(lines.nbytes)
        transfers.from_host(self.block.ptr, lines.ctypes.data, lines.nbytes)
        driver.gpu().stream.synchronize()  # other streams may use it, too

    def __del__(self):
        if hasattr(self, "block"):
            self.retired.append(self.block)  # a graph that reads it keeps what has the table: `launcher.chain`


class Settled:
    """A plan on the GPU: `start` is a builtin of the addresses of y, x, w and, but for weights' gradients, the bias."""

    def __init__(self, t: dtype, weight: bool, numbers: bytes):
        plan = np.frombuffer(numbers, np.int64)
        self.geometry = tuple(plan[: len(text.GEOMETRY)].tolist())
        g: dict[str, int] = dict(zip(text.GEOMETRY, self.geometry))
        taps = plan[len(text.GEOMETRY) :].reshape(g["taps"], OF_PLAN)
        _check_sizes(g, taps)
        last = g["x_channel"] == 1 and g["channels"] > 1
        lines = _table(g, taps, last)
        table = Table(lines) if lines.nbytes else None
        values = (0 if table is None else table.block.ptr, *self.geometry)
        windows, own, inner = g["batch"] * g["o0"] * g["o1"] * g["o2"], g["own"], g["channels"] * g["taps"]
        m, n, k = (own, inner, windows) if weight else (own, windows, inner)
        odd = None
        if weight and tiles.waste(t, m, n) > WASTE_WEIGHT:
            side = WARP if g["x_channel"] == g["y_channel"] == 1 and g["groups"] >= WARP else 1
            blocks = -(-g["groups"] // side) * m * n
            parts, span = tiles.cut(blocks, k, DIRECT_SPAN)
            run = tiles.settled(t, (blocks, parts), (g["groups"], m, n, k, parts, span))
            made = Text((text.direct_weight_program, t), (*values, *_step(g, THREADS // side)), (side,))
        elif not weight and m < LEAST_OWN and k <= MOST_TAPS:
            blocks = -(-g["groups"] * m * n // THREADS)
            run = tiles.settled(t, (blocks, 1), (g["groups"], m, n, k, 1, max(k, 1)))
            made = Text((text.direct_program, t), values)
        else:
            shape = tiles.choose(t, g["groups"], m, n)
            run = tiles.settle(t, shape, g["groups"], m, n, k)
            made = _tiled(t, weight, shape, g, values, False)
            if last and t.kind == "f" and _even(g, lines, tiles.wide(t), weight):
                odd, made = made, _tiled(t, weight, shape, g, values, True)
        self.made = made
        parts_of = text.parts_program, t, weight
        which = 0b011 if weight else 0b110  # what is read
        self.start = tiles.started(run, "convolution", 4 - weight, made, parts_of, odd, which, table)


def _tiled(t: dtype, weight: bool, shape: tiles.Shape, g: dict[str, int], values: tuple, vectors: bool) -> Text:
    """The text that makes tiles."""
    left, right = _ways(t, weight, vectors)
    if not weight:
        return Text((text.forward_program, t, shape, left, right), values)
    step = shape.deep if left.deepwise else THREADS * left.wide // shape.cols
    return Text((text.weight_program, t, shape, left, right), (*values, *_step(g, step)))


def _step(g: dict[str, int], windows: int) -> tuple[int, ...]:
    """So many windows as samples and coordinates."""
    found = []
    for size in (g["o2"], g["o1"], g["o0"]):
        found.append(windows % max(1, size))
        windows //= max(1, size)
    return windows, *reversed(found)


def _check_sizes(g: dict[str, int], taps: np.ndarray) -> None:
    reach = [(g[f"o{i}"] - 1) * g[f"s{i}"] + abs(taps[:, i]).max(initial=0) for i in range(3)]
    most = max(*reach, *(g[f"d{i}"] for i in range(3)))
    if most >= LARGEST:
        fail(
            RuntimeError, "convolutions on 'cuda' need sizes, with strides and padding, below 2**30", got=int(most),
            mend="cut the input in pieces",
        )  # fmt: skip


def _table(g: dict[str, int], taps: np.ndarray, last: bool) -> np.ndarray:
    """A line for each tap of each channel, in the order in which they follow each other."""
    channels, count = np.arange(g["channels"])[:, None], len(taps)
    made = np.zeros((g["channels"], count), TAP)
    made["place"] = channels * g["x_channel"] + taps[:, 3]
    made["weight"] = channels * g["w_channel"] + taps[:, 4]
    made["at"] = taps[:, :3]
    return np.ascontiguousarray(made.T if last else made).reshape(-1)


def _even(g: dict[str, int], table: np.ndarray, count: int, weight: bool) -> bool:
    """Whether groups of `count` channels lie at multiples of their size, in all operands that are read."""
    steps = [g["channels"], g["x_batch"], *(g[f"s{i}"] * g[f"x{i}"] for i in range(3)), *table["place"][::count]]
    if weight:
        steps += [g["own"], g["y_batch"], g["y0"], g["y1"], g["y2"]]
    else:
        steps += [g["w_group"], g["w_own"], *table["weight"][::count]]
    innermost = g["y_channel" if weight else "w_channel"] == 1
    return innermost and all(int(s) % count == 0 for s in steps)


_KEPT: dict[tuple, Settled] = {}


def _settled(t: dtype, weight: bool, plan: int, taps: int) -> Settled:
    numbers = ctypes.string_at(plan, 8 * (len(text.GEOMETRY) + OF_PLAN * taps))
    key = driver.gpu(), t, weight, numbers
    found = _KEPT.get(key)
    if found is None:
        if t not in DTYPES:
            name = t.name.capitalize()
            fail(RuntimeError, f"\"convolution_cuda\" not implemented for '{name}'", mend="convert the operands")
        if len(_KEPT) >= KEPT:
            _KEPT.clear()
        found = _KEPT[key] = Settled(t, weight, numbers)
    return found


@lru_cache(4096)
def convolve(element: dtype, sizes: tuple[int, ...]) -> Callable[..., None]:
    """`convolve(out, x, w, bias, plan, work)`: `targets/cpu/convolution.py` documents the arguments."""

    def call(out: int, x: int, w: int, bias: int, plan: int, work: int) -> None:
        _settled(element, False, plan, sizes[4]).start(out, x, w, bias)

    call.settle = lambda *last: _settled(element, False, last[-2], sizes[4]).start
    return call


@lru_cache(4096)
def convolve_weight(element: dtype, sizes: tuple[int, ...]) -> Callable[..., None]:
    """`convolve_weight(w, x, out, plan, work)`: the gradient of w for the gradient `out`, of the same plan."""

    def call(w: int, x: int, out: int, plan: int, work: int) -> None:
        _settled(element, True, plan, sizes[4]).start(out, x, w)

    return call


def programs(t: dtype) -> Iterator[Program]:
    """The texts of one dtype."""
    for weight in (False, True):
        ways = [_ways(t, weight, vectors) for vectors in (False, True) if t.kind == "f" or not vectors]
        maker = text.weight_program if weight else text.forward_program
        yield from (maker(t, shape, *both) for shape in tiles.shapes(t) for both in ways)
        yield text.parts_program(t, weight)
    yield text.direct_program(t)
    yield text.direct_weight_program(t)


def all_programs() -> Iterator[Program]:
    """The texts of each dtype."""
    for t in DTYPES:
        yield from programs(t)
