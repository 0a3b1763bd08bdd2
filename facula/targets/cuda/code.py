"""Compiled kernels: called with the arguments of `ir.kernel.arguments`, they choose a text and a grid, and launch."""

import ctypes
from collections.abc import Callable, Sequence
from math import prod
from typing import Any, Protocol

from facula.core.locks import lasting_lock
from facula.errors import fail
from facula.ir.kernel import Access, Check, Kernel
from facula.native import builtins

from . import driver, launcher, tickets
from .functions import Function
from .order.segments import Segments, may_sort
from .texts import schedule
from .texts.emit import program

__all__ = ["Code", "compile", "is_kernel", "marks", "noted", "packed", "raise_noted"]


class Code:
    """One kernel for one access pattern: its texts, compiled when sizes first ask for them.

    `call` is the builtin that takes the arguments of `ir.kernel.arguments`.
    """

    def __init__(self, kernel: Kernel, access: Access):
        self.kernel, self.access, self.gpu = kernel, access, driver.gpu()
        self.checks = len(kernel.checks)
        self.functions: dict[tuple[bool, bool], Function] = {}
        self.settled: dict[tuple, launcher.Settled] = {}
        self.segments = Segments(kernel, access, Code) if may_sort(kernel, access) else None
        self.ways = (ctypes.c_int64 * launcher.WAYS)()  # as `launcher.caller` has them
        self.entries: dict[int, Any] = {}  # what these point at
        narrow = self._function(False)  # compiled now: errors of the text belong here
        p = narrow.program
        # What is launched depends on sizes and strides; where writes may be sorted, on params too.
        self.head = p.tail if self.segments is None else len(kernel.operands)
        self.sizes = len(p.arguments) - self.head
        self.kinds = tuple(_KINDS.get(kind, "ptr" if kind.endswith("*") else "i64") for kind, _ in p.arguments)
        self.call = launcher.caller(narrow.words, self.head, self.sizes, self.ways, self._slowly, kernel.name)

    def _function(self, wide: bool, kept: bool = False) -> Function:
        if (wide, kept) not in self.functions:
            with driver.current(self.gpu):
                self.functions[wide, kept] = Function(program(self.kernel, self.access, wide, kept))
        return self.functions[wide, kept]

    def text(self, sizes: tuple) -> Function:
        """The text for these sizes and strides."""
        p = self._function(False).program
        return self._function(
            not schedule.narrow(self.kernel, self.access, sizes), schedule.kept(p, self._loops(sizes))
        )

    def _loops(self, sizes: tuple) -> tuple:
        return sizes[: self.access.outer + self.access.row]

    def parts(self, sizes: tuple, arguments: Sequence[Any], room: launcher.Room) -> list[launcher.Part]:
        """The launches for these sizes and strides, by how each argument of `ir.kernel.arguments` comes."""
        function, loops = self.text(sizes), self._loops(sizes)
        p = function.program
        launches, pieces = schedule.launches(p, loops)
        states = p.state * prod(loops[: p.outer]) * pieces if pieces > 1 else 0
        scratch = room.take(states) if states else 0
        own = (_status(), launcher.NUMBER) if self.checks else ()
        return [
            function.part(one.grid, one.block, *arguments, *((scratch, pieces, one.mode) if p.splits else ()), *own)
            for one in launches
        ]

    def settle(self, tail: tuple) -> launcher.Settled:
        """What is launched for these params, where writes may be sorted, sizes and strides."""
        known = self.settled.get(tail)  # another thread may clear it
        if known is not None:
            return known
        if len(tail) != self.sizes:
            fail(TypeError, f"{self.kernel.name}() takes {self.head + self.sizes} numbers", got=self.head + len(tail))
        p = self._function(False).program
        sizes, room = tail[p.tail - self.head :], launcher.Room()
        words = [launcher.given(i) for i in range(len(p.arguments))]
        if self.segments is not None and self.segments.pays(self._loops(sizes)):
            parts = self.segments.parts(tail, words, room)
        else:
            parts = self.parts(sizes, words, room)
        known = launcher.chain(parts, len(words), room.size, self.kernel if self.checks else None)
        if len(self.settled) > 1024:  # ever-changing sizes
            self.settled.clear()
        self.settled[tail] = known
        return known

    def _slowly(self, *values) -> None:
        """A call for sizes that machine code does not know."""
        if driver.gpu().index != self.gpu.index:  # by number: plans outlive the drivers of tests
            with driver.current(self.gpu):
                return self._slowly(*values)
        tail = tuple(values[self.head :])
        known = self.settle(tail)
        if _entering.acquire(blocking=False):  # by another thread, or by one that is interrupted here: the next call
            try:  # comes here again
                words = [builtins.word(value) for value in tail]
                entry = (ctypes.c_int64 * (1 + len(tail)))(known.address, *words)
                place = launcher.place(words)
                self.ways[place], old = ctypes.addressof(entry), self.entries.get(place)
                self.entries[place] = entry, known
                del old  # only now does nothing point at it
            finally:
                _entering.release()
        try:
            launcher.launch(known, self._function(False).words, *values)
        except TypeError as error:
            fail(TypeError, f"{self.kernel.name}() takes {len(values)} numbers: {error}")

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
    """Whether it starts on the GPU that it was made for, whatever a thread uses."""
    return function in _CODES or launcher.settled_of(function) is not None


def packed(function: Callable[..., None], tail: tuple) -> builtins.Packed | None:
    """What machine code starts for a function and its last arguments; None where Python must do it.

    `compile` made the function, or `launcher.started`, or its attribute `settle` gives one of these for the arguments.
    """
    made = _CODES.get(function)
    if made is not None:
        missing = len(tail) < made.sizes  # params that sorting needs
        known, kinds = None if missing else made.settle(tail[len(tail) - made.sizes :]), made.kinds
    else:
        settle = getattr(function, "settle", None)
        known = launcher.settled_of(function if settle is None else settle(*tail))
        kinds = () if known is None else ("ptr",) * known.given
    return None if known is None else builtins.Packed(known.address, kinds, (), 0.0, known)


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
