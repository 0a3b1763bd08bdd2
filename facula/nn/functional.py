"""`torch.nn.functional`: PyTorch's names and parameters, its argument checks, and functions that are compositions.

What a single operator computes is in `facula.operators`; nothing here has a kernel or a gradient of its own.
"""

import importlib
import math
import warnings
from typing import Any

from facula import operators as ops
from facula.alias import missing
from facula.autograd import no_grad
from facula.core.dtype import int64
from facula.core.tensor import Tensor
from facula.errors import caution, fail
from facula.operators.convolution import unfold_windows
from facula.operators.margins import reduced as _reduced
from facula.operators.resampling import GRID_MODES, GRID_PADDINGS
from facula.operators.unpooling import fractional_max_pool, max_unpool

from . import grad as grad
from .grouped import ScalingType as ScalingType
from .grouped import SwizzleType as SwizzleType
from .grouped import grouped_mm as grouped_mm
from .grouped import scaled_grouped_mm as scaled_grouped_mm
from .grouped import scaled_mm as scaled_mm
from .linear_cross_entropy import linear_cross_entropy as linear_cross_entropy
from .multihead import _canonical_mask as _canonical_mask
from .multihead import _none_or_dtype as _none_or_dtype
from .multihead import multi_head_attention_forward as multi_head_attention_forward

# Helpers that libraries import from here, each with the module that has it; imported when first used.
_HELPERS = dict.fromkeys(
    ("handle_torch_function", "has_torch_function", "has_torch_function_unary", "has_torch_function_variadic"),
    "facula.overrides",
) | dict.fromkeys(
    ("BroadcastingList1", "BroadcastingList2", "BroadcastingList3", "boolean_dispatch"), "facula._jit_internal"
)


def __getattr__(name: str) -> Any:
    if name in _HELPERS:
        return getattr(importlib.import_module(_HELPERS[name]), name)
    missing(__name__, name)


def assert_int_or_pair(arg: Any, arg_name: str, message: str) -> None:
    """AssertionError where an argument is neither an int nor a pair."""
    if not (isinstance(arg, int) or len(arg) == 2):
        raise AssertionError(message.format(arg_name))


GRID_SAMPLE_INTERPOLATION_MODES = {name: number for number, name in enumerate(GRID_MODES)}
GRID_SAMPLE_PADDING_MODES = {name: number for number, name in enumerate(GRID_PADDINGS)}

# Functions that are operators as they stand
adaptive_avg_pool1d = ops.adaptive_avg_pool1d
avg_pool1d = ops.avg_pool1d
avg_pool2d = ops.avg_pool2d
avg_pool3d = ops.avg_pool3d
bilinear = ops.bilinear
channel_shuffle = ops.channel_shuffle
conv1d = ops.conv1d
conv2d = ops.conv2d
conv3d = ops.conv3d
conv_transpose1d = ops.conv_transpose1d
conv_transpose2d = ops.conv_transpose2d
conv_transpose3d = ops.conv_transpose3d
conv_tbc = ops.conv_tbc
cosine_similarity = ops.cosine_similarity
fold = ops.fold
gelu = ops.gelu
hardshrink = ops.hardshrink
linear = ops.linear
logsigmoid = ops.logsigmoid
native_channel_shuffle = ops.native_channel_shuffle
one_hot = ops.one_hot
pairwise_distance = ops.pairwise_distance
pdist = ops.pdist
pixel_shuffle = ops.pixel_shuffle
pixel_unshuffle = ops.pixel_unshuffle
prelu = ops.prelu
interpolate = ops.interpolate
scaled_dot_product_attention = ops.scaled_dot_product_attention
softplus = ops.softplus
softshrink = ops.softshrink
unfold = unfold_windows

# ---------------------------------------------------------------------------------------------------------------------
# Reductions of losses


def legacy_reduction(size_average: bool | None, reduce: bool | None, reduction: str, stacklevel: int = 3) -> str:
    """`reduction`, or what the deprecated arguments ask for where they are given."""
    if size_average is not None or reduce is not None:
        reduction = "none" if reduce is False else "sum" if size_average is False else "mean"
        warnings.warn(
            f"size_average and reduce args will be deprecated, please use reduction='{reduction}' instead.",
            stacklevel=stacklevel,
        )
    if reduction not in ("none", "mean", "sum"):
        if reduction != "elementwise_mean":
            fail(ValueError, f"{reduction} is not a valid value for reduction", expected="none, mean or sum")
        warnings.warn(
            "reduction='elementwise_mean' is deprecated. Please use reduction='mean' instead.", stacklevel=stacklevel
        )
        return "mean"
    return reduction


def _same_sizes(input: Tensor, target: Tensor) -> None:
    if target.shape != input.shape:
        caution(
            f"Using a target size ({target.shape}) that is different to the input size ({input.shape}). This will "
            "likely lead to incorrect results due to broadcasting. Please ensure they have the same size."
        )


def _weighted(loss: Tensor, input: Tensor, weight: Tensor, reduction: str, by_weight: bool = True) -> Tensor:
    """The reduction of a loss with a weight for each element; the mean divides by the sum of weights if `by_weight`."""
    if weight.shape != input.shape:
        fail(
            ValueError,
            "Weights and input must have the same size.",
            expected=tuple(input.shape),
            got=tuple(weight.shape),
        )
    loss = loss * weight
    return loss.sum() / weight.sum() if reduction == "mean" and by_weight else _reduced(loss, reduction)


