"""Libraries that only some features need: imported when they are used, with an error that says how to get them."""

import importlib
from typing import Any

from .errors import lines

__all__ = ["require"]


def require(module: str, extra: str, what: str) -> Any:
    """The module, imported now; ModuleNotFoundError that names the extra where it is not installed.

    Examples
    --------
    >>> require("json", "training", "fit").dumps([1])
    '[1]'
    >>> require("no_such_library", "training", "fit(progress=True)")
    Traceback (most recent call last):
        ...
    ModuleNotFoundError: fit(progress=True) needs the package no_such_library
      mend: pip install 'facula[training]'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or module).partition(".")[0]
        if missing != module.partition(".")[0]:
            raise
        failure = ModuleNotFoundError(f"{what} needs the package {missing}", name=missing)
        failure.add_note(*lines(mend=f"pip install 'facula[{extra}]'"))
        raise failure from None
