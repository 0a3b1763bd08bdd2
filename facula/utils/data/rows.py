"""Batches of tensors that lie in memory by one indexed copy a tensor, where that is what the loader means.

A TensorDataset, or Subsets of one, collated by `default_collate`: stacking its samples gives what one indexed copy
gives. The order stays a tensor from the sampler to the copy, drawn as `Sampler.__iter__` draws it. Whatever is not
exactly so (a subclass, another collate function, negative indices, tensors that need a gradient) is left to the general
way.
"""

from array import array
from collections.abc import Iterator
from operator import itemgetter
from typing import Any

import numpy as np

from facula import operators
from facula.core.device import CPU
from facula.core.dtype import int64
from facula.core.modes import GUARD, LOCAL
from facula.core.tensor import Tensor

from . import collate
from .dataset import Subset, TensorDataset, _Indices
from .distributed import DistributedSampler
from .sampler import BatchSampler, RandomSampler, SequentialSampler, SubsetRandomSampler, WeightedRandomSampler

ops: Any = operators

__all__ = ["batches", "take_listed", "take_rows"]

SAMPLERS = (DistributedSampler, RandomSampler, SequentialSampler, SubsetRandomSampler, WeightedRandomSampler)
# What the classes do; who has put something else there means it.
_MEANT = {kind: vars(kind)["__iter__"] for kind in (*SAMPLERS, BatchSampler)}
_ITEM, _LENGTH = TensorDataset.__getitem__, TensorDataset.__len__
_SUBSET = {name: vars(Subset)[name] for name in ("__getitem__", "__getitems__", "__len__")}


def _plain(dataset: Any) -> bool:
    """Whether it is a TensorDataset, or Subsets of one, as these classes mean it."""
    while type(dataset) is Subset:
        if any(vars(Subset)[name] is not found for name, found in _SUBSET.items()):
            return False
        if "__getitems__" in vars(dataset):
            return False
        dataset = dataset.dataset
    return (
        type(dataset) is TensorDataset
        and TensorDataset.__getitem__ is _ITEM
        and TensorDataset.__len__ is _LENGTH
        and not hasattr(dataset, "__getitems__")
        and collate.default_collate_fn_map == collate.ORIGINAL
    )


def batches(loader: Any) -> Iterator | None:
    """The batches of indices of a loader as tensors, or ranges; None where they, or the data, want the general way."""
    batcher = loader.batch_sampler
    if type(batcher) is not BatchSampler or type(batcher.sampler) not in SAMPLERS:
        return None
    if any(vars(kind)["__iter__"] is not _MEANT[kind] for kind in (BatchSampler, type(batcher.sampler))):
        return None
    if loader.collate_fn is not collate.default_collate or not _plain(loader.dataset):
        return None
    return _cut(batcher)


def _cut(batcher: BatchSampler) -> Iterator:
    """`BatchSampler.__iter__` on tensors: pieces of the order, as late as it takes them."""
    pieces: list[Any] = []
    have, size, sampler = 0, batcher.batch_size, batcher.sampler
    for order in sampler._orders():
        at, end = 0, len(order)
        while at < end:
            take = min(size - have, end - at)
            piece = order[at : at + take]
            pieces.append(_chosen(sampler, piece) if type(sampler) is SubsetRandomSampler else piece)
            at += take
            have += take
            if have == size:
                yield pieces[0] if len(pieces) == 1 else ops.cat(pieces)
                pieces, have = [], 0
    if have and not batcher.drop_last:
        yield pieces[0] if len(pieces) == 1 else ops.cat(pieces)


def _chosen(sampler: SubsetRandomSampler, rows: Any) -> Any:
    try:
        found = _picked(sampler.indices, rows)
    except (OverflowError, TypeError):
        found = None
    return [sampler.indices[row] for row in rows.tolist()] if found is None else found


def _picked(whole: Any, rows: Any) -> Any:
    """`[whole[row] for row in rows]` as a vector; None where these are not plain indices."""
    kind = type(whole)
    if kind is _Indices:
        kind, whole = (list, whole) if whole.vector is None else (Tensor, whole.vector)
    if kind is Tensor:
        return _selected(whole, _vector(rows)) if whole.spec.dtype is int64 and whole.spec.ndim == 1 else None
    if kind is range:
        rows = _vector(rows)
        inside = len(rows) and 0 <= int(rows.min()) and int(rows.max()) < len(whole)
        return rows * whole.step + whole.start if inside else None
    listed = rows if type(rows) is list else list(rows) if type(rows) is range else rows.tolist()
    if kind is np.ndarray:
        return _vector(whole[listed].tolist()) if whole.ndim == 1 and whole.dtype.kind in "iu" else None
    if kind is list or kind is tuple:
        found = itemgetter(*listed)(whole)
        return _vector(found if len(listed) > 1 else (found,))
    return None


def _vector(rows: Any) -> Any:
    """A vector of them; TypeError where they are no ints."""
    if type(rows) is Tensor:
        return rows
    if type(rows) is range:
        return ops.arange(rows.start, rows.stop, dtype=int64, device=CPU)
    if bool in map(type, rows):  # an index of another meaning
        raise TypeError
    return ops.frombuffer(array("q", rows), dtype=int64)


def _selected(tensor: Any, rows: Any) -> Any:
    """The rows, copied; IndexError where there are none such."""
    if type(rows) is range:
        part = tensor[rows.start : rows.stop]
        return part.clone() if part.spec.contiguous else part.contiguous()
    return ops.index_select(tensor, 0, rows)


def take_rows(dataset: Any, rows: Any) -> list | None:
    """A collated batch of a dataset that is `_plain`; None where the general way has to give it, or its error.

    Parameters
    ----------
    dataset : TensorDataset or Subset
    rows : Tensor, range or list of int
        A vector of int64, a range with step 1, or indices from a program.
    """
    if GUARD.active and (LOCAL.special or LOCAL.levels):  # somebody listens to single operations, or changes them
        return None
    try:
        while type(dataset) is Subset:
            rows = _picked(dataset.indices, rows)
            if rows is None:
                return None
            dataset = dataset.dataset
        tensors = dataset.tensors
        if type(rows) is list:
            if not rows:
                return None
            rows = _vector(rows)  # a negative one `index_select` refuses
        for tensor in tensors:
            spec = tensor.spec if type(tensor) is Tensor else None
            if spec is None or spec.kind is not None or spec.ndim == 0 or tensor.needs_grad or spec.device is not CPU:
                return None
            if type(rows) is range and rows.stop > spec.shape[0]:
                return None
        return [_selected(tensor, rows) for tensor in tensors]
    except (IndexError, OverflowError, TypeError):
        return None


def take_listed(dataset: Any, indices: Any) -> list | None:
    """`take_rows` for what a program's own sampler gave."""
    if type(indices) is not list or type(dataset) not in (TensorDataset, Subset) or not _plain(dataset):
        return None
    return take_rows(dataset, indices)
