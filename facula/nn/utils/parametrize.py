"""Parameters computed from others each time they are read: `module.weight` becomes f(original)."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from facula.autograd import no_grad
from facula.core.tensor import Tensor
from facula.errors import fail

from ..container import ModuleDict, ModuleList
from ..module import Module
from ..parameter import Parameter

__all__ = [
    "ParametrizationList",
    "cached",
    "is_parametrized",
    "register_parametrization",
    "remove_parametrizations",
    "transfer_parametrizations_and_params",
    "type_before_parametrizations",
]


class Cache:
    """Values read inside of `cached`, by module and name; `depth` counts the open blocks."""

    def __init__(self):
        self.depth = 0
        self.values: dict[tuple[int, str], Tensor] = {}


CACHE = Cache()


@contextmanager
def cached() -> Iterator[None]:
    """Within the block each parametrized tensor is computed once, however often it is read."""
    CACHE.depth += 1
    try:
        yield
    finally:
        CACHE.depth -= 1
        if not CACHE.depth:
            CACHE.values.clear()


def _register(module: Module, name: str, value: Tensor) -> None:
    if isinstance(value, Parameter):
        module.register_parameter(name, value)
    else:
        module.register_buffer(name, value)


def _set(target: Tensor, values: Any) -> None:
    """Make `target` show other values, without history."""
    with no_grad():
        target.data = values.detach()


def _need(kind: type[Exception], condition: bool, message: str) -> None:
    if not condition:
        fail(kind, message)


def _is_tensor(value: Any, message: str, end: str = ".") -> None:
    _need(ValueError, isinstance(value, Tensor), f"{message} {type(value).__name__}{end}")


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, applied one after the other to `original` (or `original0`, `original1`, ...).

    Parameters
    ----------
    modules : sequence of Module
        Their `right_inverse`, where there is one, says which originals give the present values.
    original : Tensor
        The tensor that is parametrized.
    unsafe : bool
        Whether dtype and shape may change.
    """

    original: Tensor

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False) -> None:
        _need(ValueError, len(modules) > 0, "ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        shape, dtype = original.shape, original.dtype
        new: Any = original
        with no_grad():
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    try:
                        new = module.right_inverse(new)
                    except NotImplementedError:
                        pass
        self.is_tensor = isinstance(new, Tensor)
        _need(
            ValueError,
            self.is_tensor or isinstance(new, Sequence),
            f"'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). Got {type(new).__name__}",
        )
        self.ntensors = 1 if self.is_tensor else len(new)
        if self.is_tensor:
            for what in ("dtype", "device"):
                before, after = getattr(original, what), getattr(new, what)
                _need(
                    ValueError,
                    before == after,
                    f"When `right_inverse` outputs one tensor, it may not change the {what}.\noriginal.{what}: "
                    f"{before}\nright_inverse(original).{what}: {after}",
                )
            if new is not original:
                _set(original, new)
            _register(self, "original", original)
        else:
            for i, part in enumerate(new):
                _is_tensor(
                    part,
                    "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). Got element "
                    f"{i} of the sequence with type",
                )
                if isinstance(original, Parameter):
                    part = Parameter(part, original.requires_grad)
                _register(self, f"original{i}", part.requires_grad_(original.requires_grad))
        if not unsafe:
            made = self()
            _is_tensor(made, "A parametrization must return a tensor. Got")
            for what, before in (("dtype", dtype), ("shape", shape)):
                _need(
                    ValueError,
                    getattr(made, what) == before,
                    f"Registering a parametrization may not change the {what} of the tensor, unless `unsafe` flag is "
                    f"enabled.\nunparametrized {what}: {before}\nparametrized {what}: {getattr(made, what)}",
                )

    def _originals(self) -> list[Tensor]:
        return [self.original] if self.is_tensor else [getattr(self, f"original{i}") for i in range(self.ntensors)]

    def right_inverse(self, value: Tensor) -> None:
        """Change the originals so that the parametrized tensor has these values."""
        new: Any = value
        with no_grad():
            for module in reversed(list(self)):
                _need(
                    RuntimeError,
                    hasattr(module, "right_inverse"),
                    f"parametrization {type(module).__name__} does not implement right_inverse.",
                )
                new = module.right_inverse(new)
        if self.is_tensor:
            _is_tensor(new, "`right_inverse` should return a tensor. Got", "")
            _need(
                ValueError,
                new.dtype == self.original.dtype,
                f"The tensor returned by `right_inverse` has dtype {new.dtype} while `original` has dtype "
                f"{self.original.dtype}",
            )
            _set(self.original, new)
            return
        _need(
            ValueError,
            isinstance(new, Sequence),
            f"'right_inverse' must return a sequence of tensors. Got {type(new).__name__}.",
        )
        _need(
            ValueError,
            len(new) == self.ntensors,
            f"'right_inverse' must return a sequence of tensors of length {self.ntensors}. Got a sequence of length "
            f"{len(new)}.",
        )
        for i, (part, target) in enumerate(zip(new, self._originals())):
            _is_tensor(
                part,
                f"'right_inverse' must return a sequence of tensors or reference-type opaques. Got element {i} of type",
            )
            _need(
                ValueError,
                part.dtype == target.dtype,
                f"Tensor {i} returned by `right_inverse` has dtype {part.dtype} while `original{i}` has dtype "
                f"{target.dtype}",
            )
            _set(target, part)

    def forward(self) -> Tensor:
        first, *others = list(self)
        value = first(*self._originals())
        for module in others:
            value = module(value)
        return value


def _deepcopy(self, memo):
    made: Any = object.__new__(type(self))
    memo[id(self)] = made
    kind: Any = type(self).__bases__[0]
    made.__setstate__(copy.deepcopy(kind.__getstate__(self), memo))
    return made


def _getstate(self):
    fail(
        RuntimeError,
        "Serialization of parametrized modules is only supported through state_dict(). See:\n"
        "https://pytorch.org/tutorials/beginner/saving_loading_models.html"
        "#saving-loading-a-general-checkpoint-for-inference-and-or-resuming-training",
    )


def _inject_new_class(module: Any) -> None:
    """Give the module a class of its own, in which properties can stand."""
    kind = type(module)
    names: dict[str, Any] = {"__getstate__": _getstate}
    if not hasattr(kind, "__deepcopy__"):
        names["__deepcopy__"] = _deepcopy
    module.__class__ = type(f"Parametrized{kind.__name__}", (kind,), names)


def _inject_property(module: Module, name: str) -> None:
    """Make reading `module.name` compute it, and writing it invert that."""

    def read(self) -> Tensor:
        parametrization = self.parametrizations[name]
        if not CACHE.depth:
            return parametrization()
        key = (id(self), name)
        if key not in CACHE.values:
            CACHE.values[key] = parametrization()
        return CACHE.values[key]

    def write(self, value: Tensor) -> None:
        self.parametrizations[name].right_inverse(value)

    setattr(type(module), name, property(read, write))


def _check_next(module: Module, name: str, parametrization: Any) -> None:
    """ValueError where one more parametrization would change dtype or shape."""
    before = getattr(module, name)
    after = parametrization(before)
    _is_tensor(after, "A parametrization must return a tensor. Got")
    for what in ("dtype", "shape"):
        _need(
            ValueError,
            getattr(after, what) == getattr(before, what),
            f"Registering a parametrization may not change the {what} of the tensor, unless the `unsafe` flag is "
            f"enabled.\nmodule.{name}.{what}: {getattr(before, what)}\n"
            f"parametrization(module.{name}).{what}: {getattr(after, what)}",
        )
    if not hasattr(parametrization, "right_inverse"):
        return
    try:
        back = parametrization.right_inverse(after)
    except NotImplementedError:
        return
    _need(
        ValueError,
        isinstance(back, Tensor),
        f"parametrization.right_inverse must return a tensor. Got: {type(back).__name__}",
    )
    for what in ("dtype", "shape"):
        _need(
            ValueError,
            getattr(back, what) == getattr(before, what),
            f"The tensor returned by parametrization.right_inverse must have the same {what} as module.{name}, unless "
            f"the `unsafe` flag is enabled.\nmodule.{name}.{what}: {getattr(before, what)}\n"
            f"returned {what}: {getattr(back, what)}",
        )


def register_parametrization(module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False):
    """Make `module.<tensor_name>` the result of `parametrization`, of what it was before.

    Parameters
    ----------
    module : Module
    tensor_name : str
        A parameter or buffer; several parametrizations of one are applied in order of registration.
    parametrization : Module
        Takes the original; its `right_inverse(value)`, if it has one, gives the original for a value.
    unsafe : bool
        Whether dtype and shape may change.

    Examples
    --------
    >>> import facula as torch
    >>> class Symmetric(torch.nn.Module):
    ...     def forward(self, x):
    ...         return x.triu() + x.triu(1).T
    >>> layer = torch.nn.Linear(3, 3)
    >>> layer = torch.nn.utils.parametrize.register_parametrization(layer, "weight", Symmetric())
    >>> torch.equal(layer.weight, layer.weight.T)
    True
    """
    owner: Any = module
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        if not unsafe:
            _check_next(module, tensor_name, parametrization)
        owner.parametrizations[tensor_name].append(parametrization)
        owner.parametrizations[tensor_name].unsafe |= unsafe
    elif tensor_name in module._buffers or tensor_name in module._parameters:
        original = getattr(module, tensor_name)
        made = ParametrizationList([parametrization], original, unsafe=unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            _inject_new_class(module)
            owner.parametrizations = ModuleDict()
        _inject_property(module, tensor_name)
        owner.parametrizations[tensor_name] = made
    else:
        fail(
            ValueError,
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element with name "
            f"'{tensor_name}'",
        )
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether any tensor of the module is parametrized, or that of this name."""
    found = getattr(module, "parametrizations", None)
    if not isinstance(found, ModuleDict):
        return False
    return len(found) > 0 if tensor_name is None else tensor_name in found


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True):
    """Make the tensor an ordinary one again: with its present values, or the original if not `leave_parametrized`."""
    owner: Any = module
    if not is_parametrized(module, tensor_name):
        fail(ValueError, f"Module {module} does not have a parametrization on {tensor_name}")
    found = owner.parametrizations[tensor_name]
    if found.is_tensor:
        original = found.original
        if leave_parametrized:
            with no_grad():
                _set(original, getattr(module, tensor_name))
    elif leave_parametrized:
        value = getattr(module, tensor_name)
        original = Parameter(value) if value.requires_grad else value
    else:
        fail(
            ValueError,
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is parametrized in terms of a "
            "sequence of tensors.",
        )
    delattr(type(module), tensor_name)
    del owner.parametrizations[tensor_name]
    _register(module, tensor_name, original)
    if not is_parametrized(module):
        delattr(module, "parametrizations")
        owner.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module: Module) -> type:
    """The class that the module had before anything of it was parametrized."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(from_module: Module, to_module: Module, tensor_name: str | None = None):
    """Parametrize `to_module` like `from_module`, with the same originals; all tensors or one."""
    source: Any = from_module
    target: Any = to_module
    if is_parametrized(from_module):
        for name in list(source.parametrizations) if tensor_name is None else [tensor_name]:
            found = source.parametrizations[name]
            if not hasattr(to_module, name):
                setattr(to_module, name, Parameter(getattr(from_module, name)))
            for parametrization in found:
                register_parametrization(to_module, name, parametrization)
            for original in ["original"] if found.is_tensor else [f"original{i}" for i in range(found.ntensors)]:
                setattr(target.parametrizations[name], original, getattr(found, original))
    return to_module
