"""Looks after training at one test a step; at the first NaN or infinity has the step replayed, which names its origin.

The test is at the end of `backward()`: the loss and all gradients of the watched modules. Whatever goes wrong in
forward, in backward or in an update comes to be seen there, before the next update spoils the parameters. What a
replay needs is remembered by reference: what the modules were called with, and the state of the random numbers.
"""

import ctypes
import itertools
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

from facula import launch
from facula.autograd.engine import WATCH
from facula.core.dtype import dtype, float32, float64
from facula.core.generator import RECORD, default_generator
from facula.core.modes import GUARD, LOCAL
from facula.core.tensor import Tensor
from facula.errors import caution, noted
from facula.ir import expr as ir
from facula.ir.kernel import Input, Kernel, Result
from facula.nn.module import GLOBAL, Module
from facula.operators import isfinite, isnan, many
from facula.operators.declare.recording import SEQUENCE

__all__ = ["Call", "GradientStatistics", "NotFinite", "Watch", "finite", "watch", "watch_all"]

MOST_CALLS = 64  # that are remembered for one backward


class NotFinite(FloatingPointError):
    """The first NaN or infinity of a training step.

    Attributes
    ----------
    operator : str
        What made it: the name of an operator, of an optimizer, or "" where it was there before.
    phase : str
        "forward", "backward", "update" or "input".
    module : str
        The path of the innermost module whose call was open, "" outside of modules.
    line : str
        `file:line` of the program.
    index : tuple of int
        The place of the first such element.
    value : float
    """

    operator = phase = module = line = ""
    index: tuple[int, ...] = ()
    value = float("nan")


class Call(NamedTuple):
    """What is remembered of a call of a watched module."""

    model: Module
    args: tuple
    kwargs: dict[str, Any]
    random: bytes  # the state of the generator before
    autocast: Any
    buffers: list[tuple[Tensor, Tensor]]  # those that change, with copies of what they were
    result: Any
    first: int  # the numbers between which its nodes are
    last: int


class GradientStatistics(NamedTuple):
    """A row of `Watch.gradients()`."""

    name: str
    shape: tuple[int, ...]
    norm: float
    max: float
    zeros: float  # shares of the elements
    nan: float

    def __str__(self) -> str:
        return (
            f"{self.name:<40} {list(self.shape)!s:<20} norm {self.norm:<10.3g} max {self.max:<10.3g} "
            f"zeros {self.zeros:<6.1%} nan {self.nan:.1%}"
        )


# --- the test -------------------------------------------------------------------------------------------------------


@cache
def _kernel(kind: dtype) -> Kernel:
    """Whether any element is NaN or infinite."""
    value = ir.reduce("any", ir.not_(ir.lt(ir.abs(ir.load("x", kind)), ir.const(float("inf"), kind))))
    return Kernel("unfinite", (Input("x", kind),), (Result("out", value.dtype, value, per_row=True),))


def finite(tensors: list[Tensor]) -> bool:
    """Whether no element of floating-point tensors is NaN or infinite; one launch for dense ones of one dtype."""
    if not tensors:
        return True
    if many.alike(tensors):
        where = tensors[0].spec.device
        shares = launch.run_many(launch.many(_kernel(tensors[0].spec.dtype), (None, 0), where), tensors, (), where)
        assert shares is not None
        return b"\1" not in ctypes.string_at(shares.ptr, shares.spec.numel)
    for t in tensors:
        if t.is_sparse:
            t = t.coalesce().values()
        if t.spec.dtype.kind in "fc" and not bool(isfinite(t.detach()).all()):
            return False
    return True


_CELLS = {float32: ctypes.c_float, float64: ctypes.c_double}


def _finite_number(x: Tensor) -> bool:
    cell = _CELLS.get(x.spec.dtype)
    if cell is None or x.spec.numel != 1 or x.spec.device.type != "cpu":
        return finite([x])
    value = cell.from_address(x.ptr).value
    return value - value == 0.0


# --- watches --------------------------------------------------------------------------------------------------------

_WATCHES: list["Watch"] = []


