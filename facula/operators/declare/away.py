"""Operands on several devices: which device an operator runs on, and functions that read elements where NumPy cannot.

A function whose body computes with NumPy does not know where its operands are: they are fetched to the host's memory,
and its results go back.
"""

import functools
import itertools
import warnings
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from facula import launch
from facula.core.device import CPU, device
from facula.core.modes import GUARD, LOCAL
from facula.core.spec import Spec, spec
from facula.core.storage import Storage
from facula.core.tensor import Tensor
from facula.errors import NoData, Unread, fail

__all__ = ["common_device", "differ", "elsewhere", "here", "hosted", "needs_numbers", "one_device", "unreadable"]


def unreadable(s: Spec) -> NoReturn:
    """What reading elements of a tensor that is not in the host's memory raises."""
    if launch.hollow(s.device):
        fail(NoData, "Cannot copy out of meta tensor; no data!", mend="make it with device='cpu'")
    fail(NoData, f"can't convert {s.device} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host "
         "memory first.")  # fmt: skip


def common_device(specs: Iterable[Spec]) -> device:
    """The device of an element-wise operator: that of all operands; numbers on the CPU go with any.

    Raises
    ------
    RuntimeError
        There are several.
    """
    first = where = None
    for s in specs:
        first = first or s.device
        if not s.shape and s.device is CPU:
            continue
        if where is None:
            where = s.device
        elif s.device is not where:
            differ(where, s.device)
    return where or first or CPU


def one_device(*specs: Spec | None) -> device:
    """The device of an operator whose operands must all be on it; RuntimeError where they are not."""
    where = None
    for s in specs:
        if s is not None:
            if where is None:
                where = s.device
            elif s.device is not where:
                differ(where, s.device)
    return where or CPU


def differ(a: device, b: device) -> NoReturn:
    """RuntimeError: operands are on several devices."""
    fail(
        RuntimeError,
        f"Expected all tensors to be on the same device, but found at least two devices, {a} and {b}!",
        mend=f"move them to one device first, e.g. with .to('{a}')",
    )


def here(x: Tensor, where: device) -> Tensor:
    """A tensor on a device: itself, or a copy without history."""
    if x.spec.device is where:
        return x
    from facula.operators.copying import copy_values

    return copy_values(launch.empty(spec(x.spec.dtype, where, x.spec.shape, x.spec.strides)), x)


def needs_numbers(name: str, x: Tensor, text: str = "") -> None:
    """NotImplementedError where the shape of a result depends on numbers, and there are none."""
    if x.spec.device is not CPU and launch.hollow(x.spec.device):
        fail(
            NotImplementedError,
            text
            or f"aten::{name}: attempted to run this operator with Meta tensors, but there was no fake impl or Meta "
            "kernel registered.",
            mend="the shape of the result depends on the numbers; make the tensor with device='cpu'",
        )


_KNOWN: dict[tuple, Any] = {}  # the results of functions on devices without numbers, by operator and specs


def _tensors(x: Any, found: list[Tensor]) -> list[Tensor]:
    """All tensors in arguments."""
    if isinstance(x, Tensor):
        found.append(x)
    elif isinstance(x, (list, tuple)):
        for y in x:
            _tensors(y, found)
    elif x.__class__ is dict:
        for y in x.values():
            _tensors(y, found)
    return found