# ---------------------------------------------------------------------------------------------------------------------
# Activations


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0), element by element."""
    return ops.relu_(input) if inplace else ops.relu(input)


def relu_(input: Tensor) -> Tensor:
    """`relu` in place."""
    return ops.relu_(input)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x, 0), 6)."""
    return ops.hardtanh_(input, 0.0, 6.0) if inplace else ops.hardtanh(input, 0.0, 6.0)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where x > threshold, else value."""
    return (ops.threshold_ if inplace else ops.threshold)(input, threshold, value)


def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """`threshold` in place."""
    return ops.threshold_(input, threshold, value)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a * sigmoid(b), with a and b the halves of the input along `dim`."""
    if input.dim() == 0:
        fail(RuntimeError, "glu does not support scalars because halving size must be even")
    return ops.glu(input, dim)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """x limited to [min_val, max_val]."""
    if min_val > max_val:
        fail(ValueError, "min_val cannot be greater than max_val", got=f"{min_val} > {max_val}")
    return (ops.hardtanh_ if inplace else ops.hardtanh)(input, min_val, max_val)


def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """`hardtanh` in place."""
    return hardtanh(input, min_val, max_val, inplace=True)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, else alpha * (exp(x) - 1)."""
    return (ops.elu_ if inplace else ops.elu)(input, alpha)


def elu_(input: Tensor, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Tensor:
    """`elu` in place; `scale` multiplies the result, `input_scale` what is exponentiated."""
    return ops.elu_(input, alpha, scale, input_scale)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """ELU with the scale and alpha that keep mean 0 and variance 1."""
    return (ops.selu_ if inplace else ops.selu)(input)


def selu_(input: Tensor) -> Tensor:
    """`selu` in place."""
    return ops.selu_(input)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """max(x, 0) + min(alpha * (exp(x / alpha) - 1), 0)."""
    return (ops.celu_ if inplace else ops.celu)(input, alpha)


def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`celu` in place."""
    return ops.celu_(input, alpha)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where x > 0, else negative_slope * x."""
    return (ops.leaky_relu_ if inplace else ops.leaky_relu)(input, negative_slope)


def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """`leaky_relu` in place."""
    return ops.leaky_relu_(input, negative_slope)


def rrelu(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """Leaky ReLU whose slope is drawn from [lower, upper] in training, and their mean otherwise."""
    return (ops.rrelu_ if inplace else ops.rrelu)(input, lower, upper, training)


def rrelu_(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, generator=None
) -> Tensor:
    """`rrelu` in place."""
    return ops.rrelu_(input, lower, upper, training, generator)


def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x)."""
    return input - input.tanh()


def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return input / (input.abs() + 1)


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return input.tanh()


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    return input.sigmoid()


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x / 6 + 1 / 2, 0), 1)."""
    return (ops.hardsigmoid_ if inplace else ops.hardsigmoid)(input)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x * sigmoid(x)."""
    return (ops.silu_ if inplace else ops.silu)(input)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * tanh(softplus(x))."""
    return (ops.mish_ if inplace else ops.mish)(input)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * hardsigmoid(x)."""
    return (ops.hardswish_ if inplace else ops.hardswish)(input)


def _softmax_dim(name: str, ndim: int, stacklevel: int) -> int:
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an argument.",
        stacklevel=stacklevel,
    )
    return 0 if ndim in (0, 1, 3) else 1


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype=None) -> Tensor:
    """exp(x) / sum(exp(x)) along `dim`."""
    return ops.softmax(
        input, _softmax_dim("softmax", input.dim(), _stacklevel + 1) if dim is None else dim, dtype=dtype
    )


def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype=None) -> Tensor:
    """softmax(-x)."""
    return ops.softmax(
        -input, _softmax_dim("softmin", input.dim(), _stacklevel + 1) if dim is None else dim, dtype=dtype
    )


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype=None) -> Tensor:
    """log(softmax(x)), without overflow."""
    dim = _softmax_dim("log_softmax", input.dim(), _stacklevel + 1) if dim is None else dim
    return ops.log_softmax(input, dim, dtype=dtype)


def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """A sample from the Gumbel-softmax distribution; `hard` makes it one-hot and keeps the soft one's gradient."""
    if eps != 1e-10:
        warnings.warn("`eps` parameter is deprecated and has no effect.", stacklevel=2)
    noise = -ops.empty_like(logits).exponential_().log()
    soft = ops.softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    index = soft.argmax(dim, keepdim=True)
    return ops.zeros_like(logits).scatter_(dim, index, 1.0) - soft.detach() + soft


# ---------------------------------------------------------------------------------------------------------------------
# Dropout


