"""Checks of gradients against finite differences: `gradcheck`, `gradgradcheck`.

Complex numbers are pairs of reals here: the gradient g of a complex input has d(out) / d(real) as its real part and
d(out) / d(imag) as its imaginary one, which is PyTorch's convention.
"""

import warnings
from collections.abc import Callable

import numpy as np

from facula.core.tensor import Tensor
from facula.errors import fail

from .backward import grad as differentiate
from .grad_mode import enable_grad, no_grad

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]


class GradcheckError(RuntimeError):
    """A gradient that is not the slope of its function."""


def _tensors(x) -> tuple:
    return (x,) if isinstance(x, Tensor) else tuple(x)


def _outputs(func: Callable, inputs: tuple) -> tuple:
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
    try:
        _check(func, given, targets, eps, atol, rtol, nondet_tol, check_grad_dtypes)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _check(func, inputs, targets, eps, atol, rtol, nondet_tol, check_grad_dtypes) -> None:
    with enable_grad():
        outputs = _outputs(func, inputs)
    for i, x in targets:
        numerical = _numerical(func, inputs, x, eps)
        for o, out in enumerate(outputs):
            analytical = _analytical(out, x) if out.requires_grad else np.zeros((_parts(out).size, _parts(x).size))
            expected = numerical[o]
            if analytical.size == 0:
                continue
            if not np.allclose(analytical, expected, rtol=rtol, atol=atol):
                raise GradcheckError(
                    f"Jacobian mismatch for output {o} with respect to input "
                    f"{i},\nnumerical:{expected.T}\nanalytical:{analytical.T}\n"
                )
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
        xs, gs = args[:count], args[count:]
        with enable_grad():
            outs = [o for o in _outputs(func, xs) if o.requires_grad]
            wanted = [x for x in xs if isinstance(x, Tensor) and x.requires_grad]
            found = differentiate(outs, wanted, list(gs), create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)

    def live(*args):
        # Under no_grad (finite differences) the inner backward must still see what requires a gradient.
        return slopes(*args)

    return gradcheck(
        live, (*given, *seeds), eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception, nondet_tol=nondet_tol,
        check_grad_dtypes=check_grad_dtypes,
    )  # fmt: skip
