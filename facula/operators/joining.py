"""Joining and rearranging: cat, stack, flip, roll, repeat, tile, triangles; gradients are views of the gradient."""

from collections.abc import Callable, Sequence
from itertools import product

from facula import launch
from facula.autograd.node import dtype_title
from facula.core.dtype import int32, int64
from facula.core.modes import GUARD, LOCAL
from facula.core.shape import normalize_dim
from facula.core.spec import Spec, dense, spec
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.ir import expr as ir
from facula.ir.kernel import Input, Kernel, Result

from .copying import bound_copy, cast, clone, copy_kernel, copy_values, like_layout
from .declare import function, one_device, unrecorded
from .numpynames import numpy_dims
from .promotion import opmath, result_type
from .view import expand_to, ints, reshape, slice_dim, unsqueeze

__all__ = [
    "block_diag", "cartesian_prod", "cat", "column_stack", "combinations", "concat", "concatenate", "diag",
    "diag_embed", "diagflat",
    "dstack", "flip", "fliplr", "flipud", "hstack", "kron", "meshgrid", "repeat", "repeat_interleave", "roll", "rot90",
    "row_stack",
    "stack", "tile", "tril", "triu", "vander", "vstack",
]  # fmt: skip

_CAT_PLANS: dict[tuple, tuple] = {}


def _cat_plan(specs: Sequence[Spec], dim: int):
    """The result's spec; for each non-empty input its number, the byte offset of its place, the code that copies it."""
    one_device(*specs)
    parts = [t for t in specs if t.shape != (0,)] or list(specs[:1])
    first = parts[0]
    d = normalize_dim(dim, first.ndim)
    if first.ndim == 0:
        fail(RuntimeError, "zero-dimensional tensor (at position 0) cannot be concatenated")
    kind = result_type(specs)
    for i, t in enumerate(parts):
        if t.ndim != first.ndim:
            fail(
                RuntimeError,
                f"Tensors must have same number of dimensions: got {first.ndim} and {t.ndim}",
                got=" and ".join(str(tuple(x.shape)) for x in parts),
            )
        for e, (n, m) in enumerate(zip(first.shape, t.shape)):
            if e != d and n != m:
                fail(
                    RuntimeError,
                    f"Sizes of tensors must match except in dimension {d}. Expected size {n} but got size {m} for "
                    f"tensor number {i} in the list.",
                    got=" and ".join(str(tuple(x.shape)) for x in parts),
                )
    total = sum(t.shape[d] for t in parts)
    shape = (*first.shape[:d], total, *first.shape[d + 1 :])
    out = dense(kind, shape, first.device)
    places, at = [], 0
    for i, t in enumerate(specs):
        if t.shape == (0,) and first.shape != (0,):
            continue
        part = spec(kind, first.device, t.shape, out.strides)
        bound = bound_copy(part, t)
        if bound.function is not None:
            places.append((i, at * out.strides[d] * kind.itemsize, bound.function, bound.tail))
        at += t.shape[d]
    return out, places


@function(name="cat", tensors=("tensors",))
def _cat(tensors, dim=0):
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
        found = _CAT_PLANS[key] = _cat_plan(key[1:], dim)
    return _joined(found, tensors)


def _joined(plan: tuple, tensors: Sequence[Tensor], empty: Callable[[Spec], Tensor] = launch.empty) -> Tensor:
    """The result of a plan: each tensor copied to its place."""
    s, places = plan
    out = empty(s)
    ptr = out.ptr
    for i, offset, run, tail in places:
        run(ptr + offset, tensors[i].ptr, *tail)
    return out


@_cat.gradient("tensors")
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


