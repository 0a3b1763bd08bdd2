"""Looks at recorded graphs: which nodes a backward would run, where a value came from, what keeps old graphs alive."""

import gc
from collections.abc import Iterable, Iterator
from typing import Any

from facula.autograd.node import Node, Output, edge_of
from facula.core.tensor import Tensor

__all__ = ["maker", "nodes_below", "reached", "spoilt", "tensors_in", "whole_graphs"]

# Operations that pass values on in another shape.
_SHAPES = ("View", "Reshape", "Unsqueeze", "Squeeze", "Transpose", "Permute", "T", "Slice", "Select", "Expand", "Alias",
           "Clone", "ToCopy", "Unbind", "UnsafeView", "Flatten")  # fmt: skip


def node_of(edge: Any) -> Node | None:
    """The node that an edge leads to; None for leaves."""
    if edge.__class__ is Output:
        return edge.node
    return edge if isinstance(edge, Node) else None


def nodes_below(roots: Iterable[Any], most: int = 1 << 20) -> Iterator[Node]:
    """All nodes that gradients of these edges would pass."""
    ready = [n for n in map(node_of, roots) if n is not None]
    seen = set(map(id, ready))
    while ready and most:
        most -= 1
        node = ready.pop()
        yield node
        for edge in node.edges:
            below = node_of(edge)
            if below is not None and id(below) not in seen:
                seen.add(id(below))
                ready.append(below)


def maker(x: Tensor) -> str:
    """The title of the operation that made a tensor's values, in whatever shape they are now: Softmax."""
    node = node_of(edge_of(x))
    while node is not None:
        title = node.title()
        if title not in _SHAPES or not node.edges:
            return title
        node = node_of(node.edges[0])
    return ""


def tensors_in(value: Any, depth: int = 3) -> list[Tensor]:
    """The tensors in what a module returns."""
    if isinstance(value, Tensor):
        return [value]
    if not depth:
        return []
    if isinstance(value, (list, tuple)):
        parts: Iterable = value
    elif isinstance(value, dict):
        parts = value.values()
    else:
        parts = getattr(value, "__dict__", {}).values()
    return [t for part in parts for t in tensors_in(part, depth - 1)]


def spoilt(node: Node) -> tuple | None:
    """(shape, shape, shape of the result) where (N, 1) met (N), one of them with a gradient: a slip in a loss."""
    specs = getattr(getattr(node, "plan", None), "specs", ())
    if node.title() not in ("Sub", "Add", "Mul", "Eq") or len(specs) != 2 or len(node.edges) != 2:
        return None
    shapes: list[tuple[int, ...]] = [tuple(getattr(s, "shape", ())) for s in specs]
    column, row = sorted(shapes, key=len, reverse=True)
    meet = len(column) == 2 and column[1] == 1 and row == column[:1] and column[0] > 1
    if meet and [e is None for e in node.edges].count(True) == 1:
        return (*shapes, node.outputs[0].shape)
    return None


def reached(x: Tensor, marks: dict[int, int], most: int = 4096) -> set[int]:
    """Which of the marked nodes (by id) the graph of a tensor has."""
    return {marks[id(node)] for node in nodes_below([edge_of(x)], most) if id(node) in marks}


def whole_graphs() -> Iterator[Tensor]:
    """All living tensors that were computed with a record."""
    for x in gc.get_objects():
        if type(x) is Tensor and node_of(x.edge) is not None:
            yield x
