"""What a tensor can do: operators as methods, Python's operators, attributes, conversions. Meaning: the operators."""

import warnings
from typing import Any

import numpy as np

from facula import launch
from facula.autograd import engine, function
from facula.autograd.backward import backward as run_backward
from facula.autograd.node import HookHandle, Output, alias, dtype_title, edge_of, grad_fn_of, type_name
from facula.core import dtype as dt
from facula.core import shared
from facula.core.device import CPU, CURRENT, place
from facula.core.device import device as Device
from facula.core.dtype import dtype as DType
from facula.core.layout import strided
from facula.core.modes import GUARD, LOCAL
from facula.core.shape import Size
from facula.core.spec import dense
from facula.core.storage import Storage
from facula.core.tensor import Tensor
from facula.core.wrapped import BATCH, Unbatchable, batched, box_of, dual, memory_of
from facula.errors import fail

from . import (
    activation,
    copying,
    creation,
    declare,
    dlpack,
    elementwise,
    fft,
    gamma,
    histogram,
    indexing,
    inplace,
    joining,
    linalg,
    matmul,
    matrices,
    normalization,
    override,
    pinning,
    public,
    reduction,
    sorting,
    sparse,
    statistics,
    view,
    view_copies,
)
from .declare import unreadable
from .promotion import opmath
from .view import ints

__all__ = ["IN_PLACE", "METHODS"]

# --- the engine's and custom functions' needs -----------------------------------------------------------------------


def _grad_copy(grad: Tensor, leaf: Tensor) -> Tensor:
    """A gradient as `.grad` keeps it: memory of its own, in the leaf's layout."""
    out = launch.empty(copying.like_layout(leaf.spec, grad.spec.dtype))
    return copying.copy_values(out, grad)


_ADDITIONS: dict[tuple, declare.Plan] = {}


def _add_in_place(target: Tensor, more: Tensor) -> None:
    """Add to a gradient: nothing is recorded, nothing overlaps."""
    plan = _ADDITIONS.get((target.spec, more.spec))
    if plan is None:
        plan = elementwise.add.operator.plan((target.spec, more.spec), scalars={}, out=(target.spec,))
        if len(_ADDITIONS) > 4096:
            _ADDITIONS.clear()
        _ADDITIONS[target.spec, more.spec] = plan
    if plan.function is not None:
        plan.function(target.ptr, target.ptr, more.ptr, *plan.tail)
    target.storage.version += 1


def _unbatched(x: Tensor, level: Any, dim: int = 0) -> Tensor:
    from .batching import unwrapped

    return unwrapped(x, level, dim)


A = engine.ARITHMETIC
A.add, A.add_in_place, A.copy = sparse.add_gradients, _add_in_place, _grad_copy
A.ones = creation.ones_at
A.zeros = lambda s: creation.zeros_of(dense(s.dtype, s.shape, s.device))
A.stack = joining.stack
A.sum_to, A.check_leaf, A.rebase = reduction.sum_to, inplace.check_leaf, inplace.rebase
A.to_device = copying.to_device
A.has_nan = lambda g: g.spec.dtype.kind in "fc" and bool(reduction.any(elementwise.isnan(g)).item())
A.unbatched = _unbatched
A.keep, A.unkeep, A.freed = declare.keep, declare.unkeep, declare.freed
function.RECORD.append(declare.record)

# --- attributes ---------------------------------------------------------------------------------------------------


def attach(name: str, value: Any) -> None:
    """Give tensors an attribute."""
    setattr(Tensor, name, value)


def _attribute(get):
    setattr(Tensor, get.__name__, property(get, doc=get.__doc__))
    return get


@_attribute
def grad_fn(self):
    """The node that made this tensor; None for leaves."""
    return grad_fn_of(self)


@_attribute
def is_leaf(self) -> bool:
    """Whether it was made by the user (or needs no gradient), not by a recorded operation."""
    return grad_fn_of(self) is None


@_attribute
def output_nr(self) -> int:
    """Which output of `grad_fn` it is."""
    edge = edge_of(self)
    return edge.number if edge.__class__ is Output else 0


@_attribute
def _version(self) -> int:
    """How often the memory was written in place."""
    return self.storage.version


@_attribute
def _base(self):
    """The tensor that this one is a view of."""
    return self.base


@_attribute
def T(self):
    """The tensor with its dims reversed."""
    return view.permute(self, tuple(reversed(range(self.spec.ndim))))


@_attribute
def mT(self):
    """The last two dims exchanged."""
    if self.spec.ndim < 2:
        fail(
            RuntimeError,
            f"tensor.mT is only supported on matrices or batches of matrices. Got {self.spec.ndim}-D tensor.",
        )
    return view.transpose(self, -2, -1)


@_attribute
def H(self):
    """The conjugate transpose of a matrix."""
    if self.spec.ndim not in (0, 2):
        fail(RuntimeError, f"tensor.H is only supported on matrices (2-D tensors). Got {self.spec.ndim}-D tensor.")
    return public.conj(view.transpose(self, 0, 1)) if self.spec.ndim else public.conj(self)


@_attribute
def mH(self):
    """The conjugate of `mT`."""
    return public.conj(mT(self))


@_attribute
def real(self):
    """The real parts."""
    return public.real(self)


@_attribute
def imag(self):
    """The imaginary parts."""
    return public.imag(self)


@_attribute
def itemsize(self) -> int:
    """Bytes of an element."""
    return self.spec.dtype.itemsize


@_attribute
def nbytes(self) -> int:
    """Bytes of all elements."""
    return self.spec.nbytes


@_attribute
def is_cuda(self) -> bool:
    """Whether it lies on a GPU."""
    return self.spec.device.type == "cuda"


@_attribute
def is_cpu(self) -> bool:
    """Whether it lies in the host's memory."""
    return self.spec.device.type == "cpu"


@_attribute
def is_meta(self) -> bool:
    """Whether it has a shape and no numbers."""
    return self.spec.device.type == "meta"


@_attribute
def layout(self):
    """How elements are stored: strided."""
    return strided


for _name in ("is_sparse", "is_quantized", "is_mkldnn", "is_nested", "is_xpu", "is_mps"):
    setattr(Tensor, _name, False)
Tensor.names = property(lambda self: (None,) * self.spec.ndim)


def _get_requires_grad(self) -> bool:
    if self.base is not None and not self.needs_grad:
        edge_of(self)
    return self.needs_grad


def _set_requires_grad(self, value: bool) -> None:
    value = bool(value)
    if value and self.spec.dtype.kind not in "fc":
        fail(
            RuntimeError,
            "only Tensors of floating point and complex dtype can require gradients",
            got=str(self.spec.dtype),
        )
    if self.edge is not None and not value:
        fail(
            RuntimeError,
            "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a "
            "subgraph that doesn't require differentiation use var_no_grad = var.detach().",
        )
    self.needs_grad = value


attach(
    "requires_grad",
    property(_get_requires_grad, _set_requires_grad, doc="Whether operations on it are recorded."),
)


