"""SparseAdam: Adam for gradients that hold some rows alone."""

from collections.abc import Iterable
from typing import Any

from facula.core.tensor import Tensor
from facula.errors import fail

from .optimizer import RuleOptimizer, check_betas, check_lr, check_range

__all__ = ["SparseAdam"]


def sparse_adam(f, param, grad, average, square, *, maximize, rate, beta1, beta2, eps):
    """Kingma and Ba (2015), on the rows that have a gradient."""
    if maximize:
        grad = -grad
    average = average + (grad - average) * (1 - beta1)
    square = square + (grad * grad - square) * (1 - beta2)
    return param - rate * average / (f.sqrt(square) + eps), average, square


class SparseAdam(RuleOptimizer):
    """Adam that leaves alone, with their averages, the elements for which a sparse gradient has no value.

    Parameters
    ----------
    params : iterable
        Dense real parameters, pairs (name, parameter), or groups.
    lr : float or Tensor
        Learning rate.
    betas : (float, float)
        How much the two averages keep at each step.
    eps : float
        Added to the denominator.
    maximize : bool
        Go up instead of down.
    """

    rule = staticmethod(sparse_adam)
    takes_sparse = True

    def __init__(
        self,
        params: Iterable,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
    ):
        check_lr(lr)
        check_range(lr, 0.0 < lr, "learning rate")
        check_range(eps, 0.0 < eps, "epsilon value")
        check_betas(betas)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})
        places = [(i, j, p) for i, group in enumerate(self.param_groups) for j, p in enumerate(group["params"])]
        for what, found, refused in (
            ("Sparse", [[i, j] for i, j, p in places if p.is_sparse], "requires dense parameter tensors"),
            ("Complex", [[i, j] for i, j, p in places if p.is_complex()], "does not support complex parameters"),
        ):
            if found:
                fail(ValueError, f"{what} params at indices {found}: SparseAdam {refused}")

    def state_names(self, group):
        for param in group["params"]:
            if param.grad is not None and not param.grad.is_sparse:
                fail(RuntimeError, "SparseAdam does not support dense gradients, please consider Adam instead")
        return ("exp_avg", "exp_avg_sq")

    def options(self, group) -> dict[str, Any]:
        return {"maximize": bool(group["maximize"])}

    def scalars(self, group, step):
        beta1, beta2 = group["betas"]
        rate = group["lr"] * (1 - beta2**step) ** 0.5 / (1 - beta1**step)
        return {"rate": rate, "beta1": beta1, "beta2": beta2, "eps": group["eps"]}
