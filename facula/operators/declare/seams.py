"""What the mechanism needs of operators, which are declared with it: the file named beside each list fills it in."""

from collections.abc import Callable
from typing import Any

SUM_TO: list[Callable] = []  # operators/reduction.py: sums a gradient over broadcast dims and casts it to a spec
ZEROS: list[Callable] = []  # operators/creation.py: zeros of a spec
EMBED: list[Callable] = []  # operators/view.py
INTO: list[Callable] = []  # operators/matmul.py: (name, out, made, inputs) -> out
OF_ARRAY: list[Callable] = []  # operators/creation.py: a tensor on the memory of a NumPy array, tensors as they are
PREPARE_OUT: list[Callable] = []  # operators/inplace.py
OVERLAP: list[Callable] = []
CHECK_LEAF: list[Callable] = []
CHECK_VIEW: list[Callable] = []
REBASE: list[Callable] = []
CLONE: list[Callable] = []  # operators/copying.py: a copy that is recorded
COPY: list[Callable] = []  # operators/copying.py: the elements of a tensor in new memory, without history


def load_transforms() -> None:
    """Fill the three seams below, whose functions are loaded when first called: most programs transform no function."""
    from facula.operators import assignment, batching, intercept, tangents

    assert batching.RULES is tangents.RULES
    INTERCEPT[0], ASSIGN[0], NEW_LIKE[0] = intercept.intercept, assignment.assign, assignment.new_like


def _on_first_use(place: int) -> list[Callable]:
    def load(*args: Any) -> Any:
        load_transforms()
        return (INTERCEPT, ASSIGN, NEW_LIKE)[place][0](*args)

    return [load]


INTERCEPT = _on_first_use(0)  # (operator, args, kwargs, out): applies an operator while some feature looks
ASSIGN = _on_first_use(1)  # (target, source): writes in place where one of them stands for other tensors
NEW_LIKE = _on_first_use(2)  # (like, out): `out` for each element of the batch that `like` stands for
