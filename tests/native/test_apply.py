"""Calls that machine code repeats: the same results, nodes, errors and references as the calls that Python makes."""

import gc
import sys
import threading

import numpy as np
import pytest

import facula as torch
from facula.native import apply
from facula.operators import elementwise, normalization
from facula.operators.declare.repeats import UNHASHED, Repeats


def known(name):
    return elementwise.__dict__[name].operator.known()


def test_a_call_is_known_the_second_time():
    a, b = torch.tensor([[1.0, 2.0, 3.0]] * 11), torch.tensor([[4.0, 5.0, 6.0]] * 11)
    elementwise.mul.operator.known().clear()
    assert known("mul").run(a, b) is None
    first = elementwise.mul(a, b)
    second = known("mul").run(a, b)
    assert second.tolist() == first.tolist() == [[4.0, 10.0, 18.0]] * 11
    assert second.spec is first.spec and second.storage.ptr != first.storage.ptr


def test_what_differs_is_not_known():
    a, b = torch.ones(2, 13), torch.ones(2, 13)
    elementwise.mul(a, b)
    run = known("mul").run
    assert run(a, b) is not None
    for other in (
        torch.ones(13),
        torch.ones(13, 2).t(),
        torch.ones(2, 13, dtype=torch.float64),
        True,
        1j,
        None,
        "x",
        [1],
    ):
        assert run(a, other) is None, other
    assert run(a.t(), b.t()) is None


def test_numbers_are_arguments_not_constants():
    a = torch.ones(3, 17)
    for number in (2, 5, 1 << 20, -3):
        assert (a * number).tolist() == [[float(number)] * 17] * 3
        assert known("mul").run(a, number).tolist() == [[float(number)] * 17] * 3
    assert (a * 2.5).tolist() == [[2.5] * 17] * 3
    whole = torch.ones(19, dtype=torch.int32)
    assert (whole * 3).tolist() == (whole * 3).tolist() == [3] * 19
    assert (whole * (1 << 40)).tolist() == [0] * 19  # wraps, as in PyTorch
    with pytest.raises(OverflowError):
        whole * (1 << 70)
    minus = torch.ones(19, dtype=torch.int64)
    assert (minus * -1).tolist() == (minus * -1).tolist() == [-1] * 19  # -1 is also what readers return for an error


def test_recorded_as_python_records():
    a, b = torch.rand(4, 21, requires_grad=True), torch.rand(4, 21, requires_grad=True)
    nodes = []
    for _ in range(3):
        y = a * b
        nodes.append(y.grad_fn)
        assert y.requires_grad and not y.is_leaf
    first, *others = nodes
    for node in others:
        assert type(node) is type(first)
        assert node.edges == first.edges and node.outputs == first.outputs and node.line[0] is first.line[0]
        assert node.versions == first.versions and node.plan is first.plan and node.back is first.back
        assert all(x is y for x, y in zip(node.saved, first.saved)) and len(node.saved) == 2
        assert node.pre_hooks is None and node.post_hooks is None and node.numbers == ()
    assert [n.sequence for n in nodes] == sorted({n.sequence for n in nodes})
    assert __file__ in others[1].where() and "test_recorded_as_python_records" in others[1].where()


def normalized(x, weight, bias):
    """The known call of `native_layer_norm`, with results of each kind: of rows and of elements."""
    given = x, weight, bias, normalization._KNOWN_LAYER.same((5,), 1e-5)
    torch.nn.functional.layer_norm(x, (5,), weight, bias)
    made = normalization._KNOWN_LAYER.run(*given)
    assert made is not None and [t.shape for t in made] == [(7, 5), (7, 1), (7, 1)]
    return made


def test_several_results_have_one_node():
    x, weight, bias = torch.randn(7, 5), torch.randn(5).requires_grad_(), torch.randn(5).requires_grad_()
    normalization._KNOWN_LAYER.clear()
    python = torch.native_layer_norm(x, (5,), weight, bias, 1e-5)
    made = normalized(x, weight, bias)
    node = made[0].grad_fn
    assert [t.grad_fn is node for t in made] == [True] * 3 and [t.output_nr for t in made] == [0, 1, 2]
    assert node.name() == python[0].grad_fn.name() == "NativeLayerNormBackward0"
    assert [type(edge).__name__ for edge, _ in node.next_functions] == ["NoneType", "AccumulateGrad", "AccumulateGrad"]
    for a, b in zip(made, python):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-6)
    seed = torch.randn(7, 5)
    first, second = (torch.autograd.grad(t, (weight, bias), seed) for t in (python[0], made[0]))
    for a, b in zip(first, second):
        np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-6)


def test_constants_without_a_hash_are_not_known():
    x = torch.randn(7, 5)
    wanted = torch.nn.functional.layer_norm(x, (5,)).numpy()
    before = len(normalization._KNOWN_LAYER.sames)
    for _ in range(3):
        np.testing.assert_array_equal(torch.nn.functional.layer_norm(x, [5]).numpy(), wanted)
        np.testing.assert_array_equal(torch.sum(x, [0, 1]).numpy(), torch.sum(x, (0, 1)).numpy())
    assert len(normalization._KNOWN_LAYER.sames) == before
    assert normalization._KNOWN_LAYER.run(x, None, None, UNHASHED) is None


