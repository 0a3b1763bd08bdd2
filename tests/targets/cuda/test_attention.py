"""Generated attention on the fake driver: sizes, masks, shared heads against the reference target; 16-bit operators."""

import numpy as np
import pytest

import facula
from facula.core import dtype as dt
from facula.targets.cuda.routines import attention
from facula.targets.cuda.routines import attention_matrix as matrix
from facula.targets.cuda.routines.attention_matrix import matrix_program
from facula.targets.cuda.routines.attention_tiles import FORWARD, KEYS, LOW, QUERIES, SINGLE, attention_program
from facula.targets.reference.attention import attention as oracle
from facula.targets.reference.attention import attention_backward as oracle_backward
from tests.targets.cpu.test_attention import Case
from tests.targets.cuda.emulator import COMPILER
from tests.targets.cuda.fake_driver import FUNCTIONS, FakeDriver, installed

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no g++ here")


@pytest.fixture(scope="module")
def gpu(emulator):
    forms = [(FORWARD, dt.float32, SINGLE, 4), (FORWARD, dt.float32, 8, 4)]
    forms += [(name, dt.float32, LOW, columns) for name in (FORWARD, QUERIES, KEYS) for columns in (4, 8)]
    forms += [(name, dt.bfloat16, LOW, 4) for name in (QUERIES, KEYS)]
    forms += [(FORWARD, dt.bfloat16, SINGLE, 4)]
    programs = [attention_program(*form) for form in forms]
    for form in ((dt.bfloat16, 64), (dt.float16, 64), (dt.bfloat16, 128)):
        programs += [matrix_program(name, *form) for name in (matrix.FORWARD, matrix.QUERIES, matrix.KEYS)]
        programs.append(matrix_program(matrix.FORWARD, *form, False))
    emulator.build_all(programs, 7)
    with pytest.MonkeyPatch.context() as patch, installed(FakeDriver(emulator), patch) as fake:
        yield fake


def started(gpu: FakeDriver, since: int) -> list[tuple[str, int]]:
    """Name and number of blocks of each function that was started."""
    return [(FUNCTIONS[call[0]].name, call[1] * call[2]) for call in gpu.named("cuLaunchKernel")[since:]]


def check(case: Case, gpu: FakeDriver) -> tuple[list, list[tuple[str, int]]]:
    """Compares all results; they, and what was started."""
    before = len(gpu.named("cuLaunchKernel"))
    made = case.run(attention.attention(dt.float32), attention.attention_backward(dt.float32))
    right = case.run(oracle(), oracle_backward())
    for name, x, y in zip(("out", "statistics", "q", "k", "v"), made, right):
        limit = 3e-6 * (1 + np.abs(y).max(initial=0)) * max(1, case.sizes[3] ** 0.5 / 8)
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=limit, err_msg=f"{name} {case.sizes}")
    return list(made), started(gpu, before)


SIZES = [
    (1, 1, 1, 1, 1, 1), (1, 2, 5, 7, 3, 4), (2, 1, 17, 65, 16, 48), (1, 1, 1, 150, 64, 64), (1, 1, 130, 1, 20, 20),
    (1, 1, 70, 33, 80, 72), (1, 1, 20, 20, 130, 140),
]  # fmt: skip


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("causal", [False, True])
def test_sizes(sizes, causal, gpu):
    check(Case(*sizes, causal=causal), gpu)


@pytest.mark.parametrize("mask", ["seen", "added", "keys", "columns"])
@pytest.mark.parametrize("causal", [False, True])
def test_masks(mask, causal, gpu):
    check(Case(2, 2, 20, 70, 20, 12, mask=mask, causal=causal, gap=3), gpu)


def test_shared_heads(gpu):
    check(Case(2, 6, 7, 10, 16, 24, group=3, mask="seen"), gpu)


def test_high_tiles(gpu, monkeypatch):
    """A thread has 8 lines where there are enough blocks of them."""
    case = Case(1, 2, 150, 66, 5, 6, causal=True)
    low, many = check(case, gpu)
    monkeypatch.setattr(attention, "ENOUGH_BLOCKS", 4)
    attention._settled.cache_clear()
    high, few = check(case, gpu)
    attention._settled.cache_clear()
    assert many[0] == (FORWARD, 6) and few[0] == (FORWARD, 4)
    np.testing.assert_allclose(low[0], high[0], rtol=1e-5, atol=1e-6)


def test_more_items_than_a_grid_has(gpu, monkeypatch):
    monkeypatch.setattr(attention, "MOST_ITEMS", 2)
    _, calls = check(Case(3, 2, 3, 4, 5, 6, group=2, mask="seen"), gpu)
    assert [n for name, n in calls if name in (FORWARD, QUERIES, KEYS)] == [2, 2, 2]


@pytest.mark.parametrize(
    "sizes", [(0, 2, 3, 4, 8, 8), (1, 2, 0, 4, 8, 8), (1, 2, 3, 0, 8, 8), (1, 2, 3, 4, 0, 8), (1, 2, 3, 4, 8, 0)]
)
def test_nothing(sizes, gpu):
    check(Case(*sizes), gpu)


def test_nan_and_infinity_stay_in_their_rows(gpu):
    case = Case(1, 1, 20, 70, 16, 16)
    case.inputs[0][0, 0, 3, 2] = np.nan
    case.inputs[0][0, 0, 5, 2] = np.inf
    out = case.run(attention.attention(), attention.attention_backward())[0]
    assert np.isnan(out[0, 0, [3, 5]]).all()
    assert np.isfinite(np.delete(out, [3, 5], axis=2)).all()


