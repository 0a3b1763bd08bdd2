"""Operators under the signatures that PyTorch gives them, where one public name chooses among several declarations."""

import math
from typing import Any

from facula.autograd.node import dtype_title
from facula.core import dtype as dt
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.ir import expr as ir

from . import elementwise as e
from .copying import cast
from .creation import dtype_c_name
from .declare import needs_numbers, traced
from .matmul import _to_out
from .promotion import DEFAULT, result_type

__all__ = [
    "clamp", "clip", "div", "divide", "float_power", "floor_divide", "isclose", "isreal", "multiply", "nan_to_num",
    "negative",
    "round", "subtract", "sub", "true_divide", "where", "add", "mul", "frexp", "gcd", "lcm", "conj", "conj_physical",
    "positive", "logit", "masked_fill", "real", "imag", "allclose", "equal",
]  # fmt: skip


def _kind(x):
    return x.spec if isinstance(x, Tensor) else type(x)


def add(input, other, *, alpha=1, out=None):
    """`input + alpha * other`; bools add as logical or.

    Examples
    --------
    >>> import facula as torch
    >>> torch.add(torch.tensor([1.0, 2.0]), 10)
    tensor([11., 12.])
    """
    return e.add(input, other) if alpha == 1 and out is None else e.add(input, other, alpha=alpha, out=out)


sub = e.sub
subtract = sub


def mul(input, other, *, out=None):
    """`input * other`, element by element."""
    return e.mul(input, other) if out is None else e.mul(input, other, out=out)


multiply = mul


def div(input, other, *, rounding_mode=None, out=None):
    """`input / other`; `rounding_mode` "trunc" rounds towards zero, "floor" towards minus infinity."""
    extra = {} if out is None else {"out": out}
    if rounding_mode is None:
        return e.true_divide(input, other, **extra)
    if rounding_mode not in ("trunc", "floor"):
        fail(
            RuntimeError,
            f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'",
        )
    return (e.trunc_divide if rounding_mode == "trunc" else e.floor_divide)(input, other, **extra)


divide = div
true_divide = e.true_divide
floor_divide = e.floor_divide


def negative(input, *, out=None):
    """`-input`."""
    return e.neg(input) if out is None else e.neg(input, out=out)


def clamp(input, min=None, max=None, *, out=None):
    """`input` kept between `min` and `max` (numbers, tensors or None).

    Examples
    --------
    >>> import facula as torch
    >>> torch.clamp(torch.tensor([-2.0, 0.5, 2.0]), min=-1, max=1)
    tensor([-1.0000,  0.5000,  1.0000])
    """
    extra = {} if out is None else {"out": out}
    if min is None and max is None:
        fail(RuntimeError, "torch.clamp: At least one of 'min' or 'max' must not be None")
    if min is None:
        return e.clamp_max(input, max, **extra)
    return e.clamp_min(input, min, **extra) if max is None else e.clamp_both(input, min, max, **extra)


clip = clamp


def where(condition, input=None, other=None, *, out=None) -> Any:
    """`input` where `condition` holds, `other` elsewhere; with `condition` alone, `nonzero(as_tuple=True)`."""
    if input is None and other is None:
        from .indexing import nonzero

        return nonzero(condition, as_tuple=True)
    if condition.spec.dtype not in (dt.bool_, dt.uint8):
        fail(
            RuntimeError,
            "where expected condition to be a boolean tensor, but got a tensor with dtype "
            f"{dtype_title(condition.spec.dtype)}",
        )
    return e.where(condition, input, other, **({} if out is None else {"out": out}))


def round(input, *, decimals=0, out=None):
    """The nearest whole number (or so many decimals); halves go to the even one."""
    extra = {} if out is None else {"out": out}
    if decimals == 0:
        return e.round_even(input, **extra)
    if input.spec.dtype.kind != "f":
        fail(NotImplementedError, f"\"round_cpu\" not implemented for '{dtype_title(input.spec.dtype)}'")
    scale = 10.0 ** abs(decimals)
    return (
        e.round_decimals(input, scale, scale, **extra)
        if decimals > 0
        else e.round_decimals(input, 1 / scale, 1 / scale, **extra)
    )


def float_power(input, exponent, *, out=None):
    """`input ** exponent` in float64 (complex128 for complex operands)."""
    common = result_type([_kind(input), _kind(exponent)])
    wide = dt.complex128 if common.is_complex else dt.float64
    a = cast(input, wide) if isinstance(input, Tensor) else input
    b = cast(exponent, wide) if isinstance(exponent, Tensor) else exponent
    return e.pow(a, b, **({} if out is None else {"out": out}))


