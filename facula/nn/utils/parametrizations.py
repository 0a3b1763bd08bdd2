"""Well-known parametrizations: orthogonal matrices, weights of norm 1, length and direction."""

from enum import Enum, auto
from typing import Any

from facula import linalg
from facula import operators as ops
from facula.autograd import no_grad
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.operators import allclose, cat, eye, finfo, mv, randn, vdot, zeros_like

from .. import functional as F
from ..module import Module
from . import parametrize
from .spectral_norm import as_matrix, direction, output_dim
from .weight_norm import norm_except_dim, with_length

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


def _is_orthogonal(Q: Tensor) -> bool:
    n, k = Q.shape[-2:]
    identity = eye(k, dtype=Q.dtype, device=Q.device)
    return allclose(Q.mH @ Q, identity, atol=10.0 * n * finfo(Q.dtype).eps)


def _make_orthogonal(A: Tensor) -> Tensor:
    """The Q of A = Q R with a positive diagonal of R: one and the same Q for each A."""
    Q, R = linalg.qr(A)
    return Q * R.diagonal(dim1=-2, dim2=-1).sgn().unsqueeze(-2)


class _OrthMaps(Enum):
    """Maps onto orthogonal matrices."""

    matrix_exp = auto()
    cayley = auto()
    householder = auto()


class _Orthogonal(Module):
    """X to a matrix with orthonormal columns (rows, if it is wide), times `base`, which makes X = -1 the first weight.

    The maps: exp(A) and (1 - A / 2)^-1 (1 + A / 2), with A = X - X^H of the lower triangle of X; or the product of the
    Householder reflections whose vectors are the columns of X below the diagonal.
    """

    base: Tensor

    def __init__(self, weight: Tensor, orthogonal_map: _OrthMaps, *, use_trivialization: bool = True) -> None:
        super().__init__()
        if weight.is_complex() and orthogonal_map is _OrthMaps.householder:
            fail(ValueError, "The householder parametrization does not support complex tensors.")
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Tensor) -> Tensor:
        n, k = X.shape[-2:]
        wide = n < k
        if wide:
            X, n, k = X.mT, k, n
        if self.orthogonal_map is _OrthMaps.householder:
            A = X.tril(-1)
            tau = 2.0 / (1.0 + (A * A).sum(-2))
            Q = linalg.householder_product(A, tau)
            Q = Q * X.diagonal(dim1=-2, dim2=-1).int().unsqueeze(-2)
        else:
            X = X.tril()
            if n != k:
                X = cat([X, X.new_zeros(n, n - k).expand(*X.shape[:-2], -1, -1)], -1)
            A = X - X.mH
            if self.orthogonal_map is _OrthMaps.matrix_exp:
                Q = linalg.matrix_exp(A)
            else:
                identity = eye(n, dtype=A.dtype, device=A.device)
                Q = linalg.solve(identity - A / 2, identity + A / 2)
            Q = Q[..., :k]
        if hasattr(self, "base"):
            Q = self.base @ Q
        return Q.mT if wide else Q

    @no_grad()
    def right_inverse(self, Q: Tensor) -> Tensor:
        """The X for this matrix, which is made orthogonal first where it is not."""
        if Q.shape != self.shape:
            fail(
                ValueError,
                f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of shape {Q.shape}.",
            )
        given = Q
        wide = Q.shape[-2] < Q.shape[-1]
        if wide:
            Q = Q.mT
        n, k = Q.shape[-2:]
        if hasattr(self, "base"):
            if n != k:
                more = randn(*Q.shape[:-2], n, n - k, dtype=Q.dtype, device=Q.device)
                self.base = _make_orthogonal(cat([Q, more], -1))
            else:
                self.base = Q.clone() if _is_orthogonal(Q) else _make_orthogonal(Q)
            minus = zeros_like(given)
            minus.diagonal(dim1=-2, dim2=-1).fill_(-1.0)
            return minus
        if self.orthogonal_map is not _OrthMaps.householder:
            fail(
                NotImplementedError,
                "It is not possible to assign to the matrix exponential or the Cayley parametrizations when "
                "use_trivialization=False.",
            )
        A, tau = ops.geqrf(Q)
        diagonal = A.diagonal(dim1=-2, dim2=-1)
        diagonal.sign_()
        diagonal[tau == 0.0] *= -1
        return A.mT if wide else A


