"""`torch.multiprocessing`: Python's `multiprocessing`, with tensors that travel through shared memory.

`reductions` says how tensors are sent, `spawn` starts processes that run one function; all else is Python's own module,
whose queues, pipes and pools send tensors in the same way.
"""

import multiprocessing
import os
import sys
from multiprocessing import *  # noqa: F403
from typing import Any

from facula.errors import fail

from .reductions import init_reductions
from .spawn import (  # noqa: F401  (PyTorch has these here, and not in its list)
    ENV_VAR_PARALLEL_START,
    ProcessContext,
    ProcessExitedException,
    ProcessRaisedException,
    SpawnContext,
    set_death_signal,
    spawn,
    start_processes,
)

_own: Any = multiprocessing
__all__ = ["set_sharing_strategy", "get_sharing_strategy", "get_all_sharing_strategies", *_own.__all__]  # noqa: PLE0604

_all_sharing_strategies = {"file_system"} if sys.platform == "darwin" else {"file_descriptor", "file_system"}
_sharing_strategy = "file_system" if sys.platform == "darwin" else "file_descriptor"
_prctl_pr_set_pdeathsig = set_death_signal


def set_sharing_strategy(new_strategy: str) -> None:
    """How tensors on the CPU are shared: "file_descriptor" or "file_system".

    Both send descriptors of files without names, so that nothing can be left in the file system. With "file_system" the
    process may have as many open files as the system allows it, which is what that strategy is chosen for.

    Parameters
    ----------
    new_strategy : str
        One of `get_all_sharing_strategies()`.

    Raises
    ------
    AssertionError
        Another name.

    Examples
    --------
    >>> set_sharing_strategy("file_descriptor")
    >>> get_sharing_strategy()
    'file_descriptor'
    """
    global _sharing_strategy
    if new_strategy not in _all_sharing_strategies:
        fail(
            AssertionError,
            f"invalid sharing strategy {new_strategy!r}, expected one of {_all_sharing_strategies}",
        )
    if new_strategy == "file_system":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    _sharing_strategy = new_strategy


def get_sharing_strategy() -> str:
    """The strategy for sharing tensors on the CPU."""
    return _sharing_strategy


def get_all_sharing_strategies() -> set[str]:
    """The strategies that this system has."""
    return _all_sharing_strategies


def _set_thread_name(name: str) -> None:
    """Name the current thread, as tools of the system show it."""
    with open(f"/proc/self/task/{_thread()}/comm", "w") as file:
        file.write(name[:15])


def _get_thread_name() -> str:
    """The name of the current thread, as tools of the system show it."""
    with open(f"/proc/self/task/{_thread()}/comm") as file:
        return file.read().rstrip("\n")


def _thread() -> int:
    import threading

    return threading.get_native_id() if os.path.exists("/proc/self/task") else 0


init_reductions()
