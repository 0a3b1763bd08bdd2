"""The matrix product of CPUs against NumPy in wider types: shapes, strides, dtypes, tiles, threads, memory."""

import ctypes
import functools
import mmap
import os
import platform
import sys
import threading

import numpy as np
import pytest

from facula.core import dtype as dt
from facula.native import jit
from facula.targets.cpu import matmul_kernel, threads
from facula.targets.cpu.matmul import bind, build, matmul

# dtype, NumPy's stand-in (bfloat16 as its bits), relative error of one rounding
ELEMENTS = {
    "float32": ("f4", 6e-8), "float64": ("f8", 1.2e-16), "float16": ("f2", 4.9e-4), "bfloat16": ("u2", 3.91e-3),
    "complex64": ("c8", 6e-8), "complex128": ("c16", 1.2e-16), "uint8": ("u1", 0), "int8": ("i1", 0),
    "int16": ("i2", 0), "int32": ("i4", 0), "int64": ("i8", 0),
}  # fmt: skip
SIZES = (0, 1, 2, 3, 4, 5, 7, 8, 13, 14, 15, 16, 17, 27, 28, 29, 31, 32, 33, 63, 64, 65, 100, 129)
LARGE = (300, 513, 1030)


def runnable_tiles() -> list[str]:
    """The tiles that this host can run, its own first."""
    host = jit.machine.ready()
    own = matmul_kernel.shape_for(host.features, platform.machine().lower())
    wide = {"avx512": own.bits >= 512, "avx512bf16": own.pairs, "avx2": own.bits >= 256}
    names = [name for name in matmul_kernel.SHAPES if wide.get(name, True)]
    return sorted(names, key=lambda name: matmul_kernel.SHAPES[name] is not own)


@functools.cache
def product_for(name: str, tile: str | None = None):
    element = dt.BY_NAME[name]
    return matmul(element) if tile is None else build(element, matmul_kernel.SHAPES[tile])


