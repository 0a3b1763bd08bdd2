"""What may happen beside training: stopping early, keeping the best model, files, a progress bar; your own too."""

import os
import sys
from typing import TYPE_CHECKING, Any

from facula.errors import fail
from facula.extras import require

if TYPE_CHECKING:
    from .loop import Run

__all__ = ["Callback", "EarlyStopping", "HistoryFile", "KeepBest", "Progress", "ToTensorBoard", "better"]


class Callback:
    """Hooks that `fit` calls with the `Run`; a subclass defines those that it needs, the others cost nothing.

    Examples
    --------
    >>> from facula.training import Callback
    >>> class Print(Callback):
    ...     def on_epoch_end(self, run):
    ...         print(run.row["epoch"], run.row["loss"])
    """

    def on_start(self, run: "Run") -> None:
        """Before the first epoch."""

    def on_epoch_start(self, run: "Run") -> None:
        """Before the first batch of an epoch; `run.epoch` is its number."""

    def on_step(self, run: "Run") -> None:
        """After each step of the optimizer. `run.loss` reads the loss, which costs a wait on accelerators."""

    def on_tick(self, run: "Run") -> None:
        """Some times a second, after a batch."""

    def on_epoch_end(self, run: "Run") -> None:
        """After an epoch and its validation; `run.row` has the numbers and may be added to."""

    def on_end(self, run: "Run") -> None:
        """After the last epoch, also where training was interrupted."""


def better(name: str) -> int:
    """-1 where a smaller value of a column is better, 1 where a larger one is: what is called a loss or an error."""
    words = name.lower().replace("_", " ").split()
    return -1 if words[-1] in ("loss", "mae", "mse", "error", "perplexity", "seconds") else 1


class _Watching(Callback):
    """What looks at one column, and knows since when it has not become better."""

    def __init__(self, monitor: str | None, min_delta: float = 0.0):
        self.monitor, self.min_delta = monitor, min_delta
        self.best: float | None = None
        self.best_epoch: int | None = None

    def improved(self, run: "Run") -> bool:
        name = self.monitor or run.monitor
        value = run.row.get(name)
        if not isinstance(value, int | float):
            numbers = [n for n, x in run.row.items() if isinstance(x, int | float)]
            fail(KeyError, f"nothing called {name!r} to monitor", expected=", ".join(map(repr, numbers)))
        sign = better(name)
        if self.best is None or sign * value > sign * self.best + self.min_delta:
            if value == value:  # not NaN
                self.best, self.best_epoch = value, run.epoch
                if name == run.monitor:
                    run.history.best_epoch = run.epoch
                return True
        return False


class EarlyStopping(_Watching):
    """Stop when a column has not become better for `patience` epochs.

    Parameters
    ----------
    patience : int
    min_delta : float
        How much counts as better.
    monitor : str, optional
        The column; by default the validation loss, or the loss where there is no validation.
    """

    def __init__(self, patience: int, min_delta: float = 0.0, monitor: str | None = None):
        super().__init__(monitor, min_delta)
        if patience < 1:
            fail(ValueError, "patience must be at least 1", got=patience)
        self.patience = patience
        self.since = 0

    def on_epoch_end(self, run):
        self.since = 0 if self.improved(run) else self.since + 1
        if self.since >= self.patience:
            run.stop(f"converged: {self.monitor or run.monitor} no better for {self.patience} epochs")


class KeepBest(_Watching):
    """Keep the parameters and buffers of the best epoch, and put them back into the model at the end.

    Parameters
    ----------
    file : path, optional
        Where to save the state dict as well, each time that it is better (replaced in one step).
    monitor : str, optional
    """

    def __init__(self, file: str | os.PathLike | None = None, monitor: str | None = None):
        super().__init__(monitor)
        self.file = file
        self.state: dict[str, Any] | None = None

    def on_epoch_end(self, run):
        if not self.improved(run):
            return
        self.state = {name: _copy(value) for name, value in run.model.state_dict().items()}
        if self.file is not None:
            from facula.serialization import save

            save(self.state, self.file)

    def on_end(self, run):
        if self.state is not None:
            run.model.load_state_dict(self.state)


