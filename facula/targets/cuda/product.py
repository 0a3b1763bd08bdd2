"""The matrix product as a generated kernel, for every dtype and any strides: what is left where no library does it.

A block makes 64 x 64 elements of C, 4 x 4 a thread, from tiles of A and B in shared memory; k is summed in order.
"""

from collections.abc import Callable, Iterator
from typing import Any

from facula.core import dtype as dt
from facula.core.dtype import dtype
from facula.errors import fail

from .emit import THREADS, Program
from .functions import Function, function, written
from .operations import cast
from .schedule import MOST_BLOCKS
from .types import memory, register, unsigned

__all__ = ["BoundProduct", "all_programs", "bind_product", "product_program", "unbound"]

TILE, DEEP, SIDE = 64, 16, 16  # rows and columns of a block; of k in shared memory; threads a side
NAME = "facula_product"
SIZES = (
    "outer", "batch", "m", "n", "k", "c_outer", "c_batch", "c_row", "c_col", "a_outer", "a_batch", "a_row", "a_k",
    "b_outer", "b_batch", "b_k", "b_col", "bias_outer", "bias_batch", "bias_row", "bias_col",
)  # fmt: skip
SCALES = ("alpha", "beta")


def _sum_dtype(t: dtype) -> dtype:
    """What products are summed in."""
    return dt.float32 if t in dt.STORED_ONLY else t


def product_program(t: dtype) -> Program:
    """The text for elements of one dtype."""
    wide, helpers = _sum_dtype(t), {"Pair"} if t.kind == "c" else set()

    def use(name: str) -> str:
        helpers.add(name)
        return name

    element, total = memory(t), memory(wide) if t.kind == "c" else register(wide)
    if t.kind == "c":
        f = "fmaf" if t.code == "c64" else "fma"
        zero = f"{total}()"
        step = (
            f"{total} made;\n  made.re = {f}(-a.im, b.im, {f}(a.re, b.re, sum.re));\n"
            f"  made.im = {f}(a.im, b.re, {f}(a.re, b.im, sum.im));\n  return made;"
        )
        plus = f"{total} made;\n  made.re = a.re + b.re;\n  made.im = a.im + b.im;\n  return made;"
        load, store = "x", "x"
    else:
        zero = f"({total})0"
        if t.kind == "f":
            step, plus = f"return {'fma' if wide is dt.float64 else 'fmaf'}(a, b, sum);", "return a + b;"
        else:
            u = unsigned(t)
            step, plus = f"return ({total})(({u})a * ({u})b + ({u})sum);", f"return ({total})(({u})a + ({u})b);"
        load, store = cast(use, "x", t, wide), cast(use, "x", wide, t)
    scale = _passed(t)
    if t.kind == "c":
        given = "".join(f"  {total} {name};\n  {name}.re = {name}_re;\n  {name}.im = {name}_im;\n" for name in SCALES)
        some = "beta.re != 0 || beta.im != 0"
    else:
        given = "".join(f"  const {total} {name} = ({total}){name}_;\n" for name in SCALES)
        some = "beta != 0"
    arguments = [(f"{element}*", "c"), *((f"const {element}*", name) for name in ("a", "b", "bias"))]
    arguments += [("long long", name) for name in SIZES] + [(scale, name) for name in _scale_names(t)]
    inline = "__device__ __forceinline__"
    before = f"""{inline} {total} widened({element} x) {{
  return {load};
}}
{inline} {element} narrowed({total} x) {{
  return {store};
}}
{inline} {total} step({total} a, {total} b, {total} sum) {{
  {step}
}}
{inline} {total} plus({total} a, {total} b) {{
  {plus}
}}"""
    lines = f"""  __shared__ {total} left[{DEEP}][{TILE + 1}], right[{DEEP}][{TILE + 1}];
{given}  const int x = threadIdx.x, y = threadIdx.y, thread = y * {SIDE} + x;
  const long long across = (n + {TILE - 1}) / {TILE}, tiles = across * ((m + {TILE - 1}) / {TILE});
  for (long long item = blockIdx.y; item < outer * batch; item += gridDim.y)
  for (long long tile = blockIdx.x; tile < tiles; tile += gridDim.x) {{
    const long long high = item / batch, low = item - high * batch;
    const long long row = tile / across * {TILE}, col = (tile - tile / across * across) * {TILE};
    const {element}* from_a = a + high * a_outer + low * a_batch;
    const {element}* from_b = b + high * b_outer + low * b_batch;
    {total} sum[4][4];
    for (int i = 0; i < 4; ++i)
      for (int j = 0; j < 4; ++j) sum[i][j] = {zero};
    for (long long start = 0; start < k; start += {DEEP}) {{
      for (int e = thread; e < {TILE * DEEP}; e += {THREADS}) {{
        const int i = a_k == 1 ? e / {DEEP} : e % {TILE}, j = a_k == 1 ? e % {DEEP} : e / {TILE};
        const bool inside = row + i < m && start + j < k;
        left[j][i] = inside ? widened(from_a[(row + i) * a_row + (start + j) * a_k]) : {zero};
      }}
      for (int e = thread; e < {TILE * DEEP}; e += {THREADS}) {{
        const int i = b_col == 1 ? e % {TILE} : e / {DEEP}, j = b_col == 1 ? e / {TILE} : e % {DEEP};
        const bool inside = col + i < n && start + j < k;
        right[j][i] = inside ? widened(from_b[(start + j) * b_k + (col + i) * b_col]) : {zero};
      }}
      __syncthreads();
      for (int j = 0; j < {DEEP}; ++j) {{
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
          for (int l = 0; l < 4; ++l)
            sum[i][l] = step(left[j][y + {SIDE} * i], right[j][x + {SIDE} * l], sum[i][l]);
      }}
      __syncthreads();
    }}
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int l = 0; l < 4; ++l) {{
        const long long at_row = row + y + {SIDE} * i, at_col = col + x + {SIDE} * l;
        if (at_row < m && at_col < n) {{
          {element}* to = c + high * c_outer + low * c_batch + at_row * c_row + at_col * c_col;
          {total} made = step(alpha, sum[i][l], {zero});
          if ({some}) made = plus(made, step(beta, widened(*to), {zero}));
          if (bias) {{
            const long long at = high * bias_outer + low * bias_batch + at_row * bias_row + at_col * bias_col;
            made = plus(made, widened(bias[at]));
          }}
          *to = narrowed(made);
        }}
      }}
  }}"""
    return written(NAME, arguments, lines, helpers, before)


