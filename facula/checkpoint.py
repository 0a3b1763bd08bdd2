"""Runs that go on where they were stopped: models, optimizers, random numbers, the place in the data, in one file.

```python
state = checkpoint.Checkpoint("run.pt", model=model, optimizer=optimizer, loader=loader, best=0.0)
state.restore()
for epoch in state.epochs(10):
    for x, y in loader:
        ...                      # a step
        state.save(every=100)    # may be killed at any time
    state.best = max(state.best, evaluate(model))
    state.save()
```

A run that was killed and started again ends with the same bits as one that was not, also from the middle of an epoch.
Not to be confused with `torch.utils.checkpoint`, which trades memory for time within a step.
"""

import os
import pickle
import random
import warnings
from collections import Counter, OrderedDict
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from facula.core.device import device
from facula.core.dtype import dtype
from facula.core.generator import Generator
from facula.core.shape import Size
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.nn import Module
from facula.serialization import load, save
from facula.utils.data import DataLoader
from facula.utils.data.position import Position, arrays, plain, random_states, set_random_states

__all__ = ["Checkpoint"]

FORMAT = 1


class Part(NamedTuple):
    """How the state of one kind of thing is taken and given back."""

    take: Any
    give: Any


def _part(thing: Any) -> Part | None:
    """What to do with a thing that has a state; None for values."""
    if isinstance(thing, DataLoader):
        if thing._position is None:
            thing._position = Position(thing)
        return Part(thing._position.state_dict, thing._position.load_state_dict)
    if isinstance(thing, Generator):
        source: Any = thing
        return Part(source.get_state, source.set_state)
    if isinstance(thing, np.random.Generator | np.random.RandomState):
        bits: Any = thing.bit_generator if isinstance(thing, np.random.Generator) else thing._bit_generator
        return Part(lambda: plain(bits.state), lambda state: setattr(bits, "state", arrays(state)))
    if isinstance(thing, random.Random):
        return Part(
            lambda: list(thing.getstate()),
            lambda state: thing.setstate((state[0], tuple(state[1]), state[2])),
        )
    if hasattr(thing, "state_dict") and hasattr(thing, "load_state_dict"):
        return Part(thing.state_dict, thing.load_state_dict)
    return None


def _parts(name: str, thing: Any) -> dict[str, Part]:
    """The parts in a thing, or in a list or dict of things; empty for values."""
    if isinstance(thing, list | tuple | dict):
        items = thing.items() if isinstance(thing, dict) else enumerate(thing)
        found = [_parts(f"{name}.{key}", item) for key, item in items]
        if any(found) and not all(found):
            fail(
                TypeError,
                f"{name} holds both things with a state and plain values",
                mend="give the values to the checkpoint under names of their own",
            )
        return {key: part for parts in found for key, part in parts.items()}
    part = _part(thing)
    return {} if part is None else {name: part}


_PLAIN = (bool, int, float, complex, str, bytes, Size, dtype, device, type(None))
_CONTAINERS = (list, tuple, dict, OrderedDict, Counter, set)


def _check(value: Any, path: str) -> None:
    """TypeError for what could be written, but not read again without running code of the file."""
    if type(value) in _PLAIN or isinstance(value, Tensor):
        return
    if type(value) not in _CONTAINERS:
        fail(
            TypeError,
            f"{path} cannot be kept in a checkpoint: a {type(value).__module__}.{type(value).__qualname__}",
            expected="tensors, numbers, text, and lists, tuples, sets and dicts of these",
            mend="convert it, as with float(x), x.tolist() or torch.from_numpy(x)",
        )
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        _check(item, f"{path}[{key!r}]")
        if isinstance(value, dict):
            _check(key, f"{path}: the key {key!r}")


