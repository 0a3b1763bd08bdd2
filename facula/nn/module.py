"""The contract of modules: members, hooks, state, conversion, printing. What a layer computes is in the layer files.

Parameters, buffers and submodules live in tables (`_parameters`, `_buffers`, `_modules`). Each table also mirrors its
members in the module's `__dict__`, so that `self.weight` is a plain attribute (45 ns) and not a failed look-up
followed by `__getattr__` (590 ns). A call without hooks costs one test.
"""

import inspect
import warnings
import weakref
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from itertools import chain
from operator import methodcaller
from typing import Any, TypeVar

from facula.autograd import no_grad
from facula.core.device import device as Device
from facula.core.dtype import dtype as DType
from facula.core.tensor import Tensor
from facula.errors import fail, noted
from facula.operators import empty_like, many
from facula.utils.hooks import RemovableHandle

from .hooks import BackwardHook, _WrappedHook
from .parameter import Buffer, Parameter, is_lazy

__all__ = [
    "Module",
    "register_module_backward_hook",
    "register_module_buffer_registration_hook",
    "register_module_forward_hook",
    "register_module_forward_pre_hook",
    "register_module_full_backward_hook",
    "register_module_full_backward_pre_hook",
    "register_module_module_registration_hook",
    "register_module_parameter_registration_hook",
]


def typename(value: Any) -> str:
    """What `torch.typename` says: the legacy name of a tensor type, else the qualified name of the class."""
    if isinstance(value, Tensor) and type(value).__name__ in ("Tensor", "Parameter"):
        return value.type()
    kind = value if isinstance(value, type) else type(value)
    module = "" if kind.__module__ in ("builtins", "__builtin__") else kind.__module__ + "."
    return module + kind.__qualname__


# ---------------------------------------------------------------------------------------------------------------------
# Tables


class Members(dict):
    """Parameters, buffers or submodules by name; every change is mirrored in the `__dict__` of the module."""

    __slots__ = ("__weakref__", "owner")

    def __init__(self, owner: "Module", items=()):
        self.owner = weakref.ref(owner)
        self.update(items)

    def __setitem__(self, name, value):
        dict.__setitem__(self, name, value)
        module = self.owner()
        if module is not None and not hasattr(type(module), name):  # attributes of the class go first
            module.__dict__[name] = value

    def __delitem__(self, name):
        dict.__delitem__(self, name)
        module = self.owner()
        if module is not None:
            module.__dict__.pop(name, None)

    # dict's own versions of these would bypass the two methods above
    pop = MutableMapping.pop
    clear = MutableMapping.clear
    update = MutableMapping.update
    setdefault = MutableMapping.setdefault

    def popitem(self):
        name = next(reversed(self))
        return name, self.pop(name)

    def __ior__(self, other):
        self.update(other)
        return self

    def copy(self):
        return dict(self)

    __copy__ = copy

    def __reduce_ex__(self, protocol):
        return dict, (), None, None, iter(self.items())


class Hooks(OrderedDict):
    """Hooks by the id of their handle; an entry raises the flag `_hooked` of the module, which its calls test."""

    def __init__(self, owner: "Module", items=()):
        super().__init__()
        self.owner = weakref.ref(owner)
        self.update(items)

    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        module = self.owner()
        if module is not None:
            module.__dict__["_hooked"] = True

    def copy(self):
        return OrderedDict(self)

    __copy__ = copy

    def __reduce_ex__(self, protocol):
        return OrderedDict, (), None, None, iter(self.items())


