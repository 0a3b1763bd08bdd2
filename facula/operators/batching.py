"""Batching rules: an operator on batched tensors as one on tensors with one more dim, in front.

Element-wise and row operators and views follow from what they are, whatever they compute. For functions there is a
table; what stands not there runs once for each element of the batch.
"""

from collections.abc import Callable
from typing import Any

from facula.core.tensor import Tensor
from facula.core.wrapped import BATCH, Level, batched, box_of, mapped, opened
from facula.errors import fail

from . import indexing, joining
from .copying import cast
from .declare import EMBED, OPERATORS, Traced, View, view
from .elementwise import add, mul
from .intercept import RULES, transform
from .matmul import linear, matmul
from .view import expand_to, permute, reshape, select, squeeze_dims, unsqueeze

__all__ = ["FUNCTIONS", "front", "move_batch", "unwrapped"]

FUNCTIONS: dict[str, Callable] = {}  # by name: (level, *args, **kwargs) -> result, or NotImplemented: one by one


def move_batch(value: Tensor, dim: int, to: int = 0) -> Tensor:
    """The tensor with the dim of the batch at another place."""
    if dim == to:
        return value
    order = [d for d in range(value.spec.ndim) if d != dim]
    order.insert(to, dim)
    return permute(value, tuple(order))


def front(x: Any, level: Level, rank: int | None = None) -> Any:
    """What a batched tensor stands for, its batch in front; `rank`: with so many dims behind it, of size 1 in front.

    Other tensors, and whatever is no tensor, as they are.
    """
    box = box_of(x, level)
    if box is None:
        return x
    value = move_batch(box.value, box.dim)
    for _ in range((rank or 0) - x.spec.ndim):
        value = unsqueeze(value, 1)
    return value


def whole(x: Tensor, level: Level) -> Tensor:
    """`front`, also of what is not batched: the same for all."""
    if box_of(x, level) is not None:
        return front(x, level)
    return expand_to(x, (level.size, *x.spec.shape))


def wrapped(made: Any, level: Level) -> Any:
    """Results with the batch in front as batched tensors."""
    return mapped(lambda x: batched(x, 0, level), made)


def unwrapped(x: Any, level: Level, dim: int = 0) -> Any:
    """A result as a tensor with the batch at `dim`; what is not batched is repeated."""
    box = box_of(x, level)
    if box is None:
        return expand_to(unsqueeze(x, dim), (*x.spec.shape[:dim], level.size, *x.spec.shape[dim:]))
    return move_batch(box.value, box.dim, dim)


# --- by what operators are ------------------------------------------------------------------------------------------


def rule(operator: Any, args: tuple, kwargs: dict, level: Level) -> Any:
    """The operator on batched arguments."""
    if isinstance(operator, View):
        return _view(operator, args, kwargs, level)
    if isinstance(operator, Traced):
        return (_rows if "dims" in kwargs else _map)(operator, args, kwargs, level)
    own = FUNCTIONS.get(operator.name)
    if own is not None and (made := own(level, *args, **kwargs)) is not NotImplemented:
        return made
    return one_by_one(operator, args, kwargs, level)


RULES[BATCH] = rule


def _promoted(operator: Traced, args: tuple, given: list, level: Level) -> list:
    """Operands in the dtype that the logical shapes promote to: a batch of numbers counts as a number."""
    if operator.compute is not None or not any(box_of(x, level) is not None and not x.spec.ndim for x in args):
        return given

    def common(operands):
        return operator._dtypes([x.spec if isinstance(x, Tensor) else type(x) for x in operands])[0]

    meant = common(args)
    if common(given) is meant:
        return given
    apart = operator.keep | operator.follow
    return [cast(x, meant) if isinstance(x, Tensor) and n not in apart else x for n, x in zip(operator.operands, given)]


def _map(operator: Traced, args: tuple, kwargs: dict, level: Level) -> Any:
    if operator.name == "masked_fill" and box_of(args[2], level) is not None:  # which takes one number alone
        input, mask, value = args
        return OPERATORS["where"].call(mask, cast(value, input.spec.dtype), input)
    rank = max(x.spec.ndim for x in args if isinstance(x, Tensor))
    given = _promoted(operator, args, [front(x, level, rank) for x in args], level)
    return wrapped(transform(operator, tuple(given), kwargs), level)


def _rows(operator: Traced, args: tuple, kwargs: dict, level: Level) -> Any:
    dims, shape = kwargs["dims"], kwargs.get("shape")
    tensors = [x for n, x in zip(operator.operands, args) if isinstance(x, Tensor) and n not in operator.per_row]
    rank = len(shape) if shape is not None else max(x.spec.ndim for x in tensors)
    given: list = []
    for n, x in zip(operator.operands, args):
        if not isinstance(x, Tensor):
            given.append(x)
        elif n in operator.per_row and x.spec.ndim == rank - len(dims):
            given.append(whole(x, level))
        else:
            value = whole(x, level)
            for _ in range(rank - x.spec.ndim):
                value = unsqueeze(value, 1)
            given.append(value)
    given = _promoted(operator, args, given, level)
    more = {**kwargs, "dims": tuple(d + 1 for d in dims)}
    if shape is not None:
        more["shape"] = (level.size, *shape)
    return wrapped(transform(operator, tuple(given), more), level)


