"""How many elements lie between edges, in one dimension and in several."""

import builtins
import math
from collections.abc import Sequence

from facula import launch
from facula.autograd.node import dtype_title
from facula.core import dtype as dt
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.ir import expr as ir

from .copying import cast
from .creation import dtype_c_name, full, linspace
from .declare import one_device, traced
from .elementwise import mul, sub, true_divide
from .indexing import tally
from .inplace import overwrite, resize_
from .promotion import opmath
from .reduction import span
from .reduction import sum as sum_of
from .results import named, writes
from .sorting import searchsorted
from .view import narrow, reshape, select

__all__ = ["histc", "histogram", "histogramdd"]


@writes
def histc(input: Tensor, bins: int = 100, min=0, max=0) -> Tensor:
    """How many elements fall in each of `bins` equal parts of [min, max] (of the elements' range when both are 0)."""
    kind = input.spec.dtype
    if bins <= 0:
        fail(RuntimeError, f"torch.histogram(): bins must be > 0, but got {bins} for dimension 0")
    if kind.kind != "f":
        fail(NotImplementedError, f"\"histogram_cpu\" not implemented for '{dtype_title(kind)}'")
    values, low, high = reshape(input.detach(), (-1,)), float(min), float(max)
    if low == high and values.spec.numel and not launch.lacks(values):
        low, high = span(values)
    if low == high:
        low, high = low - 1, high + 1
    if not (math.isfinite(low) and math.isfinite(high)):
        fail(RuntimeError, f"torch.histc: range of [{low:g}, {high:g}] is not finite")
    if low > high:
        fail(RuntimeError, "torch.histc: max must be larger than min")
    first, last, parts = (
        cast(full((), x, dtype=dt.float64, device=input.spec.device), kind) for x in (low, high, bins)
    )
    # Each operation is rounded to the dtype of the elements, as there.
    part = true_divide(mul(sub(values, first), parts), sub(last, first))
    places = histc_parts(values, part, first, last, _number(bins, input))
    return cast(narrow(tally(places, bins + 1), 0, 1, bins), kind)


def _number(value: int, beside: Tensor) -> Tensor:
    return full((), value, dtype=dt.int64, device=beside.spec.device)


@traced(keep=("input", "part", "first", "last", "parts"), differentiable=False)
def histc_parts(input, part, first, last, parts):
    """The number of an element's part from 1 on; 0 outside of them."""
    input, part, first, last = (ir.cast(x, opmath(x.dtype)) for x in (input, part, first, last))
    inside = ir.and_(ir.ge(input, first), ir.le(input, last))
    number = ir.cast(ir.select(inside, part, ir.const(0, part.dtype)), dt.int64)
    return ir.select(inside, ir.minimum(number + 1, parts), ir.const(0, dt.int64))


def _range_of(points: Tensor, range, dims: int) -> list[tuple[float, float]]:
    """The ends of each dim: given, or those of the points."""
    if range is not None:
        if len(range) != 2 * dims:
            fail(
                RuntimeError,
                f"torch.histogramdd: for a {dims}-dimensional histogram range should have {2 * dims} elements, but got "
                f"{len(range)}",
            )
        ends = [(float(range[2 * d]), float(range[2 * d + 1])) for d in builtins.range(dims)]
    elif not points.spec.numel or launch.lacks(points):
        return [(0.0, 1.0)] * dims
    else:
        ends = [span(select(points, 1, d)) for d in builtins.range(dims)]
    for d, (low, high) in enumerate(ends):
        if not (math.isfinite(low) and math.isfinite(high)):
            fail(RuntimeError, f"torch.histogramdd: dimension {d}'s range [{low:g}, {high:g}] is not finite")
        if low > high:
            fail(
                RuntimeError,
                f"torch.histogramdd: min should not exceed max, but got min {low:g} max {high:g} for dimension {d}",
            )
        if low == high:
            ends[d] = (low - 0.5, high + 0.5)
    return ends


def _edges_of(input: Tensor, points: Tensor, bins: Sequence, range) -> list[Tensor]:
    """The edges in each dim: given as tensors, or so many equal parts of the range."""
    kind = input.spec.dtype
    if all(isinstance(b, Tensor) for b in bins):
        for d, b in enumerate(bins):
            if b.spec.dtype is not kind:
                fail(
                    RuntimeError,
                    "torch.histogramdd: input tensor and bins tensors should have the same dtype, but got input with "
                    f"dtype {dtype_c_name(kind)} and bins for dimension {d} with dtype {dtype_c_name(b.spec.dtype)}",
                )
            if b.spec.ndim != 1:
                fail(
                    RuntimeError,
                    "torch.histogramdd: bins tensor should have one dimension, but got "
                    f"{b.spec.ndim} dimensions in the bins tensor for dimension {d}",
                )
            if not b.spec.numel:
                fail(
                    RuntimeError,
                    "torch.histogramdd: bins tensor should have at least 1 element, but got "
                    f"{b.spec.numel} elements in the bins tensor for dimension {d}",
                )
        counts, edges = [b.spec.numel - 1 for b in bins], [b.detach().clone(memory_format="contiguous") for b in bins]
    else:
        counts, edges = list(bins), None
    for d, n in enumerate(counts):
        if n <= 0:
            fail(RuntimeError, f"torch.histogram(): bins must be > 0, but got {n} for dimension {d}")
    if edges is not None:
        return edges
    return [
        linspace(low, high, n + 1, dtype=kind, device=input.spec.device)
        for (low, high), n in zip(_range_of(points, range, len(bins)), counts)
    ]


