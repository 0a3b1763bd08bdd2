"""Joining and rearranging: cat, stack, flip, roll, repeat, tile, triangles; their gradients are views of the gradient."""

from collections.abc import Sequence
from math import prod

from facula import launch
from facula.core.device import CPU
from facula.core.dtype import promote_types
from facula.core.shape import normalize_dim
from facula.core.spec import dense, spec
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.ir import expr as ir
from facula.ir.kernel import Input, Kernel, Result

from .copying import bound_copy, cast, copy_values
from .declare import function
from .promotion import result_type
from .view import expand_to, ints, narrow, reshape, slice_dim, unsqueeze

__all__ = ["block_diag", "cat", "column_stack", "concat", "concatenate", "dstack", "flip", "fliplr", "flipud", "hstack", "repeat",
           "roll", "rot90", "stack", "tile", "vstack"]  # fmt: skip

_CAT_PLANS: dict[tuple, tuple] = {}


def _cat_plan(tensors: Sequence[Tensor], dim: int):
    """The result's spec and, for each non-empty input, its number, the offset in bytes of its place, and the code that copies it."""
    parts = [t for t in tensors if t.spec.shape != (0,)] or list(tensors[:1])
    first = parts[0].spec
    d = normalize_dim(dim, first.ndim)
    if first.ndim == 0:
        fail(RuntimeError, "zero-dimensional tensor (at position 0) cannot be concatenated")
    kind = result_type(t.spec for t in tensors)
    for i, t in enumerate(parts):
        if t.spec.ndim != first.ndim:
            fail(
                RuntimeError,
                f"Tensors must have same number of dimensions: got {first.ndim} and {t.spec.ndim}",
                got=" and ".join(str(tuple(x.spec.shape)) for x in parts),
            )
        for e, (n, m) in enumerate(zip(first.shape, t.spec.shape)):
            if e != d and n != m:
                fail(
                    RuntimeError,
                    f"Sizes of tensors must match except in dimension {d}. Expected size {n} but got size {m} for tensor number {i} in the list.",
                    got=" and ".join(str(tuple(x.spec.shape)) for x in parts),
                )
    total = sum(t.spec.shape[d] for t in parts)
    shape = (*first.shape[:d], total, *first.shape[d + 1 :])
    out = dense(kind, shape, first.device)
    places, at = [], 0
    for i, t in enumerate(tensors):
        if t.spec.shape == (0,) and first.shape != (0,):
            continue
        part = spec(kind, first.device, t.spec.shape, out.strides)
        bound = bound_copy(part, t.spec)
        if bound.function is not None:
            places.append((i, at * out.strides[d] * kind.itemsize, bound.function, bound.tail))
        at += t.spec.shape[d]
    return out, places


@function(tensors=("tensors",))
def cat(tensors, dim=0):
    """Tensors one after another along `dim`; their other sizes must agree.

    Examples
    --------
    >>> import facula as torch
    >>> torch.cat([torch.zeros(1, 2), torch.ones(1, 2)])
    tensor([[0., 0.],
            [1., 1.]])
    """
    if not tensors:
        fail(ValueError, "torch.cat(): expected a non-empty list of Tensors")
    for i, t in enumerate(tensors):
        if not isinstance(t, Tensor):
            fail(TypeError, f"expected Tensor as element {i} in argument 0, but got {type(t).__name__}")
    key = (dim, *[t.spec for t in tensors])
    found = _CAT_PLANS.get(key)
    if found is None:
        if len(_CAT_PLANS) > 4096:
            _CAT_PLANS.clear()
        found = _CAT_PLANS[key] = _cat_plan(tensors, dim)
    s, places = found
    out = launch.empty(s)
    ptr = out.ptr
    for i, offset, run, tail in places:
        run(ptr + offset, tensors[i].ptr, *tail)
    return out


@cat.gradient("tensors")
def _(grad, tensors_spec, dim):
    pieces, at = [], 0
    for s in tensors_spec:
        if s.shape == (0,) and grad.spec.ndim != 1:
            pieces.append(None)
            continue
        n = s.shape[dim % grad.spec.ndim]
        pieces.append(cast(slice_dim(grad, dim, at, at + n), s.dtype))
        at += n
    return tuple(pieces)


_cat = cat


def cat(tensors, dim=0, *, out=None, axis=None) -> Tensor:  # noqa: F811  the public signature
    """Tensors one after another along `dim`; their other sizes must agree."""
    made = _cat(tuple(tensors) if type(tensors) is not tuple else tensors, dim if axis is None else axis)
    if out is None:
        return made
    from .matmul import _to_out

    return _to_out("cat", out, made, tensors)


