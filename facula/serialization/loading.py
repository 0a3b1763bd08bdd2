"""`load`: finds out what a file is and puts storages in their places; `unpickler` says what its pickle may do."""

import io
import mmap as memory_map
import os
import pickle
import sys
import warnings
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable
from typing import Any

import numpy as np

from facula import launch
from facula.core import dtype as dtypes
from facula.core.device import device
from facula.core.storage import Storage
from facula.errors import fail
from facula.operators.storages import TypedStorage, UntypedStorage
from facula.utils.serialization import config

from .archive import ArchiveReader
from .options import LoadEndianness
from .places import restorer
from .saving import check_dill_version
from .tensors import LOADING, StorageType, new_storage, resolve, text_of
from .unpickler import RestrictedUnpickler, allowed

__all__ = ["get_unsafe_globals_in_checkpoint", "load"]

UNSAFE_MESSAGE = (
    "In PyTorch 2.6, we changed the default value of the `weights_only` argument in `torch.load` from `False` to "
    "`True`. Re-running `torch.load` with `weights_only` set to `False` will likely succeed, but it can result in "
    "arbitrary code execution. Do it only if you got the file from a trusted source."
)
TRUE = ("1", "y", "yes", "true")


def weights_only_message(message: str) -> str:
    """PyTorch's explanation of why a file was not loaded."""
    if "was not an allowed global by default" in message:
        return (
            "Weights only load failed. This file can still be loaded, to do so you have two options, do those steps "
            f"only if you trust the source of the checkpoint. \n\t(1) {UNSAFE_MESSAGE}\n\t(2) Alternatively, to load "
            "with `weights_only=True` please check the recommended steps in the following error message.\n"
            f"\tWeightsUnpickler error: {message}"
        )
    return f"Weights only load failed. {UNSAFE_MESSAGE}\n\n{message}"


def unpickler(file, pickle_module, options: dict, persistent_load: Callable) -> Any:
    """An unpickler without restrictions that knows PyTorch's names."""
    load_storage = persistent_load

    class TrustingUnpickler(pickle_module.Unpickler):
        def find_class(self, module, name):
            root = module.partition(".")[0]
            return resolve(module, name) if root in ("torch", "facula") else super().find_class(module, name)

        def persistent_load(self, pid):
            return load_storage(pid)

    return TrustingUnpickler(file, **{"encoding": "utf-8", **options})


def storage_id(pid, count: int) -> tuple:
    """(dtype, key, location, elements, what else there is): the parts of a persistent id, their types being right."""
    if not isinstance(pid, tuple) or not pid or text_of(pid[0]) != "storage":
        raise pickle.UnpicklingError(f"Unknown typename for persistent_load, expected 'storage' but got {pid!r:.200}")
    if len(pid) != count:
        raise pickle.UnpicklingError(f"a storage is named by {count} things, got {len(pid)}")
    kind: Any
    _, kind, key, location, numel, *more = pid
    key, location = text_of(key), text_of(location)
    if kind is not UntypedStorage and type(kind) is not StorageType:
        raise pickle.UnpicklingError(f"not a storage type: {kind!r:.80}")
    if type(key) is not str or type(location) is not str or type(numel) is not int or not 0 <= numel < 1 << 59:
        raise pickle.UnpicklingError(
            f"not the name, place and size of a storage: {key!r:.80}, {location!r:.80}, {type(numel)}"
        )
    return kind.dtype if isinstance(kind, StorageType) else dtypes.uint8, key, location, numel, *more


class Checkpoint:
    """An open archive: gives the storages that its pickle mentions."""

    def __init__(self, archive: ArchiveReader, map_location, mapped: memory_map.mmap | None):
        self.archive = archive
        self.restore = restorer(map_location)
        self.only_meta = isinstance(map_location, str | device) and str(map_location) == "meta"
        self.mapped = mapped
        self.loaded: dict[str, Storage] = {}
        self.swap = self._byteorder() != sys.byteorder

    def _byteorder(self) -> str:
        if "byteorder" in self.archive.records:
            order = self.archive.read("byteorder")
            if order not in (b"little", b"big"):
                raise ValueError(f"Unknown endianness type: {order.decode('utf-8', 'replace')}")
            return order.decode()
        default = config.load.endianness
        if default is None:
            return "little"
        return sys.byteorder if default is LoadEndianness.NATIVE else default.name.lower()

    def storage(self, pid: tuple) -> TypedStorage:
        """The storage that a persistent id of the pickle means."""
        dtype, key, location, numel = storage_id(pid, 5)
        storage = self.loaded.get(key)
        if storage is None:
            made = UntypedStorage(self._read(key, dtype, numel))
            storage = self.loaded[key] = (made if self.only_meta else self.restore(made, location))._storage
        return TypedStorage.of(storage, dtype)

    def _read(self, key: str, dtype: dtypes.dtype, numel: int) -> Storage:
        name = f"data/{key}"
        size, nbytes = self.archive.entry(name).file_size, numel * dtype.itemsize
        if size != nbytes:
            fail(
                RuntimeError,
                f"record size ({size} bytes) does not match expected size ({nbytes} bytes = {numel} elements * "
                f"{dtype.itemsize} bytes/element) for dtype {dtype}",
            )
        if self.only_meta:
            return launch.new_storage(nbytes, device("meta"))
        if LOADING.skip_data:
            return new_storage(nbytes, zeroed=True)[0]
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


