"""`facula.show` and `facula show`: formulas, texts of kernels, rows of steps, and what operators forget meanwhile."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import facula as torch
from facula import show_command, showing
from facula.core.modes import LOCAL
from facula.operators import override

F = torch.nn.functional
ROOT = str(Path(__file__).parent.parent)


def test_an_operator():
    x = torch.randn(64, 100)
    for _ in range(2):  # the second time all of it is known already
        found = torch.show(torch.softmax, x, dim=1)
        assert found.formula == "out = a * (1 / sum_row(a))\n  a = exp(input - max_row(input))"
        (kernel,) = found.kernels
        assert kernel.name == "softmax_rows" and kernel.calls == 1 and kernel.phase == "forward"
        assert found.ir.startswith("kernel softmax_rows\n  in input: f32\n")
        assert list(found.stages["softmax_rows"]) == [
            "kernel", "check", "guard", "simplify", "complex", "expand", "tidy"
        ]  # fmt: skip
        assert "define" in found.llvm and "ret" in found.assembly and "__global__" in found.cuda
        assert found.bytes == 2 * 4 * 6400 and 0 < found.seconds < 1 and 0 < found.share <= 1
        np.testing.assert_allclose(found.result.numpy(), torch.softmax(x, 1).numpy())
        assert "of the limit" in repr(found) and "exp(input" in repr(found)
        page = found._repr_html_()
        assert page.count("<details>") == 3 and "&lt;" in page and "<table>" in page


def test_backward_is_shown_and_leaves_gradients_alone():
    x = torch.randn(8, 10, requires_grad=True)
    x.grad = torch.ones(8, 10)
    found = torch.show(F.gelu, x)
    assert [(k.name, k.phase) for k in found.kernels] == [
        ("gelu_kernel", "forward"), ("_derived_gelu_kernel_backward", "backward")
    ]  # fmt: skip
    assert [row.name for row in found.rows] == ["aten::gelu", "GeluBackward0"] and x.grad.equal(torch.ones(8, 10))
    assert found.bytes == 2 * 320 and "GeluBackward0" in found.table


def test_routines_and_modules():
    model = torch.nn.Sequential(torch.nn.Linear(30, 20), torch.nn.ReLU())
    found = torch.show(model, torch.randn(16, 30))
    names = [k.name for k in found.kernels]
    assert "matmul_float32" in names and "relu" in names
    assert found.flops == 2 * 16 * 30 * 20 and all(p.grad is None for p in model.parameters())
    (matmul,) = (k for k in found.kernels if k.name == "matmul_float32")
    assert matmul.kernel is None and matmul.stages == {} and "routine" in matmul.formula and matmul.llvm


def test_a_routine_alone():
    found = torch.show(torch.matmul, torch.randn(16, 30), torch.randn(30, 8))
    assert "routines of the target: matmul_float32" in repr(found) and found.flops == 2 * 16 * 30 * 8


def test_views_move_no_bytes():
    found = torch.show(torch.transpose, torch.randn(30, 40), 0, 1)
    assert found.bytes == 0 and found.kernels == [] and found.share is None


def test_a_step():
    model = torch.nn.Linear(30, 20)
    optimizer = torch.optim.Adam(model.parameters())
    x = torch.randn(16, 30)

    def step():
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    step()
    count = []
    found = torch.show(lambda: (count.append(1), step()))
    assert count == [1]  # once, not more
    rows = {row.name: row for row in found.rows}
    assert {"aten::linear", "aten::square", "aten::mean", "AddmmBackward0", "Optimizer.step#Adam.step"} <= set(rows)
    assert rows["aten::linear"].line.startswith("test_showing.py:") and rows["aten::linear"].calls == 1
    assert rows["AddmmBackward0"].line == rows["aten::linear"].line  # the forward's
    assert rows["aten::linear"].bytes == 4 * (16 * 30 + 30 * 20 + 20 + 16 * 20)
    sizes = 4 * (30 * 20 + 20)
    assert rows["Optimizer.step#Adam.step"].bytes == 7 * sizes  # reads gradient, parameter, two of state, writes three
    assert found.step and found.seconds >= sum(row.seconds for row in found.rows) > 0
    assert "of which" in repr(found) and "square" in found.formula


def test_what_was_compiled_is_said(monkeypatch):
    monkeypatch.setattr(showing, "_compilations", iter([(2, 5.0), (4, 8.5)]).__next__)
    assert torch.show(lambda: None).notes == ["the times include making 2 kernels (3.5 ms of it in LLVM)"]


def test_nothing_stays_behind():
    x = torch.randn(4, requires_grad=True)
    before = torch.add.__code__
    with pytest.raises(RuntimeError):
        torch.show(torch.matmul, torch.ones(2), torch.ones(3))
    with pytest.raises(KeyError):
        torch.show(lambda: {}["step"])
    torch.show(torch.add, x, 1)
    from facula.native import jit

    assert sys.getprofile() is None and jit.WATCH == [] and LOCAL.watch is None and not override.WATCHED
    assert torch.add.__code__ is before
    with pytest.raises(TypeError, match="show\\(\\) expects a function"):
        torch.show(x)


def test_results_after_operators_forgot():
    """What an operator remembers is dropped for a look; it must learn the same again, gradients too."""
    x = torch.randn(5, 6, requires_grad=True)

    def compute():
        x.grad = None
        ((x * 2).exp() @ x.T).sum().backward()
        return x.grad.clone()

    for _ in range(3):
        expected = compute()
    torch.show(torch.exp, x)
    gc.collect()
    for _ in range(3):
        assert torch.equal(compute(), expected)


def test_limits():
    assert 0 < showing.copy_seconds(1 << 20) < 0.1 and showing.copy_seconds(0) == 0
    assert showing.copy_seconds(1 << 27) > showing.copy_seconds(1 << 22)
    assert showing.flops_a_second("float32") > 1e8
    assert showing.limit_seconds(0, 10**9) > showing.limit_seconds(0, 10**6) > 0


# --- the command ------------------------------------------------------------------------------------------------------


def facula(*words, folder=None):
    environ = os.environ | {"PYTHONPATH": ROOT}
    command = [sys.executable, "-m", "facula", "show", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environ, timeout=120)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("softmax", "softmax"), ("torch.nn.functional.gelu", "gelu"), ("linalg.inv", "inv"), ("Tensor.add_", "add_")],
)
def test_names(name, expected):
    assert show_command.operator_of(name).__name__.endswith(expected)


def test_operands():
    args, named = show_command.operands(torch.softmax, ["3x4"], "float64", [])
    assert [tuple(x.shape) for x in args] == [(3, 4)] and named == {"dim": -1} and args[0].dtype is torch.float64
    args, named = show_command.operands(torch.where, ["3x4"], "bool", [])
    assert len(args) == 1
    args, named = show_command.operands(torch.add, ["3x4", "4"], "int32", ["alpha=2"])
    assert [tuple(x.shape) for x in args] == [(3, 4), (4,)] and named == {"alpha": 2}
    args, named = show_command.operands(torch.cat, ["3x4"], "float32", ["dim=1"])
    assert [tuple(x.shape) for x in args[0]] == [(3, 4)] and named == {"dim": 1}
    for bad in (["3y4"], ["3x4"]):
        with pytest.raises(ValueError, match="not understood|no dtype"):
            show_command.operands(torch.exp, bad, "float33", [])
    with pytest.raises(ValueError, match="nearest: torch.softmax"):
        show_command.operator_of("sofmax")


def test_command():
    found = facula("softmax", "--shape", "8x10", "--dtype", "float64", "--part", "formula")
    assert found.stderr == "" and "exp(input - max_row(input))" in found.stdout
    found = facula("--part", "llvm", "matmul", "--shape", "8x8")
    assert "define" in found.stdout and "matmul" in found.stdout  # of a routine too, in a new process
    found = facula("matmul", "--shape", "3x4")
    assert found.returncode == 1 and "facula show: RuntimeError: mat1 and mat2 shapes cannot be" in found.stderr
    assert facula("sofmax").returncode == 2 and facula("exp", "--part", "soul").returncode == 2


PROGRAM = """
import sys, torch
model = torch.nn.Linear(3, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for number in range(int(sys.argv[1])):
    optimizer.zero_grad()
    model(torch.ones(4, 3)).sum().backward()
    optimizer.step()
print("the end")
"""


def test_a_program(tmp_path):
    (tmp_path / "train.py").write_text(PROGRAM)
    found = facula("train.py", "9", folder=tmp_path)
    assert found.stderr == "" and "the end" not in found.stdout and found.stdout.startswith("step 4: ")
    lines = found.stdout.splitlines()
    assert sum("aten::linear" in line and line.endswith("train.py:7") for line in lines) == 1
    assert any("Optimizer.step#SGD.step" in line and line.endswith("train.py:8") for line in lines)
    short = facula("train.py", "2", folder=tmp_path)
    assert short.returncode == 1 and "the program ended before step 4" in short.stderr and "the end" in short.stdout
    whole = facula("--whole", "train.py", "2", folder=tmp_path)
    assert "the program: " in whole.stdout and "the end" in whole.stdout
    assert any(line.split()[:2] == ["aten::linear", "2"] for line in whole.stdout.splitlines())
