"""Custom functions: forward and backward written by the user, one node in the graph."""

from typing import Any

from facula.core.modes import GUARD, LOCAL
from facula.core.tensor import Tensor
from facula.core.wrapped import box_of, tensors_in, top_of
from facula.errors import fail

from . import engine
from .backward import placed
from .node import CUSTOM, Node, Output, alias, edge_of

__all__ = ["Function", "FunctionCtx", "once_differentiable"]

RECORD: list = []  # operators/declare.py: makes the node of an operation


class FunctionCtx:
    """What `forward` leaves for `backward`."""

    _tensors: tuple = ()
    _versions: tuple = ()
    _dirty: tuple = ()
    _plain: tuple = ()
    _materialize = True
    needs_input_grad: tuple[bool, ...] = ()
    _node: Any = None

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep inputs or outputs for backward; changes to them in between are noticed."""
        for t in tensors:
            if t is not None and not isinstance(t, Tensor):
                fail(
                    TypeError,
                    f"save_for_backward can only save variables, but argument 0 is of type {type(t).__name__}",
                    mend="keep other values as attributes of ctx",
                )
        self._tensors = tensors

    def save_for_forward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for `jvp`."""
        self._forward_tensors = tensors

    @property
    def saved_tensors(self) -> tuple:
        """What `save_for_backward` kept."""
        node = self._node
        if node is None:
            return self._tensors
        saved = node.saved
        if saved is None:
            node.freed()
        return tuple(node.unpack(i) for i, _ in enumerate(saved or ()))

    saved_variables = saved_tensors

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Say that forward wrote these inputs in place."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Say that these outputs have no gradient."""
        self._plain = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether missing gradients come as zeros (the default) or None."""
        self._materialize = value


class _FunctionNode(Node):
    """The node of a custom function."""

    __slots__ = ("ctx", "function", "inputs", "positions")

    def apply(self, *grads):
        ctx = self.ctx
        if ctx._materialize:
            grads = tuple(engine.ARITHMETIC.zeros(s) if g is None else g for g, s in zip(grads, self.outputs))
        found = self.function.backward(ctx, *grads)
        found = found if isinstance(found, tuple) else (found,)
        count = len(self.positions)
        if len(found) != count and not (len(found) > count and all(g is None for g in found[count:])):
            fail(
                RuntimeError,
                f"function {self.name()} returned an incorrect number of gradients (expected {count}, got "
                f"{len(found)})",
                mend="backward returns one gradient for each argument of forward, None for those that have none",
            )
        out: list = []
        for is_tensor, grad, edge in zip(self.positions, found, self._edges_by_argument()):
            if not is_tensor:
                continue
            out.append(self._checked(grad, edge, len(out)))
        return out

    def _edges_by_argument(self):
        edges = iter(zip(self.edges, self.inputs))
        return [next(edges) if is_tensor else None for is_tensor in self.positions]

    def _checked(self, grad, edge_spec, number: int):
        edge, spec = edge_spec
        if grad is None or edge is None:
            return None
        if not isinstance(grad, Tensor):
            fail(TypeError, f"{self.name()}: expected Variable or None (got {type(grad).__name__})")
        if grad.spec.shape != spec.shape or grad.spec.dtype is not spec.dtype:
            try:
                return engine.ARITHMETIC.sum_to(grad, spec)
            except RuntimeError:
                fail(
                    RuntimeError,
                    f"Function {self.name()} returned an invalid gradient at index {number} - got "
                    f"{list(grad.spec.shape)} but expected shape compatible with {list(spec.shape)}",
                )
        if grad.spec.device is not spec.device:
            return placed(grad, spec, number, f"Function {self.name()} returned an ")
        return grad

    def unpack(self, i: int):
        held, version, is_output = self.saved[i]
        if held is None:
            return None
        return engine.ARITHMETIC.unkeep(self, held, version, is_output is not None, is_output or 0)

    def freed(self):
        engine.ARITHMETIC.freed(self)

    def release(self) -> None:
        if self.saved:
            self.saved = None


class _Meta(type):
    """Gives each Function class the class of its nodes."""

    def __init__(cls, name, bases, namespace):
        super().__init__(name, bases, namespace)
        cls._node_class = type(
            name + "Backward", (_FunctionNode,), {"__slots__": ("__dict__",), "__module__": "torch.autograd.function"}
        )


class Function(metaclass=_Meta):
    """An operation with a backward of its own: subclass, define static `forward` and `backward`, call `.apply`.

    Examples
    --------
    >>> import facula as torch
    >>> class Double(torch.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         return x * 2
    ...     @staticmethod
    ...     def backward(ctx, grad):
    ...         return grad * 2
    >>> x = torch.ones(2, requires_grad=True)
    >>> Double.apply(x).sum().backward()
    >>> x.grad
    tensor([2., 2.])
    """

    generate_vmap_rule = False

    def __init__(self, *args, **kwargs):
        import warnings

        warnings.warn(
            f"{type(self)} should not be instantiated. Methods on autograd functions are all static, so you should "
            "invoke them on the class itself. Instantiating an autograd function will raise an error in a future "
            "version of PyTorch.",
            DeprecationWarning,
            stacklevel=2,
        )

    def __call__(self, *args, **kwargs):
        fail(
            RuntimeError,
            "Legacy autograd function with non-static forward method is deprecated. Please use new-style autograd "
            "function with static forward method.",
        )

    @staticmethod
    def forward(*args, **kwargs):
        """Compute the outputs: `forward(ctx, *inputs)`, or `forward(*inputs)` beside `setup_context`."""
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Keep what backward needs, when `forward` takes no ctx."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx, *grad_outputs):
        """The gradients of the inputs, given those of the outputs."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with "
            "backward mode AD."
        )

    vjp = backward

    @staticmethod
    def jvp(ctx, *grad_inputs):
        """The tangents of the outputs, given those of the inputs."""
        raise NotImplementedError(
            "You must implement the jvp function for custom autograd.Function to use it with forward mode AD."
        )

    @staticmethod
    def vmap(info, in_dims, *args):
        """(outputs, where the batch is in each) of a whole batch."""
        raise NotImplementedError(
            "To use autograd.Function with vmap, you must either override the vmap staticmethod or set "
            "generate_vmap_rule=True."
        )

    @classmethod
    def apply(cls, *args):
        """Run forward and record it."""
        if GUARD.active and LOCAL.levels and (level := top_of(args)) is not None:
            from .transformed import result_in

            result = result_in(cls, args, level, Function)
            if LOCAL.grad and any(t.needs_grad and box_of(t, level) for t in tensors_in(args)):
                return cls._applied(args, result, level)[0]
            return result
        return cls._applied(args)[0]

    @classmethod
    def _applied(cls, args: tuple, made: Any = None, level: Any = None) -> tuple[Any, FunctionCtx]:
        """(result, context); `made` is the result where it is known, for stand-ins of a level."""
        ctx = FunctionCtx()
        tensors = [a for a in args if isinstance(a, Tensor)]
        outer = [level is not None and box_of(t, level) is None for t in tensors]  # of other levels: constants here
        away = {id(t) for t, o in zip(tensors, outer) if o}
        ctx.needs_input_grad = tuple(isinstance(a, Tensor) and a.needs_grad and id(a) not in away for a in args)
        recording = (not GUARD.active or LOCAL.grad) and any(ctx.needs_input_grad)
        own_context = cls.setup_context is not Function.setup_context
        edges = tuple(None if o else edge_of(t) for t, o in zip(tensors, outer)) if recording else ()
        specs = tuple(t.spec for t in tensors)
        before = LOCAL.grad
        GUARD.change(1)
        LOCAL.grad = False
        try:
            if own_context:
                result = cls.forward(*args) if made is None else made
                cls.setup_context(ctx, args, result)
            else:
                result = cls.forward(ctx, *args) if made is None else made
        finally:
            LOCAL.grad = before
            GUARD.change(-1)
        if not recording:
            return result, ctx
        return _record(cls, ctx, args, edges, specs, result), ctx