def all_programs() -> Iterator[Program]:
    """The text of each dtype that has a product."""
    for t in dt.ALL:
        if _has(t):
            yield product_program(t)


def _has(t: dtype) -> bool:
    return t.kind != "b" and t not in (*dt.FLOAT8, dt.complex32)


def _passed(t: dtype) -> str:
    """The C++ type of alpha and beta, or of their parts."""
    return "long long" if t.kind in "ui" else "double" if t.itemsize == 8 * (1 + (t.kind == "c")) else "float"


def _scale_names(t: dtype) -> list[str]:
    return [f"{name}_{part}" for name in SCALES for part in (("re", "im") if t.kind == "c" else ("",))]


def _function(t: dtype) -> Function:
    """The loaded kernel."""
    if not _has(t):
        fail(RuntimeError, f"\"addmm_cuda\" not implemented for '{t.name.capitalize()}'", mend="convert the operands")
    return function(product_program, t)


class BoundProduct:
    """The product with everything but the addresses settled: `function(c, a, b, bias)`; 0 for no bias."""

    tail = ()

    def __init__(self, element: dtype, fields: dict[str, Any]):
        self.element = element
        sizes = [int(fields.get(name, name in ("outer", "batch"))) for name in SIZES]
        scales = [fields.get(name, 1 - i) for i, name in enumerate(SCALES)]
        if element.kind == "c":
            scales = [part for x in scales for part in (complex(x).real, complex(x).imag)]
        scales = [int(x) if _passed(element) == "long long" else float(x) for x in scales]
        self.values = (*sizes, *scales)
        outer, batch, m, n = sizes[:4]
        tiles = -(-m // TILE) * -(-n // TILE)
        self.grid = min(MOST_BLOCKS, tiles), min(1 << 15, outer * batch)

    def function(self, c: int, a: int, b: int, bias: int = 0) -> None:
        if 0 in self.grid:
            return
        _function(self.element)(self.grid, (SIDE, SIDE), c, a, b, bias, *self.values)

    __call__ = function


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
