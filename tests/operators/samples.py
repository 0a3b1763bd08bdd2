"""The samples table: one row for each public operator, from which every generic check follows. See `table.py`.

A new operator gets a row here, or in a file `samples_<family>.py` beside this one. Rows without a partner among these
(an operator nobody wrote samples for) fail `test_operators.py`.
"""

import math

import numpy as np

from .table import D, T, bad, index, mask, row, s, t

INF, NAN = math.inf, math.nan
SPECIAL = t(values=[0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 1e30, -1e30, 1e-30, INF, -INF, NAN], grad=False)

# --- one operand --------------------------------------------------------------------------------------------------


def unary(low=-2.0, high=2.0, special=True, **options):
    """Samples of all ranks and sizes for f(x)."""
    shapes = ((), (5,), (3, 4), (2, 3, 4), (0,), (2, 0, 3), (37,))
    found = [s(T(shape, low=low, high=high, **options)) for shape in shapes]
    return [*found, s(SPECIAL)] if special else found


LOOSE = {"float16": (2e-3, 1e-4), "bfloat16": (2e-2, 1e-3)}
for name, kinds, low, high, function in (
    ("sqrt", "buifc", 0.01, 4, np.sqrt), ("rsqrt", "buifc", 0.1, 4, lambda x: 1 / np.sqrt(x)),
    ("exp", "buifc", -2, 2, np.exp),
    ("exp2", "buifc", -2, 2, np.exp2), ("expm1", "buifc", -2, 2, np.expm1), ("log", "buifc", 0.1, 4, np.log),
    ("log2", "buifc", 0.1, 4, np.log2), ("log10", "buifc", 0.1, 4, np.log10), ("log1p", "buifc", -0.9, 3, np.log1p),
    ("sin", "buifc", -3, 3, np.sin), ("cos", "buifc", -3, 3, np.cos), ("tan", "buifc", -1.2, 1.2, np.tan),
    ("asin", "buifc", -0.9, 0.9, np.arcsin), ("acos", "buifc", -0.9, 0.9, np.arccos),
    ("atan", "buifc", -3, 3, np.arctan),
    ("sinh", "buifc", -2, 2, np.sinh), ("cosh", "buifc", -2, 2, np.cosh), ("tanh", "buifc", -2, 2, np.tanh),
    ("asinh", "buifc", -3, 3, np.arcsinh), ("acosh", "buifc", 1.1, 4, np.arccosh),
    ("atanh", "buifc", -0.9, 0.9, np.arctanh),
    ("sigmoid", "buifc", -4, 4, lambda x: 1 / (1 + np.exp(-x))), ("reciprocal", "buifc", 0.3, 3, lambda x: 1 / x),
    ("rad2deg", "buif", -3, 3, np.rad2deg), ("deg2rad", "buif", -200, 200, np.deg2rad),
):  # fmt: skip
    row(name, unary(low, high), kinds, numpy=function)
row("erf", unary(-3, 3), "buif")
row("erfc", unary(-3, 3), "buif")
row("erfinv", unary(-0.9, 0.9), "buif")
row("lgamma", unary(0.3, 6), "buif")
row("digamma", unary(0.3, 6), "buif")
row("logit", [*unary(0.05, 0.95), s(t(4, low=-0.5, high=1.5), eps=0.1), s(t(4, low=0.1, high=0.9), 0.2)], "buif")
row(
    "neg",
    unary(),
    "uifc",
    numpy=np.negative,
    errors=[bad(RuntimeError, "Negation, the `-` operator, on a bool tensor is not supported", mask(2))],
)
row("abs", unary(away=0.1), "uifc", numpy=np.abs)
row("sign", unary(away=0.1), "buif")
row("sgn", unary(away=0.1), "buifc")
row("square", unary(), "buifc", numpy=np.square)
row(
    "positive",
    unary(),
    "uifc",
    out=False,
    numpy=np.positive,
    errors=[bad(RuntimeError, "The `+` operator, on a bool tensor is not supported.", mask(2))],
)
row("frac", unary(), "f", numpy=lambda x: x - np.trunc(x))
for name in ("floor", "ceil", "trunc"):
    row(name, unary(), "uif", numpy=getattr(np, name))
row(
    "round",
    [
        *unary(),
        s(t(6, low=-30, high=30), decimals=1),
        s(t(6, low=-300, high=300), decimals=-1),
        s(t(values=[0.5, 1.5, 2.5, -0.5, -1.5], grad=False)),
    ],
    "uif",
    covers=("round_decimals",),
)
row("angle", unary(away=0.1), "buifc")
row("conj", unary(), "buifc", out=False, numpy=np.conj)
row("conj_physical", unary(), "buifc", numpy=np.conj)
row(
    "real",
    [s(t(3, 2)), s(t())],
    "buifc",
    out=False,
    method=False,
    numpy=np.real,
    covers=(
        "real_view",
        "real_part",
    ),
)
row(
    "imag",
    [s(t(3, 2)), s(t())],
    "c",
    out=False,
    method=False,
    numpy=np.imag,
    covers=(
        "imag_view",
        "imag_part",
    ),
)
for name in ("isnan", "isinf", "isfinite", "isreal"):
    row(name, unary(), "buifc", out=False, grad=False, numpy=getattr(np, name))
for name in ("isposinf", "isneginf"):
    row(name, unary(), "buif", grad=False)
row("signbit", unary(), "buif", grad=False)
row("logical_not", unary(), "buifc", grad=False, numpy=np.logical_not)
row("bitwise_not", unary(), "bui", grad=False, numpy=np.invert)
row(
    "nan_to_num",
    [*unary(), s(SPECIAL, nan=1.5), s(SPECIAL, nan=0.5, posinf=7.0, neginf=-7.0)],
    "buifc",
    covers=("nan_to_num_values",),
    more=("complex128",),
)
row("sinc", [*unary(away=0.1), s(t(values=[0.0, 1.0, 0.5]))], "buifc", second=False)

row("frexp", unary(0.1, 4, special=False), "f", covers=("frexp_parts",))

# --- two operands -------------------------------------------------------------------------------------------------


def binary(low=-2.0, high=2.0, numbers=(), low2=None, high2=None, special=True, **options):
    """Samples of f(x, y): equal shapes, broadcasting, 0-d, no elements, numbers on the right."""
    low2, high2 = low if low2 is None else low2, high if high2 is None else high2
    pairs = (((3, 4), (3, 4)), ((5,), (5,)), ((), ()), ((3, 4), (4,)), ((2, 1, 4), (3, 1)), ((3, 4), ()), ((), (2, 3)),
        ((0,), (1,)),
             ((2, 0, 3), (3,)), ((2, 3, 4), (2, 3, 4)))  # fmt: skip
    found = [s(T(a, low=low, high=high, **options), T(b, low=low2, high=high2, **options)) for a, b in pairs]
    found += [s(T((3, 2), low=low, high=high, **options), n) for n in numbers]
    found += [s(T((), low=low, high=high, **options), numbers[0])] if numbers else []
    if special:
        a, b = np.meshgrid([0.0, -0.0, 1.0, -2.5, INF, -INF, NAN], [0.0, -0.0, 1.0, -2.5, INF, -INF, NAN])
        found.append(s(t(values=a.tolist(), grad=False), t(values=b.tolist(), grad=False)))
    return found


CONFLICT = bad(
    RuntimeError,
    "The size of tensor a (3) must match the size of tensor b (4) at non-singleton dimension 0",
    t(3),
    t(4),
)
row(
    "add",
    [*binary(numbers=(2, 1.5, True)), s(t(3), t(3), alpha=2), s(t(3), 3, alpha=2)],
    numpy=lambda a, b, alpha=1: np.add(a, alpha * b if alpha != 1 else b),
    errors=[CONFLICT],
)
row("sub", [*binary(numbers=(2, 1.5)), s(t(3), t(3), alpha=2)], "uifc", numpy=lambda a, b,
    alpha=1: a - (alpha * b if alpha != 1 else b),
    errors=[CONFLICT, bad(RuntimeError, "Subtraction, the `-` operator, with two bool tensors is not supported.",
                          mask(2), mask(2))])  # fmt: skip
row("subtract", [s(t(3), t(3)), s(t(3), 2)], "uifc", numpy=np.subtract)
row("rsub", [s(t(3), t(3)), s(t(3), 2), s(t(3), t(3), alpha=2)], "uifc", out=False, method=False)
row("Tensor.__rtruediv__", [s(t(3, low=1, high=4), 2.5), s(t(3, low=1, high=4), 2)],
    numpy=lambda a, b: 1 / a * b, covers=("rdiv",), out=False, method=False)  # fmt: skip
