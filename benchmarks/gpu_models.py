"""The models of GPU rows, as programs write them with either framework."""

__all__ = ["gpt", "mlp", "resnet50"]


def mlp(torch, inward: int = 784, width: int = 2048, outward: int = 10):
    """Two hidden layers."""
    nn = torch.nn
    hidden = nn.Linear(inward, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
    return nn.Sequential(*hidden, nn.Linear(width, outward))


def gpt(torch, layers: int = 12, width: int = 768, heads: int = 12, tokens: int = 1024, alphabet: int = 50304):
    """GPT-2 without dropout (Radford and others, 2019), its attention by `scaled_dot_product_attention`."""
    nn = torch.nn

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.inward, self.outward = nn.Linear(width, 3 * width), nn.Linear(width, width)

        def forward(self, x):  # (batch, tokens, width)
            batch, length, _ = x.shape
            parts = (part.view(batch, length, heads, width // heads) for part in self.inward(x).split(width, dim=2))
            query, key, value = (part.transpose(1, 2) for part in parts)  # each (batch, heads, tokens, width / heads)
            seen = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
            return self.outward(seen.transpose(1, 2).reshape(batch, length, width))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.attention, self.norm2 = nn.LayerNorm(width), Attention(), nn.LayerNorm(width)
            self.mlp = nn.Sequential(
                nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width)
            )

        def forward(self, x):
            x = x + self.attention(self.norm1(x))
            return x + self.mlp(self.norm2(x))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.token, self.place = nn.Embedding(alphabet, width), nn.Embedding(tokens, width)
            self.blocks = nn.Sequential(*(Block() for _ in range(layers)))
            self.norm, self.scores = nn.LayerNorm(width), nn.Linear(width, alphabet, bias=False)

        def forward(self, x):  # (batch, tokens)
            x = self.token(x) + self.place(torch.arange(x.shape[1], device=x.device))
            return self.scores(self.norm(self.blocks(x))).flatten(0, 1)

    return GPT()


def resnet50(torch, classes: int = 1000):
    """ResNet-50 with the stride in the 3x3 convolution (He and others, 2015; torchvision's form)."""
    nn = torch.nn

    def conv(inward, outward, size, stride=1):
        return nn.Conv2d(inward, outward, size, stride=stride, padding=size // 2, bias=False)

    class Bottleneck(nn.Module):
        def __init__(self, inward, width, stride):
            super().__init__()
            outward = 4 * width
            self.conv1, self.norm1 = conv(inward, width, 1), nn.BatchNorm2d(width)
            self.conv2, self.norm2 = conv(width, width, 3, stride), nn.BatchNorm2d(width)
            self.conv3, self.norm3 = conv(width, outward, 1), nn.BatchNorm2d(outward)
            self.relu = nn.ReLU(inplace=True)
            self.shortcut = nn.Sequential()
            if stride != 1 or inward != outward:
                self.shortcut = nn.Sequential(conv(inward, outward, 1, stride), nn.BatchNorm2d(outward))

        def forward(self, x):
            y = self.relu(self.norm1(self.conv1(x)))
            y = self.relu(self.norm2(self.conv2(y)))
            return self.relu(self.norm3(self.conv3(y)) + self.shortcut(x))

    parts = [conv(3, 64, 7, 2), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2, padding=1)]
    inward = 64
    for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for i in range(count):
            parts.append(Bottleneck(inward, width, stride if i == 0 else 1))
            inward = 4 * width
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inward, classes))
