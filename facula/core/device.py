"""Where a tensor's memory is: `torch.device`; knows no machine, only names."""

import functools
import threading
from typing import Any

from facula.errors import fail

__all__ = ["CPU", "CURRENT", "DEVICE", "choose", "device", "fixed", "of_places", "place"]

TYPES = ("cpu", "cuda", "meta")
_KNOWN: dict[tuple[str, int | None], "device"] = {}


class device:
    """A kind of machine and its number, as `torch.device`; equal devices are one object."""

    __slots__ = ("index", "type")
    type: str
    index: int | None

    def __new__(cls, type, index: int | None = None):
        if isinstance(type, device):
            return type
        if isinstance(type, int):
            type, index = "cuda", type
        name, _, number = type.partition(":")
        if name not in TYPES or (number and not number.isdigit()):
            fail(
                RuntimeError,
                f"Expected one of {', '.join(TYPES)} device type at start of device string: {type}",
                got=repr(type),
            )
        if number:
            if index is not None:
                fail(
                    RuntimeError, f"type (string) must not include an index because index was passed explicitly: {type}"
                )
            index = int(number)
        key = (name, index)
        found = _KNOWN.get(key)
        if found is None:
            found = object.__new__(cls)
            found.type, found.index = key
            _KNOWN[key] = found
        return found

    def __repr__(self) -> str:
        return f"device(type='{self.type}'" + (f", index={self.index})" if self.index is not None else ")")

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __reduce__(self):
        return (device, (self.type, self.index))

    def __enter__(self) -> "device":
        """Make tensors there by default until the block ends."""
        _OUTER.append(DEVICE[0])
        DEVICE[0] = self
        return self

    def __exit__(self, *error) -> None:
        DEVICE[0] = _OUTER.pop()

    def __call__(self, function):
        """Decorate a function, which then runs in such a block."""

        @functools.wraps(function)
        def inside(*args, **kwargs):
            with self:
                return function(*args, **kwargs)

        return inside


class _Current(threading.local):
    """Which GPU 'cuda' means in a thread."""

    index = 0


CPU = device("cpu")
CURRENT = _Current()
DEVICE: list[device] = [CPU]  # where tensors are made unless told otherwise: `set_default_device`, `with device:`
_OUTER: list[device] = []  # what it was outside of the open blocks


def place(where) -> device:
    """The device that tensors are made on for the argument `device=`: there is one CPU and one 'meta'."""
    if where is None:
        where = DEVICE[0]
    found = where if where.__class__ is device else device(where)
    if found.type == "cuda":
        return device("cuda", CURRENT.index) if found.index is None else found
    return found if found.index is None else device(found.type)


_CHOSEN = [False]  # whether 'cuda' was ever something else than the first GPU
_MADE_FOR: list[Any] = []


def of_places(memory: Any) -> Any:
    """What remembers calls by the device that they name: cleared when that may be another one; see `fixed`."""
    _MADE_FOR.append(memory)
    return memory


def fixed(*named) -> bool:
    """Whether what a call said of devices means the same next time: else nothing may remember it."""
    return not _CHOSEN[0] or not any(
        where is not None and place(where) is device("cuda", CURRENT.index) and device(where).index is None
        for where in named
    )


def choose(index: int) -> int:
    """Have 'cuda' mean another GPU in this thread from now on; returns the number of the one before."""
    before = CURRENT.index
    if index != before:
        CURRENT.index = index
        if not _CHOSEN[0]:
            _CHOSEN[0] = True
            for memory in _MADE_FOR:
                memory.clear()
    return before
