"""`plot_graph`: the graph that backward will go through, from the leaves down to a result."""

from collections.abc import Iterable, Mapping
from typing import Any

from facula.autograd.node import Node, Output, edge_of
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.nn.module import Module

from .diagram import Box, Diagram, Link, Picture, picture, times

__all__ = ["plot_graph"]


def plot_graph(
    result: Any,
    parameters: Any = None,
    *,
    saved: bool = True,
    limit: int = 500,
    engine: str | None = None,
) -> Picture:
    """Draw the operations that a result was computed by, as autograd recorded them.

    Arrows follow the computation: leaves (parameters, inputs that need a gradient) at the top, the result at the
    bottom; on each arrow the shape that flows along it. Operations tell what they keep for backward.

    Parameters
    ----------
    result : Tensor, or sequence of them
    parameters : Module, mapping of names to tensors, or (name, tensor) pairs, optional
        Gives the leaves their names.
    saved : bool
        Whether to show the shapes of kept values.
    limit : int
        The most boxes that are drawn.
    engine : {"dot", "plain"}, optional
        What lays it out; by default Graphviz's program where it is there.

    Returns
    -------
    Picture

    Raises
    ------
    ValueError
        A result without history, or a graph larger than `limit`.

    Examples
    --------
    >>> import facula as torch
    >>> from facula.plots import plot_graph
    >>> model = torch.nn.Linear(3, 2)
    >>> drawn = plot_graph(model(torch.ones(4, 3)).sum(), model, engine="plain")
    >>> "SumBackward0" in drawn.svg, "weight" in drawn.svg
    (True, True)
    """
    results = [result] if isinstance(result, Tensor) else list(result)
    names = _names(parameters)
    diagram = Diagram()
    keys: dict[int, str] = {}
    waiting: list[Any] = []  # vertices whose arrows are still to be drawn

    def enter(vertex: Any) -> str:
        """The box of a node or a leaf."""
        if id(vertex) not in keys:
            key = keys[id(vertex)] = f"n{len(keys)}"
            if len(keys) > limit:
                fail(
                    ValueError, f"the graph has more than {limit} vertices", mend="draw a part of it, or raise `limit`"
                )
            if isinstance(vertex, Tensor):
                name = names.get(id(vertex), "leaf")
                diagram.boxes.append(Box(key, [name, times(vertex.spec.shape)], "parameter"))
            else:
                diagram.boxes.append(Box(key, [vertex.name(), *(_kept(vertex) if saved else [])], "operator"))
                waiting.append(vertex)
        return keys[id(vertex)]

    def link(edge: Any, target: str) -> None:
        node, number = (edge.node, edge.number) if type(edge) is Output else (edge, 0)
        shape = "" if isinstance(node, Tensor) else times(node.outputs[number].shape)
        diagram.links.append(Link(enter(node), target, shape))

    for number, tensor in enumerate(results):
        edge = edge_of(tensor)
        if edge is None:
            fail(ValueError, "the result has no graph", expected="a tensor that was computed from one that needs a "
                 "gradient", got="a tensor that does not require grad")  # fmt: skip
        title = "result" if len(results) == 1 else f"result {number}"
        diagram.boxes.append(Box(f"r{number}", [names.get(id(tensor), title), times(tensor.spec.shape)], "output"))
        link(edge, f"r{number}")
    while waiting:
        node = waiting.pop()
        for edge in node.edges:
            if edge is not None:
                link(edge, keys[id(node)])
    diagram.boxes.reverse()  # what came first is drawn first
    return picture(diagram, engine)


def _names(parameters: Any) -> dict[int, str]:
    """Names by tensor."""
    if parameters is None:
        return {}
    pairs: Iterable[tuple[str, Any]]
    if isinstance(parameters, Module):
        pairs = parameters.named_parameters(remove_duplicate=False)
    else:
        pairs = parameters.items() if isinstance(parameters, Mapping) else parameters
    names: dict[int, str] = {}
    for name, tensor in pairs:
        names[id(tensor)] = f"{names[id(tensor)]} = {name}" if id(tensor) in names else name
    return names


def _kept(node: Node) -> list[str]:
    """What a node keeps for backward, in a line."""
    values = getattr(node, "saved", None)
    if values is None:
        return ["freed"]
    if not isinstance(values, tuple | list):
        values = (values,)
    shapes = [times(t.spec.shape) for t in values if isinstance(t, Tensor)]
    more = ", …" if len(shapes) > 3 else ""
    return [f"keeps {', '.join(shapes[:3])}{more}"] if shapes else []
