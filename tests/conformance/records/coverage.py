"""Every public name of PyTorch's documented modules, and whether facula has it with the same parameters.

python -m tests.conformance.records.coverage                            # what is missing, and the counts
python -m tests.conformance.records.coverage --write docs/coverage.md   # the page, made anew
"""

import argparse
import importlib
import inspect
import re
import sys
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

import facula

from .mirror import of_path

__all__ = ["MODULES", "Name", "names", "page", "parameters"]

MODULES = (
    "", "Tensor", "nn", "nn.functional", "nn.init", "nn.utils", "nn.utils.rnn", "nn.utils.parametrize",
    "nn.utils.parametrizations", "nn.utils.prune", "optim", "optim.lr_scheduler", "optim.swa_utils", "linalg", "fft",
    "special", "signal.windows", "func", "autograd", "autograd.functional", "autograd.forward_ad", "distributions",
    "distributions.constraints", "distributions.transforms", "random", "overrides", "amp", "utils.checkpoint",
    "utils.data", "utils.tensorboard", "multiprocessing", "utils.benchmark", "profiler", "autograd.profiler",
    "autograd.profiler_util", "masked", "sparse", "serialization",
    "cuda", "cuda.amp", "cuda.nvtx", "cuda.comm", "accelerator", "utils.dlpack",
)  # fmt: skip
# What only makes sense with PyTorch's internals: patterns of names in `torch` and `torch.Tensor`, with the reason.
ASIDE = {
    "quantiz|fbgemm|mkldnn|xpu|vulkan|ipu|mtia|maia|^is_xla$|^q_|^(cudnn|miopen|hip)_|int_repr|qparams|fake_quant"
    r"|^q(u?)int\d|qscheme|^per_(channel|tensor)_|observer": "other engines than facula's",
    r"^(u?int[1-7]|bits\d*.*|bit|float4.*)$": "dtypes without operators in PyTorch",
    "^batch_norm_(backward|elemt|gather|stats|update)|^(alias_copy|convolution|hash_tensor|choose_)": "parts",
    "^(autocast_|clear_autocast|get_autocast|set_autocast|is_autocast|[sg]et_autograd|init_num_threads|fork|wait|vitals"
    "|set_vital|read_vitals|unify_type_list|import_ir_module|parse_|merge_type|sym_|compiled_with_cxx11_abi"
    "|vmap_internals|reinforce|volatile|grad_dtype|is_distributed|name$|storage_type|slice_inverse|get_file_path"
    "|prepare_multiprocessing|TYPE_CHECKING|USE_|PRIVATE_|AVG|SUM|classproperty|obj|profiler_|segment_reduce"
    "|thread_safe|native_norm)": "PyTorch's implementation",
    "sparse_(resize|mask|compressed)|^(indices|values)_copy|_(csr|csc|bsr|bsc)(_tensor)?$|c?(col|row)_indices"
    "|padded_tensor|jagged|^(resize_as_sparse_|hsmm|hspmm|dsmm|smm|sspaddmm|saddmm|spmm)$": "compressed sparse layouts",
    "^(eig|symeig|lstsq|solve|matrix_rank)$": "removed by PyTorch itself: they only raise",
}


NOT_IN_PYTHON = {"sparse_coo_tensor": {"layout"}}  # parameters of operators that PyTorch's own functions do not take
# The same in other modules, by full name.
ASIDE_BY_NAME = {
    **dict.fromkeys(
        ("linalg.common_notes", "nn.functional.reproducibility_notes", "nn.functional.sparse_support_notes",
         "nn.functional.tf32_notes"), "sentences of PyTorch's own documentation",
    ),
    **dict.fromkeys(
        ("cuda.jiterator", "cuda.nccl", "cuda.sparse", "cuda.tunable"), "modules of which the AttributeError says why",
    ),
    "cuda.amp.amp_definitely_not_available": "of a build of PyTorch",
    "nn.functional.TYPE_CHECKING": "of `typing`",
    "autograd.NestedIOFunction": "no longer runs in PyTorch: its methods call what has been removed",
}  # fmt: skip


