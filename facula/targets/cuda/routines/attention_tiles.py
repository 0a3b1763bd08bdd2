"""The texts of blocked attention, forward and backward, for any sizes: products by plain multiplication, in float32.

A block of threads owns a tile of lines (queries, or keys for their gradients) and goes over the others 64 at a time:
scores are made in registers, go through shared memory once to be a factor of the second product, and are never in
memory. All products are one shape of loop: 16 x 16 threads, R lines times C columns each, 16 deep. Everything is
summed in float32, in an order that depends on sizes alone; gradients are summed by the block that owns them.
"""

from facula.core import dtype as dt
from facula.core.dtype import dtype

from ..functions import written
from ..texts.emit import THREADS, Program
from ..texts.operations import cast
from ..texts.types import memory

__all__ = [
    "ACROSS", "FORWARD", "HIGH", "KEYS", "LOW", "QUERIES", "SCORES", "SIDE", "SINGLE", "arguments_of",
    "attention_program", "scores_of",
]  # fmt: skip

SIDE, DEEP, ACROSS = 16, 16, 64  # threads of a side; numbers of a sum staged at once; columns of a tile of scores
HIGH, LOW, SINGLE = 8, 4, 1  # lines a thread

_SIZES = ("batch", "heads", "group", "queries", "keys", "depth", "width")
_STEPS = ("batch", "head", "row")


def _steps(*names: str) -> list[tuple[str, str]]:
    return [("long long", f"{name}_{dim}") for name in names for dim in _STEPS]


def arguments_of(t: dtype, backward: bool) -> list[tuple[str, str]]:
    """C++ types and names, in the order of the routine; for backward `delta` after them."""
    element = memory(t)
    given = [(f"const {element}*", name) for name in "qkv"]
    given += [(f"{element}*", "o"), ("const void*", "mask"), ("float*", "statistics")]
    given += [("long long", name) for name in _SIZES]
    given += [("float", "scale"), ("long long", "causal"), ("long long", "mask_kind"), *_steps(*"qkvo")]
    given += [("long long", f"mask_{dim}") for dim in (*_STEPS, "col")]
    if backward:
        given += [(f"const {element}*", "grad"), *((f"{element}*", f"grad_{x}") for x in "qkv")]
        given += [*_steps("grad", "grad_q", "grad_k", "grad_v"), ("const float*", "delta")]
    return given


_INLINE = "__device__ __forceinline__"

# What kernels of all kinds share. `MASKED`: there may be a mask; `Place`: where in a tile a thread's number [r][c] is.
SCORES = f"""{_INLINE} int least(int a, int b) {{
  return a < b ? a : b;
}}
{_INLINE} float nothing() {{
  return -__int_as_float(0x7f800000);
}}
{_INLINE} float across(float x, int step) {{
  return __uint_as_float(__shfl_xor_sync(0xffffffffu, __float_as_uint(x), step));
}}
// From products to scores: scaled, with their mask, -inf where query i does not see key j. Lines are queries, or keys.
template <bool OF_KEYS> struct Scores {{
  const void* mask;
  long long mask_line, mask_col;
  int lines, cols, kind;
  float scale;
  bool causal;
  // `top` and `left` are where the tile begins.
  template <class Place, int R, int C> {_INLINE} void finish(float (&s)[R][C], int top, int left) const {{
#pragma unroll
    for (int r = 0; r < R; ++r)
#pragma unroll
      for (int c = 0; c < C; ++c) s[r][c] *= scale;
    if (MASKED && kind != 0) {{
#pragma unroll
      for (int r = 0; r < R; ++r)
#pragma unroll
        for (int c = 0; c < C; ++c) {{
          const int line = top + Place::line(r), col = left + Place::col(c);
          if (line < lines && col < cols) {{
            const long long at = line * mask_line + col * mask_col;
            if (kind == 2) s[r][c] += static_cast<const float*>(mask)[at];
            else if (!static_cast<const unsigned char*>(mask)[at]) s[r][c] = nothing();
          }}
        }}
    }}
    // The earliest query and what comes after the last key.
    const int first = OF_KEYS ? left : top, end = OF_KEYS ? top + Place::LINES : left + Place::COLS;
    if (top + Place::LINES > lines || left + Place::COLS > cols || (causal && end > first + 1)) {{
#pragma unroll
      for (int r = 0; r < R; ++r)
#pragma unroll
        for (int c = 0; c < C; ++c) {{
          const int line = top + Place::line(r), col = left + Place::col(c);
          if (line >= lines || col >= cols || (causal && (OF_KEYS ? line > col : col > line))) s[r][c] = nothing();
        }}
    }}
  }}
}};
"""

