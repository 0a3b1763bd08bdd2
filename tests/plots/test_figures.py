"""Figures: what is drawn, no window and no pyplot, grids of images."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import facula as torch
from facula import nn
from facula.plots import make_grid, plot_confusion, plot_gradients, plot_history, plot_images, plot_weights
from facula.training import Accuracy, ConfusionMatrix, History, fit

ROOT = Path(__file__).parents[2]


def assert_draws(figure):
    png = figure._repr_png_()
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
    assert min(pixels.shape) > 50 and pixels.min() < 128 < pixels.max()


def test_a_history_of_training():
    torch.manual_seed(0)
    x = torch.randn(64, 4)
    y = (x.sum(1) > 0).long()
    net = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    metrics = [Accuracy(), ConfusionMatrix()]
    history = fit(net, (x, y), nn.CrossEntropyLoss(), optimizer, 4, validation=(x, y), metrics=metrics, progress=False)
    figure = history.plot()
    assert [a.get_ylabel() for a in figure.axes] == ["loss", "accuracy"]
    lines = {line.get_label(): list(line.get_ydata()) for line in figure.axes[0].lines}
    assert lines["training"] == history["loss"] and lines["validation"] == history["validation loss"]
    assert f"best epoch ({history.best_epoch})" in lines
    assert_draws(figure)
    assert [a.get_ylabel() for a in history.plot("lr").axes] == ["lr"]


def test_histories_of_all_kinds():
    figure = plot_history({"loss": [100.0, None, 1.0, float("nan")]})
    assert figure.axes[0].get_yscale() == "log" and figure.axes[0].get_legend() is None
    assert_draws(figure)
    with pytest.raises(KeyError, match="no column 'x'"):
        plot_history({"loss": [1.0]}, "x")
    with pytest.raises(KeyError, match="the history is empty"):
        plot_history(History())


def test_confusion():
    matrix = np.array([[5, 0, 0], [1, 3, 0], [0, 0, 0]])
    figure = plot_confusion(matrix, ["a", "b", "c"])
    axes = figure.axes[0]
    assert [t.get_text() for t in axes.texts] == ["5", "1", "3"]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["a", "b", "c"]
    shares = plot_confusion(torch.tensor(matrix), normalize=True).axes[0]
    assert [t.get_text() for t in shares.texts] == ["1.00", "0.00", "0.00", "0.25", "0.75"] + ["0.00"] * 4
    assert_draws(figure)
    with pytest.raises(ValueError, match="must be square"):
        plot_confusion(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="2 labels for 3 classes"):
        plot_confusion(matrix, ["a", "b"])


def test_grids():
    images = torch.arange(5 * 2 * 2).reshape(5, 1, 2, 2).float()
    grid = make_grid(images, nrow=3, padding=1, pad_value=-1.0)
    assert grid.shape == (3, 7, 10)
    assert (grid[0] == grid[2]).all()
    assert grid[0].tolist() == [
        [-1, -1, -1, -1, -1, -1, -1, -1, -1, -1],
        [-1, 0, 1, -1, 4, 5, -1, 8, 9, -1],
        [-1, 2, 3, -1, 6, 7, -1, 10, 11, -1],
        [-1, -1, -1, -1, -1, -1, -1, -1, -1, -1],
        [-1, 12, 13, -1, 16, 17, -1, -1, -1, -1],
        [-1, 14, 15, -1, 18, 19, -1, -1, -1, -1],
        [-1, -1, -1, -1, -1, -1, -1, -1, -1, -1],
    ]
    whole = make_grid(images, padding=0, normalize=True)
    assert (whole.min().item(), whole.max().item()) == (0.0, 1.0)
    each = make_grid(list(images), padding=0, normalize=True, scale_each=True)
    assert each[0, :, :2].tolist() == [[0, pytest.approx(1 / 3)], [pytest.approx(2 / 3), 1]]
    ranged = make_grid(images, padding=0, normalize=True, value_range=(0, 38))
    assert ranged.max().item() == 0.5
    assert images.max().item() == 19.0
    assert make_grid(torch.zeros(3, 4, 4)).shape == (3, 4, 4)
    assert make_grid(torch.zeros(2, 3, 4, 4, dtype=torch.uint8)).dtype is torch.uint8
    for wrong, kind in ((3, TypeError), (torch.zeros(3), ValueError)):
        with pytest.raises(kind):
            make_grid(wrong)
    with pytest.raises(ValueError, match="value_range without normalize"):
        make_grid(images, value_range=(0, 1))


@pytest.mark.parametrize(
    ("shape", "count"), [((5, 1, 4, 4), 5), ((5, 3, 4, 6), 5), ((5, 4, 4), 5), ((3, 4, 4), 1), ((4, 4), 1)]
)
def test_images(shape, count):
    figure = plot_images(torch.rand(*shape), columns=5)
    assert len([a for a in figure.axes if a.images]) == count
    assert_draws(figure)


def test_values_of_images():
    figure = plot_images(torch.tensor([[[-1.0, 0.0], [1.0, 3.0]]] * 2), titles=["a", "b"])
    assert figure.axes[0].images[0].get_array().tolist() == [[0, 0.25], [0.5, 1]]
    assert [a.get_title() for a in figure.axes] == ["a", "b"]
    whole = plot_images(torch.full((2, 3, 4, 4), 255, dtype=torch.uint8))
    assert whole.axes[0].images[0].get_array().max() == 1.0
    with pytest.raises(ValueError, match="1 titles for 2 images"):
        plot_images(torch.rand(2, 4, 4), titles=["a"])
    with pytest.raises(ValueError, match="1, 3 or 4 channels"):
        plot_images(torch.rand(2, 5, 4, 4))


def test_weights_and_gradients():
    net = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 1))
    with pytest.raises(ValueError, match="no parameter has a gradient"):
        plot_gradients(net)
    net[0](torch.ones(3, 8)).sum().backward()
    figure = plot_weights(net)
    assert [a.get_title() for a in figure.axes] == ["0.weight  4×8", "0.bias  4", "1.weight  1×4", "1.bias  1"]
    assert sum(bar.get_height() for bar in figure.axes[0].patches) == 32
    assert_draws(figure)
    assert [a.get_title() for a in plot_gradients(net).axes] == ["0.weight  4×8", "0.bias  4"]
    odd = plot_weights({"x": torch.tensor([1.0, float("nan"), float("inf")])}, limit=1)
    assert "2 not finite" in odd.axes[0].texts[0].get_text()
    assert plot_weights(net, limit=2).axes[-1].get_title() == "0.bias  4"


def test_no_pyplot_and_no_backend():
    program = """
import sys
import facula as torch
from facula.plots import plot_images
plot_images(torch.rand(2, 4, 4))._repr_png_()
print("matplotlib.pyplot" in sys.modules)
sys.modules.update({name: None for name in list(sys.modules) if name.startswith("matplotlib")})
import facula.plots.figures as figures
figures._figure_class.cache_clear()
try:
    plot_images(torch.rand(2, 4, 4))
except ModuleNotFoundError as error:
    print(error, *error.__notes__, sep="\\n")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.splitlines() == [
        "False", "facula.plots needs the package matplotlib", "  mend: pip install 'facula[plots]'",
    ], done.stderr  # fmt: skip


def test_importing_plots_imports_nothing_yet():
    program = "import sys, facula.plots, facula.training; print({'matplotlib', 'tqdm', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "set()\n", done.stderr
