"""Arithmetic, comparison, logic, exponentials, trigonometry: one number from each operand's element."""

import math

from facula import launch
from facula.autograd.node import dtype_title
from facula.core import dtype as dt
from facula.core.spec import Spec
from facula.core.tensor import Tensor
from facula.errors import fail
from facula.ir import expr as ir

from .declare import OPERATORS, traced
from .promotion import number_dtype

__all__ = [
    "abs", "acos", "acosh", "add", "addcdiv", "addcmul", "angle", "asin", "asinh", "atan", "atan2", "atanh",
    "bitwise_and", "bitwise_left_shift", "bitwise_not", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "ceil",
    "clamp_max", "clamp_min", "complex", "conj_physical", "copysign", "cos", "cosh", "deg2rad", "digamma", "eq",
    "erf", "erfc", "erfinv", "exp", "exp2", "expm1", "floor", "floor_divide", "fmax", "fmin", "fmod", "frac", "ge",
    "gt", "heaviside", "hypot", "isfinite", "isinf", "isnan", "isneginf", "isposinf", "ldexp", "le", "lerp", "lgamma",
    "log", "log10",
    "log1p", "log2", "logaddexp", "logaddexp2", "logical_and", "logical_not", "logical_or", "logical_xor", "logit",
    "lt",
    "masked_fill", "maximum", "minimum", "mul", "ne", "neg", "nextafter", "polar", "positive", "pow", "rad2deg",
    "rdiv", "reciprocal", "remainder", "rsqrt", "rsub", "sgn", "sigmoid", "sign", "signbit", "sin", "sinc", "sinh",
    "sqrt", "square", "tan", "tanh", "true_divide", "trunc", "xlogy",
]  # fmt: skip

# --- arithmetic ---------------------------------------------------------------------------------------------------


@traced(narrow=("alpha",))
def add(input, other, *, alpha=1):
    """`input + alpha * other`, element by element."""
    if alpha != 1 and other.dtype.kind == "b":
        other = (
            ir.and_(other, ir.ne(alpha, 0))
            if isinstance(alpha, ir.Expr)
            else other
            if alpha
            else ir.const(False, dt.bool_)
        )
    elif alpha != 1:
        other = other * alpha
    return ir.or_(input, other) if input.dtype.kind == "b" else input + other


def _no_bools(input, other) -> None:
    """RuntimeError where a bool is to be subtracted, or subtracted from."""
    bools = [k is bool or getattr(k, "dtype", None) is dt.bool_ for k in (input, other)]
    if all(bools) and not isinstance(input, type) and not isinstance(other, type):
        fail(
            RuntimeError,
            "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or `logical_xor()` "
            "operator instead.",
        )
    if any(bools):
        fail(
            RuntimeError,
            "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert a mask, "
            "use the `~` or `logical_not()` operator instead.",
        )


@traced(check=_no_bools, narrow=("alpha",))
def sub(input, other, *, alpha=1):
    """`input - alpha * other`, element by element; bools cannot be subtracted."""
    return input - (other if alpha == 1 else other * alpha)


@traced(check=_no_bools, narrow=("alpha",))
def rsub(input, other, *, alpha=1):
    """`other - alpha * input`, element by element."""
    return other - (input if alpha == 1 else input * alpha)


@traced(wide=("other",))
def mul(input, other):
    """`input * other`, element by element."""
    return ir.and_(input, other) if input.dtype.kind == "b" else input * other


def _no_zero(input, other) -> None:
    """RuntimeError where whole numbers are divided by 0."""
    if isinstance(other, Tensor):
        zero = not launch.lacks(other) and bool(OPERATORS["eq"].call(other, 0).any())
    else:
        zero = other == 0
    if zero:
        fail(RuntimeError, "ZeroDivisionError", mend="whole numbers have no infinity: divide floats, or mask the zeros")


@traced(promote="float", wide=("other",))
def true_divide(input, other):
    """`input / other`, element by element; integers give floats."""
    return input / other


