"""Two layers that learn random numbers by heart: as a Sequential, as a Module, and with four kinds of optimizer."""

import argparse
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

N, D_in, H, D_out = 64, 1000, 100, 10  # batch, input, hidden, output


class TwoLayerNet(nn.Module):
    """y = W2 max(0, W1 x + b1) + b2, with the graph built by ordinary Python."""

    def __init__(self, D_in, H, D_out):
        super().__init__()
        self.linear1 = nn.Linear(D_in, H)
        self.linear2 = nn.Linear(H, D_out)

    def forward(self, x):
        hidden = self.linear1(x).clamp(min=0)
        return self.linear2(hidden)


def sequential(activation):
    return nn.Sequential(nn.Linear(D_in, H), activation, nn.Linear(H, D_out))


# What to train, and with which optimizer. The learning rates fit a loss that is summed, not averaged.
VARIANTS = {
    "adam": (lambda: sequential(nn.ReLU()), lambda p: torch.optim.Adam(p, lr=1e-4)),
    "sgd": (lambda: TwoLayerNet(D_in, H, D_out), lambda p: torch.optim.SGD(p, lr=1e-4, momentum=0.5)),
    "sigmoid": (lambda: sequential(nn.Sigmoid()), lambda p: torch.optim.Adam(p, lr=1e-3)),
    "softmax": (lambda: sequential(nn.Softmax(dim=1)), lambda p: torch.optim.Adam(p, lr=1e-2)),
    "adagrad": (lambda: TwoLayerNet(D_in, H, D_out), lambda p: torch.optim.Adagrad(p, lr=1e-2)),
    "rmsprop": (lambda: TwoLayerNet(D_in, H, D_out), lambda p: torch.optim.RMSprop(p, lr=1e-4)),
}


def train(name, x, y, steps):
    """Losses of `steps` full-batch steps."""
    make_model, make_optimizer = VARIANTS[name]
    model = make_model().to(x.device)
    optimizer = make_optimizer(model.parameters())
    criterion = nn.MSELoss(reduction="sum")
    losses = []
    for step in tqdm(range(1, steps + 1), desc=name, disable=None):
        prediction = model(x)  # (N, D_out)
        loss = criterion(prediction, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if step <= 5 or step % max(1, steps // 10) == 0:
            tqdm.write(f"{name} epoch {step} loss {losses[-1]:.6f}")
    return losses


def draw(file, curves):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.figure(figsize=(6, 4))
    for name, losses in curves.items():
        pyplot.semilogy(losses, label=name)
    pyplot.xlabel("step")
    pyplot.ylabel("summed squared error")
    pyplot.legend()
    pyplot.savefig(file, dpi=120)
    print(f"picture: {file}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=500, help="steps over the one batch")
    parser.add_argument("--only", choices=VARIANTS, help="train this variant alone")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the picture")
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", help="where it runs (default: %(default)s)"
    )
    options = parser.parse_args()

    curves = {}
    for name in [options.only] if options.only else VARIANTS:
        torch.manual_seed(options.seed)
        x, y = torch.randn(N, D_in), torch.randn(N, D_out)
        curves[name] = train(name, x.to(options.device), y.to(options.device), options.epochs)
        print(f"{name}: loss {curves[name][0]:.4f} -> {curves[name][-1]:.6f}")
    options.out.mkdir(parents=True, exist_ok=True)
    draw(options.out / "two_layer_net.png", curves)


if __name__ == "__main__":
    main()
