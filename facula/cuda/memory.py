"""`torch.cuda.memory`: what of the GPU's memory, and of page-locked memory of the host, is in use and in reserve."""

import warnings
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from facula.errors import fail, refusal

from .starting import gpu, is_initialized, pool

__all__ = [
    "CUDAPluggableAllocator", "MemPool", "caching_allocator_alloc", "caching_allocator_delete",
    "caching_allocator_disabled", "caching_allocator_enable", "change_current_allocator", "empty_cache",
    "get_allocator_backend", "get_per_process_memory_fraction", "host_memory_stats", "host_memory_stats_as_nested_dict",
    "list_gpu_processes", "max_memory_allocated", "max_memory_cached", "max_memory_reserved", "mem_get_info",
    "memory_allocated", "memory_cached", "memory_reserved", "memory_snapshot", "memory_stats",
    "memory_stats_as_nested_dict", "memory_summary", "reset_accumulated_host_memory_stats",
    "reset_accumulated_memory_stats", "reset_max_memory_allocated", "reset_max_memory_cached",
    "reset_peak_host_memory_stats", "reset_peak_memory_stats", "set_per_process_memory_fraction", "use_mem_pool",
]  # fmt: skip


def _counts() -> Any:
    from facula.targets.cuda.memory import counts

    return counts


def _host() -> Any:
    from facula.targets.cuda.memory import pinned

    gpu()
    return pinned.host_pool()


def empty_cache() -> None:
    """Give memory that no tensor uses back to the driver."""
    if is_initialized():
        pool().release()


def _flat(stats: dict[Any, Any]) -> "OrderedDict[str, Any]":
    """Nested counts under names joined with dots, sorted."""
    found: list[tuple[str, Any]] = []

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                name = "_".join(map(str, key)) if isinstance(key, tuple) else str(key)
                walk(f"{prefix}.{name}" if prefix else name, inner)
        else:
            found.append((prefix, value))

    walk("", stats)
    return OrderedDict(sorted(found))


def memory_stats_as_nested_dict(device: Any = None) -> dict[str, Any]:
    """`memory_stats` as dicts in dicts."""
    return _counts().stats(pool(device)) if is_initialized() else {}


def memory_stats(device: Any = None) -> "OrderedDict[str, Any]":
    """Counts of the memory's use, under PyTorch's names; empty where the GPU was not used yet.

    Peaks of all bytes are exact; those of other counts are noted where all bytes have a peak, where memory of a new
    size is needed, and here.

    Examples
    --------
    >>> import facula as torch
    >>> torch.cuda.memory_stats().get("allocated_bytes.all.peak", 0) == torch.cuda.max_memory_allocated()
    True
    """
    return _flat(memory_stats_as_nested_dict(device))


def memory_allocated(device: Any = None) -> int:
    """Bytes of GPU memory that tensors use."""
    return pool(device).now() if is_initialized() else 0


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes of GPU memory that tensors have used."""
    if not is_initialized():
        return 0
    memory = pool(device)
    memory.settle()
    return memory.most


def memory_reserved(device: Any = None) -> int:
    """Bytes of GPU memory that are in use or kept for reuse."""
    return pool(device).counts["reserved"] if is_initialized() else 0


def max_memory_reserved(device: Any = None) -> int:
    """The most bytes of GPU memory that were in use or kept."""
    return pool(device).peaks["reserved"] if is_initialized() else 0


def memory_cached(device: Any = None) -> int:
    """The older name of `memory_reserved`."""
    warnings.warn("`torch.cuda.memory_cached` has been renamed to `torch.cuda.memory_reserved`", FutureWarning, 2)
    return memory_reserved(device)


def max_memory_cached(device: Any = None) -> int:
    """The older name of `max_memory_reserved`."""
    warnings.warn(
        "`torch.cuda.max_memory_cached` has been renamed to `torch.cuda.max_memory_reserved`", FutureWarning, 2
    )
    return max_memory_reserved(device)


def reset_peak_memory_stats(device: Any = None) -> None:
    """Start the maxima again from what is in use now."""
    if is_initialized():
        _counts().reset_peaks(pool(device))


def reset_accumulated_memory_stats(device: Any = None) -> None:
    """Start what was taken and given back again from 0, and the counts of events."""
    if is_initialized():
        _counts().reset_accumulated(pool(device))


def _resets_all(name: str) -> Any:
    def reset(device: Any = None) -> None:
        warnings.warn(
            f"torch.cuda.{name} now calls torch.cuda.reset_peak_memory_stats, which resets /all/ peak memory stats.",
            FutureWarning,
            stacklevel=2,
        )
        reset_peak_memory_stats(device)

    reset.__name__ = reset.__qualname__ = name
    reset.__doc__ = "The older name of `reset_peak_memory_stats`."
    return reset


reset_max_memory_allocated = _resets_all("reset_max_memory_allocated")
reset_max_memory_cached = _resets_all("reset_max_memory_cached")


def memory_snapshot(mempool_id: tuple[int, int] | None = None, include_traces: bool = True) -> list[dict[str, Any]]:
    """Segments of memory and the blocks in them; large blocks in use have the line that made them."""
    return _counts().snapshot(pool(), mempool_id)


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """Bytes that are free on the GPU, and all that it has."""
    from facula.targets.cuda import driver

    gpu(device).enter()
    return driver.good(driver.api().cuMemGetInfo(), "cuMemGetInfo")


def set_per_process_memory_fraction(fraction: float, device: Any = None) -> None:
    """Have no more of the GPU's memory than a fraction of it."""
    if not isinstance(fraction, float):
        fail(TypeError, "Invalid type for fraction argument, must be `float`")
    if fraction < 0 or fraction > 1:
        fail(ValueError, f"Invalid fraction value: {fraction}. Allowed range: 0~1")
    memory = pool(device)
    memory.options = memory.options._replace(fraction=fraction)


