"""What a dry run can find in a program: each kind with its level, words and mend; where in the program it is."""

import os
import sys
import sysconfig
from dataclasses import dataclass
from typing import Any

__all__ = ["KINDS", "Finding", "Findings", "place", "place_of_error"]

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})

# kind: (level, what, mend); in braces what `Findings.add` is told. An error makes the exit status 1.
KINDS = {
    "exception": ("error", "{message}", "{mend}"),
    "zero_grad": (
        "error",
        "gradients add up over steps: {optimizer}.step() uses those of the step before once more",
        "call optimizer.zero_grad() before each backward",
    ),
    "softmax": (
        "error",
        "{loss} is given the result of {given}, which it applies itself",
        "give it the scores as they are; leave the last {given} out",
    ),
    "probabilities": (
        "error",
        "{loss} expects logarithms of probabilities, and is given the result of {given}",
        "use log_softmax in its place, or cross_entropy on the scores",
    ),
    "broadcast": (
        "error",
        "shapes {input} and {target} broadcast to {result}: each prediction is compared with each target",
        "give both one shape, e.g. prediction.squeeze(-1), or target.unsqueeze(-1)",
    ),
    "no_optimizer": (
        "error",
        "no optimizer has {names} of {module}: they are never updated, though they receive gradients",
        "give the optimizer all of model.parameters(), after the last module was made",
    ),
    "no_gradient": (
        "warning",
        "{names} of {module} receive no gradient",
        "use them in forward, remove them, or say requires_grad_(False)",
    ),
    "eval": (
        "warning",
        "{module} is evaluated in training mode: its {layers} act as in training",
        "call model.eval() before, and model.train() afterwards",
    ),
    "no_grad": (
        "warning",
        "{module} records a graph here that no backward uses",
        "evaluate under torch.no_grad()",
    ),
    "kept_graph": (
        "warning",
        "{what} keeps the graphs of earlier steps alive",
        "add up loss.item(), or loss.detach()",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    kind: str
    level: str
    file: str
    line: int
    what: str
    mend: str

    def __str__(self) -> str:
        mend = f"; {self.mend}" if self.mend else ""
        return f"{shown(self.file)}:{self.line}: {self.level}: {self.what}{mend}"


class Findings:
    """All findings; the same one at the same line counts once."""

    def __init__(self):
        self.found: dict[tuple, Finding] = {}

    def add(self, kind: str, where: tuple[str, int], **words: Any) -> None:
        level, what, mend = KINDS[kind]
        made = Finding(kind, level, *where, what.format(**words), mend.format(**words))
        self.found.setdefault((kind, *where), made)

    def all(self) -> list[Finding]:
        return sorted(self.found.values(), key=lambda f: (f.level, f.file, f.line))


def shown(file: str) -> str:
    """A file as it is named in the report: from here, where that is shorter."""
    try:
        near = os.path.relpath(file)
    except ValueError:
        return file
    return min(near, file, key=len) if os.path.isabs(file) else file


def _of_program(file: str) -> bool:
    """Whether a file is the program's, not a library's."""
    return not (
        file.startswith((PACKAGE + os.sep, "<frozen", *[p + os.sep for p in _LIBRARIES])) or "site-packages" in file
    )


def place(depth: int = 1) -> tuple[str, int]:
    """File and line of the program that are being run."""
    frame = outside = sys._getframe(depth)
    while frame is not None:
        file = frame.f_code.co_filename
        if _of_program(file):
            return file, frame.f_lineno
        if not file.startswith(PACKAGE):
            outside = frame
        frame = frame.f_back
    return outside.f_code.co_filename, outside.f_lineno


def place_of_error(error: BaseException) -> tuple[tuple[str, int], bool]:
    """File and line of the program where an error came from, and whether facula raised it."""
    found, raiser = ("", 0), ""
    step = error.__traceback__
    while step is not None:
        raiser = step.tb_frame.f_code.co_filename
        if _of_program(raiser):
            found = raiser, step.tb_lineno
        step = step.tb_next
    return found, raiser.startswith(PACKAGE + os.sep)
