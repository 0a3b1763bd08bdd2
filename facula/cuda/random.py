"""`torch.cuda.random`: the state of the GPU's default stream of random numbers."""

from typing import Any

from facula.core.device import device as Device
from facula.core.device import place
from facula.core.generator import default_of, seed_gpus

__all__ = [
    "get_rng_state", "get_rng_state_all", "initial_seed", "manual_seed", "manual_seed_all", "seed", "seed_all",
    "set_rng_state", "set_rng_state_all",
]  # fmt: skip


def _needed() -> None:
    """AssertionError, with the reason, where there is no GPU."""
    from facula import cuda

    cuda.init()


def _count() -> int:
    from facula import cuda

    return cuda.device_count()


def default_generators_of() -> tuple[Any, ...]:
    """The default generators of all GPUs."""
    return tuple(_generator(i) for i in range(_count()))


def _generator(device: Any = None) -> Any:
    """The default generator of a GPU, whose record needs no GPU."""
    return default_of(place("cuda" if device is None else Device(device)))


def manual_seed(seed: int) -> None:
    """Start the GPU's random numbers from a seed; remembered where there is no GPU, or none has been used yet."""
    _generator().manual_seed(int(seed))


def manual_seed_all(seed: int) -> None:
    """Start the random numbers of all GPUs from a seed; remembered where there is none, or none has been used yet."""
    seed_gpus(int(seed))


def seed() -> None:
    """Start the GPU's random numbers from a number that nobody knows."""
    _generator().seed()


def seed_all() -> None:
    """Start the random numbers of all GPUs from one number that nobody knows."""
    found = _generator()
    found.seed()
    seed_gpus(found.initial_seed())


def initial_seed() -> int:
    """The number that the GPU's random numbers were started from."""
    _needed()
    return _generator().initial_seed()


def get_rng_state(device: Any = "cuda") -> Any:
    """The state of a GPU's random numbers: 16 bytes, of its seed and of how far it has come.

    >>> import facula as torch
    >>> torch.cuda.get_rng_state_all() == [] or len(torch.cuda.get_rng_state()) == 16
    True
    """
    _needed()
    return _generator(device).get_state()


def set_rng_state(new_state: Any, device: Any = "cuda") -> None:
    """Go on from a state that `get_rng_state` gave."""
    _generator(device).set_state(new_state)


def get_rng_state_all() -> list[Any]:
    """The states of the random numbers of all GPUs."""
    return [get_rng_state(i) for i in range(_count())]


def set_rng_state_all(new_states: Any) -> None:
    """Go on from states that `get_rng_state_all` gave."""
    for i, state in enumerate(new_states):
        set_rng_state(state, i)
