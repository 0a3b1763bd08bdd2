"""Activation functions: bodies and gradients on symbols, each one kernel forward and one backward, in place too.

Softmax and its kin, which look at whole rows, are in `normalization.py`.
"""

import inspect
import math
from collections.abc import Callable

import numpy as np

from facula import launch
from facula.autograd.node import dtype_title
from facula.core import dtype as dt
from facula.core.modes import GUARD, LOCAL
from facula.core.shape import normalize_dim
from facula.core.spec import dense
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.ir import expr as ir

from .copying import like_layout
from .creation import array_on, host_array, number, numpy_view
from .declare import Repeats, function, traced
from .promotion import of_defaults, opmath
from .view import narrow, reshape

__all__ = [
    "celu", "celu_", "elu", "elu_", "gelu", "glu", "hardshrink", "hardsigmoid", "hardsigmoid_", "hardswish",
    "hardswish_", "hardtanh", "hardtanh_", "leaky_relu", "leaky_relu_", "log_sigmoid", "logsigmoid", "mish", "mish_",
    "prelu", "relu", "relu6", "relu6_", "relu_", "rrelu", "rrelu_", "selu", "selu_", "silu", "silu_", "softplus",
    "softshrink", "threshold", "threshold_",
]  # fmt: skip


def activation(title: str, *, node: str | None = None, check: Callable | None = None, **options):
    """Declare an activation: its keyword-only scalars may be passed by position; `check(input, **scalars)` goes first.

    The result has `gradient` for the formula and `in_place` for the form that overwrites its input.
    """

    def decorate(body: Callable) -> Callable:
        core = traced(body, **{"kinds": "f", **options})
        operator = core.operator
        operator.title = title
        if node:
            operator.node_class.__name__ = node
        names = tuple(operator.scalars)
        needed = tuple(n for n, default in operator.scalars.items() if default is inspect.Parameter.empty)
        whole = "i" in operator.kinds  # integers are accepted: their scalars must be integers too
        over = operator.in_place

        def scalars(input, args: tuple, given: dict) -> dict:
            given = {**dict(zip(names, args)), **given}
            for n in needed:
                if n not in given:
                    fail(TypeError, f'{operator.name}() missing 1 required positional arguments: "{n}"')
            if whole and isinstance(input, Tensor) and input.spec.dtype.kind in "ui":
                given = {n: int(v) if type(v) is float and math.isfinite(v) else v for n, v in given.items()}
            return given

        known: dict = of_defaults({})  # by scalars as they were passed: calls like that, and the scalars that move

        def entry(input, *args, **kwargs):
            if not kwargs:
                try:
                    repeats, moving = known[args]
                except (KeyError, TypeError):
                    return slow(input, *args)
                if (out := repeats.run(input, *moving)) is not None:
                    return out
                if GUARD.active and (out := repeats.in_mode()(input, *moving)) is not None:
                    return out
            return slow(input, *args, **kwargs)

        def slow(input, *args, out=None, **kwargs):
            if check is not None:
                check(input, *args, **kwargs)
            given = scalars(input, args, kwargs)
            given = {
                n: v
                for n, v in given.items()
                if not (type(v) is type(operator.scalars[n]) and v == operator.scalars[n])
            }
            if out is not None:
                _same_dtype(input, out)
                return core(input, out=out, **given)
            out = core(input, **given)
            if not kwargs and isinstance(input, Tensor) and not (whole and input.spec.dtype.kind in "ui"):
                learn(input, args, given)
            return out

        def learn(input: Tensor, args: tuple, given: dict) -> None:
            values = [given.get(n, default) for n, default in operator.scalars.items()]
            moving = tuple([v if type(v) in (int, float) else None for v in values])
            try:
                if args not in known:
                    if len(known) > 4096:
                        known.clear()
                    known[args] = Repeats(operator, 1 + len(moving)), moving
            except TypeError:
                return  # a scalar that is no key
            key = (input.spec,), tuple(sorted(given.items())) or None
            known[args][0].learn(key, (input, *moving))

        def in_place(input, *args, **kwargs):
            if check is not None:
                check(input, *args, **kwargs)
            return over(input, **scalars(input, args, kwargs))

        operator.export(entry)
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        entry.__signature__ = in_place.__signature__ = inspect.Signature(
            [p.replace(kind=kind) for p in operator.signature.parameters.values()]
        )
        in_place.__name__ = in_place.__qualname__ = operator.name + "_"
        in_place.__doc__ = f"`{operator.name}` over the tensor's own elements."
        entry.in_place = in_place
        return entry

    return decorate


