"""Sums, products, extremes, moments, norms and scans over dims."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from facula import launch
from facula.autograd.node import dtype_title
from facula.core import dtype as dt
from facula.core.modes import GUARD, LOCAL
from facula.core.shape import normalize_dim
from facula.core.spec import Spec
from facula.core.tensor import Tensor
from facula.core.wrapped import followed
from facula.errors import fail
from facula.ir import expr as ir
from facula.ir.kernel import Input, Kernel, Result

from . import kernels
from .copying import cast, to_device
from .creation import dtype_c_name, from_numpy, full, numpy_view
from .declare import OPERATORS, SUM_TO, Repeats, fast_rows, function, row_dims, takes, traced, view
from .numpynames import REQUIRED, numpy_dims
from .override import foreign
from .promotion import opmath
from .results import NAMED
from .view import narrow, view_shape

__all__ = [
    "all", "amax", "amin", "aminmax", "any", "argmax", "argmin", "count_nonzero", "cumprod", "cumsum", "logcumsumexp",
    "logsumexp", "max", "mean", "min", "nanmean", "nansum", "norm", "prod", "row_dims", "span", "std", "std_mean",
    "sum", "sum_to", "var", "var_mean", "vector_norm",
]  # fmt: skip


def _expanded(plan, grad: Tensor) -> Tensor:
    """The gradient of a sum: the row's gradient at each of its elements."""
    return spread(grad, plan.shape, *plan.key)


@view
def spread(spec, shape, dims, keepdim):
    """One number a row seen at each element of the row: size 1 or missing dims `dims` expanded to `shape`."""
    strides = list(spec.strides)
    if not keepdim:
        for d in dims:
            strides.insert(d, 0)
    return shape, [0 if d in dims else st for d, st in enumerate(strides)], 0


@spread.gradient("input")
def _(grad, spec, shape, dims, keepdim):
    return _sum_call(grad, dims=dims, keepdim=keepdim)


spread.operator.node_class.__name__ = "ExpandBackward0"


# --- sums ---------------------------------------------------------------------------------------------------------


@traced(rows=True, promote="sum")
def sum_rows(input):
    return ir.reduce("sum", input)


sum_rows.operator.pull = lambda plan, grad: cast(_expanded(plan, grad), plan.specs[0].dtype)
sum_rows.operator.node_class.__name__ = "SumBackward0"
_sum_call = sum_rows.operator.call_rows
_sum_fast = fast_rows(sum_rows, "SumBackward1")


def sum(input, dim=None, keepdim=False, axis=None, keepdims=None, *, dtype=None, out=None) -> Tensor:
    """The sum over dims (all when None); integers and bools give int64.

    Examples
    --------
    >>> import facula as torch
    >>> torch.sum(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), dim=0)
    tensor([4., 6.])
    """
    if axis is not None or keepdims is not None:
        dim, keepdim = numpy_dims("sum", dim, keepdim, axis, keepdims)
    if dtype is None and out is None:
        return _sum_fast(input, dim, keepdim)
    if dtype is not None:
        input = cast(input, dtype)
    if out is not None:
        return _sum_call(input, dims=row_dims(input.spec, dim), keepdim=keepdim, out=out)
    return cast_back(_sum_call(input, dims=row_dims(input.spec, dim), keepdim=keepdim), dtype)


def cast_back(out: Tensor, dtype) -> Tensor:
    """`out` in the dtype that was asked for (a sum of integers was made in int64)."""
    return out if dtype is None else cast(out, dtype)


_SUMMED = Repeats(sum_rows.operator, 1, others=1)


def sum_to(input: Tensor, target: Spec) -> Tensor:
    """`input` summed over the dims that broadcasting added to `target`, in its shape and dtype."""
    plain = not LOCAL.grad and not LOCAL.special
    if plain and (made := _SUMMED.bare(input, target)) is not None:
        return made
    given, shape = input, input.spec.shape
    if shape != target.shape:
        lead = len(shape) - len(target.shape)
        dims = (*range(lead), *(d for d in range(lead, len(shape)) if target.shape[d - lead] == 1 and shape[d] != 1))
        if dims:
            input = _sum_call(input, dims=dims, keepdim=False)
            if plain and input.spec is target:
                _SUMMED.learn(((given.spec,), dims, False, None, None), (given, target))
        if input.spec.shape != target.shape:
            input = view_shape(input, target.shape)
    found = cast(_real(input, target), target.dtype)
    return found if found.spec.device is target.device else to_device(found, target.device)


def _real(input: Tensor, target: Spec) -> Tensor:
    if input.spec.dtype.kind == "c" and target.dtype.kind != "c":
        return OPERATORS["real_part"].call(input)
    return input


SUM_TO.append(sum_to)


@traced(rows=True, promote="same", kinds="fc")
def mean_rows(input):
    return ir.reduce("sum", input) / ir.cast(ir.count(), input.dtype)


