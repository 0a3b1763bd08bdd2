"""Samplers that draw until a number is accepted: gamma, poisson, binomial; each element from a sequence of its own.

Methods: Marsaglia and Tsang (2000), gamma; Knuth's product of uniform numbers, PTRS of Hoermann (1993) and the normal
approximation, poisson; Hoermann's BTRS (1993) and a sum of geometric numbers, binomial. Their steps, and so the numbers
that they draw, are PyTorch's, but for poisson's rates from 64 to 4000.
"""

from collections.abc import Iterator

from facula.core import dtype as dt
from facula.core.generator import Generator
from facula.errors import fail

from ..functions import function, written
from ..texts.emit import THREADS, Program
from ..texts.operations import cast
from ..texts.philox import SEEDS, state, take
from ..texts.types import literal, memory, register

__all__ = ["all_programs", "binomial", "gamma", "poisson", "program"]

FLOATS = ("f16", "bf16", "f32", "f64")
SMALLEST = {"f16": 2.0**-14, "bf16": 2.0**-126, "f32": 2.0**-126, "f64": 2.0**-1022}
WORDS = {"gamma": 10, "poisson": 20, "binomial": 42}  # by how many PyTorch moves the generator on
STIRLING = (
    0.0810614667953272, 0.0413406959554092, 0.0276779256849983, 0.02079067210376509, 0.0166446911898211,
    0.0138761288230707, 0.0118967099458917, 0.0104112652619720, 0.00925546218271273, 0.00833056343336287,
)  # fmt: skip

_INLINE = "__device__ __forceinline__"
# `real`: float for 16-bit elements; `@f(` is a function of it.
GAMMA = f"""{_INLINE} real sampled(Drawing& d, real alpha) {{
  real scale = 1;
  if (!(alpha > 0)) return alpha == 0 ? alpha : @sqrt(-(real)1);  // no number would ever be accepted
  if (alpha < 1) {{
    scale = @pow(1 - (real)next_uniform(d), 1 / alpha);
    alpha += 1;
  }}
  const real m = alpha - (real)(1.0f / 3.0f), c = 1 / @sqrt(9 * m);
  for (;;) {{
    const real x = next_normal(d), y = @fma(c, x, (real)1);
    if (y <= 0) continue;
    const real v = y * y * y, u = 1 - (real)next_uniform(d), xx = x * x;
    if (u < @fma(-(real)0.0331f * xx, xx, (real)1)) return scale * m * v;
    if (@log(u) < @fma((real)0.5, xx, m * (1 - v + @log(v)))) return scale * m * v;
  }}
}}"""
POISSON = f"""{_INLINE} real sampled(Drawing& d, real rate) {{
  if (rate != rate) return rate;  // no number would ever be accepted
  if (rate < 64) {{
    unsigned count = 0;
    float product = expf((float)rate);
    do {{
      ++count;
      product *= next_uniform(d);
    }} while (product > 1.0f);
    return (real)(count - 1);
  }}
  const double wide = rate;
  if (wide > 4000.0) {{
    Words w;
#pragma unroll
    for (int k = 0; k < 4; ++k) w.at[k] = next_word(d);
    double normal[2];
    normals(normal, w);
    return (real)floor(fma(sqrt(wide), normal[0], wide) + 0.5);
  }}
  const double log_rate = log(wide), b = 0.931 + 2.53 * sqrt(wide), a = -0.059 + 0.02483 * b;
  const double log_inverse = log(1.1239 + 1.1328 / (b - 3.4)), box = 0.9277 - 3.6224 / (b - 2.0);
  for (;;) {{
    const double u = (double)next_uniform(d) - 0.5, v = next_uniform(d), us = 0.5 - fabs(u);
    const double k = floor((2.0 * a / us + b) * u + wide + 0.43);
    if (us >= 0.07 && v <= box) return (real)k;
    if (k < 0.0 || (us < 0.013 && v > us)) continue;
    if (log(v) + log_inverse - log(a / (us * us) + b) <= k * log_rate - wide - lgamma(k + 1.0)) return (real)k;
  }}
}}"""
BINOMIAL = f"""{_INLINE} float next_fraction(Drawing& d) {{
  return (float)(next_word(d) & 0xffffffu) * {literal(2.0**-24, dt.float32)};
}}
{_INLINE} real tail(real k) {{
  static const real known[10] = {{{", ".join(map(str, STIRLING))}}};
  if (k < 10) return known[(int)k];
  const real square = (k + 1) * (k + 1);
  return ((real)(1.0 / 12) - ((real)(1.0 / 360) - (real)(1.0 / 1260) / square) / square) / (k + 1);
}}
{_INLINE} real of_gaps(Drawing& d, real count, real p) {{
  const real failure = @log1p(-p);
  real total = 0, successes = 0;
  for (;;) {{
    total += @ceil(@log((real)next_fraction(d)) / failure);
    if (!(total <= count)) return successes;
    successes += 1;
  }}
}}
{_INLINE} real of_box(Drawing& d, real count, real p) {{
  const real deviation = @sqrt(count * p * (1 - p)), b = (real)(1.15 + 2.53 * deviation);
  const real a = (real)(-0.0873 + 0.0248 * b + 0.01 * p), c = (real)(count * p + 0.5), box = (real)(0.92 - 4.2 / b);
  const real r = p / (1 - p), alpha = (real)((2.83 + 5.1 / b) * deviation), m = @floor((count + 1) * p);
  for (;;) {{
    const real u = (real)((real)next_fraction(d) - 0.5);
    real v = next_fraction(d);
    const real us = (real)(0.5 - @fabs(u)), k = @floor(@fma(2 * a / us + b, u, c));
    if (k < 0 || k > count) continue;
    if (us >= 0.07 && v <= box) return k;
    v = @log(v * alpha / (a / (us * us) + b));
    const real bound = (real)((m + 0.5) * @log((m + 1) / (r * (count - m + 1))) +
        (count + 1) * @log((count - m + 1) / (count - k + 1)) + (k + 0.5) * @log(r * (count - k + 1) / (k + 1)) +
        tail(m) + tail(count - m) - tail(k) - tail(count - k));
    if (v <= bound) return k;
  }}
}}
{_INLINE} real sampled(Drawing& d, real count, real p) {{
  if (count <= 0 || p <= 0) return 0;
  if (p >= 1) return count;
  if (p != p) return p;
  const bool rare = p <= (real)0.5;
  const real q = rare ? p : 1 - p;
  const real k = count * q >= 10 ? of_box(d, count, q) : of_gaps(d, count, q);
  return rare ? k : count - k;
}}"""
TEXTS = {"gamma": GAMMA, "poisson": POISSON, "binomial": BINOMIAL}
FUNCTIONS = ("pow", "sqrt", "fma", "log", "log1p", "ceil", "floor", "fabs")
BINOMIAL_THREADS, BINOMIAL_LANES = 128, 8  # a thread's elements lie a block's threads apart


