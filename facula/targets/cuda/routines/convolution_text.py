"""The CUDA C++ of convolutions: where the elements of windows lie. `convolution.py` chooses and starts.

    out[b, g, o, q] = bias[g, o] + sum over c and taps t of w[g, o, c, t] * x[b, g, c, q * stride + offset[t]]

As a product of `tiles.py` the outputs o of a group are rows, windows (b, q) are columns and (c, t) are what is summed
over; for the gradient of w, (c, t) are columns and windows are summed over. (c, t) goes through a table in the GPU's
memory, in the order in which elements follow each other. Few outputs, as those of depthwise convolutions, would leave
most of a tile empty: they are made by a thread each, the gradients by a block each.
"""

from facula.core.dtype import dtype

from ..texts.emit import THREADS, Program
from . import tiles
from .tiles import INLINE, Problem, Shape, Way

__all__ = [
    "GEOMETRY", "direct_program", "direct_weight_program", "forward_program", "parts_program", "weight_program",
]  # fmt: skip

# What the plan says, but for the taps (`targets/cpu/convolution.py`).
GEOMETRY = (
    "batch", "groups", "own", "channels", "taps", "o0", "o1", "o2", "d0", "d1", "d2", "s0", "s1", "s2",
    "x_batch", "x_channel", "x0", "x1", "x2", "y_batch", "y_channel", "y0", "y1", "y2", "w_group", "w_own", "w_channel",
)  # fmt: skip
STEP = ("step_b", "step0", "step1", "step2")  # what a thread goes on by, where windows are summed over
NAMES = {False: "facula_convolution", True: "facula_convolution_weight"}

# A line of the table, and a window: where it starts, in x and by its coordinates.
WINDOWS = f"""struct alignas(16) Tap {{
  long long place, weight;
  int at0, at1, at2, unused;
}};
struct Spot {{
  long long b;
  int q0, q1, q2;
}};
{INLINE} Spot spot(const Given& g, unsigned long long window) {{
  typedef unsigned long long Count;  // division has 32 bits where that is enough
  const Count line = window / (Count)g.o2, plane = line / (Count)g.o1, b = plane / (Count)g.o0;
  Spot s;
  s.b = (long long)b;
  s.q0 = (int)(plane - b * (Count)g.o0);
  s.q1 = (int)(line - plane * (Count)g.o1);
  s.q2 = (int)(window - line * (Count)g.o2);
  return s;
}}
{INLINE} long long in_y(const Given& g, const Spot& s) {{
  return s.b * g.y_batch + s.q0 * g.y0 + s.q1 * g.y1 + s.q2 * g.y2;
}}
struct Window {{
  const Element* at;
  int i0, i1, i2;
}};
{INLINE} Window window(const Given& g, const Element* x, const Spot& s) {{
  Window w;
  w.i0 = s.q0 * (int)g.s0;
  w.i1 = s.q1 * (int)g.s1;
  w.i2 = s.q2 * (int)g.s2;
  w.at = x + s.b * g.x_batch + w.i0 * g.x0 + w.i1 * g.x1 + w.i2 * g.x2;
  return w;
}}
{INLINE} bool inside(const Given& g, const Window& w, const Tap& t) {{
  return (unsigned)(w.i0 + t.at0) < (unsigned)g.d0 && (unsigned)(w.i1 + t.at1) < (unsigned)g.d1 &&
         (unsigned)(w.i2 + t.at2) < (unsigned)g.d2;
}}
"""

# Elements of one tap and the following channels, or zeros outside.
TOUCHED = f"""template <int WIDE> {INLINE} void touch(
    const Given& g, Element (&to)[WIDE], const Window& w, const Tap& t, bool there) {{
  if (there && inside(g, w, t)) take(to, w.at + t.place);
  else nothing(to);
}}
"""

