"""Products through a cuBLASLt without a GPU, which computes from descriptors and raw memory alone."""

import gc
import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import facula
from facula.core import dtype as dt
from facula.core import precision
from facula.operators import scaled
from facula.targets.cuda.libraries import blas, cublaslt, direct
from facula.targets.cuda.libraries import operation as sizes
from facula.targets.cuda.libraries.operation import operation, way
from facula.targets.cuda.memory import pool
from facula.targets.cuda.routines import product as generated
from tests.operators import results
from tests.operators.table import load_all
from tests.targets.cuda import fake_blas, products
from tests.targets.cuda.emulator import COMPILER
from tests.targets.cuda.fake_blas import FakeBlas
from tests.targets.cuda.fake_driver import FakeDriver, installed
from tests.targets.cuda.table import Away

GENERATED = generated.BoundProduct.function
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no g++ here")


@pytest.fixture
def fake(emulator, monkeypatch):
    found = FakeDriver(emulator, memory=64 << 20)
    with installed(found, monkeypatch, FakeBlas(found)):
        monkeypatch.setattr(generated.BoundProduct, "function", _not_expected)
        yield found


def _not_expected(*addresses):
    raise AssertionError("the generated kernel is not to be used")


def library() -> FakeBlas:
    return cublaslt.library()


class Matrices:
    """Batches of matrices in the GPU's memory: an array to look at, strides in elements, an address."""

    def __init__(self, fake: FakeDriver, shape, order=(0, 1, 2, 3), gap=0, seed=0, dtype="f4", offset=0):
        sizes = [shape[d] for d in order]
        sizes[-1] += gap
        count = int(np.prod(sizes)) + offset
        _, self.start = fake.cuMemAlloc(max(1, count) * np.dtype(dtype).itemsize)
        raw = fake.blocks[self.start].view(dtype)
        random = np.random.default_rng(seed)
        raw[:] = random.integers(-4, 5, raw.size) + (1j * random.integers(-4, 5, raw.size) if "c" in dtype else 0)
        whole = raw[offset:].reshape(sizes)[..., : sizes[-1] - gap]
        self.array = whole.transpose(np.argsort(order))
        self.address = self.start + offset * raw.itemsize
        self.steps = [s // raw.itemsize for s in self.array.strides]


def bound(c: Matrices, a: Matrices, b: Matrices, bias: Matrices | None = None, element=dt.float32, **more) -> Any:
    """The product of (outer, batch, rows, columns) each; sizes of 1 repeat."""
    outer, batch, m, n = c.array.shape
    fields: dict[str, Any] = {"outer": outer, "batch": batch, "m": m, "n": n, "k": a.array.shape[-1]}
    each = {"c": (c, "row", "col"), "a": (a, "row", "k"), "b": (b, "k", "col")}
    for name, (x, row, col) in {**each, **({"bias": (bias, "row", "col")} if bias else {})}.items():
        steps = [step * (size > 1) for step, size in zip(x.steps, x.array.shape)]
        fields |= {f"{name}_{part}": step for part, step in zip(("outer", "batch", row, col), steps)}
    return blas.bind_product(element, **{"alpha": 1.0, "beta": 0.0, **fields, **more})


def check(fake: FakeDriver, c, a, b, bias=None, element=dt.float32, alpha: Any = 1.0, beta: Any = 0.0) -> None:
    """One product against NumPy's, then once more, as it is known now; what lies between C's elements stays."""
    made = bound(c, a, b, bias, element, alpha=alpha, beta=beta)
    wanted = np.matmul(a.array, b.array) * alpha + c.array * beta + (0 if bias is None else bias.array)
    raw, seen = fake.blocks[c.start].view(c.array.dtype), c.array.copy()
    kept = raw.copy()
    for _ in range(2):
        made(c.address, a.address, b.address, bias.address if bias else 0)
        np.testing.assert_array_equal(c.array, wanted)
        c.array[...] = seen
        np.testing.assert_array_equal(raw, kept)


ROWS, COLUMNS = (0, 1, 2, 3), (0, 1, 3, 2)


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "c8", "c16"])
def test_every_order_of_operands(fake, dtype):
    """Rows or columns side by side, gaps between them, both batch dims, factors: no copy, one call each."""
    element = {"f4": dt.float32, "f8": dt.float64, "f2": dt.float16, "c8": dt.complex64, "c16": dt.complex128}[dtype]
    for orders in itertools.product((ROWS, COLUMNS), repeat=3):
        for lead, gap, alpha, beta in (((1, 1), 0, 1.0, 0.0), ((1, 3), 2, 2.0, 0.0), ((2, 3), 0, 1.0, 3.0)):
            shapes = ((*lead, 4, 5), (*lead, 4, 6), (*lead, 6, 5))
            c, a, b = (
                Matrices(fake, shape, order, gap, seed, dtype)
                for seed, (shape, order) in enumerate(zip(shapes, orders))
            )
            check(fake, c, a, b, element=element, alpha=alpha, beta=beta)
    assert len(library().named("matmul")) == 2 * len(library().named("heuristic")) == 48 and not launches(fake)


