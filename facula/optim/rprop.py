"""Resilient backpropagation."""

from collections.abc import Iterable
from typing import Any

from facula.core.tensor import Tensor
from facula.errors import fail
from facula.operators import full_like

from .optimizer import RuleOptimizer, check_lr, number

__all__ = ["Rprop"]


def rprop(f, param, grad, prev, size, *, maximize, shrink, grow, smallest, largest):
    """Riedmiller and Braun (1993): the gradient's sign alone counts; steps grow while it stays."""
    if maximize:
        grad = -grad
    turned = grad * prev
    size = f.where(turned > 0, size * grow, f.where(turned < 0, size * shrink, size))
    size = f.clamp(size, smallest, largest)
    grad = f.where(turned < 0, 0.0, grad)
    return param - f.sign(grad) * size, grad, size


class Rprop(RuleOptimizer):
    """Steps by the sign of the gradient; for full batches.

    Parameters
    ----------
    params : iterable
        Parameters, pairs (name, parameter), or groups.
    lr : float or Tensor
        Size of the first step.
    etas : (float, float)
        What a step's size is multiplied with where the gradient's sign changed, and where it stayed.
    step_sizes : (float, float)
        The smallest and the largest step.
    capturable, foreach, maximize, differentiable :
        As in `Adam`.
    """

    rule = staticmethod(rprop)
    old_options = {"foreach": None, "maximize": False, "differentiable": False, "capturable": False}

    def __init__(
        self,
        params: Iterable,
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ):
        check_lr(lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            fail(ValueError, f"Invalid eta values: {etas[0]}, {etas[1]}", expected="0 < etas[0] < 1 < etas[1]")
        defaults = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def state_names(self, group):
        return ("prev", "step_size")

    def new_state(self, group, param):
        lr = number(group["lr"])
        start = complex(lr, lr) if param.is_complex() else lr
        return {**super().new_state(group, param), "step_size": full_like(param, start, requires_grad=False)}

    def options(self, group) -> dict[str, Any]:
        return {"maximize": bool(group["maximize"])}

    def scalars(self, group, step):
        (shrink, grow), (smallest, largest) = group["etas"], group["step_sizes"]
        return {"shrink": shrink, "grow": grow, "smallest": smallest, "largest": largest}
