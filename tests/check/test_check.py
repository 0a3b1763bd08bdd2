"""`facula check`: each slip is found at its line, clean programs have none, and the forecast is what is measured."""

import json
import os
import subprocess
import sys

import pytest

from tests.check.programs import CLEAN, PROGRAMS
from tests.check.running import ROOT, check_all
from tests.examples.running import data


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("programs")
    found = check_all({name: text for name, (text, _) in PROGRAMS.items()}, folder)
    assert not list(folder.glob("*.pt")), "a dry run writes no checkpoints"
    return found


@pytest.mark.parametrize("name", PROGRAMS)
def test_findings(name, reports):
    text, wanted = PROGRAMS[name]
    lines = text.split("\n")
    report = reports[name]
    found = [(f["kind"], lines[f["line"] - 1]) for f in report["findings"]]
    assert len(found) == len(wanted), (found, report["ended"])
    for (kind, line), (wanted_kind, words) in zip(found, wanted):
        assert kind == wanted_kind and words in line, (kind, line)
    assert all(f["file"].endswith(".py") and "program" in f["file"] for f in report["findings"])
    assert report["status"] == any(f["level"] == "error" for f in report["findings"])


def test_words(reports):
    def what(name):
        (finding,) = reports[name]["findings"]
        return finding["what"], finding["mend"]

    assert what("shapes")[0] == "RuntimeError: mat1 and mat2 shapes cannot be multiplied (16x16 and 17x3)"
    assert "meta" in what("devices")[0] and "same device" in what("devices")[0]
    assert what("broadcast")[0] == (
        "shapes (16, 1) and (16,) broadcast to (16, 16): each prediction is compared with each target"
    )
    assert what("eval")[0] == "Sequential is evaluated in training mode: its 1 Dropout act as in training"
    assert what("no optimizer")[0].startswith("no optimizer has 3.weight, 3.bias of Sequential")
    assert what("no gradient") == (
        "unused.weight, unused.bias of Net receive no gradient",
        "use them in forward, remove them, or say requires_grad_(False)",
    )


def command(*arguments, **options):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *map(str, arguments)], env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=300, **options,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_text(tmp_path):
    file = tmp_path / "train.py"
    file.write_text(PROGRAMS["zero_grad"][0])
    status, printed, _ = command("-m", "facula", "check", "train.py", cwd=tmp_path)
    first, memory, batch, last = printed.splitlines()
    assert status == 1
    assert first.startswith("train.py:") and ": error: gradients add up over steps: SGD.step()" in first
    assert memory.startswith("memory: ") and "activations" in memory
    assert batch.startswith("batch: 16; up to ")
    assert last.endswith("1 error, 0 warnings")
    file.write_text(CLEAN)
    status, printed, _ = command("-m", "facula", "check", "--output", "train.py", cwd=tmp_path)
    assert status == 0 and printed.startswith("0 1.0 ") and printed.endswith("0 errors, 0 warnings\n")
    assert not (tmp_path / "never_written.pt").exists()
    file.write_text("import torch\nwhile True:\n    torch.nn.Linear(2, 2)(torch.ones(1, 2))\n")
    status, printed, _ = command("-m", "facula", "check", "--seconds", "0.5", "train.py", cwd=tmp_path)
    assert status == 0 and "its time was over" in printed
    file.write_text("import torch\nwhile True:\n    torch.ones(1) + 1\n")
    assert "its time was over" in command("-m", "facula", "check", "--seconds", "0.5", "train.py", cwd=tmp_path)[1]
    assert command("-m", "facula", "check", "none.py", cwd=tmp_path)[0] == 2


def test_large_model_takes_no_memory(tmp_path):
    """Twelve gigabytes of parameters, gradients and state, in a process that may have three."""
    file = tmp_path / "large.py"
    file.write_text(
        "import resource, torch\nfrom torch import nn\n"
        "model = nn.Sequential(*[nn.Linear(16384, 16384) for _ in range(3)])\n"
        "optimizer = torch.optim.AdamW(model.parameters())\n"
        "for _ in range(2):\n"
        "    optimizer.zero_grad()\n"
        "    model(torch.randn(32, 16384)).pow(2).mean().backward()\n"
        "    optimizer.step()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)\n"
    )
    status, printed, _ = command("-m", "facula", "check", "--output", file)
    assert status == 0
    assert int(printed.split("\n")[0]) < 1 << 30
    assert "3.0 GiB parameters, 3.0 GiB gradients, 6.0 GiB optimizer state" in printed


MEASURE = """
import contextlib, io, runpy, sys
from facula import alias
alias.install()
sys.argv = sys.argv[1:]
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    runpy.run_path(sys.argv[0], run_name="__main__")
from facula import launch
print(launch.memory().memory_stats()["bytes_peak"])
"""
EXAMPLES = {
    "basics.py": (), "linear_regression.py": (), "two_layer_net.py": ("--epochs", 6), "digits.py": ("--epochs", 2),
    "char_rnn.py": ("--epochs", 1, "--steps", 30), "mnist_cnn.py": ("--epochs", 1), "newsgroups.py": ("--epochs", 1),
}  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(name, tmp_path, example_data):
    arguments = list(EXAMPLES[name])
    if name in ("newsgroups.py", "mnist_cnn.py", "char_rnn.py"):
        arguments += ["--data", data(name, example_data, tmp_path)]
    if name not in ("basics.py", "newsgroups.py", "char_rnn.py"):
        arguments += ["--out", tmp_path]
    program = ROOT / "examples" / name
    status, printed, errors = command("-m", "facula", "check", "--json", program, *arguments)
    assert status == 0, printed + errors
    report = json.loads(printed)
    assert report["findings"] == [] and report["ended"] == ""
    if report["memory"] is not None:
        _, measured, errors = command("-c", MEASURE, program, *arguments)
        assert report["memory"]["peak"] == pytest.approx(int(measured), rel=0.1), errors


def test_samples_without_numbers():
    """No operator minds operands that nobody computed; lengths that depend on them are another matter."""
    status, printed, errors = command("-m", "tests.check.dry_samples")
    assert status == 0, errors
    counting = {"masked_select", "nonzero", "argwhere", "Tensor.__getitem__", "bincount", "repeat_interleave"}
    assert {line.partition(":")[0] for line in printed.splitlines()} <= counting, printed
