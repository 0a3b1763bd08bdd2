"""Forward mode as functions of functions: `jvp`, `linearize`; and `functionalize`."""

import functools
from collections.abc import Callable
from typing import Any

from facula.autograd import grad as differentiate
from facula.autograd.forward_ad import check_tangent
from facula.autograd.grad_mode import enable_grad
from facula.core.tensor import Tensor
from facula.core.wrapped import DUAL, Level, box_of, dual, opened
from facula.operators.assignment import lift
from facula.operators.tangents import zeros_as
from facula.utils._pytree import tree_flatten, tree_map_only, tree_unflatten

from .arguments import chosen, replaced, split_aux, tensors_alone
from .reverse import Entered

__all__ = ["functionalize", "jvp", "jvp_of", "linearize"]

TITLE = "jvp(f, primals, tangents)"


def jvp(func: Callable, primals: Any, tangents: Any, *, strict: bool = False, has_aux: bool = False) -> tuple:
    """(output, Jacobian @ tangents[, aux]) of `func` at `primals`, in one run.

    Examples
    --------
    >>> import facula as torch
    >>> torch.func.jvp(torch.sin, (torch.zeros(2),), (torch.tensor([1.0, 2.0]),))
    (tensor([0., 0.]), tensor([1., 2.]))
    """
    return jvp_of(func, primals, tangents, None, strict, has_aux)


def _checked(flat: list, what: str) -> list:
    if not flat:
        raise RuntimeError(f"{TITLE}: Expected {what} to contain at least one Tensor.")
    for x in flat:
        if not isinstance(x, Tensor):
            raise RuntimeError(f"{TITLE}: Expected {what} to only contain Tensors, got {type(x)}")
    return flat


def jvp_of(func: Callable, primals: Any, tangents: Any, argnums: Any, strict: bool, has_aux: bool) -> tuple:
    """`jvp` in some of the arguments."""
    if not isinstance(primals, tuple):
        raise RuntimeError(f"{TITLE}: Expected primals to be a tuple. E.g. it should be valid to call f(*primals).")
    diff = primals if argnums is None else chosen(primals, argnums)
    flat, spec = tree_flatten(diff)
    along, along_spec = tree_flatten(tangents)
    if spec != along_spec:
        raise RuntimeError(
            f"{TITLE}: Expected primals and tangents to have the same python structure. For example, if primals is a "
            f"tuple of 3 tensors, tangents also must be. Got primals with structure {spec} and tangents with structure "
            f"{along_spec}"
        )
    for x, t in zip(_checked(flat, "primals"), _checked(along, "tangents")):
        check_tangent(x, t)
    with opened(Level(DUAL)) as level:
        given = tree_unflatten([dual(x, t, level) for x, t in zip(flat, along)], spec)
        made = func(*(given if argnums is None else replaced(primals, given, argnums)))
        output, aux = split_aux(made, has_aux, TITLE)

        def primal(x: Any) -> Any:
            box = box_of(x, level)
            return x if box is None else box.value

        def tangent(x: Any) -> Tensor:
            box = box_of(x, level)
            if box is not None and box.tangent is not None:
                return box.tangent
            if strict:
                raise RuntimeError(
                    "jvp(f, primals, tangents, strict=True): The output of f is independent of the inputs. This is not "
                    "allowed with strict=True."
                )
            return zeros_as(x)

        outs, out_spec = tree_flatten(output)
        tensors_alone(outs, TITLE)
        values = tree_unflatten([primal(x) for x in outs], out_spec)
        pushed = tree_unflatten([tangent(x) for x in outs], out_spec)
        return (values, pushed, tree_map_only(Tensor, primal, aux)) if has_aux else (values, pushed)


def linearize(func: Callable, *primals: Any) -> tuple[Any, Callable]:
    """(output, the function from tangents to Jacobian @ tangents) at `primals`; `func` runs once.

    A gradient is linear in the cotangent; its own gradient in that is the Jacobian.
    """
    flat, spec = tree_flatten(primals)
    entered = Entered(flat)
    with enable_grad():
        outs, out_spec = tree_flatten(func(*tree_unflatten(entered.flat, spec)))
        seeds = []
        for o in outs:
            seed = zeros_as(o)
            seed = seed if entered.level is None else lift(seed, entered.level)
            seed.needs_grad = True
            seeds.append(seed)
        live = [(o, s) for o, s in zip(outs, seeds) if o.needs_grad]
        found: Any = (None,) * len(flat)
        if live:
            found = differentiate(
                [o for o, _ in live], entered.flat, [s for _, s in live], create_graph=True, allow_unused=True
            )

    def jvp_fn(*tangents: Any) -> Any:
        along, own = tree_flatten(tangents)
        if own != spec:
            raise RuntimeError(f"Expected the tangents {own} to have the same argspec as the primals {spec}")
        for i, (x, t) in enumerate(zip(flat, along)):
            for what, a, b in (
                ("shape", t.shape, x.shape),
                ("device", t.device, x.device),
                ("dtype", t.dtype, x.dtype),
            ):
                if a != b:
                    raise RuntimeError(
                        f"tangent:{i} with {what} {a} in flattened pytree doesn't match the {what} {b} of the "
                        "corresponding primal."
                    )
        pairs = [(g, t) for g, t in zip(found, along) if g is not None and g.needs_grad]
        pushed: Any = (None,) * len(seeds)
        if pairs:
            pushed = differentiate(
                [g for g, _ in pairs], seeds, [t for _, t in pairs], retain_graph=True, allow_unused=True
            )
        return tree_unflatten([zeros_as(o) if p is None else p for o, p in zip(outs, pushed)], out_spec)

    return tree_unflatten([entered.leave(o) for o in outs], out_spec), jvp_fn


def functionalize(func: Callable, *, remove: str = "mutations") -> Callable:
    """`func` itself: what PyTorch does here rewrites traced programs, and does not change what a function returns."""
    if remove not in ("mutations", "mutations_and_views"):
        raise RuntimeError(
            f"functionalize(f, remove='mutations'): received invalid argument for remove={remove}. Valid options are:"
            "\n     remove='mutations': all inplace and out= operators will be removed from the program, and replaced"
            "\n         with their out-of-place equivalents."
            "\n     remove='mutations_and_views': In addition to the above, all aliasing operators {view} will be"
            "\n         replaced with their non-aliasing counterparts, {view}_copy.\n"
        )

    @functools.wraps(func)
    def wrapped(*args, **kwargs):
        return func(*args, **kwargs)

    return wrapped