class _Joined:
    """Calls that machine code repeats, for each number of tensors."""

    def __init__(self, stacked: bool):
        self.stacked, self.memos, self.tried = stacked, {}, set()

    def find(self, tensors, dim) -> Tensor | None:
        """The result of a call like one before, of operands that need no gradient."""
        memo = self.memos.get(len(tensors))
        if memo is None or not GUARD.active:
            return None if memo is None else memo.run(*tensors, dim)
        return None if LOCAL.special or LOCAL.grad else memo.bare(*tensors, dim)

    def learn(self, tensors: Sequence[Tensor], dim: int) -> None:
        """Make the call known; long lists and large tensors gain nothing from it."""
        key = (("stack",) if self.stacked else ()) + (dim, *[t.spec for t in tensors])
        if key in self.tried:
            return
        if len(self.tried) > 4096:
            self.tried.clear()
        self.tried.add(key)
        found = _CAT_PLANS.get(key)
        kind = launch.memo(tensors[0].spec.device)
        if found is None or kind is None or len(tensors) > 8 or found[0].nbytes > 1 << 16 or LOCAL.special:
            return
        memo = self.memos.get(len(tensors))
        if memo is None:
            memo = self.memos[len(tensors)] = kind(len(tensors), 0, 1, unrecorded(kind), steps=True)
        memo.add_steps((*tensors, dim), *found, kind)


_CATS, _STACKS = _Joined(False), _Joined(True)


def _several(name: str, tensors) -> tuple:
    """A tuple of the tensors; TypeError for a single tensor."""
    if isinstance(tensors, Tensor):
        fail(TypeError, f"{name}(): argument 'tensors' (position 1) must be tuple of Tensors, not Tensor")
    return tuple(tensors)


def cat(tensors, dim=0, *, out=None, axis=None) -> Tensor:
    """Tensors one after another along `dim`; their other sizes must agree."""
    if out is None and axis is None and tensors.__class__ in (list, tuple):
        if (made := _CATS.find(tensors, dim)) is not None:
            return made
        made = _cat(tuple(tensors), dim)
        _CATS.learn(tensors, dim)
        return made
    made = _cat(_several("cat", tensors), dim if axis is None else axis)
    if out is None:
        return made
    from .matmul import _to_out

    return _to_out("cat", out, made, tensors)


concat = concatenate = cat


def stack(tensors, dim=0, axis=None, *, out=None) -> Tensor:
    """Tensors of one shape along a new dim."""
    if axis is not None:
        dim, _ = numpy_dims("stack", dim, None, axis, None, 0)
    if out is None and tensors.__class__ in (list, tuple) and (made := _STACKS.find(tensors, dim)) is not None:
        return made
    tensors = _several("stack", tensors)
    if not tensors:
        fail(RuntimeError, "stack expects a non-empty TensorList")
    first = tensors[0].spec.shape
    for i, t in enumerate(tensors):
        if t.spec.shape is not first and t.spec.shape != first:
            fail(
                RuntimeError,
                f"stack expects each tensor to be equal size, but got {list(first)} at entry 0 and "
                f"{list(t.spec.shape)} at entry {i}",
                mend="pad them to one shape first, or use cat along a dim that exists",
            )
    rank = len(first) + 1
    if not -rank <= dim < rank:
        fail(IndexError, f"Dimension out of range (expected to be in range of [{-rank}, {rank - 1}], but got {dim})")
    made = stack_core(tensors, dim % rank)
    if out is None:
        if 0 <= dim:
            _STACKS.learn(tensors, dim)
        return made
    from .matmul import _to_out

    return _to_out("stack", out, made, tensors)


@function(tensors=("tensors",))
def stack_core(tensors, dim):
    """`stack` of checked operands."""
    key = ("stack", dim, *[t.spec for t in tensors])
    found = _CAT_PLANS.get(key)
    if found is None:
        found = _CAT_PLANS[key] = _cat_plan([unsqueeze(t, dim).spec for t in tensors], dim)
    return _joined(found, tensors)


def stack_on(tensors: Sequence[Tensor], empty: Callable[[Spec], Tensor]) -> Tensor:
    """`stack(tensors)` of tensors of one spec that need no gradient, on memory that `empty` gives."""
    key = ("stack", 0, *[t.spec for t in tensors])
    found = _CAT_PLANS.get(key)
    if found is None:
        found = _CAT_PLANS[key] = _cat_plan([unsqueeze(t, 0).spec for t in tensors], 0)
    return _joined(found, tensors, empty)