def launches(fake: FakeDriver) -> int:
    """How many generated kernels ran."""
    return len(fake.named("cuLaunchKernel"))


def test_vectors(fake):
    """Sizes of 1, whose strides say nothing."""
    for m, n, k in itertools.product((1, 3), repeat=3):
        if m == n == 1:
            continue  # a reduction
        for orders in itertools.product((ROWS, COLUMNS), repeat=3):
            shapes = ((1, 2, m, n), (1, 2, m, k), (1, 2, k, n))
            c, a, b = (Matrices(fake, shape, order) for shape, order in zip(shapes, orders))
            check(fake, c, a, b)
    assert not launches(fake)


def test_no_elements(fake):
    """Neither results without elements nor sums of nothing are the library's."""
    for m, n, k in ((0, 2, 2), (2, 0, 2), (2, 2, 0)):
        made = blas.bind_product(dt.float32, m=m, n=n, k=k, c_row=n, c_col=1, a_row=k, a_k=1, b_k=n, b_col=1)
        with pytest.raises(AssertionError, match="generated"):
            made(0, 0, 0)
    assert not library().calls


@pytest.mark.parametrize("order", [ROWS, COLUMNS])
def test_biases(fake, order):
    """A row, a column, a matrix, one number; of one item or of each: added by the library where it can."""
    lacking = [(), ("vector",)]
    for lacks, lead in itertools.product(lacking, ((1, 1), (1, 3))):
        library().lacks = set(lacks)
        c = Matrices(fake, (*lead, 4, 5), order)
        a, b = Matrices(fake, (*lead, 4, 6)), Matrices(fake, (*lead, 6, 5), COLUMNS)
        for shape in ((1, 1, 1, 5), (1, 1, 4, 1), (1, 1, 1, 1), (1, 1, 4, 5), (*lead, 1, 5), (*lead, 4, 5)):
            check(fake, c, a, b, Matrices(fake, shape, order), alpha=2.0)


@needs_compiler
def test_biases_that_are_copied_are_few(fake):
    """The row of a layer is the library's work; its address may change, and the descriptor follows."""
    c, a, b = Matrices(fake, (1, 1, 4, 5)), Matrices(fake, (1, 1, 4, 6)), Matrices(fake, (1, 1, 6, 5), COLUMNS)
    rows = [Matrices(fake, (1, 1, 1, 5), seed=seed) for seed in range(3)]
    made = bound(c, a, b, rows[0])
    for row in (*rows, rows[0]):
        made(c.address, a.address, b.address, row.address)
        np.testing.assert_array_equal(c.array, np.matmul(a.array, b.array) + row.array)
    assert len(library().named("heuristic")) == 1 and not launches(fake)
    check(fake, c, a, b, Matrices(fake, (1, 1, 4, 1)))
    assert launches(fake) == 2, "a column of a product whose rows lie side by side"


@needs_compiler
def test_operands_that_are_copied(fake):
    """Strides of neither 1, overlapping or repeated rows: copied where that pays, else the generated kernel's."""
    n = 400
    a, b, c = (Matrices(fake, (1, 1, n, n), seed=seed) for seed in range(3))
    spread = Matrices(fake, (1, 1, n, 2 * n))
    spread.array, spread.steps = spread.array[..., ::2], [0, 0, 2 * n, 2]
    repeated = Matrices(fake, (1, 1, 1, n))
    repeated.array, repeated.steps = np.broadcast_to(repeated.array, (1, 1, n, n)), [0, 0, 0, 1]
    backwards = Matrices(fake, (1, 1, n, n))
    backwards.array, backwards.steps = backwards.array[..., ::-1, :], [0, 0, -n, 1]
    backwards.address += 4 * n * (n - 1)
    for left, right, to, copies in (
        (spread, b, c, 1),
        (a, repeated, c, 1),
        (backwards, spread, c, 2),
        (a, b, spread, 1),
    ):
        before = launches(fake)
        check(fake, to, left, right)
        assert launches(fake) == before + 2 * copies
    few = Matrices(fake, (1, 1, 4, 8))
    few.array, few.steps = few.array[..., ::2], [0, 0, 8, 2]
    with pytest.raises(AssertionError, match="generated"):
        check(fake, Matrices(fake, (1, 1, 4, 4)), few, Matrices(fake, (1, 1, 4, 4)))