def nan_to_num(input, nan=0.0, posinf=None, neginf=None, *, out=None):
    """NaN and the infinities replaced, by 0 and the dtype's extremes unless told otherwise."""
    kind = input.spec.dtype
    if kind.kind in "bui":
        made = input.clone()
        return made if out is None else _to_out("nan_to_num", out, made, (input,))
    if kind.is_complex:
        parts = [nan_to_num(part, nan, posinf, neginf) for part in (real(input), imag(input))]
        return e.complex(*parts, **({} if out is None else {"out": out}))
    from .limits import finfo

    top = finfo(kind).max
    return e.nan_to_num_values(
        input, float(nan if nan is not None else 0), float(top if posinf is None else posinf),
        float(-top if neginf is None else neginf),
        **({} if out is None else {"out": out}),
    )  # fmt: skip


@traced(differentiable=False, static=("equal_nan",), kinds="fc")
def close(input, other, *, rtol=1e-05, atol=1e-08, equal_nan=False):
    """Whether two numbers agree to within `atol + rtol * abs(other)`."""

    def size(x):  # of a keyword, which has the dtype of the operands
        return ir.real(x) if isinstance(x, ir.Expr) and x.dtype.kind == "c" else x

    gap = ir.abs(input - other)
    near = ir.and_(ir.le(gap, size(atol) + size(rtol) * ir.abs(other)), ir.eq(gap - gap, 0))
    both = ir.or_(ir.eq(input, other), near)
    return ir.or_(both, ir.and_(ir.isnan(input), ir.isnan(other))) if equal_nan else both


def isclose(input, other, rtol=1e-05, atol=1e-08, equal_nan=False):
    """Whether `abs(input - other) <= atol + rtol * abs(other)`, element by element."""
    _tensors("isclose", input=input, other=other)
    for name, value in (("rtol", rtol), ("atol", atol)):
        if value < 0:
            fail(RuntimeError, f"{name} must be greater than or equal to zero, but got {value:g}")
    if input.spec.dtype is not other.spec.dtype:
        fail(RuntimeError, f"{dtype_title(input.spec.dtype)} did not match {dtype_title(other.spec.dtype)}")
    options = {
        k: v for k, v, d in (("rtol", rtol, 1e-05), ("atol", atol, 1e-08), ("equal_nan", equal_nan, False)) if v != d
    }
    if input.spec.dtype.kind in "fc":
        return close(input, other, **options)
    same = e.eq(input, other)
    if not rtol and not atol:
        return same
    return e.logical_or(same, close(cast(input, DEFAULT.float), cast(other, DEFAULT.float), **options))


def _tensors(name: str, **operands) -> None:
    """TypeError for the first operand that is no tensor."""
    for position, (what, x) in enumerate(operands.items(), 1):
        if not isinstance(x, Tensor):
            fail(TypeError, f"{name}(): argument '{what}' (position {position}) must be Tensor, not {type(x).__name__}")


def allclose(input, other, rtol=1e-05, atol=1e-08, equal_nan=False) -> bool:
    """Whether all elements are close: see `isclose`."""
    from .reduction import all

    return bool(all(isclose(input, other, rtol, atol, equal_nan)).item())


def equal(input, other) -> bool:
    """Whether two tensors have the same shape and elements."""
    if input.spec.shape != other.spec.shape:
        return False
    from .reduction import all

    needs_numbers("equal", input)
    needs_numbers("equal", other)
    return input.spec.numel == 0 or bool(all(e.eq(input, other)).item())


def isreal(input):
    """Whether an element has no imaginary part."""
    return e.eq(e.imag_part(input), 0) if input.spec.dtype.is_complex else e.eq(input, input) | True


def conj(input):
    """The complex conjugate (a copy; real tensors as they are)."""
    return e.conj_physical(input) if input.spec.dtype.is_complex else input


def conj_physical(input, *, out=None):
    """The complex conjugate, copied; real tensors as they are."""
    if out is not None:
        return e.conj_physical(input, out=out)
    return e.conj_physical(input) if input.spec.dtype.is_complex else input


def positive(input):
    """`input` itself; bools have no sign."""
    if input.spec.dtype is dt.bool_:
        fail(RuntimeError, "The `+` operator, on a bool tensor is not supported.")
    return input


def logit(input, eps=None, *, out=None):
    """`log(x / (1 - x))`; `eps` clamps the input to [eps, 1 - eps]."""
    return e.logit(input, **({} if eps is None else {"eps": eps}), **({} if out is None else {"out": out}))


