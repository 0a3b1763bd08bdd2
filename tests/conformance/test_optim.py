"""`facula.optim` against PyTorch: every option for several steps, state dicts in both directions, schedules, errors."""

import copy
import inspect
import itertools
import math
import pickle
import re
import warnings

import numpy as np
import pytest
import torch

import facula
from facula import optim
from facula.optim import lr_scheduler, swa_utils

from .records import optim_db

warnings.filterwarnings("ignore")

NAMES = ("SGD", "Adam", "AdamW", "Adagrad", "RMSprop")


def ours(value):
    """PyTorch's tensors as facula's, in any nesting."""
    if isinstance(value, torch.Tensor):
        new = facula.from_numpy(value.detach().numpy().copy())
        new.requires_grad = value.requires_grad
        return new
    if isinstance(value, (tuple, list)):
        return type(value)(ours(item) for item in value)
    if isinstance(value, dict):
        return {key: ours(item) for key, item in value.items()}
    return value


def theirs(value):
    """Facula's tensors as PyTorch's, in any nesting."""
    if hasattr(value, "requires_grad"):
        return torch.from_numpy(value.detach().numpy().copy())
    if isinstance(value, (tuple, list)):
        return type(value)(theirs(item) for item in value)
    if isinstance(value, dict):
        return {key: theirs(item) for key, item in value.items()}
    return value


def make(framework, dtype="float32"):
    """Parameters of several shapes, one of which gets no gradient."""
    generator = torch.Generator().manual_seed(5)
    kind = getattr(torch, dtype)
    tensors = [torch.randn(3, 4, generator=generator, dtype=kind), torch.randn((), generator=generator, dtype=kind)]
    tensors += [torch.randn(5, generator=generator, dtype=kind), torch.randn(2, generator=generator, dtype=kind)]
    return [framework.nn.Parameter(ours(t) if framework is facula else t.clone()) for t in tensors]


def gradients(params, step, dtype="float32"):
    """The same gradients for both frameworks; the last parameter has none."""
    generator = torch.Generator().manual_seed(step)
    result = [torch.randn(tuple(p.shape), generator=generator, dtype=getattr(torch, dtype)) for p in params[:-1]]
    return [*result, None]


def train(framework, name, options, steps=4, dtype="float32", **more):
    params = make(framework, dtype)
    optimizer = getattr(framework.optim, name)(params, **options)
    for step in range(steps):
        for param, grad in zip(params, gradients(params, step, dtype)):
            if grad is not None:
                param.grad = ours(grad) if framework is facula else grad
        optimizer.step()
    return params, optimizer


OPTIONS = {
    "SGD": {
        "lr": [0.1],
        "weight_decay": [0, 0.1],
        "maximize": [False, True],
        "momentum, dampening, nesterov": [(0, 0, False), (0.9, 0, False), (0.9, 0.3, False), (0.9, 0, True)],
    },
    "Adam": {
        "lr": [0.1],
        "weight_decay": [0, 0.1],
        "maximize": [False, True],
        "amsgrad": [False, True],
        "betas, eps": [((0.9, 0.999), 1e-8), ((0.3, 0.5), 1e-3)],
    },
    "Adagrad": {
        "lr": [0.1],
        "weight_decay": [0, 0.1],
        "maximize": [False, True],
        "lr_decay": [0, 0.2],
        "initial_accumulator_value": [0, 0.5],
    },
    "RMSprop": {
        "lr": [0.1],
        "weight_decay": [0, 0.1],
        "maximize": [False, True],
        "momentum": [0, 0.9],
        "centered": [False, True],
        "alpha": [0.9],
    },
}
OPTIONS["AdamW"] = OPTIONS["Adam"]


def combinations(name):
    table = OPTIONS[name]
    for values in itertools.product(*table.values()):
        options = {}
        for keys, value in zip(table, values):
            parts = keys.split(", ")
            options.update(zip(parts, value) if len(parts) > 1 else [(keys, value)])
        yield options


