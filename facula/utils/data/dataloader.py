"""`DataLoader`: goes through a dataset in a sampler's order and hands out batches, made here or by workers.

How samples are got says `fetch`, where a whole batch is one copy `rows`, what a worker does `worker`, how workers are
started and listened to `crew`, how data comes from them `outbox` and `inbox`.
"""

import itertools
import multiprocessing
import multiprocessing.context
import os
import sys
import warnings
from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any, Generic, TypeVar

from facula._utils import ExceptionWrapper
from facula.config import usable_cores

from . import crew
from .collate import default_collate, default_convert
from .dataset import IterableDataset
from .fetch import create_fetcher
from .pinning import pin_memory, usable
from .report import LoadingReport, Watch
from .rows import batches, take_rows
from .sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler, draw_seed
from .worker import Ended, Orders, get_worker_info

__all__ = ["DataLoader", "default_collate", "default_convert", "get_worker_info"]

_T_co = TypeVar("_T_co", covariant=True)
THREAD = "thread"  # as `multiprocessing_context`: workers are threads


class _DatasetKind:
    Map = 0
    Iterable = 1

    @staticmethod
    def create_fetcher(kind, dataset, auto_collation, collate_fn, drop_last):
        return create_fetcher(kind == _DatasetKind.Iterable, dataset, auto_collation, collate_fn, drop_last)


class _InfiniteConstantSampler(Sampler):
    """What an iterable dataset, which has no indices, is asked for."""

    def __iter__(self):
        return itertools.repeat(None)


