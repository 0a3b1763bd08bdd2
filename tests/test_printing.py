"""Reprs against texts recorded from PyTorch 2.13, and printing from the Tensor record itself."""

import json
from pathlib import Path

import numpy as np
import pytest

from facula import printing
from facula.core import dtype as dtypes
from facula.core.device import device
from facula.core.spec import spec
from facula.core.storage import Storage
from facula.core.tensor import Tensor

RECORDS = json.loads((Path(__file__).parent / "printing_records.json").read_text())


@pytest.fixture(autouse=True)
def default_options():
    yield
    printing.set_printoptions(profile="default")


def to_bfloat16(values: np.ndarray) -> np.ndarray:
    """Rounded to nearest even, as float32."""
    bits = np.asarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).view(np.float32)


@pytest.mark.parametrize("recipe, dtype, options, flags, expected", RECORDS)
def test_recorded(recipe, dtype, options, flags, expected):
    dtype = dtypes.BY_NAME[dtype]
    values = np.asarray(eval(recipe, {"np": np}))
    values = to_bfloat16(values) if dtype.numpy is None else values.astype(dtype.numpy)
    with printing.printoptions(**options):
        assert printing.format_tensor(values, dtype, **flags) == expected


def test_options_restored():
    before = printing.get_printoptions()
    with pytest.raises(KeyError), printing.printoptions(precision=1, profile="full"):
        assert printing.get_printoptions()["precision"] == 1
        raise KeyError
    assert printing.get_printoptions() == before


def test_meta_and_device():
    text = printing.format_tensor(None, dtypes.int64, shape=(2, 3), device="meta")
    assert text == "tensor(..., device='meta', size=(2, 3), dtype=torch.int64)"
    text = printing.format_tensor(np.ones(2, "f4"), dtypes.float32, device="cuda:0")
    assert text == "tensor([1., 1.], device='cuda:0')"


def record(values: np.ndarray, dtype, shape, strides, offset=0, place="cpu") -> Tensor:
    t = object.__new__(Tensor)
    t.spec = spec(dtype, device(place), shape, strides)
    t.storage = Storage(values.ctypes.data, values.nbytes, values)
    t.ptr = values.ctypes.data + offset * dtype.itemsize
    return t


def test_host_values_follows_strides():
    memory = np.arange(24, dtype=np.float32)
    t = record(memory, dtypes.float32, (3, 2), (1, 4), offset=2)
    np.testing.assert_array_equal(printing.host_values(t), memory[2:10].reshape(2, 4)[:, :3].T)
    t = record(memory, dtypes.float32, (3, 2), (0, 0), offset=5)
    np.testing.assert_array_equal(printing.host_values(t), np.full((3, 2), 5))
    t = record(np.array([0x3FC0, 0xC000], np.uint16), dtypes.bfloat16, (2,), (1,))
    assert printing.host_values(t).tolist() == [1.5, -2.0]
    assert printing.host_values(record(memory, dtypes.float32, (0, 3), (3, 1))).shape == (0, 3)