@needs_compiler
def test_batches_that_do_not_merge(fake, monkeypatch):
    """Heads between rows, as attention has them: a call each of the smaller dim, or copies where there are many."""
    monkeypatch.setattr(sizes, "GENERATED", 1.0)  # products a second
    for outer, batch, size, calls, copies in ((2, 3, 5, 2, 0), (3, 2, 5, 2, 0), (7, 6, 5, 1, 2)):
        c = Matrices(fake, (outer, batch, size, size))
        a, b = (Matrices(fake, (outer, batch, size, size), (0, 2, 1, 3), seed=seed) for seed in range(2))
        before = len(library().named("matmul")), launches(fake)
        check(fake, c, a, b)
        found = len(library().named("matmul")) - before[0], launches(fake) - before[1]
        assert found == (2 * calls, 2 * copies)
    a.array, a.steps = np.broadcast_to(a.array[:1], a.array.shape), [0, *a.steps[1:]]
    check(fake, c, a, b)
    assert way(operation(dt.float32, bound(c, a, b).fields, False)).packed[0].count == a.array.size


def test_alignment_is_promised_as_it_is(fake):
    """The library is asked once for each alignment; views that begin elsewhere get an algorithm of their own."""
    c, b = Matrices(fake, (1, 1, 4, 5)), Matrices(fake, (1, 1, 6, 5))
    made = bound(c, Matrices(fake, (1, 1, 4, 6)), b)
    for offset, asked in ((0, 1), (1, 2), (64, 2), (3, 2), (2, 3), (4, 4), (0, 4)):
        a = Matrices(fake, (1, 1, 4, 6), offset=offset)
        made(c.address, a.address, b.address)
        np.testing.assert_array_equal(c.array, np.matmul(a.array, b.array))
        assert len(library().named("heuristic")) == asked


def test_memory_beside_the_operands_is_the_pools(fake, monkeypatch):
    """What an algorithm needs is taken for the call, from the stream that it runs in; machine code does that, too."""
    a = Matrices(fake, (1, 1, 64, 64))
    made = bound(a, a, a)
    out = Matrices(fake, (1, 1, 64, 64))
    made(out.address, a.address, a.address)
    calls = len(fake.named("cuMemAlloc"))
    made(out.address, a.address, a.address)
    assert made.runs[0].workspace == 4096 and len(fake.named("cuMemAlloc")) == calls
    assert pool.pool().now() == 0 and pool.pool().most == 4096
    stream = facula.cuda.Stream()
    with facula.cuda.stream(stream):
        made(out.address, a.address, a.address)
    np.testing.assert_array_equal(out.array, np.matmul(a.array, a.array))
    monkeypatch.setattr(blas.Call, "__call__", None)
    out.array[...] = 0
    made(out.address, a.address, a.address)
    np.testing.assert_array_equal(out.array, np.matmul(a.array, a.array))
    assert pool.pool().now() == 0 and len(fake.named("cuMemAlloc")) == calls + 1


def test_a_product_is_bound_once(fake):
    c, a, b = Matrices(fake, (1, 1, 4, 5)), Matrices(fake, (1, 1, 4, 6)), Matrices(fake, (1, 1, 6, 5))
    assert bound(c, a, b) is bound(c, a, b) and bound(c, a, b) is not bound(c, a, b, alpha=2.0)
    blas.product(dt.float32)(c.address, a.address, b.address, 1, 4, 5, 6, 0, 5, 1, 0, 6, 1, 0, 5, 1, 1.0, 0.0, 0, 0, 0)
    np.testing.assert_array_equal(c.array, np.matmul(a.array, b.array))


def test_known_calls_are_machine_codes(fake, monkeypatch):
    """Python is not asked again, in any thread or stream, or for another bias, until the settings change."""
    c, a, b = Matrices(fake, (1, 1, 4, 5)), Matrices(fake, (1, 1, 4, 6)), Matrices(fake, (1, 1, 6, 5), COLUMNS)
    rows = [Matrices(fake, (1, 1, 1, 5), seed=seed) for seed in range(2)]
    made = bound(c, a, b, rows[0])
    plain = (c.address, a.address, b.address)
    made.function(*plain, 0)
    made.function(*plain, rows[0].address)
    wanted = [np.matmul(a.array, b.array) + (row.array if row else 0) for row in (None, *rows)]
    asked = []
    monkeypatch.setattr(blas.Product, "_run", lambda self, *given: asked.append(given) or run(self, *given))
    known, made.runs = made.runs, [None, None]
    stream = facula.cuda.Stream()

    def twice():
        for bias, result in ((0, wanted[0]), (rows[0].address, wanted[1])):
            c.array[...] = 0
            made.function(*plain, bias)
            np.testing.assert_array_equal(c.array, result)

    def elsewhere():
        with facula.cuda.stream(stream):
            twice()

    twice()
    elsewhere()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(elsewhere).result()
    assert not asked and [call[-1] for call in library().named("matmul")] == [0] * 4 + [stream.cuda_stream] * 4
    for row, result in ((1, wanted[2]), (1, wanted[2]), (0, wanted[1])):
        c.array[...] = 0
        made.function(*plain, rows[row].address)
        np.testing.assert_array_equal(c.array, result)
    assert not asked
    call, noted = known[1], []
    made.runs = known
    busy = direct.WORDS.index("busy")
    with monkeypatch.context() as patch:  # what the library reads is changed by nobody meanwhile
        patch.setattr(blas.Call, "_start", lambda self, *given: noted.append(self.words[busy]))
        call(*plain, rows[1].address)
        assert noted == [1] and call.words[busy] == 0
        patch.setattr(blas.Call, "__call__", lambda self, *given: noted.append("waits"))
        call.words[busy] = 1
        made.function(*plain, rows[0].address)
        assert noted == [1, "waits"]
        call.words[busy] = 0
    monkeypatch.setattr(precision.NOW, "products", precision.NOW.products)
    precision.change_products(tf32=True)
    twice()
    assert len(asked) == 2
    for wrong in (("a", 0, 0, 0), (2**64, 0, 0, 0)):
        with pytest.raises((TypeError, OverflowError)):
            made.function(*wrong)