def halves(*operands):
    """The smaller dtype that operands are computed for in float32; None where there is none, or several."""
    small = {x.args[0].dtype for x in operands if x.op == "cast"} & set(dt.STORED_ONLY)
    return small.pop() if len(small) == 1 else None


def as_kept(value, kind):
    """`value` with the digits that a result of dtype `kind` has in memory."""
    return value if kind is None else ir.cast(ir.cast(value, kind), value.dtype)


@traced(promote="float", wide=("other",))
def rdiv(input, other):
    """`other / input` as `1 / input` times `other`: what PyTorch does for a number divided by a tensor."""
    return as_kept(1 / input, halves(input)) * other


@rdiv.gradient("input")
def _(grad, input, other):
    slope = other / (input * input)
    return -grad * (ir.conj(slope) if slope.dtype.kind == "c" else slope)


@rdiv.gradient("other")
def _(grad, input):
    return grad / (ir.conj(input) if input.dtype.kind == "c" else input)


@traced(kinds="uif", wide=("other",))
def floor_divide(input, other):
    """`input // other`, rounded towards minus infinity."""
    return ir.floordiv(input, other)


@traced(kinds="uif", wide=("other",))
def trunc_divide(input, other):
    """`input / other`, rounded towards zero; the quotient of two halves is a half before."""
    kind = halves(input, other)
    if input.dtype.kind != "f" or kind is None or other.op == "param":
        return ir.truncdiv(input, other)
    return ir.trunc(as_kept(input / other, kind))


@traced(kinds="uif")
def remainder(input, other):
    """The remainder with the sign of `other`, as Python's `%`."""
    return ir.remainder(input, other)


@traced(kinds="uif")
def fmod(input, other):
    """The remainder with the sign of `input`, as C's `fmod`."""
    return ir.fmod(input, other)


def _no_mask(input) -> None:
    if isinstance(input, Spec) and input.dtype is dt.bool_:
        fail(
            RuntimeError,
            "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a mask, use "
            "the `~` or `logical_not()` operator instead.",
        )


@traced(check=_no_mask)
def neg(input):
    """`-input`."""
    return -input


@traced
def positive(input):
    """`input` itself, copied."""
    return input


@traced(kinds="uifc")
def abs(input):
    """The absolute value."""
    return input if input.dtype.kind == "u" else ir.abs(input)


def _no_complex(kind: type[BaseException], message: str):
    """A check that refuses complex operands in PyTorch's words."""

    def check(*kinds) -> None:
        if any(getattr(k, "dtype", None) is not None and k.dtype.is_complex for k in kinds):
            fail(kind, message)

    return check


@traced(
    check=_no_complex(
        NotImplementedError,
        "Unlike NumPy, torch.sign is not intended to support complex numbers. Please use torch.sgn instead.",
    )
)
def sign(input):
    """-1, 0 or 1."""
    return input if input.dtype.kind == "b" else ir.sign(input)


@traced
def sgn(input):
    """`sign`, and for complex numbers the number of length 1 in the same direction (0 for 0)."""
    if input.dtype.kind == "b":
        return input
    if input.dtype.kind != "c":
        return ir.sign(input)
    size = ir.abs(input)
    zero = ir.eq(size, 0)
    scale = ir.select(zero, ir.const(0, size.dtype), 1 / size)
    return ir.complex(ir.real(input) * scale, ir.imag(input) * scale)


@traced
def square(input):
    """`input * input`; bools give int64."""
    if input.dtype.kind == "b":
        input = ir.cast(input, dt.int64)
    return input * input


@traced(promote="float")
def reciprocal(input):
    """`1 / input`."""
    return 1 / input


for _op in (floor_divide, trunc_divide, remainder, fmod):
    _op.operator.guard = _no_zero


def _two_masks(input, exponent) -> None:
    if all(isinstance(k, Spec) and k.dtype is dt.bool_ for k in (input, exponent)):
        fail(NotImplementedError, "\"pow\" not implemented for 'Bool'")


