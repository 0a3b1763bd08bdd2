"""Machine code against the reference target: operations on every dtype, layouts, rows, gathers, scatters, checks."""

import itertools

import numpy as np
import pytest

from facula.core import dtype as dt
from facula.ir import expr as ir
from facula.ir.kernel import COMBINES, Access, Check, Input, Kernel, Param, Result, arguments
from facula.targets.cpu.emit import compile
from tests.targets.kernels import check_kernel, edges, layouts, loaded, map_kernel, opmath, samples

REAL = [t for t in dt.ALL if t.kind != "c"]
COMPUTED = [t for t in REAL if opmath(t) is t]
FLOATS = [dt.float32, dt.float64]
SHAPES = [(1,), (67,), (1000,), (3, 5), (2, 3, 17), (0,), (4, 0)]

# Units in the last place by which an operation may differ from the correctly rounded result; the rest are exact.
ULPS = dict.fromkeys(
    "cbrt exp exp2 expm1 log log2 log10 log1p pow sigmoid sin cos tan asin acos atan atan2 sinh cosh tanh asinh acosh "
    "atanh hypot erf erfc erfinv ndtr lgamma digamma".split(),
    4.0,
)
ULPS["rsqrt"] = 1.0
# Functions that cross zero are exact to so many units of a number of this size, not of their own.
LEAST = {"lgamma": 1.0, "digamma": 1.0, "ndtr": 1.0}
LOOSE = {"lgamma": 16.0, "digamma": 16.0, "erfc": 16.0, "erfinv": 64.0}


def cross(t, arity):
    """Operands in which every pair of edges meets."""
    special = edges(t)
    if arity == 1:
        return [np.concatenate([special, samples(t, 200, 5)])]
    pairs = list(itertools.product(range(len(special)), repeat=2))
    left, right = (special[[p[k] for p in pairs]] for k in (0, 1))
    return [left, right, np.resize(special[::-1], left.shape)][:arity]


def op_cases():
    for op in ir.OPS.values():
        if op.name in ("select", "bitcast", "complex", "real", "imag", "conj", "angle"):
            continue
        for t in COMPUTED:
            if t.kind in op.takes:
                yield pytest.param(op, t, id=f"{op.name}-{t.code}")


@pytest.mark.parametrize("op, t", list(op_cases()))
def test_operation(op, t):
    operands = cross(t, op.arity)
    if op.name == "fma" and t is dt.float64:
        operands = [np.where(np.abs(x) < 1e6, x, 1.0) for x in operands]
    kernel = map_kernel(op.name, lambda *a: ir.apply(op.name, *a), [t] * op.arity)
    values = dict(zip("xyz", operands))
    tolerance = ULPS.get(op.name, 0.0) if t.kind == "f" else 0.0
    if t is dt.float64:
        tolerance = LOOSE.get(op.name, tolerance)
    if op.name in ("maximum", "minimum", "fmax", "fmin"):
        tolerance = 1e-9  # of 0.0 and -0.0 either may win
    least = LEAST.get(op.name, 0.0)
    check_kernel(compile, kernel, (operands[0].size,), values=values, tolerance=tolerance, least=least)


@pytest.mark.parametrize("source", REAL, ids=lambda t: t.code)
@pytest.mark.parametrize("target", REAL, ids=lambda t: t.code)
def test_cast(source, target):
    kernel = Kernel("cast", (Input("x", source),), (Result("out", target, ir.load("x", source)),))
    x = np.concatenate([edges(source), samples(source, 300, 3)])
    check_kernel(compile, kernel, (x.size,), values={"x": x})
    strided = [(3,), (2,)]
    check_kernel(compile, kernel, (x.size,), values={"x": x}, strides=strided, reach={"x": x.size})


