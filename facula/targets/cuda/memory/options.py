"""What PYTORCH_CUDA_ALLOC_CONF asks of the pool: known options are read, or refused by name."""

import os
from typing import NamedTuple

from facula.errors import caution, fail

__all__ = ["Options", "parsed", "wanted"]

MIB = 1 << 20
NO_EFFECT = (  # how PyTorch goes about things that facula does otherwise: nothing that a program could observe
    "release_lock_on_cudamalloc", "pinned_num_register_threads", "pinned_use_background_threads",
    "pinned_use_cuda_host_register", "pinned_reserve_segment_size_mb", "graph_capture_record_stream_reuse",
    "throw_on_cudamalloc_oom", "pinned_max_cached_size_mb", "pinned_max_round_threshold_mb",
)  # fmt: skip


class Options(NamedTuple):
    """How the pool cuts and keeps memory."""

    max_split: int = -1  # bytes: larger free blocks are not cut; -1: all may be
    divisions: tuple[tuple[int, int], ...] = ()  # (from how many MiB on, sizes between two powers of two), ascending
    collect: float = 0.0  # of what the process may have: beyond it, kept blocks go before new memory is asked for
    fraction: float = 1.0  # of the GPU's memory that the process may have


def _bad(said: str) -> None:
    fail(ValueError, said, mend="see PYTORCH_CUDA_ALLOC_CONF in PyTorch's notes on CUDA")


def _number(key: str, text: str, least: float = 0.0, most: float = float("inf")) -> float:
    try:
        value = float(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        _bad(f"Error, expecting a number from {least:g} on for {key} in Accelerator allocator config, got {text}")
    return value


def _divisions(text: str) -> tuple[tuple[int, int], ...]:
    """`4` or `[256:1,512:2,>:4]`: into how many sizes each power of two is cut."""
    found = []
    for part in text.strip("[]").split(","):
        size, _, count = part.rpartition(":")
        number = int(_number("roundup_power2_divisions", count))
        if number & (number - 1):
            _bad("For roundups, the divisions has to be power of 2 or 0 to disable roundup ")
        found.append((0 if size == "" else -1 if size == ">" else int(size), number))
    last = max([size for size, _ in found])
    return tuple(sorted((2 * last if size == -1 else size, number) for size, number in found))


def parsed(text: str) -> Options:
    """The options of a text such as `max_split_size_mb:128,garbage_collection_threshold:0.8`.

    >>> parsed("max_split_size_mb:128, roundup_power2_divisions:[256:1,>:4]")
    Options(max_split=134217728, divisions=((256, 1), (512, 4)), collect=0.0, fraction=1.0)
    """
    found: dict[str, object] = {}
    rest = text.replace(" ", "")
    while rest:
        key, _, rest = rest.partition(":")
        end = rest.find("]") + 1 if rest.startswith("[") else rest.find(",")
        value, rest = (rest, "") if end < 0 else (rest[:end], rest[end:].lstrip(","))
        if key == "max_split_size_mb":
            found["max_split"] = int(_number(key, value, 20)) * MIB
        elif key == "roundup_power2_divisions":
            found["divisions"] = _divisions(value)
        elif key == "garbage_collection_threshold":
            found["collect"] = _number(key, value, 0, 1)
        elif key == "per_process_memory_fraction":
            found["fraction"] = _number(key, value, 0, 1)
        elif key == "expandable_segments":
            if value == "True":
                caution("expandable_segments not supported on this platform", mend="blocks are cut and joined instead")
        elif key == "backend":
            if value != "native":
                fail(NotImplementedError, f"PYTORCH_CUDA_ALLOC_CONF: backend:{value} is not implemented",
                     expected="backend:native, the pool of blocks")  # fmt: skip
        elif key not in NO_EFFECT:
            _bad(f"Unrecognized key '{key}' in Accelerator allocator config.")
    return Options(**found)  # type: ignore[arg-type]


def wanted() -> Options:
    """The options of the environment."""
    return parsed(os.environ.get("PYTORCH_ALLOC_CONF") or os.environ.get("PYTORCH_CUDA_ALLOC_CONF") or "")
