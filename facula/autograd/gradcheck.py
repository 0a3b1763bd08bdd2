"""Checks of gradients against finite differences: `gradcheck`, `gradgradcheck`.

Complex numbers are pairs of reals here: the gradient g of a complex input has d(out) / d(real) as its real part and
d(out) / d(imag) as its imaginary one, which is PyTorch's convention.
"""

import warnings
from collections.abc import Callable, Sequence

import numpy as np

from facula.core.tensor import Tensor
from facula.core.wrapped import BATCH, DUAL, Level, batched, box_of, dual, opened, top_of
from facula.errors import fail

from .backward import grad as differentiate
from .engine import ARITHMETIC
from .grad_mode import enable_grad, no_grad

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]


class GradcheckError(RuntimeError):
    """A gradient that is not the slope of its function."""


def _tensors(x) -> tuple:
    return (x,) if isinstance(x, Tensor) else tuple(x)


def _outputs(func: Callable, inputs: Sequence) -> tuple:
    """The differentiable outputs."""
    return tuple(
        o
        for o in _tensors(func(*inputs))
        if isinstance(o, Tensor) and (o.dtype.is_floating_point or o.dtype.is_complex)
    )


def _parts(x: Tensor) -> np.ndarray:
    """The numbers of a tensor as a vector of reals."""
    values = np.ascontiguousarray(x.detach().numpy()).reshape(-1)
    return values.view(np.real(values).dtype).astype(np.float64)


def _numerical(func: Callable, inputs: tuple, target: Tensor, eps: float) -> list[np.ndarray]:
    """For each output d(parts of the output) / d(parts of `target`), by central differences: (outputs, inputs)."""
    width = 2 if target.dtype.is_complex else 1
    data = target.detach().numpy()  # written without counting versions: the graph at hand keeps these values
    columns: list[list[np.ndarray]] = []
    with no_grad():
        for place in np.ndindex(*target.shape):
            kept = data[place].item()
            for part in range(width):
                step = eps * (1j if part else 1)
                found = []
                for way in (1, -1):
                    data[place] = kept + way * step
                    found.append([_parts(o).copy() for o in _outputs(func, inputs)])
                data[place] = kept
                columns.append([(a - b) / (2 * eps) for a, b in zip(*found)])
    count = len(_outputs(func, inputs))
    return [np.stack([c[i] for c in columns], 1) if columns else np.empty((0, 0)) for i in range(count)]


def _analytical(output: Tensor, target: Tensor) -> np.ndarray:
    """d(parts of the output) / d(parts of `target`), by backward, a row for each part of the output."""
    width = 2 if output.dtype.is_complex else 1
    rows = []
    for place in np.ndindex(*output.shape):
        for part in range(width):
            seed = output.new_zeros(output.shape)
            seed[place] = 1j if part else 1
            (g,) = differentiate(output, target, seed, retain_graph=True, allow_unused=True)
            rows.append(_parts(g if g is not None else target.new_zeros(target.shape)))
            if g is not None and g.shape != target.shape:
                raise GradcheckError(f"grad has shape {tuple(g.shape)} for an input of shape {tuple(target.shape)}")
    return np.stack(rows) if rows else np.empty((0, 0))


def gradcheck(
    func: Callable, inputs, *, eps: float = 1e-6, atol: float = 1e-5, rtol: float = 1e-3, raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True, check_grad_dtypes: bool = False, check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False, check_backward_ad: bool = True, fast_mode: bool = False, masked: bool | None = None,
) -> bool:  # fmt: skip
    """Whether the gradients of `func` at `inputs` (float64 or complex128) are the slopes that small differences show.

    Parameters
    ----------
    func : function of tensors that returns a tensor or several
    inputs : tensor or tuple; those with requires_grad are checked
    eps : half the distance of the two points of a difference
    atol, rtol : how far the two may be apart
    raise_exception : raise GradcheckError rather than return False
    nondet_tol : how far two backward runs may be apart
    check_forward_ad : check forward mode too
    check_batched_grad, check_batched_forward_grad : compare gradients (tangents) of a batch with a loop
    check_undefined_grad : outputs whose gradient does not arrive must count as zeros
    fast_mode : one random direction instead of all

    Examples
    --------
    >>> import facula as torch
    >>> x = torch.tensor([0.5, 1.0], dtype=torch.float64, requires_grad=True)
    >>> torch.autograd.gradcheck(torch.sin, (x,))
    True
    """
    given = _tensors(inputs)
    targets = [(i, x) for i, x in enumerate(given) if isinstance(x, Tensor) and x.requires_grad]
    if not targets:
        fail(
            ValueError,
            "gradcheck expects at least one input tensor to require gradient, but none of them have "
            "requires_grad=True.",
        )
    for i, x in targets:
        if x.dtype.name not in ("float64", "complex128"):
            warnings.warn(
                f"Input #{i} requires gradient and is not a double precision floating point or complex. This check "
                "will likely fail if all the inputs are not of double precision floating point or complex. ",
                UserWarning,
                stacklevel=2,
            )
        if any(n > 1 and st == 0 for n, st in zip(x.shape, x.stride())):
            fail(
                RuntimeError,
                f"The {i}th input has a dimension with stride 0. gradcheck only supports inputs that are "
                "non-overlapping to be able to compute the numerical gradients correctly. You should call .contiguous "
                "on the input before passing it to gradcheck.",
            )
        x.retain_grad()
    checks: list[Callable] = []
    if check_backward_ad:
        checks.append(lambda: _check_backward(func, given, targets, eps, atol, rtol, nondet_tol, check_grad_dtypes,
            fast_mode))  # fmt: skip
    if check_forward_ad:
        checks.append(lambda: _check_forward(func, given, targets, eps, atol, rtol))
    if check_batched_forward_grad:
        checks.append(lambda: _check_batched_forward(func, given, targets))
    if check_undefined_grad and check_backward_ad:
        checks.append(lambda: _check_undefined(func, given, targets))
    if check_batched_grad:
        checks.append(lambda: _check_batched(func, given, targets))
    try:
        for check in checks:
            check()
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _mismatch(o: int, i: int, numerical, analytical, how: str = "") -> GradcheckError:
    return GradcheckError(
        f"Jacobian {how}mismatch for output {o} with respect to input "
        f"{i},\nnumerical:{numerical.T}\nanalytical:{analytical.T}\n"
    )


