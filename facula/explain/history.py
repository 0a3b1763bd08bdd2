"""Who changed a value that backward needs: both lines, the one that kept it and the one that wrote over it."""

import dis
import gc
import linecache
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any

from facula.autograd.node import Node, Output
from facula.core.lines import line_number
from facula.core.tensor import Tensor
from facula.operators.declare import View

from .scene import Scene, operands_at, place
from .values import made_by

__all__ = ["changes", "step_lines"]


def changes(scene: Scene, node: Node, kept: Tensor) -> list[str]:
    """`kept by exp at train.py:2`, `changed by add at train.py:4: y += 1`."""
    found = ["  kept " + made_by(node)]
    writer = _recorded(node, kept)
    if writer is not None and writer.line is not None:
        return [*found, f"  changed {made_by(writer)}{_source(*writer.line)}"]
    for frame in scene.program:
        for code, instruction in _writes(frame, kept):
            found.append(f"  changed at {place(code, instruction)}{_source(code, instruction)}")
    if len(found) == 1:
        found.append("  changed where nothing was recorded: under no_grad(), through .data, or by an optimizer's step")
    return found


def step_lines(frame: FrameType | None, parameter: Tensor) -> list[str]:
    """`at train.py:9: optimizer.step()`: the lines of running functions that may have updated a parameter."""
    found: list[str] = []
    while frame is not None:
        if frame.f_globals.get("__name__", "")[:7] != "facula.":
            found += [f"at {place(c, i)}{_source(c, i)}" for c, i in _writes(frame, parameter)]
        frame = frame.f_back
    return found


def _source(code: CodeType, instruction: int) -> str:
    number = line_number(code, instruction)
    line = linecache.getline(code.co_filename, number).strip() if number else ""
    return f": {line}" if line else ""


def _recorded(node: Node, kept: Tensor) -> Node | None:
    """The first operation after `node` that wrote over the memory of `kept` and was recorded."""
    found = None
    for holder in gc.get_referrers(kept.storage):
        if isinstance(holder, Tensor) and holder.storage is kept.storage:
            edge = holder.edge
            writer = edge.node if type(edge) is Output else edge
            if isinstance(writer, Node) and writer.sequence > node.sequence and not isinstance(writer.operator, View):
                if found is None or writer.sequence < found.sequence:
                    found = writer
    return found


def _writes(frame: FrameType, kept: Tensor) -> Iterator[tuple[CodeType, int]]:
    """The instructions of a running function that write over the memory of a tensor, or step its optimizer."""
    code = frame.f_code
    seen: set[int | None] = set()
    method = ""
    for x in dis.get_instructions(code):
        if x.opname in ("LOAD_METHOD", "LOAD_ATTR"):
            method = x.argval
        in_place = x.opname == "STORE_SUBSCR" or (x.opname == "BINARY_OP" and x.argrepr.endswith("="))
        called = x.opname in ("CALL", "CALL_KW")
        in_place = in_place or (called and method.endswith("_") and not method.endswith("__"))
        steps = called and method == "step"
        if in_place or steps:
            first = next((value for _, value in operands_at(frame, x.offset)), None)
            line = x.positions.lineno if x.positions is not None else None
            if line not in seen and (_shares(first, kept) if in_place else _updates(first, kept)):
                seen.add(line)
                yield code, x.offset
        if called:
            method = ""


def _shares(x: Any, kept: Tensor) -> bool:
    return isinstance(x, Tensor) and x.storage is kept.storage


def _updates(optimizer: Any, kept: Tensor) -> bool:
    groups = getattr(optimizer, "param_groups", ())
    return any(_shares(p, kept) for group in groups for p in group["params"])
