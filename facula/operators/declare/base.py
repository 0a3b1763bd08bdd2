"""What all declared operators share: a name, a documented signature, gradients by input, a class of nodes."""

import inspect
from collections.abc import Callable
from typing import Any

from facula.autograd.node import Node

OPERATORS: dict[str, Any] = {}  # every declared operator by name: documentation, tests and tools read it


def with_out(signature: inspect.Signature) -> inspect.Signature:
    """A signature with the keyword `out`."""
    out = inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None)
    return signature.replace(parameters=[*signature.parameters.values(), out])


class Operator:
    """What all declared operators share: a name, a documented signature, gradients by input."""

    call: Callable  # applies the operator
    node_kind: type[Node] = Node  # what its nodes are

    def __init__(self, body: Callable, name: str | None = None):
        self.name = name or body.__name__
        self.body: Any = body
        self.signature = inspect.signature(body)
        self.names = tuple(self.signature.parameters)
        self.naming: Callable | None = None  # node -> its name, where that depends on the operands
        self.gradients: dict[str, Callable] = {}
        self.joint: list[tuple[tuple[str, ...], Callable]] = []  # formulas for several inputs at once
        title = "".join(part.capitalize() for part in self.name.strip("_").split("_"))
        slots = {"__slots__": (), "operator": self, "__module__": "torch.autograd"}
        self.node_class: Any = type(title + "Backward0", (self.node_kind,), slots)
        if name is None or not name.startswith("_derived"):
            OPERATORS[self.name] = self

    def gradient(self, *names: str):
        """Declare the formula for the gradient of one input, or of several (then it returns a tuple).

        Where each of several has a formula of its own too, that for all counts when all of them need a gradient.
        """

        def decorate(formula: Callable) -> Callable:
            for n in names:
                if n not in self.names:
                    raise TypeError(f"{self.name} has no input {n!r} for a gradient")
            if len(names) == 1:
                self.gradients[names[0]] = formula
            else:
                self.joint.append((names, formula))
            return formula

        return decorate

    def public_signature(self) -> inspect.Signature:
        """What `help` shows of the public function."""
        return self.signature

    def export(self, entry: Any) -> Any:
        """The public function: `entry` with this operator's name, documentation and declaration."""
        entry.__name__ = entry.__qualname__ = self.name
        entry.__doc__ = self.body.__doc__
        entry.__module__ = self.body.__module__
        entry.__signature__ = self.public_signature()
        entry.operator = self
        entry.gradient = self.gradient
        return entry
