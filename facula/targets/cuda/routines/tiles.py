"""Products of tiles: what matrix products and convolutions share; each says where its operands and results lie.

C[i, j] = sum over k of A[i, k] * B[k, j]. A block makes a tile of C from tiles of A and B in shared memory, of which
there are two each: while one pair is multiplied, the next one is on its way from memory to registers. 16-bit floats are
multiplied by the matrix units (`mma`), the others as 8 x 8 or 4 x 4 elements a thread; sums go through k in order.
Where C has few tiles and k is long, k is cut in parts, whose sums a second kernel adds in order. Sizes alone decide.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from facula.core import dtype as dt
from facula.core.dtype import dtype

from .. import launcher
from ..functions import function, written
from ..texts.emit import THREADS, Program
from ..texts.operations import cast
from ..texts.schedule import MOST_BLOCKS
from ..texts.types import memory, register, unsigned

__all__ = [
    "Problem", "Shape", "Text", "Way", "arithmetic", "shapes", "started", "sum_dtype", "sum_program", "tile_program",
    "wide",
]  # fmt: skip

INLINE = "__device__ __forceinline__"
SIZES = ("items", "m", "n", "k", "parts", "span")  # of every problem; `span` is what a part takes of k
FEW_BLOCKS, ENOUGH_BLOCKS = 128, 256
LEAST_SPAN, MOST_SPAN = 128, 1 << 30  # of k that a part takes: it is counted in 32 bits


class Shape(NamedTuple):
    """A block's tile of C, and how much of k lies in shared memory."""

    rows: int
    cols: int
    deep: int
    matrix: bool  # by the matrix units


class Way(NamedTuple):
    """How the threads of a block walk over a tile of an operand in memory."""

    wide: int  # elements that a thread takes at once
    deepwise: bool  # neighbouring threads along k, else along rows of A or columns of B


class Problem(NamedTuple):
    """What a kind of product adds: its arguments besides those of all, and the structs `Left`, `Right` and `Target`.

    `Left(given, item, first, k)` and `Right` fetch the elements of one tile after the other, from row or column `first`
    and from `k` on; they are told how much is left of k. `Target(given, item)` has the places of rows, columns, bias.
    """

    name: str
    arguments: tuple[tuple[str, str], ...]
    text: str
    helpers: tuple[str, ...] = ()


def sum_dtype(t: dtype) -> dtype:
    """What products are summed in: small integers wrap around when they are stored."""
    if t in dt.STORED_ONLY:
        return dt.float32
    return dt.int32 if t.kind in "ui" and t.itemsize < 4 else t


def shapes(t: dtype) -> tuple[Shape, ...]:
    """The tiles of a dtype, largest first."""
    if t in dt.STORED_ONLY:
        return Shape(128, 128, 32, True), Shape(64, 64, 32, True)
    if t is dt.float32:
        return Shape(128, 128, 16, False), Shape(64, 64, 16, False)
    return (Shape(64, 64, 8 if t.itemsize == 16 else 16, False),)


def wide(t: dtype) -> int:
    """Elements that a thread takes at once where it can: 16 bytes, of integers one."""
    return 16 // t.itemsize if t.kind in "fc" else 1


def arithmetic(t: dtype) -> tuple[str, set[str]]:
    """The types of elements and sums, what is done with them, and the functions of `helpers` that this needs."""
    total, helpers = sum_dtype(t), {"Pack"}

    def use(name: str) -> str:
        helpers.add(name)
        return name

    if t.kind == "c":
        helpers.add("Pair")
        f = "fmaf" if t.code == "c64" else "fma"
        step = (
            f"Sum made;\n  made.re = {f}(-a.im, b.im, {f}(a.re, b.re, sum.re));\n"
            f"  made.im = {f}(a.im, b.re, {f}(a.re, b.im, sum.im));\n  return made;"
        )
        plus = "Sum made;\n  made.re = a.re + b.re;\n  made.im = a.im + b.im;\n  return made;"
        load = store = "x"
    else:
        load, store = cast(use, "x", t, total), cast(use, "x", total, t)
        if t.kind == "f":
            step, plus = f"return {'fma' if total is dt.float64 else 'fmaf'}(a, b, sum);", "return a + b;"
        else:
            u = unsigned(total)
            step, plus = f"return (Sum)(({u})a * ({u})b + ({u})sum);", f"return (Sum)(({u})a + ({u})b);"
    text = f"""typedef {memory(t)} Element;
typedef {memory(total) if t.kind == "c" else register(total)} Sum;
{INLINE} Sum widened(Element x) {{
  return {load};
}}
{INLINE} Element narrowed(Sum x) {{
  return {store};
}}
{INLINE} Sum step(Sum a, Sum b, Sum sum) {{
  {step}
}}
{INLINE} Sum plus(Sum a, Sum b) {{
  {plus}
}}"""
    return text, helpers


