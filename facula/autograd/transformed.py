"""Custom functions inside function transforms: what of a `Function` is used for batched and for dual arguments."""

from typing import Any, NamedTuple

from facula.core.tensor import Tensor
from facula.core.wrapped import BATCH, Level, batched, box_of, dual, mapped, opened
from facula.errors import fail

from . import engine

__all__ = ["VmapInfo", "result_in"]


class VmapInfo(NamedTuple):
    """What a `vmap` staticmethod is told."""

    batch_size: int
    randomness: str


def result_in(cls: Any, args: tuple, level: Level, plain: Any) -> Any:
    """What `cls` makes of arguments some of which are stand-ins of `level`; `plain` is the class `Function`."""
    if level.kind == BATCH:
        if cls.vmap is not plain.vmap:
            return _own_rule(cls, args, level)
        if not cls.generate_vmap_rule:
            fail(
                RuntimeError,
                f"You tried to vmap over {cls.__name__}, but it does not have vmap support. Please override and "
                "implement the vmap staticmethod or set generate_vmap_rule=True.",
            )
        if cls.setup_context is plain.setup_context:
            _needs_context(cls)
        return _generated(cls, args, level, plain)
    return _pushed(cls, args, level, plain)


def _needs_context(cls: Any) -> None:
    fail(
        RuntimeError,
        "In order to use an autograd.Function with functorch transforms (vmap, grad, jvp, jacrev, ...), it must "
        "override the setup_context staticmethod. For more details, please see "
        "https://pytorch.org/docs/main/notes/extending.func.html",
        got=cls.__name__,
    )


def _inside(x: Any, level: Level) -> Any:
    box = box_of(x, level)
    return x if box is None else box.value


def _dim(x: Any, level: Level) -> int | None:
    box = box_of(x, level)
    return None if box is None else box.dim


def _dims(value: Any, level: Level) -> Any:
    """The structure of an argument with the dim of the batch, or None, in the place of each value."""
    if isinstance(value, (tuple, list)):
        return type(value)(_dims(x, level) for x in value)
    return _dim(value, level)


def _own_rule(cls: Any, args: tuple, level: Level) -> Any:
    dims = tuple(_dims(a, level) for a in args)
    info = VmapInfo(level.size, level.randomness)
    made = cls.vmap(info, dims, *mapped(lambda x: _inside(x, level), args))
    if not (isinstance(made, tuple) and len(made) == 2):
        fail(RuntimeError, f"Expected the vmap staticmethod to have two returns, an output and out_dims, got {made}")
    out, out_dims = made
    return _wrapped(out, out_dims, level)


def _wrapped(out: Any, dims: Any, level: Level) -> Any:
    if isinstance(out, (tuple, list)):
        each = dims if isinstance(dims, (tuple, list)) else (dims,) * len(out)
        return type(out)(_wrapped(x, d, level) for x, d in zip(out, each))
    if dims is None or not isinstance(out, Tensor):
        return out
    return batched(out, dims % out.spec.ndim, level)


def _generated(cls: Any, args: tuple, level: Level, plain: Any) -> Any:
    """The function of the whole batch: each of its methods runs on batched tensors of a level of its own."""
    size, dims = level.size, [_dim(a, level) for a in args]
    given = [_inside(a, level) for a in args]
    join = engine.ARITHMETIC.unbatched

    def apart(values: Any, own: Level, where: Any) -> list:
        return [batched(x, d, own) if d is not None and x is not None else x for x, d in zip(values, where)]

    class Whole(plain):
        @staticmethod
        def forward(*inner):
            with opened(Level(BATCH, size, level.randomness)) as own:
                out = cls.forward(*apart(inner, own, dims))
                return mapped(lambda x: join(x, own), out)

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.inner = type(ctx)()
            ctx.inner.needs_input_grad = ctx.needs_input_grad
            with opened(Level(BATCH, size, level.randomness)) as own:
                outs = mapped(lambda x: batched(x, 0, own), output)
                cls.setup_context(ctx.inner, tuple(apart(inputs, own, dims)), outs)
                kept = ctx.inner._tensors
                ctx.where = [_dim(x, own) for x in kept]
                ctx.save_for_backward(*[_inside(x, own) for x in kept])
                forward = getattr(ctx.inner, "_forward_tensors", ())
                ctx.forward = [(_inside(x, own), _dim(x, own)) for x in forward]
            ctx.set_materialize_grads(ctx.inner._materialize)

        @staticmethod
        def backward(ctx, *grads):
            with opened(Level(BATCH, size, level.randomness)) as own:
                ctx.inner._tensors = tuple(apart(ctx.saved_tensors, own, ctx.where))
                found = cls.backward(ctx.inner, *[None if g is None else batched(g, 0, own) for g in grads])
                found = found if isinstance(found, tuple) else (found,)
                out = []
                for g, d in zip(found, dims):
                    g = None if g is None else join(g, own, 0 if d is None else d)
                    out.append(g if g is None or d is not None else g.sum(0))
                return tuple(out)

        @staticmethod
        def jvp(ctx, *tangents):
            with opened(Level(BATCH, size, level.randomness)) as own:
                ctx.inner._tensors = tuple(apart(ctx.saved_tensors, own, ctx.where))
                ctx.inner._forward_tensors = tuple([x if d is None else batched(x, d, own) for x, d in ctx.forward])
                found = cls.jvp(ctx.inner, *apart(tangents, own, dims))
                return mapped(lambda x: join(x, own), found)

    Whole.__name__ = f"Vmapped{cls.__name__}"
    return _wrapped(Whole.apply(*given), 0, level)


def _pushed(cls: Any, args: tuple, level: Level, plain: Any) -> Any:
    """The result with the tangents of the `jvp` staticmethod."""
    if cls.jvp is plain.jvp:
        fail(
            RuntimeError,
            "You must implement the jvp function for custom autograd.Function to use it with forward mode AD.",
            got=cls.__name__,
        )
    result, ctx = cls._applied(tuple(_inside(a, level) for a in args))
    tangents = []
    for a in args:
        box = box_of(a, level)
        if box is not None and box.tangent is not None:
            tangents.append(box.tangent)
        elif isinstance(a, Tensor) and a.spec.dtype.kind in "fc" and ctx._materialize:
            tangents.append(engine.ARITHMETIC.zeros(a.spec))
        else:
            tangents.append(None)
    if hasattr(ctx, "_forward_tensors"):
        ctx.forward_tensors = ctx._forward_tensors
    found = cls.jvp(ctx, *tangents)
    outs = result if isinstance(result, (tuple, list)) else (result,)
    found = found if isinstance(found, (tuple, list)) else (found,)
    if len(found) != len(outs):
        fail(
            RuntimeError,
            f"{cls.__name__}.jvp returned an incorrect number of forward gradients (expected {len(outs)}, got "
            f"{len(found)})",
        )
    plain_ids = {id(t) for t in ctx._plain}
    made = [
        dual(o, None if id(o) in plain_ids else t, level) if isinstance(o, Tensor) and o.spec.dtype.kind in "fc" else o
        for o, t in zip(outs, found)
    ]
    return type(result)(made) if isinstance(result, (tuple, list)) else made[0]
