"""`torch.random`: the state of the default stream of random numbers."""

from contextlib import contextmanager

from facula.operators.random import get_rng_state, initial_seed, manual_seed, seed, set_rng_state

__all__ = ["fork_rng", "get_rng_state", "initial_seed", "manual_seed", "seed", "set_rng_state"]


@contextmanager
def fork_rng(devices=None, enabled: bool = True, device_type: str = "cuda"):
    """Put the stream back where it was when the block ends."""
    if not enabled:
        yield
        return
    state = get_rng_state()
    try:
        yield
    finally:
        set_rng_state(state)
