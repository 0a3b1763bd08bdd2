"""What the pool has in use and in reserve, under the names of PyTorch's allocator.

Peaks of all bytes and blocks in use, and of all bytes in reserve, are exact; those of small and large blocks, and of
what was asked for, are noted where all bytes have a peak, where a block is not found at once, and where somebody asks.
Blocks that machine code gives out again (`leases`) count as taken once, and as freed while it keeps them.
"""

from typing import Any

from ..tickets import line_of
from .pool import Pool

__all__ = ["reset_accumulated", "reset_peaks", "snapshot", "stats"]

KINDS = ("all", "small_pool", "large_pool")


def _stat(current: int, peak: int, freed: int, before: int = 0) -> dict[str, int]:
    """`before`: what was there when the accumulated counts were started again."""
    return {"current": current, "peak": max(current, peak), "allocated": current + freed - before, "freed": freed}


def _three(small: tuple[int, ...], large: tuple[int, ...], most: int | None = None) -> dict[str, Any]:
    """The numbers that `_stat` takes of both kinds, and of both together; `most`: their peak together."""
    both = [a + b for a, b in zip(small, large)]
    if most is not None:
        both[1] = most
    return {kind: _stat(*row) for kind, row in zip(KINDS, (both, small, large))}


def stats(pool: Pool) -> dict[str, Any]:
    """`torch.cuda.memory_stats_as_nested_dict`."""
    with pool.lock:
        pool.settle()
        pool.note_peaks()
        pool.flush(small=False)
        blocks, used, asked, active, active_bytes, reserved, segments, idle, idle_bytes = ([] for _ in range(9))
        for t, kind, base, (size, count) in zip(pool.tallies, pool.by_kind, pool.base, pool.kept.kinds()):
            now, now_bytes = t.blocks - count, t.bytes - size
            freed, freed_bytes = t.blocks_freed + count, t.bytes_freed + size
            blocks.append((now, t.blocks_most, freed, base["blocks"]))
            used.append((now_bytes, t.most, freed_bytes, base["bytes"]))
            asked.append((max(t.asked - size, 0), t.asked_most, t.asked_freed + size, base["asked"]))
            late, late_bytes = min(t.waiting, freed), min(t.waiting_bytes, freed_bytes)
            active.append((now + t.waiting, t.blocks_most, freed - late, base["blocks"]))
            active_bytes.append((now_bytes + t.waiting_bytes, t.most, freed_bytes - late_bytes, base["bytes"]))
            reserved.append((kind["reserved"], kind["reserved_most"], kind["returned"], base["reserved"]))
            segments.append((kind["segments"], kind["segments_most"], kind["frees"], base["segments"]))
            number, size = _inactive(pool, t is pool.tallies[1])
            idle.append((number, number, 0))
            idle_bytes.append((size, size, 0))
        found: dict[str, Any] = {
            "allocation": _three(blocks[0], blocks[1], most=pool.most_blocks),
            "allocated_bytes": _three(*used, most=pool.most),
            "active": _three(active[0], active[1], most=pool.most_blocks),
            "active_bytes": _three(*active_bytes, most=pool.most),
            "requested_bytes": _three(asked[0], asked[1]),
            "segment": _three(*segments, most=pool.peaks["segments"]),
            "reserved_bytes": _three(*reserved, most=pool.peaks["reserved"]),
            "inactive_split": _three(*idle),
            "inactive_split_bytes": _three(*idle_bytes),
            "oversize_allocations": _stat(0, 0, 0),
            "oversize_segments": _stat(0, 0, 0),
            "max_split_size": pool.options.max_split,
            "num_alloc_retries": pool.counts["retries"],
            "num_ooms": pool.counts["ooms"],
            "num_sync_all_streams": pool.counts["syncs"],
            "num_device_alloc": pool.counts["allocations"],
            "num_device_free": pool.counts["frees"],
            "num_oom_rejections": 0,
            "reserved_bytes_by_private_pools": {},
        }
        for private in pool.privates.values():
            held = [_held(pool, private, large) for large in (False, True)]
            small, large = ((n, n, 0) for n in held)
            found["reserved_bytes_by_private_pools"][private.number] = _three(small, large)
        return found