def _weight(module: Module, name: str) -> Tensor:
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        fail(ValueError, f"Module '{module}' has no parameter or buffer with name '{name}'")
    return weight


def orthogonal(
    module: Module, name: str = "weight", orthogonal_map: str | None = None, *, use_trivialization: bool = True
):
    """Keep a weight orthogonal.

    Parameters
    ----------
    module : Module
    name : str
        A parameter of at least two dims: a matrix, or a batch of them.
    orthogonal_map : {"matrix_exp", "cayley", "householder"}, optional
        "matrix_exp" for square and complex weights, "householder" for others unless given.
    use_trivialization : bool
        Multiply by a fixed orthogonal matrix, so that any weight can be assigned.
    """
    weight = _weight(module, name)
    if weight.ndim < 2:
        fail(ValueError, f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions.")
    if orthogonal_map is None:
        square = weight.shape[-2] == weight.shape[-1]
        orthogonal_map = "matrix_exp" if square or weight.is_complex() else "householder"
    if orthogonal_map not in _OrthMaps.__members__:
        fail(
            ValueError,
            f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}',
        )
    made = _Orthogonal(weight, _OrthMaps[orthogonal_map], use_trivialization=use_trivialization)
    return parametrize.register_parametrization(module, name, made, unsafe=True)


class _WeightNorm(Module):
    """g * v / |v|, the norms over all dims but `dim`."""

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return with_length(weight_v, weight_g, self.dim)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The lengths, and the weight itself as direction."""
        return norm_except_dim(weight, 2, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0):
    """A weight as length (`original0`) times direction (`original1`); dim None means one length for all of it."""
    parametrize.register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def older_states(state_dict, prefix, *rest) -> None:
        """Load states of `nn.utils.weight_norm`."""
        keys = [f"{prefix}{name}_g", f"{prefix}{name}_v"]
        if all(key in state_dict for key in keys):
            for i, key in enumerate(keys):
                state_dict[f"{prefix}parametrizations.{name}.original{i}"] = state_dict.pop(key)

    module._register_load_state_dict_pre_hook(older_states)
    return module


class _SpectralNorm(Module):
    """W / (u^T W v), with singular vectors u and v that each forward in training improves."""

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        super().__init__()
        ndim = weight.ndim
        if not -ndim <= dim < ndim:
            fail(
                IndexError,
                f"Dimension out of range (expected to be in range of [-{ndim}, {ndim - 1}] but got {dim})",
            )
        if n_power_iterations <= 0:
            fail(
                ValueError,
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}",
            )
        self.dim = dim % ndim
        self.eps = eps
        if ndim > 1:
            self.n_power_iterations = n_power_iterations
            matrix = as_matrix(weight, self.dim)
            height, width = matrix.shape
            self.register_buffer("_u", direction(matrix.detach(), height, eps))
            self.register_buffer("_v", direction(matrix.detach(), width, eps))
            self._power_method(matrix, 15)

    @no_grad()
    def _power_method(self, matrix: Tensor, n_power_iterations: int) -> None:
        for _ in range(n_power_iterations):
            self._u.copy_(F.normalize(mv(matrix, self._v), dim=0, eps=self.eps))
            self._v.copy_(F.normalize(mv(matrix.mH, self._u), dim=0, eps=self.eps))

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = as_matrix(weight, self.dim)
        if self.training:
            self._power_method(matrix, self.n_power_iterations)
        u, v = self._u.clone(), self._v.clone()  # the next forward changes the buffers
        return weight / vdot(u, mv(matrix, v))

    def right_inverse(self, value: Tensor) -> Tensor:
        """The value: what has no norm of 1 is taken as an original."""
        return value


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
):
    """Divide a weight by its largest singular value (Miyato et al., 2018).

    Parameters
    ----------
    n_power_iterations : int
        Steps of the power method at each forward in training.
    eps : float
        Added to norms.
    dim : int, optional
        The dim of outputs: 1 for transposed convolutions, else 0.
    """
    made: Any = _SpectralNorm(_weight(module, name), n_power_iterations, output_dim(module, dim), eps)
    return parametrize.register_parametrization(module, name, made)
