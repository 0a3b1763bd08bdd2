"""`save` and `load`: PyTorch's zip checkpoints in both directions, read without executing what they hold.

A checkpoint is a zip archive (`archive`): the record `data.pkl` describes the objects and refers to storages by number,
`data/<number>` holds the bytes of each. `saving` writes it, `loading` reads it, `unpickler` sees to it that reading
runs no code, `tensors` knows how both frameworks describe a tensor.
"""

from .loading import get_unsafe_globals_in_checkpoint, load
from .saving import reduce_tensor, save
from .unpickler import add_safe_globals, clear_safe_globals, get_safe_globals, safe_globals

__all__ = [
    "add_safe_globals",
    "clear_safe_globals",
    "get_safe_globals",
    "get_unsafe_globals_in_checkpoint",
    "load",
    "reduce_tensor",
    "safe_globals",
    "save",
]