@traced(check=_two_masks)
def pow(input, exponent):
    """`input` to the power `exponent`, element by element."""
    if input.dtype.kind == "b":
        return ir.or_(input, ir.not_(exponent))
    made = ir.pow(input, exponent)
    number = _without_casts(exponent)
    if number.op == "param" and _without_casts(input).dtype is dt.bfloat16:
        # PyTorch's vectors of bfloat16 round each product, where they multiply.
        square = ir.cast(ir.cast(input * input, dt.bfloat16), input.dtype)
        inverse = ir.select(ir.eq(number, -2), 1 / square, made)
        made = ir.select(ir.eq(number, 3), square * input, inverse)
    return made


def _without_casts(x: ir.Expr) -> ir.Expr:
    """What is cast, from whichever dtypes."""
    while x.op == "cast":
        x = x.args[0]
    return x


def _no_negative(input, exponent) -> None:
    """RuntimeError for a whole number to a negative power."""
    if not isinstance(exponent, Tensor) and exponent < 0:
        fail(
            RuntimeError,
            "Integers to negative integer powers are not allowed.",
            mend="use a float base: x.float() ** n",
        )


pow.operator.guard = _no_negative


def _one_dtype(input, end, weight) -> None:
    """RuntimeError unless the tensors of `lerp` have one dtype."""
    for name, k in (("end", end), ("weight", weight)):
        if isinstance(input, Spec) and isinstance(k, Spec) and k.dtype is not input.dtype:
            if not (name == "weight" and not k.shape and input.dtype.kind in "fc"):
                fail(RuntimeError, f"expected dtype {input.dtype.name} for `{name}`, but got dtype {k.dtype.name}")


@traced(kinds="fc", follow=("weight",), check=_one_dtype, wide=("weight",))
def lerp(input, end, weight):
    """`input + weight * (end - input)`, from whichever end is nearer."""
    near = ir.lt(ir.abs(weight), 0.5)
    return ir.select(near, input + weight * (end - input), end - (end - input) * (1 - weight))


@traced(kinds="uifc")
def addcmul(input, tensor1, tensor2, *, value=1):
    """`input + value * tensor1 * tensor2`."""
    return input + (tensor1 * tensor2 if value == 1 else value * tensor1 * tensor2)


@traced(kinds="fc")
def addcdiv(input, tensor1, tensor2, *, value=1):
    """`input + value * tensor1 / tensor2`."""
    return input + (tensor1 / tensor2 if value == 1 else value * (tensor1 / tensor2))


@traced(check=_no_complex(RuntimeError, "maximum not implemented for complex tensors."))
def maximum(input, other):
    """The larger of the two; NaN wins."""
    return ir.maximum(input, other)


@traced(check=_no_complex(RuntimeError, "minimum not implemented for complex tensors."))
def minimum(input, other):
    """The smaller of the two; NaN wins."""
    return ir.minimum(input, other)


@traced(kinds="buif")
def fmax(input, other):
    """The larger of the two; NaN loses."""
    return ir.fmax(input, other) if input.dtype.kind == "f" else ir.maximum(input, other)


@traced(kinds="buif")
def fmin(input, other):
    """The smaller of the two; NaN loses."""
    return ir.fmin(input, other) if input.dtype.kind == "f" else ir.minimum(input, other)


@traced(kinds="uif")
def clamp_both(input, min, max):
    """`input` no smaller than `min` and no larger than `max` (`max` wins where they cross)."""
    return ir.minimum(ir.maximum(input, min), max)


@clamp_both.gradient("input")
def _(grad, input, min, max):
    inside = ir.and_(ir.ge(input, min), ir.le(input, max))
    return ir.select(inside, grad, ir.const(0, grad.dtype))


clamp_both.operator.title = "clamp_cpu"


def _number_of_mask(name: str):
    """A check that refuses a Python bool beside a bool tensor."""

    def check(input, bound) -> None:
        if bound is bool and isinstance(input, Spec) and input.dtype is dt.bool_:
            fail(NotImplementedError, f"\"{name}_scalar_cpu\" not implemented for 'Bool'")

    return check