TARGETS = {
    False: f"""struct Target {{
  const Given& g;
  Element* at;
  const Element* added;
  {INLINE} Target(const Given& given, long long group) : g(given) {{
    at = g.y + group * g.own * g.y_channel;
    added = g.bias ? g.bias + group * g.own : g.bias;
  }}
  {INLINE} bool downward() const {{
    return g.y_channel == 1;
  }}
  {INLINE} long long row(long long o) const {{
    return o * g.y_channel;
  }}
  {INLINE} long long col(long long window) const {{
    return in_y(g, spot(g, window));
  }}
  {INLINE} const Element* bias(long long o, long long) const {{
    return added ? added + o : added;
  }}
}};""",
    True: f"""struct Target {{
  const Given& g;
  Element* at;
  {INLINE} Target(const Given& given, long long group) : g(given), at(given.w + group * given.w_group) {{}}
  {INLINE} bool downward() const {{
    return false;
  }}
  {INLINE} long long row(long long o) const {{
    return o * g.w_own;
  }}
  {INLINE} long long col(long long c) const {{
    return g.table[c].weight;
  }}
  {INLINE} const Element* bias(long long, long long) const {{
    return nullptr;
  }}
}};""",
}

# w: rows are outputs, and elements follow the table.
WEIGHTS = f"""struct Left : Walk<ROWS, LEFT_WIDE, LEFT_DEEPWISE> {{
  static_assert(LEFT_DEEPWISE, "rows are apart");
  const Given& g;
  const Element* at;
  long long k;
  int rows;
  {INLINE} Left(const Given& given, long long group, long long first, long long start) : g(given) {{
    at = g.w + group * g.w_group + (first + row) * g.w_own;
    k = start + depth;
    rows = g.m - first < ROWS ? (int)(g.m - first) : ROWS;
  }}
  {INLINE} void fetch(int depths) {{
    const bool there = depth < depths;
    const Element* from = at + (there ? g.table[k].weight : 0);
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {{
      if (there && row + i * STEP < rows) take(cells[i], from + i * STEP * g.w_own);
      else nothing(cells[i]);
    }}
    k += DEEP;
  }}
}};
"""

# x: columns are windows. Neighbouring threads have neighbouring windows, or neighbouring channels.
PATCHES = f"""template <int WIDE, bool DEEPWISE> struct Patches : Walk<COLS, WIDE, DEEPWISE> {{
  typedef Walk<COLS, WIDE, DEEPWISE> W;
  static_assert(DEEPWISE || WIDE == 1, "windows are apart");
  static constexpr int OWN = DEEPWISE ? W::COUNT : 1;
  const Given& g;
  long long k;
  Window windows[OWN];
  unsigned there;  // which of them are
  {INLINE} Patches(const Given& given, long long group, long long first, long long start) : g(given) {{
    const Element* x = g.x + group * g.channels * g.x_channel;
    k = start + W::depth;
    there = 0;
#pragma unroll
    for (int i = 0; i < OWN; ++i) {{
      const long long at = first + W::row + i * W::STEP;
      there |= (unsigned)(at < g.n) << i;
      windows[i] = window(g, x, spot(g, at < g.n ? at : 0));
    }}
  }}
  {INLINE} void fetch(int depths) {{
    if (DEEPWISE) {{
      const bool here = W::depth < depths;
      const Tap t = g.table[here ? k : 0];
#pragma unroll
      for (int i = 0; i < W::COUNT; ++i) touch(g, W::cells[i], windows[i % OWN], t, here && (there >> i & 1));
    }} else {{
#pragma unroll
      for (int i = 0; i < W::COUNT; ++i) {{
        const bool here = there && W::depth + i * W::STEP < depths;
        touch(g, W::cells[i], windows[0], g.table[here ? k + i * W::STEP : 0], here);
      }}
    }}
    k += DEEP;
  }}
}};
typedef Patches<RIGHT_WIDE, RIGHT_DEEPWISE> Right;
"""

# The windows of a thread, one after the other: sums with carries instead of divisions.
STEPS = f"""{INLINE} void advance(const Given& g, Spot& s) {{
  s.q2 += (int)g.step2;
  bool more = s.q2 >= (int)g.o2;
  if (more) s.q2 -= (int)g.o2;
  s.q1 += (int)g.step1 + more;
  more = s.q1 >= (int)g.o1;
  if (more) s.q1 -= (int)g.o1;
  s.q0 += (int)g.step0 + more;
  more = s.q0 >= (int)g.o0;
  if (more) s.q0 -= (int)g.o0;
  s.b += g.step_b + more;
}}
"""