run = blas.Product._run


def test_settings_of_precision(fake, monkeypatch):
    """TF32, sums in float16, how parts of sums are put together: asked anew where one changes."""
    monkeypatch.setattr(precision.NOW, "products", precision.Products())
    c, a, b = (Matrices(fake, (1, 1, 8, 8), seed=seed) for seed in range(3))
    a.array[...] = 1 + 2.0**-12
    b.array[...] = np.eye(8)
    made = bound(c, a, b)
    for tf32, wanted in ((False, 1 + 2.0**-12), (True, 1.0), (False, 1 + 2.0**-12)):
        precision.change_products(tf32=tf32)
        made(c.address, a.address, b.address)
        assert (c.array == wanted).all()
    assert len(library().named("heuristic")) == 2
    half = Matrices(fake, (1, 1, 8, 8), dtype="f2")
    made = bound(half, half, half, element=dt.float16)
    out, masks = Matrices(fake, (1, 1, 8, 8), dtype="f2"), []
    for changes in ({}, {"fp16_reduced": (False, True)}, {"fp16_reduced": (False, False)}, {"fp16_accumulation": True}):
        precision.change_products(**{**precision.Products()._asdict(), **changes})
        made(out.address, half.address, half.address)
        config, *_, mask = list(library().algorithms.values())[-1]
        masks.append((mask, config[0][:2]))
    assert masks == [(6, (68, 0)), (2, (68, 0)), (0, (68, 0)), (6, (64, 2))]


def test_what_the_library_refuses(fake):
    """Errors in PyTorch's words; of what it has no algorithm for, a warning and the generated kernel."""
    c, a, b = Matrices(fake, (1, 1, 4, 5)), Matrices(fake, (1, 1, 4, 6)), Matrices(fake, (1, 1, 6, 5))
    made = bound(c, a, b)
    made(c.address, a.address, b.address)
    text = "CUDA error: CUBLAS_STATUS_INVALID_VALUE when calling `cublasLtMatmul`"
    with pytest.raises(RuntimeError, match=text):
        made(c.address, 512, b.address)
    library()._has = lambda *given: False
    with pytest.warns(UserWarning, match=r"no algorithm for torch.float32 1 x \(4 x 6\) @ \(6 x 5\)"):
        with pytest.raises(AssertionError, match="generated"):
            bound(c, a, b, alpha=3.0)(c.address, a.address, b.address)


def test_without_the_library(fake):
    """A library that does not start is told of once; one that is missing leaves the generated kernel."""
    library().cublasLtCreate = lambda place: 1
    with pytest.warns(UserWarning, match="without cuBLASLt, far slower .it says CUBLAS_STATUS_NOT_INITIALIZED"):
        assert isinstance(blas.bind_product(dt.float32, m=2, n=1, k=1), generated.BoundProduct)
    cublaslt.use(None)
    assert isinstance(blas.bind_product(dt.float32, m=2, n=1, k=1), generated.BoundProduct)
    assert isinstance(blas.bind_product(dt.int64, m=2, n=1, k=1), generated.BoundProduct)


def test_descriptors_are_given_back(fake):
    c, a, b = Matrices(fake, (1, 1, 4, 5)), Matrices(fake, (1, 1, 4, 6)), Matrices(fake, (1, 1, 6, 5))
    known = bound(c, a, b)
    made = blas.Product(known.kind, known.fields, known.slow)
    made(c.address, a.address, b.address)
    assert len(library().kept) == 5, "the handle, a product, three layouts"
    del made
    gc.collect()
    assert len(library().kept) == 1


PRODUCTS = ("mm", "bmm", "matmul", "mv", "dot", "addmm", "baddbmm", "nn.functional.linear", "chain_matmul", "tensordot")


