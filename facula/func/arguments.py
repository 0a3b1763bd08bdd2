"""Checks that the transforms share: which arguments are differentiated, what functions may return."""

from typing import Any

from facula.core.tensor import Tensor
from facula.utils._pytree import tree_leaves

__all__ = ["chosen", "refuse_complex", "replaced", "split_aux", "tensors_alone"]


def _place(argnum: Any, count: int) -> int:
    if not isinstance(argnum, int):
        raise RuntimeError(f"argnum must be int, got: {type(argnum)}")
    if not -count <= argnum < count:
        raise RuntimeError(f"Got argnum={argnum}, but only {count} positional inputs")
    return argnum % count


def places(argnums: Any, count: int) -> tuple[int, ...]:
    """The positions of the arguments that are differentiated."""
    if not isinstance(argnums, (int, tuple)):
        raise RuntimeError(f"argnums must be int or Tuple[int, ...], got: {type(argnums)}")
    if isinstance(argnums, int):
        return (_place(argnums, count),)
    found = tuple(_place(n, count) for n in argnums)
    if not found:
        raise RuntimeError("argnums must be non-empty")
    if len(set(found)) != len(found):
        raise RuntimeError(f"argnums elements must be unique, got {argnums}")
    return found


def chosen(args: tuple, argnums: Any) -> tuple:
    """The arguments that are differentiated, always a tuple."""
    return tuple(args[i] for i in places(argnums, len(args)))


def replaced(args: tuple, new: tuple, argnums: Any) -> tuple:
    """`args` with others in the place of those that are differentiated."""
    out = list(args)
    for i, x in zip(places(argnums, len(args)), new):
        out[i] = x
    return tuple(out)


def split_aux(made: Any, has_aux: bool, title: str) -> tuple[Any, Any]:
    """(output, what the function returns beside it)."""
    if not has_aux:
        return made, None
    if not (isinstance(made, tuple) and len(made) == 2):
        raise RuntimeError(f"{title}: output of function f should be a tuple: (output, aux) if has_aux is True")
    return made


def tensors_alone(flat: list, title: str) -> None:
    """RuntimeError unless a function returned tensors, and at least one."""
    if not flat or (len(flat) == 1 and flat[0] is None):
        raise RuntimeError(f"{title}: Expected f to be a function that has non-empty output (got output = {flat})")
    for x in flat:
        if not isinstance(x, Tensor):
            raise RuntimeError(f"{title}: expected f(*primals) to return only tensors, got unsupported type {type(x)}")


def refuse_complex(name: str, values: Any, what: str) -> None:
    """RuntimeError for complex tensors, of which Jacobians are not defined."""
    for i, x in enumerate(tree_leaves(values)):
        if isinstance(x, Tensor) and x.spec.dtype.is_complex:
            raise RuntimeError(
                f"{name}: Expected all {what} to be real but received complex tensor at flattened input idx: {i}"
            )
