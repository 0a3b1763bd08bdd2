"""Keywords under other names than a function's own: NumPy's, which PyTorch takes too, or those of overloads."""

import functools
from collections.abc import Callable, Collection
from typing import Any

from facula.errors import fail

__all__ = ["NUMPY", "renamed", "takes"]

NUMPY = {"x": "input", "a": "input", "x1": "input", "x2": "other", "axis": "dim", "keepdims": "keepdim"}


def renamed(name: str, names: Collection[str], kwargs: dict[str, Any], others: dict[str, str] = NUMPY) -> dict | None:
    """Keywords under the names that a function has; None where none of them needs another one."""
    found = {}
    for keyword, value in kwargs.items():
        true = keyword if keyword in names else others.get(keyword, keyword)
        if true in found:
            fail(TypeError, f"{name}() got multiple values for argument '{true}'")
        found[true] = value
    return None if found.keys() == kwargs.keys() else found


def takes(entry: Callable | None = None, **others: str) -> Any:
    """Decorator: the function takes its parameters under NumPy's names too, and under `others` (other: own)."""
    if entry is None:
        return lambda entry: takes(entry, **others)
    code = entry.__code__
    names = frozenset(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
    every = {**NUMPY, **others}

    @functools.wraps(entry)
    def renaming(*args, **kwargs):
        if kwargs and not kwargs.keys() <= names:
            kwargs = renamed(entry.__name__, names, kwargs, every) or kwargs
        return entry(*args, **kwargs)

    renaming.others = frozenset(others)  # type: ignore[attr-defined]
    return renaming
