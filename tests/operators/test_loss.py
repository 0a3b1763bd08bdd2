"""Losses against NumPy formulas, their gradients against differences, targets that are no classes."""

import numpy as np
import pytest
from scipy import special

import facula.operators as ops
from facula.autograd import grad
from facula.core import dtype as dt

from .differences import check_gradients

rng = np.random.default_rng(0)
REDUCE = {"none": lambda x: x, "mean": np.mean, "sum": np.sum}
X, Y = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
P, Q = rng.uniform(0.05, 0.95, (3, 4)), rng.uniform(0.05, 0.95, (3, 4))


def t(array):
    return ops.from_numpy(np.ascontiguousarray(array))


def distance(x, y):
    return abs(x - y)


POINTWISE = {
    "mse": (lambda x, y, how: ops.mse_loss(x, y, how), lambda x, y: (x - y) ** 2, (X, Y)),
    "l1": (lambda x, y, how: ops.l1_loss(x, y, how), distance, (X, Y)),
    "smooth_l1": (
        lambda x, y, how: ops.smooth_l1_loss(x, y, how, 0.7),
        lambda x, y: np.where(distance(x, y) < 0.7, (x - y) ** 2 / 1.4, distance(x, y) - 0.35),
        (X, Y),
    ),
    "huber": (
        lambda x, y, how: ops.huber_loss(x, y, how, 0.7),
        lambda x, y: np.where(distance(x, y) < 0.7, (x - y) ** 2 / 2, 0.7 * (distance(x, y) - 0.35)),
        (X, Y),
    ),
    "bce": (
        lambda x, y, how: ops.binary_cross_entropy(x, y, None, how),
        lambda x, y: -(y * np.log(x) + (1 - y) * np.log(1 - x)),
        (P, Q),
    ),
    "bce_logits": (
        lambda x, y, how: ops.binary_cross_entropy_with_logits(x, y, None, None, how),
        lambda x, y: np.logaddexp(0, x) - x * y,
        (X, Q),
    ),
    "kl": (lambda x, y, how: ops.kl_div(x, y, how), lambda x, y: y * (np.log(y) - x), (X, Q)),
    "kl_log": (lambda x, y, how: ops.kl_div(x, y, how, True), lambda x, y: np.exp(y) * (y - x), (X, Y)),
}


