"""Memory between the host and the GPU, and single elements as Python numbers."""

import ctypes
from collections.abc import Callable, Sequence

import numpy as np

from facula.core.dtype import dtype
from facula.core.shape import reach
from facula.core.spec import Spec
from facula.errors import caution, fail

from . import code, driver
from .memory import pinned

__all__ = ["between", "fetch", "from_host", "reader", "staged", "synchronize", "to_host"]


DEBUG = [0]  # whether waiting is said with a warning (1), or is an error (2): `torch.cuda.set_sync_debug_mode`


def _told() -> None:
    """Say that a program waits for the GPU."""
    if DEBUG[0] == 2:
        fail(RuntimeError, "called a synchronizing CUDA operation")
    caution("called a synchronizing CUDA operation")


SMALL = 64 << 10  # bytes: up to here a copy on the host costs less than to wait for the GPU


def from_host(to: int, start: int, nbytes: int, non_blocking: bool = False) -> None:
    """Bytes from the host's memory, in the order of the stream; the host may change its memory afterwards.

    With `non_blocking` it may not do so before the copy is done, where its memory is page-locked. Of other memory a
    copy is taken first, or what is large is waited for: NVIDIA does not promise that the driver's call has read it all.
    """
    if not nbytes:
        return
    gpu = driver.gpu()
    gpu.enter()
    stream = gpu.stream
    locked = pinned.is_pinned(start)
    if stream.capture is not None and not (locked and non_blocking):
        stream.capture.refuse("a copy from memory that is not page-locked, or that the program waits for")
    if DEBUG[0] and not (locked and non_blocking):
        _told()
    if nbytes <= SMALL and not locked:
        staged(to, start, nbytes)
        return
    driver.good(driver.api().cuMemcpyHtoDAsync(to, start, nbytes, stream.handle), "cuMemcpyHtoDAsync")
    if not (locked and non_blocking):
        stream.synchronize()
    elif (block := pinned.block_at(start)) is not None:
        block.record(stream)


def staged(to: int, start: int, nbytes: int) -> None:
    """Bytes that the host forgets when the call is done, by way of page-locked memory; in a graph, that stays."""
    gpu = driver.gpu()
    kept = pinned.host_pool().take(nbytes)
    ctypes.memmove(kept.ptr, start, nbytes)
    gpu.enter()  # now: page-locked memory may be another GPU's to take
    driver.good(driver.api().cuMemcpyHtoDAsync(to, kept.ptr, nbytes, gpu.stream.handle), "cuMemcpyHtoDAsync")
    kept.record(gpu.stream)


def to_host(to: int, start: int, nbytes: int, non_blocking: bool = False) -> None:
    """Bytes to the host's memory, after all work that the stream was given before.

    With `non_blocking`, and page-locked memory, they are there when the stream has come so far.
    """
    if not nbytes:
        return
    gpu = driver.gpu()
    gpu.enter()
    stream = gpu.stream
    block = pinned.block_at(to) if non_blocking else None
    if stream.capture is not None and block is None:
        stream.capture.refuse("a copy to the host that the program waits for, such as .item(), .cpu() or print")
    driver.good(driver.api().cuMemcpyDtoHAsync(to, start, nbytes, stream.handle), "cuMemcpyDtoHAsync")
    if block is not None:
        block.record(stream)
    else:
        if DEBUG[0]:
            _told()
        stream.synchronize()
        code.raise_noted()


REACHED_ALREADY = 704  # of CUresult


def _reach(gpu: driver.Device, other: driver.Device) -> None:
    """Let a GPU use the memory of another one, where it can: copies then go no way round."""
    if other.index in gpu.peers:
        return
    gpu.peers[other.index] = gpu.reaches(other)
    if gpu.peers[other.index]:
        gpu.enter()
        (status,) = driver.api().cuCtxEnablePeerAccess(other.context, 0)
        if int(status) != REACHED_ALREADY:
            driver.good((status,), "cuCtxEnablePeerAccess")


def between(to: int, start: int, nbytes: int, index: int, non_blocking: bool = False) -> None:
    """Bytes from this GPU to that of a number, after what both current streams were given; nothing is waited for."""
    if not nbytes:
        return
    here, there = driver.gpu(), driver.gpu(index)
    with here.relaxed():
        _reach(here, there)
    ready = driver.Event(there)
    ready.record(there.stream)
    here.stream.wait(ready)
    here.enter()
    answer = driver.api().cuMemcpyPeerAsync(to, there.context, start, here.context, nbytes, here.stream.handle)
    driver.good(answer, "cuMemcpyPeerAsync")
    done = driver.Event(here)
    done.record(here.stream)
    there.stream.wait(done)


def synchronize() -> None:
    """Wait for the GPU, and raise what checks have found."""
    stream = driver.gpu().stream
    if stream.capture is not None:
        stream.capture.refuse("a wait for the GPU")
    driver.gpu().synchronize()
    code.raise_noted()


def fetch(specs: Sequence[Spec], addresses: Sequence[int], attempt: int) -> list[np.ndarray] | None:
    """Copies of operands in their layouts for a function that is written with NumPy."""
    if attempt:
        return None
    made = []
    for s, address in zip(specs, addresses):
        low, high = reach(s.shape, s.strides) if s.numel else (0, 0)
        flat = np.zeros(high - low + 1, s.dtype.bits)
        if s.numel:
            to_host(flat.ctypes.data, address + low * s.dtype.itemsize, flat.nbytes)
        made.append(flat)
    return made


def reader(element: dtype) -> Callable[[int], int | float] | None:
    """A function (address) -> Python number; None for dtypes that need more than a load."""
    if element.numpy is None:
        return None
    kind = ctypes.c_char * element.itemsize

    def read(address: int) -> int | float:
        made = kind()  # each thread's own
        to_host(ctypes.addressof(made), address, element.itemsize)
        return np.frombuffer(made.raw, element.numpy).item()

    return read