def test_whole_numbers_among_results_need_no_gradient():
    x = torch.randn(7, 5).requires_grad_()
    for _ in range(3):
        values, places = x.max(1)
    assert values.requires_grad and values.output_nr == 0 and not places.requires_grad and places.grad_fn is None
    assert torch.autograd.grad(values.sum(), x)[0].sum() == 7


def test_no_reference_of_several_results_is_lost_or_gained():
    x, weight, bias = torch.randn(7, 5), torch.randn(5).requires_grad_(), torch.randn(5).requires_grad_()

    def work():
        for _ in range(50):
            normalized(x, weight, bias)[0].sum().backward()
        weight.grad = bias.grad = None
        gc.collect()

    work()
    held = (x, weight, bias, x.spec, weight.storage, normalization.layer_norm_of.operator)
    before = [sys.getrefcount(thing) for thing in held]
    work()
    assert max(abs(a - sys.getrefcount(thing)) for thing, a in zip(held, before)) <= 2


def test_results_are_kept_as_aliases():
    a = torch.rand(23, requires_grad=True)
    for _ in range(3):
        y = torch.exp(a)
        (kept,) = y.grad_fn.saved
        assert kept is not y and kept.data_ptr() == y.data_ptr() and kept.edge is None and not kept.needs_grad
    y.sum().backward()
    np.testing.assert_allclose(a.grad.numpy(), np.exp(a.detach().numpy()), rtol=1e-6)


def test_written_values_are_noticed():
    for _ in range(3):
        a, b = torch.rand(29, requires_grad=True), torch.rand(29)
        y = a * b
        b.add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()


def test_views_send_their_gradient_to_the_base():
    for _ in range(3):
        base = torch.zeros(5, 31, requires_grad=True)
        ((base * 1)[1] * torch.ones(31)).sum().backward()
        assert base.grad.sum().item() == 31 and base.grad[1].sum().item() == 31
        base = torch.zeros(5, 31)
        part = base[2]
        base.requires_grad_()
        base2 = base * 1
        part = base2[2]
        base2.mul_(2)  # the view's edge is stale now
        (part * torch.ones(31)).sum().backward()
        assert base.grad[2].tolist() == [2.0] * 31


def test_modes():
    a, b = torch.rand(37, requires_grad=True), torch.rand(37)
    for _ in range(2):
        assert (a * b).requires_grad
        with torch.no_grad():
            assert not (a * b).requires_grad
            with torch.enable_grad():
                assert (a * b).requires_grad
        with torch.inference_mode():
            assert not (a * b).requires_grad
        with torch.autograd.graph.saved_tensors_hooks(lambda t: t + 1, lambda t: t):
            y = a * b
        y.sum().backward()
        assert torch.equal(a.grad, b + 1)
        a.grad = None


def test_parameters_and_subclasses():
    p = torch.nn.Parameter(torch.ones(41))
    for _ in range(3):
        assert type(p * 2) is torch.Tensor and (p * 2).requires_grad


def test_more_calls_than_places():
    tensors = [torch.full((n,), float(n)) for n in range(1, 3 * apply.WAYS)]
    for _ in range(2):
        for n, t in enumerate(tensors, 1):
            assert (t + t).tolist() == [2.0 * n] * n


def test_no_reference_is_lost_or_gained():
    a, b = torch.rand(43, requires_grad=True), torch.rand(43)

    def work():
        for _ in range(200):
            y = torch.where(a > b, a * 2.5, b - 1).sum()
            torch.exp(y * 3)
            y.backward()
            a.grad = None
            try:
                torch.ones(43, dtype=torch.int32) * (1 << 70)
            except OverflowError:
                pass

    work()
    gc.collect()
    watched = (a, b, a.spec, b.storage, elementwise.mul.operator, None if sys.version_info >= (3, 12) else False)
    before = [sys.getrefcount(x) for x in watched], len(gc.get_objects())
    work()
    gc.collect()
    after = [sys.getrefcount(x) for x in watched], len(gc.get_objects())
    assert max(abs(x - y) for x, y in zip(before[0], after[0])) <= 8 and abs(after[1] - before[1]) < 50


def test_plans_may_be_forgotten_while_a_long_kernel_runs():
    a = torch.rand(1_000_000)
    want = torch.exp(a).numpy()
    errors = []

    def work():
        for _ in range(20):
            if not np.array_equal(torch.exp(a).numpy(), want):
                errors.append("differs")

    threads = [threading.Thread(target=work) for _ in range(3)]
    for t in threads:
        t.start()
    while any(t.is_alive() for t in threads):
        elementwise.exp.operator.known().clear()
    for t in threads:
        t.join()
    assert not errors


