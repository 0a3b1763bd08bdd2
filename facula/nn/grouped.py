"""Products of groups of matrices of different sizes, and of scaled 8-bit floats, for `nn.functional`."""

from enum import Enum
from typing import Any

from facula import operators as ops
from facula.core.dtype import bfloat16, dtype, float16, float32
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.operators.scaled import _scaled_mm

__all__ = ["ScalingType", "SwizzleType", "grouped_mm", "scaled_grouped_mm", "scaled_mm"]


class ScalingType(Enum):
    """How many elements of a matrix share a scale."""

    TensorWise = 0
    RowWise = 1
    BlockWise1x16 = 2
    BlockWise1x32 = 3
    BlockWise1x128 = 4
    BlockWise128x128 = 5


class SwizzleType(Enum):
    """In which order scales lie in memory."""

    NO_SWIZZLE = 0
    SWIZZLE_32_4_4 = 1


def grouped_mm(
    mat_a: Tensor, mat_b: Tensor, *, offs: Tensor | None = None, bias: Tensor | None = None, out_dtype=None
) -> Tensor:
    """The product of each group.

    Parameters
    ----------
    mat_a : Tensor
        (groups, m, k), or (m, k): of all groups.
    mat_b : Tensor
        (groups, k, n), or (k, n): of all groups.
    offs : Tensor, optional
        The ends of the groups along the dim that is divided: rows of a flat `mat_a`, columns of a flat `mat_b`, k
        where both are flat. What lies behind the last end is 0 in the result.
    """
    for name, x in (("mat_a", mat_a), ("mat_b", mat_b)):
        if x.dtype not in (float32, bfloat16, float16):
            fail(RuntimeError, f"Expected {name} to be Float32, BFloat16 or Float16 matrix, got {x.dtype}")
        if x.dim() not in (2, 3):
            fail(RuntimeError, f"{name} has to be 2 or 3d", got=f"{x.dim()}d")
    flat = (mat_a.dim() == 2, mat_b.dim() == 2)
    if any(flat) != (offs is not None):
        fail(
            RuntimeError,
            "Have to provide offsets if there is a 2d matrix, or no offset if both matrices are 3d",
        )
    if bias is not None:
        fail(RuntimeError, "Bias not supported yet")
    if out_dtype is not None and out_dtype is not mat_a.dtype:
        fail(RuntimeError, f"Grouped gemm output dtype must match input dtype {mat_a.dtype}, but got {out_dtype}")
    if offs is None:
        return ops.bmm(mat_a, mat_b)
    ends = [0, *offs.tolist()]
    spans = list(zip(ends, ends[1:]))
    if flat == (True, True):
        return ops.stack([mat_a[:, i:j] @ mat_b[i:j] for i, j in spans])
    if flat[0]:
        parts, dim, whole = [mat_a[i:j] @ mat_b[g] for g, (i, j) in enumerate(spans)], 0, mat_a.shape[0]
    else:
        parts, dim, whole = [mat_a[g] @ mat_b[:, i:j] for g, (i, j) in enumerate(spans)], 1, mat_b.shape[1]
    made = ops.cat(parts, dim)
    return ops.constant_pad_nd(made, (0, 0, 0, whole - ends[-1]) if flat[0] else (0, whole - ends[-1]))


def scaled_mm(
    mat_a: Tensor, mat_b: Tensor, scale_a: Any, scale_recipe_a: Any, scale_b: Any, scale_recipe_b: Any,
    swizzle_a: Any = None, swizzle_b: Any = None, bias: Tensor | None = None, output_dtype: dtype | None = bfloat16,
    contraction_dim=(), use_fast_accum: bool = False,
) -> Tensor:  # fmt: skip
    """The product of two matrices of 8-bit floats that stand for their values times scales.

    Parameters
    ----------
    mat_a, mat_b : Tensor
        (n, k) and (k, m) of float8_e4m3fn or float8_e5m2.
    scale_a, scale_b : Tensor
        One number each (`ScalingType.TensorWise`), or (n, 1) and (1, m) of float32 (`ScalingType.RowWise`).
    bias : Tensor, optional
        (m): added to each row.
    output_dtype : dtype, optional
        Of the result; that of `mat_a` when None.
    """
    one = lambda x: x[0] if isinstance(x, (list, tuple)) and len(x) == 1 else x  # noqa: E731
    recipe, (scale_a, scale_b) = one(scale_recipe_a), (one(scale_a), one(scale_b))
    known = recipe in (ScalingType.TensorWise, ScalingType.RowWise) and recipe is one(scale_recipe_b)
    plain = all(one(x) in (None, SwizzleType.NO_SWIZZLE) for x in (swizzle_a, swizzle_b))
    alone = known and (recipe is ScalingType.RowWise or scale_a.numel() == scale_b.numel() == 1)
    if not alone or not plain:
        fail(ValueError, "Invalid scaling configuration.", expected="TensorWise or RowWise scales, not swizzled",
             got=f"{one(scale_recipe_a)} and {one(scale_recipe_b)}")  # fmt: skip
    return _scaled_mm(mat_a, mat_b, scale_a, scale_b, bias, None, output_dtype, use_fast_accum)


def scaled_grouped_mm(
    mat_a, mat_b, scale_a, scale_recipe_a, scale_b, scale_recipe_b, swizzle_a=None, swizzle_b=None, bias=None,
    offs=None, output_dtype=bfloat16, contraction_dim=(), use_fast_accum=False,
) -> Tensor:  # fmt: skip
    """`grouped_mm` of scaled matrices of 8-bit floats: not there."""
    fail(NotImplementedError, "scaled_grouped_mm: there are no products of groups of 8-bit floats",
         mend="use scaled_mm for each group")  # fmt: skip
