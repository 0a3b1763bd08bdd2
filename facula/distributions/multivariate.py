"""Distributions of vectors and matrices."""

import math
import warnings
from typing import Any

from facula.core.shape import Size
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.operators import (
    arange,
    broadcast_shapes,
    broadcast_tensors,
    cat,
    cholesky_inverse,
    cholesky_solve,
    clamp,
    diag_embed,
    digamma,
    einsum,
    eye,
    finfo,
    flip,
    lgamma,
    matmul,
    mvlgamma,
    randn,
    sqrt,
    tensor,
    tril_indices,
    where,
    xlogy,
)  # fmt: skip
from facula.operators.sampling import sample_dirichlet

from . import constraints
from .distribution import Distribution, ExponentialFamily, checked
from .utils import NUMBER, broadcast_all, lazy_property, standard_normal

__all__ = ["Dirichlet", "LKJCholesky", "LowRankMultivariateNormal", "MultivariateNormal", "Wishart"]


class Dirichlet(ExponentialFamily):
    """Points of the simplex; density proportional to the product of x ** (concentration - 1)."""

    arg_constraints = {"concentration": constraints.independent(constraints.positive, 1)}
    support = constraints.simplex
    has_rsample = True

    def __init__(self, concentration: Tensor, validate_args: bool | None = None) -> None:
        if concentration.dim() < 1:
            fail(ValueError, "`concentration` parameter must be at least one-dimensional.")
        self.concentration = concentration
        super().__init__(concentration.shape[:-1], concentration.shape[-1:], validate_args=validate_args)

    def rsample(self, sample_shape=()):
        return sample_dirichlet(self.concentration.expand(self._extended_shape(sample_shape)))

    @checked
    def log_prob(self, value):
        a = self.concentration
        return xlogy(a - 1.0, value).sum(-1) + lgamma(a.sum(-1)) - lgamma(a).sum(-1)

    mean = property(lambda self: self.concentration / self.concentration.sum(-1, keepdim=True))

    @property
    def mode(self):
        from facula.nn.functional import one_hot

        above = (self.concentration - 1).clamp(min=0.0)
        mode = above / above.sum(-1, keepdim=True)
        corner = one_hot(mode.argmax(-1), above.shape[-1]).to(mode.dtype)
        return where((self.concentration < 1).all(-1, keepdim=True), corner, mode)

    @property
    def variance(self):
        total = self.concentration.sum(-1, keepdim=True)
        return self.concentration * (total - self.concentration) / (total.pow(2) * (total + 1))

    def entropy(self):
        a = self.concentration
        total, parts = a.sum(-1), a.size(-1)
        spread = ((a - 1.0) * digamma(a)).sum(-1)
        return lgamma(a).sum(-1) - lgamma(total) - (parts - total) * digamma(total) - spread

    @property
    def _natural_params(self):
        return (self.concentration,)

    def _log_normalizer(self, x):
        return x.lgamma().sum(-1) - lgamma(x.sum(-1))


# --- covariances in three forms ----------------------------------------------------------------------------------


def cholesky(x: Tensor) -> Tensor:
    from facula import linalg

    return linalg.cholesky(x)


def solve_lower(a: Tensor, b: Tensor) -> Tensor:
    """The solution of a x = b for a lower triangular `a`."""
    from facula.linalg import solve_triangular

    return solve_triangular(a, b, upper=False)


def diagonal(x: Tensor) -> Tensor:
    return x.diagonal(dim1=-2, dim2=-1)


def half_log_det(scale_tril: Tensor) -> Tensor:
    """Half the logarithm of a covariance's determinant, of its Cholesky factor."""
    return diagonal(scale_tril).log().sum(-1)


def times_vector(matrix: Tensor, vector: Tensor) -> Tensor:
    return matmul(matrix, vector.unsqueeze(-1)).squeeze(-1)


def mahalanobis(scale_tril: Tensor, x: Tensor) -> Tensor:
    """The square of |inverse(scale_tril) x|; both are batches whose shapes broadcast."""
    if scale_tril.dim() == 2:  # one factor for all: their vectors are the columns of one matrix
        columns = x.reshape(-1, x.shape[-1]).mT
        return solve_lower(scale_tril, columns).pow(2).sum(-2).reshape(x.shape[:-1])
    return solve_lower(scale_tril, x.unsqueeze(-1)).squeeze(-1).pow(2).sum(-1)


