"""The examples on 'cuda' and on the CPU: they must train with the same losses.

python -m tests.targets.cuda.examples                on the GPU, all of them (--part 0/4: the first of four parts)
python -m tests.targets.cuda.examples --emulated     a few steps of each on the fake driver (needs g++)

Both runs draw the CPU's random numbers: those for tensors on the GPU are drawn on the CPU and copied. Convolutions are
those of float32, not of TF32.
"""

import contextlib
import io
import runpy
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import facula
from facula import alias, launch
from facula.core import dtype as dt
from facula.core.generator import default_generator
from facula.operators import random
from tests.examples.running import ROOT, data, losses
from tests.targets.cuda.table import exact, part_of

APART = 1e-3  # of losses, relative
# Name -> arguments for a run of real length, and for a run of a few steps.
EXAMPLES: dict[str, tuple[list[str], list[str]]] = {
    "linear_regression.py": (["--epochs", "100"], ["--epochs", "10"]),
    "two_layer_net.py": (["--epochs", "20"], ["--epochs", "2"]),
    "digits.py": (["--epochs", "2"], []),
    "newsgroups.py": (["--epochs", "2"], ["--epochs", "1", "--batch", "60"]),
    "char_rnn.py": (
        ["--epochs", "1", "--steps", "40", "--sample", "20"],
        ["--epochs", "1", "--steps", "2", "--sample", "2", "--batch", "2"],
    ),
    "mnist_cnn.py": (["--epochs", "1"], []),
    "training_kit.py": (["--epochs", "2"], []),
}


class Drawn:
    """The CPU's sampler for memory of a GPU: draws into the host's memory, and copies."""

    def __init__(self, copy: Callable[[int, int, int], None]):
        self.own, self.copy = launch.native("random"), copy

    def __getattr__(self, name: str) -> Callable:
        def draw(ptr: int, count: int, code: str, generator: Any, *more: Any, **named: Any) -> None:
            size = max(1, count) * next(t for t in dt.ALL if t.code == code).itemsize
            held = np.empty(size, np.uint8)
            getattr(self.own, name)(held.ctypes.data, count, code, default_generator, *more, **named)
            if count:
                self.copy(ptr, held.ctypes.data, size)

        return draw

    def sampler(self, name: str, count: int, code: str) -> Callable:
        """What the creators of random tensors call."""

        def draw(generator: int, ptr: int, count: int, *parameters: float) -> None:
            getattr(self, name)(ptr, count, code, None, *parameters)

        return draw


@contextlib.contextmanager
def drawn_on_the_host() -> Iterator[None]:
    """Random numbers for tensors on 'cuda' are the CPU's; those of dropout, too."""
    own, offered = random._sampler, launch.offered

    def sampler(where):
        return Drawn(launch.native("from_host", where)) if where.type == "cuda" else own(where)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(random, "_sampler", sampler)
        patch.setattr(launch, "offered", lambda name, *where: None if name == "dropout" else offered(name, *where))
        yield


def printed_by(name: str, arguments: Sequence[str]) -> str:
    """What an example prints, run in this process."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.setattr(sys, "argv", [name, *arguments])
        alias.install()
        try:
            runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")
        finally:
            alias.uninstall()
    return said.getvalue()


def compare(name: str, arguments: Sequence[str], scratch: Path) -> str | None:
    """How losses on the GPU differ from those on the CPU; None where they do not."""
    more = [*arguments, "--out", str(scratch / "out")] if name != "newsgroups.py" else [*arguments]
    if name in ("newsgroups.py", "char_rnn.py", "mnist_cnn.py"):
        more += ["--data", str(data(name, None, scratch))]
    with drawn_on_the_host(), exact():
        ours, wanted = (losses(printed_by(name, [*more, "--device", device])) for device in ("cuda", "cpu"))
    if not wanted or [label for label, _ in ours] != [label for label, _ in wanted]:
        return f"prints {len(ours)} losses where the CPU prints {len(wanted)}"
    apart = max(abs(a - b) / max(abs(b), 1e-6) for (_, a), (_, b) in zip(ours, wanted))
    return f"losses differ by {apart:.1e}" if not apart <= APART else None


def run(names: Sequence[str], short: bool) -> int:
    """How many examples differ."""
    bad = 0
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            said = compare(name, EXAMPLES[name][short], Path(folder))
        print(f"{name}: {said or 'the same losses'}", flush=True)
        bad += said is not None
    return bad


def main(arguments: list[str]) -> int:
    given = [a for a in arguments if a in EXAMPLES]
    if "--emulated" not in arguments:
        if not facula.cuda.is_available():
            print(facula.cuda.reason())
            return 1
        return run(part_of(given or list(EXAMPLES), arguments), short=False)
    from tests.targets.cuda.emulator import Emulator
    from tests.targets.cuda.fake_driver import FakeDriver, installed

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        with installed(FakeDriver(Emulator(Path(folder)), memory=8 << 30, strict=True), patch):
            return run(given or [name for name, (_, short) in EXAMPLES.items() if short], short=True)


if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:])))
