"""TensorBoard's event files with PyTorch's `SummaryWriter`, written through the package tensorboard."""

from typing import TYPE_CHECKING, Any

from facula.extras import require

require("tensorboard", "tensorboard", "torch.utils.tensorboard")  # as PyTorch: the import fails without it

from .writer import FileWriter, SummaryWriter  # noqa: E402

if TYPE_CHECKING:
    RecordWriter: Any

__all__ = ["FileWriter", "RecordWriter", "SummaryWriter"]


def __getattr__(name: str) -> Any:
    if name == "RecordWriter":
        return require("tensorboard.summary.writer.record_writer", "tensorboard", name).RecordWriter
    raise AttributeError(f"module 'torch.utils.tensorboard' has no attribute {name!r}")