def _same_dtype(input: Tensor, out: Tensor) -> None:
    if out.spec.dtype is not input.spec.dtype:
        fail(RuntimeError, f"Found dtype {dtype_title(out.spec.dtype)} but expected {dtype_title(input.spec.dtype)}")


def _zero(x):
    return ir.const(0, x.dtype)


# --- rectifiers ---------------------------------------------------------------------------------------------------


def _no_bool(message: str):
    def check(input, *args, **kwargs):
        if isinstance(input, Tensor):
            kind = input.spec.dtype.kind
            if kind == "b":
                fail(RuntimeError, message)
            if kind == "c":
                fail(NotImplementedError, "clamp is not supported for complex types")

    return check


@activation("clamp_min_scalar_cpu", kinds="uif", check=_no_bool("Boolean inputs not supported for relu"))
def relu(input):
    """max(x, 0), element by element.

    Examples
    --------
    >>> import facula as torch
    >>> torch.relu(torch.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    return ir.maximum(input, _zero(input))


@relu.gradient("input")
def _(grad, out):
    return ir.select(ir.le(out, _zero(out)), _zero(grad), grad)


relu_ = relu.in_place


def _check_hardtanh(input, min_val=-1.0, max_val=1.0):
    _hardtanh_kinds(input)
    if isinstance(input, Tensor) and input.spec.dtype.kind == "u" and min_val < 0:
        fail(RuntimeError, "cannot do hardtanh on an unsigned type with negative limits")


_hardtanh_kinds = _no_bool("Bool inputs not supported for hardtanh")


@activation("clamp_scalar_cpu", kinds="uif", check=_check_hardtanh)
def hardtanh(input, *, min_val=-1.0, max_val=1.0):
    """x limited to [min_val, max_val]."""
    return ir.minimum(ir.maximum(input, min_val), max_val)


@hardtanh.gradient("input")
def _(grad, input, min_val, max_val):
    return ir.select(ir.and_(ir.gt(input, min_val), ir.lt(input, max_val)), grad, _zero(grad))


hardtanh_ = hardtanh.in_place


def relu6(input):
    """min(max(x, 0), 6)."""
    return hardtanh(input, 0.0, 6.0)


def relu6_(input):
    """`relu6` over the tensor's own elements."""
    return hardtanh_(input, 0.0, 6.0)


@activation("threshold_cpu", kinds="uif")
def threshold(input, *, threshold, value):
    """x where x > threshold, else value."""
    return ir.select(
        ir.le(input, threshold), value if isinstance(value, ir.Expr) else ir.const(value, input.dtype), input
    )


@threshold.gradient("input")
def _(grad, input, threshold):
    return ir.select(ir.le(input, threshold), _zero(grad), grad)


threshold_ = threshold.in_place


@activation("leaky_relu_cpu")
def leaky_relu(input, *, negative_slope=0.01):
    """x where x > 0, else negative_slope * x."""
    return ir.select(ir.gt(input, _zero(input)), input, input * negative_slope)


@leaky_relu.gradient("input")
def _(grad, input, negative_slope):
    return ir.select(ir.gt(input, _zero(input)), grad, grad * negative_slope)


leaky_relu_ = leaky_relu.in_place


@traced(kinds="f")
def prelu_kernel(input, weight):
    """x where x > 0, else weight * x."""
    return ir.select(ir.gt(input, _zero(input)), input, weight * input)


@prelu_kernel.gradient("input", "weight")
def _(grad, input, weight):
    positive = ir.gt(input, _zero(input))
    return ir.select(positive, grad, weight * grad), ir.select(positive, _zero(grad), input * grad)


def prelu(input, weight):
    """x where x > 0, else weight * x; `weight` has one number, or one for each channel (dim 1)."""
    kind, rank, count = input.spec.dtype, input.spec.ndim, weight.spec.numel
    if weight.spec.dtype is not kind:
        fail(
            RuntimeError,
            f"prelu: Type promoting not supported. Got {dtype_title(kind)} and {dtype_title(weight.spec.dtype)}",
        )
    if weight.spec.ndim > 1:
        fail(RuntimeError, f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.spec.ndim}")
    if count != 1:
        if rank == 0:
            fail(RuntimeError, "Not allow zero-dim input tensor.")
        channels = input.spec.shape[1] if rank > 1 else 1
        if channels != count:
            fail(
                RuntimeError,
                f"Mismatch of parameter numbers and input channel size. Found parameter numbers = {count} "
                f"and channel size = {channels}.",
            )
    shape = [1] * rank
    if rank > 1:
        shape[1] = count
    return prelu_kernel(input, reshape(weight, tuple(shape)))


