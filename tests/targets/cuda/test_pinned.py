"""Page-locked memory and copies that the program does not wait for, on the fake driver."""

import gc
import threading

import numpy as np
import pytest

import facula
from facula.targets.cuda.memory import pinned
from facula.utils.data import DataLoader, TensorDataset
from tests.targets.cuda.emulator import COMPILER

cuda = facula.cuda


@pytest.fixture
def slow(fake):
    """A current stream whose work is done when somebody waits for it."""
    stream = cuda.Stream()
    fake.slow.add(stream.cuda_stream)
    with stream:
        yield stream


def test_pinned_tensors(fake):
    x = facula.arange(6.0).reshape(2, 3)
    y = x.pin_memory()
    assert not x.is_pinned() and y.is_pinned() and y.pin_memory() is y and y.tolist() == x.tolist()
    assert x.t().pin_memory().stride() == (1, 3) and x.t().pin_memory().tolist() == x.t().tolist()
    assert y[1].is_pinned() and y.device.type == "cpu" and y.untyped_storage().is_pinned()
    assert x.untyped_storage().pin_memory().is_pinned()
    for made in (
        facula.empty(2, 3, pin_memory=True), facula.zeros(3, pin_memory=True), facula.rand(3, pin_memory=True),
        facula.tensor([1.0], pin_memory=True), x.new_empty(2, pin_memory=True), facula.ones_like(x, pin_memory=True),
        facula.arange(3, pin_memory=True), x.new_tensor([2], pin_memory=True),
    ):  # fmt: skip
        assert made.is_pinned()
    assert facula.zeros(2, pin_memory=True, requires_grad=True).requires_grad
    assert facula.zeros(2, pin_memory=True).tolist() == [0, 0] and not facula.zeros(2).is_pinned()
    with pytest.raises(RuntimeError, match="cannot pin 'torch.cuda.FloatTensor' only dense CPU tensors can be pinned"):
        facula.empty(2, device="cuda").pin_memory()
    with pytest.raises(RuntimeError, match="Only dense CPU tensors can be pinned"):
        facula.empty(2, device="cuda", pin_memory=True)
    assert not facula.empty(2, device="cuda").is_pinned()


def test_without_a_gpu_nothing_can_be_pinned():
    if cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(RuntimeError, match="Cannot access accelerator device when none is available."):
        facula.ones(2).pin_memory()
    with pytest.raises(RuntimeError, match="pin_memory=True requires a CUDA or other accelerator backend"):
        facula.empty(2, pin_memory=True)
    assert not facula.ones(2).is_pinned()


def test_who_frees_a_block_never_waits_for_the_pool(fake):
    own, x = pinned.host_pool(), facula.ones(1000).pin_memory()
    place, held, done = x.data_ptr(), threading.Event(), threading.Event()

    def hold() -> None:  # as a thread that takes a block, and collects garbage of the other kind meanwhile
        with own.lock:
            held.set()
            assert done.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    del x
    done.set()
    thread.join()
    assert cuda.host_memory_stats()["active_requests.current"] == 0
    assert facula.empty(1000, pin_memory=True).data_ptr() == place


@pytest.mark.parametrize("count", [3, 40000])
def test_the_host_may_change_other_memory_after_a_copy(slow, fake, count):
    x = facula.ones(count)
    there = x.to("cuda", non_blocking=True)
    assert bool(fake.named("cuStreamSynchronize")) == (count == 40000), "small copies are not waited for"
    x.zero_()
    assert there.tolist() == [1.0] * count


def test_blocks_are_used_again_when_copies_are_done(slow, fake):
    x = facula.ones(1000).pin_memory()
    place = x.data_ptr()
    there = x.to("cuda", non_blocking=True)
    assert not fake.named("cuStreamSynchronize")
    del x
    other = facula.zeros(1000).pin_memory()
    assert other.data_ptr() != place, "the copy has not been made"
    slow.synchronize()
    assert facula.empty(1000, pin_memory=True).data_ptr() == place
    assert there.tolist() == [1.0] * 1000
    stats = cuda.host_memory_stats()
    assert stats["allocations.current"] == 2 == stats["num_host_alloc"] and stats["active_requests.current"] == 1
    assert stats["active_bytes.current"] == 4096 and stats["allocated_bytes.peak"] == 8192
    del other
    pinned.host_pool().release()
    assert (
        not any(len(block) == 4096 for block in fake.pinned.values())
        and cuda.host_memory_stats()["allocated_bytes.current"] == 0
    )


