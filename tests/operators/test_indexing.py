"""`x[...]` against NumPy on random expressions, gradients against differences, errors, memory sharing."""

import random

import numpy as np
import pytest

import facula as torch
from tests.operators.indexing import SHAPES, Index, places_are_distinct


class Arrays:
    """NumPy under the names that `Index.make` uses."""

    tensor = staticmethod(np.asarray)


def like_numpy(index: Index) -> bool:
    """NumPy counts a number beside index arrays as one of them; PyTorch takes it first. Bools beside them likewise."""
    kinds = [i[0] for i in index.items]
    arrays = any(k in ("tensor", "array", "list", "mask") for k in kinds)
    numbers = any(i[0] in ("int", "bool") or (i[0] == "tensor" and i[1].ndim == 0) for i in index.items)
    return not (arrays and numbers)


def attempt(call):
    try:
        return call(), None
    except Exception as error:
        return None, error


def indices(seed, shapes=SHAPES, count=60, bad=0.0):
    rng = random.Random(seed)
    for _ in range(count):
        shape = rng.choice(shapes)
        index = Index(rng, shape, bad)
        if like_numpy(index):
            yield shape, index


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("bad", [0.0, 0.3])
def test_reading_as_numpy(seed, bad):
    for shape, index in indices(f"{seed} {bad}", bad=bad):
        array = np.arange(float(np.prod(shape))).reshape(shape)
        wanted, failed = attempt(lambda: array[index.make(Arrays)])  # noqa: B023
        found, error = attempt(lambda: torch.tensor(array)[index.make(torch)])  # noqa: B023
        if any(i[0] == "slice" and i[3] == -1 for i in index.items):
            assert isinstance(error, ValueError)  # PyTorch has no negative steps
            continue
        if failed is not None and error is None and found.numel() == 0:
            continue  # nothing is read, so nothing is out of range: as in PyTorch
        assert (failed is None) == (error is None), f"{shape} {index}: {error} for {failed}"
        if failed is None:
            np.testing.assert_array_equal(found.numpy(), wanted, err_msg=f"{shape} {index}")
            assert tuple(found.shape) == np.shape(wanted)
        else:
            assert isinstance(error, (IndexError, RuntimeError)), f"{shape} {index}: {error!r}"


@pytest.mark.parametrize("seed", range(10))
def test_writing_as_numpy(seed):
    rng = np.random.default_rng(seed)
    for shape, index in indices(1000 + seed):
        if not places_are_distinct(index):
            continue
        array = np.arange(float(np.prod(shape))).reshape(shape)
        x = torch.tensor(array)
        read, failed = attempt(lambda: array[index.make(Arrays)])  # noqa: B023
        if failed is not None:
            continue
        target = np.shape(read)
        value = np.asarray(rng.uniform(-1, 1, tuple(1 if rng.random() < 0.3 else n for n in target)))
        array[index.make(Arrays)] = value
        x[index.make(torch)] = torch.tensor(value)
        np.testing.assert_array_equal(x.numpy(), array, err_msg=f"{shape} {index}")
        array[index.make(Arrays)] = 5
        x[index.make(torch)] = 5
        np.testing.assert_array_equal(x.numpy(), array, err_msg=f"{shape} {index}")


@pytest.mark.parametrize("seed", range(4))
def test_gradients(seed):
    rng = np.random.default_rng(seed)
    for shape, index in indices(2000 + seed, SHAPES[:5], 15):
        values = rng.uniform(-1, 1, shape)
        x = torch.tensor(values, requires_grad=True)
        y = (x * x)[index.make(torch)]
        weights = rng.uniform(0.5, 1.5, tuple(y.shape))
        (grad,) = torch.autograd.grad(y, x, torch.tensor(np.asarray(weights)), allow_unused=True)
        wanted = np.zeros(shape)
        spread = np.zeros(shape)
        places = np.arange(int(np.prod(shape))).reshape(shape)[index.make(Arrays)]
        np.add.at(spread.reshape(-1), np.asarray(places).reshape(-1), np.asarray(weights).reshape(-1))
        wanted = 2 * values * spread
        found = np.zeros(shape) if grad is None else grad.numpy()
        np.testing.assert_allclose(found, wanted, atol=1e-12, err_msg=f"{shape} {index}")


def test_nothing_is_written_where_an_index_is_bad():
    x = torch.zeros(4, 3)
    for index, error in (
        (torch.tensor([0, 9]), IndexError),
        ((torch.tensor([0, 1]), torch.tensor([0, 7])), IndexError),
    ):
        with pytest.raises(error):
            x[index] = 1.0
        with pytest.raises(error):
            x.index_put_(index if isinstance(index, tuple) else (index,), torch.tensor(1.0), accumulate=True)
    with pytest.raises(RuntimeError):
        x.scatter_(0, torch.tensor([[0, 1, 9]]), 1.0)
    with pytest.raises(RuntimeError):
        x.scatter_add_(0, torch.tensor([[0, 1, 9]]), torch.ones(1, 3))
    with pytest.raises(RuntimeError):
        x.index_add_(0, torch.tensor([0, 9]), torch.ones(2, 3))
    assert not x.any() and x._version == 0


