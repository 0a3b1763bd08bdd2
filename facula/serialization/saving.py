"""`save`: pickles objects under PyTorch's names and puts their storages beside them; `archive` writes the file."""

import importlib
import io
import os
import pickle
import sys
from collections import OrderedDict
from typing import Any

from facula.core import dtype as dtypes
from facula.core.device import device
from facula.core.storage import Storage
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.operators.creation import record_of

from .archive import ALIGNMENT, ArchiveWriter, write_atomically
from .tensors import (
    TYPE_OF_DTYPE,
    WRITTEN,
    StorageType,
    TypedStorage,
    UntypedStorage,
    _rebuild_from_type_v2,
    _rebuild_meta_tensor_no_storage,
    _rebuild_parameter,
    _rebuild_parameter_with_state,
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
    if isinstance(obj, Tensor):
        own = [base.__reduce_ex__ for base in (Tensor, loaded_parameter()) if base]
        return reduce_tensor(obj) if type(obj).__reduce_ex__ in own else NotImplemented
    kind = type(obj)
    if kind is device:
        return device, (str(obj.type),) if obj.index is None else (obj.type, obj.index)
    if kind is dtypes.dtype or kind is StorageType:
        return WRITTEN[id(obj)][1]
    return NotImplemented


def reduce_tensor(tensor: Any) -> tuple:
    """The function and arguments that make the tensor again, as `Tensor.__reduce_ex__` gives them.

    Hooks and history are left out; views of one storage keep sharing it.
    """
    kind, state = type(tensor), tensor.__dict__
    arguments: tuple
    if kind is loaded_parameter():
        data = record_of(tensor.spec, tensor.storage, tensor.ptr)
        arguments = data, tensor.requires_grad, OrderedDict()
        return (_rebuild_parameter_with_state, (*arguments, dict(state))) if state else (_rebuild_parameter, arguments)
    form = tensor.spec
    if form.device.type == "meta":
        function = _rebuild_meta_tensor_no_storage
        arguments = form.dtype, tuple(form.shape), form.strides, tensor.requires_grad
    else:
        function = _rebuild_tensor_v2
        offset = (tensor.ptr - tensor.storage.ptr) // form.dtype.itemsize
        typed = TypedStorage(tensor.storage, form.dtype)
        arguments = typed, offset, tuple(form.shape), form.strides, tensor.requires_grad, OrderedDict()
        if form.dtype not in TYPE_OF_DTYPE:  # no storage class: the storage is mentioned as bytes, the dtype apart
            function, arguments = _rebuild_tensor_v3, (tensor.storage, *arguments[1:], form.dtype)
    if kind is Tensor and not state:
        return function, arguments
    return _rebuild_from_type_v2, (function, kind, arguments, dict(state))


def _for_multiprocessing() -> Any:
    """What shares memory, when it is multiprocessing that pickles, and nobody has told it of tensors yet; else None."""
    if sys._getframe(2).f_globals.get("__name__") != "multiprocessing.reduction":
        return None
    return importlib.import_module("facula.multiprocessing.reductions")


def _reduce_ex(self, protocol) -> tuple:
    shares = _for_multiprocessing()
    if shares is not None and type(self) in (Tensor, loaded_parameter()):
        return shares.reduce_tensor(self)
    return reduce_tensor(self)


def _reduce_storage_ex(self, protocol) -> tuple:
    shares = _for_multiprocessing()
    return TypedStorage(self, dtypes.uint8).__reduce__() if shares is None else shares.reduce_storage(self)


Tensor.__reduce_ex__ = _reduce_ex
Storage.__reduce_ex__ = _reduce_storage_ex


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


_Pickler: Any = vars(pickle)["_Pickler"]  # the Python pickler: only it lets us say under which name a thing is written


class CheckpointPickler(_Pickler):
    """Pickles objects under PyTorch's names."""

    def __init__(self, file, protocol: int, table: StorageTable):
        super().__init__(file, protocol)
        self.persistent_id = table.persistent_id

    def reducer_override(self, obj):
        return _reduce(obj)

    def save_global(self, obj, name=None):
        if name is None:
            name = getattr(obj, "__qualname__", None) or getattr(obj, "__name__", str(obj))
        module = whichmodule(obj, name) if not isinstance(obj, dtypes.dtype | StorageType) else "facula"
        written = torch_name(module, name, obj)
        if written == (module, name):
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
                    reduced = resolve, WRITTEN[id(obj)]
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
    >>> from facula.serialization import load
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
            archive.record(f"data/{number}", storage_bytes(storage))
        archive.finish()

    if is_path:
        write_atomically(os.fspath(f), write)
    else:
        write(f)
        if hasattr(f, "flush"):
            f.flush()