@needs_compiler
def test_operators(fake, monkeypatch):
    """What the samples of products give on the CPU, they give here; also laid out otherwise."""
    monkeypatch.setattr(generated.BoundProduct, "function", GENERATED)  # of samples without elements, of copies
    rows, compared = load_all(), 0
    for name, (dtype, layout) in itertools.product(
        PRODUCTS, (("float32", "dense"), ("bfloat16", "transposed"), ("complex64", "dense"))
    ):
        for number, sample in enumerate(rows[name].samples):
            wanted = results.call(rows[name], number, sample, dtype, layout)[0]
            with monkeypatch.context() as patch:
                patch.setattr(results, "Maker", Away)
                found = results.call(rows[name], number, sample, dtype, layout)[0]
            for x, y in zip(wanted, found):
                tolerance = {"rtol": 2e-2, "atol": 4e-2} if dtype == "bfloat16" else {"rtol": 1e-5, "atol": 1e-5}
                np.testing.assert_allclose(results.plain(y), results.plain(x), **tolerance)
                compared += 1
    assert compared > 120 and len(library().named("matmul")) > 90


@needs_compiler
def test_dots(fake):
    """A row and a column: one launch for a batch, or two where the sum is long; with a bias the library's."""
    for dtype, element, lead, k in (("f4", dt.float32, 1, 40_000), ("f4", dt.float32, 3, 40), ("i2", dt.int16, 1, 40)):
        shapes = ((1, lead, 1, 1), (1, lead, 1, k), (1, lead, k, 1))
        c, a, b = (Matrices(fake, shape, gap=1, dtype=dtype) for shape in shapes)
        made, before = bound(c, a, b, element=element), launches(fake)
        made(c.address, a.address, b.address)
        np.testing.assert_array_equal(c.array, np.matmul(a.array, b.array))
        assert launches(fake) == before + (2 if k > 40 else 1)
    assert not library().calls
    c, a, b = Matrices(fake, (1, 1, 1, 1)), Matrices(fake, (1, 1, 1, 8)), Matrices(fake, (1, 1, 8, 1))
    check(fake, c, a, b, Matrices(fake, (1, 1, 1, 1)))
    check(fake, c, a, b, alpha=2.0)
    assert len(library().named("matmul")) == 4


@needs_compiler
def test_gradients_of_layers(fake):
    """A layer's three products are the library's, none needs a copy."""
    nn, found = facula.nn, []
    for where in "cpu", "cuda":
        facula.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 4)).to(where)
        x = facula.randn(2, 5, 8).to(where).requires_grad_()
        model(x).backward(facula.ones(2, 5, 4, device=where))
        found.append([x.grad, *(p.grad for p in model.parameters())])
    for here, there in zip(*found):
        np.testing.assert_allclose(there.cpu().numpy(), here.numpy(), rtol=1e-5, atol=1e-5)
    assert len(library().named("matmul")) == 6


# --- sums of an operand -----------------------------------------------------------------------------------------------


def with_sums(summed: str, dtype: str = "f4", element=dt.float32, of=("turned", "rows"), sizes=(4, 5, 6)) -> Any:
    """A product of matrices, sums of one of them; how A and B lie: rows side by side, or columns ("turned")."""
    m, n, k = sizes
    fake = library().gpu
    c, sums = (Matrices(fake, (1, 1, *s), dtype=dtype) for s in ((m, n), (1, m if summed == "a" else n)))
    a, b = (
        Matrices(fake, (1, 1, *shape), COLUMNS if how == "turned" else ROWS, seed=seed, dtype=dtype)
        for seed, (how, shape) in enumerate(zip(of, ((m, k), (k, n))))
    )
    fields = bound(c, a, b, element=element).fields
    return blas.bind_product_and_sums(element, summed, **fields), (c, sums, a, b)


def check_sums(made: Any, summed: str, operands: tuple[Matrices, ...]) -> None:
    c, sums, a, b = operands
    c.array[...], sums.array[...] = -1, -1
    made.function(*[x.address for x in operands])
    np.testing.assert_array_equal(c.array, np.matmul(a.array, b.array))
    wanted = a.array.sum(-1) if summed == "a" else b.array.sum(-2)
    np.testing.assert_array_equal(sums.array[0, 0, 0], wanted[0, 0])


SUMMED = {"a": ("turned", "rows"), "b": ("rows", "rows")}  # layouts of operands of which the library makes sums


@pytest.mark.parametrize("summed", "ab")
def test_sums_beside_a_product(fake, monkeypatch, summed):
    """One call of the library, then machine code's, wherever the sums go."""
    for dtype, element in (("f4", dt.float32), ("f2", dt.float16)):
        made, operands = with_sums(summed, dtype, element, SUMMED[summed])
        assert not any(made.table.words[1:]), "the first call loads kernels, which machine code does not allow for"
        check_sums(made, summed, operands)
        with monkeypatch.context() as patch:
            patch.setattr(blas.Call, "__call__", None)
            check_sums(made, summed, operands)
            other = Matrices(fake, (1, 1, 1, 64), dtype=dtype)
            made.function(operands[0].address, other.address, *[x.address for x in operands[2:]])
            size = operands[1].array.size
            np.testing.assert_array_equal(other.array[..., :size], operands[1].array)
    assert len(library().named("matmul")) == 6 and len(library().named("heuristic")) == 2 and not launches(fake)


