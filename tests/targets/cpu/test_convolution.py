"""Convolutions of CPUs against the reference target's: windows, layouts, dtypes, tiles, threads, memory."""

import ctypes
import functools
import itertools
import mmap
import platform

import numpy as np
import pytest

from facula.core import dtype as dt
from facula.core.shape import contiguous_strides
from facula.native import jit
from facula.targets import reference
from facula.targets import routine as find_routine
from facula.targets.cpu import convolution, convolution_rows, matmul_kernel, threads

# dtype, NumPy's stand-in (bfloat16 as its bits), error of a result relative to the largest
ELEMENTS = {
    "float32": ("f4", 2e-6), "float64": ("f8", 1e-14), "float16": ("f2", 2e-3), "bfloat16": ("u2", 8e-3),
    "int64": ("i8", 0), "int32": ("i4", 0), "uint8": ("u1", 0),
}  # fmt: skip


def runnable_tiles() -> list[str]:
    """The tiles that this host can run."""
    host = jit.machine.ready()
    own = matmul_kernel.shape_for(host.features, platform.machine().lower())
    wide = {"avx512": own.bits >= 512, "avx2": own.bits >= 256}
    return [name for name in matmul_kernel.SHAPES if wide.get(name, True)]


@functools.cache
def routine(name: str, entry: str, way: str, tile: str | None = None):
    host = jit.machine.ready()
    own = matmul_kernel.shape_for(host.features, platform.machine().lower())
    return convolution.build(dt.BY_NAME[name], matmul_kernel.SHAPES[tile] if tile else own, entry, way)


def guarded(values: np.ndarray) -> np.ndarray:
    """The array in memory of its own that ends where pages begin that must not be touched."""
    page = mmap.PAGESIZE
    size = (values.nbytes + page - 1) // page * page
    block = mmap.mmap(-1, size + 2 * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(block))
    protect = ctypes.CDLL(None).mprotect
    for at in (start, start + page + size):
        assert protect(ctypes.c_void_p(at), ctypes.c_size_t(page), 0) == 0
    flat = (ctypes.c_char * values.nbytes).from_address(start + page + size - values.nbytes)
    placed = np.frombuffer(flat, values.dtype).reshape(values.shape)
    placed[...] = values
    _BLOCKS.append(block)
    return placed


_BLOCKS: list[mmap.mmap] = []


