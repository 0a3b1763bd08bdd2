"""The worker's end of the way that data takes: what is large lies in shared memory, and its files are used again.

A message is a pickle (the body) and an envelope that says which blocks of shared memory the body mentions. A block is a
file without a name whose descriptor goes along when the block is first mentioned; the other end (`inbox.py`) maps it,
and says later that it has let go of it, so that the next batch needs no new pages, files or mappings.
"""

import ctypes
import io
import pickle
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing import reduction
from typing import Any

from facula import operators
from facula.constants import contiguous_format
from facula.core import shared
from facula.core.spec import Spec
from facula.core.storage import Storage
from facula.core.tensor import Tensor

ops: Any = operators

__all__ = ["HEADER", "LARGE", "MOST", "Channel", "Outbox", "current", "packed"]

LARGE = 16 << 10  # bytes from which memory is shared; less travels in the message
SPARE = 4  # blocks that may wait without being used
HEADER = struct.Struct("<QQ")  # bytes of the payload, descriptors before it
MOST = 200  # descriptors that one message of the system takes with it

current: "Outbox | None" = None  # of this process, if it is a worker


class Channel:
    """One end of a stream of messages: bytes, and descriptors."""

    def __init__(self, end: socket.socket):
        self.end = end

    def send(self, payload: bytes, descriptors: Sequence[int] = ()) -> None:
        """Send a message; the descriptors stay the caller's."""
        self.end.sendall(HEADER.pack(len(payload), len(descriptors)))
        for start in range(0, len(descriptors), MOST):
            socket.send_fds(self.end, [b"f"], descriptors[start : start + MOST])
        self.end.sendall(payload)

    def receive(self) -> tuple[bytes, list[int]]:
        """The next message; EOFError where the other end is closed."""
        size, count = HEADER.unpack(self._exactly(HEADER.size))
        descriptors: list[int] = []
        for start in range(0, count, MOST):
            wanted = min(MOST, count - start)
            byte, found, flags, _ = socket.recv_fds(self.end, 1, wanted)
            descriptors += found
            if not byte:
                raise EOFError
            if len(found) < wanted or flags & socket.MSG_CTRUNC:
                raise OSError(24, "received too few descriptors: Too many open files")
        return self._exactly(size), descriptors

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size:
            try:
                part = self.end.recv(min(size, 1 << 20))
            except ConnectionResetError:
                part = b""
            if not part:
                raise EOFError
            parts.append(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        self.end.close()


class _Lease(shared.Shared):
    """Owns a block for one storage of the worker; the block is not used again while this lives."""

    __slots__ = ("__weakref__", "block", "number", "outbox")

    def __init__(self, outbox: "Outbox", number: int):
        self.outbox, self.number, self.block = outbox, number, outbox.blocks[number]

    def descriptor(self) -> int:
        self.outbox.users[self.number] += 1  # for a third process: from now on, no other data may come here
        return self.block.descriptor()

    def __del__(self):
        self.outbox.given_back.append(self.number)


class Outbox:
    """The blocks of a worker, and how it packs what it sends."""

    def __init__(self):
        self.blocks: dict[int, shared.Block] = {}
        self.users: dict[int, int] = {}  # leases here, and mentions that the other end has not let go of
        self.free: list[int] = []
        self.new: list[int] = []  # not yet mentioned: their descriptors have to go along
        self.dropped: list[int] = []
        self.given_back: deque[int] = deque()  # also from other threads
        self.made = 0

    # blocks

    def take(self, nbytes: int) -> Storage:
        """Shared memory, from a block that is free or new; its content is arbitrary."""
        self._collect()
        fitting = [n for n in self.free if nbytes <= self.blocks[n].nbytes <= 2 * nbytes + (1 << 16)]
        if fitting:
            number = min(fitting, key=lambda n: self.blocks[n].nbytes)
            self.free.remove(number)
        else:
            while len(self.free) > SPARE:  # sizes that are no longer asked for
                self._drop(self.free.pop(0))
            step = max(4096, 1 << max(nbytes.bit_length() - 4, 0))
            capacity = -(-nbytes // step) * step
            number = self.made
            self.made += 1
            self.blocks[number] = shared.Block(shared.unnamed_file(capacity), capacity, populate=True)
            self.new.append(number)
        self.users[number] = 1
        return Storage(self.blocks[number].address, nbytes, _Lease(self, number))

    def _collect(self) -> None:
        while self.given_back:
            number = self.given_back.popleft()
            self.users[number] -= 1
            if not self.users[number] and number in self.blocks:
                self.free.append(number)

    def _drop(self, number: int) -> None:
        del self.blocks[number], self.users[number]
        if number in self.new:
            self.new.remove(number)
        else:
            self.dropped.append(number)

    def let_go(self, released: Sequence[int], forgotten: Sequence[int]) -> None:
        """The other end is through with mentions of blocks; those forgotten must not be used again."""
        self.given_back.extend(released)
        for number in forgotten:
            self.blocks.pop(number, None)

    def stack(self, batch: Sequence[Any]) -> Tensor | None:
        """`stack` on shared memory; None for what is small, or not plain tensors of one kind."""
        spec = batch[0].spec if type(batch[0]) is Tensor else None
        if spec is None or spec.kind is not None or spec.nbytes * len(batch) < LARGE or spec.device.type != "cpu":
            return None
        if any(type(t) is not Tensor or t.spec is not spec or t.needs_grad for t in batch):
            return None
        return operators.joining.stack_on(batch, self.empty)

    def empty(self, spec: Spec) -> Tensor:
        """An uninitialised dense tensor on shared memory."""
        storage = self.take(spec.nbytes)
        return operators.creation.record_of(spec, storage, storage.ptr)

    # messages

    def send(self, channel: Channel, head: tuple, data: Any) -> None:
        """Send `data` under a head of plain Python values."""
        self._collect()
        message = _Message(self)
        body: Any = pickled(data, message.storage, message.buffer)
        if len(body) >= LARGE:
            body = message.copied(memoryview(body))
        used = [lease.number for lease in message.leases]
        new = self.new
        sizes = [(number, self.blocks[number].nbytes) for number in new]
        envelope = pickle.dumps((head, body, used, sizes, self.dropped, message.buffers, len(message.foreign)), 5)
        descriptors = [self.blocks[number].fd for number in new] + message.foreign
        for number in used:
            self.users[number] += 1
        self.new, self.dropped = [], []
        channel.send(envelope, descriptors)
        for number in new:
            self.blocks[number].forget_descriptor()


class _Message:
    """What one body mentions."""

    def __init__(self, outbox: Outbox | None):
        self.outbox = outbox
        self.leases: list[_Lease] = []
        self.foreign: list[int] = []  # descriptors of shared memory that is no block
        self.buffers: list = []  # of objects that give theirs to pickle: (block, bytes) each
        self.kept: list = []

    def storage(self, storage: Storage) -> tuple:
        """How a storage is pickled."""
        from .inbox import foreign_storage, inline_storage, lent_storage

        owner = storage.owner
        if self.outbox is not None and isinstance(owner, _Lease) and owner.outbox is self.outbox:
            self.leases.append(owner)
            return lent_storage, (owner.number, storage.nbytes)
        if self.outbox is not None and isinstance(owner, shared.Shared):
            self.kept.append(owner)
            self.foreign.append(owner.descriptor())
            return foreign_storage, (len(self.foreign) - 1, storage.nbytes)
        if self.outbox is not None and storage.nbytes >= LARGE:
            copy = self.outbox.take(storage.nbytes)
            ctypes.memmove(copy.ptr, storage.ptr, storage.nbytes)
            return self.storage(copy)
        return inline_storage, (ctypes.string_at(storage.ptr, storage.nbytes) if storage.nbytes else b"",)

    def copied(self, memory: memoryview) -> tuple[int, int]:
        """The block that now holds these bytes, and how many there are."""
        assert self.outbox is not None
        storage = self.outbox.take(memory.nbytes)
        memoryview((ctypes.c_char * memory.nbytes).from_address(storage.ptr)).cast("B")[:] = memory.cast("B")
        owner: Any = storage.owner
        self.leases.append(owner)
        return owner.number, memory.nbytes

    def buffer(self, given: pickle.PickleBuffer) -> bool:
        """Whether pickle is to keep the buffer in its own bytes; otherwise it is taken care of."""
        try:
            memory = given.raw()
        except BufferError:  # not in one piece
            return True
        if memory.nbytes < LARGE or memory.readonly:
            return True
        self.buffers.append(self.copied(memory))
        return False


def pickled(data: Any, storage: Callable[[Storage], tuple], buffer: Callable | None = None) -> bytes:
    """A pickle by multiprocessing's rules, in which storages are what the function says."""
    file = io.BytesIO()
    _pickler()(file, 5, buffer_callback=buffer, storage=storage).dump(data)
    return file.getvalue()


def packed(data: Any) -> bytes:
    """A pickle that has everything in itself."""
    return pickled(data, _Message(None).storage)


def _compact(tensor: Any) -> Tensor:
    """The tensor, or a copy of what it shows where it shows a part of its memory alone: the rest stays here."""
    spec, storage = tensor.spec, tensor.storage
    if spec.device.type != "cpu" or shared.is_shared(storage) or spec.nbytes >= storage.nbytes:
        return tensor
    return tensor.detach().clone(memory_format=contiguous_format)


_class: Any = None


def _pickler() -> Any:
    global _class
    if _class is None:
        from facula.multiprocessing.reductions import describe
        from facula.nn.parameter import Parameter

        base: Any = reduction.ForkingPickler

        class Pickler(base):
            def __init__(self, file, protocol, buffer_callback, storage):
                super().__init__(file, protocol, True, buffer_callback)
                self.reduce_storage = storage

            def reducer_override(self, obj):
                kind = type(obj)
                if kind is Tensor or kind is Parameter:
                    return describe(obj, _compact(obj))
                if kind is Storage:
                    return self.reduce_storage(obj)
                return NotImplemented

        _class = Pickler
    return _class
