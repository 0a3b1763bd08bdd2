"""Sorting, selecting, counting against NumPy and plain Python; recorded answers for PyTorch's ties and NaN."""

import numpy as np
import pytest

import facula.operators as ops
from facula.core import dtype as dt
from facula.operators.creation import from_numpy

from .differences import check_gradients

rng = np.random.default_rng(0)
nan, inf = float("nan"), float("inf")
KINDS = [np.float64, np.float32, np.float16, np.int64, np.int32, np.int8, np.uint8, np.bool_]


def stable_order(x, dim, descending):
    """Places in order by Python's sort, NaN the largest, equal ones as they were."""
    rows = np.moveaxis(x, dim, -1)
    out = np.empty(rows.shape, np.int64)
    for at in np.ndindex(*rows.shape[:-1]):
        row = rows[at].tolist()
        rank = [(1, 0.0) if isinstance(v, float) and v != v else (0, v) for v in row]
        if descending:
            rank = [(-a, -b) for a, b in rank]
        out[at] = sorted(range(len(row)), key=rank.__getitem__)
    return np.moveaxis(out, -1, dim)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("descending", [False, True])
def test_sort(kind, descending):
    x = (rng.normal(size=(5, 40, 2)) * 3).round().astype(kind)  # with ties
    for dim in (0, 1, -1):
        values, indices = ops.sort(from_numpy(x), dim, descending)
        places = stable_order(x, dim, descending)
        np.testing.assert_array_equal(indices.numpy(), places)
        np.testing.assert_array_equal(values.numpy(), np.take_along_axis(x, places, dim))
        np.testing.assert_array_equal(ops.argsort(from_numpy(x), dim, descending).numpy(), places)
        assert values.numpy().dtype == kind


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_sort_special_values(kind):
    x = np.array([1.0, nan, -0.0, 0.0, -nan, -inf, 2.0, inf, -1.0], kind)
    assert ops.argsort(from_numpy(x)).numpy().tolist() == [5, 8, 2, 3, 0, 6, 7, 1, 4]
    assert ops.argsort(from_numpy(x), descending=True).numpy().tolist() == [1, 4, 7, 6, 0, 2, 3, 8, 5]


def test_sort_long_integers():
    x = rng.integers(-(2**62), 2**62, 1000)
    np.testing.assert_array_equal(ops.sort(from_numpy(x))[0].numpy(), np.sort(x))
    small = rng.integers(2**40, 2**40 + 50, 1000)
    np.testing.assert_array_equal(ops.argsort(from_numpy(small)).numpy(), np.argsort(small, kind="stable"))


def test_bfloat16():
    x = from_numpy(np.array([3, -1, 2, 2], "f")).to(dt.bfloat16)
    values, indices = ops.sort(x)
    assert values.dtype is dt.bfloat16 and values.to(dt.float32).numpy().tolist() == [-1, 2, 2, 3]
    assert indices.numpy().tolist() == [1, 2, 3, 0]


def test_shapes():
    for shape in ((), (0, 3), (3, 0), (1,)):
        values, indices = ops.sort(from_numpy(np.zeros(shape)), 0)
        assert values.shape == indices.shape == shape
    assert ops.topk(from_numpy(np.array(2.0)), 1)[0].shape == ()
    np.testing.assert_array_equal(ops.msort(from_numpy(np.array([[3, 1], [2, 5]]))).numpy(), [[2, 1], [3, 5]])


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64, np.uint8])
@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize(("n", "k"), [(40, 5), (40, 30), (20000, 7), (300, 3)])
def test_topk(kind, largest, n, k):
    x = (rng.normal(size=(3, n)) * 100).astype(kind)
    values, indices = ops.topk(from_numpy(x), k, largest=largest)
    want = np.sort(x, -1)[:, ::-1][:, :k] if largest else np.sort(x, -1)[:, :k]
    np.testing.assert_array_equal(values.numpy(), want)
    np.testing.assert_array_equal(np.take_along_axis(x, indices.numpy(), -1), want)


def test_topk_nan():
    x = rng.normal(size=20000)
    x[[5, 7]] = nan
    assert ops.topk(from_numpy(x), 2)[1].numpy().tolist() == [5, 7]
    np.testing.assert_array_equal(ops.topk(from_numpy(x), 3, largest=False)[0].numpy(), np.sort(x)[:3])
    x[:] = 1.0
    assert ops.topk(from_numpy(x), 2)[0].numpy().tolist() == [1, 1]


