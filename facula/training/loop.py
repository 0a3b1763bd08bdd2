"""`fit`, `evaluate`, `predict`: the loops that programs write by hand, with what these usually have around them."""

import inspect
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from facula import operators as ops
from facula.autograd import no_grad
from facula.core.generator import Generator
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.nn.module import Module
from facula.nn.utils.clip_grad import clip_grad_norm_, clip_grad_value_
from facula.optim.lr_scheduler import ReduceLROnPlateau
from facula.optim.optimizer import Optimizer
from facula.recording import evaluating
from facula.utils.data import DataLoader, Dataset, TensorDataset

from .callbacks import Callback, EarlyStopping, HistoryFile, KeepBest, Progress
from .history import History
from .metrics import Metric

__all__ = ["Run", "evaluate", "fit", "predict"]

PENDING = 64  # losses taken in at once: one wait on an accelerator for so many steps
TICK = 0.1  # seconds between calls of `on_tick`

Loss = Callable[[Any, Any], Tensor]
Unpack = Callable[[Any], tuple[Any, Any]]


class Losses:
    """The mean of many losses, weighted by the sizes of their batches.

    On an accelerator losses are kept unread, since reading one waits for it: `read` takes in many with one wait. On a
    CPU a loss is there when its operator returns, and reading it at once costs a twentieth of what keeping it does
    (40 ns against 1.2 us: its memory and records would not be used again by the next step).
    """

    __slots__ = ("latest", "pending", "sizes", "total", "weight")

    def __init__(self):
        self.pending: list[Any] = []  # numbers on a CPU, else tensors
        self.sizes: list[tuple[int, int]] = []  # from which of them on batches have which size
        self.total, self.weight = 0.0, 0
        self.latest: float | None = None

    def read(self) -> float | None:
        """Take in what is pending; the latest loss."""
        values = self.pending
        if values:
            if isinstance(values[0], Tensor):
                values = ops.stack(values).tolist()  # type: ignore[attr-defined]
            ends = [start for start, _ in self.sizes[1:]] + [len(values)]
            for (start, size), end in zip(self.sizes, ends):
                self.total += math.fsum(values[start:end]) * size
                self.weight += (end - start) * size
            self.latest = values[-1]
            self.pending.clear()
            self.sizes[:] = [(0, self.sizes[-1][1])]
        return self.latest

    def add(self, value: Tensor, target: Any) -> None:
        """Add the loss of a batch; the loop of `fit` does the same without a call."""
        size = batch_size_of(target.spec if isinstance(target, Tensor) else None)
        if not self.sizes or self.sizes[-1][1] != size:
            self.sizes.append((len(self.pending), size))
        self.pending.append(value.detach() if value.device.type != "cpu" else value.item())  # type: ignore
        if len(self.pending) >= PENDING:
            self.read()

    def mean(self) -> float:
        self.read()
        return self.total / self.weight if self.weight else float("nan")


def batch_size_of(spec: Any) -> int:
    """Samples of a batch, by the spec of its target."""
    return spec.shape[0] if spec is not None and spec.shape else 1


class Run:
    """The state of a training run, as callbacks see it.

    Attributes
    ----------
    model : Module
    optimizer : Optimizer
    history : History
    first, last : int
        Numbers of the first and the last epoch.
    epoch : int
        The number of this epoch, from 1; 0 before the first.
    step : int
        Batches done since the beginning.
    steps : int or None
        Batches an epoch; None where the data does not say.
    row : dict
        The numbers of the epoch that has just ended.
    monitor : str
        The column that tells whether the model is better.
    stopped : str or None
        Why training ends.
    """

    def __init__(self, model: Module, optimizer: Optimizer, history: History, epochs: int, steps: int | None):
        self.model, self.optimizer, self.history = model, optimizer, history
        self.first = int(history.last.get("epoch", 0)) + 1
        self.last = self.first + epochs - 1
        self.epoch, self.step, self.steps = 0, 0, steps
        self.row: dict[str, Any] = {}
        self.monitor = "loss"
        self.stopped: str | None = None
        self.losses = Losses()

    @property
    def loss(self) -> float | None:
        """The loss of the latest batch; reading it waits for an accelerator to have computed it."""
        return self.losses.read()

    def stop(self, reason: str) -> None:
        """End training after this step, or this epoch where it has just ended."""
        self.stopped = self.stopped or reason


