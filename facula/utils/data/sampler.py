"""The order in which samples are visited; random orders are PyTorch's for the same seed."""

import itertools
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any, Generic, TypeVar

from facula import operators
from facula.core.device import CPU
from facula.core.dtype import float64, int64
from facula.core.generator import Generator

ops: Any = operators  # whose results have the methods that `operators.methods` attaches

__all__ = [
    "BatchSampler",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "SubsetRandomSampler",
    "WeightedRandomSampler",
]

_T_co = TypeVar("_T_co", covariant=True)


def draw_seed(generator=None) -> int:
    """A seed for another generator: PyTorch takes one number of the full range of int64."""
    return int(ops.empty((), dtype=int64).random_(generator=generator).item())


class Sampler(Generic[_T_co]):
    """Base class: subclasses say `__iter__`, which gives indices or lists of them, and `__len__` where it is known."""

    def __iter__(self) -> Iterator[_T_co]:
        raise NotImplementedError


class _Ordered(Sampler[int]):
    """Samplers that have their order as ranges and vectors, `_orders`: the loader may take it as that (`rows.py`)."""

    def __iter__(self) -> Iterator[int]:
        for order in self._orders():
            yield from order if type(order) is range else order.tolist()

    def _orders(self) -> Iterator[Any]:
        raise NotImplementedError


class SequentialSampler(_Ordered):
    """0, 1, 2, ...

    Parameters
    ----------
    data_source : Sized
        The dataset.

    Examples
    --------
    >>> list(SequentialSampler("abc"))
    [0, 1, 2]
    """

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def _orders(self) -> Iterator[Any]:
        yield range(len(self.data_source))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(_Ordered):
    """A new permutation each time, or independent draws.

    Parameters
    ----------
    data_source : Sized
        The dataset.
    replacement : bool
        Whether a sample may come again.
    num_samples : int, optional
        How many to draw; default all.
    generator : Generator, optional
        Default: one seeded from the default generator.
    """

    def __init__(
        self, data_source: Sized, replacement: bool = False, num_samples: int | None = None, generator=None
    ) -> None:
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator
        if not isinstance(replacement, bool):
            raise TypeError(f"replacement should be a boolean value, but got replacement={replacement}")
        if not isinstance(self.num_samples, int) or self.num_samples <= 0:
            raise ValueError(f"num_samples should be a positive integer value, but got num_samples={self.num_samples}")

    @property
    def num_samples(self) -> int:
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        return super().__iter__()

    def _orders(self) -> Iterator[Any]:
        n, count = len(self.data_source), self.num_samples
        generator = self.generator
        if generator is None:
            seed = draw_seed()
            generator = Generator()
            generator.manual_seed(seed)
        if self.replacement:  # 32 at a time: the state that is left behind is part of the contract
            for size in [32] * (count // 32) + [count % 32]:
                yield ops.randint(n, (size,), dtype=int64, device=CPU, generator=generator)
        else:
            for _ in range(count // n):
                yield ops.randperm(n, device=CPU, generator=generator)
            yield ops.randperm(n, device=CPU, generator=generator)[: count % n]

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(_Ordered):
    """Some indices, in a new random order each time.

    Parameters
    ----------
    indices : sequence of int
        Each comes once.
    generator : Generator, optional
        Default: the default generator.
    """

    def __init__(self, indices: Sequence[int], generator=None) -> None:
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        for i in ops.randperm(len(self.indices), generator=self.generator).tolist():
            yield self.indices[i]

    def _orders(self) -> Iterator[Any]:  # of `indices`
        yield ops.randperm(len(self.indices), device=CPU, generator=self.generator)

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(_Ordered):
    """Indices drawn with given probabilities.

    Parameters
    ----------
    weights : sequence of float
        Proportional to the probabilities.
    num_samples : int
        How many to draw.
    replacement : bool
        Whether an index may come again.
    generator : Generator, optional
        Default: the default generator.
    """

    def __init__(self, weights: Sequence[float], num_samples: int, replacement: bool = True, generator=None) -> None:
        if not isinstance(num_samples, int) or isinstance(num_samples, bool) or num_samples <= 0:
            raise ValueError(f"num_samples should be a positive integer value, but got num_samples={num_samples}")
        if not isinstance(replacement, bool):
            raise ValueError(f"replacement should be a boolean value, but got replacement={replacement}")
        probabilities = ops.as_tensor(weights, dtype=float64)
        if len(probabilities.shape) != 1:
            raise ValueError(
                f"weights should be a 1d sequence but given weights have shape {tuple(probabilities.shape)}"
            )
        self.weights = probabilities
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        return super().__iter__()

    def _orders(self) -> Iterator[Any]:
        yield ops.multinomial(self.weights, self.num_samples, self.replacement, generator=self.generator)

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """Indices of another sampler in lists.

    Parameters
    ----------
    sampler : Sampler or Iterable
        Gives indices.
    batch_size : int
        Indices a list.
    drop_last : bool
        Whether to leave out a last list that is shorter.

    Examples
    --------
    >>> list(BatchSampler(SequentialSampler(range(5)), 2, False))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Sampler[int] | Iterable[int], batch_size: int, drop_last: bool) -> None:
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size <= 0:
            raise ValueError(f"batch_size should be a positive integer value, but got batch_size={batch_size}")
        if not isinstance(drop_last, bool):
            raise ValueError(f"drop_last should be a boolean value, but got drop_last={drop_last}")
        self.sampler: Any = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        indices = iter(self.sampler)
        while batch := list(itertools.islice(indices, self.batch_size)):
            if self.drop_last and len(batch) < self.batch_size:
                return
            yield batch

    def __len__(self) -> int:
        count = len(self.sampler)
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)
