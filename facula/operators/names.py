"""Public functions beside the operators: questions about tensors and dtypes, settings, other names, in-place forms."""

import warnings

from facula import launch
from facula.autograd.anomaly import is_anomaly_check_nan_enabled, is_anomaly_enabled, set_anomaly_enabled
from facula.core import switches
from facula.core.device import DEVICE, place
from facula.core.device import device as Device
from facula.core.dtype import dtype as DType
from facula.core.precision import MATMUL, set_matmul
from facula.core.precision import matmul as matmul_precision
from facula.core.tensor import Tensor
from facula.errors import fail

from . import elementwise, promotion, view
from .declare import OPERATORS
from .matmul import outer as ger

__all__ = [
    "are_deterministic_algorithms_enabled", "can_cast", "detach", "fill", "ger", "get_default_device",
    "get_default_dtype",
    "get_deterministic_debug_mode", "is_anomaly_check_nan_enabled", "is_anomaly_enabled", "set_anomaly_enabled",
    "get_float32_matmul_precision", "i0_", "index_put_", "is_complex", "is_conj",
    "is_deterministic_algorithms_warn_only_enabled", "is_floating_point", "is_inference", "is_neg", "is_nonzero",
    "is_same_size",
    "is_signed", "is_storage", "is_tensor", "is_vulkan_available", "is_warn_always_enabled", "numel",
    "resolve_conj", "resolve_neg", "result_type",
    "set_default_device", "set_default_dtype", "set_default_tensor_type", "set_deterministic_debug_mode",
    "set_float32_matmul_precision",
    "set_flush_denormal", "set_warn_always", "typename", "unsafe_chunk", "unsafe_split",
    "unsafe_split_with_sizes", "use_deterministic_algorithms",
]  # fmt: skip

# --- questions ----------------------------------------------------------------------------------------------------


def is_tensor(obj, /) -> bool:
    """Whether it is a tensor."""
    return isinstance(obj, Tensor)


def is_storage(obj, /) -> bool:
    """Whether it is a storage of a tensor."""
    return type(obj).__name__.endswith("Storage")


