"""`torch.sym_int` and its like: functions of sizes, which are plain numbers here."""

import math
from typing import Any

__all__ = ["sym_float", "sym_int", "sym_ite", "sym_max", "sym_min", "sym_not", "sym_sqrt", "sym_sum"]


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