def _check_probability(p: float) -> None:
    if p < 0.0 or p > 1.0:
        fail(ValueError, f"dropout probability has to be between 0 and 1, but got {p}")


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Elements are zero with probability p and divided by 1 - p otherwise."""
    _check_probability(p)
    return (ops.dropout_ if inplace else ops.dropout)(input, p, training)


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Dropout that keeps mean and variance of SELU activations."""
    _check_probability(p)
    return (ops.alpha_dropout_ if inplace else ops.alpha_dropout)(input, p, training)


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """`alpha_dropout` of whole channels."""
    _check_probability(p)
    return (ops.feature_alpha_dropout_ if inplace else ops.feature_alpha_dropout)(input, p, training)


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Dropout of whole channels of (N, C, L) or (C, L)."""
    _check_probability(p)
    if input.dim() not in (2, 3):
        fail(
            RuntimeError,
            f"dropout1d: Expected 2D or 3D input, but received a {input.dim()}D input. Note that dropout1d exists to "
            "provide channel-wise dropout on inputs with 1 spatial dimension, a channel dimension, and an optional "
            "batch dimension (i.e. 2D or 3D inputs).",
        )
    drop = ops.feature_dropout_ if inplace else ops.feature_dropout
    if input.dim() == 3:
        return drop(input, p, training)
    result = drop(input.unsqueeze(0), p, training).squeeze(0)
    return input if inplace else result


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Dropout of whole channels of (N, C, H, W)."""
    _check_probability(p)
    _warn_channels("dropout2d", input.dim(), (3, 4), "2 spatial dimensions, a channel dimension", "3D or 4D")
    if input.dim() == 3:
        warnings.warn(
            "dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D dropout behavior is desired "
            "- input is interpreted as shape (N, C, L), where C is the channel dim. This behavior will change in a "
            "future release to interpret the input as one without a batch dimension, i.e. shape (C, H, W). To maintain "
            "the 1D channel-wise dropout behavior, please switch to using dropout1d instead.",
            stacklevel=2,
        )
    return (ops.feature_dropout_ if inplace else ops.feature_dropout)(input, p, training)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Dropout of whole channels of (N, C, D, H, W) or (C, D, H, W)."""
    _check_probability(p)
    _warn_channels("dropout3d", input.dim(), (4, 5), "3 spatial dimensions, a channel dimension", "4D or 5D")
    drop = ops.feature_dropout_ if inplace else ops.feature_dropout
    if input.dim() != 4:
        return drop(input, p, training)
    result = drop(input.unsqueeze(0), p, training).squeeze(0)
    return input if inplace else result


def _warn_channels(name: str, ndim: int, allowed: tuple[int, int], what: str, dims: str) -> None:
    if ndim not in allowed:
        warnings.warn(
            f"{name}: Received a {ndim}-D input to {name}, which is deprecated and will result in an error in a future "
            "release. To retain the behavior and silence this warning, please use dropout instead. Note that "
            f"{name} exists to provide channel-wise dropout on inputs with {what}, and an optional batch dimension "
            f"(i.e. {dims} inputs).",
            stacklevel=3,
        )


# ---------------------------------------------------------------------------------------------------------------------
# Look-up tables


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows of `weight` whose numbers are in `input`.

    Parameters
    ----------
    input : Tensor
        Indices, of any shape.
    weight : Tensor
        The table, (rows, features).
    padding_idx : int, optional
        A row that gets no gradient.
    max_norm, norm_type : float
        Rows that are used are first shortened, in place, to a norm of at most `max_norm`.
    scale_grad_by_freq : bool
        Divide the gradient of each row by how often it is used.
    sparse : bool
        Whether the gradient of `weight` is a sparse tensor of the used rows alone.
    """
    if padding_idx is not None:
        rows = weight.shape[0]
        if not -rows <= padding_idx < rows:
            fail(
                AssertionError,
                "Padding_idx must be within num_embeddings",
                expected=f"{-rows} to {rows - 1}",
                got=padding_idx,
            )
        padding_idx %= rows
    if max_norm is not None:
        with no_grad():
            ops.embedding_renorm_(weight, input.contiguous(), max_norm, norm_type)
    return ops.embedding(weight, input, -1 if padding_idx is None else padding_idx, scale_grad_by_freq, sparse)


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """The sum, mean or maximum of the rows of `weight` in each bag of indices.

    Parameters
    ----------
    input : Tensor
        Indices: (bags, length), or one-dimensional with `offsets`, the position where each bag begins.
    weight : Tensor
        The table, (rows, features).
    mode : {"sum", "mean", "max"}
    per_sample_weights : Tensor, optional
        A factor for each index; for "sum" alone.
    include_last_offset : bool
        Whether the last offset is the end of the last bag.
    padding_idx : int, optional
        Indices that count as absent.

    Other parameters are those of `embedding`.
    """
    if per_sample_weights is not None and input.shape != per_sample_weights.shape:
        fail(
            ValueError,
            f"embedding_bag: If per_sample_weights ({per_sample_weights.shape}) is not None, then it must have the "
            f"same shape as the input ({input.shape})",
        )
    if weight.dim() != 2:
        fail(ValueError, f"weight has to be a 2D Tensor, but got Tensor of dimension {weight.dim()}")
    if input.dim() == 2:
        if offsets is not None:
            fail(
                ValueError,
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed length "
                f"sequences. However, found offsets of type {type(offsets)}",
            )
    elif input.dim() == 1:
        if offsets is None:
            fail(ValueError, "offsets has to be a 1D Tensor but got None")
        if offsets.dim() != 1:
            fail(ValueError, "offsets has to be a 1D Tensor", got=f"{offsets.dim()}D")
    else:
        fail(ValueError, f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.dim()}")
    if mode not in ("sum", "mean", "max"):
        fail(ValueError, "mode has to be one of sum, mean or max", got=repr(mode))
    if mode == "max" and scale_grad_by_freq:
        fail(ValueError, "max mode does not support scaling the gradient by the frequency")
    if mode == "max" and sparse:
        fail(ValueError, "max mode does not support sparse weights")
    if per_sample_weights is not None and mode != "sum":
        fail(
            NotImplementedError,
            "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for mode='sum' (got "
            f"mode='{mode}'). Please open a feature request on GitHub.",
        )
    if padding_idx is not None:
        rows = weight.shape[0]
        if not -rows <= padding_idx < rows:
            fail(
                RuntimeError,
                f"padding_idx must be within the number of embeddings, -{rows} through {rows - 1}, but got "
                f"{padding_idx}",
            )
        padding_idx %= rows
    if max_norm is not None:
        with no_grad():
            ops.embedding_renorm_(weight, input.contiguous(), max_norm, norm_type)
    return ops.embedding_bag(
        weight,
        input,
        offsets,
        mode,
        per_sample_weights,
        include_last_offset,
        -1 if padding_idx is None else padding_idx,
        scale_grad_by_freq,
        sparse,
    )


