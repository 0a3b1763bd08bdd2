"""SparseAdam: Adam for gradients that hold some rows alone."""

from collections.abc import Iterable
from typing import Any

from facula.core.tensor import Tensor
from facula.errors import fail

from .optimizer import Optimizer, check_betas, check_lr, check_range, evaluate

__all__ = ["SparseAdam"]


class SparseAdam(Optimizer):
    """Adam that leaves alone, with their averages, the elements for which a sparse gradient has no value.

    No tensor is sparse yet, so that no gradient is one that this optimizer takes: its step says so.

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

    def step(self, closure=None) -> Any:
        """Update the parameters once; RuntimeError for a dense gradient."""
        loss = evaluate(closure)
        if any(param.grad is not None for group in self.param_groups for param in group["params"]):
            fail(RuntimeError, "SparseAdam does not support dense gradients, please consider Adam instead")
        return loss