# A tile "of lines" in shared memory has the numbers of all its lines for k = 0, then for k = 1, ...; groups of four
# lines change places with k (16 k later all is as before), so that threads that write or read it meet in few banks.
_TILES = f"""
constexpr int SIDE = {SIDE}, DEEP = {DEEP}, THREADS = {THREADS}, ACROSS = {ACROSS};
constexpr int VECTOR = 16 / (int)sizeof(Element);

template <int R, int G> {_INLINE} int place(int k, int group) {{
  return (k * (SIDE * R / G) + (group ^ (k >> 2 & 3))) * G;
}}
template <int R> {_INLINE} void take_lines(float (&to)[R], const float* from, int k, int thread) {{
  constexpr int G = R < 4 ? R : 4;
#pragma unroll
  for (int g = 0; g < R / G; ++g) {{
    const Pack<float, G> some = *reinterpret_cast<const Pack<float, G>*>(from + place<R, G>(k, thread * (R / G) + g));
#pragma unroll
    for (int i = 0; i < G; ++i) to[g * G + i] = some.at[i];
  }}
}}
// Of a row in shared memory, what column() says is a thread's.
template <int C> {_INLINE} int column(int thread, int c) {{
  return c / 4 * 4 * SIDE + thread * 4 + c % 4;
}}
template <int C> {_INLINE} void take_row(float (&to)[C], const float* from, int thread) {{
#pragma unroll
  for (int c = 0; c < C; c += 4) {{
    const Pack<float, 4> some = *reinterpret_cast<const Pack<float, 4>*>(from + column<C>(thread, c));
#pragma unroll
    for (int i = 0; i < 4; ++i) to[c + i] = some.at[i];
  }}
}}
template <int R, int C> {_INLINE} void clear(float (&sum)[R][C]) {{
#pragma unroll
  for (int r = 0; r < R; ++r)
#pragma unroll
    for (int c = 0; c < C; ++c) sum[r][c] = 0;
}}
template <int R, int C> {_INLINE} void add_products(float (&sum)[R][C], const float (&a)[R], const float (&b)[C]) {{
#pragma unroll
  for (int r = 0; r < R; ++r)
#pragma unroll
    for (int c = 0; c < C; ++c) sum[r][c] = fmaf(a[r], b[c], sum[r][c]);
}}

// DEEP features of 16 * R rows, on their way to a tile of lines.
template <int R> struct Lines {{
  static constexpr int EACH = DEEP / VECTOR, ALL = SIDE * R * EACH, MANY = (ALL + THREADS - 1) / THREADS;
  Element held[MANY][VECTOR];
  {_INLINE} void load(const Element* from, long long step, int rows, int cols, int thread) {{
#pragma unroll
    for (int p = 0; p < MANY; ++p) {{
      const int e = thread + p * THREADS, row = e / EACH, at = e % EACH * VECTOR;
      const bool inside = e < ALL && row < rows;
      fetch<VECTOR>(held[p], from + row * step + at, inside ? least(VECTOR, cols - at) : 0);
    }}
  }}
  {_INLINE} void store(float* to, int thread) const {{
    constexpr int G = R < 4 ? R : 4;
#pragma unroll
    for (int p = 0; p < MANY; ++p) {{
      const int e = thread + p * THREADS, row = e / EACH, at = e % EACH * VECTOR;
      if (e < ALL) {{
#pragma unroll
        for (int i = 0; i < VECTOR; ++i) to[place<R, G>(at + i, row / G) + row % G] = widened(held[p][i]);
      }}
    }}
  }}
}};
// 16 * C features of DEEP rows, on their way to a tile as they are.
template <int C> struct Rows {{
  static constexpr int EACH = SIDE * C / VECTOR, ALL = DEEP * EACH, MANY = (ALL + THREADS - 1) / THREADS;
  Element held[MANY][VECTOR];
  {_INLINE} void load(const Element* from, long long step, int rows, int cols, int thread) {{
#pragma unroll
    for (int p = 0; p < MANY; ++p) {{
      const int e = thread + p * THREADS, row = e / EACH, at = e % EACH * VECTOR;
      const bool inside = e < ALL && row < rows;
      fetch<VECTOR>(held[p], from + row * step + at, inside ? least(VECTOR, cols - at) : 0);
    }}
  }}
  {_INLINE} void store(float* to, int thread) const {{
#pragma unroll
    for (int p = 0; p < MANY; ++p) {{
      const int e = thread + p * THREADS;
      if (e < ALL) {{
#pragma unroll
        for (int i = 0; i < VECTOR; i += 4) {{
          Pack<float, 4> some;
#pragma unroll
          for (int j = 0; j < 4; ++j) some.at[j] = widened(held[p][i + j]);
          *reinterpret_cast<Pack<float, 4>*>(to + e * VECTOR + i) = some;
        }}
      }}
    }}
  }}
}};

// sum = A @ B.T of 16 * R rows of A and 16 * C of B; `left` and `right` are room in shared memory. What is staged next
// is read while what is staged is multiplied.
template <int R, int C>
{_INLINE} void dots(float (&sum)[R][C], float* left, float* right, const Element* a, long long a_step, int a_rows,
                    const Element* b, long long b_step, int b_rows, int depth) {{
  const int x = threadIdx.x, y = threadIdx.y, thread = y * SIDE + x;
  Lines<R> of_a;
  Lines<C> of_b;
  clear(sum);
  for (int next = 0;; next += DEEP) {{
    if (next < depth) {{
      of_a.load(a + next, a_step, a_rows, depth - next, thread);
      of_b.load(b + next, b_step, b_rows, depth - next, thread);
    }}
    if (next > 0) {{
#pragma unroll
      for (int k = 0; k < DEEP; ++k) {{
        float left_ones[R], right_ones[C];
        take_lines(left_ones, left, k, y);
        take_lines(right_ones, right, k, x);
        add_products(sum, left_ones, right_ones);
      }}
    }}
    if (next >= depth) break;
    __syncthreads();
    of_a.store(left, thread);
    of_b.store(right, thread);
    __syncthreads();
  }}
}}
// What dots() made, as the tile of lines that gather() reads; k counts the rows of B there.
template <int R, int C> {_INLINE} void keep(float* box, const float (&made)[R][C]) {{
  constexpr int G = R < 4 ? R : 4;
  const int x = threadIdx.x, y = threadIdx.y;
  __syncthreads();
#pragma unroll
  for (int c = 0; c < C; ++c)
#pragma unroll
    for (int g = 0; g < R / G; ++g) {{
      Pack<float, G> some;
#pragma unroll
      for (int i = 0; i < G; ++i) some.at[i] = made[g * G + i][c];
      *reinterpret_cast<Pack<float, G>*>(box + place<R, G>(x * C + c, y * (R / G) + g)) = some;
    }}
}}
// sum += (what is in the box) @ B of `rows` rows and 16 * C features of B.
template <int R, int C>
{_INLINE} void gather(float (&sum)[R][C], const float* box, float* right, const Element* b, long long b_step, int rows,
                      int cols) {{
  const int x = threadIdx.x, y = threadIdx.y, thread = y * SIDE + x;
  Rows<C> of_b;
  for (int next = 0;; next += DEEP) {{
    if (next < rows) of_b.load(b + next * b_step, b_step, rows - next, cols, thread);
    if (next > 0) {{
#pragma unroll
      for (int k = 0; k < DEEP; ++k) {{
        float left_ones[R], right_ones[C];
        take_lines(left_ones, box + (next - DEEP) * (SIDE * R), k, y);
        take_row(right_ones, right + k * SIDE * C, x);
        add_products(sum, left_ones, right_ones);
      }}
    }}
    if (next >= rows) break;
    __syncthreads();
    of_b.store(right, thread);
    __syncthreads();
  }}
}}
// Lines `first` ... of a result, each times its factor.
template <int R, int C>
{_INLINE} void give(Element* to, long long step, int rows, int cols, const float (&made)[R][C],
                    const float (&factor)[R]) {{
  const int x = threadIdx.x, y = threadIdx.y;
#pragma unroll
  for (int r = 0; r < R; ++r) {{
    const int row = y * R + r;
#pragma unroll
    for (int c = 0; c < C; c += 4) {{
      const int at = column<C>(x, c), n = least(4, cols - at);
      Element some[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) some[i] = narrowed(made[r][c + i] * factor[r]);
      if (row < rows && n > 0) put<4>(to + row * step + at, some, n);
    }}
  }}
}}

struct Place {{
  static constexpr int LINES = SIDE * R, COLS = ACROSS;
  static {_INLINE} int line(int r) {{
    return threadIdx.y * R + r;
  }}
  static {_INLINE} int col(int c) {{
    return threadIdx.x * 4 + c;
  }}
}};
"""

