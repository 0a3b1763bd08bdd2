"""One launch for many tensors: the same as one after the other, and the same bits for any number of threads."""

import math

import numpy as np
import pytest

import facula as torch
from facula import launch
from facula.core.device import CPU
from facula.operators import many

SIZES = [(), (1,), (0,), (3, 5), (255,), (256,), (257,), (64, 1000), (100_003,), (7,)]


def tensors(dtype=torch.float32, sizes=SIZES):
    torch.manual_seed(1)
    return [torch.randn(*size, dtype=dtype) if size else torch.randn((), dtype=dtype) for size in sizes]


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scaling_and_clamping_and_zeroing(dtype):
    xs = tensors(dtype)
    assert many.alike(xs)
    plain = [x.numpy().copy() for x in xs]
    versions = [x._version for x in xs]
    many.scale_(xs, 0.3)
    for x, y in zip(xs, plain):
        np.testing.assert_array_equal(x.numpy(), y * y.dtype.type(0.3))
    many.clamp_(xs, -0.1, 0.1)
    for x, y in zip(xs, plain):
        np.testing.assert_array_equal(x.numpy(), np.clip(y * y.dtype.type(0.3), -0.1, 0.1).astype(y.dtype))
    many.zero_(xs)
    assert all((x == 0).all() for x in xs)
    assert [x._version - v for x, v in zip(xs, versions)] == [3] * len(xs)


def test_clamping_keeps_nan():
    x = torch.tensor([math.nan, math.inf, -math.inf, 0.5])
    many.clamp_([x], -1.0, 1.0)
    np.testing.assert_array_equal(x.numpy(), np.array([math.nan, 1.0, -1.0, 0.5], "f"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("order", many.NORMS)
def test_norms(dtype, order):
    xs = tensors(dtype)
    everything = np.concatenate([x.numpy().ravel() for x in xs]).astype("f8")
    got = many.norm(xs, order)
    assert got.dtype is dtype and got.shape == ()
    np.testing.assert_allclose(
        got.item(), np.linalg.norm(everything, order), rtol=3e-7 if dtype == torch.float32 else 1e-14
    )


def test_bits_do_not_depend_on_threads(threads):
    xs = tensors(sizes=[(1 << 18,), (12345,), (99, 1001)] * 3)
    norms = []
    for count in (1, 2, 5):
        torch.set_num_threads(count)
        norms.append(many.norm(xs, 2.0).item())
    assert norms[0] == norms[1] == norms[2]


def test_nothing_beside_the_tensors_is_written():
    flat = torch.zeros(1000)
    many.scale_([flat[100:300], flat[301:302], flat[400:900]], 2.0)
    flat.fill_(1.0)
    many.scale_([flat[100:300], flat[301:302], flat[400:900]], 2.0)
    expected = np.ones(1000)
    expected[100:300] = expected[301] = expected[400:900] = 2.0
    np.testing.assert_array_equal(flat.numpy(), expected)


def test_what_is_not_dense_real_and_of_one_kind_is_left_to_operators():
    x = torch.zeros(4, 4)
    assert not many.alike([])
    assert not many.alike([x, x.double()])
    assert not many.alike([x[:, 1:]])
    assert not many.alike([x.bfloat16()])
    assert not many.alike([x.to(torch.complex64)])


def test_only_tensors_are_taken():
    code = launch.many(many._update(many._scaled, torch.float32, "factor"), (0, 0), CPU)
    with pytest.raises(TypeError, match="list of tensors"):
        launch.run_many(code, [torch.zeros(3), 1.0], (2.0,))
    with pytest.raises(TypeError):
        code.fill([torch.zeros(3)], 0)


def test_tables_hold_addresses_sizes_and_shares():
    import ctypes

    a, b, c = torch.zeros(10), torch.zeros(0), torch.zeros(5)
    code = launch.many(many._update(many._scaled, torch.float32, "factor"), (0, 0), CPU)
    table = (ctypes.c_int64 * 9)()
    assert code.fill([a, b, b, a], ctypes.addressof(table), 2, 0b10, 4) == 10
    assert list(table) == [a.ptr, b.ptr, 10, 0, b.ptr, a.ptr, 0, 3, 3]
    table = (ctypes.c_int64 * 10)()
    assert code.fill([a, b, c], ctypes.addressof(table), 1, 0, 4) == 15
    assert list(table) == [a.ptr, 10, 0, b.ptr, 0, 3, c.ptr, 5, 3, 5]
