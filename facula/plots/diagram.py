"""A diagram: boxes in nested groups, arrows between them; and the picture that is made of it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from facula.errors import fail
from facula.serialization.archive import write_atomically

from . import dot, layered

__all__ = ["COLOURS", "Box", "Diagram", "Group", "Link", "Picture", "picture", "times"]

# What a box stands for: (fill, edge). All are light, so that black text is read on each.
COLOURS = {
    "module": ("#dbe9f6", "#4a7fb5"),
    "operator": ("#f2f2f2", "#808080"),
    "parameter": ("#fde8cf", "#d08a2e"),
    "input": ("#dff2df", "#4c9a4c"),
    "output": ("#f8dcdc", "#c05050"),
    "group": ("#fafafa", "#a0a0a0"),
}


@dataclass
class Box:
    """One box: a title, further lines, what it stands for, the group that it is in."""

    key: str
    lines: Sequence[str]
    kind: str
    group: str | None = None


@dataclass
class Group:
    """A frame around boxes and further groups."""

    key: str
    title: str
    group: str | None = None


@dataclass
class Link:
    """An arrow, with what is written on it."""

    source: str
    target: str
    label: str = ""


@dataclass
class Diagram:
    """All of a picture's contents, in the order in which they came to be."""

    boxes: list[Box] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)


class Picture:
    """An SVG picture that shows itself in notebooks.

    Attributes
    ----------
    svg : str
    dot : str
        The same diagram in Graphviz's language.
    engine : str
        What laid it out: "dot" or "plain".
    """

    def __init__(self, svg: str, text: str, engine: str):
        self.svg, self.dot, self.engine = svg, text, engine

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, file: str | os.PathLike) -> None:
        """Write the picture: `.svg`; `.dot` or `.gv`; with Graphviz also what its program makes (`.png`, `.pdf`).

        Raises
        ------
        RuntimeError
            For a format that needs Graphviz, without it.
        """
        ending = os.path.splitext(os.fspath(file))[1].lower().lstrip(".")
        if ending == "svg":
            content = self.svg.encode()
        elif ending in ("dot", "gv"):
            content = self.dot.encode()
        elif ending in ("png", "pdf", "ps", "jpg"):
            content = dot.run(self.dot, ending)
        else:
            fail(ValueError, f"no picture is saved as {ending!r}", expected="svg, dot, gv, png, pdf, ps or jpg")
        write_atomically(os.fspath(file), lambda out: out.write(content))

    def __repr__(self) -> str:
        return f"<Picture, laid out by {self.engine}, {len(self.svg)} characters of SVG; .save(file) writes it>"


def picture(diagram: Diagram, engine: str | None) -> Picture:
    """Lay out a diagram: by Graphviz where it is there, or as `engine` says."""
    if engine not in (None, "dot", "plain"):
        fail(ValueError, f"{engine!r} is no engine", expected="'dot', 'plain' or None")
    engine = engine or ("dot" if dot.program() else "plain")
    text = dot.text_of(diagram, COLOURS)
    svg = dot.svg(text) if engine == "dot" else layered.svg(diagram, COLOURS)
    return Picture(svg, text, engine)


def times(shape: Sequence[int]) -> str:
    """A shape as it is written in pictures.

    Examples
    --------
    >>> times((32, 10)), times(())
    ('32×10', 'scalar')
    """
    return "×".join(map(str, shape)) or "scalar"