def get_per_process_memory_fraction(device: Any = None) -> float:
    """The fraction of the GPU's memory that the process may have."""
    return pool(device).options.fraction


# Tables ---------------------------------------------------------------------------------------------------------------

LINE = 75
BYTES = [
    ("allocated_bytes", "Allocated memory"), ("active_bytes", "Active memory"), ("requested_bytes", "Requested memory"),
    ("reserved_bytes", "GPU reserved memory"), ("inactive_split_bytes", "Non-releasable memory"),
]  # fmt: skip
COUNTS = [
    ("allocation", "Allocations"), ("active", "Active allocs"), ("segment", "GPU reserved segments"),
    ("inactive_split", "Non-releasable allocs"),
]  # fmt: skip
OVERSIZE = [("oversize_allocations", "Oversize allocations"), ("oversize_segments", "Oversize GPU segments")]
PARTS = [("all", ""), ("large_pool", "      from large pool"), ("small_pool", "      from small pool")]
COLUMNS = ("current", "peak", "allocated", "freed")


def _scaled(value: int, like: float, units: list[str], step: int, enough: int) -> tuple[int, str]:
    """A number in the unit that fits `like`."""
    unit = units[0]
    for unit_next in units[1:]:
        if like < enough:
            break
        unit, value, like = unit_next, value // step, like / step
    return value, unit


def _size(value: int, like: int) -> str:
    number, unit = _scaled(value, like, ["B  ", "KiB", "MiB", "GiB", "TiB", "PiB"], 1024, 768 * 1024)
    return f"{number:6d} {unit}"


def _count(value: int, like: int) -> str:
    number, unit = _scaled(value, like, [" ", "K", "M"], 1000, 750 * 1000)
    return f"{number:7d} {unit} "


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:
    """The counts as a table; `abbreviated`: without those of small and of large blocks."""
    stats = memory_stats(device)
    index, ooms, retries = gpu(device).index, stats["num_ooms"], stats["num_alloc_retries"]
    lines = [
        "=" * LINE,
        f" {'':16} PyTorch CUDA memory summary, device ID {index:<17d} ",
        "-" * LINE,
        f"  {'':9} CUDA OOMs: {ooms:<12d} | {'':6} cudaMalloc retries: {retries:<8d}  ",
        "=" * LINE,
        "        Metric         | Cur Usage  | Peak Usage | Tot Alloc  | Tot Freed  ",
    ]
    for rows, shown, parts in (
        (BYTES, _size, PARTS[:1] if abbreviated else PARTS),
        (COUNTS, _count, PARTS[:1] if abbreviated else PARTS),
        (OVERSIZE, _count, [("", "")]),
    ):
        for key, title in rows:
            lines.append("-" * LINE)
            like: list[int] = []
            for part, name in parts:
                prefix = f"{key}.{part}." if part else f"{key}."
                values = [stats[prefix + column] for column in COLUMNS]
                like = like or values
                lines.append(f" {name or title:<21} | " + " | ".join(map(shown, values, like)) + " ")
    lines.append("=" * LINE)
    return "|" + "|\n|".join(lines) + "|\n"


