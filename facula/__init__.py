"""facula: PyTorch's API in Python, with machine code generated at run time."""

from facula.alias import getattr_for as _getattr_for
from facula.autograd import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from facula.constants import (
    channels_last,
    channels_last_3d,
    contiguous_format,
    e,
    inf,
    layout,
    memory_format,
    nan,
    newaxis,
    pi,
    preserve_format,
    sparse_bsc,
    sparse_bsr,
    sparse_coo,
    sparse_csc,
    sparse_csr,
    strided,
)
from facula.core.device import device
from facula.core.dtype import bfloat16 as bfloat16
from facula.core.dtype import bool_ as bool
from facula.core.dtype import complex32 as chalf
from facula.core.dtype import complex32 as complex32
from facula.core.dtype import complex64 as cfloat
from facula.core.dtype import complex64 as complex64
from facula.core.dtype import complex128 as cdouble
from facula.core.dtype import complex128 as complex128
from facula.core.dtype import dtype as dtype
from facula.core.dtype import float8_e4m3fn as float8_e4m3fn
from facula.core.dtype import float8_e4m3fnuz as float8_e4m3fnuz
from facula.core.dtype import float8_e5m2 as float8_e5m2
from facula.core.dtype import float8_e5m2fnuz as float8_e5m2fnuz
from facula.core.dtype import float8_e8m0fnu as float8_e8m0fnu
from facula.core.dtype import float16 as float16
from facula.core.dtype import float16 as half
from facula.core.dtype import float32 as float
from facula.core.dtype import float32 as float32
from facula.core.dtype import float64 as double
from facula.core.dtype import float64 as float64
from facula.core.dtype import int8 as int8
from facula.core.dtype import int16 as int16
from facula.core.dtype import int16 as short
from facula.core.dtype import int32 as int
from facula.core.dtype import int32 as int32
from facula.core.dtype import int64 as int64
from facula.core.dtype import int64 as long
from facula.core.dtype import promote_types as promote_types
from facula.core.dtype import uint8 as uint8
from facula.core.dtype import uint16 as uint16
from facula.core.dtype import uint32 as uint32
from facula.core.dtype import uint64 as uint64
from facula.core.generator import Generator, default_generator
from facula.core.shape import Size
from facula.core.tensor import Tensor

