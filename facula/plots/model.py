"""`plot_model`: a model's modules as boxes, with the shapes that flow between them."""

from typing import Any

from facula.core.tensor import Tensor
from facula.nn.module import Module
from facula.recording import Applied, Visit, record

from .diagram import Box, Diagram, Group, Link, Picture, picture, times

__all__ = ["plot_model"]


def plot_model(model: Module, example: Any, *, depth: int | None = None, engine: str | None = None) -> Picture:
    """Run a model once and draw what its modules did.

    Modules without calls inside are boxes, the others frames around theirs; operators that the program calls between
    modules are boxes too. On each arrow stands the shape of what is handed on. The model runs in evaluation mode and
    without gradients.

    Parameters
    ----------
    model : Module
    example : Tensor, or sequence or mapping of arguments
    depth : int, optional
        How deep to look into modules: those at this depth are boxes; 0 is the model itself.
    engine : {"dot", "plain"}, optional
        What lays it out; by default Graphviz's program where it is there.

    Returns
    -------
    Picture

    Examples
    --------
    >>> import facula as torch
    >>> from facula.plots import plot_model
    >>> model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
    >>> drawn = plot_model(model, torch.zeros(32, 64), engine="plain")
    >>> "32×128" in drawn.svg, "ReLU" in drawn.svg
    (True, True)
    """
    seen = record(model, example)
    diagram = Diagram()
    makers: dict[int, str] = {}  # the box that a tensor comes from
    linked: set[tuple[str, str, int]] = set()
    count = 0

    def key() -> str:
        nonlocal count
        count += 1
        return f"n{count}"

    def link(tensor: Tensor, target: str) -> None:
        source = makers.get(id(tensor))
        if source is not None and source != target and (source, target, id(tensor)) not in linked:
            linked.add((source, target, id(tensor)))
            diagram.links.append(Link(source, target, times(tensor.shape)))

    def draw(part: Visit | Applied, group: str | None, level: int) -> None:
        if isinstance(part, Applied):
            own = key()
            diagram.boxes.append(Box(own, [part.title], "operator", group))
            for tensor in part.inputs:
                link(tensor, own)
            makers.update((id(t), own) for t in part.outputs)
        elif any(isinstance(p, Visit) for p in part.parts) and (depth is None or level < depth):
            own = key()
            diagram.groups.append(Group(own, _title(part), group))
            for inner in part.parts:
                draw(inner, own, level + 1)
        else:
            own = key()
            diagram.boxes.append(Box(own, _lines(part), "module", group))
            for tensor in [*part.inputs, *_used(part)]:
                link(tensor, own)
            made = {id(t) for t in part.outputs} | {id(t) for call in _calls(part) for t in call.outputs}
            makers.update(dict.fromkeys(made, own))

    for number, tensor in enumerate(seen.inputs):
        own = key()
        name = "input" if len(seen.inputs) == 1 else f"input {number}"
        diagram.boxes.append(Box(own, [name], "input"))
        makers[id(tensor)] = own
    for part in seen.root.parts:
        draw(part, None, 0)
    for number, tensor in enumerate(seen.outputs):
        own = key()
        name = "output" if len(seen.outputs) == 1 else f"output {number}"
        diagram.boxes.append(Box(own, [name], "output"))
        link(tensor, own)
    return picture(diagram, engine)


def _title(visit: Visit) -> str:
    kind, own = type(visit.module).__name__, visit.name.rpartition(".")[2]
    return f"{own}: {kind}" if own else kind


def _lines(visit: Visit) -> list[str]:
    """What stands in a module's box: its name and class, and its options."""
    options = visit.module.extra_repr() if visit.module is not None else ""
    options = options.replace("in_features=", "").replace("out_features=", "").replace(", bias=True", "")
    options = options.replace("kernel_size=", "kernel ").replace("=", " ")
    options = options if len(options) <= 40 else options[:39] + "…"
    return [_title(visit), *([options] if options else [])]


def _calls(visit: Visit) -> list[Applied]:
    """All operators inside a visit."""
    found: list[Applied] = []
    for part in visit.parts:
        found += [part] if isinstance(part, Applied) else _calls(part)
    return found


def _used(visit: Visit) -> list[Tensor]:
    """What the operators inside took from elsewhere: arguments by name, for example."""
    inside = {id(t) for call in _calls(visit) for t in call.outputs}
    return [t for call in _calls(visit) for t in call.inputs if id(t) not in inside]
