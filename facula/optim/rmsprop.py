"""RMSprop."""

from collections.abc import Iterable
from typing import Any

from facula.core.tensor import Tensor

from .optimizer import RuleOptimizer, check_lr, check_range

__all__ = ["RMSprop"]


def rmsprop(
    f, param, grad, square_avg, *rest,
    maximize, decay, centered, momentum_on, lr, weight_decay, alpha, rate, momentum, eps,
):  # fmt: skip
    """Hinton's lecture 6; `centered` as in Graves (2013). `rest`: grad_avg if centered, a momentum_buffer if any."""
    rest = list(rest)
    if maximize:
        grad = -grad
    if decay:
        grad = grad + weight_decay * param
    square_avg = square_avg * alpha + rate * grad * grad  # rate = 1 - alpha
    variance = square_avg
    if centered:
        rest[0] = grad_avg = rest[0] + rate * (grad - rest[0])
        variance = square_avg - grad_avg * grad_avg
    scale = f.sqrt(variance) + eps
    if momentum_on:
        rest[-1] = buffer = rest[-1] * momentum + grad / scale
        return param - lr * buffer, square_avg, *rest
    return param - lr * grad / scale, square_avg, *rest


class RMSprop(RuleOptimizer):
    """Gradients divided by a running root mean square.

    Parameters
    ----------
    params : iterable
        Parameters, pairs (name, parameter), or groups.
    lr : float or Tensor
        Learning rate.
    alpha : float
        How much the running average keeps at each step.
    eps : float
        Added to the denominator.
    weight_decay : float
        L2 penalty.
    momentum : float
    centered : bool
        Subtract the square of the gradient's running average: divide by an estimate of the standard deviation.
    capturable : bool
        Keep the step counter on the GPU.
    foreach : bool, optional
        Accepted; there is one implementation.
    maximize : bool
        Go up instead of down.
    differentiable : bool
        Whether autograd goes through the step.
    """

    rule = staticmethod(rmsprop)
    old_options = {
        "momentum": 0,
        "centered": False,
        "foreach": None,
        "maximize": False,
        "differentiable": False,
        "capturable": False,
    }

    def __init__(
        self,
        params: Iterable,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ):
        check_lr(lr)
        check_range(eps, eps >= 0.0, "epsilon value")
        check_range(momentum, momentum >= 0.0, "momentum value")
        check_range(weight_decay, weight_decay >= 0.0, "weight_decay value")
        check_range(alpha, alpha >= 0.0, "alpha value")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def state_names(self, group):
        more = (("grad_avg", group["centered"]), ("momentum_buffer", group["momentum"] > 0))
        return ("square_avg", *(name for name, on in more if on))

    def options(self, group) -> dict[str, Any]:
        return {
            "maximize": bool(group["maximize"]),
            "decay": bool(group["weight_decay"] != 0),
            "centered": bool(group["centered"]),
            "momentum_on": group["momentum"] > 0,
        }

    def scalars(self, group, step):
        return {
            "lr": group["lr"],
            "weight_decay": group["weight_decay"],
            "alpha": group["alpha"],
            "rate": 1 - group["alpha"],
            "momentum": group["momentum"],
            "eps": group["eps"],
        }
