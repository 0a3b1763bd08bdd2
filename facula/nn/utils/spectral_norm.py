"""A weight divided by its largest singular value, estimated before each forward (Miyato et al., 2018)."""

from typing import Any

from facula.autograd import no_grad
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.operators import dot, linalg, mv

from .. import functional as F
from ..convolution import _ConvTransposeNd
from ..module import Module
from ..parameter import Parameter, is_lazy

__all__ = [
    "SpectralNorm",
    "SpectralNormLoadStateDictPreHook",
    "SpectralNormStateDictHook",
    "remove_spectral_norm",
    "spectral_norm",
]


def as_matrix(weight: Tensor, dim: int) -> Tensor:
    """The weight with `dim` first and all others as one."""
    if dim != 0:
        weight = weight.permute(dim, *(d for d in range(weight.dim()) if d != dim))
    return weight.reshape(weight.shape[0], -1)


def output_dim(module: Module, dim: int | None) -> int:
    """`dim`, or that of the outputs in the module's weight."""
    return dim if dim is not None else 1 if isinstance(module, _ConvTransposeNd) else 0


def direction(like: Tensor, size: int, eps: float) -> Tensor:
    """A random vector of length 1."""
    return F.normalize(like.new_empty(size).normal_(0, 1), dim=0, eps=eps)


class SpectralNorm:
    """The hook: sets the attribute `name` of a module to `name_orig` divided by its largest singular value.

    The singular vectors `name_u` and `name_v` are buffers, improved by `n_power_iterations` steps in training.
    """

    _version: int = 1

    def __init__(self, name: str = "weight", n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        if n_power_iterations <= 0:
            fail(
                ValueError,
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}",
            )
        self.name = name
        self.dim = dim
        self.n_power_iterations = n_power_iterations
        self.eps = eps

    def reshape_weight_to_matrix(self, weight: Tensor) -> Tensor:
        """The weight with `dim` first and all others as one."""
        return as_matrix(weight, self.dim)

    def compute_weight(self, module: Module, do_power_iteration: bool) -> Tensor:
        """W / (u^T W v)."""
        weight, u, v = (getattr(module, self.name + end) for end in ("_orig", "_u", "_v"))
        matrix = self.reshape_weight_to_matrix(weight)
        if do_power_iteration:
            with no_grad():
                for _ in range(self.n_power_iterations):
                    v.copy_(F.normalize(mv(matrix.t(), u), dim=0, eps=self.eps))
                    u.copy_(F.normalize(mv(matrix, v), dim=0, eps=self.eps))
                u, v = u.clone(), v.clone()  # the next forward changes the buffers
        return weight / dot(u, mv(matrix, v))

    def remove(self, module: Module) -> None:
        """Make the weight a parameter again."""
        with no_grad():
            weight = self.compute_weight(module, do_power_iteration=False)
        for end in ("", "_u", "_v", "_orig"):
            delattr(module, self.name + end)
        module.register_parameter(self.name, Parameter(weight.detach()))

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module, do_power_iteration=module.training))

    def _solve_v_and_rescale(self, matrix: Tensor, u: Tensor, sigma: Tensor) -> Tensor:
        """v with u = W v / |W v| and u^T W v = sigma."""
        v = mv(linalg.pinv(matrix.t() @ matrix), mv(matrix.t(), u))
        return v * (sigma / dot(u, mv(matrix, v)))

    @staticmethod
    def apply(module: Module, name: str, n_power_iterations: int, dim: int, eps: float) -> "SpectralNorm":
        """Replace the parameter `name`."""
        if _key(module._forward_pre_hooks, SpectralNorm, name) is not None:
            fail(RuntimeError, f"Cannot register two spectral_norm hooks on the same parameter {name}")
        hook = SpectralNorm(name, n_power_iterations, dim, eps)
        weight = module._parameters[name]
        if weight is None:
            fail(ValueError, f"`SpectralNorm` cannot be applied as parameter `{name}` is None")
        if is_lazy(weight):
            fail(
                ValueError,
                "The module passed to `SpectralNorm` can't have uninitialized parameters. Make sure to run the dummy "
                "forward before applying spectral normalization",
            )
        with no_grad():
            height, width = hook.reshape_weight_to_matrix(weight).shape
            u, v = direction(weight, height, eps), direction(weight, width, eps)
        delattr(module, name)
        module.register_parameter(name + "_orig", weight)
        setattr(module, name, weight.data)
        module.register_buffer(name + "_u", u)
        module.register_buffer(name + "_v", v)
        module.register_forward_pre_hook(hook)
        module._register_state_dict_hook(SpectralNormStateDictHook(hook))
        module._register_load_state_dict_pre_hook(SpectralNormLoadStateDictPreHook(hook))
        return hook


class SpectralNormLoadStateDictPreHook:
    """Loads states of version 0, which had the weight itself and no v."""

    def __init__(self, fn: SpectralNorm) -> None:
        self.fn = fn

    @property
    def name(self) -> str:
        return self.fn.name

    def __call__(self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs) -> None:
        fn, key = self.fn, prefix + self.fn.name
        version = local_metadata.get("spectral_norm", {}).get(fn.name + ".version")
        if version is not None and version >= 1:
            return
        new = all(key + end in state_dict for end in ("_orig", "_u", "_v")) and key not in state_dict
        if version is None and new:
            return
        missing = [key + end for end in ("_orig", "", "_u") if key + end not in state_dict]
        if missing:
            missing_keys.extend(missing if strict else ())
            return
        with no_grad():
            original, u = state_dict[key + "_orig"], state_dict[key + "_u"]
            sigma = (original / state_dict.pop(key)).mean()
            state_dict[key + "_v"] = fn._solve_v_and_rescale(fn.reshape_weight_to_matrix(original), u, sigma)


class SpectralNormStateDictHook:
    """Writes the version into the metadata of states."""

    def __init__(self, fn: SpectralNorm) -> None:
        self.fn = fn

    @property
    def name(self) -> str:
        return self.fn.name

    def __call__(self, module, state_dict, prefix, local_metadata) -> None:
        versions = local_metadata.setdefault("spectral_norm", {})
        key = self.fn.name + ".version"
        if key in versions:
            fail(RuntimeError, f"Unexpected key in metadata['spectral_norm']: {key}")
        versions[key] = self.fn._version


def _key(hooks: dict, kind: type, name: str) -> int | None:
    """The key of the hook of this kind for this parameter; load hooks are wrapped."""
    for key, hook in hooks.items():
        hook = getattr(hook, "hook", hook)
        if isinstance(hook, kind) and getattr(hook, "name", None) == name:
            return key
    return None


def spectral_norm(
    module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
):
    """The older form of `parametrizations.spectral_norm`: a hook divides the weight before each forward."""
    SpectralNorm.apply(module, name, n_power_iterations, output_dim(module, dim), eps)
    return module


def remove_spectral_norm(module, name: str = "weight"):
    """Undo `spectral_norm`."""
    tables = (
        (module._forward_pre_hooks, SpectralNorm),
        (module._state_dict_hooks, SpectralNormStateDictHook),
        (module._load_state_dict_pre_hooks, SpectralNormLoadStateDictPreHook),
    )
    key = _key(*tables[0], name)
    if key is None:
        fail(ValueError, f"spectral_norm of '{name}' not found in {module}")
    module._forward_pre_hooks[key].remove(module)
    for hooks, kind in tables:
        key = _key(hooks, kind, name)
        if key is not None:
            del hooks[key]
    return module
