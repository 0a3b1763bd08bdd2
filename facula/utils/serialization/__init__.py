"""`torch.utils.serialization`: the options of `torch.save` and `torch.load`, in `config`."""

from . import config

__all__ = ["config"]
