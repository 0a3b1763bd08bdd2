"""The restricted unpickler: makes tensors and plain Python values, and calls only what a table names."""

import importlib
import pickle
import re
import struct
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

from facula.core.device import device
from facula.core.shape import Size
from facula.core.tensor import Tensor

from .tensors import (
    LOADING,
    NAMES,
    REBUILDERS,
    _get_layout,
    _rebuild_from_type_v2,
    integers,
    parameter_class,
    text_of,
    torch_name,
    with_state,
)

__all__ = [
    "OPCODES",
    "RestrictedUnpickler",
    "add_safe_globals",
    "clear_safe_globals",
    "get_safe_globals",
    "safe_globals",
]

_SAFE: set = set()  # what the user added: callables, or pairs (callable, full name)
BLOCKED = {"sys", "os", "posix", "nt"}  # never, whatever the user added


def add_safe_globals(safe_globals: list) -> None:
    """Let `load(..., weights_only=True)` use these classes and functions.

    Parameters
    ----------
    safe_globals : list
        Classes or functions, or pairs of one and the full name under which checkpoints mention it.

    Examples
    --------
    >>> from fractions import Fraction
    >>> with safe_globals([Fraction]):
    ...     Fraction in get_safe_globals()
    True
    """
    _SAFE.update(safe_globals)


def get_safe_globals() -> list:
    """What was added by `add_safe_globals`.

    >>> get_safe_globals()
    []
    """
    return list(_SAFE)


def clear_safe_globals() -> None:
    """Forget what was added by `add_safe_globals`."""
    _SAFE.clear()


@contextmanager
def safe_globals(safe_globals: list):
    """Within a `with` block, do as `add_safe_globals`."""
    added = set(safe_globals) - _SAFE
    _SAFE.update(added)
    try:
        yield
    finally:
        _SAFE.difference_update(added)


def _added() -> dict[str, Any]:
    """Full name -> what the user allowed."""
    result = {}
    for entry in _SAFE:
        if isinstance(entry, tuple):
            if len(entry) != 2:
                raise ValueError(
                    "Expected tuple of length 2 (global, str of callable full path), but got tuple of length: "
                    f"{len(entry)}"
                )
            if type(entry[1]) is not str:
                raise TypeError(
                    f"Expected second item in tuple to be str of callable full path, but got: {type(entry[1])}"
                )
            result[entry[1]] = entry[0]
        else:
            result[f"{entry.__module__}.{entry.__qualname__}"] = entry
            module, name = torch_name(entry.__module__, entry.__qualname__, entry)
            result[f"{module}.{name}"] = entry
    return result


def _hashable(key):
    """A key of a dict or set: no deep or repetitive tuples, whose hash would take the whole stack or forever.

    Of numbers beyond 64 bits only some are taken, because any number of them can be found that have the same hash.
    """
    if type(key) is int and not -(1 << 63) <= key < 1 << 64:
        LOADING.large_keys += 1
        if LOADING.large_keys > 1000:
            raise pickle.UnpicklingError("more than 1000 keys are numbers of more than 64 bits")
    level, items = [key], 0
    for _ in range(50):
        level = [tuple_ for tuple_ in level if type(tuple_) is tuple]
        items += sum(map(len, level))
        if not level:
            return key
        if items > 100_000:
            break
        level = [item for tuple_ in level for item in tuple_]
    raise pickle.UnpicklingError("a key is a tuple nested too deeply")


def _call_encode(text, encoding="utf-8"):
    if type(text) is not str or encoding not in ("latin1", "latin-1", "utf-8", "ascii"):
        raise pickle.UnpicklingError("only strings can be encoded, as latin1 or utf-8")
    return text.encode(encoding)


def _call_bytearray(data=b"", encoding="latin-1"):
    return bytearray(data if type(data) is bytes else _call_encode(data, encoding))


def _call_mapping(kind: type):
    def call(*args):
        items = args[0].items() if args and isinstance(args[0], dict) else args[0] if args else ()
        return kind({_hashable(key): value for key, value in items})

    return call


def _call_from_type(function, new_type, args, state):
    if all(function is not allowed_function for allowed_function in REBUILDERS.values()):
        raise pickle.UnpicklingError(f"Trying to call reduce for unrecognized function {function}")
    if not (new_type is Tensor or new_type is parameter_class() or _is_added(new_type)):
        raise pickle.UnpicklingError(
            "Can only create new object for nn.Parameter or classes allowlisted via `add_safe_globals` but got "
            f"{new_type}"
        )
    return _rebuild_from_type_v2(function, new_type, args, state)


