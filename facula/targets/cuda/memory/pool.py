"""Memory of the GPU: freed blocks are kept and used again, in the order of the stream that they were made for.

What was launched on a block before Python let go of it has been given to its stream before what uses the block next:
no waiting is needed. Work of another stream is made known by `Block.record`. While a graph is recorded, its streams
take from a private pool, which the graph keeps: `private`. How memory is cut is said in `chunks`, counts in `counts`.
"""

import os
import threading
from collections import deque
from typing import Any

from facula.core.device import device
from facula.core.spec import Spec
from facula.core.storage import Storage
from facula.core.tensor import Tensor
from facula.errors import OutOfMemoryError

from .. import driver, tickets
from . import leases, options
from .chunks import SMALL, Arena, Chunk, Tally, rounded, segment_size

__all__ = ["Block", "OutOfMemoryError", "Pool", "Private", "empty", "new_storage", "pool", "record_stream"]


class Block:
    """Memory that goes back to the pool with the last tensor on it."""

    __slots__ = ("__weakref__", "chunk", "pool", "ptr", "size", "streams")

    def __init__(self, pool: "Pool", chunk: Chunk):
        self.pool, self.chunk, self.ptr, self.size = pool, chunk, chunk.ptr, chunk.size
        self.streams: set[driver.Stream] | None = None  # others than its own that use it

    def record(self, stream: driver.Stream) -> None:
        """Work of another stream uses the block: it is used again only after what that stream has then been given."""
        if stream.key != self.chunk.arena.stream or stream.device is not self.pool.gpu:
            with self.pool.lock:
                self.streams = (self.streams or set()) | {stream}

    def __del__(self):
        self.pool.put_back(self)


class Private:
    """A pool of its own: that of recorded graphs, or one that a program made."""

    def __init__(self, number: tuple[int, int]):
        self.number, self.uses = number, 0  # graphs and programs that need its memory to stay


def _zeros(names: str) -> dict[str, int]:
    return dict.fromkeys(names.split(), 0)


