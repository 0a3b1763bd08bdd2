"""Calls and backwards that machine code repeats on the host, and how single elements are read."""

from collections.abc import Callable

from facula.native import builtins
from facula.native.apply import Machine
from facula.native.pull import pull
from facula.native.scalars import reader

from .fresh import FRESH

__all__ = ["MEMO", "pull", "reader"]


def _packed(function: Callable, tail: tuple) -> builtins.Packed | None:
    return builtins.PACKED.get(function)


MEMO = Machine(lambda: FRESH, _packed)
