"""An optimizer's step on other parameters and states than its own, which come back afterwards."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from facula.core.tensor import Tensor
from facula.errors import fail

from .optimizer import Optimizer

__all__ = ["swap_in_optimizer_params_and_state"]

NAME = "swap_in_optimizer_params_and_state"


def _need(valid: bool, text: str) -> None:
    if not valid:
        fail(RuntimeError, text)


def _checked_state(state: Any) -> dict[Any, Any]:
    _need(
        isinstance(state, dict),
        f"{NAME} requires swapin_optim_state['state'] to be a dict mapping packed parameter ids to per-param state "
        f"dicts, got {type(state).__name__}.",
    )
    _need(
        not any(isinstance(key, Tensor) for key in state),
        f"{NAME} requires optimizer.state_dict()-style state keyed by packed parameter ids.",
    )
    _need(
        all(isinstance(value, dict) for key, value in state.items() if isinstance(key, int)),
        f"{NAME} requires per-parameter optimizer state entries to be dictionaries.",
    )
    return state


def _check_group(number: int, live: dict[str, Any], given: Any) -> None:
    _need(isinstance(given, dict), f"{NAME} requires each optimizer param group to be a dictionary.")
    ids = given.get("params")
    _need(
        isinstance(ids, list) and all(isinstance(i, int) for i in ids),
        f"{NAME} requires optimizer.state_dict()-style param_groups[*]['params'] entries keyed by packed parameter "
        "ids.",
    )
    _need(
        len(live["params"]) == len(ids),
        f"swapin_optim_state param group {number} has a different number of params than the live optimizer param "
        "group.",
    )
    ours, theirs = [key for key in live if key not in given], [key for key in given if key not in live]
    _need(
        not (ours or theirs),
        f"{NAME} requires optimizer.state_dict()-style param group keys to exactly match the live optimizer group keys "
        f"for group {number}. Keys only in swap-in: {theirs}. Keys only in live: {ours}.",
    )


@contextmanager
def swap_in_optimizer_params_and_state(
    optimizer: Optimizer, swapin_parameters: dict[str, Tensor], swapin_optim_state: dict[str, Any]
) -> Iterator[None]:
    """Inside the block the optimizer has the parameters and the state that are given.

    Tensors of the given state change in place; nothing else of it does.

    Parameters
    ----------
    optimizer : Optimizer
        One that has made a step.
    swapin_parameters : dict
        Tensors in the order of the optimizer's own parameters.
    swapin_optim_state : dict
        As `optimizer.state_dict()` gives it.
    """
    _need(bool(optimizer.state), f"{NAME} requires initialized optimizer state.")
    _need(isinstance(swapin_optim_state, dict), f"{NAME} requires a DCP-style optimizer state_dict.")
    state, groups = _checked_state(swapin_optim_state.get("state")), swapin_optim_state.get("param_groups")
    if not isinstance(groups, list):
        fail(
            RuntimeError,
            f"{NAME} requires swapin_optim_state['param_groups'] to be a list of param-group dicts, got "
            f"{type(groups).__name__}.",
        )
    _need(
        len(groups) == len(optimizer.param_groups),
        "swapin_optim_state has a different number of parameter groups than the live optimizer.",
    )
    for number, (live, given) in enumerate(zip(optimizer.param_groups, groups)):
        _check_group(number, live, given)
    ids = [i for given in groups for i in given["params"]]
    _need(
        len(ids) <= len(swapin_parameters),
        f"{NAME} requires the explicit parameter state to match optimizer.param_groups ordering.",
    )
    extra = [key for key in state if key not in ids]
    _need(
        not extra,
        f"{NAME} requires swapin_optim_state['state'] to be keyed only by packed parameter ids from "
        f"param_groups[*]['params']; got extra keys {extra!r}.",
    )
    before, kept = optimizer.state, [dict(group) for group in optimizer.param_groups]
    parameters = iter(swapin_parameters.values())
    swapped: defaultdict[Tensor, Any] = defaultdict(dict)
    try:
        for live, given in zip(optimizer.param_groups, groups):
            params = [next(parameters) for _ in given["params"]]
            swapped.update((param, dict(state.get(i, {}))) for param, i in zip(params, given["params"]))
            live.update({**given, "params": params})
        optimizer.state = swapped
        yield
    finally:
        for live, old in zip(optimizer.param_groups, kept):
            live.clear()
            live.update(old)
        optimizer.state = before
