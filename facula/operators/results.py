"""The named tuples that operators with several results return, as `torch.return_types`."""

from collections import namedtuple

__all__ = ["NAMED", "named"]

_PAIR = ("values", "indices")
_FIELDS = {
    "max": _PAIR, "min": _PAIR, "sort": _PAIR, "topk": _PAIR, "cummax": _PAIR, "cummin": _PAIR, "median": _PAIR,
    "nanmedian": _PAIR, "mode": _PAIR, "kthvalue": _PAIR, "aminmax": ("min", "max"), "qr": ("Q", "R"),
    "linalg_qr": ("Q", "R"), "slogdet": ("sign", "logabsdet"), "frexp": ("mantissa", "exponent"),
    "histogram": ("hist", "bin_edges"), "histogramdd": ("hist", "bin_edges"),
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
