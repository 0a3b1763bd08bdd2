"""Blocked attention of CPUs against the reference target: sizes, strides, masks, shared heads, threads, bounds."""

import ctypes
import functools
import mmap
import sys

import numpy as np
import pytest

from facula.targets.cpu import threads
from facula.targets.cpu.attention import build
from facula.targets.cpu.matmul_kernel import SHAPES
from facula.targets.reference.attention import attention as oracle
from facula.targets.reference.attention import attention_backward as oracle_backward

from .test_matmul import runnable_tiles


@functools.cache
def routines(tile: str):
    return build("forward", SHAPES[tile]), build("backward", SHAPES[tile])


OWN = runnable_tiles()[0]


class Case:
    """Random operands, the calls, and the comparison."""

    def __init__(self, batch, heads, queries, keys, depth, width, *, group=1, causal=False, mask=None, seed=0, gap=0):
        random = np.random.default_rng(seed)
        self.sizes = (batch, heads, group, queries, keys, depth, width)
        kv = heads // group

        def make(b, h, n, d):  # dims in the order (batch, row, head), with a gap after each row
            whole = random.standard_normal((b, n, h, d + gap)).astype("f4")
            return whole[..., :d].swapaxes(1, 2)

        self.inputs = [make(batch, heads, queries, depth), make(batch, kv, keys, depth), make(batch, kv, keys, width)]
        self.grad = make(batch, heads, queries, width)
        self.causal, self.scale = causal, 0.3
        self.mask = mask
        if mask == "seen":
            self.mask = random.random((batch, 1, queries, keys)) > 0.4
            self.mask[:, :, : queries // 5] = False  # queries that see nothing
        elif mask == "added":
            self.mask = random.standard_normal((heads, queries, keys)).astype("f4")
        elif mask == "keys":
            self.mask = random.random((batch, 1, 1, keys)) > 0.4
        elif mask == "columns":
            self.mask = np.asfortranarray(random.standard_normal((queries, keys)).astype("f4"))

    def run(self, forward, backward):
        batch, heads, group, queries, keys, depth, width = self.sizes
        out = np.full((batch, heads, queries, width), 7, "f4")
        statistics = np.full((2, batch, heads, queries), 7, "f4")
        grads = [np.full(x.shape, 7, "f4") for x in self.inputs]
        kind, address, steps = 0, 0, (0, 0, 0, 0)
        if self.mask is not None:
            wide = np.broadcast_to(self.mask, (batch, heads, queries, keys))
            kind, address = 1 if wide.dtype == bool else 2, self.mask.ctypes.data
            steps = tuple(s // wide.itemsize for s in wide.strides)
        strides = lambda *arrays: [s // 4 for x in arrays for s in x.strides[:3]]  # noqa: E731
        common = (
            *[x.ctypes.data for x in (*self.inputs, out)], address, statistics.ctypes.data, *self.sizes, self.scale,
            int(self.causal), kind, *strides(*self.inputs, out), *steps,
        )  # fmt: skip
        forward(*common)
        more = (self.grad, *grads)
        backward(*common, *[x.ctypes.data for x in more], *strides(*more))
        return out, statistics, *grads

    def check(self, tile=OWN):
        made = self.run(*routines(tile))
        right = self.run(oracle(), oracle_backward())
        for name, x, y in zip(("out", "statistics", "q", "k", "v"), made, right):
            limit = 3e-6 * (1 + np.abs(y).max(initial=0)) * max(1, self.sizes[3] ** 0.5 / 8)
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=limit, err_msg=f"{name} {self.sizes} {tile}")


SIZES = [
    (1, 1, 1, 1, 1, 1), (1, 2, 5, 7, 3, 4), (2, 3, 64, 64, 32, 32), (1, 2, 63, 65, 16, 48), (1, 1, 130, 200, 64, 64),
    (1, 1, 1, 300, 64, 64), (1, 1, 300, 1, 20, 20), (2, 2, 17, 33, 80, 72), (1, 1, 600, 650, 33, 17),
]  # fmt: skip


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("causal", [False, True])
def test_sizes(sizes, causal):
    Case(*sizes, causal=causal).check()


@pytest.mark.parametrize("mask", ["seen", "added", "keys", "columns"])
@pytest.mark.parametrize("sizes", [(2, 2, 17, 33, 16, 16), (1, 2, 70, 130, 24, 40)])
@pytest.mark.parametrize("causal", [False, True])
def test_masks(mask, sizes, causal):
    Case(*sizes, mask=mask, causal=causal, gap=3).check()


def test_shared_heads():
    Case(2, 6, 70, 100, 16, 24, group=3, mask="seen").check()
    Case(1, 4, 300, 300, 64, 64, group=4, causal=True, gap=5).check()


@pytest.mark.parametrize(
    "sizes", [(0, 2, 3, 4, 8, 8), (1, 2, 0, 4, 8, 8), (1, 2, 3, 0, 8, 8), (1, 2, 3, 4, 0, 8), (1, 2, 3, 4, 8, 0)]
)
def test_nothing(sizes):
    Case(*sizes).check()


@pytest.mark.parametrize("tile", runnable_tiles()[1:])
def test_other_tiles(tile):
    Case(1, 2, 37, 70, 20, 12, mask="seen").check(tile)
    Case(1, 2, 70, 37, 33, 40, mask="added", causal=True).check(tile)
    Case(1, 2, 70, 130, 32, 16, causal=True, group=2).check(tile)


def test_threads_do_not_change_bits():
    found = []
    before = threads.get_num_threads()
    try:
        for count in (1, 2, 4):
            threads.set_num_threads(count)
            cases = (Case(1, 1, 513, 700, 64, 64), Case(3, 5, 130, 130, 32, 32, causal=True, mask="seen"))
            found.append([x.tobytes() for case in cases for x in case.run(*routines(OWN))])
    finally:
        threads.set_num_threads(before)
    assert found[0] == found[1] == found[2]


def test_nan_and_infinity_stay_in_their_rows():
    case = Case(1, 1, 20, 70, 16, 16)
    case.inputs[0][0, 0, 3, 2] = np.nan
    case.inputs[0][0, 0, 5, 2] = np.inf
    out = case.run(*routines(OWN))[0]
    assert np.isnan(out[0, 0, [3, 5]]).all()
    assert np.isfinite(np.delete(out, [3, 5], axis=2)).all()


def test_great_scores():
    case = Case(1, 2, 40, 150, 16, 16)
    case.inputs[0] *= 300.0
    out, _, *grads = case.run(*routines(OWN))
    np.testing.assert_allclose(out, case.run(oracle(), oracle_backward())[0], atol=2e-3)
    assert all(np.isfinite(x).all() for x in grads)


@pytest.mark.skipif(sys.platform != "linux", reason="needs mprotect")
def test_nothing_beyond_the_ends_is_touched():
    libc = ctypes.CDLL(None, use_errno=True)
    kept = []

    def guarded(x):
        """A copy of `x` that ends where a page without access begins."""
        pages = -(-x.nbytes // mmap.PAGESIZE) + 1
        block = mmap.mmap(-1, (pages + 1) * mmap.PAGESIZE)
        start = ctypes.addressof(ctypes.c_char.from_buffer(block))
        assert libc.mprotect(ctypes.c_void_p(start + pages * mmap.PAGESIZE), mmap.PAGESIZE, 0) == 0
        kept.append(block)
        size = pages * mmap.PAGESIZE
        made = np.frombuffer((ctypes.c_char * size).from_address(start), x.dtype, x.size, size - x.nbytes)
        made = made.reshape(x.shape)
        made[...] = x
        return made

    for mask in (None, "seen", "added"):
        case = Case(1, 2, 37, 67, 19, 21, mask=mask)
        case.inputs = [guarded(np.ascontiguousarray(x)) for x in case.inputs]
        case.grad = guarded(np.ascontiguousarray(case.grad))
        if mask:
            case.mask = guarded(case.mask)
        case.check()
