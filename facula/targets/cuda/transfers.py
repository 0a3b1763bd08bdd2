"""Memory between the host and the GPU, and single elements as Python numbers."""

import ctypes
from collections.abc import Callable, Sequence

import numpy as np

from facula.core.dtype import dtype
from facula.core.shape import reach
from facula.core.spec import Spec

from . import code, driver, pinned

__all__ = ["fetch", "from_host", "reader", "staged", "synchronize", "to_host"]


def from_host(to: int, start: int, nbytes: int, non_blocking: bool = False) -> None:
    """Bytes from the host's memory, in the order of the stream; the host may change its memory afterwards.

    With `non_blocking` it may not do so before the copy is done, where its memory is page-locked; from other memory
    the driver has taken a copy when its call returns.
    """
    if not nbytes:
        return
    gpu = driver.gpu()
    gpu.enter()
    stream = gpu.stream
    locked = pinned.is_pinned(start)
    if stream.capture is not None and not (locked and non_blocking):
        stream.capture.refuse("a copy from memory that is not page-locked, or that the program waits for")
    driver.good(driver.api().cuMemcpyHtoDAsync(to, start, nbytes, stream.handle), "cuMemcpyHtoDAsync")
    if not locked:
        return
    if not non_blocking:
        stream.synchronize()
    elif (block := pinned.block_at(start)) is not None:
        block.record(stream)


def staged(to: int, start: int, nbytes: int) -> None:
    """Bytes of a table that the host forgets when the call is done; in a graph, which copies it anew, it stays."""
    gpu = driver.gpu()
    gpu.enter()
    capture = gpu.stream.capture
    if capture is not None:
        kept = pinned.host_pool().take(nbytes)
        ctypes.memmove(kept.ptr, start, nbytes)
        capture.keep(kept)
        start = kept.ptr
    driver.good(driver.api().cuMemcpyHtoDAsync(to, start, nbytes, gpu.stream.handle), "cuMemcpyHtoDAsync")


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
        stream.synchronize()
        code.raise_noted()


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
    made = (ctypes.c_char * element.itemsize)()

    def read(address: int) -> int | float:
        to_host(ctypes.addressof(made), address, element.itemsize)
        return np.frombuffer(made.raw, element.numpy).item()

    return read
