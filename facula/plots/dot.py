"""Diagrams in Graphviz's language, and its program `dot`, which lays them out."""

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

from facula.errors import fail

if TYPE_CHECKING:
    from .diagram import Diagram

__all__ = ["program", "run", "svg", "text_of"]


def program() -> str | None:
    """The path of `dot`, or None."""
    return shutil.which("dot")


def quoted(text: str) -> str:
    """A string of the language."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def text_of(diagram: "Diagram", colours: dict[str, tuple[str, str]]) -> str:
    """The diagram as Graphviz's program reads it."""
    lines = [
        "digraph {",
        '  graph [fontname="Helvetica", fontsize=11, nodesep=0.3, ranksep=0.45, compound=true]',
        '  node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=11, margin="0.14,0.06", height=0.3]',
        '  edge [fontname="Helvetica", fontsize=9, color="#606060", fontcolor="#404040", arrowsize=0.7]',
    ]

    def inside(group: str | None, indent: str) -> None:
        for box in diagram.boxes:
            if box.group == group:
                fill, edge = colours[box.kind]
                label = quoted("\n".join(box.lines))
                lines.append(f'{indent}{quoted(box.key)} [label={label}, fillcolor="{fill}", color="{edge}"]')
        for one in diagram.groups:
            if one.group == group:
                fill, edge = colours["group"]
                lines.append(f"{indent}subgraph {quoted('cluster_' + one.key)} {{")
                lines.append(f'{indent}  label={quoted(one.title)}; labeljust=l; style="rounded,filled"')
                lines.append(f'{indent}  fillcolor="{fill}"; color="{edge}"')
                inside(one.key, indent + "  ")
                lines.append(indent + "}")

    inside(None, "  ")
    for link in diagram.links:
        label = f" [label={quoted(' ' + link.label)}]" if link.label else ""
        lines.append(f"  {quoted(link.source)} -> {quoted(link.target)}{label}")
    return "\n".join([*lines, "}"]) + "\n"


def run(text: str, kind: str) -> bytes:
    """What `dot` makes of a text."""
    path = program()
    if path is None:
        fail(
            RuntimeError,
            f"a picture as {kind} needs Graphviz: its program dot was not found",
            mend="install Graphviz (for example `apt-get install graphviz`), or save the picture as .svg",
        )
    more = ["-Gdpi=120"] if kind in ("png", "jpg") else []
    done = subprocess.run([path, f"-T{kind}", *more], input=text.encode(), capture_output=True, check=False)
    if done.returncode:
        fail(RuntimeError, "Graphviz refused the diagram", got=done.stderr.decode(errors="replace").strip())
    return done.stdout


def svg(text: str) -> str:
    """The picture, without the header of an XML file, so that it may stand in a page."""
    whole = run(text, "svg").decode()
    return re.sub(r"<!--.*?-->\n?", "", whole[whole.index("<svg") :], flags=re.DOTALL)
