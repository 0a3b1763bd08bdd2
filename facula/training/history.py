"""`History`: the numbers of each epoch of a training run, as a table in memory and in a CSV file."""

import csv
import io
import os
from collections.abc import Iterable
from typing import Any

from facula.errors import fail
from facula.serialization.archive import write_atomically

__all__ = ["History"]


class History:
    """What each epoch of a run measured; returned by `fit`.

    Attributes
    ----------
    rows : list of dict
        One a finished epoch: "epoch" (from 1), "loss", "seconds", "lr", and with a validation set "validation loss" and
        the metrics.
    best_epoch : int or None
        The epoch with the best value of what was monitored.
    stopped : str or None
        Why training ended before its last epoch; None where it did not.

    Examples
    --------
    >>> from facula.training import History
    >>> history = History([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}])
    >>> history["loss"], len(history), history.last["epoch"]
    ([0.5, 0.25], 2, 2)
    """

    def __init__(self, rows: Iterable[dict[str, Any]] = ()):
        self.rows: list[dict[str, Any]] = list(rows)
        self.best_epoch: int | None = None
        self.stopped: str | None = None

    @property
    def names(self) -> list[str]:
        """The columns, in the order in which they came."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    @property
    def last(self) -> dict[str, Any]:
        """The row of the last epoch; empty where there is none."""
        return self.rows[-1] if self.rows else {}

    def __getitem__(self, name: str) -> list[Any]:
        """A column; None where an epoch has no such number."""
        if name not in self.names:
            fail(KeyError, f"no column {name!r}", expected=", ".join(map(repr, self.names)) or "an epoch first")
        return [row.get(name) for row in self.rows]

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        last = ", ".join(f"{n} {x:.4g}" if isinstance(x, float) else f"{n} {x}" for n, x in self.last.items())
        ending = f"; stopped: {self.stopped}" if self.stopped else ""
        best = f"; best epoch {self.best_epoch}" if self.best_epoch is not None else ""
        return f"<History of {len(self)} epochs; last: {last}{best}{ending}>"

    def save(self, file: str | os.PathLike) -> None:
        """Write all rows as CSV; the file is replaced in one step, so that a crash leaves the former one whole.

        Numbers alone are written; a metric that is an array (a confusion matrix) has no place in a cell.
        """
        names = [n for n in self.names if all(isinstance(row.get(n), int | float | str | None) for row in self.rows)]
        text = io.StringIO()
        writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomically(os.fspath(file), lambda out: out.write(text.getvalue().encode()))

    @classmethod
    def load(cls, file: str | os.PathLike) -> "History":
        """The rows that `save` wrote, for `fit(history=...)` to go on from.

        Examples
        --------
        >>> import os, tempfile
        >>> from facula.training import History
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     History([{"epoch": 1, "loss": 0.5}]).save(os.path.join(folder, "run.csv"))
        ...     History.load(os.path.join(folder, "run.csv")).rows
        [{'epoch': 1, 'loss': 0.5}]
        """
        with open(file, encoding="utf-8", newline="") as text:
            return cls(
                {name: _number(cell) for name, cell in row.items() if cell != ""} for row in csv.DictReader(text)
            )

    def plot(self, *names: str) -> Any:
        """`facula.plots.plot_history` of these columns (default: all losses and metrics)."""
        from facula.plots.figures import plot_history

        return plot_history(self, *names)


def _number(cell: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            pass
    return cell