@traced(kinds="buif", check=_number_of_mask("clamp_min"))
def clamp_min(input, min):
    """`input` no smaller than `min`."""
    return ir.maximum(input, min)


@clamp_min.gradient("input")
def _(grad, input, min):
    return ir.select(ir.ge(input, min), grad, ir.const(0, grad.dtype))


@traced(kinds="buif", check=_number_of_mask("clamp_max"))
def clamp_max(input, max):
    """`input` no larger than `max`."""
    return ir.minimum(input, max)


@clamp_max.gradient("input")
def _(grad, input, max):
    return ir.select(ir.le(input, max), grad, ir.const(0, grad.dtype))


@traced(promote="float", kinds="f")
def copysign(input, other):
    """The size of `input` with the sign of `other`."""
    return ir.copysign(input, other)


@traced(kinds="f")
def nextafter(input, other):
    """The next float after `input` towards `other`."""
    kind = halves(input, other)
    if kind is None:
        return ir.nextafter(input, other)
    # Halves: their bits, as whole numbers, are in the order of their sizes.
    away = ir.eq(ir.lt(input, other), ir.gt(input, 0))
    bits = ir.bitcast(ir.cast(input, kind), dt.int16)
    step = ir.select(away, ir.const(1, dt.int16), ir.const(-1, dt.int16))
    moved = ir.cast(ir.bitcast(bits + step, kind), input.dtype)
    least = ir.const(2.0**-24 if kind is dt.float16 else 2.0**-133, input.dtype)
    moved = ir.select(ir.eq(input, 0), ir.copysign(least, other), moved)
    moved = ir.select(ir.eq(input, other), other, moved)
    return ir.select(ir.or_(ir.isnan(input), ir.isnan(other)), input + other, moved)


@nextafter.gradient("input", "other")
def _(grad, input, other):
    zero = ir.const(0, grad.dtype)
    return ir.select(ir.eq(input, other), zero, grad), zero


@traced(promote="float", kinds="f")
def atan2(input, other):
    """The angle of the point (`other`, `input`), in radians."""
    return ir.atan2(input, other)


@traced(kinds="f")
def hypot(input, other):
    """`sqrt(input**2 + other**2)`."""
    return ir.hypot(input, other)


@traced(kinds="fc")
def logaddexp(input, other):
    """`log(exp(input) + exp(other))` without overflow."""
    if input.dtype.kind == "c":
        first = ir.ge(ir.real(input), ir.real(other))
        high, low = ir.select(first, input, other), ir.select(first, other, input)
        return high + ir.log(ir.exp(low - high) + 1)
    high, low = ir.maximum(input, other), ir.minimum(input, other)
    same = ir.and_(ir.eq(high, low), ir.isinf(high))
    return ir.select(same, high, high + ir.log1p(ir.exp(low - high)))


@logaddexp.gradient("input", "other")
def _(grad, input, other, out):
    conj = ir.conj if input.dtype.kind == "c" else lambda x: x
    return grad * conj(ir.exp(input - out)), grad * conj(ir.exp(other - out))


@traced(kinds="f")
def logaddexp2(input, other):
    """`log2(2**input + 2**other)` without overflow."""
    high, low = ir.maximum(input, other), ir.minimum(input, other)
    same = ir.and_(ir.eq(high, low), ir.isinf(high))
    return ir.select(same, high, high + ir.log1p(ir.exp2(low - high)) * (1 / math.log(2)))


@logaddexp2.gradient("input", "other")
def _(grad, input, other, out):
    return grad * ir.exp2(input - out), grad * ir.exp2(other - out)


logaddexp.operator.title, logaddexp2.operator.title = "logaddexp_cpu", "logaddexp2_cpu"


