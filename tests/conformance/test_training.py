"""FLOPs of `summary` beside PyTorch's counter."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import facula
from facula.training import summary


def attention(t):
    class Attention(t.nn.Module):
        def forward(self, x):
            return t.nn.functional.scaled_dot_product_attention(x, x, x) @ x.transpose(-1, -2)

    return Attention()


MODELS = {
    "linear": (lambda t: t.nn.Sequential(t.nn.Linear(6, 8), t.nn.ReLU(), t.nn.Linear(8, 2, bias=False)), (5, 6)),
    "linear of three dims": (lambda t: t.nn.Linear(6, 8), (5, 4, 6)),
    "conv1d": (lambda t: t.nn.Conv1d(3, 8, 3, stride=2), (2, 3, 20)),
    "conv2d": (lambda t: t.nn.Conv2d(4, 8, (3, 5), padding=1, groups=2), (2, 4, 12, 13)),
    "conv3d": (lambda t: t.nn.Conv3d(2, 4, 3, dilation=2), (1, 2, 8, 8, 8)),
    "transposed": (lambda t: t.nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), (2, 4, 7, 7)),
    "attention": (attention, (2, 3, 10, 8)),
    "encoder": (lambda t: t.nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), (3, 7, 16)),
    "no product": (lambda t: t.nn.Sequential(t.nn.BatchNorm1d(4), t.nn.Softmax(1)), (3, 4)),
}


@pytest.mark.parametrize("name", MODELS)
def test_flops(name):
    make, shape = MODELS[name]
    counter = FlopCounterMode(display=False)
    # In training mode, without dropout: PyTorch's fast path of encoders has operators that its counter does not know.
    model = make(torch).train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout | torch.nn.MultiheadAttention):
            module.p = module.dropout = 0.0
    with counter, sdpa_kernel(SDPBackend.MATH):  # the counter knows no formula of the CPU's own kernel
        model(torch.zeros(shape))
    assert summary(make(facula), shape).flops == counter.get_total_flops()
