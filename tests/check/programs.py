"""Small training programs, most with one slip each, and what a dry run is to find: (kind, text of the line)."""

HEAD = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x, y = torch.randn(64, 8), torch.randint(3, (64,))
loader = DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True)
"""

CLEAN = (
    HEAD
    + """
model = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 3))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
best = float("inf")
for epoch in range(3):
    model.train()
    total = 0.0
    for a, b in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(a), b)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        total += loss.item()
    model.eval()
    with torch.no_grad():
        right = sum((model(a).argmax(1) == b).sum().item() for a, b in loader)
    if total / len(loader) < best:
        best = total / len(loader)
        torch.save(model.state_dict(), "never_written.pt")
    print(epoch, total / len(loader), right / len(x))
model.load_state_dict(torch.load("never_written.pt"))
"""
)


def training(model="nn.Linear(8, 3)", loss="nn.functional.cross_entropy(out, b)", parameters="model.parameters()",
             clear="optimizer.zero_grad()", after="", before="", more=""):  # fmt: skip
    return (
        HEAD
        + f"""
{before}
model = {model}
optimizer = torch.optim.SGD({parameters}, lr=0.1, momentum=0.9)
for epoch in range(3):
    for a, b in loader:
        {clear}
        out = model(a)
        loss = {loss}
        loss.backward()
        optimizer.step()
        {more}
{after}
"""
    )


TWO = "nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))"
UNUSED = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(8, 3), nn.Linear(8, 3)

    def forward(self, x):
        return self.used(x)
"""
ACCUMULATING = """
model = nn.Linear(8, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(3):
    for i, (a, b) in enumerate(loader):
        (nn.functional.cross_entropy(model(a), b) / 2).backward()
        if i % 2:
            optimizer.step()
            optimizer.zero_grad()
"""
BY_HAND = """
w = torch.randn(8, 1, requires_grad=True)
for step in range(5):
    loss = ((x @ w - y.float().unsqueeze(1)) ** 2).mean()
    loss.backward()
    with torch.no_grad():
        w -= 0.1 * w.grad
        w.grad.zero_()
"""
CLOSURE = """
model = nn.Linear(8, 3)
optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)


def closure():
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    return loss


for _ in range(3):
    optimizer.step(closure)
"""
ADVERSARIAL = """
maker, judge = nn.Linear(4, 8), nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.1), nn.Linear(16, 1))
first, second = torch.optim.Adam(maker.parameters()), torch.optim.Adam(judge.parameters())
criterion = nn.BCEWithLogitsLoss()
for a, _ in loader:
    made = maker(torch.randn(len(a), 4))
    second.zero_grad()
    (criterion(judge(a), torch.ones(len(a), 1)) + criterion(judge(made.detach()), torch.zeros(len(a), 1))).backward()
    second.step()
    first.zero_grad()
    criterion(judge(made), torch.ones(len(a), 1)).backward()
    first.step()
"""
REGRESSION = "nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))"

# name: (program, findings)
PROGRAMS = {
    "clean": (CLEAN, []),
    "clean, gradients over two batches": (HEAD + ACCUMULATING, []),
    "clean, by hand": (HEAD + BY_HAND, []),
    "clean, looked at before": (training().replace("optimizer =", "print(model(x).shape)\noptimizer ="), []),
    "clean, a closure": (HEAD + CLOSURE, []),
    "clean, two optimizers": (HEAD + ADVERSARIAL, []),
    "clean, regression": (training(REGRESSION, "nn.functional.mse_loss(out.squeeze(-1), b.float())"), []),
    "shapes": (
        training("nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(17, 3))"),
        [("exception", "out = model(a)")],
    ),
    "dtypes": (training(loss="nn.functional.cross_entropy(out, b.int())"), [("exception", "cross_entropy(out, b.int")]),
    "devices": (training(loss="nn.functional.cross_entropy(out, b.to('meta'))"), [("exception", "b.to('meta')")]),
    "error of its own": (HEAD + "\nraise KeyError('no such column')\n", [("exception", "raise KeyError")]),
    "zero_grad": (training(clear="pass"), [("zero_grad", "optimizer.step()")]),
    "softmax": (training(loss="nn.CrossEntropyLoss()(out.softmax(-1), b)"), [("softmax", "out.softmax(-1)")]),
    "log_softmax": (
        training("nn.Sequential(nn.Linear(8, 3), nn.LogSoftmax(1))", "nn.functional.cross_entropy(out, b)"),
        [("softmax", "cross_entropy(out, b)")],
    ),
    "sigmoid": (
        training("nn.Sequential(nn.Linear(8, 1), nn.Sigmoid())",
                 "nn.functional.binary_cross_entropy_with_logits(out.squeeze(1), b.float())"),
        [("softmax", "binary_cross_entropy_with_logits")],
    ),
    "probabilities": (training(loss="nn.functional.nll_loss(out.softmax(1), b)"), [("probabilities", "nll_loss")]),
    "broadcast": (training(REGRESSION, "nn.MSELoss()(out, b.float())"), [("broadcast", "nn.MSELoss()")]),
    "broadcast by hand": (training(REGRESSION, "((out - b.float()) ** 2).mean()"), [("broadcast", "out - b.float()")]),
    "no optimizer": (training(TWO, parameters="model[0].parameters()"), [("no_optimizer", "torch.optim.SGD")]),
    "no gradient": (training("Net()", before=UNUSED), [("no_gradient", "out = model(a)")]),
    "eval": (training(TWO, after="with torch.no_grad():\n    print(model(x).argmax(1))"), [("eval", "print(model(x)")]),
    "no_grad": (training(TWO, after="model.eval()\nprint(model(x).argmax(1))"), [("no_grad", "print(model(x)")]),
    "sum of losses": (training(before="total = 0", more="total = total + loss"), [("kept_graph", "total + loss")]),
    "list of losses": (training(before="losses = []", more="losses.append(loss)"), [("kept_graph", "loss = ")]),
}  # fmt: skip
