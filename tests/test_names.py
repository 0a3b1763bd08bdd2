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