def _mean_pull(plan, grad):
    count = plan.specs[0].numel // (plan.out.numel or 1)
    return _expanded(plan, OPERATORS["true_divide"].fast()(grad, count))


mean_rows.operator.pull = _mean_pull
mean_rows.operator.node_class.__name__ = "MeanBackward0"
_mean_fast = fast_rows(mean_rows, "MeanBackward1")


def mean(input, dim=None, keepdim=False, axis=None, keepdims=None, *, dtype=None, out=None) -> Tensor:
    """The mean over dims (all when None) of floats or complex numbers."""
    if axis is not None or keepdims is not None:
        dim, keepdim = numpy_dims("mean", dim, keepdim, axis, keepdims)
    if dtype is not None:
        input = cast(input, dtype)
    try:
        kind = input.spec.dtype.kind
    except AttributeError:
        if (made := foreign(input)) is NotImplemented:
            raise
        return made
    if kind not in "fc":
        fail(
            RuntimeError,
            "mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. Got: "
            + dtype_title(input.spec.dtype),
            mend="convert first: x.float().mean()",
        )
    if out is None:
        return _mean_fast(input, dim, keepdim)
    return mean_rows(input, dims=row_dims(input.spec, dim), keepdim=keepdim, **_out(out))


def _out(out) -> dict:
    return {} if out is None else {"out": out}


@traced(rows=True, promote="sum")
def prod_rows(input):
    return ir.reduce("prod", input)


prod_rows.operator.node_class.__name__ = "ProdBackward0"
_prod_fast = fast_rows(prod_rows)


def prod(input, dim=None, keepdim=False, axis=None, keepdims=None, *, dtype=None, out=None) -> Tensor:
    """The product over one dim, or over all; integers and bools give int64."""
    if axis is not None or keepdims is not None:
        dim, keepdim = numpy_dims("prod", dim, keepdim, axis, keepdims)
    if dtype is None and out is None and not input.needs_grad:
        return _prod_fast(input, dim, keepdim)
    if dtype is not None:
        input = cast(input, dtype)
    if input.needs_grad and out is None and (not GUARD.active or LOCAL.grad):
        return prod_of(input, row_dims(input.spec, dim), keepdim)
    return cast_back(prod_rows(input, dims=row_dims(input.spec, dim), keepdim=keepdim, **_out(out)), dtype)


@function(tensors=("input",))
def prod_of(input, dims, keepdim):
    """The product over dims, with a gradient that is exact where there are zeros, in all orders."""
    return prod_rows(input, dims=dims, keepdim=keepdim)


@prod_of.gradient("input")
def _(grad, input, out, dims, keepdim):
    from .elementwise import mul, true_divide

    if not input.spec.numel:
        return input.new_zeros(input.spec.shape)
    if not dims:
        return grad
    shape = input.spec.shape
    if not keepdim:
        kept = tuple([1 if d in dims else n for d, n in enumerate(shape)])
        grad, out = view_shape(grad, kept) if grad.spec.contiguous else grad.reshape(kept), out.reshape(kept)
    if not LOCAL.grad and not _has_zero(input):
        return true_divide(mul(grad, _conj(out)), _conj(input))
    # The product of the others: of those before it, times that of those behind it.
    others = [d for d in range(len(shape)) if d not in dims]
    order = (*others, *dims)
    rows = input.permute(order).reshape((*[shape[d] for d in others], -1))
    n = rows.spec.shape[-1]
    ones = rows.new_ones((*rows.spec.shape[:-1], 1))
    cat = OPERATORS["cat"].call
    before = cumprod(cat((ones, narrow(rows, -1, 0, n - 1)), len(others)), -1)
    behind = _backwards(cumprod, cat((narrow(rows, -1, 1, n - 1), ones), len(others)), len(others))
    each = mul(before, behind).reshape([shape[d] for d in order]).permute([order.index(d) for d in range(len(shape))])
    return mul(grad, _conj(each))


prod_of.operator.node_class.__name__ = "ProdBackward0"


def _conj(x: Tensor) -> Tensor:
    return OPERATORS["conj_physical"].call(x) if x.spec.dtype.is_complex else x


@traced(rows=True, promote="sum")
def nansum_rows(input):
    return ir.reduce(
        "sum", ir.select(ir.isnan(input), ir.const(0, input.dtype), input) if input.dtype.kind in "fc" else input
    )


def _no_complex(input: Tensor, dims=None, dim=None) -> None:
    if input.spec.dtype.is_complex:
        fail(RuntimeError, "nansum on CPU does not support complex inputs")


_nansum_fast = fast_rows(nansum_rows, check=_no_complex)


