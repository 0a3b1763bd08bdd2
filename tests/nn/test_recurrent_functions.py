"""`torch.lstm` and its kin: what the modules compute, as functions of all that they hold."""

import numpy as np
import pytest

import facula as torch


@pytest.mark.parametrize("name, module", [("lstm", "LSTM"), ("gru", "GRU"), ("rnn_tanh", "RNN")])
@pytest.mark.parametrize(
    "options", [{}, {"bidirectional": True, "num_layers": 2, "batch_first": True}, {"bias": False}]
)
def test_functions_are_the_modules(name, module, options):
    torch.manual_seed(0)
    m = getattr(torch.nn, module)(3, 4, **options)
    count = m.num_layers * (2 if m.bidirectional else 1)
    x = torch.randn(2, 5, 3) if m.batch_first else torch.randn(5, 2, 3)
    h, c = torch.randn(count, 2, 4), torch.randn(count, 2, 4)
    states = [h, c] if name == "lstm" else h
    function, rest = getattr(torch, name), (m._flat_weights, m.bias, m.num_layers, 0.0, False, m.bidirectional)
    for given, data in ((x, (x,)), (torch.nn.utils.rnn.pack_sequence([x[0, :2], x[1, :1]]), None)):
        out, last = m(given, (h, c) if name == "lstm" else h)
        if data is None:
            out, data = out.data, (given.data, given.batch_sizes)
            made = function(*data, states, *rest)
        else:
            made = function(*data, states, *rest, m.batch_first)
        for a, b in zip(made, (out, *last) if name == "lstm" else (out, last), strict=True):
            np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


def test_relu_has_its_own():
    m = torch.nn.RNN(3, 4, nonlinearity="relu")
    x, h = torch.randn(5, 2, 3), torch.zeros(1, 2, 4)
    made = torch.rnn_relu(x, h, m._flat_weights, True, 1, 0.0, False, False, False)[0]
    np.testing.assert_array_equal(made.detach().numpy(), m(x, h)[0].detach().numpy())
