"""How tensors are pickled: as `serialization` says, which is imported when the first one is."""

import importlib
import sys
from typing import Any, SupportsIndex

from facula.core.storage import Storage
from facula.core.tensor import Tensor

__all__ = ["reduce_ex"]


def _for_multiprocessing() -> Any:
    """What shares memory, when it is multiprocessing that pickles, and nobody has told it of tensors yet; else None."""
    if sys._getframe(2).f_globals.get("__name__") != "multiprocessing.reduction":
        return None
    return importlib.import_module("facula.multiprocessing.reductions")


def reduce_ex(self: Any, protocol: SupportsIndex) -> tuple:
    """The function and arguments that make the tensor again."""
    shares = _for_multiprocessing()
    from facula.serialization.saving import reduce_tensor
    from facula.serialization.tensors import loaded_parameter

    if shares is not None and type(self) in (Tensor, loaded_parameter()):
        return shares.reduce_tensor(self)
    return reduce_tensor(self)


def reduce_storage_ex(self: Any, protocol: SupportsIndex) -> tuple:
    """The function and arguments that make the record of memory again."""
    shares = _for_multiprocessing()
    if shares is not None:
        return shares.reduce_storage(self)
    from facula.operators.storages import UntypedStorage

    return UntypedStorage(self).__reduce_ex__(protocol)


Tensor.__reduce_ex__ = reduce_ex
Storage.__reduce_ex__ = reduce_storage_ex
