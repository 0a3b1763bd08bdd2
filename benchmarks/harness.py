"""Times the same function on two frameworks in alternation; what is timed stands in the files of rows."""

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np

__all__ = ["GOALS", "ROWS", "Result", "Row", "Work", "fill", "measure", "row", "summary", "table"]

SAMPLE = 0.02  # seconds that one sample should last: long beside the clock's grain, short beside the machine's moods
BUDGET = 3.0  # seconds of samples for a row
PAIRS = (7, 41)  # of samples: at least, at most
WARM = 0.05  # seconds of calls before each sample: a thread pool that slept is first moved back to its own core
SETTLE = 0.005  # seconds for the other framework's threads to stop spinning
NOISY = 1.5  # quartiles further apart than this: the machine was busy, measure again
ASLEEP = 30.0  # ratios from which on the baseline is taken to have waited for its threads, not to have worked
AGREE = 2e-3  # relative to the largest element: both must have done the same work

GOALS: dict[str, float] = {  # of the geometric mean of a group's ratios
    "small tensors": 1.8,
    "kernels": 2.0,
    "matrix products": 1.8,
    "convolutions": 1.3,
    "training steps": 2.0,
    "GPU kernels": 0.95,
    "GPU matrix products": 0.95,
    "GPU convolutions and attention": 0.9,
    "GPU training steps": 1.0,
    "GPU training steps in graphs": 1.2,
}


class Work(NamedTuple):
    """What a call has to do whatever the program: so many operations or bytes, against one of the machine's limits."""

    limit: str  # a key of `limits.measure`
    amount: float


@dataclass(frozen=True)
class Row:
    """One line of the table: `make(torch)` sets up and returns the function to time, the same for both frameworks."""

    group: str
    name: str
    make: Callable[[Any], Callable[[], Any]]
    least: float | None  # the ratio to reach
    compare: bool = True  # whether both must give the same numbers
    work: Work | None = None
    gpu: bool = False  # work of a GPU, timed by its own events
    agree: float = AGREE  # how far results may be apart, relative to the largest


@dataclass
class Result:
    """What came of a row; times in seconds a call, ratios baseline / candidate."""

    group: str
    name: str
    least: float | None = None
    unit: str = "s"
    baseline: float | None = None
    candidate: float | None = None
    ratio: float | None = None
    quartiles: tuple[float, float] | None = None
    pairs: int = 0
    problem: str | None = None  # why there is no ratio, or why it counts for nothing
    work: Work | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_dict(cls, figures: dict[str, Any]) -> "Result":
        """What `as_dict` made, perhaps through a file."""
        work = figures.get("work")
        return cls(**{**figures, "work": Work(*work) if work else None})


ROWS: list[Row] = []


def row(group: str, name: str, least: float | None = None, compare: bool = True, work: Work | None = None, **more):
    """Register the decorated `make(torch)` as a row."""

    def register(make):
        ROWS.append(Row(group, name, make, least, compare, work, **more))
        return make

    return register


def measure(one: Row, baseline: Any, candidate: Any, budget: float = BUDGET) -> Result:
    """Time `one` on both frameworks, sample against sample."""
    result = Result(one.group, one.name, one.least, work=one.work)
    baseline.manual_seed(0)
    run_baseline = one.make(baseline)
    expected = run_baseline()  # an error here is one of the benchmark: let it out
    try:
        candidate.manual_seed(0)
        run_candidate = one.make(candidate)
        got = run_candidate()
    except Exception as error:  # whatever is lacking: the row says so and the table goes on
        kind = "missing" if isinstance(error, AttributeError | NotImplementedError | ImportError) else "fails"
        result.problem = f"{kind}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        run_candidate = None
        got = None
    sampler = GpuSampler if one.gpu else Sampler
    sample = sampler(run_baseline, baseline).sample
    if run_candidate is None:
        result.baseline = statistics.median(sample() for _ in range(PAIRS[0]))
        return result
    if one.compare:
        result.problem = difference(expected, got, one.agree)
    del expected, got
    fill(result, sample, sampler(run_candidate, candidate).sample, budget)
    if result.ratio is not None and result.ratio >= ASLEEP and not one.gpu and hasattr(baseline, "set_num_threads"):
        alone(result, baseline, run_baseline, run_candidate, budget)
    return result


