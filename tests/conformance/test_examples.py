"""Each example under facula and under real PyTorch: the same losses over the first epoch, the same final accuracy."""

import pytest

from tests.examples.running import data, losses, run

PROGRAMS = {  # arguments; those that read data get it as well
    "linear_regression.py": ("--epochs", 100),
    "two_layer_net.py": ("--epochs", 50),
    "digits.py": (),
    "newsgroups.py": (),
    "char_rnn.py": ("--epochs", 1, "--steps", 25, "--sample", 20),
    "mnist_cnn.py": ("--epochs", 2),
}
READ = ("newsgroups.py", "char_rnn.py", "mnist_cnn.py")
WRITE_FOLDERS = ("linear_regression.py", "two_layer_net.py", "digits.py", "mnist_cnn.py")
STEPS = ("linear_regression.py", "two_layer_net.py")  # there an epoch is one step, so five of them are compared


def test_basics_prints_the_same_text():
    assert run("basics.py", framework="facula") == run("basics.py", framework="torch")


@pytest.mark.parametrize("name", PROGRAMS)
def test_losses_and_accuracy(name, tmp_path, example_data):
    arguments = [*PROGRAMS[name], "--seed", 1]
    if name in READ:
        arguments += ["--data", data(name, example_data, tmp_path)]
    ours, theirs = (
        run(name, *arguments, *(("--out", tmp_path / framework) if name in WRITE_FOLDERS else ()), framework=framework)
        for framework in ("facula", "torch")
    )
    first, expected = early(ours, name), early(theirs, name)
    assert len(expected) >= 1
    assert [label for label, _ in first] == [label for label, _ in expected]
    for (label, loss), (_, other) in zip(first, expected):
        assert loss == pytest.approx(other, rel=1e-3, abs=2e-6), label  # six digits are printed
    final, other = accuracies(ours), accuracies(theirs)
    assert len(final) == len(other) == (name in ("digits.py", "newsgroups.py", "mnist_cnn.py"))
    assert final == pytest.approx(other, abs=0.01)


def early(printed, name):
    """The losses of the first epoch."""
    last = 5 if name in STEPS else 1
    return [(label, loss) for label, loss in losses(printed) if int(label.split("epoch ")[1].split()[0]) <= last]


def accuracies(printed):
    """The final accuracy, in a list of one; none where the program has none."""
    return [
        float(line.split("test accuracy ")[1].split()[0]) for line in printed.splitlines() if "test accuracy" in line
    ]
