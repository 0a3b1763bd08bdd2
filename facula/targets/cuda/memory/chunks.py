"""Memory from the driver, cut in chunks: the best fit is taken, what is left over stays; neighbours join again.

Sizes are those of PyTorch's allocator, so that a program has the same memory in use and in reserve. Freed chunks wait
in bins by size and are taken from there at once, without a search: joining them with their neighbours is put off until
some size is in no bin.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Any

from .options import Options

__all__ = ["ALIGN", "LARGE", "SMALL", "Arena", "Chunk", "Tally", "rounded", "segment_size"]

ALIGN = 512  # bytes
SMALL = 1 << 20  # up to here chunks are cut from segments of SLAB
SLAB = 2 << 20
LARGE = 10 << 20  # below, chunks are cut from segments of MIDDLE; from here on a segment is what was asked for
MIDDLE = 20 << 20


def rounded(nbytes: int, options: Options = Options()) -> int:  # noqa: B008
    """The size of the chunk for so many bytes.

    >>> rounded(1), rounded(513), rounded(3_000_000)
    (512, 1024, 3000320)
    """
    size = (nbytes + ALIGN - 1) & -ALIGN or ALIGN
    if not options.divisions or nbytes < 4 * ALIGN:
        return size
    divisions = [number for least, number in options.divisions if least <= nbytes >> 20]
    number = divisions[-1] if divisions else options.divisions[0][1]
    power = 1 << (size - 1).bit_length()
    if number <= 1 or power == size:
        return size
    step = max((power >> 1) // number, ALIGN)
    return -(-size // step) * step


def segment_size(size: int) -> int:
    """How many bytes the driver is asked for, for a chunk of a size.

    >>> [segment_size(n) >> 20 for n in (512, 2 << 20, 11 << 20)]
    [2, 20, 12]
    """
    if size <= SMALL:
        return SLAB
    return MIDDLE if size < LARGE else -(-size // SLAB) * SLAB


class Tally:
    """What is in use of one kind of chunks, small or large, and the history of it."""

    __slots__ = (
        "asked", "asked_freed", "asked_most", "blocks", "blocks_freed", "blocks_most", "bytes", "bytes_freed", "most",
        "name", "waiting", "waiting_bytes",
    )  # fmt: skip

    def __init__(self, name: str):
        self.name = name
        self.blocks = self.bytes = self.asked = 0  # chunks in use, their bytes, the bytes that were asked for
        self.blocks_freed = self.bytes_freed = self.asked_freed = 0
        self.blocks_most = self.most = self.asked_most = 0
        self.waiting = self.waiting_bytes = 0  # freed, but another stream may still read them


class Chunk:
    """A part of a segment: in use (`asked` is more than 0), in a bin, or among the free ones of its arena."""

    __slots__ = ("arena", "asked", "key", "next", "note", "prev", "ptr", "size", "tally", "waits")

    def __init__(self, arena: "Arena", tally: Tally, ptr: int, size: int):
        self.arena, self.tally, self.ptr, self.size = arena, tally, ptr, size
        self.key = size  # the size that it was taken for: its bin
        self.asked = 0
        self.waits = False  # for another stream
        self.note: Any = None  # of a large one in use: spec, and the program's line
        self.prev: Chunk | None = None  # neighbours in the segment
        self.next: Chunk | None = None


class Arena:
    """The segments of one stream, of one private pool or of none."""

    def __init__(self, stream: int, private: Any, tallies: tuple[Tally, Tally], options: Options):
        self.stream, self.private, self.tallies, self.options = stream, private, tallies, options
        self.bins: dict[int, list[Chunk]] = {}  # freed since the last `join`
        self.free: tuple[list, list] = ([], [])  # small and large: (size, address, chunk), ascending
        self.segments: dict[int, tuple[Chunk, int]] = {}  # address -> first chunk, bytes

    def put(self, chunk: Chunk) -> None:
        """Keep a chunk for the next one of its size."""
        self.bins.setdefault(chunk.key, []).append(chunk)  # in one: garbage may be collected before any statement

    def join(self) -> None:
        """Join what is in bins with free neighbours."""
        bins, self.bins = self.bins, {}  # chunks may be freed meanwhile
        for chunks in bins.values():
            for chunk in chunks:
                self._join(chunk)

    def _listed(self, chunk: Chunk) -> list:
        return self.free[chunk.tally is self.tallies[1]]

    def _forget(self, chunk: Chunk) -> None:
        listed = self._listed(chunk)
        at = bisect_left(listed, (chunk.size, chunk.ptr))
        del listed[at]
        chunk.key = 0

    def _join(self, chunk: Chunk) -> None:
        before, after = chunk.prev, chunk.next
        if after is not None and after.key == -1:
            self._forget(after)
            chunk.size += after.size
            chunk.next = after.next
            if after.next is not None:
                after.next.prev = chunk
        if before is not None and before.key == -1:
            self._forget(before)
            before.size += chunk.size
            before.next = chunk.next
            if chunk.next is not None:
                chunk.next.prev = before
            chunk = before
        self._keep(chunk)

    def _keep(self, chunk: Chunk) -> None:
        chunk.key = -1  # among the free ones
        insort(self._listed(chunk), (chunk.size, chunk.ptr, chunk))

    def find(self, size: int) -> Chunk | None:
        """The smallest free chunk of at least a size, cut to it; None where there is none."""
        listed = self.free[size > SMALL]
        at = bisect_left(listed, (size, 0))
        if at == len(listed):
            return None
        chunk = listed[at][2]
        most = self.options.max_split
        if most >= 0 and (chunk.size >= most if size < most else chunk.size >= size + MIDDLE):
            return None  # uncut, too much of it would lie idle
        self._forget(chunk)
        return self._cut(chunk, size)

    def add(self, ptr: int, total: int, size: int) -> Chunk:
        """A new segment; the chunk of a size at its start."""
        chunk = Chunk(self, self.tallies[size > SMALL], ptr, total)
        self.segments[ptr] = chunk, total
        return self._cut(chunk, size)

    def _cut(self, chunk: Chunk, size: int) -> Chunk:
        left, most = chunk.size - size, self.options.max_split
        if left >= ALIGN if size <= SMALL else left > SMALL and (most < 0 or size < most):
            rest = Chunk(self, chunk.tally, chunk.ptr + size, left)
            chunk.size, rest.prev, rest.next = size, chunk, chunk.next
            if rest.next is not None:
                rest.next.prev = rest
            chunk.next = rest
            self._keep(rest)
        chunk.key = size
        return chunk

    def idle(self) -> list[tuple[int, int]]:
        """Address and bytes of the segments that are one free chunk; they are no longer the arena's."""
        self.join()
        found = []
        for listed in self.free:
            for _, ptr, chunk in list(listed):
                if chunk.prev is None and chunk.next is None:
                    self._forget(chunk)
                    found.append((ptr, self.segments.pop(ptr)[1]))
        return found

    def chunks(self) -> Iterator[tuple[int, int, list[Chunk]]]:
        """Address, bytes and chunks of each segment."""
        for ptr, (chunk, size) in sorted(self.segments.items()):
            inside: list[Chunk] = []
            walk: Chunk | None = chunk
            while walk is not None:
                inside.append(walk)
                walk = walk.next
            yield ptr, size, inside
