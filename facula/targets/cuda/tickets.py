"""Which launch a failing check belongs to: numbers of launches, and for the last of them the kernel and the line.

A launch takes its number from machine code, which notes the frame that it came from as autograd does, in a ring. Those
of launches in graphs, whose checks may fail in any replay, are kept by Python as long as the graphs live.
"""

import ctypes
import sys
from collections.abc import Callable
from typing import Any

from facula.core.lines import line_number
from facula.native import builtins
from facula.native.entry import Entry
from facula.native.text import Value

from . import driver

__all__ = ["INSIDE", "KEPT", "RING", "called", "count", "here", "line_of", "record", "text"]

INSIDE = "facula."  # how the names of modules begin that no user's line is in

KEPT = 4096  # launches that are remembered
# Words of the ring: how many numbers were given, then of each launch its number, kernel and line.
FIRST, NUMBER, KERNEL, LINE, BYTES = 8, 0, 8, 16, 24
RING = (ctypes.c_int64 * (FIRST // 8 + KEPT * BYTES // 8))()
_recorded: dict[int, tuple[Any, str]] = {}  # by number


def text(word: Callable[..., Value]) -> str:
    """LLVM text of `facula_cuda_ticket(kernel, device)`: a number, 0 with an error set; and of the builtin `ticket`."""
    f: Any = Entry("facula_cuda_ticket", "ptr kernel, ptr device", "i64", linkage="")
    f.leave(f.call("i32", "@facula_cuda_ready", f.device).ne(0), "failed")
    f.leave(word(f, "capture", "i64").ne(0), "recorded")
    ring = f.symbol_value("facula_cuda_ring")
    number = f.load("i64", ring) + 1
    f.store(number, ring)
    line = f.call("ptr", "@user_line", word(f, "name"))
    f.leave(f.null(line), "failed")
    place = f.at(ring, (number & (KEPT - 1)) * BYTES + FIRST)
    old = f.slot(place, KERNEL), f.slot(place, LINE)
    f.store(number, f.at(place, NUMBER))
    f.store(f.count(f.kernel), f.at(place, KERNEL))
    f.store(line, f.at(place, LINE))
    for value in old:
        with f.when(f.value("i1", f"icmp ne ptr {value.name}, null")):
            f.call("void", "@Py_DecRef", value)
    f.done(number)
    f.label("recorded")
    told = f.call("ptr", "@PyObject_CallOneArg", word(f, "record"), f.kernel)
    f.leave(f.null(told), "failed")
    given = f.call("i64", "@facula_as_i64", told)
    f.call("void", "@Py_DecRef", told)
    f.done(given)
    f.label("failed")
    f.done(f.constant("i64", 0))
    own: Any = Entry("ticket", "ptr self, ptr args, i64 given", "ptr", linkage="")
    own.leave(own.given.ne(2), "misfit")
    number = own.call("i64", "@facula_cuda_ticket", *(own.load("ptr", own.item(own.args, i)) for i in range(2)))
    own.leave(number.eq(0), "failed")
    own.done(own.call("ptr", "@PyLong_FromLongLong", number))
    own.label("misfit")
    two = own.constant("i64", 2)
    own.done(own.call("ptr", "@facula_bad_count", own.symbol_value("ticket.title"), two, own.given))
    own.label("failed")
    own.emit("ret ptr null")
    return builtins.string("ticket.title", "ticket") + f.text() + own.text()


class _Recorded:
    """What a graph keeps of a launch whose checks may fail in any replay."""

    def __init__(self, number: int):
        self.number = number

    def __del__(self):
        _recorded.pop(self.number, None)


def record(kernel: Any) -> int:
    """The number of a launch that is recorded into a graph."""
    RING[0] += 1
    number = RING[0]
    _recorded[number] = kernel, line_of(here())
    driver.entered().stream.capture.keep(_Recorded(number))  # the GPU that machine code has made ready
    return number


def count() -> int:
    """How many numbers were given."""
    return RING[0]


def called(number: int) -> tuple[Any, str] | None:
    """The kernel of a launch, and the line that it came from; None where that is forgotten."""
    place = ctypes.addressof(RING) + FIRST + number % KEPT * BYTES
    if number in _recorded or ctypes.c_int64.from_address(place + NUMBER).value != number:
        return _recorded.get(number)
    kernel, line = (ctypes.py_object.from_address(place + offset).value for offset in (KERNEL, LINE))
    return kernel, line_of(line)


def here() -> Any:
    """The line of the program that is running, as `line_of` takes it."""
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(INSIDE):
        frame = frame.f_back
    return None if frame is None else (frame.f_code, frame.f_lasti)


def line_of(line: Any) -> str:
    """`file:line` of a code object and an instruction, as machine code notes them; "" where there was none."""
    if not isinstance(line, tuple):
        return line or ""
    code, instruction = line
    number = line_number(code, instruction)
    return f"{code.co_filename}:{number or code.co_firstlineno}"
