"""A text as something to start: its machine code, loaded once a GPU, and the place for what it takes.

Kernels of the IR come here with the `Program` that `emit` writes; routines written as CUDA C++ with one of `written`.
"""

import struct
from collections.abc import Callable, Iterable
from functools import cache as remembered
from typing import Any

from facula.errors import fail

from . import driver, launcher, nvrtc
from .texts.emit import THREADS, Program

__all__ = ["Function", "function", "written"]


def written(
    name: str, arguments: Iterable[tuple[str, str]], lines: str, helpers: Iterable[str] = (), before: str = "",
    threads: int = THREADS, resident: int = 1,
) -> Program:  # fmt: skip
    """The program of a function that is written as CUDA C++ and no kernel of the IR.

    Parameters
    ----------
    name : str
        Of the function.
    arguments : iterable of (str, str)
        C++ type and name of what it takes: pointers, `long long`, `int`, `float`, `double`.
    lines : str
        What stands between the braces of the function.
    helpers : iterable of str
        Names of `helpers` that the text uses.
    before : str
        Text before the function: its own structs and device functions.
    threads : int
        The most threads of a block.
    resident : int
        Blocks that a multiprocessor should have registers for at the same time.
    """
    given = tuple(arguments)
    signature = ",\n    ".join(f"{kind} {local}" for kind, local in given)
    bounds = f"{threads}, {resident}" if resident > 1 else f"{threads}"
    body = f'extern "C" __global__ void __launch_bounds__({bounds})\n{name}({signature}) {{\n{lines}\n}}\n'
    text = f"{before}\n\n{body}" if before else body
    return Program(name, frozenset(helpers), text, "routine", 1, 0, 0, False, False, False, 0, 0, given, len(given))


def machine_code(p: Program, gpu: driver.Device) -> bytes:
    """The cubin of a program."""
    return nvrtc.cubin(p.text, gpu.architecture, p.name)


class Function:
    """A loaded program: `function(grid, block, *values)` starts it in the current stream."""

    __slots__ = ("program", "start", "words")

    def __init__(self, p: Program):
        gpu = driver.gpu()
        self.program = p
        handle = int(gpu.load(machine_code(p, gpu), p.name))
        self.words = launcher.words(handle, [kind for kind, _ in p.takes], gpu.where)
        self.start = launcher.starter(self.words, p.name)

    def __call__(self, grid: tuple[int, int], block: tuple[int, int], *values: float) -> None:
        try:
            self.start(*grid, *block, *values)
        except TypeError as error:
            fail(TypeError, f"{self.program.name}() takes {len(self.program.takes)} numbers: {error}", got=len(values))

    def part(self, grid: tuple[int, int], block: tuple[int, int], *arguments: float | launcher.Word) -> launcher.Part:
        """A launch; arguments that are numbers are the same in all calls."""
        if len(arguments) != len(self.program.takes):
            fail(TypeError, f"{self.program.name}() takes {len(self.program.takes)} numbers", got=len(arguments))
        made = [
            value if isinstance(value, launcher.Word) else launcher.known(_word(kind, value))
            for (kind, _), value in zip(self.program.takes, arguments)
        ]
        return launcher.Part(self.words, grid, block, made)


_BYTES = {"float": "<fxxxx", "double": "<d"}  # of C++ types; others are whole numbers


def _word(kind: str, value: Any) -> int:
    """The 8 bytes that the driver reads an argument from."""
    if kind in _BYTES:
        return int.from_bytes(struct.pack(_BYTES[kind], value), "little")
    return int(value)


@remembered
def _of(gpu: driver.Device, make: Callable[..., Program], arguments: tuple) -> Function:
    return Function(make(*arguments))


def function(make: Callable[..., Program], *arguments: object) -> Function:
    """The function whose program `make(*arguments)` writes, made once a GPU."""
    return _of(driver.gpu(), make, arguments)
