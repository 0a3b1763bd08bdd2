"""Functions that classes take over by `__torch_function__`, and modes that see all calls; as `torch.overrides`."""

import functools
import types
from collections.abc import Callable, Iterable
from typing import Any

from facula.core.tensor import Tensor
from facula.operators import override
from facula.operators.override import STATE, dispatch, install, overloaded

__all__ = [
    "TorchFunctionMode", "enable_reentrant_dispatch", "get_default_nowrap_functions", "get_ignored_functions",
    "get_overridable_functions", "get_testing_overrides", "handle_torch_function", "has_torch_function",
    "has_torch_function_unary", "has_torch_function_variadic", "is_tensor_like", "is_tensor_method_or_property",
    "redispatch_function", "resolve_name", "wrap_torch_function",
]  # fmt: skip

install()


def has_torch_function(relevant_args: Iterable[Any]) -> bool:
    """Whether an argument takes functions over, or a mode is open."""
    return bool((STATE.modes and STATE.modes_on) or (STATE.subclasses and overloaded(relevant_args)))


def has_torch_function_unary(relevant_arg: Any) -> bool:
    """`has_torch_function` of one argument."""
    return has_torch_function((relevant_arg,))


def has_torch_function_variadic(*relevant_args: Any) -> bool:
    """`has_torch_function` of several arguments."""
    return has_torch_function(relevant_args)


def handle_torch_function(public_api: Callable, relevant_args: Iterable[Any], *args: Any, **kwargs: Any) -> Any:
    """Have a mode, or the arguments that take over, do `public_api(*args, **kwargs)`.

    Examples
    --------
    >>> import facula as torch
    >>> from facula.overrides import handle_torch_function, has_torch_function_unary
    >>> def double(x):
    ...     if has_torch_function_unary(x):
    ...         return handle_torch_function(double, (x,), x)
    ...     return x * 2
    >>> class Named:
    ...     @classmethod
    ...     def __torch_function__(cls, func, types, args=(), kwargs=None):
    ...         return f"{func.__name__} of {cls.__name__}"
    >>> double(Named())
    'double of Named'
    """
    return dispatch(public_api, overloaded(relevant_args) if STATE.subclasses else [], args, kwargs)


def wrap_torch_function(dispatcher: Callable) -> Callable:
    """Decorator: the function, taken over by those of its arguments that `dispatcher` returns."""

    def inner(func: Callable) -> Callable:
        @functools.wraps(func)
        def wrapped(*args, **kwargs):
            relevant = dispatcher(*args, **kwargs)
            if has_torch_function(relevant):
                return handle_torch_function(wrapped, relevant, *args, **kwargs)
            return func(*args, **kwargs)

        return wrapped

    return inner


class TorchFunctionMode:
    """In a `with` block of such a mode its `__torch_function__` sees every call of a public function.

    Examples
    --------
    >>> import facula as torch
    >>> from facula.overrides import TorchFunctionMode
    >>> class Names(TorchFunctionMode):
    ...     def __torch_function__(self, func, types, args=(), kwargs=None):
    ...         print(func.__name__)
    ...         return func(*args, **(kwargs or {}))
    >>> x = torch.ones(2)
    >>> with Names():
    ...     y = torch.exp(x)
    exp
    """

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        raise NotImplementedError

    def __enter__(self):
        install()
        STATE.modes = (*STATE.modes, self)
        return self

    def __exit__(self, *_) -> None:
        STATE.modes = STATE.modes[:-1]

    @classmethod
    def push(cls, *args, **kwargs):
        """`Mode(...)`, as older programs say it."""
        return cls(*args, **kwargs)


class BaseTorchFunctionMode(TorchFunctionMode):
    """A mode that does what would be done without it."""

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return func(*args, **(kwargs or {}))


def _get_current_function_mode() -> TorchFunctionMode | None:
    return STATE.modes[-1] if STATE.modes else None


def _get_current_function_mode_stack() -> list[TorchFunctionMode]:
    return list(STATE.modes)


def redispatch_function(func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
    """Call a function from a handler as if the handler's class took nothing over."""
    with override.without():
        return func(*args, **(kwargs or {}))


def enable_reentrant_dispatch():
    """A block in which handlers may be asked again."""
    import contextlib

    return contextlib.nullcontext()


def is_tensor_like(inp: Any) -> bool:
    """Whether a value is a tensor or has `__torch_function__`."""
    return type(inp) is Tensor or hasattr(inp, "__torch_function__")


def _module(place: str) -> Any:
    import importlib

    return Tensor if place == "Tensor" else importlib.import_module(f"facula.{place}".rstrip("."))


@functools.cache
def _names() -> dict[Any, str]:
    found: dict[Any, str] = {}
    for place, members in override.overridable().items():
        for name, value in members.items():
            title = ".".join(filter(None, ("torch", place, name)))
            if isinstance(value, property):
                found[value.__get__] = f"{title}.__get__"
                if value.fset is not None:
                    found[value.__set__] = f"{title}.__set__"
            elif callable(value):
                found.setdefault(value, title)
    return found


def resolve_name(f: Any) -> str | None:
    """The name of a public function: "torch.nn.functional.relu"; None for anything else."""
    return _names().get(f)


def is_tensor_method_or_property(func: Callable) -> bool:
    """Whether a function is a method of tensors, or gets or sets one of their attributes."""
    members = vars(Tensor).values()
    return func in [m for m in members if callable(m)] or getattr(func, "__name__", "") in ("__get__", "__set__")


def get_overridable_functions() -> dict[Any, list[Callable]]:
    """All functions that may be taken over, by the module (or class) that has them."""
    found: dict[Any, list[Callable]] = {}
    for place, members in override.overridable().items():
        each: list[Callable] = []
        for name, value in members.items():
            if name in override.CREATION and place != "Tensor":
                continue
            if isinstance(value, property):
                each.append(value.__get__)  # type: ignore[arg-type]
            elif isinstance(value, types.FunctionType):
                each.append(value)
        found[_module(place)] = each
    return found


def get_ignored_functions() -> set[Callable]:
    """Public functions that cannot be taken over."""
    found = set()
    for place in override.PLACES:
        try:
            module = _module(place)
        except ModuleNotFoundError:
            continue
        for name in override.NEVER | override.CREATION:
            value = vars(module).get(name)
            if callable(value):
                found.add(value)
    return found | {vars(Tensor)[n] for n in override.OWN if callable(vars(Tensor).get(n))}


def get_testing_overrides() -> dict[Callable, Callable]:
    """For each function that may be taken over, a function of the same signature that returns -1."""
    import inspect

    found: dict[Callable, Callable] = {}
    for functions in get_overridable_functions().values():
        for function in functions:
            found[function] = _returning(inspect.signature(function) if inspect.isfunction(function) else None)
    return found


def _returning(signature: Any) -> Callable:
    def dummy(*args, **kwargs):
        return -1

    if signature is not None:
        dummy.__signature__ = signature  # type: ignore[attr-defined]
    return dummy


def get_default_nowrap_functions() -> set[Callable]:
    """The functions whose results a subclass leaves as they are."""
    return set(override.nowrap())
