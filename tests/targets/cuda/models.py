"""Small models with one batch of data each: what steps of training on 'cuda' are tested with."""

from collections.abc import Callable

import facula
from facula import nn
from facula.amp import autocast
from facula.nn import functional as F

__all__ = ["MODELS", "Model"]

Model = tuple[nn.Module, Callable[..., facula.Tensor], tuple[facula.Tensor, ...]]  # and a loss of the module's data


class Residual(nn.Module):
    """Convolutions with batch norm, one of them added to what it takes."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.second, self.other = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.pool, self.last = nn.AdaptiveAvgPool2d(1), nn.Linear(4, 3)

    def forward(self, x):
        x = F.relu(self.norm(self.first(x)))
        x = F.relu(self.other(self.second(x)) + x)
        return self.last(self.pool(x).flatten(1))


class Recurrent(nn.Module):
    """Two layers of an LSTM over an embedding."""

    def __init__(self):
        super().__init__()
        self.embedding, self.last = nn.Embedding(7, 4), nn.Linear(5, 7)
        self.layers = nn.LSTM(4, 5, num_layers=2, dropout=0.2, batch_first=True)

    def forward(self, x):
        return self.last(self.layers(self.embedding(x))[0])


class Attentive(nn.Module):
    """One block of a GPT, with the weights of its embedding in its last layer."""

    def __init__(self):
        super().__init__()
        self.embedding, self.places = nn.Embedding(7, 8), nn.Embedding(6, 8)
        self.norms = nn.ModuleList([nn.LayerNorm(8) for _ in range(3)])
        self.parts, self.joined = nn.Linear(8, 24), nn.Linear(8, 8)
        self.wide, self.narrow = nn.Linear(8, 16), nn.Linear(16, 8)
        self.last, self.dropout = nn.Linear(8, 7, bias=False), nn.Dropout(0.1)
        self.last.weight = self.embedding.weight

    def forward(self, x):
        batch, steps = x.shape
        x = self.dropout(self.embedding(x) + self.places(facula.arange(steps, device=x.device)))
        q, k, v = self.parts(self.norms[0](x)).view(batch, steps, 3, 2, 4).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.joined(seen.transpose(1, 2).reshape(batch, steps, 8))
        x = x + self.dropout(self.narrow(F.gelu(self.wide(self.norms[1](x)))))
        return self.last(self.norms[2](x))


def _classified(model: nn.Module, x, y) -> facula.Tensor:
    return F.cross_entropy(model(x), y)


def _next(model: nn.Module, x, y) -> facula.Tensor:
    return F.cross_entropy(model(x).flatten(0, 1), y.flatten())


def layers(where: str) -> Model:
    """Linear layers with dropout."""
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3)).to(where)
    return model, _classified, (facula.randn(5, 6).to(where), facula.tensor([0, 1, 2, 1, 0]).to(where))


def convolutions(where: str) -> Model:
    """Convolutions with biases and pooling."""
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(16, 3)
    ).to(where)
    return model, _classified, (facula.randn(2, 3, 8, 8).to(where), facula.tensor([0, 2]).to(where))


def residual(where: str) -> Model:
    """`Residual` with channels innermost."""
    model = Residual().to(where).to(memory_format=facula.channels_last)
    x = facula.randn(2, 3, 6, 6).to(where).to(memory_format=facula.channels_last)
    return model, _classified, (x, facula.tensor([0, 2]).to(where))


def recurrent(where: str) -> Model:
    """`Recurrent` on some text."""
    model, text = Recurrent().to(where), facula.randint(7, (2, 4)).to(where)
    return model, _next, (text[:, :-1].contiguous(), text[:, 1:].contiguous())


def attentive(where: str, kind: facula.dtype | None = None) -> Model:
    """`Attentive` on some text; with `kind`, under autocast."""
    model, text = Attentive().to(where), facula.randint(7, (2, 6)).to(where)

    def loss(model, x, y):
        with autocast(where, kind, enabled=kind is not None, cache_enabled=False):
            return _next(model, x, y)

    return model, loss, (text[:, :-1].contiguous(), text[:, 1:].contiguous())


MODELS: dict[str, Callable[[str], Model]] = {
    "layers": layers, "convolutions": convolutions, "residual": residual, "recurrent": recurrent,
    "attentive": attentive, "attentive in bfloat16": lambda where: attentive(where, facula.bfloat16),
    "attentive in float16": lambda where: attentive(where, facula.float16),
}  # fmt: skip
