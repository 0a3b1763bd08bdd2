"""`__torch_function__`: classes that take over PyTorch's functions, and modes that see every call.

Plain calls cost nothing for it. The first subclass of `Tensor`, the first mode, or the first operand of a foreign class
that has the method *installs* it: every public function gets other code, which asks `called` first and then does what
it did before. Functions stay the objects that they are, so that programs may keep them in tables. The first
`torch.autocast` installs it for the functions alone whose operands it converts (`CASTS`).
"""

import importlib
import inspect
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from facula.core.locks import lasting_lock
from facula.core.modes import LOCAL
from facula.core.tensor import Tensor

__all__ = [
    "STATE", "WATCHED", "asking", "called", "converted", "default", "disabled", "dispatch", "foreign", "install",
    "install_casts", "overloaded", "overridable", "twin", "without",
]  # fmt: skip


class State(threading.local):
    """What this thread has switched off, and its open modes, the innermost last."""

    subclasses = True
    modes_on = True
    modes: tuple = ()


STATE = State()


def disabled(func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
    """The `__torch_function__` of classes that take nothing over."""
    return func(*args, **(kwargs or {}))


@contextmanager
def without(subclasses: bool = True, modes: bool = False) -> Iterator[None]:
    """In this block subclasses (and modes) see no calls."""
    before = STATE.subclasses, STATE.modes_on
    STATE.subclasses = before[0] and not subclasses
    STATE.modes_on = before[1] and not modes
    try:
        yield
    finally:
        STATE.subclasses, STATE.modes_on = before


# --- which arguments take over --------------------------------------------------------------------------------------

_TAKES: dict[type, bool] = {Tensor: False}
PLAIN = {Tensor, int, float, bool, complex, str, type(None)}  # classes that need not be asked


def takes_over(kind: type) -> bool:
    """Whether a class has a `__torch_function__` that is to be asked."""
    found = _TAKES.get(kind)
    if found is None:
        own = getattr(kind, "__torch_function__", None)
        inside = issubclass(kind, Tensor) and kind.__module__.startswith("facula.")
        found = _TAKES[kind] = own is not None and own is not disabled and not inside
    return found


def overloaded(args: Iterable[Any]) -> list[Any]:
    """The arguments that take over, one of each type, subclasses before their bases."""
    found: list[Any] = []
    for x in args:
        if x.__class__ is Tensor:
            continue
        if isinstance(x, (tuple, list)) and not takes_over(type(x)):
            parts = [p for p in x if takes_over(type(p))]
        elif takes_over(type(x)):
            parts = [x]
        else:
            continue
        for p in parts:
            if any(type(p) is type(o) for o in found):
                continue
            place = next((i for i, o in enumerate(found) if issubclass(type(p), type(o))), len(found))
            found.insert(place, p)
    return found


def dispatch(public: Any, relevant: list, args: tuple, kwargs: dict, refuse: bool = True) -> Any:
    """Ask the innermost mode, then the arguments; TypeError (or NotImplemented) where none of them does it."""
    kinds = tuple(type(x) for x in relevant)
    mode = None
    if STATE.modes and STATE.modes_on:
        mode, before = STATE.modes[-1], STATE.modes
        STATE.modes = before[:-1]
        try:
            made = mode.__torch_function__(public, kinds, args, kwargs)
        finally:
            STATE.modes = before
        if made is not NotImplemented:
            return made
    for x in relevant:
        made = type(x).__torch_function__(public, kinds, args, kwargs)
        if made is not NotImplemented:
            return made
    if not refuse:
        return NotImplemented
    title = f"{getattr(public, '__module__', None) or 'torch'}.{getattr(public, '__name__', public)}"
    asked = [f"  - tensor subclass {k}" for k in kinds] + ([f"  - mode object {mode}"] if mode is not None else [])
    raise TypeError(
        f"Multiple dispatch failed for '{title.replace('facula', 'torch')}'; all __torch_function__ handlers returned "
        "NotImplemented:\n\n" + "\n".join(asked)
    )


def called(entry: Any, args: tuple, kwargs: dict) -> Any:
    """What an installed function does: it is taken over, or does what it did, which is `original`."""
    public, original, by_mode_alone = entry
    if LOCAL.autocast is not None and (casting := CASTS.get(public)) is not None:
        run = casting(public, args, kwargs)
        if run is not None:
            return run(original, args, kwargs)
    if not kwargs and not STATE.modes:
        for x in args:
            if x.__class__ not in PLAIN:
                break
        else:
            return original(*args)
    modes = STATE.modes and STATE.modes_on
    relevant: list = []
    if STATE.subclasses and not by_mode_alone:
        relevant = overloaded([*args, *kwargs.values()] if kwargs else args)
    if relevant or modes:
        # Of Python's operators the other operand's class may know what to do.
        return dispatch(public, relevant, args, kwargs, refuse=original.__name__ not in OPERATOR)
    return original(*args, **kwargs)


def default(cls: type, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
    """`Tensor.__torch_function__`: the function itself; tensors that it returns get the subclass."""
    if not all(issubclass(cls, t) for t in types):
        return NotImplemented
    with without():
        made = func(*args, **(kwargs or {}))
    return made if func in nowrap() else converted(made, cls)


def nowrap() -> tuple:
    """The functions whose results stay as they are."""
    return tuple(vars(Tensor)[name].__get__ for name in ("_base", "grad"))


def converted(made: Any, cls: type) -> Any:
    """A result with `cls` as the class of its tensors."""
    if cls is Tensor:
        return made
    if isinstance(made, Tensor) and not isinstance(made, cls):
        return made.as_subclass(cls)  # type: ignore[attr-defined]
    if isinstance(made, (tuple, list)):
        parts = [converted(x, cls) for x in made]
        return type(made)(*parts) if hasattr(made, "_fields") else type(made)(parts)
    return made


# --- installing -----------------------------------------------------------------------------------------------------

CASTS: dict[Any, Callable] = {}  # amp: what finds out how autocast runs a function
PLACES = ("", "nn.functional", "linalg", "fft", "special", "signal.windows")
# Of the public functions: those that are no business of tensors, and those that modes alone see.
NEVER = frozenset(
    """are_deterministic_algorithms_enabled compile finfo get_default_device get_default_dtype
    get_deterministic_debug_mode get_float32_matmul_precision get_num_interop_threads get_num_threads get_printoptions
    get_rng_state iinfo initial_seed is_anomaly_check_nan_enabled is_anomaly_enabled
    is_deterministic_algorithms_warn_only_enabled is_grad_enabled is_inference_mode_enabled is_storage is_tensor
    is_warn_always_enabled load manual_seed no_grad numpy_view number promote_types result_type can_cast save seed
    set_anomaly_enabled set_default_device set_default_dtype set_default_tensor_type set_deterministic_debug_mode
    set_float32_matmul_precision set_flush_denormal set_num_interop_threads set_num_threads set_printoptions
    set_rng_state set_warn_always typename use_deterministic_algorithms vmap zeros_of fill_values sum_to row_dims
    getitem setitem broadcast_shapes where_nonzero""".split()
)
CREATION = frozenset(
    """arange as_tensor asarray bartlett_window blackman_window empty empty_permuted empty_strided eye frombuffer
    from_dlpack from_file from_numpy full hamming_window hann_window kaiser_window linspace logspace normal ones rand
    randint randn randperm range scalar_tensor sparse_coo_tensor tensor tril_indices triu_indices zeros""".split()
)
# Methods that stay the record's own.
OWN = frozenset(
    """__class__ __delattr__ __dir__ __getattribute__ __getstate__ __hash__ __init__ __init_subclass__ __new__
    __reduce__ __reduce_ex__ __setattr__ __setstate__ __sizeof__ __subclasshook__ __torch_function__ _is_view
    _make_subclass _make_wrapper_subclass as_subclass""".split()
)
# The method that a Python operator counts as.
OPERATOR = {
    "__add__": "add", "__radd__": "add", "__iadd__": "add_", "__sub__": "sub", "__isub__": "sub_", "__mul__": "mul",
    "__rmul__": "mul", "__imul__": "mul_", "__truediv__": "div", "__itruediv__": "div_", "__pow__": "pow",
    "__neg__": "neg", "__matmul__": "matmul", "__mod__": "remainder", "__lt__": "lt", "__le__": "le", "__gt__": "gt",
    "__ge__": "ge", "__abs__": "abs",
}  # fmt: skip
INSTALLED: dict[types.CodeType, list] = {}  # by the code that functions had before: (function, its former self)
WATCHED: dict[Any, Any] = {}  # while a profiler watches: what now does what each function did (profiler/watching.py)
_DONE: set[Any] = set()
STATE_OF_ALL = {"installed": False}
_LOCK = lasting_lock()


def overridable() -> dict[str, dict[str, Any]]:
    """The public functions by the place that PyTorch has them in; methods and attributes under "Tensor"."""
    found: dict[str, dict[str, Any]] = {}
    for place in PLACES:
        name = f"facula.{place}".rstrip(".")
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError:
            continue  # not there yet
        found[place] = {
            n: f
            for n in getattr(module, "__all__", dir(module))
            if n not in NEVER and isinstance(f := getattr(module, n, None), types.FunctionType)
        }
    found["Tensor"] = {n: f for n, f in vars(Tensor).items() if n not in OWN}
    return found


def install() -> None:
    """Have all public functions ask first; done once."""
    with _LOCK:
        if STATE_OF_ALL["installed"]:
            return
        STATE_OF_ALL["installed"] = True
        groups = overridable()
        methods = groups.pop("Tensor")
        for place in groups.values():
            for name, function in place.items():
                _swap(function, function, name in CREATION)
        for name, value in methods.items():
            if isinstance(value, types.FunctionType):
                public = methods.get(OPERATOR.get(name, name), value)
                _swap(value, public, False)
            elif isinstance(value, property):
                for accessor, get in (("fget", "__get__"), ("fset", "__set__")):
                    function = getattr(value, accessor)
                    if isinstance(function, types.FunctionType):
                        _swap(function, getattr(value, get), False)


def install_casts(casts: dict[Any, Callable]) -> None:
    """Have these functions, and the methods that are the same, convert their operands under autocast."""
    CASTS.update(casts)
    methods = vars(Tensor)
    with _LOCK:
        for function in casts:
            operator = OPERATOR.get(function.__name__)
            _swap(function, function if operator is None else methods[operator], False)


def _swap(function: types.FunctionType, public: Any, by_mode_alone: bool) -> None:
    """Give a function code that asks first; what it had before goes on under another object."""
    if function in _DONE:
        return
    _DONE.add(function)
    signature: Any = function
    if not hasattr(function, "__signature__"):
        signature.__signature__ = inspect.signature(WATCHED.get(function, function))
    function = WATCHED.get(function, function)
    code = function.__code__
    original = twin(function)
    function.__defaults__ = function.__kwdefaults__ = None
    function.__code__ = asking(code, called, (public, original, by_mode_alone))
    INSTALLED.setdefault(code, []).append((signature, original))


def twin(function: types.FunctionType) -> types.FunctionType:
    """Another function that does, and closes over, the same."""
    other = types.FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    other.__kwdefaults__ = function.__kwdefaults__
    other.__dict__.update(function.__dict__)
    return other


def asking(code: types.CodeType, called: Callable, entry: Any) -> types.CodeType:
    """Code that returns `called(entry, args, kwargs)`, for a function whose code is `code`."""
    constants = {"@called": called, "@entry": entry}
    template = _asking(code.co_freevars)
    return template.replace(
        co_consts=tuple([constants.get(c, c) if isinstance(c, str) else c for c in template.co_consts]),
        co_name=code.co_name, co_qualname=code.co_qualname, co_filename=code.co_filename,
        co_firstlineno=code.co_firstlineno,
    )  # fmt: skip


_ASKING: dict[tuple[str, ...], types.CodeType] = {}


def _asking(cells: tuple[str, ...]) -> types.CodeType:
    """The code that asks first, for a function that closes over these names (its cells stay where they are)."""
    found = _ASKING.get(cells)
    if found is None:
        names = "".join(f"        {name}\n" for name in cells)
        text = f"def make({', '.join(cells)}):\n    def asking(*args, **kwargs):\n"
        text += "        return '@called'('@entry', args, kwargs)\n" + names + "    return asking\n"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            outer = compile(text, __file__, "exec").co_consts[0]
        found = next(c for c in outer.co_consts if isinstance(c, types.CodeType))
        if found.co_freevars != cells:
            raise AssertionError(f"cells {found.co_freevars} for {cells}")
        _ASKING[cells] = found
    return found


def foreign(*operands: Any) -> Any:
    """The result of the public call that met an operand of a foreign class; NotImplemented where none takes over."""
    if not (STATE.subclasses and any(not isinstance(x, Tensor) and takes_over(type(x)) for x in operands)):
        return NotImplemented
    install()
    frame: Any = sys._getframe(1)
    outermost: Any = None
    public: Any = None
    while frame is not None and frame.f_globals.get("__name__", "").startswith("facula."):
        own = _function_of(frame)
        if own is not None:
            outermost, public = frame, own
        frame = frame.f_back
    if public is None:
        return NotImplemented
    code, values = outermost.f_code, outermost.f_locals
    count = code.co_argcount
    named = {n: values[n] for n in code.co_varnames[count : count + code.co_kwonlyargcount]}
    where = inspect.getargvalues(outermost)
    more = values[where.varargs] if where.varargs else ()
    return public(*[values[n] for n in code.co_varnames[:count]], *more, **named, **values.get(where.keywords, {}))


def _function_of(frame: Any) -> Any:
    """The public function that runs in a frame, or None; functions of one text differ in what they close over."""
    for function, original in INSTALLED.get(frame.f_code, ()):
        cells = zip(frame.f_code.co_freevars, original.__closure__ or ())
        if all(frame.f_locals.get(name) is cell.cell_contents for name, cell in cells):
            return function
    return None
