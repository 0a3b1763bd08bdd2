"""Lets a watcher see one run of a model: each operator that is applied, inside the calls of modules around it.

`training/summary.py` counts with it, `plots/` and `utils/tensorboard/` draw what it saw. Nothing stays behind: the hot
path of operators is the same before and after.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from .autograd import no_grad
from .core.modes import GUARD, LOCAL
from .core.tensor import Tensor
from .nn.module import Module, register_module_forward_hook, register_module_forward_pre_hook
from .operators.intercept import transform

__all__ = ["Applied", "Record", "Visit", "Watcher", "arguments_of", "evaluating", "operator_title", "record",
           "tensors_of", "watching"]  # fmt: skip


class Watcher:
    """What may be seen; a subclass overrides what it wants."""

    def entered(self, module: Module, args: tuple) -> None:
        """A module is called."""

    def left(self, module: Module, args: tuple, result: Any) -> None:
        """The call has ended; `result` is None where it raised."""

    def applied(self, operator: Any, args: tuple, kwargs: dict, out: Any, made: Any) -> None:
        """A declared operator gave `made`; `out` is the target of in-place and out= forms."""


@contextmanager
def watching(watcher: Watcher, operators: bool = True) -> Iterator[None]:
    """In this block, in this thread, the watcher sees the calls of modules and, unless told otherwise, operators."""
    own = threading.get_ident()

    def before(module, args):
        if threading.get_ident() == own:
            with unseen():
                watcher.entered(module, args)

    def after(module, args, result):
        if threading.get_ident() == own:
            with unseen():
                watcher.left(module, args, result)

    def apply(operator, args, kwargs, out):
        with unseen():
            made = transform(operator, args, kwargs, out)
            watcher.applied(operator, args, kwargs, out, made)
            return made

    with ExitStack() as stack:
        for handle in (
            register_module_forward_pre_hook(before),
            register_module_forward_hook(after, always_call=True),
        ):
            stack.callback(handle.remove)
        if operators:
            stack.callback(setattr, LOCAL, "recorder", LOCAL.recorder)
            stack.callback(GUARD.change, -1)
            stack.callback(setattr, LOCAL, "special", LOCAL.special)
            LOCAL.recorder = apply
            LOCAL.special += 1
            GUARD.change(1)
        yield


@contextmanager
def unseen() -> Iterator[None]:
    """In this block nobody watches."""
    recorder, LOCAL.recorder = LOCAL.recorder, None
    try:
        yield
    finally:
        LOCAL.recorder = recorder


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """In this block all modules are in evaluation mode; each is put back into the one that it was in."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def tensors_of(value: Any) -> list[Tensor]:
    """The tensors in a tensor, in sequences and in mappings."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        return [t for part in value.values() for t in tensors_of(part)]
    if isinstance(value, list | tuple):
        return [t for part in value for t in tensors_of(part)]
    return []


def arguments_of(example: Any) -> tuple[tuple, dict]:
    """Positional and keyword arguments of a model, given a tensor, a sequence of arguments, or a mapping of them."""
    if isinstance(example, Mapping):
        return (), dict(example)
    if isinstance(example, list | tuple):
        return tuple(example), {}
    return (example,), {}


# Parts that names of operators have for what PyTorch's do not say: how a kernel or a view does it.
_ENDINGS = ("_rows", "_core", "_values", "_whole", "_kernel", "_shape", "_dims", "_dim", "_classes", "_along", "_part")
_TITLES = {
    "matmul_batched": "matmul", "expand_to": "expand", "attention": "scaled_dot_product_attention",
    "true_divide": "div", "basic_index": "slice", "alias_view": "alias", "stack_core": "stack",
    "embedding_rows": "embedding", "recurrent": "recurrent_layer", "filled": "fill",
    "_squared_mean": "mse_loss", "_squared_sum": "mse_loss", "_squared_none": "mse_loss",
    "_absolute_mean": "l1_loss", "_absolute_sum": "l1_loss", "_absolute_none": "l1_loss",
    "native_batch_norm": "batch_norm", "native_layer_norm": "layer_norm", "native_group_norm": "group_norm",
}  # fmt: skip


def operator_title(name: str) -> str:
    """The name of PyTorch's operator, as near as facula's own name says it.

    Examples
    --------
    >>> operator_title("softmax_rows"), operator_title("addmm_core"), operator_title("relu")
    ('softmax', 'addmm', 'relu')
    """
    if name in _TITLES:
        return _TITLES[name]
    ending = next((e for e in _ENDINGS if name.endswith(e)), "")
    return name.removesuffix(ending).strip("_")


class Write:
    """What wrote into memory without being an operator: `copy_`, `fill_` and assignments that no backward follows."""

    name = "write"


WRITE = Write()


# --- the whole run as a tree ----------------------------------------------------------------------------------------


class Visit:
    """One call of a module: what it was given and returned, the visits and operators inside it in their order."""

    __slots__ = ("inputs", "module", "name", "outputs", "parent", "parts")

    def __init__(self, module: Module | None, name: str, parent: "Visit | None", inputs: Sequence[Tensor]):
        self.module, self.name, self.parent = module, name, parent
        self.inputs, self.outputs = list(inputs), []
        self.parts: list[Visit | Applied] = []

    def path(self) -> list["Visit"]:
        """From the outermost visit to this one."""
        return [self] if self.parent is None else [*self.parent.path(), self]


class Applied:
    """One application of an operator."""

    __slots__ = ("inputs", "numbers", "operator", "outputs", "sources", "visit")

    def __init__(self, operator: Any, visit: Visit, inputs: list[Tensor], outputs: list[Tensor], numbers: dict):
        self.operator, self.visit = operator, visit
        self.inputs, self.outputs = inputs, outputs
        self.numbers = numbers  # the arguments that are no tensors, by name
        self.sources: list[Applied | None] = []  # for each input, what made it; None: it was there before

    @property
    def title(self) -> str:
        return operator_title(self.operator.name)


class Record(Watcher):
    """Everything that one run of a model did; tensors are kept, so that each stays what it is."""

    def __init__(self, model: Module):
        self.names = {id(module): name for name, module in model.named_modules()}
        self.root = self.here = Visit(None, "", None, ())
        self.order: list[Applied] = []
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self.makers: dict[int, tuple[int, Applied]] = {}  # by tensor, and by the memory that was written in place
        self.versions: dict[int, int] = {}  # of the memory that was seen
        self.result: Any = None

    def entered(self, module, args):
        name = self.names.get(id(module), type(module).__name__)
        visit = Visit(module, name, self.here, tensors_of(args))
        self.here.parts.append(visit)
        self.here = visit

    def left(self, module, args, result):
        self.here.outputs = tensors_of(result)
        assert self.here.parent is not None
        self.here = self.here.parent

    def applied(self, operator, args, kwargs, out, made):
        named = dict(zip(operator.names, args)) | kwargs
        inputs = tensors_of(list(args)) + tensors_of(kwargs)
        numbers = {n: x for n, x in named.items() if not tensors_of(x) and x is not None}
        targets = [id(t.storage) for t in tensors_of(out)]
        for t in inputs:
            if t.storage.version > self.versions.get(id(t.storage), t.storage.version) + targets.count(id(t.storage)):
                self.add(Applied(WRITE, self.here, [t], [t], {}), [id(t.storage)])
        self.add(Applied(operator, self.here, inputs, tensors_of(made), numbers), targets)

    def add(self, call: Applied, written: Sequence[int]) -> None:
        """Enter a call; `written` is the memory that it wrote in place."""
        call.sources = [self.maker(t) for t in call.inputs]
        self.here.parts.append(call)
        self.order.append(call)
        made = len(self.order), call
        self.makers.update(dict.fromkeys([*map(id, call.outputs), *written], made))
        for t in (*call.inputs, *call.outputs):
            self.versions[id(t.storage)] = t.storage.version

    def maker(self, tensor: Tensor) -> Applied | None:
        """What made a tensor's elements last: the operator that returned it, or wrote into its memory since."""
        found = [m for m in (self.makers.get(id(tensor)), self.makers.get(id(tensor.storage))) if m is not None]
        return max(found, key=lambda m: m[0])[1] if found else None


def record(model: Module, example: Any) -> Record:
    """Run a model once, in evaluation mode and without gradients, and return what it did.

    Parameters
    ----------
    model : Module
    example : Tensor, sequence, or mapping
        The model's argument, or its arguments by position or by name.

    Examples
    --------
    >>> import facula as torch
    >>> seen = record(torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU()), torch.zeros(1, 2))
    >>> [(call.title, call.visit.name) for call in seen.order]
    [('linear', '0'), ('relu', '1')]
    """
    args, kwargs = arguments_of(example)
    seen = Record(model)
    seen.inputs = tensors_of(args) + tensors_of(kwargs)
    with evaluating(model), no_grad(), watching(seen):
        seen.result = model(*args, **kwargs)
    seen.outputs = tensors_of(seen.result)
    return seen
