"""`save` and `load`: PyTorch's zip checkpoints in both directions, read without executing what they hold.

A checkpoint is a zip archive of uncompressed records: `data.pkl` describes the objects and refers to storages by
number, `data/<number>` holds the bytes of each. Three parts follow: the archive, writing, reading (whose restricted
unpickler calls only what a table names). Which names mean what under `torch` is said in `NAMES`.
"""

import ctypes
import importlib
import io
import mmap as memory_map
import os
import pickle
import re
import stat
import struct
import sys
import tempfile
import warnings
import zipfile
import zlib
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import contextmanager
from hashlib import blake2b
from math import prod
from typing import Any, NoReturn
from weakref import WeakKeyDictionary

from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING

import numpy as np

from facula.core import dtype as dtypes
from facula.core.device import device
from facula.core.shape import Size
from facula.core.spec import spec
from facula.core.storage import Storage
from facula.core.tensor import Tensor
from facula.errors import explain, fail

__all__ = [
    "add_safe_globals",
    "clear_safe_globals",
    "get_safe_globals",
    "get_unsafe_globals_in_checkpoint",
    "load",
    "safe_globals",
    "save",
]

DEFAULT_PROTOCOL = 2
ALIGNMENT = 64  # of each record's bytes in the file, so that mapped storages are aligned

STORAGE_NAMES = {
    "Bool": dtypes.bool_, "Byte": dtypes.uint8, "Char": dtypes.int8, "Short": dtypes.int16, "Int": dtypes.int32,
    "Long": dtypes.int64, "Half": dtypes.float16, "BFloat16": dtypes.bfloat16, "Float": dtypes.float32,
    "Double": dtypes.float64, "ComplexFloat": dtypes.complex64, "ComplexDouble": dtypes.complex128,
}  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# The archive


class ArchiveWriter:
    """Writes records as PyTorch does: uncompressed, aligned, sizes in a descriptor after the data."""

    LIMIT = 0xFFFFFFFF  # sizes and offsets from here on need the 64-bit fields

    def __init__(self, file, prefix: str):
        self.file = file
        self.prefix = prefix
        self.position = 0
        self.directory: list[bytes] = []
        self.names: list[bytes] = []
        self.checks = blake2b(digest_size=8)

    def record(self, name: str, data) -> None:
        """Append one record."""
        data = memoryview(data).cast("B")
        encoded = f"{self.prefix}/{name}".encode()
        start, size, check = self.position, len(data), zlib.crc32(data)
        flags = 0x800 | (0x8 if size else 0)  # UTF-8 name; a descriptor follows, except after nothing
        large = size >= self.LIMIT or start >= self.LIMIT
        extra = struct.pack("<HHQQ", 1, 16, 0, 0) if large else b""
        begin = start + 30 + len(encoded) + len(extra) + 4
        padding = -begin % ALIGNMENT
        extra += struct.pack("<HH", 0x4246, padding) + b"Z" * padding
        self._write(
            struct.pack(
                "<IHHHHHIIIHH", 0x04034B50, 45 if large else 0, flags, 0, 0, 0, 0, 0, 0, len(encoded), len(extra)
            )
        )
        self._write(encoded + extra)
        if size:
            self._write(data)
            self._write(struct.pack("<IIQQ" if large else "<IIII", 0x08074B50, check, size, size))
        small = min(size, self.LIMIT), min(start, self.LIMIT)
        wide = struct.pack("<HHQQQ", 1, 24, size, size, start) if large else b""
        if large:
            small = self.LIMIT, self.LIMIT
        self.directory.append(
            struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 0, 45 if large else 0, flags, 0, 0, 0, check, small[0], small[0],
                        len(encoded), len(wide), 0, 0, 0, 0, small[1]) + encoded + wide
        )  # fmt: skip
        self.names.append(encoded)
        self.checks.update(struct.pack("<I", check))

    def finish(self) -> None:
        """Append the version, the archive's identity and the directory."""
        self.record("version", b"3\n")
        names = blake2b(b"\0".join(self.names), digest_size=8).digest()
        identity = (int.from_bytes(part, "little") for part in (names, self.checks.digest()))
        self.record(".data/serialization_id", "".join(f"{number:020d}" for number in identity).encode())
        start, count = self.position, len(self.directory)
        for entry in self.directory:
            self._write(entry)
        size, end = self.position - start, self.position
        if count >= 0xFFFF or end >= self.LIMIT:
            self._write(struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, count, count, size, start))
            self._write(struct.pack("<IIQI", 0x07064B50, 0, end, 1))
        few = min(count, 0xFFFF)
        self._write(
            struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, few, few, min(size, self.LIMIT), min(start, self.LIMIT), 0)
        )

    def _write(self, data) -> None:
        self.file.write(data)
        self.position += len(data)


