"""How operators are declared and applied: traced bodies that become one kernel, functions with gradients, views.

`traced` takes a Python function on symbols and makes it an operator: checks, promotion, broadcasting, one kernel, its
gradient (given for some inputs on symbols too, derived for the others), in-place and out= forms.
`function` takes a Python function on tensors, with a gradient formula for each input. `view` takes a function from a
spec to another spec of the same memory. No operator says anything of devices, and none of them saves anything by hand:
the parameter names of a gradient (grad, out, the inputs' names) say what is kept.
"""

from collections.abc import Callable
from typing import Any

from .away import common_device, hosted, needs_numbers, one_device, unreadable
from .base import OPERATORS, Operator
from .fast import binary, fast_in_place, fast_rows
from .function import Function
from .keywords import renamed, takes
from .layout import broadcast_shapes_of, broadcast_strides, check_cast, row_dims
from .recording import freed, keep, record, unkeep
from .repeats import Repeats, unrecorded
from .seams import (
    ASSIGN,
    CHECK_LEAF,
    CHECK_VIEW,
    CLONE,
    COPY,
    EMBED,
    INTERCEPT,
    INTO,
    NEW_LIKE,
    OF_ARRAY,
    OVERLAP,
    PREPARE_OUT,
    REBASE,
    SUM_TO,
    ZEROS,
)
from .traced import Plan, Traced
from .view import View, view_of

__all__ = [
    "ASSIGN", "CHECK_LEAF", "CHECK_VIEW", "CLONE", "COPY", "EMBED", "INTERCEPT", "INTO", "NEW_LIKE", "OF_ARRAY",
    "OPERATORS", "OVERLAP", "PREPARE_OUT", "REBASE", "SUM_TO", "ZEROS", "Function", "Operator", "Plan", "Repeats",
    "Traced", "View", "binary", "broadcast_shapes_of", "broadcast_strides", "check_cast", "common_device",
    "fast_in_place", "fast_rows", "freed", "function", "hosted", "keep", "needs_numbers", "one_device", "record",
    "renamed", "row_dims", "takes", "traced", "unkeep", "unreadable", "unrecorded", "view", "view_of",
]  # fmt: skip


def traced(body: Callable | None = None, **options) -> Any:
    """Declare an operator by a function on symbols. Options: see `Traced`; `rows=True` for bodies with reductions."""
    if body is None:
        return lambda body: traced(body, **options)
    operator = Traced(body, **options)
    if operator.rows:
        return operator.export(_plain(operator.call_rows))
    return operator.export(operator.fast())


def _plain(method: Callable) -> Callable:
    def entry(*args, **kwargs):
        return method(*args, **kwargs)

    return entry


def function(body: Callable | None = None, **options) -> Any:
    """Declare an operator by a function on tensors; `tensors` names the arguments that can have gradients."""
    if body is None:
        return lambda body: function(body, **options)
    operator = Function(body, **options)
    return operator.export(operator.call)


def view(body: Callable) -> Any:
    """Declare a view by a function (spec, arguments) -> (shape, strides, offset in elements)."""
    operator = View(body)
    return operator.export(operator.call)