def masked_fill(input, mask, value):
    """`input` with `value` (a number, or a 0-d tensor) where `mask` holds; both broadcast."""
    from facula.core.shape import broadcast

    from .copying import contiguous
    from .view import expand_to

    if isinstance(mask, Tensor) and mask.spec.shape != input.spec.shape:
        shape = broadcast(input.spec.shape, mask.spec.shape)
        input = input if shape == input.spec.shape else expand_to(input, shape)
    return e.masked_fill(contiguous(input), mask, value)


def real(input):
    """The real parts; real tensors as they are."""
    from .view import real_view

    return real_view(input) if input.spec.dtype.is_complex else input


def imag(input):
    """The imaginary parts of a complex tensor."""
    from .view import imag_view

    if not input.spec.dtype.is_complex:
        fail(RuntimeError, "imag is not implemented for tensors with non-complex dtypes.")
    return imag_view(input)


# --- whole numbers, and the parts of floats -----------------------------------------------------------------------


def _divisor(a, b):
    """The greatest common divisor by Euclid's algorithm; the lowest number has no size, and may leave a sign."""
    size = (lambda x: x) if a.dtype.kind == "u" else ir.abs
    return ir.loop((size(a), size(b)), lambda a, b: ir.ne(b, 0), lambda a, b: (b, ir.fmod(a, b)), lambda a, b: a)


def _multiple(a, b):
    """The least common multiple: 0 where one of them is."""
    divisor, kind = _divisor(a, b), a.dtype
    if kind.itemsize < 4:  # PyTorch computes in int32, and wraps last
        a, b, divisor = (ir.cast(x, dt.int32) for x in (a, b, divisor))
    found = ir.truncdiv(a, ir.select(ir.eq(divisor, 0), ir.const(1, a.dtype), divisor)) * b
    return ir.cast(found if kind.kind == "u" else ir.abs(found), kind)


def _whole(name: str, text: str, body):
    def each(input, other):
        return body(input, other)

    each.__name__, each.__doc__ = f"{name}_each", text
    numbers = traced(each, kinds="ui", differentiable=False)

    def entry(input, other, *, out=None):
        _tensors(name, input=input, other=other)
        common = result_type([_kind(input), _kind(other)])
        if common.kind not in "ui":
            fail(NotImplementedError, f"\"{name}_cpu\" not implemented for '{dtype_title(common)}'")
        made = numbers(input, other)
        return made if out is None else _to_out(name, out, made, ())

    entry.__name__ = entry.__qualname__ = name
    entry.__doc__ = text
    return entry


gcd = _whole("gcd", "The greatest common divisor, element by element.", _divisor)
lcm = _whole("lcm", "The least common multiple, element by element.", _multiple)


@traced(kinds="f")
def frexp_parts(input):
    """(mantissa, exponent) of floats."""
    double = input.dtype is dt.float64
    whole, digits, middle = (dt.int64, 52, 1022) if double else (dt.int32, 23, 126)
    small = ir.lt(ir.abs(input), 2.0 ** (1 - middle))
    bits = ir.bitcast(ir.select(small, input * 2.0**digits, input), whole)  # no number is subnormal there
    exponent = ((bits >> digits) & (2 * middle + 3)) - middle
    exponent = ir.select(small, exponent - digits, exponent)
    plain = ir.and_(ir.ne(input, 0.0), ir.lt(ir.abs(input), math.inf))
    exponent = ir.select(plain, exponent, ir.const(0, whole))

    def power(of):
        return ir.bitcast((of + (middle + 1)) << digits, input.dtype)

    half = exponent >> 1  # the whole might be no number
    return input * power(-half) * power(half - exponent), ir.cast(exponent, dt.int32)


frexp_parts.operator.node_class.__name__ = "FrexpBackward0"


def frexp(input, *, out=None):
    """Floats as `mantissa * 2**exponent` with mantissas from 0.5 to 1."""
    from .results import named

    if input.spec.dtype.kind != "f":
        fail(RuntimeError, "torch.frexp() only supports floating-point dtypes")
    made = frexp_parts(input)
    if out is not None:
        for o, m, what in zip(out, made, ("mantissa to have dtype {}", "exponent to have {} dtype")):
            if o.spec.dtype is not m.spec.dtype:
                what = what.format(dtype_c_name(m.spec.dtype))
                fail(RuntimeError, f"torch.frexp() expects {what} but got {dtype_c_name(o.spec.dtype)}")
        made = [_to_out("frexp", o, m, (input,)) for o, m in zip(out, made)]
    return named("frexp", *made)
