"""Reverse mode as functions of functions: `grad`, `grad_and_value`, `vjp`.

The graph is the ordinary one. What is differentiated enters as a tensor of its own: a view of one that is in a graph
already, so that outer derivatives see through, else a leaf. Inside other transforms it is a stand-in of the innermost
level, and its graph is that of stand-ins.
"""

import functools
from collections.abc import Callable
from typing import Any

from facula.autograd import grad as differentiate
from facula.autograd.grad_mode import enable_grad
from facula.autograd.node import Node, Output, alias, edge_of
from facula.core.modes import LOCAL
from facula.core.tensor import Tensor
from facula.core.wrapped import anywhere
from facula.operators.assignment import lift
from facula.operators.tangents import zeros_as
from facula.operators.view import alias_view
from facula.utils._pytree import tree_flatten, tree_map_only, tree_unflatten, treespec_pprint

from .arguments import chosen, replaced, split_aux, tensors_alone

__all__ = ["Entered", "grad", "grad_and_value", "vjp"]


class Entered:
    """Tensors that a derivative is taken in, and how its results leave."""

    def __init__(self, flat: list):
        self.outer = LOCAL.grad
        self.level = LOCAL.levels[-1] if LOCAL.levels else None
        self.own: set[int] = set()
        self.flat = [self._enter(x) for x in flat]

    def _enter(self, x: Tensor) -> Tensor:
        if self.level is not None:
            x = lift(x, self.level)
        if x.needs_grad and self.outer:
            return alias_view(x)
        x = alias(x)
        x.needs_grad = True
        self.own.add(id(x))
        return x

    def reaches_out(self, tensors: list) -> bool:
        """Whether the graph of these tensors leads to anything but what was entered as a leaf."""
        stack = [edge_of(t) for t in tensors if t.needs_grad]
        seen: set[int] = set()
        while stack:
            edge = stack.pop()
            vertex = edge.node if type(edge) is Output else edge
            if vertex is None or id(vertex) in seen:
                continue
            seen.add(id(vertex))
            if isinstance(vertex, Node):
                stack += vertex.edges
            elif id(vertex) not in self.own:
                return True
        return False

    def differentiate(self, outputs: list, cotangents: list | None, retain: bool) -> list:
        """The gradients of what was entered, zeros where there are none."""
        pairs = [(o, None if cotangents is None else c) for o, c in zip(outputs, cotangents or outputs) if o.needs_grad]
        found: Any = (None,) * len(self.flat)
        create = self.outer and (
            self.level is not None or self.reaches_out([o for o, _ in pairs])
            or any(anywhere(c) for _, c in pairs if c is not None)
        )  # fmt: skip
        if pairs:
            found = differentiate(
                [o for o, _ in pairs], self.flat, None if cotangents is None else [c for _, c in pairs],
                retain_graph=retain or create, create_graph=create, allow_unused=True,
            )  # fmt: skip
        grads = [zeros_as(x) if g is None else g for x, g in zip(self.flat, found)]
        return [self.leave(g) for g in grads]

    def leave(self, x: Any) -> Any:
        """A result without the part of its history that ends at what was entered."""
        if not isinstance(x, Tensor) or not x.needs_grad or id(x) in self.own:
            return alias(x) if isinstance(x, Tensor) and id(x) in self.own else x
        return x if self.outer and self.reaches_out([x]) else alias(x)


def _tensors(tree: Any, title: str) -> tuple[list, Any]:
    flat, spec = tree_flatten(tree)
    if not flat:
        raise RuntimeError(f"{title}: Expected primals to contain at least one Tensor.")
    for x in flat:
        if not isinstance(x, Tensor):
            raise RuntimeError(f"{title}: Expected primals to only contain Tensors, got {type(x)}")
    return flat, spec


def vjp(func: Callable, *primals: Any, has_aux: bool = False) -> tuple:
    """(output, function from cotangents to gradients[, aux]) of `func` at `primals`.

    Examples
    --------
    >>> import facula as torch
    >>> out, pull = torch.func.vjp(torch.sin, torch.zeros(2))
    >>> pull(torch.tensor([1.0, 2.0]))
    (tensor([1., 2.]),)
    """
    return vjp_of(func, primals, None, has_aux)


def vjp_of(func: Callable, args: tuple, argnums: Any, has_aux: bool) -> tuple:
    """`vjp` in some of the arguments."""
    diff = args if argnums is None else chosen(args, argnums)
    flat, spec = _tensors(diff, "vjp(f, *primals)")
    entered = Entered(flat)
    with enable_grad():
        given = tree_unflatten(entered.flat, spec)
        made = func(*(given if argnums is None else replaced(args, given, argnums)))
        output, aux = split_aux(made, has_aux, "vjp(f, *primals)")
    outputs, out_spec = tree_flatten(output)
    tensors_alone(outputs, "vjp(f, *primals)")
    single = argnums is not None and isinstance(argnums, int)

    def vjp_fn(cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        flat_cotangents, own = tree_flatten(cotangents)
        if own != out_spec:
            raise RuntimeError(
                "Expected pytree structure of cotangents to be the same as pytree structure of outputs to the "
                f"function. cotangents: {treespec_pprint(own)}, primal output: {treespec_pprint(out_spec)}"
            )
        found = tree_unflatten(entered.differentiate(outputs, flat_cotangents, retain_graph), spec)
        return found[0] if single else found

    out = tree_unflatten([entered.leave(o) for o in outputs], out_spec)
    if not has_aux:
        return out, vjp_fn
    return out, vjp_fn, tree_map_only(Tensor, entered.leave, aux)


def grad_and_value(func: Callable, argnums: Any = 0, has_aux: bool = False) -> Callable:
    """The function that returns (gradient, value) of `func`, or (gradient, (value, aux))."""

    @functools.wraps(func)
    def wrapper(*args, **kwargs):
        diff = chosen(args, argnums)
        flat, spec = tree_flatten(diff)
        for x in flat:
            if not isinstance(x, Tensor):
                raise RuntimeError(f"grad: Expected inputs to be Tensors, got {type(x)}")
        entered = Entered(flat)
        with enable_grad():
            made = func(*replaced(args, tree_unflatten(entered.flat, spec), argnums), **kwargs)
            output, aux = split_aux(made, has_aux, "grad_and_value(f)(*args)")
        title = "grad_and_value(f)(*args): Expected f(*args) to return "
        if not isinstance(output, Tensor):
            raise RuntimeError(f"{title}a Tensor, got {type(output)}")
        if output.spec.ndim:
            raise RuntimeError(
                f"{title}a scalar tensor, got tensor with {output.spec.ndim} dims. Maybe you wanted to use the vjp or "
                "jacrev APIs instead?"
            )
        grads = tree_unflatten(entered.differentiate([output], None, False), spec)
        value = entered.leave(output)
        if has_aux:
            value = value, tree_map_only(Tensor, entered.leave, aux)
        return (grads[0] if isinstance(argnums, int) else grads), value

    return wrapper


def grad(func: Callable, argnums: Any = 0, has_aux: bool = False) -> Callable:
    """The function that returns the gradient of `func`, or (gradient, aux).

    Examples
    --------
    >>> import facula as torch
    >>> torch.func.grad(torch.sin)(torch.tensor(0.0))
    tensor(1.)
    >>> torch.func.grad(torch.func.grad(torch.sin))(torch.tensor(0.0))
    tensor(-0.)
    """
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def wrapper(*args, **kwargs):
        grads, value = both(*args, **kwargs)
        return (grads, value[1]) if has_aux else grads

    return wrapper
