"""`vmap`: a function of one element made one of a batch. What operators do with batches: `operators/batching.py`."""

import functools
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

from facula.core.tensor import Tensor
from facula.core.wrapped import BATCH, Level, Unbatchable, batched, box_of, opened
from facula.operators import cat, get_rng_state, select, set_rng_state, stack
from facula.operators.batching import unwrapped
from facula.utils._pytree import (
    TreeSpec,
    _broadcast_to_and_flatten,
    tree_flatten,
    tree_map_,
    tree_structure,
    tree_unflatten,
)

__all__ = ["vmap"]


def vmap(
    func: Callable, in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *, chunk_size: int | None = None
) -> Callable:
    """The function of a batch: `func` for each element, at once.

    Parameters
    ----------
    func : function of tensors, or of nested containers of them
    in_dims : which dim of each argument is the batch; None: the argument is the same for all; or containers of these
    out_dims : where the batch is in the results
    randomness : "error", "same" (all elements see the same numbers) or "different"
    chunk_size : so many elements at once

    Examples
    --------
    >>> import facula as torch
    >>> a, b = torch.arange(6.0).view(3, 2), torch.ones(2)
    >>> torch.vmap(torch.dot, in_dims=(0, None))(a, b)
    tensor([1., 5., 9.])
    """
    if randomness not in ("error", "same", "different"):
        raise RuntimeError(f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}")
    if not (chunk_size is None or chunk_size > 0):
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    @functools.wraps(func)
    def wrapped(*args, **kwargs):
        if not isinstance(out_dims, int):
            tree_map_(functools.partial(_check_out_dim, func, out_dims), out_dims)
        size, dims, flat, spec = _inputs(func, in_dims, args)
        if chunk_size is None or chunk_size >= size:
            return _run(func, size, dims, flat, spec, out_dims, randomness, kwargs)
        return _in_chunks(func, size, dims, flat, spec, out_dims, randomness, kwargs, chunk_size)

    return wrapped


def _name(func: Callable) -> str:
    if hasattr(func, "__name__"):
        return func.__name__
    if isinstance(func, functools.partial):
        return f"functools.partial({_name(func.func)}, ...)"
    return repr(func)


def _check_out_dim(func: Callable, out_dims: Any, x: Any) -> None:
    if x is not None and not isinstance(x, int):
        raise ValueError(
            f"vmap({_name(func)}, ..., out_dims={out_dims}): `out_dims` must be an int, None or a python collection of "
            "ints representing where in the outputs the vmapped dimension should appear."
        )


def _inputs(func: Callable, in_dims: Any, args: tuple) -> tuple[int, list, list, TreeSpec]:
    """(size of the batch, dim of each leaf, leaves, structure) of the arguments, checked."""
    name = _name(func)
    if not isinstance(in_dims, (int, tuple)):
        raise ValueError(
            f"vmap({name}, in_dims={in_dims}, ...)(<inputs>): expected `in_dims` to be int or a (potentially nested) "
            f"tuple matching the structure of inputs, got: {type(in_dims)}."
        )
    if not args:
        raise ValueError(
            f"vmap({name})(<inputs>): got no inputs. Maybe you forgot to add inputs, or you are trying to vmap over a "
            "function with no inputs. The latter is unsupported."
        )
    flat, spec = tree_flatten(args)
    dims = _broadcast_to_and_flatten(in_dims, spec)
    if dims is None:
        raise ValueError(
            f"vmap({name}, in_dims={in_dims}, ...)(<inputs>): in_dims is not compatible with the structure of "
            f"`inputs`. in_dims has structure {tree_structure(in_dims)} but inputs has structure {spec}."
        )
    sizes = []
    for i, (x, d) in enumerate(zip(flat, dims)):
        start = f"vmap({name}, in_dims={in_dims}, ...)(<inputs>): Got in_dim={d} for "
        if d is None:
            continue
        if not isinstance(d, int):
            raise ValueError(f"{start}an input but in_dim must be either an integer dimension or None.")
        if not isinstance(x, Tensor):
            raise ValueError(
                f"{start}an input but the input is of type {type(x)}. We cannot vmap over non-Tensor arguments, please "
                "use None as the respective in_dim"
            )
        rank = x.spec.ndim
        if not -rank <= d < rank:
            raise ValueError(
                f"{start}some input, but that input is a Tensor of dimensionality {rank} so expected in_dim to satisfy "
                f"-{rank} <= in_dim < {rank}."
            )
        dims[i] = d % rank
        sizes.append(x.spec.shape[dims[i]])
    if not sizes:
        raise ValueError("vmap: Expected at least one Tensor to vmap over")
    if any(n != sizes[0] for n in sizes):
        raise ValueError(
            "vmap: Expected all tensors to have the same size in the mapped dimension, got sizes "
            f"{sizes} for the mapped dimension"
        )
    return sizes[0], dims, flat, spec


