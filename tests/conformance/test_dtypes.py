"""Every dtype beside PyTorch's: promotion, limits, creation, casts, printing, NumPy."""

import itertools

import numpy as np
import pytest
import torch

import facula
from facula.core import dtype as dt

each = pytest.mark.parametrize("dtype", dt.ALL, ids=str)


def theirs(dtype: dt.dtype) -> torch.dtype:
    return getattr(torch, dtype.name)


def outcome(call, *args) -> str:
    """What comes of a call: a repr, or the first line of an error."""
    try:
        return repr(call(*args))
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"


def bits(values) -> list[int]:
    return values.view(facula.uint8 if isinstance(values, facula.Tensor) else torch.uint8).tolist()


def test_promotion():
    for a, b in itertools.product(dt.ALL, dt.ALL):
        assert outcome(facula.promote_types, a, b) == outcome(torch.promote_types, theirs(a), theirs(b)), (a, b)


@each
def test_limits_and_fields(dtype):
    other = theirs(dtype)
    if dtype.kind != "b":
        name = "iinfo" if dtype.kind in "ui" else "finfo"
        assert repr(getattr(facula, name)(dtype)) == repr(getattr(torch, name)(other))
    for field in ("is_signed", "is_complex", "is_floating_point", "itemsize"):
        assert getattr(dtype, field) == getattr(other, field), field
    assert repr(dtype.to_real()) == repr(other.to_real())
    if dtype.kind in "fc" and dtype not in dt.FLOAT8:
        assert repr(dtype.to_complex()) == repr(other.to_complex())


MAKERS = (
    lambda t, d: t.tensor([1, 2, 3, 4]).to(d),
    lambda t, d: t.tensor([1, 2, 4], dtype=d),
    lambda t, d: t.full((3,), 2, dtype=d),
    lambda t, d: t.ones(3, 2, dtype=d).t().contiguous(),
    lambda t, d: t.tensor([[1.0, 2.0], [4.0, 1.0]]).to(d)[:, 1],
    lambda t, d: t.ones(2, dtype=d).float(),
    lambda t, d: t.tensor([1, 4]).to(d).tolist(),
    lambda t, d: t.tensor(2).to(d).item(),
    lambda t, d: t.empty(0, dtype=d),
    lambda t, d: t.tensor([1, 2]).to(d).view(t.uint8).tolist(),
)


@each
def test_made(dtype):
    for make in MAKERS:
        assert outcome(make, facula, dtype) == outcome(make, torch, theirs(dtype))


@pytest.mark.parametrize("dtype", dt.FLOAT8, ids=str)
def test_float8(dtype):
    codes = np.arange(256, dtype=np.uint8)
    ours = facula.from_numpy(codes).view(dtype).float().numpy()
    np.testing.assert_array_equal(ours, torch.from_numpy(codes).view(theirs(dtype)).float().numpy())
    rng = np.random.default_rng(0)
    numbers = np.concatenate(
        [
            rng.integers(0, 2**32, 100_000, dtype=np.uint32).view("f4"),
            (rng.normal(size=100_000) * 2.0 ** rng.integers(-20, 18, 100_000)).astype("f4"),
            ours, np.nextafter(ours, np.float32(np.inf)), np.nextafter(ours, np.float32(-np.inf)),
            np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, 464, 480, 248, 256, 61440, 61439, 65536, 1e-45], "f4"),
        ]
    )  # fmt: skip
    made = bits(facula.from_numpy(numbers).to(dtype))
    assert made == bits(torch.from_numpy(numbers).to(theirs(dtype)))


@pytest.mark.parametrize("dtype", dt.WIDE_UNSIGNED, ids=str)
def test_wide_unsigned(dtype):
    top = 2 ** (8 * dtype.itemsize) - 1
    array = np.array([0, 1, top, top // 2 + 1], dtype.name)
    x, y = facula.from_numpy(array), torch.from_numpy(array)
    assert x.dtype is dtype and x.numpy().dtype == array.dtype and x.tolist() == y.tolist()
    assert repr(x) == repr(y)
    for target in (t for t in dt.ALL if t not in dt.FLOAT8):
        assert outcome(lambda a, t: a.to(t).tolist(), x, target) == outcome(
            lambda a, t: a.to(t).tolist(), y, theirs(target)
        ), target
    assert x[2].item() == top and (x == x).all() and x.sum().item() == y.sum().item()
    assert x.sort(descending=True)[1].tolist() == y.sort(descending=True)[1].tolist()
    x, y = facula.tensor([1.5, 200.0, 3e4, -1.0]).to(dtype), torch.tensor([1.5, 200.0, 3e4, -1.0]).to(theirs(dtype))
    assert x.tolist() == y.tolist()
    assert (x // 7).tolist() == (array_of(y) // 7).tolist() and (x > 5).tolist() == (array_of(y) > 5).tolist()


def array_of(x: torch.Tensor) -> np.ndarray:
    return x.numpy()


def test_complex32():
    x = facula.tensor([1 + 2j, -0.5j, 3], dtype=facula.chalf)
    y = torch.tensor([1 + 2j, -0.5j, 3], dtype=torch.chalf)
    for call in (
        lambda a: a * a, lambda a: a.real, lambda a: a.abs(), lambda a: a.cfloat(), lambda a: a * 2,
        lambda a: a.conj().resolve_conj(), lambda a: a[1].item(), lambda a: a == a,
    ):  # fmt: skip
        assert outcome(call, x) == outcome(call, y)


def test_upper_half_of_uint64():
    large = 2**63 + 5
    for call in (
        lambda t: t.full((2,), large, dtype=t.uint64), lambda t: t.zeros(2, dtype=t.uint64).fill_(large),
        lambda t: t.tensor(large, dtype=t.uint64).item(), lambda t: t.tensor([1, 2], dtype=t.uint64) * large,
        lambda t: t.tensor([1, 2], dtype=t.uint64).mul_(3).mul_(large),
        lambda t: t.tensor([large], dtype=t.uint64) == large,
    ):  # fmt: skip
        assert outcome(call, facula) == outcome(call, torch)
