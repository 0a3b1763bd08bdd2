"""Tensors that go from one framework to the other: by DLPack, and files of tensors that were on a GPU."""

import gc
import io

import pytest
import torch

import facula
from facula.operators import dlpack
from tests.targets.cuda.emulator import COMPILER, Emulator
from tests.targets.cuda.fake_driver import FakeDriver, installed


def test_memory_is_shared_both_ways():
    z = torch.arange(4, dtype=torch.bfloat16)
    ours = facula.from_dlpack(z)
    assert ours.data_ptr() == z.data_ptr() and ours.tolist() == z.tolist()
    assert torch.from_dlpack(ours).data_ptr() == z.data_ptr()
    for name in ("bool", "complex64", "float8_e4m3fn"):
        kind = getattr(facula, name)
        assert torch.from_dlpack(facula.zeros(3).to(kind)).dtype is getattr(torch, name)
        assert facula.from_dlpack(torch.zeros(3).to(getattr(torch, name))).dtype is kind
    del z, ours
    gc.collect()
    assert not dlpack._given


@pytest.mark.skipif(COMPILER is None, reason="no g++ here")
def test_files_of_tensors_on_gpus(tmp_path, monkeypatch):
    file = io.BytesIO()
    with installed(FakeDriver(Emulator(tmp_path), gpus=2), monkeypatch):
        facula.save({"a": facula.arange(6.0).reshape(2, 3).to("cuda:1")}, file)
    file.seek(0)
    assert torch.load(file, map_location="cpu")["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    file.seek(0)
    with pytest.raises(RuntimeError, match="^Attempting to deserialize object on a CUDA device but torch.cuda.is_av"):
        torch.load(file)