class Checkpoint:
    """A file from which a run goes on, and what belongs to the run.

    The random numbers of facula, Python and NumPy are always part of it. Files are written atomically and read with
    `weights_only=True`.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    keep : int
        How many files to keep: the newest is `path`, then come `path.1`, `path.2`, ... `restore` takes an older one
        where a newer one is damaged.
    gradients : bool
        Whether the `.grad` of modules' parameters are kept too: for checkpoints between two backwards of one step.
    **parts
        What belongs to the run, by names of its own: everything with `state_dict` and `load_state_dict` (modules,
        optimizers, schedulers, GradScaler), data loaders (their place in the data), generators of facula, NumPy and
        Python, lists and dicts of these; all else is a value, and an attribute from then on.

    Raises
    ------
    TypeError
        A list holds both things with a state and values.
    ValueError
        A name is one of the checkpoint's own, or `keep` is below 1.

    Notes
    -----
    The place in the data is found again by starting the pass with the random numbers that it was started with, and
    going past the batches that were handed out; with `num_workers=0` and a dataset by index these are not loaded. A
    sampler of your own that draws from the default generator while the pass goes on, and not only when it starts,
    cannot be followed that way: let it draw when it starts. Random numbers that samples draw in worker processes are
    those of an uninterrupted run too, except in workers that lasted from an earlier epoch (`persistent_workers`).

    Examples
    --------
    >>> import os, tempfile
    >>> import facula as torch
    >>> path = os.path.join(tempfile.mkdtemp(), "run.pt")
    >>> model = torch.nn.Linear(2, 1)
    >>> state = Checkpoint(path, model=model, step=0)
    >>> state.restore()
    False
    >>> state.step += 1
    >>> state.save()
    True
    >>> again = Checkpoint(path, model=torch.nn.Linear(2, 1), step=0)
    >>> again.restore(), again.step
    (True, 1)
    """

    def __init__(self, path: str | os.PathLike, *, keep: int = 1, gradients: bool = False, **parts: Any):
        if keep < 1:
            fail(ValueError, "a checkpoint keeps at least one file", got=f"keep={keep}")
        own: dict[str, Any] = self.__dict__
        own["path"] = os.fspath(path)
        own["keep"] = keep
        own["gradients"] = gradients
        own["values"] = {}
        own["_parts"] = found = {}
        own["_modules"] = {name: thing for name, thing in parts.items() if isinstance(thing, Module)}
        own["_calls"] = 0
        own["_in_epochs"] = False
        for name, thing in parts.items():
            if name in own or hasattr(type(self), name):
                fail(ValueError, f"{name!r} is a name of the checkpoint's own", mend="choose another one")
            inside = _parts(name, thing)
            found.update(inside)
            if not inside:
                self.values[name] = thing
        owners = [getattr(part.take, "__self__", None) for part in found.values()]
        own["_positions"] = [owner for owner in owners if isinstance(owner, Position)]

    def __getattr__(self, name: str) -> Any:
        values = self.__dict__.get("values", {})
        if name in values:
            return values[name]
        raise AttributeError(f"the checkpoint has no value {name!r}: it has {', '.join(values) or 'none'}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._parts or name in self.__dict__ or hasattr(type(self), name):
            fail(AttributeError, f"{name!r} is no value of the checkpoint", expected=f"one of {', '.join(self.values)}")
        self.values[name] = value

    def __repr__(self) -> str:
        return f"Checkpoint({self.path!r}, parts: {', '.join(self._parts)}; values: {self.values})"

    def epochs(self, count: int) -> Iterator[int]:
        """The numbers of the epochs that are left, up to `count`; the present one is the value `epoch`.

        In this loop, `save` within the batches keeps the place among them; `save` after them, or where no loader is a
        part, counts the epoch as done: let it come last.

        Parameters
        ----------
        count : int
            Of all epochs of the run, those before the restart included.

        Examples
        --------
        >>> import tempfile
        >>> state = Checkpoint(os.path.join(tempfile.mkdtemp(), "run.pt"))
        >>> [epoch for epoch in state.epochs(2)]
        [0, 1]
        >>> state.epoch
        2
        """
        self.values.setdefault("epoch", 0)
        own: dict[str, Any] = self.__dict__
        own["_in_epochs"] = True
        try:
            while self.values["epoch"] < count:
                for position in self._positions:
                    position.started = False
                yield self.values["epoch"]
                self.values["epoch"] += 1
        finally:
            own["_in_epochs"] = False

    def state_dict(self) -> dict[str, Any]:
        """All that the file will hold.

        Raises
        ------
        TypeError
            Something in it could not be read again with `weights_only=True`.
        """
        values = dict(self.values)
        if self._in_epochs and self._epoch_is_over():
            values["epoch"] += 1
        state = {
            "format": FORMAT,
            "parts": {name: part.take() for name, part in self._parts.items()},
            "values": values,
            "random": random_states(),
        }
        if self.gradients:
            state["gradients"] = {
                name: {key: p.grad for key, p in module.named_parameters() if p.grad is not None}
                for name, module in self._modules.items()
            }
        for place in ("parts", "values"):
            for name, value in state[place].items():
                _check(value, name)
        return state

    def _epoch_is_over(self) -> bool:
        """Whether no pass over the data is under way, and none is still to come in this epoch."""
        positions = self._positions
        return all(p.current is None for p in positions) and (not positions or any(p.started for p in positions))

    def save(self, *, every: int = 1) -> bool:
        """Write the file.

        Parameters
        ----------
        every : int
            Write at each so-many-th call only.

        Returns
        -------
        bool
            Whether it was written.

        Raises
        ------
        TypeError
            Something is part of the run that could not be read again.
        OSError
            The file cannot be written; the one before is whole.
        """
        self.__dict__["_calls"] += 1
        if self._calls % every:
            return False
        state = self.state_dict()
        for number in range(self.keep - 1, 0, -1):  # from the oldest on; the newest is linked, so that it stays there
            newer = self._file(number - 1)
            if os.path.exists(newer):
                if number > 1:
                    os.replace(newer, self._file(number))
                else:
                    _link(newer, self._file(1))
        save(state, self.path)
        return True

    def save_best(self, metric: float, mode: str = "min") -> bool:
        """Write a second file, `path.best`, if a figure is the best one so far, which is part of the run.

        Parameters
        ----------
        metric : float
            The figure.
        mode : {"min", "max"}
            Which is better.

        Returns
        -------
        bool
            Whether it was the best.
        """
        if mode not in ("min", "max"):
            fail(ValueError, "what is best?", expected="mode 'min' or 'max'", got=repr(mode))
        metric, best = float(metric), self.values.get("best_metric")
        if best is not None and not (metric < best if mode == "min" else metric > best):
            return False
        self.values["best_metric"] = metric
        save(self.state_dict(), self.path + ".best")
        return True

    def restore(self, path: str | os.PathLike | None = None) -> bool:
        """Go on from the file.

        Parameters
        ----------
        path : str or os.PathLike, optional
            Another file, such as `path.best`.

        Returns
        -------
        bool
            False where there is no file: the run begins.

        Raises
        ------
        RuntimeError, pickle.UnpicklingError, EOFError
            All files are damaged.
        KeyError
            The file is of a run with other parts; nothing has been changed then.
        """
        files = [self._file(number) for number in range(self.keep)] if path is None else [os.fspath(path)]
        files = [file for file in files if path is not None or os.path.exists(file)]
        if not files:
            return False
        self._give(self._readable(files))
        return True

    def _readable(self, files: list[str]) -> dict[str, Any]:
        """What the newest file that is whole holds."""
        for number, file in enumerate(files):
            try:
                state = load(file, map_location="cpu", weights_only=True)
                if not isinstance(state, dict) or state.get("format") != FORMAT:
                    fail(RuntimeError, "not a file of facula.checkpoint", got=file)
                return state
            except (RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
                if number == len(files) - 1:
                    raise
                warnings.warn(f"{file} is damaged, going back to {files[number + 1]}: {error}", stacklevel=3)
        raise AssertionError("no file")

    def _give(self, state: dict[str, Any]) -> None:
        if state["parts"].keys() != self._parts.keys():
            fail(
                KeyError,
                "the checkpoint is of a run with other parts",
                expected=", ".join(self._parts),
                got=", ".join(state["parts"]),
                mend="name the same models, optimizers and loaders as when it was saved",
            )
        for name, part in self._parts.items():
            part.give(state["parts"][name])
        self.values.update(state["values"])
        for name, grads in state.get("gradients", {}).items():
            for key, parameter in self._modules[name].named_parameters():
                parameter.grad = grads.get(key)
        set_random_states(state["random"])

    def _file(self, number: int) -> str:
        return f"{self.path}.{number}" if number else self.path


def _link(source: str, target: str) -> None:
    """Give a file a second name, in place of what had that name."""
    between = f"{target}.tmp"
    if os.path.exists(between):
        os.unlink(between)
    try:
        os.link(source, between)
    except OSError:  # a file system without links
        os.replace(source, target)
        return
    os.replace(between, target)
