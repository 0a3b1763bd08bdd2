"""Methods of tensors that few programs call: element by element in Python, old names, questions, what is refused."""

import warnings
from collections.abc import Callable

from facula.core.tensor import Tensor
from facula.errors import fail, refusal

from . import creation, inplace, view
from .copying import overwrite

__all__ = ["REFUSED"]


def _attach(body: Callable) -> Callable:
    setattr(Tensor, body.__name__, body)
    return body


# --- element by element, in Python --------------------------------------------------------------------------------


def _each(name: str, target: Tensor, function: Callable, *others: Tensor) -> Tensor:
    """Each element replaced by what a Python function makes of it and of those of other tensors."""
    for x in (target, *others):
        if x.requires_grad:
            fail(
                RuntimeError,
                f"Can't call {name}() on Variable that requires grad. Use var.detach().{name}() instead.",
            )
    rows = [view.reshape(view.expand_to(x, target.spec.shape), (-1,)).tolist() for x in (target, *others)]
    made = creation.tensor([function(*row) for row in zip(*rows)], dtype=target.spec.dtype, device=target.spec.device)
    return overwrite(target, view.reshape(made, target.spec.shape))


@_attach
def apply_(self, callable) -> Tensor:
    """Replace each element by `callable(element)`: slow, in Python."""
    return _each("apply_", self, callable)


@_attach
def map_(self, tensor: Tensor, callable) -> Tensor:
    """Replace each element by `callable(own, other)`: slow, in Python."""
    return _each("map_", self, callable, tensor)


@_attach
def map2_(self, x: Tensor, y: Tensor, callable) -> Tensor:
    """Replace each element by `callable(own, one, other)`: slow, in Python."""
    return _each("map2_", self, callable, x, y)


# --- old names ----------------------------------------------------------------------------------------------------


@_attach
def resize(self, *sizes) -> Tensor:
    """`resize_` of another record on the same memory; deprecated by PyTorch."""
    warnings.warn("non-inplace resize is deprecated", UserWarning, stacklevel=2)
    return view.reshape(self, *sizes)


@_attach
def resize_as(self, tensor: Tensor) -> Tensor:
    """`resize` to the shape of another tensor; deprecated by PyTorch."""
    warnings.warn("non-inplace resize_as is deprecated", UserWarning, stacklevel=2)
    return view.reshape(self, tuple(tensor.spec.shape))


@_attach
def reinforce(self, reward):
    """Removed from PyTorch: an error that says so."""
    fail(RuntimeError, "reinforce() was removed.", mend="use torch.distributions")


@_attach
def module_load(self, other: Tensor, assign: bool = False) -> Tensor:
    """What a module's parameter becomes when `load_state_dict` gives it `other`."""
    return other.detach() if assign else inplace.copy_(self, other).detach()


Tensor.__div__ = Tensor.__truediv__
Tensor.__rdiv__ = Tensor.__rtruediv__
Tensor.__idiv__ = Tensor.__itruediv__
Tensor.__long__ = Tensor.__int__
Tensor.__nonzero__ = Tensor.__bool__

# --- questions ----------------------------------------------------------------------------------------------------

for _name in ("ipu", "maia", "mtia", "sparse_csr", "vulkan", "xla"):
    if not hasattr(Tensor, f"is_{_name}"):
        setattr(Tensor, f"is_{_name}", False)
Tensor.name = None
Tensor.const_data_ptr = Tensor.data_ptr


@_attach
def is_distributed(input) -> bool:
    """Whether it is spread over machines: never."""
    return False


def _volatile(self) -> bool:
    warnings.warn("volatile was removed (Variable.volatile is always False)", UserWarning, stacklevel=2)
    return False


Tensor.volatile = property(_volatile, doc="Removed from PyTorch; always False.")


def _grad_dtype(self):
    return self.spec.dtype


def _set_grad_dtype(self, dtype) -> None:
    if dtype is not self.spec.dtype:
        fail(NotImplementedError, "grad_dtype: a gradient has its tensor's dtype here", got=repr(dtype))


Tensor.grad_dtype = property(_grad_dtype, _set_grad_dtype, doc="The dtype of its gradient: its own.")

# --- what is refused: why -----------------------------------------------------------------------------------------

_QUANTIZED = "facula has no quantized tensors"
_COMPRESSED = "it makes or reads a compressed sparse layout (CSR, CSC, BSR, BSC); facula's sparse tensors are COO"
_PLACE = "facula runs on CPUs and NVIDIA GPUs"
REFUSED = {
    **dict.fromkeys(
        ("int_repr", "q_per_channel_axis", "q_per_channel_scales", "q_per_channel_zero_points", "q_scale",
         "q_zero_point", "qscheme"),
        _QUANTIZED,
    ),
    **dict.fromkeys(
        ("ccol_indices", "col_indices", "crow_indices", "row_indices", "to_sparse_bsc", "to_sparse_bsr",
         "to_sparse_csc", "to_sparse_csr"),
        _COMPRESSED,
    ),
    **dict.fromkeys(("ipu", "mtia", "xpu"), _PLACE),
    "index": "it takes the dims of functorch.dim",
    "slice_inverse": "it serves the functionalization of PyTorch's compiler",
    "storage_type": "facula's storages have no type: use untyped_storage()",
    "to_mkldnn": "facula's kernels need no layout of their own",
    "to_padded_tensor": "facula has no nested tensors",
}  # fmt: skip


for _name, _why in REFUSED.items():
    if not hasattr(Tensor, _name):
        setattr(Tensor, _name, refusal(f"Tensor.{_name}", _why))


@_attach
def dequantize(input) -> Tensor:
    """The tensor as it is: none is quantized. 16-bit floats and integers become float32."""
    from facula.core import dtype as dt

    return input if input.spec.dtype is dt.float32 else input.to(dt.float32)
