"""Adamax."""

from collections.abc import Iterable
from typing import Any

from facula.core.tensor import Tensor

from .optimizer import RuleOptimizer, check_betas, check_lr, check_range

__all__ = ["Adamax"]


def adamax(f, param, grad, m, u, *, maximize, decay, weight_decay, rate1, beta2, eps, step_size):
    """Kingma and Ba (2015), section 7.1: the largest gradient, which fades away, in place of the mean square."""
    if maximize:
        grad = -grad
    if decay:
        grad = grad + weight_decay * param
    m = m + rate1 * (grad - m)  # rate1 = 1 - beta1
    u = f.maximum(u * beta2, f.abs(grad) + eps)
    return param - step_size * m / u, m, u


class Adamax(RuleOptimizer):
    """Adam with the infinity norm.

    Parameters
    ----------
    params : iterable
        Parameters, pairs (name, parameter), or groups.
    lr : float or Tensor
        Learning rate.
    betas : (float, float)
        How much the average of gradients and their largest one keep at each step.
    eps : float
        Added to each gradient's absolute value.
    weight_decay : float
        L2 penalty.
    foreach, maximize, differentiable, capturable :
        As in `Adam`.
    """

    rule = staticmethod(adamax)
    old_options = {"foreach": None, "maximize": False, "differentiable": False, "capturable": False}

    def __init__(
        self,
        params: Iterable,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ):
        check_lr(lr)
        check_range(eps, eps >= 0.0, "epsilon value")
        check_betas(betas)
        check_range(weight_decay, weight_decay >= 0.0, "weight_decay value")
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def state_names(self, group):
        return ("exp_avg", "exp_inf")

    def options(self, group) -> dict[str, Any]:
        return {"maximize": bool(group["maximize"]), "decay": bool(group["weight_decay"] != 0)}

    def scalars(self, group, step):
        beta1, beta2 = group["betas"]
        return {
            "weight_decay": group["weight_decay"],
            "rate1": 1 - beta1,
            "beta2": beta2,
            "eps": group["eps"],
            "step_size": group["lr"] / (1 - beta1**step),
        }