# What the restricted unpickler may call, and how: {what it is: what is called in its stead}.
CALLS: dict[Any, Callable] = {function: function for function in REBUILDERS.values()}
CALLS |= {
    _rebuild_from_type_v2: _call_from_type,
    _get_layout: _get_layout,
    OrderedDict: _call_mapping(OrderedDict),
    Counter: _call_mapping(Counter),
    Size: lambda sizes: Size(integers(sizes, "Size")),
    device: lambda kind, index=None: device(str(kind), index),
    complex: lambda real, imag: complex(real, imag),
    set: lambda items: {_hashable(item) for item in items},
    bytearray: _call_bytearray,
    bytes: lambda: b"",  # how b"" is pickled; other bytes are encoded text
}
_encode = importlib.import_module("_codecs").encode
CALLS[_encode] = _call_encode
SAFE_NAMES: dict[str, Any] = {
    f"{module}.{name}": value
    for (module, name), value in NAMES.items()
    if name not in ("_load_from_bytes", "Generator", "_rebuild_device_tensor_from_numpy", "_rebuild_xla_tensor")
    and module != "torch.return_types"
}
SAFE_NAMES |= {
    "collections.OrderedDict": OrderedDict, "collections.Counter": Counter, "_codecs.encode": _encode,
    "builtins.bytes": bytes, "builtins.bytearray": bytearray, "builtins.set": set, "builtins.complex": complex,
}  # fmt: skip


def allowed(module: str, name: str):
    """What the restricted unpickler gets for a name; UnpicklingError where it is not allowed."""
    module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
    full = f"{module}.{name}"
    if module in BLOCKED:
        raise pickle.UnpicklingError(f"Trying to load unsupported GLOBAL {full} whose module {module} is blocked.")
    if module.partition(".")[0] == "facula":
        full = "torch" + full[len("facula") :]
        full = re.sub(r"^torch\.serialization\.tensors\.(?=_rebuild)", "torch._utils.", full)
    if full in SAFE_NAMES:
        return SAFE_NAMES[full]
    if full == "torch.nn.parameter.Parameter":
        return parameter_class()
    added = _added()
    for spelling in (f"{module}.{name}", full):
        if spelling in added:
            return added[spelling]
    if re.fullmatch(r"torch\.(u?int\d+|float\d\w*|complex32|q\w+\d+|bits\d\w*)|torch\.\w+Storage", full):
        raise pickle.UnpicklingError(f"facula has no {full}: GLOBAL {full} was not an allowed global by default.")
    full = full.removeprefix("builtins.")
    raise pickle.UnpicklingError(
        f"Unsupported global: GLOBAL {full} was not an allowed global by default. Please use "
        f"`torch.serialization.add_safe_globals([{full}])` or the `torch.serialization.safe_globals([{full}])` context "
        "manager to allowlist this global if you trust this class/function."
    )


