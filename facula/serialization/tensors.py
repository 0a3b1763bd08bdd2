"""Tensors and storages as checkpoints describe them, and what PyTorch's names in a checkpoint mean here."""

import ctypes
import importlib
import io
import sys
import threading
from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from facula import launch
from facula.core import dtype as dtypes
from facula.core.device import device
from facula.core.generator import Generator
from facula.core.layout import sparse_coo, strided
from facula.core.shape import Size
from facula.core.spec import spec
from facula.core.storage import Storage
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.operators import creation, sparse, storages
from facula.operators.creation import record_of
from facula.operators.results import NAMED as RETURNED
from facula.operators.storages import STORAGE_NAMES, TypedStorage, UntypedStorage

__all__ = ["LOADING", "NAMES", "REBUILDERS", "StorageType", "TypedStorage", "UntypedStorage"]


class StorageType:
    """What `torch.FloatStorage` and its siblings mean in a pickle: a dtype."""

    __slots__ = ("dtype",)

    def __init__(self, name: str):
        self.dtype = DTYPES[name]

    def __repr__(self) -> str:
        return f"StorageType(dtype={self.dtype})"


DTYPES = {f"{name}Storage": dtype for dtype, name in STORAGE_NAMES.items()}
STORAGE_TYPES = {name: StorageType(name) for name in DTYPES}
TYPE_OF_DTYPE = {storage_type.dtype: storage_type for storage_type in STORAGE_TYPES.values()}
UNTYPED = StorageType("ByteStorage")  # how a pickle mentions a storage of plain bytes
globals().update(STORAGE_TYPES)  # so that a pickler finds them under their names


class Loading(threading.local):
    """What functions that a pickle calls must know of the file that this thread reads."""

    after: list[Callable[[], Any]] | None = None  # storages are filled after the pickle: what to do then
    map_location: Any = None
    skip_data = False
    large_keys = 0  # of dicts, in the pickle that is being read


LOADING = Loading()


def when_filled(function: Callable[[], Any]) -> None:
    """Call a function once the bytes of the storages are there: now, or at the end of an old file."""
    if LOADING.after is None:
        function()
    else:
        LOADING.after.append(function)


def text_of(value):
    return value.decode("ascii") if isinstance(value, bytes) else value


def _set_generator(self: Generator, state) -> None:
    """From a checkpoint: (seed, offset on a GPU, state)."""
    when_filled(lambda: self.load_legacy_state(creation.numpy_view(state[2])))


setattr(Generator, "__setstate__", _set_generator)  # noqa: B010 - the record has no such method


def _load_from_bytes(data: bytes):
    from .loading import load

    return load(io.BytesIO(data), weights_only=True)


def _reduce_storage(self, protocol):
    """Outside `save`, the bytes of a storage go into the pickle: a checkpoint of its own."""
    from .saving import save

    buffer = io.BytesIO()
    save(self, buffer)
    return _load_from_bytes, (buffer.getvalue(),)


TypedStorage.__reduce_ex__ = UntypedStorage.__reduce_ex__ = _reduce_storage


def storage_bytes(storage: Storage) -> memoryview:
    """The memory of a storage on this machine."""
    if storage.nbytes == 0 or storage.device.type == "meta":
        return memoryview(bytearray())
    return memoryview((ctypes.c_char * storage.nbytes).from_address(storage.ptr)).cast("B")


def new_storage(nbytes: int, zeroed: bool = False) -> tuple[Storage, memoryview]:
    """New aligned memory, and the same as bytes to be filled."""
    storage = launch.new_storage(nbytes)
    if zeroed and nbytes:
        ctypes.memset(storage.ptr, 0, nbytes)
    return storage, storage_bytes(storage)


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


def _view(typed: TypedStorage, offset: int, size, stride, requires_grad: bool) -> Tensor:
    return view_of(typed._storage, typed.dtype, offset, size, stride, requires_grad)


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
        copy, memory = new_storage(whole)

        def fill() -> None:
            values = np.frombuffer(storage_bytes(storage)[:whole], dtype.numpy)
            values = values.conj() if conj else values
            np.frombuffer(memory, dtype.numpy)[:] = -values if negate else values

        when_filled(fill)
        copies[dtype, conj, negate] = copy
    offset = (tensor.ptr - storage.ptr) // dtype.itemsize
    return view_of(copy, dtype, offset, tuple(tensor.shape), tensor.spec.strides, tensor.requires_grad)