# The gradient of the result: rows are outputs, windows are summed over.
GRADIENTS = f"""template <int WIDE, bool DEEPWISE> struct Gradients : Walk<ROWS, WIDE, DEEPWISE> {{
  typedef Walk<ROWS, WIDE, DEEPWISE> W;
  const Given& g;
  const Element* at;
  Spot s;
  int rows;
  {INLINE} Gradients(const Given& given, long long group, long long first, long long k) : g(given) {{
    at = g.y + (group * g.own + first + W::row) * g.y_channel;
    s = spot(g, k + W::depth);
    rows = g.m - first < ROWS ? (int)(g.m - first) : ROWS;
  }}
  {INLINE} void fetch(int depths) {{
    if (DEEPWISE) {{
      const bool there = W::depth < depths;
      const Element* from = at + in_y(g, s);
#pragma unroll
      for (int i = 0; i < W::COUNT; ++i) {{
        if (there && W::row + i * W::STEP < rows) take(W::cells[i], from + i * W::STEP * g.y_channel);
        else nothing(W::cells[i]);
      }}
      advance(g, s);
    }} else {{
#pragma unroll
      for (int i = 0; i < W::COUNT; ++i) {{
        if (W::depth + i * W::STEP < depths && W::row < rows) take(W::cells[i], at + in_y(g, s));
        else nothing(W::cells[i]);
        advance(g, s);
      }}
    }}
  }}
}};
typedef Gradients<LEFT_WIDE, LEFT_DEEPWISE> Left;
"""

# x for the gradient of w: columns follow the table, windows are summed over.
CORRELATED = f"""template <int WIDE, bool DEEPWISE> struct Correlated : Walk<COLS, WIDE, DEEPWISE> {{
  typedef Walk<COLS, WIDE, DEEPWISE> W;
  const Given& g;
  const Element* x;
  const Tap* taps;
  Spot s;
  int cols;
  {INLINE} Correlated(const Given& given, long long group, long long first, long long k) : g(given) {{
    x = g.x + group * g.channels * g.x_channel;
    taps = g.table + first;
    s = spot(g, k + W::depth);
    cols = g.n - first < COLS ? (int)(g.n - first) : COLS;
  }}
  {INLINE} void fetch(int depths) {{
    if (DEEPWISE) {{
      const bool here = W::depth < depths;
      const Window w = window(g, x, s);
#pragma unroll
      for (int i = 0; i < W::COUNT; ++i) {{
        const bool there = here && W::row + i * W::STEP < cols;
        touch(g, W::cells[i], w, taps[there ? W::row + i * W::STEP : 0], there);
      }}
      advance(g, s);
    }} else {{
      const Tap t = taps[W::row < cols ? W::row : 0];
#pragma unroll
      for (int i = 0; i < W::COUNT; ++i) {{
        touch(g, W::cells[i], window(g, x, s), t, W::row < cols && W::depth + i * W::STEP < depths);
        advance(g, s);
      }}
    }}
  }}
}};
typedef Correlated<RIGHT_WIDE, RIGHT_DEEPWISE> Right;
"""


def _problem(weight: bool, operands: str) -> Problem:
    kinds = {"y": "Element*", "x": "Element*", "w": "Element*"}
    written_to = "w" if weight else "y"
    kinds = {name: kind if name == written_to else f"const {kind}" for name, kind in kinds.items()}
    arguments = [(kind, name) for name, kind in kinds.items()] + [("const Element*", "bias")] * (not weight)
    names = (*GEOMETRY, *STEP) if weight else GEOMETRY
    arguments += [("const struct Tap*", "table")] + [("long long", name) for name in names]
    return Problem(NAMES[weight], tuple(arguments), WINDOWS + operands + TARGETS[weight])


def forward_program(t: dtype, shape: Shape, left: Way, right: Way) -> Program:
    """The text of the convolution as a product of tiles."""
    return tiles.tile_program(t, _problem(False, TOUCHED + WEIGHTS + PATCHES), shape, left, right)


