"""What operators with several results return, as `torch.return_types`, and the `out=` forms of functions."""

import functools
import inspect
from collections import namedtuple
from collections.abc import Callable

from facula.core.tensor import Tensor

from .declare import INTO, renamed

__all__ = ["NAMED", "named", "writes"]

_PAIR = ("values", "indices")
_FIELDS = {
    "max": _PAIR, "min": _PAIR, "sort": _PAIR, "topk": _PAIR, "cummax": _PAIR, "cummin": _PAIR, "median": _PAIR,
    "nanmedian": _PAIR, "mode": _PAIR, "kthvalue": _PAIR, "aminmax": ("min", "max"), "qr": ("Q", "R"),
    "linalg_qr": ("Q", "R"), "slogdet": ("sign", "logabsdet"), "frexp": ("mantissa", "exponent"),
    "histogram": ("hist", "bin_edges"), "histogramdd": ("hist", "bin_edges"),
    "linalg_slogdet": ("sign", "logabsdet"), "linalg_svd": ("U", "S", "Vh"), "svd": ("U", "S", "V"),
    "linalg_eigh": ("eigenvalues", "eigenvectors"), "linalg_eig": ("eigenvalues", "eigenvectors"),
    "linalg_inv_ex": ("inverse", "info"), "linalg_solve_ex": ("result", "info"), "linalg_cholesky_ex": ("L", "info"),
    "linalg_lu": ("P", "L", "U"), "lu_unpack": ("P", "L", "U"), "linalg_lu_factor": ("LU", "pivots"),
    "linalg_lu_factor_ex": ("LU", "pivots", "info"), "linalg_ldl_factor": ("LD", "pivots"),
    "linalg_ldl_factor_ex": ("LD", "pivots", "info"), "geqrf": ("a", "tau"),
    "linalg_lstsq": ("solution", "residuals", "rank", "singular_values"),
    "triangular_solve": ("solution", "cloned_coefficient"),
}  # fmt: skip


def _make(name: str, fields: tuple[str, ...]):
    base = namedtuple(name, fields)

    def show(self):
        inner = ",\n".join(f"{f}={v!r}" for f, v in zip(fields, self))
        return f"torch.return_types.{name}(\n{inner})"

    return type(name, (base,), {"__slots__": (), "__repr__": show, "__module__": "torch.return_types"})


NAMED = {name: _make(name, fields) for name, fields in _FIELDS.items()}


def named(name: str, *values):
    """The result type of operator `name` with these values."""
    return NAMED[name](*values)


def writes(body: Callable) -> Callable:
    """`body` with `out=`: a tensor, or as many as it has results, that the results are written into."""

    plain = inspect.signature(body)
    names = frozenset(plain.parameters)

    @functools.wraps(body)
    def entry(*args, out=None, **kwargs):
        if kwargs and not kwargs.keys() <= names:
            kwargs = renamed(body.__name__, names, kwargs) or kwargs
        made = body(*args, **kwargs)
        if out is None:
            return made
        inputs = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
        if isinstance(made, Tensor):
            return INTO[0](body.__name__, out, made, inputs)
        written = [INTO[0](body.__name__, o, m, inputs) for o, m in zip(out, made, strict=True)]
        return type(made)(*written) if hasattr(made, "_fields") else tuple(written)

    last = inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None)
    entry.__signature__ = plain.replace(parameters=[*plain.parameters.values(), last])  # type: ignore[attr-defined]
    return entry