def _no_hooks(hooks) -> None:
    if hooks:
        fail(RuntimeError, "the checkpoint holds backward hooks, which are not restored", got=f"{len(hooks)} hooks")


def _typed(storage, function: str) -> TypedStorage:
    if not isinstance(storage, TypedStorage):
        raise TypeError(f"{function} needs a storage, got {type(storage).__name__}")
    return storage


def _rebuild_tensor_v2(storage, storage_offset, size, stride, requires_grad, backward_hooks, metadata=None):
    """A tensor in a checkpoint."""
    _no_hooks(backward_hooks)
    tensor = _view(_typed(storage, "_rebuild_tensor_v2"), storage_offset, size, stride, requires_grad)
    return _conjugated(tensor, metadata) if metadata else tensor


def _rebuild_tensor(storage, storage_offset, size, stride):
    return _rebuild_tensor_v2(storage, storage_offset, size, stride, False, None)


def _rebuild_tensor_v3(storage, storage_offset, size, stride, requires_grad, backward_hooks, dtype, metadata=None):
    """A tensor whose dtype has no storage class."""
    if type(dtype) is not dtypes.dtype:
        raise TypeError(f"_rebuild_tensor_v3 needs a dtype, got {type(dtype).__name__}")
    storage = TypedStorage.of(_typed(storage, "_rebuild_tensor_v3")._storage, dtype)
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


LAYOUTS = {str(layout): layout for layout in (strided, sparse_coo)}


def _get_layout(name):
    """A layout by its name."""
    if name not in LAYOUTS:
        fail(
            RuntimeError,
            f"facula has no layout {name!r:.80}",
            expected=", ".join(LAYOUTS),
            mend="convert the tensor with to_dense() or to_sparse_coo() before it is saved",
        )
    return LAYOUTS[name]


def _rebuild_sparse_tensor(layout, data):
    """A sparse tensor of its places and values; places are checked as soon as their bytes are there."""
    if layout is not sparse_coo or not isinstance(data, tuple) or len(data) not in (3, 4):
        raise TypeError(f"_rebuild_sparse_tensor needs torch.sparse_coo and its parts, got {layout!r:.80}")
    (places, kept, sizes), settled = data[:3], len(data) == 4 and bool(data[3])
    if not all(type(part) in (Tensor, loaded_parameter()) for part in (places, kept)):
        raise TypeError("_rebuild_sparse_tensor needs two dense tensors")
    sizes = integers(sizes, "size")
    for part in (places, kept):  # elements are looked at: they must be there, not one expanded a million times
        if part.numel() * part.spec.dtype.itemsize > max(part.storage.nbytes, 1 << 20):
            fail(RuntimeError, "a sparse tensor's parts overlap in memory", got=f"sizes {list(part.shape)}")
    if places.dtype is not dtypes.int64 or places.ndim != 2 or kept.ndim < 1 or places.device != kept.device:
        fail(RuntimeError, "indices must be an int64 tensor of two dims", got=f"{places.dtype} {list(places.shape)}")
    count = places.shape[0]
    if places.shape[1] != kept.shape[0] or sizes[count:] != tuple(kept.shape[1:]):
        fail(
            RuntimeError,
            "the parts of a sparse tensor do not fit together",
            got=f"size {list(sizes)}, indices {list(places.shape)}, values {list(kept.shape)}",
        )
    if min(sizes, default=0) < 0 or prod(sizes) >= 1 << 63:
        fail(RuntimeError, "numel: integer multiplication overflow", got=f"size {list(sizes)}")
    tensor = sparse.made(places, kept.detach(), sizes, settled)
    if places.device.type == "cpu":
        when_filled(lambda: _check_places(tensor))
    return tensor


def _check_places(tensor: sparse.SparseTensor) -> None:
    """RuntimeError unless each place is inside the tensor and, in one that says so, each is there once and in order."""
    sparse.sparse_coo_tensor(tensor.places, tensor.kept, tensor.sizes)
    if tensor.settled and tensor.places.shape[1] > 1:
        numbers = np.zeros(tensor.places.shape[1], np.int64)
        for row, size in zip(creation.numpy_view(tensor.places), tensor.sizes):
            numbers = numbers * size + row
        if (numbers[1:] <= numbers[:-1]).any():
            fail(RuntimeError, "indices are not coalesced, though the checkpoint says that they are")


