"""NumPy's names `axis` and `keepdims` for `dim` and `keepdim`, which PyTorch's functions take as keywords too."""

from typing import Any

from facula.errors import fail

__all__ = ["REQUIRED", "numpy_dims"]

REQUIRED: Any = type("Required", (), {"__repr__": lambda self: "<required>"})()  # the default of a dim that has none


def numpy_dims(name: str, dim: Any, keepdim: Any, axis: Any, keepdims: Any, default: Any = None) -> tuple[Any, Any]:
    """(dim, keepdim) of a call that names one of them as NumPy does, or leaves out a dim that is required."""
    if axis is not None:
        if dim is not default:
            fail(TypeError, f"{name}() got multiple values for argument 'dim'", got=f"dim={dim!r} and axis={axis!r}")
        dim = axis
    if keepdims is not None:
        keepdim = keepdims
    if dim is REQUIRED:
        fail(TypeError, f'{name}() missing 1 required positional arguments: "dim"')
    return dim, keepdim
