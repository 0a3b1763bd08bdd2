"""`python -m benchmarks [filter ...]`: runs the rows whose group or name holds a filter, prints the table."""

import argparse
import gc
import importlib
import json
import os
import platform
import sys
from pathlib import Path

from . import convolutions, data, gpu, kernels, limits, optimizers, products, small, training  # noqa: F401  (rows register themselves)
from .harness import BUDGET, ROWS, Result, measure, summary, table
from .kit import KIT
from .memory import MEMORY
from .report import BEGIN, END, markdown, merge, put
from .startup import STARTUP

ALONE = [("memory", *one) for one in MEMORY] + [("start", *one) for one in STARTUP]  # each in processes of their own
ALONE += [("training kit", *one) for one in KIT]  # facula against itself


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
    parser.add_argument(
        "--from",
        dest="files",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="take figures of earlier runs (--json) instead of measuring",
    )
    parser.add_argument(
        "--write", type=Path, metavar="PAGE", help=f"put the tables into PAGE, between {BEGIN} and {END}"
    )
    options = parser.parse_args()

    if options.files:
        figures = merge([json.loads(path.read_text()) for path in options.files])
    else:
        rows = [one for one in ROWS if wanted(options.filters, one.group, one.name)]
        alone = [one for one in ALONE if wanted(options.filters, one[0], one[1])]
        if options.list:
            print(
                "\n".join([*(f"{r.group}: {r.name}" for r in rows), *(f"{group}: {name}" for group, name, _ in alone)])
            )
            return 0
        if not rows and not alone:
            print(f"no row holds {' or '.join(options.filters)}; --list names them all", file=sys.stderr)
            return 2
        figures = run(rows, alone, options)

    results = [Result.of_dict(one) for one in figures["rows"]]
    names = (figures["baseline"], figures["candidate"])
    if options.markdown:
        print(markdown(figures))
    else:
        print(f"{figures['machine']}; ratio = {names[0]} / {names[1]}")
        print(table(results, names, limits=figures["limits"]))
        for result in results:
            for what, value in result.notes.items():
                print(f"{result.name}: {what}: {value}")
        print("\n".join([*(f"{limits.LIMITS[k]}: {v:.3g}" for k, v in figures["limits"].items()), *summary(results)]))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    if options.write:
        put(options.write, markdown(figures))
    return 0


def run(rows, alone, options) -> dict:
    """Measure the rows; the figures as they are written to files."""
    threads = options.threads or len(os.sched_getaffinity(0))
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):  # for the processes started below, and for both libraries
        os.environ[variable] = str(threads)
    results: list[Result] = []
    found: dict[str, float] = {}
    if rows:
        frameworks = [importlib.import_module(name) for name in (options.baseline, options.candidate)]
        for framework in frameworks:
            framework.set_num_threads(threads)
        gc.collect()
        gc.freeze()  # so that neither framework pays for collecting the other's modules
        if not all(one.gpu for one in rows):
            found = limits.measure(frameworks, threads)
        lacking = gpu.reason(frameworks) if any(one.gpu for one in rows) else ""
        if lacking:
            print(f"{sum(one.gpu for one in rows)} rows left out: {lacking}", file=sys.stderr)
            rows = [one for one in rows if not one.gpu]
        elif any(one.gpu for one in rows):
            found |= gpu.measure(frameworks)
    for one in rows:
        progress(f"{one.group}: {one.name}")
        results.append(measure(one, frameworks[0], frameworks[1], options.budget))
        told(results[-1])
        gc.collect()
    for group, name, function in alone:
        progress(f"{group}: {name}")
        try:
            results.append(function(options.baseline, options.candidate))
        except RuntimeError as error:
            results.append(Result(group, name, problem=f"fails: {error}"))
        told(results[-1])
    progress("")
    return {
        "baseline": options.baseline,
        "candidate": options.candidate,
        "machine": f"{processor()}, {threads} threads, Python {platform.python_version()}",
        "limits": found,
        "rows": [result.as_dict() for result in results],
    }


def processor() -> str:
    """The model of the processor where the system tells it, else the kind."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def progress(text: str) -> None:
    """One line on a terminal that the next replaces."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def told(result: Result) -> None:
    """A line a row where there is no terminal: it is all that is left of a run that is cut short."""
    if not sys.stderr.isatty():
        found = result.problem or ("no ratio" if result.ratio is None else f"ratio {result.ratio:.2f}")
        print(f"{result.group}: {result.name}: {found}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