@traced(promote="float", kinds="f")
def xlogy(input, other):
    """`input * log(other)`, 0 where `input` is 0."""
    zero = ir.and_(ir.eq(input, 0), ir.not_(ir.isnan(other)))
    return ir.select(zero, ir.const(0, input.dtype), input * as_kept(ir.log(other), halves(input, other)))


@xlogy.gradient("input", "other")
def _(grad, input, other):
    nothing = ir.and_(ir.eq(input, 0), ir.le(other, 0))
    return ir.select(nothing, ir.const(0, grad.dtype), grad * ir.log(other)), grad * input / other


xlogy.operator.title = "xlogy_cpu"


@traced(kinds="buif", differentiable=False)
def heaviside(input, values):
    """0 for negative, 1 for positive elements, `values` at 0."""
    if input.dtype.kind == "b":
        return ir.or_(input, values)
    one, zero = ir.const(1, input.dtype), ir.const(0, input.dtype)
    found = ir.select(ir.eq(input, 0), values, ir.select(ir.gt(input, 0), one, zero))
    return ir.select(ir.isnan(input), zero, found) if input.dtype.kind == "f" else found


def _same_dtype(input, values) -> None:
    if isinstance(input, Spec) and isinstance(values, Spec) and input.dtype is not values.dtype:
        fail(RuntimeError, "heaviside is not yet implemented for tensors with different dtypes.")


heaviside.operator.check = _same_dtype


@traced(promote="float")
def sinc(input):
    """`sin(pi x) / (pi x)`, 1 at 0."""
    x = input * math.pi
    zero = ir.eq(x, ir.const(0, x.dtype))
    return ir.select(zero, ir.const(1, x.dtype), ir.apply("sin", x) / ir.select(zero, ir.const(1, x.dtype), x))


@sinc.gradient("input")
def _(grad, input):
    x = input * math.pi
    zero = ir.eq(x, ir.const(0, x.dtype))
    safe = ir.select(zero, ir.const(1, x.dtype), x)
    slope = (safe * ir.apply("cos", safe) - ir.apply("sin", safe)) / (safe * safe) * math.pi
    if slope.dtype.kind == "c":
        slope = ir.conj(slope)
    return ir.select(zero, ir.const(0, grad.dtype), grad * slope)


@traced(promote="float", wide=("other",))
def ldexp(input, other):
    """`input * 2**other`."""
    if other.dtype.kind != "f":
        return input * ir.exp(other * math.log(2))
    return input * as_kept(ir.exp2(other), halves(other))


# --- comparison and logic: no gradient ---------------------------------------------------------------------------


def _comparison(name: str, text: str):
    def body(input, other):
        return ir.apply(name, input, other)

    body.__name__, body.__doc__ = name, text
    made = traced(body, differentiable=False, kinds="buifc" if name in ("eq", "ne") else "buif")
    made.operator.title = f"{name}_cpu"
    return made


eq = _comparison("eq", "Whether `input == other`, element by element.")
ne = _comparison("ne", "Whether `input != other`, element by element.")
lt = _comparison("lt", "Whether `input < other`, element by element.")
le = _comparison("le", "Whether `input <= other`, element by element.")
gt = _comparison("gt", "Whether `input > other`, element by element.")
ge = _comparison("ge", "Whether `input >= other`, element by element.")


def _truth(x):
    return x if x.dtype.kind == "b" else ir.ne(x, 0)


@traced(differentiable=False)
def logical_and(input, other):
    """Whether both are not 0."""
    return ir.and_(_truth(input), _truth(other))


@traced(differentiable=False)
def logical_or(input, other):
    """Whether one of them is not 0."""
    return ir.or_(_truth(input), _truth(other))


@traced(differentiable=False)
def logical_xor(input, other):
    """Whether exactly one of them is not 0."""
    return ir.xor(_truth(input), _truth(other))


@traced(differentiable=False)
def logical_not(input):
    """Whether `input` is 0."""
    return ir.not_(_truth(input))


@traced(kinds="bui")
def bitwise_and(input, other):
    """The bits set in both."""
    return ir.and_(input, other)


