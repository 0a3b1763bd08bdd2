"""Page-locked memory of the host, which a GPU copies from and to while the program goes on.

Blocks are kept and used again, sizes are powers of two, as in PyTorch. A block that copies use is used again only when
they are done: it gets an event of each of their streams when Python lets go of it.
"""

import threading
from bisect import bisect_right, insort
from collections import deque
from typing import Any
from weakref import WeakValueDictionary

from facula.core.device import CPU
from facula.core.locks import lasting_lock
from facula.core.spec import Spec
from facula.core.storage import Storage
from facula.core.tensor import Tensor

from .. import driver

__all__ = ["HostBlock", "HostPool", "block_at", "host_pool", "is_pinned", "pinned"]

MEMORY_TYPE, HOST = 2, 1  # of CUpointer_attribute, of CUmemorytype


class HostBlock:
    """Memory that goes back to the pool with the last tensor on it."""

    __slots__ = ("__weakref__", "pool", "ptr", "size", "streams")

    def __init__(self, pool: "HostPool", ptr: int, size: int):
        self.pool, self.ptr, self.size = pool, ptr, size
        self.streams: set[driver.Stream] = set()  # whose copies use it

    def record(self, stream: driver.Stream) -> None:
        """A copy in a stream uses the block; where it is recorded, the block stays with the graph."""
        if stream.capture is not None:
            stream.capture.keep(self)
        else:
            self.streams.add(stream)

    def __del__(self):
        self.pool.put_back(self.ptr, self.size, self.streams)


class HostPool:
    """The page-locked memory of the process."""

    def __init__(self, gpu: driver.Device):
        self.gpu = gpu
        self.free: dict[int, list[int]] = {}  # size -> addresses
        self.freed_late: deque[tuple[int, int, set[driver.Stream]]] = deque()  # while somebody held the lock
        self.waiting: deque[tuple[list[driver.Event], int, int]] = deque()
        self.unmarked: list[tuple[set[driver.Stream], int, int]] = []  # freed while a graph was recorded
        self.live: WeakValueDictionary[int, HostBlock] = WeakValueDictionary()  # address -> block in use
        self.all: list[tuple[int, int]] = []  # address and bytes of all that the driver gave, ascending
        self.lock = threading.RLock()
        names: list[str] = ["allocations", "allocated_bytes", "active_requests", "active_bytes"]
        self.counts, self.peaks, self.freed, self.base = (dict.fromkeys(names, 0) for _ in range(4))

    def _count(self, sign: int, size: int, *names: str) -> None:
        for name in names:
            self.counts[name] += sign * (size if name.endswith("bytes") else 1)
            self.peaks[name] = max(self.peaks[name], self.counts[name])
            if sign < 0:
                self.freed[name] += size if name.endswith("bytes") else 1

    def take(self, nbytes: int) -> HostBlock:
        """A block of at least so many bytes."""
        size = 1 << (max(nbytes, 1) - 1).bit_length()
        with self.lock:
            self._done()
            free = self.free.get(size)
            if free:
                ptr = free.pop()
            else:
                ptr = self.gpu.host_memory(size, driver.PORTABLE)
                insort(self.all, (ptr, size))
                self._count(1, size, "allocations", "allocated_bytes")
            self._count(1, size, "active_requests", "active_bytes")
            found = self.live[ptr] = HostBlock(self, ptr, size)
            return found

    def put_back(self, ptr: int, size: int, streams: set[driver.Stream]) -> None:
        """Keep a block for the next one of its size; not before the copies of `streams` are done.

        It never waits for the lock: whoever frees a block may hold that of `pool`, and who holds this one want that.
        """
        self.freed_late.append((ptr, size, streams))
        if self.lock.acquire(blocking=False):
            try:
                self._take_back()
            finally:
                self.lock.release()

    def _take_back(self) -> None:
        while self.freed_late:
            ptr, size, streams = self.freed_late.popleft()
            if not streams or not self.gpu.current:
                self._keep(ptr, size)
            elif any(stream.device.captures for stream in streams):
                self.unmarked.append((streams, ptr, size))
            else:
                self.waiting.append((driver.marks(streams), ptr, size))

    def _keep(self, ptr: int, size: int) -> None:
        self.free.setdefault(size, []).append(ptr)
        self._count(-1, size, "active_requests", "active_bytes")

    def _done(self) -> None:
        """Keep what copies have used by now."""
        self._take_back()
        if self.gpu.captures:
            return
        while self.unmarked:
            streams, ptr, size = self.unmarked.pop()
            self.waiting.append((driver.marks(streams), ptr, size))
        while self.waiting and all(event.query() for event in self.waiting[0][0]):
            _, ptr, size = self.waiting.popleft()
            self._keep(ptr, size)

    def release(self) -> None:
        """Give memory that nobody uses back to the driver."""
        with self.lock:
            self._done()
            free, self.free = self.free, {}
            for size, addresses in free.items():
                for ptr in addresses:
                    with self.gpu.relaxed():
                        driver.good(driver.api().cuMemFreeHost(ptr), "cuMemFreeHost")
                    self.all.remove((ptr, size))
                    self._count(-1, size, "allocations", "allocated_bytes")

    def at(self, address: int) -> HostBlock | None:
        """The block in use that an address lies in."""
        with self.lock:
            n = bisect_right(self.all, (address, 1 << 63)) - 1
            return self.live.get(self.all[n][0]) if n >= 0 and address < sum(self.all[n]) else None

    def stats(self) -> dict[str, Any]:
        """`torch.cuda.host_memory_stats_as_nested_dict`; the driver's calls are not timed."""
        with self.lock:
            self._take_back()
        found: dict[str, Any] = {
            name: {
                "current": n,
                "peak": self.peaks[name],
                "allocated": n + self.freed[name] - self.base[name],
                "freed": self.freed[name],
            }
            for name, n in self.counts.items()
        }
        found["num_host_alloc"] = found["allocations"]["allocated"]
        found["num_host_free"] = found["allocations"]["freed"]
        for name in ("host_alloc_time", "host_free_time"):
            found[name] = dict.fromkeys(("total", "max", "min", "count", "avg"), 0)
        return found

    def reset_peaks(self) -> None:
        """Peaks are what is in use now."""
        self.peaks = dict(self.counts)

    def reset_accumulated(self) -> None:
        """What was taken and given back counts from now on."""
        self.base, self.freed = dict(self.counts), dict.fromkeys(self.counts, 0)


