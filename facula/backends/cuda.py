"""The switches of CUDA's libraries, and of the ways to compute attention."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

__all__ = [
    "cudnn_sdp_enabled", "enable_cudnn_sdp", "enable_flash_sdp", "enable_math_sdp", "enable_mem_efficient_sdp",
    "flash_sdp_enabled", "is_built", "math_sdp_enabled", "matmul", "mem_efficient_sdp_enabled", "sdp_kernel",
]  # fmt: skip

matmul = SimpleNamespace(
    allow_tf32=False, allow_fp16_reduced_precision_reduction=True, allow_bf16_reduced_precision_reduction=True
)
_WAYS = {"flash": True, "mem_efficient": True, "math": True, "cudnn": True}


def is_built() -> bool:
    """Whether this build has CUDA: not yet."""
    return False


def enable_flash_sdp(enabled: bool) -> None:
    """Whether attention may be computed block by block; kept, there is one implementation."""
    _WAYS["flash"] = bool(enabled)


def enable_mem_efficient_sdp(enabled: bool) -> None:
    """See `enable_flash_sdp`."""
    _WAYS["mem_efficient"] = bool(enabled)


def enable_math_sdp(enabled: bool) -> None:
    """See `enable_flash_sdp`."""
    _WAYS["math"] = bool(enabled)


def enable_cudnn_sdp(enabled: bool) -> None:
    """See `enable_flash_sdp`."""
    _WAYS["cudnn"] = bool(enabled)


def flash_sdp_enabled() -> bool:
    """What `enable_flash_sdp` set."""
    return _WAYS["flash"]


def mem_efficient_sdp_enabled() -> bool:
    """What `enable_mem_efficient_sdp` set."""
    return _WAYS["mem_efficient"]


def math_sdp_enabled() -> bool:
    """What `enable_math_sdp` set."""
    return _WAYS["math"]


def cudnn_sdp_enabled() -> bool:
    """What `enable_cudnn_sdp` set."""
    return _WAYS["cudnn"]


@contextmanager
def sdp_kernel(
    enable_flash: bool = True, enable_math: bool = True, enable_mem_efficient: bool = True, enable_cudnn: bool = True
) -> Iterator[None]:
    """These four for the time of a block."""
    before = dict(_WAYS)
    _WAYS.update(flash=enable_flash, math=enable_math, mem_efficient=enable_mem_efficient, cudnn=enable_cudnn)
    try:
        yield
    finally:
        _WAYS.update(before)
