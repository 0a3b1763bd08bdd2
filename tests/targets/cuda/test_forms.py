"""What operators do with tensors on 'cuda' besides the values of the samples table, on the fake driver."""

import numpy as np
import pytest

import facula as torch
import facula.nn.functional as F
from tests.targets.cuda.emulator import COMPILER, Idle
from tests.targets.cuda.fake_driver import FakeDriver, installed

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no g++ here")


@pytest.fixture
def fake(emulator, monkeypatch):
    with installed(FakeDriver(emulator, memory=64 << 20, strict=True), monkeypatch) as found:
        yield found


@pytest.fixture
def idle(monkeypatch):
    with installed(FakeDriver(Idle(), memory=64 << 20, strict=True), monkeypatch) as found:
        yield found


def waits(fake: FakeDriver) -> int:
    """How often the host has waited for the GPU since the last time."""
    found = len(fake.named("cuMemcpyDtoHAsync")) + len(fake.named("cuStreamSynchronize"))
    fake.calls.clear()
    return found


def test_sparse_tensors(fake):
    dense = torch.tensor([[0.0, 2.0, 0.0], [3.0, 0.0, 4.0]])
    here, there = dense.to_sparse(), dense.cuda().to_sparse()
    assert there.device.type == there.indices().device.type == "cuda"
    assert there.indices().tolist() == here.indices().tolist() and there.values().tolist() == [2, 3, 4]
    twice = torch.sparse_coo_tensor([[1, 1, 0], [2, 2, 1]], [1.0, 2.0, 5.0], (2, 3), device="cuda")
    assert twice._indices().is_cuda and twice.coalesce().to_dense().tolist() == [[0, 5, 0], [0, 0, 3]]
    assert (there + twice).to_dense().tolist() == [[0, 7, 0], [3, 0, 7]]
    assert torch.sparse.mm(there, torch.ones(3, 2, device="cuda")).tolist() == [[2, 2], [7, 7]]
    assert there.t().to_dense().tolist() == dense.t().tolist() and there[1].to_dense().tolist() == [3, 0, 4]
    back = here.cuda().cpu()
    assert back._indices().device.type == "cpu" and torch.equal(back.to_dense(), dense)


def test_sparse_gradients_of_embeddings(fake):
    steps = []
    for device in ("cpu", "cuda"):
        weight = torch.nn.Parameter(torch.arange(12.0, device=device).view(4, 3))
        optimizer = torch.optim.SparseAdam([weight], lr=0.5)
        for _ in range(2):
            optimizer.zero_grad()
            (F.embedding(torch.tensor([1, 3, 1], device=device), weight, sparse=True) ** 2).sum().backward()
            assert weight.grad is not None and weight.grad.is_sparse and weight.grad.device.type == device
            optimizer.step()
        steps.append(weight.detach().cpu().numpy())
    np.testing.assert_allclose(steps[1], steps[0], rtol=1e-6)


def test_rows_of_embeddings_are_shortened(fake):
    tables = [torch.full((3, 4), 2.0, device=device) for device in ("cpu", "cuda")]
    for table in tables:
        F.embedding(torch.tensor([0, 2, 2], device=table.device), table, max_norm=1.0)
    assert tables[0][1].tolist() == [2.0] * 4 and tables[0][0].norm() < 1.001
    np.testing.assert_array_equal(tables[1].cpu().numpy(), tables[0].numpy())


def test_second_derivatives_of_logcumsumexp_stay_there(idle):
    x = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64, device="cuda", requires_grad=True)
    (first,) = torch.autograd.grad(torch.logcumsumexp(x, 0).sum(), x, create_graph=True)
    assert torch.autograd.grad((first**2).sum(), x)[0].is_cuda


def test_results_that_the_host_computes_may_be_written_elsewhere(fake):
    x = torch.arange(6.0, device="cuda").view(2, 3)
    out = torch.empty(2, dtype=torch.uint64, device="cuda")
    assert torch.hash_tensor(x, 1, out=out) is out
    assert out.tolist() == torch.hash_tensor(x.cpu(), 1).tolist()


def test_a_quantile_by_a_number_waits_for_nothing(idle):
    x = torch.tensor([3.0, 1.0, 2.0], device="cuda")
    x[0].item()
    assert waits(idle)
    torch.quantile(x, 0.25)
    assert not waits(idle)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn, torch.complex32, torch.float16, torch.bool])
def test_a_number_of_any_dtype_is_read(fake, dtype):
    x = torch.tensor([1.0, 0.0]).to(dtype)
    assert x.cuda()[0].item() == x[0].item() == 1 and x.cuda().tolist() == x.tolist()


@pytest.mark.parametrize(
    "indices, offsets, words",
    [([1, 9], [0], "index 9 is out of range"), ([1, 2], [1], "offsets\\[0\\] has to be 0"),
     ([1, 2], [0, 3], "offsets\\[-1\\] can not be greater"), ([1, 2], [0, 2, 1], "offsets must not decrease")],
)  # fmt: skip
def test_bags_tell_later_what_is_wrong(fake, indices, offsets, words):
    weight = torch.ones(7, 3, device="cuda")
    F.embedding_bag(torch.tensor(indices, device="cuda"), weight, torch.tensor(offsets, device="cuda"))
    with pytest.raises(RuntimeError, match=words):
        torch.cuda.synchronize()


def test_renormalised_rows_wait_for_nothing(idle):
    weight, indices = torch.ones(6, 4, device="cuda"), torch.tensor([[0, 3], [3, 5]], device="cuda")
    idle.calls.clear()
    F.embedding(indices, weight, max_norm=1.0)
    assert waits(idle) == 0


def test_counts_wait_once(fake):
    """The size of a result is read where it depends on numbers, as PyTorch does."""
    x = torch.tensor([3, 1, 1, 0], device="cuda")
    for call, want in ((lambda: torch.bincount(x), [1, 2, 0, 1]), (lambda: F.one_hot(x).sum(0), [1, 2, 0, 1])):
        fake.calls.clear()
        found = call()
        assert waits(fake) == 2  # a copy, and the wait for it
        assert found.tolist() == want


def test_what_waits_for_nothing(idle):
    x, f, edges = torch.ones(4, device="cuda", dtype=torch.int64), torch.ones(4, device="cuda"), torch.arange(200.0)
    edges = edges.cuda()
    idle.calls.clear()
    torch.histc(f, 4, 0, 4)
    torch.histogram(f, edges)
    torch.isin(x, x[:2])
    torch.isin(f, edges)
    for how in ("sum", "prod", "mean", "amax", "amin"):
        f.scatter_reduce(0, x, f, how, include_self=False)
    f.index_reduce(0, x, f, "mean")
    table = edges.view(50, 4).requires_grad_()
    F.embedding(x, table, scale_grad_by_freq=True).sum().backward()
    F.ctc_loss(table.view(10, 2, 10), x.view(2, 2), (10, 10), (2, 2)).backward()
    for mode in ("sum", "mean", "max"):
        F.embedding_bag(x, table, x[:2], mode=mode, padding_idx=2, include_last_offset=True).sum().backward()
    assert waits(idle) == 0
    with torch.cuda.graph(torch.cuda.CUDAGraph()):  # nor does it do what a graph cannot hold
        out = F.embedding_bag(x, table, x[:2], mode="mean", max_norm=1.0)
        out.scatter_reduce(0, x.view(4, 1)[:2], out, "amax").sum().backward()
        torch.isin(x, x[:2]), torch.histc(f, 4, 0, 4), torch.special.gammainc(f, f)