def test_kthvalue_and_medians():
    x = rng.normal(size=(4, 8, 3))
    for k in (1, 5, 8):
        values, indices = ops.kthvalue(from_numpy(x), k, 1, True)
        np.testing.assert_array_equal(values.numpy(), np.sort(x, 1)[:, k - 1 : k])
        np.testing.assert_array_equal(np.take_along_axis(x, indices.numpy(), 1), values.numpy())
    np.testing.assert_array_equal(ops.median(from_numpy(x), 1)[0].numpy(), np.sort(x, 1)[:, 3])
    assert ops.median(from_numpy(x)).item() == np.sort(x.ravel())[47]
    row = from_numpy(np.array([1.0, nan, 2.0, nan]))
    values, indices = ops.median(row, 0)
    assert np.isnan(values.item()) and indices.item() == 1
    values, indices = ops.nanmedian(row, 0)
    assert (values.item(), indices.item()) == (1.0, 0)
    assert np.isnan(ops.nanmedian(from_numpy(np.array([nan, nan]))).item())
    assert np.isnan(ops.median(from_numpy(np.zeros(0))).item())


def test_mode():
    """Recorded from PyTorch: the smallest of the most frequent, its last index."""
    for row, value, index in (([1, 2, 2, 3, 3, 1], 1, 5), ([5, 5, 4, 4, 4, 5], 4, 4), ([7], 7, 0)):
        values, indices = ops.mode(from_numpy(np.array(row)))
        assert (values.item(), indices.item()) == (value, index)


def test_running_extremes():
    """Recorded from PyTorch: of equal ones the last, NaN stays."""
    values, indices = ops.cummax(from_numpy(np.array([1.0, 3.0, 3.0, 2.0, nan, 5.0, nan])), 0)
    np.testing.assert_array_equal(values.numpy(), [1, 3, 3, 3, nan, nan, nan])
    assert indices.numpy().tolist() == [0, 1, 2, 2, 4, 4, 6]
    values, indices = ops.cummin(from_numpy(np.array([3, 1, 1, 2, 0])), 0)
    assert (values.numpy().tolist(), indices.numpy().tolist()) == ([3, 1, 1, 1, 0], [0, 1, 2, 2, 4])
    x = rng.normal(size=(3, 6))
    np.testing.assert_array_equal(ops.cummax(from_numpy(x), 1)[0].numpy(), np.maximum.accumulate(x, 1))


def test_gradients():
    x = rng.permutation(24).reshape(4, 6) / 3.0
    for function in (
        lambda x: ops.sort(x, 0, True)[0],
        lambda x: ops.topk(x, 3)[0],
        lambda x: ops.kthvalue(x, 2, 0)[0],
        lambda x: ops.median(x, 1)[0],
        ops.median,
        ops.nanmedian,
        lambda x: ops.mode(x, 1)[0],
        lambda x: ops.cummax(x, 1)[0],
        lambda x: ops.cummin(x, 0)[0],
    ):
        check_gradients(function, x)
    check_gradients(lambda x: ops.sort(x * x, 1)[0], x + 1, second=True)


def test_median_shares_its_gradient():
    x = from_numpy(np.array([1.0, 2.0, 2.0, 3.0]))
    x.requires_grad = True
    ops.median(x).backward()
    assert x.grad.numpy().tolist() == [0, 0.5, 0.5, 0]


@pytest.mark.parametrize("kind", [np.float64, np.int64, np.bool_])
def test_unique(kind):
    x = (rng.normal(size=(4, 6)) * 2).round().astype(kind)
    values, inverse, counts = ops.unique(from_numpy(x), return_inverse=True, return_counts=True)
    want, places, numbers = np.unique(x, return_inverse=True, return_counts=True)
    np.testing.assert_array_equal(values.numpy(), want)
    np.testing.assert_array_equal(values.numpy()[inverse.numpy()], x)
    np.testing.assert_array_equal(counts.numpy(), numbers)
    assert values.numpy().dtype == kind and inverse.shape == x.shape


