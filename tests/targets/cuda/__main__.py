"""All checks that need a GPU, one after the other, each with its own time, those of the table in several processes.

python -m tests.targets.cuda --out FOLDER            all steps
python -m tests.targets.cuda --out FOLDER cases table    these alone
python -m tests.targets.cuda --list                  names them

Logs go to FOLDER, one a process; what is printed is one line a step, and the ends of the logs of what failed.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import facula

ROOT = Path(__file__).parents[3]
PYTHON = sys.executable
SANITIZER = ["compute-sanitizer", "--error-exitcode", "9", "--tool"]


def _module(name: str, *arguments: str) -> list[str]:
    return [PYTHON, "-m", name, *arguments]


def _table(parts: int, *before: str) -> list[list[str]]:
    return [[*before, *_module("tests.targets.cuda.table", "--part", f"{i}/{parts}")] for i in range(parts)]


def steps(parts: int, out: Path) -> dict[str, tuple[int, list[list[str]]]]:
    """Name -> seconds that it may take, and its commands, which run side by side."""
    return {
        "doctor": (60, [_module("facula", "doctor")]),
        "cases": (150, [_module("tests.targets.cuda.device", "--cases")]),
        "speeds": (90, [_module("tests.targets.cuda.device", "--speeds")]),
        "products": (120, [_module("tests.targets.cuda.products")]),
        "table": (300, _table(parts)),
        "examples": (240, [_module("tests.targets.cuda.examples", "--part", f"{i}/4") for i in range(4)]),
        "benchmarks": (420, [_module("benchmarks", "GPU", "--budget", "0.5", "--json", str(out / "benchmarks.json"))]),
        "memcheck": (300, [[*SANITIZER, "memcheck", *_module("tests.targets.cuda.device", "--cases")]]),
        "racecheck": (300, [[*SANITIZER, "racecheck", *_module("tests.targets.cuda.device", "--cases")]]),
        "memcheck of the table": (600, _table(parts, *SANITIZER, "memcheck")),
        "racecheck of the table": (600, _table(parts, *SANITIZER, "racecheck")),
    }


def run(name: str, seconds: int, commands: list[list[str]], out: Path) -> bool:
    """Whether all commands of a step end with 0 in time."""
    if shutil.which(commands[0][0]) is None:
        print(f"{name}: {commands[0][0]} is not installed", flush=True)
        return False
    started = time.perf_counter()
    stem = name.replace(" ", "_")
    logs = [out / f"{stem}{'' if len(commands) == 1 else f'.{i}'}.log" for i in range(len(commands))]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    running = []
    for command, log in zip(commands, logs):
        with log.open("w") as file:
            running.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT))
    ends: list[object] = []
    for process in running:
        try:
            ends.append(process.wait(max(1.0, started + seconds - time.perf_counter())))
        except subprocess.TimeoutExpired:
            process.kill()
            ends.append(f"killed after {seconds} s")
    good = all(end == 0 for end in ends)
    print(f"{name}: {'good' if good else f'ends {ends}'}, {time.perf_counter() - started:.0f} s", flush=True)
    for log, end in zip(logs, ends):
        lines = log.read_text(errors="replace").splitlines()
        shown = lines[-6:] if end == 0 and len(logs) == 1 else lines[-25:] if end != 0 else lines[-1:]
        print("\n".join(f"  {line[:300]}" for line in shown), flush=True)
    return good


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.targets.cuda", description=__doc__.splitlines()[0])
    parser.add_argument("steps", nargs="*", help="names of steps; none: all")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for logs and figures")
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
    good = [run(name, *known[name], options.out) for name in options.steps or known]
    return int(not all(good))


if __name__ == "__main__":
    sys.exit(main())
