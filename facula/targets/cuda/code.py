"""Compiled kernels: called with the arguments of `ir.kernel.arguments`, they choose a text and a grid, and launch."""

import ctypes
import struct
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import cache as remembered
from pathlib import Path
from typing import Any, NamedTuple

from facula.errors import fail
from facula.ir.kernel import Access, Kernel

from . import driver, nvrtc, pool, schedule
from .emit import Program, program

__all__ = ["Code", "compile", "noted", "raise_noted"]

PACKAGE = str(Path(__file__).parents[2])
_FORMATS = {"float": "f4x", "double": "d"}  # of C++ types, in 8 bytes each; the others: q


class Settled(NamedTuple):
    """What is known for given sizes and strides."""

    program: Program
    function: Any
    launches: list[schedule.Launch]
    scratch: int  # bytes
    pieces: int


class Code:
    """One kernel for one access pattern: its texts, compiled when sizes first ask for them, and its arguments."""

    def __init__(self, kernel: Kernel, access: Access):
        self.kernel, self.access = kernel, access
        self.checks = len(kernel.checks)
        self.programs: dict[bool, tuple[Program, Any]] = {}
        self.settled: dict[tuple, Settled] = {}
        narrow = self._program(False)[0]  # compiled now: errors of the text belong here
        self.head, self.sizes = narrow.tail, len(narrow.arguments) - narrow.tail
        kinds = "".join(_FORMATS.get(kind, "q") for kind, _ in narrow.arguments)
        more = "qqq" * narrow.splits + "qq" * bool(self.checks)  # scratch, pieces, mode; status, ticket
        self.packed = struct.Struct(f"={kinds}{more}")
        count = len(narrow.arguments) + len(more)
        self.buffer = ctypes.create_string_buffer(8 * count)
        start = ctypes.addressof(self.buffer)
        self.table = (ctypes.c_void_p * count)(*(start + 8 * k for k in range(count)))
        self.lock = threading.Lock()  # of the buffer

    def _program(self, wide: bool) -> tuple[Program, Any]:
        if wide not in self.programs:
            p, gpu = program(self.kernel, self.access, wide), driver.gpu()
            code = nvrtc.cubin(p.text, gpu.architecture, p.name)
            self.programs[wide] = p, gpu.load(code, p.name)
        return self.programs[wide]

    def _settle(self, tail: tuple) -> Settled:
        if len(tail) != self.sizes:
            fail(TypeError, f"{self.kernel.name}() takes {self.head + self.sizes} numbers", got=self.head + len(tail))
        p, function = self._program(not schedule.narrow(self.kernel, self.access, tail))
        sizes = tail[: p.outer + p.row]
        launches, pieces = schedule.launches(p, sizes)
        rows = 1
        for n in sizes[: p.outer]:
            rows *= n
        found = Settled(p, function, launches, p.state * rows * pieces if pieces > 1 else 0, pieces)
        if len(self.settled) > 1024:  # ever-changing sizes
            self.settled.clear()
        self.settled[tail] = found
        return found

    def __call__(self, *values) -> None:
        tail = values[self.head :]
        found = self.settled.get(tail) or self._settle(tail)
        gpu = driver.gpu()
        gpu.enter()
        scratch = pool.pool().take(found.scratch) if found.scratch else None
        marks = (_status(), ticket(self.kernel)) if self.checks else ()
        with self.lock:
            for launch in found.launches:
                pieces = (scratch.ptr if scratch else 0, found.pieces, launch.mode) if found.program.splits else ()
                try:
                    self.packed.pack_into(self.buffer, 0, *values, *pieces, *marks)
                except struct.error as error:
                    if any(isinstance(v, int) and not -(2**63) <= v < 2**63 for v in values):
                        raise OverflowError(str(error)) from None
                    fail(TypeError, f"{self.kernel.name}() takes {len(found.program.arguments)} numbers: {error}",
                         got=len(values))  # fmt: skip
                gpu.launch(function=found.function, grid=launch.grid, block=launch.block,
                           arguments=ctypes.addressof(self.table), stream=gpu.stream)  # fmt: skip


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
