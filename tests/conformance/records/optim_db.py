"""`optim_db` on both frameworks: steps, closures, state dicts in both directions, schedules, errors, texts.

python -m tests.conformance.records.optim_db                  # all optimizers; ends with a table of what passes
python -m tests.conformance.records.optim_db Adam LBFGS --checks steps errors
"""

import argparse
import copy
import inspect
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.testing._internal.common_optimizers import OptimizerErrorEnum, optim_db

import facula

from .mirror import array, twin
from .op_db import TOLERANCE, Failure, outcome, show, table

__all__ = ["CHECKS", "ENTRIES", "check"]

ENTRIES = {info.name: info for info in optim_db}
FRAMEWORKS = (facula, torch)
MATRICES = {"Muon"}  # optimizers of matrices alone
SPARSE = {"SparseAdam"}  # optimizers of sparse gradients alone
FLAGS = ("foreach", "fused", "differentiable")
SHAPES = ((3, 4), (), (5,), (2, 3, 2), (0, 2), (2,))  # the last one gets no gradient


def shapes(info) -> tuple[tuple[int, ...], ...]:
    if info.name in MATRICES:
        return ((3, 4), (6, 2), (4, 4), (2, 2))
    if info.name in SPARSE:
        return ((3, 4), (5,), (4, 2), (2,))
    return tuple(s for s in SHAPES if 0 not in s) if info.name in ("Adafactor", "LBFGS") else SHAPES


def values(shape, dtype: torch.dtype, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) * (1 + 2j if dtype.is_complex else 1)


def given(framework, value: torch.Tensor):
    return value.clone() if framework is torch else twin(value)


def parameters(framework, info, dtype) -> list:
    return [framework.nn.Parameter(given(framework, values(s, dtype, i))) for i, s in enumerate(shapes(info))]


def options_of(framework, info, kwargs: dict) -> dict[str, Any]:
    """Keyword arguments for one framework; the other implementations of PyTorch round otherwise."""
    if framework is facula:
        return twin(kwargs)
    return (
        {**kwargs, "foreach": False}
        if "foreach" in info.supported_impls and not any(kwargs.get(flag) for flag in FLAGS)
        else kwargs
    )


def built(framework, info, kwargs, dtype=torch.float32) -> tuple[list, Any]:
    params = parameters(framework, info, dtype)
    return params, getattr(framework.optim, info.name)(params, **options_of(framework, info, copy.deepcopy(kwargs)))


def set_gradients(framework, info, params, step: int, dtype) -> None:
    for i, param in enumerate(params[:-1]):
        grad = values(tuple(param.shape), dtype, 100 * step + i)
        if info.name in SPARSE:
            grad[step % len(grad)] = 0
        grad = given(framework, grad)
        param.grad = grad.to_sparse(1 + i % 2 if grad.ndim > 1 else 1) if info.name in SPARSE else grad


def distance(params) -> Any:
    """A loss whose gradients reach all parameters but the last."""
    total = 0
    for i, p in enumerate(params[:-1]):
        total = total + ((p - (0.3 * i + 0.1)).abs() ** 2).sum() * (i + 1)
    return total


def advance(framework, info, params, optimizer, start: int, steps: int, dtype) -> list:
    """Steps with equal gradients, or with a closure where the optimizer needs one; returns the losses."""
    losses = []
    for step in range(start, start + steps):
        if info.step_requires_closure:

            def closure():
                optimizer.zero_grad()
                loss = distance(params)
                loss.backward()
                return loss

            losses.append(optimizer.step(closure))
        else:
            set_gradients(framework, info, params, step, dtype)
            optimizer.step()
    return losses


