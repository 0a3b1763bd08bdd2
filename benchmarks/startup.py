"""Rows measured in fresh processes: importing, memory after it, and the first run of a program with an empty cache."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from .harness import Result, fill

__all__ = ["STARTUP"]

DIGITS_FIRST = "digits.py, 2 epochs, first run (empty cache)"
DIGITS_SECOND = "digits.py, 2 epochs, with a filled cache"
ROOT = Path(__file__).parents[1]
IMPORT = """
import sys, time
start = time.perf_counter()
__import__(sys.argv[1])
print(time.perf_counter() - start)
for line in open("/proc/self/status"):
    if line.startswith("VmRSS"):
        print(int(line.split()[1]) * 1024)
"""


def fresh(*command: str, **environment: str) -> str:
    """What `python command...` prints in a process of its own, with byte code kept as it is by default."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no message"])[-1])
    return done.stdout


def imported(name: str) -> tuple[float, float]:
    """Seconds and bytes of `import name`."""
    took, resident = fresh("-c", IMPORT, name).split()
    return float(took), float(resident)


def import_time(baseline: str, candidate: str) -> Result:
    """`import`, timed inside the new process; files are in the system's cache after the first."""
    result = Result("start", "import", 4.0)
    for name in (baseline, candidate):
        imported(name)
    fill(result, lambda: imported(baseline)[0], lambda: imported(candidate)[0], budget=10)
    return result


def import_memory(baseline: str, candidate: str) -> Result:
    result = Result("start", "memory after import", 2.5, unit="B")
    fill(result, lambda: imported(baseline)[1], lambda: imported(candidate)[1], budget=5)
    return result


def digits_seconds(name: str, cache: str) -> float:
    """Wall time of examples/digits.py from start to end."""
    with tempfile.TemporaryDirectory() as out:
        words = [] if name == "torch" else ["-m", name, "run"]
        start = time.perf_counter()
        program = ["examples/digits.py", "--epochs", "2", "--out", out]
        fresh(*words, *program, FACULA_CACHE_DIR=cache)
        return time.perf_counter() - start


def digits_first(baseline: str, candidate: str) -> Result:
    """The first run of digits.py with nothing compiled before, and what it took longer than the second."""
    result = Result("start", DIGITS_FIRST)
    longer = []

    def first() -> float:
        with tempfile.TemporaryDirectory() as cache:
            took = digits_seconds(candidate, cache)
            longer.append(took - digits_seconds(candidate, cache))
        return took

    with tempfile.TemporaryDirectory() as unused:
        fill(result, lambda: digits_seconds(baseline, unused), first, budget=0, pairs=(3, 3))
    result.notes["seconds longer than the second run"] = round(statistics.median(longer), 3)
    return result


def digits_second(baseline: str, candidate: str) -> Result:
    result = Result("start", DIGITS_SECOND)
    with tempfile.TemporaryDirectory() as cache:
        digits_seconds(candidate, cache)
        fill(result, lambda: digits_seconds(baseline, cache), lambda: digits_seconds(candidate, cache), 0, pairs=(3, 3))
    return result


STARTUP: list[tuple[str, Callable[[str, str], Result]]] = [
    ("import", import_time),
    ("memory after import", import_memory),
    (DIGITS_FIRST, digits_first),
    (DIGITS_SECOND, digits_second),
]
