"""The switches of cuDNN."""

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["flags", "is_acceptable", "is_available", "set_flags", "version"]

enabled, benchmark, benchmark_limit, deterministic, allow_tf32 = True, False, 10, False, True
_NAMES = ("enabled", "benchmark", "benchmark_limit", "deterministic", "allow_tf32")


def is_available() -> bool:
    """Whether cuDNN is called: there is no CUDA target yet."""
    return False


def is_acceptable(tensor) -> bool:
    """Whether cuDNN takes a tensor."""
    return False


def version() -> None:
    """cuDNN's version: None without it."""


def set_flags(_enabled=None, _benchmark=None, _benchmark_limit=None, _deterministic=None, _allow_tf32=None) -> tuple:
    """Set those that are not None; returns what they were."""
    before = tuple(globals()[name] for name in _NAMES)
    for name, value in zip(_NAMES, (_enabled, _benchmark, _benchmark_limit, _deterministic, _allow_tf32)):
        if value is not None:
            globals()[name] = value
    return before


@contextmanager
def flags(enabled=False, benchmark=False, benchmark_limit=10, deterministic=False, allow_tf32=True) -> Iterator[None]:
    """Switches for the time of a block."""
    before = set_flags(enabled, benchmark, benchmark_limit, deterministic, allow_tf32)
    try:
        yield
    finally:
        set_flags(*before)
