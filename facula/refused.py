"""Names of `torch` that make sense with PyTorch's own internals alone: each is there, and says why it does nothing."""

from facula.errors import refusal
from facula.later import REFUSED

for _why, _names in REFUSED.items():
    for _name in _names.split():
        globals()[_name] = refusal(f"torch.{_name}", _why)