@traced(kinds="bui")
def bitwise_or(input, other):
    """The bits set in one of them."""
    return ir.or_(input, other)


@traced(kinds="bui")
def bitwise_xor(input, other):
    """The bits set in exactly one of them."""
    return ir.xor(input, other)


@traced(kinds="bui")
def bitwise_not(input):
    """The bits that are not set."""
    return ir.not_(input)


@traced(kinds="ui")
def bitwise_left_shift(input, other):
    """`input * 2**other` on the bits."""
    return ir.shl(input, other)


@traced(kinds="ui")
def bitwise_right_shift(input, other):
    """`input` moved right by `other` bits; the sign is kept."""
    return ir.shr(input, other)


@traced(differentiable=False)
def isnan(input):
    """Whether an element is NaN."""
    return ir.isnan(input) if input.dtype.kind in "fc" else ir.ne(input, input)


@traced(differentiable=False)
def isinf(input):
    """Whether an element is plus or minus infinity."""
    if input.dtype.kind == "c":
        return ir.or_(ir.isinf(ir.real(input)), ir.isinf(ir.imag(input)))
    return ir.isinf(input) if input.dtype.kind == "f" else ir.ne(input, input)


@traced(differentiable=False)
def isfinite(input):
    """Whether an element is neither NaN nor infinite."""
    if input.dtype.kind == "c":
        input = ir.real(input) - ir.real(input) + (ir.imag(input) - ir.imag(input))
    elif input.dtype.kind == "f":
        input = input - input
    return ir.eq(input, input)


@traced(differentiable=False, check=_no_complex(RuntimeError, "isposinf does not support complex inputs."))
def isposinf(input):
    """Whether an element is plus infinity."""
    return ir.eq(input, math.inf) if input.dtype.kind == "f" else ir.ne(input, input)


@traced(differentiable=False, check=_no_complex(RuntimeError, "isneginf does not support complex inputs."))
def isneginf(input):
    """Whether an element is minus infinity."""
    return ir.eq(input, -math.inf) if input.dtype.kind == "f" else ir.ne(input, input)


@traced(differentiable=False, kinds="buif")
def signbit(input):
    """Whether the sign bit is set."""
    return ir.signbit(input) if input.dtype.kind != "b" else ir.ne(input, input)


@traced(keep=("condition",))
def where(condition, input, other):
    """`input` where `condition` holds, `other` elsewhere."""
    return ir.select(condition if condition.dtype.kind == "b" else ir.ne(condition, 0), input, other)


def _number_to_fill(input, mask, value) -> None:
    """RuntimeError unless `value` is a number or 0-d, and `mask` is of bools."""
    if isinstance(value, Spec) and value.shape:
        fail(
            RuntimeError,
            f"masked_fill_ only supports a 0-dimensional value tensor, but got tensor with {len(value.shape)} "
            "dimension(s).",
        )
    if not isinstance(mask, Spec):
        fail(TypeError, f"masked_fill(): argument 'mask' must be Tensor, not {mask.__name__}")
    if mask.dtype is not dt.bool_:
        fail(
            RuntimeError, f"masked_fill_ only supports boolean masks, but got mask with dtype {dtype_title(mask.dtype)}"
        )
    kind = value.dtype if isinstance(value, Spec) else number_dtype(value)
    order = "buifc"
    if order.index(kind.kind) > max(order.index(input.dtype.kind), 2):
        fail(RuntimeError, f"value cannot be converted to type {input.dtype.name} without overflow")


@traced(keep=("mask",), follow=("value",), check=_number_to_fill)
def masked_fill(input, mask, value):
    """`input` with `value` where `mask` holds."""
    return ir.select(mask, value, input)


# --- functions of one number that integers are promoted for -------------------------------------------------------


def _scaled(x, by: float):
    """A complex number times a real one, part by part."""
    return ir.complex(ir.real(x) * by, ir.imag(x) * by)


