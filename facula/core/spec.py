"""The interned description of a tensor: dtype, device, shape, strides; compared by identity on the hot path."""

from math import prod

from .device import CPU, device
from .dtype import dtype
from .shape import Size, contiguous_strides, is_contiguous

__all__ = ["Spec", "dense", "spec"]


class Spec:
    """What a tensor is, apart from its values; equal specs are one object, so `a.spec is b.spec` compares all of it.

    `kind` is None for plain tensors. Tensors that operators must treat specially (subclasses with
    `__torch_function__`, batched, dual, captured) have another kind, hence another spec, hence no entry among an
    operator's plans: the hot path needs no test for them.
    """

    __slots__ = ("contiguous", "device", "dtype", "kind", "nbytes", "ndim", "numel", "shape", "strides")

    dtype: dtype
    device: device
    shape: Size
    strides: tuple[int, ...]
    kind: object
    numel: int
    nbytes: int  # of a dense tensor of this shape
    ndim: int
    contiguous: bool

    def __repr__(self) -> str:
        return f"Spec({self.dtype.code}{list(self.shape)}, strides={self.strides}, {self.device})"


_KNOWN: dict[tuple, Spec] = {}
_DENSE: dict[tuple, Spec] = {}  # the row-major ones, by dtype, shape and device
_BOUND = 1 << 16  # programs with ever-changing shapes: forget and start again; identity is only ever a shortcut


def spec(dtype: dtype, device: device, shape, strides, kind: object = None) -> Spec:
    """The spec with these fields."""
    key = (dtype, device, shape, strides, kind)
    found = _KNOWN.get(key)
    if found is None:
        if len(_KNOWN) >= _BOUND:
            _KNOWN.clear()
            _DENSE.clear()
        found = Spec()
        found.dtype, found.device, found.strides, found.kind = dtype, device, tuple(strides), kind
        found.shape = shape if type(shape) is Size else Size(shape)
        found.numel = prod(shape)
        found.nbytes = found.numel * dtype.itemsize
        found.ndim = len(found.shape)
        found.contiguous = is_contiguous(found.shape, found.strides)
        _KNOWN[dtype, device, found.shape, found.strides, kind] = found
    return found


def dense(dtype: dtype, shape, device: device = CPU) -> Spec:
    """The spec of a new row-major tensor."""
    shape = shape if type(shape) is Size else Size(shape)
    found = _DENSE.get((dtype, shape, device))
    if found is None:
        if len(_DENSE) >= _BOUND:
            _DENSE.clear()
        found = _DENSE[dtype, shape, device] = spec(dtype, device, shape, contiguous_strides(shape))
    return found
