"""Softmax and the layers that normalise with means and variances: rows kernels forward and backward.

Every normalization is one of two: over the dims that the weights have too (layer, group and RMS norm), or over all dims
but the channel's, the weights being one number a row (batch norm).
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from facula import launch
from facula.autograd.node import dtype_title
from facula.core import dtype as dt
from facula.core.modes import GUARD, LOCAL
from facula.core.shape import normalize_dim
from facula.core.spec import dense
from facula.core.tensor import Tensor
from facula.core.wrapped import followed
from facula.errors import fail
from facula.ir import expr as ir

from .copying import cast
from .creation import dtype_c_name
from .declare import INTO, function, traced
from .declare.repeats import UNHASHED, FunctionPlan, Repeats, inner
from .limits import finfo
from .numpynames import REQUIRED, numpy_dims
from .view import reshape

__all__ = [
    "batch_norm", "group_norm", "instance_norm", "layer_norm", "log_softmax", "native_batch_norm",
    "native_group_norm", "native_layer_norm", "rms_norm", "softmax", "softmin",
]  # fmt: skip


# --- softmax ------------------------------------------------------------------------------------------------------


@traced(rows=True, kinds="f")
def softmax_rows(input):
    e = ir.exp(input - ir.reduce("max", input))
    return e * (1 / ir.reduce("sum", e))


@softmax_rows.gradient("input")
def _(grad, out):
    return out * (grad - ir.reduce("sum", grad * out))


@traced(rows=True, kinds="f")
def log_softmax_rows(input):
    shifted = input - ir.reduce("max", input)
    return shifted - ir.log(ir.reduce("sum", ir.exp(shifted)))


@log_softmax_rows.gradient("input")
def _(grad, out):
    return grad - ir.exp(out) * ir.reduce("sum", grad)


softmax_rows.operator.node_class.__name__ = "SoftmaxBackward0"
log_softmax_rows.operator.node_class.__name__ = "LogSoftmaxBackward0"


def _softmax(rows, name: str):
    core = rows.operator.call_rows
    known = Repeats(rows.operator, 1, others=1)

    def entry(input, dim=REQUIRED, dtype=None, axis=None, *, out=None):
        if dim is REQUIRED or axis is not None:
            dim, _ = numpy_dims(name, dim, None, axis, None, REQUIRED)
        if dtype is None and out is None:
            if (made := known.run(input, dim)) is not None:
                return made
            if GUARD.active and (made := known.in_mode()(input, dim)) is not None:
                return made
        if dtype is not None:
            input = cast(input, dtype)
        s = input.spec
        d = normalize_dim(dim, s.ndim)
        if s.dtype.kind != "f":
            last = "_lastdim" if d == max(s.ndim - 1, 0) else ""
            fail(NotImplementedError, f"\"{name}{last}_kernel_impl\" not implemented for '{dtype_title(s.dtype)}'")
        dims = (d,) if s.ndim else ()
        if out is not None and out.spec.dtype is not s.dtype:
            fail(
                RuntimeError,
                f"Expected out tensor to have dtype {dtype_c_name(s.dtype)}, but got "
                f"{dtype_c_name(out.spec.dtype)} instead",
            )
        if out is not None:
            return core(input, dims=dims, out=out)
        made = core(input, dims=dims)
        known.learn(((s,), dims, False, None, None), (input, dim))
        return made

    entry.__name__ = entry.__qualname__ = name
    return entry


softmax = _softmax(softmax_rows, "softmax")
softmax.__doc__ = """exp(x) / sum(exp(x)) along `dim`, without overflow.

