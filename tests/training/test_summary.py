"""`summary`: shapes, parameters and FLOPs of models whose figures are known."""

import sys

import pytest

import facula as torch
from facula import nn
from facula.core.modes import GUARD, LOCAL
from facula.training import summary


class Tied(nn.Module):
    """Shared modules, shared parameters, one that is never called, a product outside of modules."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(100, 16)
        self.first = nn.Linear(16, 16)
        self.again = self.first
        self.unused = nn.Linear(3, 3)
        self.head = nn.Linear(16, 100, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, x):
        x = self.again(self.first(self.embedding(x)))
        return self.head(x @ x.transpose(1, 2) @ x)


def test_linear_layers():
    found = summary(nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)), (32, 64))
    assert (found.parameters, found.trainable) == (9610, 9610)
    assert found.flops == 2 * 32 * (64 * 128 + 128 * 10)
    assert found.bytes == 4 * 32 * (128 + 128 + 10)
    assert found["1"].flops == 0 and found["1"].output == [(32, 128)] and found["2"].input == [(32, 128)]
    assert found["0"].parameters == 64 * 128 + 128
    assert found.seconds > 0


def test_shared_modules_and_parameters():
    found = summary(Tied(), torch.zeros(2, 7, dtype=torch.long))
    assert found.parameters == 100 * 16 + 16 * 16 + 16 + 12
    assert found["first"].calls == 2 and found["again"] is found["first"]
    assert found["first"].flops == 2 * (2 * 2 * 7 * 16 * 16)
    assert found["unused"].calls == 0
    assert found.flops == found["first"].flops + found["head"].flops + 2 * (2 * 7 * 7 * 16) * 2
    assert found.shared == [["embedding.weight", "head.weight"]]
    text = str(found)
    assert "(also again) ×2" in text and "not called" in text and "embedding.weight = head.weight" in text


@pytest.mark.parametrize(
    ("model", "shape", "flops"),
    [
        (nn.Conv2d(3, 8, 3), (2, 3, 10, 10), 2 * (2 * 8 * 8 * 8) * 27),
        (nn.Conv2d(4, 8, 3, groups=4), (1, 4, 5, 5), 2 * (8 * 3 * 3) * 9),
        (nn.ConvTranspose2d(4, 8, 3, stride=2), (1, 4, 5, 5), 2 * (4 * 5 * 5) * 8 * 9),
        (nn.LSTM(8, 16), (5, 3, 8), 2 * 15 * (64 * 8 + 64 * 16)),
        (nn.GRU(8, 16, num_layers=2), (5, 3, 8), 2 * 15 * 48 * (8 + 16 + 16 + 16)),
        (nn.LSTM(8, 16, proj_size=4), (5, 3, 8), 2 * 15 * (64 * 8 + 64 * 4 + 4 * 16)),
        (nn.BatchNorm1d(4), (3, 4), 0),
    ],
)
def test_flops(model, shape, flops):
    assert summary(model, shape).flops == flops


def test_attention():
    class Attention(nn.Module):
        def forward(self, q, k, v):
            return nn.functional.scaled_dot_product_attention(q, k, v)

    q, k, v = torch.randn(2, 4, 10, 8), torch.randn(2, 4, 12, 8), torch.randn(2, 4, 12, 6)
    assert summary(Attention(), [q, k, v]).flops == 2 * 2 * 4 * 10 * 12 * (8 + 6)
    layer = summary(nn.MultiheadAttention(16, 4), [(10, 2, 16)] * 3)
    assert layer.flops == 2 * (20 * 16 * 48 + 20 * 16 * 16) + 2 * 2 * 2 * 4 * 10 * 10 * 4


def test_nested_modules_hold_their_parts():
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.Tanh()), nn.Linear(4, 2))
    found = summary(model, {"input": (3, 4)})
    assert [layer.name for layer in found.layers] == ["", "0", "0.0", "0.1", "1"]
    assert found["0"].flops == found["0.0"].flops and found["0"].parameters == 20
    assert found.flops == found["0"].flops + found["1"].flops


def test_nothing_stays_behind():
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.5))
    model[1].eval()
    state, before = torch.get_rng_state(), model[0].running_mean.clone()
    summary(model, (3, 4))
    assert (torch.get_rng_state() == state).all() and (model[0].running_mean == before).all()
    assert model[0].num_batches_tracked == 0
    assert [m.training for m in model.modules()] == [True, True, False]
    assert (LOCAL.special, LOCAL.recorder, GUARD.active) == (0, None, [])
    assert not model[0]._forward_hooks
    from facula.nn.module import GLOBAL

    assert not GLOBAL.forward and not GLOBAL.forward_pre


def test_an_error_in_the_model_leaves_nothing_behind():
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        summary(nn.Sequential(nn.Linear(4, 4)), (3, 5))
    assert (LOCAL.special, LOCAL.recorder, GUARD.active) == (0, None, [])


def test_lazy_modules_find_their_shapes():
    assert summary(nn.Sequential(nn.LazyLinear(5)), (3, 7))["0"].parameters == 40


def test_printing_without_rich_says_what_to_install(monkeypatch):
    found = summary(nn.Linear(2, 2), (1, 2))
    for name in [n for n in sys.modules if n.partition(".")[0] == "rich"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs the package rich\n  mend: pip install 'facula\[training\]'"):
        str(found)


def test_unknown_layers_are_refused():
    with pytest.raises(KeyError, match="no layer 'x'"):
        summary(nn.Linear(2, 2), (1, 2))["x"]


def test_views_take_no_memory():
    assert summary(nn.Sequential(nn.Flatten(), nn.Unflatten(1, (3, 4))), (2, 3, 4)).bytes == 0