@pytest.mark.parametrize(
    "t", [dt.bool_, dt.int8, dt.int64, dt.bfloat16, dt.float32, dt.complex64], ids=lambda t: t.code
)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_layouts(t, shape):
    if t.kind == "b":
        kernel = map_kernel("xor", lambda x, y: x ^ y, [t, t])
    else:
        kernel = map_kernel("plus", lambda x, y: x + y, [t, t])
    found = layouts(shape)
    for out in ("dense", "step", "turned", "padded", "backward"):
        for x, y in (("dense", "dense"), ("last still", "turned"), ("first still", "step"), ("backward", "padded")):
            names = [out, x, y]
            if all(n in found for n in names):
                check_kernel(compile, kernel, shape, strides=[found[n] for n in names])


@pytest.mark.parametrize("bits", [128, 256, 512])
@pytest.mark.parametrize("t", [dt.bool_, dt.int8, dt.bfloat16, dt.float32, dt.float64], ids=lambda t: t.code)
def test_tiles(t, bits):
    """Operands that run along another dim than the result: whole tiles, their edges, several blocks."""

    def narrow(kernel, how):
        return compile(kernel, how, bits)

    body = (lambda x, y: x ^ y) if t.kind == "b" else (lambda x, y: x + y)
    both = map_kernel("tiles", body, [t, t])
    for shape in [(16, 16), (33, 50), (2, 40, 17), (130, 150)]:
        found = layouts(shape)
        beside = (*found["dense"][:-2], 1, shape[-2])
        for y in ("dense", "last still", "first still", "step"):
            check_kernel(narrow, both, shape, strides=[found["padded"], beside, found[y]])
        check_kernel(narrow, both, shape, strides=[None, beside, beside])
        wide = map_kernel("wide", lambda x: ir.cast(x, dt.float64), [t], dt.float64)
        check_kernel(narrow, wide, shape, strides=[None, beside])


@pytest.mark.parametrize("t", FLOATS, ids=lambda t: t.code)
def test_rare_branches(t):
    """Vectors in which no lane, one, some or all need the rare side of `usually`."""
    huge = 1e30 if t is dt.float32 else 1e200
    plain = samples(t, 300, 3, plain=True)
    for places in ([], [20], [0, 7, 299], range(300)):
        x = plain.copy()
        x[list(places)] = huge
        for name in ("sin", "tan"):
            kernel = map_kernel(name, lambda v, name=name: ir.apply(name, v), [t])
            check_kernel(compile, kernel, (300,), values={"x": x}, tolerance=4.0)


@pytest.mark.parametrize("t", FLOATS, ids=lambda t: t.code)
def test_powers_of_one_number(t):
    exponent = Param("p", t)
    kernel = map_kernel("power", lambda x: ir.pow(x, ir.param("p", t)), [t], params=(exponent,))
    for value in (2.0, 3.0, 0.5, -1.0, -0.5, -2.0, 1.0, 0.0, 1.7):
        x = (np.abs(samples(t, 100, 4, plain=True)) + 0.1).astype(t.numpy)
        check_kernel(compile, kernel, (100,), params=(value,), values={"x": x}, tolerance=4.0, plain=True)


def test_long_scans_are_exact_enough():
    """Running sums keep what float32 has no room for."""
    x = samples(dt.float32, 100_000, 6, plain=True) + np.float32(10)
    value = ir.scan("sum", loaded("x", dt.float32))
    kernel = Kernel("running", (Input("x", dt.float32),), (Result("out", dt.float32, value),))
    out = np.empty_like(x)
    function = compile(kernel, Access(1, 1, ("s1", "s1")))
    given = {"n0": 1, "n1": x.size, "out.ptr": out.ctypes.data, "x.ptr": x.ctypes.data, "out.s0": 0, "x.s0": 0}
    function(*(given[name] for name in arguments(kernel, Access(1, 1, ("s1", "s1")))))
    want = np.cumsum(x.astype("f8"))
    assert np.max(np.abs(out - want) / want) < 1.5 * 2.0**-24


ROWS = [
    ((3,), (5,)),
    ((4,), (16,)),
    ((1,), (1,)),
    ((2,), (1000,)),
    ((3,), (5000,)),
    ((2, 3), (7,)),
    ((2,), (3, 5)),
    ((70,), (9,)),
    ((3,), (2, 4, 33)),
    ((5,), (0,)),
    ((0,), (5,)),
    ((1,), (40000,)),
]