row("mul", binary(numbers=(2, 1.5, True)), numpy=np.multiply, errors=[CONFLICT])
row("multiply", [s(t(3), t(3)), s(t(3), 2)], numpy=np.multiply)
row("div", [*binary(numbers=(2, 1.5), away=0.3), s(t(4, away=0.3), t(4, away=0.3), rounding_mode="trunc"),
            s(t(4, away=0.3), t(4, away=0.3), rounding_mode="floor"), s(t(4), 2, rounding_mode="floor")],
    errors=[bad(RuntimeError, "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found 'ceil'",
                t(2), t(2), rounding_mode="ceil"), CONFLICT],
    covers=("trunc_divide",))  # fmt: skip
row("divide", [s(t(3), t(3, away=0.3)), s(t(3), 2)], numpy=np.true_divide)
row("true_divide", [s(t(3), t(3, away=0.3)), s(t(3), 2), *binary(numbers=(2, 1.5), away=0.3)], numpy=np.true_divide)
row("floor_divide", [*binary(numbers=(2, 1.5), away=0.3)], "uif", grad=False)
row("remainder", binary(numbers=(2, 1.5), away=0.3), "uif", numpy=np.remainder)
row("fmod", binary(numbers=(2, 1.5), away=0.3), "uif", numpy=np.fmod)
row("pow", [*binary(0.2, 2, numbers=(2, 3, 0.5, -1.0, 0, 1, -2), special=False), s(t(4, away=0.2), 2),
            s(t(4, away=0.2), 3), s(2, t(4)), s(0.5, t(3)), s(t(values=[0.0, 1.0, 2.0]), t(values=[2.0, 0.0, 3.0]))],
            "uifc")  # fmt: skip
row("float_power", [s(t(3, low=0.2), 2), s(t(3, low=0.2), t(3)), s(2, t(3))], "buifc")
row("maximum", binary(), "buif", numpy=np.maximum)
row("minimum", binary(), "buif", numpy=np.minimum)
row("fmax", binary(), "buif", numpy=np.fmax)
row("fmin", binary(), "buif", numpy=np.fmin)
row("atan2", binary(away=0.1), "buif", numpy=np.arctan2)
row("hypot", binary(away=0.1), "f", numpy=np.hypot)
row("copysign", binary(numbers=(-1.0, 2), away=0.1), "buif")
row("nextafter", binary(), "f", slopes=False)
row("logaddexp", binary(), "fc")
row("logaddexp2", binary(), "f", numpy=np.logaddexp2)
row(
    "xlogy",
    [
        *binary(0.2, 3, numbers=(2, 1.5)),
        s(2, t(3, low=0.2)),
        s(t(values=[0.0, 0.0, 1.0], kink=True), t(values=[0.5, 2.0, 3.0])),
    ],
    "buif",
)
# PyTorch gives a gradient of 0 for negative exponents (2 ** -1 in integers): docs/differences.md.
row(
    "ldexp",
    [
        s(t(4), t(4, dtype="int32", low=0, high=4, grad=False)),
        s(t(2, 3), t(3, dtype="int64", low=0, high=4, grad=False)),
    ],
    "buifc",
)
row("heaviside", binary(), "buif", grad=False)
row(
    "gcd",
    [s(t(6, low=-20, high=20), t(6, low=-20, high=20)), s(t(2, 3, low=0, high=50), t(3, low=0, high=50))],
    "ui",
    grad=False,
    numpy=np.gcd,
    covers=("gcd_each",),
)
row("lcm", [s(t(6, low=-9, high=10), t(6, low=-9, high=10))], "ui", grad=False, numpy=np.lcm,
    covers=("lcm_each",))  # fmt: skip
for name, function in (("eq", np.equal), ("ne", np.not_equal)):
    row(name, binary(numbers=(1, 0.5)), grad=False, numpy=function, errors=[CONFLICT])
for name, function in (("lt", np.less), ("le", np.less_equal), ("gt", np.greater), ("ge", np.greater_equal)):
    row(name, binary(numbers=(1, 0.5)), "buif", grad=False, numpy=function, errors=[CONFLICT])
for name in ("logical_and", "logical_or", "logical_xor"):
    row(name, binary(), grad=False, numpy=getattr(np, name))
for name in ("bitwise_and", "bitwise_or", "bitwise_xor"):
    row(name, binary(numbers=(3,), special=False), "bui", grad=False, numpy=getattr(np, name))
row("bitwise_left_shift", [s(t(5), t(5, low=0, high=5)), s(t(5), 2)], "ui", grad=False, numpy=np.left_shift)
row("bitwise_right_shift", [s(t(5), t(5, low=0, high=5)), s(t(5), 2)], "ui", grad=False, numpy=np.right_shift)
row(
    "complex",
    [s(t(3), t(3)), s(t(2, 3), t(3)), s(t(), t())],
    "f",
    method=False,
    refused=("bfloat16",),
)
row("polar", [s(t(3, low=0.2), t(3)), s(t(2, 3, low=0.2), t(3))], "f", method=False, refused=("bfloat16", "float16"))
row(
    "isclose",
    [*binary(special=True), s(t(3), t(3), rtol=0.1, atol=0.5), s(SPECIAL, SPECIAL, equal_nan=True)],
    grad=False,
    out=False,
    covers=("close",),
)
row(
    "allclose",
    [s(t(3), t(3)), s(t(values=[1.0, 2.0]), t(values=[1.0, 2.0])), s(SPECIAL, SPECIAL, equal_nan=True)],
    grad=False,
    out=False,
)
row(
    "equal",
    [s(t(3), t(3)), s(t(3), t(4)), s(t(values=[1.0, 2.0]), t(values=[1.0, 2.0])), s(t(0), t(0))],
    grad=False,
    out=False,
)

# --- three operands and more --------------------------------------------------------------------------------------

row("where", [s(mask(3, 4), t(3, 4), t(3, 4)), s(mask(4), t(3, 1), t()), s(mask(3), t(3), 2.0), s(mask(3), 1.5, t(3)),
              s(mask(0), t(0), t(0)), s(mask(2, 3), t(2, 3), 1)],
    errors=[bad(RuntimeError, "where expected condition to be a boolean tensor, but got a tensor with dtype Float",
                t(3, dtype="float32"), t(3), t(3))], covers=("where_nonzero",), method=False)  # fmt: skip
row("lerp", [s(t(3, 4), t(3, 4), 0.3), s(t(3, 4), t(3, 4), 0.7), s(t(3, 4), t(4), t(3, 4)), s(t(), t(), t())], "fc")
row("addcmul", [s(t(3, 4), t(3, 4), t(3, 4)), s(t(3, 4), t(4), t(3, 1), value=2), s(t(), t(), t())], "uifc")
row("addcdiv", [s(t(3, 4), t(3, 4), t(3, 4, away=0.4)), s(t(3, 4), t(4), t(3, 1, away=0.4), value=2)], "fc")
row("clamp", [s(t(3, 4), -1, 1), s(t(5), min=0), s(t(5), max=0.5), s(t(5), t(5), t(5)), s(t(3, 4), t(4), None),
              s(t(3, 4), None, t(3, 1)), s(SPECIAL, -1, 1), s(t(5), 1, -1)], "buif",
    errors=[bad(RuntimeError, "torch.clamp: At least one of 'min' or 'max' must not be None", t(2))],
    covers=("clamp_both",))  # fmt: skip
row("clip", [s(t(3, 4), -1, 1), s(t(5), min=0)], "buif")
row("clamp_min", [s(t(3, 4), 0), s(t(3), t(3))], "buif")
row("clamp_max", [s(t(3, 4), 0), s(t(3), t(3))], "buif")
row(
    "masked_fill",
    [s(t(3, 4), mask(3, 4), 2), s(t(3, 4), mask(4), t()), s(t(), mask(), 1), s(t(4), mask(3, 4), 1)],
    out=False,
)

# --- reductions ---------------------------------------------------------------------------------------------------


def reduction(dims=True, several=True, whole=True, low=-2.0, high=2.0, empty=True, **options):
    """Samples of f(x), f(x, dim), f(x, dims, keepdim) over all ranks."""
    make = lambda *shape: T(shape, low=low, high=high, **options)  # noqa: E731
    found = []
    if whole:
        found += [s(make(3, 4)), s(make()), s(make(2, 3, 4)), s(make(37))]
        found += [s(make(0))] if empty else []
    if dims:
        found += [
            s(make(3, 4), 0),
            s(make(3, 4), 1, True),
            s(make(3, 4), -1),
            s(make(2, 3, 4), 1),
            s(make(), 0),
            s(make(70), dim=0),
            s(make(2, 3, 4), dim=-2, keepdim=True),
        ]
        found += [s(make(0, 3), 1), s(make(2, 0), 0)] if empty else []
    if several:
        found += [s(make(2, 3, 4), (0, 2)), s(make(2, 3, 4), (1, 2), True), s(make(2, 3, 4), [-1])]
    return found


