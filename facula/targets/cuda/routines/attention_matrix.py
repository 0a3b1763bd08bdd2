"""The texts of blocked attention, forward and backward, by matrix units: 16-bit operands, up to 128 features.

A block has 128 queries (for their gradients 128 keys), 16 a warp, whose operands stay in registers; it goes over the
others a tile at a time. Scores are made as `mma` leaves them, which is how it takes its left operand: weights go from
one product to the next in registers, rounded to 16 bits; all sums are float32, in an order that depends on sizes alone.
"""

from facula.core import dtype as dt
from facula.core.dtype import dtype

from ..functions import written
from ..texts.emit import THREADS, Program
from ..texts.operations import cast
from ..texts.types import memory
from .attention_tiles import SCORES, arguments_of, scores_of

__all__ = ["FORWARD", "KEYS", "PART", "QUERIES", "ROWS", "WIDTHS", "matrix_program"]

FORWARD, QUERIES, KEYS = "facula_attend_matrix", "facula_attend_matrix_queries", "facula_attend_matrix_keys"
ROWS = 128  # lines of a block
PART = 64  # features of the gradients of K and V that a block makes
WIDTHS = (64, 128)  # features that are multiplied; those beyond an operand's own are 0

_INLINE = "__device__ __forceinline__"

# A row of a tile is 16 bytes longer than its features: 8 rows, as `ldmatrix` reads them, lie in all banks.
_TILES = f"""
constexpr int ROWS = {ROWS}, THREADS = {THREADS}, PITCH = F + 8;

// A lane has rows 8 apart, and pairs of columns 8 apart.
struct Place {{
  static constexpr int LINES = ROWS, COLS = ACROSS;
  static {_INLINE} int line(int r) {{
    return threadIdx.x / 32 * 16 + r * 8 + threadIdx.x % 32 / 4;
  }}
  static {_INLINE} int col(int c) {{
    return c / 2 * 8 + threadIdx.x % 4 * 2 + c % 2;
  }}
}};
// ACROSS rows on their way to a tile in shared memory.
struct Rows {{
  static constexpr int EACH = F / 8, MANY = ACROSS * EACH / THREADS;
  Pack<unsigned, 4> held[MANY];  // 8 elements each, in words
  {_INLINE} void load(const Element* from, long long step, int rows, int cols) {{
#pragma unroll
    for (int p = 0; p < MANY; ++p) {{
      const int e = (int)threadIdx.x + p * THREADS, row = e / EACH, at = e % EACH * 8;
      const Element* here = from + row * step + at;
      const int n = row < rows ? cols - at : 0;
      if (n >= 8 && (size_t)here % 16 == 0) {{
        held[p] = *reinterpret_cast<const Pack<unsigned, 4>*>(here);
      }} else {{
#pragma unroll
        for (int i = 0; i < 4; ++i) {{
          const unsigned low = 2 * i < n ? here[2 * i] : 0, high = 2 * i + 1 < n ? here[2 * i + 1] : 0;
          held[p].at[i] = low | high << 16;
        }}
      }}
    }}
  }}
  {_INLINE} void store(Element* to) const {{
#pragma unroll
    for (int p = 0; p < MANY; ++p) {{
      const int e = (int)threadIdx.x + p * THREADS;
      *reinterpret_cast<Pack<unsigned, 4>*>(to + e / EACH * PITCH + e % EACH * 8) = held[p];
    }}
  }}
}};
{_INLINE} unsigned both(float low, float high) {{
  return (unsigned)narrowed(low) | (unsigned)narrowed(high) << 16;
}}
// What a warp's 16 lines multiply by, from ROWS of them; `room` has two tiles.
{_INLINE} void take_own(unsigned (&own)[F / 16][4], const Element* from, long long step, int rows, int cols,
                        Element* room) {{
  const int first = threadIdx.x / 32 * 16, lane = threadIdx.x % 32;
#pragma unroll
  for (int base = 0; base < ROWS; base += 2 * ACROSS) {{
    Rows low, high;
    low.load(from + base * step, step, rows - base, cols);
    high.load(from + (base + ACROSS) * step, step, rows - base - ACROSS, cols);
    __syncthreads();
    low.store(room);
    high.store(room + ACROSS * PITCH);
    __syncthreads();
    if (first >= base && first < base + 2 * ACROSS) {{
      const Element* mine = room + (first - base + lane % 16) * PITCH + lane / 16 * 8;
      __syncwarp();
#pragma unroll
      for (int d = 0; d < F / 16; ++d) matrices<false>(own[d], mine + d * 16);
    }}
  }}
}}
template <int C> {_INLINE} void clear(float (&sum)[2][C]) {{
#pragma unroll
  for (int r = 0; r < 2; ++r)
#pragma unroll
    for (int c = 0; c < C; ++c) sum[r][c] = 0;
}}
// sum += A B of one warp, 16 deep: columns j * 16 and on come from the tile at `edge`. Where it is turned its rows are
// those of B, else the columns of B.
template <bool TURNED, int C> {_INLINE} void add_products(float (&sum)[2][C], const unsigned (&a)[4],
                                                          const Element* edge) {{
  const int line = threadIdx.x % 8, odd = threadIdx.x / 8 % 2 * 8, high = threadIdx.x % 32 / 16 * 8;
#pragma unroll
  for (int j = 0; j < C / 4; ++j) {{
    unsigned b[4];
    matrices<TURNED>(b, TURNED ? edge + (odd + line) * PITCH + j * 16 + high
                               : edge + (j * 16 + high + line) * PITCH + odd);
#pragma unroll
    for (int half = 0; half < 2; ++half) {{
      const int c = j * 4 + half * 2;
      multiply(sum[0][c], sum[0][c + 1], sum[1][c], sum[1][c + 1], a, b[half * 2], b[half * 2 + 1]);
    }}
  }}
}}
// made = A B.T of a warp's own lines and the rows of a tile.
{_INLINE} void dots(float (&made)[2][ACROSS / 4], const unsigned (&own)[F / 16][4], const Element* tile) {{
  clear(made);
  __syncwarp();
#pragma unroll
  for (int d = 0; d < F / 16; ++d) add_products<false>(made, own[d], tile + d * 16);
}}
// sum += A B of what dots() made and the rows of a tile.
template <int C> {_INLINE} void gather(float (&sum)[2][C], const float (&made)[2][ACROSS / 4], const Element* tile) {{
  __syncwarp();
#pragma unroll
  for (int t = 0; t < ACROSS / 16; ++t) {{
    const int c = t * 4;
    const unsigned weights[4] = {{both(made[0][c], made[0][c + 1]), both(made[1][c], made[1][c + 1]),
                                 both(made[0][c + 2], made[0][c + 3]), both(made[1][c + 2], made[1][c + 3])}};
    add_products<true>(sum, weights, tile + t * 16 * PITCH);
  }}
}}
// Lines of a result, each times its factor.
template <int C> {_INLINE} void give(Element* to, long long step, int rows, int cols, const float (&made)[2][C],
                                     float factor0, float factor1) {{
#pragma unroll
  for (int r = 0; r < 2; ++r) {{
    const int row = Place::line(r);
    const float factor = r ? factor1 : factor0;
#pragma unroll
    for (int c = 0; c < C; c += 2) {{
      const int col = Place::col(c), n = least(2, cols - col);
      const Element some[2] = {{narrowed(made[r][c] * factor), narrowed(made[r][c + 1] * factor)}};
      if (row < rows && n > 0) put<2>(to + row * step + col, some, n);
    }}
  }}
}}
{_INLINE} float power(float x) {{
  return exp2f(x * 1.44269504f);
}}
"""

