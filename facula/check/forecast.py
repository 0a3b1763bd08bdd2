"""How much memory training will take, and what it is for, from what a dry run counted."""

import os
from collections.abc import Iterable
from typing import Any

from facula.core.tensor import Tensor

from .dry.memory import COUNT, at

__all__ = ["Forecast"]


class Forecast:
    """Bytes of the pool by use; `peak` is their most at once."""

    def __init__(self):
        self.parameters = self.gradients = self.state = 0
        self.data: int | None = None  # what there was before the first forward, parameters apart
        self.batch = 0

    def before_forward(self, args: tuple) -> None:
        """Note what the program has before a module is first called."""
        if self.data is None:
            self.data = COUNT.now
        if not self.batch:
            first = next((x for x in args if isinstance(x, Tensor) and x.dim()), None)
            self.batch = 0 if first is None else first.shape[0]

    def at_step(self, optimizers: Iterable[Any]) -> None:
        """Note the bytes of parameters, their gradients and the optimizers' state, the most of each."""
        parameters = [p for o in optimizers for group in o.param_groups for p in group["params"]]
        state = [x for o in optimizers for values in o.state.values() for x in _values(values)]
        self.parameters = max(self.parameters, _bytes(parameters))
        self.gradients = max(self.gradients, _bytes(p.grad for p in parameters if p.grad is not None))
        self.state = max(self.state, _bytes(state))

    def result(self) -> dict[str, int]:
        """The bytes of each use, of all at once, of this machine; the batch and the largest that would fit."""
        peak, machine = COUNT.peak, _machine()
        data = max((self.data or 0) - self.parameters, 0)
        fixed = self.parameters + self.gradients + self.state + data
        activations = max(peak - fixed, 0)
        most = 0
        if self.batch and activations:
            most = int(max(machine - fixed, 0) // (activations / self.batch))
        return {
            "peak": peak, "parameters": self.parameters, "gradients": self.gradients, "optimizer": self.state,
            "data": data, "activations": activations, "machine": machine, "batch": self.batch, "largest_batch": most,
        }  # fmt: skip


def _values(state: Any) -> list[Tensor]:
    values = state.values() if isinstance(state, dict) else ()
    return [x for value in values for x in (value if isinstance(value, (list, tuple)) else (value,))
            if isinstance(x, Tensor)]  # fmt: skip


def _bytes(tensors: Iterable[Tensor]) -> int:
    """Of the blocks that tensors have, each block once."""
    blocks = {id(block): block.size for x in tensors if (block := at(x.storage.ptr)) is not None}
    return sum(blocks.values())


def _machine() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 0
