"""`DataLoader`: goes through a dataset in a sampler's order and hands out batches, in this process."""

import itertools
import multiprocessing
import multiprocessing.context
import warnings
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from facula import operators as ops
from facula.errors import fail

from .collate import default_collate, default_convert
from .dataset import Dataset, IterableDataset, Subset, TensorDataset
from .sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler, draw_seed

__all__ = ["DataLoader", "default_collate", "default_convert", "get_worker_info"]

_T_co = TypeVar("_T_co", covariant=True)


class _DatasetKind:
    Map = 0
    Iterable = 1


class _InfiniteConstantSampler(Sampler):
    """What an iterable dataset, which has no indices, is asked for."""

    def __iter__(self):
        return itertools.repeat(None)


def get_worker_info():
    """None: batches are made in the main process.

    >>> get_worker_info() is None
    True
    """
    return None


def _rows(dataset: Dataset, indices: list):
    """The tensors behind a TensorDataset, or Subsets of one, and the rows that `indices` mean there; None otherwise."""
    if type(indices) is not list:
        return None
    while type(dataset) is Subset:
        whole = dataset.indices
        indices = [whole[index] for index in indices]
        dataset = dataset.dataset
    if type(dataset) is not TensorDataset:
        return None
    count = len(dataset)
    if not indices or not all(type(index) is int and 0 <= index < count for index in indices):
        return None
    if any(tensor.requires_grad for tensor in dataset.tensors):
        return None
    return dataset.tensors, indices


def _take_rows(dataset: Dataset, indices: list) -> list | None:
    """A collated batch by one indexed copy a tensor: what stacking its samples gives."""
    found = _rows(dataset, indices)
    if found is None:
        return None
    tensors, rows = found
    rows = ops.tensor(rows)
    return [ops.index_select(tensor, 0, rows) for tensor in tensors]


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
        0: batches are made in this process, which is all there is so far.
    collate_fn : callable, optional
        Makes a batch of a list of samples; default `default_collate` (without batches, `default_convert`).
    pin_memory : bool
        Without an accelerator, of no effect but a warning.
    drop_last : bool
        Whether to leave out a last batch that is smaller.
    generator : Generator, optional
        For the random order.
    timeout, worker_init_fn, multiprocessing_context, prefetch_factor, persistent_workers, pin_memory_device, in_order
        For worker processes.

    Raises
    ------
    ValueError
        Options that exclude each other.
    NotImplementedError
        `num_workers` other than 0.

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
        if num_workers > 0:
            fail(
                NotImplementedError,
                "facula's DataLoader makes its batches in this process: worker processes are not written yet",
                expected="num_workers=0",
                got=f"num_workers={num_workers}",
                mend="leave out num_workers (and prefetch_factor, persistent_workers); the batches are the same",
            )

        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.generator = generator
        self.collate_fn = collate_fn or (default_collate if self._auto_collation else default_convert)
        self.persistent_workers = persistent_workers
        self.__initialized = True
        self._IterableDataset_len_called: int | None = None  # what len() said, to warn when more comes
        self._iterator = None

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

    def _pass(self) -> "_SingleProcessDataLoaderIter":
        return self._get_iterator()

    def _get_iterator(self) -> "_SingleProcessDataLoaderIter":
        return _SingleProcessDataLoaderIter(self)

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


class _SingleProcessDataLoaderIter:
    """One pass over a loader's dataset."""

    def __init__(self, loader: DataLoader) -> None:
        if loader.pin_memory:
            warnings.warn(
                "'pin_memory' argument is set as true but no accelerator is found, then device pinned memory won't be "
                "used.",
                stacklevel=4,
            )
        self._loader = loader
        self._dataset = loader.dataset
        self._auto_collation = loader._auto_collation
        self._drop_last = loader.drop_last
        self._index_sampler = loader._index_sampler
        self._collate_fn = loader.collate_fn
        self._iterable = loader._dataset_kind == _DatasetKind.Iterable
        self._promised = loader._IterableDataset_len_called
        self._sampler_iter = iter(self._index_sampler)
        self._base_seed = draw_seed(loader.generator)  # for workers; drawn without them too, as PyTorch does
        if loader.timeout != 0:
            raise AssertionError("_SingleProcessDataLoaderIter requires timeout == 0")
        self._num_yielded = 0
        self._dataset_iter: Any = iter(self._dataset) if self._iterable else None
        self._ended = False
        self._by_rows = self._auto_collation and loader.collate_fn is default_collate and not self._iterable

    def __iter__(self):
        return self

    def __len__(self) -> int:
        return len(self._index_sampler)

    def __getstate__(self):
        raise NotImplementedError("{} cannot be pickled", type(self).__name__)

    def __next__(self):
        index = next(self._sampler_iter)
        data = self._fetch_next(index) if self._iterable else self._fetch(index)
        self._num_yielded += 1
        if self._promised is not None and self._num_yielded > self._promised:
            warnings.warn(
                f"Length of IterableDataset {self._dataset} was reported to be {self._promised}(when accessing "
                f"len(dataloader)), but {self._num_yielded} samples have been fetched. ",
                stacklevel=2,
            )
        return data

    def _fetch(self, index):
        """The sample, or the batch, of a dataset by index."""
        dataset = self._dataset
        if not self._auto_collation:
            return self._collate_fn(dataset[index])
        if self._by_rows:
            batch = _take_rows(dataset, index)
            if batch is not None:
                return batch
        if hasattr(dataset, "__getitems__") and dataset.__getitems__:
            return self._collate_fn(dataset.__getitems__(index))
        return self._collate_fn([dataset[i] for i in index])

    def _fetch_next(self, index):
        """The next sample, or the next batch, of an iterable dataset."""
        if self._ended:
            raise StopIteration
        if not self._auto_collation:
            return self._collate_fn(next(self._dataset_iter))
        data = list(itertools.islice(self._dataset_iter, len(index)))
        self._ended = len(data) < len(index)
        if not data or (self._drop_last and self._ended):
            raise StopIteration
        return self._collate_fn(data)
