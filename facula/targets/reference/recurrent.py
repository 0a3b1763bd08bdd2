"""Recurrent layers with NumPy, step by step; `targets/cpu/recurrent.py` documents the arguments."""

from collections.abc import Callable

import numpy as np

from facula.core.dtype import float32, int64

from .memory import window

__all__ = ["recurrent", "recurrent_backward"]

GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "LSTM": 4, "GRU": 3}


def _array(at: int, *shape: int) -> np.ndarray:
    """Dense float32 memory, to read and write; nothing at address 0."""
    strides = tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape)))
    return window(at, float32, shape, strides) if at else np.zeros(shape, "f4")


def _pieces(work: int, count: int) -> list[tuple[slice, slice | None, slice]]:
    """Rows, rows of the step before (None: the initial state), rows of the state."""
    made = []
    for first, n, before, row in window(work, int64, (count, 4), (4, 1)).tolist():
        behind = None if before < 0 else slice(before, before + n)
        made.append((slice(first, first + n), behind, slice(row, row + n)))
    return made


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def recurrent(mode: str) -> Callable[..., None]:
    """All steps of one direction."""

    def call(gates, out, cells, h0, c0, weights, bias, work, count, batch, hidden):
        pieces, number = _pieces(work, count), GATES[mode]
        rows = max(piece[0].stop for piece in pieces)
        gates, out = _array(gates, rows, number * hidden), _array(out, rows, hidden)
        cells = _array(cells, rows, hidden)
        h0, c0 = _array(h0, batch, hidden), _array(c0, batch, hidden)
        weights, bias = _array(weights, number * hidden, hidden), _array(bias, number * hidden)
        for here, behind, row in pieces:
            h, c = (h0[row], c0[row]) if behind is None else (out[behind], cells[behind])
            share = h @ weights.T
            if mode == "GRU":
                (a, b, n), (d, e, m) = np.split(gates[here], 3, 1), np.split(share + bias, 3, 1)
                r, z = _sigmoid(a + d), _sigmoid(b + e)
                n = np.tanh(n + r * m)
                gates[here], cells[here] = np.concatenate([r, z, n], 1), m
                out[here] = (h - n) * z + n
            elif mode == "LSTM":
                i, f, g, o = np.split(gates[here] + share, 4, 1)
                i, f, g, o = _sigmoid(i), _sigmoid(f), np.tanh(g), _sigmoid(o)
                gates[here], cells[here] = np.concatenate([i, f, g, o], 1), f * c + i * g
                out[here] = o * np.tanh(cells[here])
            else:
                total = gates[here] + share
                out[here] = np.tanh(total) if mode == "RNN_TANH" else np.maximum(total, 0)

    return call


def recurrent_backward(mode: str) -> Callable[..., None]:
    """The gradients that go from step to step."""

    def call(
        sums, state_sums, flow, flow_cells, first_h, first_cells, grad, gates, out, cells, h0, c0, weights, work, count,
        batch, hidden,
    ):  # fmt: skip
        pieces, number = _pieces(work, count), GATES[mode]
        rows = max(piece[0].stop for piece in pieces)
        sums, state_sums = _array(sums, rows, number * hidden), _array(state_sums, rows, number * hidden)
        flow, flow_cells, grad = (_array(x, rows, hidden) for x in (flow, flow_cells, grad))
        first_h, first_cells, h0, c0 = (_array(x, batch, hidden) for x in (first_h, first_cells, h0, c0))
        gates, weights = _array(gates, rows, number * hidden), _array(weights, number * hidden, hidden)
        out, cells = _array(out, rows, hidden), _array(cells, rows, hidden)
        for here, behind, row in reversed(pieces):
            to_h, to_c = (first_h, first_cells) if behind is None else (flow, flow_cells)
            there = row if behind is None else behind
            old_h, old_c = (h0[row], c0[row]) if behind is None else (out[behind], cells[behind])
            total = grad[here] + flow[here]
            direct = 0
            if mode == "LSTM":
                i, f, g, o = np.split(gates[here], 4, 1)
                t = np.tanh(cells[here])
                of_cell = flow_cells[here] + total * o * (1 - t * t)
                parts = (
                    of_cell * g * i * (1 - i), of_cell * old_c * f * (1 - f), of_cell * i * (1 - g * g),
                    total * t * o * (1 - o),
                )  # fmt: skip
                to_c[there] = of_cell * f
                sums[here] = state = np.concatenate(parts, 1)
            elif mode == "GRU":
                r, z, n = np.split(gates[here], 3, 1)
                of_n = total * (1 - z) * (1 - n * n)
                of_r, of_z = of_n * cells[here] * r * (1 - r), total * (old_h - n) * z * (1 - z)
                sums[here] = np.concatenate([of_r, of_z, of_n], 1)
                state_sums[here] = state = np.concatenate([of_r, of_z, of_n * r], 1)
                direct = total * z
            else:
                slope = 1 - out[here] ** 2 if mode == "RNN_TANH" else out[here] > 0
                sums[here] = state = total * slope
            to_h[there] = state @ weights + direct

    return call
