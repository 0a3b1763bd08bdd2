"""`load`: finds out what a file is and puts storages in their places; `unpickler` says what its pickle may do."""

import io
import mmap as memory_map
import os
import pickle
import pickletools
import sys
import warnings
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from facula import launch
from facula.core import dtype as dtypes
from facula.core.device import device
from facula.core.storage import Storage
from facula.errors import fail

from .archive import ArchiveReader
from .tensors import StorageType, TypedStorage, UntypedStorage, new_storage, resolve, text_of
from .unpickler import RestrictedUnpickler, allowed

__all__ = ["get_unsafe_globals_in_checkpoint", "load"]

UNSAFE_MESSAGE = (
    "Re-running `torch.load` with `weights_only` set to `False` will likely succeed, but it can result in arbitrary "
    "code execution. Do it only if you got the file from a trusted source."
)


def _weights_only_message(message: str) -> str:
    """PyTorch's explanation of why a file was not loaded."""
    if "was not an allowed global by default" in message:
        return (
            "Weights only load failed. This file can still be loaded, to do so you have two options, do those steps "
            f"only if you trust the source of the checkpoint.\n\t(1) {UNSAFE_MESSAGE}\n\t(2) Alternatively, to load "
            "with `weights_only=True` please check the recommended steps in the following error message.\n"
            f"\tWeightsUnpickler error: {message}"
        )
    return f"Weights only load failed. {UNSAFE_MESSAGE}\n\n{message}"


def _restore(storage: Storage, location: str) -> Storage:
    """The storage on the device that `location` names."""
    if location == "cpu":
        return storage
    if location == "meta":
        return launch.new_storage(storage.nbytes, device("meta"))
    if location.startswith("cuda"):
        fail(
            RuntimeError,
            "Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is False. If you are "
            "running on a CPU-only machine, please use torch.load with map_location=torch.device('cpu') to map your "
            "storages to the CPU.",
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
        place = str(text_of(map_location))
        return lambda storage, location: _restore(storage, place)
    if not callable(map_location):
        raise TypeError(
            f"map_location should be a device, a string, a dict or a function, not {type(map_location).__name__}"
        )

    def restore(storage: Storage, location: str) -> Any:
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
        kind: Any
        _, kind, key, location, numel = pid
        key, location = text_of(key), text_of(location)
        if kind is not UntypedStorage and type(kind) is not StorageType:
            raise pickle.UnpicklingError(f"not a storage type: {kind!r}")
        if type(key) is not str or type(location) is not str or type(numel) is not int or not 0 <= numel < 1 << 59:
            raise pickle.UnpicklingError(
                f"not the name, place and size of a storage: {key!r}, {location!r}, {type(numel)}"
            )
        dtype = kind.dtype if isinstance(kind, StorageType) else dtypes.uint8
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
        storage, memory = new_storage(nbytes)
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

    By default nothing in the file is executed: only tensors, plain Python values and what `add_safe_globals` names
    are made.

    Parameters
    ----------
    f : str, os.PathLike or file-like
        A path, or an object with `read`, `seek` and `tell`.
    map_location : device, str, dict or function, optional
        Where storages go: one place for all, {place in the file: place}, or a function of a storage and its place in
        the file that returns a storage or None.
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
    >>> from facula.serialization import save
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
                "Environment variable TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD detected, since the `weights_only` argument was "
                "not explicitly passed to `torch.load`, forcing weights_only=False.",
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
        text = (
            f"{error}. You can only torch.load from a file that is seekable. Please pre-load the data into a buffer "
            "like io.BytesIO and try to load from it instead."
        )
        raise type(error)(text) from None
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
            return resolve(module, name) if root in ("torch", "facula") else super().find_class(module, name)

        def persistent_load(self, pid):
            if not isinstance(pid, tuple) or not pid or text_of(pid[0]) != "storage":
                raise pickle.UnpicklingError(
                    f"Unknown typename for persistent_load, expected 'storage' but got {pid!r}"
                )
            return checkpoint.storage(pid)

    return TrustingUnpickler(io.BytesIO(data), **{"encoding": "utf-8", **options}).load()


def _not_zip(file, name: str, weights_only: bool) -> NoReturn:
    head = file.read(16)
    if not head:
        fail(EOFError, "Ran out of input", got=f"{name}: an empty file", mend="copy the checkpoint again")
    if head[2:14] == b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19":  # the magic number of the format before 1.6
        fail(
            RuntimeError,
            "the file has PyTorch's format from before version 1.6, which facula does not read yet",
            expected="the zip format of torch.save",
            got=name,
            mend="load it with PyTorch and save it again there",
        )
    message = "not a checkpoint: it does not begin as a zip archive does"
    fail(
        pickle.UnpicklingError,
        _weights_only_message(message) if weights_only else message,
        got=f"{name}: {head[:8]!r}",
    )


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
    >>> from facula.serialization import save
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
    texts: list[str] = []
    for opcode, argument, _ in pickletools.genops(data):
        if isinstance(argument, str):
            texts.append(argument)
        if opcode.name in ("GLOBAL", "STACK_GLOBAL"):
            module, _, name = " ".join(texts[-1:] if opcode.name == "GLOBAL" else texts[-2:]).partition(" ")
            try:
                allowed(module, name)
            except pickle.UnpicklingError:
                module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
                found.append(f"{module}.{name}")
    return sorted(set(found))