# ---------------------------------------------------------------------------------------------------------------------
# Convolution and pooling


def pad(input: Tensor, pad, mode: str = "constant", value: float | None = None) -> Tensor:
    """The input with a border: `pad` is (before, after) of the last dim, then of the one before it, ...

    `mode` is "constant" (of `value`, 0 unless given), "reflect", "replicate" or "circular".
    """
    return ops.pad(input, pad, mode, value)


def max_pool1d(
    input: Tensor,
    kernel_size,
    stride=None,
    padding=0,
    dilation=1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of each window; with `return_indices` also where it is."""
    pool = ops.max_pool1d_with_indices if return_indices else ops.max_pool1d
    return pool(input, kernel_size, kernel_size if stride is None else stride, padding, dilation, ceil_mode)


def max_pool2d(
    input: Tensor,
    kernel_size,
    stride=None,
    padding=0,
    dilation=1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of each window; with `return_indices` also where it is, counted in the plane."""
    pool = ops.max_pool2d_with_indices if return_indices else ops.max_pool2d
    return pool(input, kernel_size, kernel_size if stride is None else stride, padding, dilation, ceil_mode)


def max_pool3d(
    input: Tensor,
    kernel_size,
    stride=None,
    padding=0,
    dilation=1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of each window; with `return_indices` also where it is, counted in the volume."""
    pool = ops.max_pool3d_with_indices if return_indices else ops.max_pool3d
    return pool(input, kernel_size, kernel_size if stride is None else stride, padding, dilation, ceil_mode)


def max_pool1d_with_indices(
    input: Tensor,
    kernel_size,
    stride=None,
    padding=0,
    dilation=1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Tensor, Tensor]:
    """`max_pool1d` with `return_indices`."""
    return max_pool1d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool2d_with_indices(
    input: Tensor,
    kernel_size,
    stride=None,
    padding=0,
    dilation=1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Tensor, Tensor]:
    """`max_pool2d` with `return_indices`."""
    return max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool3d_with_indices(
    input: Tensor,
    kernel_size,
    stride=None,
    padding=0,
    dilation=1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Tensor, Tensor]:
    """`max_pool3d` with `return_indices`."""
    return max_pool3d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


def _sizes(output_size, shape, dims: int):
    """`output_size` for each dim, where None keeps the size that is there."""
    if not isinstance(output_size, (tuple, list)):
        return (shape[-1] if output_size is None else output_size,) * dims
    if len(shape) <= len(output_size):
        fail(ValueError, f"Input dimension should be at least {len(output_size) + 1}", got=tuple(shape))
    own = shape[len(shape) - len(output_size) :]
    return tuple(there if size is None else size for size, there in zip(output_size, own))


def adaptive_avg_pool2d(input: Tensor, output_size) -> Tensor:
    """The mean of each of `output_size` windows; None keeps a size."""
    return ops.adaptive_avg_pool2d(input, _sizes(output_size, input.shape, 2))


def adaptive_avg_pool3d(input: Tensor, output_size) -> Tensor:
    """The mean of each of `output_size` windows; None keeps a size."""
    return ops.adaptive_avg_pool3d(input, _sizes(output_size, input.shape, 3))


def adaptive_max_pool1d_with_indices(input: Tensor, output_size, return_indices: bool = False) -> tuple[Tensor, Tensor]:
    """The maximum of each of `output_size` windows, and where it is."""
    return ops.adaptive_max_pool1d(input, output_size)


def adaptive_max_pool2d_with_indices(input: Tensor, output_size, return_indices: bool = False) -> tuple[Tensor, Tensor]:
    """The maximum of each of `output_size` windows, and where it is; None keeps a size."""
    return ops.adaptive_max_pool2d(input, _sizes(output_size, input.shape, 2))


def adaptive_max_pool3d_with_indices(input: Tensor, output_size, return_indices: bool = False) -> tuple[Tensor, Tensor]:
    """The maximum of each of `output_size` windows, and where it is; None keeps a size."""
    return ops.adaptive_max_pool3d(input, _sizes(output_size, input.shape, 3))


def adaptive_max_pool1d(input: Tensor, output_size, return_indices: bool = False) -> Any:
    """The maximum of each of `output_size` windows."""
    found = adaptive_max_pool1d_with_indices(input, output_size)
    return found if return_indices else found[0]


def adaptive_max_pool2d(input: Tensor, output_size, return_indices: bool = False) -> Any:
    """The maximum of each of `output_size` windows; None keeps a size."""
    found = adaptive_max_pool2d_with_indices(input, output_size)
    return found if return_indices else found[0]


def adaptive_max_pool3d(input: Tensor, output_size, return_indices: bool = False) -> Any:
    """The maximum of each of `output_size` windows; None keeps a size."""
    found = adaptive_max_pool3d_with_indices(input, output_size)
    return found if return_indices else found[0]


def _several(value, d: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * d


def _unpool(d: int, input: Tensor, indices: Tensor, kernel_size, stride, padding, output_size) -> Tensor:
    kernel, padding = _several(kernel_size, d), _several(padding, d)
    stride = kernel if stride is None else _several(stride, d)
    usual = [(n - 1) * s + k - 2 * p for n, s, k, p in zip(input.shape[-d:], stride, kernel, padding)]
    size = usual if output_size is None else list(output_size)
    if output_size is not None:
        size = size[2:] if len(size) == d + 2 else size
        if len(size) != d:
            fail(
                ValueError,
                f"output_size should be a sequence containing {d} or {d + 2} elements, but it has a length of "
                f"'{len(size)}'",
            )
        for i, (n, own, s) in enumerate(zip(size, usual, stride)):
            if not own - s < n < own + s:
                fail(
                    ValueError,
                    f'invalid output_size "{output_size}" (dim {i} must be between {own - s} and {own + s})',
                )
    for i, n in enumerate(size):
        if n < 0:
            fail(
                ValueError,
                "max_unpooling: output_size must contain non-negative spatial dimensions, but got "
                f"output_size[{i}]={n}",
            )
    return max_unpool(input, indices, size)


def max_unpool1d(
    input: Tensor, indices: Tensor, kernel_size, stride=None, padding: Any = 0, output_size=None
) -> Tensor:
    """The maxima of `max_pool1d` where `indices` say that they were, 0 elsewhere."""
    return _unpool(1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: Tensor, indices: Tensor, kernel_size, stride=None, padding: Any = 0, output_size=None
) -> Tensor:
    """The maxima of `max_pool2d` where `indices` say that they were, 0 elsewhere."""
    return _unpool(2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: Tensor, indices: Tensor, kernel_size, stride=None, padding: Any = 0, output_size=None
) -> Tensor:
    """The maxima of `max_pool3d` where `indices` say that they were, 0 elsewhere."""
    return _unpool(3, input, indices, kernel_size, stride, padding, output_size)


def _fractional(d: int, input: Tensor, kernel_size, output_size, output_ratio, samples) -> tuple[Tensor, Tensor]:
    if output_size is None and output_ratio is None:
        fail(ValueError, f"fractional_max_pool{d}d requires specifying either an output_size or an output_ratio")
    if output_size is None:
        output_size = [int(n * r) for n, r in zip(input.shape[-d:], _several(output_ratio, d))]
    if samples is None:
        batch = 1 if input.dim() == d + 1 else input.shape[0]
        samples = ops.rand(batch, input.shape[-d - 1], d, dtype=input.dtype, device=input.device)
    return fractional_max_pool(input, _several(kernel_size, d), _several(output_size, d), samples)


def fractional_max_pool2d_with_indices(
    input: Tensor, kernel_size, output_size=None, output_ratio=None, return_indices: bool = False, _random_samples=None
) -> tuple[Tensor, Tensor]:
    """`fractional_max_pool2d` with `return_indices`."""
    return _fractional(2, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool3d_with_indices(
    input: Tensor, kernel_size, output_size=None, output_ratio=None, return_indices: bool = False, _random_samples=None
) -> tuple[Tensor, Tensor]:
    """`fractional_max_pool3d` with `return_indices`."""
    return _fractional(3, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool2d(
    input: Tensor, kernel_size, output_size=None, output_ratio=None, return_indices: bool = False, _random_samples=None
) -> Any:
    """The maxima of `output_size` windows that begin at random places; `output_ratio` is the share of the input."""
    found = _fractional(2, input, kernel_size, output_size, output_ratio, _random_samples)
    return found if return_indices else found[0]


def fractional_max_pool3d(
    input: Tensor, kernel_size, output_size=None, output_ratio=None, return_indices: bool = False, _random_samples=None
) -> Any:
    """The maxima of `output_size` windows that begin at random places; `output_ratio` is the share of the input."""
    found = _fractional(3, input, kernel_size, output_size, output_ratio, _random_samples)
    return found if return_indices else found[0]


def lp_pool1d(input: Tensor, norm_type: float, kernel_size: int, stride=None, ceil_mode: bool = False) -> Tensor:
    """The p-norm of each window."""
    return _lp_pool(max_pool1d, avg_pool1d, kernel_size, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(input: Tensor, norm_type: float, kernel_size, stride=None, ceil_mode: bool = False) -> Tensor:
    """The p-norm of each window."""
    size = kernel_size * kernel_size if isinstance(kernel_size, int) else math.prod(kernel_size)
    return _lp_pool(max_pool2d, avg_pool2d, size, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(input: Tensor, norm_type: float, kernel_size, stride=None, ceil_mode: bool = False) -> Tensor:
    """The p-norm of each window."""
    size = math.prod(_several(kernel_size, 3))
    return _lp_pool(max_pool3d, avg_pool3d, size, input, norm_type, kernel_size, stride, ceil_mode)


def _lp_pool(max_pool, avg_pool, size, input, p, kernel_size, stride, ceil_mode):
    if p == math.inf:
        return max_pool(input.abs(), kernel_size, stride, 0, 1, ceil_mode)
    if p == -math.inf:
        return -max_pool(-input.abs(), kernel_size, stride, 0, 1, ceil_mode)
    mean = avg_pool(input.pow(p), kernel_size, kernel_size if stride is None else stride, 0, ceil_mode)
    return (mean.sign() * ops.relu(mean.abs())).mul(size).pow(1.0 / p)


# ---------------------------------------------------------------------------------------------------------------------
# Images


def upsample(input: Tensor, size=None, scale_factor=None, mode: str = "nearest", align_corners=None) -> Tensor:
    """`interpolate`, which it is deprecated for."""
    warnings.warn("`nn.functional.upsample` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2)
    return ops.interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Tensor, size=None, scale_factor=None) -> Tensor:
    """`interpolate(mode="nearest")`, which it is deprecated for."""
    warnings.warn(
        "`nn.functional.upsample_nearest` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2
    )
    return ops.interpolate(input, size, scale_factor, "nearest")


def upsample_bilinear(input: Tensor, size=None, scale_factor=None) -> Tensor:
    """`interpolate(mode="bilinear", align_corners=True)`, which it is deprecated for."""
    warnings.warn(
        "`nn.functional.upsample_bilinear` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2
    )
    return ops.interpolate(input, size, scale_factor, "bilinear", True)


def _corners(align_corners: bool | None) -> bool:
    if align_corners is None:
        warnings.warn(
            "Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0. Please "
            "specify align_corners=True if the old behavior is desired. See the documentation of grid_sample for "
            "details.",
            stacklevel=3,
        )
    return bool(align_corners)


def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """The image (N, C, *size) at the places that `grid` (N, *places, dims) names, from -1 to 1; x first.

    Parameters
    ----------
    mode : {"bilinear", "nearest", "bicubic"}
    padding_mode : {"zeros", "border", "reflection"}
        What lies outside the image.
    align_corners : bool, optional
        Whether -1 and 1 are the middles of the first and last elements, and not their outer borders.
    """
    for name, given, known in (("mode", mode, GRID_MODES), ("padding_mode", padding_mode, GRID_PADDINGS)):
        if given not in known:
            words = [repr(n) for n in known]
            fail(
                ValueError,
                f"nn.functional.grid_sample(): expected {name} to be {', '.join(words[:-1])}"
                f"{',' if name == 'padding_mode' else ''} or {words[-1]}, but got: '{given}'",
            )
    align = _corners(align_corners)
    return ops.grid_sampler(input, grid, GRID_MODES.index(mode), GRID_PADDINGS.index(padding_mode), align)


def affine_grid(theta: Tensor, size, align_corners: bool | None = None) -> Tensor:
    """The places, for `grid_sample`, of an image of `size` (N, C, *sizes) moved by `theta` (N, dims, dims + 1)."""
    align = _corners(align_corners)
    if not theta.is_floating_point():
        fail(ValueError, f"Expected theta to have floating point type, but got {theta.dtype}")
    d = len(size) - 2
    if d not in (2, 3):
        fail(
            NotImplementedError,
            "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, respectively. "
            f"Got size {size}.",
        )
    if theta.dim() != 3 or tuple(theta.shape[-2:]) != (d, d + 1):
        fail(
            ValueError,
            f"Expected a batch of {d}D affine matrices of shape Nx{d}x{d + 1} for size {size}. Got {theta.shape}.",
        )
    if min(size[-d:]) <= 0:
        fail(ValueError, f"Expected non-zero, positive output size. Got {size}")
    return ops.affine_grid_generator(theta, size, align)


# ---------------------------------------------------------------------------------------------------------------------
# Normalization


def _need_several(size) -> None:
    if size[0] * math.prod(size[2:]) == 1:
        fail(ValueError, f"Expected more than 1 value per channel when training, got input size {size}")


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Channels (dim 1) normalised with the batch's mean and variance in training, else with the running ones."""
    if training:
        _need_several(input.shape)
        if eps <= 0:
            fail(ValueError, f"batch_norm eps must be positive during training, but got {eps}")
    elif eps < 0:
        fail(ValueError, f"batch_norm eps must be non-negative, but got {eps}")
    return ops.batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps)


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Each channel of each sample normalised with its own mean and variance."""
    if use_input_stats and math.prod(input.shape[2:]) == 1:
        fail(ValueError, f"Expected more than 1 spatial element when training, got input size {input.shape}")
    return ops.instance_norm(input, weight, bias, running_mean, running_var, use_input_stats, momentum, eps)


def layer_norm(
    input: Tensor, normalized_shape, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """The last dims normalised with their mean and variance."""
    return ops.layer_norm(input, normalized_shape, weight, bias, eps)


def rms_norm(input: Tensor, normalized_shape, weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    """The last dims divided by their root mean square."""
    return ops.rms_norm(input, normalized_shape, weight, eps)


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Groups of channels of each sample normalised with their mean and variance."""
    if input.dim() < 2:
        fail(RuntimeError, f"Expected at least 2 dimensions for input tensor but received {input.dim()}")
    _need_several([input.shape[0] * input.shape[1] // num_groups, num_groups, *input.shape[2:]])
    return ops.group_norm(input, num_groups, weight, bias, eps)


def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """x / (k + alpha * m)^beta, with m the mean of the squares of `size` neighbouring channels."""
    if input.dim() < 3:
        fail(
            ValueError,
            f"Expected 3D or higher dimensionality                          input (got {input.dim()} dimensions)",
        )
    if input.numel() == 0:
        return input
    channels = input.shape[1]
    flat = (input * input).reshape(input.shape[0], 1, channels, -1)
    flat = ops.pad(flat, (0, 0, size // 2, (size - 1) // 2), "constant", 0.0)
    mean = avg_pool2d(flat, (size, 1), stride=1).reshape(input.shape)
    return input / mean.mul(alpha).add(k).pow(beta)


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Tensor | None = None) -> Tensor:
    """x / max(|x|_p, eps) along `dim`."""
    length = input.norm(p, dim, keepdim=True).clamp_min(eps).expand_as(input)
    return input / length if out is None else ops.div(input, length, out=out)


# ---------------------------------------------------------------------------------------------------------------------
# Losses


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths,
    target_lengths,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """-log P(targets | log_probs), over all ways to lay the targets over time; see `torch.ctc_loss`."""
    reduction = legacy_reduction(None, None, reduction)
    return ops.ctc_loss(log_probs, targets, input_lengths, target_lengths, blank, reduction, zero_infinity)


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """(x - y)^2."""
    _same_sizes(input, target)
    reduction = legacy_reduction(size_average, reduce, reduction)
    if weight is not None:
        return _weighted((input - target) ** 2, input, weight, reduction)
    input, target = ops.broadcast_tensors(input, target)
    return ops.mse_loss(input, target, reduction)


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """|x - y|."""
    _same_sizes(input, target)
    reduction = legacy_reduction(size_average, reduce, reduction)
    if weight is not None:
        return _weighted((input - target).abs(), input, weight, reduction)
    input, target = ops.broadcast_tensors(input, target)
    return ops.l1_loss(input, target, reduction)


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """(x - y)^2 / (2 beta) where |x - y| < beta, else |x - y| - beta / 2."""
    _same_sizes(input, target)
    reduction = legacy_reduction(size_average, reduce, reduction)
    input, target = ops.broadcast_tensors(input, target)
    if beta == 0.0:
        return ops.l1_loss(input, target, reduction)
    return ops.smooth_l1_loss(input, target, reduction, beta)


def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """(x - y)^2 / 2 where |x - y| < delta, else delta * (|x - y| - delta / 2)."""
    _same_sizes(input, target)
    reduction = legacy_reduction(None, None, reduction)
    x, y = ops.broadcast_tensors(input, target)
    if weight is not None:
        return _weighted(ops.huber_loss(x, y, "none", delta), input, weight, reduction, by_weight=False)
    return ops.huber_loss(x, y, reduction, delta)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log softmax(x) at the target.

    Parameters
    ----------
    input : Tensor
        Logits: (C), (N, C) or (N, C, d1, ...).
    target : Tensor
        Class indices, without the dim C; or probabilities, of the shape of `input`.
    weight : Tensor, optional
        A factor for each class.
    ignore_index : int
        A target that counts nothing.
    label_smoothing : float
        How much of the target is spread over all classes.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    return ops.cross_entropy_loss(input, target, weight, reduction, ignore_index, label_smoothing)


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-x at the target's class; `input` holds log-probabilities: (C), (N, C) or (N, C, d1, ...)."""
    return ops.nll_loss(input, target, weight, legacy_reduction(size_average, reduce, reduction), ignore_index)


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-(y log x + (1 - y) log(1 - x)), with logarithms of at least -100."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    if target.shape != input.shape:
        fail(
            ValueError,
            f"Using a target size ({target.shape}) that is different to the input size ({input.shape}) is deprecated. "
            "Please ensure they have the same size.",
        )
    if weight is not None:
        weight = weight.expand(ops.broadcast_shapes(target.shape, weight.shape))
    return ops.binary_cross_entropy(input, target, weight, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """`binary_cross_entropy` of sigmoid(x), without overflow; `pos_weight` is a factor for positive targets."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    if target.shape != input.shape:
        fail(ValueError, f"Target size ({target.shape}) must be the same as input size ({input.shape})")
    return ops.binary_cross_entropy_with_logits(input, target, weight, pos_weight, reduction)


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """y (log y - x), with x log-probabilities; `reduction` may also be "batchmean", the sum over the batch size."""
    if size_average is None and reduce is None and reduction == "mean":
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size."
            "'batchmean' divides only by the batch size, and aligns with the KL div math definition."
            "'mean' will be changed to behave the same as 'batchmean' in the next major release.",
            stacklevel=2,
        )
    inner = legacy_reduction(size_average, reduce, "sum" if reduction == "batchmean" else reduction)
    loss = ops.kl_div(input, target, inner, log_target)
    return loss / input.shape[0] if reduction == "batchmean" and input.dim() != 0 else loss


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """exp(x) - y x, or x - y log(x + eps) without `log_input`; `full` adds Stirling's approximation of log(y!)."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    return ops.poisson_nll_loss(input, target, log_input, full, eps, reduction)


def gaussian_nll_loss(
    input: Tensor, target: Tensor, var: Tensor | float, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """(log v + (x - y)^2 / v) / 2 with v = max(var, eps); `full` adds log(2 pi) / 2."""
    if isinstance(var, (int, float)):
        if var < 0:
            fail(ValueError, "var has negative entry/entries", got=var)
        spread: Tensor = var * ops.ones_like(input)
    else:
        if bool((var < 0).any()):
            fail(ValueError, "var has negative entry/entries")
        spread = var
    if spread.shape != input.shape:
        if input.shape[:-1] == spread.shape:
            spread = spread.unsqueeze(-1)
        elif input.ndim != spread.ndim or sum(y for x, y in zip(input.shape, spread.shape) if x != y) != 1:
            fail(ValueError, "var is of incorrect size", expected=tuple(input.shape), got=tuple(spread.shape))
    if reduction not in ("none", "mean", "sum"):
        fail(ValueError, reduction + " is not valid", expected="none, mean or sum")
    spread = spread.clone()
    with no_grad():
        spread.clamp_(min=eps)
    loss = 0.5 * (spread.log() + (input - target) ** 2 / spread)
    return _reduced(loss + 0.5 * math.log(2 * math.pi) if full else loss, reduction)


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, -y (x1 - x2) + margin)."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    if input1.dim() != input2.dim() or input1.dim() != target.dim():
        fail(
            RuntimeError,
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: "
            f"input1: {input1.shape}, input2: {input2.shape}, target: {target.shape} ",
        )
    return ops.margin_ranking_loss(input1, input2, target, margin, reduction)


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """x where y = 1, max(0, margin - x) where y = -1."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    return ops.hinge_embedding_loss(input, target, margin, reduction)


def soft_margin_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Tensor:
    """log(1 + exp(-y x))."""
    return _reduced((-target * input).exp().log1p(), legacy_reduction(size_average, reduce, reduction))


def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Binary cross entropy of each class (the last dim), averaged over classes."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    loss = -(target * ops.logsigmoid(input) + (1 - target) * logsigmoid(-input))
    if weight is not None:
        loss = loss * weight
    return _reduced(loss.sum(dim=-1) / input.shape[-1], reduction)


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """1 - cos(x1, x2) where y = 1, max(0, cos(x1, x2) - margin) where y = -1."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    return ops.cosine_embedding_loss(input1, input2, target, margin, reduction)


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), with d the `pairwise_distance`."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    return ops.triplet_margin_loss(anchor, positive, negative, margin, p, eps, swap, reduction)


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function=None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """`triplet_margin_loss` with a distance of one's own; `swap` also looks at d(positive, negative)."""
    distance = pairwise_distance if distance_function is None else distance_function
    if reduction not in ("none", "mean", "sum"):
        fail(ValueError, f"{reduction} is not a valid value for reduction", expected="none, mean or sum")
    if margin <= 0:
        fail(ValueError, f"margin must be greater than 0, got {margin}")
    dims = [x.ndim for x in (anchor, positive, negative)]
    if len(set(dims)) > 1:
        fail(
            RuntimeError,
            "The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: "
            f"anchor {dims[0]}D, positive {dims[1]}D, and negative {dims[2]}D inputs",
        )
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = ops.minimum(far, distance(positive, negative))
    return _reduced((margin + near - far).clamp_min(0), reduction)


def _check_range(target: Tensor, low: int, end: int) -> None:
    """RuntimeError for what is no class, or none that is there; `gather` sees those whose numbers `vmap` hides."""
    if target.dtype is not int64:
        fail(RuntimeError, f"expected scalar type Long but found {target.dtype.title}")
    if target.spec.kind is None and target.numel() and not low <= int(target.min()) <= int(target.max()) < end:
        fail(RuntimeError, "target out of range", expected=f"{low} to {end - 1}")


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The mean over classes i other than the target y of max(0, margin - x[y] + x[i])^p."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    if p not in (1, 2):
        fail(ValueError, "only p == 1 and p == 2 supported", got=p)
    if weight is not None and weight.dim() != 1:
        fail(ValueError, "weight must be one-dimensional", got=f"{weight.dim()}D")
    if input.dim() > 2:
        fail(
            RuntimeError,
            f"Expected non-empty vector or matrix with optional 0-dim batch size, but got: {list(input.shape)}",
        )
    rows = input if input.dim() == 2 else input.reshape(1, -1)
    if target.dim() > 1 or target.numel() != rows.shape[0]:
        fail(
            RuntimeError,
            "multi_margin_loss: target tensor should be 1-D with size equal to the number of input samples (batch "
            f"size). Expected target size [{rows.shape[0]}], but got {list(target.shape)}. Input has shape "
            f"{list(input.shape)}.",
        )
    index = target.reshape(-1, 1)
    _check_range(target, 0, rows.shape[1])
    loss = (margin - rows.gather(1, index) + rows).clamp_min(0) ** p
    if weight is not None:
        loss = loss * weight[index]
    loss = loss.scatter(1, index, 0.0).sum(1) / rows.shape[1]
    return _reduced(loss.reshape(target.shape), reduction)


def multilabel_margin_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Tensor:
    """The sum over targets y and other classes i of max(0, 1 - x[y] + x[i]), divided by the number of classes.

    Each row of `target` lists classes, up to the first -1.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    if input.dim() > 2 or target.shape != input.shape:
        fail(RuntimeError, f"inconsistent target size: {list(target.shape)} for input of size: {list(input.shape)}")
    if input.dim() == 0:
        input, target = input.reshape(1), target.reshape(1)
    _check_range(target, -1, input.shape[-1])
    if input.dim() and not input.shape[-1]:
        fail(
            RuntimeError,
            "Expected non-empty vector or matrix with optional 0-dim batch size, but got: " + str(list(input.shape)),
        )
    listed = ((target < 0).cumsum(-1) == 0).to(int64)
    index = target * listed
    is_target = ops.zeros_like(listed).scatter_add(-1, index, listed) > 0
    gaps = (1 - input.gather(-1, index).unsqueeze(-1) + input.unsqueeze(-2)).clamp_min(0)  # (..., target, class)
    gaps = gaps * listed.unsqueeze(-1) * (~is_target).unsqueeze(-2)
    return _reduced(gaps.sum((-1, -2)) / input.shape[-1], reduction)