concat = concatenate = cat


def stack(tensors, dim=0, *, out=None) -> Tensor:
    """Tensors of one shape along a new dim."""
    tensors = tuple(tensors)
    if not tensors:
        fail(RuntimeError, "stack expects a non-empty TensorList")
    first = tensors[0].spec.shape
    for i, t in enumerate(tensors):
        if t.spec.shape != first:
            fail(
                RuntimeError,
                f"stack expects each tensor to be equal size, but got {list(first)} at entry 0 and {list(t.spec.shape)} at entry {i}",
                mend="pad them to one shape first, or use cat along a dim that exists",
            )
    rank = len(first) + 1
    if not -rank <= dim < rank:
        fail(IndexError, f"Dimension out of range (expected to be in range of [{-rank}, {rank - 1}], but got {dim})")
    return cat([unsqueeze(t, dim) for t in tensors], dim % rank, out=out)


def _at_least(tensors, rank: int) -> list[Tensor]:
    found = []
    for t in tensors:
        if t.spec.ndim == 0:
            t = reshape(t, (1,))
        if rank > 1 and t.spec.ndim == 1:
            t = unsqueeze(t, 0)
        if rank > 2 and t.spec.ndim == 2:
            t = unsqueeze(t, 2)
        found.append(t)
    return found


def hstack(tensors, *, out=None) -> Tensor:
    """Tensors joined along their second dim (vectors: the first)."""
    parts = _at_least(tensors, 1)
    return cat(parts, 0 if parts[0].spec.ndim == 1 else 1, out=out)


def vstack(tensors, *, out=None) -> Tensor:
    """Tensors joined as rows."""
    return cat(_at_least(tensors, 2), 0, out=out)


def dstack(tensors, *, out=None) -> Tensor:
    """Tensors joined along their third dim."""
    return cat(_at_least(tensors, 3), 2, out=out)


def column_stack(tensors, *, out=None) -> Tensor:
    """Vectors as the columns of a matrix, matrices side by side."""
    return hstack([reshape(t, (t.spec.numel, 1)) if t.spec.ndim <= 1 else t for t in tensors], out=out)


def block_diag(*tensors: Tensor) -> Tensor:
    """Matrices along the diagonal of a larger one."""
    from .creation import zeros_of
    from .inplace import copy_

    parts = [reshape(t, (1, -1)) if t.spec.ndim < 2 else t for t in tensors]
    rows, columns = sum(t.spec.shape[0] for t in parts), sum(t.spec.shape[1] for t in parts)
    out = zeros_of(dense(result_type(t.spec for t in parts), (rows, columns)))
    r = c = 0
    for t in parts:
        n, m = t.spec.shape
        copy_(slice_dim(slice_dim(out, 0, r, r + n), 1, c, c + m), t)
        r, c = r + n, c + m
    return out


# --- rearranging by index arithmetic ------------------------------------------------------------------------------

_SHUFFLES: dict[tuple, Kernel] = {}


def _shuffled(input: Tensor, key: tuple, place, params: Sequence[int]) -> Tensor:
    """A tensor of the same shape whose element at coordinates i comes from `place(d, i)` in dim d."""
    s = input.spec
    full = (*key, s.dtype, s.ndim)
    kernel = _SHUFFLES.get(full)
    if kernel is None:
        from facula.core import dtype as dt
        from facula.ir.kernel import Param

        offset = ir.const(0, dt.int64)
        for d in range(s.ndim):
            offset = offset + place(d) * ir.param(f"stride{d}", dt.int64)
        names = [f"shift{i}" for i in range(len(params))] + [f"stride{d}" for d in range(s.ndim)]
        used = {n.value for n in ir.walk(offset) if n.op == "param"}
        kernel = Kernel(
            key[0], (Input("input", s.dtype),), (Result("out", s.dtype, ir.load("input", s.dtype, offset)),),
            tuple(Param(n, dt.int64) for n in names if n in used),
        )  # fmt: skip
        _SHUFFLES[full] = kernel
    out = launch.empty(dense(s.dtype, s.shape, s.device))
    values = {f"shift{i}": v for i, v in enumerate(params)} | {f"stride{d}": st for d, st in enumerate(s.strides)}
    bound = launch.bind(kernel, s.shape, None, [out.spec.strides, [0] * s.ndim], s.device)
    launch.run(bound, [out.ptr, input.ptr], [values[p.name] for p in kernel.params])
    return out


