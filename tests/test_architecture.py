"""Keeps imports going downward: reads those of every file in `facula/` and names each that breaks a rule."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "facula"

# From the ground up. A module may import its own layer and those below it; what no layer names is the library.
LAYERS = (
    ("errors", "config", "alias"),  # alias reads its own text files, and nothing of facula until it is asked
    ("core",),
    ("ir",),
    ("codegen",),
    ("native",),
    ("targets",),
    ("launch",),
    ("autograd",),
    ("operators",),
    ("the library",),  # nn, optim, func, utils, linalg, ...: users of operators
    ("facula",),  # the public namespace, `facula/__init__.py`
    ("cli", "__main__"),
)
# Places that PyTorch chose for what the library does.
IN_THE_LIBRARY = {("autograd", "profiler"), ("autograd", "profiler_util")}
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
ANYWHERE = sys.stdlib_module_names | {"facula", "numpy", "llvmlite"}  # other packages: inside functions only


def imports(tree: ast.AST, package: str) -> Iterator[tuple[int, str, bool]]:
    """(line, full dotted name, whether a function defers it) for each name that an import statement fetches."""

    def visit(node: ast.AST, deferred: bool) -> Iterator[tuple[int, str, bool]]:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name, deferred) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{source}.{name.name}", deferred) for name in node.names)
        elif isinstance(node, ast.Call) and _imports_by_name(node):
            yield node.lineno, node.args[0].value, deferred
        deferred = deferred or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, deferred)

    return visit(tree, False)


def _imports_by_name(call: ast.Call) -> bool:
    """Whether `call` is `importlib.import_module("x")`, `import_module("x")` or `__import__("x")`, x being constant."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", None)
    first = call.args[0] if call.args else None
    return (
        name in ("import_module", "__import__")
        and isinstance(first, ast.Constant)
        and isinstance(first.value, str)
        and not first.value.startswith(".")
    )


def layer(parts: tuple[str, ...]) -> str:
    """The layer of a module, given the parts of its name after `facula`."""
    if not parts:
        return "facula"
    return parts[0] if parts[0] in LEVEL and parts[:2] not in IN_THE_LIBRARY else "the library"


def resolve(root: Path, name: str) -> tuple[str, ...]:
    """The parts of `facula.a.b.thing` that are modules: ("a", "b"). The public namespace itself is ()."""
    parts: tuple[str, ...] = ()
    for part in name.split(".")[1:]:
        inside = root.joinpath(*parts, part)
        if not inside.is_dir() and not inside.with_suffix(".py").exists():
            break
        parts += (part,)
    return parts


def violations(root: Path) -> list[str]:
    """Every import under `root`, a folder like `facula/`, that breaks a rule: "file:line: what"."""
    found = []
    for file in sorted(root.rglob("*.py")):
        path = file.relative_to(root)
        parts = path.with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        folder = ".".join(("facula", *path.parts[:-1]))
        own = layer(parts)
        for line, name, deferred in imports(ast.parse(file.read_text(), str(file)), folder):
            top = name.split(".")[0]
            if top == "torch":
                complaint = "imports torch: the oracle belongs to tests/conformance"
            elif top not in ANYWHERE:
                complaint = None if deferred else f"imports {top} on loading: only inside functions, when used"
            elif top == "facula":
                target = resolve(root, name)
                if LEVEL[layer(target)] > LEVEL[own]:
                    complaint = f"{own} imports upward, from {layer(target)} ({name})"
                elif own == layer(target) == "targets" and target[1:] and parts[1:] and target[1] != parts[1]:
                    complaint = f"target {parts[1]} imports its sibling {target[1]} ({name})"
                else:
                    complaint = None
            else:
                complaint = None
            if complaint:
                found.append(f"{path}:{line}: {complaint}")
    return found


def test_imports_go_downward():
    assert (PACKAGE / "core").is_dir()
    assert not violations(PACKAGE), "\n".join(violations(PACKAGE))


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        ("core/tensor.py", "from facula.operators import methods", "core imports upward, from operators"),
        ("core/tensor.py", "from ..autograd.engine import backward", "core imports upward, from autograd"),
        ("core/tensor.py", "def f():\n    from ..autograd import engine", "core/tensor.py:2: core imports upward"),
        ("codegen/stages.py", "from ..targets import cpu", "codegen imports upward, from targets"),
        ("operators/matmul.py", "import facula as torch", "operators imports upward, from facula"),
        ("operators/matmul.py", "from .. import nn", "operators imports upward, from the library"),
        ("nn/linear.py", "from .. import tensor", "the library imports upward, from facula"),
        ("nn/linear.py", "import importlib\nimportlib.import_module('facula.cli')", "upward, from cli (facula.cli)"),
        ("native/jit.py", "from ..targets.cpu import pool", "native imports upward, from targets"),
        ("targets/cpu/emit.py", "from ..cuda import driver", "target cpu imports its sibling cuda"),
        (
            "targets/reference/memory.py",
            "from facula.targets.cpu.emit import compile",
            "target reference imports its sibling cpu",
        ),
        ("nn/linear.py", "def f():\n    import torch.nn", "imports torch"),
        ("nn/linear.py", "import scipy.special", "imports scipy on loading"),
        ("nn/linear.py", "try:\n    from tqdm import tqdm\nexcept ImportError:\n    pass", "imports tqdm on loading"),
    ],
)
def test_a_planted_violation_is_found(tmp_path, file, text, complaint):
    plant(tmp_path, file, text)
    (found,) = violations(tmp_path)
    assert complaint in found
    assert found.startswith(file)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (
            "operators/matmul.py",
            "import math\nimport numpy as np\nfrom ..core.tensor import Tensor\nfrom . import view",
        ),
        ("targets/cpu/emit.py", "import llvmlite.binding\nfrom . import pool\nfrom ...native import jit"),
        ("nn/linear.py", "from ..optim import adam\nfrom ..autograd.engine import backward"),
        ("operators/special.py", "def f():\n    import scipy.special"),
        ("__init__.py", "from .core.tensor import Tensor\nfrom . import nn"),
        ("cli.py", "import facula\nfrom . import alias"),
    ],
)
def test_what_is_allowed_passes(tmp_path, file, text):
    plant(tmp_path, file, text)
    assert violations(tmp_path) == []


def plant(root: Path, file: str, text: str) -> None:
    """A bare tree like `facula/`, with `text` in `file`."""
    modules = (
        "core/tensor",
        "codegen/stages",
        "native/jit",
        "targets/cpu/emit",
        "targets/cpu/pool",
        "targets/cuda/driver",
        "targets/reference/memory",
    )
    modules += ("autograd/engine", "operators/methods", "operators/view", "nn/linear", "optim/adam", "alias", "cli")
    modules += ("targets/reference/memory",)
    for module in modules:
        (root / module).parent.mkdir(parents=True, exist_ok=True)
        (root / f"{module}.py").touch()
    (root / file).write_text(text)
