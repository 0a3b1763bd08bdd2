"""The transcendental functions on the CPU target against wider floats: errors in ulps, special values."""

import numpy as np
import pytest
from scipy import special

from facula.codegen.math import COMPOSITES, EXPANSIONS
from facula.core import dtype as dt
from facula.ir import expr as ir
from facula.ir.kernel import Access, Input, Kernel, Result
from facula.targets.cpu import emit

DTYPES = {"float32": dt.float32, "float64": dt.float64}
INF, NAN = np.inf, np.nan
WIDE = np.longdouble if np.finfo(np.longdouble).nmant > 60 else np.float64
PRIMITIVES = set(
    "param const add sub mul div neg fma abs sqrt floor ceil trunc round copysign eq ne lt le gt ge select cast "
    "bitcast and or xor not shl shr".split()
)


def evaluator(name, dtype):
    """The operation as a function of NumPy arrays, on machine code."""
    arity = ir.OPS[name].arity
    inputs = tuple(Input(f"x{k}", dtype) for k in range(arity))
    value = ir.apply(name, *(ir.load(i.name, dtype) for i in inputs))
    kernel = Kernel(f"test_{name}", inputs, (Result("out", value.dtype, value),))
    run = emit.compile(kernel, Access(1, 0, ("1",) * (arity + 1)))

    def call(*operands):
        operands = [np.ascontiguousarray(x, dtype.numpy) for x in operands]
        out = np.empty(operands[0].shape, value.dtype.numpy)
        run(out.ctypes.data, *(x.ctypes.data for x in operands), out.size)
        return out

    return call


def check_ulps(got, want, limit, operands):
    """Raise where `got` is further than `limit` ulps from `want` (of a wider type), or NaN, inf, -0 differ."""
    info = np.finfo(got.dtype)
    with np.errstate(all="ignore"):
        wide = got.astype(want.dtype)
        rounded = want.astype(got.dtype)
        _, exponent = np.frexp(np.where(np.isfinite(want) & (want != 0), want, info.tiny))
        unit = np.ldexp(want.dtype.type(1), np.maximum(exponent - 1, info.minexp) - info.nmant)
        error = np.abs(wide - want) / unit
        # beside the largest float, infinity is one unit away
        beside = np.isinf(got) & (np.sign(wide) == np.sign(want)) & np.isfinite(want)
        error = np.where(beside, np.abs(np.ldexp(want.dtype.type(1), info.maxexp) - np.abs(want)) / unit, error)
        error = np.where(np.isinf(rounded) & (got == rounded), 0, error)
        error = np.where(np.isnan(want) | np.isnan(got), np.where(np.isnan(want) & np.isnan(got), 0, INF), error)
        error = np.where((want == 0) & (got == 0), np.where(np.signbit(want) == np.signbit(got), 0, INF), error)
        error = np.where(np.isnan(error), INF, error)
    worst = int(np.argmax(error))
    if error[worst] > limit:
        where = tuple(x[worst] for x in operands)
        raise AssertionError(f"{error[worst]:.3f} ulp at {where}: {got[worst]!r}, not {want[worst]!r}; allowed {limit}")


EDGES = [
    0.0, -0.0, INF, -INF, NAN, 1, -1, 2, -2, 0.5, -0.5, 3, -3, 1e-45, -1e-45, 1e-40, 1.1754944e-38, 3.4028235e38,
    -3.4028235e38, 88.72283, 88.72284, 89.415985, 89.42, -87.3, -103.97, -103.98, -104, -105, 128, -149, -150, -150.5,
    127.99999, 1 - 2**-24, 1 + 2**-23, 2**-24 - 1, 3.1415927, 1.5707964, 5e-324, -5e-324, 1e-310,
    2.2250738585072014e-308, 1.7976931348623157e308, 709.78, 709.79, 710.47, 710.48, -745.1, -745.2, -746, 1024,
    -1074, -1075, -1076, 10.05, 10.06, 26.5, 27.3, 1 - 2**-53,
    # reduced to within 2**-29 and 2**-61 of a multiple of pi / 2
    16367173.0 * 2.0**72, 6381956970095103.0 * 2.0**797, 1e22, 131072, 131071.99, 16777216, 16777215,
]  # fmt: skip