def test_unique_special():
    values, counts = ops.unique(from_numpy(np.array([2.0, nan, nan])), return_counts=True)
    np.testing.assert_array_equal(values.numpy(), [2, nan, nan])
    assert counts.numpy().tolist() == [1, 1, 1]
    values, inverse, counts = ops.unique(
        from_numpy(np.array([[1, 2], [1, 2], [0, 5]])), dim=0, return_inverse=True, return_counts=True
    )
    assert (values.numpy().tolist(), inverse.numpy().tolist(), counts.numpy().tolist()) == (
        [[0, 5], [1, 2]],
        [1, 1, 0],
        [1, 2],
    )
    values, inverse, counts = ops.unique_consecutive(
        from_numpy(np.array([1, 1, 2, 2, 1])), return_inverse=True, return_counts=True
    )
    assert (values.numpy().tolist(), inverse.numpy().tolist(), counts.numpy().tolist()) == (
        [1, 2, 1],
        [0, 0, 1, 1, 2],
        [2, 2, 1],
    )
    assert ops.unique_consecutive(from_numpy(np.array([[1, 1], [1, 1], [2, 1]])), dim=0).numpy().tolist() == [
        [1, 1],
        [2, 1],
    ]
    assert ops.unique_consecutive(from_numpy(np.zeros(0))).shape == (0,)


def test_searches():
    edges = from_numpy(np.array([1, 3, 5]))
    assert ops.searchsorted(edges, from_numpy(np.array([[0, 3], [5, 9]]))).numpy().tolist() == [[0, 1], [2, 3]]
    assert ops.searchsorted(edges, from_numpy(np.array([3])), right=True).numpy().tolist() == [2]
    assert ops.searchsorted(edges, 3).item() == 1
    rows = from_numpy(np.array([[1.0, 3, 5], [2, 4, 6]]))
    found = ops.searchsorted(rows, from_numpy(np.array([[3.0, 4], [3, 4]])), side="right", out_int32=True)
    assert found.numpy().tolist() == [[2, 2], [1, 2]] and found.dtype is dt.int32
    assert (
        ops.searchsorted(
            from_numpy(np.array([3, 1, 5])), from_numpy(np.array([2])), sorter=from_numpy(np.array([1, 0, 2]))
        ).item()
        == 1
    )
    assert ops.bucketize(from_numpy(np.array([1.0, 2, 9, nan])), from_numpy(np.array([1.0, 3]))).numpy().tolist() == [
        0,
        1,
        2,
        2,
    ]


def test_one_hot():
    x = from_numpy(np.array([[0, 2], [1, 1]]))
    np.testing.assert_array_equal(ops.one_hot(x).numpy(), np.eye(3, dtype=int)[x.numpy()])
    assert ops.one_hot(x, 5).shape == (2, 2, 5)
    assert ops.one_hot(from_numpy(np.array(2))).numpy().tolist() == [0, 0, 1]
    assert ops.one_hot(from_numpy(np.zeros(0, int)), 3).shape == (0, 3)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: ops.topk(from_numpy(np.zeros(2)), 3), RuntimeError, "selected index k out of range"),
        (
            lambda: ops.kthvalue(from_numpy(np.zeros(2)), 0),
            RuntimeError,
            "kthvalue(): selected number k out of range for dimension 0",
        ),
        (
            lambda: ops.median(from_numpy(np.zeros((0, 3))), 0),
            IndexError,
            "median(): Expected reduction dim 0 to have non-zero size.",
        ),
        (
            lambda: ops.sort(from_numpy(np.zeros(1)), 5),
            IndexError,
            "Dimension out of range (expected to be in range of [-1, 0], but got 5)",
        ),
        (
            lambda: ops.sort(from_numpy(np.zeros(1, complex))),
            RuntimeError,
            "Sort does not support complex dtypes on CPU",
        ),
        (
            lambda: ops.one_hot(from_numpy(np.array([1.0]))),
            RuntimeError,
            "one_hot is only applicable to index tensor of type LongTensor.",
        ),
        (lambda: ops.one_hot(from_numpy(np.array([-1]))), RuntimeError, "Class values must be non-negative."),
        (
            lambda: ops.one_hot(from_numpy(np.array([3])), 2),
            RuntimeError,
            "Class values must be smaller than num_classes.",
        ),
        (
            lambda: ops.searchsorted(from_numpy(np.zeros(2)), 1, side="x"),
            RuntimeError,
            "side can only be 'left' or 'right' but got x",
        ),
        (
            lambda: ops.bucketize(1, from_numpy(np.zeros((2, 2)))),
            RuntimeError,
            "boundaries tensor must be 1 dimension, but got dim(2)",
        ),
    ],
)
def test_errors(call, kind, message):
    with pytest.raises(kind) as caught:
        call()
    assert message in str(caught.value)
