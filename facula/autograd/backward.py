"""`backward` and `grad`: what the caller may leave out is filled in and checked, then the engine runs."""

from collections.abc import Sequence

from facula.core.spec import Spec
from facula.core.tensor import Tensor
from facula.core.wrapped import BATCH, Level, batched, opened
from facula.errors import fail

from . import engine
from .graph import GradientEdge

__all__ = ["backward", "grad"]


def _many(x) -> tuple:
    return (x,) if isinstance(x, (Tensor, GradientEdge)) or x is None else tuple(x)


def placed(g: Tensor, wanted: Spec, number: int, of: str = "") -> Tensor:
    """A gradient on the device of its tensor: numbers are brought there, for others RuntimeError."""
    if g.spec.ndim:
        fail(
            RuntimeError,
            f"{of}invalid gradient at index {number} - expected device {wanted.device} but got {g.spec.device}",
        )
    return engine.ARITHMETIC.to_device(g, wanted.device)


def _roots(outputs: Sequence[Tensor], grads: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The gradients that arrive at the outputs; ones for numbers."""
    if len(grads) != len(outputs):
        fail(RuntimeError, f"got {len(outputs)} tensors and {len(grads)} gradients")
    found: list[Tensor | None] = []
    for number, (out, g) in enumerate(zip(outputs, grads)):
        if not out.needs_grad:
            fail(
                RuntimeError,
                f"element {number} of tensors does not require grad and does not have a grad_fn",
                mend="nothing that it was computed from has requires_grad=True, or it was made under no_grad() or "
                "after detach()",
            )
        if g is None:
            if out.spec.numel != 1:
                fail(
                    RuntimeError,
                    "grad can be implicitly created only for scalar outputs",
                    got=f"an output of shape {tuple(out.spec.shape)}",
                    mend="reduce it first, e.g. loss.sum().backward(), or pass gradient= of that shape",
                )
            if out.spec.dtype.kind == "c":
                fail(
                    RuntimeError,
                    f"grad can be implicitly created only for real scalar outputs but got {out.spec.dtype!r}",
                )
            g = engine.ARITHMETIC.ones(out)
        elif not isinstance(g, Tensor):
            fail(TypeError, f"gradients can be either Tensors or None, but got {type(g).__name__}")
        elif g.spec.shape != out.spec.shape:
            fail(
                RuntimeError,
                f"Mismatch in shape: grad_output[{number}] has a shape of {g.spec.shape} and output[{number}] has a "
                f"shape of {out.spec.shape}.",
                mend="the gradient has the shape of the tensor that it belongs to",
            )
        elif g.spec.dtype.is_complex != out.spec.dtype.is_complex:
            fail(
                RuntimeError,
                "For complex Tensors, both grad_output and output are required to have the same dtype. Mismatch in "
                f"dtype: grad_output[{number}] has a dtype of {g.spec.dtype!r} and output[{number}] has a dtype of "
                f"{out.spec.dtype!r}.",
            )
        elif g.spec.device is not out.spec.device:
            g = placed(g, out.spec, number)
        found.append(g)
    return found


def backward(
    tensors, grad_tensors=None, retain_graph=None, create_graph=False, grad_variables=None, inputs=None
) -> None:
    """Add the gradients of `tensors` to the leaves' `.grad` (or to those of `inputs`)."""
    outputs = _many(tensors)
    grads = (None,) * len(outputs) if grad_tensors is None else _many(grad_tensors)
    if inputs is not None:
        inputs = _many(inputs)
        if not inputs:
            fail(RuntimeError, "`inputs` argument to `backward()` cannot be empty.")
        for number, x in enumerate(inputs):
            if not x.needs_grad:
                fail(RuntimeError, f"One of the differentiated Tensors does not require grad: inputs[{number}]")
    keep = create_graph if retain_graph is None else retain_graph
    engine.run(outputs, _roots(outputs, grads), inputs=inputs, keep=keep, create=create_graph)


def grad(
    outputs, inputs, grad_outputs=None, retain_graph=None, create_graph=False, only_inputs=True, allow_unused=None,
    is_grads_batched=False, materialize_grads=False,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """The gradients of `outputs` with respect to `inputs`, a tuple; `.grad` is left alone.

    Examples
    --------
    >>> import facula as torch
    >>> x = torch.tensor(3.0, requires_grad=True)
    >>> torch.autograd.grad(x * x, x)
    (tensor(6.),)
    """
    outs, wanted = _many(outputs), _many(inputs)
    if allow_unused is None:
        allow_unused = materialize_grads
    elif not allow_unused and materialize_grads:
        fail(
            ValueError,
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False.",
        )
    for x in wanted:
        if not x.needs_grad:
            fail(RuntimeError, "One of the differentiated Tensors does not require grad")
    grads = (None,) * len(outs) if grad_outputs is None else _many(grad_outputs)
    keep = create_graph if retain_graph is None else retain_graph
    if is_grads_batched:
        found = _batched(outs, grads, wanted, keep, create_graph)
    else:
        found = engine.run(outs, _roots(outs, grads), inputs=wanted, accumulate=False, keep=keep, create=create_graph)
    if materialize_grads:
        return tuple(engine.ARITHMETIC.zeros(x.spec) if g is None else g for x, g in zip(wanted, found))
    if not allow_unused and any(g is None for g in found):
        unused = next(i for i, g in enumerate(found) if g is None)
        fail(
            RuntimeError,
            f"The differentiated Tensor at index {unused} appears to not have been used in the graph. Set "
            "allow_unused=True if this is the desired behavior.",
        )
    return tuple(found)


def _batched(outs: tuple, grads: tuple, wanted: tuple, keep: bool, create: bool) -> list[Tensor | None]:
    """The gradients for many cotangents at once: the first dim of `grads`, and of the results, counts them."""
    sizes = {g.spec.shape[0] for g in grads if g is not None}
    if len(sizes) != 1:
        fail(
            ValueError,
            "vmap: Expected all tensors to have the same size in the mapped dimension, got sizes "
            f"{sorted(sizes)} for the mapped dimension",
        )
    with opened(Level(BATCH, sizes.pop())) as level:
        roots = _roots(outs, [None if g is None else batched(g, 0, level) for g in grads])
        found = engine.run(outs, roots, inputs=wanted, accumulate=False, keep=keep, create=create)
        return [None if g is None else engine.ARITHMETIC.unbatched(g, level) for g in found]