Examples
--------
>>> import facula as torch
>>> torch.softmax(torch.tensor([0.0, 0.0]), dim=0)
tensor([0.5000, 0.5000])
"""
log_softmax = _softmax(log_softmax_rows, "log_softmax")
log_softmax.__doc__ = """log(softmax(x)) along `dim`, without overflow."""


def softmin(input, dim, dtype=None) -> Tensor:
    """softmax(-x) along `dim`."""
    return softmax(-input, dim, dtype)


# --- the two forms of normalization -------------------------------------------------------------------------------
# `into` is the gradient that comes from the result. Means and 1 / standard deviation are kept in the dtype of the
# arithmetic: float32 for half and bfloat16.


def _like(value, x):
    return None if value is None else ir.cast(value, x.dtype)


def _statistics(x, eps):
    n = ir.cast(ir.count(), x.dtype)
    mean = ir.reduce("sum", x) / n
    d = x - mean
    return mean, ir.reduce("sum", d * d) / n


def _scaled(normal, weight, bias):
    if weight is not None:
        normal = normal * _like(weight, normal)
    return normal if bias is None else normal + _like(bias, normal)


def _normalized(input, weight, bias, *, eps):
    mean, variance = _statistics(input, eps)
    rstd = 1 / ir.sqrt(variance + eps)
    return _scaled((input - mean) * rstd, weight, bias), mean, rstd


def _input_gradient(g, normal, rstd, n):
    """Of the normalised numbers' gradient `g`: what changes mean or variance is taken out."""
    return rstd * (g - ir.reduce("sum", g) / n - normal * (ir.reduce("sum", g * normal) / n))


WEIGHTS, ROW, STATISTICS = ("weight", "bias"), ("mean", "rstd"), (None, "compute", "compute")


def _rows(**options) -> Callable[[Callable], Callable[..., Any]]:
    """Declare a body on rows; the result is called with `dims`."""
    return lambda body: traced(body, rows=True, kinds="f", **options).operator.call_rows


@_rows(keep=WEIGHTS, results=STATISTICS)
def _over(input, weight, bias, *, eps):
    return _normalized(input, weight, bias, eps=eps)


@_rows(keep=("weight", *ROW), per_row=ROW)
def _over_gradient(into, input, weight, mean, rstd):
    n = ir.cast(ir.count(), input.dtype)
    g = into if weight is None else into * _like(weight, into)
    return _input_gradient(g, (input - mean) * rstd, rstd, n)


@_rows(keep=ROW)
def _over_weights(into, input, mean, rstd):
    return ir.reduce("sum", into * ((input - mean) * rstd)), ir.reduce("sum", into)


@_rows(results=("compute", "compute"))
def _row_statistics(input, *, eps):
    mean, variance = _statistics(input, eps)
    return mean, 1 / ir.sqrt(variance + eps)


@function(name="native_layer_norm", tensors=("input", "weight", "bias"), outputs=("out", "mean", "rstd"), fill=False)
def layer_norm_of(input, weight, bias, normalized_shape, eps):
    """(result, mean, 1 / standard deviation) of `layer_norm`."""
    rank = input.spec.ndim
    return _over(
        input, weight, bias, dims=tuple(range(rank - len(normalized_shape), rank)), keepdim=True, eps=float(eps)
    )


@layer_norm_of.gradient("input", "weight", "bias")
def _(grad_out, input, normalized_shape, weight, bias_spec, eps, mean, rstd, needs):
    rank, width = input.spec.ndim, len(normalized_shape)
    dims = tuple(range(rank - width, rank))
    return _over_backward(grad_out, input, weight, bias_spec, mean, rstd, eps, dims, tuple(range(rank - width)), needs)


def _over_backward(grad, input, weight, bias_spec, mean, rstd, eps, dims, outer, needs):
    """Gradients of input, weight and bias; `dims` are normalised together, `outer` those that the weights lack."""
    if grad is None:
        return None, None, None
    if LOCAL.grad:  # second derivatives go through the statistics too
        mean, rstd = _row_statistics(input, dims=dims, keepdim=True, eps=float(eps))
    for_input = _over_gradient(grad, input, weight, mean, rstd, dims=dims, keepdim=True) if needs["input"] else None
    for_weight = for_bias = None
    if needs["weight"] or needs["bias"]:
        for_weight, for_bias = _over_weights(grad, input, mean, rstd, dims=outer)
        for_weight = _fitted(for_weight, weight.spec) if needs["weight"] else None
        for_bias = _fitted(for_bias, bias_spec) if needs["bias"] else None
    return for_input, for_weight, for_bias


