"""Parameters some of whose elements stay zero: `name` is `name_orig * name_mask`, computed before each forward."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from numbers import Integral, Real
from typing import Any

from facula import operators as ops
from facula.core.tensor import Tensor
from facula.errors import fail

from ..module import Module
from .convert_parameters import parameters_to_vector

__all__ = [
    "BasePruningMethod",
    "CustomFromMask",
    "Identity",
    "L1Unstructured",
    "LnStructured",
    "PruningContainer",
    "RandomStructured",
    "RandomUnstructured",
    "custom_from_mask",
    "global_unstructured",
    "identity",
    "is_pruned",
    "l1_unstructured",
    "ln_structured",
    "random_structured",
    "random_unstructured",
    "remove",
]


def _same_shape(scores: Tensor, other: Tensor, what: str) -> None:
    if scores.shape != other.shape:
        fail(
            AssertionError,
            f"importance_scores should have the same shape as {what}, got {scores.shape} vs {other.shape}",
        )


class BasePruningMethod(ABC):
    """The hook that multiplies by the mask; a subclass says in `compute_mask` which elements stay.

    `PRUNING_TYPE` is "unstructured" (single elements), "structured" (slices along `dim`) or "global".
    """

    PRUNING_TYPE: str
    _tensor_name: str

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self._tensor_name, self.apply_mask(module))

    @abstractmethod
    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """1 for elements of `t` that stay, 0 for others; never 1 where `default_mask` is 0."""

    def apply_mask(self, module: Module) -> Tensor:
        """The parameter times its mask."""
        if self._tensor_name is None:
            fail(AssertionError, f"Module {module} has to be pruned")
        mask, original = (getattr(module, self._tensor_name + end) for end in ("_mask", "_orig"))
        return mask.to(dtype=original.dtype) * original

    @classmethod
    def _with_earlier(cls, module: Module, name: str, *args: Any, **kwargs: Any) -> "BasePruningMethod":
        """A new method, or a container of it and of those already at work on this parameter."""
        keys = _hooks(module, name)
        if len(keys) > 1:
            fail(
                AssertionError,
                f"Avoid adding multiple pruning hooks to the same tensor {name} of module {module}. Use a "
                "PruningContainer.",
            )
        method = cls(*args, **kwargs)
        method._tensor_name = name
        if not keys:
            return method
        earlier: Any = module._forward_pre_hooks.pop(keys[0])
        container = earlier if isinstance(earlier, PruningContainer) else PruningContainer(earlier)
        container.add_pruning_method(method)
        return container

    @classmethod
    def apply(cls, module: Module, name: str, *args: Any, importance_scores: Tensor | None = None, **kwargs: Any):
        """Prune the parameter `name`; `importance_scores` are looked at instead of its values."""
        method = cls._with_earlier(module, name, *args, **kwargs)
        original = getattr(module, name)
        if importance_scores is not None:
            _same_shape(importance_scores, original, f"parameter {name} of {module}")
        scores = original if importance_scores is None else importance_scores
        first = not isinstance(method, PruningContainer)
        if first:
            del module._parameters[name]
            module.register_parameter(name + "_orig", original)
            mask = ops.ones_like(original)
        else:
            mask = getattr(module, name + "_mask").detach().clone()
        try:
            module.register_buffer(name + "_mask", method.compute_mask(scores, default_mask=mask))
            setattr(module, name, method.apply_mask(module))
            module.register_forward_pre_hook(method)
        except Exception:
            if first:
                del module._parameters[name + "_orig"]
                module.register_parameter(name, original)
            raise
        return method

    def prune(self, t: Tensor, default_mask: Tensor | None = None, importance_scores: Tensor | None = None) -> Tensor:
        """`t` with the elements at zero that the method would take, no module needed."""
        if importance_scores is not None:
            _same_shape(importance_scores, t, "tensor t")
        mask = ops.ones_like(t) if default_mask is None else default_mask
        return t * self.compute_mask(t if importance_scores is None else importance_scores, default_mask=mask)

    def remove(self, module: Module) -> None:
        """Make the pruned values the parameter; the zeros stay, and may then be trained."""
        name = self._tensor_name
        if name is None:
            fail(AssertionError, f"Module {module} has to be pruned before pruning can be removed")
        weight = self.apply_mask(module)
        if hasattr(module, name):
            delattr(module, name)
        original: Any = module._parameters.pop(name + "_orig")
        original.data = weight.data
        del module._buffers[name + "_mask"]
        setattr(module, name, original)


def _hooks(module: Module, name: str | None = None) -> list[int]:
    """The keys of the pruning hooks of a module, of one parameter if `name` is given."""
    return [
        key
        for key, hook in module._forward_pre_hooks.items()
        if isinstance(hook, BasePruningMethod) and name in (None, hook._tensor_name)
    ]


class PruningContainer(BasePruningMethod):
    """Several methods for one parameter; each looks at what those before it left."""

    def __init__(self, *args: BasePruningMethod) -> None:
        self._pruning_methods: tuple[BasePruningMethod, ...] = ()
        if len(args) == 1:
            self._tensor_name = args[0]._tensor_name
        for method in args:
            self.add_pruning_method(method)

    def add_pruning_method(self, method: Any) -> None:
        """Add a method for the same parameter."""
        if not isinstance(method, BasePruningMethod):
            fail(TypeError, f"{type(method)} is not a BasePruningMethod subclass")
        if self._tensor_name != method._tensor_name:
            fail(
                ValueError,
                f"Can only add pruning methods acting on the parameter named '{self._tensor_name}' to "
                f"PruningContainer {self}. Found '{method._tensor_name}'",
            )
        self._pruning_methods += (method,)

    def __len__(self) -> int:
        return len(self._pruning_methods)

    def __iter__(self) -> Iterator[BasePruningMethod]:
        return iter(self._pruning_methods)

    def __getitem__(self, idx):
        return self._pruning_methods[idx]

    def _slice(self, method: Any, t: Tensor, mask: Tensor) -> Any:
        """The index of what the method may look at."""
        if method.PRUNING_TYPE == "unstructured":
            return mask == 1
        if method.PRUNING_TYPE == "global":
            return (slice(None),) * t.dim()
        if method.PRUNING_TYPE != "structured":
            fail(ValueError, f"Unrecognized PRUNING_TYPE {method.PRUNING_TYPE}")
        if not hasattr(method, "dim"):
            fail(
                AttributeError,
                'Pruning methods of PRUNING_TYPE "structured" need to have the attribute `dim` defined.',
            )
        if method.dim < -t.dim():
            fail(IndexError, f"Index is out of bounds for tensor with dimensions {t.dim()}")
        dim = method.dim % t.dim()
        alive = mask.sum(dim=[d for d in range(t.dim()) if d != dim]) != 0
        return (slice(None),) * dim + (alive,)

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        method = self._pruning_methods[-1]
        where = self._slice(method, t, default_mask)
        mask = default_mask.to(dtype=t.dtype).clone()
        mask[where] = method.compute_mask(t[where], default_mask=default_mask[where]).to(dtype=mask.dtype)
        return mask


class Identity(BasePruningMethod):
    """Nothing is taken: the parameter only gets a mask of ones."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return default_mask

    @classmethod
    def apply(cls, module: Module, name: str):
        """Prune the parameter `name` of nothing."""
        return super().apply(module, name)


