"""The reference target by itself: values by NumPy's own functions, memory, order of scatters, checks."""

import numpy as np
import pytest

from facula.core import dtype as dt
from facula.ir import expr as ir
from facula.ir.kernel import Access, Check, Input, Kernel, Param, Result
from facula.targets.reference import interpreter as reference
from facula.targets.reference import run


def call(kernel, outer, row, arrays, params=()):
    """Runs `kernel` on arrays; row strides of per_row results are left away."""
    strides = [tuple(s // a.itemsize for s in a.strides) for a in arrays]
    return run(kernel, (outer, row), [a.ctypes.data for a in arrays], strides, params)


def test_every_operation_has_a_function():
    missing = set(ir.OPS) - set(reference.FUNCTIONS) - {"bitcast"}
    assert not missing


@pytest.mark.parametrize("name", ["lgamma", "digamma", "erfinv", "erf", "erfc"])
def test_special_functions_without_scipy(name):
    special = pytest.importorskip("scipy.special")
    own = {"lgamma": reference._lgamma, "digamma": reference._digamma, "erfinv": reference._erfinv}
    scipy = {"lgamma": special.gammaln}.get(name) or getattr(special, {"digamma": "digamma"}.get(name, name))
    x = np.array([-3.7, -0.5, 0.25, 0.5, 0.9, 0.999, 1.0, 5.5, 40.0])
    if name == "erfinv":
        x = x[np.abs(x) <= 1]
    function = reference._map(own[name]) if name in own else reference.FUNCTIONS[name]
    np.testing.assert_allclose(function(x), scipy(x), rtol=1e-12)


def test_softmax_of_rows():
    x = ir.load("x", dt.float64)
    e = ir.exp(x - ir.reduce("max", x))
    kernel = Kernel("softmax", (Input("x", dt.float64),), (Result("out", dt.float64, e / ir.reduce("sum", e)),))
    a = np.random.default_rng(0).standard_normal((3, 4))
    out = np.empty_like(a)
    call(kernel, (3,), (4,), [out, a])
    want = np.exp(a) / np.exp(a).sum(1, keepdims=True)
    np.testing.assert_allclose(out, want, rtol=1e-14)


def test_bfloat16_rounds_to_nearest_even():
    kernel = Kernel("cast", (Input("x", dt.float32),), (Result("out", dt.bfloat16, ir.load("x", dt.float32)),))
    bits = np.array([0x3F800000, 0x3F808000, 0x3F818000, 0x3F808001, 0x7F800000, 0x7FC00001, 0xFF800000], "u4")
    out = np.zeros(bits.size, "u2")
    call(kernel, (bits.size,), (), [out, bits.view("f4")])
    assert [hex(v) for v in out] == ["0x3f80", "0x3f80", "0x3f82", "0x3f81", "0x7f80", "0x7fc0", "0xff80"]


def test_scatter_in_order():
    """The last write wins, and what is combined is rounded one by one."""
    at = ir.load("i", dt.int64)
    i = np.array([2, 0, 2, 2])
    x = np.array([1.0, 2.0, 3.0, 4.0], "f4")
    for combine, want in (
        ("set", [2, 1, 4]),
        ("add", [3, 1, 9]),
        ("mul", [2, 1, 12]),
        ("maximum", [2, 1, 4]),
        ("minimum", [1, 1, 1]),
    ):
        result = Result("out", dt.float32, ir.load("x", dt.float32), offset=at, combine=combine)
        kernel = Kernel("scatter", (Input("i", dt.int64), Input("x", dt.float32)), (result,))
        out = np.ones(3, "f4")
        run(kernel, ((4,), ()), [out.ctypes.data, i.ctypes.data, x.ctypes.data], [(0,), (1,), (1,)])
        assert out.tolist() == want


def test_checks_guard_accesses():
    at = ir.load("i", dt.int64)
    check = Check(ir.and_(ir.ge(at, 0), ir.lt(at, 3)), at, "index {value} is out of bounds")
    value = ir.load("x", dt.float32, at)
    kernel = Kernel(
        "take", (Input("i", dt.int64), Input("x", dt.float32)), (Result("out", dt.float32, value),), checks=(check,)
    )
    i, x, out = np.array([0, 10**15, 2, -1]), np.array([5.0, 6.0, 7.0], "f4"), np.empty(4, "f4")
    found = run(kernel, ((4,), ()), [out.ctypes.data, i.ctypes.data, x.ctypes.data], [(1,), (1,), (0,)])
    assert found == 10**15
    assert out.tolist() == [5, 0, 7, 0]


def test_compiled_arguments():
    scale = ir.param("scale", dt.complex64)
    kernel = Kernel(
        "scaled",
        (Input("x", dt.complex64),),
        (Result("out", dt.complex64, ir.load("x", dt.complex64) * scale),),
        (Param("scale", dt.complex64),),
    )
    x = np.array([[1, 2j], [3, 4]], "c8")
    out = np.zeros((2, 2), "c8")
    function = reference.compile(kernel, Access(2, 0, ("1", "s")))
    function(out.ctypes.data, x.ctypes.data, 0.0, 1.0, 2, 2, 2, 1, 2)
    np.testing.assert_array_equal(out, x.T * 1j)


def test_empty_rows():
    x = ir.load("x", dt.float32)
    kernel = Kernel(
        "sums",
        (Input("x", dt.float32),),
        (
            Result("s", dt.float32, ir.reduce("sum", x), per_row=True),
            Result("m", dt.float32, ir.reduce("max", x), per_row=True),
        ),
    )
    s, m, x = np.ones(2, "f4"), np.ones(2, "f4"), np.empty((2, 0), "f4")
    run(kernel, ((2,), (0,)), [s.ctypes.data, m.ctypes.data, x.ctypes.data], [(1,), (1,), (0, 1)])
    assert s.tolist() == [0, 0] and m.tolist() == [-np.inf] * 2
