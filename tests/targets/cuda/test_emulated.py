"""CUDA texts run on the host (`emulator.py`) against the reference target: the cases of the CPU target, and some more.

What the samples table runs, all of it: `python -m tests.targets.cuda.programs --run`.
"""

import itertools
import re
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from facula.core import dtype as dt
from facula.ir import expr as ir
from facula.targets.cuda.texts import schedule
from facula.targets.cuda.texts.emit import Program, program
from facula.targets.reference import interpreter
from tests.targets.cpu import test_emit as cases
from tests.targets.cuda.emulator import COMPILER, chosen
from tests.targets.cuda.kernels import add, layer_norm, reduction, running_share, scatter, softmax
from tests.targets.kernels import access, argument_values, check_kernel, given_or_dense, layouts, samples

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no g++ here")

COMPLEX = (dt.complex64, dt.complex128)
NOT_HERE = ("sigmoid-f32",)  # 1 / (1 + exp(-x)), as PyTorch's on GPUs: 0 where the result is subnormal


def _operations():
    for p in cases.op_cases():
        if p.id not in NOT_HERE:
            cases.test_operation(*p.values)


def _casts():
    kinds = cases.REAL
    for i, j in itertools.product(range(len(kinds)), repeat=2):
        if (i + j) % 3 == 0:
            cases.test_cast(kinds[i], kinds[j])


def _layouts(few=False):
    for t, shape in itertools.product((dt.bfloat16, dt.bool_, dt.complex64), ((67,), (3, 5), (2, 3, 17), (4, 0))):
        if t is dt.bfloat16 or not few:
            cases.test_layouts(t, shape)
    for t in (dt.bool_, dt.float32):
        cases.test_tiles(t, 128)


ROWS = [((3,), (5,)), ((1,), (1,)), ((2, 3), (7,)), ((70,), (9,)), ((3,), (2, 4, 33)), ((5,), (0,)), ((0,), (5,))]


def _reductions(few=False):
    for p in cases.reduce_cases():
        kind, t, outer, row = p.values
        wanted = kind in ("sum", "argmax") and t is dt.float32 if few else t in (dt.int8, dt.float32, dt.complex64)
        if wanted and (outer, row) in ROWS:
            cases.test_reduction(kind, t, outer, row)


def _pieces(few=False):
    """Long rows, which are cut in pieces."""
    for kind, t in (("sum", dt.float32), ("argmin", dt.int16), ("prod", dt.complex64)):
        kernel = reduction(kind, t)
        for outer, row in (((1,), (70_000,)), ((2, 2), (300, 300)), ((3,), (5, 20_000))):
            values = np.exp(samples(dt.float64, int(np.prod(outer + row)), 2, plain=True) * 1e-3).astype(t.numpy)
            columns = layouts(row + outer)["dense"]
            for own in (None, columns[len(row) :] + columns[: len(row)]):
                how = access(kernel, outer, row, [layouts(outer)["dense"], own or
                             layouts(outer + row)["dense"]])  # fmt: skip
                assert schedule.launches(program(kernel, how), (*outer, *row))[1] > 1
                check_kernel(
                    cases.compile, kernel, outer, row, strides=[None, own], values={"x": values}, tolerance=1e3,
                )  # fmt: skip


def _again(few=False):
    """Rows in pieces that are gone over again when their reductions are known."""
    for outer, row, turned in (((40,), (1_500,), True), ((2,), (70_000,), False), ((1,), (200, 300), False))[
        : 3 - 2 * few
    ]:
        columns, still = layouts(row + outer)["dense"], (0,) * len(outer) + layouts(row)["dense"]
        own = columns[len(row) :] + columns[: len(row)] if turned else layouts(outer + row)["dense"]
        for kernel, strides, params in (
            (softmax(dt.float32), [own, own], ()), (layer_norm(dt.float32), [own, None, own, still], (1e-3,)),
        ):  # fmt: skip
            how = access(kernel, outer, row, given_or_dense(kernel, outer, row, strides))
            p = program(kernel, how)
            assert p.ranks == 2 and schedule.launches(p, (*outer, *row))[1] > 1
            check_kernel(
                cases.compile, kernel, outer, row, strides=strides, params=params, tolerance=256.0, least=1e-2,
                plain=True,
            )  # fmt: skip


