"""Adagrad."""

from collections.abc import Iterable
from typing import Any

from facula.core.tensor import Tensor
from facula.errors import fail
from facula.operators import full_like

from .optimizer import RuleOptimizer, check_fused, check_lr, check_range, new_step

__all__ = ["Adagrad"]


def adagrad(f, param, grad, total, *, maximize, decay, weight_decay, rate, eps):
    """Duchi, Hazan and Singer (2011): each element's step shrinks with the sum of its squared gradients."""
    if maximize:
        grad = -grad
    if decay:
        grad = grad + weight_decay * param
    total = total + grad * grad
    return param - rate * grad / (f.sqrt(total) + eps), total


class Adagrad(RuleOptimizer):
    """Adaptive subgradients.

    Parameters
    ----------
    params : iterable
        Parameters, pairs (name, parameter), or groups.
    lr : float or Tensor
        Learning rate.
    lr_decay : float
        At step t the learning rate is lr / (1 + (t - 1) * lr_decay).
    weight_decay : float
        L2 penalty.
    initial_accumulator_value : float
        Where the sums of squares start.
    eps : float
        Added to the denominator.
    foreach, fused : bool, optional
        Accepted; there is one implementation.
    maximize : bool
        Go up instead of down.
    differentiable : bool
        Whether autograd goes through the step.
    """

    rule = staticmethod(adagrad)
    takes_sparse = True
    old_options = {"foreach": None, "maximize": False, "differentiable": False, "fused": None}

    def __init__(
        self,
        params: Iterable,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        check_lr(lr)
        check_range(lr_decay, lr_decay >= 0.0, "lr_decay value")
        check_range(weight_decay, weight_decay >= 0.0, "weight_decay value")
        check_range(initial_accumulator_value, initial_accumulator_value >= 0.0, "initial_accumulator_value value")
        check_range(eps, eps >= 0.0, "epsilon value")
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        check_fused(self, fused, foreach, differentiable)
        for group in self.param_groups:
            for param in group["params"]:
                self.state[param].update(self.new_state(group, param))

    def share_memory(self) -> None:
        """Move the sums to memory that processes share."""
        for group in self.param_groups:
            for param in group["params"]:
                self.state[param]["sum"].share_memory_()

    def _rows(self, group, grad, tensors, later):
        if group["weight_decay"] != 0:
            fail(RuntimeError, "weight_decay option is not compatible with sparse gradients")
        return super()._rows(group, grad, tensors, later)

    def state_names(self, group):
        return ("sum",)

    def new_state(self, group, param):
        start = self.defaults["initial_accumulator_value"]
        return {
            "step": new_step(group, param),
            "sum": full_like(param, complex(start, start) if param.is_complex() else start, requires_grad=False),
        }

    def options(self, group) -> dict[str, Any]:
        return {"maximize": bool(group["maximize"]), "decay": bool(group["weight_decay"] != 0)}

    def scalars(self, group, step):
        return {
            "weight_decay": group["weight_decay"],
            "rate": group["lr"] / (1 + (step - 1) * group["lr_decay"]),
            "eps": group["eps"],
        }