RANGE = bad(IndexError, "Dimension out of range (expected to be in range of [-2, 1], but got 2)", t(3, 4), 2)
TWICE = bad(RuntimeError, "dim 0 appears multiple times in the list of dims", t(3, 4), (0, 0))
row(
    "sum",
    [*reduction(), s(t(3, 4), dtype=D("float64")), s(t(3, 4), 0, dtype=D("float32")), s(t(3), ())],
    numpy=None,
    errors=[RANGE, TWICE],
    covers=("sum_rows", "spread", "expand_to"),
)
row(
    "mean",
    [*reduction(), s(t(3, 4), dtype=D("float64"))],
    "fc",
    errors=[RANGE, TWICE, bad(RuntimeError, "mean(): could not infer output dtype.", t(3, dtype="int64"))],
    covers=("mean_rows",),
)
row(
    "prod",
    [*reduction(several=False), s(t(values=[[0.0, 2.0, 3.0], [0.0, 0.0, 2.0]]), 1), s(t(3, 4), dtype=D("float64"))],
    covers=("prod_rows", "prod_of"),
    errors=[RANGE],
)
row("nansum", [*reduction(), s(t(values=[NAN, 1.0, 2.0]))], "buif", covers=("nansum_rows",))
row("nanmean", [*reduction(), s(t(values=[NAN, 1.0, 2.0]))], "f", covers=("nanmean_rows",))
row(
    "count_nonzero",
    [s(t(3, 4)), s(t(3, 4), 0), s(t(2, 3, 4), (0, 2)), s(t()), s(t(0))],
    grad=False,
    out=False,
    covers=("count_nonzero_rows",),
)
row("any", [*reduction(several=False), s(t(2, 3, 4), (0, 2))], grad=False, covers=("any_rows",), errors=[RANGE])
row("all", [*reduction(several=False), s(t(2, 3, 4), (0, 2))], grad=False, covers=("all_rows",), errors=[RANGE])
row(
    "amax",
    [*reduction(empty=False, distinct=True), s(t(values=[[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]], kink=True), 1)],
    "buif",
    covers=("amax_rows",),
    errors=[bad(IndexError, "amax(): Expected reduction dim 0 to have non-zero size.", t(0, 3), 0)],
)
row(
    "amin",
    [*reduction(empty=False, distinct=True), s(t(values=[[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]], kink=True), 1)],
    "buif",
    covers=("amin_rows",),
)
row(
    "aminmax",
    [s(t(3, 4, distinct=True)), s(t(3, 4, distinct=True), dim=0), s(t(3, 4, distinct=True), dim=1, keepdim=True)],
    "buif",
)
for name in ("max", "min"):
    row(name, [*reduction(several=False, empty=False, distinct=True), s(t(3, 4), t(3, 4)), s(t(3), t(2, 3)),
               s(t(values=[1.0, NAN, 3.0])), s(t(values=[[1.0, NAN], [3.0, 2.0]]), 1)], "buif",
               covers=(f"{name}_rows", f"{name}_whole"),
        errors=[bad(RuntimeError, f"{name}(): Expected reduction dim to be specified for input.numel() == 0.", t(0)),
                bad(IndexError, f"{name}(): Expected reduction dim 0 to have non-zero size.", t(0, 3), 0),
                RANGE])  # fmt: skip
    row(
        "arg" + name,
        [
            *reduction(several=False, empty=False, distinct=True),
            s(t(values=[1.0, 3.0, 3.0, 1.0])),
            s(t(values=[1.0, NAN, 3.0, NAN])),
        ],
        "uif",
        grad=False,
        covers=(f"arg{name}_rows",),
    )
for name in ("var", "std"):
    row(name, [*reduction(low=-2, high=2, empty=False), s(t(3, 4), unbiased=False), s(t(3, 4), 0, correction=0),
               s(t(3, 4), dim=(0, 1), correction=2), s(t(3, 4), 1, False), s(t(3, 4), 1, True, True)][1:]
               if name == "none" else
        [s(t(3, 4)), s(t(2, 3, 4), 1), s(t(3, 4), (0, 1)), s(t(3, 4), unbiased=False), s(t(3, 4), 0, correction=0),
         s(t(3, 4), dim=(0, 1), correction=2), s(t(3, 4), 1, False), s(t(3, 4), 1, True, True),
         s(t(3, 4), dim=1, keepdim=True)],
        "fc", covers=(f"{name}_rows",), errors=[RANGE, bad(RuntimeError,
                                                           f"{name} only support floating point and complex dtypes"
                                                           if name == "none"
                                                           else "std and var only support floating point and complex "
                                                                "dtypes", t(3, dtype="int64"))])  # fmt: skip
    row(
        name + "_mean",
        [s(t(3, 4)), s(t(2, 3, 4), 1), s(t(3, 4), (0, 1), correction=0), s(t(3, 4), 1, keepdim=True)],
        "fc",
        out=False,
        method=False,
        covers=(f"{name}_mean_rows",),
    )
row("norm", [s(t(3, 4)), s(t(3, 4), 1), s(t(3, 4), 2, 1), s(t(3, 4), INF), s(t(3, 4), -INF, 0), s(t(3, 4), 3, (0, 1)),
             s(t(3, 4), 0), s(t(3, 4), 0.5), s(t(3, 4), "fro"), s(t(3, 4), dim=1, keepdim=True),
             s(t(values=[0.0, 0.0]))], "fc",
    second=False, covers=("vector_norm_rows",), tolerance=LOOSE)  # fmt: skip
row(
    "logsumexp",
    [
        s(t(3, 4), 0),
        s(t(2, 3, 4), (0, 2), True),
        s(t(3, 4), -1),
        s(t(), 0),
        s(t(values=[-INF, -INF]), 0),
        s(t(values=[INF, 1.0]), 0),
    ],
    "buifc",
    covers=("logsumexp_rows",),
)
row(
    "cumsum",
    [s(t(3, 4), 0), s(t(3, 4), 1), s(t(2, 3, 4), -2), s(t(), 0), s(t(0), 0), s(t(3), 0, dtype=D("float64"))],
    covers=("cumsum_rows",),
    errors=[RANGE],
)
row(
    "cumprod",
    [
        s(t(3, 4), 0),
        s(t(3, 4), 1),
        s(t(2, 3, 4), -2),
        s(t(), 0),
        s(t(0), 0),
        s(t(values=[[1.0, 0.0, 2.0], [0.0, 0.0, 3.0]]), 1),
    ],
    covers=("cumprod_rows", "cumprod_along"),
    errors=[RANGE],
)
row(
    "logcumsumexp",
    [s(t(3, 4), 0), s(t(2, 3, 4), 1), s(t(), 0), s(t(values=[-200.0, 0.0, 200.0, -200.0]), 0)],
    "fc",
    covers=("logcumsumexp_along",),
)
row(
    "dist",
    [s(t(3, 4), t(3, 4)), s(t(3, 4), t(4), 1), s(t(3), t(3), INF)],
    "fc",
    out=False,
    second=False,
    tolerance=LOOSE,
)
row("trapezoid", [s(t(5)), s(t(3, 4), t(3, 4)), s(t(3, 4), dx=0.5), s(t(3, 4), dim=0)], "uifc", out=False, method=False)
row(
    "cumulative_trapezoid",
    [s(t(5)), s(t(3, 4), t(3, 4)), s(t(3, 4), dx=0.5), s(t(3, 4), dim=0)],
    "uifc",
    out=False,
    method=False,
)
row("trapz", [s(t(5)), s(t(3, 4), t(3, 4)), s(t(3, 4), dx=0.5)], "uifc", out=False, method=False)
row(
    "diff",
    [s(t(5)), s(t(3, 4), 2), s(t(3, 4), dim=0), s(t(5), prepend=t(2), append=t(1)), s(t(5), n=0), s(t(2), n=3)],
    "buifc",
    numpy=None,
)
row(
    "cov",
    [s(t(3, 6)), s(t(6)), s(t(3, 6), correction=0)],
    "uifc",
    out=False,
    tolerance=LOOSE,
)
row("corrcoef", [s(t(3, 6)), s(t(6))], "uifc", out=False, tolerance=LOOSE, second=False)
row(
    "bincount",
    [s(index(9, below=5)), s(index(9, below=5), minlength=8), s(index(9, below=5), t(9, dtype="float64"))],
    "f",
    grad=False,
    out=False,
    refused=("float16", "bfloat16"),
)
row(
    "histc",
    [s(t(20)), s(t(20), 5), s(t(20), 4, -1, 1)],
    "f",
    grad=False,
    blind=("float16", "bfloat16"),
    covers=("histc_parts",),
)
row(
    "renorm",
    [s(t(3, 4), 2, 0, 1.0), s(t(3, 4), 1, 1, 1.0)],
    "fc",
    second=False,
    tolerance=LOOSE,
)

for name in ("quantile", "nanquantile"):
    row(
        name,
        [
            s(t(7), 0.3),
            s(t(3, 5), 0.5, 1),
            s(t(3, 5), t(values=[0.0, 0.25, 1.0], grad=False), 0, True),
            s(t(3, 5), 0.7, keepdim=True),
            *[s(t(3, 6), 0.35, 1, interpolation=how) for how in ("lower", "higher", "midpoint", "nearest")],
            s(t(values=[[1.0, NAN, 3.0], [2.0, 5.0, 4.0]], grad=False), 0.5, 1),
        ],
        "f",
        refused=("float16", "bfloat16"),
        strides=False,
    )