def _get_grad(self):
    if self._grad is None and self.edge is not None and not (self.extra and "retain" in self.extra):
        warnings.warn(
            "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad attribute won't be "
            "populated during autograd.backward(). If you indeed want the .grad field to be populated for a non-leaf "
            "Tensor, use .retain_grad() on the non-leaf Tensor. If you access the non-leaf Tensor by mistake, make "
            "sure you access the leaf Tensor instead. See github.com/pytorch/pytorch/pull/30531 for more informations.",
            UserWarning,
            stacklevel=2,
        )
    return self._grad


def _c_name(kind: DType) -> str:
    return {"float32": "float", "float64": "double", "int64": "long int"}.get(kind.name, dtype_title(kind))


def _set_grad(self, value) -> None:
    if value is not None:
        if not isinstance(value, Tensor):
            fail(
                TypeError,
                f"assigned grad expected to be a Tensor or None but got grad of type {value.__class__.__name__}",
            )
        if value is self:
            fail(RuntimeError, "can't assign Variable as its own grad")
        if value.dtype is not self.spec.dtype:
            fail(
                RuntimeError,
                f"attempting to assign a gradient with dtype '{_c_name(value.dtype)}' to a tensor with grad_dtype "
                f"'{dtype_title(self.spec.dtype)}'. The gradient must match the tensor's grad_dtype (defaults to the "
                "tensor's dtype).",
            )
        if value.device is not self.spec.device:
            fail(
                RuntimeError,
                f"attempting to assign a gradient with device type '{value.device.type}' to a tensor with device type "
                f"'{self.spec.device.type}'. Please ensure that the gradient and the tensor are on the same device",
            )
        if value.shape != self.spec.shape:
            fail(
                RuntimeError,
                f"attempting to assign a gradient of size '{list(value.shape)}' to a tensor of size "
                f"'{list(self.spec.shape)}'. Please ensure that the gradient and the tensor are the same size",
            )
    self._grad = value


attach(
    "grad",
    property(_get_grad, _set_grad, lambda self: _set_grad(self, None), doc="The gradient that backward added up."),
)


def _get_data(self) -> Tensor:
    out = alias(self)
    # A storage record of its own: changes through .data are not counted against values kept for backward.
    out.storage = Storage(self.storage.ptr, self.storage.nbytes, self.storage, self.storage.device)
    return out


def _set_data(self, value: Tensor) -> None:
    if not isinstance(value, Tensor):
        fail(TypeError, f"Variable data has to be a tensor, but got {value.__class__.__name__}")
    self.spec, self.storage, self.ptr, self.base = value.spec, value.storage, value.ptr, None


attach("data", property(_get_data, _set_data, doc="The same elements outside of all history."))


def method(body):
    """Make a function a method."""
    setattr(Tensor, body.__name__, body)
    return body


# --- history ------------------------------------------------------------------------------------------------------


@method
def backward(self, gradient=None, retain_graph=None, create_graph=False, inputs=None) -> None:
    """Add the gradient of this tensor to the leaves it was computed from."""
    run_backward(self, gradient, retain_graph, create_graph, inputs=inputs)


@method
def detach(self) -> Tensor:
    """The same elements without history (and tangents); both see each other's changes."""
    if GUARD.active and (box := box_of(self)) is not None:
        value = detach(box.value)
        return batched(value, box.dim, box.level) if box.level.kind == BATCH else dual(value, None, box.level)
    return alias(self)


@method
def requires_grad_(self, requires_grad: bool = True) -> Tensor:
    """Set `requires_grad`; returns the tensor."""
    if requires_grad and self.spec.dtype.kind not in "fc":
        fail(RuntimeError, "only Tensors of floating point dtype can require gradients", got=str(self.spec.dtype))
    _set_requires_grad(self, requires_grad)
    return self


@method
def retain_grad(self) -> None:
    """Have backward fill in `.grad` of this tensor though it is no leaf."""
    if not self.needs_grad:
        fail(RuntimeError, "can't retain_grad on Tensor that has requires_grad=False")
    if self.edge is None or (self.extra and "retain" in self.extra):
        return
    retain(self)


def retain(self: Tensor) -> None:
    """Have the node that made the tensor fill in its `.grad`."""
    import weakref

    from facula.autograd.node import _register

    here = weakref.ref(self)

    def keep(grad: Tensor):
        tensor = here()
        if tensor is not None:
            tensor._grad = grad.clone() if tensor._grad is None else elementwise.add(tensor._grad, grad)

    _extra(self)["retain"] = _register(_node(self), "pre_hooks", (_number(self), keep))


inplace.RETAIN.append(retain)
Tensor.retains_grad = property(
    lambda self: bool(self.extra and "retain" in self.extra), doc="Whether retain_grad was called."
)


def _extra(self) -> dict:
    if self.extra is None:
        self.extra = {}
    return self.extra


def _node(self) -> Any:
    edge = edge_of(self)
    return edge.node if edge.__class__ is Output else edge


def _number(self) -> int:
    edge: Any = self.edge
    return edge.number if edge.__class__ is Output else 0


@method
def register_hook(self, hook) -> HookHandle:
    """Call `hook(grad)` when backward has this tensor's gradient; a tensor that it returns replaces it."""
    if not self.requires_grad:
        fail(RuntimeError, "cannot register a hook on a tensor that doesn't require gradient")
    from facula.autograd.node import _register

    if self.edge is not None:
        return _register(_node(self), "pre_hooks", (_number(self), hook))
    hooks = _extra(self).setdefault("hooks", {})
    handle = HookHandle(hooks)
    hooks[handle.id] = hook
    return handle


@method
def register_post_accumulate_grad_hook(self, hook) -> HookHandle:
    """Call `hook(tensor)` after backward has added to a leaf's `.grad`."""
    if not self.requires_grad:
        fail(RuntimeError, "cannot register a hook on a tensor that doesn't require gradient")
    if self.edge is not None:
        fail(RuntimeError, "post accumulate grad hooks cannot be registered on non-leaf tensors")
    hooks = _extra(self).setdefault("after", {})
    handle = HookHandle(hooks)
    hooks[handle.id] = hook
    return handle


# --- sizes --------------------------------------------------------------------------------------------------------


@method
def size(self, dim=None):
    """The shape, or the size of one dim."""
    if dim is None:
        return self.spec.shape
    from facula.core.shape import normalize_dim

    return self.spec.shape[normalize_dim(dim, self.spec.ndim)]


@method
def stride(self, dim=None):
    """The strides in elements, or that of one dim."""
    if dim is None:
        return self.spec.strides
    from facula.core.shape import normalize_dim

    return self.spec.strides[normalize_dim(dim, self.spec.ndim)]


@method
def dim(self) -> int:
    """The number of dims."""
    return self.spec.ndim


Tensor.ndimension = dim


@method
def numel(self) -> int:
    """The number of elements."""
    return self.spec.numel


Tensor.nelement = numel


@method
def element_size(self) -> int:
    """Bytes of an element."""
    return self.spec.dtype.itemsize


@method
def storage_offset(self) -> int:
    """Where the first element lies in the storage, in elements."""
    return (self.ptr - self.storage.ptr) // self.spec.dtype.itemsize


