"""Sparse tensors in PyTorch's COO layout: places and values; what can be done with them follows from dense operators.

A sparse tensor has no memory of its own, so it is no operand of kernels: it is a pair of dense tensors, and its
gradient is that of its values. Whatever is not defined here raises PyTorch's error for an unknown backend.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from facula.core import dtype as dt
from facula.core.layout import sparse_coo
from facula.core.shape import Size, normalize_dim
from facula.core.tensor import Tensor
from facula.errors import fail

from . import elementwise as e
from .copying import cast
from .creation import as_tensor, empty, numpy_view, zeros
from .indexing import index_add, index_select, nonzero
from .joining import cat, stack
from .promotion import promote_types
from .reduction import sum as dense_sum
from .view import reshape

__all__ = [
    "SparseTensor",
    "sparse_coo_tensor",
    "sparse_dense_add",
    "sparse_mm",
    "sparse_sum",
    "to_sparse",
]


class SparseTensor(Tensor):
    """A tensor of which the elements at some places are kept, all others being zero; a place may occur repeatedly.

    `places` is int64 (sparse dims, n), `kept` (n, *dense dims); sums over equal places are the elements.
    """

    places: Tensor
    kept: Tensor
    sizes: Size
    settled: bool  # whether places are sorted and occur once

    layout = sparse_coo  # pyright: ignore[reportAssignmentType]
    is_sparse = True
    shape: Any = property(lambda self: self.sizes)
    dtype: Any = property(lambda self: self.kept.dtype)
    device: Any = property(lambda self: self.kept.device)
    ndim: Any = property(lambda self: len(self.sizes))
    is_leaf = property(lambda self: self.kept.is_leaf)
    grad_fn = property(lambda self: self.kept.grad_fn)
    requires_grad: Any = property(
        lambda self: self.kept.requires_grad, lambda self, value: setattr(self.kept, "requires_grad", value)
    )

    def _no_kernel(self) -> NoReturn:
        fail(
            NotImplementedError,
            "Could not run an operator with arguments from the 'SparseCPU' backend.",
            expected="one that is defined for sparse tensors: arithmetic, products, sums, conversions",
            mend="convert first: x.to_dense()",
        )

    spec = property(_no_kernel)  # pyright: ignore[reportAssignmentType] - so that no operator takes it for a dense one
    storage = property(_no_kernel)  # pyright: ignore[reportAssignmentType]

    @property
    def grad(self) -> "SparseTensor | None":
        """The gradient of the values, at the same places."""
        grad = self.kept.grad
        return None if grad is None else made(self.places, grad, self.sizes, self.settled)

    @grad.setter
    def grad(self, value: "SparseTensor | None") -> None:
        self.kept.grad = None if value is None else value.kept

    # what it is

    def size(self, dim: int | None = None) -> Any:
        return self.sizes if dim is None else self.sizes[normalize_dim(dim, self.ndim)]

    def dim(self) -> int:
        return self.ndim

    def numel(self) -> int:
        return math.prod(self.sizes)

    def stride(self, dim: int | None = None) -> Any:
        return (0,) * self.ndim if dim is None else 0

    def is_contiguous(self, memory_format=None) -> bool:
        return False

    def is_floating_point(self) -> bool:
        return self.kept.is_floating_point()

    def is_complex(self) -> bool:
        return self.kept.is_complex()

    def element_size(self) -> int:
        return self.kept.element_size()

    def sparse_dim(self) -> int:
        """How many dims are indexed."""
        return self.places.spec.shape[0]

    def dense_dim(self) -> int:
        """How many dims each kept value has."""
        return self.kept.spec.ndim - 1

    def is_coalesced(self) -> bool:
        """Whether places are sorted and occur once."""
        return self.settled

    def _nnz(self) -> int:
        return self.kept.spec.shape[0]

    def _indices(self) -> Tensor:
        return self.places

    def _values(self) -> Tensor:
        return self.kept

    def _coalesced_(self, value: bool) -> "SparseTensor":
        self.settled = bool(value)
        return self

    def indices(self) -> Tensor:
        """The places, (sparse dims, n), of a coalesced tensor."""
        return self._of_settled("indices", self.places)

    def values(self) -> Tensor:
        """The values, (n, *dense dims), of a coalesced tensor."""
        return self._of_settled("values", self.kept)

    def _of_settled(self, name: str, value: Tensor) -> Tensor:
        if not self.settled:
            fail(RuntimeError, f"Cannot get {name} on an uncoalesced tensor, please call .coalesce() first")
        return value

    def __len__(self) -> int:
        if not self.ndim:
            fail(TypeError, "len() of a 0-d tensor")
        return self.sizes[0]

    __hash__ = object.__hash__

    # other forms of it

    def coalesce(self) -> "SparseTensor":
        """The same elements with places sorted, each once."""
        if self.settled:
            return self
        numbers = _numbered(self.places, self.sizes)
        unique, inverse = numbers.unique(return_inverse=True)
        summed = zeros(unique.spec.shape[0], *self.kept.spec.shape[1:], dtype=self.dtype, device=self.device)
        return made(
            _placed(unique, self.sizes[: self.sparse_dim()]), index_add(summed, 0, inverse, self.kept), self.sizes, True
        )

    def to_dense(self, dtype=None, *, masked_grad=None) -> Tensor:
        """All elements in memory."""
        kept = self.kept if self.dtype is not dt.bool_ else self.kept.to(dt.int8)
        rows = math.prod(self.sizes[: self.sparse_dim()])
        numbers = _numbered(self.places, self.sizes)
        flat = index_add(zeros(rows, *kept.spec.shape[1:], dtype=kept.dtype, device=kept.device), 0, numbers, kept)
        dense = reshape(flat, self.sizes)
        dense = dense if self.dtype is not dt.bool_ else dense.to(dt.bool_)
        return dense if dtype is None else cast(dense, dtype)

    def to_sparse(self, sparse_dim: int | None = None, *, layout=None, **options) -> "SparseTensor":
        return self if sparse_dim is None or sparse_dim == self.sparse_dim() else to_sparse(self.to_dense(), sparse_dim)

    def sparse_mask(self, mask: "SparseTensor") -> "SparseTensor":
        """The elements at the places of another sparse tensor."""
        return mask_of(self.to_dense(), mask)

    def to(self, *args, **kwargs) -> "SparseTensor":
        return self._beside(self.kept.to(*args, **kwargs))

    def clone(self, *, memory_format=None) -> "SparseTensor":
        return made(self.places.clone(), self.kept.clone(), self.sizes, self.settled)

    def detach(self) -> "SparseTensor":
        return self._with(self.kept.detach())

    def requires_grad_(self, requires_grad: bool = True) -> "SparseTensor":
        self.kept.requires_grad_(requires_grad)
        return self

    def cpu(self, memory_format=None) -> "SparseTensor":
        return self._beside(self.kept.cpu())

    def cuda(self, device=None, non_blocking: bool = False, memory_format=None) -> "SparseTensor":
        return self._beside(self.kept.cuda(device, non_blocking))

    def t(self) -> "SparseTensor":
        return self.transpose(0, 1)

    T = property(t)

    def transpose(self, dim0: int, dim1: int) -> "SparseTensor":
        a, b = normalize_dim(dim0, self.ndim), normalize_dim(dim1, self.ndim)
        count = self.sparse_dim()
        if (a < count) != (b < count):
            fail(RuntimeError, "transpose(): a sparse and a dense dim cannot change places", mend="x.to_dense() first")
        order = list(range(self.ndim))
        order[a], order[b] = order[b], order[a]
        sizes = Size([self.sizes[d] for d in order])
        if a >= count:
            return made(self.places, self.kept.transpose(a - count + 1, b - count + 1), sizes, self.settled)
        return made(
            index_select(self.places, 0, as_tensor(order[:count], device=self.device)),
            self.kept,
            sizes,
            False if a != b else self.settled,
        )

    def select(self, dim: int, index: int) -> Any:
        """The part at one index of a dim; dense where no indexed dim is left."""
        d, count = normalize_dim(dim, self.ndim), self.sparse_dim()
        if not -self.sizes[d] <= index < self.sizes[d]:
            fail(
                IndexError,
                f"select(): index {index} out of range for tensor of size {list(self.sizes)} at dimension {d}",
            )
        index, sizes = index % self.sizes[d], [n for k, n in enumerate(self.sizes) if k != d]
        if d >= count:
            return made(self.places, self.kept.select(d - count + 1, index), sizes, self.settled)
        here = reshape(nonzero(e.eq(self.places[d], index)), (-1,))
        kept = index_select(self.kept, 0, here)
        if count == 1:
            return dense_sum(kept, 0)
        left = as_tensor([k for k in range(count) if k != d], device=self.device)
        return made(index_select(index_select(self.places, 0, left), 1, here), kept, sizes, self.settled)

    def __getitem__(self, key) -> Any:
        found: Any = self
        for k in key if isinstance(key, tuple) else (key,):
            if not isinstance(k, int) or isinstance(k, bool):
                dense = self.to_dense()[key]
                return to_sparse(dense) if dense.spec.ndim else dense
            found = found.select(0, k)
        return found

    def _with(self, kept: Tensor) -> "SparseTensor":
        return made(self.places, kept, self.sizes, self.settled)

    def _beside(self, kept: Tensor) -> "SparseTensor":
        """With these values, on whose device the places are too."""
        if kept is self.kept:
            return self
        return made(self.places.to(kept.device), kept, self.sizes, self.settled)

    def __deepcopy__(self, memo) -> "SparseTensor":
        return memo.setdefault(id(self), self.detach().clone().requires_grad_(self.requires_grad))

    # arithmetic

    def add(self, other, *, alpha=1) -> "SparseTensor":
        if not isinstance(other, SparseTensor):
            fail(RuntimeError, "add(sparse, dense) is not supported. Use add(dense, sparse) instead.")
        _same_sizes(self, other)
        kept = other.kept if alpha == 1 else e.mul(other.kept, alpha)
        common = promote_types(self.dtype, kept.dtype)
        if self.places is other.places:
            return self._with(e.add(cast(self.kept, common), cast(kept, common)))
        joined = cat([cast(self.kept, common), cast(kept, common)])
        return made(cat([self.places, other.places], 1), joined, self.sizes, False)

    def sub(self, other, *, alpha=1) -> "SparseTensor":
        return self.add(other, alpha=-alpha)

    def mul(self, other) -> "SparseTensor":
        if isinstance(other, SparseTensor):
            return to_sparse(e.mul(self.to_dense(), other.to_dense()), self.sparse_dim())
        if isinstance(other, Tensor) and other.spec.ndim:
            own = self.coalesce()
            return own._with(e.mul(own.kept, mask_of(other.expand(self.sizes), own).kept))
        return self._with(e.mul(self.kept, other))

    def div(self, other, *, rounding_mode=None) -> "SparseTensor":
        if isinstance(other, Tensor) and (isinstance(other, SparseTensor) or other.spec.ndim):
            fail(RuntimeError, "Sparse division requires a scalar or zero-dim dense tensor divisor")
        own = self if rounding_mode is None else self.coalesce()
        return own._with(own.kept.div(other, rounding_mode=rounding_mode))

    def neg(self) -> "SparseTensor":
        return self._with(e.neg(self.kept))

    def pow(self, exponent) -> "SparseTensor":
        if not exponent > 0:
            fail(RuntimeError, "cannot raise to zeroth power on sparse tensor; it would make the result tensor dense")
        return self.coalesce()._with(e.pow(self.coalesce().kept, exponent))

    def _assign(self, other: "SparseTensor") -> "SparseTensor":
        self.places, self.kept, self.sizes, self.settled = other.places, other.kept, other.sizes, other.settled
        return self

    def add_(self, other, *, alpha=1) -> "SparseTensor":
        return self._assign(self.add(other, alpha=alpha))

    def sub_(self, other, *, alpha=1) -> "SparseTensor":
        return self._assign(self.sub(other, alpha=alpha))

    def mul_(self, other) -> "SparseTensor":
        return self._assign(self.mul(other))

    def div_(self, other, *, rounding_mode=None) -> "SparseTensor":
        return self._assign(self.div(other, rounding_mode=rounding_mode))

    def copy_(self, other, non_blocking: bool = False) -> "SparseTensor":
        if not isinstance(other, SparseTensor):
            fail(RuntimeError, "copy_() between dense and sparse Tensors is not implemented!")
        return self._assign(other.clone())

    def zero_(self) -> "SparseTensor":
        none = made(
            zeros(self.sparse_dim(), 0, dtype=dt.int64, device=self.device),
            zeros(0, *self.kept.spec.shape[1:], dtype=self.dtype, device=self.device),
            self.sizes,
            True,
        )
        return self._assign(none)

    def __add__(self, other):
        return self.add(other)

    def __radd__(self, other):
        return sparse_dense_add(other, self)

    def __sub__(self, other):
        return self.sub(other)

    def __mul__(self, other):
        return self.mul(other)

    def __truediv__(self, other):
        return self.div(other)

    def __neg__(self):
        return self.neg()

    def __pow__(self, exponent):
        return self.pow(exponent)

    def __matmul__(self, other):
        return self.matmul(other)

    def __eq__(self, other):
        return self._no_kernel() if isinstance(other, Tensor) else NotImplemented

    __rmul__ = __mul__
    multiply: Any = mul
    negative: Any = neg
    true_divide: Any = div

    def matmul(self, other: Tensor) -> Any:
        """The product with a matrix or a vector."""
        return sparse_matmul(self, other)

    mm: Any = matmul
    mv: Any = matmul

    def sum(self, dim=None, keepdim: bool = False, *, dtype=None) -> Any:
        return sparse_sum(self, dim, dtype=dtype)

    def norm(self, p=2, dim=None, keepdim: bool = False, dtype=None) -> Tensor:
        return self.coalesce().kept.norm(p)

    # what it is not

    def numpy(self, *, force: bool = False) -> NoReturn:
        fail(TypeError, "can't convert Sparse layout tensor to numpy. Use Tensor.to_dense() first.")

    def item(self) -> Any:
        if self.numel() != 1:
            fail(RuntimeError, f"a Tensor with {self.numel()} elements cannot be converted to Scalar")
        return self.to_dense().item()

    def reshape(self, *shape) -> NoReturn:
        fail(RuntimeError, "reshape is not implemented for sparse tensors", mend="x.to_dense().reshape(...)")


def _of_kept(name: str) -> Callable:
    """The method that does to the values what keeps zeros zero."""

    def method(self: SparseTensor) -> SparseTensor:
        own = self.coalesce()  # f(a + b) is not f(a) + f(b)
        return own._with(getattr(own.kept, name)())

    method.__name__ = name
    method.__qualname__ = f"SparseTensor.{name}"
    method.__doc__ = f"`{name}` of each element; zeros stay zeros."
    return method


for _name in (
    "abs", "asin", "asinh", "atan", "atanh", "ceil", "deg2rad", "erf", "erfinv", "expm1", "floor", "frac", "log1p",
    "rad2deg", "relu", "round", "sgn", "sign", "sin", "sinh", "sqrt", "square", "tan", "tanh", "trunc", "isnan",
):  # fmt: skip
    setattr(SparseTensor, _name, _of_kept(_name))
for _name in (
    "float",
    "double",
    "half",
    "bfloat16",
    "long",
    "int",
    "short",
    "char",
    "byte",
    "bool",
    "cfloat",
    "cdouble",
):
    setattr(SparseTensor, _name, lambda self, memory_format=None, _name=_name: self._with(getattr(self.kept, _name)()))


def made(places: Tensor, kept: Tensor, sizes: Sequence[int], settled: bool) -> SparseTensor:
    """A sparse tensor of parts that fit."""
    out = object.__new__(SparseTensor)
    out.places, out.kept, out.sizes, out.settled = places, kept, Size(sizes), settled
    out.base = out.edge = out.extra = out._grad = None
    out.needs_grad, out.seen, out.ptr = False, 0, 0
    return out


def _numbered(places: Tensor, sizes: Sequence[int]) -> Tensor:
    """Places as row-major numbers, (n,)."""
    count = places.spec.shape[0]
    if not count:
        return zeros(places.spec.shape[1], dtype=dt.int64, device=places.device)
    number = places[0]
    for d in range(1, count):
        number = e.add(e.mul(number, sizes[d]), places[d])
    return number


def _placed(numbers: Tensor, sizes: Sequence[int]) -> Tensor:
    """The inverse of `_numbered`, (dims, n)."""
    found = []
    for size in reversed(sizes):
        found.append(e.remainder(numbers, size or 1))
        numbers = e.floor_divide(numbers, size or 1)
    return stack(found[::-1]) if found else zeros(0, numbers.spec.shape[0], dtype=dt.int64, device=numbers.device)


def _same_sizes(a: SparseTensor, b: SparseTensor) -> None:
    if a.sizes != b.sizes:
        fail(
            RuntimeError,
            f"add: expected sizes of 'self' and 'other' to match, but {list(a.sizes)} != {list(b.sizes)}",
        )


def mask_of(dense: Tensor, mask: SparseTensor) -> SparseTensor:
    """The elements of a dense tensor at the places of a sparse one."""
    count = mask.sparse_dim()
    rows = reshape(dense, (math.prod(dense.spec.shape[:count]), *dense.spec.shape[count:]))
    return mask._with(index_select(rows, 0, _numbered(mask.places, mask.sizes)))


def sparse_coo_tensor(
    indices: Any = None, values: Any = None, size: Any = None, *, dtype=None, device=None, pin_memory=False,
    requires_grad=False, check_invariants=None, is_coalesced=None,
) -> SparseTensor:  # fmt: skip
    """A sparse tensor of places and values.

    Parameters
    ----------
    indices : array-like of int
        (sparse dims, n); each column is a place, which must lie inside `size`.
    values : array-like
        (n, *dense dims).
    size : sequence of int, optional
        By default the smallest that has all places.
    is_coalesced : bool, optional
        Promise that places are sorted and occur once.

    Examples
    --------
    >>> import facula as torch
    >>> s = torch.sparse_coo_tensor([[0, 1, 1], [2, 0, 2]], [3.0, 4.0, 5.0], (2, 3))
    >>> s.to_dense()
    tensor([[0., 0., 3.],
            [4., 0., 5.]])
    """
    if values is None:  # sparse_coo_tensor(size)
        sizes = tuple(size if size is not None else indices)
        places = zeros(len(sizes), 0, dtype=dt.int64, device=device)
        kept = empty(0, dtype=dtype, device=device)
        return made(places, kept, sizes, True).requires_grad_(requires_grad)
    kept = values if isinstance(values, Tensor) else as_tensor(values, dtype=dtype, device=device)
    kept = kept if dtype is None else cast(kept, dtype)
    kept = kept if device is None else kept.to(device)
    places = cast(as_tensor(indices).detach(), dt.int64).to(kept.device)
    if places.spec.ndim != 2:
        fail(
            RuntimeError,
            f"indices must be sparse_dim x nnz, but got: {list(places.spec.shape)}",
            mend="one column a place: torch.sparse_coo_tensor([[row, ...], [column, ...]], values, size)",
        )
    if places.spec.shape[1] != (kept.spec.shape[0] if kept.spec.ndim else 1):
        fail(
            RuntimeError,
            f"indices and values must have same nnz, but got nnz from indices: {places.spec.shape[1]}, nnz from "
            f"values: {kept.spec.shape[0] if kept.spec.ndim else 1}",
        )
    kept = kept if kept.spec.ndim else reshape(kept, (1,))
    count, host = places.spec.shape[0], numpy_view(places.cpu())
    if size is None:
        largest = [int(row.max()) + 1 if row.size else 0 for row in host]
        size = (*largest, *kept.spec.shape[1:])
    elif len(size) != count + kept.spec.ndim - 1:
        fail(
            RuntimeError,
            "'len(size) == sparse_dim + dense_dim' is not satisfied: "
            f"len(size) = {len(size)}, sparse_dim = {count}, dense_dim = {kept.spec.ndim - 1}",
        )
    for d, row in enumerate(host if host.size else ()):
        if row.min() < 0:
            fail(RuntimeError, f"found negative index {row.min()} for dim {d}")
        if row.max() >= size[d]:
            fail(
                RuntimeError,
                f"size is inconsistent with indices: for dim {d}, size is {size[d]} but found index {row.max()}",
            )
    if tuple(size[count:]) != tuple(kept.spec.shape[1:]):
        fail(
            RuntimeError,
            f"values has incorrect size, expected {[places.spec.shape[1], *size[count:]]}, got {list(kept.spec.shape)}",
        )
    found = made(places, kept.detach() if requires_grad else kept, tuple(size), bool(is_coalesced))
    return found.requires_grad_() if requires_grad else found


def to_sparse(
    input: Tensor, sparse_dim: int | None = None, *, layout=None, blocksize=None, dense_dim=None
) -> SparseTensor:
    """The elements that are not zero, with their places; the first `sparse_dim` dims (all) are indexed."""
    if layout is not None and layout is not sparse_coo:
        fail(NotImplementedError, f"to_sparse(): the layout {layout!r} is not implemented; torch.sparse_coo is")
    count = input.spec.ndim if sparse_dim is None else sparse_dim
    if not 0 <= count <= input.spec.ndim:
        fail(IndexError, f"sparse_dim must be in range [0, {input.spec.ndim}], got {count}")
    sizes = input.spec.shape
    rows = reshape(input, (math.prod(sizes[:count]), *sizes[count:]))
    some = e.ne(rows, 0)
    if some.spec.ndim > 1:
        some = reshape(some, (some.spec.shape[0], -1)).any(1)
    numbers = reshape(nonzero(some.detach()), (-1,))
    return made(_placed(numbers, sizes[:count]), index_select(rows, 0, numbers), sizes, True)


def sparse_dense_add(dense: Any, sparse: SparseTensor, alpha: Any = 1) -> Tensor:
    """`dense + alpha * sparse`, a dense tensor."""
    if not isinstance(dense, Tensor):
        fail(TypeError, f"add(): expected a tensor beside a sparse one, not {type(dense).__name__}")
    if isinstance(dense, SparseTensor):
        return dense.add(sparse, alpha=alpha)
    count = sparse.sparse_dim()
    if dense.spec.shape != sparse.sizes:
        return e.add(dense, sparse.to_dense(), alpha=alpha)
    rows = reshape(dense, (math.prod(sparse.sizes[:count]), *sparse.sizes[count:]))
    kept = cast(sparse.kept, dense.spec.dtype)
    return reshape(index_add(rows, 0, _numbered(sparse.places, sparse.sizes), kept, alpha=alpha), sparse.sizes)


def add_gradients(a: Tensor, b: Tensor) -> Tensor:
    """The sum of two gradients of one tensor; a sparse one stays sparse only beside a sparse one."""
    if a.is_sparse or b.is_sparse:
        return sparse_dense_add(b, a) if isinstance(a, SparseTensor) else sparse_dense_add(a, b)  # pyright: ignore
    return e.add(a, b)


def sparse_mm(mat1: Any, mat2: Any, reduce: str | None = None) -> Any:
    """The product of a sparse matrix with a dense one (dense) or a sparse one (sparse).

    Examples
    --------
    >>> import facula as torch
    >>> torch.sparse.mm(torch.eye(2).to_sparse() * 3, torch.ones(2, 2))
    tensor([[3., 3.],
            [3., 3.]])
    """
    if reduce is not None:
        fail(
            NotImplementedError,
            "torch.sparse.mm(reduce=...) is not implemented: it needs the CSR layout; facula's sparse tensors are COO",
            mend="without reduce it takes COO; a mean is that over the number of kept elements of each row",
        )
    if not isinstance(mat1, SparseTensor):
        if not isinstance(mat2, SparseTensor):
            return mat1 @ mat2
        return sparse_mm(mat2.t(), mat1.t()).t()
    if mat1.ndim != 2 or mat2.ndim != 2 or mat1.sizes[1] != mat2.shape[0]:
        fail(
            RuntimeError,
            f"mat1 and mat2 shapes cannot be multiplied ({'x'.join(map(str, mat1.sizes))} and "
            f"{'x'.join(map(str, mat2.shape))})",
        )
    if isinstance(mat2, SparseTensor):
        return to_sparse(sparse_mm(mat1, mat2.to_dense()))
    picked = index_select(mat2, 0, mat1.places[1])  # the row of mat2 that each kept value meets
    products = e.mul(reshape(mat1.kept, (-1, 1)), picked)
    into = zeros(mat1.sizes[0], mat2.shape[1], dtype=products.dtype, device=products.device)
    return index_add(into, 0, mat1.places[0], products)


def sparse_matmul(input: Any, other: Any) -> Any:
    """`input @ other` where one of them is sparse; a dense one may be a vector."""
    if isinstance(input, SparseTensor) and not isinstance(other, SparseTensor) and other.spec.ndim == 1:
        return sparse_mm(input, other.unsqueeze(1)).squeeze(1)
    if not isinstance(input, SparseTensor) and input.spec.ndim == 1:
        return sparse_mm(input.unsqueeze(0), other).squeeze(0)
    return sparse_mm(input, other)


def sparse_sum(input: SparseTensor, dim=None, dtype=None) -> Any:
    """The sum of all elements (a dense number), or over dims (sparse while a sparse dim is left)."""
    if dtype is not None:
        input = input.to(dtype)
    if dim is None:
        return dense_sum(input.kept)
    dims = {normalize_dim(d, input.ndim) for d in ((dim,) if isinstance(dim, int) else dim)}
    count = input.sparse_dim()
    inner = [d - count + 1 for d in dims if d >= count]
    kept = dense_sum(input.kept, inner) if inner else input.kept
    left = [d for d in range(count) if d not in dims]
    sizes = [n for d, n in enumerate(input.sizes) if d not in dims]
    if not left:
        return dense_sum(kept, 0)
    places = input.places if len(left) == count else index_select(input.places, 0, as_tensor(left, device=input.device))
    return made(places, kept, sizes, input.settled and len(left) == count).coalesce()


def _dense_to_sparse(self: Tensor, *args, **kwargs) -> SparseTensor:
    return to_sparse(self, *args, **kwargs)


def _masked(self: Tensor, mask: SparseTensor) -> SparseTensor:
    if not isinstance(mask, SparseTensor):
        fail(RuntimeError, f"sparse_mask: expected a sparse tensor as mask, but got layout {mask.layout!r}")
    return mask_of(self, mask)


def _dense(self: Tensor, dtype=None, *, masked_grad=None) -> Tensor:
    return self if dtype is None else cast(self, dtype)


def _needs_sparse(name: str) -> Callable:
    def method(self: Tensor) -> NoReturn:
        fail(
            RuntimeError,
            f"{name} expected sparse or sparse compressed tensor layout but got Strided",
            mend="x.to_sparse() first",
        )

    method.__name__ = name
    return method


for _name, _method in (("to_sparse", _dense_to_sparse), ("to_sparse_coo", _dense_to_sparse), ("sparse_mask", _masked),
                       ("to_dense", _dense)):  # fmt: skip
    setattr(Tensor, _name, _method)
for _name in "coalesce indices values _indices _values _nnz sparse_dim dense_dim is_coalesced".split():
    setattr(Tensor, _name, _needs_sparse(_name))
