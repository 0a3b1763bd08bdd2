"""`save`: pickles objects under PyTorch's names and puts their storages beside them; `archive` writes the file."""

import io
import os
import pickle
import re
import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from facula.core import dtype as dtypes
from facula.core.device import CPU, device
from facula.core.generator import Generator
from facula.core.layout import layout, sparse_coo
from facula.core.storage import Storage
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.operators.creation import record_of
from facula.operators.sparse import SparseTensor
from facula.operators.storages import TypedStorage, UntypedStorage
from facula.pickling import reduce_ex
from facula.utils.serialization import config

from .archive import ArchiveWriter, write_atomically
from .places import location_tag
from .tensors import (
    LOADING,
    TYPE_OF_DTYPE,
    UNTYPED,
    WRITTEN,
    StorageType,
    _get_layout,
    _rebuild_from_type_v2,
    _rebuild_meta_tensor_no_storage,
    _rebuild_parameter,
    _rebuild_parameter_with_state,
    _rebuild_sparse_tensor,
    _rebuild_tensor_v2,
    _rebuild_tensor_v3,
    loaded_parameter,
    resolve,
    storage_bytes,
    torch_name,
)

__all__ = ["reduce_tensor", "save"]

DEFAULT_PROTOCOL = 2
whichmodule: Any = vars(pickle)["whichmodule"]


def _reduce(obj):
    """How tensors and their companions are pickled; NotImplemented for everything else."""
    kind = type(obj)
    if isinstance(obj, Tensor):
        return reduce_tensor(obj) if kind.__reduce_ex__ is reduce_ex else NotImplemented
    if kind is layout:
        return _get_layout, (str(obj),)
    if kind is Generator:
        state: Any = obj
        place = None if obj.device is CPU else obj.get_offset()
        return Generator, (obj.device,), (obj.initial_seed(), place, state.get_state())
    if kind is device:
        return device, (str(obj.type),) if obj.index is None else (obj.type, obj.index)
    if kind.__module__ == "torch.return_types":
        return kind, (tuple(obj), {})
    if kind is dtypes.dtype:  # a text is the name in its module
        return "bool_" if obj is dtypes.bool_ else obj.name
    if kind is StorageType:
        return "UNTYPED" if obj is UNTYPED else WRITTEN[id(obj)][1]
    return NotImplemented


def reduce_tensor(tensor: Any) -> tuple:
    """The function and arguments that make the tensor again, as `Tensor.__reduce_ex__` gives them.

    Hooks and history are left out; views of one storage keep sharing it.
    """
    kind, state = type(tensor), state_of(tensor)
    arguments: tuple
    if tensor.extra:
        from facula.utils.hooks import warn_if_has_hooks

        warn_if_has_hooks(tensor)
    if isinstance(tensor, SparseTensor):
        return _rebuild_sparse_tensor, (
            sparse_coo, (tensor.places, tensor.kept.detach(), tensor.sizes, tensor.settled)
        )  # fmt: skip
    if kind is loaded_parameter():
        data = record_of(tensor.spec, tensor.storage, tensor.ptr)
        arguments = data, tensor.requires_grad, OrderedDict()
        return (_rebuild_parameter_with_state, (*arguments, state)) if state else (_rebuild_parameter, arguments)
    form = tensor.spec
    if form.device.type == "meta":
        function = _rebuild_meta_tensor_no_storage
        arguments = form.dtype, tuple(form.shape), form.strides, tensor.requires_grad
    else:
        function = _rebuild_tensor_v2
        offset = (tensor.ptr - tensor.storage.ptr) // form.dtype.itemsize
        typed = TypedStorage.of(tensor.storage, form.dtype)
        arguments = typed, offset, tuple(form.shape), form.strides, tensor.requires_grad, OrderedDict()
        if form.dtype not in TYPE_OF_DTYPE:  # no storage class: the storage is mentioned as bytes, the dtype apart
            function, arguments = _rebuild_tensor_v3, (UntypedStorage(tensor.storage), *arguments[1:], form.dtype)
    if kind is Tensor and not state:
        return function, arguments
    return _rebuild_from_type_v2, (function, kind, arguments, state)


def state_of(tensor: Any) -> Any:
    """The Python attributes of a tensor: a dict, or with slots of a subclass a pair of dicts."""
    kind = type(tensor)
    if kind is Tensor or kind is loaded_parameter():
        return tensor.__dict__
    if kind.__getstate__ is not object.__getstate__:
        return tensor.__getstate__()
    slots = {
        name: getattr(tensor, name)
        for base in kind.__mro__[: kind.__mro__.index(Tensor)]
        for name in _slots(base)
        if hasattr(tensor, name)
    }
    return (tensor.__dict__, slots) if slots else tensor.__dict__


