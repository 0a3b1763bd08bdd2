"""Tensors and storages as checkpoints describe them, and what PyTorch's names in a checkpoint mean here."""

import ctypes
import importlib
import io
import sys
from math import prod
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from facula import launch
from facula.core import dtype as dtypes
from facula.core.device import device
from facula.core.shape import Size
from facula.core.spec import spec
from facula.core.storage import Storage
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.operators.creation import record_of

from .archive import ALIGNMENT

__all__ = ["NAMES", "REBUILDERS", "StorageType", "TypedStorage", "UntypedStorage"]

STORAGE_NAMES = {
    "Bool": dtypes.bool_, "Byte": dtypes.uint8, "Char": dtypes.int8, "Short": dtypes.int16, "Int": dtypes.int32,
    "Long": dtypes.int64, "Half": dtypes.float16, "BFloat16": dtypes.bfloat16, "Float": dtypes.float32,
    "Double": dtypes.float64, "ComplexFloat": dtypes.complex64, "ComplexDouble": dtypes.complex128,
}  # fmt: skip


class TypedStorage:
    """A storage with the dtype under which a pickle mentions it."""

    __slots__ = ("dtype", "storage")

    def __init__(self, storage: Storage, dtype: dtypes.dtype):
        self.storage = storage
        self.dtype = dtype

    def __reduce__(self):
        """Outside `save`, the bytes go into the pickle: a checkpoint of its own."""
        from .saving import save

        buffer = io.BytesIO()
        save(self, buffer)
        return _load_from_bytes, (buffer.getvalue(),)


class UntypedStorage:
    """The name under which checkpoints mention a storage of plain bytes."""


