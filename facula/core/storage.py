"""Memory and its version counter; who allocates it is the business of `targets`."""

from .device import CPU
from .device import device as Device

__all__ = ["Storage"]


class Storage:
    """A block of memory that tensors look at: its address, its size, and how often it was written in place."""

    __slots__ = ("__weakref__", "device", "nbytes", "owner", "ptr", "version")

    ptr: int  # address of the first byte
    nbytes: int
    version: int  # grows with each in-place write; `autograd` compares it with what it was when a value was saved
    owner: object  # whatever keeps the memory alive: a block of the pool, a NumPy array, a memory map
    device: Device

    def __call__(self):
        raise NotImplementedError(
            "Tensor.storage() is not implemented: a storage has no dtype here\n  mend: use untyped_storage()"
        )

    def __init__(self, ptr: int, nbytes: int, owner: object, device: Device = CPU):
        self.ptr = ptr
        self.nbytes = nbytes
        self.version = 0
        self.owner = owner
        self.device = device
