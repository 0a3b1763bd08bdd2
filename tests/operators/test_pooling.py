"""Pooling against windows cut out by NumPy, gradients against differences; recorded answers for PyTorch's own rules."""

import itertools
import math

import numpy as np
import pytest

import facula.operators as ops
from facula.autograd import grad
from facula.core.shape import channels_last_strides, contiguous_strides
from facula.operators.creation import from_numpy

from .differences import check_gradients

rng = np.random.default_rng(0)


def windows(n, kernel, stride, padding, dilation, ceil):
    """The indices inside one dim of each window, and its size with padding."""
    out = (n + 2 * padding - dilation * (kernel - 1) - 1 + (stride - 1 if ceil else 0)) // stride + 1
    if ceil and (out - 1) * stride >= n + padding:
        out -= 1
    found = []
    for o in range(out):
        at = o * stride - padding + dilation * np.arange(kernel)
        whole = min(o * stride - padding + kernel, n + padding) - (o * stride - padding)
        found.append((at[(at >= 0) & (at < n)], whole))
    return found


def reference(x, kernel, stride=None, padding=0, dilation=1, ceil=False, average=None):
    """Maxima and their indices in the plane; `average`: means, of padding too where it is True."""
    rows = windows(x.shape[2], kernel, stride or kernel, padding, dilation, ceil)
    columns = windows(x.shape[3], kernel, stride or kernel, padding, dilation, ceil)
    out = np.zeros((*x.shape[:2], len(rows), len(columns)))
    index = np.zeros(out.shape, np.int64)
    for i, (a, height) in enumerate(rows):
        for j, (b, width) in enumerate(columns):
            part = x[:, :, a][:, :, :, b].reshape(*x.shape[:2], -1)
            if average is None:
                best = part.argmax(-1)
                out[:, :, i, j] = part.max(-1)
                index[:, :, i, j] = a[best // len(b)] * x.shape[3] + b[best % len(b)]
            else:
                out[:, :, i, j] = part.sum(-1) / (height * width if average else part.shape[-1])
    return out, index


SETTINGS = [
    (2,),
    (3, 2),
    (3, 1, 1),
    (3, 2, 1, 1, True),
    (2, 3, 1),
    (3, 2, 1, 2),
    (2, 1, 0, 2, True),
    (6, 2, 3),
    (6, 1, 2, 1, True),
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_max(settings):
    x = rng.normal(size=(2, 3, 14, 13))
    want, index = reference(x, *settings)
    values, indices = ops.max_pool2d_with_indices(from_numpy(x), *settings)
    np.testing.assert_array_equal(values.numpy(), want)
    np.testing.assert_array_equal(indices.numpy(), index)
    np.testing.assert_array_equal(ops.max_pool2d(from_numpy(x), *settings).numpy(), want)


@pytest.mark.parametrize("settings", [(2,), (3, 2), (3, 1, 1), (3, 2, 1, True), (6, 2, 3)])
@pytest.mark.parametrize("include", [True, False])
def test_average(settings, include):
    x = rng.normal(size=(2, 3, 14, 13))
    kernel, stride, padding, ceil = (*settings, None, 0, False)[: len(settings)] + (None, 0, False)[len(settings) - 1 :]
    want, _ = reference(x, kernel, stride, padding, 1, ceil, include)
    np.testing.assert_allclose(
        ops.avg_pool2d(from_numpy(x), *settings, count_include_pad=include).numpy(), want, rtol=1e-12
    )
    if not padding and not ceil:
        total = ops.avg_pool2d(from_numpy(x), *settings, divisor_override=2).numpy()
        np.testing.assert_allclose(total * 2, want * kernel * kernel, rtol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, (3, 4)])
def test_adaptive(size):
    x = rng.normal(size=(2, 3, 7, 9))
    rows, columns = (size, size) if isinstance(size, int) else size
    part = [
        [
            x[:, :, i * 7 // rows : -(-(i + 1) * 7 // rows), j * 9 // columns : -(-(j + 1) * 9 // columns)]
            for j in range(columns)
        ]
        for i in range(rows)
    ]
    mean = np.moveaxis(np.array([[p.mean((2, 3)) for p in row] for row in part]), (2, 3), (0, 1))
    most = np.moveaxis(np.array([[p.max((2, 3)) for p in row] for row in part]), (2, 3), (0, 1))
    np.testing.assert_allclose(ops.adaptive_avg_pool2d(from_numpy(x), size).numpy(), mean, rtol=1e-12)
    values, indices = ops.adaptive_max_pool2d(from_numpy(x), size)
    np.testing.assert_array_equal(values.numpy(), most)
    np.testing.assert_array_equal(
        np.take_along_axis(x.reshape(2, 3, -1), indices.numpy().reshape(2, 3, -1), -1), most.reshape(2, 3, -1)
    )


def test_other_ranks():
    x = rng.normal(size=(2, 3, 12))
    plane = x[:, :, None, :]
    np.testing.assert_array_equal(
        ops.max_pool1d(from_numpy(x), 3, 2, 1).numpy(),
        ops.max_pool2d(from_numpy(plane), (1, 3), (1, 2), (0, 1)).numpy()[:, :, 0],
    )
    np.testing.assert_array_equal(ops.avg_pool1d(from_numpy(x[0]), 3).numpy(), x[0].reshape(3, 4, 3).mean(-1))
    solid = rng.normal(size=(2, 3, 4, 4, 6))
    blocks = solid.reshape(2, 3, 2, 2, 2, 2, 3, 2).transpose(0, 1, 2, 4, 6, 3, 5, 7).reshape(2, 3, 2, 2, 3, 8)
    np.testing.assert_array_equal(ops.max_pool3d(from_numpy(solid), 2).numpy(), blocks.max(-1))
    np.testing.assert_allclose(ops.avg_pool3d(from_numpy(solid), 2).numpy(), blocks.mean(-1), rtol=1e-12)
    np.testing.assert_allclose(
        ops.adaptive_avg_pool3d(from_numpy(solid), (2, 2, 3)).numpy(), blocks.mean(-1), rtol=1e-12
    )
    values, indices = ops.max_pool3d_with_indices(from_numpy(solid), 3, 2, 1)
    np.testing.assert_array_equal(
        np.take_along_axis(solid.reshape(2, 3, -1), indices.numpy().reshape(2, 3, -1), -1),
        values.numpy().reshape(2, 3, -1),
    )


def test_nan_and_infinity():
    """As PyTorch: the last NaN wins; of a window of -inf the first element inside."""
    x = np.full((1, 1, 3, 3), -np.inf)
    values, indices = ops.max_pool2d_with_indices(from_numpy(x), 3, 2, 1)
    assert np.isneginf(values.numpy()).all()
    assert indices.numpy().tolist() == [[[[0, 1], [3, 4]]]]
    x = np.array([[[[1.0, np.nan], [np.nan, 5.0]]]])
    values, indices = ops.max_pool2d_with_indices(from_numpy(x), 2)
    assert np.isnan(values.numpy()).all() and indices.numpy().ravel().tolist() == [2]


@pytest.mark.parametrize("kind", [np.float32, np.float16, np.int64, np.uint8])
def test_dtypes(kind):
    x = (rng.uniform(size=(1, 2, 6, 6)) * 100).astype(kind)
    want, index = reference(x, 3, 2, 1)
    values, indices = ops.max_pool2d_with_indices(from_numpy(x), 3, 2, 1)
    assert values.numpy().dtype == kind
    np.testing.assert_array_equal(values.numpy(), want)
    np.testing.assert_array_equal(indices.numpy(), index)


def test_layouts_and_empty():
    x = rng.normal(size=(2, 9, 8, 3))
    moved, straight = from_numpy(x).permute(0, 3, 1, 2), x.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(ops.max_pool2d(moved, 3, 2, 1).numpy(), reference(straight, 3, 2, 1)[0])
    np.testing.assert_allclose(
        ops.avg_pool2d(moved, 3, 2, 1).numpy(), reference(straight, 3, 2, 1, average=True)[0], rtol=1e-12
    )
    assert ops.max_pool2d(from_numpy(np.zeros((0, 3, 8, 8))), 2).shape == (0, 3, 4, 4)
    assert ops.adaptive_avg_pool2d(from_numpy(np.zeros((2, 3, 8, 8))), 0).shape == (2, 3, 0, 0)


INNERMOST = {
    "max_pool2d": [(2,), (3, 2, 1), (3, 1, 1), (2, 2, 0, 2), (6, 5, 1)], "avg_pool2d": [(2,), (3, 2, 1), (6, 7)],
    "adaptive_avg_pool2d": [(1,), ((5, 2),)], "adaptive_max_pool2d": [(3,)], "max_pool3d": [(2,), (4, 2, 1)],
    "avg_pool3d": [(2,)], "adaptive_avg_pool3d": [(1,), (2,)], "adaptive_max_pool3d": [(2,)],
}  # fmt: skip


@pytest.mark.parametrize("name", INNERMOST)
def test_channels_stay_innermost(name):
    """Results, indices and gradients lie as the input does, gaps or not, and have the numbers of row-major ones."""
    kept = name.endswith("2d") or name == "max_pool3d"
    sizes = (9, 12) if name.endswith("2d") else (6, 5, 8)
    for settings, channels, gaps in itertools.product(INNERMOST[name], (3, 1), (1, 2)):
        x = from_numpy(rng.permutation(2 * channels * math.prod(sizes)).reshape(2, *sizes, channels).astype("f4"))
        x = x.permute(0, x.ndim - 1, *range(1, x.ndim - 1))[..., ::gaps]
        found = []
        for given in (x.contiguous(), x):
            given = given.detach().requires_grad_()
            made = getattr(ops, name)(given, *settings)
            made = made if isinstance(made, tuple) else (made,)
            into = ops.arange(made[0].numel()).reshape(made[0].shape).to(made[0].dtype)
            found.append([*made, *grad(made[0], given, into)])
        for one, other in zip(*found, strict=True):
            np.testing.assert_allclose(other.detach().numpy(), one.detach().numpy(), rtol=1e-5, atol=1e-4)
        *made, gradient = found[1]
        means = settings == (1,) and "avg" in name  # the gradient of a mean is a view
        for y in made:
            assert y.stride() == (channels_last_strides if kept or means else contiguous_strides)(y.shape)
        if not means:
            assert gradient.stride() == (channels_last_strides if kept else contiguous_strides)(x.shape)


@pytest.mark.parametrize("settings", [(2,), (3, 2, 1), (3, 1, 1), (2, 1, 0, 2)])
def test_max_gradients(settings):
    x = rng.permutation(2 * 30).reshape(1, 2, 6, 5) / 7.0  # no ties
    check_gradients(lambda x: ops.max_pool2d(x, *settings), x)
    check_gradients(lambda x: ops.max_pool2d(x, *settings) * ops.max_pool2d(x, *settings), x, second=True)


@pytest.mark.parametrize("settings", [(2,), (3, 2, 1), (3, 1, 1, False, False), (3, 2, 1, True)])
def test_average_gradients(settings):
    check_gradients(lambda x: ops.avg_pool2d(x, *settings), rng.normal(size=(1, 2, 6, 5)), second=True)


def test_adaptive_gradients():
    x = rng.permutation(70).reshape(1, 2, 5, 7) / 7.0
    for size in (1, 2, 3, (4, 5)):
        check_gradients(lambda x, size=size: ops.adaptive_avg_pool2d(x, size), x)
        check_gradients(lambda x, size=size: ops.adaptive_max_pool2d(x, size)[0], x)


def test_indices_have_no_gradient():
    x = from_numpy(rng.normal(size=(1, 1, 4, 4)))
    x.requires_grad = True
    values, indices = ops.max_pool2d_with_indices(x, 2)
    assert values.requires_grad and not indices.requires_grad
    assert type(values.grad_fn).__name__ == "MaxPool2DWithIndicesBackward0"
    (g,) = grad(values.sum(), x)
    assert g.numpy().sum() == 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x: ops.max_pool2d(x, (2, 2, 2)),
            "max_pool2d: kernel_size must either be a single int, or a tuple of two ints",
        ),
        (
            lambda x: ops.max_pool2d(x, 2, padding=2),
            "pad should be at most half of effective kernel size, but got pad=2, kernel_size=2 and dilation=1",
        ),
        (lambda x: ops.max_pool2d(x, 2, 0), "stride should not be zero"),
        (
            lambda x: ops.max_pool2d(x, 9),
            "Given input size: (3x8x8). Calculated output size: (3x0x0). Output size is too small",
        ),
        (lambda x: ops.avg_pool2d(x, 2, divisor_override=0), "divisor must be not zero"),
        (lambda x: ops.max_pool1d(x[0], 9), "max_pool1d() Invalid computed output size: 0"),
        (
            lambda x: ops.avg_pool1d(x, 2),
            "Expected 2 to 3 dimensions, but got 4-dimensional tensor for argument #1 'self'",
        ),
        (lambda x: ops.adaptive_avg_pool2d(x, (2,)), "adaptive_avg_pool2d: output_size must be 2"),
        (
            lambda x: ops.adaptive_max_pool2d(x[0, 0], 2),
            "adaptive_max_pool2d(): Expected 3D or 4D tensor, but got: [8, 8]",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(RuntimeError) as caught:
        call(from_numpy(np.zeros((2, 3, 8, 8))))
    assert message in str(caught.value)