class StorageType:
    """What `torch.FloatStorage` and its siblings mean in a pickle: a dtype."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: dtypes.dtype):
        self.dtype = dtype

    def __repr__(self) -> str:
        return f"StorageType(dtype={self.dtype})"


STORAGE_TYPES = {f"{name}Storage": StorageType(dtype) for name, dtype in STORAGE_NAMES.items()}
TYPE_OF_DTYPE = {storage_type.dtype: storage_type for storage_type in STORAGE_TYPES.values()}


def text_of(value):
    return value.decode("ascii") if isinstance(value, bytes) else value


def _load_from_bytes(data: bytes):
    from .loading import load

    return load(io.BytesIO(data), weights_only=True)


def storage_bytes(storage: Storage) -> memoryview:
    """The memory of a storage on this machine."""
    if storage.nbytes == 0:
        return memoryview(b"")
    if storage.device.type != "cpu":
        fail(RuntimeError, f"cannot save a storage on {storage.device}", mend="save tensor.cpu()")
    return memoryview((ctypes.c_char * storage.nbytes).from_address(storage.ptr)).cast("B")


def new_storage(nbytes: int) -> tuple[Storage, memoryview]:
    """New aligned memory, and the same as bytes to be filled."""
    memory = np.empty(nbytes + ALIGNMENT, np.uint8)
    memory = memory[-memory.ctypes.data % ALIGNMENT :][:nbytes]
    return Storage(memory.ctypes.data, nbytes, memory), memory.data


def integers(values, what: str) -> tuple[int, ...]:
    if not isinstance(values, tuple | list) or any(type(value) is not int for value in values):
        raise TypeError(f"{what} should be a tuple of ints, not {type(values).__name__}")
    if any(not -(1 << 63) <= value < 1 << 63 for value in values):
        fail(RuntimeError, "numel: integer multiplication overflow", got=f"{what} with numbers of more than 64 bits")
    return tuple(values)


def _check_layout(nbytes: int, itemsize: int, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> None:
    """RuntimeError unless every element lies inside a storage of `nbytes` bytes."""
    (offset,) = integers((offset,), "storage offset")
    if offset < 0:
        fail(RuntimeError, f"Tensor: invalid storage offset {offset}")
    if len(size) != len(stride):
        fail(RuntimeError, f"unequal size length ({len(size)}) and stride length ({len(stride)})")
    if len(size) > 64:
        fail(RuntimeError, f"tensors have at most 64 dimensions, got {len(size)}")
    if any(n < 0 for n in size):
        fail(RuntimeError, f"Trying to create tensor with negative dimension {min(size)}: {list(size)}")
    if any(s < 0 for s in stride):
        fail(RuntimeError, f"as_strided: Negative strides are not supported at the moment, got strides: {list(stride)}")
    if max(prod(n or 1 for n in size) * itemsize, offset * itemsize, *stride, 0) >= 1 << 63:
        fail(RuntimeError, "numel: integer multiplication overflow", got=f"sizes {list(size)}, strides {list(stride)}")
    needed = (offset + sum((n - 1) * s for n, s in zip(size, stride)) + 1) * itemsize if 0 not in size else 0
    if needed > nbytes:
        fail(
            RuntimeError,
            f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset {offset}, and itemsize {itemsize} "
            f"requiring a storage size of {needed} are out of bounds for storage of size {nbytes}",
        )


def view_of(storage: Storage, dtype: dtypes.dtype, offset: int, size, stride, requires_grad: bool) -> Tensor:
    """A leaf tensor that shows this part of the storage."""
    size, stride = integers(size, "size"), integers(stride, "stride")
    _check_layout(storage.nbytes, dtype.itemsize, offset, size, stride)
    new: Any = record_of(
        spec(dtype, storage.device, Size(size), stride), storage, storage.ptr + offset * dtype.itemsize
    )
    if requires_grad:
        new.requires_grad = True
    return new


_CONJUGATES: WeakKeyDictionary = WeakKeyDictionary()  # of a storage: {(dtype, conjugated, negated): the changed copy}


def _conjugated(tensor: Any, metadata: dict) -> Tensor:
    """A lazily conjugated or negated tensor of PyTorch: the same view of a storage with those values."""
    if type(metadata) is not dict or set(metadata) - {"conj", "neg"}:
        fail(RuntimeError, "unknown tensor metadata", expected="a dict of conj and neg", got=str(metadata)[:80])
    conj, negate = bool(metadata.get("conj")), bool(metadata.get("neg"))
    dtype, storage = tensor.dtype, tensor.storage
    if dtype.kind not in "ifc" or dtype.numpy is None or (conj and dtype.kind != "c"):
        fail(RuntimeError, f"a tensor of {dtype} cannot be conjugated or negated lazily")
    copies = _CONJUGATES.setdefault(storage, {})
    copy = copies.get((dtype, conj, negate))
    if copy is None:
        whole = storage.nbytes // dtype.itemsize * dtype.itemsize
        values = np.frombuffer(storage_bytes(storage)[:whole], dtype.numpy)
        values = values.conj() if conj else values
        values = np.ascontiguousarray(-values if negate else values)
        copy, memory = new_storage(whole)
        memory[:] = values.data.cast("B") if whole else b""
        copies[dtype, conj, negate] = copy
    offset = (tensor.ptr - storage.ptr) // dtype.itemsize
    return view_of(copy, dtype, offset, tuple(tensor.shape), tensor.spec.strides, tensor.requires_grad)


def _no_hooks(hooks) -> None:
    if hooks:
        fail(RuntimeError, "the checkpoint holds backward hooks, which are not restored", got=f"{len(hooks)} hooks")


def _typed(storage, function: str) -> TypedStorage:
    if type(storage) is not TypedStorage:
        raise TypeError(f"{function} needs a storage, got {type(storage).__name__}")
    return storage


def _rebuild_tensor_v2(storage, storage_offset, size, stride, requires_grad, backward_hooks, metadata=None):
    """A tensor in a checkpoint."""
    _no_hooks(backward_hooks)
    storage = _typed(storage, "_rebuild_tensor_v2")
    tensor = view_of(storage.storage, storage.dtype, storage_offset, size, stride, requires_grad)
    return _conjugated(tensor, metadata) if metadata else tensor


def _rebuild_tensor(storage, storage_offset, size, stride):
    return _rebuild_tensor_v2(storage, storage_offset, size, stride, False, None)


def _rebuild_tensor_v3(storage, storage_offset, size, stride, requires_grad, backward_hooks, dtype, metadata=None):
    """A tensor whose dtype has no storage class."""
    if type(dtype) is not dtypes.dtype:
        raise TypeError(f"_rebuild_tensor_v3 needs a dtype, got {type(dtype).__name__}")
    storage = TypedStorage(_typed(storage, "_rebuild_tensor_v3").storage, dtype)
    return _rebuild_tensor_v2(storage, storage_offset, size, stride, requires_grad, backward_hooks, metadata)


def _rebuild_meta_tensor_no_storage(dtype, size, stride, requires_grad):
    if type(dtype) is not dtypes.dtype:
        raise TypeError(f"_rebuild_meta_tensor_no_storage needs a dtype, got {type(dtype).__name__}")
    size, stride = integers(size, "size"), integers(stride, "stride")
    reach = sum((n - 1) * s for n, s in zip(size, stride)) + 1 if 0 not in size else 0
    storage = launch.new_storage(max(reach, 0) * dtype.itemsize, device("meta"))
    return view_of(storage, dtype, 0, size, stride, requires_grad)


def loaded_parameter() -> type | None:
    """nn.Parameter, or None as long as nobody has imported it, hence nobody has one."""
    return getattr(sys.modules.get("facula.nn.parameter"), "Parameter", None)


def parameter_class() -> type:
    return importlib.import_module("facula.nn.parameter").Parameter


def _rebuild_parameter(data, requires_grad, backward_hooks):
    _no_hooks(backward_hooks)
    if not isinstance(data, Tensor):
        raise TypeError(f"_rebuild_parameter needs a tensor, got {type(data).__name__}")
    return parameter_class()(data, requires_grad)


def _rebuild_parameter_with_state(data, requires_grad, backward_hooks, state):
    return with_state(_rebuild_parameter(data, requires_grad, backward_hooks), state)


def with_state(tensor: Tensor, state) -> Tensor:
    """Put Python attributes back; those that make up the record itself cannot be set this way."""
    if isinstance(state, tuple) and len(state) == 2:
        state, slots = state
        if slots:
            fail(RuntimeError, "a tensor's slots cannot be set from a checkpoint", got=str(sorted(map(str, slots))[:4]))
    if not isinstance(state, dict) or any(type(name) is not str for name in state):
        fail(RuntimeError, "the attributes of a tensor in a checkpoint must be a dict with names as keys")
    tensor.__dict__.update(state)
    return tensor


def _rebuild_from_type_v2(function, new_type, args, state):
    """A tensor of a subclass, or one with Python attributes."""
    tensor = function(*args)
    if new_type is not type(tensor):
        if not (isinstance(new_type, type) and issubclass(new_type, Tensor)):
            raise TypeError(f"_rebuild_from_type_v2 needs a subclass of Tensor, got {new_type!r}")
        tensor.__class__ = new_type
    return with_state(tensor, state) if state else tensor


REBUILDERS = {
    function.__name__: function
    for function in (
        _rebuild_tensor, _rebuild_tensor_v2, _rebuild_tensor_v3, _rebuild_meta_tensor_no_storage,
        _rebuild_parameter, _rebuild_parameter_with_state,
    )
}  # fmt: skip


# What a pickle calls torch.X is facula.Y. Both spellings are read, PyTorch's is written.

NAMES: dict[tuple[str, str], Any] = {("torch._utils", name): function for name, function in REBUILDERS.items()}
NAMES |= {("torch", name): storage_type for name, storage_type in STORAGE_TYPES.items()}
NAMES |= {("torch", dtype.name): dtype for dtype in dtypes.ALL}
NAMES |= {
    ("torch", "Size"): Size,
    ("torch", "device"): device,
    ("torch", "Tensor"): Tensor,
    ("torch._tensor", "Tensor"): Tensor,
    ("torch._tensor", "_rebuild_from_type_v2"): _rebuild_from_type_v2,
    ("torch.storage", "UntypedStorage"): UntypedStorage,
    ("torch.storage", "_load_from_bytes"): _load_from_bytes,
}
WRITTEN = {id(value): name for name, value in NAMES.items()}  # by identity: not all of these can be hashed alike


def torch_name(module: str, name: str, value) -> tuple[str, str]:
    """PyTorch's name of something that facula defines."""
    found = WRITTEN.get(id(value))
    if found is not None:
        return found
    if value is not None and value is loaded_parameter():
        return "torch.nn.parameter", "Parameter"
    if module == "facula" or module.startswith("facula."):
        place = module
        while place:  # the public module that shows it: facula.nn.linear.Linear is facula.nn.Linear
            public = sys.modules.get(place)
            if public is not None and getattr(public, name, None) is value:
                module = place
            place = place.rpartition(".")[0]
        if module.startswith("facula.nn."):  # what is not shown: where PyTorch keeps it
            module = importlib.import_module("facula.nn.modules").place_of(value) or module
        return "torch" + module[len("facula") :], name
    return module, name


def resolve(module: str, name: str):
    """What `module.name` of PyTorch, or of facula, is here; AttributeError or ModuleNotFoundError where nothing is."""
    if module.partition(".")[0] == "facula":
        module = "torch" + module[len("facula") :]
    if module.startswith("torch.serialization") and name in REBUILDERS:
        module = "torch._utils"
    if (module, name) in NAMES:
        return NAMES[module, name]
    if (module, name) == ("torch.nn.parameter", "Parameter"):
        return parameter_class()
    place = "facula" + module[len("torch") :]
    error: Exception = ModuleNotFoundError(f"No module named {place!r}", name=place)
    while place:  # torch.nn.modules.linear.Linear may be shown by facula.nn
        try:
            value: Any = importlib.import_module(place)
            for part in name.split("."):
                value = getattr(value, part)
            return value
        except (ModuleNotFoundError, AttributeError) as problem:
            error = problem
        place = place.rpartition(".")[0]
    raise error