def fit(
    model: Module,
    data: Any,
    loss: Loss,
    optimizer: Optimizer,
    epochs: int = 1,
    *,
    metrics: Sequence[Metric] = (),
    validation: Any = None,
    callbacks: Sequence[Callback] = (),
    scheduler: Any = None,
    schedule: str = "epoch",
    clip_norm: float | None = None,
    clip_value: float | None = None,
    accumulate: int = 1,
    patience: int | None = None,
    min_delta: float = 0.0,
    monitor: str | None = None,
    keep_best: bool | None = None,
    best_file: str | os.PathLike | None = None,
    history: History | None = None,
    history_file: str | os.PathLike | None = None,
    progress: bool | None = None,
    batch_size: int = 32,
    device: Any = None,
    unpack: Unpack | None = None,
) -> History:
    """Train a model.

    Each step is `optimizer.zero_grad(); loss(model(inputs), target).backward(); optimizer.step()`, in training mode. On
    accelerators the loss is read every 64 steps, at the end of an epoch, and when somebody looks: reading it waits.
    Ctrl-C ends training as if it were over: the history of the epochs that ended and the best model are there, and
    `history.stopped` says "interrupted".

    Parameters
    ----------
    model : Module
    data : DataLoader, iterable of batches, Dataset, or tuple of tensors
        A batch is (inputs, target), or (input, input, ..., target). Inputs that are a list or tuple are arguments by
        position, those that are a dict are arguments by name. Of a Dataset or tensors (inputs, targets), batches of
        `batch_size` are made in a new random order each epoch.
    loss : callable
        (output, target) to a tensor with one element.
    optimizer : Optimizer
    epochs : int
    metrics : sequence of Metric
        Measured on the validation set, or on the training batches where there is none.
    validation : as `data`, optional
        Evaluated after each epoch.
    callbacks : sequence of Callback
    scheduler : learning-rate scheduler, optional
        Stepped after each epoch, `ReduceLROnPlateau` with what is monitored; with `schedule="step"`, after each step.
    clip_norm, clip_value : float, optional
        As for `nn.utils.clip_grad_norm_` and `clip_grad_value_`.
    accumulate : int
        Batches whose mean gradient makes one step.
    patience, min_delta
        As for `EarlyStopping`: end when what is monitored has not become better for so many epochs.
    monitor : str, optional
        The column that tells which epoch is better; default "validation loss", or "loss" without validation.
    keep_best : bool, optional
        Whether the model has the parameters of its best epoch at the end; by default where there is a validation set.
    best_file : path, optional
        Where to save the best state dict as it comes.
    history : History, optional
        That of an earlier run: epochs count on from its last one, and its rows stay.
    history_file : path, optional
        A CSV file that has a row for each epoch, replaced in one step.
    progress : bool, optional
        Whether to show a progress bar; None: on terminals and in notebooks. It needs tqdm
        (`pip install 'facula[training]'`).
    device : device, optional
        Where the model and each batch go.
    unpack : callable, optional
        Makes (inputs, target) of a batch.

    Returns
    -------
    History

    Raises
    ------
    ValueError
        Arguments that exclude each other, or batches that are no pairs.

    Examples
    --------
    >>> import facula as torch
    >>> from facula.training import MSE, fit
    >>> _ = torch.manual_seed(0)
    >>> x = torch.linspace(0, 1, 64).reshape(-1, 1)
    >>> model = torch.nn.Linear(1, 1)
    >>> optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    >>> history = fit(model, (x, 2 * x + 1), torch.nn.MSELoss(), optimizer, epochs=90, metrics=[MSE()])
    >>> history["loss"][-1] < 1e-3, history["MSE"][-1] < 1e-3
    (True, True)
    """
    if schedule not in ("epoch", "step"):
        fail(ValueError, f"{schedule!r} is not a valid value for schedule", expected="'epoch' or 'step'")
    if schedule == "step" and isinstance(scheduler, ReduceLROnPlateau):
        fail(ValueError, "fit(): ReduceLROnPlateau looks at what an epoch measured", mend='schedule="epoch"')
    for name, value in (("epochs", epochs), ("accumulate", accumulate)):
        if value < 1:
            fail(ValueError, f"fit(): {name} must be at least 1", got=value)
    batches = _batches(data, batch_size, shuffle=True, epochs=epochs)
    checks = None if validation is None else _batches(validation, max(batch_size, 256), shuffle=False, epochs=epochs)
    history = History() if history is None else history
    history.stopped = None
    run = Run(model, optimizer, history, epochs, _length(batches))
    run.monitor = monitor or ("validation loss" if checks is not None else "loss")
    if device is not None:
        model.to(device)
    hooks = [*callbacks]
    if keep_best or best_file is not None or (keep_best is None and checks is not None):
        hooks.append(KeepBest(best_file, run.monitor))
    if patience is not None:
        hooks.append(EarlyStopping(patience, min_delta, run.monitor))
    if history_file is not None:
        hooks.append(HistoryFile(history_file))
    if progress is not False:
        hooks.append(Progress(progress))
    step = _stepper(run, loss, accumulate, clip_norm, clip_value, scheduler if schedule == "step" else None)
    was_training = model.training
    try:
        for hook in hooks:
            hook.on_start(run)
        for epoch in range(run.first, run.last + 1):
            run.epoch = epoch
            for hook in hooks:
                hook.on_epoch_start(run)
            start = time.perf_counter()
            run.losses = Losses()
            model.train()
            measured = metrics if checks is None else ()
            for metric in measured:
                metric.reset()
            step(batches, _hooked(hooks, "on_step"), _hooked(hooks, "on_tick"), measured, device, unpack)
            mean = run.losses.mean()
            row = {"epoch": run.epoch, "loss": mean, "lr": optimizer.param_groups[0]["lr"]}
            row |= {metric.name: metric.compute() for metric in measured}
            if checks is not None:
                found = evaluate(model, checks, loss, metrics, device=device, unpack=unpack)
                row |= {f"validation {name}": value for name, value in found.items()}
            row["seconds"] = time.perf_counter() - start
            run.row = row
            history.rows.append(row)
            if mean != mean or mean in (float("inf"), float("-inf")):
                run.stop(f"the loss is {mean}")
            if schedule == "epoch" and scheduler is not None:
                plateau = isinstance(scheduler, ReduceLROnPlateau)
                scheduler.step(row[run.monitor]) if plateau else scheduler.step()
            for hook in hooks:
                hook.on_epoch_end(run)
            if run.stopped:
                break
    except KeyboardInterrupt:
        run.stop("interrupted")
    finally:
        history.stopped = run.stopped
        model.train(was_training)
        for hook in hooks:
            hook.on_end(run)
    return history