class ArchiveReader:
    """Finds records of a zip archive; every size is checked against the file before any memory is asked for."""

    def __init__(self, file, name: str):
        self.file = file
        self.size = file.seek(0, os.SEEK_END)
        try:
            entries = zipfile.ZipFile(file).infolist()
        except Exception as error:  # zipfile raises many kinds for damaged directories
            self.damaged("failed finding central directory", str(error), cause=error)
        self.records: dict[str, zipfile.ZipInfo] = {}
        if not entries or "/" not in entries[0].filename:
            self.damaged("file in archive is not in a subdirectory", name)
        prefix = entries[0].filename.split("/")[0] + "/"
        for entry in entries:
            short = entry.filename.removeprefix(prefix)
            if short in self.records:
                self.damaged(f"record {short} is there twice", name)
            if (
                entry.compress_type != zipfile.ZIP_STORED
                or entry.compress_size != entry.file_size
                or entry.flag_bits & 1
            ):
                fail(
                    RuntimeError,
                    f"PytorchStreamReader failed reading file {short}: file read failed",
                    expected="records stored as they are, as torch.save does: what is read is never larger than the file",
                    got="a compressed or encrypted record",
                    mend="unpack the archive and pack it again without compression (zip -0), if you trust its source",
                )
            self.records[short] = entry
        total = sum(entry.file_size for entry in entries)
        if total > self.size:
            self.damaged("records overlap", f"{total} bytes of records in a file of {self.size}")
        if "version" not in self.records:
            self.damaged("failed locating file version: file not found", name)
        # Archives written without checksums (torch.serialization.set_crc32_options(False)) have zeros for all of them.
        self.checked = "data.pkl" not in self.records or self.records["data.pkl"].CRC != 0

    def damaged(self, what: str, got: str, cause: BaseException | None = None) -> NoReturn:
        """RuntimeError in the words of PyTorch's reader."""
        text = explain(
            f"PytorchStreamReader failed reading zip archive: {what}",
            expected="a file written by torch.save or facula.save",
            got=got,
            mend="the file is truncated or was changed after it was written: copy it again, or load an earlier checkpoint",
        )
        raise RuntimeError(text) from cause

    def entry(self, name: str) -> zipfile.ZipInfo:
        found = self.records.get(name)
        if found is None:
            fail(
                RuntimeError,
                f"PytorchStreamReader failed locating file {name}: file not found",
                got=f"records {', '.join(sorted(self.records)[:8])}{', ...' if len(self.records) > 8 else ''}",
                mend="the archive is incomplete: copy it again, or load an earlier checkpoint",
            )
        return found

    def offset(self, name: str) -> int:
        """Where in the file the record's bytes begin."""
        entry = self.entry(name)
        self.file.seek(entry.header_offset)
        header = self.file.read(30)
        if len(header) == 30 and header[:4] == b"PK\x03\x04":
            length, extra = struct.unpack_from("<HH", header, 26)
            begin = entry.header_offset + 30 + length + extra
            if begin + entry.file_size <= self.size and self.file.read(length) == entry.orig_filename.encode(
                "utf-8", "replace"
            ):
                return begin
        self.damaged(
            f"failed reading file {name}: its header is damaged", f"offset {entry.header_offset} of {self.size}"
        )

    def read_into(self, name: str, memory) -> None:
        """Fill `memory`, whose length is the record's, and verify the checksum."""
        begin = self.offset(name)
        memory = memoryview(memory).cast("B")
        self.file.seek(begin)
        filled = 0
        while filled < len(memory):
            if hasattr(self.file, "readinto"):
                count = self.file.readinto(memory[filled:])
            else:
                data = self.file.read(len(memory) - filled)
                count = len(data)
                memory[filled : filled + count] = data
            if not count:
                self.damaged(f"failed reading file {name}: file read failed", f"{filled} of {len(memory)} bytes")
            filled += count
        if self.checked and zlib.crc32(memory) != self.entry(name).CRC:
            self.damaged(f"failed reading file {name}: file read failed", "a wrong checksum: bytes have changed")

    def read(self, name: str) -> bytes:
        data = bytearray(self.entry(name).file_size)
        self.read_into(name, data)
        return bytes(data)


# ---------------------------------------------------------------------------------------------------------------------
# Tensors and storages as pickles describe them


class TypedStorage:
    """A storage with the dtype under which a pickle mentions it."""

    __slots__ = ("dtype", "storage")

    def __init__(self, storage: Storage, dtype: dtypes.dtype):
        self.storage = storage
        self.dtype = dtype

    def __reduce__(self):
        """Outside `save`, the bytes go into the pickle: a checkpoint of its own."""
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


def _load_from_bytes(data: bytes):
    return load(io.BytesIO(data), weights_only=True)


def _storage_bytes(storage: Storage) -> memoryview:
    """The memory of a storage on this machine."""
    if storage.nbytes == 0:
        return memoryview(b"")
    if storage.device.type != "cpu":
        fail(RuntimeError, f"cannot save a storage on {storage.device}", mend="save tensor.cpu()")
    return memoryview((ctypes.c_char * storage.nbytes).from_address(storage.ptr)).cast("B")


def _new_storage(nbytes: int) -> tuple[Storage, memoryview]:
    """New aligned memory, and the same as bytes to be filled."""
    memory = np.empty(nbytes + ALIGNMENT, np.uint8)
    memory = memory[-memory.ctypes.data % ALIGNMENT :][:nbytes]
    return Storage(memory.ctypes.data, nbytes, memory), memoryview(memory)


def _integers(values, what: str) -> tuple[int, ...]:
    if not isinstance(values, tuple | list) or any(type(value) is not int for value in values):
        raise TypeError(f"{what} should be a tuple of ints, not {type(values).__name__}")
    if any(not -(1 << 63) <= value < 1 << 63 for value in values):
        fail(RuntimeError, "numel: integer multiplication overflow", got=f"{what} with numbers of more than 64 bits")
    return tuple(values)


