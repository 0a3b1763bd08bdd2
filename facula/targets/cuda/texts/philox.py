"""Philox4x32-10 (Salmon, Moraes, Dror and Shaw, 2011) as C++: a thread's numbers follow from seed, place and thread.

Numbers and their order are those of PyTorch's kernels: word by word of block `offset / 4`, `offset / 4 + 1`, ... of the
thread's own sequence. Products and sums that nvcc joins to one rounding in PyTorch say `fmaf` here.
"""

from ctypes import Array, c_longlong

import numpy as np

from facula.core import dtype as dt
from facula.core import philox as layout
from facula.errors import fail

from .. import driver
from .types import literal

__all__ = ["HELPERS", "NEEDS", "SEEDS", "record", "state", "take"]

_INLINE = "__device__ __forceinline__"
M0, M1, W0, W1 = 0xD2511F53, 0xCD9E8D57, 0x9E3779B9, 0xBB67AE85
TURN = literal(float(np.float32(2 * np.pi)) * 2.0**-32, dt.float32)  # a word of 2**32 as an angle
HALF_TURN = literal(float(np.float32(2 * np.pi)) * 2.0**-33, dt.float32)
UNIT, HALF_UNIT = literal(2.0**-32, dt.float32), literal(2.0**-33, dt.float32)
UNIT53, HALF_UNIT53, TURN53 = (literal(2.0**-n, dt.float64) for n in (53, 54, 52))

# What a kernel takes, and the line that makes `seed` and `offset` of it: values, or in a captured graph two words of
# memory, which each replay sets, and a distance from them.
SEEDS = (("long long", "seed_value"), ("long long", "offset_value"), ("const unsigned long long*", "graph"))


def state() -> str:
    """Lines that make `seed` and the number of the first block of four words."""
    return """  const unsigned long long seed = graph ? graph[0] : (unsigned long long)seed_value;
  const unsigned long long start = ((graph ? graph[1] : 0ull) + (unsigned long long)offset_value) >> 2;"""


_RECORDS: dict[int, Array] = {}  # the records of generators as numbers, by their addresses


