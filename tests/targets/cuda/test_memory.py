"""Memory of the GPU on the fake driver: blocks, counts, other streams, private pools, the error when none is left."""

import gc
import re
import threading
import warnings

import numpy as np
import pytest

import facula
from facula.core import dtype as dt
from facula.core.device import device
from facula.core.spec import dense
from facula.targets.cuda import driver
from facula.targets.cuda.memory import options, pool
from facula.targets.cuda.memory.chunks import rounded, segment_size
from tests.targets.cuda.fake_driver import FakeDriver, installed

cuda = facula.cuda
GPU = device("cuda", 0)
MIB = 1 << 20


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.delenv("PYTORCH_CUDA_ALLOC_CONF", raising=False)
    with installed(FakeDriver(memory=64 * MIB), monkeypatch) as found:
        yield found


def whole(error: BaseException) -> str:
    return "\n".join([str(error), *getattr(error, "__notes__", ())])


# --- blocks -------------------------------------------------------------------------------------------------------


def test_blocks_are_used_again(fake):
    p = pool.pool()
    first = p.take(1000)
    place = first.ptr
    del first
    assert p.take(1024).ptr == place and p.take(2000).ptr != place
    assert p.counts["reserved"] == 2 * MIB and p.bytes == 0
    assert len(fake.named("cuMemAlloc")) == 1


def test_sizes_are_those_of_pytorchs_allocator(fake):
    for nbytes, size, segment in [
        (1, 512, 2), (513, 1024, 2), (MIB, MIB, 2), (MIB + 1, MIB + 512, 20), (9 * MIB, 9 * MIB, 20),
        (10 * MIB, 10 * MIB, 10), (10 * MIB + 5, 10 * MIB + 512, 12),
    ]:  # fmt: skip
        assert rounded(nbytes) == size and segment_size(size) == segment * MIB
    p = pool.pool()
    held = p.take(3 * MIB)
    assert p.counts["reserved"] == 20 * MIB and held.size == 3 * MIB
    whole_segment = p.take(25 * MIB + 1)
    assert whole_segment.size == 26 * MIB, "what is left of a large one is cut off from a MiB on only"


def test_blocks_do_not_overlap_and_join_again(fake):
    """Also while blocks are freed in the middle of taking others, by other threads and by the garbage collector."""
    fake.memory = 1 << 30
    random = np.random.default_rng(0)
    held, cycle, p = [], [], pool.pool()
    sizes = [1, 700, 5000, 60_000, 900_000, 1 << 20, (1 << 20) + 1, 3 << 20, 11 << 20]
    for _ in range(3000):
        if held and random.random() < 0.49:
            held.pop(random.integers(len(held)))
        elif random.random() < 0.02:
            cycle = [p.take(int(random.choice(sizes[:5])))]
            cycle.append(cycle)  # freed by the collector
        elif p.bytes < 300 * MIB:
            held.append(p.take(int(random.choice(sizes) * (0.5 + random.random() / 2) + 1)))
    del cycle
    gc.collect()
    spans = sorted((b.ptr, b.ptr + b.size) for b in held)
    assert all(a[1] <= b[0] for a, b in zip(spans, spans[1:]))
    assert all(fake._inside(b.ptr, b.size) for b in held)
    assert p.bytes == sum(b.size for b in held) <= p.counts["reserved"] == fake.used()
    for segment in cuda.memory_snapshot():
        assert sum(b["size"] for b in segment["blocks"]) == segment["total_size"]
    held.clear()
    assert cuda.memory_stats()["inactive_split.all.current"] == 0, "all neighbours are joined"
    cuda.empty_cache()
    assert cuda.memory_reserved() == 0 == fake.used()


def test_a_larger_batch_uses_what_a_smaller_one_freed(fake):
    p = pool.pool()
    small = [p.take(4 * MIB) for _ in range(4)]
    del small
    large = p.take(9 * MIB)  # joined of neighbours
    assert p.counts["reserved"] == 20 * MIB and len(fake.named("cuMemAlloc")) == 1
    del large
    again = [p.take(4 * MIB) for _ in range(4)]
    assert p.counts["reserved"] == 20 * MIB and len(again) == 4


