"""The engine under load: long chains, wide graphs, memory, threads, processes, errors in the middle."""

import gc
import os
import resource
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest

import facula as torch


def test_a_chain_of_100_000_operations():
    x = torch.ones(4, requires_grad=True)
    y = x
    for _ in range(100_000):
        y = y + 0.5
    y.sum().backward()
    assert x.grad.tolist() == [1, 1, 1, 1]
    del y  # the graph is freed without recursion


def test_a_chain_freed_without_backward():
    x = torch.ones(2, requires_grad=True)
    y = x
    for i in range(100_000):
        y = y * 1.0 if i % 2 else y.view(2)
    z = y
    for i in range(50_000):
        z = torch.cat([z, z])[:2] if i % 100 == 0 else z.relu()
    del y, z
    gc.collect()


def test_a_wide_graph():
    x = torch.ones(3, requires_grad=True)
    parts = [x * float(i) for i in range(5000)]
    torch.stack(parts).sum().backward()
    assert x.grad.tolist() == [float(sum(range(5000)))] * 3


def test_order_is_by_time():
    order = []
    x = torch.ones(2, requires_grad=True)
    a = x * 2
    b = a.exp()
    c = a.sin()
    d = b + c
    for name, t in (("a", a), ("b", b), ("c", c), ("d", d)):
        t.register_hook(lambda g, name=name: order.append(name))
    d.sum().backward()
    assert order == ["d", "c", "b", "a"]


def test_kept_values_are_freed():
    x = torch.ones(1000, requires_grad=True)
    y = (x.exp() * 2).exp()
    z = y.sum()
    held = weakref.ref(y.storage)
    del y
    assert held() is not None  # kept for backward
    z.backward()
    assert held() is None
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        z.backward()


def test_an_error_names_the_forward_line():
    class Bad(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, grad):
            raise ValueError("in the formula")

    x = torch.ones(2, requires_grad=True)
    y = Bad.apply(x)  # the forward line
    with pytest.raises(ValueError, match="in the formula") as caught:
        y.sum().backward()
    assert any("BadBackward" in note and "test_engine.py" in note for note in caught.value.__notes__)
    z = x.exp()
    w = z * z
    z.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation") as caught:
        w.sum().backward()
    notes = "\n".join(caught.value.__notes__)
    assert "kept by mul at tests/autograd/test_engine.py" in notes and "changed by add at tests" in notes
    (x * 2).sum().backward()  # the engine is as good as new
    assert x.grad.tolist() == [2, 2]


def memory() -> int:
    """Bytes that this process holds now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux's /proc")
def test_steps_do_not_grow_memory():
    torch.manual_seed(0)
    w, b = torch.randn(8, 4, requires_grad=True), torch.zeros(4, requires_grad=True)
    x, y = torch.randn(16, 8), torch.randn(16, 4)

    def steps(count):
        for _ in range(count):
            loss = ((x @ w + b).tanh() - y).pow(2).mean()
            loss.backward()
            with torch.no_grad():
                for p in (w, b):
                    p -= 0.01 * p.grad
                    p.grad = None
        return loss.item()

    first = steps(500)
    gc.collect()
    before = memory()
    last = steps(9500)
    gc.collect()
    assert last < first
    assert memory() - before < 4 << 20


def test_shapes_that_never_repeat_do_not_grow_memory():
    x = torch.ones(70_000, requires_grad=True)

    def steps(low, high):
        for n in range(low, high):
            (x[:n] * 2).sum()

    steps(1, 8000)
    gc.collect()
    before = memory() if os.path.exists("/proc/self/statm") else 0
    steps(8000, 16000)
    gc.collect()
    if before:
        assert memory() - before < 24 << 20


def test_threads_have_their_own_graphs_and_modes():
    found, failures = {}, []

    def work(number):
        try:
            rng = np.random.default_rng(number)
            values = rng.standard_normal((20, 20))
            for _ in range(30):
                x = torch.tensor(values, requires_grad=True)
                with torch.no_grad():
                    assert not (x * 2).requires_grad
                y = (x @ x).tanh().sum()
                y.backward()
                found[number] = x.grad.numpy().copy()
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures
    for number, grad in found.items():
        values = np.random.default_rng(number).standard_normal((20, 20))
        inner = 1 - np.tanh(values @ values) ** 2
        np.testing.assert_allclose(grad, inner @ values.T + values.T @ inner, rtol=1e-9, atol=1e-9)


def test_threads_share_a_leaf():
    w = torch.ones(50, requires_grad=True)

    def work():
        for _ in range(200):
            (w * 2).sum().backward()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert w.grad.tolist() == [1600.0] * 50


PROGRAM = """
import os, sys
import facula as torch
x = torch.randn(300, 300, requires_grad=True)
(x @ x).sum().backward()
wanted = x.grad.sum().item()
pid = os.fork()
if pid == 0:
    x.grad = None
    (x @ x).sum().backward()
    os._exit(0 if abs(x.grad.sum().item() - wanted) < 1e-3 * abs(wanted) else 1)
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_and_exit():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr


def test_backward_in_a_hook():
    x, inner = torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)

    @torch.enable_grad()
    def hook(grad):
        (inner * 3 * grad).sum().backward()

    y = x * 2
    y.register_hook(hook)
    y.sum().backward()
    assert inner.grad.tolist() == [3, 3, 3] and x.grad.tolist() == [2, 2, 2]
