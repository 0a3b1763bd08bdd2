"""Memory that processes share: who sees it, who follows when it moves, when it goes."""

import ctypes
import gc
import os

import pytest

import facula as torch
from facula.core import shared


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def in_child(run) -> None:
    """Run it in a forked process."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            run()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_child_sees_writes_and_is_seen():
    shown, hidden = torch.zeros(4).share_memory_(), torch.zeros(4)

    def run():
        shown.add_(1)
        hidden.add_(1)

    in_child(run)
    assert shown.tolist() == [1] * 4 and hidden.tolist() == [0] * 4
    assert shown.is_shared() and not hidden.is_shared()


def test_everything_on_the_memory_moves_with_it():
    x = torch.arange(6.0).reshape(2, 3)
    view, rows, handle, array = x[1], list(x), x.untyped_storage(), x.numpy()
    kept = (x * x.requires_grad_(False)).clone()
    assert handle.share_memory_() is handle and handle.is_shared() and not handle.resizable()
    assert x.is_shared() and view.is_shared() and rows[0].is_shared() and handle.data_ptr() == x.data_ptr()
    view.fill_(9)
    assert x.tolist() == [[0, 1, 2], [9, 9, 9]] and rows[1].tolist() == [9, 9, 9]
    assert array.tolist() == [[0, 1, 2], [3, 4, 5]], "an array keeps the memory that it shows"
    assert kept.tolist() == [[0, 1, 4], [9, 16, 25]]
    x.share_memory_()
    assert x.data_ptr() == handle.data_ptr(), "what is shared stays where it is"


def test_frozen_objects_move_too():
    x = torch.arange(3.0)
    view = x[1:]
    gc.collect()
    gc.freeze()
    try:
        x.share_memory_()
    finally:
        gc.unfreeze()
    x.fill_(5)
    assert view.tolist() == [5, 5] and x.data_ptr() == x.untyped_storage().data_ptr() == view.data_ptr() - 4


def test_gradients_and_optimizers_go_on():
    results = []
    for share in (False, True):
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 2)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        for step in range(4):
            if share and step == 2:
                assert model.share_memory() is model and all(p.is_shared() for p in model.parameters())
            optimizer.zero_grad()
            model(torch.ones(2, 3)).square().sum().backward()
            optimizer.step()
        results.append([p.tolist() for p in model.parameters()])
    assert results[0] == results[1]


@pytest.mark.parametrize("resize", [lambda x: x.resize_(100), lambda x: x.untyped_storage().resize_(1000)])
def test_shared_memory_has_its_size(resize):
    with pytest.raises(RuntimeError, match="Trying to resize storage that is not resizable"):
        resize(torch.zeros(3).share_memory_())


def test_memory_and_descriptors_go_with_the_last_reference():
    gc.collect()
    before = descriptors()
    tensors = [torch.zeros(1000).share_memory_() for _ in range(20)]
    assert descriptors() == before + 20
    del tensors
    assert descriptors() == before
    assert not [name for name in os.listdir("/dev/shm") if "facula" in name]


def test_a_new_file_under_memory_whose_descriptor_is_gone():
    fd = shared.unnamed_file(5000)
    block = shared.Block(fd, 5000, keep=False)
    os.close(fd)
    memory = (ctypes.c_uint8 * 5000).from_address(block.address)
    memory[:] = [7] * 5000
    again = shared.Block(block.descriptor(), 5000, keep=False)
    seen = (ctypes.c_uint8 * 5000).from_address(again.address)
    assert set(seen) == {7}
    memory[3] = 9
    assert seen[3] == 9


def test_empty_tensors():
    x = torch.zeros(0, 3).share_memory_()
    assert x.is_shared() and x.shape == (0, 3)