class _ByAmount(BasePruningMethod):
    """`amount` elements or slices are taken: a number of them, or a share of all."""

    def __init__(self, amount: Any) -> None:
        if not isinstance(amount, Real):
            fail(TypeError, f"Invalid type for amount: {amount}. Must be int or float.")
        if not 0 <= float(amount) <= (float("inf") if isinstance(amount, Integral) else 1):
            fail(
                ValueError,
                f"amount={amount} should either be a float in the range [0, 1] or a non-negative integer",
            )
        self.amount: Any = amount

    def _number(self, size: int) -> int:
        if not isinstance(self.amount, Integral):
            return round(self.amount * size)
        number = int(self.amount)
        if number > size:
            fail(ValueError, f"amount={number} should be smaller than the number of parameters to prune={size}")
        return number


class _Unstructured(_ByAmount):
    PRUNING_TYPE = "unstructured"

    def _taken(self, t: Tensor, number: int) -> Tensor:
        """The flat indices of what is taken."""
        raise NotImplementedError

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        number = self._number(t.numel())
        mask = default_mask.clone()
        if number:
            mask.view(-1)[self._taken(t, number)] = 0
        return mask


class RandomUnstructured(_Unstructured):
    """Elements taken at random."""

    def _taken(self, t: Tensor, number: int) -> Tensor:
        return ops.topk(ops.rand_like(t).view(-1), number).indices

    @classmethod
    def apply(cls, module: Module, name: str, amount):
        """Prune the parameter `name`."""
        return super().apply(module, name, amount=amount)


class L1Unstructured(_Unstructured):
    """The elements of the smallest absolute values."""

    def _taken(self, t: Tensor, number: int) -> Tensor:
        return ops.topk(t.abs().view(-1), number, largest=False).indices

    @classmethod
    def apply(cls, module: Module, name: str, amount, importance_scores: Tensor | None = None):
        """Prune the parameter `name`."""
        return super().apply(module, name, amount=amount, importance_scores=importance_scores)


class _Structured(_ByAmount):
    """Slices along `dim`."""

    PRUNING_TYPE = "structured"

    def __init__(self, amount: Any, dim: int = -1) -> None:
        super().__init__(amount)
        self.dim = dim

    def _kept(self, t: Tensor, number: int) -> Tensor:
        """The index, along `dim`, of the slices that stay when `number` are taken."""
        raise NotImplementedError

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        if t.dim() <= 1:
            fail(
                ValueError,
                "Structured pruning can only be applied to multidimensional tensors. Found tensor of shape "
                f"{t.shape} with {t.dim()} dims",
            )
        if self.dim >= t.dim():
            fail(IndexError, f"Invalid index {self.dim} for tensor of size {t.shape}")
        number = self._number(t.shape[self.dim])
        if number == 0:
            return default_mask
        mask = ops.zeros_like(t)
        mask[(slice(None),) * (self.dim % t.dim()) + (self._kept(t, number),)] = 1
        return mask * default_mask.to(dtype=mask.dtype)


