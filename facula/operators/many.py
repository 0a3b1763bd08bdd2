"""One launch for a list of tensors: what gradient clipping, `GradScaler` and `zero_grad` do to all gradients at once.

The functions take real tensors without gaps, of one dtype and device (`alike`); for others their callers use operators.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

from facula import launch
from facula.core.device import CPU
from facula.core.dtype import dtype, float32, float64, int32, int64
from facula.core.tensor import Tensor
from facula.ir import expr as ir
from facula.ir.kernel import Input, Kernel, Param, Result

from .copying import packed
from .reduction import vector_norm, vector_norm_rows

__all__ = ["alike", "clamp_", "norm", "scale_", "unscale_", "update_scale_", "zero_"]

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
        if not (s.dtype is kind and s.device is where and s.kind is None and (s.contiguous or packed(s))):
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


def beside(tensors: list[Tensor], *shared: Tensor) -> list[Tensor]:
    """Rows of `launch.run_many` that each end with the same tensors."""
    return [x for t in tensors for x in (t, *shared)]


@cache
def _scale(kind: dtype) -> Kernel:
    inputs = (Input("x", kind), Input("factor", kind))
    return Kernel("scale", inputs, (Result("new", kind, ir.load("x", kind) * ir.load("factor", kind)),))


def scale_(tensors: list[Tensor], factor: float | Tensor) -> None:
    """Multiply all of them, in place, by a number, or one of their dtype and device that nobody waits for."""
    if isinstance(factor, Tensor) and factor.spec.device is not CPU:
        spec = tensors[0].spec
        launch.run_many(
            launch.many(_scale(spec.dtype), (0, 0, ~1), spec.device), beside(tensors, factor), (), spec.device
        )
        return
    number: Any = factor.item() if isinstance(factor, Tensor) else factor
    if number != 1.0:  # else it would change nothing
        _apply(_scaled, tensors, factor=number)


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


@cache
def _unscale(kind: dtype) -> Kernel:
    x, factor = ir.load("x", kind), ir.cast(ir.load("factor", float32), kind)
    finite = ir.lt(ir.abs(x), ir.const(math.inf, kind))
    wrong = ir.reduce("max", ir.select(finite, ir.const(0, float32), ir.const(1, float32)))
    results = (Result("new", kind, x * factor), Result("wrong", float32, wrong, per_row=True))
    return Kernel("unscale", (Input("x", kind), Input("factor", float32)), results)


def unscale_(tensors: list[Tensor], factor: Tensor) -> Tensor:
    """Multiply all of them by a float32, in place; of each share, 1 where an element was infinite or NaN, else 0."""
    spec = tensors[0].spec
    code = launch.many(_unscale(spec.dtype), (0, None, 0, ~1), spec.device)
    made = launch.run_many(code, beside(tensors, factor), (), spec.device)
    assert made is not None
    return made


@cache
def _next_scale() -> Kernel:
    """A growing factor and its count of good steps, and the flag that a step was none."""
    scale, count, wrong = ir.load("scale", float32), ir.load("count", int32), ir.gt(ir.load("wrong", float32), 0)
    wide, more = ir.cast(scale, float64), count + ir.const(1, int32)
    grows = ir.eq(more, ir.cast(ir.param("interval", int64), int32))
    grown, shrunk = (ir.cast(wide * ir.param(n, float64), float32) for n in ("growth", "backoff"))
    grown = ir.select(ir.lt(grown, ir.const(math.inf, float32)), grown, scale)
    results = (
        Result("new_scale", float32, ir.select(wrong, shrunk, ir.select(grows, grown, scale))),
        Result("new_count", int32, ir.select(ir.or_(wrong, grows), ir.const(0, int32), more)),
    )
    inputs = (Input("scale", float32), Input("count", int32), Input("wrong", float32))
    params = (Param("growth", float64), Param("backoff", float64), Param("interval", int64))
    return Kernel("next_scale", inputs, results, params)


def update_scale_(scale: Tensor, count: Tensor, wrong: Tensor, growth: float, backoff: float, interval: int) -> None:
    """The factor (float32) by which a `GradScaler` scales, and its count of good steps (int32), after a step."""
    bound = launch.bind(_next_scale(), (1,), None, [[0]] * 5, scale.spec.device)
    launch.run(bound, [scale.ptr, count.ptr, scale.ptr, count.ptr, wrong.ptr], (growth, backoff, interval))
    scale.storage.version += 1
    count.storage.version += 1