@stack_core.gradient("tensors")
def _(grad, tensors_spec, dim):
    from .view import unbind

    return tuple([cast(g, s.dtype) for g, s in zip(unbind(grad, dim), tensors_spec)])


stack_core.operator.node_class.__name__ = "StackBackward0"


def _listed(name: str, tensors, rank: int) -> list[Tensor]:
    """The tensors with at least `rank` dims."""
    found = []
    if not len(tensors):
        fail(RuntimeError, f"{name} expects a non-empty TensorList")
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
    parts = _listed("hstack", tensors, 1)
    return cat(parts, 0 if parts[0].spec.ndim == 1 else 1, out=out)


def vstack(tensors, *, out=None) -> Tensor:
    """Tensors joined as rows."""
    return cat(_listed("vstack", tensors, 2), 0, out=out)


def dstack(tensors, *, out=None) -> Tensor:
    """Tensors joined along their third dim."""
    return cat(_listed("dstack", tensors, 3), 2, out=out)


row_stack = vstack


def column_stack(tensors, *, out=None) -> Tensor:
    """Vectors as the columns of a matrix, matrices side by side."""
    return hstack([reshape(t, (t.spec.numel, 1)) if t.spec.ndim <= 1 else t for t in tensors], out=out)


def block_diag(*tensors: Tensor) -> Tensor:
    """Matrices along the diagonal of a larger one."""
    from .creation import zeros

    for i, t in enumerate(tensors):
        if not isinstance(t, Tensor):
            fail(TypeError, f"expected Tensor as element {i} in argument 0, but got {type(t).__name__}")
        if t.spec.ndim > 2:
            fail(
                RuntimeError,
                f"torch.block_diag: Input tensors must have 2 or fewer dimensions. Input {i} has {t.spec.ndim} "
                "dimensions",
            )
    parts = [reshape(t, (1, t.spec.numel)) if t.spec.ndim < 2 else t for t in tensors]
    if not parts:
        return zeros(1, 0)
    columns, rows, at = sum(t.spec.shape[1] for t in parts), [], 0
    for t in parts:
        n, m = t.spec.shape
        left, right = (zeros(n, k, dtype=t.spec.dtype, device=t.spec.device) for k in (at, columns - at - m))
        rows.append(_cat((left, t, right), 1))
        at += m
    return _cat(tuple(rows), 0)


# --- rearranging --------------------------------------------------------------------------------------------------

_MOVES: dict[tuple, tuple] = {}  # -> the result's spec; for each box machine code, sizes and strides, byte offsets


def _moved(input: Tensor, key: tuple, boxes, layout: object = "preserve") -> Tensor:
    """Copies of parts of a tensor that fill one of the same shape.

    `boxes()` gives for each part its shape, and for each dim (start there, start here, step here).
    """
    plan = _MOVES.get((key, input.spec))
    if plan is None:
        s = input.spec
        out, parts = like_layout(s, None, layout), []
        for shape, places in boxes():
            strides = [list(out.strides), [st * step for st, (_, _, step) in zip(s.strides, places)]]
            bound = launch.bind(copy_kernel(s.dtype, s.dtype), shape, None, strides, s.device)
            to, here = (
                sum(st * p[i] for st, p in zip(strides, places)) * s.dtype.itemsize
                for i, strides in enumerate((out.strides, s.strides))
            )
            if bound.function is not None:
                parts.append((bound.function, bound.tail, to, here))
        if len(_MOVES) > 4096:
            _MOVES.clear()
        plan = _MOVES[key, s] = out, parts
    out = launch.empty(plan[0])
    for code, tail, to, here in plan[1]:
        code(out.ptr + to, input.ptr + here, *tail)
    return out


def _dims(input: Tensor, dims) -> tuple[int, ...]:
    found = tuple(normalize_dim(d, input.spec.ndim) for d in dims)
    if len(set(found)) != len(found):
        fail(
            RuntimeError,
            f"dim {next(d for d in found if found.count(d) > 1)} appears multiple times in the list of dims",
        )
    return found