def _rebuild_device_tensor_from_cpu_tensor(data, dtype, device, requires_grad):
    """A tensor of a device without storages of its own: its values on this machine."""
    if not isinstance(data, Tensor) or type(dtype) is not dtypes.dtype:
        raise TypeError("_rebuild_device_tensor_from_cpu_tensor needs a tensor and a dtype")
    if data.numel() * data.spec.dtype.itemsize > max(data.storage.nbytes, 1 << 20):
        fail(RuntimeError, "a tensor's elements overlap in memory", got=f"sizes {list(data.shape)}")
    if LOADING.after is not None and data.spec.dtype is not dtype:
        fail(RuntimeError, "the values of the tensor are not there yet", got=f"{data.spec.dtype} to become {dtype}")
    moved: Any = data.to(dtype)
    moved.requires_grad = bool(requires_grad)
    return moved


def _rebuild_device_tensor_from_numpy(data, dtype, device, requires_grad):
    """The same of a NumPy array, which only a file that is trusted can hold."""
    if not isinstance(data, np.ndarray):
        raise TypeError(f"_rebuild_device_tensor_from_numpy needs an array, got {type(data).__name__}")
    return _rebuild_device_tensor_from_cpu_tensor(creation.from_numpy(data), dtype, device, requires_grad)


def _returned(kind: type, values, further=None):
    """The result of an operator with several results, of the tuple of them."""
    return kind(*values)


def _refused(name: str, what: str) -> Callable:
    def function(*args):
        fail(RuntimeError, f"the checkpoint holds {what}, which facula does not have")

    function.__name__ = function.__qualname__ = name
    return function


REBUILDERS = {
    function.__name__: function
    for function in (
        _rebuild_tensor, _rebuild_tensor_v2, _rebuild_tensor_v3, _rebuild_meta_tensor_no_storage,
        _rebuild_parameter, _rebuild_parameter_with_state, _rebuild_sparse_tensor,
        _rebuild_device_tensor_from_cpu_tensor, _rebuild_device_tensor_from_numpy,
        _refused("_rebuild_qtensor", "a quantized tensor"), _refused("_rebuild_nested_tensor", "a nested tensor"),
        _refused("_rebuild_wrapper_subclass", "a tensor of a subclass with __torch_dispatch__"),
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
    ("torch.storage", "TypedStorage"): TypedStorage,
    ("torch.storage", "_load_from_bytes"): _load_from_bytes,
    ("torch.serialization", "_get_layout"): _get_layout,
    ("torch._utils", "_rebuild_xla_tensor"): _rebuild_device_tensor_from_numpy,
    ("torch._C", "Generator"): Generator,
}
NAMES |= {("torch.return_types", name): partial(_returned, kind) for name, kind in RETURNED.items()}
WRITTEN = {id(value): name for name, value in NAMES.items()}  # by identity: not all of these can be hashed alike
WRITTEN |= {id(kind): ("torch.return_types", name) for name, kind in RETURNED.items()}
WRITTEN[id(Tensor)] = "torch", "Tensor"
WRITTEN[id(UNTYPED)] = "torch.storage", "UntypedStorage"
WRITTEN[id(_rebuild_device_tensor_from_numpy)] = "torch._utils", "_rebuild_device_tensor_from_numpy"
WRITTEN |= {id(getattr(storages, name)): ("torch", name) for name in STORAGE_TYPES}


def torch_name(module: str, name: str, value) -> tuple[str, str]:
    """PyTorch's name of something that facula defines."""
    found = WRITTEN.get(id(value))
    if found is not None:
        return found
    if value is not None and value is loaded_parameter():
        return "torch.nn.parameter", "Parameter"
    if module == "facula" or module.startswith("facula."):
        functions = sys.modules.get("facula.nn.functional")
        if functions is not None and getattr(functions, name, None) is value and not isinstance(value, type):
            return "torch.nn.functional", name
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
    if (module, name) == ("torch._C", "_VariableFunctionsClass"):  # `torch.relu` is getattr(this, "relu") in files
        return sys.modules["facula"]
    module = "torch.nn.functional" if module == "torch._C._nn" else module
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