def row_strides(outer, row):
    """Input layouts: rows contiguous, columns contiguous, neither, backwards."""
    shape = outer + row
    found = layouts(shape)
    cut = len(outer)
    yield found["dense"]
    yield found["step"]
    columns = layouts(row + outer)["dense"]
    yield columns[len(row) :] + columns[: len(row)]
    yield found["backward"]
    if cut:
        yield (0,) * cut + layouts(row)["dense"]


FEW_ROWS = [ROWS[k] for k in (0, 3, 6, 9)]


def reduce_cases():
    for kind in ("sum", "prod", "max", "min", "any", "all", "argmax", "argmin"):
        for t in (x for x in dt.ALL if opmath(x) is x):
            if t.kind == "c" and kind not in ("sum", "prod", "any", "all"):
                continue
            if t.kind == "b" and kind in ("sum", "prod"):
                continue
            for outer, row in ROWS if t in (dt.int8, dt.float32) else FEW_ROWS:
                yield pytest.param(kind, t, outer, row, id=f"{kind}-{t.code}-{outer}x{row}")


@pytest.mark.parametrize("kind, t, outer, row", list(reduce_cases()))
def test_reduction(kind, t, outer, row):
    value = ir.reduce(kind, ir.load("x", t))
    kernel = Kernel(kind, (Input("x", t),), (Result("out", value.dtype, value, per_row=True),))
    chosen = list(row_strides(outer, row))
    for own in chosen if t in (dt.int8, dt.float32) else chosen[0:3:2]:
        plain = kind in ("sum", "prod")
        values = None
        if plain and t.kind in "fc":
            count = 4 * int(np.prod(outer + row)) + 8
            values = {"x": np.exp(samples(dt.float64, count, 2, plain=True) * 0.01).astype(t.numpy)}
        tolerance = 0.0 if t.kind in "bui" or kind not in ("sum", "prod") else 40.0 + np.prod(row)
        if kind in ("max", "min"):
            tolerance = 1e-9
        check_kernel(
            compile,
            kernel,
            outer,
            row,
            strides=[None, own],
            values=values,
            tolerance=tolerance,
            plain=plain,
            reach={"x": 5 * int(np.prod(outer + row))},
        )


@pytest.mark.parametrize("kind", ["sum", "prod", "max", "min"])
@pytest.mark.parametrize("t", [dt.int8, dt.float32, dt.complex64], ids=lambda t: t.code)
@pytest.mark.parametrize("outer, row", ROWS, ids=str)
def test_scan(kind, t, outer, row):
    if t.kind == "c" and kind in ("max", "min"):
        return
    kernel = Kernel("scan", (Input("x", t),), (Result("out", t, ir.scan(kind, ir.load("x", t))),))
    for own in row_strides(outer, row):
        values = None
        if kind in ("sum", "prod") and t.kind in "fc":
            count = 4 * int(np.prod(outer + row)) + 8
            values = {"x": np.exp(samples(dt.float64, count, 2, plain=True) * 0.01).astype(t.numpy)}
        check_kernel(
            compile,
            kernel,
            outer,
            row,
            strides=[None, own],
            values=values,
            tolerance=16.0 + np.prod(row),
            plain=True,
            reach={"x": 5 * int(np.prod(outer + row))},
        )


def softmax(t):
    x = loaded("x", t)
    e = ir.exp(x - ir.reduce("max", x))
    return Kernel("softmax", (Input("x", t),), (Result("out", t, e / ir.reduce("sum", e)),))


def layer_norm(t):
    x = loaded("x", t)
    n = ir.cast(ir.count(), x.dtype)
    mean = ir.reduce("sum", x) / n
    centred = x - mean
    scale = ir.rsqrt(ir.reduce("sum", centred * centred) / n + 1e-5)
    out = centred * scale * loaded("w", t) + loaded("b", t)
    inputs = (Input("x", t), Input("w", t), Input("b", t))
    return Kernel(
        "layer_norm",
        inputs,
        (
            Result("out", t, out),
            Result("mean", x.dtype, mean, per_row=True),
            Result("rstd", x.dtype, scale, per_row=True),
        ),
    )


