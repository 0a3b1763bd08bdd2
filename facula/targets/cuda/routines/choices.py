"""Choosing by mask, as kernels of the IR; `targets/cpu` documents the arguments."""

import ctypes
from collections.abc import Callable
from functools import cache as remembered
from math import prod
from typing import NamedTuple

from facula.core import dtype as dt
from facula.ir import expr as ir
from facula.ir.kernel import Access, Input, Kernel, Param, Result

from .. import driver, launcher, transfers
from ..code import Code
from ..memory.pool import Block

__all__ = ["Masks", "masks"]

_OF_SIZE = {1: dt.uint8, 2: dt.uint16, 4: dt.uint32, 8: dt.uint64, 16: dt.complex128}  # what is copied as it is


class Masks(NamedTuple):
    """How many are chosen; the chosen elements; their coordinates."""

    count: Callable
    select: Callable
    coordinates: Callable


_MASK = Input("mask", dt.bool_)
_PLACE = Input("place", dt.int64)


@remembered
def _places_code(gpu: driver.Device) -> Code:
    """How many are chosen up to and with each element."""
    value = ir.scan("sum", ir.cast(ir.load("mask", dt.bool_), dt.int64))
    kernel = Kernel("mask_places", (_MASK,), (Result("place", dt.int64, value),))
    return Code(kernel, Access(1, 1, ("s1", "s1")))


@remembered
def _select_code(size: int, gpu: driver.Device) -> Code:
    """Chosen elements, side by side."""
    kind, place = _OF_SIZE[size], ir.load("place", dt.int64) - 1
    result = Result("out", kind, ir.load("input", kind), offset=place, where=ir.load("mask", dt.bool_))
    kernel = Kernel("mask_select", (_MASK, _PLACE, Input("input", kind)), (result,), disjoint=True)
    return Code(kernel, Access(1, 0, ("0", "1", "1", "1")))


@remembered
def _coordinates_code(dims: int, gpu: driver.Device) -> Code:
    """The coordinates of chosen elements, a column a dim."""
    place, chosen = ir.load("place", dt.int64) - 1, ir.load("mask", dt.bool_)
    results, params = [], [Param("total", dt.int64)]
    for d in range(dims):
        params += [Param(f"size{d}", dt.int64), Param(f"below{d}", dt.int64)]
        at = ir.fmod(ir.truncdiv(ir.index(0), ir.param(f"below{d}", dt.int64)), ir.param(f"size{d}", dt.int64))
        offset = place + ir.param("total", dt.int64) * d
        results.append(Result(f"out{d}", dt.int64, at, offset=offset, where=chosen))
    kernel = Kernel("mask_coordinates", (_MASK, _PLACE), tuple(results), tuple(params), disjoint=True)
    return Code(kernel, Access(1, 0, (*["0"] * dims, "1", "1")))


def _count(mask: int, n: int) -> tuple[int, Block | None]:
    if n == 0:
        return 0, None
    places, total = launcher.taken(8 * n), ctypes.c_int64()
    _places_code(driver.gpu())(places.ptr, mask, 1, n, n, n)
    transfers.to_host(ctypes.addressof(total), places.ptr + 8 * (n - 1), 8)
    return total.value, places


def _select(size: int) -> Callable[..., None]:
    def call(mask: int, n: int, counts: Block | None, input: int, out: int) -> None:
        if counts is not None:
            _select_code(size, driver.gpu())(out, mask, counts.ptr, input, n)

    return call


def _coordinates(mask: int, n: int, counts: Block | None, out: int, total: int, shape: tuple[int, ...]) -> None:
    if counts is None:
        return
    sizes = [number for d, size in enumerate(shape) for number in (size, prod(shape[d + 1 :]))]
    _coordinates_code(len(shape), driver.gpu())(*[out] * len(shape), mask, counts.ptr, total, *sizes, n)


masks = Masks(_count, _select, _coordinates)