@method
def data_ptr(self) -> int:
    """The address of the first element."""
    return int(self.ptr) if self.spec.numel else 0


@method
def is_contiguous(self, memory_format=None) -> bool:
    """Whether elements lie in row-major order (or in another memory format) without gaps."""
    name, s = getattr(memory_format, "name", memory_format), self.spec
    if name in copying.CHANNELS_LAST:
        return s.ndim == copying.CHANNELS_LAST[name] and copying.like_layout(s, None, name).strides == s.strides
    return s.contiguous


@method
def is_floating_point(self) -> bool:
    """Whether the dtype is a float."""
    return self.spec.dtype.is_floating_point


@method
def is_complex(self) -> bool:
    """Whether the dtype is complex."""
    return self.spec.dtype.is_complex


@method
def is_signed(self) -> bool:
    """Whether the dtype has a sign."""
    return self.spec.dtype.is_signed


@method
def is_inference(self) -> bool:
    """Whether it was made in inference mode; facula makes no such difference."""
    return False


@method
def is_conj(self) -> bool:
    """Whether it is a lazy conjugate; facula conjugates at once."""
    return False


@method
def is_neg(self) -> bool:
    """Whether it is a lazy negative; facula negates at once."""
    return False


@method
def resolve_conj(self) -> Tensor:
    """The tensor itself: conjugates are never lazy here."""
    return self


Tensor.resolve_neg = resolve_conj


@method
def _is_view(self) -> bool:
    return self.base is not None


@method
def get_device(input) -> int:
    """The number of the GPU; -1 on the CPU."""
    where = input.spec.device
    return -1 if where is CPU or launch.hollow(where) else where.index or 0


@method
def is_set_to(self, tensor: Tensor) -> bool:
    """Whether both are the same elements of the same memory."""
    return self.storage is tensor.storage and self.ptr == tensor.ptr and self.spec is tensor.spec


@method
def is_pinned(self, device=None) -> bool:
    """Whether it lies in page-locked memory, which a GPU copies from and to while the program goes on."""
    return self.spec.device is CPU and launch.is_pinned(self)


@method
def pin_memory(self, device=None) -> Tensor:
    """A copy in page-locked memory; the tensor itself where it lies there.

    Raises
    ------
    RuntimeError
        Without a GPU, and for a tensor that is not the host's.
    """
    return pinning.pin(self)


@method
def record_stream(self, stream) -> None:
    """Its memory is used again only after the work that `stream` has been given by the time nobody has it any more."""
    pinning.record_stream(self, stream)


@method
def share_memory_(self) -> Tensor:
    """Move the memory where other processes can see it; tensors on the same memory move with it."""
    inplace.share(self)
    return self


@method
def is_shared(self) -> bool:
    """Whether other processes see its memory."""
    return shared.is_shared(self.storage)


# --- to Python and NumPy ------------------------------------------------------------------------------------------

_ITEMS: dict = {}  # by spec of one element: what reads it


def _readable(self: Tensor, name: str) -> Tensor:
    """The tensor whose numbers a stand-in has; RuntimeError for a batch of them."""
    try:
        return memory_of(self)
    except Unbatchable:
        fail(
            RuntimeError,
            f"vmap: It looks like you're calling .{name}() on a Tensor. We don't support vmap over calling .{name}() "
            "on a Tensor, please try to rewrite what you're doing with other operations. If error is occurring "
            "somewhere inside PyTorch internals, please file a bug report.",
        )


@method
def item(self):
    """The one element as a Python number."""
    s = self.spec
    try:
        return _ITEMS[s](self.ptr)
    except KeyError:
        pass
    if s.kind is not None:
        return item(_readable(self, "item"))
    if s.numel != 1:
        fail(
            RuntimeError,
            f"a Tensor with {s.numel} elements cannot be converted to Scalar",
            mend="reduce it or pick one element first",
        )
    reader = launch.native("reader", s.device)(s.dtype)
    if reader is None:
        wide = s.dtype.numpy is None  # then the number is converted where it is
        return item(copying.cast(alias(self), opmath(s.dtype))) if wide else _array(self).item()
    if len(_ITEMS) > 4096:
        _ITEMS.clear()
    _ITEMS[s] = reader
    return reader(self.ptr)


def _array(self) -> np.ndarray:
    """The elements as a NumPy array (of what NumPy lacks, float32 or complex64)."""
    if self.spec.dtype.numpy is None:
        self = copying.cast(alias(self), opmath(self.spec.dtype))
    if self.spec.kind is not None or self.spec.device is not CPU:
        return creation.numpy_view(self)
    return creation.memory_view(self)


@method
def tolist(self):
    """Nested lists of Python numbers; a number for a 0-d tensor."""
    if self.spec.device is not CPU:
        return tolist(cpu(self.detach()))
    return _array(self).tolist()


