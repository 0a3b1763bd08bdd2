"""A convolutional network on MNIST's idx files: convolution, pooling, dropout, and a picture of its answers."""

import argparse
import gzip
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from tqdm import tqdm


def read_idx(file):
    """The array in an idx file, zipped or not: a header of sizes, then bytes."""
    content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    if content[:3] != b"\0\0\x08":
        raise ValueError(f"{file} is not an idx file of bytes")
    dims = content[3]
    shape = np.frombuffer(content, dtype=">i4", count=dims, offset=4)
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * dims).reshape(shape)


def read_set(folder, name):
    """Images as (n, 1, 28, 28) in 0..1 and labels of the set `name` ("train" or "t10k"); None where it is not there."""
    files = [sorted(folder.glob(f"{name}-{kind}-ubyte*")) for kind in ("images-idx3", "labels-idx1")]
    if not all(files):
        return None
    images, labels = (read_idx(found[0]) for found in files)
    return torch.tensor(images).unsqueeze(1).float() / 255, torch.tensor(labels).long()


def read_data(folder, seed):
    """Training and test sets. Where the folder holds only the 10,000 test images, a fifth of them stay for the test."""
    training, tests = read_set(folder, "train"), read_set(folder, "t10k")
    if tests is None:
        raise SystemExit(f"no idx files (t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte) in {folder}")
    if training is None:
        images, labels = tests
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
        cut = len(order) * 4 // 5
        training, tests = ((images[part], labels[part]) for part in (order[:cut], order[cut:]))
    return TensorDataset(*training), TensorDataset(*tests)


class Net(nn.Module):
    """Two convolutions, each followed by pooling; two linear layers."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, kernel_size=3)
        self.conv2 = nn.Conv2d(16, 32, kernel_size=3)
        self.dropout = nn.Dropout(0.25)
        self.linear1 = nn.Linear(32 * 5 * 5, 128)
        self.linear2 = nn.Linear(128, 10)

    def forward(self, x):  # (batch, 1, 28, 28)
        x = nn.functional.max_pool2d(torch.relu(self.conv1(x)), 2)  # (batch, 16, 13, 13)
        x = nn.functional.max_pool2d(torch.relu(self.conv2(x)), 2)  # (batch, 32, 5, 5)
        x = self.dropout(x.flatten(1))  # (batch, 800)
        x = self.dropout(torch.relu(self.linear1(x)))  # (batch, 128)
        return self.linear2(x)  # (batch, 10)


def evaluate(model, batches, device):
    """Share of right answers."""
    model.eval()
    right = count = 0
    with torch.no_grad():
        for images, labels in batches:
            images, labels = images.to(device), labels.to(device)
            right += (model(images).argmax(dim=1) == labels).sum().item()
            count += len(labels)
    return right / count


def draw(file, model, tests, device):
    """The first 32 test images, each under the model's answer."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    images, labels = tests[:32]
    with torch.no_grad():
        answers = model(images.to(device)).argmax(dim=1)
    figure, axes = pyplot.subplots(4, 8, figsize=(8, 4.5))
    for axis in axes.flat:
        axis.axis("off")
    for axis, image, answer, label in zip(axes.flat, images, answers.tolist(), labels.tolist()):
        axis.imshow(image[0].numpy(), cmap="gray_r")
        axis.set_title(answer, color="black" if answer == label else "red")
    figure.tight_layout()
    figure.savefig(file, dpi=120)
    print(f"picture: {file}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder with MNIST's idx files, zipped or not")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the picture")
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", help="where it runs (default: %(default)s)"
    )
    options = parser.parse_args()

    training, tests = read_data(options.data, options.seed)
    print(f"{len(training)} images to train on, {len(tests)} to test on")
    torch.manual_seed(options.seed)
    model = Net().to(options.device)
    print(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    criterion = nn.CrossEntropyLoss()
    batches = DataLoader(training, batch_size=64, shuffle=True)
    held_out = DataLoader(tests, batch_size=500)
    for epoch in range(1, options.epochs + 1):
        model.train()
        losses = []
        progress = tqdm(batches, desc=f"epoch {epoch}", disable=None, leave=False)
        for step, (images, labels) in enumerate(progress, 1):
            images, labels = images.to(options.device), labels.to(options.device)
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if epoch == 1 and (step <= 5 or step % 25 == 0):
                tqdm.write(f"epoch 1 step {step} loss {loss.item():.6f}")
            progress.set_postfix(loss=f"{loss.item():.4f}")
        print(f"epoch {epoch} loss {np.mean(losses):.6f} accuracy {evaluate(model, held_out, options.device):.4f}")
    print(f"test accuracy {evaluate(model, held_out, options.device):.4f}")
    options.out.mkdir(parents=True, exist_ok=True)
    draw(options.out / "mnist_cnn.png", model, tests, options.device)


if __name__ == "__main__":
    main()
