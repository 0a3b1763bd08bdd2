"""Blocked attention of CPUs as two builtins, forward and backward, compiled at first use; text: `attention_kernel`."""

import platform
from collections.abc import Callable
from functools import cache

from facula.core.dtype import bfloat16, dtype, float16, float32, float64
from facula.native import builtins, jit

from . import attention_kernel, matmul_kernel, threads

__all__ = ["DTYPES", "WAYS", "attention", "attention_backward", "build"]

DTYPES = frozenset((float32,))  # of what `attend` takes; others come converted
# What attention may be asked for by PyTorch's names of its ways, and in which dtypes; PyTorch's takes float64 on CPUs.
WAYS = {"flash": frozenset((float16, bfloat16, float32, float64))}

_NEEDS = threads  # the text calls `facula_parallel`, which this module provides
_NS_A_PRODUCT = 0.02  # of one multiplication and addition, on one thread; decides when the GIL is let go


@cache
def attention(element: dtype = float32) -> Callable[..., None]:
    """softmax(scale * Q @ K.T + mask) @ V of matrices of one of `DTYPES` for each head, in blocks.

    The result is a builtin with the arguments `attention_kernel.FORWARD` ::

        attention(q, k, v, o, mask, statistics, batch, heads, group, queries, keys, depth, width, scale, causal,
                  mask_kind, q_batch, q_head, q_row, ... of k, v, o ..., mask_batch, mask_head, mask_row, mask_col)

    Parameters
    ----------
    q, k, v, o, mask, statistics : int
        Addresses of the first elements: Q (batch, heads, queries, depth), K (batch, heads / group, keys, depth),
        V (batch, heads / group, keys, width), the output (batch, heads, queries, width). Features are contiguous; the
        other strides, in elements, are given. `statistics` is dense float32, (2, batch, heads, queries): each query's
        greatest score and 1 / the sum of its exponentials, which backward wants; both 0 for queries that see no key.
    causal : int
        Whether query i sees keys 0 ... i only.
    mask_kind : int
        0: none; 1: bytes, nonzero where a key is seen; 2: float32 that is added to the scores.

    Notes
    -----
    Queries that see no key have an output of 0. Bits do not depend on the number of threads.
    """
    return build("forward", _shape())


@cache
def attention_backward(element: dtype = float32) -> Callable[..., None]:
    """The gradients of `attention`: its arguments, then those of the output's gradient and of the three results ::

    attention_backward(..., grad, grad_q, grad_k, grad_v, grad_batch, grad_head, grad_row, ... of the three)
    """
    return build("backward", _shape())


def _shape() -> matmul_kernel.Shape:
    return matmul_kernel.shape_for(jit.machine.ready().features, platform.machine().lower())


_TEXTS = {
    "forward": ("attention", attention_kernel.forward_text, attention_kernel.FORWARD, 1.0),
    "backward": ("attention_backward", attention_kernel.backward_text, attention_kernel.BACKWARD, 2.5),
}


def build(which: str, shape: matmul_kernel.Shape) -> Callable[..., None]:
    """The builtin for a given register tile, which the host must be able to run."""
    name, text, arguments, factor = _TEXTS[which]
    sizes = ("batch", "heads", "queries", "keys", "depth")
    return builtins.build(
        text(shape),
        name,
        [attention_kernel.kind(x) for x in arguments],
        name=name,
        work=[arguments.index(size) for size in sizes],
        cost=_NS_A_PRODUCT * factor,
        optimize="clean",
    )
