"""`torch.storage`: the memory of tensors as objects; what they do is in `operators/storages.py`."""

from facula.operators.storages import TypedStorage, UntypedStorage
from facula.serialization.tensors import _load_from_bytes

__all__ = ["TypedStorage", "UntypedStorage"]

assert _load_from_bytes  # plain pickles of PyTorch call it