def weight_program(t: dtype, shape: Shape, left: Way, right: Way) -> Program:
    """The text of the gradient of the weights as a product of tiles."""
    return tiles.tile_program(t, _problem(True, STEPS + TOUCHED + GRADIENTS + CORRELATED), shape, left, right)


def parts_program(t: dtype, weight: bool) -> Program:
    """The text that adds the parts of long sums."""
    return tiles.sum_program(t, _problem(weight, ""))


DIRECT = """  const long long threads = (long long)gridDim.x * blockDim.x;
  const long long rows = g.groups * g.own, windows = g.o0 * g.o1 * g.o2;
  const bool last = g.y_channel == 1;  // neighbours are outputs, else windows
  for (long long u = (long long)blockIdx.x * blockDim.x + threadIdx.x; u < g.batch * rows * windows; u += threads) {
    const long long line = u / (last ? rows : windows), in = u - line * (last ? rows : windows);
    const long long b = line / (last ? windows : rows), other = line - b * (last ? windows : rows);
    const long long row = last ? in : other, group = row / g.own, o = row - group * g.own;
    const Spot s = spot(g, b * windows + (last ? other : in));
    const Window w = window(g, g.x + group * g.channels * g.x_channel, s);
    const Element* weights = g.w + group * g.w_group + o * g.w_own;
    Sum sum = Sum();
    for (long long c = 0; c < g.k; ++c) {
      const Tap t = g.table[c];
      if (inside(g, w, t)) sum = step(widened(weights[t.weight]), widened(w.at[t.place]), sum);
    }
    const Target to(g, group);
    Element* place = to.at + to.row(o) + in_y(g, s);
    *place = finished(g, sum, place, to.bias(o, 0));
  }"""

# A block has `side` neighbouring groups, and THREADS / side threads for the windows of each.
DIRECT_WEIGHT = f"""  __shared__ Sum box[{THREADS}];
  const int across = (int)threadIdx.x % (int)side, down = (int)threadIdx.x / (int)side, high = {THREADS} / (int)side;
  const long long each = g.m * g.n, bands = (g.items + side - 1) / side;
  for (long long part = blockIdx.y; part < g.parts; part += gridDim.y)
    for (long long u = blockIdx.x; u < bands * each; u += gridDim.x) {{
      const long long band = u / each, in = u - band * each, group = band * side + across, o = in / g.n;
      const long long first = part * g.span, last = first + g.span < g.k ? first + g.span : g.k;
      Sum sum = Sum();
      if (group < g.items) {{
        const Tap t = g.table[in - o * g.n];
        const Element* x = g.x + group * g.channels * g.x_channel;
        const Element* y = g.y + (group * g.own + o) * g.y_channel;
        Spot s = spot(g, first + down);
        for (long long p = first + down; p < last; p += high, advance(g, s)) {{
          const Window w = window(g, x, s);
          if (inside(g, w, t)) sum = step(widened(y[in_y(g, s)]), widened(w.at[t.place]), sum);
        }}
      }}
      box[threadIdx.x] = sum;
      __syncthreads();
      for (int half = {THREADS} / 2; half >= (int)side; half >>= 1) {{
        if ((int)threadIdx.x < half) box[threadIdx.x] = plus(box[threadIdx.x], box[threadIdx.x + half]);
        __syncthreads();
      }}
      if (down == 0 && group < g.items) {{
        if (g.parts > 1) g.scratch[(part * g.items + group) * each + in] = box[across];
        else {{
          const Target to(g, group);
          Element* place = to.at + to.row(o) + to.col(in - o * g.n);
          *place = finished(g, box[across], place, nullptr);
        }}
      }}
      __syncthreads();
    }}"""


def direct_program(t: dtype) -> Program:
    """The text of the convolution with a thread an element."""
    return tiles.plain_program(t, _problem(False, ""), "facula_convolution_direct", DIRECT)


def direct_weight_program(t: dtype) -> Program:
    """The text of the gradient of the weights with a block for some elements."""
    problem = _problem(True, STEPS)
    problem = problem._replace(arguments=(*problem.arguments, ("long long", "side")))
    return tiles.plain_program(t, problem, "facula_convolution_weight_direct", DIRECT_WEIGHT)
