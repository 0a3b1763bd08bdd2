"""Looks after training at one test a step; at the first NaN or infinity has the step replayed, which names its origin.

The test is at the end of `backward()`: the loss and all gradients of the watched modules. Whatever goes wrong in
forward, in backward or in an update comes to be seen there, before the next update spoils the parameters. What a
replay needs is remembered by reference: what the modules were called with, and the state of the random numbers.
"""

import ctypes
import sys
from collections.abc import Callable, Sequence
from functools import cache
from operator import attrgetter
from typing import Any, NamedTuple

from facula import launch
from facula.autograd.engine import WATCH
from facula.core.device import CPU
from facula.core.dtype import dtype
from facula.core.generator import default_generator, snapshot_gpus
from facula.core.mersenne import NEXT
from facula.core.modes import GUARD, LOCAL
from facula.core.tensor import Tensor
from facula.errors import caution
from facula.ir import expr as ir
from facula.ir.kernel import Input, Kernel, Result
from facula.nn.module import Module
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
    random: tuple[bytes, list]  # the states before of the default generators: the CPU's, those of GPUs
    autocast: Any
    buffers: list[tuple[Tensor, Tensor]]  # those that change, with copies of what they were
    result: Any
    last: int  # a number larger than those of its nodes


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


_GRAD, _SPEC = attrgetter("_grad"), attrgetter("spec")


def _test(tensors: list[Tensor]) -> Callable[[list[Tensor]], bool]:
    """A function that tells whether all elements of tensors like these (`many.alike`) are finite, in one launch."""
    first, rows = tensors[0].spec, len(tensors)
    code = launch.many(_kernel(first.dtype), (None, 0), first.device)
    if first.device is not CPU:

        def away(tensors: list[Tensor]) -> bool:
            if launch.recording(first.device):  # there are no numbers yet
                return True
            flags: Any = launch.run_many(code, tensors, (), first.device)
            return not bool(flags.any())

        return away
    width, written, chunk = code.width, code.written, code.chunk
    fill: Any = code.fill
    function: Any = code.function
    table = (ctypes.c_int64 * (rows * (width + 2) + 1))()
    address = ctypes.addressof(table)
    elements = fill(tensors, address, width, written, chunk)
    flags = bytearray(max(1, table[-1]))  # one for each share
    cell = ctypes.c_char.from_buffer(flags)  # keeps them in their place
    at = ctypes.addressof(cell)

    def test(tensors: list[Tensor], table=table, cell=cell) -> bool:
        fill(tensors, address, width, written, chunk)
        function(address, rows, elements, at)
        return b"\1" not in flags

    return test if elements else lambda tensors: True


def finite(tensors: list[Tensor]) -> bool:
    """Whether no element of floating-point tensors is NaN or infinite."""
    groups: dict[Any, list[Tensor]] = {}
    for t in tensors:
        t = t.coalesce().values() if t.is_sparse else t
        if many.alike([t]):
            groups.setdefault((t.spec.dtype, t.spec.device), []).append(t)
        elif t.spec.dtype.kind in "fc" and not bool(isfinite(t.detach()).all()):
            return False
    return all(_test(group)(group) for group in groups.values())


# --- watches --------------------------------------------------------------------------------------------------------

_WATCHES: list["Watch"] = []