class Pool:
    """The blocks of one GPU."""

    def __init__(self, gpu: driver.Device):
        self.gpu, self.options, self.where = gpu, options.wanted(), gpu.where
        self.tallies = Tally("small_pool"), Tally("large_pool")
        self.bytes = self.most = 0  # in use
        self.most_blocks = 0
        self.arenas: dict[tuple[Any, int], Arena] = {}  # private pool and stream
        self.privates: dict[tuple[int, int], Private] = {}
        self.waiting: deque[tuple[list[driver.Event], Chunk]] = deque()  # until other streams have used them
        self.deferred: list[tuple[set[driver.Stream], Chunk]] = []  # until no graph is recorded: then they get events
        self.lock = threading.RLock()  # blocks may be freed while one is taken
        self.kept, self.tables = leases.Counts(), {}  # of blocks that machine code keeps; by arena
        self.raw: dict[int, Block] = {}  # those that a program asked for by number of bytes
        self.made: dict[int, bool] = {}  # address of a segment -> whether large chunks are cut from it
        self.counts = _zeros("reserved segments returned frees retries ooms allocations syncs")
        self.peaks = _zeros("reserved segments")
        kinds = "reserved segments reserved_most segments_most returned frees"
        self.by_kind = _zeros(kinds), _zeros(kinds)  # of small and of large segments
        bases = "blocks bytes asked reserved segments"
        self.base = _zeros(bases), _zeros(bases)  # when accumulated counts were started again

    # Blocks that machine code keeps: they count as in use until they are asked for, or `flush`

    def table(self, stream: driver.Stream) -> leases.Table:
        """Where machine code finds and leaves blocks of a stream."""
        with self.lock:
            arena = stream.arena or self._arena(stream)
            found = self.tables.get(arena)
            if found is None:
                found = self.tables[arena] = leases.Table(self.kept)
            return found

    def flush(self, small: bool = True) -> None:
        """Have machine code give back what it keeps; without `small`, large blocks alone."""
        for table in list(self.tables.values()):
            table.flush(small)

    def now(self) -> int:
        """Bytes that tensors use."""
        return self.bytes - self.kept.words[0]

    def blocks(self) -> int:
        """How many blocks tensors use."""
        return self.tallies[0].blocks + self.tallies[1].blocks - self.kept.words[1]

    def settle(self) -> None:
        """Note peaks of bytes and blocks: before and after they change, since what is kept has changed meanwhile."""
        kept = self.kept.words
        used, blocks = self.bytes - kept[2], self.tallies[0].blocks + self.tallies[1].blocks - kept[3]
        kept[2], kept[3] = kept[0], kept[1]
        if blocks > self.most_blocks:
            self.most_blocks = blocks
        if used > self.most:
            self.most = used
            self.note_peaks()

    # Taking and giving back

    def take(self, nbytes: int, spec: Spec | None = None) -> Block:
        """A block of at least so many bytes, for the current stream."""
        stream = self.gpu.thread.stream
        size = (nbytes + 511) & -512 or 512
        with self.lock:
            arena = stream.arena or self._arena(stream)
            if self.waiting:
                self._done()
            if self.options.divisions:
                size = rounded(nbytes, self.options)
            bins = arena.bins.get(size)
            chunk = bins.pop() if bins else self._find(arena, size)
            self.settle()
            chunk.asked = nbytes or 1
            tally = chunk.tally
            tally.blocks += 1
            tally.asked += nbytes
            tally.bytes += chunk.size
            self.bytes += chunk.size
            self.settle()
            if nbytes >= SMALL:
                chunk.note = spec, tickets.here()
            return Block(self, chunk)

    def put_back(self, block: Block) -> None:
        """Keep a block for the next one of its size; not before other streams have used it."""
        chunk = block.chunk
        with self.lock:
            self.settle()
            tally = chunk.tally
            size = chunk.size
            tally.blocks -= 1
            tally.blocks_freed += 1
            tally.asked -= chunk.asked
            tally.asked_freed += chunk.asked
            tally.bytes -= size
            tally.bytes_freed += size
            self.bytes -= size
            chunk.asked, chunk.note = 0, None
            if block.streams is None or not self.gpu.current:
                chunk.arena.put(chunk)
            else:
                self._wait(block.streams, chunk)

    def _arena(self, stream: driver.Stream) -> Arena:
        private = stream.private or (stream.capture.private if stream.capture is not None else None)
        key = private, stream.key
        found = self.arenas.get(key)
        if found is None:
            found = self.arenas[key] = Arena(stream.key, private, self.tallies, self.options)
        stream.arena = found
        return found

    def note_peaks(self) -> None:
        """The peaks of single kinds of counts: taken where the bytes in use have a peak, on a miss, or when asked."""
        for tally, (size, count) in zip(self.tallies, self.kept.kinds()):
            tally.most = max(tally.most, tally.bytes - size)
            tally.blocks_most = max(tally.blocks_most, tally.blocks - count)
            tally.asked_most = max(tally.asked_most, tally.asked - size)

    def _wait(self, streams: set[driver.Stream], chunk: Chunk) -> None:
        chunk.waits = True
        chunk.tally.waiting += 1
        chunk.tally.waiting_bytes += chunk.size
        if self.gpu.captures:
            self.deferred.append((streams, chunk))  # an event of a recorded stream may not be asked for its state
        else:
            self.waiting.append((driver.marks(streams), chunk))

    def _done(self, wait: bool = False) -> None:
        """Keep what other streams have used by now."""
        if self.gpu.captures:
            return
        while self.deferred:
            streams, chunk = self.deferred.pop()
            self.waiting.append((driver.marks(streams), chunk))
        while self.waiting:
            events, chunk = self.waiting[0]
            if wait:
                for event in events:
                    event.synchronize()
            elif not all(event.query() for event in events):
                return
            self.waiting.popleft()
            chunk.waits = False
            chunk.tally.waiting -= 1
            chunk.tally.waiting_bytes -= chunk.size
            chunk.arena.put(chunk)

    # Memory of the driver

    def _find(self, arena: Arena, size: int) -> Chunk:
        """A chunk that was freed with another size, or one of new memory."""
        self.note_peaks()
        if self.deferred:
            self._done()
        if size > SMALL and arena in self.tables:
            self.tables[arena].flush(small=False)
        arena.join()
        found = arena.find(size)
        if found is None and size <= SMALL and arena in self.tables:  # what machine code keeps of small blocks, too
            self.tables[arena].flush()
            arena.join()
            found = arena.find(size)
        return found or self._fresh(arena, size)

    def _fresh(self, arena: Arena, size: int) -> Chunk:
        total = segment_size(size)
        limit = self.options.collect * self.limit
        if limit and self.counts["reserved"] + total > limit and not self.gpu.captures:
            self.release()
        ptr = self._allocate(total)
        if ptr is None and not self.gpu.captures:
            self.counts["retries"] += 1
            self.release()
            found = arena.find(size)
            if found is not None:
                return found
            ptr = self._allocate(total)
        if ptr is None:
            from .exhausted import out_of_memory

            self.counts["ooms"] += 1
            raise out_of_memory(self, total, size)
        self._count(size > SMALL, total, 1)
        self.made[ptr] = size > SMALL
        return arena.add(ptr, total, size)

    @property
    def limit(self) -> int:
        """Bytes that the process may have."""
        return int(self.options.fraction * self.gpu.memory)

    def _allocate(self, total: int) -> int | None:
        """Memory of the driver; None where there is none left."""
        if self.options.fraction < 1.0 and self.counts["reserved"] + total > self.limit:
            return None
        with self.gpu.relaxed():
            status, ptr = driver.api().cuMemAlloc(total)
        if int(status) == driver.OUT_OF_MEMORY:
            return None
        return int(driver.good((status, ptr), "cuMemAlloc"))

    def _count(self, large: bool, total: int, sign: int) -> None:
        kind, counts, peaks = self.by_kind[large], self.counts, self.peaks
        for one in (kind, counts):
            one["reserved"] += sign * total
            one["segments"] += sign
        if sign > 0:
            counts["allocations"] += 1
        else:
            for one in (kind, counts):
                one["returned"] += total
                one["frees"] += 1
        for name in peaks:
            peaks[name] = max(peaks[name], counts[name])
            kind[f"{name}_most"] = max(kind[f"{name}_most"], kind[name])

    def release(self, private: "Private | None" = None) -> int:
        """Give memory that nobody uses back to the driver, all of it or that of a private pool; returns how much."""
        with self.lock:
            self.flush()
            if not self.gpu.captures:
                self.counts["syncs"] += 1
                self.gpu.synchronize()  # work that was launched may still use it
                self._done(wait=True)
            given = 0
            for key, arena in list(self.arenas.items()):
                needed = arena.private is not None and arena.private.uses > 0
                if needed or (private is not None and arena.private is not private):
                    continue
                for ptr, total in arena.idle():
                    with self.gpu.relaxed():
                        driver.good(driver.api().cuMemFree(ptr), "cuMemFree")
                    given += total
                    self._count(self.made.pop(ptr), total, -1)
                if arena.private is not None and not arena.segments:
                    del self.arenas[key]
                    self.tables.pop(arena, None)
                    self.privates.pop(arena.private.number, None)
            return given

    # Private pools

    def private(self, number: tuple[int, int]) -> Private:
        """The private pool of a number, which somebody needs from now on, until `let_go`."""
        with self.lock:
            found = self.privates.get(number)
            if found is None:
                found = self.privates[number] = Private(number)
            found.uses += 1
            return found

    def let_go(self, private: Private) -> None:
        """Somebody needs it no longer; without users, its memory goes when the cache is emptied."""
        with self.lock:
            private.uses -= 1


