"""The contract of Module and its containers, without PyTorch: members and their mirrors, copies, hooks, state."""

import copy
import gc
import pickle
import weakref
from collections import OrderedDict

import pytest

import facula as torch
from facula import nn
from facula.nn.module import Members


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([1.0, 2.0]))
        self.register_buffer("count", torch.zeros(2))
        self.register_buffer("hidden", torch.zeros(1), persistent=False)
        self.register_parameter("none", None)
        self.note = "plain"

    def forward(self, x, *, plus=0.0):
        return x * self.scale + plus


class Pair(nn.Module):
    title = "class attribute"

    def __init__(self):
        super().__init__()
        self.first = Block()
        self.second = Block()

    def forward(self, x):
        return self.second(self.first(x))


def test_members_are_mirrored():
    m = Pair()
    table = m._modules
    assert m.__dict__["first"] is table["first"] is m.first
    new = Block()
    table["first"] = new  # as programs do that replace layers
    assert m.first is new
    table.update(second=new)
    assert m.second is new
    assert table.pop("second") is new and not hasattr(m, "second")
    m._modules = OrderedDict(third=new)
    assert m.third is new and not hasattr(m, "first") and isinstance(m._modules, Members)
    del m._modules["third"]
    with pytest.raises(AttributeError, match="'Pair' object has no attribute 'third'"):
        _ = m.third


def test_mirror_does_not_hide_class_attributes():
    m = Pair()
    m._modules["title"] = Block()
    assert m.title == "class attribute"


def test_assignment_moves_between_tables():
    m = Block()
    m.scale2 = torch.zeros(2)
    assert "scale2" not in dict(m.named_parameters())
    m.scale2 = nn.Parameter(torch.zeros(2))
    assert "scale2" in dict(m.named_parameters())
    m.count = nn.Parameter(torch.zeros(2))
    assert "count" not in dict(m.named_buffers()) and "count" in dict(m.named_parameters())
    m.count = None
    assert m.count is None and "count" not in m.state_dict()
    m.hidden = torch.ones(1)
    assert "hidden" in dict(m.named_buffers()) and "hidden" not in m.state_dict()
    m.buffer = nn.Buffer(torch.ones(1), persistent=False)
    assert "buffer" in dict(m.named_buffers()) and "buffer" not in m.state_dict()
    del m.hidden
    assert "hidden" not in dict(m.named_buffers()) and not hasattr(m, "hidden")


def test_freed_without_garbage_collection():
    gc.disable()
    try:
        m = Pair()
        seen = weakref.ref(m), weakref.ref(m.first)
        del m
        assert seen[0]() is None and seen[1]() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
def test_copies(copied):
    m = Pair()
    m.first.register_forward_hook(double)
    twin = copied(m)
    x = torch.ones(2)
    assert twin(x).tolist() == m(x).tolist()
    assert twin.first.scale is twin.first._parameters["scale"] is not m.first.scale
    assert twin.first.note == "plain" and repr(twin) == repr(m)
    twin.first._parameters["scale"] = nn.Parameter(torch.zeros(2))
    assert twin(x).tolist() == [0.0, 0.0] and m(x).tolist() != [0.0, 0.0]


def double(module, args, output):
    return output * 2


def test_shallow_copy_is_independent():
    m = Block()
    twin = copy.copy(m)
    twin.scale = nn.Parameter(torch.zeros(2))
    assert m.scale.tolist() == [1.0, 2.0]


def test_hook_tables_filled_by_hand():
    m = Block()
    m._forward_hooks[99] = double
    assert m(torch.ones(2)).tolist() == [2.0, 4.0]
    m._forward_hooks.clear()
    assert m(torch.ones(2)).tolist() == [1.0, 2.0] and not m._hooked


def test_forward_hooks():
    m = Block()
    handles = [
        m.register_forward_pre_hook(lambda module, args, kwargs: (args, {"plus": 1.0}), with_kwargs=True),
        m.register_forward_hook(double),
    ]
    assert m(torch.ones(2)).tolist() == [4.0, 6.0]
    for handle in handles:
        handle.remove()
    assert m(torch.ones(2)).tolist() == [1.0, 2.0]
    with m.register_forward_hook(double):
        assert m(torch.ones(2)).tolist() == [2.0, 4.0]
    assert m(torch.ones(2)).tolist() == [1.0, 2.0]


def test_always_called():
    m = Block()
    seen = []
    m.register_forward_hook(lambda module, args, output: seen.append(output), always_call=True)
    with pytest.raises(TypeError):
        m("no tensor", plus=None)
    assert seen == [None]


def test_backward_hooks():
    m = Block()
    seen = []
    m.register_full_backward_hook(
        lambda module, grad_input, grad_output: seen.append((grad_input[0].tolist(), grad_output[0].tolist()))
    )
    m.register_full_backward_pre_hook(lambda module, grad_output: (grad_output[0] * 10,))
    x = torch.ones(2)
    x.requires_grad = True
    m(x).sum().backward()
    assert seen == [([10.0, 20.0], [10.0, 10.0])]
    assert m.scale.grad.tolist() == [10.0, 10.0]


def test_state_dict_round_trip():
    m, other = Pair(), Pair()
    with torch.no_grad():
        m.first.scale.mul_(5)
    state = m.state_dict()
    assert list(state) == ["first.scale", "first.count", "second.scale", "second.count"]
    assert state._metadata["first"] == {"version": 1}
    weight = other.first.scale
    assert repr(other.load_state_dict(state)) == "<All keys matched successfully>"
    assert other.first.scale is weight and weight.tolist() == [5.0, 10.0] and weight.requires_grad
    other.load_state_dict(state, assign=True)
    assert other.first.scale is not weight and isinstance(other.first.scale, nn.Parameter)
    assert other.first.scale.data_ptr() == state["first.scale"].data_ptr()


