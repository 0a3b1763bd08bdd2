"""`torch.accelerator` of a machine without one: says that there is none, as PyTorch does."""

from typing import Any, NoReturn

from facula.core.device import device as Device
from facula.errors import fail

__all__ = [
    "current_accelerator", "current_device_idx", "current_device_index", "current_stream", "device_count",
    "empty_cache", "is_available", "max_memory_allocated", "memory_allocated", "set_device_idx", "set_device_index",
    "set_stream", "synchronize",
]  # fmt: skip


def is_available() -> bool:
    """Whether there is an accelerator that can be used.

    Examples
    --------
    >>> import facula as torch
    >>> torch.accelerator.is_available()
    False
    """
    return False


def device_count() -> int:
    """The number of accelerators that can be used."""
    return 0


def current_accelerator(check_available: bool = False) -> Device | None:
    """The accelerator's device; None where there is none."""
    return None


def _none(*args: Any, **kwargs: Any) -> NoReturn:
    """RuntimeError: there is no accelerator."""
    fail(
        RuntimeError,
        "Cannot access accelerator device when none is available.",
        mend="ask torch.accelerator.is_available() first",
    )


current_device_idx = current_device_index = current_stream = empty_cache = max_memory_allocated = _none
memory_allocated = set_device_idx = set_device_index = set_stream = synchronize = _none