def is_zip(file) -> bool:
    """Whether the file goes on as a zip archive does."""
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
        Map the file instead of reading it: its bytes are read when they are used, and changes to them stay in memory
        (see `set_default_mmap_options`). Checksums are then not looked at.
    **pickle_load_args
        For the unpickler when `weights_only=False`, as `encoding="latin1"`.

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
    weights_only = _restricted(weights_only, pickle_module)
    if pickle_load_args and weights_only:
        warnings.warn("pickle_load_args only works if `weights_only=False`.", stacklevel=2)
    mmap = config.load.mmap if mmap is None else mmap
    check_dill_version(pickle_module)
    how = map_location, (pickle_module or pickle), weights_only, bool(mmap), pickle_load_args
    if isinstance(f, str | os.PathLike):
        path = os.fspath(f)
        if str(path).endswith(".safetensors"):
            return _load_safetensors(path, map_location)
        with open(path, "r+b" if mmap and config.load.mmap_flags == memory_map.MAP_SHARED else "rb") as file:
            return _load(file, path, *how)
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
    return _load(f, type(f).__name__, *how)


def _restricted(weights_only: bool | None, pickle_module) -> bool:
    """Whether nothing in the file may run: what the caller says, or the environment, or the default."""
    always, never = (
        os.environ.get(name, "0").lower() in TRUE
        for name in ("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
    )
    given = weights_only
    weights_only = pickle_module is None if given is None else given
    if always and never:
        raise RuntimeError(
            "Only one of `TORCH_FORCE_WEIGHTS_ONLY_LOAD` or `TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD` should be set, but both "
            "were set."
        )
    if always:
        weights_only = True
    elif never and given is None:
        warnings.warn(
            "Environment variable TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD detected, since the`weights_only` argument was not "
            "explicitly passed to `torch.load`, forcing weights_only=False.",
            stacklevel=3,
        )
        weights_only = False
    if weights_only and pickle_module is not None:
        raise RuntimeError("Can not safely load weights when explicit pickle_module is specified")
    return weights_only


def _load_safetensors(path: str, map_location) -> dict[str, Any]:
    """Files of that library, which PyTorch knows by their ending."""
    if map_location is not None and not isinstance(map_location, str | bytes | device):
        kind = "dict" if isinstance(map_location, dict) else "callable"
        raise RuntimeError(
            f"Loading safetensors file with {kind} map_location is not supported. Use a device string or torch.device "
            "instead."
        )
    from facula.safetensors import load_file

    return load_file(path, device=str(text_of(map_location or "cpu")))


def _load(file, name: str, map_location, pickle_module, weights_only: bool, mapped: bool, options: dict):
    before = LOADING.map_location, LOADING.after
    LOADING.map_location, LOADING.after = map_location, None
    try:
        if is_zip(file):
            return _load_zip(file, name, map_location, pickle_module, weights_only, mapped, options)
        if mapped:
            raise RuntimeError(
                f"mmap can only be used with files saved with `torch.save({name}, "
                "_use_new_zipfile_serialization=True), please torch.save your checkpoint with this option in order to "
                "use mmap."
            )
        from .legacy import load_legacy

        return load_legacy(file, name, map_location, pickle_module, weights_only, options)
    except pickle.UnpicklingError as error:
        if not weights_only:
            raise
        raise pickle.UnpicklingError(weights_only_message(str(error))) from error.__cause__
    finally:
        LOADING.map_location, LOADING.after = before


def _load_zip(file, name: str, map_location, pickle_module, weights_only: bool, mapped: bool, options: dict):
    archive = ArchiveReader(file, name)
    if "constants.pkl" in archive.records:
        if weights_only:
            raise RuntimeError(
                "Cannot use ``weights_only=True`` with TorchScript archives passed to ``torch.load``. " + UNSAFE_MESSAGE
            )
        fail(
            RuntimeError,
            "facula does not load TorchScript archives",
            got=name,
            mend="save the state_dict with torch.save instead",
        )
    data = archive.read("data.pkl")
    memory = None
    if mapped and config.load.mmap_flags == memory_map.MAP_SHARED:
        memory = memory_map.mmap(file.fileno(), 0, access=memory_map.ACCESS_WRITE)
    elif mapped:
        memory = memory_map.mmap(file.fileno(), 0, access=memory_map.ACCESS_COPY)
    checkpoint = Checkpoint(archive, map_location, memory)
    if weights_only:
        return RestrictedUnpickler(data, checkpoint.storage).load()
    return unpickler(io.BytesIO(data), pickle_module, options, checkpoint.storage).load()


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
    >>> _ = buffer.seek(0)
    >>> get_unsafe_globals_in_checkpoint(buffer)
    ['fractions.Fraction']
    """
    if isinstance(f, str | os.PathLike):
        with open(f, "rb") as file:
            return get_unsafe_globals_in_checkpoint(file)
    if not is_zip(f):
        raise ValueError("Expected input to be a checkpoint returned by torch.save")
    archive = ArchiveReader(f, str(f))
    if "constants.pkl" in archive.records:
        raise ValueError("Expected input to be a checkpoint returned by torch.save but got a torchscript checkpoint")
    data = archive.read("data.pkl")
    import pickletools

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