# What kernels say first; `lines` and `columns` are sizes, `features` the columns of results.
_HEAD = """  __shared__ Pack<float, 4> left_room[DEEP * SIDE * R / 4], box_room[ACROSS * SIDE * R / 4];
  __shared__ Pack<float, 4> right_room[DEEP * SIDE * (C > 4 ? C : 4) / 4];
  float *left = left_room[0].at, *right = right_room[0].at, *box = box_room[0].at;
  const int blocks = (int)(({lines} + SIDE * R - 1) / (SIDE * R)), block = (int)blockIdx.x % blocks;
  const int start = (int)blockIdx.x / blocks * (SIDE * C);  // of the features that are this block's
"""
_LEAD = """
    const long long b = item / {heads}, {own} = item - b * {heads};"""
_SHARED = _LEAD.format(heads="kv_heads", own="kv")
_MASKED = """const Scores<{of_keys}> scores = {{
      static_cast<const char*>(mask) + (b * mask_batch + h * mask_head) * (mask_kind == 1 ? 1 : 4), mask_{line},
      mask_{col}, (int){line_count}, (int){col_count}, (int)mask_kind, scale, causal != 0}};"""


def scores_of(keys: bool) -> str:
    """The line that says what scores are made of; lines are queries, or `keys`."""
    words = ("true", "col", "row", "keys", "queries") if keys else ("false", "row", "col", "queries", "keys")
    return _MASKED.format(**dict(zip(("of_keys", "line", "col", "line_count", "col_count"), words)))