@pytest.mark.parametrize("how", REDUCE)
@pytest.mark.parametrize("name", POINTWISE)
def test_pointwise(name, how):
    ours, formula, (x, y) = POINTWISE[name]
    want = REDUCE[how](formula(x, y))
    np.testing.assert_allclose(ours(t(x), t(y), how).numpy(), want, rtol=1e-12)
    np.testing.assert_allclose(ours(t(x.astype("f")), t(y.astype("f")), how).numpy(), want, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(ours(t(x.T).t(), t(y), how).numpy(), want, rtol=1e-12)
    check_gradients(lambda x, y: ours(x, y, how), x, y, second=name not in ("l1", "bce"))


def test_pointwise_edges():
    empty = ops.zeros(0, 3)
    assert np.isnan(ops.mse_loss(empty, empty).item())
    assert ops.mse_loss(empty, empty, "sum").item() == 0
    assert ops.mse_loss(empty, empty, "none").shape == (0, 3)
    assert ops.mse_loss(ops.ones(()), ops.zeros(())).item() == 1
    assert ops.mse_loss(ops.ones(2), ops.zeros(2, dtype=dt.float64)).dtype is dt.float64
    long = ops.full((100_000,), 0.1, dtype=dt.float16)
    assert abs(ops.l1_loss(long, ops.zeros_like(long)).item() - 0.1) < 1e-3  # summed in float32
    np.testing.assert_array_equal(
        ops.binary_cross_entropy(t(np.array([0.0, 1.0])), t(np.array([1.0, 0.0])), None, "none").numpy(), [100, 100]
    )
    for wrong in (1.5, -0.1, np.nan):
        for how in REDUCE:
            with pytest.raises(RuntimeError, match="all elements of input should be between 0 and 1"):
                ops.binary_cross_entropy(t(np.array([0.5, wrong])), t(np.array([0.0, 1.0])), None, how)
    with pytest.raises(RuntimeError, match="Found dtype Double but expected Float"):
        ops.binary_cross_entropy(ops.ones(2), ops.ones(2, dtype=dt.float64))
    with pytest.raises(RuntimeError, match="smooth_l1_loss does not support negative values for beta"):
        ops.smooth_l1_loss(empty, empty, "mean", -1)
    with pytest.raises(ValueError, match="other is not a valid value for reduction"):
        ops.mse_loss(empty, empty, "other")


def test_weights():
    w, p = rng.uniform(0.5, 2, (3, 4)), rng.uniform(0.5, 2, 4)
    want = w * (p * Q * np.logaddexp(0, -X) + (1 - Q) * np.logaddexp(0, X))
    for how in REDUCE:
        found = ops.binary_cross_entropy_with_logits(t(X), t(Q), t(w), t(p), how)
        np.testing.assert_allclose(found.numpy(), REDUCE[how](want), rtol=1e-12)
    check_gradients(lambda x, q: ops.binary_cross_entropy_with_logits(x, q, t(w), t(p)), X, Q, second=True)
    check_gradients(lambda x: ops.binary_cross_entropy(x, t(Q), t(w), "sum"), P)


# --- classes ------------------------------------------------------------------------------------------------------


def likelihood(logs, target, weight, how, ignore):
    """NLL of log-probabilities (N, C, ...), said plainly."""
    classes = logs.shape[1]
    weight = np.ones(classes) if weight is None else weight
    counted = target != ignore
    safe = np.where(counted, target, 0)
    factor = np.where(counted, weight[safe], 0)
    loss = -factor * np.take_along_axis(logs, safe[:, None], 1)[:, 0]
    return loss if how == "none" else loss.sum() / (factor.sum() if how == "mean" else 1)


@pytest.mark.parametrize("how", REDUCE)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(6, 5), (2, 5, 3), (2, 5, 3, 2), (40, 70)])
def test_classes(shape, weighted, how):
    x, target = rng.normal(size=shape), rng.integers(0, shape[1], (shape[0], *shape[2:]))
    target.reshape(-1)[1] = -100
    weight = rng.uniform(0.5, 2, shape[1]) if weighted else None
    w = None if weight is None else t(weight)
    logs = special.log_softmax(x, 1)
    want = likelihood(logs, target, weight, how, -100)
    np.testing.assert_allclose(ops.nll_loss(t(logs), t(target), w, how).numpy(), want, rtol=1e-12)
    np.testing.assert_allclose(ops.cross_entropy_loss(t(x), t(target), w, how).numpy(), want, rtol=1e-12)
    turned = t(x.swapaxes(0, 1)).transpose(0, 1)
    np.testing.assert_allclose(ops.cross_entropy_loss(turned, t(target), w, how).numpy(), want, rtol=1e-12)
    np.testing.assert_allclose(
        ops.nll_loss(t(logs.swapaxes(0, 1)).transpose(0, 1), t(target), w, how).numpy(), want, rtol=1e-12
    )
    smooth = -(logs * (1 if weight is None else weight.reshape(-1, *[1] * (x.ndim - 2)))).sum(1) / shape[1]
    smooth = np.where(target == -100, 0, smooth)
    total = likelihood(-np.ones_like(logs), target, weight, "none", -100).sum()
    smooth = smooth if how == "none" else smooth.sum() / (total if how == "mean" else 1)
    found = ops.cross_entropy_loss(t(x), t(target), w, how, -100, 0.1)
    np.testing.assert_allclose(found.numpy(), 0.9 * want + 0.1 * smooth, rtol=1e-11)
    if x.size < 100:
        check_gradients(lambda x: ops.nll_loss(x, t(target), w, how), logs)
        check_gradients(lambda x: ops.cross_entropy_loss(x, t(target), w, how), x, second=True)
        check_gradients(lambda x: ops.cross_entropy_loss(x, t(target), w, how, -100, 0.2), x, second=True)


@pytest.mark.parametrize("how", REDUCE)
def test_shares(how):
    x, y, w = rng.normal(size=(4, 5)), special.softmax(rng.normal(size=(4, 5)), 1), rng.uniform(0.5, 2, 5)
    for smoothing in (0.0, 0.2):
        want = -(special.log_softmax(x, 1) * w * (y * (1 - smoothing) + smoothing / 5)).sum(1)
        found = ops.cross_entropy_loss(t(x), t(y), t(w), how, -100, smoothing)
        np.testing.assert_allclose(found.numpy(), REDUCE[how](want), rtol=1e-12)
        check_gradients(lambda x, y, s=smoothing: ops.cross_entropy_loss(x, y, t(w), how, -100, s), x, y, second=True)


