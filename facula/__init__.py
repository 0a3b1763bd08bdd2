"""facula: PyTorch's API in Python, with machine code generated at run time."""

from facula import operators
