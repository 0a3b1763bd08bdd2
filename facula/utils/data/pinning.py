"""Batches in page-locked memory, from which a GPU copies while the program goes on."""

import copy
from collections.abc import Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

from facula import accelerator
from facula.core.tensor import Tensor

__all__ = ["pin_memory", "usable"]


def usable() -> bool:
    """Whether there is a GPU to copy to."""
    return accelerator.is_available()


def pin_memory(data: Any, device: Any = None) -> Any:
    """A batch whose tensors lie in page-locked memory, and whatever else has a method `pin_memory`."""
    if isinstance(data, Tensor) or hasattr(data, "pin_memory"):
        return data.pin_memory()
    if isinstance(data, (str, bytes)):
        return data
    if isinstance(data, Mapping):
        return _mapping(data, {key: pin_memory(value, device) for key, value in data.items()})
    if isinstance(data, tuple):
        made = [pin_memory(value, device) for value in data]
        return type(data)(*made) if hasattr(data, "_fields") else type(data)(made)
    if isinstance(data, Sequence):
        return _sequence(data, [pin_memory(value, device) for value in data])
    return data


def _mapping(data: Mapping, made: dict) -> Any:
    """`made` as what `data` is: its type may have more than its items."""
    try:
        if isinstance(data, MutableMapping):
            clone = copy.copy(data)
            clone.update(made)
            return clone
        return type(data)(made)  # type: ignore[call-arg]
    except TypeError:
        return made


def _sequence(data: Sequence, made: list) -> Any:
    """`made` as what `data` is."""
    try:
        if isinstance(data, MutableSequence):
            clone = copy.copy(data)
            for at, value in enumerate(made):
                clone[at] = value
            return clone
        return type(data)(made)  # type: ignore[call-arg]
    except TypeError:  # no copy, no items to be set, or another constructor: range
        return made
