"""`autocast`: in a block, products run in a lower precision and what needs more in float32, by PyTorch's lists.

The lists are those of PyTorch's backends, one set for each type of device. A function in one of them converts its
operands and then runs as usual, without looking at autocast again.
"""

import functools
import importlib
import threading
import warnings
from collections.abc import Callable
from typing import Any

from facula import launch
from facula.core import dtype as dt
from facula.core.device import device as Device
from facula.core.modes import LOCAL
from facula.core.tensor import Tensor
from facula.core.wrapped import mapped, tensors_in
from facula.errors import fail
from facula.operators.override import install_casts

__all__ = [
    "autocast", "autocast_decrement_nesting", "autocast_increment_nesting", "clear_autocast_cache", "custom_bwd",
    "custom_fwd", "get_autocast_cpu_dtype", "get_autocast_dtype", "get_autocast_gpu_dtype", "is_autocast_available",
    "is_autocast_cache_enabled", "is_autocast_cpu_enabled", "is_autocast_enabled", "set_autocast_cache_enabled",
    "set_autocast_cpu_dtype", "set_autocast_cpu_enabled", "set_autocast_dtype", "set_autocast_enabled",
    "set_autocast_gpu_dtype",
]  # fmt: skip

LOWER = """
    addbmm addmm baddbmm bmm chain_matmul conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d
    conv_transpose3d einsum linalg.multi_dot linalg.vecdot matmul mm nn.functional.linear
    nn.functional.scaled_dot_product_attention Tensor.__matmul__ Tensor.__rmatmul__
"""
FLOAT32 = """
    cdist cholesky cholesky_inverse cholesky_solve geqrf inverse lu_solve nanquantile orgqr ormqr pinverse polar prod
    quantile stft trace view_as_complex
    nn.functional.adaptive_avg_pool3d nn.functional.avg_pool3d nn.functional.binary_cross_entropy
    nn.functional.binary_cross_entropy_with_logits nn.functional.cosine_embedding_loss nn.functional.cross_entropy
    nn.functional.ctc_loss nn.functional.grid_sample nn.functional.hinge_embedding_loss nn.functional.huber_loss
    nn.functional.kl_div nn.functional.l1_loss nn.functional.margin_ranking_loss nn.functional.max_pool3d
    nn.functional.max_unpool2d nn.functional.max_unpool3d nn.functional.mse_loss nn.functional.multi_margin_loss
    nn.functional.multilabel_margin_loss nn.functional.nll_loss nn.functional.poisson_nll_loss
    nn.functional.smooth_l1_loss nn.functional.soft_margin_loss nn.functional.triplet_margin_loss
    fft.fft fft.fft2 fft.fftn fft.hfft fft.ifft fft.ifft2 fft.ifftn fft.ihfft fft.irfft fft.irfft2 fft.irfftn fft.rfft
    fft.rfft2 fft.rfftn
    linalg.cholesky linalg.cond linalg.eig linalg.eigh linalg.eigvals linalg.eigvalsh linalg.householder_product
    linalg.inv linalg.inv_ex linalg.lstsq linalg.lu_factor linalg.matrix_rank linalg.qr linalg.solve linalg.svd
    linalg.svdvals linalg.tensorinv linalg.tensorsolve
"""
WIDEST = "cat concat concatenate index_copy stack Tensor.index_copy"
CUDA_LOWER = """
    addbmm addmm addmv addr baddbmm bmm chain_matmul conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d
    conv_transpose3d einsum gru_cell linalg.multi_dot linalg.vecdot lstm_cell matmul mm mv nn.functional.linear
    nn.functional.scaled_dot_product_attention operators.recurrent.recurrent_layer prelu rnn_relu_cell rnn_tanh_cell
    Tensor.__matmul__ Tensor.__rmatmul__
"""
CUDA_FLOAT32 = """
    acos arccos arcsin asin cdist cosh cosine_similarity dist erfinv exp expm1 frobenius_norm group_norm layer_norm log
    log10 log1p log2 logsumexp native_layer_norm nuclear_norm pdist pow reciprocal renorm rms_norm rsqrt sinh softplus
    tan Tensor.__pow__ Tensor.__rpow__ special.erfinv special.expm1 special.log1p special.logsumexp
    nn.functional.binary_cross_entropy_with_logits nn.functional.cosine_embedding_loss nn.functional.cross_entropy
    nn.functional.hinge_embedding_loss nn.functional.huber_loss nn.functional.interpolate nn.functional.kl_div
    nn.functional.l1_loss nn.functional.margin_ranking_loss nn.functional.mse_loss nn.functional.multi_margin_loss
    nn.functional.multilabel_margin_loss nn.functional.nll_loss nn.functional.poisson_nll_loss
    nn.functional.smooth_l1_loss nn.functional.soft_margin_loss nn.functional.triplet_margin_loss
    nn.functional.upsample
"""
CUDA_UNTOLD = """
    cumprod cumsum linalg.matrix_norm linalg.norm linalg.vector_norm log_softmax norm prod softmax special.log_softmax
    special.softmax sum
"""
CUDA_WIDEST = """
    addcdiv addcmul atan2 bilinear cross dot index_put linalg.cross nn.functional.grid_sample scatter_add tensordot vdot
"""
UNSAFE = "nn.functional.binary_cross_entropy"
SUPPORTED = (dt.bfloat16, dt.float16)