def test_great_scores(gpu):
    case = Case(1, 1, 20, 70, 16, 16)
    case.inputs[0] *= 300.0
    out, _, *grads = case.run(attention.attention(), attention.attention_backward())
    np.testing.assert_allclose(out, case.run(oracle(), oracle_backward())[0], atol=2e-3)
    assert all(np.isfinite(x).all() for x in grads)


def rounded(x: np.ndarray, t: dt.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Numbers as 16-bit floats: their bits, and their values as float32."""
    if t is dt.float16:
        half = x.astype("f2")
        return half.view("u2"), half.astype("f4")
    bits = (x.view("u4") + 0x7FFF + (x.view("u4") >> 16 & 1)) >> 16
    return bits.astype("u2"), (bits << 16).astype("u4").view("f4")


def check_16_bits(case: Case, t: dt.dtype, gpu: FakeDriver) -> list[str]:
    """Compares what is made of 16-bit operands with what the oracle makes of the same numbers; what was started."""
    before = len(gpu.named("cuLaunchKernel"))
    operands = [rounded(x, t) for x in (*case.inputs, case.grad)]
    batch, heads, group, queries, keys, depth, width = case.sizes
    kind, address, steps = 0, 0, (0, 0, 0, 0)
    if case.mask is not None:
        wide = np.broadcast_to(case.mask, (batch, heads, queries, keys))
        kind, address = 1 if wide.dtype == bool else 2, case.mask.ctypes.data
        steps = tuple(s // wide.itemsize for s in wide.strides)
    found = []
    for n, runs in enumerate(
        ((attention.attention(t), attention.attention_backward(t)), (oracle(), oracle_backward()))
    ):
        *inputs, grad = [pair[n] for pair in operands]
        out = np.full((batch, heads, queries, width), 7, grad.dtype)
        statistics = np.full((2, batch, heads, queries), 7, "f4")
        grads = [np.full(x.shape, 7, x.dtype) for x in inputs]
        strides = lambda *arrays: [s // x.itemsize for x in arrays for s in x.strides[:3]]  # noqa: E731
        common = (
            *[x.ctypes.data for x in (*inputs, out)], address, statistics.ctypes.data, *case.sizes, case.scale,
            int(case.causal), kind, *strides(*inputs, out), *steps,
        )  # fmt: skip
        runs[0](*common)
        runs[1](*common, *[x.ctypes.data for x in (grad, *grads)], *strides(grad, *grads))
        found.append([out, *grads, statistics])
    np.testing.assert_allclose(found[0].pop(), found[1].pop(), rtol=2e-5, atol=2e-5)
    for name, x, y in zip(("out", "q", "k", "v"), *found):
        made = x.view("f2").astype("f4") if t is dt.float16 else (x.astype("u4") << 16).view("f4")
        limit = 2e-2 if t is dt.bfloat16 else 3e-3
        np.testing.assert_allclose(made, y, rtol=limit, atol=limit * (1 + abs(y).max(initial=0)), err_msg=name)
    return [name for name, _ in started(gpu, before)]


UNITS = [matrix.FORWARD, "facula_attention_delta", matrix.KEYS, matrix.QUERIES]


@pytest.mark.parametrize("mask", [None, "seen", "added", "keys", "columns"])
@pytest.mark.parametrize("causal", [False, True])
def test_matrix_units(mask, causal, gpu):
    sizes = (1, 1, 140, 65, 64, 40) if causal else (2, 1, 20, 70, 20, 12)
    t = dt.float16 if mask in ("added", "keys") else dt.bfloat16
    assert check_16_bits(Case(*sizes, mask=mask, causal=causal, gap=4), t, gpu) == UNITS


def test_matrix_units_with_many_features_and_shared_heads(gpu):
    case = Case(1, 2, 33, 130, 128, 100, group=2, causal=True)
    assert check_16_bits(case, dt.bfloat16, gpu) == UNITS
    check_16_bits(Case(1, 2, 40, 10, 30, 70, group=2, mask="seen"), dt.bfloat16, gpu)
    check_16_bits(Case(1, 1, 20, 0, 30, 64), dt.bfloat16, gpu)


def test_few_queries_have_low_tiles(gpu):
    assert check_16_bits(Case(1, 1, 3, 20, 16, 12), dt.bfloat16, gpu)[0] == FORWARD


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_operator_in_16_bits(kind, gpu):
    """Operands go to the kernels as they are, and gradients come from them."""
    facula.manual_seed(0)
    shapes = ((1, 4, 20, 16), (1, 2, 20, 16), (1, 2, 20, 24))
    inputs = [facula.randn(*shape).to(getattr(facula, kind)) for shape in shapes]
    weight = facula.randn(1, 4, 20, 24).to(getattr(facula, kind))

    def run(where: str) -> list:
        given = [x.to(where).requires_grad_() for x in inputs]
        out = facula.nn.functional.scaled_dot_product_attention(*given, is_causal=True, enable_gqa=True)
        before = len(gpu.named("cuLaunchKernel"))
        out.backward(weight.to(where))
        if where == "cuda":
            assert [name for name, _ in started(gpu, before)] == UNITS[1:]
        assert {x.dtype for x in (out, *[g.grad for g in given])} == {inputs[0].dtype}
        return [x.detach().cpu().float().numpy() for x in (out, *[g.grad for g in given])]

    for found, wanted in zip(run("cuda"), run("cpu")):
        np.testing.assert_allclose(found, wanted, rtol=2e-2, atol=2e-2)
