"""Recurrent layers against their formulas in NumPy, sequence by sequence; gradients against differences."""

import numpy as np
import pytest

import facula.operators as ops
from facula.autograd import grad
from facula.operators.creation import from_numpy
from facula.operators.recurrent import GATES, recurrent_layer

from .differences import check_gradients

rng = np.random.default_rng(0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def step(mode, x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr):
    """One step of one sequence."""
    own, state = w_ih @ x + b_ih, w_hh @ h + b_hh
    if mode == "LSTM":
        i, f, g, o = np.split(own + state, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        return (h if w_hr is None else w_hr @ h), c
    if mode == "GRU":
        (a, b, n), (d, e, m) = np.split(own, 3), np.split(state, 3)
        z, n = sigmoid(b + e), np.tanh(n + sigmoid(a + d) * m)
        return (1 - z) * n + z * h, c
    return (np.tanh if mode == "RNN_TANH" else lambda v: np.maximum(v, 0))(own + state), c


def reference(mode, x, lengths, h0, c0, weights, reverse):
    """(T, N, H) with zeros behind the ends, last states."""
    out = np.zeros((x.shape[0], x.shape[1], h0.shape[1]))
    last_h, last_c = h0.copy(), c0.copy()
    for n, length in enumerate(lengths):
        h, c = h0[n], c0[n]
        for t in reversed(range(length)) if reverse else range(length):
            h, c = step(mode, x[t, n], h, c, *weights)
            out[t, n] = h
        last_h[n], last_c[n] = h, c
    return out, last_h, last_c


def operands(mode, shown=5, size=5, features=3, batch=4):
    gates = GATES[mode] * size
    weights = [rng.normal(size=s) * 0.5 for s in ((gates, features), (gates, shown), (gates,), (gates,))]
    weights.append(rng.normal(size=(shown, size)) if shown != size else None)
    return weights, rng.normal(size=(batch, shown)), rng.normal(size=(batch, size))


def tensors(arrays):
    return tuple(None if a is None else from_numpy(a) for a in arrays)


@pytest.mark.parametrize("mode", GATES)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", [(6, 6, 6, 6), (6, 4, 4, 1)])
@pytest.mark.parametrize("shown", [5, 2])
def test_layer(mode, reverse, lengths, shown):
    if shown != 5 and mode != "LSTM":
        shown = 5
    weights, h0, c0 = operands(mode, shown)
    x = rng.normal(size=(6, 4, 3))
    want, last_h, last_c = reference(mode, x, lengths, h0, c0, weights, reverse)
    state = tensors((h0, c0) if mode == "LSTM" else (h0,))
    if len(set(lengths)) == 1:
        out, last = recurrent_layer(mode, from_numpy(x), state, tensors(weights), None, reverse)
        np.testing.assert_allclose(out.numpy(), want, rtol=1e-10, atol=1e-12)
    else:
        sizes = [sum(n > t for n in lengths) for t in range(6)]
        packed = np.concatenate([x[t, :n] for t, n in enumerate(sizes)])
        out, last = recurrent_layer(mode, from_numpy(packed), state, tensors(weights), sizes, reverse)
        np.testing.assert_allclose(
            out.numpy(), np.concatenate([want[t, :n] for t, n in enumerate(sizes)]), rtol=1e-10, atol=1e-12
        )
    np.testing.assert_allclose(last[0].numpy(), last_h, rtol=1e-10, atol=1e-12)
    if mode == "LSTM":
        np.testing.assert_allclose(last[1].numpy(), last_c, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("mode", GATES)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("sizes", [None, [4, 4, 3, 1]])
def test_float32_takes_all_steps_in_one_call(mode, reverse, sizes):
    weights, h0, c0 = operands(mode, 21, 21)
    x = rng.normal(size=(4, 4, 3) if sizes is None else (12, 3))
    found = []
    for kind in ("f4", "f8"):
        leaves = [from_numpy(a.astype(kind)).requires_grad_() for a in (x, h0, c0, *weights[:4])]
        state = tuple(leaves[1:3]) if mode == "LSTM" else (leaves[1],)
        out, last = recurrent_layer(mode, leaves[0], state, (*leaves[3:], None), sizes, reverse)
        total = (out * out).sum() + sum((s * s * s).sum() for s in last)
        wanted = leaves if mode == "LSTM" else [*leaves[:2], *leaves[3:]]
        found.append([out, *last, *grad(total, wanted)])
    for a, b in zip(*found):
        right = b.detach().numpy()
        np.testing.assert_allclose(a.detach().numpy(), right, rtol=0, atol=2e-5 * np.abs(right).max())


@pytest.mark.parametrize("mode", GATES)
@pytest.mark.parametrize(("sizes", "reverse"), [(None, False), ([2, 2, 1], False), ([2, 2, 1], True)])
def test_gradients(mode, sizes, reverse):
    weights, h0, c0 = operands(mode, 3, 3, 2, 2)
    x = rng.normal(size=(3, 2, 2) if sizes is None else (5, 2))
    lstm = mode == "LSTM"

    def whole(x, h0, c0, *weights):
        """Outputs and last states in one vector."""
        out, last = recurrent_layer(mode, x, (h0, c0) if lstm else (h0,), (*weights, None), sizes, reverse)
        parts = [out.reshape(-1), *(s.reshape(-1) for s in last)]
        return ops.cat(parts if lstm else [*parts, c0.reshape(-1)])

    check_gradients(whole, x, h0, c0, *weights[:4])


def test_projected_gradients():
    weights, h0, c0 = operands("LSTM", 2, 3, 2, 2)

    def whole(x, h0, c0, *weights):
        out, last = recurrent_layer("LSTM", x, (h0, c0), weights)
        return ops.cat([out.reshape(-1), last[0].reshape(-1), last[1].reshape(-1)])

    check_gradients(whole, rng.normal(size=(3, 2, 2)), h0, c0, *weights)


@pytest.mark.parametrize("mode", GATES)
def test_second_gradients(mode):
    weights, h0, c0 = operands(mode, 2, 2, 2, 2)
    state = tensors((h0, c0) if mode == "LSTM" else (h0,))
    x = from_numpy(rng.normal(size=(2, 2, 2)))

    def out(w_ih, w_hh):
        return recurrent_layer(mode, x, state, (w_ih, w_hh, *tensors(weights[2:4]), None))[0]

    check_gradients(out, *weights[:2], second=True)


def test_both_ways_of_backward_agree():
    """With `create_graph` backward is made of small operators."""
    weights, h0, c0 = operands("LSTM")
    leaves = tensors(weights[:4])
    for w in leaves:
        w.requires_grad = True
    out, _ = recurrent_layer("LSTM", from_numpy(rng.normal(size=(5, 4, 3))), tensors((h0, c0)), (*leaves, None))
    fast = grad(out.sum(), leaves, retain_graph=True)
    slow = grad(out.sum(), leaves, create_graph=True)
    for a, b in zip(fast, slow):
        np.testing.assert_allclose(a.numpy(), b.detach().numpy(), rtol=1e-9, atol=1e-12)


def test_cells():
    x = rng.normal(size=(4, 3))
    for mode, name in (
        ("RNN_TANH", "rnn_tanh_cell"),
        ("RNN_RELU", "rnn_relu_cell"),
        ("GRU", "gru_cell"),
        ("LSTM", "lstm_cell"),
    ):
        weights, h0, c0 = operands(mode)
        wanted = [step(mode, x[n], h0[n], c0[n], *weights) for n in range(4)]
        given = tensors((h0, c0)) if mode == "LSTM" else from_numpy(h0)
        out = getattr(ops, name)(from_numpy(x), given, *tensors(weights[:4]))
        np.testing.assert_allclose(
            (out[0] if mode == "LSTM" else out).numpy(), [h for h, _ in wanted], rtol=1e-10, atol=1e-12
        )
        if mode == "LSTM":
            np.testing.assert_allclose(out[1].numpy(), [c for _, c in wanted], rtol=1e-10, atol=1e-12)


def test_float32_and_no_bias():
    weights, h0, c0 = operands("GRU")
    x = rng.normal(size=(6, 4, 3))
    weights[2] = weights[3] = np.zeros(15)
    want, *_ = reference("GRU", x, (6,) * 4, h0, c0, weights, False)
    small = tensors([w.astype("f") for w in weights[:2]])
    out, _ = recurrent_layer("GRU", from_numpy(x.astype("f")), tensors([h0.astype("f")]), (*small, None, None, None))
    np.testing.assert_allclose(out.numpy(), want, rtol=1e-4, atol=1e-5)


def test_cell_errors():
    weights, h0, c0 = operands("LSTM")
    x = from_numpy(rng.normal(size=(4, 7)))
    with pytest.raises(RuntimeError, match="input has inconsistent input_size: got 7 expected 3"):
        ops.lstm_cell(x, tensors((h0, c0)), *tensors(weights[:4]))
    with pytest.raises(RuntimeError, match="lstm_cell expects two hidden states"):
        ops.lstm_cell(x, tensors((h0,)), *tensors(weights[:4]))
