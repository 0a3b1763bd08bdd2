"""`torch.sym_int` and its like: functions of sizes, which are plain numbers here, and types of none."""

import math
from typing import Any

from facula.errors import fail

__all__ = [
    "SymBool", "SymFloat", "SymInt", "sym_float", "sym_int", "sym_ite", "sym_max", "sym_min", "sym_not", "sym_sqrt",
    "sym_sum",
]  # fmt: skip


class _Symbol:
    """A type that nothing is of: sizes are plain numbers, because nothing is traced with sizes left open."""

    __module__ = "torch"

    def __init__(self, node: Any):
        fail(
            NotImplementedError,
            f"torch.{type(self).__name__} is not implemented: nothing is traced with sizes left open",
            mend="use int, float or bool",
        )


class SymInt(_Symbol):
    """A size that is left open when a program is traced; facula's are ints."""


class SymFloat(_Symbol):
    """A float that is left open when a program is traced; facula's are floats."""


class SymBool(_Symbol):
    """A bool that is left open when a program is traced; facula's are bools."""


SymInt.__module__ = SymFloat.__module__ = SymBool.__module__ = "torch"


def sym_int(a) -> int:
    """`int(a)`."""
    return int(a)


def sym_float(a) -> float:
    """`float(a)`."""
    return float(a)


def sym_not(a) -> bool:
    """`not a`."""
    return not a


def sym_max(a, b):
    """The larger of two numbers; a float if one of them is."""
    found = max(a, b)
    return float(found) if float in (type(a), type(b)) else found


def sym_min(a, b):
    """The smaller of two numbers; a float if one of them is."""
    found = min(a, b)
    return float(found) if float in (type(a), type(b)) else found


def sym_sqrt(a) -> float:
    """The square root."""
    return math.sqrt(a)


def sym_sum(args) -> Any:
    """The sum of a list of numbers."""
    return sum(args)


def sym_ite(b: bool, t, f):
    """`t if b else f`."""
    return t if b else f