class RandomStructured(_Structured):
    """Slices taken at random."""

    def _kept(self, t: Tensor, number: int) -> Tensor:
        drawn = ops.rand(t.shape[self.dim])
        return drawn > ops.kthvalue(drawn, number).values

    @classmethod
    def apply(cls, module: Module, name: str, amount, dim: int = -1):
        """Prune the parameter `name`."""
        return super().apply(module, name, amount=amount, dim=dim)


class LnStructured(_Structured):
    """The slices of the smallest norms, of order `n`."""

    def __init__(self, amount: Any, n: Any, dim: int = -1) -> None:
        super().__init__(amount, dim)
        self.n = n

    def _kept(self, t: Tensor, number: int) -> Tensor:
        norms = ops.norm(t, p=self.n, dim=[d for d in range(t.dim()) if d != self.dim % t.dim()])
        return ops.topk(norms, t.shape[self.dim] - number).indices

    @classmethod
    def apply(cls, module: Module, name: str, amount, n, dim, importance_scores: Tensor | None = None):
        """Prune the parameter `name`."""
        return super().apply(module, name, amount=amount, n=n, dim=dim, importance_scores=importance_scores)


class CustomFromMask(BasePruningMethod):
    """The elements where `mask` is 0."""

    PRUNING_TYPE = "global"

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        if default_mask.shape != self.mask.shape:
            fail(
                AssertionError,
                f"default_mask shape {default_mask.shape} must match self.mask shape {self.mask.shape}",
            )
        return default_mask * self.mask.to(dtype=default_mask.dtype)

    @classmethod
    def apply(cls, module: Module, name: str, mask: Tensor):
        """Prune the parameter `name`."""
        return super().apply(module, name, mask=mask)


def identity(module, name):
    """Give the parameter `name` a mask of ones."""
    Identity.apply(module, name)
    return module


def random_unstructured(module, name, amount):
    """Take `amount` elements of the parameter `name` at random."""
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(module, name, amount, importance_scores=None):
    """Take the `amount` elements of the parameter `name` of the smallest absolute values."""
    L1Unstructured.apply(module, name, amount=amount, importance_scores=importance_scores)
    return module


def random_structured(module, name, amount, dim):
    """Take `amount` slices along `dim` of the parameter `name` at random."""
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(module, name, amount, n, dim, importance_scores=None):
    """Take the `amount` slices along `dim` of the parameter `name` of the smallest norms of order `n`."""
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def custom_from_mask(module, name, mask):
    """Take the elements of the parameter `name` where `mask` is 0."""
    CustomFromMask.apply(module, name, mask)
    return module


def global_unstructured(parameters, pruning_method, importance_scores=None, **kwargs) -> None:
    """Take elements of several parameters together, as if they were one vector.

    Parameters
    ----------
    parameters : iterable of (Module, str)
    pruning_method : type
        An unstructured method; further arguments go to it.
    importance_scores : dict, optional
        By pair (Module, str), looked at instead of the values.
    """
    if not isinstance(parameters, Iterable):
        fail(TypeError, "global_unstructured(): parameters is not an Iterable")
    parameters = list(parameters)
    scores = {} if importance_scores is None else importance_scores
    if not isinstance(scores, dict):
        fail(TypeError, "global_unstructured(): importance_scores must be of type dict")
    values = parameters_to_vector([scores.get(pair, getattr(*pair)) for pair in parameters])
    mask = parameters_to_vector(
        [getattr(module, name + "_mask", ops.ones_like(getattr(module, name))) for module, name in parameters]
    )
    method = pruning_method(**kwargs)
    if method.PRUNING_TYPE != "unstructured":
        fail(
            TypeError,
            'Only "unstructured" PRUNING_TYPE supported for the `pruning_method`. Found method '
            f"{pruning_method} of type {method.PRUNING_TYPE}",
        )
    container = PruningContainer()
    container._tensor_name = method._tensor_name = "temp"
    container.add_pruning_method(method)
    mask, start = container.compute_mask(values, mask), 0
    for module, name in parameters:
        parameter = getattr(module, name)
        end = start + parameter.numel()
        custom_from_mask(module, name, mask=mask[start:end].view_as(parameter))
        start = end


def remove(module, name):
    """Make the pruned values of the parameter `name` the parameter."""
    keys = _hooks(module, name)
    if not keys:
        fail(ValueError, f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed")
    module._forward_pre_hooks[keys[0]].remove(module)
    del module._forward_pre_hooks[keys[0]]
    return module


def is_pruned(module) -> bool:
    """Whether any parameter of the module, or of one below it, is pruned."""
    return any(_hooks(submodule) for submodule in module.modules())
