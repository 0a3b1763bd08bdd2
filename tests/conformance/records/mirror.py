"""Objects of PyTorch and their twins in facula: tensors, dtypes, functions, and PyTorch's test helpers themselves.

PyTorch's records name what they call as Python functions with `torch` among their globals. A twin of such a function
is the same code with facula in that place.
"""

import contextlib
import dataclasses
import functools
import importlib
import inspect
import types
from typing import Any

import numpy as np
import torch

import facula

__all__ = ["Twins", "array", "flat", "leaves", "of_path", "twin"]

HELPERS = ("torch.testing._internal", "torch.testing._utils")
KINDS = (types.FunctionType, types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType)
PLACES = (
    "",
    "nn.functional",
    "linalg",
    "fft",
    "special",
    "signal.windows",
    "masked",
    "nn.init",
    "Tensor",
    "nn.utils.rnn",
)
VIEWED = {torch.bfloat16: torch.int16, torch.complex32: torch.int32}  # dtypes that NumPy lacks: their bits


def of_path(framework: Any, path: str) -> Any:
    """The object at `torch.<path>` of a framework; AttributeError where there is none."""
    found = framework
    for part in path.split(".") if path else ():
        try:
            found = getattr(found, part)
        except AttributeError:
            if not isinstance(found, types.ModuleType):
                raise
            try:
                found = importlib.import_module(f"{found.__name__}.{part}")
            except ModuleNotFoundError:
                raise AttributeError(f"{framework.__name__} has no {path}") from None
    return found


GLOBALS: dict[str, dict[str, Any]] = {}


def _globals(module: str) -> dict[str, Any]:
    """The globals of one of PyTorch's test modules, with facula for torch and twins for its functions."""
    if module in GLOBALS:
        return GLOBALS[module]
    theirs = vars(importlib.import_module(module))
    ours = GLOBALS[module] = dict(theirs)  # before it is full: what closures hold may ask for it
    for name, value in theirs.items():
        if value is torch:
            ours[name] = facula
        elif isinstance(value, types.FunctionType) and value.__module__ == module and value.__globals__ is theirs:
            ours[name] = _rebound(value, ours, {})
        elif isinstance(value, types.FunctionType) and str(value.__module__).startswith(HELPERS):
            ours[name] = _globals(value.__module__).get(value.__name__, value)
        elif isinstance(value, types.ModuleType) and value.__name__ in ("torch.nn", "torch.nn.functional"):
            ours[name] = of_path(facula, value.__name__.removeprefix("torch."))
    return ours


def _rebound(function: types.FunctionType, names: dict, seen: dict) -> types.FunctionType:
    cells = tuple(types.CellType() for _ in function.__closure__ or ())
    made = types.FunctionType(function.__code__, names, function.__name__, function.__defaults__, cells or None)
    made.__kwdefaults__ = function.__kwdefaults__
    seen[id(function)] = made  # before its cells: it may hold itself
    for cell, theirs in zip(cells, function.__closure__ or ()):
        cell.cell_contents = _held(theirs.cell_contents, seen)
    return made


def _held(value: Any, seen: dict) -> Any:
    """The twin of what a closure holds."""
    if id(value) in seen:
        return seen[id(value)]
    try:
        return Twins().of(value)
    except (AttributeError, LookupError):
        return value


def _path(function: Any) -> str:
    """Where PyTorch keeps a function: "nn.functional.relu"; LookupError where that is not known."""
    name = getattr(function, "__name__", "")
    module = getattr(function, "__module__", None) or ""
    public = module.split(".")[0] == "torch" and "._" not in module
    own = [module.removeprefix("torch").lstrip(".")] if public else []
    for place in (*own, *PLACES):
        try:
            if of_path(torch, f"{place}.{name}".lstrip(".")) is function:
                return f"{place}.{name}".lstrip(".")
        except AttributeError:
            continue
    raise LookupError(f"no name for {function!r}")


def function_twin(function: Any, path: str | None = None) -> Any:
    """facula's function for one of PyTorch's; AttributeError where facula has none."""
    if isinstance(function, functools.partial):
        twins = Twins()
        return functools.partial(
            function_twin(function.func), *twins.of(function.args), **twins.of(dict(function.keywords))
        )
    own = str(getattr(function, "__module__", None) or "").startswith(HELPERS)
    if path is not None and not own:
        with contextlib.suppress(AttributeError):
            path = path if of_path(torch, path) is function else None
            return of_path(facula, path or _path(function))
    if isinstance(function, types.FunctionType) and own:
        return _rebound(function, _globals(function.__module__), {})
    return of_path(facula, _path(function))