def _check_backward(func, inputs, targets, eps, atol, rtol, nondet_tol, check_grad_dtypes, fast) -> None:
    with enable_grad():
        outputs = _outputs(func, inputs)
    for i, x in targets:
        if fast:
            _check_fast(func, inputs, outputs, i, x, eps, atol, rtol)
            continue
        numerical = _numerical(func, inputs, x, eps)
        for o, out in enumerate(outputs):
            analytical = _analytical(out, x) if out.requires_grad else np.zeros((_parts(out).size, _parts(x).size))
            expected = numerical[o]
            if analytical.size == 0:
                continue
            if not np.allclose(analytical, expected, rtol=rtol, atol=atol):
                raise _mismatch(o, i, expected, analytical)
            if out.requires_grad:
                again = _analytical(out, x)
                if not np.allclose(analytical, again, rtol=0, atol=nondet_tol):
                    raise GradcheckError(
                        "Backward is not reentrant, i.e., running backward with same input and grad_output multiple "
                        "times gives different values, although analytical gradient matches numerical gradient."
                    )
            if check_grad_dtypes and out.requires_grad:
                (g,) = differentiate(out, x, out.new_ones(out.shape), retain_graph=True, allow_unused=True)
                if g is not None and g.dtype is not x.dtype:
                    raise GradcheckError(f"Gradient of input {i} has dtype {g.dtype} for an input of dtype {x.dtype}")


def _random(x: Tensor, number: int) -> Tensor:
    """Numbers in the shape and dtype of a tensor."""
    rng = np.random.default_rng(number)
    values = rng.standard_normal(tuple(x.shape))
    if x.dtype.is_complex:
        values = values + 1j * rng.standard_normal(tuple(x.shape))
    return x.new_tensor(np.asarray(values))


def _check_fast(func, inputs, outputs, i: int, x: Tensor, eps, atol, rtol) -> None:
    """One random direction in the input against one random weight of each output."""
    if not x.numel():
        return
    direction = _random(x, 1)
    data, step = x.detach().numpy(), eps * direction.numpy()
    kept = data.copy()
    found = []
    with no_grad():
        for way in (1, -1):
            data[...] = kept + way * step
            found.append([_parts(o).copy() for o in _outputs(func, inputs)])
        data[...] = kept
    for o, out in enumerate(outputs):
        weight = _random(out, 2 + o)
        slope = (found[0][o] - found[1][o]) / (2 * eps)
        numerical = np.asarray(slope @ _parts(weight))
        analytical = np.asarray(0.0)
        if out.requires_grad:
            (g,) = differentiate(out, x, weight, retain_graph=True, allow_unused=True)
            analytical = analytical if g is None else np.asarray(_parts(g) @ _parts(direction))
        if not np.allclose(analytical, numerical, rtol=rtol, atol=atol * max(1.0, float(np.abs(_parts(weight)).sum()))):
            raise _mismatch(o, i, numerical, analytical, "(one random direction) ")


def _tangents(func, inputs, i: int, tangent: Tensor) -> list[Tensor]:
    """What the outputs' tangents are for a tangent of input number `i`."""
    with opened(Level(DUAL)) as level:
        given = list(inputs)
        given[i] = dual(given[i].detach(), tangent, level)
        found = []
        for o in _outputs(func, tuple(given)):
            box = box_of(o, level)
            found.append(ARITHMETIC.zeros(o.spec) if box is None or box.tangent is None else box.tangent)
        return found


def _check_forward(func, inputs, targets, eps, atol, rtol) -> None:
    for i, x in targets:
        numerical = _numerical(func, inputs, x, eps)
        columns: list[list[np.ndarray]] = []
        for place in np.ndindex(*x.shape):
            for part in range(2 if x.dtype.is_complex else 1):
                tangent = x.new_zeros(x.shape)
                tangent[place] = 1j if part else 1
                columns.append([_parts(t).copy() for t in _tangents(func, inputs, i, tangent)])
        for o, expected in enumerate(numerical):
            if not columns or not expected.size:
                continue
            analytical = np.stack([c[o] for c in columns], 1)
            if not np.allclose(analytical, expected, rtol=rtol, atol=atol):
                raise _mismatch(o, i, expected, analytical, "computed with forward mode ")


