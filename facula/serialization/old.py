"""Functions of `torch.serialization` that only old programs call."""

import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

__all__ = ["check_module_version_greater_or_equal", "mkdtemp", "normalize_storage_type", "storage_to_tensor_type"]


@contextmanager
def mkdtemp() -> Iterator[str]:
    """A folder that is removed at the end of the block."""
    path = tempfile.mkdtemp()
    try:
        yield path
    finally:
        shutil.rmtree(path)


def check_module_version_greater_or_equal(
    module: Any, req_version_tuple: Sequence, error_if_malformed: bool = True
) -> bool:
    """Whether a module's version is at least a given one.

    Raises
    ------
    RuntimeError
        The version is malformed, and `error_if_malformed`; otherwise that is a warning and counts as True.
    """
    try:
        parts = module.__version__.split(".")
        return tuple(type(wanted)(part) for part, wanted in zip(parts, req_version_tuple, strict=False)) >= tuple(
            req_version_tuple
        )
    except Exception as error:
        message = (
            f"'{module.__name__}' module version string is malformed '{module.__version__}' and cannot be compared "
            f"with tuple {req_version_tuple!s}"
        )
        if error_if_malformed:
            raise RuntimeError(message) from error
        warnings.warn(message + ", but continuing assuming that requirement is met", stacklevel=2)
        return True


def normalize_storage_type(storage_type: type) -> Any:
    """The class of that name in `torch`."""
    from facula.operators import storages

    return getattr(storages, storage_type.__name__)


def storage_to_tensor_type(storage: Any) -> Any:
    """The class of tensors of a storage's dtype."""
    from facula import legacy

    return getattr(legacy, type(storage).__name__.replace("Storage", "Tensor"))
