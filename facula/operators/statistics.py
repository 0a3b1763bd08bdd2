"""Differences, integrals, counts and covariances: compositions of other operators."""

import math
import warnings

from facula import launch
from facula.autograd.node import dtype_title
from facula.core import dtype as dt
from facula.core.shape import normalize_dim
from facula.core.tensor import Tensor
from facula.core.wrapped import WRAPPED
from facula.errors import fail
from facula.ir import expr as ir

from .copying import cast, contiguous
from .creation import full
from .declare import needs_numbers, one_device, takes, traced
from .elementwise import conj_physical, mul, sub, true_divide
from .indexing import tally
from .joining import cat
from .matmul import _to_out, matmul
from .numpynames import numpy_dims
from .promotion import opmath
from .reduction import cumsum, span, vector_norm
from .reduction import sum as sum_over
from .view import diagonal, narrow, reshape, transpose, unsqueeze

__all__ = [
    "bincount", "corrcoef", "cov", "cumulative_trapezoid", "diff", "dist", "gradient", "hash_tensor", "nanquantile",
    "quantile", "renorm", "trace",
    "trapezoid", "trapz",
]  # fmt: skip


def trace(input: Tensor) -> Tensor:
    """The sum of a matrix's diagonal."""
    if input.spec.ndim != 2:
        fail(RuntimeError, f"trace: expected a matrix, but got tensor with dim {input.spec.ndim}")
    if input.spec.dtype.kind == "b":
        fail(NotImplementedError, f"\"trace\" not implemented for '{dtype_title(input.spec.dtype)}'")
    return sum_over(diagonal(input))


