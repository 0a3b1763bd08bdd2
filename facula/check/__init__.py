"""`facula check`: a program is run with shapes in place of heavy work, and what would go wrong is told before it does.

The program runs unchanged: its data are read, its modules made, its loops run, but nothing is computed from parameters
(`dry`), loaders end after a few batches (`watch`), and files that it saves with `torch.save` are not written.
"""

import contextlib
import io
import json
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

__all__ = ["check"]


def check(program: Callable[[], Any], seconds: float = 60.0, output: bool = False, as_json: bool = False) -> int:
    """Run a program dry and print what was found; the exit status: 1 where there are errors.

    Parameters
    ----------
    program : callable
        Runs the program; nothing of facula was used in this process before.
    seconds : float
        How long it may take.
    output : bool
        Whether what the program prints is shown, with placeholders for numbers that are not computed.
    as_json : bool
        Print one JSON object.
    """
    from facula import launch

    from . import dry

    launch.use("cpu", dry)
    from .watch import Watch

    watch = Watch(seconds)
    watch.install()
    hook = sys.excepthook
    hidden = io.StringIO()
    with contextlib.ExitStack() as stack:
        if not output:
            stack.enter_context(contextlib.redirect_stdout(hidden))
            stack.enter_context(contextlib.redirect_stderr(hidden))
        ended = _run(program, watch, seconds)
    sys.excepthook = hook
    watch.conclude(whole=not ended)
    found = watch.findings.all()
    memory = watch.forecast.result() if watch.steps else None
    errors = sum(f.level == "error" for f in found)
    if as_json:
        report = {"findings": [asdict(f) for f in found], "memory": memory, "steps": watch.steps, "ended": ended}
        print(json.dumps(report, indent=2))
    else:
        _print(found, memory, watch, ended)
    return 1 if errors else 0


def _run(program: Callable[[], Any], watch: Any, seconds: float) -> str:
    """Run the program; why it ended before its end, or ""."""
    from .dry.memory import COUNT
    from .findings import place_of_error, shown
    from .watch import Enough

    try:
        with _alarm(seconds * 1.5, Enough):
            program()
    except Enough:
        return "its time was over; what comes later was not looked at"
    except SystemExit as left:
        if left.code not in (None, 0):
            return f"it left with {left.code!r}"
    except Exception as error:
        (file, line), ours = place_of_error(error)
        first, *rest = str(error).splitlines() or [""]
        message = f"{type(error).__name__}: {first}"
        if ours or not COUNT.hollow_reads:
            mend = "; ".join(" ".join(x.split()) for x in rest if x.strip().startswith(("expected", "got", "mend")))
            watch.findings.add("exception", (file, line), message=message, mend=mend)
            return "of the error"
        return f"{shown(file)}:{line}: {message} (after numbers were asked for that a dry run does not have)"
    return ""


@contextlib.contextmanager
def _alarm(seconds: float, error: type[BaseException]):
    """Raise `error` after so many seconds, where the system can: in loops that use nothing that is watched."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(_, frame):
        # What is raised while something is deleted is lost: the next time, then.
        while frame is not None and frame.f_code.co_name != "__del__":
            frame = frame.f_back
        signal.setitimer(signal.ITIMER_REAL, 0.5 if frame is None else 0.01)
        if frame is None:
            raise error

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _size(count: int) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count = count / 1024  # type: ignore[assignment]
    raise AssertionError


def _print(found: list, memory: dict[str, int] | None, watch: Any, ended: str) -> None:
    for finding in found:
        print(finding)
    if memory is not None:
        parts = ", ".join(
            f"{_size(memory[use])} {words}"
            for use, words in (
                ("parameters", "parameters"), ("gradients", "gradients"), ("optimizer", "optimizer state"),
                ("data", "data"), ("activations", "activations and temporaries"),
            )
        )  # fmt: skip
        print(f"memory: {_size(memory['peak'])} at the peak: {parts}")
        if memory["largest_batch"]:
            batch, most = memory["batch"], memory["largest_batch"]
            print(f"batch: {batch}; up to {most:,} would fit in this machine's {_size(memory['machine'])}")
    if ended:
        print(f"the program ended early: {ended}")
    levels = [f.level for f in found]
    counted = ", ".join(
        f"{levels.count(level)} {level}{'' if levels.count(level) == 1 else 's'}" for level in ("error", "warning")
    )
    steps = f"{watch.steps} step{'' if watch.steps == 1 else 's'}"
    passes = f"{watch.evaluations} pass{'' if watch.evaluations == 1 else 'es'}"
    print(f"looked at {steps} of optimizers and {passes} of evaluation: {counted}")
