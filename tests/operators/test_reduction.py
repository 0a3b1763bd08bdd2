"""Reductions and scans against NumPy over shapes, dims, layouts, dtypes and special values."""

import itertools
import math

import numpy as np
import pytest
from scipy.special import logsumexp

import facula as torch

SHAPES = ((7,), (3, 5), (2, 3, 4), (1, 6, 1), (64, 3), (3, 200), (2, 1, 33, 2), (1000,))
REDUCTIONS = {
    "sum": np.sum,
    "mean": np.mean,
    "prod": np.prod,
    "amax": np.max,
    "amin": np.min,
    "std": lambda x, **k: np.std(x, ddof=1, **k),
    "nansum": np.nansum,
    "var": lambda x, **k: np.var(x, ddof=1, **k),
    "logsumexp": logsumexp,
    "count_nonzero": np.count_nonzero,
    "any": np.any,
    "all": np.all,
}
ONE_DIM = ("prod", "any", "all")


def subsets(rank):
    return [d for n in range(1, rank + 1) for d in itertools.combinations(range(rank), n)]


def variants(array):
    yield torch.tensor(array)
    yield torch.tensor(np.ascontiguousarray(array.T)).permute(*reversed(range(array.ndim)))
    if array.ndim:
        yield torch.tensor(np.repeat(array, 2, -1))[..., ::2]


@pytest.mark.parametrize("name", REDUCTIONS)
def test_dims(name):
    rng = np.random.default_rng(1)
    for shape in SHAPES:
        array = rng.uniform(0.5, 1.5, shape)
        array[rng.random(shape) < 0.1] = 0
        for dims in subsets(len(shape)):
            if name in ONE_DIM and len(dims) > 1:
                continue
            if name in ("std", "var") and np.prod([shape[d] for d in dims]) < 2:
                continue
            for keep in (False, True):
                if name == "count_nonzero":
                    if keep:
                        continue
                    wanted, options = np.count_nonzero(array, axis=dims), {}
                else:
                    options = {"keepdim": keep}
                    wanted = REDUCTIONS[name](array, axis=dims, keepdims=keep)
                for x in variants(array):
                    found = getattr(torch, name)(
                        x, dims if len(dims) > 1 or name in ("amax", "amin", "logsumexp") else dims[0], **options
                    )
                    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-11, err_msg=f"{shape} {dims}")
                    assert tuple(found.shape) == np.shape(wanted)


@pytest.mark.parametrize("name", ["max", "min"])
def test_extremes_with_places(name):
    rng = np.random.default_rng(2)
    for shape in SHAPES:
        array = rng.integers(0, 4, shape).astype("f8")  # many ties: the first one counts
        for dim in range(len(shape)):
            for x in variants(array):
                values, indices = getattr(torch, name)(x, dim)
                np.testing.assert_array_equal(values.numpy(), getattr(np, name)(array, dim))
                np.testing.assert_array_equal(indices.numpy(), getattr(np, "arg" + name)(array, dim))
                np.testing.assert_array_equal(getattr(torch, "arg" + name)(x, dim).numpy(), indices.numpy())
        assert getattr(torch, "arg" + name)(torch.tensor(array)).item() == getattr(np, "arg" + name)(array)


def test_nan_wins():
    x = torch.tensor([[1.0, float("nan"), 3.0], [float("nan"), 2.0, float("nan")]])
    assert x.max().isnan() and x.min().isnan() and x.amax(1).isnan().all() and x.sum().isnan()
    assert (
        x.argmax().item() == 1
        and x.argmax(1).tolist() == [1, 0]
        and x.argmin(1).tolist() == [1, 0]
        and x.max(1)[1].tolist() == [1, 0]
    )
    assert x.nansum().item() == 6 and torch.nanmean(x).item() == 2


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int16", "int32", "int64"])
def test_whole_numbers_are_summed_in_int64(dtype):
    rng = np.random.default_rng(3)
    array = rng.integers(0, 2 if dtype == "bool" else 100, (30, 40)).astype(dtype)
    x = torch.tensor(array)
    for name in ("sum", "cumsum"):
        found = getattr(x, name)(1)
        assert found.dtype is torch.int64
        np.testing.assert_array_equal(found.numpy(), getattr(np, name)(array, 1, dtype="i8"))
    assert x.sum().item() == int(array.sum(dtype="i8"))


