"""`torch.accelerator`: the GPU by a name that programs for several makes of GPUs use, or that there is none."""

from typing import Any

from facula import cuda
from facula.core.device import device as Device
from facula.errors import fail, refusal

__all__ = [
    "Graph", "current_accelerator", "current_device_idx", "current_device_index", "current_stream", "device_count",
    "device_index", "empty_cache", "empty_host_cache", "get_device_capability", "get_memory_info", "is_available",
    "max_memory_allocated", "max_memory_reserved", "memory_allocated", "memory_reserved", "memory_stats",
    "reset_accumulated_memory_stats", "reset_peak_memory_stats", "set_device_idx", "set_device_index", "set_stream",
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
memory_reserved, max_memory_reserved = _of_gpu("memory_reserved"), _of_gpu("max_memory_reserved")
memory_stats, get_memory_info = _of_gpu("memory_stats"), _of_gpu("mem_get_info")
reset_peak_memory_stats = _of_gpu("reset_peak_memory_stats")
reset_accumulated_memory_stats, set_stream = _of_gpu("reset_accumulated_memory_stats"), _of_gpu("set_stream")


def empty_host_cache() -> None:
    """Give page-locked memory that no tensor uses back to the driver."""
    if cuda.is_initialized():
        from facula.targets.cuda.memory import pinned

        pinned.host_pool().release()


def get_device_capability(device: Any = None, /) -> dict[str, Any]:
    """What an accelerator computes with: the dtypes of its operators."""
    from facula.core import dtype as dt

    cuda.get_device_capability(device)
    kinds = (
        dt.bool_, dt.uint8, dt.int8, dt.int16, dt.int32, dt.int64, dt.float16, dt.bfloat16, dt.float32, dt.float64,
        dt.complex64, dt.complex128,
    )  # fmt: skip
    return {"supported_dtypes": set(kinds)}


class device_index:
    """Uses an accelerator until the block ends; None changes nothing."""

    def __init__(self, device: int | None, /):
        self._chosen = cuda.device(device)

    def __enter__(self) -> None:
        self._chosen.__enter__()

    def __exit__(self, *error: object) -> None:
        self._chosen.__exit__(*error)


Graph = refusal("torch.accelerator.Graph", "use torch.cuda.CUDAGraph and torch.cuda.graph")