def as_type(numbers, dtype):
    with np.errstate(over="ignore"):
        return np.array(numbers).astype(dtype.numpy)


def samples(dtype, low, high, count):
    """Bit patterns, edges, and numbers where the function is interesting."""
    random = np.random.default_rng(7)
    integer = f"u{dtype.itemsize}"
    with np.errstate(all="ignore"):
        return np.concatenate(
            [
                random.integers(0, np.iinfo(integer).max, count, integer, endpoint=True).view(dtype.numpy),
                as_type(EDGES, dtype),
                random.uniform(low, high, count).astype(dtype.numpy),
                (1 + 1e-3 * random.standard_normal(count)).astype(dtype.numpy),
                random.standard_normal(count).astype(dtype.numpy),
            ]
        )


def inverse_error(x):
    return np.copysign(special.erfinv(x), x)  # SciPy loses the sign of -0.0


# operation: the reference, the interesting range of float32 and of float64, ulps allowed
UNARY = {
    "exp": (np.exp, 104, 745, 0.92, 0.93),
    "exp2": (np.exp2, 150, 1074, 0.96, 0.9),
    "expm1": (np.expm1, 90, 710, 0.8, 0.95),
    "log": (np.log, 4, 4, 0.8, 0.85),
    "log2": (np.log2, 4, 4, 1, 1),
    "log10": (np.log10, 4, 4, 0.95, 0.9),
    "log1p": (np.log1p, 4, 4, 0.95, 0.95),
    "sinh": (np.sinh, 90, 711, 0.9, 0.9),
    "cosh": (np.cosh, 90, 711, 0.95, 0.95),
    "tanh": (np.tanh, 10, 20, 1, 1),
    "asinh": (np.arcsinh, 4, 4, 1, 1),
    "acosh": (np.arccosh, 4, 4, 1, 1),
    "atanh": (np.arctanh, 1, 1, 1, 1),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), 104, 745, 2.5, 2.4),
    "cbrt": (np.cbrt, 30, 30, 0.9, 0.8),
    "sin": (np.sin, 2e5, 3e7, 0.95, 0.95),
    "cos": (np.cos, 2e5, 3e7, 0.95, 0.95),
    "tan": (np.tan, 2e5, 3e7, 0.9, 0.9),
    "asin": (np.arcsin, 1, 1, 0.8, 0.8),
    "acos": (np.arccos, 1, 1, 0.8, 0.8),
    "atan": (np.arctan, 4, 4, 1.1, 1.3),
    "rsqrt": (lambda x: 1 / np.sqrt(x), 4, 4, 1.5, 1.5),
}


@pytest.mark.parametrize("code", DTYPES)
@pytest.mark.parametrize("name", UNARY)
def test_unary(name, code):
    dtype = DTYPES[code]
    reference, single, double, *limits = UNARY[name]
    if dtype is dt.float64 and WIDE is np.float64:
        limits[1] += 1  # the reference's own error
    border = single if dtype is dt.float32 else double
    x = samples(dtype, -border, border, 100_000 if dtype is dt.float32 else 20_000)
    with np.errstate(all="ignore"):
        want = reference(x.astype(np.float64 if dtype is dt.float32 else WIDE))
    check_ulps(evaluator(name, dtype)(x), want, limits[dtype is dt.float64], (x,))


# SciPy has these in float64 alone, with errors of its own: the float64 allowance holds both; RECORDS are exact
SPECIAL = {
    "erf": (special.erf, 4, 1, 3),
    "erfc": (special.erfc, 28, 0.8, 20),
    "erfinv": (inverse_error, 1, 2.6, 8),
}


@pytest.mark.parametrize("code", DTYPES)
@pytest.mark.parametrize("name", SPECIAL)
def test_special(name, code):
    dtype = DTYPES[code]
    reference, border, *limits = SPECIAL[name]
    x = samples(dtype, -border, border, 50_000)
    if dtype is dt.float64 and name == "erfinv":
        x = x[~(np.abs(x) < 1e-300)]  # SciPy's is inexact on denormals
    if dtype is dt.float64 and name == "erfc":
        x = x[~((x > 5) & (x < 27.3))]  # SciPy loses digits in the tail
    with np.errstate(all="ignore"):
        want = reference(x.astype(np.float64))
    check_ulps(evaluator(name, dtype)(x), want, limits[dtype is dt.float64], (x,))


