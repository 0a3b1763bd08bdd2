"""The line of an instruction: what is noted of a call is its code object and how far it had come."""

from types import CodeType

__all__ = ["line_number"]


def line_number(code: CodeType, instruction: int) -> int | None:
    """The line that an instruction (its offset in bytes) was compiled from; None where there is none."""
    return next((line for start, stop, line in code.co_lines() if start <= instruction < stop), None)
