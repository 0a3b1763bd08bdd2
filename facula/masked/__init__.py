"""`torch.masked`: reductions and normalizations that look at some elements alone.

An element that `mask` leaves out counts as the identity of the operation, which changes no result: 0 in a sum, minus
infinity in a maximum. A row that is left out whole gives that identity, or NaN where there is none.
"""

from collections.abc import Sequence
from typing import Any, NoReturn

from facula import operators as ops
from facula.core import dtype as dt
from facula.core.dtype import dtype as DType
from facula.core.shape import normalize_dim
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.operators import linalg

__all__ = [
    "MaskedTensor", "amax", "amin", "argmax", "argmin", "as_masked_tensor", "cumprod", "cumsum", "is_masked_tensor",
    "log_softmax", "logaddexp", "logsumexp", "masked_tensor", "mean", "median", "norm", "normalize", "prod", "softmax",
    "softmin", "std", "sum", "var",
]  # fmt: skip

Dims = int | Sequence[int] | None


class MaskedTensor:
    """Not implemented: it is a prototype of PyTorch; the functions of torch.masked take `mask=`."""

    def __init__(self, *args, **kwargs):
        _no_masked_tensors("MaskedTensor")


def masked_tensor(data, mask, requires_grad=False) -> NoReturn:
    """Not implemented: a prototype of PyTorch; the functions of torch.masked take `mask=`."""
    _no_masked_tensors("masked_tensor")


def as_masked_tensor(data, mask) -> NoReturn:
    """Not implemented: a prototype of PyTorch; the functions of torch.masked take `mask=`."""
    _no_masked_tensors("as_masked_tensor")


def is_masked_tensor(obj, /) -> bool:
    """Whether it is a `MaskedTensor`: there is none."""
    return isinstance(obj, MaskedTensor)


def _no_masked_tensors(name: str) -> NoReturn:
    fail(
        NotImplementedError,
        f"torch.masked.{name}() is not implemented: it is a prototype of PyTorch",
        mend="give a plain tensor and mask= to the functions of torch.masked",
    )


def _dims(dim: Dims, rank: int) -> tuple[int, ...]:
    """The dims of a reduction in order; all of them for None and ()."""
    if dim is None or dim == ():
        return tuple(range(rank))
    found: list[int] = []
    for d in (dim,) if isinstance(dim, int) else dim:
        if d in found:
            fail(RuntimeError, f"dim={d} appears multiple times in the list of dims")
        found.append(normalize_dim(d, rank))
    return tuple(sorted(found))


def _whole(input: Tensor, mask: Tensor) -> Tensor:
    """The mask in the shape of the input."""
    if mask.ndim > input.ndim:
        fail(
            IndexError,
            "_input_mask expected broadcastable mask (got mask dimensionality higher than of the input)",
            got=f"a mask of shape {tuple(mask.shape)} for an input of shape {tuple(input.shape)}",
        )
    return mask.expand(input.shape).to(dt.bool_)


def _lowest(kind: DType) -> Any:
    return -float("inf") if kind.kind in "fc" else ops.iinfo(kind).min


def _highest(kind: DType) -> Any:
    return float("inf") if kind.kind in "fc" else ops.iinfo(kind).max


# What an element that is left out counts as, by the operation.
IDENTITY = {
    "sum": lambda kind: 0, "prod": lambda kind: 1, "amax": _lowest, "amin": _highest, "argmax": _lowest,
    "argmin": _highest, "logsumexp": _lowest, "logaddexp": _lowest, "median": lambda kind: float("nan"),
}  # fmt: skip


def _filled(input: Tensor, mask: Tensor | None, operation: str) -> Tensor:
    """The input with the identity of an operation where the mask leaves elements out."""
    if mask is None:
        return input
    kind = input.dtype
    if kind.kind == "b" and operation not in ("sum", "prod") or kind.kind == "c" and operation in ("amax", "amin"):
        fail(NotImplementedError, f"identity of {operation} on {kind!r} input")
    identity = ops.full((), IDENTITY[operation](kind), dtype=kind, device=input.device)
    return ops.where(_whole(input, mask), input, identity)


def _summed(input: Tensor, dtype: DType | None) -> DType:
    """The dtype of a sum: small integers grow."""
    return dtype or (dt.int64 if input.dtype.kind in "bui" else input.dtype)