class DataLoader(Generic[_T_co]):
    """Batches of a dataset.

    Parameters
    ----------
    dataset : Dataset
        By index, or an IterableDataset.
    batch_size : int or None
        Samples a batch; None hands out samples as they are.
    shuffle : bool
        Whether each pass has a new random order.
    sampler : Sampler or Iterable, optional
        The order, in place of `shuffle`.
    batch_sampler : Sampler or Iterable, optional
        Lists of indices, in place of `batch_size`, `shuffle`, `sampler` and `drop_last`.
    num_workers : int
        How many processes make the batches; 0: they are made where they are asked for.
    collate_fn : callable, optional
        Makes a batch of a list of samples; default `default_collate` (without batches, `default_convert`).
    pin_memory : bool
        Whether tensors of batches are copied to page-locked memory, from which `to(device, non_blocking=True)` copies
        while the program goes on. Without an accelerator, of no effect but a warning.
    drop_last : bool
        Whether to leave out a last batch that is smaller.
    generator : Generator, optional
        For the random order.
    timeout : float
        Seconds to wait for a batch of a worker; 0: as long as it takes.
    worker_init_fn : callable, optional
        Called in each worker with its number, after it is seeded.
    multiprocessing_context : str or context, optional
        How processes are started: "fork", "spawn", "forkserver", or a context of `multiprocessing`. Of facula's own:
        "thread", workers that are threads of this process, for datasets whose time goes into code that lets go of the
        GIL. They have no seeds of their own but in `get_worker_info().rng`.
    prefetch_factor : int, optional
        Batches that a worker makes ahead; default 2.
    persistent_workers : bool
        Whether workers stay for the next pass.
    pin_memory_device : str
        Of no effect.
    in_order : bool
        Whether batches come in the sampler's order; otherwise as they are ready.

    Raises
    ------
    ValueError
        Options that exclude each other.
    RuntimeError
        While going through it: a worker ended, or took longer than `timeout`. An exception of a worker comes with its
        own type.

    Examples
    --------
    >>> [batch.tolist() for batch in DataLoader(range(5), batch_size=2)]
    [[0, 1], [2, 3], [4]]
    """

    dataset: Any
    batch_size: int | None
    num_workers: int
    pin_memory: bool
    drop_last: bool
    timeout: float
    sampler: Sampler | Iterable
    pin_memory_device: str
    prefetch_factor: int | None
    __initialized = False
    _position: Any = None  # a `position.Position`, where a checkpoint follows the passes

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Sampler | Iterable | None = None,
        batch_sampler: Sampler[list] | Iterable[list] | None = None,
        num_workers: int = 0,
        collate_fn: Callable | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context=None,
        generator=None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        if num_workers < 0:
            raise ValueError("num_workers option should be non-negative; use num_workers=0 to disable multiprocessing.")
        if timeout < 0:
            raise ValueError("timeout option should be non-negative")
        if num_workers == 0 and prefetch_factor is not None:
            raise ValueError(
                "prefetch_factor option could only be specified in multiprocessing."
                "let num_workers > 0 to enable multiprocessing, otherwise set prefetch_factor to None."
            )
        if prefetch_factor is not None and prefetch_factor < 0:
            raise ValueError("prefetch_factor option should be non-negative")
        if persistent_workers and num_workers == 0:
            raise ValueError("persistent_workers option needs num_workers > 0")

        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = 2 if num_workers > 0 and prefetch_factor is None else prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.in_order = in_order

        if isinstance(dataset, IterableDataset):
            self._dataset_kind = _DatasetKind.Iterable
            for name, value in (("shuffle", shuffle or None), ("sampler", sampler), ("batch_sampler", batch_sampler)):
                if value is not None:
                    raise ValueError(
                        f"DataLoader with IterableDataset: expected unspecified {name} option, but got {name}={value}"
                    )
        else:
            self._dataset_kind = _DatasetKind.Map
            shuffle = bool(shuffle)
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last"
                )
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError("batch_size=None option disables auto-batching and is mutually exclusive with drop_last")
        if sampler is None:
            if self._dataset_kind == _DatasetKind.Iterable:
                sampler = _InfiniteConstantSampler()
            else:
                data = self.dataset
                sampler = RandomSampler(data, generator=generator) if shuffle else SequentialSampler(data)
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.generator = generator
        self.collate_fn = collate_fn or (default_collate if self._auto_collation else default_convert)
        self.persistent_workers = persistent_workers
        self.__initialized = True
        self._IterableDataset_len_called: int | None = None  # what len() said, to warn when more comes
        self._iterator: _BaseDataLoaderIter | None = None
        self._watch = Watch()
        self.check_worker_number_rationality()

    @property
    def multiprocessing_context(self):
        return self.__multiprocessing_context

    @multiprocessing_context.setter
    def multiprocessing_context(self, context) -> None:
        if context is not None:
            if self.num_workers == 0:
                raise ValueError(
                    "multiprocessing_context can only be used with multi-process loading (num_workers > 0), but got "
                    f"num_workers={self.num_workers}"
                )
            if context == THREAD:
                self.__multiprocessing_context = context
                return
            if isinstance(context, str):
                methods = multiprocessing.get_all_start_methods()
                if context not in methods:
                    raise ValueError(
                        f"multiprocessing_context option should specify a valid start method in {methods!r}, but got "
                        f"multiprocessing_context={context!r}"
                    )
                context = multiprocessing.get_context(context)
            if not isinstance(context, multiprocessing.context.BaseContext):
                raise TypeError(
                    "multiprocessing_context option should be a valid context object or a string specifying the start "
                    f"method, but got multiprocessing_context={context}"
                )
        self.__multiprocessing_context = context

    FIXED = ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")

    def __setattr__(self, attr: str, val: Any) -> None:
        if self.__initialized and attr in self.FIXED:
            raise ValueError(f"{attr} attribute should not be set after {type(self).__name__} is initialized")
        super().__setattr__(attr, val)

    def __iter__(self) -> Any:
        if self._position is not None:
            return self._position.start(self._pass)
        return self._pass()

    def _pass(self) -> "_BaseDataLoaderIter":
        if not self.persistent_workers or self.num_workers == 0:
            return self._get_iterator()
        if self._iterator is None:
            self._iterator = self._get_iterator()
        else:
            self._iterator._reset(self)
        return self._iterator

    def _get_iterator(self) -> "_BaseDataLoaderIter":
        if self.num_workers == 0:
            return _SingleProcessDataLoaderIter(self)
        self.check_worker_number_rationality()
        return _MultiProcessingDataLoaderIter(self)

    def report(self) -> LoadingReport:
        """How the last pass went, or goes so far: how long the loop waited for data, and which data was slow.

        Returns
        -------
        LoadingReport

        Examples
        --------
        >>> loader = DataLoader(range(5), batch_size=2)
        >>> for batch in loader:
        ...     pass
        >>> loader.report().batches
        3
        """
        return self._watch.report(self.num_workers)

    @property
    def _auto_collation(self) -> bool:
        return self.batch_sampler is not None

    @property
    def _index_sampler(self) -> Any:
        return self.batch_sampler if self._auto_collation else self.sampler

    def __len__(self) -> int:
        if self._dataset_kind != _DatasetKind.Iterable:
            return len(self._index_sampler)
        length = self._IterableDataset_len_called = len(self.dataset)
        if self.batch_size is None:
            return length
        return length // self.batch_size if self.drop_last else -(-length // self.batch_size)

    def check_worker_number_rationality(self) -> None:
        """Warn of more workers than this process may use cores."""
        most = usable_cores()
        if self.num_workers > most:
            checked = "" if hasattr(os, "sched_getaffinity") else " (`cpuset` is not taken into account)"
            warnings.warn(
                f"This DataLoader will create {self.num_workers} worker processes in total. Our suggested max number "
                f"of worker in current system is {most}{checked}, which is smaller than what this DataLoader is going "
                "to create. Please be aware that excessive worker creation might get DataLoader running slow or even "
                "freeze, lower the worker number to avoid potential slowness/freeze if necessary.",
                stacklevel=3,
            )


