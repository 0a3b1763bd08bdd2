"""`summary`: what each layer of a model returns, holds and costs, found by running it."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

from facula import operators as ops
from facula.autograd import no_grad
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.extras import require
from facula.nn.module import Module
from facula.nn.parameter import is_lazy
from facula.recording import Watcher, arguments_of, evaluating, tensors_of, watching

from .flops import flops_of

__all__ = ["Layer", "Summary", "summary"]


@dataclass
class Layer:
    """What is known of one module; what is inside it counts as its own."""

    name: str  # the path in the model; "" for the model itself
    kind: str  # the class
    depth: int  # 0 for the model
    aliases: list[str] = field(default_factory=list)  # further paths that lead to the same module
    calls: int = 0
    input: list[tuple[int, ...]] = field(default_factory=list)  # shapes of the first call
    output: list[tuple[int, ...]] = field(default_factory=list)
    parameters: int = 0  # values, each tensor once
    trainable: int = 0
    flops: int = 0
    bytes: int = 0  # of the tensors that its operators made; views and parameters need none
    seconds: float = 0.0


class Summary:
    """The layers of a model, printed as a table; made by `summary`.

    Attributes
    ----------
    layers : list of Layer
        The model itself first, then its modules in the order of `named_modules`.
    parameters, trainable, flops, bytes : int
    parameter_bytes : int
        Memory of parameters and buffers.
    seconds : float
        Of one forward.
    """

    def __init__(self, layers: list[Layer], parameter_bytes: int, shared: list[list[str]]):
        self.layers, self.parameter_bytes, self.shared = layers, parameter_bytes, shared
        model = layers[0]
        self.parameters, self.trainable = model.parameters, model.trainable
        self.flops, self.bytes, self.seconds = model.flops, model.bytes, model.seconds

    def __getitem__(self, name: str) -> Layer:
        """The layer with this path."""
        found = next((layer for layer in self.layers if name == layer.name or name in layer.aliases), None)
        if found is None:
            fail(KeyError, f"no layer {name!r}", expected=", ".join(repr(layer.name) for layer in self.layers))
        return found

    def __rich__(self) -> Any:
        table = require("rich.table", "training", "printing a summary")
        group = require("rich.console", "training", "printing a summary").Group
        box = require("rich.box", "training", "printing a summary")
        text = require("rich.text", "training", "printing a summary").Text
        grid = table.Table(box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
        for name in ("layer", "input", "output"):
            grid.add_column(name, no_wrap=True)
        for name in ("parameters", "FLOPs", "bytes", "time"):
            grid.add_column(name, justify="right", no_wrap=True)
        for layer in self.layers:
            label = layer.name.rpartition(".")[2]
            label = "  " * layer.depth + (f"{label}: {layer.kind}" if label else layer.kind)
            label += f" (also {', '.join(layer.aliases)})" if layer.aliases else ""
            label += f" ×{layer.calls}" if layer.calls > 1 else ""
            if not layer.calls:
                grid.add_row(label, "", "not called", f"{layer.parameters:,}" if layer.parameters else "", style="dim")
                continue
            grid.add_row(
                label,
                shapes(layer.input),
                shapes(layer.output),
                f"{layer.parameters:,}" if layer.parameters else "",
                amount(layer.flops, "", 1000) if layer.flops else "",
                amount(layer.bytes, "B", 1024) if layer.bytes else "",
                duration(layer.seconds),
            )
        lines = [
            f"parameters: {self.parameters:,} ({amount(self.parameter_bytes, 'B', 1024)} with buffers), "
            f"trainable: {self.trainable:,}",
            f"one forward: {amount(self.flops, 'FLOPs', 1000)}, {amount(self.bytes, 'B', 1024)} of results, "
            f"{duration(self.seconds)}",
        ]
        lines += [f"one parameter, counted once: {' = '.join(names)}" for names in self.shared]
        return group(grid, *[text(line) for line in lines])

    def __str__(self) -> str:
        console = require("rich.console", "training", "printing a summary").Console
        out = StringIO()
        console(file=out, width=400, color_system=None, legacy_windows=False).print(self.__rich__())
        return "\n".join(line.rstrip() for line in out.getvalue().strip("\n").splitlines())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        html = require("html", "training", "showing a summary")
        return f'<pre style="line-height: 1.2">{html.escape(str(self))}</pre>'


def shapes(found: Sequence[tuple[int, ...]]) -> str:
    """The first shapes, and that there are more."""
    text = ", ".join("×".join(map(str, shape)) or "scalar" for shape in found[:2])
    return text + (", …" if len(found) > 2 else "")


def amount(value: float, unit: str, step: int) -> str:
    """A number with the prefix that leaves at most four digits before the point."""
    prefixes = ("", "k", "M", "G", "T", "P")
    at = 0
    while abs(value) >= step and at < len(prefixes) - 1:
        value /= step
        at += 1
    digits = f"{value:.0f}" if at == 0 else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return f"{digits} {prefixes[at]}{unit}".rstrip()


def duration(seconds: float) -> str:
    """Microseconds, milliseconds or seconds."""
    for factor, unit in ((1, "s"), (1e3, "ms")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.0f} µs"


class Counting(Watcher):
    """Adds what operators cost to the modules whose calls are open."""

    def __init__(self, layers: dict[int, Layer]):
        self.layers = layers
        self.open: list[Layer | None] = []

    def entered(self, module, args):
        layer = self.layers.get(id(module))
        self.open.append(layer)
        if layer is not None:
            layer.calls += 1
            if layer.calls == 1:
                layer.input = [tuple(t.shape) for t in tensors_of(args)]

    def left(self, module, args, result):
        layer = self.open.pop()
        if layer is not None and layer.calls == 1:
            layer.output = [tuple(t.shape) for t in tensors_of(result)]

    def applied(self, operator, args, kwargs, out, made):
        flops = flops_of(operator, args, kwargs, made)
        memory = {id(t.storage) for t in [*tensors_of(list(args)), *tensors_of(kwargs)]}
        size = sum(t.numel() * t.itemsize for t in tensors_of(made) if id(t.storage) not in memory)
        for layer in {id(x): x for x in self.open if x is not None}.values():
            layer.flops += flops
            layer.bytes += size


class Timing(Watcher):
    """Seconds of each module in one run."""

    def __init__(self):
        self.seconds: dict[int, float] = {}
        self.open: list[float] = []

    def entered(self, module, args):
        self.open.append(time.perf_counter())

    def left(self, module, args, result):
        took = time.perf_counter() - self.open.pop()
        self.seconds[id(module)] = self.seconds.get(id(module), 0.0) + took


def _example(given: Any) -> tuple[tuple, dict]:
    """The arguments of the model: tensors as they are, shapes as normal numbers that no generator gave."""

    def is_shape(x: Any) -> bool:
        return isinstance(x, list | tuple) and all(isinstance(n, int) and not isinstance(n, bool) for n in x)

    def made(x: Any) -> Any:
        return ops.ones(*x) if is_shape(x) and x != () else x

    if is_shape(given):
        return (made(given),), {}
    args, kwargs = arguments_of(given)
    return tuple(made(x) for x in args), {name: made(x) for name, x in kwargs.items()}


def summary(model: Module, example: Any, *, repeats: int = 5) -> Summary:
    """Run a model and say of each layer its shapes, parameters, FLOPs, memory and time.

    The model runs in evaluation mode and without gradients; modes are put back afterwards, and random numbers are left
    alone where the model itself draws none. FLOPs are those of the operators that were called (see
    `training/flops.py`), so that functions, shared modules and parameters used directly count as well.

    Parameters
    ----------
    model : Module
    example : Tensor, shape, sequence or mapping of these
        The argument of the model, or its arguments by position or by name. For a shape, a float32 tensor of ones.
    repeats : int
        Runs that are timed; the median counts.

    Returns
    -------
    Summary
        Prints as a table (which needs the package rich: `pip install 'facula[training]'`).

    Raises
    ------
    ModuleNotFoundError
        When it is printed without rich.

    Examples
    --------
    >>> import facula as torch
    >>> from facula.training import summary
    >>> model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
    >>> found = summary(model, (32, 64))
    >>> found.parameters, found.flops, found["0"].output
    (9610, 606208, [(32, 128)])
    """
    args, kwargs = _example(example)
    with evaluating(model), no_grad():
        if any(is_lazy(p) for p in model.parameters()):
            model(*args, **kwargs)  # it finds its shapes
        layers = _layers(model)
        with watching(Counting(layers)):
            model(*args, **kwargs)
        runs = []
        for _ in range(max(1, repeats) + 1):
            timing = Timing()
            with watching(timing, operators=False):
                model(*args, **kwargs)
            runs.append(timing.seconds)
    for key, layer in layers.items():
        layer.seconds = statistics.median(run.get(key, 0.0) for run in runs[1:])
    held = {id(t): t for t in [*model.parameters(), *model.buffers()]}.values()
    return Summary(list(layers.values()), sum(t.numel() * t.itemsize for t in held), _shared(model))


def _layers(model: Module) -> dict[int, Layer]:
    """A row for each module, at the first of its paths."""
    layers: dict[int, Layer] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if id(module) in layers:
            layers[id(module)].aliases.append(name)
            continue
        depth = name.count(".") + 1 if name else 0
        layer = layers[id(module)] = Layer(name, type(module).__name__, depth)
        for p in module.parameters():
            layer.parameters += p.numel()
            layer.trainable += p.numel() if p.requires_grad else 0
    return layers


def _shared(model: Module) -> list[list[str]]:
    """Parameters with several names; several paths to one module are told with the module."""
    names: dict[int, list[str]] = {}
    for prefix, module in model.named_modules():
        for name, parameter in module._parameters.items():
            if isinstance(parameter, Tensor):
                names.setdefault(id(parameter), []).append(f"{prefix}.{name}".lstrip("."))
    return [found for found in names.values() if len(found) > 1]
