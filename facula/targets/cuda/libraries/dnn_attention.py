"""Attention and its gradients as graphs for cuDNN, which knows them by their pattern and runs each as one kernel.

Sizes below: B batches, H heads of queries, G of keys and values, L queries, S keys, D and E features.
"""

from typing import NamedTuple

from .dnn_api import Descriptor
from .dnn_graph import Graph

__all__ = ["Shape", "backward", "forward"]

HIDDEN = -3.4028234663852886e38  # the score of a key that is not seen: the least float32


class Shape(NamedTuple):
    """Sizes, strides in elements of the four dims of each operand, and what is computed."""

    type: str
    batch: int
    heads: int
    kv_heads: int
    queries: int
    keys: int
    depth: int
    width: int
    scale: float
    causal: bool
    q: tuple[int, ...]
    k: tuple[int, ...]
    v: tuple[int, ...]
    out: tuple[int, ...]
    bias: tuple[tuple[int, ...], tuple[int, ...]] | None = None  # float32: sizes (1 or B, 1 or H, L, S) and strides

    @property
    def scores(self) -> tuple[int, ...]:
        """(B, H, L, S)"""
        return self.batch, self.heads, self.queries, self.keys

    @property
    def rows(self) -> tuple[int, ...]:
        """(B, H, L, 1)"""
        return self.batch, self.heads, self.queries, 1


def _turned(strides: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of the matrices' transposes."""
    return (*strides[:2], strides[3], strides[2])


def _scores(g: Graph, s: Shape, q: Descriptor, k: Descriptor, scale: Descriptor, bias: Descriptor | None) -> Descriptor:
    """scale * Q @ K.T + bias: (B, H, L, S)."""
    scores = g.product(q, k, g.between(s.scores))
    scores = g.pointwise("mul", scores, scale)
    return scores if bias is None else g.pointwise("add", scores, bias)


def _seen(g: Graph, s: Shape, scores: Descriptor) -> Descriptor:
    """Scores of keys after the query's own place hidden."""
    if not s.causal:
        return scores
    row = g.pointwise("index", scores, axis=2, type="int32")
    column = g.pointwise("index", scores, axis=3, type="int32")
    seen = g.pointwise("greater_equal", row, column, type="bool")
    return g.pointwise("select", scores, g.constant(HIDDEN), seen)


def forward(s: Shape) -> Graph:
    """Operands: Q, K, V, the bias where there is one, the output, and for each query log(sum(exp(scores)))."""
    g = Graph()
    q = g.operand(s.type, (s.batch, s.heads, s.queries, s.depth), s.q)
    k = g.operand(s.type, (s.batch, s.kv_heads, s.depth, s.keys), _turned(s.k))
    v = g.operand(s.type, (s.batch, s.kv_heads, s.keys, s.width), s.v)
    bias = None if s.bias is None else g.operand("float32", *s.bias)
    out = g.operand(s.type, (s.batch, s.heads, s.queries, s.width), s.out)
    statistics = g.operand("float32", s.rows, (s.heads * s.queries, s.queries, 1, 1))
    scores = _seen(g, s, _scores(g, s, q, k, g.constant(s.scale), bias))
    peak = g.reduce("max", scores, g.between(s.rows))
    e = g.pointwise("exp", g.pointwise("sub", scores, peak))
    total = g.reduce("sum", e, g.between(s.rows))
    g.pointwise("add", peak, g.pointwise("log", total), y=statistics)
    weights = g.pointwise("div", e, total, y=g.between(s.scores, type=s.type))
    g.product(weights, v, out)
    return g


def backward(s: Shape, grad: tuple[int, ...], grads: tuple[tuple[int, ...], ...], atomic: bool = False) -> Graph:
    """Operands: Q, K, V, the bias, the output, the statistics, its gradient, the gradients of Q, K and V.

    `grad` and `grads` are strides. The gradient of Q is a sum over blocks of keys; `atomic`: in whatever order they
    are done, in float32 memory, which is faster than to keep the gradients of all scores for a second product.
    """
    g = Graph()
    q = g.operand(s.type, (s.batch, s.heads, s.queries, s.depth), s.q)
    k = g.operand(s.type, (s.batch, s.kv_heads, s.depth, s.keys), _turned(s.k))
    v = g.operand(s.type, (s.batch, s.kv_heads, s.width, s.keys), _turned(s.v))
    bias = None if s.bias is None else g.operand("float32", *s.bias)
    wide = (s.batch, s.heads, s.queries, s.width)
    out = g.operand(s.type, wide, s.out)
    statistics = g.operand("float32", s.rows, (s.heads * s.queries, s.queries, 1, 1))
    given = g.operand(s.type, wide, grad)
    to_q = g.operand(s.type, (s.batch, s.heads, s.queries, s.depth), grads[0])
    to_k = g.operand(s.type, (s.batch, s.kv_heads, s.keys, s.depth), grads[1])
    to_v = g.operand(s.type, (s.batch, s.kv_heads, s.keys, s.width), grads[2])
    scale = g.constant(s.scale)
    # The mean of each row's gradients of weights: sum(grad * out).
    mean = g.reduce("sum", g.pointwise("mul", given, out), g.between(s.rows))
    mean = g.pointwise("mul", mean, g.constant(1.0), y=g.scratch(s.rows))
    scores = g.pointwise("sub", _scores(g, s, q, k, scale, bias), statistics)
    weights = g.pointwise("exp", _seen(g, s, scores))
    _summed(g, s, _transposed(g, s, weights), given, to_v, s.width)
    of_weights = g.product(given, v, g.between(s.scores))
    of_scores = g.pointwise("mul", g.pointwise("mul", g.pointwise("sub", of_weights, mean), weights), scale)
    _summed(g, s, _transposed(g, s, of_scores), q, to_k, s.depth)
    rows = g.reshape(k, g.between((s.batch, s.kv_heads, s.keys, s.depth), s.k))
    if atomic:
        summed = g.product(of_scores, rows, g.scratch((s.batch, s.heads, s.queries, s.depth)))
        g.pointwise("identity", summed, y=to_q)
    else:
        g.product(of_scores, rows, to_q)
    return g


def _transposed(g: Graph, s: Shape, scores: Descriptor) -> Descriptor:
    """(B, H, L, S) -> (B, H, S, L), in the operands' dtype."""
    b, h, n, m = s.scores
    return g.reshape(scores, g.between((b, h, m, n), (h * n * m, n * m, 1, m), s.type))


def _summed(g: Graph, s: Shape, a: Descriptor, b: Descriptor, to: Descriptor, features: int) -> None:
    """a @ b: (B, H, S, features), then the sum over the heads of queries that share one of keys."""
    if s.heads == s.kv_heads:
        g.product(a, b, to)
    else:
        every = g.between((s.batch, s.heads, s.keys, features), type=s.type)
        g.reduce("sum", g.product(a, b, every), to)
