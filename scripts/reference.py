"""Writes the pages of the API reference while mkdocs builds the site: one a module, from signatures and docstrings.

Nothing of it lies in the repository. mkdocs calls `on_files` (mkdocs.yml, `hooks`); tests read the same texts from
`pages()`.
"""

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# Title -> modules (or classes) of a section of the reference, in reading order.
SECTIONS: dict[str, tuple[str, ...]] = {
    "Tensors": ("facula", "facula.Tensor", "facula.linalg", "facula.fft", "facula.special", "facula.signal.windows",
                "facula.sparse", "facula.masked", "facula.random"),
    "Gradients": ("facula.autograd", "facula.autograd.functional", "facula.autograd.forward_ad", "facula.func"),
    "Models": ("facula.nn", "facula.nn.functional", "facula.nn.init", "facula.nn.utils", "facula.nn.utils.rnn",
               "facula.nn.utils.parametrize", "facula.nn.utils.parametrizations", "facula.nn.utils.prune",
               "facula.nn.attention"),
    "Training": ("facula.optim", "facula.optim.lr_scheduler", "facula.optim.swa_utils", "facula.amp",
                 "facula.utils.data", "facula.multiprocessing", "facula.utils.checkpoint", "facula.utils.tensorboard",
                 "facula.serialization", "facula.checkpoint", "facula.safetensors"),
    "Probability": ("facula.distributions", "facula.distributions.constraints", "facula.distributions.transforms"),
    "Around": ("facula.profiler", "facula.utils.benchmark", "facula.overrides", "facula.backends"),
    "facula's own": ("facula.training", "facula.plots"),
}  # fmt: skip
# Methods that a class fills in for its base, not for its user.
INTERNAL = {
    "extra_repr",
    "forward",
    "new_state",
    "options",
    "profile_hook_step",
    "rule",
    "scalars",
    "state_names",
    "step",
}
NUMPY_NAMES = ("axis", "keepdims")  # other names of dim and keepdim
HEADINGS = {"parameters": "Parameters", "returns": "Returns", "raises": "Raises", "yields": "Yields", "warns": "Warns"}


def title_of(name: str) -> str:
    """The name that a page is found by: PyTorch's, but for what is facula's own."""
    own = any(f"{name}.".startswith(f"{one}.") for one in SECTIONS["facula's own"])
    return name if own else name.replace("facula", "torch", 1)


