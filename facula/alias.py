"""Makes `import torch` mean facula, and says what facula lacks; `cli` runs programs under it.

The file imports nothing of facula until somebody asks for `torch`, so that child processes which never do pay nothing:
they load it by its path, through `aliased/sitecustomize.py`.
"""

import contextlib
import difflib
import importlib
import importlib.util
import os
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NoReturn

__all__ = ["getattr_for", "install", "missing", "uninstall"]

FLAG = "FACULA_ALIAS"  # in the environment of child processes: `import torch` means facula there too
CHILDREN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "aliased")

# facula's own organs: PyTorch has no modules of these names, and programs must not come to depend on them.
INTERNAL = {
    "__main__", "alias", "aliased", "capture", "check", "cli", "codegen", "config", "core", "doctor", "errors",
    "explain", "extras", "ir", "later", "launch", "oldnames", "operators", "plots", "printing", "recording",
    "refused", "show_command", "showing", "streams", "symbolic", "targets", "training",
}  # fmt: skip

# PyTorch's modules whose contents facula shows in one place: {module: where it is}.
MOVED = {
    "torch._tensor": "facula.serialization.tensors",  # plain pickles name them
    "torch.utils.benchmark.utils": "facula.utils.benchmark",
    "torch.utils.data._utils": "facula.utils.data",
}


def _exists(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _found(place: str) -> ModuleSpec:
    """The spec of a module of facula that exists."""
    spec = importlib.util.find_spec(place)
    assert spec is not None
    return spec


def place_of(name: str) -> str | None:
    """The module of facula that `name`, a module of PyTorch, means; None where facula has none."""
    parts = name.split(".")
    if len(parts) > 1 and parts[1] in INTERNAL:
        return None
    direct = "facula" + name[len("torch") :]
    if _exists(direct):
        return direct
    for end in (len(parts), len(parts) - 1):  # the file of that name, or what is in the place itself
        moved = MOVED.get(".".join(parts[:end]))
        if moved:
            return next(filter(_exists, (".".join([moved, *parts[end:]]), moved)), None)
    return None


class Loader:
    """Gives an import of `torch.x` the module `facula.x` itself: one module object under two names."""

    def __init__(self, place: str):
        self.place = place

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self.place)
        self.spec = module.__spec__  # the import system is about to put its own in its place
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec

    def get_code(self, name: str):
        """For `python -m torch.x`."""
        loader: Any = _found(self.place).loader
        return loader.get_code(self.place)


class Finder:
    """The meta path entry for `torch` and everything below it."""

    facula_alias = True  # how another copy of this file recognises it

    def find_spec(self, name: str, path=None, target=None) -> ModuleSpec | None:
        if name != "torch" and not name.startswith("torch."):
            return None
        place = place_of(name)
        if place is None:
            raise ModuleNotFoundError(_no_module(name), name=name)
        found = _found(place)
        folders = found.submodule_search_locations
        loader: Any = Loader(place)
        spec = ModuleSpec(name, loader, origin=found.origin, is_package=folders is not None)
        if folders is not None:
            spec.submodule_search_locations = list(folders)
        return spec

    def invalidate_caches(self) -> None:
        pass


def _no_module(name: str) -> str:
    parent, _, last = name.rpartition(".")
    lines = [f"No module named {name!r}", f"  got: facula has no {name}"]
    if parent:
        place = place_of(parent)
        if place is None:
            return "\n".join(lines)
        module = importlib.import_module(place)
        names = {entry.partition(".")[0] for folder in getattr(module, "__path__", ()) for entry in _entries(folder)}
        if place == "facula":
            names -= INTERNAL
        near = difflib.get_close_matches(last, names, 3)
        if near:
            lines.append(f"  nearest: {', '.join(f'{parent}.{entry}' for entry in near)}")
    return "\n".join(lines)


def _entries(folder: str) -> list[str]:
    try:
        return [e for e in os.listdir(folder) if not e.startswith("_") and (e.endswith(".py") or "." not in e)]
    except OSError:
        return []


def install(children: bool = False) -> None:
    """Make `import torch` mean facula in this process, and in Python processes that it starts.

    Parameters
    ----------
    children : bool
        Whether to set the environment so that child processes do the same.

    Raises
    ------
    RuntimeError
        PyTorch itself is already imported.

    Examples
    --------
    >>> install()
    >>> import torch, facula
    >>> torch is facula
    True
    >>> uninstall()
    """
    present = sys.modules.get("torch")
    if present is not None and present is not sys.modules.get("facula"):
        raise RuntimeError(
            "PyTorch is already imported in this process, so that `import torch` cannot mean facula\n"
            "  mend: call facula.alias.install() before anything imports torch, or use `facula run`"
        )
    if not any(getattr(finder, "facula_alias", False) for finder in sys.meta_path):
        sys.meta_path.insert(0, Finder())
    if children:
        os.environ[FLAG] = "1"
        paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        if CHILDREN not in paths:
            os.environ["PYTHONPATH"] = os.pathsep.join([CHILDREN, *filter(None, paths)])