@view
def lifted(spec, dim, operator, args, kwargs):
    """A view of each part along `dim`; the new batch is in front."""
    from facula.core.spec import spec as make

    shape = (*spec.shape[:dim], *spec.shape[dim + 1 :])
    part = make(spec.dtype, spec.device, shape, (*spec.strides[:dim], *spec.strides[dim + 1 :]))
    size, strides, offset, *other = operator.body(part, *args, **dict(kwargs))
    step = spec.strides[dim]
    if other:
        step = step * spec.dtype.itemsize // other[0].itemsize
    return (spec.shape[dim], *size), (step, *strides), offset, *other


@lifted.gradient("input")
def _(grad, spec, dim, operator, args, kwargs):
    formula = operator.gradients.get("input")
    if formula is None:
        return EMBED[0](grad, spec, lifted.operator, (dim, operator, args, kwargs), {})
    from facula.core.spec import dense

    part = dense(spec.dtype, (*spec.shape[:dim], *spec.shape[dim + 1 :]), spec.device)
    with opened(Level(BATCH, spec.shape[dim])) as level:
        return unwrapped(formula(batched(grad, 0, level), part, *args, **dict(kwargs)), level, dim)


def _view(operator: View, args: tuple, kwargs: dict, level: Level) -> Tensor:
    box = box_of(args[0], level)
    if box is None:
        fail(RuntimeError, f"vmap: {operator.name}() of a tensor that is not batched, with batched arguments")
    made = batched(lifted(box.value, box.dim, operator, args[1:], tuple(kwargs.items())), 0, level)
    box: Any = made.storage
    box.source = (args[0], operator, args[1:], kwargs)
    return made


def one_by_one(operator: Any, args: tuple, kwargs: dict, level: Level) -> Any:
    """The operator once for each element of the batch."""
    if not level.size:
        fail(
            RuntimeError,
            "The fallback path does not support vmap over dims of size 0",
            got=f"{operator.name}, which has no batching rule",
        )

    def part(i: int) -> Callable:
        def of(x: Tensor) -> Tensor:
            box = box_of(x, level)
            return x if box is None else select(box.value, box.dim, i)

        return of

    made = [operator.call(*mapped(part(i), args), **mapped(part(i), kwargs)) for i in range(level.size)]
    return gathered(made, level)


def gathered(parts: list, level: Level) -> Any:
    """Results of each element of the batch as batched ones."""
    first = parts[0]
    if isinstance(first, Tensor):
        for x in parts:
            if x.spec.shape != first.spec.shape:
                fail(
                    RuntimeError,
                    "vmap: It looks like you're calling an operation whose result's shape depends on the values of a "
                    "batched tensor. We don't support that.",
                )
        return batched(joining.stack(parts), 0, level)
    if isinstance(first, (tuple, list)):
        each = [gathered(list(x), level) for x in zip(*parts)]
        return first.__class__(*each) if hasattr(first, "_fields") else first.__class__(each)
    return first


# --- functions ------------------------------------------------------------------------------------------------------


def _function(*names: str) -> Callable:
    def add(own: Callable) -> Callable:
        for name in names:
            FUNCTIONS[name] = own
        return own

    return add


def _same(name: str) -> Callable:
    """The rule of functions of one tensor to which a dim in front is no matter."""
    operator = OPERATORS[name]

    def own(level, input, *args, **kwargs):
        return wrapped(operator.call(front(input, level), *args, **kwargs), level)

    return own


for _name in ("clone", "to_dtype"):
    FUNCTIONS[_name] = _same(_name)


@_function("mm")
def _(level, input, mat2):
    return wrapped(matmul(_matrices(input, level), _matrices(mat2, level)), level)


@_function("bmm_core", "matmul_batched")
def _(level, input, mat2):
    rank = max(input.spec.ndim, mat2.spec.ndim)
    return wrapped(matmul(front(input, level, rank), front(mat2, level, rank)), level)


@_function("baddbmm_core")
def _(level, input, batch1, batch2, alpha, beta):
    made = transform(OPERATORS["bmm_core"], (batch1, batch2), {})
    return add(mul(made, alpha), mul(input, beta)) if beta else mul(made, alpha)


def _matrices(x: Tensor, level: Level) -> Tensor:
    """A batch of matrices, or one for all."""
    return front(x, level)


@_function("mv")
def _(level, input, vec):
    made = matmul(front(input, level), unsqueeze(front(vec, level), -1))
    return wrapped(squeeze_dims(made, (-1,)), level)


@_function("dot")
def _(level, input, tensor):
    made = matmul(unsqueeze(whole(input, level), -2), unsqueeze(whole(tensor, level), -1))
    return wrapped(reshape(made, (level.size,)), level)