def _scans(few=False):
    for kind, (outer, row) in itertools.product(
        ("sum",) if few else ("sum", "prod", "max"), [*ROWS, ((2,), (1000,)), ((3,), (5000,))]
    ):
        cases.test_scan(kind, dt.float32, outer, row)
    cases.test_scan("prod", dt.complex64, (2,), (1000,))
    cases.test_scan("sum", dt.int8, (2,), (1000,))
    for outer, row in (((3,), (5,)), ((2,), (3000,)), ((2,), (3, 50))):
        check_kernel(cases.compile, running_share(), outer, row, tolerance=64.0, plain=True)


def _rows(few=False):
    kinds = (dt.bfloat16,) if few else (dt.float32, dt.bfloat16)
    for t, (outer, row) in itertools.product(kinds, [*ROWS, ((2,), (1000,)), ((3,), (5000,))]):
        cases.test_row_kernels(t, outer, row)
    cases.test_in_place()


def _indices(few=False):
    for t in (dt.bfloat16,) if few else (dt.int8, dt.bfloat16, dt.complex32, dt.float64):
        cases.test_gather(t)
        for combine in ("set", "add", "mul", "maximum"):
            cases.test_scatter(t, combine)
    cases.test_checks()
    cases.test_index_and_extent()
    cases.test_loops(dt.int32 if few else dt.float64)
    cases.test_params()
    i = np.random.default_rng(0).integers(0, 5, 300)
    at = ir.load("i", dt.int64)
    for combine in ("set", "add"):  # within a row writes may meet
        for own, each in (((10, 0), 1), ((1, 0), 10)):
            kernel = scatter(at * each, combine, disjoint=True)
            check_kernel(
                cases.compile, kernel, (10,), (30,), strides=[own, (30, 1), (30, 1)], values={"i": i},
                reach={"out": 200}, plain=True,
            )  # fmt: skip


def _complex():
    for op, t in itertools.product(cases.COMPLEX_OPS, COMPLEX):
        cases.test_complex(op, t)
    cases.test_complex_casts_and_parts()
    cases.test_integer_division_never_traps()


ALONE = [_operations, _casts, _complex]  # each element by itself
TOGETHER = [_layouts, _reductions, _pieces, _again, _scans, _rows, _indices]
RUNS = [(f, 0, False) for f in [*ALONE, *TOGETHER]] + [(partial(f, few=True), 1, True) for f in TOGETHER]


def _name(family: Callable[[], None], wide: bool) -> dict[str, Program]:
    """The texts that a family's cases take, without running those that `check_kernel` compares."""
    found, compared = {}, check_kernel

    def compile(kernel, how, bits=None):
        run = interpreter.compile(kernel, how)

        def call(*values):
            p = chosen(kernel, how, values, wide)
            found[p.text] = p
            return run(*values)

        return call

    def check(compile, kernel, outer, row=(), strides=None, params=(), **given):
        if kernel.checks:  # the cases look at what these return
            return compared(compile, kernel, outer, row, strides, params, **given)
        outer, row = tuple(outer), tuple(row)
        strides = given_or_dense(kernel, outer, row, strides)
        how = access(kernel, outer, row, strides)
        values = argument_values(kernel, how, outer, row, [0] * len(strides), strides, params)
        p = chosen(kernel, how, values, wide)
        found[p.text] = p

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cases, "compile", compile)
        patch.setattr(cases, "check_kernel", check)
        patch.setitem(globals(), "check_kernel", check)
        family()
    return found


