"""Sorting on 'cuda' in the emulator against the reference target: short rows, long rows of several tiles, all kinds."""

import numpy as np
import pytest

import facula
from facula.core import dtype as dt
from facula.targets.cuda.order import sort as sorting
from facula.targets.cuda.order import sort_texts as texts
from facula.targets.reference.sort import sort as reference_sort
from tests.targets.cuda.emulator import COMPILER
from tests.targets.cuda.fake_driver import FUNCTIONS, FakeDriver, installed

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no g++ here")
SMALL = {4: 128, 8: 128}  # elements that a block sorts, in place of thousands
KINDS = [t for t in dt.ALL if t.kind != "c" and t not in dt.FLOAT8]
LONG = [dt.float32, dt.int64, dt.float16, dt.bool_]


@pytest.fixture(scope="module")
def emulator(emulator):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(texts, "HELD", SMALL)
        some = [texts.spread_program()]
        some += [make(size) for make in (texts.count_program, texts.move_program) for size in SMALL]
        some += [texts.block_program(t) for t in KINDS]
        for make in (texts.select_program, texts.keys_program, texts.longest_program, texts.pick_program):
            some += [make(t) for t in LONG]
        emulator.build_all(some, 14)
    return emulator


@pytest.fixture
def fake(emulator, monkeypatch):
    monkeypatch.setattr(texts, "HELD", SMALL)
    with installed(FakeDriver(emulator, memory=64 << 20), monkeypatch) as found:
        yield found


def elements(t, shape, seed=0, few=False):
    """Random bits, with equal ones, NaN, both zeros and infinities among them."""
    random, n = np.random.default_rng(seed), int(np.prod(shape))
    if t.kind == "b":
        return random.integers(0, 2, shape, dtype="u1")
    unit = f"u{t.itemsize}"
    if few:
        return random.integers(0, 5, shape).astype(unit)
    bits = random.integers(0, 256, (n, t.itemsize), dtype="u1").view(unit).ravel()
    if t.kind == "f":
        top = 1 << 8 * t.itemsize - 1
        infinity = int(texts._INFINITY[t.code].removesuffix("ull"), 16)
        rare = np.array([0, top, infinity, top | infinity, infinity + 1, top | infinity | 5], unit)
        bits = np.where(random.random(n) < 0.2, rare[random.integers(0, len(rare), n)], bits)
    return bits.reshape(shape)


def compare(t, outer, n, inner, how="order", descending=False, first=0, count=None, **options):
    """The same bits and places as the reference target's."""
    count = (n if how in ("order", "first") else 1) if count is None else count
    x = elements(t, (outer, n, inner), **options)
    found = []
    for make in (sorting.sort, reference_sort):
        values, indices = np.zeros((outer, count, inner), x.dtype), np.zeros((outer, count, inner), np.int64)
        make(t)(values.ctypes.data, indices.ctypes.data, x.ctypes.data, outer, n, inner, first, count, how, descending)
        found.append((values, indices))
    for got, wanted in zip(*found):
        np.testing.assert_array_equal(got, wanted, f"{t} {(outer, n, inner)} {how} {descending}")


HOWS = ["order", "kth", "median", "nanmedian", "mode"]


@pytest.mark.parametrize("t", KINDS, ids=str)
def test_short_rows(fake, t):
    for shape in ((3, 7, 1), (1, 1, 1), (2, 100, 3), (40, 2, 1)):
        for descending in (False, True):
            compare(t, *shape, "order", descending)
    for how in HOWS[1:]:
        compare(t, 2, 50, 2, how, first=24)
        compare(t, 3, 33, 1, how, first=16, few=True)
    assert len(fake.named("cuLaunchKernel")) == 16


@pytest.mark.parametrize("t", LONG, ids=str)
def test_long_rows(fake, t, monkeypatch):
    """A row with more tiles than pieces, two whose pieces are a tile; digits that are all equal."""
    monkeypatch.setattr(sorting, "PIECES", 2)
    tile = texts.tile(texts.key_bytes(t))
    compare(t, 1, 2 * tile + 77, 1, "order", True, few=True)
    compare(t, 2, tile // 2, 2, "mode", few=True)
    compare(t, 1, tile + 5, 1, "order", False, first=40, count=300)
    launches = len(fake.named("cuLaunchKernel"))
    assert launches == 3 * (2 + 3 * texts.passes(t)) + 1


def test_rows_that_fill_a_block(fake, monkeypatch):
    monkeypatch.setattr(texts, "HELD", {4: 4096, 8: 2048})
    compare(dt.float32, 2, 1100, 1)
    compare(dt.int64, 3, 600, 1, "mode", few=True)


def test_many_pieces(fake, monkeypatch):
    """More pieces than a thread reads at once while starts are spread."""
    monkeypatch.setattr(texts, "ITEMS", {4: 1, 8: 1})
    monkeypatch.setattr(sorting, "LEAST_TILES", 1)
    n = 4 * texts.SPREAD * texts.tile(4) + 300
    assert sorting._cut(1, n, 4) == (texts.tile(4), 66)
    compare(dt.float16, 1, n, 1)


def test_long_rows_medians(fake):
    for how in HOWS[1:]:
        compare(dt.float16, 3, 700, 1, how, first=349)
        compare(dt.float16, 1, 700, 2, how, first=349, few=True)


@pytest.mark.parametrize("t", LONG, ids=str)
def test_the_first_of_long_rows(fake, t, monkeypatch):
    """Selected without a sort of the whole row; equal ones are taken in order."""
    for few in (False, True):
        for count, descending in ((1, False), (700, True)):
            compare(t, 2, 2500, 1, "first", descending, count=count, few=few)
    assert {FUNCTIONS[args[0]].name for args in fake.named("cuLaunchKernel")} == {"facula_sort_select"}
    monkeypatch.setattr(sorting, "SELECT_PIECE", 500)
    for few in (False, True):
        compare(t, 2, 2503, 1, "first", few, count=7, few=few)
    grids = [args[1] for args in fake.named("cuLaunchKernel")]
    assert grids[-4:] == [10, 2, 10, 2]


def test_operators(fake):
    x = facula.tensor([[3.0, float("nan"), -0.0, 0.0], [1.0, 5.0, 5.0, -2.0]])
    y = x.cuda()
    for make in (
        lambda x: facula.sort(x, dim=0), lambda x: facula.topk(x, 2), lambda x: (facula.argsort(x, stable=True),),
        lambda x: facula.unique(x[1], return_inverse=True, return_counts=True),
    ):  # fmt: skip
        for a, b in zip(make(y), make(x)):
            np.testing.assert_array_equal(a.cpu().numpy(), b.numpy())


def test_a_wrong_order_is_seen(fake, emulator, monkeypatch):
    """The comparison fails for a text that takes negative numbers for large ones."""
    good = texts.block_program(dt.int32)
    assert "(Key)bits ^" in good.body
    bad = type(good)(**{**vars(good), "body": good.body.replace("(Key)bits ^", "(Key)bits | 0 *")})
    emulator.build([bad])
    monkeypatch.setitem(emulator.entries, good.text, emulator.entries[bad.text])
    with pytest.raises(AssertionError, match="Mismatched elements"):
        compare(dt.int32, 3, 40, 1)


def test_rows_of_more_elements_than_places_have_bits(fake):
    with pytest.raises(RuntimeError, match="can not have more than INT_MAX elements"):
        sorting.sort(dt.float32)(0, 0, 0, 1, 1 << 31, 1, 0, 1 << 31, "order", False)