prelu_kernel.operator.title = "prelu_cpu"


# --- exponential units --------------------------------------------------------------------------------------------


def _elu(input, alpha=1.0, scale=1.0, input_scale=1.0):
    negative = ir.expm1(input if input_scale == 1.0 else input * input_scale)
    factor = alpha * scale
    if not (factor.__class__ is float and factor == 1.0):
        negative = negative * factor
    return ir.select(ir.lt(input, _zero(input)), negative, input if scale == 1.0 else input * scale)


def _elu_gradient(grad, input, alpha=1.0, scale=1.0, input_scale=1.0):
    factor = alpha * scale * input_scale
    negative = ir.exp(input if input_scale == 1.0 else input * input_scale)
    if not (factor.__class__ is float and factor == 1.0):
        negative = negative * factor
    return ir.select(ir.le(input, _zero(input)), grad * negative, grad if scale == 1.0 else grad * scale)


@activation("elu_cpu")
def elu(input, *, alpha=1.0, scale=1.0, input_scale=1.0):
    """x where x > 0, else alpha * (exp(x) - 1)."""
    return _elu(input, alpha, scale, input_scale)


@elu.gradient("input")
def _(grad, input, alpha, scale, input_scale):
    return _elu_gradient(grad, input, alpha, scale, input_scale)


elu_ = elu.in_place


def _check_celu(input, alpha=1.0):
    if alpha == 0:
        fail(RuntimeError, "ZeroDivisionError: alpha cannot be 0 for CELU")


@activation("elu_cpu", check=_check_celu)
def celu(input, *, alpha=1.0):
    """max(x, 0) + min(alpha * (exp(x / alpha) - 1), 0)."""
    return _elu(input, alpha, 1.0, 1.0 / alpha)


@celu.gradient("input")
def _(grad, input, alpha):
    return _elu_gradient(grad, input, alpha, 1.0, 1.0 / alpha)


celu_ = celu.in_place

SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


@activation("elu_cpu", node="EluBackward0")
def selu(input):
    """ELU with the scale and alpha that keep mean 0 and variance 1."""
    return _elu(input, SELU_ALPHA, SELU_SCALE)


@selu.gradient("input")
def _(grad, input):
    return _elu_gradient(grad, input, SELU_ALPHA, SELU_SCALE)


selu_ = selu.in_place

# --- smooth units -------------------------------------------------------------------------------------------------


@traced(kinds="f", static=("approximate",))
def gelu_kernel(input, *, approximate="none"):
    """x * P(X <= x) for a standard normal X; "tanh" approximates it."""
    if approximate == "tanh":
        return 0.5 * input * (1 + ir.tanh(_gelu_inner(input)))
    return input * ir.ndtr(input)


def _gelu_inner(x):
    return math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)


@gelu_kernel.gradient("input")
def _(grad, input, approximate):
    if approximate == "tanh":
        t = ir.tanh(_gelu_inner(input))
        slope = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * input * input)
        return grad * (0.5 * (1 + t) + 0.5 * input * (1 - t * t) * slope)
    return grad * (ir.ndtr(input) + input * (ir.exp(-0.5 * input * input) * (1 / math.sqrt(2 * math.pi))))


gelu_kernel.operator.title, gelu_kernel.operator.node_class.__name__ = "GeluKernelImpl", "GeluBackward0"


def gelu(input, approximate="none", *, out=None):
    """x * P(X <= x) for a standard normal X; `approximate="tanh"` uses a formula with tanh."""
    if approximate not in ("none", "tanh"):
        fail(RuntimeError, "approximate argument must be either none or tanh.", got=repr(approximate))
    if out is None:
        return gelu_kernel(input) if approximate == "none" else gelu_kernel(input, approximate="tanh")
    _same_dtype(input, out)
    return gelu_kernel(input, approximate=approximate, out=out)


@activation("silu_cpu", kinds="fc")
def silu(input):
    """x * sigmoid(x)."""
    return input / (1 + ir.exp(-input))


@silu.gradient("input")
def _(grad, input):
    s = 1 / (1 + ir.exp(-input))
    slope = s * (1 + input * (1 - s))
    return grad * (ir.conj(slope) if slope.dtype.kind == "c" else slope)


silu_ = silu.in_place


