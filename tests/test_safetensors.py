"""Files of safetensors: round trips of all dtypes, what is refused, and its own module under `facula run`."""

import os
import subprocess
import sys

import numpy as np
import pytest
import safetensors
import safetensors.numpy

import facula as torch
from facula.safetensors import TYPES, load, load_file, save, save_file


def of_bytes(dtype, count: int = 6):
    raw = np.arange(count * dtype.itemsize, dtype=np.uint8) * (0 if dtype is torch.bool else 5)
    return torch.from_numpy(raw).view(dtype)


def test_round_trips(tmp_path):
    tensors = {f"{dtype}": of_bytes(dtype).reshape(2, 3) for dtype in TYPES.values()}
    tensors |= {"scalar": torch.tensor(2.5), "empty": torch.empty(0, 3), "parameter": torch.nn.Parameter(torch.ones(2))}
    save_file(tensors, tmp_path / "x.safetensors", {"made": "here"})
    for found in (load_file(tmp_path / "x.safetensors"), load(save(tensors)), torch.load(tmp_path / "x.safetensors")):
        assert found.keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert found[name].dtype is tensor.dtype and found[name].shape == tensor.shape, name
            a, b = (x.detach().reshape(-1).view(torch.uint8).tolist() for x in (found[name], tensor))
            assert a == b, name
    with safetensors.safe_open(tmp_path / "x.safetensors", "np") as file:
        assert file.metadata() == {"made": "here"}
    assert not (tmp_path / "x.safetensors").stat().st_mode & 0o111
    save_file({"other": torch.ones(1)}, tmp_path / "x.safetensors")
    assert list(load_file(tmp_path / "x.safetensors")) == ["other"] and os.listdir(tmp_path) == ["x.safetensors"]


def test_with_numpy(tmp_path):
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.array([True, False]), "c": np.arange(3, dtype=np.uint16)}
    safetensors.numpy.save_file(arrays, tmp_path / "x.safetensors")
    for name, tensor in load_file(tmp_path / "x.safetensors").items():
        np.testing.assert_array_equal(tensor.numpy(), arrays[name])
        tensor[0] = 1  # the memory is the tensor's own
    save_file({name: torch.from_numpy(array) for name, array in arrays.items()}, tmp_path / "y.safetensors")
    for name, array in safetensors.numpy.load_file(tmp_path / "y.safetensors").items():
        np.testing.assert_array_equal(array, arrays[name])


def test_devices(tmp_path):
    save_file({"a": torch.ones(2, 3)}, tmp_path / "x.safetensors")
    for place in ("meta", torch.device("meta")):
        assert torch.load(tmp_path / "x.safetensors", map_location=place)["a"].device.type == "meta"
    for place, kind in (({"cpu": "cpu"}, "dict"), (lambda storage, where: None, "callable")):
        with pytest.raises(RuntimeError, match=f"Loading safetensors file with {kind} map_location is not supported"):
            torch.load(tmp_path / "x.safetensors", map_location=place)


def test_refusals(tmp_path):
    whole = torch.arange(6.0)
    for tensors, error, text in (
        ([whole], ValueError, "Expected a dict"),
        ({"a": 3}, ValueError, "Key `a` is invalid, expected torch.Tensor"),
        ({"a": torch.ones(2, 3).t()}, ValueError, "save a non contiguous tensor: `a`"),
        ({"a": whole[:3], "b": whole[3:]}, RuntimeError, "Some tensors share memory"),
        ({"a": torch.ones(2).to_sparse()}, ValueError, "save a sparse tensors"),
        ({"a": torch.ones(2, dtype=torch.complex128)}, ValueError, "`a` cannot be saved"),
        ({"a": torch.ones(2, device="meta")}, ValueError, "`a` cannot be saved"),
    ):
        with pytest.raises(error, match=text):
            save_file(tensors, tmp_path / "x.safetensors")
    assert not os.listdir(tmp_path)
    data = save({"a": torch.ones(2)})
    for damaged in (b"", data[:7], data[:-1], b"\xff" * 8 + data[8:], data + b"x"):
        with pytest.raises(safetensors.SafetensorError):
            load(damaged)
    with pytest.raises(FileNotFoundError):
        load_file(tmp_path / "none.safetensors")


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ImportError, match=r"pip install facula\[safetensors\]"):
        save({"a": torch.ones(1)})


def test_under_the_alias(tmp_path):
    """`safetensors.torch` imports torch, which is facula there."""
    code = """
import sys
from facula import alias
alias.install()
import torch
from safetensors import safe_open
from safetensors.torch import load, load_file, load_model, save, save_file, save_model
assert torch.__name__ == "facula"
path = sys.argv[1]
tensors = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(3, dtype=torch.bfloat16), "s": torch.tensor(True),
           "f": torch.ones(2).to(torch.float8_e4m3fn), "u": torch.ones(2, dtype=torch.uint32), "e": torch.empty(0, 2)}
save_file(tensors, path, {"k": "v"})
for found in (load_file(path), load(save(tensors)), torch.load(path)):
    for name, tensor in tensors.items():
        assert found[name].dtype is tensor.dtype and found[name].shape == tensor.shape and torch.equal(
            found[name].float(), tensor.float())
with safe_open(path, "pt") as file:
    assert file.metadata() == {"k": "v"} and file.get_slice("a")[:, 1:].tolist() == [[1, 2], [4, 5]]
model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
model[0].bias = model[1].bias  # shared
save_model(model, path)
other = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
other[0].bias = other[1].bias
assert load_model(other, path) == (set(), [])
assert torch.equal(model[0].weight, other[0].weight)
"""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    command = [sys.executable, "-c", code, str(tmp_path / "x.safetensors")]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": root})
