"""Compiled kernels: called with the arguments of `ir.kernel.arguments`, they choose a text and a grid, and launch."""

import ctypes
import sys
from collections import OrderedDict
from collections.abc import Callable
from functools import cache as remembered
from pathlib import Path
from typing import Any, NamedTuple

from facula.errors import fail
from facula.ir.kernel import Access, Kernel

from . import driver, pool, schedule
from .emit import program
from .functions import Function

__all__ = ["Code", "compile", "noted", "raise_noted"]

PACKAGE = str(Path(__file__).parents[2])


class Settled(NamedTuple):
    """What is known for given sizes and strides."""

    function: Function
    launches: list[schedule.Launch]
    scratch: int  # bytes
    pieces: int


class Code:
    """One kernel for one access pattern: its texts, compiled when sizes first ask for them."""

    def __init__(self, kernel: Kernel, access: Access):
        self.kernel, self.access = kernel, access
        self.checks = len(kernel.checks)
        self.functions: dict[bool, Function] = {}
        self.settled: dict[tuple, Settled] = {}
        narrow = self._function(False).program  # compiled now: errors of the text belong here
        self.head, self.sizes = narrow.tail, len(narrow.arguments) - narrow.tail

    def _function(self, wide: bool) -> Function:
        if wide not in self.functions:
            self.functions[wide] = Function(program(self.kernel, self.access, wide))
        return self.functions[wide]

    def _settle(self, tail: tuple) -> Settled:
        if len(tail) != self.sizes:
            fail(TypeError, f"{self.kernel.name}() takes {self.head + self.sizes} numbers", got=self.head + len(tail))
        function = self._function(not schedule.narrow(self.kernel, self.access, tail))
        p = function.program
        sizes = tail[: p.outer + p.row]
        launches, pieces = schedule.launches(p, sizes)
        rows = 1
        for n in sizes[: p.outer]:
            rows *= n
        found = Settled(function, launches, p.state * rows * pieces if pieces > 1 else 0, pieces)
        if len(self.settled) > 1024:  # ever-changing sizes
            self.settled.clear()
        self.settled[tail] = found
        return found

    def __call__(self, *values) -> None:
        tail = values[self.head :]
        found = self.settled.get(tail) or self._settle(tail)
        function = found.function
        scratch = pool.pool().take(found.scratch) if found.scratch else None
        marks = (_status(), ticket(self.kernel)) if self.checks else ()
        for launch in found.launches:
            split = (scratch.ptr if scratch else 0, found.pieces, launch.mode) if function.program.splits else ()
            function(launch.grid, launch.block, *values, *split, *marks)


def compile(kernel: Kernel, access: Access) -> Callable[..., None]:
    """A function of the arguments in `ir.kernel.arguments`; failing checks are raised by `raise_noted`."""
    return Code(kernel, access)


# Checks ---------------------------------------------------------------------------------------------------------------

WORDS = 4  # of 8 bytes; `helpers`: lock and number, ticket, position, value
_KEPT = 4096
_launched: OrderedDict[int, tuple[Kernel, str]] = OrderedDict()  # ticket -> kernel, where it was called
_tickets = [0]


@remembered
def _status_of(gpu: driver.Device) -> int:
    """Memory that the GPU and the host both see."""
    gpu.enter()
    found = driver.good(driver.api().cuMemHostAlloc(8 * WORDS, driver.MAPPED), "cuMemHostAlloc")
    ctypes.memset(int(found), 0, 8 * WORDS)
    return int(found)


def _status() -> int:
    return _status_of(driver.gpu())


def ticket(kernel: Kernel) -> int:
    """The number of a launch whose checks may fail, and the line that it comes from."""
    _tickets[0] += 1
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    where = f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else ""
    _launched[_tickets[0]] = kernel, where
    if len(_launched) > _KEPT:
        _launched.popitem(last=False)
    return _tickets[0]


def _taken() -> tuple[int, int, int, int] | None:
    """Number of the check, ticket, position and value of what failed first; it counts as seen."""
    if not _tickets[0]:
        return None
    words = (ctypes.c_int64 * WORDS).from_address(_status())
    found = words[0] >> 32, words[1], words[2], words[3]
    if found[1] == 0:
        return None
    for k in range(WORDS):
        words[k] = 0
    return found


def noted() -> int | tuple[int, int] | None:
    """What other targets' kernels return, after a synchronisation: the value of the first failing check.

    (number, value) where the kernel has several checks.
    """
    found = _taken()
    if found is None:
        return None
    kernel, _ = _launched[found[1]]
    return found[3] if len(kernel.checks) == 1 else (found[0], found[3])


def raise_noted() -> None:
    """Raise what checks have found since the last time; to be called after a synchronisation.

    Raises
    ------
    RuntimeError
        With PyTorch's first line, then operator, element and value, and the line of the program.
    """
    found = _taken()
    if found is None:
        return
    number, taken, position, value = found
    kernel, where = _launched.get(taken, (None, ""))
    _launched.clear()
    said = "an index is out of range"
    if kernel is not None:
        said = f"{kernel.name}: {kernel.checks[number].message.format(value=value)}, at element {position}"
    fail(RuntimeError, "CUDA error: device-side assert triggered", got=said + (f", called at {where}" if where else ""))