# What a thread takes of a tile: COUNT times WIDE elements, STEP rows (or steps of k) apart.
WALK = f"""template <int TILE, int WIDE, bool DEEPWISE> struct Walk {{
  static constexpr int EACH = (DEEPWISE ? DEEP : TILE) / WIDE, STEP = THREADS / EACH;
  static constexpr int COUNT = TILE * DEEP / WIDE / THREADS;
  int row, depth;  // of the first
  Element cells[COUNT][WIDE];
  {INLINE} Walk() {{
    const int across = (int)threadIdx.x % EACH * WIDE, down = (int)threadIdx.x / EACH;
    row = DEEPWISE ? down : across;
    depth = DEEPWISE ? across : down;
  }}
}};
template <int WIDE> {INLINE} void take(Element (&to)[WIDE], const Element* from) {{
  const Pack<Element, WIDE> all = *reinterpret_cast<const Pack<Element, WIDE>*>(from);
#pragma unroll
  for (int j = 0; j < WIDE; ++j) to[j] = all.at[j];
}}
template <int WIDE> {INLINE} void nothing(Element (&to)[WIDE]) {{
#pragma unroll
  for (int j = 0; j < WIDE; ++j) to[j] = Element();
}}
// A tile in shared memory, [row][k] or, turned, [k][row]; lines are padded so that banks differ.
template <int TILE, bool TURNED> struct alignas(16) Tile {{
  static constexpr int LINES = TURNED ? DEEP : TILE, LONG = (TURNED ? TILE : DEEP) + 16 / (int)sizeof(Cell);
  Cell at[LINES][LONG];
  {INLINE} Cell* place(int row, int depth) {{
    return TURNED ? &at[depth][row] : &at[row][depth];
  }}
  template <int WIDE, bool DEEPWISE> {INLINE} void put(const Walk<TILE, WIDE, DEEPWISE>& from) {{
    typedef Walk<TILE, WIDE, DEEPWISE> W;
#pragma unroll
    for (int i = 0; i < W::COUNT; ++i) {{
      const int row = from.row + (DEEPWISE ? i * W::STEP : 0), depth = from.depth + (DEEPWISE ? 0 : i * W::STEP);
      if (DEEPWISE == TURNED) {{
#pragma unroll
        for (int j = 0; j < WIDE; ++j)
          *place(row + (DEEPWISE ? 0 : j), depth + (DEEPWISE ? j : 0)) = celled(from.cells[i][j]);
      }} else {{
        Pack<Cell, WIDE> all;
#pragma unroll
        for (int j = 0; j < WIDE; ++j) all.at[j] = celled(from.cells[i][j]);
        *reinterpret_cast<Pack<Cell, WIDE>*>(place(row, depth)) = all;
      }}
    }}
  }}
}};
struct alignas(16) Tiles {{
  Tile<ROWS, LEFT_TURNED> left[2];
  Tile<COLS, RIGHT_TURNED> right[2];
}};"""

