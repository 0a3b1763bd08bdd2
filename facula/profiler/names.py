"""What PyTorch's profiler calls each public function, and which of them it does not record; `watching` uses it."""

from collections.abc import Callable, Iterator
from typing import Any

from facula.core.tensor import Tensor
from facula.operators import override

__all__ = ["functions"]

# Where the public name is not the operator's: methods, and functions of nn.functional.
OPERATOR = {
    **override.OPERATOR,
    "__bool__": "is_nonzero", "__nonzero__": "is_nonzero", "__int__": "item", "__float__": "item",
    "__complex__": "item", "__index__": "item", "__rsub__": "rsub", "__rtruediv__": "div", "__div__": "div",
    "__rdiv__": "div", "__idiv__": "div_", "__floordiv__": "floor_divide", "__rfloordiv__": "floor_divide",
    "__ifloordiv__": "floor_divide_", "__rmod__": "remainder", "__imod__": "remainder_", "__rpow__": "pow",
    "__ipow__": "pow_", "__rmatmul__": "matmul", "__rand__": "__and__", "__ror__": "__or__", "__rxor__": "__xor__",
    "__rlshift__": "__lshift__", "__rrshift__": "__rshift__", "__eq__": "eq", "__ne__": "ne",
    "__invert__": "bitwise_not", "__deepcopy__": "clone",
    "__copy__": "alias",
    "bool": "to", "byte": "to", "char": "to", "short": "to", "int": "to", "long": "to", "half": "to",
    "bfloat16": "to", "float": "to", "double": "to", "cfloat": "to", "cdouble": "to", "type": "to",
    "T": "numpy_T", "H": "matrix_H", "to_sparse_coo": "to_sparse",
    "affine_grid": "affine_grid_generator", "cross_entropy": "cross_entropy_loss", "dropout1d": "feature_dropout",
    "dropout2d": "feature_dropout", "dropout3d": "feature_dropout", "fold": "col2im", "unfold_windows": "im2col",
    "grid_sample": "grid_sampler", "logsigmoid": "log_sigmoid", "max_unpool": "max_unpool2d",
    "fractional_max_pool": "fractional_max_pool2d", "grouped_mm": "_grouped_mm", "scaled_mm": "_scaled_mm",
    "scaled_grouped_mm": "_scaled_grouped_mm",
}  # fmt: skip
# Attributes that are operators.
ATTRIBUTES = frozenset("T H mT mH real imag".split())
# What asks about a tensor or makes one of foreign memory: PyTorch records nothing either.
SILENT = frozenset(
    """numel ndimension nelement size stride dim ndim storage_offset element_size data_ptr const_data_ptr get_device
    is_contiguous is_complex is_conj is_neg is_floating_point is_signed is_inference is_nonzero is_same_size
    is_distributed is_set_to is_shared is_pinned is_coalesced is_tensor is_storage is_vulkan_available has_names
    requires_grad_ retain_grad backward register_hook register_post_accumulate_grad_hook dim_order untyped_storage
    storage storage_type share_memory_ tolist numpy name names ipu mtia xpu cuda apply_ map_ map2_ reinforce new
    new_tensor module_load unsafe_split_with_sizes from_numpy frombuffer from_dlpack to_dlpack as_tensor asarray
    memory_stats result_type promote_types broadcast_shapes typename fail legacy_reduction manual_seed
    resolve_conj resolve_neg __array__ __array_wrap__ __dlpack__ __dlpack_device__ __len__ __iter__ __reversed__
    __repr__ __format__ __contains__ __long__ __dir__ __hash__ __pos__ detach_copies""".split()
)


def _by_key(key: Any) -> str:
    """What PyTorch makes of `tensor[key]`: of several views the last."""
    parts = key if isinstance(key, tuple) else (key,)
    if any(isinstance(part, (Tensor, list)) or hasattr(part, "__array__") for part in parts):
        return "index"
    kind = next((part for part in reversed(parts) if part is not Ellipsis), Ellipsis)
    return "slice" if isinstance(kind, slice) else "unsqueeze" if kind is None else "select"


def _got(input: Any, key: Any) -> str:
    return f"aten::{_by_key(key)}"


def _set(input: Any, key: Any, value: Any) -> str:
    name = _by_key(key)
    return "aten::index_put_" if name == "index" else "aten::copy_" if isinstance(value, Tensor) else "aten::fill_"


def _resampled(input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest", *more: Any, **named: Any):
    rank = input.spec.ndim - 2 if isinstance(input, Tensor) else 2
    kind = {"linear": "linear1d", "trilinear": "trilinear3d", "area": f"area{rank}d"}.get(mode, f"{mode}{rank}d")
    return f"aten::upsample_{kind}".replace("nearest-exact", "nearest_exact")


# Functions whose operator depends on the arguments.
BY_ARGUMENTS: dict[str, Callable[..., str]] = {"__getitem__": _got, "__setitem__": _set, "interpolate": _resampled}


def functions() -> Iterator[tuple[Any, str | Callable[..., str]]]:
    """The functions to watch, each with its operator's name, or what tells it from the arguments."""
    groups = override.overridable()
    names: dict[Any, Any] = {}
    for place, group in groups.items():
        prefix = "" if place in ("", "nn.functional", "Tensor") else f"{place.partition('.')[0]}_"
        for name, value in group.items():
            if place == "Tensor" and isinstance(value, property):
                value = value.fget if name in ATTRIBUTES else None
            if value is None or not hasattr(value, "__code__") or name in SILENT:
                continue
            if place == "nn.functional" and name[0] == "_":
                continue
            own = value.__name__
            if value not in names or name == own:
                names.setdefault(value, "")
                names[value] = BY_ARGUMENTS.get(name, f"aten::{prefix}{OPERATOR.get(name, name)}")
    yield from names.items()
