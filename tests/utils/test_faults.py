"""Ends of programs that have workers: interrupted, killed, left; no process and no shared memory stays behind."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROGRAM = """
    import sys, time
    import facula as torch
    from facula.utils.data import DataLoader, Dataset

    what, method = sys.argv[1:]

    class Data(Dataset):
        def __len__(self):
            return 100_000

        def __getitem__(self, index):
            if index >= 4 and what == "sleeps":
                time.sleep(1000)
            while index >= 4 and what == "spins":
                pass
            return torch.zeros(20_000)

    def main():
        stays = what == "stays"
        loader = DataLoader(Data(), 2, num_workers=2, multiprocessing_context=method, persistent_workers=stays)
        batches = iter(loader)
        next(batches)
        print(*(process.pid for process in batches._workers), flush=True)
        if what == "returns":
            return
        for batch in batches:
            if what == "raises":
                raise ValueError("in the loop")
            time.sleep(0.01)

    if __name__ == "__main__":
        main()
"""


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def run(folder: Path, what: str, method: str, end) -> tuple[int, str]:
    """Start the program, end it by `end(process)` once its workers work; its code and errors. All must go soon."""
    (folder / "program.py").write_text(textwrap.dedent(PROGRAM))
    errors = folder / "errors"
    with open(errors, "w") as file:  # no pipe: workers that stay would keep it open
        process = subprocess.Popen(
            [sys.executable, "program.py", what, method],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            start_new_session=True,
        )
    pids = []
    try:
        pids = [int(word) for word in process.stdout.readline().split()]
        assert len(pids) == 2, errors.read_text()
        time.sleep(0.2)
        end(process)
        code = process.wait(timeout=20)
        until = time.monotonic() + 3
        while not all(map(gone, pids)) and time.monotonic() < until:
            time.sleep(0.02)
        assert all(map(gone, pids)), "workers of a program that ended are there"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        for pid in pids:
            if not gone(pid):
                os.kill(pid, signal.SIGKILL)
    assert not [name for name in os.listdir("/dev/shm") if "facula" in name]
    return code, errors.read_text()


def interrupt(process) -> None:
    """What a terminal does at Ctrl-C: all processes get the signal."""
    os.killpg(process.pid, signal.SIGINT)


@pytest.mark.parametrize(
    "what, method",
    [("works", "fork"), ("sleeps", "fork"), ("spins", "fork"), ("stays", "fork"), ("works", "spawn")],
)
def test_interrupted(tmp_path, what, method):
    code, error = run(tmp_path, what, method, interrupt)
    assert code == -signal.SIGINT and error.endswith("KeyboardInterrupt\n")
    assert error.count("Traceback") == 1, "the workers say nothing of it"


@pytest.mark.parametrize(
    "what, method", [("works", "fork"), ("sleeps", "fork"), ("spins", "fork"), ("sleeps", "forkserver")]
)
def test_killed(tmp_path, what, method):
    began = time.monotonic()
    code, error = run(tmp_path, what, method, lambda process: process.kill())
    assert (code, error) == (-signal.SIGKILL, "") and time.monotonic() - began < 25


def test_terminated(tmp_path):
    assert run(tmp_path, "works", "fork", lambda process: process.terminate()) == (-signal.SIGTERM, "")


def test_left(tmp_path):
    assert run(tmp_path, "returns", "fork", lambda process: None) == (0, "")
    code, error = run(tmp_path, "raises", "fork", lambda process: None)
    assert code == 1 and error.endswith("ValueError: in the loop\n") and error.count("Traceback") == 1
