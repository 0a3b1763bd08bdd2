"""The switches of CUDA's libraries, and of the ways to compute attention."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

from facula.core.switches import attention as _ways

__all__ = [
    "cudnn_sdp_enabled", "enable_cudnn_sdp", "enable_flash_sdp", "enable_math_sdp", "enable_mem_efficient_sdp",
    "flash_sdp_enabled", "is_built", "math_sdp_enabled", "matmul", "mem_efficient_sdp_enabled", "sdp_kernel",
]  # fmt: skip

matmul = SimpleNamespace(
    allow_tf32=False, allow_fp16_reduced_precision_reduction=True, allow_bf16_reduced_precision_reduction=True
)


def is_built() -> bool:
    """Whether this build has CUDA: not yet."""
    return False


def enable_flash_sdp(enabled: bool) -> None:
    """Kept: attention block by block is the way that is always there."""
    _ways.flash = bool(enabled)


def enable_mem_efficient_sdp(enabled: bool) -> None:
    """See `enable_flash_sdp`."""
    _ways.mem_efficient = bool(enabled)


def enable_math_sdp(enabled: bool) -> None:
    """See `enable_flash_sdp`."""
    _ways.math = bool(enabled)


def enable_cudnn_sdp(enabled: bool) -> None:
    """Whether attention in half and bfloat16 on GPUs is cuDNN's where it does the case."""
    _ways.cudnn = bool(enabled)


def flash_sdp_enabled() -> bool:
    """What `enable_flash_sdp` set."""
    return _ways.flash


def mem_efficient_sdp_enabled() -> bool:
    """What `enable_mem_efficient_sdp` set."""
    return _ways.mem_efficient


def math_sdp_enabled() -> bool:
    """What `enable_math_sdp` set."""
    return _ways.math


def cudnn_sdp_enabled() -> bool:
    """What `enable_cudnn_sdp` set."""
    return _ways.cudnn


@contextmanager
def sdp_kernel(
    enable_flash: bool = True, enable_math: bool = True, enable_mem_efficient: bool = True, enable_cudnn: bool = True
) -> Iterator[None]:
    """These four for the time of a block."""
    with _ways.within(flash=enable_flash, math=enable_math, mem_efficient=enable_mem_efficient, cudnn=enable_cudnn):
        yield
