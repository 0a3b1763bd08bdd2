"""`facula.show`: what an operator computes and becomes, what a step spends its time on, beside the machine's limits.

The kernels are those that really ran: the interpreter tells of each call of machine code. Times are taken without it.
"""

import html
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from facula import launch
from facula.autograd import grad
from facula.config import settings
from facula.core.tensor import Tensor
from facula.core.wrapped import tensors_in
from facula.errors import fail
from facula.ir.formula import formula as formula_of
from facula.ir.kernel import Access, Kernel
from facula.operators import ones, ones_like, zeros

__all__ = ["Shown", "ShownKernel", "ShownRow", "show"]

PARTS = ("formula", "ir", "stages", "llvm", "assembly", "cuda", "table", "time")
BUDGET = 0.2  # seconds of calls that are timed


# --- the machine's limits -------------------------------------------------------------------------------------------


@cache
def _copied(power: int) -> float:
    """Seconds of the fastest copy that reads and writes 2**power bytes."""
    count = max(1, (1 << power) // 8)
    source, target = ones(count), zeros(count)
    return _fastest(lambda: target.copy_(source), 0.02)  # type: ignore[attr-defined]


def copy_seconds(count: int) -> float:
    """Seconds that a copy takes which reads and writes `count` bytes together, measured."""
    if count <= 0:
        return 0.0
    power = min(max(count - 1, 1).bit_length(), 28)
    return _copied(power) * count / (1 << power) if count >> 14 else min(_copied(14), _copied(power))


@cache
def flops_a_second(name: str) -> float | None:
    """Multiply-adds in registers count twice; None on a target that cannot say."""
    try:
        peak = launch.native("peak")
    except NotImplementedError:
        return None
    return peak(name, launch.threads().get_num_threads())


def limit_seconds(count: int, flops: int, kind: str = "float32") -> float:
    """The least time for so many bytes and operations."""
    arithmetic = 0.0
    if flops > 0 and (most := flops_a_second(kind if kind == "float64" else "float32")):
        arithmetic = flops / most
    return max(copy_seconds(count), arithmetic)


def _fastest(call: Callable[[], Any], budget: float) -> float:
    """Seconds of the fastest of several samples of a call."""
    call()
    start = time.perf_counter()
    call()
    once = max(time.perf_counter() - start, 1e-7)
    turns = max(1, min(1000, int(2e-4 / once)))
    best, end, samples = float("inf"), time.perf_counter() + budget, 0
    while samples < 5 or (time.perf_counter() < end and samples < 2000):
        start = time.perf_counter()
        for _ in range(turns):
            call()
        best, samples = min(best, (time.perf_counter() - start) / turns), samples + 1
    return best


# --- what is shown --------------------------------------------------------------------------------------------------


@dataclass
class ShownKernel:
    """One kernel, or one routine of the target, that ran; of a routine there may be the text that LLVM was given."""

    name: str
    phase: str  # forward or backward
    kernel: Kernel | None = None
    access: Access | None = None
    text: str | None = None  # of a routine, where it was loaded while we looked
    optimize: str = "registers"
    calls: int = 1

    @property
    def formula(self) -> str:
        """As people write it."""
        return f"{self.name}: a routine of the target" if self.kernel is None else formula_of(self.kernel)

    @property
    def ir(self) -> str:
        """The kernel's own text."""
        from facula.ir.printer import show as printed

        return f"routine {self.name}" if self.kernel is None else printed(self.kernel)

    @property
    def stages(self) -> dict[str, str]:
        """The kernel's text after each stage of `codegen`."""
        from facula.codegen.stages import after

        return {} if self.kernel is None else after(self.kernel)

    @property
    def llvm(self) -> str:
        """What LLVM is given."""
        if self.kernel is not None and self.access is not None and settings.target != "reference":
            from facula.targets.cpu.emit import text

            return text(self.kernel, self.access)
        if self.text is not None:
            return self.text
        return f"; {self.name}: loaded before; a new process shows its text: facula show ... --part llvm"

    @property
    def assembly(self) -> str:
        """What LLVM makes of it for this processor."""
        if self.kernel is None and self.text is None or settings.target == "reference":
            return self.llvm
        from facula.native.jit import assembly

        return assembly(self.llvm, self.optimize)

    @property
    def cuda(self) -> str:
        """What NVRTC is given for a GPU; no GPU is needed for it."""
        if self.kernel is None or self.access is None:
            return f"// {self.name}: a routine of the target"
        from facula.targets.cuda.texts.emit import program

        return program(self.kernel, self.access).text


@dataclass
class ShownRow:
    """The calls of one operator from one line."""

    name: str
    line: str
    calls: int = 0
    seconds: float = 0.0
    bytes: int = 0
    flops: int = 0
    limit: float = 0.0  # seconds that the machine needs at least

    @property
    def share(self) -> float | None:
        """The part of the machine's limit that is reached; None where nothing is known."""
        return min(self.limit / self.seconds, 1.0) if self.limit and self.seconds else None


@dataclass
class Shown:
    """What `facula.show` found; `print` shows the whole, its parts are attributes."""

    title: str
    kernels: list[ShownKernel]
    rows: list[ShownRow]
    seconds: float
    measured: list[ShownRow]  # the rows that `seconds` is the time of: without backward
    step: bool = False
    notes: list[str] = field(default_factory=list)
    result: Any = None

    def _each(self, part: str, mark: str) -> str:
        texts = []
        for k in self.kernels:
            head = f"{mark} {k.name}" + (f", {k.phase}" if k.phase != "forward" else "")
            texts.append(f"{head}\n{getattr(k, part)}" if len(self.kernels) > 1 else getattr(k, part))
        return "\n\n".join(texts)

    @property
    def formula(self) -> str:
        """The formulas of the kernels."""
        return self._each("formula", "#")

    @property
    def ir(self) -> str:
        """The kernels' own texts."""
        return self._each("ir", "#")

    @property
    def stages(self) -> dict[str, dict[str, str]]:
        """By kernel, its text after each stage of `codegen`."""
        return {k.name: k.stages for k in self.kernels if k.kernel is not None}

    @property
    def llvm(self) -> str:
        """What LLVM is given, for each kernel."""
        return self._each("llvm", ";")

    @property
    def assembly(self) -> str:
        """The processor's instructions, for each kernel."""
        return self._each("assembly", "#")

    @property
    def cuda(self) -> str:
        """CUDA C++ of each kernel."""
        return self._each("cuda", "//")

    @property
    def bytes(self) -> int:
        """Bytes read and written, operands and results once."""
        return sum(row.bytes for row in self.measured)

    @property
    def flops(self) -> int:
        """Floating-point operations of products, convolutions and plain arithmetic."""
        return sum(row.flops for row in self.measured)

    @property
    def share(self) -> float | None:
        """The part of the machine's limit that is reached; None where nothing is known."""
        limit = sum(row.limit for row in self.measured)
        return min(limit / self.seconds, 1.0) if limit and self.seconds else None

    @property
    def columns(self) -> list[tuple[str, ...]]:
        """The table, a tuple of texts a row, the titles first."""
        total = sum(row.seconds for row in self.rows) or 1.0
        found: list[tuple[str, ...]] = [
            ("operator", "calls", "time", "share", "bytes", "B/s", "FLOPs", "of limit", "line")
        ]
        for row in self.rows:
            found.append(
                (
                    row.name, str(row.calls), seconds_text(row.seconds), f"{100 * row.seconds / total:.1f} %",
                    amount(row.bytes), amount(row.bytes / row.seconds if row.seconds else 0), amount(row.flops),
                    "" if row.share is None else f"{100 * row.share:.0f} %", row.line,
                )
            )  # fmt: skip
        return found

    @property
    def table(self) -> str:
        """Operators with calls, time, bytes and part of the limit, by the user's lines."""
        rows = self.columns
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        texts = []
        for row in rows:
            cells = [c.ljust(w) if i in (0, len(row) - 1) else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))]
            texts.append("  ".join(cells).rstrip())
        texts.insert(1, "  ".join("-" * w for w in widths))
        return "\n".join([*texts, *self.notes])

    @property
    def time(self) -> str:
        """The time in a sentence, beside a copy of the same bytes."""
        text = f"{self.title}: {seconds_text(self.seconds)}"
        if self.step:
            inside = sum(row.seconds for row in self.rows)
            return f"{text}, of which {seconds_text(inside)} ({100 * inside / self.seconds:.0f} %) in operators"
        if self.bytes:
            text += f"; a copy of the same {amount(self.bytes)}B takes {seconds_text(copy_seconds(self.bytes))}"
        if self.flops and (most := flops_a_second("float32")):
            text += f"; {amount(self.flops)}FLOP take {seconds_text(self.flops / most)} at this machine's peak"
        return text + ("" if self.share is None else f": {100 * self.share:.0f} % of the limit")

    def __repr__(self) -> str:
        kernels = [k for k in self.kernels if k.kernel is not None]
        parts = [self.time]
        if kernels and not self.step:
            parts.append(self.formula)
        elif self.kernels and not self.step:
            parts.append(f"routines of the target: {', '.join(k.name for k in self.kernels)}")
        if self.step or len(self.rows) > 1:
            parts.append(self.table)
        elif self.notes:
            parts.append("\n".join(self.notes))
        if not self.step:
            parts.append("parts: .formula .ir .stages .llvm .assembly .cuda .table .kernels")
        return "\n\n".join(parts)

    def _repr_html_(self) -> str:
        first, *rows = self.columns
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in first)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
        )  # fmt: skip
        text = f"<p>{html.escape(self.time)}</p>"
        if not self.step and any(k.kernel is not None for k in self.kernels):
            text += f"<pre>{html.escape(self.formula)}</pre>"
        text += f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        text += "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        if not self.step:
            for part in ("ir", "llvm", "assembly"):
                text += f"<details><summary>{part}</summary><pre>{html.escape(getattr(self, part))}</pre></details>"
        return text