# --- shapes -------------------------------------------------------------------------------------------------------

row("Tensor.view", [s(t(3, 4), 12), s(t(3, 4), (2, 6)), s(t(3, 4), -1, 2), s(t(), 1), s(t(0), 0, 3),
                    s(t(2, 3, 4), 6, 4)], covers=("view_shape",), out=False, layouts=False,
    errors=[bad(RuntimeError, "shape '[5, 2]' is invalid for input of size 12", t(3, 4), 5, 2),
            bad(RuntimeError, "only one dimension can be inferred", t(3, 4), -1, -1)])  # fmt: skip
row(
    "reshape",
    [s(t(3, 4), (12,)), s(t(3, 4), (2, 6)), s(t(3, 4), (-1, 2)), s(t(), (1,)), s(t(2, 3, 4), (4, 6)), s(t(0), (0, 3))],
    out=False,
    errors=[
        bad(RuntimeError, "shape '[5, 2]' is invalid for input of size 12", t(3, 4), (5, 2)),
        bad(RuntimeError, "invalid shape dimension -2", t(3, 4), (-2, 2)),
    ],
)
row("ravel", [s(t(3, 4)), s(t()), s(t(3))], out=False)
row(
    "flatten",
    [s(t(2, 3, 4)), s(t(2, 3, 4), 1), s(t(2, 3, 4), 0, 1), s(t()), s(t(3), 0), s(t(2, 3, 4), -2, -1)],
    out=False,
    errors=[bad(RuntimeError, "flatten() has invalid args: start_dim cannot come after end_dim", t(2, 3), 1, 0)],
)
row(
    "unflatten",
    [s(t(2, 6), 1, (2, 3)), s(t(2, 6), -1, (-1, 2)), s(t(6), 0, (2, 3))],
    out=False,
    errors=[
        bad(
            RuntimeError,
            "unflatten: Provided sizes [4, 2] don't multiply up to the size of dim 1 (6) in the input tensor",
            t(2, 6),
            1,
            (4, 2),
        )
    ],
)
row(
    "permute",
    [s(t(2, 3, 4), (2, 0, 1)), s(t(2, 3), (1, 0)), s(t(2, 3, 4), (-1, 0, 1)), s(t(), ())],
    out=False,
    errors=[
        bad(
            RuntimeError, "permute(sparse_coo): number of dimensions in the tensor input does not match", t(2, 3), (0,)
        ),
        bad(RuntimeError, "permute(): duplicate dims are not allowed.", t(2, 3), (0, 0)),
    ],
)
row(
    "transpose",
    [s(t(2, 3), 0, 1), s(t(2, 3, 4), -1, 0), s(t(), 0, -1), s(t(3), 0, 0)],
    out=False,
    errors=[bad(IndexError, "Dimension out of range", t(2, 3), 0, 2)],
)
for name in ("swapaxes", "swapdims"):
    row(name, [s(t(2, 3, 4), 0, 2)], out=False)
row(
    "t",
    [s(t(2, 3)), s(t(3)), s(t())],
    out=False,
    errors=[bad(RuntimeError, "t() expects a tensor with <= 2 dimensions, but self is 3D", t(2, 3, 4))],
)
row("adjoint", [s(t(2, 3)), s(t(2, 3, 4))], out=False, strides=False)
for name in ("movedim", "moveaxis"):
    row(name, [s(t(2, 3, 4), 0, 2), s(t(2, 3, 4), (0, 1), (1, 2)), s(t(2, 3, 4), -1, 0)], out=False)
row("Tensor.expand", [s(t(3, 1), 3, 4), s(t(3), (2, 3)), s(t(1, 3), -1, 3), s(t(), 2), s(t(1), 0)], out=False,
    errors=[bad(RuntimeError, "The expanded size of the tensor (4) must match the existing size (3) at non-singleton "
                              "dimension 0.", t(3), 4), bad(RuntimeError,
                                                            "expand(torch.FloatTensor{[2, 3]}, size=[3]): the number "
                                                            "of sizes provided (1)", t(2, 3, dtype="float32"),
                                                            3)])  # fmt: skip
row("broadcast_to", [s(t(3, 1), (3, 4)), s(t(3), (2, 3))], out=False)
row("broadcast_tensors", [s(t(3, 1), t(4)), s(t(), t(2, 3))], out=False, method=False)
row(
    "squeeze",
    [s(t(1, 3, 1)), s(t(1, 3, 1), 0), s(t(1, 3, 1), 1), s(t(1, 3, 1), (0, 2)), s(t()), s(t(), 0), s(t(1, 1))],
    out=False,
    covers=("squeeze_dims",),
    errors=[bad(IndexError, "Dimension out of range", t(1, 3), 2)],
)
row(
    "unsqueeze",
    [s(t(3), 0), s(t(3), 1), s(t(3), -1), s(t(2, 3), 1), s(t(), 0), s(t(), -1)],
    out=False,
    errors=[bad(IndexError, "Dimension out of range (expected to be in range of [-2, 1], but got 3)", t(3), 3)],
)
row(
    "select",
    [s(t(3, 4), 0, 1), s(t(3, 4), 1, -1), s(t(3), 0, 2)],
    out=False,
    errors=[
        bad(IndexError, "select(): index 3 out of range for tensor of size [3, 4] at dimension 0", t(3, 4), 0, 3),
        bad(IndexError, "select() cannot be applied to a 0-dim tensor.", t(), 0, 0),
    ],
)
row(
    "narrow",
    [s(t(5, 2), 0, 1, 3), s(t(5), 0, -3, 2), s(t(5), 0, 5, 0)],
    out=False,
    covers=("slice_dim",),
    errors=[
        bad(RuntimeError, "start (3) + length (3) exceeds dimension size (5).", t(5), 0, 3, 3),
        bad(RuntimeError, "narrow(): length must be non-negative.", t(5), 0, 3, -1),
    ],
)
row("narrow_copy", [s(t(5, 2), 0, 1, 3)], out=False)
row(
    "diagonal",
    [s(t(3, 4)), s(t(3, 4), 1), s(t(3, 4), -1), s(t(2, 3, 4), 0, 1, 2), s(t(2, 3, 4), 1, 0, 2), s(t(3, 4), 9)],
    out=False,
    errors=[bad(RuntimeError, "diagonal dimensions cannot be identical", t(3, 4), 0, 1, 1)],
)
row(
    "Tensor.unfold",
    [s(t(7), 0, 3, 2), s(t(3, 6), 1, 2, 2), s(t(3, 6), 1, 3, 1), s(t(5), 0, 2, 3)],
    out=False,
    covers=("overlap_add",),
    errors=[bad(RuntimeError, "maximum size for tensor at dimension 0 is 3 but size is 4", t(3), 0, 4, 1)],
)
row(
    "as_strided",
    [s(t(4, 4), (2, 2), (4, 1)), s(t(9), (3, 3), (1, 2), 1), s(t(4), (2, 3), (0, 1))],
    out=False,
    layouts=False,
    covers=("as_strided_part", "as_strided_scatter_add"),
    errors=[bad(RuntimeError, "setStorage: sizes [3, 3], strides [3, 1]", t(4, dtype="float32"), (3, 3), (3, 1))],
)
row(
    "unbind",
    [s(t(3, 4)), s(t(3, 4), 1), s(t(3))],
    out=False,
    errors=[bad(IndexError, "Dimension specified as 0 but tensor has no dimensions", t())],
)
row(
    "split",
    [s(t(7, 2), 3), s(t(7), 7), s(t(2, 5), 2, 1), s(t(7), [1, 2, 4]), s(t(2, 4), [1, 3], dim=1)],
    out=False,
    errors=[
        bad(
            RuntimeError,
            "split_with_sizes expects split_sizes to sum exactly to 7 (input tensor's size at dimension 0), but got "
            "split_sizes=[3, 3]",
            t(7),
            [3, 3],
        )
    ],
)
row("split_with_sizes", [s(t(7), (1, 2, 4)), s(t(2, 4), (1, 3), 1)], out=False)
row(
    "chunk",
    [s(t(7), 3), s(t(4, 6), 2, 1), s(t(3), 5)],
    out=False,
    errors=[bad(RuntimeError, "chunk expects `chunks` to be greater than 0, got: 0", t(3), 0)],
)
row("tensor_split", [s(t(7), 3), s(t(7), (2, 5)), s(t(2, 6), 3, 1), s(t(7), (2, 2, 9))], out=False)
row("hsplit", [s(t(4, 6), 2), s(t(6), 3), s(t(4, 6), (1, 3))], out=False)
row("vsplit", [s(t(4, 6), 2), s(t(4, 6), (1, 3))], out=False)
row("dsplit", [s(t(2, 3, 4), 2)], out=False)
for name in ("atleast_1d", "atleast_2d", "atleast_3d"):
    row(name, [s(t()), s(t(3)), s(t(2, 3)), s(t(2, 3, 4))], out=False, method=False)