# A thread's elements of C: runs of 4 rows and 4 columns, 64 apart; 8 x 4 threads are a warp.
PLAIN = f"""struct Sums {{
  static constexpr int HIGH = ROWS / 16, BROAD = COLS / 16, RUN = 4, BAND = sizeof(Sum) > 8 ? 2 : 4;
  Sum at[HIGH][BROAD];
  int down, across;
  {INLINE} Sums() {{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    down = (warp / 2 * 4 + lane / 8) * 4;
    across = (warp % 2 * 8 + lane % 8) * 4;
  }}
  {INLINE} int row(int i) const {{
    return down + i / 4 * 64 + i % 4;
  }}
  {INLINE} int col(int j) const {{
    return across + j / 4 * 64 + j % 4;
  }}
  {INLINE} int line(int i) const {{
    return down / 4 * BAND + i % BAND;
  }}
  static {INLINE} int row_of(int line, int band) {{
    return line / BAND * 4 + line % BAND + band * BAND / 4 * 64 + band * BAND % 4;
  }}
  {INLINE} void add(const Tile<ROWS, true>& left, const Tile<COLS, true>& right) {{
#pragma unroll UNROLL
    for (int k = 0; k < DEEP; ++k) {{
      Sum a[HIGH], b[BROAD];
#pragma unroll
      for (int i = 0; i < HIGH; i += 4) fragment(a + i, &left.at[k][row(i)]);
#pragma unroll
      for (int j = 0; j < BROAD; j += 4) fragment(b + j, &right.at[k][col(j)]);
#pragma unroll
      for (int i = 0; i < HIGH; ++i)
#pragma unroll
        for (int j = 0; j < BROAD; ++j) at[i][j] = step(a[i], b[j], at[i][j]);
    }}
  }}
  static {INLINE} void fragment(Sum* to, const Cell* from) {{
    const Pack<Cell, 4> all = *reinterpret_cast<const Pack<Cell, 4>*>(from);
#pragma unroll
    for (int i = 0; i < 4; ++i) to[i] = all.at[i];
  }}
}};"""

# 2 x 4 warps; each has the 16 x 8 elements of an `mma` several times. Its lanes hold pairs of columns, 8 rows apart.
MATRIX = f"""struct Sums {{
  static constexpr int HIGH = ROWS / 16, BROAD = COLS / 16, RUN = 2, BAND = 4;
  Sum at[HIGH][BROAD];
  int down, across;
  {INLINE} Sums() {{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    down = warp / 4 * (BAND * 8) + lane / 4;
    across = warp % 4 * (COLS / 4) + lane % 4 * 2;
  }}
  {INLINE} int col(int j) const {{
    return across + j / 2 * 8 + j % 2;
  }}
  {INLINE} int line(int i) const {{
    return down + i % BAND * 8;
  }}
  static {INLINE} int row_of(int line, int band) {{
    return line / (BAND * 8) * (ROWS / 2) + band * BAND * 8 + line % (BAND * 8);
  }}
  {INLINE} void add(const Tile<ROWS, LEFT_TURNED>& left, const Tile<COLS, RIGHT_TURNED>& right) {{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int line = lane % 8, odd = lane / 8 % 2 * 8, high = lane / 16 * 8;
    const int top = warp / 4 * (ROWS / 2), edge = warp % 4 * (COLS / 4);
    __syncwarp();
#pragma unroll
    for (int k = 0; k < DEEP; k += 16) {{
      unsigned a[HIGH / 2][4], b[BROAD / 4][4];
#pragma unroll
      for (int i = 0; i < HIGH / 2; ++i)  // rows, rows + 8, then the same of k + 8
        matrices<LEFT_TURNED>(a[i], LEFT_TURNED ? &left.at[k + high + line][top + i * 16 + odd]
                                                : &left.at[top + i * 16 + odd + line][k + high]);
#pragma unroll
      for (int j = 0; j < BROAD / 4; ++j)  // k, k + 8, then the same of columns + 8
        matrices<RIGHT_TURNED>(b[j], RIGHT_TURNED ? &right.at[k + odd + line][edge + j * 16 + high]
                                                  : &right.at[edge + j * 16 + high + line][k + odd]);
#pragma unroll
      for (int i = 0; i < HIGH / 2; ++i)
#pragma unroll
        for (int j = 0; j < BROAD / 2; ++j)
          MULTIPLY(at[2 * i][2 * j], at[2 * i][2 * j + 1], at[2 * i + 1][2 * j], at[2 * i + 1][2 * j + 1], a[i],
                   b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
    }}
  }}
}};"""