class Case:
    """Random operands of one convolution, in row-major or channels_last layouts."""

    def __init__(self, seed, name="float32", batch=2, groups=1, channels=3, own=5, sizes=(1, 9, 11), kernel=(1, 3, 3),
                 stride=(1, 1, 1), padding=(0, 1, 1), dilation=(1, 1, 1), last=False, place=np.array):  # fmt: skip
        random = np.random.default_rng(seed)
        self.name, self.element = name, dt.BY_NAME[name]
        numpy, self.error = ELEMENTS[name]
        outs = [
            (n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(sizes, kernel, stride, padding, dilation)
        ]
        self.outs = outs
        self.few, self.deep = own <= convolution_rows.MOST, last and own == channels == 1

        def make(shape):
            values = random.standard_normal(shape)
            if name == "bfloat16":
                return place((values.astype("f4").view("u4") >> 16).astype("u2"))
            return place((values * 5).astype(numpy) if self.error == 0 else values.astype(numpy))

        def steps(shape):
            if not last:
                return contiguous_strides(shape)
            inner = contiguous_strides((shape[0], *shape[2:], shape[1]))
            return (inner[0], 1, *inner[1:-1])

        shapes = (batch, groups * channels, *sizes), (groups * own, channels, *kernel), (batch, groups * own, *outs)
        self.x, self.w, self.y = (make(shape) for shape in shapes)
        self.bias = make((groups * own,))
        x, w, y = (steps(shape) for shape in shapes)
        numbers = [
            batch,
            groups,
            own,
            channels,
            int(np.prod(kernel)),
            *outs,
            *sizes,
            *stride,
            *x,
            *y,
            own * w[0],
            *w[:2],
        ]
        for at in itertools.product(*(range(k) for k in kernel)):
            offsets = [k * d - p for k, d, p in zip(at, dilation, padding)]
            numbers += [*offsets, sum(o * s for o, s in zip(offsets, x[2:])), sum(k * s for k, s in zip(at, w[2:]))]
        self.plan = np.array(numbers, np.int64)

    def forward(self, call, place=np.array) -> np.ndarray:
        out = place(np.zeros_like(self.y))
        pointers = (a.ctypes.data for a in (out, self.x, self.w, self.bias, self.plan))
        call(*pointers, 1 << 40)
        return out

    def weight(self, call, place=np.array) -> np.ndarray:
        out = place(np.ones_like(self.w))
        call(*(a.ctypes.data for a in (out, self.x, self.y, self.plan)), 1 << 40)
        return out

    def ways(self) -> list[tuple[str, str]]:
        """Entries, and the ways that do them."""
        unfit = {("convolve_weight", "rows")} if not self.few else set()
        if not self.deep:
            unfit |= {("convolve", "channels"), ("convolve_weight", "channels")}
        listed = [(entry, way) for entry, ways in convolution.WAYS.items() for way in ways]
        return [x for x in listed if x not in unfit]

    def wide(self, x: np.ndarray) -> np.ndarray:
        return (x.astype("u4") << 16).view("f4") if self.name == "bfloat16" else x

    def check(self, tile: str | None = None, place=np.array) -> None:
        """All routines against the reference target's; raises where they are too far apart."""
        for entry, way in self.ways():
            run = self.forward if entry == "convolve" else self.weight
            got = self.wide(run(routine(self.name, entry, way, tile), place))
            expected = self.wide(run(find_routine(reference, entry)(self.element, ())))
            if self.error == 0:
                np.testing.assert_array_equal(got, expected)
                continue
            scale = max(1.0, float(np.abs(expected.astype("f8")).max(initial=0)))
            np.testing.assert_allclose(got.astype("f8"), expected.astype("f8"), rtol=0, atol=4 * self.error * scale)


def drawn(random: np.random.Generator) -> dict:
    """Settings of a small convolution whose result has elements."""
    while True:
        kernel = tuple(int(n) for n in random.choice([1, 2, 3, 4], 3))
        stride, dilation = (tuple(int(n) for n in random.choice([1, 1, 2, 3], 3)) for _ in range(2))
        padding = tuple(int(n) for n in random.choice([0, 1, 2, 5], 3))
        sizes = int(random.integers(1, 4)), int(random.integers(1, 9)), int(random.choice([1, 2, 5, 7, 16, 17, 33, 40]))
        if all(n + 2 * p >= d * (k - 1) + 1 for n, k, p, d in zip(sizes, kernel, padding, dilation)):
            return {
                "kernel": kernel, "stride": stride, "dilation": dilation, "padding": padding, "sizes": sizes,
                "batch": int(random.integers(1, 5)), "groups": int(random.choice([1, 1, 2, 3])),
                "channels": int(random.choice([1, 2, 3, 9, 17])), "own": int(random.choice([1, 2, 3, 4, 5, 8, 17, 33])),
                "last": bool(random.integers(2)),
            }  # fmt: skip


@pytest.mark.parametrize("seed", range(40))
def test_random_windows(seed):
    Case(seed, **drawn(np.random.default_rng(seed))).check(place=guarded)


@pytest.mark.parametrize("name", ELEMENTS)
@pytest.mark.parametrize("groups", [1, 5, 16, 37])
def test_innermost_channels_by_themselves(groups, name):
    for seed in range(3):
        settings = drawn(np.random.default_rng(300 + seed)) | {"own": 1, "channels": 1, "last": True, "groups": groups}
        case = Case(seed, name, **settings)
        assert ("convolve", "channels") in case.ways()
        case.check(place=guarded)


@pytest.mark.parametrize("own", [3, 20])
@pytest.mark.parametrize("name", ELEMENTS)
def test_dtypes(name, own):
    for seed in range(3):
        settings = drawn(np.random.default_rng(100 + seed)) | {"own": own}
        Case(seed, name, **settings).check(place=guarded)


@pytest.mark.parametrize("tile", runnable_tiles())
def test_tiles(tile):
    for seed in range(8):
        Case(seed, **drawn(np.random.default_rng(200 + seed))).check(tile)


@pytest.mark.parametrize("tile", matmul_kernel.SHAPES)
def test_text_of_every_machine_is_accepted(tile):
    import llvmlite.binding as llvm

    for entry, ways in convolution.WAYS.items():
        for way in ways:
            llvm.parse_assembly(convolution.TEXTS[way]("bf16", matmul_kernel.SHAPES[tile], entry)).verify()


def test_many_channels_are_summed_in_blocks():
    Case(1, channels=300, own=40, sizes=(1, 7, 7), batch=3).check()
    Case(2, channels=130, own=150, sizes=(1, 14, 14), batch=2).check()
    Case(3, channels=400, own=2, sizes=(1, 7, 20), batch=2).check()


def test_no_channels_and_no_samples():
    case = Case(0, channels=0, own=7)
    for way in (way for entry, way in case.ways() if entry == "convolve"):
        out = case.forward(routine("float32", "convolve", way))
        np.testing.assert_array_equal(out, np.broadcast_to(case.bias[None, :, None, None, None], out.shape))
    for own in (2, 20):
        case = Case(0, batch=0, own=own)
        for entry, way in case.ways():
            if entry == "convolve_weight":
                assert not case.weight(routine("float32", entry, way)).any()


@pytest.mark.parametrize("own", [1, 4, 64])
def test_bits_do_not_depend_on_threads(own):
    case = Case(5, own=own, channels=20, groups=2, batch=5, sizes=(1, 30, 29))
    seen = set()
    before = threads.get_num_threads()
    try:
        for count in (1, 2, 4):
            threads.set_num_threads(count)
            runs = {"convolve": case.forward, "convolve_weight": case.weight}
            made = [runs[entry](routine("float32", entry, way)) for entry, way in case.ways()]
            seen.add(b"".join(x.tobytes() for x in made))
    finally:
        threads.set_num_threads(before)
    assert len(seen) == 1
