"""The machines that kernels run on, a folder each; a target knows the IR and its own machine, no operator."""

from typing import NoReturn

from facula.core.device import device
from facula.errors import fail

__all__ = ["no_cuda", "unavailable"]


def no_cuda() -> NoReturn:
    """PyTorch's error for a build without CUDA."""
    fail(
        AssertionError,
        "Torch not compiled with CUDA enabled",
        got="facula has no CUDA target yet",
        mend="use device='cpu'; programs ask torch.cuda.is_available() first",
    )


def unavailable(where: device) -> NoReturn:
    """The error for a device that no target runs on."""
    if where.type == "cuda":
        no_cuda()
    fail(NotImplementedError, f"facula has no target for device '{where}' yet", expected="cpu")
