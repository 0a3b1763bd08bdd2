"""How notes are made: what is evaluated of the program, what is not, what they cost nobody, what they never hide."""

import contextlib
import gc
import linecache
import sys
import weakref

import numpy as np
import pytest

import facula as torch
from facula import errors, explain
from facula.errors import explained, fail, noted
from facula.explain import scene


def notes_of(call) -> str:
    """The notes of the error of a call."""
    with pytest.raises(Exception) as caught:  # noqa: B017 - any error has notes
        call()
    return "\n".join(getattr(caught.value, "__notes__", ()))


def test_no_code_of_the_program_runs():
    class Batch:
        @property
        def size(self):
            raise AssertionError("a property was asked")

        def __getattr__(self, name):
            raise AssertionError("an attribute was asked")

    batch = Batch()
    x = torch.ones(2)
    notes = notes_of(lambda: torch.add(x, batch.size if x is None else torch.ones(3)))
    assert "x: float32 [2]" in notes and "could not" not in notes
    calls = []

    def made():
        calls.append(1)
        return torch.ones(3)

    notes = notes_of(lambda: x + made())
    assert "made(): float32 [3]" in notes and calls == [1]  # its value is taken from the function that was called


def test_parts_of_the_program_s_expression():
    class Holder:
        def __init__(self):
            self.inner = {"x": [torch.ones(2, 3)]}

    holder, y = Holder(), torch.ones(4)
    notes = notes_of(
        lambda: (
            holder.inner["x"][0]
            +
            y
        )
    )  # fmt: skip
    assert "holder.inner['x'][0]: float32 [2, 3]" in notes and "y: float32 [4]" in notes
    notes = notes_of(lambda: torch.matmul(other=y, input=torch.ones(5, 5)))
    assert "y: float32 [4]" in notes


def test_a_program_without_source():
    code = compile("x + y", "<nowhere>", "eval")
    linecache.cache.pop("<nowhere>", None)
    space = {"x": torch.ones(2), "y": torch.ones(3), "__name__": "nowhere"}
    assert "got: (2,) and (3,)" in notes_of(lambda: eval(code, space))


def test_paths_of_modules():
    nn = torch.nn

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = nn.ModuleDict({"a": nn.Sequential(nn.ReLU(), nn.Linear(3, 2))})
            self.hidden = [nn.Linear(3, 2)]  # no submodule

        def forward(self, x, registered=True):
            return self.parts["a"](x) if registered else self.hidden[0](x)

    model, x = Outer(), torch.ones(1, 4)
    assert "in parts.a.1 (Linear(in_features=3, out_features=2, bias=True))" in notes_of(lambda: model(x))
    assert "in Linear(in_features=3, out_features=2, bias=True)" in notes_of(lambda: model(x, registered=False))
    assert "in Outer" in notes_of(lambda: model(3, 4, 5))


def test_errors_of_others_that_pass_a_module():
    class Odd(torch.nn.Module):
        def forward(self, x):
            return np.ones(3) + np.ones(4) if x is None else {}["key"]

    inner = Odd()
    model = torch.nn.Sequential(inner)
    assert notes_of(lambda: model(None)).startswith("  in 0 (Odd())")
    with pytest.raises(KeyError) as caught:
        model(torch.ones(1))
    assert caught.value.args == ("key",)
    assert [n for n in caught.value.__notes__ if "in 0" in n] == ["  in 0 (Odd())"]  # once


def test_an_error_keeps_its_context():
    class Odd(torch.nn.Module):
        def forward(self, x):
            try:
                {}["key"]
            except KeyError:
                raise ValueError("told") from None if x is None else ValueError

    with pytest.raises(ValueError, match="told") as caught:
        torch.nn.Sequential(Odd())(torch.ones(1))
    assert isinstance(caught.value.__cause__, ValueError) and isinstance(caught.value.__context__, KeyError)
    with pytest.raises(TypeError, match="must be Tensor, not list") as caught:
        torch.nn.functional.linear([1.0], torch.ones(1, 1))
    assert caught.value.__suppress_context__


def test_a_mistake_in_the_notes_hides_nothing(monkeypatch):
    def broken(scene):
        raise LookupError("broken")

    monkeypatch.setattr(explain, "described", broken)
    with pytest.raises(RuntimeError, match="^PyTorch's words") as caught:
        fail(RuntimeError, "PyTorch's words", expected="this", mend="that")
    first, second, third = caught.value.__notes__
    assert (first, second) == (
        "  expected: this",
        "  mend: that",
    ) and "could not say more: LookupError('broken')" in third


def test_frames_and_tensors_are_let_go():
    x = torch.ones(2, 3)
    layer = torch.nn.Linear(4, 1)
    before = sys.getrefcount(x), sys.getrefcount(layer)
    gc.disable()  # nothing is left to it
    try:
        for call in (lambda: x.view(4), lambda: layer(x), lambda: layer(None), lambda: x[4]):
            with contextlib.suppress(Exception):
                call()
            del call
        assert (sys.getrefcount(x), sys.getrefcount(layer)) == before
    finally:
        gc.enable()


def test_a_running_function_keeps_no_old_values():
    def run():
        x = torch.ones(2, 3)
        with contextlib.suppress(RuntimeError):
            x.view(4)
        gone = weakref.ref(x)
        x = None
        return gone(), x

    assert run() == (None, None)


def test_locals_of_the_program_stay():
    def run():
        x = torch.ones(2, 3)
        mine = locals()
        with contextlib.suppress(RuntimeError):
            x.view(4)
        return mine

    assert run()["x"].shape == (2, 3)


def test_endless_recursion_is_left_alone():
    class Endless(torch.nn.Module):
        def forward(self, x):
            return self(x)

    with pytest.raises(RecursionError) as caught:
        Endless()(torch.ones(1))
    assert not hasattr(caught.value, "__notes__")


def test_errors_without_the_library(monkeypatch):
    monkeypatch.setattr(errors, "EXPLAINER", [])
    error = explained(ValueError, "words", got=3)
    assert str(error) == "words" and error.__notes__ == ["  got: 3"]
    noted(error)
    assert error.__notes__ == ["  got: 3"]


def test_hasattr_of_modules_makes_no_notes(monkeypatch):
    monkeypatch.setattr(errors, "EXPLAINER", [lambda *_: pytest.fail("notes were made")])
    assert not hasattr(torch.nn.Linear(1, 1), "nothing")


def test_a_warning_is_that_of_the_program_s_line():
    prediction, target = torch.ones(3, 1), torch.ones(3)
    with pytest.warns(UserWarning, match="different to the input size") as caught:
        for _ in range(3):
            torch.nn.functional.l1_loss(prediction, target)
    assert all(w.filename == __file__ for w in caught)
    assert "mend: prediction.squeeze(-1)" in str(caught[0].message)


def test_positions_beyond_ascii():
    π, größe = torch.ones(2), torch.ones(3)
    notes = notes_of(lambda: ("ä", π + größe))
    assert "π: float32 [2]" in notes and "größe: float32 [3]" in notes
    assert scene.shown_file(__file__).endswith("tests/explain/test_notes.py")
