"""Random numbers of recorded graphs: seed and offset in memory of the GPU, which each replay writes first."""

from collections.abc import Iterator
from typing import Any

from facula.core import philox as layout
from facula.core.generator import Generator

from ..functions import function, written
from ..memory.pool import pool
from ..texts.emit import Program
from ..texts.philox import record

__all__ = ["Recorded", "all_programs"]


def write_program() -> Program:
    """Two words to memory, in the order of the stream."""
    given = [("long long*", "to"), ("long long", "seed"), ("long long", "offset")]
    return written("facula_write_seed", given, "  to[0] = seed;\n  to[1] = offset;", threads=1)


class Recorded:
    """A generator and one graph: kernels that are recorded take the address of its two words."""

    __slots__ = ("generator", "words")

    def __init__(self, generator: Generator):
        self.generator = generator
        self.words: Any = pool().take(16)

    def capture_prologue(self) -> None:
        """From now on, what is drawn counts for the graph."""
        with self.generator.lock:
            found = record(self.generator.ptr)
            found[layout.GRAPH // 8], found[layout.INSIDE // 8] = self.words.ptr, 0

    def capture_epilogue(self) -> int:
        """By how much the recorded work moves the offset; what is drawn from now on is the stream's again."""
        with self.generator.lock:
            found = record(self.generator.ptr)
            count = found[layout.INSIDE // 8]
            found[layout.GRAPH // 8], found[layout.INSIDE // 8] = 0, 0
        return count

    def replay_prologue(self, increment: int) -> None:
        """Give the current stream work that writes seed and offset for the coming replay, and move the offset."""
        with self.generator.lock:
            found = record(self.generator.ptr)
            seed, offset = found[layout.SEED // 8], found[layout.OFFSET // 8]
            found[layout.OFFSET // 8] = offset + increment
        function(write_program)((1, 1), (1, 1), self.words.ptr, seed, offset)


def all_programs() -> Iterator[Program]:
    """The one text."""
    yield write_program()