ROW_CASES = [(t, *r) for t in (dt.float16, dt.bfloat16, *FLOATS) for r in (ROWS if t is dt.float32 else FEW_ROWS)]


@pytest.mark.parametrize("t, outer, row", ROW_CASES, ids=str)
def test_row_kernels(t, outer, row):
    for own in row_strides(outer, row):
        check_kernel(
            compile, softmax(t), outer, row, strides=[None, own], tolerance=64.0, plain=True, reach={"x": 200000}
        )
        still = (0,) * len(outer) + layouts(row)["dense"]
        check_kernel(
            compile,
            layer_norm(t),
            outer,
            row,
            strides=[None, None, None, own, still, still],
            tolerance=64.0,
            least=1.0,
            plain=True,
            reach={"x": 200000},
        )


def test_in_place():
    kernel = softmax(dt.float32)
    x = samples(dt.float32, 300, plain=True).reshape(3, 100)
    from tests.targets.kernels import access, argument_values

    want, got = np.empty_like(x), x.copy()
    strides = [(100, 1), (100, 1)]
    how = access(kernel, (3,), (100,), strides)
    function = compile(kernel, how)
    for out, source in ((want, x), (got, got)):
        pointers = [out.ctypes.data, source.ctypes.data]
        function(*argument_values(kernel, how, (3,), (100,), pointers, strides, ()))
    np.testing.assert_array_equal(got, want)


def test_params():
    kernel = map_kernel(
        "scaled",
        lambda x: x * ir.param("a", dt.float32) + ir.cast(ir.param("n", dt.int64), dt.float32),
        [dt.float32],
        params=(Param("a", dt.float32), Param("n", dt.int64)),
    )
    check_kernel(compile, kernel, (100,), params=(2.5, -3))
    kernel = map_kernel(
        "turned", lambda z: z * ir.param("a", dt.complex64), [dt.complex64], params=(Param("a", dt.complex64),)
    )
    check_kernel(compile, kernel, (100,), params=(2.5 - 1j,), plain=True, tolerance=2.0)
    kernel = map_kernel(
        "either", lambda x: ir.select(ir.param("c", dt.bool_), x, -x), [dt.float64], params=(Param("c", dt.bool_),)
    )
    check_kernel(compile, kernel, (100,), params=(True,))
    check_kernel(compile, kernel, (100,), params=(False,))


def test_index_and_extent():
    for shape in [(7,), (3, 40), (2, 3, 5)]:
        total = ir.const(0, dt.int64)
        for d in range(len(shape)):
            total = total * ir.extent(d) + ir.index(d)
        check_kernel(compile, Kernel("count", (), (Result("out", dt.int64, total),)), shape)
        check_kernel(compile, Kernel("count", (), (Result("out", dt.float32, ir.cast(total, dt.float32)),)), shape)
    kernel = Kernel(
        "place", (Input("x", dt.float32),), (Result("out", dt.int64, ir.row_index() + ir.count() * ir.index(0)),)
    )
    for row in [(20,), (3, 20)]:
        check_kernel(compile, kernel, (4,), row)


@pytest.mark.parametrize("t", dt.ALL, ids=lambda t: t.code)
def test_gather(t):
    at = ir.load("i", dt.int64)
    inside = ir.and_(ir.ge(at, 0), ir.lt(at, 50))
    kernel = Kernel("gather", (Input("i", dt.int64), Input("x", t)), (Result("out", t, ir.load("x", t, at, inside)),))
    i = np.random.default_rng(0).integers(-20, 70, 200)
    check_kernel(compile, kernel, (200,), strides=[None, None, (0,)], values={"i": i}, reach={"x": 60})
    # rows of a table: the offset is the same along the inner dim
    rows = Kernel("rows", (Input("i", dt.int64), Input("x", t)), (Result("out", t, ir.load("x", t, at * 20, inside)),))
    check_kernel(compile, rows, (200, 20), strides=[None, (1, 0), (0, 1)], values={"i": i}, reach={"x": 60 * 20})