@pytest.mark.parametrize("name", ["cumsum", "cumprod"])
def test_scans(name):
    rng = np.random.default_rng(4)
    for shape in SHAPES:
        array = rng.uniform(0.8, 1.2, shape)
        for dim in range(len(shape)):
            for x in variants(array):
                np.testing.assert_allclose(
                    getattr(torch, name)(x, dim).numpy(), getattr(np, name)(array, dim), rtol=1e-10
                )


def test_accuracy_of_long_sums():
    rng = np.random.default_rng(5)
    array = rng.random(3_000_000).astype("f4")
    exact = array.sum(dtype="f8")
    x = torch.tensor(array)
    assert abs(x.sum().item() - exact) <= 1e-6 * exact
    assert abs(x.view(3, -1).sum(1).sum().item() - exact) <= 1e-6 * exact
    assert abs(x.view(-1, 3).sum(0).sum().item() - exact) <= 1e-6 * exact
    y = x + 1000
    assert abs(y.var().item() - array.var(dtype="f8")) <= 1e-3
    assert abs(y.mean().item() - 1000.5) <= 1e-2


def test_bits_do_not_depend_on_the_number_of_threads():
    rng = np.random.default_rng(6)
    x = torch.tensor(rng.standard_normal((700, 900)).astype("f4"))
    before = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2, 4):
            torch.set_num_threads(count)
            parts = [
                x.sum(),
                x.sum(0),
                x.sum(1),
                x.mean(),
                x.var(0),
                x.norm(),
                x.prod(1),
                x.cumsum(1),
                x.logsumexp(1),
                x.softmax(1),
            ]
            found.append([p.numpy().tobytes() for p in parts])
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1] == found[2]


def test_repeated_calls_tell_their_arguments_apart():
    """The second call of a kind is repeated by machine code, found by the very objects that were given."""
    x = torch.tensor([[1.0, 2.0, 4.0], [3.0, 0.0, 2.0]])
    for _ in range(3):
        assert x.max().item() == 4 and x.max(0)[1].tolist() == [1, 0, 0] and x.max(-1).values.tolist() == [4, 3]
        assert x.max(1, True).values.shape == (2, 1) and x.amax(()).item() == 4 and x.amax((0, 1)).item() == 4
        assert x.argmin().item() == 4 and x.argmin(0).tolist() == [0, 1, 1] and x.argmin(1, True).shape == (2, 1)
        assert x[:1].var(1).item() == pytest.approx(7 / 3) and x[:1].var(1, False).item() == pytest.approx(14 / 9)
        assert x[:1].var(False).item() == pytest.approx(14 / 9) and x.var(0, correction=2).isinf().all().item()
        assert x.norm(1).item() == 12 and x.norm(0).item() == 5 and x.norm(math.inf).item() == 4
        assert x.norm(3, 1)[0].item() == pytest.approx(73 ** (1 / 3)) and x.norm(1, 0).tolist() == [4, 2, 6]
        assert x.any(1).tolist() == [True, True] and x.all(1, True).tolist() == [[True], [False]]
        assert x.byte().any(0).dtype is torch.uint8 and torch.count_nonzero(x, 0).tolist() == [2, 1, 2]
        assert x.prod(1).tolist() == [8, 0] and x.cumprod(1).tolist() == [[1, 2, 8], [3, 0, 0]]
        y = x.clone().requires_grad_()
        y.prod(1).sum().backward()
        assert y.grad.tolist() == [[8, 4, 2], [0, 6, 0]]
        with torch.no_grad():
            assert not y.cumsum(0).requires_grad and y.prod(1).tolist() == [8, 0]
        assert y.amax(1).grad_fn.name() == "AmaxBackward0" and y.max().grad_fn.name() == "MaxBackward1"
        with pytest.raises(IndexError):
            x.max(2)


def test_empty():
    assert torch.zeros(0).sum().item() == 0 and torch.zeros(0).prod().item() == 1 and torch.zeros(0).mean().isnan()
    assert (
        torch.zeros(0, 3).sum(0).tolist() == [0, 0, 0]
        and torch.zeros(3, 0).sum(1).tolist() == [0, 0, 0]
        and torch.zeros(0, 3).amax(1).shape == (0,)
    )
    assert (
        torch.zeros(0).any().item() is False
        and torch.zeros(0).all().item() is True
        and torch.zeros(0, 2).max(1)[0].shape == (0,)
    )
    for call in (
        lambda: torch.zeros(0).max(),
        lambda: torch.zeros(0, 3).max(0),
        lambda: torch.zeros(0).argmax(),
        lambda: torch.zeros(0).amax(),
    ):
        with pytest.raises((RuntimeError, IndexError)):
            call()