@method
def numpy(self, *, force=False) -> np.ndarray:
    """A NumPy array on the same memory."""
    if force:
        return _array(self if self.spec.device is CPU else cpu(self.detach()))
    if self.needs_grad:
        fail(RuntimeError, "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
    if self.spec.dtype.numpy is None:
        title = dtype_title(self.spec.dtype)
        fail(TypeError, f"Got unsupported ScalarType {title}", mend="convert it first: x.float().numpy()")
    if (where := self.spec.device) is not CPU:
        fail(
            TypeError,
            f"can't convert {where} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory "
            "first.",
        )
    return creation.memory_view(self) if self.spec.kind is None else creation.numpy_view(self)


@method
def __array__(self, dtype=None, copy=None):
    found = numpy(self)
    return found if dtype is None else found.astype(dtype, copy=False)


@method
def __array_wrap__(self, array, context=None, return_scalar=False):
    return creation.from_numpy(np.asarray(array))


Tensor.__array_priority__ = 1000


@method
def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
    """A DLPack capsule of the tensor's memory; what `stream` (-1: none) is given from now on comes after its work."""
    if self.needs_grad:
        fail(BufferError, "Can't export tensors that require gradient, use tensor.detach()")
    s = self.spec
    if s.device is not CPU and launch.hollow(s.device):
        fail(BufferError, f"Cannot pack tensors on {s.device}")
    if s.kind is not None:
        fail(BufferError, "Can't export tensors with layout other than torch.strided")
    if stream is not None and stream.__class__ is not int:
        fail(TypeError, "stream must be ``int`` or ``none``")
    if s.device is CPU:
        if stream not in (None, -1):
            fail(AssertionError, "stream should be None on cpu.")
    elif stream != -1:
        if s.device.index != CURRENT.index:
            fail(
                BufferError,
                f"Can't export tensors on a different CUDA device index. Expected: {s.device.index}. Current device: "
                f"{CURRENT.index}.",
            )
        launch.native("hand_over", s.device)(stream)
    if dl_device is not None and (int(dl_device[0]), int(dl_device[1])) != dlpack.device_of(self):
        if copy is False:
            fail(ValueError, "cannot move a tensor to another device without copying. Set copy=None or copy=True.")
        self, copy = _to_dlpack_device(self, dl_device), False
    if copy:
        self = copying.clone(self)
    return dlpack.capsule(self, max_version is not None and max_version[0] >= 1, bool(copy))


def _to_dlpack_device(self: Tensor, dl_device) -> Tensor:
    """A copy where DLPack's numbers say."""
    kind, number = int(dl_device[0]), int(dl_device[1])
    if kind not in (dlpack.CPU_MEMORY, dlpack.CUDA):
        fail(BufferError, f"Unsupported device_type: {kind}", expected="memory of the host, or of an NVIDIA GPU")
    return to(self, CPU if kind == dlpack.CPU_MEMORY else Device("cuda", number))


@method
def __dlpack_device__(self):
    """Where the tensor is, in DLPack's numbers."""
    return dlpack.device_of(self)


Tensor.__cuda_array_interface__ = property(dlpack.interface)  # pyright: ignore[reportAttributeAccessIssue]


@method
def __bool__(self) -> bool:
    if self.spec.numel != 1:
        if self.spec.numel == 0:
            fail(RuntimeError, "Boolean value of Tensor with no values is ambiguous")
        fail(RuntimeError, "Boolean value of Tensor with more than one value is ambiguous", mend="use .any() or .all()")
    if self.spec.kind is not None:
        try:
            self = memory_of(self)
        except Unbatchable:
            fail(
                RuntimeError,
                "vmap: It looks like you're attempting to use a Tensor in some data-dependent control flow. We don't "
                "support that yet, please shout over at https://github.com/pytorch/functorch/issues/257 .",
            )
    return bool(item(self))


def _one(self):
    """The one element, for Python's conversions."""
    if self.spec.numel != 1:
        fail(
            ValueError,
            "only one element tensors can be converted to Python scalars",
            got=f"shape {tuple(self.spec.shape)}",
        )
    return item(self)


@method
def __int__(self) -> int:
    return int(_one(self))


@method
def __float__(self) -> float:
    return float(_one(self))


@method
def __complex__(self) -> complex:
    return complex(_one(self))


@method
def __index__(self) -> int:
    if self.spec.numel != 1 or self.spec.dtype.kind not in "bui":
        fail(TypeError, "only integer tensors of a single element can be converted to an index")
    return int(item(self))


@method
def __len__(self) -> int:
    if not self.spec.ndim:
        fail(TypeError, "len() of a 0-d tensor")
    return self.spec.shape[0]


@method
def __iter__(self):
    if not self.spec.ndim:
        fail(TypeError, "iteration over a 0-d tensor")
    return iter(view.unbind(self, 0)) if self.spec.shape[0] else iter(())


@method
def __contains__(self, element) -> bool:
    return bool(reduction.any(elementwise.eq(self, element)).item())


Tensor.__hash__ = object.__hash__


@method
def __reversed__(self) -> Tensor:
    return joining.flip(self, 0) if self.spec.ndim else self


# --- conversions --------------------------------------------------------------------------------------------------


@method
def to(self, *args, **kwargs) -> Tensor:
    """Another dtype or device, or those of another tensor; the tensor itself where nothing changes."""
    if len(args) == 1 and not kwargs and args[0].__class__ is DType:
        return self if args[0] is self.spec.dtype else copying.to_dtype(self, args[0])
    kind, where = kwargs.get("dtype"), kwargs.get("device")
    rest = list(args)
    if rest and isinstance(rest[0], Tensor):
        other = rest.pop(0)
        kind, where = other.spec.dtype, other.spec.device
    elif rest and isinstance(rest[0], DType):
        kind = rest.pop(0)
    elif rest:
        where = rest.pop(0)
        if rest and (rest[0] is None or isinstance(rest[0], DType)):
            kind = rest.pop(0)
    copy = kwargs.get("copy", rest[1] if len(rest) > 1 else False)
    non_blocking = kwargs.get("non_blocking", rest[0] if rest else False)
    memory_format = kwargs.get("memory_format")
    out = self
    if where is not None:
        where = place(where)
        if where is not self.spec.device:
            launch.allocator(where)  # raises where there is no such device
            if where is CPU:
                _on_host(self)
            out = copying.to_device(out, where, True) if non_blocking else copying.to_device(out, where)
    if kind is not None and kind is not out.spec.dtype:
        if not isinstance(kind, DType):
            fail(
                TypeError,
                "to() received an invalid combination of arguments - dtype must be torch.dtype, not "
                f"{kind.__class__.__name__}",
            )
        return copying.to_dtype(out, kind, memory_format or "preserve")
    if copy and out is self:
        return copying.clone(out)
    if memory_format is not None:
        return copying.contiguous(out, memory_format)
    return out


def _on_host(self: Tensor) -> None:
    """NotImplementedError for what has no numbers to be copied to the host."""
    if launch.hollow(self.spec.device):
        unreadable(self.spec)


@method
def cuda(self, device=None, non_blocking=False, memory_format=None) -> Tensor:
    """A copy on a GPU, or the tensor itself where it is there."""
    where = place(Device("cuda", device) if isinstance(device, int) else "cuda" if device is None else device)
    if where.type != "cuda":
        fail(RuntimeError, "Invalid device, must be cuda device", got=where)
    return to(self, where, non_blocking=non_blocking, memory_format=memory_format)


@method
def cpu(self, memory_format=None) -> Tensor:
    """The tensor in the host's memory."""
    return to(self, CPU)


@method
def type(self, dtype=None, non_blocking=False):
    """The name of the tensor's type, or the tensor converted to a dtype or type name."""
    if dtype is None:
        return type_name(self)
    if isinstance(dtype, str):
        wanted = next((k for k in dt.ALL if f"torch.{dtype_title(k)}Tensor" == dtype), None)
        if wanted is None:
            fail(ValueError, f"invalid type: '{dtype}'")
        dtype = wanted
    return to(self, getattr(dtype, "dtype", dtype), non_blocking)


@method
def type_as(self, other: Tensor) -> Tensor:
    """Converted to the dtype of another tensor, on its device."""
    return to(self, other.spec.device, other.spec.dtype)


for _name, _kind in (
    ("bool", dt.bool_), ("byte", dt.uint8), ("char", dt.int8), ("short", dt.int16), ("int", dt.int32),
    ("long", dt.int64),
    ("half", dt.float16), ("bfloat16", dt.bfloat16), ("float", dt.float32), ("double", dt.float64),
    ("chalf", dt.complex32), ("cfloat", dt.complex64),
    ("cdouble", dt.complex128),
):  # fmt: skip

    def _convert(self, memory_format=None, _kind=_kind):
        return to(self, _kind)

    _convert.__name__ = _convert.__qualname__ = _name
    _convert.__doc__ = f"Converted to {_kind!r}."
    setattr(Tensor, _name, _convert)


# --- new tensors like this one ------------------------------------------------------------------------------------


def _new(make):
    def new(self, *args, dtype=None, device=None, requires_grad=False, layout=None, pin_memory=False, **named):
        if layout is not None:
            if make in (creation.ones, creation.full):
                creation.only_strided("fill_.Scalar", layout)
            named["layout"] = layout
        if pin_memory:
            named["pin_memory"] = True
        made = make(
            *args, dtype=dtype or self.spec.dtype, device=device or self.spec.device, requires_grad=requires_grad,
            **named,
        )  # fmt: skip
        return declare.NEW_LIKE[0](self, made) if GUARD.active and self.spec.kind is not None else made

    new.__name__ = new.__qualname__ = f"new_{make.__name__}"
    return new


for _make in (creation.empty, creation.zeros, creation.ones, creation.full):
    setattr(Tensor, f"new_{_make.__name__}", _new(_make))


@method
def split(self, split_size, dim=0) -> tuple[Tensor, ...]:
    """Parts along `dim` of one size (the last may be smaller), or of the given sizes."""
    return view.split(self, split_size, dim)


@method
def new_tensor(self, data, *, dtype=None, device=None, requires_grad=False, layout=None, pin_memory=False) -> Tensor:
    """A new tensor with a copy of `data`, of this tensor's dtype."""
    return creation.tensor(
        data, dtype=dtype or self.spec.dtype, device=device or self.spec.device, requires_grad=requires_grad,
        pin_memory=pin_memory,
    )  # fmt: skip


@method
def new_empty_strided(
    self, size, stride, *, dtype=None, layout=None, device=None, pin_memory=False, requires_grad=False
) -> Tensor:
    """`empty_strided` of this tensor's dtype."""
    return creation.empty_strided(
        size, stride, dtype=dtype or self.spec.dtype, device=device or self.spec.device, requires_grad=requires_grad,
        pin_memory=pin_memory,
    )  # fmt: skip


@method
def new(self, *args) -> Tensor:
    """An empty tensor of this dtype with the given sizes, or one with the given data, or on the given storage."""
    if len(args) == 1 and hasattr(args[0], "untyped"):
        memory = args[0].untyped()._storage
        count = memory.nbytes // self.spec.dtype.itemsize
        return creation.record_of(dense(self.spec.dtype, (count,), memory.device), memory, memory.ptr)
    if len(args) == 1 and isinstance(args[0], (list, tuple, np.ndarray)) and not isinstance(args[0], Size):
        return creation.tensor(args[0], dtype=self.spec.dtype, device=self.spec.device)
    return creation.empty(*(args or (0,)), dtype=self.spec.dtype)


# --- operators of Python ------------------------------------------------------------------------------------------


_NUMBERS = (bool, int, float, complex)


def _python(name: str, apply, reflected: bool = False):
    """Tensor's method for a Python operator; what is no tensor and no number may know itself what to do."""

    def forward(self, other):
        if isinstance(other, Tensor) or isinstance(other, _NUMBERS) or hasattr(other, "item"):
            return apply(self, other)
        return NotImplemented

    def backward(self, other):
        if isinstance(other, _NUMBERS):
            return apply(other, self)
        if isinstance(other, Tensor) or hasattr(other, "item"):
            if not isinstance(self, Tensor):
                _no_descriptor(f"r{name}", self)
            return apply(other, self)
        return NotImplemented

    operator = getattr(apply, "operator", None)
    if isinstance(operator, declare.Traced):
        forward = declare.binary(operator, foreign=True)
    forward.__name__ = f"__{name}__"
    setattr(Tensor, f"__{name}__", forward)
    if reflected:
        backward.__name__ = f"__r{name}__"
        setattr(Tensor, f"__r{name}__", backward)


for _name, _apply in (
    ("floordiv", elementwise.floor_divide), ("mod", elementwise.remainder), ("pow", elementwise.pow),
    ("matmul", matmul.matmul), ("and", elementwise.bitwise_and), ("or", elementwise.bitwise_or),
    ("xor", elementwise.bitwise_xor), ("lshift", elementwise.bitwise_left_shift),
    ("rshift", elementwise.bitwise_right_shift),
):  # fmt: skip
    _python(_name, _apply, reflected=True)
Tensor.__matmul__ = matmul.python_matmul
for _name, _apply in (
    ("add", elementwise.add), ("sub", public.sub), ("rsub", elementwise.rsub), ("mul", elementwise.mul),
    ("truediv", elementwise.true_divide),
):  # fmt: skip
    _python(_name, _apply)


def _turned(name: str, apply) -> None:
    """Tensor's method for a Python operator whose left operand is another object: `apply(tensor, other)`."""

    def method(self, other):
        if isinstance(other, _NUMBERS) or isinstance(other, Tensor) or hasattr(other, "item"):
            if not isinstance(self, Tensor):
                _no_descriptor(name, self)
            return apply(self, other)
        return NotImplemented

    method.__name__ = f"__{name}__"
    setattr(Tensor, method.__name__, method)


def _no_descriptor(name: str, left: Any) -> None:
    kind = left.__class__.__name__
    if name == "rtruediv":
        fail(AttributeError, f"'{kind}' object has no attribute 'reciprocal'")
    fail(TypeError, f"descriptor '__{name}__' for 'torch._C.TensorBase' objects doesn't apply to a '{kind}' object")


for _name, _apply in (("radd", elementwise.add), ("rmul", elementwise.mul), ("rtruediv", elementwise.rdiv)):
    _turned(_name, _apply)
for _name in ("lt", "le", "gt", "ge"):
    _python(_name, getattr(elementwise, _name))


def _equal(name: str, apply):
    def compare(self, other):
        if isinstance(other, (Tensor, bool, int, float, complex)) or hasattr(other, "item"):
            return apply(self, other)
        return NotImplemented

    compare.__name__ = compare.__qualname__ = name
    setattr(Tensor, name, compare)


_equal("__eq__", elementwise.eq)
_equal("__ne__", elementwise.ne)
Tensor.__neg__ = elementwise.neg
Tensor.__pos__ = lambda self: self
Tensor.__abs__ = elementwise.abs


@method
def __invert__(self) -> Tensor:
    return elementwise.bitwise_not(self)


indexing.getitem.__name__ = "__getitem__"
attach("__getitem__", indexing.getitem)


@method
def __setitem__(self, item, value):
    indexing.setitem(self, item, value)


@method
def __deepcopy__(self, memo):
    if self.edge is not None:
        fail(
            RuntimeError,
            "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment.  "
            "If you were attempting to deepcopy a module, this may be because of a torch.nn.utils.weight_norm usage, "
            "see https://github.com/pytorch/pytorch/pull/103001",
            mend="detach() it first",
        )
    if id(self) in memo:
        return memo[id(self)]
    import copy

    key = ("storage", id(self.storage))
    if key not in memo:
        source = self.storage
        made = launch.new_storage(source.nbytes, source.device)
        inplace.copy_bytes(made, source, source.nbytes)
        memo[key] = made
    out = alias(self)
    out.storage = memo[key]
    out.ptr = out.storage.ptr + (self.ptr - self.storage.ptr)
    out.__class__ = self.__class__
    out.needs_grad = self.needs_grad
    memo[id(self)] = out
    if self._grad is not None:
        out._grad = copy.deepcopy(self._grad, memo)
    if self.__dict__:
        out.__dict__.update(copy.deepcopy(self.__dict__, memo))
    return out


@method
def __copy__(self):
    out = alias(self)
    out.needs_grad, out.edge, out._grad, out.__class__ = self.needs_grad, self.edge, self._grad, self.__class__
    return out


# --- functions as methods -----------------------------------------------------------------------------------------


def view_method(self, *shape, size=None, dtype=None):
    """The same elements in another shape, or read as another dtype."""
    if len(shape) == 1:
        only = shape[0]
        if isinstance(only, DType):
            return view.view_dtype(self, only)
        if only.__class__ is int:
            return view.view_shape(self, shape)
    elif not shape and (size is not None or dtype is not None):
        return view_method(self, size if dtype is None else dtype)
    return view.view_shape(self, ints(shape))


attach("view", view_method)


@method
def view_as(self, other: Tensor) -> Tensor:
    """`view` in the shape of another tensor."""
    return view.view_shape(self, tuple(other.spec.shape))


@method
def reshape_as(self, other: Tensor) -> Tensor:
    """`reshape` to the shape of another tensor."""
    return view.reshape(self, other.spec.shape)


@method
def expand_as(self, other: Tensor) -> Tensor:
    """`expand` to the shape of another tensor."""
    return view.expand_to(self, other.spec.shape)


def permute_method(self, *args, dims=None):
    """Dims in another order."""
    return view.permute(self, ints(args if dims is None else (dims,)))


attach("permute", permute_method)


@method
def where(self, condition, other) -> Tensor:
    """`self` where `condition` holds, `other` elsewhere."""
    return public.where(condition, self, other)


@method
def sum_to_size(self, *args, size=None) -> Tensor:
    """The sum over the dims that broadcasting from `size` would add."""
    shape, own = ints(args if size is None else (size,)), self.spec.shape
    if not shape:
        return reduction.sum(self)
    lead = len(own) - len(shape)
    if lead < 0 or any(n not in (1, m) for n, m in zip(shape, own[lead:])):
        fail(RuntimeError, f"size {{{list(shape)}}} is not expandable to size {{{list(own)}}}.")
    dims = [*range(lead), *(d + lead for d, n in enumerate(shape) if n == 1 != own[d + lead])]
    out = reduction.sum(self, dims, True) if dims else self
    return view.view_shape(out, shape) if lead else out


@method
def set_(self, source=None, storage_offset=0, size=None, stride=None) -> Tensor:
    """Look at the memory of another tensor or storage."""
    if source is None:
        source = creation.empty(0, dtype=self.spec.dtype, device=self.spec.device)
    if isinstance(source, Tensor):
        self.spec, self.storage, self.ptr = source.spec, source.storage, source.ptr
        return self
    storage = getattr(source, "_storage", source)
    if size is None:
        size = (storage.nbytes // self.spec.dtype.itemsize,)
    base = alias(self)
    base.storage, base.ptr, base.spec = (
        storage,
        storage.ptr,
        dense(self.spec.dtype, (storage.nbytes // self.spec.dtype.itemsize,)),
    )
    from facula.core.shape import contiguous_strides

    part = view.as_strided(base, size, contiguous_strides(size) if stride is None else stride, storage_offset)
    self.spec, self.storage, self.ptr, self.base = part.spec, part.storage, part.ptr, None
    return self


# Public functions that are methods too, by module.
METHODS = {
    activation: "hardshrink prelu relu relu_",
    normalization: "log_softmax softmax",
    elementwise: (
        "abs acos acosh addcdiv addcmul angle asin asinh atan atan2 atanh bitwise_and bitwise_left_shift bitwise_not "
        "bitwise_or bitwise_right_shift bitwise_xor ceil copysign cos cosh deg2rad digamma eq erf erfc erfinv exp exp2 "
        "expm1 floor fmax fmin fmod frac ge gt heaviside hypot isfinite isinf isnan isneginf isposinf ldexp le lerp "
        "lgamma log log10 log1p log2 logaddexp logaddexp2 logical_and logical_not logical_or logical_xor lt maximum "
        "minimum ne neg nextafter pow rad2deg reciprocal remainder rsqrt sgn sigmoid sign signbit sin sinc sinh sqrt "
        "square tan tanh trunc xlogy"
    ),
    public: (
        "add allclose clamp clip conj conj_physical div divide equal float_power floor_divide frexp gcd isclose isreal "
        "lcm logit masked_fill mul multiply nan_to_num negative positive round sub subtract true_divide"
    ),
    reduction: (
        "all amax amin aminmax any argmax argmin count_nonzero cumprod cumsum logcumsumexp logsumexp max mean min "
        "nanmean nansum norm prod std sum var"
    ),
    view: (
        "adjoint as_strided as_strided_scatter broadcast_to chunk diagonal diagonal_scatter dsplit expand flatten "
        "hsplit movedim narrow ravel reshape select select_scatter slice_scatter split_with_sizes swapaxes "
        "squeeze t tensor_split transpose unbind unflatten unfold unsqueeze vsplit"
    ),
    view_copies: "narrow_copy",
    joining: "diag diag_embed diagflat flip fliplr flipud kron repeat repeat_interleave roll rot90 tile tril triu",
    indexing: (
        "argwhere gather index_add index_copy index_fill index_put index_reduce index_select masked_scatter "
        "masked_select nonzero nonzero_static put scatter scatter_add scatter_reduce take take_along_dim"
    ),
    fft: "istft stft",
    matrices: (
        "cholesky cholesky_inverse cholesky_solve det eig geqrf inverse logdet lstsq lu matrix_exp matrix_power ormqr "
        "pinverse qr slogdet solve svd symeig triangular_solve lu_solve"
    ),
    matmul: "addbmm addmm addmv addr baddbmm bmm dot inner matmul mm mv outer vdot",
    sorting: ("argsort cummax cummin kthvalue median mode msort nanmedian sort topk unique unique_consecutive"),
    statistics: "bincount corrcoef cov diff dist hash_tensor nanquantile quantile renorm trace",
    gamma: "i0 igamma igammac mvlgamma",
    histogram: "histc histogram",
    copying: "clone contiguous",
    inplace: "copy_ detach_ fill_ resize_ zero_",
}
for _module, _names in METHODS.items():
    for _name in _names.split():
        setattr(Tensor, _name, getattr(_module, _name))

Tensor.orgqr = linalg.orgqr  # type: ignore[attr-defined]
ALIASES = {
    "absolute": "abs", "arccos": "acos", "arccosh": "acosh", "arcsin": "asin", "arcsinh": "asinh", "arctan": "atan",
    "arctan2": "atan2", "arctanh": "atanh", "fix": "trunc", "greater": "gt", "greater_equal": "ge", "less": "lt",
    "less_equal": "le",
    "not_equal": "ne", "moveaxis": "movedim", "swapdims": "transpose", "ger": "outer",
}  # fmt: skip
for _name, _target in ALIASES.items():
    setattr(Tensor, _name, getattr(Tensor, _target))


@method
def polygamma(self, n: int) -> Tensor:
    """The `n`-th derivative of `digamma`."""
    return gamma.polygamma(n, self)


# --- in-place forms -----------------------------------------------------------------------------------------------


def _in_place(name: str, operator: declare.Traced):
    entry = declare.fast_in_place(operator)
    entry.__name__ = entry.__qualname__ = name + "_"
    entry.__doc__ = f"`{name}` over the tensor's own elements."
    return entry


# Traced operators whose result may overwrite their first operand.
IN_PLACE = (
    "abs acos acosh addcdiv addcmul asin asinh atan atan2 atanh bitwise_and bitwise_left_shift bitwise_not bitwise_or "
    "bitwise_right_shift bitwise_xor ceil conj_physical copysign cos cosh deg2rad digamma eq erf erfc erfinv exp exp2 "
    "expm1 floor fmod frac ge gt heaviside hypot ldexp le lerp lgamma log log10 log1p log2 logical_and logical_not "
    "logical_or logical_xor lt ne neg nextafter pow rad2deg reciprocal remainder rsqrt sgn sigmoid sign sin sinc sinh "
    "sqrt square tan tanh trunc xlogy mul floor_divide"
)
for _name in IN_PLACE.split():
    setattr(Tensor, _name + "_", _in_place(_name, getattr(elementwise, _name).operator))
Tensor.multiply_ = Tensor.mul_
Tensor.i0_ = _in_place("i0", gamma.i0.operator)
Tensor.true_divide_ = _in_place("true_divide", elementwise.true_divide.operator)


Tensor.add_ = _in_place("add", elementwise.add.operator)
Tensor.sub_ = _in_place("sub", elementwise.sub.operator)
Tensor.subtract_ = Tensor.sub_


@method
def div_(self, other, *, rounding_mode=None) -> Tensor:
    """`div` over the tensor's own elements."""
    operators = {None: elementwise.true_divide, "trunc": elementwise.trunc_divide, "floor": elementwise.floor_divide}
    if rounding_mode not in operators:
        fail(
            RuntimeError,
            f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'",
        )
    return operators[rounding_mode].operator.in_place(self, other)


Tensor.divide_ = div_


@method
def clamp_(input, min=None, max=None) -> Tensor:
    """`clamp` over the tensor's own elements."""
    if min is None and max is None:
        fail(RuntimeError, "torch.clamp: At least one of 'min' or 'max' must not be None")
    if min is None:
        return elementwise.clamp_max.operator.in_place(input, max)
    if max is None:
        return elementwise.clamp_min.operator.in_place(input, min)
    return elementwise.clamp_both.operator.in_place(input, min, max)


Tensor.clip_ = clamp_  # type: ignore[assignment]  # the function has input, the method self
Tensor.clamp_min = elementwise.clamp_min
Tensor.clamp_max = elementwise.clamp_max
Tensor.clamp_min_ = _in_place("clamp_min", elementwise.clamp_min.operator)
Tensor.clamp_max_ = _in_place("clamp_max", elementwise.clamp_max.operator)
Tensor.negative_ = Tensor.neg_
for _name in (
    "iadd",
    "isub",
    "imul",
    "itruediv",
    "ifloordiv",
    "imod",
    "ipow",
    "iand",
    "ior",
    "ixor",
    "ilshift",
    "irshift",
):
    _own = {
        "iadd": "add_", "isub": "sub_", "imul": "mul_", "itruediv": "div_", "ifloordiv": "floor_divide_",
        "imod": "remainder_",
        "ipow": "pow_", "iand": "bitwise_and_", "ior": "bitwise_or_", "ixor": "bitwise_xor_",
        "ilshift": "bitwise_left_shift_",
        "irshift": "bitwise_right_shift_",
    }[_name]  # fmt: skip
    setattr(Tensor, f"__{_name}__", getattr(Tensor, _own))


@method
def masked_fill_(self, mask: Tensor, value) -> Tensor:
    """Write a number where `mask` holds."""
    return elementwise.masked_fill.operator.in_place(self, mask, value)


def _write(name: str, make, needs_input: bool = False):
    def entry(self, *args, **kwargs):
        inputs = [a for a in args if isinstance(a, Tensor)] + [a for a in kwargs.values() if isinstance(a, Tensor)]
        return inplace.write(self, lambda x: make(x, *args, **kwargs), *inputs, needs_input=needs_input)

    entry.__name__ = entry.__qualname__ = name
    entry.__doc__ = f"`{name[:-1]}` over the tensor's own elements."
    entry.__wrapped__ = make  # whose parameters are shown
    setattr(Tensor, name, entry)


for _name, _make in (
    ("index_copy_", indexing.index_copy), ("index_fill_", indexing.index_fill),
    ("masked_scatter_", indexing.masked_scatter),
    ("addmm_", matmul.addmm), ("addmv_", matmul.addmv), ("addr_", matmul.addr), ("baddbmm_", matmul.baddbmm),
    ("addbmm_", matmul.addbmm), ("gcd_", public.gcd), ("lcm_", public.lcm), ("tril_", joining.tril),
    ("triu_", joining.triu),
    ("put_", indexing.put),
):  # fmt: skip
    _write(_name, _make)
for _name, _make in (
    ("igamma_", gamma.igamma), ("igammac_", gamma.igammac), ("mvlgamma_", gamma.mvlgamma),
    ("polygamma_", lambda input, n: gamma.polygamma(n, input)), ("nan_to_num_", public.nan_to_num),
    ("renorm_", statistics.renorm), ("scatter_reduce_", indexing.scatter_reduce),
    ("index_reduce_", indexing.index_reduce),
):  # fmt: skip
    _write(_name, _make, needs_input=True)
Tensor.scatter_, Tensor.scatter_add_, Tensor.index_add_, Tensor.index_put_ = (
    indexing.scatter_, indexing.scatter_add_, indexing.index_add_, indexing.index_put_,
)  # fmt: skip


def _scan_(name: str, scan):
    def entry(self, dim, *, dtype=None) -> Tensor:
        kind = self.spec.dtype
        if kind.kind == "b" and dtype is None and self.spec.ndim and self.spec.numel:
            fail(NotImplementedError, f"\"{name}_out_cpu\" not implemented for 'Bool'")
        return inplace.write(self, lambda x: scan(x, dim, dtype=dtype or kind), needs_input=name == "cumprod")

    entry.__name__ = entry.__qualname__ = name + "_"
    entry.__doc__ = f"`{name}` over the tensor's own elements."
    return declare.takes(entry)


Tensor.cumsum_, Tensor.cumprod_ = _scan_("cumsum", reduction.cumsum), _scan_("cumprod", reduction.cumprod)


@method
def float_power_(self, exponent) -> Tensor:
    """`float_power` over the tensor's own elements, which must be float64 or complex128 already."""
    complex_ = self.spec.dtype.is_complex or (
        exponent.spec.dtype.is_complex if isinstance(exponent, Tensor) else isinstance(exponent, complex)
    )
    wide = dt.complex128 if complex_ else dt.float64
    if self.spec.dtype is not wide:
        fail(
            RuntimeError,
            f"the base given to float_power_ has dtype {dtype_title(self.spec.dtype)} but the operation's result "
            f"requires dtype {dtype_title(wide)}",
        )
    return elementwise.pow.operator.in_place(
        self, copying.cast(exponent, wide) if isinstance(exponent, Tensor) else exponent
    )


@method
def logit_(input, eps=None) -> Tensor:
    """`logit` over the tensor's own elements."""
    return elementwise.logit.operator.in_place(input, **({} if eps is None else {"eps": eps}))


@method
def round_(input, *, decimals=0) -> Tensor:
    """`round` over the tensor's own elements."""
    if decimals == 0:
        return elementwise.round_even.operator.in_place(input)
    if input.spec.dtype.kind != "f":
        fail(NotImplementedError, f"\"round_cpu\" not implemented for '{dtype_title(input.spec.dtype)}'")
    scale = 10.0**decimals
    return elementwise.round_decimals.operator.in_place(input, scale, scale)


def _reshaping(name: str, make):
    """In-place forms of views: the record itself gets the new shape."""

    def entry(self, *args, **kwargs):
        out = make(alias(self), *args, **kwargs)
        if self.needs_grad and (not GUARD.active or LOCAL.grad):
            made = make(self, *args, **kwargs)
            self.spec, self.ptr, self.edge = made.spec, made.ptr, made.edge
        else:
            self.spec, self.ptr = out.spec, out.ptr
        self.storage.version += 1
        if self.base is not None:
            self.seen = self.storage.version
        return self

    entry.__name__ = entry.__qualname__ = name
    entry.__doc__ = f"`{name[:-1]}` of the record itself."
    setattr(Tensor, name, entry)


for _name, _make in (
    ("unsqueeze_", view.unsqueeze), ("squeeze_", view.squeeze), ("transpose_", view.transpose), ("t_", view.t),
    ("swapaxes_", view.transpose), ("swapdims_", view.transpose), ("as_strided_", view.as_strided),
):  # fmt: skip
    _reshaping(_name, _make)


@method
def swapaxes_(self, axis0: int, axis1: int) -> Tensor:
    """`transpose_`, under NumPy's name."""
    return self.transpose_(axis0, axis1)


Tensor.swapdims_ = lambda self, dim0, dim1: self.transpose_(dim0, dim1)
for _name, _target in ALIASES.items():
    if hasattr(Tensor, _target + "_"):
        setattr(Tensor, _name + "_", getattr(Tensor, _target + "_"))


for _name, _body in (
    ("cross", matmul.cross),
    ("unsafe_chunk", view.chunk),
    ("unsafe_split", view.unsafe_split),
    ("unsafe_split_with_sizes", view.split_with_sizes),
):
    setattr(Tensor, _name, _body)


@method
def untyped_storage(self):
    """The memory that the tensor looks at, as bytes."""
    from .storages import UntypedStorage

    return UntypedStorage(self.storage)


@method
def _typed_storage(self):
    """The memory that the tensor looks at, as elements of its dtype."""
    from .storages import TypedStorage, UntypedStorage

    return TypedStorage(wrap_storage=UntypedStorage(self.storage), dtype=self.spec.dtype)


@method
def is_nonzero(self) -> bool:
    """Whether the one element is not 0."""
    return __bool__(self)


@method
def is_same_size(self, other: Tensor) -> bool:
    """Whether both have one shape."""
    return self.spec.shape == other.spec.shape


@method
def resize_as_(input, the_template: Tensor, *, memory_format=None) -> Tensor:
    """`resize_` to the shape of another tensor."""
    return inplace.resize_(input, the_template.spec.shape)


@method
def fill_diagonal_(self, fill_value, wrap: bool = False) -> Tensor:
    """Write one number over the diagonal; `wrap` starts it anew below a tall matrix."""
    shape = self.spec.shape
    if len(shape) < 2:
        fail(RuntimeError, "dimensions must larger than 1")
    if len(shape) > 2 and len(set(shape)) != 1:
        fail(RuntimeError, "all dimensions of input must be of equal length")
    step = sum(self.spec.strides)
    n = min(shape)
    inplace.fill_(view.as_strided_part(self, (n,), (step,), 0), fill_value)
    if wrap and len(shape) == 2 and shape[0] > shape[1] + 1:
        step = self.spec.strides[0] * (shape[1] + 1)
        rows, at = shape[0], shape[1] + 1
        while at < rows:
            count = min(shape[1], rows - at)
            inplace.fill_(
                view.as_strided_part(self, (count,), (sum(self.spec.strides),), at * self.spec.strides[0]), fill_value
            )
            at += shape[1] + 1
    return self


@method
def dim_order(self, *, ambiguity_check=False) -> tuple[int, ...]:
    """The dims from the largest stride to the smallest."""
    s = self.spec
    if ambiguity_check and (1 in s.shape or len(set(s.strides)) < s.ndim):
        fail(
            RuntimeError,
            "The tensor does not have unique dim order, or cannot map to exact one of the given memory formats.",
        )
    return tuple(sorted(range(self.spec.ndim), key=lambda d: -self.spec.strides[d]))


@method
def as_subclass(self, cls):
    """The same elements as an instance of a subclass, with the same history."""
    if not (hasattr(cls, "__mro__") and issubclass(cls, Tensor)):
        fail(TypeError, f"cls must be a type (got {cls.__class__.__name__})")
    out = view.alias_view.operator.call(self)
    out.__class__ = cls
    return out


def _make_subclass(cls, data: Tensor, require_grad: bool = False, **_) -> Tensor:
    """The elements of `data`, without its history, as an instance of `cls`."""
    out = alias(data)
    out.__class__ = cls
    out.needs_grad = require_grad
    return out


def _make_wrapper_subclass(cls, size, **_):
    fail(
        NotImplementedError,
        "Tensor._make_wrapper_subclass makes tensors without memory, for classes with __torch_dispatch__, which facula "
        "does not have",
        mend="keep a tensor as an attribute, and use __torch_function__",
    )


def _subclassed(cls, **kwargs) -> None:
    super(Tensor, cls).__init_subclass__(**kwargs)
    if not cls.__module__.startswith("facula.") and cls.__torch_function__ is not override.disabled:
        override.install()


Tensor._make_subclass = staticmethod(_make_subclass)
Tensor._make_wrapper_subclass = staticmethod(_make_wrapper_subclass)
Tensor.__init_subclass__ = classmethod(_subclassed)
Tensor.__torch_function__ = classmethod(override.default)


def type_name_dtype(name: str) -> DType:
    """The dtype of a tensor type's name: torch.FloatTensor."""
    for kind in dt.ALL:
        if name in (f"torch.{dtype_title(kind)}Tensor", f"torch.cuda.{dtype_title(kind)}Tensor"):
            return kind
    fail(ValueError, f"invalid type: '{name}'")


@method
def __repr__(self, *, tensor_contents=None) -> str:
    return SHOW[0](self)


SHOW: list = [object.__repr__]  # facula/printing.py
