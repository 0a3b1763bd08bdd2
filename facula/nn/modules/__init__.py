"""`torch.nn.modules`: PyTorch's places of the layers, each a module that shows what facula has in files of its own."""

import importlib
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from facula import nn

from . import utils as utils

# PyTorch's module -> facula's files
PLACES = {
    "activation": ("activation", "transformer"),
    "adaptive": ("adaptive",),
    "batchnorm": ("normalization", "lazy"),
    "channelshuffle": ("flatten",),
    "container": ("container",),
    "conv": ("convolution", "lazy"),
    "distance": ("distance",),
    "dropout": ("dropout",),
    "flatten": ("flatten",),
    "fold": ("fold",),
    "instancenorm": ("normalization", "lazy"),
    "lazy": ("lazy",),
    "linear": ("linear", "lazy"),
    "linear_cross_entropy_options": ("linear_cross_entropy",),
    "loss": ("loss",),
    "module": ("module", "hooks"),
    "normalization": ("normalization",),
    "padding": ("padding",),
    "pixelshuffle": ("flatten",),
    "pooling": ("pooling",),
    "rnn": ("recurrent",),
    "sparse": ("sparse",),
    "transformer": ("transformer",),
    "upsampling": ("upsampling",),
}


class _Place(ModuleType):
    """One of PyTorch's modules; its names are looked up in facula's files."""

    def __init__(self, name: str, files: tuple[str, ...]):
        super().__init__(f"{__name__}.{name}", f"`torch.nn.modules.{name}`.")
        self.__dict__["files"] = [f"facula.nn.{file}" for file in files]
        self.__spec__ = ModuleSpec(self.__name__, None)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__"):
            for file in self.files:
                found = vars(importlib.import_module(file)).get(name)
                if found is not None:
                    return found
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

    def __dir__(self):
        return sorted({*vars(self), *(name for file in self.files for name in vars(importlib.import_module(file)))})


for _name, _files in PLACES.items():
    globals()[_name] = sys.modules[f"{__name__}.{_name}"] = _Place(_name, _files)


def place_of(value: Any) -> str | None:
    """The module here that shows a class of facula's layer files."""
    file, name = value.__module__.rpartition(".")[2], value.__name__
    for place, files in PLACES.items():
        if file in files and getattr(globals()[place], name, None) is value:
            return f"{__name__}.{place}"
    return None


CLASSES = {
    name: value for name in nn.__all__ if isinstance(value := getattr(nn, name), type) and issubclass(value, nn.Module)
}
globals().update(CLASSES)
__all__ = sorted(CLASSES)
