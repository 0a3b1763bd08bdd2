"""The Tensor record: what a tensor holds. What it can do is attached by `operators/methods.py`."""

from operator import attrgetter
from typing import Any

from .spec import Spec
from .storage import Storage

__all__ = ["Tensor"]


class Tensor:
    """A multi-dimensional array on a device, with the history that leads to its gradient."""

    __slots__ = (
        "__dict__",
        "__weakref__",
        "base",
        "edge",
        "extra",
        "ptr",
        "needs_grad",
        "seen",
        "spec",
        "storage",
        "_grad",
    )

    spec: Spec  # dtype, device, shape, strides
    storage: Storage  # the memory, shared by views
    ptr: int  # address of the first element, inside the storage
    edge: Any  # where its gradient goes: None (a leaf), a Node (its only output) or an Output of a Node
    base: "Tensor | None"  # of a view: the tensor whose memory it shows
    seen: int  # of a view: the storage's version for which `edge` is right
    extra: Any  # None, or the rare things: hooks, retained gradient, names

    shape = property(attrgetter("spec.shape"))
    dtype = property(attrgetter("spec.dtype"))
    device = property(attrgetter("spec.device"))
    ndim = property(attrgetter("spec.ndim"))
