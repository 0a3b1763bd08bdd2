"""Look-up tables and bags against NumPy loops, their gradients against differences, indices out of range."""

import numpy as np
import pytest

import facula.operators as ops
from facula import launch
from facula.autograd import grad
from facula.core import dtype as dt
from facula.operators.embedding import embedding_bags

from .differences import check_gradients

rng = np.random.default_rng(0)
TABLE = rng.normal(size=(7, 5))


def t(array):
    return ops.from_numpy(np.ascontiguousarray(array))


@pytest.mark.parametrize("shape", [(4,), (2, 3), (), (0,), (2, 0), (200,)])
@pytest.mark.parametrize("kind", [np.int64, np.int32])
def test_rows(shape, kind):
    indices = rng.integers(0, 7, shape).astype(kind)
    np.testing.assert_array_equal(ops.embedding(t(TABLE), t(indices).reshape(shape)).numpy(), TABLE[indices])
    np.testing.assert_array_equal(ops.embedding(t(TABLE.T).t(), t(indices).reshape(shape)).numpy(), TABLE[indices])
    if indices.size < 10:
        check_gradients(lambda w: ops.embedding(w, t(indices).reshape(shape)), TABLE, second=indices.size > 0)


def table_gradient(indices, padding, often):
    weight = t(TABLE.copy())
    weight.requires_grad = True
    upstream = rng.normal(size=(*indices.shape, 5))
    found = grad(ops.embedding(weight, t(indices), padding, often), weight, t(upstream))[0].numpy()
    want = np.zeros_like(TABLE)
    for at in np.ndindex(indices.shape):
        if indices[at] != padding:
            want[indices[at]] += upstream[at] / ((indices == indices[at]).sum() if often else 1)
    np.testing.assert_allclose(found, want, rtol=1e-12, atol=1e-14)


def test_padding_and_frequency():
    indices = np.array([[0, 3, 3], [6, 3, 0]])
    for padding in (-1, 3):
        for often in (False, True):
            table_gradient(indices, padding, often)


def test_errors():
    for wrong in (7, -1):
        with pytest.raises(IndexError, match="index out of range in self"):
            ops.embedding(t(TABLE), ops.tensor([0, wrong]))
    with pytest.raises(RuntimeError, match="'weight' must be 2-D"):
        ops.embedding(ops.ones(3), ops.tensor([0]))
    with pytest.raises(
        RuntimeError,
        match="Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, "
        "Int; but got torch.FloatTensor",
    ):
        ops.embedding(t(TABLE), ops.ones(2))


@pytest.mark.parametrize("p", [1.0, 2.0, np.inf])
def test_renorm(p):
    weight, indices = t(TABLE * 2), np.array([[0, 3], [3, 5]])
    assert ops.embedding_renorm_(weight, t(indices), 1.5, p) is weight
    want = TABLE * 2
    for i in (0, 3, 5):
        length = np.linalg.norm(want[i], p)
        want[i] *= min(1, 1.5 / (length + 1e-7)) if length > 1.5 else 1
    np.testing.assert_allclose(weight.numpy(), want, rtol=1e-12)


def bags_of(indices, marks, mode, padding, factors):
    out = np.zeros((len(marks) - 1, 5))
    for b, (start, stop) in enumerate(zip(marks, marks[1:])):
        rows = [
            TABLE[i] * (1 if factors is None else factors[k])
            for k, i in enumerate(indices[start:stop], start)
            if i != padding
        ]
        if rows:
            out[b] = {"sum": np.sum, "mean": np.mean, "max": np.max}[mode](rows, 0)
    return out


@pytest.fixture(params=["measured", "joined"])
def way(request, monkeypatch):
    """Both ways to sum bags: asking how long they are, and, where that means waiting, index by index."""
    if request.param == "joined":
        monkeypatch.setattr(launch, "checks_later", lambda where: True)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("padding", [-1, 2])
def test_bags(mode, padding, way):
    indices = np.array([1, 2, 0, 6, 6, 2, 3, 2, 5, 4, 1])
    for marks in ([0, 3, 3, 7, 11], [0, 11], [0, 1, 2, 11]):
        offsets = t(np.array(marks[:-1]))
        want = bags_of(indices, marks, mode, padding, None)
        np.testing.assert_allclose(
            ops.embedding_bag(t(TABLE), t(indices), offsets, mode, padding_idx=padding).numpy(), want, rtol=1e-12
        )
        found = ops.embedding_bag(t(TABLE), t(indices.astype(np.int32)), t(np.array(marks)), mode, None, True, padding)
        np.testing.assert_allclose(found.numpy(), want, rtol=1e-12)
        check_gradients(
            lambda w, o=offsets: ops.embedding_bag(w, t(indices), o, mode, padding_idx=padding),
            TABLE,
            second=mode != "max",
        )
    square = np.array([[1, 2, 3], [2, 2, 2]])
    want = bags_of(square.reshape(-1), [0, 3, 6], mode, padding, None)
    np.testing.assert_allclose(
        ops.embedding_bag(t(TABLE), t(square), None, mode, padding_idx=padding).numpy(), want, rtol=1e-12
    )