_HOST: list[HostPool] = []
_lock = lasting_lock()


def host_pool() -> HostPool:
    """The pool of page-locked memory, with the GPU started."""
    gpu = driver.gpu()
    if not _HOST or not _HOST[0].gpu.current:
        with _lock:  # one for all threads: `block_at` looks at no other
            if not _HOST or not _HOST[0].gpu.current:
                _HOST[:] = [HostPool(gpu)]
    return _HOST[0]


def pinned(spec: Spec) -> Tensor:
    """An uninitialised tensor of a dense spec of the host, in page-locked memory."""
    block = host_pool().take(spec.nbytes)
    out = object.__new__(Tensor)
    out.spec, out.storage, out.ptr = spec, Storage(block.ptr, spec.nbytes, block, CPU), block.ptr
    out.needs_grad, out.edge, out.base, out.seen, out.extra, out._grad = False, None, None, 0, None, None
    return out


def block_at(address: int) -> HostBlock | None:
    """The block of the pool that an address of the host lies in, while it is in use."""
    return _HOST[0].at(address) if _HOST else None


def is_pinned(address: int) -> bool:
    """Whether the GPU can copy from and to an address of the host by itself."""
    if not driver.started():  # or no longer, after a fork
        return False
    if block_at(address) is not None:
        return True
    with driver.gpu().relaxed():
        kinds = driver.api().CUpointer_attribute
        status, kind = driver.api().cuPointerGetAttribute(kinds(MEMORY_TYPE), address)
    return int(status) == 0 and int(kind) == HOST  # registered by another library
