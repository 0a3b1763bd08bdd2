"""Views: other shapes and strides on the same memory; no kernel runs. Gradients are views, or zeros filled in part."""

from collections.abc import Sequence
from math import prod

from facula.autograd.node import dtype_title
from facula.core import dtype as dt
from facula.core.shape import Size, normalize_dim, view_strides
from facula.core.spec import Spec
from facula.core.tensor import Tensor
from facula.core.wrapped import first_of
from facula.errors import fail

from .declare import CLONE, EMBED, OPERATORS, function, takes, view
from .numpynames import numpy_dims

__all__ = [
    "adjoint", "as_strided", "as_strided_scatter", "atleast_1d", "atleast_2d", "atleast_3d", "broadcast_shapes",
    "broadcast_tensors", "broadcast_to", "chunk", "diagonal", "diagonal_scatter", "dsplit", "expand", "flatten",
    "hsplit",
    "movedim", "narrow", "permute", "ravel", "reshape", "select", "select_scatter", "slice_scatter",
    "split",
    "split_with_sizes", "squeeze", "t", "tensor_split", "transpose", "unbind", "vsplit",
    "unflatten", "unsqueeze", "view_as_complex", "view_as_real",
]  # fmt: skip


def ints(args: Sequence) -> tuple[int, ...]:
    """The sizes of `f(2, 3)`, `f((2, 3))`, `f([2, 3])` or `f(Size)` as one tuple."""
    if len(args) == 1 and isinstance(args[0], (tuple, list)):
        args = args[0]
    for n in args:
        if type(n) is not int:
            return tuple([_int(n) for n in args])
    return tuple(args)


def _int(n) -> int:
    if isinstance(n, bool) or not (hasattr(n, "__index__") or isinstance(n, Tensor)):
        fail(TypeError, f"sizes and dims must be integers, got {type(n).__name__}", got=repr(n), mend="use int(n)")
    return n.__index__()


