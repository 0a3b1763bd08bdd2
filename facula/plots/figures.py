"""Figures of matplotlib's: training curves, confusion matrices, images, weights and gradients.

They are made without pyplot: no window opens, no backend is chosen, nothing has to be closed.
"""

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from facula import operators as ops
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.extras import require
from facula.nn.module import Module

__all__ = ["make_grid", "plot_confusion", "plot_gradients", "plot_history", "plot_images", "plot_weights"]

COLOURS = ("#3366aa", "#d9822b", "#3f9b5c", "#b8433f", "#7d5ba6", "#6b6b6b", "#c2a01e", "#2a9aa8")


@cache
def _figure_class() -> Any:
    figure = require("matplotlib.figure", "plots", "facula.plots").Figure

    class Figure(figure):
        """A figure that shows itself in notebooks without pyplot."""

        def _repr_png_(self) -> bytes:
            out = io.BytesIO()
            self.savefig(out, format="png", dpi=110, bbox_inches="tight")
            return out.getvalue()

    return Figure


def _figure(width: float, height: float) -> Any:
    return _figure_class()(figsize=(width, height), layout="constrained")


def _bare(axes: Any) -> None:
    """A frame that does not distract."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="#e6e6e6", linewidth=0.7)
    axes.set_axisbelow(True)


# --- curves ---------------------------------------------------------------------------------------------------------


def plot_history(history: Any, *names: str) -> Any:
    """Draw the columns of a history by epoch: losses in one plot, metrics in another.

    Parameters
    ----------
    history : History, or mapping of names to lists of numbers
    *names : str
        Which columns; by default all of numbers but "epoch", "seconds" and "lr".

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> from facula.plots import plot_history
    >>> figure = plot_history({"loss": [1.0, 0.5], "validation loss": [1.1, 0.7], "accuracy": [0.5, 0.8]})
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['loss', 'accuracy']
    """
    columns = dict(history) if isinstance(history, Mapping) else {name: history[name] for name in history.names}
    epochs = columns.get("epoch")
    chosen = names or [
        name
        for name, values in columns.items()
        if name not in ("epoch", "seconds", "lr") and all(isinstance(v, int | float | None) for v in values)
    ]
    unknown = [name for name in chosen if name not in columns]
    if unknown or not chosen:
        fail(KeyError, f"no column {unknown[0]!r}" if unknown else "the history is empty",
             expected=", ".join(map(repr, columns)))  # fmt: skip
    panels: dict[str, list[str]] = {}  # the same measure of training and validation stand together
    for name in chosen:
        panels.setdefault(name.removeprefix("validation ").removeprefix("val_"), []).append(name)
    figure = _figure(5.2 * len(panels), 3.6)
    best = getattr(history, "best_epoch", None)
    for axes, (measure, members) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items()):
        for name in members:
            values = [float("nan") if v is None else float(v) for v in columns[name]]
            place = range(1, len(values) + 1) if epochs is None else epochs
            validation = name != measure
            label = "validation" if validation else "training"
            colour = COLOURS[1] if validation else COLOURS[0]
            marker = "o" if len(values) < 25 else None
            axes.plot(place, values, color=colour, label=label, marker=marker, markersize=3.5, linewidth=1.7)
        finite = [float(v) for n in members for v in columns[n] if v is not None and math.isfinite(v)]
        if finite and min(finite) > 0 and max(finite) / min(finite) > 30:
            axes.set_yscale("log")
        if best is not None:
            axes.axvline(best, color="#909090", linewidth=1, linestyle=":", label=f"best epoch ({best})")
        axes.set_xlabel("epoch")
        axes.set_ylabel(measure)
        axes.xaxis.get_major_locator().set_params(integer=True)
        _bare(axes)
        if len(members) > 1 or members[0] != measure or best is not None:
            axes.legend(frameon=False)
    return figure


def plot_confusion(matrix: Any, labels: Sequence[Any] | None = None, *, normalize: bool = False) -> Any:
    """Draw a confusion matrix: true classes in rows, predicted ones in columns; shades are shares of the row.

    Parameters
    ----------
    matrix : array or Tensor (C, C)
        Counts, as `ConfusionMatrix` computes them.
    labels : sequence, optional
        Names of the classes.
    normalize : bool
        Whether the shares are written in place of counts.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> from facula.plots import plot_confusion
    >>> figure = plot_confusion([[8, 2], [1, 9]], ["cat", "dog"])
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['8', '2', '1', '9']
    """
    counts = matrix.detach().cpu().numpy() if isinstance(matrix, Tensor) else np.asarray(matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        fail(ValueError, "plot_confusion(): the matrix must be square", got=tuple(counts.shape))
    size = len(counts)
    names = [str(name) for name in (range(size) if labels is None else labels)]
    if len(names) != size:
        fail(ValueError, f"plot_confusion(): {len(names)} labels for {size} classes")
    rows = counts.sum(1, keepdims=True)
    shares = np.divide(counts, rows, out=np.zeros(counts.shape), where=rows != 0)
    side = min(max(3.0, 0.52 * size + 1.4), 14.0)
    figure = _figure(side, side)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if size <= 30:
        font = 9 if size <= 12 else 6
        for row in range(size):
            for column in range(size):
                if normalize or counts[row, column]:
                    text = f"{shares[row, column]:.2f}" if normalize else f"{counts[row, column]:g}"
                    colour = "white" if shares[row, column] > 0.55 else "#303030"
                    axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=font)
    long = max(map(len, names)) > 3
    axes.set_xticks(range(size), names, rotation=45 if long else 0, ha="right" if long else "center")
    axes.set_yticks(range(size), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


# --- images ---------------------------------------------------------------------------------------------------------


def make_grid(
    tensor: Any,
    nrow: int = 8,
    padding: int = 2,
    normalize: bool = False,
    value_range: tuple[float, float] | None = None,
    scale_each: bool = False,
    pad_value: float = 0.0,
) -> Tensor:
    """Put images side by side in one (as torchvision's function of this name).

    Parameters
    ----------
    tensor : Tensor or sequence of Tensors
        (N, C, H, W), (C, H, W), (H, W), or a list of images of one shape; one channel becomes three.
    nrow : int
        Images in a row.
    padding : int
        Pixels between images.
    normalize : bool
        Whether values are moved into [0, 1]: from `value_range`, by default the smallest and the largest.
    scale_each : bool
        Whether each image has its own range.
    pad_value : float
        What is between images.

    Returns
    -------
    Tensor
        (3, rows, columns).

    Examples
    --------
    >>> import facula as torch
    >>> from facula.plots import make_grid
    >>> make_grid(torch.zeros(5, 1, 8, 8), nrow=3).shape
    torch.Size([3, 22, 32])
    """
    if isinstance(tensor, list | tuple):
        tensor = ops.stack(list(tensor))
    if not isinstance(tensor, Tensor):
        fail(TypeError, f"tensor or list of tensors expected, got a {type(tensor)}")
    if not 2 <= tensor.dim() <= 4:
        fail(ValueError, "make_grid(): images must be (N, C, H, W), (C, H, W) or (H, W)", got=tuple(tensor.shape))
    images: Any = tensor.detach()
    images = images[None, None] if images.dim() == 2 else images[None] if images.dim() == 3 else images
    if images.shape[1] == 1:
        images = ops.cat([images] * 3, 1)
    if normalize:
        images = images.float() if not images.dtype.is_floating_point else images.clone()
        for part in images if scale_each else [images]:
            low, high = value_range or (part.min().item(), part.max().item())
            part.copy_(((part.clamp(low, high)) - low) / max(high - low, 1e-5))
    elif value_range is not None:
        fail(ValueError, "make_grid(): value_range without normalize has no meaning", mend="pass normalize=True")
    count, channels, height, width = images.shape
    if count == 1:
        return images[0]
    columns = min(nrow, count)
    rows = -(-count // columns)
    grid = ops.full(
        (channels, rows * (height + padding) + padding, columns * (width + padding) + padding),
        pad_value,
        dtype=images.dtype,
    )
    for at in range(count):
        y = at // columns * (height + padding) + padding
        x = at % columns * (width + padding) + padding
        grid[:, y : y + height, x : x + width] = images[at]
    return grid


def plot_images(
    images: Any,
    titles: Sequence[Any] | None = None,
    *,
    columns: int = 8,
    normalize: bool | None = None,
) -> Any:
    """Draw images in a grid.

    Parameters
    ----------
    images : Tensor or sequence of Tensors
        As for `make_grid`: floating point in [0, 1], or uint8.
    titles : sequence, optional
        What stands above each.
    columns : int
        Images in a row.
    normalize : bool, optional
        Whether values are moved into [0, 1]; by default where they are outside.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> import facula as torch
    >>> from facula.plots import plot_images
    >>> len(plot_images(torch.rand(5, 1, 8, 8), titles=range(5), columns=3).axes)
    6
    """
    if isinstance(images, list | tuple):
        images = ops.stack(list(images))
    if not isinstance(images, Tensor) or not 2 <= images.dim() <= 4:
        fail(TypeError, "plot_images(): images must be a tensor (N, C, H, W), (N, H, W) or (H, W), or a list of images")
    found: np.ndarray = images.detach().cpu().float().numpy()  # type: ignore[attr-defined]
    if images.dtype.name == "uint8":
        found = found / 255
    if found.ndim == 2:
        found = found[None, None]
    elif found.ndim == 3:
        found = found[None] if len(found) == 3 and titles is None else found[:, None]
    if found.shape[1] not in (1, 3, 4):
        fail(ValueError, "plot_images(): an image has 1, 3 or 4 channels", got=tuple(images.shape))
    if titles is not None and len(titles) != len(found):
        fail(ValueError, f"plot_images(): {len(titles)} titles for {len(found)} images")
    low, high = (float(found.min()), float(found.max())) if found.size else (0.0, 1.0)
    if normalize or (normalize is None and (low < 0 or high > 1)):
        found = (found - low) / max(high - low, 1e-12)
    width = min(columns, len(found))
    rows = -(-len(found) // width)
    _, _, y, x = found.shape
    side = 1.25 if len(found) > 1 else min(8.0, max(2.5, x / 30))  # inches
    figure = _figure(side * width, (side * y / x + (0.25 if titles is not None else 0.05)) * rows)
    for at, axes in enumerate(figure.subplots(rows, width, squeeze=False).ravel()):
        axes.axis("off")
        if at < len(found):
            pixels = found[at].transpose(1, 2, 0)
            axes.imshow(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels, cmap="gray", vmin=0, vmax=1)
            if titles is not None:
                axes.set_title(str(titles[at]), fontsize=9, pad=3)
    return figure


# --- weights --------------------------------------------------------------------------------------------------------


def plot_weights(model: Any, *, bins: int = 60, limit: int = 36) -> Any:
    """Draw a histogram of each parameter's values.

    Parameters
    ----------
    model : Module, mapping of names to tensors, or (name, tensor) pairs
    bins : int
    limit : int
        The most histograms that are drawn: the first ones.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> import facula as torch
    >>> from facula.plots import plot_weights
    >>> [axes.get_title() for axes in plot_weights(torch.nn.Linear(3, 2)).axes]
    ['weight  2×3', 'bias  2']
    """
    return _histograms(_tensors(model), bins, limit, COLOURS[0])


def plot_gradients(model: Any, *, bins: int = 60, limit: int = 36) -> Any:
    """Draw a histogram of each parameter's gradient, as the last backward left it.

    Parameters
    ----------
    model, bins, limit
        As for `plot_weights`; parameters without a gradient are left out.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        Where no parameter has a gradient.

    Examples
    --------
    >>> import facula as torch
    >>> from facula.plots import plot_gradients
    >>> layer = torch.nn.Linear(3, 2)
    >>> layer(torch.ones(4, 3)).sum().backward()
    >>> len(plot_gradients(layer).axes)
    2
    """
    found = [(name, tensor.grad) for name, tensor in _tensors(model) if tensor.grad is not None]
    if not found:
        fail(ValueError, "no parameter has a gradient", mend="call loss.backward() first")
    return _histograms(found, bins, limit, COLOURS[1])


def _tensors(model: Any) -> list[tuple[str, Any]]:
    pairs: Iterable[tuple[str, Any]]
    if isinstance(model, Module):
        pairs = model.named_parameters()
    else:
        pairs = model.items() if isinstance(model, Mapping) else model
    return list(pairs)


def _histograms(tensors: Sequence[tuple[str, Any]], bins: int, limit: int, colour: str) -> Any:
    if not tensors:
        fail(ValueError, "there is no tensor to draw")
    shown = tensors[:limit]
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure = _figure(3.4 * columns, 2.0 * rows)
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (name, tensor) in zip(places, shown):
        values = tensor.detach().cpu().float().numpy().ravel()
        finite = values[np.isfinite(values)]
        axes.hist(finite, bins=min(bins, max(5, int(2 * len(finite) ** 0.5))), color=colour)
        shape = "×".join(map(str, tensor.shape)) or "scalar"
        axes.set_title(f"{name}  {shape}", fontsize=9)
        if finite.size:
            lost = f", {values.size - finite.size} not finite" if finite.size < values.size else ""
            text = f"mean {finite.mean():.2g}\nstd {finite.std():.2g}{lost}"
            paper = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.5}
            place = {"transform": axes.transAxes, "ha": "right", "va": "top"}
            axes.text(0.98, 0.96, text, fontsize=7, color="#404040", bbox=paper, **place)
        axes.tick_params(labelsize=7)
        _bare(axes)
    for axes in places[len(shown) :]:
        axes.remove()
    if len(tensors) > len(shown):
        figure.supxlabel(f"{len(tensors) - len(shown)} more are not shown", fontsize=8)
    return figure
