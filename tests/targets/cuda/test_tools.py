"""What looks on while a program trains on 'cuda': `facula.watch`, the profiler, loaders with pinned memory."""

import pytest

import facula
from facula import nn
from facula.explain import watching
from facula.explain.watching import NotFinite
from facula.utils.data import DataLoader, TensorDataset
from tests.targets.cuda.emulator import COMPILER

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no g++ here")


def test_watch(gpu):
    """A watched model trains; a NaN names the line that made it; a recorded step is not looked at."""
    model, x = nn.Linear(3, 2).to("cuda"), facula.ones(2, 3).to("cuda")
    with watching.watch(model) as watch:
        (model(x) ** 2).sum().backward()
        assert [row.name for row in watch.gradients()] == ["weight", "bias"]
        side, graph = facula.cuda.Stream(), facula.cuda.CUDAGraph()
        with facula.cuda.graph(graph, stream=side):
            model(x).sum().backward()
        model.zero_grad()
        with pytest.raises(NotFinite) as found:
            facula.sqrt(model(x) * 0 - 1).sum().backward()  # the line
    whole = "\n".join([str(found.value), *found.value.__notes__])
    assert "what sqrt made" in whole and "test_tools.py:" in whole and "the line" in whole


def test_loader(gpu):
    """Batches in pinned memory are copied while the program goes on."""
    data = TensorDataset(facula.arange(12).float().view(6, 2), facula.arange(6))
    sums = []
    for x, y in DataLoader(data, batch_size=2, pin_memory=True):
        assert x.is_pinned() and y.is_pinned()
        before = len(gpu.named("cuStreamSynchronize"))
        there = x.to("cuda", non_blocking=True), y.cuda(non_blocking=True)
        assert len(gpu.named("cuStreamSynchronize")) == before
        sums.append(tuple(t.sum().item() for t in there))
    assert sums == [(6.0, 1), (22.0, 5), (38.0, 9)]


def test_profiler(gpu):
    """Times are those of the host: none is said to be the GPU's."""
    with facula.profiler.profile() as found:
        x = facula.ones(4, 4, device="cuda")
        (x @ x).relu().sum().item()
    rows = {row.key: row for row in found.key_averages()}
    assert {"aten::mm", "aten::relu", "aten::item"} <= set(rows)
    assert all(row.device_time_total == 0 for row in rows.values())
    assert "CUDA" not in found.key_averages().table()
