"""What operators mean: forward, gradient, checks and documentation side by side; nothing here knows a device."""

from . import methods  # noqa: F401  puts the operators on Tensor