@pytest.mark.parametrize("combine", COMBINES)
@pytest.mark.parametrize("t", [x for x in dt.ALL if x.kind != "b"], ids=lambda t: t.code)
def test_scatter(t, combine):
    if t.kind == "c" and combine in ("maximum", "minimum"):
        return  # numbers without an order
    tolerance = 40.0 if t.kind == "c" and combine == "mul" else 0.0  # NumPy's products use fma
    at = ir.load("i", dt.int64)
    value = loaded("x", t)
    i = np.random.default_rng(0).integers(0, 50, 200)
    kernel = Kernel(
        "scatter", (Input("i", dt.int64), Input("x", t)), (Result("out", t, value, offset=at, combine=combine),)
    )
    check_kernel(
        compile,
        kernel,
        (200,),
        strides=[(0,), None, None],
        values={"i": i},
        reach={"out": 60},
        plain=True,
        tolerance=tolerance,
    )
    kernel = Kernel(
        "rows", (Input("i", dt.int64), Input("x", t)), (Result("out", t, value, offset=at * 20, combine=combine),)
    )
    check_kernel(
        compile,
        kernel,
        (200, 20),
        strides=[(0, 1), (1, 0), None],
        values={"i": i},
        reach={"out": 60 * 20},
        plain=True,
        tolerance=tolerance,
    )
    where = Kernel(
        "some", (Input("i", dt.int64), Input("x", t)), (Result("out", t, value, where=ir.lt(at, 20), combine=combine),)
    )
    check_kernel(compile, where, (200,), values={"i": i}, plain=True, tolerance=tolerance)
    check_kernel(compile, where, (200,), strides=[(2,), None, None], values={"i": i}, plain=True, tolerance=tolerance)


@pytest.mark.parametrize("t", [dt.int32, dt.int64, dt.float32, dt.float64], ids=str)
def test_loops(t):
    """Each lane goes on for itself: Euclid's algorithm, whose two numbers change places, and what is given stays."""
    a, b, c = (ir.load(n, t) for n in "abc")
    found = ir.loop(
        (a, b, ir.const(0, dt.int32)), lambda x, y, n, z: ir.ne(y, 0), lambda x, y, n, z: (y, ir.fmod(x, y), n + 1),
        lambda x, y, n, z: x * z + ir.cast(n, t), given=(c,),
    )  # fmt: skip
    kernel = Kernel("gcd", tuple(Input(n, t) for n in "abc"), (Result("out", t, found),))
    rng = np.random.default_rng(0)
    values = {n: rng.integers(0, 500, 137) for n in "abc"}
    for strides in (None, [(2,), (1,), (0,), (3,)]):
        check_kernel(compile, kernel, (37,), strides=strides, values=values, plain=True)


def test_checks():
    at = ir.load("i", dt.int64)
    inside = Check(ir.and_(ir.ge(at, -50), ir.lt(at, 50)), at, "index {value} is out of bounds")
    place = ir.select(ir.lt(at, 0), at + 50, at)
    kernel = Kernel(
        "take",
        (Input("i", dt.int64), Input("x", dt.float32)),
        (Result("out", dt.float32, ir.load("x", dt.float32, place)),),
        checks=(inside,),
    )
    i = np.random.default_rng(0).integers(-50, 50, 100_000)
    strides = [None, None, (0,)]
    assert check_kernel(compile, kernel, (i.size,), strides=strides, values={"i": i}, reach={"x": 60}) is None
    for bad, value in ((99_999, 50), (50_001, -51), (70, 10**12), (3, -(2**63))):
        i[bad] = value
        found = check_kernel(compile, kernel, (i.size,), strides=strides, values={"i": i}, reach={"x": 60})
        assert found == value
    zero = Check(ir.ne(at, 0), ir.index(0), "division by zero")
    both = Kernel("both", kernel.inputs, kernel.results, checks=(inside, zero))
    found = check_kernel(compile, both, (i.size,), strides=strides, values={"i": i}, reach={"x": 60})
    assert found == (0, -(2**63))
    i = np.arange(-50, 50)
    assert check_kernel(compile, both, (100,), strides=strides, values={"i": i}, reach={"x": 60}) == (1, 50)


