"""Locks that are free in a forked child, whatever thread of the parent held them at that moment."""

import os
import threading
from typing import Any

__all__ = ["lasting_lock"]


def lasting_lock() -> Any:
    """A lock that lives as long as the program, such as a module's.

    >>> with lasting_lock():
    ...     pass
    """
    lock: Any = threading.Lock()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lock._at_fork_reinit)
    return lock
