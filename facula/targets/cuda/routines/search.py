"""Binary search in sorted rows, a thread a value; `targets/cpu/search.py` documents the arguments."""

from collections.abc import Callable, Iterator

from facula.core import dtype as dt
from facula.core.dtype import dtype

from ..functions import function, written
from ..texts.emit import THREADS, Program
from ..texts.operations import cast
from ..texts.schedule import MOST_BLOCKS
from ..texts.types import memory, register

__all__ = ["all_programs", "search", "search_program"]

NAME = "facula_search"


def search_program(t: dtype, right: bool, narrow: bool) -> Program:
    """The text for elements of one dtype: before equal elements, or `right` behind them; places as int64 or int32."""
    helpers: set[str] = set()

    def use(name: str) -> str:
        helpers.add(name)
        return name

    wide = dt.float32 if t in dt.STORED_ONLY else t
    kind = register(wide)

    def element(text: str) -> str:
        return cast(use, text, t, wide) if t.kind != "b" else f"{text} != 0"

    goes_on = f"!(here {'>' if right else '>='} value)"  # PyTorch's test, for NaN, too
    out = "int" if narrow else "long long"
    element_type = f"const {memory(t)}*"
    given = [(f"{out}*", "out"), (element_type, "sequence"), (element_type, "values")]
    given += [("long long", name) for name in ("rows", "n", "m", "row_step")]
    lines = f"""  const long long threads = (long long)gridDim.x * blockDim.x;
  for (long long u = (long long)blockIdx.x * blockDim.x + threadIdx.x; u < rows * m; u += threads) {{
    const {memory(t)}* row = sequence + u / m * row_step;
    const {kind} value = {element("values[u]")};
    long long low = 0, high = n;
    while (low < high) {{
      const long long middle = (low + high) >> 1;
      const {kind} here = {element("row[middle]")};
      if ({goes_on}) low = middle + 1;
      else high = middle;
    }}
    out[u] = ({out})low;
  }}"""
    return written(NAME, given, lines, helpers)


def all_programs() -> Iterator[Program]:
    """The texts for each dtype."""
    for t in dt.ALL:
        if t.kind != "c":
            yield from (search_program(t, right, narrow) for right in (False, True) for narrow in (False, True))


def search(element: dtype, right: bool, narrow: bool) -> Callable[..., None]:
    """The places of values in sorted rows."""

    def call(out: int, sequence: int, values: int, rows: int, n: int, m: int, row_step: int) -> None:
        if rows * m == 0:
            return
        grid = min(MOST_BLOCKS, -(-rows * m // THREADS)), 1
        text = function(search_program, element, right, narrow)
        text(grid, (THREADS, 1), out, sequence, values, rows, n, m, row_step)

    return call
