"""One launch for many tensors: the kernel of dense operands on each row of a table of addresses and sizes.

All rows together are cut in shares, which the blocks take; the table is that of `launch.Many`.
"""

import ctypes
import struct
from collections.abc import Callable, Sequence
from typing import Any

from facula.codegen import prepare
from facula.ir.kernel import Kernel, of_rows, width

from . import driver, launcher, transfers
from .functions import Function
from .memory import pool
from .texts.emit import THREADS, Nest, Program
from .texts.operations import FUNCTIONS
from .texts.schedule import MOST_BLOCKS
from .texts.types import passed
from .texts.values import argument_name

__all__ = ["ManyCode", "compile_many", "many_program"]

_FORMATS = {"float": "f4x", "double": "d"}  # of C++ types, in 8 bytes each; the others: q
CHUNK = 8192  # elements of a share at most: 32 a thread
KEPT = 64  # tables that stay in the GPU's memory: from step to step, the memory of gradients takes turns


class ManyNest(Nest):
    """The loops of one share."""

    def __init__(self, kernel: Kernel, columns: Sequence[int | None], late: bool):
        super().__init__(prepare(kernel, FUNCTIONS), of_rows(columns), False)
        self.columns, self.late = columns, late
        self.splits = self.again = False
        self.width = width(columns)

    def grid_stride(self, units: str) -> str:
        return f"for (Index u = (Index)threadIdx.x; u < {units}; u += (Index)blockDim.x)"

    def row_loop(self, rows: str, mine: str) -> str:
        return f"for (Index top = 0; top < {rows}; ++top)"

    def program(self) -> Program:
        """The text of `(table, rows, partial, *params)`, or of `(table, rows, partial, late)`: params in memory."""
        self.write_loops()
        table = self.width + 2  # addresses, the number of elements, that of the first share
        params = [(passed(p.dtype), f"{argument_name(f'param {p.name}')}_") for p in self.kernel.params]
        read = [
            f"  const {kind} {name} = *(const {kind}*)(late + {k});"
            for k, (p, (kind, name)) in enumerate(zip(self.kernel.params, params))
            if f"param {p.name}" in self.arguments_used
        ]
        if self.late:
            params = [("const long long*", "late")]
        given = [("const long long*", "table"), ("long long", "rows"), ("void*", "partial"), *params]
        lines = [
            *(read if self.late else ()),
            *self.param_lines(),
            f"  const long long shares = table[rows * {table}];",
            "  for (long long share = blockIdx.x; share < shares; share += gridDim.x) {",
            "    long long low = 0, high = rows;  // the last row whose first share is not past this one",
            "    while (high - low > 1) {",
            "      const long long middle = (low + high) >> 1;",
            f"      (table[middle * {table} + {self.width + 1}] > share ? high : low) = middle;",
            "    }",
            f"    const long long* line = table + low * {table};",
            f"    const long long begin = (share - line[{self.width + 1}]) * {CHUNK};",
            f"    const long long left = line[{self.width}] - begin;",
        ]
        for i, (operand, column) in enumerate(zip(self.operands, self.columns)):
            kind, name = self.pointer_type(i), f"{operand.name}.ptr"
            if name in self.arguments_used:
                if column is None:
                    source = f"({kind})partial + share"
                else:
                    source = f"({kind})line[{column}] + begin" if column >= 0 else f"({kind})line[{~column}]"
                lines.append(f"    {kind} {argument_name(name)} = {source};")
        sizes = ["1"] * self.row + [f"left < {CHUNK} ? (Index)left : {CHUNK}"]
        for d, size in enumerate(sizes):
            if f"n{d}" in self.arguments_used:
                lines.append(f"    const Index n{d} = {size};")
        lines += [*(f"  {line}" for line in self.lines), "  }"]
        body = "\n\n".join(["typedef int Index;", *self.structs, self.function(given, lines, THREADS)])
        return Program(
            self.name, frozenset(self.helpers), body, "many", self.lanes, 1, self.row, False, False, False, 0, 0,
            tuple(given), 3 + len(params),
        )  # fmt: skip


def many_program(kernel: Kernel, columns: Sequence[int | None], late: bool = False) -> Program:
    """The text for rows of tensors; `columns` says which address of a row belongs to each operand."""
    return ManyNest(kernel, columns, late).program()


class ManyCode:
    """A function `(table, rows, elements, partial, *params)`.

    In a recorded graph with `refresh`, which returns the params of the coming replay: these are read from memory, to
    which every replay copies them first.
    """

    def __init__(self, kernel: Kernel, columns: Sequence[int | None]):
        self.kernel, self.columns = kernel, columns
        self.function = Function(many_program(kernel, columns))
        self.late: Function | None = None
        self.tables: dict[tuple[driver.Stream, bytes], Any] = {}
        self.words = width(columns) + 2

    def __call__(
        self, table: int, rows: int, elements: int, partial: int, *params, refresh: Callable[[], list] | None = None
    ) -> None:
        words = rows * self.words + 1
        shares = ctypes.c_int64.from_address(table + 8 * (words - 1)).value
        if shares == 0:
            return
        there = self._there(table, 8 * words)
        grid = min(MOST_BLOCKS, shares), 1
        if refresh is None:
            self.function(grid, (THREADS, 1), there.ptr, rows, partial, *params)
        else:
            self._refreshed(len(params), refresh)(grid, (THREADS, 1), there.ptr, rows, partial)

    def _there(self, table: int, nbytes: int) -> Any:
        """The GPU's memory with what a table has; a step like one before finds it there."""
        stream = driver.gpu().stream
        own = stream.capture is not None or stream.private is not None  # memory and copy are a graph's, or a pool's
        key = stream, ctypes.string_at(table, nbytes)
        there = None if own else self.tables.get(key)
        if there is None:
            there = launcher.taken(nbytes)
            transfers.staged(there.ptr, table, nbytes)
            if not own:
                if len(self.tables) >= KEPT:
                    self.tables.clear()
                self.tables[key] = there
        return there

    def _refreshed(self, count: int, refresh: Callable[[], list]) -> Callable[..., None]:
        if self.late is None:
            self.late = Function(many_program(self.kernel, self.columns, late=True))
        function, capture = self.late, driver.gpu().stream.capture
        packed = struct.Struct("=" + "".join([_FORMATS.get(kind, "q") for kind, _ in self.function.program.takes[3:]]))
        params = pool.pool().take(8 * count)

        def write() -> None:
            values = ctypes.create_string_buffer(packed.pack(*refresh()), packed.size)
            transfers.staged(params.ptr, ctypes.addressof(values), packed.size)

        capture.keep(params)
        capture.before_replay.append(write)
        return lambda grid, block, *values: function(grid, block, *values, params.ptr)


def compile_many(kernel: Kernel, columns: Sequence[int | None]) -> tuple[Callable[..., None], int]:
    """The function, and how many elements a share has at most."""
    return ManyCode(kernel, columns), CHUNK