class RestrictedUnpickler:
    """Executes the instructions of a pickle that are in `OPCODES`; names come from `allowed`, calls from `CALLS`."""

    def __init__(self, data: Any, persistent_load: Callable, position: int = 0):
        self.data = data  # bytes or an mmap; the pickle begins at `position`
        self.position = position
        self.persistent_load = persistent_load
        self.stack: list = []
        self.marks: list[list] = []
        self.memo: dict[int, Any] = {}
        self.outside = False
        self.allowance = 10 * len(data) + 1_000_000  # elements that calls may copy, so that small files stay small

    def load(self):
        LOADING.large_keys = 0
        try:
            while True:
                code = self.take(1)[0]
                if code == pickle.STOP[0]:
                    return self.stack.pop()
                step = OPCODES.get(code)
                if step is None:
                    raise pickle.UnpicklingError(f"Unsupported operand {code}")
                step(self)
        except (
            LookupError,
            TypeError,
            ValueError,
            AttributeError,
            OverflowError,
            RecursionError,
            struct.error,
        ) as error:
            if self.outside:  # not the pickle's fault but the user's map_location's
                raise
            raise pickle.UnpicklingError(
                f"the pickle is damaged: {type(error).__name__} {error} at byte {self.position} of {len(self.data)}"
            ) from error

    def take(self, count: int) -> bytes:
        end = self.position + count
        if count < 0 or end > len(self.data):
            raise pickle.UnpicklingError(
                f"the pickle ends early: {count} bytes wanted at {self.position} of {len(self.data)}"
            )
        part = self.data[self.position : end]
        self.position = end
        return part

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> str:
        end = self.data.find(b"\n", self.position)
        if end < 0:
            raise pickle.UnpicklingError("the pickle ends early, within a name")
        return self.take(end + 1 - self.position)[:-1].decode()

    def marked(self) -> list:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def push_global(self):
        self.stack.append(allowed(self.line(), self.line()))

    def push_stack_global(self):
        name, module = self.stack.pop(), self.stack.pop()
        if type(name) is not str or type(module) is not str:
            raise pickle.UnpicklingError("STACK_GLOBAL requires str")
        self.stack.append(allowed(module, name))

    def reduce(self):
        args, function = self.stack.pop(), self.stack[-1]
        if type(args) is not tuple:
            raise pickle.UnpicklingError("REDUCE needs a tuple of arguments")
        call = _lookup(CALLS, function)
        if call is None and _is_added(function):
            call = function
        if call is None and isinstance(function, type) and function is parameter_class():
            call = _new_parameter
        if call is None:
            raise pickle.UnpicklingError(f"Trying to call reduce for unrecognized function {function}")
        self.spend(args)
        self.stack[-1] = call(*args)

    def spend(self, parts) -> None:
        """Count what is about to be copied: a short pickle that copies one thing a million times is refused."""
        self.allowance -= sum(len(part) for part in parts if isinstance(part, str | bytes | list | tuple | dict))
        if self.allowance < 0:
            raise pickle.UnpicklingError("the pickle copies far more than it holds")

    def new_object(self):
        args, cls = self.stack.pop(), self.stack.pop()
        if isinstance(cls, type) and issubclass(cls, Tensor) and cls is parameter_class():
            self.stack.append(_new_parameter(*args))
        elif _is_added(cls):
            self.stack.append(cls.__new__(cls, *args))
        elif any(cls is kind for kind in (OrderedDict, Counter, set)) and not args:
            self.stack.append(cls())
        else:
            raise pickle.UnpicklingError(
                "Can only create new object for nn.Parameter or classes allowlisted via `add_safe_globals` but got "
                f"{cls}"
            )

    def build(self):
        state, made = self.stack.pop(), self.stack[-1]
        kind = type(made)
        self.spend((state, *state) if isinstance(state, tuple) else (state,))
        if kind is OrderedDict:
            if type(state) is not dict:
                raise pickle.UnpicklingError("the attributes of an OrderedDict must be a dict")
            made.__dict__.update(state)
        elif isinstance(made, Tensor):
            with_state(made, state)
        elif _is_added(kind):
            if hasattr(made, "__setstate__"):
                made.__setstate__(state)
            else:
                state, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
                if state:
                    made.__dict__.update(state)
                for name, value in (slots or {}).items():
                    setattr(made, name, value)
        else:
            raise pickle.UnpicklingError(
                "Can only build Tensor, Parameter, OrderedDict or types allowlisted via `add_safe_globals`, but got "
                f"{kind}"
            )

    def extend(self, items: list):
        if type(self.stack[-1]) is not list:
            raise pickle.UnpicklingError(f"Can only append to lists, but got {type(self.stack[-1])}")
        self.stack[-1].extend(items)

    def update(self, items: list):
        target = self.stack[-1]
        if type(target) not in (dict, OrderedDict, Counter):
            raise pickle.UnpicklingError(
                f"Can only SETITEMS for dict, collections.OrderedDict, collections.Counter, but got {type(target)}"
            )
        for i in range(0, len(items), 2):
            target[_hashable(items[i])] = items[i + 1]

    def add_items(self):
        items, target = self.marked(), self.stack[-1]
        if type(target) is not set:
            raise pickle.UnpicklingError(f"Can only add items to sets, but got {type(target)}")
        target.update(map(_hashable, items))

    def push_persistent(self):
        pid = self.stack.pop()
        if type(pid) is not tuple:
            raise pickle.UnpicklingError(f"persistent_load id must be tuple or int, but got {type(pid)}")
        if not pid or text_of(pid[0]) != "storage":
            raise pickle.UnpicklingError(
                f"Only persistent_load of storage is allowed, but got {type(pid[0]) if pid else pid}"
            )
        self.outside = True
        self.stack.append(self.persistent_load(pid))
        self.outside = False

    def push_mark(self):
        self.marks.append(self.stack)
        self.stack = []

    def push_top(self, count: int):
        if len(self.stack) < count:
            raise pickle.UnpicklingError("the pickle is damaged: too little on the stack")
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def push_text(self, form: str):
        self.stack.append(str(self.take(self.number(form)), "utf-8", "surrogatepass"))

    def push_long(self, form: str):
        self.stack.append(int.from_bytes(self.take(self.number(form)), "little", signed=True))