def program(name: str, code: str) -> Program:
    """The text of a sampler for a dtype."""
    t = dt.BY_CODE[code]
    real = dt.float64 if t is dt.float64 else dt.float32
    helpers = {"Drawing"}

    def use(helper: str) -> str:
        helpers.add(helper)
        return helper

    before = TEXTS[name]
    for f in FUNCTIONS:
        before = before.replace(f"@{f}(", f"{f}{'' if real is dt.float64 else 'f'}(")
    before = before.replace("real ", f"{register(real)} ").replace("(real)", f"({register(real)})")
    if name == "binomial":
        lanes, threads, parameters = BINOMIAL_LANES, BINOMIAL_THREADS, ("counts", "chances")
    else:
        lanes, threads, parameters = 1, THREADS if name == "gamma" else 512, ("parameters",)
    values = ", ".join(cast(use, f"{p}[i]", t, real) for p in parameters)
    value = "made"
    if name == "gamma":
        value = f"({literal(SMALLEST[code], real)} > made ? {literal(SMALLEST[code], real)} : made)"
    lines = f"""{state()}
  Drawing d = drawing(seed, start, (unsigned long long)blockIdx.x * {threads}u + threadIdx.x);
  long long i = (long long)blockIdx.x * {threads * lanes} + threadIdx.x;
  for (int k = 0; k < {lanes} && i < count; ++k, i += {threads}) {{
    const {register(real)} made = sampled(d, {values});
    out[i] = {cast(use, value, real, t)};
  }}"""
    given = [(f"{memory(t)}*", "out"), ("long long", "count"), *SEEDS]
    given += [(f"const {memory(t)}*", p) for p in parameters]
    return written(f"facula_{name}", given, lines, helpers, before, threads)


def all_programs() -> Iterator[Program]:
    """The texts for each dtype."""
    for name in TEXTS:
        for code in FLOATS:
            yield program(name, code)


def _sample(name: str, ptr: int, count: int, code: str, generator: Generator, *parameters: int) -> None:
    if code not in FLOATS:
        fail(NotImplementedError, f'"{name}" not implemented for {code}', expected=", ".join(FLOATS))
    if count == 0:
        return
    text = function(program, name, code)
    threads = {"gamma": THREADS, "poisson": 512, "binomial": BINOMIAL_THREADS}[name]
    lanes = BINOMIAL_LANES if name == "binomial" else 1
    with generator.lock:
        seeds = take(generator.ptr, WORDS[name])
        text((-(-count // (threads * lanes)), 1), (threads, 1), ptr, count, *seeds, *parameters)


def gamma(ptr: int, count: int, code: str, generator: Generator, alphas: int) -> None:
    """Gamma numbers of scale 1."""
    _sample("gamma", ptr, count, code, generator, alphas)


def poisson(ptr: int, count: int, code: str, generator: Generator, rates: int) -> None:
    """Numbers of events."""
    _sample("poisson", ptr, count, code, generator, rates)


def binomial(ptr: int, count: int, code: str, generator: Generator, counts: int, probabilities: int) -> None:
    """Numbers of successes."""
    _sample("binomial", ptr, count, code, generator, counts, probabilities)
