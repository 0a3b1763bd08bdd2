"""Scaled dot-product attention: blocked in float32, where no matrix of scores is ever made, else composed of operators.

Which way a call goes changes neither its meaning nor its gradients, only time and memory.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any, NoReturn

from facula import launch
from facula.autograd.node import dtype_title
from facula.core import dtype as dt
from facula.core.device import device
from facula.core.dtype import dtype
from facula.core.modes import GUARD, LOCAL
from facula.core.spec import Spec, dense, spec
from facula.core.switches import attention as ways
from facula.core.switches import cudnn, program
from facula.core.tensor import Tensor
from facula.core.wrapped import followed
from facula.errors import fail

from .copying import cast, contiguous, like_layout
from .creation import dtype_c_name, fill_values, ones
from .declare import function
from .declare.repeats import FunctionPlan, Repeats
from .dropout import dropout
from .elementwise import add, eq, masked_fill, mul, sub
from .joining import repeat_interleave, tril
from .matmul import matmul
from .normalization import softmax
from .reduction import all as all_over
from .reduction import sum as sum_over
from .view import expand_to, reshape, squeeze_dims, transpose, unsqueeze

__all__ = ["scaled_dot_product_attention"]

NO_MASK, SEEN, ADDED = 0, 1, 2  # what a mask holds, as the target's routine counts


# --- composed ---------------------------------------------------------------------------------------------------------


def _probabilities(query: Tensor, key: Tensor, mask: Tensor | None, causal: bool, scale: float) -> Tensor:
    """softmax(scale * Q @ K.T + mask); all 0 for a query that sees nothing."""
    scores = mul(matmul(query, transpose(key, -2, -1)), scale)
    if causal:
        shape = scores.spec.shape[-2:]
        below = tril(ones(shape, dtype=dt.bool_, device=scores.spec.device))
        scores = masked_fill(scores, eq(below, False), float("-inf"))
    if mask is not None:
        if mask.spec.dtype is dt.bool_:
            hidden = eq(mask, False)
            scores = masked_fill(scores, hidden, float("-inf"))
        else:
            scores = add(scores, mask)
    if mask is None and not causal or scores.spec.shape[-1] == 0:
        return softmax(scores, -1)
    blind = all_over(eq(scores, float("-inf")), -1, keepdim=True)
    # Filled twice, so that no NaN reaches a gradient.
    return masked_fill(softmax(masked_fill(scores, blind, 0.0), -1), blind, 0.0)


def _grouped(x: Tensor, heads: int) -> Tensor:
    """Heads of keys or values repeated for the heads of queries that share them."""
    own = x.spec.shape[-3]
    return x if own == heads else repeat_interleave(x, heads // own, -3)


def _composed(query, key, value, mask, dropout_p: float, causal: bool, scale: float) -> Tensor:
    weights = _probabilities(query, key, mask, causal, scale)
    if dropout_p:
        weights = dropout(weights, dropout_p, True)
    return matmul(weights, value)


# --- blocked ----------------------------------------------------------------------------------------------------------


def _rows(x: Tensor) -> Tensor:
    """The tensor, or a copy of it whose rows are contiguous."""
    return x if x.spec.strides[-1] == 1 or x.spec.shape[-1] <= 1 else contiguous(x)


@lru_cache(1024)
def _steps(*specs: Spec) -> tuple[int, ...]:
    return tuple([step for s in specs for step in s.strides[:3]])


@lru_cache(1024)
def _output(s: Spec, width: int) -> Spec:
    """Of the output, its dims in the order in which those of the queries lie."""
    if s.shape[-1] == width:
        made = like_layout(s)
    else:
        b, h, n, _ = s.shape
        turned = not s.contiguous and s.strides[1] < s.strides[2]
        strides = (n * h * width, width, h * width, 1) if turned else (h * n * width, n * width, width, 1)
        made = spec(s.dtype, s.device, (b, h, n, width), strides)
    return made if made.strides[-1] == 1 else dense(s.dtype, made.shape, s.device)


def _arguments(query, key, value, out, mask, statistics, causal: bool, scale: float) -> tuple:
    """What the target's routine takes; its documentation has the order."""
    return (
        query.ptr, key.ptr, value.ptr, out.ptr, 0 if mask is None else mask.ptr, statistics.ptr,
        *_numbers(query.spec, key.spec, value.spec, out.spec, None if mask is None else mask.spec, causal, scale),
    )  # fmt: skip


