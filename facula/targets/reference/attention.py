"""Attention and its gradients with NumPy; `targets/cpu/attention.py` documents the arguments."""

from collections.abc import Callable

import numpy as np

from facula.core.dtype import bfloat16, bool_, dtype, float16, float32, float64

from .memory import read, write

__all__ = ["DTYPES", "WAYS", "attention", "attention_backward"]

DTYPES = frozenset((float32,))
WAYS = {"flash": frozenset((float16, bfloat16, float32, float64))}


def _operands(arguments: tuple) -> tuple:
    """Q, K, V (heads of K and V repeated), the added mask, the scale; in float64."""
    q, k, v, o, mask, statistics, batch, heads, group, queries, keys, depth, width, scale, causal, kind = arguments[:16]
    steps = arguments[16:28]
    shapes = (
        (batch, heads, queries, depth),
        (batch, heads // group, keys, depth),
        (batch, heads // group, keys, width),
    )
    made = [
        read(at, float32, shape, (*steps[3 * i : 3 * i + 3], 1)).astype("f8")
        for i, (at, shape) in enumerate(zip((q, k, v), shapes))
    ]
    made[1:] = [np.repeat(x, group, 1) for x in made[1:]]
    added = np.zeros((batch, heads, queries, keys))
    if kind:
        given = read(mask, (bool_, float32)[kind - 1], added.shape, arguments[28:32])
        added = added + (np.where(given, 0.0, -np.inf) if kind == 1 else given)
    if causal:
        added = np.where(np.tril(np.ones((queries, keys), bool)), added, -np.inf)
    return *made, added, scale


def _weights(q, k, added, scale) -> tuple:
    """Probabilities, and their statistics."""
    scores = scale * (q @ k.swapaxes(-1, -2)) + added
    peak = scores.max(-1, initial=-np.inf)
    peak = np.where(peak == -np.inf, 0.0, peak)
    e = np.exp(scores - peak[..., None])
    total = e.sum(-1)
    inverse = np.where(total == 0, 0.0, 1 / np.where(total == 0, 1.0, total))
    return e * inverse[..., None], peak, inverse


def attention(element: dtype = float32) -> Callable[..., None]:
    """softmax(scale * Q @ K.T + mask) @ V."""

    def call(*arguments):
        with np.errstate(all="ignore"):
            q, k, v, added, scale = _operands(arguments)
            weights, peak, inverse = _weights(q, k, added, scale)
            write(arguments[3], float32, (*arguments[25:28], 1), weights @ v)
            statistics = np.stack([peak, inverse])
            dense = tuple(int(np.prod(statistics.shape[i + 1 :])) for i in range(4))
            write(arguments[5], float32, dense, statistics)

    return call


def attention_backward(element: dtype = float32) -> Callable[..., None]:
    """The gradients of Q, K and V."""

    def call(*arguments):
        with np.errstate(all="ignore"):
            q, k, v, added, scale = _operands(arguments)
            group = arguments[8]
            grad, *results = arguments[32:36]
            steps = [(*arguments[36 + 3 * i : 39 + 3 * i], 1) for i in range(4)]
            given = read(grad, float32, (*q.shape[:3], v.shape[-1]), steps[0]).astype("f8")
            weights, _, _ = _weights(q, k, added, scale)
            of_weights = given @ v.swapaxes(-1, -2)
            of_scores = weights * (of_weights - (of_weights * weights).sum(-1, keepdims=True)) * scale

            def gathered(x):
                b, h, n, d = x.shape
                return x.reshape(b, h // group, group, n, d).sum(2)

            made = (
                of_scores @ k,
                gathered(of_scores.swapaxes(-1, -2) @ q),
                gathered(weights.swapaxes(-1, -2) @ given),
            )
            for at, step, x in zip(results, steps[1:], made):
                write(at, float32, step, x)

    return call