LOOP = f"""template <class L, class R> {INLINE} void multiply(
    Sums& sums, Tiles& tiles, L& left, R& right, int depths) {{
#pragma unroll
  for (int i = 0; i < Sums::HIGH; ++i)
#pragma unroll
    for (int j = 0; j < Sums::BROAD; ++j) sums.at[i][j] = Sum();
  if (depths <= 0) return;
  left.fetch(depths);
  right.fetch(depths);
  tiles.left[0].put(left);
  tiles.right[0].put(right);
  __syncthreads();
  int now = 0;
  for (; depths > 0; depths -= DEEP) {{
    const bool more = depths > DEEP;
    if (more) {{
      left.fetch(depths - DEEP);
      right.fetch(depths - DEEP);
    }}
    sums.add(tiles.left[now], tiles.right[now]);
    if (more) {{  // all have done with the other pair: they came through the last barrier
      now ^= 1;
      tiles.left[now].put(left);
      tiles.right[now].put(right);
      __syncthreads();
    }}
  }}
  __syncthreads();  // before tiles are written again
}}"""

FINISH = f"""{INLINE} Element finished(const Given& g, Sum sum, const Element* old, const Element* bias) {{
  Sum made = SCALED;
  if (bias) made = plus(made, widened(*bias));
  return narrowed(made);
}}"""

# Sums go through shared memory, some lines of all rows of threads at a time, so that neighbours write neighbours.
WRITE = f"""struct alignas(16) Band {{
  static constexpr int LINES = Sums::BAND * 16;
  Sum at[LINES][COLS + 8];
}};
union Room {{
  Tiles tiles;
  Band band;
}};
{INLINE} void write(const Given& g, const Sums& sums, const Target& to, Band& band, long long slot, long long top,
                    long long edge) {{
  const bool down = to.downward();  // neighbours are rows
#pragma unroll 1
  for (int b = 0; b < Sums::HIGH / Sums::BAND; ++b) {{
#pragma unroll
    for (int i = 0; i < Sums::HIGH; ++i)
      if (i / Sums::BAND == b) {{
#pragma unroll
        for (int j = 0; j < Sums::BROAD; j += Sums::RUN) {{
          Pack<Sum, Sums::RUN> all;
#pragma unroll
          for (int r = 0; r < Sums::RUN; ++r) all.at[r] = sums.at[i][j + r];
          *reinterpret_cast<Pack<Sum, Sums::RUN>*>(&band.at[sums.line(i)][sums.col(j)]) = all;
        }}
      }}
    __syncthreads();
    for (int e = threadIdx.x; e < Band::LINES * COLS; e += THREADS) {{
      const int line = down ? e % Band::LINES : e / COLS, across = down ? e / Band::LINES : e % COLS;
      const long long row = top + Sums::row_of(line, b), col = edge + across;
      if (row < g.m && col < g.n) {{
        const Sum sum = band.at[line][across];
        if (g.parts > 1) g.scratch[(slot * g.m + row) * g.n + col] = sum;
        else {{
          Element* place = to.at + to.row(row) + to.col(col);
          *place = finished(g, sum, place, to.bias(row, col));
        }}
      }}
    }}
    __syncthreads();
  }}
}}"""

# Blocks that run at the same time take tiles of 8 rows of tiles, whose operands they share in the cache.
TILES = """  __shared__ Room room;
  const long long across = (g.n + COLS - 1) / COLS, down = (g.m + ROWS - 1) / ROWS;
  for (long long slot = blockIdx.y; slot < g.parts * g.items; slot += gridDim.y)
    for (long long tile = blockIdx.x; tile < across * down; tile += gridDim.x) {
      const long long part = slot / g.items, item = slot - part * g.items;
      const long long band = tile / (8 * across), within = tile - band * 8 * across;
      const long long high = down - band * 8 < 8 ? down - band * 8 : 8;
      const long long edge = within / high * COLS, top = (band * 8 + within % high) * ROWS;
      const long long first = part * g.span;
      const int depths = (int)(g.k - first < g.span ? g.k - first : g.span);
      Left left(g, item, top, first);
      Right right(g, item, edge, first);
      Sums sums;
      multiply(sums, room.tiles, left, right, depths);
      write(g, sums, Target(g, item), room.band, slot, top, edge);
    }"""

