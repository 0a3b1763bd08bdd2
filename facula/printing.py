"""What `repr` of a tensor says, character for character as PyTorch; importing this file makes tensors print so."""

import ctypes
import math
import sys
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from facula.core import dtype as dtypes
from facula.core.tensor import Tensor
from facula.operators.methods import SHOW
from facula.operators.promotion import DEFAULT

__all__ = ["format_tensor", "get_printoptions", "host_values", "printoptions", "set_printoptions", "tensor_repr"]


@dataclass
class PrinterOptions:
    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


OPTIONS = PrinterOptions()
PROFILES: dict[str | None, dict] = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": math.inf, "edgeitems": 3, "linewidth": 80},
}


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors are printed; what is None stays, except `sci_mode`, whose None means automatic.

    Parameters
    ----------
    precision : int
        Digits after the point (4).
    threshold : float
        Tensors with more elements are summarised (1000).
    edgeitems : int
        Elements shown at each end of a summarised dimension (3).
    linewidth : int
        Characters a line (80).
    profile : str
        "default", "short" or "full"; the other arguments win over it.
    sci_mode : bool
        Force scientific notation on or off; None decides by the values.

    Examples
    --------
    >>> import numpy as np
    >>> from facula.core.dtype import float32
    >>> with printoptions(precision=2):
    ...     print(format_tensor(np.array([1.12345], "f4"), float32))
    tensor([1.12])
    """
    for name, value in PROFILES.get(profile, {}).items():  # an unknown profile changes nothing, as in PyTorch
        setattr(OPTIONS, name, value)
    for name, value in (
        ("precision", precision),
        ("threshold", threshold),
        ("edgeitems", edgeitems),
        ("linewidth", linewidth),
    ):
        if value is not None:
            setattr(OPTIONS, name, value)
    OPTIONS.sci_mode = sci_mode


def get_printoptions() -> dict:
    """The options in force, as keyword arguments for `set_printoptions`.

    >>> get_printoptions()["precision"]
    4
    """
    return asdict(OPTIONS)


@contextmanager
def printoptions(**options):
    """Set print options within a `with` block.

    >>> with printoptions(linewidth=40):
    ...     get_printoptions()["linewidth"]
    40
    """
    before = get_printoptions()
    set_printoptions(**options)
    try:
        yield
    finally:
        set_printoptions(**before)


class Formatter:
    """The common width and notation of all numbers that are shown; one for real, one for imaginary parts."""

    def __init__(self, values: np.ndarray, floating: bool):
        self.floating = floating
        self.int_mode = True  # a float tensor of whole numbers shows `1.`
        self.sci_mode = False
        self.width = 1
        flat = values.reshape(-1)
        if not floating:
            self.width = max((len(str(value)) for value in flat.tolist()), default=1)
            return
        shown = flat[np.isfinite(flat) & (flat != 0)]
        if not shown.size:
            return
        magnitude = np.abs(shown.astype(np.float64))
        low, high = magnitude.min(), magnitude.max()
        self.int_mode = bool((shown == np.ceil(shown)).all())
        with np.errstate(over="ignore"):
            wide = high / low > 1000.0
        self.sci_mode = bool(wide or high > 1.0e8 or low < 1.0e-4) if OPTIONS.sci_mode is None else OPTIONS.sci_mode
        if self.sci_mode:
            text, extra = f"{{:.{OPTIONS.precision}e}}", 0
        elif self.int_mode:
            text, extra = "{:.0f}", 1  # the point
        else:
            text, extra = f"{{:.{OPTIONS.precision}f}}", 0
        self.width = max(1, *(len(text.format(value)) + extra for value in shown.tolist()))

    def __call__(self, value) -> str:
        if not self.floating:
            text = str(value)
        elif self.sci_mode:
            text = f"{value:{self.width}.{OPTIONS.precision}e}"
        elif self.int_mode:
            text = f"{value:.0f}" + ("." if math.isfinite(value) else "")
        else:
            text = f"{value:.{OPTIONS.precision}f}"
        return text.rjust(self.width)


class ComplexFormatter:
    """A real and an imaginary column joined by the sign."""

    def __init__(self, values: np.ndarray):
        self.real, self.imag = Formatter(np.real(values), True), Formatter(np.imag(values), True)
        self.width = self.real.width + self.imag.width + 1  # the j

    def __call__(self, value) -> str:
        imag = (self.imag(value.imag) + "j").lstrip()
        return self.real(value.real) + ("" if imag[0] in "+-" else "+") + imag


def _summary(values: np.ndarray) -> np.ndarray:
    """The elements that a summarised tensor shows; they alone decide width and notation."""
    edge = OPTIONS.edgeitems
    if not edge and values.ndim > 1:
        return np.empty((0,) * values.ndim, values.dtype)
    for dim, size in enumerate(values.shape):
        if size > 2 * edge:
            first, last = (
                np.split(values, (edge,), dim)[0],
                np.take(values, range(-edge, 0) if edge else range(size), dim),
            )
            values = np.concatenate((first, last), dim)
    return values


def _rows(values: np.ndarray, indent: int, summarize: bool, formatter) -> str:
    """The nested brackets."""
    edge = OPTIONS.edgeitems
    if values.ndim == 0:
        return formatter(values.item())
    cut = summarize and len(values) > 2 * edge
    if values.ndim > 1:
        chosen = [*range(edge), *range(len(values) - edge, len(values))] if cut else range(len(values))
        parts = [_rows(values[i], indent + 1, summarize, formatter) for i in chosen]
        if cut:
            parts.insert(edge, "...")
        return "[" + ("," + "\n" * (values.ndim - 1) + " " * (indent + 1)).join(parts) + "]"
    if summarize and not edge:
        parts = ["..."]
    elif cut:
        parts = [*map(formatter, values[:edge].tolist()), " ...", *map(formatter, values[-edge:].tolist())]
    else:
        parts = [*map(formatter, values.tolist())]
    per_line = max(1, (OPTIONS.linewidth - indent) // (formatter.width + 2))  # a comma and a space between elements
    lines = [", ".join(parts[i : i + per_line]) for i in range(0, len(parts), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


def _contents(values: np.ndarray, indent: int) -> str:
    """The values in brackets, without prefix and suffixes."""
    if values.size == 0:
        return "[]"
    summarize = values.size > OPTIONS.threshold
    shown = _summary(values) if summarize else values
    formatter = ComplexFormatter(shown) if values.dtype.kind == "c" else Formatter(shown, values.dtype.kind == "f")
    return _rows(values, indent, summarize, formatter)


def _with_suffixes(text: str, suffixes: list[str], indent: int) -> str:
    """`text` followed by `, suffix` each, on a new line where the line would grow too long."""
    length = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if length + len(suffix) + 2 > OPTIONS.linewidth:
            text += ",\n" + " " * indent + suffix
            length = indent + len(suffix)
        else:
            text += ", " + suffix
            length += len(suffix) + 2
    return text + ")"


def format_tensor(
    values: np.ndarray | None,
    dtype: dtypes.dtype,
    *,
    shape: tuple[int, ...] | None = None,
    device: str | None = None,
    requires_grad: bool = False,
    grad_fn_name: str | None = None,
    default_dtype: dtypes.dtype = dtypes.float32,
    type_name: str = "tensor",
    contents: str | None = None,
    tangent: object = None,
) -> str:
    """The repr of a tensor with these values and flags.

    Parameters
    ----------
    values : ndarray or None
        The values (those that NumPy lacks as float32 or complex64); None for a tensor without memory (meta), which
        needs `shape`.
    device : str or None
        Named only where it is not the default device.
    contents : str or None
        Shown instead of the values.

    Examples
    --------
    >>> print(format_tensor(np.eye(2), dtypes.float64, requires_grad=True))
    tensor([[1., 0.],
            [0., 1.]], dtype=torch.float64, requires_grad=True)
    """
    prefix = type_name + "("
    suffixes = [f"device='{device}'"] if device else []
    shape = tuple(values.shape if values is not None else shape or ())
    default_complex = dtypes.complex128 if default_dtype is dtypes.float64 else dtypes.complex64
    if values is None:
        suffixes.append(f"size={shape}")
        shows_dtype = dtype is not default_dtype
        body = "..."
    elif values.size == 0:  # no element says what the dtype is, not even for int64
        if len(shape) != 1:
            suffixes.append(f"size={shape}")
        shows_dtype = dtype is not default_dtype
        body = "[]"
    else:
        if not OPTIONS.edgeitems:
            suffixes.append(f"size={shape}")
        shows_dtype = dtype not in (default_dtype, default_complex, dtypes.int64, dtypes.bool_)
        body = contents if contents is not None else _contents(values, len(prefix))
    if shows_dtype:
        suffixes.append(f"dtype={dtype}")
    if grad_fn_name is not None:
        suffixes.append(f"grad_fn=<{grad_fn_name}>")
    elif requires_grad:
        suffixes.append("requires_grad=True")
    if tangent is not None:
        suffixes.append(f"tangent={tangent}")
    return _with_suffixes(prefix + (body if contents is None else contents), suffixes, len(prefix))


def host_values(tensor: Tensor) -> np.ndarray:
    """A CPU tensor's memory as an array without a copy; what NumPy lacks becomes a new float32 or complex64 array."""
    spec = tensor.spec
    kind = spec.dtype.bits
    wide = {"f": np.float32, "c": np.complex64}.get(spec.dtype.kind) if spec.dtype.numpy is None else None
    if spec.numel == 0:
        return np.empty(spec.shape, wide or kind)
    reach = sum((size - 1) * stride for size, stride in zip(spec.shape, spec.strides)) + 1
    memory: Any = (ctypes.c_char * (reach * kind.itemsize)).from_address(tensor.ptr)
    values = np.ndarray(tuple(spec.shape), kind, memory, strides=tuple(s * kind.itemsize for s in spec.strides))
    if spec.dtype is dtypes.bfloat16:
        return (values.astype(np.uint32) << 16).view(np.float32)
    if spec.dtype is dtypes.complex32:
        return np.ascontiguousarray(values)[..., None].view(np.float16).astype(np.float32).view(np.complex64)[..., 0]
    if wide is None:
        return values
    from facula.core import float8  # rare

    return float8.decode(values, spec.dtype)