@pytest.fixture(scope="module")
def emulator(emulator):
    """All texts of the cases, compiled at once."""
    found = {}
    for family, _, wide in RUNS:
        found |= _name(family, wide)
    emulator.build_all(list(found.values()))
    return emulator


@pytest.mark.parametrize(
    "family, backward, wide",
    RUNS,
    ids=[f.__name__[1:] if f in ALONE + TOGETHER else f"{f.func.__name__[1:]}-backward-wide" for f, *_ in RUNS],
)
def test_cases(family, backward, wide, emulator, monkeypatch):
    """Some in either order of threads and blocks, and with indices of either width."""
    before = len(emulator.entries)
    monkeypatch.setattr(cases, "compile", lambda kernel, how, bits=None: emulator.compile(kernel, how, backward, wide))
    family()
    assert len(emulator.entries) == before, "some texts were not named before"


def test_sums_do_not_depend_on_the_order_of_threads(emulator):
    """Bit for bit, in one block and in pieces."""
    x = np.random.default_rng(0).standard_normal(300_000).astype("f4")
    kernel = reduction("sum")
    for n in (1000, 300_000):
        found = []
        for order in (0, 1):
            out = np.zeros(1, "f4")
            how = access(kernel, (1,), (n,), [(1,), (n, 1)])
            emulator.compile(kernel, how, order)(out.ctypes.data, x.ctypes.data, 1, n, n)
            found.append(out.tobytes())
        assert found[0] == found[1]


def test_rows_are_kept_where_they_fit():
    """Shorter ones are looped over by more threads, longer ones by a block."""
    kernel = softmax(dt.float32)
    how = access(kernel, (100,), (300,), [(300, 1)] * 2)
    p = program(kernel, how, False, True)
    assert p.kept and p.keep == 8 and p.body.count("fetch<4>(") == 1
    assert [schedule.kept(p, (100, n)) for n in (128, 129, 8192, 8193)] == [False, True, True, False]
    threads = [schedule.launches(p, (rows, n))[0][0].block for rows, n in ((10**5, 1000), (10**5, 4000), (9, 1000))]
    assert threads == [(32, 8), (128, 2), (256, 1)]
    assert not program(reduction("sum"), access(reduction("sum"), (9,), (999,), [(1,), (999, 1)]), False, True).kept


def test_few_rows_have_many_threads():
    """As many as have eight units of a row each; a block where rows are long."""
    kernel = reduction("sum")
    p = program(kernel, access(kernel, (100,), (300,), [(1,), (300, 1)]))
    threads = [schedule.launches(p, sizes)[0][0].block for sizes in ((1, 1000), (1, 8192), (1024, 2048), (10**5, 2048))]
    assert threads == [(32, 1), (256, 1), (64, 4), (32, 8)]


def test_a_missing_barrier_is_found(emulator):
    """The emulator says so where some threads of a block never reach what the others wait at."""
    kernel = reduction("sum")
    how = access(kernel, (3,), (5,), [(1,), (5, 1)])
    good = program(kernel, how)
    body = good.body.replace("together(", "if (member < 1) together(")
    assert body != good.body
    bad = type(good)(**{**vars(good), "body": body})
    x, out = np.ones((3, 5), "f4"), np.zeros(3, "f4")
    with pytest.raises(AssertionError, match="that others do not reach"):
        emulator.run(bad, (out.ctypes.data, x.ctypes.data, 3, 5, 5))


def test_wrong_texts_give_wrong_results(emulator):
    kernel = add()
    how = access(kernel, (100,), (), [(1,), (1,), (1,)])
    good = program(kernel, how)
    body = re.sub(r"(v\d+) = (\S+) \+ (\S+);", r"\1 = \2 - \3;", good.body)
    assert body != good.body
    bad = type(good)(**{**vars(good), "body": body})
    with pytest.raises(AssertionError, match="differ"):
        check_kernel(lambda k, h: lambda *values: emulator.run(bad, values), kernel, (100,))