_POOLS: dict[int, Pool] = {}


def _unlock_in_child() -> None:
    """A forked process may free blocks, and does not have the thread that held a lock."""
    for own in _POOLS.values():
        own.lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock_in_child)


def pool(gpu: driver.Device | None = None) -> Pool:
    """The pool of a GPU, or of the one that the thread uses."""
    own: driver.Device = gpu or driver.gpu()
    found = _POOLS.get(id(own))
    return found or _POOLS.setdefault(id(own), Pool(own))


def new_storage(nbytes: int, where: device | None = None, spec: Spec | None = None) -> Storage:
    """Uninitialised memory of a GPU, or of the one that the thread uses."""
    own = pool(None if where is None else driver.gpu(where.index))
    if nbytes == 0:
        return Storage(0, 0, None, own.where)
    block = own.take(nbytes, spec)
    return Storage(block.ptr, nbytes, block, own.where)


def record_stream(storage: Storage, stream: driver.Stream) -> None:
    """Work of a stream uses memory: see `Block.record`."""
    block = leases.block_of(storage.owner)
    if isinstance(block, Block):
        leases.detach(storage.owner)
        block.record(stream)


def empty(spec: Spec) -> Tensor:
    """An uninitialised tensor of a dense spec."""
    out = object.__new__(Tensor)
    out.spec, out.storage = spec, new_storage(spec.nbytes, spec.device, spec)
    out.ptr = out.storage.ptr
    out.needs_grad, out.edge, out.base, out.seen, out.extra, out._grad = False, None, None, 0, None, None
    return out
