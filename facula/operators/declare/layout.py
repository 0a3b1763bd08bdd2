"""The shapes and strides of operands and results of element-wise operators, and what an in-place result must fit."""

from collections.abc import Sequence

from facula.autograd.node import dtype_title
from facula.core.dtype import dtype
from facula.core.shape import Size, broadcast, normalize_dim
from facula.core.spec import Spec
from facula.errors import fail


def broadcast_shapes_of(name: str, shapes: Sequence[Size]) -> Size:
    first = shapes[0]
    if all(s == first for s in shapes):
        return first
    return broadcast(*shapes)


def broadcast_strides(s: Spec, shape: tuple[int, ...], row_dims=None) -> list[int]:
    """Strides of an operand along the dims of `shape`, 0 where broadcast; per-row operands may lack the row dims."""
    sizes, strides = list(s.shape), list(s.strides)
    if row_dims is not None and len(sizes) == len(shape) - len(row_dims):
        for d in row_dims:
            sizes.insert(d, 1)
            strides.insert(d, 0)
    lead = len(shape) - len(sizes)
    return [0] * lead + [0 if n == 1 else st for n, st in zip(sizes, strides)]


def result_strides(shape: Size, specs: Sequence[Spec]) -> tuple[int, ...] | None:
    """Strides of a new result: those of the operands' common layout; None for row-major."""
    if len(shape) < 2 or all(s.contiguous for s in specs):
        return None
    # As PyTorch's TensorIterator: dims sorted by the operands' strides, the first operand that tells deciding.
    full = [
        [0] * (len(shape) - s.ndim)
        + [0 if n == 1 != m else st for n, m, st in zip(s.shape, shape[len(shape) - s.ndim :], s.strides)]
        for s in specs
    ]
    order = list(range(len(shape) - 1, -1, -1))  # innermost first

    def compare(a: int, b: int) -> int:
        for strides in full:
            x, y = strides[a], strides[b]
            if x == 0 or y == 0:
                continue
            if x != y:
                return -1 if x < y else 1
            if shape[a] > shape[b]:
                return 1
        return 0

    for i in range(1, len(order)):  # insertion sort that moves past undecided pairs, as there
        at = i
        for j in range(i - 1, -1, -1):
            c = compare(order[j], order[at])
            if c > 0:
                order[j], order[at] = order[at], order[j]
                at = j
            elif c < 0:
                break
    strides, step = [0] * len(shape), 1
    for d in order:
        strides[d] = step
        step *= max(shape[d], 1)
    return tuple(strides)


def check_in_place(name: str, target: Spec, result: Spec) -> None:
    if target.shape != result.shape:
        fail(
            RuntimeError,
            f"output with shape {list(target.shape)} doesn't match the broadcast shape {list(result.shape)}",
            mend="the operand written in place must have the full shape already; use the out-of-place form",
        )
    check_cast(result.dtype, target.dtype)


def check_cast(source: dtype, target: dtype) -> None:
    """RuntimeError where a result of dtype `source` may not be written into `target` (a lower kind)."""
    kinds = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}
    if kinds[source.kind] > kinds[target.kind]:
        fail(
            RuntimeError,
            f"result type {dtype_title(source)} can't be cast to the desired output type {dtype_title(target)}",
            mend=f"use the out-of-place form, or convert the target first with .to({source!r})",
        )


def row_dims(s: Spec, dim) -> tuple[int, ...]:
    """The dims of a reduction, counted from the front, in order; None or () means all."""
    if s.ndim > 64:
        fail(RuntimeError, "only tensors with up to 64 dims are supported")
    if dim is None or dim == ():
        return tuple(range(s.ndim))
    if isinstance(dim, int):
        return (normalize_dim(dim, s.ndim),) if s.ndim else _scalar_dim(dim)
    dims = sorted(normalize_dim(d, s.ndim) for d in dim)
    for a, b in zip(dims, dims[1:]):
        if a == b:
            fail(RuntimeError, f"dim {a} appears multiple times in the list of dims", got=tuple(dim))
    return tuple(dims) if s.ndim else ()


def _scalar_dim(dim: int) -> tuple[()]:
    normalize_dim(dim, 0)
    return ()