class Watch:
    """Looks after modules in training; made by `facula.watch`."""

    def __init__(self, models: Sequence[Module], zero_grad: bool = False):
        self.models = list(models)
        self.warns = zero_grad
        self.calls: list[tuple] = []  # the fields of `Call`
        self.random: list[Any] = [b"", 0, b""]  # where the generator was, and its state
        self.versions: list[int] = []
        self.depth = 0
        self.backwards = 0  # since the calls were made
        self.parameters: list[Tensor] = []
        self.check = self._checking()
        self.buffers: list[Tensor] = []
        self.changing: list[Tensor] | None = None  # None: not known yet
        self.left: tuple = ()  # a gradient after the last backward, its version, its parameter's
        self.before: dict[Module, Any] = {}
        for model in self.models:
            self._enter(model)
        _WATCHES.append(self)
        _look()

    def _enter(self, model: Module) -> None:
        self.parameters += [p for p in model.parameters() if p.spec.dtype.kind in "fc"]
        self.buffers += list(model.buffers())
        self.changing = None
        self.before[model] = model.__dict__.get("forward")
        model.__dict__["forward"] = self._remembering(model)

    def _remembering(self, model: Module) -> Callable:
        """The `forward` of a watched module: its calls are remembered, unless they are inside another one.

        It is written out in one function: at 70 us a step, each microsecond is a percent.
        """
        calls, buffers, random, forward = self.calls, self.buffers, self.random, model.forward
        words = memoryview(default_generator.record.data).cast("Q")
        place = words[NEXT // 8 : NEXT // 8 + 5]

        def call(*args, **kwargs):
            if self.depth or (GUARD.active and not LOCAL.grad):
                return forward(*args, **kwargs)
            if self.backwards or len(calls) == MOST_CALLS:
                calls.clear()
                self.backwards = 0
            if random[0] != (where := place.tobytes()) or random[1] != words[0]:  # something was drawn
                random[:] = where, words[0], bytes(words)
            state = random[2], snapshot_gpus()
            copies = self.keep_buffers() if buffers else ()
            self.depth = 1
            try:
                result = forward(*args, **kwargs)
            finally:
                self.depth = 0
            if buffers:
                self.learn_buffers()
            last = SEQUENCE()
            if not calls:
                WATCH.kept_from = last
            calls.append((model, args, kwargs, state, LOCAL.autocast, copies, result, last))
            return result

        call.__wrapped__ = forward  # for inspect.signature
        return call

    def keep_buffers(self) -> list[tuple[Tensor, Tensor]]:
        """Copies of the buffers that calls change; of all at the first call."""
        self.versions = [b.storage.version for b in self.buffers]
        changing = self.buffers if self.changing is None else self.changing
        return [(b, b.detach().clone()) for b in changing]

    def learn_buffers(self) -> None:
        """Find out which buffers a call has changed."""
        changed = [b for b, version in zip(self.buffers, self.versions) if b.storage.version != version]
        self.changing = [b for b in self.buffers if any(b is c for c in (*(self.changing or ()), *changed))]

    @property
    def remembered(self) -> list[Call]:
        """The calls since the last backward."""
        return [Call(*call) for call in self.calls]

    def _checking(self) -> Callable[[Sequence[Tensor], Sequence[Tensor | None]], None]:
        """The function that tests what a backward left: its roots and the gradients."""
        parameters, specs, test = self.parameters, [], None

        def check(roots: Sequence[Tensor], grads: Sequence[Tensor | None]) -> None:
            nonlocal specs, test
            self.backwards += 1
            if self.warns:
                self.look_for_old_gradients()
            found: list[Any] = [*map(_GRAD, parameters), *roots]
            try:
                known = [*map(_SPEC, found)] == specs
            except (AttributeError, NotImplementedError):  # no gradient, or a sparse one
                found = [g for g in found if g is not None]
                known = any(g.is_sparse for g in found)
                if known:
                    test = finite
                else:
                    known = [*map(_SPEC, found)] == specs
            if not known:
                specs = [*map(_SPEC, found)]
                test = _test(found) if many.alike(found) else finite
            if not test(found):  # type: ignore[misc]
                from .replay import find

                raise find(list(_WATCHES), list(roots), list(grads))

        return check

    def look_for_old_gradients(self) -> None:
        """Warn where a backward has added to the gradients of the step before, though the parameters were updated."""
        for p in self.parameters:
            if p._grad is not None:
                break
        else:
            return
        now = (p._grad, p._grad.storage.version, p.storage.version)
        if self.left and now[0] is self.left[0] and now[1] == self.left[1] + 1 and now[2] != self.left[2]:
            caution(
                "backward() adds to the gradients of the step before",
                mend="call optimizer.zero_grad() once a step, before backward()",
            )
        self.left = now

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
                        f"{number}.{name}" if len(self.models) > 1 else name,
                        tuple(g.shape),
                        g.norm().item(),
                        g.abs().max().item() if g.numel() else 0.0,
                        (g == 0).sum().item() / count,
                        bad,
                    )  # fmt: skip
                )
        return rows

    def restore(self) -> None:
        """What `close` does besides, for `watch_all`."""

    def close(self) -> None:
        """Look away: the modules are as they were."""
        if self in _WATCHES:
            _WATCHES.remove(self)
            for model, before in self.before.items():
                del model.__dict__["forward"]
                if before is not None:
                    model.__dict__["forward"] = before
            _look()
            self.restore()
        self.calls.clear()

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_) -> None:
        self.close()


def _after(roots: Sequence[Tensor], grads: Sequence[Tensor | None]) -> None:
    """At the end of a backward: the tests of several watches."""
    for w in _WATCHES:
        w.check(roots, grads)


def _look() -> None:
    """Have the engine tell whoever watches."""
    after = _after if len(_WATCHES) > 1 else _WATCHES[0].check if _WATCHES else None
    WATCH.after, WATCH.kept_from = after, 0 if _WATCHES else sys.maxsize


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

    def restore() -> None:
        Module.__call__ = original

    Module.__call__, found.restore = __call__, restore
    return found
