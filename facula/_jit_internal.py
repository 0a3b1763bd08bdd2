"""Helpers of PyTorch's TorchScript that libraries import: types of annotations, and a function of two bodies."""

from collections.abc import Callable
from typing import Any

__all__ = ["BroadcastingList1", "BroadcastingList2", "BroadcastingList3", "boolean_dispatch"]

boolean_dispatched: dict[Callable, dict[str, Any]] = {}


class _Broadcasting:
    """`BroadcastingList2[int]`, an int or a list of two: an annotation, of which nothing is asked."""

    def __getitem__(self, types: Any) -> None:
        """Nothing: there is no compiler of annotations."""


BroadcastingList1 = BroadcastingList2 = BroadcastingList3 = BroadcastingList4 = BroadcastingList5 = _Broadcasting()
BroadcastingList6 = BroadcastingList1


def boolean_dispatch(
    arg_name: str, arg_index: int, default: bool, if_true: Callable, if_false: Callable, module_name: str | None,
    func_name: str | None,
) -> Callable:  # fmt: skip
    """A function that is `if_true` or `if_false`, as its argument `arg_name` (number `arg_index`) says.

    Examples
    --------
    >>> from facula._jit_internal import boolean_dispatch
    >>> pick = boolean_dispatch("last", 1, False, lambda x, last: x[-1], lambda x, last=False: x[0], None, "pick")
    >>> pick([1, 2], last=True), pick([1, 2])
    (2, 1)
    """

    def fn(*args: Any, **kwargs: Any) -> Any:
        flag = kwargs[arg_name] if arg_name in kwargs else args[arg_index] if arg_index < len(args) else default
        return (if_true if flag else if_false)(*args, **kwargs)

    if if_true.__doc__ is not None and if_false.__doc__ is not None:
        raise RuntimeError("only one function can have a docstring")
    fn.__doc__ = if_true.__doc__ = if_false.__doc__ = if_true.__doc__ or if_false.__doc__
    if module_name is not None:
        fn.__module__ = module_name
    if func_name is not None:
        fn.__name__ = func_name
    boolean_dispatched[fn] = {
        "if_true": if_true, "if_false": if_false, "index": arg_index, "default": default, "arg_name": arg_name,
    }  # fmt: skip
    return fn


def unused(fn: Callable) -> Callable:
    """The function itself: nothing is compiled."""
    return fn


ignore = export = _overload = _overload_method = _copy_to_script_wrapper = unused