@lru_cache(1024)
def _numbers(query: Spec, key: Spec, value: Spec, out: Spec, mask: Spec | None, causal: bool, scale: float) -> tuple:
    batch, heads, queries, depth = query.shape
    _, kv_heads, keys, width = value.shape
    kind = NO_MASK if mask is None else SEEN if mask.dtype is dt.bool_ else ADDED
    return (
        batch, heads, heads // max(kv_heads, 1), queries, keys, depth, width, scale, int(causal), kind,
        *_steps(query, key, value, out), *((0, 0, 0, 0) if mask is None else mask.strides),
    )  # fmt: skip


@function(tensors=("query", "key", "value"), outputs=("out", "statistics"), fill=False)
def attention(query, key, value, mask, causal, scale):
    """(B, H, L, D), (B, G, S, D), (B, G, S, E), a mask (B, H, L, S) -> (B, H, L, E), in a dtype that the target takes.

    Also, in float32 for each query, its greatest score and 1 / the sum of exponentials.
    """
    query, key, value = _rows(query), _rows(key), _rows(value)
    s = query.spec
    out = launch.empty(_output(s, value.spec.shape[-1]))
    statistics = launch.empty(dense(dt.float32, (2, *s.shape[:3]), s.device))
    if out.spec.numel:
        run = launch.native("attend", s.device)(s.dtype)
        run(*_arguments(query, key, value, out, mask, statistics, causal, scale))
    elif statistics.spec.numel:
        fill_values(statistics, 0)
    return out, statistics


@attention.gradient("query", "key", "value")
def _(grad_out, query, key, value, mask, causal, scale, out, statistics):
    if grad_out is None:
        return None, None, None
    if not GUARD.active or LOCAL.grad:
        return _composed_gradients(grad_out, query, key, value, mask, causal, scale)
    query, key, value, grad = _rows(query), _rows(key), _rows(value), _rows(grad_out)
    grads = [launch.empty(dense(x.spec.dtype, x.spec.shape, x.spec.device)) for x in (query, key, value)]
    if not out.spec.numel:
        return tuple(fill_values(x, 0) for x in grads)
    run = launch.native("attend_backward", query.spec.device)(query.spec.dtype)
    run(
        *_arguments(query, key, value, out, mask, statistics, causal, scale), grad.ptr, *[x.ptr for x in grads],
        *_steps(grad.spec, *[x.spec for x in grads]),
    )  # fmt: skip
    return tuple(grads)


attention.operator.node_class.__name__ = "ScaledDotProductFlashAttentionForCpuBackward0"


