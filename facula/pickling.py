"""How tensors are pickled: as `serialization` says, which is imported when the first one is."""

from typing import Any

from facula.core.tensor import Tensor

__all__ = ["reduce_ex"]


def reduce_ex(self: Any, protocol: int) -> tuple:
    """The function and arguments that make the tensor again."""
    from facula.serialization.saving import reduce_tensor

    return reduce_tensor(self)


Tensor.__reduce_ex__ = reduce_ex
