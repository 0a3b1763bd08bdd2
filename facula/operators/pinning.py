"""Page-locked tensors of the host, and streams that use a tensor: what only matters where there is a GPU."""

from collections.abc import Callable
from typing import Any

from facula import launch
from facula.autograd.node import type_name
from facula.core.device import CPU
from facula.core.tensor import Tensor
from facula.errors import fail

from . import copying

__all__ = ["created", "pin", "record_stream"]


def pin(x: Tensor) -> Tensor:
    """A copy in page-locked memory; the tensor itself where it lies there."""
    if x.spec.device is not CPU:
        fail(RuntimeError, f"cannot pin '{type_name(x)}' only dense CPU tensors can be pinned")
    if not launch.accelerated():
        fail(RuntimeError, "Cannot access accelerator device when none is available.",
             mend="ask torch.cuda.is_available() first: without a GPU nothing is copied to one")  # fmt: skip
    if launch.is_pinned(x):
        return x
    return copying.copy_values(launch.pinned(copying.like_layout(x.spec)), x)


def created(make: Callable[..., Tensor], given: dict[str, Any]) -> Tensor:
    """The tensor of a function that makes one, called with `pin_memory=True`: `given` is what it was called with."""
    args, needs_grad = given.pop("args", ()), given.pop("requires_grad", False)
    made = make(*args, **{**given, "pin_memory": False})
    if made.spec.device is CPU:
        if not launch.accelerated():
            fail(
                RuntimeError,
                "pin_memory=True requires a CUDA or other accelerator backend; no pinned memory allocator is available "
                "on this system.",
            )
        made = pin(made)
    elif not launch.hollow(made.spec.device):
        fail(RuntimeError, "Only dense CPU tensors can be pinned", got=f"device={str(made.spec.device)!r}")
    if needs_grad:
        made.requires_grad_()
    return made


def record_stream(x: Tensor, stream: Any) -> None:
    """The memory of a tensor is used again only after the work that a stream has then been given."""
    where = x.spec.device
    if where is CPU or launch.hollow(where):
        fail(
            NotImplementedError,
            f"Could not run 'aten::record_stream' with arguments from the '{where.type.upper()}' backend.",
            expected="a tensor on a GPU",
        )
    own = getattr(stream, "_own", None)
    if own is None:
        fail(RuntimeError, "unknown parameter type", got=type(stream).__name__, expected="torch.cuda.Stream")
    launch.native("record_stream", where)(x.storage, own)
