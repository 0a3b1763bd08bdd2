"""Recurrent layers on the fake driver against the CPU: a step is one product and one kernel."""

import numpy as np
import pytest

import facula
from facula.operators import recurrent
from facula.operators.recurrent import GATES, recurrent_layer
from tests.targets.cuda.emulator import COMPILER
from tests.targets.cuda.fake_driver import FUNCTIONS, FakeDriver, installed
from tests.targets.cuda.programs import kernels, texts

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no g++ here")

SIZES, HIDDEN, FEATURES = (4, 4, 4, 2), 5, 3  # sequences that have each step


def run(mode: str, where: str, kind: str, reverse: bool, shown: int) -> dict[str, np.ndarray]:
    """Outputs, last states and all gradients of a layer with packed sequences."""
    facula.manual_seed(0)
    gates = GATES[mode] * HIDDEN
    shapes = {"x": (sum(SIZES), FEATURES), "h": (SIZES[0], shown), "w_ih": (gates, FEATURES), "w_hh": (gates, shown)}
    shapes |= {"b_ih": (gates,), "b_hh": (gates,)}
    if mode == "LSTM":
        shapes["c"] = (SIZES[0], HIDDEN)
    if shown != HIDDEN:
        shapes["w_hr"] = (shown, HIDDEN)
    made = {n: facula.randn(*s).to(getattr(facula, kind)).to(where).requires_grad_() for n, s in shapes.items()}
    state = (made["h"], made["c"]) if mode == "LSTM" else (made["h"],)
    weights = tuple(made.get(n) for n in ("w_ih", "w_hh", "b_ih", "b_hh", "w_hr"))
    out, last = recurrent_layer(mode, made["x"], state, weights, SIZES, reverse)
    parts = [(x * x).sum() for x in (out, *last)]
    facula.stack(parts).sum().backward()
    found = {"out": out, **{f"last{i}": x for i, x in enumerate(last)}, **{n: x.grad for n, x in made.items()}}
    return {n: x.detach().cpu().float().numpy() for n, x in found.items()}


CASES = [
    ("LSTM", "float32", False, HIDDEN), ("LSTM", "float32", True, 2), ("GRU", "float32", True, HIDDEN),
    ("RNN_TANH", "float32", False, HIDDEN), ("RNN_RELU", "float32", True, HIDDEN),
    ("LSTM", "bfloat16", False, HIDDEN), ("GRU", "float16", False, HIDDEN),
]  # fmt: skip


@pytest.fixture(scope="module")
def gpu(emulator):
    """All kernels of the cases, which the CPU names where it goes step by step, too."""
    before = set(kernels())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recurrent, "_whole", lambda *_: None)
        for mode, kind, reverse, shown in CASES:
            run(mode, "cpu", kind, reverse, shown)
    emulator.build_all(texts([k for k in kernels() if k not in before]), 30)
    with pytest.MonkeyPatch.context() as patch, installed(FakeDriver(emulator), patch) as fake:
        yield fake


@pytest.mark.parametrize("mode, kind, reverse, shown", CASES)
def test_layers(mode, kind, reverse, shown, gpu):
    before = len(gpu.named("cuLaunchKernel"))
    found = run(mode, "cuda", kind, reverse, shown)
    started = [FUNCTIONS[call[0]].name for call in gpu.named("cuLaunchKernel")[before:]]
    wanted = run(mode, "cpu", kind, reverse, shown)
    limit = 1e-5 if kind == "float32" else 4e-2
    for name, x in wanted.items():
        np.testing.assert_allclose(found[name], x, rtol=limit, atol=limit * max(1, abs(x).max()), err_msg=name)
    steps = len(recurrent._segments(SIZES, reverse)[0])
    body = {"RNN_TANH": "tanh", "RNN_RELU": "relu"}.get(mode, mode.lower())
    assert started.count(f"facula_{body}") == started.count(f"facula_{body}_back") == steps


def test_steps_of_one_size_are_settled_once(gpu, monkeypatch):
    bound, bind = [], recurrent.launch.native

    def native(name, where):
        bound.append(name)
        return bind(name, where)

    monkeypatch.setattr(recurrent.launch, "native", native)
    run("LSTM", "cuda", "float32", False, HIDDEN)
    assert bound.count("bind_product") == 2 * len(set(SIZES))