def _fitted(x: Tensor, s) -> Tensor:
    x = x if x.spec.shape == s.shape else reshape(x, s.shape)
    return x if x.spec.dtype is s.dtype else cast(x, s.dtype)


def _need_float(x: Tensor, name: str) -> None:
    if x.spec.dtype.kind != "f":
        fail(NotImplementedError, f"\"{name}\" not implemented for '{dtype_title(x.spec.dtype)}'")


def _normalized_dims(name: str, input: Tensor, shape, **weights) -> tuple[int, ...]:
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    if not shape:
        fail(
            RuntimeError,
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one "
            "element, but got normalized_shape = []",
        )
    for key, x in weights.items():
        if x is not None and tuple(x.spec.shape) != shape:
            fail(
                RuntimeError,
                f"Expected {key} to be of same shape as normalized_shape, but got {key} of shape "
                f"{list(x.spec.shape)} and normalized_shape = {list(shape)}",
            )
    if tuple(input.spec.shape[-len(shape) :]) != shape:
        fail(
            RuntimeError,
            f"Given normalized_shape={list(shape)}, expected input with shape "
            f"[*{', ' if name == 'layer_norm' else ''}{', '.join(map(str, shape))}], but got input of "
            f"size{list(input.spec.shape)}",
        )
    return shape


def layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-5, cudnn_enable=True) -> Tensor:
    """The last dims, of shape `normalized_shape`, with their mean taken off, divided by their standard deviation.

    Parameters
    ----------
    input : Tensor
        (*, *normalized_shape)
    weight, bias : Tensor, optional
        A factor and an addend for each element of `normalized_shape`.
    eps : float
        Added to the variance.

    Examples
    --------
    >>> import facula as torch
    >>> torch.layer_norm(torch.tensor([[1.0, 3.0]]), (2,))
    tensor([[-1.0000,  1.0000]])
    """
    given = tuple(normalized_shape) if normalized_shape.__class__ is list else normalized_shape
    same = _KNOWN_LAYER.same(given, eps)
    if (made := _KNOWN_LAYER.run(input, weight, bias, same)) is not None:
        return made[0]
    if GUARD.active and (made := _KNOWN_LAYER.in_mode()(input, weight, bias, same)) is not None:
        return made[0]
    shape = _normalized_dims("layer_norm", input, normalized_shape, weight=weight, bias=bias)
    _need_float(input, "LayerNormKernelImpl")
    made = layer_norm_of(input, weight, bias, shape, eps)
    if same is not UNHASHED:
        make = lambda *specs: _layer_plan(specs[:3], len(shape), float(eps))  # noqa: E731
        named = input, weight, bias, shape, eps
        _KNOWN_LAYER.repeat((input, weight, bias, same), 3, made, make, named=named)
    return made[0]


_KNOWN_LAYER = Repeats(layer_norm_of.operator, 3, others=1)


def _layer_plan(specs: tuple, width: int, eps: float) -> FunctionPlan | None:
    dims = tuple(range(specs[0].ndim - width, specs[0].ndim))
    kinds = [type(None) if s is None else s for s in specs]
    return inner(_over.__self__.plan(kinds, scalars={"eps": eps}, dims=dims, keepdim=True), {"eps": eps})


# --- root mean square ---------------------------------------------------------------------------------------------


@_rows(keep=("weight",), results=(None, "compute"))
def _rms(input, weight, *, eps):
    rstd = 1 / ir.sqrt(ir.reduce("sum", input * input) / ir.cast(ir.count(), input.dtype) + eps)
    return _scaled(input * rstd, weight, None), rstd


