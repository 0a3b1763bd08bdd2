"""Operators whose result is another spec on the same memory."""

from collections.abc import Callable

from facula import launch
from facula.autograd.node import NO_GRAD, Node, edge_of
from facula.core.modes import GUARD, LOCAL
from facula.core.shape import Size
from facula.core.spec import Spec, spec
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.operators.override import foreign

from .base import Operator
from .keywords import renamed
from .recording import record
from .repeats import MISSING
from .seams import EMBED, INTERCEPT


def _first_view(*fields) -> Tensor:
    """Have records made natively from now on: not before somebody needs one, so that importing costs nothing."""
    global VIEW
    VIEW = launch.view_record()
    return VIEW(*fields)


VIEW: Callable[..., Tensor] = _first_view  # (spec, storage, ptr, base, seen)


class ViewNode(Node):
    """A recorded view: the gradient is put where the view looked."""

    __slots__ = ("args", "kwargs", "spec")

    def apply(self, grad):
        operator = self.operator
        if "input" in operator.gradients:
            return (operator.gradients["input"](grad, self.spec, *self.args, **self.kwargs),)
        return (EMBED[0](grad, self.spec, operator, self.args, self.kwargs),)


class View(Operator):
    """An operator whose result is another spec on the same memory."""

    node_kind = ViewNode

    def __init__(self, body: Callable, name: str | None = None):
        super().__init__(body, name)
        first, *others = self.signature.parameters.values()
        self.signature = self.signature.replace(parameters=[first.replace(name="input"), *others])
        self.names = tuple(self.signature.parameters)
        self.plans: dict[tuple, tuple[Spec, int]] = {}
        self.call = _viewing(self)

    def _plan(self, input: Tensor, args: tuple, kwargs: dict) -> tuple[Spec, int]:
        source = input.spec
        shape, strides, offset, *other = self.body(source, *args, **kwargs)
        kind = other[0] if other else source.dtype  # a view as another dtype counts in its elements
        found = (spec(kind, source.device, Size(shape), tuple(strides), source.kind), offset * kind.itemsize)
        if len(self.plans) > 4096:  # ever-changing shapes
            self.plans.clear()
        try:
            self.plans[(source, *args, *kwargs.items()) if kwargs else (source, *args)] = found
        except TypeError:
            pass  # an argument that is no key (a list): planned anew each time
        return found


def _viewing(operator: View) -> Callable:
    """The function (input, arguments) -> view; the spec of the result is planned once for each spec and arguments."""
    plans, plan, node_class, names = operator.plans, operator._plan, operator.node_class, operator.names

    def call(input=MISSING, *args, **kwargs):
        if GUARD.active and LOCAL.special:
            if kwargs and (true := renamed(operator.name, names, kwargs)) is not None:
                return call(*(() if input is MISSING else (input,)), *args, **true)
            return INTERCEPT[0](operator, (input, *args), kwargs, None)
        try:
            found, offset = plans[(input.spec, *args, *kwargs.items()) if kwargs else (input.spec, *args)]
        except (KeyError, TypeError):
            if kwargs and (true := renamed(operator.name, names, kwargs)) is not None:
                return call(input, *args, **true)
            found, offset = plan(input, args, kwargs)
        except AttributeError:
            if input is MISSING:
                true = renamed(operator.name, names, kwargs) or kwargs
                if "input" not in true:
                    fail(TypeError, f'{operator.name}() missing 1 required positional arguments: "input"')
                return call(true.pop("input"), *args, **true)
            if (made := foreign(input)) is not NotImplemented:
                return made
            fail(
                TypeError,
                f"{operator.name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}",
            )
        base, storage = input.base, input.storage
        if GUARD.active and not LOCAL.grad:
            return VIEW(found, storage, input.ptr + offset, input if base is None else base, NO_GRAD)
        out = VIEW(found, storage, input.ptr + offset, input if base is None else base, storage.version)
        if input.needs_grad:
            node = record(node_class, (edge_of(input),), (out,))
            node.spec, node.args, node.kwargs = input.spec, args, kwargs
        return out

    return call


def view_of(base: Tensor, spec: Spec, offset_bytes: int) -> Tensor:
    """Another record on the memory of `base`."""
    storage = base.storage
    return VIEW(spec, storage, base.ptr + offset_bytes, base if base.base is None else base.base, storage.version)
