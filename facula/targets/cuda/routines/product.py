"""The matrix product as a generated kernel, for every dtype and any strides: what is left where no library does it.

`tiles.py` has the kernel; here is what is a matrix product's own: where elements lie, factors, a bias.
"""

from collections.abc import Callable, Iterator
from functools import cache as remembered
from typing import Any

from facula.core import dtype as dt
from facula.core.dtype import dtype
from facula.errors import fail

from .. import driver
from ..texts.emit import Program
from . import tiles
from .tiles import INLINE, Problem, Shape, Way

__all__ = ["BoundProduct", "all_programs", "bind_product", "product_program", "unbound"]

STRIDES = (
    "batch", "c_outer", "c_batch", "c_row", "c_col", "a_outer", "a_batch", "a_row", "a_k", "b_outer", "b_batch", "b_k",
    "b_col", "bias_outer", "bias_batch", "bias_row", "bias_col",
)  # fmt: skip
SCALES = ("alpha", "beta")

# A matrix in memory, whose elements may be anywhere; 16 bytes at once where lines of the tile are in one piece. Strides
# are read from the arguments where they are used: they need no registers.
MATRIX = f"""template <class Steps, int TILE, int WIDE, bool DEEPWISE> struct Matrix : Walk<TILE, WIDE, DEEPWISE> {{
  typedef Walk<TILE, WIDE, DEEPWISE> W;
  const Given& g;
  const Element* at;
  int rows;
  bool whole;
  {INLINE} long long next() const {{  // from element to element
    return DEEPWISE ? Steps::deep(g) : Steps::row(g);
  }}
  {INLINE} long long step() const {{  // from a thread's first elements to its second
    return W::STEP * (DEEPWISE ? Steps::row(g) : Steps::deep(g));
  }}
  {INLINE} Matrix(const Given& given, long long item, long long first, long long k) : g(given) {{
    const long long high = item / g.batch, left = Steps::rows(g) - first;
    const Element* from = Steps::place(g, high, item - high * g.batch);
    at = from + (first + W::row) * Steps::row(g) + (k + W::depth) * Steps::deep(g);
    rows = left < TILE ? (int)left : TILE;
    const bool even = (size_t)at % alignof(Pack<Element, WIDE>) == 0;
    whole = even && next() == 1 && (step() | DEEP * Steps::deep(g)) % WIDE == 0;
  }}
  // One tile after the other; `depths` are left of k.
  {INLINE} void fetch(int depths) {{
#pragma unroll
    for (int i = 0; i < W::COUNT; ++i) {{
      const int row = W::row + (DEEPWISE ? i * W::STEP : 0), depth = W::depth + (DEEPWISE ? 0 : i * W::STEP);
      const int n = (DEEPWISE ? row < rows : depth < depths) ? (DEEPWISE ? depths - depth : rows - row) : 0;
      const Element* from = at + i * step();
      if (whole && n >= WIDE) take(W::cells[i], from);
      else {{
#pragma unroll
        for (int j = 0; j < WIDE; ++j) W::cells[i][j] = j < n ? from[j * next()] : Element();
      }}
    }}
    at += DEEP * Steps::deep(g);
  }}
}};
"""

OPERAND = f"""struct OF_SIDE {{
  static {INLINE} const Element* place(const Given& g, long long high, long long low) {{
    return g.x + high * g.x_outer + low * g.x_batch;
  }}
  static {INLINE} long long row(const Given& g) {{
    return g.ROW_STEP;
  }}
  static {INLINE} long long deep(const Given& g) {{
    return g.x_k;
  }}
  static {INLINE} long long rows(const Given& g) {{
    return g.ROW_COUNT;
  }}
}};
typedef Matrix<OF_SIDE, TILE_ROWS, SIDE_WIDE, SIDE_DEEPWISE> NAME;
"""


def _operand(name: str, matrix: str, step: str, count: str, tile: str) -> str:
    words = {"SIDE": name.upper(), "NAME": name, "g.x": f"g.{matrix}", "ROW_STEP": step, "ROW_COUNT": count}
    text = OPERAND.replace("TILE_ROWS", tile)
    for word, meant in words.items():
        text = text.replace(word, meant)
    return text


OPERANDS = MATRIX + _operand("Left", "a", "a_row", "m", "ROWS") + _operand("Right", "b", "b_col", "n", "COLS")

TARGET = f"""struct Target {{
  Element* at;
  const Element* added;
  long long c_row, c_col, bias_row, bias_col;
  {INLINE} Target(const Given& g, long long item) {{
    const long long high = item / g.batch, low = item - high * g.batch;
    at = g.c + high * g.c_outer + low * g.c_batch;
    added = g.bias ? g.bias + high * g.bias_outer + low * g.bias_batch : g.bias;
    c_row = g.c_row;
    c_col = g.c_col;
    bias_row = g.bias_row;
    bias_col = g.bias_col;
  }}
  {INLINE} bool downward() const {{
    return c_row == 1;
  }}
  {INLINE} long long row(long long i) const {{
    return i * c_row;
  }}
  {INLINE} long long col(long long j) const {{
    return j * c_col;
  }}
  {INLINE} const Element* bias(long long i, long long j) const {{
    return added ? added + i * bias_row + j * bias_col : added;
  }}
}};
{INLINE} Sum scaled(const Given& g, Sum sum, const Element* old) {{
  FACTORS
  const Sum made = step(alpha, sum, Sum());
  return SOME ? plus(made, step(beta, widened(*old), Sum())) : made;
}}"""


