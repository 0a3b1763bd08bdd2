"""How much arithmetic an operator does: two operations for each multiplication and addition of a product.

The convention is that of PyTorch's `FlopCounterMode`: matrix products, convolutions, attention and recurrent layers
count (the rest is bounded by memory, not by arithmetic), biases do not.
"""

from collections.abc import Callable
from math import prod
from typing import Any

__all__ = ["FLOPS", "flops_of"]

Formula = Callable[[tuple, Any], int]  # (arguments by position, what was returned) -> operations


def _shape(tensor: Any) -> tuple[int, ...]:
    return tensor.spec.shape


def _product(args: tuple, made: Any) -> int:
    """Of `a @ b`: each element of the result is a sum over the last dim of a."""
    return 2 * prod(_shape(made)) * _shape(args[0])[-1]


def _convolution(args: tuple, made: Any) -> int:
    """Each element of the result (transposed: of the input) meets one filter."""
    data, weight, transposed = args[0], args[1], args[6]
    return 2 * prod(_shape(data if transposed else made)) * prod(_shape(weight)[1:])


def _attention(args: tuple, made: Any) -> int:
    """Scores, then their weighted sum of values; masked places are counted, as nobody skips all of them."""
    query, key, value = args[:3]
    *batch, length, width = _shape(query)
    return 2 * prod(batch) * length * _shape(key)[-2] * (width + _shape(value)[-1])


def _recurrent(args: tuple, made: Any) -> int:
    """Each row (a time step of a sequence) meets the weights of the input, of the state and of the projection."""
    weights = [args[i] for i in (3, 4, 7) if args[i] is not None]
    return 2 * _shape(args[0])[0] * sum(prod(_shape(w)) for w in weights)


def _contract(args: tuple, made: Any) -> int:
    """`einsum` of two operands: over all letters at once."""
    sizes = dict(zip(args[2][0], _shape(args[0]))) | dict(zip(args[2][1], _shape(args[1])))
    return 2 * prod(sizes.values())


FLOPS: dict[str, Formula] = {
    "linear": lambda args, made: 2 * prod(_shape(made)) * _shape(args[1])[-1],
    "addmm_core": lambda args, made: 2 * prod(_shape(made)) * _shape(args[1])[-1],
    **dict.fromkeys(("bmm_core", "dot", "matmul_batched", "mm", "mv"), _product),
    "convolution": _convolution,
    "attention": _attention,
    "recurrent": _recurrent,
    "contract": _contract,
}  # by the name of the operator


def flops_of(operator: Any, args: tuple, kwargs: dict, made: Any) -> int:
    """Operations of one application; 0 for what is no product."""
    formula = FLOPS.get(operator.name)
    if formula is None:
        return 0
    bound = operator.signature.bind(*args, **kwargs)
    bound.apply_defaults()
    return formula(tuple(bound.arguments.values()), made)
