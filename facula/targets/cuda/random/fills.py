"""Fills: random numbers into memory, each element from a few words of its own, with the bits of PyTorch on CUDA.

Which thread makes which element follows PyTorch's kernels, and so depends on the GPU's number of multiprocessors where
there are more elements than threads that run at once.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from facula.core import dtype as dt
from facula.core.generator import Generator
from facula.errors import fail

from .. import driver
from ..functions import function, written
from ..texts.emit import THREADS, Program
from ..texts.operations import cast
from ..texts.philox import SEEDS, state, take
from ..texts.types import literal, memory, register

__all__ = [
    "all_programs", "bernoulli", "cauchy", "exponential", "geometric", "grid_of", "integers", "log_normal", "normal",
    "sampler", "uniform",
]  # fmt: skip

FLOATS = ("f16", "bf16", "f32", "f64")
INTEGERS = ("u8", "i8", "i16", "i32", "i64")
SIGNED = {"u16": "i16", "u32": "i32", "u64": "i64"}  # the same bits
DIGITS = {"f16": 11, "bf16": 8, "f32": 24, "f64": 53}
REACH = 2**31 - 1  # bytes from the first element to the last that one launch writes; more are drawn in parts


class Fill(NamedTuple):
    """How elements are made of random numbers, each of its own."""

    codes: tuple[str, ...]
    source: str  # what `r` is: a function in `philox`, or "words"
    takes: tuple[str, ...]  # names: `real`, the type of the arithmetic; with a `*` before: long long
    value: str  # of r
    before: str = ""


# PyTorch's fast functions of float, and the exact ones of double.
FAST = {"exp": "__expf", "log": "__logf", "tan": "__tanf", "fma": "fmaf", "ceil": "ceilf"}
FILLS = {
    "uniform": Fill(
        FLOATS, "uniforms", ("low", "high"), "@fma(r, range, from)",
        "  const real from = @round(low), to = @round(high), range = @round(to - from);",
    ),
    "normal": Fill(FLOATS, "normals", ("mean", "std"), "@fma(r, std, mean)"),
    "log_normal": Fill(FLOATS, "normals", ("mean", "std"), "@exp(@fma(r, std, mean))"),
    "exponential": Fill(
        FLOATS, "uniforms", ("rate",), "factor * (r >= 1 - half ? -half : @log(r))",
        "  const real half = @epsilon / 2, factor = -1 / rate;",
    ),
    "cauchy": Fill(FLOATS, "uniforms", ("median", "sigma"), "@fma(sigma, @tan(@pi * (@clipped - (real)0.5)), median)"),
    "geometric": Fill((*INTEGERS, *FLOATS), "uniforms", ("p",), "@ceil(@log(r) / failures)",
                      "  const real failures = @log1p(-p);"),
    "bernoulli": Fill(("b1", *INTEGERS, *FLOATS), "uniforms", ("p", "one"), "r < p ? one : (real)0"),
    "integers": Fill(("b1", *INTEGERS, *FLOATS), "", (), "(long long)(r % @most)"),
    "integers_range": Fill(
        ("b1", *INTEGERS, *FLOATS), "words", ("*span", "*low"), "(long long)(r % size) + low",
        "  const unsigned size = (unsigned)span;",
    ),
    "integers_wide_range": Fill(
        ("b1", *INTEGERS, *FLOATS), "pairs", ("*span", "*low"),
        "(long long)(r % (unsigned long long)span + (unsigned long long)low)",
    ),
    "integers_full": Fill(("i64", "bf16", "f32", "f64"), "pairs", (), "(long long)r"),
}  # fmt: skip
RAW = {"words": "unsigned", "pairs": "unsigned long long"}


def _source(name: str, code: str) -> tuple[str, int]:
    """What the numbers of a fill are made by, and how many a block of four words gives."""
    source = FILLS[name].source or ("pairs" if code in ("i64", "f64") else "words")
    return source, 2 if source == "pairs" or (code == "f64" and source not in RAW) else 4


def _most(code: str) -> int:
    """How many whole numbers `random_()` draws from, 0 included."""
    if code in DIGITS:
        return 2 ** DIGITS[code] + 1
    return {"b1": 2, "u8": 256}.get(code) or 2 ** (int(code[1:]) - 1)


def fill_program(name: str, code: str) -> Program:
    """The text of a fill for a dtype."""
    fill, t = FILLS[name], dt.BY_CODE[code]
    real = dt.float64 if t is dt.float64 else dt.float32
    source, lanes = _source(name, code)
    helpers = {"philox" if source == "words" else source}

    def use(helper: str) -> str:
        helpers.add(helper)
        return helper

    def narrow(value: str) -> str:
        return cast(use, value, real if source not in RAW else dt.int64, t)

    def widened(value: str) -> str:
        return cast(use, value, t, real)

    def text(of: str) -> str:
        for exact, fast in FAST.items():
            of = of.replace(f"@{exact}(", f"{exact if real is dt.float64 else fast}(")
        epsilon = literal(np.finfo(real.numpy).eps, real)
        clipped = "r" if real is dt.float64 else f"fminf(fmaxf(r, {epsilon}), 1 - {epsilon})"
        log1p = "log1p(" if real is dt.float64 else "__logf(1 + "
        of = of.replace("@epsilon", epsilon).replace("@pi", literal(np.pi, real)).replace("@clipped", clipped)
        of = of.replace("@log1p(", log1p).replace("@most", f"{_most(code)}u" + "ll" * (source == "pairs"))
        return of.replace("real", register(real))

    before, value = text(fill.before), text(fill.value)
    if name == "uniform":  # the bounds, too, are numbers of the dtype; 1 in (0, 1] becomes 0
        for bound in ("low", "high", "to - from"):
            before = before.replace(f"@round({bound})", widened(narrow(bound)))
        store = f"""const {memory(t)} value = {narrow(value)};
        out[i] = {widened("value")} == to ? {narrow("from")} : value;"""
    else:
        store = f"out[i] = {narrow(f'({value})')};"
    number = RAW.get(source, register(real))
    made = "" if source == "words" else f"    {number} numbers[{lanes}];\n    {source}(numbers, w);\n"
    lines = f"""{state()}
  const unsigned n = (unsigned)count, threads = gridDim.x * blockDim.x, thread = blockIdx.x * blockDim.x + threadIdx.x;
{before}
  unsigned long long block = start;
  for (unsigned first = thread; first < n; first += threads * {lanes}u, ++block) {{
    const Words w = philox(seed, block, thread);
{made}#pragma unroll
    for (int k = 0; k < {lanes}; ++k) {{
      const unsigned i = first + threads * k;
      const {number} r = {"numbers[k]" if made else "w.at[k]"};
      if (i < n) {{
        {store}
      }}
    }}
  }}"""
    takes = [("long long", p[1:]) if p[0] == "*" else (register(real), p) for p in fill.takes]
    given = ((f"{memory(t)}*", "out"), ("long long", "count"), *SEEDS, *takes)
    return written(f"facula_{name}", given, lines, helpers)


def grid_of(count: int, lanes: int, gpu: driver.Device) -> tuple[int, int]:
    """How many blocks fill `count` elements, `lanes` at a time a thread, and how many words a thread may draw."""
    blocks = min(gpu.multiprocessors * (gpu.resident // THREADS), -(-count // THREADS))
    return blocks, ((count - 1) // (THREADS * blocks * lanes) + 1) * 4


def parts_of(count: int, itemsize: int) -> list[tuple[int, int]]:
    """First element and size of the parts that PyTorch fills one after the other: halves, halves of these, ..."""
    if 1 + (count - 1) * itemsize <= REACH:
        return [(0, count)]
    half = count // 2
    return parts_of(half, itemsize) + [(half + at, n) for at, n in parts_of(count - half, itemsize)]


@lru_cache(4096)
def _drawer(name: str, count: int, code: str, gpu: driver.Device) -> Callable[..., None]:
    """The function (state address, out address, count, parameters) of a fill of a size."""
    code = SIGNED.get(code, code)
    if code not in FILLS[name].codes:
        fail(NotImplementedError, f'"{name}" not implemented for {code}', expected=", ".join(FILLS[name].codes))
    if count == 0:
        return _nothing
    start = function(fill_program, name, code)
    item = dt.BY_CODE[code].itemsize
    lanes, block = _source(name, code)[1], (THREADS, 1)
    parts = [(item * at, n, *grid_of(n, lanes, gpu)) for at, n in parts_of(count, item)]
    if len(parts) == 1:
        _, _, blocks, words = parts[0]
        grid = blocks, 1

        def draw(state: int, out: int, _: int, *parameters: float) -> None:
            start(grid, block, out, count, *take(state, words), *parameters)

        return draw
    unused = grid_of(count, lanes, gpu)[1]

    def draw_parts(state: int, out: int, _: int, *parameters: float) -> None:
        take(state, unused)  # as PyTorch, which counts before it finds out that there are parts
        for at, n, blocks, words in parts:
            start((blocks, 1), block, out + at, n, *take(state, words), *parameters)

    return draw_parts


def _nothing(*_: float) -> None:
    pass


def sampler(name: str, count: int, code: str, contiguous: bool = True) -> Callable[..., None]:
    """The function (state address, out address, count, parameters) that draws numbers; call it under the lock."""
    return _drawer(name, count, code, driver.gpu())


def _draw(name: str, ptr: int, count: int, code: str, generator: Generator, *parameters: float) -> None:
    draw = _drawer(name, count, code, driver.gpu())
    with generator.lock:
        draw(generator.ptr, ptr, count, *parameters)


def uniform(ptr: int, count: int, code: str, generator: Generator, low: float = 0.0, high: float = 1.0) -> None:
    """Numbers in [low, high)."""
    _draw("uniform", ptr, count, code, generator, low, high)


def normal(
    ptr: int, count: int, code: str, generator: Generator, mean: float = 0.0, std: float = 1.0, contiguous: bool = True
) -> None:
    """Normal numbers; whether the tensor is contiguous makes no difference here."""
    _draw("normal", ptr, count, code, generator, mean, std)


def log_normal(ptr: int, count: int, code: str, generator: Generator, mean: float = 1.0, std: float = 2.0) -> None:
    """Exponentials of normal numbers."""
    _draw("log_normal", ptr, count, code, generator, mean, std)


def exponential(ptr: int, count: int, code: str, generator: Generator, rate: float = 1.0) -> None:
    """Waiting times."""
    _draw("exponential", ptr, count, code, generator, rate)


def cauchy(ptr: int, count: int, code: str, generator: Generator, median: float = 0.0, sigma: float = 1.0) -> None:
    """Numbers of the Cauchy distribution."""
    _draw("cauchy", ptr, count, code, generator, median, sigma)


def geometric(ptr: int, count: int, code: str, generator: Generator, p: float) -> None:
    """Trials until the first success."""
    _draw("geometric", ptr, count, code, generator, p)


def bernoulli(ptr: int, count: int, code: str, generator: Generator, p: float = 0.5, one: float = 1.0) -> None:
    """`one` with probability p, else 0."""
    _draw("bernoulli", ptr, count, code, generator, p, one)


def integers(
    ptr: int, count: int, code: str, generator: Generator, low: int | None = None, high: int | None = None
) -> None:
    """Whole numbers in [low, high), or what `random_` draws without bounds."""
    if low is None:
        _draw("integers", ptr, count, code, generator)
    elif high is None:
        _draw("integers_full", ptr, count, code, generator)
    else:
        span = high - low
        wide = span >= 1 << 28  # below, PyTorch accepts the skew of a 32-bit remainder
        name = "integers_wide_range" if wide else "integers_range"
        _draw(name, ptr, count, code, generator, span - (1 << 64) if span >= 1 << 63 else span, low)


def all_programs() -> Iterator[Program]:
    """The texts of all fills for each dtype."""
    for name, fill in FILLS.items():
        for code in fill.codes:
            yield fill_program(name, code)