def tensor_repr(tensor: Any, *, contents: str | None = None) -> str:
    """`repr(tensor)`; what lies on another machine is copied here first."""
    if tensor.is_sparse:
        return sparse_repr(tensor)
    plain = (Tensor, getattr(sys.modules.get("facula.nn.parameter"), "Parameter", Tensor))
    device = tensor.device
    meta = device.type == "meta"
    if meta:
        values = None
    else:
        values = host_values(tensor if device.type == "cpu" else tensor.detach().cpu())
    try:
        node = tensor.grad_fn
        name = None if node is None else node.name().rsplit("::", 1)[-1]
    except RuntimeError:  # a view made and then changed in place without gradient has no valid history
        name = "Invalid"
    return format_tensor(
        values,
        tensor.dtype,
        shape=tuple(tensor.shape),
        device=str(device) if device.type != "cpu" else None,
        requires_grad=tensor.requires_grad,
        grad_fn_name=name,
        default_dtype=DEFAULT.float,
        type_name="tensor" if type(tensor) in plain else type(tensor).__name__,
        contents=contents,
    )


def sparse_repr(tensor: Any) -> str:
    """`repr` of a sparse tensor: its places and its values, one below the other."""
    prefix = "tensor("
    parts = []
    for name, part in (("indices", tensor._indices()), ("values", tensor._values())):
        head = f"{name}=tensor("
        values = host_values(part.detach())
        if values.size:
            text = head + _contents(values, len(prefix) + len(head))
        else:
            text = f"{head}[], size={tuple(part.shape)}"
        parts.append(f"{text})")
    parts.append(f"size={tuple(tensor.shape)}, nnz={tensor._nnz()}")
    suffixes = []
    if tensor.dtype not in (DEFAULT.float, dtypes.int64, dtypes.bool_):
        suffixes.append(f"dtype={tensor.dtype}")
    suffixes.append("layout=torch.sparse_coo")
    if tensor.grad_fn is not None:
        suffixes.append("grad_fn=<SparseCooTensorWithDimsAndTensorsBackward0>")
    elif tensor.requires_grad:
        suffixes.append("requires_grad=True")
    return _with_suffixes(prefix + f",\n{' ' * len(prefix)}".join(parts), suffixes, len(prefix))


def tensor_format(self: Any, form: str) -> str:
    """`format(self, form)`: a single number follows the format, everything else is its repr."""
    if self.ndim == 0 and self.device.type != "meta" and type(self) is Tensor:
        return format(host_values(self).item(), form)
    return object.__format__(self, form)


SHOW[0] = tensor_repr
Tensor.__format__ = tensor_format
