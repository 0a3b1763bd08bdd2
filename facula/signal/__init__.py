"""`torch.signal`: windows."""

from facula.alias import getattr_for as _getattr_for

from . import windows

__all__ = ["windows"]

__getattr__ = _getattr_for(__name__)
