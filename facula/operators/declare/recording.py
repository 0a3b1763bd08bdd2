"""How an application is recorded: the node, the user's line, values kept for backward and their versions."""

import itertools
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from facula.autograd.node import Node, Output, alias, grad_fn_of, type_name
from facula.core.modes import GUARD, LOCAL
from facula.core.spec import Spec
from facula.core.tensor import Tensor
from facula.errors import fail

from .seams import ZEROS

SEQUENCE = itertools.count().__next__


def user_line(depth: int) -> tuple[Any, int] | None:
    """Code and instruction of the innermost frame outside this package; `depth` frames are known to be inside."""
    frame = sys._getframe(depth)
    while frame is not None:
        if frame.f_globals.get("__name__", "")[:7] != "facula.":
            return frame.f_code, frame.f_lasti
        frame = frame.f_back
    return None


def record(node_class: type[Node], edges: tuple, outs: Sequence[Tensor]) -> Any:
    """A new node with these edges whose outputs are `outs`; the caller sets `saved` and its own slots."""
    node = object.__new__(node_class)
    node.edges = edges
    node.sequence = SEQUENCE()
    node.line = user_line(3)
    node.pre_hooks = node.post_hooks = None
    node.saved = ()
    if len(outs) == 1:
        out = outs[0]
        node.outputs = (out.spec,)
        out.edge = node
        out.needs_grad = True
    else:
        node.outputs = tuple(o.spec for o in outs)
        for number, out in enumerate(outs):
            if out.spec.dtype.kind in "fc":
                out.edge = Output(node, number)
                out.needs_grad = True
    return node


class Packed:
    """A kept value that a saved-tensor hook has replaced."""

    __slots__ = ("unpack", "value")


def keep(tensors: Sequence[Tensor]) -> tuple[tuple, tuple]:
    """Values to be kept for backward and their versions (outputs must be passed as aliases)."""
    if GUARD.active and LOCAL.saved_hooks:
        pack, unpack = LOCAL.saved_hooks[-1]
        held = []
        for t in tensors:
            p = Packed()
            p.unpack, p.value = unpack, pack(t)
            held.append(p)
        return tuple(held), tuple(t.storage.version for t in tensors)
    return tuple(tensors), tuple([t.storage.version for t in tensors])


def unkeep(node: Node, held, version: int, is_output: bool, number: int = 0) -> Tensor:
    """The kept value; RuntimeError when it was written in place since."""
    if type(held) is Packed:
        value = held.unpack(held.value)
    else:
        if held.storage.version != version:
            _changed(node, held, version, is_output)
        value = held
    if is_output and LOCAL.grad:
        value = alias(value)
        value.needs_grad = True
        value.edge = node if len(node.outputs) == 1 else Output(node, number)
    return value


def _changed(node: Node, tensor: Tensor, version: int, is_output: bool):
    maker = node if is_output else grad_fn_of(tensor)
    number = tensor.edge.number if type(tensor.edge) is Output else 0
    made = f", which is output {number} of {maker.title()}," if maker is not None else ""
    fail(
        RuntimeError,
        "one of the variables needed for gradient computation has been modified by an inplace operation: "
        f"[{type_name(tensor)} {list(tensor.spec.shape)}]{made} is at version {tensor.storage.version}; expected "
        f"version {version} instead. Hint: enable anomaly detection to find the operation that failed to compute its "
        "gradient, with torch.autograd.set_detect_anomaly(True, "
        "check_nan=False).",
        about=(node, tensor),
        mend="use the out-of-place form (x = x + 1 for x += 1), clone() the value before changing it, or step the "
        "optimizer after the last backward",
    )


def freed(node: Node) -> NoReturn:
    where = node.where()
    fail(
        RuntimeError,
        "Trying to backward through the graph a second time (or directly access saved tensors after they have already "
        "been freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). "
        "Specify retain_graph=True if you need to backward through the graph a second time or if you need to access "
        "saved tensors after calling backward.",
        got=f"{node.name()}" + (f", recorded at {where}" if where else ""),
    )


def materialised(grad: Tensor | None, spec: Spec) -> Tensor:
    return ZEROS[0](spec) if grad is None else grad
