"""The situations of `situations.txt`: small programs that go wrong, each with the whole text of what facula says.

`python -m tests.explain.situations` writes the texts anew; the difference is to be read before it is committed.
"""

import contextlib
import io
import linecache
import warnings
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).with_name("situations.txt")
ALONE = " (facula alone)"  # PyTorch says nothing there
GPU = " (as PyTorch words it for GPUs)"  # for 'cpu' and 'meta' PyTorch has other words than for any other two devices


class Situation(NamedTuple):
    """A program under a title, and what it says."""

    name: str
    program: str
    text: str


def situations() -> list[Situation]:
    """All of them, in the order of the file."""
    found = []
    for part in FILE.read_text().split("=== ")[1:]:
        name, _, rest = part.partition("\n")
        program, _, text = rest.partition("--- ")
        found.append(Situation(name, program, text.rstrip("\n")))
    return found


def said(program: str, torch) -> str:
    """What a program says under one framework: its error with notes; without one, its last warning."""
    lines = program.splitlines(keepends=True)
    linecache.cache["train.py"] = (len(program), None, lines, "train.py")
    torch.manual_seed(0)
    with warnings.catch_warnings(record=True) as warned, contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("always")
        try:
            exec(compile(program, "train.py", "exec"), {"torch": torch, "__name__": "__main__"})
        except Exception as error:
            return "\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())])
    return f"{warned[-1].category.__name__}: {warned[-1].message}" if warned else ""


def write() -> None:
    """Renew the texts."""
    import facula

    found = [f"=== {s.name}\n{s.program}--- {said(s.program, facula)}\n" for s in situations()]
    FILE.write_text("".join(found))


if __name__ == "__main__":
    write()
