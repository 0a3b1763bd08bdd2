"""`torch.cuda`: whether there is a GPU and why not, waiting for it, its random numbers, memory, streams and events."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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

__all__ = [
    "Event", "Stream", "current_device", "current_stream", "default_stream", "device_count", "empty_cache",
    "get_device_capability", "get_device_name", "get_rng_state", "get_rng_state_all", "init", "initial_seed",
    "is_available", "is_initialized", "manual_seed", "manual_seed_all", "max_memory_allocated", "max_memory_reserved",
    "mem_get_info", "memory_allocated", "memory_reserved", "memory_stats", "memory_summary",
    "reset_peak_memory_stats", "seed", "seed_all", "set_device", "set_rng_state", "set_rng_state_all", "stream",
    "synchronize",
]  # fmt: skip

_STARTED: list[bool] = []


def reason() -> str:
    """Why no GPU can be used, in words; "" where one can.

    >>> import facula as torch
    >>> torch.cuda.is_available() == (torch.cuda.reason() == "")
    True
    """
    from facula.targets.cuda import driver

    return driver.reason()


def _gpu() -> Any:
    """The GPU, started if need be; AssertionError with the reason where there is none."""
    from facula.targets.cuda import driver

    found = driver.gpu()
    _STARTED[:] = [True]
    return found


def _pool() -> Any:
    from facula.targets.cuda import pool

    _gpu()
    return pool.pool()


def is_available() -> bool:
    """Whether a GPU can be used."""
    return reason() == ""


def is_initialized() -> bool:
    """Whether the GPU has been used."""
    return bool(_STARTED)


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


# Memory ---------------------------------------------------------------------------------------------------------------


def empty_cache() -> None:
    """Give memory that no tensor uses back to the driver."""
    if _STARTED:
        _pool().release()


def memory_allocated(device=None) -> int:
    """Bytes of GPU memory that tensors use."""
    return _pool().now()["allocated"] if _STARTED else 0


def max_memory_allocated(device=None) -> int:
    """The most bytes of GPU memory that tensors have used."""
    return _pool().most()["allocated"] if _STARTED else 0


def memory_reserved(device=None) -> int:
    """Bytes of GPU memory that are in use or kept for reuse."""
    return _pool().counts["reserved"] if _STARTED else 0


def max_memory_reserved(device=None) -> int:
    """The most bytes of GPU memory that were in use or kept."""
    return _pool().peaks["reserved"] if _STARTED else 0


def reset_peak_memory_stats(device=None) -> None:
    """Start the maxima again from what is in use now."""
    if _STARTED:
        _pool().reset_peaks()


def mem_get_info(device=None) -> tuple[int, int]:
    """Bytes that are free on the GPU, and all that it has."""
    from facula.targets.cuda import driver

    _gpu().enter()
    return driver.good(driver.api().cuMemGetInfo(), "cuMemGetInfo")


def memory_stats(device=None) -> dict[str, int]:
    """Counts of the allocator under PyTorch's names."""
    if not _STARTED:
        return {}
    counts, peaks = _pool().now(), _pool().most()
    names = {"allocated": "allocated_bytes", "reserved": "reserved_bytes", "blocks": "active"}
    found = {f"{name}.all.current": counts[own] for own, name in names.items()}
    found |= {f"{name}.all.peak": peaks[own] for own, name in names.items()}
    return found | {"num_alloc_retries": counts["retries"], "num_ooms": counts["ooms"]}


def memory_summary(device=None, abbreviated=False) -> str:
    """The counts as a table."""
    return "\n".join(f"{name:32} {value:>16,}" for name, value in memory_stats(device).items())


# Streams --------------------------------------------------------------------------------------------------------------


class Stream:
    """Work in order, beside that of other streams; `torch.cuda.Stream`."""

    def __init__(self, device=None, priority: int = 0, *, _own: Any = None):
        from facula.targets.cuda import driver

        self._own = _own or driver.Stream(_gpu())

    @property
    def cuda_stream(self) -> int:
        """The driver's handle."""
        return self._own.key

    def synchronize(self) -> None:
        """Wait for its work."""
        self._own.synchronize()

    def query(self) -> bool:
        """Whether its work is done."""
        return self._own.query()

    def record_event(self, event: "Event | None" = None) -> "Event":
        """Mark what it has been given so far."""
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: "Event") -> None:
        """Later work waits for what `event` marks."""
        self._own.wait(event._own)

    def wait_stream(self, stream: "Stream") -> None:
        """Later work waits for what another stream has been given so far."""
        self.wait_event(stream.record_event())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and self.cuda_stream == other.cuda_stream

    def __hash__(self) -> int:
        return hash(self.cuda_stream)


class Event:
    """A mark in a stream; `torch.cuda.Event`."""

    def __init__(self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False):
        from facula.targets.cuda import driver

        self._own = driver.Event(_gpu(), enable_timing)

    def record(self, stream: Stream | None = None) -> None:
        """Mark what a stream has been given so far."""
        self._own.record((stream or current_stream())._own)

    def query(self) -> bool:
        """Whether what it marks is done."""
        return self._own.query()

    def synchronize(self) -> None:
        """Wait for what it marks."""
        self._own.synchronize()

    def elapsed_time(self, end_event: "Event") -> float:
        """Milliseconds from this mark to another one."""
        return self._own.elapsed(end_event._own)


def current_stream(device=None) -> Stream:
    """The stream that work is given to."""
    return Stream(_own=_gpu().stream)


def default_stream(device=None) -> Stream:
    """The stream that work is given to where nobody chose another one."""
    return Stream(_own=_gpu().default)


@contextmanager
def stream(stream: Stream | None) -> Iterator[None]:
    """Give work to a stream until the block ends; None: no change."""
    gpu = _gpu()
    before = gpu.stream
    if stream is not None:
        gpu.stream = stream._own
    try:
        yield
    finally:
        gpu.stream = before


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
