"""The graph seen from outside: `torch.autograd.graph`: nodes, edges, hooks on several tensors, hooks on kept values."""

import threading
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from facula.core.modes import LOCAL
from facula.core.tensor import Tensor
from facula.errors import fail

from . import grad_mode
from .grad_mode import saved_tensors_hooks
from .node import AccumulateGrad, Node, Output, accumulator, edge_of

__all__ = [
    "GradientEdge", "Node", "allow_mutation_on_saved_tensors", "disable_saved_tensors_hooks", "get_gradient_edge",
    "increment_version",
    "register_multi_grad_hook", "save_on_cpu", "saved_tensors_hooks", "set_warn_on_accumulate_grad_stream_mismatch",
]  # fmt: skip


class GradientEdge(NamedTuple):
    """Where the gradient of a tensor arrives: a node and the number of its output; `grad(inputs=)` takes one."""

    node: Node
    output_nr: int
    ownership_token: Any = None

    @property
    def edge(self):
        """As `Tensor.edge`."""
        if isinstance(self.node, AccumulateGrad):
            return self.node.variable
        return self.node if len(self.node.outputs) == 1 else Output(self.node, self.output_nr)

    @property
    def spec(self):
        """The spec of the tensor it stands for."""
        return self.node.outputs[self.output_nr]

    base = None
    needs_grad = True


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """The edge that the gradient of `tensor` arrives by."""
    if not tensor.requires_grad:
        fail(RuntimeError, "It is not possible to get the gradient edge for a Tensor that does not require gradients")
    edge = edge_of(tensor)
    if isinstance(edge, Tensor):
        return GradientEdge(accumulator(edge), 0)
    return GradientEdge(edge.node, edge.number) if type(edge) is Output else GradientEdge(edge, 0)


def increment_version(tensor) -> None:
    """Say that a tensor (or several) was written in a way that facula did not see."""
    for t in (tensor,) if isinstance(tensor, Tensor) else tensor:
        t.storage.version += 1


class save_on_cpu(saved_tensors_hooks):
    """Values kept for backward in this block wait in the host's memory."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda"):
        def pack(tensor: Tensor):
            return tensor.device, tensor.cpu() if tensor.is_cuda else tensor.detach().clone()

        def unpack(packed):
            device, tensor = packed
            return tensor.to(device)

        super().__init__(pack, unpack)


class allow_mutation_on_saved_tensors(saved_tensors_hooks):
    """Values kept for backward in this block are copies: changing the originals in place is allowed."""

    def __init__(self):
        super().__init__(lambda tensor: tensor.detach().clone(), lambda tensor: tensor)


@contextmanager
def disable_saved_tensors_hooks(error_message: str):
    """Refuse saved-tensor hooks in this block with a message."""
    before = grad_mode.REFUSED.message
    if before is None and LOCAL.saved_hooks:
        fail(RuntimeError, error_message)
    grad_mode.REFUSED.message = error_message
    try:
        yield
    finally:
        grad_mode.REFUSED.message = before


def set_warn_on_accumulate_grad_stream_mismatch(enabled: bool) -> None:
    """Accepted: there are no streams on the CPU."""


class _MultiHandle:
    def __init__(self, handles):
        self.handles = tuple(handles)

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()


def register_multi_grad_hook(tensors: Sequence[Tensor], fn: Callable, *, mode: str = "all"):
    """Call `fn` when backward has the gradients of all the tensors (a list), or ("any") that of the first."""
    if mode not in ("all", "any"):
        fail(ValueError, f"Expects mode to be one of ('all', 'any') but got {mode}")
    lock = threading.Lock()
    runs: dict[int, list] = {}

    def hook_for(number: int):
        def hook(grad: Tensor):
            run = _current_run()
            with lock:
                first = run not in runs
                grads = runs.setdefault(run, [None] * len(tensors))
                grads[number] = grad
                complete = all(g is not None for g in grads)
                for old in [r for r in runs if r != run]:
                    del runs[old]
            if mode == "any":
                if first:
                    fn(grad)
            elif complete:
                fn(grads)

        return hook

    return _MultiHandle(t.register_hook(hook_for(i)) for i, t in enumerate(tensors))


def _current_run() -> int:
    from .engine import RUN

    return getattr(RUN, "number", 0)
