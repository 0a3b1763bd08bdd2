"""The error where a GPU has no memory left: PyTorch's text, then which tensors hold the most, and who made them."""

from typing import TYPE_CHECKING, Any

from facula.core.spec import Spec
from facula.errors import OutOfMemoryError, explained, note

from .. import driver
from ..tickets import line_of

if TYPE_CHECKING:
    from .pool import Pool

__all__ = ["largest", "out_of_memory", "shown"]

LISTED = 10  # tensors in the note


def shown(n: int) -> str:
    """Bytes as PyTorch's messages have them.

    >>> shown(512), shown(3 << 20)
    ('512 bytes', '3.00 MiB')
    """
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if n >= size:
            return f"{n / size:.2f} {unit}"
    return f"{n} bytes"


def largest(pool: "Pool") -> list[tuple[int, Spec | None, str]]:
    """Bytes, spec and line of the large blocks in use, the largest first."""
    found = []
    for arena in pool.arenas.values():
        for _, _, inside in arena.chunks():
            for chunk in inside:
                if chunk.note is not None:
                    spec, line = chunk.note
                    found.append((chunk.size, spec, line_of(line)))
    return sorted(found, key=lambda row: -row[0])


def _names(rows: list[tuple[int, Spec | None, str]]) -> list[str]:
    """One line for each of the largest; those of one shape and one line of the program together."""
    together: dict[tuple, list[int]] = {}
    for size, spec, line in rows:
        what = "memory" if spec is None else f"{spec.dtype!r}{list(spec.shape)}".removeprefix("torch.")
        together.setdefault((what, line), []).append(size)
    ordered = sorted(together.items(), key=lambda item: -sum(item[1]))
    lines = []
    for (what, line), sizes in ordered[:LISTED]:
        count = f"{len(sizes)} x " if len(sizes) > 1 else ""
        lines.append(f"    {shown(sum(sizes)):>12}  {count}{what}" + (f", made at {line}" if line else ""))
    if len(ordered) > LISTED:
        rest = [sizes for _, sizes in ordered[LISTED:]]
        lines.append(f"    {shown(sum(map(sum, rest))):>12}  in {sum(map(len, rest))} more")
    return lines


def out_of_memory(pool: "Pool", total: int, size: int) -> BaseException:
    """The error, to be raised."""
    free, capacity = driver.good(driver.api().cuMemGetInfo(), "cuMemGetInfo")
    used, kept, fraction = pool.now(), pool.counts["reserved"], pool.options.fraction
    private = _in_private_pools(pool)
    error: Any = explained(
        OutOfMemoryError,
        f"CUDA out of memory. Tried to allocate {shown(total)}. GPU {pool.gpu.index} has a total capacity of "
        f"{shown(capacity)} of which {shown(free)} is free. "
        + (f"{shown(pool.limit)} allowed; " if fraction < 1.0 else "")
        + f"Of the allocated memory {shown(used + private)} is allocated by PyTorch, "
        + (f"with {shown(private)} allocated in private pools (e.g., CUDA Graphs), " if private else "")
        + f"and {shown(kept - used - private)} is reserved by PyTorch but unallocated. If reserved but unallocated "
        "memory is large try setting PYTORCH_ALLOC_CONF=expandable_segments:True to avoid fragmentation.  See "
        "documentation for Memory Management  (https://docs.pytorch.org/docs/stable/notes/cuda.html"
        "#optimizing-memory-usage-with-pytorch-alloc-conf)",
        got=f"{shown(size)} for one tensor",
        mend="a smaller batch, mixed precision, torch.utils.checkpoint, or `del` of what is no longer used",
    )
    rows = largest(pool)
    if rows:
        held = f"  {len(rows)} large tensors hold {shown(sum(row[0] for row in rows))} of {shown(used)}:"
        note(error, "\n".join([held, *_names(rows)]))
    return error


def _in_private_pools(pool: "Pool") -> int:
    """Bytes that are free, but stay with graphs."""
    arenas = [arena for arena in pool.arenas.values() if arena.private is not None]
    return sum(chunk.size for arena in arenas for _, _, inside in arena.chunks() for chunk in inside if not chunk.asked)
