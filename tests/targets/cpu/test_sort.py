"""Sorting, choosing by mask and searching of the CPU against the reference target, on random rows."""

import numpy as np
import pytest

from facula.core import dtype as dt
from facula.native import jit
from facula.targets import cpu, reference
from facula.targets import routine as find_routine
from facula.targets.cpu import mask, mask_kernel, sort_kernel, threads

rng = np.random.default_rng(0)
KINDS = {
    "f32": "f4", "f64": "f8", "f16": "f2", "bf16": "u2", "i64": "i8", "i32": "i4", "i16": "i2", "i8": "i1", "u8": "u1",
    "u16": "u2", "u32": "u4", "u64": "u8", "b1": "?",
}  # fmt: skip
DTYPES = {d.code: d for d in vars(dt).values() if isinstance(d, dt.dtype)}
LENGTHS = (1, 2, 15, 16, 17, 95, 96, 97, 300, 1000, 5000)
HOW = ("order", "first", "kth", "median", "nanmedian", "mode")


def numbers(code: str, shape, mode: int) -> np.ndarray:
    """Elements of a dtype: plain, many equal, of all sizes, with NaN and infinities, alike in their upper bits."""
    kind = np.dtype(KINDS[code])
    if code == "bf16":
        return (numbers("f32", shape, mode).view("u4") >> 16).astype("u2")
    if kind.kind == "b":
        return rng.random(shape) < 0.5
    if kind.kind == "f":
        x = rng.standard_normal(shape)
        if mode == 1:
            x = np.round(x * 2) / 2
        elif mode == 2:
            x = x * 10.0 ** rng.integers(-30, 30, shape)
        elif mode == 3:
            special = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0])
            x = np.where(rng.random(shape) < 0.6, special[rng.integers(0, 6, shape)], x)
        elif mode == 4:
            x = 1 + x * 1e-13
            x[..., ::2] *= 1e200
        with np.errstate(over="ignore"):
            return x.astype(kind)
    info = np.iinfo(kind)
    if mode == 1:
        return rng.integers(max(info.min, -3), 4, shape).astype(kind)
    if mode == 3:
        return np.zeros(shape, kind)
    if mode == 4:
        return (rng.integers(0, 4, shape) * (info.max // 4) + rng.integers(0, 3, shape)).astype(kind)
    return rng.integers(info.min, info.max, shape, dtype=kind, endpoint=True)


def ordered(target, code: str, x: np.ndarray, first: int, count: int, how: str, descending: bool):
    outer, n, inner = x.shape
    values = np.zeros((outer, count, inner), x.dtype)
    places = np.full((outer, count, inner), -1)
    pointers = [a.ctypes.data for a in (values, places, x)]
    find_routine(target, "sort")(DTYPES[code])(*pointers, outer, n, inner, first, count, how, descending)
    return values, places


def same(found, wanted) -> None:
    for a, b in zip(found, wanted):
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("code", KINDS)
@pytest.mark.parametrize("how", HOW)
def test_rows(code, how):
    for n in LENGTHS:
        for mode in range(5):
            x = numbers(code, (int(rng.integers(1, 4)), n, int(rng.choice([1, 3]))), mode)
            descending = bool(rng.integers(0, 2)) and how in ("order", "first", "kth")
            first, count = int(rng.integers(0, n)), 1
            if how == "order":
                count = n - first
            elif how == "first":
                first, count = 0, int(rng.integers(1, max(2, n // 9)))
            elif how != "kth":
                first = (n - 1) // 2 if how != "mode" else 0
            same(*(ordered(t, code, x, first, count, how, descending) for t in (cpu, reference)))


@pytest.mark.parametrize("code", ["f32", "f64", "i64", "bf16"])
def test_long_row_in_pieces(code):
    for mode in range(5):
        x = numbers(code, (1, 2 * sort_kernel.LONG + 77, 1), mode)
        for descending in (False, True):
            same(*(ordered(t, code, x, 5, x.size - 9, "order", descending) for t in (cpu, reference)))


def test_any_number_of_threads():
    """The same bits: rows side by side, one row in pieces, chosen elements."""
    before = threads.get_num_threads()
    for shape in ((300, 200, 1), (1, 100_000, 1)):
        x = numbers("f32", shape, 1)
        chosen = rng.random(x.size) < 0.3
        made = []
        try:
            for count in (1, 2, 4):
                threads.set_num_threads(count)
                made.append((*ordered(cpu, "f32", x, 0, shape[1], "order", True), *masked(cpu, chosen, x.reshape(-1))))
        finally:
            threads.set_num_threads(before)
        for other in made[1:]:
            same(other, made[0])


def test_either_result_may_be_left_out():
    x = numbers("f32", (2, 50, 1), 0)
    values, places = ordered(cpu, "f32", x, 0, 50, "order", False)
    again, there = np.zeros_like(values), np.zeros_like(places)
    routine = find_routine(cpu, "sort")(dt.float32)
    routine(again.ctypes.data, 0, x.ctypes.data, 2, 50, 1, 0, 50, "order", False)
    routine(0, there.ctypes.data, x.ctypes.data, 2, 50, 1, 0, 50, "order", False)
    same((again, there), (values, places))


def masked(target, chosen: np.ndarray, x: np.ndarray):
    """(chosen elements, their coordinates), between guards."""
    masks = find_routine(target, "masks")
    total, counts = masks.count(chosen.ctypes.data, chosen.size)
    size, rank = x[0].nbytes, chosen.ndim
    out = np.full((total + 2) * size, 77, "u1")
    masks.select(size)(chosen.ctypes.data, chosen.size, counts, x.ctypes.data, out.ctypes.data + size)
    places = np.full(rank * total + 2, -5)
    masks.coordinates(chosen.ctypes.data, chosen.size, counts, places.ctypes.data + 8, total, chosen.shape)
    assert (out[:size] == 77).all() and (out[-size:] == 77).all() and places[0] == places[-1] == -5
    return out[size:-size], places[1:-1]


def choose() -> None:
    for shape in ((70_000,), (1,), (3, 5), (200, 1), (1, 200), (13, 7, 65), (3, 2, 5, 40), (2, 20_000)):
        for size in (1, 2, 4, 8, 16):
            for part in (0.0, 0.02, 0.5, 1.0):
                chosen = rng.random(shape) < part
                x = rng.integers(0, 256, (chosen.size, size)).astype("u1")
                found = masked(cpu, chosen, x)
                same(found, (x[chosen.reshape(-1)], np.stack(np.nonzero(chosen))))
                same(masked(reference, chosen, x), found)


def test_masks():
    choose()


def test_masks_without_compressing_instructions(monkeypatch):
    for routine in (mask._count, mask._select, mask._coordinates):
        routine.cache_clear()
    monkeypatch.setattr(mask, "_shape", lambda: (jit.attributes(256), 256, False))
    choose()
    for routine in (mask._count, mask._select, mask._coordinates):
        routine.cache_clear()


def test_masks_in_blocks():
    """More than one block, and one that ends in the middle of a vector."""
    n = 3 * mask_kernel.BLOCK + 37
    chosen, x = rng.random(n) < 0.4, rng.standard_normal(n)
    same(masked(cpu, chosen, x), (x[chosen], np.flatnonzero(chosen)))


@pytest.mark.parametrize("code", [c for c in KINDS if c != "b1"])
@pytest.mark.parametrize("right", [False, True])
def test_search(code, right):
    for n in (1, 2, 3, 16, 33, 1000):
        for rows in (1, 3):
            x = np.sort(numbers("f32", (rows, n), 1) if code == "bf16" else numbers(code, (rows, n), 1), -1)
            x = np.ascontiguousarray(x.view("u2")[:, 1::2]) if code == "bf16" else x
            values = np.concatenate([x, x[:, :5]], -1) if n > 5 else x
            for narrow in (False, True):
                made = []
                for target in (cpu, reference):
                    out = np.zeros(values.shape, "i4" if narrow else "i8")
                    routine = find_routine(target, "search")(DTYPES[code], right, narrow)
                    routine(out.ctypes.data, x.ctypes.data, values.ctypes.data, rows, n, values.shape[1], n)
                    made.append(out)
                same(*([m] for m in made))


def test_texts_need_no_wide_registers():
    """All texts can be made for 128 bits: they name no machine."""
    for code in sort_kernel.ELEMENTS:
        assert "x86" not in sort_kernel.module_text(code, jit.attributes(128))
    assert "compress" not in mask_kernel.select_text(4, jit.attributes(128), 128, False)
