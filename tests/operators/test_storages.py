"""The memory of tensors as bytes or elements: `torch.UntypedStorage`, `torch.FloatStorage`."""

import pytest

import facula as torch


def test_untyped():
    x = torch.tensor([[1, 2], [3, 4]], dtype=torch.int16)
    memory = x[1].untyped_storage()
    assert memory.data_ptr() == x.data_ptr() and memory.nbytes() == len(memory) == 8 and memory == x.untyped_storage()
    assert memory.tolist() == [1, 0, 2, 0, 3, 0, 4, 0] == list(memory) and memory[2] == 2 and memory.element_size() == 1
    memory[2] = 9
    assert x.tolist() == [[1, 9], [3, 4]]
    copied = memory.clone()
    assert copied != memory and memory.fill_(0) is memory and x.sum() == 0
    memory.copy_(copied)
    assert x.tolist() == [[1, 9], [3, 4]]
    assert not memory.is_shared() and not memory.is_pinned() and memory.device.type == "cpu"
    assert torch.is_storage(memory) and not torch.is_storage(x)


def test_sizes():
    memory = torch.UntypedStorage(3)
    assert memory.size() == 3 and torch.UntypedStorage().size() == 0
    memory[:] = 7
    assert memory.resize_(5).tolist()[:3] == [7, 7, 7] and memory.resize_(2).tolist() == [7, 7]
    with pytest.raises(TypeError, match="takes at most one argument"):
        torch.UntypedStorage(1, 2)


def test_a_tensor_follows_its_memory_when_that_grows():
    x = torch.ones(2)
    x.untyped_storage().resize_(4000)
    assert x.tolist() == [1, 1] and x.untyped_storage().nbytes() == 4000


def test_typed():
    row = torch.FloatStorage([1, 2, 3])
    assert row.tolist() == [1, 2, 3] and row.dtype is torch.float32 and row.nbytes() == 12 and row[1] == 2
    assert row.untyped().nbytes() == 12 and row.type() == "torch.FloatStorage" and len(torch.LongStorage(4)) == 4
    again = torch.TypedStorage(wrap_storage=row.untyped(), dtype=torch.float32)
    assert again.data_ptr() == row.data_ptr() and repr(again).endswith("dtype=torch.float32, device=cpu) of size 3]")
    assert torch.empty(0).set_(row, 1, (2,)).tolist() == [2, 3]
    assert row[1:].tolist() == [2, 3]


def test_the_old_method_says_what_to_use():
    with pytest.raises(NotImplementedError, match=r"use untyped_storage\(\)"):
        torch.ones(2).storage()
