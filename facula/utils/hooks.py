"""`torch.utils.hooks`: what `register_*hook` hands out."""

import warnings
import weakref
from collections import OrderedDict
from typing import Any

__all__ = ["RemovableHandle", "unserializable_hook", "warn_if_has_hooks"]


class RemovableHandle:
    """Takes a hook out of its table: `handle.remove()`, or at the end of `with handle:`."""

    next_id = 0

    def __init__(self, hooks_dict, *, extra_dict=None):
        extra = extra_dict if isinstance(extra_dict, list) else [] if extra_dict is None else [extra_dict]
        self.tables = tuple(weakref.ref(table) for table in (hooks_dict, *extra))
        self.id = RemovableHandle.next_id
        RemovableHandle.next_id += 1

    def remove(self) -> None:
        """Forget the hook; a second call does nothing."""
        for table in self.tables:
            if (found := table()) is not None:
                found.pop(self.id, None)

    def __getstate__(self):
        table, *extra = (table() for table in self.tables)
        return table, self.id, tuple(extra)

    def __setstate__(self, state):
        table, self.id, *extra = state
        tables = (table, *(extra[0] if extra and extra[0] else ()))
        self.tables = tuple(weakref.ref(OrderedDict() if table is None else table) for table in tables)
        RemovableHandle.next_id = max(RemovableHandle.next_id, self.id + 1)

    def moved(self, tables: dict[int, Any]) -> None:
        """Follow hooks that are now in other tables: {id of the table before: the table now}."""
        self.tables = tuple(
            weakref.ref(tables[id(found)]) if (found := table()) is not None and id(found) in tables else table
            for table in self.tables
        )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.remove()


def unserializable_hook(f):
    """Mark a hook that is knowingly not written to files: `warn_if_has_hooks` is then silent."""
    f.__torch_unserializable__ = True
    return f


def warn_if_has_hooks(tensor) -> None:
    """Warn of hooks of a tensor, which files will not have; those that are marked are left out silently."""
    for hook in ((tensor.extra or {}).get("hooks") or {}).values():
        if not hasattr(hook, "__torch_unserializable__"):
            warnings.warn(
                f"backward hook {hook!r} on tensor will not be serialized.  If this is expected, you can decorate the "
                "function with @torch.utils.hooks.unserializable_hook to suppress this warning",
                stacklevel=2,
            )
