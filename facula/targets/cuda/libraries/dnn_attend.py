"""Attention in half and bfloat16 by cuDNN, with the arguments of `targets/cpu/attention.py`; else by generated kernels.

cuDNN keeps log(sum(exp(scores))) of each query; here that is the greatest score, and 1 over the sum is 1. Either of
forward and backward may be cuDNN's, whatever did the other one.
"""

from collections.abc import Callable
from functools import cache as remembered
from functools import lru_cache
from math import prod
from typing import Any

from facula.core import dtype as dt
from facula.core.dtype import dtype
from facula.core.shape import contiguous_strides
from facula.core.switches import attention as ways
from facula.core.switches import cudnn
from facula.ir import expr as ir
from facula.ir.kernel import Access, Input, Kernel, Result

from .. import driver, launcher
from ..code import compile
from ..routines.attention import DTYPES
from ..routines.attention import attention as generated
from ..routines.attention import attention_backward as generated_backward
from ..routines.attention import settled as generated_settled
from . import dnn_attention
from .dnn_api import reason
from .dnn_graph import ALIGNMENT, Policy, chosen, free

__all__ = ["WAYS", "attend", "attend_backward", "attends_by_library", "settled"]

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


def _shape(kind: dtype, numbers: tuple) -> dnn_attention.Shape:
    """What the graph depends on, of the arguments after the addresses."""
    batch, heads, group, queries, keys, depth, width, scale, causal, masked = numbers[:10]
    q, k, v, out = (tuple(numbers[10 + 3 * i : 13 + 3 * i]) + (1,) for i in range(4))
    bias = None
    if masked:
        sizes = _bias_sizes(batch, heads, queries, keys, numbers[22:26])
        bias = sizes, contiguous_strides(sizes)
    return dnn_attention.Shape(
        kind.name, batch, heads, heads // group, queries, keys, depth, width, scale, bool(causal), q, k, v, out, bias
    )


def _bias_sizes(batch: int, heads: int, queries: int, keys: int, steps: tuple[int, ...]) -> tuple[int, ...]:
    """Of a mask: batches and heads that have the same are one."""
    return (batch if steps[0] else 1), (heads if steps[1] else 1), queries, keys


@lru_cache(512)
def _forward(kind: dtype, gpu: driver.Device, settings: tuple, *numbers: Any) -> Callable[..., None] | None:
    """What does it for given sizes, by the addresses of `attend`."""
    shape = _shape(kind, numbers)
    found = chosen(dnn_attention.forward(shape), Policy(), MOST)
    if found is None:
        return None
    plan, finish = found.builtin(), _finish_code(gpu)
    blind = None if shape.bias is None else _blind_code(gpu, kind)
    rows, sizes = shape.batch * shape.heads * shape.queries, (shape.batch, shape.heads, shape.queries, shape.width)
    steps = *shape.out[:3], shape.heads * shape.queries, shape.queries, 1

    def run(q: int, k: int, v: int, out: int, mask: int, statistics: int) -> None:
        if blind is None:
            plan(q, k, v, out, statistics)
        else:
            bias = _bias(shape, mask, numbers)
            plan(q, k, v, bias.ptr, out, statistics)
        finish(statistics, statistics + 4 * rows, statistics, rows)
        if blind is not None:
            blind(out, statistics + 4 * rows, *sizes, *steps)

    return run


@lru_cache(512)
def _backward(kind: dtype, gpu: driver.Device, settings: tuple, *numbers: Any) -> Callable[..., None] | None:
    """The same by the addresses of `attend_backward`."""
    shape = _shape(kind, numbers)
    grad, *grads = (tuple(numbers[26 + 3 * i : 29 + 3 * i]) + (1,) for i in range(4))
    found = chosen(dnn_attention.backward(shape, grad, tuple(grads), atomic=free()), Policy(), MOST)
    if found is None:
        return None
    plan, start, rows = found.builtin(), _start_code(gpu), shape.batch * shape.heads * shape.queries

    def run(q: int, k: int, v: int, out: int, mask: int, statistics: int, *grads: int) -> None:
        sums = launcher.taken(4 * rows)
        start(sums.ptr, statistics, statistics + 4 * rows, rows)
        if shape.bias is None:
            plan(q, k, v, out, sums.ptr, *grads)
        else:
            bias = _bias(shape, mask, numbers)
            plan(q, k, v, bias.ptr, out, sums.ptr, *grads)

    return run


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
    together = 0
    for address in addresses:
        together |= address
    return together % ALIGNMENT == 0


def attends_by_library(kind: dtype, addresses: tuple[int, ...], *numbers) -> bool:
    """Whether cuDNN does `attend` for the addresses of Q, K and V, and the arguments after the addresses."""
    if kind not in TYPES or not _by_library(numbers[3], addresses):
        return False
    return _forward(kind, driver.gpu(), _settings(), *numbers) is not None


def _bias(shape: dnn_attention.Shape, mask: int, numbers: tuple) -> Any:
    """The mask as numbers to add."""
    assert shape.bias is not None
    sizes, steps = shape.bias
    block = launcher.taken(4 * prod(sizes))
    _bias_code(driver.gpu(), numbers[9])(block.ptr, mask, *sizes, *steps[:3], *numbers[22:26])
    return block


@remembered
def attend(kind: dtype = dt.float32, otherwise: Callable[..., None] | None = None) -> Callable[..., None]:
    """softmax(scale * Q @ K.T + mask) @ V for operands of a dtype; `otherwise` does what cuDNN does not."""
    otherwise = otherwise or generated(kind)
    if kind not in TYPES:
        return otherwise

    def run(*arguments) -> None:
        addresses = arguments[:6]
        if _by_library(arguments[9], addresses[:4]):
            known = _forward(kind, driver.gpu(), _settings(), *arguments[6:])
            if known is not None:
                return known(*addresses)
        return otherwise(*arguments)

    return run


def settled(kind: dtype, *numbers: float) -> Callable[..., None]:
    """`attend` for given sizes: a function of the addresses of output, statistics, Q, K, V and mask."""
    queries: Any = numbers[3]
    if kind not in TYPES or not _by_library(queries, ()):
        return generated_settled(kind, *numbers)
    known, otherwise = _forward(kind, driver.gpu(), _settings(), *numbers), generated_settled(kind, *numbers)
    if known is None:
        return otherwise

    def run(out: int, statistics: int, q: int, k: int, v: int, mask: int) -> None:
        if (out | q | k | v) % ALIGNMENT:
            otherwise(out, statistics, q, k, v, mask)
        else:
            known(q, k, v, out, mask, statistics)

    return run


@remembered
def attend_backward(kind: dtype = dt.float32, otherwise: Callable[..., None] | None = None) -> Callable[..., None]:
    """The gradients of Q, K and V."""
    otherwise = otherwise or generated_backward(kind)
    if kind not in TYPES:
        return otherwise

    def run(*arguments) -> None:
        addresses = *arguments[:6], *arguments[FORWARD : FORWARD + 4]
        if _by_library(arguments[9], (*addresses[:4], *addresses[6:])):
            numbers = *arguments[6:FORWARD], *arguments[FORWARD + 4 :]
            known = _backward(kind, driver.gpu(), _settings(), *numbers)
            if known is not None:
                return known(*addresses)
        return otherwise(*arguments)

    return run
