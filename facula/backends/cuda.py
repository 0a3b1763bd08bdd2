"""The switches of CUDA's libraries, and of the ways to compute attention."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from facula.core import precision
from facula.core.switches import attention as _ways
from facula.errors import fail

from .switches import flag, float32

__all__ = [
    "cudnn_sdp_enabled", "enable_cudnn_sdp", "enable_flash_sdp", "enable_math_sdp", "enable_mem_efficient_sdp",
    "flash_sdp_enabled", "is_built", "math_sdp_enabled", "matmul", "mem_efficient_sdp_enabled", "sdp_kernel",
]  # fmt: skip


class _Matmul:
    """`torch.backends.cuda.matmul`: how much products on GPUs may round."""

    def __getattr__(self, name: str) -> Any:
        read = _READ.get(name)
        if read is None:
            raise AttributeError("Unknown attribute " + name)
        return read()

    def __setattr__(self, name: str, value: Any) -> None:
        write = _WRITE.get(name)
        if write is None:
            raise AttributeError("Unknown attribute " + name)
        write(value)


def _reduction(kind: str) -> Callable[[Any], None]:
    """What sets whether partial sums of a dtype may be rounded to it, and whether sums may have parts at all."""
    title = f"allow_{kind}_reduced_precision_reduction"

    def write(value: Any) -> None:
        given = (value,) if isinstance(value, bool) else value
        if not isinstance(given, (list, tuple)):
            fail(TypeError, f"{title} expects a bool or a tuple/list of bools, but got {type(value)!r}")
        if not 1 <= len(given) <= 2:
            many = "most two boolean arguments" if given else "least one boolean argument"
            fail(TypeError, f"{title} expects at {many}")
        for one, which in zip(given, ("allow_reduced_precision", "allow_splitk")):
            if not isinstance(one, bool):
                fail(TypeError, f"{title} expects a bool for {which}, but got {type(one)!r}")
        narrow, parts = (*given, True)[:2]
        if narrow and not parts:
            fail(RuntimeError, "allow_splitk=False is not supported when reduced precision reductions are enabled")
        precision.change_products(**{f"{kind}_reduced": (narrow, parts)})

    return write


_FLOAT32 = float32("cuda", "matmul")
_READ: dict[str, Callable[[], Any]] = {
    "allow_tf32": precision.tf32_allowed,
    "fp32_precision": _FLOAT32[0],
    "allow_fp16_accumulation": lambda: precision.NOW.products.fp16_accumulation,
    "allow_fp16_reduced_precision_reduction": lambda: precision.NOW.products.fp16_reduced[0],
    "allow_fp16_reduced_precision_reduction_split_k": lambda: precision.NOW.products.fp16_reduced[1],
    "allow_bf16_reduced_precision_reduction": lambda: precision.NOW.products.bf16_reduced[0],
    "allow_bf16_reduced_precision_reduction_split_k": lambda: precision.NOW.products.bf16_reduced[1],
}
_WRITE: dict[str, Callable[[Any], None]] = {
    "allow_tf32": lambda value: precision.allow_tf32(flag(value, "set_allow_tf32_cublas")),
    "fp32_precision": _FLOAT32[1],
    "allow_fp16_accumulation": lambda value: precision.change_products(
        fp16_accumulation=flag(value, "set_allow_fp16_accumulation_cublas")
    ),
    "allow_fp16_reduced_precision_reduction": _reduction("fp16"),
    "allow_bf16_reduced_precision_reduction": _reduction("bf16"),
}
matmul = _Matmul()


def is_built() -> bool:
    """Whether this build has CUDA: not yet."""
    return False


def enable_flash_sdp(enabled: bool) -> None:
    """Whether attention may be facula's own kernels, which hold a block of scores at a time."""
    _ways.flash = bool(enabled)


def enable_mem_efficient_sdp(enabled: bool) -> None:
    """The same by another name, on GPUs alone."""
    _ways.mem_efficient = bool(enabled)


def enable_math_sdp(enabled: bool) -> None:
    """Whether attention may be composed of operators."""
    _ways.math = bool(enabled)


def enable_cudnn_sdp(enabled: bool) -> None:
    """Whether attention in half and bfloat16 on GPUs may be cuDNN's."""
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
