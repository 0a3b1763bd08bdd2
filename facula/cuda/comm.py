"""`torch.cuda.comm`: tensors to several GPUs and back, each a copy from one GPU to another."""

from collections.abc import Sequence
from typing import Any

from facula.core.device import device as Device
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.operators import cat

from .devices import number_of

__all__ = ["broadcast", "broadcast_coalesced", "gather", "reduce_add", "reduce_add_coalesced", "scatter"]


def _on(device: Any) -> Device:
    return device if isinstance(device, Device) and device.type != "cuda" else Device("cuda", number_of(device))


def broadcast(tensor: Tensor, devices: Any = None, *, out: Sequence[Tensor] | None = None) -> tuple[Tensor, ...]:
    """A tensor on each of several GPUs; the first one should be its own."""
    if (devices is None) == (out is None):
        fail(RuntimeError, f"Exactly one of 'devices' and 'out' must be specified, but got {devices=} and {out=}")
    if out is not None:
        return tuple(o.copy_(tensor, non_blocking=True) for o in out)
    return tuple(tensor.to(_on(d), non_blocking=True) for d in devices)


def broadcast_coalesced(tensors: Sequence[Tensor], devices: Any, buffer_size: int = 10485760) -> list[tuple]:
    """`broadcast` of several tensors: a tuple of them for each GPU. `buffer_size`: not used, copies are not joined."""
    return [tuple(tensor.to(_on(d), non_blocking=True) for tensor in tensors) for d in devices]


def reduce_add(inputs: Sequence[Tensor], destination: Any = None) -> Tensor:
    """The sum of tensors on several GPUs, in their order, on one of them, or on the one in use."""
    if not inputs:
        fail(RuntimeError, "reduce_add expects inputs to have at least one tensor")
    where = _on(destination)
    total = inputs[0].to(where)
    for more in inputs[1:]:
        total = total + more.to(where)
    return total.clone() if total is inputs[0] else total


def reduce_add_coalesced(
    inputs: Sequence[Sequence[Tensor]], destination: Any = None, buffer_size: int = 10485760
) -> tuple[Tensor, ...]:
    """`reduce_add` of several tensors, of which each GPU has its own."""
    return tuple(reduce_add(parts, destination) for parts in zip(*inputs))


def scatter(
    tensor: Tensor, devices: Any = None, chunk_sizes: Sequence[int] | None = None, dim: int = 0, streams: Any = None,
    *, out: Sequence[Tensor] | None = None,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Parts of a tensor, one for each of several GPUs. `streams`: not used, copies are the current streams'."""
    if out is not None:
        sizes = [o.shape[dim] for o in out]
        return tuple(o.copy_(part, non_blocking=True) for o, part in zip(out, tensor.split(sizes, dim)))
    devices = list(devices)
    parts = tensor.chunk(len(devices), dim) if chunk_sizes is None else tensor.split(list(chunk_sizes), dim)
    return tuple(part.to(_on(d), non_blocking=True) for part, d in zip(parts, devices))


def gather(tensors: Sequence[Tensor], dim: int = 0, destination: Any = None, *, out: Tensor | None = None) -> Tensor:
    """Tensors of several GPUs, joined along a dim on one of them (or `destination=torch.device("cpu")`)."""
    where = out.device if out is not None else _on(destination)
    joined = cat([tensor.to(where) for tensor in tensors], dim)
    return joined if out is None else out.copy_(joined)