_OF_QUERIES, _OF_KEYS = scores_of(False), scores_of(True)

# Blocks of late queries, which see many keys of a causal mask, go first.
_FORWARD = f"""{_HEAD.format(lines="queries")}
  const int first = (causal ? blocks - 1 - block : block) * SIDE * R;
  const int end = causal ? least((int)keys, first + SIDE * R) : (int)keys;
  for (long long item = blockIdx.y; item < batch * heads; item += gridDim.y) {{{_LEAD.format(heads="heads", own="h")}
    {_OF_QUERIES}
    const Element* own_q = q + b * q_batch + h * q_head + first * q_row;
    const Element* all_k = k + b * k_batch + h / group * k_head;
    const Element* all_v = v + b * v_batch + h / group * v_head + start;
    float sum[R][C], peak[R], total[R];
    clear(sum);
#pragma unroll
    for (int r = 0; r < R; ++r) {{
      peak[r] = nothing();
      total[r] = 0;
    }}
    for (int at = 0; at < end; at += ACROSS) {{
      float s[R][4];
      dots(s, left, right, own_q, q_row, (int)queries - first, all_k + at * k_row, k_row, (int)keys - at, (int)depth);
      scores.finish<Place>(s, first, at);
#pragma unroll
      for (int r = 0; r < R; ++r) {{
        float most = nothing(), part = 0;
#pragma unroll
        for (int c = 0; c < 4; ++c) most = fmaxf(most, s[r][c]);
#pragma unroll
        for (int step = SIDE / 2; step > 0; step >>= 1) most = fmaxf(most, across(most, step));
        most = fmaxf(most, peak[r]);
        const float base = most == nothing() ? 0.0f : most, shrink = expf(peak[r] - base);
        peak[r] = most;
#pragma unroll
        for (int c = 0; c < 4; ++c) {{
          s[r][c] = expf(s[r][c] - base);
          part += s[r][c];
        }}
#pragma unroll
        for (int step = SIDE / 2; step > 0; step >>= 1) part += across(part, step);
        total[r] = fmaf(total[r], shrink, part);
#pragma unroll
        for (int c = 0; c < C; ++c) sum[r][c] *= shrink;
      }}
      keep(box, s);
      gather(sum, box, right, all_v + at * v_row, v_row, least(ACROSS, (int)keys - at), (int)width - start);
    }}
    float inverse[R];
#pragma unroll
    for (int r = 0; r < R; ++r) inverse[r] = total[r] == 0 ? 0.0f : 1.0f / total[r];
    give(o + b * o_batch + h * o_head + first * o_row + start, o_row, (int)queries - first, (int)width - start, sum,
         inverse);
    if (start == 0 && threadIdx.x == 0) {{
#pragma unroll
      for (int r = 0; r < R; ++r) {{
        const int i = first + Place::line(r);
        if (i < queries) {{
          statistics[item * queries + i] = peak[r] == nothing() ? 0.0f : peak[r];
          statistics[(batch * heads + item) * queries + i] = inverse[r];
        }}
      }}
    }}
  }}"""

