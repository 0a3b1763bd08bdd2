"""Views against NumPy's strides: shapes, strides, offsets, sharing; what cannot be a view."""

import gc
import itertools

import numpy as np
import pytest

import facula as torch


def same_view(found, wanted: np.ndarray, base):
    """AssertionError unless a view looks where NumPy's looks."""
    assert tuple(found.shape) == wanted.shape
    np.testing.assert_array_equal(found.numpy(), wanted)
    if wanted.size:
        assert found.data_ptr() - base.data_ptr() == wanted.ctypes.data - _base(wanted).ctypes.data
        for n, st, np_st in zip(wanted.shape, found.stride(), wanted.strides):
            assert n == 1 or st * 8 == np_st
    assert found.storage is base.storage


def _base(array):
    while array.base is not None:
        array = array.base
    return array


def arrays():
    for shape in ((6,), (2, 3), (2, 3, 4), (1, 3, 1), (2, 0, 3), ()):
        yield np.arange(float(np.prod(shape))).reshape(-1).reshape(shape)


def test_as_numpy():
    for array in arrays():
        array = np.array(array)
        base = torch.from_numpy(array)
        rank = array.ndim
        for order in itertools.permutations(range(rank)):
            same_view(base.permute(order), array.transpose(order), base)
        for a in range(rank):
            for b in range(rank):
                same_view(base.transpose(a, b), array.swapaxes(a, b), base)
            same_view(base.unsqueeze(a), np.expand_dims(array, a), base)
            for start in range(array.shape[a] + 1):
                index = [slice(None)] * rank
                index[a] = slice(start, None)
                same_view(base.narrow(a, start, array.shape[a] - start), array[tuple(index)], base)
            for i in range(array.shape[a]):
                same_view(base.select(a, i), np.moveaxis(array, a, 0)[i, ...], base)
        same_view(base.squeeze(), array.squeeze(), base)
        same_view(base.expand(4, *array.shape), np.broadcast_to(array, (4, *array.shape)), base)


def test_view_or_copy():
    for shape in ((2, 3, 4), (4, 6), (24,), (2, 2, 2, 3)):
        array = np.arange(24.0).reshape(shape)
        for order in itertools.permutations(range(len(shape))):
            moved = torch.from_numpy(array).permute(order)
            for target in ((24,), (2, 12), (6, 4), (4, 3, 2), (1, 24, 1), (2, 3, 4)):
                wanted = array.transpose(order).reshape(target)
                found = moved.reshape(target)
                np.testing.assert_array_equal(found.numpy(), wanted)
                is_view = np.shares_memory(wanted, array)
                assert (found.storage is moved.storage) == is_view, f"{shape} {order} {target}"
                if is_view:
                    assert moved.view(target).storage is moved.storage
                else:
                    with pytest.raises(RuntimeError, match="view size is not compatible"):
                        moved.view(target)


def test_writes_reach_the_base():
    x = torch.zeros(4, 4)
    x.t()[0] = 1
    x.view(2, 8)[1, 7] = 2
    x.diagonal().add_(5)
    x.unfold(0, 2, 2)[0, 0].mul_(3)
    x.split(2)[1][0, 0] = 7
    x.chunk(2, 1)[0][0, 1] = 8
    x.unbind()[2][2] = 9
    assert x.tolist() == [[18, 8, 0, 0], [3, 5, 0, 0], [7, 0, 9, 0], [1, 0, 0, 7]]


def test_bounds():
    x = torch.arange(6.0)
    assert x.as_strided((2, 2), (2, 1), 1).tolist() == [[1, 2], [3, 4]]
    for size, stride, offset in (
        ((7,), (1,), 0),
        ((2,), (1,), 5),
        ((2, 2), (4, 2), 0),
        ((1,), (1,), 6),
        ((1,), (1,), -1),
    ):
        with pytest.raises(RuntimeError):
            x.as_strided(size, stride, offset)
    with pytest.raises(RuntimeError):
        x.as_strided((2,), (-1,), 0)


def test_resize_and_set():
    x = torch.arange(6.0)
    v = x[2:]
    x.resize_(3, 4)
    assert x.shape == (3, 4) and x.flatten()[:6].tolist() == [0, 1, 2, 3, 4, 5]
    v[0] = 9  # a view follows its memory when that has to move
    assert x[0, 2].item() == 9
    y = torch.zeros(2).set_(x)
    y[0, 0] = 5
    assert x[0, 0].item() == 5


def test_resizing_looks_for_other_tensors_only_where_there_are_some(monkeypatch):
    looks = []
    real = gc.get_referrers
    monkeypatch.setattr(gc, "get_referrers", lambda *objects: looks.append(objects) or real(*objects))
    alone, shared, a = torch.empty(0), torch.ones(3), torch.ones(3)
    view = shared[:1]
    torch.add(a, a, out=alone)
    assert not looks and alone.resize_(100)[:3].tolist() == [2, 2, 2] and not looks
    shared.resize_(100)[0] = 5
    assert len(looks) == 1 and view.tolist() == [5]


def test_sharing_with_numpy_lives_as_long_as_needed():
    def make():
        return torch.from_numpy(np.arange(1000.0))[10:20], torch.arange(1000.0).numpy()[10:20]

    tensor, array = make()
    others = [np.zeros(1000) for _ in range(50)] + [torch.zeros(1000) for _ in range(50)]
    assert tensor.tolist() == array.tolist() == list(range(10, 20)) and others


def test_complex_and_bytes():
    z = torch.tensor([1 + 2j, 3 - 4j])
    z.real[0] = 10
    z.imag[1] = 20
    torch.view_as_real(z)[0, 1] = -1
    assert z.tolist() == [10 - 1j, 3 + 20j]
    x = torch.tensor([1.0, -2.0])
    x.view(torch.int32)[0] = 0
    assert x.tolist() == [0, -2]
