"""Modules as functions of their parameters and buffers: `functional_call`, `stack_module_state`."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from facula.core.tensor import Tensor
from facula.nn.normalization import _BatchNorm
from facula.nn.utils import stateless
from facula.operators import stack

__all__ = ["functional_call", "replace_all_batch_norm_modules_", "stack_module_state"]


def functional_call(
    module: Any, parameter_and_buffer_dicts: Any, args: Any = None, kwargs: dict | None = None, *,
    tie_weights: bool = True, strict: bool = False,
) -> Any:  # fmt: skip
    """Call a module with other tensors in the place of its parameters and buffers.

    Parameters
    ----------
    parameter_and_buffer_dicts : dict from names to tensors, or several dicts without common names
    args : the arguments of the call, a tuple, or the only one
    tie_weights : give tensors that the module has under several names their replacement under all of them
    strict : RuntimeError unless the names are those of all parameters and buffers

    Examples
    --------
    >>> import facula as torch
    >>> layer = torch.nn.Linear(2, 1, bias=False)
    >>> torch.func.functional_call(layer, {"weight": torch.ones(1, 2)}, torch.ones(2)).tolist()
    [2.0]
    """
    given = parameter_and_buffer_dicts
    if isinstance(given, Sequence):
        if not all(isinstance(d, dict) for d in given):
            raise ValueError("Expected all elements of parameter_and_buffer_dicts to be dictionaries")
        repeated = [name for name, n in Counter(k for d in given for k in d).items() if n > 1]
        if repeated:
            raise ValueError(f"{repeated} appeared in multiple dictionaries; behavior of functional call is ambiguous")
        given = {k: x for d in given for k, x in d.items()}
    elif not isinstance(given, dict):
        raise ValueError(
            f"Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, but got {type(given)}"
        )
    return stateless._functional_call(module, given, args, kwargs, tie_weights=tie_weights, strict=strict)


def stack_module_state(models: Sequence) -> tuple[dict[str, Any], dict[str, Any]]:
    """(parameters, buffers) of modules of one class, stacked: new leaves, for `vmap` over `functional_call`."""
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if len({m.training for m in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to have the same training/eval mode.")
    if any(type(m) is not type(models[0]) for m in models):
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    return tuple(  # type: ignore[return-value]
        {name: _stacked([members[name] for members in every], name) for name in every[0]}
        for every in ([dict(m.named_parameters()) for m in models], [dict(m.named_buffers()) for m in models])
    )


def _stacked(tensors: list[Tensor], name: str) -> Tensor:
    needs = {t.requires_grad for t in tensors}
    if len(needs) > 1:
        raise RuntimeError(f"Expected {name} from each model to have the same .requires_grad")
    out = stack(tensors).detach()
    return out.requires_grad_() if needs.pop() else out


def replace_all_batch_norm_modules_(root: Any) -> Any:
    """Have every batch norm of a module normalise with the batch's own statistics; returns the module.

    Running statistics would be written in place under `vmap`.
    """
    for module in root.modules():
        if isinstance(module, _BatchNorm) and module.track_running_stats:
            module.running_mean = module.running_var = module.num_batches_tracked = None
            module.track_running_stats = False
    return root
