"""A recording of a model's run: every layer's output is connected with its input, whatever machine code did it."""

import threading

import pytest

import facula as torch
from facula import nn
from facula.core.modes import GUARD, LOCAL
from facula.recording import Record, operator_title, record, watching


def x(*shape):
    return torch.randn(*shape)


PLAIN = """ReLU ReLU6 ELU SELU CELU GELU SiLU Mish Sigmoid Tanh Hardswish Hardsigmoid Hardtanh LeakyReLU PReLU
LogSigmoid Softplus Softshrink Hardshrink Tanhshrink Softsign RReLU""".split()
LAYERS = [
    (nn.Linear(4, 3), x(2, 4)),
    (nn.Conv1d(2, 3, 3), x(1, 2, 8)),
    (nn.Conv2d(2, 3, 3, padding=1), x(1, 2, 8, 8)),
    (nn.Conv3d(2, 3, 3), x(1, 2, 5, 5, 5)),
    (nn.ConvTranspose2d(2, 3, 3), x(1, 2, 8, 8)),
    (nn.MaxPool1d(2), x(1, 2, 8)),
    (nn.MaxPool2d(2), x(1, 2, 8, 8)),
    (nn.MaxPool3d(2), x(1, 2, 4, 4, 4)),
    (nn.AvgPool1d(2), x(1, 2, 8)),
    (nn.AvgPool2d(2), x(1, 2, 8, 8)),
    (nn.AdaptiveAvgPool2d(1), x(1, 2, 8, 8)),
    (nn.AdaptiveMaxPool2d((3, 3)), x(1, 2, 8, 8)),
    (nn.LPPool2d(2, 2), x(1, 2, 8, 8)),
    (nn.FractionalMaxPool2d(2, output_size=3), x(1, 2, 8, 8)),
    (nn.MaxUnpool2d(2), [x(1, 1, 2, 2), torch.tensor([[[[0, 2], [8, 10]]]])]),
    (nn.BatchNorm1d(4), x(3, 4)),
    (nn.BatchNorm2d(2), x(1, 2, 8, 8)),
    (nn.LayerNorm(4), x(3, 4)),
    (nn.RMSNorm(4), x(3, 4)),
    (nn.GroupNorm(2, 4), x(3, 4, 5)),
    (nn.InstanceNorm2d(2), x(1, 2, 8, 8)),
    (nn.LocalResponseNorm(2), x(1, 4, 8, 8)),
    (nn.Upsample(scale_factor=2), x(1, 2, 4, 4)),
    (nn.Upsample(scale_factor=2, mode="bilinear"), x(1, 2, 4, 4)),
    (nn.PixelShuffle(2), x(1, 4, 4, 4)),
    (nn.Unfold(2), x(1, 4, 4, 4)),
    (nn.Fold((4, 4), 2), x(1, 16, 9)),
    (nn.ZeroPad2d(1), x(1, 4, 4, 4)),
    (nn.ReflectionPad2d(1), x(1, 4, 4, 4)),
    (nn.ReplicationPad2d(1), x(1, 4, 4, 4)),
    (nn.CircularPad2d(1), x(1, 4, 4, 4)),
    (nn.ChannelShuffle(2), x(1, 4, 4, 4)),
    (nn.Flatten(), x(1, 4, 4)),
    (nn.Softmax(1), x(2, 3)),
    (nn.LogSoftmax(1), x(2, 3)),
    (nn.GLU(), x(2, 4)),
    (nn.MultiheadAttention(4, 2), [x(3, 2, 4)] * 3),
    (nn.RNN(4, 5), x(3, 2, 4)),
    (nn.GRU(4, 5), x(3, 2, 4)),
    (nn.LSTM(4, 5, proj_size=2), x(3, 2, 4)),
    (nn.LSTMCell(4, 5), x(2, 4)),
    (nn.Embedding(4, 5), torch.tensor([1, 2])),
    (nn.EmbeddingBag(4, 5), torch.tensor([[1, 2]])),
    (nn.Transformer(8, 2, 1, 1, 16, batch_first=True), [x(3, 1, 8), x(3, 1, 8)]),
    (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), x(3, 2, 8)),
    (nn.Bilinear(2, 3, 4), [x(5, 2), x(5, 3)]),
    (nn.CosineSimilarity(), [x(5, 2), x(5, 2)]),
    *((getattr(nn, name)(), x(3, 4)) for name in PLAIN),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("layer", "example"), LAYERS, ids=lambda value: type(value).__name__)
def test_outputs_are_connected_with_inputs(layer, example):
    seen = record(layer, example)
    given = {id(t.storage) for t in seen.inputs}
    waiting, done = [seen.maker(seen.outputs[0])], set()
    assert waiting[0] is not None
    while waiting:
        call = waiting.pop()
        if call is None or id(call) in done:
            continue
        if any(id(t.storage) in given for t in call.inputs):
            return
        done.add(id(call))
        waiting += call.sources
    raise AssertionError(f"{layer}: {[call.title for call in seen.order]}")


def test_writing_in_place_is_seen():
    class Writes(nn.Module):
        def forward(self, x):
            y = x + 1
            y[0] = 0
            y.mul_(2)
            return y.exp()

    seen = record(Writes(), torch.ones(3))
    (last,) = [call for call in seen.order if call.title == "exp"]
    titles = [last.sources[0].title, last.sources[0].sources[0].title, last.sources[0].sources[0].sources[0].title]
    assert titles == ["mul", "write", "add"]


def test_visits_are_a_tree():
    shared = nn.Linear(2, 2)
    model = nn.Sequential(nn.Sequential(shared, nn.ReLU()), shared)
    seen = record(model, torch.zeros(1, 2))
    (root,) = seen.root.parts
    assert [v.name for v in root.parts] == ["0", "0.0"]  # the second path of a module is its first
    assert [v.name for v in seen.order[1].visit.path()] == ["", "", "0", "0.1"]
    assert [t.shape for t in root.outputs] == [(1, 2)]


def test_other_threads_are_not_watched():
    model = nn.Linear(2, 2)
    seen = Record(model)
    with watching(seen):
        other = threading.Thread(target=lambda: model(torch.zeros(1, 2)))
        other.start()
        other.join()
    assert seen.order == [] and seen.root.parts == []


def test_function_transforms_are_one_operator_each():
    class Mapped(nn.Module):
        def forward(self, x):
            return torch.vmap(torch.exp)(x)

    assert [call.title for call in record(Mapped(), torch.zeros(3, 2)).order] == ["exp"]


def test_it_ends_with_the_block():
    with pytest.raises(ZeroDivisionError), watching(Record(nn.Linear(2, 2))):
        raise ZeroDivisionError
    assert (LOCAL.special, LOCAL.recorder, GUARD.active) == (0, None, [])


def test_names_of_operators():
    assert [operator_title(n) for n in ("sum_rows", "view_shape", "true_divide", "mm")] == ["sum", "view", "div", "mm"]