def _held(pool: Pool, private: Any, large: bool) -> int:
    arenas = [arena for arena in pool.arenas.values() if arena.private is private]
    return sum(total for arena in arenas for ptr, total, _ in arena.chunks() if pool.made[ptr] is large)


def _inactive(pool: Pool, large: bool) -> tuple[int, int]:
    """Number and bytes of what is free, but a part of a segment that is in use."""
    count = size = 0
    for arena in pool.arenas.values():
        arena.join()
        for ptr, _, inside in arena.chunks():
            if pool.made[ptr] is large and len(inside) > 1:
                free = [chunk.size for chunk in inside if not chunk.asked and not chunk.waits]
                count, size = count + len(free), size + sum(free)
    return count, size


def reset_peaks(pool: Pool) -> None:
    """Peaks are what is in use now."""
    with pool.lock:
        pool.settle()
        pool.most, pool.most_blocks = pool.now(), pool.blocks()
        for tally, kind, (size, count) in zip(pool.tallies, pool.by_kind, pool.kept.kinds()):
            tally.most, tally.blocks_most = tally.bytes - size, tally.blocks - count
            tally.asked_most = max(tally.asked - size, 0)
            kind["reserved_most"], kind["segments_most"] = kind["reserved"], kind["segments"]
        pool.peaks = {name: pool.counts[name] for name in pool.peaks}


def reset_accumulated(pool: Pool) -> None:
    """What was taken and given back counts from now on."""
    with pool.lock:
        pool.flush()
        for tally, kind, base in zip(pool.tallies, pool.by_kind, pool.base):
            tally.blocks_freed = tally.bytes_freed = tally.asked_freed = 0
            kind["returned"] = kind["frees"] = 0
            base.update(blocks=tally.blocks, bytes=tally.bytes, asked=tally.asked)
            base.update(reserved=kind["reserved"], segments=kind["segments"])
        for name in ("retries", "ooms", "allocations", "frees", "syncs"):
            pool.counts[name] = 0


def snapshot(pool: Pool, number: tuple[int, int] | None = None) -> list[dict[str, Any]]:
    """`torch.cuda.memory_snapshot`: segments and their blocks, by address; all, or those of a private pool."""
    found = []
    with pool.lock:
        pool.flush()
        for arena in pool.arenas.values():
            arena.join()
            own = arena.private.number if arena.private is not None else (0, 0)
            if number is not None and own != number:
                continue
            for ptr, total, inside in arena.chunks():
                blocks = [
                    {
                        "address": chunk.ptr,
                        "size": chunk.size,
                        "requested_size": chunk.asked,
                        "state": _state(chunk),
                        "frames": _frames(chunk.note),
                    }
                    for chunk in inside
                ]
                active = [b for b in blocks if b["state"].startswith("active")]
                found.append(
                    {
                        "device": pool.gpu.index,
                        "address": ptr,
                        "total_size": total,
                        "allocated_size": sum(b["size"] for b in blocks if b["state"] == "active_allocated"),
                        "active_size": sum(b["size"] for b in active),
                        "requested_size": sum(b["requested_size"] for b in active),
                        "stream": arena.stream,
                        "segment_type": "large" if pool.made[ptr] else "small",
                        "segment_pool_id": own,
                        "is_expandable": False,
                        "frames": [],
                        "blocks": blocks,
                    }
                )
    return sorted(found, key=lambda segment: segment["address"])


def _state(chunk: Any) -> str:
    return "active_allocated" if chunk.asked else "active_pending_free" if chunk.waits else "inactive"


def _frames(note: Any) -> list[dict[str, Any]]:
    """The line that a large block was made at, as a frame."""
    file, _, line = (line_of(note[1]) if note is not None else "").rpartition(":")
    return [{"filename": file, "line": int(line), "name": ""}] if line else []
