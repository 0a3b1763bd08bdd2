"""Files of PyTorch before version 1.6: a row of pickles with the storages behind them; before 0.2, a tar archive."""

import inspect
import io
import mmap
import pickle
import struct
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from facula.core import dtype as dtypes
from facula.core.storage import Storage
from facula.errors import explained, fail
from facula.operators.storages import TypedStorage, UntypedStorage

from .archive import write_all
from .loading import UNSAFE_MESSAGE, storage_id, unpickler
from .places import restorer
from .saving import StorageTable, host_bytes, pickled
from .tensors import LOADING, StorageType, new_storage, storage_bytes, text_of, view_of
from .unpickler import RestrictedUnpickler

__all__ = ["SourceChangeWarning", "load_legacy", "writer"]

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001


class SourceChangeWarning(Warning):
    """The source of a module's class is another one than when it was saved."""


# Writing


def writer(obj, path: str | None, pickle_module, protocol: int, byteorder: bool) -> Callable[[Any], None]:
    """A function that writes the object to an open file; the object is pickled now."""
    table = StorageTable()
    classes: dict[type, None] = {}

    def persistent_id(obj):
        if isinstance(obj, type) and obj not in classes and _is_module(obj):
            classes[obj] = None
            return ("module", obj, *_source(obj))
        found = table.persistent_id(obj)
        return None if found is None else (*found, None)

    system = {
        "protocol_version": PROTOCOL_VERSION,
        "little_endian": sys.byteorder == "little",
        "type_sizes": {"short": 2, "int": 4, "long": struct.calcsize("=l")},
    }
    head = [pickle_module.dumps(part, protocol) for part in (MAGIC_NUMBER, PROTOCOL_VERSION, system)]
    head.append(pickled(obj, pickle_module, protocol, persistent_id))
    order = sorted(range(len(table.storages)), key=str)
    head.append(pickle_module.dumps(list(map(str, order)), protocol))

    def write(file) -> None:
        write_all(file, b"".join(head))
        for number in order:
            storage, dtype = table.storages[number]
            data = host_bytes(storage)
            write_all(file, struct.pack("<q", len(data) // dtype.itemsize))
            if sys.byteorder == "big":
                data = _swapped(data, dtype)
            write_all(file, data)

    return write


def _is_module(kind: type) -> bool:
    module = sys.modules.get("facula.nn.module")
    return module is not None and issubclass(kind, module.Module)


def _source(kind: type) -> tuple[str | None, str | None]:
    """The file and the text of a class, so that a later change is noticed; not of facula's own."""
    if kind.__module__.partition(".")[0] == "facula":
        return None, None
    try:
        return inspect.getsourcefile(kind), inspect.getsource(kind)
    except (OSError, TypeError):
        warnings.warn(
            f"Couldn't retrieve source code for container of type {kind.__name__}. It won't be checked for correctness "
            "upon loading.",
            stacklevel=2,
        )
        return None, None


def _swapped(data, dtype: dtypes.dtype) -> bytes:
    """The bytes of elements in the other byte order."""
    part = dtype.itemsize // (2 if dtype.kind == "c" else 1)
    return np.frombuffer(data, f"u{part}").byteswap().tobytes()


# Reading


class Storages:
    """The storages that the pickle of an old file mentions; filled when their bytes have been found behind it."""

    def __init__(self, map_location, size: int):
        self.restore = restorer(map_location)
        self.left = size  # bytes of the file: no storage of it is larger
        self.read: dict[str, tuple[Storage, dtypes.dtype]] = {}  # where the bytes go
        self.placed: dict[str, Any] = {}
        self.views: dict[str, Any] = {}

    def persistent_load(self, pid):
        if isinstance(pid, tuple) and pid and text_of(pid[0]) == "module" and len(pid) == 4:
            _compare_source(*pid[1:])
            return pid[1]
        return self.storage(pid)

    def storage(self, pid) -> TypedStorage:
        """The storage that a persistent id of the pickle means."""
        dtype, key, location, numel, view = storage_id(pid, 6)
        made = self.placed.get(key)
        if made is None:
            nbytes = numel * dtype.itemsize
            self.left -= 0 if LOADING.skip_data else nbytes
            if self.left < 0:
                fail(RuntimeError, "the storages are larger than the file", got=f"one of {nbytes} bytes")
            storage = new_storage(nbytes, zeroed=LOADING.skip_data)[0]
            self.read[key] = storage, dtype
            made = self.placed[key] = self.restore(UntypedStorage(storage), location)._storage
        return TypedStorage.of(made if view is None else self._view(made, view, dtype.itemsize), dtype)

    def _view(self, root: Storage, view: Any, itemsize: int) -> Storage:
        """A part of a storage, which files of that time could have as a storage of its own."""
        if not isinstance(view, tuple) or len(view) != 3 or any(type(n) is not int for n in view[1:]):
            raise pickle.UnpicklingError(f"not a part of a storage: {view!r:.80}")
        key, offset, size = str(view[0]), view[1] * itemsize, view[2] * itemsize
        if not 0 <= offset <= offset + size <= root.nbytes:
            fail(RuntimeError, "a part of a storage lies outside of it", got=f"{view[1:]} of {root.nbytes} bytes")
        if key not in self.views:
            self.views[key] = Storage(root.ptr + offset, size, root, root.device)
        return self.views[key]

    def fill(self, keys: list, source: "Source") -> None:
        """Read the storages in the order of their names."""
        if type(keys) is not list or sorted(map(str, keys)) != sorted(self.read):
            fail(RuntimeError, "the file's list of storages is not that of its objects", got=f"{keys!r:.200}")
        for key in keys:
            storage, dtype = self.read[key]
            (count,) = struct.unpack("<q", source.take(8))
            if count * dtype.itemsize != storage.nbytes:
                fail(
                    RuntimeError,
                    f"storage has wrong byte size: expected {storage.nbytes} got {count * dtype.itemsize}",
                )
            memory = storage_bytes(storage)
            source.read_into(memory)
            if sys.byteorder == "big":
                memory[:] = _swapped(memory, dtype)
            placed = self.placed[key]
            if placed is not storage and placed.device.type != "meta":  # its bytes were not there when it was moved
                UntypedStorage(placed).copy_(UntypedStorage(storage).to(device=placed.device))


def _compare_source(kind, file: str | None, before: str | None) -> None:
    """Warn where the source of a module's class has changed since it was saved."""
    if not (file and before) or getattr(kind, "__module__", "").partition(".")[0] == "facula":
        return
    try:
        now = inspect.getsource(kind)
    except (OSError, TypeError):
        return
    if now != before:
        warnings.warn(
            f"source code of class '{kind.__module__}.{kind.__qualname__}' has changed. you can retrieve the original "
            "source code by accessing the object's source attribute or set `torch.nn.Module.dump_patches = True` and "
            "use the patch tool to revert the changes.",
            SourceChangeWarning,
            stacklevel=2,
        )


class Source:
    """The rest of a file, as the pickles and the bytes in it are taken one after the other."""

    def __init__(self, file):
        self.file = file
        self.start = file.tell()
        self.data: Any
        self.mapped = False
        try:
            if type(file).__module__ == "gzip":
                raise io.UnsupportedOperation
            self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self.position, self.mapped = self.start, True
        except (io.UnsupportedOperation, AttributeError, ValueError, OSError):
            if type(file) is io.BytesIO:
                self.data, self.position = file.getvalue(), self.start
            else:
                self.data, self.position = file.read(), 0
        self.base = self.start - self.position

    def __len__(self) -> int:
        return len(self.data) - self.position

    def take(self, count: int) -> memoryview:
        """The next bytes; RuntimeError where there are fewer."""
        if count > len(self):
            fail(
                RuntimeError,
                "unexpected EOF. The file might be corrupted.",
                expected=f"{count} bytes more",
                got=len(self),
                mend="copy it again, or load an earlier one",
            )
        begin, self.position = self.position, self.position + count
        return memoryview(self.data)[begin : self.position]

    def read_into(self, memory: memoryview) -> None:
        """Fill memory with the next bytes; RuntimeError where there are fewer."""
        if not self.mapped or not len(memory):
            memory[:] = self.take(len(memory))
            return
        self.file.seek(self.base + self.position)  # quicker than page after page of the mapping
        self.take(len(memory))
        filled = 0
        while filled < len(memory):
            count = self.file.readinto(memory[filled:])
            if not count:
                fail(RuntimeError, "unexpected EOF. The file might be corrupted.")
            filled += count

    def restricted(self, persistent_load: Callable) -> Any:
        """The object of the next pickle, which runs nothing."""
        machine = RestrictedUnpickler(self.data, persistent_load, position=self.position)
        found = machine.load()
        self.position = machine.position
        return found

    def trusted(self, pickle_module, options: dict, persistent_load: Callable) -> Any:
        """The object of the next pickle, which may run anything."""
        self.file.seek(self.base + self.position)
        found = unpickler(self.file, pickle_module, options, persistent_load).load()
        self.position = self.file.tell() - self.base
        return found

    def leave(self) -> None:
        """Put the file where the next object begins."""
        self.file.seek(self.base + self.position)


def load_legacy(file, name: str, map_location, pickle_module, weights_only: bool, options: dict) -> Any:
    """What a file that is no zip archive holds."""
    start = file.tell()
    head = file.read(512)
    file.seek(start)
    if not head:
        fail(EOFError, "Ran out of input", got=f"{name}: an empty file", mend="copy the checkpoint again")
    if start == 0 and head[257:262] == b"ustar":
        if weights_only:
            raise RuntimeError(
                "Cannot use ``weights_only=True`` with files saved in the legacy .tar format. " + UNSAFE_MESSAGE
            )
        return _load_tar(file, map_location, pickle_module, options)
    if head[:1] != b"\x80":
        fail(
            pickle.UnpicklingError,
            "not a checkpoint: it begins neither as a zip archive nor as a pickle",
            got=f"{name}: {head[:8]!r}",
        )
    source = Source(file)

    def next_pickle(persistent_load: Callable = _no_storage) -> Any:
        if weights_only:
            return source.restricted(persistent_load)
        return source.trusted(pickle_module, options, persistent_load)

    if next_pickle() != MAGIC_NUMBER:
        raise RuntimeError("Invalid magic number; corrupt file?")
    version = next_pickle()
    if version != PROTOCOL_VERSION:
        raise RuntimeError(f"Invalid protocol version: {version!r:.80}")
    next_pickle()  # of the machine that wrote it: of no importance
    storages = Storages(map_location, len(source))
    LOADING.after = []
    found = next_pickle(storages.persistent_load)
    keys = next_pickle()
    if not LOADING.skip_data:
        storages.fill(keys, source)
        for function in LOADING.after:
            function()
    source.leave()
    return found


def _no_storage(pid):
    raise pickle.UnpicklingError("a persistent id where there should be none")


def _load_tar(file, map_location, pickle_module, options: dict) -> Any:
    """A file of PyTorch 0.1: storages, tensors and the pickle of the rest are members of a tar archive."""
    import tarfile

    restore = restorer(map_location)
    things: dict[int, Any] = {}

    def persistent_load(pid):
        if isinstance(pid, tuple):
            _compare_source(*pid)
            return pid[0]
        return things[int(pid)]

    def member(name: str) -> io.BytesIO:
        part = archive.extractfile(name)
        if part is None:
            fail(RuntimeError, f"the archive's {name!r} is no file", mend="copy the checkpoint again")
        return io.BytesIO(part.read())

    def take(part: io.BytesIO, form: str) -> tuple:
        data = part.read(struct.calcsize(form))
        if len(data) != struct.calcsize(form):
            fail(RuntimeError, "unexpected EOF. The file might be corrupted.")
        return struct.unpack(form, data)

    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            part = member("storages")
            for _ in range(unpickler(part, pickle_module, options, persistent_load).load()):
                key, location, kind = unpickler(part, pickle_module, options, persistent_load).load()
                if not isinstance(kind, StorageType):
                    fail(RuntimeError, "not a storage type", got=f"{kind!r:.80}")
                (count,) = take(part, "<q")
                data = part.read(count * kind.dtype.itemsize)
                if len(data) != count * kind.dtype.itemsize:
                    fail(RuntimeError, "unexpected EOF. The file might be corrupted.")
                storage, memory = new_storage(len(data))
                memory[:] = _swapped(data, kind.dtype) if sys.byteorder == "big" else data
                placed = restore(UntypedStorage(storage), text_of(location))
                things[key] = TypedStorage.of(placed._storage, kind.dtype)
            for target, root, offset, count in unpickler(part, pickle_module, options, persistent_load).load():
                whole, size = things[root]._storage, things[root].dtype.itemsize
                if not 0 <= offset * size <= (offset + count) * size <= whole.nbytes:
                    fail(RuntimeError, "a part of a storage lies outside of it", got=f"{offset}, {count}")
                view = Storage(whole.ptr + offset * size, count * size, whole, whole.device)
                things[target] = TypedStorage.of(view, things[root].dtype)
            part = member("tensors")
            for _ in range(unpickler(part, pickle_module, options, persistent_load).load()):
                key, storage_key, _ = unpickler(part, pickle_module, options, persistent_load).load()
                (ndim, _) = take(part, "<ii")
                shape, strides = take(part, f"<{ndim}q"), take(part, f"<{ndim}q")
                (offset,) = take(part, "<q")
                storage = things[storage_key]
                things[key] = view_of(storage._storage, storage.dtype, offset, shape, strides, False)
            return unpickler(member("pickle"), pickle_module, options, persistent_load).load()
    except (tarfile.TarError, KeyError, struct.error) as error:
        got = f"{type(error).__name__} {error}"
        raise explained(RuntimeError, "the tar archive is damaged", got=got) from error
