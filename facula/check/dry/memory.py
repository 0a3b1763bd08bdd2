"""Memory that is counted as the pool of the CPU counts it, and virtual: what nobody writes takes none and reads 0."""

import bisect
import mmap
from typing import Any

import numpy as np

from facula.core.spec import Spec
from facula.core.storage import Storage
from facula.core.tensor import Tensor
from facula.errors import fail

__all__ = ["COUNT", "Block", "at", "empty", "forget", "kind_of", "lacks", "new_storage", "size_of"]

ALIGNMENT = 64
MAPPED = 1 << 20  # blocks of at least this size are mapped by themselves
LARGEST = 1 << 46
SMALL = 16 << 10  # of blocks up to this size none is taken for a smaller one


class Count:
    """Bytes of living blocks, as `targets/cpu/pool.py` would count them, and the most that there were."""

    now = 0
    peak = 0
    hollow_reads = 0  # how often the program asked for a number that nobody computed


COUNT = Count()
_STARTS: list[int] = []  # of all living blocks, in order
_BLOCKS: dict[int, "Block"] = {}


def kind_of(nbytes: int) -> int:
    """The number of the class of blocks in the pool that has room for so many bytes."""
    units = max(nbytes - 1, 0) >> 6
    shift = max((units | 1).bit_length() - 4, 0)
    return 8 * shift + (units >> shift)


def size_of(kind: int) -> int:
    """The size of the blocks of a class.

    Examples
    --------
    >>> [size_of(kind_of(n)) for n in (1, 64, 1000, 2**20 + 1)]
    [64, 64, 1024, 1179648]
    """
    return (kind + 1 if kind < 8 else ((kind & 7) + 9) << (kind >> 3) - 1) << 6


_FREE: dict[int, int] = {}  # how many blocks of each class the pool would hold for reuse


def _take(nbytes: int) -> int:
    """The class of the block that the pool would give: one a little too large that it holds rather than a new one."""
    kind = kind_of(nbytes)
    for near in (kind, kind + 1, kind + 2) if nbytes > SMALL else (kind,):
        if _FREE.get(near):
            _FREE[near] -= 1
            return near
    return kind


class Block:
    """The memory of one storage; counted as long as it lives."""

    __slots__ = ("__weakref__", "blank", "end", "hollow", "kind", "memory", "size", "start")

    def __init__(self, nbytes: int):
        if not 0 <= nbytes <= LARGEST:
            fail(
                RuntimeError,
                "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried "
                f"to allocate {nbytes} bytes. Error code 12 (Cannot allocate memory)",
            )
        room = nbytes + ALIGNMENT
        if room >= MAPPED:
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
            self.memory: Any = np.frombuffer(mmap.mmap(-1, room, flags=flags), np.uint8)
        else:
            self.memory = np.zeros(room, np.uint8)
        first = self.memory.ctypes.data
        self.start = first + -first % ALIGNMENT
        self.end = self.start + nbytes
        self.hollow = False  # nobody computed what should be in it
        self.blank = True  # nobody wrote into it: it is 0
        self.kind = _take(nbytes)
        self.size = size_of(self.kind)
        COUNT.now += self.size
        COUNT.peak = max(COUNT.peak, COUNT.now)
        bisect.insort(_STARTS, self.start)
        _BLOCKS[self.start] = self

    def release(self) -> None:
        COUNT.now -= self.size
        _FREE[self.kind] = _FREE.get(self.kind, 0) + 1
        del _BLOCKS[self.start]
        del _STARTS[bisect.bisect_left(_STARTS, self.start)]


class Owner:
    """What a storage holds: gives the block back when the last storage on it goes."""

    __slots__ = ("block",)

    def __init__(self, block: Block):
        self.block = block

    def __del__(self):
        self.block.release()


def at(address: int) -> Block | None:
    """The block in which an address lies; None for memory of others (NumPy's, a file's)."""
    place = bisect.bisect_right(_STARTS, address) - 1
    if place < 0:
        return None
    block = _BLOCKS[_STARTS[place]]
    return block if address < block.end or address == block.start else None


def new_storage(nbytes: int) -> Storage:
    """Memory of so many bytes, 0 until somebody writes."""
    block = Block(nbytes)
    return Storage(block.start, nbytes, Owner(block))


def empty(s: Spec) -> Tensor:
    """A tensor of a dense spec."""
    out = object.__new__(Tensor)
    out.spec, out.storage = s, new_storage(s.nbytes)
    out.ptr = out.storage.ptr
    out.needs_grad, out.edge, out.base, out.seen, out.extra, out._grad = False, None, None, 0, None, None
    return out


def lacks(x: Tensor) -> bool:
    """Whether nobody computed a tensor's numbers."""
    block = at(x.ptr)
    return block is not None and block.hollow


def forget(x: Tensor) -> None:
    """Say so."""
    block = at(x.ptr)
    if block is not None:
        block.hollow = True