# x and the function's value, from mpmath; ulps allowed (the record is itself rounded)
RECORDS = {
    "erf": (1.5, [
        (1e-300, 1.1283791670955126e-300), (1e-05, 1.1283791670579e-05), (0.1, 0.1124629160182849),
        (0.5, 0.5204998778130465), (0.8437, 0.7671979750524579), (0.85, 0.7706680576083526),
        (1.0, 0.8427007929497149), (1.5, 0.9661051464753108), (2.5, 0.999593047982555), (3.9, 0.9999999652077514),
        (5.5, 0.9999999999999927), (-0.3, -0.3286267594591274),
    ]),
    "erfc": (1.7, [
        (-3.0, 1.9999779095030015), (-0.4, 1.4283923550466684), (1e-10, 0.999999999887162), (0.3, 0.6713732405408726),
        (0.499, 0.48037934401053156), (0.51, 0.4707563801588296), (0.9, 0.20309178757716786),
        (1.7, 0.01620954140922544), (3.3, 3.0577097964381654e-06), (7.7, 1.2942740067717136e-27),
        (13.4, 4.377257246257195e-80), (20.1, 9.735977140428878e-178), (25.04, 1.1197216511527827e-274),
        (26.5, 2.2109076642637343e-307), (27.2, 1e-323),
    ]),
    "erfinv": (2.3, [
        (0.5, 0.4769362762044699), (-0.75, -0.8134198475976185), (1e-300, 8.86226925452758e-301),
        (1e-09, 8.86226925452758e-10), (0.02, 0.01772639502667802), (0.3, 0.2724627147267543),
        (-0.7, -0.7328690779592167), (0.95, 1.3859038243496777), (0.9999, 2.75106390571208),
        (0.999999, 3.458910737275499), (0.99999999, 4.052237243268763), (0.999999999999, 5.042031898572696),
        (0.9999999999999999, 5.8635847487551676),
    ]),
    "lgamma": (4, [
        (1e-300, 690.7755278982137), (0.001, 6.907178885383853), (0.3, 1.0957979948180756),
        (0.74, 0.2142675463050807), (0.76, 0.19254856099359), (1.1, -0.049872441259839764),
        (1.5, -0.12078223763524522), (1.99, -0.004195529088791668), (2.2, 0.09694746679063887),
        (2.99, 0.6839391096476095), (3.1, 0.7873750832738625), (5.5, 3.9578139676187165), (7.9, 8.32426586800881),
        (8.1, 8.72738826343204), (17.3, 31.51562417817529), (100000.0, 1051287.7089736569),
        (1e+200, 4.595170185988091e+202), (-0.5, 1.2655121234846454), (-1.3, 1.2024757863901114),
        (-7.7, -8.6110964437789), (-25.25, -57.32320872446142),
    ]),
    "digamma": (5, [
        (1e-300, -9.999999999999999e+299), (0.001, -1000.5755719318103), (0.3, -3.502524222200133),
        (0.9, -0.7549269499470513), (2.2, 0.5442934367411452), (5.5, 1.6110931485817512), (9.9, 2.2411803166063815),
        (10.1, 2.262214357094148), (100.7, 4.607172338628299), (10000000000.0, 23.025850929890456),
        (-0.25, 2.9141391202135276), (-1.3, 2.8825405488661673), (-7.75, -1.0307688328309315),
        (-20.4, 4.060609840029619),
    ]),
}  # fmt: skip


@pytest.mark.parametrize("name", RECORDS)
def test_records(name):
    limit, pairs = RECORDS[name]
    x, want = (np.array(column) for column in zip(*pairs))
    check_ulps(evaluator(name, dt.float64)(x), want, limit, (x,))
    single = as_type(x, dt.float32)
    exact = single.astype(np.float64) == x  # where float32 has the same argument
    check_ulps(
        evaluator(name, dt.float32)(single[exact]), want[exact], 2.6 if name == "erfinv" else 1, (single[exact],)
    )


