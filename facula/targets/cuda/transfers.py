"""Memory between the host and the GPU, and single elements as Python numbers."""

import ctypes
from collections.abc import Callable, Sequence

import numpy as np

from facula.core.dtype import dtype
from facula.core.shape import reach
from facula.core.spec import Spec

from . import code, driver

__all__ = ["fetch", "from_host", "reader", "synchronize", "to_host"]


def from_host(to: int, start: int, nbytes: int) -> None:
    """Bytes from the host's memory, in the order of the stream; the host may change its memory afterwards."""
    if nbytes:
        gpu = driver.gpu()
        gpu.enter()
        driver.good(driver.api().cuMemcpyHtoDAsync(to, start, nbytes, gpu.stream.handle), "cuMemcpyHtoDAsync")


def to_host(to: int, start: int, nbytes: int) -> None:
    """Bytes to the host's memory, after all work that the stream was given before."""
    if nbytes:
        gpu = driver.gpu()
        gpu.enter()
        driver.good(driver.api().cuMemcpyDtoHAsync(to, start, nbytes, gpu.stream.handle), "cuMemcpyDtoHAsync")
        gpu.stream.synchronize()
        code.raise_noted()


def synchronize() -> None:
    """Wait for the GPU, and raise what checks have found."""
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
