"""Sorted writes on 'cuda' in the emulator: the bits of the order of rows, also of long runs in pieces."""

import numpy as np
import pytest

import facula
from facula.core import dtype as dt
from facula.ir import expr as ir
from facula.ir.kernel import COMBINES, Input, Kernel, Param, Result
from facula.targets.cuda import code
from facula.targets.cuda.order import segments, sort_texts
from tests.targets.cuda.emulator import COMPILER
from tests.targets.cuda.fake_driver import FUNCTIONS, FakeDriver, installed
from tests.targets.kernels import access, check_kernel, loaded

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no g++ here")


@pytest.fixture
def fake(emulator, monkeypatch):
    monkeypatch.setattr(segments, "SORT_STEPS", 0)
    with installed(FakeDriver(emulator, memory=64 << 20), monkeypatch) as found:
        yield found


def on_gpu(fake):
    """A `compile` for `check_kernel`, whose operands are in the host's memory, which is this GPU's, too."""

    def compile(kernel, how):
        made = code.compile(kernel, how)
        assert code._CODES[made].segments is not None
        return made

    return compile


def names(fake):
    return [FUNCTIONS[args[0]].name for args in fake.named("cuLaunchKernel")]


AT = ir.load("i", dt.int64)


def scatter(t, combine, step=None, where=None, disjoint=False):
    offset = AT if step is None else AT * ir.param("step", dt.int64)
    params = () if step is None else (Param("step", dt.int64),)
    result = Result("out", t, loaded("x", t), offset=offset, where=where, combine=combine)
    return Kernel("scatter", (Input("i", dt.int64), Input("x", t)), (result,), params, disjoint=disjoint)


TYPES = [dt.float32, dt.bfloat16, dt.complex64, dt.bool_]


@pytest.mark.parametrize("t", TYPES, ids=str)
def test_elements(fake, t):
    """Runs shorter than a piece have the bits of the order of rows; others the last write, or a sum of pieces."""
    n = 700
    i = np.random.default_rng(0).integers(0, 50, n)
    exact = t.kind in "bui" or t is dt.float32
    for combine in ("set", "add") if t.kind == "c" else COMBINES:
        check_kernel(
            on_gpu(fake), scatter(t, combine), (n,), strides=[(0,), None, None], values={"i": i}, reach={"out": 60},
            plain=True, tolerance=16 if combine in ("add", "mul") and not exact else 0, least=1.0,
        )  # fmt: skip
    assert "facula_sort_block" in names(fake) and fake.memory


def test_rows(fake, monkeypatch):
    """Offsets that leave room for the other dims, and some that do not: then all elements are sorted."""
    monkeypatch.setattr(segments, "PIECE", 8)
    monkeypatch.setattr(sort_texts, "HELD", {4: 128, 8: 128})
    i = np.random.default_rng(0).integers(0, 9, 300)
    where = ir.ne(AT, 5)
    for t, step in ((dt.float32, 20), (dt.float32, 7), (dt.float16, 40)):
        check_kernel(
            on_gpu(fake), scatter(t, "add", True, where), (300, 20), strides=[(0, 1), (1, 0), None], params=(step,),
            values={"i": i}, reach={"out": 10 * step}, plain=True, tolerance=8 if t is dt.float32 else 64, least=4.0,
        )  # fmt: skip
        assert FUNCTIONS[fake.named("cuLaunchKernel")[-1][0]].mode == "sorted"
        assert any("targets" in name for name in names(fake))
    assert "facula_sort_move" in names(fake)
    check_kernel(
        on_gpu(fake), scatter(dt.float32, "set", True, where), (300, 20), strides=[(0, 1), (1, 0), None], params=(20,),
        values={"i": i}, reach={"out": 200}, plain=True,
    )  # fmt: skip