def uninstall() -> None:
    """Let `import torch` mean what is installed again; modules already imported keep their names in the importer."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not getattr(finder, "facula_alias", False)]
    for name in [name for name in sys.modules if name == "torch" or name.startswith("torch.")]:
        if sys.modules[name].__name__.partition(".")[0] == "facula":
            del sys.modules[name]
    if os.environ.pop(FLAG, None):
        paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != CHILDREN]
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
        if not paths:
            del os.environ["PYTHONPATH"]


class MissingError(AttributeError):
    """An attribute that facula lacks; what is near it is only looked for when somebody reads the message."""

    __module__, __qualname__ = "builtins", "AttributeError"  # tracebacks show it as what it is

    def __init__(self, module_name: str, name: str):
        super().__init__(module_name, name)
        self.module_name, self.missing = module_name, name

    def __str__(self) -> str:
        shown = "torch" + self.module_name[len("facula") :]
        lines = [f"module {shown!r} has no attribute {self.missing!r}", f"  got: facula has no {shown}.{self.missing}"]
        near = nearest(self.module_name, self.missing)
        if near:
            lines.append(f"  nearest: {', '.join(near)}")
        return "\n".join(lines)

    def __reduce__(self):
        return AttributeError, (str(self),)


# Where else a name may be; imported when somebody reads that it is not where he looked.
ELSEWHERE = ("facula.nn", "facula.nn.functional", "facula.nn.init", "facula.optim", "facula.linalg", "facula.fft",
             "facula.special", "facula.autograd", "facula.utils.data")  # fmt: skip


def nearest(module_name: str, name: str) -> list[str]:
    """The names most like `name`: first where it is exactly so in another public module, then in this one."""
    shown = "torch" + module_name[len("facula") :]
    found = []
    for place in ELSEWHERE:
        with contextlib.suppress(ImportError, AttributeError):
            importlib.import_module(place)
    for place, module in sorted(sys.modules.items()):
        parts = place.split(".")
        if (
            parts[0] == "facula"
            and place != module_name
            and not any(p.startswith("_") or p in INTERNAL for p in parts[1:])
        ):
            if name in vars(module).get("__all__", ()) or (not hasattr(module, "__all__") and name in vars(module)):
                found.append("torch" + place[len("facula") :] + "." + name)
    module = sys.modules.get(module_name)
    names = [n for n in (dir(module) if module else ()) if not n.startswith("_") and n not in INTERNAL]
    return (found + [f"{shown}.{n}" for n in difflib.get_close_matches(name, names, 3)])[:4]


def missing(module_name: str, name: str) -> NoReturn:
    """Raise the AttributeError for something that a module of facula lacks.

    Parameters
    ----------
    module_name : str
        The module's `__name__`.
    name : str
        The attribute that was asked for.

    Examples
    --------
    >>> missing("facula.no_such_module", "anything")
    Traceback (most recent call last):
    ...
    AttributeError: module 'torch.no_such_module' has no attribute 'anything'
      got: facula has no torch.no_such_module.anything
    """
    if name.startswith("__"):  # asked by Python's own machinery, which expects the plain thing
        raise AttributeError(f"module {module_name!r} has no attribute {name!r}")
    raise MissingError(module_name, name)


def getattr_for(module_name: str, submodules: tuple[str, ...] = (), names: dict[str, str] | None = None):
    """A module's `__getattr__`: imports the named submodules when they are first used, refuses all else by `missing`.

    Parameters
    ----------
    module_name : str
        The module's `__name__`.
    submodules : tuple of str
        Submodules that are attributes without being imported by the user, as `torch.fft`.
    names : dict, optional
        Other names, each with the submodule that has it, as `torch.vmap`.

    Returns
    -------
    function
        To be assigned to `__getattr__` in the module.

    Examples
    --------
    >>> get = getattr_for("facula", ("alias",))
    >>> get("alias").__name__
    'facula.alias'
    """

    def __getattr__(name: str):
        if name in submodules:
            return importlib.import_module(f"{module_name}.{name}")
        if names is not None and name in names:
            return getattr(importlib.import_module(f"{module_name}.{names[name]}"), name)
        missing(module_name, name)

    return __getattr__
