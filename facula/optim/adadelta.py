"""Adadelta."""

from collections.abc import Iterable
from typing import Any

from facula.core.tensor import Tensor

from .optimizer import RuleOptimizer, check_lr, check_range

__all__ = ["Adadelta"]


def adadelta(f, param, grad, square_avg, acc_delta, *, maximize, decay, lr, weight_decay, rho, rate, eps):
    """Zeiler (2012): a step has the size of the steps before it, whatever the units of the loss."""
    if maximize:
        grad = -grad
    if decay:
        grad = grad + weight_decay * param
    square_avg = square_avg * rho + rate * grad * grad  # rate = 1 - rho
    delta = f.sqrt(acc_delta + eps) / f.sqrt(square_avg + eps) * grad
    acc_delta = acc_delta * rho + rate * delta * delta
    return param - lr * delta, square_avg, acc_delta


class Adadelta(RuleOptimizer):
    """Gradients times the quotient of two running root mean squares: that of the steps and that of the gradients.

    Parameters
    ----------
    params : iterable
        Parameters, pairs (name, parameter), or groups.
    lr : float or Tensor
        Factor of each step.
    rho : float
        How much the running averages keep at each step.
    eps : float
        Added under both roots.
    weight_decay : float
        L2 penalty.
    foreach, capturable, maximize, differentiable :
        As in `Adam`.
    """

    rule = staticmethod(adadelta)
    old_options = {"foreach": None, "maximize": False, "differentiable": False, "capturable": False}

    def __init__(
        self,
        params: Iterable,
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ):
        check_lr(lr)
        check_range(rho, 0.0 <= rho <= 1.0, "rho value")
        check_range(eps, eps >= 0.0, "epsilon value")
        check_range(weight_decay, weight_decay >= 0.0, "weight_decay value")
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def state_names(self, group):
        return ("square_avg", "acc_delta")

    def options(self, group) -> dict[str, Any]:
        return {"maximize": bool(group["maximize"]), "decay": bool(group["weight_decay"] != 0)}

    def scalars(self, group, step):
        return {
            "lr": group["lr"],
            "weight_decay": group["weight_decay"],
            "rho": group["rho"],
            "rate": 1 - group["rho"],
            "eps": group["eps"],
        }
