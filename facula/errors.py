"""The one builder of errors: the message is PyTorch's; what was expected, what came and the mend are notes (PEP 678).

Notes that need more than the raising line knows (operands, modules, lines of the program) come from `EXPLAINER`, which
the library sets: nothing of it is imported, or runs, before the first error.
"""

import sys
from collections.abc import Callable
from typing import Any, NoReturn

__all__ = [
    "EXPLAINER", "NOTED", "AcceleratorError", "NoData", "OutOfMemoryError", "Unread", "caution", "explained", "fail",
    "lines", "note", "noted", "refusal",
]  # fmt: skip

EXPLAINER: list[Callable[..., list[str]]] = []  # (error, frame, traceback, expected, got, mend, about) -> notes
NOTED = "_facula_noted"  # the mark of an error that has its notes
_CAUTIONS: dict[tuple, str] = {}


def lines(*, expected: object = None, got: object = None, mend: str | None = None) -> list[str]:
    """One line for each thing that is known."""
    known = (("expected", expected), ("got", got), ("mend", mend))
    return [f"  {label}: {text}" for label, text in known if text is not None]


def explained(
    kind: type[BaseException], message: str, *, expected: object = None, got: object = None, mend: str | None = None
) -> BaseException:
    """An error with its notes, for `raise ... from ...`.

    Parameters
    ----------
    kind : exception type
        PyTorch's.
    message : str
        PyTorch's words: programs match on them.
    expected, got, mend : optional
        What becomes notes.
    """
    error = kind(message)
    _add_notes(error, sys._getframe(1), None, expected, got, mend)
    return error


def fail(
    kind: type[BaseException], message: str, *, expected: object = None, got: object = None, mend: str | None = None,
    about: object = None,
) -> NoReturn:  # fmt: skip
    """Raise `kind` with PyTorch's message, and notes; `about` is what those may look at to find out more."""
    error = kind(message)
    _add_notes(error, sys._getframe(1), None, expected, got, mend, about)
    try:
        raise error
    finally:
        del error  # or else the frame, the error and its traceback would keep each other, and tensors, alive


def noted(error: BaseException) -> None:
    """Add notes to an error that passes by and has none of them: of Python, NumPy, or a plain `raise`."""
    if NOTED not in getattr(error, "__dict__", (NOTED,)) and not isinstance(error, (RecursionError, MemoryError)):
        _add_notes(error, None, error.__traceback__, None, None, None)


def note(error: BaseException, text: str) -> None:
    """Add one note, unless notes are turned off."""
    from facula.config import settings

    if settings.notes:
        error.add_note(text)


def caution(
    message: str, *, category: type[Warning] = UserWarning, expected: object = None, got: object = None,
    mend: str | None = None,
) -> None:  # fmt: skip
    """Warn with PyTorch's words and, in the lines below them, what an error would have as notes.

    The warning counts as that of the program's line, whose text is made once.
    """
    import warnings

    from facula.config import settings

    frame: Any = sys._getframe(1)
    level = 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "")[:7] == "facula.":
        frame, level = frame.f_back, level + 1
    key = (frame.f_code, frame.f_lasti, message, settings.notes)
    text = _CAUTIONS.get(key)
    if text is None:
        if len(_CAUTIONS) > 1000:  # messages with ever-changing shapes
            _CAUTIONS.clear()
        error = category(message)
        _add_notes(error, sys._getframe(1), None, expected, got, mend)
        text = _CAUTIONS[key] = "\n".join([message, *getattr(error, "__notes__", ())])
    warnings.warn(text, category, stacklevel=level)


def _add_notes(
    error: BaseException, frame: Any, traceback: Any, expected: object, got: object, mend: Any, about: object = None
) -> None:
    from facula.config import settings

    passing = frame is None
    if not isinstance(error, Unread) or passing:  # those are mostly caught: they get the rest where they pass by
        setattr(error, NOTED, True)
    if not settings.notes:
        return
    if EXPLAINER and hasattr(error, NOTED):
        found = EXPLAINER[0](error, frame, traceback, expected, got, mend, about)
    else:
        found = lines(expected=expected, got=got, mend=mend)
    for text in found:
        error.add_note(text)


class Unread(RuntimeError):
    """Numbers were asked for that are not in the host's memory: `operators/declare/away.py` may have them fetched."""


class NoData(Unread, NotImplementedError):
    """The same of whole tensors."""


class OutOfMemoryError(RuntimeError):
    """A device has no memory left: `torch.OutOfMemoryError`."""

    __module__ = "torch"


class AcceleratorError(RuntimeError):
    """A call to a device's driver failed: `torch.AcceleratorError`."""

    __module__ = "torch"


# Who does not catch them reads PyTorch's types in the traceback.
Unread.__name__ = Unread.__qualname__ = "RuntimeError"
NoData.__name__ = NoData.__qualname__ = "NotImplementedError"
Unread.__module__ = NoData.__module__ = "builtins"


def refusal(name: str, why: str) -> Callable[..., NoReturn]:
    """A function in the place of one that facula does not have: `name`, "torch.smm", is how programs call it."""

    def refused(*args, **kwargs):
        fail(NotImplementedError, f"{name}() is not implemented: {why}")

    refused.__name__ = refused.__qualname__ = name.rpartition(".")[2]
    refused.__doc__ = f"Not implemented: {why}."
    return refused
