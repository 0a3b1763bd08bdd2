"""`facula.memory`: what the pool counts, under PyTorch's names."""

import gc

import pytest

import facula as torch
from facula import memory
from facula.config import settings
from facula.targets.cpu import pool

MIB = 1 << 20


@pytest.fixture(autouse=True)
def clean():
    gc.collect()
    memory.empty_cache()
    memory.reset_peak_memory_stats()


def test_tensors_count_as_long_as_they_live():
    before = torch.memory_stats()
    x = torch.zeros(3, MIB)
    y = x[1:].t()  # a view has no memory of its own
    during = torch.memory_stats()
    assert during["allocated_bytes.all.current"] - before["allocated_bytes.all.current"] == 12 * MIB
    assert during["allocation.all.current"] - before["allocation.all.current"] == 1
    del x
    assert memory.memory_allocated() == during["allocated_bytes.all.current"]
    del y
    after = torch.memory_stats()
    assert after["allocated_bytes.all.current"] == before["allocated_bytes.all.current"]
    assert after["allocation.all.freed"] - before["allocation.all.freed"] == 1


def test_freed_memory_is_had_again():
    x = torch.zeros(MIB)
    del x
    before = torch.memory_stats()
    assert before["cached_bytes.all.current"] >= 4 * MIB
    y = torch.zeros(MIB)
    after = torch.memory_stats()
    del y
    assert after["num_device_alloc"] == before["num_device_alloc"]
    assert after["pool_hits"] == before["pool_hits"] + 1
    assert after["reserved_bytes.all.current"] == before["reserved_bytes.all.current"]


def test_the_cache_can_be_emptied():
    x = torch.zeros(MIB)
    del x
    before = torch.memory_stats()
    memory.empty_cache()
    after = torch.memory_stats()
    assert before["cached_bytes.all.current"] - after["cached_bytes.all.current"] >= 4 * MIB
    assert after["num_device_free"] > before["num_device_free"]


def test_peaks_are_kept_until_they_are_reset():
    gc.collect()  # what earlier tests left in cycles must not go in between
    memory.reset_peak_memory_stats()
    start = memory.memory_allocated()
    x = torch.zeros(MIB)
    del x
    assert memory.max_memory_allocated() == start + 4 * MIB
    assert memory.max_memory_reserved() >= start + 4 * MIB
    memory.empty_cache()
    memory.reset_peak_memory_stats()
    assert memory.max_memory_allocated() == start
    assert memory.max_memory_reserved() == memory.memory_reserved()


def test_no_more_is_kept_than_the_bound():
    small = torch.memory_stats()["cached_bytes.all.current"]  # small blocks of earlier tests: counted, never returned
    bound = small + 8 * MIB
    pool.set_pool_bytes(bound)
    try:
        most = 0
        for count in range(1, 12):
            x = torch.zeros(count, MIB // 4)
            del x
            cached = torch.memory_stats()["cached_bytes.all.current"]
            assert cached <= bound + MIB // 4  # small blocks are kept beyond the bound
            most = max(most, cached)
        assert most >= small + 4 * MIB  # and something is kept at all
    finally:
        pool.set_pool_bytes(settings.pool_bytes)


def test_a_backward_leaves_no_activations_behind():
    model = torch.nn.Sequential(*(torch.nn.Linear(64, 64) for _ in range(4)))
    x = torch.randn(4096, 64)
    model(x).sum().backward()
    gc.collect()
    before = memory.memory_allocated()
    memory.reset_peak_memory_stats()
    model(x).sum().backward()
    # three inputs of layers, the output; in backward two gradients at a time, and no activation for longer than needed
    assert memory.max_memory_allocated() - before <= 6 * 4096 * 64 * 4 + MIB
    assert memory.memory_allocated() == before