row("view_as_real", [s(t(3)), s(t(2, 3)), s(t())], "c", out=False, method=False)
row(
    "view_as_complex",
    [s(t(3, 2)), s(t(2))],
    "f",
    out=False,
    method=False,
    layouts=False,
    refused=("bfloat16",),
)
row("Tensor.view_as", [s(t(3, 4), t(2, 6))], out=False, layouts=False)
row("Tensor.expand_as", [s(t(3, 1), t(3, 4))], out=False)
row("Tensor.reshape_as", [s(t(3, 4), t(2, 6))], out=False)
row("Tensor.sum_to_size", [s(t(3, 4), 1, 4), s(t(2, 3, 4), (3, 1)), s(t(3), 3)], out=False)

# --- joining and rearranging --------------------------------------------------------------------------------------

row("cat", [s([t(2, 3), t(4, 3)]), s([t(2, 3), t(2, 2)], 1), s([t(2, 3)], dim=-1), s([t(0), t(2, 3)]),
            s([t(2), t(3), t(1)]), s((t(2, 0), t(2, 3)), 1), s([t(2, 3), t(2, 3, dtype="float64")])], numpy=None,
    errors=[bad(RuntimeError, "Sizes of tensors must match except in dimension 0. Expected size 3 but got size 4 for "
                              "tensor number 1 in the list.", [t(2, 3), t(2, 4)]),
            bad(RuntimeError, "zero-dimensional tensor (at position 0) cannot be concatenated", [t(), t()]),
            bad(RuntimeError, "Tensors must have same number of dimensions: got 2 and 1", [t(2, 3), t(2)]),
            bad(ValueError, "torch.cat(): expected a non-empty list of Tensors", [])])  # fmt: skip
row("concat", [s([t(2, 3), t(4, 3)])])
row("concatenate", [s([t(2, 3), t(4, 3)], 0)])
row(
    "stack",
    [s([t(2, 3), t(2, 3)]), s([t(2, 3), t(2, 3)], 1), s([t(2, 3), t(2, 3)], -1), s([t(), t()])],
    errors=[
        bad(
            RuntimeError,
            "stack expects each tensor to be equal size, but got [2] at entry 0 and [3] at entry 1",
            [t(2), t(3)],
        ),
        bad(RuntimeError, "stack expects a non-empty TensorList", []),
    ],
    covers=("stack_core",),
)
for name in ("hstack", "vstack", "dstack", "column_stack", "row_stack"):
    row(name, [s([t(3), t(3)]), s([t(2, 3), t(2, 3)]), s([t(), t()]), s([t(2, 3, 2), t(2, 3, 2)])])
row("block_diag", [s(t(2, 3), t(1, 2)), s(t(3), t(), t(2, 2))], out=False, method=False)
row(
    "flip",
    [s(t(3, 4), (0,)), s(t(3, 4), (0, 1)), s(t(2, 3, 4), (-1, 0)), s(t(), ()), s(t(0), (0,))],
    out=False,
    covers=("flip_dims",),
    errors=[bad(RuntimeError, "dim 0 appears multiple times in the list of dims", t(3, 4), (0, 0))],
)
row("fliplr", [s(t(3, 4))], out=False, numpy=np.fliplr, errors=[bad(RuntimeError, "Input must be >= 2-d.", t(3))])
row(
    "flipud",
    [s(t(3, 4)), s(t(3))],
    out=False,
    numpy=np.flipud,
    errors=[bad(RuntimeError, "Input must be >= 1-d.", t())],
)
row(
    "roll",
    [
        s(t(5), 2),
        s(t(3, 4), 1),
        s(t(3, 4), -1, 0),
        s(t(3, 4), (1, 2), (0, 1)),
        s(t(3, 4), (1, 2), (0, 0)),
        s(t(0), 1),
        s(t(3), 10, 0),
    ],
    out=False,
    covers=("roll_dims",),
    errors=[bad(RuntimeError, "shifts and dimensions must align. shifts: 2, dims:1", t(3), (1, 2), 0)],
)
row(
    "rot90",
    [s(t(3, 4)), s(t(3, 4), 2), s(t(3, 4), 3, (0, 1)), s(t(2, 3, 4), -1, (1, 2)), s(t(3, 4), 4)],
    out=False,
    numpy=lambda x, k=1, dims=(0, 1): np.rot90(x, k, dims),
)
row(
    "Tensor.repeat",
    [s(t(3), 2), s(t(3), 2, 2), s(t(2, 3), 1, 0), s(t(), 3), s(t(2, 3), (2, 1, 3))],
    out=False,
    errors=[
        bad(
            RuntimeError,
            "Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor",
            t(2, 3),
            2,
        )
    ],
    covers=("repeat_core",),
)
row("tile", [s(t(3), (2,)), s(t(2, 3), (2,)), s(t(3), (2, 2)), s(t(), (3,))], out=False)
COUNTS = T((3,), "int64", values=[1, 0, 2], grad=False)
row(
    "repeat_interleave",
    [
        s(t(3), 2),
        s(t(2, 3), 2, 1),
        s(t(2, 3), COUNTS, 1),
        s(t(2, 3), T((2,), "int64", values=[2, 1], grad=False), dim=0),
        s(t(2, 3), T((1,), "int32", values=[2], grad=False), 1, output_size=6),
    ],
    out=False,
    errors=[
        bad(RuntimeError, "Repeats must be non-negative", t(3), -1),
        bad(RuntimeError, "repeat_interleave: Invalid output_size, expected 6 but got 5", t(3), 2, output_size=5),
        bad(RuntimeError, "allocated size does not match required size", t(3), COUNTS, output_size=4),
        bad(RuntimeError, "repeats must have the same size as input along dim, but got repeats.size(0) = 3", t(2),
            COUNTS),
        bad(RuntimeError, "repeats can not be negative", T((2,), "int64", values=[2, -1], grad=False)),
        bad(NotImplementedError, "\"repeat_interleave_cpu\" not implemented for 'Float'", t(3)),
    ],
)  # fmt: skip
row("kron", [s(t(2, 3), t(3, 2)), s(t(2), t(3))], numpy=np.kron)
row(
    "meshgrid",
    [s(t(3), t(2), indexing="ij"), s(t(3), t(2), indexing="xy"), s(t(3), t(2), t(4), indexing="ij")],
    out=False,
    method=False,
)
row("cartesian_prod", [s(t(3), t(2)), s(t(3))], out=False, method=False)
row("combinations", [s(t(4)), s(t(4), 3), s(t(3), 2, True)], out=False, method=False)
row("tril", [s(t(3, 4)), s(t(3, 4), 1), s(t(3, 4), -1), s(t(2, 3, 3)), s(t(0, 3))], covers=("triangle",))
row("triu", [s(t(3, 4)), s(t(3, 4), 1), s(t(3, 4), -1), s(t(2, 3, 3))])
row("diag", [s(t(3)), s(t(3), 1), s(t(3, 4)), s(t(3, 4), -1)], numpy=np.diag)
row("diag_embed", [s(t(2, 3)), s(t(2, 3), 1), s(t(2, 3), 0, 0, 1)], out=False, covers=("diag_embed_core",))
row("diagflat", [s(t(2, 3)), s(t(3), 1)], out=False, numpy=np.diagflat)
row("trace", [s(t(3, 4)), s(t(3, 3)), s(t(0, 3))], out=False, refused=("bool",))
row("vander", [s(t(3)), s(t(3), 4), s(t(3), increasing=True)], out=False, method=False, grad=False)
row("gradient", [s(t(5)), s(t(4, 5)), s(t(4, 5), spacing=0.5, dim=1)], "ifc", out=False, method=False)
row("slice_scatter", [s(t(5, 3), t(2, 3), 0, 1, 3), s(t(5), t(3), 0, 0, 5, 2)], strides=False, more=("complex128",))
row("select_scatter", [s(t(5, 3), t(3), 0, 1)], out=False, strides=False, more=("complex128",))
row("diagonal_scatter", [s(t(4, 4), t(4)), s(t(4, 4), t(3), 1)], out=False, strides=False, more=("complex128",))
row("as_strided_scatter", [s(t(4, 4), t(2, 2), (2, 2), (4, 1))], out=False, layouts=False, grad=False)
row("clone", [s(t(3, 4)), s(t()), s(t(0))], out=False)
row("Tensor.contiguous", [s(t(3, 4)), s(t())], out=False)
row("Tensor.detach", [s(t(3, 4))], out=False, grad=False)

# --- indexing -----------------------------------------------------------------------------------------------------

