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


def adadelta(p, g, s, t, lr, rho=0.9, eps=1e-6, weight_decay=0.0, maximize=False):
    g = (-g if maximize else g) + weight_decay * p
    s["v"] = rho * s.get("v", 0) + (1 - rho) * g * g
    delta = np.sqrt(s.get("d", 0) + eps) / np.sqrt(s["v"] + eps) * g
    s["d"] = rho * s.get("d", 0) + (1 - rho) * delta * delta
    return p - lr * delta


def adamax(p, g, s, t, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, maximize=False):
    g = (-g if maximize else g) + weight_decay * p
    s["m"] = betas[0] * s.get("m", 0) + (1 - betas[0]) * g
    s["u"] = np.maximum(betas[1] * s.get("u", 0 * p), np.abs(g) + eps)
    return p - lr / (1 - betas[0] ** t) * s["m"] / s["u"]


def asgd(p, g, s, t, lr, lambd=1e-4, alpha=0.75, t0=1e6, weight_decay=0.0, maximize=False):
    g = (-g if maximize else g) + weight_decay * p
    eta = float(np.float32(lr / (1 + lambd * lr * (t - 1)) ** alpha))  # kept as a float32
    return p * (1 - lambd * eta) - eta * g


def nadam(
    p, g, s, t, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, momentum_decay=4e-3, decoupled_weight_decay=False
):
    p, g = (p * (1 - lr * weight_decay), g) if decoupled_weight_decay else (p, g + weight_decay * p)
    s["m"] = betas[0] * s.get("m", 0) + (1 - betas[0]) * g
    s["v"] = betas[1] * s.get("v", 0) + (1 - betas[1]) * g * g
    now, coming = (betas[0] * (1 - 0.5 * 0.96 ** (n * momentum_decay)) for n in (t, t + 1))
    s["product"] = np.float32(s.get("product", 1) * now)  # kept as a float32
    product = float(s["product"])
    step = (1 - now) * g / (1 - product) + coming * s["m"] / (1 - product * coming)
    return p - lr * step / (np.sqrt(s["v"] / (1 - betas[1] ** t)) + eps)


def radam(p, g, s, t, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled_weight_decay=False):
    p, g = (p * (1 - lr * weight_decay), g) if decoupled_weight_decay else (p, g + weight_decay * p)
    s["m"] = betas[0] * s.get("m", 0) + (1 - betas[0]) * g
    s["v"] = betas[1] * s.get("v", 0) + (1 - betas[1]) * g * g
    step = lr * s["m"] / (1 - betas[0] ** t)
    end = 2 / (1 - betas[1]) - 1
    now = end - 2 * t * betas[1] ** t / (1 - betas[1] ** t)
    if now > 5:
        part = (now - 4) * (now - 2) * end / ((end - 4) * (end - 2) * now)
        step = step * np.sqrt(part * (1 - betas[1] ** t)) / (np.sqrt(s["v"]) + eps)
    return p - step


def rprop(p, g, s, t, lr, etas=(0.5, 1.2), step_sizes=(1e-6, 50), maximize=False):
    g = -g if maximize else g
    turned = np.sign(g * s.get("prev", 0))
    factor = np.where(turned > 0, etas[1], np.where(turned < 0, etas[0], 1))
    s["size"] = np.clip(s.get("size", lr + 0 * p) * factor, *step_sizes)
    s["prev"] = np.where(turned < 0, 0, g)
    return p - np.sign(s["prev"]) * s["size"]


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
    (optim.Adadelta, adadelta, {"rho": (0.8, 0.9), "weight_decay": (0.0, 0.1), "maximize": (False, True)}),
    (optim.Adamax, adamax, {"betas": ((0.8, 0.9),), "weight_decay": (0.0, 0.1), "maximize": (False, True)}),
    (optim.ASGD, asgd, {"lambd": (1e-4, 0.3), "alpha": (0.5,), "weight_decay": (0.0, 0.1), "maximize": (False, True)}),
    (optim.NAdam, nadam, {"weight_decay": (0.0, 0.1), "decoupled_weight_decay": (False, True)}),
    (optim.RAdam, radam, {"betas": ((0.9, 0.999), (0.5, 0.7)), "decoupled_weight_decay": (True,)}),
    (optim.RAdam, radam, {"betas": ((0.9, 0.9),), "weight_decay": (0.0, 0.1)}),
    (optim.Rprop, rprop, {"etas": ((0.3, 1.5),), "step_sizes": ((0.02, 0.06),), "maximize": (False, True)}),
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
        for step in range(1, 9):
            for i, p in enumerate(params):
                grad = random.standard_normal(p.shape).astype(dtype)
                p.grad = torch.from_numpy(np.array(grad))
                wanted[i] = formula(wanted[i].astype("float64"), grad.astype("float64"), states[i], step, **chosen)
            optimizer.step()
        for p, value in zip(params, wanted):
            np.testing.assert_allclose(p.detach().numpy(), value, rtol=tolerance, atol=tolerance, err_msg=str(chosen))


