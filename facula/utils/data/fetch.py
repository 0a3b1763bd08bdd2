"""Gets samples and makes batches of them, in the process or thread that it is called in."""

from time import perf_counter
from typing import Any

from .collate import default_collate
from .rows import take_listed

__all__ = ["create_fetcher"]


class _MapDatasetFetcher:
    """By index. `slowest` is (seconds, index) of the sample that took longest; whoever reads it sets it back."""

    def __init__(self, dataset, auto_collation: bool, collate_fn, drop_last: bool) -> None:
        self.dataset = dataset
        self.auto_collation = auto_collation
        self.collate_fn = collate_fn
        self.slowest: tuple[float, Any] = (0.0, None)
        self.by_rows = auto_collation and collate_fn is default_collate

    def fetch(self, possibly_batched_index):
        """A batch of a list of indices, or the sample at one."""
        if not self.auto_collation:
            return self.collate_fn(self._timed([possibly_batched_index])[0])
        if self.by_rows:
            batch = take_listed(self.dataset, possibly_batched_index)
            if batch is not None:
                return batch
        if hasattr(self.dataset, "__getitems__") and self.dataset.__getitems__:
            return self.collate_fn(self.dataset.__getitems__(possibly_batched_index))
        return self.collate_fn(self._timed(possibly_batched_index))

    def _timed(self, indices) -> list:
        dataset, samples = self.dataset, []
        worst, which = self.slowest
        before = perf_counter()
        for index in indices:
            samples.append(dataset[index])
            after = perf_counter()
            if after - before > worst:
                worst, which = after - before, index
            before = after
        self.slowest = (worst, which)
        return samples


class _IterableDatasetFetcher:
    """By iteration. `slowest` is (seconds, number) of the sample that took longest, counted from 0."""

    def __init__(self, dataset, auto_collation: bool, collate_fn, drop_last: bool) -> None:
        self.auto_collation = auto_collation
        self.collate_fn = collate_fn
        self.drop_last = drop_last
        self.dataset_iter = iter(dataset)
        self.ended = False
        self.count = 0
        self.slowest: tuple[float, Any] = (0.0, None)

    def fetch(self, possibly_batched_index):
        """The next batch, as long as the list, or the next sample; StopIteration at the end."""
        if self.ended:
            raise StopIteration
        if not self.auto_collation:
            return self.collate_fn(self._next())
        data = []
        for _ in possibly_batched_index:
            try:
                data.append(self._next())
            except StopIteration:
                self.ended = True
                break
        if not data or (self.drop_last and self.ended):
            raise StopIteration
        return self.collate_fn(data)

    def _next(self):
        before = perf_counter()
        sample = next(self.dataset_iter)
        passed = perf_counter() - before
        if passed > self.slowest[0]:
            self.slowest = (passed, self.count)
        self.count += 1
        return sample


def create_fetcher(iterable: bool, dataset, auto_collation: bool, collate_fn, drop_last: bool):
    """What gets the data of a dataset of that kind."""
    kind = _IterableDatasetFetcher if iterable else _MapDatasetFetcher
    return kind(dataset, auto_collation, collate_fn, drop_last)