@_function("linear")
def _(level, input, weight, bias=None):
    if box_of(weight, level) is None and box_of(bias, level) is None:
        return wrapped(linear(front(input, level), weight, bias), level)
    if weight.spec.ndim != 2:
        return NotImplemented
    rank = max(input.spec.ndim, 2)
    made = matmul(front_or_unsqueezed(input, level, rank), _turned(front(weight, level), level, rank))
    if input.spec.ndim == 1:
        made = squeeze_dims(made, (1,))
    if bias is not None:
        made = made + front(bias, level, made.spec.ndim - 1)
    return wrapped(made, level)


def front_or_unsqueezed(x: Tensor, level: Level, rank: int) -> Tensor:
    """`front` with `rank` dims behind the batch; also of what is not batched, whose batch has size 1."""
    if box_of(x, level) is not None:
        return front(x, level, rank)
    for _ in range(rank + 1 - x.spec.ndim):
        x = unsqueeze(x, 0)
    return x


def _turned(weight: Tensor, level: Level, rank: int) -> Tensor:
    """The transposed matrix, with dims for those of the input."""
    from .view import transpose

    made = transpose(weight, -2, -1)
    if made.spec.ndim == 3:
        for _ in range(rank - 2):
            made = unsqueeze(made, 1)
    return made


@_function("contract")
def _(level, a, b, labels):
    return NotImplemented


@_function("cat")
def _(level, tensors, dim=0):
    rank = max(x.spec.ndim for x in tensors)
    given = [whole(x, level) for x in tensors if x.spec.ndim == rank]
    return wrapped(joining.cat(given, dim + 1 if dim >= 0 else dim), level)


@_function("stack_core")
def _(level, tensors, dim):
    return wrapped(joining.stack([whole(x, level) for x in tensors], dim + 1 if dim >= 0 else dim), level)


def _behind(dim: int, rank: int) -> int:
    """A dim of a part, counted in the whole."""
    return (dim % max(rank, 1)) + 1


@_function("gather")
def _(level, input, dim, index, sparse_grad=False):
    if not input.spec.ndim or not index.spec.ndim:
        return NotImplemented
    made = indexing.gather(whole(input, level), _behind(dim, input.spec.ndim), whole(index, level))
    return wrapped(made, level)


def _scatter(core: Callable) -> Callable:
    def own(level, input, dim, index, src):
        if not input.spec.ndim or not index.spec.ndim:
            return NotImplemented
        dim = _behind(dim, input.spec.ndim)
        return wrapped(core(whole(input, level), dim, whole(index, level), whole(src, level)), level)

    return own


FUNCTIONS["scatter_src"] = _scatter(indexing.scatter_src)
FUNCTIONS["scatter_add"] = _scatter(indexing.scatter_add)


@_function("index_select")
def _(level, input, dim, index):
    if box_of(index, level) is not None or not input.spec.ndim:
        return NotImplemented
    return wrapped(indexing.index_select(front(input, level), _behind(dim, input.spec.ndim), index), level)


@_function("index")
def _(level, input, indices):
    """Only where the index tensors are the same for all and stand side by side."""
    if any(box_of(i, level) is not None for i in indices):
        return _index_batched(level, input, indices)
    at = [d for d, i in enumerate(indices) if i is not None]
    if at != list(range(at[0], at[0] + len(at))):
        return NotImplemented
    return wrapped(indexing.index(front(input, level), (None, *indices)), level)


def _index_batched(level: Level, input: Tensor, indices: tuple) -> Any:
    """Index tensors that differ: those from the first dim on, with the element's own number before them."""
    from .creation import arange

    if any(i is None or i.spec.dtype.kind == "b" for i in indices):
        return NotImplemented
    rank = max(i.spec.ndim for i in indices)
    number = reshape(arange(level.size), (level.size, *[1] * rank))
    given = tuple(front_or_unsqueezed(i, level, rank) for i in indices)
    return wrapped(indexing.index(whole(input, level), (number, *given)), level)


@_function("convolution")
def _(level, input, weight, bias, stride, padding, dilation, transposed, output_padding, groups):
    """The batch joins that of the input, or the groups."""
    convolution = OPERATORS["convolution"].call
    more = (stride, padding, dilation, transposed, output_padding)
    if box_of(weight, level) is None and box_of(bias, level) is None:
        value = front(input, level)
        n = value.spec.shape[1]
        made = convolution(reshape(value, (-1, *value.spec.shape[2:])), weight, bias, *more, groups)
        return wrapped(reshape(made, (level.size, n, *made.spec.shape[1:])), level)
    value, kernels = whole(input, level), whole(weight, level)
    b, n, c = value.spec.shape[:3]
    joined = reshape(permute(value, (1, 0, *range(2, value.spec.ndim))), (n, b * c, *value.spec.shape[3:]))
    kernels = reshape(kernels, (-1, *kernels.spec.shape[2:]))
    biases = None if bias is None else reshape(whole(bias, level), (-1,))
    made = convolution(joined, kernels, biases, *more, groups * b)
    made = reshape(made, (n, b, -1, *made.spec.shape[2:]))
    return wrapped(permute(made, (1, 0, *range(2, made.spec.ndim))), level)


@_function("flip_dims")
def _(level, input, dims):
    made = OPERATORS["flip_dims"].call(front(input, level), tuple(_behind(d, input.spec.ndim) for d in dims))
    return wrapped(made, level)