def test_default_dtype_is_forgotten():
    whole = torch.arange(47)
    assert (whole / 2).dtype is torch.float32 and (whole / 2).dtype is torch.float32
    torch.set_default_dtype(torch.float64)
    try:
        assert (whole / 2).dtype is torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_wrong_number_of_arguments():
    a = torch.ones(53)
    elementwise.mul(a, a)
    with pytest.raises(TypeError, match="takes 2 positional arguments but 1 were given"):
        known("mul").run(a)
    with pytest.raises(TypeError):
        elementwise.mul(a)


def test_constants_are_compared_by_identity():
    a = torch.rand(3, 4, 59)
    for dim in (0, 1, 2, -1, None, (0, 1), [1]):
        for keepdim in (False, True):
            for _ in range(2):
                axis = tuple(dim) if isinstance(dim, list) else dim
                np.testing.assert_allclose(
                    torch.sum(a, dim, keepdim).numpy(), a.numpy().sum(axis, keepdims=keepdim), rtol=1e-5
                )
    with pytest.raises(IndexError):
        a.sum(3)


def test_repeats_start_empty():
    fresh = Repeats(elementwise.mul.operator, 2)
    assert fresh.run(1, 2) is None and fresh.memo is None


def test_calls_that_are_forgotten_meanwhile_stay_forgotten(monkeypatch):
    """Another thread changes a switch while one makes a call known."""
    fresh, add = Repeats(elementwise.mul.operator, 2), apply.Memo.add

    def interrupted(*arguments):
        fresh.clear()
        return add(*arguments)

    monkeypatch.setattr(apply.Memo, "add", interrupted)
    a, b = torch.ones(3, 5), torch.ones(3, 5)
    for _ in range(2):
        assert fresh.slowly((a, b), {}).tolist() == a.tolist()
        assert fresh.run(a, b) is None
    plans = []

    def make(*specs):
        fresh.clear()
        plans.append(specs)

    monkeypatch.setattr(apply.Memo, "add", add)
    plan = fresh.operator.plans[(a.spec, b.spec), None]
    assert fresh.repeat((a, b), 2, a, lambda *specs: make(*specs) or plan, None)
    assert plans and fresh.run(a, b) is None and fresh.memo is None


def backwards(make, times=4):
    """The gradients of a fresh graph, made and run several times: machine code takes over after the first."""
    return [make() for _ in range(times)]


def test_backward_of_known_calls():
    x, w = np.linspace(-1, 1, 61, dtype="f4"), np.linspace(2, 3, 61, dtype="f4")

    def make():
        a, b, c = (
            torch.tensor(x, requires_grad=True),
            torch.tensor(w, requires_grad=True),
            torch.tensor(1.5, requires_grad=True),
        )
        y = (a * b + c) * 2.5 / b  # a broadcast number: its gradient is summed
        torch.where(y > 1, y, torch.exp(y)).sum().backward()
        return a.grad.numpy(), b.grad.numpy(), c.grad.item()

    first, *others = backwards(make)
    y = (x * w + 1.5) * 2.5 / w
    slope = np.where(y > 1, 1, np.exp(y))
    np.testing.assert_allclose(first[0], slope * 2.5, rtol=1e-5)
    np.testing.assert_allclose(first[1], slope * (-1.5 * 2.5 / w**2), rtol=1e-4)
    np.testing.assert_allclose(first[2], (slope * 2.5 / w).sum(), rtol=1e-5)
    for other in others:
        assert all(np.array_equal(p, q) for p, q in zip(first, other))


def test_backward_notices_what_happened_since():
    for _ in range(4):
        a, b = torch.ones(67, requires_grad=True), torch.full((67,), 3.0)
        y = (a * b).sum()
        y.backward()
        with pytest.raises(RuntimeError, match="second time"):
            y.backward()
        y = (a * b).sum()
        b.add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.backward()
        y = a * b
        (first,) = torch.autograd.grad(y.sum(), a, create_graph=True)
        assert first.tolist() == [4.0] * 67
        z = (a * a * a).sum()
        (first,) = torch.autograd.grad(z, a, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), a)
        assert second.tolist() == [6.0] * 67


def test_hooks_see_each_gradient():
    for _ in range(4):
        a, b = torch.ones(71, requires_grad=True), torch.full((71,), 3.0)
        y = a * b
        y.register_hook(lambda g: g * 2)
        y.grad_fn.register_hook(lambda made, given: tuple(None if g is None else g + 1 for g in made))
        y.sum().backward()
        assert a.grad.tolist() == [7.0] * 71


def test_a_builtin_outlives_its_memo():
    a = torch.ones(73)
    elementwise.mul(a, a)
    run = known("mul").run
    known("mul").clear()
    gc.collect()
    [torch.full((n,), 1.0) * 2 for n in range(1, 200)]  # memory is used again
    assert run(a, a).tolist() == [1.0] * 73


def test_many_threads_learn_the_same_calls():
    for size in range(80, 90):
        w, start = torch.ones(size, requires_grad=True), threading.Barrier(4)

        def work(w=w, start=start):
            start.wait()
            for _ in range(20):
                (w * 2).sum().backward()

        elementwise.mul.operator.known().clear()
        threads = [threading.Thread(target=work) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert w.grad.tolist() == [160.0] * size
