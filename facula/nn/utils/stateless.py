"""A module called with other parameters than its own."""

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

from facula.core.tensor import Tensor
from facula.errors import fail

from ..module import Module

__all__ = ["functional_call"]

ABSENT: Any = object()


def _untied(module: Module, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """`given`, also under the other names of the same tensor."""
    names: dict[Tensor, list[str]] = {}
    for walk in (module.named_parameters, module.named_buffers):
        for name, value in walk(remove_duplicate=False):
            names.setdefault(value, []).append(name)
    found = dict(given)
    for tied in names.values():
        values = {id(given[name]) for name in tied if name in given}
        if len(values) > 1:
            fail(
                ValueError,
                f"functional_call got multiple values for keys {sorted(tied)}, which are tied. Consider using "
                "tie_weights=False",
            )
        if values:
            value = next(given[name] for name in tied if name in given)
            found.update(dict.fromkeys(tied, value))
    return found


def _put(module: Module, path: str, value: Any) -> Any:
    """Put `value` in the place of a parameter, buffer or attribute and return what was there."""
    prefix, _, name = path.rpartition(".")
    owner = module.get_submodule(prefix)
    for table in (owner._parameters, owner._buffers):
        if name in table:
            old: Any = table[name]
            if value is ABSENT:
                del table[name]
            else:
                table[name] = value
            return old
    old = getattr(owner, name, ABSENT)
    if value is ABSENT:
        delattr(owner, name)
    else:
        setattr(owner, name, value)
    return old


@contextlib.contextmanager
def _reparametrize_module(
    module: Module, parameters_and_buffers: dict[str, Tensor], tie_weights: bool = False, strict: bool = False
) -> Iterator[None]:
    given = _untied(module, parameters_and_buffers) if tie_weights else dict(parameters_and_buffers)
    if strict:
        own = {
            name for walk in (module.named_parameters, module.named_buffers) for name, _ in walk(remove_duplicate=False)
        }
        lines = [
            f"{kind} key(s): {', '.join(map(repr, keys))}."
            for kind, keys in (
                ("Unexpected", [key for key in given if key not in own]),
                ("Missing", sorted(own - given.keys())),
            )
            if keys
        ]
        if lines:
            text = "\n\t".join(lines)
            fail(RuntimeError, f"Error(s) in reparametrizing for {module._get_name()}:\n\t{text}")
    before: dict[str, Any] = {}
    try:
        for path, value in given.items():
            before[path] = _put(module, path, value)
        yield
    finally:
        after = {path: _put(module, path, value) for path, value in before.items()}
        parameters_and_buffers.update({path: after[path] for path in parameters_and_buffers if path in after})


def _functional_call(
    module: Module,
    parameters_and_buffers: dict[str, Tensor],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    args = () if args is None else args if isinstance(args, tuple) else (args,)
    with _reparametrize_module(module, parameters_and_buffers, tie_weights, strict):
        return module(*args, **(kwargs or {}))


def functional_call(
    module: Module,
    parameters_and_buffers: dict[str, Tensor],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Deprecated: `torch.func.functional_call`. Call `module` with other parameters and buffers, by dotted name."""
    warnings.warn(
        "`torch.nn.utils.stateless.functional_call` is deprecated as of PyTorch 2.0 and will be removed in a future "
        "version of PyTorch. Please use `torch.func.functional_call` instead which is a drop-in replacement.",
        FutureWarning,
        stacklevel=2,
    )
    return _functional_call(module, parameters_and_buffers, args, kwargs, tie_weights=tie_weights, strict=strict)
