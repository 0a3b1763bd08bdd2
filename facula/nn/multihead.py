"""Multi-head attention as a function of its weights: `functional.multi_head_attention_forward`."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

from facula import operators as ops
from facula.core.dtype import bool_
from facula.core.dtype import dtype as DType
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.operators.matmul import baddbmm_core

__all__ = ["_canonical_mask", "_none_or_dtype", "multi_head_attention_forward"]


def _none_or_dtype(input: Tensor | None) -> DType | None:
    if input is not None and not isinstance(input, Tensor):
        fail(RuntimeError, "input to _none_or_dtype() must be None or torch.Tensor")
    return None if input is None else input.dtype


def _canonical_mask(
    mask: Tensor | None,
    mask_name: str,
    other_type: DType | None,
    other_name: str,
    target_type: DType,
    check_other: bool = True,
) -> Tensor | None:
    """A mask to be added: where a bool mask is True, -inf."""
    if mask is None:
        return None
    if mask.dtype is not bool_ and not mask.is_floating_point():
        fail(AssertionError, f"only bool and floating types of {mask_name} are supported", got=mask.dtype)
    if check_other and other_type is not None and mask.dtype is not other_type:
        warnings.warn(
            f"Support for mismatched {mask_name} and {other_name} is deprecated. Use same type for both instead.",
            stacklevel=3,
        )
    if mask.is_floating_point():
        return mask
    return ops.masked_fill(ops.zeros_like(mask, dtype=target_type), mask, float("-inf"))


def need(condition: bool, message: str) -> None:
    """AssertionError unless `condition`."""
    if not condition:
        fail(AssertionError, message)


def _is_batched(query, key, value, key_padding_mask, attn_mask, num_heads: int) -> bool:
    """Whether the operands have a batch dim; AssertionError where their dims do not fit together."""
    need(
        query.dim() in (2, 3),
        f"query should be unbatched 2D or batched 3D tensor but received {query.dim()}-D query tensor",
    )
    batched = query.dim() == 3
    start = f"For {'batched (3-D)' if batched else 'unbatched (2-D)'} `query`, expected"
    need(
        key.dim() == query.dim() and value.dim() == query.dim(),
        f"{start} `key` and `value` to be {query.dim()}-D but found {key.dim()}-D and {value.dim()}-D tensors "
        "respectively",
    )
    if key_padding_mask is not None:
        need(
            key_padding_mask.dim() == query.dim() - 1,
            f"{start} `key_padding_mask` to be `None` or {query.dim() - 1}-D but found {key_padding_mask.dim()}-D "
            "tensor instead",
        )
    if attn_mask is not None:
        need(
            attn_mask.dim() in (2, 3),
            f"{start} `attn_mask` to be `None`, 2-D or 3-D but found {attn_mask.dim()}-D tensor instead",
        )
        if not batched and attn_mask.dim() == 3:
            wanted = (num_heads, query.shape[0], key.shape[0])
            need(
                attn_mask.shape == wanted,
                f"Expected `attn_mask` shape to be {wanted} but got {attn_mask.shape}",
            )
    return batched


def _by_heads(x: Tensor, parts: int, heads: int) -> Sequence[Tensor]:
    """(S, N, parts * E) as `parts` times (N, heads, S, E / heads), without a copy."""
    length, batch, width = x.shape
    return x.reshape(length, batch, parts, heads, width // parts // heads).permute(2, 1, 3, 0, 4).unbind(0)


def _projected(query, key, value, weight, bias, heads: int) -> Sequence[Tensor]:
    """Queries, keys and values by heads, from the three parts of one weight; equal operands are multiplied once."""
    size = query.shape[-1]
    if key is value and query is key:
        return _by_heads(ops.linear(query, weight, bias), 3, heads)
    if key is value:
        w, w_kv = ops.split(weight, [size, 2 * size])
        b, b_kv = (None, None) if bias is None else ops.split(bias, [size, 2 * size])
        return [
            *_by_heads(ops.linear(query, w, b), 1, heads),
            *_by_heads(ops.linear(key, w_kv, b_kv), 2, heads),
        ]
    return _projected_apart(query, key, value, ops.chunk(weight, 3), bias, heads)


def _projected_apart(query, key, value, weights, bias, heads: int) -> Sequence[Tensor]:
    size = query.shape[-1]
    biases = (None, None, None) if bias is None else ops.chunk(bias, 3)
    for name, weight, operand in zip(("query", "key", "value"), weights, (query, key, value)):
        wanted = (size, operand.shape[-1])
        need(weight.shape == wanted, f"expecting {name} weights shape of {wanted}, but got {weight.shape}")
    operands = zip((query, key, value), weights, biases)
    return [part for x, w, b in operands for part in _by_heads(ops.linear(x, w, b), 1, heads)]


def _one_more(mask: Tensor | None) -> Tensor | None:
    """The mask for one more key, which all may see."""
    return None if mask is None else ops.pad(mask, (0, 1))


def _scores(q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
    """q @ k.T + mask of (N, H, L, D) and (N, H, S, D); sums of 16 bits are rounded once."""
    turned = k.transpose(-2, -1)
    if mask is None or mask.dtype is not q.dtype or q.dtype.itemsize > 2:
        scores = ops.matmul(q, turned)
        return scores if mask is None else scores + mask
    return baddbmm_core(mask, q, turned, 1, 1)


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Attention of `num_heads` heads between projections of query, key and value (Vaswani et al., 2017).

    Parameters
    ----------
    query, key, value : Tensor
        (L, N, E), (S, N, kdim), (S, N, vdim), or without the dim N.
    embed_dim_to_check : int
        E.
    in_proj_weight, in_proj_bias : Tensor
        (3 E, E) and (3 E,): the three projections together; `q_proj_weight`, ... instead of the weight with
        `use_separate_proj_weight`.
    bias_k, bias_v : Tensor, optional
        One more key and value, (1, 1, E).
    add_zero_attn : bool
        Whether there is one more key and value of zeros.
    key_padding_mask : Tensor, optional
        (N, S): True for keys that nobody sees, or numbers to be added to the scores.
    attn_mask : Tensor, optional
        (L, S) or (N * num_heads, L, S), likewise.
    need_weights, average_attn_weights : bool
        Whether to return the weights, (N, L, S), or (N, num_heads, L, S) unless they are averaged.
    is_causal : bool
        A hint that `attn_mask` is the causal one.

    Returns
    -------
    (Tensor, Tensor or None)
        The output, (L, N, E), and the weights.
    """
    batched = _is_batched(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        given = {id(x): x.unsqueeze(1) for x in (query, key, value)}  # equal operands stay the same object
        query, key, value = (given[id(x)] for x in (query, key, value))
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    length, batch, width = query.shape
    keys = key.shape[0]
    key_padding_mask = _canonical_mask(
        key_padding_mask, "key_padding_mask", _none_or_dtype(attn_mask), "attn_mask", query.dtype
    )
    if is_causal and attn_mask is None:
        fail(
            RuntimeError,
            "Need attn_mask if specifying the is_causal hint. You may use the Transformer module method "
            "`generate_square_subsequent_mask` to create this mask.",
        )
    if is_causal and key_padding_mask is None and not need_weights:
        attn_mask = None  # the hint says it all
    else:
        attn_mask = _canonical_mask(attn_mask, "attn_mask", None, "", query.dtype, check_other=False)
        is_causal = is_causal and key_padding_mask is None

    need(width == embed_dim_to_check, f"was expecting embedding dimension of {embed_dim_to_check}, but got {width}")
    size = width // num_heads
    need(size * num_heads == width, f"embed_dim {width} not divisible by num_heads {num_heads}")
    if use_separate_proj_weight:
        need(
            key.shape[:2] == value.shape[:2],
            f"key's sequence and batch dims {key.shape[:2]} do not match value's {value.shape[:2]}",
        )
        weights: Any = (q_proj_weight, k_proj_weight, v_proj_weight)
        for name, weight in zip("qkv", weights):
            need(weight is not None, f"use_separate_proj_weight is True but {name}_proj_weight is None")
        q, k, v = _projected_apart(query, key, value, weights, in_proj_bias, num_heads)
    else:
        need(key.shape == value.shape, f"key shape {key.shape} does not match value shape {value.shape}")
        need(in_proj_weight is not None, "use_separate_proj_weight is False but in_proj_weight is None")
        q, k, v = _projected(query, key, value, in_proj_weight, in_proj_bias, num_heads)

    if attn_mask is not None:
        sizes = {2: (length, keys), 3: (batch * num_heads, length, keys)}
        wanted = sizes.get(attn_mask.dim())
        if wanted is None:
            fail(RuntimeError, f"attn_mask's dimension {attn_mask.dim()} is not supported")
        if attn_mask.shape != wanted:
            fail(
                RuntimeError,
                f"The shape of the {attn_mask.dim()}D attn_mask is {attn_mask.shape}, but should be {wanted}.",
            )
        if attn_mask.dim() == 2:
            attn_mask = attn_mask.unsqueeze(0)

    if bias_k is not None and bias_v is not None:
        need(static_k is None, "bias cannot be added to static key.")
        need(static_v is None, "bias cannot be added to static value.")
        k, v = (
            ops.cat([x, bias.view(1, num_heads, 1, size).expand(batch, -1, -1, -1)], 2)
            for x, bias in ((k, bias_k), (v, bias_v))
        )
        attn_mask, key_padding_mask = _one_more(attn_mask), _one_more(key_padding_mask)
    else:
        need(bias_k is None, "bias_k is set but bias_v is None")
        need(bias_v is None, "bias_v is set but bias_k is None")

    def static(x: Tensor, name: str) -> Tensor:
        for dim, wanted in ((0, batch * num_heads), (2, size)):
            need(x.shape[dim] == wanted, f"expecting {name}.size({dim}) of {wanted}, but got {x.shape[dim]}")
        return x.reshape(batch, num_heads, x.shape[1], size)

    k = k if static_k is None else static(static_k, "static_k")
    v = v if static_v is None else static(static_v, "static_v")
    if add_zero_attn:
        k, v = (ops.cat([x, x.new_zeros(batch, num_heads, 1, size)], 2) for x in (k, v))
        attn_mask, key_padding_mask = _one_more(attn_mask), _one_more(key_padding_mask)
    keys = k.shape[2]

    if attn_mask is not None and attn_mask.dim() == 3 and attn_mask.shape[0] > 1:
        attn_mask = attn_mask.view(batch, num_heads, length, keys)
    if key_padding_mask is not None:
        for dim, wanted in enumerate((batch, keys)):
            need(
                key_padding_mask.shape[dim] == wanted,
                f"Expected key_padded_mask.shape[{dim}] to be {wanted}, but got {key_padding_mask.shape[dim]}",
            )
        hidden = key_padding_mask.view(batch, 1, 1, keys)
        attn_mask = hidden if attn_mask is None else attn_mask + hidden
    dropout_p = dropout_p if training else 0.0

    weights = None
    if need_weights:
        need(not is_causal or attn_mask is not None, "FIXME: is_causal not implemented for need_weights")
        weights = ops.softmax(_scores(q * math.sqrt(1.0 / size), k, attn_mask), -1)
        if dropout_p > 0:
            weights = ops.dropout(weights, dropout_p, True)
        output = ops.matmul(weights, v)
        if average_attn_weights:
            weights = weights.mean(1)
    else:
        output = ops.scaled_dot_product_attention(q, k, v, attn_mask, dropout_p, is_causal)
    output = output.permute(2, 0, 1, 3).reshape(batch * length, width)
    output = ops.linear(output, out_proj_weight, out_proj_bias)
    output = output.view(length, batch, output.shape[1])
    if batched:
        return output, weights
    return output.squeeze(1), None if weights is None else weights.squeeze(0)