def _dims(input: Tensor, dims) -> tuple[int, ...]:
    found = tuple(normalize_dim(d, input.spec.ndim) for d in dims)
    if len(set(found)) != len(found):
        fail(RuntimeError, f"dim {next(d for d in found if found.count(d) > 1)} appears multiple times in the list of dims")
    return found


@function(tensors=("input",))
def flip_dims(input, dims):
    """The elements in reverse order along dims."""
    if not input.spec.ndim:
        return copy_values(launch.empty(input.spec), input)

    def place(d: int):
        return ir.extent(d) - 1 - ir.index(d) if d in dims else ir.index(d)

    return _shuffled(input, ("flip", dims), place, ())


@flip_dims.gradient("input")
def _(grad, dims):
    return flip_dims(grad, dims)


flip_dims.operator.node_class.__name__ = "FlipBackward0"


def flip(input: Tensor, *dims) -> Tensor:
    """The elements in reverse order along dims, copied."""
    return flip_dims(input, _dims(input, ints(dims)))


def fliplr(input: Tensor) -> Tensor:
    """Columns in reverse order."""
    if input.spec.ndim < 2:
        fail(RuntimeError, "Input must be >= 2-d.")
    return flip(input, 1)


def flipud(input: Tensor) -> Tensor:
    """Rows in reverse order."""
    if input.spec.ndim < 1:
        fail(RuntimeError, "Input must be >= 1-d.")
    return flip(input, 0)


@function(tensors=("input",))
def roll_dims(input, shifts, dims):
    """The elements moved along dims, those that fall off put back at the start."""
    sizes = input.spec.shape
    amounts = tuple(sh % sizes[d] if sizes[d] else 0 for sh, d in zip(shifts, dims))

    def place(d: int):
        if d not in dims:
            return ir.index(d)
        from facula.core import dtype as dt

        at = ir.index(d) - ir.param(f"shift{dims.index(d)}", dt.int64)
        return ir.select(at < 0, at + ir.extent(d), at)

    return _shuffled(input, ("roll", dims), place, amounts)


@roll_dims.gradient("input")
def _(grad, shifts, dims):
    return roll_dims(grad, tuple(-s for s in shifts), dims)


roll_dims.operator.node_class.__name__ = "RollBackward0"


def roll(input: Tensor, shifts, dims=None) -> Tensor:
    """The elements moved by `shifts` along dims (None: in the flattened tensor), cyclically."""
    shifts = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    if dims is None or dims == ():
        if len(shifts) != 1:
            fail(RuntimeError, f"shifts and dimensions must align. shifts: {len(shifts)}, dims:0")
        return reshape(roll_dims(reshape(input, (-1,)) if input.spec.numel else reshape(input, (0,)), shifts, (0,)), input.spec.shape)
    dims = (dims,) if isinstance(dims, int) else tuple(dims)
    if len(dims) != len(shifts):
        fail(RuntimeError, f"shifts and dimensions must align. shifts: {len(shifts)}, dims:{len(dims)}")
    merged: dict[int, int] = {}
    for s, d in zip(shifts, dims):
        d = normalize_dim(d, input.spec.ndim)
        merged[d] = merged.get(d, 0) + s
    return roll_dims(input, tuple(merged.values()), tuple(merged))


def rot90(input: Tensor, k: int = 1, dims=(0, 1)) -> Tensor:
    """The plane of two dims turned by `k` quarter turns."""
    from .view import transpose

    a, b = dims
    k %= 4
    if k == 0:
        return input.clone()
    if k == 2:
        return flip(input, a, b)
    return transpose(flip(input, b), a, b) if k == 1 else flip(transpose(input, a, b), b)


def repeat(input: Tensor, *repeats) -> Tensor:
    """The tensor so many times along each dim; more numbers than dims add dims in front."""
    counts = ints(repeats)
    lead = len(counts) - input.spec.ndim
    if lead < 0:
        fail(RuntimeError, "Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor")
    if any(n < 0 for n in counts):
        fail(RuntimeError, f"Trying to create tensor with negative dimension {min(counts)}: {list(counts)}")
    shape = (*[1] * lead, *input.spec.shape)
    twice = [n for pair in zip([1] * len(shape), shape) for n in pair]  # (1, n0, 1, n1, ...)
    wide = [n for pair in zip(counts, shape) for n in pair]
    whole = expand_to(reshape(input, tuple(twice)), tuple(wide))
    return reshape(whole, tuple(c * n for c, n in zip(counts, shape)))


def tile(input: Tensor, *dims) -> Tensor:
    """`repeat` with missing counts taken as 1."""
    counts = ints(dims)
    return repeat(input, (*[1] * (input.spec.ndim - len(counts)), *counts))