def precision_to_scale_tril(precision: Tensor) -> Tensor:
    """The Cholesky factor of the inverse."""
    turned = flip(cholesky(flip(precision, (-2, -1))), (-2, -1)).mT
    return solve_lower(turned, eye(precision.shape[-1], dtype=precision.dtype, device=precision.device))


FORMS = ("covariance_matrix", "precision_matrix", "scale_tril")


class _Covariance(Distribution):
    """A distribution with one of the three forms of a covariance; the others are computed when asked for."""

    _fixed = ("_unbroadcasted_scale_tril",)

    def _given_form(self, forms: tuple[Tensor | None, ...], kind: type[BaseException]) -> tuple[str, Tensor]:
        given = [(name, value) for name, value in zip(FORMS, forms) if value is not None]
        if len(given) != 1:
            fail(kind, "Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified.")
        return given[0]

    def _factorize(self, name: str, matrix: Tensor) -> None:
        how = {"covariance_matrix": cholesky, "precision_matrix": precision_to_scale_tril, "scale_tril": lambda x: x}
        self._unbroadcasted_scale_tril = how[name](matrix)

    def _full(self, matrix: Tensor) -> Tensor:
        n = matrix.shape[-1]
        return matrix.expand(self._batch_shape + (n, n))

    @lazy_property
    def scale_tril(self):
        return self._full(self._unbroadcasted_scale_tril)

    @lazy_property
    def covariance_matrix(self):
        return self._full(self._unbroadcasted_scale_tril @ self._unbroadcasted_scale_tril.mT)

    @lazy_property
    def precision_matrix(self):
        return self._full(cholesky_inverse(self._unbroadcasted_scale_tril))


class MultivariateNormal(_Covariance):
    """Normal vectors.

    Parameters
    ----------
    loc : Tensor
        The mean, (..., n).
    covariance_matrix, precision_matrix, scale_tril : Tensor
        One of the three, (..., n, n): the covariance, its inverse, its Cholesky factor.
    """

    arg_constraints = {
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self, loc: Tensor, covariance_matrix: Tensor | None = None, precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None, validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        if loc.dim() < 1:
            fail(ValueError, "loc must be at least one-dimensional.")
        name, matrix = self._given_form((covariance_matrix, precision_matrix, scale_tril), ValueError)
        if matrix.dim() < 2:
            title = name if name != "scale_tril" else "scale_tril matrix"
            fail(ValueError, f"{title} must be at least two-dimensional, with optional leading batch dimensions")
        batch_shape = Size(broadcast_shapes(matrix.shape[:-2], loc.shape[:-1]))
        setattr(self, name, matrix.expand(batch_shape + (-1, -1)))
        self.loc = loc.expand(batch_shape + (-1,))
        super().__init__(batch_shape, self.loc.shape[-1:], validate_args=validate_args)
        self._factorize(name, matrix)

    mean = mode = property(lambda self: self.loc)

    @property
    def variance(self):
        return self._unbroadcasted_scale_tril.pow(2).sum(-1).expand(self._batch_shape + self._event_shape)

    def rsample(self, sample_shape=()):
        eps = standard_normal(self._extended_shape(sample_shape), self.loc)
        return self.loc + times_vector(self._unbroadcasted_scale_tril, eps)

    @checked
    def log_prob(self, value):
        lower = self._unbroadcasted_scale_tril
        distance = mahalanobis(lower, value - self.loc)
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + distance) - half_log_det(lower)

    def entropy(self):
        constant = 0.5 * self._event_shape[0] * (1.0 + math.log(2 * math.pi))
        return (constant + half_log_det(self._unbroadcasted_scale_tril)).expand(self._batch_shape)


# --- a low-rank covariance: W W' + diag(D), W (n, m) --------------------------------------------------------------


def _plus_identity(x: Tensor) -> Tensor:
    return x + eye(x.shape[-1], dtype=x.dtype, device=x.device)


def capacitance_tril(w: Tensor, d: Tensor) -> Tensor:
    """The Cholesky factor of I + W' inverse(D) W."""
    return cholesky(_plus_identity((w.mT / d.unsqueeze(-2)) @ w))


