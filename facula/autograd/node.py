"""The graph of backward: nodes, the edges between them, and the values they keep.

A tensor's `edge` says where its gradient goes: None, a `Node` (it is that node's only output) or an `Output` (one of
several). A node's `edges` lead to its inputs' nodes; for a leaf the edge is the leaf tensor itself.
"""

import re
import sys
import weakref
from typing import Any, ClassVar

from facula.core.lines import line_number
from facula.core.tensor import Tensor

__all__ = [
    "CUSTOM",
    "NO_GRAD",
    "STALE",
    "AccumulateGrad",
    "HookHandle",
    "Node",
    "Output",
    "alias",
    "dtype_title",
    "edge_of",
    "grad_fn_of",
    "type_name",
]


_SUFFIX = re.compile(r"Backward\d*$")

# What `Tensor.seen` says of views, where it is not a version of their storage.
STALE = -1  # the base came to need a gradient after the view was made: the view's node must be made anew
NO_GRAD = -2  # made while nothing was recorded
CUSTOM = -3  # given out by a custom function


class Output:
    """One of several outputs of a node."""

    __slots__ = ("node", "number")

    def __init__(self, node: "Node", number: int):
        self.node = node
        self.number = number


class Node:
    """One recorded operation, as PyTorch's `grad_fn`: turns gradients of its outputs into gradients of its inputs."""

    __slots__ = (
        "__weakref__",
        "_metadata",
        "edges",
        "line",
        "outputs",
        "post_hooks",
        "pre_hooks",
        "saved",
        "sequence",
        "shown",
    )

    operator: ClassVar[Any] = None

    edges: tuple  # for each tensor input: None, Node, Output, or a leaf Tensor
    saved: Any  # values for the formula; None once freed
    outputs: tuple  # spec of each output
    sequence: int  # grows with time: the engine runs the latest node first
    line: Any  # (code, instruction) of the user's line
    pre_hooks: Any
    post_hooks: Any

    def apply(self, *grads):
        """The gradients of the inputs, in the order of `edges`."""
        raise NotImplementedError

    def release(self) -> None:
        """Forget the kept values."""
        self.saved = None

    def name(self) -> str:
        """The operation's name, with the number that PyTorch gives the overload."""
        naming = getattr(self.operator, "naming", None)
        return type(self).__name__ if naming is None else naming(self)

    def title(self) -> str:
        """The operation's name in messages: Mul for MulBackward0."""
        return _SUFFIX.sub("", self.name())

    @property
    def next_functions(self) -> tuple[tuple["Node | None", int], ...]:
        """The nodes that the gradients of the inputs go to, each with the number of its output."""
        return tuple(_function_of(edge) for edge in self.edges)

    @property
    def metadata(self) -> dict:
        try:
            return self._metadata
        except AttributeError:
            self._metadata = {}
            return self._metadata

    def register_hook(self, hook):
        """Call `hook(grad_inputs, grad_outputs)` after the node; a tuple from it replaces the inputs' gradients."""
        return _register(self, "post_hooks", hook)

    def register_prehook(self, hook):
        """Call `hook(grad_outputs)` before the node; a tuple that it returns replaces them."""
        return _register(self, "pre_hooks", (None, hook))

    def __repr__(self) -> str:
        return f"<{self.name().rpartition(':')[2]} object at {id(self):#x}>"

    def where(self) -> str | None:
        """`file:line, in function` of the forward call that made the node."""
        if self.line is None:
            return None
        code, instruction = self.line
        number = line_number(code, instruction)
        return f"{code.co_filename}:{number}, in {code.co_name}"


class AccumulateGrad(Node):
    """The node that adds into a leaf's `.grad`; made only when somebody asks to see it."""

    __slots__ = ("variable",)

    def name(self) -> str:
        return "torch::autograd::AccumulateGrad"

    def __init__(self, variable: Tensor):
        self.variable = variable
        self.edges = ()
        self.saved = ()
        self.outputs = (variable.spec,)
        self.sequence = sys.maxsize
        self.line = None
        self.pre_hooks = self.post_hooks = None


class HookHandle:
    """Removes a hook again; also a context manager."""

    __slots__ = ("_hooks", "id")

    count = 0

    def __init__(self, hooks: dict):
        self._hooks = hooks
        self.id = HookHandle.count
        HookHandle.count += 1

    def remove(self) -> None:
        self._hooks.pop(self.id, None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()


def _register(node: Node, slot: str, entry) -> HookHandle:
    hooks = getattr(node, slot)
    if hooks is None:
        hooks = {}
        setattr(node, slot, hooks)
    handle = HookHandle(hooks)
    hooks[handle.id] = entry
    return handle


def accumulator(leaf: Tensor) -> AccumulateGrad:
    """The leaf's AccumulateGrad node: the same object while somebody holds it."""
    found = leaf.extra.get("accumulator") if leaf.extra else None
    node = found() if found is not None else None
    if node is None:
        node = AccumulateGrad(leaf)
        if leaf.extra is None:
            leaf.extra = {}
        leaf.extra["accumulator"] = weakref.ref(node)
    return node


def _function_of(edge) -> tuple[Node | None, int]:
    if edge is None:
        return None, 0
    if isinstance(edge, Tensor):
        return accumulator(edge), 0
    return (edge.node, edge.number) if type(edge) is Output else (edge, 0)


def grad_fn_of(tensor: Tensor) -> Node | None:
    """`tensor.grad_fn`."""
    edge = tensor.edge if tensor.base is None else fresh_edge(tensor)
    return edge.node if type(edge) is Output else edge


def edge_of(tensor: Tensor) -> Any:
    """Where the gradient of this input goes: None, Node, Output, or the tensor itself (a leaf)."""
    if tensor.base is not None:
        fresh_edge(tensor)
    edge = tensor.edge
    if edge is not None:
        return edge
    return tensor if tensor.needs_grad else None


def fresh_edge(view: Tensor):
    """The edge of a view; made anew when its base was written in place since."""
    base = view.base
    if base is not None and base.edge is not None and view.seen != view.storage.version and view.seen > NO_GRAD:
        REGENERATE[0](view)
    return view.edge


REGENERATE: list = [None]  # set by operators/view.py: gives a stale view its new node


def alias(tensor: Tensor) -> Tensor:
    """Another record for the same elements, without history."""
    out = object.__new__(Tensor)
    out.spec, out.storage, out.ptr = tensor.spec, tensor.storage, tensor.ptr
    out.needs_grad, out.edge, out.base, out.seen, out.extra, out._grad = False, None, None, 0, None, None
    return out


def dtype_title(dtype) -> str:
    """The name of a dtype in PyTorch's messages: Float for float32."""
    return dtype.title


def type_name(tensor: Tensor) -> str:
    """The name of a tensor's type in PyTorch's messages: torch.FloatTensor."""
    place = tensor.spec.device.type
    return f"torch.{'' if place == 'cpu' else place + '.'}{dtype_title(tensor.spec.dtype)}Tensor"
