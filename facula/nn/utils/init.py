"""Modules without initial values."""

import inspect

from facula import random
from facula.errors import fail

from ..module import Module

__all__ = ["skip_init"]


def skip_init(module_cls, *args, **kwargs):
    """A module whose parameters have arbitrary values: making it draws no random numbers."""
    if not issubclass(module_cls, Module):
        fail(RuntimeError, f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        fail(RuntimeError, "Module must support a 'device' arg to skip initialization")
    kwargs.setdefault("device", "cpu")
    with random.fork_rng(devices=[]):
        return module_cls(*args, **kwargs)
