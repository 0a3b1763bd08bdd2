"""Two dozen kernels that show every way in which texts for GPUs are laid out: what the golden texts are of."""

from facula.core import dtype as dt
from facula.ir import expr as ir
from facula.ir.kernel import Access, Check, Input, Kernel, Param, Result
from tests.targets.kernels import loaded, map_kernel

F, H = dt.float32, dt.bfloat16
X, Y = ir.load("x", F), ir.load("y", F)
AT = ir.load("i", dt.int64)
OF_ROW = (Input("i", dt.int64), Input("x", F))


def softmax(t):
    x = loaded("x", t)
    e = ir.exp(x - ir.reduce("max", x))
    return Kernel("softmax", (Input("x", t),), (Result("out", t, e / ir.reduce("sum", e)),))


def layer_norm(t):
    x, n = loaded("x", t), ir.cast(ir.count(), F)
    centred = x - ir.reduce("sum", x) / n
    scale = ir.rsqrt(ir.reduce("sum", centred * centred) / n + ir.param("eps", F))
    out = centred * scale * loaded("w", t)
    results = (Result("out", t, out), Result("rstd", F, scale, per_row=True))
    return Kernel("layer_norm", (Input("x", t), Input("w", t)), results, (Param("eps", F),))


def reduction(kind, t=F):
    value = ir.reduce(kind, ir.load("x", t))
    return Kernel(kind, (Input("x", t),), (Result("out", value.dtype, value, per_row=True),))


def take():
    check = Check(ir.and_(ir.ge(AT, 0), ir.lt(AT, ir.param("size", dt.int64))), AT, "index {value} is out of bounds")
    results = (Result("out", F, ir.load("x", F, AT)),)
    return Kernel("take", OF_ROW, results, (Param("size", dt.int64),), (check,))


def scatter(offset, combine="add", disjoint=False, where=None):
    results = (Result("out", F, X, offset=offset, where=where, combine=combine),)
    return Kernel("scatter", OF_ROW, results, disjoint=disjoint)


def many_sums():
    z = ir.load("z", dt.complex64)
    results = (
        Result("total", dt.complex64, ir.reduce("sum", z), per_row=True),
        Result("product", dt.complex64, ir.reduce("prod", z), per_row=True),
    )
    return Kernel("sums", (Input("z", dt.complex64),), results)


def running_share():
    """A reduction of a scan: all threads take each step together in both passes."""
    total = ir.scan("sum", X)
    return Kernel("share", (Input("x", F),), (Result("out", F, total / ir.reduce("max", total)),))


def counted():
    return Kernel("place", (), (Result("out", dt.int64, ir.index(0) * ir.extent(1) + ir.index(1)),))


def scaled():
    value = X * ir.param("a", F) + ir.cast(ir.param("n", dt.int64), F)
    value = ir.select(ir.param("c", dt.bool_), value, -value)
    return Kernel(
        "scaled", (Input("x", F),), (Result("out", F, value),),
        (Param("a", F), Param("n", dt.int64), Param("c", dt.bool_)),
    )  # fmt: skip


def complex_map(function):
    z = ir.load("z", dt.complex64)
    return Kernel("turned", (Input("z", dt.complex64),), (Result("out", dt.complex64, function(z)),))


def gelu():
    return map_kernel("gelu", lambda x: x * 0.5 * (ir.erf(x * 0.7071067811865476) + 1.0), [H])


def casts():
    x = ir.load("x", F)
    kinds = (dt.float8_e4m3fn, dt.float8_e5m2fnuz, dt.float8_e8m0fnu, dt.float16, dt.uint64, dt.int8, dt.bool_)
    return Kernel("casts", (Input("x", F),), tuple(Result(f"to_{t.code}", t, x) for t in kinds))


def add(t=F):
    return map_kernel("add", lambda x, y: x + y, [t, t])


# name -> kernel, access, whether indices have 64 bits
GOLDEN: dict[str, tuple[Kernel, Access, bool]] = {
    "add": (add(), Access(1, 0, ("1", "1", "1")), False),
    "add_wide": (add(), Access(2, 0, ("1", "1", "1")), True),
    "add_strided": (add(), Access(2, 0, ("1", "0", "s")), False),
    "add_turned": (add(), Access(3, 0, ("1", "1", "t")), False),
    "add_bytes": (add(dt.uint8), Access(1, 0, ("1", "1", "0")), False),
    "backward": (map_kernel("twice", lambda x: x * 2.0, [F]), Access(1, 0, ("1", "r")), False),
    "casts": (casts(), Access(1, 0, ("1",) * 8), False),
    "complex_exp": (complex_map(ir.exp), Access(1, 0, ("1", "1")), False),
    "complex_product": (complex_map(lambda z: z * z), Access(1, 0, ("1", "1")), False),
    "gelu": (gelu(), Access(1, 0, ("1", "1")), False),
    "floordiv": (
        map_kernel("floordiv", lambda x, y: x // y, [dt.int32, dt.int32]), Access(1, 0, ("1", "1", "1")), False,
    ),
    "scaled": (scaled(), Access(1, 0, ("1", "1")), False),
    "counted": (counted(), Access(2, 0, ("1",)), False),
    "softmax": (softmax(F), Access(1, 1, ("s1", "s1")), False),
    "softmax_columns": (softmax(F), Access(1, 1, ("1s", "1s")), False),
    "layer_norm": (layer_norm(H), Access(1, 1, ("s1", "10", "s1", "01")), False),
    "sum": (reduction("sum"), Access(1, 1, ("10", "s1")), False),
    "any": (reduction("any", dt.bool_), Access(1, 1, ("10", "s1")), False),
    "argmax_columns": (reduction("argmax"), Access(1, 1, ("10", "1s")), False),
    "complex_sums": (many_sums(), Access(1, 2, ("10", "10", "s1")), False),
    "cumsum": (Kernel("cumsum", (Input("x", F),), (Result("out", F, ir.scan("sum", X)),)),
               Access(1, 1, ("s1", "s1")), False),
    "running_share": (running_share(), Access(1, 1, ("s1", "s1")), False),
    "take": (take(), Access(1, 0, ("1", "1", "0")), False),
    "scatter_owned": (scatter(AT * 20), Access(2, 0, ("1", "0", "1")), False),
    "scatter_set": (scatter(AT, "set", where=ir.lt(AT, 20)), Access(1, 0, ("0", "1", "1")), False),
    "scatter_rows": (scatter(AT, disjoint=True), Access(1, 1, ("s0", "s1", "s1")), False),
}  # fmt: skip
