"""The loader's end of the way that data takes from a worker: maps its blocks, and says when they may be used again."""

import ctypes
import os
import pickle
import threading
from collections import deque
from typing import Any

import numpy as np

from facula import launch
from facula.core import shared
from facula.core.storage import Storage

__all__ = ["Inbox", "foreign_storage", "inline_storage", "lent_storage"]

_forks = 0  # of this process: after one, another process may look at what this one lets go of


def _count_fork() -> None:
    global _forks
    _forks += 1


os.register_at_fork(before=_count_fork)


class _Context(threading.local):
    loans: "dict[int, _Loan]" = {}  # of the message that is being unpickled, by number
    foreign: list[int] = []  # its descriptors that are no blocks'


_context = _Context()


class _Loan(shared.Shared):
    """Owns a mention of a block: when it goes, the worker may put other data there."""

    __slots__ = ("__weakref__", "block", "forks", "inbox", "lent", "number")

    def __init__(self, inbox: "Inbox", number: int):
        self.inbox, self.number, self.block = inbox, number, inbox.blocks[number]
        self.forks, self.lent = _forks, False

    def descriptor(self) -> int:
        self.lent = True
        return self.block.descriptor()

    def __del__(self):
        if self.lent or self.forks != _forks:
            self.inbox.forget(self.number)
        else:
            self.inbox.released.append(self.number)


class _Bytes:
    """Gives NumPy a part of a block, and keeps the block."""

    def __init__(self, loan: _Loan, nbytes: int):
        self.loan = loan
        self.__array_interface__ = {
            "data": (loan.block.address, False), "shape": (nbytes,), "typestr": "|u1", "version": 3,
        }  # fmt: skip


def _memory(loan: _Loan, nbytes: int) -> memoryview:
    array: Any = np.asarray(_Bytes(loan, nbytes))
    return memoryview(array)


class Inbox:
    """The blocks of one worker, as they are mapped here."""

    def __init__(self):
        self.blocks: dict[int, shared.Block] = {}
        self.released: deque[int] = deque()  # the worker is told with the next message to it
        self.forgotten: deque[int] = deque()

    def forget(self, number: int) -> None:
        """Never use a block again."""
        self.blocks.pop(number, None)
        self.forgotten.append(number)

    def news(self) -> tuple[list[int], list[int]]:
        """Blocks that were released, and forgotten, since this was asked last."""
        return _drain(self.released), _drain(self.forgotten)

    def open(self, envelope: bytes, descriptors: list[int]) -> "Envelope":
        """What came: its head, and the rest as it was packed."""
        try:
            head, body, used, sizes, dropped, buffers, foreign = pickle.loads(envelope)
            for (number, nbytes), fd in zip(sizes, descriptors):
                self.blocks[number] = shared.Block(fd, nbytes, keep=False, populate=True)
        finally:
            for fd in descriptors[: len(descriptors) - foreign]:
                os.close(fd)
        for number in dropped:
            self.blocks.pop(number, None)
        return Envelope(self, head, body, used, buffers, descriptors[len(descriptors) - foreign :])


def _drain(numbers: deque[int]) -> list[int]:
    found = []
    while numbers:
        found.append(numbers.popleft())
    return found


class Envelope:
    """A message of a worker whose data is not unpacked yet."""

    def __init__(self, inbox: Inbox, head: tuple, body: Any, used: list[int], buffers: list, foreign: list[int]):
        self.inbox, self.head, self.body, self.used, self.buffers = inbox, head, body, used, buffers
        self.foreign = foreign

    def unpack(self) -> Any:
        """The data."""
        loans = {number: _Loan(self.inbox, number) for number in self.used}
        before = _context.loans, _context.foreign
        _context.loans, _context.foreign = loans, self.foreign
        try:
            buffers = [_memory(loans[number], size) for number, size in self.buffers]
            body = self.body
            if isinstance(body, tuple):
                body = _memory(loans[body[0]], body[1])
            return pickle.loads(body, buffers=buffers)
        finally:
            _context.loans, _context.foreign = before
            self._close()

    def discard(self) -> None:
        """Let go of data that nobody wants any more."""
        self.inbox.released.extend(self.used)
        self._close()

    def _close(self) -> None:
        for fd in self.foreign:
            if fd >= 0:
                os.close(fd)
        self.foreign = []


def lent_storage(number: int, nbytes: int) -> Storage:
    """A storage on a block."""
    loan = _context.loans[number]
    return Storage(loan.block.address, nbytes, loan)


def foreign_storage(position: int, nbytes: int) -> Storage:
    """A storage on shared memory that is no block: what this process has of it, or a new mapping."""
    from facula.multiprocessing.reductions import storage_of

    fd = _context.foreign[position]
    _context.foreign[position] = -1  # the storage's
    return storage_of(fd, nbytes)


def inline_storage(data: bytes) -> Storage:
    """A storage of bytes that came in the message."""
    storage = launch.new_storage(len(data))
    if data:
        ctypes.memmove(storage.ptr, data, len(data))
    return storage