def nansum(input, dim=None, keepdim=False, axis=None, keepdims=None, *, dtype=None, out=None) -> Tensor:
    """`sum` with NaN counted as 0."""
    if axis is not None or keepdims is not None:
        dim, keepdim = numpy_dims("nansum", dim, keepdim, axis, keepdims)
    if dtype is None and out is None:
        return _nansum_fast(input, dim, keepdim)
    _no_complex(input)
    if dtype is not None:
        input = cast(input, dtype)
    return nansum_rows(input, dims=row_dims(input.spec, dim), keepdim=keepdim, **_out(out))


@traced(rows=True, kinds="fc")
def nanmean_rows(input):
    nan = ir.isnan(input)
    total = ir.reduce("sum", ir.select(nan, ir.const(0, input.dtype), input))
    return total / ir.cast(ir.reduce("sum", ir.cast(ir.not_(nan), dt.int64)), input.dtype)


def nanmean(input, dim=None, keepdim=False, axis=None, keepdims=None, *, dtype=None, out=None) -> Tensor:
    """`mean` of the elements that are not NaN."""
    if axis is not None or keepdims is not None:
        dim, keepdim = numpy_dims("nanmean", dim, keepdim, axis, keepdims)
    if input.spec.dtype.kind not in "fc":
        fail(
            RuntimeError,
            "nanmean(): expected input to have floating point or complex dtype but got "
            f"{dtype_title(input.spec.dtype)}",
        )
    _no_complex(input)
    return nanmean_rows(
        cast(input, dtype or input.spec.dtype), dims=row_dims(input.spec, dim), keepdim=keepdim, **_out(out)
    )


@traced(rows=True, differentiable=False)
def count_nonzero_rows(input):
    hit = input if input.dtype.kind == "b" else ir.ne(input, 0)
    return ir.reduce("sum", ir.cast(hit, dt.int64))


_count_fast = fast_rows(count_nonzero_rows)


def count_nonzero(input, dim=None, axis=None) -> Tensor:
    """How many elements are not 0."""
    if axis is not None:
        dim, _ = numpy_dims("count_nonzero", dim, None, axis, None)
    return _count_fast(input, dim, False)


# --- truth --------------------------------------------------------------------------------------------------------


def _truth(name: str):
    def body(input):
        return ir.reduce(name, input if input.dtype.kind == "b" else ir.ne(input, 0))

    body.__name__ = f"{name}_rows"
    return traced(body, rows=True, differentiable=False)


any_rows, all_rows = _truth("any"), _truth("all")
_any_fast, _all_fast = fast_rows(any_rows), fast_rows(all_rows)


def any(input, dim=None, keepdim=False, axis=None, keepdims=None, *, out=None) -> Tensor:
    """Whether some element is not 0; uint8 stays uint8."""
    if axis is not None or keepdims is not None:
        dim, keepdim = numpy_dims("any", dim, keepdim, axis, keepdims)
    if out is not None:
        return any_rows(input, dims=row_dims(input.spec, dim), keepdim=keepdim, out=out)
    found = _any_fast(input, dim, keepdim)
    return cast(found, dt.uint8) if input.spec.dtype is dt.uint8 else found


def all(input, dim=None, keepdim=False, axis=None, keepdims=None, *, out=None) -> Tensor:
    """Whether every element is not 0; uint8 stays uint8."""
    if axis is not None or keepdims is not None:
        dim, keepdim = numpy_dims("all", dim, keepdim, axis, keepdims)
    if out is not None:
        return all_rows(input, dims=row_dims(input.spec, dim), keepdim=keepdim, out=out)
    found = _all_fast(input, dim, keepdim)
    return cast(found, dt.uint8) if input.spec.dtype is dt.uint8 else found


# --- extremes -----------------------------------------------------------------------------------------------------


def _checked(entry, name: str):
    """`fast_rows` of an operator that has no result for no element; () as `dim` means all dims of `amax`, `amin`."""
    empty = (None, ()) if name in ("amax", "amin") else (None,)
    return fast_rows(entry, check=lambda input, dims, dim: _nonempty(input, dims, name, dim in empty))


def _nonempty(input: Tensor, dims: Sequence[int], name: str, whole: bool) -> None:
    if name.startswith("arg") and input.spec.dtype.kind == "b":
        fail(RuntimeError, f"{name}(): does not support bool input", mend="convert it: x.int()")
    if input.spec.numel == 0 and (whole or not dims or 0 in [input.spec.shape[d] for d in dims]):
        if whole:
            fail(
                IndexError if name.startswith("arg") else RuntimeError,
                f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim "
                "with the 'dim' argument.",
            )
        fail(IndexError, f"{name}(): Expected reduction dim {dims[0]} to have non-zero size.")


