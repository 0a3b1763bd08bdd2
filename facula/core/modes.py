"""The switches of each thread (gradient recording, features that intercept operators), a flag that guards them all."""

import threading
from typing import Any

__all__ = ["GUARD", "LOCAL", "Modes", "grad_enabled"]


class Modes(threading.local):
    """What is switched on in this thread; the defaults are plain eager execution."""

    grad = True  # record operations for backward
    inference = False  # inference_mode: no recording, no version counting
    special = 0  # how many features want to see every operator (function modes, autocast, capture, profilers)
    autocast: Any = None  # type of device -> dtype, where `torch.autocast` is on (operators/override.py)
    levels: tuple = ()  # open function transforms, the innermost last (core/wrapped.py)
    watch: Any = None  # who records what this thread does (profiler/watching.py)
    recorder: Any = None  # (operator, args, kwargs, out) -> result: applies operators in their place (recording.py)
    saved_hooks: tuple = ()  # pairs (pack, unpack) around values kept for backward, innermost last


class Guard:
    """`active` has an entry for each open block, in any thread, in which some mode is not its default.

    While it is empty, an operator need not look at its thread's modes: one test on the hot path for all features. It is
    a list because appending and popping are atomic, and so need no lock.
    """

    __slots__ = ("active",)

    def __init__(self):
        self.active: list[None] = []

    def change(self, step: int) -> None:
        """Enter (1) or leave (-1) such a block."""
        if step > 0:
            self.active.append(None)
        else:
            self.active.pop()


GUARD = Guard()
LOCAL = Modes()


def grad_enabled() -> bool:
    """Whether operations of this thread are recorded."""
    return LOCAL.grad if GUARD.active else True
