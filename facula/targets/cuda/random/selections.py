"""Random numbers that depend on other elements' weights or on each other: bernoulli, multinomial, permutation."""

import math
from collections.abc import Iterator
from functools import cache as remembered
from typing import NamedTuple

from facula.core import dtype as dt
from facula.core.dtype import dtype
from facula.core.generator import Generator
from facula.ir import expr as ir
from facula.ir.kernel import Access, Check, Input, Kernel, Param, Result

from .. import code, driver, launcher
from ..functions import function, written
from ..order.sort import sort
from ..texts.emit import Program
from ..texts.operations import cast
from ..texts.philox import SEEDS, state, take
from ..texts.types import memory, register
from .fills import FLOATS, INTEGERS, SIGNED, sampler

__all__ = ["all_programs", "bernoulli_each", "multinomial", "permutation"]

MOST_ROWS = 65535  # of a grid


class Checked(NamedTuple):
    """What the error of a failing check names."""

    name: str
    checks: tuple[Check, ...]


def _checked(name: str, message: str) -> Checked:
    true = ir.const(True, dt.bool_)
    return Checked(name, (Check(true, ir.const(0, dt.int64), message),))


STATUS = (("Status*", "status"), ("long long", "ticket"))

# bernoulli_each -------------------------------------------------------------------------------------------------------

CHANCES = _checked("bernoulli", "Expected p_in >= 0 && p_in <= 1 to be true, but got false.")
EACH_THREADS = 512


def each_program(t: dtype, chance: dtype) -> Program:
    """1 with the element's own chance, else 0; four elements that lie side by side a thread."""
    real = dt.float64 if t is dt.float64 else dt.float32  # of which PyTorch makes the chances first
    helpers = {"uniforms", "note"}

    def use(helper: str) -> str:
        helpers.add(helper)
        return helper

    p = cast(use, "chances[i]", chance, real)
    lines = f"""{state()}
  const unsigned thread = blockIdx.x * {EACH_THREADS}u + threadIdx.x;
  const long long first = 4ll * thread;
  if (first >= count) return;
  const Words w = philox(seed, start, thread);
#pragma unroll
  for (int k = 0; k < 4; ++k) {{
    const long long i = first + k;
    if (i < count) {{
      const {register(real)} p = {p};
      if (!(p >= 0 && p <= 1)) note(status, ticket, 0u, i, 0);
      out[i] = {cast(use, "(long long)(uniform(w.at[k]) <= p)", dt.int64, t)};
    }}
  }}"""
    given = [(f"{memory(t)}*", "out"), ("long long", "count"), *SEEDS, (f"const {memory(chance)}*", "chances")]
    return written("facula_bernoulli_each", [*given, *STATUS], lines, helpers, threads=EACH_THREADS)


