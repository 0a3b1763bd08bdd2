"""NAdam."""

from collections.abc import Iterable
from typing import Any

from facula.core.tensor import Tensor
from facula.operators import tensor
from facula.operators.promotion import DEFAULT

from .optimizer import RuleOptimizer, check_betas, check_lr, check_range, number

__all__ = ["NAdam"]


def nadam(
    f, param, grad, m, v, *, maximize, decay, weight_decay, keep, rate1, beta2, rate2, correction2, eps, now, ahead
):
    """Dozat (2016): Adam whose momentum looks one step ahead."""
    if maximize:
        grad = -grad
    if decay == "decoupled":
        param = param * keep  # 1 - lr * weight_decay
    elif decay == "coupled":
        grad = grad + weight_decay * param
    m = m + rate1 * (grad - m)  # rate1 = 1 - beta1
    v = v * beta2 + rate2 * grad * grad
    denominator = f.sqrt(v / correction2) + eps
    return param - now * grad / denominator - ahead * m / denominator, m, v


class NAdam(RuleOptimizer):
    """Adam with Nesterov momentum.

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
    momentum_decay : float
        How fast the momentum grows to beta1.
    decoupled_weight_decay : bool
        Shrink the parameters directly, as AdamW does.
    foreach, maximize, capturable, differentiable :
        As in `Adam`.
    """

    rule = staticmethod(nadam)
    number_names = ("mu_product",)
    old_options = {
        "maximize": False,
        "foreach": None,
        "capturable": False,
        "differentiable": False,
        "decoupled_weight_decay": False,
    }

    def __init__(
        self,
        params: Iterable,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
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
        check_range(momentum_decay, momentum_decay >= 0.0, "momentum_decay value")
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def state_names(self, group):
        return ("exp_avg", "exp_avg_sq")

    def new_state(self, group, param):
        state = super().new_state(group, param)
        where = param.device if group["capturable"] else None
        return {"step": state.pop("step"), "mu_product": tensor(1.0, dtype=DEFAULT.float, device=where), **state}

    def options(self, group) -> dict[str, Any]:
        decay = "decoupled" if group["decoupled_weight_decay"] else "coupled"
        return {"maximize": bool(group["maximize"]), "decay": decay if group["weight_decay"] != 0 else None}

    @staticmethod
    def _momentum(group, step):
        return group["betas"][0] * (1.0 - 0.5 * 0.96 ** (step * group["momentum_decay"]))

    def numbers(self, group, state, step):
        product = state["mu_product"]
        if product.device.type == "cpu":
            product *= self._momentum(group, number(step))
        else:
            self._put_number(product, self._number_in(product) * self._momentum(group, number(step)))
        return (self._number_in(product),)

    def scalars(self, group, step, product):
        beta1, beta2 = group["betas"]
        lr, weight_decay = group["lr"], group["weight_decay"]
        momentum, coming = self._momentum(group, step), self._momentum(group, step + 1)
        return {
            "weight_decay": weight_decay,
            "keep": 1 - lr * weight_decay,
            "rate1": 1 - beta1,
            "beta2": beta2,
            "rate2": 1 - beta2,
            "correction2": 1 - beta2**step,
            "eps": group["eps"],
            "now": lr * (1.0 - momentum) / (1.0 - product),
            "ahead": lr * coming / (1.0 - product * coming),
        }