@takes
def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of `input - other`."""
    return vector_norm(sub(input, other), p)


def diff(input: Tensor, n: int = 1, dim: int = -1, prepend=None, append=None, axis=None, *, out=None) -> Tensor:
    """Differences of neighbours along `dim`, `n` times."""
    if axis is not None:
        dim, _ = numpy_dims("diff", dim, None, axis, None, -1)
    if n < 0:
        fail(RuntimeError, f"order must be non-negative but got {n}")
    if not input.spec.ndim:
        fail(RuntimeError, "diff expects input to be at least one-dimensional")
    d = normalize_dim(dim, input.spec.ndim)
    parts = [x for x in (prepend, input, append) if x is not None]
    made = cat(parts, d) if len(parts) > 1 else input
    if not n:
        made = input.clone()
    for _ in range(min(n, made.spec.shape[d])):
        size = made.spec.shape[d]
        high, low = narrow(made, d, 1, max(size - 1, 0)) if size else made, narrow(made, d, 0, max(size - 1, 0))
        made = high.logical_xor(low) if made.spec.dtype.kind == "b" else sub(high, low)
    return made if out is None else _to_out("diff", out, made, (input,))


def _steps(y: Tensor, x, dx, dim: int, name: str):
    """(low half, high half, distances) of neighbours along a dim."""
    if y.spec.dtype.kind == "b":
        fail(RuntimeError, f"{name}: received a bool input for `y`, but bool is not supported")
    if not y.spec.ndim:
        fail(IndexError, "Dimension specified as -1 but tensor has no dimensions")
    d = normalize_dim(dim, y.spec.ndim)
    n = y.spec.shape[d]
    low, high = narrow(y, d, 0, max(n - 1, 0)), narrow(y, d, min(1, n), max(n - 1, 0))
    if x is None:
        return low, high, dx, d
    if x.spec.ndim == 1 and y.spec.ndim != 1:
        if x.spec.shape[0] != n:
            fail(RuntimeError, f"{name}: There must be one `x` value for each sample point")
        x = reshape(x, tuple(n if e == d else 1 for e in range(y.spec.ndim)))
    gaps = diff(x, 1, d - y.spec.ndim)
    return low, high, gaps, d


@takes
def trapezoid(y: Tensor, x=None, *, dx=None, dim: int = -1) -> Tensor:
    """The integral of `y` by the trapezoidal rule, at points `x` or `dx` (1) apart."""
    low, high, gap, d = _steps(y, x, 1.0 if dx is None else dx, dim, "trapezoid")
    total = low + high
    return sum_over(mul(total, gap), d) / 2.0 if isinstance(gap, Tensor) else sum_over(total, d) * (gap / 2.0)


trapz = trapezoid


@takes
def cumulative_trapezoid(y: Tensor, x=None, *, dx=None, dim: int = -1) -> Tensor:
    """The running integral of `y` by the trapezoidal rule."""
    low, high, gap, d = _steps(y, x, 1.0 if dx is None else dx, dim, "cumulative_trapezoid")
    total = low + high
    return cumsum(mul(total, gap), d) / 2.0 if isinstance(gap, Tensor) else cumsum(total, d) * (gap / 2.0)


@takes
def gradient(input: Tensor, *, spacing=None, dim=None, edge_order: int = 1) -> list[Tensor]:
    """The slope of `input` along each dim: central differences, one-sided of order `edge_order` at the ends."""
    rank = input.spec.ndim
    if input.spec.dtype is dt.uint8:
        fail(RuntimeError, "torch.gradient does not support uint8 input.")
    dims = (
        list(range(rank)) if dim is None else [normalize_dim(d, rank) for d in ([dim] if isinstance(dim, int) else dim)]
    )
    if len(set(dims)) < len(dims):
        twice = next(d for d in dims if dims.count(d) > 1)
        fail(RuntimeError, f"dim {twice} appears multiple times in the list of dims")
    if edge_order not in (1, 2):
        fail(RuntimeError, "torch.gradient only supports edge_order=1 and edge_order=2.")
    if spacing is None or isinstance(spacing, (int, float)):
        gaps: list = [1.0 if spacing is None else spacing] * len(dims)
    else:
        gaps = list(spacing) if isinstance(spacing, (list, tuple)) else [spacing]
        if len(gaps) != len(dims):
            fail(
                RuntimeError,
                "torch.gradient expected spacing to be unspecified, a scalar or a list of length equal to 'self.dim() "
                f"= {len(dims)}', since dim argument was not given, but got a list of length {len(gaps)}",
            )
    return [_slope(input, d, gap, edge_order) for d, gap in zip(dims, gaps)]


def _slope(x: Tensor, d: int, gap, edge_order: int) -> Tensor:
    n = x.spec.shape[d]
    if n < edge_order + 1:
        fail(RuntimeError, f"torch.gradient expected each dimension size to be at least edge_order+1 (got {n})")

    def at(i: int, count: int = 1) -> Tensor:
        return narrow(x, d, i, count)

    if not isinstance(gap, Tensor):
        inner = (at(2, n - 2) - at(0, n - 2)) / (2.0 * gap)
        if edge_order == 1:
            first, last = (at(1) - at(0)) / gap, (at(n - 1) - at(n - 2)) / gap
        else:
            first = (at(0) * -1.5 + at(1) * 2.0 - at(2) * 0.5) / gap
            last = (at(n - 1) * 1.5 - at(n - 2) * 2.0 + at(n - 3) * 0.5) / gap
        return cat([first, inner, last], d)
    h = diff(gap)
    shape = tuple(-1 if e == d else 1 for e in range(x.spec.ndim))
    a, b = reshape(narrow(h, 0, 0, n - 2), shape), reshape(narrow(h, 0, 1, n - 2), shape)
    inner = (
        at(0, n - 2) * (-b / (a * (a + b))) + at(1, n - 2) * ((b - a) / (a * b)) + at(2, n - 2) * (a / (b * (a + b)))
    )
    if edge_order == 1:
        first, last = (at(1) - at(0)) / h[0], (at(n - 1) - at(n - 2)) / h[n - 2]
    else:
        p, q = h[0], h[1]
        first = at(0) * (-(2 * p + q) / (p * (p + q))) + at(1) * ((p + q) / (p * q)) + at(2) * (-p / (q * (p + q)))
        p, q = h[n - 3], h[n - 2]
        last = (
            at(n - 3) * (q / (p * (p + q)))
            + at(n - 2) * (-(p + q) / (p * q))
            + at(n - 1) * ((2 * q + p) / (q * (p + q)))
        )
    return cat([first, inner, last], d)


def cov(input: Tensor, *, correction: int = 1, fweights=None, aweights=None) -> Tensor:
    """The covariances of variables (rows) over observations (columns)."""
    if input.spec.ndim > 2:
        fail(
            RuntimeError,
            f"cov(): expected input to have two or fewer dimensions but got an input with {input.spec.ndim} dimensions",
        )
    if input.spec.dtype.kind == "b":
        fail(RuntimeError, "cov(): bool dtype is not supported for input")
    x = input if input.spec.ndim == 2 else reshape(input, (1, -1))
    count = x.spec.shape[1]
    _check_weights("fweights", fweights, count, "integral", "ui")
    _check_weights("aweights", aweights, count, "floating point", "f")
    weights = aweights if fweights is None else fweights if aweights is None else mul(fweights, aweights)
    total = count if weights is None else sum_over(weights)
    x = sub(x, true_divide(sum_over(x if weights is None else mul(x, weights), 1, keepdim=True), total))
    norm = total - correction
    if aweights is not None and correction:
        norm = total - true_divide(correction * sum_over(mul(weights, aweights)), total)
    if norm <= 0:
        warnings.warn("cov(): degrees of freedom is <= 0. Correction should be strictly less than the number of "
                      "observations.", UserWarning, stacklevel=2)  # fmt: skip
        norm = norm * 0
    other = transpose(x if weights is None else mul(x, weights), 0, 1)
    made = true_divide(matmul(x, conj_physical(other) if other.spec.dtype.is_complex else other), norm)
    return reshape(made, ()) if made.spec.numel == 1 else made


def _check_weights(name: str, weights: Tensor | None, count: int, what: str, kinds: str) -> None:
    """RuntimeError where they are not one weight of the right kind for each of `count` observations."""
    if weights is None:
        return
    if weights.spec.ndim > 1:
        fail(
            RuntimeError,
            f"cov(): expected {name} to have one or fewer dimensions but got {name} with {weights.spec.ndim} "
            "dimensions",
        )
    if weights.spec.dtype.kind not in kinds:
        fail(
            RuntimeError,
            f"cov(): expected {name} to have {what} dtype but got {name} with {dtype_title(weights.spec.dtype)} dtype",
        )
    if weights.spec.numel != count:
        fail(
            RuntimeError,
            f"cov(): expected {name} to have the same numel as there are observations in the input but got "
            f"{weights.spec.numel} != {count}",
        )
    if count and bool((weights < 0).any()):
        fail(RuntimeError, f"cov(): {name} cannot be negative")


def corrcoef(input: Tensor) -> Tensor:
    """The correlation coefficients of variables (rows) over observations (columns)."""
    if input.spec.ndim > 2:
        fail(
            RuntimeError,
            f"corrcoef(): expected input to have two or fewer dimensions but got an input with {input.spec.ndim} "
            "dimensions",
        )
    c = cov(input)
    if not c.spec.ndim:
        return true_divide(c, c)
    spread = diagonal(c)
    spread = (spread.real if spread.spec.dtype.is_complex else spread).sqrt()
    made = true_divide(true_divide(c, unsqueeze(spread, 1)), unsqueeze(spread, 0))
    return made if made.spec.dtype.is_complex else made.clamp(-1, 1)


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each number occurs in a vector of non-negative integers, or the sums of its `weights`."""
    if input.spec.dtype.kind not in "ui":
        fail(NotImplementedError, f"\"bincount_cpu\" not implemented for '{dtype_title(input.spec.dtype)}'")
    needs_numbers("bincount", input)
    if weights is not None:
        one_device(input.spec, weights.spec)
    known = input.spec.ndim == 1 and input.spec.numel and not launch.lacks(input)
    least, most = span(input) if known else (0, 0 if input.spec.numel else -1)
    if input.spec.ndim != 1 or least < 0:
        fail(RuntimeError, "bincount only supports 1-d non-negative integral inputs.")
    if minlength < 0:
        fail(RuntimeError, "minlength should be >= 0")
    if weights is not None:
        if weights.spec.shape != input.spec.shape:
            fail(RuntimeError, "weights should be 1-d and have the same length as input")
        weights = cast(weights.detach(), weights.spec.dtype if weights.spec.dtype is dt.float32 else dt.float64)
    if not input.spec.numel:  # there PyTorch counts whatever the weights
        weights = None
    return tally(cast(input, dt.int64), most + 1 if most >= minlength else minlength, weights)