SUM = """  const long long all = g.items * g.m * g.n, threads = (long long)gridDim.x * blockDim.x;
  for (long long u = (long long)blockIdx.x * blockDim.x + threadIdx.x; u < all; u += threads) {
    const long long line = u / g.n, col = u - line * g.n, item = line / g.m, row = line - item * g.m;
    Sum sum = g.scratch[u];
    for (long long part = 1; part < g.parts; ++part) sum = plus(sum, g.scratch[part * all + u]);
    const Target to(g, item);
    Element* place = to.at + to.row(row) + to.col(col);
    *place = finished(g, sum, place, to.bias(row, col));
  }"""


def given(problem: Problem) -> tuple[list[tuple[str, str]], str, str]:
    """What a kernel of the problem takes; these as a struct; the line that fills it."""
    arguments = [*problem.arguments, ("Sum*", "scratch"), *(("long long", name) for name in SIZES)]
    fields = "".join(f"  {kind} {name};\n" for kind, name in arguments)
    names = ", ".join(name for _, name in arguments)
    return arguments, f"struct Given {{\n{fields}}};", f"  const Given g = {{{names}}};"


def _scaled(t: dtype, problem: Problem) -> str:
    """The sum with its factor and what was there before."""
    if not any(name.startswith("alpha") for _, name in problem.arguments):
        return "sum"
    return "scaled(g, sum, old)"


def _texts(t: dtype, problem: Problem, before: Sequence[str], after: Sequence[str]) -> tuple[list, str, str, set[str]]:
    text, helpers = arithmetic(t)
    arguments, struct, fill = given(problem)
    finish = FINISH.replace("SCALED", _scaled(t, problem))
    return arguments, "\n".join([text, *before, struct, problem.text, finish, *after]), fill, helpers


def tile_program(t: dtype, problem: Problem, shape: Shape, left: Way, right: Way) -> Program:
    """The text that makes tiles of C, or parts of their sums."""
    turned = [not way.deepwise if shape.matrix else True for way in (left, right)]
    constants = f"""constexpr int ROWS = {shape.rows}, COLS = {shape.cols}, DEEP = {shape.deep}, THREADS = {THREADS};
constexpr bool LEFT_TURNED = {str(turned[0]).lower()}, RIGHT_TURNED = {str(turned[1]).lower()};
typedef {"Element" if shape.matrix else "Sum"} Cell;
{INLINE} Cell celled(Element x) {{
  return {"x" if shape.matrix else "widened(x)"};
}}"""
    multiply = "multiply_half" if t is dt.float16 else "multiply_bfloat"
    unroll = "" if t.kind == "f" else "1"
    sums = MATRIX.replace("MULTIPLY", multiply) if shape.matrix else PLAIN.replace("UNROLL", unroll)
    before = [constants, WALK, sums, LOOP, _ways(left, right)]
    arguments, text, fill, helpers = _texts(t, problem, before, [WRITE])
    helpers |= {"matrices", multiply} if shape.matrix else set()
    return written(problem.name, arguments, f"{fill}\n{TILES}", helpers | set(problem.helpers), text, THREADS, 2)


def _ways(left: Way, right: Way) -> str:
    return "\n".join(
        f"constexpr int {side}_WIDE = {way.wide};\nconstexpr bool {side}_DEEPWISE = {str(way.deepwise).lower()};"
        for side, way in (("LEFT", left), ("RIGHT", right))
    )


def sum_program(t: dtype, problem: Problem) -> Program:
    """The text that adds the sums of all parts; the problem's text has `Target` alone."""
    return plain_program(t, problem, f"{problem.name}_parts", SUM)


def plain_program(t: dtype, problem: Problem, name: str, lines: str) -> Program:
    """A text without tiles for the problem: `lines` are what the kernel does."""
    arguments, text, fill, helpers = _texts(t, problem, [], [])
    return written(name, arguments, f"{fill}\n{lines}", helpers | set(problem.helpers), text)