def close(ours: Any, theirs: Any, where: str, loose: float = 1.0) -> None:
    """Failure unless two values, of any nesting, agree; `loose` multiplies what they may differ by."""
    if isinstance(theirs, torch.Tensor):
        if not isinstance(ours, facula.Tensor):
            raise Failure(f"{where}: {type(ours).__name__} for a tensor")
        if str(ours.dtype) != str(theirs.dtype) or tuple(ours.shape) != tuple(theirs.shape):
            raise Failure(f"{where}: {ours.dtype} {tuple(ours.shape)} for {theirs.dtype} {tuple(theirs.shape)}")
        a, b = array(ours), array(theirs)
        relative, share = TOLERANCE.get(str(theirs.dtype).removeprefix("torch."), (0, 0))
        if "float32" in str(theirs.dtype) or "complex64" in str(theirs.dtype):
            relative, share = 1e-4, 2e-5  # several steps
        if not np.allclose(
            a, b, rtol=loose * relative, atol=loose * share * max(1, np.abs(b).max(initial=0)), equal_nan=True
        ):
            raise Failure(f"{where}: {a.ravel()[:4]} for {b.ravel()[:4]}")
    elif isinstance(theirs, dict):
        if list(ours) != list(theirs) and set(ours) != set(theirs):
            raise Failure(f"{where}: keys {sorted(map(str, ours))} for {sorted(map(str, theirs))}")
        for key, value in theirs.items():
            close(ours[key], value, f"{where}[{key!r}]", loose)
    elif isinstance(theirs, (list, tuple)):
        if len(ours) != len(theirs) or type(ours) is not type(theirs):
            raise Failure(f"{where}: {ours} for {theirs}")
        for i, value in enumerate(theirs):
            close(ours[i], value, f"{where}[{i}]", loose)
    elif isinstance(theirs, float):
        if not np.isclose(float(ours), theirs, rtol=1e-4 * loose):
            raise Failure(f"{where}: {ours!r} for {theirs!r}")
    elif ours != theirs:
        raise Failure(f"{where}: {ours!r} for {theirs!r}")


def inputs(info, flags=(None,)) -> Iterator[tuple[str, dict]]:
    for sample in info.optim_inputs_func(device="cpu"):
        for flag in flags:
            if flag is None or not (flag == "foreach" and isinstance(sample.kwargs.get("lr"), torch.Tensor)):
                yield f"{sample.desc} {flag or ''}", {**sample.kwargs, **({flag: True} if flag else {})}


# --- the checks: each yields (what was checked, function, arguments) ---------------------------------------------


def sparse(info):
    """Plain SGD and Adagrad take sparse gradients too."""
    if info.supports_sparse:
        yield "sparse", _sparse, info, info.metadata_for_sparse[0]


def _sparse(info, kwargs):
    results = []
    for framework in FRAMEWORKS:
        params, optimizer = built(framework, info, kwargs)
        for step in range(1, 4):
            set_gradients(framework, info, params, step, torch.float32)
            for param in params[:-1]:
                param.grad = param.grad.to_sparse(1) if param.ndim and param.numel() else None
            optimizer.step()
        results.append([p.detach() for p in params])
    close(*results, info.name)


def steps(info):
    kinds = [torch.float32, torch.float64, torch.bfloat16, *([torch.complex64] if info.supports_complex else [])]
    if info.name in SPARSE:
        kinds = kinds[:2]
    for dtype in [d for d in kinds if not (d is torch.bfloat16 and info.name == "LBFGS")]:
        for what, kwargs in inputs(info, (None, *(f for f in info.supported_impls if f != "differentiable"))):
            if not (kwargs.get("fused") and dtype.is_complex):
                yield f"{str(dtype)[6:]}: {what}", _steps, info, kwargs, dtype


def _steps(info, kwargs, dtype):
    results = []
    for framework in FRAMEWORKS:
        params, optimizer = built(framework, info, kwargs, dtype)
        losses = advance(framework, info, params, optimizer, 1, 4, dtype)
        state = optimizer.state_dict()["state"]
        results.append({"params": [p.detach() for p in params], "losses": losses, "state": _numbers(state, info)})
    close(*results, info.name, 20.0 if info.name == "LBFGS" else 1.0)  # each of up to 80 steps builds on the last


