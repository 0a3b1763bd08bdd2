"""The switches of each thread (gradient recording, features that intercept operators) and one flag that guards them all."""

import threading

__all__ = ["GUARD", "LOCAL", "Modes", "grad_enabled"]


class Modes(threading.local):
    """What is switched on in this thread; the defaults are plain eager execution."""

    grad = True  # record operations for backward
    inference = False  # inference_mode: no recording, no version counting
    special = 0  # how many features want to see every operator (function modes, autocast, capture, profilers)
    saved_hooks: tuple = ()  # pairs (pack, unpack) around values kept for backward, innermost last


class Guard:
    """`active` counts the open blocks, in any thread, in which some mode is not its default.

    While it is 0, an operator need not look at its thread's modes: one test on the hot path for all features.
    """

    __slots__ = ("active", "lock")

    def __init__(self):
        self.active = 0
        self.lock = threading.Lock()

    def change(self, step: int) -> None:
        with self.lock:
            self.active += step


GUARD = Guard()
LOCAL = Modes()


def grad_enabled() -> bool:
    """Whether operations of this thread are recorded."""
    return LOCAL.grad if GUARD.active else True
