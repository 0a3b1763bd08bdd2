"""`torch.cuda`: which GPUs there are, waiting for them, their random numbers, memory, streams, graphs."""

from . import refused
from .devices import (
    can_device_access_peer,
    current_device,
    device,
    device_count,
    device_of,
    get_arch_list,
    get_device_capability,
    get_device_name,
    get_device_properties,
    get_gencode_flags,
    get_sync_debug_mode,
    is_available,
    is_bf16_supported,
    is_tf32_supported,
    number_of,
    reason,  # noqa: F401  (facula's own)
    set_device,
    set_sync_debug_mode,
    synchronize,
)
from .errors import AcceleratorError, CudaError, DeferredCudaCallError, OutOfMemoryError, check_error, cudaStatus
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
from .monitor import clock_rate, device_memory_used, memory_usage, power_draw, temperature, utilization
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
from .streams import (
    Event,
    ExternalStream,
    Stream,
    StreamContext,
    current_stream,
    default_stream,
    get_stream_from_external,
    set_stream,
    stream,
)

for _name in refused.NAMES:
    globals()[_name] = getattr(refused, _name)
has_half, has_magma = True, False
_get_device_index = number_of  # which libraries call

__all__ = [
    "AcceleratorError", "CUDAGraph", "CudaError", "DeferredCudaCallError", "Event", "ExternalStream", "MemPool",
    "OutOfMemoryError", "Stream", "StreamContext", "caching_allocator_alloc", "caching_allocator_delete",
    "caching_allocator_disabled", "caching_allocator_enable", "can_device_access_peer", "change_current_allocator",
    "check_error", "clock_rate", "cudaStatus", "current_device", "current_stream", "default_stream", "device",
    "device_count", "device_memory_used", "device_of", "empty_cache", "get_allocator_backend", "get_arch_list",
    "get_device_capability", "get_device_name", "get_device_properties", "get_gencode_flags",
    "get_per_process_memory_fraction", "get_rng_state", "get_rng_state_all", "get_stream_from_external",
    "get_sync_debug_mode", "graph", "graph_pool_handle", "has_half", "has_magma", "host_memory_stats",
    "host_memory_stats_as_nested_dict", "init", "initial_seed", "is_available", "is_bf16_supported",
    "is_current_stream_capturing", "is_initialized", "is_tf32_supported", "list_gpu_processes",
    "make_graphed_callables", "manual_seed", "manual_seed_all", "max_memory_allocated", "max_memory_cached",
    "max_memory_reserved", "mem_get_info", "memory_allocated", "memory_cached", "memory_reserved", "memory_snapshot",
    "memory_stats", "memory_stats_as_nested_dict", "memory_summary", "memory_usage", "power_draw",
    "reset_accumulated_host_memory_stats", "reset_accumulated_memory_stats", "reset_max_memory_allocated",
    "reset_max_memory_cached", "reset_peak_host_memory_stats", "reset_peak_memory_stats", "seed", "seed_all",
    "set_device", "set_per_process_memory_fraction", "set_rng_state", "set_rng_state_all", "set_stream",
    "set_sync_debug_mode", "stream", "synchronize", "temperature", "use_mem_pool", "utilization",
]  # fmt: skip
__all__ += refused.NAMES  # pyright: ignore[reportUnsupportedDunderAll]


def init() -> None:
    """Start the GPU."""
    _gpu()


_lazy_init = init
MODULES = ("amp", "comm", "nvtx", "profiler")


def __getattr__(name: str):
    if name == "default_generators":
        return default_generators_of()
    if name.endswith("Tensor"):
        from facula import legacy

        return legacy.on_cuda(name)
    if name in MODULES:
        import importlib

        return importlib.import_module(f"facula.cuda.{name}")
    if name in refused.WITHOUT:
        from facula.errors import fail

        fail(AttributeError, f"torch.cuda.{name} is not implemented: {refused.WITHOUT[name]}")
    from facula.alias import missing

    missing(__name__, name)
