"""Adafactor."""

from collections.abc import Iterable
from typing import Any

from facula.autograd import no_grad
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.operators import finfo, norm, tensor, zeros_like
from facula.operators.promotion import DEFAULT

from .optimizer import Optimizer, check_dense, check_lr, evaluate, number

__all__ = ["Adafactor"]


def _mean_square(x: Tensor, dim: int) -> Tensor:
    return norm(x, dim=dim, keepdim=True).square_().div_(x.size(dim))


def _size(x: Tensor) -> float:
    """Root mean square of all elements."""
    return x.norm(2).item() / x.numel() ** 0.5


class Adafactor(Optimizer):
    """Adam with little memory: of a matrix's squared gradients it keeps the means of rows and columns
    (Shazeer and Stern, 2018).

    Parameters
    ----------
    params : iterable
        Parameters, pairs (name, parameter), or groups.
    lr : float or Tensor
        The largest relative step.
    beta2_decay : float
        At step t the averages keep 1 - t ** beta2_decay.
    eps : (float or None, float)
        The smallest divisor (None: the dtype's epsilon) and the smallest size that a parameter is taken to have.
    d : float
        Updates whose root mean square is larger are scaled down to it.
    weight_decay : float
        Decoupled weight decay.
    foreach : bool, optional
        Accepted; there is one implementation.
    maximize : bool
        Go up instead of down.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ):
        check_lr(lr, "Learning rate should be >= 0 but is: ")
        for value, valid, what in (
            (beta2_decay, beta2_decay <= 0.0, "beta2_decay should be <= 0"),
            (eps[0], eps[0] is None or eps[0] >= 0.0, "epsilon1 should be >= 0"),
            (eps[1], eps[1] >= 0.0, "epsilon2 should be >= 0"),
            (d, d >= 1.0, "Clipping threshold d should be >= 1"),
            (weight_decay, weight_decay >= 0.0, "weight_decay should be >= 0"),
        ):
            if not valid:
                fail(ValueError, f"{what} but is: {value}")
        defaults = {
            "lr": lr,
            "beta2_decay": beta2_decay,
            "eps": eps,
            "d": d,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("foreach", None)

    @staticmethod
    def _new_state(grad: Tensor) -> dict[str, Tensor]:
        count = {"step": tensor(0.0, dtype=DEFAULT.float)}
        if grad.dim() <= 1:
            return {**count, "variance": zeros_like(grad)}
        *batch, rows, columns = grad.shape
        return {**count, "row_var": grad.new_zeros([*batch, rows, 1]), "col_var": grad.new_zeros([*batch, 1, columns])}

    def step(self, closure=None) -> Any:
        """Update the parameters once; `closure`, if given, evaluates the model and returns the loss."""
        loss = evaluate(closure)
        with no_grad():
            for group in self.param_groups:
                for param in group["params"]:
                    if param.grad is not None:
                        check_dense(self, param)
                        self._update(group, param, -param.grad if group["maximize"] else param.grad)
        return loss

    def _update(self, group: dict, param: Tensor, grad: Tensor) -> None:
        state = self.state[param]
        if not state:
            state.update(self._new_state(grad))
        state["step"] += 1
        step, lr = state["step"].item(), number(group["lr"])
        rate = step ** group["beta2_decay"]
        smallest, least_size = group["eps"]
        if smallest is None:
            smallest = finfo(param.dtype).eps
        length = max(least_size, _size(param)) * min(lr, 1 / step**0.5)
        if group["weight_decay"] != 0:
            param.mul_(1 - lr * group["weight_decay"])
        if grad.dim() > 1:
            rows, columns = state["row_var"], state["col_var"]
            rows.lerp_(_mean_square(grad, -1), rate)
            columns.lerp_(_mean_square(grad, -2), rate)
            variance = (rows @ columns).div_(rows.mean(dim=-2, keepdim=True).clamp_(min=smallest))
        else:
            variance = state["variance"].lerp_(grad * grad, rate)
        update = variance.clamp(min=smallest * smallest).rsqrt_().mul_(grad)
        param.sub_(update.mul_(length / max(1.0, _size(update) / group["d"])))