@pytest.mark.parametrize("shape", [(150, 130), (3, 90, 80)])
@pytest.mark.parametrize("how", REDUCE)
def test_gradient_of_many(shape, how):
    """With many logits the targets' classes are subtracted afterwards: the gradient is the same."""
    x, target = t(rng.normal(size=shape)), rng.integers(0, shape[1], (shape[0], *shape[2:]))
    target.reshape(-1)[::7] = -100
    x.requires_grad = True
    for weight in (None, t(rng.uniform(0.5, 2, 2 * shape[1])[::2])):
        out = ops.cross_entropy_loss(x, t(target), weight, how)
        upstream = ops.rand(*out.shape, dtype=dt.float64)
        quick = grad(out, x, upstream, retain_graph=True)[0]
        plain = grad(out, x, upstream, create_graph=True)[0]
        np.testing.assert_allclose(quick.numpy(), plain.detach().numpy(), rtol=1e-12, atol=1e-15)


def test_class_edges():
    x = rng.normal(size=(2, 5))
    one = ops.cross_entropy_loss(t(x[0]), ops.tensor(3))
    np.testing.assert_allclose(one.item(), -special.log_softmax(x[0])[3], rtol=1e-12)
    assert (
        ops.cross_entropy_loss(t(x), t(np.array([1, 2], np.uint8))).item()
        == ops.cross_entropy_loss(t(x), t(np.array([1, 2]))).item()
    )
    assert np.isnan(ops.cross_entropy_loss(t(x), ops.full((2,), -100)).item())
    assert (
        ops.cross_entropy_loss(t(x), t(np.array([1, 2])), ignore_index=1).item()
        == ops.cross_entropy_loss(t(x[1:]), t(np.array([2]))).item()
    )
    assert np.isnan(ops.cross_entropy_loss(ops.zeros(0, 5), ops.zeros(0, dtype=dt.int64)).item())
    assert ops.cross_entropy_loss(ops.ones(2, 5, dtype=dt.bfloat16), ops.tensor([1, 2])).dtype is dt.bfloat16
    huge = t(np.array([[1e4, 0.0, -1e4]]))
    assert ops.cross_entropy_loss(huge, ops.tensor([1])).item() == 1e4  # no overflow
    weight = t(np.arange(1.0, 11)[::2])
    np.testing.assert_allclose(
        ops.nll_loss(t(x), ops.tensor([1, 4]), weight, "none").numpy(), [-3 * x[0, 1], -9 * x[1, 4]]
    )


@pytest.mark.parametrize("loss", [ops.cross_entropy_loss, ops.nll_loss])
def test_class_errors(loss):
    x = ops.ones(3, 5)
    for wrong in (5, -1, 2**40):
        for how in REDUCE:
            with pytest.raises(IndexError, match=f"Target {wrong} is out of bounds."):
                loss(x, ops.tensor([0, wrong, 7]), None, how)
    with pytest.raises(ValueError, match=r"Expected input batch_size \(3\) to match target batch_size \(2\)."):
        loss(x, ops.tensor([0, 1]))
    with pytest.raises(RuntimeError, match="expected target dtype to be Long or Byte, but got Int"):
        loss(x, ops.tensor([0, 1, 2], dtype=dt.int32))
    with pytest.raises(RuntimeError, match=r"for all 5 classes or no classes but got weight tensor of shape: \[3\]"):
        loss(x, ops.tensor([0, 1, 2]), ops.ones(3))
    with pytest.raises(RuntimeError, match="expected scalar type Float but found Double"):
        loss(x, ops.tensor([0, 1, 2]), ops.ones(5, dtype=dt.float64))
    assert np.isfinite(loss(x, ops.tensor([0, 1, 2])).item())  # as before, after errors


def test_versions():
    """What backward keeps may not be written in between."""
    x = ops.ones(3, 5, requires_grad=True)
    y = x * 1
    out = ops.cross_entropy_loss(y, ops.tensor([0, 1, 2]))
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        grad(out, x)


def test_names():
    x = ops.ones(2, 3, requires_grad=True)
    target = ops.tensor([0, 1])
    for out, name in (
        (ops.cross_entropy_loss(x, target), "NllLoss"),
        (ops.nll_loss(x, target), "NllLoss"),
        (ops.mse_loss(x, ops.zeros(2, 3)), "MseLoss"),
        (ops.huber_loss(x, ops.zeros(2, 3)), "HuberLoss"),
        (ops.smooth_l1_loss(x, ops.zeros(2, 3)), "SmoothL1Loss"),
        (ops.kl_div(x, x.detach()), "Mean"),
        (ops.binary_cross_entropy(x, x.detach()), "BinaryCrossEntropy"),
        (ops.binary_cross_entropy_with_logits(x, x.detach()), "BinaryCrossEntropyWithLogits"),
    ):
        assert out.grad_fn.name() == f"{name}Backward0"
