"""A table of measurements: a row for each statement, a column for each description, in one unit."""

import enum
import math
from collections.abc import Iterable

from .common import Measurement, ordered_unique, select_unit, trim_sigfig, unit_to_english

__all__ = ["Colorize", "Compare"]

BEST, GOOD, BAD, VERY_BAD = "\033[92m\033[1m", "\033[34m\033[1m", "\033[2m\033[91m", "\033[31m\033[1m"
END = "\033[0m\033[0m"


class Colorize(enum.Enum):
    """Which times a color compares."""

    NONE = "none"
    COLUMNWISE = "columnwise"
    ROWWISE = "rowwise"


def _colored(text: str, value: float, best: float) -> str:
    """A cell in the color of how far it is from the best."""
    if value <= best * 1.01 or value <= best + 100e-9:
        return BEST + text + END
    if value <= best * 1.1:
        return GOOD + text + END
    if value >= best * 5:
        return VERY_BAD + text + END
    return BAD + text + END if value >= best * 2 else text


class Compare:
    """A table of measurements, for each label.

    Parameters
    ----------
    results : iterable of Measurement
        Several of the same count as one.

    Examples
    --------
    >>> from facula.utils.benchmark import Measurement, TaskSpec
    >>> times = {"a": 2e-6, "b": 3e-6}
    >>> rows = [Measurement(1, [t], TaskSpec(s, "", label="sums", description="fast")) for s, t in times.items()]
    >>> for line in str(Compare(rows)).splitlines():
    ...     print(line.rstrip())
    [---- sums ----]
             |  fast
    1 threads: -----
          a  |  2.0
          b  |  3.0
    <BLANKLINE>
    Times are in microseconds (us).
    """

    def __init__(self, results: Iterable[Measurement]):
        self._results: list[Measurement] = []
        self.extend_results(results)
        self._trim, self._colorize, self._highlight = False, Colorize.NONE, False

    def __str__(self) -> str:
        groups: dict[str | None, list[Measurement]] = {}
        for one in Measurement.merge(self._results):
            groups.setdefault(one.label, []).append(one)
        return "\n".join(self._table(label, group) for label, group in groups.items())

    def extend_results(self, results: Iterable[Measurement]) -> None:
        """Add measurements."""
        found = list(results)
        for one in found:
            if not isinstance(one, Measurement):
                raise ValueError(f"Expected an instance of `Measurement`, got {type(one)} instead.")
        self._results.extend(found)

    def trim_significant_figures(self) -> None:
        """Show those figures alone that mean something."""
        self._trim = True

    def colorize(self, rowwise: bool = False) -> None:
        """Color times by how far they are from the best of their column, or row."""
        self._colorize = Colorize.ROWWISE if rowwise else Colorize.COLUMNWISE

    def highlight_warnings(self) -> None:
        """Mark times that are far apart."""
        self._highlight = True

    def print(self) -> None:
        """Print the table."""
        print(str(self))

    def _table(self, label: str | None, results: list[Measurement]) -> str:
        unit, scale = select_unit(min(r.median for r in results))
        keys = ordered_unique((r.num_threads, r.env, r.as_row_name) for r in results)
        keys.sort(key=lambda key: (key[0], key[1] or ""))
        titles = ordered_unique(r.description for r in results)
        cells = {((r.num_threads, r.env, r.as_row_name), r.description): r for r in results}
        groups: dict[int, list[tuple]] = {}  # rows by their number of threads
        for key in keys:
            groups.setdefault(key[0], []).append(key)
        environments = {r.env for r in results}
        width = max(len(env or "") for env in environments) if len(environments) > 1 else 0

        columns: list[list[str]] = []
        for title in titles:
            own = [cells.get((key, title)) for key in keys]
            columns.append(self._column(own, scale))
        rows = [["", *[title or "" for title in titles]]]
        before: tuple = ()
        for number, key in enumerate(keys):
            shown = f"({key[1] or ''})" if width and key[:2] != before else ""
            rows.append(["  " + shown.ljust(width + 4) + key[2], *[column[number] for column in columns]])
            before = key[:2]
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = ["  |  ".join(cell.center(w) for cell, w in zip(rows[0], widths))]
        overall = len(lines[0])
        for number, key in enumerate(keys):
            if groups[key[0]][0] == key:
                lines.append(f"{key[0]} threads: ".ljust(overall, "-"))
            name, *texts = rows[number + 1]
            parts = [name.ljust(widths[0])]
            for text, w, title in zip(texts, widths[1:], titles):
                text, result = text.center(w), cells.get((key, title))
                if result is not None and self._colorize is not Colorize.NONE:
                    rivals = [cells.get((key, t)) for t in titles] if self._colorize is Colorize.ROWWISE else [
                        cells.get((k, title)) for k in groups[key[0]]]  # fmt: skip
                    text = _colored(text, result.median, min(r.median for r in rivals if r is not None))
                parts.append(text)
            lines.append("  |  ".join(parts))
        head = f" {label or ''} ".center(overall - 2, "-")
        noisy = self._highlight and any(r.has_warnings for r in results)
        note = "(! XX%) Measurement has high variance, where XX is the IQR / median * 100.\n" if noisy else ""
        table = "\n".join(lines)
        return f"[{head}]\n{table}\n\nTimes are in {unit_to_english(unit)}s ({unit}).\n{note}"

    def _column(self, results: list[Measurement | None], scale: float) -> list[str]:
        """The texts of a column, all with as many decimals as the least certain deserves."""
        noisy = self._highlight and any(r is not None and r.has_warnings for r in results)
        digits = [math.ceil(math.log10(r.median / scale)) for r in results if r is not None]
        decimals = 1
        if self._trim:
            figures = [r.significant_figures for r in results if r is not None]
            decimals = min(max(f - d, 0) for f, d in zip(figures, digits))
        length = max(digits) + decimals + (1 if decimals else 0)

        def text(value: float, mark: str) -> str:
            return f"{value:>{length}.{decimals}f}{mark:>{7 if noisy else 0}}"

        texts = []
        for r in results:
            if r is None:
                texts.append(" " * len(text(1, "")))
                continue
            value = r.median / scale
            mark = f" (! {r.iqr / r.median * 100:.0f}%)" if noisy and r.has_warnings else ""
            texts.append(text(trim_sigfig(value, r.significant_figures) if self._trim else value, mark))
        return texts