def _hooked(hooks: Sequence[Callback], name: str) -> list[Callable[[Run], None]]:
    """The hooks of this name that somebody defined."""
    return [getattr(h, name) for h in hooks if getattr(type(h), name, None) is not getattr(Callback, name)]


def _stepper(
    run: Run,
    loss: Loss,
    accumulate: int,
    clip_norm: float | None,
    clip_value: float | None,
    scheduler: Any,
) -> Callable[..., None]:
    """The function that trains for one epoch."""
    model, optimizer = run.model, run.optimizer
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    clips = clip_norm is not None or clip_value is not None
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    needs_closure = closure is not None and closure.default is inspect.Parameter.empty
    if needs_closure and accumulate > 1:
        fail(ValueError, f"fit(): {type(optimizer).__name__} evaluates its loss itself", mend="leave out accumulate")

    def clip() -> None:
        if clip_norm is not None:
            clip_grad_norm_(parameters, clip_norm)
        if clip_value is not None:
            clip_grad_value_(parameters, clip_value)

    def epoch(batches, on_step, on_tick, metrics, device, unpack) -> None:
        losses = run.losses
        pending, sizes, size_of = losses.pending, losses.sizes, None
        zero_grad, step, now = optimizer.zero_grad, optimizer.step, time.perf_counter
        watched = bool(on_step or on_tick or metrics or scheduler is not None)
        plain = unpack is None and device is None and accumulate == 1 and not needs_closure and not clips
        read = all(p.device.type == "cpu" for p in parameters)
        due = now() + TICK
        done = 0  # batches of the group that makes a step
        group = accumulate
        count, before = 0, run.step
        for batch in batches:
            if (
                plain
                and (batch.__class__ is list or batch.__class__ is tuple)
                and len(batch) == 2
                and batch[0].__class__ is Tensor
            ):
                inputs, target = batch
                zero_grad()
                if metrics:
                    output = model(inputs)
                    value = loss(output, target)
                else:
                    value = loss(model(inputs), target)  # nobody holds the output: its memory is used again at once
                value.backward()
                step()
                stepped = True
            else:
                inputs, target = _pair(batch) if unpack is None else unpack(batch)
                if device is not None:
                    inputs, target = _move(inputs, device), _move(target, device)
                if done == 0:
                    zero_grad()
                    group = accumulate if run.steps is None else min(accumulate, run.steps - count)
                if needs_closure:
                    output, value = _closed_step(optimizer, model, loss, inputs, target, clip if clips else None)
                    done = group
                else:
                    output = _call(model, inputs)
                    value = loss(output, target)
                    value.backward() if group == 1 else value.backward(ops.full_like(value, 1.0 / group))
                    done += 1
                    if done == group:
                        if clips:
                            clip()
                        step()
                stepped = done == group
                if stepped:
                    done = 0
            count += 1
            spec = target.spec if isinstance(target, Tensor) else None
            if spec is not size_of or not sizes:
                size_of = spec
                sizes.append((len(pending), batch_size_of(spec)))
            if read:
                pending.append(value.item())
            else:
                pending.append(value.detach())
                if len(pending) == PENDING:
                    losses.read()
            if watched:
                run.step = before + count
                if metrics:
                    with no_grad():
                        for metric in metrics:
                            metric.update(output.detach(), target)
                if stepped and scheduler is not None:
                    scheduler.step()
                if stepped:
                    for hook in on_step:
                        hook(run)
                if on_tick and now() >= due:
                    for hook in on_tick:
                        hook(run)
                    due = now() + TICK
                if run.stopped:
                    return
        run.step = before + count
        if done:  # fewer batches than were expected: their mean still makes a step
            with no_grad():
                for p in parameters:
                    if p.grad is not None:
                        p.grad.mul_(group / done)
            if clips:
                clip()
            step()
            if scheduler is not None:
                scheduler.step()
            for hook in on_step:
                hook(run)

    return epoch