def test_bag_factors(way):
    indices, factors, offsets = np.array([1, 2, 0, 6, 6, 2]), rng.normal(size=6), t(np.array([0, 2]))
    for padding in (-1, 2):
        want = bags_of(indices, [0, 2, 6], "sum", padding, factors)
        found = ops.embedding_bag(t(TABLE), t(indices), offsets, "sum", t(factors), padding_idx=padding)
        np.testing.assert_allclose(found.numpy(), want, rtol=1e-12)
        check_gradients(
            lambda w, f, p=padding: ops.embedding_bag(w, t(indices), offsets, "sum", f, padding_idx=p),
            TABLE,
            factors,
            second=True,
        )


def test_bags_that_end_early(way):
    """With include_last_offset, indices after the last bag belong to none and get no gradient."""
    weight, factors = t(TABLE.copy()), t(np.ones(6))
    weight.requires_grad = factors.requires_grad = True
    out = ops.embedding_bag(weight, t(np.array([1, 2, 0, 6, 6, 2])), t(np.array([0, 2, 3])), "sum", factors, True)
    for_weight, for_factors = grad(out, (weight, factors), ops.ones(2, 5, dtype=dt.float64))
    np.testing.assert_array_equal(np.flatnonzero(for_weight.numpy().any(1)), [0, 1, 2])
    np.testing.assert_allclose(for_factors.numpy(), [*TABLE[[1, 2, 0]].sum(1), 0, 0, 0])


def test_a_nan_is_the_maximum_of_its_bag(way):
    table = TABLE.copy()
    table[6, 1] = np.nan
    found, place = embedding_bags(t(table), t(np.array([1, 6, 6, 2, 3])), t(np.array([0, 4, 5])), None, "max", None, -1,
                                  False, False)  # fmt: skip
    np.testing.assert_array_equal(found.numpy(), [np.max(table[[1, 6, 2]], 0), table[3]])
    assert place.numpy()[0, 1] == 1 and place.numpy()[1].tolist() == [0] * 5


def test_bag_errors(way):
    one = t(np.array([1, 2, 3]))
    for offsets, last, words in (
        ([0, 5], False, "offsets\\[-1\\] can not be greater than input's length 3 but got offsets\\[-1\\] of 5"),
        ([1, 2], False, "offsets\\[0\\] has to be 0"),
        ([], True, "include_last_offset: number of offset should be at least 1"),
        ([0, 2, 1], False, "offsets must not decrease"),
    ):
        with pytest.raises(RuntimeError, match=words):
            ops.embedding_bag(t(TABLE), one, t(np.array(offsets, np.int64)), "sum", None, last)
    with pytest.raises(RuntimeError, match="Index 1 of input takes value 9 which is not in the valid range \\[0, 7\\)"):
        ops.embedding_bag(t(TABLE), t(np.array([[0, 9]])))
    assert ops.embedding_bag(t(TABLE), one, t(np.array([], np.int64)), "sum").shape == (0, 5)


def test_bags_scale_gradients_by_the_frequency_of_their_own_indices():
    indices, table = t(np.array([4, 1, 5, 2, 3, 5, 0, 3, 3])), t(np.ones((6, 1)))
    table.requires_grad = True
    bags = ops.embedding_bag(table, indices, t(np.array([0, 3, 5])), "sum", scale_grad_by_freq=True)
    assert grad(ops.sum(bags), table)[0].tolist() == [[1.0]] * 6


def test_the_gradient_of_maxima_has_none_of_its_own():
    weight = t(TABLE.copy()).requires_grad_()
    out = ops.embedding_bag(weight, ops.tensor([[1, 2], [2, 5]]), mode="max")
    found = grad((out * out).sum(), weight, create_graph=True)[0]
    assert found.requires_grad
    with pytest.raises(NotImplementedError, match="the derivative for '_embedding_bag_backward' is not implemented"):
        grad((found + weight).sum(), weight)