def test_state_dict_errors():
    m = Pair()
    state = m.state_dict()
    before = m.first.scale.tolist()
    state["first.scale"] = torch.zeros(3)
    state["extra"] = torch.zeros(1)
    del state["second.count"]
    with pytest.raises(RuntimeError) as caught:
        m.load_state_dict(state)
    lines = str(caught.value).split("\n\t")
    assert lines[0] == "Error(s) in loading state_dict for Pair:"
    assert lines[1] == 'Missing key(s) in state_dict: "second.count". '
    assert lines[2] == 'Unexpected key(s) in state_dict: "extra". '
    assert lines[3].startswith(
        "size mismatch for first.scale: copying a param with shape torch.Size([3]) from checkpoint"
    )
    assert m.first.scale.tolist() == before
    del state["first.scale"]
    keys = m.load_state_dict(state, strict=False)
    assert keys.missing_keys == ["first.scale", "second.count"] and keys.unexpected_keys == ["extra"]


def test_state_dict_error_names_a_common_prefix():
    m = Pair()
    with pytest.raises(RuntimeError, match="mend: remove the prefix 'module.'"):
        m.load_state_dict({"module." + key: value for key, value in m.state_dict().items()})


def test_hooks_of_states():
    m = Pair()
    m.register_state_dict_post_hook(lambda module, state, prefix, metadata: state.__delitem__("first.count"))
    m.register_load_state_dict_pre_hook(lambda module, state, *rest: state.update({"first.count": torch.ones(2)}))
    seen = []
    m.register_load_state_dict_post_hook(lambda module, keys: seen.append(keys.missing_keys))
    state = m.state_dict()
    assert "first.count" not in state
    m.load_state_dict(state)
    assert m.first.count.tolist() == [1.0, 1.0] and seen == [[]]


def test_conversion_keeps_parameters():
    m = Pair()
    m(torch.ones(2)).sum().backward()
    weight, grad = m.first.scale, m.first.scale.grad
    assert m.double() is m
    assert m.first.scale is weight and weight.dtype is torch.float64
    assert weight.grad is grad and grad.dtype is torch.float64
    assert m.first.count.dtype is torch.float64 and m.first.count is m.first._buffers["count"]
    with pytest.raises(TypeError, match="only accepts floating point"):
        m.to(torch.int64)


def test_modes_and_gradients():
    m = Pair()
    assert not m.eval().first.training and m.train().first.training
    m(torch.ones(2)).sum().backward()
    m.zero_grad(set_to_none=False)
    assert m.first.scale.grad.tolist() == [0.0, 0.0]
    m.zero_grad()
    assert m.first.scale.grad is None
    assert not any(p.requires_grad for p in m.requires_grad_(False).parameters())


def test_uninitialised():
    class Early(nn.Module):
        def __init__(self):
            self.layer = nn.Identity()

    with pytest.raises(AttributeError, match=r"cannot assign module before Module.__init__\(\) call"):
        Early()


def test_getattr_of_subclasses():
    class Wrapper(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def __getattr__(self, name):
            try:
                return super().__getattr__(name)
            except AttributeError:
                return getattr(self.inner, name)

    m = Wrapper(Block())
    assert m.note == "plain" and m.scale is m.inner.scale


def test_sequential():
    m = nn.Sequential(nn.Identity(), nn.ReLU(), nn.Flatten())
    assert len(m) == 3 and type(m[1]) is nn.ReLU and type(m[-1]) is nn.Flatten
    assert [type(x).__name__ for x in m[1:]] == ["ReLU", "Flatten"]
    del m[0]
    assert list(m._modules) == ["0", "1"] and type(m[0]) is nn.ReLU
    m.insert(0, nn.Tanh())
    m.append(nn.Sigmoid())
    assert [type(x).__name__ for x in m] == ["Tanh", "ReLU", "Flatten", "Sigmoid"]
    m[1] = nn.ELU()
    assert type(m.pop(1)) is nn.ELU and len(m) == 3
    assert len(m + m) == 6 and len(m * 2) == 6
    m += nn.Sequential(nn.Identity())
    assert len(m) == 4 and repr(nn.Sequential()) == "Sequential()"


def test_lists_and_dicts():
    layers = nn.ModuleList([nn.ReLU(), nn.ReLU(), nn.Tanh()])
    assert repr(layers) == "ModuleList(\n  (0-1): 2 x ReLU()\n  (2): Tanh()\n)"
    layers += [nn.ELU()]
    layers.insert(1, nn.Sigmoid())
    assert [type(x).__name__ for x in layers] == ["ReLU", "Sigmoid", "ReLU", "Tanh", "ELU"]
    table = nn.ModuleDict({"a": nn.ReLU(), "b": nn.Tanh()})
    assert list(table) == ["a", "b"] and "a" in table and type(table.pop("a")) is nn.ReLU and len(table) == 1
    values = nn.ParameterList([torch.zeros(2), 3])
    assert isinstance(values[0], nn.Parameter) and values[1] == 3 and len(list(values.parameters())) == 1
    assert repr(values).split("\n")[1].strip() == "(0): Parameter containing: [torch.float32 of size 2]"
    named = nn.ParameterDict({"b": torch.zeros(2), "a": torch.zeros(1)})
    assert list(named.keys()) == ["a", "b"] and named.popitem()[0] == "b" and named.get("c") is None
