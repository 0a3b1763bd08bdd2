"""Memory that is nowhere: an address that no kernel can be called with, tensors on it, numbers to stand for theirs."""

from collections.abc import Sequence
from functools import total_ordering
from typing import Any, NoReturn

import numpy as np

from facula.core.device import device
from facula.core.shape import reach
from facula.core.spec import Spec
from facula.core.storage import Storage
from facula.core.tensor import Tensor
from facula.errors import fail

__all__ = ["Address", "empty", "fetch", "new_storage", "refused"]

META = device("meta")


@total_ordering
class Address:
    """How far from the beginning of a storage that has no memory; machine code that asks for a number gets an error.

    It takes part in the arithmetic of addresses, so that views have offsets, and is no int: nothing that reads or
    writes memory can be called with it by mistake.

    Examples
    --------
    >>> start = Address(0)
    >>> (start + 8) - start, start + 8 > start, int(start + 8)
    (8, True, 0)
    """

    __slots__ = ("offset",)

    def __init__(self, offset: int):
        self.offset = offset

    def __add__(self, step: int) -> "Address":
        return Address(self.offset + step)

    __radd__ = __add__

    def __sub__(self, other: "Address | int") -> Any:
        return self.offset - other.offset if isinstance(other, Address) else Address(self.offset - other)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and self.offset == other.offset

    def __lt__(self, other: object) -> bool:
        return isinstance(other, Address) and self.offset < other.offset

    def __hash__(self) -> int:
        return hash(self.offset)

    def __int__(self) -> int:
        return 0

    def __index__(self) -> NoReturn:
        fail(
            RuntimeError,
            "Expected all tensors to be on the same device, but found at least two devices, cpu and meta!",
            mend="a meta tensor has no data; make it on the CPU, or move the others to 'meta'",
        )

    def __repr__(self) -> str:
        return f"Address({self.offset})"


START = Address(0)


def new_storage(nbytes: int) -> Storage:
    """A storage that says it has so many bytes, and has none."""
    if nbytes < 0 or nbytes >= 2**63:
        fail(RuntimeError, f"Storage size calculation overflowed with {nbytes} bytes")
    return Storage(START, nbytes, None, META)  # pyright: ignore[reportArgumentType]


def empty(s: Spec) -> Tensor:
    """A tensor of a dense spec."""
    if s.nbytes >= 2**63:
        fail(RuntimeError, f"Storage size calculation overflowed with sizes={list(s.shape)}")
    out = object.__new__(Tensor)
    out.spec, out.storage = s, new_storage(s.nbytes)
    out.ptr = START  # pyright: ignore[reportAttributeAccessIssue]
    out.needs_grad, out.edge, out.base, out.seen, out.extra, out._grad = False, None, None, 0, None, None
    return out


def refused(*_, **__) -> NoReturn:
    """What a copy to the host is."""
    fail(
        NotImplementedError,
        "Cannot copy out of meta tensor; no data!",
        mend="make it with device='cpu'; a module that is on 'meta' with to_empty(device='cpu')",
    )


def fetch(specs: Sequence[Spec], addresses: Sequence[Address], attempt: int) -> list[np.ndarray] | None:
    """Memory of the operands' layouts for a function that is written with NumPy: its results have the right shapes.

    Matrices are identities: they have an inverse, a root and every decomposition. Whole numbers are 0, in a second
    attempt 1: indices count from 0 mostly, those of pivots from 1. None: there is no further attempt.
    """
    if attempt > 1:
        return None
    made = []
    for s in specs:
        flat = np.zeros(reach(s.shape, s.strides)[1] + 1 if s.numel else 1, s.dtype.bits)
        if s.dtype.kind not in "fc":
            flat[...] = attempt
        elif s.dtype.numpy is not None and s.numel:
            shown = np.lib.stride_tricks.as_strided(flat, s.shape, [n * flat.itemsize for n in s.strides])
            shown[...] = np.eye(*s.shape[-2:]) if s.ndim > 1 else 0.5
        made.append(flat)
    return made