class Twins:
    """The twins of values; the same tensor has the same twin each time. `pairs`: (theirs, ours) in order of meeting."""

    def __init__(self) -> None:
        self.pairs: list[tuple[torch.Tensor, Any]] = []
        self.known: dict[int, Any] = {}
        self.memories: dict[tuple, Any] = {}

    def of(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            found = self.known.get(id(value))
            if found is None:
                found = self.known[id(value)] = tensor_twin(value, self.memories)
                self.pairs.append((value, found))
            return found
        if isinstance(value, torch.Size):
            return facula.Size(value)
        if isinstance(value, torch.nn.Module):
            return self.module(value)
        if isinstance(value, type) and value.__module__.startswith("torch.nn"):
            return of_path(facula, f"{value.__module__.removeprefix('torch.')}.{value.__name__}")
        if dataclasses.is_dataclass(value) and type(value).__module__.startswith("torch.nn"):
            fields = (field.name for field in dataclasses.fields(value))
            return self.of(type(value))(**{name: self.of(getattr(value, name)) for name in fields})
        if isinstance(value, torch.nn.utils.rnn.PackedSequence):
            return facula.nn.utils.rnn.PackedSequence(*map(self.of, value))
        if isinstance(value, tuple):
            parts = [self.of(x) for x in value]
            return (
                tuple(parts)
                if type(value) is tuple
                else type(value)(*parts)
                if hasattr(value, "_fields")
                else tuple(parts)
            )
        if isinstance(value, list):
            return [self.of(x) for x in value]
        if isinstance(value, dict):
            return {key: self.of(x) for key, x in value.items()}
        if isinstance(value, slice):
            return slice(self.of(value.start), self.of(value.stop), self.of(value.step))
        if isinstance(value, (torch.dtype, torch.layout, torch.memory_format)):
            return of_path(facula, str(value).removeprefix("torch."))
        if isinstance(value, torch.device):
            return facula.device(str(value))
        if isinstance(value, torch.Generator):
            made = facula.Generator()
            made.set_state(facula.from_numpy(value.get_state().numpy()))
            return made
        if isinstance(value, (*KINDS, functools.partial)) and (getattr(value, "__module__", None) or "").startswith(
            ("torch", "")
        ):
            if inspect.isbuiltin(value) and value.__module__ not in (None, "torch", "torch._C", "torch._C._nn"):
                return value
            try:
                return function_twin(value)
            except LookupError:
                return value
        return value

    def module(self, theirs: torch.nn.Module) -> Any:
        """The twin of a module of PyTorch's own: the same fields, parameters and submodules."""
        made = object.__new__(self.of(type(theirs)))
        made.__setstate__({name: self.of(value) for name, value in vars(theirs).items()})
        for name, parameter in theirs._parameters.items():
            if parameter is not None:
                made._parameters[name] = facula.nn.Parameter(self.of(parameter).detach(), parameter.requires_grad)
        return made


def tensor_twin(theirs: torch.Tensor, memories: dict | None = None) -> Any:
    """A tensor of facula with the same elements, strides and offset; tensors that share memory have twins that do."""
    if theirs.layout is not torch.strided:
        dense = tensor_twin(theirs.detach().to_dense())
        made = dense.to_sparse(theirs.sparse_dim())
        return made.requires_grad_(theirs.requires_grad)
    plain = theirs.detach().resolve_conj().resolve_neg()
    dtype = of_path(facula, str(plain.dtype).removeprefix("torch."))
    size, strides = tuple(plain.shape), tuple(plain.stride())
    whole, start = plain.untyped_storage(), plain.storage_offset()
    if theirs.is_conj() or theirs.is_neg():
        memories = None  # `plain` is a passing copy
    key = (whole.data_ptr(), whole.nbytes(), dtype)
    made = memories.get(key) if memories is not None else None
    if made is None:
        memory = torch.empty(0, dtype=plain.dtype).set_(whole, 0, (whole.nbytes() // plain.dtype.itemsize,))
        if plain.dtype in VIEWED:
            memory = memory.view(VIEWED[plain.dtype])
        made = facula.from_numpy(memory.clone().numpy())
        if plain.dtype in VIEWED:
            made = made.view(dtype)
        if memories is not None and key[0]:
            memories[key] = made
    if (size, strides, start) != (tuple(made.shape), made.stride(), 0):
        made = made.as_strided(size, strides, start)
    assert made.dtype is dtype, f"{made.dtype} for {dtype}"
    made = made.detach()
    return made.requires_grad_() if theirs.requires_grad else made


def twin(value: Any) -> Any:
    """The twin of one value."""
    return Twins().of(value)


def leaves(value: Any) -> list[torch.Tensor]:
    """The tensors in a value that need gradients, in order."""
    if isinstance(value, torch.Tensor):
        return [value] if value.requires_grad else []
    if isinstance(value, (list, tuple)):
        return [x for part in value for x in leaves(part)]
    if isinstance(value, dict):
        return [x for part in value.values() for x in leaves(part)]
    return []


def flat(value: Any) -> list[Any]:
    """All tensors and other values of a result, in order."""
    if isinstance(value, (list, tuple)) and type(value).__name__ != "Size":
        return [x for part in value for x in flat(part)]
    if isinstance(value, dict):
        return [x for part in value.values() for x in flat(part)]
    return [value]


def array(x: Any) -> np.ndarray:
    """The elements of either framework's tensor; what NumPy lacks as float32 or complex64."""
    x = x.detach()
    if str(x.layout) != "torch.strided":
        x = x.to_dense()
    if str(x.dtype) == "torch.bfloat16" or "float8" in str(x.dtype):
        x = x.float()
    if str(x.dtype) == "torch.complex32":
        x = x.cfloat()
    return x.resolve_conj().resolve_neg().numpy(force=True)
