"""Choosing by mask as builtins, compiled at first use; their text is `mask_kernel`'s."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from facula.native import builtins, jit

from . import mask_kernel, threads
from .emit import host
from .pool import new_storage

__all__ = ["Masks", "masks"]

_NEEDS = threads  # the text calls `facula_parallel`, which this module provides
_NS_AN_ELEMENT = 0.5  # on one thread; decides when the GIL is let go


class Masks(NamedTuple):
    """The three steps; `counts` comes from the first and goes to the others.

    A mask is `n` bytes side by side (0 or not); all else are addresses, of memory of the size that `count` told.
    """

    count: Callable[..., tuple]  # (mask, n) -> (how many are chosen, counts)
    select: Callable[[int], Callable[..., None]]  # bytes an element -> (mask, n, counts, input, out)
    coordinates: Callable[..., None]  # (mask, n, counts, out, total, shape): out is a column of int64 a dim


@cache
def _shape() -> tuple[str, int, bool]:
    bits, _ = host()
    features = jit.machine.ready().features
    return jit.attributes(bits), bits, bits == 512 and "+avx512vbmi2" in features


def _build(text: str, name: str, kinds: str, result: str = "none") -> Callable:
    listed = ["i64" if k == "i" else "ptr" for k in kinds]
    return builtins.build(text, name, listed, result, name=name, work=[1], cost=_NS_AN_ELEMENT, optimize="clean")


@cache
def _count() -> Callable:
    return _build(mask_kernel.count_text(*_shape()), "count", "pip", "i64")


@cache
def _select(size: int) -> Callable:
    routine = _build(mask_kernel.select_text(size, *_shape()), "select", "pippp")
    return lambda mask, n, counts, input, out: routine(mask, n, counts.ptr, input, out)


@cache
def _coordinates() -> Callable:
    return _build(mask_kernel.coordinates_text(*_shape()), "coordinates", "pippiip")


def _counted(mask: int, n: int) -> tuple:
    counts = new_storage(8 * (n // mask_kernel.BLOCK + 1))
    return _count()(mask, n, counts.ptr), counts


@cache
def _sizes(shape: tuple[int, ...]):
    import ctypes

    return (ctypes.c_int64 * len(shape))(*shape)


def _written(mask: int, n: int, counts, out: int, total: int, shape: tuple[int, ...]) -> None:
    import ctypes

    sizes = _sizes(shape)
    _coordinates()(mask, n, counts.ptr, out, total, len(shape), ctypes.addressof(sizes))


masks = Masks(_counted, _select, _written)