@_rows(results=("compute",))
def _rms_statistics(input, *, eps):
    return 1 / ir.sqrt(ir.reduce("sum", input * input) / ir.cast(ir.count(), input.dtype) + eps)


@_rows(keep=("weight", "rstd"), per_row=("rstd",))
def _rms_gradient(into, input, weight, rstd):
    g = into if weight is None else into * _like(weight, into)
    normal = input * rstd
    return rstd * (g - normal * (ir.reduce("sum", g * normal) / ir.cast(ir.count(), input.dtype)))


@_rows(keep=("rstd",))
def _rms_weight(into, input, rstd):
    return ir.reduce("sum", into * (input * rstd))


@function(tensors=("input", "weight"), outputs=("out", "rstd"), fill=False)
def fused_rms_norm(input, normalized_shape, weight, eps):
    rank = input.spec.ndim
    return _rms(input, weight, dims=tuple(range(rank - len(normalized_shape), rank)), keepdim=True, eps=eps)


@fused_rms_norm.gradient("input", "weight")
def _(grad_out, input, normalized_shape, weight, eps, rstd, needs):
    if grad_out is None:
        return None, None
    rank, width = input.spec.ndim, len(normalized_shape)
    dims = tuple(range(rank - width, rank))
    if LOCAL.grad:
        rstd = _rms_statistics(input, dims=dims, keepdim=True, eps=eps)
    for_input = _rms_gradient(grad_out, input, weight, rstd, dims=dims, keepdim=True) if needs["input"] else None
    for_weight = None
    if needs["weight"]:
        for_weight = _fitted(_rms_weight(grad_out, input, rstd, dims=tuple(range(rank - width))), weight.spec)
    return for_input, for_weight


fused_rms_norm.operator.node_class.__name__ = "FusedRmsNormBackward0"


def rms_norm(input, normalized_shape, weight=None, eps=None) -> Tensor:
    """The last dims, of shape `normalized_shape`, divided by their root mean square; `eps`: None is the dtype's."""
    shape = _normalized_dims("rms_norm", input, normalized_shape, weight=weight)
    if input.spec.dtype.kind == "c":
        return _rms_complex(input, shape, weight, eps)
    _need_float(input, "rms_norm")
    if eps is None:
        eps = finfo(dt.float64 if input.spec.dtype is dt.float64 else dt.float32).eps
    return fused_rms_norm(input, shape, weight, float(eps))[0]


def _rms_complex(input: Tensor, shape: tuple[int, ...], weight: Tensor | None, eps: float | None) -> Tensor:
    """`rms_norm` of complex numbers: with the square of each, not of its size, as PyTorch has it."""
    from .elementwise import mul, rsqrt, square
    from .reduction import mean

    if eps is None:
        eps = finfo(input.spec.dtype.to_real()).eps
    out = mul(input, rsqrt(mean(square(input), tuple(range(-len(shape), 0)), keepdim=True) + eps))
    return out if weight is None else mul(out, weight)


# --- groups of channels -------------------------------------------------------------------------------------------


@function(name="native_group_norm", tensors=("input", "weight", "bias"), outputs=("out", "mean", "rstd"), fill=False)
def group_norm_of(input, weight, bias, N, C, HxW, group, eps):
    """(result, mean, 1 / standard deviation) of `group_norm`."""
    x, weight, bias = _grouped(input, group), _channels(weight, group), _channels(bias, group)
    out, mean, rstd = _over(x, weight, bias, dims=(2, 3), eps=float(eps))
    return reshape(out, input.spec.shape), mean, rstd