def _numbers(state: dict, info) -> dict:
    """A state to compare: L-BFGS keeps numbers as tensors or not."""
    if info.name != "LBFGS":
        return state
    keep = ("func_evals", "n_iter", "d", "prev_flat_grad", "old_dirs", "old_stps", "prev_loss")
    return {
        key: {**{k: v for k, v in one.items() if k in keep}, "keys": dict.fromkeys(one)} if one else one
        for key, one in state.items()
    }


def differentiable(info):
    if "differentiable" in info.supported_impls:
        for what, kwargs in inputs(info):
            if not isinstance(kwargs.get("lr"), torch.Tensor):
                yield what, _differentiable, info, kwargs


def _differentiable(info, kwargs):
    """The gradient of a loss after two steps in the parameter before them and in its first gradient."""
    results = []
    for framework in FRAMEWORKS:
        start = given(framework, values((5,), torch.float64, 3)).requires_grad_()
        first = given(framework, values((5,), torch.float64, 4)).requires_grad_()
        param = start.clone()
        optimizer = getattr(framework.optim, info.name)([param], **kwargs, differentiable=True)
        for number in range(2):
            param.grad = (first * (number + 1.5)).clone()
            optimizer.step()
        loss = (param * param).sum()
        try:
            results.append(list(framework.autograd.grad(loss, [start, first], allow_unused=True)))
        except RuntimeError:
            if framework is facula:
                raise
            return  # PyTorch changes in place what it needs, in several optimizers
    close(*results, info.name, 10.0)  # PyTorch keeps some numbers in float32


def states(info):
    for what, kwargs in inputs(info):
        yield what, _states, info, kwargs


def _states(info, kwargs):
    """Each framework's state, loaded by the other one, goes on alike."""
    begun = []
    for framework in FRAMEWORKS:
        params, optimizer = built(framework, info, kwargs)
        advance(framework, info, params, optimizer, 1, 3, torch.float32)
        begun.append((params, optimizer))
    (ours, our_optimizer), (theirs, their_optimizer) = begun
    a = _crossed(their_optimizer.state_dict(), facula)
    b = _crossed(our_optimizer.state_dict(), torch)
    for framework, params, optimizer, state in (
        (facula, ours, our_optimizer, a),
        (torch, theirs, their_optimizer, b),
    ):
        optimizer.load_state_dict(state)
        for i, param in enumerate(params):
            param.detach().copy_(given(framework, theirs[i].detach()) if framework is facula else param.detach())
        advance(framework, info, params, optimizer, 4, 2, torch.float32)
    close([p.detach() for p in ours], [p.detach() for p in theirs], info.name)
    groups = [optimizer.state_dict()["param_groups"] for optimizer in (our_optimizer, their_optimizer)]
    for group in groups[0] + groups[1]:
        group.pop("foreach", None)
    close(*groups, "groups")


def _crossed(value: Any, framework) -> Any:
    """A state dict with its tensors in the other framework."""
    if isinstance(value, facula.Tensor):
        return torch.from_numpy(array(value).copy())
    if isinstance(value, torch.Tensor):
        return twin(value.detach())
    if isinstance(value, dict):
        return {key: _crossed(x, framework) for key, x in value.items()}
    return type(value)(_crossed(x, framework) for x in value) if isinstance(value, (list, tuple)) else value


def schedules(info):
    for number, makers in enumerate(info.scheduler_inputs):
        yield f"schedulers {number}", _schedules, info, makers


def _schedules(info, makers):
    results = []
    for framework in FRAMEWORKS:
        params, optimizer = built(framework, info, {})
        plans = [_maker(framework, make)(optimizer) for make in makers]
        seen = []
        for step in range(6):
            losses = advance(framework, info, params, optimizer, step, 1, torch.float32)
            for plan in plans:
                plan.step(*([1.0] if "Plateau" in type(plan).__name__ else []))
            seen.append([*(group["lr"] for group in optimizer.param_groups), losses])
        results.append([seen, [p.detach() for p in params], [sorted(p.state_dict()) for p in plans]])
    close(*results, info.name)