def lowrank_log_det(w: Tensor, d: Tensor, capacitance: Tensor) -> Tensor:
    """log |W W' + D|, by the matrix determinant lemma."""
    return 2 * half_log_det(capacitance) + d.log().sum(-1)


def lowrank_mahalanobis(w: Tensor, d: Tensor, x: Tensor, capacitance: Tensor) -> Tensor:
    """x' inverse(W W' + D) x, by the Woodbury identity."""
    return (x.pow(2) / d).sum(-1) - mahalanobis(capacitance, times_vector(w.mT / d.unsqueeze(-2), x))


class LowRankMultivariateNormal(Distribution):
    """Normal vectors with the covariance W W' + D.

    Parameters
    ----------
    loc : Tensor
        The mean, (..., n).
    cov_factor : Tensor
        W, (..., n, m).
    cov_diag : Tensor
        The diagonal of D, (..., n).
    """

    arg_constraints = {
        "loc": constraints.real_vector,
        "cov_factor": constraints.independent(constraints.real, 2),
        "cov_diag": constraints.independent(constraints.positive, 1),
    }
    support = constraints.real_vector
    has_rsample = True
    _fixed = ("_unbroadcasted_cov_factor", "_unbroadcasted_cov_diag", "_capacitance_tril")

    def __init__(self, loc: Tensor, cov_factor: Tensor, cov_diag: Tensor, validate_args: bool | None = None) -> None:
        if loc.dim() < 1:
            fail(ValueError, "loc must be at least one-dimensional.")
        event_shape = loc.shape[-1:]
        if cov_factor.dim() < 2:
            fail(ValueError, "cov_factor must be at least two-dimensional, with optional leading batch dimensions")
        if cov_factor.shape[-2:-1] != event_shape:
            fail(ValueError, f"cov_factor must be a batch of matrices with shape {event_shape[0]} x m")
        if cov_diag.shape[-1:] != event_shape:
            fail(ValueError, f"cov_diag must be a batch of vectors with shape {event_shape}")
        try:
            columns = broadcast_tensors(loc.unsqueeze(-1), cov_factor, cov_diag.unsqueeze(-1))
        except RuntimeError as error:
            raise ValueError(
                f"Incompatible batch shapes: loc {loc.shape}, cov_factor {cov_factor.shape}, cov_diag {cov_diag.shape}"
            ) from error
        self.cov_factor = columns[1]
        self.loc, self.cov_diag = columns[0][..., 0], columns[2][..., 0]
        self._unbroadcasted_cov_factor = cov_factor
        self._unbroadcasted_cov_diag = cov_diag
        self._capacitance_tril = capacitance_tril(cov_factor, cov_diag)
        super().__init__(self.loc.shape[:-1], event_shape, validate_args=validate_args)

    mean = mode = property(lambda self: self.loc)

    @property
    def _parts(self) -> tuple[Tensor, Tensor]:
        return self._unbroadcasted_cov_factor, self._unbroadcasted_cov_diag

    def _full(self, matrix: Tensor) -> Tensor:
        return matrix.expand(self._batch_shape + self._event_shape + self._event_shape)

    @lazy_property
    def variance(self):
        w, d = self._parts
        return (w.pow(2).sum(-1) + d).expand(self._batch_shape + self._event_shape)

    @lazy_property
    def scale_tril(self):
        w, d = self._parts
        root = d.sqrt().unsqueeze(-1)
        scaled = w / root
        return self._full(root * cholesky(_plus_identity(scaled @ scaled.mT)))

    @lazy_property
    def covariance_matrix(self):
        w, d = self._parts
        return self._full(w @ w.mT + diag_embed(d))

    @lazy_property
    def precision_matrix(self):
        w, d = self._parts
        a = solve_lower(self._capacitance_tril, w.mT / d.unsqueeze(-2))
        return self._full(diag_embed(d.reciprocal()) - a.mT @ a)

    def rsample(self, sample_shape=()):
        w, d = self._parts
        shape = self._extended_shape(sample_shape)
        eps_w = standard_normal(shape[:-1] + w.shape[-1:], self.loc)
        eps_d = standard_normal(shape, self.loc)
        return self.loc + times_vector(w, eps_w) + d.sqrt() * eps_d

    @checked
    def log_prob(self, value):
        distance = lowrank_mahalanobis(*self._parts, value - self.loc, self._capacitance_tril)
        log_det = lowrank_log_det(*self._parts, self._capacitance_tril)
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + log_det + distance)

    def entropy(self):
        log_det = lowrank_log_det(*self._parts, self._capacitance_tril)
        return (0.5 * (self._event_shape[0] * (1.0 + math.log(2 * math.pi)) + log_det)).expand(self._batch_shape)


