"""Adam and AdamW."""

from collections.abc import Iterable
from typing import Any

from facula.core.tensor import Tensor
from facula.errors import fail

from .optimizer import RuleOptimizer, check_betas, check_fused, check_lr, check_range

__all__ = ["Adam", "AdamW"]


def adam(
    f, param, grad, m, v, v_max=None, *,
    maximize, decay, amsgrad, weight_decay, keep, rate1, beta2, rate2, eps, step_size, root_correction2,
):  # fmt: skip
    """Kingma and Ba (2015); with `decay="decoupled"` Loshchilov and Hutter (2019); `amsgrad`: Reddi et al. (2018)."""
    if maximize:
        grad = -grad
    if decay == "decoupled":
        param = param * keep  # 1 - lr * weight_decay
    elif decay == "coupled":
        grad = grad + weight_decay * param
    m = m + rate1 * (grad - m)  # rate1 = 1 - beta1
    v = v * beta2 + rate2 * grad * grad
    largest = v_max = f.maximum(v_max, v) if amsgrad else v
    denominator = f.sqrt(largest) / root_correction2 + eps
    param = param - step_size * m / denominator
    return (param, m, v, v_max) if amsgrad else (param, m, v)


class Adam(RuleOptimizer):
    """Adaptive moments: each element has its own step, from running averages of its gradient and its square.

    Parameters
    ----------
    params : iterable
        Parameters, pairs (name, parameter), or groups.
    lr : float or Tensor
        Learning rate.
    betas : (float, float) or (Tensor, Tensor)
        How much the two averages keep at each step.
    eps : float
        Added to the denominator.
    weight_decay : float
        L2 penalty.
    amsgrad : bool
        Divide by the largest average so far.
    maximize : bool
        Go up instead of down.
    foreach, fused : bool, optional
        Accepted; there is one implementation.
    capturable : bool
        Keep the step counter on the GPU.
    differentiable : bool
        Whether autograd goes through the step.
    decoupled_weight_decay : bool
        Shrink the parameters directly, as AdamW does.
    """

    rule = staticmethod(adam)
    no_sparse = "Adam does not support sparse gradients, please consider SparseAdam instead"
    old_options = {
        "amsgrad": False,
        "maximize": False,
        "foreach": None,
        "capturable": False,
        "differentiable": False,
        "decoupled_weight_decay": False,
        "fused": None,
    }

    def __init__(
        self,
        params: Iterable,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ):
        self._check_tensor("lr", lr, foreach, capturable)
        check_lr(lr)
        check_range(eps, eps >= 0.0, "epsilon value")
        check_betas(betas)
        check_range(weight_decay, weight_decay >= 0.0, "weight_decay value")
        kinds = [float if isinstance(beta, float) else Tensor if isinstance(beta, Tensor) else None for beta in betas]
        if kinds[0] is None or kinds[0] is not kinds[1]:
            fail(ValueError, "betas must be either both floats or both Tensors", got=betas)
        for i, beta in enumerate(betas):
            self._check_tensor(f"betas[{i}]", beta, foreach, capturable)
        defaults = {
            "lr": lr,
            "betas": tuple(beta.squeeze() if isinstance(beta, Tensor) and beta.dim() else beta for beta in betas),
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)
        check_fused(self, fused, foreach, differentiable)

    @staticmethod
    def _check_tensor(name, value, foreach, capturable):
        if isinstance(value, Tensor):
            if foreach and not capturable:
                fail(ValueError, f"{name} as a Tensor is not supported for capturable=False and foreach=True")
            if value.numel() != 1:
                fail(ValueError, f"Tensor {name} must be 1-element", got=f"shape {tuple(value.shape)}")

    def state_names(self, group):
        return ("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if group["amsgrad"] else ("exp_avg", "exp_avg_sq")

    def options(self, group) -> dict[str, Any]:
        decay = "decoupled" if group["decoupled_weight_decay"] else "coupled"
        return {
            "maximize": bool(group["maximize"]),
            "decay": decay if group["weight_decay"] != 0 else None,
            "amsgrad": bool(group["amsgrad"]),
        }

    def scalars(self, group, step):
        beta1, beta2 = group["betas"]
        lr, weight_decay = group["lr"], group["weight_decay"]
        return {
            "weight_decay": weight_decay,
            "keep": 1 - lr * weight_decay,
            "rate1": 1 - beta1,
            "beta2": beta2,
            "rate2": 1 - beta2,
            "eps": group["eps"],
            "step_size": lr / (1 - beta1**step),
            "root_correction2": (1 - beta2**step) ** 0.5,
        }


class AdamW(Adam):
    """Adam with decoupled weight decay: the parameters shrink by themselves, not through the averages.

    Parameters are those of `Adam`; `weight_decay` is 0.01 unless given.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )

    def __setstate__(self, state):
        super().__setstate__(state)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True