def test_which_sums_the_library_makes(fake):
    """Those of operands whose sums run from row to row in memory, in matrices of floats of at most 32 bits."""
    for summed, of in itertools.product("ab", itertools.product(("turned", "rows"), repeat=2)):
        made, operands = with_sums(summed, of=of)
        fits = of[0] == "turned" if summed == "a" else of[1] == "rows"
        assert (made is not None) == fits, (summed, of)
        if fits:
            check_sums(made, summed, operands)
    assert len(library().named("matmul")) == 4, "and none was refused"
    assert with_sums("a", "f8", dt.float64)[0] is None and with_sums("a", "c8", dt.complex64)[0] is None
    fields = {"m": 4, "n": 5, "k": 6, "a_row": 1, "a_k": 4, "b_k": 5, "b_col": 1, "c_row": 5, "c_col": 1}
    assert blas.bind_product_and_sums(dt.float32, "a", **fields) is not None
    assert blas.bind_product_and_sums(dt.float32, "a", **fields, batch=2, a_batch=24) is None
    assert blas.bind_product_and_sums(dt.float32, "a", **{**fields, "k": 0}) is None
    assert blas.bind_product_and_sums(dt.float32, "a", **{**fields, "m": 1, "n": 1}) is None, "a dot"
    assert blas.bind_product_and_sums(dt.float32, "a", **{**fields, "a_row": 2, "a_k": 8}) is None, "to be copied"
    cublaslt.use(None)
    assert blas.bind_product_and_sums(dt.float32, "a", **fields) is None


@needs_compiler
def test_sums_that_the_library_does_not_make_at_once(fake, monkeypatch):
    """Without an algorithm, and where it might sum less exactly than in float32: a product, then a kernel."""
    monkeypatch.setattr(precision.NOW, "products", precision.Products())
    for summed in "ab":
        made, (c, sums, a, b) = with_sums(summed, of=SUMMED[summed])
        library().lacks = {"sums"}
        assert with_sums(summed, of=SUMMED[summed], sizes=(4, 5, 7))[0] is None
        before = launches(fake)
        check_sums(made, summed, (c, sums, a, b))
        assert launches(fake) == before, "known already"
        odd = Matrices(fake, sums.array.shape, offset=1)
        check_sums(made, summed, (c, odd, a, b))
        check_sums(made, summed, (c, odd, a, b))
        assert launches(fake) == before + 2
        library().lacks = set()
    made, operands = with_sums("a")
    half, halves = with_sums("a", "f2", dt.float16)
    for changes, apart, half_apart in (({"tf32": True}, 1, 0), ({"tf32": False, "fp16_accumulation": True}, 0, 1)):
        precision.change_products(**changes)
        before = launches(fake)
        check_sums(made, "a", operands)
        assert launches(fake) == before + apart
        check_sums(half, "a", halves)
        assert launches(fake) == before + apart + half_apart


@needs_compiler
def test_gradients_of_a_weight_and_its_bias(fake):
    """One call for both, also of `addmm` with factors; what is needed alone, and second derivatives, as elsewhere."""
    nn = facula.nn.functional
    x, w, b = (facula.randn(*shape) for shape in ((2, 5, 8), (16, 8), (16,)))
    layer = lambda x, w, b: nn.linear(x, w, b)  # noqa: E731
    plus = lambda x, w, b: facula.addmm(b, x[0], w.T, alpha=2, beta=3)  # noqa: E731
    for call, needed in itertools.product((layer, plus), ((1, 1, 1), (0, 1, 1), (0, 1, 0), (0, 0, 1))):
        found, counts = [], []
        for where in "cpu", "cuda":
            given = [t.to(where).requires_grad_(bool(n)) for t, n in zip((x, w, b), needed)]
            out = call(*given)
            grad = facula.linspace(-1, 1, out.numel(), device=where).view(out.shape)
            for _ in range(2):  # the second time by machine code
                before = len(library().named("matmul")), launches(fake)
                found.append(facula.autograd.grad(out, [t for t in given if t.requires_grad], grad, retain_graph=True))
                counts.append((len(library().named("matmul")) - before[0], launches(fake) - before[1]))
        for one in found[2:]:
            for there, here in zip(one, found[0], strict=True):
                agree(there, here)
        alone = needed == (0, 0, 1)
        factors = 0 if call is layer else sum(needed)  # a launch each
        views = needed[0] if call is plus else 0  # what x[0] is a part of
        assert counts[2] == counts[3] == (0 if alone else needed[0] + needed[1], factors + alone + 2 * views), needed
    given = [t.cuda().requires_grad_() for t in (x, w, b)]
    first = facula.autograd.grad(layer(*given).square().sum(), given, create_graph=True)
    second = facula.autograd.grad(sum(g.square().sum() for g in first), given)
    given = [t.requires_grad_() for t in (x, w, b)]
    first = facula.autograd.grad(layer(*given).square().sum(), given, create_graph=True)
    for there, here in zip(second, facula.autograd.grad(sum(g.square().sum() for g in first), given)):
        agree(there, here, 1e-4)


