"""What the mechanism needs of operators, which are declared with it: the file named beside each list fills it in."""

from collections.abc import Callable

SUM_TO: list[Callable] = []  # operators/reduction.py: sums a gradient over broadcast dims and casts it to a spec
ZEROS: list[Callable] = []  # operators/creation.py: zeros of a spec
EMBED: list[Callable] = []  # operators/view.py
INTERCEPT: list[Callable] = []  # operators/intercept.py: autocast, subclasses, capture, vmap
INTO: list[Callable] = []  # operators/matmul.py: (name, out, made, inputs) -> out
OF_ARRAY: list[Callable] = []  # operators/creation.py: a tensor on the memory of a NumPy array, tensors as they are
PREPARE_OUT: list[Callable] = []  # operators/inplace.py
OVERLAP: list[Callable] = []
CHECK_LEAF: list[Callable] = []
CHECK_VIEW: list[Callable] = []
REBASE: list[Callable] = []
COPY: list[Callable] = []  # operators/copying.py: the elements of a tensor in new memory, without history
