"""Where a pass over a loader is, so that another process can go on in its middle; files are `facula.checkpoint`'s.

A pass is begun again with the random numbers that it was begun with, goes past the batches that were already handed
out, and the random numbers then go on from where they were.
"""

import random
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from facula import operators as ops
from facula.core import generator as records
from facula.core.generator import Generator
from facula.errors import fail

__all__ = ["Position", "random_states", "set_random_states"]

default_generator: Any = records.default_generator


def random_states() -> dict[str, Any]:
    """The states of all random numbers of the process: facula's, Python's and NumPy's; of tensors and plain values."""
    version, words, gauss = random.getstate()
    legacy: Any = np.random.get_state(legacy=False)
    states = {
        "torch": default_generator.get_state(),
        "python": {"version": version, "words": _words(words), "gauss": gauss},
        "numpy": plain(legacy),
    }
    gpus = _gpus()
    if gpus is not None:
        states["cuda"] = gpus.get_rng_state_all()
    return states


def set_random_states(states: dict[str, Any]) -> None:
    """Go on from what `random_states` gave."""
    default_generator.set_state(states["torch"])
    python = states["python"]
    random.setstate((python["version"], tuple(python["words"].tolist()), python["gauss"]))
    np.random.set_state(arrays(states["numpy"]))
    gpus = _gpus()
    if gpus is not None and "cuda" in states:
        gpus.set_rng_state_all(states["cuda"])


def _gpus() -> Any:
    """`torch.cuda`, where there is a GPU whose random numbers can be kept."""
    module = sys.modules.get("facula.cuda")
    usable = module is not None and module.is_available() and hasattr(module, "get_rng_state_all")
    return module if usable else None


def _words(values) -> Any:
    return ops.from_numpy(np.array(values, np.int64))


def plain(value: Any) -> Any:
    """A state of NumPy with tensors in the place of arrays, and numbers of Python."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return {"dtype": value.dtype.name, "words": ops.from_numpy(value.astype(np.uint64).view(np.int64))}
    return value.item() if isinstance(value, np.generic) else value


def arrays(value: Any) -> Any:
    """The inverse of `plain`."""
    if isinstance(value, dict):
        if value.keys() == {"dtype", "words"}:
            return value["words"].numpy().view(np.uint64).astype(value["dtype"])
        return {key: arrays(item) for key, item in value.items()}
    return value


def _generators(loader) -> list[Any]:
    """The generators of a loader and of its samplers, each once, in an order that is the same in each process."""
    places = [loader, loader.sampler, loader.batch_sampler, getattr(loader.batch_sampler, "sampler", None)]
    places.append(loader.dataset)
    found: dict[int, Any] = {}
    for place in places:
        generator = getattr(place, "generator", None)
        if isinstance(generator, Generator) and generator is not default_generator:
            found[id(generator)] = generator
    return list(found.values())


class Position:
    """Follows the passes over one loader: its `__iter__` hands them to `start`."""

    def __init__(self, loader: Any):
        self.loader = loader
        self.newest: Callable[[], Pass | None] = lambda: None
        self.wanted: dict[str, Any] | None = None
        self.started = False  # whether there was a pass since somebody set this back

    @property
    def current(self) -> "Pass | None":
        """The pass that is under way; None before the first one, after its end, and where a loop was left."""
        found = self.newest()
        return None if found is None or found.finished else found

    def _own(self) -> list:
        return [generator.get_state() for generator in _generators(self.loader)]

    def _set_own(self, states: list) -> None:
        generators = _generators(self.loader)
        if len(generators) != len(states):
            fail(
                RuntimeError,
                "the checkpoint is of a loader with other generators",
                expected=f"{len(states)} generators",
                got=len(generators),
                mend="make the loader as it was made when the checkpoint was saved",
            )
        for generator, state in zip(generators, states):
            generator.set_state(state)

    def states(self) -> dict[str, Any]:
        """All random numbers that a pass may take: the process's and those of the loader's own generators."""
        return {"all": random_states(), "own": self._own()}

    def _set(self, states: dict[str, Any]) -> None:
        set_random_states(states["all"])
        self._set_own(states["own"])

    def _workers_are_there(self) -> bool:
        """Whether the workers of an earlier pass serve the next one too."""
        return bool(self.loader.persistent_workers and self.loader._iterator is not None)

    def start(self, begin: Callable[[], Iterator]) -> "Pass":
        """A pass: a new one, or the one that the checkpoint was saved in."""
        self.started = True
        wanted, self.wanted = self.wanted, None
        now, reused = self.states(), self._workers_are_there()
        if wanted is None:
            made = Pass(begin(), self, now, reused)
        else:
            if wanted["reused"] and not reused:
                begin()  # makes the workers, which takes random numbers that the pass itself did not take
            self._set(wanted["begin"])
            made = Pass(begin(), self, wanted["begin"], wanted["reused"])
            if wanted["first"] is not None:
                made.first = wanted["first"]
                self._set(wanted["first"])
                made.skip(wanted["batches"])
            self._set(now)
        self.newest = weakref.ref(made)
        return made

    def state_dict(self) -> dict[str, Any]:
        """Where the pass is, if one is under way, and the states of the loader's own generators."""
        found = self.current
        return {"pass": self.wanted if found is None else found.place(), "own": self._own()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next pass be the rest of the one that `state_dict` was called in."""
        self._set_own(state["own"])
        self.wanted = state["pass"]
        self.newest = lambda: None


class Pass:
    """One pass over a loader, counted."""

    def __init__(self, iterator: Any, position: Position, begin: dict[str, Any], reused: bool):
        self.iterator = iterator
        self.reused = reused  # whether workers of an earlier pass make the batches
        self.position = position
        self.begin = begin  # random states before the pass began
        self.first: dict[str, Any] | None = None  # and before its first batch was asked for
        self.count = 0
        self.finished = False

    def __iter__(self):
        return self

    def __len__(self) -> int:
        return len(self.iterator)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.iterator, name)

    def __next__(self) -> Any:
        if self.first is None:
            self.first = self.position.states()
        try:
            batch = next(self.iterator)
        except StopIteration:
            self.finished = True
            raise
        self.count += 1
        return batch

    def place(self) -> dict[str, Any]:
        """What has to be known to be here again."""
        return {"batches": self.count, "begin": self.begin, "first": self.first, "reused": self.reused}

    def skip(self, count: int) -> None:
        """Go past batches; where nothing but the order of a sampler decides what they are, they are not loaded."""
        loader, source = self.position.loader, self.iterator
        if loader.num_workers == 0 and loader._dataset_kind == 0:
            source = getattr(source, "_batches", None) or source._sampler_iter
        for done in range(count):
            try:
                next(source)
            except StopIteration:
                fail(
                    RuntimeError,
                    f"the loader has only {done} batches, but the checkpoint was saved after {count}",
                    mend="make the loader and its dataset as they were when the checkpoint was saved",
                )
        self.count = count