def _asking(name: str, text: str):
    def entry(input: Tensor) -> bool:
        if not isinstance(input, Tensor):
            fail(TypeError, f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
        return getattr(input, name)()

    entry.__name__ = entry.__qualname__ = name
    entry.__doc__ = text
    return entry


is_floating_point = _asking("is_floating_point", "Whether the dtype is a float.")
is_complex = _asking("is_complex", "Whether the dtype is complex.")
is_signed = _asking("is_signed", "Whether the dtype has a sign.")
is_inference = _asking("is_inference", "Whether it was made in inference mode; facula makes no such difference.")
is_conj = _asking("is_conj", "Whether it is a lazy conjugate; facula conjugates at once.")
is_neg = _asking("is_neg", "Whether it is a lazy negative; facula negates at once.")
resolve_conj = _asking("resolve_conj", "The tensor itself: conjugates are never lazy here.")
resolve_neg = _asking("resolve_neg", "The tensor itself: negatives are never lazy here.")


def numel(input: Tensor) -> int:
    """The number of elements."""
    if not isinstance(input, Tensor):
        fail(TypeError, f"numel(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
    return input.spec.numel


def is_nonzero(input: Tensor) -> bool:
    """Whether the one element is not 0."""
    if input.spec.numel != 1:
        many = "no values" if not input.spec.numel else "more than one value"
        fail(RuntimeError, f"Boolean value of Tensor with {many} is ambiguous")
    return bool(input.item())


def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have one shape."""
    return input.spec.shape == other.spec.shape


def is_vulkan_available() -> bool:
    """Whether PyTorch's Vulkan backend is there: never."""
    return False


def typename(obj) -> str:
    """The name of an object's type, with its module; torch.FloatTensor and the like for tensors."""
    if isinstance(obj, Tensor):
        return obj.type()
    module = getattr(obj, "__module__", "") or ""
    if module and module != "builtins" and hasattr(obj, "__qualname__"):
        return f"{module}.{obj.__qualname__}"
    if hasattr(obj, "__qualname__"):
        return obj.__qualname__
    kind = type(obj)
    return kind.__qualname__ if kind.__module__ in ("", "builtins") else f"{kind.__module__}.{kind.__qualname__}"


_KIND_ORDER = "buifc"


def can_cast(from_: DType, to: DType) -> bool:
    """Whether promotion may write a result of dtype `from_` into a tensor of dtype `to`."""
    if from_.is_complex and not to.is_complex:
        return False
    if from_.is_floating_point and to.kind in "bui":
        return False
    return not (from_.kind != "b" and to.kind == "b")


def result_type(tensor, other) -> DType:
    """The dtype of an operation on two tensors or numbers.

    Examples
    --------
    >>> import facula as torch
    >>> torch.result_type(torch.tensor([1, 2]), 1.0)
    torch.float32
    """
    return promotion.result_type([x.spec if isinstance(x, Tensor) else type(x) for x in (tensor, other)])


# --- settings -----------------------------------------------------------------------------------------------------


def get_default_dtype() -> DType:
    """The dtype of floats that come from Python numbers."""
    return promotion.DEFAULT.float


def set_default_dtype(d: DType, /) -> None:
    """Change the dtype of floats that come from Python numbers."""
    if not isinstance(d, DType):
        fail(TypeError, f"invalid dtype object: {type(d).__name__}")
    if not d.is_floating_point:
        fail(TypeError, "only floating-point types are supported as the default type", got=repr(d))
    promotion.set_default(d)


def set_default_tensor_type(t, /) -> None:
    """`set_default_dtype` by the name or class of a tensor type."""
    from .methods import type_name_dtype

    set_default_dtype(type_name_dtype(t) if isinstance(t, str) else t.dtype)


def get_default_device() -> Device:
    """The device on which tensors are made unless told otherwise."""
    return place(DEVICE[0]) if DEVICE[0].type == "cuda" else DEVICE[0]


def set_default_device(device) -> None:
    """Make tensors on another device unless told otherwise."""
    where = Device("cpu" if device is None else device)
    launch.allocator(where)  # raises where there is no such device
    DEVICE[0] = where


_SETTINGS = {"deterministic": False, "warn_only": False, "warn_always": False}


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """All of facula's are; after this, those of cuDNN are even with `torch.backends.cudnn.benchmark`."""
    _SETTINGS["deterministic"], _SETTINGS["warn_only"] = bool(mode), bool(warn_only)
    switches.program.deterministic = bool(mode)


def are_deterministic_algorithms_enabled() -> bool:
    """What `use_deterministic_algorithms` was called with."""
    return _SETTINGS["deterministic"]


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """What `use_deterministic_algorithms` was called with for `warn_only`."""
    return _SETTINGS["warn_only"]


def set_deterministic_debug_mode(debug_mode) -> None:
    """`use_deterministic_algorithms` by number or name: 0 "default", 1 "warn", 2 "error"."""
    modes = {"default": 0, "warn": 1, "error": 2}
    mode = modes.get(debug_mode, debug_mode)
    if mode not in (0, 1, 2):
        fail(RuntimeError, f"invalid value of debug_mode, expected 0, 1, or 2, but got {debug_mode}")
    use_deterministic_algorithms(mode > 0, warn_only=mode == 1)


def get_deterministic_debug_mode() -> int:
    """0, 1 (warn) or 2 (error)."""
    return 0 if not _SETTINGS["deterministic"] else 1 if _SETTINGS["warn_only"] else 2


def set_float32_matmul_precision(precision: str) -> None:
    """Whether products of float32 matrices on GPUs may be rounded to TF32: "high" and "medium" allow it.

    On CPUs they are always computed in float32.
    """
    if not isinstance(precision, str):
        fail(RuntimeError, f"set_float32_matmul_precision expects a str, but got {type(precision).__name__}")
    if precision not in MATMUL:
        said = "the currentsetFloat32MatmulPrecision call has no effect."
        warnings.warn(f"{precision} is not one of 'highest', 'high', or 'medium'; {said}", stacklevel=2)
        return
    set_matmul(precision)


def get_float32_matmul_precision() -> str:
    """What `set_float32_matmul_precision` was called with."""
    return matmul_precision()


def set_warn_always(b: bool, /) -> None:
    """Accepted: Python's warning filters decide what is shown."""
    _SETTINGS["warn_always"] = bool(b)


def is_warn_always_enabled() -> bool:
    """What `set_warn_always` was called with."""
    return _SETTINGS["warn_always"]


def set_flush_denormal(mode: bool) -> bool:
    """False: denormal numbers are never flushed to zero here."""
    return False


# --- other names --------------------------------------------------------------------------------------------------


def detach(input: Tensor) -> Tensor:
    """The same elements without history."""
    return input.detach()


def fill(input: Tensor, value) -> Tensor:
    """A copy of `input` filled with one number."""
    return input.clone().fill_(value)


def index_put_(input: Tensor, indices, values: Tensor, accumulate: bool = False) -> Tensor:
    """`index_put` over the tensor's own elements."""
    return input.index_put_(indices, values, accumulate)


absolute = elementwise.abs
arccos = elementwise.acos
arccosh = elementwise.acosh
arcsin = elementwise.asin
arcsinh = elementwise.asinh
arctan = elementwise.atan
arctan2 = elementwise.atan2
arctanh = elementwise.atanh
fix = elementwise.trunc
greater = elementwise.gt
greater_equal = elementwise.ge
less = elementwise.lt
less_equal = elementwise.le
not_equal = elementwise.ne
moveaxis = view.movedim
swapaxes = view.swapaxes
swapdims = view.transpose
unsafe_chunk = view.chunk
unsafe_split = view.unsafe_split
unsafe_split_with_sizes = view.split_with_sizes

# torch.abs_(x) is x.abs_().
abs_ = Tensor.abs_
acos_ = Tensor.acos_
acosh_ = Tensor.acosh_
addmv_ = Tensor.addmv_
arccos_ = Tensor.arccos_
arccosh_ = Tensor.arccosh_
arcsin_ = Tensor.arcsin_
arcsinh_ = Tensor.arcsinh_
arctan_ = Tensor.arctan_
arctanh_ = Tensor.arctanh_
as_strided_ = Tensor.as_strided_
asin_ = Tensor.asin_
asinh_ = Tensor.asinh_
atan_ = Tensor.atan_
atanh_ = Tensor.atanh_
ceil_ = Tensor.ceil_
clamp_ = Tensor.clamp_
clamp_max_ = Tensor.clamp_max_
clamp_min_ = Tensor.clamp_min_
clip_ = Tensor.clip_
conj_physical_ = Tensor.conj_physical_
cos_ = Tensor.cos_
cosh_ = Tensor.cosh_
deg2rad_ = Tensor.deg2rad_
dequantize = Tensor.dequantize
detach_ = Tensor.detach_
erf_ = Tensor.erf_
erfc_ = Tensor.erfc_
exp2_ = Tensor.exp2_
exp_ = Tensor.exp_
expm1_ = Tensor.expm1_
fill_ = Tensor.fill_
fix_ = Tensor.fix_
floor_ = Tensor.floor_
frac_ = Tensor.frac_
gcd_ = Tensor.gcd_
i0_ = Tensor.i0_
get_device = Tensor.get_device
is_distributed = Tensor.is_distributed
lcm_ = Tensor.lcm_
ldexp_ = Tensor.ldexp_
log10_ = Tensor.log10_
log1p_ = Tensor.log1p_
log2_ = Tensor.log2_
log_ = Tensor.log_
logit_ = Tensor.logit_
nan_to_num_ = Tensor.nan_to_num_
neg_ = Tensor.neg_
negative_ = Tensor.negative_
rad2deg_ = Tensor.rad2deg_
reciprocal_ = Tensor.reciprocal_
resize_as_ = Tensor.resize_as_
round_ = Tensor.round_
rsqrt_ = Tensor.rsqrt_
sigmoid_ = Tensor.sigmoid_
sin_ = Tensor.sin_
sinc_ = Tensor.sinc_
sinh_ = Tensor.sinh_
sqrt_ = Tensor.sqrt_
square_ = Tensor.square_
tan_ = Tensor.tan_
tanh_ = Tensor.tanh_
trunc_ = Tensor.trunc_
xlogy_ = Tensor.xlogy_
zero_ = Tensor.zero_


# --- names of recorded operations ---------------------------------------------------------------------------------
# PyTorch numbers the overloads of an operator; which one a node records shows in its operands.

_RENAMED = {
    "log1p": "Log1P", "rad2deg": "Rad2Deg", "deg2rad": "Deg2Rad", "square": "Pow", "nan_to_num_values": "NanToNum",
    "true_divide": "Div", "rdiv": "Mul",
    "nansum_rows": "Nansum",
}  # fmt: skip
for _name, _shown in _RENAMED.items():
    if _name in OPERATORS:
        OPERATORS[_name].node_class.__name__ = f"{_shown}Backward0"


def _is_number(node, operand: int) -> bool:
    return isinstance(node.plan.specs[operand], type)


def _whole(node) -> bool:
    dims, keepdim = node.plan.key
    return len(dims) == len(node.plan.shape) and not keepdim


def _numbered(title: str, number):
    def naming(node) -> str:
        return f"{title}Backward{number(node)}"

    return naming


for _name, _shown, _number in (
    ("sum_rows", "Sum", lambda node: 0 if _whole(node) else 1), ("mean_rows", "Mean",
                                                                lambda node: 0 if _whole(node) else 1),
    ("prod_rows", "Prod", lambda node: 0 if _whole(node) else 1), ("trunc_divide", "Div", lambda node: 2),
    ("floor_divide", "Div", lambda node: 2), ("rsub", "Rsub", lambda node: 1 if _is_number(node, 1) else 0),
    ("pow", "Pow", lambda node: 0 if _is_number(node, 1) else 2 if _is_number(node, 0) else 1),
    ("remainder", "Remainder", lambda node: 0 if _is_number(node, 1) else 1),
    ("fmod", "Fmod", lambda node: 0 if _is_number(node, 1) else 1),
    ("clamp_both", "Clamp", lambda node: 1 if _is_number(node, 1) and _is_number(node, 2) else 0),
    ("lerp", "Lerp", lambda node: 0 if _is_number(node, 2) else 1), ("masked_fill", "MaskedFill",
                                                                lambda node: 0 if _is_number(node, 2) else 1),
    ("copysign", "Copysign", lambda node: 1 if _is_number(node, 1) else 0),
    ("xlogy", "Xlogy", lambda node: 1 if _is_number(node, 0) else 2 if _is_number(node, 1) else 0),
    ("round_decimals", "Round", lambda node: 1),
    ("squeeze_dims", "Squeeze", lambda node: 0 if len(node.args[0]) == node.spec.ndim != 1 else 1
     if len(node.args[0]) == 1 else 2),
):  # fmt: skip
    OPERATORS[_name].naming = _numbered(_shown, _number)
