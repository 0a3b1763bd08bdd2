"""Sees what a thread does while a profiler looks, and records it; what is made of the records is `events`' business.

Nothing is tested while nobody looks: a profiler gives every public function (and the backward of every kind of node,
modules' calls, the loaders' steps) other code, which records and then does what it did before, and gives it back the
code that it had when the last profiler stops. Functions stay the objects that they are. Threads without a profiler of
their own are not recorded.
"""

import os
import sys
import threading
import types
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter_ns
from typing import Any

from facula import launch
from facula.autograd import engine
from facula.autograd.function import Function
from facula.autograd.node import Node, Output
from facula.core.lines import line_number
from facula.core.modes import LOCAL
from facula.core.tensor import Tensor
from facula.operators import override
from facula.operators.declare.recording import SEQUENCE

from .names import functions

__all__ = ["Record", "Recorder", "recording"]

OPERATOR, BACKWARD, USER, MODULE, GRAPH = 0, 1, 7, 8, 9  # the first three are numbers of PyTorch's RecordScope


class Record:
    """One call: times in nanoseconds, the user's line, what went in and out."""

    __slots__ = (
        "began", "done", "end", "flow", "inputs", "kind", "line", "memory", "module", "name", "numbers", "operator",
        "outputs", "parent", "sequence", "span", "stack", "start", "thread", "view", "works",
    )  # fmt: skip

    name: str
    kind: int
    parent: Any  # a Record, or None
    line: Any  # (code, instruction) of the user's line
    stack: Any  # the same of the user's line and those that called it, where asked for
    sequence: int  # of the node that was made, or that runs; -1
    operator: Any  # what was applied, where it is a declared one
    flow: Any  # of a backward: (node's class, which of its inputs need a gradient, how the node differentiates)
    inputs: Any  # the specs of tensors, tuples of specs of lists, None of others; where asked for
    numbers: Any  # the arguments that are no tensors, where asked for
    outputs: Any
    view: bool  # whether what came out is memory of what went in
    memory: int  # bytes that came into use
    module: str  # the modules whose forward it is in
    began: Any  # a mark of the recorder's clock, and the one at the end
    done: Any
    works: bool  # whether it, or a call inside, had to do with the clock's device
    span: Any  # in the end: (number of the device, stream, start, duration)