class _BaseDataLoaderIter:
    """One pass over a loader's dataset."""

    def __init__(self, loader: DataLoader) -> None:
        self._loader = loader
        self._dataset = loader.dataset
        self._dataset_kind = loader._dataset_kind
        self._auto_collation = loader._auto_collation
        self._drop_last = loader.drop_last
        self._index_sampler = loader._index_sampler
        self._num_workers = loader.num_workers
        if loader.pin_memory and loader.pin_memory_device:
            warnings.warn(
                "pin_memory_device is deprecated, the current accelerator will be used as the device,"
                f"ignore pin_memory_device='{loader.pin_memory_device}'.",
                stacklevel=5,
            )
        self._pin_memory = loader.pin_memory and usable()
        if loader.pin_memory and not self._pin_memory:
            warnings.warn(
                "'pin_memory' argument is set as true but no accelerator is found, then device pinned memory won't be "
                "used.",
                stacklevel=5,
            )
        self._timeout = loader.timeout
        self._collate_fn = loader.collate_fn
        self._sampler_iter: Any = iter(self._index_sampler)
        self._base_seed = draw_seed(loader.generator)  # for workers; drawn without them too, as PyTorch does
        self._persistent_workers = loader.persistent_workers
        self._begin(loader)

    def _reset(self, loader: DataLoader, first_iter: bool = False) -> None:
        raise NotImplementedError

    def _begin(self, loader: DataLoader) -> None:
        self._num_yielded = 0
        self._IterableDataset_len_called = loader._IterableDataset_len_called
        self._watch = loader._watch = Watch()

    def __iter__(self):
        return self

    def __len__(self) -> int:
        return len(self._index_sampler)

    def __getstate__(self):
        raise NotImplementedError("{} cannot be pickled", type(self).__name__)

    def _next_index(self):
        return next(self._sampler_iter)

    def _next_data(self) -> Any:
        raise NotImplementedError

    def __next__(self) -> Any:
        watch = self._watch
        before = watch.asked()
        try:
            data = self._next_data()
            if self._pin_memory:
                data = pin_memory(data)
        except StopIteration:
            watch.ended(before)
            raise
        watch.handed(before)
        self._num_yielded += 1
        promised = self._IterableDataset_len_called
        if promised is not None and self._num_yielded > promised and self._dataset_kind == _DatasetKind.Iterable:
            text = (
                f"Length of IterableDataset {self._dataset} was reported to be {promised}(when accessing "
                f"len(dataloader)), but {self._num_yielded} samples have been fetched. "
            )
            if self._num_workers > 0:
                text += (
                    "For multiprocessing data-loading, this could be caused by not properly configuring the "
                    "IterableDataset replica at each worker. Please see "
                    "https://pytorch.org/docs/stable/data.html#torch.utils.data.IterableDataset for examples."
                )
            warnings.warn(text, stacklevel=2)
        return data


class _SingleProcessDataLoaderIter(_BaseDataLoaderIter):
    """A pass whose batches are made where they are asked for."""

    def __init__(self, loader: DataLoader) -> None:
        super().__init__(loader)
        if loader.timeout != 0:
            raise AssertionError("_SingleProcessDataLoaderIter requires timeout == 0")
        if loader.num_workers != 0:
            raise AssertionError("_SingleProcessDataLoaderIter requires num_workers == 0")
        self._fetcher = _DatasetKind.create_fetcher(
            self._dataset_kind, self._dataset, self._auto_collation, self._collate_fn, self._drop_last
        )
        self._batches = batches(loader)

    def _next_data(self) -> Any:
        if self._batches is not None:
            rows = next(self._batches)
            data = take_rows(self._dataset, rows)
            if data is not None:
                return data
            return self._fetched(list(rows) if isinstance(rows, range | list) else rows.tolist())
        return self._fetched(self._next_index())

    def _fetched(self, index: Any) -> Any:
        fetcher = self._fetcher
        try:
            return fetcher.fetch(index)
        finally:
            self._watch.item = fetcher.slowest


