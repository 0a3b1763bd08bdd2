"""Products of tiles, in the emulator: matrix products against NumPy, convolutions against the CPU target."""

import itertools

import numpy as np
import pytest

import facula
from facula.core import dtype as dt
from facula.targets.cuda.routines import convolution, convolution_text, product, tiles
from tests.targets.cuda.emulator import COMPILER
from tests.targets.cuda.fake_driver import FUNCTIONS, FakeDriver, installed

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no g++ here")

PRODUCTS = (dt.float32, dt.float16, dt.bfloat16, dt.complex64, dt.int8)
CONVOLUTIONS = (dt.float32, dt.bfloat16)


@pytest.fixture(scope="module")
def emulator(emulator):
    """The texts of these tests, compiled at once."""
    programs = []
    for t in PRODUCTS:
        ways = {product._way(t, step) for step in (0, 1)}
        shapes = tiles.shapes(t)[-1 if t is dt.float16 else 0 :]
        programs += [product.product_program(t, s, a, b) for s in shapes for a in ways for b in ways]
        programs.append(product.parts_program(t))
    programs += [p for t in CONVOLUTIONS for p in convolution.programs(t)]
    emulator.build_all(list({p.text: p for p in programs}.values()), 16)
    return emulator


@pytest.fixture
def fake(emulator, monkeypatch):
    with installed(FakeDriver(emulator, memory=256 << 20), monkeypatch) as found:
        yield found


def launched(fake: FakeDriver) -> set[str]:
    return {FUNCTIONS[handle].name for handle, *_ in fake.named("cuLaunchKernel")}


# --- products -----------------------------------------------------------------------------------------------------


def bits(t: dt.dtype, x: np.ndarray) -> np.ndarray:
    """Numbers as they lie in memory."""
    if t is dt.bfloat16:
        return (x.astype("f4").view("u4") >> 16).astype("u2")
    return x.astype(t.numpy)


def numbers(t: dt.dtype, x: np.ndarray) -> np.ndarray:
    return (x.astype("u4") << 16).view("f4") if t is dt.bfloat16 else x


def made(t: dt.dtype, shape, random) -> np.ndarray:
    x = random.integers(-4, 5, shape)  # sums of products are exact
    return bits(t, x + 1j * random.integers(-4, 5, shape) if t.kind == "c" else x)


