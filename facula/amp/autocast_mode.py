"""`autocast`: in a block, products run in a lower precision and what needs more in float32, by PyTorch's lists.

The lists are those of PyTorch's CPU backend. A function in one of them converts its operands and then runs as usual,
without looking at autocast again.
"""

import functools
import importlib
import threading
import warnings
from collections.abc import Callable
from typing import Any

from facula.core import dtype as dt
from facula.core.device import device as Device
from facula.core.modes import LOCAL
from facula.core.tensor import Tensor
from facula.core.wrapped import mapped, tensors_in
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
SUPPORTED = (dt.bfloat16, dt.float16)


class Settings(threading.local):
    """What each thread has set: dtype by device, the depth of blocks; CUDA's switch has nothing to switch."""

    cpu = dt.bfloat16
    cuda = dt.float16
    cuda_enabled = False
    nesting = 0
    cache = True


SETTINGS = Settings()


# --- what functions do with their operands --------------------------------------------------------------------------


def _convertible(x: Tensor) -> bool:
    """Of float64 nothing is changed, nor of what is no float."""
    return x.spec.dtype.kind == "f" and x.spec.dtype is not dt.float64 and x.spec.device.type == "cpu"


def _to(kind: dt.dtype) -> Callable[[Tensor], Tensor]:
    return lambda x: x.to(kind) if _convertible(x) else x  # type: ignore[attr-defined]


def _inside(original: Callable, args: tuple, kwargs: dict) -> Any:
    before, LOCAL.autocast = LOCAL.autocast, None
    try:
        return original(*args, **kwargs)
    finally:
        LOCAL.autocast = before


def _lower(public: Any, original: Callable, args: tuple, kwargs: dict) -> Any:
    to = _to(LOCAL.autocast)
    return _inside(original, mapped(to, args), mapped(to, kwargs))


def _float32(public: Any, original: Callable, args: tuple, kwargs: dict) -> Any:
    to = _to(dt.float32)
    return _inside(original, mapped(to, args), mapped(to, kwargs))


def _widest(public: Any, original: Callable, args: tuple, kwargs: dict) -> Any:
    kinds = [x.spec.dtype for x in tensors_in(args, kwargs) if _convertible(x)]
    if len(set(kinds)) < 2:
        return _inside(original, args, kwargs)
    to = _to(dt.float32 if dt.float32 in kinds else LOCAL.autocast)
    return _inside(original, mapped(to, args), mapped(to, kwargs))


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
def _prepare() -> None:
    """Have the functions in the lists look at autocast; done once."""
    casts = {}
    for names, convert in ((LOWER, _lower), (FLOAT32, _float32), (WIDEST, _widest)):
        for path in names.split():
            each = [path] if "." in path else [path, f"Tensor.{path}", f"nn.functional.{path}"]
            casts.update({f: convert for p in each if (f := _named(p)) is not None})
    install_casts(casts)


# --- the block ------------------------------------------------------------------------------------------------------


class autocast:
    """In this block (or function) products run in a lower precision; works as a decorator too.

    Parameters
    ----------
    device_type : str
        "cpu". On "cuda" it is off, with a warning, where there is no GPU.
    dtype : dtype, optional
        bfloat16 (the default on CPUs) or float16.
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
        if device_type == "cuda" and enabled:
            warnings.warn("User provided device_type of 'cuda', but CUDA is not available. Disabling", stacklevel=2)
            enabled = False
        if enabled and self.fast_dtype not in SUPPORTED:
            warnings.warn(
                "In CPU autocast, but the target dtype is not supported. Disabling autocast.\nCPU Autocast only "
                "supports dtypes of torch.bfloat16, torch.float16 currently.",
                stacklevel=2,
            )
            enabled = False
        self._enabled = enabled

    def __enter__(self):
        self.before = LOCAL.autocast, SETTINGS.cpu, SETTINGS.cuda_enabled, SETTINGS.cuda, SETTINGS.cache
        SETTINGS.nesting += 1
        SETTINGS.cache = self._cache_enabled
        if self.device == "cpu":
            SETTINGS.cpu = self.fast_dtype
            set_autocast_enabled("cpu", self._enabled)
        else:
            SETTINGS.cuda, SETTINGS.cuda_enabled = self.fast_dtype, self._enabled
        return self

    def __exit__(self, *_) -> bool:
        SETTINGS.nesting -= 1
        LOCAL.autocast, SETTINGS.cpu, SETTINGS.cuda_enabled, SETTINGS.cuda, SETTINGS.cache = self.before
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
    return LOCAL.autocast is not None if device_type == "cpu" else SETTINGS.cuda_enabled


def set_autocast_enabled(device_type: Any, enabled: bool | None = None) -> None:
    """Switch autocast for a type of device (CUDA, where a bool alone is given)."""
    if enabled is None:
        device_type, enabled = "cuda", device_type
    if device_type != "cpu":
        SETTINGS.cuda_enabled = bool(enabled)
        return
    if enabled:
        _prepare()
    LOCAL.autocast = SETTINGS.cpu if enabled else None


def get_autocast_dtype(device_type: str) -> dt.dtype:
    """The lower precision of a type of device."""
    return SETTINGS.cpu if device_type == "cpu" else SETTINGS.cuda


def set_autocast_dtype(device_type: str, dtype: dt.dtype) -> None:
    """Set the lower precision of a type of device."""
    if device_type != "cpu":
        SETTINGS.cuda = dtype
        return
    SETTINGS.cpu = dtype
    if LOCAL.autocast is not None:
        LOCAL.autocast = dtype


def is_autocast_cpu_enabled() -> bool:
    """`is_autocast_enabled("cpu")`."""
    return is_autocast_enabled("cpu")


def set_autocast_cpu_enabled(enabled: bool) -> None:
    """`set_autocast_enabled("cpu", enabled)`."""
    set_autocast_enabled("cpu", enabled)


def get_autocast_cpu_dtype() -> dt.dtype:
    """`get_autocast_dtype("cpu")`."""
    return SETTINGS.cpu


def set_autocast_cpu_dtype(dtype: dt.dtype) -> None:
    """`set_autocast_dtype("cpu", dtype)`."""
    set_autocast_dtype("cpu", dtype)


def get_autocast_gpu_dtype() -> dt.dtype:
    """`get_autocast_dtype("cuda")`."""
    return SETTINGS.cuda


def set_autocast_gpu_dtype(dtype: dt.dtype) -> None:
    """`set_autocast_dtype("cuda", dtype)`."""
    SETTINGS.cuda = dtype


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