class Recorder:
    """The records of one thread."""

    def __init__(
        self, shapes: bool = False, memory: bool = False, stacks: bool = False, modules: bool = False, clock: Any = None
    ):
        self.clock, self.use_device = clock, None if clock is None else clock.kind  # see targets/cuda/clocks.py
        self.timing = clock is not None  # until it is interrupted
        self.shapes, self.memory, self.stacks, self.modules = shapes, memory, stacks, modules
        self.records: list[Record] = []
        self.one: dict[Any, Any] = {}  # equal tuples are one object: the garbage collector looks at each that is kept
        self.frees: list[int] = []  # time, bytes, time, bytes, ... of memory that changed outside all calls
        self.top: Record | None = None
        self.latest = -1  # node seen so far
        self.outer: Recorder | None = None
        self.thread = 0
        self.paused = False
        self.in_use = launch.memory()._counters if memory else (0,)
        self.left = 0
        self.started = self.stopped = 0
        self.children: dict[int, list[Record]] = {}  # by the id of the caller; `trace` fills it in

    # One call

    def begin(self, name: str, kind: int, depth: int = 3, index: int | None = None) -> Record:
        """A new record, open; `depth` frames are known to be no user's, `index` is the number of a clock's device."""
        record = Record()
        top = self.top
        record.name, record.kind, record.parent, record.thread = name, kind, top, self.thread
        record.sequence, record.flow, record.inputs, record.outputs, record.numbers = -1, None, None, None, None
        record.view, record.operator, record.works = False, None, False
        record.began = record.done = record.span = None
        record.module = "" if top is None else top.module
        if top is None or top.kind >= USER:
            line, stack = self._lines(depth)
            record.line, record.stack = self.one.setdefault(line, line), self.one.setdefault(stack, stack)
            if top is None and self.memory:
                now = self.in_use[0]
                if now != self.left:
                    self.frees += (perf_counter_ns(), now - self.left)
        else:
            record.line, record.stack = top.line, top.stack
        self.records.append(record)
        self.top = record
        record.memory = self.in_use[0]
        record.end = 0
        if self.timing:
            record.began = self.clock.mark(index)
        record.start = perf_counter_ns()
        return record

    def finish(self, record: Record) -> None:
        """The call has returned, and all that it called."""
        now = perf_counter_ns()
        in_use = self.in_use[0]
        top = self.top
        while top is not None and top is not record:  # left open by an exception
            top.end, top.memory = now, in_use - top.memory
            top = top.parent
        if record.began is not None:
            record.done = self.clock.mark(record.began[0].device.index)
        if record.works and record.parent is not None:
            record.parent.works = True
        record.end, record.memory = now, in_use - record.memory
        self.top = record.parent
        if record.parent is None:
            self.left = in_use

    def _lines(self, depth: int) -> tuple[Any, Any]:
        frame = sys._getframe(depth)
        while frame is not None and frame.f_globals.get("__name__", "")[:7] == "facula.":
            frame = frame.f_back
        if frame is None:
            return None, ()
        line = frame.f_code, frame.f_lasti
        if not self.stacks:
            return line, ()
        found = []
        while frame is not None:
            if frame.f_globals.get("__name__", "")[:7] != "facula.":
                found.append((frame.f_code, frame.f_lasti))
            frame = frame.f_back
        return line, tuple(found)

    def _one(self, found: tuple) -> tuple:
        return self.one.setdefault(found, found)

    def call(self, entry: "Entry", args: tuple, kwargs: dict) -> Any:
        """What a watched function does while this thread is recorded."""
        kind = entry.kind
        name = entry.name
        if kind is MODULE:
            if not self.modules:
                return entry.inner(*args, **kwargs)
            name = type(args[0]).__name__
        elif kind is BACKWARD:
            if name:  # of a leaf
                if args[2] is not None or args[1][0] is None:
                    return entry.inner(*args, **kwargs)
            else:
                name = args[0].name()
        elif entry.by_arguments is not None:
            try:
                name = entry.by_arguments(*args, **kwargs)
            except TypeError:  # the call itself will say what is wrong
                name = entry.function.__name__
        elif entry.of_class:
            name = args[0].__name__ if kind is OPERATOR else name.format(type(args[0]).__name__)
        before = self.latest
        device = self.use_device if self.timing else None
        index = None if device is None else place((*args, *kwargs.values()), device)
        record = self.begin(name, kind, 4, index)
        record.operator = entry.operator
        if kind is MODULE:
            record.module = f"{record.module}.{name}" if record.module else name
        elif kind is BACKWARD and not entry.name:
            node = args[0]
            record.sequence, record.line = node.sequence, node.line
            record.flow = type(node), tuple([edge is not None for edge in node.edges]), getattr(node, "back", None)
        if self.shapes and kind < USER:
            if kind is BACKWARD:
                given = args[1:] if not entry.name else args[1]
                record.inputs = self._one(specs(given))
                if not entry.name and isinstance(args[0].saved, tuple):
                    record.numbers = self._one(specs(args[0].saved))  # what it reads besides
            else:
                record.inputs = self._one(specs(args) + (specs(tuple(kwargs.values())) if kwargs else ()))
                named = tuple(kwargs.values())
                record.numbers = self._one(
                    (args_of(args), args_of(named), tuple(kwargs)) if kwargs else (args_of(args), (), ())
                )
        try:
            out = entry.inner(*args, **kwargs)
        finally:
            self.finish(record)
        own = kind is GRAPH or (kind < USER and not (kind is OPERATOR and _views(args, out)))
        if device is not None and own and not record.works:
            record.works = kind is GRAPH or index is not None or place((out,), device) is not None
            if record.works and record.parent is not None:
                record.parent.works = True
        if kind is OPERATOR:
            first = out[0] if out.__class__ is tuple and out else out
            if isinstance(first, Tensor) and (edge := first.edge) is not None:
                sequence = (edge.node if edge.__class__ is Output else edge).sequence
                if sequence > before:
                    record.sequence = sequence
                    if sequence > self.latest:
                        self.latest = sequence
        if self.shapes and kind < USER:
            record.view = kind is OPERATOR and _views(args, out)
            record.outputs = self._one(specs(out if isinstance(out, (tuple, list)) else (out,)))
        return out

    def read_clock(self) -> None:
        """What the clock's device did in the calls that had to do with it, when all is done."""
        if self.clock is not None:
            own = [r for r in self.records if r.works and r.began is not None and r.done is not None]
            for record, span in zip(own, self.clock.read([(r.began, r.done) for r in own])):
                record.span = span
        for record in self.records:
            record.began = record.done = None


