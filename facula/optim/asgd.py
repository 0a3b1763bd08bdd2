"""Averaged stochastic gradient descent."""

from collections.abc import Iterable
from typing import Any

from facula.core.tensor import Tensor
from facula.operators import tensor, zeros_like
from facula.operators.promotion import DEFAULT

from .optimizer import RuleOptimizer, check_lr, check_range, number

__all__ = ["ASGD"]


def asgd(f, param, grad, average, *, maximize, decay, weight_decay, keep, eta, mu):
    """Polyak and Juditsky (1992): the average of the path converges faster than its end."""
    if maximize:
        grad = -grad
    if decay:
        grad = grad + weight_decay * param
    param = param * keep - eta * grad  # keep = 1 - lambd * eta
    return param, f.where(mu < 1, average + mu * (param - average), param)


class ASGD(RuleOptimizer):
    """Gradient descent whose state has, as `ax`, the average of the parameters from step `t0` on.

    Parameters
    ----------
    params : iterable
        Parameters, pairs (name, parameter), or groups.
    lr : float or Tensor
        Learning rate.
    lambd, alpha : float
        At step t the rate is lr / (1 + lambd * lr * t) ** alpha; `lambd` also shrinks the parameters.
    t0 : float
        Where averaging starts.
    weight_decay : float
        L2 penalty.
    foreach, maximize, differentiable, capturable :
        As in `Adam`.
    """

    rule = staticmethod(asgd)
    number_names = ("eta", "mu")
    old_options = {"foreach": None, "maximize": False, "differentiable": False, "capturable": False}

    def __init__(
        self,
        params: Iterable,
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ):
        check_lr(lr)
        check_range(weight_decay, weight_decay >= 0.0, "weight_decay value")
        defaults = {
            "lr": lr,
            "lambd": lambd,
            "alpha": alpha,
            "t0": t0,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def state_names(self, group):
        return ("ax",)

    def new_state(self, group, param):
        starts = {"step": 0.0, "eta": number(group["lr"]), "mu": 1.0}
        state = {name: tensor(start, dtype=DEFAULT.float, device=param.device) for name, start in starts.items()}
        return {**state, "ax": zeros_like(param)}

    def options(self, group) -> dict[str, Any]:
        return {"maximize": bool(group["maximize"]), "decay": bool(group["weight_decay"] != 0)}

    def numbers(self, group, state, step):
        eta, mu = self._number_in(state["eta"]), self._number_in(state["mu"])
        step, lr = number(step), number(group["lr"])
        self._put_number(state["eta"], lr / (1 + group["lambd"] * lr * step) ** group["alpha"])
        self._put_number(state["mu"], 1 / max(1, step - group["t0"]))
        return eta, mu

    def scalars(self, group, step, eta, mu):
        return {"weight_decay": group["weight_decay"], "keep": 1 - group["lambd"] * eta, "eta": eta, "mu": mu}