class Settings(threading.local):
    """What each thread has set: dtype by type of device, the depth of blocks. What is on is in `LOCAL.autocast`."""

    def __init__(self):
        self.dtypes = {"cpu": dt.bfloat16, "cuda": dt.float16}
        self.nesting, self.cache = 0, True


SETTINGS = Settings()


# --- what functions do with their operands --------------------------------------------------------------------------


def _convertible(x: Tensor, where: str) -> bool:
    """Of float64 nothing is changed, nor of what is no float, nor of what is on a device of another type."""
    return x.spec.dtype.kind == "f" and x.spec.dtype is not dt.float64 and x.spec.device.type == where


def _run(original: Callable, args: tuple, kwargs: dict, where: str, kind: dt.dtype | None) -> Any:
    """The function on operands of a dtype (None: as they are), without another look at autocast."""
    if kind is not None:

        def to(x: Tensor) -> Tensor:
            return x if x.spec.dtype is kind or not _convertible(x, where) else x.to(kind)  # type: ignore[attr-defined]

        args = tuple([to(x) if x.__class__ is Tensor else mapped(to, x) for x in args])
        kwargs = mapped(to, kwargs) if kwargs else kwargs
    before, LOCAL.autocast = LOCAL.autocast, None
    try:
        return original(*args, **kwargs)
    finally:
        LOCAL.autocast = before


def _lower(kind: dt.dtype, where: str, args: tuple, kwargs: dict) -> dt.dtype | None:
    return kind


def _float32(kind: dt.dtype, where: str, args: tuple, kwargs: dict) -> dt.dtype | None:
    return dt.float32


def _untold(kind: dt.dtype, where: str, args: tuple, kwargs: dict) -> dt.dtype | None:
    """float32, unless the caller says which dtype."""
    told = kwargs.get("dtype") is not None or any(isinstance(x, dt.dtype) for x in args)
    return None if told else dt.float32


def _widest(kind: dt.dtype, where: str, args: tuple, kwargs: dict) -> dt.dtype | None:
    kinds = {x.spec.dtype for x in tensors_in(args, kwargs) if _convertible(x, where)}
    return None if len(kinds) < 2 else dt.float32 if dt.float32 in kinds else kind


def _unsafe(kind: dt.dtype, where: str, args: tuple, kwargs: dict) -> dt.dtype | None:
    fail(
        RuntimeError,
        "torch.nn.functional.binary_cross_entropy and torch.nn.BCELoss are unsafe to autocast.\nMany models use a "
        "sigmoid layer right before the binary cross entropy layer.\nIn this case, combine the two layers using "
        "torch.nn.functional.binary_cross_entropy_with_logits\nor torch.nn.BCEWithLogitsLoss.  "
        "binary_cross_entropy_with_logits and BCEWithLogits are\nsafe to autocast.",
    )


LISTS = {
    "cpu": ((LOWER, _lower), (FLOAT32, _float32), (WIDEST, _widest)),
    "cuda": (
        (CUDA_LOWER, _lower), (CUDA_FLOAT32, _float32), (CUDA_UNTOLD, _untold), (CUDA_WIDEST, _widest),
        (UNSAFE, _unsafe),
    ),
}  # fmt: skip
CHOICES: dict[str, dict[Any, Callable]] = {}  # by type of device: what each function's operands are converted to