def _slots(kind: type) -> list[str]:
    names = vars(kind).get("__slots__", ())
    names = (names,) if isinstance(names, str) else names
    return [name for name in names if name not in ("__dict__", "__weakref__")]


_STORAGES = (Storage, TypedStorage, UntypedStorage)


class StorageTable:
    """Numbers the storages that a pickle mentions."""

    def __init__(self):
        self.storages: list[tuple[Any, dtypes.dtype]] = []  # also keeps them alive, so that ids stay theirs
        self.numbers: dict[int, str] = {}
        self.seen_as: dict[int, dtypes.dtype] = {}

    def persistent_id(self, obj: Any):
        if not isinstance(obj, _STORAGES):
            return None
        obj = UntypedStorage(obj) if isinstance(obj, Storage) else obj
        typed = isinstance(obj, TypedStorage)
        storage, dtype = obj._storage, obj.dtype
        if typed and dtype not in TYPE_OF_DTYPE:
            fail(RuntimeError, f"a storage of {dtype} has no class in files", mend="save storage.untyped()")
        if (
            storage.nbytes
            and storage.device.type != "meta"
            and self.seen_as.setdefault(storage.ptr, dtype) is not dtype
        ):
            fail(
                RuntimeError,
                "Cannot save multiple tensors or storages that view the same data as different types",
                got=f"{self.seen_as[storage.ptr]} and {dtype}",
                mend="clone() one of them",
            )
        key = self.numbers.get(id(storage))
        if key is None:
            key = self.numbers[id(storage)] = str(len(self.storages))
            self.storages.append((obj, dtype))
        mention = TYPE_OF_DTYPE[dtype] if typed else UNTYPED
        return "storage", mention, key, location_tag(obj), storage.nbytes // dtype.itemsize


def host_bytes(storage) -> memoryview:
    """The bytes of a storage, fetched from where it is."""
    return storage_bytes((storage if storage.device.type == "meta" else storage.cpu())._storage)


_Pickler: Any = vars(pickle)["_Pickler"]  # the Python pickler: only it lets us say under which name a thing is written


class CheckpointPickler(_Pickler):
    """Pickles objects under PyTorch's names."""

    def __init__(self, file, protocol: int, persistent_id: Callable):
        super().__init__(file, protocol)
        self.persistent_id = persistent_id

    def reducer_override(self, obj):
        return _reduce(obj)

    def save_global(self, obj, name=None):
        if name is None:
            name = getattr(obj, "__qualname__", None) or getattr(obj, "__name__", str(obj))
        module = whichmodule(obj, name) if not isinstance(obj, dtypes.dtype | StorageType) else "facula"
        written = torch_name(module, name, obj)
        if written == (module, name) and id(obj) not in WRITTEN:
            super().save_global(obj, name)
        else:
            self.write(pickle.GLOBAL + "{}\n{}\n".format(*written).encode())
            self.memoize(obj)

    dispatch = dict(_Pickler.dispatch)


def _save_type(self, obj):
    if obj in (type(None), type(NotImplemented), type(...)):
        return _Pickler.save_type(self, obj)
    return self.save_global(obj)


CheckpointPickler.dispatch[type] = _save_type
CheckpointPickler.dispatch[type(_save_type)] = CheckpointPickler.save_global


class _NotByName(Exception):
    """Something is not where its module and name say."""


class _QuickPickler(pickle.Pickler):
    """Pickles with C, under facula's names, and remembers which of them stand for which of PyTorch's."""

    def __init__(self, file, protocol: int, persistent_id: Callable):
        super().__init__(file, protocol)
        self.persistent_id = persistent_id
        self.names: dict[tuple[str, str], tuple[str, str]] = {}

    def reducer_override(self, obj):
        reduced = _reduce(obj)
        kind = type(obj)
        if isinstance(obj, type) or kind is type(_reduce):
            name = obj.__qualname__
        elif kind is dtypes.dtype or kind is StorageType:
            name = reduced
        else:
            return reduced
        module = whichmodule(obj, name)
        written = torch_name(module, name, obj)
        if written != (module, name) or id(obj) in WRITTEN:
            if module.partition(".")[0] != "facula":
                raise _NotByName
            self.names[module, name] = written
        return reduced