def test_writes_that_meet_within_rows(fake):
    """Those of index_add (offsets of the row's dims alone) and of scatter_add (of all dims)."""
    i = np.random.default_rng(1).integers(0, 5, 300)
    for combine in COMBINES:
        kernel = scatter(dt.float32, combine, True, disjoint=True)
        check_kernel(
            on_gpu(fake), kernel, (7,), (150,), strides=[(1, 0), (0, 1), (1, 7)], params=(7,), values={"i": i},
            reach={"out": 40}, plain=True,
        )  # fmt: skip
        check_kernel(
            on_gpu(fake), kernel, (2,), (150,), strides=[(1, 0), (150, 1), (1, 7)], params=(2,), values={"i": i},
            reach={"out": 40}, plain=True,
        )  # fmt: skip


def test_sums_do_not_depend_on_the_order_of_threads(fake, monkeypatch):
    monkeypatch.setattr(segments, "PIECE", 8)
    x, i = np.random.default_rng(0).standard_normal(3000).astype("f4"), np.random.default_rng(0).integers(0, 3, 3000)
    found = []
    for order in (0, 1):
        out = facula.zeros(5, device="cuda")
        fake.order = order  # of the next launch; it changes with each
        out.index_add_(0, facula.tensor(i, device="cuda"), facula.tensor(x, device="cuda"))
        found.append(out.cpu().numpy().tobytes())
    assert found[0] == found[1]
    np.testing.assert_allclose(np.frombuffer(found[0], "f4")[:3], [x[i == k].sum() for k in range(3)], rtol=1e-4)


def test_operators(fake):
    """Gradients of an embedding, scatter_add, index_put, max-unpooling: as on the CPU."""
    facula.manual_seed(0)
    table, index = facula.randn(30, 6), facula.randint(30, (40, 5))
    results = []
    for where in ("cpu", "cuda"):
        w, i = table.to(where).clone().requires_grad_(), index.to(where)
        facula.nn.functional.embedding(i, w, padding_idx=3).square().sum().backward()
        x = facula.zeros(6, 30, device=where)
        y = x.scatter_add(1, i[:6], facula.ones(6, 5, device=where))
        z = facula.index_put(x, (i[:, 0] % 6, i[:, 1]), table[:, 0].detach().repeat(2)[:40].to(where), accumulate=True)
        results.append([w.grad.cpu().numpy(), y.cpu().numpy(), z.cpu().numpy()])
    for a, b in zip(*results):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-6)
    assert names(fake).count("facula_embedding_scatter") >= 1
    assert any(FUNCTIONS[args[0]].mode == "sorted" for args in fake.named("cuLaunchKernel"))


def test_what_pays():
    """A few rows go on one thread; thousands of them, or long rows, are sorted."""
    kernel = scatter(dt.float32, "add", True)
    how = access(kernel, (10, 768), (), [(0, 1), (1, 0), (768, 1)])
    made = segments.Segments(kernel, how, code.Code)
    assert made.apart == {1}
    assert not made.pays((10, 768)) and made.pays((8192, 768)) and not made.pays((1, 1 << 20))
    kernel = scatter(dt.float32, "add", True, disjoint=True)
    how = access(kernel, (768,), (8192,), [(1, 0), (0, 1), (1, 768)])
    made = segments.Segments(kernel, how, code.Code)
    assert made.pays((768, 8192)) and made.pays((1 << 20, 64)) and not made.pays((768, 20))
    how = access(kernel, (1 << 20,), (64,), [(1, 0), (64, 1), (1, 1 << 20)])
    made = segments.Segments(kernel, how, code.Code)
    assert made.apart == set() and not made.pays((1 << 20, 64)) and made.pays((1000, 1000))


def test_divisors():
    at = AT * ir.param("step", dt.int64) + ir.load("j", dt.int64) * 6
    assert segments._divisor(at, {"step": 9}) == 3
    assert segments._divisor(ir.select(AT < 0, AT + ir.param("step", dt.int64), AT), {"step": 9}) == 1
    assert segments._fill_no_gap([(20, 1), (3, 20)], 60) and not segments._fill_no_gap([(20, 1)], 19)
    assert not segments._fill_no_gap([(20, 1), (3, 19)], 600) and not segments._fill_no_gap([(2, 0)], 5)
