"""Kernels that no declaration makes: made once, and bound once to sizes, strides and a device."""

from collections.abc import Callable, Sequence
from typing import Any

from facula import launch
from facula.core.device import device
from facula.core.tensor import Tensor
from facula.ir.kernel import Kernel

__all__ = ["bound", "kernel", "run"]

_BOUND: dict[tuple, launch.Bound] = {}
_KERNELS: dict[tuple, Kernel] = {}


def kernel(make: Callable[..., Kernel]) -> Callable[..., Kernel]:
    """Decorate a function that makes a kernel: once for each of its arguments."""

    def known(*key) -> Kernel:
        found = _KERNELS.get((make, key))
        if found is None:
            found = _KERNELS[make, key] = make(*key)
        return found

    return known


def bound(
    kernel: Kernel, outer: Sequence[int], row: Sequence[int] | None, strides: Sequence[Sequence[int]], where: device
) -> launch.Bound:
    """`launch.bind`, remembered, of a kernel that lives as long as the program."""
    # By identity: the hash of a kernel walks its expressions.
    key = (id(kernel), tuple(outer), None if row is None else tuple(row), tuple(map(tuple, strides)), where)
    found = _BOUND.get(key)
    if found is None:
        if len(_BOUND) > 4096:
            _BOUND.clear()
        found = _BOUND[key] = launch.bind(
            kernel, list(outer), None if row is None else list(row), [list(s) for s in strides], where
        )
    return found


def run(
    kernel: Kernel, outer: Sequence[int], row: Sequence[int] | None, operands: Sequence[Tensor],
    strides: Sequence[Sequence[int]], params: Sequence[Any] = (),
) -> Any:  # fmt: skip
    """Run a kernel on tensors with their strides along the iteration's dims; what its checks refuse first."""
    code = bound(kernel, outer, row, strides, operands[0].spec.device)
    return launch.run(code, [t.ptr for t in operands], params)
