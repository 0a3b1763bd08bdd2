"""Samples to batches: tensors, arrays and numbers are stacked, containers are gone through."""

import collections.abc
import copy
import re
from collections.abc import Callable

import numpy as np

from facula import operators as ops
from facula.core.dtype import float64
from facula.core.layout import strided
from facula.core.tensor import Tensor

from . import outbox

__all__ = ["collate", "default_collate", "default_collate_fn_map", "default_convert"]

TEXT_OR_OBJECTS = re.compile(r"[SaUO]")  # NumPy kinds that are no numbers
MESSAGE = "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {}"


def _rebuilt_mapping(example, values: dict):
    """`values` in a mapping of the example's type, with its further attributes where it is mutable."""
    try:
        if isinstance(example, collections.abc.MutableMapping):
            clone = copy.copy(example)
            clone.update(values)
            return clone
        return type(example)(values)
    except TypeError:  # a type that cannot be copied, updated, or made of a dict
        return values


def _rebuilt_sequence(example, values: list):
    """`values` in a sequence of the example's type."""
    try:
        if isinstance(example, collections.abc.MutableSequence):
            clone = copy.copy(example)
            for i, value in enumerate(values):
                clone[i] = value
            return clone
        return type(example)(values)
    except TypeError:  # range, for one
        return values


def default_convert(data):
    """NumPy arrays and numbers inside `data` as tensors; everything else as it is.

    Parameters
    ----------
    data : object
        One sample.

    Examples
    --------
    >>> default_convert({"x": np.arange(2), "name": "a"})
    {'x': tensor([0, 1]), 'name': 'a'}
    """
    kind = type(data)
    if isinstance(data, Tensor):
        return data
    if kind.__module__ == "numpy" and kind.__name__ not in ("str_", "string_"):
        if kind.__name__ == "ndarray" and TEXT_OR_OBJECTS.search(data.dtype.str):
            return data
        return ops.as_tensor(data)
    if isinstance(data, collections.abc.Mapping):
        return _rebuilt_mapping(data, {key: default_convert(data[key]) for key in data})
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return kind(*(default_convert(item) for item in data))
    if isinstance(data, tuple):
        return [default_convert(item) for item in data]
    if isinstance(data, collections.abc.Sequence) and not isinstance(data, str | bytes):
        return _rebuilt_sequence(data, [default_convert(item) for item in data])
    return data


def collate(batch, *, collate_fn_map: dict[type | tuple[type, ...], Callable] | None = None):
    """A batch of samples as one sample of batches, by a table of what to do with each type.

    Parameters
    ----------
    batch : list
        Samples of one structure.
    collate_fn_map : dict
        {type or tuple of types: function(batch, *, collate_fn_map)}; the exact type first, then by order of the table.
    """
    example = batch[0]
    kind = type(example)
    if collate_fn_map is not None:
        function = collate_fn_map.get(kind)
        if function is None:
            function = next((found for types, found in collate_fn_map.items() if isinstance(example, types)), None)
        if function is not None:
            return function(batch, collate_fn_map=collate_fn_map)
    if isinstance(example, collections.abc.Mapping):
        values = {key: collate([sample[key] for sample in batch], collate_fn_map=collate_fn_map) for key in example}
        return _rebuilt_mapping(example, values)
    if isinstance(example, tuple) and hasattr(example, "_fields"):
        return kind(*(collate(column, collate_fn_map=collate_fn_map) for column in zip(*batch)))
    if isinstance(example, collections.abc.Sequence):
        if len(set(map(len, batch))) > 1:
            raise RuntimeError("each element in list of batch should be of equal size")
        columns = [collate(column, collate_fn_map=collate_fn_map) for column in zip(*batch)]
        return columns if isinstance(example, tuple) else _rebuilt_sequence(example, columns)
    raise TypeError(MESSAGE.format(kind))


def collate_tensor_fn(batch, *, collate_fn_map=None):
    if batch[0].layout is not strided:
        raise RuntimeError(
            "Batches of sparse tensors are not currently supported by the default collate_fn; please provide a custom "
            "collate_fn to handle them appropriately."
        )
    if outbox.current is not None:  # in a worker process: where the other one sees it
        made = outbox.current.stack(batch)
        if made is not None:
            return made
    return ops.stack(batch, 0)


def collate_numpy_array_fn(batch, *, collate_fn_map=None):
    if TEXT_OR_OBJECTS.search(batch[0].dtype.str):
        raise TypeError(MESSAGE.format(batch[0].dtype))
    return collate([ops.as_tensor(array) for array in batch], collate_fn_map=collate_fn_map)


def collate_numpy_scalar_fn(batch, *, collate_fn_map=None):
    return ops.as_tensor(batch)


def collate_float_fn(batch, *, collate_fn_map=None):
    return ops.tensor(batch, dtype=float64)


def collate_int_fn(batch, *, collate_fn_map=None):
    return ops.tensor(batch)


def collate_str_fn(batch, *, collate_fn_map=None):
    return batch


default_collate_fn_map: dict[type | tuple[type, ...], Callable] = {
    Tensor: collate_tensor_fn,
    np.ndarray: collate_numpy_array_fn,
    (np.bool_, np.number, np.object_): collate_numpy_scalar_fn,
    float: collate_float_fn,
    int: collate_int_fn,
    str: collate_str_fn,
    bytes: collate_str_fn,
}
ORIGINAL = dict(default_collate_fn_map)  # programs may change the other one


def default_collate(batch):
    """A list of samples as one sample with a further first dimension.

    Tensors and arrays are stacked, numbers become tensors, text stays a list; containers are gone through.

    Parameters
    ----------
    batch : list
        Samples of one structure.

    Raises
    ------
    TypeError
        A sample holds something else.
    RuntimeError
        Sequences of different lengths, or tensors of different shapes.

    Examples
    --------
    >>> default_collate([{"a": 0, "b": "x"}, {"a": 1, "b": "y"}])
    {'a': tensor([0, 1]), 'b': ['x', 'y']}
    """
    return collate(batch, collate_fn_map=default_collate_fn_map)
