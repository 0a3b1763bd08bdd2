"""`python -m benchmarks [filter ...]`: runs the rows whose group or name holds a filter, prints the table."""

import argparse
import gc
import importlib
import json
import os
import platform
import sys
from pathlib import Path

from . import kernels, products, small, training  # noqa: F401  (their rows register themselves)
from .harness import BUDGET, ROWS, Result, measure, table
from .startup import STARTUP


def wanted(filters: list[str], group: str, name: str) -> bool:
    return not filters or any(f.lower() in f"{group}: {name}".lower() for f in filters)


def main() -> int:
    parser = argparse.ArgumentParser("scripts/bench", description=__doc__)
    parser.add_argument("filters", nargs="*", help="words to look for in a row's group and name; none: all rows")
    parser.add_argument("--baseline", default="torch", help="module that ratios are relative to (default: %(default)s)")
    parser.add_argument("--candidate", default="facula", help="module that is judged (default: %(default)s)")
    parser.add_argument("--threads", type=int, help="threads for both (default: the cores of this machine)")
    parser.add_argument("--budget", type=float, default=BUDGET, help="seconds of samples a row (default: %(default)s)")
    parser.add_argument("--list", action="store_true", help="name the rows and stop")
    parser.add_argument("--markdown", action="store_true", help="print the table as markdown")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE as well")
    options = parser.parse_args()

    rows = [one for one in ROWS if wanted(options.filters, one.group, one.name)]
    starts = [(name, run) for name, run in STARTUP if wanted(options.filters, "start", name)]
    if options.list:
        print("\n".join([*(f"{one.group}: {one.name}" for one in rows), *(f"start: {name}" for name, _ in starts)]))
        return 0
    if not rows and not starts:
        print(f"no row holds {' or '.join(options.filters)}; --list names them all", file=sys.stderr)
        return 2

    threads = options.threads or len(os.sched_getaffinity(0))
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):  # for the processes started below, and for both libraries
        os.environ[variable] = str(threads)
    results: list[Result] = []
    if rows:
        baseline, candidate = importlib.import_module(options.baseline), importlib.import_module(options.candidate)
        for framework in (baseline, candidate):
            framework.set_num_threads(threads)
        gc.collect()
        gc.freeze()  # so that neither framework pays for collecting the other's modules
    for one in rows:
        progress(f"{one.group}: {one.name}")
        results.append(measure(one, baseline, candidate, options.budget))
        gc.collect()
    for name, run in starts:
        progress(f"start: {name}")
        try:
            results.append(run(options.baseline, options.candidate))
        except RuntimeError as error:
            results.append(Result("start", name, problem=f"fails: {error}"))
    progress("")

    names = (options.baseline, options.candidate)
    print(
        f"{platform.machine()}, {threads} threads, Python {platform.python_version()}; ratio = {names[0]} / {names[1]}"
    )
    print(table(results, names, options.markdown))
    for result in results:
        for what, value in result.notes.items():
            print(f"{result.name}: {what}: {value}")
    if options.json:
        figures = {"baseline": names[0], "candidate": names[1], "threads": threads}
        options.json.write_text(json.dumps({**figures, "rows": [result.as_dict() for result in results]}, indent=1))
    return 0


def progress(text: str) -> None:
    """One line on a terminal that the next replaces."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
