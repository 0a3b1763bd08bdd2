"""Jacobians and Hessians: products with all unit vectors at once, by `vmap`."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

from facula.core.spec import dense
from facula.core.tensor import Tensor
from facula.operators import cat, eye, movedim, reshape, split_with_sizes, squeeze, unsqueeze
from facula.operators.creation import zeros_of
from facula.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from .arguments import chosen, refuse_complex
from .batch import vmap
from .linear import jvp_of
from .reverse import vjp_of

__all__ = ["hessian", "jacfwd", "jacrev"]


def _units(tensors: list[Tensor], chunk: int | None = None) -> Iterator[list[Tensor]]:
    """All unit vectors of the tensors together, `chunk` at a time: for each tensor (vectors, *its shape)."""
    sizes = [x.spec.numel for x in tensors]
    total = sum(sizes)
    chunk = chunk or max(total, 1)
    for start in range(0, total, chunk) if total else (0,):
        n = min(chunk, total - start)
        parts, before = [], 0
        for x, size in zip(tensors, sizes):
            s = x.spec
            rows = zeros_of(dense(s.dtype, (n, size), s.device))
            first, last = max(before, start), min(before + size, start + n)
            if first < last:
                place = rows[first - start : last - start, first - before : last - before]
                place.copy_(eye(last - first, dtype=s.dtype))
            parts.append(reshape(rows, (n, *s.shape)))
            before += size
        yield parts


def jacrev(
    func: Callable, argnums: Any = 0, *, has_aux: bool = False, chunk_size: int | None = None,
    _preallocate_and_copy: bool = False,
) -> Callable:  # fmt: skip
    """The function that returns the Jacobian of `func`, by reverse mode: (output's shape, input's shape).

    Examples
    --------
    >>> import facula as torch
    >>> torch.func.jacrev(torch.sin)(torch.zeros(2))
    tensor([[1., 0.],
            [0., 1.]])
    """
    if not (chunk_size is None or chunk_size > 0):
        raise ValueError("jacrev: `chunk_size` should be greater than 0.")

    @functools.wraps(func)
    def wrapper(*args):
        refuse_complex("jacrev", args, "inputs")
        made = vjp_of(func, args, argnums, has_aux)
        output, pull = made[:2]
        outs, out_spec = tree_flatten(output)
        refuse_complex("jacrev", outs, "outputs")
        primals, primals_spec = tree_flatten(chosen(args, argnums))
        chunks = []
        for units in _units(outs, chunk_size):
            if chunk_size == 1:
                basis = tree_unflatten([squeeze(u, 0) for u in units], out_spec)
                chunks.append([unsqueeze(g, 0) for g in tree_leaves(pull(basis))])
            else:
                chunks.append(tree_leaves(vmap(pull)(tree_unflatten(units, out_spec))))
        joined = [parts[0] if len(parts) == 1 else cat(list(parts), 0) for parts in zip(*chunks)]
        sizes = tuple(o.spec.numel for o in outs)
        by_input = [
            [reshape(part, (*o.spec.shape, *x.spec.shape)) for part, o in zip(split_with_sizes(whole, sizes, 0), outs)]
            for whole, x in zip(joined, primals)
        ]
        by_output = [tree_unflatten(list(parts), primals_spec) for parts in zip(*by_input)]
        if isinstance(argnums, int):
            by_output = [parts[0] for parts in by_output]
        result = tree_unflatten(by_output, out_spec)
        return (result, made[2]) if has_aux else result

    return wrapper


def jacfwd(func: Callable, argnums: Any = 0, has_aux: bool = False, *, randomness: str = "error") -> Callable:
    """The function that returns the Jacobian of `func`, by forward mode: (output's shape, input's shape)."""

    @functools.wraps(func)
    def wrapper(*args):
        refuse_complex("jacfwd", args, "inputs")
        primals, primals_spec = tree_flatten(chosen(args, argnums))
        (units,) = _units(primals)

        def push(basis):
            made = jvp_of(func, args, basis, argnums, False, has_aux)
            refuse_complex("jacfwd", made[0], "outputs")
            return (made[1], made[2]) if has_aux else made[1]

        results = vmap(push, randomness=randomness)(tree_unflatten(units, primals_spec))
        aux = None
        if has_aux:
            results, aux = results
            aux = tree_map(lambda x: x[0], aux)
        outs, out_spec = tree_flatten(results)
        sizes = tuple(x.spec.numel for x in primals)
        found = []
        for out in outs:
            parts = split_with_sizes(movedim(out, 0, -1), sizes, -1)
            each = [reshape(p, (*p.spec.shape[:-1], *x.spec.shape)) for p, x in zip(parts, primals)]
            own = tree_unflatten(each, primals_spec)
            found.append(own[0] if isinstance(argnums, int) else own)
        result = tree_unflatten(found, out_spec)
        return (result, aux) if has_aux else result

    return wrapper


def hessian(func: Callable, argnums: Any = 0) -> Callable:
    """The function that returns the Hessian of `func`: the Jacobian, by forward mode, of its gradient."""
    return jacfwd(jacrev(func, argnums), argnums)