class Case:
    """Random matrices of one dtype, the call, and the comparison."""

    def __init__(self, name: str, seed: int = 0, tile: str | None = None):
        self.name, self.call = name, product_for(name, tile)
        self.numpy, self.epsilon = ELEMENTS[name]
        self.random = np.random.default_rng(seed)
        self.exact = self.epsilon == 0
        self.complex = name.startswith("complex")

    def make(self, *shape: int) -> np.ndarray:
        if self.exact:
            limits = np.iinfo(self.numpy)
            return self.random.integers(limits.min, limits.max, shape, dtype=self.numpy, endpoint=True)
        values = self.random.standard_normal(shape)
        if self.name == "bfloat16":
            return (values.astype("f4").view("u4") >> 16).astype("u2")
        return (values + 1j * self.random.standard_normal(shape) if self.complex else values).astype(self.numpy)

    def wide(self, x: np.ndarray) -> np.ndarray:
        if self.name == "bfloat16":
            return (x.astype("u4") << 16).view("f4").astype("f8")
        return x.astype({"f": "f8", "c": "c16", "i": "i8", "u": "i8"}[x.dtype.kind])

    def run(self, c, a, b, alpha=1, beta=0, bias=None) -> None:
        """One call for arrays of rank 3 (or 2), bias of rank 1 (along n)."""
        c, a, b = (x if x.ndim == 3 else x[None] for x in (c, a, b))
        strides = [s // x.itemsize for x in (c, a, b) for s in x.strides]
        if self.complex:
            scalars = [complex(alpha).real, complex(alpha).imag, complex(beta).real, complex(beta).imag]
        else:
            scalars = [alpha, beta]
        added = (0, 0, 0) if bias is None else (bias.ctypes.data, 0, bias.strides[0] // bias.itemsize)
        batch, m, n = c.shape
        self.call(c.ctypes.data, a.ctypes.data, b.ctypes.data, batch, m, n, a.shape[-1], *strides, *scalars, *added)

    def check(self, c, a, b, alpha=1, beta=0, bias=None) -> None:
        """Runs, and raises where C is not what float64 says, up to the rounding errors of its sums."""
        wide_a, wide_b, before = self.wide(a), self.wide(b), self.wide(c)
        expected = alpha * (wide_a @ wide_b)
        size = abs(alpha) * (abs(wide_a) @ abs(wide_b))
        if beta:
            expected, size = expected + beta * before, size + abs(beta * before)
        if bias is not None:
            expected, size = expected + self.wide(bias), size + abs(self.wide(bias))
        if not beta and not self.exact:
            c[...] = 0x7FFF if self.name == "bfloat16" else np.nan  # must not be read
        self.run(c, a, b, alpha, beta, bias)
        if self.exact:
            np.testing.assert_array_equal(c, expected.astype(c.dtype))
            return
        error = abs(self.wide(c) - expected)
        sums = min(self.epsilon, 6e-8) * (4 + a.shape[-1] ** 0.5) * size
        # Narrow types are summed in float32 and rounded once; below 1e-4, float16 is subnormal.
        allowed = sums if self.epsilon < 1e-6 else sums + self.epsilon * abs(expected) + 6e-8
        assert (error <= allowed).all(), f"error {np.nanmax(error):.3g}, {np.isnan(error).sum()} NaN of {error.size}"

    def operand(self, batch: int, rows: int, cols: int) -> np.ndarray:
        """A matrix of one of the layouts that tensors come in."""
        layout = self.random.integers(0, 6)
        if layout == 0:
            return self.make(batch, rows, cols)
        if layout == 1:
            return self.make(batch, cols, rows).swapaxes(1, 2)
        if layout == 2:
            return self.make(batch, rows * 2, cols * 3)[:, ::2, ::3]
        if layout == 3:
            return self.make(rows, batch, cols).swapaxes(0, 1)
        if layout == 4:
            return np.broadcast_to(self.make(1, rows, cols), (batch, rows, cols))
        return self.make(batch, rows, cols)[:, ::-1]

    def sample(self) -> None:
        """One random shape, layout, alpha, beta and bias; also that nothing beside C is written."""
        sizes = SIZES if self.random.random() < 0.93 else LARGE
        batch = int(self.random.choice([0, 1, 1, 1, 2, 3, 9]))
        m, n, k = (int(x) for x in self.random.choice(sizes, 3))
        if m * n * k * batch > 1 << 24:
            batch = 1
        if m * n * k > 1 << 25:
            m = 5
        layout = self.random.integers(0, 5)
        shape, place = (
            ((m, n), lambda x: x),
            ((m + 1, n + 2), lambda x: x[:, :m, :n]),
            ((m + 1, n * 3), lambda x: x[:, :m, ::3]),
            ((m * 2, n + 1), lambda x: x[:, ::2, :n]),
            ((n + 2, m + 2), lambda x: x[:, :n, :m].swapaxes(1, 2)),
        )[layout]
        whole = self.make(batch, *shape)
        outside = np.ones(whole.shape, bool)
        place(outside)[...] = False
        others = whole[outside]
        scalars = [(1, 0), (3, 2)] if self.exact else [(1.0, 0.0), (0.5, -2.0)]
        if self.complex:
            scalars.append((0.5 - 0.25j, 2 + 0.5j))
        alpha, beta = scalars[self.random.integers(0, len(scalars))]
        bias = self.make(2 * n)[:: self.random.integers(1, 3)][:n] if n and self.random.random() < 0.3 else None
        shape = f"{batch=}, {m=}, {n=}, {k=}, {layout=}, {alpha=}, {beta=}, bias {bias is not None}"
        try:
            self.check(place(whole), self.operand(batch, m, k), self.operand(batch, k, n), alpha, beta, bias)
        except AssertionError as error:
            raise AssertionError(shape) from error
        np.testing.assert_array_equal(whole[outside], others, err_msg=f"wrote beside C: {shape}")


@pytest.mark.parametrize("name", ELEMENTS)
def test_random_shapes_and_layouts(name):
    case = Case(name, seed=1)
    for _ in range(120 if name in ("float32", "float64") else 40):
        case.sample()


@pytest.mark.parametrize("tile", runnable_tiles()[1:])
@pytest.mark.parametrize("name", ["float32", "float64", "bfloat16", "complex64", "int8"])
def test_tiles_of_other_machines(name, tile):
    case = Case(name, seed=2, tile=tile)
    for _ in range(40):
        case.sample()


@pytest.mark.parametrize("name", ["float32", "float64"])
@pytest.mark.parametrize(
    "turned", [(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1), (1, 0, 0), (1, 0, 1), (1, 1, 0), (1, 1, 1)]
)
def test_transposes(name, turned):
    case = Case(name)
    for m, n, k in [
        (1, 1, 1),
        (4, 4, 4),
        (14, 32, 16),
        (33, 65, 17),
        (32, 10, 64),
        (1, 300, 200),
        (300, 1, 200),
        (200, 300, 1100),
    ]:
        c, a, b = (
            case.make(cols, rows).T if turn else case.make(rows, cols)
            for rows, cols, turn in zip((m, m, k), (n, k, n), turned, strict=True)
        )
        case.check(c, a, b)


@pytest.mark.skipif(sys.platform != "linux", reason="protects pages with mmap")
@pytest.mark.parametrize("name", ["float32", "float64", "bfloat16", "complex64", "int8"])
def test_touches_nothing_past_the_operands(name):
    case = Case(name)
    system = ctypes.CDLL(None, use_errno=True)
    page = mmap.PAGESIZE

    def at_the_end_of_a_page(x: np.ndarray) -> np.ndarray:
        """A copy whose last byte is the last before a page that may not be touched."""
        room = -(-x.nbytes // page) * page
        memory = mmap.mmap(-1, room + page)
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        assert system.mprotect(ctypes.c_void_p(start + room), ctypes.c_size_t(page), 0) == 0
        copy = np.frombuffer(memory, x.dtype, x.size, room - x.nbytes).reshape(x.shape)
        copy[...] = x
        return copy

    for m, n, k in [
        (1, 5, 7),
        (3, 7, 5),
        (1, 21, 40),
        (5, 21, 100),
        (15, 17, 19),
        (33, 35, 37),
        (3, 200, 700),
        (17, 700, 33),
    ]:
        for turned in range(8):
            c, a, b = (
                at_the_end_of_a_page(case.make(cols, rows)).T
                if turned & bit
                else at_the_end_of_a_page(case.make(rows, cols))
                for rows, cols, bit in ((m, n, 1), (m, k, 2), (k, n, 4))
            )
            case.check(c, a, b)


@pytest.mark.parametrize("m, n", [(1, 2000), (2, 2000), (3, 1999), (8, 1000), (2000, 1), (2000, 5), (1, 1)])
@pytest.mark.parametrize("turned", [False, True])
def test_skinny(m, n, turned):
    case = Case("float32")
    b = case.make(n, 700).T if turned else case.make(700, n)
    case.check(case.make(m, n), case.make(m, 700), b)
    case.check(case.make(m, n), case.make(m, 700), b, 0.5, 2.0, case.make(n))


@pytest.mark.parametrize("tile", [None, "avx2"] if "avx2" in runnable_tiles() else [None])
@pytest.mark.parametrize(
    "m, n, k",
    [
        (20, 1100, 600),  # few rows, large B
        (33, 1100, 1030),
        (1100, 20, 600),  # few columns, large A
        (1024, 20, 1024),
        (33, 34, 5000),  # long sums, small C
        (1, 9, 70_001),
        (1, 1, 70_001),
        (1, 1, 15),
        (2, 3000, 600),  # B read along its rows
        (5000, 1, 5),  # many short sums
        (64, 96, 96),
    ],
)
def test_shapes_that_go_other_ways(m, n, k, tile):
    for name in ("float32", "float64", "int32") if m * n * k < 1 << 22 else ("float32",):
        case = Case(name, tile=tile)
        for turned in range(8):
            c, a, b = (
                case.make(cols, rows).T if turned & bit else case.make(rows, cols)
                for rows, cols, bit in ((m, n, 1), (m, k, 2), (k, n, 4))
            )
            case.check(c, a, b)
            case.check(c, a, b, *((2, 3) if case.exact else (0.5, 2.0)), case.make(n))


@pytest.mark.parametrize("name", ["float32", "complex64", "bfloat16"])
def test_bound_products_have_two_batch_dims_and_a_bias_for_each_item(name):
    case = Case(name)
    outer, batch, m, n, k = 3, 4, 5, 17, 7
    a, b = case.make(batch, m, outer, k).transpose(2, 0, 1, 3), case.make(outer, 1, k, n)
    bias, c = case.make(outer, batch, 1, n), np.zeros((outer, batch, m, n), case.numpy)
    steps = lambda x: [s // x.itemsize if n > 1 else 0 for s, n in zip(x.strides, x.shape)]  # noqa: E731
    fields = {"outer": outer, "batch": batch, "m": m, "n": n, "k": k, "alpha": 1.0, "beta": 0.0}
    for x, array, names in (
        ("c", c, ("outer", "batch", "row", "col")), ("a", a, ("outer", "batch", "row", "k")),
        ("b", b, ("outer", "batch", "k", "col")), ("bias", bias, ("outer", "batch", "row", "col")),
    ):  # fmt: skip
        fields |= {f"{x}_{name}": step for name, step in zip(names, steps(array))}
    bind(dt.BY_NAME[name], **fields)(c.ctypes.data, a.ctypes.data, b.ctypes.data, bias.ctypes.data)
    expected = case.wide(a) @ case.wide(b) + case.wide(bias)
    np.testing.assert_allclose(case.wide(c), expected, atol=1e-5, rtol=1e-2 if name == "bfloat16" else 1e-5)


def test_k_of_zero_is_beta_c_plus_bias():
    case = Case("float32")
    a, b, c = np.empty((3, 0), "f"), np.empty((0, 5), "f"), np.full((3, 5), np.nan, "f")
    case.run(c, a, b)
    assert (c == 0).all()
    c[...] = 2
    case.run(c, a, b, 1.0, 3.0, np.arange(5, dtype="f"))
    np.testing.assert_array_equal(c, 6 + np.arange(5, dtype="f") + np.zeros((3, 1), "f"))


def test_bias_along_rows():
    case = Case("float32")
    a, b, bias = case.make(70, 30), case.make(30, 50), case.make(70)
    for c in (np.empty((70, 50), "f"), np.empty((50, 70), "f").T):
        strides = [s // 4 for x in (c[None], a[None], b[None]) for s in x.strides]
        case.call(
            c.ctypes.data, a.ctypes.data, b.ctypes.data, 1, 70, 50, 30, *strides, 1.0, 0.0, bias.ctypes.data, 1, 0
        )
        np.testing.assert_allclose(c, a @ b + bias[:, None], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(1, 40, 300), (5, 6, 7), (20, 40, 30), (2, 600, 300), (150, 170, 600)])
def test_nan_and_infinity_go_where_a_plain_sum_takes_them(value, shape):
    m, n, k = shape
    case = Case("float32")
    for turned in (False, True):
        a, b = case.make(m, k), case.make(n, k).T if turned else case.make(k, n)
        a[m // 2, k // 3], b[k // 2, n - 1] = value, value
        c = np.empty((m, n), "f")
        case.run(c, a, b)
        with np.errstate(invalid="ignore"):
            expected = a.astype("f8") @ b.astype("f8")
        np.testing.assert_array_equal(np.isnan(c), np.isnan(expected))
        np.testing.assert_array_equal(c[np.isinf(expected)], expected[np.isinf(expected)].astype("f"))
        assert np.isfinite(c[np.isfinite(expected)]).all()


@pytest.mark.parametrize(
    "batch, m, n, k",
    [
        (1, 1, 3000, 900),
        (1, 5, 900, 800),
        (1, 200, 300, 1500),
        (1, 257, 129, 600),
        (40, 33, 20, 65),
        (3, 200, 210, 220),
        (1, 20, 1100, 600),
        (1, 1100, 20, 1200),
        (1, 33, 34, 5000),
        (1, 2, 3000, 600),
        (1, 1, 1, 200_003),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_same_bits_on_any_number_of_threads(batch, m, n, k, turned):
    before = threads.get_num_threads()
    for name in ("float32", "float64", "complex64", "bfloat16"):
        case = Case(name)
        a, b = case.make(batch, m, k), case.make(batch, n, k).swapaxes(1, 2) if turned else case.make(batch, k, n)
        results = []
        try:
            for count in (1, 2, 4):
                threads.set_num_threads(count)
                c = case.make(batch, m, n)
                case.run(c, a, b)
                results.append(c)
        finally:
            threads.set_num_threads(before)
        for other in results[1:]:
            np.testing.assert_array_equal(results[0].view("u1"), other.view("u1"))


def test_four_python_threads_at_once():
    case = Case("float32")
    inputs = [(case.make(150 + i, 520), case.make(90, 520).T) for i in range(4)]
    expected = [np.empty((len(a), 90), "f") for a, _ in inputs]
    for c, (a, b) in zip(expected, inputs, strict=True):
        case.run(c, a, b)
    wrong = []

    def work(index: int) -> None:
        c = np.empty_like(expected[index])
        for _ in range(30):
            c[...] = np.nan
            case.run(c, *inputs[index])
            if not np.array_equal(c, expected[index]):
                wrong.append(index)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_after_fork():
    case = Case("float32")
    a, b = case.make(300, 700), case.make(700, 300)
    expected, c = np.empty((300, 300), "f"), np.empty((300, 300), "f")
    case.run(expected, a, b)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            case.run(c, a, b)
            status = 0 if np.array_equal(c, expected) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    case.run(c, a, b)
    np.testing.assert_array_equal(c, expected)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_packing_memory_is_reused():
    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    case = Case("float32")
    a, b, c = case.make(400, 2000), case.make(2000, 400), case.make(400, 400)
    for _ in range(3):
        case.run(c, a, b)
    before = resident()
    for _ in range(40):
        case.run(c, a, b)
        case.run(c.T, b.T, a.T)
    assert resident() - before < 16 << 20


def test_wrong_arguments():
    with pytest.raises(TypeError, match="matmul_float32"):
        product_for("float32")(1, 2, 3)
    with pytest.raises(TypeError):
        product_for("float32")("c", *range(20))


def test_bool_has_no_product():
    with pytest.raises(RuntimeError, match="\"addmm_impl_cpu_\" not implemented for 'Bool'"):
        matmul(dt.bool_)


def test_each_machine_gets_its_tile():
    shape_for, shapes = matmul_kernel.shape_for, matmul_kernel.SHAPES
    wide = "+avx2,+fma,+avx512f,+avx512bw,+avx512dq,+avx512vl"
    assert shape_for(wide, "x86_64") is shapes["avx512"]
    assert shape_for(wide + ",+avx512bf16", "x86_64") is shapes["avx512bf16"]
    assert shape_for("+avx2,+fma,-avx512f", "x86_64") is shapes["avx2"]
    assert shape_for("+sse2,-avx2", "x86_64") is shapes["any"]
    assert shape_for("+neon", "aarch64") is shapes["neon"]


@pytest.mark.parametrize("tile", matmul_kernel.SHAPES)
@pytest.mark.parametrize("name", ELEMENTS)
def test_the_text_for_every_machine_is_valid(name, tile):
    import llvmlite.binding as llvm

    text = matmul_kernel.module_text(dt.BY_NAME[name].code, matmul_kernel.SHAPES[tile])
    llvm.parse_assembly(text, llvm.create_context()).verify()