def test_equal_places():
    x = torch.zeros(3)
    i = torch.tensor([0, 0, 2, 0])
    x.index_put_((i,), torch.tensor([1.0, 2.0, 3.0, 4.0]), accumulate=True)
    assert x.tolist() == [7, 0, 3]
    y = torch.zeros(3).scatter_add(0, i, torch.ones(4))
    z = torch.zeros(3).index_add(0, i, torch.ones(4), alpha=2)
    w = torch.zeros(3)
    w[i] = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert y.tolist() == [3, 0, 1] and z.tolist() == [6, 0, 2] and w.tolist() == [4, 0, 3]  # the last write wins


def test_large():
    rng = np.random.default_rng(0)
    table = rng.standard_normal((5000, 64)).astype("f4")
    index = rng.integers(-5000, 5000, 20000)
    x = torch.tensor(table)
    np.testing.assert_array_equal(x[torch.tensor(index)].numpy(), table[index])
    mask = rng.random(5000) < 0.3
    np.testing.assert_array_equal(x[torch.tensor(mask)].numpy(), table[mask])
    total = np.zeros_like(table)
    np.add.at(total, index, 1.0)
    y = torch.zeros(5000, 64)
    y.index_put_((torch.tensor(index),), torch.ones(20000, 64), accumulate=True)
    np.testing.assert_array_equal(y.numpy(), total)


def test_views_and_copies():
    x = torch.zeros(4, 4)
    for item in (0, slice(1, 3), (slice(None), 1), (Ellipsis, None), (0, 0), slice(None, None, 2)):
        assert x[item]._is_view() and x[item]._base is x
    for item in ([0], torch.tensor([0]), x > 0, (0, torch.tensor([1, 2]))):
        assert not x[item]._is_view()
    x[1:3, ::2][0] = 5
    assert x.sum().item() == 10


@pytest.mark.parametrize("shape", [(7, 300), (300, 7), (4000,), (3, 50, 20)])
def test_writes_against_numpy_and_threads(shape):
    """Scatter and index_add along each dim, with indices that meet: NumPy's numbers, the same bits always."""
    rng = np.random.default_rng(0)
    from facula.targets.cpu import threads

    before = threads.get_num_threads()
    x, src = rng.standard_normal(shape).astype("f"), rng.standard_normal(shape).astype("f")
    for dim in range(len(shape)):
        index = rng.integers(0, shape[dim], shape)
        row = rng.integers(0, shape[dim], shape[dim])
        grid = list(np.indices(shape))
        grid[dim] = index
        added, put, along = x.astype("d"), x.copy(), x.astype("d")
        np.add.at(added, tuple(grid), src)
        for at in np.ndindex(*shape):
            put[(*at[:dim], index[at], *at[dim + 1 :])] = src[at]
        np.add.at(np.moveaxis(along, dim, 0), row, np.moveaxis(src, dim, 0))
        made = []
        try:
            for count in (1, 2, 4):
                threads.set_num_threads(count)
                t, i, s, r = (torch.from_numpy(a) for a in (x, index, src, row))
                made.append([
                    torch.scatter_add(t, dim, i, s).numpy(), torch.scatter(t, dim, i, s).numpy(),
                    torch.index_add(t, dim, r, s).numpy(),
                ])  # fmt: skip
        finally:
            threads.set_num_threads(before)
        for other in made[1:]:
            for a, b in zip(other, made[0]):
                assert a.tobytes() == b.tobytes()
        np.testing.assert_allclose(made[0][0], added, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(made[0][1], put)
        np.testing.assert_allclose(made[0][2], along, rtol=1e-5, atol=1e-5)


def test_nothing_is_written_where_an_index_is_out_of_range():
    x = torch.from_numpy(np.zeros((40, 50), "f"))
    index = np.zeros((40, 50), np.int64)
    index[39, 49] = 50
    ones = torch.from_numpy(np.ones((40, 50), "f"))
    row = torch.from_numpy(np.array([*range(39), 50]))
    for change in (
        lambda: x.scatter_(1, torch.from_numpy(index), ones),
        lambda: x.scatter_add_(1, torch.from_numpy(index), ones),
        lambda: x.index_add_(0, row, ones),
        lambda: x.__setitem__(row, 1.0),
        lambda: x.index_put_((row,), torch.from_numpy(np.ones(50, "f")), True),
    ):
        with pytest.raises((RuntimeError, IndexError), match="out of bounds for dimension"):
            change()
        assert not x.numpy().any()


@pytest.mark.parametrize("kind", ["f8", "u1"])
def test_isin(kind):
    """Few numbers, compared one by one; many, which are marked or sorted; none."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 200, (30, 20)).astype(kind)
    for count, invert in ((0, False), (0, True), (3, False), (7, True), (500, False)):
        tests = rng.integers(0, 200, count).astype(kind)
        among = torch.from_numpy(np.repeat(tests, 2))[::2]
        found = torch.isin(torch.from_numpy(x).t()[::2], among, invert=invert)
        np.testing.assert_array_equal(found.numpy(), np.isin(x.T[::2], tests, invert=invert))