@function(tensors=("input",))
def flip_dims(input, dims):
    """The elements in reverse order along dims."""
    if not input.spec.ndim:
        return copy_values(launch.empty(input.spec), input)

    shape = input.spec.shape
    return _moved(
        input,
        ("flip", dims),
        lambda: [(shape, [(0, n - 1, -1) if d in dims else (0, 0, 1) for d, n in enumerate(shape)])],
    )


@flip_dims.gradient("input")
def _(grad, dims):
    return flip_dims(grad, dims)


flip_dims.operator.node_class.__name__ = "FlipBackward0"


def flip(input: Tensor, *args, dims=None) -> Tensor:
    """The elements in reverse order along dims, copied."""
    return flip_dims(input, _dims(input, ints(args if dims is None else (dims,))))


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

    def boxes():
        # Along each dim what stays in front of the end, and what is put back at the start: (size, there, here).
        parts = [
            [(n - a, a, 0), (a, 0, n - a)] if (a := dict(zip(dims, amounts)).get(d, 0)) else [(n, 0, 0)]
            for d, n in enumerate(sizes)
        ]
        return [([n for n, _, _ in box], [(to, here, 1) for _, to, here in box]) for box in product(*parts)]

    return _moved(input, ("roll", dims, amounts), boxes, "contiguous")


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
        return reshape(
            roll_dims(reshape(input, (-1,)) if input.spec.numel else reshape(input, (0,)), shifts, (0,)),
            input.spec.shape,
        )
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

    if len(dims) != 2:
        fail(RuntimeError, f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if input.spec.ndim < 2:
        fail(RuntimeError, f"expected total dims >= 2, but got total dims = {input.spec.ndim}")
    a, b = dims
    if a == b or abs(a - b) == input.spec.ndim:
        fail(RuntimeError, f"expected rotation dims to be different, but got dim0 = {a} and dim1 = {b}")
    k %= 4
    if k == 0:
        return clone(input, memory_format="contiguous")
    if k == 2:
        return flip(input, a, b)
    return transpose(flip(input, b if k == 1 else a), a, b)


def repeat(input: Tensor, *args, repeats=None) -> Tensor:
    """The tensor so many times along each dim; more numbers than dims add dims in front."""
    counts = ints(args if repeats is None else (repeats,))
    lead = len(counts) - input.spec.ndim
    if lead < 0:
        fail(RuntimeError, "Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor")
    if any(n < 0 for n in counts):
        fail(RuntimeError, f"Trying to create tensor with negative dimension {min(counts)}: {list(counts)}")
    return repeat_core(input, counts)


@function(tensors=("input",))
def repeat_core(input, counts):
    """`repeat` of checked counts."""
    shape = (*[1] * (len(counts) - input.spec.ndim), *input.spec.shape)
    twice = [n for pair in zip([1] * len(shape), shape) for n in pair]  # (1, n0, 1, n1, ...)
    wide = [n for pair in zip(counts, shape) for n in pair]
    whole = clone(expand_to(reshape(input, tuple(twice)), tuple(wide)), memory_format="contiguous")
    return reshape(whole, tuple(c * n for c, n in zip(counts, shape)))


@repeat_core.gradient("input")
def _(grad, input_spec, counts):
    from .reduction import sum as total

    shape = (*[1] * (len(counts) - input_spec.ndim), *input_spec.shape)
    pieces = reshape(grad, tuple(n for pair in zip(counts, shape) for n in pair))
    return reshape(total(pieces, tuple(range(0, 2 * len(counts), 2))) if counts else pieces, input_spec.shape)


repeat_core.operator.node_class.__name__ = "RepeatBackward0"


def tile(input: Tensor, *args, dims=None) -> Tensor:
    """`repeat` with missing counts taken as 1."""
    counts = ints(args if dims is None else (dims,))
    return repeat(input, (*[1] * (input.spec.ndim - len(counts)), *counts))


# --- triangles and diagonals --------------------------------------------------------------------------------------


_TRIANGLE: dict[tuple, Kernel] = {}
_TRIANGLE_PLANS: dict[tuple, tuple] = {}


@function(tensors=("input",))
def triangle(input, diagonal, upper):
    """The elements on and above (or below) a diagonal of the last two dims, zeros elsewhere."""
    from facula.core import dtype as dt
    from facula.ir.kernel import Param

    s = input.spec
    plan = _TRIANGLE_PLANS.get((s, upper))
    if plan is not None:
        spec, function, tail = plan
        out = launch.empty(spec)
        if function is not None:
            function(out.ptr, input.ptr, diagonal, *tail)
        return out
    key = (upper, s.dtype, s.ndim)
    kernel = _TRIANGLE.get(key)
    if kernel is None:
        gap = ir.index(s.ndim - 1) - ir.index(s.ndim - 2)
        edge = ir.param("diagonal", dt.int64)
        inside = ir.ge(gap, edge) if upper else ir.le(gap, edge)
        value = ir.load("input", s.dtype)
        wide = ir.cast(value, opmath(s.dtype))
        kernel = _TRIANGLE[key] = Kernel(
            "triangle", (Input("input", s.dtype),), (Result("out", s.dtype,
                                                            ir.select(inside, wide, ir.const(0, wide.dtype))),),
            (Param("diagonal", dt.int64),),
        )  # fmt: skip
    out = launch.empty(dense(s.dtype, s.shape, s.device))
    bound = launch.bind(kernel, s.shape, None, [out.spec.strides, s.strides], s.device)
    _TRIANGLE_PLANS[s, upper] = out.spec, bound.function, bound.tail
    launch.run(bound, [out.ptr, input.ptr], [diagonal])
    return out


@triangle.gradient("input")
def _(grad, diagonal, upper):
    return triangle(grad, diagonal, upper)


def _triangle(name: str, upper: bool):
    def entry(input: Tensor, diagonal: int = 0, *, out=None) -> Tensor:
        if input.spec.ndim < 2:
            fail(RuntimeError, f"{name}: input tensor must have at least 2 dimensions")
        made = triangle(input, diagonal, upper)
        if made.edge is not None:
            made.edge.__class__ = _TRIANGLES[upper]
        if out is None:
            return made
        from .matmul import _to_out

        return _to_out(name, out, made, (input,))

    entry.__name__ = entry.__qualname__ = name
    where = "above" if upper else "below"
    entry.__doc__ = f"The elements on and {where} a diagonal of the last two dims, zeros elsewhere."
    return entry


_TRIANGLES = [
    type(f"{n}Backward0", (triangle.operator.node_class,), {"__slots__": (), "__module__": "torch.autograd"})
    for n in ("Tril", "Triu")
]
tril, triu = _triangle("tril", False), _triangle("triu", True)


@function(tensors=("input",))
def diag_embed_core(input, offset, dim1, dim2):
    """A batch of vectors as the diagonals of matrices of zeros."""
    from .creation import zeros_of
    from .view import diagonal

    s = input.spec
    n = s.shape[-1] + abs(offset)
    shape = list(s.shape[:-1])
    for d in sorted((dim1, dim2)):
        shape.insert(d, n)
    out = zeros_of(dense(s.dtype, tuple(shape), s.device))
    copy_values(diagonal(out, offset, dim1, dim2), input)
    return out


@diag_embed_core.gradient("input")
def _(grad, offset, dim1, dim2):
    from .view import diagonal

    return diagonal(grad, offset, dim1, dim2)


diag_embed_core.operator.node_class.__name__ = "DiagEmbedBackward0"


def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Vectors along the last dim as the diagonals of matrices of zeros."""
    if not input.spec.ndim:
        fail(IndexError, "Dimension specified as -1 but tensor has no dimensions")
    rank = input.spec.ndim + 1
    a, b = normalize_dim(dim1, rank), normalize_dim(dim2, rank)
    if a == b:
        fail(RuntimeError, f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return diag_embed_core(input, offset, a, b)


def diag(input: Tensor, diagonal: int = 0, *, out=None) -> Tensor:
    """A vector as the diagonal of a matrix of zeros, or the diagonal of a matrix, copied."""
    from .view import diagonal as view_of

    if input.spec.ndim not in (1, 2):
        fail(RuntimeError, f"diag(): Supports 1D or 2D tensors. Got {input.spec.ndim}D")
    made = (
        diag_embed(input, diagonal)
        if input.spec.ndim == 1
        else clone(view_of(input, diagonal), memory_format="contiguous")
    )
    if out is None:
        return made
    from .matmul import _to_out

    return _to_out("diag", out, made, (input,))


def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """All elements as the diagonal of a matrix of zeros."""
    return diag_embed(reshape(input, (input.spec.numel,)), offset)


# --- repeating and combining --------------------------------------------------------------------------------------


def repeat_interleave(
    input: Tensor, repeats=None, dim: int | None = None, axis=None, *, output_size: int | None = None
) -> Tensor:
    """Each part along `dim` (each element when None) so many times in a row."""
    if axis is not None:
        dim, _ = numpy_dims("repeat_interleave", dim, None, axis, None)
    if repeats is None:
        return _interleaved(input, output_size)
    if dim is None:
        input, dim = reshape(input, (input.spec.numel,)), 0
    d = normalize_dim(dim, input.spec.ndim)
    if isinstance(repeats, int):
        sizes = input.spec.shape if input.spec.ndim else (1,)
        total = sizes[d] * repeats
        if repeats < 0:
            fail(RuntimeError, "Repeats must be non-negative", got=repeats)
        if output_size is not None and output_size != total:
            fail(
                RuntimeError, f"repeat_interleave: Invalid output_size, expected {total} but got {output_size}"
            )  # fmt: skip
        wide = expand_to(unsqueeze(reshape(input, sizes), d + 1), (*sizes[: d + 1], repeats, *sizes[d + 1 :]))
        return reshape(clone(wide, memory_format="contiguous"), (*sizes[:d], total, *sizes[d + 1 :]))
    from .creation import tensor
    from .indexing import index_select

    counts = repeats if isinstance(repeats, Tensor) else tensor(repeats)
    if counts.spec.ndim > 1:
        fail(RuntimeError, "repeats must be 0-dim or 1-dim tensor")
    if not input.spec.ndim:
        fail(IndexError, "Dimension specified as 0 but tensor has no dimensions")
    n = input.spec.shape[d]
    if counts.spec.numel == 1:
        counts = expand_to(reshape(counts, (1,)), (n,))
    elif counts.spec.numel != n:
        fail(
            RuntimeError,
            f"repeats must have the same size as input along dim, but got repeats.size(0) = {counts.spec.numel} and "
            f"input.size({d}) = {n}",
        )
    return index_select(input, d, _interleaved(counts, output_size))


def _interleaved(counts: Tensor, size: int | None) -> Tensor:
    """The number i, counts[i] times; `size` numbers, where that is known."""
    import numpy as np

    from .creation import arange, array_on, host_array

    kind, where = counts.spec.dtype, counts.spec.device
    if counts.spec.ndim != 1:
        fail(RuntimeError, "repeat_interleave only accept 1D vector as repeat")
    if kind not in (int32, int64):
        fail(NotImplementedError, f"\"repeat_interleave_cpu\" not implemented for '{dtype_title(kind)}'")
    if launch.hollow(where):
        if size is None:
            fail(RuntimeError, "cannot repeat_interleave a meta tensor without output_size")
        return launch.empty(dense(kind, (size,), where))
    if size is not None and launch.checks_later(where):  # nobody waits for the numbers
        from .reduction import cumsum
        from .sorting import searchsorted

        return cast(searchsorted(cumsum(counts, 0), arange(size, device=where), right=True), kind)
    numbers = host_array(counts)
    if numbers is None:  # nobody computed them
        numbers = np.ones(counts.spec.shape, np.int64)
    if size is not None and numbers.size and numbers.sum() != size:
        fail(RuntimeError, "allocated size does not match required size", expected=numbers.sum(), got=size)
    if (numbers < 0).any():
        fail(RuntimeError, "repeats can not be negative")
    return array_on(np.repeat(np.arange(len(numbers), dtype=kind.numpy), numbers), where)


def kron(input: Tensor, other: Tensor, *, out=None) -> Tensor:
    """The Kronecker product: each element of the first times the whole second."""
    from .elementwise import mul

    rank = max(input.spec.ndim, other.spec.ndim)
    a = (*[1] * (rank - input.spec.ndim), *input.spec.shape)
    b = (*[1] * (rank - other.spec.ndim), *other.spec.shape)
    x = reshape(input, tuple(n for m in a for n in (m, 1)))
    y = reshape(other, tuple(n for m in b for n in (1, m)))
    made = reshape(mul(x, y), tuple(n * m for n, m in zip(a, b)))
    if out is None:
        return made
    from .matmul import _to_out

    return _to_out("kron", out, made, (input, other))


def meshgrid(*tensors, indexing: str | None = None) -> tuple[Tensor, ...]:
    """Grids of coordinates from vectors; `indexing` "ij" (matrix order) or "xy" (the first two exchanged)."""
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tuple(tensors[0])
    if not tensors:
        fail(RuntimeError, "meshgrid expects a non-empty TensorList")
    if indexing is None:
        import warnings

        warnings.warn(
            "torch.meshgrid: in an upcoming release, it will be required to pass the indexing argument.",
            UserWarning,
            stacklevel=2,
        )
        indexing = "ij"
    if indexing not in ("ij", "xy"):
        fail(RuntimeError, f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    for t in tensors:
        if t.spec.ndim > 1:
            fail(
                RuntimeError,
                f"torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: {list(t.spec.shape)}",
            )
    swap = indexing == "xy" and len(tensors) > 1
    order = [1, 0, *range(2, len(tensors))] if swap else list(range(len(tensors)))
    given = [tensors[i] for i in order]
    shape = tuple(t.spec.numel for t in given)
    grids = [
        expand_to(reshape(t, tuple(n if e == d else 1 for e in range(len(shape)))), shape)
        for d, (t, n) in enumerate(zip(given, shape))
    ]
    return tuple(grids[i] for i in order)


def cartesian_prod(*tensors: Tensor) -> Tensor:
    """All tuples of one element of each vector, as rows."""
    for t in tensors:
        if t.spec.ndim != 1:
            fail(RuntimeError, f"Expect a 1D vector, but got shape {list(t.spec.shape)}")
    if len(tensors) == 1:
        return tensors[0]
    return stack([reshape(g, (-1,)) for g in meshgrid(*tensors, indexing="ij")], 1)


def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All choices of `r` elements of a vector in order, as rows."""
    import itertools

    import numpy as np

    from .creation import array_on
    from .indexing import getitem

    if input.spec.ndim != 1:
        fail(RuntimeError, f"Expect a 1D vector, but got shape {list(input.spec.shape)}")
    if r < 0:
        fail(RuntimeError, f"Expect a non-negative number, but got {r}")
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = np.array(list(choose(range(input.spec.numel), r)), np.int64).reshape(-1, r)
    return getitem(input, array_on(rows, input.spec.device)) if r else reshape(input, (-1,))[:0]


def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """The powers of a vector's elements as columns, highest first unless `increasing`."""
    from .elementwise import pow as power

    if x.spec.ndim != 1:
        fail(
            RuntimeError,
            f"x must be a one-dimensional tensor, but got {x.spec.ndim}D"
            if x.spec.ndim
            else "x must be a one-dimensional tensor.",
        )
    n = x.spec.numel if N is None else N
    if n < 0:
        fail(RuntimeError, "N must be non-negative.")
    from .creation import arange

    ends = (0, n, 1) if increasing else (n - 1, -1, -1)
    powers = arange(*ends, device=x.spec.device)
    kind = x.spec.dtype
    if kind.kind in "bui":
        from facula.core import dtype as dt

        return power(cast(x, dt.int64).unsqueeze(1), powers)
    return power(x.unsqueeze(1), cast(powers, kind))