def _casting(public: Any, args: tuple, kwargs: dict) -> Callable | None:
    """What runs a function under autocast; None where nothing is to be converted."""
    on = LOCAL.autocast
    if kwargs.get("out") is not None:
        return None
    for where, kind in on.items():
        choose = CHOICES[where].get(public)
        if choose is None or (len(on) > 1 and all(x.spec.device.type != where for x in tensors_in(args, kwargs))):
            continue
        return functools.partial(_run, where=where, kind=choose(kind, where, args, kwargs))
    return None


def _named(path: str) -> Any:
    """The public function of that name, None where facula has none."""
    place, _, name = path.rpartition(".")
    if place == "Tensor":
        return vars(Tensor).get(name)
    try:
        return vars(importlib.import_module(f"facula.{place}".rstrip("."))).get(name)
    except ModuleNotFoundError:
        return None


@functools.cache
def _prepare(where: str) -> None:
    """Have the functions in the lists of a type of device look at autocast; done once."""
    choices = CHOICES.setdefault(where, {})
    for names, choose in LISTS[where]:
        for path in names.split():
            each = [path] if "." in path else [path, f"Tensor.{path}", f"nn.functional.{path}"]
            choices.update({f: choose for p in each if (f := _named(p)) is not None})
    install_casts(dict.fromkeys(choices, _casting))


# --- the block ------------------------------------------------------------------------------------------------------


class autocast:
    """In this block (or function) products run in a lower precision; works as a decorator too.

    Parameters
    ----------
    device_type : str
        "cpu" or "cuda": tensors there are converted. On "cuda" it is off, with a warning, where there is no GPU.
    dtype : dtype, optional
        bfloat16 (the default on CPUs) or float16 (on GPUs).
    enabled : bool
    cache_enabled : bool, optional
        Accepted; conversions are not kept.

    Examples
    --------
    >>> import facula as torch
    >>> a = torch.ones(2, 2)
    >>> with torch.autocast("cpu"):
    ...     print((a @ a).dtype, (a + a).dtype)
    torch.bfloat16 torch.float32
    """

    def __init__(
        self, device_type: str, dtype: dt.dtype | None = None, enabled: bool = True, cache_enabled: bool | None = None
    ):
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        if not is_autocast_available(device_type):
            raise RuntimeError(f"User specified an unsupported autocast device_type '{device_type}'")
        self.device = device_type
        self.fast_dtype = get_autocast_dtype(device_type) if dtype is None else dtype
        self._cache_enabled = is_autocast_cache_enabled() if cache_enabled is None else cache_enabled
        if device_type == "cuda":
            if enabled and not launch.accelerated():
                warnings.warn("CUDA is not available or torch_xla is imported. Disabling autocast.", stacklevel=2)
                enabled = False
        elif enabled and self.fast_dtype not in SUPPORTED:
            warnings.warn(
                "In CPU autocast, but the target dtype is not supported. Disabling autocast.\nCPU Autocast only "
                "supports dtypes of torch.bfloat16, torch.float16 currently.",
                stacklevel=2,
            )
            enabled = False
        self._enabled = enabled

    def __enter__(self):
        self.before = LOCAL.autocast, SETTINGS.dtypes[self.device], SETTINGS.cache
        SETTINGS.nesting += 1
        SETTINGS.cache = self._cache_enabled
        SETTINGS.dtypes[self.device] = self.fast_dtype
        set_autocast_enabled(self.device, self._enabled)
        return self

    def __exit__(self, *_) -> bool:
        SETTINGS.nesting -= 1
        LOCAL.autocast, SETTINGS.dtypes[self.device], SETTINGS.cache = self.before
        return False

    def __call__(self, func: Callable) -> Callable:
        if not callable(func):
            raise TypeError(
                f"autocast()(func) requires a callable, but got {type(func).__name__}. Did you mean to use autocast as "
                "a context manager? For example:\n    with torch.autocast(device_type=...):\n        output = "
                "model(input)"
            )

        @functools.wraps(func)
        def decorated(*args, **kwargs):
            with self:
                return func(*args, **kwargs)

        return decorated


# --- switches -------------------------------------------------------------------------------------------------------


