"""One line through noisy points, fitted three times: gradients by hand, an optimizer, a Module with batches."""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split
from tqdm import tqdm


def points(seed):
    """100 points on y = 1 + 2x, with noise: x and y of shape (100, 1)."""
    random = np.random.RandomState(seed)
    x = random.rand(100, 1).astype(np.float32)
    y = 1 + 2 * x + 0.1 * random.randn(100, 1).astype(np.float32)
    return torch.from_numpy(x), torch.from_numpy(y.astype(np.float32))


def report(name, epoch, epochs, loss):
    if epoch <= 5 or epoch % max(1, epochs // 10) == 0:
        tqdm.write(f"{name} epoch {epoch} loss {loss:.6f}")


def by_hand(x, y, epochs, rate):
    """Parameters a and b; autograd gives their gradients, the update is written out."""
    a, b = (torch.randn(1).to(x.device).requires_grad_() for _ in range(2))  # leaves, made where they stay
    for epoch in tqdm(range(1, epochs + 1), desc="by hand", disable=None):
        error = y - (a + b * x)
        loss = (error**2).mean()
        loss.backward()
        with torch.no_grad():  # the update itself is not part of the function
            a -= rate * a.grad
            b -= rate * b.grad
        a.grad.zero_()
        b.grad.zero_()
        report("hand", epoch, epochs, loss.item())
    return a.item(), b.item()


def with_optimizer(x, y, epochs, rate):
    """The same, with `torch.optim` for the update and `MSELoss` for the loss."""
    a, b = (torch.randn(1).to(x.device).requires_grad_() for _ in range(2))  # leaves, made where they stay
    criterion = nn.MSELoss()
    optimizer = torch.optim.SGD([a, b], lr=rate)
    for epoch in tqdm(range(1, epochs + 1), desc="optimizer", disable=None):
        loss = criterion(a + b * x, y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        report("optim", epoch, epochs, loss.item())
    return a.item(), b.item()


class Line(nn.Module):
    """y = a + b x."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(1, 1)

    def forward(self, x):
        return self.linear(x)


def as_module(x, y, epochs, rate):
    """A Module, trained on batches of 16 and watched on a fifth that it does not train on."""
    training, validation = random_split(TensorDataset(x, y), [80, 20])
    batches = DataLoader(training, batch_size=16, shuffle=True)
    held_out = DataLoader(validation, batch_size=20)
    model = Line().to(x.device)
    print(model)
    print("before:", {name: round(value.item(), 4) for name, value in model.state_dict().items()})
    criterion = nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    for epoch in tqdm(range(1, epochs + 1), desc="module", disable=None):
        model.train()
        losses = []
        for some_x, some_y in batches:
            loss = criterion(model(some_x), some_y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            unseen = np.mean([criterion(model(some_x), some_y).item() for some_x, some_y in held_out])
        report("module", epoch, epochs, np.mean(losses))
    print("after:", {name: round(value.item(), 4) for name, value in model.state_dict().items()})
    print(f"loss on the held-out fifth {unseen:.6f}")
    return model.linear.bias.item(), model.linear.weight.item()


def draw(file, x, y, lines):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.figure(figsize=(6, 4))
    pyplot.scatter(x.cpu().numpy(), y.cpu().numpy(), s=12, color="grey", label="points")
    ends = np.array([0.0, 1.0])
    for (name, (a, b)), style in zip(lines.items(), ("-", "--", ":")):
        pyplot.plot(ends, a + b * ends, style, label=f"{name}: {a:.3f} + {b:.3f} x")
    pyplot.legend()
    pyplot.savefig(file, dpi=120)
    print(f"picture: {file}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--epochs", type=int, default=1000, help="for each full-batch fit; the Module takes a tenth")
    parser.add_argument("--rate", type=float, default=0.1, help="learning rate")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the picture")
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", help="where it runs (default: %(default)s)"
    )
    options = parser.parse_args()

    x, y = (values.to(options.device) for values in points(options.seed))
    lines = {}
    fits = (("hand", by_hand, 1), ("optim", with_optimizer, 1), ("module", as_module, 10))
    for name, fit, fraction in fits:
        torch.manual_seed(options.seed)  # each starts from the same numbers
        lines[name] = fit(x, y, max(1, options.epochs // fraction), options.rate)
        print("{}: a = {:.4f}, b = {:.4f}".format(name, *lines[name]))
    options.out.mkdir(parents=True, exist_ok=True)
    draw(options.out / "linear_regression.png", x, y, lines)


if __name__ == "__main__":
    main()