class _MultiProcessingDataLoaderIter(_BaseDataLoaderIter):
    """A pass whose batches are made by workers.

    Batches are numbered tasks. Each worker has at most `prefetch_factor` of them at a time on average; a task's index
    is drawn from the sampler when it is sent out, one for each batch handed out after the first ones.
    """

    def __init__(self, loader: DataLoader) -> None:
        super().__init__(loader)
        self._prefetch_factor = loader.prefetch_factor or 0
        self._in_order = loader.in_order
        self._shutdown = False
        self._pass = 0
        if self._num_workers <= 0:
            raise AssertionError("num_workers must be greater than 0 for MultiProcessingDataLoaderIter")
        if self._prefetch_factor <= 0:
            raise AssertionError("prefetch_factor must be greater than 0 for MultiProcessingDataLoaderIter")
        orders = [
            Orders(
                self._dataset_kind == _DatasetKind.Iterable,
                self._dataset,
                self._auto_collation,
                self._collate_fn,
                self._drop_last,
                self._base_seed,
                loader.worker_init_fn,
                number,
                self._num_workers,
            )
            for number in range(self._num_workers)
        ]
        context = loader.multiprocessing_context
        self._crew: Any
        if context == THREAD:
            self._crew = crew.ThreadCrew(orders)
        else:
            import facula.multiprocessing  # so that workers which are not forked get their tensors

            self._crew = crew.ProcessCrew(context or facula.multiprocessing, orders)
        self._reset(loader, True)

    @property
    def _workers(self) -> list:
        return self._crew.processes

    def _reset(self, loader: DataLoader, first_iter: bool = False) -> None:
        """Begin a pass."""
        self._sampler_iter = iter(self._index_sampler)
        if not first_iter:
            self._begin(loader)
            self._pass += 1  # which workers see from the next message; answers to earlier ones are let go
        self._send_idx = 0  # the next task to send
        self._rcvd_idx = 0  # the next task to hand out
        self._tasks: dict[int, tuple] = {}  # those sent and not handed out: (worker,), or (worker, data)
        self._tasks_outstanding = 0  # those without data
        self._workers_status = [True] * self._num_workers  # whether an iterable dataset may have more there
        self._workers_num_tasks = [0] * self._num_workers
        self._turns = itertools.cycle(range(self._num_workers))
        for _ in range(self._prefetch_factor * self._num_workers):
            self._try_put_index()

    def _try_put_index(self) -> None:
        """Send out the next task, if there is one and a worker for it."""
        most = self._prefetch_factor * self._num_workers
        try:
            index = self._next_index()
        except StopIteration:
            return
        for _ in range(self._num_workers):
            worker = next(self._turns)
            if self._workers_status[worker] and (
                self._in_order or self._workers_num_tasks[worker] < most // sum(self._workers_status)
            ):
                break
        else:
            return
        self._crew.send(worker, (self._pass, self._send_idx, index))
        self._tasks[self._send_idx] = (worker,)
        self._workers_num_tasks[worker] += 1
        self._tasks_outstanding += 1
        self._send_idx += 1

    def _get_data(self) -> tuple[int, Any]:
        """The next answer to a task of this pass."""
        while True:
            found = self._crew.receive(self._timeout or None, self._workers_status)
            if found is None:
                raise RuntimeError(f"DataLoader timed out after {self._timeout} seconds")
            _, envelope = found
            number, task, slowest = envelope.head
            if number != self._pass:
                envelope.discard()
                continue
            self._watch.item = max(self._watch.item, slowest, key=itemgetter(0))
            return task, envelope.unpack()

    def _next_data(self) -> Any:
        while True:
            while self._rcvd_idx < self._send_idx:  # tasks of workers that have no more are passed over
                info = self._tasks.get(self._rcvd_idx)
                if info is not None:
                    if len(info) == 2 or self._workers_status[info[0]]:
                        break
                    del self._tasks[self._rcvd_idx]
                self._rcvd_idx += 1
            else:
                if not self._persistent_workers:
                    self._shutdown_workers()
                raise StopIteration
            if len(info) == 2:
                del self._tasks[self._rcvd_idx]
                self._rcvd_idx += 1
                return self._process_data(info[1], info[0])
            if self._shutdown or self._tasks_outstanding <= 0:
                raise AssertionError("Invalid iterator state: shutdown or no outstanding tasks when fetching next data")
            task, data = self._get_data()
            self._tasks_outstanding -= 1
            if isinstance(data, Ended):
                self._workers_status[data.worker_id] = False
                if not self._persistent_workers:
                    self._crew.finish(data.worker_id)
                self._try_put_index()
                continue
            worker = self._tasks[task][0]
            if task != self._rcvd_idx and self._in_order:
                self._tasks[task] = (worker, data)
                continue
            del self._tasks[task]
            self._rcvd_idx += task == self._rcvd_idx
            return self._process_data(data, worker)

    def _process_data(self, data: Any, worker: int) -> Any:
        self._workers_num_tasks[worker] -= 1
        self._try_put_index()
        if isinstance(data, ExceptionWrapper):
            data.reraise()
        return data

    def _shutdown_workers(self) -> None:
        """End the workers; the pass is over."""
        if not self._shutdown:
            self._shutdown = True
            self._crew.stop()

    def __del__(self):
        found = self.__dict__.get("_crew")
        if found is not None and not sys.is_finalizing():
            self._shutdown_workers()
