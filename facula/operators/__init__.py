"""What operators mean: forward, gradient, checks and documentation side by side; nothing here knows a device.

The names here are those of `torch.*`; families keep their building blocks to themselves.
"""

# Many names: packed by hand.
# fmt: off
# isort: off
from . import methods as methods  # first: families are modules there, some of their names are functions below
from . import rare_methods as rare_methods
from .activation import (
    celu, celu_, elu, elu_, gelu, glu, hardshrink, hardsigmoid, hardsigmoid_, hardswish, hardswish_, hardtanh,
    hardtanh_, leaky_relu, leaky_relu_, log_sigmoid, logsigmoid, mish, mish_, prelu, relu, relu6, relu6_, relu_, rrelu,
    rrelu_, selu, selu_, silu, silu_, softplus, softshrink, threshold, threshold_,
)
from .attention import scaled_dot_product_attention as scaled_dot_product_attention  # torch.nn.functional has it
from .convolution import (
    any_convolution, conv1d, conv2d, conv3d, conv_tbc, conv_transpose1d, conv_transpose2d, conv_transpose3d, fold,
)
from .copying import clone
from .creation import (
    arange, as_tensor, asarray, bartlett_window, blackman_window, empty, empty_like, empty_permuted, empty_strided,
    eye, from_dlpack, from_file, from_numpy, frombuffer, full, full_like, hamming_window, hann_window, kaiser_window,
    linspace, logspace, ones, ones_like, range, scalar_tensor, tensor, to_dlpack, tril_indices, triu_indices, zeros,
    zeros_like,
)
from .ctc import ctc_loss
from .distance import cosine_similarity, pairwise_distance, pdist
from .dropout import (
    alpha_dropout, alpha_dropout_, dropout, dropout_, feature_alpha_dropout, feature_alpha_dropout_, feature_dropout,
    feature_dropout_, native_dropout,
)
from .elementwise import (
    abs, acos, acosh, addcdiv, addcmul, angle, asin, asinh, atan, atan2, atanh, bitwise_and, bitwise_left_shift,
    bitwise_not, bitwise_or, bitwise_right_shift, bitwise_xor, ceil, clamp_max, clamp_min, complex, copysign, cos, cosh,
    deg2rad, digamma, eq, erf, erfc, erfinv, exp, exp2, expm1, floor, fmax, fmin, fmod, frac, ge, gt, heaviside, hypot,
    isfinite, isinf, isnan, isneginf, isposinf, ldexp, le, lerp, lgamma, log, log10, log1p, log2, logaddexp, logaddexp2,
    logical_and, logical_not, logical_or, logical_xor, lt, maximum, minimum, ne, neg, nextafter, polar, pow, rad2deg,
    reciprocal, remainder, rsqrt, rsub, sgn, sigmoid, sign, signbit, sin, sinc, sinh, sqrt, square, tan, tanh, trunc,
    xlogy,
)
from .embedding import embedding, embedding_bag, embedding_dense_backward, embedding_renorm_
from .gamma import (
    i0, igamma, igammac, mvlgamma, polygamma,
)
from .histogram import (
    histc, histogram, histogramdd,
)
from .indexing import (
    argwhere, gather, index_add, index_copy, index_fill, index_put, index_reduce, index_select, isin, masked_scatter,
    masked_select, nonzero, nonzero_static, put, scatter, scatter_add, scatter_reduce, take, take_along_dim,
    unravel_index,
)
from .inplace import copy_, resize_
from .joining import (
    block_diag, cartesian_prod, cat, column_stack, combinations, concat, concatenate, diag, diag_embed, diagflat,
    dstack, flip, fliplr, flipud, hstack, kron, meshgrid, repeat, repeat_interleave, roll, rot90, row_stack, stack,
    tile, tril, triu, vander, vstack,
)
from .limits import finfo, iinfo
from .loss import (
    binary_cross_entropy, binary_cross_entropy_with_logits, cross_entropy_loss, huber_loss, kl_div, l1_loss, mse_loss,
    nll_loss, smooth_l1_loss,
)
from .fft import istft, stft
from .matrices import (
    cholesky, cholesky_inverse, cholesky_solve, det, eig, geqrf, inverse, lobpcg, logdet, lstsq, lu, lu_solve,
    lu_unpack, matrix_exp, matrix_power, matrix_rank, ormqr, pca_lowrank, pinverse, qr, slogdet, solve, svd,
    svd_lowrank, symeig, triangular_solve,
)
from .margins import (
    cosine_embedding_loss, hinge_embedding_loss, margin_ranking_loss, poisson_nll_loss, triplet_margin_loss,
)
from .matmul import (
    addbmm, addmm, addmv, addr, baddbmm, bilinear, bmm, cdist, chain_matmul, cross, dot, einsum, inner, linear, matmul,
    mm, mv, outer, tensordot, vdot,
)
from .normalization import (
    batch_norm, group_norm, instance_norm, layer_norm, log_softmax, native_batch_norm, native_group_norm,
    native_layer_norm, rms_norm, softmax, softmin,
)
from .padding import constant_pad_nd, pad
from .pooling import (
    adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d, adaptive_max_pool1d, adaptive_max_pool2d,
    adaptive_max_pool3d, avg_pool1d, avg_pool2d, avg_pool3d, max_pool1d, max_pool1d_with_indices, max_pool2d,
    max_pool2d_with_indices, max_pool3d, max_pool3d_with_indices,
)
from .public import (
    add, allclose, clamp, clip, conj, conj_physical, div, divide, equal, float_power, floor_divide, frexp, gcd, imag,
    isclose, isreal, lcm, logit, masked_fill, mul, multiply, nan_to_num, negative, positive, real, round, sub, subtract,
    true_divide, where,
)
from .random import (
    bernoulli, binomial, get_rng_state, initial_seed, manual_seed, multinomial, normal, poisson, rand, rand_like,
    randint, randint_like, randn, randn_like, randperm, seed, set_rng_state,
)
from .resampling import affine_grid_generator, grid_sampler, grid_sampler_2d, grid_sampler_3d, interpolate
from .recurrent import gru_cell, lstm_cell, rnn_relu_cell, rnn_tanh_cell
from .reduction import (
    all, amax, amin, aminmax, any, argmax, argmin, count_nonzero, cumprod, cumsum, logcumsumexp, logsumexp, max, mean,
    min, nanmean, nansum, norm, prod, std, std_mean, sum, var, var_mean,
)
from .shuffling import channel_shuffle, native_channel_shuffle, pixel_shuffle, pixel_unshuffle
from .sorting import (
    argsort, bucketize, cummax, cummin, kthvalue, median, mode, msort, nanmedian, one_hot, searchsorted, sort, topk,
    unique, unique_consecutive,
)
from .sparse import sparse_coo_tensor as sparse_coo_tensor
from .statistics import (
    bincount, corrcoef, cov, cumulative_trapezoid, diff, dist, gradient, hash_tensor, nanquantile, quantile, renorm,
    trace, trapezoid, trapz,
)
from .view import (
    adjoint, as_strided, as_strided_scatter, atleast_1d, atleast_2d, atleast_3d, broadcast_shapes, broadcast_tensors,
    broadcast_to, chunk, diagonal, diagonal_scatter, dsplit, expand, flatten, hsplit, movedim, narrow, permute, ravel,
    reshape, select, select_scatter, slice_scatter, split, split_with_sizes, squeeze, t, tensor_split, transpose,
    unbind, unflatten, unsqueeze, view_as_complex, view_as_real, vsplit,
)
from .view_copies import (
    alias_copy, as_strided_copy, detach_copy, diagonal_copy, expand_copy, narrow_copy, permute_copy, select_copy,
    slice_copy, split_copy, split_with_sizes_copy, squeeze_copy, t_copy, transpose_copy, unbind_copy, unfold_copy,
    unsqueeze_copy, view_as_complex_copy, view_as_real_copy, view_copy,
)
from .scaled import _addmm_activation, _int_mm, _scaled_mm  # noqa: F401  PyTorch has them by these names
from .segments import segment_reduce
from .names import (
    abs_, absolute, acos_, acosh_, addmv_, arccos, arccos_, arccosh, arccosh_, arcsin, arcsin_, arcsinh, arcsinh_,
    arctan, arctan2, arctan_, arctanh, arctanh_, are_deterministic_algorithms_enabled, as_strided_, asin_, asinh_,
    atan_, atanh_, can_cast, ceil_, clamp_, clamp_max_, clamp_min_, clip_, conj_physical_, cos_, cosh_, deg2rad_,
    dequantize, detach, detach_, erf_, erfc_, exp2_, exp_, expm1_, fill, fill_, fix, fix_, floor_, frac_, gcd_, ger,
    get_default_device, get_default_dtype, get_deterministic_debug_mode, get_device, get_float32_matmul_precision,
    greater, greater_equal, i0_, index_put_, is_anomaly_check_nan_enabled, is_anomaly_enabled, is_complex, is_conj,
    is_deterministic_algorithms_warn_only_enabled, is_distributed, is_floating_point, is_inference, is_neg, is_nonzero,
    is_same_size, is_signed, is_storage, is_tensor, is_vulkan_available, is_warn_always_enabled, lcm_, ldexp_, less,
    less_equal, log10_, log1p_, log2_, log_, logit_, moveaxis, nan_to_num_, neg_, negative_, not_equal, numel,
    rad2deg_, reciprocal_, resize_as_, resolve_conj, resolve_neg, result_type, round_, rsqrt_, set_anomaly_enabled,
    set_default_device, set_default_dtype, set_default_tensor_type, set_deterministic_debug_mode,
    set_float32_matmul_precision, set_flush_denormal, set_warn_always, sigmoid_, sin_, sinc_, sinh_, sqrt_, square_,
    swapaxes, swapdims, tan_, tanh_, trunc_, typename, unsafe_chunk, unsafe_split, unsafe_split_with_sizes,
    use_deterministic_algorithms, xlogy_, zero_,
)

