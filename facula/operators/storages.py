"""`torch.UntypedStorage` and `torch.FloatStorage`: the memory of tensors, as bytes or as elements in a row."""

from typing import Any

from facula import launch
from facula.core import dtype as dt
from facula.core import shared
from facula.core.device import CPU
from facula.core.device import device as Device
from facula.core.spec import dense
from facula.core.storage import Storage
from facula.core.tensor import Tensor
from facula.errors import fail

from . import creation, inplace

__all__ = ["STORAGE_NAMES", "TypedStorage", "UntypedStorage"]


class _Memory:
    """What both kinds have in common: `_storage`, the record, and `_row`, its elements as a vector."""

    _storage: Storage
    dtype: dt.dtype
    is_cuda = is_sparse = is_sparse_csr = False

    def _make(self, args: tuple, where=None) -> None:
        if len(args) > 1:
            fail(TypeError, f"{type(self).__name__}() takes at most one argument, a size or a sequence of numbers")
        given = args[0] if args else 0
        if isinstance(given, Storage):
            self._storage = given
        elif isinstance(given, int):
            self._storage = launch.new_storage(given * self.dtype.itemsize, CPU if where is None else Device(where))
        else:
            self._storage = creation.tensor(list(given), dtype=self.dtype).storage

    @property
    def _row(self) -> Tensor:
        n = self._storage.nbytes // self.dtype.itemsize
        return creation.record_of(dense(self.dtype, (n,), self._storage.device), self._storage, self._storage.ptr)

    def _like(self, storage: Storage) -> Any:
        made = object.__new__(type(self))
        made._storage, made.dtype = storage, self.dtype
        return made

    def __reduce_ex__(self, protocol):
        self._row.__reduce_ex__(protocol)  # brings what replaces this method
        return type(self).__reduce_ex__(self, protocol)

    def __deepcopy__(self, memo):
        if id(self._storage) not in memo:
            memo[id(self._storage)] = self.clone()._storage
        return self._like(memo[id(self._storage)])

    @property
    def device(self) -> Device:
        """Where the memory is."""
        return self._storage.device

    def data_ptr(self) -> int:
        """The address of the first byte."""
        return self._storage.ptr

    def nbytes(self) -> int:
        """How many bytes there are."""
        return self._storage.nbytes

    def element_size(self) -> int:
        """Bytes of an element."""
        return self.dtype.itemsize

    def size(self) -> int:
        """How many elements there are."""
        return self._storage.nbytes // self.dtype.itemsize

    __len__ = size

    def __getitem__(self, at):
        found = self._row[at]
        return found.item() if isinstance(at, int) else self._like(found.clone().storage)

    def __setitem__(self, at, value) -> None:
        self._row[at] = value._row if isinstance(value, _Memory) else value

    def __iter__(self):
        return iter(self.tolist())

    def tolist(self) -> list:
        """The elements as numbers."""
        return self._row.tolist()

    def clone(self):
        """A copy."""
        return self._like(self._row.clone().storage)

    def copy_(self, source, non_blocking: bool = False):
        """Write the elements of another storage over these."""
        inplace.copy_(self._row, source._row)
        return self

    def fill_(self, value):
        """Write one number over all elements."""
        inplace.fill_(self._row, value)
        return self

    def resize_(self, size: int):
        """Another size; what fits of the elements is kept."""
        if not self.resizable():
            fail(RuntimeError, "Trying to resize storage that is not resizable", got="memory that processes share")
        wanted = size * self.dtype.itemsize
        if wanted > self._storage.nbytes:
            inplace.grow(self._storage, wanted, self._storage.device)
        self._storage.nbytes = wanted
        return self

    def resizable(self) -> bool:
        """Whether it may be resized."""
        return not shared.is_shared(self._storage)

    def to(self, *, device, non_blocking: bool = False):
        """The storage on a device: itself where it is there."""
        there = Device(device)
        if there == self.device:
            return self
        return self._like(self._row.to(there).storage)

    def cpu(self):
        """The storage in the host's memory."""
        return self.to(device=CPU)

    def cuda(self, device=None, non_blocking: bool = False):
        """The storage in a GPU's memory."""
        return self.to(device=Device("cuda", device) if isinstance(device, int) else device or Device("cuda"))

    def get_device(self) -> int:
        """The number of the GPU; -1 on the CPU."""
        return -1

    def is_shared(self) -> bool:
        """Whether other processes see the memory."""
        return shared.is_shared(self._storage)

    def share_memory_(self):
        """Move the memory where other processes can see it; tensors on it move with it."""
        inplace.share(self._storage)
        return self

    def is_pinned(self, device=None) -> bool:
        """Whether it lies in page-locked memory."""
        return self._row.is_pinned()

    def pin_memory(self, device=None):
        """A copy in page-locked memory; the storage itself where it lies there."""
        pinned = self._row.pin_memory()
        return self if pinned is self._row else self._like(pinned.storage)

    def untyped(self) -> "UntypedStorage":
        """The same memory as bytes."""
        return UntypedStorage(self._storage)

    def __eq__(self, other) -> bool:
        return isinstance(other, _Memory) and other._storage is self._storage and other.dtype is self.dtype

    def __hash__(self) -> int:
        return id(self._storage)

    def __repr__(self) -> str:
        where = self._storage.device
        lines = "..." if launch.hollow(where) else "\n".join(f" {x}" for x in self.tolist())
        return f"{lines}\n[{self._title()} of size {self.size()}]"

    def _title(self) -> str:
        return f"torch.storage.{type(self).__name__}(device={self.device})"


