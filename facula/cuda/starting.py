"""The GPUs behind `torch.cuda`, started when something first needs them."""

import sys
from typing import Any

from facula.core.device import device as Device
from facula.errors import fail

__all__ = ["gpu", "index_of", "is_initialized", "pool"]


def index_of(device: Any = None) -> int | None:
    """The number that a program names a GPU with; None: the current one.

    >>> index_of("cuda:0"), index_of(1), index_of(None)
    (0, 1, None)
    """
    if device is None or isinstance(device, int):
        return device
    where = Device(device) if isinstance(device, str) else device
    if not isinstance(where, Device) or where.type != "cuda":
        fail(ValueError, f"Expected a cuda device, but got: {device}")
    return where.index


def gpu(device: Any = None) -> Any:
    """The GPU of a number, started if need be; AssertionError with the reason where there is none."""
    from facula.targets.cuda import driver

    index = index_of(device)
    return driver.gpu(None if index == -1 else index)


def is_initialized() -> bool:
    """Whether the GPU has been used."""
    driver = sys.modules.get("facula.targets.cuda.driver")
    return driver is not None and driver.started()


def pool(device: Any = None) -> Any:
    """The memory of a GPU."""
    from facula.targets.cuda.memory import pool as pools

    return pools.pool(gpu(device))