MEMBERS = ("_parameters", "_buffers", "_modules")
CALL_HOOKS = ("_backward_pre_hooks", "_backward_hooks", "_forward_hooks", "_forward_pre_hooks")
OTHER_HOOKS = (
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks_with_kwargs",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)
EXTRA_STATE = "_extra_state"


class GlobalHooks:
    """Hooks of all modules; a call tests `active`, which an entry raises and the slow path lowers."""

    def __init__(self):
        self.active = False
        self.backward_pre: OrderedDict[int, Callable] = OrderedDict()
        self.backward: OrderedDict[int, Callable] = OrderedDict()
        self.backward_is_full: bool | None = None
        self.forward_pre: OrderedDict[int, Callable] = OrderedDict()
        self.forward: OrderedDict[int, Callable] = OrderedDict()
        self.forward_with_kwargs: OrderedDict[int, bool] = OrderedDict()
        self.forward_always: OrderedDict[int, bool] = OrderedDict()
        self.buffer: OrderedDict[int, Callable] = OrderedDict()  # at registration
        self.module: OrderedDict[int, Callable] = OrderedDict()
        self.parameter: OrderedDict[int, Callable] = OrderedDict()

    def any(self) -> bool:
        return bool(self.backward_pre or self.backward or self.forward_pre or self.forward)


GLOBAL = GlobalHooks()


def _add(
    table: OrderedDict, hook: Callable, flags: Sequence[tuple[dict, bool]] = (), prepend: bool = False
) -> RemovableHandle:
    """Enter `hook` in `table`; `flags` is a list of (table, whether to enter True there)."""
    handle = RemovableHandle(table, extra_dict=[extra for extra, _ in flags])
    table[handle.id] = hook
    for extra, on in flags:
        if on:
            extra[handle.id] = True
    if prepend:
        table.move_to_end(handle.id, last=False)
    return handle


def _check_full(current: bool | None, full: bool, where: str) -> bool:
    if current is (not full):
        fail(
            RuntimeError,
            f"Cannot use both regular backward hooks and full backward hooks {where}. Please use only one of them.",
        )
    return full


def register_module_buffer_registration_hook(hook: Callable[..., None]) -> RemovableHandle:
    """Call `hook(module, name, buffer)` when any module registers a buffer; a result that is not None replaces it."""
    return _add(GLOBAL.buffer, hook)


def register_module_module_registration_hook(hook: Callable[..., None]) -> RemovableHandle:
    """Call `hook(module, name, submodule)` whenever any module registers a submodule; a result replaces it."""
    return _add(GLOBAL.module, hook)


def register_module_parameter_registration_hook(hook: Callable[..., None]) -> RemovableHandle:
    """Call `hook(module, name, parameter)` whenever any module registers a parameter; a result replaces it."""
    return _add(GLOBAL.parameter, hook)


def register_module_forward_pre_hook(hook: Callable[..., None]) -> RemovableHandle:
    """Call `hook(module, args)` before the forward of every module; a result that is not None replaces `args`."""
    GLOBAL.active = True
    return _add(GLOBAL.forward_pre, hook)


def register_module_forward_hook(
    hook: Callable[..., None], *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Call `hook(module, args, output)` after every module's forward; a result that is not None replaces `output`."""
    GLOBAL.active = True
    return _add(GLOBAL.forward, hook, [(GLOBAL.forward_always, always_call), (GLOBAL.forward_with_kwargs, with_kwargs)])


def register_module_backward_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """The old form of `register_module_full_backward_hook`: sees the gradients of the last operation alone."""
    GLOBAL.backward_is_full = _check_full(GLOBAL.backward_is_full, False, "as a global Module hook")
    GLOBAL.active = True
    return _add(GLOBAL.backward, hook)


def register_module_full_backward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call `hook(module, grad_output)` before the backward of every module; a result replaces `grad_output`."""
    GLOBAL.active = True
    return _add(GLOBAL.backward_pre, hook)


def register_module_full_backward_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call `hook(module, grad_input, grad_output)` after every module's backward; a result replaces `grad_input`."""
    GLOBAL.backward_is_full = _check_full(GLOBAL.backward_is_full, True, "as a global Module hook")
    GLOBAL.active = True
    return _add(GLOBAL.backward, hook)


# ---------------------------------------------------------------------------------------------------------------------
# Module


class IncompatibleKeys(namedtuple("IncompatibleKeys", ["missing_keys", "unexpected_keys"])):
    """What `load_state_dict` returns."""

    __slots__ = ()

    def __repr__(self) -> str:
        return super().__repr__() if self.missing_keys or self.unexpected_keys else "<All keys matched successfully>"

    __str__ = __repr__


class Module:
    """Base class of all neural network modules.

    A subclass calls `super().__init__()`, assigns parameters and submodules as attributes, and defines `forward`;
    `module(x)` runs the hooks and `forward(x)`.

    Attributes
    ----------
    training : bool
        Whether the module is in training mode (`train`) or evaluation mode (`eval`).

    Examples
    --------
    >>> import facula as torch
    >>> class Model(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.layer = torch.nn.Linear(3, 2)
    ...
    ...     def forward(self, x):
    ...         return self.layer(x).relu()
    >>> model = Model()
    >>> model(torch.zeros(5, 3)).shape
    torch.Size([5, 2])
    >>> [name for name, _ in model.named_parameters()]
    ['layer.weight', 'layer.bias']
    """

    dump_patches: bool = False
    _version: int = 1  # kept in state dicts, for `_load_from_state_dict` of later versions
    call_super_init: bool = False
    _compiled_call_impl: Callable | None = None
    _hooked: bool = True  # whether a call has more to do than `forward`; a module without __init__ has

    T_destination = TypeVar("T_destination", bound=dict[str, Any])

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, "Module | None"]
    _non_persistent_buffers_set: set[str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not self.call_super_init and (args or kwargs):
            got = f"an unexpected keyword argument '{next(iter(kwargs))}'" if kwargs else None
            many = f"takes 1 positional argument but {len(args) + 1} were given"
            fail(TypeError, f"{type(self).__name__}.__init__() " + (f"got {got}" if got else many))
        own = self.__dict__
        own["training"] = True
        own["_hooked"] = False
        own["_non_persistent_buffers_set"] = set()
        own["_is_full_backward_hook"] = None
        for name in MEMBERS:
            own[name] = Members(self)
        for name in CALL_HOOKS:
            own[name] = Hooks(self)
        for name in OTHER_HOOKS:
            own[name] = OrderedDict()
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    def forward(self, *input: Any) -> Any:
        """What the module computes; every subclass defines it."""
        fail(NotImplementedError, f'Module [{type(self).__name__}] is missing the required "forward" function')

    # --- calls

    def __call__(self, *args, **kwargs) -> Any:
        if self._hooked or GLOBAL.active:
            return self._call_with_hooks(args, kwargs)
        try:
            return self.forward(*args, **kwargs)
        except Exception as error:  # costs nothing before
            noted(error)
            raise

    _call_impl = _wrapped_call_impl = __call__

    def compile(self, *args, **kwargs) -> None:
        """Accepted, with the arguments of `torch.compile`: calls stay eager, and mean the same."""

    def _call_with_hooks(self, args: tuple, kwargs: dict):
        if self._compiled_call_impl is not None:
            return self._compiled_call_impl(*args, **kwargs)
        if "_backward_hooks" not in self.__dict__:
            fail(
                AttributeError,
                f"'{type(self).__name__}' object has no attribute '_backward_hooks'",
                mend=f"call super().__init__() at the start of {type(self).__name__}.__init__",
            )
        GLOBAL.active = GLOBAL.any()
        self.__dict__["_hooked"] = hooked = any(self.__dict__[name] for name in CALL_HOOKS)
        if not (hooked or GLOBAL.active):
            return self.forward(*args, **kwargs)

        result = None
        called: set[int] = set()
        try:
            args, kwargs = self._run_forward_pre_hooks(args, kwargs)
            full, partial, pre = self._backward_hooks_of_call()
            around = BackwardHook(self, full, pre) if full or pre else None
            if around is not None:
                args = around.around_inputs(args)
            result = self.forward(*args, **kwargs)
            result = self._run_forward_hooks(args, kwargs, result, called)
            if around is not None:
                if not isinstance(result, (Tensor, tuple)):
                    warnings.warn(
                        "For backward hooks to be called, module output should be a Tensor or a tuple of Tensors but "
                        f"received {type(result)}",
                        stacklevel=3,
                    )
                result = around.around_outputs(result)
            if partial:
                self._hook_last_node(partial, args, result)
            return result
        except Exception as error:
            self._run_always_called(args, kwargs, result, called)
            noted(error)
            raise

    def _run_forward_pre_hooks(self, args, kwargs):
        for key, hook in (*GLOBAL.forward_pre.items(), *self._forward_pre_hooks.items()):
            if key in self._forward_pre_hooks_with_kwargs:
                new = hook(self, args, kwargs)
                if new is not None:
                    if not (isinstance(new, tuple) and len(new) == 2):
                        fail(
                            RuntimeError,
                            f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got {new}.",
                        )
                    args, kwargs = new
            else:
                new = hook(self, args)
                if new is not None:
                    args = new if isinstance(new, tuple) else (new,)
        return args, kwargs

    def _forward_hook(self, key, hook, args, kwargs, result):
        if key in self._forward_hooks_with_kwargs or key in GLOBAL.forward_with_kwargs:
            new = hook(self, args, kwargs, result)
        else:
            new = hook(self, args, result)
        return result if new is None else new

    def _run_forward_hooks(self, args, kwargs, result, called):
        for key, hook in (*GLOBAL.forward.items(), *self._forward_hooks.items()):
            if key in self._forward_hooks_always_called or key in GLOBAL.forward_always:
                called.add(key)
            result = self._forward_hook(key, hook, args, kwargs, result)
        return result

    def _run_always_called(self, args, kwargs, result, called):
        """After an error: the hooks with always_call that have not run yet; their own errors become warnings."""
        tables = (
            ("global module", GLOBAL.forward, GLOBAL.forward_always),
            ("module", self._forward_hooks, self._forward_hooks_always_called),
        )
        for label, hooks, always in tables:
            for key, hook in list(hooks.items()):
                if key in always and key not in called:
                    try:
                        result = self._forward_hook(key, hook, args, kwargs, result)
                    except Exception as error:
                        warnings.warn(
                            f"{label} forward hook with ``always_call=True`` raised an exception that was silenced as "
                            f"another error was raised in forward: {error}",
                            stacklevel=4,
                        )

    def _backward_hooks_of_call(self):
        sources = ((GLOBAL.backward_is_full, GLOBAL.backward), (self._is_full_backward_hook, self._backward_hooks))
        full = [hook for is_full, hooks in sources if is_full is True for hook in hooks.values()]
        partial = [hook for is_full, hooks in sources if is_full is False for hook in hooks.values()]
        return full, partial, [*GLOBAL.backward_pre.values(), *self._backward_pre_hooks.values()]

    def _hook_last_node(self, hooks, args, result):
        """Attach the old kind of backward hooks to the node that made the (first) result."""
        first = result
        while not isinstance(first, Tensor):
            first = next(v for v in first.values() if isinstance(v, Tensor)) if isinstance(first, dict) else first[0]
        node = first.grad_fn
        if node is None:
            return
        for hook in hooks:
            node.register_hook(_WrappedHook(hook, self))
        self._warn_partial_backward_hook(args, result, node)

    @staticmethod
    def _warn_partial_backward_hook(args, result, node):
        end = " Please use register_full_backward_hook to get the documented behavior."
        results = (result,) if isinstance(result, Tensor) else result
        inputs = (args,) if isinstance(args, Tensor) else args
        nodes = {r.grad_fn for r in results if isinstance(r, Tensor) and r.grad_fn is not None}
        if not (isinstance(results, tuple) and all(isinstance(r, Tensor) for r in results)):
            text = (
                "on a Module that does not return a single Tensor or a tuple of Tensors is deprecated and will be "
                "removed in "
                "future versions. This hook will be missing some of the grad_output." + end
            )
        elif not (isinstance(inputs, tuple) and all(isinstance(i, Tensor) for i in inputs)):
            text = (
                "on a Module that does not take as input a single Tensor or a tuple of Tensors is deprecated and will "
                "be "
                "removed in future versions. This hook will be missing some of the grad_input." + end
            )
        elif not nodes or (len(nodes) == 1 and node not in nodes):
            text = (
                "when outputs are nested in python data structure is deprecated and will be removed in future "
                "versions. This hook will be missing some grad_output."
            )
        elif len(nodes) > 1:
            text = (
                "when outputs are generated by different autograd Nodes is deprecated and will be removed in future "
                "versions. This hook will be missing some grad_output." + end
            )
        elif {i.grad_fn for i in inputs if i.grad_fn is not None} != {n[0] for n in node.next_functions}:
            text = (
                "when the forward contains multiple autograd Nodes is deprecated and will be removed in future "
                "versions. "
                "This hook will be missing some grad_input." + end
            )
        else:
            return
        start = "Using non-full backward hooks " if text.startswith("on") else "Using a non-full backward hook "
        warnings.warn(start + text, FutureWarning, stacklevel=4)

    # --- members

    def _check_name(self, kind: str, name: Any, table: str) -> None:
        if table not in self.__dict__:
            fail(
                AttributeError,
                f"cannot assign {kind} before Module.__init__() call",
                mend="call super().__init__() first",
            )
        if not isinstance(name, str):
            fail(TypeError, f"{kind} name should be a string. Got {typename(name)}")
        if "." in name:
            fail(KeyError, f'{kind} name can\'t contain "."' + (f", got: {name}" if kind == "module" else ""))
        if name == "":
            fail(KeyError, f'{kind} name can\'t be empty string ""')
        if name not in self.__dict__[table] and hasattr(self, name):
            fail(KeyError, f"attribute '{name}' already exists")

    @staticmethod
    def _run_registration_hooks(hooks: dict, module: "Module", name: str, value):
        for hook in hooks.values():
            new = hook(module, name, value)
            if new is not None:
                value = new
        return value

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is state but not a parameter; `persistent` ones are part of `state_dict`."""
        self._check_name("buffer", name, "_buffers")
        if tensor is not None and not isinstance(tensor, Tensor) and not hasattr(tensor, "__torch_function__"):
            fail(
                TypeError,
                f"cannot assign '{typename(tensor)}' object to buffer '{name}' (torch Tensor or None required)",
            )
        self._buffers[name] = self._run_registration_hooks(GLOBAL.buffer, self, name, tensor)
        (self._non_persistent_buffers_set.discard if persistent else self._non_persistent_buffers_set.add)(name)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter, or None as the place of an absent one."""
        self._check_name("parameter", name, "_parameters")
        if param is not None:
            if not isinstance(param, Parameter):
                fail(
                    TypeError,
                    f"cannot assign '{typename(param)}' object to parameter '{name}' (torch.nn.Parameter or None "
                    "required)",
                    mend="wrap it: torch.nn.Parameter(tensor)",
                )
            if param.grad_fn is not None:
                fail(
                    ValueError,
                    f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be created "
                    f"explicitly. To express '{name}' as a function of another Tensor, compute the value in the "
                    "forward() method.",
                )
            param = self._run_registration_hooks(GLOBAL.parameter, self, name, param)
        self._parameters[name] = param

    def add_module(self, name: str, module: "Module | None") -> None:
        """Add a submodule, or None as the place of an absent one."""
        if module is not None and not isinstance(module, Module):
            fail(TypeError, f"{typename(module)} is not a Module subclass")
        if not isinstance(name, str):
            fail(TypeError, f"module name should be a string. Got {typename(name)}")
        self._check_name("module", name, "_modules")
        self._modules[name] = self._run_registration_hooks(GLOBAL.module, self, name, module)

    def register_module(self, name: str, module: "Module | None") -> None:
        """The same as `add_module`."""
        self.add_module(name, module)

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__  # a member whose mirror is missing, for instance in a copy that was put together by hand
        for table in MEMBERS:
            if table in own and name in own[table]:
                return own[table][name]
        # Not `fail`: `hasattr` comes here too, and should be quick. A call adds the notes when the error passes by.
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'", name=name, obj=self)

    def _forget(self, name: str, *tables: str) -> None:
        own = self.__dict__
        for table in tables:
            if name in own[table]:
                del own[table][name]
        own.pop(name, None)
        if "_buffers" in tables:
            own["_non_persistent_buffers_set"].discard(name)

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        params, modules, buffers = own.get("_parameters"), own.get("_modules"), own.get("_buffers")
        if isinstance(value, Parameter):
            if params is None:
                fail(
                    AttributeError,
                    "cannot assign parameters before Module.__init__() call",
                    mend="call super().__init__() before the first assignment",
                )
            if name not in params:
                self._forget(name, "_buffers", "_modules")
            self.register_parameter(name, value)
        elif params is not None and name in params:
            if value is not None:
                fail(
                    TypeError,
                    f"cannot assign '{typename(value)}' as parameter '{name}' (torch.nn.Parameter or None expected)",
                    mend=f"assign torch.nn.Parameter(...), or write into it under no_grad: module.{name}.copy_(...)",
                )
            self.register_parameter(name, None)
        elif isinstance(value, Module):
            if modules is None:
                fail(
                    AttributeError,
                    "cannot assign module before Module.__init__() call",
                    mend="call super().__init__() before the first assignment",
                )
            if name not in modules:
                self._forget(name, "_parameters", "_buffers")
            modules[name] = self._run_registration_hooks(GLOBAL.module, self, name, value)
        elif modules is not None and name in modules:
            if value is not None:
                fail(
                    TypeError,
                    f"cannot assign '{typename(value)}' as child module '{name}' (torch.nn.Module or None expected)",
                )
            modules[name] = self._run_registration_hooks(GLOBAL.module, self, name, None)
        elif (buffers is not None and name in buffers) or isinstance(value, Buffer):
            self._assign_buffer(name, value)
        elif name in MEMBERS:
            for old in own.get(name, ()):
                own.pop(old, None)
            own[name] = Members(self, value)
        elif name in CALL_HOOKS:
            own[name] = Hooks(self, value)
        elif name == "_compiled_call_impl":
            own[name] = value
            own["_hooked"] = True
        else:
            object.__setattr__(self, name, value)

    def _assign_buffer(self, name, value):
        if value is not None and not isinstance(value, Tensor) and not hasattr(value, "__torch_function__"):
            fail(
                TypeError,
                f"cannot assign '{typename(value)}' as buffer '{name}' (torch.nn.Buffer, torch.Tensor or None "
                "expected)",
            )
        persistent = value.persistent if isinstance(value, Buffer) else name not in self._non_persistent_buffers_set
        if getattr(self.register_buffer, "__func__", None) is Module.register_buffer:
            if name not in self._buffers:
                self._forget(name)
            self.register_buffer(name, value, persistent)
        elif "persistent" in inspect.signature(self.register_buffer).parameters:
            self.register_buffer(name, value, persistent)
        elif persistent:
            self.register_buffer(name, value)
        else:
            fail(
                RuntimeError,
                "Registering a non-persistent buffer on a Module subclass that implements register_buffer() without "
                "the persistent argument is not allowed.",
            )

    def __delattr__(self, name: str) -> None:
        for table in MEMBERS:
            if name in self.__dict__[table]:
                del self.__dict__[table][name]
                self._non_persistent_buffers_set.discard(name)
                return
        super().__delattr__(name)

    def __dir__(self):
        names = {*dir(type(self)), *self.__dict__, *self._parameters, *self._modules, *self._buffers}
        return sorted(name for name in names if not name[0].isdigit())

    # --- copies

    def __getstate__(self):
        state = {name: value for name, value in self.__dict__.items() if name not in ("_hooked", "_compiled_call_impl")}
        if hasattr(state.get("forward"), "__wrapped__"):  # of somebody who looks at this very module
            del state["forward"]
        for table in MEMBERS:
            for name, value in state[table].items():
                if state.get(name) is value:
                    del state[name]
            state[table] = dict(state[table])
        return state

    def __setstate__(self, state):
        own = self.__dict__
        own.update(state)
        own.setdefault("_non_persistent_buffers_set", set())
        own.setdefault("_is_full_backward_hook", None)
        for name in OTHER_HOOKS:
            own.setdefault(name, OrderedDict())
        moved = {}
        for name in CALL_HOOKS:
            before = own.get(name, ())
            own[name] = moved[id(before)] = Hooks(self, before)
        for value in list(own.values()):
            if isinstance(value, RemovableHandle):
                value.moved(moved)
        for name in MEMBERS:
            own[name] = Members(self, own.get(name, ()))

    # --- walks

    def _named_members(self, members: Callable, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True):
        seen = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, value in members(module):
                if value is None or value in seen:
                    continue
                if remove_duplicate:
                    seen.add(value)
                yield (path + "." if path else "") + name, value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """All parameters with their dotted names; each once, unless `remove_duplicate` is False."""
        yield from self._named_members(lambda module: module._parameters.items(), prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, of submodules too if `recurse`."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """All buffers with their dotted names."""
        yield from self._named_members(lambda module: module._buffers.items(), prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers, of submodules too if `recurse`."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def named_children(self) -> Iterator[tuple[str, "Module"]]:
        """The immediate submodules with their names."""
        seen = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator["Module"]:
        """The immediate submodules."""
        for _, module in self.named_children():
            yield module

    def named_modules(self, memo: "set[Module] | None" = None, prefix: str = "", remove_duplicate: bool = True):
        """This module and all below it, with dotted names."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, (prefix + "." if prefix else "") + name, remove_duplicate)

    def modules(self, remove_duplicate: bool = True) -> Iterator["Module"]:
        """This module and all below it."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def get_submodule(self, target: str) -> "Module":
        """The submodule with the dotted name `target`; this module if it is empty."""
        module = self
        for name in target.split(".") if target else ():
            module = self._attribute(module, name)
            if not isinstance(module, Module):
                fail(AttributeError, f"`{name}` is not an nn.Module")
        return module

    @staticmethod
    def _attribute(module: "Module", name: str) -> Any:
        if not hasattr(module, name):
            fail(AttributeError, f"{module._get_name()} has no attribute `{name}`")
        return getattr(module, name)

    def set_submodule(self, target: str, module: "Module", strict: bool = False) -> None:
        """Put `module` in the place with the dotted name `target`, which must exist if `strict`."""
        if target == "":
            fail(ValueError, "Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            fail(ValueError, f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if (strict or hasattr(parent, name)) and not isinstance(self._attribute(parent, name), Module):
            fail(AttributeError, f"`{name}` is not an nn.Module")
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter with the dotted name `target`."""
        path, _, name = target.rpartition(".")
        parameter = self._attribute(self.get_submodule(path), name)
        if not isinstance(parameter, Parameter):
            fail(AttributeError, f"`{name}` is not an nn.Parameter")
        return parameter

    def get_buffer(self, target: str) -> Tensor:
        """The buffer with the dotted name `target`."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        buffer = self._attribute(module, name)
        if name not in module._buffers:
            fail(AttributeError, f"`{name}` is not a buffer")
        return buffer

    # --- conversion and modes

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Module":
        """Replace the values of parameters, gradients and buffers by `fn` of them; parameters stay the same objects."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        for parameter in self._parameters.values():
            if parameter is None:
                continue
            grad = parameter.grad
            with no_grad():
                parameter.data = fn(parameter)
                if grad is not None:
                    grad.data = fn(grad)
                    parameter.grad = grad
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def apply(self, fn: Callable[["Module"], None]) -> "Module":
        """Call `fn` on every submodule, then on this module."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def cuda(self, device=None) -> "Module":
        """Move parameters and buffers to a GPU."""
        return self._apply(lambda t: t.cuda(device))

    def xpu(self, device=None) -> "Module":
        """Not supported: facula knows CPUs and NVIDIA GPUs."""
        fail(AssertionError, "Torch not compiled with XPU enabled")

    def mtia(self, device=None) -> "Module":
        """Not supported: facula knows CPUs and NVIDIA GPUs."""
        fail(AssertionError, "Torch not compiled with MTIA enabled")

    def ipu(self, device=None) -> "Module":
        """Not supported: facula knows CPUs and NVIDIA GPUs."""
        fail(RuntimeError, "PyTorch is not linked with support for ipu devices")

    def cpu(self) -> "Module":
        """Move parameters and buffers to the CPU."""
        return self._apply(lambda t: t.cpu())

    def type(self, dst_type) -> "Module":
        """Cast all parameters and buffers to `dst_type`."""
        return self._apply(lambda t: t.type(dst_type))

    def float(self) -> "Module":
        """Cast floating-point parameters and buffers to float32."""
        return self._apply(lambda t: t.float() if t.is_floating_point() else t)

    def double(self) -> "Module":
        """Cast floating-point parameters and buffers to float64."""
        return self._apply(lambda t: t.double() if t.is_floating_point() else t)

    def half(self) -> "Module":
        """Cast floating-point parameters and buffers to float16."""
        return self._apply(lambda t: t.half() if t.is_floating_point() else t)

    def bfloat16(self) -> "Module":
        """Cast floating-point parameters and buffers to bfloat16."""
        return self._apply(lambda t: t.bfloat16() if t.is_floating_point() else t)

    def to_empty(self, *, device, recurse: bool = True) -> "Module":
        """Move to `device` without copying the values."""
        return self._apply(lambda t: empty_like(t, device=device), recurse=recurse)

    def to(self, *args, **kwargs) -> "Module":
        """Move and cast in place: `to(device, dtype, non_blocking)`, `to(dtype)`, `to(tensor)`, or `memory_format=`."""
        device, dtype, non_blocking, memory_format = parse_to(*args, **kwargs)
        if dtype is not None:
            if not (dtype.is_floating_point or dtype.is_complex):
                fail(
                    TypeError,
                    f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={dtype}",
                )
            if dtype.is_complex:
                warnings.warn(
                    "Complex modules are a new feature under active development whose design may change, and some "
                    "modules might not work as expected when using complex tensors as parameters or buffers. Please "
                    "file an issue at https://github.com/pytorch/pytorch/issues/new?template=bug-report.yml if a "
                    "complex module does not work as expected.",
                    stacklevel=2,
                )

        if (
            device is not None
            and device.type != "meta"
            and any(t.is_meta for t in (*self.parameters(), *self.buffers()))
        ):
            fail(
                NotImplementedError,
                "Cannot copy out of meta tensor; no data! Please use torch.nn.Module.to_empty() instead of "
                "torch.nn.Module.to() when moving module from meta to a different device.",
                mend=f"module.to_empty(device='{device}'), then initialise or load its parameters",
            )

        def convert(t):
            target = dtype if t.is_floating_point() or t.is_complex() else None
            if memory_format is not None and t.dim() in (4, 5):
                return t.to(device, target, non_blocking, memory_format=memory_format)
            return t.to(device, target, non_blocking)

        return self._apply(convert)

    def train(self, mode: bool = True) -> "Module":
        """Set training mode (dropout drops, batch norm uses the batch's statistics) here and below."""
        if not isinstance(mode, bool):
            fail(ValueError, "training mode is expected to be boolean", got=repr(mode))
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> "Module":
        """Set evaluation mode; the same as `train(False)`."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> "Module":
        """Set whether gradients are computed for the parameters."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or fill them with zeros."""
        if getattr(self, "_is_replica", False):
            warnings.warn(
                "Calling .zero_grad() from a module created with nn.DataParallel() has no effect. The parameters are "
                "copied (in a differentiable manner) from the original module. This means they are not leaf nodes in "
                "autograd and so don't accumulate gradients. If you need gradients in your forward method, consider "
                "using autograd.grad instead.",
                stacklevel=2,
            )
        zero_grads(self.parameters(), set_to_none)

    def share_memory(self) -> "Module":
        """Move parameters and buffers to memory that processes share."""
        return self._apply(methodcaller("share_memory_"))

    # --- hooks

    def register_forward_pre_hook(
        self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args)` before each forward; a result that is not None replaces `args`.

        With `with_kwargs` it is `hook(module, args, kwargs)`, and the result a pair (args, kwargs).
        """
        return _add(self._forward_pre_hooks, hook, [(self._forward_pre_hooks_with_kwargs, with_kwargs)], prepend)

    def register_forward_hook(
        self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args, output)` after each forward; a result that is not None replaces `output`.

        With `with_kwargs` it is `hook(module, args, kwargs, output)`; with `always_call` it runs even after an error.
        """
        flags = [(self._forward_hooks_with_kwargs, with_kwargs), (self._forward_hooks_always_called, always_call)]
        return _add(self._forward_hooks, hook, flags, prepend)

    def register_full_backward_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call `hook(module, grad_output)` before each backward; a result that is not None replaces `grad_output`."""
        return _add(self._backward_pre_hooks, hook, prepend=prepend)

    def register_full_backward_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call `hook(module, grad_input, grad_output)` after each backward; a result replaces `grad_input`."""
        self._is_full_backward_hook = _check_full(self._is_full_backward_hook, True, "on a single Module")
        return _add(self._backward_hooks, hook, prepend=prepend)

    def register_backward_hook(self, hook: Callable) -> RemovableHandle:
        """The old form of `register_full_backward_hook`: sees the gradients of the last operation alone."""
        self._is_full_backward_hook = _check_full(self._is_full_backward_hook, False, "on a single Module")
        return _add(self._backward_hooks, hook)

    def _register_state_dict_hook(self, hook: Callable) -> RemovableHandle:
        if getattr(hook, "_from_public_api", False):
            fail(
                RuntimeError,
                "Cannot register the same function as the state dict post hook that was previously registered via "
                "register_state_dict_post_hook",
            )
        return _add(self._state_dict_hooks, hook)

    def register_state_dict_post_hook(self, hook: Callable) -> RemovableHandle:
        """Call `hook(module, state_dict, prefix, metadata)` after `state_dict`; it may change the dict in place."""
        hook._from_public_api = True
        return _add(self._state_dict_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Call `hook(module, prefix, keep_vars)` before `state_dict`."""
        return _add(self._state_dict_pre_hooks, hook)

    def _register_load_state_dict_pre_hook(self, hook: Callable, with_module: bool = False) -> RemovableHandle:
        return _add(self._load_state_dict_pre_hooks, _WrappedHook(hook, self if with_module else None))

    def register_load_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Call `hook(module, state_dict, prefix, metadata, strict, missing, unexpected, errors)` before loading."""
        return self._register_load_state_dict_pre_hook(hook, with_module=True)

    def register_load_state_dict_post_hook(self, hook: Callable) -> RemovableHandle:
        """Call `hook(module, incompatible_keys)` after loading; it may change the keys in place."""
        return _add(self._load_state_dict_post_hooks, hook)

    # --- state

    def get_extra_state(self) -> Any:
        """Extra state for `state_dict`; a subclass that defines it also defines `set_extra_state`."""
        fail(RuntimeError, "Reached a code path in Module.get_extra_state() that should never be called.")

    def set_extra_state(self, state: Any) -> None:
        """Take back what `get_extra_state` gave."""
        fail(RuntimeError, "Reached a code path in Module.set_extra_state() that should never be called.")

    def _local_state(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters and persistent buffers of this module alone, by name."""
        hidden = self._non_persistent_buffers_set
        for name, value in chain(self._parameters.items(), self._buffers.items()):
            if value is not None and name not in hidden:
                yield name, value

    def _save_to_state_dict(self, destination, prefix: str, keep_vars: bool) -> None:
        for name, value in self._local_state():
            destination[prefix + name] = value if keep_vars else value.detach()
        if type(self).get_extra_state is not Module.get_extra_state:
            destination[prefix + EXTRA_STATE] = self.get_extra_state()

    def state_dict(self, *args, destination=None, prefix: str = "", keep_vars: bool = False):
        """All parameters and persistent buffers by dotted name; they share memory with the module's.

        `keep_vars` keeps them attached to autograd.
        """
        if args:
            warnings.warn(
                "Positional args are being deprecated, use kwargs instead. Refer to "
                "https://pytorch.org/docs/main/generated/torch.nn.Module.html#torch.nn.Module.state_dict for details.",
                FutureWarning,
                stacklevel=2,
            )
            given = dict(zip(("destination", "prefix", "keep_vars"), args))
            destination = given["destination"] if destination is None else destination
            prefix = prefix or given.get("prefix", "")
            keep_vars = keep_vars or given.get("keep_vars", False)
        if destination is None:
            destination = OrderedDict()
            vars(destination)["_metadata"] = OrderedDict()
        metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            vars(destination)["_metadata"][prefix[:-1]] = metadata
        for hook in self._state_dict_pre_hooks.values():
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination=destination, prefix=prefix + name + ".", keep_vars=keep_vars)
        for hook in self._state_dict_hooks.values():
            new = hook(self, destination, prefix, metadata)
            if new is not None:
                if getattr(hook, "_from_public_api", False):
                    fail(RuntimeError, "state_dict post-hook must return None")
                destination = new
        return destination

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ) -> None:
        """Load this module's own members; what goes wrong is appended to the three lists."""
        for hook in self._load_state_dict_pre_hooks.values():
            hook(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        assign = local_metadata.get("assign_to_params_buffers", False)
        local = dict(self._local_state())
        for name, current in local.items():
            key = prefix + name
            if key in state_dict:
                self._load_member(name, key, current, state_dict[key], assign, error_msgs)
            elif strict:
                missing_keys.append(key)

        extra = prefix + EXTRA_STATE
        if type(self).set_extra_state is not Module.set_extra_state:
            if extra in state_dict:
                self.set_extra_state(state_dict[extra])
            elif strict:
                missing_keys.append(extra)
        elif strict and extra in state_dict:
            unexpected_keys.append(extra)

        if strict:
            for key in state_dict:
                if key.startswith(prefix) and key != extra:
                    name, dot, _ = key[len(prefix) :].partition(".")
                    if name not in (self._modules if dot else local):
                        unexpected_keys.append(key)

    def _load_member(self, name, key, current, new, assign, error_msgs):
        if not isinstance(new, Tensor) and not hasattr(new, "__torch_function__"):
            error_msgs.append(
                f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like object from '
                f"checkpoint but received {type(new)}"
            )
            return
        waits = is_lazy(current)
        if not waits and current.ndim == 0 and new.shape == (1,):  # files from before there were 0-d tensors
            new = new[0]
        if not waits and new.shape != current.shape:
            error_msgs.append(
                f"size mismatch for {key}: copying a param with shape {new.shape} from checkpoint, "
                f"the shape in current model is {current.shape}."
            )
            return
        if not assign and not waits and current.is_meta and not new.is_meta:
            warnings.warn(
                f"for {key}: copying from a non-meta parameter in the checkpoint to a meta parameter in the current "
                "model, which is a no-op. (Did you mean to pass `assign=True` to assign items in the state dictionary "
                "to their corresponding key in the module instead of copying them in place?)",
                stacklevel=2,
            )
        try:
            with no_grad():
                if not assign:
                    current.copy_(new)
                elif not isinstance(current, Parameter):
                    setattr(self, name, new)
                elif isinstance(new, Parameter):
                    setattr(self, name, new.requires_grad_(current.requires_grad))
                else:
                    setattr(self, name, Parameter(new, requires_grad=current.requires_grad))
        except Exception as error:
            error_msgs.append(
                f'While copying the parameter named "{key}", whose dimensions in the model are {current.size()} and '
                f"whose dimensions in the checkpoint are {new.size()}, an exception occurred : {error.args}."
            )

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy the values of `state_dict` into this module and all below it.

        Parameters
        ----------
        state_dict : mapping
            Tensors by dotted name, as `state_dict` returns.
        strict : bool
            Whether missing and unexpected keys are errors.
        assign : bool
            Put the tensors of the dict in the place of the module's, instead of copying their values.

        Returns
        -------
        IncompatibleKeys
            The lists `missing_keys` and `unexpected_keys`.

        Raises
        ------
        RuntimeError
            With one line for each key that is missing, unexpected, or of another shape.
        """
        if not isinstance(state_dict, Mapping):
            fail(TypeError, f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        missing: list[str] = []
        unexpected: list[str] = []
        errors: list[str] = []
        metadata = getattr(state_dict, "_metadata", None)
        state_dict = OrderedDict(state_dict)
        if metadata is not None:
            vars(state_dict)["_metadata"] = metadata

        def load(module, state, prefix):
            local_metadata = {} if metadata is None else metadata.get(prefix[:-1], {})
            if assign:
                local_metadata["assign_to_params_buffers"] = assign
            module._load_from_state_dict(state, prefix, local_metadata, True, missing, unexpected, errors)
            for name, child in module._modules.items():
                if child is not None:
                    below = prefix + name + "."
                    load(child, {key: value for key, value in state.items() if key.startswith(below)}, below)
            for hook in module._load_state_dict_post_hooks.values():
                if hook(module, IncompatibleKeys(missing, unexpected)) is not None:
                    fail(
                        AssertionError,
                        "Hooks registered with ``register_load_state_dict_post_hook`` are not expected to return new "
                        "values, if incompatible_keys need to be modified, it should be done inplace.",
                    )

        load(self, state_dict, "")
        if strict:
            for label, keys in (("Unexpected", unexpected), ("Missing", missing)):
                if keys:
                    errors.insert(
                        0, f"{label} key(s) in state_dict: {', '.join(f'{chr(34)}{k}{chr(34)}' for k in keys)}. "
                    )
        if errors:
            message = f"Error(s) in loading state_dict for {type(self).__name__}:\n\t" + "\n\t".join(errors)
            fail(RuntimeError, message, mend=_mend_keys(missing, unexpected) if strict else None)
        return IncompatibleKeys(missing, unexpected)

    # --- printing

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What stands between the parentheses of `repr`; for subclasses."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [f"({name}): {indent(repr(module))}" for name, module in self._modules.items()]
        if len(lines) == 1 and not children:
            return f"{self._get_name()}({lines[0]})"
        body = "\n  ".join(lines + children)
        return f"{self._get_name()}(\n  {body}\n)" if body else f"{self._get_name()}()"

    def _replicate_for_data_parallel(self) -> "Module":
        replica = type(self).__new__(type(self))
        replica.__setstate__(self.__getstate__())
        replica._parameters = {}
        replica._is_replica = True
        return replica


def indent(s_: str, numSpaces: int = 2) -> str:
    """`s_` with all lines but the first moved to the right; empty lines stay empty."""
    first, *rest = s_.split("\n")
    return "\n".join([first, *(" " * numSpaces + line if line.strip() else "" for line in rest)])


_addindent = indent  # PyTorch's name, which programs import


def _mend_keys(missing: list[str], unexpected: list[str]) -> str | None:
    """A hint where all keys are off by one prefix, the common accident (`module.` of DataParallel, `model.`, ...)."""
    if missing and unexpected:
        for long, short, what in ((unexpected, missing, "remove"), (missing, unexpected, "add")):
            if long[0].endswith("." + short[0]):
                prefix = long[0][: -len(short[0])]
                if {key.removeprefix(prefix) for key in long} == set(short):
                    where = "from" if what == "remove" else "to"
                    return f"{what} the prefix {prefix!r} {where} the keys of the state_dict"
    return None


def zero_grads(parameters: Iterable[Tensor], set_to_none: bool) -> None:
    """Forget the gradients of parameters, or fill them with zeros."""
    grads = []
    for parameter in parameters:
        grad = parameter.grad
        if grad is None:
            continue
        if set_to_none:
            parameter.grad = None
            continue
        if grad.grad_fn is not None:
            grad.detach_()
        else:
            grad.requires_grad_(False)
        grads.append(grad)
    if many.alike(grads):
        many.zero_(grads)
    else:
        for grad in grads:
            grad.zero_()


def parse_to(*args, **kwargs):
    """The arguments of `Module.to` as (device, dtype, non_blocking, memory_format)."""
    memory_format = kwargs.pop("memory_format", None)
    kwargs.pop("copy", None)
    names = ("device", "dtype", "non_blocking")
    first: Any = args[0] if args else None
    if "tensor" in kwargs or "other" in kwargs or isinstance(first, Tensor):
        tensor = first if args else kwargs.pop("tensor", None) or kwargs.pop("other")
        args = (tensor.device, tensor.dtype, *args[1:])
    elif isinstance(first, DType):
        args = (None, *args)
    found: dict[str, Any] = dict(zip(names, args))
    if len(args) > 3 or set(kwargs) - set(names) or set(found) & set(kwargs) - {"device"}:
        fail(
            TypeError,
            "to() received an invalid combination of arguments - got "
            f"{', '.join([*(type(a).__name__ for a in args), *kwargs])}",
            expected="(device, dtype, non_blocking), (dtype, non_blocking), (tensor, non_blocking), memory_format=...",
        )
    found.update(kwargs)
    device, dtype = found.get("device"), found.get("dtype")
    if device is not None and not isinstance(device, Device):
        device = Device(device)
    if dtype is not None and not isinstance(dtype, DType):
        fail(
            TypeError,
            f"to() received an invalid combination of arguments - got dtype {type(dtype).__name__}",
            expected="a torch.dtype",
        )
    return device, dtype, bool(found.get("non_blocking", False)), memory_format
