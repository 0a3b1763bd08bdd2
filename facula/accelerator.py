"""`torch.accelerator`: the GPU by a name that programs for several makes of GPUs use, or that there is none."""

from typing import Any

from facula import cuda
from facula.core.device import device as Device
from facula.errors import fail

__all__ = [
    "current_accelerator", "current_device_idx", "current_device_index", "current_stream", "device_count",
    "empty_cache", "is_available", "max_memory_allocated", "memory_allocated", "set_device_idx", "set_device_index",
    "synchronize",
]  # fmt: skip


def is_available() -> bool:
    """Whether there is an accelerator that can be used.

    Examples
    --------
    >>> import facula as torch
    >>> torch.accelerator.is_available() == torch.cuda.is_available()
    True
    """
    return cuda.is_available()


def device_count() -> int:
    """The number of accelerators that can be used."""
    return cuda.device_count()


def current_accelerator(check_available: bool = False) -> Device | None:
    """The accelerator's device; None where there is none."""
    return Device("cuda") if cuda.is_available() else None


def _of_gpu(name: str) -> Any:
    """The function of `torch.cuda` of a name; RuntimeError where there is no accelerator."""

    def entry(*args: Any, **kwargs: Any) -> Any:
        if not cuda.is_available():
            fail(
                RuntimeError,
                "Cannot access accelerator device when none is available.",
                mend="ask torch.accelerator.is_available() first",
            )
        return getattr(cuda, name)(*args, **kwargs)

    entry.__name__ = entry.__qualname__ = name
    entry.__doc__ = f"`torch.cuda.{name}`; RuntimeError where there is no accelerator."
    return entry


current_device_idx = current_device_index = _of_gpu("current_device")
set_device_idx = set_device_index = _of_gpu("set_device")
current_stream, empty_cache, synchronize = _of_gpu("current_stream"), _of_gpu("empty_cache"), _of_gpu("synchronize")
memory_allocated, max_memory_allocated = _of_gpu("memory_allocated"), _of_gpu("max_memory_allocated")
