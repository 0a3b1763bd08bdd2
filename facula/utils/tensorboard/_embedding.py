"""The files of the embedding projector: vectors, labels, one picture with all the pictures, what belongs together."""

import math
import posixpath
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np

from facula.extras import require

from ._convert_np import make_np
from ._utils import make_grid

__all__ = ["get_embedding_info", "make_mat", "make_sprite", "make_tsv", "write_pbtxt"]


def _write(folder: str, name: str, content: bytes) -> None:
    """A file where the event files are, which may be a place that only TensorBoard's file systems know."""
    tf = require("tensorboard.compat", "tensorboard", "add_embedding").tf
    with tf.io.gfile.GFile(posixpath.join(folder, name), "wb") as file:
        file.write(content)


def make_tsv(metadata: Sequence, save_path: str, metadata_header: Sequence[str] | None = None) -> None:
    """The labels, a line each; with a header, each has several columns."""
    if not metadata_header:
        lines = [str(x) for x in metadata]
    else:
        if len(metadata_header) != len(metadata[0]):
            raise AssertionError("len of header must be equal to the number of columns in metadata")
        lines = ["\t".join(str(e) for e in row) for row in [metadata_header, *metadata]]
    _write(save_path, "metadata.tsv", ("\n".join(lines) + "\n").encode())


def make_sprite(label_img: Any, save_path: str) -> None:
    """All pictures (N, C, H, W) in one square."""
    image = require("PIL.Image", "tensorboard", "add_embedding")
    columns = math.ceil(label_img.shape[0] ** 0.5)
    grid = make_grid(make_np(label_img), ncols=columns).transpose(1, 2, 0)
    square = np.zeros((grid.shape[1], grid.shape[1], 3))
    square[: grid.shape[0]] = grid
    out = BytesIO()
    image.fromarray((square * 255).clip(0, 255).astype(np.uint8)).save(out, format="PNG")
    _write(save_path, "sprite.png", out.getvalue())


def make_mat(matlist: np.ndarray, save_path: str) -> None:
    """The vectors, a line each."""
    lines = ["\t".join(str(x.item()) for x in row) + "\n" for row in matlist]
    _write(save_path, "tensors.tsv", "".join(lines).encode())


def get_embedding_info(metadata: Any, label_img: Any, subdir: str, global_step: int, tag: str) -> Any:
    """The entry of the projector's list."""
    config = require("tensorboard.plugins.projector.projector_config_pb2", "tensorboard", "add_embedding")
    info = config.EmbeddingInfo()
    info.tensor_name = f"{tag}:{str(global_step).zfill(5)}"
    info.tensor_path = posixpath.join(subdir, "tensors.tsv")
    if metadata is not None:
        info.metadata_path = posixpath.join(subdir, "metadata.tsv")
    if label_img is not None:
        info.sprite.image_path = posixpath.join(subdir, "sprite.png")
        info.sprite.single_image_dim.extend([label_img.shape[3], label_img.shape[2]])
    return info


def write_pbtxt(save_path: str, contents: str) -> None:
    """The projector's list."""
    _write(save_path, "projector_config.pbtxt", contents.encode())