def _tanh_softplus(x):
    """tanh(log(1 + e^x)), 1 - its square, and sigmoid(x), by one exponential."""
    e = ir.exp(ir.minimum(x, ir.const(20, x.dtype)))
    n = e * (e + 2)
    top = 2 / (n + 2)
    return n * top * 0.5, top * top * (n + 1), e / (1 + e)


@activation("mish_cpu")
def mish(input):
    """x * tanh(softplus(x))."""
    return input * _tanh_softplus(input)[0]


@mish.gradient("input")
def _(grad, input):
    t, slope, s = _tanh_softplus(input)
    return grad * (t + input * s * slope)


mish_ = mish.in_place


@activation("hardswish_cpu")
def hardswish(input):
    """x * min(max(x + 3, 0), 6) / 6."""
    return input * ir.minimum(ir.maximum(input + 3, _zero(input)), 6) / 6


@hardswish.gradient("input")
def _(grad, input):
    middle = grad * (input / 3 + 0.5)
    return ir.select(ir.le(input, -3), _zero(grad), ir.select(ir.lt(input, 3), middle, grad))


hardswish_ = hardswish.in_place


@activation("hardsigmoid_cpu")
def hardsigmoid(input):
    """min(max(x / 6 + 1 / 2, 0), 1)."""
    return ir.minimum(ir.maximum(input + 3, _zero(input)), 6) / 6


@hardsigmoid.gradient("input")
def _(grad, input):
    inside = ir.and_(ir.gt(input, -3), ir.lt(input, 3))
    return ir.select(inside, grad * (1 / 6), _zero(grad))


hardsigmoid_ = hardsigmoid.in_place


@activation("softplus_cpu")
def softplus(input, *, beta=1, threshold=20):
    """log(1 + exp(beta * x)) / beta, and x where beta * x > threshold."""
    scaled = input * beta
    return ir.select(ir.gt(scaled, threshold), input, ir.log1p(ir.exp(scaled)) / beta)


@softplus.gradient("input")
def _(grad, input, beta, threshold):
    scaled = input * beta
    z = ir.exp(scaled)
    return ir.select(ir.gt(scaled, threshold), grad, grad * z / (z + 1))


@activation("log_sigmoid_cpu", node="LogSigmoidBackward0")
def log_sigmoid(input):
    """log(sigmoid(x)), without overflow."""
    return ir.minimum(_zero(input), input) - ir.log1p(ir.exp(-ir.abs(input)))


@log_sigmoid.gradient("input")
def _(grad, input):
    z = ir.exp(-ir.abs(input))
    part = z / (1 + z)
    return grad * ir.select(ir.lt(input, _zero(input)), 1 - part, part)


logsigmoid = log_sigmoid


# --- shrinking ----------------------------------------------------------------------------------------------------


_MOST = {
    "f32": "3.40282e+38",
    "f64": "1.79769e+308",
    "f16": "65504",
    "bf16": "3.38953e+38",
}  # of each dtype, as C++ shows it


def _check_softshrink(input, lambd=0.5):
    most = _MOST.get(input.spec.dtype.code) if isinstance(input, Tensor) else None
    if most is not None and not 0 <= lambd <= float(most):
        title = dtype_title(input.spec.dtype)
        fail(RuntimeError, f"lambda must be in range [0, {most}] for input dtype {title}, but found {lambd:g}")


@activation("softshrink_check", check=_check_softshrink)
def softshrink(input, *, lambd=0.5):
    """x moved towards 0 by lambd, and 0 within lambd of it."""
    high, low = ir.gt(input, lambd), ir.lt(input, -lambd)
    return ir.select(high, input - lambd, ir.select(low, input + lambd, input * 0))


@softshrink.gradient("input")
def _(grad, input, lambd):
    outside = ir.or_(ir.gt(input, lambd), ir.lt(input, -lambd))
    return ir.select(outside, grad, _zero(grad))


@activation("hardshrink_cpu")
def hardshrink(input, *, lambd=0.5):
    """x, and 0 within lambd of 0."""
    inside = ir.and_(ir.ge(input, -lambd), ir.le(input, lambd))
    return ir.select(inside, _zero(input), input)


@hardshrink.gradient("input")
def _(grad, input, lambd):
    outside = ir.or_(ir.gt(input, lambd), ir.lt(input, -lambd))
    return ir.select(outside, grad, _zero(grad))


# --- gates --------------------------------------------------------------------------------------------------------


@traced(kinds="f")
def gated(a, b):
    return a / (1 + ir.exp(-b))


@traced(kinds="f")
def gated_gradient(grad, a, b):
    s = 1 / (1 + ir.exp(-b))
    first = grad * s
    return first, first * a * (1 - s)


