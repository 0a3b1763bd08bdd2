"""Pictures and videos as the arrays that `summary` encodes: layouts, grids, matplotlib's figures."""

from typing import Any

import numpy as np

from facula.extras import require

__all__ = ["convert_to_HWC", "figure_to_image", "make_grid"]


def figure_to_image(figures: Any, close: bool = True) -> np.ndarray:
    """Matplotlib figures as uint8 pictures: (3, H, W) of one, (N, 3, H, W) of a list; `close` takes them off pyplot."""
    agg = require("matplotlib.backends.backend_agg", "tensorboard", "add_figure")
    pyplot = require("matplotlib.pyplot", "tensorboard", "add_figure")

    def drawn(figure: Any) -> np.ndarray:
        canvas = agg.FigureCanvasAgg(figure)
        canvas.draw()
        width, height = figure.canvas.get_width_height()
        pixels = np.frombuffer(canvas.buffer_rgba(), np.uint8).reshape(height, width, 4)
        if close:
            pyplot.close(figure)
        return np.moveaxis(pixels[:, :, :3], 2, 0)

    return np.stack([drawn(figure) for figure in figures]) if isinstance(figures, list) else drawn(figures)


def _prepare_video(frames: np.ndarray) -> np.ndarray:
    """(B, T, C, H, W) as (T, rows * H, columns * W, C): the videos of a batch side by side in a grid."""
    batch, time, channels, height, width = frames.shape
    if frames.dtype == np.uint8:
        frames = frames.astype(np.float32) / 255.0
    whole = 1 << (batch - 1).bit_length() if batch else 0  # black videos make it a power of 2
    if whole > batch:
        frames = np.concatenate([frames, np.zeros((whole - batch, time, channels, height, width))])
    rows = 1 << ((batch.bit_length() - 1) // 2)
    grid = frames.reshape(rows, len(frames) // rows, time, channels, height, width).transpose(2, 0, 4, 1, 5, 3)
    return grid.reshape(time, rows * height, -1, channels)


def make_grid(images: np.ndarray, ncols: int = 8) -> np.ndarray:
    """(N, 1 or 3, H, W) as one picture (3, rows * H, columns * W), black where there is none."""
    if not isinstance(images, np.ndarray):
        raise AssertionError("plugin error, should pass numpy array here")
    if images.shape[1] == 1:
        images = np.concatenate([images] * 3, 1)
    if images.ndim != 4 or images.shape[1] != 3:
        raise AssertionError("Input should be a 4D numpy array with 3 channels")
    count, _, height, width = images.shape
    columns = min(count, ncols)
    rows = -(-count // columns)
    cells = np.zeros((rows * columns, 3, height, width), images.dtype)
    cells[:count] = images
    return cells.reshape(rows, columns, 3, height, width).transpose(2, 0, 3, 1, 4).reshape(3, rows * height, -1)


def convert_to_HWC(tensor: np.ndarray, input_format: str) -> np.ndarray:  # PyTorch's name
    """A picture of any layout as (H, W, C), grey ones with three channels; batches (with N) become a grid."""
    if len(set(input_format)) != len(input_format):
        raise AssertionError(
            f"You can not use the same dimension shorthand twice.             input_format: {input_format}"
        )
    if tensor.ndim != len(input_format):
        raise AssertionError(
            "size of input tensor and input format are different.         tensor shape: "
            f"{tensor.shape}, input_format: {input_format}"
        )
    letters = input_format.upper()

    def arranged(order: str) -> np.ndarray:
        return tensor.transpose([letters.find(letter) for letter in order])

    if len(letters) == 4:
        return make_grid(arranged("NCHW")).transpose(1, 2, 0)
    if len(letters) == 3:
        found = arranged("HWC")
        return np.concatenate([found] * 3, 2) if found.shape[2] == 1 else found
    if len(letters) == 2:
        return np.stack([arranged("HW")] * 3, 2)
    return None  # type: ignore[return-value]  # as PyTorch, which then fails where the picture is made
