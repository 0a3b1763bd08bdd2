"""Softmax and normalizations against NumPy formulas, their gradients (first and second) against differences."""

import numpy as np
import pytest
from scipy import special

import facula.operators as ops
from facula.core import dtype as dt

from .differences import check_gradients

rng = np.random.default_rng(0)


@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_softmax(dim, kind):
    x = rng.normal(size=(3, 40, 5)).astype(kind) * 10
    tolerance = 1e-5 if kind == np.float32 else 1e-12
    np.testing.assert_allclose(
        ops.softmax(ops.from_numpy(x), dim).numpy(), special.softmax(x.astype(float), dim), rtol=tolerance, atol=1e-12
    )
    np.testing.assert_allclose(
        ops.log_softmax(ops.from_numpy(x), dim).numpy(),
        special.log_softmax(x.astype(float), dim),
        rtol=tolerance,
        atol=tolerance,
    )


def test_softmax_gradients():
    x = rng.normal(size=(3, 4))
    for dim in (0, 1):
        check_gradients(lambda x, dim=dim: ops.softmax(x, dim), x, second=True)
        check_gradients(lambda x, dim=dim: ops.log_softmax(x, dim), x, second=True)


def test_softmax_edges():
    x = ops.from_numpy(np.array([[-np.inf, 0.0, -np.inf], [1e30, 0.0, 1e30]]))
    np.testing.assert_array_equal(ops.softmax(x, 1).numpy(), [[0, 1, 0], [0.5, 0, 0.5]])
    assert np.isnan(ops.softmax(ops.full((2,), -np.inf), 0).numpy()).all()
    assert ops.softmax(ops.ones(()), 0).item() == 1
    assert ops.softmax(ops.ones(0, 3), 1).shape == (0, 3)
    assert ops.softmax(ops.ones(2, dtype=dt.bfloat16), 0).dtype is dt.bfloat16
    assert ops.softmax(ops.ones(2), 0, dtype=dt.float64).dtype is dt.float64
    with pytest.raises(NotImplementedError, match="\"softmax_lastdim_kernel_impl\" not implemented for 'Long'"):
        ops.softmax(ops.tensor([1, 2]), 0)
    with pytest.raises(IndexError, match="Dimension out of range"):
        ops.softmax(ops.ones(2), 1)


def normal(x, axes, eps):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


@pytest.mark.parametrize("shape, width", [((6, 50), 1), ((2, 3, 4), 2), ((2, 3, 4), 1), ((5,), 1)])
def test_layer_norm(shape, width):
    x, own = rng.normal(size=shape), shape[len(shape) - width :]
    w, b = rng.normal(size=own), rng.normal(size=own)
    axes = tuple(range(len(shape) - width, len(shape)))
    found = ops.layer_norm(ops.from_numpy(x), own, ops.from_numpy(w), ops.from_numpy(b), 1e-3)
    np.testing.assert_allclose(found.numpy(), normal(x, axes, 1e-3) * w + b, rtol=1e-11, atol=1e-12)
    if x.size < 100:
        check_gradients(lambda x, w, b: ops.layer_norm(x, own, w, b, 1e-3), x, w, b, second=x.size < 30)
        check_gradients(lambda x: ops.layer_norm(x, own), x, tolerance=1e-5)


def test_layer_norm_half():
    """Statistics and arithmetic in float32: the error is that of rounding the result."""
    x = (rng.normal(size=(4, 64)) + 100).astype(np.float16)
    found = ops.layer_norm(ops.from_numpy(x), (64,))
    assert found.dtype is dt.float16
    np.testing.assert_allclose(found.numpy(), normal(x.astype(float), (1,), 1e-5), rtol=1e-3, atol=2e-3)