def _counted(name: str, input: Tensor, bins: Sequence, range, weight, density: bool) -> tuple[Tensor, list[Tensor]]:
    """How many points (rows of `input`) lie in each cell, and the edges of the cells."""
    s, dims = input.spec, len(bins)
    if s.ndim < 2:
        fail(RuntimeError, "torch.histogramdd: input tensor should have at least 2 dimensions")
    if dims != s.shape[-1]:
        fail(RuntimeError, "histogramdd: The size of bins must be equal to the innermost dimension of the input.")
    if s.dtype not in (dt.float32, dt.float64):
        fail(NotImplementedError, f"\"{name}\" not implemented for '{dtype_title(s.dtype)}'")
    if weight is not None:
        if weight.spec.shape != s.shape[:-1]:
            fail(
                RuntimeError,
                "torch.histogramdd: if weight tensor is provided it should have the same shape as the input tensor "
                f"excluding its innermost dimension, but got input with shape {list(s.shape)} and weight with shape "
                f"{list(weight.spec.shape)}",
            )
        if weight.spec.dtype is not s.dtype:
            fail(
                RuntimeError,
                "torch.histogramdd: if weight tensor is provided, input tensor and weight tensor should have the same "
                f"dtype, but got input({dtype_c_name(s.dtype)}), and weight({dtype_c_name(weight.spec.dtype)})",
            )
    one_device(s, None if weight is None else weight.spec, *(b.spec for b in bins if isinstance(b, Tensor)))
    points = reshape(input.detach(), (math.prod(s.shape[:-1]), dims))
    edges = _edges_of(input, points, bins, range)
    shape = tuple(e.spec.numel - 1 for e in edges)
    flat = full((points.spec.shape[0],), 1 if dims else 0, dtype=dt.int64, device=s.device)
    for d, e in enumerate(edges):
        x = select(points, 1, d)
        ends = select(e, 0, 0), select(e, 0, shape[d])
        flat = histogram_cells(flat, searchsorted(e, x, right=True), x, *ends, _number(shape[d], input))
    weights = None if weight is None else reshape(weight.detach(), (-1,))
    hist = cast(reshape(narrow(tally(flat, math.prod(shape) + 1, weights), 0, 1, math.prod(shape)), shape), s.dtype)
    if density:
        hist = true_divide(hist, sum_of(hist))
        for d, e in enumerate(edges):
            sizes = sub(narrow(e, 0, 1, shape[d]), narrow(e, 0, 0, shape[d]))
            hist = true_divide(hist, reshape(sizes, tuple(-1 if k == d else 1 for k in builtins.range(dims))))
    return hist, edges


@traced(keep=("cell", "above", "x", "first", "last", "parts"), differentiable=False)
def histogram_cells(cell, above, x, first, last, parts):
    """A cell's number from 1 on with one more dim, of which `above` edges are not beyond the point `x`; 0 outside."""
    inside = ir.and_(ir.and_(ir.ge(x, first), ir.le(x, last)), ir.ne(cell, 0))
    return ir.select(inside, (cell - 1) * parts + ir.minimum(above, parts), ir.const(0, dt.int64))


def histogram(input: Tensor, bins, *, range=None, weight=None, density: bool = False, out=None):
    """How many elements lie in each part: (hist, bin_edges). `bins` is their number, or a tensor of edges.

    Examples
    --------
    >>> import facula as torch
    >>> torch.histogram(torch.tensor([1.0, 2.0, 1.0]), bins=4, range=(0.0, 3.0)).hist
    tensor([0., 2., 1., 0.])
    """
    if isinstance(bins, Tensor) and range is not None:
        fail(TypeError, "histogram() received an invalid combination of arguments: edges as well as a range")
    points = input.reshape(-1, 1)
    hist, (edges,) = _counted(
        "histogramdd", points, [bins], range, None if weight is None else weight.reshape(-1), density
    )
    if out is None:
        return named("histogram", hist, edges)
    for o, made, what in zip(out, (hist, edges), ("hist", "bin_edges")):
        if o.spec.dtype is not made.spec.dtype:
            fail(
                RuntimeError,
                f"torch.histogram: input tensor and {what} tensor should have the same dtype, but got input "
                f"{dtype_c_name(input.spec.dtype)} and {what} {dtype_c_name(o.spec.dtype)}"
                + (" for dimension 0" if what == "bin_edges" else ""),
            )
    return named("histogram", *(overwrite(resize_(o, made.spec.shape), made) for o, made in zip(out, (hist, edges))))


def histogramdd(input: Tensor, bins, range=None, weight=None, density: bool = False):
    """How many points (the rows of the last dim) lie in each cell: (hist, bin_edges), with edges for each dim."""
    dims = input.spec.shape[-1] if input.spec.ndim else 1
    each = [bins] * dims if isinstance(bins, int) else list(bins)
    hist, edges = _counted("histogramdd", input, each, range, weight, density)
    return named("histogramdd", hist, tuple(edges))
