"""`DistributedSampler`: each of several processes visits its own part of a dataset."""

import importlib
import importlib.util
import math
from collections.abc import Iterator, Sized
from typing import Any

from facula import operators
from facula.core.device import CPU
from facula.core.generator import Generator
from facula.errors import fail

from .sampler import _Ordered

ops: Any = operators

__all__ = ["DistributedSampler"]


def _process_group() -> Any:
    """torch.distributed; RuntimeError where there is none."""
    name = __name__.partition(".")[0] + ".distributed"
    found: Any = importlib.import_module(name) if importlib.util.find_spec(name) else None
    if found is None or not found.is_available():
        fail(RuntimeError, "Requires distributed package to be available", mend="give num_replicas and rank")
    return found


class DistributedSampler(_Ordered):
    """Every `num_replicas`-th sample, from `rank` on, of an order that all processes have in common.

    Parameters
    ----------
    dataset : Dataset
        With a length.
    num_replicas : int, optional
        How many processes there are; default: those of the process group.
    rank : int, optional
        Which of them this is; default: that of the process group.
    shuffle : bool
        Whether the order is a permutation, drawn from `seed` and the epoch.
    seed : int
        The same in all processes.
    drop_last : bool
        Whether to leave out the last samples where the length is no multiple, rather than to repeat the first.

    Raises
    ------
    ValueError
        `rank` is not among 0 to `num_replicas` - 1.
    RuntimeError
        There is no process group to ask.

    Examples
    --------
    >>> list(DistributedSampler(range(5), 2, 1, shuffle=False))
    [1, 3, 0]
    """

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        if num_replicas is None:
            num_replicas = int(_process_group().get_world_size())
        if rank is None:
            rank = int(_process_group().get_rank())
        if rank >= num_replicas or rank < 0:
            raise ValueError(f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]")
        self.dataset = dataset
        self.num_replicas = num_replicas
        self.rank = rank
        self.epoch = 0
        self.drop_last = drop_last
        count = len(dataset)
        if drop_last and count % num_replicas != 0:
            self.num_samples = math.ceil((count - num_replicas) / num_replicas)
        else:
            self.num_samples = math.ceil(count / num_replicas)
        self.total_size = self.num_samples * num_replicas
        self.shuffle = shuffle
        self.seed = seed

    def __iter__(self) -> Iterator[int]:
        (order,) = self._orders()
        return iter(order.tolist())

    def _orders(self) -> Iterator[Any]:
        count = len(self.dataset)
        if self.shuffle:
            generator = Generator()
            generator.manual_seed(self.seed + self.epoch)
            order = ops.randperm(count, device=CPU, generator=generator)
        else:
            order = ops.arange(count, device=CPU)
        missing = self.total_size - count
        if not self.drop_last and missing > 0:
            order = order.repeat(1 + math.ceil(missing / count))
        if len(order) < self.total_size or (missing < 0 and not self.drop_last):
            raise AssertionError(f"Number of indices ({len(order)}) does not match total_size ({self.total_size})")
        order = order[: self.total_size]
        own = order[self.rank : self.total_size : self.num_replicas].contiguous()
        if len(own) != self.num_samples:
            raise AssertionError(
                f"Number of subsampled indices ({len(own)}) does not match num_samples ({self.num_samples})"
            )
        yield own

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Let the next pass have another order; each process says the same.

        Parameters
        ----------
        epoch : int
            Is added to the seed.
        """
        self.epoch = epoch