@takes
def hash_tensor(input: Tensor, dim=(), *, keepdim: bool = False, mode: int = 0, out=None) -> Tensor:
    """The exclusive or of the bits of elements, all or along dims: of floats as float64, of integers as int64."""
    if mode:
        fail(RuntimeError, f"Unknown hash_tensor mode: {mode}")
    if input.spec.dtype.kind == "c":
        fail(NotImplementedError, f"\"hash_tensor\" not implemented for '{dtype_title(input.spec.dtype)}'")
    rank = input.spec.ndim
    dims = tuple(normalize_dim(d, rank) for d in ((dim,) if isinstance(dim, int) else dim or range(rank)))
    if not (dim or isinstance(dim, int)) and not input.spec.numel:
        fail(
            RuntimeError,
            "hash_tensor: Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim "
            "with the 'dim' argument.",
        )
    for d in dims:
        if rank and not input.spec.shape[d]:
            fail(IndexError, f"hash_tensor: Expected reduction dim {d} to have non-zero size.")
    made = hash_bits(input.detach())
    made = hash_rows(made, dims=dims, keepdim=keepdim) if rank else made
    return made if out is None else _to_out("hash_tensor", out, made, ())


@traced(differentiable=False)
def hash_bits(input):
    """The bits that `hash_tensor` joins."""
    if input.dtype.kind == "f":
        return ir.bitcast(ir.cast(input, dt.float64), dt.uint64)
    return ir.cast(ir.cast(input, dt.int64), dt.uint64)