# --- results of other dtypes ----------------------------------------------------------------------------------------


def moved(*tensors):
    return [x.cuda() for x in tensors]


def agree(found, wanted, tolerance=1e-5) -> None:
    assert found.dtype is wanted.dtype and found.is_cuda
    np.testing.assert_allclose(found.cpu().double().numpy(), wanted.double().numpy(), tolerance, tolerance)


def once(fake, *given, call, wanted=None, tolerance=1e-5) -> None:
    """The result of the CPU, by one call of the library and nothing else."""
    before = len(library().named("matmul")), launches(fake)
    found = call(*moved(*given))
    assert (len(library().named("matmul")), launches(fake)) == (before[0] + 1, before[1])
    agree(found, call(*given) if wanted is None else wanted, tolerance)


def test_wider_results(fake):
    for kind in (facula.bfloat16, facula.float16):
        a, b = facula.randn(5, 16).to(kind), facula.randn(16, 3).to(kind)
        once(fake, a, b, call=lambda a, b: facula.mm(a, b, out_dtype=facula.float32))
        a, b = facula.randn(2, 5, 16).to(kind), facula.randn(2, 3, 16).to(kind).mT
        once(fake, a, b, call=lambda a, b: facula.bmm(a, b, out_dtype=facula.float32))


def test_products_of_bytes(fake):
    a, b = (facula.randint(-128, 128, shape, dtype=facula.int8) for shape in ((17, 32), (8, 32)))
    once(fake, a, b.t(), call=facula._int_mm)


@needs_compiler
def test_scaled_products(fake):
    """8-bit floats: the operands side by side along k, or converted; one scale each, or rows of them; a bias."""
    kinds = facula.float8_e4m3fn, facula.float8_e5m2
    a, b = facula.randn(5, 32).to(kinds[0]), facula.randn(16, 32).to(kinds[0]).t()
    one, rows = (facula.tensor(2.0), facula.tensor(3.0)), (facula.rand(5, 1), facula.rand(1, 16))
    bias = facula.randn(16).bfloat16()
    for scales in (one, rows):
        for result, tolerance in ((facula.float32, 1e-5), (facula.bfloat16, 1e-2), (kinds[0], 0.13)):
            call = lambda *x: facula._scaled_mm(*x, out_dtype=result)  # noqa: B023, E731
            once(fake, a, b, *scales, call=call, tolerance=tolerance)
            once(fake, a.to(kinds[1]), b, *scales, call=call, tolerance=tolerance)
        call = lambda *x: facula._scaled_mm(*x, out_dtype=facula.bfloat16, use_fast_accum=True)  # noqa: E731
        once(fake, a, b, *scales, bias, call=call, tolerance=1e-2)
    for left, right in ((a.to(kinds[1]), b.to(kinds[1])), (a, b.contiguous())):  # what the library lacks
        before = launches(fake)
        call = lambda *x: facula._scaled_mm(*x, out_dtype=facula.float32)  # noqa: E731
        agree(call(*moved(left, right, *one)), call(left, right, *one))
        assert launches(fake) > before


@needs_compiler
def test_older_libraries_know_of_one_scale(fake, monkeypatch):
    monkeypatch.setitem(fake_blas.ATTRIBUTES, "MatmulDesc", {
        n: a for n, a in fake_blas.ATTRIBUTES["MatmulDesc"].items() if n < 31
    })  # fmt: skip
    a, b = facula.randn(5, 32).to(facula.float8_e4m3fn), facula.randn(16, 32).to(facula.float8_e4m3fn).t()
    scales = facula.rand(5, 1), facula.rand(1, 16)
    call = lambda *x: facula._scaled_mm(*x, out_dtype=facula.float32)  # noqa: E731
    agree(call(*moved(a, b, *scales)), call(a, b, *scales))
    assert len(library().named("matmul")) == 1, "of float32"


def test_scales_are_read_where_they_are_now(fake):
    """The addresses of scales are the descriptor's, and follow the tensors."""
    a, b = facula.randn(5, 32).to(facula.float8_e4m3fn), facula.randn(16, 32).to(facula.float8_e4m3fn).t()
    x, y = moved(a, b)
    for value in (1.0, 2.0, 4.0):
        scale, other = moved(facula.tensor(value), facula.tensor(0.5))
        found = facula._scaled_mm(x, y, scale, other, out_dtype=facula.float32)
        agree(found, facula.mm(a.float(), b.float()) * value * 0.5)
    assert len(library().named("heuristic")) == 1


