"""A weight as its length times its direction, computed before each forward (Salimans and Kingma, 2016)."""

import warnings
from typing import Any

from facula.core.tensor import Tensor
from facula.errors import fail
from facula.operators import linalg

from ..module import Module
from ..parameter import Parameter, is_lazy

__all__ = ["WeightNorm", "remove_weight_norm", "weight_norm"]


def norm_except_dim(v: Tensor, power: float = 2, dim: int = 0) -> Tensor:
    """The norms over all dims but `dim`, which keep their places; of all elements, a number, where `dim` is -1."""
    if dim == -1:
        return linalg.vector_norm(v, power)
    return linalg.vector_norm(v, power, [d for d in range(v.dim()) if d != dim % v.dim()], keepdim=True)


def with_length(v: Tensor, g: Tensor, dim: int) -> Tensor:
    """g * v / |v|."""
    return v * (g / norm_except_dim(v, 2, dim))


class WeightNorm:
    """The hook: sets the attribute `name` of a module from its parameters `name_g` and `name_v`."""

    def __init__(self, name: str, dim: int | None) -> None:
        self.name = name
        self.dim = -1 if dim is None else dim

    def compute_weight(self, module: Module) -> Any:
        """g * v / |v|."""
        return with_length(getattr(module, self.name + "_v"), getattr(module, self.name + "_g"), self.dim)

    @staticmethod
    def apply(module: Module, name: str, dim: int | None) -> "WeightNorm":
        """Replace the parameter `name` by its length and direction."""
        warnings.warn(
            "`torch.nn.utils.weight_norm` is deprecated in favor of `torch.nn.utils.parametrizations.weight_norm`.",
            FutureWarning,
            stacklevel=3,
        )
        if _hook(module, name) is not None:
            fail(RuntimeError, f"Cannot register two weight_norm hooks on the same parameter {name}")
        hook = WeightNorm(name, dim)
        weight = getattr(module, name)
        if is_lazy(weight):
            fail(
                ValueError,
                "The module passed to `WeightNorm` can't have uninitialized parameters. Make sure to run the dummy "
                "forward before applying weight normalization",
            )
        del module._parameters[name]
        module.register_parameter(name + "_g", Parameter(norm_except_dim(weight, 2, hook.dim).data))
        module.register_parameter(name + "_v", Parameter(weight.data))
        setattr(module, name, hook.compute_weight(module))
        module.register_forward_pre_hook(hook)
        return hook

    def remove(self, module: Module) -> None:
        """Make the weight a parameter again."""
        weight = self.compute_weight(module)
        delattr(module, self.name)
        for end in ("_g", "_v"):
            del module._parameters[self.name + end]
        setattr(module, self.name, Parameter(weight.data))

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module))


def _hook(module: Module, name: str) -> int | None:
    """The key of the hook for this parameter."""
    hooks = module._forward_pre_hooks.items()
    return next((key for key, hook in hooks if isinstance(hook, WeightNorm) and hook.name == name), None)


def weight_norm(module, name: str = "weight", dim: int | None = 0):
    """Deprecated: `parametrizations.weight_norm`. The parameter `name` as length `name_g` and direction `name_v`."""
    WeightNorm.apply(module, name, dim)
    return module


def remove_weight_norm(module, name: str = "weight"):
    """Undo `weight_norm`."""
    key = _hook(module, name)
    if key is None:
        fail(ValueError, f"weight_norm of '{name}' not found in {module}")
    module._forward_pre_hooks.pop(key).remove(module)
    return module