def place(values: Any, device: str) -> int | None:
    """The number of the device, of this kind, on which the first tensor is that is on one; None: there is none."""
    for x in values:
        if x.__class__ in (list, tuple) and x:
            x = x[0]
        if isinstance(x, Tensor) and x.device.type == device:
            return x.device.index or 0
    return None


def _views(args: tuple, out: Any) -> bool:
    """Whether what came out is memory of what went in."""
    first, given = out[0] if out.__class__ in (tuple, list) and out else out, args[0] if args else None
    both = isinstance(first, Tensor) and isinstance(given, Tensor)
    return both and first is not given and first.storage is given.storage  # type: ignore[union-attr]


def specs(values: Any) -> tuple:
    """The spec of each tensor, of a list those of its tensors, None of anything else."""
    return tuple(
        [
            x.spec if isinstance(x, Tensor) else specs(x) if x.__class__ in (list, tuple) and _tensors(x) else None
            for x in values
        ]
    )


def _tensors(values: Any) -> bool:
    return bool(values) and isinstance(values[0], Tensor)


def args_of(values: tuple) -> tuple:
    """The arguments that hold no tensors, for traces; "" for the others."""
    return tuple(["" if isinstance(x, Tensor) or not isinstance(x, (bool, int, float, str, list, tuple)) else
                  "" if isinstance(x, (list, tuple)) and not all(isinstance(y, (bool, int, float)) for y in x) else
                  str(x) if not isinstance(x, tuple) else str(list(x)) for x in values])  # fmt: skip


# --- installing -----------------------------------------------------------------------------------------------------


class Entry:
    """A watched function: what its records are called, what it did."""

    __slots__ = ("by_arguments", "code", "function", "inner", "kind", "name", "of_class", "operator")

    def __init__(self, function: types.FunctionType, name: Any, kind: int, of_class: bool = False):
        self.function, self.kind, self.of_class = function, kind, of_class
        self.operator = getattr(function, "operator", None)
        self.name, self.by_arguments = (name, None) if isinstance(name, str) else ("", name)
        self.inner = override.twin(function)
        self.code = override.asking(function.__code__, watched, self)


def watched(entry: Entry, args: tuple, kwargs: dict) -> Any:
    """What every watched function does."""
    recorder = LOCAL.watch
    if recorder is None or recorder.paused:
        return entry.inner(*args, **kwargs)
    return recorder.call(entry, args, kwargs)


def _others() -> Iterator[tuple[Any, str, int, bool]]:
    """What is watched besides public functions."""
    from facula.nn.module import Module
    from facula.optim.optimizer import Optimizer
    from facula.utils.data.dataloader import _BaseDataLoaderIter

    kinds: list[type] = [Node]
    for kind in kinds:
        kinds += kind.__subclasses__()
    for apply in {vars(kind)["apply"] for kind in kinds[1:] if isinstance(vars(kind).get("apply"), types.FunctionType)}:
        yield apply, "", BACKWARD, False
    yield engine._leaf, "torch::autograd::AccumulateGrad", BACKWARD, False
    apply: Any = vars(Function)["apply"]
    yield getattr(apply, "__func__", apply), "", OPERATOR, True
    if (graphs := sys.modules.get("facula.cuda.graphs")) is not None:  # else there are none to be replayed
        yield graphs.CUDAGraph.replay, "cudaGraphLaunch", GRAPH, False
    yield Module.__call__, "", MODULE, False
    yield Optimizer.zero_grad, "Optimizer.zero_grad#{0}.zero_grad", USER, True
    yield _BaseDataLoaderIter.__next__, "enumerate(DataLoader)#{0}.__next__", USER, True


def _forget_in_child() -> None:
    """A process that was forked while somebody looked: nobody looks at it."""
    _RECORDERS.clear()
    LOCAL.watch = None
    _restore()
    while _HANDLES:
        _HANDLES.pop().remove()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)


_ENTRIES: dict[Any, Entry] = {}
_RECORDERS: list[Recorder] = []  # at work, in all threads
_HANDLES: list[Any] = []


