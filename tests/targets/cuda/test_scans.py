"""Scans of rows in pieces, in the emulator against the reference target: ranks, several elements a thread, columns."""

import numpy as np
import pytest

import facula
from facula.core import dtype as dt
from facula.ir import expr as ir
from facula.ir.kernel import Input, Kernel, Result
from facula.targets.cuda.texts import schedule
from facula.targets.cuda.texts.emit import program
from tests.targets.cuda.emulator import COMPILER
from tests.targets.cuda.fake_driver import FUNCTIONS, FakeDriver, installed
from tests.targets.kernels import access, check_kernel, dense, samples

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no g++ here")


def running(kind, t):
    x = ir.load("x", t)
    return Kernel(f"cum{kind}", (Input("x", t),), (Result("out", t, ir.scan(kind, x)),))


def extremes():
    """cummax: the place is a scan of a scan."""
    x = ir.load("x", dt.int32)
    best = ir.scan("max", x)
    place = ir.scan("max", ir.select(ir.eq(x, best), ir.row_index(), ir.const(0, dt.int64)))
    return Kernel("cummax", (Input("x", dt.int32),), (Result("best", dt.int32, best), Result("at", dt.int64, place)))


def turned(shape, row):
    """Strides under which the outer dims lie side by side."""
    own = dense(shape[-row:] + shape[:-row])
    return own[row:] + own[:row]


# kernel, outer, row, whether columns lie side by side
CASES = [
    (running("sum", dt.float32), (1,), (1003,), False),
    (running("sum", dt.int64), (3,), (601,), False),
    (running("max", dt.bool_), (2,), (1500,), False),
    (running("prod", dt.complex64), (2,), (5, 130), False),
    (extremes(), (2,), (1003,), False),
    (extremes(), (1,), (4, 200), False),
    (running("sum", dt.float32), (3,), (200,), True),
    (extremes(), (5,), (100,), True),
    (running("sum", dt.float32), (40,), (7,), False),
]  # fmt: skip


def pattern(case):
    kernel, outer, row, columns = case
    strides = [turned(outer + row, len(row)) if columns else dense(outer + row)] * len(kernel.operands)
    return strides, access(kernel, outer, row, strides)


@pytest.fixture(scope="module")
def emulator(emulator):
    emulator.build([program(case[0], pattern(case)[1]) for case in CASES])
    return emulator


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(schedule, "PIECE_UNITS", 1)


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda n: f"{CASES[n][0].name}{CASES[n][1:]}")
def test_pieces(emulator, short, number):
    """Threads and blocks in either order."""
    kernel, outer, row, _ = CASES[number]
    strides, how = pattern(CASES[number])
    p = program(kernel, how)
    launches, pieces = schedule.launches(p, (*outer, *row))
    assert (pieces > 1) == (row != (7,)) and len(launches) == (1 + p.ranks if pieces > 1 else 1)
    assert p.lanes > 1 or p.mode == "column" or kernel.inputs[0].dtype is dt.complex64
    t, n = kernel.inputs[0].dtype, int(np.prod(outer + row))
    values = {"x": np.exp(samples(dt.float64, n, 2, plain=True) * 1e-3).astype(t.numpy)} if t.kind == "c" else {}
    for order in (0, 1):
        check_kernel(
            lambda k, h: emulator.compile(k, h, order, False),  # noqa: B023
            kernel, outer, row, strides, plain=True, values=values, tolerance=0 if t.kind in "bui" else 1e3, least=1.0,
        )  # fmt: skip


def test_a_piece_that_forgets_what_is_before_is_seen(emulator, short):
    kernel, outer, row, _ = CASES[1]
    strides, how = pattern(CASES[1])
    good = program(kernel, how)
    bad = type(good)(**{**vars(good), "body": good.body.replace("if (pieces > 1)", "if (pieces > 1000)")})
    assert bad.body != good.body
    with pytest.raises(AssertionError, match="differ"):
        check_kernel(lambda k, h: lambda *values: emulator.run(bad, values), kernel, outer, row, strides, plain=True)


def test_masks(emulator, short, monkeypatch):
    """Choosing by mask goes through a scan in pieces."""
    with installed(FakeDriver(emulator, memory=64 << 20), monkeypatch) as fake:
        x = facula.arange(1500, device="cuda")
        assert x[x % 3 == 1].tolist() == list(range(1, 1500, 3))
        grids = [args[1:3] for args in fake.named("cuLaunchKernel") if FUNCTIONS[args[0]].name == "facula_mask_places"]
        assert len(grids) == 2 and grids[0][1] > 1