def record(ptr: int) -> Array:
    """The record of a generator as numbers."""
    found = _RECORDS.get(ptr)
    if found is None:
        if len(_RECORDS) > 1024:
            _RECORDS.clear()
        _RECORDS[ptr] = found = (c_longlong * (layout.RECORD // 8)).from_address(ptr)
    return found


def take(ptr: int, count: int) -> tuple[int, int, int]:
    """What kernels take as `SEEDS`, where each thread may draw `count` words; the generator's lock must be held."""
    found = _RECORDS.get(ptr) or record(ptr)
    graph = found[2]
    if not graph and driver.gpu().stream.capture is not None:
        fail(
            RuntimeError,
            "Attempt to increase offset for a CUDA generator not in capture mode.",
            mend="before capture: graph.register_generator_state(generator)",
        )
    at = found[3 if graph else 1]
    found[3 if graph else 1] = at + (count + 3 & ~3)
    return found[0], at, graph


HELPERS: dict[str, str] = {
    "philox": f"""struct Words {{
  unsigned at[4];
}};
{_INLINE} Words philox(unsigned long long seed, unsigned long long block, unsigned long long sequence) {{
  unsigned k0 = (unsigned)seed, k1 = (unsigned)(seed >> 32);
  unsigned c0 = (unsigned)block, c1 = (unsigned)(block >> 32);
  unsigned c2 = (unsigned)sequence, c3 = (unsigned)(sequence >> 32);
#pragma unroll
  for (int round = 0; round < 10; ++round) {{
    const unsigned high0 = __umulhi({M0:#x}u, c0), low0 = {M0:#x}u * c0;
    const unsigned high1 = __umulhi({M1:#x}u, c2), low1 = {M1:#x}u * c2;
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 += {W0:#x}u;
    k1 += {W1:#x}u;
  }}
  return {{{{c0, c1, c2, c3}}}};
}}""",
    # Of a block of four words: pairs as one integer, the first one high.
    "pairs": f"""{_INLINE} void pairs(unsigned long long (&to)[2], const Words& w) {{
  to[0] = (unsigned long long)w.at[0] << 32 | w.at[1];
  to[1] = (unsigned long long)w.at[2] << 32 | w.at[3];
}}""",
    # Spread evenly over (0, 1].
    "uniforms": f"""{_INLINE} float uniform(unsigned word) {{
  return fmaf((float)word, {UNIT}, {HALF_UNIT});
}}
{_INLINE} double uniform(unsigned low, unsigned high) {{
  const unsigned long long bits = (unsigned long long)low ^ (unsigned long long)high << 21;
  return fma((double)bits, {UNIT53}, {HALF_UNIT53});
}}
{_INLINE} void uniforms(float (&to)[4], const Words& w) {{
#pragma unroll
  for (int k = 0; k < 4; ++k) to[k] = uniform(w.at[k]);
}}
{_INLINE} void uniforms(double (&to)[2], const Words& w) {{
  to[0] = uniform(w.at[0], w.at[1]);
  to[1] = uniform(w.at[2], w.at[3]);
}}""",
    # Two normal numbers of two uniform ones (Box and Muller, 1958); in float with the GPU's fast sine and cosine.
    "normals": f"""{_INLINE} void normals(float& first, float& second, unsigned radius, unsigned angle) {{
  const float length = sqrtf(-2.0f * logf(uniform(radius)));
  __sincosf(fmaf((float)angle, {TURN}, {HALF_TURN}), &first, &second);
  first *= length;
  second *= length;
}}
{_INLINE} void normals(float (&to)[4], const Words& w) {{
  normals(to[0], to[1], w.at[0], w.at[1]);
  normals(to[2], to[3], w.at[2], w.at[3]);
}}
{_INLINE} void normals(double (&to)[2], const Words& w) {{
  const unsigned long long angle = (unsigned long long)w.at[2] ^ (unsigned long long)w.at[3] << 21;
  const double length = sqrt(-2.0 * log(uniform(w.at[0], w.at[1])));
  sincospi(fma((double)angle, {TURN53}, {UNIT53}), &to[0], &to[1]);
  to[0] *= length;
  to[1] *= length;
}}""",
    # The numbers of one thread, drawn one by one: a word at a time, a normal number of two, whose twin is kept.
    "Drawing": f"""struct Drawing {{
  unsigned long long seed, block, sequence;
  Words words;
  int next;
  bool kept;
  float twin;
}};
{_INLINE} Drawing drawing(unsigned long long seed, unsigned long long block, unsigned long long sequence) {{
  return {{seed, block, sequence, {{{{0u, 0u, 0u, 0u}}}}, 4, false, 0.0f}};
}}
{_INLINE} unsigned next_word(Drawing& d) {{
  if (d.next == 4) {{
    d.words = philox(d.seed, d.block++, d.sequence);
    d.next = 0;
  }}
  const int k = d.next++;  // chosen by comparison: an index would put the words into memory
  return k == 0 ? d.words.at[0] : k == 1 ? d.words.at[1] : k == 2 ? d.words.at[2] : d.words.at[3];
}}
{_INLINE} float next_uniform(Drawing& d) {{
  return uniform(next_word(d));
}}
{_INLINE} float next_normal(Drawing& d) {{
  if (d.kept) {{
    d.kept = false;
    return d.twin;
  }}
  const unsigned radius = next_word(d), angle = next_word(d);
  float first;
  normals(first, d.twin, radius, angle);
  d.kept = true;
  return first;
}}""",
}

NEEDS: dict[str, tuple[str, ...]] = {
    "pairs": ("philox",),
    "uniforms": ("philox",),
    "normals": ("uniforms",),
    "Drawing": ("normals",),
}
