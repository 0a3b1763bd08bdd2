"""Memory between the host and the GPU, and single elements as Python numbers."""

import ctypes
from collections.abc import Callable, Sequence

import numpy as np

from facula.core.dtype import bfloat16, dtype
from facula.core.shape import reach
from facula.core.spec import Spec

from . import code, driver

__all__ = ["fetch", "from_host", "reader", "synchronize", "to_host"]


def from_host(to: int, start: int, nbytes: int) -> None:
    """Bytes from the host's memory."""
    if nbytes:
        driver.gpu().enter()
        driver.good(driver.api().cuMemcpyHtoD(to, start, nbytes), "cuMemcpyHtoD")


def to_host(to: int, start: int, nbytes: int) -> None:
    """Bytes to the host's memory, after all work that was launched before."""
    if nbytes:
        driver.gpu().enter()
        driver.good(driver.api().cuMemcpyDtoH(to, start, nbytes), "cuMemcpyDtoH")
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
    if element.numpy is None or element is bfloat16:
        return None
    made = np.zeros((), element.numpy)
    buffer = (ctypes.c_char * element.itemsize).from_buffer(made)

    def read(address: int) -> int | float:
        to_host(ctypes.addressof(buffer), address, element.itemsize)
        return made.item()

    return read