def steps(x: np.ndarray) -> list[int]:
    return [s // x.itemsize for s in x.strides]


def check_product(t, sizes, turned, alpha=1, beta=0, bias=False, pad=0):
    """C in two batch dims, the second of A broadcast; `turned`: which of A, B, C lie the other way round."""
    random = np.random.default_rng(0)
    outer, batch, m, n, k = sizes

    def operand(rows, cols, turn, items):
        shape = (*items, cols, rows + pad) if turn else (*items, rows, cols + pad)
        x = made(t, shape, random)
        return x[..., :rows].swapaxes(-1, -2) if turn else x[..., :cols]

    a, b = operand(m, k, turned[0], (outer, 1)), operand(k, n, turned[1], (outer, batch))
    c, extra = operand(m, n, turned[2], (outer, batch)), made(t, (n,), random)
    wide = np.complex128 if t.kind == "c" else np.int64 if t.kind in "ui" else np.float64
    wanted = alpha * (numbers(t, a).astype(wide) @ numbers(t, b).astype(wide)) + beta * numbers(t, c).astype(wide)
    wanted = bits(t, wanted + numbers(t, extra).astype(wide) * bias)
    fields = {"outer": outer, "batch": batch, "m": m, "n": n, "k": k, "alpha": alpha, "beta": beta, "bias_col": 1}
    fields |= dict(zip(("c_outer", "c_batch", "c_row", "c_col"), steps(c)))
    fields |= dict(zip(("b_outer", "b_batch", "b_k", "b_col"), steps(b)))
    fields |= dict(zip(("a_outer", "a_batch", "a_row", "a_k"), steps(a))) | {"a_batch": 0}
    call = product.bind_product(t, **fields)
    to, left, right, added = (x.__array_interface__["data"][0] for x in (c, a, b, extra))
    call(to, left, right, added if bias else 0)
    if t is dt.bfloat16:  # bits() cuts, the kernel rounds
        np.testing.assert_allclose(numbers(t, c), numbers(t, wanted), rtol=1e-2)
    else:
        np.testing.assert_array_equal(c, wanted)


@pytest.mark.parametrize("t", PRODUCTS, ids=str)
def test_products(fake, monkeypatch, t):
    """Each tile and each way to walk over operands; edges, factors, a bias, k in parts."""
    for shape in tiles.shapes(t)[-1 if t is dt.float16 else 0 :]:
        monkeypatch.setattr(tiles, "choose", lambda *sizes: shape)  # noqa: B023
        product._settled.cache_clear()
        for a, b in itertools.product((False, True), repeat=2):
            sizes = (1, 2, shape.rows // 2 + 5, shape.cols + 9, 2 * shape.deep + 3)
            check_product(t, sizes, (a, b, a != b), beta=a * 2, alpha=1 + b, bias=a != b, pad=5 * (a and b))
        check_product(t, (2, 1, 16, 24, 300), (False, False, False), alpha=2, bias=True)
        check_product(t, (1, 1, 7, 5, 0), (False, False, False), beta=3, bias=True)
        check_product(t, (1, 1, 0, 5, 300), (False, False, False))
    assert launched(fake) == {"facula_product", "facula_product_parts"}
    product._settled.cache_clear()


def test_the_parts_of_k_depend_on_sizes_alone():
    assert tiles.cut(1, 100, 16) == (1, 100), "short sums are not cut"
    assert tiles.cut(1, 10_000, 16) == (70, 144) and tiles.cut(1, 10**6, 16)[0] == 256
    assert tiles.cut(100, 10_000, 16)[0] == 3
    assert tiles.cut(1000, 10_000, 16) == (1, 10_000), "nor are those of many tiles"
    parts, span = tiles.cut(1000, 1 << 33, 32)
    assert parts * span >= 1 << 33 and span < 1 << 31, "what is left of a part is counted in 32 bits"
    large, small = tiles.shapes(dt.float32)
    assert tiles.choose(dt.float32, 1, 4096, 4096) == large and tiles.choose(dt.float32, 1, 512, 512) == small
    assert tiles.choose(dt.float32, 100, 64, 4096) == small, "half of the large one would be empty"


def test_no_product_of_bool(fake):
    with pytest.raises(RuntimeError, match="\"addmm_cuda\" not implemented for 'Bool'"):
        product.bind_product(dt.bool_, m=1, n=1, k=1)


# --- convolutions -------------------------------------------------------------------------------------------------

CASES = [
    ("edges", (2, 12, 9, 10), (20, 12, 3, 3), {"padding": 1}),
    ("groups", (2, 16, 11, 9), (24, 8, 3, 2), {"groups": 2, "stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)}),
    ("eights", (2, 16, 6, 7), (24, 16, 3, 3), {"padding": 1, "stride": 2}),
    ("1 x 1", (3, 24, 5, 5), (16, 24, 1, 1), {}),
    ("a line", (3, 9, 40), (10, 9, 5), {"stride": 2, "padding": 2}),
    ("a volume", (2, 8, 5, 4, 6), (16, 8, 2, 2, 3), {"padding": (1, 0, 1)}),
    ("depthwise", (2, 33, 5, 4), (33, 1, 3, 2), {"groups": 33, "padding": 1}),
    ("few outputs", (2, 6, 9, 8), (4, 3, 3, 3), {"groups": 2, "padding": 2, "stride": 2}),
    ("wider than the input", (2, 8, 3, 3), (8, 8, 5, 5), {"padding": 3}),
    ("no samples", (0, 12, 5, 5), (16, 12, 3, 3), {}),
    ("transposed", (2, 16, 5, 6), (16, 24, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1, "transposed": True}),
    ("transposed groups", (2, 16, 4, 5), (16, 4, 2, 3), {"stride": 3, "groups": 2, "transposed": True}),
]


def results(where, kind, shape, weights, options, last):
    """A convolution with a bias, and its gradients."""
    facula.manual_seed(0)
    options = dict(options)
    turned = options.pop("transposed", False)
    function = getattr(facula.nn.functional, f"conv{'_transpose' * turned}{len(shape) - 2}d")
    own = weights[1] * options.get("groups", 1) if turned else weights[0]
    x, w, b = (facula.randn(*s).to(kind) for s in (shape, weights, (own,)))
    if last and x.dim() == 4:
        x, w = (v.to(memory_format=facula.channels_last) for v in (x, w))
    x, w = (v.to(where).requires_grad_() for v in (x, w))
    out = function(x, w, b.to(where), **options)
    seed = facula.randn(*out.shape).to(kind)
    if last and out.dim() == 4:
        seed = seed.to(memory_format=facula.channels_last)
    out.backward(seed.to(where))
    return [v.detach().cpu().double().numpy() for v in (out, x.grad, w.grad)]


def check_convolution(name, kind, shape, weights, options, last=False):
    wanted = results("cpu", facula.float64, shape, weights, options, last)
    found = results("cuda", kind, shape, weights, options, last)
    for which, a, b in zip(("out", "x.grad", "w.grad"), found, wanted):
        room = (2e-2 if kind is facula.bfloat16 else 1e-5) * max(1.0, np.abs(b).max(initial=0))
        np.testing.assert_allclose(a, b, rtol=0, atol=room, err_msg=f"{name}, {kind}, last={last}: {which}")


@pytest.mark.parametrize(("name", "shape", "weights", "options"), CASES, ids=[c[0] for c in CASES])
def test_convolutions(fake, name, shape, weights, options):
    kinds = (facula.float32, facula.bfloat16)[: 2 if name in ("edges", "eights", "transposed") else 1]
    for kind, last in itertools.product(kinds, (False, True)):
        if len(shape) == 4 or not last:
            check_convolution(name, kind, shape, weights, options, last)
    direct = {"facula_convolution_direct", "facula_convolution_weight_direct"} & launched(fake)
    assert len(direct) == {"depthwise": 2, "few outputs": 2, "transposed groups": 1}.get(name, 0), direct


@pytest.mark.parametrize("last", [False, True])
def test_large_tiles(fake, monkeypatch, last):
    monkeypatch.setattr(tiles, "choose", lambda t, *sizes: tiles.shapes(t)[0])
    for kind in (facula.float32, facula.bfloat16):
        check_convolution("large", kind, (1, 16, 12, 12), (136, 16, 2, 1), {"padding": 1}, last)


def test_vectors_are_taken_where_channels_are_innermost(fake):
    """16 bytes at once where all channels lie at multiples of it; else, and where addresses are odd, one by one."""
    ways = []
    for channels, last in ((16, True), (12, True), (16, False)):
        check_convolution("", facula.bfloat16, (1, channels, 5, 5), (16, channels, 3, 3), {}, last)
        ways.append({s.made.program[-1].wide for s in convolution._KEPT.values()})
        convolution._KEPT.clear()
    assert 8 in ways[0] and ways[1:] == [{1}, {1}]


def test_odd_addresses_are_read_one_by_one(fake):
    x, w, b = (facula.randn(*shape).bfloat16() for shape in ((1, 16, 5, 5), (16, 16, 3, 3), (17,)))
    x, w = (v.to(memory_format=facula.channels_last) for v in (x, w))
    taken = []
    for shift in (0, 1):  # the bias is always read one by one
        spare = facula.empty(x.numel() + shift, dtype=x.dtype, device="cuda")
        given = spare[shift:].as_strided(x.shape, x.stride()).copy_(x)
        found = facula.conv2d(given, w.cuda(), b.cuda()[1:])
        wanted = facula.conv2d(x.double(), w.double(), b.double()[1:])
        np.testing.assert_allclose(found.cpu().double().numpy(), wanted.numpy(), rtol=2e-2, atol=0.2)
        taken.append(fake.named("cuLaunchKernel")[-1][0])
    assert taken[0] != taken[1] and {FUNCTIONS[handle].name for handle in taken} == {"facula_convolution"}


def test_gradients_of_weights_are_cut_in_parts(fake):
    """The same bits in either order of threads and blocks."""
    sizes = (1, 8, 17, 17), (10, 8, 3, 3), {"padding": 1}
    check_convolution("parts", facula.float32, *sizes)
    assert "facula_convolution_weight_parts" in launched(fake)
    found = []
    for fake.order in (0, 1):  # it changes with each launch
        found.append(results("cuda", facula.float32, *sizes, False))
    for a, b in zip(*found):
        np.testing.assert_array_equal(a, b)


def test_plans_are_settled_once(fake):
    x, w = facula.ones(1, 3, 5, 5, device="cuda"), facula.ones(8, 3, 3, 3, device="cuda")
    for _ in range(3):
        facula.conv2d(x, w)
    assert len(convolution._KEPT) == 1 and len(fake.named("cuLaunchKernel")) == 5


def test_sizes_beyond_30_bits_are_refused():
    geometry = dict.fromkeys(convolution_text.GEOMETRY, 1) | {"o2": 1 << 30, "s2": 4}
    with pytest.raises(RuntimeError, match="below 2\\*\\*30"):
        convolution._check_sizes(geometry, np.zeros((1, 5), np.int64))