def _lookup(table: dict, key):
    try:
        return table.get(key)
    except TypeError:  # it cannot be hashed, hence is no key
        return None


def _is_added(value) -> bool:
    return any(value is found for found in _added().values())


def _new_parameter(data=None, requires_grad=True):
    if data is not None and not isinstance(data, Tensor):
        raise pickle.UnpicklingError(f"a Parameter holds a tensor, got {type(data)}")
    return parameter_class()(data, requires_grad)


def _pushes(make: Callable) -> Callable:
    def step(machine):
        value = make(machine)  # first: it may put another stack in place
        machine.stack.append(value)

    return step


_Machine = RestrictedUnpickler
OPCODES: dict[int, Callable] = {
    getattr(pickle, name)[0]: step
    for name, step in {
        "PROTO": lambda m: m.take(1),
        "FRAME": lambda m: m.take(8),
        "GLOBAL": _Machine.push_global,
        "STACK_GLOBAL": _Machine.push_stack_global,
        "REDUCE": _Machine.reduce,
        "NEWOBJ": _Machine.new_object,
        "BUILD": _Machine.build,
        "APPEND": lambda m: m.extend([m.stack.pop()]),
        "APPENDS": lambda m: m.extend(m.marked()),
        "SETITEM": lambda m: m.update([m.stack.pop(-2), m.stack.pop()]),
        "SETITEMS": lambda m: m.update(m.marked()),
        "ADDITEMS": _Machine.add_items,
        "MARK": _Machine.push_mark,
        "POP": lambda m: m.stack.pop(),
        "POP_MARK": lambda m: m.marked(),
        "TUPLE": _pushes(lambda m: tuple(m.marked())),
        "TUPLE1": lambda m: m.push_top(1),
        "TUPLE2": lambda m: m.push_top(2),
        "TUPLE3": lambda m: m.push_top(3),
        "NONE": _pushes(lambda m: None),
        "NEWFALSE": _pushes(lambda m: False),
        "NEWTRUE": _pushes(lambda m: True),
        "EMPTY_TUPLE": _pushes(lambda m: ()),
        "EMPTY_LIST": _pushes(lambda m: []),
        "EMPTY_DICT": _pushes(lambda m: {}),
        "EMPTY_SET": _pushes(lambda m: set()),
        "BININT": _pushes(lambda m: m.number("<i")),
        "BININT1": _pushes(lambda m: m.number("<B")),
        "BININT2": _pushes(lambda m: m.number("<H")),
        "BINFLOAT": _pushes(lambda m: m.number(">d")),
        "LONG1": lambda m: m.push_long("<B"),
        "LONG4": lambda m: m.push_long("<I"),
        "BINUNICODE": lambda m: m.push_text("<I"),
        "SHORT_BINUNICODE": lambda m: m.push_text("<B"),
        "BINUNICODE8": lambda m: m.push_text("<Q"),
        "SHORT_BINSTRING": _pushes(lambda m: m.take(m.number("<B")).decode("utf-8")),
        "SHORT_BINBYTES": _pushes(lambda m: m.take(m.number("<B"))),
        "BINBYTES": _pushes(lambda m: m.take(m.number("<I"))),
        "BINBYTES8": _pushes(lambda m: m.take(m.number("<Q"))),
        "BYTEARRAY8": _pushes(lambda m: bytearray(m.take(m.number("<Q")))),
        "BINPERSID": _Machine.push_persistent,
        "BINGET": _pushes(lambda m: m.memo[m.number("<B")]),
        "LONG_BINGET": _pushes(lambda m: m.memo[m.number("<I")]),
        "BINPUT": lambda m: m.memo.__setitem__(m.number("<B"), m.stack[-1]),
        "LONG_BINPUT": lambda m: m.memo.__setitem__(m.number("<I"), m.stack[-1]),
        "MEMOIZE": lambda m: m.memo.__setitem__(len(m.memo), m.stack[-1]),
    }.items()
}
