"""The machines that kernels run on, a folder each; a target knows the IR and its own machine, no operator."""

from functools import cache
from importlib import import_module
from typing import Any, NoReturn

from facula.core.device import device
from facula.errors import fail

__all__ = ["no_cuda", "routine", "unavailable"]


def no_cuda(why: str) -> NoReturn:
    """PyTorch's error for a build without CUDA, and why there is no GPU here."""
    fail(
        AssertionError,
        "Torch not compiled with CUDA enabled",
        got=why,
        mend="use device='cpu'; programs ask torch.cuda.is_available() first",
    )


def unavailable(where: device) -> NoReturn:
    """The error for a device that no target runs on."""
    fail(NotImplementedError, f"facula has no target for device '{where}' yet", expected="cpu")


@cache
def routine(target: Any, name: str) -> Any:
    """What a target's `ROUTINES` names: a file, or file:name; NotImplementedError where it has none."""
    if name not in target.ROUTINES:
        machine = target.__name__.rpartition(".")[2]
        fail(
            NotImplementedError,
            f"facula has no routine {name!r} for the device '{machine}' yet",
            mend="compute this step on the CPU: x.cpu(), and .to() back",
        )
    file, _, inside = target.ROUTINES[name].partition(":")
    module = import_module(f".{file}", target.__name__)
    found = getattr(module, inside) if inside else module
    within = getattr(target, "within", None)  # of a target on one of several machines
    return found if within is None else within(name, found)