def _copy(value: Any) -> Any:
    return value.detach().clone() if hasattr(value, "detach") else value


class HistoryFile(Callback):
    """Write the history to a CSV file after each epoch; a crash leaves the file of the epoch before."""

    def __init__(self, file: str | os.PathLike):
        self.file = file

    def on_epoch_end(self, run):
        run.history.save(self.file)


class ToTensorBoard(Callback):
    """Write the numbers of each epoch to a `SummaryWriter`; its files are complete when training ends.

    Examples
    --------
    >>> import tempfile
    >>> from facula.training import ToTensorBoard
    >>> from facula.utils.tensorboard import SummaryWriter
    >>> with tempfile.TemporaryDirectory() as folder, SummaryWriter(folder) as writer:
    ...     callback = ToTensorBoard(writer)
    """

    def __init__(self, writer: Any):
        self.writer = writer

    def on_epoch_end(self, run):
        for name, value in run.row.items():
            if isinstance(value, int | float) and name != "epoch":
                tag = name.replace("validation ", "validation/") if name.startswith("validation ") else name
                self.writer.add_scalar(tag, value, run.epoch)

    def on_end(self, run):
        self.writer.flush()


class Progress(Callback):
    """A tqdm bar over the steps of all epochs, with rate, time left and loss, and a line for each epoch.

    The loss is read when the bar is drawn anew, some times a second, and at no other time.

    Parameters
    ----------
    show : bool, optional
        None: on terminals and in notebooks alone.
    lines : bool
        Whether each epoch leaves a line.
    """

    def __init__(self, show: bool | None = None, lines: bool = True):
        self.show, self.lines = show, lines
        self.bar: Any = None
        self.seen = 0  # steps that the bar knows of

    @staticmethod
    def wanted() -> bool:
        """Whether somebody looks: a terminal, or a notebook."""
        return bool(getattr(sys.stderr, "isatty", bool)()) or "ipykernel" in sys.modules

    def on_start(self, run):
        if self.show if self.show is not None else self.wanted():
            tqdm = require("tqdm.auto", "training", "fit(progress=True)").tqdm
            total = None if run.steps is None else run.steps * (run.last - run.first + 1)
            self.bar = tqdm(total=total, unit="step", dynamic_ncols=True, file=sys.stderr)
            self.draw(run)

    def on_tick(self, run):
        self.draw(run)

    def draw(self, run: "Run") -> None:
        """Bring the bar up to date."""
        if self.bar is None:
            return
        done = run.step - self.seen
        self.seen = run.step
        self.bar.set_description(f"epoch {max(run.epoch, run.first)}/{run.last}", refresh=False)
        shown = {} if run.loss is None else {"loss": f"{run.loss:.4g}"}
        shown |= {n: f"{x:.4g}" for n, x in run.history.last.items() if n == run.monitor and n != "loss"}
        self.bar.set_postfix(shown, refresh=False)
        self.bar.update(done)

    def on_epoch_end(self, run):
        self.draw(run)
        if self.bar is not None and self.lines:
            numbers = {n: x for n, x in run.row.items() if isinstance(x, int | float) and n not in ("epoch", "lr")}
            text = "  ".join(f"{n} {x:.4g}" for n, x in numbers.items())
            self.bar.write(f"epoch {run.epoch}: {text}", file=sys.stderr)

    def on_end(self, run):
        if self.bar is not None:
            self.draw(run)
            if self.bar.total is not None and run.history.stopped:
                self.bar.total = self.bar.n
            self.bar.close()
            if run.history.stopped and self.lines:
                self.bar.write(run.history.stopped, file=sys.stderr)
            self.bar = None