# --- launches ---------------------------------------------------------------------------------------------------------


def _up(a: int, b: int) -> int:
    return -(-a // b)


def choose(t: dtype, items: int, m: int, n: int) -> Shape:
    """The tile for a product of these sizes: the large one where its tiles are full and many."""
    large, *small = shapes(t)
    if not small:
        return large
    tiles = [items * _up(m, s.rows) * _up(n, s.cols) * s.rows * s.cols for s in (large, *small)]
    full = tiles[0] <= 1.3 * tiles[1]
    return large if full and tiles[0] >= FEW_BLOCKS // 2 * large.rows * large.cols else small[0]


def waste(t: dtype, m: int, n: int) -> float:
    """How much larger than C the smallest tiles are that hold it."""
    shape = shapes(t)[-1]
    return _up(m, shape.rows) * shape.rows * _up(n, shape.cols) * shape.cols / max(1, m * n)


def cut(blocks: int, k: int, deep: int) -> tuple[int, int]:
    """In how many parts k is cut, and how much of k each takes."""
    few = blocks < FEW_BLOCKS and k >= 2 * LEAST_SPAN
    parts = min(_up(ENOUGH_BLOCKS, max(1, blocks)), k // LEAST_SPAN) if few else 1
    parts = max(parts, _up(k, MOST_SPAN))
    if parts == 1:
        return 1, max(k, 1)
    span = _up(_up(k, parts), deep) * deep
    return _up(k, span), span


class Run(NamedTuple):
    """A product with everything settled but its addresses: what `run` starts."""

    grid: tuple[int, int]
    sizes: tuple[int, ...]  # SIZES
    scratch: int  # bytes
    elements: int  # of C


def settle(t: dtype, shape: Shape, items: int, m: int, n: int, k: int) -> Run:
    """The grid and the parts of a product of tiles."""
    tiles = _up(m, shape.rows) * _up(n, shape.cols)
    parts, span = cut(items * tiles, k, shape.deep)
    return settled(t, (tiles, items * parts), (items, m, n, k, parts, span))


def settled(t: dtype, blocks: tuple[int, int], sizes: tuple[int, ...]) -> Run:
    """The same where the blocks and the parts are known."""
    items, m, n, _, parts, _ = sizes
    elements = items * m * n
    grid = min(MOST_BLOCKS, blocks[0]), min(1 << 15, blocks[1])
    return Run(grid, sizes, sum_dtype(t).itemsize * elements * parts if parts > 1 else 0, elements)


class Text(NamedTuple):
    """What `functions.function` makes the kernel of a product of, and the values that it takes after the addresses."""

    program: tuple
    values: tuple = ()  # those of the kernel that adds parts, too
    own: tuple = ()  # more of them


def started(
    r: Run, name: str, count: int, text: Text, parts: tuple, odd: Text | None = None, which: int = 0,
    held: object = None,
) -> Callable[..., None]:  # fmt: skip
    """The product as a builtin of addresses.

    Parameters
    ----------
    r : Run
    name : str
    count : int
        How many addresses there are.
    text : Text
    parts : tuple
        What the kernel that adds parts is made of.
    odd : Text, optional
        For calls in which an address that `which` has a bit for is no multiple of 16 bytes.
    held : object, optional
        What lives as long.
    """
    if r.elements == 0:
        return launcher.started(launcher.nothing(), name)

    given = [launcher.given(i) for i in range(count)]
    scratch = launcher.Room().take(r.scratch) if r.scratch else 0

    def settled(text: Text, instead: launcher.Settled | None = None) -> launcher.Settled:
        values = *given, *text.values
        made = [function(*text.program).part(r.grid, (THREADS, 1), *values, *text.own, scratch, *r.sizes)]
        if r.scratch:
            grid = min(MOST_BLOCKS, _up(r.elements, THREADS)), 1
            made.append(function(*parts).part(grid, (THREADS, 1), *values, scratch, *r.sizes))
        return launcher.chain(made, count, r.scratch, None, instead, which, held)

    return launcher.started(settled(text, None if odd is None else settled(odd)), name)
