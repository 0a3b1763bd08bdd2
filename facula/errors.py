"""The one builder of error messages: PyTorch's first line, then what was expected, what came, the mend."""

from typing import NoReturn

__all__ = ["fail", "explain"]


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
