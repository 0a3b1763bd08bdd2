"""Checks many programs, each in a child of one process that has imported facula; prints one JSON object by name."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def check_all(programs: dict[str, str], folder: Path) -> dict[str, dict]:
    """The reports of `facula check --json` on programs by name."""
    for i, text in enumerate(programs.values()):
        (folder / f"program{i}.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", __name__, *[str(folder / f"program{i}.py") for i in range(len(programs))]],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=folder, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(done.stderr[-4000:])
    return dict(zip(programs, json.loads(done.stdout)))


def _child(file: str) -> dict:
    """The report on one program, made in a child process."""
    with tempfile.TemporaryFile("w+") as out:
        child = os.fork()
        if not child:
            status = 70
            try:
                os.dup2(out.fileno(), 1)
                from facula.cli import main

                status = main(["check", "--json", file]) or 0
                sys.stdout.flush()
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        out.seek(0)
        return {**json.load(out), "status": os.waitstatus_to_exitcode(status)}


if __name__ == "__main__":
    import facula  # noqa: F401

    print(json.dumps([_child(file) for file in sys.argv[1:]]))