def _replaced(x: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Arguments or results with each tensor changed."""
    if isinstance(x, Tensor):
        return change(x)
    if isinstance(x, (list, tuple)):
        made = [_replaced(y, change) for y in x]
        return x.__class__(*made) if hasattr(x, "_fields") else x.__class__(made)
    if x.__class__ is dict:
        return {k: _replaced(y, change) for k, y in x.items()}
    return x


def elsewhere(body: Callable, args: tuple, kwargs: dict) -> Any:
    """The result of a function that reads elements with NumPy, for operands on a device where it cannot."""
    tensors = _tensors((args, kwargs), [])
    common_device([t.spec for t in tensors])
    away = [t for t in tensors if t.spec.device is not CPU or launch.lacks(t)]
    if not away:
        fail(NoData, "Cannot copy out of a tensor that is no operand")
    where = away[0].spec.device
    key, hollow = None, all(launch.lacks(t) for t in away)
    if hollow:
        key = (body, _frozen((args, kwargs)))
        try:
            if (made := _KNOWN.get(key)) is not None:
                return _replaced(made, lambda t: launch.forget(launch.empty(t.spec)))
        except TypeError:
            key = None  # an argument that is no key
    made, owners = _on_the_host(body, args, kwargs, away, where)
    out = _replaced(made, lambda t: _returned(t, owners, where, hollow))
    if key is not None and not any(id(t.storage) in owners for t in _tensors(made, [])):
        if len(_KNOWN) > 1024:
            _KNOWN.clear()
        _KNOWN[key] = _replaced(out, lambda t: _described(t.spec))
    return out


def hosted(body: Callable) -> Callable:
    """Decorate a function that reads elements with NumPy and is no operator: operands may be on any device."""

    @functools.wraps(body)
    def entry(*args, **kwargs):
        try:
            return body(*args, **kwargs)
        except Unread:
            return elsewhere(body, args, kwargs)

    return entry


def _on_the_host(body: Callable, args: tuple, kwargs: dict, away: list[Tensor], where: device) -> tuple[Any, dict]:
    """What the function returns for copies of its operands, and whose memory these stand for."""
    fetch = launch.native("fetch", where)
    first = None
    for attempt in itertools.count():
        memory = fetch([t.spec for t in away], [t.ptr for t in away], attempt)
        if memory is None:
            raise first or NoData("no operand can be read")
        here = {id(t): _host(t.spec, m) for t, m in zip(away, memory)}
        before, LOCAL.grad = LOCAL.grad, False
        GUARD.active.append(None)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                a, k = _replaced((args, kwargs), lambda t: here.get(id(t), t))  # noqa: B023
                made = body(*a, **k)
        except (RuntimeError, ValueError, ArithmeticError, IndexError) as error:
            first = first or error
            continue
        finally:
            LOCAL.grad = before
            GUARD.active.pop()
        for t in away:
            if here[id(t)].storage.version:
                fail(NotImplementedError, f"{body.__name__} cannot write into a tensor on {where}")
        return made, {id(here[id(t)].storage): t for t in away}
    raise AssertionError


def _host(s: Spec, memory: Any) -> Tensor:
    """A tensor on a flat array in the layout of `s`."""
    from facula.operators.creation import record_of

    start = memory.ctypes.data
    return record_of(spec(s.dtype, CPU, s.shape, s.strides), Storage(start, memory.nbytes, memory), start)


def _returned(t: Tensor, owners: dict[int, Tensor], where: device, hollow: bool) -> Tensor:
    """A result on the device of the operands."""
    s = spec(t.spec.dtype, where, t.spec.shape, t.spec.strides)
    owner = owners.get(id(t.storage))
    if owner is not None:
        from .view import view_of

        return view_of(owner, s, t.ptr - t.storage.ptr)
    from facula.operators.copying import copy_values

    made = launch.empty(s)
    return launch.forget(made) if hollow else copy_values(made, t)


def _described(s: Spec) -> Tensor:
    """A record that stands for a tensor of this spec, without memory."""
    out = object.__new__(Tensor)
    out.spec = s
    return out


def _frozen(x: Any) -> Any:
    """Arguments as a key: tensors by their specs, lists as tuples."""
    if isinstance(x, Tensor):
        return x.spec
    if isinstance(x, (list, tuple)):
        return (x.__class__, *[_frozen(y) for y in x])
    if x.__class__ is dict:
        return tuple([(k, _frozen(y)) for k, y in x.items()])
    return x
