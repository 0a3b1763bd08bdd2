"""`torch.random`: the state of the default stream of random numbers."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from facula.core.device import place
from facula.core.generator import Generator, default_generator, default_of, restore, snapshot
from facula.cuda import get_rng_state as get_gpu_state
from facula.errors import fail
from facula.operators.random import get_rng_state, initial_seed, manual_seed, seed, set_rng_state

__all__ = [
    "Generator", "default_generator", "fork_rng", "get_rng_state", "initial_seed", "manual_seed", "seed",
    "set_rng_state", "thread_safe_generator",
]  # fmt: skip

DEVICES = ("cpu", "cuda", "meta")  # those whose streams the block may be told to keep


@contextmanager
def fork_rng(
    devices: Iterable | None = None, enabled: bool = True, _caller: str = "fork_rng", _devices_kw: str = "devices",
    device_type: str | None = None,
) -> Iterator[None]:  # fmt: skip
    """Put the streams back where they were when the block ends: the CPU's, and those of GPUs, or of some of them.

    Examples
    --------
    >>> import facula as torch
    >>> with torch.random.fork_rng():
    ...     _ = torch.rand(3)
    """
    if device_type == "meta" or not enabled:
        yield
        return
    if device_type is not None and device_type not in DEVICES:
        fail(RuntimeError, f"torch has no module of `{device_type}`, you should register a module by "
             "`torch._register_device_module`.")  # fmt: skip
    if devices is None:
        kept = snapshot()[: 1 if device_type == "cpu" else None]
    else:
        chosen = [place(one) for one in devices]
        for one in chosen:
            get_gpu_state(one)  # which says why there is none
        kept = [(g, g.legacy_state()) for g in (default_generator, *map(default_of, chosen))]
    try:
        yield
    finally:
        restore(kept)


def thread_safe_generator() -> Generator | None:
    """The stream of a data loader's worker thread; None elsewhere, and so always: facula has no such threads."""
    return None
