"""Copied rows against NumPy: widths, strides, kinds of indices, wrong ones, threads, both ends of memory."""

import numpy as np
import pytest

from facula.targets.cpu import threads
from facula.targets.cpu.rows import build, rows
from facula.targets.reference.rows import rows as oracle

GUARD = 80


def run(call, table, index, width):
    """The copied rows of a table of bytes (its first `width`), with guards before and behind."""
    made = np.full(len(index) * width + 2 * GUARD, 77, "u1")
    wrong = call(
        made[GUARD:].ctypes.data, table.ctypes.data, index.ctypes.data, len(index), len(table), width,
        table.strides[0], index.strides[0] // index.itemsize, int(index.itemsize == 8),
    )  # fmt: skip
    assert (made[:GUARD] == 77).all() and (made[-GUARD:] == 77).all()
    return wrong, made[GUARD:-GUARD].reshape(len(index), width)


@pytest.mark.parametrize("vector", [16, 32, None])
@pytest.mark.parametrize("width", [0, 1, 15, 16, 17, 63, 64, 65, 127, 128, 400])
@pytest.mark.parametrize("kind", ["i8", "i4"])
def test_rows(vector, width, kind):
    random = np.random.default_rng(width)
    table = random.integers(0, 256, (37, width + 5), "u1")
    call = rows() if vector is None else build(vector)
    for count in (0, 1, 3, 500):
        index = random.integers(0, 37, 2 * count).astype(kind)[::2]
        for routine in (call, oracle()):
            wrong, made = run(routine, table, index, width)
            assert wrong == -1
            np.testing.assert_array_equal(made, table[index, :width])


def test_first_wrong_index():
    table = np.zeros((5, 1000), "u1")
    before = threads.get_num_threads()
    for bad in (5, -1, 2**40, -(2**62)):
        index = np.zeros(1000, "i8")
        index[[321, 700, 999]] = bad
        for count in (1, 2, 4):
            threads.set_num_threads(count)
            assert run(rows(), table, index, 1000)[0] == 321
        assert run(oracle(), table, index, 1000)[0] == 321
    threads.set_num_threads(before)
