"""Stochastic gradient descent."""

from collections.abc import Iterable
from typing import Any

from facula.core.tensor import Tensor
from facula.errors import fail

from .optimizer import RuleOptimizer, check_fused, check_lr, check_range

__all__ = ["SGD"]


def sgd(
    f, param, grad, buffer=None, *, maximize, decay, momentum_on, first, nesterov, lr, weight_decay, momentum, damp
):
    """Momentum as in Sutskever et al. (2013), in PyTorch's form: the learning rate stays outside of the buffer."""
    if maximize:
        grad = -grad
    if decay:
        grad = grad + weight_decay * param
    if not momentum_on:
        return (param - lr * grad,)
    buffer = f.detach(grad) if first else momentum * buffer + damp * grad  # damp = 1 - dampening
    direction = grad + momentum * buffer if nesterov else buffer
    return param - lr * direction, buffer


class SGD(RuleOptimizer):
    """Stochastic gradient descent, with momentum if asked for.

    Parameters
    ----------
    params : iterable
        Parameters, pairs (name, parameter), or groups.
    lr : float or Tensor
        Learning rate.
    momentum : float
    dampening : float
        How much of each new gradient the momentum leaves out.
    weight_decay : float
        L2 penalty.
    nesterov : bool
        Nesterov momentum; needs a momentum and no dampening.
    maximize : bool
        Go up instead of down.
    foreach, fused : bool, optional
        Accepted; there is one implementation.
    differentiable : bool
        Whether autograd goes through the step.

    Examples
    --------
    >>> import facula as torch
    >>> w = torch.nn.Parameter(torch.ones(2))
    >>> optimizer = torch.optim.SGD([w], lr=0.1)
    >>> w.sum().backward()
    >>> optimizer.step()
    >>> w.detach()
    tensor([0.9000, 0.9000])
    """

    rule = staticmethod(sgd)
    takes_sparse = True
    counts_steps = False
    complex_as_real = False
    old_options = {"nesterov": False, "maximize": False, "foreach": None, "differentiable": False, "fused": False}

    def __init__(
        self,
        params: Iterable,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float | Tensor = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        check_lr(lr)
        check_range(momentum, momentum >= 0.0, "momentum value")
        check_range(weight_decay, weight_decay >= 0.0, "weight_decay value")
        if nesterov and (momentum <= 0 or dampening != 0):
            fail(ValueError, "Nesterov momentum requires a momentum and zero dampening")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        check_fused(self, fused, foreach, differentiable)

    def _rows(self, group, grad, tensors, later):
        if group["weight_decay"] != 0:
            fail(RuntimeError, "add(sparse, dense) is not supported. Use add(dense, sparse) instead.",
                 mend="weight_decay and sparse gradients do not go together")  # fmt: skip
        if group["momentum"] != 0:  # rows without a gradient move on
            return [tensors[0], grad.to_dense(), *tensors[2:]]
        return super()._rows(group, grad, tensors, later)

    def state_names(self, group):
        return ("momentum_buffer",) if group["momentum"] != 0 else ()

    def new_state(self, group, param):
        return {"momentum_buffer": None}

    def options(self, group) -> dict[str, Any]:
        return {
            "maximize": bool(group["maximize"]),
            "decay": bool(group["weight_decay"] != 0),
            "momentum_on": group["momentum"] != 0,
            "nesterov": bool(group["nesterov"]),
            "first": False,
        }

    def scalars(self, group, step):
        return {
            "lr": group["lr"],
            "weight_decay": group["weight_decay"],
            "momentum": group["momentum"],
            "damp": 1 - group["dampening"],
        }
