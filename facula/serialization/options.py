"""What `torch.serialization` lets a program set: byte order, checksums, mapping; kept in `utils.serialization`."""

import mmap
import sys
from enum import Enum
from typing import Any

from facula.utils.serialization import config

from .tensors import LOADING

__all__ = [
    "LoadEndianness", "get_crc32_options", "get_default_load_endianness", "get_default_mmap_options",
    "set_crc32_options", "set_default_load_endianness", "set_default_mmap_options", "skip_data",
]  # fmt: skip


class LoadEndianness(Enum):
    """The byte order that is assumed of a file without a mark."""

    NATIVE = 1
    LITTLE = 2
    BIG = 3


def get_default_load_endianness() -> LoadEndianness | None:
    """The byte order that is assumed of a file without a mark; None: little."""
    return config.load.endianness


def set_default_load_endianness(endianness: LoadEndianness | None) -> None:
    """Assume a byte order of files without a mark.

    Raises
    ------
    TypeError
        It is neither None nor a LoadEndianness.
    """
    if not isinstance(endianness, LoadEndianness) and endianness is not None:
        raise TypeError("Invalid argument type in function set_default_load_endianness")
    config.load.endianness = endianness


def get_crc32_options() -> bool:
    """Whether `save` computes checksums."""
    return config.save.compute_crc32


def set_crc32_options(compute_crc32: bool) -> None:
    """Let `save` compute checksums, or write zeros, which `load` does not look at."""
    config.save.compute_crc32 = compute_crc32


def get_default_mmap_options() -> int | None:
    """How `load(..., mmap=True)` maps: `mmap.MAP_PRIVATE` or `mmap.MAP_SHARED`."""
    return config.load.mmap_flags


class set_default_mmap_options:
    """Let `load(..., mmap=True)` map privately or shared, from now on or within a `with` block.

    Parameters
    ----------
    flags : int
        `mmap.MAP_PRIVATE`: changes to tensors stay in memory. `mmap.MAP_SHARED`: they reach the file.
    """

    def __init__(self, flags: int) -> None:
        if sys.platform == "win32":
            raise RuntimeError("Changing the default mmap options is currently not supported for Windows")
        if flags not in (mmap.MAP_PRIVATE, mmap.MAP_SHARED):
            raise ValueError(
                "Invalid argument in function set_default_mmap_options, expected mmap.MAP_PRIVATE or mmap.MAP_SHARED, "
                f"but got {flags}"
            )
        self.prev = config.load.mmap_flags
        config.load.mmap_flags = flags

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: Any) -> None:
        config.load.mmap_flags = self.prev


class skip_data:
    """Within a `with` block, `save` leaves room for the bytes of storages, and `load` leaves them out.

    Parameters
    ----------
    materialize_fake_tensors : bool
        Accepted: facula has no fake tensors.

    Examples
    --------
    >>> import io
    >>> import facula as torch
    >>> buffer = io.BytesIO()
    >>> with skip_data():
    ...     torch.save(torch.ones(2), buffer)
    >>> _ = buffer.seek(0)
    >>> torch.load(buffer)
    tensor([0., 0.])
    """

    def __init__(self, materialize_fake_tensors: bool = False):
        self.materialize_fake_tensors = materialize_fake_tensors

    def __enter__(self) -> None:
        self.before, LOADING.skip_data = LOADING.skip_data, True

    def __exit__(self, *exception: Any) -> None:
        LOADING.skip_data = self.before