def amount(value: float) -> str:
    """A number with a letter for its size.

    >>> amount(1536), amount(2.5e9), amount(12), amount(0)
    ('1.54 k', '2.5 G', '12 ', '')
    """
    if not value:
        return ""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.3g} "


def seconds_text(value: float) -> str:
    """A time as people write it.

    >>> seconds_text(1.234e-6), seconds_text(0.5)
    ('1.23 us', '500 ms')
    """
    for size, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e-9:.3g} ns"


# --- looking --------------------------------------------------------------------------------------------------------


def show(function: Callable, *args: Any, **kwargs: Any) -> Shown:
    """What an operator computes, becomes and costs; of a function without arguments, what the step spends its time on.

    Parameters
    ----------
    function : callable
        An operator (``torch.softmax``, a method, a module), with its arguments; or a function without arguments.
    *args, **kwargs
        The operator's. It is then called many times, to be timed; where operands need a gradient its backward is shown
        too, without changing their `.grad`. A function without arguments is called once.

    Returns
    -------
    Shown
        Prints as a summary; `.formula`, `.ir`, `.stages`, `.llvm`, `.assembly` (texts), `.table`, `.rows`, `.kernels`,
        `.seconds`, `.bytes`, `.flops`, `.share` (of the machine's limit), `.result` (of the call).

    Notes
    -----
    The limit is the time of a copy that reads and writes as many bytes, or of as many multiply-adds in registers,
    whichever takes longer; both are measured. Bytes count each operand and result once, so that the limit of operands
    that lie in a cache is a copy of such a size.

    Examples
    --------
    >>> import facula as torch
    >>> print(torch.show(torch.sigmoid, torch.randn(64, 1000)).formula)
    out = sigmoid(input)
    >>> w = torch.randn(10, requires_grad=True)
    >>> [row.name for row in torch.show(lambda: (w * 2).sum().backward()).rows if row.name == "MulBackward0"]
    ['MulBackward0']
    """
    if not callable(function):
        fail(TypeError, f"show() expects a function and its arguments, but got {type(function).__name__}",
             mend="show(torch.softmax, x, dim=1), or show(lambda: step()) for whole steps")  # fmt: skip
    return _operator(function, args, kwargs) if args or kwargs else step(function)


