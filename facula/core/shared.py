"""Memory that several processes see: a file in memory without a name, mapped; it goes when the last process lets go.

A file without a name cannot be left behind: what a killed process held, the system takes back. Who moves a tensor there
is `operators.inplace`; how a process hands the file to another, `facula.multiprocessing` and `facula.utils.data`.
"""

import ctypes
import itertools
import mmap
import os
import sys

from .storage import Storage

__all__ = ["Block", "Shared", "create", "is_shared", "remap"]

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform != "win32" else None
if _libc is not None:
    _libc.mmap.restype = ctypes.c_void_p
    _libc.mmap.argtypes = [
        ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64,
    ]  # fmt: skip
    _libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_READ_WRITE = mmap.PROT_READ | mmap.PROT_WRITE if sys.platform != "win32" else 0
_FIXED = 0x10  # MAP_FIXED, on Linux and on macOS
_FAILED = ctypes.c_void_p(-1).value
_numbers = itertools.count()


def unnamed_file(nbytes: int) -> int:
    """The descriptor of a file in memory that has no name (any more)."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("facula", os.MFD_CLOEXEC)
    else:
        import _posixshmem

        name = f"/facula-{os.getpid()}-{next(_numbers)}"
        fd = _posixshmem.shm_open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode=0o600)
        _posixshmem.shm_unlink(name)
    try:
        os.ftruncate(fd, nbytes)
    except OSError:
        os.close(fd)
        raise
    return fd


def _map(fd: int, nbytes: int, address: int | None = None, populate: bool = False) -> int:
    if _libc is None:
        raise NotImplementedError("facula shares no memory between processes on this system")
    flags = mmap.MAP_SHARED | (_FIXED if address else 0) | (getattr(mmap, "MAP_POPULATE", 0) if populate else 0)
    found = _libc.mmap(address, nbytes, _READ_WRITE, flags, fd, 0)
    if found == _FAILED:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot map {nbytes} bytes of shared memory: {os.strerror(number)}")
    return found


class Shared:
    """What owns memory that other processes see; a storage whose owner is one of these is shared."""

    __slots__ = ()

    def descriptor(self) -> int:
        """The file behind it, which stays this object's."""
        raise NotImplementedError


class Block(Shared):
    """A whole mapped file: unmapped when the last reference goes; with its descriptor, or without."""

    __slots__ = ("__weakref__", "address", "fd", "nbytes")

    def __init__(self, fd: int, nbytes: int, keep: bool = True, populate: bool = False):
        self.address, self.fd = 0, fd if keep else -1
        self.nbytes = max(nbytes, 1)  # no mapping is empty
        self.address = _map(fd, self.nbytes, populate=populate)

    def descriptor(self) -> int:
        if self.fd < 0:
            self.fd = remap(self.address, self.nbytes)
        return self.fd

    def forget_descriptor(self) -> None:
        """Close the descriptor; the memory stays."""
        os.close(self.fd)
        self.fd = -1

    def __del__(self, munmap=_libc and _libc.munmap, close=os.close):
        if self.address and munmap:
            munmap(self.address, self.nbytes)
        if self.fd >= 0:
            close(self.fd)


def remap(address: int, nbytes: int) -> int:
    """Put a new file, with the same bytes, under mapped memory of which no descriptor is left; the new descriptor."""
    fd = unnamed_file(nbytes)
    copy = Block(fd, nbytes, keep=False)
    ctypes.memmove(copy.address, address, nbytes)
    _map(fd, nbytes, address)
    return fd


def create(nbytes: int, populate: bool = False) -> Storage:
    """A new storage, all zeros, that other processes can see."""
    block = Block(unnamed_file(max(nbytes, 1)), nbytes, populate=populate)
    return Storage(block.address, nbytes, block)


def is_shared(storage: Storage) -> bool:
    """Whether other processes see, or can be made to see, this memory."""
    return isinstance(storage.owner, Shared)
