"""Memory of the GPU: freed blocks are kept and used again, in the order of the stream; counts as PyTorch's.

Blocks are reused for later work of the same stream as soon as Python lets go of them: what was launched before has
read them by then. Sizes are rounded up so that blocks fit again; small ones are cut from slabs.
"""

import threading
from typing import Any

from facula.core.device import device
from facula.core.spec import Spec
from facula.core.storage import Storage
from facula.core.tensor import Tensor
from facula.errors import OutOfMemoryError, fail

from . import driver, leases

__all__ = ["Block", "OutOfMemoryError", "Pool", "empty", "new_storage", "pool"]

ALIGN = 512  # bytes: as PyTorch's
SMALL = 1 << 20  # from here on a block is an allocation of its own
SLAB = 2 << 20
STEPS = 8  # sizes between two powers of two: at most an eighth of a block is unused


class Block:
    """Memory that goes back to the pool with the last tensor on it."""

    __slots__ = ("__weakref__", "key", "pool", "ptr", "size")

    def __init__(self, pool: "Pool", ptr: int, size: int, key: tuple[int, int]):
        self.pool, self.ptr, self.size, self.key = pool, ptr, size, key

    def __del__(self):
        self.pool.put_back(self)


def rounded(nbytes: int) -> int:
    """The size of the block for so many bytes.

    >>> rounded(1), rounded(513), rounded(3_000_000)
    (512, 1024, 4194304)
    """
    if nbytes <= SMALL:
        size = max(ALIGN, -(-nbytes // ALIGN) * ALIGN)
        grain = ALIGN
    else:
        size, grain = nbytes, SLAB
    step = max(grain, (1 << (size - 1).bit_length()) // (2 * STEPS))
    return -(-size // step) * step


class Pool:
    """The blocks of one GPU."""

    def __init__(self, gpu: driver.Device):
        self.gpu = gpu
        self.free: dict[tuple[int, int], list[int]] = {}  # size and stream -> addresses
        self.slabs: list[int] = []  # allocations that small blocks were cut from
        self.large: dict[int, int] = {}  # allocations that are a block: address -> size
        self.rest = (0, 0)  # of the newest slab: address, bytes
        self.lock = threading.RLock()  # blocks may be freed while one is taken
        self.counts = {"allocated": 0, "reserved": 0, "blocks": 0, "retries": 0, "ooms": 0, "requests": 0}
        self.peaks = {"allocated": 0, "reserved": 0, "blocks": 0}
        self.kept, self.tables = leases.Counts(), {}  # of leases; by stream

    def table(self, stream: driver.Stream) -> leases.Table:
        """Where machine code finds and leaves small blocks of a stream."""
        found = self.tables.get(stream.key)
        if found is None:
            found = self.tables[stream.key] = leases.Table(self.kept)
        return found

    def now(self) -> dict[str, int]:
        """The counts without what is kept for machine code."""
        kept = self.kept.words
        return {
            **self.counts,
            "allocated": self.counts["allocated"] - kept[0],
            "blocks": self.counts["blocks"] - kept[1],
        }

    def most(self) -> dict[str, int]:
        """The peaks of the counts."""
        self.settle()
        return dict(self.peaks)

    def settle(self) -> None:
        """Note peaks: before and after counts change, since what is kept has changed meanwhile."""
        counts, peaks, kept = self.counts, self.peaks, self.kept.words
        peaks["allocated"] = max(peaks["allocated"], counts["allocated"] - kept[2])
        peaks["blocks"] = max(peaks["blocks"], counts["blocks"] - kept[3])
        kept[2], kept[3] = kept[0], kept[1]

    def take(self, nbytes: int, spec: Spec | None = None) -> Block:
        """A block of at least so many bytes; `spec` says what for."""
        size = rounded(nbytes)
        key = size, self.gpu.stream.key
        with self.lock:
            free = self.free.get(key)
            ptr = free.pop() if free else self._fresh(size, key[1])
            counts = self.counts
            self.settle()
            counts["requests"] += 1
            counts["blocks"] += 1
            counts["allocated"] += size
            self.settle()
        return Block(self, ptr, size, key)

    def put_back(self, block: Block) -> None:
        """Keep a block for the next one of its size."""
        with self.lock:
            self.settle()
            self.free.setdefault(block.key, []).append(block.ptr)
            self.counts["allocated"] -= block.size
            self.counts["blocks"] -= 1

    def _fresh(self, size: int, stream: int) -> int:
        if size > SMALL:
            ptr = self._allocate(size)
            self.large[ptr] = size
            return ptr
        at, left = self.rest
        if left < size:
            while left >= ALIGN:  # what is left of the old slab becomes blocks of the sizes that fit
                piece = next(n for n in range(min(left, SMALL), 0, -ALIGN) if rounded(n) == n)
                self.free.setdefault((piece, stream), []).append(at)
                at, left = at + piece, left - piece
            at, left = self._allocate(SLAB), SLAB
            self.slabs.append(at)
        self.rest = at + size, left - size
        return at

    def _allocate(self, size: int) -> int:
        """Memory from the driver; where there is none left, once more after giving back what is kept."""
        self.gpu.enter()
        status, ptr = driver.api().cuMemAlloc(size)
        if int(status) == driver.OUT_OF_MEMORY:
            self.counts["retries"] += 1
            self.release()
            status, ptr = driver.api().cuMemAlloc(size)
            if int(status) == driver.OUT_OF_MEMORY:
                self.counts["ooms"] += 1
                self._exhausted(size)
        driver.good((status, ptr), "cuMemAlloc")
        self.counts["reserved"] += size
        self.peaks["reserved"] = max(self.peaks["reserved"], self.counts["reserved"])
        return int(ptr)

    def _exhausted(self, size: int) -> None:
        free, total = driver.good(driver.api().cuMemGetInfo(), "cuMemGetInfo")
        used, kept = self.now()["allocated"], self.counts["reserved"]
        fail(
            OutOfMemoryError,
            f"CUDA out of memory. Tried to allocate {_shown(size)}. GPU {self.gpu.index} has a total capacity of "
            f"{_shown(total)} of which {_shown(free)} is free. Of the allocated memory {_shown(used)} is allocated by "
            f"PyTorch, and {_shown(kept - used)} is reserved by PyTorch but unallocated.",
            mend="a smaller batch, mixed precision, or torch.utils.checkpoint",
        )

    def release(self) -> int:
        """Give whole allocations that nobody uses back to the driver; returns how many bytes."""
        with self.lock:
            for table in list(self.tables.values()):
                table.flush()
            self.gpu.synchronize()  # work that was launched may still use them
            given = 0
            for key, addresses in list(self.free.items()):
                if key[0] <= SMALL:
                    continue
                for ptr in addresses:
                    driver.good(driver.api().cuMemFree(ptr), "cuMemFree")
                    given += self.large.pop(ptr)
                del self.free[key]
            self.counts["reserved"] -= given
            return given

    def reset_peaks(self) -> None:
        """Peaks are what is in use now."""
        with self.lock:
            self.settle()
            now = self.now()
            self.peaks = {name: now[name] for name in self.peaks}


def _shown(n: int) -> str:
    """Bytes as PyTorch's messages have them."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if n >= size:
            return f"{n / size:.2f} {unit}"
    return f"{n} bytes"


_POOLS: dict[int, Pool] = {}


def pool() -> Pool:
    """The pool of the GPU."""
    gpu: Any = driver.gpu()
    found = _POOLS.get(id(gpu))
    return found or _POOLS.setdefault(id(gpu), Pool(gpu))


def new_storage(nbytes: int, where: device | None = None) -> Storage:
    """Uninitialised memory; RuntimeError on a GPU with another number than 0."""
    if where is not None and where.index:
        fail(RuntimeError, "CUDA error: invalid device ordinal", got=where, expected="cuda:0: one GPU is used")
    if nbytes == 0:
        return Storage(0, 0, None, device("cuda", driver.gpu().index))
    block = pool().take(nbytes)
    return Storage(block.ptr, nbytes, block, device("cuda", block.pool.gpu.index))


def empty(spec: Spec) -> Tensor:
    """An uninitialised tensor of a dense spec."""
    out = object.__new__(Tensor)
    out.spec, out.storage = spec, new_storage(spec.nbytes, spec.device)
    out.ptr = out.storage.ptr
    out.needs_grad, out.edge, out.base, out.seen, out.extra, out._grad = False, None, None, 0, None, None
    return out
