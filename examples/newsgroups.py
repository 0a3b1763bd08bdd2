"""Which newsgroup is a text from? Bags of words through three linear layers, on three groups of 20 Newsgroups."""

import argparse
import re
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

GROUPS = ("comp.graphics", "sci.space", "rec.sport.baseball")
HIDDEN = 100


def from_archive(file, subset):
    """Texts and group numbers of `subset` ("train" or "test") in a 20news-bydate archive."""
    texts, labels = [], []
    with tarfile.open(file) as archive:
        for member in sorted(archive, key=lambda member: member.name):
            parts = member.name.split("/")
            if member.isfile() and len(parts) >= 3 and parts[-3].endswith(subset) and parts[-2] in GROUPS:
                texts.append(archive.extractfile(member).read().decode("latin-1"))
                labels.append(GROUPS.index(parts[-2]))
    return texts, np.array(labels)


def from_scikit_learn(subset):
    """The same, fetched by scikit-learn (it keeps a copy)."""
    from sklearn.datasets import fetch_20newsgroups

    fetched = fetch_20newsgroups(subset=subset, categories=GROUPS, shuffle=False)
    names = [fetched.target_names[i] for i in fetched.target]
    return fetched.data, np.array([GROUPS.index(name) for name in names])


def words(text):
    return re.findall(r"[a-z0-9']+", text.lower())


def get_batch(bags, labels, chosen, vocabulary):
    """The texts numbered `chosen`: a row of word weights for each, and their groups."""
    rows = np.zeros((len(chosen), vocabulary), dtype=np.float32)
    for row, number in zip(rows, chosen):
        places, weights = bags[number]
        row[places] = weights
    return torch.from_numpy(rows), torch.from_numpy(labels[chosen])


class Classifier(nn.Module):
    """Three linear layers; the scores of the three groups come out."""

    def __init__(self, vocabulary):
        super().__init__()
        self.layer_1 = nn.Linear(vocabulary, HIDDEN)
        self.layer_2 = nn.Linear(HIDDEN, HIDDEN)
        self.output_layer = nn.Linear(HIDDEN, len(GROUPS))

    def forward(self, x):
        x = torch.relu(self.layer_1(x))  # (batch, 100)
        x = torch.relu(self.layer_2(x))  # (batch, 100)
        return self.output_layer(x)  # (batch, 3)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, help="a 20news-bydate archive (.tar.gz); without it scikit-learn fetches one"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=150)
    parser.add_argument("--plain", action="store_true", help="words split at spaces and counted, nothing else")
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", help="where it runs (default: %(default)s)"
    )
    options = parser.parse_args()

    load = (lambda subset: from_archive(options.data, subset)) if options.data else from_scikit_learn
    (training, training_labels), (tests, test_labels) = load("train"), load("test")
    print(f"{len(training)} texts to train on, {len(tests)} to test on")

    split = (lambda text: text.lower().split(" ")) if options.plain else words
    vocabulary = {word: place for place, word in enumerate(Counter(w for text in training for w in split(text)))}
    print(f"{len(vocabulary)} words")

    def bag(text):
        """Places and weights of those words of `text` that the training texts know."""
        counts = Counter(word for word in split(text) if word in vocabulary)
        times = np.array(list(counts.values()), dtype=np.float32)
        if not options.plain:  # a word said ten times tells little more than once, a long text no more than a short one
            times = np.log1p(times)
            times /= np.linalg.norm(times)
        return [vocabulary[word] for word in counts], times

    training_bags, test_bags = [bag(text) for text in training], [bag(text) for text in tests]

    torch.manual_seed(options.seed)
    model = Classifier(len(vocabulary)).to(options.device)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for epoch in range(1, options.epochs + 1):
        order = torch.randperm(len(training_bags)).numpy()
        losses = []
        progress = tqdm(range(0, len(order), options.batch), desc=f"epoch {epoch}", disable=None, leave=False)
        for step, start in enumerate(progress, 1):
            chosen = order[start : start + options.batch]
            x, y = (t.to(options.device) for t in get_batch(training_bags, training_labels, chosen, len(vocabulary)))
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if epoch == 1:
                tqdm.write(f"epoch 1 step {step} loss {loss.item():.6f}")
            progress.set_postfix(loss=f"{loss.item():.4f}")
        print(f"epoch {epoch} loss {np.mean(losses):.6f}")

    right = np.zeros(len(GROUPS), dtype=int)
    model.eval()
    with torch.no_grad():
        for start in range(0, len(test_bags), options.batch):
            chosen = np.arange(start, min(start + options.batch, len(test_bags)))
            x, y = get_batch(test_bags, test_labels, chosen, len(vocabulary))
            guesses = model(x.to(options.device)).argmax(dim=1).cpu()
            right += np.bincount(y[guesses == y].numpy(), minlength=len(GROUPS))
    for name, hits, count in zip(GROUPS, right, np.bincount(test_labels, minlength=len(GROUPS))):
        print(f"{name}: {hits} of {count}")
    print(f"test accuracy {right.sum() / len(tests):.4f} on {len(tests)} texts")


if __name__ == "__main__":
    main()
