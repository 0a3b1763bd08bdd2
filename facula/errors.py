"""The one builder of error messages: PyTorch's first line, then what was expected, what came, the mend."""

from typing import NoReturn

__all__ = ["NoData", "Unread", "explain", "fail"]


def explain(message: str, *, expected: object = None, got: object = None, mend: str | None = None) -> str:
    """The text of an error: `message` (PyTorch's words), then one line for each thing that is known."""
    lines = [message]
    lines += [
        f"  {label}: {text}"
        for label, text in (("expected", expected), ("got", got), ("mend", mend))
        if text is not None
    ]
    return "\n".join(lines)


def fail(
    kind: type[BaseException], message: str, *, expected: object = None, got: object = None, mend: str | None = None
) -> NoReturn:
    """Raise `kind` with `explain`'s text."""
    raise kind(explain(message, expected=expected, got=got, mend=mend))


class Unread(RuntimeError):
    """Numbers were asked for that are not in the host's memory: `operators/declare/away.py` may have them fetched."""


class NoData(Unread, NotImplementedError):
    """The same of whole tensors."""


# Who does not catch them reads PyTorch's types in the traceback.
Unread.__name__ = Unread.__qualname__ = "RuntimeError"
NoData.__name__ = NoData.__qualname__ = "NotImplementedError"
Unread.__module__ = NoData.__module__ = "builtins"
