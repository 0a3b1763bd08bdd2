"""`torch.cuda`: whether there is a GPU and why not, waiting for it, its random numbers, memory, streams, graphs."""

from .graphs import CUDAGraph, graph, graph_pool_handle, is_current_stream_capturing, make_graphed_callables
from .memory import (
    MemPool,
    caching_allocator_alloc,
    caching_allocator_delete,
    caching_allocator_disabled,
    caching_allocator_enable,
    change_current_allocator,
    empty_cache,
    get_allocator_backend,
    get_per_process_memory_fraction,
    host_memory_stats,
    host_memory_stats_as_nested_dict,
    list_gpu_processes,
    max_memory_allocated,
    max_memory_cached,
    max_memory_reserved,
    mem_get_info,
    memory_allocated,
    memory_cached,
    memory_reserved,
    memory_snapshot,
    memory_stats,
    memory_stats_as_nested_dict,
    memory_summary,
    reset_accumulated_host_memory_stats,
    reset_accumulated_memory_stats,
    reset_max_memory_allocated,
    reset_max_memory_cached,
    reset_peak_host_memory_stats,
    reset_peak_memory_stats,
    set_per_process_memory_fraction,
    use_mem_pool,
)  # fmt: skip
from .random import (
    default_generators_of,
    get_rng_state,
    get_rng_state_all,
    initial_seed,
    manual_seed,
    manual_seed_all,
    seed,
    seed_all,
    set_rng_state,
    set_rng_state_all,
)
from .starting import gpu as _gpu
from .starting import is_initialized
from .streams import Event, ExternalStream, Stream, StreamContext, current_stream, default_stream, set_stream, stream

__all__ = [
    "CUDAGraph", "Event", "ExternalStream", "MemPool", "Stream", "StreamContext", "caching_allocator_alloc",
    "caching_allocator_delete", "caching_allocator_disabled", "caching_allocator_enable", "change_current_allocator",
    "current_device", "current_stream", "default_stream", "device_count", "empty_cache", "get_allocator_backend",
    "get_device_capability", "get_device_name", "get_per_process_memory_fraction", "get_rng_state", "get_rng_state_all",
    "graph", "graph_pool_handle", "host_memory_stats", "host_memory_stats_as_nested_dict", "init", "initial_seed",
    "is_available", "is_current_stream_capturing", "is_initialized", "list_gpu_processes", "make_graphed_callables",
    "manual_seed", "manual_seed_all", "max_memory_allocated", "max_memory_cached", "max_memory_reserved",
    "mem_get_info", "memory_allocated", "memory_cached", "memory_reserved", "memory_snapshot", "memory_stats",
    "memory_stats_as_nested_dict", "memory_summary", "reset_accumulated_host_memory_stats",
    "reset_accumulated_memory_stats", "reset_max_memory_allocated", "reset_max_memory_cached",
    "reset_peak_host_memory_stats", "reset_peak_memory_stats", "seed", "seed_all", "set_device",
    "set_per_process_memory_fraction", "set_rng_state", "set_rng_state_all", "set_stream", "stream", "synchronize",
    "use_mem_pool",
]  # fmt: skip


def reason() -> str:
    """Why no GPU can be used, in words; "" where one can.

    >>> import facula as torch
    >>> torch.cuda.is_available() == (torch.cuda.reason() == "")
    True
    """
    from facula.targets.cuda import driver

    return driver.reason()


def is_available() -> bool:
    """Whether a GPU can be used."""
    return reason() == ""


def device_count() -> int:
    """The number of GPUs that can be used: one at most."""
    return int(is_available())


def init() -> None:
    """Start the GPU."""
    _gpu()


def synchronize(device=None) -> None:
    """Wait until the GPU has done its work; raises what failed in it."""
    from facula.targets.cuda import transfers

    _gpu()
    transfers.synchronize()


def current_device() -> int:
    """The number of the GPU in use."""
    return _gpu().index


def set_device(device) -> None:
    """Choose the GPU to be used: there is the first one."""
    from facula.core.device import place
    from facula.errors import fail

    if place(device).index != _gpu().index:
        fail(RuntimeError, "CUDA error: invalid device ordinal", got=device, expected="cuda:0: one GPU is used")


def get_device_name(device=None) -> str:
    """The name of a GPU."""
    return _gpu().name


def get_device_capability(device=None) -> tuple[int, int]:
    """The compute capability of a GPU."""
    return _gpu().capability


def __getattr__(name: str):
    if name == "default_generators":
        return default_generators_of()
    if name == "OutOfMemoryError":
        from facula.errors import OutOfMemoryError

        return OutOfMemoryError
    if name.endswith("Tensor"):
        from facula import legacy

        return legacy.on_cuda(name)
    if name == "amp":
        import importlib

        return importlib.import_module("facula.cuda.amp")
    from facula.alias import missing

    missing(__name__, name)
