"""Convolutions of CPUs as builtins, one a dtype, compiled at first use; their text is `convolution_kernel`'s."""

import platform
from collections.abc import Callable
from functools import cache

from facula.core.dtype import dtype

from . import builtins, convolution_few, convolution_kernel, convolution_turned, jit, matmul_kernel, threads

__all__ = ["build", "convolve", "convolve_weight"]

_NEEDS = threads  # the text calls `facula_parallel`, which this module provides
_NS_A_PRODUCT = 0.02  # of one multiplication and addition, on one thread; decides when the GIL is let go
LANES = 16  # of a vector, as far as the choice goes
TEXTS = {
    "packed": convolution_kernel.module_text,
    "few": convolution_few.few_text,
    "turned": convolution_turned.turned_text,
}
ENTRIES = {
    "convolve": ("ptr", "ptr", "ptr", "ptr", "ptr", "i64"),
    "convolve_weight": ("ptr", "ptr", "ptr", "ptr", "i64"),
}


@cache
def convolve(element: dtype, own: int, channels: int, row: int, pitch: int) -> Callable[..., None]:
    """`convolve(out, x, w, bias, plan, work)`: a convolution of one dtype, whatever the layouts.

    `own` and `channels` are the numbers of outputs and of channels of a group, `row` is that of windows in a row,
    `pitch` that of elements from row to row inside the border (0: windows have strides, -1: elements of a row have):
    by them the routine is chosen, a product of packed patches or sums where they lie.

    ``out[b, g, o, q] = bias[g, o] + sum of w[g, o, c, t] * x[b, g, c, q * stride + offset[t]]`` over channels c and
    taps t, with x zero outside its sizes.

    Parameters
    ----------
    out, x, w, bias : int
        Addresses; bias may be 0 for none.
    plan : int
        The address of int64 numbers: `convolution_kernel.GEOMETRY`, then `convolution_kernel.TAP` for each tap.
    work : int
        The number of multiplications; long calls let go of the GIL.
    """
    return _host(element, "convolve", "few" if _few(own, channels, row, pitch) else "packed")


@cache
def convolve_weight(element: dtype, own: int, channels: int) -> Callable[..., None]:
    """`convolve_weight(w, x, out, plan, work)`: the gradient of w for the gradient `out`, of the same plan."""
    if own <= convolution_few.MOST:
        return _host(element, "convolve_weight", "few")
    waste = -(-channels // LANES) * LANES / max(channels, 1)  # of vectors of channels; packing costs a third
    return _host(element, "convolve_weight", "turned" if channels and waste < 1.35 else "packed")


def _few(own: int, channels: int, row: int, pitch: int) -> bool:
    """Whether vectors along rows waste less than packing costs (measured: half cycles)."""
    width = -(-row // LANES) * LANES
    if pitch >= LANES:
        width = min(width, pitch)
    waste = (width if pitch >= 0 else 2 * width) / max(row, 1)
    return own <= convolution_few.MOST or waste * own < 1.02 * own + 14 + 35 / max(channels, 1)


@cache
def _host(element: dtype, entry: str, way: str) -> Callable[..., None]:
    host = jit.machine.ready()
    return build(element, matmul_kernel.shape_for(host.features, platform.machine().lower()), entry, way)


def build(element: dtype, shape: matmul_kernel.Shape, entry: str, way: str) -> Callable[..., None]:
    """The builtin for a given register tile, which the host must be able to run."""
    kinds = ENTRIES[entry]
    return builtins.build(
        TEXTS[way](element.code, shape, entry),
        entry,
        kinds,
        name=f"{entry}_{element.name}",
        work=[len(kinds) - 1],
        cost=_NS_A_PRODUCT,
        optimize="clean",
    )