def resolve(name: str) -> Any:
    """The module or class of a dotted name."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        owner, _, last = name.rpartition(".")
        return getattr(resolve(owner), last)


def public_names(owner: Any) -> list[str]:
    """The names that a page lists: functions and classes of facula, in order of the alphabet."""
    if isinstance(owner, type):
        listed = [n for base in reversed(owner.__mro__[:-1]) for n in vars(base)]
    else:
        listed = list(getattr(owner, "__all__", None) or dir(owner))
    found = []
    for name in sorted(set(listed), key=lambda n: (n.lower(), n)):
        value = getattr(owner, name, None)
        if name.startswith("_") or isinstance(value, ModuleType) or value is None:
            continue
        inside = isinstance(owner, type) or str(getattr(value, "__module__", "")).startswith("facula")
        if inside and (callable(value) or isinstance(inspect.getattr_static(owner, name), property)):
            found.append(name)
    return found


def signature(name: str, value: Any) -> str:
    """`name(parameters)`, one parameter a line where one line is too long."""
    try:
        described = inspect.signature(value)
    except (TypeError, ValueError):
        return f"{name}(...)"
    hidden = {"self", *(NUMPY_NAMES if "dim" in described.parameters else ())}
    parameters = [_plain(p) for p in described.parameters.values() if p.name not in hidden]
    described = described.replace(parameters=parameters)
    text = _short(f"{name}{described}")
    if len(text) <= 90:
        return text
    body = _short(str(described.replace(parameters=(), return_annotation=inspect.Signature.empty)))
    ending = _short(str(described.replace(parameters=())))[len(body) :]
    marked, kinds = [], inspect.Parameter
    for before, parameter in zip([None, *parameters], parameters):
        if before is not None and before.kind == kinds.POSITIONAL_ONLY != parameter.kind:
            marked.append("/")
        varied = before is not None and before.kind in (kinds.VAR_POSITIONAL, kinds.KEYWORD_ONLY)
        if parameter.kind == kinds.KEYWORD_ONLY and not varied:
            marked.append("*")
        marked.append(_short(str(parameter)))
    return "\n".join([f"{name}(", *(f"    {one}," for one in marked), f"){ending}"])


def _plain(parameter: inspect.Parameter) -> inspect.Parameter:
    """Without the mark that stands for "must be given, by this name or NumPy's"."""
    marked = repr(parameter.default) == "<required>"
    return parameter.replace(default=inspect.Parameter.empty) if marked else parameter


def _short(text: str) -> str:
    """Without the folders of annotations, and the addresses of defaults."""
    text = re.sub(r"(?:facula|collections|typing)\.[\w.]*?(\w+)(?![\w.])", r"\1", text)
    return re.sub(r" object at 0x[0-9a-f]+", "", text)


def docstring(value: Any) -> Iterator[str]:
    """The lines of a docstring in NumPy's style as Markdown."""
    import griffe

    text = inspect.getdoc(value)
    if not text or value.__doc__ is None and isinstance(value, type):
        return
    for section in griffe.Docstring(text).parse("numpy", warnings=False):
        kind = section.kind.value
        if kind == "text":
            yield from (section.value, "")
        elif kind in HEADINGS:
            yield from (f"**{HEADINGS[kind]}**", "")
            for item in section.value:
                what = f" : {item.annotation}" if item.annotation else ""
                name = f"`{item.name}`" if getattr(item, "name", "") else ""
                yield f"- {name}{what}: {' '.join(item.description.split())}"
            yield ""
        elif kind == "examples":
            for part, example in section.value:
                yield from ("```pycon", example, "```", "") if part.value == "examples" else (example, "")
        elif kind == "admonition":
            yield from (f"**{section.title or section.value.kind.title()}**", "", section.value.contents, "")


def entry(owner: str, name: str, value: Any, level: int) -> Iterator[str]:
    """A heading, the signature, the docstring; of a class also its own public methods."""
    yield from (f"{'#' * level} {name} {{ #{owner}.{name} }}", "")
    if callable(value):
        yield from ("```python", signature(f"{title_of(owner)}.{name}", value), "```", "")
    yield from docstring(value)
    if isinstance(value, type) and level == 2:
        own = [n for n in public_names(value) if n in vars(value) and inspect.getdoc(getattr(value, n))]
        own = [n for n in own if n not in INTERNAL and not isinstance(vars(value)[n], type)]
        for method in own:
            yield from entry(f"{owner}.{name}", method, getattr(value, method), 3)


def page(name: str) -> str:
    """The Markdown of a module's page."""
    owner = resolve(name)
    title = title_of(name)
    lines = [f"# {title}", ""]
    if isinstance(owner, ModuleType) and owner.__doc__:
        lines += [inspect.cleandoc(owner.__doc__), ""]
    for one in public_names(owner):
        lines += entry(name, one, getattr(owner, one), 2)
    return "\n".join(lines) + "\n"


def pages() -> Iterator[tuple[str, str, str, str]]:
    """(section, title, path, text) of each page."""
    for section, names in SECTIONS.items():
        for name in names:
            title = title_of(name)
            yield section, title, f"reference/{title}.md", page(name)


def on_config(config):
    """Put the pages into the navigation, in the place of its entry "Reference"."""
    groups: dict[str, list] = {}
    for section, names in SECTIONS.items():
        groups[section] = [{(t := title_of(n)): f"reference/{t}.md"} for n in names]
    for item in config.nav:
        if "Reference" in item:
            item["Reference"] = [{section: entries} for section, entries in groups.items()]
    return config


def on_files(files, config):
    """mkdocs' event: the pages join the files of the site."""
    from mkdocs.structure.files import File

    for _, _, path, text in pages():
        files.append(File.generated(config, path, content=text))
    return files
