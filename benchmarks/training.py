"""Rows for whole training steps: zero_grad, forward, loss, backward, update, as programs write them."""

from .harness import row


def stepper(model, optimizer, criterion, x, y):
    """The step, which returns its loss."""

    def run():
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return run


def training(name, least=1.2, **options):
    return row("training steps", name, least, **options)


@training("linear regression by hand, 80 points")
def by_hand(torch):
    x = torch.rand(80, 1)
    y = 1 + 2 * x
    a, b = torch.randn(1, requires_grad=True), torch.randn(1, requires_grad=True)

    def run():
        loss = ((y - (a + b * x)) ** 2).mean()
        loss.backward()
        with torch.no_grad():
            a.sub_(0.01 * a.grad)
            b.sub_(0.01 * b.grad)
        a.grad.zero_()
        b.grad.zero_()
        return loss.detach()

    return run


@training("linear regression, Linear(1, 1) and SGD, 80 points")
def linear_regression(torch):
    x = torch.rand(80, 1)
    model = torch.nn.Linear(1, 1)
    return stepper(model, torch.optim.SGD(model.parameters(), lr=0.01), torch.nn.MSELoss(), x, 1 + 2 * x)


@training("MLP 64-128-10, Adam, batch 32")
def mlp(torch):
    nn = torch.nn
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    x, y = torch.randn(32, 64), torch.randint(10, (32,))
    return stepper(model, torch.optim.Adam(model.parameters(), lr=1e-4), nn.CrossEntropyLoss(), x, y)


@training("digits 64-256-128-10 with dropout, Adam, batch 32")
def digits(torch):
    nn = torch.nn
    hidden = nn.Linear(64, 256), nn.ReLU(), nn.Dropout(0.2), nn.Linear(256, 128), nn.ReLU(), nn.Dropout(0.2)
    model = nn.Sequential(*hidden, nn.Linear(128, 10))
    x, y = torch.rand(32, 64), torch.randint(10, (32,))
    return stepper(model, torch.optim.Adam(model.parameters(), lr=1e-4), nn.CrossEntropyLoss(), x, y)


@training("MLP 784-2048-2048-10, Adam, batch 128")
def large_mlp(torch):
    nn = torch.nn
    hidden = nn.Linear(784, 2048), nn.ReLU(), nn.Linear(2048, 2048), nn.ReLU()
    model = nn.Sequential(*hidden, nn.Linear(2048, 10))
    x, y = torch.randn(128, 784), torch.randint(10, (128,))
    return stepper(model, torch.optim.Adam(model.parameters(), lr=1e-4), nn.CrossEntropyLoss(), x, y)


@training("text classifier, 29572 words, 100-100-3, Adam, batch 150")
def newsgroups(torch):
    nn = torch.nn
    words = 29572
    model = nn.Sequential(nn.Linear(words, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 3))
    x = (torch.rand(150, words) < 0.005).float()
    y = torch.randint(3, (150,))
    return stepper(model, torch.optim.Adam(model.parameters(), lr=1e-4), nn.CrossEntropyLoss(), x, y)


@training("LeNet-like CNN, 28x28, Adam, batch 64")
def cnn(torch):
    nn = torch.nn
    features = nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(2)
    model = nn.Sequential(*features, nn.Flatten(), nn.Linear(800, 128), nn.ReLU(), nn.Linear(128, 10))
    x, y = torch.randn(64, 1, 28, 28), torch.randint(10, (64,))
    return stepper(model, torch.optim.Adam(model.parameters(), lr=1e-4), nn.CrossEntropyLoss(), x, y)