row("gather", [s(t(3, 4), 0, index(2, 4, below=3)), s(t(3, 4), 1, index(3, 2, below=4)), s(t(5), 0, index(7, below=5)),
               s(t(), 0, index(below=1)), s(t(3), 0, index(0, below=3)), s(t(2, 3, 4), -2, index(2, 5, 4, below=3))],
    errors=[bad(RuntimeError, "index 3 is out of bounds for dimension 0 with size 3", t(3), 0,
                T((1,), "int64", values=[3])), bad(RuntimeError,
                                                   "Size does not match at dimension 1 expected index [2, 5] to be no "
                                                   "larger than self [3, 4] apart from dimension 0", t(3, 4), 0,
                                                   index(2, 5, below=3)),
            bad(RuntimeError, "gather(): Expected dtype int32/int64 for index", t(3), 0,
                t(2, dtype="float32"))])  # fmt: skip
row("scatter", [s(t(3, 4), 0, T((2, 4), "int64", values=[[0, 1, 2, 0], [1, 2, 0, 2]]), t(2, 4)),
                s(t(3, 4), 1, T((3, 2), "int64", values=[[0, 1], [2, 3], [1, 0]]), t(3, 3, grad=False)),
                s(t(3, 4), 0, index(1, 4, below=3), 2.0), s(t(3, 4), 0, index(1, 4, below=3), value=1),
                s(t(3, 4, grad=False), 1, index(3, 1, below=4), t(3, 1, grad=False), reduce="add")],
    covers=("scatter_src",), errors=[bad(RuntimeError, "index 3 is out of bounds for dimension 0 with size 3", t(3), 0,
                                         T((1,), "int64", values=[3]), t(1)), bad(RuntimeError,
                                                                "scatter(): Expected self.dtype to be equal to "
                                                                "src.dtype", t(3, dtype="float32"), 0, index(2,
                                                                below=3), t(2, dtype="float64"))])  # fmt: skip
row(
    "scatter_add",
    [
        s(t(3, 4), 0, index(5, 4, below=3), t(5, 4)),
        s(t(3, 4), 1, index(3, 6, below=4), t(3, 6)),
        s(t(3), 0, index(0, below=3), t(0)),
    ],
    tolerance=LOOSE,
    errors=[
        bad(
            RuntimeError,
            "index 3 is out of bounds for dimension 0 with size 3",
            t(3),
            0,
            T((1,), "int64", values=[3]),
            t(1),
        )
    ],
)
row(
    "scatter_reduce",
    [
        s(t(3, 4), 0, index(5, 4, below=3), t(5, 4, distinct=True), how)
        for how in ("sum", "prod", "mean", "amax", "amin")
    ]
    + [
        s(t(3, 4), 1, index(3, 6, below=4), t(3, 6, distinct=True), how, include_self=False)
        for how in ("sum", "mean", "amax", "amin")
    ],
    tolerance=LOOSE,
    second=False,
    covers=("scatter_combined",),
    more=("complex128",),
)
row("index_select", [s(t(3, 4), 0, index(5, below=3)), s(t(3, 4), 1, index(2, below=4)), s(t(3), 0, index(below=3)),
                     s(t(), 0, T((1,), "int64", values=[0])), s(t(3, 4), 0, index(0, below=3)),
                     s(t(3, 4), 0, T((2,), "int32", values=[2, 0]))],
    errors=[bad(IndexError, "index out of range in self", t(3, dtype="float32"), 0, T((1,), "int64", values=[3])),
            bad(IndexError, "index_select(): Index is supposed to be a vector", t(3), 0,
                index(2, 2, below=3))])  # fmt: skip
row(
    "index_add",
    [
        s(t(3, 4), 0, index(5, below=3), t(5, 4)),
        s(t(3, 4), 1, index(2, below=4), t(3, 2), alpha=2),
        s(t(5), 0, index(3, below=5), t(3)),
    ],
    covers=("index_add_core",),
    tolerance=LOOSE,
)
row(
    "index_copy",
    [s(t(3, 4), 0, T((2,), "int64", values=[2, 0]), t(2, 4)), s(t(3, 4), 1, T((2,), "int64", values=[3, 1]), t(3, 2))],
)
row(
    "index_fill",
    [s(t(3, 4), 0, T((2,), "int64", values=[2, 0]), 5), s(t(3, 4), 1, T((2,), "int64", values=[3, 1]), t())],
    out=False,
)
row(
    "index_reduce",
    [s(t(3, 4), 0, index(5, below=3), t(5, 4, distinct=True), how) for how in ("prod", "mean", "amax", "amin")],
    "buifc",
    second=False,
    tolerance=LOOSE,
    covers=("index_combined",),
    more=("complex128",),
)
row(
    "index_put",
    [
        s(t(3, 4), (index(2, below=3),), t(4)),
        s(t(3, 4), (T((2,), "int64", values=[0, 2]), T((2,), "int64", values=[1, 3])), t(2)),
        s(t(3, 4), (index(5, below=3),), t(5, 4), True),
        s(t(3), (mask(3),), t()),
    ],
    out=False,
    covers=("index_put_core",),
    tolerance=LOOSE,
)
row(
    "take",
    [s(t(3, 4), index(2, 5, below=12)), s(t(3), index(below=3)), s(t(3, 4), T((2,), "int64", values=[-1, 3]))],
    errors=[
        bad(
            IndexError,
            "out of range: tried to access index 9 on a tensor of 3 elements.",
            t(3),
            T((1,), "int64", values=[9]),
        )
    ],
)
row(
    "put",
    [s(t(3, 4), T((3,), "int64", values=[0, 5, 11]), t(3)), s(t(3, 4), index(6, below=12), t(6), True)],
    out=False,
    tolerance=LOOSE,
)
row(
    "take_along_dim",
    [s(t(3, 4), index(3, 2, below=4), 1), s(t(3, 4), index(1, 4, below=3), 0), s(t(3, 4), index(5, below=12))],
    layouts=False,
)
row(
    "masked_select",
    [s(t(3, 4), mask(3, 4)), s(t(3, 4), mask(4)), s(t(), mask()), s(t(0), mask(0))],
    errors=[bad(RuntimeError, "masked_select: expected BoolTensor for mask", t(3), index(3, below=2))],
)
row("masked_scatter", [s(t(3, 4), mask(3, 4), t(12)), s(t(3, 4), mask(4), t(12))], out=False)
row(
    "nonzero",
    [s(t(3, 4)), s(t(3), as_tuple=True), s(t()), s(mask(3, 4)), s(t(0)), s(t(values=[0.0, 1.0, -0.0, NAN]))],
    grad=False,
)
row("argwhere", [s(t(3, 4)), s(mask(3))], grad=False, out=False)
row(
    "isin",
    [
        s(t(values=[1.0, 2.0, 3.0]), t(values=[2.0, 5.0])),
        s(t(values=[1.0, 2.0, 3.0]), 2),
        s(t(values=[[1.0, 2.0], [5.0, 3.0]]), t(values=[2.0, 5.0]), invert=True),
    ],
    "uif",
    grad=False,
    method=False,
)
row(
    "unravel_index",
    [s(index(4, below=12), (3, 4)), s(index(2, 2, below=24), (2, 3, 4))],
    "f",
    grad=False,
    out=False,
    method=False,
)
row("Tensor.__getitem__", [s(t(3, 4), 1), s(t(3, 4), (slice(None), 2)), s(t(3, 4), slice(1, None, 2)),
                           s(t(3, 4), (Ellipsis, None, 0)), s(t(3, 4), index(2, below=3)),
                           s(t(3, 4), (index(2, below=3), index(2, below=4))), s(t(3, 4), mask(3, 4)),
                           s(t(3, 4), (slice(None), mask(4))),
                           s(t(2, 3, 4), (index(2, below=2), slice(None), index(2, below=4))),
                           s(t(2, 3, 4), (slice(None), index(2, 2, below=3))), s(t(3, 4), [0, 2]),
                           s(t(3, 4), (0, [1, 3])), s(t(3), None), s(t(3), True),
                           s(t(3), T((1,), "int64", values=[-1]))],
    out=False, strides=False, covers=("index", "basic_index", "alias_view", "embed"),
    errors=[bad(IndexError, "index 3 is out of bounds for dimension 0 with size 3", t(3, 4), 3),
            bad(IndexError, "too many indices for tensor of dimension 2", t(3, 4), (0, 0, 0)),
            bad(IndexError, "index 5 is out of bounds for dimension 0 with size 3", t(3), T((1,), "int64", values=[5])),
            bad(ValueError, "step must be greater than zero", t(3), slice(None, None, -1)),
            bad(IndexError, "tensors used as indices must be long, int, byte or bool tensors", t(3),
                t(2, dtype="float32")), bad(IndexError, "The shape of the mask [4] at index 0 does not match the shape "
                                                        "of the indexed tensor [3] at index 0", t(3),
                                            mask(4))])  # fmt: skip

# --- matrix products ----------------------------------------------------------------------------------------------