def test_layer_norm_errors():
    x = ops.ones(3, 4)
    with pytest.raises(
        RuntimeError,
        match=r"Given normalized_shape=\[5\], expected input with shape \[\*, 5\], but got input of size\[3, 4\]",
    ):
        ops.layer_norm(x, (5,))
    with pytest.raises(RuntimeError, match="Expected weight to be of same shape as normalized_shape"):
        ops.layer_norm(x, (4,), ops.ones(3))
    with pytest.raises(RuntimeError, match="Expected normalized_shape to be at least 1-dimensional"):
        ops.layer_norm(x, ())


def test_rms_norm():
    x, w = rng.normal(size=(3, 5)), rng.normal(size=5)
    want = x / np.sqrt((x * x).mean(1, keepdims=True) + 1e-3) * w
    np.testing.assert_allclose(ops.rms_norm(ops.from_numpy(x), (5,), ops.from_numpy(w), 1e-3).numpy(), want, rtol=1e-12)
    check_gradients(lambda x, w: ops.rms_norm(x, (5,), w, 1e-3), x, w, second=True)
    z = x[:, :4] + 1j * rng.normal(size=(3, 4))
    want = z / np.sqrt((z * z).mean(1, keepdims=True) + 1e-3)
    np.testing.assert_allclose(ops.rms_norm(ops.from_numpy(z), (4,), None, 1e-3).numpy(), want, rtol=1e-10)


def test_group_norm():
    x, w, b = rng.normal(size=(2, 6, 5)), rng.normal(size=6), rng.normal(size=6)
    want = normal(x.reshape(2, 3, 10), (2,), 1e-3).reshape(x.shape) * w[:, None] + b[:, None]
    np.testing.assert_allclose(
        ops.group_norm(ops.from_numpy(x), 3, ops.from_numpy(w), ops.from_numpy(b), 1e-3).numpy(),
        want,
        rtol=1e-11,
        atol=1e-12,
    )
    check_gradients(lambda x, w, b: ops.group_norm(x, 3, w, b, 1e-2), x[:, :, :2].copy(), w, b, second=True)
    with pytest.raises(RuntimeError, match="Expected number of channels in input to be divisible by num_groups"):
        ops.group_norm(ops.from_numpy(x), 4)


