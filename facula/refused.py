"""Names of `torch` that make sense with PyTorch's own internals alone: each is there, and says why it does nothing."""

from collections.abc import Callable

from facula.errors import fail
from facula.later import REFUSED


def _refusal(name: str, why: str) -> Callable:
    def refused(*args, **kwargs):
        fail(NotImplementedError, f"torch.{name}() is not implemented: {why}")

    refused.__name__ = refused.__qualname__ = name
    refused.__doc__ = f"Not implemented: {why}."
    return refused


for _why, _names in REFUSED.items():
    for _name in _names.split():
        globals()[_name] = _refusal(_name, _why)
