"""RAdam."""

from collections.abc import Iterable
from typing import Any

from facula.core.tensor import Tensor

from .optimizer import RuleOptimizer, check_betas, check_lr, check_range

__all__ = ["RAdam"]


def radam(f, param, grad, m, v, *, maximize, decay, weight_decay, keep, rate1, beta2, rate2, eps, step_size, rectified):
    """Liu et al. (2020): no division by the second moment while too few gradients stand behind it."""
    if maximize:
        grad = -grad
    if decay == "decoupled":
        param = param * keep  # 1 - lr * weight_decay
    elif decay == "coupled":
        grad = grad + weight_decay * param
    m = m + rate1 * (grad - m)  # rate1 = 1 - beta1
    v = v * beta2 + rate2 * grad * grad
    step = step_size * m
    return param - f.where(rectified > 0, step * rectified / (f.sqrt(v) + eps), step), m, v


class RAdam(RuleOptimizer):
    """Adam whose first steps are plain momentum, by an estimate of the second moment's variance.

    Parameters
    ----------
    params : iterable
        Parameters, pairs (name, parameter), or groups.
    lr : float or Tensor
        Learning rate.
    betas : (float, float)
        How much the two averages keep at each step.
    eps : float
        Added to the denominator.
    weight_decay : float
        L2 penalty.
    decoupled_weight_decay : bool
        Shrink the parameters directly, as AdamW does.
    foreach, maximize, capturable, differentiable :
        As in `Adam`.
    """

    rule = staticmethod(radam)
    old_options = {
        "foreach": None,
        "maximize": False,
        "differentiable": False,
        "decoupled_weight_decay": False,
        "capturable": False,
    }

    def __init__(
        self,
        params: Iterable,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
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
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def state_names(self, group):
        return ("exp_avg", "exp_avg_sq")

    def options(self, group) -> dict[str, Any]:
        decay = "decoupled" if group["decoupled_weight_decay"] else "coupled"
        return {"maximize": bool(group["maximize"]), "decay": decay if group["weight_decay"] != 0 else None}

    def scalars(self, group, step):
        beta1, beta2 = group["betas"]
        lr, weight_decay = group["lr"], group["weight_decay"]
        correction2 = 1 - beta2**step
        longest = 2 / (1 - beta2) - 1  # how many gradients the average of squares holds in the end, and holds now
        length = longest - 2 * step * beta2**step / correction2
        rectified = 0.0
        if length > 5.0:
            part = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
            rectified = (correction2 * part) ** 0.5
        return {
            "weight_decay": weight_decay,
            "keep": 1 - lr * weight_decay,
            "rate1": 1 - beta1,
            "beta2": beta2,
            "rate2": 1 - beta2,
            "eps": group["eps"],
            "step_size": lr / (1 - beta1**step),
            "rectified": rectified,
        }
