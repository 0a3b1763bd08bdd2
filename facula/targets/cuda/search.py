"""Binary search in sorted rows, a thread a value; `targets/cpu/search.py` documents the arguments."""

import ctypes
import struct
from collections.abc import Callable
from functools import cache as remembered
from typing import Any

from facula.core import dtype as dt
from facula.core.dtype import dtype

from . import driver, nvrtc
from .emit import THREADS, Program
from .operations import cast
from .schedule import MOST_BLOCKS
from .types import memory, register

__all__ = ["search", "search_program"]

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
    body = f"""extern "C" __global__ void __launch_bounds__({THREADS})
{NAME}({out}* out, const {memory(t)}* sequence, const {memory(t)}* values, long long rows, long long n, long long m,
    long long row_step) {{
  const long long threads = (long long)gridDim.x * blockDim.x;
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
  }}
}}
"""
    return Program(NAME, frozenset(helpers), body, "routine", 1, 0, 0, False, False, False, 0, 0, (), 0)


@remembered
def _function(t: dtype, right: bool, narrow: bool, gpu: driver.Device) -> Any:
    return gpu.load(nvrtc.cubin(search_program(t, right, narrow).text, gpu.architecture, NAME), NAME)


def search(element: dtype, right: bool, narrow: bool) -> Callable[..., None]:
    """The places of values in sorted rows."""

    def call(out: int, sequence: int, values: int, rows: int, n: int, m: int, row_step: int) -> None:
        if rows * m == 0:
            return
        gpu = driver.gpu()
        gpu.enter()
        buffer = ctypes.create_string_buffer(struct.pack("=7q", out, sequence, values, rows, n, m, row_step))
        start = ctypes.addressof(buffer)
        table = (ctypes.c_void_p * 7)(*(start + 8 * k for k in range(7)))
        grid = min(MOST_BLOCKS, -(-rows * m // THREADS)), 1
        gpu.launch(_function(element, right, narrow, gpu), grid, (THREADS, 1), ctypes.addressof(table), gpu.stream)

    return call
