"""Runs the examples of the documentation, and renews what they print.

python -m tests.docs.pages README.md docs/start/tensors.md      # run, and put what was printed into the pages

What a page's fences mean:

    ```python                   runs; all of a page share one namespace
    ```python title="train.py"  becomes a file of that name in the page's folder
    ```text                     right after one that runs: what it prints, or the error that it ends with
    ```console                  `$ facula ...` runs, what follows is what it prints; other commands are not run

`...` in what is printed stands for anything, as in doctests.
"""

import argparse
import contextlib
import doctest
import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.examples.running import newsgroups_archive

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Block(NamedTuple):
    """A fence of a page: its language, title, text, and where the text begins and ends."""

    language: str
    title: str | None
    text: str
    start: int
    end: int


class Run(NamedTuple):
    """What ran: where its output belongs (start, end), what was printed, what the page says, the line of the page."""

    start: int
    end: int
    got: str
    want: str | None
    line: int


def every_page() -> list[Path]:
    """README and all pages that people write."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(text: str) -> list[Block]:
    return [Block(m[1], m[2], m[3], m.start(3), m.end(3)) for m in FENCE.finditer(text)]


def run_page(text: str, name: str, folder: Path) -> Iterator[Run]:
    """Run the examples of a page, in its order, in `folder`."""
    namespace = {"__name__": "__main__"}
    found = blocks(text)
    for block, after in zip(found, [*found[1:], None]):
        line = text.count("\n", 0, block.start)
        if block.language == "python" and block.title:
            (folder / block.title).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            follows = (
                after is not None and after.language == "text" and after.start - block.end <= len("```\n\n```text\n")
            )
            got = _python(block.text, f"{name}:{line}", namespace, bool(follows))
            yield Run(after.start, after.end, got, after.text, line) if follows else Run(0, 0, got, None, line)
        elif block.language == "console":
            yield from _console(block, line, folder)


def _python(code: str, name: str, namespace: dict, may_fail: bool) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.showwarning = lambda message, kind, *_: print(f"{kind.__name__}: {message}", file=printed)
        warnings.simplefilter("always")
        try:
            exec(compile(code, name, "exec"), namespace)
        except Exception as error:
            if not may_fail:
                raise
            printed.write("".join(traceback.format_exception_only(error)))
    return printed.getvalue()


def _console(block: Block, line: int, folder: Path) -> Iterator[Run]:
    for part in re.finditer(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block.text, re.MULTILINE):
        words = shlex.split(part[1])
        if words[0] != "facula":
            continue
        done = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        got = done.stdout + done.stderr
        at = block.start + part.start(2)
        yield Run(at, at + len(part[2]), got, part[2] or None, line + block.text.count("\n", 0, part.start()))


def differences(runs: Iterator[Run]) -> Iterator[str]:
    """A text for each example that prints something else than its page says."""
    checker = doctest.OutputChecker()
    for run in runs:
        if run.want is not None and not checker.check_output(run.want, run.got, OPTIONS):
            yield f"line {run.line}\n--- the page says\n{run.want}--- printed\n{run.got}"


@contextlib.contextmanager
def page_folder() -> Iterator[Path]:
    """A new working directory with the data that pages read."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        newsgroups_archive(Path(name) / "20news-bydate.tar.gz")
        os.chdir(name)
        try:
            yield Path(name)
        finally:
            os.chdir(before)


def renew(page: Path) -> None:
    """Put what is printed now into the page, where it differs."""
    text = page.read_text(encoding="utf-8")
    checker = doctest.OutputChecker()
    with page_folder() as folder:
        runs = list(run_page(text, page.name, folder))
    for run in reversed(runs):
        if run.want is not None and not checker.check_output(run.want, run.got, OPTIONS):
            text = text[: run.start] + run.got + text[run.end :]
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser("pages", description="Run the examples of pages, and renew what they print.")
    parser.add_argument("pages", nargs="+", type=Path)
    for path in parser.parse_args().pages:
        renew(path.resolve())