class Name(NamedTuple):
    """A public name: where it is, and what became of it."""

    path: str
    state: str  # "yes", "missing", "other parameters", "refused", "aside"
    note: str = ""


def _own(module: str, name: str, value: Any) -> bool:
    """Whether a name of a module is PyTorch's own, not something that it imports."""
    if isinstance(value, types.ModuleType):
        return False
    home = getattr(value, "__module__", None) or "torch"
    if module != "Tensor" and not isinstance(home, str):
        return False
    return module == "Tensor" or str(home).split(".")[0] == "torch" or isinstance(value, (torch.dtype, int, float))


def _public(module: str) -> Iterator[tuple[str, Any]]:
    theirs = of_path(torch, module) if module == "Tensor" else importlib.import_module(f"torch.{module}".rstrip("."))
    listed = getattr(theirs, "__all__", None) if module not in ("", "Tensor") else None
    for name in sorted(listed or dir(theirs)):
        if name.startswith("_"):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not hasattr(theirs, name):  # listed by PyTorch, but not there
                continue
            value = getattr(theirs, name)
        if listed or _own(module, name, value):
            yield name, value


def parameters(function: Any) -> tuple[str, ...] | None:
    """The names of a function's parameters, from its signature or from the first line of its documentation."""
    try:
        found = inspect.signature(function).parameters.values()
        return tuple(p.name for p in found if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name != "self")
    except (TypeError, ValueError):
        pass
    text = (inspect.getdoc(function) or "").strip().splitlines()
    head = re.match(r"(?:\w+\.)*\w+\((.*?)\)\s*(?:->|$)", text[0]) if text else None
    if head is None or "*size" in text[0]:
        return None
    words = [re.sub(r"\[.*?\]|\(.*?\)", "", word) for word in re.sub(r"\(.*?\)", "", head[1]).split(",")]
    named = [re.split(r"[=:]", word)[0].strip().split(" ")[-1] for word in words]
    taken = _schema_names(getattr(function, "__name__", ""))  # the documentation has other names now and then
    if not taken:  # "set_num_threads(int)": a type, of what is given by position
        named = [n for n in named if n != "int"]
    return tuple(n for n in named if n.isidentifier() and n != "self" and (not taken or n in taken))


def _schema_names(name: str) -> set[str]:
    """The names of all parameters of PyTorch's operators of this name."""
    schemas = torch._C._jit_get_schemas_for_operator(f"aten::{name}")
    return {"input" if a.name == "self" else a.name for schema in schemas for a in schema.arguments}


def names(module: str) -> Iterator[Name]:
    """All public names of one of PyTorch's modules with their states."""
    for name, value in _public(module):
        path = f"{module}.{name}".lstrip(".")
        aside = _aside(module, name, value)
        try:
            ours = of_path(facula, path)
        except AttributeError:
            yield Name(path, "aside" if aside else "missing", aside or "")
            continue
        if not callable(value) or (inspect.isclass(value) and module in ("", "autograd")):
            yield Name(path, "yes")
            continue
        if (ours.__doc__ or "").startswith("Not implemented: "):
            yield Name(path, "aside" if aside else "refused", aside or "")
            continue
        lacking = () if _takes_anything(ours) else _lacking(module, name, value, ours)
        yield Name(path, "other parameters", ", ".join(lacking)) if lacking else Name(path, "yes")


def _lacking(module: str, name: str, theirs: Any, ours: Any) -> list[str]:
    """The parameters that facula's function lacks: those documented, and of all overloads those of the nearest one."""
    wanted, have = parameters(theirs), parameters(ours)
    if have is None:
        return []
    have += tuple(getattr(ours, "others", ()))  # other names of its parameters
    found = [p for p in wanted or () if p not in have]
    overloads = [] if inspect.isfunction(theirs) or inspect.isclass(theirs) else _overloads(module, name)
    without = {"input"} if module == "Tensor" else set()
    without |= NOT_IN_PYTHON.get(name, set())
    if "input" in have and hasattr(ours, "operator"):
        without.add("x")  # taken by keyword all the same
    if overloads:
        found += min(([p for p in names if p not in (*have, *without, *found)] for names in overloads), key=len)
    return found


