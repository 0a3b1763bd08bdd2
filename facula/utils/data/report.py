"""What a loader's `report()` says: how long the loop waited for data, and which data was slow."""

from dataclasses import dataclass
from time import perf_counter
from typing import Any

__all__ = ["LoadingReport", "Watch"]


@dataclass(frozen=True)
class LoadingReport:
    """How the last pass over a loader went.

    Attributes
    ----------
    batches : int
        How many were handed out.
    waited : float
        Seconds that the loop waited for them.
    elapsed : float
        Seconds from when the first was asked for until the last was handed out, or the end was met.
    slowest_batch : tuple of (int, float)
        Its number, from 0, and the seconds that the loop waited for it.
    slowest_item : tuple of (index, float) or None
        The sample that took longest to get, by its index (of an iterable dataset: its number in its worker), and its
        seconds; None where samples are not got one by one.
    num_workers : int

    Examples
    --------
    >>> report = LoadingReport(10, 1.0, 4.0, (3, 0.5), (17, 0.25), 2)
    >>> report.share
    0.25
    >>> print(report)
    10 batches, 2 workers: waited 1 s of 4 s for data (25 %)
      slowest batch: number 3, waited 500 ms for
      slowest item: dataset[17], 250 ms
    """

    batches: int
    waited: float
    elapsed: float
    slowest_batch: tuple[int, float] | None
    slowest_item: tuple[Any, float] | None
    num_workers: int

    @property
    def share(self) -> float:
        """The part of the loop's time that it waited, 0 to 1."""
        return self.waited / self.elapsed if self.elapsed else 0.0

    def __str__(self) -> str:
        workers = f"{self.num_workers or 'no'} worker{'' if self.num_workers == 1 else 's'}"
        lines = [
            f"{self.batches} batches, {workers}: waited {_time(self.waited)} of {_time(self.elapsed)} for data "
            f"({100 * self.share:.0f} %)"
        ]
        if self.slowest_batch is not None:
            number, seconds = self.slowest_batch
            lines.append(f"  slowest batch: number {number}, waited {_time(seconds)} for")
        if self.slowest_item is not None:
            index, seconds = self.slowest_item
            lines.append(f"  slowest item: dataset[{index!r}], {_time(seconds)}")
        return "\n".join(lines)


def _time(seconds: float) -> str:
    size, name = next(pair for pair in ((1, "s"), (1e-3, "ms"), (1e-6, "us"), (0, "us")) if seconds >= pair[0])
    return f"{seconds / (size or 1e-6):.3g} {name}"


class Watch:
    """Takes the times of one pass."""

    __slots__ = ("batches", "first", "item", "last", "slowest", "waited", "worst")

    def __init__(self):
        self.batches, self.waited, self.worst, self.slowest = 0, 0.0, -1.0, 0
        self.first: float | None = None
        self.last = 0.0
        self.item: tuple[float, Any] = (0.0, None)

    def asked(self) -> float:
        """A batch is asked for."""
        now = perf_counter()
        if self.first is None:
            self.first = now
        return now

    def handed(self, before: float) -> None:
        """It is handed out."""
        now = self.last = perf_counter()
        waited = now - before
        self.waited += waited
        if waited > self.worst:
            self.worst, self.slowest = waited, self.batches
        self.batches += 1

    def ended(self, before: float) -> None:
        """There are no more."""
        self.last = perf_counter()
        self.waited += self.last - before

    def report(self, num_workers: int) -> LoadingReport:
        """The figures."""
        elapsed = 0.0 if self.first is None else self.last - self.first
        slowest = (self.slowest, self.worst) if self.batches else None
        item = (self.item[1], self.item[0]) if self.item[0] else None
        return LoadingReport(self.batches, self.waited, elapsed, slowest, item, num_workers)
