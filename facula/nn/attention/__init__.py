"""`torch.nn.attention`: which way `scaled_dot_product_attention` takes: cuDNN's, facula's own kernels, operators."""

import contextlib
from collections.abc import Iterator
from enum import Enum
from typing import Any, NoReturn

from facula.core.switches import attention as _ways
from facula.errors import fail

from . import bias as bias
from . import flex_attention as flex_attention

__all__ = [
    "WARN_FOR_UNFUSED_KERNELS",
    "SDPBackend",
    "activate_flash_attention_impl",
    "current_flash_attention_impl",
    "list_flash_attention_impls",
    "register_flash_attention_impl",
    "restore_flash_attention_impl",
    "sdpa_kernel",
]

WARN_FOR_UNFUSED_KERNELS = False


class SDPBackend(Enum):
    """PyTorch's implementations of attention."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4

    def __int__(self) -> int:
        return self.value


_NAMES = {
    SDPBackend.FLASH_ATTENTION: "flash",
    SDPBackend.EFFICIENT_ATTENTION: "mem_efficient",
    SDPBackend.MATH: "math",
    SDPBackend.CUDNN_ATTENTION: "cudnn",
}


@contextlib.contextmanager
def sdpa_kernel(backends: list[SDPBackend] | SDPBackend, set_priority: bool = False) -> Iterator[dict]:
    """Only these ways for the time of a block, with `set_priority` the first first.

    MATH is composed of operators; FLASH_ATTENTION and EFFICIENT_ATTENTION (the latter on GPUs alone) are facula's own
    kernels, which hold a block of scores at a time; CUDNN_ATTENTION is cuDNN's, in half and bfloat16.
    """
    if not isinstance(backends, (list, SDPBackend)):
        fail(
            AssertionError,
            "Backend must be an instance of SDPBackend or a list of SDPBackend instances, got "
            f"{type(backends).__name__}",
        )
    chosen = [backends] if isinstance(backends, SDPBackend) else backends
    values: dict[str, Any] = {name: backend in chosen for backend, name in _NAMES.items()}
    if set_priority:
        first = dict.fromkeys(_NAMES[backend] for backend in chosen if backend in _NAMES)
        values["order"] = tuple(first | dict.fromkeys(_ways.order))
    with _ways.within(**values):
        yield {}


def _no_choice(name: str) -> NoReturn:
    fail(
        NotImplementedError,
        f"{name}: facula has one implementation of attention, which is not replaced from outside",
    )


def register_flash_attention_impl(impl: str, *, register_fn) -> None:
    """Not supported."""
    _no_choice("register_flash_attention_impl")


def activate_flash_attention_impl(impl: str) -> None:
    """Not supported."""
    _no_choice("activate_flash_attention_impl")


def list_flash_attention_impls() -> list[str]:
    """The registered implementations: none."""
    return []


def current_flash_attention_impl() -> str | None:
    """The active one: none but facula's own."""
    return None


def restore_flash_attention_impl() -> None:
    """Back to facula's own, which is always active."""