def _line(record: Any) -> str:
    from facula.profiler.watching import line_of

    file, number, _ = line_of(record.line)
    return f"{file.replace(chr(92), '/').rpartition('/')[2]}:{number}" if file else ""


def rows_of(recorder: Any, part: slice = slice(None)) -> list[ShownRow]:
    """Rows of what a recorder saw, or of a part of it, the longest first."""
    from facula.profiler.watching import MODULE, OPERATOR
    from facula.profiler.work import flat, flops, traffic

    inside: dict[int, list[Any]] = {}
    forwards = {}
    chosen = {id(record) for record in recorder.records[part]}
    for record in recorder.records:
        inside.setdefault(id(record.parent), []).append(record)
        if record.kind == OPERATOR and record.sequence >= 0:
            forwards.setdefault(record.sequence, record)
    rows: dict[tuple[str, str], ShownRow] = {}
    work: dict[int, tuple[int, int]] = {}
    for record in reversed(recorder.records):  # those that were called before those who called
        called = inside.get(id(record), ())
        below = [work[id(c)] for c in called]
        size, done = traffic(record), flops(record, forwards.get(record.sequence))
        if any(b for b, _ in below):
            size = 0
        done = max(0, done - sum(f for _, f in below))
        work[id(record)] = size + sum(b for b, _ in below), done + sum(f for _, f in below)
        if record.kind == MODULE or id(record) not in chosen:
            continue
        own = (record.end - record.start - sum(c.end - c.start for c in called)) / 1e9
        kinds = [s.dtype.name for s in flat(record.outputs)]
        row = rows.setdefault((record.name, _line(record)), ShownRow(record.name, _line(record)))
        row.calls += record.parent is None or record.parent.name != record.name
        row.seconds += max(own, 0.0)
        row.bytes += size
        row.flops += done
        row.limit += limit_seconds(size, done, kinds[0] if kinds else "float32")
    return sorted(rows.values(), key=lambda row: -row.seconds)


