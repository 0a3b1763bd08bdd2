"""Handwritten digits, a whole training run: early stopping, the best model saved and loaded, the loss curve drawn."""

import argparse
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split
from tqdm import tqdm


def split_digits(seed):
    """Training, validation and test sets of the 1,797 images; a fifth is held out for the test."""
    digits = load_digits()
    images = torch.tensor(digits.data / 16, dtype=torch.float32)  # (1797, 64): 8x8 grey values in 0..1
    labels = torch.tensor(digits.target)  # (1797,), int64
    everything = TensorDataset(images, labels)
    tests = len(everything) // 5
    validation = len(everything) // 10
    sizes = [len(everything) - tests - validation, validation, tests]
    return random_split(everything, sizes, generator=torch.Generator().manual_seed(seed))


def evaluate(model, batches, device):
    """Mean loss and share of right answers."""
    model.eval()
    loss = right = count = 0
    with torch.no_grad():
        for images, labels in batches:
            images, labels = images.to(device), labels.to(device)
            scores = model(images)  # (batch, 10)
            loss += nn.functional.cross_entropy(scores, labels, reduction="sum").item()
            right += (scores.argmax(dim=1) == labels).sum().item()
            count += len(labels)
    return loss / count, right / count


def train(model, training, validation, epochs, patience, file, device):
    """Train until the validation loss has not improved for `patience` epochs; the best model stands in `file`."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    criterion = nn.CrossEntropyLoss()
    best, since, curve = float("inf"), 0, []
    progress = tqdm(range(1, epochs + 1), desc="digits", disable=None)
    for epoch in progress:
        model.train()
        total = count = 0
        for images, labels in training:
            images, labels = images.to(device), labels.to(device)
            optimizer.zero_grad()
            noisy = images + 0.15 * torch.randn_like(images)  # never the same picture twice
            loss = criterion(model(noisy), labels)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(labels)
            count += len(labels)
        unseen, accuracy = evaluate(model, validation, device)
        curve.append((total / count, unseen))
        tqdm.write(f"epoch {epoch} loss {total / count:.6f} validation {unseen:.6f} accuracy {accuracy:.4f}")
        progress.set_postfix(loss=f"{total / count:.4f}", accuracy=f"{accuracy:.4f}")
        if unseen < best:
            best, since = unseen, 0
            torch.save(model.state_dict(), file)
        else:
            since += 1
            if since == patience:
                tqdm.write(f"converged: no better for {patience} epochs")
                break
    return curve


def draw(file, curve):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.figure(figsize=(6, 4))
    for values, name in zip(zip(*curve), ("training", "validation")):
        pyplot.semilogy(range(1, len(values) + 1), values, label=name)
    pyplot.xlabel("epoch")
    pyplot.ylabel("cross entropy")
    pyplot.legend()
    pyplot.savefig(file, dpi=120)
    print(f"picture: {file}")


def make_model():
    return nn.Sequential(
        nn.Linear(64, 256),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(256, 128),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(128, 10),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=100, help="at most; it stops when it has converged")
    parser.add_argument("--patience", type=int, default=8, help="epochs without improvement before it stops")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the model and the picture")
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", help="where it runs (default: %(default)s)"
    )
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "digits.pt"

    torch.manual_seed(options.seed)
    training, validation, tests = split_digits(options.seed)
    model = make_model().to(options.device)
    print(model)
    curve = train(
        model,
        DataLoader(training, batch_size=32, shuffle=True),
        DataLoader(validation, batch_size=256),
        options.epochs,
        options.patience,
        file,
        options.device,
    )
    draw(options.out / "digits.png", curve)

    best = make_model().to(options.device)
    best.load_state_dict(torch.load(file, map_location=options.device))
    loss, accuracy = evaluate(best, DataLoader(tests, batch_size=256), options.device)
    print(f"best model, loaded from {file}: test loss {loss:.4f}, test accuracy {accuracy:.4f}")


if __name__ == "__main__":
    main()
