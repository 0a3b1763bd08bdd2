"""The state of a random number stream, PyTorch's bit for bit; drawing from it is left to `targets`.

What a record holds is the business of its engine: `mersenne` on CPUs, `philox` on GPUs.
"""

import operator
import os
import secrets
import threading
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import numpy as np

from facula.errors import fail

from . import mersenne, philox
from .device import CPU, place
from .device import device as device_type

__all__ = [
    "DEFAULT_SEED", "NEEDED", "Generator", "default_generator", "default_of", "restore", "seed_all", "seed_gpus",
    "snapshot", "snapshot_gpus",
]  # fmt: skip

DEFAULT_SEED = 67280421310721
ENGINES: dict[str, ModuleType] = {"cpu": mersenne, "cuda": philox}
NEEDED: dict[str, Callable[[device_type], Any]] = {}  # by type of device: raises where there is none


class Generator:
    """A stream of random numbers with its own state, as `torch.Generator`.

    Equal seeds give PyTorch's numbers, and `legacy_state` is the content of PyTorch's state tensor (`get_state` and
    `set_state` wrap it and are attached by `operators/random.py`).

    Parameters
    ----------
    device : device or str
        Where the numbers are made: ``"cpu"``, or ``"cuda"`` where there is a GPU.

    Raises
    ------
    RuntimeError
        For another kind of device.

    Examples
    --------
    >>> Generator().manual_seed(5).initial_seed()
    5
    """

    __slots__ = ("__weakref__", "device", "engine", "lock", "ptr", "record")

    device: device_type
    engine: Any  # the module that knows the record
    record: np.ndarray  # bytes
    ptr: int  # its address, for native code
    lock: threading.Lock  # held while native code draws

    def __init__(self, device=CPU):
        where = device_type(device)
        if where.type == "meta":
            fail(RuntimeError, "META device type not an accelerator.")
        if where.type in NEEDED:
            NEEDED[where.type](where)
        self._begin(where)

    def _begin(self, where: device_type) -> None:
        self.device = where if where.type == "cpu" else place(where)
        self.engine = ENGINES[where.type]
        self.record = np.zeros(self.engine.RECORD, np.uint8)
        self.ptr = self.record.ctypes.data
        self.lock = threading.Lock()
        self._start(DEFAULT_SEED)

    def _start(self, seed: int) -> None:
        with self.lock:
            self.engine.start(self.record, seed)

    def manual_seed(self, seed: int) -> "Generator":
        """Start the stream of `seed`, an integer in [-2**63, 2**64); negative ones count from 2**64 downward.

        >>> Generator().manual_seed(-1).initial_seed() == 2**64 - 1
        True
        """
        if isinstance(seed, bool) or not hasattr(seed, "__index__"):
            fail(RuntimeError, f"manual_seed expected a long, but got {type(seed).__name__}", mend="pass int(seed)")
        seed = operator.index(seed)
        if not -(1 << 63) <= seed < 1 << 64:
            fail(ValueError, "Overflow when unpacking long long", expected="-2**63 <= seed < 2**64", got=seed)
        self._start(seed & 0xFFFFFFFFFFFFFFFF)
        return self

    def seed(self) -> int:
        """Start a stream that nobody can foretell; returns its seed."""
        seed = secrets.randbits(64)
        self._start(seed)
        return seed

    def initial_seed(self) -> int:
        """The seed of this stream."""
        return self.engine.seed(self.record)

    def get_offset(self) -> int:
        """How far generators that count have come; CPU ones do not."""
        return self.engine.offset(self.record)

    def set_offset(self, offset: int) -> None:
        """Go on from another place, for generators that count; CPU ones do not."""
        with self.lock:
            self.engine.set_offset(self.record, operator.index(offset))

    def _like(self) -> "Generator":
        other = object.__new__(Generator)
        other._begin(self.device)
        return other

    def clone_state(self) -> "Generator":
        """Another generator that will give the same numbers.

        >>> a = Generator().manual_seed(3)
        >>> bool((a.clone_state().legacy_state() == a.legacy_state()).all())
        True
        """
        other = self._like()
        with self.lock:
            other.record[:] = self.record
        return other

    def graphsafe_get_state(self) -> "Generator":
        """Another generator that shares the state of this one: each goes on where the other one stopped."""
        if self.engine is mersenne:
            fail(NotImplementedError, "graphsafe_get_state is not supported in this Generator")
        other = self._like()
        other.graphsafe_set_state(self)
        return other

    def graphsafe_set_state(self, state: "Generator") -> None:
        """Share the state of another generator from now on."""
        if self.engine is mersenne:
            fail(NotImplementedError, "graphsafe_set_state is not supported in this Generator")
        if state.engine is not self.engine:
            fail(RuntimeError, "Expected a CUDA Generator", got=state.device)
        self.record, self.ptr, self.lock = state.record, state.ptr, state.lock

    def legacy_state(self) -> np.ndarray:
        """The state, as the bytes of PyTorch's state tensor (uint8): 5056 on CPUs, 16 on GPUs."""
        with self.lock:
            return self.engine.state(self.record)

    def load_legacy_state(self, state) -> None:
        """Go on from a state that `legacy_state`, or PyTorch, gave.

        Parameters
        ----------
        state : array of uint8, or bytes
            As many as `legacy_state` gives.

        Raises
        ------
        RuntimeError
            In PyTorch's words, where the size is another or the content is no state of the engine.
        """
        state = np.frombuffer(state, np.uint8) if isinstance(state, (bytes, bytearray)) else np.asarray(state)
        if state.dtype != np.uint8:
            fail(TypeError, "RNG state must be a torch.ByteTensor", got=state.dtype)
        state = np.ascontiguousarray(state).reshape(-1)
        with self.lock:
            self.engine.load(self.record, state)

    def __reduce__(self):
        return (_restore, (self.device, self.legacy_state().tobytes()))


