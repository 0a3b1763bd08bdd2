"""`torch.linalg`: the decompositions, solvers and norms that there are so far."""

from facula.alias import getattr_for as _getattr_for
from facula.operators.linalg import LinAlgError, cholesky, det, inv, qr, solve, vector_norm

__all__ = ["LinAlgError", "cholesky", "det", "inv", "qr", "solve", "vector_norm"]

__getattr__ = _getattr_for(__name__)