def _same(one, other, what: str) -> None:
    for a, b in zip(one, other):
        if not np.allclose(_parts(a), _parts(b), rtol=1e-5, atol=1e-8, equal_nan=True):
            raise GradcheckError(
                f"For {what}, using vmap yields different results than a loop over the elements.\nExpected:\n{a}\n"
                f"Got:\n{b}"
            )


def _check_batched_forward(func, inputs, targets) -> None:
    for i, x in targets:
        each = [_random(x, 1), _random(x, 2)]
        loop = [ARITHMETIC.stack(list(ts)) for ts in zip(*[_tangents(func, inputs, i, t) for t in each])]
        with opened(Level(BATCH, len(each))) as level:
            made = _tangents(func, inputs, i, batched(ARITHMETIC.stack(each), 0, level))
            at_once = [ARITHMETIC.unbatched(t, level) for t in made]
        _same(loop, at_once, f"input {i} in forward mode")


def _check_batched(func, inputs, targets) -> None:
    with enable_grad():
        outputs = [o for o in _outputs(func, inputs) if o.requires_grad]
    xs = [x for _, x in targets]
    for o, out in enumerate(outputs):
        each = [_random(out, 1), _random(out, 2)]

        def zeros(found):
            return [x.new_zeros(x.shape) if g is None else g for g, x in zip(found, xs)]

        loop = [
            ARITHMETIC.stack(list(gs))
            for gs in zip(*[zeros(differentiate(out, xs, v, retain_graph=True, allow_unused=True)) for v in each])
        ]
        found = differentiate(
            out, xs, ARITHMETIC.stack(each), retain_graph=True, allow_unused=True, is_grads_batched=True
        )
        at_once = [x.new_zeros((len(each), *x.shape)) if g is None else g for g, x in zip(found, xs)]
        _same(loop, at_once, f"output {o}")


def _check_undefined(func, inputs, targets) -> None:
    """A gradient that does not arrive must count as zeros."""
    with enable_grad():
        outputs = [o for o in _outputs(func, inputs) if o.requires_grad]
    if len(outputs) < 2:
        return
    xs = [x for _, x in targets]
    for o, out in enumerate(outputs):
        weight = _random(out, 1)
        alone = differentiate(out, xs, weight, retain_graph=True, allow_unused=True)
        weights = [weight if i == o else x.new_zeros(x.shape) for i, x in enumerate(outputs)]
        among = differentiate(outputs, xs, weights, retain_graph=True, allow_unused=True)
        for a, b, x in zip(alone, among, xs):
            a, b = (x.new_zeros(x.shape) if g is None else g for g in (a, b))
            if not np.allclose(_parts(a), _parts(b), equal_nan=True):
                raise GradcheckError(
                    "Expected backward function to handle undefined output grads. Please look at 'Notes about "
                    'undefined output gradients\' in "tools/autograd/derivatives.yaml"'
                )


def gradgradcheck(
    func: Callable, inputs, grad_outputs=None, *, eps: float = 1e-6, atol: float = 1e-5, rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False, raise_exception: bool = True, nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False, check_batched_grad: bool = False, check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False, masked: bool = False,
) -> bool:  # fmt: skip
    """`gradcheck` of the gradients, as functions of `inputs` and of the gradients that arrive at the outputs."""
    given = _tensors(inputs)
    with enable_grad():
        outputs = [o for o in _outputs(func, given) if o.requires_grad]
    if grad_outputs is None:
        rng = np.random.default_rng(0)
        seeds = []
        for o in outputs:
            values = rng.standard_normal(tuple(o.shape))
            if o.dtype.is_complex:
                values = values + 1j * rng.standard_normal(tuple(o.shape))
            seeds.append(o.new_tensor(np.asarray(values)).requires_grad_())
    else:
        seeds = list(_tensors(grad_outputs))
    count = len(given)

    def slopes(*args):
        xs, gs = list(args[:count]), list(args[count:])
        level = top_of(args)
        if level is not None:  # in forward mode: what is differentiated are the dual tensors
            for i, (x, own) in enumerate(zip(xs, given)):
                if isinstance(own, Tensor) and own.requires_grad:
                    box = box_of(x, level)
                    xs[i] = dual(x.detach(), None, level) if box is None else dual(box.value, box.tangent, level)
                    xs[i].needs_grad = True
        with enable_grad():
            outs = [o for o in _outputs(func, xs) if o.requires_grad]
            wanted = [x for x in xs if isinstance(x, Tensor) and x.requires_grad]
            found = differentiate(outs, wanted, gs, create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)

    return gradcheck(
        slopes, (*given, *seeds), eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception,
        nondet_tol=nondet_tol, check_undefined_grad=check_undefined_grad, check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad, fast_mode=fast_mode, check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
    )  # fmt: skip