@pytest.mark.parametrize("code", DTYPES)
@pytest.mark.parametrize("name", ["lgamma", "digamma"])
def test_gamma_family(name, code):
    """Relative to the size of the terms: both functions cross 0, where their sums cancel."""
    dtype = DTYPES[code]
    random = np.random.default_rng(3)
    x = np.concatenate(
        [random.uniform(0.01, 40, 50_000), random.uniform(-20, 0, 20_000), np.exp(random.uniform(-60, 60, 20_000))]
    )
    x = x.astype(dtype.numpy)
    wide = x.astype(np.float64)
    want = {"lgamma": special.gammaln, "digamma": special.digamma}[name](wide)
    got = evaluator(name, dtype)(x)
    nearest = np.abs(wide - np.round(wide)) if name == "digamma" else 1
    scale = np.maximum(np.abs(want), 1) + np.where(wide < 0, np.abs(wide) / np.maximum(nearest, 1e-9) ** 2, 0)
    np.testing.assert_array_less(np.abs(got - want) / scale, 1e-7 if dtype is dt.float32 else 4e-15)
    if name == "lgamma":  # mpmath's values beside the zeros
        near = np.array([1, 2, 1 + 2**-20, 2 + 2**-20, 1 - 2**-20, 2 - 2**-20], dtype.numpy)
        exact = np.array(
            [0.0, 0.0, -5.504750066148867e-07, 4.0319885504430156e-07, 5.504765026737053e-07, -4.0319826848018475e-07]
        )
        check_ulps(evaluator(name, dtype)(near), exact, 2, (near,))


def test_gamma_family_poles():
    for dtype in DTYPES.values():
        x = np.array([0.0, -0.0, -1, -2, -300, INF, -INF, NAN], dtype.numpy)
        np.testing.assert_array_equal(evaluator("lgamma", dtype)(x), [INF] * 7 + [NAN])
        np.testing.assert_array_equal(evaluator("digamma", dtype)(x), [-INF, INF, NAN, NAN, NAN, INF, NAN, NAN])


BINARY = {"pow": (np.power, 0.6, 0.85), "atan2": (np.arctan2, 1.1, 1.3), "hypot": (np.hypot, 0.8, 0.8)}


@pytest.mark.parametrize("code", DTYPES)
@pytest.mark.parametrize("name", BINARY)
def test_binary(name, code):
    dtype = DTYPES[code]
    reference, *limits = BINARY[name]
    random = np.random.default_rng(5)
    x, y = samples(dtype, -4, 4, 20_000), random.permutation(samples(dtype, -4, 4, 20_000))
    edges = as_type([*EDGES, 2.5, -2.5, 2.0**53, 2.0**53 - 1], dtype)
    base = np.exp(random.uniform(-80, 80, 20_000)).astype(dtype.numpy)
    exponent = (random.uniform(-100, 90, 20_000) * (1 if dtype is dt.float32 else 7.5) / np.log(base)).astype(
        dtype.numpy
    )
    x = np.concatenate([x, np.repeat(edges, len(edges)), base, base])
    y = np.concatenate(
        [y, np.tile(edges, len(edges)), exponent, base * random.standard_normal(len(base)).astype(dtype.numpy)]
    )
    wide = np.float64 if dtype is dt.float32 else WIDE
    with np.errstate(all="ignore"):
        want = reference(x.astype(wide), y.astype(wide))
    limit = limits[dtype is dt.float64] + (dtype is dt.float64 and WIDE is np.float64)
    check_ulps(evaluator(name, dtype)(x, y), want, limit, (x, y))