def _record(cls, ctx: FunctionCtx, args: tuple, edges: tuple, specs: tuple, result):
    many = isinstance(result, (tuple, list))
    outs = list(result) if many else [result]
    inputs = {id(a) for a in args if isinstance(a, Tensor)}
    dirty = {id(t) for t in ctx._dirty}
    plain = {id(t) for t in ctx._plain}
    shells, numbers = [], {}
    saved_ids = {id(t) for t in ctx._tensors if t is not None}
    for i, o in enumerate(outs):
        if not isinstance(o, Tensor):
            continue
        if id(o) in dirty:
            if o.needs_grad and o.edge is None:
                fail(
                    RuntimeError,
                    "a leaf Variable that requires grad has been used in an in-place operation.",
                    mend="change it under torch.no_grad(), or work on x.clone()",
                )
            engine.ARITHMETIC.check_leaf(o)
            o.storage.version += 1
        elif id(o) in inputs or (o.base is not None):
            kept = o
            outs[i] = o = alias(o)  # an input returned as it is: a new record, so that the input keeps its own history
            if id(kept) in inputs or id(kept.base) in inputs:
                o.base, o.seen = (kept if kept.base is None else kept.base), CUSTOM
            if id(kept) in saved_ids and id(kept) not in inputs:
                ctx._tensors = tuple(o if t is kept else t for t in ctx._tensors)
        if id(o) in plain or o.spec.dtype.kind not in "fc" or id(outs[i]) in plain:
            continue
        numbers[id(o)] = len(shells)
        shells.append(o)
    if not shells:
        return tuple(outs) if many else outs[0]
    held = []
    for t in ctx._tensors:
        if t is None:
            held.append((None, 0, None))
        elif id(t) in numbers:
            (p,), (v,) = engine.ARITHMETIC.keep((alias(t),))
            held.append((p, v, numbers[id(t)]))
        else:
            (p,), (v,) = engine.ARITHMETIC.keep((t,))
            held.append((p, v, None))
    marks = [alias(o) if id(o) in dirty else o for o in shells]
    all_outs = [o for o in outs if isinstance(o, Tensor)]
    node = RECORD[0](cls._node_class, edges, marks)
    if len(all_outs) != len(shells):  # backward gets a gradient for every output, also for those that have none
        node.outputs = tuple(o.spec for o in all_outs)
        for o in shells:
            o.edge = Output(node, next(i for i, x in enumerate(all_outs) if x is o)) if len(all_outs) > 1 else node
    for o, mark in zip(shells, marks):
        if mark is not o:
            engine.ARITHMETIC.rebase(o, node)
    node.saved = tuple(held)
    node.function, node.ctx, node.inputs = cls, ctx, specs
    node.positions = tuple(isinstance(a, Tensor) for a in args)
    ctx._node = node
    ctx._tensors = ()
    return tuple(outs) if many else outs[0]


def once_differentiable(function):
    """Mark a backward whose results must not be differentiated again."""

    def inside(ctx, *grads):
        before = LOCAL.grad
        GUARD.change(1)
        LOCAL.grad = False
        try:
            return function(ctx, *grads)
        finally:
            LOCAL.grad = before
            GUARD.change(-1)

    return inside
