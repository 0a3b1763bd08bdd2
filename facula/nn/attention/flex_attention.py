"""Attention whose scores go through a function of their place: positional biases, windows, documents, soft caps.

Such a function is called once, with all scores and with indices that broadcast against them: it has to be made of
operators that broadcast (arithmetic, comparisons, `where`, indexing), as the fused kernels of PyTorch need it too.
"""

import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypedDict

from facula import operators as ops
from facula.core import dtype as dt
from facula.core.tensor import Tensor
from facula.errors import fail

__all__ = [
    "AuxOutput",
    "AuxRequest",
    "BlockMask",
    "FlexKernelOptions",
    "and_masks",
    "create_block_mask",
    "create_mask",
    "flex_attention",
    "noop_mask",
    "or_masks",
]

SIZE = 128  # of blocks, unless told otherwise
TABLES = (
    "kv_num_blocks", "kv_indices", "full_kv_num_blocks", "full_kv_indices", "q_num_blocks", "q_indices",
    "full_q_num_blocks", "full_q_indices",
)  # fmt: skip


class FlexKernelOptions(TypedDict, total=False):
    """Options of PyTorch's kernels, accepted."""

    num_warps: int
    num_stages: int
    BLOCK_M: int
    BLOCK_N: int
    PRESCALE_QK: bool
    ROWS_GUARANTEED_SAFE: bool
    BLOCKS_ARE_CONTIGUOUS: bool
    WRITE_DQ: bool
    FORCE_USE_FLEX_ATTENTION: bool
    USE_TMA: bool
    BACKEND: str


class AuxRequest(NamedTuple):
    """What `flex_attention` returns beside its output."""

    lse: bool = False
    max_scores: bool = False


class AuxOutput(NamedTuple):
    """The logarithm of the sum of exponentials, and the greatest, of each query's scores."""

    lse: Tensor | None = None
    max_scores: Tensor | None = None


# --- masks ------------------------------------------------------------------------------------------------------------


def noop_mask(batch: Tensor, head: Tensor, token_q: Tensor, token_kv: Tensor) -> Tensor:
    """Every query sees every key."""
    return batch.new_ones((), dtype=dt.bool_)


def _combined(name: str, mask_mods: tuple, start: bool, combine: Callable) -> Callable[..., Tensor]:
    if not all(callable(mask) for mask in mask_mods):
        fail(RuntimeError, f"All inputs should be callable mask_mods: {mask_mods}")

    def mask(b, h, q_idx, kv_idx):
        result = b.new_full((), start, dtype=dt.bool_)
        for part in mask_mods:
            result = combine(result, part(b, h, q_idx, kv_idx))
        return result

    mask.__name__ = name
    return mask


