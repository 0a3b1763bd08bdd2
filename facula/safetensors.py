"""Files of the library `safetensors`, for programs that do not run under `facula run`: `safetensors.torch`'s functions.

Under `facula run`, `import safetensors.torch` works itself. Bytes are written and checked by the library; here they
become tensors. Writing is atomic.
"""

import mmap
import os
from typing import Any

import numpy as np

from facula.core import dtype as dtypes
from facula.core.spec import dense
from facula.core.storage import Storage
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.operators.creation import record_of
from facula.serialization.archive import write_atomically

__all__ = ["load", "load_file", "save", "save_file"]

TYPES = {
    "BOOL": dtypes.bool_, "U8": dtypes.uint8, "I8": dtypes.int8, "I16": dtypes.int16, "I32": dtypes.int32,
    "I64": dtypes.int64, "U16": dtypes.uint16, "U32": dtypes.uint32, "U64": dtypes.uint64, "F16": dtypes.float16,
    "BF16": dtypes.bfloat16, "F32": dtypes.float32, "F64": dtypes.float64, "C64": dtypes.complex64,
    "F8_E4M3": dtypes.float8_e4m3fn, "F8_E4M3FNUZ": dtypes.float8_e4m3fnuz, "F8_E5M2": dtypes.float8_e5m2,
    "F8_E5M2FNUZ": dtypes.float8_e5m2fnuz, "F8_E8M0": dtypes.float8_e8m0fnu,
}  # fmt: skip
WRITABLE = frozenset(TYPES.values())


def _library() -> Any:
    try:
        import safetensors
    except ImportError as error:
        raise ImportError(
            "safetensors is not installed\n  mend: pip install facula[safetensors], or pip install safetensors"
        ) from error
    return safetensors


def _specs(tensors: dict[str, Tensor], library: Any) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What the library wants to know of each tensor, and the tensors on the host that must live meanwhile."""
    if not isinstance(tensors, dict):
        fail(ValueError, f"Expected a dict of [str, torch.Tensor] but received {type(tensors)}")
    storages: dict[int, list[str]] = {}
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            fail(ValueError, f"Key `{name}` is invalid, expected torch.Tensor but received {type(tensor)}")
        if tensor.is_sparse:
            fail(
                ValueError,
                f"You are trying to save a sparse tensors: `{[name]}` which this library does not support.",
                mend="make it a dense tensor before saving with `.to_dense()`",
            )
        if not tensor.spec.contiguous:
            fail(
                ValueError,
                f"You are trying to save a non contiguous tensor: `{name}` which is not allowed.",
                mend="call `.contiguous()` on it",
            )
        if tensor.dtype not in WRITABLE or tensor.device.type not in ("cpu", "cuda"):
            fail(ValueError, f"`{name}` cannot be saved", got=f"{tensor.dtype} on {tensor.device}")
        if tensor.spec.numel:
            storages.setdefault(tensor.storage.ptr, []).append(name)
    shared = [set(names) for names in storages.values() if len(names) > 1]
    if shared:
        fail(
            RuntimeError,
            "Some tensors share memory, this will lead to duplicate memory on disk and potential differences when "
            f"loading them again: {shared}.",
            mend="save one of each, or clone() the others",
        )
    host: dict[str, Any] = {name: tensor.to("cpu") for name, tensor in tensors.items()}
    return {
        name: library.TensorSpec(
            dtype=tensor.dtype.name, shape=tuple(tensor.shape), data_ptr=tensor.ptr, data_len=tensor.spec.nbytes
        )
        for name, tensor in host.items()
    }, host


def save_file(tensors: dict[str, Tensor], filename: str | os.PathLike, metadata: dict[str, str] | None = None) -> None:
    """Write tensors to a file.

    Parameters
    ----------
    tensors : dict
        Contiguous tensors that share no memory, by name.
    filename : str or os.PathLike
        Replaced as a whole once all is written.
    metadata : dict, optional
        Text beside them.

    Raises
    ------
    ValueError, RuntimeError
        A tensor cannot be written as it is.

    Examples
    --------
    >>> import os, tempfile
    >>> import facula as torch
    >>> path = os.path.join(tempfile.mkdtemp(), "x.safetensors")
    >>> save_file({"x": torch.arange(3.0)}, path)
    >>> load_file(path)
    {'x': tensor([0., 1., 2.])}
    """
    library = _library()
    specs, _host = _specs(tensors, library)
    if os.path.exists(filename) and not os.path.isfile(filename):
        fail(ValueError, "not a regular file", got=os.fspath(filename))
    write_atomically(os.fspath(filename), lambda file: library.serialize_file(specs, file.name, metadata=metadata))


def save(tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """The bytes of such a file."""
    library = _library()
    specs, _host = _specs(tensors, library)
    return bytes(library.serialize(specs, metadata=metadata))


def load(data: bytes) -> dict[str, Any]:
    """The tensors in the bytes of such a file.

    Raises
    ------
    safetensors.SafetensorError
        The bytes are damaged.
    """
    return {name: _tensor(name, entry) for name, entry in _library().deserialize(data)}


def _dtype(name: str, kind: str) -> dtypes.dtype:
    found = TYPES.get(kind)
    if found is None:
        fail(ValueError, f"`{name}` has a dtype that facula does not have", got=kind)
    return found


def _tensor(name: str, entry: dict[str, Any]) -> Any:
    form = dense(_dtype(name, entry["dtype"]), tuple(entry["shape"]))
    memory = np.frombuffer(entry["data"], np.uint8)
    if memory.nbytes != form.nbytes:
        fail(RuntimeError, f"`{name}` has another size than its shape", expected=form.nbytes, got=memory.nbytes)
    return record_of(form, Storage(memory.ctypes.data, memory.nbytes, memory), memory.ctypes.data)


def load_file(filename: str | os.PathLike, device: str = "cpu") -> dict[str, Any]:
    """The tensors in a file, which is mapped: bytes are read when they are used, and changes to them stay in memory.

    Parameters
    ----------
    filename : str or os.PathLike
        As `save_file`, or the library in any framework, wrote it.
    device : str
        Where they go.

    Raises
    ------
    safetensors.SafetensorError
        The file is damaged.
    """
    with _library().safe_open(os.fspath(filename), "np") as file:  # checks that the parts fill the file without a gap
        parts = [
            (name, part.get_dtype(), part.get_shape()) for name in file.offset_keys() for part in [file.get_slice(name)]
        ]
    found = {}
    with open(filename, "rb") as file:
        position = 8 + int.from_bytes(file.read(8), "little")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    for name, kind, shape in parts:
        nbytes = dense(_dtype(name, kind), tuple(shape)).nbytes
        if position + nbytes > len(mapped):
            fail(RuntimeError, f"`{name}` lies outside of the file", got=f"{nbytes} bytes at {position}")
        memory = np.frombuffer(mapped, np.uint8, nbytes, position)
        if position % _dtype(name, kind).itemsize:
            memory = memory.copy()
        found[name] = _tensor(name, {"dtype": kind, "shape": shape, "data": memory})
        position += nbytes
    return found if str(device) == "cpu" else {name: tensor.to(device) for name, tensor in found.items()}