class Watch:
    """Looks after modules in training; made by `facula.watch`."""

    def __init__(self, models: Sequence[Module], zero_grad: bool = False):
        self.models = list(models)
        self.warns = zero_grad
        self.calls: list[Call] = []
        self.depth = 0
        self.backwards = 0  # since the calls were made
        self.parameters: list[Tensor] = []
        self.buffers: list[Tensor] = []
        self.changing: list[Tensor] | None = None  # None: not known yet
        self.left: list[tuple[Tensor, int, int]] = []  # gradients after the last backward: (tensor, version, parameter's)
        self.before: dict[Module, Any] = {}
        for model in self.models:
            self._enter(model)
        _WATCHES.append(self)
        WATCH.before, WATCH.after = _before, _after

    def _enter(self, model: Module) -> None:
        self.parameters += [p for p in model.parameters() if p.spec.dtype.kind in "fc"]
        self.buffers += list(model.buffers())
        self.changing = None
        self.before[model] = model.__dict__.get("_compiled_call_impl")
        model._compiled_call_impl = self._calling(model, self.before[model])

    def _calling(self, model: Module, before: Callable | None) -> Callable:
        """What a call of a watched module does: it is remembered, unless it is inside another one."""
        remember = self._remember

        def call(*args, **kwargs):
            if self.depth or (GUARD.active and not LOCAL.grad):
                return plain(model, before, args, kwargs)
            self.depth = 1
            try:
                return remember(model, before, args, kwargs)
            except Exception as error:
                noted(error)
                raise
            finally:
                self.depth = 0

        return call

    def _remember(self, model: Module, before: Callable | None, args: tuple, kwargs: dict) -> Any:
        calls = self.calls
        if self.backwards or len(calls) == MOST_CALLS:
            calls.clear()
            self.backwards = 0
        random = ctypes.string_at(default_generator.ptr, RECORD)
        copies: list[tuple[Tensor, Tensor]] = []
        versions: list[int] = []
        if self.buffers:
            changing = self.buffers if self.changing is None else self.changing
            copies = [(b, b.detach().clone()) for b in changing]
            versions = [b.storage.version for b in self.buffers]
        first = SEQUENCE()
        result = plain(model, before, args, kwargs)
        if versions:
            self.changing = [b for b, version in zip(self.buffers, versions) if b.storage.version != version]
        calls.append(Call(model, args, kwargs, random, LOCAL.autocast, copies, result, first, SEQUENCE()))
        return result

    def check(self, roots: Sequence[Tensor], grads: Sequence[Tensor | None]) -> bool:
        """Whether a backward left all as it should be."""
        self.backwards += 1
        found = [g for p in self.parameters if (g := p._grad) is not None]
        if self.warns:
            self.left = [(g, g.storage.version, p.storage.version) for p in self.parameters if (g := p._grad) is not None]
        return finite(found)

    def look_for_old_gradients(self) -> None:
        """Warn where the gradients of the step before are still there, though the parameters were updated."""
        if self.left:
            parameter = next(p for p in self.parameters if p._grad is not None or p is self.parameters[-1])
            grad, version, of_parameter = self.left[0]
            if parameter._grad is grad and grad.storage.version == version and parameter.storage.version != of_parameter:
                caution(
                    "backward() adds to the gradients of the step before",
                    mend="call optimizer.zero_grad() once a step, before backward()",
                )

    def gradients(self) -> list[GradientStatistics]:
        """Norm, largest absolute value, share of zeros and of NaN of each parameter's gradient, in the modules' order.

        Examples
        --------
        >>> import facula as torch
        >>> model = torch.nn.Linear(2, 1)
        >>> with torch.watch(model) as watch:
        ...     model(torch.tensor([[3.0, 0.0]])).sum().backward()
        ...     for row in watch.gradients():
        ...         print(row.name, row.norm, row.zeros)
        weight 3.0 0.5
        bias 1.0 0.0
        """
        rows = []
        for number, model in enumerate(self.models):
            for name, p in model.named_parameters():
                if p._grad is None:
                    continue
                g = p._grad.to_dense() if p._grad.is_sparse else p._grad
                g, count = g.detach(), max(1, g.numel())
                bad = isnan(g).sum().item() / count
                rows.append(
                    GradientStatistics(
                        f"{number}.{name}" if len(self.models) > 1 else name, tuple(g.shape), g.norm().item(),
                        g.abs().max().item() if g.numel() else 0.0, (g == 0).sum().item() / count, bad,
                    )  # fmt: skip
                )
        return rows

    def close(self) -> None:
        """Look away: the modules are as they were."""
        if self in _WATCHES:
            _WATCHES.remove(self)
            for model, before in self.before.items():
                model._compiled_call_impl = before
        self.calls.clear()
        if not _WATCHES:
            WATCH.before = None

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_) -> None:
        self.close()


def plain(model: Module, before: Callable | None, args: tuple, kwargs: dict) -> Any:
    """The call of a module as if nobody looked."""
    if before is not None:
        return before(*args, **kwargs)
    own = model.__dict__
    if not own["_forward_hooks"] and not own["_forward_pre_hooks"] and not own["_backward_hooks"]:
        if not own["_backward_pre_hooks"] and not GLOBAL.active:
            return model.forward(*args, **kwargs)
    return model._call_with_hooks(args, kwargs, compiled=False)


def _before() -> int:
    """At the start of a backward: the number from which on nodes keep their values."""
    starts = []
    for w in _WATCHES:
        if w.warns:
            w.look_for_old_gradients()
        if w.calls:
            starts.append(w.calls[0].last)
    return min(starts, default=0)


def _after(roots: Sequence[Tensor], grads: Sequence[Tensor | None]) -> None:
    """At the end of a backward: the test."""
    good = True
    for root in roots:
        good = good and _finite_number(root)
    for w in _WATCHES:
        good = w.check(roots, grads) and good
    if not good:
        from .replay import find

        raise find(list(_WATCHES), list(roots), list(grads))


def watch(*models: Module, zero_grad: bool = False) -> Watch:
    """Find the first NaN or infinity that training makes: operator, module, line and element.

    Parameters
    ----------
    *models : Module
        What is trained. Calls of these modules are remembered (their arguments by reference) until the next step.
    zero_grad : bool
        Warn where a backward adds to the gradients of the step before.

    Returns
    -------
    Watch
        A context manager, with `gradients()` for statistics by layer, and `close()`.

    Raises
    ------
    NotFinite
        By `backward()`, where the loss or a gradient is NaN or infinite; the parameters are still those of before.

    Examples
    --------
    >>> import facula as torch
    >>> model = torch.nn.Linear(2, 1)
    >>> with torch.watch(model):
    ...     try:
    ...         (model(torch.zeros(1, 2)) - model.bias).sqrt().sum().backward()
    ...     except FloatingPointError as error:
    ...         print(error)
    backward of sqrt made inf of finite numbers
    """
    return Watch(models, zero_grad)


def watch_all() -> Watch:
    """Watch each module with parameters that the program itself calls, from its first call on (`facula run --nan`)."""
    found = Watch(())
    original = Module.__call__

    def __call__(self, *args, **kwargs):
        if found.depth == 0 and self not in found.before and next(self.parameters(), None) is not None:
            found.models.append(self)
            found._enter(self)
        return original(self, *args, **kwargs)

    Module.__call__ = __call__
    return found