@traced(rows=True, differentiable=False, kinds="u")
def hash_rows(bits):
    """The exclusive or of rows."""
    return ir.reduce("xor", bits)


@takes
def renorm(input: Tensor, p: float, dim: int, maxnorm: float, *, out=None) -> Tensor:
    """The parts along `dim` whose p-norm exceeds `maxnorm` scaled down to it."""
    if input.spec.ndim < 2:
        fail(RuntimeError, f"renorm: input needs at least 2 dimensions, got {input.spec.ndim} dimensions")
    if p <= 0:
        fail(RuntimeError, "renorm: non-positive-norm not supported")
    if maxnorm < 0:
        fail(RuntimeError, f"renorm: expected maxnorm to be >= 0 but got {maxnorm:g}")
    if input.spec.dtype.kind not in "fc":
        fail(RuntimeError, "renorm: expected a floating point or complex tensor", got=str(input.spec.dtype))
    d = normalize_dim(dim, input.spec.ndim)
    others = [e for e in range(input.spec.ndim) if e != d]
    own = input.spec.dtype
    kind = opmath(own)  # of halves float32, in which the factors are computed
    norm = vector_norm(input, p, others, True, dtype=None if kind is own else kind)
    one = full((), 1.0, dtype=norm.spec.dtype, device=norm.spec.device)
    from .public import where

    factor = where(norm > maxnorm, maxnorm / (norm + 1e-7), one)
    made = mul(contiguous(input), factor if kind is own else cast(factor, own))
    return made if out is None else _to_out("renorm", out, made, (input,))