def sum(
    input: Tensor, dim: Dims = None, *, keepdim: bool | None = False, dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The sum over dims of the elements where `mask` holds.

    Parameters
    ----------
    input : Tensor
    dim : int or sequence of int, optional
        All dims by default.
    keepdim : bool
        Whether reduced dims stay, with size 1.
    dtype : dtype, optional
        Of the result.
    mask : Tensor, optional
        Broadcasts to the input's shape; True: the element counts.

    Examples
    --------
    >>> import facula as torch
    >>> torch.masked.sum(torch.tensor([1.0, 2.0, 4.0]), mask=torch.tensor([True, False, True]))
    tensor(5.)
    """
    dims = _dims(dim, input.ndim)
    return ops.sum(_filled(input, mask, "sum"), dims, bool(keepdim), dtype=_summed(input, dtype))


def prod(
    input: Tensor, dim: Dims = None, *, keepdim: bool | None = False, dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The product over dims of the elements where `mask` holds; see `sum`."""
    made = _filled(input, mask, "prod").to(_summed(input, dtype))
    for d in reversed(_dims(dim, input.ndim)):
        made = ops.prod(made, d, bool(keepdim))
    return made


def amax(
    input: Tensor, dim: Dims = None, *, keepdim: bool | None = False, dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The maximum over dims of the elements where `mask` holds; see `sum`."""
    made = _filled(input, mask, "amax")
    return ops.amax(made, _dims(dim, input.ndim), bool(keepdim)).to(dtype or input.dtype)


def amin(
    input: Tensor, dim: Dims = None, *, keepdim: bool | None = False, dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The minimum over dims of the elements where `mask` holds; see `sum`."""
    made = _filled(input, mask, "amin")
    return ops.amin(made, _dims(dim, input.ndim), bool(keepdim)).to(dtype or input.dtype)


def argmax(
    input: Tensor, dim: int | None = None, *, keepdim: bool | None = False, dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Where the maximum of the elements is for which `mask` holds."""
    return ops.argmax(_filled(input, mask, "argmax"), dim, bool(keepdim)).to(dtype or input.dtype)


def argmin(
    input: Tensor, dim: int | None = None, *, keepdim: bool | None = False, dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Where the minimum of the elements is for which `mask` holds."""
    return ops.argmin(_filled(input, mask, "argmin"), dim, bool(keepdim)).to(dtype or input.dtype)


def cumsum(input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """Sums up to each element, of those where `mask` holds."""
    kind = dtype or input.dtype
    return ops.cumsum(_filled(input, mask, "sum"), _dims(dim, input.ndim)[0], dtype=kind).to(kind)


def cumprod(input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """Products up to each element, of those where `mask` holds."""
    kind = dtype or input.dtype
    return ops.cumprod(_filled(input, mask, "prod"), _dims(dim, input.ndim)[0], dtype=kind).to(kind)


def _counts(input: Tensor, dims: tuple[int, ...], keepdim: bool, mask: Tensor | None) -> Tensor:
    """How many elements count in each row, int64."""
    counted = ops.ones(input.shape, dtype=dt.int64, device=input.device) if mask is None else _whole(input, mask)
    return ops.sum(counted, dims, keepdim, dtype=dt.int64)


def mean(
    input: Tensor, dim: Dims = None, *, keepdim: bool | None = False, dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The mean over dims of the elements where `mask` holds; NaN of none."""
    kind = dtype or input.dtype
    if kind.kind not in "fc":
        fail(
            ValueError,
            f"mean(): Could not infer output dtype. {'Input' if dtype is None else 'Optional'} dtype must be either a "
            f"floating point or complex dtype. Got: {kind!r}",
        )
    total = sum(input, dim, keepdim=keepdim, dtype=kind, mask=mask)
    return total / _counts(input, _dims(dim, input.ndim), bool(keepdim), mask)


def median(
    input: Tensor, dim: int = -1, *, keepdim: bool = False, dtype: DType | None = None, mask: Tensor | None = None
) -> Tensor:
    """The median along a dim of the elements where `mask` holds; NaN of none."""
    d, floating = _dims(dim, input.ndim)[0], input.is_floating_point()
    filled = _filled(input if floating else input.to(dt.float32), mask, "median")
    made = ops.nanmedian(filled, d, keepdim).values
    if floating:
        return made
    if bool(ops.isnan(made).any()):
        fail(ValueError, "masked median expects no fully masked out rows if dtype is not floating point")
    return made.to(dtype or input.dtype)


def logsumexp(
    input: Tensor, dim: Dims = None, *, keepdim: bool = False, dtype: DType | None = None, mask: Tensor | None = None
) -> Tensor:
    """log(sum(exp(x))) over dims of the elements where `mask` holds."""
    made = _filled(input, mask, "logsumexp")
    return ops.logsumexp(made, _dims(dim, input.ndim), keepdim=keepdim).to(dtype or input.dtype)


def logaddexp(
    input: Tensor, other: Tensor, *, dtype: DType | None = None, input_mask: Tensor | None = None,
    other_mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """log(exp(input) + exp(other)), of the elements for which their masks hold."""
    kind = dtype or input.dtype
    a, b = _filled(input, input_mask, "logaddexp"), _filled(other, other_mask, "logaddexp")
    return ops.logaddexp(a, b).to(kind)


def norm(
    input: Tensor, ord: float | None = 2.0, dim: Dims = None, *, keepdim: bool | None = False,
    dtype: DType | None = None, mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The vector norm of order `ord` over dims of the elements where `mask` holds."""
    filled = _filled(input, mask, "amin" if ord == -float("inf") else "sum")
    return linalg.vector_norm(filled, ord, _dims(dim, input.ndim), bool(keepdim), dtype=dtype or input.dtype)


def _spread(
    input: Tensor, dim: Dims, unbiased: bool | None, correction: float | None, keepdim: bool, dtype: DType | None,
    mask: Tensor | None,
) -> tuple[Tensor, DType]:  # fmt: skip
    """(the variance in the dtype that it is computed in, the dtype of the result)."""
    if unbiased is not None and correction is not None:
        fail(AssertionError, "Only one of unbiased and correction may be given")
    taken = float(correction if correction is not None else unbiased is None or unbiased)
    kind = dtype or (input.dtype if input.dtype.kind in "fc" else dt.float32)
    wide = kind if kind.kind in "fc" else dt.float32
    dims = _dims(dim, input.ndim)
    count = _counts(input, dims, True, mask)
    apart = input - sum(input, dims, keepdim=True, dtype=kind, mask=mask) / count
    total = sum(apart * apart.conj(), dims, keepdim=keepdim, dtype=wide, mask=mask)
    count = count if keepdim else count.reshape(total.shape)
    if taken:
        count = (count.to(wide.to_real()) - taken).clamp(min=0)
    return total / count, kind


def var(
    input: Tensor, dim: Dims = None, unbiased: bool | None = None, *, correction: float | None = None,
    keepdim: bool | None = False, dtype: DType | None = None, mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The variance over dims of the elements where `mask` holds; the count is lessened by `correction` (1)."""
    made, kind = _spread(input, dim, unbiased, correction, bool(keepdim), dtype, mask)
    return made.to(kind)


def std(
    input: Tensor, dim: Dims = None, unbiased: bool | None = None, *, correction: int | None = None,
    keepdim: bool | None = False, dtype: DType | None = None, mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The square root of `var`."""
    made, kind = _spread(input, dim, unbiased, correction, bool(keepdim), dtype, mask)
    return ops.sqrt(made.to(kind))


def softmax(input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """Softmax along `dim` of the elements where `mask` holds; the others get 0."""
    return ops.softmax(_filled(input, mask, "amax"), _dims(dim, input.ndim)[0], dtype or input.dtype)


def log_softmax(input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """The logarithm of `softmax`."""
    return ops.log_softmax(_filled(input, mask, "amax"), _dims(dim, input.ndim)[0], dtype or input.dtype)


def softmin(input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """`softmax` of the negated elements."""
    return ops.softmin(_filled(input, mask, "amin"), _dims(dim, input.ndim)[0], dtype or input.dtype)


def normalize(
    input: Tensor, ord: float, dim: int, *, eps: float = 1e-12, dtype: DType | None = None, mask: Tensor | None = None
) -> Tensor:
    """The elements where `mask` holds, divided by their norm along `dim` (at least `eps`)."""
    size = norm(input, ord, dim, keepdim=True, dtype=dtype, mask=mask)
    return _filled(input, mask, "sum") / ops.maximum(size, size.new_full((), eps))
