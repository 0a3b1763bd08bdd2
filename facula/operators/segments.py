"""`segment_reduce`: the elements of consecutive segments combined, by the operators that combine at indices."""

import numpy as np

from facula.autograd.node import dtype_title
from facula.core.shape import normalize_dim
from facula.core.tensor import Tensor
from facula.errors import fail

from .creation import array_on, full, host_array
from .elementwise import true_divide
from .indexing import index_add, index_reduce, index_select
from .view import reshape

__all__ = ["segment_reduce"]

# How segments are combined, and what an empty one gives.
_WAYS = {
    "sum": ("sum", 0.0), "mean": ("sum", 0.0), "max": ("amax", float("-inf")), "amax": ("amax", float("-inf")),
    "min": ("amin", float("inf")), "amin": ("amin", float("inf")), "prod": ("prod", 1.0),
}  # fmt: skip


def segment_reduce(
    data: Tensor,
    reduce: str,
    *,
    lengths: Tensor | None = None,
    indices: Tensor | None = None,
    offsets: Tensor | None = None,
    axis: int = 0,
    unsafe: bool = False,
    initial: float | None = None,
) -> Tensor:
    """The elements of consecutive segments of dim `axis` combined ("sum", "mean", "max", "min", "prod").

    Parameters
    ----------
    data : Tensor
        Shape (*batch, n, *rest), batch being the dims before `axis`.
    lengths, offsets : Tensor
        One of them: the sizes of the segments (*batch, segments), or where they begin and end (*batch, segments + 1).
    unsafe : bool
        Do not check that the lengths sum to n.
    initial : float, optional
        What each segment begins with.

    Examples
    --------
    >>> import facula as torch
    >>> torch.segment_reduce(torch.tensor([1.0, 2.0, 3.0]), "sum", lengths=torch.tensor([1, 2]))
    tensor([1., 5.])
    """
    if reduce not in _WAYS:
        fail(RuntimeError, f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    if indices is not None:
        fail(RuntimeError, "segment_reduce(): indices based reduction is not supported yet.")
    given = offsets if lengths is None else lengths
    if given is None:
        fail(RuntimeError, "segment_reduce(): Either lengths or offsets must be defined.")
    d, shape = normalize_dim(axis, data.spec.ndim), tuple(data.spec.shape)
    if data.spec.dtype.kind != "f":
        fail(NotImplementedError, f"\"_segment_reduce_cpu\" not implemented for '{dtype_title(data.spec.dtype)}'")
    if given.spec.dtype.name not in ("int32", "int64"):
        title = dtype_title(given.spec.dtype)
        fail(NotImplementedError, f"\"_segment_reduce_lengths_cpu_kernel1\" not implemented for '{title}'")
    if given.spec.ndim != d + 1 or tuple(given.spec.shape[:-1]) != shape[:d]:
        fail(
            RuntimeError,
            "segment_reduce(): Expected all dims of lengths but the last to be those of data before axis.",
            got=f"{tuple(given.spec.shape)} and {shape}",
        )
    table = host_array(given)
    known, where = table is not None, data.spec.device
    table = (np.zeros(given.spec.shape, np.int64) if table is None else table).reshape(-1, given.spec.shape[-1])
    n = shape[d]
    if lengths is not None:
        if known and not unsafe and ((table < 0).any() or (table.sum(1) != n).any()):
            fail(
                RuntimeError,
                "segment_reduce(): Expected all rows of lengths along axis to sum to data.size(lengths.dim()-1) when "
                "!unsafe.",
            )
        table = np.concatenate([np.zeros((len(table), 1), np.int64), np.cumsum(table, 1)], 1)
    sizes = np.diff(table, axis=1)
    segments = sizes.shape[1]
    ids = np.repeat(np.arange(sizes.size), sizes.reshape(-1))
    ends = [np.arange(a + row * n, b + row * n) for row, cuts in enumerate(table) for a, b in zip(cuts, cuts[1:])]
    rows = index_select(
        reshape(data, (-1, *shape[d + 1 :])), 0, array_on(np.concatenate([np.zeros(0, np.int64), *ends]), where)
    )
    how, first = _WAYS[reduce]
    begin = first if initial is None else initial
    start = full((sizes.size, *shape[d + 1 :]), begin, dtype=data.spec.dtype, device=where)
    places = array_on(ids, where)
    made = index_add(start, 0, places, rows) if how == "sum" else index_reduce(start, 0, places, rows, how)
    if reduce == "mean":
        counts = sizes.reshape(-1, *[1] * (len(shape) - d - 1)).astype(np.float64)
        if initial is not None:
            counts[counts == 0] = 1
        made = true_divide(made, array_on(counts, where).to(data.spec.dtype))
    return reshape(made, (*shape[:d], segments, *shape[d + 1 :]))