def _quickly(obj, protocol: int, persistent_id: Callable) -> bytes | None:
    """The pickle by way of C, several times faster; None where the names in it cannot be told from other bytes.

    Each name is in the pickle once, as an instruction of a form of its own. Where the same bytes are there again, as a
    part of somebody's text, nothing is replaced.
    """
    buffer = io.BytesIO()
    pickler = _QuickPickler(buffer, protocol, persistent_id)
    try:
        pickler.dump(obj)
    except _NotByName:
        return None
    data = buffer.getvalue()
    for before, after in pickler.names.items():
        instruction = "c{}\n{}\n".format(*before).encode()
        if data.count(instruction) != 1:
            return None
        data = data.replace(instruction, "c{}\n{}\n".format(*after).encode())
    return data


def pickled(obj, pickle_module, protocol: int, persistent_id: Callable, quick: bool = False) -> bytes:
    """The pickle of an object, with what `persistent_id` names left out."""
    buffer = io.BytesIO()
    if pickle_module is pickle:
        if quick and protocol <= 3:
            data = _quickly(obj, protocol, persistent_id)
            if data is not None:
                return data
        CheckpointPickler(buffer, protocol, persistent_id).dump(obj)
    else:  # another pickler writes names its own way: facula's, which `load` knows too
        mentions = persistent_id

        class OtherPickler(pickle_module.Pickler):
            def persistent_id(self, obj):
                return mentions(obj)

            def reducer_override(self, obj):
                reduced = _reduce(obj)
                if reduced is NotImplemented:
                    reduced = getattr(super(), "reducer_override", lambda _: NotImplemented)(obj)
                if type(obj) in (dtypes.dtype, StorageType):
                    reduced = resolve, WRITTEN[id(obj)]
                return reduced

        OtherPickler(buffer, protocol=protocol).dump(obj)
    return buffer.getvalue()


def check_dill_version(pickle_module) -> None:
    """ValueError for a dill whose pickler cannot be extended."""
    if getattr(pickle_module, "__name__", "") == "dill":
        version = tuple(map(int, re.findall(r"\d+", pickle_module.__version__)[:3]))
        if version < (0, 3, 1):
            fail(
                ValueError,
                f"'torch' supports dill >= (0, 3, 1), but you have dill {pickle_module.__version__}. Please upgrade "
                "dill or switch to 'pickle'",
            )


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
    _use_new_zipfile_serialization : bool
        False writes PyTorch's format from before version 1.6.
    _disable_byteorder_record : bool
        Whether to leave the mark of the byte order out.

    Examples
    --------
    >>> import io
    >>> from facula.serialization import load
    >>> buffer = io.BytesIO()
    >>> save({"step": 3}, buffer)
    >>> _ = buffer.seek(0)
    >>> load(buffer)
    {'step': 3}
    """
    check_dill_version(pickle_module)
    is_path = isinstance(f, str | os.PathLike)
    if not is_path and not hasattr(f, "write"):
        raise AttributeError("expected 'f' to be string, path, or a file-like object with a 'write' attribute")
    if not _use_new_zipfile_serialization:
        if LOADING.skip_data:
            raise RuntimeError("Cannot use skip_data=True with _use_new_zipfile_serialization=False")
        from .legacy import writer
    else:
        writer = _zip_writer
    write = writer(
        obj, os.fspath(f) if is_path else None, pickle_module, pickle_protocol, not _disable_byteorder_record
    )
    if is_path:
        write_atomically(os.fspath(f), write)
    else:
        write(f)
        if hasattr(f, "flush"):
            f.flush()


def _zip_writer(obj, path: str | None, pickle_module, protocol: int, byteorder: bool) -> Callable[[Any], None]:
    """A function that writes the object to an open file; the object is pickled now."""
    table, options = StorageTable(), config.save
    data = pickled(obj, pickle_module, protocol, table.persistent_id, quick=True)
    records: list[tuple[str, Any]] = [
        ("data.pkl", data),
        (".format_version", b"1"),
        (".storage_alignment", str(options.storage_alignment).encode()),
    ]
    if byteorder:
        records.append(("byteorder", sys.byteorder.encode()))
    prefix = "archive"
    if path is not None:
        name = os.path.basename(path)
        stem = name.rpartition(".")[0] if "." in name else name
        if not stem:
            fail(RuntimeError, f"invalid file name: {path}", mend="give the file a name before its ending")
        prefix = stem if stem.isascii() else prefix
    skip_data = LOADING.skip_data

    def write(file) -> None:
        archive = ArchiveWriter(file, prefix, options.compute_crc32, options.storage_alignment)
        for name, content in records:
            archive.record(name, content)
        for number, (storage, _) in enumerate(table.storages):
            if skip_data:
                archive.gap(f"data/{number}", storage.nbytes())
            else:
                archive.record(f"data/{number}", host_bytes(storage))
        archive.finish()

    return write
