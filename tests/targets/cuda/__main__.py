"""All checks that need a GPU, one after the other, each with its own time, many in several processes.

python -m tests.targets.cuda --out FOLDER                all steps, what tells the most first
python -m tests.targets.cuda --out FOLDER --seconds 540  as many of them as end in that time
python -m tests.targets.cuda --out FOLDER first table    these alone
python -m tests.targets.cuda --list                      names them

All that they print goes to FOLDER/log.txt; what is printed here is one line a step, and the ends of what failed.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TextIO

import facula
from tests.targets.cuda.first import PARTS

ROOT = Path(__file__).parents[3]
PYTHON = sys.executable
LEAST = 10  # seconds of a step
# Groups of `benchmarks/gpu.py`: a process each, since what breaks the driver's context breaks it for both frameworks.
BENCHMARKS = (
    "training steps", "training steps in graphs", "kernels", "matrix products", "convolutions and attention",
    "order and scatter",
)  # fmt: skip
SANITIZER = ["compute-sanitizer", "--error-exitcode", "9", "--tool"]


def _module(name: str, *arguments: str) -> list[str]:
    return [PYTHON, "-m", name, *arguments]


def _table(parts: int, *before: str) -> list[list[str]]:
    return [[*before, *_module("tests.targets.cuda.table", "--part", f"{i}/{parts}")] for i in range(parts)]


def steps(parts: int, out: Path) -> dict[str, tuple[int, list[list[str]]]]:
    """Name -> seconds that it may take, and its commands, which run side by side."""
    first = [name for name in PARTS if name != "costs"]
    return {
        "doctor": (60, [_module("facula", "doctor")]),
        "first": (120, [_module("tests.targets.cuda.first", name) for name in first]),
        "costs": (60, [_module("tests.targets.cuda.first", "costs")]),
        "table": (300, _table(parts)),
        "pytorch": (90, [_module("tests.conformance.records.gpu")]),
        "products": (120, [_module("tests.targets.cuda.products")]),
        "examples": (240, [_module("tests.targets.cuda.examples", "--part", f"{i}/4") for i in range(4)]),
        "speeds": (90, [_module("tests.targets.cuda.device", "--speeds")]),
        "cases": (150, [_module("tests.targets.cuda.device", "--cases")]),
        **{
            f"speed of {group}": (
                150,
                [
                    _module(
                        "benchmarks",
                        f"GPU {group}:",
                        "--budget",
                        "0.3",
                        "--json",
                        str(out / f"{group.split()[-1]}.json"),
                    )
                ],
            )
            for group in BENCHMARKS
        },
        "memcheck": (300, [[*SANITIZER, "memcheck", *_module("tests.targets.cuda.device", "--cases")]]),
        "racecheck": (300, [[*SANITIZER, "racecheck", *_module("tests.targets.cuda.device", "--cases")]]),
        "memcheck of the table": (600, _table(parts, *SANITIZER, "memcheck")),
        "racecheck of the table": (600, _table(parts, *SANITIZER, "racecheck")),
    }


def run(name: str, seconds: float, commands: list[list[str]], log: TextIO) -> bool:
    """Whether all commands of a step end with 0 in time."""
    if shutil.which(commands[0][0]) is None:
        print(f"{name}: {commands[0][0]} is not installed", flush=True)
        return False
    started = time.perf_counter()
    share = max(1, (os.cpu_count() or 1) // len(commands))
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "FACULA_NUM_THREADS": str(share)}
    files = [tempfile.TemporaryFile("w+", errors="replace") for _ in commands]
    running = [
        subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
        for command, file in zip(commands, files)
    ]
    ends: list[object] = []
    for process in running:
        try:
            ends.append(process.wait(max(1.0, started + seconds - time.perf_counter())))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # what compute-sanitizer started, too
            ends.append(f"killed after {seconds:.0f} s")
    good = all(end == 0 for end in ends)
    print(f"{name}: {'good' if good else f'ends {ends}'}, {time.perf_counter() - started:.0f} s", flush=True)
    for command, file, end in zip(commands, files, ends):
        file.seek(0)
        lines = file.read().splitlines()
        file.close()
        log.write("\n".join([f"--- {name}: {' '.join(command[1:])}, ends {end}", *lines, ""]))
        shown = lines[-15:] if end == 0 and len(commands) == 1 else lines[-25:] if end != 0 else lines[-3:]
        print("\n".join(f"  {line[:300]}" for line in shown), flush=True)
    log.flush()
    return good


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.targets.cuda", description=__doc__.splitlines()[0])
    parser.add_argument("steps", nargs="*", help="names of steps; none: all")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the log and figures")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="that all steps may take together")
    parser.add_argument("--processes", type=int, default=max(1, (os.cpu_count() or 1) - 1))
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    known = steps(options.processes, options.out.resolve())
    if options.list:
        print("\n".join(known))
        return 0
    if unknown := set(options.steps) - set(known):
        parser.error(f"no step {', '.join(unknown)}; --list names them")
    if not facula.cuda.is_available():
        print(facula.cuda.reason())
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    good, end = [], time.perf_counter() + options.seconds
    with (options.out / "log.txt").open("w", errors="replace") as log:
        for name in options.steps or known:
            seconds, commands = known[name]
            left = end - time.perf_counter()
            if left < LEAST:
                print(f"{name}: no time is left", flush=True)
                good.append(False)
            else:
                good.append(run(name, min(seconds, left), commands, log))
    return int(not all(good))


if __name__ == "__main__":
    sys.exit(main())
