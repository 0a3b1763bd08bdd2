"""Dropout: what is drawn for a seed, what is scaled, what the gradient is."""

import math

import numpy as np
import pytest

import facula.operators as ops
from facula.autograd import grad
from facula.core import dtype as dt

# PyTorch 2.13: torch.manual_seed(0); (torch.dropout(torch.ones(12), 0.3, True) != 0).int()
RECORDED = [0, 0, 1, 0, 1, 0, 1, 1, 1, 1, 1, 1]


def test_recorded_draws():
    ops.manual_seed(0)
    found = ops.dropout(ops.ones(12), 0.3, True).numpy()
    np.testing.assert_array_equal(found != 0, np.array(RECORDED, bool))
    assert set(found) == {np.float32(0), np.float32(1) / np.float32(0.7)}


@pytest.mark.parametrize("kind", [dt.float32, dt.float64, dt.float16, dt.bfloat16])
def test_draws_of_bernoulli(kind):
    """The draws are those of bernoulli_ in the layout of the input, in every dtype."""
    x = ops.rand(6, 5).to(kind).t()
    ops.manual_seed(3)
    kept = ops.empty_like(x).bernoulli_(0.6)
    ops.manual_seed(3)
    found = ops.dropout(x, 0.4, True)
    assert found.dtype is kind
    assert found.stride() == x.stride()
    tolerance = {dt.float64: 1e-14, dt.float32: 1e-6, dt.float16: 1e-3, dt.bfloat16: 1e-2}[kind]
    np.testing.assert_allclose(found.double().numpy(), (x.double() * kept.double() / 0.6).numpy(), rtol=tolerance)
    np.testing.assert_array_equal(found.double().numpy() == 0, (kept.double().numpy() == 0) | (x.double().numpy() == 0))


def test_gradient_is_the_noise():
    x = ops.rand(50, requires_grad=True)
    out = ops.dropout(x, 0.5, True)
    np.testing.assert_array_equal(grad(out.sum(), x)[0].numpy(), np.where(out.detach().numpy() == 0, 0, 2))
    assert out.grad_fn.name() == "MulBackward0"


def test_whole_channels():
    ops.manual_seed(1)
    found = ops.feature_dropout(ops.ones(20, 10, 3, 2), 0.5, True).numpy()
    np.testing.assert_array_equal(found, np.broadcast_to(found[:, :, :1, :1], found.shape))
    dropped = (found[:, :, 0, 0] == 0).sum(1)
    assert 60 < dropped.sum() < 140
    assert ((dropped > 0) & (dropped < 10)).any()  # channels of a sample are drawn one by one
    with pytest.raises(RuntimeError, match="Feature dropout requires at least 2 dimensions in the input"):
        ops.feature_dropout(ops.ones(3), 0.5, True)


def test_alpha_keeps_moments():
    ops.manual_seed(1)
    x = ops.randn(200_000)
    found = ops.alpha_dropout(x, 0.3, True).numpy()
    assert abs(found.mean()) < 0.02
    assert abs(found.std() - 1) < 0.02
    low = -1.7580993408473766
    a = 1 / math.sqrt((low * low * 0.3 + 1) * 0.7)
    b = -a * low * 0.3
    dropped = np.isclose(found, a * low + b, atol=1e-6)
    assert abs(dropped.mean() - 0.3) < 0.01
    np.testing.assert_allclose(found[~dropped], a * x.numpy()[~dropped] + b, rtol=1e-5, atol=1e-6)


FORMS = ("dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout")


@pytest.mark.parametrize("name", FORMS)
def test_in_place(name):
    plain, over = getattr(ops, name), getattr(ops, name + "_")
    x = ops.rand(4, 3, 2)
    ops.manual_seed(2)
    want = plain(x, 0.4, True).numpy()
    ops.manual_seed(2)
    assert over(x, 0.4, True) is x
    np.testing.assert_array_equal(x.numpy(), want)


@pytest.mark.parametrize("name", FORMS)
def test_edges(name):
    f = getattr(ops, name)
    x = ops.rand(4, 3, 2)
    assert f(x, 0.5, False) is x
    assert f(x, 0.0, True) is x
    np.testing.assert_array_equal(f(x, 1.0, True).numpy(), np.zeros((4, 3, 2)))
    empty = ops.ones(0, 3)
    assert f(empty, 0.5, True) is empty
    for p in (1.5, -0.1):
        with pytest.raises(RuntimeError, match=f"dropout probability has to be between 0 and 1, but got {p}"):
            f(x, p, True)
    with pytest.raises(RuntimeError, match="result type Float can't be cast to the desired output type Long"):
        f(ops.ones(2, 2, dtype=dt.int64), 0.5, True)
