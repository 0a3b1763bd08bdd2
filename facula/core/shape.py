"""Arithmetic on shapes and strides: contiguity, broadcasting, reshaping without a copy; touches no memory."""

from math import prod
from typing import Any

from facula.errors import fail

__all__ = [
    "Size", "broadcast", "channels_innermost", "channels_last_strides", "contiguous_strides", "is_contiguous",
    "normalize_dim", "reach", "view_strides",
]  # fmt: skip


class Size(tuple):
    """The shape of a tensor, as `torch.Size`: a tuple of ints with `numel`.

    >>> Size((2, 3)).numel()
    6
    """

    __slots__ = ()

    def numel(self) -> int:
        return prod(self)

    def __repr__(self) -> str:
        return f"torch.Size([{', '.join(map(str, self))}])"

    def __getitem__(self, key) -> Any:
        found = tuple.__getitem__(self, key)
        return Size(found) if isinstance(key, slice) else found

    def __add__(self, other):
        return Size(tuple.__add__(self, tuple(other)))

    def __radd__(self, other):
        return Size(tuple(other) + tuple(self))

    def __mul__(self, count):
        return Size(tuple.__mul__(self, count))

    __rmul__ = __mul__

    def __reduce__(self):
        return (Size, (tuple(self),))


def contiguous_strides(shape) -> tuple[int, ...]:
    """Row-major strides in elements; a size of 0 counts as 1, as in PyTorch."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size or 1
    return tuple(reversed(strides))


def channels_last_strides(shape) -> tuple[int, ...]:
    """Strides of (N, C, ...) without gaps whose channels are the innermost dim."""
    n, c, *sizes = shape
    batch, *steps = contiguous_strides((n, *sizes, c))[:-1]
    return (batch, 1, *steps)


def channels_innermost(shape, strides) -> bool:
    """Whether PyTorch takes (N, C, ...) for one whose channels are the innermost dim, gaps or not; not in doubt."""
    if len(shape) not in (4, 5) or 0 in shape or strides[1] == 0:
        return False
    least = 0
    for d in (1, *range(len(shape) - 1, 1, -1), 0):
        if strides[d] < least or (d == 0 and least == strides[1]):
            return False
        least = strides[d] * shape[d]
    return True


def is_contiguous(shape, strides) -> bool:
    """Whether elements lie in row-major order without gaps (dims of size 1 may have any stride)."""
    step = 1
    for size, stride in zip(reversed(shape), reversed(strides)):
        if size == 0:
            return True
        if size != 1 and stride != step:
            return False
        step *= size
    return 0 not in shape or True


def reach(shape, strides) -> tuple[int, int]:
    """The lowest and the highest element offset that the layout touches; (0, -1) when it has no elements."""
    low = high = 0
    for size, stride in zip(shape, strides):
        if size == 0:
            return 0, -1
        if stride > 0:
            high += (size - 1) * stride
        else:
            low += (size - 1) * stride
    return low, high


def normalize_dim(dim: int, rank: int) -> int:
    """`dim` counted from the front; IndexError in PyTorch's words when out of range."""
    span = rank or 1
    if not -span <= dim < span:
        fail(IndexError, f"Dimension out of range (expected to be in range of [{-span}, {span - 1}], but got {dim})")
    return dim + span if dim < 0 else dim


def broadcast(*shapes) -> Size:
    """The common shape by NumPy's rule; RuntimeError naming the dimension that disagrees."""
    rank = max(map(len, shapes), default=0)
    result = [1] * rank
    for shape in shapes:
        for dim, size in enumerate(shape, rank - len(shape)):
            if size != 1:
                if result[dim] not in (1, size):
                    fail(
                        RuntimeError,
                        f"The size of tensor a ({result[dim]}) must match the size of tensor b ({size}) at "
                        f"non-singleton dimension {dim}",
                        got=" and ".join(str(tuple(s)) for s in shapes),
                        mend="sizes must be equal or 1, counted from the last dim; unsqueeze or transpose one operand",
                    )
                result[dim] = size
    return Size(result)


def view_strides(shape, strides, target) -> tuple[int, ...] | None:
    """Strides that show the same elements in the shape `target` without a copy, or None where that needs one."""
    if prod(shape) == 0:
        return contiguous_strides(target)
    # Runs of dims that advance together are merged, then cut again along the target shape.
    runs: list[list[int]] = []  # [elements, stride of the innermost]
    for size, stride in zip(shape, strides):
        if size == 1:
            continue
        if runs and runs[-1][1] == size * stride:
            runs[-1][0] *= size
            runs[-1][1] = stride
        else:
            runs.append([size, stride])
    result: list[int] = []
    run = len(runs) - 1
    left = runs[run][0] if runs else 1
    step = runs[run][1] if runs else 1
    for size in reversed(target):
        if left == 1 and size != 1:
            run -= 1
            if run < 0:
                return None
            left, step = runs[run]
        if left % size:
            return None
        result.append(step)
        left //= size
        step *= size
    return tuple(reversed(result))