# Many names: packed by hand.
# fmt: off
# isort: off
from facula.legacy import (
    BFloat16Tensor, BoolTensor, ByteTensor, CharTensor, DoubleTensor, FloatTensor, HalfTensor, IntTensor, LongTensor,
    ShortTensor,
)
from facula.operators.fft import istft, stft
from facula.operators.matrices import (
    cholesky, cholesky_inverse, cholesky_solve, det, eig, geqrf, inverse, lobpcg, logdet, lstsq, lu, lu_solve,
    lu_unpack, matrix_exp, matrix_power, matrix_rank, ormqr, pca_lowrank, pinverse, qr, slogdet, solve, svd,
    svd_lowrank, symeig, triangular_solve,
)
from facula.operators import _addmm_activation, _int_mm, _scaled_mm  # noqa: F401  PyTorch has them by these names
from facula.operators import (  # of nn.functional, and torch has them too
    any_convolution as convolution,
    affine_grid_generator, channel_shuffle, conv_tbc, cosine_embedding_loss, cosine_similarity, ctc_loss, grid_sampler,
    grid_sampler_2d, grid_sampler_3d, hinge_embedding_loss, margin_ranking_loss, native_channel_shuffle, native_dropout,
    pairwise_distance, pdist, pixel_shuffle, pixel_unshuffle, poisson_nll_loss, triplet_margin_loss,
)
from facula.operators import (
    abs, abs_, absolute, acos, acos_, acosh, acosh_, adaptive_avg_pool1d, adaptive_max_pool1d, add, addbmm, addcdiv,
    addcmul, addmm, addmv, addmv_, addr, adjoint, alias_copy, all, allclose, alpha_dropout, alpha_dropout_, amax, amin,
    aminmax, angle, any, arange, arccos, arccos_, arccosh, arccosh_, arcsin, arcsin_, arcsinh, arcsinh_, arctan,
    arctan2, arctan_, arctanh, arctanh_, are_deterministic_algorithms_enabled, argmax, argmin, argsort, argwhere,
    as_strided, as_strided_, as_strided_copy, as_strided_scatter, as_tensor, asarray, asin, asin_, asinh, asinh_, atan,
    atan2, atan_, atanh, atanh_, atleast_1d, atleast_2d, atleast_3d, avg_pool1d, baddbmm, bartlett_window, batch_norm,
    bernoulli, bilinear, binary_cross_entropy_with_logits, bincount, binomial, bitwise_and, bitwise_left_shift,
    bitwise_not, bitwise_or, bitwise_right_shift, bitwise_xor, blackman_window, block_diag, bmm, broadcast_shapes,
    broadcast_tensors, broadcast_to, bucketize, can_cast, cartesian_prod, cat, cdist, ceil, ceil_, celu, celu_,
    chain_matmul, chunk, clamp, clamp_, clamp_max, clamp_max_, clamp_min, clamp_min_, clip, clip_, clone, column_stack,
    combinations, complex, concat, concatenate, conj, conj_physical, conj_physical_, constant_pad_nd, conv1d, conv2d,
    conv3d, conv_transpose1d, conv_transpose2d, conv_transpose3d, copysign, corrcoef, cos, cos_, cosh, cosh_,
    count_nonzero, cov, cross, cummax, cummin, cumprod, cumsum, cumulative_trapezoid, deg2rad, deg2rad_, dequantize,
    detach, detach_, detach_copy, diag, diag_embed, diagflat, diagonal, diagonal_copy, diagonal_scatter, diff, digamma,
    dist, div, divide, dot, dropout, dropout_, dsplit, dstack, einsum, embedding, embedding_bag, embedding_renorm_,
    empty, empty_like, empty_permuted, empty_strided, eq, equal, erf, erf_, erfc, erfc_, erfinv, exp, exp2, exp2_,
    exp_, expand_copy, expm1, expm1_, eye, feature_alpha_dropout, feature_alpha_dropout_, feature_dropout,
    feature_dropout_, fill, fill_, finfo, fix, fix_, flatten, flip, fliplr, flipud, float_power, floor, floor_,
    floor_divide, fmax, fmin, fmod, frac, frac_, frexp, from_dlpack, from_file, from_numpy, frombuffer, full,
    full_like, gather, gcd, gcd_, ge, ger, get_default_device, get_default_dtype, get_deterministic_debug_mode,
    get_device, get_float32_matmul_precision, get_rng_state, gradient, greater, greater_equal, group_norm, gru_cell,
    gt, hamming_window, hann_window, hardshrink, hash_tensor, heaviside, histc, histogram, histogramdd, hsplit, hstack,
    hypot, i0, i0_, igamma, igammac, iinfo, imag, index_add, index_copy, index_fill, index_put, index_put_,
    index_reduce, index_select, initial_seed, inner, instance_norm, is_anomaly_check_nan_enabled, is_anomaly_enabled,
    is_complex, is_conj, is_deterministic_algorithms_warn_only_enabled, is_distributed, is_floating_point,
    is_inference, is_neg, is_nonzero, is_same_size, is_signed, is_storage, is_tensor, is_vulkan_available,
    is_warn_always_enabled, isclose, isfinite, isin, isinf, isnan, isneginf, isposinf, isreal, kaiser_window, kl_div,
    kron, kthvalue, layer_norm, lcm, lcm_, ldexp, ldexp_, le, lerp, less, less_equal, lgamma, linspace, log, log10,
    log10_, log1p, log1p_, log2, log2_, log_, log_softmax, logaddexp, logaddexp2, logcumsumexp, logical_and,
    logical_not, logical_or, logical_xor, logit, logit_, logspace, logsumexp, lstm_cell, lt, manual_seed, masked_fill,
    masked_scatter, masked_select, matmul, max, max_pool1d, max_pool1d_with_indices, max_pool2d, max_pool3d, maximum,
    mean, median, meshgrid, min, minimum, mm, mode, moveaxis, movedim, msort, mul, multinomial, multiply, mv, mvlgamma,
    nan_to_num, nan_to_num_, nanmean, nanmedian, nanquantile, nansum, narrow, narrow_copy, native_batch_norm,
    native_group_norm, native_layer_norm, ne, neg, neg_, negative, negative_, nextafter, nonzero, nonzero_static, norm,
    normal, not_equal, numel, ones, ones_like, outer, permute, permute_copy, poisson, polar, polygamma, positive, pow,
    prelu, prod, put, quantile, rad2deg, rad2deg_, rand, rand_like, randint, randint_like, randn, randn_like, randperm,
    range, ravel, real, reciprocal, reciprocal_, relu, relu_, remainder, renorm, repeat_interleave, reshape,
    resize_as_, resolve_conj, resolve_neg, result_type, rms_norm, rnn_relu_cell, rnn_tanh_cell, roll, rot90, round,
    round_, row_stack, rrelu, rrelu_, rsqrt, rsqrt_, rsub, scalar_tensor, scatter, scatter_add, scatter_reduce,
    searchsorted, seed, segment_reduce, select, select_copy, select_scatter, selu, selu_, set_anomaly_enabled,
    set_default_device, set_default_dtype, set_default_tensor_type, set_deterministic_debug_mode,
    set_float32_matmul_precision, set_flush_denormal, set_rng_state, set_warn_always, sgn, sigmoid, sigmoid_, sign,
    signbit, sin, sin_, sinc, sinc_, sinh, sinh_, slice_copy, slice_scatter, softmax, sort, sparse_coo_tensor, split,
    split_copy, split_with_sizes, split_with_sizes_copy, sqrt, sqrt_, square, square_, squeeze, squeeze_copy, stack,
    std, std_mean, sub, subtract, sum, swapaxes, swapdims, t, t_copy, take, take_along_dim, tan, tan_, tanh, tanh_,
    tensor, tensor_split, tensordot, threshold, threshold_, tile, to_dlpack, topk, trace, transpose, transpose_copy,
    trapezoid, trapz, tril, tril_indices, triu, triu_indices, true_divide, trunc, trunc_, typename, unbind,
    unbind_copy, unflatten, unfold_copy, unique, unique_consecutive, unravel_index, unsafe_chunk, unsafe_split,
    unsafe_split_with_sizes, unsqueeze, unsqueeze_copy, use_deterministic_algorithms, vander, var, var_mean, vdot,
    view_as_complex, view_as_complex_copy, view_as_real, view_as_real_copy, view_copy, vsplit, vstack, where, xlogy,
    xlogy_, zero_, zeros, zeros_like,
)
# isort: on
# fmt: on
from facula.later import LATER
from facula.memory import memory_stats
from facula.pickling import reduce_ex as _reduce_ex  # noqa: F401 - tensors get it as `__reduce_ex__`
from facula.printing import get_printoptions, set_printoptions
from facula.threads import get_num_interop_threads, get_num_threads, set_num_interop_threads, set_num_threads