def _maker(framework, make: types.FunctionType) -> types.FunctionType:
    """PyTorch's function that builds a scheduler, with a framework's schedulers among its globals."""
    return types.FunctionType(make.__code__, {**make.__globals__, **vars(framework.optim.lr_scheduler)})


def texts(info):
    yield "signature", _signature, info
    for what, kwargs in inputs(info):
        yield f"repr: {what}", _repr, info, kwargs


def _signature(info):
    a, b = (inspect.signature(getattr(framework.optim, info.name)) for framework in FRAMEWORKS)
    for x, y in zip(a.parameters.values(), b.parameters.values()):
        if (x.name, x.default, x.kind) != (y.name, y.default, y.kind):
            raise Failure(f"{x} for {y}")
    close(list(a.parameters), list(b.parameters), "parameters")


def _repr(info, kwargs):
    results = []
    for framework in FRAMEWORKS:
        _, optimizer = built(framework, info, kwargs)
        for group in optimizer.param_groups:
            if "foreach" in group:
                group["foreach"] = None
        results.append([repr(optimizer), list(optimizer.state_dict()["param_groups"][0])])
    close(*results, info.name)


def errors(info):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        samples = info.optim_error_inputs_func(device="cpu", dtype=torch.float32)
    for wrong in samples:
        yield f"{wrong.optimizer_error_input.desc}: {wrong.error_regex}", _errors, info, wrong


def _errors(info, wrong):
    sample = wrong.optimizer_error_input
    messages = []
    for framework in FRAMEWORKS:
        known: dict[int, Any] = {}

        def take(value, framework=framework, known=known):
            if isinstance(value, torch.Tensor):
                if framework is torch:
                    return value
                if id(value) not in known:
                    known[id(value)] = twin(value)
                    known[id(value)].grad = None if value.grad is None else twin(value.grad)
                return known[id(value)]
            if isinstance(value, dict):
                return {key: take(x) for key, x in value.items()}
            return type(value)(take(x) for x in value) if isinstance(value, (list, tuple)) else value

        params = [framework.nn.Parameter(framework.ones(2, 2))] if sample.params is None else take(sample.params)

        def run(framework=framework, params=params, take=take):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                optimizer = getattr(framework.optim, info.name)(params, **take(sample.kwargs))
                if wrong.error_on is OptimizerErrorEnum.STEP_ERROR:
                    optimizer.step()

        try:
            run()
            messages.append("no error")
        except Exception as error:
            messages.append(f"{type(error).__name__}: {str(error).splitlines()[0]}")
    if messages[0] != messages[1] and not messages[1].startswith("no error"):
        raise Failure(f"{messages[0]} for {messages[1]}")


CHECKS: dict[str, Callable] = {
    "steps": steps,
    "sparse": sparse,
    "differentiable": differentiable,
    "states": states,
    "schedules": schedules,
    "texts": texts,
    "errors": errors,
}


def check(name: str, which: str) -> dict[str, Any]:
    """Run one check of an optimizer: {"tried": n, "failed": [(sample, why), ...]}."""
    return outcome(CHECKS[which](ENTRIES[name]))


def main() -> int:
    parser = argparse.ArgumentParser("optim_db", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", help="optimizers (default: all)")
    parser.add_argument("--checks", nargs="+", default=list(CHECKS), choices=list(CHECKS))
    parser.add_argument("--show", type=int, default=3, help="failures shown for each optimizer and check")
    options = parser.parse_args()
    unknown = set(options.names) - set(ENTRIES)
    if unknown:
        print(f"no optimizer has the name {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    results: dict[str, dict[str, Any]] = {}
    for name in options.names or ENTRIES:
        results[name] = {which: check(name, which) for which in options.checks}
        show(name, results[name], options.show)
    print("\n".join(table(results, options.checks)))
    return int(any(one["failed"] for found in results.values() for one in found.values()))


if __name__ == "__main__":
    raise SystemExit(main())
