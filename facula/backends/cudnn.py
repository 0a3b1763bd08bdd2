"""The switches of cuDNN, which convolutions and attention on GPUs follow."""

from contextlib import AbstractContextManager
from typing import Any

from facula.core import precision
from facula.core.switches import cudnn as _switches
from facula.errors import fail

from .switches import Precision, change, during, flag, float32, install, kept

__all__ = ["conv", "flags", "is_acceptable", "is_available", "rnn", "set_flags", "version"]

_DTYPES = ("float16", "bfloat16", "float32", "float64")
_DEPTHWISE = ("auto", "cudnn", "native")

conv, rnn = Precision("cuda", "conv"), Precision("cuda", "rnn")


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


def _set_limit(value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        fail(RuntimeError, f"set_benchmark_limit_cudnn expects an int, but got {type(value).__name__}")
    _switches.benchmark_limit = value


def _set_depthwise(value: Any) -> None:
    if value not in _DEPTHWISE:
        fail(RuntimeError, f"Unknown cuDNN depthwise kernel mode: {value}. Expected one of: {', '.join(_DEPTHWISE)}")
    _switches.depthwise_kernel = value


_SWITCHES = {
    "enabled": kept(_switches, "enabled", "set_enabled_cudnn"),
    "benchmark": kept(_switches, "benchmark", "set_benchmark_cudnn"),
    "benchmark_limit": (lambda: _switches.benchmark_limit, _set_limit),
    "deterministic": kept(_switches, "deterministic", "set_deterministic_cudnn"),
    "allow_tf32": (
        precision.cudnn_tf32_allowed,
        lambda value: precision.allow_cudnn_tf32(flag(value, "set_allow_tf32_cublas")),
    ),
    "fp32_precision": float32("cuda", "all"),
    "depthwise_kernel": (lambda: _switches.depthwise_kernel, _set_depthwise),
}


def set_flags(
    _enabled=None, _benchmark=None, _benchmark_limit=None, _deterministic=None, _allow_tf32=None,
    _fp32_precision="none", _depthwise_kernel=None,
) -> tuple:  # fmt: skip
    """Set those that are not None; returns what they were."""
    given = (
        _enabled, _benchmark, _benchmark_limit, _deterministic, _allow_tf32, _fp32_precision, _depthwise_kernel
    )  # fmt: skip
    return change(_SWITCHES.values(), given)


def flags(
    enabled=False, benchmark=False, benchmark_limit=10, deterministic=False, allow_tf32=True, fp32_precision="none",
    depthwise_kernel="auto",
) -> AbstractContextManager[None]:  # fmt: skip
    """Switches for the time of a block."""
    return during(
        set_flags, enabled, benchmark, benchmark_limit, deterministic, allow_tf32, fp32_precision, depthwise_kernel
    )


install(__name__, _SWITCHES)
