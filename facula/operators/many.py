"""One launch for a list of tensors: what gradient clipping and `zero_grad` do to all gradients of a model at once.

The functions take dense real tensors of one dtype and device (`alike`); for others their callers use operators.
"""

import math
from collections.abc import Sequence
from functools import cache

from facula import launch
from facula.core.dtype import dtype, float32, float64
from facula.core.tensor import Tensor
from facula.ir import expr as ir
from facula.ir.kernel import Input, Kernel, Param, Result

from .reduction import vector_norm, vector_norm_rows

__all__ = ["alike", "clamp_", "norm", "scale_", "zero_"]

NORMS = (1.0, 2.0, math.inf)  # orders of which the norm of norms is the norm


def alike(tensors: Sequence[Tensor]) -> bool:
    """Whether the functions of this file take these tensors."""
    if not tensors:
        return False
    kind, where = tensors[0].spec.dtype, tensors[0].spec.device
    if kind is not float32 and kind is not float64:
        return False
    for t in tensors:
        s = t.spec
        if not (s.dtype is kind and s.device is where and s.contiguous and s.kind is None):
            return False
    return True


def _scaled(x, factor):
    return x * factor


def _clamped(x, low, high):
    return ir.minimum(ir.maximum(x, low), high)


def _zero(x):
    return ir.const(0.0, x.dtype)


@cache
def _update(body, kind: dtype, *params: str) -> Kernel:
    """The kernel x = body(x, *params)."""
    value = body(ir.load("x", kind), *(ir.param(name, kind) for name in params))
    inputs = (Input("x", kind),) if any(n.op == "load" for n in ir.walk(value)) else ()
    return Kernel(
        body.__name__.lstrip("_"), inputs, (Result("new", kind, value),), tuple(Param(p, kind) for p in params)
    )


def _apply(body, tensors: list[Tensor], **params: float) -> None:
    spec = tensors[0].spec
    kernel = _update(body, spec.dtype, *params)
    code = launch.many(kernel, (0,) * len(kernel.operands), spec.device)
    launch.run_many(code, tensors, tuple(params.values()), spec.device)


def scale_(tensors: list[Tensor], factor: float) -> None:
    """Multiply all of them, in place."""
    _apply(_scaled, tensors, factor=factor)


def clamp_(tensors: list[Tensor], low: float, high: float) -> None:
    """Limit all elements to [low, high], in place; NaN stays."""
    _apply(_clamped, tensors, low=low, high=high)


def zero_(tensors: list[Tensor]) -> None:
    """Fill all of them with zeros."""
    _apply(_zero, tensors)


@cache
def _norm(kind: dtype, order: float) -> Kernel:
    value = vector_norm_rows.operator.body(ir.load("x", kind), ord=order)
    return Kernel("norm", (Input("x", kind),), (Result("out", kind, value, per_row=True),))


def norm(tensors: list[Tensor], order: float) -> Tensor:
    """The norm (of an order in `NORMS`) of all elements together: first of shares, which depend on sizes alone."""
    spec = tensors[0].spec
    code = launch.many(_norm(spec.dtype, order), (None, 0), spec.device)
    return vector_norm(launch.run_many(code, tensors, (), spec.device), order)