def or_masks(*mask_mods: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A key is seen if any of the masks says so."""
    return _combined("or_mask", mask_mods, False, ops.bitwise_or)


def and_masks(*mask_mods: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A key is seen if all of the masks say so."""
    return _combined("and_mask", mask_mods, True, ops.bitwise_and)


def _places(batch: int, heads: int, queries: int, keys: int, device) -> list[Tensor]:
    """The indices of batch, head, query and key, each along its dim of (B, H, Q, K)."""
    made = []
    for dim, size in enumerate((batch, heads, queries, keys)):
        made.append(ops.arange(size, device=device).view([-1 if d == dim else 1 for d in range(4)]))
    return made


def create_mask(
    mod_fn: Callable[..., Tensor], B: int | None, H: int | None, Q_LEN: int, KV_LEN: int, device=None
) -> Tensor:
    """The mask (B, H, Q_LEN, KV_LEN) of a function of 4 indices, or of a score and 4 indices (where it is not -inf)."""
    size = (B or 1, H or 1, Q_LEN, KV_LEN)
    needed = [p for p in inspect.signature(mod_fn).parameters.values() if p.default is p.empty]
    if len(needed) not in (4, 5):
        fail(AssertionError, f"Expected 4 or 5 positional args, got {len(needed)}")
    places = _places(*size, device or "cpu")
    if len(needed) == 5:
        return mod_fn(ops.zeros(size, device=device), *places).isneginf().logical_not().expand(size)
    return mod_fn(*places).expand(size)


def _ordered(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """How many blocks of each row are marked, and their columns, first; (..., rows) and (..., rows, columns)."""
    marks = blocks.int()
    return marks.sum(-1).int(), ops.argsort(marks, dim=-1, descending=True, stable=True).int()


def _dense(number: Tensor, columns: Tensor) -> Tensor:
    """The marks of rows of blocks, of what `_ordered` gives."""
    used = ops.arange(columns.shape[-1], device=columns.device) < number.unsqueeze(-1)
    return ops.zeros_like(columns).scatter_(-1, columns.long(), used.int())


def _turned(number: Tensor | None, columns: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """The same by columns of blocks."""
    return (None, None) if number is None or columns is None else _ordered(_dense(number, columns).transpose(-2, -1))


class BlockMask:
    """Which blocks of the scores count: all of a block (`full_...`), or what `mask_mod` says of it.

    Made by `create_block_mask`, or by `from_kv_blocks`.

    Attributes
    ----------
    kv_num_blocks, kv_indices : Tensor
        Of each row of blocks: how many count, (B, H, rows), and their columns, first, (B, H, rows, columns).
    full_kv_num_blocks, full_kv_indices : Tensor or None
        The same of blocks that count as a whole.
    q_num_blocks, q_indices, full_q_num_blocks, full_q_indices : Tensor or None
        The same by columns.
    BLOCK_SIZE, seq_lengths : (int, int)
        Of queries and of keys.
    mask_mod : function
    """

    def __init__(
        self,
        seq_lengths: tuple[int, int],
        kv_num_blocks: Tensor,
        kv_indices: Tensor,
        full_kv_num_blocks: Tensor | None,
        full_kv_indices: Tensor | None,
        q_num_blocks: Tensor | None,
        q_indices: Tensor | None,
        full_q_num_blocks: Tensor | None,
        full_q_indices: Tensor | None,
        BLOCK_SIZE: tuple[int, int] = (SIZE, SIZE),
        mask_mod: Callable[..., Tensor] = noop_mask,
    ) -> None:
        if kv_indices.dim() < 2:
            fail(RuntimeError, "BlockMask must have at least 2 dimensions")
        if (full_kv_num_blocks is None) != (full_kv_indices is None):
            fail(AssertionError, "full_kv_num_blocks and full_kv_indices must be both provided or omitted")
        self.seq_lengths = seq_lengths
        self.kv_num_blocks, self.kv_indices = kv_num_blocks, kv_indices
        self.full_kv_num_blocks, self.full_kv_indices = full_kv_num_blocks, full_kv_indices
        self.q_num_blocks, self.q_indices = q_num_blocks, q_indices
        self.full_q_num_blocks, self.full_q_indices = full_q_num_blocks, full_q_indices
        self.BLOCK_SIZE = BLOCK_SIZE
        self.mask_mod = mask_mod

    @classmethod
    def from_kv_blocks(
        cls,
        kv_num_blocks: Tensor,
        kv_indices: Tensor,
        full_kv_num_blocks: Tensor | None = None,
        full_kv_indices: Tensor | None = None,
        BLOCK_SIZE: int | tuple[int, int] = SIZE,
        mask_mod: Callable[..., Tensor] | None = None,
        seq_lengths: tuple[int, int] | None = None,
        compute_q_blocks: bool = True,
    ) -> "BlockMask":
        """A mask from its rows of blocks."""
        size = (BLOCK_SIZE, BLOCK_SIZE) if isinstance(BLOCK_SIZE, int) else BLOCK_SIZE
        if kv_indices.dim() < 2:
            fail(RuntimeError, "BlockMask must have at least 2 dimensions")
        if seq_lengths is None:
            seq_lengths = (kv_indices.shape[-2] * size[0], kv_indices.shape[-1] * size[1])
        rows: list[Any] = [kv_num_blocks, kv_indices, full_kv_num_blocks, full_kv_indices]
        columns: list[Any] = [*_turned(*rows[:2]), *_turned(*rows[2:])] if compute_q_blocks else [None] * 4
        return cls(seq_lengths, *rows, *columns, BLOCK_SIZE=size, mask_mod=mask_mod or noop_mask)

    @property
    def shape(self) -> tuple[int, ...]:
        """(B, H, queries, keys)."""
        return (*self.kv_indices.shape[:-2], *self.seq_lengths)

    def numel(self) -> int:
        """How many scores there are."""
        return math.prod(self.shape)

    def sparsity(self) -> float:
        """The share of the scores, in percent, that lie in blocks that do not count."""
        count = int(self.kv_num_blocks.sum())
        if self.full_kv_num_blocks is not None:
            count += int(self.full_kv_num_blocks.sum())
        return 100 * (1 - count * self.BLOCK_SIZE[0] * self.BLOCK_SIZE[1] / self.numel())

    def to_dense(self) -> Tensor:
        """1 for blocks that count, (B, H, rows, columns)."""
        marks = _dense(self.kv_num_blocks, self.kv_indices)
        if self.full_kv_num_blocks is not None and self.full_kv_indices is not None:
            marks = marks | _dense(self.full_kv_num_blocks, self.full_kv_indices)
        return marks

    def _seen(self, batch: int, heads: int) -> Tensor:
        """The mask of single scores, (B, H, queries, keys)."""
        rows, columns = self.seq_lengths

        def spread(number: Tensor, indices: Tensor) -> Tensor:
            blocks = ops.repeat_interleave(_dense(number, indices).bool(), self.BLOCK_SIZE[0], -2)
            return ops.repeat_interleave(blocks, self.BLOCK_SIZE[1], -1)[..., :rows, :columns]

        seen = spread(self.kv_num_blocks, self.kv_indices)
        seen = seen & self.mask_mod(*_places(batch, heads, rows, columns, seen.device))
        if self.full_kv_num_blocks is not None and self.full_kv_indices is not None:
            seen = seen | spread(self.full_kv_num_blocks, self.full_kv_indices)
        return seen

    def to(self, device) -> "BlockMask":
        """The mask on a device."""
        parts: Any = [None if (part := getattr(self, name)) is None else part.to(device) for name in TABLES]
        return BlockMask(self.seq_lengths, *parts, BLOCK_SIZE=self.BLOCK_SIZE, mask_mod=self.mask_mod)

    def __repr__(self) -> str:
        shapes = ((name, None if (part := getattr(self, name)) is None else part.shape) for name in TABLES)
        fields = [f"{name}={shape}" for name, shape in shapes]
        fields += [f"BLOCK_SIZE={self.BLOCK_SIZE}", f"shape={self.shape}", f"sparsity={self.sparsity():.2f}%"]
        fields.append(f"mask_mod={getattr(self.mask_mod, '__name__', self.mask_mod)}")
        return "BlockMask(\n    " + ",\n    ".join(fields) + "\n)"


def create_block_mask(
    mask_mod: Callable[..., Tensor],
    B: int | None,
    H: int | None,
    Q_LEN: int,
    KV_LEN: int,
    device=None,
    BLOCK_SIZE: int | tuple[int, int] = SIZE,
    _compile: bool = False,
    separate_full_blocks: bool = True,
) -> BlockMask:
    """The blocks of (B, H, Q_LEN, KV_LEN) scores in which `mask_mod(b, h, q_idx, kv_idx)` is True anywhere.

    Parameters
    ----------
    mask_mod : function
        Of four tensors of indices that broadcast against each other, to a bool tensor.
    B, H : int or None
        None where the mask is the same for all.
    BLOCK_SIZE : int or (int, int)
    separate_full_blocks : bool
        Whether blocks that count as a whole are listed apart.

    Examples
    --------
    >>> from facula.nn.attention.flex_attention import create_block_mask
    >>> create_block_mask(lambda b, h, q, kv: q >= kv, None, None, 512, 512).sparsity()
    37.5
    """
    rows, columns = (BLOCK_SIZE, BLOCK_SIZE) if isinstance(BLOCK_SIZE, int) else BLOCK_SIZE
    mask = create_mask(mask_mod, B, H, Q_LEN, KV_LEN, device)
    mask = ops.pad(mask, (0, -KV_LEN % columns, 0, -Q_LEN % rows))
    batch, heads, queries, keys = mask.shape
    counts = mask.view(batch, heads, queries // rows, rows, keys // columns, columns).sum((-3, -1))
    full = (counts == rows * columns) & separate_full_blocks
    partial = (counts > 0) & full.logical_not()
    listed = _ordered(full) if separate_full_blocks else (None, None)
    return BlockMask.from_kv_blocks(
        *_ordered(partial), *listed, BLOCK_SIZE=(rows, columns), mask_mod=mask_mod, seq_lengths=(Q_LEN, KV_LEN)
    )


# --- attention --------------------------------------------------------------------------------------------------------


def _check(query: Tensor, key: Tensor, value: Tensor, block_mask: BlockMask | None, enable_gqa: bool) -> None:
    if not query.dim() == key.dim() == value.dim() == 4:
        fail(NotImplementedError, "NYI: query, key, and value must be 4D tensors")
    if query.shape[-1] != key.shape[-1]:
        fail(
            ValueError,
            "Expect query and key/value to have the same embedding dimension but got "
            f"E={query.shape[-1]} and E={key.shape[-1]}.",
        )
    heads, kv_heads = query.shape[1], key.shape[1]
    if not enable_gqa and heads != kv_heads:
        fail(
            ValueError,
            f"Expect query and key/value to have the same number of heads but got Hq={heads} and Hkv={kv_heads}. Try "
            "setting enable_gqa=True for GQA.",
        )
    if heads % kv_heads != 0:
        fail(
            ValueError,
            f"Expect number of query heads to be a multiple of kv heads for GQA but got Hq={heads} and Hkv={kv_heads}.",
        )
    if block_mask is not None and block_mask.seq_lengths != (query.shape[-2], key.shape[-2]):
        fail(
            ValueError,
            f"block_mask was created for block_mask.shape={block_mask.shape} but got q_len={query.shape[-2]} and "
            f"kv_len={key.shape[-2]}.",
            mend="create a block mask for these lengths",
        )


def flex_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    score_mod: Callable[..., Tensor] | None = None,
    block_mask: BlockMask | None = None,
    scale: float | None = None,
    enable_gqa: bool = False,
    return_lse: bool = False,
    kernel_options: FlexKernelOptions | None = None,
    *,
    return_aux: AuxRequest | None = None,
) -> Any:
    """softmax(score_mod(scale * Q K^T)) V, over the scores that `block_mask` lets count; 0 for queries without any.

    Parameters
    ----------
    query, key, value : Tensor
        (B, H, L, E), (B, Hkv, S, E), (B, Hkv, S, Ev).
    score_mod : function, optional
        Of the scores and of the indices of batch, head, query and key, which broadcast against them.
    block_mask : BlockMask, optional
    scale : float, optional
        1 / sqrt(E) unless given.
    enable_gqa : bool
        Whether several heads of queries may share one of keys.
    return_lse : bool
        Deprecated: `return_aux`.
    kernel_options : dict, optional
        Accepted.
    return_aux : AuxRequest, optional
        What to return beside the output, as `AuxOutput`.
    """
    _check(query, key, value, block_mask, enable_gqa)
    if return_lse and return_aux is not None:
        fail(
            ValueError,
            "Cannot specify both return_lse and return_aux. return_lse is deprecated, please use "
            "return_aux=AuxRequest(lse=True) instead.",
        )
    batch, heads, length, width = query.shape
    if key.shape[1] != heads:
        key, value = (ops.repeat_interleave(x, heads // key.shape[1], 1) for x in (key, value))
    scores = ops.matmul(query, key.transpose(-2, -1)) * (1 / math.sqrt(width) if scale is None else scale)
    if score_mod is not None:
        scores = score_mod(scores, *_places(batch, heads, length, key.shape[-2], query.device))
    if block_mask is not None:
        scores = scores.masked_fill(block_mask._seen(batch, heads).logical_not(), float("-inf"))
    blind = (scores == float("-inf")).all(-1, keepdim=True)
    weights = ops.softmax(scores.masked_fill(blind, 0.0), -1).masked_fill(blind, 0.0)  # no NaN reaches a gradient
    output = ops.matmul(weights.to(value.dtype), value)
    if return_aux is not None:
        lse = ops.logsumexp(scores, -1) if return_aux.lse else None
        return output, AuxOutput(lse, scores.amax(-1) if return_aux.max_scores else None)
    return (output, ops.logsumexp(scores, -1)) if return_lse else output