COMPLEX_OPS = [op for op in ir.OPS.values() if "c" in op.takes and op.name not in ("select", "fma", "pow")]


@pytest.mark.parametrize("t", [dt.complex64, dt.complex128], ids=lambda t: t.code)
@pytest.mark.parametrize("op", COMPLEX_OPS, ids=lambda op: op.name)
def test_complex(op, t):
    kernel = map_kernel(op.name, lambda *a: ir.apply(op.name, *a), [t] * op.arity)
    if op.name in ("eq", "ne", "isnan", "conj", "neg", "real", "imag"):
        operands = cross(t, op.arity)
    else:
        operands = [samples(t, 300, k, plain=True) for k in range(op.arity)]
    for strides in (None, [(2,)] * (op.arity + 1)):
        check_kernel(
            compile,
            kernel,
            operands[0].shape,
            values=dict(zip("xy", operands)),
            tolerance=32.0,
            strides=strides,
            plain=True,
            reach={"x": 700, "y": 700},
        )


def test_complex_casts_and_parts():
    for source in (dt.complex64, dt.complex128):
        for target in dt.ALL:
            kernel = Kernel("cast", (Input("x", source),), (Result("out", target, ir.load("x", source)),))
            check_kernel(compile, kernel, (100,), plain=True, seed=4)
            back = Kernel("cast", (Input("x", target),), (Result("out", source, ir.load("x", target)),))
            check_kernel(compile, back, (100,), plain=True)
    for t in FLOATS:
        kernel = map_kernel("pair", lambda a, b: ir.complex(a, b), [t, t], result=t.to_complex())
        check_kernel(compile, kernel, (77,))
        check_kernel(compile, map_kernel("angle", lambda a: ir.angle(a), [t]), (100,))
    choose = map_kernel(
        "choose", lambda c, a, b: ir.select(c, a, b), [dt.bool_, dt.complex64, dt.complex64], result=dt.complex64
    )
    check_kernel(compile, choose, (100,))


@pytest.mark.parametrize("bits", [128, 256, 512])
def test_vector_widths(bits):
    """Registers that the host may not prefer, with and without masks."""

    def narrow(kernel, how):
        return compile(kernel, how, bits)

    for t in (dt.float32, dt.int8, dt.complex64, dt.bool_):
        body = (lambda x, y: x ^ y) if t.kind == "b" else (lambda x, y: x + y)
        for shape in [(1,), (77,), (3, 41)]:
            for strides in (None, [layouts(shape)["step"]] * 3):
                check_kernel(narrow, map_kernel("plus", body, [t, t]), shape, strides=strides)
    x = loaded("x", dt.float32)
    sums = Kernel(
        "sums",
        (Input("x", dt.float32),),
        (
            Result("s", dt.float32, ir.reduce("sum", x), per_row=True),
            Result("a", dt.int64, ir.reduce("argmax", x), per_row=True),
        ),
    )
    for outer, row in [((3,), (5,)), ((2,), (1000,)), ((40,), (70,)), ((1,), (200_000,))]:
        across = tuple(1 if d == 0 else outer[0] for d in range(2))
        for own in (None, across):
            check_kernel(narrow, softmax(dt.float32), outer, row, strides=[None, own], tolerance=64.0, plain=True)
            check_kernel(narrow, sums, outer, row, strides=[None, None, own], tolerance=64.0, least=100.0, plain=True)


SPLIT = [((1,), (200_000,)), ((3,), (150_000,)), ((2, 2), (300, 300)), ((3,), (50, 100, 31)), ((10,), (40_000,))]