__all__ = [
    "abs", "abs_", "absolute", "acos", "acos_", "acosh", "acosh_", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
    "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d", "add", "addbmm",
    "addcdiv", "addcmul", "addmm", "addmv", "addmv_", "addr", "adjoint", "affine_grid_generator", "alias_copy", "all",
    "allclose", "alpha_dropout", "alpha_dropout_", "amax", "amin", "aminmax", "angle", "any", "arange", "arccos",
    "arccos_", "arccosh", "arccosh_", "arcsin", "arcsin_", "arcsinh", "arcsinh_", "arctan", "arctan2", "arctan_",
    "arctanh", "arctanh_", "are_deterministic_algorithms_enabled", "argmax", "argmin", "argsort", "argwhere",
    "as_strided", "as_strided_", "as_strided_copy", "as_strided_scatter", "as_tensor", "asarray", "asin", "asin_",
    "asinh", "asinh_", "atan", "atan2", "atan_", "atanh", "atanh_", "atleast_1d", "atleast_2d", "atleast_3d",
    "avg_pool1d", "avg_pool2d", "avg_pool3d", "baddbmm", "bartlett_window", "batch_norm", "bernoulli", "bilinear",
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "bincount", "binomial", "bitwise_and",
    "bitwise_left_shift", "bitwise_not", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "blackman_window",
    "block_diag", "bmm", "broadcast_shapes", "broadcast_tensors", "broadcast_to", "bucketize", "can_cast",
    "cartesian_prod", "cat", "cdist", "ceil", "ceil_", "celu", "celu_", "chain_matmul", "chunk", "clamp", "clamp_",
    "clamp_max", "clamp_max_", "clamp_min", "clamp_min_", "clip", "clip_", "clone", "column_stack", "combinations",
    "complex", "concat", "concatenate", "conj", "conj_physical", "conj_physical_", "constant_pad_nd", "conv1d",
    "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "copy_", "copysign", "corrcoef",
    "cos", "cos_", "cosh", "cosh_", "count_nonzero", "cov", "cross", "cross_entropy_loss", "cummax", "cummin",
    "cumprod", "cumsum", "cumulative_trapezoid", "deg2rad", "deg2rad_", "dequantize", "detach", "detach_",
    "detach_copy", "diag", "diag_embed", "diagflat", "diagonal", "diagonal_copy", "diagonal_scatter", "diff",
    "digamma", "dist", "div", "divide", "dot", "dropout", "dropout_", "dsplit", "dstack", "einsum", "elu", "elu_",
    "embedding", "embedding_bag", "embedding_dense_backward", "embedding_renorm_", "empty", "empty_like",
    "empty_permuted", "empty_strided", "eq", "equal", "erf", "erf_", "erfc", "erfc_", "erfinv", "exp", "exp2", "exp2_",
    "exp_", "expand", "expand_copy", "expm1", "expm1_", "eye", "feature_alpha_dropout", "feature_alpha_dropout_",
    "feature_dropout", "feature_dropout_", "fill", "fill_", "finfo", "fix", "fix_", "flatten", "flip", "fliplr",
    "flipud", "float_power", "floor", "floor_", "floor_divide", "fmax", "fmin", "fmod", "fold", "frac", "frac_",
    "frexp", "from_dlpack", "from_file", "from_numpy", "frombuffer", "full", "full_like", "gather", "gcd", "gcd_",
    "ge", "gelu", "ger", "get_default_device", "get_default_dtype", "get_deterministic_debug_mode", "get_device",
    "get_float32_matmul_precision", "get_rng_state", "glu", "gradient", "greater", "greater_equal", "grid_sampler",
    "grid_sampler_2d", "grid_sampler_3d", "group_norm", "gru_cell", "gt", "hamming_window", "hann_window",
    "hardshrink", "hardsigmoid", "hardsigmoid_", "hardswish", "hardswish_", "hardtanh", "hardtanh_", "hash_tensor",
    "heaviside", "histc", "histogram", "histogramdd", "hsplit", "hstack", "huber_loss", "hypot", "i0", "i0_", "igamma",
    "igammac", "iinfo", "imag", "index_add", "index_copy", "index_fill", "index_put", "index_put_", "index_reduce",
    "index_select", "initial_seed", "inner", "instance_norm", "interpolate", "is_anomaly_check_nan_enabled",
    "is_anomaly_enabled", "is_complex", "is_conj", "is_deterministic_algorithms_warn_only_enabled", "is_distributed",
    "is_floating_point", "is_inference", "is_neg", "is_nonzero", "is_same_size", "is_signed", "is_storage",
    "is_tensor", "is_vulkan_available", "is_warn_always_enabled", "isclose", "isfinite", "isin", "isinf", "isnan",
    "isneginf", "isposinf", "isreal", "kaiser_window", "kl_div", "kron", "kthvalue", "l1_loss", "layer_norm", "lcm",
    "lcm_", "ldexp", "ldexp_", "le", "leaky_relu", "leaky_relu_", "lerp", "less", "less_equal", "lgamma", "linear",
    "linspace", "log", "log10", "log10_", "log1p", "log1p_", "log2", "log2_", "log_", "log_sigmoid", "log_softmax",
    "logaddexp", "logaddexp2", "logcumsumexp", "logical_and", "logical_not", "logical_or", "logical_xor", "logit",
    "logit_", "logsigmoid", "logspace", "logsumexp", "lstm_cell", "lt", "manual_seed", "masked_fill", "masked_scatter",
    "masked_select", "matmul", "max", "max_pool1d", "max_pool1d_with_indices", "max_pool2d", "max_pool2d_with_indices",
    "max_pool3d", "max_pool3d_with_indices", "maximum", "mean", "median", "meshgrid", "min", "minimum", "mish",
    "mish_", "mm", "mode", "moveaxis", "movedim", "mse_loss", "msort", "mul", "multinomial", "multiply", "mv",
    "mvlgamma", "nan_to_num", "nan_to_num_", "nanmean", "nanmedian", "nanquantile", "nansum", "narrow", "narrow_copy",
    "native_batch_norm", "native_group_norm", "native_layer_norm", "ne", "neg", "neg_", "negative", "negative_",
    "nextafter", "nll_loss", "nonzero", "nonzero_static", "norm", "normal", "not_equal", "numel", "one_hot", "ones",
    "ones_like", "outer", "pad", "permute", "permute_copy", "poisson", "polar", "polygamma", "positive", "pow",
    "prelu", "prod", "put", "quantile", "rad2deg", "rad2deg_", "rand", "rand_like", "randint", "randint_like", "randn",
    "randn_like", "randperm", "range", "ravel", "real", "reciprocal", "reciprocal_", "relu", "relu6", "relu6_",
    "relu_", "remainder", "renorm", "repeat", "repeat_interleave", "reshape", "resize_", "resize_as_", "resolve_conj",
    "resolve_neg", "result_type", "rms_norm", "rnn_relu_cell", "rnn_tanh_cell", "roll", "rot90", "round", "round_",
    "row_stack", "rrelu", "rrelu_", "rsqrt", "rsqrt_", "rsub", "scalar_tensor", "scatter", "scatter_add",
    "scatter_reduce", "searchsorted", "seed", "segment_reduce", "select", "select_copy", "select_scatter", "selu",
    "selu_", "set_anomaly_enabled", "set_default_device", "set_default_dtype", "set_default_tensor_type",
    "set_deterministic_debug_mode", "set_float32_matmul_precision", "set_flush_denormal", "set_rng_state",
    "set_warn_always", "sgn", "sigmoid", "sigmoid_", "sign", "signbit", "silu", "silu_", "sin", "sin_", "sinc",
    "sinc_", "sinh", "sinh_", "slice_copy", "slice_scatter", "smooth_l1_loss", "softmax", "softmin", "softplus",
    "softshrink", "sort", "split", "split_copy", "split_with_sizes", "split_with_sizes_copy", "sqrt", "sqrt_",
    "square", "square_", "squeeze", "squeeze_copy", "stack", "std", "std_mean", "sub", "subtract", "sum", "swapaxes",
    "swapdims", "t", "t_copy", "take", "take_along_dim", "tan", "tan_", "tanh", "tanh_", "tensor", "tensor_split",
    "tensordot", "threshold", "threshold_", "tile", "to_dlpack", "topk", "trace", "transpose", "transpose_copy",
    "trapezoid", "trapz", "tril", "tril_indices", "triu", "triu_indices", "true_divide", "trunc", "trunc_", "typename",
    "unbind", "unbind_copy", "unflatten", "unfold_copy", "unique", "unique_consecutive", "unravel_index",
    "unsafe_chunk", "unsafe_split", "unsafe_split_with_sizes", "unsqueeze", "unsqueeze_copy",
    "use_deterministic_algorithms", "vander", "var", "var_mean", "vdot", "view_as_complex", "view_as_complex_copy",
    "view_as_real", "view_as_real_copy", "view_copy", "vsplit", "vstack", "where", "xlogy", "xlogy_", "zero_", "zeros",
    "zeros_like",
]
__all__ += [
    "istft", "stft", "cholesky", "cholesky_inverse", "cholesky_solve", "det", "eig", "geqrf", "inverse", "lobpcg",
    "logdet", "lstsq",
    "lu", "lu_solve", "lu_unpack", "matrix_exp", "matrix_power", "matrix_rank", "ormqr", "pca_lowrank", "pinverse",
    "qr", "slogdet", "solve", "svd", "svd_lowrank", "symeig", "triangular_solve",
]
__all__ += [
    "any_convolution", "channel_shuffle", "conv_tbc", "cosine_embedding_loss", "cosine_similarity", "ctc_loss",
    "hinge_embedding_loss", "margin_ranking_loss", "native_channel_shuffle", "native_dropout", "pairwise_distance",
    "pdist", "pixel_shuffle", "pixel_unshuffle", "poisson_nll_loss", "triplet_margin_loss",
]
