"""Layers that take the size of their input from the first batch, and then become the ordinary layer."""

from itertools import chain
from typing import Any

from facula.autograd import no_grad
from facula.core.dtype import int64
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.operators import tensor

from .convolution import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from .linear import Linear
from .normalization import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
)
from .parameter import UninitializedBuffer, UninitializedParameter, is_lazy

__all__ = [
    "LazyBatchNorm1d",
    "LazyBatchNorm2d",
    "LazyBatchNorm3d",
    "LazyConv1d",
    "LazyConv2d",
    "LazyConv3d",
    "LazyConvTranspose1d",
    "LazyConvTranspose2d",
    "LazyConvTranspose3d",
    "LazyInstanceNorm1d",
    "LazyInstanceNorm2d",
    "LazyInstanceNorm3d",
    "LazyLinear",
    "LazyModuleMixin",
]


class LazyModuleMixin:
    """Comes before a module class among the bases of its lazy twin, which defines `initialize_parameters(*args)`.

    Before the first forward (or the loading of a state) parameters are `UninitializedParameter`; `cls_to_become` is
    the class that the module then has.
    """

    cls_to_become: type[Any] | None = None

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._load_hook = self._register_load_state_dict_pre_hook(self._lazy_load_hook)
        self._initialize_hook = self.register_forward_pre_hook(self._infer_parameters, with_kwargs=True)

    def _members(self: Any):
        return chain(self._parameters.items(), self._buffers.items())

    def _lazy_load_hook(self: Any, state_dict, prefix, metadata, strict, missing, unexpected, errors) -> None:
        """Give parameters the shapes that they have in the state that is about to be loaded."""
        for name, value in self._members():
            loaded = state_dict.get(prefix + name)
            if loaded is not None and is_lazy(value) and not is_lazy(loaded):
                with no_grad():
                    value.materialize(loaded.shape)

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Materialize the parameters for the arguments of the first forward."""
        fail(NotImplementedError, f"initialize_parameters is not implemented for {type(self).__name__}")

    def has_uninitialized_params(self) -> bool:
        """Whether any parameter or buffer still waits for its shape."""
        return any(is_lazy(value) for _, value in self._members())

    def _infer_parameters(self: Any, module: Any, args: tuple, kwargs: dict | None = None) -> None:
        """The hook before the first forward."""
        module.initialize_parameters(*args, **(kwargs or {}))
        if module.has_uninitialized_params():
            fail(RuntimeError, f"module {self._get_name()} has not been fully initialized")
        for name in ("_initialize_hook", "_load_hook"):
            getattr(module, name).remove()
            delattr(module, name)
        if module.cls_to_become is not None:
            module.__class__ = module.cls_to_become

    def _replicate_for_data_parallel(self):
        fail(
            RuntimeError,
            "Modules with uninitialized parameters can't be used with `DataParallel`. Run a dummy forward pass to "
            "correctly initialize the modules",
        )


class _Lazy(LazyModuleMixin):
    """What the layers of this file share: `size_name` is the attribute that holds the size of the input."""

    size_name: str

    def reset_parameters(self: Any) -> None:
        """Draw initial values, as soon as there are parameters to fill."""
        if not self.has_uninitialized_params() and getattr(self, self.size_name) != 0:
            super().reset_parameters()  # pyright: ignore[reportAttributeAccessIssue]


class LazyLinear(_Lazy, Linear):
    """`Linear` that takes `in_features` from the first batch."""

    cls_to_become = Linear
    size_name = "in_features"

    def __init__(self, out_features: int, bias: bool = True, device=None, dtype=None) -> None:
        super().__init__(0, 0, False)
        self.weight: Any = UninitializedParameter(device=device, dtype=dtype)
        self.out_features = out_features
        if bias:
            self.bias: Any = UninitializedParameter(device=device, dtype=dtype)

    def initialize_parameters(self, input: Tensor) -> None:
        """Materialize the weight for the last dim of `input`."""
        size = input.shape[-1]
        if self.has_uninitialized_params():
            with no_grad():
                self.in_features = size
                self.weight.materialize((self.out_features, size))
                if self.bias is not None:
                    self.bias.materialize((self.out_features,))
                self.reset_parameters()
        if self.in_features == 0:  # a state was loaded
            if size != self.weight.shape[-1]:
                fail(
                    AssertionError,
                    f"The in_features inferred from input: {size} is not equal to in_features from self.weight: "
                    f"{self.weight.shape[-1]}",
                )
            self.in_features = size


class _LazyConvXdMixin(_Lazy):
    """Convolutions that take `in_channels` from the first batch."""

    size_name = "in_channels"

    def _delay(self: Any, out_channels: int, bias: bool, device, dtype) -> None:
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        self.out_channels = out_channels
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def initialize_parameters(self: Any, input: Tensor, *args: Any, **kwargs: Any) -> None:
        """Materialize the weight for the channels of `input`."""
        if not self.has_uninitialized_params():
            return
        self.in_channels = self._get_in_channels(input)
        if self.in_channels % self.groups != 0:
            fail(ValueError, "in_channels must be divisible by groups", got=f"{self.in_channels} and {self.groups}")
        into, out = (self.in_channels, self.out_channels)[:: 1 if self.transposed else -1]
        self.weight.materialize((into, out // self.groups, *self.kernel_size))
        if self.bias is not None:
            self.bias.materialize((self.out_channels,))
        self.reset_parameters()

    def _get_in_channels(self: Any, input: Tensor) -> int:
        if input.dim() not in (self.dims + 1, self.dims + 2):
            fail(
                RuntimeError,
                f"Expected {self.dims + 1}D (unbatched) or {self.dims + 2}D (batched) input to {type(self).__name__}, "
                f"but got input of size: {input.shape}",
            )
        return input.shape[-self.dims - 1]


class _LazyConvolution(_LazyConvXdMixin):
    """A lazy convolution; parameters as those of `cls_to_become`, without `in_channels`."""

    def __init__(
        self,
        out_channels: int,
        kernel_size,
        stride=1,
        padding: Any = 0,
        dilation=1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device=None,
        dtype=None,
    ) -> None:
        super().__init__(0, 0, kernel_size, stride, padding, dilation, groups, False, padding_mode, device, dtype)
        self._delay(out_channels, bias, device, dtype)


class _LazyTransposed(_LazyConvXdMixin):
    """A lazy transposed convolution; parameters as those of `cls_to_become`, without `in_channels`."""

    def __init__(
        self,
        out_channels: int,
        kernel_size,
        stride=1,
        padding: Any = 0,
        output_padding=0,
        groups: int = 1,
        bias: bool = True,
        dilation=1,
        padding_mode: str = "zeros",
        device=None,
        dtype=None,
    ) -> None:
        super().__init__(
            0, 0, kernel_size, stride, padding, output_padding, groups, False, dilation, padding_mode, device, dtype
        )
        self._delay(out_channels, bias, device, dtype)


class LazyConv1d(_LazyConvolution, Conv1d):
    """`Conv1d` that takes `in_channels` from the first batch."""

    cls_to_become = Conv1d


class LazyConv2d(_LazyConvolution, Conv2d):
    """`Conv2d` that takes `in_channels` from the first batch."""

    cls_to_become = Conv2d


class LazyConv3d(_LazyConvolution, Conv3d):
    """`Conv3d` that takes `in_channels` from the first batch."""

    cls_to_become = Conv3d


class LazyConvTranspose1d(_LazyTransposed, ConvTranspose1d):
    """`ConvTranspose1d` that takes `in_channels` from the first batch."""

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazyTransposed, ConvTranspose2d):
    """`ConvTranspose2d` that takes `in_channels` from the first batch."""

    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_LazyTransposed, ConvTranspose3d):
    """`ConvTranspose3d` that takes `in_channels` from the first batch."""

    cls_to_become = ConvTranspose3d


class _LazyNormBase(_Lazy):
    """Norms over batches that take `num_features` from the first batch; parameters as `BatchNorm1d` without it."""

    size_name = "num_features"

    def __init__(
        self: Any,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device=None,
        dtype=None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(0, eps, momentum, False, False, device, dtype, bias=False)
        self.affine = affine
        self.track_running_stats = track_running_stats
        if affine:
            self.weight = UninitializedParameter(device=device, dtype=dtype)
            if bias:
                self.bias = UninitializedParameter(device=device, dtype=dtype)
        if track_running_stats:
            self.running_mean = UninitializedBuffer(device=device, dtype=dtype)
            self.running_var = UninitializedBuffer(device=device, dtype=dtype)
            self.num_batches_tracked = tensor(0, dtype=int64, device=device)

    def initialize_parameters(self: Any, input: Tensor) -> None:
        """Materialize weight, bias and statistics for the channels of `input`."""
        if self.has_uninitialized_params():
            self.num_features = input.shape[1]
            for _, value in self._members():
                if is_lazy(value):
                    value.materialize((self.num_features,))
            self.reset_parameters()


class LazyBatchNorm1d(_LazyNormBase, BatchNorm1d):
    """`BatchNorm1d` that takes `num_features` from the first batch."""

    cls_to_become = BatchNorm1d


class LazyBatchNorm2d(_LazyNormBase, BatchNorm2d):
    """`BatchNorm2d` that takes `num_features` from the first batch."""

    cls_to_become = BatchNorm2d


class LazyBatchNorm3d(_LazyNormBase, BatchNorm3d):
    """`BatchNorm3d` that takes `num_features` from the first batch."""

    cls_to_become = BatchNorm3d


class LazyInstanceNorm1d(_LazyNormBase, InstanceNorm1d):
    """`InstanceNorm1d` that takes `num_features` from the first batch."""

    cls_to_become = InstanceNorm1d


class LazyInstanceNorm2d(_LazyNormBase, InstanceNorm2d):
    """`InstanceNorm2d` that takes `num_features` from the first batch."""

    cls_to_become = InstanceNorm2d


class LazyInstanceNorm3d(_LazyNormBase, InstanceNorm3d):
    """`InstanceNorm3d` that takes `num_features` from the first batch."""

    cls_to_become = InstanceNorm3d
