"""Switches as attributes of modules: what is read there and set there is what targets see."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from facula.core import precision
from facula.core.switches import Switches
from facula.errors import fail

__all__ = ["Precision", "change", "during", "flag", "float32", "install", "kept"]

Switch = tuple[Callable[[], Any], Callable[[Any], None]]  # reads, writes


def flag(value: Any, name: str) -> bool:
    """A bool; RuntimeError in PyTorch's words for anything else."""
    if not isinstance(value, bool):
        fail(RuntimeError, f"{name} expects a bool, but got {type(value).__name__}")
    return value


def kept(switches: Switches, name: str, title: str) -> Switch:
    """A bool of `switches`; `title` is PyTorch's name of what sets it."""
    return lambda: getattr(switches, name), lambda value: setattr(switches, name, flag(value, title))


def float32(library: str, operation: str, also: tuple[str, str] | None = None) -> Switch:
    """What float32 operands of an operation may be rounded to; `also` is what is set, where that is something else."""

    def write(value: Any) -> None:
        if not isinstance(value, str):
            words = "incompatible function arguments. The following argument types are supported:"
            fail(TypeError, f"_set_fp32_precision_setter(): {words}", expected="a str", got=value)
        precision.set_float32_precision(*(also or (library, operation)), value)

    return lambda: precision.float32_precision(library, operation), write


def change(switches: Iterable[Switch], values: Iterable[Any]) -> tuple:
    """Write the values that are not None; returns what all switches were."""
    switches = list(switches)
    before = tuple(read() for read, _ in switches)
    for (_, write), value in zip(switches, values):
        if value is not None:
            write(value)
    return before


@contextmanager
def during(set_flags: Callable[..., tuple], *values: Any) -> Iterator[None]:
    """A module's switches, by its `set_flags`, for the time of a block."""
    before = set_flags(*values)
    try:
        yield
    finally:
        set_flags(*before)


def install(module: str, switches: dict[str, Switch]) -> None:
    """Make names of a module switches."""

    def attribute(switch: Switch) -> property:
        read, write = switch
        return property(lambda self: read(), lambda self, value: write(value))

    own = {name: attribute(switch) for name, switch in switches.items()}
    sys.modules[module].__class__ = type("Switchboard", (ModuleType,), own)


class Precision:
    """An operation of a library, whose one attribute is `fp32_precision`."""

    def __init__(self, library: str, operation: str):
        self.__dict__["_switches"] = {"fp32_precision": float32(library, operation)}

    def _switch(self, name: str) -> Switch:
        found = self._switches.get(name)
        if found is None:
            raise AttributeError("Unknown attribute " + name)
        return found

    def __getattr__(self, name: str) -> Any:
        return self._switch(name)[0]()

    def __setattr__(self, name: str, value: Any) -> None:
        self._switch(name)[1](value)
