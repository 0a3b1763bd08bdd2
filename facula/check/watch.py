"""Watches a program's modules, losses, backwards and optimizers while it runs, and says what does not fit together."""

import functools
import os
import sys
import time
import weakref
from collections.abc import Callable, Iterable
from typing import Any

from facula import launch, nn, optim
from facula.autograd import engine
from facula.autograd.node import edge_of
from facula.core.lines import line_number
from facula.core.modes import grad_enabled
from facula.core.tensor import Tensor
from facula.nn import functional
from facula.nn.module import register_module_forward_hook, register_module_forward_pre_hook
from facula.nn.parameter import Parameter
from facula.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from facula.utils import data

from . import graph
from .dry.memory import COUNT
from .findings import Findings, place
from .forecast import Forecast

__all__ = ["Enough", "Watch"]

DROPOUTS = tuple(getattr(nn, n) for n in ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout"))
BATCH_NORMS = tuple(getattr(nn, n) for n in ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d"))
LOGITS = {  # loss: what it is not to be given, the kind of finding
    "cross_entropy": ({"Softmax", "LogSoftmax", "Sigmoid"}, "softmax"),
    "binary_cross_entropy_with_logits": ({"Sigmoid", "Softmax"}, "softmax"),
    "nll_loss": ({"Softmax", "Sigmoid"}, "probabilities"),
}
LOSSES = {"cross_entropy": "cross_entropy", "nll_loss": "nll_loss", "binary_cross_entropy_with_logits":
          "binary_cross_entropy_with_logits"}  # fmt: skip
ALIKE = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")  # whose operands have one shape
QUIET = 2  # batches of a loader without a new peak after which it ends
LOOKS = 8  # backwards after which a module's parameters that have no gradient never get one
MOST = 24  # batches of a loader at most


class Enough(BaseException):
    """The time that a dry run may take is over: the program ends here."""


class Pass:
    """One call of a module from the program's own code."""

    __slots__ = ("key", "layers", "module", "nodes", "place", "records", "steps")


class Line:
    """What the calls of one line had in common: how many there were, the last one, whether a backward used any."""

    __slots__ = ("count", "last", "used")

    def __init__(self):
        self.count, self.used = 0, False
        self.last: Any = None


class Watch:
    """What was seen of a program so far.

    Parameters
    ----------
    seconds : float
        How long the program may run.
    """

    def __init__(self, seconds: float):
        self.findings, self.forecast = Findings(), Forecast()
        self.end = time.monotonic() + seconds
        self.depth = 0  # of module calls
        self.passes: list[Pass] = []  # those whose results are alive and were not used yet
        self.lines: dict[tuple, Line] = {}  # all passes, by line, loader and modes
        self.latest: tuple | None = None  # the key of the last one
        self.open: Pass | None = None
        self.loader: Any = None  # the one that the last batch came from
        self.steps = self.evaluations = 0
        self.optimizers: list[Any] = []  # weak references
        self.roots: list[tuple[int, Any, Any]] = []  # (step, node, weak reference to the tensor) of each backward
        self.updated: set[int] = set()  # ids of parameters that an optimizer has
        self.last_grads: dict[int, dict[int, int]] = {}  # by optimizer: id of each parameter -> id of its gradient
        self.cleared = 0  # how often gradients were set to zero in place
        self.last_cleared = 0
        self.saved: dict[str, Any] = {}  # what the program saved, by file
        self.modules: dict[int, Trained] = {}  # those that a backward went through

    # --- installing ---------------------------------------------------------------------------------------------------

    def install(self) -> None:
        """Put this between the program and the library; for the rest of the process."""
        register_module_forward_pre_hook(self.before_module)
        register_module_forward_hook(self.after_module, always_call=True)
        register_optimizer_step_pre_hook(self.before_step)
        register_optimizer_step_post_hook(self.after_step)
        _replace(optim.Optimizer, "__init__", self.optimizer_made)
        for owner in (optim.Optimizer, nn.Module):
            _replace(owner, "zero_grad", self.clearing)
        _replace(Tensor, "zero_", self.clearing)
        _replace(engine, "run", self.backward)
        _replace(Parameter, "__new__", self.parameter_made)
        _replace(data.DataLoader, "__init__", self.loader_made)
        _replace(data.DataLoader, "__iter__", self.loader_opened)
        for name in LOGITS:
            _replace(functional, name, self.loss_of_logits)
        for name in ALIKE:
            _replace(functional, name, self.loss_of_alike)
        public = sys.modules["facula"]  # the names that programs use
        _replace(public, "save", self.saving)
        _replace(public, "load", self.loading)

    def tick(self) -> None:
        """End the program where its time is over."""
        if time.monotonic() > self.end:
            raise Enough

    # --- parameters, data, files --------------------------------------------------------------------------------------

    def parameter_made(self, make: Callable, *args, **kwargs) -> Any:
        new = make(*args, **kwargs)
        return launch.forget(new)

    def loader_made(self, make: Callable, loader, *args, **kwargs) -> None:
        for name in ("num_workers", "prefetch_factor", "persistent_workers", "multiprocessing_context", "pin_memory"):
            kwargs.pop(name, None)  # batches are few: this process makes them
        make(loader, *args[:5], *[0] * (len(args) > 5), **kwargs)

    def loader_opened(self, open_: Callable, loader) -> "Batches":
        return Batches(self, loader, open_(loader))

    def saving(self, save: Callable, obj, f, *args, **kwargs) -> None:
        """Files are kept here: those of earlier runs stay as they are."""
        if isinstance(f, (str, os.PathLike)):
            self.saved[os.path.abspath(f)] = obj
        else:
            save(obj, f, *args, **kwargs)

    def loading(self, load: Callable, f, *args, **kwargs) -> Any:
        if isinstance(f, (str, os.PathLike)) and (file := os.path.abspath(f)) in self.saved:
            return self.saved[file]
        return load(f, *args, **kwargs)

    # --- modules and losses -------------------------------------------------------------------------------------------

    def before_module(self, module, args) -> None:
        self.depth += 1
        if self.depth > 1:
            return
        self.tick()
        self.forecast.before_forward(args)
        now = self.open = Pass()
        now.place = place(2)
        now.module = weakref.ref(module)
        now.records = grad_enabled()
        now.nodes, now.steps = [], self.steps
        now.layers = _training_layers(module)
        now.key = (now.place, id(self.loader), module.training, now.records)

    def after_module(self, module, args, result) -> None:
        self.depth -= 1
        now = self.open
        if self.depth or now is None:
            return
        self.open = None
        nodes = [graph.node_of(edge_of(x)) for x in graph.tensors_in(result)]
        now.nodes = [weakref.ref(n) for n in nodes if n is not None]
        now.records = now.records and bool(now.nodes)
        if isinstance(module, nn.modules.loss._Loss):
            return
        if self.steps:
            self.evaluations += not now.records
        self.latest = now.key
        line = self.lines.setdefault(now.key, Line())
        line.count, line.last = line.count + 1, now
        if now.nodes:
            self.passes.append(now)

    def loss_of_logits(self, loss: Callable, input, *args, **kwargs) -> Any:
        wrong, kind = LOGITS[loss.__name__]
        if isinstance(input, Tensor) and (made := graph.maker(input)) in wrong:
            self.findings.add(kind, place(2), loss=loss.__name__, given=_words(made))
        return loss(input, *args, **kwargs)

    def loss_of_alike(self, loss: Callable, input, target, *args, **kwargs) -> Any:
        if isinstance(input, Tensor) and isinstance(target, Tensor):
            a, b = tuple(input.shape), tuple(target.shape)
            if a != b and input.dim() and target.dim() and input.numel() > 1 and target.numel() > 1:
                try:
                    result = tuple(loss.__globals__["ops"].broadcast_shapes(a, b))
                except RuntimeError:
                    result = None  # the loss says so itself
                if result is not None:
                    self.findings.add("broadcast", place(2), input=a, target=b, result=result)
        return loss(input, target, *args, **kwargs)

    # --- backward and steps -------------------------------------------------------------------------------------------

    def backward(self, run: Callable, roots, grads, **options) -> Any:
        self.tick()
        here = set()
        for node in graph.nodes_below([edge_of(t) for t in roots]):
            here.add(id(node))
            if self.steps < 3 and (found := graph.spoilt(node)) is not None:
                self._spoilt(node, found)
        waiting = []
        for one in self.passes:
            alive = [id(n) for ref in one.nodes if (n := ref()) is not None]
            if not alive:
                continue
            if here.isdisjoint(alive):
                waiting.append(one)
            else:
                self.lines[one.key].used = True
                if (module := one.module()) is not None and id(module) not in self.modules:
                    self.modules[id(module)] = Trained(module, one.place)
        self.passes = waiting
        for t in roots:
            node = graph.node_of(edge_of(t))
            if node is not None and options.get("accumulate", True):
                self.roots.append((self.steps, weakref.ref(node), weakref.ref(t)))
        del self.roots[:-64]
        made = run(roots, grads, **options)
        for trained in self.modules.values():
            trained.look()
        return made

    def _spoilt(self, node, shapes: tuple) -> None:
        where = node.line
        if where is not None:
            code, instruction = where
            line = line_number(code, instruction) or 0
            a, b, result = shapes
            self.findings.add("broadcast", (code.co_filename, line), input=a, target=b, result=tuple(result))

    def clearing(self, clear: Callable, *args, **kwargs) -> Any:
        self.cleared += 1
        return clear(*args, **kwargs)

    def optimizer_made(self, make: Callable, optimizer, *args, **kwargs) -> None:
        make(optimizer, *args, **kwargs)
        optimizer.__dict__["_made_at"] = place(2)
        self.optimizers.append(weakref.ref(optimizer))

    def before_step(self, optimizer, args, kwargs) -> None:
        self.tick()
        grads = {id(p): id(p.grad) for p in _parameters_of(optimizer) if p.grad is not None}
        before = self.last_grads.get(id(optimizer))
        closure = any(callable(x) for x in (*args[1:], *kwargs.values()))  # it clears them itself, inside the step
        same = before is not None and not closure and any(before.get(p) == g for p, g in grads.items())
        if same and self.cleared == self.last_cleared:
            self.findings.add("zero_grad", place(2), optimizer=type(optimizer).__name__)
        self.updated.update(map(id, _parameters_of(optimizer)))
        self.forecast.at_step(self._optimizers())

    def after_step(self, optimizer, args, kwargs) -> None:
        self.steps += 1
        self.last_grads[id(optimizer)] = {id(p): id(p.grad) for p in _parameters_of(optimizer) if p.grad is not None}
        self.last_cleared = self.cleared
        self.forecast.at_step(self._optimizers())
        # The loaders' passes that trained are those of the batch size to be told.
        if self.loader is not None:
            self.forecast.batch = self.loader.batch_size or self.forecast.batch
        if self.steps in (4, 8):
            self._kept_graphs()

    def _optimizers(self) -> list[Any]:
        return [o for ref in self.optimizers if (o := ref()) is not None]

    def _kept_graphs(self) -> None:
        """Tensors that hold the graphs of several steps: sums of losses, lists of them."""
        living = [(step, node, t()) for step, ref, t in self.roots if (node := ref()) is not None]
        marks = {id(node): step for step, node, _ in living}
        alive = [(node, t) for step, node, t in living if step < self.steps - 2 and t is not None]
        old = {id(t) for _, t in alive}
        for x in graph.whole_graphs():
            if id(x) not in old and len(graph.reached(x, marks)) > 2:
                node = graph.node_of(x.edge)
                assert node is not None
                self.findings.add("kept_graph", _line_of(node), what="a sum of losses")
        if len(alive) > 1:
            self.findings.add("kept_graph", _line_of(alive[0][0]), what=f"a collection of {len(alive)} or more losses")

    # --- at the end ---------------------------------------------------------------------------------------------------

    def conclude(self, whole: bool) -> None:
        """What can be said only when the program has ended; `whole`: it came to its end by itself."""
        if not self.steps:
            return
        for key, line in self.lines.items():
            one = line.last
            module = one.module()
            if module is None or line.used or not one.steps or (not whole and key == self.latest and line.count == 1):
                continue
            if one.layers:
                self.findings.add("eval", one.place, module=type(module).__name__, layers=one.layers)
            if one.records:
                self.findings.add("no_grad", one.place, module=type(module).__name__)
        self._parameters()

    def _parameters(self) -> None:
        told: set[int] = set()
        first = next((o for o in self._optimizers()), None)
        for trained in self.modules.values():
            fresh = {n: p for n, p in trained.names.items() if p not in told}
            if trained.module() is not None:
                told.update(fresh.values())
            idle = [n for n in fresh if n not in trained.received]
            loose = [n for n, p in fresh.items() if n in trained.received and p not in self.updated]
            if idle:
                self.findings.add("no_gradient", trained.place, names=_some(idle), module=trained.title)
            if loose:
                where = trained.place if first is None else first._made_at
                self.findings.add("no_optimizer", where, names=_some(loose), module=trained.title)


class Trained:
    """A module that a backward went through, and its parameters that want gradients, by name; nothing is kept alive."""

    __slots__ = ("looks", "module", "names", "place", "received", "title")

    def __init__(self, module: Any, where: tuple[str, int]):
        self.module, self.place, self.title = weakref.ref(module), where, type(module).__name__
        self.names = {name: id(p) for name, p in module.named_parameters() if p.requires_grad}

        self.looks = 0
        self.received: set[str] = set()  # the names of those that had a gradient

    def look(self) -> None:
        """See which have one now."""
        if self.looks < LOOKS and (module := self.module()) is not None:
            self.looks += 1
            self.received.update(name for name, p in module.named_parameters() if p.grad is not None)


class Batches:
    """A pass over a loader that ends where nothing new comes."""

    def __init__(self, watch: Watch, loader: Any, inner: Any):
        self.watch, self.loader, self.inner = watch, loader, inner
        self.count = self.quiet = 0
        self.peak = 0

    def __iter__(self) -> "Batches":
        return self

    def __len__(self) -> int:
        return len(self.inner)

    def __next__(self) -> Any:
        self.watch.tick()
        self.quiet = self.quiet + 1 if COUNT.peak <= self.peak else 0
        self.peak = COUNT.peak
        if self.count >= MOST or (self.count >= 2 and self.quiet >= QUIET):
            raise StopIteration
        self.count += 1
        batch = next(self.inner)
        self.watch.loader = self.loader
        return batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def _replace(owner: Any, name: str, wrapper: Callable) -> None:
    """Have `wrapper(old, *args, **kwargs)` called in place of a function or method."""
    old = owner.__dict__[name] if name in owner.__dict__ else getattr(owner, name)
    static = isinstance(old, staticmethod)
    old = old.__func__ if static else old

    @functools.wraps(old)
    def new(*args, **kwargs):
        return wrapper(old, *args, **kwargs)

    setattr(owner, name, staticmethod(new) if static else new)


def _parameters_of(optimizer) -> Iterable[Tensor]:
    return (p for group in optimizer.param_groups for p in group["params"])


def _training_layers(module) -> str:
    """What in a module acts otherwise in training: "2 Dropout, 1 BatchNorm2d"; "" where nothing does."""
    count: dict[str, int] = {}
    for part in module.modules():
        on = part.training and (
            (isinstance(part, DROPOUTS) and part.p > 0) or (isinstance(part, BATCH_NORMS) and part.track_running_stats)
        )
        if on:
            count[type(part).__name__] = count.get(type(part).__name__, 0) + 1
    return ", ".join(f"{n} {name}" for name, n in count.items())


def _line_of(node) -> tuple[str, int]:
    code, instruction = node.line
    return code.co_filename, line_number(code, instruction) or 0


def _words(title: str) -> str:
    return {"LogSoftmax": "log_softmax"}.get(title, title.lower())


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