@pytest.mark.parametrize("shape", [(7, 3), (4, 3, 5), (2, 3, 4, 5)])
def test_batch_norm(shape):
    x, w, b = rng.normal(size=shape), rng.normal(size=3), rng.normal(size=3)
    mean, var = rng.normal(size=3), rng.uniform(0.5, 2, 3)
    axes = (0, *range(2, len(shape)))
    column = (3, *[1] * (len(shape) - 2))
    own_mean, own_var = ops.from_numpy(mean.copy()), ops.from_numpy(var.copy())
    found = ops.batch_norm(ops.from_numpy(x), ops.from_numpy(w), ops.from_numpy(b), own_mean, own_var, True, 0.2, 1e-3)
    np.testing.assert_allclose(
        found.numpy(), normal(x, axes, 1e-3) * w.reshape(column) + b.reshape(column), rtol=1e-11, atol=1e-12
    )
    np.testing.assert_allclose(own_mean.numpy(), 0.8 * mean + 0.2 * x.mean(axes), rtol=1e-12)
    np.testing.assert_allclose(own_var.numpy(), 0.8 * var + 0.2 * x.var(axes, ddof=1), rtol=1e-12)
    found = ops.batch_norm(
        ops.from_numpy(x),
        ops.from_numpy(w),
        ops.from_numpy(b),
        ops.from_numpy(mean),
        ops.from_numpy(var),
        False,
        0.2,
        1e-3,
    )
    want = (x - mean.reshape(column)) / np.sqrt(var.reshape(column) + 1e-3) * w.reshape(column) + b.reshape(column)
    np.testing.assert_allclose(found.numpy(), want, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("lies", ["rows", "channels_last"])
def test_running_statistics_move_with_the_batch(lies):
    """In the same kernel: of halves in float32, strided, only one of them, of one element a channel, of none."""
    x = rng.normal(size=(40, 5, 33, 20)).astype("f4")
    given = ops.from_numpy(x)
    if lies == "channels_last":
        given = ops.from_numpy(x.transpose(0, 2, 3, 1).copy()).permute(0, 3, 1, 2)
    means, variances = ops.zeros(5, 2)[:, 0], ops.ones(5, dtype=dt.float64)
    out = ops.batch_norm(given.to(dt.bfloat16), None, None, means, variances, True, 0.25, 1e-5)
    assert out.dtype is dt.bfloat16 and means._version == variances._version == 1
    rounded = given.to(dt.bfloat16).to(dt.float64).numpy()
    np.testing.assert_allclose(means.numpy(), rounded.mean((0, 2, 3)) / 4, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(variances.numpy(), 0.75 + rounded.var((0, 2, 3), ddof=1) / 4, rtol=1e-5)
    half = ops.ones(5, dtype=dt.float16)
    ops.batch_norm(given, None, None, None, half, True, 1.0, 1e-5)
    np.testing.assert_allclose(half.numpy(), x.var((0, 2, 3), ddof=1), rtol=1e-3)
    ops.batch_norm(given[:1, :, :1, :1], None, None, None, half, True, 1.0, 1e-5)
    assert half.isnan().all()
    means.fill_(3.0)
    ops.batch_norm(given[:0], None, None, means, None, True, 0.5, 1e-5)
    assert means.tolist() == [3.0] * 5


def test_batch_norm_gradients():
    x, w, b = rng.normal(size=(3, 2, 2)), rng.normal(size=2), rng.normal(size=2)
    check_gradients(lambda x, w, b: ops.batch_norm(x, w, b, None, None, True, 0.1, 1e-2), x, w, b, second=True)
    mean, var = ops.from_numpy(rng.normal(size=2)), ops.from_numpy(rng.uniform(0.5, 2, 2))
    check_gradients(lambda x, w, b: ops.batch_norm(x, w, b, mean, var, False, 0.1, 1e-2), x, w, b, second=True)
    with pytest.raises(RuntimeError, match="running_mean must be defined in evaluation mode"):
        ops.batch_norm(ops.from_numpy(x), None, None, None, None, False, 0.1, 1e-5)
    with pytest.raises(RuntimeError, match="weight should contain 2 elements not 3"):
        ops.batch_norm(ops.from_numpy(x), ops.ones(3), None, None, None, True, 0.1, 1e-5)


def test_instance_norm():
    x, w, b = rng.normal(size=(2, 3, 4)), rng.normal(size=3), rng.normal(size=3)
    mean, var = ops.zeros(3, dtype=dt.float64), ops.ones(3, dtype=dt.float64)
    found = ops.instance_norm(ops.from_numpy(x), ops.from_numpy(w), ops.from_numpy(b), mean, var, True, 0.1, 1e-3)
    np.testing.assert_allclose(found.numpy(), normal(x, (2,), 1e-3) * w[:, None] + b[:, None], rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(mean.numpy(), 0.1 * x.mean(2).mean(0), rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(var.numpy(), 0.9 + 0.1 * x.var(2, ddof=1).mean(0), rtol=1e-11)
    check_gradients(lambda x, w, b: ops.instance_norm(x, w, b, None, None, True, 0.1, 1e-2), x, w, b)


def test_names():
    x = ops.ones(2, 4, requires_grad=True)
    assert ops.softmax(x, 1).grad_fn.name() == "SoftmaxBackward0"
    assert ops.log_softmax(x, 1).grad_fn.name() == "LogSoftmaxBackward0"
    assert ops.layer_norm(x, (4,)).grad_fn.name() == "NativeLayerNormBackward0"
    assert ops.group_norm(x, 2).grad_fn.name() == "NativeGroupNormBackward0"
    assert ops.batch_norm(x, None, None, None, None, True, 0.1, 1e-5).grad_fn.name() == "NativeBatchNormBackward0"