def test_products_with_an_activation(fake, monkeypatch):
    bias, a, b = facula.randn(5), facula.randn(3, 4), facula.randn(4, 5)
    once(fake, bias, a, b, call=facula._addmm_activation)
    call = lambda *x: facula._addmm_activation(*x, use_gelu=True, alpha=2)  # noqa: E731
    wanted = facula.nn.functional.gelu(facula.addmm(bias, a, b, alpha=2), approximate="tanh")
    once(fake, bias, a, b, call=call, wanted=wanted)
    with monkeypatch.context() as patch:
        patch.setattr(blas.Call, "__call__", None)  # machine code does all of it, for another bias too
        patch.setattr(scaled, "remember", None)
        bias = bias + 1
        wanted = facula.nn.functional.gelu(facula.addmm(bias, a, b, alpha=2), approximate="tanh")
        agree(call(*moved(bias, a, b)), wanted)


@needs_compiler
def test_activations_that_are_kernels(fake):
    """Without an algorithm, and of a bias that is no row: by tanh all the same."""
    a, b = facula.randn(3, 4), facula.randn(4, 5)
    for bias, beta, lacks in (
        (facula.randn(5), 1, {"activation"}),
        (facula.randn(5), 2, ()),
        (facula.randn(3, 5), 1, ()),
    ):
        library().lacks = {*lacks}
        for use_gelu in (False, True):
            plain = facula.addmm(bias, a, b, beta=beta)
            wanted = facula.nn.functional.gelu(plain, approximate="tanh") if use_gelu else plain.relu()
            for _ in range(2):
                agree(facula._addmm_activation(*moved(bias, a, b), beta=beta, use_gelu=use_gelu), wanted)
    wide = [t.double() for t in (facula.randn(5), a, b)]
    agree(facula._addmm_activation(*moved(*wide)), facula._addmm_activation(*wide))
    bias, x, y = moved(facula.randn(6), a, facula.randn(4, 6))  # another plan
    odd = facula.cat([x.new_zeros(1), x.flatten()])[1:].view(3, 4)  # aligned less well than what is known
    for use_gelu in (False, True):
        library().lacks = set()
        wanted = facula._addmm_activation(bias, x, y, use_gelu=use_gelu).cpu()
        library().lacks = {"activation"}
        before = launches(fake)
        agree(facula._addmm_activation(bias, odd, y, use_gelu=use_gelu), wanted)
        assert launches(fake) == before + 1


@needs_compiler
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_layers_of_encoders(fake, activation):
    """Evaluation joins a product and its activation where PyTorch does, and nowhere else."""
    facula.manual_seed(0)
    layer = facula.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation=activation).eval()
    x = facula.randn(2, 3, 8)
    with facula.no_grad():
        wanted = layer(x)
    layer, x, found = layer.cuda(), x.cuda(), []

    def run(near: float) -> int:
        """Launches of a call, of which the first compiles some."""
        for _ in range(2):
            before = launches(fake)
            agree(layer(x), wanted, near)
        return launches(fake) - before

    with facula.no_grad():
        joined = run(1e-5 if activation == "relu" else 1e-3)
        with facula.autocast("cuda", enabled=False):
            assert run(1e-3) == joined
        handle = layer.norm1.register_forward_hook(lambda *given: None)
        found.append(run(1e-5))
        handle.remove()
        facula.backends.mha.set_fastpath_enabled(False)
        found.append(run(1e-5))
        facula.backends.mha.set_fastpath_enabled(True)
    layer.linear1.weight.requires_grad_(True)
    with facula.enable_grad():
        before = launches(fake)
        layer(x)
        found.append(launches(fake) - before)
    assert found == [joined + 1] * 3
    layer.linear1.bias = None  # which the joined call needs
    wanted = layer.cpu()(x.cpu()).detach()
    agree(layer.cuda()(x).detach(), wanted, 1e-5)
    with facula.no_grad():
        agree(layer(x), wanted, 1e-5)


@needs_compiler
def test_results_of_other_dtypes_without_the_library(fake, monkeypatch):
    monkeypatch.setattr(generated.BoundProduct, "function", GENERATED)
    cublaslt.use(None)
    a, b = facula.randint(-9, 9, (3, 4), dtype=facula.int8), facula.randint(-9, 9, (4, 5), dtype=facula.int8)
    agree(facula._int_mm(*moved(a, b)), facula._int_mm(a, b))


@needs_compiler
def test_what_sessions_with_a_gpu_run(fake, monkeypatch, capsys):
    """`products.py` on the fake: a few that agree, one that is wrong."""
    monkeypatch.setattr(generated.BoundProduct, "function", GENERATED)
    fake.memory = 1 << 30
    few = [case for case in products.cases(((17, 33, 9),), ("float32",)) if "every" not in case[0]]
    assert products.compare(few) == 0
    name, operands, *rest = few[0]
    monkeypatch.setattr(library(), "_scaled", lambda op, made: made * 1.001)
    assert products.compare([(name, [x[:5] if x is operands[0] else x for x in operands], *rest)]) == 1
    said = capsys.readouterr().out
    assert "beyond what is allowed" in said and "float32 to torch.float32, bias vector, without memory" in said