__all__ = [
    "channel_shuffle", "conv_tbc", "cosine_embedding_loss", "cosine_similarity", "ctc_loss", "hinge_embedding_loss",
    "margin_ranking_loss", "native_channel_shuffle", "native_dropout", "pairwise_distance", "pdist", "pixel_shuffle",
    "pixel_unshuffle", "poisson_nll_loss", "triplet_margin_loss", "convolution", "affine_grid_generator",
    "grid_sampler", "grid_sampler_2d", "grid_sampler_3d", "channels_last", "channels_last_3d", "contiguous_format",
    "e", "inf", "layout", "memory_format", "nan", "newaxis", "pi", "preserve_format", "BFloat16Tensor", "BoolTensor",
    "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor", "Generator", "HalfTensor", "IntTensor", "LongTensor",
    "ShortTensor", "Size", "Tensor", "abs", "abs_", "absolute", "acos", "acos_", "acosh", "acosh_",
    "adaptive_avg_pool1d", "adaptive_max_pool1d", "add", "addbmm", "addcdiv", "addcmul", "addmm", "addmv", "addmv_",
    "addr", "adjoint", "alias_copy", "all", "allclose", "alpha_dropout", "alpha_dropout_", "amax", "amin", "aminmax",
    "angle", "any", "arange", "arccos", "arccos_", "arccosh", "arccosh_", "arcsin", "arcsin_", "arcsinh", "arcsinh_",
    "arctan", "arctan2", "arctan_", "arctanh", "arctanh_", "are_deterministic_algorithms_enabled", "argmax", "argmin",
    "argsort", "argwhere", "as_strided", "as_strided_", "as_strided_copy", "as_strided_scatter", "as_tensor",
    "asarray", "asin", "asin_", "asinh", "asinh_", "atan", "atan2", "atan_", "atanh", "atanh_", "atleast_1d",
    "atleast_2d", "atleast_3d", "avg_pool1d", "baddbmm", "bartlett_window", "batch_norm", "bernoulli", "bfloat16",
    "bilinear", "binary_cross_entropy_with_logits", "bincount", "binomial", "bitwise_and", "bitwise_left_shift",
    "bitwise_not", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "blackman_window", "block_diag", "bmm", "bool",
    "broadcast_shapes", "broadcast_tensors", "broadcast_to", "bucketize", "can_cast", "cartesian_prod", "cat", "cdist",
    "cdouble", "ceil", "ceil_", "celu", "celu_", "cfloat", "chain_matmul", "chalf", "chunk", "clamp", "clamp_",
    "clamp_max", "clamp_max_", "clamp_min", "clamp_min_", "clip", "clip_", "clone", "column_stack", "combinations",
    "complex", "complex128", "complex32", "complex64", "concat", "concatenate", "conj", "conj_physical",
    "conj_physical_", "constant_pad_nd", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
    "conv_transpose3d", "copysign", "corrcoef", "cos", "cos_", "cosh", "cosh_", "count_nonzero", "cov", "cross",
    "cummax", "cummin", "cumprod", "cumsum", "cumulative_trapezoid", "default_generator", "deg2rad", "deg2rad_",
    "dequantize", "detach", "detach_", "detach_copy", "device", "diag", "diag_embed", "diagflat", "diagonal",
    "diagonal_copy", "diagonal_scatter", "diff", "digamma", "dist", "div", "divide", "dot", "double", "dropout",
    "dropout_", "dsplit", "dstack", "dtype", "einsum", "embedding", "embedding_bag", "embedding_renorm_", "empty",
    "empty_like", "empty_permuted", "empty_strided", "enable_grad", "eq", "equal", "erf", "erf_", "erfc", "erfc_",
    "erfinv", "exp", "exp2", "exp2_", "exp_", "expand_copy", "expm1", "expm1_", "eye", "feature_alpha_dropout",
    "feature_alpha_dropout_", "feature_dropout", "feature_dropout_", "fill", "fill_", "finfo", "fix", "fix_",
    "flatten", "flip", "fliplr", "flipud", "float", "float16", "float32", "float64", "float8_e4m3fn",
    "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "float_power", "floor", "floor_",
    "floor_divide", "fmax", "fmin", "fmod", "frac", "frac_", "frexp", "from_dlpack", "from_file", "from_numpy",
    "frombuffer", "full", "full_like", "gather", "gcd", "gcd_", "ge", "ger", "get_default_device", "get_default_dtype",
    "get_deterministic_debug_mode", "get_device", "get_float32_matmul_precision", "get_num_interop_threads",
    "get_num_threads", "get_printoptions", "get_rng_state", "gradient", "greater", "greater_equal", "group_norm",
    "gru_cell", "gt", "half", "hamming_window", "hann_window", "hardshrink", "hash_tensor", "heaviside", "histc",
    "histogram", "histogramdd", "hsplit", "hstack", "hypot", "i0", "i0_", "igamma", "igammac", "iinfo", "imag",
    "index_add", "index_copy", "index_fill", "index_put", "index_put_", "index_reduce", "index_select",
    "inference_mode", "initial_seed", "inner", "instance_norm", "int", "int16", "int32", "int64", "int8",
    "is_anomaly_check_nan_enabled", "is_anomaly_enabled", "is_complex", "is_conj",
    "is_deterministic_algorithms_warn_only_enabled", "is_distributed", "is_floating_point", "is_grad_enabled",
    "is_inference", "is_inference_mode_enabled", "is_neg", "is_nonzero", "is_same_size", "is_signed", "is_storage",
    "is_tensor", "is_vulkan_available", "is_warn_always_enabled", "isclose", "isfinite", "isin", "isinf", "isnan",
    "isneginf", "isposinf", "isreal", "kaiser_window", "kl_div", "kron", "kthvalue", "layer_norm", "lcm", "lcm_",
    "ldexp", "ldexp_", "le", "lerp", "less", "less_equal", "lgamma", "linspace", "load", "log", "log10", "log10_",
    "log1p", "log1p_", "log2", "log2_", "log_", "log_softmax", "logaddexp", "logaddexp2", "logcumsumexp",
    "logical_and", "logical_not", "logical_or", "logical_xor", "logit", "logit_", "logspace", "logsumexp", "long",
    "lstm_cell", "lt", "manual_seed", "masked_fill", "masked_scatter", "masked_select", "matmul", "max", "max_pool1d",
    "max_pool1d_with_indices", "max_pool2d", "max_pool3d", "maximum", "mean", "median", "memory_stats", "meshgrid",
    "min", "minimum", "mm", "mode", "moveaxis", "movedim", "msort", "mul", "multinomial", "multiply", "mv", "mvlgamma",
    "nan_to_num", "nan_to_num_", "nanmean", "nanmedian", "nanquantile", "nansum", "narrow", "narrow_copy",
    "native_batch_norm", "native_group_norm", "native_layer_norm", "ne", "neg", "neg_", "negative", "negative_",
    "nextafter", "no_grad", "nonzero", "nonzero_static", "norm", "normal", "not_equal", "numel", "ones", "ones_like",
    "outer", "permute", "permute_copy", "poisson", "polar", "polygamma", "positive", "pow", "prelu", "prod",
    "promote_types", "put", "quantile", "rad2deg", "rad2deg_", "rand", "rand_like", "randint", "randint_like", "randn",
    "randn_like", "randperm", "range", "ravel", "real", "reciprocal", "reciprocal_", "relu", "relu_", "remainder",
    "renorm", "repeat_interleave", "reshape", "resize_as_", "resolve_conj", "resolve_neg", "result_type", "rms_norm",
    "rnn_relu_cell", "rnn_tanh_cell", "roll", "rot90", "round", "round_", "row_stack", "rrelu", "rrelu_", "rsqrt",
    "rsqrt_", "rsub", "save", "scalar_tensor", "scatter", "scatter_add", "scatter_reduce", "searchsorted", "seed",
    "segment_reduce", "select", "select_copy", "select_scatter", "selu", "selu_", "set_anomaly_enabled",
    "set_default_device", "set_default_dtype", "set_default_tensor_type", "set_deterministic_debug_mode",
    "set_float32_matmul_precision", "set_flush_denormal", "set_grad_enabled", "set_num_interop_threads",
    "set_num_threads", "set_printoptions", "set_rng_state", "set_warn_always", "sgn", "short", "sigmoid", "sigmoid_",
    "sign", "signbit", "sin", "sin_", "sinc", "sinc_", "sinh", "sinh_", "slice_copy", "slice_scatter", "softmax",
    "sort", "sparse_bsc", "sparse_bsr", "sparse_coo", "sparse_coo_tensor", "sparse_csc", "sparse_csr",
    "split", "split_copy", "split_with_sizes", "split_with_sizes_copy",
    "sqrt", "sqrt_", "square", "square_", "squeeze", "squeeze_copy", "stack", "std", "std_mean", "strided", "sub",
    "subtract", "sum", "swapaxes", "swapdims", "t", "t_copy", "take", "take_along_dim", "tan", "tan_", "tanh", "tanh_",
    "tensor", "tensor_split", "tensordot", "threshold", "threshold_", "tile", "to_dlpack", "topk", "trace",
    "transpose", "transpose_copy", "trapezoid", "trapz", "tril", "tril_indices", "triu", "triu_indices", "true_divide",
    "trunc", "trunc_", "typename", "uint16", "uint32", "uint64", "uint8", "unbind", "unbind_copy", "unflatten",
    "unfold_copy", "unique", "unique_consecutive", "unravel_index", "unsafe_chunk", "unsafe_split",
    "unsafe_split_with_sizes", "unsqueeze", "unsqueeze_copy", "use_deterministic_algorithms", "vander", "var",
    "var_mean", "vdot", "view_as_complex", "view_as_complex_copy", "view_as_real", "view_as_real_copy", "view_copy",
    "vsplit", "vstack", "where", "xlogy", "xlogy_", "zero_", "zeros", "zeros_like",
]  # fmt: skip
__all__ += [
    "istft", "stft", "cholesky", "cholesky_inverse", "cholesky_solve", "det", "eig", "geqrf", "inverse", "lobpcg",
    "logdet", "lstsq", "lu", "lu_solve", "lu_unpack", "matrix_exp", "matrix_power", "matrix_rank", "ormqr",
    "pca_lowrank", "pinverse",
    "qr", "slogdet", "solve", "svd", "svd_lowrank", "symeig", "triangular_solve",
]  # fmt: skip
__version__ = "2.13.0+facula"

# Imported when first used, so that `import facula` stays quick.
__getattr__ = _getattr_for(
    __name__, ("_C", "__config__", "_jit_internal", "accelerator", "amp", "autograd", "backends", "checkpoint",
    "compiler", "cpu", "cuda", "distributions", "fft", "func", "linalg", "masked", "memory", "multiprocessing", "nn",
    "optim", "overrides", "plots", "profiler", "random", "safetensors", "serialization", "signal", "sparse", "special",
    "storage", "training", "utils", "version"),
    LATER | {"vmap": "func"} | dict.fromkeys(
        "autocast autocast_decrement_nesting autocast_increment_nesting clear_autocast_cache get_autocast_cpu_dtype "
        "get_autocast_dtype get_autocast_gpu_dtype is_autocast_cache_enabled is_autocast_cpu_enabled "
        "is_autocast_enabled set_autocast_cache_enabled set_autocast_cpu_dtype set_autocast_cpu_enabled "
        "set_autocast_dtype set_autocast_enabled set_autocast_gpu_dtype".split(), "amp"
    ),
)  # fmt: skip