def _closed_step(optimizer: Any, model: Module, loss: Loss, inputs: Any, target: Any, clip: Any) -> tuple[Any, Tensor]:
    """A step of an optimizer that evaluates the loss itself; the output and loss of its first evaluation."""
    first: list[Any] = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        output = _call(model, inputs)
        value = loss(output, target)
        value.backward()  # type: ignore[attr-defined]
        if clip is not None:
            clip()
        if not first:
            first.extend((output, value))
        return value

    optimizer.step(closure)
    return first[0], first[1]


# --- evaluation -----------------------------------------------------------------------------------------------------


def evaluate(
    model: Module,
    data: Any,
    loss: Loss | None = None,
    metrics: Sequence[Metric] = (),
    *,
    batch_size: int = 256,
    device: Any = None,
    unpack: Unpack | None = None,
) -> dict[str, Any]:
    """The mean loss and the metrics over data, in evaluation mode and without gradients.

    Parameters
    ----------
    model, data, loss, metrics, batch_size, device, unpack
        As for `fit`; tensors and datasets are taken in their order.

    Returns
    -------
    dict
        "loss" (where one is given) and each metric by its name.

    Examples
    --------
    >>> import facula as torch
    >>> from facula.training import MAE, evaluate
    >>> x = torch.ones(4, 2)
    >>> evaluate(torch.nn.Identity(), (x, x - 0.5), torch.nn.MSELoss(), [MAE()])
    {'loss': 0.25, 'MAE': 0.5}
    """
    losses = Losses()
    for metric in metrics:
        metric.reset()
    with evaluating(model), no_grad():
        for batch in _batches(data, batch_size, shuffle=False, epochs=1):
            inputs, target = _pair(batch) if unpack is None else unpack(batch)
            if device is not None:
                inputs, target = _move(inputs, device), _move(target, device)
            output = _call(model, inputs)
            if loss is not None:
                losses.add(loss(output, target), target)
            for metric in metrics:
                metric.update(output, target)
    found: dict[str, Any] = {} if loss is None else {"loss": losses.mean()}
    return found | {metric.name: metric.compute() for metric in metrics}


