"""Attention in half and bfloat16 by cuDNN, with the arguments of `targets/cpu/attention.py`; else by generated kernels.

cuDNN keeps log(sum(exp(scores))) of each query; here that is the greatest score, and 1 over the sum is 1. Either of
forward and backward may be cuDNN's, whatever did the other one.
"""

from collections.abc import Callable
from functools import cache as remembered
from functools import lru_cache

from facula.core import dtype as dt
from facula.core.dtype import dtype
from facula.core.shape import contiguous_strides
from facula.core.switches import attention as ways
from facula.core.switches import cudnn
from facula.ir import expr as ir
from facula.ir.kernel import Access, Input, Kernel, Result

from .. import driver, launcher
from ..code import compile
from ..memory.pool import Block
from ..routines.attention import DTYPES
from ..routines.attention import attention as generated
from ..routines.attention import attention_backward as generated_backward
from . import dnn_attention
from .dnn_api import reason
from .dnn_graph import ALIGNMENT, Policy, chosen, free

__all__ = ["WAYS", "attend", "attend_backward", "attends_by_library"]

TYPES = (dt.float16, dt.bfloat16)
# What attention may be asked for by PyTorch's names of its ways, and in which dtypes: the generated kernels by two.
WAYS = {"flash": DTYPES, "mem_efficient": DTYPES, "cudnn": frozenset(TYPES)}
LEAST = 64  # queries: with fewer a program writes a text, and has plans made for each length that it reads
MOST = 4 << 30  # bytes of workspace: the gradients of all scores of larger ones are better not kept
FORWARD = 32  # arguments of `attend`; `attend_backward` has 16 more
HIDDEN = -1e38  # the score of a key that a mask hides: finite, so that no NaN comes of a query that sees no key
BLIND = -1e37  # what log(sum(exp(scores))) of such a query is below


# --- kernels besides --------------------------------------------------------------------------------------------------


def _map(name: str, inputs: tuple[Input, ...], results: tuple[Result, ...], rank: int, letters: tuple[str, ...]):
    return compile(Kernel(name, inputs, results), Access(rank, 0, letters))


@remembered
def _bias_code(gpu: driver.Device, kind: int) -> Callable:
    """What is added to scores, in float32: for a mask of bools, or of numbers."""
    if kind == 1:
        given = Input("mask", dt.bool_)
        value = ir.select(ir.load("mask", dt.bool_), ir.const(0.0, dt.float32), ir.const(HIDDEN, dt.float32))
    else:
        given = Input("mask", dt.float32)
        value = ir.maximum(ir.load("mask", dt.float32), ir.const(HIDDEN, dt.float32))
    return _map("attention_bias", (given,), (Result("out", dt.float32, value),), 4, ("1", "s"))


@remembered
def _finish_code(gpu: driver.Device) -> Callable:
    """Logarithms of sums -> greatest scores and 1 / sums, both 0 for queries that see no key."""
    given = ir.load("sums", dt.float32)
    sees = ir.gt(given, ir.const(BLIND, dt.float32))
    zero, one = ir.const(0.0, dt.float32), ir.const(1.0, dt.float32)
    results = (
        Result("peak", dt.float32, ir.select(sees, given, zero)),
        Result("inverse", dt.float32, ir.select(sees, one, zero)),
    )
    return _map("attention_statistics", (Input("sums", dt.float32),), results, 1, ("1",) * 3)


@remembered
def _start_code(gpu: driver.Device) -> Callable:
    """Greatest scores and 1 / sums -> logarithms of sums, infinite for queries that see no key."""
    peak, inverse = ir.load("peak", dt.float32), ir.load("inverse", dt.float32)
    inputs = Input("peak", dt.float32), Input("inverse", dt.float32)
    result = Result("sums", dt.float32, peak - ir.log(inverse))
    return _map("attention_sums", inputs, (result,), 1, ("1",) * 3)


@remembered
def _blind_code(gpu: driver.Device, kind: dtype) -> Callable:
    """0 to the rows of queries that see no key."""
    blind = ir.eq(ir.load("inverse", dt.float32), ir.const(0.0, dt.float32))
    result = Result("out", kind, ir.const(0.0, kind), where=blind)
    return _map("attention_blind", (Input("inverse", dt.float32),), (result,), 4, ("1", "0"))


# --- routines ---------------------------------------------------------------------------------------------------------


def _settings() -> tuple:
    """What plans depend on besides shapes."""
    return cudnn.benchmark, cudnn.benchmark_limit, free()


def _shape(kind: dtype, arguments: tuple) -> dnn_attention.Shape:
    """What the graph depends on, of the arguments after the addresses."""
    batch, heads, group, queries, keys, depth, width, scale, causal, masked = arguments[6:16]
    steps = arguments[16:28]
    q, k, v, out = (tuple(steps[3 * i : 3 * i + 3]) + (1,) for i in range(4))
    bias = None
    if masked:
        sizes = _bias_sizes(batch, heads, queries, keys, arguments[28:32])
        bias = sizes, contiguous_strides(sizes)
    return dnn_attention.Shape(
        kind.name, batch, heads, heads // group, queries, keys, depth, width, scale, bool(causal), q, k, v, out, bias
    )