_HEAD = """  __shared__ Pack<Element, 8> room[2 * ACROSS * PITCH / 8];
  Element *low = room[0].at, *high = low + ACROSS * PITCH;
"""
# Blocks of late queries, which see many keys of a causal mask, go first.
_OF_QUERIES = f"""{_HEAD}  const int block = (int)blockIdx.x;
  const int first = (causal ? (int)gridDim.x - 1 - block : block) * ROWS;
  const int end = causal ? least((int)keys, first + ROWS) : (int)keys;
  const int left = (int)queries - first, depths = (int)depth, widths = (int)width;
  for (long long item = blockIdx.y; item < batch * heads; item += gridDim.y) {{
    const long long b = item / heads, h = item - b * heads;
    {scores_of(False)}
    const Element* all_k = k + b * k_batch + h / group * k_head;
    const Element* all_v = v + b * v_batch + h / group * v_head;
    unsigned own_q[F / 16][4];
    take_own(own_q, q + b * q_batch + h * q_head + first * q_row, q_row, left, depths, low);
    Rows of_k, of_v;
    of_k.load(all_k, k_row, (int)keys, depths);
    of_v.load(all_v, v_row, (int)keys, widths);
    float sum[2][F / 4];
    clear(sum);
"""
_STEP = """    for (int at = 0; at < end; at += ACROSS) {
      __syncthreads();
      of_k.store(low);
      of_v.store(high);
      __syncthreads();
      const int next = at + ACROSS;
      if (next < end) {
        of_k.load(all_k + next * k_row, k_row, (int)keys - next, depths);
        of_v.load(all_v + next * v_row, v_row, (int)keys - next, widths);
      }
      float s[2][ACROSS / 4];
      dots(s, own_q, low);
      scores.finish<Place>(s, first, at);
"""
_FORWARD = f"""{_OF_QUERIES}
    float peak[2] = {{nothing(), nothing()}}, total[2] = {{0, 0}};
{_STEP}
#pragma unroll
      for (int r = 0; r < 2; ++r) {{
        float most = peak[r], part = 0;
#pragma unroll
        for (int c = 0; c < ACROSS / 4; ++c) most = fmaxf(most, s[r][c]);
        most = fmaxf(most, across(most, 1));
        most = fmaxf(most, across(most, 2));
        const float base = most == nothing() ? 0.0f : most, shrink = power(peak[r] - base);
        peak[r] = most;
#pragma unroll
        for (int c = 0; c < ACROSS / 4; ++c) {{
          s[r][c] = power(s[r][c] - base);
          part += s[r][c];
        }}
        total[r] = fmaf(total[r], shrink, part);  // of this lane's columns
#pragma unroll
        for (int c = 0; c < F / 4; ++c) sum[r][c] *= shrink;
      }}
      gather(sum, s, high);
    }}
    float inverse[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {{
      float all = total[r] + across(total[r], 1);
      all += across(all, 2);
      inverse[r] = all == 0 ? 0.0f : 1.0f / all;
      const long long row = first + Place::line(r);
      if (row < queries && threadIdx.x % 4 == 0) {{
        statistics[item * queries + row] = peak[r] == nothing() ? 0.0f : peak[r];
        statistics[(batch * heads + item) * queries + row] = inverse[r];
      }}
    }}
    give(o + b * o_batch + h * o_head + first * o_row, o_row, left, widths, sum, inverse[0], inverse[1]);
  }}"""

