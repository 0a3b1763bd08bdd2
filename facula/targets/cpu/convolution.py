"""Convolutions of CPUs as builtins, one a dtype, compiled at first use; which text does which sizes best."""

import platform
from collections.abc import Callable
from functools import cache, lru_cache

from facula.core.dtype import dtype
from facula.native import builtins, jit

from . import (
    convolution_channels,
    convolution_kernel,
    convolution_rows,
    convolution_samples,
    convolution_turned,
    matmul_kernel,
    threads,
)

__all__ = ["build", "convolve", "convolve_weight"]

_NEEDS = threads  # the text calls `facula_parallel`, which this module provides
_NS_A_PRODUCT = 0.02  # of one multiplication and addition, on one thread; decides when the GIL is let go
INNERMOST = -2  # in the place of a pitch
LANES = 16  # of a vector, as far as the choice goes
WAYS = {
    "convolve": ("packed", "rows", "samples", "channels"),
    "convolve_weight": ("packed", "rows", "turned", "channels"),
}
TEXTS = {
    "packed": convolution_kernel.module_text,
    "rows": convolution_rows.rows_text,
    "turned": convolution_turned.turned_text,
    "samples": convolution_samples.samples_text,
    "channels": convolution_channels.channels_text,
}
ENTRIES = {
    "convolve": ("ptr", "ptr", "ptr", "ptr", "ptr", "i64"),
    "convolve_weight": ("ptr", "ptr", "ptr", "ptr", "i64"),
}


@lru_cache(4096)
def convolve(element: dtype, sizes: tuple[int, ...]) -> Callable[..., None]:
    """`convolve(out, x, w, bias, plan, work)`: a convolution of one dtype, whatever the layouts.

    `sizes` says which of the routines does it fastest: (batch, windows, outputs and channels of a group, taps, windows
    in a row, elements from row to row inside the border, or 0: windows have strides, or -1: elements of a row have,
    or -2: and channels are innermost).

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
    return _host(element, "convolve", _way(*sizes))


@lru_cache(4096)
def convolve_weight(element: dtype, sizes: tuple[int, ...]) -> Callable[..., None]:
    """`convolve_weight(w, x, out, plan, work)`: the gradient of w for the gradient `out`, of the same plan."""
    _, _, own, channels, *_, pitch = sizes
    if own == channels == 1 and pitch == INNERMOST:
        return _host(element, "convolve_weight", "channels")
    if own <= convolution_rows.MOST:
        return _host(element, "convolve_weight", "rows")
    waste = _whole(channels)  # packing costs a third
    return _host(element, "convolve_weight", "turned" if channels and waste < 1.35 else "packed")


def _whole(count: int) -> float:
    """How much more than `count` whole vectors hold."""
    return -(-count // LANES) * LANES / max(count, 1)


def _way(batch: int, windows: int, own: int, channels: int, taps: int, row: int, pitch: int) -> str:
    """The fastest routine, by what each takes for one channel and tap of a vector of windows (in half cycles)."""
    if own == channels == 1 and pitch == INNERMOST:
        return "channels"
    if own <= convolution_rows.MOST:
        return "rows"
    waste = _whole(row) if pitch >= 0 else 2 * _whole(row)
    if pitch >= LANES:  # vectors run through the rows of a sample
        through = windows // max(row, 1) * pitch
        waste = min(waste, _whole(through) * through / max(windows, 1))
    k = max(channels * taps, 1)
    weights = 3 * own * LANES / max(batch * windows, 1)  # they are packed
    costs = {
        "rows": waste * own + weights,
        "packed": 1.02 * own + weights + 14 + 160 / max(row, LANES // 4) + 35 / max(channels, 1),
        "samples": _whole(batch) * own * (1.03 + 40 / k) + 10 + 40 / max(taps, 1),
    }
    return min(costs, key=costs.__getitem__)


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