def is_autocast_available(device_type: str) -> bool:
    """Whether autocast knows a type of device."""
    return Device(device_type).type in ("cpu", "cuda")


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether autocast is on."""
    return LOCAL.autocast is not None and device_type in LOCAL.autocast


def set_autocast_enabled(device_type: Any, enabled: bool | None = None) -> None:
    """Switch autocast for a type of device (CUDA, where a bool alone is given)."""
    if enabled is None:
        device_type, enabled = "cuda", device_type
    on = {where: kind for where, kind in (LOCAL.autocast or {}).items() if where != device_type}
    if enabled:
        _prepare(device_type)
        on[device_type] = SETTINGS.dtypes[device_type]
    LOCAL.autocast = on or None


def get_autocast_dtype(device_type: str) -> dt.dtype:
    """The lower precision of a type of device."""
    return SETTINGS.dtypes[device_type]


def set_autocast_dtype(device_type: str, dtype: dt.dtype) -> None:
    """Set the lower precision of a type of device."""
    SETTINGS.dtypes[device_type] = dtype
    if is_autocast_enabled(device_type):
        LOCAL.autocast = {**LOCAL.autocast, device_type: dtype}


def is_autocast_cpu_enabled() -> bool:
    """`is_autocast_enabled("cpu")`."""
    return is_autocast_enabled("cpu")


def set_autocast_cpu_enabled(enabled: bool) -> None:
    """`set_autocast_enabled("cpu", enabled)`."""
    set_autocast_enabled("cpu", enabled)


def get_autocast_cpu_dtype() -> dt.dtype:
    """`get_autocast_dtype("cpu")`."""
    return get_autocast_dtype("cpu")


def set_autocast_cpu_dtype(dtype: dt.dtype) -> None:
    """`set_autocast_dtype("cpu", dtype)`."""
    set_autocast_dtype("cpu", dtype)


def get_autocast_gpu_dtype() -> dt.dtype:
    """`get_autocast_dtype("cuda")`."""
    return get_autocast_dtype("cuda")


def set_autocast_gpu_dtype(dtype: dt.dtype) -> None:
    """`set_autocast_dtype("cuda", dtype)`."""
    set_autocast_dtype("cuda", dtype)


def is_autocast_cache_enabled() -> bool:
    """What was last said of the cache, which facula does without."""
    return SETTINGS.cache


def set_autocast_cache_enabled(enabled: bool) -> None:
    """Accepted; there is no cache."""
    SETTINGS.cache = bool(enabled)


def clear_autocast_cache() -> None:
    """Nothing to be done: conversions are not kept."""


def autocast_increment_nesting() -> int:
    """Count a block; the number of open ones."""
    SETTINGS.nesting += 1
    return SETTINGS.nesting


def autocast_decrement_nesting() -> int:
    """Count a block's end; the number of open ones."""
    SETTINGS.nesting -= 1
    return SETTINGS.nesting


# --- custom functions -----------------------------------------------------------------------------------------------


def _cast(value: Any, device_type: str, kind: dt.dtype) -> Any:
    def one(x: Tensor) -> Tensor:
        ready = x.spec.dtype.kind == "f" and x.spec.device.type == device_type and x.spec.dtype is not dt.float64
        return x.to(kind) if ready else x  # type: ignore[attr-defined]

    return mapped(one, value)


def custom_fwd(fwd: Callable | None = None, *, device_type: str, cast_inputs: dt.dtype | None = None) -> Callable:
    """Decorator of a custom forward: it remembers autocast for backward, or runs without it, in `cast_inputs`."""
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def decorated(*args, **kwargs):
        args[0]._dtype = get_autocast_dtype(device_type)
        on = is_autocast_enabled(device_type)
        if cast_inputs is None:
            args[0]._fwd_used_autocast = on
            return fwd(*args, **kwargs)
        args[0]._fwd_used_autocast = False
        if not on:
            return fwd(*args, **kwargs)
        with autocast(device_type=device_type, enabled=False):
            return fwd(*_cast(args, device_type, cast_inputs), **_cast(kwargs, device_type, cast_inputs))

    return decorated


def custom_bwd(bwd: Callable | None = None, *, device_type: str) -> Callable:
    """Decorator of a custom function's backward: it runs with the autocast of forward."""
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def decorated(*args, **kwargs):
        with autocast(device_type=device_type, enabled=args[0]._fwd_used_autocast, dtype=args[0]._dtype):
            return bwd(*args, **kwargs)

    return decorated
