"""How multiprocessing pickles tensors and storages: the memory moves where both sides see it.

Views of one storage stay views of one storage, also when they come one after the other; the memory goes when the last
process lets go of it.
"""

import os
from multiprocessing import reduction
from typing import Any
from weakref import WeakValueDictionary

from facula.core import dtype as dtypes
from facula.core import shared
from facula.core.locks import lasting_lock
from facula.core.storage import Storage
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.operators import inplace
from facula.operators import storages as handles
from facula.serialization.tensors import view_of

__all__ = ["init_reductions", "reduce_storage", "reduce_tensor"]

_known: WeakValueDictionary = WeakValueDictionary()  # (inode, device) of a file: the storage that shows it here
_lock = lasting_lock()


def fd_id(fd: int) -> tuple[int, int]:
    """What tells one file from all others."""
    found = os.fstat(fd)
    return found.st_ino, found.st_dev


def rebuild_storage(df: Any, nbytes: int) -> Storage:
    """The storage behind a descriptor that multiprocessing passed on."""
    return storage_of(df.detach(), nbytes)


def storage_of(fd: int, nbytes: int) -> Storage:
    """The storage behind a descriptor, which it takes over: the one that is here already, or a new mapping."""
    try:
        with _lock:
            key = fd_id(fd)
            found = _known.get(key)
            if found is not None:
                os.close(fd)
                return found
            block = shared.Block(fd, nbytes)
            fd = -1  # the block's
            made = _known[key] = Storage(block.address, nbytes, block)
            return made
    except BaseException:
        if fd >= 0:
            os.close(fd)
        raise


def rebuild_empty() -> Storage:
    return shared.create(0)


def reduce_storage(storage: Storage) -> tuple:
    """Of the record of memory."""
    if storage.device.type != "cpu":
        fail(
            RuntimeError,
            f"Cannot pickle {storage.device.type} storage; try pickling a {storage.device.type} tensor instead",
        )
    if storage.nbytes == 0:
        return rebuild_empty, ()
    inplace.share(storage)
    owner: Any = storage.owner
    fd = owner.descriptor()
    with _lock:
        _known[fd_id(fd)] = storage
    return rebuild_storage, (reduction.DupFd(fd), storage.nbytes)


def rebuild_tensor(kind: type, storage: Storage, metadata: tuple) -> Tensor:
    """A tensor on a storage; of the class Parameter, if it was one."""
    dtype, offset, size, stride, requires_grad = metadata
    tensor = view_of(storage, dtype, offset, size, stride, False)
    if kind is not Tensor:
        return kind(tensor, requires_grad)
    if requires_grad:
        tensor.requires_grad_()
    return tensor


def meta_storage(nbytes: int) -> Storage:
    from facula import launch
    from facula.core.device import device

    return launch.new_storage(nbytes, device("meta"))


def check_leaf(tensor: Any) -> None:
    if tensor.requires_grad and not tensor.is_leaf:
        fail(
            RuntimeError,
            "Cowardly refusing to serialize non-leaf tensor which requires_grad, since autograd does not support "
            "crossing process boundaries.  If you just want to transfer the data, call detach() on the tensor before "
            "serializing (e.g., putting it on the queue).",
        )


def reduce_tensor(tensor: Any) -> tuple:
    """Of a tensor or a parameter: what makes it again in another process, on the same memory.

    Raises
    ------
    RuntimeError
        It has a history, which cannot leave its process.
    """
    check_leaf(tensor)
    storage = tensor.storage
    if storage.nbytes and storage.device.type == "cpu" and not shared.is_shared(storage):
        del storage
        inplace.share(tensor)  # by the tensor: cheaper where nobody else is on its memory
    return describe(tensor, tensor)


def describe(tensor: Any, shown: Any) -> tuple:
    """What makes a tensor again, on the memory of the tensor `shown`, wherever that is."""
    check_leaf(tensor)
    form, storage = shown.spec, shown.storage
    offset = (shown.ptr - storage.ptr) // form.dtype.itemsize
    metadata = form.dtype, offset, tuple(form.shape), form.strides, tensor.requires_grad
    if form.device.type == "cuda":
        fail(
            NotImplementedError,
            "memory of a GPU is not shared between processes: CUDA IPC is not implemented",
            got=f"a tensor on {form.device}",
            mend="send x.cpu(), and move it to the GPU in the other process",
        )
    if form.device.type == "meta":
        return rebuild_meta, (type(tensor), storage.nbytes, metadata)
    return rebuild_tensor, (type(tensor), storage, metadata)


def rebuild_meta(kind: type, nbytes: int, metadata: tuple) -> Tensor:
    return rebuild_tensor(kind, meta_storage(nbytes), metadata)


def rebuild_handle(name: str, storage: Storage, dtype: dtypes.dtype):
    """`torch.UntypedStorage` or `torch.TypedStorage` of a record."""
    made = object.__new__(getattr(handles, name))
    made._storage, made.dtype = storage, dtype
    return made


def _reduce_handle(handle: Any) -> tuple:
    return rebuild_handle, (type(handle).__name__, handle._storage, handle.dtype)


def init_reductions() -> None:
    """Tell multiprocessing's pickler of all this."""
    from facula.nn.parameter import Parameter

    for kind in (Tensor, Parameter):
        reduction.register(kind, reduce_tensor)
    reduction.register(Storage, reduce_storage)
    for kind in (handles.UntypedStorage, handles.TypedStorage, *handles.KINDS):
        reduction.register(kind, _reduce_handle)