_QUERIES = f"""{_HEAD.format(lines="queries")}
  const int first = (causal ? blocks - 1 - block : block) * SIDE * R;
  const int end = causal ? least((int)keys, first + SIDE * R) : (int)keys;
  for (long long item = blockIdx.y; item < batch * heads; item += gridDim.y) {{{_LEAD.format(heads="heads", own="h")}
    {_OF_QUERIES}
    const Element* own_q = q + b * q_batch + h * q_head + first * q_row;
    const Element* own_grad = grad + b * grad_batch + h * grad_head + first * grad_row;
    const Element* all_k = k + b * k_batch + h / group * k_head;
    const Element* all_v = v + b * v_batch + h / group * v_head;
    float sum[R][C], peak[R], inverse[R], mean[R], one[R];
    clear(sum);
#pragma unroll
    for (int r = 0; r < R; ++r) {{
      const int i = first + Place::line(r);
      const bool inside = i < queries;
      peak[r] = inside ? statistics[item * queries + i] : 0.0f;
      inverse[r] = inside ? statistics[(batch * heads + item) * queries + i] : 0.0f;
      mean[r] = inside ? delta[item * queries + i] : 0.0f;
      one[r] = scale;
    }}
    for (int at = 0; at < end; at += ACROSS) {{
      float s[R][4], of_weights[R][4];
      dots(s, left, right, own_q, q_row, (int)queries - first, all_k + at * k_row, k_row, (int)keys - at, (int)depth);
      dots(of_weights, left, right, own_grad, grad_row, (int)queries - first, all_v + at * v_row, v_row,
           (int)keys - at, (int)width);
      scores.finish<Place>(s, first, at);
#pragma unroll
      for (int r = 0; r < R; ++r)
#pragma unroll
        for (int c = 0; c < 4; ++c)
          s[r][c] = expf(s[r][c] - peak[r]) * inverse[r] * (of_weights[r][c] - mean[r]);
      keep(box, s);
      gather(sum, box, right, all_k + at * k_row + start, k_row, least(ACROSS, (int)keys - at), (int)depth - start);
    }}
    give(grad_q + b * grad_q_batch + h * grad_q_head + first * grad_q_row + start, grad_q_row, (int)queries - first,
         (int)depth - start, sum, one);
  }}"""