@pytest.mark.parametrize("kind", sorted({kind for kind, _, _ in CASES}, key=lambda kind: kind.__name__))
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


FUSED = [
    ("Adam", {}), ("AdamW", {"amsgrad": True, "lr": 0.1}), ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1}), ("Adagrad", {"lr_decay": 0.1}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "options"), FUSED)
def test_fused_steps_under_a_scaler(kind, options):
    """Fused optimizers unscale, and leave out what overflowed, by themselves: all is as where a scaler does it."""
    found = []
    for fused in (False, True):
        torch.manual_seed(0)
        turned = torch.randn(3, 2).t().detach().requires_grad_()  # its gradient lies otherwise: a call of its own
        params = [torch.randn(5, requires_grad=True), turned, torch.randn((), requires_grad=True)]
        optimizer = getattr(optim, kind)(params, fused=fused, **options)
        scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
        for step in range(6):
            optimizer.zero_grad()
            some = params[: 2 + (step > 2)]  # the last one comes later
            for x in some:
                x.grad = (x.detach() * 8).contiguous() * (float("inf") if step in (1, 4) else 1.0)
            scaler.scale(params[0].detach())
            if step == 3:
                scaler.unscale_(optimizer)
            scaler.step(optimizer)
            scaler.update()
        assert not hasattr(optimizer, "found_inf") and not hasattr(optimizer, "grad_scale")
        state = [v for p in params for v in optimizer.state[p].values() if isinstance(v, torch.Tensor)]
        state += [torch.tensor(scaler.get_scale()), *params, *[x.grad for x in params]]
        found.append([x.detach().numpy() for x in state])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-6, atol=1e-7)


def test_what_is_not_fused_knows_no_scale():
    p = torch.ones(2, requires_grad=True)
    p.grad = torch.ones(2)
    optimizer = optim.SGD([p], lr=0.5)
    optimizer.grad_scale = torch.tensor(2.0)
    with pytest.raises(AssertionError, match="Expected grad_scale and found_inf to be None"):
        optimizer.step()
    optimizer = optim.SGD([p], lr=0.5, fused=True)
    optimizer.grad_scale = torch.tensor(2.0)
    optimizer.step()
    assert p.tolist() == [0.75, 0.75] and p.grad.tolist() == [0.5, 0.5]


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
    count = optimizer.state[w]["step"]
    count.data = torch.tensor(8.0)  # the same tensor in other memory
    optimizer.step()
    assert count.item() == 9
    for dtype in (torch.float64, torch.float16, torch.int64):
        optimizer.state[w]["step"] = torch.tensor(2, dtype=dtype)
        optimizer.step()
        assert optimizer.state[w]["step"].item() == 3


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


def test_averages_begin_at_t0():
    w = torch.nn.Parameter(torch.zeros(2))
    optimizer = optim.ASGD([w], lr=1.0, lambd=0.0, t0=2)
    path = []
    for _ in range(5):
        w.grad = torch.ones(2)
        optimizer.step()
        path.append(w[0].item())
    np.testing.assert_allclose(optimizer.state[w]["ax"].tolist(), [np.mean(path[3:])] * 2, rtol=1e-6)


def test_adafactor_keeps_rows_and_columns():
    w = torch.nn.Parameter(torch.full((3, 4), 2.0))
    v = torch.nn.Parameter(torch.full((3,), 2.0))
    optimizer = optim.Adafactor([w, v], lr=0.1)
    grads = [np.arange(1.0, 13).reshape(3, 4), np.arange(1.0, 4)]
    w.grad, v.grad = (torch.tensor(g, dtype=torch.float32) for g in grads)
    optimizer.step()
    assert {k: tuple(x.shape) for k, x in optimizer.state[w].items()} == {
        "step": (),
        "row_var": (3, 1),
        "col_var": (1, 4),
    }
    rows, columns = (np.mean(grads[0] ** 2, axis=axis, keepdims=True) for axis in (1, 0))
    for p, g, variance in zip((w, v), grads, (rows * columns / rows.mean(), grads[1] ** 2)):
        update = g / np.sqrt(variance)
        update /= max(1, np.sqrt(np.mean(update**2)))
        np.testing.assert_allclose(p.tolist(), 2.0 - 2.0 * 0.1 * update, rtol=1e-5)