_QUERIES = f"""{_OF_QUERIES}
    unsigned own_grad[F / 16][4];
    take_own(own_grad, grad + b * grad_batch + h * grad_head + first * grad_row, grad_row, left, widths, low);
    float peak[2], inverse[2], mean[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {{
      const long long row = first + Place::line(r);
      const bool inside = row < queries;
      peak[r] = inside ? statistics[item * queries + row] : 0.0f;
      inverse[r] = inside ? statistics[(batch * heads + item) * queries + row] : 0.0f;
      mean[r] = inside ? delta[item * queries + row] : 0.0f;
    }}
{_STEP}
      float of_weights[2][ACROSS / 4];
      dots(of_weights, own_grad, high);
#pragma unroll
      for (int r = 0; r < 2; ++r)
#pragma unroll
        for (int c = 0; c < ACROSS / 4; ++c)
          s[r][c] = power(s[r][c] - peak[r]) * inverse[r] * (of_weights[r][c] - mean[r]);
      gather(sum, s, low);
    }}
    give(grad_q + b * grad_q_batch + h * grad_q_head + first * grad_q_row, grad_q_row, left, depths, sum, scale, scale);
  }}"""

# Lines are keys here, and columns queries, of one head after the other of those that share the keys. A block makes PART
# features of both gradients.
_KEYS = f"""{_HEAD}  __shared__ float numbers[3][ACROSS];
  constexpr int PART = {PART};
  const int blocks = (int)((keys + ROWS - 1) / ROWS), first = (int)blockIdx.x % blocks * ROWS;
  const int start = (int)blockIdx.x / blocks * PART, mine = threadIdx.x;
  const int left = (int)keys - first, depths = (int)depth, widths = (int)width;
  const long long kv_heads = heads / group, all = batch * heads * queries;
  for (long long item = blockIdx.y; item < batch * kv_heads; item += gridDim.y) {{
    const long long b = item / kv_heads, kv = item - b * kv_heads;
    unsigned own_k[F / 16][4], own_v[F / 16][4];
    take_own(own_k, k + b * k_batch + kv * k_head + first * k_row, k_row, left, depths, low);
    take_own(own_v, v + b * v_batch + kv * v_head + first * v_row, v_row, left, widths, low);
    float of_k[2][PART / 4], of_v[2][PART / 4];
    clear(of_k);
    clear(of_v);
    for (long long h = kv * group; h < (kv + 1) * group; ++h) {{
      {scores_of(True)}
      const Element* all_q = q + b * q_batch + h * q_head;
      const Element* all_grad = grad + b * grad_batch + h * grad_head;
      const long long line = (b * heads + h) * queries;
      for (int at = causal ? first : 0; at < queries; at += ACROSS) {{
        const int rows = (int)queries - at;
        Rows of_q, of_grad;
        of_q.load(all_q + at * q_row, q_row, rows, depths);
        of_grad.load(all_grad + at * grad_row, grad_row, rows, widths);
        const bool inside = mine < ACROSS && mine < rows;
        const float peak = inside ? statistics[line + at + mine] : 0.0f;
        const float inverse = inside ? statistics[all + line + at + mine] : 0.0f;
        const float mean = inside ? delta[line + at + mine] : 0.0f;
        __syncthreads();
        of_q.store(low);
        of_grad.store(high);
        if (mine < ACROSS) {{
          numbers[0][mine] = peak;
          numbers[1][mine] = inverse;
          numbers[2][mine] = mean;
        }}
        __syncthreads();
        float p[2][ACROSS / 4], of_scores[2][ACROSS / 4];
        dots(p, own_k, low);
        scores.finish<Place>(p, first, at);
        dots(of_scores, own_v, high);
#pragma unroll
        for (int c = 0; c < ACROSS / 4; ++c) {{
          const int col = Place::col(c);
#pragma unroll
          for (int r = 0; r < 2; ++r) {{
            p[r][c] = power(p[r][c] - numbers[0][col]) * numbers[1][col];
            of_scores[r][c] = p[r][c] * (of_scores[r][c] - numbers[2][col]);
          }}
        }}
        gather(of_v, p, high + start);
        gather(of_k, of_scores, low + start);
      }}
    }}
    give(grad_v + b * grad_v_batch + kv * grad_v_head + first * grad_v_row + start, grad_v_row, left, widths - start,
         of_v, 1, 1);
    give(grad_k + b * grad_k_batch + kv * grad_k_head + first * grad_k_row + start, grad_k_row, left, depths - start,
         of_k, scale, scale);
  }}"""

_LINES = {FORWARD: _FORWARD, QUERIES: _QUERIES, KEYS: _KEYS}


def matrix_program(name: str, t: dtype, features: int, masked: bool = True) -> Program:
    """The text for elements of one dtype, and that many features at most; without a mask registers suffice for more."""
    multiply = "multiply_half" if t is dt.float16 else "multiply_bfloat"
    helpers: set[str] = {"put", "matrices", multiply}

    def use(helper: str) -> str:
        helpers.add(helper)
        return helper

    before = f"""typedef {memory(t)} Element;
constexpr int F = {features}, ACROSS = {64 if name == FORWARD or features == 64 else 32};
constexpr bool MASKED = {str(masked).lower()};
{_INLINE} Element narrowed(float x) {{
  return {cast(use, "x", dt.float32, t)};
}}
{SCORES}
{_TILES.replace("multiply(", f"{multiply}(")}"""
    blocks = 2 if name == FORWARD and features == 64 else 1
    return written(name, arguments_of(t, name != FORWARD), _LINES[name], helpers, before, resident=blocks)
