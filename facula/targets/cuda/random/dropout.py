"""Dropout in one kernel: elements scaled or dropped and the mask, with the bits of PyTorch's fused kernel."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from facula.core import dtype as dt
from facula.core.dtype import dtype
from facula.core.generator import Generator
from facula.errors import fail

from .. import driver
from ..functions import function, written
from ..texts.emit import THREADS, Program
from ..texts.operations import cast
from ..texts.philox import SEEDS, state, take
from ..texts.types import memory, register
from .fills import FLOATS, grid_of

__all__ = ["all_programs", "dropout"]


def dropout_program(t: dtype, lanes: int, wide: bool) -> Program:
    """Elements scaled or dropped, and which were kept; a thread takes `lanes` that lie side by side, or apart (1)."""
    real = dt.float64 if t is dt.float64 else dt.float32
    index = "unsigned long long" if wide else "unsigned"
    helpers = {"philox", *(("fetch", "put") if lanes > 1 else ())}

    def use(helper: str) -> str:
        helpers.add(helper)
        return helper

    def result(value: str, word: str) -> str:
        kept = f"({register(real)})({word} < limit)"
        return cast(use, f"{cast(use, value, t, real)} * {kept} * scale", real, t)

    calls = -(-lanes // 4)
    if lanes > 1:
        body = f"""  for ({index} first = thread * {lanes}u; first < n; first += threads * {lanes}u) {{
    {memory(t)} x[{lanes}];
    unsigned char kept[{lanes}];
    fetch(x, input + first, {lanes});
#pragma unroll
    for (int call = 0; call < {calls}; ++call, ++block) {{
      const Words w = philox(seed, block, thread);
#pragma unroll
      for (int k = 0; k < {min(lanes, 4)}; ++k) {{
        x[4 * call + k] = {result("x[4 * call + k]", "w.at[k]")};
        kept[4 * call + k] = w.at[k] < limit;
      }}
    }}
    put(out + first, x, {lanes});
    put(mask + first, kept, {lanes});
  }}"""
    else:
        body = f"""  for ({index} first = thread; first < n; first += threads * 4u, ++block) {{
    const Words w = philox(seed, block, thread);
#pragma unroll
    for (int k = 0; k < 4; ++k) {{
      const {index} i = first + threads * k;
      if (i < n) {{
        out[i] = {result("input[i]", "w.at[k]")};
        mask[i] = w.at[k] < limit;
      }}
    }}
  }}"""
    lines = f"""{state()}
  const unsigned limit = (unsigned)below;
  const {index} n = ({index})count, threads = gridDim.x * blockDim.x, thread = blockIdx.x * blockDim.x + threadIdx.x;
  unsigned long long block = start;
{body}"""
    given = [(f"{memory(t)}*", "out"), ("unsigned char*", "mask"), (f"const {memory(t)}*", "input")]
    given += [("long long", "count"), *SEEDS, ("long long", "below"), (register(real), "scale")]
    return written("facula_dropout", given, lines, helpers)


@lru_cache(1024)
def words_below(p: float, double: bool) -> int:
    """How many words are numbers below p when they are spread over (0, 1]: a comparison of words alone."""
    limit = np.float64(p) if double else np.float32(p)

    def number(word: int) -> np.float32:
        return np.float32(word) * np.float32(2.0**-32) + np.float32(2.0**-33)

    low, high = 0, (1 << 32) - 1  # the last one is 1, and not below any p
    while low < high:
        middle = (low + high) // 2
        if number(middle) < limit:
            low = middle + 1
        else:
            high = middle
    return low


@lru_cache(4096)
def _settled(count: int, code: str, kept: float, lanes: int, gpu: driver.Device) -> tuple:
    """What starts it, grid, words that a thread draws, words that keep an element, the factor of these."""
    t = dt.BY_CODE[code]
    if code not in FLOATS:
        fail(NotImplementedError, f'"fused_dropout" not implemented for {code}', expected=", ".join(FLOATS))
    blocks, words = grid_of(count, 4, gpu)
    real = np.float64 if code == "f64" else np.float32
    scale = float(real(1.0 / float(real(kept))))
    start = function(dropout_program, t, lanes, count >= 2**31)
    return start, (blocks, 1), words, words_below(float(real(kept)), code == "f64"), scale


def dropout(
    out: int, mask: int, input: int, count: int, code: str, generator: Generator, kept: float, dense: bool = True
) -> None:
    """Each element with chance `kept` and divided by it, else 0, and a mask (bool) of those kept.

    `dense`: whether the elements lie in memory as in the tensor that they are from.
    """
    if count == 0:
        return
    size = dt.BY_CODE[code].itemsize
    lanes = 16 // size if dense else 1
    while lanes > 1 and (input % (lanes * size) or count % lanes):
        lanes //= 2
    start, grid, words, below, scale = _settled(count, code, kept, lanes, driver.gpu())
    with generator.lock:
        seeds = take(generator.ptr, words)
        start(grid, (THREADS, 1), out, mask, input, count, *seeds, below, scale)


def all_programs() -> Iterator[Program]:
    """The texts for each dtype, number of elements at a time, and width of index."""
    for code in FLOATS:
        t = dt.BY_CODE[code]
        for wide in (False, True):
            lanes = 16 // t.itemsize
            while lanes:
                yield dropout_program(t, lanes, wide)
                lanes //= 2
