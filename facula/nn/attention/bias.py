"""Causal masks that know where the diagonal ends when queries and keys differ in number."""

import warnings
from enum import IntEnum
from typing import Any

from facula.core.dtype import bool_
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.operators import ones, tril

__all__ = ["CausalBias", "CausalVariant", "causal_lower_right", "causal_upper_left"]


class CausalVariant(IntEnum):
    """The corner of the scores in which the diagonal ends."""

    UPPER_LEFT = 1
    LOWER_RIGHT = 2


class CausalBias(Tensor):
    """The mask (seq_len_q, seq_len_kv) that lets each query see the keys up to the diagonal."""

    __slots__ = ()

    variant: CausalVariant
    seq_len_q: int
    seq_len_kv: int

    def __new__(cls, variant: CausalVariant, seq_len_q: int, seq_len_kv: int) -> "CausalBias":
        if not isinstance(variant, CausalVariant):
            fail(AssertionError, f"variant must be a CausalVariant, got {type(variant).__name__}")
        if seq_len_q > seq_len_kv and variant is CausalVariant.LOWER_RIGHT:
            warnings.warn(
                "Lower right causal bias will produce NaNs in the output when seq_len_q > seq_len_kv!", stacklevel=2
            )
        diagonal = seq_len_kv - seq_len_q if variant is CausalVariant.LOWER_RIGHT else 0
        new: Any = tril(ones(seq_len_q, seq_len_kv, dtype=bool_), diagonal)
        new.__class__ = cls
        new.variant, new.seq_len_q, new.seq_len_kv = variant, seq_len_q, seq_len_kv
        return new

    def __init__(self, variant: CausalVariant, seq_len_q: int, seq_len_kv: int):
        pass

    def _materialize(self, device=None) -> Tensor:
        plain = self.clone().to(device or "cpu")
        plain.__class__ = Tensor
        return plain

    def __repr__(self) -> str:
        return repr(self._materialize())


def _sizes(name: str, size: tuple) -> tuple:
    if len(size) != 2:
        fail(AssertionError, f"{name} only supports 2D tensors", got=size)
    return size


def causal_upper_left(*size: int) -> CausalBias:
    """The mask of (queries, keys) whose diagonal starts in the upper left corner."""
    return CausalBias(CausalVariant.UPPER_LEFT, *_sizes("causal_upper_left", size))


def causal_lower_right(*size: int) -> CausalBias:
    """The mask of (queries, keys) whose diagonal ends in the lower right corner."""
    return CausalBias(CausalVariant.LOWER_RIGHT, *_sizes("causal_lower_right", size))