def _bias_sizes(batch: int, heads: int, queries: int, keys: int, steps: tuple[int, ...]) -> tuple[int, ...]:
    """Of a mask: batches and heads that have the same are one."""
    return (batch if steps[0] else 1), (heads if steps[1] else 1), queries, keys


@lru_cache(512)
def _forward(shape: dnn_attention.Shape, gpu: driver.Device, settings: tuple) -> Callable | None:
    return chosen(dnn_attention.forward(shape), Policy(), MOST)


@lru_cache(512)
def _backward(
    shape: dnn_attention.Shape, steps: tuple[int, ...], gpu: driver.Device, settings: tuple
) -> Callable | None:
    grad, *grads = (tuple(steps[3 * i : 3 * i + 3]) + (1,) for i in range(4))
    return chosen(dnn_attention.backward(shape, grad, tuple(grads), atomic=free()), Policy(), MOST)


@remembered
def _first() -> tuple[bool, bool]:
    """Whether cuDNN comes before the generated kernels, by the program's word; whether it is the only one."""
    names = [name for name in ways.order if name in WAYS and getattr(ways, name)]
    return names[:1] == ["cudnn"], names == ["cudnn"]


ways.when_changed(_first.cache_clear)


def _by_library(queries: int, addresses: tuple[int, ...]) -> bool:
    """Whether cuDNN is to be asked."""
    first, alone = _first()
    if not (first and cudnn.enabled) or queries < LEAST and not alone or reason():
        return False
    return not any(address % ALIGNMENT for address in addresses)


def attends_by_library(kind: dtype, addresses: tuple[int, ...], *numbers) -> bool:
    """Whether cuDNN does `attend` for the addresses of Q, K and V, and the arguments after the addresses."""
    if kind not in TYPES or not _by_library(numbers[3], addresses):
        return False
    return _forward(_shape(kind, (0,) * 6 + numbers), driver.gpu(), _settings()) is not None


def _bias(shape: dnn_attention.Shape, arguments: tuple) -> list[Block]:
    """The mask as numbers to add, where there is one."""
    if shape.bias is None:
        return []
    sizes, _ = shape.bias
    block = launcher.taken(4 * sizes[0] * sizes[1] * sizes[2] * sizes[3])
    code = _bias_code(driver.gpu(), arguments[15])
    code(block.ptr, arguments[4], *sizes, *contiguous_strides(sizes)[:3], *arguments[28:32])
    return [block]


@remembered
def attend(kind: dtype = dt.float32, otherwise: Callable[..., None] | None = None) -> Callable[..., None]:
    """softmax(scale * Q @ K.T + mask) @ V for operands of a dtype; `otherwise` does what cuDNN does not."""
    otherwise = otherwise or generated(kind)
    if kind not in TYPES:
        return otherwise

    def run(*arguments) -> None:
        q, k, v, out, _, statistics = arguments[:6]
        if not _by_library(arguments[9], (q, k, v, out)):
            return otherwise(*arguments)
        shape, gpu = _shape(kind, arguments), driver.gpu()
        plan = _forward(shape, gpu, _settings())
        if plan is None:
            return otherwise(*arguments)
        bias = _bias(shape, arguments)
        plan(q, k, v, *(b.ptr for b in bias), out, statistics)
        rows = shape.batch * shape.heads * shape.queries
        _finish_code(gpu)(statistics, statistics + 4 * rows, statistics, rows)
        if bias:
            sizes = shape.batch, shape.heads, shape.queries, shape.width
            steps = shape.heads * shape.queries, shape.queries, 1
            _blind_code(gpu, kind)(out, statistics + 4 * rows, *sizes, *shape.out[:3], *steps)

    return run


@remembered
def attend_backward(kind: dtype = dt.float32, otherwise: Callable[..., None] | None = None) -> Callable[..., None]:
    """The gradients of Q, K and V."""
    otherwise = otherwise or generated_backward(kind)
    if kind not in TYPES:
        return otherwise

    def run(*arguments) -> None:
        q, k, v, out, _, statistics = arguments[:6]
        grad, *grads = arguments[FORWARD : FORWARD + 4]
        if not _by_library(arguments[9], (q, k, v, out, grad, *grads)):
            return otherwise(*arguments)
        shape, gpu = _shape(kind, arguments), driver.gpu()
        plan = _backward(shape, arguments[FORWARD + 4 :], gpu, _settings())
        if plan is None:
            return otherwise(*arguments)
        rows = shape.batch * shape.heads * shape.queries
        sums = launcher.taken(4 * rows)
        _start_code(gpu)(sums.ptr, statistics, statistics + 4 * rows, rows)
        bias = _bias(shape, arguments)
        plan(q, k, v, *(b.ptr for b in bias), out, sums.ptr, grad, *grads)

    return run
