"""How notes describe what `scene.py` found: the module's path, each operand's dtype and shape, where it came from."""

import dis
import re
from types import CodeType
from typing import Any

import numpy as np

from facula.autograd.node import Node, grad_fn_of
from facula.core.tensor import Tensor
from facula.nn.module import Module
from facula.nn.parameter import Parameter

from .scene import Scene, place, shown_file

__all__ = ["by_name", "described", "made_by", "module_text", "path_of", "value_text"]


def described(scene: Scene) -> list[str]:
    """The notes on modules and operands."""
    found = []
    if scene.modules:
        found.append("  in " + module_text(scene.modules))
    shown: list[Any] = []
    for text, value in scene.operands:
        for label, x in _each(text, value):
            words = value_text(x, scene, label)
            if words and len(shown) < 8:
                shown.append(x)
                found.append(f"  {label}: {words}")
    if len(scene.modules) > 1:
        given = [x for x in scene.given if isinstance(x, Tensor) and not any(x is y for y in shown)]
        found[1:1] = [f"  its input: {value_text(x, scene)}" for x in given[:4]]
    return found


def _each(text: str, value: Any):
    """An operand, or the tensors of a list."""
    if isinstance(value, (list, tuple)) and 0 < len(value) <= 8 and all(isinstance(x, Tensor) for x in value):
        return [(f"{text}[{i}]", x) for i, x in enumerate(value)]
    return [(text, value)]


# --- modules --------------------------------------------------------------------------------------------------------


def path_of(modules: list[Module]) -> str:
    """The dotted name of the last of these open calls, from the outermost that contains it."""
    names: list[str] = []
    for parent, child in zip(modules, modules[1:]):
        name = next((n for n, m in parent._modules.items() if m is child), None)
        if name is None:
            name = next((n for n, m in parent.named_modules() if m is child), None)
        names = [] if name is None else [*names, name]
    return ".".join(names)


def module_text(modules: list[Module]) -> str:
    """`classifier.2 (Linear(in_features=128, out_features=10, bias=True))`."""
    own, path = modules[-1], path_of(modules)
    text = type(own).__name__
    if not own.__dict__.get("_modules"):
        text = " ".join(f"{text}({own.extra_repr()})".split())
    if len(text) > 100:
        text = type(own).__name__
    return f"{path} ({text})" if path else text


# --- values ---------------------------------------------------------------------------------------------------------


def value_text(value: Any, scene: Scene | None = None, text: str = "") -> str:
    """What a value is: `float32 [32, 128], made by relu at train.py:14`; "" of what is not worth a line."""
    if isinstance(value, Tensor):
        words = f"{str(value.spec.dtype).removeprefix('torch.')} {list(value.spec.shape)}"
        if value.spec.device.type != "cpu":
            words += f" on {value.spec.device}"
        if value.spec.kind is None and not value.spec.contiguous:
            words += f" with strides {tuple(value.spec.strides)}"
        return words + _origin(value, scene, text)
    if isinstance(value, np.ndarray):
        return f"numpy.ndarray {value.dtype} {list(value.shape)}" + _set_at(scene, text)
    if type(value) in (int, float, bool, str):
        return f"{type(value).__name__} {value!r}" if len(repr(value)) < 40 else ""
    if type(value) in (list, tuple, dict):
        return f"{type(value).__name__} of {len(value)}" + _set_at(scene, text)
    return ""


_BACKWARD = re.compile(r"Backward\d*$")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def by_name(x: Node | type[Node]) -> str:
    """The name of an operation, as functions have it: log_softmax for LogSoftmaxBackward0."""
    title = x.title() if isinstance(x, Node) else _BACKWARD.sub("", x.__name__)
    return _CAMEL.sub("_", title.rpartition(":")[2]).lower()


def made_by(node: Node) -> str:
    """`by relu at train.py:14`."""
    return f"by {by_name(node)}" + (f" at {place(*node.line)}" if node.line is not None else "")


def _origin(tensor: Tensor, scene: Scene | None, text: str) -> str:
    node = grad_fn_of(tensor)
    if node is not None:
        return f", made {made_by(node)}"
    if isinstance(tensor, Parameter):
        for end in range(len(scene.modules), 0, -1) if scene is not None else ():
            modules = scene.modules[:end]  # type: ignore[union-attr]
            name = next((n for n, p in modules[-1].named_parameters() if p is tensor), None)
            if name is not None:
                return ", parameter " + ".".join(filter(None, (path_of(modules), name)))
        return ", a parameter"
    return _set_at(scene, text) or (", a leaf that requires grad" if tensor.needs_grad else "")


def _set_at(scene: Scene | None, name: str) -> str:
    """Where the program's frame set a name, if one line alone does."""
    if scene is None:
        return ""
    code = scene.frame.f_code
    if name in code.co_varnames[: code.co_argcount]:
        return "" if name in _stores(code) else f", argument of {code.co_name}"
    lines = _stores(code).get(name, ())
    return f", set at {shown_file(code.co_filename)}:{lines[0]}" if len(lines) == 1 else ""


_STORES: dict[CodeType, dict[str, list[int]]] = {}


def _stores(code: CodeType) -> dict[str, list[int]]:
    """For each name the lines of a function that set it."""
    found = _STORES.get(code)
    if found is None:
        if len(_STORES) > 256:
            _STORES.clear()
        found = _STORES[code] = {}
        line = 0
        for x in dis.get_instructions(code):
            line = x.positions.lineno if x.positions is not None and x.positions.lineno else line
            if x.opname.startswith(("STORE_NAME", "STORE_FAST", "STORE_GLOBAL", "STORE_DEREF")):
                names = x.argval if isinstance(x.argval, tuple) else (x.argval,)  # from Python 3.13 on also in pairs
                for name in names[:1] if x.opname.endswith("LOAD_FAST") else names:
                    lines = found.setdefault(name, [])
                    if line not in lines:
                        lines.append(line)
    return found
