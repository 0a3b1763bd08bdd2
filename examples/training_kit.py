"""Handwritten digits once more, with facula's training kit in place of a loop by hand: `fit`, metrics, pictures.

The other examples are programs for PyTorch as they stand; this one imports facula by its name, for `facula.training`
and `facula.plots` are facula's own. What the loop of `examples/digits.py` spells out is here an argument.
"""

import argparse
from pathlib import Path

from sklearn.datasets import load_digits

import facula as torch
from facula import nn
from facula.plots import plot_confusion, plot_history, plot_images, plot_model
from facula.training import F1, Accuracy, ConfusionMatrix, TopK, evaluate, fit, predict, summary
from facula.utils.data import DataLoader, TensorDataset, random_split


def split_digits(seed):
    """Training, validation and test sets of the 1,797 images; a fifth is held out for the test."""
    digits = load_digits()
    images = torch.tensor(digits.images / 16, dtype=torch.float32).unsqueeze(1)  # (1797, 1, 8, 8): grey values in 0..1
    everything = TensorDataset(images, torch.tensor(digits.target))
    tests, validation = len(everything) // 5, len(everything) // 10
    sizes = [len(everything) - tests - validation, validation, tests]
    return random_split(everything, sizes, generator=torch.Generator().manual_seed(seed))


def make_model():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(32 * 4 * 4, 10),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=40, help="at most; it stops when it has converged")
    parser.add_argument("--patience", type=int, default=5, help="epochs without improvement before it stops")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the model, the history, the pictures")
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", help="where it runs (default: %(default)s)"
    )
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(options.seed)
    training, validation, tests = split_digits(options.seed)
    model = make_model()
    example = torch.zeros(32, 1, 8, 8)
    print(summary(model, example))
    plot_model(model, example).save(options.out / "training_kit_model.svg")

    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    history = fit(
        model,
        training,
        nn.CrossEntropyLoss(),
        optimizer,
        options.epochs,
        validation=validation,
        metrics=[Accuracy()],
        scheduler=torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=2),
        clip_norm=5.0,
        patience=options.patience,
        device=options.device,
        best_file=options.out / "training_kit.pt",
        history_file=options.out / "training_kit.csv",
    )  # Ctrl-C ends it as if it had converged
    for row in history.rows:
        loss, unseen, accuracy = row["loss"], row["validation loss"], row["validation accuracy"]
        print(f"epoch {row['epoch']} loss {loss:.6f} validation {unseen:.6f} accuracy {accuracy:.4f}")
    print(f"stopped: {history.stopped}; best epoch: {history.best_epoch}")
    plot_history(history).savefig(options.out / "training_kit_history.png", dpi=120)

    metrics = [Accuracy(), TopK(2), F1(), ConfusionMatrix(10)]
    found = evaluate(model, tests, nn.CrossEntropyLoss(), metrics, device=options.device)
    for name in ("loss", "accuracy", "top-2", "F1"):
        print(f"test {name} {found[name]:.4f}")
    plot_confusion(found["confusion"]).savefig(options.out / "training_kit_confusion.png", dpi=120)

    predicted = predict(model, tests, device=options.device).argmax(dim=1)
    images, labels = next(iter(DataLoader(tests, len(tests))))
    wrong = (predicted.cpu() != labels).nonzero().flatten().tolist()
    print(f"{len(wrong)} of {len(tests)} are wrong")
    if wrong:
        titles = [f"{labels[i].item()} as {predicted[i].item()}" for i in wrong[:16]]
        plot_images(images[wrong[:16]], titles).savefig(options.out / "training_kit_wrong.png", dpi=120)


if __name__ == "__main__":
    main()
