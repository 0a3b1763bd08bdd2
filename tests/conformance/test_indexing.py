"""`x[...]` with random mixes of ints, slices, None, Ellipsis, masks, index tensors: read, differentiated, written."""

import random

import numpy as np
import pytest
import torch

import facula
from tests.operators.indexing import SHAPES, Index, places_are_distinct
from tests.scenarios import compare as compare_results
from tests.scenarios import error, run


def both(program, *args) -> None:
    """Run a program under both frameworks and compare what it returns."""
    compare_results(run(program, facula, *args), run(program, torch, *args), program.__name__)


def reading(framework, shape, index, layout):
    values = np.arange(float(np.prod(shape))).reshape(shape)
    base = framework.tensor(values, requires_grad=True)
    x = base if layout == "dense" else base.transpose(0, -1) if len(shape) > 1 else base
    found = []
    failed = error(lambda: found.append(x[index.make(framework)]))
    if not found:
        return failed[0], failed[1][:12]
    y = found[0]
    seed = framework.tensor(np.linspace(1, 2, y.numel()).reshape(tuple(y.shape)))
    grads = framework.autograd.grad(y, base, seed, allow_unused=True)
    return (
        y,
        y._is_view(),
        y.data_ptr() - base.data_ptr() if y._is_view() and y.numel() else 0,
        y.stride() if y._is_view() and y.numel() > 0 else (),
        grads,
    )


def writing(framework, shape, index, kind, seed):
    rng = np.random.default_rng(seed)
    x = framework.tensor(np.arange(float(np.prod(shape))).reshape(shape))
    probe = []
    error(lambda: probe.append(x[index.make(framework)]))
    if kind == "number" or not probe:
        value = 7.5
    else:
        target = tuple(probe[0].shape)
        cut = rng.integers(0, len(target) + 1)
        small = tuple(1 if rng.random() < 0.3 else n for n in target[cut:])
        if kind == "wrong":
            small = (*small, 9)
        value = framework.tensor(np.asarray(rng.uniform(-1, 1, small)))
    failed = error(x.__setitem__, index.make(framework), value)
    return x, failed[0], x._version


def compare(program, *args) -> None:
    try:
        both(program, *args)
    except AssertionError as found:
        raise AssertionError(f"{args[0]} {args[1]!r}: {found}") from None
    except Exception as found:
        raise AssertionError(f"{args[0]} {args[1]!r}: {type(found).__name__}: {found}") from found


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("layout", ["dense", "transposed"])
def test_reading(seed, layout):
    rng = random.Random(f"{seed} {layout}")
    for _ in range(40):
        shape = rng.choice(SHAPES)
        compare(
            reading,
            shape,
            Index(rng, shape if layout == "dense" or len(shape) < 2 else (shape[-1], *shape[1:-1], shape[0])),
            layout,
        )


@pytest.mark.parametrize("seed", range(6))
def test_reading_out_of_range(seed):
    rng = random.Random(1000 + seed)
    for _ in range(40):
        shape = rng.choice(SHAPES)
        compare(reading, shape, Index(rng, shape, bad=0.3), "dense")


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", ["number", "tensor", "wrong"])
def test_writing(seed, kind):
    rng = random.Random(f"{seed} {kind}")
    for _ in range(30):
        shape = rng.choice(SHAPES)
        index = Index(rng, shape)
        if kind == "number" or places_are_distinct(index):
            compare(writing, shape, index, kind, seed)


def gradient_of_writing(framework, shape, index, seed):
    rng = np.random.default_rng(seed)
    x = framework.tensor(np.arange(float(np.prod(shape))).reshape(shape), requires_grad=True)
    y = x * 1
    target = y[index.make(framework)]
    value = framework.tensor(np.asarray(rng.uniform(-1, 1, tuple(target.shape))), requires_grad=True)
    y[index.make(framework)] = value
    grads = framework.autograd.grad((y**2).sum(), [x, value], allow_unused=True)
    return y, [None if g is None else g for g in grads]


@pytest.mark.parametrize("seed", range(8))
def test_gradients_of_writing(seed):
    rng = random.Random(2000 + seed)
    for _ in range(20):
        shape = rng.choice(SHAPES[:5])
        index = Index(rng, shape)
        if places_are_distinct(index) and not any(i[0] == "bool" for i in index.items):
            compare(gradient_of_writing, shape, index, seed)


def words(framework):
    x = framework.zeros(3, 4)
    return [
        error(lambda: x[3]), error(lambda: x[0, 4]), error(lambda: x[0, 0, 0]), error(lambda: x[framework.tensor([3])]),
        error(lambda: x[framework.tensor([1.0])]),
        error(lambda: x[framework.tensor([True, False])]), error(lambda: framework.tensor(1.0)[0]),
        error(lambda: x[::-1]), error(lambda: x["a"]), error(lambda: x[1.5]),
        error(x.__setitem__, 0, framework.zeros(3)), error(x.__setitem__, framework.tensor([0, 1]),
                                                           framework.zeros(3, 4)), error(lambda: x[framework.tensor([0,
                                                                1]), framework.tensor([0, 1, 2])]),
        error(x.__setitem__, framework.tensor([0]), framework.zeros(4, dtype=framework.float64)),
        error(x.__setitem__, 5, 1.0),
    ]  # fmt: skip


def test_words_of_errors():
    both(words)


def dtypes(framework):
    x = framework.arange(12).reshape(3, 4)
    kinds = ("uint8", "int8", "int16", "int32", "int64")
    found = []
    for kind in kinds:
        i = framework.tensor([1, 0, 1], dtype=getattr(framework, kind))
        keep = []
        failed = error(lambda keep=keep, i=i: keep.append(x[i]))
        found.append((kind, keep or failed[0]))
    y = framework.zeros(3, dtype=framework.int64)
    y[1] = 2.7
    z = framework.zeros(3, dtype=framework.bool)
    z[0] = 5
    w = framework.zeros(3)
    w[[0, 2]] = framework.tensor([1, 2]).float()
    w[1] = framework.tensor([[[4.0]]])
    return (
        found,
        y,
        z,
        w,
        x[x > 5],
        x[[True, False, True]],
        x[np.int64(1)],
        x[np.array([0, 2]), 1:],
        x[(0, 1)],
        x[range(2)] if framework is facula else x[list(range(2))],
    )


def test_dtypes_of_indices():
    both(dtypes)


def test_views_share_memory():
    for framework in (facula, torch):
        x = framework.zeros(4, 4)
        x[1:3, ::2][0] = 5
        x[..., None][3] += 1
        assert x.sum().item() == 10 + 4
        assert not x[[0]]._is_view() and not x[x > 0]._is_view() and x[:]._is_view() and x[0, 0]._is_view()