def bernoulli_each(ptr: int, count: int, code_: str, generator: Generator, p_ptr: int, p_code: str) -> int:
    """1 with the element's own probability; one outside [0, 1] is raised at the next synchronisation."""
    if count:
        t = dt.BY_CODE[SIGNED.get(code_, code_)]
        text = function(each_program, t, dt.BY_CODE[p_code])
        with generator.lock:
            seeds = take(generator.ptr, 10)
            blocks = -(-count // (4 * EACH_THREADS))
            text((blocks, 1), (EACH_THREADS, 1), ptr, count, *seeds, p_ptr, *code.marks(CHANCES))
    return -1


# multinomial ----------------------------------------------------------------------------------------------------------

SUMS = _checked("multinomial", "invalid multinomial distribution (sum of probabilities <= 0)")
PICK_THREADS = 128


@remembered
def _sums_code(t: dtype, gpu: driver.Device) -> code.Code:
    """The sums of a row's weights up to and with each."""
    weight = ir.cast(ir.load("weights", t), dt.float64)
    invalid = "invalid multinomial distribution (encountering probability entry "
    kernel = Kernel(
        "multinomial",
        (Input("weights", t),),
        (Result("sums", dt.float64, ir.scan("sum", weight)),),
        checks=(
            Check(ir.not_(ir.lt(weight, 0.0)), ir.index(0), invalid + "< 0), in row {value}"),
            Check(
                ir.not_(ir.or_(ir.isnan(weight), ir.isinf(weight))),
                ir.index(0),
                invalid + "= infinity or NaN), in row {value}",
            ),
        ),
    )
    return code.Code(kernel, Access(1, 1, ("s1", "s1")))


def pick_program(t: dtype) -> Program:
    """A category for each sample of each row: where its number falls among the sums."""
    helpers = {"uniforms", "note"}

    def use(helper: str) -> str:
        helpers.add(helper)
        return helper

    lines = f"""{state()}
  const unsigned sample = blockIdx.x * {PICK_THREADS}u + threadIdx.x;
  const unsigned thread = blockIdx.y * gridDim.x * {PICK_THREADS}u + sample;
  if (sample >= samples) return;
  unsigned long long block = start;
  for (long long row = blockIdx.y; row < rows; row += gridDim.y, ++block) {{
    const Words w = philox(seed, block, thread);
    const double* sum = sums + row * categories;
    const {memory(t)}* weight = weights + row * categories;
    const double total = sum[categories - 1], value = (double)uniform(w.at[0]) * total;
    if (!(total > 0.0)) note(status, ticket, 0u, row, 0);
    long long low = 0, high = categories;
    while (low < high) {{
      const long long middle = (low + high) >> 1;
      if (sum[middle] < value) low = middle + 1;
      else high = middle;
    }}
    if (low == categories) --low;
    while (low >= 1 && {cast(use, "weight[low]", t, dt.float64)} == 0.0) --low;
    out[row * samples + sample] = low;
  }}"""
    given = [("long long*", "out"), *((("long long", n)) for n in ("rows", "samples", "categories")), *SEEDS]
    given += [("const double*", "sums"), (f"const {memory(t)}*", "weights"), *STATUS]
    return written("facula_multinomial", given, lines, helpers, threads=PICK_THREADS)


def multinomial(
    ptr: int, rows: int, samples: int, generator: Generator, p_ptr: int, p_code: str, categories: int
) -> None:
    """Indices drawn with replacement; weights that are none are raised at the next synchronisation."""
    if rows * samples == 0:
        return
    gpu, t = driver.gpu(), dt.BY_CODE[p_code]
    sums = launcher.taken(8 * rows * categories)
    _sums_code(t, gpu)(sums.ptr, p_ptr, rows, categories, categories, categories)
    down = min(rows, MOST_ROWS)
    with generator.lock:
        seeds = take(generator.ptr, ((rows - 1) // down + 1) * 4)
        function(pick_program, t)(
            (-(-samples // PICK_THREADS), down), (PICK_THREADS, 1), ptr, rows, samples, categories, *seeds, sums.ptr,
            p_ptr, *code.marks(SUMS),
        )  # fmt: skip


# permutation ----------------------------------------------------------------------------------------------------------

ISLAND_THREADS = 512


def key_bits(n: int) -> int:
    """How many bits make equal keys of n elements rare: one in ten permutations has any."""
    return min(64, math.ceil(math.log2(n - (6.0 * n * n + 1) / (12 * math.log(0.9)))))


def places_program(t: dtype) -> Program:
    """The places of sorted keys, shuffled where keys are equal, in the dtype of the result."""
    helpers = {"Drawing"}

    def use(helper: str) -> str:
        helpers.add(helper)
        return helper

    lines = f"""{state()}
  const long long i = (long long)blockIdx.x * {ISLAND_THREADS} + threadIdx.x;
  if (i >= count || (i > 0 && keys[i] == keys[i - 1])) return;
  long long size = 1;
  while (i + size < count && keys[i + size] == keys[i]) ++size;
  for (long long k = 0; k < size; ++k) out[i + k] = {cast(use, "places[i + k]", dt.int64, t)};
  if (size == 1) return;
  Drawing d = drawing(seed, start, (unsigned long long)i);
  for (long long k = size - 1; k > 0; --k) {{
    const unsigned other = next_word(d) % (unsigned)(k + 1);
    const {memory(t)} kept = out[i + k];
    out[i + k] = out[i + other];
    out[i + other] = kept;
  }}"""
    given = [(f"{memory(t)}*", "out"), ("long long", "count"), *SEEDS]
    given += [("const long long*", "keys"), ("const long long*", "places")]
    return written("facula_permutation", given, lines, helpers, threads=ISLAND_THREADS)


@remembered
def _keys_code(t: dtype, gpu: driver.Device) -> code.Code:
    """Keys as int64 that are in the order of their low bits."""
    key = ir.and_(ir.cast(ir.load("drawn", t), dt.int64), ir.param("mask", dt.int64))
    kernel = Kernel("permutation_keys", (Input("drawn", t),), (Result("keys", dt.int64, key),),
                    (Param("mask", dt.int64),))  # fmt: skip
    return code.Code(kernel, Access(1, 0, ("1", "1")))


def permutation(ptr: int, count: int, code_: str, generator: Generator) -> None:
    """0 ... count - 1 in random order: sorted by random keys, and shuffled where two keys are equal."""
    if count == 0:
        return
    bits, gpu = key_bits(count), driver.gpu()
    drawn = dt.int64 if bits > 32 else dt.int32
    whole = bits == 8 * drawn.itemsize  # then the sign counts
    blocks = [launcher.taken(size * count) for size in (drawn.itemsize, 8, 8, 8)]
    raw, keys, ordered, places = (b.ptr for b in blocks)
    low = -(1 << 8 * drawn.itemsize - 1)
    span = -2 * low - 1  # PyTorch leaves out the largest one
    draw = sampler("integers_wide_range", count, drawn.code)
    text = function(places_program, dt.BY_CODE[SIGNED.get(code_, code_)])
    with generator.lock:
        draw(generator.ptr, raw, count, span - (1 << 64) if bits > 32 else span, low)
        seeds = take(generator.ptr, count)
    _keys_code(drawn, gpu)(keys, raw, -1 if whole else (1 << bits) - 1, count)
    sort(dt.int64)(ordered, places, keys, 1, count, 1, 0, count, "order", False)
    text((-(-count // ISLAND_THREADS), 1), (ISLAND_THREADS, 1), ptr, count, *seeds, ordered, places)


def all_programs() -> Iterator[Program]:
    """The texts for each dtype."""
    for name in ("b1", *INTEGERS, *FLOATS):
        t = dt.BY_CODE[name]
        yield from (each_program(t, dt.BY_CODE[chance]) for chance in FLOATS)
        if name != "b1":
            yield places_program(t)
    yield from (pick_program(dt.BY_CODE[name]) for name in FLOATS)
