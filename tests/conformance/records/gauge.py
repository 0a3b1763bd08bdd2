"""What two correct factorisations of one matrix have in common, where signs, phases or bases are free."""

from collections.abc import Callable

import numpy as np

__all__ = ["FREE", "LOOSE", "MORE", "NAN", "WRONG_TANGENTS"]


def _turned(x: np.ndarray) -> np.ndarray:
    return np.conj(np.swapaxes(x, -1, -2))


def _svd(U, S, Vh):
    k = S.shape[-1]
    return S, (U[..., :k] * S[..., None, :]) @ Vh[..., :k, :], _turned(U) @ U, Vh @ _turned(Vh)


def _svd_turned(U, S, V):
    return _svd(U, S, _turned(V))


def _eigh(values, vectors):
    return values, (vectors * values[..., None, :]) @ _turned(vectors), _turned(vectors) @ vectors


def _eig(values, vectors):
    return values, (vectors * values[..., None, :]) @ np.linalg.pinv(vectors), np.linalg.norm(vectors, axis=-2)


def _cholesky_ex(L, info):
    """The factor is not defined where a matrix has none."""
    return np.where(info[..., None, None] == 0, L, 0), info


# Entry -> function of the arrays of a result to arrays that must agree.
FREE: dict[str, Callable] = {
    "linalg.svd": _svd,
    "svd": _svd_turned,
    "svd_lowrank": _svd_turned,
    "pca_lowrank": _svd_turned,
    "linalg.eigh": _eigh,
    "linalg.eig": _eig,
    "linalg.cholesky_ex": _cholesky_ex,
}

# Entry -> dtypes where PyTorch gives NaN though there is a number: its NaNs are not compared. See docs/differences.md.
NAN: dict[str, tuple[str, ...]] = {
    "matrix_exp": ("float16", "bfloat16"),
    "masked.logaddexp gradient": ("float64",),
    "linalg.norm gradient": ("float64", "complex128"),
}

# Entry -> how many times wider than usual its values may lie apart: nearly equal singular values magnify rounding.
# So do weights of attention whose scores are thousands, and float32 weights of a covariance that nearly cancel.
# PyTorch's Bessel functions leave out the first coefficient (1) of Cephes' denominators: wrong by 4e-7.
LOOSE: dict[str, float] = {
    "pca_lowrank": 100.0, "svd_lowrank": 100.0, "special.bessel_j0": 50.0, "special.bessel_j1": 50.0,
    "special.bessel_y0": 50.0, "special.bessel_y1": 50.0, "special.airy_ai": 200.0,
    "nn.functional.multi_head_attention_forward": 3.0, "cov": 20.0,
}  # fmt: skip

# Entries in which PyTorch forgets a gradient: istft's by a window that is not contiguous; that of the gradient which
# the chunked cross-entropy computes during forward, and takes for a constant.
MORE = {"istft", "nn.functional.linear_cross_entropy.chunked"}

# Entry -> why PyTorch's forward mode is not compared, seen by finite differences: facula's tangents are their slopes.
WRONG_TANGENTS = {
    "cholesky_inverse": "off by some percent, also where the tangent of the factor is triangular",
    "triangular_solve": "off by as much as the result for all of upper, transpose and unitriangular",
}
