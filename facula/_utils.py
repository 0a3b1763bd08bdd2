"""What PyTorch keeps under this name and programs use: an exception that goes to another process or thread."""

import sys
import traceback
from typing import Any

__all__ = ["ExceptionWrapper", "KeyErrorMessage"]


class KeyErrorMessage(str):
    """A text that a KeyError shows as it is, where it would show its repr."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class ExceptionWrapper:
    """The exception that is being handled, as its type and the text of its traceback.

    Parameters
    ----------
    exc_info : tuple, optional
        As `sys.exc_info` gives it, which is the default.
    where : str
        Goes into the message.

    Examples
    --------
    >>> try:
    ...     [][1]
    ... except IndexError:
    ...     caught = ExceptionWrapper(where="in the example")
    >>> caught.exc_type
    <class 'IndexError'>
    """

    def __init__(self, exc_info=None, where: str = "in background"):
        kind, error, trace = exc_info or sys.exc_info()
        self.exc_type = kind
        self.exc_msg = "".join(traceback.format_exception(kind, error, trace))
        self.where = where

    def reraise(self):
        """Raise an exception of the same type, whose message has the first one's traceback.

        Raises
        ------
        Exception
            Of that type; RuntimeError where it cannot be made of one message.
        """
        kind: Any = self.exc_type
        assert kind is not None
        message = f"Caught {kind.__name__} {self.where}.\nOriginal {self.exc_msg}"
        if kind is KeyError:
            message = KeyErrorMessage(message)
        elif getattr(kind, "message", None):
            raise kind(message=message)
        try:
            exception = kind(message)
        except Exception:
            raise RuntimeError(message) from None
        raise exception


def __getattr__(name: str):
    """The functions that plain pickles of PyTorch's tensors call."""
    if name.startswith("_rebuild_"):
        from facula.serialization.tensors import REBUILDERS

        if name in REBUILDERS:
            return REBUILDERS[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