def _extreme(kind: str):
    def values(input):
        return ir.reduce(kind, input)

    def both(input):
        return ir.reduce(kind, input), ir.reduce(f"arg{kind}", input)

    def place(input):
        return ir.reduce(f"arg{kind}", input)

    made = []
    for body, name, shown, options in (
        (values, f"a{kind}_rows", f"A{kind}Backward0", {}),
        (values, f"{kind}_whole", f"{kind.capitalize()}Backward1", {}),
        (both, f"{kind}_rows", f"{kind.capitalize()}Backward0", {}),
        (place, f"arg{kind}_rows", "", {"differentiable": False}),
    ):
        op = traced(body, name=name, rows=True, kinds="buif", **options)
        op.operator.node_class.__name__ = shown
        made.append(op)

    @made[2].gradient("input")
    def _(grad0, out1):
        return ir.select(ir.eq(ir.row_index(), out1), grad0, ir.const(0, grad0.dtype))

    return made


_amax, _max_whole, _max, _argmax = _extreme("max")
_amin, _min_whole, _min, _argmin = _extreme("min")
_amax_fast, _argmax_fast = _checked(_amax, "amax"), _checked(_argmax, "argmax")
_amin_fast, _argmin_fast = _checked(_amin, "amin"), _checked(_argmin, "argmin")


def amax(input, dim=(), keepdim=False, axis=None, keepdims=None, *, out=None) -> Tensor:
    """The largest element over dims; ties share the gradient."""
    if axis is not None or keepdims is not None:
        dim, keepdim = numpy_dims("amax", dim, keepdim, axis, keepdims, ())
    if out is None:
        return _amax_fast(input, dim, keepdim)
    dims = row_dims(input.spec, dim)
    _nonempty(input, dims, "amax", dim is None or dim == ())
    return _amax(input, dims=dims, keepdim=keepdim, out=out)


def amin(input, dim=(), keepdim=False, axis=None, keepdims=None, *, out=None) -> Tensor:
    """The smallest element over dims; ties share the gradient."""
    if axis is not None or keepdims is not None:
        dim, keepdim = numpy_dims("amin", dim, keepdim, axis, keepdims, ())
    if out is None:
        return _amin_fast(input, dim, keepdim)
    dims = row_dims(input.spec, dim)
    _nonempty(input, dims, "amin", dim is None or dim == ())
    return _amin(input, dims=dims, keepdim=keepdim, out=out)


@takes
def aminmax(input, *, dim=None, keepdim=False, out=None):
    """The smallest and the largest element."""
    d = () if dim is None else dim
    low, high = (None, None) if out is None else out
    for o in out or ():
        if o.spec.dtype is not input.spec.dtype:
            want, got = dtype_c_name(input.spec.dtype), dtype_c_name(o.spec.dtype)
            fail(RuntimeError, f"Expected out tensor to have dtype {want}, but got {got} instead")
    return NAMED["aminmax"](amin(input, d, keepdim, out=low), amax(input, d, keepdim, out=high))


@kernels.kernel
def _span(kind) -> Kernel:
    x = ir.cast(ir.load("input", kind), opmath(kind))
    results = tuple(Result(how, kind, ir.reduce(how, x), per_row=True) for how in ("min", "max"))
    return Kernel("span", (Input("input", kind),), results)


def span(input: Tensor) -> tuple[Any, Any]:
    """The smallest and the largest element as numbers: one pass, and one wait for a device. NaN is both."""
    s = input.spec
    ends = launch.empty_dense((2,), s.dtype, s.device)
    code = kernels.bound(_span(s.dtype), (), s.shape or (1,), [(), (), s.strides or (1,)], s.device)
    launch.run(code, (ends.ptr, ends.ptr + s.dtype.itemsize, input.ptr))
    if launch.lacks(ends):
        launch.native("reader", s.device)(s.dtype)(ends.ptr)  # an error: there are no numbers
    low, high = ends.tolist()
    return low, high