def _restore(where: device_type, state: bytes) -> Generator:
    generator = Generator(where)
    generator.load_legacy_state(state)
    return generator


# Default generators ---------------------------------------------------------------------------------------------------


def _default(where: device_type) -> Generator:
    """A generator with a seed that nobody can foretell; its record needs no device."""
    made = object.__new__(Generator)
    made._begin(where)
    made.seed()
    return made


default_generator = _default(CPU)
_OF_GPUS = [_default(device_type("cuda", 0))]  # and of others, once they are asked for
# By device; where nothing is drawn, it does not matter whose.
_DEFAULTS = {CPU: default_generator, device_type("meta"): default_generator, _OF_GPUS[0].device: _OF_GPUS[0]}
_SEED: list[int] = []  # what all were started from; nothing: each from its own number


_HELD: list[Generator] = []


def _hold() -> None:
    _HELD[:] = [default_generator, *_OF_GPUS]
    for generator in _HELD:
        generator.lock.acquire()


def _let_go() -> None:
    for generator in _HELD:
        generator.lock.release()


if hasattr(os, "register_at_fork"):  # a child must not find them locked by a thread that it does not have
    os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_let_go)


def default_of(where: device_type) -> Generator:
    """The generator that is used on a device where nobody names one."""
    found = _DEFAULTS.get(where)
    if found is None:
        found = _default(where)
        if _SEED:
            found.manual_seed(_SEED[0])
        found = _DEFAULTS.setdefault(where, found)
        if found not in _OF_GPUS:
            _OF_GPUS.append(found)
    return found


def seed_gpus(seed: int) -> None:
    """Start the default streams of all GPUs from one seed, those too that nobody has used yet."""
    _SEED[:] = [seed]
    for generator in _OF_GPUS:
        generator.manual_seed(seed)


def seed_all(seed: int) -> None:
    """Start the default streams of all devices from one seed."""
    default_generator.manual_seed(seed)
    seed_gpus(seed)


def snapshot() -> list[tuple[Generator, Any]]:
    """The default generators with their states, for `restore`."""
    return [(default_generator, default_generator.legacy_state()), *snapshot_gpus()]


def snapshot_gpus() -> list[tuple[Generator, Any]]:
    """The same of those on GPUs alone, in 0.2 us: for each call of a watched module."""
    return [(generator, generator.record.tobytes()[: philox.WORDS.size]) for generator in _OF_GPUS]


def restore(states: Iterable[tuple[Generator, Any]]) -> None:
    """Put generators back where they were."""
    for generator, state in states:
        generator.load_legacy_state(state)