def _problem(t: dtype, whole: bool) -> Problem:
    """The text for a dtype; with operands where tiles are made."""
    arguments = [("Element*", "c"), *(("const Element*", name) for name in ("a", "b", "bias"))]
    arguments += [("long long", name) for name in STRIDES] + [(_passed(t), name) for name in _scale_names(t)]
    if t.kind == "c":
        factors = "\n  ".join(f"Sum {n};\n  {n}.re = g.{n}_re;\n  {n}.im = g.{n}_im;" for n in SCALES)
        some = "beta.re != 0 || beta.im != 0"
    else:
        factors = "const Sum " + ", ".join(f"{n} = (Sum)g.{n}_" for n in SCALES) + ";"
        some = "beta != 0"
    target = TARGET.replace("FACTORS", factors).replace("SOME", some)
    return Problem("facula_product", tuple(arguments), (OPERANDS if whole else "") + target)


def product_program(t: dtype, shape: Shape, left: Way, right: Way) -> Program:
    """The text for elements of one dtype, and operands whose elements follow each other along k or across it."""
    return tiles.tile_program(t, _problem(t, True), shape, left, right)


def parts_program(t: dtype) -> Program:
    """The text that adds the parts of long products."""
    return tiles.sum_program(t, _problem(t, False))


def all_programs() -> Iterator[Program]:
    """The texts of each dtype that has a product."""
    for t in dt.ALL:
        if _has(t):
            ways = {_way(t, step) for step in (0, 1)}
            yield from (product_program(t, s, a, b) for s in tiles.shapes(t) for a in ways for b in ways)
            yield parts_program(t)


def _has(t: dtype) -> bool:
    return t.kind != "b" and t not in (*dt.FLOAT8, dt.complex32)


def _passed(t: dtype) -> str:
    """The C++ type of alpha and beta, or of their parts."""
    return "long long" if t.kind in "ui" else "double" if t.itemsize == 8 * (1 + (t.kind == "c")) else "float"


def _scale_names(t: dtype) -> list[str]:
    return [f"{name}_{part}" for name in SCALES for part in (("re", "im") if t.kind == "c" else ("",))]


def _way(t: dtype, k_step: int) -> Way:
    """How an operand is walked over; products of integers are rare, and have one text."""
    return Way(tiles.wide(t), k_step == 1 or t.kind in "ui")


class BoundProduct:
    """The product with everything but the addresses settled: `function(c, a, b, bias)`; 0 for no bias."""

    __slots__ = ("gpu", "known", "settled")
    tail = ()

    def __init__(self, element: dtype, fields: dict[str, Any]):
        if not _has(element):
            name = element.name.capitalize()
            fail(RuntimeError, f"\"addmm_cuda\" not implemented for '{name}'", mend="convert the operands")
        scales = [fields.get(name, 1 - i) for i, name in enumerate(SCALES)]
        if element.kind == "c":
            scales = [part for x in scales for part in (complex(x).real, complex(x).imag)]
        scales = [int(x) if _passed(element) == "long long" else float(x) for x in scales]
        strides = (max(1, int(fields.get("batch", 1))), *(int(fields.get(name, 0)) for name in STRIDES[1:]))
        items = int(fields.get("outer", 1)) * int(fields.get("batch", 1))
        m, n, k = (int(fields[name]) for name in "mnk")
        run, shape = _settled(element, items, m, n, k)
        left, right = (_way(element, fields.get(name, 0)) for name in ("a_k", "b_k"))
        text = tiles.Text((product_program, element, shape, left, right), (*strides, *scales))
        self.settled = run, "product", 4, text, (parts_program, element)
        self.gpu, self.known = driver.gpu(), None

    @property
    def function(self) -> Callable[..., None]:
        """Its texts are compiled when it is first asked for."""
        if self.known is None:
            with driver.current(self.gpu):
                self.known = tiles.started(*self.settled)
        return self.known

    def __call__(self, c: int, a: int, b: int, bias: int = 0) -> None:
        self.function(c, a, b, bias)


@remembered
def _settled(t: dtype, items: int, m: int, n: int, k: int) -> tuple[tiles.Run, Shape]:
    shape = tiles.choose(t, items, m, n)
    return tiles.settle(t, shape, items, m, n, k), shape


def bind_product(element: dtype, **fields: int | float | complex) -> BoundProduct:
    """A product to call with addresses alone; `targets/cpu/matmul.py`, `bind`, documents the fields."""
    return BoundProduct(element, fields)


def unbound(element: dtype, bind: Callable) -> Callable[..., None]:
    """The function of `targets/cpu/matmul.py`, `matmul`, by one that binds products."""
    names = "batch m n k c_batch c_row c_col a_batch a_row a_k b_batch b_k b_col".split()

    def call(c: int, a: int, b: int, *rest) -> None:
        fields: dict[str, Any] = dict(zip(names, rest))
        more = rest[len(names) :]
        if element.kind == "c":
            fields |= {"alpha": complex(*more[:2]), "beta": complex(*more[2:4])}
            more = more[4:]
        else:
            fields |= {"alpha": more[0], "beta": more[1]}
            more = more[2:]
        bias, fields["bias_row"], fields["bias_col"] = more
        bind(element, **fields)(c, a, b, bias)

    return call