def _composed_gradients(grad, query, key, value, mask, causal: bool, scale: float) -> tuple:
    """The same from operators, so that it has derivatives of its own."""
    heads, kind = query.spec.shape[1], query.spec.dtype
    grad, query, key, value = (cast(x, dt.float32) for x in (grad, query, key, value))
    shared = key.spec.shape
    keys, values = _grouped(key, heads), _grouped(value, heads)
    weights = _probabilities(query, keys, mask, causal, scale)
    grad_weights = matmul(grad, transpose(values, -2, -1))
    mean = sum_over(mul(grad_weights, weights), -1, keepdim=True)
    scores = mul(mul(weights, sub(grad_weights, mean)), scale)

    def gathered(x: Tensor) -> Tensor:
        """The sum over the query heads that share a head."""
        b, g, n, d = (*shared[:3], x.spec.shape[-1])
        return x if g == heads else sum_over(reshape(x, (b, g, heads // g, n, d)), 2)

    made = (
        matmul(scores, keys),
        gathered(matmul(transpose(scores, -2, -1), query)),
        gathered(matmul(transpose(weights, -2, -1), grad)),
    )
    return tuple(cast(x, kind) for x in made)


# --- the public function ----------------------------------------------------------------------------------------------


def _check(query, key, value, attn_mask, is_causal) -> None:
    name = "scaled_dot_product_attention"
    for i, (word, x) in enumerate((("query", query), ("key", key), ("value", value))):
        if not isinstance(x, Tensor):
            fail(TypeError, f"{name}(): argument '{word}' (position {i + 1}) must be Tensor, not {type(x).__name__}")
    if attn_mask is not None and not isinstance(attn_mask, Tensor):
        fail(TypeError, f"{name}(): argument 'attn_mask' must be Tensor, not {type(attn_mask).__name__}")
    if not isinstance(is_causal, bool):
        fail(TypeError, f"{name}(): argument 'is_causal' must be bool, not {type(is_causal).__name__}")
    kinds = [dtype_c_name(x.spec.dtype) for x in (query, key, value)]
    if len({*kinds}) > 1:
        fail(
            RuntimeError,
            "Expected query, key, and value to have the same dtype, but got query.dtype: {} key.dtype: {} and "
            "value.dtype: {} instead.".format(*kinds),
        )
    places = [str(x.spec.device) for x in (query, key, value)]
    if len({*places}) > 1:
        fail(
            RuntimeError,
            "Expected query, key, and value to have the same device type, but got query.device: {} key.device: {} and "
            "value.device: {} instead.".format(*places),
        )
    dims = [x.spec.ndim for x in (query, key, value)]
    if min(dims) < 2:
        fail(
            RuntimeError,
            "Expected query, key, and value to all be  at least 2 dimensional, but got query.dim: {} key.dim: {} and "
            "value.dim: {} instead.".format(*dims),
        )
    own = query.spec.dtype
    if attn_mask is not None and attn_mask.spec.dtype not in (dt.bool_, dt.float32, own):
        fail(
            RuntimeError,
            "Expected attn_mask dtype to be bool or float or to match query dtype, but got attn_mask.dtype: "
            f"{dtype_c_name(attn_mask.spec.dtype)} and  query.dtype: {kinds[0]} instead.",
        )
    if own.kind == "c":
        fail(NotImplementedError, f"\"softmax_lastdim_kernel_impl\" not implemented for '{dtype_title(own)}'")
    if own.kind != "f":
        fail(RuntimeError, f"expected scalar type Float but found {dtype_title(own)}", mend="query.float(), ...")


def _check_sizes(query: Spec, key: Spec, value: Spec) -> None:
    """K has the features of Q, V the rows of K."""
    for left, right in (((query.shape[-2], query.shape[-1]), (key.shape[-1], key.shape[-2])),
                        ((query.shape[-2], key.shape[-2]), value.shape[-2:])):  # fmt: skip
        if left[1] != right[0]:
            batch = prod(query.shape[:-2])
            fail(
                RuntimeError,
                f"Expected size for first two dimensions of batch2 tensor to be: [{batch}, {left[1]}] but got: "
                f"[{batch}, {right[0]}].",
                expected="keys with the features of the queries, and as many values as keys",
                got=f"{tuple(query.shape)}, {tuple(key.shape)}, {tuple(value.shape)}",
            )


def _shared_heads(query: Tensor, key: Tensor, value: Tensor) -> None:
    """RuntimeError unless heads of keys and values divide those of queries."""
    heads = [x.spec.shape[-3] if x.spec.ndim > 2 else None for x in (query, key, value)]
    if None in heads:
        fail(IndexError, f"Dimension out of range (expected to be in range of [-{query.spec.ndim}, 1], but got -3)")
    if any(not h or heads[0] % h for h in heads[1:]):
        fail(
            RuntimeError,
            "Number of heads in key and value must divide the number of heads in ",
            expected=f"divisors of {heads[0]}",
            got=f"{heads[1]} and {heads[2]}",
        )


def _lead(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The common shape of leading dims."""
    width = max(map(len, shapes))
    padded = [(1,) * (width - len(s)) + tuple(s) for s in shapes]
    made = []
    for d, sizes in enumerate(zip(*padded)):
        first = next((n for n in sizes if n != 1), 1)
        for n in sizes:
            if n not in (1, first):
                fail(
                    RuntimeError,
                    f"The size of tensor a ({first}) must match the size of tensor b ({n}) at non-singleton dimension "
                    f"{d}",
                    expected="leading dims of query, key and value that broadcast",
                    got=", ".join(map(str, shapes)),
                )
        made.append(first)
    return tuple(made)


def _expanded(x: Tensor, lead: tuple[int, ...]) -> Tensor:
    shape = (*lead, *x.spec.shape[-2:])
    return x if x.spec.shape == shape else expand_to(x, shape)


def _masked(mask: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The mask as wide as the scores."""
    given = mask.spec.shape
    if len(given) > len(shape):
        fail(
            RuntimeError,
            f"output with shape {list(shape)} doesn't match the broadcast shape {list(_lead(given, shape))}",
        )
    for d in range(-1, -len(given) - 1, -1):
        if given[d] not in (1, shape[d]):
            fail(
                RuntimeError,
                f"The size of tensor a ({shape[d]}) must match the size of tensor b ({given[d]}) at non-singleton "
                f"dimension {len(shape) + d}",
                expected=f"a mask that broadcasts to {tuple(shape)}",
                got=tuple(given),
            )
    return expand_to(mask, shape)


# By specs and scale, for calls that are one of `attention` as they are: the factor, whether machine code repeats them.
_PLAIN: dict[tuple, tuple[float, bool]] = {}
_KNOWN = Repeats(attention.operator, 3, others=1)
for switches in (cudnn, program, ways):  # a target's library follows them
    switches.when_changed(_KNOWN.clear)


def _repeated(query: Tensor, key: Tensor, value: Tensor, causal: bool, scale: float) -> Tensor:
    """The output of `attention` without a mask; calls like one before are machine code's."""
    given = query, key, value, _KNOWN.same(causal, scale)
    if (made := _KNOWN.run(*given)) is not None:
        return made[0]
    if GUARD.active and (made := _KNOWN.in_mode()(*given)) is not None:
        return made[0]

    made = attention(query, key, value, None, causal, scale)

    def make(q: Spec, k: Spec, v: Spec, _: Any) -> FunctionPlan | None:
        outs = tuple([x.spec for x in made])
        if 0 in q.shape or any(s.strides[-1] != 1 for s in (q, k, v)):
            return None
        settle = launch.native("attend_settled", q.device)
        run = settle(q.dtype, *_numbers(q, k, v, outs[0], None, causal, scale))
        return FunctionPlan(run, (0,), outs, (0, 1, 2))

    _KNOWN.repeat(given, 3, made, make, named=(query, key, value, None, causal, scale))
    return made[0]


@lru_cache(256)
def _way(where: device, kind: dtype, fused: bool) -> str:
    """The way that a program allows and that can do it, by PyTorch's names; `fused`: no weights need be seen."""
    offered = launch.native("attend_ways", where)
    order = ways.order if len(offered) > 1 else (*offered, "math")  # where there is one kernel PyTorch asks for none
    allowed = [name for name in order if getattr(ways, name) and (name == "math" or name in offered)]
    if not allowed:
        fail(
            RuntimeError,
            "No viable backend for scaled_dot_product_attention was found. This is likely due to turning off both the "
            "math kernel and the fused kernels.",
            mend="allow one of sdpa_kernel's backends that the device has: " + ", ".join(("math", *offered)),
        )
    for name in allowed:
        if name == "math" or fused and kind in offered[name]:
            return name
    _no_kernel(allowed, kind)


def _no_kernel(allowed: Sequence[str], kind: dtype) -> NoReturn:
    fail(
        RuntimeError,
        "No available kernel.  Aborting execution.",
        expected=f"one of the backends that are allowed, {', '.join(allowed)}, to do this",
        got=f"{kind}; weights that are dropped or a mask that needs a gradient are for SDPBackend.MATH alone",
        mend="allow SDPBackend.MATH",
    )


for forget in (_way.cache_clear, _PLAIN.clear):
    ways.when_changed(forget)


def _library_does(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool, scale: float) -> bool:
    """Whether a library that alone is allowed does it; RuntimeError where operators are not allowed either."""
    kind, s = query.spec.dtype, query.spec
    out = _output(s, value.spec.shape[-1])
    numbers = _numbers(s, key.spec, value.spec, out, None if mask is None else mask.spec, causal, scale)
    if launch.native("attends_by_library", s.device)(kind, (query.ptr, key.ptr, value.ptr), *numbers):
        return True
    if not ways.math:
        _no_kernel(("cudnn",), kind)
    return False


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(scale * query @ key.T + attn_mask) @ value, over the last two dims.

    Parameters
    ----------
    query, key, value : Tensor
        (..., L, D), (..., S, D), (..., S, E); leading dims broadcast.
    attn_mask : Tensor, optional
        Broadcasts to (..., L, S): bools, True where a key is seen, or numbers that are added to the scores.
    dropout_p : float
        The chance that a weight is dropped, whether or not anything is being trained.
    is_causal : bool
        Whether query i sees keys 0 ... i only.
    scale : float, optional
        1 / sqrt(D) unless given.
    enable_gqa : bool
        Whether heads (dim -3) of keys and values are shared by equal groups of the queries' heads.

    Raises
    ------
    RuntimeError
        If the ways that `torch.nn.attention.sdpa_kernel` allows cannot do it.

    Notes
    -----
    A query that sees no key gets zeros. In float32, half and bfloat16 scores exist a block at a time and in float32,
    forward and backward, unless weights are dropped or the mask needs a gradient, or only SDPBackend.MATH is allowed:
    then all of this is composed of operators, as float64 always is.

    Examples
    --------
    >>> import facula as torch
    >>> q = torch.zeros(1, 2, 4)
    >>> torch.nn.functional.scaled_dot_product_attention(q, q, torch.tensor([[[1.0], [3.0]]]))
    tensor([[[2.],
             [2.]]])
    """
    if attn_mask is None and is_causal.__class__ is bool and query.__class__ is Tensor:
        found = _PLAIN.get((query.spec, getattr(key, "spec", None), getattr(value, "spec", None), scale))
        if found is not None and dropout_p.__class__ is float and dropout_p == 0.0:
            factor, repeats = found
            if repeats:
                return _repeated(query, key, value, is_causal, factor)
            return attention(query, key, value, None, is_causal, factor)[0]
    _check(query, key, value, attn_mask, is_causal)
    if not isinstance(dropout_p, (int, float)) or isinstance(dropout_p, bool):
        fail(
            TypeError,
            "scaled_dot_product_attention(): argument 'dropout_p' must be float, not " + type(dropout_p).__name__,
        )
    trained = attn_mask is not None and followed(attn_mask) and (not GUARD.active or LOCAL.grad)
    kind = query.spec.dtype
    some = query.spec.numel and key.spec.numel  # else PyTorch asks for no way
    way = _way(query.spec.device, kind, dropout_p == 0 and not trained) if some else "math"
    blocked = way != "math" and kind is not dt.float64
    if is_causal and attn_mask is not None and (not blocked or {x.spec.ndim for x in (query, key, value)} != {4}):
        fail(
            RuntimeError,
            "_scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True",
            mend="make the mask causal instead",
        )
    q, k, v = query, key, value
    _check_sizes(q.spec, k.spec, v.spec)
    depth = q.spec.shape[-1]
    factor = float(scale) if scale is not None else depth**-0.5 if depth else 1.0
    if enable_gqa:
        _shared_heads(q, k, v)
        heads = q.spec.shape[-3]
        if not blocked or k.spec.shape[-3] != v.spec.shape[-3] or {x.spec.ndim for x in (q, k, v)} - {3, 4}:
            k, v = _grouped(k, heads), _grouped(v, heads)
    kv_heads = k.spec.shape[-3] if enable_gqa else None
    if kv_heads is not None and kv_heads != q.spec.shape[-3]:
        lead = _lead(*[x.spec.shape[:-3] for x in (q, k, v)])
        q, k, v = _expanded(q, (*lead, heads)), _expanded(k, (*lead, kv_heads)), _expanded(v, (*lead, kv_heads))
        lead = (*lead, heads)
    else:
        lead = _lead(*[x.spec.shape[:-2] for x in (q, k, v)])
        q, k, v = (_expanded(x, lead) for x in (q, k, v))
    mask = attn_mask
    if mask is not None:
        if mask.spec.ndim == 0:
            fail(IndexError, "Dimension specified as -2 but tensor has no dimensions")
        if blocked and mask.spec.dtype not in (dt.bool_, dt.float32):
            mask = cast(mask, dt.float32)
        mask = _masked(mask, (*lead, q.spec.shape[-2], k.spec.shape[-2]))
    wide = kind.itemsize == 2 and not (blocked and kind in launch.native("attend_dtypes", q.spec.device))
    if wide:
        q, k, v = cast(q, dt.float32), cast(k, dt.float32), cast(v, dt.float32)
    if not blocked or len(lead) > 2 and 0 in lead:
        return cast(_composed(q, k, v, mask, dropout_p, is_causal, factor), kind)
    if len(lead) > 2:  # several dims of batches are one
        q, k, v = (reshape(x, (prod(lead[:-1]), *x.spec.shape[-3:])) for x in (q, k, v))
        mask = None if mask is None else reshape(mask, (prod(lead[:-1]), *mask.spec.shape[-3:]))
    while q.spec.ndim < 4:
        q, k, v = unsqueeze(q, 0), unsqueeze(k, 0), unsqueeze(v, 0)
        mask = None if mask is None else unsqueeze(mask, 0)
    alone = way == "cudnn" and not (ways.flash or ways.mem_efficient)
    if q is query and k is key and v is value and mask is None and not enable_gqa and q.spec.kind is None and not alone:
        if len(_PLAIN) > 1024:
            _PLAIN.clear()
        repeats = launch.offered("attend_settled", q.spec.device) is not None
        _PLAIN[q.spec, k.spec, v.spec, scale] = factor, repeats
    if alone and not _library_does(_rows(q), _rows(k), _rows(v), mask, is_causal, factor):
        heads, wide = q.spec.shape[1], True
        q, k, v = (cast(_grouped(x, heads), dt.float32) for x in (q, k, v))
        out = _composed(q, k, v, mask, 0.0, is_causal, factor)
    else:
        out, _ = attention(q, k, v, mask, is_causal, factor)
    if wide:
        out = cast(out, kind)
    if len(lead) > 2:
        return reshape(out, (*lead, *out.spec.shape[-2:]))
    return out if len(lead) == 2 else squeeze_dims(out, tuple(range(2 - len(lead))))