PRODUCT = {"float16": (5e-3, 5e-3), "bfloat16": (4e-2, 4e-2), "float32": (1e-5, 1e-5)}
NO_BOOL = ("bool",)
row(
    "mm",
    [s(t(3, 4), t(4, 5)), s(t(1, 4), t(4, 1)), s(t(0, 4), t(4, 5)), s(t(3, 0), t(0, 5)), s(t(17, 33), t(33, 9))],
    tolerance=PRODUCT,
    refused=NO_BOOL,
    numpy=np.matmul,
    errors=[
        bad(RuntimeError, "mat1 and mat2 shapes cannot be multiplied (3x4 and 5x6)", t(3, 4), t(5, 6)),
        bad(RuntimeError, "self must be a matrix", t(4), t(4, 5)),
        bad(
            RuntimeError,
            "expected m1 and m2 to have the same dtype, but got: float != double",
            t(2, 2, dtype="float32"),
            t(2, 2, dtype="float64"),
        ),
    ],
)
row(
    "bmm",
    [s(t(2, 3, 4), t(2, 4, 5)), s(t(0, 3, 4), t(0, 4, 5))],
    tolerance=PRODUCT,
    refused=NO_BOOL,
    numpy=np.matmul,
    covers=("bmm_core",),
    errors=[
        bad(
            RuntimeError,
            "Expected size for first two dimensions of batch2 tensor to be: [2, 4] but got: [3, 4].",
            t(2, 3, 4),
            t(3, 4, 5),
        ),
        bad(RuntimeError, "batch1 must be a 3D tensor", t(3, 4), t(3, 4, 5)),
    ],
)
row("matmul", [s(t(3, 4), t(4, 5)), s(t(4), t(4)), s(t(3, 4), t(4)), s(t(4), t(4, 5)), s(t(2, 3, 4), t(4, 5)),
               s(t(2, 3, 4), t(4)), s(t(4), t(2, 4, 5)), s(t(2, 1, 3, 4), t(5, 4, 2)), s(t(2, 3, 4), t(2, 4, 5)),
               s(t(2, 0, 4), t(4, 5)), s(t(3, 4), t(2, 4, 5))], tolerance=PRODUCT, refused=NO_BOOL, numpy=np.matmul,
               covers=("matmul_batched",),
    errors=[bad(RuntimeError, "mat1 and mat2 shapes cannot be multiplied (3x4 and 5x6)", t(3, 4), t(5, 6)),
            bad(RuntimeError, "both arguments to matmul need to be at least 1D, but they are 0D and 1D", t(),
                t(3))])  # fmt: skip
row(
    "mv",
    [s(t(3, 4), t(4)), s(t(0, 4), t(4))],
    tolerance=PRODUCT,
    refused=NO_BOOL,
    errors=[bad(RuntimeError, "size mismatch, got input (3), mat (3x4), vec (5)", t(3, 4), t(5))],
)
row(
    "dot",
    [s(t(4), t(4)), s(t(0), t(0)), s(t(1), t(1))],
    tolerance=PRODUCT,
    refused=NO_BOOL,
    errors=[
        bad(RuntimeError, "1D tensors expected, but got 2D and 1D tensors", t(2, 2), t(2)),
        bad(
            RuntimeError,
            "inconsistent tensor size, expected tensor [3] and src [4] to have the same number of elements, but got 3 "
            "and 4 elements respectively",
            t(3),
            t(4),
        ),
    ],
)
row("vdot", [s(t(4), t(4))], tolerance=PRODUCT, refused=NO_BOOL, numpy=np.vdot)
for name in ("outer", "ger"):
    row(name, [s(t(3), t(4)), s(t(0), t(3))], numpy=np.outer)
row("inner", [s(t(4), t(4)), s(t(2, 3), t(4, 3)), s(t(), t(3))], tolerance=PRODUCT, refused=NO_BOOL, numpy=np.inner)
row(
    "addmm",
    [
        s(t(3, 5), t(3, 4), t(4, 5)),
        s(t(5), t(3, 4), t(4, 5)),
        s(t(3, 1), t(3, 4), t(4, 5), beta=2, alpha=3),
        s(t(3, 5), t(3, 4), t(4, 5), beta=0),
        s(t(), t(3, 4), t(4, 5)),
        s(t(3, 5), t(3, 0), t(0, 5)),
    ],
    tolerance=PRODUCT,
    refused=NO_BOOL,
    covers=("addmm_core",),
    errors=[bad(RuntimeError, "mat1 and mat2 shapes cannot be multiplied (3x4 and 5x6)", t(3, 6), t(3, 4), t(5, 6))],
)
row("addmv", [s(t(3), t(3, 4), t(4)), s(t(3), t(3, 4), t(4), beta=2, alpha=3)], tolerance=PRODUCT, refused=NO_BOOL)
row(
    "addr",
    [s(t(3, 4), t(3), t(4)), s(t(3, 4), t(3), t(4), beta=2, alpha=3)],
    tolerance=PRODUCT,
    refused=NO_BOOL,
    more=NO_BOOL,
)
row(
    "baddbmm",
    [s(t(2, 3, 5), t(2, 3, 4), t(2, 4, 5)), s(t(5), t(2, 3, 4), t(2, 4, 5), beta=2, alpha=3)],
    tolerance=PRODUCT,
    refused=NO_BOOL,
)
row(
    "addbmm",
    [s(t(3, 5), t(2, 3, 4), t(2, 4, 5)), s(t(3, 5), t(2, 3, 4), t(2, 4, 5), beta=2, alpha=3)],
    tolerance=PRODUCT,
    refused=NO_BOOL,
)
row(
    "nn.functional.linear",
    [
        s(t(3, 4), t(5, 4), t(5)),
        s(t(3, 4), t(5, 4)),
        s(t(2, 3, 4), t(5, 4), t(5)),
        s(t(4), t(5, 4), t(5)),
        s(t(3, 4), t(4)),
        s(t(0, 4), t(5, 4), t(5)),
    ],
    "uifc",
    out=False,
    tolerance=PRODUCT,
    covers=("linear",),
    errors=[bad(RuntimeError, "mat1 and mat2 shapes cannot be multiplied (3x5 and 4x5)", t(3, 5), t(5, 4))],
)
row(
    "nn.functional.bilinear",
    [s(t(3, 4), t(3, 2), t(5, 4, 2), t(5)), s(t(3, 4), t(3, 2), t(5, 4, 2))],
    "uifc",
    out=False,
    more=("complex128",),
    tolerance=PRODUCT,
)
row(
    "tensordot",
    [s(t(3, 4, 5), t(4, 5, 2)), s(t(3, 4), t(4, 5), 1), s(t(3, 4), t(5, 3), ([0], [1])), s(t(3), t(4), 0)],
    tolerance=PRODUCT,
    refused=NO_BOOL,
    method=False,
)
row("chain_matmul", [s(t(3, 4), t(4, 5), t(5, 2))], "uifc", tolerance=PRODUCT, method=False)
row("einsum", [s(e, *x) for e, x in (
    ("ij,jk->ik", (t(3, 4), t(4, 5))), ("bij,bjk->bik", (t(2, 3, 4), t(2, 4, 5))), ("ii->i", (t(3, 3),)),
    ("ii", (t(3, 3),)), ("ij->ji", (t(3, 4),)), ("i,j->ij", (t(3), t(4))), ("ij,j->i", (t(3, 4), t(4))),
    ("...ij,...jk->...ik", (t(2, 3, 4), t(4, 5))), ("bn,anm,bm->ba", (t(2, 3), t(5, 3, 4), t(2, 4))),
    ("ij->", (t(3, 4),)), ("i,i", (t(3), t(3))), ("...->...", (t(2, 3),)), ("ba", (t(2, 3),)))],
    tolerance=PRODUCT, refused=NO_BOOL, method=False, out=False, errors=[bad(RuntimeError,
                                                                "einsum(): fewer operands were provided than specified "
                                                                "in the equation", "ij,jk->ik", t(2, 2)),
                                                                bad(RuntimeError,
                                                                "einsum(): subscript j has size 4 for operand 1 which "
                                                                "does not broadcast with previously seen size 3",
                                                                "ij,jk->ik", t(2, 3), t(4, 5))])  # fmt: skip
row("cross", [s(t(4, 3), t(4, 3)), s(t(3, 4), t(3, 4), dim=0)], refused=NO_BOOL)
row(
    "cdist",
    [s(t(3, 4), t(5, 4)), s(t(2, 3, 4), t(2, 5, 4)), s(t(3, 4), t(5, 4), 1.0), s(t(3, 4), t(5, 4), INF)],
    "f",
    out=False,
    method=False,
    second=False,
    refused=("float16", "bfloat16"),
    tolerance={"float32": (1e-4, 1e-4)},
)
row(
    "linalg.vector_norm",
    [s(t(3, 4)), s(t(3, 4), 1), s(t(3, 4), 3, 0), s(t(3, 4), INF, 1, True), s(t(3, 4), 0)],
    "fc",
    second=False,
    method=False,
    tolerance=LOOSE,
)

