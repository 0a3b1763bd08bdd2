"""Compiled kernels: called with the arguments of `ir.kernel.arguments`, they choose a text and a grid, and launch."""

import ctypes
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from facula.core.locks import lasting_lock
from facula.errors import fail
from facula.ir.kernel import Access, Check, Kernel
from facula.native import builtins

from . import driver, launcher, tickets
from .functions import Function
from .routines.segments import Segments, may_sort
from .texts import schedule
from .texts.emit import program

__all__ = ["Code", "compile", "is_kernel", "marks", "noted", "packed", "raise_noted"]


class Settled(NamedTuple):
    """What is known for given sizes and strides."""

    function: Function
    launches: list[schedule.Launch]
    scratch: int  # bytes
    pieces: int
    record: Any  # of `launcher`: all of it, but for what is sorted
    sorts: bool  # writes are sorted by target instead
    owner: Any  # keeps the record alive while machine code is busy with it


class Code:
    """One kernel for one access pattern: its texts, compiled when sizes first ask for them.

    `call` is the builtin that takes the arguments of `ir.kernel.arguments`.
    """

    def __init__(self, kernel: Kernel, access: Access):
        self.kernel, self.access, self.gpu = kernel, access, driver.gpu()
        self.checks = len(kernel.checks)
        self.functions: dict[tuple[bool, bool], Function] = {}
        self.settled: dict[tuple, Settled] = {}
        self.segments = Segments(kernel, access, Code) if may_sort(kernel, access) else None
        self.ways = (ctypes.c_int64 * launcher.WAYS)()  # as `launcher.caller` has them
        self.entries: dict[int, Any] = {}  # what these point at
        narrow = self._function(False)  # compiled now: errors of the text belong here
        p = narrow.program
        self.head, self.sizes = p.tail, len(p.arguments) - p.tail
        self.kinds = tuple(_KINDS.get(kind, "ptr" if kind.endswith("*") else "i64") for kind, _ in p.arguments)
        self.call = launcher.caller(narrow.words, self.head, self.sizes, self.ways, self._slowly, kernel.name)

    def _function(self, wide: bool, kept: bool = False) -> Function:
        if (wide, kept) not in self.functions:
            with driver.current(self.gpu):
                self.functions[wide, kept] = Function(program(self.kernel, self.access, wide, kept))
        return self.functions[wide, kept]

    def settle(self, tail: tuple) -> Settled:
        """What is launched for these sizes and strides."""
        known = self.settled.get(tail)  # another thread may clear it
        if known is not None:
            return known
        if len(tail) != self.sizes:
            fail(TypeError, f"{self.kernel.name}() takes {self.head + self.sizes} numbers", got=self.head + len(tail))
        p = self._function(False).program
        sizes = tail[: p.outer + p.row]
        function = self._function(not schedule.narrow(self.kernel, self.access, tail), schedule.kept(p, sizes))
        p = function.program
        launches, pieces = schedule.launches(p, sizes)
        rows = 1
        for n in sizes[: p.outer]:
            rows *= n
        sorts = self.segments is not None and bool(launches) and self.segments.pays(sizes)
        scratch = p.state * rows * pieces if pieces > 1 else 0
        record, owner = None, None
        if not launches:
            record = launcher.record(None, (0, 0), (0, 0))
        elif not sorts:
            own = (_status(), 0) if self.checks else ()
            chain = [(one.grid, one.block, ((0, pieces, one.mode) if p.splits else ()) + own) for one in launches]
            record, owner = launcher.chain(function.words, chain, scratch, self.kernel if self.checks else None)
        found = Settled(function, launches, scratch, pieces, record, sorts, owner)
        if len(self.settled) > 1024:  # ever-changing sizes
            self.settled.clear()
        self.settled[tail] = found
        return found

    def _slowly(self, *values) -> None:
        """A call for sizes that machine code does not know, or of which it cannot do all."""
        if driver.gpu().index != self.gpu.index:  # by number: plans outlive the drivers of tests
            with driver.current(self.gpu):
                return self._slowly(*values)
        tail = tuple(values[self.head :])
        found = self.settle(tail)
        if found.record is not None and _entering.acquire(blocking=False):  # by another thread, or by one that is
            try:  # interrupted here: the next call comes here again
                entry = (ctypes.c_int64 * (1 + len(tail)))(ctypes.addressof(found.record), *tail)
                place = launcher.place(tail)
                self.ways[place], old = ctypes.addressof(entry), self.entries.get(place)
                self.entries[place] = entry, found
                del old  # only now does nothing point at it
            finally:
                _entering.release()
        if found.sorts:
            assert self.segments is not None
            self.segments(*values)
            return
        function = found.function
        scratch = launcher.taken(found.scratch) if found.scratch else None
        own = marks(self.kernel) if self.checks else ()
        for launch in found.launches:
            split = (scratch.ptr if scratch else 0, found.pieces, launch.mode) if function.program.splits else ()
            function(launch.grid, launch.block, *values, *split, *own)

    def __call__(self, *values) -> None:
        self.call(*values)