class UntypedStorage(_Memory):
    """The memory of a tensor as bytes: `Tensor.untyped_storage()`."""

    __module__ = "torch.storage"
    dtype = dt.uint8

    def __init__(self, *args, device=None):
        self._make(args, device)

    @staticmethod
    def from_file(filename, shared: bool = False, nbytes: int = 0) -> "UntypedStorage":
        """The bytes of a file, read when they are used; `shared` writes changes to the file."""
        return UntypedStorage(creation.from_file(filename, shared, nbytes, dtype=dt.uint8).storage)

    def new(self) -> "UntypedStorage":
        """An empty one."""
        return UntypedStorage()

    @classmethod
    def _new_shared(cls, size: int, *, device="cpu") -> "UntypedStorage":
        """So many bytes that other processes can see."""
        return cls(shared.create(size))


class TypedStorage(_Memory):
    """The memory of a tensor as elements of a dtype."""

    __module__ = "torch.storage"

    def __init__(self, *args, wrap_storage: UntypedStorage | None = None, dtype=None, device=None):
        self.dtype = dtype or getattr(type(self), "dtype", None) or creation.DEFAULT.float
        if wrap_storage is None:
            self._make(args, device)
        else:
            self._storage = wrap_storage._storage

    @staticmethod
    def of(storage: Storage, dtype: dt.dtype) -> "TypedStorage":
        """A record's memory as elements of a dtype."""
        made = object.__new__(TypedStorage)
        made._storage, made.dtype = storage, dtype
        return made

    def _new_shared(self, size: int, *, device=None) -> "TypedStorage":
        """So many elements of this dtype that other processes can see."""
        return self._like(shared.create(size * self.dtype.itemsize))

    def type(self, dtype=None) -> str:
        """The name of its class in PyTorch."""
        return f"torch.{STORAGE_NAMES.get(self.dtype, 'Typed')}Storage"

    def _title(self) -> str:
        return f"torch.storage.TypedStorage(dtype={self.dtype!r}, device={self.device})"


STORAGE_NAMES = {
    dt.bfloat16: "BFloat16", dt.bool_: "Bool", dt.uint8: "Byte", dt.int8: "Char", dt.complex128: "ComplexDouble",
    dt.complex64: "ComplexFloat", dt.float64: "Double", dt.float32: "Float", dt.float16: "Half", dt.int32: "Int",
    dt.int64: "Long", dt.int16: "Short",
}  # fmt: skip
KINDS = [
    type(f"{_name}Storage", (TypedStorage,), {"dtype": _kind, "__module__": "torch"})
    for _kind, _name in STORAGE_NAMES.items()
]
globals().update({kind.__name__: kind for kind in KINDS})