def _expm1(x):
    """`exp(x) - 1` of a complex number, exact near 0."""
    re, im = ir.real(x), ir.imag(x)
    half = ir.sin(im * 0.5)
    grown = ir.expm1(re)
    return ir.complex(grown * ir.cos(im) - half * half * 2, (grown + 1) * ir.sin(im))


def _log1p(x):
    """`log(1 + x)` of a complex number, exact near 0."""
    re, im = ir.real(x), ir.imag(x)
    small = ir.lt(ir.hypot(re, im), 0.5)
    near = ir.log1p(re * (re + 2) + im * im) * 0.5
    far = ir.log(ir.hypot(re + 1, im))
    return ir.complex(ir.select(small, near, far), ir.atan2(im, re + 1))


def _floating(name: str, text: str, kinds: str = "fc", complex_form=None):
    def body(input):
        if complex_form is not None and input.dtype.kind == "c":
            return complex_form(input)
        return ir.apply(name, input)

    body.__name__, body.__doc__ = name, text
    return traced(body, promote="float", kinds=kinds)


sqrt = _floating("sqrt", "The square root.")
rsqrt = _floating("rsqrt", "`1 / sqrt(input)`.")
exp = _floating("exp", "e to the power `input`.")
exp2 = _floating("exp2", "2 to the power `input`.", complex_form=lambda x: ir.exp(_scaled(x, math.log(2))))
expm1 = _floating("expm1", "`exp(input) - 1`, exact near 0.", complex_form=lambda x: _expm1(x))
log = _floating("log", "The natural logarithm.")
log2 = _floating("log2", "The logarithm to base 2.", complex_form=lambda x: _scaled(ir.log(x), 1 / math.log(2)))
log10 = _floating("log10", "The logarithm to base 10.", complex_form=lambda x: _scaled(ir.log(x), 1 / math.log(10)))
log1p = _floating("log1p", "`log(1 + input)`, exact near 0.", complex_form=lambda x: _log1p(x))
sin = _floating("sin", "The sine of an angle in radians.")
cos = _floating("cos", "The cosine of an angle in radians.")
tan = _floating("tan", "The tangent of an angle in radians.")
asin = _floating("asin", "The angle in radians whose sine is `input`.")
acos = _floating("acos", "The angle in radians whose cosine is `input`.")
atan = _floating("atan", "The angle in radians whose tangent is `input`.")
sinh = _floating("sinh", "The hyperbolic sine.")
cosh = _floating("cosh", "The hyperbolic cosine.")
tanh = _floating("tanh", "The hyperbolic tangent.")
asinh = _floating("asinh", "The inverse hyperbolic sine.")
acosh = _floating("acosh", "The inverse hyperbolic cosine.")
atanh = _floating("atanh", "The inverse hyperbolic tangent.")
sigmoid = _floating("sigmoid", "`1 / (1 + exp(-input))`.")
erf = _floating("erf", "The error function.", "f")
erfc = _floating("erfc", "`1 - erf(input)`, exact for large inputs.", "f")
erfinv = _floating("erfinv", "The inverse of the error function.", "f")
lgamma = _floating("lgamma", "The logarithm of the absolute value of the gamma function.", "f")
digamma = _floating("digamma", "The derivative of `lgamma`.", "f")


def _rounding(name: str, text: str):
    def body(input):
        return ir.apply(name, input) if input.dtype.kind == "f" else input

    body.__name__, body.__doc__ = name, text
    return traced(body, kinds="uif")


floor = _rounding("floor", "The largest whole number not above `input`.")
ceil = _rounding("ceil", "The smallest whole number not below `input`.")
trunc = _rounding("trunc", "`input` without its fraction.")
round_even = _rounding("round", "The nearest whole number; halves go to the even one.")


@traced(kinds="f")
def round_decimals(input, scale, back):
    """`round(input * scale) / scale`, with `back` true where `scale` divides instead (negative decimals)."""
    return ir.round(input * scale) / back


@traced(kinds="f")
def frac(input):
    """The part after the point, with the sign of `input`."""
    return input - ir.trunc(input)


