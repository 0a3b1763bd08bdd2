"""Recurrent layers of CPUs against the reference target: modes, sizes, ragged sequences, tiles, threads, bounds."""

import functools

import numpy as np
import pytest

from facula.operators.recurrent import _segments
from facula.targets.cpu import threads
from facula.targets.cpu.matmul_kernel import SHAPES
from facula.targets.cpu.recurrent import build
from facula.targets.cpu.recurrent_kernel import BACKWARD, FORWARD, GATES
from facula.targets.reference.recurrent import recurrent as oracle
from facula.targets.reference.recurrent import recurrent_backward as oracle_backward

from .test_matmul import runnable_tiles

OWN = runnable_tiles()[0]
GUARD = 64  # numbers around each array, which must stay as they are


@functools.cache
def routines(mode, tile):
    return build(mode, "forward", SHAPES[tile]), build(mode, "backward", SHAPES[tile])


class Arrays(dict):
    """Named float32 arrays with guards around them."""

    def put(self, name, values):
        whole = np.full(values.size + 2 * GUARD, 9e9, "f4")
        whole[GUARD : GUARD + values.size] = values.reshape(-1)
        self[name] = whole

    def address(self, name):
        return self[name][GUARD:].ctypes.data

    def get(self, name):
        whole = self[name]
        assert (whole[:GUARD] == 9e9).all() and (whole[-GUARD:] == 9e9).all(), f"{name}: written past an end"
        return whole[GUARD:-GUARD]


def run(mode, forward, backward, sizes, hidden, reverse):
    random = np.random.default_rng(hidden)
    rows, batch, gates = sum(sizes), sizes[0], GATES[mode] * hidden
    work = np.array(_segments(tuple(sizes), reverse)[0], np.int64)
    shapes = {
        "gates": (rows, gates), "h0": (batch, hidden), "c0": (batch, hidden), "weights": (gates, hidden),
        "bias": (gates,), "grad": (rows, hidden), "flow": (rows, hidden), "flow_cells": (rows, hidden),
        "out": (rows, hidden), "cells": (rows, hidden), "sums": (rows, gates), "first_h": (batch, hidden),
        "first_cells": (batch, hidden),
    }  # fmt: skip
    arrays = Arrays()
    for name, shape in shapes.items():
        scale = hidden**-0.5 if name == "weights" else 1.0
        arrays.put(name, random.standard_normal(shape) * scale)
    if mode == "GRU":
        arrays.put("state_sums", np.zeros((rows, gates)))
    known = {"work": work.ctypes.data, "count": len(work), "batch": batch, "hidden": hidden}
    if mode != "GRU":
        known["state_sums"] = arrays.address("sums")
    pick = lambda names: [known[n] if n in known else arrays.address(n) for n in names]  # noqa: E731
    forward(*pick(FORWARD))
    backward(*pick(BACKWARD))
    wanted = ["out", "sums", "flow", "first_h"]
    wanted += {"LSTM": ["gates", "cells", "flow_cells", "first_cells"], "GRU": ["gates", "cells", "state_sums"]}.get(
        mode, []
    )
    return {name: arrays.get(name) for name in wanted}


def compare(mode, sizes, hidden, reverse=False, tile=OWN):
    made = run(mode, *routines(mode, tile), sizes, hidden, reverse)
    right = run(mode, oracle(mode), oracle_backward(mode), sizes, hidden, reverse)
    for name, x in made.items():
        np.testing.assert_allclose(x, right[name], rtol=2e-5, atol=2e-5, err_msg=f"{name} {mode} {sizes} {hidden}")


@pytest.mark.parametrize("mode", GATES)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("hidden", [1, 5, 16, 33])
@pytest.mark.parametrize("sizes", [(1, 1), (3, 3, 3), (9, 9, 5, 1), (17, 8, 8, 2), (20,) * 4])
def test_modes(mode, reverse, hidden, sizes):
    compare(mode, sizes, hidden, reverse)


@pytest.mark.parametrize("mode", GATES)
def test_large(mode):
    compare(mode, (20, 20, 13, 4), 160)


@pytest.mark.parametrize("tile", runnable_tiles()[1:])
@pytest.mark.parametrize("mode", GATES)
def test_other_tiles(mode, tile):
    compare(mode, (9, 9, 5, 1), 21, True, tile)
    compare(mode, (4, 4), 16, False, tile)


def test_threads_do_not_change_bits():
    found = []
    before = threads.get_num_threads()
    try:
        for count in (1, 2, 4):
            threads.set_num_threads(count)
            made = [run(mode, *routines(mode, OWN), (30, 30, 7), 130, False) for mode in ("LSTM", "GRU")]
            found.append([x.tobytes() for one in made for x in one.values()])
    finally:
        threads.set_num_threads(before)
    assert found[0] == found[1] == found[2]


def test_gates_are_accurate():
    """tanh and sigmoid over their whole range, by a layer whose state counts nothing."""
    x = np.concatenate([np.linspace(-20, 20, 4001), [-1e30, -100, -1e-20, 0, 1e-20, 100, 1e30, np.nan]]).astype("f4")
    rows = np.stack([np.zeros_like(x), x])
    arrays = {n: np.zeros((2, len(x)), "f4") for n in ("out", "cells")}
    arrays |= {"gates": rows.copy(), "h0": np.zeros((1, len(x)), "f4"), "weights": np.zeros((len(x), len(x)), "f4")}
    work = np.array([(0, 1, -1, 0), (1, 1, 0, 0)], np.int64)
    known = {"work": work.ctypes.data, "count": 2, "batch": 1, "hidden": len(x), "c0": 0, "bias": 0}
    routines("RNN_TANH", OWN)[0](*[known[n] if n in known else arrays[n].ctypes.data for n in FORWARD])
    right = np.tanh(x.astype("f8"))
    np.testing.assert_allclose(arrays["out"][1], right, rtol=2.5e-7, atol=0)