def _check_layout(nbytes: int, itemsize: int, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> None:
    """RuntimeError unless every element lies inside a storage of `nbytes` bytes."""
    (offset,) = _integers((offset,), "storage offset")
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


def _view(storage: Storage, dtype: dtypes.dtype, offset: int, size, stride, requires_grad: bool) -> Tensor:
    """A leaf tensor that shows this part of the storage."""
    size, stride = _integers(size, "size"), _integers(stride, "stride")
    _check_layout(storage.nbytes, dtype.itemsize, offset, size, stride)
    if requires_grad and dtype.kind not in "fc":
        fail(RuntimeError, "only Tensors of floating point dtype can require gradients", got=str(dtype))
    new = object.__new__(Tensor)
    new.spec = spec(dtype, storage.device, Size(size), stride)
    new.storage = storage
    new.ptr = storage.ptr + offset * dtype.itemsize
    new.requires_grad_, new.edge, new.base, new.seen, new.extra, new._grad = (
        bool(requires_grad),
        None,
        None,
        0,
        None,
        None,
    )
    return new


_CONJUGATES: WeakKeyDictionary = WeakKeyDictionary()  # of a storage: {(dtype, conjugated, negated): the changed copy}


def _conjugated(tensor: Tensor, metadata: dict) -> Tensor:
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
        values = np.frombuffer(_storage_bytes(storage)[:whole], dtype.numpy)
        values = values.conj() if conj else values
        values = np.ascontiguousarray(-values if negate else values)
        copy, memory = _new_storage(whole)
        memory[:] = memoryview(values).cast("B") if whole else b""
        copies[dtype, conj, negate] = copy
    offset = (tensor.ptr - storage.ptr) // dtype.itemsize
    return _view(copy, dtype, offset, tuple(tensor.shape), tensor.spec.strides, tensor.requires_grad_)


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
    tensor = _view(storage.storage, storage.dtype, storage_offset, size, stride, requires_grad)
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
    size, stride = _integers(size, "size"), _integers(stride, "stride")
    reach = sum((n - 1) * s for n, s in zip(size, stride)) + 1 if 0 not in size else 0
    storage = Storage(0, max(reach, 0) * dtype.itemsize, None, device("meta"))
    return _view(storage, dtype, 0, size, stride, requires_grad)


def _loaded_parameter() -> type | None:
    """nn.Parameter, or None as long as nobody has imported it, hence nobody has one."""
    return getattr(sys.modules.get("facula.nn.parameter"), "Parameter", None)


def _parameter_class() -> type:
    return importlib.import_module("facula.nn.parameter").Parameter


def _rebuild_parameter(data, requires_grad, backward_hooks):
    _no_hooks(backward_hooks)
    if not isinstance(data, Tensor):
        raise TypeError(f"_rebuild_parameter needs a tensor, got {type(data).__name__}")
    return _parameter_class()(data, requires_grad)


def _rebuild_parameter_with_state(data, requires_grad, backward_hooks, state):
    return _with_state(_rebuild_parameter(data, requires_grad, backward_hooks), state)


def _with_state(tensor: Tensor, state) -> Tensor:
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
    return _with_state(tensor, state) if state else tensor


REBUILDERS = {
    function.__name__: function
    for function in (
        _rebuild_tensor, _rebuild_tensor_v2, _rebuild_tensor_v3, _rebuild_meta_tensor_no_storage,
        _rebuild_parameter, _rebuild_parameter_with_state,
    )
}  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# Names: what a pickle calls torch.X is facula.Y. Both spellings are read, PyTorch's is written.

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


def _torch_name(module: str, name: str, value) -> tuple[str, str]:
    """PyTorch's name of something that facula defines."""
    found = WRITTEN.get(id(value))
    if found is not None:
        return found
    if value is not None and value is _loaded_parameter():
        return "torch.nn.parameter", "Parameter"
    if module == "facula" or module.startswith("facula."):
        place = module
        while place:  # the public module that shows it: facula.nn.linear.Linear is facula.nn.Linear
            public = sys.modules.get(place)
            if public is not None and getattr(public, name, None) is value:
                module = place
            place = place.rpartition(".")[0]
        return "torch" + module[len("facula") :], name
    return module, name


def _resolve(module: str, name: str):
    """What `module.name` of PyTorch, or of facula, is here; AttributeError or ModuleNotFoundError where nothing is."""
    if module.partition(".")[0] == "facula":
        module = "torch" + module[len("facula") :]
    if module == "torch.serialization" and name in REBUILDERS:
        module = "torch._utils"
    if (module, name) in NAMES:
        return NAMES[module, name]
    if (module, name) == ("torch.nn.parameter", "Parameter"):
        return _parameter_class()
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


# ---------------------------------------------------------------------------------------------------------------------
# Writing


def _reduce(obj):
    """How tensors and their companions are pickled; NotImplemented for everything else."""
    if isinstance(obj, Tensor):
        own = [getattr(base, "__reduce_ex__") for base in (Tensor, _loaded_parameter()) if base]
        return reduce_tensor(obj) if type(obj).__reduce_ex__ in own else NotImplemented
    kind = type(obj)
    if kind is device:
        return device, (str(obj.type),) if obj.index is None else (obj.type, obj.index)
    if kind is dtypes.dtype or kind is StorageType:
        return WRITTEN[id(obj)][1]
    return NotImplemented


def reduce_tensor(tensor: Tensor) -> tuple:
    """The function and arguments that make the tensor again, as `Tensor.__reduce_ex__` gives them.

    Hooks and history are left out; views of one storage keep sharing it.
    """
    kind, state = type(tensor), tensor.__dict__
    arguments: tuple
    if kind is _loaded_parameter():
        data = object.__new__(Tensor)
        for slot in ("spec", "storage", "ptr"):
            setattr(data, slot, getattr(tensor, slot))
        data.requires_grad_, data.edge, data.base, data.seen, data.extra, data._grad = False, None, None, 0, None, None
        arguments = data, tensor.requires_grad_, OrderedDict()
        return (_rebuild_parameter_with_state, (*arguments, dict(state))) if state else (_rebuild_parameter, arguments)
    form = tensor.spec
    if form.device.type == "meta":
        function = _rebuild_meta_tensor_no_storage
        arguments = form.dtype, tuple(form.shape), form.strides, tensor.requires_grad_
    else:
        function = _rebuild_tensor_v2
        offset = (tensor.ptr - tensor.storage.ptr) // form.dtype.itemsize
        typed = TypedStorage(tensor.storage, form.dtype)
        arguments = typed, offset, tuple(form.shape), form.strides, tensor.requires_grad_, OrderedDict()
    if kind is Tensor and not state:
        return function, arguments
    return _rebuild_from_type_v2, (function, kind, arguments, dict(state))


class StorageTable:
    """Numbers the storages that a pickle mentions."""

    def __init__(self):
        self.storages: list[Storage] = []  # also keeps them alive, so that ids stay theirs
        self.numbers: dict[int, str] = {}
        self.seen_as: dict[int, dtypes.dtype] = {}

    def persistent_id(self, obj):
        if type(obj) is TypedStorage:
            storage, dtype, mention = obj.storage, obj.dtype, TYPE_OF_DTYPE[obj.dtype]
        elif type(obj) is Storage:
            storage, dtype, mention = obj, dtypes.uint8, UntypedStorage
        else:
            return None
        if storage.nbytes and self.seen_as.setdefault(storage.ptr, dtype) is not dtype:
            fail(
                RuntimeError,
                "Cannot save multiple tensors or storages that view the same data as different types",
                got=f"{self.seen_as[storage.ptr]} and {dtype}",
                mend="clone() one of them",
            )
        key = self.numbers.get(id(storage))
        if key is None:
            key = self.numbers[id(storage)] = str(len(self.storages))
            self.storages.append(storage)
        return "storage", mention, key, str(storage.device), storage.nbytes // dtype.itemsize


class CheckpointPickler(pickle._Pickler):  # the Python pickler: only it lets us say under which name a thing is written
    """Pickles objects under PyTorch's names."""

    def __init__(self, file, protocol: int, table: StorageTable):
        super().__init__(file, protocol)
        self.persistent_id = table.persistent_id

    def reducer_override(self, obj):
        return _reduce(obj)

    def save_global(self, obj, name=None):
        if name is None:
            name = getattr(obj, "__qualname__", None) or getattr(obj, "__name__", str(obj))
        module = pickle.whichmodule(obj, name) if not isinstance(obj, dtypes.dtype | StorageType) else "facula"
        written = _torch_name(module, name, obj)
        if written == (module, name):
            super().save_global(obj, name)
        else:
            self.write(pickle.GLOBAL + "{}\n{}\n".format(*written).encode())
            self.memoize(obj)

    dispatch = dict(pickle._Pickler.dispatch)


def _save_type(self, obj):
    if obj in (type(None), type(NotImplemented), type(...)):
        return pickle._Pickler.save_type(self, obj)
    return self.save_global(obj)


CheckpointPickler.dispatch[type] = _save_type
CheckpointPickler.dispatch[type(_save_type)] = CheckpointPickler.save_global


def _pickle(obj, pickle_module, protocol: int) -> tuple[bytes, StorageTable]:
    table, buffer = StorageTable(), io.BytesIO()
    if pickle_module is pickle:
        CheckpointPickler(buffer, protocol, table).dump(obj)
    else:  # another pickler writes names its own way: facula's, which `load` knows too

        class OtherPickler(pickle_module.Pickler):
            def persistent_id(self, obj):
                return table.persistent_id(obj)

            def reducer_override(self, obj):
                reduced = _reduce(obj)
                if reduced is NotImplemented:
                    reduced = getattr(super(), "reducer_override", lambda _: NotImplemented)(obj)
                elif type(reduced) is str:
                    reduced = _resolve, WRITTEN[id(obj)]
                return reduced

        OtherPickler(buffer, protocol=protocol).dump(obj)
    return buffer.getvalue(), table


def save(
    obj,
    f,
    pickle_module: Any = pickle,
    pickle_protocol: int = DEFAULT_PROTOCOL,
    _use_new_zipfile_serialization: bool = True,
    _disable_byteorder_record: bool = False,
) -> None:
    """Write an object to a file that both facula and PyTorch load.

    A file given by its path is replaced as a whole once all is written: a crash leaves the old file or the new one.

    Parameters
    ----------
    obj : object
        Anything that can be pickled; tensors that share memory share it again when they are loaded.
    f : str, os.PathLike or file-like
        A path, or an object with `write`.
    pickle_module : module
        Where the pickler comes from.
    pickle_protocol : int
        2 is what PyTorch reads with `weights_only=True`.

    Examples
    --------
    >>> import io
    >>> buffer = io.BytesIO()
    >>> save({"step": 3}, buffer)
    >>> _ = buffer.seek(0)
    >>> load(buffer)
    {'step': 3}
    """
    is_path = isinstance(f, str | os.PathLike)
    if not is_path and not hasattr(f, "write"):
        raise AttributeError("expected 'f' to be string, path, or a file-like object with a 'write' attribute")
    if not _use_new_zipfile_serialization:
        fail(
            RuntimeError,
            "facula writes PyTorch's zip format only",
            mend="leave out _use_new_zipfile_serialization=False",
        )
    data, table = _pickle(obj, pickle_module, pickle_protocol)
    records: list[tuple[str, Any]] = [
        ("data.pkl", data),
        (".format_version", b"1"),
        (".storage_alignment", str(ALIGNMENT).encode()),
    ]
    if not _disable_byteorder_record:
        records.append(("byteorder", sys.byteorder.encode()))
    prefix = "archive"
    if is_path:
        name = os.path.basename(os.fspath(f))
        stem = name.rpartition(".")[0] if "." in name else name
        if not stem:
            fail(RuntimeError, f"invalid file name: {os.fspath(f)}", mend="give the file a name before its ending")
        prefix = stem if stem.isascii() else prefix

    def write(file) -> None:
        archive = ArchiveWriter(file, prefix)
        for name, content in records:
            archive.record(name, content)
        for number, storage in enumerate(table.storages):
            archive.record(f"data/{number}", _storage_bytes(storage))
        archive.finish()

    if is_path:
        _write_atomically(os.fspath(f), write)
    else:
        write(f)
        if hasattr(f, "flush"):
            f.flush()


def _write_atomically(path: str, write: Callable) -> None:
    """Write a file beside `path`, make sure that it is on the disk, and put it in its place."""
    path = os.path.realpath(path)  # a link keeps pointing where it points
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        fail(
            RuntimeError,
            f"Parent directory {folder} does not exist.",
            mend="make it with os.makedirs(folder, exist_ok=True)",
        )
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        mode = None
    if mode is not None and not stat.S_ISREG(mode):  # a device or a pipe cannot be replaced; a folder raises here
        with open(path, "wb") as file:
            return write(file)
    handle, temporary = tempfile.mkstemp(prefix=os.path.basename(path) + ".", suffix=".tmp", dir=folder)
    try:
        with open(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, stat.S_IMODE(mode) if mode is not None else 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _umask() -> int:
    """The permissions that new files do not get; only `os.umask` tells, by setting it."""
    try:
        with open("/proc/self/status") as status:  # without a moment in which another thread sees a changed mask
            return next(int(line.split()[1], 8) for line in status if line.startswith("Umask:"))
    except (OSError, StopIteration):
        mask = os.umask(0o077)
        os.umask(mask)
        return mask


# ---------------------------------------------------------------------------------------------------------------------
# Reading: what the restricted unpickler may name and call

_SAFE: set = set()  # what the user added: callables, or pairs (callable, full name)
BLOCKED = {"sys", "os", "posix", "nt"}  # never, whatever the user added


def add_safe_globals(safe_globals: list) -> None:
    """Let `load(..., weights_only=True)` use these classes and functions.

    Parameters
    ----------
    safe_globals : list
        Classes or functions, or pairs of one and the full name under which checkpoints mention it.

    Examples
    --------
    >>> from fractions import Fraction
    >>> with safe_globals([Fraction]):
    ...     Fraction in get_safe_globals()
    True
    """
    _SAFE.update(safe_globals)


def get_safe_globals() -> list:
    """What was added by `add_safe_globals`.

    >>> get_safe_globals()
    []
    """
    return list(_SAFE)


def clear_safe_globals() -> None:
    """Forget what was added by `add_safe_globals`."""
    _SAFE.clear()


@contextmanager
def safe_globals(safe_globals: list):
    """Within a `with` block, let `load(..., weights_only=True)` use these classes and functions; see `add_safe_globals`."""
    added = set(safe_globals) - _SAFE
    _SAFE.update(added)
    try:
        yield
    finally:
        _SAFE.difference_update(added)


def _added() -> dict[str, Any]:
    """Full name -> what the user allowed."""
    result = {}
    for entry in _SAFE:
        if isinstance(entry, tuple):
            if len(entry) != 2:
                raise ValueError(
                    f"Expected tuple of length 2 (global, str of callable full path), but got tuple of length: {len(entry)}"
                )
            if type(entry[1]) is not str:
                raise TypeError(
                    f"Expected second item in tuple to be str of callable full path, but got: {type(entry[1])}"
                )
            result[entry[1]] = entry[0]
        else:
            result[f"{entry.__module__}.{entry.__qualname__}"] = entry
            module, name = _torch_name(entry.__module__, entry.__qualname__, entry)
            result[f"{module}.{name}"] = entry
    return result


def _hashable(key):
    """A key of a dict or set: no deep or repetitive tuples, whose hash would take the whole stack or forever."""
    level, items = [key], 0
    for _ in range(50):
        level = [tuple_ for tuple_ in level if type(tuple_) is tuple]
        items += sum(map(len, level))
        if not level:
            return key
        if items > 100_000:
            break
        level = [item for tuple_ in level for item in tuple_]
    raise pickle.UnpicklingError("a key is a tuple nested too deeply")


def _call_encode(text, encoding="utf-8"):
    if type(text) is not str or encoding not in ("latin1", "latin-1", "utf-8", "ascii"):
        raise pickle.UnpicklingError("only strings can be encoded, as latin1 or utf-8")
    return text.encode(encoding)


def _call_bytearray(data=b"", encoding="latin-1"):
    return bytearray(data if type(data) is bytes else _call_encode(data, encoding))


def _call_mapping(kind: type):
    def call(*args):
        items = args[0].items() if args and isinstance(args[0], dict) else args[0] if args else ()
        return kind(dict((_hashable(key), value) for key, value in items))

    return call


def _call_from_type(function, new_type, args, state):
    if function not in REBUILDERS.values():
        raise pickle.UnpicklingError(f"Trying to call reduce for unrecognized function {function}")
    if not (new_type is Tensor or new_type is _parameter_class() or new_type in _added().values()):
        raise pickle.UnpicklingError(
            f"Can only create new object for nn.Parameter or classes allowlisted via `add_safe_globals` but got {new_type}"
        )
    return _rebuild_from_type_v2(function, new_type, args, state)


# What the restricted unpickler may call, and how: {what it is: what is called in its stead}.
CALLS: dict[Any, Callable] = {function: function for function in REBUILDERS.values()}
CALLS |= {
    _rebuild_from_type_v2: _call_from_type,
    OrderedDict: _call_mapping(OrderedDict),
    Counter: _call_mapping(Counter),
    Size: lambda sizes: Size(_integers(sizes, "Size")),
    device: lambda kind, index=None: device(str(kind), index),
    complex: lambda real, imag: complex(real, imag),
    set: lambda items: {_hashable(item) for item in items},
    bytearray: _call_bytearray,
}
_encode = importlib.import_module("_codecs").encode
CALLS[_encode] = _call_encode
SAFE_NAMES: dict[str, Any] = {
    f"{module}.{name}": value for (module, name), value in NAMES.items() if name != "_load_from_bytes"
}
SAFE_NAMES |= {
    "collections.OrderedDict": OrderedDict, "collections.Counter": Counter, "_codecs.encode": _encode,
    "builtins.bytearray": bytearray, "builtins.set": set, "builtins.complex": complex,
}  # fmt: skip


def _allowed(module: str, name: str):
    """What the restricted unpickler gets for a name; UnpicklingError where it is not allowed."""
    module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
    full = f"{module}.{name}"
    if module in BLOCKED:
        raise pickle.UnpicklingError(f"Trying to load unsupported GLOBAL {full} whose module {module} is blocked.")
    if module.partition(".")[0] == "facula":
        full = "torch" + full[len("facula") :]
        if full.startswith("torch.serialization._rebuild"):
            full = full.replace("serialization", "_utils", 1)
    if full in SAFE_NAMES:
        return SAFE_NAMES[full]
    if full == "torch.nn.parameter.Parameter":
        return _parameter_class()
    added = _added()
    for spelling in (f"{module}.{name}", full):
        if spelling in added:
            return added[spelling]
    if re.fullmatch(r"torch\.(u?int\d+|float\d\w*|complex32|q\w+\d+|bits\d\w*)|torch\.\w+Storage", full):
        raise pickle.UnpicklingError(f"facula has no {full}: GLOBAL {full} was not an allowed global by default.")
    full = full.removeprefix("builtins.")
    raise pickle.UnpicklingError(
        f"Unsupported global: GLOBAL {full} was not an allowed global by default. Please use "
        f"`torch.serialization.add_safe_globals([{full}])` or the `torch.serialization.safe_globals([{full}])` context "
        "manager to allowlist this global if you trust this class/function."
    )


class RestrictedUnpickler:
    """Executes a pickle's instructions, of which only those in `OPCODES` exist; names come from `_allowed`, calls from `CALLS`."""

    def __init__(self, data: bytes, persistent_load: Callable, find: Callable = _allowed):
        self.data = data
        self.position = 0
        self.persistent_load = persistent_load
        self.find = find
        self.stack: list = []
        self.marks: list[list] = []
        self.memo: dict[int, Any] = {}
        self.allowance = 100 * len(data) + 1_000_000  # elements that calls may copy, so that small files stay small

    def load(self):
        code = None
        try:
            while True:
                code = self.take(1)[0]
                if code == pickle.STOP[0]:
                    return self.stack.pop()
                step = OPCODES.get(code)
                if step is None:
                    raise pickle.UnpicklingError(f"Unsupported operand {code}")
                step(self)
        except (
            LookupError,
            TypeError,
            ValueError,
            AttributeError,
            OverflowError,
            RecursionError,
            struct.error,
        ) as error:
            if code == pickle.BINPERSID[0]:  # not the pickle's fault but the user's map_location's
                raise
            raise pickle.UnpicklingError(
                f"the pickle is damaged: {type(error).__name__} {error} at byte {self.position} of {len(self.data)}"
            ) from error

    def take(self, count: int) -> bytes:
        end = self.position + count
        if count < 0 or end > len(self.data):
            raise pickle.UnpicklingError(
                f"the pickle ends early: {count} bytes wanted at {self.position} of {len(self.data)}"
            )
        part = self.data[self.position : end]
        self.position = end
        return part

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> str:
        end = self.data.find(b"\n", self.position)
        if end < 0:
            raise pickle.UnpicklingError("the pickle ends early, within a name")
        return self.take(end + 1 - self.position)[:-1].decode()

    def marked(self) -> list:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def push_global(self):
        self.stack.append(self.find(self.line(), self.line()))

    def push_stack_global(self):
        name, module = self.stack.pop(), self.stack.pop()
        if type(name) is not str or type(module) is not str:
            raise pickle.UnpicklingError("STACK_GLOBAL requires str")
        self.stack.append(self.find(module, name))

    def reduce(self):
        args, function = self.stack.pop(), self.stack[-1]
        if type(args) is not tuple:
            raise pickle.UnpicklingError("REDUCE needs a tuple of arguments")
        call = _lookup(CALLS, function)
        if call is None and _is_added(function):
            call = function
        if call is None and isinstance(function, type) and function is _parameter_class():
            call = _new_parameter
        if call is None:
            raise pickle.UnpicklingError(f"Trying to call reduce for unrecognized function {function}")
        self.allowance -= sum(len(arg) for arg in args if isinstance(arg, str | bytes | list | tuple | dict))
        if self.allowance < 0:
            raise pickle.UnpicklingError("the pickle copies far more than it holds")
        self.stack[-1] = call(*args)

    def new_object(self):
        args, cls = self.stack.pop(), self.stack.pop()
        if isinstance(cls, type) and issubclass(cls, Tensor) and cls is _parameter_class():
            self.stack.append(_new_parameter(*args))
        elif _is_added(cls):
            self.stack.append(cls.__new__(cls, *args))
        elif cls in (OrderedDict, Counter, set) and not args:
            self.stack.append(cls())
        else:
            raise pickle.UnpicklingError(
                f"Can only create new object for nn.Parameter or classes allowlisted via `add_safe_globals` but got {cls}"
            )

    def build(self):
        state, made = self.stack.pop(), self.stack[-1]
        kind = type(made)
        if kind is OrderedDict:
            if type(state) is not dict:
                raise pickle.UnpicklingError("the attributes of an OrderedDict must be a dict")
            made.__dict__.update(state)
        elif isinstance(made, Tensor):
            _with_state(made, state)
        elif _is_added(kind):
            if hasattr(made, "__setstate__"):
                made.__setstate__(state)
            else:
                state, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
                if state:
                    made.__dict__.update(state)
                for name, value in (slots or {}).items():
                    setattr(made, name, value)
        else:
            raise pickle.UnpicklingError(
                f"Can only build Tensor, Parameter, OrderedDict or types allowlisted via `add_safe_globals`, but got {kind}"
            )

    def extend(self, items: list):
        if type(self.stack[-1]) is not list:
            raise pickle.UnpicklingError(f"Can only append to lists, but got {type(self.stack[-1])}")
        self.stack[-1].extend(items)

    def update(self, items: list):
        target = self.stack[-1]
        if type(target) not in (dict, OrderedDict, Counter):
            raise pickle.UnpicklingError(
                f"Can only SETITEMS for dict, collections.OrderedDict, collections.Counter, but got {type(target)}"
            )
        for i in range(0, len(items), 2):
            target[_hashable(items[i])] = items[i + 1]

    def add_items(self):
        items, target = self.marked(), self.stack[-1]
        if type(target) is not set:
            raise pickle.UnpicklingError(f"Can only add items to sets, but got {type(target)}")
        target.update(map(_hashable, items))

    def push_persistent(self):
        pid = self.stack.pop()
        if type(pid) is not tuple:
            raise pickle.UnpicklingError(f"persistent_load id must be tuple or int, but got {type(pid)}")
        if not pid or _text(pid[0]) != "storage":
            raise pickle.UnpicklingError(
                f"Only persistent_load of storage is allowed, but got {type(pid[0]) if pid else pid}"
            )
        self.stack.append(self.persistent_load(pid))

    def push_mark(self):
        self.marks.append(self.stack)
        self.stack = []

    def push_top(self, count: int):
        if len(self.stack) < count:
            raise pickle.UnpicklingError("the pickle is damaged: too little on the stack")
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def push_text(self, form: str):
        self.stack.append(str(self.take(self.number(form)), "utf-8", "surrogatepass"))

    def push_long(self, form: str):
        self.stack.append(int.from_bytes(self.take(self.number(form)), "little", signed=True))


def _lookup(table: dict, key):
    try:
        return table.get(key)
    except TypeError:  # it cannot be hashed, hence is no key
        return None


def _is_added(value) -> bool:
    return any(value is found for found in _added().values())


def _new_parameter(data=None, requires_grad=True):
    if data is not None and not isinstance(data, Tensor):
        raise pickle.UnpicklingError(f"a Parameter holds a tensor, got {type(data)}")
    return _parameter_class()(data, requires_grad)


def _text(value):
    return value.decode("ascii") if isinstance(value, bytes) else value


def _pushes(make: Callable) -> Callable:
    return lambda machine: machine.stack.append(make(machine))


_Machine = RestrictedUnpickler
OPCODES: dict[int, Callable] = {
    getattr(pickle, name)[0]: step
    for name, step in {
        "PROTO": lambda m: m.take(1),
        "FRAME": lambda m: m.take(8),
        "GLOBAL": _Machine.push_global,
        "STACK_GLOBAL": _Machine.push_stack_global,
        "REDUCE": _Machine.reduce,
        "NEWOBJ": _Machine.new_object,
        "BUILD": _Machine.build,
        "APPEND": lambda m: m.extend([m.stack.pop()]),
        "APPENDS": lambda m: m.extend(m.marked()),
        "SETITEM": lambda m: m.update([m.stack.pop(-2), m.stack.pop()]),
        "SETITEMS": lambda m: m.update(m.marked()),
        "ADDITEMS": _Machine.add_items,
        "MARK": _Machine.push_mark,
        "POP": lambda m: m.stack.pop(),
        "POP_MARK": lambda m: m.marked(),
        "TUPLE": _pushes(lambda m: tuple(m.marked())),
        "TUPLE1": lambda m: m.push_top(1),
        "TUPLE2": lambda m: m.push_top(2),
        "TUPLE3": lambda m: m.push_top(3),
        "NONE": _pushes(lambda m: None),
        "NEWFALSE": _pushes(lambda m: False),
        "NEWTRUE": _pushes(lambda m: True),
        "EMPTY_TUPLE": _pushes(lambda m: ()),
        "EMPTY_LIST": _pushes(lambda m: []),
        "EMPTY_DICT": _pushes(lambda m: {}),
        "EMPTY_SET": _pushes(lambda m: set()),
        "BININT": _pushes(lambda m: m.number("<i")),
        "BININT1": _pushes(lambda m: m.number("<B")),
        "BININT2": _pushes(lambda m: m.number("<H")),
        "BINFLOAT": _pushes(lambda m: m.number(">d")),
        "LONG1": lambda m: m.push_long("<B"),
        "LONG4": lambda m: m.push_long("<I"),
        "BINUNICODE": lambda m: m.push_text("<I"),
        "SHORT_BINUNICODE": lambda m: m.push_text("<B"),
        "BINUNICODE8": lambda m: m.push_text("<Q"),
        "SHORT_BINSTRING": _pushes(lambda m: m.take(m.number("<B")).decode("utf-8")),
        "SHORT_BINBYTES": _pushes(lambda m: m.take(m.number("<B"))),
        "BINBYTES": _pushes(lambda m: m.take(m.number("<I"))),
        "BINBYTES8": _pushes(lambda m: m.take(m.number("<Q"))),
        "BYTEARRAY8": _pushes(lambda m: bytearray(m.take(m.number("<Q")))),
        "BINPERSID": _Machine.push_persistent,
        "BINGET": _pushes(lambda m: m.memo[m.number("<B")]),
        "LONG_BINGET": _pushes(lambda m: m.memo[m.number("<I")]),
        "BINPUT": lambda m: m.memo.__setitem__(m.number("<B"), m.stack[-1]),
        "LONG_BINPUT": lambda m: m.memo.__setitem__(m.number("<I"), m.stack[-1]),
        "MEMOIZE": lambda m: m.memo.__setitem__(len(m.memo), m.stack[-1]),
    }.items()
}


# ---------------------------------------------------------------------------------------------------------------------
# Reading: files

UNSAFE_MESSAGE = (
    "Re-running `torch.load` with `weights_only` set to `False` will likely succeed, but it can result in arbitrary "
    "code execution. Do it only if you got the file from a trusted source."
)


def _weights_only_message(message: str) -> str:
    """PyTorch's explanation of why a file was not loaded."""
    if "was not an allowed global by default" in message:
        return (
            "Weights only load failed. This file can still be loaded, to do so you have two options, do those steps only "
            f"if you trust the source of the checkpoint.\n\t(1) {UNSAFE_MESSAGE}\n\t(2) Alternatively, to load with "
            f"`weights_only=True` please check the recommended steps in the following error message.\n"
            f"\tWeightsUnpickler error: {message}"
        )
    return f"Weights only load failed. {UNSAFE_MESSAGE}\n\n{message}"


def _restore(storage: Storage, location: str) -> Storage:
    """The storage on the device that `location` names."""
    if location == "cpu":
        return storage
    if location == "meta":
        return Storage(0, storage.nbytes, None, device("meta"))
    if location.startswith("cuda"):
        fail(
            RuntimeError,
            "Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is False. If you are running on "
            "a CPU-only machine, please use torch.load with map_location=torch.device('cpu') to map your storages to the CPU.",
        )
    fail(
        RuntimeError,
        f"don't know how to restore data location of torch.storage.UntypedStorage (tagged with {location})",
    )


def _restorer(map_location) -> Callable[[Storage, str], Storage]:
    """What puts each storage where `map_location` wants it."""
    if map_location is None:
        return _restore
    if isinstance(map_location, dict):
        return lambda storage, location: _restore(storage, str(map_location.get(location, location)))
    if isinstance(map_location, str | bytes | device):
        place = str(_text(map_location))
        return lambda storage, location: _restore(storage, place)
    if not callable(map_location):
        raise TypeError(
            f"map_location should be a device, a string, a dict or a function, not {type(map_location).__name__}"
        )

    def restore(storage, location):
        result = map_location(storage, location)
        return _restore(storage, location) if result is None else result

    return restore


class Checkpoint:
    """An open archive: gives the storages that its pickle mentions."""

    def __init__(self, archive: ArchiveReader, map_location, mapped: memory_map.mmap | None):
        self.archive = archive
        self.restore = _restorer(map_location)
        self.mapped = mapped
        self.loaded: dict[str, Storage] = {}
        order = archive.read("byteorder") if "byteorder" in archive.records else b"little"
        if order not in (b"little", b"big"):
            raise ValueError(f"Unknown endianness type: {order.decode('utf-8', 'replace')}")
        self.swap = order.decode() != sys.byteorder

    def storage(self, pid: tuple) -> TypedStorage:
        """The storage that a persistent id of the pickle means."""
        if len(pid) != 5:
            raise pickle.UnpicklingError(f"a storage is named by five things, got {len(pid)}")
        _, kind, key, location, numel = pid
        key, location = _text(key), _text(location)
        if kind is not UntypedStorage and type(kind) is not StorageType:
            raise pickle.UnpicklingError(f"not a storage type: {kind!r}")
        if type(key) is not str or type(location) is not str or type(numel) is not int or not 0 <= numel < 1 << 59:
            raise pickle.UnpicklingError(
                f"not the name, place and size of a storage: {key!r}, {location!r}, {type(numel)}"
            )
        dtype = dtypes.uint8 if kind is UntypedStorage else kind.dtype
        storage = self.loaded.get(key)
        if storage is None:
            storage = self.loaded[key] = self.restore(self._read(key, dtype, numel), location)
            if not isinstance(storage, Storage):
                raise TypeError(f"map_location should return None or a storage, not {type(storage).__name__}")
        return TypedStorage(storage, dtype)

    def _read(self, key: str, dtype: dtypes.dtype, numel: int) -> Storage:
        name = f"data/{key}"
        size, nbytes = self.archive.entry(name).file_size, numel * dtype.itemsize
        if size != nbytes:
            fail(
                RuntimeError,
                f"record size ({size} bytes) does not match expected size ({nbytes} bytes = {numel} elements * "
                f"{dtype.itemsize} bytes/element) for dtype {dtype}",
            )
        if self.mapped is not None and not self.swap and nbytes:
            offset = self.archive.offset(name)
            if offset % dtype.itemsize == 0:
                memory = np.frombuffer(self.mapped, np.uint8, nbytes, offset)
                return Storage(memory.ctypes.data, nbytes, memory)
        storage, memory = _new_storage(nbytes)
        self.archive.read_into(name, memory)
        if self.swap:
            part = dtype.itemsize // (2 if dtype.kind == "c" else 1)
            np.frombuffer(memory, f"u{part}").byteswap(inplace=True)
        return storage


def _is_zip(file) -> bool:
    start = file.tell()
    magic = file.read(4)
    file.seek(start)
    return magic == b"PK\x03\x04"


def load(
    f,
    map_location=None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    **pickle_load_args,
):
    """Read what `save`, or PyTorch's `torch.save`, wrote.

    By default nothing in the file is executed: only tensors, plain Python values and what `add_safe_globals` names are made.

    Parameters
    ----------
    f : str, os.PathLike or file-like
        A path, or an object with `read`, `seek` and `tell`.
    map_location : device, str, dict or function, optional
        Where storages go: one place for all, {place in the file: place}, or a function of a storage and its place in the file
        that returns a storage or None.
    pickle_module : module, optional
        Where the unpickler comes from when `weights_only=False`.
    weights_only : bool, optional
        False lets the file run any code it likes: only for files whose source you trust.
    mmap : bool, optional
        Map the file instead of reading it: its bytes are read when they are used, and changes to them stay in memory.

    Returns
    -------
    object
        What was saved.

    Raises
    ------
    RuntimeError
        The file is damaged, or a tensor reaches outside its storage.
    pickle.UnpicklingError
        The file names something that is not allowed.

    Examples
    --------
    >>> import io
    >>> buffer = io.BytesIO()
    >>> save([1, "two"], buffer)
    >>> _ = buffer.seek(0)
    >>> load(buffer)
    [1, 'two']
    """
    if weights_only is None:
        weights_only = pickle_module is None
        if os.environ.get("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "0").lower() in ("1", "y", "yes", "true"):
            warnings.warn(
                "Environment variable TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD detected, since the `weights_only` argument was not "
                "explicitly passed to `torch.load`, forcing weights_only=False.",
                stacklevel=2,
            )
            weights_only = False
    if os.environ.get("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "0").lower() in ("1", "y", "yes", "true"):
        weights_only = True
    if weights_only and pickle_module is not None:
        raise RuntimeError("Can not safely load weights when explicit pickle_module is specified")
    if pickle_load_args and weights_only:
        warnings.warn("pickle_load_args only works if `weights_only=False`.", stacklevel=2)
    if isinstance(f, str | os.PathLike):
        with open(f, "rb") as file:
            return _load(
                file, os.fspath(f), map_location, pickle_module or pickle, weights_only, bool(mmap), pickle_load_args
            )
    try:
        f.seek(f.tell())
    except (io.UnsupportedOperation, AttributeError) as error:
        text = f"{error}. You can only torch.load from a file that is seekable. Please pre-load the data into a buffer like io.BytesIO"
        raise type(error)(f"{text} and try to load from it instead.") from None
    if mmap:
        raise ValueError("f must be a file path in order to use the mmap argument")
    return _load(f, type(f).__name__, map_location, pickle_module or pickle, weights_only, False, pickle_load_args)


def _load(file, name: str, map_location, pickle_module, weights_only: bool, mapped: bool, options: dict):
    if not _is_zip(file):
        _not_zip(file, name, weights_only)
    archive = ArchiveReader(file, name)
    if "constants.pkl" in archive.records:
        fail(
            RuntimeError,
            "facula does not load TorchScript archives",
            got=name,
            mend="save the state_dict with torch.save instead",
        )
    data = archive.read("data.pkl")
    memory = memory_map.mmap(file.fileno(), 0, access=memory_map.ACCESS_COPY) if mapped else None
    checkpoint = Checkpoint(archive, map_location, memory)
    if weights_only:
        try:
            return RestrictedUnpickler(data, checkpoint.storage).load()
        except pickle.UnpicklingError as error:
            raise pickle.UnpicklingError(_weights_only_message(str(error))) from error.__cause__

    class TrustingUnpickler(pickle_module.Unpickler):
        def find_class(self, module, name):
            root = module.partition(".")[0]
            return _resolve(module, name) if root in ("torch", "facula") else super().find_class(module, name)

        def persistent_load(self, pid):
            if not isinstance(pid, tuple) or not pid or _text(pid[0]) != "storage":
                raise pickle.UnpicklingError(
                    f"Unknown typename for persistent_load, expected 'storage' but got {pid!r}"
                )
            return checkpoint.storage(pid)

    return TrustingUnpickler(io.BytesIO(data), **{"encoding": "utf-8", **options}).load()


def _not_zip(file, name: str, weights_only: bool) -> NoReturn:
    head = file.read(16)
    if not head:
        raise EOFError(explain("Ran out of input", got=f"{name}: an empty file", mend="copy the checkpoint again"))
    if head[2:14] == b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19":  # the magic number of the format before 1.6
        fail(
            RuntimeError,
            "the file has PyTorch's format from before version 1.6, which facula does not read yet",
            expected="the zip format of torch.save",
            got=name,
            mend="load it with PyTorch and save it again there",
        )
    message = explain("not a checkpoint: it does not begin as a zip archive does", got=f"{name}: {head[:8]!r}")
    raise pickle.UnpicklingError(_weights_only_message(message) if weights_only else message)


def get_unsafe_globals_in_checkpoint(f) -> list[str]:
    """The names in a checkpoint that `load(..., weights_only=True)` would refuse; nothing is executed.

    Parameters
    ----------
    f : str, os.PathLike or file-like
        The checkpoint.

    Returns
    -------
    list of str
        Full names.

    Examples
    --------
    >>> import io
    >>> from fractions import Fraction
    >>> buffer = io.BytesIO()
    >>> save({"a": Fraction(1, 2)}, buffer)
    >>> get_unsafe_globals_in_checkpoint(buffer)
    ['fractions.Fraction']
    """
    if isinstance(f, str | os.PathLike):
        with open(f, "rb") as file:
            return get_unsafe_globals_in_checkpoint(file)
    data = ArchiveReader(f, str(f)).read("data.pkl")
    found = []
    import pickletools

    texts: list = []
    for opcode, argument, _ in pickletools.genops(data):
        if isinstance(argument, str):
            texts.append(argument)
        pair = (
            argument.split(" ", 1) if opcode.name == "GLOBAL" else texts[-2:] if opcode.name == "STACK_GLOBAL" else None
        )
        if pair:
            try:
                _allowed(*pair)
            except pickle.UnpicklingError:
                module, name = NAME_MAPPING.get(tuple(pair), (IMPORT_MAPPING.get(pair[0], pair[0]), pair[1]))
                found.append(f"{module}.{name}")
    return sorted(set(found))
