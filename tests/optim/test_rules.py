"""Optimizers against their formulas in NumPy, and what groups, states and errors promise; without PyTorch."""

import copy
import itertools

import numpy as np
import pytest

import facula as torch
from facula import optim
from facula.optim import rule as rules


def sgd(p, g, s, t, lr, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False, maximize=False):
    g = (-g if maximize else g) + weight_decay * p
    if momentum:
        s["b"] = g if "b" not in s else momentum * s["b"] + (1 - dampening) * g
        g = g + momentum * s["b"] if nesterov else s["b"]
    return p - lr * g


def adam(
    p, g, s, t, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False, decoupled=False, maximize=False
):
    g = -g if maximize else g
    p, g = (p * (1 - lr * weight_decay), g) if decoupled else (p, g + weight_decay * p)
    s["m"] = betas[0] * s.get("m", 0) + (1 - betas[0]) * g
    s["v"] = betas[1] * s.get("v", 0) + (1 - betas[1]) * g * g
    s["max"] = np.maximum(s.get("max", 0), s["v"]) if amsgrad else s["v"]
    return p - lr / (1 - betas[0] ** t) * s["m"] / (np.sqrt(s["max"] / (1 - betas[1] ** t)) + eps)


def adamw(p, g, s, t, weight_decay=0.01, **options):
    return adam(p, g, s, t, weight_decay=weight_decay, decoupled=True, **options)


def adagrad(p, g, s, t, lr, lr_decay=0.0, weight_decay=0.0, initial_accumulator_value=0.0, eps=1e-10, maximize=False):
    g = (-g if maximize else g) + weight_decay * p
    s["sum"] = s.get("sum", initial_accumulator_value) + g * g
    return p - lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(s["sum"]) + eps)


def rmsprop(p, g, s, t, lr, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False, maximize=False):
    g = (-g if maximize else g) + weight_decay * p
    s["v"] = alpha * s.get("v", 0) + (1 - alpha) * g * g
    s["m"] = alpha * s.get("m", 0) + (1 - alpha) * g
    step = g / (np.sqrt(s["v"] - s["m"] ** 2 if centered else s["v"]) + eps)
    s["b"] = momentum * s.get("b", 0) + step
    return p - lr * s["b"]


CASES = [
    (optim.SGD, sgd,
     {"momentum": (0.0, 0.9), "dampening": (0.0, 0.2), "weight_decay": (0.0, 0.1), "maximize": (False, True)}),
    (optim.SGD, sgd, {"momentum": (0.9,), "nesterov": (True,)}),
    (optim.Adam, adam,
     {"amsgrad": (False, True), "weight_decay": (0.0, 0.1), "maximize": (False, True), "betas": ((0.8, 0.9),)}),
    (optim.AdamW, adamw, {"amsgrad": (False, True), "weight_decay": (0.0, 0.1)}),
    (optim.Adagrad, adagrad,
     {"lr_decay": (0.0, 0.3), "initial_accumulator_value": (0.0, 0.2), "weight_decay": (0.0, 0.1)}),
    (optim.RMSprop, rmsprop,
     {"momentum": (0.0, 0.9), "centered": (False, True), "weight_decay": (0.0, 0.1), "alpha": (0.9,)}),
]  # fmt: skip


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-12)])
@pytest.mark.parametrize(
    "kind, formula, options", CASES, ids=[f"{kind.__name__}{i}" for i, (kind, _, _) in enumerate(CASES)]
)
def test_formulas(kind, formula, options, dtype, tolerance):
    random = np.random.default_rng(0)
    for values in itertools.product(*options.values()):
        chosen = {"lr": 0.05, **dict(zip(options, values))}
        wanted = [random.standard_normal(shape).astype(dtype) for shape in ((3, 4), (), (7,), (0, 2))]
        params = [torch.nn.Parameter(torch.from_numpy(np.array(p))) for p in wanted]
        params.append(
            torch.nn.Parameter(torch.from_numpy(random.standard_normal((4, 3)).astype(dtype)).t())
        )  # not contiguous
        wanted.append(params[-1].detach().numpy().copy())
        states = [{} for _ in params]
        optimizer = kind(params, **chosen)
        for step in range(1, 4):
            for i, p in enumerate(params):
                grad = random.standard_normal(p.shape).astype(dtype)
                p.grad = torch.from_numpy(np.array(grad))
                wanted[i] = formula(wanted[i].astype("float64"), grad.astype("float64"), states[i], step, **chosen)
            optimizer.step()
        for p, value in zip(params, wanted):
            np.testing.assert_allclose(p.detach().numpy(), value, rtol=tolerance, atol=tolerance, err_msg=str(chosen))


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.AdamW, optim.Adagrad, optim.RMSprop])
def test_kernel_and_operators_agree(kind, monkeypatch):
    results = []
    for path in ("kernel", "operators"):
        if path == "operators":

            def with_operators(rule, jobs, *rest):
                for options, scalars, tensors in jobs:
                    rules.with_operators(rule, options, scalars, tensors, False, True)

            monkeypatch.setattr(optim.optimizer, "apply_rules", with_operators)
        w = torch.nn.Parameter(torch.linspace(-1, 1, 6))
        optimizer = kind([w], lr=0.1, **({"momentum": 0.9} if kind is optim.SGD else {}))
        for _ in range(3):
            w.grad = torch.linspace(2, -1, 6)
            optimizer.step()
        results.append(w.detach().numpy())
    np.testing.assert_allclose(results[0], results[1], rtol=1e-5, atol=1e-6)