@group_norm_of.gradient("input", "weight", "bias")
def _(grad_out, input, weight, bias_spec, group, eps, mean, rstd, needs):
    if grad_out is None:
        return None, None, None
    x, grad = _grouped(input, group), _grouped(grad_out, group)
    mean, rstd = (reshape(t, (*t.spec.shape, 1, 1)) for t in (mean, rstd))
    for_input, for_weight, for_bias = _over_backward(
        grad,
        x,
        _channels(weight, group),
        bias_spec,
        mean,
        rstd,
        eps,
        (2, 3),
        (0, 3),
        {**needs, "weight": False, "bias": False},
    )
    if needs["weight"] or needs["bias"]:
        if LOCAL.grad:
            mean, rstd = _row_statistics(x, dims=(2, 3), keepdim=True, eps=float(eps))
        for_weight, for_bias = _over_weights(grad, x, mean, rstd, dims=(0, 3))
        for_weight = _fitted(for_weight, weight.spec) if needs["weight"] else None
        for_bias = _fitted(for_bias, bias_spec) if needs["bias"] else None
    return None if for_input is None else reshape(for_input, input.spec.shape), for_weight, for_bias


def _grouped(x: Tensor, groups: int) -> Tensor:
    """(N, C, ...) as (N, groups, C / groups, ...)."""
    n, c, *rest = x.spec.shape
    return reshape(x, (n, groups, c // groups, math.prod(rest)))


def _channels(weight: Tensor | None, groups: int) -> Tensor | None:
    return None if weight is None else reshape(weight, (1, groups, weight.spec.numel // groups, 1))


def group_norm(input, num_groups, weight=None, bias=None, eps=1e-5, cudnn_enabled=True) -> Tensor:
    """Groups of channels (dim 1) of each sample with their mean taken off, divided by their standard deviation."""
    s = input.spec
    if s.ndim < 2:
        normalize_dim(1, s.ndim)
    n, c, *rest = s.shape
    if num_groups <= 0:
        fail(RuntimeError, f"Expected num groups to be greater than 0, got {num_groups}")
    if c % num_groups:
        fail(
            RuntimeError,
            "Expected number of channels in input to be divisible by num_groups, but got input of shape "
            f"{list(s.shape)} and num_groups={num_groups}",
        )
    for key, x in (("weight", weight), ("bias", bias)):
        if x is not None and (x.spec.ndim != 1 or x.spec.numel != c):
            fail(
                RuntimeError,
                f"Expected {key} to be a vector of size equal to the number of channels in input, but got "
                f"{key} of shape {list(x.spec.shape)} and input of shape {list(s.shape)}",
            )
    _need_float(input, "GroupNormKernelImpl")
    return group_norm_of(input, weight, bias, n, c, math.prod(rest), num_groups, eps)[0]


# --- channels over batch and space --------------------------------------------------------------------------------


CHANNEL, RUNNING = ("weight", "bias", "mean", "rstd", "variance"), ("running_mean", "running_var")


@_rows(keep=CHANNEL + RUNNING, per_row=CHANNEL + RUNNING, results=STATISTICS, over=RUNNING, lies=True)
def _train(input, weight, bias, running_mean, running_var, *, eps, momentum, correction):
    mean, variance = _statistics(input, eps)
    rstd = 1 / ir.sqrt(variance + eps)
    out = _scaled((input - mean) * rstd, weight, bias)
    pairs = ((running_mean, mean * momentum), (running_var, variance * (correction * momentum)))
    moved = [_like(running, input) * (1 - momentum) + part for running, part in pairs if running is not None]
    return out, mean, rstd, *moved


@_rows(keep=CHANNEL, per_row=CHANNEL, lies=True)
def _train_gradient(into, input, weight, mean, rstd):
    n = ir.cast(ir.count(), input.dtype)
    normal = (input - mean) * rstd
    total, along = ir.reduce("sum", into), ir.reduce("sum", into * normal)
    scale = rstd if weight is None else rstd * _like(weight, rstd)
    return scale * (into - total / n - normal * (along / n)), along, total


@_rows(keep=CHANNEL, per_row=CHANNEL, lies=True)
def _apply(input, weight, bias, mean, variance, *, eps):
    mean, variance = _like(mean, input), _like(variance, input)
    return _scaled((input - mean) * (1 / ir.sqrt(variance + eps)), weight, bias)


@_rows(keep=CHANNEL, per_row=CHANNEL, lies=True)
def _apply_gradient(into, input, weight, mean, variance, *, eps):
    mean, rstd = _like(mean, input), 1 / ir.sqrt(_like(variance, input) + eps)
    scale = rstd if weight is None else rstd * _like(weight, rstd)
    return into * scale, ir.reduce("sum", into * ((input - mean) * rstd)), ir.reduce("sum", into)


def _all_but_channel(rank: int) -> tuple[int, ...]:
    return (0, *range(2, rank))


@function(name="native_batch_norm", tensors=("input", "weight", "bias"), outputs=("out", "mean", "rstd"), fill=False)
def batch_norm_of(input, weight, bias, running_mean, running_var, momentum, eps):
    """(result, mean, 1 / standard deviation) of `batch_norm` in training."""
    s = input.spec
    dims = _all_but_channel(s.ndim)
    count = math.prod([s.shape[d] for d in dims])
    if count == 0:
        running_mean = running_var = None  # nothing was seen: they stay
    return _train(
        input, weight, bias, running_mean, running_var, dims=dims, eps=float(eps), momentum=float(momentum),
        correction=count / (count - 1) if count > 1 else math.nan,
    )  # fmt: skip


@batch_norm_of.gradient("input", "weight", "bias")
def _(grad_out, input, weight, bias_spec, eps, mean, rstd, needs):
    if grad_out is None:
        return None, None, None
    dims = _all_but_channel(input.spec.ndim)
    if LOCAL.grad:
        mean, rstd = _row_statistics(input, dims=dims, eps=float(eps))
    return _wanted(_train_gradient(grad_out, input, weight, mean, rstd, dims=dims), weight, bias_spec, needs)


@function(tensors=("input", "weight", "bias"), fill=False)
def batch_norm_with(input, weight, bias, running_mean, running_var, eps):
    """The result of `batch_norm` with running statistics."""
    return _apply(
        input, weight, bias, running_mean, running_var, dims=_all_but_channel(input.spec.ndim), eps=float(eps)
    )


@batch_norm_with.gradient("input", "weight", "bias")
def _(grad, input, weight, bias_spec, running_mean, running_var, eps, needs):
    dims = _all_but_channel(input.spec.ndim)
    found = _apply_gradient(grad, input, weight, running_mean, running_var, dims=dims, eps=float(eps))
    return _wanted(found, weight, bias_spec, needs)


batch_norm_with.operator.node_class.__name__ = "NativeBatchNormBackward0"


def _wanted(found: Sequence[Tensor], weight: Tensor | None, bias_spec, needs: dict[str, bool]) -> tuple:
    """The gradients of input, weight and bias that are needed."""
    for_input, for_weight, for_bias = found
    return (
        for_input if needs["input"] else None,
        None if weight is None or not needs["weight"] else _fitted(for_weight, weight.spec),
        _fitted(for_bias, bias_spec) if needs["bias"] else None,
    )


def batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps, cudnn_enabled=True) -> Tensor:
    """Each channel (dim 1) with its mean taken off, divided by its standard deviation.

    Parameters
    ----------
    input : Tensor
        (N, C, ...)
    weight, bias : Tensor or None
        A factor and an addend for each channel.
    running_mean, running_var : Tensor or None
        In training moved in place by `momentum` towards mean and (unbiased) variance of the batch; otherwise used
        instead of them.
    """
    s = input.spec
    if s.ndim < 2 and not s.numel:
        return input.clone()
    if s.ndim < 2:
        normalize_dim(1, s.ndim)
    channels = s.shape[1]
    if not training and (running_mean is None or running_var is None):
        fail(
            RuntimeError,
            f"{'running_mean' if running_mean is None else 'running_var'} must be defined in evaluation mode",
        )
    for key, x in (("running_mean", running_mean), ("running_var", running_var), ("weight", weight), ("bias", bias)):
        if x is not None and x.spec.numel != channels:
            fail(RuntimeError, f"{key} should contain {channels} elements not {x.spec.numel}")
    _need_float(input, "batch_norm")
    if not training:
        return batch_norm_with(input, weight, bias, running_mean, running_var, eps)
    return batch_norm_of(input, weight, bias, running_mean, running_var, momentum, eps)[0]


def instance_norm(
    input, weight, bias, running_mean, running_var, use_input_stats, momentum, eps, cudnn_enabled=True
) -> Tensor:
    """Channels of each sample with their mean taken off, divided by their standard deviation: `batch_norm` of N * C."""
    from .joining import repeat
    from .reduction import mean

    if not use_input_stats and (running_mean is None or running_var is None):
        fail(RuntimeError, "Expected running_mean and running_var to be defined when use_input_stats is false")
    shape = input.spec.shape
    n, c = shape[0], shape[1]
    weight, bias, own_mean, own_var = (
        None if x is None else repeat(x, n) for x in (weight, bias, running_mean, running_var)
    )
    out = batch_norm(
        reshape(input, (1, n * c, *shape[2:])), weight, bias, own_mean, own_var, use_input_stats, momentum, eps
    )
    if use_input_stats:
        for target, values in ((running_mean, own_mean), (running_var, own_var)):
            if target is not None and values is not None:
                target.copy_(mean(reshape(values, (n, c)), 0))
    return reshape(out, shape)


# --- with their statistics ----------------------------------------------------------------------------------------


def _told(found: Sequence[Tensor], weight: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """A result with its statistics, in the dtype of the weights, or of the input."""
    kind = (found[0] if weight is None else weight).spec.dtype
    out, mean, rstd = [found[0], *(x if x.spec.dtype is kind else cast(x, kind) for x in found[1:])]
    return out, mean, rstd


def native_layer_norm(input, normalized_shape, weight, bias, eps) -> tuple[Tensor, Tensor, Tensor]:
    """(result, mean, 1 / standard deviation) of `layer_norm`."""
    shape = _normalized_dims("native_layer_norm", input, normalized_shape, weight=weight, bias=bias)
    _need_float(input, "LayerNormKernelImpl")
    return _told(layer_norm_of(input, weight, bias, shape, eps), weight)


def native_group_norm(input, weight, bias, N, C, HxW, group, eps) -> tuple[Tensor, Tensor, Tensor]:
    """(result, mean, 1 / standard deviation) of `group_norm`; the statistics have gradients too."""
    _need_float(input, "GroupNormKernelImpl")
    out, mean, rstd = group_norm_of(input, weight, bias, N, C, HxW, group, eps)
    if followed(input):
        mean, rstd = _row_statistics(_grouped(input, group), dims=(2, 3), eps=float(eps))
    return _told((out, mean, rstd), weight)


def native_batch_norm(
    input, weight, bias, running_mean, running_var, training, momentum, eps, *, out=None
) -> tuple[Tensor, Tensor, Tensor]:
    """(result, mean, 1 / standard deviation) of `batch_norm`; the latter are empty where running ones are used."""
    _need_float(input, "batch_norm")
    if training:
        found = _told(batch_norm_of(input, weight, bias, running_mean, running_var, momentum, eps), weight)
    else:
        result = batch_norm_with(input, weight, bias, running_mean, running_var, eps)
        nothing = dense((input if weight is None else weight).spec.dtype, (0,), input.spec.device)
        found = result, launch.empty(nothing), launch.empty(nothing)
    if out is None:
        return found
    first, second, third = (INTO[0]("native_batch_norm", o, x, (input,)) for o, x in zip(out, found, strict=True))
    return first, second, third
