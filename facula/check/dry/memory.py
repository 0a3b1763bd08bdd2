"""Memory that is counted as the pool of the CPU counts it, and virtual: pages that nobody writes cost nothing and read 0."""

import bisect
import mmap
from typing import Any

import numpy as np

from facula.core.spec import Spec
from facula.core.storage import Storage
from facula.core.tensor import Tensor
from facula.errors import fail

__all__ = ["COUNT", "Block", "at", "empty", "forget", "lacks", "new_storage", "pool_size"]

ALIGNMENT = 64
MAPPED = 1 << 20  # blocks of at least this size are mapped by themselves
LARGEST = 1 << 46


class Count:
    """Bytes of living blocks, as `targets/cpu/pool.py` would count them, and the most that there were."""

    now = 0
    peak = 0
    hollow_reads = 0  # how often the program asked for a number that nobody computed


COUNT = Count()
_STARTS: list[int] = []  # of all living blocks, in order
_BLOCKS: dict[int, "Block"] = {}


def pool_size(nbytes: int) -> int:
    """The size of the block of the pool that has room for so many bytes.

    Examples
    --------
    >>> pool_size(1), pool_size(64), pool_size(1000), pool_size(2**20 + 1) / 2**20
    (64, 64, 1024, 1.125)
    """
    units = max(nbytes - 1, 0) >> 6
    shift = max((units | 1).bit_length() - 4, 0)
    kind = 8 * shift + (units >> shift)
    return (kind + 1 if kind < 8 else ((kind & 7) + 9) << (kind >> 3) - 1) << 6


class Block:
    """The memory of one storage; counted as long as it lives."""

    __slots__ = ("__weakref__", "blank", "end", "hollow", "memory", "size", "start")

    def __init__(self, nbytes: int):
        if not 0 <= nbytes <= LARGEST:
            fail(
                RuntimeError,
                "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
                f"allocate {nbytes} bytes. Error code 12 (Cannot allocate memory)",
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
        self.size = pool_size(nbytes)
        COUNT.now += self.size
        COUNT.peak = max(COUNT.peak, COUNT.now)
        bisect.insort(_STARTS, self.start)
        _BLOCKS[self.start] = self

    def release(self) -> None:
        COUNT.now -= self.size
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
