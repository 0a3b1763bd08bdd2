"""`torch.sparse`: functions on sparse tensors in the COO layout."""

from typing import Any

from facula.core.tensor import Tensor
from facula.errors import fail, refusal
from facula.operators import log_softmax as _log_softmax
from facula.operators import softmax as _softmax
from facula.operators.sparse import SparseTensor, sparse_coo_tensor
from facula.operators.sparse import sparse_mm as mm
from facula.operators.sparse import sparse_sum as sum

__all__ = [
    "SparseSemiStructuredTensor", "SparseSemiStructuredTensorCUSPARSELT", "SparseSemiStructuredTensorCUTLASS", "addmm",
    "as_sparse_gradcheck", "check_sparse_tensor_invariants", "log_softmax", "mm", "sampled_addmm", "softmax", "spdiags",
    "spsolve", "sum", "to_sparse_semi_structured",
]  # fmt: skip


def addmm(mat: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1.0, alpha: float = 1.0) -> Tensor:
    """`beta * mat + alpha * (mat1 @ mat2)` for a sparse `mat1`."""
    return mat * beta + mm(mat1, mat2) * alpha


def _rows_of(function: Any, input: SparseTensor, dim: int, dtype) -> SparseTensor:
    """A softmax over the elements that are kept; the others count as minus infinity."""
    own = input.coalesce() if dtype is None else input.to(dtype).coalesce()
    lowest = own._with(own.values() * 0 + 1).to_dense()
    dense = own.to_dense().masked_fill(lowest == 0, float("-inf"))
    return function(dense, dim).nan_to_num(0.0).sparse_mask(own)


def softmax(input: SparseTensor, dim: int, *, dtype=None) -> SparseTensor:
    """Softmax along `dim` over the kept elements."""
    return _rows_of(_softmax, input, dim, dtype)


def log_softmax(input: SparseTensor, dim: int, *, dtype=None) -> SparseTensor:
    """The logarithm of `softmax`."""
    return _rows_of(_log_softmax, input, dim, dtype)


def spdiags(diagonals: Tensor, offsets: Tensor, shape, layout=None) -> SparseTensor:
    """A sparse matrix with rows of `diagonals` on its diagonals `offsets`."""
    rows, columns = shape
    wanted = [int(k) for k in offsets.reshape(-1)]
    if len(set(wanted)) != len(wanted):
        fail(ValueError, "Offset tensor contains duplicate values")
    places, values = [], []
    for k, diagonal in zip(wanted, diagonals.reshape(len(wanted), -1)):
        for column in range(max(k, 0), min(columns, rows + k, diagonal.shape[0])):
            places.append((column - k, column))
            values.append(diagonal[column])
    made = sparse_coo_tensor(
        [[i for i, _ in places], [j for _, j in places]], [v.item() for v in values], shape, dtype=diagonals.dtype
    )
    return made


_CSR = "it needs the CSR layout; facula's sparse tensors are COO"
sampled_addmm, spsolve = refusal("torch.sparse.sampled_addmm", _CSR), refusal("torch.sparse.spsolve", _CSR)
to_sparse_semi_structured = refusal("torch.sparse.to_sparse_semi_structured", "it serves one library on GPUs")
as_sparse_gradcheck = refusal(
    "torch.sparse.as_sparse_gradcheck", "gradcheck takes dense tensors; check the function of the values"
)


class SparseSemiStructuredTensor:
    """Not implemented: it serves one library on GPUs."""

    def __init__(self, *args, **kwargs):
        to_sparse_semi_structured()


SparseSemiStructuredTensorCUSPARSELT = SparseSemiStructuredTensorCUTLASS = SparseSemiStructuredTensor


class check_sparse_tensor_invariants:
    """Accepted: facula checks the places of every sparse tensor that is made."""

    def __init__(self, enable: bool = True):
        self.enabled = enable

    @staticmethod
    def is_enabled() -> bool:
        return True

    @staticmethod
    def enable() -> None:
        """Nothing to do."""

    @staticmethod
    def disable() -> None:
        """Nothing happens: places are always checked."""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def __call__(self, function):
        return function
