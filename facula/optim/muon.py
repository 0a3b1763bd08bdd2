"""Muon."""

import math
from collections.abc import Iterable
from typing import Any

from facula.autograd import no_grad
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.operators import addmm, zeros_like

from .optimizer import Optimizer, check_dense, check_lr, evaluate, number

__all__ = ["Muon"]

RATIOS = {  # what the learning rate of a matrix of `rows` and `columns` is multiplied with
    None: lambda rows, columns: math.sqrt(max(1, rows / columns)),
    "original": lambda rows, columns: math.sqrt(max(1, rows / columns)),
    "match_rms_adamw": lambda rows, columns: 0.2 * math.sqrt(max(rows, columns)),
}


def orthogonal(x: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """A matrix with `x`'s singular vectors and singular values near 1: Newton and Schulz's iteration, in bfloat16."""
    if steps >= 100:
        fail(ValueError, "Number of steps must be less than 100 for computational efficiency", got=steps)
    if x.dim() != 2:
        fail(ValueError, "Input tensor gradient must be a 2D matrix", got=f"{x.dim()}-D")
    if len(coefficients) != 3:
        fail(ValueError, "Coefficients must be a tuple of exactly 3 values", got=coefficients)
    a, b, c = coefficients
    tall = x.size(0) > x.size(1)
    result = x.bfloat16()
    result = result.T if tall else result
    result = result / result.norm().clamp(min=eps)  # no singular value is above 1
    for _ in range(steps):
        gram = result @ result.T
        result = addmm(result, addmm(gram, gram, gram, beta=b, alpha=c), result, beta=a)
    return result.T if tall else result


class Muon(Optimizer):
    """Momentum whose updates are made orthogonal (Jordan, 2024); for the matrices of hidden layers.

    Parameters
    ----------
    params : iterable
        Matrices, pairs (name, matrix), or groups.
    lr : float or Tensor
        Learning rate.
    weight_decay : float
        Decoupled weight decay.
    momentum : float
        How much the average of gradients keeps at each step.
    nesterov : bool
        Nesterov momentum.
    ns_coefficients : (float, float, float)
        Of the polynomial that is iterated.
    eps : float
        The smallest norm that an update is divided by.
    ns_steps : int
        How many iterations.
    adjust_lr_fn : {None, "original", "match_rms_adamw"}
        How the learning rate depends on the shape.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ):
        check_lr(lr, "Learning rate should be >= 0 but is: ")
        for value, what in ((momentum, "momentum"), (weight_decay, "weight decay")):
            if not value >= 0.0:
                fail(ValueError, f"{what} should be >= 0 but is: {value}")
        if adjust_lr_fn not in RATIOS:
            fail(ValueError, f"Adjust learning rate function {adjust_lr_fn} is not supported", expected=list(RATIOS))
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            for param in group["params"]:
                if param.ndim != 2:
                    fail(
                        ValueError,
                        f"Muon only supports 2D parameters whereas we found a parameter with size: {param.size()}",
                        mend="give other parameters to another optimizer",
                    )

    def step(self, closure=None) -> Any:
        """Update the parameters once; `closure`, if given, evaluates the model and returns the loss."""
        loss = evaluate(closure)
        with no_grad():
            for group in self.param_groups:
                for param in group["params"]:
                    if param.grad is not None:
                        check_dense(self, param)
                        self._update(group, param, param.grad)
        return loss

    def _update(self, group: dict, param: Tensor, grad: Tensor) -> None:
        state = self.state[param]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = zeros_like(grad)
        momentum, lr = group["momentum"], number(group["lr"])
        buffer = state["momentum_buffer"].lerp_(grad, 1 - momentum)
        direction = grad.lerp(buffer, momentum) if group["nesterov"] else buffer
        update = orthogonal(direction, group["ns_coefficients"], group["ns_steps"], group["eps"])
        param.mul_(1 - lr * group["weight_decay"])
        param.add_(update, alpha=-lr * RATIOS[group["adjust_lr_fn"]](*param.shape))
