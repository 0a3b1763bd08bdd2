"""Names of `torch` that facula has without PyTorch's internals: why they are refused, numbers for symbols, streams."""

import pytest

import facula as torch
from facula.later import LATER, REFUSED


@pytest.mark.parametrize("name", LATER)
def test_each_name_is_there(name):
    assert getattr(torch, name, None) is not None  # a function, a class, or what is said of the build


@pytest.mark.parametrize("name", " ".join(REFUSED.values()).split())
def test_what_is_refused_says_why(name):
    with pytest.raises(NotImplementedError, match=rf"torch.{name}\(\) is not implemented: \w+"):
        getattr(torch, name)()


def test_sizes_are_numbers():
    assert torch.sym_int(2.5) == 2 and torch.sym_float(2) == 2.0 and torch.sym_not(False) is True
    assert torch.sym_max(3, 2.0) == 3.0 and isinstance(torch.sym_max(3, 2.0), float) and torch.sym_min(1, 2) == 1
    assert torch.sym_sqrt(4) == 2.0 and torch.sym_sum([1, 2]) == 3 and torch.sym_ite(False, 1, 2) == 2


def test_a_forked_stream_ends_where_it_began():
    torch.manual_seed(3)
    wanted = torch.rand(2).tolist()
    torch.manual_seed(3)
    with torch.random.fork_rng(devices=[]):
        torch.rand(5)
    assert torch.rand(2).tolist() == wanted
    torch.manual_seed(3)
    with torch.random.fork_rng(enabled=False):
        torch.rand(2)
    assert torch.rand(2).tolist() != wanted
    assert torch.random.thread_safe_generator() is None
    with (
        pytest.raises(RuntimeError, match="torch has no module of `xla`"),
        torch.random.fork_rng(device_type="xla"),
    ):
        pass


def test_helpers_that_libraries_import():
    from facula.nn.functional import (  # type: ignore[attr-defined]
        BroadcastingList2,
        assert_int_or_pair,
        boolean_dispatch,
        has_torch_function_unary,
    )

    assert BroadcastingList2[int] is None and not has_torch_function_unary(torch.ones(1))
    pick = boolean_dispatch("last", 1, False, lambda x, last: x[-1], lambda x, last=False: x[0], "here", "pick")
    assert (pick([1, 2]), pick([1, 2], True), pick([1, 2], last=True)) == (1, 2, 2)
    assert (pick.__module__, pick.__name__) == ("here", "pick")
    assert_int_or_pair([1, 2], "stride", "{} is wrong")
    with pytest.raises(AssertionError, match="stride is wrong"):
        assert_int_or_pair([1, 2, 3], "stride", "{} is wrong")
    with pytest.raises(AttributeError, match=r"module 'torch.nn.functional' has no attribute 'boolean_dispatched'"):
        _ = torch.nn.functional.boolean_dispatched


def test_prototypes_are_refused_by_name():
    assert torch.masked.is_masked_tensor(torch.ones(1)) is False
    for make in (torch.masked.MaskedTensor, torch.masked.masked_tensor, torch.masked.as_masked_tensor):
        with pytest.raises(NotImplementedError, match="a prototype of PyTorch"):
            make(torch.ones(1), torch.ones(1) > 0)
    for make in (torch.sparse.SparseSemiStructuredTensor, torch.sparse.as_sparse_gradcheck):
        with pytest.raises(NotImplementedError, match="is not implemented"):
            make()


def test_the_policy_of_layouts_is_accepted():
    policy = torch.autograd.enforce_grad_layout_policy
    with policy(False):
        pass
    assert policy(False).clone().mode is False and policy()(len) is len
