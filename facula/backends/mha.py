"""The switch of what layers of transformers do when nobody trains them."""

from facula.core.switches import transformer as _switches

__all__ = ["get_fastpath_enabled", "set_fastpath_enabled"]


def get_fastpath_enabled() -> bool:
    """Whether encoders may leave out padding, and their layers join a product and an activation where a GPU can."""
    return _switches.fastpath


def set_fastpath_enabled(value: bool) -> None:
    """See `get_fastpath_enabled`."""
    _switches.fastpath = value