gated.operator.title = "glu_cpu"


def _halves(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    half = x.spec.shape[dim] // 2
    return narrow(x, dim, 0, half), narrow(x, dim, half, half)


@function(tensors=("input",))
def glu_along(input, dim):
    return gated(*_halves(input, dim))


@glu_along.gradient("input")
def _(grad, input, dim):
    first, second = _halves(input, dim)
    if LOCAL.grad:
        from .joining import cat

        return cat(gated_gradient(grad, first, second), dim)
    out = launch.empty(dense(input.spec.dtype, input.spec.shape, input.spec.device))
    gated_gradient(grad, first, second, out=_halves(out, dim))
    return out


glu_along.operator.node_class.__name__ = "GluBackward0"


def glu(input, dim=-1):
    """a * sigmoid(b), with a and b the halves of the input along `dim`."""
    if not input.spec.ndim:
        fail(RuntimeError, "glu does not support 0-dimensional tensors")
    d = normalize_dim(dim, input.spec.ndim)
    size = input.spec.shape[d]
    if size % 2:
        fail(RuntimeError, f"Halving dimension must be even, but dimension {d} is size {size}")
    return glu_along(input, d)


# --- random slopes ------------------------------------------------------------------------------------------------


@traced(kinds="f")
def rrelu_with_noise(input, noise):
    return ir.select(ir.le(input, _zero(input)), input * noise, input)


@rrelu_with_noise.gradient("input")
def _(grad, input, noise):
    return ir.select(ir.le(input, _zero(input)), grad * noise, grad)


@rrelu_with_noise.gradient("noise")
def _(grad):
    return _zero(grad)


rrelu_with_noise.operator.title = "rrelu_with_noise_out_cpu"


@activation("leaky_relu_cpu", node="RreluWithNoiseBackward0")
def rrelu_mean(input, *, slope):
    return ir.select(ir.gt(input, _zero(input)), input, input * slope)


@rrelu_mean.gradient("input")
def _(grad, input, slope):
    return ir.select(ir.gt(input, _zero(input)), grad, grad * slope)


def _slopes(input: Tensor, lower: float, upper: float, generator) -> Tensor:
    """A slope for each element that is not positive, 1 elsewhere.

    As PyTorch: where numbers are drawn one after the other, for these elements alone.
    """
    from .random import uniform_

    if input.spec.dtype not in (dt.float32, dt.float64, dt.bfloat16):
        fail(NotImplementedError, f"\"rrelu_with_noise_out_cpu\" not implemented for '{dtype_title(input.spec.dtype)}'")
    kind = input.spec.dtype
    if launch.offered("dropout", input.spec.device):  # which draws for all elements at once
        from .elementwise import le, where

        drawn = uniform_(launch.empty(like_layout(input.spec)), lower, upper, generator=generator)
        return where(le(input.detach(), 0), drawn, 1.0)
    values = host_array(input.to(opmath(kind)))
    if values is None:
        return launch.empty(dense(kind, input.spec.shape, input.spec.device))
    low = values <= 0
    least, most = (number(n, kind) for n in (lower, upper))
    drawn = numpy_view(uniform_(launch.empty(dense(dt.float64, (int(low.sum()),))), generator=generator))
    noise = np.ones(values.shape, values.dtype)
    noise[low] = drawn * (most - least) + least
    return array_on(noise, input.spec.device).to(kind)


def _check_rrelu(lower: float, upper: float) -> None:
    for name, value in (("lower", lower), ("upper", upper)):
        if not math.isfinite(value):
            fail(RuntimeError, f"rrelu: {name} bound must be finite, got {value}")
    if lower > upper:
        fail(
            RuntimeError,
            "Lower bound should be less than or equal to the upper bound",
            got=f"lower={lower} and upper={upper}",
        )


def rrelu(input, lower=1.0 / 8, upper=1.0 / 3, training=False, generator=None):
    """Leaky ReLU whose slope is drawn from [lower, upper] in training, and their mean otherwise."""
    _check_rrelu(lower, upper)
    if training:
        return rrelu_with_noise(input, _slopes(input, lower, upper, generator))
    return rrelu_mean(input, slope=(lower + upper) / 2)


def rrelu_(input, lower=1.0 / 8, upper=1.0 / 3, training=False, generator=None):
    """`rrelu` over the tensor's own elements."""
    _check_rrelu(lower, upper)
    if training:
        return rrelu_with_noise.operator.in_place(input, _slopes(input, lower, upper, generator))
    return rrelu_mean.in_place(input, slope=(lower + upper) / 2)
