"""Derivatives of functions: `torch.autograd.functional`: Jacobians, Hessians, and their products with vectors."""

from collections.abc import Callable

from facula.core.tensor import Tensor
from facula.core.wrapped import BATCH, DUAL, Level, batched, box_of, dual, opened
from facula.errors import fail

from .backward import grad as differentiate
from .engine import ARITHMETIC
from .grad_mode import enable_grad

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]


def _tuple(x, what: str, where: str) -> tuple[bool, tuple]:
    """(whether it was a tuple, the tensors); TypeError for anything else."""
    many = isinstance(x, tuple)
    found = x if many else (x,)
    for i, t in enumerate(found):
        if not isinstance(t, Tensor):
            if many:
                fail(
                    TypeError,
                    f"The {what} given to {where} must be either a Tensor or a tuple of Tensors but the value at index "
                    f"{i} has type {type(t)}.",
                )
            fail(
                TypeError,
                f"The {what} given to {where} must be either a Tensor or a tuple of Tensors but the given {what} has "
                f"type {type(t)}.",
            )
    return many, found


def _prepared(inputs: tuple, create_graph: bool) -> tuple:
    """Inputs that record: parts of the outer graph where it is to be kept, else fresh leaves."""
    return tuple(x.view_as(x) if create_graph and x.requires_grad else x.detach().requires_grad_() for x in inputs)


def _run(func: Callable, inputs: tuple, where: str) -> tuple[bool, tuple]:
    return _tuple(func(*inputs), "outputs of the user-provided function", where)


def _strict(outputs: tuple, where: str) -> None:
    for i, out in enumerate(outputs):
        if not out.requires_grad:
            if where == "jacobian":
                fail(
                    RuntimeError,
                    f"Output {i} of the user-provided function does not require gradients. The outputs must be "
                    "computed in a differentiable manner from the input when running in strict mode.",
                )
            fail(
                RuntimeError,
                "The output of the user-provided function does not require gradients when running in strict mode "
                f"({where}).",
            )


def _grads(outputs, inputs, vectors, create_graph: bool, strict: bool = False, where: str = "") -> tuple:
    """Gradients with zeros where there are none."""
    pairs = [(o, v) for o, v in zip(outputs, vectors) if o.requires_grad]
    if pairs:
        found = differentiate(
            [o for o, _ in pairs],
            inputs,
            [v for _, v in pairs],
            create_graph=create_graph,
            retain_graph=True,
            allow_unused=True,
        )
    else:
        found = (None,) * len(inputs)
    for i, g in enumerate(found):
        if strict and g is None:
            fail(
                RuntimeError,
                f"The output of the user-provided function is independent of input {i}. This is not allowed in strict "
                "mode." if where != "jacobian" else
                f"Output 0 of the user-provided function is independent of input {i}. This is not allowed in strict "
                "mode.",
            )  # fmt: skip
    return tuple(x.new_zeros(x.shape) if g is None else g for x, g in zip(inputs, found))


def _finished(results, create_graph: bool):
    return tuple(r if create_graph else r.detach() for r in results)


def _vectors(v, like: tuple, one: tuple, what: str, where: str) -> tuple:
    """The vector that the caller gave, checked; ones where the function gives one number."""
    if v is None:
        if len(one) != 1 or one[0].numel() != 1:
            whose = (
                "returns a single Tensor with a single element"
                if where in ("vjp",)
                else "has a single input that is a Tensor with a single element"
            )
            fail(RuntimeError, f"The vector v can only be None if the user-provided function {whose}.")
        return tuple(x.new_ones(x.shape) for x in one)
    _, found = _tuple(v, "v", where)
    if len(found) != len(like):
        fail(RuntimeError, f"Expected v to be a tuple of invalid length: should be {len(like)} but got {len(found)}.")
    for i, (a, b) in enumerate(zip(found, like)):
        if a.shape != b.shape:
            fail(RuntimeError, f"Entry {i} in v has invalid size: should be {b.shape} but got {a.shape}.")
    return tuple(x.detach() if not x.requires_grad else x for x in found)


def vjp(func: Callable, inputs, v=None, create_graph: bool = False, strict: bool = False):
    """(outputs, v @ Jacobian): the product of a vector with the Jacobian of `func` at `inputs`."""
    with enable_grad():
        many, given = _tuple(inputs, "inputs", "vjp")
        xs = _prepared(given, create_graph)
        many_out, outs = _run(func, xs, "vjp")
        if strict:
            _strict(outs, "vjp")
        vs = _vectors(v, outs, outs, "outputs", "vjp")
        found = _finished(_grads(outs, xs, vs, create_graph, strict, "vjp"), create_graph)
        outs = _finished(outs, create_graph)
    return outs if many_out else outs[0], found if many else found[0]


