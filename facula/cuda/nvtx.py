"""`torch.cuda.nvtx`: ranges and marks in the timeline of NVIDIA's profilers; needs the package nvtx."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from facula.errors import fail

__all__ = ["mark", "range", "range_end", "range_pop", "range_push", "range_start"]

_open = threading.local()  # `depth`: of ranges that this thread has pushed


def _nvtx() -> Any:
    try:
        import nvtx  # type: ignore[import-not-found]
    except ModuleNotFoundError:
        fail(RuntimeError, "NVTX functions not installed. Are you sure you have a CUDA build?", mend="pip install nvtx")
    return nvtx


def range_push(msg: str) -> int:
    """Begin a range inside of those that are open in this thread; returns how many these are."""
    _nvtx().push_range(msg)
    depth = getattr(_open, "depth", 0)
    _open.depth = depth + 1
    return depth


def range_pop() -> int:
    """End the range that this thread began last; returns how many stay open."""
    _nvtx().pop_range()
    _open.depth = max(0, getattr(_open, "depth", 0) - 1)
    return _open.depth


def range_start(msg: str) -> Any:
    """Begin a range that any thread may end: what `range_end` takes."""
    return _nvtx().start_range(msg)


def range_end(range_id: Any) -> None:
    """End a range that `range_start` began."""
    _nvtx().end_range(range_id)


def mark(msg: str) -> None:
    """Mark a moment."""
    _nvtx().mark(msg)


@contextmanager
def range(msg: str, *args: Any, **kwargs: Any) -> Iterator[None]:
    """A range until the block ends; `msg` is filled in as by `str.format`."""
    range_push(msg.format(*args, **kwargs))
    try:
        yield
    finally:
        range_pop()