# --- creation -----------------------------------------------------------------------------------------------------

row(
    "zeros",
    [s(2, 3, dtype=D()), s((2, 3), dtype=D()), s(()), s(0), s(2, 3)],
    grad=False,
    errors=[bad(RuntimeError, "zeros: Dimension size must be non-negative.", -1)],
)
row("ones", [s(2, 3, dtype=D()), s((2, 3), dtype=D()), s(())], grad=False)
row("empty", [s(2, 3, dtype=D()), s((2, 3), dtype=D()), s(())], grad=False, compare=False)
row(
    "full",
    [s((2, 3), 2), s((2, 3), 2.5), s((2,), True), s((), 1, dtype=D()), s((2, 2), 3, dtype=D()), s((2,), 1 + 2j)],
    grad=False,
)
for name in ("zeros_like", "ones_like", "empty_like"):
    row(
        name,
        [s(t(2, 3)), s(t()), s(t(2, 3), dtype=D("float64"))],
        grad=False,
        out=False,
        method=False,
        compare=name != "empty_like",
    )
row("full_like", [s(t(2, 3), 2), s(t(), 1), s(t(2, 3), 2, dtype=D("float64"))], grad=False, out=False, method=False)
row("empty_strided", [s((2, 3), (1, 2), dtype=D())], grad=False, out=False, compare=False)
row("scalar_tensor", [s(2), s(2.5), s(1, dtype=D())], grad=False, out=False)
row(
    "arange",
    [s(5), s(1, 6), s(0, 1, 0.25), s(5, 0, -2), s(5.0), s(0, 5, dtype=D()), s(0), s(1, 2.5, 0.5, dtype=D("float64"))],
    "uif",
    grad=False,
    errors=[
        bad(RuntimeError, "step must be nonzero", 0, 1, 0),
        bad(RuntimeError, "upper bound and lower bound inconsistent with step sign", 0, 5, -1),
    ],
)
row("range", [s(0, 4), s(1, 2, 0.25), s(0, 3, dtype=D())], "uif", grad=False)
row(
    "linspace",
    [s(0, 1, 5), s(-3, 7, 11), s(3, 3, 1), s(0, 1, 0), s(0, 10, 7, dtype=D()), s(-1.5, 2.5, 37)],
    "uif",
    grad=False,
    refused=("int8",),
    errors=[bad(RuntimeError, "number of steps must be non-negative", 0, 1, -1)],
)
row("logspace", [s(0, 1, 5), s(-1, 2, 7, 2.0), s(0, 2, 5, dtype=D())], "f", grad=False, tolerance=LOOSE)
row(
    "eye",
    [s(3), s(2, 4), s(4, 2, dtype=D()), s(0)],
    grad=False,
    errors=[bad(RuntimeError, "n must be greater or equal to 0, got -1", -1)],
)
row(
    "tensor",
    [
        s([1, 2]),
        s([[1.5, 2.0]]),
        s(3),
        s([True, False]),
        s([1 + 2j]),
        s([1, 2.5]),
        s([]),
        s([[]]),
        s([1, 0], dtype=D()),
    ],
    grad=False,
    out=False,
    errors=[
        bad(ValueError, "expected sequence of length 2 at dim 1 (got 1)", [[1, 2], [3]]),
        bad(ValueError, "too many dimensions 'str'", ["a"]),
    ],
)
row("as_tensor", [s([1, 2]), s(t(3)), s(t(3), dtype=D("float64"))], grad=False, out=False)
row("asarray", [s([1, 2]), s(t(3)), s(t(3), dtype=D("float64"))], grad=False, out=False)
row("tril_indices", [s(3, 4), s(3, 3, -1), s(4, 3, 1)], "f", grad=False, out=False)
row("triu_indices", [s(3, 4), s(3, 3, -1), s(4, 3, 1)], "f", grad=False, out=False)
for name in ("bartlett_window", "blackman_window", "hann_window", "hamming_window", "kaiser_window"):
    row(
        name,
        [s(7), s(8, False), s(1), s(0), s(6, dtype=D())],
        "f",
        grad=False,
        out=False,
        tolerance={"float32": (1e-5, 2e-7), **LOOSE},
        strides=False,
    )

# --- random: the streams are compared in their own tests; here shapes, dtypes, in-place and errors ------------------

for name in ("rand", "randn"):
    row(name, [s(2, 3, dtype=D()), s((2, 3)), s(())], "f", grad=False)
row(
    "randint",
    [s(5, (2, 3)), s(-2, 5, (2, 3), dtype=D())],
    "if",
    grad=False,
    errors=[bad(RuntimeError, "random_ expects 'from' to be less than 'to', but got from=5 >= to=5", 5, 5, (2,))],
)
row("randperm", [s(5), s(0), s(6, dtype=D())], "uif", grad=False)
for name in ("rand_like", "randn_like"):
    row(name, [s(t(2, 3)), s(t())], "fc", grad=False, out=False, method=False)
row("randint_like", [s(t(2, 3), 5), s(t(2, 3), 1, 5)], "uif", grad=False, out=False, method=False)
row(
    "normal",
    [s(0.0, 1.0, (2, 3)), s(t(3), t(3, low=0.1)), s(t(3), 2.0), s(1.0, t(3, low=0.1))],
    "f",
    grad=False,
    method=False,
    out=False,
    covers=("normal_around",),
)
row("bernoulli", [s(t(3, 4, low=0, high=1)), s(t(3, 4), 0.3)], "f", grad=False, covers=("bernoulli_each",))
row("poisson", [s(t(3, 4, low=0.1, high=20))], "f", grad=False, out=False, method=False)
row("multinomial", [s(t(5, low=0.1), 3), s(t(2, 5, low=0.1), 4, True), s(t(5, low=0.1), 1)], "f", grad=False)


# --- functions of other families under the names of torch.* --------------------------------------------------------

CONVOLUTION = {"float16": (1e-2, 1e-2), "bfloat16": (8e-2, 8e-2), "float32": (1e-5, 1e-5), "complex64": (1e-5, 1e-5)}
for name, lengths, kernel in (("1d", (9,), (3,)), ("2d", (6, 5), (3, 2)), ("3d", (4, 3, 5), (2, 2, 3))):
    row(
        f"conv{name}",
        [s(t(2, 4, *lengths), t(6, 4, *kernel), t(6)), s(t(2, 4, *lengths), t(6, 2, *kernel), None, 2, 1, 1, 2),
         s(t(4, *lengths), t(6, 4, *kernel)), s(t(2, 4, *lengths), t(6, 4, *kernel), padding="same")],
        "uifc", out=False, method=False, tolerance=CONVOLUTION, second=False, strides=False, layouts=False,
        blind=("float16", "bfloat16"),
    )  # fmt: skip
    row(
        f"conv_transpose{name}",
        [s(t(2, 4, *lengths), t(4, 3, *kernel), t(3)), s(t(2, 4, *lengths), t(4, 3, *kernel), None, 2, 1, 1, 2)],
        "uifc", out=False, method=False, tolerance=CONVOLUTION, second=False,
        refused=("uint8", "int32", "int16", "int8"), more=("uint8", "int32", "int16", "int8"),
        strides=False, layouts=False, blind=("float16", "bfloat16"),
    )  # fmt: skip


for name, lengths in (("1d", (9,)), ("2d", (6, 5))):
    row(
        f"max_pool{name}",
        [
            s(t(2, 3, *lengths, distinct=True), 3), s(t(2, 3, *lengths, distinct=True), 3, 2, 1),
            s(t(3, *lengths, distinct=True), 2, 1, 0, 2),
        ],
        "f" if name == "1d" else "uif", out=False, method=False, strides=False, layouts=False,
    )  # fmt: skip
row("max_pool3d", [s(t(2, 3, 4, 5, 4, distinct=True), 2)], "uif", out=False, method=False, strides=False, layouts=False)
row(
    "max_pool1d_with_indices",
    [s(t(2, 3, 9, distinct=True), 3)],
    "uif",
    out=False,
    method=False,
    strides=False,
    layouts=False,
)
row(
    "avg_pool1d",
    [s(t(2, 3, 9), 3), s(t(2, 3, 9), 3, 2, 1)],
    "if",
    refused=("int32", "int16", "int8"),
    more=("uint8", "int32", "int16", "int8"),
    out=False,
    method=False,
    strides=False,
    layouts=False,
)
row("adaptive_avg_pool1d", [s(t(2, 3, 9), 4)], "f", out=False, method=False, strides=False, layouts=False)
row(
    "adaptive_max_pool1d", [s(t(2, 3, 9, distinct=True), 4)], "f", out=False, method=False, strides=False, layouts=False
)
row("constant_pad_nd", [s(t(2, 3), (1, 2)), s(t(2, 3), (1, 0, 0, 2), 5), s(t(3, 4), (-1, 1))], out=False, method=False)
