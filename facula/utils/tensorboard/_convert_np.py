"""What `SummaryWriter` is given, as NumPy arrays."""

from typing import Any

import numpy as np

from facula.core.tensor import Tensor

__all__ = ["make_np"]


def make_np(x: Any) -> np.ndarray:
    """The values of a tensor, array or number; bfloat16 as float16.

    Examples
    --------
    >>> import facula as torch
    >>> make_np(torch.tensor([1, 2])), make_np(0.5)
    (array([1, 2]), array([0.5]))
    """
    if isinstance(x, np.ndarray):
        return x
    if np.isscalar(x):
        return np.array([x])
    if isinstance(x, Tensor):
        x = x.detach().cpu()  # type: ignore[attr-defined]
        return (x.half() if x.dtype.name == "bfloat16" else x).numpy()
    raise NotImplementedError(f"Got {type(x)}, but numpy array or torch tensor are expected.")