def test_muon_moves_along_an_orthogonal_matrix():
    start = torch.randn(6, 3)
    w = torch.nn.Parameter(start.clone())
    optimizer = optim.Muon([w], lr=1.0, weight_decay=0.0, adjust_lr_fn="original")
    w.grad = torch.randn(6, 3)
    optimizer.step()
    moved = (start - w.detach()).numpy() / np.sqrt(2)
    assert ((0.5 < (sizes := np.linalg.svd(moved)[1])) & (sizes < 1.5)).all()
    with pytest.raises(ValueError, match="only supports 2D parameters"):
        optim.Muon([torch.nn.Parameter(torch.ones(2))])


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_lbfgs_solves_a_quadratic(search):
    random = np.random.default_rng(0)
    root = random.standard_normal((5, 5))
    matrix, right = torch.tensor(root @ root.T + np.eye(5)), torch.tensor(random.standard_normal(5))
    w = torch.nn.Parameter(torch.zeros(5, dtype=torch.float64))
    optimizer = optim.LBFGS([w], lr=0.1 if search is None else 1, max_iter=200, max_eval=400, line_search_fn=search)

    def closure():
        optimizer.zero_grad()
        loss = 0.5 * w @ matrix @ w - right @ w
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 0.0
    np.testing.assert_allclose((matrix @ w.detach()).numpy(), right.numpy(), atol=1e-4)
    state = optimizer.state_dict()["state"][0]
    assert state["n_iter"] <= state["func_evals"]
    with pytest.raises(ValueError, match="per-parameter options"):
        optim.LBFGS([{"params": [w]}, {"params": [torch.nn.Parameter(torch.ones(1))]}])
    w.data.add_(1)
    with pytest.raises(RuntimeError, match="only 'strong_wolfe' is supported"):
        optim.LBFGS([w], line_search_fn="armijo", tolerance_grad=0).step(closure)


def test_sparse_adam_wants_sparse_gradients():
    w = torch.nn.Parameter(torch.ones(2))
    optimizer = optim.SparseAdam([w])
    optimizer.step()
    w.grad = torch.ones(2)
    with pytest.raises(RuntimeError, match="does not support dense gradients"):
        optimizer.step()


def test_averaged_model_and_batch_norm():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    average = optim.swa_utils.AveragedModel(model)
    seen = []
    for value in (1.0, 2.0, 6.0):
        torch.nn.init.constant_(model[0].weight, value)
        seen.append(value)
        average.update_parameters(model)
        assert average.module[0].weight[0, 0].item() == pytest.approx(np.mean(seen))
    data = torch.randn(20, 2)
    average.eval()
    optim.swa_utils.update_bn([data[:10], [data[10:], None]], average)
    hidden = average.module[0](data).detach().numpy()
    norm = average.module[1]
    means = [hidden[:10].mean(0), hidden[10:].mean(0)]
    np.testing.assert_allclose(norm.running_mean.tolist(), np.mean(means, 0), rtol=1e-5, atol=1e-6)
    assert norm.momentum == 0.1 and not average.training and average.n_averaged == 3


def test_other_parameters_for_a_while():
    w, other = torch.nn.Parameter(torch.zeros(2)), torch.zeros(2)
    optimizer = optim.SGD([w], lr=1.0, momentum=0.5)
    w.grad, other.grad = torch.ones(2), torch.full((2,), 3.0)
    optimizer.step()
    state = copy.deepcopy(optimizer.state_dict())
    with optim.swap_in_optimizer_params_and_state(optimizer, {"w": other}, state):
        optimizer.step()
    assert other.tolist() == [-3.5, -3.5] and w.tolist() == [-1.0, -1.0]
    assert state["state"][0]["momentum_buffer"].tolist() == [3.5, 3.5]
    assert optimizer.param_groups[0]["params"][0] is w and optimizer.state[w]["momentum_buffer"].tolist() == [1.0, 1.0]
    with pytest.raises(RuntimeError, match="exactly match the live optimizer group keys"):
        state["param_groups"][0].pop("lr")
        with optim.swap_in_optimizer_params_and_state(optimizer, {"w": other}, state):
            pass


def test_modules_of_pytorch():
    from facula.optim.adamw import AdamW

    from facula.optim.adam import Adam

    assert Adam is optim.Adam and AdamW is optim.AdamW