# Lines are keys here, and columns queries, of one head after the other of those that share the keys.
_KEYS = f"""{_HEAD.format(lines="keys")}
  const int first = block * SIDE * R;
  const long long kv_heads = heads / group;
  for (long long item = blockIdx.y; item < batch * kv_heads; item += gridDim.y) {{{_SHARED}
    const Element* own_k = k + b * k_batch + kv * k_head + first * k_row;
    const Element* own_v = v + b * v_batch + kv * v_head + first * v_row;
    float of_k[R][C], of_v[R][C], one[R];
    clear(of_k);
    clear(of_v);
    for (long long h = kv * group; h < (kv + 1) * group; ++h) {{
      {_OF_KEYS}
      const Element* all_q = q + b * q_batch + h * q_head;
      const Element* all_grad = grad + b * grad_batch + h * grad_head;
      const long long line = (b * heads + h) * queries;
      for (int at = causal ? first / ACROSS * ACROSS : 0; at < queries; at += ACROSS) {{
        const int rows = (int)queries - at;
        float p[R][4], of_scores[R][4];
        dots(p, left, right, own_k, k_row, (int)keys - first, all_q + at * q_row, q_row, rows, (int)depth);
        dots(of_scores, left, right, own_v, v_row, (int)keys - first, all_grad + at * grad_row, grad_row, rows,
             (int)width);
        scores.finish<Place>(p, first, at);
#pragma unroll
        for (int c = 0; c < 4; ++c) {{
          const int i = at + Place::col(c);
          const bool inside = i < queries;
          const float peak = inside ? statistics[line + i] : 0.0f, mean = inside ? delta[line + i] : 0.0f;
          const float inverse = inside ? statistics[batch * heads * queries + line + i] : 0.0f;
#pragma unroll
          for (int r = 0; r < R; ++r) {{
            p[r][c] = expf(p[r][c] - peak) * inverse;
            of_scores[r][c] = p[r][c] * (of_scores[r][c] - mean);
          }}
        }}
        keep(box, p);
        gather(of_v, box, right, all_grad + at * grad_row + start, grad_row, least(ACROSS, rows), (int)width - start);
        keep(box, of_scores);
        gather(of_k, box, right, all_q + at * q_row + start, q_row, least(ACROSS, rows), (int)depth - start);
      }}
    }}
#pragma unroll
    for (int r = 0; r < R; ++r) one[r] = 1;
    give(grad_v + b * grad_v_batch + kv * grad_v_head + first * grad_v_row + start, grad_v_row, (int)keys - first,
         (int)width - start, of_v, one);
#pragma unroll
    for (int r = 0; r < R; ++r) one[r] = scale;
    give(grad_k + b * grad_k_batch + kv * grad_k_head + first * grad_k_row + start, grad_k_row, (int)keys - first,
         (int)depth - start, of_k, one);
  }}"""

FORWARD, QUERIES, KEYS = "facula_attend", "facula_attend_queries", "facula_attend_keys"
_LINES = {FORWARD: _FORWARD, QUERIES: _QUERIES, KEYS: _KEYS}


def attention_program(name: str, t: dtype, lines: int, columns: int) -> Program:
    """The text for elements of one dtype, and so many lines and columns of results a thread."""
    helpers: set[str] = {"fetch", "put"}

    def use(helper: str) -> str:
        helpers.add(helper)
        return helper

    element = memory(t)
    before = f"""typedef {element} Element;
constexpr int R = {lines}, C = {columns};
constexpr bool MASKED = true;
{_INLINE} float widened(Element x) {{
  return {cast(use, "x", t, dt.float32)};
}}
{_INLINE} Element narrowed(float x) {{
  return {cast(use, "x", dt.float32, t)};
}}
{SCORES}
{_TILES}"""
    return written(name, arguments_of(t, name != FORWARD), _LINES[name], helpers, before, resident=2)