def _quantile(name: str, input: Tensor, q, dim, keepdim: bool, interpolation: str, out) -> Tensor:
    from .public import where
    from .sorting import sort

    kind = input.spec.dtype
    if kind not in (dt.float32, dt.float64):
        fail(RuntimeError, f"{name}() input tensor must be either float or double dtype", got=str(kind))
    if interpolation not in ("linear", "lower", "higher", "midpoint", "nearest"):
        fail(
            RuntimeError,
            f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, "
            f"but got {interpolation}",
        )
    number = not isinstance(q, Tensor)
    if number:
        if not 0 <= q <= 1:
            fail(RuntimeError, f"{name}() q must be in the range [0, 1] but got {q:g}")
        q = full((), q, dtype=kind, device=input.spec.device)
    if q.spec.ndim > 1:
        fail(RuntimeError, f"{name}() q must be a scalar or 1D tensor")
    if q.spec.dtype is not kind:
        fail(RuntimeError, f"{name}() q tensor must be same dtype as the input tensor")
    # Elements of a stand-in, or of a tensor without memory, cannot be looked at.
    known = not number and q.spec.kind is not WRAPPED and not launch.lacks(q)
    if known and q.spec.numel and not 0 <= float(q.min()) <= float(q.max()) <= 1:
        fail(RuntimeError, f"{name}() q values must be in the range [0, 1]")
    if not input.spec.numel:
        fail(RuntimeError, f"{name}() input tensor must be non-empty")
    rank = input.spec.ndim
    whole = dim is None or not rank
    x = reshape(input, (-1,)) if whole else input
    d = 0 if dim is None or not rank else normalize_dim(dim, rank)
    ordered = sort(x.movedim(d, -1) if x.spec.ndim else reshape(x, (1,)), -1)[0]  # NaN last
    n = ordered.spec.shape[-1]
    count = ordered.isnan().logical_not().sum(-1, keepdim=True)
    if name == "quantile":
        last = full((), n - 1, dtype=kind, device=input.spec.device)
    else:
        last = cast((count - 1).clamp(min=0), kind)
    at = mul(reshape(q, (-1,)), last)  # (..., number of quantiles)
    if interpolation == "lower":
        at = at.floor()
    elif interpolation == "higher":
        at = at.ceil()
    elif interpolation == "nearest":
        at = at.round()
    lead = (*ordered.spec.shape[:-1], q.spec.numel)
    at = at.expand(lead)
    low = at.floor()
    weight = sub(at, low) if interpolation != "midpoint" else cast((at != low), kind) * 0.5
    first = ordered.gather(-1, low.long())
    second = ordered.gather(-1, at.ceil().long())
    made = first.lerp(second, weight)
    spoilt = (count < n) if name == "quantile" else count == 0
    made = where(spoilt, full((), math.nan, dtype=kind, device=input.spec.device), made)
    made = made.movedim(-1, 0) if q.spec.ndim else made.squeeze(-1)
    if keepdim:
        made = made.unsqueeze(d + q.spec.ndim) if not whole else reshape(made, (*q.spec.shape, *[1] * rank))
    return made if out is None else _to_out(name, out, made, (input,))


def quantile(
    input: Tensor,
    q,
    dim=None,
    keepdim: bool = False,
    axis=None,
    keepdims=None,
    *,
    interpolation: str = "linear",
    out=None,
) -> Tensor:
    """The values below which the fractions `q` of the elements lie, along `dim`."""
    if axis is not None or keepdims is not None:
        dim, keepdim = numpy_dims("quantile", dim, keepdim, axis, keepdims)
    return _quantile("quantile", input, q, dim, keepdim, interpolation, out)


def nanquantile(
    input: Tensor,
    q,
    dim=None,
    keepdim: bool = False,
    axis=None,
    keepdims=None,
    *,
    interpolation: str = "linear",
    out=None,
) -> Tensor:
    """`quantile` of the elements that are not NaN."""
    if axis is not None or keepdims is not None:
        dim, keepdim = numpy_dims("nanquantile", dim, keepdim, axis, keepdims)
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation, out)
