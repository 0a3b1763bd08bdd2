"""Several GPUs: the target on one of them, whatever GPU the thread uses; with one GPU there is nothing of this.

Machine code goes by the device of a function or a result (`launcher`, `leases`) and needs no help; what is Python goes
by `driver.gpu()`. So routines, and what they return to be called later, run in `driver.current(gpu)`.
"""

from collections.abc import Callable
from importlib import import_module
from types import BuiltinFunctionType, ModuleType
from typing import Any

from facula.core.device import CURRENT, device
from facula.core.storage import Storage

from . import ROUTINES, code, driver, fresh
from .memory import pool

__all__ = ["On", "target"]

PACKAGE = __name__.rpartition(".")[0]
AS_IT_IS = ("Memo", "pull")  # of the host alone: they call what `compile` made, which knows its GPU


class Inside:
    """Something of the target that is called, or has functions, on one GPU."""

    __slots__ = ("_gpu", "_own")

    def __init__(self, gpu: driver.Device, own: Any):
        self._gpu, self._own = gpu, own

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        gpu, here = self._gpu, CURRENT
        before, here.index = here.index, gpu.index  # `driver.current`, at half the price
        gpu.enter()
        try:
            return inside(gpu, self._own(*args, **kwargs))
        finally:
            here.index = before

    def __getattr__(self, name: str) -> Any:
        return inside(self._gpu, getattr(self._own, name))


def inside(gpu: driver.Device, value: Any) -> Any:
    """A value that a routine returned, or is: what can be called runs on a GPU."""
    if type(value) in (tuple, list):
        return type(value)(inside(gpu, item) for item in value)
    if isinstance(value, type):
        return value
    if isinstance(value, ModuleType) or callable(value) or hasattr(value, "function") or hasattr(value, "_fields"):
        known = isinstance(value, BuiltinFunctionType) and code.is_kernel(value)
        return value if known else Inside(gpu, value)
    return value


class On:
    """The target on one GPU of several."""

    def __init__(self, gpu: driver.Device):
        self.gpu, self.ROUTINES, self.__name__ = gpu, ROUTINES, PACKAGE
        self.empty = fresh.empty  # which goes by the device of the spec

    def new_storage(self, nbytes: int) -> Storage:
        """Uninitialised memory of this GPU."""
        return pool.new_storage(nbytes, self.gpu.where)

    def compile(self, *args: Any) -> Callable[..., None]:
        """A kernel for this GPU: `code.compile`."""
        with driver.current(self.gpu):
            return code.compile(*args)

    def within(self, name: str, found: Any) -> Any:
        """A routine of the target on this GPU."""
        return found if name in AS_IT_IS else inside(self.gpu, found)


def target(where: device) -> Any:
    """What runs kernels on a device; AssertionError where there is no GPU, and why."""
    gpu = driver.gpu(where.index)
    return import_module(PACKAGE) if driver.count() == 1 or where.index is None else On(gpu)