def predict(
    model: Module, data: Any, *, batch_size: int = 256, device: Any = None, unpack: Unpack | None = None
) -> Tensor:
    """The outputs for all data, joined along dim 0, in evaluation mode and without gradients.

    Parameters
    ----------
    model : Module
        Its output is a tensor.
    data : Tensor, or as for `fit`
        Batches may be inputs alone (a tensor) or have a target, which is left aside.

    Examples
    --------
    >>> import facula as torch
    >>> from facula.training import predict
    >>> predict(torch.nn.Flatten(), torch.zeros(5, 2, 3)).shape
    torch.Size([5, 6])
    """
    outputs = []
    if isinstance(data, Tensor):
        data = TensorDataset(data)
    with evaluating(model), no_grad():
        for batch in _batches(data, batch_size, shuffle=False, epochs=1):
            if unpack is not None:
                inputs = unpack(batch)[0]
            else:
                alone = isinstance(batch, Tensor) or (isinstance(batch, list | tuple) and len(batch) == 1)
                inputs = batch if isinstance(batch, Tensor) else batch[0] if alone else _pair(batch)[0]
            output = _call(model, inputs if device is None else _move(inputs, device))
            if not isinstance(output, Tensor):
                fail(TypeError, "predict(): the model's output must be a Tensor", got=type(output).__name__)
            outputs.append(output)
    if not outputs:
        fail(ValueError, "predict(): no batches")
    return ops.cat(outputs)  # type: ignore[attr-defined]


# --- batches --------------------------------------------------------------------------------------------------------


def _batches(data: Any, batch_size: int, shuffle: bool, epochs: int) -> Iterable[Any]:
    """What is gone through once an epoch."""
    if isinstance(data, tuple) and data and all(isinstance(x, Tensor) for x in data):
        data = TensorDataset(*data)
    if isinstance(data, Dataset):
        by_index = hasattr(data, "__getitem__") and hasattr(data, "__len__")
        if not shuffle:  # a loader draws a seed for each pass: evaluation leaves the default generator alone
            return DataLoader(data, batch_size, generator=Generator())
        return DataLoader(data, batch_size, shuffle=by_index)
    if not hasattr(data, "__iter__"):
        fail(TypeError, "data must be gone through in batches", expected="a DataLoader, a Dataset, an iterable or "
             "tensors (inputs, targets)", got=type(data).__name__)  # fmt: skip
    if epochs > 1 and iter(data) is data:
        fail(
            ValueError,
            f"data is an iterator: it is empty after one of {epochs} epochs",
            mend="pass a DataLoader, a list, or an object whose __iter__ begins anew",
        )
    return data


def _length(batches: Iterable[Any]) -> int | None:
    """How many batches an epoch has, where that is known."""
    try:
        return len(batches)  # type: ignore[arg-type]
    except TypeError:
        return None


def _pair(batch: Any) -> tuple[Any, Any]:
    """(inputs, target) of a batch."""
    if not isinstance(batch, list | tuple) or len(batch) < 2:
        got = f"{len(batch)} parts" if isinstance(batch, list | tuple) else type(batch).__name__
        fail(
            ValueError,
            "a batch is no pair (inputs, target)",
            expected="(inputs, target) or (input, input, ..., target)",
            got=got,
            mend="say what they are: unpack=lambda batch: (inputs, target)",
        )
    return (batch[0] if len(batch) == 2 else list(batch[:-1])), batch[-1]


def _call(model: Module, inputs: Any) -> Any:
    """The model's output for inputs by position or by name."""
    if isinstance(inputs, Tensor):
        return model(inputs)
    if isinstance(inputs, Mapping):
        return model(**inputs)
    if isinstance(inputs, list | tuple):
        return model(*inputs)
    return model(inputs)


def _move(value: Any, device: Any) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)  # type: ignore[attr-defined]
    if isinstance(value, Mapping):
        return {name: _move(x, device) for name, x in value.items()}
    if isinstance(value, list | tuple):
        return [_move(x, device) for x in value]
    return value