# --- matrices ----------------------------------------------------------------------------------------------------


def _steps(x: Tensor, p: int) -> Tensor:
    """x, x - 1/2, ..., x - (p - 1)/2 along a new last dim."""
    return x.unsqueeze(-1) - arange(p, dtype=x.dtype, device=x.device) / 2


class Wishart(_Covariance, ExponentialFamily):
    """Sums of `df` outer products of normal vectors with themselves.

    Parameters
    ----------
    df : float or Tensor
        Degrees of freedom, above n - 1.
    covariance_matrix, precision_matrix, scale_tril : Tensor
        One of the three, (..., n, n).
    """

    support = constraints.positive_definite
    has_rsample = True
    _mean_carrier_measure = 0
    _fixed = ()

    @property
    def arg_constraints(self):
        return {
            "covariance_matrix": constraints.positive_definite,
            "precision_matrix": constraints.positive_definite,
            "scale_tril": constraints.lower_cholesky,
            "df": constraints.greater_than(self.event_shape[-1] - 1),
        }

    def __init__(
        self, df: Tensor | float, covariance_matrix: Tensor | None = None, precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None, validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        from .univariate import Chi2

        name, matrix = self._given_form((covariance_matrix, precision_matrix, scale_tril), AssertionError)
        if matrix.dim() < 2:
            fail(ValueError, "scale_tril must be at least two-dimensional, with optional leading batch dimensions")
        if isinstance(df, NUMBER):
            batch_shape = matrix.shape[:-2]
            self.df = tensor(df, dtype=matrix.dtype, device=matrix.device)
        else:
            batch_shape = Size(broadcast_shapes(matrix.shape[:-2], df.shape))
            self.df = df.expand(batch_shape)
        event_shape = matrix.shape[-2:]
        n = event_shape[-1]
        if self.df.le(n - 1).any():
            fail(ValueError, f"Value of df={df} expected to be greater than ndim - 1 = {n - 1}.")
        setattr(self, name, matrix.expand(batch_shape + (-1, -1)))
        if self.df.lt(n).any():
            warnings.warn(
                "Low df values detected. Singular samples are highly likely to occur for ndim - 1 < df < ndim.",
                stacklevel=2,
            )
        super().__init__(batch_shape, event_shape, validate_args=validate_args)
        self._factorize(name, matrix)
        counts = self.df.unsqueeze(-1) - arange(n, dtype=matrix.dtype, device=matrix.device)
        self._dist_chi2 = Chi2(df=counts.expand(batch_shape + (n,)))

    @property
    def _n(self) -> int:
        return self._event_shape[-1]

    @property
    def mean(self):
        return self.df[..., None, None] * self.covariance_matrix

    @property
    def mode(self):
        factor = self.df - self._n - 1
        return where(factor <= 0, math.nan, factor)[..., None, None] * self.covariance_matrix

    @property
    def variance(self):
        v = self.covariance_matrix
        spread = diagonal(v)
        return self.df[..., None, None] * (v.pow(2) + einsum("...i,...j->...ij", spread, spread))

    def _draw(self, sample_shape: Any) -> Tensor:
        """Bartlett's decomposition: chi numbers on the diagonal, normal ones below."""
        n = self._n
        noise = self._dist_chi2.rsample(sample_shape).sqrt()
        noise = noise.clamp(min=finfo(noise.dtype).eps).diag_embed(dim1=-2, dim2=-1)
        i, j = tril_indices(n, n, offset=-1)
        shape = Size(sample_shape) + self._batch_shape + (n * (n - 1) // 2,)
        noise[..., i, j] = randn(shape, dtype=noise.dtype, device=noise.device)
        lower = self._unbroadcasted_scale_tril @ noise
        return lower @ lower.mT

    def rsample(self, sample_shape=(), max_try_correction: int | None = None):
        """Samples; singular ones, which round-off may give, are drawn again up to `max_try_correction` times."""
        tries = 10 if max_try_correction is None else max_try_correction
        sample_shape = Size(sample_shape)
        batch = tuple(-1 - i for i in range(len(self._batch_shape)))

        def some(flags: Tensor) -> Tensor:
            return flags.any(batch) if batch else flags

        sample = self._draw(sample_shape)
        singular = some(~self.support.check(sample))
        if singular.any():
            warnings.warn("Singular sample detected.", stacklevel=2)
            for _ in range(tries):
                drawn = self._draw(Size((int(singular.sum()),)))
                sample[singular] = drawn
                singular = singular.masked_scatter(singular, some(~self.support.check(drawn)))
                if not singular.any():
                    break
        return sample

    def _half_log_det(self) -> Tensor:
        return self._n * math.log(2) / 2 + half_log_det(self._unbroadcasted_scale_tril)

    @checked
    def log_prob(self, value):
        from facula.linalg import slogdet

        nu, n = self.df, self._n
        trace = diagonal(cholesky_solve(value, self._unbroadcasted_scale_tril)).sum(-1)
        normalizer = nu * self._half_log_det() + mvlgamma(nu / 2, n)
        return -normalizer + (nu - n - 1) / 2 * slogdet(value).logabsdet - trace / 2

    def entropy(self):
        nu, n = self.df, self._n
        digammas = digamma(_steps(nu / 2, n)).sum(-1)
        return (n + 1) * self._half_log_det() + mvlgamma(nu / 2, n) - (nu - n - 1) / 2 * digammas + nu * n / 2

    @property
    def _natural_params(self):
        return -self.precision_matrix / 2, (self.df - self._n - 1) / 2

    def _log_normalizer(self, x, y):
        from facula.linalg import slogdet

        half = y + (self._n + 1) / 2
        return half * (-slogdet(-2 * x).logabsdet + math.log(2) * self._n) + mvlgamma(half, self._n)


class LKJCholesky(Distribution):
    """Cholesky factors of `dim` x `dim` correlation matrices C; density proportional to |C| ** (concentration - 1)."""

    arg_constraints = {"concentration": constraints.positive}
    support = constraints.corr_cholesky

    def __init__(self, dim: int, concentration: Tensor | float = 1.0, validate_args: bool | None = None) -> None:
        from .univariate import Beta

        if dim < 2:
            fail(ValueError, f"Expected dim to be an integer greater than or equal to 2. Found dim={dim}.")
        self.dim = dim
        (self.concentration,) = broadcast_all(concentration)
        a = self.concentration
        offset = arange(dim - 1, dtype=a.dtype, device=a.device)
        offset = cat([offset.new_zeros((1,)), offset])
        self._beta = Beta(offset + 0.5, (a + 0.5 * (dim - 2)).unsqueeze(-1) - 0.5 * offset)
        super().__init__(a.size(), Size((dim, dim)), validate_args)

    def sample(self, sample_shape=()):
        """The onion method: each row is a point on a sphere, at a distance that a beta number gives."""
        y = self._beta.sample(sample_shape).unsqueeze(-1).detach()
        directions = randn(self._extended_shape(sample_shape), dtype=y.dtype, device=y.device).tril(-1)
        directions = directions / directions.norm(dim=-1, keepdim=True)
        directions[..., 0, :].fill_(0.0)
        w = sqrt(y) * directions
        return w + diag_embed(clamp(1 - w.pow(2).sum(-1), min=finfo(w.dtype).tiny).sqrt())

    @checked
    def log_prob(self, value):
        a, below = self.concentration, self.dim - 1
        order = 2 * (a - 1).unsqueeze(-1) + self.dim - arange(2, self.dim + 1, device=a.device)
        log_density = (order * diagonal(value)[..., 1:].log()).sum(-1)
        top = a + 0.5 * below
        constant = 0.5 * below * math.log(math.pi) + mvlgamma(top - 0.5, below) - lgamma(top) * below
        return log_density - constant