@pytest.mark.parametrize("kind", ["sum", "prod", "max", "any", "argmin"])
@pytest.mark.parametrize("t", [dt.float32, dt.float64, dt.int16, dt.complex64], ids=lambda t: t.code)
def test_long_rows(kind, t):
    """Rows that are cut in pieces."""
    if t.kind == "c" and kind in ("max", "argmin"):
        return
    value = ir.reduce(kind, ir.load("x", t))
    kernel = Kernel(kind, (Input("x", t),), (Result("out", value.dtype, value, per_row=True),))
    for outer, row in SPLIT:
        values = None
        if kind in ("sum", "prod") and t.kind in "fc":
            near_one = np.exp(samples(dt.float64, int(np.prod(outer + row)), 2, plain=True) * 1e-3)
            values = {"x": near_one.astype(t.numpy)}
        columns = layouts(row + outer)["dense"]
        for own in (None, columns[len(row) :] + columns[: len(row)]):
            check_kernel(
                compile,
                kernel,
                outer,
                row,
                strides=[None, own],
                values=values,
                tolerance=1e3 if kind == "prod" else 4.0,
            )


def test_sums_are_exact_enough():
    """The sum of many float32 is as good as one rounding of the exact sum."""
    x = np.random.default_rng(3).random(10_000_000, dtype="f4")
    kernel = Kernel(
        "sum",
        (Input("x", dt.float32),),
        (Result("out", dt.float32, ir.reduce("sum", ir.load("x", dt.float32)), per_row=True),),
    )
    check_kernel(compile, kernel, (1,), (x.size,), values={"x": x}, tolerance=1.0)
    check_kernel(compile, kernel, (10,), (x.size // 10,), strides=[None, (1, 10)], values={"x": x}, tolerance=1.0)


def test_same_bits_for_any_number_of_threads():
    from facula.targets.cpu import threads
    from tests.targets.kernels import access, argument_values

    before = threads.get_num_threads()
    random = np.random.default_rng(0)
    try:
        for kernel, outer, row in ((softmax(dt.float32), (300,), (1000,)), (layer_norm(dt.float32), (1,), (300_000,))):
            x = random.standard_normal((3, *outer, *row)).astype("f4")
            results = []
            for count in (1, 2, 4):
                threads.set_num_threads(count)
                shapes = [outer if r.per_row else outer + row for r in kernel.results]
                outs = [np.empty(s, "f4") for s in shapes]
                arrays = [*outs, *x[: len(kernel.inputs)]]
                strides = [tuple(s // a.itemsize for s in a.strides) for a in arrays]
                how = access(kernel, outer, row, strides)
                function = compile(kernel, how)
                function(*argument_values(kernel, how, outer, row, [a.ctypes.data for a in arrays], strides, ()))
                results.append([o.tobytes() for o in outs])
            assert results[0] == results[1] == results[2]
    finally:
        threads.set_num_threads(before)


def test_integer_division_never_traps():
    for t in (x for x in COMPUTED if x.kind in "ui"):
        low = np.iinfo(t.numpy).min
        a = np.array([low, low, 5, 0, -1 if t.kind == "i" else 1] * 7).astype(t.numpy)
        b = np.array([-1 if t.kind == "i" else 1, 0, 0, 0, low] * 7).astype(t.numpy)
        for name in ("floordiv", "remainder", "truncdiv", "fmod"):
            for size in (1, a.size):
                kernel = map_kernel(name, ir.FUNCTIONS[name], [t, t])
                check_kernel(compile, kernel, (size,), values={"x": a, "y": b})


def test_arguments_are_checked():
    from facula.ir.kernel import Access

    function = compile(map_kernel("plus", lambda x, y: x + y, [dt.float32, dt.float32]), Access(1, 0, ("1", "1", "1")))
    with pytest.raises(TypeError, match="plus"):
        function(1, 2)
    with pytest.raises(TypeError):
        function("a", 0, 0, 1)