def list_gpu_processes(device: Any = None) -> str:
    """The processes that use a GPU, as a table; needs the package nvidia-ml-py."""
    try:
        import pynvml  # type: ignore[import-not-found]
    except ModuleNotFoundError:
        return "pynvml module not found, please install nvidia-ml-py"
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_DriverNotLoaded:
        return "cuda driver can't be loaded, is cuda enabled?"
    index = gpu(device).index
    processes = pynvml.nvmlDeviceGetComputeRunningProcesses(pynvml.nvmlDeviceGetHandleByIndex(index))
    lines = [f"GPU:{index}"] + ([] if processes else ["no processes are running"])
    for process in processes:
        lines.append(f"process {process.pid:>10d} uses {process.usedGpuMemory / 1048576:>12.3f} MB GPU memory")
    return "\n".join(lines)


# Page-locked memory of the host ---------------------------------------------------------------------------------------


def host_memory_stats_as_nested_dict() -> dict[str, Any]:
    """`host_memory_stats` as dicts in dicts."""
    return _host().stats() if is_initialized() else {}


def host_memory_stats() -> "OrderedDict[str, Any]":
    """Counts of page-locked memory, under PyTorch's names; the driver's calls are not timed."""
    return _flat(host_memory_stats_as_nested_dict())


def reset_accumulated_host_memory_stats() -> None:
    """Start what was taken and given back again from 0."""
    if is_initialized():
        _host().reset_accumulated()


def reset_peak_host_memory_stats() -> None:
    """Start the maxima again from what is in use now."""
    if is_initialized():
        _host().reset_peaks()


# Memory for other libraries, pools of a program's own -----------------------------------------------------------------


def caching_allocator_alloc(size: int, device: Any = None, stream: Any = None) -> int:
    """The address of memory of so many bytes, for another library; `caching_allocator_delete` takes it back."""
    from .streams import Stream

    if not (stream is None or isinstance(stream, (int, Stream))):
        fail(TypeError, "Invalid type for stream argument, must be `torch.cuda.Stream` or `int` representing a pointer "
             "to an existing stream")  # fmt: skip
    memory = pool(device)
    if isinstance(stream, int):
        stream = Stream(device, stream_ptr=stream)
    if stream is None:
        block = memory.take(size)
    else:
        with stream:
            block = memory.take(size)
    memory.raw[block.ptr] = block
    return block.ptr


def caching_allocator_delete(mem_ptr: int) -> None:
    """Take back what `caching_allocator_alloc` gave."""
    if pool().raw.pop(mem_ptr, None) is None:
        fail(RuntimeError, f"invalid device pointer: {mem_ptr:#x}")


caching_allocator_enable = refusal("torch.cuda.caching_allocator_enable", "memory always comes from the pool of blocks")
caching_allocator_disabled = refusal(
    "torch.cuda.caching_allocator_disabled", "memory always comes from the pool of blocks"
)
CUDAPluggableAllocator = refusal(
    "torch.cuda.memory.CUDAPluggableAllocator", "memory always comes from the pool of blocks"
)
change_current_allocator = refusal(
    "torch.cuda.memory.change_current_allocator", "memory always comes from the pool of blocks"
)


def get_allocator_backend() -> str:
    """Which allocator there is: PyTorch's name of the one that keeps blocks."""
    return "native"


class MemPool:
    """A pool of memory of a program's own, for `use_mem_pool`; its memory stays with it.

    Parameters
    ----------
    allocator, use_on_oom, no_split
        PyTorch's; other values than the defaults are not implemented.
    """

    def __init__(self, allocator: Any = None, use_on_oom: bool = False, no_split: bool = False):
        if allocator is not None or use_on_oom or no_split:
            refusal("torch.cuda.MemPool", "allocator, use_on_oom and no_split have their defaults only")()
        from facula.targets.cuda import graphs

        self._memory = pool()
        self._private = self._memory.private(graphs.shared_number())

    @property
    def id(self) -> tuple[int, int]:
        """Its number, which `torch.cuda.graph(pool=...)` takes, too."""
        return self._private.number

    def use_count(self) -> int:
        """How many need its memory."""
        return self._private.uses

    def snapshot(self, include_traces: bool = True) -> list[dict[str, Any]]:
        """Its segments."""
        return memory_snapshot(self.id, include_traces)

    def __del__(self):
        if hasattr(self, "_private"):
            self._memory.let_go(self._private)
            if self._memory.gpu.current and not self._memory.gpu.captures:
                self._memory.release(self._private)


@contextmanager
def use_mem_pool(pool: MemPool, device: Any = None) -> Iterator[None]:
    """Take this thread's memory from a pool of the program's own until the block ends."""
    own = gpu(device)
    before, stream = own.thread.private, own.thread.stream
    own.thread.private = pool._private
    own.stream = stream
    try:
        yield
    finally:
        own.thread.private = before
        own.stream = stream
