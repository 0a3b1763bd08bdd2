"""Each example, run as its reader would: `facula run examples/x.py`, and what it prints and writes."""

import numpy as np
import pytest

from tests.examples.running import data, losses, number, run


def assert_picture(file):
    content = file.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(content) > 5000


def assert_falling(pairs, factor):
    values = [loss for _, loss in pairs]
    assert np.isfinite(values).all()
    assert values[-1] < values[0] / factor, values


def test_basics():
    printed = run("basics.py")
    for expected in (
        "np.matmul: [[7.0, 10.0], [15.0, 22.0]]  torch.matmul: [[7.0, 10.0], [15.0, 22.0]]",
        "tensor([[-0.1468,  0.7861,  0.9468],\n        [-1.1143,  1.6908, -0.8948]])\nand once more",
        "torch.FloatTensor",
        "y: tensor(46., grad_fn=<AddBackward0>) requires_grad: True",
        "dy/dx = plain + 2x: tensor([ 6.,  9., 12.])",
        "a tensor that requires no gradient has none: None",
        "RuntimeError: grad can be implicitly created only for scalar outputs",
        "x.grad, weighted by 1, 0.1, 0.01: tensor([2.0000, 0.4000, 0.0600])",
        "no_grad records nothing: False",
        "results have one: MulBackward0 AddBackward0",
        "    MulBackward0\n  LogBackward0\n",
        "d root/da = b (1/c + cos c) = 3.38051, d root/db = 2.25367",
        "by CubeBackward",
        "gradcheck: True",
    ):
        assert expected in printed
    assert_falling(losses(printed), 20)


def test_linear_regression(tmp_path):
    printed = run("linear_regression.py", "--seed", 42, "--out", tmp_path)
    random = np.random.RandomState(42)
    x = random.rand(100, 1)
    y = 1 + 2 * x + 0.1 * random.randn(100, 1)
    slope, start = np.polyfit(x[:, 0], y[:, 0], 1)
    for name, within in (("hand", 1e-3), ("optim", 1e-3), ("module", 0.05)):  # the Module sees 80 of the points
        assert number(printed, f"{name}: a =") == pytest.approx(start, abs=within)
        b = float(printed.split(f"{name}: a = ")[1].split("b = ")[1].split()[0])
        assert b == pytest.approx(slope, abs=within)
    by_name = {name: [loss for label, loss in losses(printed) if label.startswith(name)] for name in ("hand", "optim")}
    assert by_name["hand"] == pytest.approx(by_name["optim"], rel=1e-4)
    assert_picture(tmp_path / "linear_regression.png")
    assert run("linear_regression.py", "--seed", 42, "--out", tmp_path) == printed  # reproducible


def test_two_layer_net(tmp_path):
    printed = run("two_layer_net.py", "--epochs", 60, "--out", tmp_path)
    for name, factor in (
        ("adam", 2),
        ("sgd", 20),
        ("sigmoid", 2),
        ("softmax", 1.5),
        ("adagrad", 1000),
        ("rmsprop", 20),
    ):
        assert_falling([(label, loss) for label, loss in losses(printed) if label.startswith(name)], factor)
    assert_picture(tmp_path / "two_layer_net.png")


def test_digits(tmp_path):
    printed = run("digits.py", "--out", tmp_path)
    assert number(printed, "test accuracy") >= 0.97
    assert "converged" in printed
    assert_falling(losses(printed), 10)
    assert (tmp_path / "digits.pt").stat().st_size > 4 * (64 * 256 + 256 * 128)
    assert_picture(tmp_path / "digits.png")


def test_training_kit(tmp_path):
    printed = run("training_kit.py", "--epochs", 25, "--out", tmp_path)
    assert number(printed, "test accuracy") >= 0.97
    assert number(printed, "test top-2") >= number(printed, "test accuracy")
    assert "2: Conv2d      32×16×8×8   32×32×8×8" in printed and "parameters: 9,930" in printed
    assert_falling(losses(printed), 10)
    rows = (tmp_path / "training_kit.csv").read_text(encoding="utf-8").splitlines()
    assert rows[0].startswith("epoch,loss,lr,validation loss,validation accuracy") and len(rows) > 8
    assert (tmp_path / "training_kit.pt").stat().st_size > 4 * 9930
    for name in ("history", "confusion"):
        assert_picture(tmp_path / f"training_kit_{name}.png")
    assert "MaxPool2d" in (tmp_path / "training_kit_model.svg").read_text(encoding="utf-8")


def test_newsgroups(tmp_path, example_data):
    printed = run("newsgroups.py", "--data", data("newsgroups.py", example_data, tmp_path))
    assert number(printed, "test accuracy") >= 0.9
    assert_falling(losses(printed), 10)
    assert f"on {1180 if example_data else 60} texts" in printed


@pytest.mark.parametrize("own_text", [False, True])
def test_char_rnn(tmp_path, example_data, own_text):
    source = () if own_text else ("--data", data("char_rnn.py", example_data, tmp_path))
    printed = run(
        "char_rnn.py", *source, "--epochs", 2, "--steps", 20, "--sample", 50, "--out", tmp_path / "sample.txt"
    )
    assert_falling([pair for pair in losses(printed) if "step" not in pair[0]], 1.1)
    sample = (tmp_path / "sample.txt").read_text(encoding="utf-8")
    assert len(sample) == 50
    assert printed.endswith(f"--- a sample\n{sample}\n")


def test_mnist_cnn(tmp_path, example_data):
    folder = data("mnist_cnn.py", example_data, tmp_path)
    printed = run("mnist_cnn.py", "--data", folder, "--epochs", 3, "--out", tmp_path)
    assert number(printed, "test accuracy") >= 0.9
    assert_falling(losses(printed), 4)
    assert_picture(tmp_path / "mnist_cnn.png")