def alone(result: Result, baseline: Any, run_baseline: Callable, run_candidate: Callable, budget: float) -> None:
    """Measure again with the baseline on one thread, where it cannot wait for others; the lower ratio counts."""
    threads, again = baseline.get_num_threads(), Result(result.group, result.name)
    baseline.set_num_threads(1)
    try:
        fill(again, Sampler(run_baseline).sample, Sampler(run_candidate).sample, budget)
    finally:
        baseline.set_num_threads(threads)
    if again.ratio is not None and result.ratio is not None and again.ratio < result.ratio:
        result.notes["baseline on one thread, since with more it waited for them"] = f"ratio was {result.ratio:.0f}"
        result.baseline, result.candidate, result.ratio = again.baseline, again.candidate, again.ratio
        result.quartiles, result.pairs = again.quartiles, again.pairs


def fill(
    result: Result, baseline: Callable[[], float], candidate: Callable[[], float], budget: float, pairs=PAIRS
) -> None:
    """Put the medians of alternating samples into `result`."""
    times, ratios = alternate(baseline, candidate, budget, pairs)
    result.baseline, result.candidate = (statistics.median(column) for column in zip(*times))
    result.ratio = statistics.median(ratios)
    low, _, high = statistics.quantiles(ratios, n=4)
    result.quartiles, result.pairs = (low, high), len(ratios)


def alternate(
    baseline, candidate, budget: float, pairs: tuple[int, int] = PAIRS
) -> tuple[list[tuple[float, float]], list[float]]:
    """Samples A B, B A, A B, ... so that neither always follows the other; and the ratio of each pair."""
    times: list[tuple[float, float]] = []
    end = time.perf_counter() + budget
    while len(times) < pairs[0] or (len(times) < pairs[1] and time.perf_counter() < end):
        if len(times) % 2:
            second = candidate()
            times.append((baseline(), second))
        else:
            times.append((baseline(), candidate()))
    return times, [a / b for a, b in times]


class Sampler:
    """Repeats a function so often that a sample lasts long enough for the clock."""

    def __init__(self, function: Callable[[], Any], framework: Any = None) -> None:
        self.function, self.framework = function, framework
        self.count = 1
        for _ in range(3):  # compile, allocate, warm caches
            function()
        while (spent := self.timed()) < SAMPLE and self.count < 1 << 20:
            self.count = max(self.count * 2, min(self.count * 100, int(self.count * SAMPLE / max(spent, 1e-9))))

    def timed(self) -> float:
        function, turns = self.function, range(self.count)
        start = time.perf_counter()
        for _ in turns:
            function()
        return time.perf_counter() - start

    def sample(self) -> float:
        """Seconds a call. The collector stays on, as in real programs; garbage of others is cleared before."""
        gc.collect(0)
        time.sleep(SETTLE)
        end = time.perf_counter() + WARM
        while True:
            self.function()
            if time.perf_counter() > end:
                break
        return self.timed() / self.count


class GpuSampler(Sampler):
    """The same by events of the GPU: from the start of the first call's work to the end of the last one's."""

    def timed(self) -> float:
        cuda, function = self.framework.cuda, self.function
        start, end = (cuda.Event(enable_timing=True) for _ in range(2))
        cuda.synchronize()
        start.record()
        for _ in range(self.count):
            function()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3


def difference(expected: Any, got: Any, agree: float = AGREE) -> str | None:
    """None where both frameworks gave the same numbers (or nothing); else in what they differ."""
    a, b = numbers(expected), numbers(got)
    if len(a) != len(b):
        return f"differs: {len(a)} results and {len(b)}"
    for x, y in zip(a, b):
        if x.shape != y.shape:
            return f"differs: shapes {x.shape} and {y.shape}"
        if x.size:
            apart = float(np.max(np.abs(x - y)))
            scale = max(float(np.max(np.abs(x))), 1e-30)
            if not apart <= agree * scale and not (np.array_equal(x, y, equal_nan=True)):
                return f"differs: by {apart:.3g} where the largest is {scale:.3g}"
    return None