def _overloads(module: str, name: str) -> list[list[str]]:
    """The names of the parameters of each overload of an operator of PyTorch; the first one is "input" in Python."""
    prefix = f"{module}_" if module in ("linalg", "fft", "special") else ""
    if module not in ("", "Tensor", "linalg", "fft", "special", "nn.functional"):
        return []
    own = [
        schema
        for schema in torch._C._jit_get_schemas_for_operator(f"aten::{prefix}{name}")
        if not any("Dimname" in str(a.type) for a in schema.arguments)  # what is no longer public
        and not schema.overload_name.endswith("out")
        and schema.is_mutable == name.endswith("_")
    ]
    return [["input" if a.name == "self" else a.name for a in schema.arguments] for schema in own]


def _aside(module: str, name: str, value: Any) -> str | None:
    """Why a name of `torch` or `torch.Tensor` is no part of the promise, or None."""
    if module not in ("", "Tensor"):
        return ASIDE_BY_NAME.get(f"{module}.{name}")
    if inspect.isclass(value) and (hasattr(torch._C, name) or re.search("Storage|Script|^Tag$", name)):
        return "a type of PyTorch's implementation"
    return next((why for pattern, why in ASIDE.items() if re.search(pattern, name)), None)


def _takes_anything(function: Any) -> bool:
    try:
        kinds = [p.kind for p in inspect.signature(function).parameters.values()]
    except (TypeError, ValueError):
        return True
    return inspect.Parameter.VAR_KEYWORD in kinds or inspect.Parameter.VAR_POSITIONAL in kinds


def page(found: dict[str, list[Name]]) -> str:
    """The page: counts by module, then each module's names by state."""
    lines = [
        "# Coverage of PyTorch's public names", "",
        "Made by `python -m tests.conformance.records.coverage --write docs/coverage.md`; not written by hand.",
        "A name counts as there when facula has it and takes every parameter that PyTorch documents, by its true name;",
        "as refused when it is there to say why it does nothing.", "",
        "| module | names | there | other parameters | missing | refused | aside |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]  # fmt: skip
    for module, rows in found.items():
        count = {
            state: sum(r.state == state for r in rows)
            for state in ("yes", "other parameters", "missing", "refused", "aside")
        }
        lines.append(
            f"| `torch{'.' * bool(module)}{module}` | {len(rows)} | {' | '.join(str(n) for n in count.values())} |"
        )
    for module, rows in found.items():
        lines += ["", f"## torch{'.' * bool(module)}{module}", ""]
        for state in ("missing", "other parameters", "refused", "aside", "yes"):
            chosen = [r for r in rows if r.state == state]
            if not chosen:
                continue
            if state == "other parameters":
                words = [f"`{r.path.rpartition('.')[2]}` ({r.note})" for r in chosen]
            else:
                words = [f"`{r.path.rpartition('.')[2]}`" for r in chosen]
            title = {
                "yes": "There",
                "missing": "Missing",
                "other parameters": "Lacking parameters",
                "refused": "Refused",
                "aside": "Only PyTorch's internals",
            }[state]
            lines += [f"{title}: {', '.join(words)}.", ""]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def main() -> int:
    parser = argparse.ArgumentParser("coverage", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("modules", nargs="*", help="modules to look at, without `torch.` (default: all)")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="write the page")
    options = parser.parse_args()
    found: dict[str, list[Name]] = {}
    for module in options.modules or MODULES:
        try:
            found[module] = list(names(module))
        except ModuleNotFoundError as error:
            print(f"torch.{module}: {error}", file=sys.stderr)
    for module, rows in found.items():
        missing = [r.path for r in rows if r.state == "missing"]
        other = [f"{r.path}({r.note})" for r in rows if r.state == "other parameters"]
        print(f"torch.{module}: {len(rows)} names, {len(missing)} missing, {len(other)} with other parameters")
        if missing:
            print("    missing:", " ".join(missing))
        if other:
            print("    lacking:", " ".join(other))
    if options.write:
        options.write.write_text(page(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