def step(function: Callable) -> Shown:
    """What one call of a function spends its time on."""
    from facula.profiler.watching import recording

    before = _compilations()
    with recording(shapes=True) as recorder:
        start = time.perf_counter()
        result = function()
        seconds = time.perf_counter() - start
    return of_recorder(recorder, getattr(function, "__name__", "step"), seconds, before, result)


def of_recorder(recorder: Any, title: str, seconds: float, before: tuple[int, float], result: Any = None) -> Shown:
    """What a recorder saw, with a note of what was compiled meanwhile."""
    texts, spent = (now - then for now, then in zip(_compilations(), before))
    notes = []
    if texts:
        notes.append(f"the times include making {texts} kernels ({seconds_text(spent / 1e3)} of it in LLVM)")
    title = "step" if title == "<lambda>" else title
    rows = rows_of(recorder)
    return Shown(title, _kernels_of(recorder), rows, seconds, rows, True, notes, result)


def _compilations() -> tuple[int, float]:
    """Texts that LLVM compiled or found in the cache, and milliseconds that it took."""
    if settings.target == "reference":
        return 0, 0.0
    from facula.native.jit import statistics

    found = statistics()
    return int(found["compiled"] + found["cached"]), found["compile_ms"] + found["load_ms"]


def _known() -> dict[Any, tuple[Kernel, Access | None]]:
    """The kernel of each function of machine code."""
    found: dict[Any, tuple[Kernel, Access | None]] = {}
    for (kernel, access, _), code in launch._COMPILED.items():
        found[code] = kernel, access
    for (kernel, _, _), many in launch._MANY.items():
        found[many.function] = kernel, None
    return found


def _kernels_of(recorder: Any) -> list[ShownKernel]:
    """The kernels of the operators that a recorder saw, by their plans."""
    from facula.operators.declare import Traced
    from facula.profiler.watching import BACKWARD
    from facula.profiler.work import flat

    known, found = _known(), {}
    for record in recorder.records:
        operator = record.operator
        if record.kind == BACKWARD and record.flow is not None:
            back = record.flow[2]
            operator = back.known.operator if getattr(back, "known", None) is not None else None
        if not isinstance(operator, Traced):
            continue
        wanted = [s.shape for s in flat(record.outputs)]
        for plan in operator.plans.values():
            if plan.function in known and any(s.shape in wanted for s in plan.outs):
                kernel, access = known[plan.function]
                phase = "backward" if record.kind == BACKWARD else "forward"
                found.setdefault((kernel, access), ShownKernel(kernel.name, phase, kernel, access, calls=0)).calls += 1
                break
    return list(found.values())


