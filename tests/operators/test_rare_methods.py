"""Methods that few programs call: element by element, old names, what is refused."""

import numpy as np
import pytest

import facula as torch
from facula.operators.rare_methods import REFUSED


def test_each_element_by_a_python_function():
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert x.apply_(lambda a: a * 2) is x
    assert x.tolist() == [[2, 4], [6, 8]]
    assert x.map_(torch.tensor([1.0, 2.0]), lambda a, b: a + b).tolist() == [[3, 6], [7, 10]]
    assert x.map2_(x.clone(), torch.tensor(1.0), lambda a, b, c: a - b + c).tolist() == [[1, 1], [1, 1]]
    assert torch.tensor([1, 2], dtype=torch.int32).apply_(lambda a: a + 0.5).tolist() == [1, 2]
    assert torch.tensor([1.5], dtype=torch.bfloat16).apply_(lambda a: a + 1).item() == 2.5
    strided = torch.arange(6.0).reshape(2, 3).t()
    assert strided.apply_(lambda a: -a).tolist() == [[0, -3], [-1, -4], [-2, -5]]


def test_element_by_element_needs_a_tensor_without_gradient():
    with pytest.raises(RuntimeError, match=r"Can't call apply_\(\) on Variable that requires grad"):
        torch.ones(2, requires_grad=True).apply_(abs)


def test_old_names():
    x = torch.arange(6.0)
    with pytest.warns(UserWarning, match="non-inplace resize is deprecated"):
        assert x.resize(2, 3).shape == (2, 3)
    with pytest.warns(UserWarning, match="non-inplace resize_as is deprecated"):
        assert x.resize_as(torch.empty(3, 2)).shape == (3, 2)
    with pytest.raises(RuntimeError, match=r"reinforce\(\) was removed"):
        x.reinforce(1)
    assert x.module_load(torch.ones(6)).sum() == 6
    assert x.sum() == 6
    other = torch.zeros(6)
    assert x.module_load(other, assign=True).data_ptr() == other.data_ptr()


def test_questions():
    x = torch.ones(2)
    assert x.name is None and not x.is_distributed() and not x.is_sparse_csr and not x.is_xla
    assert x.const_data_ptr() == x.data_ptr()
    assert x.grad_dtype is torch.float32
    with pytest.raises(NotImplementedError, match="grad_dtype"):
        x.grad_dtype = torch.float64
    assert torch.ones(2, dtype=torch.float64).dequantize().dtype is torch.float32
    assert torch.empty(2, 3).t().dim_order() == (1, 0)
    with pytest.raises(RuntimeError, match="does not have unique dim order"):
        torch.empty(1, 3).dim_order(ambiguity_check=True)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_says_why(name):
    if name in vars(torch.Tensor):
        with pytest.raises(NotImplementedError, match="is not implemented: "):
            getattr(torch.ones(2), name)()


def test_sizes_by_name():
    x = torch.arange(6.0).reshape(shape=(2, 3))
    assert x.view(size=(3, 2)).shape == x.view(3, 2).shape
    assert x.view(dtype=torch.int32).dtype is torch.int32
    assert x.expand(size=(2, 2, 3)).shape == (2, 2, 3)
    assert x.repeat(repeats=(2, 1)).shape == (4, 3)
    assert x.tile(dims=(2,)).shape == (2, 6)
    assert x.permute(dims=(1, 0)).shape == (3, 2)
    assert x.flip(dims=(1,)).tolist() == [[2, 1, 0], [5, 4, 3]]
    assert x.sum_to_size(size=(1, 3)).tolist() == [[3, 5, 7]]
    assert x.new_zeros(size=(2,)).shape == torch.rand(size=(2,)).shape == torch.zeros(size=(2,)).shape == (2,)
    assert torch.ones(size=[2, 1]).shape == torch.empty(size=(2, 1)).shape == (2, 1)
    assert x.as_strided_(size=(2,), stride=(2,), storage_offset=1).tolist() == [1, 3]
    for make in (torch.zeros, torch.ones, torch.empty):
        with pytest.raises(TypeError, match='missing 1 required positional arguments: "size"'):
            make()


def test_hash_of_floats_is_that_of_their_float64_bits():
    x = np.array([1.5, -2.25, 0.0])
    wanted = np.bitwise_xor.reduce(x.view(np.uint64))
    assert torch.hash_tensor(torch.from_numpy(x)).item() == wanted
    assert torch.hash_tensor(torch.from_numpy(x).to(torch.bfloat16)).item() == wanted
    with pytest.raises(RuntimeError, match="Expected reduction dim to be specified"):
        torch.hash_tensor(torch.empty(0))


def test_results_stay_apart_from_operands():
    x = torch.arange(6.0)
    for call in (
        lambda: torch.take(x, torch.tensor([0, 1]), out=x),
        lambda: torch.cat([x, x], out=x),
        lambda: torch.masked_select(x, x > 1, out=x),
        lambda: torch.gather(x, 0, torch.tensor([1]), out=x[:1]),
    ):
        with pytest.raises(RuntimeError, match="some elements of the input tensor and the written-to tensor refer to"):
            call()
    for join in (torch.cat, torch.stack):
        with pytest.raises(TypeError, match="must be tuple of Tensors, not Tensor"):
            join(x)
    with pytest.raises(RuntimeError, match="Expected out tensor to have dtype float, but got double instead"):
        torch.gather(x, 0, torch.tensor([1]), out=torch.empty(1, dtype=torch.float64))
