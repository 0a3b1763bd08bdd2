"""`torch.multiprocessing.pool.Pool`: Python's, whose workers let go of all shared memory when they end."""

import gc
import multiprocessing
import multiprocessing.pool
from typing import Any

__all__ = ["Pool", "clean_worker"]

_worker: Any = vars(multiprocessing.pool)["worker"]


def clean_worker(*args, **kwargs) -> None:
    """What a process of the pool runs."""
    _worker(*args, **kwargs)
    gc.collect()


class Pool(multiprocessing.pool.Pool):
    """A pool of processes.

    Parameters
    ----------
    processes, initializer, initargs, maxtasksperchild, context
        As of `multiprocessing.pool.Pool`.
    """

    def __init__(self, processes=None, initializer=None, initargs=(), maxtasksperchild=None, context=None):
        context = multiprocessing.get_context() if context is None else context
        super().__init__(processes, initializer, initargs, maxtasksperchild, context)

    @staticmethod
    def Process(ctx, *args, **kwds):
        if kwds.get("target") is _worker:
            kwds["target"] = clean_worker
        return ctx.Process(*args, **kwds)