def _run(
    func: Callable, size: int, dims: list, flat: list, spec: TreeSpec, out_dims: Any, randomness: str, kwargs: dict
) -> Any:
    """The function on batched tensors; one element at a time where it looks at their memory."""
    state = None if randomness == "error" else get_rng_state()
    try:
        with opened(Level(BATCH, size, randomness)) as level:
            given = [x if d is None else batched(x, d, level) for x, d in zip(flat, dims)]
            made = func(*tree_unflatten(given, spec), **kwargs)
            leaves, where, shape = _outputs(func, made, out_dims)
            done = []
            for x, d in zip(leaves, where):
                if d is None:
                    if box_of(x, level) is not None:
                        raise ValueError(
                            f"vmap({_name(func)}, ...): `{_name(func)}` can not return a BatchedTensor when out_dim is "
                            "None"
                        )
                    done.append(x)
                else:
                    done.append(unwrapped(x, level, d % (x.spec.ndim + 1)))
            return tree_unflatten(done, shape)
    except TypeError as error:
        if not size:
            raise
        if not isinstance(error, Unbatchable) or "random" not in str(error):
            reason = str(error).splitlines()[0]
            warnings.warn(
                f"There is a performance drop because {_name(func)} does something that has no batching rule: it runs "
                f"once for each element of the batch ({reason})",
                UserWarning,
                stacklevel=3,
            )
    return _one_by_one(func, size, dims, flat, spec, out_dims, randomness, kwargs, state)


def _one_by_one(
    func: Callable, size: int, dims: list, flat: list, spec: TreeSpec, out_dims: Any, randomness: str, kwargs: dict,
    state: Any,
) -> Any:  # fmt: skip
    if state is not None:
        set_rng_state(state)
    every: list[list] = []
    for i in range(size):
        if i and randomness == "same" and state is not None:
            set_rng_state(state)
        given = [x if d is None else select(x, d, i) for x, d in zip(flat, dims)]
        leaves, where, shape = _outputs(func, func(*tree_unflatten(given, spec), **kwargs), out_dims)
        every.append(leaves)
    done = [parts[0] if d is None else stack(parts, d) for parts, d in zip(zip(*every), where)]
    return tree_unflatten(done, shape)


def _outputs(func: Callable, made: Any, out_dims: Any) -> tuple[list, list, TreeSpec]:
    """(leaves, where the batch belongs in each, structure) of the results, checked."""
    leaves, shape = tree_flatten(made)

    def wrong() -> NoReturn:
        raise ValueError(
            f"vmap({_name(func)}, ..., out_dims={out_dims})(<inputs>): out_dims is not compatible with the structure "
            f"of `outputs`. out_dims has structure {tree_structure(out_dims)} but outputs has structure {shape}."
        )

    where: Any
    if isinstance(made, Tensor):
        if isinstance(out_dims, tuple) and len(out_dims) != 1 or not isinstance(out_dims, (int, tuple, type(None))):
            wrong()
        where = list(out_dims) if isinstance(out_dims, tuple) else [out_dims]
    else:
        where = _broadcast_to_and_flatten(out_dims, shape)
        if where is None:
            wrong()
    for x, d in zip(leaves, where):
        if d is not None and not isinstance(x, Tensor):
            raise ValueError(
                f"vmap({_name(func)}, ...): `{_name(func)}` must only return Tensors, got type {type(x)}. Did you mean "
                "to set out_dims= to None for output?"
            )
    return leaves, where, shape


def _in_chunks(
    func: Callable, size: int, dims: list, flat: list, spec: TreeSpec, out_dims: Any, randomness: str, kwargs: dict,
    chunk: int,
) -> Any:  # fmt: skip
    from facula.operators import narrow

    state = get_rng_state() if randomness == "same" else None
    every: list[list] = []
    shape: Any = None
    where: Any = None
    for start in range(0, size, chunk):
        n = min(chunk, size - start)
        given = [x if d is None else narrow(x, d, start, n) for x, d in zip(flat, dims)]
        if state is not None:
            set_rng_state(state)
        leaves, shape = tree_flatten(_run(func, n, dims, given, spec, out_dims, randomness, kwargs))
        every.append(leaves)
        if isinstance(out_dims, int):
            where = [out_dims] * len(leaves)
        else:
            where = _broadcast_to_and_flatten(out_dims, shape)
            where = list(out_dims) if where is None else where
    return tree_unflatten([p[0] if d is None else cat(list(p), d) for p, d in zip(zip(*every), where)], shape)
