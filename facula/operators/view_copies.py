"""Views copied: `permute_copy(x, dims)` is `permute(x, dims)` in memory of its own; one table."""

from collections.abc import Callable
from typing import Any

from facula.autograd.node import alias
from facula.core.dtype import dtype as DType
from facula.core.tensor import Tensor
from facula.errors import fail

from . import view
from .copying import clone
from .declare import INTO, takes

__all__ = [
    "alias_copy", "as_strided_copy", "detach_copy", "diagonal_copy", "expand_copy", "narrow_copy", "permute_copy",
    "select_copy", "slice_copy", "split_copy", "split_with_sizes_copy", "squeeze_copy", "t_copy",
    "transpose_copy", "unbind_copy", "unfold_copy", "unsqueeze_copy", "view_as_complex_copy", "view_as_real_copy",
    "view_copy",
]  # fmt: skip


def _expand(input: Tensor, size, *, implicit: bool = False) -> Tensor:
    return view.expand_to(input, tuple(size))


def _slice(input: Tensor, dim: int = 0, start=None, end=None, step: int = 1) -> Tensor:
    return view.slice_dim(input, dim, start, end, step)


def _split(input: Tensor, split_size: int, dim: int = 0) -> tuple[Tensor, ...]:
    return view.split(input, split_size, dim)


@takes
def _narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    rank = input.spec.ndim
    if rank and dim >= rank:
        fail(RuntimeError, "Expected dim < static_cast<int64_t>(self_sizes.size()) to be true, but got false.")
    return view.narrow(input, dim, start, length)


def _view(input: Tensor, size=None, *, dtype: DType | None = None) -> Tensor:
    if isinstance(size, DType) or dtype is not None:
        return view.view_dtype(input, dtype or size)
    return view.reshape(input, size)


def _copied(name: str, look: Callable) -> Callable:
    """The function that copies what the view `look` shows: one tensor, or a tuple of them."""

    def entry(input: Tensor, *args, out=None, **kwargs) -> Any:
        seen = look(input, *args, **kwargs)
        if isinstance(seen, Tensor):
            made = clone(seen, memory_format="contiguous")
            return made if out is None else INTO[0](name, out, made, (input,))
        parts = tuple([clone(x, memory_format="contiguous") for x in seen])
        if out is None:
            return parts
        if len(out) != len(parts):
            fail(RuntimeError, f"{name}(): expected {len(parts)} tensors in out, but got {len(out)}")
        for target, made in zip(out, parts):
            INTO[0](name, target, made, (input,))
        return None

    entry.__name__ = entry.__qualname__ = name
    entry.__doc__ = f"`{name.removesuffix('_copy')}`, copied."
    return entry


# The views, each under its own name and with its own arguments.
_VIEWS: dict[str, Callable] = {
    "alias": view.alias_view, "as_strided": view.as_strided, "detach": alias, "diagonal": view.diagonal,
    "expand": _expand, "narrow": _narrow, "permute": view.permute, "select": view.select, "slice": _slice,
    "split": _split, "split_with_sizes": view.split_with_sizes, "squeeze": view.squeeze, "t": view.t,
    "transpose": view.transpose, "unbind": view.unbind, "unfold": view.unfold, "unsqueeze": view.unsqueeze,
    "view": _view, "view_as_complex": view.view_as_complex, "view_as_real": view.view_as_real,
}  # fmt: skip
_MADE = {name: _copied(f"{name}_copy", look) for name, look in _VIEWS.items()}
(
    alias_copy, as_strided_copy, detach_copy, diagonal_copy, expand_copy, narrow_copy, permute_copy, select_copy,
    slice_copy, split_copy, split_with_sizes_copy, squeeze_copy, t_copy, transpose_copy, unbind_copy, unfold_copy,
    unsqueeze_copy, view_copy, view_as_complex_copy, view_as_real_copy,
) = _MADE.values()  # fmt: skip