def test_in_place_and_versions():
    w = torch.nn.Parameter(torch.ones(3))
    address, version = w.data_ptr(), w._version
    w.grad = torch.ones(3)
    optimizer = optim.Adam([w])
    optimizer.step()
    assert w.data_ptr() == address and w._version > version and w.grad._version == 0


def test_step_counter_is_a_tensor_that_may_be_changed():
    w = torch.nn.Parameter(torch.ones(3))
    w.grad = torch.ones(3)
    optimizer = optim.Adam([w])
    optimizer.step()
    count = optimizer.state[w]["step"]
    assert count.item() == 1 and count.dtype is torch.float32 and count.shape == ()
    count.fill_(10)
    optimizer.step()
    assert count.item() == 11
    optimizer.state[w]["step"] = torch.tensor(5.0)
    optimizer.step()
    assert optimizer.state[w]["step"].item() == 6


def test_parameters_without_gradient_are_left_alone():
    used, idle = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    optimizer = optim.Adam([used, idle])
    used.grad = torch.ones(2)
    optimizer.step()
    assert idle.tolist() == [1.0, 1.0] and idle not in optimizer.state


def test_state_dict_round_trip():
    def run(optimizer, w, steps):
        for _ in range(steps):
            w.grad = w.detach() * 2
            optimizer.step()

    w = torch.nn.Parameter(torch.ones(3))
    optimizer = optim.Adam([w], lr=0.1)
    run(optimizer, w, 2)
    saved, values = copy.deepcopy(optimizer.state_dict()), w.detach().clone()
    run(optimizer, w, 2)
    again = torch.nn.Parameter(values)
    fresh = optim.Adam([again], lr=7.0)
    fresh.load_state_dict(saved)
    assert fresh.param_groups[0]["lr"] == 0.1
    run(fresh, again, 2)
    assert again.tolist() == w.tolist()
    with pytest.raises(ValueError, match="doesn't match the size of optimizer's group"):
        optim.Adam([w, again]).load_state_dict(saved)


def test_repr():
    text = repr(optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.5))
    assert text == (
        "SGD (\nParameter Group 0\n    dampening: 0\n    differentiable: False\n    foreach: None\n    fused: None\n"
        "    lr: 0.5\n    maximize: False\n    momentum: 0\n    nesterov: False\n    weight_decay: 0\n)"
    )


def test_hooks_and_closure():
    w = torch.nn.Parameter(torch.ones(2))
    optimizer = optim.SGD([w], lr=0.1)
    seen = []
    optimizer.register_step_pre_hook(lambda *args: seen.append("pre"))
    optimizer.register_step_post_hook(lambda *args: seen.append("post"))

    def closure():
        optimizer.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 2.0
    assert seen == ["pre", "post"]
    np.testing.assert_allclose(w.detach().numpy(), [0.8, 0.8], rtol=1e-6)