def _best(name: str, values, both, pair):
    whole, along, result_type = _checked(values, name), _checked(both, name), NAMED[name]

    def entry(input, dim=None, keepdim=False, axis=None, keepdims=None, *, other=None, out=None):
        if axis is not None or keepdims is not None:
            dim, keepdim = numpy_dims(name, dim, keepdim, axis, keepdims)
        if out is None and other is None:
            if dim is None:
                return whole(input, None, False)
            if dim.__class__ is int:
                return result_type(*along(input, dim, keepdim))
        other = dim if isinstance(dim, Tensor) else other
        if not isinstance(input, Tensor):
            fail(TypeError, f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
        if other is not None:
            return pair().call(input, other, **_out(out))
        if dim is None:
            _nonempty(input, (), name, True)
            return values(input, dims=row_dims(input.spec, None), **_out(out))
        dims = row_dims(input.spec, dim)
        _nonempty(input, dims, name, False)
        return result_type(*both(input, dims=dims, keepdim=keepdim, **_out(out)))

    entry.__name__ = entry.__qualname__ = name
    return entry


max = _best("max", _max_whole, _max, lambda: OPERATORS["maximum"])
max.__doc__ = (
    """The largest element; with `dim` also its index: (values, indices); with a tensor, element by element."""
)
min = _best("min", _min_whole, _min, lambda: OPERATORS["minimum"])
min.__doc__ = (
    """The smallest element; with `dim` also its index: (values, indices); with a tensor, element by element."""
)


def argmax(input, dim=None, keepdim=False, axis=None, keepdims=None, *, out=None) -> Tensor:
    """The index of the largest element (the first of several), in the flattened tensor when `dim` is None."""
    if axis is not None or keepdims is not None:
        dim, keepdim = numpy_dims("argmax", dim, keepdim, axis, keepdims)
    if out is None:
        return _argmax_fast(input, dim, keepdim)
    dims = row_dims(input.spec, dim)
    _nonempty(input, dims, "argmax", dim is None)
    return _argmax(input, dims=dims, keepdim=keepdim, out=out)


def argmin(input, dim=None, keepdim=False, axis=None, keepdims=None, *, out=None) -> Tensor:
    """The index of the smallest element (the first of several), in the flattened tensor when `dim` is None."""
    if axis is not None or keepdims is not None:
        dim, keepdim = numpy_dims("argmin", dim, keepdim, axis, keepdims)
    if out is None:
        return _argmin_fast(input, dim, keepdim)
    dims = row_dims(input.spec, dim)
    _nonempty(input, dims, "argmin", dim is None)
    return _argmin(input, dims=dims, keepdim=keepdim, out=out)


# --- moments and norms --------------------------------------------------------------------------------------------


def _center(input):
    n = ir.cast(ir.count(), input.dtype)
    mean = ir.reduce("sum", input) / n
    d = input - mean
    return mean, (d * d if d.dtype.kind != "c" else ir.real(d) * ir.real(d) + ir.imag(d) * ir.imag(d))


def _variance(input, correction):
    mean, square = _center(input)
    if isinstance(correction, ir.Expr) and correction.dtype.kind == "c":
        correction = ir.real(correction)
    n = ir.cast(ir.count(), square.dtype) - correction
    return ir.reduce("sum", square) / ir.maximum(n, ir.const(0, n.dtype)), mean


@traced(rows=True, kinds="fc")
def var_rows(input, *, correction=1):
    return _variance(input, correction)[0]


@traced(rows=True, kinds="fc")
def std_rows(input, *, correction=1):
    return ir.sqrt(_variance(input, correction)[0])


@traced(rows=True, kinds="fc")
def var_mean_rows(input, *, correction=1):
    return _variance(input, correction)


@traced(rows=True, kinds="fc")
def std_mean_rows(input, *, correction=1):
    variance, mean = _variance(input, correction)
    return ir.sqrt(variance), mean


for _op, _name in ((var_rows, "Var"), (std_rows, "Std"), (var_mean_rows, "VarMean"), (std_mean_rows, "StdMean")):
    _op.operator.node_class.__name__ = f"{_name}Backward0"


def _moment(rows, name: str, text: str):
    def check(input, dims=None, dim=None) -> None:
        if input.spec.dtype.kind not in "fc":
            what = name if name.endswith("_mean") else "std and var"
            fail(RuntimeError, f"{what} only support floating point and complex dtypes", got=str(input.spec.dtype))

    fast = fast_rows(rows, check=check)
    fast_biased = fast_rows(rows, check=check, correction=0)

    def entry(input, dim=None, unbiased=None, keepdim=False, axis=None, keepdims=None, *, correction=None, out=None):
        if axis is not None or keepdims is not None:
            dim, keepdim = numpy_dims(name, dim, keepdim, axis, keepdims)
        if isinstance(dim, bool):  # var(input, unbiased)
            dim, unbiased = None, dim
        if correction is None and out is None:
            return (fast_biased if unbiased is False else fast)(input, dim, keepdim)
        check(input)
        if correction is None:
            correction = 1 if unbiased is None else int(unbiased)
        given = {} if correction == 1 else {"correction": correction}
        return rows(input, dims=row_dims(input.spec, dim), keepdim=keepdim, **given, **_out(out))

    entry.__name__ = entry.__qualname__ = name
    entry.__doc__ = text
    return entry


var = _moment(var_rows, "var", "The variance over dims, divided by `n - correction`.")
std = _moment(std_rows, "std", "The standard deviation over dims, from the variance divided by `n - correction`.")
var_mean = _moment(var_mean_rows, "var_mean", "(variance, mean) over dims.")
std_mean = _moment(std_mean_rows, "std_mean", "(standard deviation, mean) over dims.")


@traced(rows=True, kinds="fc", static=("ord",))
def vector_norm_rows(input, *, ord=2):
    if ord == 2 and input.dtype.kind == "c":
        return ir.sqrt(ir.reduce("sum", ir.real(input) * ir.real(input) + ir.imag(input) * ir.imag(input)))
    if ord == 2:
        return ir.sqrt(ir.reduce("sum", input * input))
    size = ir.abs(input)
    if ord == math.inf:
        return ir.reduce("max", size)
    if ord == -math.inf:
        return ir.reduce("min", size)
    if ord == 0:
        return ir.reduce("sum", ir.cast(ir.ne(size, 0), size.dtype))
    if ord == 1:
        return ir.reduce("sum", size)
    power = ir.const(ord, size.dtype)
    return ir.pow(ir.reduce("sum", ir.pow(size, power)), 1.0 / ord)


@vector_norm_rows.gradient("input")
def _(grad, out, input, ord):
    real = input.dtype.kind != "c"
    size = input if real else ir.abs(input)
    zero = ir.const(0, out.dtype)

    def direction(x):
        if real:
            return ir.sign(x)
        scale = ir.select(ir.eq(size, zero), zero, 1 / size)
        return ir.complex(ir.real(x) * scale, ir.imag(x) * scale)

    def scaled(x, factor):
        return x * factor if real else ir.complex(ir.real(x) * factor, ir.imag(x) * factor)

    if ord == 2:
        none = ir.eq(out, zero)
        return scaled(input, ir.select(none, zero, grad / ir.select(none, ir.const(1, out.dtype), out)))
    if ord == 0:
        return scaled(input, zero)
    if ord == 1:
        return scaled(direction(input), grad)
    if abs_(ord) == math.inf:
        hit = ir.cast(ir.eq(ir.abs(input), out), out.dtype)
        return scaled(direction(input), grad * hit / ir.reduce("sum", hit))
    size = ir.abs(input)
    none, one = ir.or_(ir.eq(out, zero), ir.eq(size, zero)), ir.const(1, out.dtype)
    size, whole = ir.select(none, one, size), ir.select(none, one, out)  # finite also for the derivative
    part = ir.pow(size / whole, ord - 1) if ord > 1 else ir.pow(size, ord - 1) * ir.pow(whole, 1 - ord)
    factor = ir.select(none, zero, grad * part)
    return scaled(direction(input), factor)


abs_ = math.fabs
vector_norm_rows.operator.node_class.__name__ = "LinalgVectorNormBackward0"


@takes
def vector_norm(input, ord: Any = 2, dim=None, keepdim=False, *, dtype=None, out=None) -> Tensor:
    """The p-norm over dims of the elements as one vector: `sum(abs(x)**ord)**(1/ord)`."""
    if out is None and dtype is None and (known := _NORMS.get(ord)) is not None:
        return known(input, dim, keepdim)
    if dtype is not None:
        input = cast(input, dtype)
    dims, ord = row_dims(input.spec, dim), float(ord)
    _normed(input, dims, ord)
    return vector_norm_rows(input, dims=dims, keepdim=keepdim, **({} if ord == 2 else {"ord": ord}), **_out(out))


def _normed(x: Tensor, dims: Sequence[int], ord: float) -> None:
    if x.spec.dtype.kind not in "fc":
        fail(
            RuntimeError,
            "linalg.vector_norm: Expected a floating point or complex tensor as input. Got "
            f"{dtype_title(x.spec.dtype)}",
        )
    if 0 in [x.spec.shape[d] for d in dims] and (ord < 0 or ord == math.inf):
        fail(
            RuntimeError,
            f"linalg.vector_norm cannot compute the {ord:g} norm on an empty tensor because the operation does not "
            "have an identity",
        )


def _norm_fast(ord: float):
    given: dict[str, Any] = {} if ord == 2 else {"ord": ord}
    return fast_rows(vector_norm_rows, check=lambda x, dims, dim: _normed(x, dims, ord), **given)


_NORMS = {ord: _norm_fast(ord) for ord in (0.0, 1.0, 2.0, math.inf, -math.inf)}


def norm(input, p: Any = "fro", dim=None, keepdim=False, out=None, dtype=None) -> Tensor:
    """The p-norm over dims ("fro" is 2, "nuc" the sum of singular values of a matrix)."""
    if p == "nuc":
        from .linalg import matrix_norm  # stands on this file

        dims = tuple(range(input.spec.ndim)) if dim is None else dim
        return matrix_norm(input, "nuc", dims, keepdim, dtype=dtype, out=out)
    return vector_norm(input, 2 if p in ("fro", None) else p, dim, keepdim, dtype=dtype, out=out)


@traced(rows=True, promote="float", kinds="fc")
def logsumexp_rows(input):
    high = ir.reduce("max", ir.real(input) if input.dtype.kind == "c" else input)
    high = ir.select(ir.isinf(high), ir.const(0, high.dtype), high)
    high = ir.cast(high, input.dtype)
    return ir.log(ir.reduce("sum", ir.exp(input - high))) + high


@logsumexp_rows.gradient("input")
def _(grad, out, input):
    share = ir.exp(input - out)
    return grad * (ir.conj(share) if share.dtype.kind == "c" else share)


logsumexp_rows.operator.node_class.__name__ = "LogsumexpBackward0"
_logsumexp_fast = fast_rows(logsumexp_rows)


def logsumexp(input, dim=REQUIRED, keepdim=False, axis=None, keepdims=None, *, out=None) -> Tensor:
    """`log(sum(exp(input)))` over dims without overflow."""
    if dim is REQUIRED or keepdims is not None or axis is not None:
        dim, keepdim = numpy_dims("logsumexp", dim, keepdim, axis, keepdims, REQUIRED)
    if out is None:
        return _logsumexp_fast(input, dim, keepdim)
    return logsumexp_rows(input, dims=row_dims(input.spec, dim), keepdim=keepdim, out=out)


# --- scans --------------------------------------------------------------------------------------------------------


@traced(rows=True, promote="sum")
def cumsum_rows(input):
    return ir.scan("sum", input)


def _flipped_cumsum(plan, grad):
    from .joining import flip

    (dim,) = plan.key[0]
    return cast(flip(cumsum_rows(flip(grad, (dim,)), dims=(dim,)), (dim,)), plan.specs[0].dtype)


cumsum_rows.operator.pull = _flipped_cumsum
cumsum_rows.operator.node_class.__name__ = "CumsumBackward0"

_cumsum_fast = fast_rows(cumsum_rows)


def cumsum(input, dim=REQUIRED, axis=None, *, dtype=None, out=None) -> Tensor:
    """Running sums along `dim`; integers and bools give int64."""
    if dim is REQUIRED or axis is not None:
        dim, _ = numpy_dims("cumsum", dim, None, axis, None, REQUIRED)
    if dtype is None and out is None and dim.__class__ is int and input.spec.ndim:
        return _cumsum_fast(input, dim, False)
    if dtype is not None:
        input = cast(input, dtype)
    d = normalize_dim(dim, input.spec.ndim)
    if not input.spec.ndim:
        return _scalar_scan("cumsum", input, dtype, out)
    return cast_back(cumsum_rows(input, dims=(d,), **_out(out)), dtype)


def _scalar_scan(name: str, input: Tensor, dtype, out) -> Tensor:
    """A scan of one number: the number, whole numbers as int64."""
    kind = dtype or (dt.int64 if input.spec.dtype.kind in "bui" else input.spec.dtype)
    made = OPERATORS["clone"].call(cast(input, kind))
    if out is None:
        return made
    from .matmul import _to_out

    return _to_out(name, out, made, (input,))


@traced(rows=True, promote="sum")
def cumprod_rows(input):
    return ir.scan("prod", input)


_cumprod_fast = fast_rows(cumprod_rows)


def cumprod(input, dim=REQUIRED, axis=None, *, dtype=None, out=None) -> Tensor:
    """Running products along `dim`; integers and bools give int64."""
    if dim is REQUIRED or axis is not None:
        dim, _ = numpy_dims("cumprod", dim, None, axis, None, REQUIRED)
    if dtype is None and out is None and not followed(input) and dim.__class__ is int and input.spec.ndim:
        return _cumprod_fast(input, dim, False)
    if dtype is not None:
        input = cast(input, dtype)
    if not input.spec.ndim:
        return _scalar_scan("cumprod", input, dtype, out)
    d = normalize_dim(dim, input.spec.ndim)
    if out is not None:
        return cumprod_rows(input, dims=(d,), out=out)
    return cast_back(OPERATORS["cumprod_along"].call(input, d), dtype)


@function(tensors=("input",))
def cumprod_along(input, dim):
    """Running products along a dim."""
    return cumprod_rows(input, dims=(dim,))


def _has_zero(input: Tensor) -> bool:
    """Whether an element is 0, as none is taken to be where nobody can know."""
    return not launch.lacks(input) and bool(any(OPERATORS["eq"].call(input, 0)).item())


@cumprod_along.gradient("input")
def _(grad, input, out, dim):
    from .elementwise import mul, true_divide

    conj = _conj
    n = input.spec.shape[dim]
    if not input.spec.numel:
        return grad
    if not LOCAL.grad and not _has_zero(input):
        return true_divide(_backwards(cumsum, mul(grad, conj(out)), dim), conj(input))
    # Exact with zeros, and differentiable: for each element the products that leave it out.
    parts = []
    for k in range(n):
        before = narrow(out, dim, k - 1, 1) if k else None
        after = cumprod(narrow(input, dim, k + 1, n - k - 1), dim) if k + 1 < n else None
        here = narrow(grad, dim, k, n - k)
        if after is not None:
            first = narrow(here, dim, 0, 1)
            total = sum(mul(narrow(here, dim, 1, n - k - 1), conj(after)), dim, keepdim=True) + first
        else:
            total = here
        parts.append(total if before is None else mul(total, conj(before)))
    return OPERATORS["cat"].call(tuple(parts), dim)


cumprod_along.operator.node_class.__name__ = "CumprodBackward0"


def _backwards(scan, input: Tensor, dim: int) -> Tensor:
    """A scan from the end of `dim` to its start."""
    from .joining import flip

    return flip(scan(flip(input, (dim,)), dim), (dim,))


@traced(rows=True, differentiable=False, kinds="f")
def logcumsumexp_near(input, *, most: Any = 0.0):
    """`logcumsumexp` of elements so near the largest of all, `most`, that no exponential underflows in float64."""
    x = ir.cast(input, dt.float64)
    most = ir.cast(most, dt.float64)
    return ir.cast(ir.log(ir.scan("growth", ir.exp(x - most))) + most, input.dtype)


_NEAR = {"f64": 16.0}  # from the largest to the smallest element: what the difference costs in the last digits
_NEAR_NARROW = 600.0


@function(tensors=("input",))
def logcumsumexp_along(input, dim):
    """`log(cumsum(exp(input)))` along a dim; where elements are far apart step by step, by NumPy."""
    if input.spec.dtype.kind == "c":
        return from_numpy(_complex_logcumsumexp(numpy_view(input), dim))
    if input.spec.numel:
        least, most = span(input)
        if most - least <= _NEAR.get(input.spec.dtype.code, _NEAR_NARROW):
            return logcumsumexp_near(input, dims=(dim,), most=most)
    wide = cast(input, opmath(input.spec.dtype))
    with np.errstate(invalid="ignore"):  # -inf with -inf
        found = np.logaddexp.accumulate(numpy_view(wide), axis=dim)
    return cast(from_numpy(np.ascontiguousarray(found)), input.spec.dtype)


def _complex_logcumsumexp(x: np.ndarray, dim: int) -> np.ndarray:
    """The same of complex numbers: the one with the larger real part is taken out of each sum."""
    found, last = np.empty_like(x), None
    with np.errstate(all="ignore"):
        for k in range(x.shape[dim]):
            here = x.take(k, dim)
            if last is not None:
                first = last.real >= here.real
                high, low = np.where(first, last, here), np.where(first, here, last)
                alike = (high == low) & np.isinf(high.real)
                here = np.where(alike, high, high + np.log1p(np.exp(low - high)))
            last = here
            np.moveaxis(found, dim, 0)[k] = here
    return found


def _summed_shares(grad: Tensor, input: Tensor, out: Tensor, dim: int) -> Tensor:
    """`logcumsumexp`'s gradient with each share written out: linear in `grad`, n by n numbers."""
    from .creation import ones
    from .elementwise import conj_physical, exp, mul, sub, where
    from .joining import tril
    from .view import movedim, unsqueeze

    g, x, total = (movedim(t, dim, -1) for t in (grad, input, out))
    n = x.spec.shape[-1]
    apart = sub(unsqueeze(x, -2), unsqueeze(total, -1))  # row: which sum; column: which element
    least = full((), -math.inf, dtype=apart.spec.dtype, device=apart.spec.device)
    seen = tril(ones(n, n, dtype=dt.bool_, device=apart.spec.device))
    share = exp(where(seen, apart, least))
    share = conj_physical(share) if share.spec.dtype.is_complex else share
    return movedim(sum(mul(unsqueeze(g, -1), share), -2), -1, dim)


@logcumsumexp_along.gradient("input")
def _(grad, input, out, dim):
    from .elementwise import conj_physical, exp, gt, log, neg, where

    if LOCAL.grad:
        return _summed_shares(grad, input, out, dim)
    if input.spec.dtype.kind == "c":
        share = _backwards(logcumsumexp_along, log(conj_physical(grad)) - out, dim) + input
        return conj_physical(exp(share))
    least = full((), -math.inf, dtype=grad.spec.dtype, device=grad.spec.device)
    zero = full((), 0.0, dtype=grad.spec.dtype, device=grad.spec.device)

    def share(part: Tensor) -> Tensor:
        some = gt(part, 0)
        logs = log(where(some, part, full((), 1.0, dtype=part.spec.dtype, device=part.spec.device)))
        return exp(_backwards(logcumsumexp_along, where(some, logs - out, least), dim) + input)

    positive = share(where(gt(grad, 0), grad, zero))
    return positive - share(where(gt(grad, 0), zero, neg(grad)))


logcumsumexp_along.operator.node_class.__name__ = "LogcumsumexpBackward0"


def logcumsumexp(input, dim=REQUIRED, axis=None, *, out=None) -> Tensor:
    """`log(cumsum(exp(input)))` along `dim` without overflow."""
    if dim is REQUIRED or axis is not None:
        dim, _ = numpy_dims("logcumsumexp", dim, None, axis, None, REQUIRED)
    if input.spec.dtype.kind not in "fc":
        fail(NotImplementedError, f"\"logcumsumexp_out_cpu\" not implemented for '{dtype_title(input.spec.dtype)}'")
    d = normalize_dim(dim, input.spec.ndim)
    made = logcumsumexp_along(input, d) if input.spec.ndim else OPERATORS["clone"].call(input)
    if out is None:
        return made
    from .matmul import _to_out

    return _to_out("logcumsumexp", out, made, (input,))
