"""The switches of cuDNN, which convolutions and attention on GPUs follow."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from facula.core.switches import cudnn as _switches

__all__ = ["flags", "is_acceptable", "is_available", "set_flags", "version"]

_NAMES = ("enabled", "benchmark", "benchmark_limit", "deterministic", "allow_tf32")
_DTYPES = ("float16", "bfloat16", "float32", "float64")


class _Module(ModuleType):
    """This module, whose switches are those that targets read."""

    def __getattr__(self, name: str) -> Any:
        if name in _NAMES:
            return getattr(_switches, name)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _NAMES:
            setattr(_switches, name, value)
        else:
            super().__setattr__(name, value)


def is_available() -> bool:
    """Whether cuDNN is called: there is a GPU, and the library."""
    return version() is not None


def is_acceptable(tensor) -> bool:
    """Whether cuDNN takes a tensor."""
    kind = tensor.dtype
    return _switches.enabled and tensor.is_cuda and str(kind).removeprefix("torch.") in _DTYPES and is_available()


def version() -> int | None:
    """cuDNN's version as one number, 91200 for 9.12.0; None without it, or without a GPU."""
    from facula.targets.cuda import driver
    from facula.targets.cuda.libraries import dnn_api

    return None if driver.reason() else dnn_api.version()


def set_flags(_enabled=None, _benchmark=None, _benchmark_limit=None, _deterministic=None, _allow_tf32=None) -> tuple:
    """Set those that are not None; returns what they were."""
    before = tuple(getattr(_switches, name) for name in _NAMES)
    for name, value in zip(_NAMES, (_enabled, _benchmark, _benchmark_limit, _deterministic, _allow_tf32)):
        if value is not None:
            setattr(_switches, name, value)
    return before


@contextmanager
def flags(enabled=False, benchmark=False, benchmark_limit=10, deterministic=False, allow_tf32=True) -> Iterator[None]:
    """Switches for the time of a block."""
    before = set_flags(enabled, benchmark, benchmark_limit, deterministic, allow_tf32)
    try:
        yield
    finally:
        set_flags(*before)


sys.modules[__name__].__class__ = _Module