def infer_size(shape: Sequence[int], numel: int) -> Size:
    """`shape` with its one -1 replaced by what is left of `numel`; RuntimeError in PyTorch's words."""
    unknown = [d for d, n in enumerate(shape) if n == -1]
    if len(unknown) > 1:
        fail(RuntimeError, "only one dimension can be inferred")
    for d, n in enumerate(shape):
        if n < -1:
            fail(RuntimeError, f"invalid shape dimension {n} at index {d} of shape {list(shape)}")
    if unknown:
        rest = prod(n for n in shape if n != -1)
        if rest == 0 and numel == 0:
            fail(
                RuntimeError,
                f"cannot reshape tensor of 0 elements into shape {list(shape)} because the unspecified dimension size "
                "-1 can be any value and is ambiguous",
            )
        if rest and numel % rest == 0:
            return Size(numel // rest if n == -1 else n for n in shape)
    elif prod(shape) == numel:
        return Size(shape)
    fail(
        RuntimeError,
        f"shape '{list(shape)}' is invalid for input of size {numel}",
        mend="the sizes must multiply to the number of elements; -1 stands for the one that follows from the others",
    )


# --- shape --------------------------------------------------------------------------------------------------------


@view
def view_shape(spec, shape):
    """The same elements in another shape; RuntimeError where that needs a copy."""
    target = infer_size(shape, spec.numel)
    strides = view_strides(spec.shape, spec.strides, target)
    if strides is None:
        fail(
            RuntimeError,
            "view size is not compatible with input tensor's size and stride (at least one dimension spans across two "
            "contiguous subspaces). Use .reshape(...) instead.",
            got=f"shape {tuple(spec.shape)} with strides {spec.strides} as {tuple(target)}",
            mend="reshape() copies where a view is impossible; contiguous() before view() does the same",
        )
    return target, strides, 0


@view_shape.gradient("input")
def _(grad, spec, shape):
    return reshape(grad, spec.shape)


view_shape.operator.node_class.__name__ = "ViewBackward0"


def reshape(input: Tensor, *args, shape=None) -> Tensor:
    """The same elements in row-major order in another shape: a view where possible, else a copy."""
    try:
        target, copied = _RESHAPED[input.spec, args]
    except (KeyError, TypeError):
        sizes = ints(args if shape is None else (shape,))
        target = infer_size(sizes, input.spec.numel)
        copied = view_strides(input.spec.shape, input.spec.strides, target) is None
        given = args[0] if len(args) == 1 and isinstance(args[0], tuple) else args
        if shape is None and args and all(n.__class__ is int for n in given):
            if len(_RESHAPED) > 4096:
                _RESHAPED.clear()
            _RESHAPED[input.spec, args] = target, copied
    if copied:
        input = CLONE[0](input, memory_format="contiguous")
    return view_shape(input, target)


_RESHAPED: dict[tuple, tuple[Size, bool]] = {}  # by spec and sizes: the shape, whether it takes a copy


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Dims `start_dim` to `end_dim` joined into one."""
    rank = input.spec.ndim
    start, end = normalize_dim(start_dim, rank), normalize_dim(end_dim, rank)
    if start > end:
        fail(RuntimeError, "flatten() has invalid args: start_dim cannot come after end_dim")
    if rank == 0:
        return reshape(input, (1,))
    if start == end:
        return input
    shape = input.spec.shape
    return reshape(input, (*shape[:start], prod(shape[start : end + 1]), *shape[end + 1 :]))


@takes
def unflatten(input: Tensor, dim: int, sizes) -> Tensor:
    """Dim `dim` cut into several; one of `sizes` may be -1."""
    dim = normalize_dim(dim, input.spec.ndim)
    shape = input.spec.shape
    sizes = tuple(sizes)
    known = prod(n for n in sizes if n != -1)
    if (-1 in sizes and (known == 0 or shape[dim] % known)) or (-1 not in sizes and known != shape[dim]):
        fail(
            RuntimeError,
            f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {dim} ({shape[dim]}) in the "
            "input tensor",
        )
    sizes = tuple(shape[dim] // known if n == -1 else n for n in sizes)
    return reshape(input, (*shape[:dim], *sizes, *shape[dim + 1 :]))


@view
def permute(spec, dims):
    """Dims in another order."""
    rank = spec.ndim
    if len(dims) != rank:
        fail(
            RuntimeError,
            "permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired "
            f"ordering of dimensions i.e. input.dim() = {rank} is not equal to len(dims) = {len(dims)}",
        )
    order = [normalize_dim(d, rank) for d in dims]
    if len(set(order)) != rank:
        fail(RuntimeError, "permute(): duplicate dims are not allowed.")
    return [spec.shape[d] for d in order], [spec.strides[d] for d in order], 0


@permute.gradient("input")
def _(grad, spec, dims):
    order = [d % len(dims) for d in dims]
    return permute(grad, tuple(order.index(d) for d in range(len(order))))


@view
def transpose(spec, dim0, dim1):
    """Two dims exchanged."""
    a, b = normalize_dim(dim0, spec.ndim), normalize_dim(dim1, spec.ndim)
    shape, strides = list(spec.shape), list(spec.strides)
    if spec.ndim:
        shape[a], shape[b] = shape[b], shape[a]
        strides[a], strides[b] = strides[b], strides[a]
    return shape, strides, 0


@transpose.gradient("input")
def _(grad, spec, dim0, dim1):
    return transpose(grad, dim0, dim1)


@view
def t(spec):
    """The transpose of a matrix; vectors and numbers as they are."""
    if spec.ndim > 2:
        fail(
            RuntimeError,
            f"t() expects a tensor with <= 2 dimensions, but self is {spec.ndim}D",
            mend="name the dims: transpose(dim0, dim1)",
        )
    return spec.shape[::-1], spec.strides[::-1], 0


@t.gradient("input")
def _(grad, spec):
    return t(grad)


def movedim(input: Tensor, source, destination) -> Tensor:
    """Dims `source` moved to the places `destination`, the others in their order."""
    rank = input.spec.ndim
    source = [normalize_dim(d, rank) for d in ([source] if isinstance(source, int) else source)]
    destination = [normalize_dim(d, rank) for d in ([destination] if isinstance(destination, int) else destination)]
    if len(source) != len(destination):
        fail(
            RuntimeError,
            f"movedim: Invalid source or destination dims: source ({source} dims) should contain the same number of "
            f"dims as destination ({destination} dims)",
        )
    for what, dims in (("source", source), ("destination", destination)):
        if len(set(dims)) != len(dims):
            fail(RuntimeError, f"movedim: repeated dim in `{what}` ({dims})")
    order: list[int | None] = [None] * rank
    for s, d in zip(source, destination):
        order[d] = s
    rest = iter(d for d in range(rank) if d not in source)
    return permute(input, tuple(next(rest) if d is None else d for d in order))


@view
def expand_to(spec, shape):
    """Sizes of 1 repeated without a copy; -1 keeps a size."""
    lead = len(shape) - spec.ndim
    if lead < 0:
        fail(
            RuntimeError,
            f"expand({spec_name(spec)}, size={list(shape)}): the number of sizes provided ({len(shape)}) must be "
            f"greater or equal to the number of dimensions in the tensor ({spec.ndim})",
        )
    sizes, strides = [], []
    for d, n in enumerate(shape):
        own, step = (spec.shape[d - lead], spec.strides[d - lead]) if d >= lead else (1, 0)
        if n == -1:
            if d < lead:
                fail(
                    RuntimeError,
                    f"The expanded size of the tensor (-1) isn't allowed in a leading, non-existing dimension {d}",
                )
            n = own
        if own != n:
            if own != 1:
                fail(
                    RuntimeError,
                    f"The expanded size of the tensor ({n}) must match the existing size ({own}) at non-singleton "
                    f"dimension {d}.  Target sizes: {list(shape)}.  Tensor sizes: {list(spec.shape)}",
                )
            step = 0
        elif d < lead:
            step = 0
        sizes.append(n)
        strides.append(step)
    return sizes, strides, 0


@expand_to.gradient("input")
def _(grad, spec, shape):
    from .reduction import sum_to

    return sum_to(grad, spec)


expand_to.operator.node_class.__name__ = "ExpandBackward0"


def spec_name(s: Spec) -> str:
    """A tensor's type and shape as PyTorch's messages write them."""
    from facula.autograd.node import dtype_title

    return f"torch.{dtype_title(s.dtype)}Tensor{{{list(s.shape)}}}"


def expand(input: Tensor, *args, size=None) -> Tensor:
    """Sizes of 1 repeated without a copy; -1 keeps a size; new dims may be put in front."""
    return expand_to(input, ints(args if size is None else (size,)))


def broadcast_to(input: Tensor, size) -> Tensor:
    """`expand` to the shape `size`."""
    return expand_to(input, tuple(size))


@view
def unsqueeze(spec, dim):
    """A new dim of size 1 at `dim`."""
    rank = spec.ndim + 1
    if not -rank <= dim < rank:
        fail(IndexError, f"Dimension out of range (expected to be in range of [{-rank}, {rank - 1}], but got {dim})")
    d = dim % rank
    step = spec.shape[d] * spec.strides[d] if d < spec.ndim else 1
    return [*spec.shape[:d], 1, *spec.shape[d:]], [*spec.strides[:d], step, *spec.strides[d:]], 0


@unsqueeze.gradient("input")
def _(grad, spec, dim):
    return squeeze_dims(grad, (dim % (spec.ndim + 1),))


@view
def squeeze_dims(spec, dims):
    """Those of `dims` that have size 1 taken away."""
    drop = {normalize_dim(d, spec.ndim) for d in dims}
    kept = [d for d, n in enumerate(spec.shape) if n != 1 or d not in drop]
    return [spec.shape[d] for d in kept], [spec.strides[d] for d in kept], 0


@squeeze_dims.gradient("input")
def _(grad, spec, dims):
    return view_shape(grad, spec.shape) if grad.spec.contiguous else reshape(grad, spec.shape)


squeeze_dims.operator.node_class.__name__ = "SqueezeBackward0"


def squeeze(input: Tensor, dim=None, axis=None) -> Tensor:
    """Dims of size 1 taken away: all, or those named."""
    if axis is not None:
        dim, _ = numpy_dims("squeeze", dim, None, axis, None)
    dims = tuple(range(input.spec.ndim)) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    return squeeze_dims(input, dims)


# --- parts --------------------------------------------------------------------------------------------------------


@view
def select(spec, dim, index):
    """The part at `index` of dim `dim`, without that dim."""
    if spec.ndim == 0:
        fail(IndexError, "select() cannot be applied to a 0-dim tensor.")
    dim = normalize_dim(dim, spec.ndim)
    size = spec.shape[dim]
    if not -size <= index < size:
        fail(
            IndexError,
            f"select(): index {index} out of range for tensor of size {list(spec.shape)} at dimension {dim}",
            expected=f"an index from {-size} to {size - 1}",
        )
    at = index + size if index < 0 else index
    return (
        (*spec.shape[:dim], *spec.shape[dim + 1 :]),
        (*spec.strides[:dim], *spec.strides[dim + 1 :]),
        at * spec.strides[dim],
    )


@view
def slice_dim(spec, dim, start, stop, step=1):
    """Every `step`-th part of dim `dim` from `start` to before `stop`."""
    if step <= 0:
        fail(ValueError, "step must be greater than zero", mend="use flip() for a reversed order")
    dim = normalize_dim(dim, spec.ndim)
    first, last, _ = slice(start, stop).indices(spec.shape[dim])
    n = max(0, -(-(last - first) // step))
    return (
        (*spec.shape[:dim], n, *spec.shape[dim + 1 :]),
        (*spec.strides[:dim], spec.strides[dim] * step, *spec.strides[dim + 1 :]),
        first * spec.strides[dim] if n or first < spec.shape[dim] else 0,
    )


slice_dim.operator.node_class.__name__ = "SliceBackward0"


@takes
def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """`length` parts of dim `dim` from `start` (a number, or a 0-d tensor of one) on."""
    if not input.spec.ndim:
        fail(RuntimeError, "narrow() cannot be applied to a 0-dim tensor.")
    dim = normalize_dim(dim, input.spec.ndim)
    size = input.spec.shape[dim]
    if isinstance(start, Tensor) and (start.spec.ndim or start.spec.dtype.kind not in "ui"):
        fail(RuntimeError, "start must be an 0-dim integral Tensor.", got=f"{start.spec.dtype}{list(start.spec.shape)}")
    start = int(start)
    if length < 0:
        fail(RuntimeError, "narrow(): length must be non-negative.")
    if not -size <= start <= size:
        fail(IndexError, f"start out of range (expected to be in range of [{-size}, {size}], but got {start})")
    start += size if start < 0 else 0
    if start + length > size:
        fail(RuntimeError, f"start ({start}) + length ({length}) exceeds dimension size ({size}).")
    return slice_dim(input, dim, start, start + length)


@view
def diagonal(spec, offset=0, dim1=0, dim2=1):
    """The diagonal of two dims as a new last dim; `offset` above (positive) or below it."""
    a, b = normalize_dim(dim1, spec.ndim), normalize_dim(dim2, spec.ndim)
    if a == b:
        fail(RuntimeError, f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    rows, columns = spec.shape[a], spec.shape[b]
    n = max(min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns), 0)
    start = (offset * spec.strides[b] if offset >= 0 else -offset * spec.strides[a]) if n else 0
    kept = [d for d in range(spec.ndim) if d not in (a, b)]
    return (
        [*(spec.shape[d] for d in kept), n],
        [*(spec.strides[d] for d in kept), spec.strides[a] + spec.strides[b]],
        start,
    )


@view
def unfold(spec, dimension, size, step):
    """All windows of `size` along a dim, `step` apart, as a new last dim."""
    dim = normalize_dim(dimension, spec.ndim)
    have = spec.shape[dim] if spec.ndim else 1
    if size > have:
        fail(RuntimeError, f"maximum size for tensor at dimension {dim} is {have} but size is {size}")
    if step <= 0:
        fail(RuntimeError, f"step is {step} but must be > 0")
    shape, strides = list(spec.shape), list(spec.strides)
    own = strides[dim] if spec.ndim else 1
    if spec.ndim:
        shape[dim], strides[dim] = (have - size) // step + 1, own * step
    return [*shape, size], [*strides, own], 0


@unfold.gradient("input")
def _(grad, spec, dimension, size, step):
    return overlap_add(grad, spec.shape, normalize_dim(dimension, spec.ndim), step)


@view
def as_strided_part(spec, size, stride, offset):
    """Any shape and strides on the same memory; `offset` counts from this tensor's first element."""
    return size, stride, offset


@as_strided_part.gradient("input")
def _(grad, spec, size, stride, offset):
    return as_strided_scatter_add(grad, spec, size, stride, offset)


as_strided_part.operator.node_class.__name__ = "AsStridedBackward0"


def as_strided(input: Tensor, size, stride, storage_offset: int | None = None) -> Tensor:
    """Any shape and strides on the tensor's storage; RuntimeError where it would reach outside."""
    from facula.core.shape import reach

    size, stride = tuple(size), tuple(stride)
    if len(size) != len(stride):
        fail(RuntimeError, "mismatch in length of strides and shape")
    if any(n < 0 for n in (*size, *stride)):
        fail(RuntimeError, f"as_strided: Negative strides are not supported at the moment, got strides: {list(stride)}")
    item = input.spec.dtype.itemsize
    memory = input if input.spec.kind is None else first_of(input)
    own = (memory.ptr - memory.storage.ptr) // item
    start = own if storage_offset is None else storage_offset
    high = reach(size, stride)[1]
    if start < 0 or (high >= 0 and (start + high + 1) * item > memory.storage.nbytes):
        fail(
            RuntimeError,
            f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset {start}, and itemsize {item} "
            f"requiring a storage size of {(start + high + 1) * item} are out of bounds for storage of size "
            f"{input.storage.nbytes}",
        )
    return as_strided_part(input, size, stride, start - own)


@view
def alias_view(spec):
    """The same elements as another record."""
    return spec.shape, spec.strides, 0


@alias_view.gradient("input")
def _(grad, spec):
    return grad


alias_view.operator.node_class.__name__ = "AliasBackward0"


@view
def real_view(spec):
    """The real parts of a complex tensor."""
    return spec.shape, tuple(2 * s for s in spec.strides), 0, spec.dtype.to_real()


@view
def imag_view(spec):
    """The imaginary parts of a complex tensor."""
    return spec.shape, tuple(2 * s for s in spec.strides), 1, spec.dtype.to_real()


def _part_gradient(real: bool):
    def formula(grad, spec):
        other = OPERATORS["mul"].call(grad, 0.0)
        return OPERATORS["complex"].call(grad, other) if real else OPERATORS["complex"].call(other, grad)

    return formula


real_view.gradient("input")(_part_gradient(True))
imag_view.gradient("input")(_part_gradient(False))
for _op in (real_view, imag_view):
    _op.operator.node_class.__name__ = "SelectBackward0"


@view
def view_as_real(spec):
    """A complex tensor as one of reals with a last dim of 2: real and imaginary part."""
    if not spec.dtype.is_complex:
        fail(
            RuntimeError,
            "view_as_real is only supported for complex tensors, but got a tensor of scalar type: "
            f"{dtype_title(spec.dtype)}",
        )
    return (*spec.shape, 2), (*(2 * s for s in spec.strides), 1), 0, spec.dtype.to_real()


@view_as_real.gradient("input")
def _(grad, spec):
    from .copying import contiguous

    return view_as_complex(contiguous(grad))


@view
def view_as_complex(spec):
    """Reals with a last dim of 2 as complex numbers."""
    if spec.dtype not in (dt.float16, dt.float32, dt.float64):
        fail(
            RuntimeError,
            "view_as_complex is only supported for half, float and double tensors, but got a tensor of scalar type: "
            f"{dtype_title(spec.dtype)}",
        )
    if not spec.ndim:
        fail(RuntimeError, "Input tensor must have one or more dimensions")
    if spec.shape[-1] != 2:
        fail(RuntimeError, "Tensor must have a last dimension of size 2")
    if spec.strides[-1] != 1:
        fail(RuntimeError, "Tensor must have a last dimension with stride 1")
    if any(s % 2 for s in spec.strides[:-1]):
        fail(RuntimeError, "Tensor must have a stride divisible by 2 for all but last dimension")
    return spec.shape[:-1], tuple(s // 2 for s in spec.strides[:-1]), 0, spec.dtype.to_complex()


@view_as_complex.gradient("input")
def _(grad, spec):
    from .copying import contiguous

    return view_as_real(contiguous(grad))


@view
def reinterpret(spec, dtype):
    """The same bytes as another dtype."""
    old, new = spec.dtype.itemsize, dtype.itemsize
    if old == new:
        return spec.shape, spec.strides, 0, dtype
    if not spec.ndim:
        fail(
            RuntimeError,
            f"self.dim() cannot be 0 to view {dtype_title(spec.dtype)} as {dtype_title(dtype)} (different element "
            "sizes)",
        )
    if spec.strides[-1] != 1:
        fail(
            RuntimeError,
            f"self.stride(-1) must be 1 to view {dtype_title(spec.dtype)} as {dtype_title(dtype)} (different element "
            f"sizes), but got {spec.strides[-1]}",
        )
    if old > new:
        ratio = old // new
        return (*spec.shape[:-1], spec.shape[-1] * ratio), (*(s * ratio for s in spec.strides[:-1]), 1), 0, dtype
    ratio = new // old
    if spec.shape[-1] % ratio:
        fail(
            RuntimeError,
            f"self.size(-1) must be divisible by {ratio} to view {dtype_title(spec.dtype)} as {dtype_title(dtype)} "
            f"(different element sizes), but got {spec.shape[-1]}",
        )
    for s in spec.strides[:-1]:
        if s % ratio:
            fail(
                RuntimeError,
                f"self.stride({spec.strides.index(s)}) must be divisible by {ratio} to view {dtype_title(spec.dtype)} "
                f"as {dtype_title(dtype)} (different element sizes), but got {s}",
            )
    return (*spec.shape[:-1], spec.shape[-1] // ratio), (*(s // ratio for s in spec.strides[:-1]), 1), 0, dtype


@reinterpret.gradient("input")
def _(grad, spec, dtype):
    return reinterpret(grad, spec.dtype)


def view_dtype(input: Tensor, dtype) -> Tensor:
    """The same bytes as another dtype; gradients pass where both have the same parts."""
    if dtype is input.spec.dtype:
        return alias_view(input)
    if input.storage.nbytes and (input.ptr - input.storage.ptr) % dtype.itemsize:
        fail(
            RuntimeError,
            f"self.storage_offset() must be divisible by {dtype.itemsize // input.spec.dtype.itemsize} to view "
            f"{dtype_title(input.spec.dtype)} as {dtype_title(dtype)} (different element sizes)",
        )
    if input.needs_grad and dtype.kind not in "fc":
        from facula.autograd.node import alias

        return reinterpret(alias(input), dtype)
    return reinterpret(input, dtype)


# --- several views at once: one node, so that their gradients are joined once -------------------------------------


@function(tensors=("input",), outputs=())
def unbind(input, dim=0):
    """A tuple of all parts along `dim`, without that dim."""
    if not input.spec.ndim:
        fail(IndexError, "Dimension specified as 0 but tensor has no dimensions")
    return tuple([select(input, dim, i) for i in range(_size(input, dim))])


@unbind.gradient("input")
def _(grads, input_spec, dim):
    from .joining import stack

    return stack(
        _filled(grads, tuple(n for d, n in enumerate(input_spec.shape) if d != dim % input_spec.ndim), input_spec), dim
    )


def _size(input: Tensor, dim: int, message: str = "split expects at least a 1-dimensional tensor") -> int:
    if input.spec.ndim == 0:
        fail(RuntimeError, message)
    return input.spec.shape[normalize_dim(dim, input.spec.ndim)]


def _filled(grads, shape, like: Spec) -> list[Tensor]:
    from facula.core.spec import dense

    from .creation import zeros_of

    return [zeros_of(dense(like.dtype, shape, like.device)) if g is None else g for g in grads]


@function(tensors=("input",), outputs=())
def split_with_sizes(input, split_sizes, dim=0):
    """A tuple of parts of the given sizes along `dim`."""
    size = _size(input, dim)
    if sum(split_sizes) != size or any(n < 0 for n in split_sizes):
        fail(
            RuntimeError,
            f"split_with_sizes expects split_sizes to sum exactly to {size} (input tensor's size at dimension {dim}), "
            f"but got split_sizes={list(split_sizes)}",
        )
    parts, start = [], 0
    for n in split_sizes:
        parts.append(slice_dim(input, dim, start, start + n))
        start += n
    return tuple(parts)


@split_with_sizes.gradient("input")
def _(grads, input_spec, split_sizes, dim):
    from facula.core.spec import dense

    from .creation import zeros_of
    from .joining import cat

    dim = dim % input_spec.ndim
    shape = input_spec.shape
    parts = [
        zeros_of(dense(input_spec.dtype, (*shape[:dim], n, *shape[dim + 1 :]), input_spec.device)) if g is None else g
        for g, n in zip(grads, split_sizes)
    ]
    return cat(parts, dim)


split_with_sizes.operator.node_class.__name__ = "SplitBackward0"


def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """`transpose` under NumPy's name."""
    return transpose(input, axis0, axis1)


def split(tensor: Tensor, split_size_or_sections, dim: int = 0) -> tuple[Tensor, ...]:
    """Parts along `dim` of one size (the last may be smaller), or of the given sizes."""
    size = _size(tensor, dim)
    sizes = split_size_or_sections
    if isinstance(sizes, int):
        if sizes < 0 or (sizes == 0 and size):
            fail(RuntimeError, f"split expects split_size be non-negative, but got split_size={sizes}")
        n = max(1, -(-size // sizes)) if sizes else 1
        sizes = [sizes] * (n - 1) + [size - sizes * (n - 1)]
    return split_with_sizes(tensor, tuple(sizes), dim)


@takes
def unsafe_split(input: Tensor, split_size, dim: int = 0) -> tuple[Tensor, ...]:
    """`split`, under PyTorch's name for parts whose changes autograd does not follow; here it does."""
    return split(input, split_size, dim)


def chunk(input: Tensor, chunks: int, dim: int = 0, axis=None) -> tuple[Tensor, ...]:
    """About equal parts along `dim`, at most `chunks`."""
    if axis is not None:
        dim, _ = numpy_dims("chunk", dim, None, axis, None, 0)
    if chunks <= 0:
        fail(RuntimeError, f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    size = _size(input, dim, "chunk expects at least a 1-dimensional tensor")
    each = -(-size // chunks)
    if each == 0:
        return split_with_sizes(input, (0,) * chunks, dim)
    return split(input, each, dim)


@takes(
    sections="indices_or_sections",
    indices="indices_or_sections",
    tensor_indices_or_sections="indices_or_sections",
)
def tensor_split(input: Tensor, indices_or_sections, dim: int = 0) -> tuple[Tensor, ...]:
    """Parts along `dim`: so many of about equal size, or cut at the given indices."""
    size = _size(input, dim, "tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims")
    if isinstance(indices_or_sections, Tensor):
        if indices_or_sections.spec.ndim > 1 or indices_or_sections.spec.dtype.name != "int64":
            fail(
                RuntimeError,
                "tensor_split expected tensor_indices_or_sections to have dtype of long, and to be a zero-dimensional "
                "or one-dimensional tensor",
            )
        indices_or_sections = indices_or_sections.tolist()
    if isinstance(indices_or_sections, int):
        n = indices_or_sections
        if n <= 0:
            fail(RuntimeError, f"number of sections must be larger than 0, got {n}")
        sizes = [size // n + (i < size % n) for i in range(n)]
        return split_with_sizes(input, tuple(sizes), dim)
    cuts = [0, *[int(i) for i in indices_or_sections]]
    ends = [*cuts[1:], None]
    return tuple(slice_dim(input, dim, a, b) for a, b in zip(cuts, ends))


# --- compositions -------------------------------------------------------------------------------------------------


def ravel(input: Tensor) -> Tensor:
    """All elements as a vector: a view where possible."""
    from .copying import contiguous

    return view_shape(contiguous(input), (input.spec.numel,))


def adjoint(input: Tensor) -> Tensor:
    """The conjugate transpose of the last two dims."""
    if input.spec.ndim < 2:
        fail(
            RuntimeError,
            f"tensor.adjoint() is only supported on matrices or batches of matrices. Got {input.spec.ndim}-D tensor.",
        )
    made = transpose(input, -2, -1)
    return OPERATORS["conj_physical"].call(made) if made.spec.dtype.is_complex else made


def _split_along(name: str, least: int, dim_of):
    def entry(input: Tensor, indices_or_sections) -> tuple[Tensor, ...]:
        rank = input.spec.ndim
        if isinstance(indices_or_sections, str):
            fail(
                TypeError,
                f"{name}() received an invalid combination of arguments - got (Tensor, str)",
                expected="a number of sections, or a tuple of indices",
            )
        if rank < least:
            fail(
                RuntimeError,
                f"torch.{name} requires a tensor with at least {least} dimension{'s' if least > 1 else ''}, but got a "
                f"tensor with {rank} dimensions!",
            )
        dim = dim_of(rank)
        if isinstance(indices_or_sections, int) and (
            indices_or_sections <= 0 or input.spec.shape[dim] % indices_or_sections
        ):
            fail(
                RuntimeError,
                f"torch.{name} attempted to split along dimension {dim}, but the size of the dimension "
                f"{input.spec.shape[dim]} is not divisible by the split_size {indices_or_sections}!",
            )
        return tensor_split(input, indices_or_sections, dim)

    entry.__name__ = entry.__qualname__ = name
    dim = {"hsplit": "1 (0 for vectors)", "vsplit": "0", "dsplit": "2"}[name]
    entry.__doc__ = f"Parts along dim {dim}: so many equal ones, or cut at indices."
    return takes(entry, sections="indices_or_sections", indices="indices_or_sections")


hsplit = _split_along("hsplit", 1, lambda rank: 0 if rank == 1 else 1)
vsplit = _split_along("vsplit", 2, lambda rank: 0)
dsplit = _split_along("dsplit", 3, lambda rank: 2)


def _at_least(rank: int):
    def entry(*tensors):
        if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
            return tuple(entry(x) for x in tensors[0])
        if len(tensors) != 1:
            return tuple(entry(x) for x in tensors)
        (x,) = tensors
        own = x.spec.ndim
        if own >= rank:
            return x
        if rank == 3 and own == 2:
            return unsqueeze(x, -1)
        if rank == 3 and own == 1:
            return unsqueeze(unsqueeze(x, 0), -1)
        if rank == 2 and own == 1:
            return unsqueeze(x, 0)
        return reshape(x, (1,) * rank)

    entry.__name__ = entry.__qualname__ = f"atleast_{rank}d"
    entry.__doc__ = f"Each tensor with at least {rank} dim{'s' if rank > 1 else ''}."
    return entry


atleast_1d, atleast_2d, atleast_3d = (_at_least(n) for n in (1, 2, 3))


def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """All tensors expanded to their common shape."""
    from facula.core.shape import broadcast

    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tuple(tensors[0])
    shape = broadcast(*(x.spec.shape for x in tensors))
    return tuple(x if x.spec.shape == shape else expand_to(x, shape) for x in tensors)


def broadcast_shapes(*shapes) -> Size:
    """The common shape of tensors of these shapes."""
    from facula.core.shape import broadcast

    return broadcast(*((n,) if isinstance(n, int) else tuple(n) for n in shapes))


def _written(input: Tensor, part_of, src: Tensor, name: str) -> Tensor:
    """A copy of `input` whose part `part_of(copy)` is `src`."""
    from .inplace import copy_

    out = OPERATORS["clone"].call(input, memory_format="contiguous")
    part = part_of(out)
    if part.spec.shape != src.spec.shape:
        fail(
            RuntimeError,
            f"expected src to have a size equal to the {name} of self. src size = {list(src.spec.shape)}, {name} size "
            f"= {list(part.spec.shape)}",
        )
    copy_(part, src)
    return out


@takes
def slice_scatter(input: Tensor, src: Tensor, dim: int = 0, start=None, end=None, step: int = 1, *, out=None) -> Tensor:
    """A copy of `input` with `src` in the place of `input[..., start:end:step, ...]`."""
    if out is not None:
        from .matmul import _to_out

        return _to_out("slice_scatter", out, slice_scatter(input, src, dim, start, end, step), (input, src))
    return _written(input, lambda x: slice_dim(x, dim, start, end, step), src, "slice")


@takes
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy of `input` with `src` in the place of `select(dim, index)`."""
    return _written(input, lambda x: select(x, dim, index), src, "slice")


def diagonal_scatter(input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A copy of `input` with `src` on a diagonal."""
    return _written(input, lambda x: diagonal(x, offset, dim1, dim2), src, "slice")


def as_strided_scatter(input: Tensor, src: Tensor, size, stride, storage_offset: int | None = None) -> Tensor:
    """A copy of `input` with `src` in the place of `as_strided(size, stride, storage_offset)`."""
    return _written(input, lambda x: as_strided(x, size, stride, storage_offset or 0), src, "slice")


# --- gradients of overlapping views ---------------------------------------------------------------------------------


def overlap_add(grad: Tensor, shape, dim: int, step: int) -> Tensor:
    """The windows of `unfold` added up where they overlap, zeros elsewhere."""
    import numpy as np

    from facula.core.spec import dense

    from .creation import array_on, zeros_of
    from .indexing import index_add

    zeros = zeros_of(dense(grad.spec.dtype, shape, grad.spec.device))
    if not shape:
        return reshape(grad, ())
    n, size = grad.spec.shape[dim], grad.spec.shape[-1]
    rank = grad.spec.ndim
    order = (*range(dim + 1), rank - 1, *range(dim + 1, rank - 1))
    rows = reshape(permute(grad, order), (*shape[:dim], n * size, *shape[dim + 1 :]))
    places = (np.arange(n)[:, None] * step + np.arange(size)).reshape(-1)
    return index_add(zeros, dim, array_on(places, grad.spec.device), rows)


def as_strided_scatter_add(grad: Tensor, spec: Spec, size, stride, offset: int) -> Tensor:
    """The gradient of `as_strided`: added up where it looked at an element more than once."""
    import numpy as np

    from facula.core.spec import dense

    from .creation import array_on, zeros_of
    from .indexing import index_add, index_select

    def places(shape, strides, start: int) -> np.ndarray:
        at = np.full(tuple(shape), start, np.int64)
        for d, (n, st) in enumerate(zip(shape, strides)):
            at += (np.arange(n) * st).reshape([-1 if e == d else 1 for e in range(len(shape))])
        return at.reshape(-1)

    mine, theirs = places(spec.shape, spec.strides, 0), places(size, stride, offset)
    low = min([int(x.min()) for x in (mine, theirs) if x.size], default=0)
    high = max([int(x.max()) for x in (mine, theirs) if x.size], default=-1)
    flat = zeros_of(dense(grad.spec.dtype, (high - low + 1,), grad.spec.device))
    if theirs.size:
        flat = index_add(flat, 0, array_on(theirs - low, grad.spec.device), reshape(grad, (-1,)))
    found = index_select(flat, 0, array_on(mine - low, grad.spec.device))
    counts = np.bincount(mine - low, minlength=1) if mine.size else np.ones(1, np.int64)
    if counts.max() > 1:  # the input itself showed some elements more than once: they share
        share = array_on(1.0 / counts[mine - low], grad.spec.device)
        found = OPERATORS["mul"].call(found, share.to(found.spec.dtype))
    return reshape(found, spec.shape)


# --- gradients of views -------------------------------------------------------------------------------------------


@function(tensors=("part",))
def embed(part, spec, operator, args, kwargs):
    """Zeros of a spec's shape with `part` where the view `operator(*args, **kwargs)` looks."""
    from facula.core.spec import dense

    from .copying import copy_values
    from .creation import zeros_of

    out = zeros_of(dense(part.spec.dtype, spec.shape, spec.device))
    copy_values(operator.call(out, *args, **kwargs), part)
    return out


@embed.gradient("part")
def _(grad, operator, args, kwargs):
    return operator.call(grad, *args, **kwargs)


EMBED.append(embed)