def compare_states(mine, oracle, **tolerance):
    a, b = theirs(mine.state_dict()), oracle.state_dict()
    assert a["param_groups"] == b["param_groups"]
    assert sorted(a["state"]) == sorted(b["state"])
    for key, state in b["state"].items():
        assert sorted(a["state"][key]) == sorted(state)
        for name, value in state.items():
            torch.testing.assert_close(a["state"][key][name], value.detach(), **tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_options(name, dtype):
    for options in combinations(name):
        mine, my_optimizer = train(facula, name, options, dtype=dtype)
        oracle, optimizer = train(torch, name, {**options, "foreach": False}, dtype=dtype)
        for group in (*my_optimizer.param_groups, *optimizer.param_groups):
            group["foreach"] = None
        for a, b in zip(mine, oracle):
            torch.testing.assert_close(theirs(a), b.detach(), msg=lambda text, options=options: f"{options}: {text}")
        compare_states(my_optimizer, optimizer)
        assert repr(my_optimizer) == repr(optimizer)


@pytest.mark.parametrize("name", NAMES)
def test_complex(name):
    mine, _ = train(facula, name, {"lr": 0.1}, dtype="complex64")
    oracle, _ = train(torch, name, {"lr": 0.1, "foreach": False}, dtype="complex64")
    for a, b in zip(mine, oracle):
        torch.testing.assert_close(theirs(a), b.detach())


@pytest.mark.parametrize("name", NAMES)
def test_flags_are_accepted(name):
    plain, _ = train(facula, name, {"lr": 0.1})
    for flag in ("foreach", "fused"):
        if flag in inspect.signature(getattr(optim, name)).parameters:
            flagged, _ = train(facula, name, {"lr": 0.1, flag: True})
            for a, b in zip(flagged, plain):
                torch.testing.assert_close(theirs(a), theirs(b), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "options"),
    [("Adam", {}), ("AdamW", {"amsgrad": True, "lr": 0.1}), ("SGD", {"momentum": 0.9, "dampening": 0.5, "lr": 0.1}),
     ("SGD", {"lr": 0.1, "maximize": True}), ("Adagrad", {"lr_decay": 0.1, "initial_accumulator_value": 1.0})],
)  # fmt: skip
def test_fused_steps_under_a_scaler(name, options):
    """Steps that overflow change neither parameters, nor gradients, nor counts."""
    made = []
    for f in (facula, torch):
        params = [f.tensor([1.0, -2.0, 3.0]).requires_grad_(), f.tensor([[4.0], [5.0]]).requires_grad_()]
        optimizer = getattr(f.optim, name)(params, fused=True, **options)
        scaler = f.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
        found = []
        for step in range(5):
            optimizer.zero_grad()
            loss = sum((x.sin() * (math.inf if step == 2 else 1.0)).sum() for x in params)
            scaler.scale(loss).backward()
            if step == 3:
                scaler.unscale_(optimizer)
            scaler.step(optimizer)
            scaler.update()
            state = [v for x in params for v in optimizer.state[x].values() if isinstance(v, f.Tensor)]
            found += [scaler.get_scale(), *[x.tolist() for x in (*params, *[x.grad for x in params], *state)]]
        made.append(np.hstack([np.ravel(x) for x in found]))
    np.testing.assert_allclose(*made, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_tensor_lr(name):
    mine, my_optimizer = train(facula, name, {"lr": facula.tensor(0.1)})
    oracle, _ = train(torch, name, {"lr": torch.tensor(0.1), "foreach": False})
    for a, b in zip(mine, oracle):
        torch.testing.assert_close(theirs(a), b.detach())


def test_tensor_betas():
    mine, _ = train(facula, "Adam", {"betas": (facula.tensor(0.8), facula.tensor([0.9]))})
    oracle, _ = train(torch, "Adam", {"betas": (0.8, 0.9), "foreach": False})
    for a, b in zip(mine, oracle):
        torch.testing.assert_close(theirs(a), b.detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_differentiable(name):
    """The gradient of a loss after two steps, with respect to the parameter before them."""
    results = []
    for framework in (facula, torch):
        start = framework.tensor([1.0, -2.0, 0.5], dtype=framework.float64)
        start.requires_grad = True
        param = start.clone()
        options = {"lr": 0.1, "momentum": 0.9} if name == "SGD" else {"lr": 0.1}
        optimizer = getattr(framework.optim, name)([param], differentiable=True, **options)
        for _ in range(2):
            param.grad = (
                (param.detach() if name == "SGD" else param) * 2.0 + 1.0
                if name == "SGD"
                else (param.detach() * 2.0 + 1.0)
            )
            optimizer.step()
        (param * param).sum().backward()
        results.append(start.grad)
    torch.testing.assert_close(theirs(results[0]), results[1])


@pytest.mark.parametrize("name", NAMES)
def test_state_dict_between_frameworks(name):
    options = {"lr": 0.1, "momentum": 0.9} if name in ("SGD", "RMSprop") else {"lr": 0.1}
    mine, my_optimizer = train(facula, name, options)
    oracle, optimizer = train(torch, name, options)
    for a, b in zip(mine, oracle):
        b.data.copy_(theirs(a))
    fresh = getattr(optim, name)(mine)
    fresh.load_state_dict(ours(optimizer.state_dict()))
    their_fresh = getattr(torch.optim, name)(oracle)
    their_fresh.load_state_dict(theirs(my_optimizer.state_dict()))
    compare_states(fresh, their_fresh, rtol=1e-5, atol=1e-5)
    for step in range(7, 9):
        for params, convert, optimizer in ((mine, ours, fresh), (oracle, lambda g: g, their_fresh)):
            for param, grad in zip(params, gradients(params, step)):
                if grad is not None:
                    param.grad = convert(grad)
            optimizer.step()
    for a, b in zip(mine, oracle):
        torch.testing.assert_close(theirs(a), b.detach(), rtol=1e-5, atol=1e-5)


def test_groups():
    results = []
    for framework in (facula, torch):
        params = make(framework)
        optimizer = framework.optim.SGD(
            [{"params": params[:1], "lr": 0.5}, {"params": params[1:2]}], lr=0.1, momentum=0.9
        )
        optimizer.add_param_group({"params": params[2], "weight_decay": 0.3})
        for param, grad in zip(params[:3], gradients(params, 1)):
            param.grad = ours(grad) if framework is facula else grad
        optimizer.step()
        optimizer.zero_grad()
        assert all(param.grad is None for param in params)
        results.append((params, repr(optimizer), theirs(optimizer.state_dict()["param_groups"])))
    (mine, text, groups), (oracle, their_text, their_groups) = results
    for a, b in zip(mine, oracle):
        torch.testing.assert_close(theirs(a), b.detach())
    assert text == their_text and groups == their_groups


def test_named_parameters():
    model = facula.nn.Linear(2, 2)
    optimizer = optim.SGD(model.named_parameters())
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]


def test_copies():
    params, optimizer = train(facula, "Adam", {})
    twin = copy.deepcopy(optimizer)
    loaded = pickle.loads(pickle.dumps(optimizer))
    for other in (twin, loaded):
        assert repr(other) == repr(optimizer)
        param = other.param_groups[0]["params"][0]
        param.grad = facula.ones(3, 4)
        before = theirs(param)
        other.step()
        assert not torch.equal(theirs(param), before)
        assert float(other.state[param]["step"]) == 5


def test_hooks_and_closure():
    results = []
    for framework in (facula, torch):
        params = make(framework)
        optimizer = framework.optim.SGD(params, lr=0.1)
        seen = []
        handles = [
            optimizer.register_step_pre_hook(
                lambda o, args, kwargs, seen=seen: seen.append(("pre", len(args), sorted(kwargs)))
            ),
            optimizer.register_step_post_hook(
                lambda o, args, kwargs, seen=seen: seen.append(("post", len(args), sorted(kwargs)))
            ),
            optimizer.register_state_dict_pre_hook(lambda o, seen=seen: seen.append("state pre")),
            optimizer.register_state_dict_post_hook(lambda o, d, seen=seen: seen.append(("state post", sorted(d)))),
            optimizer.register_load_state_dict_pre_hook(lambda o, d, seen=seen: seen.append(("load pre", sorted(d)))),
            optimizer.register_load_state_dict_post_hook(lambda o, seen=seen: seen.append("load post")),
        ]

        def closure(params=params, optimizer=optimizer):
            optimizer.zero_grad()
            loss = (params[0] * params[0]).sum()
            loss.backward()
            return loss

        with framework.no_grad():
            loss = optimizer.step(closure)
        optimizer.step(closure=closure)
        optimizer.load_state_dict(optimizer.state_dict())
        for handle in handles:
            handle.remove()
        optimizer.step()
        results.append((seen, float(loss)))
    assert results[0][0] == results[1][0]
    assert math.isclose(results[0][1], results[1][1], rel_tol=1e-6)


def test_user_optimizer():
    """A subclass of Optimizer with a step of its own, as programs define them."""

    class Sign(optim.Optimizer):
        def __init__(self, params, lr=0.1):
            super().__init__(params, {"lr": lr})

        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    p.data.add_(p.grad.sign(), alpha=-group["lr"])

    w = facula.nn.Parameter(facula.ones(2))
    optimizer = Sign([w])
    scheduler = lr_scheduler.StepLR(optimizer, 1)
    (w * 3).sum().backward()
    optimizer.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scheduler.step()
    torch.testing.assert_close(theirs(w), torch.full((2,), 0.9))


def error_of(action, *args, **kwargs):
    with pytest.raises(Exception) as caught:
        action(*args, **kwargs)
    return caught.value


def same_error(action):
    mine, oracle = error_of(action, facula), error_of(action, torch)
    assert type(mine) is type(oracle), (mine, oracle)
    words = [re.sub(r"torch|facula", "", str(e)) for e in (mine, oracle)]
    assert words[0].startswith(words[1].split("\n")[0]), f"\n{words[0]}\n--\n{words[1]}"


ERRORS = [
    lambda f: f.optim.SGD(f.zeros(1)),
    lambda f: f.optim.SGD([]),
    lambda f: f.optim.SGD([3]),
    lambda f: f.optim.SGD(["x"]),
    lambda f: f.optim.SGD([leaf(f) * 2]),
    lambda f: f.optim.SGD([{"params": {leaf(f)}}]),
    lambda f: f.optim.SGD([leaf(f)], lr=-1),
    lambda f: f.optim.SGD([leaf(f)], momentum=-1),
    lambda f: f.optim.SGD([leaf(f)], weight_decay=-1),
    lambda f: f.optim.SGD([leaf(f)], nesterov=True),
    lambda f: f.optim.SGD([leaf(f)], lr=f.zeros(2)),
    lambda f: f.optim.SGD([leaf(f)], fused=True, foreach=True),
    lambda f: f.optim.SGD([leaf(f)], fused=True, differentiable=True),
    lambda f: f.optim.Adam([leaf(f)], lr=-1),
    lambda f: f.optim.Adam([leaf(f)], eps=-1),
    lambda f: f.optim.Adam([leaf(f)], betas=(1.0, 0.5)),
    lambda f: f.optim.Adam([leaf(f)], betas=(0.5, -1.0)),
    lambda f: f.optim.Adam([leaf(f)], betas=(0.5, f.tensor(0.5))),
    lambda f: f.optim.Adam([leaf(f)], betas=(f.tensor([0.5, 0.5]), f.tensor(0.5))),
    lambda f: f.optim.Adam([leaf(f)], betas=(f.tensor(0.5), f.tensor(0.5)), foreach=True),
    lambda f: f.optim.Adam([leaf(f)], lr=f.tensor(0.1), foreach=True),
    lambda f: f.optim.Adam([leaf(f)], weight_decay=-1),
    lambda f: stepped(f, f.optim.Adam([leaf(f)], capturable=True)),
    lambda f: f.optim.Adagrad([leaf(f)], lr=-1),
    lambda f: f.optim.Adagrad([leaf(f)], lr_decay=-1),
    lambda f: f.optim.Adagrad([leaf(f)], initial_accumulator_value=-1),
    lambda f: f.optim.RMSprop([leaf(f)], alpha=-1),
    lambda f: f.optim.RMSprop([leaf(f)], momentum=-1),
    lambda f: f.optim.SGD([leaf(f)]).add_param_group([leaf(f)]),
    lambda f: (lambda w: f.optim.SGD([w]).add_param_group({"params": w}))(leaf(f)),
    lambda f: f.optim.SGD([("a", leaf(f)), leaf(f)]),
    lambda f: f.optim.SGD([("a", leaf(f))]).add_param_group({"params": leaf(f)}),
    lambda f: f.optim.SGD([leaf(f)]).load_state_dict({"state": {}, "param_groups": []}),
    lambda f: f.optim.SGD([leaf(f)]).load_state_dict({"state": {}, "param_groups": [{"params": [0, 1]}]}),
    lambda f: f.optim.Optimizer([leaf(f)], {}).step(),
    lambda f: f.optim.lr_scheduler.StepLR(3, 1),
    lambda f: f.optim.lr_scheduler.StepLR(sgd(f), 1, last_epoch=3),
    lambda f: f.optim.lr_scheduler.LambdaLR(sgd(f), [1, 2]),
    lambda f: f.optim.lr_scheduler.MultiplicativeLR(sgd(f), [1]),
    lambda f: f.optim.lr_scheduler.ConstantLR(sgd(f), 2),
    lambda f: f.optim.lr_scheduler.LinearLR(sgd(f), 2),
    lambda f: f.optim.lr_scheduler.LinearLR(sgd(f), 0.5, 2),
    lambda f: f.optim.lr_scheduler.ReduceLROnPlateau(sgd(f), factor=1.0),
    lambda f: f.optim.lr_scheduler.ReduceLROnPlateau(sgd(f), mode="x"),
    lambda f: f.optim.lr_scheduler.ReduceLROnPlateau(sgd(f), threshold_mode="x"),
    lambda f: f.optim.lr_scheduler.ReduceLROnPlateau(sgd(f), min_lr=[1, 2]),
    lambda f: f.optim.lr_scheduler.OneCycleLR(sgd(f), 0.1),
    lambda f: f.optim.lr_scheduler.OneCycleLR(sgd(f), 0.1, total_steps=0),
    lambda f: f.optim.lr_scheduler.OneCycleLR(sgd(f), 0.1, epochs=0, steps_per_epoch=1),
    lambda f: f.optim.lr_scheduler.OneCycleLR(sgd(f), 0.1, 10, pct_start=2),
    lambda f: f.optim.lr_scheduler.OneCycleLR(sgd(f), 0.1, 10, anneal_strategy="x"),
    lambda f: f.optim.lr_scheduler.OneCycleLR(sgd(f), [0.1, 0.2], 10),
    lambda f: [f.optim.lr_scheduler.OneCycleLR(f.optim.Adagrad([leaf(f)]), 0.1, 10)],
    lambda f: [s.step() for s in [f.optim.lr_scheduler.OneCycleLR(sgd(f), 0.1, 2)] for _ in range(5)],
    lambda f: f.optim.lr_scheduler.CyclicLR(sgd(f), 0.1, 0.2, mode="x"),
    lambda f: f.optim.lr_scheduler.CosineAnnealingWarmRestarts(sgd(f), 0),
    lambda f: f.optim.lr_scheduler.CosineAnnealingWarmRestarts(sgd(f), 1, 0),
    lambda f: f.optim.lr_scheduler.CosineAnnealingWarmRestarts(sgd(f), 1, 1, "x"),
    lambda f: f.optim.lr_scheduler.SequentialLR(sgd(f), [], []),
    lambda f: f.optim.lr_scheduler.ChainedScheduler([]),
    lambda f: f.optim.lr_scheduler.SequentialLR(sgd(f), [3], []),
    lambda f: f.optim.lr_scheduler.ChainedScheduler([f.optim.lr_scheduler.ReduceLROnPlateau(sgd(f))]),
    lambda f: (lambda o: f.optim.lr_scheduler.SequentialLR(o, [f.optim.lr_scheduler.StepLR(o, 1)], [1]))(sgd(f)),
]


def leaf(framework):
    return framework.nn.Parameter(framework.zeros(2))


def sgd(framework):
    return framework.optim.SGD([leaf(framework)], lr=0.5, momentum=0.5)


def stepped(framework, optimizer):
    param = optimizer.param_groups[0]["params"][0]
    param.grad = framework.ones(2)
    optimizer.step()


@pytest.mark.parametrize("number", range(len(ERRORS)))
def test_errors(number):
    same_error(ERRORS[number])


@pytest.mark.parametrize("which", optim_db.CHECKS)
@pytest.mark.parametrize("name", optim_db.ENTRIES)
def test_optim_db(name, which):
    """PyTorch's own samples; see `records/optim_db.py`."""
    found = optim_db.check(name, which)
    assert not found["failed"]
    if which in ("texts", "errors"):
        assert found["tried"] > 3


# ---------------------------------------------------------------------------------------------------------------------
# Schedules: the same rates to the last bit

SCHEDULES = {
    "StepLR": [{"step_size": 3}, {"step_size": 1, "gamma": 0.7}],
    "MultiStepLR": [{"milestones": [2, 5, 5, 9]}],
    "ConstantLR": [{}, {"factor": 0.3, "total_iters": 4}],
    "LinearLR": [{}, {"start_factor": 0.1, "end_factor": 0.9, "total_iters": 7}],
    "ExponentialLR": [{"gamma": 0.9}],
    "PolynomialLR": [{}, {"total_iters": 8, "power": 2.5}],
    "CosineAnnealingLR": [{"T_max": 4}, {"T_max": 50, "eta_min": 0.01}],
    "CosineAnnealingWarmRestarts": [{"T_0": 3}, {"T_0": 2, "T_mult": 2, "eta_min": 0.01}],
    "LambdaLR": [{"lr_lambda": lambda epoch: 0.95**epoch}],
    "MultiplicativeLR": [{"lr_lambda": lambda epoch: 0.95}],
    "OneCycleLR": [
        {"max_lr": 0.7, "total_steps": 25},
        {
            "max_lr": [0.7, 0.9],
            "epochs": 5,
            "steps_per_epoch": 5,
            "anneal_strategy": "linear",
            "three_phase": True,
            "pct_start": 0.2,
        },
        {"max_lr": 0.7, "total_steps": 25, "cycle_momentum": False},
    ],
    "CyclicLR": [
        {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 4},
        {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 4, "step_size_down": 2, "mode": "triangular2"},
        {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 4, "mode": "exp_range", "gamma": 0.9},
        {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 3, "scale_fn": lambda x: 1 / x, "cycle_momentum": False},
    ],
}
CASES = [(name, i) for name, cases in SCHEDULES.items() for i in range(len(cases))]


def optimizer_of(framework, adam=False, lr=0.5):
    groups = [{"params": [leaf(framework)]}, {"params": [leaf(framework)], "lr": 0.3}]
    return framework.optim.Adam(groups, lr=lr) if adam else framework.optim.SGD(groups, lr=lr, momentum=0.9)


def rates(framework, build, steps=24, adam=False, resume=None):
    optimizer = optimizer_of(framework, adam)
    scheduler = build(framework, optimizer)
    if resume is not None:
        scheduler.load_state_dict(resume)
    seen = []
    for _ in range(steps):
        extra = [group.get("momentum", group.get("betas")) for group in optimizer.param_groups]
        seen.append((scheduler.get_last_lr(), [group["lr"] for group in optimizer.param_groups], extra))
        optimizer.step()
        scheduler.step()
    return seen, scheduler, optimizer


@pytest.mark.parametrize("adam", [False, True], ids=["SGD", "Adam"])
@pytest.mark.parametrize("name, i", CASES)
def test_schedules(name, i, adam):
    def build(framework, optimizer):
        return getattr(framework.optim.lr_scheduler, name)(optimizer, **SCHEDULES[name][i])

    mine, scheduler, optimizer = rates(facula, build, adam=adam)
    oracle, their_scheduler, their_optimizer = rates(torch, build, adam=adam)
    assert mine == oracle
    assert sorted(scheduler.state_dict()) == sorted(their_scheduler.state_dict())
    resumed = build(facula, optimizer_of(facula, adam))
    resumed.load_state_dict(copy.deepcopy(scheduler.state_dict()))
    assert resumed.last_epoch == scheduler.last_epoch and resumed.get_last_lr() == scheduler.get_last_lr()
    if hasattr(their_scheduler, "_get_closed_form_lr") or name == "CosineAnnealingWarmRestarts":
        for epoch in (7, 2):
            scheduler.step(epoch)
            their_scheduler.step(epoch)
            assert scheduler.get_last_lr() == their_scheduler.get_last_lr()


@pytest.mark.parametrize("name, i", CASES)
def test_schedules_resume(name, i):
    """With last_epoch, as programs resume."""
    results = []
    for framework in (facula, torch):
        optimizer = optimizer_of(framework)
        make = getattr(framework.optim.lr_scheduler, name)
        first = make(optimizer, **SCHEDULES[name][i])
        for _ in range(6):
            optimizer.step()
            first.step()
        later = make(optimizer, **SCHEDULES[name][i], last_epoch=5)
        seen = [later.get_last_lr()]
        for _ in range(5):
            optimizer.step()
            later.step()
            seen.append(later.get_last_lr())
        results.append(seen)
    assert results[0] == results[1]


def test_schedules_with_tensor_lr():
    for name, i in CASES:
        if name in ("OneCycleLR", "CyclicLR"):
            continue
        results = []
        for framework in (facula, torch):
            optimizer = framework.optim.SGD([leaf(framework)], lr=framework.tensor(0.5))
            held = optimizer.param_groups[0]["lr"]
            scheduler = getattr(framework.optim.lr_scheduler, name)(optimizer, **SCHEDULES[name][i])
            seen = []
            for _ in range(8):
                optimizer.step()
                scheduler.step()
                seen.append(float(optimizer.param_groups[0]["lr"]))
            assert optimizer.param_groups[0]["lr"] is held
            results.append(seen)
        assert results[0] == pytest.approx(results[1], rel=1e-6), name


def test_sequential_and_chained():
    def sequential(framework, optimizer):
        s = framework.optim.lr_scheduler
        parts = [s.ConstantLR(optimizer, 0.1, 3), s.ExponentialLR(optimizer, 0.9), s.CosineAnnealingLR(optimizer, 5)]
        return s.SequentialLR(optimizer, parts, [3, 9])

    def chained(framework, optimizer):
        s = framework.optim.lr_scheduler
        return s.ChainedScheduler([s.ConstantLR(optimizer, 0.1, 3), s.ExponentialLR(optimizer, 0.9)], optimizer)

    for build in (sequential, chained):
        mine, scheduler, _ = rates(facula, build)
        oracle, their_scheduler, _ = rates(torch, build)
        assert mine == oracle
        resumed = build(facula, optimizer_of(facula))
        resumed.load_state_dict(scheduler.state_dict())
        assert resumed.get_last_lr() == scheduler.get_last_lr()


@pytest.mark.parametrize("options", [
    {"patience": 1},
    {"mode": "max", "patience": 0, "cooldown": 2, "threshold_mode": "abs", "threshold": 0.1},
    {"factor": 0.5, "patience": 0, "min_lr": [0.2, 0.05], "threshold": 0.0},
])  # fmt: skip
def test_plateau(options):
    metrics = [3.0, 2.0, 2.0, 2.1, 1.99, 1.99, 2.5, 1.0, 1.0, 1.0, 1.0, 0.95, 3.0, 4.0, 4.0]
    results = []
    for framework in (facula, torch):
        scheduler = framework.optim.lr_scheduler.ReduceLROnPlateau(optimizer_of(framework), **options)
        seen = []
        for metric in metrics:
            scheduler.step(framework.tensor(metric))
            seen.append((scheduler.get_last_lr(), scheduler.num_bad_epochs, scheduler.best, scheduler.in_cooldown))
        results.append((seen, sorted(scheduler.state_dict())))
    assert results[0] == results[1]


def test_schedule_warnings():
    def messages(framework):
        optimizer = sgd(framework)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            scheduler = framework.optim.lr_scheduler.StepLR(optimizer, 1)
            scheduler.step()
            scheduler.step(3)
            scheduler.get_lr()
            other = sgd(framework)
            late = framework.optim.lr_scheduler.StepLR(other, 1)
            other.step = lambda: None
            late.step()
        return [
            (str(w.message), w.category)
            for w in caught
            if "facula" in w.filename or "torch" in w.filename or "test_optim" in w.filename
        ]

    assert messages(facula) == messages(torch)


@pytest.mark.parametrize("name", [*torch.optim.swa_utils.__all__, *torch.optim.lr_scheduler.__all__])
def test_signatures(name):
    where = [getattr(f.optim, "swa_utils" if hasattr(swa_utils, name) else "lr_scheduler") for f in (facula, torch)]
    a, b = (inspect.signature(getattr(module, name)) for module in where)
    assert [(p.name, p.default, p.kind) for p in a.parameters.values()] == [
        (p.name, p.default, p.kind) for p in b.parameters.values()
    ]


# ---------------------------------------------------------------------------------------------------------------------
# Averages


def averaged(framework, **options):
    """An averaged model after three updates of a model with batch norm, and its statistics computed anew."""
    framework.manual_seed(3)
    model = framework.nn.Sequential(framework.nn.Linear(3, 4), framework.nn.BatchNorm1d(4), framework.nn.ReLU())
    average = framework.optim.swa_utils.AveragedModel(model, **options)
    for step in range(3):
        with framework.no_grad():
            for p in model.parameters():
                p += framework.randn(tuple(p.shape)) * (step + 1)
        model(framework.randn(5, 3))
        average.update_parameters(model)
    before = copy.deepcopy(average.state_dict())
    batches = [framework.randn(4, 3) if i else (framework.randn(4, 3), None) for i in range(3)]
    framework.optim.swa_utils.update_bn(batches, average)
    return before, average.state_dict(), average(framework.randn(6, 3)), repr(average)


@pytest.mark.parametrize("use_buffers", [False, True])
@pytest.mark.parametrize(
    "kind", [None, "get_ema_avg_fn", "get_swa_avg_fn", "get_ema_multi_avg_fn", "get_swa_multi_avg_fn"]
)
def test_averages(kind, use_buffers):
    if kind == "get_swa_multi_avg_fn" and use_buffers:
        pytest.skip("PyTorch refuses to average the count of batches")
    results = []
    for framework in (facula, torch):
        options = {"use_buffers": use_buffers}
        if kind is not None:
            made = getattr(framework.optim.swa_utils, kind)(*([0.8] if "ema" in kind else []))
            options["multi_avg_fn" if "multi" in kind else "avg_fn"] = made
        results.append(averaged(framework, **options))
    (*mine, text), (*oracle, their_text) = results
    assert text == their_text
    optim_db.close(mine, oracle, str(kind))


@pytest.mark.parametrize("options", [{}, {"anneal_epochs": 4, "anneal_strategy": "linear"}, {"anneal_epochs": 0},
                                     {"swa_lr": [0.2, 0.02]}])  # fmt: skip
def test_swalr(options):
    def build(framework, optimizer):
        return framework.optim.swa_utils.SWALR(optimizer, **{"swa_lr": 0.05, **options})

    mine, scheduler, _ = rates(facula, build, steps=14)
    oracle, their_scheduler, _ = rates(torch, build, steps=14)
    assert mine == oracle
    assert sorted(scheduler.state_dict()) == sorted(their_scheduler.state_dict())
    resumed = build(facula, optimizer_of(facula))
    resumed.load_state_dict(copy.deepcopy(scheduler.state_dict()))
    assert resumed.get_last_lr() == scheduler.get_last_lr()


AVERAGE_ERRORS = [
    lambda f: f.optim.swa_utils.SWALR(sgd(f), 0.1, anneal_strategy="steps"),
    lambda f: f.optim.swa_utils.SWALR(sgd(f), 0.1, anneal_epochs=-1),
    lambda f: f.optim.swa_utils.SWALR(sgd(f), [0.1, 0.2]),
    lambda f: f.optim.swa_utils.get_ema_avg_fn(1.5),
    lambda f: f.optim.swa_utils.get_ema_multi_avg_fn(-0.5),
    lambda f: f.optim.swa_utils.AveragedModel(f.nn.Linear(1, 1), avg_fn=max, multi_avg_fn=max),
]


@pytest.mark.parametrize("number", range(len(AVERAGE_ERRORS)))
def test_average_errors(number):
    same_error(AVERAGE_ERRORS[number])


@pytest.mark.parametrize("name", torch.optim.__all__)
def test_names(name):
    mine, oracle = getattr(facula.optim, name), getattr(torch.optim, name)
    assert mine.__name__.rpartition(".")[2] == oracle.__name__.rpartition(".")[2]
    if inspect.isclass(oracle):
        assert not [n for n in dir(oracle) if not n.startswith("_") and not hasattr(mine, n)]


# ---------------------------------------------------------------------------------------------------------------------
# Other parameters for a while


def swapped(framework, spoil=None, name="Adam"):
    """A step on copies of the parameters; what they, their state and the optimizer are then."""
    params, optimizer = train(framework, name, {"lr": 0.1}, steps=2)
    state = copy.deepcopy(optimizer.state_dict())
    others = {str(i): (p.detach() + 1).requires_grad_() for i, p in enumerate(params)}
    state["param_groups"][0]["lr"] = 0.5
    if spoil is not None:
        others, state = spoil(framework, others, state) or (others, state)
    with framework.optim.swap_in_optimizer_params_and_state(optimizer, others, state):
        for p, grad in zip(others.values(), gradients(params, 5)):
            p.grad = grad if grad is None or framework is torch else ours(grad)
        optimizer.step()
    values = [p.detach() for p in (*params, *others.values())]
    return [values, state["state"], optimizer.state_dict()["state"], optimizer.param_groups[0]["lr"]]


def test_swapped_parameters():
    optim_db.close(*(swapped(f) for f in (facula, torch)), "swapped")


SPOILT = [
    lambda f, others, state: (others, [1]),
    lambda f, others, state: (others, {**state, "state": [1]}),
    lambda f, others, state: (others, {**state, "state": {f.ones(1): {}}}),
    lambda f, others, state: (others, {**state, "state": {0: 3}}),
    lambda f, others, state: (others, {**state, "state": {7: {}}}),
    lambda f, others, state: (others, {**state, "param_groups": {}}),
    lambda f, others, state: (others, {**state, "param_groups": []}),
    lambda f, others, state: (others, {**state, "param_groups": [3]}),
    lambda f, others, state: state["param_groups"][0].update(params=["a"]),
    lambda f, others, state: state["param_groups"][0].update(params=[0]),
    lambda f, others, state: state["param_groups"][0].update(more=1),
    lambda f, others, state: ({"0": others["0"]}, state),
]


@pytest.mark.parametrize("number", range(len(SPOILT)))
def test_swapped_errors(number):
    same_error(lambda f: swapped(f, SPOILT[number]))


def test_swapped_before_a_step():
    same_error(lambda f: f.optim.swap_in_optimizer_params_and_state(sgd(f), {}, {}).__enter__())