def jvp(func: Callable, inputs, v=None, create_graph: bool = False, strict: bool = False):
    """(outputs, Jacobian @ v): the derivative of `func` at `inputs` in the direction `v`, by two backward passes."""
    with enable_grad():
        many, given = _tuple(inputs, "inputs", "jvp")
        xs = _prepared(given, create_graph)
        vs = _vectors(v, xs, xs, "inputs", "jvp")
        many_out, outs = _run(func, xs, "jvp")
        if strict:
            _strict(outs, "jvp")
        dummies = tuple(o.new_zeros(o.shape).requires_grad_() for o in outs)
        back = _grads(outs, xs, dummies, True, strict, "jvp")
        found = _finished(_grads(back, dummies, vs, create_graph), create_graph)
        outs = _finished(outs, create_graph)
    return outs if many_out else outs[0], found if many_out else found[0]


def jacobian(
    func: Callable,
    inputs,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
):
    """The derivative of each output with respect to each input: shape (*output, *input); tuples of tuples for several.

    Examples
    --------
    >>> import facula as torch
    >>> torch.autograd.functional.jacobian(lambda x: x**2, torch.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    if strategy not in ("reverse-mode", "forward-mode"):
        fail(
            AssertionError,
            'Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your function has more outputs '
            'than inputs, "forward-mode" tends to be more performant. Otherwise, prefer to use "reverse-mode".',
        )
    if strict and vectorize:
        fail(
            RuntimeError,
            "torch.autograd.functional.jacobian: `strict=True` and `vectorized=True` are not supported together. "
            "Please either set `strict=False` or `vectorize=False`.",
        )
    if strategy == "forward-mode":
        if create_graph:
            fail(
                NotImplementedError,
                'torch.autograd.functional.jacobian: `create_graph=True` and `strategy="forward-mode"` are not '
                'supported together (yet). Please either set `create_graph=False` or `strategy="reverse-mode"`.',
            )
        return _forward_jacobian(func, inputs, strict, vectorize)
    with enable_grad():
        many, given = _tuple(inputs, "inputs", "jacobian")
        xs = _prepared(given, create_graph)
        many_out, outs = _run(func, xs, "jacobian")
        if strict:
            _strict(outs, "jacobian")
        rows = []
        for out in outs:
            if vectorize and out.numel():
                rows.append(_all_rows(out, xs, create_graph))
                continue
            columns: list[list[Tensor]] = [[] for _ in xs]
            for element in out.reshape(-1).unbind() if out.numel() else ():
                for column, g in zip(
                    columns, _grads((element,), xs, (element.new_ones(()),), create_graph, strict, "jacobian")
                ):
                    column.append(g)
            rows.append(
                tuple(
                    (ARITHMETIC.stack(c).view(*out.shape, *x.shape) if c else x.new_zeros((*out.shape, *x.shape)))
                    for c, x in zip(columns, xs)
                )
            )
        rows = [_finished(r, create_graph) for r in rows]
    if many_out:
        return tuple(rows) if many else tuple(r[0] for r in rows)
    return rows[0] if many else rows[0][0]


def _units(x: Tensor, before: int, total: int) -> Tensor:
    """For each of `total` unit vectors its part in `x`, whose elements are those from number `before` on."""
    n = x.numel()
    rows = x.new_zeros((total, n))
    rows.as_strided((n,), (n + 1,), before * n).fill_(1)
    return rows.view(total, *x.shape)


def _all_rows(out: Tensor, xs: tuple, create_graph: bool) -> tuple:
    """The derivatives of all elements of an output, in one backward."""
    if not out.requires_grad:
        return tuple(x.new_zeros((*out.shape, *x.shape)) for x in xs)
    found = differentiate(
        out, xs, _units(out.detach(), 0, out.numel()), retain_graph=True, create_graph=create_graph, allow_unused=True,
        is_grads_batched=True,
    )  # fmt: skip
    return tuple(
        x.new_zeros((*out.shape, *x.shape)) if g is None else g.reshape((*out.shape, *x.shape))
        for x, g in zip(xs, found)
    )


def _forward_jacobian(func: Callable, inputs, strict: bool, vectorize: bool):
    """`jacobian` by forward mode: a run for each element of the inputs, or one for all."""
    if strict:
        fail(
            RuntimeError,
            'torch.autograd.functional.jacobian: `strict=True` and `strategy="forward-mode"` are not supported '
            'together (yet). Please either set `strict=False` or `strategy="reverse-mode"`.',
        )
    many, xs = _tuple(inputs, "inputs", "jacobian")
    sizes = [x.numel() for x in xs]
    total = sum(sizes)
    units = [_units(x.detach(), sum(sizes[:i]), total) for i, x in enumerate(xs)]
    found: list[list[Tensor]] = []  # for each output: tangents along each unit vector, or one stack of all
    many_out = False

    def push(tangents: list[Tensor]) -> tuple[bool, list[Tensor]]:
        with opened(Level(DUAL)) as level:
            several, outs = _run(func, tuple(dual(x, t, level) for x, t in zip(xs, tangents)), "jacobian")
            boxes = [box_of(o, level) for o in outs]
            return several, [
                ARITHMETIC.zeros(o.spec) if b is None or b.tangent is None else b.tangent for o, b in zip(outs, boxes)
            ]

    if vectorize:
        with opened(Level(BATCH, total)) as level:
            many_out, outs = push([batched(u, 0, level) for u in units])
            stacks = [ARITHMETIC.unbatched(o, level) for o in outs]
    else:
        for i in range(total):
            many_out, outs = push([u[i] for u in units])
            found.append(outs)
        stacks = [ARITHMETIC.stack(list(each)) for each in zip(*found)]
    rows = []
    for whole in stacks:
        parts = whole.split(sizes, 0)
        rows.append(tuple(p.movedim(0, -1).reshape((*p.shape[1:], *x.shape)).detach() for p, x in zip(parts, xs)))
    if many_out:
        return tuple(rows) if many else tuple(r[0] for r in rows)
    return rows[0] if many else rows[0][0]


def _number(func: Callable, where: str) -> Callable:
    """`func`, which must give one number."""

    def checked(*xs):
        out = func(*xs)
        if isinstance(out, tuple):
            fail(RuntimeError, f"The function given to {where} should return a single Tensor")
        if not isinstance(out, Tensor):
            _tuple(out, "outputs of the user-provided function", where)
        if out.numel() != 1:
            fail(RuntimeError, f"The Tensor returned by the function given to {where} should contain a single element")
        return out.reshape(())

    return checked


def hessian(
    func: Callable,
    inputs,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
):
    """The second derivatives of a function to one number: shape (*input, *input); tuples of tuples for several."""
    many, _ = _tuple(inputs, "inputs", "hessian")
    scalar = _number(func, "hessian")

    if outer_jacobian_strategy not in ("forward-mode", "reverse-mode"):
        fail(AssertionError, 'Expected strategy to be either "forward-mode" or "reverse-mode".')

    def slope(*xs):
        if outer_jacobian_strategy == "forward-mode":
            xs = tuple(x.requires_grad_() for x in xs)
        found = jacobian(scalar, xs, create_graph=True)
        if strict:
            _depends(found)
        return tuple(found) if many else found[0]

    return jacobian(
        slope, inputs, create_graph=create_graph, strict=strict, vectorize=vectorize, strategy=outer_jacobian_strategy
    )


def _depends(slopes: tuple) -> None:
    for i, g in enumerate(slopes):
        if not g.requires_grad:
            fail(
                RuntimeError,
                "While computing the hessian, found that the jacobian of the user-provided function with respect to "
                f"input {i} is independent of the input. This is not allowed in strict mode. You should ensure that "
                "your function is twice differentiable and that the jacobian depends on the inputs (this would be "
                "violated by a linear function for example).",
            )


def _second(func: Callable, inputs, v, create_graph: bool, strict: bool, where: str):
    with enable_grad():
        many, given = _tuple(inputs, "inputs", where)
        xs = _prepared(given, create_graph)
        vs = _vectors(v, xs, xs, "inputs", where)
        out = _number(func, where)(*xs)
        slope = _grads((out,), xs, (out.new_ones(()),), True, strict, where)
        if where == "vhp":
            found = _grads(slope, xs, vs, create_graph, strict, where)
        else:
            dummies = tuple(g.new_zeros(g.shape).requires_grad_() for g in slope)
            back = _grads(slope, xs, dummies, True, strict, where)
            found = _grads(back, dummies, vs, create_graph)
        found = _finished(found, create_graph)
        (out,) = _finished((out,), create_graph)
    return out, found if many else found[0]


def vhp(func: Callable, inputs, v=None, create_graph: bool = False, strict: bool = False):
    """(output, v @ Hessian) of a function that gives one number."""
    return _second(func, inputs, v, create_graph, strict, "vhp")


def hvp(func: Callable, inputs, v=None, create_graph: bool = False, strict: bool = False):
    """(output, Hessian @ v) of a function that gives one number."""
    return _second(func, inputs, v, create_graph, strict, "hvp")