_entering = lasting_lock()
_KINDS = {"float": "f32", "double": "f64"}  # of C++ types, as `native.builtins` has them
_CODES: dict[Callable[..., None], Code] = {}  # by builtin


def compile(kernel: Kernel, access: Access) -> Callable[..., None]:
    """A builtin of the arguments in `ir.kernel.arguments`; failing checks are raised by `raise_noted`."""
    made = Code(kernel, access)
    _CODES[made.call] = made
    return made.call


def is_kernel(function: Callable[..., None]) -> bool:
    """Whether `compile` made it: then it starts on the GPU that it was made for, whatever a thread uses."""
    return function in _CODES


def packed(function: Callable[..., None], tail: tuple) -> builtins.Packed | None:
    """What machine code starts for a function of `compile` and these sizes; None where Python must do it."""
    made = _CODES.get(function)
    found = made.settle(tail) if made is not None else None
    if made is None or found is None or found.record is None:
        return None
    return builtins.Packed(ctypes.addressof(found.record), made.kinds, (), 0.0, found)


# Checks ---------------------------------------------------------------------------------------------------------------

WORDS = 4  # of 8 bytes; `helpers`: lock and number, ticket, position, value
_statuses: dict[driver.Device, int] = {}
_lock = lasting_lock()


def _status() -> int:
    """Memory that the GPU and the host both see."""
    gpu = driver.gpu()
    found = _statuses.get(gpu)
    if found is None:
        with _lock:  # all threads' launches note it in one place
            found = _statuses.get(gpu)
            if found is None:
                found = gpu.host_memory(8 * WORDS, driver.MAPPED)
                ctypes.memset(found, 0, 8 * WORDS)
                _statuses[gpu] = found
    return found


class Checked(Protocol):
    """What a failing check is named after: a kernel, or what a routine says in its place."""

    @property
    def name(self) -> str: ...
    @property
    def checks(self) -> tuple[Check, ...]: ...


def marks(kernel: Checked) -> tuple[int, int]:
    """What a launch with checks takes: where they are noted, and its ticket."""
    return _status(), launcher.ticket(kernel)


def _taken() -> tuple[int, int, int, int] | None:
    """Number of the check, ticket, position and value of what failed first; it counts as seen."""
    status = _statuses.get(driver.gpu())
    if status is None:  # nothing with checks was launched
        return None
    words = (ctypes.c_int64 * WORDS).from_address(status)
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
    kernel, _ = tickets.called(found[1]) or (None, "")
    assert kernel is not None
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
    kernel, where = tickets.called(taken) or (None, "")
    said = "an index is out of range"
    if kernel is not None:
        said = f"{kernel.name}: {kernel.checks[number].message.format(value=value)}, at element {position}"
    fail(RuntimeError, "CUDA error: device-side assert triggered", got=said + (f", called at {where}" if where else ""))