@pytest.mark.parametrize("code", DTYPES)
def test_division_is_exact(code):
    """fmod for quotients of every size, and what is made of it."""
    dtype = DTYPES[code]
    random = np.random.default_rng(9)
    x, y = samples(dtype, -1e6, 1e6, 30_000), random.permutation(samples(dtype, -10, 10, 30_000))
    edges = as_type(EDGES, dtype)
    tiny = random.integers(1, 1 << (20 if dtype is dt.float32 else 50), len(x), f"u{dtype.itemsize}").view(dtype.numpy)
    x = np.concatenate([x, np.repeat(edges, len(edges)), x, tiny])
    y = np.concatenate([y, np.tile(edges, len(edges)), tiny, random.permutation(tiny)])
    with np.errstate(all="ignore"):
        rest = np.fmod(x, y)
        moved = (rest != 0) & ((y < 0) != (rest < 0))
        quotient = (x - rest) / y
        quotient = np.where(moved, quotient - 1, quotient)
        floor = np.floor(quotient)
        floor = np.where(quotient - floor > 0.5, floor + 1, floor)
        floor = np.where(quotient == 0, np.copysign(0, x / y), floor)
        want = {"fmod": rest, "remainder": np.where(moved, rest + y, rest), "floordiv": np.where(y == 0, x / y, floor)}
    for name, expected in want.items():
        got = evaluator(name, dtype)(x, y)
        np.testing.assert_array_equal(got, expected, err_msg=name)
        numbers = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(got)[numbers], np.signbit(expected)[numbers], err_msg=name)


def test_exact_values():
    for dtype in DTYPES.values():
        powers = np.arange(-140, 128) if dtype is dt.float32 else np.arange(-1070, 1024)
        exact = np.ldexp(np.ones(len(powers)), powers).astype(dtype.numpy)
        np.testing.assert_array_equal(evaluator("exp2", dtype)(powers), exact)
        np.testing.assert_array_equal(evaluator("log2", dtype)(exact), powers)
        tens = np.arange(10 if dtype is dt.float32 else 23)
        np.testing.assert_array_equal(evaluator("log10", dtype)(np.array([10.0**k for k in tens])), tens)
        whole = np.arange(-100.0, 101)
        np.testing.assert_array_equal(evaluator("cbrt", dtype)(whole**3), whole)
        np.testing.assert_array_equal(evaluator("hypot", dtype)(whole * 3, whole * 4), np.abs(whole * 5))
        np.testing.assert_array_equal(evaluator("pow", dtype)(whole, np.full(len(whole), 3.0)), whole**3)


@pytest.mark.parametrize("code", DTYPES)
@pytest.mark.parametrize("name", [*EXPANSIONS, *COMPOSITES])
def test_only_primitives_remain(name, code):
    operands = [ir.param(f"x{k}", DTYPES[code]) for k in range(ir.OPS[name].arity)]
    result = {**EXPANSIONS, **COMPOSITES}[name](*operands)
    assert {node.op for node in ir.walk(result)} <= PRIMITIVES
    assert result.dtype is ir.apply(name, *operands).dtype


@pytest.mark.parametrize("code", DTYPES)
def test_composites(code):
    """Kernels of the composites' own expressions, whatever the target would make of the operations."""
    dtype = DTYPES[code]
    x = samples(dtype, -4, 4, 2000)
    y = np.random.default_rng(1).permutation(x)
    references = {
        "sign": lambda: np.where(np.isnan(x), 0, np.sign(x)),
        "nextafter": lambda: np.nextafter(x, y),
        "fmax": lambda: np.fmax(x, y),
        "fmin": lambda: np.fmin(x, y),
        "isnan": lambda: np.isnan(x),
        "isinf": lambda: np.isinf(x),
        "signbit": lambda: np.signbit(x),
        "truncdiv": lambda: np.trunc(x / y),
        "rsqrt": lambda: (1 / np.sqrt(x)).astype(dtype.numpy),
    }
    assert references.keys() == COMPOSITES.keys()
    for name, reference in references.items():
        operands = [ir.load(f"x{k}", dtype) for k in range(ir.OPS[name].arity)]
        value = COMPOSITES[name](*operands)
        inputs = tuple(Input(o.value[0], dtype) for o in operands)
        kernel = Kernel(f"test_composite_{name}", inputs, (Result("out", value.dtype, value),))
        out = np.empty(x.shape, value.dtype.numpy)
        run = emit.compile(kernel, Access(1, 0, ("1",) * (len(inputs) + 1)))
        run(out.ctypes.data, *(a.ctypes.data for a in (x, y)[: len(inputs)]), out.size)
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(out, reference(), err_msg=name)