def numbers(value: Any) -> list[np.ndarray]:
    """The arrays in what a row returns: tensors, Python numbers, tuples of them; other things do not count."""
    if isinstance(value, list | tuple):
        return [array for part in value for array in numbers(part)]
    if isinstance(value, bool | int | float):
        return [np.asarray(value, dtype=np.float64)]
    if hasattr(value, "detach"):
        plain = value.detach().cpu()
        plain = plain.float() if str(plain.dtype) in ("torch.bfloat16", "torch.float16") else plain
        return [np.asarray(plain.numpy(), dtype=np.float64)]
    return []


def seconds(value: float | None, unit: str = "s") -> str:
    """A time (or a size in bytes) as people write it.

    >>> seconds(0.00000123), seconds(0.5), seconds(2.5), seconds(3e8, "B")
    ('1.23 us', '500 ms', '2.5 s', '300 MB')
    """
    if value is None:
        return "-"
    steps = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B")) if unit == "B" else ()
    steps = steps or ((1, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
    size, name = next(((size, name) for size, name in steps if value >= size), steps[-1])
    return f"{value / size:.3g} {name}"


def verdict(result: Result) -> str:
    if result.problem:
        return result.problem
    if result.ratio is None or result.least is None:
        return ""
    word = "below" if result.ratio < result.least else "ok"
    low, high = result.quartiles or (1.0, 1.0)
    word += "".join(f" ({name.partition(',')[0]})" for name in result.notes if name.startswith("baseline"))
    return f"{word}, but noisy" if high > NOISY * low else word


def share(result: Result, limits: Mapping[str, float]) -> str:
    """How much of the machine's limit the candidate reaches, in percent."""
    if result.work is None or not result.candidate or result.work.limit not in limits:
        return ""
    return f"{100 * result.work.amount / result.candidate / limits[result.work.limit]:.0f} %"


def summary(results: Sequence[Result]) -> list[str]:
    """A line for each group: the geometric mean of its ratios, and how many rows are below what they should reach."""
    lines = []
    for group in dict.fromkeys(r.group for r in results):
        rows = [r for r in results if r.group == group]
        ratios = [r.ratio for r in rows if r.ratio]
        judged = [r for r in rows if r.least is not None]
        below = sum(r.problem is not None or r.ratio is None or r.ratio < r.least for r in judged if r.least)
        mean = f"geometric mean {statistics.geometric_mean(ratios):.2f}" if ratios else "nothing measured"
        goal = f" (at least {GOALS[group]:g})" if group in GOALS else ""
        lines.append(f"{group}: {mean}{goal}, {below} of {len(judged)} rows below")
    return lines


def table(
    results: Sequence[Result], names: tuple[str, str], markdown: bool = False, limits: Mapping[str, float] | None = None
) -> str:
    """All results, one a line, under the heading of their group."""
    head = ("", *names, "ratio", "quartiles", "least", "of limit", "")
    lines: list[tuple[str, ...]] = []
    group = None
    for r in results:
        if r.group != group:
            group = r.group
            lines.append((f"**{group}**" if markdown else group.upper(),) + ("",) * (len(head) - 1))
        spread = f"{r.quartiles[0]:.2f}-{r.quartiles[1]:.2f}" if r.quartiles else ""
        ratio = "-" if r.ratio is None else f"{r.ratio:.2f}"
        goal = "" if r.least is None else f"{r.least:g}"
        times = seconds(r.baseline, r.unit), seconds(r.candidate, r.unit)
        lines.append((r.name, *times, ratio, spread, goal, share(r, limits or {}), verdict(r)))
    if markdown:
        rule = ("---", *("---:",) * 6, "---")
        return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *lines))
    widths = [max(len(line[i]) for line in (head, *lines)) for i in range(len(head) - 1)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:])), line[-1]]).rstrip()
        for line in (head, *lines)
    )
