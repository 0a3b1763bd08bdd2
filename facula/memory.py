"""The memory of tensors on the CPU, counted: the functions and keys of `torch.cuda`'s memory statistics.

Freed memory is kept for reuse up to a bound, `FACULA_POOL_BYTES` (by default a quarter of the machine's memory).
"""

from facula import launch

__all__ = [
    "empty_cache", "max_memory_allocated", "max_memory_reserved", "memory_allocated", "memory_reserved", "memory_stats",
    "reset_peak_memory_stats",
]  # fmt: skip


def memory_stats() -> dict[str, int]:
    """What the pool counted since the program began.

    Returns
    -------
    dict
        - ``allocated_bytes.all.current`` and ``.peak``: bytes of living tensors, rounded up to sizes of blocks (at most
          an eighth more, for tensors of 512 bytes on)
        - ``reserved_bytes.all.current`` and ``.peak``: these and the bytes kept for reuse
        - ``cached_bytes.all.current``: the bytes kept for reuse alone
        - ``allocation.all.current``, ``.allocated``, ``.freed``: blocks that tensors have, ever had, gave back
        - ``num_device_alloc``, ``num_device_free``: blocks that came from the system, and went back to it
        - ``pool_hits``: blocks that were had without asking the system

    Examples
    --------
    >>> import facula as torch
    >>> before = torch.memory_stats()["allocated_bytes.all.current"]
    >>> x = torch.zeros(1024, 1024)
    >>> torch.memory_stats()["allocated_bytes.all.current"] - before >= 4 * 1024 * 1024
    True
    """
    now = launch.memory().memory_stats()
    return {
        "allocated_bytes.all.current": now["bytes_in_use"],
        "allocated_bytes.all.peak": now["bytes_peak"],
        "reserved_bytes.all.current": now["bytes_in_use"] + now["bytes_held"],
        "reserved_bytes.all.peak": now["bytes_peak_with_held"],
        "cached_bytes.all.current": now["bytes_held"],
        "allocation.all.current": now["blocks_in_use"],
        "allocation.all.allocated": now["blocks_taken"],
        "allocation.all.freed": now["blocks_taken"] - now["blocks_in_use"],
        "num_device_alloc": now["blocks_fresh"],
        "num_device_free": now["blocks_returned"],
        "pool_hits": now["blocks_taken"] - now["blocks_fresh"],
    }


def memory_allocated() -> int:
    """Bytes of living tensors."""
    return memory_stats()["allocated_bytes.all.current"]


def max_memory_allocated() -> int:
    """The most bytes of tensors that lived at once, since the start or `reset_peak_memory_stats`."""
    return memory_stats()["allocated_bytes.all.peak"]


def memory_reserved() -> int:
    """Bytes of living tensors, and those kept for reuse."""
    return memory_stats()["reserved_bytes.all.current"]


def max_memory_reserved() -> int:
    """The most bytes that tensors and what is kept for reuse had at once."""
    return memory_stats()["reserved_bytes.all.peak"]


def reset_peak_memory_stats() -> None:
    """Let the highest numbers start again from those of now."""
    launch.memory().reset_peak()


def empty_cache() -> None:
    """Return the memory that is kept for reuse to the system (blocks of at most 16 KiB stay)."""
    launch.memory().empty_cache()
