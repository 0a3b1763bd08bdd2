"""`save` and `load`: PyTorch's checkpoints in both directions, read without executing what they hold.

A checkpoint is a zip archive (`archive`): the record `data.pkl` describes the objects and refers to storages by number,
`data/<number>` holds the bytes of each. `saving` writes it, `loading` reads it, `unpickler` sees to it that reading
runs no code, `tensors` knows how both frameworks describe a tensor, `places` where storages go, `options` what a
program can set. `legacy` has the formats from before PyTorch 1.6.
"""

from facula.alias import getattr_for

from .loading import get_unsafe_globals_in_checkpoint, load
from .options import (
    LoadEndianness,
    get_crc32_options,
    get_default_load_endianness,
    get_default_mmap_options,
    set_crc32_options,
    set_default_load_endianness,
    set_default_mmap_options,
    skip_data,
)
from .places import (
    default_restore_location,
    location_tag,
    register_package,
    validate_cuda_device,
    validate_hpu_device,
)
from .saving import reduce_tensor, save
from .tensors import StorageType, _get_layout
from .unpickler import add_safe_globals, clear_safe_globals, get_safe_globals, safe_globals

__all__ = [
    "LoadEndianness",
    "StorageType",
    "add_safe_globals",
    "clear_safe_globals",
    "default_restore_location",
    "get_crc32_options",
    "get_default_load_endianness",
    "get_default_mmap_options",
    "get_safe_globals",
    "get_unsafe_globals_in_checkpoint",
    "load",
    "location_tag",
    "reduce_tensor",
    "register_package",
    "safe_globals",
    "save",
    "set_crc32_options",
    "set_default_load_endianness",
    "set_default_mmap_options",
    "skip_data",
    "validate_cuda_device",
    "validate_hpu_device",
]

assert _get_layout
__getattr__ = getattr_for(
    __name__, (), {"SourceChangeWarning": "legacy"} | dict.fromkeys(
        ("check_module_version_greater_or_equal", "mkdtemp", "normalize_storage_type", "storage_to_tensor_type"), "old"
    ),
)  # fmt: skip
