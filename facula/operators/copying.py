"""Copies and conversions: clone, contiguous, to another dtype, copy into a tensor."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from facula import launch
from facula.core.dtype import dtype
from facula.core.modes import GUARD
from facula.core.shape import channels_last_strides
from facula.core.spec import Spec, dense, spec
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.ir import expr as ir
from facula.ir.kernel import Input, Kernel, Result

from .declare import CLONE, COPY, broadcast_shapes_of, broadcast_strides, function
from .declare.repeats import MISSING, FunctionPlan, Repeats, public

__all__ = ["cast", "clone", "contiguous", "copy_values", "like_layout", "overwrite", "packed", "to_device", "to_dtype"]

_PLANS: dict[tuple[Spec, Spec], launch.Bound] = {}
_KERNELS: dict[tuple[dtype, dtype], Kernel] = {}


def copy_kernel(source: dtype, target: dtype) -> Kernel:
    found = _KERNELS.get((source, target))
    if found is None:
        value = ir.load("input", source)
        found = Kernel("copy", (Input("input", source),), (Result("out", target, value),))
        _KERNELS[source, target] = found
    return found


def bound_copy(target: Spec, source: Spec) -> launch.Bound:
    """The code that copies from one layout to another, with broadcasting and conversion."""
    bound = _PLANS.get((target, source))
    if bound is None:
        shape = target.shape
        if len(source.shape) > len(shape) or any(
            n != 1 and n != m for n, m in zip(reversed(source.shape), reversed(shape))
        ):
            whole = broadcast_shapes_of("copy_", [shape, source.shape])
            fail(RuntimeError, f"output with shape {list(shape)} doesn't match the broadcast shape {list(whole)}")
        if target.device is not source.device:
            return _PLANS.setdefault((target, source), _between(target, source))
        strides = [target.strides, broadcast_strides(source, shape)]
        bound = launch.bind(copy_kernel(source.dtype, target.dtype), shape, None, strides, target.device)
        if len(_PLANS) > 4096:
            _PLANS.clear()
        _PLANS[target, source] = bound
    return bound


def _between(target: Spec, source: Spec) -> launch.Bound:
    """The code that copies from another device; what it finds in another layout or dtype is converted there first."""
    same = source.dtype is target.dtype and source.shape == target.shape and source.strides == target.strides
    whole = dense(target.dtype, target.shape, source.device)
    if same or launch.hollow(target.device) or launch.hollow(source.device):
        return launch.transfer(target, source)

    def convert(to: int, start: int, non_blocking: bool = False) -> None:
        # The memory between is not page-locked: always waited for.
        made = launch.empty(whole)
        code = bound_copy(whole, source)
        if code.function is not None:
            code.function(made.ptr, start, *code.tail)
        there = launch.empty(dense(target.dtype, target.shape, target.device))
        moved = launch.transfer(there.spec, whole)
        launch.run(moved, [there.ptr, made.ptr])
        code = bound_copy(target, there.spec)
        if code.function is not None:
            code.function(to, there.ptr, *code.tail)

    return launch.Bound(convert, ())


def copy_values(target: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    """Write the elements of `source`, broadcast and converted, into `target`, new memory; nothing is recorded.

    With `non_blocking`, a copy between devices may go on while the program does, where their memory allows it.
    """
    bound = _PLANS.get((target.spec, source.spec)) or bound_copy(target.spec, source.spec)
    if bound.function is None:
        return target
    if non_blocking and target.spec.device is not source.spec.device:
        bound.function(target.ptr, source.ptr, *bound.tail, non_blocking=True)
    else:
        bound.function(target.ptr, source.ptr, *bound.tail)
    return target


def overwrite(target: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    """`copy_values` over memory that others may have seen: its version grows."""
    copy_values(target, source, non_blocking)
    target.storage.version += 1
    return target


def dense_order(s: Spec) -> tuple[int, ...] | None:
    """The dims from the largest stride to the smallest if the layout has no gaps and no overlaps, else None."""
    order = sorted(range(s.ndim), key=lambda d: (-s.strides[d], d))
    step = 1
    for d in reversed(order):
        if s.shape[d] != 1:
            if s.strides[d] != step:
                return None
            step *= s.shape[d]
    return tuple(order)


@lru_cache(4096)
def packed(s: Spec) -> bool:
    """Whether the elements fill their memory without gaps, in whichever order of dims."""
    return s.contiguous or dense_order(s) is not None


CHANNELS_LAST: dict[object, int] = {"channels_last": 4, "channels_last_3d": 5}  # memory format -> rank


def like_layout(s: Spec, dtype: dtype | None = None, memory_format: object = "preserve") -> Spec:
    """The spec of a new tensor in the layout of `s`: its own strides where it is dense, else row-major."""
    name = getattr(memory_format, "name", memory_format)
    kind = dtype or s.dtype
    if name in (None, "preserve", "preserve_format"):
        if s.contiguous or dense_order(s) is None:
            return dense(kind, s.shape, s.device)
        return spec(kind, s.device, s.shape, s.strides)
    if name in CHANNELS_LAST:
        rank = CHANNELS_LAST[name]
        if s.ndim != rank:
            fail(RuntimeError, f"required rank {rank} tensor to use {name} format", got=f"rank {s.ndim}")
        return spec(kind, s.device, s.shape, channels_last_strides(s.shape))
    return dense(kind, s.shape, s.device)


@function(tensors=("input",))
def clone(input, *, memory_format="preserve"):
    """A copy of the elements, in the same layout unless told otherwise."""
    return copy_values(launch.empty(like_layout(input.spec, None, memory_format)), input)


@clone.gradient("input")
def _(grad):
    return grad


def _repeating(slow: Any, target: Callable[..., Spec], others: int) -> tuple[Repeats, Callable[..., Tensor]]:
    """What knows the calls of `slow`, a copy to memory of the spec `target`; what does the others, and has it learn."""
    known = Repeats(slow.operator, 1, others)

    def make(source: Spec, *constants: Any) -> FunctionPlan:
        made = target(source, *constants)
        bound = bound_copy(made, source)
        return FunctionPlan(bound.function, bound.tail, (made,), (0,))

    def learning(input: Any, *constants: Any, **kwargs: Any) -> Tensor:
        given = (input, *constants, *kwargs.values())
        if GUARD.active and (out := known.in_mode()(*given)) is not None:
            return out
        out = slow(input, *constants, **kwargs)
        if isinstance(input, Tensor):
            known.repeat(given, 1, out, make)
        return out

    return known, learning


def _known_clone(slow: Any) -> Any:
    """`clone` with known calls repeated in machine code."""
    known, learning = _repeating(slow, lambda s, memory_format: like_layout(s, None, memory_format), 1)

    def entry(input=MISSING, *, memory_format="preserve"):
        if (out := known.run(input, memory_format)) is not None:
            return out
        return slow(memory_format=memory_format) if input is MISSING else learning(input, memory_format=memory_format)

    return public(slow, entry)


clone = _known_clone(clone)
CLONE.append(clone)


def contiguous(input: Tensor, memory_format: object = "contiguous") -> Tensor:
    """The tensor itself if it is row-major already, else a copy that is."""
    name = getattr(memory_format, "name", memory_format)
    if name in ("contiguous", "contiguous_format", None):
        return input if input.spec.contiguous else clone(input, memory_format="contiguous")
    target = like_layout(input.spec, None, memory_format)
    return input if target.strides == input.spec.strides else clone(input, memory_format=memory_format)


@function(tensors=("input",))
def to_dtype(input, dtype, memory_format="preserve"):
    """A copy in another dtype."""
    return copy_values(launch.empty(like_layout(input.spec, dtype, memory_format)), input)


@to_dtype.gradient("input")
def _(grad, input_spec):
    return cast(grad, input_spec.dtype)


to_dtype.operator.node_class.__name__ = "ToCopyBackward0"


def _known_cast(slow: Any) -> Any:
    """`to_dtype` with known calls repeated in machine code."""
    known, learning = _repeating(slow, like_layout, 2)

    def entry(input, dtype, memory_format="preserve"):
        if (out := known.run(input, dtype, memory_format)) is not None:
            return out
        return learning(input, dtype, memory_format)

    return public(slow, entry)


to_dtype = _known_cast(to_dtype)


def cast(input: Tensor, dtype: dtype) -> Tensor:
    """The tensor itself if it has the dtype already, else a copy that has."""
    return input if input.spec.dtype is dtype else to_dtype(input, dtype)


@function(tensors=("input",))
def to_device(input, device, non_blocking=False):
    """A copy on another device, in the same layout."""
    s = input.spec
    if dense_order(s) is None:
        input = contiguous(input)
        s = input.spec
    return copy_values(launch.empty(spec(s.dtype, device, s.shape, s.strides)), input, non_blocking)


@to_device.gradient("input")
def _(grad, input_spec):
    return to_device(grad, input_spec.device)


to_device.operator.node_class.__name__ = "ToCopyBackward0"


@function(tensors=("input", "source"))
def copied(input, source):
    """What `input.copy_(source)` leaves in `input`: `source` in its shape and dtype (for the record of gradients)."""
    return copy_values(launch.empty(dense(input.spec.dtype, input.spec.shape, input.spec.device)), source)


@copied.gradient("input")
def _(grad, input_spec):
    from .creation import zeros_of

    return zeros_of(dense(input_spec.dtype, input_spec.shape, input_spec.device))


@copied.gradient("source")
def _(grad, source_spec):
    from .reduction import sum_to

    return sum_to(grad, source_spec)


def copy_of(x: Tensor) -> Tensor:
    """The elements of `x` in new memory, without history."""
    return copy_values(launch.empty(like_layout(x.spec)), x)


COPY.append(copy_of)
