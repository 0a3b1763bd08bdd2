"""What looks on while a program trains on 'cuda': `facula.watch`, the profiler, loaders with pinned memory."""

import json
import re

import pytest

import facula
from facula import nn, profiler
from facula.autograd.profiler import profile as autograd_profile
from facula.explain import watching
from facula.explain.watching import NotFinite
from facula.profiler import record_function
from facula.utils.data import DataLoader, TensorDataset
from tests.targets.cuda.emulator import COMPILER

CPU, CUDA = profiler.ProfilerActivity.CPU, profiler.ProfilerActivity.CUDA
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


def test_watch_replays_with_the_numbers_of_the_gpu(gpu):
    """What is infinite where all elements are dropped is so again; then numbers go on."""

    class Sometimes(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.drop = nn.Parameter(facula.ones(3)), nn.Dropout(0.5)

        def forward(self):
            return self.drop(self.weight).sum().reciprocal()

    facula.manual_seed(2)
    model, steps, error = Sometimes().to("cuda"), 0, None
    with watching.watch(model):
        while error is None and steps < 60:
            steps, made = steps + 1, model()
            model.drop(made.detach())  # drawn after what is replayed
            try:
                made.backward()
            except NotFinite as found:
                error = found
    assert error is not None and steps > 1 and (error.operator, error.phase) == ("reciprocal", "forward")
    offset = facula.cuda.default_generators[0].get_offset()
    facula.cuda.manual_seed(2)
    for _ in range(2 * steps):
        model.drop(facula.ones(3, device="cuda"))
    assert facula.cuda.default_generators[0].get_offset() == offset


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


def _step(model, optimizer, x):
    with record_function("forward"):
        loss = model(x).view(-1).sum()
    loss.backward()
    optimizer.step()
    (facula.ones(3) + 1).sum()  # of the host
    return loss


@pytest.fixture
def trained(gpu):
    """A function that does a step of training; the first one is done."""
    model, x = nn.Sequential(nn.Linear(4, 4), nn.ReLU()).to("cuda"), facula.ones(4, 4, device="cuda")
    optimizer = facula.optim.SGD(model.parameters(), lr=0.1)
    _step(model, optimizer, x)
    return lambda: _step(model, optimizer, x)


def test_profiler(trained, tmp_path):
    """The GPU's time between an operator's marks: each piece of the fake's work takes 1.5 ms."""
    assert profiler.supported_activities() == {CPU, CUDA}
    with profiler.profile(activities=[CPU, CUDA]) as found:
        loss = trained()
        loss.item()
    times = {row.key: (row.self_device_time_total, row.device_time_total) for row in found.key_averages()}
    assert times["aten::linear"] == times["aten::relu"] == times["ReluBackward0"] == times["aten::item"] == (1500, 1500)
    assert times["AddmmBackward0"] == (1500, 1500) and times["aten::view"] == times["aten::ones"] == (0, 0)
    assert times["forward"] == (0, sum(times[f"aten::{name}"][0] for name in ("linear", "relu")) + 1500)
    step, whole = times["Optimizer.step#SGD.step"]
    assert step == whole >= 1500  # and 1500 where its table is copied
    table = found.key_averages().table(sort_by="cuda_time_total", row_limit=2)
    assert re.search(r"Self CUDA +Self CUDA % +CUDA total +CUDA time avg +# of Calls", table)
    total = sum(row.self_device_time_total for row in found.key_averages())
    assert table.splitlines()[3].split()[0] == "forward" and f"Self CUDA time total: {total / 1e3:.3f}ms" in table
    with pytest.warns(FutureWarning, match="`cuda_time_total` is deprecated, please use `device_time_total` instead"):
        assert found.events()[0].cuda_time_total == found.events()[0].device_time_total
    found.export_chrome_trace(str(tmp_path / "trace.json"))
    rows = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    lanes = [row for row in rows if row.get("cat") in ("kernel", "gpu_user_annotation")]
    assert [row["name"] for row in lanes[:4]] == ["forward", "aten::linear", "aten::relu", "aten::sum"]
    assert all(row["pid"] == 0 and row["args"]["stream"] == row["tid"] for row in lanes)
    starts = [row["ts"] for row in lanes if row["cat"] == "kernel"]
    assert starts == sorted(starts) and sum(row["dur"] for row in lanes if row["cat"] == "kernel") + step == total
    assert {row["ph"] for row in rows if row.get("cat") == "ac2g"} == {"s", "f"}
    assert "GPU 0" in [row["args"].get("labels") for row in rows if row["name"] == "process_labels"]


def test_profiler_of_one_side(trained, gpu):
    """Without the GPU there are no marks, and none of a recorded step; with it alone, events are the GPU's."""
    before = len(gpu.named("cuEventElapsedTime"))
    with profiler.profile(activities=[CPU]) as found:
        trained()
    assert len(gpu.named("cuEventElapsedTime")) == before and "CUDA" not in found.key_averages().table()
    with profiler.profile(activities=[CUDA]) as found:
        trained()
        graph = facula.cuda.CUDAGraph()
        with facula.cuda.graph(graph):
            facula.ones(3, device="cuda").sin()
        graph.replay()
    events = found.events()
    assert {event.device_type for event in events} == {profiler.DeviceType.CUDA}
    assert "aten::sin" not in {event.name for event in events} and found.key_averages().self_cpu_time_total == 0
    times = {event.name: round(event.device_time_total) for event in events}
    assert times["aten::relu"] == 1500 and times["cudaGraphLaunch"] == 1500
    with autograd_profile(use_device="cuda") as old:
        trained()
        old.toggle_collection_dynamic(False, [CUDA])
        facula.ones(3, device="cuda")
    assert {e.name: e.self_device_time_total for e in old.function_events}["aten::relu"] == 1500
    assert old.function_events[-1].device_time_total == 0
