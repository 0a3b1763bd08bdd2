"""Kernels on many sets of operands, one set after the other; the table is the one of `native.tables`."""

import ctypes
from collections.abc import Callable, Sequence

from facula.ir.kernel import Kernel, of_rows, width

from .interpreter import compile

__all__ = ["compile_many"]

CHUNK = 4096  # elements of a share


def compile_many(kernel: Kernel, columns: Sequence[int | None]) -> tuple[Callable[..., None], int]:
    """A function `(table, rows, elements, partial, *params)`, and how many elements a share has at most.

    `columns` says which address of a row belongs to each operand, see `launch.many`.
    """
    count, reduces = width(columns), None in columns
    function = compile(kernel, of_rows(columns))
    sizes = [operand.dtype.itemsize for operand in kernel.operands]

    def call(table: int, rows: int, elements: int, partial: int, *params) -> None:
        words = (ctypes.c_int64 * (rows * (count + 2))).from_address(table)
        for row in range(0, rows * (count + 2), count + 2):
            size, share = words[row + count], words[row + count + 1]
            for start in range(0, size, CHUNK):
                addresses = []
                for column, wide in zip(columns, sizes):
                    if column is None:
                        addresses.append(partial + share * wide)
                    else:
                        addresses.append(words[row + column] + start * wide if column >= 0 else words[row + ~column])
                function(*addresses, *params, *[1] * reduces, min(CHUNK, size - start))
                share += 1

    return call, CHUNK