def test_small_blocks_that_machine_code_keeps_join_before_more_memory_is_asked_for(fake):
    fresh = [facula.empty(MIB // 2, dtype=facula.uint8, device="cuda") for _ in range(4)]
    assert cuda.memory_reserved() == 2 * MIB
    del fresh
    assert pool.pool().kept.words[1] == 4 and cuda.memory_allocated() == 0
    larger = facula.empty(MIB, dtype=facula.uint8, device="cuda")
    assert cuda.memory_reserved() == 2 * MIB and cuda.memory_allocated() == MIB == larger.nbytes


def test_threads_take_and_free(fake):
    fake.memory = 1 << 30
    p, errors = pool.pool(), []

    def work(seed):
        try:
            random = np.random.default_rng(seed)
            held = []
            for _ in range(400):
                held.append(p.take(int(random.integers(1, 3 * MIB))))
                if len(held) > 5:
                    held.pop(random.integers(len(held)))
            spans = sorted((b.ptr, b.ptr + b.size) for b in held)
            assert all(a[1] <= b[0] for a, b in zip(spans, spans[1:]))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and p.bytes == 0


def test_no_memory_for_no_elements(fake):
    assert pool.empty(dense(dt.float32, (0, 3), GPU)).storage.nbytes == 0
    assert not fake.named("cuMemAlloc")


# --- streams ------------------------------------------------------------------------------------------------------


def test_streams_have_blocks_of_their_own(fake):
    first = facula.empty(1000, device="cuda")
    place = first.data_ptr()
    del first
    with cuda.stream(cuda.Stream()):
        assert facula.empty(1000, device="cuda").data_ptr() != place
    assert facula.empty(1000, device="cuda").data_ptr() == place


def test_a_recorded_stream_is_waited_for(fake):
    side = cuda.Stream()
    fake.slow.add(side.cuda_stream)
    x = facula.empty(1000, device="cuda")
    place = x.data_ptr()
    with side:
        x.copy_(facula.empty(1000).pin_memory(), non_blocking=True)  # work that has not been done
    x.record_stream(side)
    x.record_stream(cuda.default_stream())  # its own: nothing
    del x
    assert facula.empty(1000, device="cuda").data_ptr() != place
    stats = cuda.memory_stats()
    assert stats["allocated_bytes.all.current"] == 0 and stats["active_bytes.all.current"] == 4096
    assert [b["state"] for s in cuda.memory_snapshot() for b in s["blocks"]][0] == "active_pending_free"
    fake.finish(side.cuda_stream)
    assert facula.empty(1000, device="cuda").data_ptr() == place
    assert cuda.memory_stats()["active_bytes.all.current"] == 0
    with pytest.raises(NotImplementedError, match="Could not run 'aten::record_stream' with arguments from the 'CPU'"):
        facula.ones(2).record_stream(side)
    with pytest.raises(RuntimeError, match="unknown parameter type"):
        facula.empty(2, device="cuda").record_stream(3)


def test_the_current_stream_is_a_threads_own(fake):
    side, seen = cuda.Stream(), []
    with cuda.stream(side):
        thread = threading.Thread(target=lambda: seen.append(cuda.current_stream()))
        thread.start()
        thread.join()
        assert cuda.current_stream() == side
        with cuda.stream(None), cuda.StreamContext(cuda.default_stream()):
            assert cuda.current_stream() == cuda.default_stream()
        with side:
            assert cuda.current_stream() == side
    assert seen == [cuda.default_stream()] and cuda.current_stream() == cuda.default_stream()
    cuda.set_stream(side)
    assert cuda.current_stream() == side
    cuda.set_stream(cuda.default_stream())


def test_streams_are_shared_by_turns(fake):
    made = [cuda.Stream() for _ in range(33)]
    assert made[0] == made[32] and len(set(made)) == 32 and isinstance(made[0], facula.Stream)
    assert cuda.Stream(priority=-1).priority == -1 and cuda.Stream(priority=-100).priority == -3
    assert cuda.Stream(priority=5).priority == 0 and cuda.Stream.priority_range() == (0, -3)
    assert [args[1] for args in fake.named("cuStreamCreateWithPriority")] == [0] * 32 + [-1, -3]
    assert repr(made[0]) == f"<torch.cuda.Stream device=cuda:0 cuda_stream={made[0].cuda_stream:#x}>"
    theirs = cuda.ExternalStream(made[0].cuda_stream)
    assert theirs == made[0] and isinstance(theirs, cuda.Stream)
    assert isinstance(facula.Stream("cuda"), cuda.Stream) and not isinstance(facula.Stream("cpu"), cuda.Stream)
    assert cuda.Stream(stream_id=0, device_index=0) == cuda.default_stream()


def test_events(fake):
    start, end = (cuda.Event(enable_timing=True, blocking=True) for _ in range(2))
    assert isinstance(start, facula.Event) and start.query() and repr(start) == "<torch.cuda.Event uninitialized>"
    with pytest.raises(ValueError, match="Both events must be recorded before calculating elapsed time."):
        start.elapsed_time(end)
    side = cuda.Stream()
    fake.slow.add(side.cuda_stream)
    start.record(side)
    facula.empty(4, device="cuda")
    with side:
        facula.empty(4, device="cuda").copy_(facula.ones(4).pin_memory(), non_blocking=True)
    end.record(side)
    assert start.query() and not end.query() and not side.query()
    with pytest.raises(ValueError, match="Both events must be completed before calculating elapsed time."):
        start.elapsed_time(end)
    end.synchronize()
    assert start.elapsed_time(end) == 1.5 and side.query()
    assert fake.named("cuEventCreate")[:1] == [[1]], "flags: timing, a thread that waits sleeps"
    with pytest.raises(ValueError, match="Both events must be created with argument 'enable_timing=True'."):
        cuda.Event().elapsed_time(end)
    with pytest.raises(NotImplementedError, match=r"torch.cuda.Event\(interprocess=True\)\(\) is not implemented"):
        cuda.Event(interprocess=True)
    with pytest.raises(NotImplementedError, match="ipc_handle"):
        end.ipc_handle()


# --- counts -------------------------------------------------------------------------------------------------------


def test_counts_as_torch_has_them(fake):
    x = facula.empty(1 << 20, device="cuda")
    assert cuda.is_initialized() and cuda.memory_allocated() == 4 * MIB == cuda.max_memory_allocated()
    del x
    assert cuda.memory_allocated() == 0 and cuda.max_memory_allocated() == 4 * MIB
    cuda.reset_peak_memory_stats()
    assert cuda.max_memory_allocated() == 0 and cuda.memory_reserved() == 20 * MIB == cuda.max_memory_reserved()
    cuda.empty_cache()
    assert cuda.memory_reserved() == 0 == fake.used()
    assert cuda.mem_get_info() == (64 * MIB, 64 * MIB)
    with pytest.warns(FutureWarning, match="`torch.cuda.memory_cached` has been renamed"):
        assert cuda.memory_cached() == 0
    with pytest.warns(FutureWarning, match="torch.cuda.reset_max_memory_allocated now calls"):
        cuda.reset_max_memory_allocated()


def test_stats_have_all_of_pytorchs_keys(fake):
    """The keys that PyTorch documents."""
    held = [facula.empty(3, device="cuda"), facula.empty(1 << 20, device="cuda"), facula.empty(1 << 20, device="cuda")]
    del held[1]
    stats = cuda.memory_stats()
    names = ["allocation", "allocated_bytes", "segment", "reserved_bytes", "active", "active_bytes", "inactive_split",
             "inactive_split_bytes", "requested_bytes"]  # fmt: skip
    columns = ["current", "peak", "allocated", "freed"]
    keys = {f"{n}.{k}.{c}" for n in names for k in ("all", "large_pool", "small_pool") for c in columns}
    keys |= {f"{n}.{c}" for n in ("oversize_allocations", "oversize_segments") for c in columns}
    keys |= {"max_split_size", "num_alloc_retries", "num_ooms", "num_sync_all_streams", "num_device_alloc",
             "num_device_free", "num_oom_rejections"}  # fmt: skip
    assert set(stats) == keys and list(stats) == sorted(stats)
    for name in names:  # numbers of kinds add up
        for column in ("current", "allocated", "freed"):
            parts = stats[f"{name}.large_pool.{column}"] + stats[f"{name}.small_pool.{column}"]
            assert stats[f"{name}.all.{column}"] == parts
    wanted = {
        "allocation.all.current": 2, "allocation.all.allocated": 3, "allocation.all.freed": 1,
        "allocation.large_pool.peak": 2, "requested_bytes.small_pool.current": 12, "active.all.current": 2,
        "allocated_bytes.large_pool.freed": 4 * MIB, "segment.all.current": 2, "reserved_bytes.all.current": 22 * MIB,
        "inactive_split.large_pool.current": 2, "inactive_split_bytes.large_pool.current": 16 * MIB,
        "inactive_split_bytes.small_pool.current": 2 * MIB - 512, "num_device_alloc": 2, "max_split_size": -1,
    }  # fmt: skip
    assert {key: stats[key] for key in wanted} == wanted
    cuda.reset_accumulated_memory_stats()
    stats = cuda.memory_stats()
    assert stats["allocation.all.allocated"] == stats["allocation.all.freed"] == stats["num_device_alloc"] == 0
    assert stats["allocation.all.current"] == 2
    held.clear()
    stats = cuda.memory_stats()
    assert stats["allocation.all.freed"] == 2 and stats["allocation.all.allocated"] == 0


def test_the_summary_is_pytorchs_table(fake):
    facula.empty(1 << 20, device="cuda")
    lines = cuda.memory_summary().splitlines()
    assert len({len(line) for line in lines}) == 1 and lines[0] == "|" + "=" * 75 + "|"
    assert lines[1] == "|                  PyTorch CUDA memory summary, device ID 0                 |"
    assert lines[3] == "|            CUDA OOMs: 0            |        cudaMalloc retries: 0         |"
    assert lines[5] == "|        Metric         | Cur Usage  | Peak Usage | Tot Alloc  | Tot Freed  |"
    assert lines[7] == "| Allocated memory      |      0 B   |   4096 KiB |   4096 KiB |   4096 KiB |"
    assert lines[9] == "|       from small pool |      0 B   |      0 KiB |      0 KiB |      0 KiB |"
    assert len(cuda.memory_summary(abbreviated=True).splitlines()) == len(lines) - 2 * 9
    assert cuda.list_gpu_processes().startswith("pynvml module not found")


def test_the_table_is_that_of_pytorchs_function(fake, monkeypatch):
    """PyTorch's own `memory_summary` makes the same text of the same numbers."""
    theirs = pytest.importorskip("torch").cuda.memory
    held = facula.empty(3 << 20, device="cuda"), facula.empty(5, device="cuda")
    monkeypatch.setattr(theirs, "_get_device_index", lambda device, optional: 0)
    monkeypatch.setattr(theirs, "memory_stats", lambda device: cuda.memory_stats())
    for abbreviated in (False, True):
        assert cuda.memory_summary(abbreviated=abbreviated) == theirs.memory_summary(abbreviated=abbreviated)
    assert held


def test_a_snapshot_says_what_is_where(fake):
    x = facula.empty(1 << 20, device="cuda")
    (segment,) = cuda.memory_snapshot()
    assert (segment["total_size"], segment["segment_type"], segment["stream"]) == (20 * MIB, "large", 0)
    used, free = segment["blocks"]
    assert (used["address"], used["state"], free["state"]) == (x.data_ptr(), "active_allocated", "inactive")
    assert used["frames"][0]["filename"].endswith("test_memory.py")
    assert used["requested_size"] == 4 * MIB == segment["allocated_size"]


# --- no memory left -----------------------------------------------------------------------------------------------


def test_kept_memory_is_given_back_when_there_is_none_left(fake):
    p = pool.pool()
    large = [p.take(20 * MIB) for _ in range(2)]
    del large
    assert p.counts["reserved"] == 40 * MIB
    other = p.take(50 * MIB)  # 64 MiB in all
    assert other.size >= 50 * MIB and p.counts["retries"] == 1 and len(fake.named("cuMemFree")) == 2
    with pytest.raises(cuda.OutOfMemoryError, match="CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0"):
        p.take(20 * MIB)
    assert cuda.memory_stats()["num_ooms"] == 1
    del other
    assert p.take(20 * MIB).size == 20 * MIB, "the context stays usable"


def test_the_error_says_who_holds_memory(fake):
    held = [facula.empty(2560, 1024, device="cuda") for _ in range(4)]
    held.append(facula.empty(12, 1024, 1024, dtype=facula.uint8, device="cuda"))
    small = facula.empty(4, device="cuda")
    with pytest.raises(facula.OutOfMemoryError) as found:
        facula.empty(30 * MIB, dtype=facula.uint8, device="cuda")
    text = str(found.value)
    assert text.startswith(
        "CUDA out of memory. Tried to allocate 30.00 MiB. GPU 0 has a total capacity of 64.00 MiB of which 10.00 MiB "
        "is free. Of the allocated memory 52.00 MiB is allocated by PyTorch, and 2.00 MiB is reserved by PyTorch but "
        "unallocated. If reserved but unallocated memory is large try setting PYTORCH_ALLOC_CONF="
    )
    notes = whole(found.value).removeprefix(text)
    assert "5 large tensors hold 52.00 MiB of 52.00 MiB:" in notes
    assert re.search(r"40.00 MiB  4 x float32\[2560, 1024\], made at .*test_memory.py:\d+", notes)
    assert re.search(r"12.00 MiB  uint8\[12, 1024, 1024\], made at .*test_memory.py:\d+", notes)
    assert "a smaller batch" in notes and small is not None
    del held[:2]
    assert facula.empty(9 * MIB, dtype=facula.uint8, device="cuda") is not None, "and the program may go on"


def test_a_fraction_of_the_gpu(fake):
    cuda.set_per_process_memory_fraction(0.5)
    assert cuda.get_per_process_memory_fraction() == 0.5
    with pytest.raises(facula.OutOfMemoryError, match=r"is free. 32.00 MiB allowed; Of the allocated memory"):
        facula.empty(40 * MIB, dtype=facula.uint8, device="cuda")
    with pytest.raises(TypeError, match="Invalid type for fraction argument, must be `float`"):
        cuda.set_per_process_memory_fraction(1)
    with pytest.raises(ValueError, match="Invalid fraction value: 1.5. Allowed range: 0~1"):
        cuda.set_per_process_memory_fraction(1.5)


# --- options, pools of a program's own ------------------------------------------------------------------------------


def test_options_of_the_environment(fake, monkeypatch):
    read = options.parsed
    assert read("") == options.Options()
    assert read("garbage_collection_threshold:0.8,per_process_memory_fraction:0.5").collect == 0.8
    assert rounded(1200 << 10, read("roundup_power2_divisions:4")) == 1280 << 10
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "max_split_size_mb:20")
    p = pool.Pool(driver.gpu())
    whole_segment = p.take(30 * MIB)
    del whole_segment
    kept = p.take(4 * MIB)
    assert p.counts["reserved"] == 50 * MIB and kept.size == 4 * MIB, "a large free block is not cut"
    with pytest.warns(UserWarning, match="expandable_segments not supported on this platform"):
        read("expandable_segments:True")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read("expandable_segments:False,backend:native,pinned_use_background_threads:True")
    with pytest.raises(NotImplementedError, match="backend:cudaMallocAsync is not implemented"):
        read("backend:cudaMallocAsync")
    with pytest.raises(ValueError, match="Unrecognized key 'splits' in Accelerator allocator config."):
        read("splits:3")
    with pytest.raises(ValueError, match="max_split_size_mb"):
        read("max_split_size_mb:5")


def test_memory_for_other_libraries(fake):
    address = cuda.caching_allocator_alloc(1000)
    assert fake._inside(address, 1000) and cuda.memory_allocated() == 1024
    other = cuda.caching_allocator_alloc(1000, stream=cuda.Stream())
    cuda.caching_allocator_delete(address)
    cuda.caching_allocator_delete(other)
    assert cuda.memory_allocated() == 0
    with pytest.raises(RuntimeError, match="invalid device pointer"):
        cuda.caching_allocator_delete(address)
    with pytest.raises(TypeError, match="Invalid type for stream argument"):
        cuda.caching_allocator_alloc(1000, stream="side")
    assert cuda.get_allocator_backend() == "native"


def test_a_pool_of_ones_own(fake):
    own = cuda.MemPool()
    with cuda.use_mem_pool(own):
        x = facula.empty(1000, device="cuda")
        with cuda.stream(cuda.Stream()):
            y = facula.empty(1000, device="cuda")
        seen = []
        thread = threading.Thread(target=lambda: seen.append(facula.empty(1000, device="cuda")))
        thread.start()
        thread.join()
    inside = {b["address"] for s in own.snapshot() for b in s["blocks"] if b["state"] == "active_allocated"}
    assert inside == {x.data_ptr(), y.data_ptr()} and own.use_count() == 1
    assert facula.empty(1000, device="cuda").data_ptr() not in inside
    key = "reserved_bytes_by_private_pools." + "_".join(map(str, own.id)) + ".all.current"
    assert cuda.memory_stats()[key] == 4 * MIB
    del x, y
    cuda.empty_cache()
    assert cuda.memory_stats()[key] == 4 * MIB, "it stays with the pool"
    del own
    seen.clear()
    cuda.empty_cache()
    assert cuda.memory_reserved() == 0