@training("ResNet-18 (CIFAR, 32x32), SGD with momentum, batch 16", compare=False)  # batch norm amplifies the last bits
def resnet(torch):
    nn = torch.nn

    def conv(inward, outward, size, stride):
        return nn.Conv2d(inward, outward, size, stride=stride, padding=size // 2, bias=False)

    class Block(nn.Module):
        def __init__(self, inward, outward, stride):
            super().__init__()
            self.conv1, self.norm1 = conv(inward, outward, 3, stride), nn.BatchNorm2d(outward)
            self.conv2, self.norm2 = conv(outward, outward, 3, 1), nn.BatchNorm2d(outward)
            self.relu = nn.ReLU(inplace=True)
            self.shortcut = nn.Sequential()
            if stride != 1 or inward != outward:
                self.shortcut = nn.Sequential(conv(inward, outward, 1, stride), nn.BatchNorm2d(outward))

        def forward(self, x):
            y = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x)))))
            return self.relu(y + self.shortcut(x))

    parts = [conv(3, 64, 3, 1), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
    inward = 64
    for outward, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        parts += [Block(inward, outward, stride), Block(outward, outward, 1)]
        inward = outward
    model = nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))
    x, y = torch.randn(16, 3, 32, 32), torch.randint(10, (16,))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)
    return stepper(model, optimizer, nn.CrossEntropyLoss(), x, y)


@training("LSTM 32-128, 64 steps, Adam, batch 16")
def lstm(torch):
    nn = torch.nn

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(65, 32)
            self.lstm = nn.LSTM(32, 128)
            self.scores = nn.Linear(128, 65)

        def forward(self, x):
            states, _ = self.lstm(self.embedding(x))
            return self.scores(states).flatten(0, 1)

    model = Model()
    x, y = torch.randint(65, (64, 16)), torch.randint(65, (64 * 16,))
    return stepper(model, torch.optim.Adam(model.parameters(), lr=1e-4), nn.CrossEntropyLoss(), x, y)


@training("GPT, 4 layers of 128, 4 heads, 64 tokens, AdamW, batch 16")
def gpt(torch):
    nn = torch.nn
    width, heads, tokens, alphabet = 128, 4, 64, 65

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.inward = nn.Linear(width, 3 * width)
            self.outward = nn.Linear(width, width)
            self.register_buffer("later", torch.triu(torch.ones(tokens, tokens), 1).bool())

        def forward(self, x):  # (batch, tokens, width)
            batch = x.shape[0]
            parts = self.inward(x).view(batch, tokens, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
            query, key, value = parts.unbind(0)  # each (batch, heads, tokens, width / heads)
            scores = (query @ key.transpose(-2, -1)) * (width // heads) ** -0.5
            weights = scores.masked_fill(self.later, float("-inf")).softmax(-1)
            return self.outward((weights @ value).transpose(1, 2).reshape(batch, tokens, width))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.attention = nn.LayerNorm(width), Attention()
            self.norm2 = nn.LayerNorm(width)
            self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

        def forward(self, x):
            x = x + self.attention(self.norm1(x))
            return x + self.mlp(self.norm2(x))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.token, self.place = nn.Embedding(alphabet, width), nn.Embedding(tokens, width)
            self.blocks = nn.Sequential(*(Block() for _ in range(4)))
            self.norm, self.scores = nn.LayerNorm(width), nn.Linear(width, alphabet, bias=False)

        def forward(self, x):  # (batch, tokens)
            x = self.token(x) + self.place(torch.arange(tokens))
            return self.scores(self.norm(self.blocks(x))).flatten(0, 1)

    model = GPT()
    x, y = torch.randint(alphabet, (16, tokens)), torch.randint(alphabet, (16 * tokens,))
    return stepper(model, torch.optim.AdamW(model.parameters(), lr=1e-4), nn.CrossEntropyLoss(), x, y)


@training("embedding bag 20000 x 64, linear, SGD, batch 64 of 100 words")
def embedding_bag(torch):
    nn = torch.nn

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.scores = nn.EmbeddingBag(20000, 64), nn.Linear(64, 4)

        def forward(self, x):
            return self.scores(self.words(*x))

    model = Model()
    x = torch.randint(20000, (6400,)), torch.arange(0, 6400, 100)
    return stepper(
        model, torch.optim.SGD(model.parameters(), lr=0.1), nn.CrossEntropyLoss(), x, torch.randint(4, (64,))
    )