def _install() -> None:
    rows: list[tuple[Any, Any, int, bool]] = [(function, name, OPERATOR, False) for function, name in functions()]
    rows += _others()
    for function, name, kind, of_class in rows:
        entry = _ENTRIES.get(function)
        if entry is None or entry.inner.__code__ is not function.__code__:  # override.install may have come between
            entry = _ENTRIES[function] = Entry(function, name, kind, of_class)
        override.WATCHED[function] = entry.inner
        if "__signature__" not in function.__dict__ and "__wrapped__" not in function.__dict__:
            function.__wrapped__ = entry.inner  # what `inspect.signature` reads
    for function in override.WATCHED:
        function.__code__ = _ENTRIES[function].code


def _restore() -> None:
    for function, inner in override.WATCHED.items():
        function.__code__ = inner.__code__
        if function.__dict__.get("__wrapped__") is inner:
            del function.__wrapped__
    override.WATCHED.clear()


def _step_hooks() -> list[Any]:
    """Optimizers' steps are seen by hooks: each class has a function of its own."""
    from facula.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

    def of_optimizer(recorder: Recorder, optimizer: Any) -> int | None:
        if recorder.use_device is None:
            return None
        first = [group["params"][0] for group in optimizer.param_groups if group["params"]]
        return place(first, recorder.use_device)

    def before(optimizer: Any, args: tuple, kwargs: dict) -> None:
        if (recorder := LOCAL.watch) is not None:
            name, index = type(optimizer).__name__, of_optimizer(recorder, optimizer)
            recorder.begin(f"Optimizer.step#{name}.step", USER, 2, index)

    def after(optimizer: Any, args: tuple, kwargs: dict) -> None:
        recorder = LOCAL.watch
        record = None if recorder is None else recorder.top
        title = f"Optimizer.step#{type(optimizer).__name__}.step"
        while record is not None and record.name != title:
            record = record.parent
        if recorder is not None and record is not None:
            record.works = record.works or of_optimizer(recorder, optimizer) is not None
            recorder.finish(record)
            if recorder.shapes:
                record.inputs, record.outputs = _stepped(optimizer)

    return [register_optimizer_step_pre_hook(before), register_optimizer_step_post_hook(after)]


def _stepped(optimizer: Any) -> tuple[tuple, tuple]:
    """The specs that a step reads and writes: parameters and state, and gradients, which it only reads."""
    kept, grads = [], []
    for group in optimizer.param_groups:
        for param in group["params"]:
            if param._grad is not None:
                grads.append(param._grad.spec)
                state = optimizer.state.get(param, {})
                kept += [param.spec, *[x.spec for x in state.values() if isinstance(x, Tensor) and x.spec.shape]]
    return (*kept, *grads), tuple(kept)


def start(recorder: Recorder) -> None:
    """Have this thread recorded from now on."""
    with override._LOCK:
        if not _RECORDERS:
            _install()
            _HANDLES.extend(_step_hooks())
        _RECORDERS.append(recorder)
    recorder.outer = LOCAL.watch
    recorder.thread = threading.get_native_id()
    recorder.latest = SEQUENCE()
    recorder.left = recorder.in_use[0]
    recorder.started = perf_counter_ns()
    LOCAL.watch = recorder


def stop(recorder: Recorder) -> None:
    """End it; what was recorded belongs to the recorder around this one too."""
    recorder.stopped = perf_counter_ns()
    top = recorder.top
    while top is not None:  # calls that are still running, of whom nothing will be heard
        recorder.finish(top)
        top = recorder.top
    recorder.read_clock()
    outer = recorder.outer
    if LOCAL.watch is recorder:
        LOCAL.watch = outer
    if outer is not None:
        for record in recorder.records:
            outer.records.append(record)
        outer.left = recorder.left
    with override._LOCK:
        if recorder in _RECORDERS:
            _RECORDERS.remove(recorder)
            if not _RECORDERS:
                _restore()
                while _HANDLES:
                    _HANDLES.pop().remove()


@contextmanager
def recording(**options: Any) -> Iterator[Recorder]:
    """A block whose calls are recorded."""
    recorder = Recorder(**options)
    start(recorder)
    try:
        yield recorder
    finally:
        stop(recorder)


def line_of(line: tuple[Any, int] | None) -> tuple[str, int, str]:
    """(file, number, function) of a code object and an instruction."""
    if line is None:
        return "", 0, ""
    code, instruction = line
    number = line_number(code, instruction) or code.co_firstlineno
    return code.co_filename, number, code.co_name