def _forget() -> None:
    """Have every operator take the long way once, where each call of machine code can be seen; they learn it anew."""
    from facula.operators import promotion
    from facula.operators.declare import OPERATORS, Repeats, Traced
    from facula.operators.declare.repeats import unknown

    for memory in list(promotion._MADE_FOR):
        if isinstance(memory, Repeats):
            memory.clear()
    operators = [o for o in OPERATORS.values() if isinstance(o, Traced)]
    for operator in operators:
        operators += operator.derived.values()
        for plan in operator.plans.values():
            for back in plan.back.values():
                back.pull = unknown


def _seen(call: Callable[[], Any], phase: str, found: dict[Any, ShownKernel]) -> Any:
    """Run a call; what of the target's machine code it ran goes into `found`."""
    if settings.target == "reference":
        return call()
    from facula.native import builtins, jit

    texts: list[tuple[Sequence[str], str, str]] = []
    ran: dict[Any, int] = {}

    def told(frame: Any, event: str, argument: Any) -> None:
        if event == "c_call" and argument.__class__ is kind:
            ran[argument] = ran.get(argument, 0) + 1

    kind = type(len)
    _forget()
    jit.WATCH.append(lambda symbols, text, optimize: texts.append((symbols, text, optimize)))
    before = sys.getprofile()
    sys.setprofile(told)
    try:
        result = call()
    finally:
        sys.setprofile(before)
        jit.WATCH.pop()
    known = _known()
    for code, calls in ran.items():
        if code in known:
            kernel, access = known[code]
            one = ShownKernel(kernel.name, phase, kernel, access, calls=calls)
        elif code in builtins.BUILT:
            symbol = builtins.BUILT[code]
            text = next(((t, o) for symbols, t, o in texts if symbol in symbols), (None, "clean"))
            one = ShownKernel(code.__name__, phase, None, None, text[0], text[1], calls)
        else:
            continue
        found.setdefault(code, one)
    return result


def _operator(function: Callable, args: tuple, kwargs: dict) -> Shown:
    """What an operator computes and costs."""
    from facula.profiler.watching import recording

    found: dict[Any, ShownKernel] = {}
    call = lambda: function(*args, **kwargs)  # noqa: E731
    result = _seen(call, "forward", found)
    inputs = [x for x in tensors_in(args, kwargs) if x.needs_grad]
    inputs += [p for p in getattr(function, "parameters", list)() if p.needs_grad]
    differentiable = bool(inputs and _outs(result))
    if differentiable:
        _backward(result, inputs)
        given = [ones_like(o) for o in _outs(result)]
        _seen(lambda: grad(_outs(result), inputs, given, retain_graph=True, allow_unused=True), "backward", found)
    call()
    seconds = _fastest(call, BUDGET)
    best: list[list[ShownRow]] = []
    for _ in range(3):  # the rows' own times: those of the fastest of a few recorded calls
        with recording(shapes=True) as recorder:
            made = call()
            cut = len(recorder.records)
            if differentiable:
                _backward(made, inputs)
        pair = [rows_of(recorder, slice(cut)), rows_of(recorder, slice(cut, None))]
        if not best or sum(r.seconds for r in pair[0]) < sum(r.seconds for r in best[0]):
            best = pair
    forward, backward = best
    if len(forward) == 1:
        forward[0].seconds = seconds  # measured without anybody looking
    for row in (*forward, *backward):
        row.line = ""
    backward = [row for row in backward if row.name != "aten::ones_like"]
    title = getattr(function, "__name__", type(function).__name__)
    return Shown(title, list(found.values()), forward + backward, seconds, forward, False, [], result)


def _outs(result: Any) -> list[Tensor]:
    """The results that can be differentiated."""
    return [x for x in tensors_in(result) if x.needs_grad and x.spec.dtype.kind in "fc"]


def _backward(result: Any, inputs: list[Tensor]) -> None:
    outs = _outs(result)
    grad(outs, inputs, [ones_like(o) for o in outs], retain_graph=True, allow_unused=True)
