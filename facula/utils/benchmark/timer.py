"""Times a statement: as Python's `timeit`, with as many runs as a good measurement needs, on a number of threads."""

import enum
import statistics
import sys
import textwrap
import timeit
from collections.abc import Callable
from typing import Any, NoReturn

from facula.errors import fail

from .common import WARN, Measurement, TaskSpec, set_torch_threads

__all__ = ["Language", "Timer", "timer"]

timer = timeit.default_timer  # work on CPUs is done when a call returns: there is nothing to wait for


class Language(enum.Enum):
    """What statements are written in."""

    PYTHON = 0
    CPP = 1


class Timer:
    """Times a statement.

    Parameters
    ----------
    stmt : str
        What is timed.
    setup : str
        What runs before.
    globals : dict, optional
        Names that they may use; `torch` is known.
    label, sub_label, description, env : str, optional
        What tables call it: their title, the row, the column, where it ran.
    num_threads : int
        Of the kernels; as in PyTorch, 1.

    Examples
    --------
    >>> import facula as torch
    >>> m = Timer("x + 1", globals={"x": torch.ones(4)}).timeit(100)
    >>> m.number_per_run, len(m.times), m.median < 1
    (100, 1, True)
    """

    _timer_cls: type[timeit.Timer] = timeit.Timer

    def __init__(
        self, stmt: str = "pass", setup: str = "pass", global_setup: str = "", timer: Callable[[], float] = timer,
        globals: dict[str, Any] | None = None, label: str | None = None, sub_label: str | None = None,
        description: str | None = None, env: str | None = None, num_threads: int = 1,
        language: Language | str = Language.PYTHON,
    ):  # fmt: skip
        if not isinstance(stmt, str):
            raise ValueError("Currently only a `str` stmt is supported.")
        if language in (Language.CPP, "cpp", "c++"):
            fail(NotImplementedError, "Timer(language='c++') compiles C++", got="facula has no C++", mend="time Python")
        if language not in (Language.PYTHON, "py", "python"):
            raise ValueError(f"Invalid language `{language}`.")
        if global_setup:
            raise ValueError(
                f"global_setup is C++ only, got `{global_setup}`. Most likely this code can simply be moved to `setup`."
            )
        self._globals = {"torch": sys.modules["facula"], **(globals or {})}
        stmt, setup = _dedented(stmt), _dedented(setup)
        self._timer = self._timer_cls(stmt=stmt, setup=setup, timer=timer, globals=self._globals)
        self._task_spec = TaskSpec(stmt, setup, "", label, sub_label, description, env, num_threads)

    def _timeit(self, number: int) -> float:
        return max(self._timer.timeit(number), 1e-9)

    def timeit(self, number: int = 1000000) -> Measurement:
        """So many runs at once, as `timeit.Timer.timeit`."""
        with set_torch_threads(self._task_spec.num_threads):
            self._timeit(max(int(number // 100), 2))  # to warm up
            return Measurement(number, [self._timeit(number)], self._task_spec)

    def repeat(self, repeat: int = -1, number: int = -1) -> None:
        """Of `timeit.Timer`: `blocked_autorange` says more."""
        raise NotImplementedError("See `Timer.blocked_autorange.`")

    def autorange(self, callback: Callable[[int, float], NoReturn] | None = None) -> None:
        """Of `timeit.Timer`: `blocked_autorange` says more."""
        raise NotImplementedError("See `Timer.blocked_autorange.`")

    def _block(self, least: float) -> int:
        """How many runs make a block that is long beside the clock."""
        with set_torch_threads(self._task_spec.num_threads):
            overhead = statistics.median(self._timeit(0) for _ in range(5))
            number = 1
            while True:
                spent = self._timeit(number)
                if (overhead / spent <= 1e-4 and spent >= least / 1000) or spent > least or number * 10 > 2**31 - 1:
                    return number
                number *= 10

    def _blocks(
        self, number: int, enough: Callable[[list[float]], bool], least: float, most: float | None,
        callback: Callable[[int, float], Any] | None,
    ) -> Measurement:  # fmt: skip
        times: list[float] = []
        with set_torch_threads(self._task_spec.num_threads):
            while sum(times) < least or not enough(times):
                times.append(self._timeit(number))
                if callback:
                    callback(number, times[-1])
                if most and sum(times) > most:
                    break
        return Measurement(number, times, self._task_spec)

    def blocked_autorange(
        self, callback: Callable[[int, float], Any] | None = None, min_run_time: float = 0.2
    ) -> Measurement:
        """Blocks of runs, each long beside the clock, for `min_run_time` seconds together."""
        return self._blocks(self._block(min_run_time), bool, min_run_time, None, callback)

    def adaptive_autorange(
        self, threshold: float = WARN, *, min_run_time: float = 0.01, max_run_time: float = 10.0,
        callback: Callable[[int, float], Any] | None = None,
    ) -> Measurement:  # fmt: skip
        """Blocks of runs until the middle half of their times is within `threshold` of the median."""
        number = self._block(0.05)

        def enough(times: list[float]) -> bool:
            return len(times) > 3 and Measurement(number, times, self._task_spec).meets_confidence(threshold)

        return self._blocks(number, enough, min_run_time, max_run_time, callback)

    def collect_callgrind(
        self, number: int = 100, *, repeats: int | None = None, collect_baseline: bool = True,
        retain_out_file: bool = False,
    ) -> NoReturn:  # fmt: skip
        """Counts instructions with Valgrind, in PyTorch: refused."""
        fail(
            NotImplementedError,
            "Timer.collect_callgrind() runs PyTorch's C++ under Valgrind",
            got="facula's machine code is generated at run time",
            mend="blocked_autorange() measures times; facula.show has the instructions of each kernel",
        )


def _dedented(text: str) -> str:
    text = textwrap.dedent(text)
    return (text[1:] if text[:1] == "\n" else text).rstrip()
