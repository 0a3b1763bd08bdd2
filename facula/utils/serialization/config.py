"""Options of `save` and `load` for the whole program, under the names of `torch.utils.serialization.config`."""

import mmap as memory_map
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from facula.errors import fail

__all__ = ["load", "patch", "save"]


class load:
    """How files are read."""

    mmap: bool = False
    endianness: Any = None  # a LoadEndianness: of files without a mark
    mmap_flags: int | None = None if sys.platform == "win32" else memory_map.MAP_PRIVATE
    calculate_storage_offsets: bool = False  # accepted: finding a record in the directory reads nothing anyway


class save:
    """How files are written."""

    compute_crc32: bool = True
    use_pinned_memory_for_d2h: bool = False
    storage_alignment: int = 64


_SECTIONS = {"load": load, "save": save}


def _option(name: str) -> tuple[type, str]:
    section, _, option = name.partition(".")
    if not hasattr(_SECTIONS.get(section), option):
        fail(AttributeError, f"{__name__}.{name} does not exist", expected="as in load.mmap, save.compute_crc32")
    return _SECTIONS[section], option


@contextmanager
def patch(arg1: str | dict[str, Any] | None = None, arg2: Any = None, **kwargs: Any) -> Iterator[None]:
    """Other options within a `with` block: `patch("load.mmap", True)`, or a dict of several.

    >>> with patch("load.mmap", True):
    ...     load.mmap
    True
    >>> load.mmap
    False
    """
    changes = {arg1: arg2} if isinstance(arg1, str) else {**(arg1 or {}), **kwargs}
    before = []
    for name, value in changes.items():
        section, option = _option(name)
        before.append((section, option, getattr(section, option)))
        setattr(section, option, value)
    try:
        yield
    finally:
        for section, option, value in reversed(before):
            setattr(section, option, value)
