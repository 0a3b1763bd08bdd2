"""The modes of recording: no_grad, enable_grad, set_grad_enabled, inference_mode; hooks of saved tensors."""

import functools
import inspect
import threading
from typing import Any

from facula.core.modes import GUARD, LOCAL, grad_enabled

__all__ = [
    "enable_grad",
    "enforce_grad_layout_policy",
    "inference_mode",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "no_grad",
    "saved_tensors_hooks",
    "set_grad_enabled",
    "set_multithreading_enabled",
]


class _Mode:
    """A context manager and decorator that switches recording."""

    __slots__ = ("before",)
    grad = True

    def __enter__(self):
        self.before = LOCAL.grad
        GUARD.change(1)
        LOCAL.grad = self.grad
        return None

    def __exit__(self, *_):
        LOCAL.grad = self.before
        GUARD.change(-1)

    def clone(self):
        return type(self)()

    def __call__(self, function):
        """The function, run in this mode; a generator is in it only while it runs."""
        if inspect.isclass(function):
            made: Any = function
            made.__init__ = self(made.__init__)
            return function
        if inspect.isgeneratorfunction(function):
            return self._wrap_generator(function)

        @functools.wraps(function)
        def inside(*args, **kwargs):
            with self.clone():
                return function(*args, **kwargs)

        return inside

    def _wrap_generator(self, function):
        @functools.wraps(function)
        def inside(*args, **kwargs):
            generator = function(*args, **kwargs)
            reply, raised = None, None
            while True:
                with self.clone():
                    try:
                        item = generator.throw(raised) if raised is not None else generator.send(reply)
                    except StopIteration as stop:
                        return stop.value
                reply, raised = None, None
                try:
                    reply = yield item
                except GeneratorExit:
                    generator.close()
                    raise
                except BaseException as error:
                    raised = error

        return inside


class no_grad(_Mode):
    """Operations in this block are not recorded; works as a decorator too.

    Examples
    --------
    >>> import facula as torch
    >>> x = torch.ones(2, requires_grad=True)
    >>> with torch.no_grad():
    ...     (x * 2).requires_grad
    False
    """

    __slots__ = ()
    grad = False

    def __new__(cls, function=None) -> Any:
        self = object.__new__(cls)
        return self if function is None else self(function)


class enable_grad(_Mode):
    """Operations in this block are recorded, also inside `no_grad`."""

    __slots__ = ()

    def __new__(cls, function=None) -> Any:
        self = object.__new__(cls)
        return self if function is None else self(function)


class set_grad_enabled(_Mode):
    """Switch recording on or off: at once, and back at the end of a `with` block."""

    __slots__ = ("grad",)

    def __init__(self, mode: bool):
        self.grad = bool(mode)
        self.before = LOCAL.grad
        _switch(self.grad)

    def __enter__(self):
        GUARD.change(1)
        LOCAL.grad = self.grad

    def __exit__(self, *_):
        _switch(self.before)
        GUARD.change(-1)

    def __call__(self, function):
        _switch(self.before)
        return super().__call__(function)

    def clone(self):
        mode = object.__new__(set_grad_enabled)
        mode.grad, mode.before = self.grad, LOCAL.grad
        return mode


class set_multithreading_enabled:
    """Accepted, as a call or a block: backward runs on the thread that asks for it, kernels on several."""

    __slots__ = ()

    def __init__(self, mode: bool):
        """`mode` says nothing here."""

    def __enter__(self) -> None:
        """Nothing changes."""

    def __exit__(self, *_) -> None:
        """Nothing changes."""


class enforce_grad_layout_policy(set_multithreading_enabled):
    """Accepted, as a call, a block or a decorator: gradients keep the strides in which they are computed."""

    __slots__ = ("mode",)

    def __init__(self, enable: bool = True):
        self.mode = enable

    def clone(self) -> "enforce_grad_layout_policy":
        """Another one."""
        return type(self)(self.mode)

    def __call__(self, function: Any) -> Any:
        """The function itself."""
        return function


def _switch(mode: bool) -> None:
    """Change this thread's recording outside any block; while it is off, the guard stays up."""
    if LOCAL.grad != mode:
        GUARD.change(-1 if mode else 1)
        LOCAL.grad = mode


class inference_mode(_Mode):
    """`no_grad` that PyTorch promises more speed for; here the two are one."""

    __slots__ = ("inference", "mode", "was")

    def __new__(cls, mode=True) -> Any:
        self = object.__new__(cls)
        if callable(mode):
            self.mode = True
            return self(mode)
        self.mode = mode
        return self

    def __enter__(self):
        self.before, self.was = LOCAL.grad, LOCAL.inference
        GUARD.change(1)
        LOCAL.inference = self.mode
        LOCAL.grad = self.before and not self.mode

    def __exit__(self, *_):
        LOCAL.grad, LOCAL.inference = self.before, self.was
        GUARD.change(-1)

    def clone(self):
        return inference_mode(self.mode)


def is_grad_enabled() -> bool:
    """Whether operations of this thread are recorded."""
    return grad_enabled()


def is_inference_mode_enabled() -> bool:
    """Whether this thread is in `inference_mode`."""
    return LOCAL.inference if GUARD.active else False


class _Refused(threading.local):
    """The message by which `graph.disable_saved_tensors_hooks` refuses hooks in this thread; None: they are welcome."""

    message: str | None = None


REFUSED = _Refused()


class saved_tensors_hooks:
    """Values kept for backward in this block pass through `pack_hook`; backward gets what `unpack_hook` makes."""

    def __init__(self, pack_hook, unpack_hook):
        self.hooks = (pack_hook, unpack_hook)

    def __enter__(self):
        if REFUSED.message is not None:
            raise RuntimeError(REFUSED.message)
        GUARD.change(1)
        LOCAL.saved_hooks = (*LOCAL.saved_hooks, self.hooks)

    def __exit__(self, *_):
        LOCAL.saved_hooks = LOCAL.saved_hooks[:-1]
        GUARD.change(-1)