def test_what_the_program_waits_for(slow, fake):
    """Without non_blocking, memory may be changed after the call, be it page-locked or not."""
    for x in (facula.ones(4), facula.ones(4).pin_memory()):
        for non_blocking in (False, True):
            if non_blocking and x.is_pinned():
                continue
            x.fill_(1.0)
            there = facula.empty(4, device="cuda")
            there.copy_(x, non_blocking=non_blocking)
            x.fill_(2.0)
            assert there.cpu().tolist() == [1.0] * 4
    x = facula.ones(4).pin_memory()
    there = x.cuda(non_blocking=True)
    x.fill_(3.0)
    assert there.tolist() == [3.0] * 4, "here the program must not change it before the copy is made"


def test_from_the_gpu(slow, fake):
    there = facula.full((4,), 5.0).to("cuda")
    x, y = facula.zeros(4).pin_memory(), facula.zeros(4)
    fake.calls.clear()
    x.copy_(there, non_blocking=True)
    assert x.tolist() == [0.0] * 4 and not fake.named("cuStreamSynchronize")
    slow.record_event().synchronize()
    assert x.tolist() == [5.0] * 4
    y.copy_(there, non_blocking=True)
    assert y.tolist() == [5.0] * 4 and there.to("cpu", non_blocking=True).tolist() == [5.0] * 4


def test_memory_that_another_library_locked(fake, slow):
    address = fake.cuMemHostAlloc(64, 0)[1]
    array = fake.pinned[address][:16].view(np.float32)
    array[:] = 7.0
    x = facula.from_numpy(array)
    assert facula.ones(1).pin_memory() is not None and x.is_pinned()
    there = x.to("cuda")
    array[:] = 8.0
    assert there.tolist() == [7.0] * 4


@pytest.mark.skipif(COMPILER is None, reason="no g++ here")
def test_copies_between_layouts(fake, slow):
    x = facula.arange(12.0).reshape(3, 4)
    there = facula.zeros(4, 3).to("cuda")
    there.copy_(x.pin_memory().t(), non_blocking=True)
    assert there.tolist() == x.t().tolist()
    back = facula.zeros(3, 4).pin_memory()
    back.t().copy_(there, non_blocking=True)
    assert back.tolist() == x.tolist()


def test_loaders_pin_batches(fake):
    rows = TensorDataset(facula.arange(10.0), facula.arange(10))
    for x, y in DataLoader(rows, batch_size=4, pin_memory=True):
        assert x.is_pinned() and y.is_pinned() and x.tolist() == y.tolist()

    class Named(dict):
        pass

    found = next(iter(DataLoader([Named(a=1.0, b=("text", 2))], pin_memory=True, collate_fn=lambda rows: Named(
        a=facula.tensor(rows[0]["a"]), b=rows[0]["b"]))))  # fmt: skip
    assert type(found) is Named and found["a"].is_pinned() and found["b"] == ("text", 2)


def test_blocks_go_back_at_any_time(fake, slow):
    """A block that is freed while a graph is recorded waits until no graph is."""
    x = facula.ones(100).pin_memory()
    x.to("cuda", non_blocking=True)
    place, graph = x.data_ptr(), cuda.CUDAGraph()
    with pytest.warns(UserWarning, match="The CUDA Graph is empty"), cuda.graph(graph, stream=slow):
        del x
        gc.collect()
        assert facula.empty(100, pin_memory=True).data_ptr() != place
    first = facula.empty(100, pin_memory=True)
    second = facula.empty(100, pin_memory=True)
    assert place in (first.data_ptr(), second.data_ptr())