@traced(promote="float", kinds="f")
def rad2deg(input):
    """Radians to degrees."""
    return input * (180 / math.pi)


@traced(promote="float", kinds="f")
def deg2rad(input):
    """Degrees to radians."""
    return input * (math.pi / 180)


@traced(promote="float", kinds="f", narrow=("eps",))
def logit(input, *, eps=None):
    """`log(x / (1 - x))`; `eps` clamps the input to [eps, 1 - eps]. Each step is kept as halves where they are such."""
    kind = halves(input)
    x = input if eps is None else ir.minimum(ir.maximum(input, eps), as_kept(1 - eps, kind))
    return ir.log(as_kept(x / as_kept(1 - x, kind), kind))


@traced(kinds="f")
def nan_to_num_values(input, nan, posinf, neginf):
    """`input` with NaN and the infinities replaced."""
    high = ir.select(ir.eq(input, math.inf), posinf, input)
    low = ir.select(ir.eq(input, -math.inf), neginf, high)
    return ir.select(ir.isnan(input), nan, low)


@nan_to_num_values.gradient("input")
def _(grad, input):
    return ir.select(ir.eq(input - input, 0), grad, ir.const(0, grad.dtype))


# --- complex numbers ----------------------------------------------------------------------------------------------


@traced(kinds="buifc")
def angle(input):
    """The angle of a complex number in radians; 0 or pi for real ones."""
    if input.dtype.kind in "fc":
        return ir.angle(input)
    value = ir.cast(input, dt.float32)
    return ir.select(ir.lt(value, 0), ir.const(math.pi, dt.float32), ir.const(0, dt.float32))


@traced(kinds="buifc")
def conj_physical(input):
    """The complex conjugate, copied."""
    return ir.conj(input) if input.dtype.kind == "c" else input


def _parts(real, imag) -> None:
    """RuntimeError unless both are float16, or both float32, or both float64."""
    for k in (real, imag):
        if isinstance(k, Spec) and k.dtype not in (dt.float16, dt.float32, dt.float64):
            fail(
                RuntimeError,
                f"Expected both inputs to be Half, Float or Double tensors but got {dtype_title(real.dtype)} and "
                f"{dtype_title(imag.dtype)}",
            )
    if isinstance(real, Spec) and isinstance(imag, Spec) and real.dtype is not imag.dtype:
        fail(
            RuntimeError,
            f"Expected object of scalar type {dtype_title(real.dtype)} but got scalar type {dtype_title(imag.dtype)} "
            "for second argument",
        )


@traced(kinds="f", check=_parts)
def complex(real, imag):
    """Complex numbers of two real tensors."""
    return ir.complex(real, imag)


def _lengths_and_angles(abs, angle) -> None:
    if isinstance(abs, Spec) and abs.dtype is dt.float16:
        fail(NotImplementedError, "\"polar_cpu\" not implemented for 'Half'")
    _parts(abs, angle)


@traced(kinds="f", check=_lengths_and_angles)
def polar(abs, angle):
    """Complex numbers of their lengths and angles."""
    return ir.complex(abs * ir.cos(angle), abs * ir.sin(angle))


@traced
def real_part(input):
    """The real part, copied."""
    return ir.real(input) if input.dtype.kind == "c" else input


@traced
def imag_part(input):
    """The imaginary part, copied."""
    return ir.imag(input)


# --- what may not be a Python number ------------------------------------------------------------------------------

for _names, _only in (
    (
        "atan2 complex fmax fmin heaviside hypot ldexp logaddexp logaddexp2 logical_and logical_or logical_xor maximum "
        "minimum nextafter polar",
        None,
    ),
    ("clamp_max clamp_min copysign eq fmod ge gt le lerp lt ne rdiv rsub", ("input",)),
):
    for _name in _names.split():
        OPERATORS[_name].only = frozenset(_only or OPERATORS[_name].operands)
complex.operator.exact = "Expected object of scalar type {want} but got scalar type {got} for argument 'out'"
